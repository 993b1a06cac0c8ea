//! Disks that are full, databases that are locked or broken: supervision goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::script::{bash, command, sh};
use crate::common::wait::{wait_until, watch_for};
use crate::common::{World, alive, signal};

#[test]
fn f30_a_locked_database_does_not_keep_services_from_being_aged_and_restarted() {
    let worker = bash("pulse_every 0.1");
    let world = World::plan()
        .service("worker", &format!("{worker}interval = \"400ms\""))
        .start();
    let first = world.wait_healthy("worker");
    let database = rusqlite::Connection::open(world.data().join("state.db")).expect("state.db");
    database
        .busy_timeout(Duration::from_secs(20))
        .expect("a timeout");
    database.execute_batch("BEGIN IMMEDIATE").expect("the lock");

    signal(first.pid.expect("a process"), Signal::SIGSTOP);
    let second = world.wait_for("worker", "is healthy in a new life", |service| {
        service.generation > first.generation && service.status == "healthy"
    });
    assert!(second.pid.is_some_and(alive));

    database
        .execute_batch("ROLLBACK")
        .expect("the lock is let go");
    // What could not be written then is written now.
    world.wait_event("the restart is recorded", |event| {
        event.service == "worker" && event.kind == "restarted"
    });
}

/// A world whose data_dir is a small file system of its own, which nobody else sees.
fn small_disk(
    services: impl FnOnce(crate::common::world::Plan) -> crate::common::world::Plan,
) -> World {
    let plan = World::plan();
    for name in ["data", "run-of-all"] {
        fs::create_dir(plan.dir().join(name)).expect("a directory");
    }
    let mount = "mount --bind run-of-all /run && \
        mount -t tmpfs -o size=3m,nr_inodes=300,mode=0700 tmpfs data && exec \"$@\"";
    let mut words = vec!["unshare", "-m"];
    if !nix::unistd::geteuid().is_root() {
        words = vec!["unshare", "-Urm"];
    }
    words.extend(["sh", "-c", mount, "mounted"]);
    services(plan.prefix(&words)).start()
}

#[test]
fn f37_on_a_full_disk_supervision_goes_on_and_the_history_marks_the_gap() {
    let worker = bash("pulse_every 0.1");
    let world = small_disk(|plan| {
        plan.service("worker", &format!("{worker}interval = \"400ms\""))
            .service(
                "crasher",
                &format!(
                    "{}backoff = {{ min = \"50ms\", max = \"50ms\", reset_after = \"300ms\" }}",
                    command(&["sleep", "1000"])
                ),
            )
            .service("outside", "interval = \"1h\"")
    });
    let first = world.wait_healthy("worker");
    let crasher = world.wait_healthy("crasher");
    assert_eq!(
        world
            .post("/api/pulse/outside", "{\"message\":\"before\"}")
            .status,
        202
    );
    let data = PathBuf::from(format!("/proc/{}/root", world.pid()))
        .join(world.data().strip_prefix("/").expect("absolute"));
    let fill = data.join("fill");
    let status = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=4k", &format!("of={}", fill.display())])
        .stderr(std::process::Stdio::null())
        .status()
        .expect("dd");
    assert!(!status.success(), "the disk is full");
    // Not even a directory can be made.
    let many = data.join("many");
    fs::create_dir(&many).expect("a directory");
    let more = (0..1_000).find(|number| fs::write(many.join(number.to_string()), "").is_err());
    assert!(more.is_some(), "the disk takes no more files");

    // Informative pulses are refused as records, but count as life.
    let pulses = world.service("outside").total_pulses;
    let refused = wait_until("a record is refused", || {
        let reply = world.post("/api/pulse/outside", "{\"message\":\"while it was full\"}");
        (reply.status == 507).then_some(reply)
    });
    assert_eq!(
        refused.header("content-type"),
        Some("application/problem+json")
    );
    assert!(
        world.service("outside").total_pulses > pulses,
        "it was no sign of life"
    );
    world.pulse("outside");

    // A hang and a death are noticed and put right.
    signal(first.pid.expect("a process"), Signal::SIGSTOP);
    signal(crasher.pid.expect("a process"), Signal::SIGKILL);
    for (name, generation) in [
        ("worker", first.generation),
        ("crasher", crasher.generation),
    ] {
        world.wait_for(name, "lives again", |service| {
            service.generation > generation && service.pid.is_some_and(alive)
        });
    }
    world.wait_healthy("worker");
    let mut places = fs::read_dir(world.file("run-of-all"))
        .expect("run")
        .flatten();
    assert!(
        places.any(|place| place.path().join("shim/worker").is_dir()),
        "it was started in the stand-in"
    );

    fs::remove_file(&fill).expect("room again");
    fs::remove_dir_all(&many).expect("room for files again");
    wait_until("records are taken again", || {
        (world
            .post("/api/pulse/outside", "{\"message\":\"after\"}")
            .status
            == 202)
            .then_some(())
    });
    let gap = world.wait_event("the gap is marked", |event| {
        event.kind == "supervisor" && event.to.as_deref() == Some("gap")
    });
    assert!(gap.reason.contains("refused"), "{gap:?}");
}

/// A world with a mount namespace of its own in each of its lives, in which its `data` is
/// read-only while there is a file `read-only`, and `/run` is its `run-of-all`.
fn read_only_disk() -> World {
    let plan = World::plan()
        .service(
            "worker",
            &format!("{}interval = \"400ms\"", bash("pulse_every 0.1")),
        )
        .service(
            "crasher",
            &format!(
                "{}backoff = {{ min = \"50ms\", max = \"50ms\", reset_after = \"300ms\" }}",
                sh("while :; do echo $$ says; sleep 0.1; done")
            ),
        );
    for name in ["data", "run-of-all"] {
        fs::create_dir(plan.dir().join(name)).expect("a directory");
    }
    fs::write(plan.dir().join("mount-read-only"), MOUNT_READ_ONLY).expect("a script");
    let mount = "mount --bind run-of-all /run && \
        if test -e read-only; then sh mount-read-only; fi && exec \"$@\"";
    let mut words = vec!["unshare", "-m"];
    if !nix::unistd::geteuid().is_root() {
        words = vec!["unshare", "-Urm"];
    }
    words.extend(["sh", "-c", mount, "mounted"]);
    plan.prefix(&words).start()
}

const MOUNT_READ_ONLY: &str = "mount --bind data data && mount -o remount,bind,ro data";

/// Runs words inside the supervisor's mount namespace, in the world's directory.
fn inside(world: &World, words: &[&str]) -> std::process::Output {
    let pid = world.pid().to_string();
    let mut command = std::process::Command::new("nsenter");
    command.args(["-t", &pid, "-m"]);
    if !nix::unistd::geteuid().is_root() {
        command.args(["-U", "--preserve-credentials"]);
    }
    let directory = format!("--wd={}", world.dir().display());
    let output = command.arg(directory).args(words).output();
    output.expect("nsenter")
}

#[test]
fn f39_a_data_dir_that_becomes_read_only_is_said_and_supervision_goes_on_over_our_death() {
    let mut world = read_only_disk();
    let worker = world.wait_healthy("worker");
    let crasher = world.wait_healthy("crasher");
    let token = world.token();

    // Whoever opens a file to write at that moment would keep it from becoming read-only.
    wait_until("it has printed", || {
        fs::read(world.data().join("log/crasher.log"))
            .ok()
            .filter(|log| !log.is_empty())
    });
    // While we run: who dies is started again, and the command line still finds us.
    let made = inside(&world, &["sh", "mount-read-only"]);
    assert!(made.status.success(), "{made:?}");
    signal(crasher.pid.expect("a process"), Signal::SIGKILL);
    let again = world.wait_for("crasher", "lives again", |service| {
        service.generation > crasher.generation && service.pid.is_some_and(alive)
    });
    let program = env!("CARGO_BIN_EXE_supervisor");
    let asked = inside(&world, &[program, "status", "--json"]);
    assert!(asked.status.success(), "{asked:?}");

    // The next supervisor cannot write there from the beginning. It finds them all, wherever
    // they were started, says what is wrong, and supervises.
    world.kill();
    fs::write(world.file("read-only"), "").expect("a file");
    world.spawn();
    let stand_in = wait_until("it has a place", || {
        let run = fs::read_dir(world.file("run-of-all")).expect("run");
        let mut names = run.flatten().map(|entry| entry.path());
        names.find(|path| path.join("supervisor.sock").exists())
    });
    world.move_socket(Some(stand_in.join("supervisor.sock")));
    world.wait_ready();
    for (name, life) in [("worker", &worker), ("crasher", &again)] {
        let kept = world.wait_healthy(name);
        assert_eq!((kept.pid, kept.generation), (life.pid, life.generation));
    }
    world.wait_event("it is said", |event| {
        event.kind == "supervisor" && event.reason.contains("read-only file system")
    });
    assert!(
        world
            .events_of("worker")
            .iter()
            .any(|event| event.kind == "started"),
        "the history that could be read is there"
    );
    let kept = fs::read_to_string(stand_in.join("token")).expect("a token");
    assert_eq!(kept.trim(), token, "who has the token can still use it");
    let asked = inside(&world, &[program, "status", "--json"]);
    assert!(asked.status.success(), "{asked:?}");
    signal(worker.pid.expect("a process"), Signal::SIGSTOP);
    signal(again.pid.expect("a process"), Signal::SIGKILL);
    let [worker, crasher] = [("worker", &worker), ("crasher", &again)].map(|(name, life)| {
        world.wait_for(name, "lives again", |service| {
            service.generation > life.generation && service.status == "healthy"
        })
    });
    // Nobody else takes the directory meanwhile.
    let second = inside(&world, &[program, "--config", "supervisor.toml"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("in use by another supervisor"), "{second:?}");

    // It can be written again: the one after that goes back, with everybody, and with what they
    // have printed and print from then on.
    let printed = |place: &Path| {
        let log = fs::read_to_string(place.join("log/crasher.log")).unwrap_or_default();
        let line = format!("{} says\n", crasher.pid.expect("a process"));
        log.matches(&line).count()
    };
    let before = wait_until("it prints", || {
        Some(printed(&stand_in)).filter(|count| *count > 2)
    });
    // For whom we have started, too, in the namespace of that life.
    let made = inside(&world, &["mount", "-o", "remount,bind,rw", "data"]);
    assert!(made.status.success(), "{made:?}");
    fs::remove_file(stand_in.join("key")).expect("as if there had been none");
    fs::rename(world.data().join("key"), stand_in.join("key")).expect("the key");
    world.kill();
    fs::remove_file(world.file("read-only")).expect("removed");
    world.move_socket(None);
    world.start();
    for (name, life) in [("worker", &worker), ("crasher", &crasher)] {
        let kept = world.wait_healthy(name);
        assert_eq!((kept.pid, kept.generation), (life.pid, life.generation));
    }
    assert!(!stand_in.join("state.db").exists(), "it is out of date");
    assert!(
        !stand_in.join("shim/.new").exists(),
        "a spare one of the dead"
    );
    assert!(printed(&world.data()) >= before, "what was printed is lost");
    let then = printed(&world.data());
    wait_until("what it prints arrives", || {
        (printed(&world.data()) > then).then_some(())
    });
    world.wait_event("it is said", |event| {
        event.kind == "supervisor" && event.reason.contains("can be written again")
    });
    assert!(
        world.data().join("key").exists(),
        "its tokens are still good"
    );
}

#[test]
fn f40_a_corrupt_database_is_set_aside_and_the_children_are_kept() {
    let mut world = World::plan()
        .service("sleeper", &bash("alone; exec sleep 1000"))
        .service("outside", "interval = \"1h\"")
        .start();
    world.pulse("outside");
    let first = world.wait_healthy("sleeper");
    world.kill();
    let database = world.data().join("state.db");
    let mut bytes = fs::read(&database).expect("state.db");
    for byte in &mut bytes {
        *byte = byte.wrapping_mul(31).wrapping_add(7);
    }
    fs::write(&database, &bytes).expect("state.db");
    // With it SQLite could put all of it together again.
    fs::remove_file(world.data().join("state.db-wal")).expect("state.db-wal");

    world.start();

    let second = world.wait_healthy("sleeper");
    assert_eq!(
        (second.pid, second.generation),
        (first.pid, first.generation)
    );
    assert_eq!(world.read("doubled"), "");
    let aside = fs::read_dir(world.data())
        .expect("data")
        .filter_map(Result::ok)
        .find(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.contains("corrupt") && fs::read(entry.path()).is_ok_and(|kept| kept == bytes)
        });
    assert!(
        aside.is_some(),
        "the corrupt one is kept for whoever wants to look"
    );
    world.wait_event("it is said", |event| {
        event.kind == "supervisor" && event.reason.contains("corrupt")
    });
    assert_eq!(
        world
            .post("/api/pulse/outside", "{\"message\":\"m\"}")
            .status,
        202
    );
}

#[test]
fn a_plain_pulse_is_stored_within_a_second_and_survives_a_kill() {
    let mut world = World::plan()
        .service("outside", "interval = \"1h\"")
        .start();
    for _ in 0..100 {
        world.pulse("outside");
    }
    assert_eq!(world.service("outside").total_pulses, 100);
    std::thread::sleep(Duration::from_millis(1500));
    world.kill();
    world.start();
    assert_eq!(world.service("outside").total_pulses, 100);
}

#[test]
fn what_carries_information_is_recorded_before_it_is_acknowledged() {
    let mut world = World::plan()
        .service("outside", "interval = \"1h\"")
        .start();
    for round in 1..=5 {
        let message = format!("{{\"message\":\"error number {round}\"}}");
        assert_eq!(world.post("/api/error/outside", &message).status, 202);
        // At once: no time to write it afterwards.
        world.kill();
        world.start();
        let service = world.service("outside");
        assert_eq!(service.error_count, round, "{service:?}");
        let events = world.events_of("outside");
        let said =
            |event: &&crate::common::Event| event.reason.contains(&format!("error number {round}"));
        assert!(events.iter().any(|event| said(&event)), "{events:?}");
    }
}

#[test]
fn the_data_dir_and_its_secrets_are_for_their_owner_alone() {
    let world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    let mode = |name: &str| {
        let path = world.data().join(name);
        fs::metadata(&path)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(""), 0o700);
    for name in ["token", "key", "supervisor.sock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert!(world.token().len() >= 32, "a token that can be guessed");
    let log = world.data().join("supervisor.log");
    let log = wait_until("there is a log", || fs::read_to_string(&log).ok());
    let everywhere = [world.output(), log];
    assert!(
        everywhere.iter().all(|text| !text.contains(&world.token())),
        "the token is logged"
    );
}

#[test]
fn the_deacon_file_is_written_in_the_deacons_format() {
    let world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .service("outside", "interval = \"200ms\"\nstart_grace = \"200ms\"")
        .start();
    let path = world.data().join("deacon/heartbeat.json");
    let text = wait_until("it is written", || fs::read_to_string(&path).ok());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("{", "}"), "{text}");
    assert!(!text.ends_with('\n'));
    let keys: Vec<&str> = lines[1..lines.len() - 1]
        .iter()
        .map(|line| {
            line.strip_prefix("  \"")
                .expect("two spaces")
                .split_once("\": ")
                .expect("a key")
                .0
        })
        .collect();
    let with_action = [
        "timestamp",
        "cycle",
        "last_action",
        "healthy_agents",
        "unhealthy_agents",
    ];
    let without: Vec<_> = with_action
        .iter()
        .copied()
        .filter(|key| *key != "last_action")
        .collect();
    assert!(keys == with_action || keys == without, "{keys:?}");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(
        value["timestamp"]
            .as_str()
            .is_some_and(|date| date.ends_with('Z')),
        "{text}"
    );
    assert!(
        value["cycle"].as_i64().is_some_and(|cycle| cycle >= 1),
        "{text}"
    );
    watch_for(Duration::from_millis(300), || {
        let text = fs::read_to_string(&path).expect("it is always there");
        serde_json::from_str::<serde_json::Value>(&text).expect("and always whole");
    });
}
