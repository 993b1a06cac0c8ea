//! Why a call did not do what it was to do, in words for people.

use std::time::Duration;

use serde::Deserialize;

use crate::cli::exit::Exit;

/// Why a call did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens there.
    #[error("cannot reach a supervisor {place}: {why}; {help}")]
    NotReachable {
        /// Which socket or address was tried.
        place: String,
        /// What the system said, in plain words where they are known.
        why: String,
        /// What would help.
        help: String,
    },
    /// It took the connection and then was silent.
    #[error("the supervisor {place} did not answer within {} s", after.as_secs_f64())]
    Silent {
        /// Which socket or address was tried.
        place: String,
        /// How long we waited.
        after: Duration,
    },
    /// The connection broke, or what came is no answer.
    #[error("no proper answer from the supervisor {place}: {why}")]
    Garbled {
        /// Which socket or address was tried.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// It answered, and says no.
    #[error("{0}")]
    Refused(Problem),
}

impl ClientError {
    /// The exit code that says this.
    pub(in crate::cli) fn exit(&self) -> Exit {
        match self {
            Self::NotReachable { .. } | Self::Silent { .. } => Exit::NotReachable,
            Self::Garbled { .. } | Self::Refused(_) => Exit::Failure,
        }
    }

    /// Whether the same call may work a little later, where somebody looks on for long: the
    /// supervisor may be on its way back, or was killed while it answered.
    pub(in crate::cli) fn may_pass(&self) -> bool {
        match self {
            Self::NotReachable { .. } | Self::Silent { .. } | Self::Garbled { .. } => true,
            Self::Refused(problem) => problem.status >= 500,
        }
    }

    /// Whether another way to the supervisor is worth a try: this one was not there.
    pub(in crate::cli) fn is_not_reachable(&self) -> bool {
        matches!(self, Self::NotReachable { .. })
    }
}

/// A refusal in the supervisor's words (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// In a few words.
    pub(in crate::cli) title: Option<String>,
    /// The HTTP status.
    pub(in crate::cli) status: u16,
    /// In a sentence.
    pub(in crate::cli) detail: Option<String>,
    /// For programs.
    pub(in crate::cli) code: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match filled(&self.detail).or_else(|| filled(&self.title)) {
            Some(text) => f.write_str(&text),
            None => write!(f, "the supervisor refused with status {}", self.status),
        }
    }
}
