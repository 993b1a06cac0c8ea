//! The data directory: made private, taken by one supervisor at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::adapters::child_token::ChildKey;
use crate::adapters::stand_in;

/// The file whose lock says that a supervisor runs, and in which stands who.
pub(super) const LOCK: &str = "supervisor.lock";

/// A data directory that is ours until this is dropped (or we die: the kernel unlocks it).
#[derive(Debug)]
pub(crate) struct DataDirLock {
    /// Where we write: the directory, or its stand-in.
    path: PathBuf,
    /// The directory that was named.
    given: PathBuf,
    key: ChildKey,
    /// What is to be known of the return from a stand-in.
    returned: Vec<String>,
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

/// Makes the directory (mode 0700) with its key, and takes it for this supervisor alone. Where
/// `path` is not the `given` one it is its stand-in.
///
/// # Errors
/// Where another supervisor has it, or it cannot be written.
pub(crate) fn lock_data_dir(given: &Path, path: &Path) -> Result<DataDirLock, DataDirError> {
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| DataDirError::Io {
            action,
            path,
            source,
        }
    };
    let stands_in = path != given;
    let made = if stands_in {
        // In a place where others may have been first.
        stand_in::make(given).map(drop)
    } else {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    };
    made.map_err(failed("create", path))?;
    let path = path.canonicalize().map_err(failed("find", path))?;
    let mode = fs::metadata(&path)
        .map_err(failed("read", &path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
            .map_err(failed("make private", &path))?;
    }

    let lock_path = path.join(LOCK);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(failed("open", &lock_path))?;
    let mut patience = PATIENCE;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = holder(&mut lock);
                if patience.is_zero() || holder.is_some_and(lives) {
                    let holder = holder.map_or_else(
                        || "its pid is not known".to_owned(),
                        |pid| format!("pid {pid}"),
                    );
                    return Err(DataDirError::Held { path, holder });
                }
            }
            Err(errno) => return Err(failed("lock", &lock_path)(errno.into())),
        }
        std::thread::sleep(PAUSE);
        patience = patience.saturating_sub(PAUSE);
    }
    // Only for the error message of a second supervisor: on a full disk we go on without.
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()));

    let mut returned = Vec::new();
    let given = if stands_in {
        stand_in::fill(&path, given);
        given.canonicalize().unwrap_or_else(|_| given.to_owned())
    } else {
        for out_of_date in stand_in::existing(&path) {
            returned.append(&mut stand_in::leave(&out_of_date, &path));
        }
        path.clone()
    };
    let key = read_or_make_key(&path)?;
    Ok(DataDirLock {
        path,
        given,
        key,
        returned,
        _lock: lock,
    })
}

/// How long to wait for a lock whose holder is dead: what it was just starting when it was
/// killed has a copy of every descriptor until it executes.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// Who last wrote its pid into the lock.
fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process of that number lives; a zombie does not.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    // The state follows the name, which may hold anything.
    stat.is_ok_and(|stat| {
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    })
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
    /// Where we write, absolute: the directory, or its stand-in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that was named, absolute.
    pub(crate) fn given(&self) -> &Path {
        &self.given
    }

    /// What people should know of where we write: that it lasts no longer than until the machine
    /// is restarted, and why; or what came of the time when that was so.
    pub(crate) fn caveats(&self) -> Vec<String> {
        if self.path == self.given {
            return self.returned.clone();
        }
        vec![format!(
            "{} is on a read-only file system: state, history and logs are kept in {}, in \
             memory, until it can be written and the supervisor is restarted",
            self.given.display(),
            self.path.display()
        )]
    }

    /// The key of child tokens.
    pub(crate) fn key(&self) -> &ChildKey {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::child_token::child_token;

    /// Takes it again after we let it go: a process that another test starts at that moment
    /// has a copy of every descriptor until it executes, and so holds the lock a little longer.
    fn lock_again(path: &Path) -> DataDirLock {
        loop {
            match lock_data_dir(path, path) {
                Ok(lock) => return lock,
                Err(DataDirError::Held { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn f35_a_second_supervisor_is_refused_and_told_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = lock_data_dir(&path, &path).unwrap();
        let error = lock_data_dir(&path, &path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        let token = child_token(first.key(), "web");
        drop(first);
        let again = lock_again(&path);
        assert_eq!(child_token(again.key(), "web"), token, "the key stays");
    }

    #[test]
    fn f28_a_lock_that_outlives_its_dead_holder_for_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        drop(lock_again(&path));
        // A number that no process has.
        fs::write(path.join("supervisor.lock"), "4194999\n").unwrap();
        let held = File::open(path.join("supervisor.lock")).unwrap();
        rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        let letting_go = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(held);
        });
        lock_again(&path);
        letting_go.join().unwrap();
    }

    #[test]
    fn a_data_directory_is_private_and_a_broken_key_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        drop(lock_data_dir(&path, &path).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("key")), 0o600);
        fs::write(path.join("key"), "short").unwrap();
        let error = loop {
            match lock_data_dir(&path, &path).unwrap_err() {
                DataDirError::Held { .. } => std::thread::yield_now(),
                other => break other.to_string(),
            }
        };
        assert!(error.contains("exactly 32 bytes"), "{error}");
    }
}
