//! The sync: scans against find and sha256sum, rows into a real PostgREST against one row a
//! request, how soon an edit is known, watches, memory. Run: `cargo bench --bench sync`, or with
//! `-- scan`, `first`, `rows`, `latency`, `watches` or `memory` for one of them.
#![expect(clippy::disallowed_methods, reason = "benchmarks measure real time")]

mod support;

#[path = "sync/outbox.rs"]
mod outbox;
#[path = "../tests/common/postgrest/mod.rs"]
mod postgrest;
#[path = "sync/rows.rs"]
mod rows;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{PROGRAM, World, head, median, row};

const ROUNDS: usize = 5;
const FILES: usize = 50_000;
const FOLDERS: usize = 500;
/// A document as people write them.
const BYTES: usize = 4_000;

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let all: [(&str, fn()); 6] = [
        ("scan", scan),
        ("first", first),
        ("rows", rows::run),
        ("latency", outbox::run),
        ("watches", watches),
        ("memory", memory),
    ];
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run();
        }
    }
}

/// A project below `dir`: so many documents in so many folders.
fn project(dir: &Path, files: usize, folders: usize, bytes: usize) {
    for folder in 0..folders {
        fs::create_dir_all(dir.join(format!("docs/d{folder}"))).expect("a folder");
    }
    for n in 0..files {
        let mut text = format!("---\ntitle: Document {n}\n---\n");
        while text.len() < bytes {
            text.push_str("a line of the document that says something\n");
        }
        text.truncate(bytes.max(30));
        let path = dir.join(format!("docs/d{}/{n}.md", n % folders));
        fs::write(path, text).expect("a document");
    }
}

fn configure(dir: &Path, more: &str) {
    let text = format!(
        "[supervisor]\ndata_dir = \"data\"\n[sync]\n{more}\n[[sync.dirs]]\npath = \"docs\"\ntable = \"docs\"\n"
    );
    fs::write(dir.join("supervisor.toml"), text).expect("a configuration");
}

/// What a `--once` took, in seconds: the walk and what follows from it, of that the reading of
/// files on each of its threads, and the whole process.
struct Took {
    walk: f64,
    read: f64,
    all: f64,
    log: String,
    began: std::time::SystemTime,
}

fn once(dir: &Path, env: &[(&str, &str)]) -> Took {
    let (began, at) = (Instant::now(), std::time::SystemTime::now());
    let done = Command::new(PROGRAM)
        .args(["--once", "--config"])
        .arg(dir.join("supervisor.toml"))
        .envs(env.iter().copied())
        .output()
        .expect("the program");
    let all = began.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}", tail(&said));
    Took {
        // Of more than can be written lines are lost, this one as well.
        walk: walk_of(&said).unwrap_or(f64::NAN),
        read: seconds_of(&said, "read_ms").unwrap_or(f64::NAN),
        all,
        log: said.into_owned(),
        began: at,
    }
}

/// Seconds of the first walk that the log tells of.
fn walk_of(log: &str) -> Option<f64> {
    seconds_of(log, "took_ms")
}

fn seconds_of(log: &str, what: &str) -> Option<f64> {
    let line = log
        .lines()
        .find(|line| line.contains("everything was looked at"))?;
    let took = line.split(&format!("{what}: ")).nth(1)?;
    let digits: String = took.chars().take_while(char::is_ascii_digit).collect();
    Some(digits.parse::<f64>().ok()? / 1_000.0)
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(2_000);
    text.get(from..).unwrap_or(text)
}

fn shell(script: &str, dir: &Path) -> f64 {
    let began = Instant::now();
    let done = Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .stdout(Stdio::null())
        .status()
        .expect("sh");
    assert!(done.success(), "{script}");
    began.elapsed().as_secs_f64()
}

/// A row for the yardstick and rows with what is ours as a multiple of it.
fn table(title: &str, yardstick: &str, base: &mut [f64], ours: &mut [(&str, Vec<f64>)]) {
    head(title, &["what", "median of 5", "of the yardstick"]);
    let base = median(base);
    row(&[yardstick, &seconds(base), "1"]);
    for (what, all) in ours {
        let all = median(all);
        row(&[what, &seconds(all), &format!("{:.2} ×", all / base)]);
    }
}

fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} ms", value * 1_000.0)
    } else {
        format!("{value:.2} s")
    }
}

fn scan() {
    let dir = tempfile::tempdir().expect("a directory");
    project(dir.path(), FILES, FOLDERS, 200);
    configure(dir.path(), "");
    once(dir.path(), &[]);
    let (mut find, mut walk, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        find.push(shell("find docs -type f -printf '%s %T@\\n'", dir.path()));
        let took = once(dir.path(), &[]);
        walk.push(took.walk);
        all.push(took.all);
    }
    table(
        "a scan of 50,000 unchanged files (goal: 0.5 × find)",
        "find -printf '%s %T@'",
        &mut find,
        &mut [("the scan", walk), ("all of `--once`", all)],
    );
}

fn first() {
    let dir = tempfile::tempdir().expect("a directory");
    project(dir.path(), FILES, FOLDERS, BYTES);
    configure(dir.path(), "");
    let (mut sums, mut read) = (Vec::new(), Vec::new());
    let (mut walk, mut all) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        sums.push(shell(
            "find docs -type f -print0 | xargs -0 -P4 -n 500 sha256sum",
            dir.path(),
        ));
        let _ = fs::remove_dir_all(dir.path().join("data"));
        let took = once(dir.path(), &[]);
        read.push(took.read);
        walk.push(took.walk);
        all.push(took.all);
    }
    table(
        "a first scan of 50,000 files of 4 kB (goal: 0.33 × sha256sum)",
        "find | xargs -P4 sha256sum",
        &mut sums,
        &mut [
            ("reading and hashing, on each of 4 threads", read),
            ("the scan: walked, read, hashed, on record", walk),
            ("all of `--once`: in tables.db, too", all),
        ],
    );
}

/// The program, going on over a project.
fn going_on(prepare: impl FnOnce(&Path)) -> (World, f64) {
    let mut world = World::start("");
    world.stop();
    prepare(world.dir.path());
    let text = format!(
        "[supervisor]\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"data\"\n[sync]\ndebounce = \"1h\"\nmax_wait = \"2h\"\n[[sync.dirs]]\npath = \"docs\"\ntable = \"docs\"\n",
        world.port
    );
    fs::write(world.dir.path().join("supervisor.toml"), text).expect("a configuration");
    world.launch();
    let walk = wait_walk(&world);
    (world, walk)
}

fn wait_walk(world: &World) -> f64 {
    let began = Instant::now();
    loop {
        let log = fs::read_to_string(world.dir.path().join("stderr.log")).unwrap_or_default();
        if let Some(walk) = walk_of(&log) {
            return walk;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{}", tail(&log));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn watches() {
    let (mut find, mut walk) = (Vec::new(), Vec::new());
    let (mut world, _) = going_on(|dir| project(dir, 0, FILES, 0));
    for _ in 0..ROUNDS {
        find.push(shell("find docs -type d", world.dir.path()));
        world.stop();
        let _ = fs::remove_file(world.dir.path().join("stderr.log"));
        world.launch();
        walk.push(wait_walk(&world));
        let (_, body) = world.request("GET", "/api/sync").expect("a status");
        let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(status["watch"]["mode"], "kernel", "{}", status["watch"]);
        assert_eq!(status["watch"]["directories"], FILES as u64 + 1);
    }
    table(
        "50,000 directories watched (goal: 1 s)",
        "find -type d",
        &mut find,
        &mut [("walked and watched", walk)],
    );
}

fn memory() {
    let peak = |world: &World| -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", world.pid())).expect("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        let words = line.expect("a peak").split_whitespace().nth(1);
        words.expect("a number").parse::<f64>().expect("kB") * 1_024.0
    };
    let measure = |files: usize| -> (f64, f64) {
        let (mut world, _) = going_on(|dir| {
            project(dir, files, FOLDERS, 200);
            // Old enough to be sent at once.
            let all = fs::read_dir(dir.join("docs")).expect("docs");
            let old = std::time::SystemTime::now() - Duration::from_secs(100_000);
            for folder in all.flatten() {
                for file in fs::read_dir(folder.path()).expect("a folder").flatten() {
                    let file = fs::File::open(file.path()).expect("a file");
                    file.set_modified(old).expect("older");
                }
            }
        });
        // Their change times are young still: they wait. The next start sends them.
        let first = peak(&world);
        world.stop();
        once(world.dir.path(), &[]);
        let _ = fs::remove_file(world.dir.path().join("stderr.log"));
        world.launch();
        wait_walk(&world);
        std::thread::sleep(Duration::from_millis(500));
        (first, peak(&world))
    };
    let (first_few, few) = measure(1_000);
    let (first_many, many) = measure(FILES);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let more = (FILES - 1_000) as f64;
    head(
        "memory (peak of the whole program; goal: 200 bytes a file)",
        &["what", "1,000 files", "50,000 files", "a file"],
    );
    for (what, few, many) in [
        (
            "all of them new, waiting for the debounce",
            first_few,
            first_many,
        ),
        ("all of them unchanged", few, many),
    ] {
        row(&[
            what,
            &format!("{:.1} MB", few / 1e6),
            &format!("{:.1} MB", many / 1e6),
            &format!("{:.0} bytes", (many - few) / more),
        ]);
    }
}
