//! Why a target did not take what it was sent, as far as the sync must know: what to do next.
//!
//! The reasons are sentences for people, with the target's own code where it gave one. They
//! never hold a key or the content of a row.

use std::fmt;
use std::time::Duration;

/// A target's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not now: the same again later (429, 503, a deadlock, a network that failed).
    Retry {
        /// As the target asks; it is capped by whoever waits.
        after: Option<Duration>,
        /// Why.
        why: String,
    },
    /// It was too much at once (a statement timeout, a body too large): the same in smaller
    /// batches, now and from now on.
    Smaller {
        /// What becomes of a row that is too much all alone.
        alone: Alone,
        /// Why.
        why: String,
    },
    /// A row among them is bad, and all were rolled back: halves find it, a row alone is
    /// parked.
    Split {
        /// Why.
        why: String,
    },
    /// Nothing like it succeeds before somebody changes something.
    Park {
        /// How far that reaches.
        scope: Scope,
        /// Why.
        why: String,
    },
}

/// What becomes of a single row that is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// It is too large, whenever it is sent.
    Park,
    /// The target was too slow; later it may not be.
    Retry,
}

/// What a permanent refusal concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All rows of the request, and none besides.
    Rows,
    /// The table: it does not exist, lacks a column, may not be written.
    Table,
    /// The whole target: the key is wrong, the project is paused, the address is another's.
    Target,
}

impl Refusal {
    /// The reason, for people.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Retry { why, .. }
            | Self::Smaller { why, .. }
            | Self::Split { why }
            | Self::Park { why, .. } => why,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl std::error::Error for Refusal {}
