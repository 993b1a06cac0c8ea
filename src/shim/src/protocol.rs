//! What the supervisor and a shim say to each other, and the files of a generation.
//!
//! A frame is four bytes of length (little endian) and a payload of strings that each end
//! with a NUL: its kind, then keys and values in turn. A key may come several times. Fields
//! that are not known are ignored and missing ones have a default: a newer supervisor adopts
//! older shims. (Nothing that we carry can hold a NUL: arguments, environment, paths.)
//!
//! | from | frame | fields |
//! |---|---|---|
//! | supervisor | `start` | see [`key`]; settings first, `arg` and `env` last |
//! | supervisor | `run` | a command to run to its end, with the descriptor for its output; `arg` and the like |
//! | supervisor | `stop` | `number`: the first begins the ladder, the second kills at once |
//! | supervisor | `signal` | `number` |
//! | supervisor | `listen` | `listen`, `frames`: see [`mode`]; as in `start`, to a shim that runs |
//! | supervisor | `remember` | `text`: to be said in each `hello` |
//! | supervisor | `more` | `frames`: so many more may come |
//! | supervisor | `extend` | `number`: a stop under way may last so many milliseconds from now |
//! | shim | `hello` | to each new supervisor: all it would have heard so far, `text`, and the notify socket along |
//! | shim | `started` | `pid`, `start_time` |
//! | shim | `start_failed` | `stage`, `errno` |
//! | shim | `exited` | `code` or `signal`, `time_us`, `oom`, `left` |
//! | shim | `gone` | nothing of the service is left |
//! | shim | `blocked` | `list`: who does not die of SIGKILL |
//! | shim | `output` | `number` of lines, how many were `lost` besides, the `text` of the former |
//!
//! With the first byte of `start` come the generation's lock and, where it has one, its notify
//! socket: both stay open as long as the shim lives, so that neither the service nor anybody
//! else meets a closed one while no supervisor is there.
//!
//! Version 2 added `listen`, `more`, `extend`, `remember`, `output` and the notify socket. A
//! shim of version 1 ignores what it does not know and says nothing of its output.

use crate::text;

/// The version that this code speaks.
pub const VERSION: u32 = 2;

/// The first version that tells of output.
pub const TELLS_OUTPUT: i64 = 2;

/// What is kept of a line of output that is told.
pub const MOST_LINE: usize = 4096;

/// The longest text that is remembered for the next supervisor.
pub const MOST_REMEMBERED: usize = 255;

/// The longest frame that either side takes.
pub const MAX_FRAME: usize = 16 << 20;

/// The lock in a generation's directory: held as long as its shim lives.
pub const LOCK_FILE: &str = "lock";
/// What is running, as JSON.
pub const START_RECORD: &str = "start.json";
/// How it ended, as JSON.
pub const EXIT_RECORD: &str = "exit.json";
/// Where the shim listens for the next supervisor.
pub const SOCKET: &str = "sock";

/// Kinds of frames.
#[allow(missing_docs)]
pub mod kind {
    pub const START: &str = "start";
    pub const RUN: &str = "run";
    pub const STOP: &str = "stop";
    pub const SIGNAL: &str = "signal";
    pub const LISTEN: &str = "listen";
    pub const MORE: &str = "more";
    pub const REMEMBER: &str = "remember";
    pub const EXTEND: &str = "extend";
    pub const HELLO: &str = "hello";
    pub const STARTED: &str = "started";
    pub const START_FAILED: &str = "start_failed";
    pub const EXITED: &str = "exited";
    pub const GONE: &str = "gone";
    pub const BLOCKED: &str = "blocked";
    pub const OUTPUT: &str = "output";
}

/// What is wanted of the output.
#[allow(missing_docs)]
pub mod mode {
    /// How many lines there were.
    pub const COUNT: &str = "count";
    /// The lines.
    pub const LINES: &str = "lines";
}

/// Field names, in frames and in the two record files alike.
pub mod key {
    /// The protocol's version.
    pub const PROTOCOL: &str = "protocol";
    /// The service's name.
    pub const SERVICE: &str = "service";
    /// Which life.
    pub const GENERATION: &str = "generation";
    /// The present boot's id.
    pub const BOOT_ID: &str = "boot_id";
    /// The log file, absolute.
    pub const LOG: &str = "log";
    /// At which size it is rotated, in bytes; 0 is never.
    pub const LOG_MAX_SIZE: &str = "log_max_size";
    /// How many rotated files are kept.
    pub const LOG_KEEP: &str = "log_keep";
    /// The cgroup directory to make for the service, where there is one.
    pub const CGROUP: &str = "cgroup";
    /// The signal that asks it to stop.
    pub const STOP_SIGNAL: &str = "stop_signal";
    /// How long that may take.
    pub const STOP_TIMEOUT_MS: &str = "stop_timeout_ms";
    /// The working directory.
    pub const CWD: &str = "cwd";
    /// The user to become, as a number.
    pub const UID: &str = "uid";
    /// The group to become, as a number.
    pub const GID: &str = "gid";
    /// A supplementary group, as a number; repeated.
    pub const GROUP: &str = "group";
    /// The file mode mask, decimal.
    pub const UMASK: &str = "umask";
    /// The niceness.
    pub const NICE: &str = "nice";
    /// A resource limit, `number:value`; repeated.
    pub const LIMIT: &str = "limit";
    /// An argument; repeated, the first is the program.
    pub const ARG: &str = "arg";
    /// A variable, `NAME=value`; repeated.
    pub const ENV: &str = "env";
    /// A process id.
    pub const PID: &str = "pid";
    /// A process's start time in clock ticks since boot.
    pub const START_TIME: &str = "start_time";
    /// The shim's process id.
    pub const SHIM_PID: &str = "shim_pid";
    /// The shim's start time.
    pub const SHIM_START_TIME: &str = "shim_start_time";
    /// Where a start failed.
    pub const STAGE: &str = "stage";
    /// With which error.
    pub const ERRNO: &str = "errno";
    /// An exit code.
    pub const CODE: &str = "code";
    /// The signal that ended it.
    pub const SIGNAL: &str = "signal";
    /// Microseconds since the Unix epoch.
    pub const TIME_US: &str = "time_us";
    /// Whether the kernel's out-of-memory killer did it.
    pub const OOM: &str = "oom";
    /// Whether others of the service live.
    pub const LEFT: &str = "left";
    /// Of a signal; or how many stops have been asked for.
    pub const NUMBER: &str = "number";
    /// What is wanted of the output: see [`mode`](super::mode).
    pub const LISTEN: &str = "listen";
    /// In how many frames.
    pub const FRAMES: &str = "frames";
    /// How many lines were left out.
    pub const LOST: &str = "lost";
    /// Lines of output, each with its end; or what is remembered for the next supervisor.
    pub const TEXT: &str = "text";
    /// `pid (name)` of who does not die.
    pub const LIST: &str = "list";
    /// In `hello`: `starting`, `running`, `remains` or `gone`.
    pub const STATE: &str = "state";
}

/// Where a start failed, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Pipes, records, descriptors.
    Setup,
    /// Forking the child.
    Fork,
    /// Its niceness.
    Nice,
    /// Its resource limits.
    Limits,
    /// Its groups and user.
    User,
    /// Its working directory.
    Cwd,
    /// Executing the program.
    Exec,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Setup,
        Self::Fork,
        Self::Nice,
        Self::Limits,
        Self::User,
        Self::Cwd,
        Self::Exec,
    ];

    /// Its word in a frame.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Fork => "fork",
            Self::Nice => "nice",
            Self::Limits => "limits",
            Self::User => "user",
            Self::Cwd => "cwd",
            Self::Exec => "exec",
        }
    }

    /// The stage of that word.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str().as_bytes() == word)
    }
}

/// A payload, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its kind.
    pub kind: &'a [u8],
    fields: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a payload apart; `None` where it does not end with a NUL.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        if payload.last() != Some(&0) {
            return None;
        }
        let mut rest = payload;
        let kind = cut(&mut rest)?;
        Some(Self { kind, fields: rest })
    }

    /// Its keys and values in order. Each value is followed by a NUL in the payload.
    #[must_use]
    pub fn fields(self) -> Fields<'a> {
        Fields(self.fields)
    }

    /// The first value of a key.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a [u8]> {
        self.fields()
            .find(|(name, _)| *name == key.as_bytes())
            .map(|(_, value)| value)
    }

    /// The first value of a key, where it is a number.
    #[must_use]
    pub fn number(self, key: &str) -> Option<i64> {
        self.get(key).and_then(text::number)
    }
}

/// The fields of a [`Frame`].
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((cut(&mut self.0)?, cut(&mut self.0)?))
    }
}

/// Takes the string before the next NUL off the front.
fn cut<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&byte| byte == 0)?;
    let (string, tail) = rest.split_at(end);
    *rest = &tail[1..];
    Some(string)
}

/// Writes a frame, length included, piece by piece.
pub fn encode(kind: &str, fields: &[(&str, &[u8])], put: &mut dyn FnMut(&[u8])) {
    let length = kind.len()
        + 1
        + fields
            .iter()
            .map(|(key, value)| key.len() + value.len() + 2)
            .sum::<usize>();
    put(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    put(kind.as_bytes());
    put(&[0]);
    for (key, value) in fields {
        put(key.as_bytes());
        put(&[0]);
        put(value);
        put(&[0]);
    }
}

/// The first whole frame in a buffer: its payload, and how much of the buffer it took.
///
/// # Errors
/// [`TooLong`] where its length is beyond [`MAX_FRAME`]: the other side speaks something else.
pub fn first_frame(buffer: &[u8]) -> Result<Option<(&[u8], usize)>, TooLong> {
    let Some((head, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*head) as usize;
    if length > MAX_FRAME {
        return Err(TooLong);
    }
    Ok(rest.get(..length).map(|payload| (payload, 4 + length)))
}

/// A frame beyond what either side takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: &str, fields: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(kind, fields, &mut |piece| bytes.extend_from_slice(piece));
        bytes
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let bytes = frame("start", &[("arg", b"sh"), ("arg", b""), ("pid", b"12")]);
        let (payload, used) = first_frame(&bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        let frame = Frame::parse(payload).unwrap();
        assert_eq!(frame.kind, b"start");
        assert_eq!(frame.number("pid"), Some(12));
        assert_eq!(frame.fields().count(), 3);
        assert_eq!(frame.get("nothing"), None);
    }

    #[test]
    fn every_prefix_of_a_frame_is_incomplete_and_none_panics() {
        let bytes = frame("exited", &[("code", b"3"), ("left", b"0")]);
        for end in 0..bytes.len() {
            assert_eq!(first_frame(&bytes[..end]).unwrap(), None);
            let _ = Frame::parse(&bytes[..end]).map(|frame| frame.fields().count());
        }
    }

    #[test]
    fn a_frame_of_something_else_is_refused() {
        assert_eq!(first_frame(b"GET / HTTP/1.1\r\n"), Err(TooLong));
    }

    #[test]
    fn every_stage_has_its_own_word() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_word(stage.as_str().as_bytes()), Some(stage));
        }
        assert_eq!(Stage::from_word(b"teleport"), None);
    }
}
