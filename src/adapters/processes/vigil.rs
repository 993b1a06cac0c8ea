//! The main process, watched past its shim: one that somebody has stopped, or that waits for a
//! disk, tells of no exit.
//!
//! The kernel tells of the end through a pidfd: opened first, compared then. A shim that is
//! well reports the exit a moment later. One that does not is continued, should somebody have
//! stopped it, and in the end taken for hung.

use std::future::pending;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::proc_fs::{self, Identity};

/// The silence after main's end is counted in these, not by a clock: if we were stopped
/// together with the shim, it had no chance either.
const STEP: Duration = Duration::from_millis(250);
/// After so many steps the shim is continued.
const CONTINUED_AFTER: u32 = 4;
/// After so many it is taken for hung.
const HUNG_AFTER: u32 = 40;

/// What is known of the main process beside what its shim says.
#[derive(Debug, Default)]
pub(super) enum Vigil {
    /// Nothing: it has not begun, its end has been told, or the kernel has no descriptor for us.
    #[default]
    Blind,
    /// It lived when this was opened.
    Lives(AsyncFd<OwnedFd>),
    /// It has ended, and its shim has been silent for so many steps since.
    Ended(u32),
}

/// What is to be done about a shim that has not told of its service's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing yet.
    Short,
    /// Continue it.
    Suspicious,
    /// End it.
    Hung,
}

impl Vigil {
    /// Begins to watch exactly this process.
    pub(super) fn over(main: Identity) -> Self {
        let Some(pid) = Pid::from_raw(main.pid) else {
            return Self::Blind;
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Self::Ended(0),
            // No descriptor left, or an old kernel: as without a vigil.
            Err(_) => return Self::Blind,
        };
        match proc_fs::status(main.pid) {
            Some(now) if now.id == main => {
                // SAFETY: its descriptor stays the same and open for as long as it lives.
                let registered = unsafe { AsyncFd::register(pidfd) };
                registered.map_or(Self::Blind, Self::Lives)
            }
            // A stranger has its number.
            Some(_) => Self::Ended(0),
            // Gone, or /proc could not be read now: it will be told.
            None => Self::Blind,
        }
    }

    /// Whether it watches.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::Lives(_) | Self::Ended(_) => true,
            Self::Blind => false,
        }
    }

    /// Waits for the end, then for the next step of silence. May be dropped at any time: an
    /// end is found again, a step begins anew.
    pub(super) async fn next(&mut self) -> Silence {
        match self {
            Self::Blind => pending().await,
            Self::Lives(pidfd) => {
                let ended = pidfd.readable().await.is_ok();
                *self = if ended { Self::Ended(0) } else { Self::Blind };
                Silence::Short
            }
            Self::Ended(steps) => {
                sleep(STEP).await;
                *steps = steps.saturating_add(1);
                if *steps >= HUNG_AFTER {
                    Silence::Hung
                } else if *steps == CONTINUED_AFTER {
                    Silence::Suspicious
                } else {
                    Silence::Short
                }
            }
        }
    }
}
