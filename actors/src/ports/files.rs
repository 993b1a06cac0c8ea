//! The mirrored files, to be read and watched, and never to be written.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use supervisor_core::sync::{Content, Stat};

/// The files below the directories of the sync. Blocking: used on blocking threads.
pub trait Files: Send + Sync {
    /// Reads files on several threads and says what is there, in the order of the paths: some
    /// at a time, as many as `at_once` where there are so many, to whoever takes them. Others
    /// are read meanwhile, a bounded number ahead. It is over early where `take` breaks it off.
    ///
    /// Returns how long the threads read, on an average.
    fn look(&self, file_paths: &[Arc<str>], at_once: usize, take: &mut Take<'_>) -> Duration;

    /// Reads a file.
    ///
    /// # Errors
    /// What is there instead, never [`Look::Here`].
    fn read(&self, file_path: &str) -> Result<(Vec<u8>, Content), Look>;

    /// Whether a file is there, or something that should be one: no directory, no link.
    fn exists(&self, file_path: &str) -> bool;

    /// Walks all directories, or what is below one, and shows every file that belongs into a
    /// table as `stat` has it.
    fn survey(&self, survey: &Survey<'_>) -> Found;

    /// What tells the directories apart that stand where the configuration says: a number
    /// for each, none for one that is not there.
    fn roots(&self) -> Vec<Option<u64>>;
}

/// Takes files and what is there, in the same order.
pub type Take<'a> = dyn FnMut(&[Arc<str>], Vec<Look>) -> ControlFlow<()> + 'a;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// A file; this is in it.
    Here(Content),
    /// Nothing that we mirror: no file, or a symbolic link.
    Gone,
    /// A file that cannot be read.
    Unreadable {
        /// As it is.
        stat: Stat,
        /// Why.
        why: String,
    },
    /// A file that changes while it is read: look again later.
    Changing,
}

/// What to do on a walk.
pub struct Survey<'a> {
    /// Where to begin: a directory below the root; none for all.
    pub below: Option<&'a str>,
    /// Shown the files of each directory that has some. From several threads.
    pub list: &'a (dyn Fn(Listing) + Sync),
    /// Told of each directory, together with others, before its names are read, so that a watch
    /// on it misses nothing. From several threads, one at a time.
    pub enter: &'a (dyn Fn(&[&Path]) + Sync),
    /// How far the walk is.
    pub progress: &'a Progress,
}

/// The files of a directory that belong into a table, as `stat` has them: some 50 bytes each,
/// for all of them may have to be kept for a moment.
#[derive(Debug, Default)]
pub struct Listing {
    /// The directory's path relative to the root, empty or ending in `/`.
    pub directory: String,
    /// The name of the table.
    pub table: Arc<str>,
    names: String,
    /// Where each name ends, and its file.
    files: Vec<(u32, Stat)>,
}

/// What a walk found besides files.
#[derive(Debug, Default)]
pub struct Found {
    /// Directories that could not be read: nothing is known of what is below them.
    pub unread: Vec<(String, String)>,
    /// Names that are no UTF-8, as far as they can be shown; the first of them.
    pub not_utf8: Vec<String>,
    /// How many names are none.
    pub not_utf8_count: u64,
}

// === impl Listing ===

impl Listing {
    /// Of a directory, no file yet.
    #[must_use]
    pub fn new(directory: &str, table: &Arc<str>) -> Self {
        Self {
            directory: directory.to_owned(),
            table: Arc::clone(table),
            ..Self::default()
        }
    }

    /// Adds a file.
    pub fn push(&mut self, name: &str, stat: Stat) {
        self.names.push_str(name);
        // No directory has 4 GB of names; one that had would show its first files alone.
        if let Ok(end) = u32::try_from(self.names.len()) {
            self.files.push((end, stat));
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Shows each file's path relative to the root, and its `stat`.
    pub fn each(&self, mut show: impl FnMut(&str, &Stat)) {
        let mut path = self.directory.clone();
        let mut from = 0;
        for (end, stat) in &self.files {
            let end = *end as usize;
            path.truncate(self.directory.len());
            path.push_str(&self.names[from..end]);
            from = end;
            show(&path, stat);
        }
    }
}

/// How far a walk, and the reading after it, have come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files seen.
    pub files: AtomicU64,
    /// Files to be read.
    pub to_read: AtomicU64,
    /// Files read.
    pub read: AtomicU64,
}

impl Progress {
    /// From the beginning.
    pub fn reset(&self) {
        for count in [&self.files, &self.to_read, &self.read] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// The kernel's word about changes. Used from any thread.
pub trait Eyes: Send + Sync {
    /// Begins; from now on `tell` is called from a thread of its own, and must not block. What
    /// was watched before is watched no longer.
    ///
    /// # Errors
    /// Where there is no watcher to be had.
    fn open(&self, tell: Tell) -> Result<(), Blind>;

    /// Watches a directory, not what is in its directories. One that is watched already is
    /// watched once.
    ///
    /// # Errors
    /// Where it is not watched.
    fn watch(&self, directory: &Path) -> Result<(), Blind>;

    /// Watches directories. Those that went meanwhile are left out.
    ///
    /// # Errors
    /// Where one of the others is not watched; those before it are.
    fn watch_all(&self, directories: &[&Path]) -> Result<(), Blind> {
        directories
            .iter()
            .try_for_each(|directory| match self.watch(directory) {
                Ok(()) | Err(Blind::Gone) => Ok(()),
                Err(why) => Err(why),
            })
    }

    /// Ends: nothing is told any more.
    fn close(&self);

    /// How many directories are watched.
    fn watched(&self) -> usize;
}

/// Whom eyes tell.
pub type Tell = Arc<dyn Fn(Sighting) + Send + Sync>;

/// What was seen. Paths are absolute; which of them matter is not for eyes to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// Something happened to a file there, or it is gone.
    File(PathBuf),
    /// A file or directory moved from one watched place to another.
    Moved {
        /// Where it was.
        from: PathBuf,
        /// Where it is.
        to: PathBuf,
    },
    /// A directory appeared or is gone: nobody told of what is in it.
    Directory(PathBuf),
    /// Something was missed: everything may have changed.
    Everything(String),
}

/// Why nothing is seen of a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blind {
    /// It is not there (any more).
    #[error("it is not there")]
    Gone,
    /// The kernel's limit of watches.
    #[error(
        "the kernel's limit of watched directories is reached: raise the sysctl fs.inotify.max_user_watches"
    )]
    Watches,
    /// The kernel's limit of watchers.
    #[error(
        "the kernel's limit of watchers is reached: raise the sysctl fs.inotify.max_user_instances"
    )]
    Instances,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
