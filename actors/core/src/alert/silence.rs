//! Silences: alerts of these services tell nobody until then.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::name::ServiceName;
use crate::time::{Time, Timestamp};

/// The number of a silence: counted from 1 over the life of a data directory.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SilenceId(pub u64);

/// One silence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Its number.
    pub id: SilenceId,
    /// Which services.
    pub services: Pattern,
    /// Only those that carry this tag, where one is named.
    #[serde(default)]
    pub tag: Option<String>,
    /// Until when, as shown.
    pub until: Timestamp,
    /// Until when, as decided: a wall clock that jumps neither ends nor prolongs it.
    pub ends: Time,
    /// Who made it.
    pub by: String,
    /// Why.
    pub note: String,
}

/// A pattern over services' names: `*` any text, `?` one character, `[a-c]`, `{a,b}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(GlobMatcher);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It would never match.
    #[error("a pattern of services is empty; * stands for all")]
    Empty,
    /// Nobody's name is so long.
    #[error("a pattern of services has {0} bytes, at most 200 are allowed")]
    TooLong(usize),
    /// It cannot be read.
    #[error("{0}")]
    Syntax(String),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        match text.len() {
            0 => return Err(InvalidPattern::Empty),
            1..=200 => {}
            more => return Err(InvalidPattern::TooLong(more)),
        }
        GlobBuilder::new(text)
            .build()
            .map(|glob| Self(glob.compile_matcher()))
            .map_err(|why| InvalidPattern::Syntax(why.to_string()))
    }

    /// Whether a service of that name is meant.
    #[must_use]
    pub fn matches(&self, name: &ServiceName) -> bool {
        self.0.is_match(name.as_str())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.glob().glob()
    }
}

impl Silence {
    /// Whether it covers that service.
    #[must_use]
    pub fn covers(&self, service: &ServiceName, tags: &[String]) -> bool {
        let tagged = self
            .tag
            .as_ref()
            .is_none_or(|tag| tags.iter().any(|other| other == tag));
        tagged && self.services.matches(service)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.as_str().to_owned()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SilenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
