//! A command that is run to its end and leaves nothing behind: a probe's.
//!
//! ```text
//!  run ──▶ runs ── main exits: `exited` ──────────┬──▶ all that is left is killed, ──▶ the end
//!           └───── the supervisor hangs up ───────┘    again and again
//! ```
//!
//! Hanging up is how it is ended early, and what our supervisor's death does, too: nothing is
//! on record, nobody takes it over. Its output goes to the descriptor that came with it.

use crate::child::{self, Streams};
use crate::protocol::{self, Frame, Stage, key, kind};
use crate::record::ExitFacts;
use crate::run::Ready;
use crate::spec;
use crate::sys::{self, Errno, Fd, NONE, PollFd, Reaped, flag, signal};
use crate::text::{Digits, Text};
use crate::tree;

/// While killing, how often the tree is walked again for what was forked meanwhile; less and
/// less often, as each walk reads every process's stat.
const KILL_AGAIN_MS: u64 = 20;
const KILL_SELDOM_MS: u64 = 1000;

struct Errand {
    own: i32,
    /// Zero once it is reaped: its number may be another's then.
    main: i32,
    supervisor: Fd,
    signals: Fd,
    failure: Fd,
    /// When the tree is killed next, and how long after that again; `None` while main runs.
    killing: Option<(u64, u64)>,
}

/// Runs the command of a `run` frame to its end; gives the shim's exit code.
#[must_use]
#[inline(never)]
pub fn run(frame: Frame<'_>, output: Fd, ready: &Ready) -> i32 {
    if output == NONE {
        return 111;
    }
    let mut errand = Errand {
        own: ready.shim.pid,
        main: 0,
        supervisor: ready.supervisor,
        signals: ready.signals,
        failure: ready.failure.0,
        killing: None,
    };
    match errand.start(frame, output, ready) {
        Ok(()) => {
            sys::close(output);
            errand.attend();
        }
        Err((stage, errno)) => errand.tell_failed(stage, errno),
    }
    0
}

impl Errand {
    fn start(
        &mut self,
        frame: Frame<'_>,
        output: Fd,
        ready: &Ready,
    ) -> core::result::Result<(), (Stage, Errno)> {
        let setup = |errno| (Stage::Setup, errno);
        sys::set_nonblocking(self.supervisor).map_err(setup)?;
        let (umask, failure_end) = (ready.umask, ready.failure.1);
        let bytes = sys::map(spec::pointers(frame) * size_of::<*const u8>()).map_err(setup)?;
        let room_at = bytes.as_mut_ptr().cast::<*const u8>();
        // SAFETY: fresh zeroed pages, aligned, of that size; zeros are null pointers.
        let room = unsafe { core::slice::from_raw_parts_mut(room_at, spec::pointers(frame)) };
        let mut child = spec::child(frame, room);
        if let Some(uid) = child.uid {
            // So that it may reopen /dev/stdout.
            let _ = sys::fchown(output, uid, child.gid.unwrap_or(u32::MAX));
        }
        let streams = Streams {
            output,
            failure: failure_end,
        };
        match sys::fork(NONE) {
            Ok(0) => {
                let (stage, errno) = child::become_service(&mut child, streams, umask, self.own);
                child::report(failure_end, stage, errno);
                sys::exit(127);
            }
            Ok(pid) => self.main = pid,
            Err(errno) => return Err((Stage::Fork, errno)),
        }
        sys::close(failure_end);
        Ok(())
    }

    fn attend(&mut self) {
        loop {
            let wait = self
                .killing
                .map(|(at, _)| at.saturating_sub(sys::monotonic_ms()));
            let mut fds = [self.failure, self.signals, self.supervisor].map(|fd| PollFd {
                fd,
                events: flag::POLLIN,
                found: 0,
            });
            let _ = sys::poll(&mut fds, wait);
            let [failure, signals, supervisor] = fds.map(|fd| fd.found != 0);
            if failure {
                self.on_failure_pipe();
            }
            if signals && self.reap() {
                return;
            }
            if supervisor {
                // It has nothing more to say than that it hangs up.
                sys::close(self.supervisor);
                self.supervisor = NONE;
                self.kill_from_now();
            }
            self.kill();
        }
    }

    /// The exec has happened, or failed.
    fn on_failure_pipe(&mut self) {
        let told = child::read_report(self.failure);
        if told != Err(Errno::EAGAIN) {
            sys::close(self.failure);
            self.failure = NONE;
        }
        if let Ok(Some((stage, errno))) = told {
            self.tell_failed(stage, errno);
        }
    }

    /// Reaps whoever has ended. `true` if nobody is left.
    fn reap(&mut self) -> bool {
        let mut ignored = [0_u8; 512];
        while matches!(sys::read(self.signals, &mut ignored), Ok(1..)) {}
        loop {
            match sys::reap() {
                Reaped::Child(pid, status) if pid == self.main => {
                    self.main = 0;
                    if self.failure != NONE {
                        self.on_failure_pipe();
                    }
                    self.tell_exit(status);
                    self.kill_from_now();
                }
                Reaped::Child(..) => {}
                Reaped::Nobody => return false,
                Reaped::NoChildren => return true,
            }
        }
    }

    fn kill_from_now(&mut self) {
        if self.killing.is_none() {
            self.killing = Some((0, KILL_AGAIN_MS));
        }
    }

    fn kill(&mut self) {
        let now = sys::monotonic_ms();
        let Some((at, pause)) = self.killing else {
            return;
        };
        if now < at {
            return;
        }
        if self.main != 0 {
            let _ = sys::kill(-self.main, signal::KILL);
            let _ = sys::kill(self.main, signal::KILL);
        }
        tree::signal_all(self.own, &[signal::KILL]);
        self.killing = Some((now + pause, (pause * 2).min(KILL_SELDOM_MS)));
    }

    fn tell_failed(&mut self, stage: Stage, errno: Errno) {
        let mut digits = Digits::default();
        self.tell(
            kind::START_FAILED,
            &[
                (key::STAGE, stage.as_str().as_bytes()),
                (key::ERRNO, digits.of(i64::from(errno.0))),
            ],
        );
    }

    fn tell_exit(&mut self, status: i32) {
        let exit = ExitFacts {
            status,
            time_us: 0,
            oom: false,
        };
        let (key, number) = match exit.signal() {
            Some(signal) => (key::SIGNAL, signal),
            None => (key::CODE, exit.code().unwrap_or(0)),
        };
        let mut digits = Digits::default();
        self.tell(kind::EXITED, &[(key, digits.of(i64::from(number)))]);
    }

    fn tell(&self, kind: &str, fields: &[(&str, &[u8])]) {
        let mut frame = Text::<256>::new();
        protocol::encode(kind, fields, &mut |piece| {
            frame.push(piece);
        });
        // Whoever has hung up does not want to know.
        let _ = sys::send(self.supervisor, frame.as_bytes());
    }
}
