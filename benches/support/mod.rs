//! What the benchmarks share: the real program in a directory of its own, a blocking HTTP
//! client, medians, and markdown rows.
//!
//! Machines are shared and noisy: every figure stands beside a yardstick of the same run, and
//! only medians and ratios are quoted.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "a part of each benchmark, which uses what it needs"
)]

pub mod universe;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program under test, built by cargo for this benchmark.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_supervisor");

/// How long anything may take before a benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one service is asked for before all are listed again.
const RELIST: Duration = Duration::from_millis(250);

/// The real program with a configuration of its own.
pub struct World {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl World {
    /// Writes the configuration (the `[supervisor]` table is added) and starts the program.
    pub fn start(services: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        fs::write(
            dir.path().join("supervisor.toml"),
            format!(
                "[supervisor]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\n\n{services}\n"
            ),
        )
        .expect("a configuration");
        let mut world = Self {
            dir,
            port,
            child: None,
        };
        world.launch();
        world
    }

    /// Starts the program (again).
    pub fn launch(&mut self) {
        let log = fs::File::create(self.dir.path().join("stderr.log")).expect("a log");
        let child = Command::new(PROGRAM)
            .arg("--config")
            .arg(self.dir.path().join("supervisor.toml"))
            .env("RUNTIME_DIRECTORY", self.dir.path().join("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    /// The program's process.
    pub fn pid(&self) -> i32 {
        self.child
            .as_ref()
            .map_or(0, |child| i32::try_from(child.id()).unwrap_or(0))
    }

    /// SIGKILL to the program alone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the program can be killed");
            child.wait().expect("the program can be waited for");
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("data/supervisor.sock")
    }

    /// One request over the Unix socket: status and body, or nothing while nobody answers.
    pub fn request(&self, method: &str, path: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        parse(&answer)
    }

    /// All services of the API.
    pub fn services(&self) -> Vec<serde_json::Value> {
        let body = match self.request("GET", "/api/services") {
            Some((200, body)) => body,
            Some((status, body)) => {
                eprintln!("/api/services answered {status}: {body}");
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        value["services"]
            .as_array()
            .map(|all| {
                all.iter()
                    .filter(|s| !s["name"].as_str().unwrap_or("").starts_with("internal."))
                    .cloned()
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Waits until so many services are in that state; how long it took since `begin`.
    pub fn wait_for(&self, count: usize, state: &str, begin: Instant) -> Duration {
        self.wait_until(count, begin, state, |service| service["state"] == state)
    }

    /// Asks for all services a few times only: each list of a thousand weighs on the program that
    /// is measured. In between it asks for the last one that is missing.
    fn wait_until(
        &self,
        count: usize,
        begin: Instant,
        what: &str,
        reached: impl Fn(&serde_json::Value) -> bool,
    ) -> Duration {
        loop {
            let services = self.services();
            let (there, missing): (Vec<_>, Vec<_>) = services.iter().partition(|s| reached(s));
            if there.len() == count {
                return begin.elapsed();
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{} of {count} services became {what}: {}",
                there.len(),
                missing.first().map(ToString::to_string).unwrap_or_default()
            );
            let last = missing.last().and_then(|s| s["name"].as_str());
            let listed = Instant::now();
            while listed.elapsed() < RELIST {
                std::thread::sleep(Duration::from_millis(2));
                if last.is_none_or(|name| self.service(name).is_some_and(|s| reached(&s))) {
                    break;
                }
            }
        }
    }

    /// One service of the API.
    fn service(&self, name: &str) -> Option<serde_json::Value> {
        let (status, body) = self.request("GET", &format!("/api/services/{name}"))?;
        (status == 200).then(|| serde_json::from_str(&body).unwrap_or_default())
    }

    /// The pids of all services.
    pub fn pids(&self) -> Vec<(String, i32)> {
        let begin = Instant::now();
        let mut services = self.services();
        while services.is_empty() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
            services = self.services();
        }
        services
            .iter()
            .filter_map(|s| {
                let pid = i32::try_from(s["pid"].as_i64()?).ok()?;
                Some((s["name"].as_str()?.to_owned(), pid))
            })
            .collect()
    }

    /// Waits until so many services have a process: one that is only remembered to run has none
    /// before it is found. How long it took since `begin`.
    pub fn wait_for_pids(&self, count: usize, begin: Instant) -> Duration {
        self.wait_until(count, begin, "processes", |service| service["pid"].is_i64())
    }

    /// Waits until so many services are so well.
    pub fn wait_for_status(&self, count: usize, status: &str) {
        self.wait_until(count, Instant::now(), status, |service| {
            service["status"] == status
        });
    }

    /// Ends the program and all its services; how long that took.
    pub fn stop(&mut self) -> Duration {
        let begin = Instant::now();
        if let Some(mut child) = self.child.take() {
            // SAFETY: a signal to a child that has not been waited for.
            unsafe { libc::kill(i32::try_from(child.id()).unwrap_or(0), libc::SIGTERM) };
            child.wait().expect("the program can be waited for");
        }
        begin.elapsed()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        let mut out = String::new();
        let mut rest = body;
        while let Some((size, more)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            out.push_str(more.get(..size)?);
            rest = more.get(size + 2..)?;
        }
        return Some((status, out));
    }
    Some((status, body.to_owned()))
}

/// A port that nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Nanoseconds of the monotonic clock, comparable between processes.
pub fn mono() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of any clock. Those of the CPU time that this process or thread has used are
/// what neighbours on the machine disturb least.
pub fn clock(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid pointer to a local.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Where marked children say that they run: `(pid, monotonic nanoseconds, word)`.
pub struct Listener(UnixDatagram);

impl Listener {
    pub fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        Self(socket)
    }

    pub fn next(&self) -> (i32, u64, String) {
        let mut buffer = [0; 256];
        let count = self.0.recv(&mut buffer).expect("a child says that it runs");
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let mut words = text.split(' ');
        (
            words.next().and_then(|w| w.parse().ok()).expect("a pid"),
            words.next().and_then(|w| w.parse().ok()).expect("a time"),
            words.next().unwrap_or("").to_owned(),
        )
    }
}

/// What a marked child does first: it says its pid and the time at which it runs.
pub fn announce(path: &str, word: &str) {
    let at = mono();
    let socket = UnixDatagram::unbound().expect("a socket");
    let _ = socket.send_to(
        format!("{} {at} {word}", std::process::id()).as_bytes(),
        path,
    );
}

/// The value below which that share of a sorted list lies.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let place = ((values.len() - 1) as f64 * share).round() as usize;
    values[place]
}

/// The median.
pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// Proportional set size in kB of a process, or nothing if it is gone.
pub fn pss_kb(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// CPU time in seconds that all threads of a process have used (schedstat: nanoseconds exact).
pub fn cpu_seconds(pid: i32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0.0;
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
        .sum::<f64>()
        / 1e9
}

/// The direct children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|w| w.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// One row of a markdown table.
pub fn row(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}

/// The head of a markdown table.
pub fn head(title: &str, cells: &[&str]) {
    println!("\n### {title}\n");
    row(cells);
    row(&vec!["---"; cells.len()]);
}
