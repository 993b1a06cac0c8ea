//! Whether a sender is one of the service's.
//!
//! The kernel says who sent a datagram (pid, uid). A process belongs to a service if its
//! parents lead to the service's main process or to its shim, which everything that is
//! orphaned comes to, or if it is of its session. A sender that is gone already, as
//! systemd-notify and socat often are, cannot be asked: then the uid decides, and that it knew
//! the name of the socket.

use std::fs;

use supervisor_core::time::Mono;

/// Who of a service may speak for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Every process of its tree.
    All,
    /// Its main process alone.
    Main,
}

/// Who sent a datagram, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) pid: i32,
    pub(super) uid: u32,
}

impl Sender {
    /// What the kernel says of who cannot be named here (another pid namespace).
    pub(super) const NOBODY: Self = Self {
        pid: 0,
        uid: u32::MAX,
    };
}

/// How deep a tree of processes may be: deeper is a loop in what `/proc` says while it changes.
const DEEPEST: usize = 64;

/// How long the last verdict holds: a pid is not used again so soon.
const REMEMBER: u64 = 1_000_000_000;

/// A process and when it was started: its number alone is somebody else's one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) pid: i32,
    /// In the kernel's ticks since the boot.
    pub(super) started: u64,
}

/// The processes of one life.
#[derive(Debug)]
pub(super) struct Family {
    /// The one that was started. Its number is its own for as long as its life lasts.
    main: i32,
    /// The one that it has named in its place.
    named: Option<Named>,
    /// Its shim; none where the main process was gone before it could be asked.
    shim: Option<i32>,
    session: Option<i32>,
    uid: Option<u32>,
    /// The last sender asked for: most datagrams come from one.
    last: Option<(Sender, bool, Mono)>,
}

impl Family {
    /// That of a main process.
    pub(super) fn of(main: i32) -> Self {
        let about = Stat::of(main);
        Self {
            main,
            named: None,
            shim: about.map(|stat| stat.parent),
            session: about.map(|stat| stat.session),
            uid: uid_of(main),
            last: None,
        }
    }

    /// Whether it may speak for the service.
    pub(super) fn may_speak(&mut self, access: Access, sender: Sender, now: Mono) -> bool {
        match access {
            Access::Main => sender.pid == self.main(),
            Access::All if sender.pid == self.main => true,
            Access::All => {
                if let Some((last, verdict, at)) = self.last
                    && last == sender
                    && now.since(at).as_nanos() < u128::from(REMEMBER)
                {
                    return verdict;
                }
                let verdict = self.includes(sender.pid).unwrap_or_else(|| {
                    // Gone: it had the rights of the service.
                    self.uid == Some(sender.uid)
                });
                self.last = Some((sender, verdict, now));
                verdict
            }
        }
    }

    /// The main process: the one that was named, for as long as it lives.
    pub(super) fn main(&mut self) -> i32 {
        match self.named {
            Some(named)
                if Stat::of(named.pid).is_some_and(|stat| stat.started == named.started) =>
            {
                named.pid
            }
            Some(_) | None => {
                self.named = None;
                self.main
            }
        }
    }

    /// Makes that process the main one, if it is of this family.
    pub(super) fn name_main(&mut self, pid: i32) -> bool {
        if pid == self.main {
            self.named = None;
            return true;
        }
        let found = Stat::of(pid).filter(|_| self.includes(pid) == Some(true));
        if let Some(stat) = found {
            let started = stat.started;
            self.named = Some(Named { pid, started });
        }
        found.is_some()
    }

    /// Which process was named, for the next supervisor.
    pub(super) fn note(&self) -> String {
        match self.named {
            Some(Named { pid, started }) => format!("main {pid} {started}"),
            None => "main".to_owned(),
        }
    }

    /// What an earlier supervisor noted.
    pub(super) fn remember(&mut self, note: &str) {
        let mut words = note.split(' ');
        if words.next() == Some("main")
            && let (Some(pid), Some(started)) = (words.next(), words.next())
            && let (Ok(pid), Ok(started)) = (pid.parse(), started.parse())
        {
            self.named = Some(Named { pid, started });
        }
    }

    /// Whether a process is of this family; `None` if there is none of that pid any more.
    fn includes(&self, pid: i32) -> Option<bool> {
        let first = Stat::of(pid)?;
        if self.session.is_some() && self.session == Some(first.session) {
            return Some(true);
        }
        let mut parent = first.parent;
        for _ in 0..DEEPEST {
            if parent == self.main || Some(parent) == self.shim {
                return Some(true);
            }
            if parent <= 1 {
                return Some(false);
            }
            match Stat::of(parent) {
                Some(stat) => parent = stat.parent,
                // It died just now; its child has another parent already.
                None => parent = Stat::of(pid)?.parent,
            }
        }
        Some(false)
    }
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy)]
struct Stat {
    parent: i32,
    session: i32,
    started: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self {
            parent: fields.nth(1)?.parse().ok()?,
            session: fields.nth(1)?.parse().ok()?,
            started: fields.nth(15)?.parse().ok()?,
        })
    }
}

/// The user that a process runs as.
fn uid_of(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    // Real, effective, saved, file system's: the kernel signs datagrams with the first.
    line.split_ascii_whitespace().next()?.parse().ok()
}
