//! Stderr, which may take nothing: a stopped terminal (Ctrl-S), a pager that waits.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where lines for people go.
pub(super) struct Terminal {
    to: To,
    /// Lines that it did not take.
    missed: u64,
}

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
    pub(super) fn stderr() -> Self {
        Self {
            to: To::Stderr,
            missed: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn file(file: File) -> Self {
        Self {
            to: To::File(file),
            missed: 0,
        }
    }

    /// Writes a line, unless that would wait: then it is only counted.
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
        match &mut self.to {
            To::Stderr => {
                takes(std::io::stderr().as_fd()) && std::io::stderr().write_all(line).is_ok()
            }
            To::File(file) => takes(file.as_fd()) && file.write_all(line).is_ok(),
        }
    }
}

/// Whether a line can be written without waiting. (A pipe says yes only if it has a free page.)
fn takes(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&at_once)) {
        Ok(_) => fds[0].revents().contains(PollFlags::OUT),
        // Let the write itself say what is wrong.
        Err(_) => true,
    }
}
