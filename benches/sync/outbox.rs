//! A file closed → a task for it in the outbox, lastingly enough to survive our SIGKILL: seen
//! from outside, by another process that reads the record.
//!
//! Nothing is debounced here (`debounce = "0s"`), so that what is measured is all of the way:
//! kernel, watcher, debouncer, the file read and hashed, SQLite's commit. Nobody takes the tasks
//! away, for the target is not there. Beside it stands a bare loop that does the same with
//! nothing around it.

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use rustix::fs::inotify;
use sha2::{Digest as _, Sha256};

use super::support::{PROGRAM, free_port, head, percentile, row};
use super::{project, tail, walk_of};

const EDITS: usize = 300;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
const TEXT: &str = "# New\n\nA few words.\n";

pub(super) fn run() {
    let mut bare = bare();
    let mut ours = ours();
    head(
        "a file closed → its task is in the outbox, debounce left out (goal: p99 < 5 ms)",
        &["what", "p50", "p99"],
    );
    for (what, all) in [
        (
            "inotify, read, hash, INSERT, COMMIT and nothing else (yardstick)",
            &mut bare,
        ),
        (
            "closed, until another process reads the task in `sync.db`",
            &mut ours,
        ),
    ] {
        let shown = |value: f64| format!("{value:.2} ms");
        row(&[
            what,
            &shown(percentile(all, 0.5)),
            &shown(percentile(all, 0.99)),
        ]);
    }
}

/// The program over a thousand documents: milliseconds of each new one.
fn ours() -> Vec<f64> {
    let dir = tempfile::tempdir().expect("a directory");
    project(dir.path(), 1_000, 10, 200);
    let text = format!(
        "[supervisor]\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"data\"\n[sync]\ndebounce = \"0s\"\n\
         target = \"supabase\"\n[[sync.dirs]]\npath = \"docs\"\ntable = \"docs\"\n",
        free_port()
    );
    fs::write(dir.path().join("supervisor.toml"), text).expect("a configuration");
    let _program = start(dir.path());
    let record = read_only(&dir.path().join("data/sync.db"));
    let mut times = Vec::new();
    for n in 0..EDITS {
        let file_path = format!("docs/d{}/new-{n}.md", n % 10);
        times.push(write_and_wait(
            dir.path(),
            &file_path,
            &record,
            "SELECT size FROM task WHERE tbl = 'docs' AND key = ?1",
        ));
    }
    times
}

/// The program, until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// The program, once it has walked everything. Nobody listens where its target should be.
fn start(dir: &Path) -> Running {
    let log = dir.join("stderr.log");
    let program = Command::new(PROGRAM)
        .arg("--config")
        .arg(dir.join("supervisor.toml"))
        .env("SUPABASE_URL", format!("http://127.0.0.1:{}", free_port()))
        .env("SUPABASE_SERVICE_ROLE_KEY", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).expect("a log"))
        .spawn()
        .map(Running)
        .expect("the program starts");
    let began = Instant::now();
    loop {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if walk_of(&text).is_some() {
            return program;
        }
        assert!(began.elapsed() < PATIENCE, "{}", tail(&text));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same done by a thread of ours, in a record of the same kind.
fn bare() -> Vec<f64> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("docs")).expect("a folder");
    let path = dir.path().join("bare.db");
    let record = Connection::open(&path).expect("a database");
    record
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE task (seq INTEGER PRIMARY KEY, path TEXT UNIQUE, hash BLOB, size INTEGER)",
        )
        .expect("a table");
    let eyes = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
    let docs = CString::new(dir.path().join("docs").to_str().expect("UTF-8")).expect("a path");
    inotify::add_watch(&eyes, &*docs, inotify::WatchFlags::CLOSE_WRITE).expect("a watch");
    let root = dir.path().to_owned();
    let recorder = std::thread::spawn(move || record_each(&eyes, &root, &record));
    let record = read_only(&path);
    let times = (0..EDITS)
        .map(|n| {
            let size_of = "SELECT size FROM task WHERE path = ?1";
            write_and_wait(dir.path(), &format!("docs/{n}.md"), &record, size_of)
        })
        .collect();
    recorder.join().expect("it recorded all");
    times
}

fn record_each(eyes: &OwnedFd, root: &Path, record: &Connection) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4_096];
    let mut events = inotify::Reader::new(eyes, &mut buffer);
    for _ in 0..EDITS {
        let event = events.next().expect("an event");
        let name = event.file_name().expect("a name").to_str().expect("UTF-8");
        let file_path = format!("docs/{name}");
        let bytes = fs::read(root.join(&file_path)).expect("a file");
        record
            .prepare_cached("INSERT INTO task (path, hash, size) VALUES (?1, ?2, ?3)")
            .expect("SQL")
            .execute((
                &file_path,
                &Sha256::digest(&bytes)[..],
                i64::try_from(bytes.len()).expect("a size"),
            ))
            .expect("recorded");
    }
}

fn read_only(path: &PathBuf) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let record = Connection::open_with_flags(path, flags).expect("a record");
    record.busy_timeout(PATIENCE).expect("a timeout");
    record
}

/// Writes a file; milliseconds from its close until the record has a task for all of it.
fn write_and_wait(root: &Path, file_path: &str, record: &Connection, size_of: &str) -> f64 {
    // Each by itself, at no moment that anything else keeps.
    std::thread::sleep(Duration::from_millis(7));
    fs::write(root.join(file_path), TEXT).expect("written");
    let closed = Instant::now();
    loop {
        let size: Option<i64> = record
            .prepare_cached(size_of)
            .expect("SQL")
            .query_row([file_path], |row| row.get(0))
            .optional()
            .expect("read");
        if size == i64::try_from(TEXT.len()).ok() {
            return closed.elapsed().as_secs_f64() * 1e3;
        }
        assert!(closed.elapsed() < PATIENCE, "never recorded");
    }
}
