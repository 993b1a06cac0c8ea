//! Watches files that others write: one watcher of the kernel for all of them.
//!
//! ```text
//!   kernel ──event──▶ callback ──by path──▶ changed (one permit a file) ──▶ whoever waits
//!   sweep ──stamp differs──────────────────▶ changed
//! ```
//!
//! Not the files are watched but their directories, for files are replaced by renames and may
//! come later. A directory that is not there yet, or has gone, is tried again each second. The
//! kernel's word may be lost (a full queue, a network's file system, a link that leads
//! elsewhere), so a sweep looks at the stamps of all files of a directory, as often as the
//! most impatient of them wants: `stat` alone, in one go. While nothing changes nothing else
//! happens.
//!
//! The callback runs on the watcher's own thread and must not wait: it looks paths up and
//! leaves a permit. A permit is there or not, so a flood of events fills nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::small_file::{Stamp, stamp};

/// How often a directory is tried that could not be watched, and the most often any is swept.
const SECOND: Duration = Duration::from_secs(1);
/// How long the sweeps pause at most.
const LONG: Duration = Duration::from_secs(3_600);

/// All watched files. Nothing happens before the first.
#[derive(Clone, Default)]
pub(crate) struct FileWatch(Arc<Inner>);

/// A watched file; no longer, once this is dropped.
pub(crate) struct Watched {
    path: PathBuf,
    number: u64,
    changed: Arc<Notify>,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Never held while the kernel's watcher is spoken to: its thread takes it.
    files: Mutex<Files>,
    kernel: Mutex<Option<RecommendedWatcher>>,
    /// Something is to be watched, or no longer.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Files {
    directories: HashMap<PathBuf, Directory>,
    /// Whom nobody waits for any more.
    abandoned: Vec<PathBuf>,
    numbers: u64,
    sweeping: bool,
}

#[derive(Default)]
struct Directory {
    /// By name, for what follows from an event is a look at one of them.
    files: HashMap<PathBuf, Vec<File>>,
    /// Whether the kernel tells of it.
    watched: bool,
    /// The time until the next sweep.
    left: Duration,
}

struct File {
    number: u64,
    changed: Arc<Notify>,
    every: Duration,
    stamp: Option<Stamp>,
}

// === impl FileWatch ===

impl FileWatch {
    /// Watches a file, which need not be there, and looks at it at least so often in any case.
    /// Its path is absolute. Must be called inside the runtime of the actors.
    pub(crate) fn watch(&self, path: &Path, every: Duration) -> Watched {
        let mut files = self.0.files();
        files.numbers += 1;
        let number = files.numbers;
        let changed = Arc::new(Notify::new());
        let directory = files.directories.entry(parent(path)).or_default();
        let every = every.max(SECOND);
        // A new one is swept at once: so it comes to be watched.
        directory.left = directory.left.min(every);
        let file = File {
            number,
            changed: Arc::clone(&changed),
            every,
            stamp: None,
        };
        directory
            .files
            .entry(path.to_owned())
            .or_default()
            .push(file);
        if !std::mem::replace(&mut files.sweeping, true) {
            actix_rt::spawn(sweep(Arc::downgrade(&self.0), Arc::clone(&self.0.wake)));
        }
        drop(files);
        self.0.wake.notify_one();
        Watched {
            path: path.to_owned(),
            number,
            changed,
            inner: Arc::clone(&self.0),
        }
    }
}

/// Sweeps whenever something is due, until nobody holds `inner` any more. In between it sleeps:
/// a program at rest is not to be woken each second for nothing.
async fn sweep(inner: Weak<Inner>, wake: Arc<Notify>) {
    let mut last = Instant::now();
    while let Some(strong) = inner.upgrade() {
        let now = Instant::now();
        let elapsed = now - std::mem::replace(&mut last, now);
        let wait = strong.files().pass(elapsed);
        if wait.is_zero() {
            let sweep = actix_rt::task::spawn_blocking(move || strong.sweep());
            // A panic in there is one sweep lost; the next comes in a second.
            if sweep.await.is_err() {
                tokio::time::sleep(SECOND).await;
            }
            continue;
        }
        drop(strong);
        tokio::select! {
            biased;
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl std::fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWatch").finish_non_exhaustive()
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

// === impl Inner ===

impl Drop for Inner {
    fn drop(&mut self) {
        // Who sweeps ends.
        self.wake.notify_one();
    }
}

impl Inner {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is due: directories to be watched or left, stamps to be compared.
    fn sweep(self: &Arc<Self>) {
        let (abandoned, unwatched, due) = {
            let mut files = self.files();
            let abandoned = std::mem::take(&mut files.abandoned);
            let unwatched: Vec<_> = files
                .directories
                .iter()
                .filter(|(_, directory)| !directory.watched)
                .map(|(path, _)| path.clone())
                .collect();
            let mut due = Vec::new();
            for directory in files.directories.values_mut() {
                if directory.left.is_zero() {
                    directory.left = directory.every();
                    due.extend(directory.files.iter().flat_map(|(path, files)| {
                        files
                            .iter()
                            .map(|file| (path.clone(), file.number, file.stamp))
                    }));
                }
            }
            (abandoned, unwatched, due)
        };
        self.tell_kernel(&abandoned, &unwatched);
        for directory in self.files().directories.values_mut() {
            if !directory.watched {
                // Nobody tells of it: looked at as often as we can.
                directory.left = directory.left.min(SECOND);
            }
        }
        for (path, number, before) in due {
            let now = stamp(&path).ok();
            if now != before {
                let mut files = self.files();
                let parent = parent(&path);
                let file = files
                    .directories
                    .get_mut(&parent)
                    .and_then(|directory| directory.files.get_mut(&path))
                    .and_then(|files| files.iter_mut().find(|file| file.number == number));
                if let Some(file) = file {
                    file.stamp = now;
                    file.changed.notify_one();
                }
            }
        }
    }

    fn tell_kernel(self: &Arc<Self>, abandoned: &[PathBuf], unwatched: &[PathBuf]) {
        if abandoned.is_empty() && unwatched.is_empty() {
            return;
        }
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        if kernel.is_none() {
            let inner = Arc::downgrade(self);
            let callback = move |event| {
                if let Some(inner) = inner.upgrade() {
                    inner.happened(event);
                }
            };
            // Without one (no inotify instances left) the sweeps go on, each second.
            *kernel = notify::recommended_watcher(callback).ok();
        }
        let Some(watcher) = kernel.as_mut() else {
            return;
        };
        for path in abandoned {
            // It may be gone, and its watch with it.
            let _gone = watcher.unwatch(path);
        }
        for path in unwatched {
            if !path.is_dir() {
                continue;
            }
            let _gone = watcher.unwatch(path);
            if watcher.watch(path, RecursiveMode::NonRecursive).is_ok()
                && let Some(directory) = self.files().directories.get_mut(path)
            {
                directory.watched = true;
                // What happened before the kernel listened nobody has told of.
                directory.wake_all();
            }
        }
    }

    /// What the kernel says; on its watcher's thread.
    fn happened(&self, event: notify::Result<notify::Event>) {
        let Ok(event) = event else {
            self.wake_all();
            return;
        };
        if event.need_rescan() {
            self.wake_all();
            return;
        }
        match event.kind {
            // Our own looks are events, too.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            EventKind::Access(_) => return,
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => {}
        }
        let leaves = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        let mut files = self.files();
        let mut gone = false;
        for path in &event.paths {
            if leaves && let Some(directory) = files.directories.get_mut(path) {
                // It went, or another will stand there: watched anew.
                gone |= std::mem::replace(&mut directory.watched, false);
                directory.left = Duration::ZERO;
                directory.wake_all();
            }
            let at = path
                .parent()
                .and_then(|parent| files.directories.get(parent))
                .and_then(|directory| directory.files.get(path));
            for file in at.into_iter().flatten() {
                file.changed.notify_one();
            }
        }
        drop(files);
        if gone {
            self.wake.notify_one();
        }
    }

    fn wake_all(&self) {
        for directory in self.files().directories.values() {
            directory.wake_all();
        }
    }
}

// === impl Files ===

impl Files {
    /// Lets that time pass; how long nothing is to be done.
    fn pass(&mut self, elapsed: Duration) -> Duration {
        let mut wait = LONG;
        for directory in self.directories.values_mut() {
            directory.left = directory.left.saturating_sub(elapsed);
            wait = wait.min(directory.left);
        }
        if self.abandoned.is_empty() {
            wait
        } else {
            Duration::ZERO
        }
    }
}

// === impl Directory ===

impl Directory {
    fn wake_all(&self) {
        for file in self.files.values().flatten() {
            file.changed.notify_one();
        }
    }

    /// How often the most impatient of its files wants to be looked at.
    fn every(&self) -> Duration {
        let every = self.files.values().flatten().map(|file| file.every);
        every.min().unwrap_or(SECOND)
    }
}

// === impl Watched ===

impl Watched {
    /// Which.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns when it may have changed since this was last asked. Cancelling it loses nothing.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Where to leave a permit, as if it had changed.
    pub(crate) fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut files = self.inner.files();
        let at = parent(&self.path);
        let Some(directory) = files.directories.get_mut(&at) else {
            return;
        };
        if let Some(same) = directory.files.get_mut(&self.path) {
            same.retain(|file| file.number != self.number);
            if same.is_empty() {
                directory.files.remove(&self.path);
            }
        }
        if directory.files.is_empty() {
            files.directories.remove(&at);
            files.abandoned.push(at);
        }
        drop(files);
        self.inner.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    /// Longer than any machine needs, shorter than the sweeps of these tests.
    const PATIENCE: Duration = Duration::from_secs(20);
    const HOUR: Duration = Duration::from_secs(3_600);

    async fn told(watched: &Watched) -> bool {
        tokio::time::timeout(PATIENCE, watched.changed())
            .await
            .is_ok()
    }

    /// Waits until the kernel listens: what was written before is told of once, too.
    async fn settled(watch: &FileWatch, watched: &Watched) {
        while !watch.0.files().directories[&parent(watched.path())].watched {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while tokio::time::timeout(Duration::from_millis(50), watched.changed())
            .await
            .is_ok()
        {}
    }

    #[actix_rt::test]
    async fn a_written_and_a_replaced_file_are_told_of_and_its_neighbours_are_not() {
        let home = tempfile::tempdir().expect("a directory");
        let watch = FileWatch::default();
        let file = home.path().join("heartbeat.json");
        let watched = watch.watch(&file, HOUR);
        let other = watch.watch(&home.path().join("other"), HOUR);
        settled(&watch, &watched).await;
        settled(&watch, &other).await;
        fs::write(&file, "1").expect("written");
        assert!(told(&watched).await);
        settled(&watch, &watched).await;
        fs::write(home.path().join("new"), "2").expect("written");
        fs::rename(home.path().join("new"), &file).expect("renamed");
        assert!(told(&watched).await);
        settled(&watch, &watched).await;
        // Reading is no change.
        fs::read(&file).expect("read");
        let quiet = tokio::time::timeout(Duration::from_millis(200), watched.changed()).await;
        assert!(quiet.is_err());
        let quiet = tokio::time::timeout(Duration::from_millis(1), other.changed()).await;
        assert!(quiet.is_err());
    }

    #[actix_rt::test]
    async fn a_directory_may_come_later_go_and_come_again() {
        let home = tempfile::tempdir().expect("a directory");
        let watch = FileWatch::default();
        let directory = home.path().join("town/deacon");
        let file = directory.join("heartbeat.json");
        let watched = watch.watch(&file, HOUR);
        for round in 0..2 {
            fs::create_dir_all(&directory).expect("made");
            settled(&watch, &watched).await;
            fs::write(&file, "1").expect("written");
            assert!(told(&watched).await, "round {round}");
            settled(&watch, &watched).await;
            fs::remove_dir_all(&directory).expect("removed");
            assert!(told(&watched).await, "round {round}");
            while watch.0.files().directories[&directory].watched {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    #[actix_rt::test]
    async fn what_the_kernel_does_not_tell_is_found_by_the_sweep() {
        let home = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("a directory");
        let target = elsewhere.path().join("target");
        fs::write(&target, "1").expect("written");
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        let watch = FileWatch::default();
        let watched = watch.watch(&link, SECOND);
        assert!(told(&watched).await);
        // Its first stamp is taken by a sweep.
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        settled(&watch, &watched).await;
        fs::write(&target, "two").expect("written");
        assert!(told(&watched).await);
    }

    #[actix_rt::test]
    async fn who_is_dropped_is_forgotten() {
        let home = tempfile::tempdir().expect("a directory");
        let watch = FileWatch::default();
        let one = watch.watch(&home.path().join("a"), HOUR);
        let two = watch.watch(&home.path().join("a"), HOUR);
        settled(&watch, &one).await;
        settled(&watch, &two).await;
        drop(one);
        fs::write(home.path().join("a"), "1").expect("written");
        assert!(told(&two).await);
        drop(two);
        assert!(watch.0.files().directories.is_empty());
    }
}
