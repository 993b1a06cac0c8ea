//! Stderr, which may take nothing: a stopped terminal (Ctrl-S), a pager that waits.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::queue::WhenFull;

/// Where lines for people go.
pub(super) struct Terminal {
    to: To,
    /// Lines that it did not take.
    missed: u64,
    /// How long the first of those was offered to it.
    patience: Timespec,
}

/// The other lines are not offered for longer.
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// How long a reader who wants each line may stand still: a pager, a slow connection.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

enum To {
    Stderr,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look at a pipe"))]
    File(File),
}

/// Whether stderr is a terminal whose owner has nothing against colours.
pub(crate) fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stderr().is_terminal() && !set("NO_COLOR") && !dumb
}

impl Terminal {
    pub(super) fn stderr(when_full: WhenFull) -> Self {
        Self::new(To::Stderr, when_full)
    }

    #[cfg(test)]
    pub(super) fn file(file: File, when_full: WhenFull) -> Self {
        Self::new(To::File(file), when_full)
    }

    fn new(to: To, when_full: WhenFull) -> Self {
        Self {
            to,
            missed: 0,
            patience: match when_full {
                WhenFull::Drop => AT_ONCE,
                WhenFull::Wait => PATIENCE,
            },
        }
    }

    /// Writes a line, unless that would wait too long: then it is only counted.
    pub(super) fn write(&mut self, line: &[u8]) {
        if self.missed > 0 {
            let note = format!("({} lines of the log were not shown here)\n", self.missed);
            if self.try_write(note.as_bytes()) {
                self.missed = 0;
            }
        }
        if self.missed > 0 || !self.try_write(line) {
            self.missed += 1;
        }
    }

    fn try_write(&mut self, line: &[u8]) -> bool {
        let patience = if self.missed > 0 {
            AT_ONCE
        } else {
            self.patience
        };
        match &mut self.to {
            To::Stderr => {
                takes(std::io::stderr().as_fd(), patience)
                    && std::io::stderr().write_all(line).is_ok()
            }
            To::File(file) => takes(file.as_fd(), patience) && file.write_all(line).is_ok(),
        }
    }
}

/// Whether a line can be written within that time. (A pipe says yes only if it has a free page.)
fn takes(fd: BorrowedFd<'_>, patience: Timespec) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    match poll(&mut fds, Some(&patience)) {
        Ok(_) => fds[0].revents().contains(PollFlags::OUT),
        // Let the write itself say what is wrong.
        Err(_) => true,
    }
}
