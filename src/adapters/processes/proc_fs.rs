//! What `/proc` says of processes, and signals that reach exactly the one meant.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    /// Its number.
    pub(super) pid: i32,
    /// Clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub(super) start_time: i64,
}

/// A process as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) id: Identity,
    pub(super) parent: i32,
    pub(super) session: i32,
    /// Ended, but not yet reaped: no longer alive.
    pub(super) dead: bool,
    pub(super) name: String,
}

/// The present boot's id.
pub(crate) fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

/// Looks at a process; `None`, too, where it cannot be looked at.
pub(super) fn status(pid: i32) -> Option<Status> {
    look(pid).ok().flatten()
}

/// Looks at a process: `None` where there is none, or none of ours.
///
/// # Errors
/// Where that cannot be known: descriptors or memory are used up.
pub(super) fn look(pid: i32) -> io::Result<Option<Status>> {
    let stat = of(pid, "stat")?;
    Ok(stat.and_then(|stat| parse_stat(pid, &String::from_utf8_lossy(&stat))))
}

/// What the kernel says of a process; `None` where there is none, or it is nobody's of ours.
fn of(pid: i32, file: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(format!("/proc/{pid}/{file}")) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// How long ago a process was started; `None` where there is none.
pub(crate) fn age_of_process(pid: i32) -> Option<Duration> {
    let ticks = u64::try_from(status(pid)?.id.start_time).ok()?;
    let hertz = rustix::param::clock_ticks_per_second().max(1);
    let began = Duration::from_millis(ticks.saturating_mul(1_000) / hertz);
    // The clock that start times are counted on: suspend included.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::from_secs(u64::try_from(now.tv_sec).ok()?)
        + Duration::from_nanos(u64::try_from(now.tv_nsec).ok()?);
    Some(now.saturating_sub(began))
}

fn parse_stat(pid: i32, stat: &str) -> Option<Status> {
    // The name may hold anything, parentheses and spaces too.
    let (head, tail) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // Fields 3, 4 and 6 are taken; 22 is 16 further on.
    let start_time = fields.nth(22 - 7)?.parse().ok()?;
    Some(Status {
        id: Identity { pid, start_time },
        parent,
        session,
        dead: matches!(state, "Z" | "X"),
        name: name.to_owned(),
    })
}

/// Every process of the machine.
///
/// # Errors
/// Where not all of them can be looked at.
pub(super) fn all() -> io::Result<Vec<Status>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            all.extend(look(pid)?);
        }
    }
    Ok(all)
}

/// Those values, as `NAME=value`, that its environment has of a variable.
///
/// # Errors
/// Where it may be ours and cannot be read.
pub(super) fn variables(pid: i32, name: &str) -> io::Result<Vec<Vec<u8>>> {
    let all = of(pid, "environ")?.unwrap_or_default();
    let is_it = |one: &&[u8]| {
        one.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&b'='))
    };
    let found = all.split(|&byte| byte == 0).filter(is_it);
    Ok(found.map(<[u8]>::to_vec).collect())
}

/// Opens exactly this process: the descriptor first, the comparison then, so that the number
/// cannot pass to another one in between. `None` where it is gone or a stranger has its number.
pub(super) fn open(id: Identity) -> Option<OwnedFd> {
    let pid = Pid::from_raw(id.pid)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let now = status(id.pid)?;
    (now.id == id && !now.dead).then_some(pidfd)
}

/// Whether exactly this process lives.
#[cfg(test)]
pub(super) fn lives(id: Identity) -> bool {
    open(id).is_some()
}

/// Signals exactly this process; a stranger never. `false` where it is gone.
pub(super) fn signal(id: Identity, signal: i32) -> bool {
    let Some(pidfd) = open(id) else {
        return false;
    };
    // SAFETY: the kernel checks the number; a real-time signal is none of std's business.
    let signal = unsafe { Signal::from_raw_unchecked(signal) };
    rustix::process::pidfd_send_signal(pidfd, signal).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_whatever_the_name_is() {
        let stat = "42 (a) b (c) S 7 41 40 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 100 1";
        let status = parse_stat(42, stat).unwrap();
        assert_eq!(
            status.id,
            Identity {
                pid: 42,
                start_time: 987
            }
        );
        assert_eq!((status.parent, status.session, status.dead), (7, 40, false));
        assert_eq!(status.name, "a) b (c");
    }

    #[test]
    fn f08_a_number_with_another_start_time_is_a_stranger() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let real = status(pid).unwrap().id;
        let forged = Identity {
            start_time: real.start_time - 1,
            ..real
        };
        assert!(!lives(forged));
        assert!(!signal(forged, 9));
        assert!(lives(real), "the stranger lives on");
        assert!(signal(real, 9));
        child.wait().unwrap();
        assert!(!lives(real));
    }

    #[test]
    fn f06_a_zombie_counts_as_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while status(pid).is_some_and(|status| !status.dead) {
            std::thread::yield_now();
        }
        let status = status(pid).unwrap();
        assert!(status.dead && !lives(status.id));
        child.wait().unwrap();
    }
}
