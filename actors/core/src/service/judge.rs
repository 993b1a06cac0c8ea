//! Ageing: what a service's level is now, and when time alone will change it.

use std::time::Duration;

use super::state::{Halt, Ladder, State, Then};
use super::{Now, Service, words};
use crate::event::{Action, Change, EventKind, Moment};
use crate::level::{Facts, Freshness, Level, Standing, missed};
use crate::policy::Watch;
use crate::stall::excused;
use crate::time::Time;

impl Service {
    /// The last sign of life that judges it, or what gives it a new chance.
    pub(super) fn base(&self) -> Time {
        let last = self.memory.last.map_or(Time(0), |last| last.time);
        last.max(self.memory.since).max(self.memory.busy_until)
    }

    /// Its age on the judging clock.
    pub(super) fn age(&self, now: &Now) -> Duration {
        now.at.time.since(self.base())
    }

    /// The same less what it is excused: the age at which the deadlines of [`excused`] and
    /// the plain ones are reached alike.
    fn excused_age(&self, now: &Now) -> Duration {
        let grace = self.policy.grace;
        if now.at.time < now.amnesty + grace {
            self.age(now).saturating_sub(grace)
        } else {
            self.age(now)
        }
    }

    /// When its start must have led to something.
    pub(super) fn start_deadline(&self, amnesty: Time) -> Time {
        excused(
            self.extended()
                .max(self.memory.since + self.policy.start_grace),
            amnesty,
            self.policy.grace,
        )
    }

    /// What its life has come to.
    pub(super) fn standing(&self, now: &Now) -> Standing {
        if self.memory.pause.is_some() {
            return Standing::Off;
        }
        let within_start = now.at.time < self.start_deadline(now.amnesty);
        match &self.memory.state {
            State::New | State::Stopped { .. } | State::Held { .. } => Standing::Off,
            State::Exited { failed: false } => Standing::Off,
            State::Exited { failed: true } | State::Quarantined { .. } => Standing::Failed,
            State::Waiting { .. } | State::Backoff { .. } => Standing::Between,
            State::Stopping { then, .. } => standing_before(then),
            State::Resumed { plan, .. } => plan.as_ref().map_or(Standing::Between, standing_before),
            State::Starting { .. } if !within_start => Standing::Unready,
            State::Starting { heard: false, .. } | State::Starting { pid: None, .. } => {
                Standing::Starting
            }
            State::Starting { heard: true, .. } => self.standing_of_heard(now),
            State::Running { heard, .. } | State::External { heard } => {
                if *heard || self.policy.watch == Watch::Alive {
                    self.standing_of_heard(now)
                } else if within_start {
                    Standing::Starting
                } else if self.policy.on_demand {
                    Standing::Silent
                } else {
                    Standing::Unready
                }
            }
        }
    }

    fn standing_of_heard(&self, now: &Now) -> Standing {
        if self.stands_still(now) {
            Standing::Still
        } else if self.is_judged_by_age() {
            Standing::Up
        } else {
            Standing::Silent
        }
    }

    /// Whether the silence of one that was heard is lateness.
    fn is_judged_by_age(&self) -> bool {
        self.policy.watch != Watch::Alive && !self.policy.on_demand && !self.memory.idle
    }

    /// All that its level follows from.
    #[must_use]
    pub fn facts(&self, now: &Now) -> Facts {
        let floor = match self.memory.state {
            // Until it is known what became of it, it is what it was.
            State::Resumed { .. } => self.memory.level,
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. } => self.memory.floor,
        };
        Facts {
            standing: self.standing(now),
            age: self.excused_age(now),
            errors: self.errors(),
            floor,
        }
    }

    /// Errors in a row, of both kinds.
    pub(super) fn errors(&self) -> u32 {
        self.memory.reported.saturating_add(self.memory.probes)
    }

    /// Sets the level to what follows from the facts, and tells of a change.
    pub(super) fn judge(&mut self, now: &Now, out: &mut Vec<Action>) {
        let facts = self.facts(now);
        let level = facts.level(&self.policy.thresholds);
        let known = !matches!(self.memory.state, State::Resumed { .. });
        if known && level > Level::Healthy && level > self.memory.floor {
            self.memory.reason = self.cause(&facts, now).into();
            self.memory.floor = level;
            self.memory.clean = 0;
        }
        let before = self.memory.level;
        if level == before {
            return;
        }
        self.memory.level = level;
        out.push(Action::Tell(Change {
            kind: EventKind::Level,
            from: Some(before.as_str()),
            to: Some(level.as_str()),
            reason: match level {
                Level::Unknown | Level::Warning | Level::Degraded | Level::Critical => {
                    self.reason(now)
                }
                Level::Healthy => self.relief(before),
            },
            level,
        }));
    }

    /// Keeps a level until a clean pulse lifts it.
    pub(super) fn raise(&mut self, level: Level, reason: String) {
        self.memory.clean = 0;
        if level >= self.memory.floor {
            self.memory.floor = level;
            self.memory.reason = reason.into();
        }
    }

    /// Lifts what was held against it.
    pub(super) fn lift(&mut self) {
        self.memory.floor = Level::Unknown;
        self.memory.reason = Box::default();
    }

    /// Why the level rises to what the facts say.
    fn cause(&self, facts: &Facts, now: &Now) -> String {
        let by_errors = self.policy.thresholds.level_by_count(facts.errors);
        let by_age = self.policy.thresholds.level_by_age(facts.age);
        match facts.standing {
            Standing::Unready => self.unready_sentence(),
            Standing::Still => self.still_sentence(now),
            Standing::Up if by_age >= by_errors => self.late_sentence(now),
            // Whoever brought these about has said why already.
            Standing::Up
            | Standing::Silent
            | Standing::Starting
            | Standing::Between
            | Standing::Off
            | Standing::Failed => self.memory.reason.to_string(),
        }
    }

    /// Why its level is what it is now; empty when it is well.
    pub(super) fn reason(&self, now: &Now) -> String {
        if let Some(pause) = &self.memory.pause {
            return match pause.why.as_str() {
                "" => "paused".to_owned(),
                why => format!("paused: {why}"),
            };
        }
        let facts = self.facts(now);
        let level = facts.level(&self.policy.thresholds);
        match level {
            Level::Healthy => self.leave_sentence(now),
            Level::Unknown => self.rest_sentence(),
            Level::Warning | Level::Degraded | Level::Critical => {
                let by_age = self.policy.thresholds.level_by_age(facts.age);
                // Not the one that was true when the level was reached.
                if facts.standing == Standing::Still {
                    self.still_sentence(now)
                } else if facts.standing == Standing::Up && by_age == level {
                    self.late_sentence(now)
                } else {
                    self.memory.reason.to_string()
                }
            }
        }
    }

    /// Why its silence is none, where it has said so itself.
    fn leave_sentence(&self, now: &Now) -> String {
        let busy = self.memory.busy_until.since(now.at.time);
        if self.memory.idle {
            "idle: it need not pulse".to_owned()
        } else if busy > Duration::ZERO {
            format!("busy for another {} at most", words::span(busy))
        } else {
            String::new()
        }
    }

    /// Why it is well again, or for the first time.
    fn relief(&self, before: Level) -> String {
        match (self.policy.watch, before) {
            (Watch::Alive, Level::Unknown | Level::Healthy) => "running".to_owned(),
            (Watch::Alive, Level::Warning | Level::Degraded | Level::Critical) => {
                "running without trouble again".to_owned()
            }
            (Watch::Pulsing | Watch::External, Level::Unknown | Level::Healthy) => {
                "pulsing".to_owned()
            }
            (Watch::Pulsing | Watch::External, _) => "pulsing again".to_owned(),
        }
    }

    /// Why nobody has an opinion of it.
    fn rest_sentence(&self) -> String {
        match &self.memory.state {
            State::New => "not started yet".to_owned(),
            State::Waiting { .. } => match &self.missing {
                Some(missing) => format!("waiting for {missing}"),
                None => "waiting to be started".to_owned(),
            },
            State::Starting { .. } => self.with_refusal("starting".to_owned()),
            State::Running { .. } | State::External { .. } => {
                self.with_refusal("no pulse yet".to_owned())
            }
            State::Backoff { .. } => "waiting for its next start".to_owned(),
            State::Resumed { .. } => "the supervisor has just begun".to_owned(),
            State::Stopping { .. } if self.memory.reason.is_empty() => "stopping".to_owned(),
            State::Stopped { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Exited { .. }
            | State::Quarantined { .. } => self.memory.reason.to_string(),
        }
    }

    pub(super) fn late_sentence(&self, now: &Now) -> String {
        let (interval, grace) = (self.policy.interval, self.policy.grace);
        let counted = self.age(now);
        if self.policy.learns() {
            let age = self.memory.last.map_or(counted, |last| passed(last, now));
            return self.with_refusal(words::late_while_learning(age, self.policy.start_grace));
        }
        self.with_refusal(words::late(
            self.memory.last.map_or(counted, |last| passed(last, now)),
            counted,
            interval,
            missed(self.age(now), interval, grace),
            missed(self.policy.thresholds.critical, interval, grace),
        ))
    }

    /// A sentence about its silence, and what its last probe found wrong.
    fn with_refusal(&self, sentence: String) -> String {
        match self.refusal() {
            Some(refusal) => format!("{sentence}; its last probe failed: {refusal}"),
            None => sentence,
        }
    }

    /// `5 probes failed in a row, the last: 127.0.0.1:80 refused the connection`.
    pub(super) fn probes_sentence(&self) -> String {
        let refusal = self.refusal().unwrap_or("nobody knows why");
        match self.memory.probes {
            1 => format!("probe failed: {refusal}"),
            n => format!("{n} probes failed in a row, the last: {refusal}"),
        }
    }

    pub(super) fn unready_sentence(&self) -> String {
        let grace = words::span(self.policy.start_grace);
        self.with_refusal(match self.memory.state {
            State::External { .. } => format!("no pulse within {grace}"),
            State::Running { .. } => format!("no pulse within {grace} of its start"),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => format!("not ready within {grace} of its start"),
        })
    }

    /// The Deacon's word for its age; `None` where age does not judge it.
    pub(super) fn freshness(&self, now: &Now) -> Option<Freshness> {
        match self.standing(now) {
            Standing::Up => Some(self.policy.thresholds.freshness(self.excused_age(now))),
            // Its pulses are as fresh as they are: it is only that nothing moves.
            Standing::Still if self.is_judged_by_age() => {
                Some(self.policy.thresholds.freshness(self.excused_age(now)))
            }
            // It only does not say that it is ready: its pulses have an age all the same.
            Standing::Unready
                if self.policy.watch != Watch::Alive
                    && matches!(self.memory.state, State::Starting { heard: true, .. }) =>
            {
                Some(self.policy.thresholds.freshness(self.excused_age(now)))
            }
            Standing::Unready if self.policy.watch == Watch::Alive => None,
            Standing::Unready => Some(Freshness::VeryStale),
            Standing::Off
            | Standing::Failed
            | Standing::Between
            | Standing::Starting
            | Standing::Still
            | Standing::Silent => None,
        }
    }

    /// Whole intervals missed; zero where silence is no lateness.
    pub(super) fn missed(&self, now: &Now) -> u32 {
        match self.standing(now) {
            Standing::Up | Standing::Still | Standing::Unready
                if self.policy.watch != Watch::Alive =>
            {
                missed(self.age(now), self.policy.interval, self.policy.grace)
            }
            Standing::Up
            | Standing::Still
            | Standing::Unready
            | Standing::Off
            | Standing::Failed
            | Standing::Between
            | Standing::Starting
            | Standing::Silent => 0,
        }
    }

    /// The age at which one that is well ceases to be; never, where silence is no lateness.
    pub(super) fn first_age(&self) -> Duration {
        if self.is_judged_by_age() {
            self.policy.thresholds.warning
        } else {
            Duration::MAX
        }
    }

    /// When time alone may change something next, later than what was looked at last: the
    /// earliest of everything that may have a deadline.
    pub(super) fn next_deadline(&self, amnesty: Time) -> Time {
        if let Some(pause) = &self.memory.pause {
            return self.ahead(pause.until.unwrap_or(Time::NEVER));
        }
        let of_state = match self.memory.state {
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => Time::NEVER,
            State::Backoff { until, .. } | State::Quarantined { until } => self.ahead(until),
            State::Starting { pid, heard } => {
                let start = self.ahead(self.start_deadline(amnesty));
                if heard && pid.is_some() {
                    start.min(self.heard_deadline(amnesty))
                } else {
                    start
                }
            }
            State::Running { heard, .. } | State::External { heard } => {
                if heard || self.policy.watch == Watch::Alive {
                    self.heard_deadline(amnesty)
                } else {
                    self.ahead(self.start_deadline(amnesty))
                }
            }
        };
        let of_ladder = match self.memory.ladder {
            Ladder::Nudged { until, .. } => self.ahead(excused(until, amnesty, self.policy.grace)),
            Ladder::Calm | Ladder::Asked { .. } | Ladder::Commanded | Ladder::Spent => Time::NEVER,
        };
        // A poke may have waited for the end of its busyness.
        let of_busyness = self.ahead(self.memory.busy_until);
        of_state
            .min(of_ladder)
            .min(of_busyness)
            .min(self.ahead(self.relief_at()))
    }

    /// Of one that was heard: its age, and its number.
    fn heard_deadline(&self, amnesty: Time) -> Time {
        let still = self.still_at(amnesty).unwrap_or(Time::NEVER);
        self.age_deadline(amnesty).min(self.ahead(still))
    }

    fn age_deadline(&self, amnesty: Time) -> Time {
        if !self.is_judged_by_age() {
            return Time::NEVER;
        }
        let thresholds = &self.policy.thresholds;
        let base = self.base();
        let at = |age: Duration| self.ahead(excused(base + age, amnesty, self.policy.grace));
        let degraded = thresholds.degraded.map_or(Time::NEVER, at);
        at(thresholds.warning)
            .min(degraded)
            .min(at(thresholds.critical))
    }

    /// When a service that pulses by living has lived long enough to be well again.
    pub(super) fn relief_at(&self) -> Time {
        // That it lives is no answer to a probe.
        let refused = self.memory.probes > 0;
        let troubled = self.memory.floor > Level::Healthy || self.errors() > 0;
        match (self.policy.watch, &self.memory.state) {
            (Watch::Alive, State::Running { .. }) if troubled && !refused => {
                self.memory.since + self.policy.backoff.reset_after()
            }
            (Watch::Alive | Watch::Pulsing | Watch::External, _) => Time::NEVER,
        }
    }

    /// A deadline that was looked at and did not lead anywhere is not one any more: what
    /// holds it up ends with an event, not with time.
    fn ahead(&self, deadline: Time) -> Time {
        if deadline > self.looked {
            deadline
        } else {
            Time::NEVER
        }
    }
}

/// The time since then, whatever the judging clock leaves out. After a reboot the monotonic
/// clock counts from anew; the judging clock never shows more than has passed.
pub(super) fn passed(since: Moment, now: &Now) -> Duration {
    let mono = now.at.mono.since(since.mono);
    mono.max(now.at.time.since(since.time))
}

/// The standing of a life that is being ended, by what follows it.
fn standing_before(then: &Then) -> Standing {
    match then {
        Then::Planned
        | Then::Rest {
            halt: Halt::Lasting | Halt::Shutdown { .. },
        } => Standing::Off,
        Then::GiveUp => Standing::Failed,
        Then::Start { .. } | Then::Restart { .. } | Then::Decide { .. } => Standing::Between,
    }
}
