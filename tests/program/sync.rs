//! Files become rows: the whole way, by the real program.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::mirror::{
    files, fingerprint, path, plan, rows, status, wait_mirrored, wait_quiet, wait_status, write,
};
use crate::common::wait::{wait_until, watch_for};
use crate::common::world::free_port;
use crate::common::{World, process};

/// How often a line stands in the log.
fn said(world: &World, line: &str) -> usize {
    world.output().matches(line).count()
}

// === going on ===

#[test]
fn what_is_there_and_what_is_edited_arrives_and_the_files_are_only_read() {
    let world = plan("").prepare();
    write(&world, "docs/a.md", "---\ntitle: First\n---\nbody\n");
    write(&world, "docs/deep/B.MD", "b");
    write(&world, "docs/drafts/d.md", "left out");
    write(&world, "docs/.hidden.md", "left out");
    write(&world, "docs/c.txt", "left out");
    write(&world, "notes/n.md", "n");
    let before = fingerprint(&world);
    let mut world = world;
    world.start();
    wait_mirrored(&world);
    wait_quiet(&world);
    assert_eq!(fingerprint(&world), before);
    for line in [
        "Watching 2 directories",
        "Debounce: 300ms",
        "LIVE SYNC MODE",
        "Syncing: a.md → docs",
        "Synced: a.md",
        "Syncing: n.md → notes",
    ] {
        assert!(
            said(&world, line) > 0,
            "{line} is not in:\n{}",
            world.output()
        );
    }
    write(&world, "docs/a.md", "edited");
    wait_mirrored(&world);
    wait_until("it is said", || {
        (said(&world, "Synced: a.md") == 2).then_some(())
    });
    let status = wait_quiet(&world);
    assert_eq!(status["totals"]["synced"], 4);
    assert_eq!(status["watch"]["mode"], "kernel");
    assert_eq!(status["watch"]["directories"], 3);
    assert_eq!(status["directories"][0]["path"], "docs");
    assert!(status["directories"][0]["last_sync"].is_string());
    for name in ["internal.watcher", "internal.debouncer", "internal.syncer"] {
        let service = world.service(name);
        assert_eq!(service.status, "healthy", "{name}");
    }
    assert!(world.terminate().success());
    assert_eq!(
        said(&world, "Synced: 4, Skipped: 0, Errors: 0"),
        1,
        "{}",
        world.output()
    );
}

#[test]
fn an_edit_just_before_the_end_is_not_lost() {
    let mut world = plan("").start();
    wait_quiet(&world);
    write(&world, "docs/a.md", "last words");
    wait_status(&world, "the edit is seen", |status| {
        status["queue"]["debouncing"] == 1
    });
    assert!(world.terminate().success());
    assert_eq!(rows(&world, "docs"), files(&world, "docs"));
}

#[test]
fn f76_directories_may_come_later_go_and_come_again() {
    let mut world = plan("on_delete = \"delete\"").prepare();
    fs::remove_dir(path(&world, "docs")).expect("removed");
    world.start();
    wait_quiet(&world);
    for round in 0..3 {
        write(&world, "docs/deep/er/a.md", &format!("round {round}"));
        wait_mirrored(&world);
        // By the kernel's word now, not by the walk that found the directory.
        write(&world, "docs/deep/er/b.md", &format!("round {round}"));
        wait_mirrored(&world);
        fs::remove_dir_all(path(&world, "docs")).expect("removed");
        wait_mirrored(&world);
    }
    // The whole directory is another one by a rename.
    write(&world, "docs/a.md", "old");
    wait_mirrored(&world);
    write(&world, "other/b.md", "new");
    fs::rename(path(&world, "docs"), path(&world, "away")).expect("renamed");
    fs::rename(path(&world, "other"), path(&world, "docs")).expect("renamed");
    wait_mirrored(&world);
    write(&world, "docs/c.md", "later");
    wait_mirrored(&world);
}

#[test]
fn renames_inside_into_and_out_of_the_tree_are_understood() {
    let world = plan("on_delete = \"delete\"").prepare();
    for n in 0..5 {
        write(&world, &format!("docs/old/{n}.md"), &format!("text {n}"));
    }
    write(&world, "outside/in.md", "in");
    write(&world, "docs/out.md", "out");
    let mut world = world;
    world.start();
    wait_mirrored(&world);
    wait_quiet(&world);
    fs::rename(path(&world, "docs/old"), path(&world, "docs/new")).expect("renamed");
    wait_mirrored(&world);
    wait_quiet(&world);
    assert_eq!(
        said(&world, "moved_from: docs/old/"),
        5,
        "{}",
        world.output()
    );
    fs::rename(path(&world, "docs/new/1.md"), path(&world, "docs/one.md")).expect("renamed");
    fs::rename(path(&world, "outside"), path(&world, "docs/inside")).expect("renamed");
    fs::rename(path(&world, "docs/out.md"), path(&world, "out.md")).expect("renamed");
    fs::rename(path(&world, "docs/new/2.md"), path(&world, "notes/2.md")).expect("renamed");
    wait_mirrored(&world);
    // The moved directories are watched where they are now.
    write(&world, "docs/inside/in.md", "edited");
    write(&world, "docs/new/3.md", "edited");
    wait_mirrored(&world);
}

#[test]
fn f75_an_editors_atomic_save_is_one_sync() {
    let world = plan("").prepare();
    write(&world, "docs/a.md", "old");
    let mut world = world;
    world.start();
    wait_mirrored(&world);
    wait_until("it is said", || {
        (said(&world, "Synced: a.md") == 1).then_some(())
    });
    // As vim and many others save.
    write(&world, "docs/4913", "");
    fs::remove_file(path(&world, "docs/4913")).expect("removed");
    fs::rename(path(&world, "docs/a.md"), path(&world, "docs/a.md~")).expect("renamed");
    write(&world, "docs/a.md", "new");
    fs::remove_file(path(&world, "docs/a.md~")).expect("removed");
    wait_mirrored(&world);
    // As atomic writers do.
    write(&world, "docs/.a.md.tmp", "newer");
    fs::rename(path(&world, "docs/.a.md.tmp"), path(&world, "docs/a.md")).expect("renamed");
    wait_mirrored(&world);
    wait_until("it is said", || {
        (said(&world, "Synced: a.md") >= 3).then_some(())
    });
    watch_for(Duration::from_millis(500), || {
        assert_eq!(said(&world, "Synced: a.md"), 3, "{}", world.output());
    });
}

#[test]
fn f74_links_are_not_followed() {
    let world = plan("on_delete = \"delete\"").prepare();
    write(&world, "outside/secret.md", "secret");
    write(&world, "docs/real.md", "real");
    symlink(
        path(&world, "outside/secret.md"),
        path(&world, "docs/link.md"),
    )
    .expect("linked");
    symlink(path(&world, "outside"), path(&world, "docs/escape")).expect("linked");
    symlink(path(&world, "docs"), path(&world, "docs/loop")).expect("linked");
    let mut world = world;
    world.start();
    wait_until("the row is there", || {
        (!rows(&world, "docs").is_empty()).then_some(())
    });
    wait_quiet(&world);
    assert_eq!(
        rows(&world, "docs").into_keys().collect::<Vec<_>>(),
        ["docs/real.md"]
    );
    // A file that becomes a link is a file that is gone.
    fs::remove_file(path(&world, "docs/real.md")).expect("removed");
    symlink(
        path(&world, "outside/secret.md"),
        path(&world, "docs/real.md"),
    )
    .expect("linked");
    write(&world, "docs/other.md", "other");
    wait_until("the row is gone", || {
        (rows(&world, "docs").into_keys().collect::<Vec<_>>() == ["docs/other.md"]).then_some(())
    });
}

#[test]
fn f77_f78_what_cannot_be_mirrored_is_said_and_holds_nobody_up() {
    let world = plan("max_file_size = \"1 MB\"").prepare();
    nix::unistd::mkfifo(&path(&world, "docs/fifo.md"), nix::sys::stat::Mode::S_IRWXU)
        .expect("a FIFO");
    write(&world, "docs/large.md", "");
    let large = fs::File::options()
        .write(true)
        .open(path(&world, "docs/large.md"))
        .expect("a file");
    large.set_len(1 << 30).expect("a hole");
    let odd = path(&world, "docs").join(OsStr::from_bytes(b"odd\xff.md"));
    fs::write(&odd, "odd").expect("written");
    write(&world, "docs/good.md", "good");
    fs::write(path(&world, "docs/torn.md"), b"a\xffb").expect("written");
    let mut world = world;
    world.start();
    let status = wait_status(&world, "the good ones are in, the others said", |status| {
        status["queue"]["parked"] == 2 && status["totals"]["synced"] == 2
    });
    let parked: Vec<_> = status["parked"].as_array().expect("rows").iter().collect();
    let reason = |name: &str| {
        let row = parked.iter().find(|row| row["file_path"] == name);
        row.map(|row| row["reason"].as_str().expect("a reason").to_owned())
    };
    assert_eq!(
        reason("docs/fifo.md").as_deref(),
        Some("it is a FIFO, no file")
    );
    assert!(reason("docs/large.md").is_some_and(|why| why.contains("max_file_size")));
    assert!(
        said(&world, "Sync failed for fifo.md: it is a FIFO, no file") == 1,
        "{}",
        world.output()
    );
    assert!(
        said(&world, "names that are not UTF-8 are left out") == 1,
        "{}",
        world.output()
    );
    assert!(
        said(&world, "bytes that are no UTF-8 become U+FFFD") == 1,
        "{}",
        world.output()
    );
    assert_eq!(rows(&world, "docs")["docs/torn.md"], "a\u{fffd}b");
    let shown = world.cli(&["sync", "status"]);
    assert_eq!(shown.code, Some(3), "{shown:?}");
    assert!(
        shown
            .out
            .contains("parked     docs/fifo.md → docs: it is a FIFO, no file"),
        "{shown:?}"
    );
    // Small enough now.
    large.set_len(10).expect("cut");
    wait_status(&world, "the file is in", |status| {
        status["queue"]["parked"] == 1
    });
    // A file that comes while it runs, and whose name nobody can write into a row.
    fs::write(
        path(&world, "docs").join(OsStr::from_bytes(b"new\xfe.md")),
        "x",
    )
    .expect("written");
    wait_until("it is said", || {
        (said(&world, "a name that is not UTF-8 is left out") > 0).then_some(())
    });
    // What waits for somebody is an alert, and is over when nothing waits any more.
    let alerts = |wanted: &str| {
        let reply = world.get(&format!("/api/alerts?state={wanted}"));
        let alerts = reply.json()["alerts"].as_array().cloned();
        let ours = |alert: &serde_json::Value| alert["reason"].to_string().contains("parked");
        alerts.expect("alerts").into_iter().filter(ours).count()
    };
    wait_until("an alert", || (alerts("open") == 1).then_some(()));
    fs::remove_file(path(&world, "docs/fifo.md")).expect("removed");
    wait_until("its end", || (alerts("open") == 0).then_some(()));
}

#[test]
fn f77_a_file_that_we_may_not_read_is_parked_until_we_may() {
    // Root may read everything: the program runs as somebody else.
    let mut plan = plan("");
    if nix::unistd::geteuid().is_root() {
        for directory in ["", "tree", "tree/docs", "tree/notes"] {
            let path = plan.dir().join(directory);
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("chmod");
        }
        plan = plan.prefix(&[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]);
    }
    let mut world = plan.prepare();
    write(&world, "docs/a.md", "a");
    fs::set_permissions(path(&world, "docs/a.md"), fs::Permissions::from_mode(0o200))
        .expect("chmod");
    fs::create_dir(path(&world, "docs/closed")).expect("made");
    write(&world, "docs/closed/b.md", "b");
    fs::set_permissions(
        path(&world, "docs/closed"),
        fs::Permissions::from_mode(0o300),
    )
    .expect("chmod");
    // Its output, too.
    fs::write(world.file("supervisor.out"), "").expect("written");
    fs::set_permissions(
        world.file("supervisor.out"),
        fs::Permissions::from_mode(0o666),
    )
    .expect("chmod");
    world.start();
    let status = wait_status(&world, "it is parked", |status| {
        status["queue"]["parked"] == 1
    });
    let why = status["parked"][0]["reason"].as_str().expect("a reason");
    assert!(why.to_lowercase().contains("permission denied"), "{why}");
    assert_eq!(
        said(
            &world,
            "a directory cannot be read, its files are left as they are"
        ),
        1
    );
    fs::set_permissions(path(&world, "docs/a.md"), fs::Permissions::from_mode(0o644))
        .expect("chmod");
    wait_until("it is in", || {
        rows(&world, "docs").contains_key("docs/a.md").then_some(())
    });
}

#[test]
fn f72_when_the_kernels_queue_overflows_everything_is_looked_at() {
    let world = plan("").prepare();
    let mut world = world;
    world.start();
    wait_quiet(&world);
    // It reads nothing while more happens than the kernel remembers.
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .expect("the limit")
        .trim()
        .parse()
        .expect("a number");
    process::signal(world.pid(), Signal::SIGSTOP);
    let a = path(&world, "docs/a.md");
    let b = path(&world, "docs/b.md");
    fs::write(&a, "x").expect("written");
    // The kernel folds what happens twice in a row to the same file.
    for _ in 0..most / 4 + 100 {
        fs::rename(&a, &b).expect("renamed");
        fs::rename(&b, &a).expect("renamed");
    }
    for n in 0..50 {
        write(&world, &format!("docs/{n}.md"), &n.to_string());
    }
    process::signal(world.pid(), Signal::SIGCONT);
    wait_mirrored(&world);
    wait_until("it is said", || {
        (said(&world, "something was missed, everything is looked at") > 0).then_some(())
    });
}

#[test]
fn f73_at_the_limit_of_watches_directories_are_walked_and_the_sysctl_is_named() {
    let limit = "echo 3 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    let world = plan("")
        .prefix(&["unshare", "-Ur", "sh", "-c", limit, "limited"])
        .prepare();
    for n in 0..10 {
        write(&world, &format!("docs/d{n}/a.md"), "a");
    }
    let mut world = world;
    world.start();
    wait_mirrored(&world);
    let status = wait_quiet(&world);
    assert_eq!(status["watch"]["mode"], "polling");
    let why = status["watch"]["reason"].as_str().expect("a reason");
    assert!(why.contains("fs.inotify.max_user_watches"), "{why}");
    assert_eq!(
        said(&world, "fs.inotify.max_user_watches"),
        1,
        "{}",
        world.output()
    );
    // Found by the next walk.
    write(&world, "docs/d9/b.md", "b");
    wait_mirrored(&world);
}

#[test]
fn f81_a_mass_deletion_is_held_until_somebody_confirms_it() {
    let world = plan("on_delete = \"tombstone\"").prepare();
    for n in 0..60 {
        let folder = if n < 40 { "docs/many" } else { "docs" };
        write(&world, &format!("{folder}/{n:02}.md"), &n.to_string());
    }
    let mut world = world;
    world.start();
    wait_mirrored(&world);
    fs::rename(path(&world, "docs/many"), path(&world, "away")).expect("moved away");
    let status = wait_status(&world, "they are held", |status| {
        status["queue"]["held"] == 40
    });
    assert_eq!(status["held"][0]["of"], 60);
    let shown = world.cli(&["sync", "status"]);
    assert_eq!(shown.code, Some(3));
    assert!(
        shown.out.contains("40 of 60 rows of docs would be deleted"),
        "{shown:?}"
    );
    assert!(said(&world, "supervisor sync confirm") > 0);
    assert_eq!(world.cli(&["sync", "confirm", "nothing"]).code, Some(1));
    let confirmed = world.cli(&["sync", "confirm", "docs"]);
    assert_eq!(
        (confirmed.code, confirmed.out.as_str()),
        (Some(0), "40 deletions are done\n")
    );
    wait_quiet(&world);
    let database = rusqlite::Connection::open(world.data().join("tables.db")).expect("tables.db");
    let marked: i64 = database
        .query_row(
            "SELECT count(*) FROM docs WHERE deleted_at IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .expect("counted");
    assert_eq!(marked, 40);
}

// === once, and a look ===

#[test]
fn once_mirrors_and_the_second_time_nothing_is_left_to_do() {
    let world = plan("").prepare();
    for n in 0..250 {
        write(
            &world,
            &format!("docs/d{}/{n}.md", n % 7),
            &format!("text {n}"),
        );
    }
    write(&world, "notes/n.md", "n");
    let before = fingerprint(&world);
    let first = world.cli(&["--once"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(
        first.out,
        "Scan complete. Synced: 251, Skipped (unchanged): 0, Errors: 0\n"
    );
    assert!(first.err.contains("Syncing: n.md → notes"), "{}", first.err);
    for table in ["docs", "notes"] {
        assert_eq!(rows(&world, table), files(&world, table));
    }
    let second = world.cli(&["--once"]);
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(
        second.out,
        "Scan complete. Synced: 0, Skipped (unchanged): 251, Errors: 0\n"
    );
    assert!(!second.err.contains("Syncing"), "{}", second.err);
    write(&world, "docs/d1/1.md", "edited");
    fs::rename(path(&world, "docs/d2/2.md"), path(&world, "docs/two.md")).expect("renamed");
    let third = world.cli(&["--once"]);
    assert_eq!(
        third.out,
        "Scan complete. Synced: 2, Skipped (unchanged): 249, Errors: 0\n"
    );
    assert_eq!(rows(&world, "docs"), files(&world, "docs"));
    let mut after = fingerprint(&world);
    for changed in ["docs/d1/1.md", "docs/two.md", "docs/d2", "docs"] {
        after.remove(&path(&world, changed));
    }
    for (path, seen) in after {
        assert_eq!(before.get(&path), Some(&seen), "{}", path.display());
    }
}

#[test]
fn once_says_with_its_code_that_something_is_left() {
    let world = plan("").prepare();
    write(&world, "docs/a.md", "a");
    nix::unistd::mkfifo(&path(&world, "docs/fifo.md"), nix::sys::stat::Mode::S_IRWXU)
        .expect("a FIFO");
    let ran = world.cli(&["--once"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(
        ran.out,
        "Scan complete. Synced: 1, Skipped (unchanged): 0, Errors: 1\n"
    );
    let again = world.cli(&["--once"]);
    assert_eq!(again.code, Some(3), "it is left still: {again:?}");
    fs::remove_file(path(&world, "docs/fifo.md")).expect("removed");
    assert_eq!(world.cli(&["--once"]).code, Some(0));
}

#[test]
fn once_gives_up_on_a_target_that_does_not_answer_asks_it_ever_later_and_loses_nothing() {
    let world = plan("target = \"supabase\"").prepare();
    write(&world, "docs/a.md", "a");
    fs::remove_dir(path(&world, "notes")).expect("removed");
    // Nobody listens there.
    let url = format!("http://127.0.0.1:{}", free_port());
    let env = [
        ("SUPABASE_URL", url.as_str()),
        ("SUPABASE_SERVICE_ROLE_KEY", "service-key"),
    ];
    for _ in 0..2 {
        let ran = world.cli_with(&["--once"], &env);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.out.starts_with("Scan complete. Synced: 0, "), "{ran:?}");
        let asked = ran.err.matches("the target does not answer").count();
        assert_eq!(asked, 3, "{}", ran.err);
        assert!(ran.err.contains("rows are left, rows: 1"), "{}", ran.err);
        assert!(
            ran.err.contains("there is no such directory yet"),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains("service-key"), "{}", ran.err);
        // The third rest is of 4 s, give or take half.
        let last = ran.err.rsplit("again_in_s: ").next().expect("a rest");
        let rest = last.split_whitespace().next().expect("a number");
        assert!(rest.parse::<f64>().expect(rest) >= 2.0, "{}", ran.err);
    }
}

#[test]
fn a_dry_run_says_what_it_would_do_and_writes_nothing_anywhere() {
    let world = plan("").prepare();
    write(&world, "docs/a.md", "a");
    let ran = world.cli(&["--once", "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.err.contains("[DRY RUN] Would sync: a.md → docs"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("DRY RUN MODE"), "{}", ran.err);
    assert_eq!(
        ran.out,
        "Scan complete. Synced: 0, Skipped (unchanged): 0, Errors: 0\n"
    );
    assert!(!world.data().exists(), "nothing was made");
    assert_eq!(world.cli(&["--once"]).code, Some(0));
    let listing = || {
        let entries = fs::read_dir(world.data()).expect("data").flatten();
        entries
            .map(|entry| {
                let bytes = fs::read(entry.path()).unwrap_or_default();
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                (entry.file_name(), bytes.len(), hasher.finish())
            })
            .collect::<BTreeSet<_>>()
    };
    let before = listing();
    write(&world, "docs/b.md", "b");
    let ran = world.cli(&["--once", "--dry-run"]);
    assert_eq!(ran.err.matches("Would sync").count(), 1, "{}", ran.err);
    assert!(
        ran.err.contains("[DRY RUN] Would sync: b.md → docs"),
        "{}",
        ran.err
    );
    assert_eq!(
        ran.out,
        "Scan complete. Synced: 0, Skipped (unchanged): 1, Errors: 0\n"
    );
    assert_eq!(listing(), before);
    // It goes on, too.
    let mut child = world
        .command()
        .args(["--dry-run", "--config"])
        .arg(world.config())
        .spawn()
        .expect("the program starts");
    wait_until("the walk is over", || {
        (said(&world, "[DRY RUN] Would sync: b.md → docs") == 1).then_some(())
    });
    write(&world, "docs/c.md", "c");
    wait_until("the edit is seen", || {
        (said(&world, "[DRY RUN] Would sync: c.md → docs") == 1).then_some(())
    });
    process::signal(i32::try_from(child.id()).expect("a pid"), Signal::SIGTERM);
    assert!(child.wait().expect("wait").success());
    assert_eq!(listing(), before);
}

#[test]
fn once_beside_a_running_supervisor_is_done_by_that_one() {
    // It would not look by itself for a long time.
    let world = plan("").prepare();
    write(&world, "docs/a.md", "a");
    let mut world = world;
    world.start();
    wait_quiet(&world);
    let ran = world.cli(&["--once"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        ran.out,
        "Scan complete. Synced: 0, Skipped (unchanged): 1, Errors: 0\n"
    );
    write(&world, "docs/b.md", "b");
    let ran = world.cli(&["--once"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(rows(&world, "docs"), files(&world, "docs"));
    // A look beside it disturbs nothing.
    let look = world.cli(&["--once", "--dry-run"]);
    assert_eq!(look.code, Some(0), "{look:?}");
}

#[test]
fn a_configuration_that_mirrors_nothing_says_so() {
    let world = World::plan().start();
    assert_eq!(world.get("/api/sync").status, 404);
    let shown = world.cli(&["sync", "status"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.err.contains("nothing is mirrored"), "{shown:?}");
    let other = World::plan().prepare();
    let once = other.cli(&["--once"]);
    assert_eq!(once.code, Some(78));
    assert!(once.err.contains("mirrors no directory"), "{once:?}");
}

// === disks ===

#[test]
fn f40_a_damaged_record_is_begun_anew_by_comparing_not_by_sending() {
    let world = plan("").prepare();
    for n in 0..300 {
        write(&world, &format!("docs/{n}.md"), &format!("text {n}"));
    }
    assert_eq!(world.cli(&["--once"]).code, Some(0));
    for damage in ["cut", "garbled", "deleted"] {
        let database = world.data().join("sync.db");
        let bytes = fs::read(&database).expect("sync.db");
        match damage {
            "cut" => fs::write(&database, &bytes[..bytes.len() / 2]).expect("cut"),
            "garbled" => fs::write(&database, vec![0x5a; bytes.len()]).expect("garbled"),
            _ => fs::remove_file(&database).expect("deleted"),
        }
        write(&world, "docs/7.md", &format!("edited when it was {damage}"));
        let ran = world.cli(&["--once"]);
        assert_eq!(ran.code, Some(0), "{damage}: {ran:?}");
        assert_eq!(
            ran.err.matches("Syncing: ").count(),
            1,
            "{damage}: {}",
            ran.err
        );
        assert!(
            ran.out.contains("Synced: 1, Skipped (unchanged): 299"),
            "{damage}: {ran:?}"
        );
        if damage != "deleted" {
            assert!(
                ran.err.contains("set aside as sync.db.corrupt-"),
                "{damage}: {}",
                ran.err
            );
        }
        assert_eq!(rows(&world, "docs"), files(&world, "docs"));
    }
}

#[test]
fn tables_that_are_deleted_are_made_and_filled_again() {
    let world = plan("").prepare();
    for n in 0..20 {
        write(&world, &format!("docs/{n}.md"), &format!("text {n}"));
    }
    assert_eq!(world.cli(&["--once"]).code, Some(0));
    for name in ["tables.db", "tables.db-wal", "tables.db-shm"] {
        let _ = fs::remove_file(world.data().join(name));
    }
    let ran = world.cli(&["--once"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(rows(&world, "docs"), files(&world, "docs"));
}

#[test]
fn f38_what_the_disk_did_not_take_is_never_said_to_be_synced() {
    let world = plan("").prepare();
    // So that everything else is there already.
    assert_eq!(world.cli(&["--once"]).code, Some(0));
    write(&world, "docs/a.md", "a");
    let trace = world.file("trace");
    let ran = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .args([
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            "inject=fsync,fdatasync:error=EIO",
        ])
        .arg(crate::common::world::PROGRAM)
        .args(["--once", "--no-color"])
        .current_dir(world.dir())
        .output()
        .expect("strace");
    let err = String::from_utf8_lossy(&ran.stderr);
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(
        fs::read_to_string(&trace).expect("a trace").contains("EIO"),
        "nothing was injected"
    );
    assert_eq!(ran.status.code(), Some(3), "{out}{err}");
    assert!(!err.contains("Synced: a.md"), "{err}");
    assert!(out.contains("Synced: 0"), "{out}");
    // On a disk that works again all is well.
    let again = world.cli(&["--once"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(rows(&world, "docs"), files(&world, "docs"));
}

#[test]
fn f37_on_a_full_disk_the_sync_says_so_and_goes_on_when_it_is_over() {
    let data_plan = plan("");
    let data = data_plan.dir().join("data");
    fs::create_dir(&data).expect("data");
    let mount = format!(
        "mount -t tmpfs -o size=4m,mode=0700 tmpfs '{}' && exec \"$@\"",
        data.display()
    );
    let mut words = vec!["unshare", "-m"];
    if !nix::unistd::geteuid().is_root() {
        words = vec!["unshare", "-Urm"];
    }
    words.extend(["sh", "-c", mount.as_str(), "mounted"]);
    let world = data_plan.prefix(&words).start();
    wait_quiet(&world);
    // The mount is the supervisor's own.
    let inside = format!("/proc/{}/root{}/filler", world.pid(), data.display());
    let _ = fs::write(&inside, vec![0; 8 << 20]);
    write(&world, "docs/a.md", &"a".repeat(100_000));
    let status = wait_status(&world, "it is said", |status| status["ledger"].is_string());
    assert_eq!(status["totals"]["synced"], 0);
    assert_eq!(world.get("/api/health/status").status, 200);
    fs::remove_file(inside).expect("removed");
    wait_status(&world, "it is made up for", |status| {
        status["ledger"].is_null() && status["totals"]["synced"] == 1
    });
}

#[test]
fn nothing_of_our_own_wakes_the_sync() {
    // Our data directory lies in the tree that is watched.
    let world = World::plan()
        .config("[sync]\ndebounce = \"100ms\"\n[[sync.dirs]]\npath = \".\"\ntable = \"docs\"\n")
        .prepare();
    fs::write(world.file("a.md"), "a").expect("written");
    let mut world = world;
    world.start();
    wait_quiet(&world);
    let before = status(&world)["totals"].clone();
    watch_for(Duration::from_millis(1_500), || {
        assert_eq!(status(&world)["totals"], before);
    });
}
