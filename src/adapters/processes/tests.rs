//! The real adapter with real shims and real processes. Every wait is for an event or a state
//! of the system; the numbers in names are those of the fault catalogue.

mod adoption;
mod commands;
mod faults;
mod identity;
mod numbers;
mod output;
mod stopping;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use supervisor_actors::ports::{Launch, Process, ProcessEvent, ProcessSink, Processes};
use supervisor_actors::spec::ProcessSpec;
use supervisor_core::ServiceName;
use supervisor_core::event::{Exit, Generation, StartFailure};

use super::proc_fs::{self, Identity};
use super::records::{GenerationDir, StartRecord};
use super::{Adoption, ShimProcesses};
use crate::adapters::child_env::Usual;
use crate::adapters::child_token::ChildKey;
use crate::adapters::descriptors::GivenLimit;

/// Beyond any wait of a machine under load; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory of its own, cleaned of processes at the end whatever a test does.
struct World {
    dir: tempfile::TempDir,
    key: ChildKey,
}

/// A launched process and what is heard of it.
struct Run {
    process: Box<dyn Process>,
    events: UnboundedReceiver<ProcessEvent>,
}

impl World {
    /// With a key of its own: by the tokens made with it, the processes of tests that run
    /// side by side are told apart.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut key = [0; ChildKey::BYTES];
        for (place, byte) in key
            .iter_mut()
            .zip(dir.path().as_os_str().as_encoded_bytes().iter().rev())
        {
            *place = *byte;
        }
        let key = ChildKey::new(key);
        Self { dir, key }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What one life of the supervisor sees of it.
    fn processes(&self) -> ShimProcesses {
        let url = "http://127.0.0.1:5001".to_owned();
        let descriptors = GivenLimit::raise();
        let usual = Usual::new(url);
        ShimProcesses::at(
            self.path(),
            self.path(),
            self.key.clone(),
            usual,
            descriptors,
        )
        .unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn log(&self, name: &str) -> String {
        let path = self.path().join("log").join(format!("{name}.log"));
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    fn generation(&self, name: &str, generation: u32) -> GenerationDir {
        GenerationDir::new(
            &self.path().join("shim"),
            &service(name),
            Generation(generation),
        )
    }

    fn record(&self, name: &str) -> StartRecord {
        self.generation(name, 1).start_record().unwrap().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let shims = self.path().join("shim");
        for service in std::fs::read_dir(shims).into_iter().flatten().flatten() {
            for generation in std::fs::read_dir(service.path())
                .into_iter()
                .flatten()
                .flatten()
            {
                let dir = GenerationDir {
                    path: generation.path(),
                    generation: Generation(0),
                };
                if let (Ok(Some(record)), true) = (dir.start_record(), dir.is_locked()) {
                    if let Some(cgroup) = record.cgroup() {
                        super::cgroup::kill(&cgroup);
                    }
                    proc_fs::signal(record.main(), libc::SIGKILL);
                    proc_fs::signal(record.shim(), libc::SIGCONT);
                }
            }
        }
    }
}

impl Run {
    async fn next(&mut self) -> ProcessEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("no event")
            .unwrap()
    }

    async fn started(&mut self) -> i32 {
        match self.next().await {
            ProcessEvent::Started { pid } => pid,
            other => panic!("expected Started, got {other:?}"),
        }
    }

    async fn exited(&mut self) -> (Exit, bool) {
        loop {
            match self.next().await {
                ProcessEvent::Exited { exit, left } => return (exit, left),
                ProcessEvent::Blocked(_) => {}
                other => panic!("expected Exited, got {other:?}"),
            }
        }
    }

    /// Waits for its end, whole; gives how main ended.
    async fn ended(&mut self) -> Exit {
        let (exit, left) = self.exited().await;
        if left {
            self.gone().await;
        }
        exit
    }

    async fn gone(&mut self) {
        loop {
            match self.next().await {
                ProcessEvent::Gone => return,
                ProcessEvent::Blocked(_) => {}
                other => panic!("expected Gone, got {other:?}"),
            }
        }
    }

    async fn failed(&mut self) -> StartFailure {
        match self.next().await {
            ProcessEvent::StartFailed(failure) => failure,
            other => panic!("expected StartFailed, got {other:?}"),
        }
    }

    /// Nothing more has been said by the time that `after` is done.
    fn assert_silent(&mut self) {
        if let Ok(event) = self.events.try_recv() {
            panic!("expected no more, got {event:?}");
        }
    }
}

/// A process that is none of ours.
struct Stranger(std::process::Child);

impl Stranger {
    fn new() -> Self {
        let mut command = std::process::Command::new("sleep");
        Self(
            command
                .arg("1000")
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    fn id(&self) -> Identity {
        identity(i32::try_from(self.0.id()).unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Held as by a debugger, until it is killed: neither SIGCONT nor anything but SIGKILL moves it.
fn hold(pid: i32) {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: attaches to a process of this test; no memory is touched.
    unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, none, none) };
    let mut status = 0;
    // SAFETY: a valid pointer to a local. The stop is taken, so that nobody else waits for it.
    let stopped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    assert!(stopped == pid && libc::WIFSTOPPED(status), "not held");
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

/// A process with the defaults of the configuration.
fn spec(command: &[&str]) -> ProcessSpec {
    ProcessSpec {
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        cwd: "/".into(),
        env: Vec::new(),
        pass_env: Vec::new(),
        user: None,
        group: None,
        umask: None,
        nice: None,
        limits: Vec::new(),
        stop_signal: libc::SIGTERM,
        stop_timeout: Duration::from_secs(10),
        watchdog: None,
        log_max_size: 10 << 20,
        log_keep: 5,
    }
}

fn shell(script: &str) -> ProcessSpec {
    spec(&["sh", "-c", script])
}

fn sink() -> (ProcessSink, UnboundedReceiver<ProcessEvent>) {
    let (sender, events): (UnboundedSender<ProcessEvent>, _) = unbounded_channel();
    // A test that has seen enough drops the receiver.
    (Rc::new(move |event| drop(sender.send(event))), events)
}

fn launch(processes: &ShimProcesses, name: &str, generation: u32, process: ProcessSpec) -> Run {
    let (sink, events) = sink();
    let launch = Launch {
        name: service(name),
        generation: Generation(generation),
        process: Arc::new(process),
        environment: Vec::new(),
        hearing: None,
        socket: None,
    };
    Run {
        process: processes.launch(launch, sink),
        events,
    }
}

async fn adopt(
    processes: &ShimProcesses,
    name: &str,
    process: &ProcessSpec,
) -> (Option<Adoption>, UnboundedReceiver<ProcessEvent>) {
    let (sink, events) = sink();
    let name = service(name);
    let adoption = processes.adopt(&name, process, None, sink);
    (
        tokio::time::timeout(PATIENCE, adoption)
            .await
            .expect("no adoption"),
        events,
    )
}

/// Looks until it is so.
async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let tries = Cell::new(0_u32);
    while !look() {
        tries.set(tries.get() + 1);
        assert!(tries.get() < 12_000, "still not so after a minute: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The number that a script has written into a file.
async fn number_in(path: &Path) -> i32 {
    let mut found = None;
    until(&format!("a number in {}", path.display()), || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        found = text
            .strip_suffix('\n')
            .and_then(|text| text.trim().parse().ok());
        found.is_some()
    })
    .await;
    found.unwrap()
}

fn identity(pid: i32) -> Identity {
    proc_fs::status(pid).expect("it lives").id
}
