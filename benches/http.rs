//! HTTP: pulses through the real program against a bare actix-web hello, with the same number of
//! workers and the same load, in turn. Run: `cargo bench --bench http`.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{World, free_port, head, median, row};

/// What the program starts on TCP: the yardstick gets the same.
const WORKERS: usize = 2;
/// Connections that send one request after the other.
const CONNECTIONS: usize = 16;
/// The keys of ping URLs.
const KEY: &str = "fqOOd6-F4MMNuCEnzTU01w";
const UUID: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(1_500);

/// Rates of a ping URL, and each by that of a pulse beside it.
#[derive(Default)]
struct Pairs {
    rates: Vec<f64>,
    ratios: Vec<f64>,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("--hello") {
        hello(args[2].parse().expect("a port"));
        return;
    }

    let world = World::start(&format!(
        "[pings]\nkey = \"{KEY}\"\n[services.bench]\ninterval = 10\nping_uuid = \"{UUID}\"\n"
    ));
    world.wait_for(1, "external", Instant::now());
    let port = free_port();
    let mut yardstick = Command::new(std::env::current_exe().expect("our own path"))
        .args(["--hello", &port.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("the yardstick starts");
    wait_port(port);
    wait_port(world.port);

    let pulse = |port| {
        format!(
            "POST /api/pulse/bench HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let hello = |port| {
        format!("POST /hello HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n")
    };
    let ping = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n",
            world.port
        )
    };
    let own = ping(&format!("/ping/{UUID}"));
    let slug = ping(&format!("/ping/{KEY}/bench"));
    let (mut pulses, mut hellos, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut pings, mut slugs) = (Pairs::default(), Pairs::default());
    let before = total(&world);
    let mut sent = 0;
    for round in 0..ROUNDS {
        let (bare, _) = load(port, &hello(port));
        let (ours, count) = load(world.port, &pulse(world.port));
        sent += count;
        hellos.push(bare);
        pulses.push(ours);
        ratios.push(ours / bare);
        // Each beside a pulse of its own moment, now before and now after it.
        for (pairs, request) in [(&mut pings, &own), (&mut slugs, &slug)] {
            let first = (round % 2 == 0).then(|| load(world.port, request));
            let (pulse, of_pulses) = load(world.port, &pulse(world.port));
            let (rate, of_pings) = first.unwrap_or_else(|| load(world.port, request));
            sent += of_pulses + of_pings;
            pairs.rates.push(rate);
            pairs.ratios.push(rate / pulse);
        }
    }
    yardstick.kill().expect("the yardstick can be killed");
    yardstick.wait().expect("the yardstick can be waited for");
    std::thread::sleep(Duration::from_millis(200));
    let counted = total(&world) - before;

    head(
        "HTTP pulse through the actors",
        &["what", "requests/s (median of 7)"],
    );
    row(&[
        "bare hello of actix-web (yardstick)",
        &format!("{:.0}", median(&mut hellos)),
    ]);
    row(&[
        "POST /api/pulse/NAME",
        &format!("{:.0}", median(&mut pulses)),
    ]);
    row(&[
        "ratio (median of pairs)",
        &format!("{:.2} ×", median(&mut ratios)),
    ]);
    for (path, pairs) in [("/ping/UUID", &mut pings), ("/ping/KEY/NAME", &mut slugs)] {
        row(&[
            &format!("GET {path}"),
            &format!("{:.0}", median(&mut pairs.rates)),
        ]);
        row(&[
            "ratio to POST /api/pulse/NAME (median of pairs)",
            &format!("{:.2} ×", median(&mut pairs.ratios)),
        ]);
    }
    row(&["pulses sent and counted", &format!("{sent} / {counted}")]);
    assert_eq!(sent, counted, "every acknowledged pulse is counted");
    let bytes = pulse(world.port).len() + answer_bytes(&pulse(world.port), world.port);
    row(&["bytes of a pulse, both ways", &bytes.to_string()]);
}

fn total(world: &World) -> u64 {
    world
        .services()
        .first()
        .and_then(|s| s["total_pulses"].as_u64())
        .expect("a count of pulses")
}

/// Requests per second, and how many were answered.
fn load(port: u16, request: &str) -> (f64, u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (stop, count, request) = (stop.clone(), count.clone(), request.to_owned());
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
                stream.set_nodelay(true).expect("an option");
                let mut buffer = [0; 4096];
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(request.as_bytes()).expect("a request");
                    let mut have = 0;
                    while !complete(&buffer[..have]) {
                        let more = stream.read(&mut buffer[have..]).expect("an answer");
                        assert!(more > 0, "the server hung up");
                        have += more;
                    }
                    done += 1;
                }
                count.fetch_add(done, Ordering::Relaxed);
            })
        })
        .collect();
    std::thread::sleep(ROUND);
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a client");
    }
    let count = count.load(Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    (rate, count)
}

/// Whether a whole answer has arrived: head, and as much body as it announces.
fn complete(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| {
            line.strip_prefix("content-length:")?
                .trim()
                .parse::<usize>()
                .ok()
        })
        .unwrap_or(0);
    answer.len() >= end + 4 + length
}

fn answer_bytes(request: &str, port: u16) -> usize {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut buffer = vec![0; 4096];
    let mut have = 0;
    while !complete(&buffer[..have]) {
        have += stream.read(&mut buffer[have..]).expect("an answer");
    }
    have
}

fn wait_port(port: u16) {
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "nobody listens on {port}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The yardstick: the least that actix-web can do.
fn hello(port: u16) {
    use actix_web::{App, HttpResponse, HttpServer, web};
    actix_web::rt::System::new()
        .block_on(
            HttpServer::new(|| {
                App::new().route(
                    "/hello",
                    web::post().to(|| async { HttpResponse::Accepted().finish() }),
                )
            })
            .workers(WORKERS)
            .bind(("127.0.0.1", port))
            .expect("a port")
            .run(),
        )
        .expect("the yardstick serves");
}
