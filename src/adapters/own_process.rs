//! What we ourselves take of the machine, as the kernel tells it.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// A look at our own process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OwnProcess {
    /// Processor time, user and system.
    pub(crate) cpu_seconds: f64,
    /// Memory, shared included.
    pub(crate) resident_bytes: u64,
    pub(crate) open_fds: u64,
    pub(crate) max_fds: u64,
    pub(crate) threads: u64,
}

impl OwnProcess {
    /// Looks; nothing without `/proc`. Takes microseconds.
    pub(crate) fn look() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let ticks = rustix::param::clock_ticks_per_second();
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        let mut seen = Self::of(&stat, ticks, page)?;
        // Without the one that reads the list.
        let open = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        seen.open_fds = open.saturating_sub(1);
        seen.max_fds = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Some(seen)
    }

    /// From the kernel's line (proc(5)): the name in it may hold anything, so it is read from
    /// behind its last parenthesis.
    fn of(stat: &str, ticks: u64, page: u64) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The third field is the first one here.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks as f64,
            resident_bytes: field(24)? * page,
            threads: field(20)?,
            open_fds: 0,
            max_fds: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_we_are_called() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 6 0 100 9999 256 \
                    18446744073709551615 1 1 0";
        let seen = OwnProcess::of(line, 100, 4_096).unwrap();
        assert_eq!((seen.cpu_seconds, seen.threads), (2.0, 6));
        assert_eq!(seen.resident_bytes, 256 * 4_096);
        assert_eq!(OwnProcess::of("7 (a) S 1", 100, 4_096), None);
    }

    #[test]
    fn we_have_memory_threads_and_files() {
        let seen = OwnProcess::look().unwrap();
        assert!(
            seen.resident_bytes > 100_000 && seen.threads > 0,
            "{seen:?}"
        );
        assert!(
            seen.open_fds >= 3 && seen.max_fds > seen.open_fds,
            "{seen:?}"
        );
    }
}
