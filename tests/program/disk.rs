//! Disks that are full, databases that are locked or broken: supervision goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::script::{bash, command};
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
    let data = plan.dir().join("data");
    fs::create_dir(&data).expect("data");
    let mount = format!(
        "mount -t tmpfs -o size=3m,mode=0700 tmpfs '{}' && exec \"$@\"",
        data.display()
    );
    let mut words = vec!["unshare", "-m"];
    if !nix::unistd::geteuid().is_root() {
        words = vec!["unshare", "-Urm"];
    }
    words.extend(["sh", "-c", mount.as_str(), "mounted"]);
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
                    "{}backoff = {{ min = \"50ms\", max = \"50ms\" }}",
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

    fs::remove_file(&fill).expect("room again");
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
    let everywhere = [
        world.output(),
        fs::read_to_string(world.data().join("supervisor.log")).expect("the log"),
    ];
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
