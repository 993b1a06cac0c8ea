//! The desk, case by case, and over random histories.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::Moment;
use crate::time::Mono;

const S: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A desk, its clock, and what it has sent so far.
struct Office {
    desk: Desk,
    now: Duration,
    sent: Vec<Notice>,
    kept: BTreeMap<AlertId, Alert>,
    services: HashMap<String, (Level, Option<Hold>)>,
}

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn policy() -> Policy {
    Policy {
        steps: Policy::default_steps(&["ops".into()]),
        ..Policy::default()
    }
}

impl Office {
    fn new(policy: Policy) -> Self {
        let desk = Desk::new(Arc::new(policy), Vec::new(), Vec::new(), Default::default());
        let mut office = Self {
            desk,
            now: Duration::from_secs(1_000_000),
            sent: Vec::new(),
            kept: BTreeMap::new(),
            services: HashMap::new(),
        };
        office.desk.set_watched(100);
        office
    }

    fn at(&self) -> Moment {
        let nanos = u64::try_from(self.now.as_nanos()).unwrap();
        Moment {
            time: Time(nanos),
            mono: Mono(nanos),
            wall: Timestamp((nanos / 1_000).cast_signed()),
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(notice) => self.sent.push(*notice),
                Action::Save(alert) => drop(self.kept.insert(alert.id, *alert)),
                Action::Tell { .. } | Action::EndSilence(_) => {}
            }
        }
    }

    fn is(&mut self, service: &str, level: Level, hold: Option<Hold>) {
        self.services
            .insert(service.to_owned(), (level, hold.clone()));
        let fact = Fact {
            service: name(service),
            level,
            reason: "no pulse for 95 s, expected every 30 s".to_owned(),
            hold,
            tags: Arc::from(["core".to_owned()]),
        };
        let at = self.at();
        let actions = self.desk.fact(fact, at);
        self.take(actions);
    }

    /// Lets time pass, as an actor does: a tick at every deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = Duration::from_nanos(self.desk.next().0);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            let at = self.at();
            let actions = self.desk.tick(at);
            self.take(actions);
        }
        self.now = end;
    }

    /// What was sent since the last time: kind, subject, sinks.
    fn news(&mut self) -> Vec<String> {
        let line = |notice: Notice| {
            let to = notice.to.join("+");
            let (kind, alert) = (notice.kind.as_str(), notice.alert);
            format!("{kind} {} {} → {to}", alert.subject, alert.level.as_str())
        };
        std::mem::take(&mut self.sent)
            .into_iter()
            .map(line)
            .collect()
    }

    /// As after our own death: what was kept, and every fact told again.
    fn restart(&mut self) {
        let open = self.kept.values().filter(|a| a.phase != Phase::Resolved);
        let json: Vec<String> = open.map(|a| serde_json::to_string(a).unwrap()).collect();
        let alerts = json.iter().map(|a| serde_json::from_str(a).unwrap());
        let last = self.kept.keys().max().copied().unwrap_or_default();
        let silences = self.desk.silences().cloned().collect();
        let policy = Arc::clone(&self.desk.policy);
        let watched = 100;
        self.desk = Desk::new(policy, alerts.collect(), silences, (last, SilenceId(99)));
        self.desk.set_watched(watched);
        for (service, (level, hold)) in self.services.clone() {
            self.is(&service, level, hold);
        }
        let at = self.at();
        let actions = self.desk.tick(at);
        self.take(actions);
    }

    fn silence(&mut self, pattern: &str, lasting: Duration) -> SilenceId {
        let by = ("ann".to_owned(), "upgrade".to_owned());
        let (at, pattern) = (self.at(), Pattern::new(pattern).unwrap());
        let (silence, actions) = self.desk.silence(pattern, None, lasting, by, at);
        self.take(actions);
        silence.id
    }

    fn why(&self, id: u64) -> String {
        let lines = self.desk.why(AlertId(id), self.at().time).unwrap();
        lines.join("\n")
    }
}

#[test]
fn a_warning_goes_to_the_log_and_what_is_worse_to_everybody() {
    let mut office = Office::new(policy());
    office.is("db", Level::Warning, None);
    office.pass(4 * S);
    assert_eq!(office.news(), [""; 0]);
    office.pass(S);
    assert_eq!(office.news(), ["firing db warning → log"]);
    office.is("db", Level::Degraded, None);
    office.is("db", Level::Critical, None);
    assert_eq!(
        office.news(),
        [
            "escalated db degraded → log+ops",
            "escalated db critical → log+ops"
        ]
    );
    office.is("db", Level::Healthy, None);
    assert_eq!(office.news(), [""; 0]);
    office.pass(5 * S);
    assert_eq!(office.news(), ["resolved db healthy → log+ops"]);
    assert_eq!(office.desk.next(), Time::NEVER);
    assert_eq!(office.desk.alerts().count(), 0);
}

#[test]
fn what_is_well_again_before_group_wait_tells_nobody() {
    let mut office = Office::new(policy());
    office.is("db", Level::Critical, None);
    office.pass(4 * S);
    office.is("db", Level::Healthy, None);
    office.pass(MINUTE);
    assert_eq!(office.news(), [""; 0]);
    let alert = &office.kept[&AlertId(1)];
    assert_eq!(alert.phase, Phase::Resolved);
    assert_eq!(alert.worst, Level::Critical);
}

#[test]
fn a_relapse_is_the_same_incident() {
    let mut office = Office::new(policy());
    office.is("db", Level::Critical, None);
    office.pass(MINUTE);
    for _ in 0..10 {
        office.is("db", Level::Healthy, None);
        office.pass(3 * S);
        office.is("db", Level::Critical, None);
        office.pass(3 * S);
    }
    assert_eq!(office.news(), ["firing db critical → log+ops"]);
}

#[test]
fn what_flaps_tells_a_few_times_and_then_is_one_incident() {
    let mut office = Office::new(policy());
    let mut told = Vec::new();
    for _ in 0..60 {
        office.is("db", Level::Critical, None);
        office.pass(10 * S);
        office.is("db", Level::Healthy, None);
        office.pass(10 * S);
        told.extend(office.news());
    }
    let (firing, resolved) = (
        "firing db critical → log+ops",
        "resolved db healthy → log+ops",
    );
    assert_eq!(told, [firing, resolved, firing]);
    let id = office.desk.alerts().next().unwrap().id;
    let why = office.why(id.0);
    assert!(
        why.contains(
            "it flaps: another incident shortly before; resolved once it has been well for 20s"
        ),
        "{why}"
    );
    office.pass(MINUTE);
    assert_eq!(office.news(), [resolved]);
    // After a long calm it is an incident like the first.
    office.pass(11 * MINUTE);
    office.is("db", Level::Critical, None);
    office.pass(MINUTE);
    office.is("db", Level::Healthy, None);
    office.pass(5 * S);
    assert_eq!(office.news(), [firing, resolved]);
}

#[test]
fn a_maintenance_window_tells_nobody_and_says_so() {
    let mut office = Office::new(policy());
    let window = || {
        Some(Hold::Maintenance {
            window: "nightly".to_owned(),
            until: Timestamp(1_767_384_000_000_000),
        })
    };
    office.is("db", Level::Critical, None);
    office.pass(MINUTE);
    office.news();
    office.is("db", Level::Critical, window());
    office.is("web", Level::Critical, window());
    office.pass(100 * 60 * MINUTE);
    assert_eq!(office.news(), [""; 0], "not even a repeat");
    assert!(
        office.why(2).starts_with(
            "nobody is told now: maintenance window nightly covers its service until \
             2026-01-02T20:00:00Z"
        ),
        "{}",
        office.why(2)
    );
    assert_eq!(
        office.kept[&AlertId(2)].level,
        Level::Critical,
        "it is known"
    );
    // Whoever was told of the fire is told of its end.
    office.is("db", Level::Healthy, window());
    office.pass(MINUTE);
    assert_eq!(office.news(), ["resolved db healthy → log+ops"]);
    office.is("web", Level::Critical, None);
    office.pass(4 * S);
    assert_eq!(office.news(), [""; 0], "it may just be coming back");
    office.pass(S);
    assert_eq!(office.news(), ["firing web critical → log+ops"]);
}

#[test]
fn what_happens_to_us_again_and_again_is_one_alert_that_counts() {
    let mut office = Office::new(policy());
    for _ in 0..3 {
        let at = office.at();
        let lasts = Lasting::For(MINUTE);
        let done = office
            .desk
            .own("restarted", Level::Degraded, "killed".into(), lasts, at);
        office.take(done);
        office.pass(30 * S);
        office.restart();
    }
    assert_eq!(
        office.news(),
        ["firing supervisor: restarted degraded → log+ops"]
    );
    let alert = office.kept[&AlertId(1)].clone();
    assert_eq!(alert.reason, "killed; 3 times since 13:46:40");
    assert!(office.why(1).contains("over in "), "{}", office.why(1));
    office.pass(MINUTE);
    assert_eq!(
        office.news(),
        ["resolved supervisor: restarted degraded → log+ops"]
    );
}

#[test]
fn a_critical_one_is_repeated_until_somebody_takes_it() {
    let mut office = Office::new(policy());
    office.is("db", Level::Critical, None);
    office.pass(2 * 60 * MINUTE + 6 * S);
    assert_eq!(
        office.news(),
        [
            "firing db critical → log+ops",
            "repeated db critical → log+ops",
            "repeated db critical → log+ops"
        ]
    );
    let at = office.at();
    let taken = office
        .desk
        .acknowledge(AlertId(1), "ann".into(), "on it".into(), at);
    office.take(taken.unwrap());
    assert_eq!(office.news(), ["acknowledged db critical → log+ops"]);
    office.pass(100 * 60 * MINUTE);
    assert_eq!(office.news(), [""; 0]);
    assert!(office.why(1).contains("taken by ann"), "{}", office.why(1));
    let none = office
        .desk
        .acknowledge(AlertId(2), String::new(), String::new(), at);
    assert_eq!(none, Err(Refused::NoAlert(AlertId(2))));
}

#[test]
fn what_gets_worse_than_what_was_taken_is_news() {
    let mut office = Office::new(policy());
    office.is("db", Level::Degraded, None);
    office.pass(MINUTE);
    let at = office.at();
    let taken = office
        .desk
        .acknowledge(AlertId(1), "ann".into(), String::new(), at);
    office.take(taken.unwrap());
    office.news();
    office.is("db", Level::Warning, None);
    office.is("db", Level::Degraded, None);
    assert_eq!(office.news(), [""; 0]);
    office.is("db", Level::Critical, None);
    assert_eq!(office.news(), ["escalated db critical → log+ops"]);
    assert_eq!(office.kept[&AlertId(1)].phase, Phase::Firing);
}

#[test]
fn later_steps_are_for_what_nobody_has_taken() {
    let step = |level, minutes: u32, to: &str| Step {
        level,
        after: minutes * MINUTE,
        to: vec![to.into()],
    };
    let steps = vec![
        step(Level::Critical, 0, "ops"),
        step(Level::Critical, 15, "boss"),
    ];
    for (acknowledged, told) in [
        (false, vec!["escalated db critical → boss"]),
        (true, vec![]),
    ] {
        let mut office = Office::new(Policy {
            steps: steps.clone(),
            ..policy()
        });
        office.is("db", Level::Warning, None);
        office.pass(60 * MINUTE);
        assert_eq!(office.news(), [""; 0], "there is no step for a warning");
        assert!(office.why(1).contains("not reached, it is warning"));
        office.is("db", Level::Critical, None);
        office.pass(14 * MINUTE);
        assert_eq!(office.news(), ["firing db critical → ops"]);
        if acknowledged {
            let at = office.at();
            let taken = office
                .desk
                .acknowledge(AlertId(1), "ann".into(), String::new(), at);
            office.take(taken.unwrap());
            office.news();
        }
        office.pass(2 * MINUTE);
        assert_eq!(office.news(), told);
    }
}

#[test]
fn a_service_may_name_its_own_sinks_and_its_own_repeat() {
    let own = Override {
        to: Some(vec!["db-team".into()]),
        repeat: Some(10 * MINUTE),
    };
    let mut office = Office::new(Policy {
        overrides: HashMap::from([(name("db"), own)]),
        ..policy()
    });
    office.is("db", Level::Warning, None);
    office.pass(6 * S);
    assert_eq!(office.news(), ["firing db warning → log"]);
    office.is("db", Level::Critical, None);
    office.pass(10 * MINUTE);
    assert_eq!(
        office.news(),
        [
            "escalated db critical → db-team",
            "repeated db critical → log+db-team"
        ]
    );
}

#[test]
fn while_its_dependency_is_down_nobody_is_told_of_it() {
    let mut office = Office::new(policy());
    let down = Some(Hold::Dependency { on: name("db") });
    office.is("web", Level::Critical, down);
    office.pass(60 * MINUTE);
    assert_eq!(office.news(), [""; 0]);
    assert!(office.why(1).contains("db, which it depends on, is down"));
    office.is("web", Level::Critical, None);
    office.pass(4 * S);
    assert_eq!(office.news(), [""; 0], "it may just be coming back, too");
    office.pass(S);
    assert_eq!(office.news(), ["firing web critical → log+ops"]);
}

#[test]
fn a_pause_neither_ends_an_incident_nor_tells_of_it() {
    let mut office = Office::new(policy());
    office.is("db", Level::Critical, None);
    office.pass(MINUTE);
    office.news();
    let why = "until 14:00".to_owned();
    office.is("db", Level::Unknown, Some(Hold::Paused { why }));
    office.pass(100 * 60 * MINUTE);
    assert_eq!(office.news(), [""; 0]);
    office.is("db", Level::Healthy, None);
    office.pass(MINUTE);
    assert_eq!(office.news(), ["resolved db healthy → log+ops"]);
}

#[test]
fn what_an_operator_stops_is_over() {
    let mut office = Office::new(policy());
    office.is("db", Level::Critical, None);
    office.pass(MINUTE);
    office.is("db", Level::Unknown, None);
    office.pass(MINUTE);
    office.is("web", Level::Critical, None);
    office.pass(MINUTE);
    let at = office.at();
    let gone = office.desk.forget(&name("web"), at);
    office.take(gone);
    let ends = [
        "resolved db unknown → log+ops",
        "resolved web critical → log+ops",
    ];
    let news = office.news();
    assert!(
        ends.iter().all(|end| news.contains(&(*end).to_owned())),
        "{news:?}"
    );
}

#[test]
fn a_silence_holds_until_its_end_but_not_back_what_is_over() {
    let mut office = Office::new(policy());
    office.is("db-1", Level::Critical, None);
    office.pass(MINUTE);
    office.news();
    let id = office.silence("db-*", 60 * MINUTE);
    office.is("db-2", Level::Critical, None);
    office.is("web", Level::Critical, None);
    office.pass(30 * MINUTE);
    assert_eq!(office.news(), ["firing web critical → log+ops"]);
    office.is("web", Level::Warning, None);
    assert!(
        office
            .why(2)
            .contains(&format!("silence {id} covers it until"))
    );
    office.is("db-1", Level::Healthy, None);
    office.pass(MINUTE);
    assert_eq!(office.news(), ["resolved db-1 healthy → log+ops"]);
    office.pass(29 * MINUTE);
    assert_eq!(office.news(), [""; 0]);
    office.pass(5 * S);
    assert_eq!(office.news(), ["firing db-2 critical → log+ops"]);
    assert_eq!(office.desk.silences().count(), 0);

    let id = office.silence("*", 60 * MINUTE);
    let at = office.at();
    let ended = office.desk.end_silence(id, at).unwrap();
    office.take(ended);
    let again = office.desk.end_silence(id, at);
    assert_eq!(again, Err(Refused::NoSilence(id)));
}

#[test]
fn most_services_at_once_are_one_alert_that_lists_them() {
    let mut office = Office::new(policy());
    office.desk.set_watched(15);
    let names: Vec<String> = (0..12).map(|n| format!("w{n:02}")).collect();
    for service in &names {
        office.is(service, Level::Warning, None);
        office.pass(S / 10);
    }
    office.is("internal.archive", Level::Warning, None);
    office.pass(MINUTE);
    for service in &names {
        office.is(service, Level::Critical, None);
    }
    office.pass(MINUTE);
    let mut news = office.news();
    let own = "firing internal.archive warning → log".to_owned();
    assert!(
        news.contains(&own),
        "our own actors are no part of it: {news:?}"
    );
    news.retain(|line| *line != own);
    assert_eq!(
        news,
        [
            "firing storm warning → log",
            "escalated storm critical → log+ops"
        ]
    );
    let storm = office.desk.alerts().find(|a| a.subject == Subject::Storm);
    let storm = storm.unwrap().clone();
    assert_eq!(
        storm.reason,
        "12 of 15 services went bad together, 12 of them still are: w00, w01, w02, w03, w04 \
         and 7 more"
    );
    assert_eq!(storm.members.len(), 12);
    for service in &names[1..] {
        office.is(service, Level::Healthy, None);
        office.pass(MINUTE);
    }
    assert_eq!(office.news(), [""; 0]);
    office.is(&names[0], Level::Healthy, None);
    office.pass(MINUTE);
    assert_eq!(office.news(), ["resolved storm healthy → log+ops"]);
    assert_eq!(office.desk.next(), Time::NEVER);
}

#[test]
fn a_few_of_many_are_no_storm_and_neither_are_those_that_wait_for_a_parent() {
    let mut office = Office::new(policy());
    for n in 0..12 {
        office.is(&format!("w{n:02}"), Level::Critical, None);
    }
    office.pass(MINUTE);
    assert_eq!(office.news().len(), 12);

    let mut office = Office::new(policy());
    office.desk.set_watched(1_001);
    office.is("parent", Level::Critical, None);
    for n in 0..1_000 {
        let hold = Some(Hold::Dependency { on: name("parent") });
        office.is(&format!("child{n}"), Level::Critical, hold);
    }
    office.pass(60 * S);
    assert_eq!(office.news(), ["firing parent critical → log+ops"]);
}

#[test]
fn ten_thousand_at_once_are_one_message() {
    let mut office = Office::new(policy());
    office.desk.set_watched(10_000);
    for level in [Level::Warning, Level::Degraded, Level::Critical] {
        for n in 0..10_000 {
            office.is(&format!("w{n}"), level, None);
        }
    }
    office.pass(6 * S);
    assert_eq!(office.news(), ["firing storm critical → log+ops"]);
}

#[test]
fn what_was_done_about_it_stands_in_the_reason() {
    let mut office = Office::new(policy());
    office.is("db", Level::Degraded, None);
    office.desk.poked(&name("db"), Timestamp(50_530_000_000));
    office.desk.restarted(&name("db"));
    office.desk.restarted(&name("db"));
    office.is("db", Level::Critical, None);
    assert_eq!(
        office.kept[&AlertId(1)].reason,
        "no pulse for 95 s, expected every 30 s; poked at 14:02:10, restarted twice since"
    );
    // Of one that has no alert, there is nothing to say.
    office.desk.restarted(&name("web"));
}

#[test]
fn our_own_troubles_are_told_at_once_and_a_sink_s_by_the_others() {
    let mut office = Office::new(policy());
    let at = office.at();
    let stalled = office.desk.own(
        "stalled",
        Level::Degraded,
        "for 30 s".into(),
        Lasting::For(S),
        at,
    );
    office.take(stalled);
    assert_eq!(
        office.news(),
        ["firing supervisor: stalled degraded → log+ops"]
    );
    office.pass(MINUTE);
    assert_eq!(
        office.news(),
        ["resolved supervisor: stalled degraded → log+ops"]
    );
    let sink: SinkName = "ops".into();
    let fails = office
        .desk
        .sink_fails(&sink, "HTTP 500 for 10 min".into(), at);
    office.take(fails);
    assert_eq!(office.news(), ["firing sink ops critical → log"]);
    let at = office.at();
    let works = office.desk.sink_works(&sink, at);
    office.take(works);
    assert_eq!(office.news(), ["resolved sink ops critical → log"]);
}

#[test]
fn a_new_beginning_fires_nothing_again() {
    let mut office = Office::new(policy());
    office.is("db", Level::Critical, None);
    office.is("web", Level::Warning, None);
    office.pass(4 * S);
    office.restart();
    assert_eq!(office.news(), [""; 0]);
    office.pass(MINUTE);
    assert_eq!(office.news().len(), 2);
    office.restart();
    office.pass(MINUTE);
    assert_eq!(office.news(), [""; 0]);
    office.is("db", Level::Healthy, None);
    office.pass(2 * S);
    office.restart();
    office.pass(MINUTE);
    assert_eq!(office.news(), ["resolved db healthy → log+ops"]);
    // Its number is not given away again.
    office.is("db", Level::Critical, None);
    assert!(office.kept[&AlertId(3)].phase == Phase::Pending);
}

#[test]
fn patterns_that_cannot_match_are_refused() {
    assert_eq!(Pattern::new(""), Err(InvalidPattern::Empty));
    assert!(matches!(Pattern::new("[a"), Err(InvalidPattern::Syntax(_))));
    let long = "a".repeat(201);
    assert_eq!(Pattern::new(&long), Err(InvalidPattern::TooLong(201)));
    let pattern = Pattern::new("{db,web}-?").unwrap();
    assert!(pattern.matches(&name("db-1")) && !pattern.matches(&name("db-10")));
    assert!(
        Pattern::new("*")
            .unwrap()
            .matches(&name("a.b/".trim_end_matches('/')))
    );
}

#[derive(Debug, Clone)]
enum Move {
    Is(u8, Level, u8),
    Pass(u16),
    Take(u8),
    Silence(u8, u16),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Move>> {
    let level = prop::sample::select(vec![
        Level::Unknown,
        Level::Healthy,
        Level::Warning,
        Level::Degraded,
        Level::Critical,
    ]);
    let step = prop_oneof![
        6 => (0_u8..5, level, 0_u8..7).prop_map(|(s, l, h)| Move::Is(s, l, h)),
        5 => (0_u16..2_000).prop_map(Move::Pass),
        1 => (1_u8..20).prop_map(Move::Take),
        1 => (0_u8..5, 1_u16..600).prop_map(|(s, n)| Move::Silence(s, n)),
        1 => Just(Move::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn every_history_of_alerts_is_in_order(steps in steps(), watched in 2_usize..20) {
        let mut office = Office::new(policy());
        office.desk.set_watched(watched);
        for step in steps {
            match step {
                Move::Is(service, level, hold) => {
                    let hold = match hold {
                        0 => Some(Hold::Dependency { on: name("db") }),
                        1 => Some(Hold::Paused { why: String::new() }),
                        2 => Some(Hold::Misses),
                        3 => Some(Hold::Maintenance {
                            window: "nightly".to_owned(),
                            until: Timestamp(0),
                        }),
                        _ => None,
                    };
                    office.is(&format!("s{service}"), level, hold);
                }
                Move::Pass(tenths) => office.pass(S * u32::from(tenths) / 10),
                Move::Take(id) => {
                    let at = office.at();
                    let id = AlertId(id.into());
                    let who = "ann".to_owned();
                    if let Ok(done) = office.desk.acknowledge(id, who, String::new(), at) {
                        office.take(done);
                    }
                }
                Move::Silence(service, seconds) => {
                    office.silence(&format!("s{service}"), S * u32::from(seconds));
                }
                Move::Restart => {
                    let before = office.sent.len();
                    office.pass(Duration::ZERO);
                    let settled = office.sent.len();
                    office.restart();
                    office.desk.set_watched(watched);
                    prop_assert_eq!(office.sent.len(), settled, "{} before", before);
                }
            }
            // Never two alerts for one incident.
            let mut subjects: Vec<_> = office.desk.alerts().map(|a| a.subject.clone()).collect();
            let all = subjects.len();
            subjects.sort();
            subjects.dedup();
            prop_assert_eq!(subjects.len(), all);
            // Never silence without a rule that explains it.
            let now = office.at().time;
            for alert in office.desk.alerts() {
                let due = (0..3).map(|n| {
                    let step = &office.desk.policy.steps[n];
                    alert.step_due(n, step.level, step.after)
                });
                let overdue = due.min().unwrap_or(Time::NEVER) <= now;
                let quiet = alert.hold.is_some() || alert.clock.well.is_some();
                prop_assert!(!overdue || quiet, "{:?}", alert);
                prop_assert!(!office.desk.why(alert.id, now).unwrap().is_empty());
            }
        }
        // What has a fire has an end, once, last; what was not fired has none.
        for service in 0..5 {
            office.is(&format!("s{service}"), Level::Healthy, None);
        }
        office.pass(60 * MINUTE);
        prop_assert_eq!(office.desk.alerts().count(), 0);
        prop_assert_eq!(office.desk.next(), Time::NEVER);
        let mut told: HashMap<AlertId, Vec<NoticeKind>> = HashMap::new();
        for notice in &office.sent {
            let kinds = told.entry(notice.alert.id).or_default();
            kinds.push(notice.kind);
            prop_assert_eq!(notice.alert.serial as usize, kinds.len());
        }
        for (id, alert) in &office.kept {
            prop_assert_eq!(alert.phase, Phase::Resolved);
            let kinds = told.remove(id).unwrap_or_default();
            prop_assert_eq!(kinds.first().copied(), kinds.first().map(|_| NoticeKind::Firing));
            prop_assert_eq!(kinds.last().copied(), kinds.last().map(|_| NoticeKind::Resolved));
            let ends = kinds.iter().filter(|kind| **kind == NoticeKind::Resolved).count();
            prop_assert!(ends <= 1);
        }
    }
}
