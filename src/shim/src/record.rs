//! The two record files of a generation, as JSON, each replaced as a whole.

use core::ffi::CStr;

use crate::protocol::{VERSION, key};
use crate::spec::Settings;
use crate::sys::{self, Fd, flag};
use crate::text::Text;

/// Longer than any record: the longest part is the cgroup's path.
type Json = Text<6000>;

const START: &CStr = c"start.json";
const EXIT: &CStr = c"exit.json";

/// How main ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitFacts {
    /// The wait status.
    pub status: i32,
    /// When, in microseconds since the epoch.
    pub time_us: i64,
    /// Whether the out-of-memory killer did it.
    pub oom: bool,
}

impl ExitFacts {
    /// The exit code, where it had one.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        (self.status & 0x7f == 0).then_some(self.status >> 8 & 0xff)
    }

    /// The signal that ended it, where one did.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        let signal = self.status & 0x7f;
        (signal != 0).then_some(signal)
    }
}

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its number.
    pub pid: i32,
    /// Clock ticks since boot.
    pub start_time: i64,
}

fn begin(settings: &Settings<'_>) -> Json {
    let mut json = Json::new();
    json.push(b"{");
    number(&mut json, key::PROTOCOL, i64::from(VERSION));
    string(&mut json, key::SERVICE, settings.service.to_bytes());
    number(&mut json, key::GENERATION, settings.generation);
    string(&mut json, key::BOOT_ID, settings.boot_id.to_bytes());
    json
}

fn name(json: &mut Json, key: &str) {
    if json.as_bytes().last() != Some(&b'{') {
        json.push(b",");
    }
    json.push_json(key.as_bytes()).push(b":");
}

fn number(json: &mut Json, key: &str, value: i64) {
    name(json, key);
    json.push_number(value);
}

fn string(json: &mut Json, key: &str, value: &[u8]) {
    name(json, key);
    json.push_json(value);
}

fn flag(json: &mut Json, key: &str, value: bool) {
    name(json, key);
    json.push(if value { b"true" } else { b"false" });
}

/// Writes what is running. Not synced: after a power cut nothing of it runs.
///
/// # Errors
/// Where the directory cannot be written.
pub fn write_start(
    dir: Fd,
    settings: &Settings<'_>,
    shim: Identity,
    main: Identity,
) -> sys::Result<()> {
    let mut json = begin(settings);
    number(&mut json, key::SHIM_PID, i64::from(shim.pid));
    number(&mut json, key::SHIM_START_TIME, shim.start_time);
    number(&mut json, key::PID, i64::from(main.pid));
    number(&mut json, key::START_TIME, main.start_time);
    string(&mut json, key::CGROUP, settings.cgroup.to_bytes());
    number(&mut json, key::STOP_SIGNAL, i64::from(settings.stop_signal));
    number(
        &mut json,
        key::STOP_TIMEOUT_MS,
        settings.stop_timeout_ms as i64,
    );
    replace(dir, c"start.json.new", START, json, false)
}

/// Takes the start record back: the start failed.
pub fn remove_start(dir: Fd) {
    let _ = sys::unlink(dir, START, 0);
}

/// Writes how it ended; `durable`, so that it survives a power cut.
///
/// # Errors
/// Where the directory cannot be written.
pub fn write_exit(
    dir: Fd,
    settings: &Settings<'_>,
    main: Identity,
    exit: ExitFacts,
    left: bool,
    durable: bool,
) -> sys::Result<()> {
    let mut json = begin(settings);
    number(&mut json, key::PID, i64::from(main.pid));
    if let Some(code) = exit.code() {
        number(&mut json, key::CODE, i64::from(code));
    }
    if let Some(signal) = exit.signal() {
        number(&mut json, key::SIGNAL, i64::from(signal));
    }
    number(&mut json, key::TIME_US, exit.time_us);
    flag(&mut json, key::OOM, exit.oom);
    flag(&mut json, key::LEFT, left);
    replace(dir, c"exit.json.new", EXIT, json, durable)
}

fn replace(
    dir: Fd,
    temporary: &CStr,
    name: &CStr,
    mut json: Json,
    durable: bool,
) -> sys::Result<()> {
    json.push(b"}\n");
    if !json.is_whole() {
        return Err(sys::Errno::ENAMETOOLONG);
    }
    let flags = flag::O_WRONLY | flag::O_CREAT | flag::O_TRUNC;
    let fd = sys::open(dir, temporary, flags, 0o600)?;
    let written = sys::write_all(fd, json.as_bytes());
    let synced = if durable {
        written.and_then(|()| sys::fsync(fd))
    } else {
        written
    };
    sys::close(fd);
    synced?;
    sys::rename(dir, temporary, name)?;
    if durable { sys::fsync(dir) } else { Ok(()) }
}
