//! Levels: what we think of a service, and the thresholds that decide it by age.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a service is, from best to worst. `Unknown` is no opinion and ranks lowest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No opinion: never pulsed and still starting, stopped, paused, exited as planned.
    #[default]
    Unknown,
    /// Pulsing, nothing wrong.
    Healthy,
    /// 1 interval missed, an error since the last clean pulse, or one unexpected exit.
    Warning,
    /// 3 missed, or 3 errors or exits in a row.
    Degraded,
    /// 5 missed, 5 errors or exits in a row, a critical error, not restarted, quarantined.
    Critical,
}

/// The same in the Deacon's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Below warning.
    Fresh,
    /// Late.
    Stale,
    /// Critical by age, or never a pulse after the start's deadline: to be poked.
    VeryStale,
}

impl Level {
    /// The word that users and clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

/// The ages and counts at which levels are reached. Built by [`Thresholds::new`], which refuses
/// thresholds that decrease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// The age that is a warning.
    pub warning: Duration,
    /// The age that is degraded; `None` where the profile has no such level.
    pub degraded: Option<Duration>,
    /// The age that is critical, "very stale".
    pub critical: Duration,
    /// The number of errors or exits in a row that is a warning, degraded, critical.
    pub counts: [u32; 3],
}
