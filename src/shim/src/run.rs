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

/// What we inherit: the socket to the supervisor that started us; and, where we are to be a
/// service's, the lock of our directory, already taken, and that directory, which gets its place
/// when we get our service.
const INHERITED: [Fd; 3] = [0, 1, 2];
/// Ours live above what a child gets.
const OWN_FDS: Fd = 10;

/// How long a fork that finds no room is tried again: DESIGN wants a short hiccup survived.
const FORK_TRIES: u32 = 20;
const FORK_WAIT_MS: u64 = 100;
/// While killing, how often the tree is walked again for what was forked meanwhile.
const KILL_AGAIN_MS: u64 = 20;
/// While blocked after SIGKILL, how often that is said.
const REPORT_MS: u64 = 1000;
/// How long a supervisor that was told of the end has the machine to itself.
const TOLD_MS: u64 = 5;
/// How long a replacement has it, before a sync holds up the file system.
const REPLACED_MS: u64 = 50;
/// What is read from the log pipe at once.
const LOG_BUFFER: usize = 64 << 10;
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

/// All that can be done before it is known for whom: nothing of it stands in the way of a start.
#[derive(Debug)]
pub struct Ready {
    /// The socket to the supervisor.
    pub supervisor: Fd,
    /// The directory that becomes a generation's.
    dir: Fd,
    /// The file mode mask that we were started with.
    pub umask: u32,
    /// Ourselves.
    pub shim: Identity,
    /// Readable when a child has ended.
    pub signals: Fd,
    /// Of what the service prints: (read, write).
    output: (Fd, Fd),
    /// Of why it could not be executed: (read, write).
    pub failure: (Fd, Fd),
    buffer: &'static mut [u8],
}

/// Leaves everything of the supervisor's behind but what we inherit.
#[inline(never)]
fn settle() -> sys::Result<Ready> {
    // Closing first: a descriptor that our starter leaked must not live as long as we do.
    let _ = sys::close_from(3, false);
    let [socket, lock, dir] = INHERITED;
    let supervisor = sys::dup_above(socket, OWN_FDS)?;
    // Held as long as this is open, which is as long as we live.
    sys::dup_above(lock, OWN_FDS)?;
    let dir = sys::dup_above(dir, OWN_FDS)?;
    let null = sys::open(NONE, c"/dev/null", flag::O_RDWR, 0)?;
    for fd in 0..3 {
        sys::dup_onto(null, fd)?;
    }
    sys::close(null);
    sys::block_signals(true);
    sys::default_signals();
    // Fails only where we lead a group already, and then nobody signals that group.
    let _ = sys::setsid();
    sys::prctl(sys::pr::SET_CHILD_SUBREAPER, 1)?;
    sys::prctl(sys::pr::SET_NAME, c"supervisor-shim".as_ptr() as usize)?;
    let umask = sys::umask(0o077);
    sys::chdir(c"/")?;
    let (output, failure) = (sys::pipe()?, sys::pipe()?);
    sys::set_nonblocking(output.0)?;
    sys::set_nonblocking(failure.0)?;
    Ok(Ready {
        supervisor,
        dir,
        umask,
        shim: tree::identity(sys::getpid()),
        signals: sys::child_signals()?,
        output,
        failure,
        buffer: sys::map(LOG_BUFFER)?,
    })
}

/// Reads the first frame into pages of its own: (payload's length, pages, the descriptor that
/// comes with its first byte). For a service that is its notify socket, where it has one; for a
/// command its output.
fn read_start(supervisor: Fd) -> Option<(usize, &'static mut [u8], Fd)> {
    let mut head = [0_u8; 4];
    let (count, companion) = sys::receive(supervisor, &mut head).ok()?;
    if count == 0 {
        return None;
    }
    read_exactly(supervisor, &mut head[count..])?;
    let length = u32::from_le_bytes(head) as usize;
    if length == 0 || length > protocol::MAX_FRAME {
        return None;
    }
    let memory = sys::map(length.next_multiple_of(PAGE)).ok()?;
    read_exactly(supervisor, &mut memory[..length])?;
    Some((length, memory, companion))
}

fn read_exactly(fd: Fd, mut into: &mut [u8]) -> Option<()> {
    while !into.is_empty() {
        let count = sys::read(fd, into).ok().filter(|&count| count > 0)?;
        into = &mut into[count..];
    }
    Some(())
}

// What a call has on its stack is given back after it, unless the compiler makes it a part of
// its only caller, which lives as long as we do: hence `inline(never)` for all that is rare.
impl Shim<'_> {
    // === starting ===

    #[inline(never)]
    fn start(
        &mut self,
        frame: Frame<'_>,
        umask: u32,
        output_end: Fd,
        failure_end: Fd,
    ) -> core::result::Result<(), (Stage, Errno)> {
        let setup = |errno| (Stage::Setup, errno);
        sys::set_nonblocking(self.supervisor).map_err(setup)?;
        let pointers = (spec::pointers(frame) * size_of::<*const u8>()).next_multiple_of(PAGE);
        let room_bytes = sys::map(pointers).map_err(setup)?;
        let room_at = room_bytes.as_mut_ptr().cast::<*const u8>();
        // SAFETY: fresh zeroed pages, aligned, of that size; zeros are null pointers.
        let room =
            unsafe { core::slice::from_raw_parts_mut(room_at, pointers / size_of::<*const u8>()) };
        let mut child = spec::child(frame, room);
        if let Some(uid) = child.uid {
            // So that the service may reopen /dev/stdout, as web servers do.
            let _ = sys::fchown(output_end, uid, child.gid.unwrap_or(u32::MAX));
        }
        let streams = Streams {
            output: output_end,
            failure: failure_end,
        };
        let cgroup = self.make_cgroup();
        let mut tries = 0;
        let pid = loop {
            match sys::fork(cgroup) {
                Ok(0) => {
                    let shim = self.shim.pid;
                    let (stage, errno) = child::become_service(&mut child, streams, umask, shim);
                    child::report(failure_end, stage, errno);
                    sys::exit(127);
                }
                Ok(pid) => break pid,
                Err(Errno::EAGAIN | Errno::ENOMEM) if tries < FORK_TRIES => {
                    tries += 1;
                    sys::sleep_ms(FORK_WAIT_MS);
                }
                Err(errno) => return Err((Stage::Fork, errno)),
            }
        };
        sys::close(cgroup);
        // The output's other end stays open: its closing by a service that dies would wake us
        // before the death itself does, and on the same processor in its stead.
        sys::close(failure_end);
        sys::unmap(room_bytes);
        // What else there is to do would be done on the child's processor, before it.
        self.await_exec();
        self.main = tree::identity(pid);
        // Where it cannot be written (a full disk) the service runs all the same: the next
        // supervisor asks us over the socket.
        let _ = record::write_start(self.dir, &self.settings, self.shim, self.main);
        Ok(())
    }

    /// Waits until the child has executed, or failed to, but not for one that takes its time:
    /// it dies with us until it has executed, so no record is missed yet.
    fn await_exec(&self) {
        const EXEC_MS: u64 = 20;
        let mut failure = [PollFd {
            fd: self.failure,
            events: flag::POLLIN,
            found: 0,
        }];
        let _ = sys::poll(&mut failure, Some(EXEC_MS));
    }

    /// Makes the service's cgroup and opens it; the subreaper does without as well.
    #[inline(never)]
    fn make_cgroup(&self) -> Fd {
        if self.settings.cgroup.is_empty() {
            return NONE;
        }
        /// The last shim to end removes the parent, at worst just now.
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            if sys::mkdir(self.settings.cgroup, 0o755) != Err(Errno::ENOENT) {
                break;
            }
            let _ = sys::mkdir(self.cgroup_parent().as_c(), 0o755);
        }
        sys::open(NONE, self.settings.cgroup, flag::O_RDONLY, 0).unwrap_or(NONE)
    }

    /// The directory of all cgroups of our data directory.
    fn cgroup_parent(&self) -> Text<4096> {
        let path = self.settings.cgroup.to_bytes();
        let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let mut parent = Text::new();
        parent.push(&path[..end]);
        parent
    }

    /// The exec has happened, or failed.
    #[inline(never)]
    fn on_failure_pipe(&mut self) {
        let told = match child::read_report(self.failure) {
            Err(Errno::EAGAIN) => return,
            told => told,
        };
        sys::close(self.failure);
        self.failure = NONE;
        if let Ok(Some((stage, errno))) = told {
            self.phase = Phase::Failed(stage, errno);
            return;
        }
        self.phase = Phase::Running;
        let (mut pid, mut start) = (Digits::default(), Digits::default());
        self.tell(
            kind::STARTED,
            &[
                (key::PID, pid.of(i64::from(self.main.pid))),
                (key::START_TIME, start.of(self.main.start_time)),
            ],
        );
        self.listen();
        self.oom = OomCount::now();
    }

    #[inline(never)]
    fn listen(&mut self) {
        // Through /proc, as the directory's own path may be longer than an address holds.
        let mut path = Text::<64>::new();
        path.push(b"/proc/self/fd/")
            .push_number(i64::from(self.dir))
            .push(b"/")
            .push(protocol::SOCKET.as_bytes());
        let _ = sys::unlink(self.dir, c"sock", 0);
        self.listener = sys::listen_unix(path.as_c()).unwrap_or(NONE);
    }

    #[inline(never)]
    fn report_failed(&mut self, stage: Stage, errno: Errno) {
        self.phase = Phase::Gone;
        record::remove_start(self.dir);
        let mut digits = Digits::default();
        self.tell(
            kind::START_FAILED,
            &[
                (key::STAGE, stage.as_str().as_bytes()),
                (key::ERRNO, digits.of(i64::from(errno.0))),
            ],
        );
    }

    // === the loop ===

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

    // === stopping ===

    /// TERM for whoever is left after main, and the ladder's timer where none runs.
    fn ask_remains(&mut self) {
        tree::signal_all(self.shim.pid, &[signal::TERM, signal::CONT]);
        if self.ladder == Ladder::Idle {
            self.ladder = self.asked();
        }
    }

    fn asked(&self) -> Ladder {
        let kill_at = sys::monotonic_ms().saturating_add(self.settings.stop_timeout_ms);
        Ladder::Asked { kill_at }
    }

    /// `wanted` is how often the present supervisor has asked so far: what it repeats after a
    /// broken connection counts once, and a new supervisor's first does not kill.
    #[inline(never)]
    fn stop(&mut self, wanted: Option<i64>) {
        let wanted = wanted.map_or(self.stops + 1, |wanted| wanted as u32);
        if wanted <= self.stops {
            return;
        }
        self.stops = wanted;
        match (self.ladder, self.stops) {
            (Ladder::Idle, _) => {
                self.ladder = self.asked();
                // Main is not reaped yet, so its number and its group's are still its own.
                // The group exists once the child has called setsid.
                let stop_signal = self.settings.stop_signal;
                if sys::kill(-self.main.pid, stop_signal).is_err() {
                    let _ = sys::kill(self.main.pid, stop_signal);
                }
                let _ = sys::kill(-self.main.pid, signal::CONT);
            }
            // The ladder that main's own exit began counts for the first.
            (Ladder::Asked { .. }, 1) => {}
            (Ladder::Asked { .. } | Ladder::Killing { .. }, _) => self.kill(),
        }
    }

    /// Its stop may last so long from now: what it has already is not taken away.
    fn extend(&mut self, ms: u64) {
        if let Ladder::Asked { kill_at } = &mut self.ladder {
            *kill_at = (*kill_at).max(sys::monotonic_ms().saturating_add(ms));
        }
    }

    /// The ladder's timer.
    #[inline(never)]
    fn climb(&mut self) {
        let now = sys::monotonic_ms();
        match self.ladder {
            _ if self.phase == Phase::Gone => {}
            Ladder::Idle => {}
            Ladder::Asked { kill_at } => {
                if now >= kill_at {
                    self.kill();
                }
            }
            Ladder::Killing {
                again_at,
                mut report_at,
            } => {
                if now >= report_at {
                    report_at = now + REPORT_MS;
                    let list = tree::describe(self.shim.pid);
                    if !list.as_bytes().is_empty() {
                        self.tell(kind::BLOCKED, &[(key::LIST, list.as_bytes())]);
                    }
                }
                if now >= again_at {
                    self.kill_once();
                    // Less often where it takes long: a walk reads every process's stat.
                    let waited = now.saturating_sub(report_at.saturating_sub(REPORT_MS));
                    let again_at = now + KILL_AGAIN_MS.max(waited.min(REPORT_MS / 4));
                    self.ladder = Ladder::Killing {
                        again_at,
                        report_at,
                    };
                } else {
                    self.ladder = Ladder::Killing {
                        again_at,
                        report_at,
                    };
                }
            }
        }
    }

    fn kill(&mut self) {
        let now = sys::monotonic_ms();
        self.kill_once();
        self.ladder = match self.ladder {
            Ladder::Killing { report_at, .. } => Ladder::Killing {
                again_at: now + KILL_AGAIN_MS,
                report_at,
            },
            Ladder::Idle | Ladder::Asked { .. } => Ladder::Killing {
                again_at: now + KILL_AGAIN_MS,
                report_at: now + REPORT_MS,
            },
        };
    }

    #[inline(never)]
    fn kill_once(&self) {
        tree::kill_cgroup(self.settings.cgroup);
        if !matches!(self.phase, Phase::Remains(_)) {
            let _ = sys::kill(-self.main.pid, signal::KILL);
            let _ = sys::kill(self.main.pid, signal::KILL);
        }
        tree::signal_all(self.shim.pid, &[signal::KILL]);
    }

    // === output ===

    fn copy_output(&mut self) {
        // It has no end: we hold its other side ourselves.
        if let Ok(count @ 1..) = sys::read(self.output, self.buffer) {
            self.lines.take(&self.buffer[..count]);
            self.tell_lines();
            self.log.append(&self.buffer[..count]);
            if count > PAGE {
                // A burst must not stay in our memory for good.
                sys::forget(&mut self.buffer[PAGE..]);
            }
        }
    }

    fn tell_lines(&mut self) {
        if self.lines.tell(self.supervisor).is_err() {
            self.let_go();
        }
    }

    /// Where lines are wanted, its last ones are told before its end: what there is of them in
    /// the pipe, as much as one read gives. Returns how much that is; the log has it to come.
    #[inline(never)]
    fn last_words(&mut self) -> usize {
        if !self.lines.is_wanted() {
            return 0;
        }
        let mut count = 0;
        if self.output != NONE {
            count = sys::read(self.output, self.buffer).unwrap_or(0);
            self.lines.take(&self.buffer[..count]);
        }
        if self.lines.tell_last(self.supervisor).is_err() {
            self.let_go();
        }
        count
    }

    /// What is in the pipe now; at most what a pipe holds, so that a writer who outlives the
    /// tree (it was handed the descriptor) cannot keep us.
    fn drain_output(&mut self) {
        if self.output == NONE {
            return;
        }
        const MOST: u32 = 1 << 20 >> 16;
        for _ in 0..MOST {
            match sys::read(self.output, self.buffer) {
                Ok(count @ 1..) => {
                    self.lines.take(&self.buffer[..count]);
                    self.log.append(&self.buffer[..count]);
                }
                _ => return,
            }
        }
    }

    // === the supervisor ===

    /// A supervisor that does not read for so long that its socket is full is let go: it, or
    /// the next one, connects again and hears all of it in `hello`.
    fn tell(&mut self, kind: &str, fields: &[(&str, &[u8])]) {
        self.tell_with(kind, fields, NONE);
    }

    #[inline(never)]
    fn tell_with(&mut self, kind: &str, fields: &[(&str, &[u8])], along: Fd) {
        self.was_told = false;
        if self.supervisor == NONE {
            return;
        }
        let mut frame = Text::<2048>::new();
        protocol::encode(kind, fields, &mut |piece| {
            frame.push(piece);
        });
        let sent = if along == NONE {
            sys::send(self.supervisor, frame.as_bytes())
        } else {
            sys::send_with(self.supervisor, frame.as_bytes(), along)
        };
        self.was_told = sent == Ok(frame.as_bytes().len());
        if !self.was_told {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        sys::close(self.supervisor);
        self.supervisor = NONE;
        self.alone_since = sys::monotonic_ms();
        self.lines.end();
        self.commands_length = 0;
        if self.listener == NONE && self.failure == NONE {
            self.listen();
        }
    }

    fn tell_exit(&mut self, kind: &str, exit: ExitFacts, left: bool) {
        let mut hello = Hello::default();
        let fields = hello.exit_fields(exit, left);
        self.tell(kind, &fields);
    }

    #[inline(never)]
    fn on_connection(&mut self) {
        let Ok(fd) = sys::accept(self.listener) else {
            return;
        };
        if sys::peer_uid(fd) != Ok(sys::geteuid()) {
            sys::close(fd);
            return;
        }
        sys::close(self.supervisor);
        self.supervisor = fd;
        self.lines.end();
        self.commands_length = 0;
        self.say_hello();
    }

    #[inline(never)]
    fn say_hello(&mut self) {
        let mut digits: [Digits; 6] = core::array::from_fn(|_| Digits::default());
        let [version, generation, shim, shim_start, pid, start] = &mut digits;
        let settings = self.settings;
        let state: &[u8] = match self.phase {
            Phase::Starting | Phase::Failed(..) => b"starting",
            Phase::Running => b"running",
            Phase::Remains(_) => b"remains",
            Phase::Gone => b"gone",
        };
        let remembered = self.remembered.clone();
        let facts: [(&str, &[u8]); 9] = [
            (key::PROTOCOL, version.of(i64::from(VERSION))),
            (key::SERVICE, settings.service.to_bytes()),
            (key::GENERATION, generation.of(settings.generation)),
            (key::SHIM_PID, shim.of(i64::from(self.shim.pid))),
            (key::SHIM_START_TIME, shim_start.of(self.shim.start_time)),
            (key::PID, pid.of(i64::from(self.main.pid))),
            (key::START_TIME, start.of(self.main.start_time)),
            (key::STATE, state),
            (key::TEXT, remembered.as_bytes()),
        ];
        let Phase::Remains(exit) = self.phase else {
            return self.tell_with(kind::HELLO, &facts, self.notify);
        };
        let mut hello = Hello::default();
        let mut all: [(&str, &[u8]); 13] = [("", b""); 13];
        all[..9].copy_from_slice(&facts);
        all[9..].copy_from_slice(&hello.exit_fields(exit, true));
        self.tell_with(kind::HELLO, &all, self.notify);
    }

    #[inline(never)]
    fn on_command(&mut self) {
        let free = &mut self.commands[self.commands_length..];
        match sys::read(self.supervisor, free) {
            Err(Errno::EAGAIN) => return,
            Ok(0) | Err(_) => return self.let_go(),
            Ok(count) => self.commands_length += count,
        }
        loop {
            let commands = self.commands;
            let (payload, used) = match protocol::first_frame(&commands[..self.commands_length]) {
                Ok(Some(found)) => found,
                Ok(None) if self.commands_length < COMMAND_BUFFER => return,
                // Nothing that we know is so long.
                Ok(None) | Err(protocol::TooLong) => return self.let_go(),
            };
            self.commands.copy_within(used..self.commands_length, 0);
            self.commands_length -= used;
            if let Some(frame) = Frame::parse(payload) {
                self.obey(frame);
            }
        }
    }

    fn obey(&mut self, frame: Frame<'_>) {
        if frame.kind == kind::STOP.as_bytes() {
            self.stop(frame.number(key::NUMBER));
        } else if frame.kind == kind::SIGNAL.as_bytes()
            && matches!(self.phase, Phase::Starting | Phase::Running)
            && let Some(number) = frame.number(key::NUMBER)
        {
            let _ = sys::kill(self.main.pid, number as i32);
        } else if frame.kind == kind::LISTEN.as_bytes() {
            let wanted = frame.get(key::LISTEN).map_or(Mode::Off, Mode::from_word);
            self.lines.begin(wanted, spec::frames(frame));
        } else if frame.kind == kind::MORE.as_bytes() {
            self.lines.more(spec::frames(frame));
            self.tell_lines();
        } else if frame.kind == kind::EXTEND.as_bytes()
            && let Some(ms) = frame
                .number(key::NUMBER)
                .and_then(|n| u64::try_from(n).ok())
        {
            self.extend(ms);
        } else if frame.kind == kind::REMEMBER.as_bytes()
            && let Some(text) = frame.get(key::TEXT)
        {
            self.remembered = Text::new();
            self.remembered.push(text);
        }
    }

    /// Nothing of the service is left, and that has been told.
    ///
    /// The record is written twice: at once for the next supervisor, and a moment later so
    /// that it survives a power cut. A sync at once would hold up the file system's journal
    /// just when the replacement needs it.
    #[inline(never)]
    fn finish(&mut self) {
        self.record_exit(false);
        self.drain_output();
        let _ = sys::unlink(self.dir, c"sock", 0);
        self.remove_cgroup();
        if self.last_exit.is_some() {
            self.make_way(REPLACED_MS);
        }
        self.record_exit(true);
        if !self.settings.cgroup.is_empty() {
            // Fails as long as another service has one, or the replacement has its own.
            let parent = self.cgroup_parent();
            let _ = sys::unlink(NONE, parent.as_c(), flag::AT_REMOVEDIR);
        }
    }

    #[inline(never)]
    fn record_exit(&self, durable: bool) {
        if let Some(exit) = self.last_exit {
            let _ = record::write_exit(self.dir, &self.settings, self.main, exit, false, durable);
        }
    }

    /// Leaves processor and disk to the replacement, where a supervisor knows of the end.
    /// Whoever looks for the record meanwhile finds our lock held, and waits for us.
    fn make_way(&self, ms: u64) {
        if self.was_told {
            sys::sleep_ms(ms);
        }
    }

    fn remove_cgroup(&self) {
        /// The kernel needs a moment after the last one was reaped.
        const TRIES: u32 = 20;
        if self.settings.cgroup.is_empty() {
            return;
        }
        for _ in 0..TRIES {
            match sys::unlink(NONE, self.settings.cgroup, flag::AT_REMOVEDIR) {
                Ok(()) | Err(Errno::ENOENT) => break,
                Err(_) => sys::sleep_ms(10),
            }
        }
    }
}

/// The numbers of an exit as text, for as long as their frame is built.
#[derive(Default)]
struct Hello {
    how: Digits,
    time: Digits,
}

impl Hello {
    fn exit_fields(&mut self, exit: ExitFacts, left: bool) -> [(&'static str, &[u8]); 4] {
        let how = match exit.signal() {
            Some(signal) => (key::SIGNAL, i64::from(signal)),
            None => (key::CODE, i64::from(exit.code().unwrap_or(0))),
        };
        let flag = |on: bool| -> &'static [u8] { if on { b"1" } else { b"0" } };
        [
            (how.0, self.how.of(how.1)),
            (key::TIME_US, self.time.of(exit.time_us)),
            (key::OOM, flag(exit.oom)),
            (key::LEFT, flag(left)),
        ]
    }
}

/// Gives the frame's pages back but those of the settings, which stand at its front, and
/// wipes what of the arguments and the environment (secrets) shares a page with them.
fn release(frame: Frame<'_>, memory: &'static mut [u8]) {
    let first = frame
        .fields()
        .find(|(name, _)| *name == key::ARG.as_bytes() || *name == key::ENV.as_bytes());
    let Some((name, _)) = first else {
        return;
    };
    let settings_end = name.as_ptr() as usize - memory.as_ptr() as usize;
    let page_end = settings_end.next_multiple_of(PAGE).min(memory.len());
    let (kept, rest) = memory.split_at_mut(page_end);
    kept[settings_end..].fill(0);
    // Where the kernel's pages are larger than ours, some of it stays.
    rest.fill(0);
    if !rest.is_empty() {
        sys::unmap(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_environment_stays_even_where_pages_cannot_be_given_back() {
        let mut bytes = Vec::new();
        let long = [b'x'; 6000];
        let fields: [(&str, &[u8]); 3] = [
            (key::SERVICE, b"web"),
            (key::ENV, b"PASSWORD=secret"),
            (key::ENV, &long),
        ];
        protocol::encode(kind::START, &fields, &mut |piece| {
            bytes.extend_from_slice(piece);
        });
        let payload = &bytes[4..];
        // As where those of the kernel are larger than 4 kB: it is no whole page of its.
        let pages = sys::map(64 << 10).unwrap();
        let memory = &mut pages[16..][..payload.len().next_multiple_of(PAGE)];
        memory[..payload.len()].copy_from_slice(payload);
        let (at, length) = (memory.as_ptr(), memory.len());
        // SAFETY: it stays mapped: `release` cannot give it back.
        let seen = || unsafe { core::slice::from_raw_parts(at, length) };
        let frame = Frame::parse(&seen()[..payload.len()]).unwrap();
        release(frame, memory);
        let contains = |what: &[u8]| seen().windows(what.len()).any(|part| part == what);
        assert!(contains(b"web"), "the settings stay");
        assert!(!contains(b"secret") && !contains(b"xx"));
    }
}
