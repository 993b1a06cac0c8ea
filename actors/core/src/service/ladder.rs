//! Poking: what a hung service has coming.
//!
//! ```text
//!  Calm ── very stale, stuck, failed probes ──▶ Nudged ── no pulse in nudge_wait ──▶ Asked
//!   ▲                                             │                                    │
//!   ├───────────── a clean pulse ─────────────────┴────────────────────────────────────┤
//!   └───────────── a new life ◀── stop, backoff and limit, start ◀── granted ──────────┘
//! ```
//!
//! Each step is taken once. Where a step is not allowed or not configured the next one is
//! taken; where none is left that is said once (`Spent`). Nobody is poked while paused, idle,
//! busy, in a maintenance window, or while what it depends on is down: what holds a poke up
//! ends with an event, and every event ends in a look here.

use std::time::Duration;

use super::state::{Ladder, Origin, State, Then};
use super::{Now, Service, words};
use crate::event::{Action, EventKind, RestartKind};
use crate::level::{Level, Standing};
use crate::policy::Restart;
use crate::stall::excused;
use crate::time::Time;

impl Service {
    /// Whether it may be poked at all.
    fn may_be_poked(&self, now: &Now) -> bool {
        let lives = match self.memory.state {
            State::Starting { .. } | State::Running { .. } | State::External { .. } => true,
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => false,
        };
        lives
            && self.memory.pause.is_none()
            && self.missing.is_none()
            && !self.maintained
            && !self.memory.idle
            && self.memory.busy_until <= now.at.time
    }

    /// What it would be poked for now.
    fn complaint(&self, now: &Now) -> Option<(RestartKind, String)> {
        let on = self.policy.poke_on;
        let [_, _, critical_count] = self.policy.thresholds.counts;
        if self.memory.stuck {
            // Whoever said so has said how.
            let how = match &*self.memory.reason {
                "" => "it says that it is stuck",
                how => how,
            };
            return Some((RestartKind::Stale, how.to_owned()));
        }
        let standing = self.standing(now);
        if on.stale && standing == Standing::Unready {
            let kind = match self.memory.state {
                State::Starting { .. } => RestartKind::Unready,
                State::Running { .. }
                | State::External { .. }
                | State::New
                | State::Stopped { .. }
                | State::Waiting { .. }
                | State::Stopping { .. }
                | State::Held { .. }
                | State::Backoff { .. }
                | State::Quarantined { .. }
                | State::Exited { .. }
                | State::Resumed { .. } => RestartKind::Stale,
            };
            return Some((kind, self.unready_sentence()));
        }
        if on.stale
            && standing == Standing::Up
            && self.policy.thresholds.level_by_age(self.facts(now).age) == Level::Critical
        {
            return Some((RestartKind::Stale, self.late_sentence(now)));
        }
        if on.stale && standing == Standing::Still {
            return Some((RestartKind::Stale, self.still_sentence(now)));
        }
        if on.probe && self.answers_no_probe() {
            return Some((RestartKind::Probe, self.probes_sentence()));
        }
        if on.errors && self.memory.reported >= critical_count {
            let text = format!("{} errors reported in a row", self.memory.reported);
            return Some((RestartKind::Probe, text));
        }
        None
    }

    /// Takes the next step if it is due. `true` if that may have led to more.
    pub(super) fn climb(&mut self, now: &Now, out: &mut Vec<Action>) -> bool {
        self.step_down(now);
        match self.memory.ladder {
            Ladder::Calm => {
                if !self.may_be_poked(now) {
                    return false;
                }
                let Some((kind, reason)) = self.complaint(now) else {
                    return false;
                };
                // What follows happens for this, not for what once led to the level.
                self.memory.reason = reason.clone().into();
                self.tell(out, EventKind::Poked, None, Some(kind.as_str()), reason);
                if self.policy.nudge {
                    self.memory.ladder = Ladder::Nudged {
                        until: now.at.time + self.policy.nudge_wait,
                        kind,
                    };
                    out.push(Action::Nudge);
                    // Without a wait the next step is due at once.
                    self.policy.nudge_wait == Duration::ZERO
                } else {
                    self.ask_for_restart(kind, out);
                    true
                }
            }
            Ladder::Nudged { until, kind } => {
                let until = excused(until, now.amnesty, self.policy.grace);
                if now.at.time < until || !self.may_be_poked(now) {
                    return false;
                }
                self.ask_for_restart(kind, out);
                true
            }
            Ladder::Asked { .. } | Ladder::Commanded | Ladder::Spent => false,
        }
    }

    /// Leaves the ladder when what it was poked for is no longer so: by a pulse, or an error
    /// that it reports, which is a sign of life, too.
    fn step_down(&mut self, now: &Now) {
        match self.memory.ladder {
            Ladder::Calm => {}
            // A restart command has until the start's deadline, like any start.
            Ladder::Commanded => {
                if now.at.time >= self.start_deadline(now.amnesty) {
                    self.memory.ladder = Ladder::Calm;
                }
            }
            Ladder::Nudged { .. } | Ladder::Asked { .. } | Ladder::Spent => {
                if !self.still_complains(now) {
                    self.memory.ladder = Ladder::Calm;
                }
            }
        }
    }

    /// What began with a complaint goes on with it, whether or not we were away meanwhile.
    fn still_complains(&self, now: &Now) -> bool {
        let strictly = Now {
            amnesty: Time(0),
            ..*now
        };
        self.complaint(&strictly).is_some()
    }

    fn ask_for_restart(&mut self, kind: RestartKind, out: &mut Vec<Action>) {
        if self.policy.poke_restarts {
            self.memory.ladder = Ladder::Asked { kind };
            out.push(Action::AskRestart);
        } else {
            self.memory.ladder = Ladder::Spent;
            let reason = "nothing more is allowed: its poke names no restart, or there is no way";
            self.tell(
                out,
                EventKind::Poked,
                None,
                Some(kind.as_str()),
                reason.to_owned(),
            );
        }
    }

    /// Whether a restart that was asked for by [`Action::AskRestart`] is still wanted.
    #[must_use]
    pub fn wants_restart(&self) -> bool {
        match self.memory.ladder {
            Ladder::Asked { .. } => true,
            Ladder::Calm | Ladder::Nudged { .. } | Ladder::Commanded | Ladder::Spent => false,
        }
    }

    /// [`crate::Event::RestartGranted`].
    pub(super) fn granted(&mut self, now: &Now, out: &mut Vec<Action>) {
        let Ladder::Asked { kind } = self.memory.ladder else {
            return;
        };
        // The end of the stop decides where it goes; until then it is not on the ladder.
        self.memory.ladder = Ladder::Calm;
        if !self.still_complains(now) {
            return;
        }
        match self.memory.state {
            State::Starting { pid, .. } | State::Running { pid, .. } => {
                let then = match self.policy.restart {
                    Restart::Always | Restart::OnFailure => Then::Restart {
                        kind,
                        lived: self.lived(now),
                    },
                    Restart::Never => {
                        let reason = format!("{}; it is not restarted", self.memory.reason);
                        self.raise(Level::Critical, reason);
                        Then::GiveUp
                    }
                };
                self.begin_stop(pid, then, out);
            }
            State::External { .. } => self.restart_again(kind, self.lived(now), now, out),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => {}
        }
    }

    /// [`crate::Event::NudgeDone`]. A nudge that could not be sent is not waited for.
    pub(super) fn nudge_done(&mut self, failed: Option<String>, now: &Now, out: &mut Vec<Action>) {
        match failed {
            None => {
                let reason = match self.memory.ladder {
                    Ladder::Nudged { .. } => self.reason(now),
                    Ladder::Calm | Ladder::Asked { .. } | Ladder::Commanded | Ladder::Spent => {
                        words::asked(RestartKind::Operator).to_owned()
                    }
                };
                self.tell(out, EventKind::Nudged, None, None, reason);
            }
            Some(why) => {
                let reason = format!("the nudge failed: {why}");
                self.tell(out, EventKind::Error, None, None, reason);
                if let Ladder::Nudged { kind, .. } = self.memory.ladder {
                    self.memory.ladder = Ladder::Nudged {
                        until: Time(0),
                        kind,
                    };
                }
            }
        }
    }

    /// Runs the restart command of a service that we do not run: its new life, as far as we
    /// can tell.
    pub(super) fn command(&mut self, origin: Origin, now: &Now, out: &mut Vec<Action>) {
        self.new_chance(now);
        self.forget_numbers();
        self.memory.began = Some(now.at);
        self.memory.state = State::External { heard: false };
        self.memory.ladder = Ladder::Commanded;
        self.count_restart(origin, now, out);
        out.push(Action::RestartCommand);
    }

    /// [`crate::Event::RestartCommandDone`].
    pub(super) fn command_done(
        &mut self,
        failed: Option<String>,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        if self.memory.ladder != Ladder::Commanded {
            return;
        }
        self.memory.ladder = Ladder::Calm;
        let State::External { heard } = self.memory.state else {
            return;
        };
        match failed {
            None => {
                // It was restarted when the command was done, not when it was begun.
                self.memory.since = now.at.time;
            }
            Some(why) => {
                let reason = format!("its restart command failed: {why}");
                self.tell(out, EventKind::Error, None, None, reason.clone());
                // One that pulses again all the same needs no further attempt.
                if !heard {
                    self.raise(Level::Critical, reason);
                    self.restart_again(RestartKind::Unready, self.lived(now), now, out);
                }
            }
        }
    }

    /// Whether there is somebody to nudge.
    #[must_use]
    pub fn can_be_nudged(&self) -> bool {
        match self.memory.state {
            State::Starting { .. } | State::Running { .. } | State::External { .. } => true,
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => false,
        }
    }

    /// [`crate::Event::Nudge`]: somebody wants it nudged, ladder or not.
    pub(super) fn nudge_asked(&mut self, out: &mut Vec<Action>) {
        if self.can_be_nudged() {
            out.push(Action::Nudge);
        }
    }

    /// Quarantine: restarted too often.
    pub(super) fn quarantine(&mut self, why: &str, now: &Now, out: &mut Vec<Action>) {
        let limit = self.policy.intensity;
        let last = self.memory.reason.to_string();
        let reason = if self.memory.probing {
            format!("failed again after a quarantine: {last}")
        } else {
            format!(
                "{}, the last cause: {}",
                words::too_often(limit.max(), limit.window()),
                if last.is_empty() { why } else { &last },
            )
        };
        let from = self.memory.state.word();
        self.memory.probing = false;
        self.memory.ladder = Ladder::Calm;
        self.memory.state = State::Quarantined {
            until: now.at.time + self.policy.quarantine_for,
        };
        self.raise(Level::Critical, reason.clone());
        let to = self.memory.state.word();
        self.tell(
            out,
            EventKind::Quarantined,
            Some(from.as_str()),
            Some(to.as_str()),
            reason,
        );
    }
}
