//! The signals that end the program.
//!
//! SIGTERM, SIGINT, and SIGHUP where somebody hung up a terminal: stop. A SIGHUP to a daemon
//! means "read your configuration again", which this version cannot: it says so and goes on.
//! The first one decides; a storm of them is one ordered stop.

use std::fs::File;
use std::io;

use slog::{Logger, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives them. What arrives after the first is swallowed, since the handlers stay.
pub(crate) struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether there is a terminal that can be hung up. Once it is gone it cannot be asked.
    terminal: bool,
}

impl Signals {
    /// Begins to receive; from now on they no longer kill the process.
    ///
    /// # Errors
    /// Where the kernel refuses a handler.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            terminal: File::open("/dev/tty").is_ok(),
        })
    }

    /// Waits for the one that ends the program, and says which it was.
    pub(crate) async fn end(&mut self, log: &Logger) -> &'static str {
        loop {
            // Receiving a signal may be cancelled at any time: an unseen one stays pending.
            tokio::select! {
                biased;
                _ = self.term.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    if self.terminal {
                        return "SIGHUP";
                    }
                    warn!(log, "SIGHUP ignored: the configuration is only read at the start");
                }
            }
        }
    }
}
