//! The shim's life: one loop over one poll.
//!
//! ```text
//!              exec done              main exits, others left      nothing left
//!  Starting ──────────────▶ Running ──────────────────────▶ Remains ─────────────▶ Gone
//!     │ setup or exec failed   └──────── main exits, nothing left ──────────────────▲
//!     └──────────▶ Failed ──────────────────── child reaped ────────────────────────┘
//! ```
//! Happy path: Starting, Running, Gone. In `Remains` the stop ladder always runs: nothing is
//! started beside what is left of a service.
//!
//! Who outranks whom: a second stop (kill now) over the ladder's timer over its first step.
//! The child's failure pipe is read before its death is looked at, so `started` or
//! `start_failed` always comes first and `exited` comes once. Reports to the supervisor come
//! before anything that touches the disk.

mod birth;
mod end;
mod ladder;
mod output;
mod telling;

use crate::child::{self, Streams};
use crate::errand;
use crate::lines::{Lines, Mode};
use crate::log::Log;
use crate::oom::OomCount;
use crate::protocol::{self, Frame, Stage, VERSION, key, kind};
use crate::record::{self, ExitFacts, Identity};
use crate::spec::{self, Settings};
use crate::sys::{self, Errno, Fd, NONE, PollFd, Reaped, flag, signal};
use crate::text::{Digits, Text};
use crate::tree;

pub use self::birth::Ready;
use self::birth::{read_start, release, settle};

/// How long a supervisor that was told of the end has the machine to itself.
const TOLD_MS: u64 = 5;
const PAGE: usize = 4096;
/// The longest command after the first frame is shorter.
const COMMAND_BUFFER: usize = 512;
/// How long the service may have to wait for a supervisor that is gone: the next one comes, and
/// reads what waits, within this time, or what waits is thrown away.
const PATIENCE_MS: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Failed(Stage, Errno),
    Running,
    Remains(ExitFacts),
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ladder {
    /// Nobody wants it to stop.
    Idle,
    /// Asked; killed at that time (monotonic milliseconds).
    Asked { kill_at: u64 },
    /// SIGKILL was sent; again and a report at these times.
    Killing { again_at: u64, report_at: u64 },
}

struct Shim<'a> {
    settings: Settings<'a>,
    shim: Identity,
    main: Identity,
    phase: Phase,
    ladder: Ladder,
    /// How often a supervisor has asked for a stop.
    stops: u32,
    dir: Fd,
    supervisor: Fd,
    listener: Fd,
    signals: Fd,
    failure: Fd,
    output: Fd,
    log: Log<'a>,
    lines: Lines,
    /// Where the service notifies the supervisor. Nobody reads it here but while there is none.
    notify: Fd,
    /// Since when there is none (monotonic milliseconds).
    alone_since: u64,
    /// What the supervisor wants the next one to know.
    remembered: Text<{ protocol::MOST_REMEMBERED + 1 }>,
    buffer: &'static mut [u8],
    commands: [u8; COMMAND_BUFFER],
    commands_length: usize,
    oom: OomCount,
    /// How it ended, once nothing is left.
    last_exit: Option<ExitFacts>,
    /// Whether the last thing that we had to say was said to somebody.
    was_told: bool,
}

/// Runs the shim to its end; gives its exit code, which nobody depends on. `title` is what
/// process lists show of it.
#[must_use]
pub fn run(title: &mut [u8]) -> i32 {
    let Ok(ready) = settle() else {
        return 111;
    };
    // A spare one waits here until it is needed. Its stack is small by then.
    let Some((length, memory, companion)) = read_start(ready.supervisor) else {
        // The supervisor died before it had said what to start.
        return 0;
    };
    let (payload, _) = memory.split_at_mut(length);
    // SAFETY: the pages stay mapped while the frame is in use: `release` keeps the settings'.
    let payload: &'static [u8] =
        unsafe { core::slice::from_raw_parts(payload.as_ptr(), payload.len()) };
    let Some(frame) = Frame::parse(payload) else {
        return 111;
    };
    let settings = Settings::read(frame);
    show(title, settings.service.to_bytes());
    if frame.kind == kind::RUN.as_bytes() {
        return errand::run(frame, companion, &ready);
    }
    if frame.kind != kind::START.as_bytes() {
        return 111;
    }
    let mut shim = Shim {
        settings,
        shim: ready.shim,
        main: Identity {
            pid: 0,
            start_time: 0,
        },
        phase: Phase::Starting,
        ladder: Ladder::Idle,
        stops: 0,
        dir: ready.dir,
        supervisor: ready.supervisor,
        listener: NONE,
        signals: ready.signals,
        failure: ready.failure.0,
        output: ready.output.0,
        log: Log::new(settings.log, settings.log_max_size, settings.log_keep),
        lines: Lines::default(),
        notify: companion,
        alone_since: 0,
        remembered: Text::new(),
        buffer: ready.buffer,
        commands: [0; COMMAND_BUFFER],
        commands_length: 0,
        oom: OomCount::default(),
        last_exit: None,
        was_told: false,
    };
    shim.lines.begin(settings.listen, settings.frames);
    match shim.start(frame, ready.umask, ready.output.1, ready.failure.1) {
        Ok(()) => shim.supervise(frame, memory),
        Err((stage, errno)) => shim.report_failed(stage, errno),
    }
    shim.finish();
    0
}

/// Shows whose shim this is.
#[inline(never)]
fn show(title: &mut [u8], service: &[u8]) {
    let mut text = Text::<128>::new();
    text.push(b"supervisor-shim ").push(service);
    let count = text.as_bytes().len().min(title.len());
    title.fill(0);
    title[..count].copy_from_slice(&text.as_bytes()[..count]);
}

// What a call has on its stack is given back after it, unless the compiler makes it a part of
// its only caller, which lives as long as we do: hence `inline(never)` for all that is rare.
impl Shim<'_> {
    fn supervise(&mut self, frame: Frame<'_>, memory: &'static mut [u8]) {
        let mut memory = Some(memory);
        while self.phase != Phase::Gone {
            let mut fds = [
                self.failure,
                self.signals,
                self.supervisor,
                self.listener,
                self.output,
                if self.is_deserted() {
                    self.notify
                } else {
                    NONE
                },
            ]
            .map(|fd| PollFd {
                fd,
                events: flag::POLLIN,
                found: 0,
            });
            let _ = sys::poll(&mut fds, self.wait_ms());
            let [failure, signals, supervisor, listener, output, notify] =
                fds.map(|fd| fd.found != 0);
            if failure {
                self.on_failure_pipe();
            }
            if signals {
                self.on_child_signal();
            }
            if supervisor {
                self.on_command();
            }
            if listener {
                self.on_connection();
            }
            if output {
                self.copy_output();
            }
            if notify {
                self.drain_notify();
            }
            self.climb();
            if self.failure == NONE
                && let Some(memory) = memory.take()
            {
                release(frame, memory);
                sys::forget_stack();
            }
        }
    }

    fn wait_ms(&self) -> Option<u64> {
        let of_ladder = match self.ladder {
            Ladder::Idle => u64::MAX,
            Ladder::Asked { kill_at } => kill_at,
            Ladder::Killing {
                again_at,
                report_at,
            } => again_at.min(report_at),
        };
        let alone = self.supervisor == NONE && self.notify != NONE && !self.is_deserted();
        let of_notify = if alone {
            self.alone_since + PATIENCE_MS
        } else {
            u64::MAX
        };
        let at = of_ladder.min(of_notify);
        (at < u64::MAX).then(|| at.saturating_sub(sys::monotonic_ms()))
    }

    /// Whether there has been no supervisor for so long that the service must not wait for it.
    fn is_deserted(&self) -> bool {
        self.supervisor == NONE && sys::monotonic_ms() >= self.alone_since + PATIENCE_MS
    }

    /// A socket whose queue is full holds up who sends.
    #[inline(never)]
    fn drain_notify(&mut self) {
        const MOST: u32 = 1_000;
        for _ in 0..MOST {
            // The rest of a datagram, and what comes with it, is dropped by the kernel.
            if sys::read(self.notify, &mut [0_u8; 8]).is_err() {
                return;
            }
        }
    }

    #[inline(never)]
    fn on_child_signal(&mut self) {
        let mut ignored = [0_u8; 512];
        while matches!(sys::read(self.signals, &mut ignored), Ok(1..)) {}
        // Once reaped, its number may be given to another one that ends up with us.
        let mut main_lives = !matches!(self.phase, Phase::Remains(_));
        let mut ended = None;
        let left = loop {
            match sys::reap() {
                Reaped::Child(pid, status) if main_lives && pid == self.main.pid => {
                    main_lives = false;
                    ended = Some(status);
                }
                Reaped::Child(..) => {}
                Reaped::Nobody => break true,
                Reaped::NoChildren => break false,
            }
        };
        if let Some(status) = ended {
            if self.failure != NONE {
                self.on_failure_pipe();
            }
            match self.phase {
                Phase::Failed(stage, errno) => self.report_failed(stage, errno),
                _ => self.on_main_exit(status, left),
            }
        } else if let (Phase::Remains(exit), false) = (self.phase, left) {
            self.phase = Phase::Gone;
            self.tell(kind::GONE, &[]);
            self.last_exit = Some(exit);
        }
    }

    #[inline(never)]
    fn on_main_exit(&mut self, status: i32, left: bool) {
        let killed_by_us = matches!(self.ladder, Ladder::Killing { .. });
        let mut exit = ExitFacts {
            status,
            time_us: sys::wall_us(),
            oom: false,
        };
        if exit.signal() == Some(signal::KILL) && !killed_by_us {
            exit.oom = self.oom.killed(self.main.pid);
        }
        self.phase = if left {
            Phase::Remains(exit)
        } else {
            Phase::Gone
        };
        let last = self.last_words();
        self.tell_exit(kind::EXITED, exit, left);
        if !left {
            self.make_way(TOLD_MS);
        }
        self.log.append(&self.buffer[..last]);
        if left && !killed_by_us {
            self.ask_remains();
        }
        self.drain_output();
        if left {
            let _ = record::write_exit(self.dir, &self.settings, self.main, exit, true, true);
        } else {
            self.last_exit = Some(exit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reaps whatever this process has for a child: `cargo nextest` gives each test its own.
    #[test]
    fn f08_who_has_mains_number_once_that_is_reaped_is_not_main() {
        let mut bytes = Vec::new();
        protocol::encode(kind::START, &[(key::SERVICE, b"web")], &mut |piece| {
            bytes.extend_from_slice(piece);
        });
        let frame = Frame::parse(&bytes[4..]).unwrap();
        let settings = Settings::read(frame);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let identity = |pid| Identity { pid, start_time: 1 };
        let exit = ExitFacts {
            status: 3 << 8,
            time_us: 7,
            oom: false,
        };
        let mut shim = Shim {
            settings,
            shim: identity(sys::getpid()),
            main: identity(i32::try_from(child.id()).unwrap()),
            phase: Phase::Remains(exit),
            ladder: Ladder::Idle,
            stops: 0,
            dir: NONE,
            supervisor: NONE,
            listener: NONE,
            signals: NONE,
            failure: NONE,
            output: NONE,
            log: Log::new(settings.log, 0, 0),
            lines: Lines::default(),
            notify: NONE,
            alone_since: 0,
            remembered: Text::new(),
            buffer: &mut [],
            commands: [0; COMMAND_BUFFER],
            commands_length: 0,
            oom: OomCount::default(),
            last_exit: None,
            was_told: false,
        };
        while shim.phase != Phase::Gone {
            shim.on_child_signal();
        }
        assert_eq!(shim.last_exit, Some(exit), "it ended as main did");
        assert!(child.try_wait().is_err(), "it was reaped");
    }
}
