//! Whether the out-of-memory killer ended the service. Said only where the kernel says so.

use core::ffi::CStr;

use crate::sys::{self, Fd, flag};
use crate::text::{self, Text};

/// What the kernel had counted when the service started.
#[derive(Debug, Clone, Copy, Default)]
pub struct OomCount(Option<i64>);

impl OomCount {
    /// Looks now.
    #[must_use]
    pub fn now() -> Self {
        let mut buffer = [0_u8; 16 << 10];
        Self(read_file(c"/proc/vmstat", &mut buffer).and_then(|text| counter(text, b"oom_kill ")))
    }

    /// Whether this process, which died of SIGKILL, was killed for memory since then. The
    /// counter is looked at first: it is cheap, and nearly always unchanged.
    #[must_use]
    pub fn killed(self, pid: i32) -> bool {
        match (self.0, Self::now().0) {
            (Some(before), Some(now)) if now > before => kernel_log_names(pid),
            _ => false,
        }
    }
}

fn read_file<'b>(path: &CStr, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let fd = sys::open(sys::NONE, path, flag::O_RDONLY, 0).ok()?;
    let mut length = 0;
    while length < buffer.len() {
        match sys::read(fd, &mut buffer[length..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    sys::close(fd);
    Some(&buffer[..length])
}

/// The number behind a word at the beginning of a line.
fn counter(text: &[u8], word: &[u8]) -> Option<i64> {
    text.split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(word))
        .and_then(text::number)
}

/// Whether the kernel's log says `Killed process PID (`. It needs privileges; without them
/// nothing is said.
fn kernel_log_names(pid: i32) -> bool {
    /// A ring of a few megabytes holds fewer.
    const MOST_RECORDS: u32 = 65_536;
    let mut wanted = Text::<40>::new();
    wanted
        .push(b"Killed process ")
        .push_number(i64::from(pid))
        .push(b" (");
    let Ok(fd) = sys::open(
        sys::NONE,
        c"/dev/kmsg",
        flag::O_RDONLY | flag::O_NONBLOCK,
        0,
    ) else {
        return false;
    };
    let found = scan(fd, wanted.as_bytes(), MOST_RECORDS);
    sys::close(fd);
    found
}

fn scan(fd: Fd, wanted: &[u8], most: u32) -> bool {
    let mut record = [0_u8; 2048];
    for _ in 0..most {
        match sys::read(fd, &mut record) {
            Ok(0) => return false,
            Ok(count) => {
                if record[..count]
                    .windows(wanted.len())
                    .any(|part| part == wanted)
                {
                    return true;
                }
            }
            // Overwritten while we read: the next read goes on with the oldest that is left.
            Err(sys::Errno::EPIPE) => {}
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_word() {
        let text = b"pgfault 7\noom_kill_other 9\noom_kill 3\n";
        assert_eq!(counter(text, b"oom_kill "), Some(3));
        assert_eq!(counter(text, b"oom "), None);
    }

    #[test]
    fn f19_a_process_that_was_not_killed_for_memory_is_not_said_to_be() {
        assert!(!OomCount::now().killed(1));
        assert!(
            !OomCount(Some(-1)).killed(i32::MAX),
            "no such line in the kernel's log"
        );
    }
}
