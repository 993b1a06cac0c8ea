//! How a service is stopped: asked, given time, killed, and told of who cannot be.

use super::*;

/// While killing, how often the tree is walked again for what was forked meanwhile.
const KILL_AGAIN_MS: u64 = 20;
/// While blocked after SIGKILL, how often that is said.
const REPORT_MS: u64 = 1000;

impl Shim<'_> {
    /// TERM for whoever is left after main, and the ladder's timer where none runs.
    pub(super) fn ask_remains(&mut self) {
        tree::signal_all(self.shim.pid, &[signal::TERM, signal::CONT]);
        if self.ladder == Ladder::Idle {
            self.ladder = self.asked();
        }
    }

    pub(super) fn asked(&self) -> Ladder {
        let kill_at = sys::monotonic_ms().saturating_add(self.settings.stop_timeout_ms);
        Ladder::Asked { kill_at }
    }

    /// `wanted` is how often the present supervisor has asked so far: what it repeats after a
    /// broken connection counts once, and a new supervisor's first does not kill.
    #[inline(never)]
    pub(super) fn stop(&mut self, wanted: Option<i64>) {
        let wanted = wanted.map_or(self.stops + 1, |wanted| wanted as u32);
        if wanted <= self.stops {
            return;
        }
        self.stops = wanted;
        match (self.ladder, self.stops) {
            (Ladder::Idle, _) => {
                self.ladder = self.asked();
                // Main is not reaped yet, so its number and its group's are still its own.
                // The group exists once the child has called setsid.
                let stop_signal = self.settings.stop_signal;
                if sys::kill(-self.main.pid, stop_signal).is_err() {
                    let _ = sys::kill(self.main.pid, stop_signal);
                }
                let _ = sys::kill(-self.main.pid, signal::CONT);
            }
            // The ladder that main's own exit began counts for the first.
            (Ladder::Asked { .. }, 1) => {}
            (Ladder::Asked { .. } | Ladder::Killing { .. }, _) => self.kill(),
        }
    }

    /// Its stop may last so long from now: what it has already is not taken away.
    pub(super) fn extend(&mut self, ms: u64) {
        if let Ladder::Asked { kill_at } = &mut self.ladder {
            *kill_at = (*kill_at).max(sys::monotonic_ms().saturating_add(ms));
        }
    }

    /// The ladder's timer.
    #[inline(never)]
    pub(super) fn climb(&mut self) {
        let now = sys::monotonic_ms();
        match self.ladder {
            _ if self.phase == Phase::Gone => {}
            Ladder::Idle => {}
            Ladder::Asked { kill_at } => {
                if now >= kill_at {
                    self.kill();
                }
            }
            Ladder::Killing {
                again_at,
                mut report_at,
            } => {
                if now >= report_at {
                    report_at = now + REPORT_MS;
                    let list = tree::describe(self.shim.pid);
                    if !list.as_bytes().is_empty() {
                        self.tell(kind::BLOCKED, &[(key::LIST, list.as_bytes())]);
                    }
                }
                if now >= again_at {
                    self.kill_once();
                    // Less often where it takes long: a walk reads every process's stat.
                    let waited = now.saturating_sub(report_at.saturating_sub(REPORT_MS));
                    let again_at = now + KILL_AGAIN_MS.max(waited.min(REPORT_MS / 4));
                    self.ladder = Ladder::Killing {
                        again_at,
                        report_at,
                    };
                } else {
                    self.ladder = Ladder::Killing {
                        again_at,
                        report_at,
                    };
                }
            }
        }
    }

    pub(super) fn kill(&mut self) {
        let now = sys::monotonic_ms();
        self.kill_once();
        self.ladder = match self.ladder {
            Ladder::Killing { report_at, .. } => Ladder::Killing {
                again_at: now + KILL_AGAIN_MS,
                report_at,
            },
            Ladder::Idle | Ladder::Asked { .. } => Ladder::Killing {
                again_at: now + KILL_AGAIN_MS,
                report_at: now + REPORT_MS,
            },
        };
    }

    #[inline(never)]
    pub(super) fn kill_once(&self) {
        tree::kill_cgroup(self.settings.cgroup);
        if !matches!(self.phase, Phase::Remains(_)) {
            let _ = sys::kill(-self.main.pid, signal::KILL);
            let _ = sys::kill(self.main.pid, signal::KILL);
        }
        tree::signal_all(self.shim.pid, &[signal::KILL]);
    }
}
