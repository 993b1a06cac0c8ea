//! The bounded queue in front of the log's thread, and that thread.
//!
//! slog-async's records in a queue of our own: it stamps a record when it is logged, not when
//! a slow disk lets it be written, and it can be flushed when something panics.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use slog::{Drain, Level, Never, OwnedKVList, Record, b, o};
use slog_async::AsyncRecord;

use supervisor_actors::ports::Clock as _;
use supervisor_core::Timestamp;

use super::format::Format;
use super::rotate::{Flushed, RotatedFile};
use super::terminal::Terminal;
use crate::adapters::background::stand_back;
use crate::adapters::clock::RealClock;

/// How many records may wait: 50 kB of memory, and some milliseconds of the worst burst.
const CAPACITY: usize = 512;
/// The name of the log's thread.
pub(super) const THREAD: &str = "log";

enum Item {
    Record(Timestamp, AsyncRecord),
    Flush(SyncSender<()>),
    Finish,
}

/// What takes records.
pub(super) struct Queue {
    to: AssertUnwindSafe<SyncSender<Item>>,
    lost: Arc<AtomicU64>,
    when_full: WhenFull,
}

/// What becomes of a record for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// It is lost, and counted: nothing that is supervised waits for a slow terminal or disk.
    Drop,
    /// It waits: there is nothing to supervise, and who looks on wants each line.
    Wait,
}

/// Keeps the log's thread; dropping it writes all that waits and ends the log.
pub(crate) struct LogGuard {
    to: SyncSender<Item>,
    thread: Option<JoinHandle<()>>,
}

/// Waits until the log is written.
#[derive(Clone)]
pub(super) struct Flusher {
    to: SyncSender<Item>,
}

/// Where lines go.
pub(super) struct Outlets {
    pub(super) terminal: Terminal,
    pub(super) terminal_format: Format,
    pub(super) file: Option<RotatedFile>,
    pub(super) file_format: Format,
}

/// Starts the thread. The outlets are made in it.
pub(super) fn start(
    when_full: WhenFull,
    outlets: impl FnOnce() -> Outlets + Send + 'static,
) -> io::Result<(Queue, LogGuard)> {
    let (to, from) = sync_channel(CAPACITY);
    let lost = Arc::new(AtomicU64::new(0));
    let counted = lost.clone();
    let thread = std::thread::Builder::new()
        .name(THREAD.to_owned())
        .spawn(move || {
            stand_back();
            write_all(&from, &counted, &mut outlets());
        })?;
    let queue = Queue {
        to: AssertUnwindSafe(to.clone()),
        lost,
        when_full,
    };
    let guard = LogGuard {
        to,
        thread: Some(thread),
    };
    Ok((queue, guard))
}

// === impl Queue ===

impl Drain for Queue {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let item = Item::Record(RealClock.wall(), AsyncRecord::from(record, values));
        let sent = match self.to.try_send(item) {
            Err(TrySendError::Full(item)) if self.when_full == WhenFull::Wait => {
                self.to.send(item).is_ok()
            }
            sent => sent.is_ok(),
        };
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

// === impl LogGuard ===

impl LogGuard {
    pub(super) fn flusher(&self) -> Flusher {
        Flusher {
            to: self.to.clone(),
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take()
            && self.to.send(Item::Finish).is_ok()
        {
            // It does not panic; if it did, there is nobody left to tell.
            let _ended = thread.join();
        }
    }
}

// === impl Flusher ===

impl Flusher {
    /// Waits until all that was logged before is written, but not for longer than this.
    pub(super) fn flush(&self, at_most: Duration) {
        let (done, written) = sync_channel(1);
        if self.to.try_send(Item::Flush(done)).is_ok() {
            // Late or not, there is no more to be done about it.
            let _in_time = written.recv_timeout(at_most);
        }
    }
}

// === the thread ===

fn write_all(from: &Receiver<Item>, lost: &AtomicU64, outlets: &mut Outlets) {
    loop {
        let item = match from.try_recv() {
            Ok(item) => item,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                outlets.say_lost(lost.swap(0, Ordering::Relaxed));
                outlets.flush();
                match from.recv() {
                    Ok(item) => item,
                    Err(_) => break,
                }
            }
        };
        match item {
            Item::Record(at, record) => {
                record.as_record_values(|record, values| outlets.write(at, record, values));
            }
            Item::Flush(done) => {
                outlets.flush();
                // Whoever waited may have given up.
                let _told = done.send(());
            }
            Item::Finish => break,
        }
    }
    outlets.say_lost(lost.swap(0, Ordering::Relaxed));
    outlets.flush();
}

impl Outlets {
    fn write(&mut self, at: Timestamp, record: &Record<'_>, values: &OwnedKVList) {
        let line = self.terminal_format.line(at, record, values);
        self.terminal.write(&line);
        if let Some(file) = &mut self.file {
            file.write(&self.file_format.line(at, record, values));
        }
    }

    fn flush(&mut self) {
        let Some(file) = &mut self.file else { return };
        match file.flush() {
            Flushed::Fine | Flushed::StillFailing => {}
            Flushed::Failed(error) => {
                let path = file.path().display().to_string();
                self.say(
                    Level::Warning,
                    "the log file cannot be written",
                    &[("path", path), ("error", error.to_string())],
                );
            }
            Flushed::Recovered { lost } => {
                self.say(
                    Level::Warning,
                    "the log file can be written again",
                    &[("lines lost", lost.to_string())],
                );
                // Its own failure is told by the next flush.
                let _said = self.file.as_mut().map(RotatedFile::flush);
            }
        }
    }

    fn say_lost(&mut self, lost: u64) {
        if lost > 0 {
            self.say(
                Level::Warning,
                "more was logged than could be written",
                &[("lines lost", lost.to_string())],
            );
        }
    }

    /// Says something about the log itself.
    fn say(&mut self, level: Level, message: &'static str, values: &[(&'static str, String)]) {
        let location = slog::RecordLocation {
            file: file!(),
            line: line!(),
            column: 0,
            function: "",
            module: module_path!(),
        };
        let place = slog::RecordStatic {
            location: &location,
            level,
            tag: "",
        };
        // `record!` wants its pairs by name; these are a few, so each case is spelt out.
        match values {
            [(key, value)] => self.write(
                RealClock.wall(),
                &Record::new(&place, &format_args!("{message}"), b!(*key => value)),
                &o!().into(),
            ),
            [(key, value), (other, more), ..] => self.write(
                RealClock.wall(),
                &Record::new(
                    &place,
                    &format_args!("{message}"),
                    b!(*key => value, *other => more),
                ),
                &o!().into(),
            ),
            [] => self.write(
                RealClock.wall(),
                &Record::new(&place, &format_args!("{message}"), b!()),
                &o!().into(),
            ),
        }
    }
}
