//! The name of a service.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A service's name: `[a-z0-9][a-z0-9_.@-]{0,63}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_.@-]{0,63}$")]
pub struct ServiceName(Arc<str>);

/// Why a text is no service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing at all.
    #[error("a service's name is empty")]
    Empty,
    /// Longer than 64 bytes.
    #[error("a service's name has {0} bytes, at most 64 are allowed")]
    TooLong(usize),
    /// A character outside the set.
    #[error(
        "{0:?} is not allowed in a service's name; use a-z, 0-9, and after the first character also _ . @ -"
    )]
    BadCharacter(char),
}

/// The prefix of the services that are our own actors.
pub const INTERNAL_PREFIX: &str = "internal.";

impl ServiceName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// Which character, or what length, is not allowed.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let Some(first) = text.chars().next() else {
            return Err(InvalidName::Empty);
        };
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidName::TooLong(text.len()));
        }
        if !matches!(first, 'a'..='z' | '0'..='9') {
            return Err(InvalidName::BadCharacter(first));
        }
        match text
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '@' | '-'))
        {
            Some(bad) => Err(InvalidName::BadCharacter(bad)),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is one of our own actors (`internal.…`), a name that users cannot take.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.starts_with(INTERNAL_PREFIX)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(&text)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0.as_ref().to_owned()
    }
}
