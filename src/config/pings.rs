//! `[pings]`, and `ping_uuid` of a service: who may send signs of life by a URL.

use supervisor_core::ServiceName;

use super::errors::Span;
use super::reader::{Sink, Table};
use super::secret;
use super::value::Value;
use crate::ping_keys::{PingKeys, ProjectKey};
use crate::uuid::Uuid;

/// What `[pings]` says.
#[derive(Debug, Default)]
pub(super) struct Pings {
    key: Option<ProjectKey>,
    /// The environment variable that the key came from, which no service gets.
    pub(super) key_env: Option<String>,
}

/// A service's own uuid, and where it stands.
pub(super) type Own = (Uuid, Span);

/// Reads the table; `env` is the environment.
pub(super) fn read(table: &mut Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> Pings {
    const EXAMPLE: &str = "\"PING_KEY\"";
    let open = table.take("key", |value| {
        key(value, value.need_some_text("\"fqOOd6-F4MMNuCEnzTU01w\"")?)
    });
    let mut key_env = None;
    let by_env = table.take("key_env", |value| {
        let help = "set it before the supervisor starts";
        let secret = secret::of_env(value, env, EXAMPLE, help)?;
        key_env = value.text().map(str::to_owned);
        key(value, &secret)
    });
    table.not_both(("key", &open), ("key_env", &by_env));
    Pings {
        key: open.or_take(by_env).value(),
        key_env,
    }
}

/// A key that can stand in a URL and cannot be guessed. It is not shown.
fn key(value: &Value<'_>, text: &str) -> Option<ProjectKey> {
    match ProjectKey::new(text) {
        Ok(key) => Some(key),
        Err(error) => value.wrong(
            format!("cannot be used: {error}"),
            "a long random text, such as `openssl rand -hex 20` prints",
        ),
    }
}

/// Reads a service's `ping_uuid`.
pub(super) fn read_own(table: &mut Table<'_>) -> Option<Own> {
    let taken = table.take("ping_uuid", |value| {
        let text = value.need_some_text("\"5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278\"")?;
        match Uuid::parse(text) {
            Some(uuid) => Some((uuid, value.span.clone())),
            None => value.wrong(
                "is no uuid",
                "32 hexadecimal digits in five groups, as `uuidgen` prints them",
            ),
        }
    });
    taken.value()
}

impl Pings {
    /// Everybody's keys. A uuid is one service's alone.
    pub(super) fn keys(self, own: Vec<(ServiceName, Own)>, sink: &Sink) -> PingKeys {
        for (at, (name, (uuid, span))) in own.iter().enumerate() {
            let earlier = own[..at].iter().find(|(_, (other, _))| other == uuid);
            if let Some((other, (_, there))) = earlier {
                let message = format!("{name} and {other} have the same `ping_uuid`");
                sink.say(
                    sink.at(span.clone(), "the same", message)
                        .also(there.clone(), "given here")
                        .help("give each service one of its own: `uuidgen` prints one"),
                );
            }
        }
        let own = own.into_iter().map(|(name, (uuid, _))| (name, uuid));
        PingKeys::new(self.key, own)
    }
}
