//! What the outside sees of a service: the service object of the API.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::level::{Freshness, Level};
use crate::metrics::{Metric, Rollup};
use crate::name::ServiceName;
use crate::policy::IntervalSource;
use crate::rhythm::Trend;
use crate::run::Outcome;
use crate::time::Timestamp;

/// What a service is doing, in the API's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StateWord {
    /// Being started, or waiting for what it depends on.
    Starting,
    /// Its process runs and is ready.
    Running,
    /// Being stopped; nothing new is started before nothing is left.
    Stopping,
    /// Not running, because somebody wants it so (or it is disabled).
    Stopped,
    /// Waiting out the delay before the next restart.
    Backoff,
    /// Restarted too often: not started until cleared.
    Quarantined,
    /// Left alone on request.
    Paused,
    /// Ended, and its policy does not restart it.
    Exited,
    /// Not run by us, only watched.
    External,
}

impl StateWord {
    /// The word that users and clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Backoff => "backoff",
            Self::Quarantined => "quarantined",
            Self::Paused => "paused",
            Self::Exited => "exited",
            Self::External => "external",
        }
    }
}

/// A service object. Seconds are numbers, dates RFC 3339 in UTC, absent values null.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Service)]
pub struct View {
    /// Its name.
    pub name: ServiceName,
    /// Its level.
    pub status: Level,
    /// What it is doing.
    pub state: StateWord,
    /// The main process, where there is one.
    pub pid: Option<i32>,
    /// The resident memory of its processes in bytes, as of a while ago; what several of them
    /// share counts for each. Null where it has none, or none was weighed yet.
    pub memory: Option<u64>,
    /// Which life this is.
    pub generation: u32,
    /// How often it promises to pulse, in seconds; null for one that pulses by living, or on
    /// demand, or whose interval is not learnt yet.
    pub interval: Option<f64>,
    /// Where that comes from; null for one that pulses by living, or on demand.
    pub interval_source: Option<IntervalSource>,
    /// Seconds since its last sign of life.
    pub age: Option<f64>,
    /// Whole intervals missed.
    pub missed: u32,
    /// The larger of missed intervals and consecutive errors.
    pub consecutive_failures: u32,
    /// Restarts since it is known, all lives together.
    pub restarts: u64,
    /// Why its level is what it is, in a plain sentence; empty when healthy.
    pub reason: String,
    /// When it last gave a sign of life.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_heartbeat: Option<Timestamp>,
    /// The Deacon's word for its age; null where age does not judge it.
    pub freshness: Option<Freshness>,
    /// Pulses ever received, exact.
    pub total_pulses: u64,
    /// Those of them that this supervisor has received: for a counter that may begin anew, but
    /// must never fall a little, as the other does when our death loses its last second.
    #[serde(skip)]
    pub pulses_here: u64,
    /// Errors ever reported.
    pub error_count: u64,
    /// Whether it counts in full for the overall status.
    pub critical: bool,
    /// When the present life began.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Seconds of the present life.
    pub uptime: Option<f64>,
    /// Seconds until the next start (in backoff or quarantine).
    pub next_start_in: Option<f64>,
    /// Seconds until a pause ends by itself.
    pub paused_for: Option<f64>,
    /// The maintenance window that covers it now.
    pub maintenance: Option<String>,
    /// What it said last.
    pub message: Option<String>,
    /// The cycle that it named last in this life.
    pub cycle: Option<i64>,
    /// The progress that it named last in this life.
    pub progress: Option<f64>,
    /// Its own figures, by name.
    pub metrics: BTreeMap<String, MetricView>,
    /// Whom it waits for to be started: what it needs, in the end, and what rests.
    pub waiting_for: Vec<ServiceName>,
    /// Datagrams to its notify socket that were left out, since this supervisor began.
    pub notify_dropped: u64,
    /// Lines of its output that were left out, since this supervisor began; its log has them.
    pub lines_dropped: u64,
    /// What keeps a stop from ending, as `pid (name)`.
    pub blocked_by: Option<String>,
    /// The youngest of its runs that are under way.
    pub run: Option<OpenRun>,
    /// The last of its runs that ended.
    pub last_run: Option<LastRun>,
    /// Where its rhythm goes; null where it promises none.
    pub trend: Option<Trend>,
    /// When it will first miss its deadline, if it goes on slowing like this.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub predicted_miss_at: Option<Timestamp>,
    /// φ: −log₁₀ of the probability that a healthy gap is as long as the present one.
    pub suspicion: Option<f64>,
    /// Labels of the owner's.
    pub tags: Vec<String>,
    /// What must be ready before it starts.
    pub depends_on: Vec<ServiceName>,
}

/// A figure of a service's own: its latest value, and what all of this life come to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Metric)]
pub struct MetricView {
    /// Its latest value.
    pub value: f64,
    /// When that was received.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// All values since the present life began.
    #[serde(flatten)]
    pub rollup: Rollup,
}

impl MetricView {
    /// What is shown of a figure.
    #[must_use]
    pub fn of(metric: &Metric) -> Self {
        Self {
            value: metric.value,
            at: Some(metric.at.wall),
            rollup: metric.rollup,
        }
    }
}

/// A run under way.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OpenRun {
    /// What its sender calls it.
    pub rid: Option<String>,
    /// When its start was told.
    #[serde(serialize_with = "date")]
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Seconds since then.
    pub running_for: f64,
}

/// A run that ended. Its output is with its record.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LastRun {
    /// What its sender calls it.
    pub rid: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// When it began, if anybody knows.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When its end was told.
    #[serde(serialize_with = "date")]
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
    /// How many seconds it took, if anybody knows.
    pub duration: Option<f64>,
    /// What there is to say about it.
    pub message: Option<String>,
}

/// A date as RFC 3339.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference to the field"
)]
fn date<S: Serializer>(date: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&date.rfc3339())
}

/// A date as RFC 3339, or null.
#[expect(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
fn rfc3339<S: Serializer>(date: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => to.serialize_some(&date.rfc3339()),
        None => to.serialize_none(),
    }
}
