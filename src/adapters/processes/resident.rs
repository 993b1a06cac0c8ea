//! How much memory a service takes, from `/proc` alone.
//!
//! Resident pages rather than their proportional share: the share would have the kernel walk all
//! page tables of a process while that waits for its own, and costs the more the larger it is.

use std::fs;

use super::proc_fs::status;

/// How many processes of a service are weighed at most, and how many threads of one are asked
/// for their children.
const MOST_PROCESSES: usize = 1_024;
const MOST_THREADS: usize = 256;

/// The resident bytes of a service's processes, its shim left out; `None` where its main process
/// is gone.
pub(super) fn resident(main: i32) -> Option<u64> {
    let seen = status(main).filter(|status| !status.dead)?;
    // The shim leads the session and is the parent of all whose own parent is gone. Where it is
    // not the main process's parent any more, what that is parent of may be anybody's.
    let mut ahead = Vec::new();
    if seen.parent == seen.session && seen.parent > 1 {
        ahead = children(seen.parent);
    }
    if !ahead.contains(&main) {
        // Nor does every kernel tell of children: then it is weighed alone.
        ahead = vec![main];
    }
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
    let (mut bytes, mut count) = (0_u64, 0);
    while let Some(pid) = ahead.pop()
        && count < MOST_PROCESSES
    {
        count += 1;
        bytes = bytes.saturating_add(pages(pid).unwrap_or(0).saturating_mul(page));
        ahead.append(&mut children(pid));
    }
    Some(bytes)
}

/// The second figure of `statm`.
fn pages(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    statm.split(' ').nth(1)?.parse().ok()
}

/// The children of all its threads.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .take(MOST_THREADS)
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let mut all = Vec::new();
    for list in lists {
        all.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_processes_of_a_tree_count_and_one_that_is_gone_does_not() {
        // As a shim does: a leader of a session, the main process, and a child of that.
        let script = "python3 -c 'x = bytearray(40_000_000); import time; time.sleep(600)' & \
                      exec python3 -c 'x = bytearray(20_000_000); import time; time.sleep(600)'";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let main = i32::try_from(shell.id()).unwrap();
        let mut weight = 0;
        for _ in 0..1_000 {
            weight = resident(main).unwrap();
            if weight >= 60_000_000 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let group = rustix::process::Pid::from_raw(main).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert!((60_000_000..200_000_000).contains(&weight), "{weight}");
        assert_eq!(resident(main), None);
    }
}
