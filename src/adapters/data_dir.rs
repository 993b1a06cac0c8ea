//! The data directory: made private, taken by one supervisor at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::adapters::child_token::ChildKey;

/// A data directory that is ours until this is dropped (or we die: the kernel unlocks it).
#[derive(Debug)]
pub(crate) struct DataDirLock {
    path: PathBuf,
    key: ChildKey,
    /// Holds the lock; closed on exec, so that no child keeps it.
    _lock: File,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// Another supervisor has it.
    #[error("{} is in use by another supervisor ({holder})", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who, as `pid 123`.
        holder: String,
    },
    /// It, or a file in it, cannot be made or read.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The key file holds something else.
    #[error(
        "{} is no key: it must hold exactly {} bytes; move it away and a new one is made",
        .0.display(), ChildKey::BYTES
    )]
    BadKey(PathBuf),
}

/// Makes the directory (mode 0700) with its key, and takes it for this supervisor alone.
///
/// # Errors
/// Where another supervisor has it, or it cannot be written.
pub(crate) fn lock_data_dir(path: &Path) -> Result<DataDirLock, DataDirError> {
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| DataDirError::Io {
            action,
            path,
            source,
        }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("create", path))?;
    let path = path.canonicalize().map_err(failed("find", path))?;
    let mode = fs::metadata(&path)
        .map_err(failed("read", &path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
            .map_err(failed("make private", &path))?;
    }

    let lock_path = path.join("supervisor.lock");
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(failed("open", &lock_path))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(DataDirError::Held {
                holder: holder(&mut lock),
                path,
            });
        }
        Err(errno) => return Err(failed("lock", &lock_path)(errno.into())),
    }
    // Only for the error message of a second supervisor: on a full disk we go on without.
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()));

    let key = read_or_make_key(&path)?;
    Ok(DataDirLock {
        path,
        key,
        _lock: lock,
    })
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    // The pid is only for the reader of the message; without it the message still stands.
    let _ = lock.read_to_string(&mut text);
    match text.trim() {
        "" => "its pid is not known".to_owned(),
        pid => format!("pid {pid}"),
    }
}

/// Reads the key of a data directory that is in use.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn read_key(dir: &Path) -> io::Result<ChildKey> {
    let bytes = fs::read(dir.join("key"))?;
    let bytes = bytes.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(ChildKey::new(bytes))
}

fn read_or_make_key(dir: &Path) -> Result<ChildKey, DataDirError> {
    let path = dir.join("key");
    let failed = |action| {
        let path = path.clone();
        move |source| DataDirError::Io {
            action,
            path,
            source,
        }
    };
    match fs::read(&path) {
        Ok(bytes) => {
            let bytes = bytes
                .try_into()
                .map_err(|_| DataDirError::BadKey(path.clone()))?;
            return Ok(ChildKey::new(bytes));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read")(error)),
    }
    let mut bytes = [0; ChildKey::BYTES];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(failed("make"))?;
    // Whole or not at all: living children hold tokens made with it.
    let temporary = dir.join("key.new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(failed("write"))?;
    Ok(ChildKey::new(bytes))
}

impl DataDirLock {
    /// The directory, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The key of child tokens.
    pub(crate) fn key(&self) -> &ChildKey {
        &self.key
    }

    /// The Unix socket of the API.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("supervisor.sock")
    }

    /// The log file of a service.
    pub(crate) fn service_log(&self, name: &str) -> PathBuf {
        self.path.join("log").join(format!("{name}.log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::child_token::child_token;

    #[test]
    fn f35_a_second_supervisor_is_refused_and_told_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = lock_data_dir(&path).unwrap();
        let error = lock_data_dir(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        let token = child_token(first.key(), "web");
        drop(first);
        let again = lock_data_dir(&path).unwrap();
        assert_eq!(child_token(again.key(), "web"), token, "the key stays");
    }

    #[test]
    fn a_data_directory_is_private_and_a_broken_key_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        drop(lock_data_dir(&path).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("key")), 0o600);
        fs::write(path.join("key"), "short").unwrap();
        let error = lock_data_dir(&path).unwrap_err().to_string();
        assert!(error.contains("exactly 32 bytes"), "{error}");
    }
}
