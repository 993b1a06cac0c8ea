//! The directory of one generation: its lock and the two records that its shim writes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::Deserialize;

use supervisor_core::event::{Exit, Generation};
use supervisor_core::{ServiceName, Timestamp};
use supervisor_shim::protocol::{EXIT_RECORD, LOCK_FILE, START_RECORD};

use super::proc_fs::{self, Identity};

/// `data_dir/shim/NAME/GEN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GenerationDir {
    pub(super) path: PathBuf,
    pub(super) generation: Generation,
}

/// A directory that waits for its generation, with its lock taken: made ahead of time, with the
/// shim that waits, so that a start only has to rename it.
#[derive(Debug)]
pub(super) struct Cradle {
    /// Empty once it is somebody's.
    path: PathBuf,
    /// Its lock and itself, until a shim has them.
    held: Option<(File, File)>,
}

/// What a shim writes when its service has started. Unknown fields are ignored, as are
/// missing ones that we can do without: shims of other versions are adopted too.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StartRecord {
    pub(super) pid: i32,
    pub(super) start_time: i64,
    #[serde(default)]
    pub(super) shim_pid: i32,
    #[serde(default)]
    pub(super) shim_start_time: i64,
    #[serde(default)]
    pub(super) boot_id: String,
    #[serde(default)]
    pub(super) cgroup: String,
}

impl StartRecord {
    pub(super) fn main(&self) -> Identity {
        Identity {
            pid: self.pid,
            start_time: self.start_time,
        }
    }

    pub(super) fn shim(&self) -> Identity {
        Identity {
            pid: self.shim_pid,
            start_time: self.shim_start_time,
        }
    }

    pub(super) fn cgroup(&self) -> Option<PathBuf> {
        (!self.cgroup.is_empty()).then(|| PathBuf::from(&self.cgroup))
    }
}

/// What a shim writes when its service's main process has ended.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ExitRecord {
    #[serde(default)]
    code: Option<i32>,
    #[serde(default)]
    signal: Option<i32>,
    #[serde(default)]
    time_us: i64,
    #[serde(default)]
    oom: bool,
    /// Whether others of the service lived when it was written.
    #[serde(default)]
    pub(super) left: bool,
}

impl ExitRecord {
    pub(super) fn exit(&self) -> Exit {
        Exit {
            code: self.code,
            signal: self.signal,
            oom: self.oom,
            at: Timestamp(self.time_us),
        }
    }
}

/// Whether there is nothing, in contrast to something that cannot be looked at.
fn says_nothing_there(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The same error, with what it is about.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

// === impl Cradle ===

impl Cradle {
    /// Where they stand. No service has such a name.
    const PLACE: &str = ".new";

    /// Makes one. `number` tells those of one supervisor apart.
    pub(super) fn make(shims: &Path, number: u64) -> io::Result<Self> {
        let path = shims.join(Self::PLACE).join(number.to_string());
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true).create(&path)?;
        let open = || {
            let lock = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path.join(LOCK_FILE))?;
            rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok((lock, File::open(&path)?))
        };
        match open() {
            Ok((lock, dir)) => Ok(Self {
                path,
                held: Some((lock, dir)),
            }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    /// Removes those of an earlier supervisor: their shims have no service, and end.
    pub(super) fn remove_all(shims: &Path) {
        let _ = fs::remove_dir_all(shims.join(Self::PLACE));
    }

    /// The lock and the directory, for a shim.
    pub(super) fn held(&self) -> io::Result<(File, File)> {
        let (lock, dir) = self.held.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok((lock.try_clone()?, dir.try_clone()?))
    }

    /// Closes ours: from now on the lock is held as long as the shim lives.
    pub(super) fn let_go(&mut self) {
        self.held = None;
    }

    /// Becomes the directory of a generation, at once and whole, while its shim holds the lock.
    /// What an earlier life of the same number left is removed first, but never while its shim
    /// lives.
    pub(super) fn become_dir_of(mut self, life: &GenerationDir) -> io::Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            match fs::rename(&self.path, &life.path) {
                Ok(()) => {
                    self.path = PathBuf::new();
                    return Ok(());
                }
                Err(error) if tries > 2 => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let service = life.path.parent().unwrap_or(Path::new("/"));
                    let mut builder = DirBuilder::new();
                    builder.mode(0o700).recursive(true).create(service)?;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    if life.is_locked() {
                        return Err(io::Error::other("a shim of the same generation still runs"));
                    }
                    fs::remove_dir_all(&life.path)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Cradle {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

// === impl GenerationDir ===

impl GenerationDir {
    pub(super) fn new(shims: &Path, name: &ServiceName, generation: Generation) -> Self {
        let path = shims.join(name.as_str()).join(generation.to_string());
        Self { path, generation }
    }

    /// All of a service, in no order.
    pub(super) fn all(shims: &Path, name: &ServiceName) -> io::Result<Vec<Self>> {
        let path = shims.join(name.as_str());
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if says_nothing_there(&error) => return Ok(Vec::new()),
            Err(error) => return Err(about(&path, &error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| about(&path, &error))?;
            let number = entry
                .file_name()
                .to_str()
                .and_then(|text| text.parse().ok());
            if let Some(generation) = number.map(Generation) {
                found.push(Self {
                    path: entry.path(),
                    generation,
                });
            }
        }
        Ok(found)
    }

    /// Whether its shim lives.
    ///
    /// # Errors
    /// Where that cannot be known: descriptors are used up, or a disk is sick.
    pub(super) fn has_shim(&self) -> io::Result<bool> {
        let path = self.path.join(LOCK_FILE);
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if says_nothing_there(&error) => return Ok(false),
            Err(error) => return Err(about(&path, &error)),
        };
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(about(&path, &errno.into())),
        }
    }

    /// Whether its shim lives, or might: it must not be removed.
    pub(super) fn is_locked(&self) -> bool {
        self.has_shim().unwrap_or(true)
    }

    /// What its shim has written of its start; `None` where there is none, or half of one.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn start_record(&self) -> io::Result<Option<StartRecord>> {
        self.read(START_RECORD)
    }

    /// What its shim has written of its end, in the same way.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn exit_record(&self) -> io::Result<Option<ExitRecord>> {
        self.read(EXIT_RECORD)
    }

    /// A shim that lives but neither speaks nor ends cannot be asked; its service is taken from
    /// it.
    pub(super) fn end_hung_shim(&self, boot_id: &str) {
        self.signal_shim(boot_id, libc::SIGKILL);
    }

    /// Signals the shim, only if it is exactly the one on record; `false` where none is.
    pub(super) fn signal_shim(&self, boot_id: &str, signal: i32) -> bool {
        let record = self.start_record().ok().flatten();
        let record = record.filter(|record| record.boot_id == boot_id);
        record.is_some_and(|record| proc_fs::signal(record.shim(), signal))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, file: &str) -> io::Result<Option<T>> {
        let path = self.path.join(file);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if says_nothing_there(&error) => Ok(None),
            Err(error) => Err(about(&path, &error)),
        }
    }

    /// Removes the directories of earlier lives; one whose shim still writes its record is left
    /// for the next time.
    pub(super) fn remove_older(&self) {
        let (Some(service), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        let Ok(entries) = fs::read_dir(service) else {
            return;
        };
        for entry in entries.flatten().filter(|entry| entry.file_name() != name) {
            let number = entry
                .file_name()
                .to_str()
                .and_then(|text| text.parse().ok());
            let Some(generation) = number.map(Generation) else {
                continue;
            };
            let older = Self {
                path: entry.path(),
                generation,
            };
            if generation < self.generation && !older.is_locked() {
                older.remove();
            }
        }
    }

    /// Removes it. Only what nobody needs any more is ever removed, so a failure (a full or
    /// read-only disk) costs some space and nothing else.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
