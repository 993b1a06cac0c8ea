//! Panics, said in the log with their place.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::time::Duration;

use slog::{Logger, error};

use super::queue::{Flusher, THREAD};

/// How long a panic waits until it is on record: it may be the last thing that we say.
const PATIENCE: Duration = Duration::from_millis(200);

pub(super) fn take(log: Logger, flusher: Flusher) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        if name == THREAD {
            // Nobody else is left to write it.
            eprintln!("the log's thread panicked: {panic}");
            return;
        }
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        // Captured only where RUST_BACKTRACE asks for it.
        let trace = Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => {
                error!(log, "panic"; "message" => message(panic), "at" => place, "thread" => name, "backtrace" => %trace);
            }
            _ => {
                error!(log, "panic"; "message" => message(panic), "at" => place, "thread" => name);
            }
        }
        flusher.flush(PATIENCE);
    }));
}

fn message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}
