//! The end of a shim, when nothing of its service is left.

use super::*;

/// How long a replacement has it, before a sync holds up the file system.
const REPLACED_MS: u64 = 50;

impl Shim<'_> {
    /// Nothing of the service is left, and that has been told.
    ///
    /// The record is written twice: at once for the next supervisor, and a moment later so
    /// that it survives a power cut. A sync at once would hold up the file system's journal
    /// just when the replacement needs it.
    #[inline(never)]
    pub(super) fn finish(&mut self) {
        self.record_exit(false);
        self.drain_output();
        let _ = sys::unlink(self.dir, c"sock", 0);
        self.remove_cgroup();
        if self.last_exit.is_some() {
            self.make_way(REPLACED_MS);
        }
        self.record_exit(true);
        if !self.settings.cgroup.is_empty() {
            // Fails as long as another service has one, or the replacement has its own.
            let parent = self.cgroup_parent();
            let _ = sys::unlink(NONE, parent.as_c(), flag::AT_REMOVEDIR);
        }
    }

    #[inline(never)]
    pub(super) fn record_exit(&self, durable: bool) {
        if let Some(exit) = self.last_exit {
            let _ = record::write_exit(self.dir, &self.settings, self.main, exit, false, durable);
        }
    }

    /// Leaves processor and disk to the replacement, where a supervisor knows of the end.
    /// Whoever looks for the record meanwhile finds our lock held, and waits for us.
    pub(super) fn make_way(&self, ms: u64) {
        if self.was_told {
            sys::sleep_ms(ms);
        }
    }

    pub(super) fn remove_cgroup(&self) {
        /// The kernel needs a moment after the last one was reaped.
        const TRIES: u32 = 20;
        if self.settings.cgroup.is_empty() {
            return;
        }
        for _ in 0..TRIES {
            match sys::unlink(NONE, self.settings.cgroup, flag::AT_REMOVEDIR) {
                Ok(()) | Err(Errno::ENOENT) => break,
                Err(_) => sys::sleep_ms(10),
            }
        }
    }
}
