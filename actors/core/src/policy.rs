//! What a service's owner has decided about it: immutable, validated, shared.

use std::time::Duration;

use crate::backoff::{Backoff, Intensity};
use crate::level::Thresholds;

/// Everything that decisions about one service depend on, besides what happens to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Who runs it and how it shows life.
    pub watch: Watch,
    /// How often it promises to pulse (at least 100 ms).
    pub interval: Duration,
    /// What lateness is forgiven.
    pub grace: Duration,
    /// When its age or errors become which level.
    pub thresholds: Thresholds,
    /// The one deadline of a start.
    pub start_grace: Duration,
    /// How many clean pulses in a row let its level fall (at least 1).
    pub recover_after: u32,
    /// Whether its misses alert anybody; they change levels all the same.
    pub alert_on_miss: bool,
    /// Whether it counts in full for the overall status; otherwise for degraded at most.
    pub critical: bool,
    /// It pulses per request: silence is not lateness.
    pub on_demand: bool,
    /// How far `busy_for` may postpone its deadline.
    pub max_busy: Duration,
    /// How long the number that its pulses carry may stand still; none: for ever.
    pub progress_timeout: Option<Duration>,
    /// Whether probes of ours look at it.
    pub probed: bool,
    /// Which exits are restarted.
    pub restart: Restart,
    /// The delays between restarts in a series.
    pub backoff: Backoff,
    /// How many restarts a window may hold before quarantine.
    pub intensity: Intensity,
    /// How long a quarantine lasts before one probing start.
    pub quarantine_for: Duration,
    /// What gets it poked.
    pub poke_on: PokeOn,
    /// Whether the ladder begins with a nudge (one is configured and `poke` names it).
    pub nudge: bool,
    /// Whether the ladder ends in a restart (`poke` names it, and there is a way to).
    pub poke_restarts: bool,
    /// How long after a nudge a pulse is waited for.
    pub nudge_wait: Duration,
    /// What makes a start ready.
    pub ready: Ready,
    /// How long its stop signal has before SIGKILL.
    pub stop_timeout: Duration,
}

impl Policy {
    /// Nobody promises to pulse more often.
    pub const LEAST_INTERVAL: Duration = Duration::from_millis(100);

    /// The same for a service that pulses in that interval: what was given in intervals, or
    /// is a share of one, follows it; what was given as a time stays.
    #[must_use]
    pub fn with_interval(&self, interval: Duration) -> Self {
        let share = |of: Duration| (of / 10).max(Self::LEAST_INTERVAL);
        let grace = if self.grace == share(self.interval) {
            share(interval)
        } else {
            self.grace
        };
        let nudge_wait = if self.nudge_wait == self.interval {
            interval
        } else {
            self.nudge_wait
        };
        // No number moves before the next pulse is due.
        let progress_timeout = self
            .progress_timeout
            .map(|least| least.max(interval + grace));
        let before = (self.interval, self.grace);
        let thresholds = self.thresholds.rescaled(before, (interval, grace));
        Self {
            interval,
            grace,
            thresholds,
            progress_timeout,
            nudge_wait,
            ..self.clone()
        }
    }
}

/// Who runs a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// We run its process and it must pulse.
    Pulsing,
    /// We run its process; while it runs it pulses by itself.
    Alive,
    /// Somebody else runs it; it must pulse.
    External,
}

/// Which exits are followed by a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Every one.
    #[default]
    Always,
    /// Failures: a non-zero code, or a signal that we did not send.
    OnFailure,
    /// None.
    Never,
}

/// What gets a service poked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PokeOn {
    /// Very stale.
    pub stale: bool,
    /// `critical_after` failed probes in a row.
    pub probe: bool,
    /// `critical_after` reported errors in a row.
    pub errors: bool,
}

/// What makes a start ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Its first pulse.
    Pulse,
    /// `READY=1` over sd_notify.
    Notify,
    /// Its first successful probe.
    Probe,
    /// That its process runs.
    Running,
}
