//! The mirrored files: read, walked and watched, and never written.
//!
//! No symbolic link is followed below a directory of the configuration, neither as a file nor
//! on the way to one: what a link leads to is not what was asked to be mirrored, and may be
//! anything.

mod ahead;
mod eyes;
mod heap;
mod look;
mod near;
mod walk;

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use supervisor_actors::ports::Clock;
use supervisor_actors::ports::files::{Files, Found, Look, Survey, Take};
use supervisor_core::sync::manifest::path_sum;
use supervisor_core::sync::{Content, Routes};

pub(crate) use eyes::KernelEyes;

/// How many threads read and walk at once. More only wait for the disk.
const THREADS: usize = 4;

/// The files below the directories of the configuration.
pub(crate) struct RealFiles {
    routes: Arc<Routes>,
    /// Larger ones are not read, in bytes.
    max_size: u64,
    clock: Arc<dyn Clock>,
}

impl RealFiles {
    pub(crate) fn new(routes: Arc<Routes>, max_size: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            routes,
            max_size,
            clock,
        }
    }
}

impl Files for RealFiles {
    fn look(&self, file_paths: &[Arc<str>], at_once: usize, take: &mut Take<'_>) -> Duration {
        ahead::many(self, file_paths, at_once, take)
    }

    fn read(&self, file_path: &str) -> Result<(Vec<u8>, Content), Look> {
        look::read(self, file_path)
    }

    fn exists(&self, file_path: &str) -> bool {
        let meta = std::fs::symlink_metadata(self.routes.root().join(file_path));
        // What cannot be read is there, too: it is said, not taken for a file that is gone.
        meta.is_ok_and(|meta| !meta.is_dir() && !meta.is_symlink())
    }

    fn survey(&self, survey: &Survey<'_>) -> Found {
        walk::walk(&self.routes, survey)
    }

    fn roots(&self) -> Vec<Option<u64>> {
        let roots = self.routes.directories().iter();
        let identity = |path| {
            let meta = std::fs::metadata(path)
                .ok()
                .filter(std::fs::Metadata::is_dir)?;
            // A directory made where one was deleted has its inode, more often than not.
            let made = meta.created().ok();
            let made = made.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            let made = made.map_or(0, |at| at.as_nanos() as u64);
            let numbers = [meta.dev(), meta.ino(), made].map(u64::to_le_bytes);
            Some(path_sum(numbers.as_flattened()))
        };
        roots.map(|directory| identity(&directory.path)).collect()
    }
}

/// How many threads to use for so many pieces of work, each worth a thread's start.
fn threads(pieces: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    THREADS.min(cores.max(2)).min(pieces.max(1))
}

#[cfg(test)]
mod tests;
