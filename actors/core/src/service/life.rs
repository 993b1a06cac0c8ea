//! Lives: how one begins, how it ends, and what follows.
//!
//! Every end comes to one of four decisions: rest (a stop), start (asked for, not limited),
//! restart again (the backoff's delay, the limit's leave, else quarantine), or stay down
//! (planned: unknown; a failure: critical). Stop outranks all of them, in every state.

use std::time::Duration;

use super::state::{Ended, Halt, How, Ladder, Origin, State, Then};
use super::{Now, Service, words};
use crate::event::{Action, Event, EventKind, Exit, Generation, RestartKind, StartFailure};
use crate::level::Level;
use crate::policy::{Ready, Restart, Watch};
use crate::time::Time;

impl Service {
    // === beginnings ===

    /// [`Event::Begin`].
    pub(super) fn begin(&mut self, now: &Now, out: &mut Vec<Action>) {
        match &mut self.memory.state {
            State::New => self.wait_to_start(Origin::First, now),
            State::Stopped { halt } => match *halt {
                Halt::Lasting => {}
                Halt::Shutdown { quarantined: None } => self.wait_to_start(Origin::First, now),
                Halt::Shutdown {
                    quarantined: Some(until),
                } => {
                    self.memory.state = State::Quarantined { until };
                    self.raise(
                        Level::Critical,
                        "quarantined before the program ended".to_owned(),
                    );
                }
            },
            State::Resumed { plan, .. } => match plan.take() {
                None => self.decide(self.ended(How::Vanished, now), now, out),
                // What it was being stopped for is done, except that this program wants it.
                Some(Then::Rest {
                    halt: Halt::Shutdown { .. },
                }) => self.wait_to_start(Origin::First, now),
                Some(then) => self.finish(then, now, out),
            },
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. } => {}
        }
    }

    /// [`Event::Start`].
    pub(super) fn start_asked(&mut self, now: &Now, out: &mut Vec<Action>) {
        match &mut self.memory.state {
            State::New | State::Stopped { .. } | State::Exited { .. } | State::Held { .. } => {
                self.start(Origin::First, now, out);
            }
            State::Resumed { .. } => self.start(Origin::First, now, out),
            State::Backoff { kind, .. } => {
                let kind = *kind;
                self.cancel_planned();
                self.start(Origin::Asked { kind }, now, out);
            }
            State::Waiting { .. } => self.start_waiting(now, out),
            State::Stopping { then, .. } => match then {
                Then::Rest { .. } | Then::GiveUp | Then::Decide { .. } => {
                    *then = Then::Start {
                        origin: Origin::First,
                    };
                }
                Then::Start { .. } | Then::Restart { .. } => {}
            },
            State::Starting { .. }
            | State::Running { .. }
            | State::Quarantined { .. }
            | State::External { .. } => {}
        }
    }

    /// [`Event::Clear`].
    pub(super) fn clear(&mut self, now: &Now, out: &mut Vec<Action>) {
        self.cancel_planned();
        self.memory.history.clear();
        self.memory.series = 0;
        self.memory.exits = 0;
        self.memory.probing = false;
        let word = self.word().as_str();
        let reason = words::asked(RestartKind::Operator).to_owned();
        self.tell(out, EventKind::Cleared, Some(word), None, reason);
        match &mut self.memory.state {
            State::New
            | State::Stopped { .. }
            | State::Exited { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. } => self.start(Origin::First, now, out),
            State::Resumed { .. } => self.start(Origin::First, now, out),
            State::Waiting { .. } => self.start_waiting(now, out),
            State::Stopping { then, .. } => match then {
                Then::Rest { .. } | Then::GiveUp | Then::Decide { .. } | Then::Restart { .. } => {
                    *then = Then::Start {
                        origin: Origin::First,
                    };
                }
                Then::Start { .. } => {}
            },
            State::Starting { .. } | State::Running { .. } | State::External { .. } => {}
        }
    }

    /// Wanted, but automatically: the gates of [`Service::start_due`] are looked at first.
    fn wait_to_start(&mut self, origin: Origin, now: &Now) {
        match self.policy.watch {
            Watch::External => self.watch_anew(now),
            Watch::Pulsing | Watch::Alive => self.memory.state = State::Waiting { origin },
        }
    }

    /// What is due of those starts that nobody asked for just now.
    pub(super) fn start_due(&mut self, now: &Now, out: &mut Vec<Action>) {
        if self.memory.pause.is_some() {
            return;
        }
        match self.memory.state {
            State::Waiting { .. } => self.start_waiting(now, out),
            State::Backoff { until, kind } if until <= now.at.time => {
                self.start(Origin::Series { kind }, now, out);
            }
            State::Quarantined { until } if until <= now.at.time => {
                self.start(Origin::Probing, now, out);
            }
            State::Backoff { .. }
            | State::Quarantined { .. }
            | State::New
            | State::Stopped { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Exited { .. }
            | State::External { .. }
            | State::Resumed { .. } => {}
        }
    }

    fn start_waiting(&mut self, now: &Now, out: &mut Vec<Action>) {
        if let State::Waiting { origin } = self.memory.state
            && self.missing.is_none()
        {
            self.start(origin, now, out);
        }
    }

    /// Starts it if what it depends on is ready; waits for that otherwise.
    fn start(&mut self, origin: Origin, now: &Now, out: &mut Vec<Action>) {
        if self.policy.watch == Watch::External {
            match origin {
                Origin::First => self.watch_anew(now),
                Origin::Asked { .. } | Origin::Series { .. } | Origin::Probing => {
                    self.memory.probing = origin == Origin::Probing;
                    self.command(origin, now, out);
                }
            }
            return;
        }
        if self.missing.is_some() {
            self.memory.state = State::Waiting { origin };
            return;
        }
        self.new_chance(now);
        self.memory.began = Some(now.at);
        self.memory.ladder = Ladder::Calm;
        self.memory.probing = origin == Origin::Probing;
        self.memory.generation = Generation(self.memory.generation.0.saturating_add(1));
        self.memory.state = State::Starting {
            pid: None,
            heard: false,
        };
        if self.memory.floor == Level::Unknown {
            self.memory.reason = Box::default();
        }
        self.count_restart(origin, now, out);
        out.push(Action::Start {
            generation: self.memory.generation,
        });
    }

    fn watch_anew(&mut self, now: &Now) {
        self.new_chance(now);
        self.memory.began = Some(now.at);
        self.memory.ladder = Ladder::Calm;
        self.memory.state = State::External { heard: false };
        if self.memory.floor == Level::Unknown {
            self.memory.reason = Box::default();
        }
    }

    /// Judged afresh from now on: nothing of an older life counts but the level it led to.
    pub(super) fn new_chance(&mut self, now: &Now) {
        self.memory.since = now.at.time;
        self.memory.busy_until = Time(0);
        self.memory.idle = false;
        self.memory.stuck = false;
        self.memory.reported = 0;
        self.memory.probes = 0;
        self.memory.clean = 0;
    }

    /// Counts and tells of a start that is a restart.
    pub(super) fn count_restart(&mut self, origin: Origin, now: &Now, out: &mut Vec<Action>) {
        let (kind, reason) = match origin {
            Origin::First => return,
            Origin::Asked { kind } => (Some(kind), words::asked(kind).to_owned()),
            Origin::Series { kind } => {
                self.memory.history.happened(now.at.time);
                (Some(kind), self.memory.reason.to_string())
            }
            Origin::Probing => (None, "one start after its quarantine".to_owned()),
        };
        self.memory.restarts = self.memory.restarts.saturating_add(1);
        let to = kind.map(RestartKind::as_str);
        self.tell(out, EventKind::Restarted, None, to, reason);
    }

    /// [`Event::Started`].
    pub(super) fn started(
        &mut self,
        generation: Generation,
        started: i32,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        if generation != self.memory.generation {
            return;
        }
        match &mut self.memory.state {
            State::Starting { pid, heard } => {
                *pid = Some(started);
                let heard = *heard;
                self.memory.since = now.at.time;
                self.memory.began = Some(now.at);
                let (from, reason) = (self.word(), format!("pid {started}"));
                self.tell(
                    out,
                    EventKind::Started,
                    Some(from.as_str()),
                    Some(from.as_str()),
                    reason,
                );
                if self.is_ready_by_running() {
                    self.ready_now(Some(started), heard, "its process runs", out);
                }
            }
            // Its first pulse came before the news of its start.
            State::Running { pid, .. } => {
                *pid = Some(started);
                let from = self.word().as_str();
                let reason = format!("pid {started}");
                self.tell(out, EventKind::Started, Some(from), Some(from), reason);
            }
            // Told to stop meanwhile: its pid is shown, nothing else matters any more.
            State::Stopping { pid, .. } => *pid = Some(started),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. }
            | State::Resumed { .. } => {}
        }
    }

    fn is_ready_by_running(&self) -> bool {
        match self.policy.ready {
            Ready::Running => true,
            // Nobody has promised that pulse.
            Ready::Pulse => self.policy.on_demand,
            Ready::Notify | Ready::Probe => false,
        }
    }

    /// [`Event::Ready`].
    pub(super) fn ready(&mut self, generation: Generation, out: &mut Vec<Action>) {
        if generation != self.memory.generation {
            return;
        }
        if let State::Starting { pid, heard } = self.memory.state {
            match self.policy.ready {
                Ready::Notify | Ready::Probe => {
                    self.ready_now(pid, heard, "it said so", out);
                    // Readiness proves a service that only has to run.
                    if self.policy.watch == Watch::Alive && self.errors() == 0 {
                        self.lift();
                    }
                }
                Ready::Pulse | Ready::Running => {}
            }
        }
    }

    pub(super) fn ready_now(
        &mut self,
        pid: Option<i32>,
        heard: bool,
        why: &str,
        out: &mut Vec<Action>,
    ) {
        let from = self.word();
        self.memory.state = State::Running { pid, heard };
        let to = self.word();
        self.tell(
            out,
            EventKind::Ready,
            Some(from.as_str()),
            Some(to.as_str()),
            why.to_owned(),
        );
    }

    /// [`Event::Adopted`].
    pub(super) fn adopted(
        &mut self,
        generation: Generation,
        found: i32,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        if self.policy.watch == Watch::External {
            return;
        }
        let same = generation == self.memory.generation;
        let from = self.word();
        let mut stop = None;
        match &mut self.memory.state {
            State::Resumed { heard, ready, plan } if same => match plan.take() {
                None => {
                    self.memory.state = if *ready {
                        State::Running {
                            pid: Some(found),
                            heard: *heard,
                        }
                    } else {
                        State::Starting {
                            pid: Some(found),
                            heard: *heard,
                        }
                    };
                    if let Ladder::Asked { .. } = self.memory.ladder {
                        out.push(Action::AskRestart);
                    }
                }
                Some(Then::Rest {
                    halt: Halt::Shutdown { .. },
                }) => {
                    // It was told to end; then this program's beginning wants it to run.
                    stop = Some(Then::Start {
                        origin: Origin::First,
                    });
                }
                Some(then) => stop = Some(then),
            },
            State::Stopped { halt } => {
                stop = Some(match *halt {
                    Halt::Lasting => Then::Rest { halt: *halt },
                    // As above: this program's beginning wants it to run.
                    Halt::Shutdown { .. } => Then::Start {
                        origin: Origin::First,
                    },
                });
            }
            State::Starting { pid, .. } | State::Running { pid, .. } if same => {
                *pid = Some(found);
                return;
            }
            State::New
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. }
            | State::Resumed { .. } => {
                // A life that the memory knows nothing of: it was lost, or is older. Whether it
                // was ready is lost with it, so its next pulse is what it is asked for.
                self.cancel_planned();
                self.new_chance(now);
                self.memory.ladder = Ladder::Calm;
                self.memory.began = Some(now.at);
                self.memory.state = State::Running {
                    pid: Some(found),
                    heard: false,
                };
            }
        }
        self.memory.generation = generation;
        let reason = format!("pid {found}, found running");
        let to = self.word();
        self.tell(
            out,
            EventKind::Adopted,
            Some(from.as_str()),
            Some(to.as_str()),
            reason,
        );
        if let Some(then) = stop {
            self.begin_stop(Some(found), then, out);
        }
    }

    // === stops ===

    /// [`Event::Stop`].
    pub(super) fn stop(&mut self, why: &str, out: &mut Vec<Action>) {
        let mut halt = if why == Event::SHUTDOWN {
            let quarantined = match self.memory.state {
                State::Quarantined { until } => Some(until),
                State::New
                | State::Stopped { .. }
                | State::Waiting { .. }
                | State::Starting { .. }
                | State::Running { .. }
                | State::Stopping { .. }
                | State::Held { .. }
                | State::Backoff { .. }
                | State::Exited { .. }
                | State::External { .. }
                | State::Resumed { .. } => None,
            };
            Halt::Shutdown { quarantined }
        } else {
            Halt::Lasting
        };
        self.cancel_planned();
        self.memory.ladder = Ladder::Calm;
        match &mut self.memory.state {
            State::Starting { pid, .. } | State::Running { pid, .. } => {
                let pid = *pid;
                self.begin_stop(pid, Then::Rest { halt }, out);
            }
            State::Stopping { then, .. } => {
                if let Then::Rest { halt: earlier } = then {
                    halt = lasting(*earlier, halt);
                }
                *then = Then::Rest { halt };
            }
            State::Resumed { plan, .. } => *plan = Some(Then::Rest { halt }),
            State::Stopped { halt: earlier } => *earlier = lasting(*earlier, halt),
            State::New
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. } => self.memory.state = State::Stopped { halt },
        }
        self.rest(format!("stopped ({why})"));
    }

    /// Nothing is held against it any more, only why it rests is kept.
    fn rest(&mut self, why: String) {
        self.lift();
        self.memory.reported = 0;
        self.memory.probes = 0;
        self.memory.exits = 0;
        self.memory.series = 0;
        self.memory.stuck = false;
        self.memory.probing = false;
        self.memory.reason = why.into();
    }

    pub(super) fn begin_stop(&mut self, pid: Option<i32>, then: Then, out: &mut Vec<Action>) {
        self.memory.ladder = Ladder::Calm;
        self.memory.state = State::Stopping {
            pid,
            then,
            blocked: None,
        };
        out.push(Action::Stop {
            generation: self.memory.generation,
        });
    }

    /// [`Event::Restart`].
    pub(super) fn restart_asked(&mut self, kind: RestartKind, now: &Now, out: &mut Vec<Action>) {
        let (limited, lifts_rest) = match kind {
            RestartKind::Operator => (false, true),
            RestartKind::Dependency | RestartKind::Config => (false, false),
            RestartKind::Exited
            | RestartKind::Signalled
            | RestartKind::Stale
            | RestartKind::Probe
            | RestartKind::Unready
            | RestartKind::Shim => (true, false),
        };
        let origin = Origin::Asked { kind };
        let next = if limited {
            Then::Restart { kind }
        } else {
            Then::Start { origin }
        };
        match &mut self.memory.state {
            State::Starting { pid, .. } | State::Running { pid, .. } => {
                let pid = *pid;
                self.begin_stop(pid, next, out);
            }
            State::External { .. } if limited => {
                self.restart_again(kind, self.lived(now), now, out);
            }
            State::External { .. } => {
                if self.policy.poke_restarts {
                    self.start(origin, now, out);
                }
            }
            State::Stopping { then, .. } => match then {
                Then::Rest { .. } | Then::GiveUp if lifts_rest => *then = next,
                Then::Rest { .. } | Then::GiveUp => {}
                Then::Decide { .. } | Then::Restart { .. } if !limited => *then = next,
                Then::Decide { .. } | Then::Restart { .. } | Then::Start { .. } => {}
            },
            State::Backoff { .. } if !limited => {
                self.cancel_planned();
                self.start(origin, now, out);
            }
            State::New
            | State::Stopped { .. }
            | State::Exited { .. }
            | State::Held { .. }
            | State::Resumed { .. }
                if lifts_rest =>
            {
                self.start(origin, now, out);
            }
            // What could not be started may be able to now.
            State::Exited { .. } if kind == RestartKind::Config => self.start(origin, now, out),
            State::Waiting { .. } => self.start_waiting(now, out),
            State::Backoff { .. }
            | State::New
            | State::Stopped { .. }
            | State::Exited { .. }
            | State::Held { .. }
            | State::Resumed { .. }
            | State::Quarantined { .. } => {}
        }
    }

    // === ends ===

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
                if tries_again {
                    self.restart_again(RestartKind::Unready, lived, now, out);
                } else {
                    self.give_up(reason);
                }
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
        if generation != self.memory.generation {
            return;
        }
        let from = self.word();
        match &mut self.memory.state {
            State::Starting { .. } | State::Running { .. } | State::Resumed { plan: None, .. } => {
                let ended = self.ended(How::Exit { exit }, now);
                let told = self.tell_end(out, from.as_str(), words::ended(&ended));
                if left {
                    self.memory.ladder = Ladder::Calm;
                    self.memory.state = State::Stopping {
                        pid: None,
                        then: Then::Decide {
                            ended: Box::new(ended),
                        },
                        blocked: None,
                    };
                } else {
                    self.decide(ended, now, out);
                }
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
                if left {
                    self.memory.state = State::Stopping {
                        pid: None,
                        then,
                        blocked: None,
                    };
                } else {
                    self.finish(then, now, out);
                }
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
                None => self.decide(self.ended(How::Vanished, now), now, out),
            },
            State::Starting { .. } | State::Running { .. } => {
                self.decide(self.ended(How::Vanished, now), now, out);
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
                self.memory.state = State::Stopping {
                    pid: None,
                    then,
                    blocked: None,
                };
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

    fn lose_shim(
        &mut self,
        pid: Option<i32>,
        from: &'static str,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        let ended = self.ended(How::ShimLost, now);
        let told = self.tell_end(out, from, words::ended(&ended));
        self.memory.ladder = Ladder::Calm;
        self.memory.state = State::Stopping {
            pid,
            then: Then::Decide {
                ended: Box::new(ended),
            },
            blocked: None,
        };
        self.finish_telling(out, told);
    }

    /// Nothing of a life is left: what was to follow does.
    fn finish(&mut self, then: Then, now: &Now, out: &mut Vec<Action>) {
        match then {
            Then::Rest { halt } => self.memory.state = State::Stopped { halt },
            Then::Start { origin } => self.start(origin, now, out),
            Then::Restart { kind } => self.restart_again(kind, self.lived(now), now, out),
            Then::GiveUp => self.memory.state = State::Exited { failed: true },
            Then::Decide { ended } => self.decide(*ended, now, out),
        }
    }

    /// What its policy says about an end that nobody asked for.
    pub(super) fn decide(&mut self, ended: Ended, now: &Now, out: &mut Vec<Action>) {
        if self.memory.pause.is_some() {
            self.memory.ladder = Ladder::Calm;
            self.memory.state = State::Held {
                ended: Box::new(ended),
            };
            return;
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
            self.restart_again(ended.kind(), ended.lived, now, out);
        } else if failed {
            self.count_exit(reason.clone(), ended.lived);
            self.give_up(format!("{reason}; it is not restarted"));
        } else {
            self.rest(reason);
            self.memory.ladder = Ladder::Calm;
            self.memory.state = State::Exited { failed: false };
        }
    }

    /// An unexpected end counts, in a row until one life lasts.
    fn count_exit(&mut self, reason: String, lived: Duration) {
        if lived >= self.policy.backoff.reset_after() {
            self.memory.exits = 0;
        }
        self.memory.exits = self.memory.exits.saturating_add(1);
        let level = self.policy.thresholds.level_by_count(self.memory.exits);
        self.raise(level, reason);
    }

    fn give_up(&mut self, reason: String) {
        self.raise(Level::Critical, reason);
        self.memory.ladder = Ladder::Calm;
        self.memory.probing = false;
        self.memory.state = State::Exited { failed: true };
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

    fn ended(&self, how: How, now: &Now) -> Ended {
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

/// What an operator stopped stays stopped, whoever stops it again.
fn lasting(earlier: Halt, later: Halt) -> Halt {
    match (earlier, later) {
        (Halt::Lasting, Halt::Lasting | Halt::Shutdown { .. })
        | (Halt::Shutdown { .. }, Halt::Lasting) => Halt::Lasting,
        (Halt::Shutdown { quarantined }, Halt::Shutdown { .. }) => Halt::Shutdown { quarantined },
    }
}
