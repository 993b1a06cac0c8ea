//! What the service prints: into its log, and to who wants its lines.

use super::*;

impl Shim<'_> {
    pub(super) fn copy_output(&mut self) {
        // It has no end: we hold its other side ourselves.
        if let Ok(count @ 1..) = sys::read(self.output, self.buffer) {
            self.lines.take(&self.buffer[..count]);
            self.tell_lines();
            self.log.append(&self.buffer[..count]);
            if count > PAGE {
                // A burst must not stay in our memory for good.
                sys::forget(&mut self.buffer[PAGE..]);
            }
        }
    }

    pub(super) fn tell_lines(&mut self) {
        if self.lines.tell(self.supervisor).is_err() {
            self.let_go();
        }
    }

    /// Where lines are wanted, its last ones are told before its end: what there is of them in
    /// the pipe, as much as one read gives. Returns how much that is; the log has it to come.
    #[inline(never)]
    pub(super) fn last_words(&mut self) -> usize {
        if !self.lines.is_wanted() {
            return 0;
        }
        let mut count = 0;
        if self.output != NONE {
            count = sys::read(self.output, self.buffer).unwrap_or(0);
            self.lines.take(&self.buffer[..count]);
        }
        if self.lines.tell_last(self.supervisor).is_err() {
            self.let_go();
        }
        count
    }

    /// What is in the pipe now; at most what a pipe holds, so that a writer who outlives the
    /// tree (it was handed the descriptor) cannot keep us.
    pub(super) fn drain_output(&mut self) {
        if self.output == NONE {
            return;
        }
        const MOST: u32 = 1 << 20 >> 16;
        for _ in 0..MOST {
            match sys::read(self.output, self.buffer) {
                Ok(count @ 1..) => {
                    self.lines.take(&self.buffer[..count]);
                    self.log.append(&self.buffer[..count]);
                }
                _ => return,
            }
        }
    }
}
