//! How lives end, and what follows.
//!
//! Every end comes to one of four decisions: rest (a stop), start (asked for, not limited),
//! restart again (the backoff's delay and the limit's leave, else quarantine), or stay down
//! (as planned: unknown; a failure: critical).
//!
//! What ends is a life, not its main process: while others of it live (`left`) it is being
//! stopped, and nothing starts beside them.

use std::time::Duration;

use super::state::{Ended, How, Ladder, Origin, State, Then};
use super::{Now, Service, words};
use crate::event::{Action, EventKind, Exit, Generation, RestartKind, StartFailure};
use crate::level::Level;
use crate::policy::Restart;

impl Service {
    /// [`Event::StartFailed`].
    pub(super) fn start_failed(
        &mut self,
        generation: Generation,
        failure: &StartFailure,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        if generation != self.memory.generation {
            return;
        }
        let reason = format!("could not be started: {}", failure.detail);
        let lived = self.lived(now);
        match &mut self.memory.state {
            State::Starting { .. } | State::Running { .. } | State::Resumed { plan: None, .. } => {
                self.tell(out, EventKind::Error, None, None, reason.clone());
                self.count_exit(reason.clone(), lived);
                let tries_again = match self.policy.restart {
                    Restart::Always | Restart::OnFailure => failure.fault.is_transient(),
                    Restart::Never => false,
                };
                let then = if tries_again {
                    let kind = RestartKind::Unready;
                    Then::Restart { kind, lived }
                } else {
                    self.raise(Level::Critical, reason);
                    Then::GiveUp
                };
                self.finish(then, now, out);
            }
            State::Resumed { plan, .. } => {
                let then = plan.take().unwrap_or(Then::GiveUp);
                self.finish(then, now, out);
            }
            State::Stopping { then, .. } => {
                let then = std::mem::replace(then, Then::GiveUp);
                self.finish(then, now, out);
            }
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. } => {}
        }
    }

    /// [`Event::Exited`].
    pub(super) fn exited(
        &mut self,
        generation: Generation,
        exit: Exit,
        left: bool,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        self.learn(generation, now);
        if generation != self.memory.generation {
            return;
        }
        let from = self.word();
        match &mut self.memory.state {
            State::Starting { .. } | State::Running { .. } | State::Resumed { plan: None, .. } => {
                let ended = self.ended(How::Exit { exit }, now);
                let told = self.tell_end(out, from.as_str(), words::ended(&ended));
                let then = self.verdict(ended);
                self.follow(then, None, left, now, out);
                self.finish_telling(out, told);
            }
            State::Stopping { pid, .. } => {
                *pid = None;
                let told = self.tell_end(out, from.as_str(), words::exited(&exit));
                if !left {
                    self.gone(generation, now, out);
                }
                self.finish_telling(out, told);
            }
            State::Resumed { plan, .. } => {
                let then = plan.take().unwrap_or(Then::GiveUp);
                let told = self.tell_end(out, from.as_str(), words::exited(&exit));
                self.follow(then, None, left, now, out);
                self.finish_telling(out, told);
            }
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. } => {}
        }
    }

    /// [`Event::Gone`].
    pub(super) fn gone(&mut self, generation: Generation, now: &Now, out: &mut Vec<Action>) {
        if generation != self.memory.generation {
            return;
        }
        match &mut self.memory.state {
            State::Stopping { then, .. } => {
                let then = std::mem::replace(then, Then::GiveUp);
                self.finish(then, now, out);
            }
            State::Resumed { plan, .. } => match plan.take() {
                Some(then) => self.finish(then, now, out),
                None => self.vanished(now, out),
            },
            State::Starting { .. } | State::Running { .. } => self.vanished(now, out),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. } => {}
        }
    }

    /// [`Event::Blocked`].
    pub(super) fn blocked(&mut self, generation: Generation, by: String, out: &mut Vec<Action>) {
        if generation != self.memory.generation {
            return;
        }
        if let State::Stopping { blocked, .. } = &mut self.memory.state {
            let reason = format!("its stop waits for {by}, which not even SIGKILL ends");
            *blocked = Some(by.into());
            self.tell(out, EventKind::Error, None, None, reason);
        }
    }

    /// [`Event::ShimLost`]. The adapter ends what is left; nothing is told to stop here.
    pub(super) fn shim_lost(&mut self, generation: Generation, now: &Now, out: &mut Vec<Action>) {
        self.learn(generation, now);
        if generation != self.memory.generation {
            return;
        }
        let from = self.word();
        match &mut self.memory.state {
            State::Starting { pid, .. } | State::Running { pid, .. } => {
                let pid = *pid;
                self.lose_shim(pid, from.as_str(), now, out);
            }
            State::Resumed { plan: None, .. } => {
                self.lose_shim(None, from.as_str(), now, out);
            }
            State::Resumed { plan, .. } => {
                let then = plan.take().unwrap_or(Then::GiveUp);
                self.follow(then, None, true, now, out);
            }
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. } => {}
        }
    }

    /// A life that the memory knows nothing of: we died before the news of its start was
    /// recorded, and now hear of its end. Without this its number would be given away again, and
    /// how it ended would be nobody's. A restart that the memory had planned was this one.
    fn learn(&mut self, generation: Generation, now: &Now) {
        if generation <= self.memory.generation {
            return;
        }
        match self.memory.state {
            State::External { .. } => return,
            // Nobody wants it to run, however it ended.
            State::Stopped { .. } => {}
            State::New
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => {
                self.new_chance(now);
                self.memory.ladder = Ladder::Calm;
                self.memory.began = None;
                self.memory.state = State::Resumed {
                    heard: false,
                    ready: true,
                    plan: None,
                };
            }
        }
        self.memory.generation = generation;
    }

    fn lose_shim(
        &mut self,
        pid: Option<i32>,
        from: &'static str,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        let ended = self.ended(How::ShimLost, now);
        let told = self.tell_end(out, from, words::ended(&ended));
        let then = self.verdict(ended);
        self.follow(then, pid, true, now, out);
        self.finish_telling(out, told);
    }

    /// It is gone, and nobody knows how.
    pub(super) fn vanished(&mut self, now: &Now, out: &mut Vec<Action>) {
        let then = self.verdict(self.ended(How::Vanished, now));
        self.finish(then, now, out);
    }

    /// What follows an end: at once, or when nothing is left of the life.
    fn follow(
        &mut self,
        then: Then,
        pid: Option<i32>,
        left: bool,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        self.memory.ladder = Ladder::Calm;
        if left {
            self.memory.state = State::Stopping {
                pid,
                then,
                blocked: None,
            };
        } else {
            self.finish(then, now, out);
        }
    }

    /// Nothing of a life is left: what was to follow does.
    pub(super) fn finish(&mut self, then: Then, now: &Now, out: &mut Vec<Action>) {
        self.memory.ladder = Ladder::Calm;
        match then {
            Then::Rest { halt } => self.memory.state = State::Stopped { halt },
            Then::Start { origin } => self.start(origin, now, out),
            Then::Restart { kind, lived } => self.restart_again(kind, lived, now, out),
            Then::Planned => self.memory.state = State::Exited { failed: false },
            Then::GiveUp => {
                self.memory.probing = false;
                self.memory.state = State::Exited { failed: true };
            }
            // Decided in the look that every event ends in, as soon as it is not paused.
            Then::Decide { ended } => self.memory.state = State::Held { ended },
        }
    }

    /// What its policy says about an end that nobody asked for; an unexpected one counts.
    pub(super) fn verdict(&mut self, ended: Ended) -> Then {
        if self.memory.pause.is_some() {
            return Then::Decide {
                ended: Box::new(ended),
            };
        }
        let failed = ended.is_failure();
        let reason = words::ended(&ended);
        let restarts = match self.policy.restart {
            Restart::Always => true,
            Restart::OnFailure => failed,
            Restart::Never => false,
        };
        if restarts {
            self.count_exit(reason, ended.lived);
            Then::Restart {
                kind: ended.kind(),
                lived: ended.lived,
            }
        } else if failed {
            self.count_exit(reason.clone(), ended.lived);
            self.raise(Level::Critical, format!("{reason}; it is not restarted"));
            Then::GiveUp
        } else {
            self.rest(reason);
            Then::Planned
        }
    }

    /// An unexpected end counts, in a row until one life lasts.
    fn count_exit(&mut self, reason: String, lived: Duration) {
        if lived >= self.policy.backoff.reset_after() {
            self.memory.exits = 0;
        }
        self.memory.exits = self.memory.exits.saturating_add(1);
        let level = self.policy.thresholds.level_by_count(self.memory.exits);
        self.raise(level, reason.clone());
        // The newest cause, even where an older one has led to a higher level.
        self.memory.reason = reason.into();
    }

    /// The next restart of a series: after its delay, within its limit, or not at all.
    pub(super) fn restart_again(
        &mut self,
        kind: RestartKind,
        lived: Duration,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        let lasted = lived >= self.policy.backoff.reset_after();
        if self.memory.probing && (!lasted || self.memory.floor == Level::Critical) {
            self.quarantine(words::asked(kind), now, out);
            return;
        }
        self.memory.probing = false;
        if lasted {
            self.memory.series = 0;
        }
        let delay = self.policy.backoff.delay(self.memory.series, now.roll);
        let until = now.at.time + delay;
        if !self.memory.history.admit(until, self.policy.intensity) {
            self.quarantine(words::asked(kind), now, out);
            return;
        }
        self.memory.series = self.memory.series.saturating_add(1);
        self.memory.ladder = Ladder::Calm;
        self.memory.state = State::Backoff { until, kind };
    }

    /// A restart that was planned and admitted does not happen.
    pub(super) fn cancel_planned(&mut self) {
        match self.memory.state {
            State::Backoff { .. }
            | State::Waiting {
                origin: Origin::Series { .. },
            } => self.memory.history.take_back(),
            State::Waiting {
                origin: Origin::First | Origin::Asked { .. } | Origin::Probing,
            }
            | State::New
            | State::Stopped { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. }
            | State::Resumed { .. } => {}
        }
    }

    pub(super) fn ended(&self, how: How, now: &Now) -> Ended {
        Ended {
            how,
            lived: self.lived(now),
        }
    }

    /// How long the present life has lasted, on the judging clock.
    pub(super) fn lived(&self, now: &Now) -> Duration {
        let began = self.memory.began.map_or(now.at.time, |began| began.time);
        now.at.time.since(began)
    }
}
