//! What a command that was run says in the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use nix::sys::signal::Signal;
use rustix::fs::{MemfdFlags, SealFlags};

/// How much of a command's output there is room for.
const ROOM: u64 = 256 * 1024;
/// How much of its end is shown.
const SHOWN: u64 = 500;

/// How it ended: `ended with code 1`.
pub(crate) fn ended(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("was ended by {signal}"),
            Err(_) => format!("was ended by signal {signal}"),
        },
        (None, None) => "ended".to_owned(),
    }
}

/// A command's output, in memory of a fixed size. No pipe: a daemon that the command leaves
/// behind would die of SIGPIPE, or keep us reading. What does not fit is refused to it.
#[derive(Debug)]
pub(crate) struct Output(File);

impl Output {
    /// Nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("output", flags)?);
        file.set_len(ROOM)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(file))
    }

    /// Another descriptor of the same open file: all write behind one another.
    pub(crate) fn writer(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// Its last words, on one line, after a colon; nothing if it said nothing.
    pub(crate) fn tail(&self) -> String {
        use std::io::Seek as _;
        let end = (&self.0).stream_position().unwrap_or(0);
        let from = end.saturating_sub(SHOWN);
        let mut bytes = vec![0; usize::try_from(end - from).unwrap_or(0)];
        if self.0.read_exact_at(&mut bytes, from).is_err() {
            return String::new();
        }
        let text = String::from_utf8_lossy(&bytes);
        let cut = if from > 0 { "…" } else { "" };
        match text.trim() {
            "" => String::new(),
            text => {
                let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
                format!(": {cut}{}", lines.join(" | "))
            }
        }
    }
}
