//! A world of its own for each test: a directory, a port, a configuration, the real program.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::http::{Address, Reply};
use super::process;
use super::script;
use super::wait::wait_until;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_supervisor");

/// A running (or killed) supervisor with all that belongs to it. When it goes, so does
/// everything that was started from its directory.
pub struct World {
    dir: TempDir,
    port: u16,
    prefix: Vec<String>,
    env: Vec<(String, String)>,
    supervisor: Option<Child>,
    socket: Option<PathBuf>,
    /// Cleans up if this very process is killed: see [`reaper`].
    reaper: Child,
}

/// A world that is being prepared.
pub struct Plan {
    world: World,
    keys: String,
    listen: Option<String>,
    services: String,
}

/// A service as the API shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Service {
    pub name: String,
    pub status: String,
    pub state: String,
    pub pid: Option<i32>,
    pub generation: u64,
    pub interval: Option<f64>,
    pub age: Option<f64>,
    pub missed: u64,
    pub consecutive_failures: u64,
    pub restarts: u64,
    pub reason: String,
    pub last_heartbeat: Option<String>,
    pub freshness: Option<String>,
    pub total_pulses: u64,
    pub error_count: u64,
    pub critical: bool,
    pub blocked_by: Option<String>,
    pub next_start_in: Option<f64>,
    pub message: Option<String>,
    pub cycle: Option<i64>,
    pub notify_dropped: u64,
    pub lines_dropped: u64,
}

/// A recorded event as the API shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    pub id: i64,
    pub time: String,
    pub service: String,
    pub kind: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub reason: String,
}

/// How a command of the CLI ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

// === impl Plan ===

impl Plan {
    /// More keys of `[supervisor]`.
    pub fn supervisor(mut self, keys: &str) -> Self {
        self.keys.push_str(keys);
        self.keys.push('\n');
        self
    }

    /// Another `listen` than the port of this world.
    pub fn listen(mut self, listen: &str) -> Self {
        self.listen = Some(listen.to_owned());
        self
    }

    /// More of the configuration, in TOML.
    pub fn config(mut self, toml: &str) -> Self {
        self.services.push_str(toml);
        self.services.push('\n');
        self
    }

    /// One more service with these keys (see [`script`] for its command).
    pub fn service(self, name: &str, keys: &str) -> Self {
        let table = format!("[services.{}]\n{keys}\n", script::quote(name));
        self.config(&table)
    }

    /// The program is started by this command.
    pub fn prefix(mut self, words: &[&str]) -> Self {
        self.world.prefix = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// One more variable in the program's environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.world.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Where the world's files will be, for scripts that name them.
    pub fn dir(&self) -> &Path {
        self.world.dir()
    }

    /// Writes the configuration, starts nothing.
    pub fn prepare(self) -> World {
        let listen = self
            .listen
            .unwrap_or_else(|| format!("127.0.0.1:{}", self.world.port));
        let config = format!(
            "[supervisor]\nname = \"world\"\nlisten = {}\ndata_dir = \"data\"\n{}\n{}",
            script::quote(&listen),
            self.keys,
            self.services
        );
        fs::write(self.world.config(), config).expect("supervisor.toml");
        self.world
    }

    /// Writes the configuration, starts the program and waits until it is ready.
    pub fn start(self) -> World {
        let mut world = self.prepare();
        world.start();
        world
    }
}

// === impl World ===

impl World {
    pub fn plan() -> Plan {
        let dir = tempfile::Builder::new()
            .prefix("sv-")
            .tempdir()
            .expect("a directory");
        // Services of other users must reach their working directory.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::write(dir.path().join("lib.sh"), script::LIBRARY).expect("lib.sh");
        let world = Self {
            port: free_port(),
            prefix: Vec::new(),
            env: Vec::new(),
            supervisor: None,
            socket: None,
            reaper: reaper(dir.path()),
            dir,
        };
        Plan {
            world,
            keys: String::new(),
            listen: None,
            services: String::new(),
        }
    }

    /// The directory of the configuration, in which services work.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// What stands in such a file; nothing if there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// The numbers in such a file, one a line: where scripts leave their pids.
    pub fn pids(&self, name: &str) -> Vec<i32> {
        self.read(name)
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect()
    }

    pub fn config(&self) -> PathBuf {
        self.file("supervisor.toml")
    }

    /// Its `data_dir`.
    pub fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// One more variable in the environment of what is started from now on.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.env.push((key.to_owned(), value.to_owned()));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The supervisor's pid.
    pub fn pid(&self) -> i32 {
        let child = self
            .supervisor
            .as_ref()
            .expect("the supervisor was started");
        i32::try_from(child.id()).expect("a pid")
    }

    /// Starts the program; does not wait.
    pub fn spawn(&mut self) {
        assert!(self.supervisor.is_none(), "the supervisor runs already");
        let mut command = self.command();
        command.arg("--config").arg(self.config());
        self.supervisor = Some(command.spawn().expect("the supervisor starts"));
    }

    /// The program with its prefix and environment, its output in a file; no arguments yet.
    pub fn command(&self) -> Command {
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.file("supervisor.out"))
            .expect("supervisor.out");
        let mut words = self.prefix.iter().map(String::as_str).chain([PROGRAM]);
        let mut command = Command::new(words.next().expect("a program"));
        command
            .args(words)
            .current_dir(self.dir())
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .env("NO_COLOR", "1")
            // Of root its sockets for services of other users would be in a place of all.
            .env("RUNTIME_DIRECTORY", self.file("run"))
            .env_remove("SUPERVISOR_URL")
            .env_remove("SUPERVISOR_TOKEN")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("supervisor.out"))
            .stderr(output)
            // A signal meant for the test run is not meant for it.
            .process_group(0);
        command
    }

    /// Starts the program and waits until it is ready.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Waits until the program says that it is ready.
    pub fn wait_ready(&mut self) {
        let began = std::time::Instant::now();
        loop {
            let socket = self.socket();
            let ready = socket.request("GET", "/readyz", &[], b"");
            if ready.as_ref().is_ok_and(|reply| reply.status == 200) {
                return;
            }
            if let Some(status) = self.try_exit() {
                panic!(
                    "the supervisor ended ({status}) before it was ready:\n{}",
                    self.output()
                );
            }
            assert!(
                began.elapsed() < super::PATIENCE,
                "the supervisor is not ready: {ready:?}\n{}",
                self.output()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// What the program has written to its stdout and stderr.
    pub fn output(&self) -> String {
        let bytes = fs::read(self.file("supervisor.out")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn try_exit(&mut self) -> Option<ExitStatus> {
        self.supervisor.as_mut()?.try_wait().expect("wait")
    }

    /// Sends the supervisor a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Ends the supervisor without a chance to say goodbye.
    pub fn kill(&mut self) {
        let mut child = self.supervisor.take().expect("the supervisor runs");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    /// Waits until the supervisor has ended by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let status = wait_until("the supervisor ends", || self.try_exit());
        self.supervisor = None;
        status
    }

    /// Asks the supervisor to end by SIGTERM and waits.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit()
    }

    // --- the API ---

    /// The Unix socket, as the supervisor itself sees it (it may live in a mount namespace of
    /// its own).
    pub fn socket(&self) -> Address {
        if let Some(socket) = &self.socket {
            return Address::Unix(socket.clone());
        }
        let socket = self.data().join("supervisor.sock");
        if self.prefix.is_empty() || self.supervisor.is_none() {
            return Address::Unix(socket);
        }
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        Address::Unix(root.join(socket.strip_prefix("/").expect("an absolute path")))
    }

    /// From now on the socket is there, and not in the data directory.
    pub fn move_socket(&mut self, socket: Option<PathBuf>) {
        self.socket = socket;
    }

    /// The TCP address.
    pub fn tcp(&self) -> Address {
        Address::Tcp(([127, 0, 0, 1], self.port).into())
    }

    /// The supervisor's token.
    pub fn token(&self) -> String {
        fs::read_to_string(self.data().join("token"))
            .expect("the token")
            .trim()
            .to_owned()
    }

    pub fn get(&self, path: &str) -> Reply {
        let reply = self.socket().request("GET", path, &[], b"");
        reply.unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.output()))
    }

    pub fn post(&self, path: &str, json: &str) -> Reply {
        let headers: &[_] = if json.is_empty() {
            &[]
        } else {
            &[("Content-Type", "application/json")]
        };
        let reply = self
            .socket()
            .request("POST", path, headers, json.as_bytes());
        reply.unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.output()))
    }

    /// A control call that must be granted.
    pub fn control(&self, name: &str, verb: &str) -> Reply {
        let reply = self.post(&format!("/api/services/{name}/{verb}"), "");
        assert!(
            (200..300).contains(&reply.status),
            "{verb} {name}: {} {}",
            reply.status,
            reply.text()
        );
        reply
    }

    /// A pulse from outside that must be taken; returns when it is counted.
    pub fn pulse(&self, name: &str) {
        let before = self.service(name).total_pulses;
        let reply = self.post(&format!("/api/pulse/{name}"), "");
        assert_eq!(reply.status, 202, "{}", reply.text());
        self.wait_for(name, "counts the pulse", |service| {
            service.total_pulses > before
        });
    }

    pub fn services(&self) -> Vec<Service> {
        let reply = self.get("/api/services");
        assert_eq!(reply.status, 200, "{}", reply.text());
        serde_json::from_value(reply.json()["services"].clone()).expect("services")
    }

    pub fn service(&self, name: &str) -> Service {
        let reply = self.get(&format!("/api/services/{name}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        serde_json::from_slice(&reply.body)
            .unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
    }

    /// All recorded events so far, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.events_of("")
    }

    /// All recorded events of one service, oldest first.
    pub fn events_of(&self, service: &str) -> Vec<Event> {
        let filter = if service.is_empty() {
            String::new()
        } else {
            format!("&service={service}")
        };
        let mut events = Vec::new();
        let mut since = "0".to_owned();
        loop {
            let reply = self.get(&format!("/api/events?since={since}&limit=1000{filter}"));
            assert_eq!(reply.status, 200, "{}", reply.text());
            let answer = reply.json();
            let page: Vec<Event> =
                serde_json::from_value(answer["events"].clone()).expect("events");
            let Some(last) = page.last() else {
                return events;
            };
            since = last.id.to_string();
            events.extend(page);
        }
    }

    /// Waits until an event satisfies, and gives it.
    pub fn wait_event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        wait_until(what, || self.events().into_iter().find(&wanted))
    }

    /// Waits until a service satisfies, and gives it as it was then.
    pub fn wait_for(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(&Service) -> bool,
    ) -> Service {
        let mut last = None;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(&format!("{name} {what}"), || {
                let service = self.service(name);
                last = Some(service.clone());
                condition(&service).then_some(service)
            })
        }));
        found.unwrap_or_else(|panic| {
            eprintln!("{name} was last seen as {last:?}");
            std::panic::resume_unwind(panic)
        })
    }

    /// Waits until a service runs (where we run it, with a known pid: its first pulse may
    /// come in before the word that it has started) and is healthy.
    pub fn wait_healthy(&self, name: &str) -> Service {
        self.wait_for(name, "is healthy", |service| {
            let up = match service.state.as_str() {
                "running" => service.pid.is_some(),
                state => state == "external",
            };
            up && service.status == "healthy"
        })
    }

    /// The pid of a service's shim: the parent of its main process.
    pub fn shim_of(&self, name: &str) -> i32 {
        let pid = self.service(name).pid.expect("a process");
        process::stat(pid).expect("it lives").parent
    }

    // --- the CLI ---

    /// Runs a command of the CLI to its end.
    pub fn cli(&self, words: &[&str]) -> Ran {
        self.cli_with(words, &[])
    }

    /// As [`World::cli`], with variables.
    pub fn cli_with(&self, words: &[&str], env: &[(&str, &str)]) -> Ran {
        let output = Command::new(PROGRAM)
            .args(words)
            .current_dir(self.dir())
            .env_remove("SUPERVISOR_URL")
            .env_remove("SUPERVISOR_TOKEN")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let tail = lines.len().saturating_sub(150);
            eprintln!("--- supervisor.toml\n{}", self.read("supervisor.toml"));
            eprintln!(
                "--- the supervisor's last lines\n{}",
                lines[tail..].join("\n")
            );
        }
        if let Some(mut child) = self.supervisor.take() {
            // It may have been stopped by the test; SIGKILL ends it all the same. Errors mean
            // that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
        // Whoever is killed may just have started another one: until nobody is left.
        for _ in 0..100 {
            let left = process::belonging_to(self.dir());
            if left.is_empty() {
                break;
            }
            for pid in left {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // Before its pipe closes: there is nothing left for it to do.
        let _ = self.reaper.kill();
        let _ = self.reaper.wait();
    }
}

/// A shell that waits until this process is gone, and then ends what it left behind in that
/// directory: a test that is killed for taking too long cannot clean up itself.
fn reaper(dir: &Path) -> Child {
    const SCRIPT: &str = r#"
        read -r _
        for round in 1 2 3; do
            for process in /proc/[0-9]*; do
                if ls -l "$process/cwd" "$process/fd" 2>/dev/null | grep -qF -- "-> $1"; then
                    kill -9 "${process#/proc/}" 2>/dev/null
                fi
            done
        done
        rm -rf "$1"
    "#;
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "reaper"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command.spawn().expect("sh")
}

/// A port that nobody else takes: below the range from which the kernel gives ports to
/// clients, and starting at another place in every process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 2000).expect("small") * 10 + 10_000;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
