//! Alerts: who is told of what, and when, and why not.
//!
//! ```text
//!             group_wait passed           somebody takes it
//!   pending ─────────────────▶ firing ─────────────────────▶ acknowledged
//!      │                         │  ◀── worse than what was taken ──┘ │
//!      │ well again              │ well for group_wait               │
//!      └──── nobody told ────▶ resolved ◀──────────────────────────────┘
//! ```
//!
//! An incident of a service is one alert, from the first bad level until it has been well for
//! `group_wait`: a relapse before that is the same incident. A service that goes bad again and
//! again must be well for longer each time ([`Policy::well_for`]), so that what flaps becomes
//! one incident, too. While an alert is *held* (its service is paused or in a maintenance
//! window, its dependency is down, silenced, its misses alert nobody) or absorbed by a storm
//! it lives on without a message, and [`Desk::why`] names the rule. What was told of a firing is told of
//! its resolution, always.
//!
//! Everything is decided by [`Desk`]; what it wants done comes out as [`Action`]s, to be
//! recorded together, so that a restart fires nothing again.

mod becoming;
mod desk;
mod policy;
mod silence;
#[cfg(test)]
mod tests;
mod why;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use desk::{Desk, Fact, Refused};
pub use policy::{Override, Policy, Step};
pub use silence::{InvalidPattern, Pattern, Silence, SilenceId};

use crate::level::Level;
use crate::name::ServiceName;
use crate::time::{Time, Timestamp};

/// The number of an alert: counted from 1 over the life of a data directory.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AlertId(pub u64);

/// The name of a sink.
pub type SinkName = Arc<str>;

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// One service.
    Service(ServiceName),
    /// Most services at once; the alert lists them.
    Storm,
    /// A sink that takes nothing for long; told by the others.
    Sink(SinkName),
    /// Ourselves: a stall, a full disk. The text names which.
    Own(String),
}

/// How far an alert's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waits for `group_wait`: nobody is told yet.
    Pending,
    /// Whom it concerns is told.
    Firing,
    /// Somebody has taken it: no repeats, no further steps.
    Acknowledged,
    /// Over.
    Resolved,
}

/// Who has taken an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub who: String,
    /// What they say of it; may be empty.
    pub note: String,
    /// When.
    pub at: Timestamp,
    /// What it was then: a worse level is news again.
    pub level: Level,
}

/// Why an alert that is open tells nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Its service is paused (also by a pause file or ESTOP).
    Paused {
        /// What the pause says of itself.
        why: String,
    },
    /// A maintenance window covers its service.
    Maintenance {
        /// The window's name.
        window: String,
        /// When it closes.
        until: Timestamp,
    },
    /// What it depends on is down.
    Dependency {
        /// The root of it.
        on: ServiceName,
    },
    /// A silence covers it.
    Silenced {
        /// Which.
        by: SilenceId,
        /// Until when.
        until: Timestamp,
    },
    /// `alert_on_miss = false`, and lateness is all that is wrong.
    Misses,
    /// A storm's alert speaks for it.
    Storm {
        /// Which alert.
        alert: AlertId,
    },
}

/// One incident, from the first bad level to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number.
    pub id: AlertId,
    /// What it is about.
    pub subject: Subject,
    /// How far its life has come.
    pub phase: Phase,
    /// How bad it is now; unknown or healthy while it waits for being well long enough.
    pub level: Level,
    /// How bad it ever was.
    pub worst: Level,
    /// Why, in a plain sentence, with what was done about it.
    pub reason: String,
    /// When it began.
    pub opened: Timestamp,
    /// When it ended.
    pub closed: Option<Timestamp>,
    /// Who has taken it.
    pub acknowledged: Option<Acknowledgement>,
    /// Why nobody is told now.
    pub hold: Option<Hold>,
    /// Who was told so far.
    pub told: Vec<SinkName>,
    /// How many messages there were: the next one's number.
    pub serial: u32,
    /// The services of a storm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<ServiceName>,
    /// How often its service was restarted meanwhile.
    #[serde(default)]
    pub restarts: u32,
    /// When its service was last poked.
    #[serde(default)]
    pub poked: Option<Timestamp>,
    /// How often it has happened, where it is a trouble of ours that lasts a moment; 0 for once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub again: u32,
    /// How many incidents of its service ended shortly before it began, each soon after the
    /// other: it flaps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flaps: u32,
    /// What only decisions need.
    clock: Clock,
}

/// How long a trouble of ours goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Until it is said to be over.
    UntilOver,
    /// It was a moment. Whatever happens again before so much time has passed is the same
    /// alert.
    For(Duration),
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands it over like that"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The deadlines of an alert, on the judging clock.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Clock {
    /// Since when it waits for `group_wait`.
    pending: Time,
    /// When it began to fire.
    fired: Option<Time>,
    /// When it first reached warning, degraded, critical.
    reached: [Option<Time>; 3],
    /// Since when it is well.
    well: Option<Time>,
    /// When somebody was last told.
    told: Option<Time>,
    /// Which steps of the escalation were taken, by their place: a bit each.
    steps: u64,
}

/// Why a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// For the first time.
    Firing,
    /// It got worse, or nobody has taken it for long.
    Escalated,
    /// It is still there.
    Repeated,
    /// Somebody has taken it.
    Acknowledged,
    /// It is over.
    Resolved,
    /// Somebody wants to see whether messages arrive.
    Test,
}

/// One message to one or more sinks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Why.
    pub kind: NoticeKind,
    /// The alert as it is now; `alert.serial` and its id make the message unique.
    pub alert: Alert,
    /// To whom.
    pub to: Vec<SinkName>,
}

/// What the desk wants done; all of one call is to be recorded together.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Keep this alert as it is now.
    Save(Box<Alert>),
    /// Deliver this.
    Send(Box<Notice>),
    /// That silence is over.
    EndSilence(SilenceId),
    /// Record an event of kind `alert`.
    Tell {
        /// Of which alert.
        id: AlertId,
        /// What it is about.
        subject: Subject,
        /// Its phase before; none for a new one.
        from: Option<Phase>,
        /// Its phase now.
        to: Phase,
        /// Its level now.
        level: Level,
        /// What happened, in a plain sentence.
        reason: String,
    },
}

impl Phase {
    /// The word that users and clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl NoticeKind {
    /// The word that users and clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Escalated => "escalated",
            Self::Repeated => "repeated",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

impl Alert {
    /// One that is about nothing, to try a sink with.
    #[must_use]
    pub fn example(now: Timestamp) -> Self {
        Self {
            id: AlertId(0),
            subject: Subject::Own("test".to_owned()),
            phase: Phase::Firing,
            level: Level::Warning,
            worst: Level::Warning,
            reason: "this is a test, nothing is wrong".to_owned(),
            opened: now,
            closed: None,
            acknowledged: None,
            hold: None,
            told: Vec::new(),
            serial: 0,
            members: Vec::new(),
            restarts: 0,
            poked: None,
            again: 0,
            flaps: 0,
            clock: Clock::default(),
        }
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The service's name, or in a word what else it is about.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => name.fmt(f),
            Self::Storm => f.write_str("storm"),
            Self::Sink(name) => write!(f, "sink {name}"),
            Self::Own(what) => write!(f, "supervisor: {what}"),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { why } if why.is_empty() => f.write_str("its service is paused"),
            Self::Paused { why } => write!(f, "its service is paused: {why}"),
            Self::Maintenance { window, until } => write!(
                f,
                "maintenance window {window} covers its service until {}",
                until.rfc3339()
            ),
            Self::Dependency { on } => write!(f, "{on}, which it depends on, is down"),
            Self::Silenced { by, until } => {
                write!(f, "silence {by} covers it until {}", until.rfc3339())
            }
            Self::Misses => f.write_str("lateness is all that is wrong, and alert_on_miss = false"),
            Self::Storm { alert } => write!(f, "alert {alert} of the storm speaks for it"),
        }
    }
}
