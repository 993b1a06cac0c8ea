//! Processes as the kernel shows them in `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The fields of `/proc/PID/stat` that tests look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// In clock ticks since boot: with the pid it names one process for ever.
    pub started: u64,
}

pub fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces and parentheses itself.
    let rest = text.rsplit_once(") ")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Stat {
        state: fields[0].chars().next()?,
        parent: fields[1].parse().ok()?,
        group: fields[2].parse().ok()?,
        session: fields[3].parse().ok()?,
        started: fields[19].parse().ok()?,
    })
}

/// Whether it lives; a zombie does not.
pub fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap_or_else(|error| panic!("kill {pid}: {error}"));
}

/// All pids of the machine.
pub fn all() -> Vec<i32> {
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Its children, theirs, and so on.
pub fn descendants(pid: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.remove(0);
    found
}

pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}

/// A field of `/proc/PID/status` that is given in kB.
pub fn status_kb(pid: i32, field: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()
}

/// Every living process that works in this directory or has a file in it open, with all its
/// descendants: whoever was started from there, also by a program that is dead by now.
pub fn belonging_to(directory: &Path) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let me = i32::try_from(std::process::id()).expect("a pid");
    for pid in all() {
        if pid != me && alive(pid) && touches(pid, directory) && found.insert(pid) {
            found.extend(descendants(pid).into_iter().filter(|pid| alive(*pid)));
        }
    }
    found.remove(&me);
    found
}

fn touches(pid: i32, directory: &Path) -> bool {
    let inside = |link: &Path| fs::read_link(link).is_ok_and(|path| path.starts_with(directory));
    let process = Path::new("/proc").join(pid.to_string());
    inside(&process.join("cwd"))
        || fs::read_dir(process.join("fd"))
            .is_ok_and(|fds| fds.filter_map(Result::ok).any(|fd| inside(&fd.path())))
}
