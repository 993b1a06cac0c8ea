//! The desk at which all alerts are kept.
//!
//! Facts come in as they are now, not as what changed: after a restart they are simply told
//! again, and whoever was told of an incident before is not told again. Each alert has one
//! deadline; a call costs what it touches, a tick what is due.

mod incident;
mod storm;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::silence::{Pattern, Silence, SilenceId};
use super::{
    Acknowledgement, Action, Alert, AlertId, Clock, Hold, Lasting, NoticeKind, Phase, Policy,
    SinkName, Subject,
};
use crate::event::Moment;
use crate::level::Level;
use crate::name::ServiceName;
use crate::time::{Time, Timestamp};

/// How a service is now, as far as alerts care.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Which service.
    pub service: ServiceName,
    /// Its level.
    pub level: Level,
    /// Why, in a plain sentence.
    pub reason: String,
    /// Why nobody is to be told of it now: a pause, a maintenance window, a dependency, misses
    /// that alert nobody.
    pub hold: Option<Hold>,
    /// Its labels.
    pub tags: Arc<[String]>,
}

/// Why somebody's wish about an alert or a silence cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none of that number that is open.
    #[error("there is no open alert {0}")]
    NoAlert(AlertId),
    /// There is none of that number.
    #[error("there is no silence {0}")]
    NoSilence(SilenceId),
}

/// All open alerts and silences.
#[derive(Debug)]
pub struct Desk {
    pub(super) policy: Arc<Policy>,
    pub(super) open: BTreeMap<AlertId, Open>,
    by_subject: HashMap<Subject, AlertId>,
    due: BTreeSet<(Time, AlertId)>,
    pub(super) silences: BTreeMap<SilenceId, Silence>,
    next_alert: AlertId,
    next_silence: SilenceId,
    /// How many services are watched: what "most of them" is measured by.
    watched: usize,
    /// When the storm's list is to be made anew: not for each of thousands of members.
    storm_refresh: Time,
    touched: BTreeSet<AlertId>,
    /// When the last incident of a service ended of which somebody was told, and how many had
    /// come shortly before it.
    ended: HashMap<ServiceName, (Time, u32)>,
}

/// An open alert and what is known of its subject.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) alert: Alert,
    /// What the last fact says of a hold.
    hold: Option<Hold>,
    tags: Arc<[String]>,
    /// Whether its subject was heard of since we began: before that nobody is told anything.
    seen: bool,
    due: Time,
}

impl Desk {
    /// A desk with what an earlier one left open. `last` are the highest numbers ever given
    /// away.
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        alerts: Vec<Alert>,
        silences: Vec<Silence>,
        last: (AlertId, SilenceId),
    ) -> Self {
        let highest = alerts.iter().map(|alert| alert.id).max();
        let silenced = silences.iter().map(|silence| silence.id).max();
        let mut desk = Self {
            policy,
            open: BTreeMap::new(),
            by_subject: HashMap::new(),
            due: BTreeSet::new(),
            silences: silences.into_iter().map(|one| (one.id, one)).collect(),
            next_alert: AlertId(last.0.max(highest.unwrap_or_default()).0 + 1),
            next_silence: SilenceId(last.1.max(silenced.unwrap_or_default()).0 + 1),
            watched: 0,
            storm_refresh: Time::NEVER,
            touched: BTreeSet::new(),
            ended: HashMap::new(),
        };
        for alert in alerts {
            let seen = !matches!(alert.subject, Subject::Service(_));
            desk.put(alert, seen, None, Arc::default());
        }
        let all: Vec<_> = desk.open.keys().copied().collect();
        for id in all {
            desk.schedule(id);
        }
        desk
    }

    /// From now on these rules hold. What was told stays told.
    pub fn set_policy(&mut self, policy: Arc<Policy>, at: Moment) -> Vec<Action> {
        self.policy = policy;
        let mut out = Vec::new();
        let all: Vec<_> = self.open.keys().copied().collect();
        for id in all {
            self.look(id, at, &mut out);
        }
        self.finish(out)
    }

    /// How many services are watched, internal ones left out.
    pub fn set_watched(&mut self, watched: usize) {
        self.watched = watched;
    }

    /// The open alerts, the oldest first.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.open.values().map(|open| &open.alert)
    }

    /// The silences that hold.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// When [`Desk::tick`] is to be called next; [`Time::NEVER`] if nothing is due.
    #[must_use]
    pub fn next(&self) -> Time {
        let alerts = self.due.first().map_or(Time::NEVER, |(at, _)| *at);
        let silences = self.silences.values().map(|silence| silence.ends).min();
        alerts
            .min(silences.unwrap_or(Time::NEVER))
            .min(self.storm_refresh)
    }

    // === what happens ===

    /// How a service is now.
    pub fn fact(&mut self, fact: Fact, at: Moment) -> Vec<Action> {
        let mut out = Vec::new();
        let bad = fact.level >= Level::Warning;
        let subject = Subject::Service(fact.service);
        let id = match self.by_subject.get(&subject) {
            Some(&id) => id,
            None if bad => self.begin(subject, fact.level, at, &mut out),
            None => return out,
        };
        if let Some(open) = self.open.get_mut(&id) {
            open.seen = true;
            open.hold = fact.hold;
            open.tags = fact.tags;
            // A pause ends no incident: what it was is seen when the pause is over.
            let paused = matches!(open.hold, Some(Hold::Paused { .. }));
            if bad || !paused {
                open.alert.becomes(fact.level, fact.reason, at);
            }
            self.touched.insert(id);
        }
        self.again_if_worse(id, &mut out);
        self.look(id, at, &mut out);
        self.refresh_storm_of(id, at, &mut out);
        self.finish(out)
    }

    /// That service is no longer watched.
    pub fn forget(&mut self, service: &ServiceName, at: Moment) -> Vec<Action> {
        let mut out = Vec::new();
        if let Some(&id) = self.by_subject.get(&Subject::Service(service.clone())) {
            self.resolve(id, "no longer watched", at, &mut out);
        }
        self.finish(out)
    }

    /// Its service was poked: told with the reason.
    pub fn poked(&mut self, service: &ServiceName, at: Timestamp) {
        if let Some(alert) = self.of_service(service) {
            alert.poked = Some(at);
        }
    }

    /// Its service was restarted: told with the reason.
    pub fn restarted(&mut self, service: &ServiceName) {
        if let Some(alert) = self.of_service(service) {
            alert.restarts = alert.restarts.saturating_add(1);
        }
    }

    /// Something is wrong with ourselves, or was: told at once.
    pub fn own(
        &mut self,
        what: &str,
        level: Level,
        reason: String,
        lasts: Lasting,
        at: Moment,
    ) -> Vec<Action> {
        let subject = Subject::Own(what.to_owned());
        self.raise(subject, level, reason, lasts, at)
    }

    /// That is over.
    pub fn own_over(&mut self, what: &str, at: Moment) -> Vec<Action> {
        self.calm(&Subject::Own(what.to_owned()), at)
    }

    /// A sink has taken nothing for long: told by the others.
    pub fn sink_fails(&mut self, sink: &SinkName, reason: String, at: Moment) -> Vec<Action> {
        self.raise(
            Subject::Sink(sink.clone()),
            Level::Critical,
            reason,
            Lasting::UntilOver,
            at,
        )
    }

    /// It takes again.
    pub fn sink_works(&mut self, sink: &SinkName, at: Moment) -> Vec<Action> {
        self.calm(&Subject::Sink(sink.clone()), at)
    }

    /// Somebody takes an alert: no repeats, no further steps, unless it gets worse.
    ///
    /// # Errors
    /// If no alert of that number is open.
    pub fn acknowledge(
        &mut self,
        id: AlertId,
        who: String,
        note: String,
        at: Moment,
    ) -> Result<Vec<Action>, Refused> {
        let open = self.open.get_mut(&id).ok_or(Refused::NoAlert(id))?;
        let alert = &mut open.alert;
        let mut out = Vec::new();
        let reason = match (who.as_str(), note.as_str()) {
            (who, "") => format!("taken by {who}"),
            (who, note) => format!("taken by {who}: {note}"),
        };
        alert.acknowledged = Some(Acknowledgement {
            who,
            note,
            at: at.wall,
            level: alert.level,
        });
        alert.turn(Phase::Acknowledged, reason, &mut out);
        self.touched.insert(id);
        let told = alert.told.clone();
        self.send(id, NoticeKind::Acknowledged, told, at, &mut out);
        self.schedule(id);
        Ok(self.finish(out))
    }

    /// Alerts of these services tell nobody for so long.
    pub fn silence(
        &mut self,
        services: Pattern,
        tag: Option<String>,
        lasting: Duration,
        (by, note): (String, String),
        at: Moment,
    ) -> (Silence, Vec<Action>) {
        let id = self.next_silence;
        self.next_silence.0 += 1;
        let micros = i64::try_from(lasting.as_micros()).unwrap_or(i64::MAX);
        let silence = Silence {
            id,
            services,
            tag,
            until: Timestamp(at.wall.0.saturating_add(micros)),
            ends: at.time + lasting,
            by,
            note,
        };
        self.silences.insert(id, silence.clone());
        let mut out = Vec::new();
        self.look_at_covered(&silence, at, &mut out);
        (silence, self.finish(out))
    }

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// If there is none of that number.
    pub fn end_silence(&mut self, id: SilenceId, at: Moment) -> Result<Vec<Action>, Refused> {
        let silence = self.silences.remove(&id).ok_or(Refused::NoSilence(id))?;
        let mut out = vec![Action::EndSilence(id)];
        self.look_at_covered(&silence, at, &mut out);
        Ok(self.finish(out))
    }

    /// Does what is due.
    pub fn tick(&mut self, at: Moment) -> Vec<Action> {
        let mut out = Vec::new();
        let over: Vec<_> = self
            .silences
            .values()
            .filter(|silence| silence.ends <= at.time)
            .map(|silence| silence.id)
            .collect();
        for id in over {
            if let Some(silence) = self.silences.remove(&id) {
                out.push(Action::EndSilence(id));
                self.look_at_covered(&silence, at, &mut out);
            }
        }
        if self.storm_refresh <= at.time
            && let Some(&storm) = self.by_subject.get(&Subject::Storm)
        {
            self.refresh_storm(storm, at, &mut out);
        }
        while let Some(&(due, id)) = self.due.first() {
            if due > at.time {
                break;
            }
            self.due.remove(&(due, id));
            self.look(id, at, &mut out);
        }
        self.finish(out)
    }

    // === keeping ===

    fn begin(
        &mut self,
        subject: Subject,
        level: Level,
        at: Moment,
        out: &mut Vec<Action>,
    ) -> AlertId {
        let id = self.next_alert;
        self.next_alert.0 += 1;
        let flaps = self.flaps_of(&subject, at.time);
        let alert = Alert {
            id,
            subject: subject.clone(),
            phase: Phase::Pending,
            level,
            worst: level,
            reason: String::new(),
            opened: at.wall,
            closed: None,
            acknowledged: None,
            hold: None,
            told: Vec::new(),
            serial: 0,
            members: Vec::new(),
            restarts: 0,
            poked: None,
            again: 0,
            flaps,
            clock: Clock {
                pending: at.time,
                ..Clock::default()
            },
        };
        out.push(Action::Tell {
            id,
            subject,
            from: None,
            to: Phase::Pending,
            level,
            reason: "opened".to_owned(),
        });
        self.put(alert, true, None, Arc::default());
        self.touched.insert(id);
        id
    }

    fn put(&mut self, alert: Alert, seen: bool, hold: Option<Hold>, tags: Arc<[String]>) {
        let id = alert.id;
        self.by_subject.insert(alert.subject.clone(), id);
        let open = Open {
            alert,
            hold,
            tags,
            seen,
            due: Time::NEVER,
        };
        self.open.insert(id, open);
    }

    fn raise(
        &mut self,
        subject: Subject,
        level: Level,
        reason: String,
        lasts: Lasting,
        at: Moment,
    ) -> Vec<Action> {
        let mut out = Vec::new();
        let known = self.by_subject.get(&subject).copied();
        let id = match known {
            Some(id) => id,
            None => self.begin(subject, level, at, &mut out),
        };
        if let Some(open) = self.open.get_mut(&id) {
            if known.is_some() && lasts != Lasting::UntilOver {
                open.alert.again = open.alert.again.saturating_add(1);
            }
            open.alert.becomes(level, reason, at);
            self.touched.insert(id);
            if open.alert.phase == Phase::Pending {
                self.fire(id, at, &mut out);
            }
        }
        self.again_if_worse(id, &mut out);
        self.look(id, at, &mut out);
        if let Some(open) = self.open.get_mut(&id)
            && let Lasting::For(time) = lasts
        {
            open.alert.clock.well = Some(at.time + time);
            self.schedule(id);
        }
        self.finish(out)
    }

    fn calm(&mut self, subject: &Subject, at: Moment) -> Vec<Action> {
        let mut out = Vec::new();
        if let Some(&id) = self.by_subject.get(subject) {
            self.resolve(id, "well again", at, &mut out);
        }
        self.finish(out)
    }

    fn of_service(&mut self, service: &ServiceName) -> Option<&mut Alert> {
        let id = self.by_subject.get(&Subject::Service(service.clone()))?;
        self.touched.insert(*id);
        self.open.get_mut(id).map(|open| &mut open.alert)
    }

    fn look_at_covered(&mut self, silence: &Silence, at: Moment, out: &mut Vec<Action>) {
        let covered: Vec<_> = self
            .open
            .values()
            .filter(|open| match &open.alert.subject {
                Subject::Service(name) => silence.covers(name, &open.tags),
                Subject::Storm | Subject::Sink(_) | Subject::Own(_) => false,
            })
            .map(|open| open.alert.id)
            .collect();
        for id in covered {
            self.look(id, at, out);
        }
    }

    /// When to look at it again.
    fn schedule(&mut self, id: AlertId) {
        let wait = self.policy.group_wait;
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let alert = &open.alert;
        let due = match (&alert.clock.well, &alert.hold, alert.phase) {
            (Some(well), _, _) => *well + self.policy.well_for(alert.flaps),
            // The end of a silence looks by itself; other holds end by a fact.
            (None, Some(_), _) => Time::NEVER,
            (None, None, _) if !open.seen => Time::NEVER,
            (None, None, Phase::Pending) => alert.clock.pending + wait,
            (None, None, Phase::Firing | Phase::Acknowledged | Phase::Resolved) => {
                let steps = self.policy.steps.iter().enumerate();
                steps
                    .map(|(n, step)| alert.step_due(n, step.level, step.after))
                    .chain([alert.repeat_due(&self.policy)])
                    .min()
                    .unwrap_or(Time::NEVER)
            }
        };
        if due != open.due {
            self.due.remove(&(open.due, id));
        }
        open.due = due;
        if due != Time::NEVER {
            self.due.insert((due, id));
        }
    }

    /// Appends what is to be kept of all that a call has touched.
    fn finish(&mut self, mut out: Vec<Action>) -> Vec<Action> {
        for id in std::mem::take(&mut self.touched) {
            if let Some(open) = self.open.get(&id) {
                out.push(Action::Save(Box::new(open.alert.clone())));
            }
        }
        out
    }
}
