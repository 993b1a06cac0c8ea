//! The token that a service's process gets: good for pulses and errors of its own name.
//!
//! It is an HMAC of the name under a key that stays in the data directory, so it needs no
//! table, and a process that outlived a supervisor still has the right one.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The key under which child tokens are made: `data_dir/key`.
#[derive(Clone)]
pub(crate) struct ChildKey([u8; Self::BYTES]);

impl ChildKey {
    /// Its length.
    pub(crate) const BYTES: usize = 32;

    /// Takes a key.
    pub(crate) fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for ChildKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChildKey(…)")
    }
}

/// The token of the service of that name: 64 lower-case hexadecimal digits. Whoever verifies
/// one compares in constant time.
pub(crate) fn child_token(key: &ChildKey, name: &str) -> String {
    // The prefixes keep apart what is derived from the key.
    derive(key, b"child\0", name)
}

/// What nobody can guess of the name of that service's notify socket: 32 hexadecimal digits,
/// the same for as long as the key stays, so that a process that outlived a supervisor
/// reaches the next one by the name that it was given.
pub(crate) fn notify_name(key: &ChildKey, name: &str) -> String {
    let mut secret = derive(key, b"notify\0", name);
    secret.truncate(32);
    secret
}

fn derive(key: &ChildKey, purpose: &[u8], name: &str) -> String {
    use std::fmt::Write as _;

    // An HMAC takes a key of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key.0) else {
        return String::new();
    };
    mac.update(purpose);
    mac.update(name.as_bytes());
    let mut token = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        let _ = write!(token, "{byte:02x}");
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_depends_on_name_and_key_and_on_nothing_else() {
        let key = ChildKey::new([7; 32]);
        let token = child_token(&key, "web");
        assert_eq!(token.len(), 64);
        assert_eq!(token, child_token(&key, "web"));
        assert_ne!(token, child_token(&key, "web2"));
        assert_ne!(token, child_token(&ChildKey::new([8; 32]), "web"));
        let socket = notify_name(&key, "web");
        assert_eq!(socket.len(), 32);
        assert!(
            !token.starts_with(&socket),
            "one does not give the other away"
        );
        assert_ne!(socket, notify_name(&key, "web2"));
        assert!(!format!("{key:?}").contains('7'), "a key is never shown");
    }
}
