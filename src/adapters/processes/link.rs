//! The talk with one shim: what it reports becomes events, what is wanted becomes commands.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until};

use supervisor_actors::ports::output::Hearing;
use supervisor_actors::ports::{Process, ProcessEvent, ProcessSink};
use supervisor_actors::spec::ProcessSpec;
use supervisor_core::Timestamp;
use supervisor_core::event::{Exit, StartFailure, StartFault};
use supervisor_shim::protocol::{self, Frame, Stage, key, kind};

use super::adopt::{Found, inspect};
use super::doubt::Doubt;
use super::failure;
use super::lost::{self, Orphans};
use super::output::{self, Asked, Tailing};
use super::proc_fs::{self, Identity};
use super::records::GenerationDir;
use super::vigil::{Silence, Vigil};

/// What the holder of a process and the task that tends it share.
#[derive(Default)]
pub(super) struct Shared {
    stream: RefCell<Option<Rc<UnixStream>>>,
    /// What the socket did not take at once.
    outbox: RefCell<Vec<u8>>,
    /// What is said of more output, and wakes the task for whatever is wanted.
    asked: Arc<Asked>,
    /// What its shim is to tell the next supervisor.
    note: RefCell<String>,
    /// Until when its stop may last, where it was extended.
    extended: Cell<Option<Instant>>,
    main_lives: Cell<bool>,
    stops: Cell<u32>,
    abandoned: Cell<bool>,
}

/// A process, by its shim. Dropping it lets go of the shim, which goes on by itself until
/// somebody adopts it.
pub(super) struct ShimProcess(Rc<Shared>);

/// What has been told of a process, so that nothing is told twice.
pub(super) struct Life {
    pub(super) sink: ProcessSink,
    pub(super) process: Arc<ProcessSpec>,
    pub(super) dir: GenerationDir,
    /// Whom to end if the shim is lost.
    pub(super) orphans: Orphans,
    pub(super) shim_pid: i32,
    pub(super) started: bool,
    pub(super) exit: Option<Exit>,
    pub(super) over: bool,
    /// Sees its main process end although its shim may not say so.
    pub(super) vigil: Vigil,
    /// What is wanted of its output.
    pub(super) hearing: Option<Hearing>,
    /// Where that goes in any case.
    pub(super) log: PathBuf,
    /// In place of a shim that is too old to tell.
    pub(super) tailing: Option<Tailing>,
}

/// How long a shim that was asked to stop its service may be silent before it is continued:
/// somebody may have stopped it, and one that is well is not harmed.
const SUSPICIOUS: Duration = Duration::from_secs(1);
/// How long beyond the stop timeout a stopping shim may be silent: it says every second who
/// blocks it. After that it is taken for hung, and its service taken from it.
const SILENCE: Duration = Duration::from_secs(10);

enum End {
    /// The connection broke.
    Broken,
    /// Nobody holds the process any more.
    Abandoned,
}

impl Shared {
    /// A process to hand out, and what the task keeps.
    pub(super) fn new(main_lives: bool) -> (Box<dyn Process>, Rc<Self>) {
        let shared = Rc::new(Self {
            main_lives: Cell::new(main_lives),
            ..Self::default()
        });
        (Box::new(ShimProcess(Rc::clone(&shared))), shared)
    }

    /// How many times somebody asked it to stop.
    pub(super) fn stops(&self) -> u32 {
        self.stops.get()
    }

    /// Whether nobody holds the process any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// Until something is wanted.
    pub(super) async fn woken(&self) {
        self.asked.wake.notified().await;
    }

    /// Queues bytes, and sends at once what the socket takes.
    pub(super) fn send(&self, bytes: &[u8]) {
        self.outbox.borrow_mut().extend_from_slice(bytes);
        self.flush();
        if !self.outbox.borrow().is_empty() {
            self.asked.wake.notify_one();
        }
    }

    fn flush(&self) {
        let stream = self.stream.borrow();
        let Some(stream) = stream.as_ref() else {
            return;
        };
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.is_empty() {
            match stream.try_write(&outbox) {
                Ok(count) => drop(outbox.drain(..count)),
                // Full: the task goes on when there is room. Broken: the task notices, too,
                // and commands that were lost are repeated to whom it finds then.
                Err(_) => return,
            }
        }
        *outbox = Vec::new();
    }

    fn ask_stop(&self) {
        let number = self.stops.get().to_string();
        self.command(kind::STOP, &[(key::NUMBER, number.as_bytes())]);
    }

    /// What is left of an extension.
    fn ask_extension(&self) {
        let Some(until) = self.extended.get() else {
            return;
        };
        let ms = until.saturating_duration_since(Instant::now()).as_millis();
        let number = u64::try_from(ms).unwrap_or(u64::MAX).min(i64::MAX as u64);
        let number = number.to_string();
        self.command(kind::EXTEND, &[(key::NUMBER, number.as_bytes())]);
    }

    fn ask_to_remember(&self) {
        let note = self.note.borrow();
        if !note.is_empty() {
            self.command(kind::REMEMBER, &[(key::TEXT, note.as_bytes())]);
        }
    }

    /// Wants its output, from a shim that runs.
    pub(super) fn ask_output(&self, hearing: Hearing) {
        let (word, frames) = output::wish(hearing);
        let frames = frames.to_string();
        let fields: [(&str, &[u8]); 2] = [
            (key::LISTEN, word.as_bytes()),
            (key::FRAMES, frames.as_bytes()),
        ];
        self.command(kind::LISTEN, &fields);
    }

    /// Asks for more, as far as what came has been dealt with.
    fn ask_more(&self) {
        let more = self.asked.take();
        if more > 0 {
            let frames = more.to_string();
            self.command(kind::MORE, &[(key::FRAMES, frames.as_bytes())]);
        }
    }

    fn command(&self, kind: &str, fields: &[(&str, &[u8])]) {
        let mut frame = Vec::new();
        protocol::encode(kind, fields, &mut |piece| frame.extend_from_slice(piece));
        self.send(&frame);
    }
}

impl Process for ShimProcess {
    fn stop(&self) {
        self.0.stops.set(self.0.stops.get() + 1);
        self.0.ask_stop();
        self.0.asked.wake.notify_one();
    }

    fn signal(&self, signal: i32) -> Result<(), String> {
        if !self.0.main_lives.get() {
            return Err("its main process is not running".to_owned());
        }
        // Its parent sends it: to a parent, a number never means a stranger.
        self.0.command(
            kind::SIGNAL,
            &[(key::NUMBER, signal.to_string().as_bytes())],
        );
        Ok(())
    }

    fn extend(&self, by: Duration) {
        let until = Instant::now() + by;
        let until = self.0.extended.get().map_or(until, |old| old.max(until));
        self.0.extended.set(Some(until));
        self.0.ask_extension();
    }

    fn remember(&self, note: &str) {
        note.clone_into(&mut self.0.note.borrow_mut());
        self.0.ask_to_remember();
    }
}

impl Drop for ShimProcess {
    fn drop(&mut self) {
        self.0.abandoned.set(true);
        self.0.asked.wake.notify_one();
    }
}

/// Tends one shim until nothing of its service is left, or nobody cares. `read` is what was
/// read of the stream already.
pub(super) async fn tend(shared: Rc<Shared>, mut life: Life, first: UnixStream, read: Vec<u8>) {
    let mut buffer = read;
    let mut stream = Rc::new(first);
    loop {
        *shared.stream.borrow_mut() = Some(Rc::clone(&stream));
        shared.flush();
        let end = converse(&shared, &mut life, &stream, &mut buffer).await;
        *shared.stream.borrow_mut() = None;
        drop(stream);
        buffer.clear();
        // Whose service is over is let go at once, and then its shim is still ours to wait for.
        if life.over {
            break;
        }
        if matches!(end, End::Abandoned) {
            return;
        }
        let mut doubt = Doubt::new(Rc::clone(&life.sink));
        let found = inspect(&life.dir, &life.orphans.boot_id, &mut doubt).await;
        drop(doubt);
        match found {
            Found::Connected {
                stream: again,
                hello,
                rest,
                // The source has it already.
                socket: _,
            } => {
                stream = Rc::new(again);
                buffer = rest;
                if let Some(frame) = Frame::parse(&hello) {
                    life.hear(frame, &shared);
                }
                repeat_stops(&shared);
                shared.ask_to_remember();
                life.listen(Frame::parse(&hello), &shared);
            }
            Found::Ended(exit) => {
                life.ended(exit, &shared);
                break;
            }
            Found::Lost { record, .. } => {
                life.orphans.learn(&record);
                lose(&mut life, &shared).await;
                break;
            }
            Found::Nothing => {
                lose(&mut life, &shared).await;
                break;
            }
        }
    }
    reap(life.shim_pid).await;
}

/// Commands on their way when a connection broke may not have arrived.
fn repeat_stops(shared: &Shared) {
    *shared.outbox.borrow_mut() = Vec::new();
    if shared.stops.get() > 0 {
        shared.ask_stop();
        shared.ask_extension();
    }
}

async fn converse(
    shared: &Shared,
    life: &mut Life,
    stream: &UnixStream,
    buffer: &mut Vec<u8>,
) -> End {
    let mut heard = (shared.stops(), Instant::now());
    let mut continued = false;
    loop {
        if life.hear_all(buffer, shared).is_err() {
            return End::Broken;
        }
        life.keep_vigil();
        if shared.is_abandoned() {
            return End::Abandoned;
        }
        let interest = if shared.outbox.borrow().is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        // A stop begins a new wait.
        if heard.0 != shared.stops() {
            heard = (shared.stops(), Instant::now());
            continued = false;
        }
        let silent_at = if continued {
            let told = heard.1 + life.process.stop_timeout;
            shared.extended.get().map_or(told, |until| told.max(until)) + SILENCE
        } else {
            heard.1 + SUSPICIOUS
        };
        // All may be dropped at any time: a readiness and a permit are found again. The timer
        // comes last: if we were stopped ourselves, what was said meanwhile counts.
        tokio::select! {
            biased;
            () = shared.woken() => {}
            ready = stream.ready(interest) => {
                if ready.is_err() {
                    return End::Broken;
                }
                heard.1 = Instant::now();
            }
            () = sleep_until(silent_at), if shared.stops() > 0 => {
                if continued {
                    life.signal_shim(libc::SIGKILL);
                    heard.1 = Instant::now();
                } else {
                    life.signal_shim(libc::SIGCONT);
                    continued = true;
                }
            }
            silence = life.vigil.next() => match silence {
                Silence::Short => {}
                Silence::Suspicious => life.signal_shim(libc::SIGCONT),
                Silence::Hung => life.signal_shim(libc::SIGKILL),
            },
        }
        shared.ask_more();
        shared.flush();
        if read_available(stream, buffer).is_err() {
            // What came before the end still counts.
            let _ = life.hear_all(buffer, shared);
            return End::Broken;
        }
    }
}

/// Appends what there is.
pub(super) fn read_available(stream: &UnixStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 1024];
    loop {
        match stream.try_read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

// === what a shim says ===

/// How it ended, as `exited` and `hello` say it.
pub(super) fn exit_of(frame: Frame<'_>) -> Option<Exit> {
    let number = |key| {
        frame
            .number(key)
            .and_then(|number| i32::try_from(number).ok())
    };
    let (code, signal) = (number(key::CODE), number(key::SIGNAL));
    (code.is_some() || signal.is_some()).then(|| Exit {
        code,
        signal,
        oom: frame.number(key::OOM) == Some(1),
        at: Timestamp(frame.number(key::TIME_US).unwrap_or(0)),
    })
}

/// What its `hello` was to tell us.
pub(super) fn note_of(frame: Frame<'_>) -> String {
    let note = frame.get(key::TEXT).unwrap_or_default();
    String::from_utf8_lossy(note).into_owned()
}

/// The main process that a frame names.
pub(super) fn main_of(frame: Frame<'_>) -> Option<Identity> {
    let pid = frame
        .number(key::PID)
        .and_then(|pid| i32::try_from(pid).ok())?;
    let start_time = frame.number(key::START_TIME)?;
    (pid > 0).then_some(Identity { pid, start_time })
}

impl Life {
    /// Takes every whole frame off the buffer.
    fn hear_all(&mut self, buffer: &mut Vec<u8>, shared: &Shared) -> Result<(), protocol::TooLong> {
        let mut used = 0;
        while let Some((payload, size)) = protocol::first_frame(&buffer[used..])? {
            if let Some(frame) = Frame::parse(payload) {
                self.hear(frame, shared);
            }
            used += size;
        }
        if used == buffer.len() {
            // Idle shims are many: their empty buffers hold nothing.
            *buffer = Vec::new();
        } else {
            buffer.drain(..used);
        }
        Ok(())
    }

    fn hear(&mut self, frame: Frame<'_>, shared: &Shared) {
        if let Some(main) = main_of(frame) {
            self.orphans.main = Some(main);
        }
        match std::str::from_utf8(frame.kind).unwrap_or_default() {
            kind::STARTED => self.is_started(shared),
            kind::START_FAILED => self.start_failed(frame, shared),
            kind::EXITED => {
                if let Some(exit) = exit_of(frame) {
                    self.exited(exit, frame.number(key::LEFT) == Some(1), shared);
                }
            }
            kind::GONE => self.gone(),
            kind::BLOCKED => {
                let list = frame.get(key::LIST).unwrap_or_default();
                let list = String::from_utf8_lossy(list).into_owned();
                (self.sink)(ProcessEvent::Blocked(list));
            }
            kind::OUTPUT => {
                let output = output::output_of(frame, &shared.asked);
                (self.sink)(ProcessEvent::Output(output));
            }
            kind::HELLO => {
                if frame.get(key::STATE) != Some(b"starting") {
                    self.is_started(shared);
                }
                if let Some(exit) = exit_of(frame) {
                    self.exited(exit, true, shared);
                }
            }
            // A newer shim may say more than we know.
            _ => {}
        }
    }

    /// Sees to it that its output is heard, where it is wanted: by the shim that says that
    /// `hello`, or in its stead.
    pub(super) fn listen(&mut self, hello: Option<Frame<'_>>, shared: &Shared) {
        let Some(hearing) = self.hearing else {
            return;
        };
        if output::is_told(hello) {
            shared.ask_output(hearing);
        } else if self.tailing.is_none() {
            let sink = Rc::clone(&self.sink);
            self.tailing = Some(Tailing::begin(self.log.clone(), hearing, sink));
        }
    }

    /// Watches its main process for as long as its end has not been told.
    fn keep_vigil(&mut self) {
        if !self.started || self.over || self.exit.is_some() {
            self.vigil = Vigil::Blind;
        } else if let Some(main) = self.orphans.main
            && !self.vigil.is_kept()
        {
            self.vigil = Vigil::over(main);
        }
    }

    /// Signals exactly the shim, whether or not a full disk kept it from its record.
    fn signal_shim(&self, signal: i32) {
        if self.dir.signal_shim(&self.orphans.boot_id, signal) {
            return;
        }
        let ourselves = i32::try_from(std::process::id()).unwrap_or_default();
        let child = proc_fs::status(self.shim_pid).filter(|shim| shim.parent == ourselves);
        if let Some(shim) = child {
            proc_fs::signal(shim.id, signal);
        }
    }

    fn is_started(&mut self, shared: &Shared) {
        if self.started {
            return;
        }
        let Some(main) = self.orphans.main else {
            return;
        };
        self.started = true;
        shared.main_lives.set(true);
        (self.sink)(ProcessEvent::Started { pid: main.pid });
        self.dir.remove_older();
    }

    fn start_failed(&mut self, frame: Frame<'_>, shared: &Shared) {
        let stage = frame
            .get(key::STAGE)
            .and_then(Stage::from_word)
            .unwrap_or(Stage::Setup);
        let errno = frame
            .number(key::ERRNO)
            .and_then(|errno| i32::try_from(errno).ok());
        let failure = failure::explain(stage, errno.unwrap_or_default(), &self.process);
        self.end_start(failure, shared);
    }

    fn end_start(&mut self, failure: StartFailure, shared: &Shared) {
        self.over = true;
        shared.main_lives.set(false);
        (self.sink)(ProcessEvent::StartFailed(failure));
        self.dir.remove();
    }

    fn exited(&mut self, exit: Exit, left: bool, shared: &Shared) {
        if self.exit.is_some() {
            return;
        }
        shared.main_lives.set(false);
        self.exit = Some(exit.clone());
        self.over = !left;
        (self.sink)(ProcessEvent::Exited { exit, left });
    }

    fn gone(&mut self) {
        if !self.over {
            self.over = true;
            (self.sink)(ProcessEvent::Gone);
        }
    }

    /// All of it ended while nobody listened.
    fn ended(&mut self, exit: Exit, shared: &Shared) {
        self.is_started(shared);
        if self.exit.is_none() {
            self.exited(exit, false, shared);
        } else {
            self.gone();
        }
    }
}

/// The shim is gone and has left no exit: its tree is ended here.
pub(super) async fn lose(life: &mut Life, shared: &Rc<Shared>) {
    shared.main_lives.set(false);
    if life.started && life.exit.is_none() {
        (life.sink)(ProcessEvent::ShimLost);
    }
    if !lost::end_tree(&life.orphans, &life.process, shared, &life.sink).await {
        return;
    }
    if life.started {
        // Its record would make the next supervisor look for it again.
        life.dir.remove();
        life.gone();
    } else {
        let detail = "its shim was killed before the program was executed".to_owned();
        life.end_start(
            StartFailure {
                fault: StartFault::Other,
                detail,
            },
            shared,
        );
    }
}

/// Takes our own ended shim out of the process table. It ends by itself once it has said all
/// and written its record; one of an earlier supervisor's is not our child.
pub(super) async fn reap(shim_pid: i32) {
    use rustix::process::{Pid, WaitOptions, waitpid};

    /// About two minutes, for a disk that takes so long to sync a record.
    const MOST: u32 = 1200;
    let Some(pid) = Pid::from_raw(shim_pid) else {
        return;
    };
    let mut pause = Duration::from_millis(1);
    for _ in 0..MOST {
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
