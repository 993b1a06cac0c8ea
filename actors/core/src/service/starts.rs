//! How lives begin: asked for, due, executed, ready, or found alive.
//!
//! An automatic start (of the program, of a series, after a quarantine) waits for the end of a
//! pause; every start waits for what the service depends on. A start makes a new generation,
//! and that is judged afresh; only the level that an older one led to stays until a clean
//! pulse lifts it.

use super::signs::Sign;
use super::state::{Halt, Ladder, Origin, State, Then};
use super::{Now, Service, words};
use crate::event::{Action, EventKind, Generation, RestartKind};
use crate::level::Level;
use crate::policy::{Ready, Watch};
use crate::time::Time;

impl Service {
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
                None => self.vanished(now, out),
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
            State::Backoff { .. } => {
                self.cancel_planned();
                let kind = RestartKind::Operator;
                self.start(Origin::Asked { kind }, now, out);
            }
            State::Waiting { .. } => self.hasten_waiting(RestartKind::Operator, now, out),
            State::Stopping { then, .. } => match then {
                Then::Rest { .. } | Then::Planned | Then::GiveUp | Then::Decide { .. } => {
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

    /// [`Event::Clear`]. What rests because somebody wants it so, or because it has done what it
    /// was to do, goes on resting.
    pub(super) fn clear(&mut self, now: &Now, out: &mut Vec<Action>) {
        self.cancel_planned();
        self.memory.history.clear();
        self.memory.series = 0;
        self.memory.exits = 0;
        self.memory.probing = false;
        let word = self.word().as_str();
        let reason = words::asked(RestartKind::Operator).to_owned();
        self.tell(out, EventKind::Cleared, Some(word), None, reason);
        // It may be what was learnt that is wrong.
        self.recall(None);
        if let State::Quarantined { .. } = self.memory.state {
            // The level stays until a clean pulse; the old reason is no longer true.
            self.memory.reason = "its quarantine was lifted".into();
        }
        match &mut self.memory.state {
            State::Exited { failed: true }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. } => self.start(Origin::First, now, out),
            State::Resumed { plan, .. } => match plan {
                Some(Then::Rest { .. } | Then::Planned) => {}
                Some(
                    Then::GiveUp | Then::Decide { .. } | Then::Restart { .. } | Then::Start { .. },
                )
                | None => self.start(Origin::First, now, out),
            },
            State::Waiting { origin } => {
                *origin = Origin::First;
                self.start_waiting(now, out);
            }
            State::Stopping { then, .. } => match then {
                Then::GiveUp | Then::Decide { .. } | Then::Restart { .. } => {
                    *then = Then::Start {
                        origin: Origin::First,
                    };
                }
                Then::Rest { .. } | Then::Planned | Then::Start { .. } => {}
            },
            State::New
            | State::Stopped { .. }
            | State::Exited { failed: false }
            | State::Starting { .. }
            | State::Running { .. }
            | State::External { .. } => {}
        }
    }

    /// Wanted, but automatically: the gates of [`Service::start_due`] are looked at first.
    fn wait_to_start(&mut self, origin: Origin, now: &Now) {
        match self.policy.watch {
            Watch::External => self.watch_anew(now),
            Watch::Pulsing | Watch::Alive => self.memory.state = State::Waiting { origin },
        }
    }

    /// What is due of those starts that nobody asked for just now, and the decision about an
    /// end that came in a pause.
    pub(super) fn start_due(&mut self, now: &Now, out: &mut Vec<Action>) {
        if self.memory.pause.is_some() {
            return;
        }
        if let State::Held { ended } = &self.memory.state {
            let then = self.verdict(ended.as_ref().clone());
            self.finish(then, now, out);
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

    /// Somebody asks for a start that waits: it is no longer one of a series.
    pub(super) fn hasten_waiting(&mut self, kind: RestartKind, now: &Now, out: &mut Vec<Action>) {
        self.cancel_planned();
        if let State::Waiting { origin } = &mut self.memory.state {
            *origin = match *origin {
                Origin::First => Origin::First,
                Origin::Asked { .. } | Origin::Series { .. } | Origin::Probing => {
                    Origin::Asked { kind }
                }
            };
        }
        self.start_waiting(now, out);
    }

    /// Starts it if what it depends on is ready; waits for that otherwise.
    pub(super) fn start(&mut self, origin: Origin, now: &Now, out: &mut Vec<Action>) {
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
        self.unsay();
        self.forget_numbers();
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
        self.forget_refusal();
        self.memory.clean = 0;
        self.move_from(now.at.time);
    }

    /// Counts and tells of a start that is a restart.
    pub(super) fn count_restart(&mut self, origin: Origin, now: &Now, out: &mut Vec<Action>) {
        let (kind, reason) = match origin {
            Origin::First => return,
            Origin::Asked { kind } => (Some(kind), words::asked(kind).to_owned()),
            Origin::Series { kind } => {
                self.memory.history.happened(now.at.time);
                let reason = match &*self.memory.reason {
                    "" => words::asked(kind),
                    reason => reason,
                };
                (Some(kind), reason.to_owned())
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
                } else if heard && let Some(why) = self.ready_by_sign(Sign::Own) {
                    self.ready_now(Some(started), heard, why, out);
                }
                self.lift_if_clean();
            }
            // Found alive before the news of its start.
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
    pub(super) fn ready(&mut self, generation: Generation, now: &Now, out: &mut Vec<Action>) {
        if generation != self.memory.generation {
            return;
        }
        self.reloaded(now);
        if let State::Starting { pid, heard } = self.memory.state {
            match self.policy.ready {
                Ready::Notify => {
                    self.ready_now(pid, heard, "it said so", out);
                    // Readiness proves a service that only has to run.
                    if self.policy.watch == Watch::Alive && self.errors() == 0 {
                        self.lift();
                    }
                }
                // Somebody else's word than the one that is waited for.
                Ready::Pulse | Ready::Probe | Ready::Running => {}
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
}
