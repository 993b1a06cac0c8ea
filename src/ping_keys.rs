//! Who may ping: one key that is good for every service, and for each service a uuid of its
//! own, if it has one, that is good for it alone.
//!
//! A ping URL is its own password, so what is presented is compared in a time that does not
//! tell how much of it is right. A uuid finds its service by a hash under a random key, of
//! which nobody learns anything by the time that it takes, and is then compared as a whole.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use supervisor_core::ServiceName;

use crate::token::same;
use crate::uuid::Uuid;

/// The shortest project key that cannot be guessed in earnest.
const LEAST_BYTES: usize = 16;
/// The longest that fits comfortably into a URL.
const MOST_BYTES: usize = 128;

/// The key that is good for every service.
#[derive(Clone)]
pub(crate) struct ProjectKey(String);

/// Why a text is no project key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidKey {
    /// Shorter or longer than what we take.
    #[error("a ping key has {LEAST_BYTES} to {MOST_BYTES} characters, this one {0}")]
    Length(usize),
    /// It would have to be escaped in a URL.
    #[error("a ping key is made of a-z, A-Z, 0-9, - and _, for it stands in URLs")]
    Characters,
    /// It could be meant for one service.
    #[error("a ping key must not look like a uuid, which is one service's own")]
    Uuid,
}

/// Everybody's keys.
#[derive(Clone, Default)]
pub(crate) struct PingKeys {
    project: Option<ProjectKey>,
    own: HashMap<u64, Vec<(Uuid, ServiceName)>>,
    hasher: RandomState,
}

impl ProjectKey {
    /// Checks and takes a key.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn new(text: &str) -> Result<Self, InvalidKey> {
        if !(LEAST_BYTES..=MOST_BYTES).contains(&text.len()) {
            return Err(InvalidKey::Length(text.len()));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !text.bytes().all(fits) {
            return Err(InvalidKey::Characters);
        }
        if Uuid::parse_any(text).is_some() {
            return Err(InvalidKey::Uuid);
        }
        Ok(Self(text.to_owned()))
    }
}

impl PingKeys {
    /// The project's key, and the services' own.
    pub(crate) fn new(
        project: Option<ProjectKey>,
        own: impl IntoIterator<Item = (ServiceName, Uuid)>,
    ) -> Self {
        let mut keys = Self {
            project,
            ..Self::default()
        };
        for (name, uuid) in own {
            let alike = keys.own.entry(keys.hasher.hash_one(uuid)).or_default();
            alike.push((uuid, name));
        }
        keys
    }

    /// Whether anybody may ping anything.
    pub(crate) fn are_any(&self) -> bool {
        self.project.is_some() || !self.own.is_empty()
    }

    /// Whether this is the project's key.
    pub(crate) fn is_project(&self, presented: &str) -> bool {
        let project = self.project.as_ref();
        project.is_some_and(|key| same(key.0.as_bytes(), presented.as_bytes()))
    }

    /// What stands behind the project's key and a hyphen.
    pub(crate) fn after_project<'a>(&self, presented: &'a str) -> Option<&'a str> {
        let length = self.project.as_ref()?.0.len();
        let (key, rest) = presented.split_at_checked(length)?;
        self.is_project(key).then(|| rest.strip_prefix('-'))?
    }

    /// The service whose own uuid this is.
    pub(crate) fn service_of(&self, uuid: &Uuid) -> Option<&ServiceName> {
        let alike = self.own.get(&self.hasher.hash_one(uuid))?;
        let own = alike
            .iter()
            .find(|(own, _)| same(own.as_bytes(), uuid.as_bytes()));
        own.map(|(_, name)| name)
    }
}

impl fmt::Debug for ProjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProjectKey(…)")
    }
}

impl fmt::Debug for PingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PingKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "fqOOd6-F4MMNuCEnzTU01w";
    const UUID: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";

    fn keys() -> PingKeys {
        let name = ServiceName::new("backup").unwrap();
        let own = [(name, Uuid::parse(UUID).unwrap())];
        PingKeys::new(Some(ProjectKey::new(KEY).unwrap()), own)
    }

    #[test]
    fn a_key_is_long_fits_a_url_and_is_no_uuid() {
        assert_eq!(ProjectKey::new("short").unwrap_err(), InvalidKey::Length(5));
        let long = "a".repeat(129);
        assert_eq!(ProjectKey::new(&long).unwrap_err(), InvalidKey::Length(129));
        for bad in [
            "with a space in it",
            "with/a/slash/in/it",
            "übersetzungsbüro",
        ] {
            assert_eq!(ProjectKey::new(bad).unwrap_err(), InvalidKey::Characters);
        }
        for uuid in [UUID.to_owned(), UUID.replace('-', "")] {
            assert_eq!(ProjectKey::new(&uuid).unwrap_err(), InvalidKey::Uuid);
        }
    }

    #[test]
    fn the_project_key_alone_is_the_project_key() {
        let keys = keys();
        assert!(keys.is_project(KEY));
        for wrong in [
            "",
            "x",
            &KEY[1..],
            &KEY.to_lowercase(),
            &format!("{KEY}x"),
            UUID,
        ] {
            assert!(!keys.is_project(wrong), "{wrong}");
        }
        assert!(!PingKeys::default().is_project(""));
    }

    #[test]
    fn a_name_stands_behind_the_key_and_a_hyphen() {
        let keys = keys();
        let after = |text: &str| keys.after_project(text).map(str::to_owned);
        assert_eq!(after(&format!("{KEY}-backup")).as_deref(), Some("backup"));
        assert_eq!(after(&format!("{KEY}--x")).as_deref(), Some("-x"));
        for wrong in [KEY, "", "backup", &format!("{KEY}backup"), &"ü".repeat(30)] {
            assert_eq!(after(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_uuid_is_its_services_own() {
        let keys = keys();
        let of = |text: &str| keys.service_of(&Uuid::parse(text).unwrap());
        assert_eq!(of(UUID).map(ServiceName::as_str), Some("backup"));
        assert_eq!(of(&UUID.replace('5', "6")), None);
    }

    #[test]
    fn without_keys_nobody_may() {
        assert!(keys().are_any());
        assert!(!PingKeys::default().are_any());
        assert!(!format!("{:?} {:?}", keys(), keys().project).contains("fqOO"));
    }
}
