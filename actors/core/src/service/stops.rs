//! Stops and restarts that somebody asks for.
//!
//! A stop outranks everything, in every state. While one is under way, what follows it can be
//! changed, but nothing starts before nothing of the old life is left.

use super::state::{Halt, Ladder, Origin, State, Then};
use super::{Now, Service};
use crate::event::{Action, Event, RestartKind};

impl Service {
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
    pub(super) fn rest(&mut self, why: String) {
        self.lift();
        self.memory.reported = 0;
        self.memory.probes = 0;
        self.forget_refusal();
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
            Then::Restart {
                kind,
                lived: self.lived(now),
            }
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
                Then::Rest { .. } | Then::Planned | Then::GiveUp if lifts_rest => *then = next,
                Then::Rest { .. } | Then::Planned | Then::GiveUp => {}
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
            State::Waiting { .. } if !limited => self.hasten_waiting(kind, now, out),
            State::Waiting { .. } => {}
            State::Backoff { .. }
            | State::New
            | State::Stopped { .. }
            | State::Exited { .. }
            | State::Held { .. }
            | State::Resumed { .. }
            | State::Quarantined { .. } => {}
        }
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
