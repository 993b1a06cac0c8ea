//! How many descriptors we may have open, and how many those whom we start.
//!
//! A service that we run takes two of ours and a client one, so the usual limit of 1,024 would
//! end at a few hundred services. Whom we start gets the limit that we were given: programs
//! that use `select` fail with descriptors beyond 1,023.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The limit that we were started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GivenLimit(Rlimit);

impl GivenLimit {
    /// Raises our own as far as we may. Where the kernel refuses it stays as it is.
    pub(crate) fn raise() -> Self {
        let given = getrlimit(Resource::Nofile);
        if given.current != given.maximum {
            let raised = Rlimit {
                current: given.maximum,
                ..given
            };
            let _kept = setrlimit(Resource::Nofile, raised);
        }
        Self(given)
    }

    /// The present one: before it is raised, the one that we were started with.
    pub(crate) fn present() -> Self {
        Self(getrlimit(Resource::Nofile))
    }

    /// Gives it to a process that we have just started and that is still ours to wait for. Not
    /// done by the process itself: that would cost a fork with our size.
    pub(crate) fn give_to(self, pid: u32) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        if pid.is_some() && getrlimit(Resource::Nofile) != self.0 {
            // One that has ended already needs none.
            let _ended = prlimit(pid, Resource::Nofile, self.0);
        }
    }
}

/// How many descriptors are left to the rest of us (clients, databases, the next start) when
/// services are adopted: a supervisor that holds all of them but cannot be asked is no use.
const RESERVE: usize = 20;

/// That there is room for more descriptors than a few.
///
/// # Errors
/// Where there is not.
pub(crate) fn has_room() -> io::Result<()> {
    let mut held = Vec::with_capacity(RESERVE);
    for _ in 0..RESERVE {
        held.push(rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC,
        )?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_we_start_gets_the_limit_that_we_were_given() {
        let given = getrlimit(Resource::Nofile);
        let less = GivenLimit(Rlimit {
            current: given.current.map(|most| most - 1),
            ..given
        });
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        less.give_to(child.id());
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap();
        let current = line.split_whitespace().nth(3).unwrap();
        assert_eq!(
            current.parse().ok(),
            less.0.current,
            "the soft limit: {line}"
        );
    }
}
