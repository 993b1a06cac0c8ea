//! The signals that somebody sends to us and means for the command.

use std::fs::{self, File};
use std::io;
use std::task::Poll;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{self, SignalKind};

/// Those that are passed on. The rest does to us what it does.
const PASSED_ON: &[Signal] = &[
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Receives them.
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Begins to receive; from now on they no longer end us.
    ///
    /// # Errors
    /// Where the kernel refuses a handler.
    pub(super) fn new() -> io::Result<Self> {
        // What is ignored (`nohup`) stays so, for the command as well.
        let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let heard = PASSED_ON
            .iter()
            .filter(|&&signal| ignored >> (signal as u32 - 1) & 1 == 0);
        let received = heard.map(|&signal| {
            let received = unix::signal(SignalKind::from_raw(signal as i32))?;
            Ok((signal, received))
        });
        received.collect::<io::Result<_>>().map(Self)
    }

    /// The next one. May be cancelled at any time: an unseen one stays pending.
    pub(super) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (signal, received) in &mut self.0 {
                if let Poll::Ready(Some(())) = received.poll_recv(context) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Which signals a process ignores: bit 0 is signal 1 (proc(5)).
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Gives the command what was meant for it.
pub(super) fn pass_on(signal: Signal, pid: u32) {
    if matches!(signal, Signal::SIGINT | Signal::SIGQUIT) && is_in_foreground() {
        // Whoever pressed the key has sent it to all of us: twice would mean something else.
        return;
    }
    if let Ok(pid) = i32::try_from(pid) {
        // It may have ended in this moment, which is what is seen next.
        let _gone = kill(Pid::from_raw(pid), signal);
    }
}

/// Whether the keys of a terminal reach us and the command alike.
fn is_in_foreground() -> bool {
    File::open("/dev/tty")
        .ok()
        .and_then(|terminal| rustix::termios::tcgetpgrp(&terminal).ok())
        .is_some_and(|group| group == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_proc() {
        assert_eq!(ignored("Name:\tx\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored("SigIgn:\tnonsense\n"), 0);
        assert_eq!(ignored(""), 0);
    }
}
