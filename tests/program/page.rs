//! The dashboard in a real browser: Chromium without a window, driven by the scripts in
//! `tests/page`. `tests/run` has installed what they need.
//!
//! A script says `ask WORD` on its output when something is to be done to the supervisor, and
//! reads an answer; `done` is its last word.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::World;
use crate::common::script::{command, sh};

/// Where Debian's package and others put it.
const BROWSERS: [&str; 3] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
];

fn browser() -> &'static str {
    BROWSERS
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("chromium is missing: run tests/run")
}

/// Runs a script of `tests/page` against this world.
pub(crate) fn drive(world: &mut World, script: &str) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/page-tools");
    assert!(
        tools.join("node_modules/playwright-core").exists(),
        "{} is missing: run tests/run",
        tools.display()
    );
    let mut node = Command::new("node")
        .arg(root.join("tests/page").join(script))
        .env("PAGE_URL", format!("http://127.0.0.1:{}", world.port()))
        .env("PAGE_TOKEN", world.token())
        .env("PAGE_TOOLS", &tools)
        .env("PAGE_BROWSER", browser())
        // The browser keeps a profile there, and nothing of it may be left.
        .env("TMPDIR", world.dir())
        .env("HOME", world.dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node runs");
    let mut answers = node.stdin.take().expect("its input");
    let mut errors = node.stderr.take().expect("its errors");
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        // What is no UTF-8 is not ours; what came before it is kept.
        let _ = errors.read_to_string(&mut text);
        text
    });
    let (mut said, mut done) = (String::new(), false);
    for line in BufReader::new(node.stdout.take().expect("its output")).lines() {
        let line = line.expect("UTF-8");
        let answer = match line.as_str() {
            "ask kill" => {
                world.kill();
                "killed".to_owned()
            }
            "ask start" => {
                world.start();
                "started".to_owned()
            }
            "ask login" => world.cli(&["dashboard"]).out.trim().to_owned(),
            "done" => {
                done = true;
                continue;
            }
            _ => {
                writeln!(said, "{line}").expect("a String takes everything");
                continue;
            }
        };
        writeln!(answers, "{answer}").expect("it reads answers");
    }
    let status = node.wait().expect("node ends");
    let complaints = complaints.join().expect("its errors are read");
    print!("{said}");
    assert!(
        status.success() && done,
        "{script}: {status}\n{said}{complaints}\n{}",
        world.output()
    );
}

/// Pulses as it should, with a figure, and prints.
fn worker() -> String {
    let keys = "interval = \"1s\"\nstdout_pulse = 'rows (?P<rows>\\d+)'\ntags = [\"night\"]\nenv = { WORKER_SECRET = \"hunter2\" }\n";
    let script = "while :; do echo rows 37; sleep 0.5; done";
    format!("{}{keys}", sh(script))
}

#[test]
fn a_glance_tells_what_is_wrong_in_every_width_and_light() {
    let mut world = World::plan()
        .service("worker", &worker())
        .service("db", "interval = \"1h\"")
        .service("mailer", "interval = \"1h\"")
        .service("web", "interval = \"1h\"")
        .start();
    world.wait_healthy("worker");
    drive(&mut world, "seen.mjs");
}

#[test]
fn what_changes_is_seen_without_reloading_and_the_drawer_tells_why() {
    let mut world = World::plan()
        .service("worker", &worker())
        .service("mailer", "interval = \"1h\"")
        .start();
    world.wait_healthy("worker");
    drive(&mut world, "live.mjs");
}

#[test]
fn who_is_signed_in_acts_after_a_question_by_mouse_or_keyboard() {
    let mut world = World::plan()
        .service("worker", &worker())
        .service("mailer", "interval = \"1h\"")
        .start();
    world.wait_healthy("worker");
    drive(&mut world, "acts.mjs");
}

#[test]
fn a_cut_is_shown_and_the_page_goes_on_when_it_is_over() {
    let mut world = World::plan()
        .service("mailer", "interval = \"1h\"")
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    drive(&mut world, "cut.mjs");
}

#[test]
fn one_that_nobody_sees_takes_no_connection_and_is_up_to_date_when_it_is_seen() {
    let mut world = World::plan().service("mailer", "interval = \"1h\"").start();
    drive(&mut world, "unseen.mjs");
}

#[test]
fn its_parts_hold_without_a_browser() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let copy = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(root.join("src/dashboard")).expect("its files") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|kind| kind == "js") {
            let name = path.file_name().expect("a name");
            fs::copy(&path, copy.path().join(name)).expect("copied");
        }
    }
    // Says to node what a browser knows from the script's tag.
    fs::write(copy.path().join("package.json"), r#"{"type":"module"}"#).expect("written");
    let done = Command::new("node")
        .arg(root.join("tests/page/parts.mjs"))
        .arg(copy.path())
        .stdin(Stdio::null())
        .output()
        .expect("node runs");
    assert!(
        done.status.success() && done.stdout == b"done\n",
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}
