//! The dashboard in a real browser: how soon a change of level is on the page, how soon ten
//! thousand services are, what they weigh, and what an open page costs a supervisor at rest.
//! Run: `cargo bench --bench page` (or `-- live`, `many`, `idle` with PAGE_SECONDS=300).
//!
//! It needs Chromium and what `tests/run` has installed in `target/page-tools`.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use support::{World, head, median, percentile, row};

/// Where Debian's package and others put it.
const BROWSERS: [&str; 3] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
];

fn main() {
    let only = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("live") {
        live();
    }
    if wanted("many") {
        many();
    }
    if wanted("idle") {
        idle();
    }
}

/// A script beside this file, with a browser; it says figures, one a line: `name value`.
struct Script {
    child: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(world: &World, task: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let tools = root.join("target/page-tools");
        assert!(
            tools.join("node_modules/playwright-core").exists(),
            "{} is missing: run tests/run",
            tools.display()
        );
        let browser = BROWSERS.into_iter().find(|path| Path::new(path).exists());
        let token = std::fs::read_to_string(world.dir.path().join("data/token"));
        let mut child = Command::new("node")
            .arg(root.join("benches/page.mjs"))
            .arg(task)
            .env("PAGE_URL", format!("http://127.0.0.1:{}", world.port))
            .env("PAGE_TOKEN", token.expect("a token").trim())
            .env("PAGE_TOOLS", &tools)
            .env("PAGE_BROWSER", browser.expect("chromium: run tests/run"))
            .env("TMPDIR", world.dir.path())
            .env("HOME", world.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let input = child.stdin.take().expect("its input");
        let output = child.stdout.take().expect("its output");
        Self {
            child,
            input,
            lines: BufReader::new(output).lines(),
        }
    }

    /// The next figure, unless it has ended.
    fn next(&mut self) -> Option<(String, f64)> {
        let line = self.lines.next()?.expect("UTF-8");
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        Some((name.to_owned(), value.parse().expect("a number")))
    }

    /// All figures of that name, in order, until it ends.
    fn figures(mut self) -> Vec<(String, f64)> {
        let mut all = Vec::new();
        while let Some(figure) = self.next() {
            all.push(figure);
        }
        let status = self.child.wait().expect("node ends");
        assert!(status.success(), "the script failed: {status}");
        all
    }
}

fn of<'a>(all: &'a [(String, f64)], name: &'a str) -> Vec<f64> {
    all.iter()
        .filter(|(other, _)| other == name)
        .map(|(_, value)| *value)
        .collect()
}

// === How soon a change is seen ===

/// From the request that makes a service critical (or well again) to the page's row, and to
/// whoever reads the stream without a browser; alone, and beside services that pulse all the time.
fn live() {
    let services: String = (0..52)
        .map(|n| format!("[services.s{n:02}]\ninterval = \"1h\"\n"))
        .collect();
    let world = World::start(&services);
    world.wait_for(52, "external", Instant::now());
    let all = Script::start(&world, "live").figures();
    head(
        "A change of level → seen",
        &["what", "p50", "p99", "worst", "changes", "goal"],
    );
    for (name, words, goal) in [
        ("stream", "by a reader of the stream (yardstick)", ""),
        ("page", "on the page", "300 ms"),
        (
            "busy stream",
            "50 others pulse 5 times a second: by a reader",
            "",
        ),
        ("busy page", "… on the page", "300 ms"),
    ] {
        let mut times = of(&all, name);
        let count = times.len();
        row(&[
            words,
            &format!("{:.0} ms", median(&mut times)),
            &format!("{:.0} ms", percentile(&mut times, 0.99)),
            &format!("{:.0} ms", percentile(&mut times, 1.0)),
            &count.to_string(),
            goal,
        ]);
    }
}

// === Many ===

fn many() {
    const ROUNDS: usize = 7;
    let few = World::start("[services.one]\ninterval = \"1h\"\n");
    few.wait_for(1, "external", Instant::now());
    let yardstick = Script::start(&few, "paint").figures();
    drop(few);
    let services: String = (0..10_000)
        .map(|n| format!("[services.many-{n:05}]\ninterval = \"1h\"\n"))
        .collect();
    let world = World::start(&services);
    world.wait_for(10_000, "external", Instant::now());
    let all = Script::start(&world, "paint").figures();
    head(
        "10,000 services on the page",
        &["what", "one service (yardstick)", "10,000", "goal"],
    );
    let mid = |all: &[(String, f64)], name: &str| median(&mut of(all, name));
    for (name, words, unit, goal) in [
        ("paint", "first paint", "ms", "1 s"),
        ("rows", "rows on the screen", "ms", ""),
        ("snapshot", "snapshot, compressed", "bytes", "500 kB"),
        ("assets", "the page's files, compressed", "bytes", "150 kB"),
    ] {
        let figure = |all| match unit {
            "ms" => format!("{:.0} ms", mid(all, name)),
            _ => format!("{:.1} kB", mid(all, name) / 1e3),
        };
        row(&[words, &figure(&yardstick), &figure(&all), goal]);
    }
    let timed = |path: &str| {
        let mut size = 0;
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let begin = Instant::now();
                let (status, body) = world.request("GET", path).expect("an answer");
                assert_eq!(status, 200, "{path}");
                size = body.len();
                begin.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        (median(&mut times), size)
    };
    let (list, list_size) = timed("/api/services");
    let (metrics, metrics_size) = timed("/metrics");
    head(
        "/metrics of 10,000 services",
        &["what", "median", "size", "goal"],
    );
    #[expect(clippy::cast_precision_loss, reason = "megabytes to show")]
    let megabytes = |size: usize| format!("{:.1} MB", size as f64 / 1e6);
    row(&[
        "GET /api/services (yardstick)",
        &format!("{list:.0} ms"),
        &megabytes(list_size),
        "",
    ]);
    row(&[
        "GET /metrics",
        &format!("{metrics:.0} ms"),
        &megabytes(metrics_size),
        "200 ms",
    ]);
}

// === At rest ===

/// Five services that pulse by living, nobody asking; then with the page open. Only the
/// supervisor's CPU counts.
fn idle() {
    let seconds: u64 = std::env::var("PAGE_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(60);
    let services: String = (0..5)
        .map(|n| format!("[services.s{n}]\ncommand = [\"sleep\", \"86400\"]\n"))
        .collect();
    let world = World::start(&services);
    world.wait_for(5, "running", Instant::now());
    // The start's work is done by then.
    std::thread::sleep(Duration::from_secs(25));
    let share = || {
        let begin = Instant::now();
        let before = support::cpu_seconds(world.pid());
        std::thread::sleep(Duration::from_secs(seconds));
        (support::cpu_seconds(world.pid()) - before) / begin.elapsed().as_secs_f64() * 100.0
    };
    let alone = share();
    let mut script = Script::start(&world, "open");
    while script.next().expect("it opens the page").0 != "open" {}
    std::thread::sleep(Duration::from_secs(5));
    let watched = share();
    writeln!(script.input, "enough").expect("it listens");
    script.figures();
    head(
        "CPU of the supervisor, five services at rest, history on",
        &["what", "share of a core"],
    );
    row(&["nobody looks (yardstick)", &format!("{alone:.4} %")]);
    row(&["the page is open", &format!("{watched:.4} %")]);
}
