//! The log: lines for people (or JSON) on stderr, and plain lines in a file.
//!
//! ```text
//! any thread ──▶ filter ──▶ bounded queue ──▶ the log's thread ──▶ stderr
//! log crate, panics ──┘       (full: counted)                └──▶ file, rotated
//! ```
//! Nobody who logs ever waits for a terminal or a disk. A terminal that takes nothing, a full
//! disk, a log file that is gone: lines are lost and counted, and the program goes on.

use slog::{Logger, o};

use crate::config::{LogFilter, LogFormat, LogSettings};

mod filter;
mod format;
mod panics;
mod queue;
mod rotate;
mod terminal;
#[cfg(test)]
mod tests;

pub(crate) use queue::{LogGuard, WhenFull};
pub(crate) use terminal::wants_colour;

/// Starts the log's thread. The log is whole once the guard is dropped; what is logged after
/// that goes nowhere.
///
/// # Errors
/// Where no thread can be started.
pub(crate) fn start(
    settings: &LogSettings,
    no_color: bool,
    when_full: WhenFull,
) -> std::io::Result<(Logger, LogGuard)> {
    let format = settings.format;
    let file = settings
        .file
        .clone()
        .map(|path| rotate::RotatedFile::new(path, settings.max_size, settings.keep));
    let (queue, guard) = queue::start(when_full, move || queue::Outlets {
        terminal: terminal::Terminal::stderr(when_full),
        terminal_format: match format {
            LogFormat::Json => format::Format::json(),
            LogFormat::Term => format::Format::lines(!no_color && wants_colour()),
        },
        file,
        file_format: format::Format::lines(false),
    })?;
    let log = Logger::root(
        filter::Filtered::new(filter::Levels(settings.filter.clone()), queue),
        o!(),
    );
    Ok((log, guard))
}

/// Sends the records of the `log` crate (actix, actix-web, …) to this logger. Once a process.
///
/// # Errors
/// Where somebody else has taken them already.
pub(crate) fn take_log_crate(log: &Logger, filter: &LogFilter) -> Result<(), log::SetLoggerError> {
    slog_stdlog::init_with_level(filter::Levels(filter.clone()).most_verbose_of_log_crate())?;
    // It stays for the whole life of the process: threads may log to the very end.
    slog_scope::set_global_logger(log.clone()).cancel_reset();
    Ok(())
}

/// Logs every panic of the process, with its place, instead of printing it.
pub(crate) fn take_panics(log: &Logger, guard: &LogGuard) {
    panics::take(log.clone(), guard.flusher());
}
