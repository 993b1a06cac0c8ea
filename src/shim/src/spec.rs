//! The specification of a service's process, as it came over the socket.

use core::ffi::CStr;

use crate::lines::Mode;
use crate::protocol::{Frame, key};
use crate::sys;
use crate::text::{c_str, number};

/// Most supplementary groups that we set.
const MAX_GROUPS: usize = 256;
/// More limits than the kernel knows.
const MAX_LIMITS: usize = 24;

/// What is needed as long as the service lives. It stands at the front of the frame.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Whose process.
    pub service: &'a CStr,
    /// Which life.
    pub generation: i64,
    /// The present boot.
    pub boot_id: &'a CStr,
    /// The log file.
    pub log: &'a CStr,
    /// At which size it is rotated; 0 is never.
    pub log_max_size: u64,
    /// How many rotated files are kept.
    pub log_keep: u32,
    /// The cgroup to make; empty for none.
    pub cgroup: &'a CStr,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// How long that may take.
    pub stop_timeout_ms: u64,
    /// What of its output is wanted.
    pub listen: Mode,
    /// In how many frames.
    pub frames: u32,
}

/// What the child needs before it is itself.
#[derive(Debug)]
pub struct ChildSpec<'a> {
    /// The working directory.
    pub cwd: &'a CStr,
    /// The user to become.
    pub uid: Option<u32>,
    /// The group to become.
    pub gid: Option<u32>,
    /// The file mode mask.
    pub umask: Option<u32>,
    /// The niceness.
    pub nice: Option<i32>,
    groups: [u32; MAX_GROUPS],
    group_count: usize,
    limits: [(u32, u64); MAX_LIMITS],
    limit_count: usize,
    /// The arguments, then a null pointer.
    pub argv: &'a [*const u8],
    /// The environment, a free place where WATCHDOG_PID belongs, a null pointer.
    pub envp: &'a mut [*const u8],
    /// Whether there is a watchdog interval, and so that free place.
    pub watchdog: bool,
    /// The `PATH` of its environment.
    pub path: &'a CStr,
}

impl ChildSpec<'_> {
    /// The supplementary groups.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups[..self.group_count]
    }

    /// The resource limits.
    #[must_use]
    pub fn limits(&self) -> &[(u32, u64)] {
        &self.limits[..self.limit_count]
    }
}

impl<'a> Settings<'a> {
    /// Reads the settings. What is missing has a harmless default.
    #[must_use]
    pub fn read(frame: Frame<'a>) -> Self {
        let positive = |key| frame.number(key).and_then(|n| u64::try_from(n).ok());
        Self {
            service: string(frame, key::SERVICE),
            generation: frame.number(key::GENERATION).unwrap_or(0),
            boot_id: string(frame, key::BOOT_ID),
            log: string(frame, key::LOG),
            log_max_size: positive(key::LOG_MAX_SIZE).unwrap_or(0),
            log_keep: positive(key::LOG_KEEP).map_or(0, |n| n.min(1000) as u32),
            cgroup: string(frame, key::CGROUP),
            stop_signal: frame
                .number(key::STOP_SIGNAL)
                .map_or(sys::signal::TERM, |n| n as i32),
            stop_timeout_ms: positive(key::STOP_TIMEOUT_MS).unwrap_or(10_000),
            listen: frame.get(key::LISTEN).map_or(Mode::Off, Mode::from_word),
            frames: frames(frame),
        }
    }
}

/// How many frames a frame allows.
#[must_use]
pub fn frames(frame: Frame<'_>) -> u32 {
    frame
        .number(key::FRAMES)
        .map_or(0, |n| n.clamp(0, 1_000) as u32)
}

/// A value with the NUL that follows it in the frame.
fn terminated(value: &[u8]) -> &CStr {
    // SAFETY: `Frame` cuts values at a NUL that stands right behind them in the same buffer.
    c_str(unsafe { core::slice::from_raw_parts(value.as_ptr(), value.len() + 1) })
}

fn string<'a>(frame: Frame<'a>, key: &str) -> &'a CStr {
    frame.get(key).map_or(c"", terminated)
}

/// How many pointers [`child`] needs room for.
#[must_use]
pub fn pointers(frame: Frame<'_>) -> usize {
    const ENDS_AND_WATCHDOG: usize = 3;
    frame.fields().count() + ENDS_AND_WATCHDOG
}

/// Reads what the child needs; `room` has at least [`pointers`] places.
#[must_use]
pub fn child<'a>(frame: Frame<'a>, room: &'a mut [*const u8]) -> ChildSpec<'a> {
    let is_arg = |&(name, _): &(&[u8], &[u8])| name == key::ARG.as_bytes();
    let args = frame.fields().filter(is_arg).count();
    let (argv, envp) = room.split_at_mut(args + 1);
    let unsigned = |key| frame.number(key).and_then(|n| u32::try_from(n).ok());
    let mut spec = ChildSpec {
        cwd: string(frame, key::CWD),
        uid: unsigned(key::UID),
        gid: unsigned(key::GID),
        umask: unsigned(key::UMASK),
        nice: frame.number(key::NICE).map(|n| n as i32),
        groups: [0; MAX_GROUPS],
        group_count: 0,
        limits: [(0, 0); MAX_LIMITS],
        limit_count: 0,
        argv: &[],
        envp: &mut [],
        watchdog: false,
        path: c"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    };
    for (place, (_, value)) in argv.iter_mut().zip(frame.fields().filter(is_arg)) {
        *place = value.as_ptr();
    }
    let mut variables = 0;
    for (name, value) in frame.fields() {
        if name == key::ENV.as_bytes() {
            envp[variables] = value.as_ptr();
            variables += 1;
            spec.watchdog |= value.starts_with(b"WATCHDOG_USEC=");
            if value.starts_with(b"PATH=") {
                spec.path = terminated(&value[5..]);
            }
        } else if name == key::GROUP.as_bytes() {
            if let (Some(group), true) = (number(value), spec.group_count < MAX_GROUPS) {
                spec.groups[spec.group_count] = group as u32;
                spec.group_count += 1;
            }
        } else if name == key::LIMIT.as_bytes()
            && let Some(limit) = limit(value)
            && spec.limit_count < MAX_LIMITS
        {
            spec.limits[spec.limit_count] = limit;
            spec.limit_count += 1;
        }
    }
    spec.argv = argv;
    spec.envp = &mut envp[..variables + 2];
    spec
}

/// `number:value`; a value beyond 63 bits is "unlimited".
fn limit(text: &[u8]) -> Option<(u32, u64)> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    let resource = number(&text[..colon])? as u32;
    let value = number(&text[colon + 1..]).map_or(u64::MAX, |value| value as u64);
    Some((resource, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{encode, first_frame};

    #[test]
    fn a_specification_is_read_from_its_frame() {
        let mut bytes = Vec::new();
        let fields: [(&str, &[u8]); 9] = [
            (key::SERVICE, b"web"),
            (key::GENERATION, b"7"),
            (key::GROUP, b"4"),
            (key::GROUP, b"24"),
            (key::LIMIT, b"7:1024"),
            (key::ARG, b"sh"),
            (key::ARG, b"-c"),
            (key::ENV, b"PATH=/bin"),
            (key::ENV, b"WATCHDOG_USEC=5"),
        ];
        encode("start", &fields, &mut |piece| {
            bytes.extend_from_slice(piece);
        });
        let (payload, _) = first_frame(&bytes).unwrap().unwrap();
        let frame = Frame::parse(payload).unwrap();

        let settings = Settings::read(frame);
        assert_eq!(settings.service, c"web");
        assert_eq!(settings.generation, 7);
        assert_eq!(settings.stop_timeout_ms, 10_000, "missing: the default");
        assert_eq!((settings.listen, settings.frames), (Mode::Off, 0));

        let mut room = vec![core::ptr::null(); pointers(frame)];
        let child = child(frame, &mut room);
        assert_eq!(child.groups(), [4, 24]);
        assert_eq!(child.limits(), [(7, 1024)]);
        assert_eq!(child.path, c"/bin");
        assert!(child.watchdog);
        assert_eq!(child.argv.len(), 3);
        assert!(child.argv[2].is_null());
        assert_eq!(child.envp.len(), 4, "two, the free place, the end");
        assert_eq!(child.uid, None);
    }
}
