//! What a service's owner has decided about it: immutable, validated, shared.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::backoff::{Backoff, Intensity};
use crate::level::Thresholds;

/// Everything that decisions about one service depend on, besides what happens to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Who runs it and how it shows life.
    pub watch: Watch,
    /// How often it promises to pulse (at least 100 ms).
    pub interval: Duration,
    /// Where that comes from.
    pub interval_source: IntervalSource,
    /// What lateness is forgiven.
    pub grace: Duration,
    /// Which share of the interval that is, where it is one.
    pub grace_share: Option<f64>,
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

    /// Whether its interval is to be learnt from how it pulses.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.interval_source == IntervalSource::Learning
    }

    /// Its grace if it pulses in that interval.
    fn grace_of(&self, interval: Duration) -> Duration {
        // Shares are between 0 and 1: this cannot overflow.
        let share = |share| interval.mul_f64(share).max(Self::LEAST_INTERVAL);
        self.grace_share.map_or(self.grace, share)
    }

    /// The same for a service that pulses in that interval: what was given in intervals, or
    /// is a share of one, follows it; what was given as a time stays.
    #[must_use]
    pub fn with_interval(&self, interval: Duration, source: IntervalSource) -> Self {
        let grace = self.grace_of(interval);
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
            interval_source: source,
            grace,
            thresholds,
            progress_timeout,
            nudge_wait,
            ..self.clone()
        }
    }

    /// The same for a service whose interval is not known yet: its silence is forgiven for as
    /// long as its start is, and then it is as if it had not started.
    #[must_use]
    pub fn before_it_is_learnt(&self) -> Self {
        let patience = self.start_grace;
        let interval = patience
            .saturating_sub(self.grace)
            .max(Self::LEAST_INTERVAL);
        let thresholds = Thresholds {
            warning: patience,
            degraded: self.thresholds.degraded.map(|_| patience),
            critical: patience,
            ..self.thresholds.clone()
        };
        Self {
            interval,
            thresholds,
            progress_timeout: self.progress_timeout.map(|least| least.max(patience)),
            ..self.clone()
        }
    }
}

/// Where the interval of a service comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IntervalSource {
    /// Its owner gave it.
    Configured,
    /// The service named it itself, for its present life.
    Announced,
    /// It is to be learnt from how it pulses, and is not known yet.
    Learning,
    /// It was learnt from how it pulses.
    Learnt,
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
