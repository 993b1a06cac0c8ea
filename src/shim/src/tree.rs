//! The service's tree: every process that descends from the shim. As a subreaper it is the
//! parent of all whose own parent is gone, so nobody escapes by daemonising.

use core::ffi::CStr;

use crate::record::Identity;
use crate::sys::{self, flag};
use crate::text::{self, Text};

/// A process as `/proc/PID/stat` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its parent.
    pub parent: i32,
    /// Its state's letter.
    pub state: u8,
    /// Clock ticks since boot.
    pub start_time: i64,
}

/// A member of the tree.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Member {
    id: Identity,
    parent: i32,
    ours: bool,
    dead: bool,
}

/// Parses `/proc/PID/stat`: the name in parentheses may hold anything, so from its end on.
#[must_use]
pub fn parse_stat(text: &[u8]) -> Option<(Stat, &[u8])> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let name = text.get(open + 1..close)?;
    let mut fields = text.get(close + 2..)?.split(|&byte| byte == b' ');
    // Fields 3 (state), 4 (parent) and 22 (start time) of proc(5).
    let state = *fields.next()?.first()?;
    let parent = text::number(fields.next()?)? as i32;
    let start_time = text::number(fields.nth(22 - 5)?)?;
    Some((
        Stat {
            parent,
            state,
            start_time,
        },
        name,
    ))
}

fn read_proc(pid: i32, file: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let mut path = Text::<64>::new();
    path.push(b"/proc/").push_number(i64::from(pid)).push(file);
    let fd = sys::open(sys::NONE, path.as_c(), flag::O_RDONLY, 0).ok()?;
    let count = sys::read(fd, buffer);
    sys::close(fd);
    count.ok()
}

/// Looks at a process.
#[must_use]
pub fn stat(pid: i32) -> Option<Stat> {
    let mut buffer = [0_u8; 512];
    let count = read_proc(pid, b"/stat", &mut buffer)?;
    parse_stat(&buffer[..count]).map(|(stat, _)| stat)
}

/// A process's identity; a start time of 0 where it cannot be read.
#[must_use]
pub fn identity(pid: i32) -> Identity {
    Identity {
        pid,
        start_time: stat(pid).map_or(0, |stat| stat.start_time),
    }
}

/// Calls `visit` for each living process of the tree below `root`.
pub fn for_each(root: i32, visit: &mut dyn FnMut(Identity, i32)) {
    /// As many as the kernel's default `pid_max`; pages that stay empty cost nothing.
    const MOST: usize = 1 << 15;
    let Ok(memory) = sys::map(MOST * size_of::<Member>()) else {
        return;
    };
    let table = memory.as_mut_ptr().cast::<Member>();
    // SAFETY: fresh zeroed pages of that size, aligned to a page; zeros are a valid Member.
    let members = unsafe { core::slice::from_raw_parts_mut(table, MOST) };
    let count = list(members);
    mark(&mut members[..count], root);
    for member in members[..count]
        .iter()
        .filter(|member| member.ours && !member.dead)
    {
        visit(member.id, member.parent);
    }
    sys::unmap(memory);
}

/// Every process of the machine.
fn list(members: &mut [Member]) -> usize {
    let Ok(fd) = sys::open(sys::NONE, c"/proc", flag::O_RDONLY, 0) else {
        return 0;
    };
    let mut entries = [0_u8; 4096];
    let mut count = 0;
    while let Ok(length @ 1..) = sys::read_dir(fd, &mut entries) {
        let mut at = 0;
        // struct linux_dirent64: inode 8, offset 8, length of the entry 2, type 1, name.
        while at + 19 < length {
            let size = usize::from(u16::from_ne_bytes([entries[at + 16], entries[at + 17]]));
            let name = text::c_str(&entries[at + 19..at + size]).to_bytes();
            at += size;
            let pid = text::number(name).map(|pid| pid as i32);
            let (Some(pid), true) = (pid, count < members.len()) else {
                continue;
            };
            if let Some(stat) = stat(pid) {
                members[count] = Member {
                    id: Identity {
                        pid,
                        start_time: stat.start_time,
                    },
                    parent: stat.parent,
                    ours: false,
                    dead: matches!(stat.state, b'Z' | b'X'),
                };
                count += 1;
            }
        }
    }
    sys::close(fd);
    count
}

/// Marks what descends from `root`. A child's number is mostly larger than its parent's, and
/// the list comes sorted, so one or two rounds do.
fn mark(members: &mut [Member], root: i32) {
    let mut changed = true;
    while changed {
        changed = false;
        for at in 0..members.len() {
            if members[at].ours {
                continue;
            }
            let parent = members[at].parent;
            if parent == root
                || members
                    .iter()
                    .any(|other| other.ours && other.id.pid == parent)
            {
                members[at].ours = true;
                changed = true;
            }
        }
    }
}

/// Sends signals to one process of the tree, if it still is what it was: a descriptor for it
/// is opened first and the process compared then, so that a stranger is never signalled.
pub fn signal_exactly(id: Identity, parent: i32, root: i32, signals: &[i32]) {
    let Ok(pidfd) = sys::pidfd_open(id.pid) else {
        return;
    };
    let same = stat(id.pid).is_some_and(|now| {
        now.start_time == id.start_time && (now.parent == parent || now.parent == root)
    });
    if same {
        for &signal in signals {
            let _ = sys::pidfd_kill(pidfd, signal);
        }
    }
    sys::close(pidfd);
}

/// Sends signals to the whole tree below `root`.
pub fn signal_all(root: i32, signals: &[i32]) {
    for_each(root, &mut |id, parent| {
        signal_exactly(id, parent, root, signals);
    });
}

/// The living of the tree as `pid (name), pid (name)`.
#[must_use]
pub fn describe(root: i32) -> Text<1024> {
    let mut out = Text::new();
    for_each(root, &mut |id, _| {
        let mut buffer = [0_u8; 512];
        let count = read_proc(id.pid, b"/stat", &mut buffer).unwrap_or(0);
        let Some((_, name)) = parse_stat(&buffer[..count]) else {
            return;
        };
        if !out.as_bytes().is_empty() {
            out.push(b", ");
        }
        out.push_number(i64::from(id.pid))
            .push(b" (")
            .push(name)
            .push(b")");
    });
    out
}

/// Kills a whole cgroup at once, which not even a fork bomb outruns.
pub fn kill_cgroup(cgroup: &CStr) {
    if cgroup.is_empty() {
        return;
    }
    let mut path = Text::<4200>::new();
    path.push(cgroup.to_bytes()).push(b"/cgroup.kill");
    if let Ok(fd) = sys::open(sys::NONE, path.as_c(), flag::O_WRONLY, 0) {
        let _ = sys::write(fd, b"1");
        sys::close(fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse() {
        let text = b"42 (a) b (c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 100 1";
        let (stat, name) = parse_stat(text).unwrap();
        assert_eq!((stat.parent, stat.state, stat.start_time), (7, b'S', 987));
        assert_eq!(name, b"a) b (c");
    }

    #[test]
    fn we_know_ourselves_and_our_children() {
        let me = std::process::id() as i32;
        assert!(identity(me).start_time > 0);
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let mut seen = Vec::new();
        for_each(me, &mut |id, parent| seen.push((id.pid, parent)));
        assert!(seen.contains(&(pid, me)), "{seen:?}");
        let wrong = Identity { pid, start_time: 1 };
        signal_exactly(wrong, me, me, &[sys::signal::KILL]);
        assert!(
            child.try_wait().unwrap().is_none(),
            "a stranger is not signalled"
        );
        signal_exactly(identity(pid), me, me, &[sys::signal::KILL]);
        assert!(!child.wait().unwrap().success());
    }
}
