//! What eyes have told and the Watcher has not read yet.
//!
//! The kernel's thread writes here and must never wait. The same path told a thousand times
//! stands here once; when there are too many paths to remember, all that is remembered is
//! that everything must be looked at.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supervisor_core::sync::{Ignored, Routes};

use crate::link::Link;
use crate::ports::files::{Sighting, Tell};

use super::messages::Glance;
use super::watcher::Watcher;

/// More paths than this are not remembered one by one: about 10 MB.
const MOST: usize = 50_000;

/// See the module's page.
pub(crate) struct Board {
    routes: Arc<Routes>,
    watcher: Link<Watcher>,
    told: Mutex<Told>,
}

/// What has been told. Paths are relative to the root.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Files to be looked at.
    pub(crate) files: HashSet<Arc<str>>,
    /// Directories to be walked.
    pub(crate) directories: HashSet<String>,
    /// Files and directories that moved, in order.
    pub(crate) moves: Vec<(String, String)>,
    /// Why everything must be looked at.
    pub(crate) everything: Option<String>,
    /// Names that are no UTF-8, as far as they can be shown.
    pub(crate) not_utf8: HashSet<String>,
    /// Files that belong nowhere, and why: for the log.
    pub(crate) ignored: Vec<(String, Ignored)>,
    /// Whether the Watcher knows that there is something.
    rung: bool,
}

impl Board {
    pub(crate) fn new(routes: Arc<Routes>, watcher: Link<Watcher>) -> Self {
        Self {
            routes,
            watcher,
            told: Mutex::default(),
        }
    }

    /// Where eyes tell.
    pub(crate) fn tell(self: &Arc<Self>) -> Tell {
        let board = Arc::clone(self);
        Arc::new(move |sighting| board.write(sighting))
    }

    /// Everything told since the last time.
    pub(crate) fn take(&self) -> Told {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, sighting: Sighting) {
        let mut told = self.lock();
        if told.everything.is_none() {
            self.judge(sighting, &mut told);
        }
        let full = told.files.len() + told.directories.len() + told.moves.len() > MOST;
        if full {
            *told = Told {
                everything: Some(format!("more than {MOST} files changed at once")),
                rung: told.rung,
                ..Told::default()
            };
        }
        let nothing = told.files.is_empty()
            && told.directories.is_empty()
            && told.moves.is_empty()
            && told.everything.is_none()
            && told.not_utf8.is_empty()
            && told.ignored.is_empty();
        if nothing || std::mem::replace(&mut told.rung, true) {
            return;
        }
        drop(told);
        // Bounded: one until the board is read. While the Watcher is being rebuilt nobody
        // listens; the new one begins by reading.
        self.watcher.tell(Glance);
    }

    /// Sorts what matters from what does not.
    fn judge(&self, sighting: Sighting, told: &mut Told) {
        match sighting {
            Sighting::File(path) => self.judge_file(&path, told),
            Sighting::Directory(path) => {
                if let Some(shown) = self.directory(&path) {
                    told.directories.insert(shown);
                }
            }
            Sighting::Moved { from, to } => {
                let relative = |path: &Path| {
                    let path = path.strip_prefix(self.routes.root()).ok()?;
                    path.to_str().map(str::to_owned)
                };
                // Either may be a file or a directory; who walks finds out.
                let matters =
                    |path: &Path| self.routes.route(path).is_ok() || self.routes.enters(path);
                if matters(&from)
                    && matters(&to)
                    && let (Some(from), Some(to)) = (relative(&from), relative(&to))
                {
                    told.moves.push((from, to));
                }
            }
            Sighting::Everything(why) => {
                *told = Told {
                    everything: Some(why),
                    rung: told.rung,
                    ..Told::default()
                };
            }
        }
    }

    fn judge_file(&self, path: &Path, told: &mut Told) {
        const MOST_NAMES: usize = 100;
        match self.routes.route(path) {
            Ok(route) => {
                if !told.files.contains(route.file_path) {
                    told.files.insert(Arc::from(route.file_path));
                }
            }
            Err(Ignored::NotUtf8) => {
                if told.not_utf8.len() < MOST_NAMES {
                    told.not_utf8.insert(path.to_string_lossy().into_owned());
                }
            }
            // Editors' own files: nobody wants to hear of them.
            Err(Ignored::Hidden | Ignored::Extension) => {}
            Err(why @ (Ignored::NoTable | Ignored::Excluded)) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let ours = path
                    .file_name()
                    .is_some_and(|name| self.routes.has_extension(name));
                if ours && told.ignored.len() < MOST_NAMES {
                    told.ignored.push((name.into_owned(), why));
                }
            }
        }
    }

    /// A directory that files may lie in, relative to the root; or one that directories of the
    /// configuration lie in.
    fn directory(&self, path: &Path) -> Option<String> {
        let above = || {
            let mut directories = self.routes.directories().iter();
            directories.any(|directory| directory.path.starts_with(path))
        };
        if !self.routes.enters(path) && !above() {
            return None;
        }
        let relative = path.strip_prefix(self.routes.root()).ok()?.to_str()?;
        Some(if relative.is_empty() { "." } else { relative }.to_owned())
    }
}
