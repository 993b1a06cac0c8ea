//! Starts that fail, and starts that wait for others.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::common::script::{bash, command, sh};
use crate::common::wait::{wait_until, watch_for};
use crate::common::{Service, World};

fn executable(world: &std::path::Path, name: &str, content: &str, mode: u32) {
    let path = world.join(name);
    fs::write(&path, content).expect(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect(name);
}

fn failed(world: &World, name: &str) -> Service {
    world.wait_for(name, "has failed to start", |service| {
        service.status == "critical"
    })
}

#[test]
fn f9_each_reason_why_a_program_cannot_be_executed_is_told_apart() {
    let plan = World::plan()
        .service("missing", &command(&["./no-such-program"]))
        .service("denied", &command(&["./denied"]))
        .service("text", &command(&["./text"]))
        .service("fine", &command(&["sleep", "1000"]));
    executable(plan.dir(), "denied", "#!/bin/sh\nexec sleep 1000\n", 0o644);
    executable(plan.dir(), "text", "this is no program\n", 0o755);
    let world = plan.start();

    let reasons = [
        ("missing", "no-such-program"),
        ("denied", "denied"),
        ("text", "text"),
    ]
    .map(|(name, program)| {
        let service = failed(&world, name);
        assert!(service.reason.contains(program), "{service:?}");
        assert_eq!(service.pid, None);
        // The names differ, so what is left must differ by the reason.
        service
            .reason
            .replace(program, "PROGRAM")
            .replace(name, "NAME")
    });
    assert_ne!(reasons[0], reasons[1]);
    assert_ne!(reasons[1], reasons[2]);
    assert_ne!(reasons[0], reasons[2]);
    world.wait_healthy("fine");

    // What cannot help is not tried again and again.
    let attempts = || {
        let errors = world
            .events()
            .into_iter()
            .filter(|event| event.kind == "error");
        errors.filter(|event| event.service != "fine").count()
    };
    let before = attempts();
    watch_for(Duration::from_millis(1500), || {
        assert_eq!(attempts(), before);
    });
}

#[test]
fn f9_a_program_that_is_being_written_is_tried_again() {
    let keys = format!(
        "{}backoff = {{ min = \"50ms\", max = \"100ms\" }}\nmax_restarts = 1000",
        command(&["./busy", "1000"])
    );
    let mut world = World::plan().service("busy", &keys).prepare();
    let program = world.file("busy");
    fs::copy("/bin/sleep", &program).expect("a copy of sleep");
    let writer = File::options().append(true).open(&program).expect("busy");
    world.start();
    world.wait_event("the failure is said", |event| {
        event.service == "busy" && event.reason.contains("busy") && event.kind == "error"
    });
    assert_eq!(world.service("busy").pid, None);

    drop(writer);
    world.wait_for("busy", "runs", |service| service.state == "running");
}

#[test]
fn f10_a_missing_directory_is_said_and_not_tried_for_ever() {
    let plan = World::plan().service(
        "homeless",
        &format!("{}cwd = \"there\"", sh("exec sleep 1000")),
    );
    fs::create_dir(plan.dir().join("there")).expect("a directory");
    let world = plan.start();
    let first = world.wait_healthy("homeless");
    // It goes away while the service runs, and is missed at its next start.
    fs::remove_dir(world.file("there")).expect("an empty directory");
    crate::common::signal(
        first.pid.expect("a process"),
        nix::sys::signal::Signal::SIGKILL,
    );

    let service = failed(&world, "homeless");
    assert!(service.reason.contains("there"), "{service:?}");
    assert_eq!(service.pid, None);
    watch_for(Duration::from_millis(1500), || {
        assert_eq!(
            world.service("homeless").generation,
            service.generation,
            "it loops"
        );
    });

    fs::create_dir(world.file("there")).expect("a directory");
    world.control("homeless", "clear");
    world.wait_for("homeless", "runs", |service| service.state == "running");
}

#[test]
fn f10_an_unknown_user_is_said_and_not_tried_for_ever() {
    let keys = format!("{}user = \"no-such-user-here\"", sh("exec sleep 1000"));
    let mut world = World::plan().service("nobody", &keys).prepare();
    world.spawn();
    // Either the configuration is refused as a whole, or the start is: never a loop.
    wait_until("it is said", || {
        world.output().contains("no-such-user-here").then_some(())
    });
    let check = world.cli(&["check"]);
    if check.code == Some(78) {
        assert_eq!(world.wait_exit().code(), Some(78));
        assert!(check.err.contains("no-such-user-here"), "{check:?}");
        return;
    }
    world.wait_ready();
    let service = failed(&world, "nobody");
    assert!(service.reason.contains("no-such-user-here"), "{service:?}");
    watch_for(Duration::from_millis(1000), || {
        assert_eq!(
            world.service("nobody").generation,
            service.generation,
            "it loops"
        );
    });
}

#[test]
fn a_service_is_started_once_what_it_depends_on_has_pulsed() {
    let ready_later = bash("sleep 0.7; date +%s%N >>db.ready; pulse >/dev/null; exec sleep 1000");
    let world = World::plan()
        .service(
            "web",
            &format!(
                "{}depends_on = [\"db\"]",
                sh("date +%s%N >>web.started; exec sleep 1000")
            ),
        )
        .service("db", &format!("{ready_later}interval = \"30s\""))
        .start();

    let waiting = world.service("web");
    assert_eq!(
        (waiting.state.as_str(), waiting.pid),
        ("starting", None),
        "{waiting:?}"
    );
    assert!(
        waiting.reason.contains("db"),
        "it says what it waits for: {waiting:?}"
    );
    world.wait_healthy("web");
    let number = |file: &str| wait_until(file, || world.read(file).trim().parse::<u64>().ok());
    assert!(number("web.started") >= number("db.ready"));
}

#[test]
fn a_start_says_at_once_which_stopped_service_it_waits_for() {
    let sleeper = command(&["sleep", "1000"]);
    let after = |name: &str| format!("{sleeper}depends_on = [\"{name}\"]");
    let world = World::plan()
        .service("web", &after("api"))
        .service("api", &after("db"))
        .service("db", &sleeper)
        .start();
    world.wait_healthy("web");
    for name in ["web", "api", "db"] {
        assert_eq!(world.cli(&["stop", name]).code, Some(0));
    }

    // Longer than anybody would wait, so that it would not end by itself.
    let start = world.cli(&["start", "web", "api", "--timeout", "1h"]);
    assert_eq!(start.code, Some(1), "{start:?}");
    for name in ["web", "api"] {
        let told = format!("{name}: starting: waiting for db, which is stopped");
        assert!(start.err.contains(&told), "{start:?}");
    }
    assert!(start.err.contains("`supervisor start db`"), "{start:?}");

    assert_eq!(world.cli(&["start", "db"]).code, Some(0));
    world.wait_healthy("web");
    for name in ["web", "api", "db"] {
        assert_eq!(world.cli(&["stop", name]).code, Some(0));
    }
    let together = world.cli(&["start", "web", "api", "db"]);
    assert_eq!(together.code, Some(0), "{together:?}");
}

#[test]
fn a_chain_of_dependencies_starts_in_order() {
    let sleeper = command(&["sleep", "1000"]);
    let after = |name: &str| format!("{sleeper}depends_on = [\"{name}\"]");
    let world = World::plan()
        .service("c", &after("b"))
        .service("b", &after("a"))
        .service("a", &sleeper)
        .start();
    for name in ["a", "b", "c"] {
        world.wait_healthy(name);
    }
    // What they do once they are executed is up to the machine's scheduler.
    let events = world.events();
    let started = events.iter().filter(|event| event.kind == "started");
    let order: Vec<_> = started.map(|event| event.service.as_str()).collect();
    assert_eq!(order, ["a", "b", "c"]);
}
