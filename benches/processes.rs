//! Processes: how fast a killed, hung or stopped service is dealt with, what adopting many
//! costs, and what five services cost at rest. Run: `cargo bench --bench processes`.
//!
//! runit and supervisord run in the same run (from `target/peers`, see `benches/peers`); where
//! they are not there their rows are left out and said so.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use support::{Listener, World, announce, head, median, mono, percentile, row};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "--hanger") {
        hanger(&args[2]);
    }
    let only = args.iter().skip(1).find(|a| !a.starts_with("--")).cloned();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("kill") {
        kill_to_replacement();
    }
    if wanted("stop") {
        stop_of_five();
    }
    if wanted("hang") {
        hang_to_replacement();
    }
    if wanted("adopt") {
        adoption();
    }
    if wanted("many") {
        many();
    }
    if wanted("rest") {
        at_rest();
    }
}

/// This benchmark as the program that services run.
fn me() -> PathBuf {
    std::env::current_exe().expect("our own path")
}

/// The program that says when it was executed: see `support/marked.rs`. Compiled once, and
/// static: what is measured is how soon it was executed, not how long a loader looks for libraries.
fn marked() -> &'static Path {
    static MARKED: OnceLock<PathBuf> = OnceLock::new();
    MARKED.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let out = root.join("target/marked");
        let status = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition",
                "2024",
                "-C",
                "opt-level=3",
                "-C",
                "panic=abort",
            ])
            .args([
                "-C",
                "target-feature=+crt-static",
                "-C",
                "relocation-model=static",
            ])
            .arg(root.join("benches/support/marked.rs"))
            .arg("-o")
            .arg(&out)
            .status()
            .expect("rustc runs");
        assert!(status.success(), "the marked program does not compile");
        out
    })
}

// === Peers ===

fn peers() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/root");
    root.join("usr/bin/runsvdir").exists().then_some(root)
}

/// A supervisor that we compare with: its process and its directory.
struct Peer {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap_or(0);
        // SAFETY: a signal to a child that has not been waited for; runsvdir ends its runsv
        // on HUP, supervisord its programs on TERM.
        unsafe {
            libc::kill(pid, libc::SIGHUP);
            libc::kill(pid, libc::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

fn runit(root: &Path, count: usize, socket: &Path) -> Peer {
    let dir = tempfile::tempdir().expect("a directory");
    for n in 0..count {
        let service = dir.path().join(format!("s{n}"));
        fs::create_dir(&service).expect("a directory");
        let run = service.join("run");
        fs::write(
            &run,
            format!(
                "#!/bin/sh\nexec {} {} s{n}\n",
                marked().display(),
                socket.display()
            ),
        )
        .expect("a run script");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let path = format!("{}:/usr/bin:/bin", root.join("usr/bin").display());
    let child = Command::new(root.join("usr/bin/runsvdir"))
        .arg(dir.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("runsvdir starts");
    Peer { child, dir }
}

fn supervisord(root: &Path, count: usize, socket: &Path) -> Peer {
    let dir = tempfile::tempdir().expect("a directory");
    let mut text = format!(
        "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={0}/pid\n\
         [unix_http_server]\nfile={0}/sock\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
        dir.path().display()
    );
    for n in 0..count {
        text.push_str(&format!(
            "[program:s{n}]\ncommand={} {} s{n}\nautorestart=true\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n",
            marked().display(),
            socket.display()
        ));
    }
    let conf = dir.path().join("supervisord.conf");
    fs::write(&conf, text).expect("a configuration");
    let child = Command::new("/usr/bin/python3")
        .arg(root.join("usr/bin/supervisord"))
        .arg("-c")
        .arg(&conf)
        .env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("supervisord starts");
    Peer { child, dir }
}

/// Our configuration of `count` marked children. A series of restarts ends after 500 ms, so
/// that each kill is the first of its series.
fn ours(count: usize, socket: &Path) -> World {
    let mut text = String::new();
    for n in 0..count {
        text.push_str(&format!(
            "[services.s{n}]\ncommand = [\"{}\", \"{}\", \"s{n}\"]\nmax_restarts = 1000\nbackoff = {{ reset_after = \"500ms\" }}\n",
            marked().display(),
            socket.display()
        ));
    }
    World::start(&text)
}

// === Kill → replacement ===

/// SIGKILL to a service → its replacement has been executed: milliseconds from the kill to the
/// replacement's main, for a few dozen kills of each.
fn kill_to_replacement() {
    const ROUNDS: usize = 30;
    /// runit waits a second between starts, so each life must be longer than that.
    const LIFE: Duration = Duration::from_millis(1_150);

    let dir = tempfile::tempdir().expect("a directory");
    let mut runs: Vec<(&str, Listener, i32, Vec<f64>)> = Vec::new();
    let mut keep: Vec<Box<dyn std::any::Any>> = Vec::new();
    let mut add = |name: &'static str, start: &dyn Fn(&Path) -> Box<dyn std::any::Any>| {
        let socket = dir.path().join(name);
        let listener = Listener::bind(&socket);
        keep.push(start(&socket));
        let pid = listener.next().0;
        runs.push((name, listener, pid, Vec::new()));
    };
    add("supervisor", &|socket| Box::new(ours(1, socket)));
    if let Some(root) = peers() {
        add("runit", &|socket| Box::new(runit(&root, 1, socket)));
        add("supervisord", &|socket| {
            Box::new(supervisord(&root, 1, socket))
        });
    } else {
        eprintln!("runit and supervisord are not in target/peers: run benches/peers first");
    }

    let mut bare = Vec::new();
    let bare_socket = dir.path().join("bare");
    let bare_listener = Listener::bind(&bare_socket);
    for _ in 0..ROUNDS {
        std::thread::sleep(LIFE);
        for (_, listener, pid, times) in &mut runs {
            let begin = mono();
            // SAFETY: the process announced itself and is killed once.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
            let (next, at, _) = listener.next();
            assert_ne!(next, *pid, "the replacement is another process");
            *pid = next;
            times.push(ms(begin, at));
        }
        let begin = mono();
        let mut child = Command::new(marked())
            .arg(&bare_socket)
            .spawn()
            .expect("a child");
        bare.push(ms(begin, bare_listener.next().1));
        child.kill().expect("a kill");
        child.wait().expect("a wait");
    }

    head(
        "SIGKILL of a service → its replacement has been executed",
        &["program", "p50", "p99", "kills"],
    );
    let line = |name: &str, times: &mut [f64]| {
        row(&[
            name,
            &format!("{:.2} ms", median(times)),
            &format!("{:.2} ms", percentile(times, 0.99)),
            &times.len().to_string(),
        ]);
    };
    line("a bare spawn of the same program (yardstick)", &mut bare);
    for (name, _, _, times) in &mut runs {
        line(name, times);
    }
}

#[expect(clippy::cast_precision_loss, reason = "differences of milliseconds")]
fn ms(begin: u64, end: u64) -> f64 {
    end.saturating_sub(begin) as f64 / 1e6
}

// === Stop ===

/// Five services that obey SIGTERM: from the command to the end of the last process.
fn stop_of_five() {
    const ROUNDS: usize = 7;
    let dir = tempfile::tempdir().expect("a directory");
    let gather = |listener: &Listener| -> Vec<i32> { (0..5).map(|_| listener.next().0).collect() };
    let mut results: Vec<(&str, Vec<f64>)> = Vec::new();

    let listener = Listener::bind(&dir.path().join("ours"));
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut world = ours(5, &dir.path().join("ours"));
        let pids = gather(&listener);
        world.wait_for(5, "running", Instant::now());
        let fds = pidfds(&pids);
        let begin = Instant::now();
        // SAFETY: our own child, not yet waited for.
        unsafe { libc::kill(world.pid(), libc::SIGTERM) };
        wait_ends(&fds);
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        world.stop();
    }
    results.push(("supervisor (SIGTERM to it)", times));

    if let Some(root) = peers() {
        let socket = dir.path().join("runit");
        let listener = Listener::bind(&socket);
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let peer = runit(&root, 5, &socket);
            let pids = gather(&listener);
            let fds = pidfds(&pids);
            let begin = Instant::now();
            for n in 0..5 {
                fs::write(peer.dir.path().join(format!("s{n}/supervise/control")), "d")
                    .expect("a control pipe");
            }
            wait_ends(&fds);
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        results.push(("runit (d to each)", times));

        let socket = dir.path().join("supervisord");
        let listener = Listener::bind(&socket);
        let mut times = Vec::new();
        for _ in 0..3 {
            let peer = supervisord(&root, 5, &socket);
            let pids = gather(&listener);
            let fds = pidfds(&pids);
            let begin = Instant::now();
            let pid = i32::try_from(peer.child.id()).unwrap_or(0);
            // SAFETY: our own child, not yet waited for.
            unsafe { libc::kill(pid, libc::SIGTERM) };
            wait_ends(&fds);
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        results.push(("supervisord (SIGTERM to it)", times));
    }

    head(
        "Stop of five services that obey SIGTERM",
        &["program", "median", "max"],
    );
    for (name, times) in &mut results {
        row(&[
            name,
            &format!("{:.1} ms", median(times)),
            &format!("{:.1} ms", percentile(times, 1.0)),
        ]);
    }
}

fn pidfds(pids: &[i32]) -> Vec<i32> {
    pids.iter()
        .map(|pid| {
            // SAFETY: a plain system call; the descriptor is closed by `wait_ends`.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, *pid, 0) };
            i32::try_from(fd).expect("a descriptor")
        })
        .collect()
}

/// Waits until all those processes have ended, and closes the descriptors.
fn wait_ends(fds: &[i32]) {
    for fd in fds {
        let mut poll = libc::pollfd {
            fd: *fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid entry; the descriptor is ours and closed once.
        unsafe {
            libc::poll(&raw mut poll, 1, 20_000);
            libc::close(*fd);
        }
    }
}

// === Hang → replacement ===

/// The service of the next figure: pulses every 100 ms for a second, says when it pulsed
/// last, and hangs.
fn hanger(path: &str) {
    use std::io::{Read, Write};
    announce(path, "start");
    let url = std::env::var("SUPERVISOR_URL").expect("the supervisor's address");
    let name = std::env::var("SUPERVISOR_SERVICE").expect("our name");
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    for n in 0..10 {
        let mut stream = std::net::TcpStream::connect(&address).expect("the supervisor answers");
        if n == 9 {
            announce(path, "last");
        }
        write!(
            stream,
            "POST /api/pulse/{name} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .expect("a request");
        let _ = stream.read_to_end(&mut Vec::new());
        std::thread::sleep(Duration::from_millis(100));
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// A service hangs: from its last pulse to its replacement, beyond the limit (1 s).
fn hang_to_replacement() {
    const ROUNDS: usize = 15;
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("hang");
    let listener = Listener::bind(&socket);
    let world = World::start(&format!(
        "[services.hanger]\ncommand = [\"{}\", \"--hanger\", \"{}\"]\ninterval = \"200ms\"\ngrace = \"100ms\"\n\
         warning_after = \"400ms\"\ndegraded_after = \"600ms\"\ncritical_after = \"1s\"\nmax_restarts = 1000\n\
         backoff = {{ reset_after = \"500ms\" }}\n",
        me().display(),
        socket.display()
    ));
    let mut beyond = Vec::new();
    let mut last = None;
    while beyond.len() < ROUNDS {
        let (_, at, word) = listener.next();
        match (word.as_str(), last) {
            ("last", _) => last = Some(at),
            (_, Some(begin)) => {
                beyond.push(ms(begin, at) - 1_000.0);
                last = None;
            }
            _ => {}
        }
    }
    drop(world);
    head(
        "A hang → its replacement, beyond the limit of 1 s",
        &["program", "p50", "p99", "hangs"],
    );
    row(&[
        "supervisor",
        &format!("{:.2} ms", median(&mut beyond)),
        &format!("{:.2} ms", percentile(&mut beyond, 0.99)),
        &beyond.len().to_string(),
    ]);
}

// === Adoption ===

fn sleepers(count: usize) -> String {
    (0..count)
        .map(|n| format!("[services.s{n}]\ncommand = [\"sleep\", \"86400\"]\n"))
        .collect()
}

/// SIGKILL of the supervisor with 500 children → all adopted, with the same pids.
fn adoption() {
    const COUNT: usize = 500;
    let begin = Instant::now();
    let mut world = World::start(&sleepers(COUNT));
    let cold = world.wait_for(COUNT, "running", begin);
    let mut times = Vec::new();
    for _ in 0..5 {
        let before = world.pids();
        assert_eq!(before.len(), COUNT);
        world.kill();
        let begin = Instant::now();
        world.launch();
        let took = world.wait_for_pids(COUNT, begin);
        assert!(
            world.pids() == before,
            "the same processes, none lost, none doubled"
        );
        times.push(took.as_secs_f64());
    }
    head("500 children", &["what", "time"]);
    row(&[
        "started from nothing (yardstick)",
        &format!("{:.2} s", cold.as_secs_f64()),
    ]);
    row(&[
        "adopted after SIGKILL (median of 5)",
        &format!("{:.2} s", median(&mut times)),
    ]);
}

/// 1,000 `sleep`s: started, weighed, stopped.
fn many() {
    const COUNT: usize = 1_000;
    let begin = Instant::now();
    let mut world = World::start(&sleepers(COUNT));
    let started = world.wait_for(COUNT, "running", begin);
    let pids = world.pids();
    let shims = children(&world);
    let pss =
        |list: &mut dyn Iterator<Item = i32>| -> u64 { list.filter_map(support::pss_kb).sum() };
    let shim_kb = pss(&mut shims.iter().copied());
    let service_kb = pss(&mut pids.iter().map(|(_, pid)| *pid));
    let own_kb = support::pss_kb(world.pid()).unwrap_or(0);
    let stopped = world.stop();
    head("1,000 sleep services", &["what", "figure"]);
    row(&["all started", &format!("{:.2} s", started.as_secs_f64())]);
    row(&["all stopped", &format!("{:.2} s", stopped.as_secs_f64())]);
    row(&["PSS of the shims", &format!("{:.1} MB", mb(shim_kb))]);
    row(&["PSS of the sleeps", &format!("{:.1} MB", mb(service_kb))]);
    row(&["PSS of the supervisor", &format!("{:.1} MB", mb(own_kb))]);
}

/// The shims: the supervisor's own children.
fn children(world: &World) -> Vec<i32> {
    support::children(world.pid())
}

#[expect(clippy::cast_precision_loss, reason = "megabytes to show")]
fn mb(kb: u64) -> f64 {
    kb as f64 / 1024.0
}

// === At rest ===

/// Five services at 15–60 s intervals with the API on: CPU and memory. Thirty seconds by
/// default, `REST_SECONDS=300` for the long run.
fn at_rest() {
    let seconds: u64 = std::env::var("REST_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(60);
    let mut text = String::new();
    for (n, interval) in [15, 20, 30, 45, 60].iter().enumerate() {
        text.push_str(&format!(
            "[services.s{n}]\ncommand = [\"sh\", \"-c\", \"while :; do sleep 3600; done\"]\ninterval = {interval}\n"
        ));
    }
    let world = World::start(&text);
    // A pulse that comes before a process has executed is not of its life.
    world.wait_for_pids(5, Instant::now());
    let pulse = || {
        for n in 0..5 {
            world.request("POST", &format!("/api/pulse/s{n}"));
        }
    };
    pulse();
    world.wait_for(5, "running", Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let everyone: Vec<i32> = std::iter::once(world.pid())
        .chain(children(&world))
        .collect();
    let cpu = || {
        everyone
            .iter()
            .map(|pid| support::cpu_seconds(*pid))
            .sum::<f64>()
    };
    let before = cpu();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_secs(15).min(Duration::from_secs(seconds)));
        pulse();
    }
    let share = (cpu() - before) / begin.elapsed().as_secs_f64() * 100.0;
    let own = support::pss_kb(world.pid()).unwrap_or(0);
    let shims: Vec<u64> = everyone[1..]
        .iter()
        .filter_map(|pid| support::pss_kb(*pid))
        .collect();
    head("Five services at rest", &["what", "figure"]);
    row(&[
        "CPU of supervisor and shims",
        &format!("{share:.4} % of a core over {seconds} s"),
    ]);
    row(&["PSS of the supervisor", &format!("{:.2} MB", mb(own))]);
    row(&[
        "PSS of a shim (largest)",
        &format!("{:.2} MB", mb(shims.iter().copied().max().unwrap_or(0))),
    ]);
    row(&[
        "PSS of all",
        &format!("{:.2} MB", mb(own + shims.iter().sum::<u64>())),
    ]);
}
