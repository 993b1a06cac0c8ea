//! Watches directories through the kernel (inotify, by notify), one by one.
//!
//! Not by notify's own recursion: that watches what is left out as well (`.git`, our own data
//! directory and its every write), and it silently stops at a directory that goes while it is
//! walked. Here whoever walks the tree has each directory watched before it reads the names in
//! it, so that nothing is missed between the two.
//!
//! The callback runs on notify's own thread, which must not wait for anybody: it sorts events,
//! and what it tells goes into a queue of whoever listens.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use rustix::process::Pid;
use supervisor_actors::ports::files::{Blind, Eyes, Sighting, Tell};
use supervisor_core::sync::manifest::path_sum;

use super::near::Near;

/// So many directories are worth it that two threads come together.
const MANY: usize = 16;

/// The kernel's watcher for all directories of the sync.
#[derive(Default)]
pub(crate) struct KernelEyes {
    /// Never held while the set below is.
    watcher: Mutex<Option<Watching>>,
    /// The watched directories, by the sums of their paths: 8 bytes each, where a path has a
    /// hundred. Its own lock, for the callback takes it while somebody waits for the kernel.
    watched: Arc<Mutex<HashSet<u64>>>,
}

type Watched = Mutex<HashSet<u64>>;

struct Watching {
    watcher: RecommendedWatcher,
    /// The kernel's number of its thread; 0 until it has told something.
    thread: Arc<AtomicI32>,
}

impl Eyes for KernelEyes {
    fn open(&self, tell: Tell) -> Result<(), Blind> {
        self.close();
        let watched = Arc::clone(&self.watched);
        let thread = Arc::new(AtomicI32::new(0));
        let of_callback = Arc::clone(&thread);
        let callback = move |event| {
            if of_callback.load(Ordering::Relaxed) == 0 {
                let own = rustix::thread::gettid().as_raw_nonzero().get();
                of_callback.store(own, Ordering::Relaxed);
            }
            sort(event, &watched, &tell);
        };
        let watcher = notify::recommended_watcher(callback).map_err(|error| match error.kind {
            ErrorKind::Io(error) if is_limit(&error) => Blind::Instances,
            _ => Blind::Other(error.to_string()),
        })?;
        *self.watcher() = Some(Watching { watcher, thread });
        Ok(())
    }

    fn watch(&self, directory: &Path) -> Result<(), Blind> {
        match self.watcher().as_mut() {
            Some(watching) => self.watch_by(watching, directory),
            None => Err(Blind::Other("there is no watcher".to_owned())),
        }
    }

    fn watch_all(&self, directories: &[&Path]) -> Result<(), Blind> {
        let mut watching = self.watcher();
        let Some(watching) = watching.as_mut() else {
            return Err(Blind::Other("there is no watcher".to_owned()));
        };
        let thread = Pid::from_raw(watching.thread.load(Ordering::Relaxed));
        // notify's thread sets one watch, answers, and sleeps until it is asked for the next.
        let _near = thread
            .filter(|_| directories.len() >= MANY)
            .and_then(Near::to);
        for directory in directories {
            match self.watch_by(watching, directory) {
                Ok(()) | Err(Blind::Gone) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn close(&self) {
        // Dropping it ends its thread, which may just be inside the callback: not waited for.
        *self.watcher() = None;
        lock(&self.watched).clear();
    }

    fn watched(&self) -> usize {
        lock(&self.watched).len()
    }
}

impl KernelEyes {
    fn watcher(&self) -> MutexGuard<'_, Option<Watching>> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch_by(&self, watching: &mut Watching, directory: &Path) -> Result<(), Blind> {
        // First known, then watched: the callback must know it when the first event comes.
        let sum = sum(directory);
        lock(&self.watched).insert(sum);
        let watched = watching
            .watcher
            .watch(directory, RecursiveMode::NonRecursive);
        watched.map_err(|error| {
            lock(&self.watched).remove(&sum);
            blind(error)
        })
    }
}

fn lock(watched: &Watched) -> MutexGuard<'_, HashSet<u64>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sum(path: &Path) -> u64 {
    path_sum(path.as_os_str().as_bytes())
}

/// Why a directory is not watched.
fn blind(error: notify::Error) -> Blind {
    match error.kind {
        ErrorKind::MaxFilesWatch => Blind::Watches,
        ErrorKind::PathNotFound => Blind::Gone,
        ErrorKind::Io(error) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Blind::Gone,
            _ => Blind::Other(error.to_string()),
        },
        ErrorKind::Generic(_) | ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_) => {
            Blind::Other(error.to_string())
        }
    }
}

/// EMFILE is max_user_instances, or our own limit of descriptors.
fn is_limit(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE)
}

/// What an event of the kernel's says; on its watcher's thread.
fn sort(event: notify::Result<Event>, watched: &Watched, tell: &Tell) {
    let event = match event {
        Ok(event) => event,
        Err(error) => {
            tell(Sighting::Everything(format!("the watcher failed: {error}")));
            return;
        }
    };
    if event.need_rescan() {
        let why = "the kernel's queue of events overflowed (fs.inotify.max_queued_events)";
        tell(Sighting::Everything(why.to_owned()));
        return;
    }
    let mut paths = event.paths.into_iter();
    let Some(path) = paths.next() else {
        return;
    };
    match event.kind {
        // Our own reading is an event, too.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => tell(Sighting::File(path)),
        EventKind::Access(_) => {}
        EventKind::Create(CreateKind::Folder) => tell(Sighting::Directory(path)),
        EventKind::Create(_) | EventKind::Any | EventKind::Other => tell(Sighting::File(path)),
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            if let Some(to) = paths.next() {
                tell(Sighting::Moved { from: path, to });
            }
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) => gone(path, watched, tell),
        EventKind::Modify(ModifyKind::Name(_)) => {
            // It may be either, and the kernel's flag has been lost on the way.
            let meta = std::fs::symlink_metadata(&path);
            if meta.is_ok_and(|meta| meta.is_dir()) {
                tell(Sighting::Directory(path));
            } else {
                tell(Sighting::File(path));
            }
        }
        EventKind::Modify(_) => tell(Sighting::File(path)),
        EventKind::Remove(RemoveKind::Folder) => {
            lock(watched).remove(&sum(&path));
            tell(Sighting::Directory(path));
        }
        EventKind::Remove(_) => gone(path, watched, tell),
    }
}

/// Something is not there any more: a directory, if it was watched.
fn gone(path: PathBuf, watched: &Watched, tell: &Tell) {
    if lock(watched).remove(&sum(&path)) {
        tell(Sighting::Directory(path));
    } else {
        tell(Sighting::File(path));
    }
}
