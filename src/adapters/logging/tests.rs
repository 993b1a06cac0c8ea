use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use slog::{Level, debug, error, info, trace, warn};

use super::format::Format;
use super::queue::Outlets;
use super::rotate::RotatedFile;
use super::terminal::Terminal;
use super::*;

fn levels() -> LogFilter {
    LogFilter::default()
}

struct World {
    home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("a directory"),
        }
    }

    fn file(&self) -> RotatedFile {
        RotatedFile::new(self.home.path().join("supervisor.log"), 10_000_000, 5)
    }

    /// A log with a file in place of stderr.
    fn start(&self, levels: LogFilter, format: fn() -> Format) -> (Logger, LogGuard) {
        let terminal = fs::File::create(self.home.path().join("terminal")).expect("a file");
        self.start_on(terminal, levels, format)
    }

    fn start_on(
        &self,
        terminal: fs::File,
        levels: LogFilter,
        format: fn() -> Format,
    ) -> (Logger, LogGuard) {
        let file = self.file();
        let (queue, guard) = queue::start(WhenFull::Drop, move || Outlets {
            terminal: Terminal::file(terminal, WhenFull::Drop),
            terminal_format: format(),
            file: Some(file),
            file_format: Format::lines(false),
        })
        .expect("started");
        (
            Logger::root(filter::Filtered::new(filter::Levels(levels), queue), o!()),
            guard,
        )
    }

    fn in_file(&self) -> String {
        read(&self.home.path().join("supervisor.log"))
    }

    fn on_terminal(&self) -> String {
        read(&self.home.path().join("terminal"))
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a log")
}

/// The line without its date, which must be one.
fn dateless(line: &str) -> &str {
    let (date, rest) = line.split_once(' ').expect("a date");
    assert!(
        date.len() == 24 && date.ends_with('Z'),
        "{date}: with milliseconds"
    );
    humantime::parse_rfc3339(date).expect("a date");
    rest
}

#[test]
fn a_line_is_date_level_message_and_values_in_their_order() {
    let world = World::new();
    let (log, guard) = world.start(levels(), || Format::lines(false));
    let of_service = log.new(o!("service" => "save_worker"));
    warn!(of_service, "heartbeat: healthy → warning"; "missed" => "1 of 5", "age" => "33.0s", "n" => 7);
    drop(guard);
    let text = world.in_file();
    assert_eq!(
        dateless(&text),
        "WARN heartbeat: healthy → warning, service: save_worker, missed: 1 of 5, age: 33.0s, n: 7\n"
    );
    assert_eq!(world.on_terminal(), text);
}

#[test]
fn every_level_has_its_word() {
    let world = World::new();
    let all = LogFilter {
        default: Level::Trace,
        modules: Vec::new(),
    };
    let (log, guard) = world.start(all, || Format::lines(false));
    slog::crit!(log, "a");
    error!(log, "b");
    warn!(log, "c");
    info!(log, "d");
    debug!(log, "e");
    trace!(log, "f");
    drop(guard);
    let text = world.in_file();
    let lines: Vec<&str> = text.lines().map(dateless).collect();
    assert_eq!(
        lines,
        [
            "CRITICAL a",
            "ERROR b",
            "WARN c",
            "INFO d",
            "DEBUG e",
            "TRACE f"
        ]
    );
}

#[test]
fn colours_are_for_the_terminal_alone() {
    let world = World::new();
    let (log, guard) = world.start(levels(), || Format::lines(true));
    warn!(log, "late"; "age" => "33s");
    drop(guard);
    let coloured = world.on_terminal();
    assert!(coloured.contains("\x1b[33mWARN\x1b[0m "), "{coloured:?}");
    assert!(!world.in_file().contains('\x1b'));
    // Without its colours it is the same line, and it leaves none behind.
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    let mut last = "";
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        let (code, after) = after.split_once('m').expect("a colour");
        last = code;
        rest = after;
    }
    plain.push_str(rest);
    assert_eq!(plain, world.in_file());
    assert_eq!(last, "[0", "{coloured:?}");
}

#[test]
fn f13_control_characters_are_escaped_wherever_they_come_from() {
    let world = World::new();
    let (log, guard) = world.start(levels(), || Format::lines(true));
    let evil =
        "\x1b]0;pwned\x07\n2026-11-22T01:02:03.123Z ERROR forged\r\0\u{9b}31m\t\x7f fine: äß→";
    info!(log, "an error was reported"; "error" => evil);
    info!(log, "{}", evil);
    drop(guard);
    let text = world.in_file();
    assert_eq!(text.lines().count(), 2, "{text}");
    let escaped = "\\x1b]0;pwned\\x07\\n2026-11-22T01:02:03.123Z ERROR forged\\r\\x00\\u{9b}31m\\t\\x7f fine: äß→";
    let lines: Vec<&str> = text.lines().map(dateless).collect();
    assert_eq!(
        lines[0],
        format!("INFO an error was reported, error: {escaped}")
    );
    assert_eq!(lines[1], format!("INFO {escaped}"));
    assert!(!world.on_terminal().contains("\x1b]"));
}

#[test]
fn json_is_one_object_a_line_with_the_values_as_keys() {
    let world = World::new();
    let (log, guard) = world.start(levels(), Format::json);
    warn!(log, "late \n\x1b"; "missed" => 1, "age" => 33.5);
    info!(log, "again");
    drop(guard);
    let text = world.on_terminal();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["level"], "warn");
    assert_eq!(lines[0]["msg"], "late \n\x1b");
    assert_eq!(lines[0]["missed"], 1);
    assert_eq!(lines[0]["age"], 33.5);
    assert_eq!(lines[0]["module"], module_path!());
    humantime::parse_rfc3339(lines[0]["ts"].as_str().expect("text")).expect("a date");
    assert!(
        world
            .in_file()
            .contains(" WARN late \\n\\x1b, missed: 1, age: 33.5\n")
    );
}

#[test]
fn records_bear_the_time_when_they_were_logged() {
    let format = Format::lines(false);
    let line = format.line(
        supervisor_core::Timestamp(1_795_309_323_123_999),
        &slog::record!(Level::Info, "", &format_args!("x"), slog::b!()),
        &o!().into(),
    );
    assert_eq!(line, b"2026-11-22T01:02:03.123Z INFO x\n");
}

#[test]
fn what_the_filter_holds_back_is_nowhere() {
    let world = World::new();
    let quiet = LogFilter {
        default: Level::Warning,
        modules: vec![("tests".to_owned(), Level::Info)],
    };
    let (log, guard) = world.start(quiet, || Format::lines(false));
    debug!(log, "hidden"; "costly" => slog::FnValue(|_| -> u32 { unreachable!("never formatted") }));
    info!(log, "shown");
    drop(guard);
    assert_eq!(dateless(&world.in_file()), "INFO shown\n");
}

#[test]
fn a_flood_is_counted_and_the_count_is_logged() {
    let world = World::new();
    // Nothing is written before all is logged: the outlets are not made yet.
    let (go, gone) = std::sync::mpsc::sync_channel::<()>(0);
    let file = world.file();
    let terminal = fs::File::create(world.home.path().join("terminal")).expect("a file");
    let (queue, guard) = queue::start(WhenFull::Drop, move || {
        gone.recv().expect("told to go on");
        Outlets {
            terminal: Terminal::file(terminal, WhenFull::Drop),
            terminal_format: Format::lines(false),
            file: Some(file),
            file_format: Format::lines(false),
        }
    })
    .expect("started");
    let log = Logger::root(filter::Filtered::new(filter::Levels(levels()), queue), o!());
    for n in 0..2000 {
        info!(log, "flood"; "n" => n);
    }
    go.send(()).expect("it waits");
    drop(guard);
    let text = world.in_file();
    let lines: Vec<&str> = text.lines().collect();
    let written = lines.len() - 1;
    assert!(written < 2000);
    assert_eq!(
        dateless(lines[written]),
        format!(
            "WARN more was logged than could be written, lines lost: {}",
            2000 - written
        )
    );
}

#[test]
fn who_wants_each_line_gets_each_line_however_slowly_it_is_read() {
    let world = World::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let file = world.file();
    let (queue, guard) = queue::start(WhenFull::Wait, move || Outlets {
        terminal: Terminal::file(fs::File::from(OwnedFd::from(writer)), WhenFull::Wait),
        terminal_format: Format::lines(false),
        file: Some(file),
        file_format: Format::lines(false),
    })
    .expect("started");
    let log = Logger::root(filter::Filtered::new(filter::Levels(levels()), queue), o!());
    let reading = std::thread::spawn(move || {
        // Not before the pipe and the queue are full.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let mut text = String::new();
        let mut reader = fs::File::from(OwnedFd::from(reader));
        reader.read_to_string(&mut text).expect("all of it");
        text
    });
    let filler = "x".repeat(100);
    for n in 0..3000 {
        info!(log, "flood"; "n" => n, "filler" => &filler);
    }
    drop(guard);
    drop(log);
    let shown = reading.join().expect("read");
    assert_eq!(shown.lines().count(), 3000);
    assert_eq!(world.in_file().lines().count(), 3000);
}

#[test]
fn a_terminal_that_takes_nothing_holds_up_neither_the_file_nor_the_program() {
    let world = World::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let (log, guard) = world.start_on(fs::File::from(OwnedFd::from(writer)), levels(), || {
        Format::lines(false)
    });
    // A pipe takes 64 kB before somebody reads.
    let filler = "x".repeat(1000);
    for n in 0..300 {
        info!(log, "line"; "n" => n, "filler" => &filler);
        guard.flusher().flush(std::time::Duration::from_secs(60));
    }
    assert_eq!(world.in_file().lines().count(), 300);
    // When it takes lines again it says what it missed.
    let mut reader = fs::File::from(OwnedFd::from(reader));
    let mut shown = vec![0; 20_000];
    reader.read_exact(&mut shown).expect("what was shown");
    info!(log, "after");
    drop(guard);
    drop(log);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("the rest");
    let last: Vec<&str> = rest.lines().rev().take(2).collect();
    assert!(last[0].ends_with("INFO after"), "{last:?}");
    assert!(
        last[1].ends_with("lines of the log were not shown here)"),
        "{last:?}"
    );
}

#[test]
fn f37_a_full_disk_is_told_on_the_terminal_and_later_in_the_file() {
    let world = World::new();
    let log_path = world.home.path().join("supervisor.log");
    std::os::unix::fs::symlink("/dev/full", &log_path).expect("linked");
    let (log, guard) = world.start(levels(), || Format::lines(false));
    info!(log, "one");
    guard.flusher().flush(std::time::Duration::from_secs(60));
    let shown = world.on_terminal();
    assert!(
        shown.contains("WARN the log file cannot be written"),
        "{shown}"
    );
    assert!(shown.contains("No space left on device"), "{shown}");
    fs::remove_file(&log_path).expect("room again");
    info!(log, "two");
    drop(guard);
    let text = world.in_file();
    let lines: Vec<&str> = text.lines().map(dateless).collect();
    // What was said of the failure may be there as well, if there was room in time.
    assert!(lines.contains(&"INFO two"), "{lines:?}");
    assert!(
        lines
            .last()
            .is_some_and(|last| last.starts_with("WARN the log file can be written again")),
        "{lines:?}"
    );
}

#[test]
fn a_panic_is_in_the_log_with_its_place_before_anything_else_happens() {
    let world = World::new();
    let (log, guard) = world.start(levels(), || Format::lines(false));
    let former = std::panic::take_hook();
    take_panics(&log, &guard);
    let thread = std::thread::Builder::new().name("unlucky".to_owned());
    let dead = thread
        .spawn(|| panic!("the sky fell\non {}", "us"))
        .expect("started")
        .join();
    let text = world.in_file();
    std::panic::set_hook(former);
    assert!(dead.is_err());
    let line = dateless(&text);
    assert!(
        line.starts_with(
            "ERROR panic, message: the sky fell\\non us, at: src/adapters/logging/tests.rs:"
        ),
        "{line}"
    );
    assert!(line.contains(", thread: unlucky"), "{line}");
}

#[test]
fn records_of_the_log_crate_come_with_their_origin() {
    let world = World::new();
    let (log, guard) = world.start(levels(), || Format::lines(false));
    take_log_crate(&log, &levels()).expect("nobody took it before");
    log::warn!(target: "actix_server::worker", "all {} workers are gone", 2);
    log::info!(target: "actix_server::builder", "starting 2 workers");
    log::info!(target: "somebody", "shown");
    drop(guard);
    let text = world.in_file();
    let lines: Vec<&str> = text.lines().map(dateless).collect();
    assert_eq!(
        lines,
        [
            "WARN actix_server::worker: all 2 workers are gone",
            "INFO somebody: shown"
        ]
    );
}

#[test]
fn the_program_s_own_log_can_be_started_without_a_file() {
    let settings = LogSettings {
        filter: levels(),
        format: LogFormat::Term,
        file: None,
        max_size: 10_000_000,
        keep: 5,
    };
    let (log, guard) = start(&settings, true, WhenFull::Drop).expect("started");
    debug!(log, "not shown");
    drop(guard);
    std::io::stderr().flush().expect("flushed");
}
