//! Walks directories on several threads, and asks `stat` of what belongs into a table.
//!
//! The kernel says with each name whether it is a directory, so that nothing else is asked
//! about; a file that has not changed costs one `stat`, relative to its directory.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use supervisor_actors::ports::files::{Found, Listing, Survey};
use supervisor_core::sync::Routes;
use supervisor_core::sync::route::{DEEPEST, is_hidden};

use super::heap::Heap;
use super::look::stat_of;

/// Names are read so many bytes at once.
const NAMES: usize = 32 * 1024;
/// So many names that are no UTF-8 are shown.
const MOST_SHOWN: usize = 20;

/// A directory to be read.
struct Directory {
    path: PathBuf,
    /// Its path relative to the root, empty or ending in `/`.
    shown: String,
    /// The name of its table.
    table: Arc<str>,
    depth: usize,
    /// Whether it is one of the configuration: a link to it was meant.
    root: bool,
}

/// Walks everything, or what is below one directory.
pub(super) fn walk(routes: &Routes, survey: &Survey<'_>) -> Found {
    let heap = Heap::new(begin(routes, survey));
    let walker = || Walker::new(routes, survey, &heap).run();
    // A directory made just now is small, mostly.
    let threads = if survey.below.is_some() {
        1
    } else {
        super::threads(usize::MAX)
    };
    let found = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(walker)).collect();
        let mut found = walker();
        for thread in others {
            let more = thread.join();
            merge(
                &mut found,
                more.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        found
    });
    sorted(found)
}

fn begin(routes: &Routes, survey: &Survey<'_>) -> Vec<Directory> {
    let table = |path: &Path| {
        let directory = routes.directory_of(path)?;
        Some(Arc::from(directory.table.name()))
    };
    match survey.below {
        Some(below) => {
            let path = if below == "." {
                routes.root().to_owned()
            } else {
                routes.root().join(below)
            };
            let root = routes.directories().iter().any(|root| root.path == path);
            let first = (root || routes.enters(&path))
                .then(|| table(&path))
                .flatten();
            // Directories of the configuration below it are walked on their own.
            let inner = routes
                .directories()
                .iter()
                .filter(|directory| directory.path != path && directory.path.starts_with(&path));
            let inner = inner.filter_map(|directory| {
                Some(Directory::new(
                    routes,
                    directory.path.clone(),
                    table(&directory.path)?,
                    true,
                ))
            });
            let first = first.map(|table| Directory::new(routes, path.clone(), table, root));
            first.into_iter().chain(inner).collect()
        }
        None => routes
            .directories()
            .iter()
            .map(|directory| {
                let table = Arc::from(directory.table.name());
                Directory::new(routes, directory.path.clone(), table, true)
            })
            .collect(),
    }
}

fn merge(found: &mut Found, more: Found) {
    found.unread.extend(more.unread);
    found.not_utf8.extend(more.not_utf8);
    found.not_utf8_count += more.not_utf8_count;
}

/// Neighbours stand together, in the order of their paths.
fn sorted(mut found: Found) -> Found {
    found.unread.sort_unstable();
    found.not_utf8.sort_unstable();
    found.not_utf8.truncate(MOST_SHOWN);
    found
}

struct Walker<'a> {
    routes: &'a Routes,
    survey: &'a Survey<'a>,
    heap: &'a Heap<Directory>,
    buffer: Vec<MaybeUninit<u8>>,
    /// The path that patterns are asked about.
    file_path: String,
    found: Found,
}

impl<'a> Walker<'a> {
    fn new(routes: &'a Routes, survey: &'a Survey<'a>, heap: &'a Heap<Directory>) -> Self {
        Self {
            routes,
            survey,
            heap,
            buffer: vec![MaybeUninit::uninit(); NAMES],
            file_path: String::new(),
            found: Found::default(),
        }
    }

    fn run(mut self) -> Found {
        let (heap, survey) = (self.heap, self.survey);
        heap.work(
            |some| {
                let paths: Vec<_> = some.iter().map(|one| one.path.as_path()).collect();
                (survey.enter)(&paths);
            },
            |one, found| self.read(one, found),
        );
        self.found
    }

    /// Reads a directory, and adds the ones in it.
    fn read(&mut self, directory: &Directory, inner: &mut Vec<Directory>) {
        if let Err(error) = self.read_names(directory, inner) {
            match error {
                // Gone, and its files with it; or it is a link by now, which is the same.
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {}
                error => {
                    let shown = directory.shown.trim_end_matches('/');
                    let shown = if shown.is_empty() { "." } else { shown };
                    let why = std::io::Error::from(error).to_string();
                    self.found.unread.push((shown.to_owned(), why));
                }
            }
        }
    }

    fn read_names(
        &mut self,
        directory: &Directory,
        inner: &mut Vec<Directory>,
    ) -> rustix::io::Result<()> {
        let link = if directory.root {
            OFlags::empty()
        } else {
            OFlags::NOFOLLOW
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | link;
        let fd = rustix::fs::open(&directory.path, flags, Mode::empty())?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut names = RawDir::new(&fd, &mut buffer);
        let mut listing = Listing::new(&directory.shown, &directory.table);
        let mut files = 0;
        let done = loop {
            let Some(entry) = names.next() else {
                break Ok(());
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => break Err(error),
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            // `.` and `..` are hidden names, too.
            if is_hidden(name) {
                continue;
            }
            let mut kind = entry.file_type();
            let mut stat = None;
            if kind == FileType::Unknown {
                // A file system that does not say.
                match rustix::fs::statat(fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(found) => {
                        kind = FileType::from_raw_mode(found.st_mode);
                        stat = Some(found);
                    }
                    Err(_) => continue,
                }
            }
            match kind {
                FileType::Directory => inner.extend(self.enter(directory, name)),
                FileType::Symlink => {}
                _ if !self.routes.has_extension(name) => {}
                _ => {
                    files += 1;
                    let stat = match stat {
                        Some(stat) => Ok(stat),
                        None => rustix::fs::statat(fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW),
                    };
                    // One that went meanwhile is not found.
                    if let Ok(stat) = stat {
                        self.file(directory, name, &stat, &mut listing);
                    }
                }
            }
        };
        self.survey
            .progress
            .files
            .fetch_add(files, Ordering::Relaxed);
        self.buffer = buffer;
        if !listing.is_empty() {
            (self.survey.list)(listing);
        }
        done
    }

    fn file(
        &mut self,
        directory: &Directory,
        name: &OsStr,
        stat: &rustix::fs::Stat,
        listing: &mut Listing,
    ) {
        let Some(text) = name.to_str() else {
            self.refuse(directory, name);
            return;
        };
        if self.routes.excludes_some() {
            self.file_path.clear();
            self.file_path.push_str(&directory.shown);
            self.file_path.push_str(text);
            if self.routes.excludes_relative(&self.file_path) {
                return;
            }
        }
        listing.push(text, stat_of(stat));
    }

    fn enter(&mut self, from: &Directory, name: &OsStr) -> Option<Directory> {
        let Some(text) = name.to_str() else {
            self.refuse(from, name);
            return None;
        };
        let path = from.path.join(name);
        let mut shown = String::with_capacity(from.shown.len() + text.len() + 1);
        // Writing to a String cannot fail.
        let _ = write!(shown, "{}{text}", from.shown);
        let own = self
            .routes
            .directories()
            .iter()
            .any(|directory| directory.path == path);
        if own || from.depth >= DEEPEST || self.routes.excludes_relative(&shown) {
            return None;
        }
        shown.push('/');
        Some(Directory {
            path,
            shown,
            table: Arc::clone(&from.table),
            depth: from.depth + 1,
            root: false,
        })
    }

    fn refuse(&mut self, directory: &Directory, name: &OsStr) {
        self.found.not_utf8_count += 1;
        if self.found.not_utf8.len() < MOST_SHOWN {
            let name = name.to_string_lossy();
            self.found
                .not_utf8
                .push(format!("{}{name}", directory.shown));
        }
    }
}

impl Directory {
    fn new(routes: &Routes, path: PathBuf, table: Arc<str>, root: bool) -> Self {
        let relative = path.strip_prefix(routes.root()).ok().and_then(Path::to_str);
        let mut shown = relative.unwrap_or_default().to_owned();
        if !shown.is_empty() {
            shown.push('/');
        }
        Self {
            path,
            shown,
            table,
            depth: 0,
            root,
        }
    }
}
