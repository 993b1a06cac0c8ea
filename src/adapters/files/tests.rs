//! Real files, real directories, the real kernel.
#![expect(clippy::disallowed_methods, reason = "these tests wait in real time")]

use super::*;

use std::ffi::OsStr;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use supervisor_actors::ports::files::{Blind, Eyes, Progress, Sighting};
use supervisor_core::sync::preset;

use crate::adapters::clock::RealClock;

struct Home {
    dir: tempfile::TempDir,
    files: RealFiles,
}

impl Home {
    /// `docs` goes into `docs`, `docs/notes` into `notes`; `drafts` is left out.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let table = |name| Arc::new(preset::plain(name, false).unwrap());
        let directories = vec![
            (PathBuf::from("docs"), table("docs")),
            (PathBuf::from("docs/notes"), table("notes")),
        ];
        let exclude = ["drafts".to_owned()];
        let routes = Routes::new(dir.path(), directories, &["md".to_owned()], &exclude).unwrap();
        fs::create_dir(dir.path().join("docs")).unwrap();
        let files = RealFiles::new(Arc::new(routes), 1_000_000, Arc::new(RealClock));
        Self { dir, files }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn look(&self, path: &str) -> Look {
        self.look_at(&[Arc::from(path)], 1).remove(0)
    }

    fn look_at(&self, paths: &[Arc<str>], at_once: usize) -> Vec<Look> {
        let mut looks = Vec::new();
        self.files.look(paths, at_once, &mut |some, more| {
            assert_eq!(some, &paths[looks.len()..looks.len() + more.len()]);
            assert!(some.len() <= at_once);
            looks.extend(more);
            ControlFlow::Continue(())
        });
        assert_eq!(looks.len(), paths.len());
        looks
    }

    /// What is told of a walk: files with their tables, directories, and the rest.
    fn walk(&self, below: Option<&str>) -> (Vec<String>, Vec<PathBuf>, Found) {
        let (entered, listed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let progress = Progress::default();
        let found = self.files.survey(&Survey {
            below,
            list: &|listing| {
                listing.each(|path, stat| {
                    let meta = fs::symlink_metadata(self.path(path)).unwrap();
                    assert_eq!((stat.size, stat.inode), (meta.size(), meta.ino()));
                    let file = format!("{path} {}", listing.table);
                    listed.lock().unwrap().push(file);
                });
            },
            enter: &|paths| {
                let paths = paths.iter().map(|path| path.to_path_buf());
                entered.lock().unwrap().extend(paths);
            },
            progress: &progress,
        });
        let mut entered = entered.into_inner().unwrap();
        entered.sort();
        let mut listed = listed.into_inner().unwrap();
        listed.sort();
        (listed, entered, found)
    }

    fn survey(&self, below: Option<&str>) -> (Vec<String>, Found) {
        let (listed, _, found) = self.walk(below);
        let path = |file: &String| file.rsplit_once(' ').unwrap().0.to_owned();
        (listed.iter().map(path).collect(), found)
    }
}

fn hash(text: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

// === looks ===

#[test]
fn a_file_is_read_with_its_hash_and_stat() {
    let home = Home::new();
    home.write("docs/a.md", "hello");
    let Look::Here(content) = home.look("docs/a.md") else {
        panic!("not here");
    };
    assert_eq!(content.hash.to_string(), hash("hello"));
    let meta = fs::metadata(home.path("docs/a.md")).unwrap();
    assert_eq!(content.stat.size, 5);
    assert_eq!(content.stat.inode, meta.ino());
    assert_eq!(
        content.stat.mtime,
        meta.mtime() * 1_000_000_000 + meta.mtime_nsec()
    );
    assert!(!content.settled, "it is younger than two seconds");
    let (bytes, again) = home.files.read("docs/a.md").unwrap();
    assert_eq!((bytes.as_slice(), again), (&b"hello"[..], content));
}

#[test]
fn an_old_file_is_settled() {
    let home = Home::new();
    home.write("docs/a.md", "hello");
    let file = fs::File::options()
        .write(true)
        .open(home.path("docs/a.md"))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    // Its ctime is young still: somebody may have set the time back after a change.
    assert!(matches!(home.look("docs/a.md"), Look::Here(content) if !content.settled));
}

#[test]
fn many_files_are_read_in_their_order_large_ones_in_pieces() {
    let home = Home::new();
    let large = "x".repeat(300_000);
    let paths: Vec<Arc<str>> = (0..100)
        .map(|n| Arc::from(format!("docs/{n}.md")))
        .collect();
    for (n, path) in paths.iter().enumerate() {
        home.write(path, if n == 50 { &large } else { path });
    }
    for at_once in [1, 7, 64, 1_000] {
        for (n, look) in home.look_at(&paths, at_once).into_iter().enumerate() {
            let Look::Here(content) = look else {
                panic!("{n}");
            };
            let text = if n == 50 { &large } else { &*paths[n] };
            assert_eq!(content.hash.to_string(), hash(text));
        }
    }
}

/// Files that are not there: a look at them costs nothing, so that readers are far ahead.
fn many_paths() -> Vec<Arc<str>> {
    (0..50_000)
        .map(|n| Arc::from(format!("docs/{n}.md")))
        .collect()
}

#[test]
fn whoever_takes_what_was_read_may_be_slow_or_break_it_off() {
    let home = Home::new();
    let paths = many_paths();
    let mut taken = 0;
    home.files.look(&paths, 256, &mut |some, looks| {
        assert_eq!(some, &paths[taken..taken + looks.len()]);
        taken += looks.len();
        // Long enough for the readers to fill their window, again and again.
        std::thread::sleep(Duration::from_millis(1));
        if taken > 20_000 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(taken, 20_224, "nothing after the break, nothing left out");
}

#[test]
fn a_panic_of_whoever_takes_ends_the_readers() {
    let home = Home::new();
    let paths = many_paths();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        home.files
            .look(&paths, 256, &mut |_, _| panic!("no more of this"));
    }));
    assert!(panicked.is_err());
}

#[test]
fn f79_a_file_that_is_another_by_the_time_it_is_opened_is_changing_or_whole() {
    let home = Home::new();
    home.write("docs/a.md", "aaaa");
    let (path, other) = (home.path("docs/a.md"), home.path("docs/b.tmp"));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            // As editors save: the same size, another file.
            for letter in [b'b', b'c'].into_iter().cycle() {
                fs::write(&other, [letter; 4]).unwrap();
                fs::rename(&other, &path).unwrap();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        })
    };
    for _ in 0..2_000 {
        match home.files.read("docs/a.md") {
            Ok((bytes, content)) => {
                let text = String::from_utf8(bytes).unwrap();
                assert_eq!(content.hash.to_string(), hash(&text));
            }
            Err(Look::Changing) => {}
            Err(look) => panic!("{look:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn f77_what_is_no_readable_file_is_told_and_never_waited_for() {
    let home = Home::new();
    let fifo = home.path("docs/fifo.md");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(home.path("docs/socket.md")).unwrap();
    home.write("docs/large.md", "");
    // A hole: no disk is used.
    let large = fs::File::options()
        .write(true)
        .open(home.path("docs/large.md"))
        .unwrap();
    large.set_len(1 << 30).unwrap();
    home.write("docs/dir.md/x", "");
    let began = Instant::now();
    let why = |path: &str| match home.look(path) {
        Look::Unreadable { why, .. } => why,
        look => panic!("{path}: {look:?}"),
    };
    assert_eq!(why("docs/fifo.md"), "it is a FIFO, no file");
    assert_eq!(why("docs/socket.md"), "it is a socket, no file");
    assert_eq!(
        why("docs/large.md"),
        "it has 1073741824 bytes, more than max_file_size (1000000)"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(home.look("docs/dir.md"), Look::Gone);
    assert_eq!(home.look("docs/none.md"), Look::Gone);
    assert_eq!(home.look("elsewhere/none.md"), Look::Gone);
}

#[test]
fn f77_an_unreadable_file_says_why() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything: proved with another user in the tests of the program.
        return;
    }
    let home = Home::new();
    home.write("docs/a.md", "secret");
    fs::set_permissions(home.path("docs/a.md"), fs::Permissions::from_mode(0o0)).unwrap();
    assert!(
        matches!(home.look("docs/a.md"), Look::Unreadable { why, .. } if why.contains("ermission"))
    );
}

#[test]
fn f74_no_link_is_followed_neither_the_file_nor_on_the_way() {
    let home = Home::new();
    home.write("outside/a.md", "secret");
    home.write("docs/real/a.md", "mine");
    symlink(home.path("outside/a.md"), home.path("docs/link.md")).unwrap();
    symlink(home.path("outside"), home.path("docs/escape")).unwrap();
    symlink(home.path("docs"), home.path("docs/loop")).unwrap();
    assert_eq!(home.look("docs/link.md"), Look::Gone);
    assert_eq!(home.look("docs/escape/a.md"), Look::Gone);
    assert_eq!(home.look("docs/loop/real/a.md"), Look::Gone);
    assert!(matches!(home.look("docs/real/a.md"), Look::Here(_)));
    assert_eq!(home.survey(None).0, ["docs/real/a.md"]);
    assert!(!home.files.exists("docs/link.md"));
}

#[test]
fn a_directory_of_the_configuration_may_be_a_link() {
    let home = Home::new();
    home.write("outside/a.md", "meant");
    fs::remove_dir(home.path("docs")).unwrap();
    symlink(home.path("outside"), home.path("docs")).unwrap();
    assert!(matches!(home.look("docs/a.md"), Look::Here(_)));
    assert_eq!(home.survey(None).0, ["docs/a.md"]);
}

#[test]
fn f79_a_file_that_changes_while_it_is_read_is_changing() {
    let home = Home::new();
    home.write("docs/a.md", "");
    let path = home.path("docs/a.md");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            // Each version is all of one letter: a torn one would show.
            let mut number = 0_u8;
            while !stop.load(Ordering::Relaxed) {
                number = (number + 1) % 26;
                fs::write(&path, vec![b'a' + number; 400_000]).unwrap();
            }
        })
    };
    let (mut whole, mut changing) = (0, 0);
    let began = Instant::now();
    while (whole < 5 || changing < 5) && began.elapsed() < Duration::from_secs(20) {
        match home.files.read("docs/a.md") {
            Ok((bytes, content)) => {
                whole += 1;
                assert_eq!(bytes.len() as u64, content.stat.size);
                assert!(
                    bytes.windows(2).all(|pair| pair[0] == pair[1]),
                    "a torn file"
                );
            }
            Err(Look::Changing) => changing += 1,
            Err(look) => panic!("{look:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(changing > 0, "{whole} whole");
}

// === walks ===

#[test]
fn a_walk_finds_what_belongs_into_a_table_and_nothing_else() {
    let home = Home::new();
    for path in [
        "docs/a.md",
        "docs/B.MD",
        "docs/deep/er/c.md",
        "docs/notes/n.md",
        "docs/notes/deep/m.md",
        "docs/.hidden.md",
        "docs/~temp.md",
        "docs/.git/x.md",
        "docs/drafts/d.md",
        "docs/deep/drafts/d.md",
        "docs/a.txt",
        "docs2/x.md",
        "x.md",
    ] {
        home.write(path, path);
    }
    let (listed, entered, _) = home.walk(None);
    assert_eq!(
        listed,
        [
            "docs/B.MD docs",
            "docs/a.md docs",
            "docs/deep/er/c.md docs",
            "docs/notes/deep/m.md notes",
            "docs/notes/n.md notes",
        ]
    );
    let expected = [
        "docs",
        "docs/deep",
        "docs/deep/er",
        "docs/notes",
        "docs/notes/deep",
    ];
    assert_eq!(entered, expected.map(|path| home.path(path)));
}

#[test]
fn a_walk_may_begin_below_and_takes_directories_of_the_configuration_along() {
    let home = Home::new();
    for path in ["docs/a.md", "docs/deep/b.md", "docs/notes/n.md"] {
        home.write(path, path);
    }
    assert_eq!(home.survey(Some("docs/deep")).0, ["docs/deep/b.md"]);
    assert_eq!(home.survey(Some("docs/notes")).0, ["docs/notes/n.md"]);
    assert_eq!(home.survey(Some("docs")).0.len(), 3);
    assert_eq!(home.survey(Some(".")).0.len(), 3);
    assert_eq!(home.survey(Some("docs/gone")).0.len(), 0);
    assert_eq!(home.survey(Some("docs/drafts")).0.len(), 0);
}

#[test]
fn a_directory_that_is_not_there_is_empty() {
    let home = Home::new();
    fs::remove_dir(home.path("docs")).unwrap();
    let (changed, found) = home.survey(None);
    assert!(changed.is_empty() && found.unread.is_empty());
    assert_eq!(home.files.roots(), [None, None]);
}

#[test]
fn f78_names_that_are_no_utf8_are_refused_and_said() {
    let home = Home::new();
    home.write("docs/good.md", "x");
    let bad = home.path("docs").join(OsStr::from_bytes(b"b\xffd.md"));
    fs::write(&bad, "x").unwrap();
    let bad = home.path("docs").join(OsStr::from_bytes(b"d\xfe"));
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("x.md"), "x").unwrap();
    let (changed, found) = home.survey(None);
    assert_eq!(changed, ["docs/good.md"]);
    assert_eq!(found.not_utf8, ["docs/b\u{fffd}d.md", "docs/d\u{fffd}"]);
    assert_eq!(found.not_utf8_count, 2);
}

#[test]
fn a_wide_and_deep_tree_is_walked_whole() {
    let home = Home::new();
    let mut count = 0;
    for a in 0..30 {
        for b in 0..10 {
            home.write(&format!("docs/d{a}/e{b}/f.md"), "x");
            count += 1;
        }
    }
    home.write(&format!("docs/{}f.md", "x/".repeat(100)), "x");
    home.write(&format!("docs/{}f.md", "y/".repeat(200)), "x");
    let (changed, _) = home.survey(None);
    assert_eq!(changed.len(), count + 1, "200 levels are too deep");
    assert!(changed.is_sorted());
}

#[test]
fn roots_are_told_apart_from_their_successors() {
    let home = Home::new();
    let first = home.files.roots();
    assert!(first[0].is_some() && first[1].is_none());
    assert_eq!(home.files.roots(), first);
    fs::rename(home.path("docs"), home.path("old")).unwrap();
    fs::create_dir(home.path("docs")).unwrap();
    assert_ne!(home.files.roots()[0], first[0]);
}

// === eyes ===

/// Eyes, and what they have told.
struct Watching {
    eyes: KernelEyes,
    told: Arc<Mutex<Vec<Sighting>>>,
}

impl Watching {
    fn new(directories: &[PathBuf]) -> Self {
        let told: Arc<Mutex<Vec<Sighting>>> = Arc::default();
        let eyes = KernelEyes::default();
        let sink = Arc::clone(&told);
        eyes.open(Arc::new(move |sighting| {
            sink.lock().unwrap().push(sighting);
        }))
        .unwrap();
        for directory in directories {
            eyes.watch(directory).unwrap();
        }
        Self { eyes, told }
    }

    /// Waits until all of these have been told; everything that was.
    #[track_caller]
    fn wait(&self, expected: &[Sighting]) -> Vec<Sighting> {
        let began = Instant::now();
        loop {
            let told = self.told.lock().unwrap().clone();
            if expected.iter().all(|sighting| told.contains(sighting)) {
                self.told.lock().unwrap().clear();
                return told;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "told {told:?}, not {expected:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn written_replaced_and_removed_files_are_told_of_and_read_ones_are_not() {
    let home = Home::new();
    home.write("docs/old.md", "x");
    let watching = Watching::new(&[home.path("docs")]);
    let file = |name: &str| Sighting::File(home.path(name));
    home.write("docs/a.md", "1");
    watching.wait(&[file("docs/a.md")]);
    fs::read(home.path("docs/old.md")).unwrap();
    home.write("docs/b.tmp", "2");
    fs::rename(home.path("docs/b.tmp"), home.path("docs/a.md")).unwrap();
    fs::remove_file(home.path("docs/old.md")).unwrap();
    let moved = Sighting::Moved {
        from: home.path("docs/b.tmp"),
        to: home.path("docs/a.md"),
    };
    let told = watching.wait(&[moved, file("docs/a.md"), file("docs/old.md")]);
    // What was only read was told of once: when it was removed.
    assert_eq!(
        told.iter()
            .filter(|sighting| **sighting == file("docs/old.md"))
            .count(),
        1
    );
}

#[test]
fn directories_that_come_go_and_move_are_told_of_as_such() {
    let home = Home::new();
    let watching = Watching::new(&[home.path("docs")]);
    let dir = |name: &str| Sighting::Directory(home.path(name));
    fs::create_dir(home.path("docs/new")).unwrap();
    watching.wait(&[dir("docs/new")]);
    watching.eyes.watch(&home.path("docs/new")).unwrap();
    assert_eq!(watching.eyes.watched(), 2);
    home.write("docs/new/a.md", "1");
    watching.wait(&[Sighting::File(home.path("docs/new/a.md"))]);
    fs::rename(home.path("docs/new"), home.path("docs/moved")).unwrap();
    let moved = Sighting::Moved {
        from: home.path("docs/new"),
        to: home.path("docs/moved"),
    };
    watching.wait(&[dir("docs/new"), dir("docs/moved"), moved]);
    assert_eq!(watching.eyes.watched(), 1);
    watching.eyes.watch(&home.path("docs/moved")).unwrap();
    fs::remove_dir_all(home.path("docs/moved")).unwrap();
    watching.wait(&[dir("docs/moved")]);
    // The same name again is another directory, and can be watched.
    fs::create_dir(home.path("docs/moved")).unwrap();
    watching.wait(&[dir("docs/moved")]);
    watching.eyes.watch(&home.path("docs/moved")).unwrap();
    home.write("docs/moved/b.md", "1");
    watching.wait(&[Sighting::File(home.path("docs/moved/b.md"))]);
}

#[test]
fn a_watched_directory_that_is_itself_removed_is_told_of() {
    let home = Home::new();
    let watching = Watching::new(&[home.path("docs")]);
    fs::remove_dir(home.path("docs")).unwrap();
    watching.wait(&[Sighting::Directory(home.path("docs"))]);
    assert_eq!(watching.eyes.watch(&home.path("docs")), Err(Blind::Gone));
    assert_eq!(watching.eyes.watched(), 0);
}

#[test]
fn what_appears_while_the_tree_is_walked_is_walked_or_told() {
    let home = Home::new();
    for n in 0..400 {
        fs::create_dir(home.path(&format!("docs/old{n}"))).unwrap();
    }
    let watching = Watching::new(&[]);
    let paths: Vec<_> = (0..400).map(|n| format!("docs/new{n}/x.md")).collect();
    let (listed, blind) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for path in &paths {
                home.write(path, "x");
            }
        });
        let listed = Mutex::new(Vec::new());
        let blind = Mutex::new(None);
        // Walks until the writer is done: it appears before, in and behind each of them.
        while !writer.is_finished() {
            home.files.survey(&Survey {
                below: None,
                list: &|listing| {
                    listing.each(|path, _| listed.lock().unwrap().push(path.to_owned()));
                },
                enter: &|paths| {
                    if let Err(why) = watching.eyes.watch_all(paths) {
                        *blind.lock().unwrap() = Some(why);
                    }
                },
                progress: &Progress::default(),
            });
        }
        (listed.into_inner().unwrap(), blind.into_inner().unwrap())
    });
    assert_eq!(blind, None);
    let began = Instant::now();
    let unknown = || {
        let told = watching.told.lock().unwrap();
        let knows = |path: &&String| {
            let file = home.path(path);
            let directory = file.parent().unwrap().to_owned();
            listed.contains(path)
                || told.contains(&Sighting::File(file))
                || told.contains(&Sighting::Directory(directory))
        };
        paths.iter().find(|path| !knows(path)).cloned()
    };
    while let Some(path) = unknown() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "nobody saw {path}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn many_directories_are_watched_at_once_but_for_those_that_went() {
    let home = Home::new();
    let directories: Vec<_> = (0..100).map(|n| home.path(&format!("docs/{n}"))).collect();
    for (n, directory) in directories.iter().enumerate() {
        if n != 50 {
            fs::create_dir(directory).unwrap();
        }
    }
    let watching = Watching::new(&[home.path("docs")]);
    let all: Vec<_> = directories.iter().map(PathBuf::as_path).collect();
    // Once before notify's thread is known, once after: it shows by its first event.
    for _ in 0..2 {
        assert_eq!(watching.eyes.watch_all(&all), Ok(()));
        assert_eq!(watching.eyes.watched(), 100);
        home.write("docs/99/a.md", "1");
        watching.wait(&[Sighting::File(home.path("docs/99/a.md"))]);
    }
    watching.eyes.close();
    assert!(watching.eyes.watch_all(&all).is_err());
}

#[test]
fn closed_eyes_see_nothing() {
    let home = Home::new();
    let watching = Watching::new(&[home.path("docs")]);
    watching.eyes.close();
    assert!(matches!(
        watching.eyes.watch(&home.path("docs")),
        Err(Blind::Other(_))
    ));
    home.write("docs/a.md", "1");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(*watching.told.lock().unwrap(), []);
}
