//! What watching costs from outside: files that do not change, and probes. Run:
//! `cargo bench --bench sources`, or one of `files`, `probes` behind it.
//!
//! CPU time is that of all threads of the real program, by the kernel's nanoseconds; each
//! figure stands beside the same program that watches as many services in no such way.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{World, cpu_seconds, head, median, row};

const FILES: usize = 10_000;
const PROBES: usize = 1_000;
const ROUNDS: usize = 5;
/// Long enough for each probe to look once.
const ROUND: Duration = Duration::from_secs(10);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("--answer") {
        answer();
    }
    let only = args.iter().skip(1).find(|a| !a.starts_with("--")).cloned();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("files") {
        files();
    }
    if wanted("probes") {
        probes();
    }
}

/// The share of a core, in percent, that a program takes: one for each round.
fn share(world: &World) -> f64 {
    let (begin, before) = (Instant::now(), cpu_seconds(world.pid()));
    std::thread::sleep(ROUND);
    (cpu_seconds(world.pid()) - before) / begin.elapsed().as_secs_f64() * 100.0
}

/// Waits until it has done what there is to do at its start.
fn settle(world: &World) {
    let begin = Instant::now();
    loop {
        let before = cpu_seconds(world.pid());
        std::thread::sleep(Duration::from_secs(2));
        if cpu_seconds(world.pid()) - before < 0.1 {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it never rests");
    }
}

/// The medians of rounds in turn, so that neighbours disturb all alike.
fn in_turn(worlds: &[&World]) -> Vec<f64> {
    let mut shares = vec![Vec::new(); worlds.len()];
    for _ in 0..ROUNDS {
        for (world, shares) in worlds.iter().zip(&mut shares) {
            shares.push(share(world));
        }
    }
    shares.iter_mut().map(|shares| median(shares)).collect()
}

fn services(count: usize, keys: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for n in 0..count {
        write!(text, "[services.s{n}]\ninterval = \"1h\"\n{}\n", keys(n)).expect("a string");
    }
    text
}

fn files() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |n: usize| dir.path().join(format!("{}/{n}.json", n % 100));
    for n in 0..FILES {
        fs::create_dir_all(path(n).parent().expect("a directory")).expect("made");
        fs::write(
            path(n),
            "{\"timestamp\":\"2026-01-02T18:30:00Z\",\"cycle\":1}",
        )
        .expect("written");
    }
    let watched = World::start(&services(FILES, |n| {
        format!("heartbeat_file = {:?}\n", path(n))
    }));
    let bare = World::start(&services(FILES, |_| String::new()));
    settle(&watched);
    settle(&bare);
    let shares = in_turn(&[&bare, &watched]);
    head(
        "10,000 watched files in one tree, nothing changes",
        &["what", "share of a core (median of 5)"],
    );
    for (what, share) in ["no files (yardstick)", "a heartbeat file each"]
        .iter()
        .zip(shares)
    {
        row(&[what, &format!("{share:.3} %")]);
    }
}

fn probes() {
    let mut server = Command::new(std::env::current_exe().expect("our own path"))
        .arg("--answer")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut port = [0; 2];
    let mut out = server.stdout.take().expect("a pipe");
    out.read_exact(&mut port).expect("its port");
    let port = u16::from_be_bytes(port);
    let probed = |probe: &str| {
        let world = World::start(&services(PROBES, |_| {
            format!("probe = {{ {probe}, interval = \"10s\" }}\n")
        }));
        // The first looks come once a second until each has passed.
        world.wait_for_status(PROBES, "healthy");
        world
    };
    let bare = World::start(&services(PROBES, |_| String::new()));
    let http = probed(&format!("http = \"http://127.0.0.1:{port}/health\""));
    let tcp = probed(&format!("tcp = \"127.0.0.1:{port}\""));
    settle(&bare);
    // All have looked in their own time once: no more of those that come at the start.
    std::thread::sleep(ROUND);
    let shares = in_turn(&[&bare, &http, &tcp]);
    let yardstick = by_hand(port);
    head(
        "1,000 probes, each every 10 s",
        &["what", "share of a core (median of 5)"],
    );
    row(&["no probes", &format!("{:.2} %", shares[0])]);
    row(&[
        "100 GETs a second by a bare blocking loop (yardstick)",
        &format!("{yardstick:.2} %"),
    ]);
    row(&["by HTTP", &format!("{:.2} %", shares[1])]);
    row(&["by TCP", &format!("{:.2} %", shares[2])]);
    server.kill().expect("the server can be killed");
    server.wait().expect("the server can be waited for");
}

/// What as many looks cost in a loop that does nothing else.
fn by_hand(port: u16) -> f64 {
    let mut shares = Vec::new();
    for _ in 0..ROUNDS {
        let before = support::clock(libc::CLOCK_THREAD_CPUTIME_ID);
        for _ in 0..500 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            write!(
                stream,
                "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            )
            .expect("a request");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an answer");
            std::thread::sleep(Duration::from_millis(1));
        }
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let seconds = (support::clock(libc::CLOCK_THREAD_CPUTIME_ID) - before) as f64 / 1e9;
        // 500 looks are those of five seconds.
        shares.push(seconds / 5.0 * 100.0);
    }
    median(&mut shares)
}

/// A server that is always well; says its port first.
fn answer() -> ! {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut out = std::io::stdout();
    out.write_all(&port.to_be_bytes()).expect("said");
    out.flush().expect("said");
    loop {
        let Ok((mut stream, _)) = listener.accept() else {
            continue;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let mut buffer = [0; 1024];
        if stream.read(&mut buffer).is_ok_and(|count| count > 0) {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    }
}
