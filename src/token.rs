//! The token: who holds it may do everything, so it is never printed, never logged, never
//! compared in a time that depends on it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The file in `data_dir` that holds a generated token.
const FILE: &str = "token";

/// The shortest token that cannot be guessed in earnest: 16 characters.
const MIN_BYTES: usize = 16;

/// The longest that fits comfortably into a header.
const MAX_BYTES: usize = 512;

/// The supervisor's own token.
#[derive(Clone)]
pub(crate) struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Shorter or longer than what we take.
    #[error("a token has {MIN_BYTES} to {MAX_BYTES} characters, this one {0}")]
    Length(usize),
    /// It could not be sent in a header.
    #[error("a token is made of visible ASCII characters without spaces")]
    Characters,
    /// The file cannot be read or written.
    #[error("the token's file {path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Token {
    /// Checks and takes a configured token.
    ///
    /// # Errors
    /// Where it is too short to be safe, too long, or cannot be sent in a header.
    pub(crate) fn new(text: &str) -> Result<Self, TokenError> {
        if !(MIN_BYTES..=MAX_BYTES).contains(&text.len()) {
            return Err(TokenError::Length(text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The token generated for this `data_dir`: the one that is there, or a new one. One that
    /// others could read, or that is not whole, is no secret any more and is replaced.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub(crate) fn load_or_create(data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join(FILE);
        match read(&path).transpose().unwrap_or_else(|| create(&path)) {
            Ok(token) => Ok(token),
            Err(source) => Err(TokenError::File { path, source }),
        }
    }

    /// Whether this is it, in a time that does not tell how much of it is right.
    pub(crate) fn is(&self, presented: &[u8]) -> bool {
        same(self.0.as_bytes(), presented)
    }

    /// A seal under what somebody else keeps for us: only who knows the token can make one, and
    /// it does not give the token away. 64 hexadecimal digits.
    pub(crate) fn seal(&self, purpose: &str, text: &str) -> String {
        // An HMAC takes a key of any length, so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else {
            return String::new();
        };
        // The zero byte keeps purposes apart that begin alike.
        for part in [purpose, "\0", text] {
            mac.update(part.as_bytes());
        }
        hex(&mac.finalize().into_bytes())
    }

    /// The secret itself, for those who must send it.
    #[cfg(test)]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// What nobody can guess, for a single use: 32 hexadecimal digits.
///
/// # Errors
/// Where the kernel has no randomness to give.
pub(crate) fn one_time() -> io::Result<String> {
    Ok(hex(&random()?[..16]))
}

fn random() -> io::Result<[u8; 32]> {
    let mut random = [0u8; 32];
    let mut filled = 0;
    while filled < random.len() {
        filled +=
            rustix::rand::getrandom(&mut random[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(random)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that depends on the lengths alone.
pub(crate) fn same(secret: &[u8], presented: &[u8]) -> bool {
    secret.ct_eq(presented).into()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Reads the token, if there is one that is whole and was always ours alone.
fn read(path: &Path) -> io::Result<Option<Token>> {
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A symlink: somebody else's file, not our secret.
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_file() || metadata.mode() & 0o077 != 0 || !ours {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 2).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    Ok(Token::new(text.trim_end()).ok())
}

/// Makes a new one: a temporary file, then a rename, so that a crash leaves none or a whole one.
fn create(path: &Path) -> io::Result<Token> {
    let token = Token(hex(&random()?));
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    writeln!(file, "{}", token.0)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_generated_token_is_private_long_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = Token::load_or_create(dir.path()).unwrap();
        assert_eq!(first.reveal().len(), 64);
        let path = dir.path().join("token");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = Token::load_or_create(dir.path()).unwrap();
        assert_eq!(first.reveal(), again.reveal());
        let other = tempfile::tempdir().unwrap();
        let other = Token::load_or_create(other.path()).unwrap();
        assert_ne!(first.reveal(), other.reveal());
    }

    #[test]
    fn a_token_that_others_could_read_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let first = Token::load_or_create(dir.path()).unwrap();
        let path = dir.path().join("token");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let second = Token::load_or_create(dir.path()).unwrap();
        assert_ne!(first.reveal(), second.reveal());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_that_is_not_whole_or_a_link_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            Token::load_or_create(dir.path()).unwrap().reveal().len(),
            64
        );
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let token = Token::load_or_create(dir.path()).unwrap();
        assert_ne!(
            fs::read_to_string(&elsewhere).unwrap().trim(),
            token.reveal()
        );
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn a_configured_token_must_be_long_enough_and_fit_a_header() {
        assert!(matches!(Token::new("secret"), Err(TokenError::Length(6))));
        assert!(matches!(
            Token::new("with a space in the middle"),
            Err(TokenError::Characters)
        ));
        assert!(
            Token::new("0123456789abcdef")
                .unwrap()
                .is(b"0123456789abcdef")
        );
        assert!(
            !Token::new("0123456789abcdef")
                .unwrap()
                .is(b"0123456789abcdeF")
        );
        assert!(!Token::new("0123456789abcdef").unwrap().is(b""));
    }

    #[test]
    fn a_seal_depends_on_token_purpose_and_text() {
        let token = Token::new("0123456789abcdef").unwrap();
        let seal = token.seal("session", "a");
        assert_eq!(seal.len(), 64);
        assert_eq!(seal, token.seal("session", "a"));
        assert_ne!(seal, token.seal("session", "b"));
        assert_ne!(seal, token.seal("other", "a"));
        assert_ne!(
            seal,
            Token::new("0123456789abcdeF").unwrap().seal("session", "a")
        );
        assert_ne!(one_time().unwrap(), one_time().unwrap());
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
