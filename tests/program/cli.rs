//! The command line: exit codes, what goes where, JSON.

use std::process::{Command, Stdio};

use crate::common::World;
use crate::common::proof::{until_silent, wait_silence_is_poked};
use crate::common::script::{command, sh};
use crate::common::wait::wait_until;
use crate::common::world::PROGRAM;

#[test]
fn the_exit_codes_say_how_it_went() {
    let world = World::plan()
        .service("fine", &command(&["sleep", "1000"]))
        .service("faulty", "interval = \"1h\"")
        .start();
    world.wait_healthy("fine");
    assert_eq!(world.cli(&["status"]).code, Some(0));
    assert_eq!(world.cli(&["status", "fine"]).code, Some(0));
    let report = world.cli(&["pulse", "faulty", "--error", "broken", "--critical"]);
    assert_eq!(report.code, Some(0), "{report:?}");
    assert_eq!(world.cli(&["status"]).code, Some(3), "unhealthy");
    assert_eq!(world.cli(&["status", "faulty"]).code, Some(3));
    assert_eq!(world.cli(&["status", "fine"]).code, Some(0));
    for words in [
        &["frobnicate"][..],
        &["stop"],
        &["status", "--no-such-option"],
        &["pause", "fine", "--for", "soon"],
    ] {
        let ran = world.cli(words);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(2), ""),
            "{words:?}: {ran:?}"
        );
        assert!(!ran.err.is_empty());
    }
    let unknown = world.cli(&["stop", "nobody"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.err.contains("nobody"), "{unknown:?}");
    let partly = world.cli(&["stop", "fine", "nobody"]);
    assert_eq!(partly.code, Some(3), "{partly:?}");
    assert_eq!(world.service("fine").state, "stopped");
}

#[test]
fn without_a_supervisor_the_commands_say_so_with_a_code_of_their_own() {
    let world = World::plan()
        .service("fine", &command(&["sleep", "1000"]))
        .prepare();
    for words in [
        &["status"][..],
        &["stop", "fine"],
        &["logs", "fine"],
        &["events"],
        &["pulse", "fine"],
    ] {
        let ran = world.cli(words);
        assert_eq!(ran.code, Some(4), "{words:?}: {ran:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn a_stale_socket_counts_as_no_supervisor_and_is_no_obstacle() {
    let mut world = World::plan()
        .service("fine", &command(&["sleep", "1000"]))
        .start();
    world.wait_healthy("fine");
    world.kill();
    assert!(
        world.data().join("supervisor.sock").exists(),
        "nobody has tidied up"
    );
    assert_eq!(world.cli(&["status"]).code, Some(4));
    world.start();
    assert_eq!(world.cli(&["status"]).code, Some(0));
}

#[test]
fn status_is_a_table_for_people_and_json_for_programs() {
    let world = World::plan()
        .service("fine", &command(&["sleep", "1000"]))
        .service("outside", "interval = \"30s\"")
        .start();
    let pid = world.wait_healthy("fine").pid.expect("a process");
    world.pulse("outside");

    let table = world.cli(&["status"]);
    assert_eq!((table.code, table.err.as_str()), (Some(0), ""), "{table:?}");
    let line = table
        .out
        .lines()
        .find(|line| line.contains("fine"))
        .expect("its line");
    assert!(
        line.contains("healthy") && line.contains(&pid.to_string()),
        "{line}"
    );
    assert!(!table.out.contains('\u{1b}'), "colours in a pipe");

    let json = world.cli(&["status", "--json"]);
    assert_eq!(json.code, Some(0), "{json:?}");
    let services = json.json();
    let services = services["services"].as_array().expect("services").clone();
    let fine = services
        .iter()
        .find(|service| service["name"] == "fine")
        .expect("fine");
    assert_eq!(fine["pid"].as_i64(), Some(i64::from(pid)));
    let one = world.cli(&["status", "fine", "--json"]).json();
    assert_eq!(one["name"], "fine");
    assert_eq!(one["status"], "healthy");
}

#[test]
fn the_control_verbs_do_what_they_say_and_wait_for_it() {
    let script = sh("trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.02; done");
    let world = World::plan().service("worker", &script).start();
    let first = world.wait_healthy("worker");

    assert_eq!(world.cli(&["stop", "worker"]).code, Some(0));
    assert_eq!(world.service("worker").state, "stopped", "it did not wait");
    assert_eq!(world.cli(&["start", "worker"]).code, Some(0));
    let second = world.wait_healthy("worker");
    assert_eq!(second.generation, first.generation + 1);
    assert_eq!(world.cli(&["restart", "worker"]).code, Some(0));
    let third = world.wait_healthy("worker");
    assert_eq!(third.generation, first.generation + 2);
    assert_eq!(world.cli(&["pause", "worker"]).code, Some(0));
    assert_eq!(world.service("worker").state, "paused");
    assert_eq!(world.cli(&["resume", "worker"]).code, Some(0));
    assert_eq!(world.service("worker").state, "running");
    let nudge = world.cli(&["nudge", "worker"]);
    assert_eq!(nudge.code, Some(1), "none is configured: {nudge:?}");
}

#[test]
fn stopping_what_is_stopped_and_starting_what_runs_is_no_failure() {
    let world = World::plan()
        .service("worker", &command(&["sleep", "1000"]))
        .start();
    let first = world.wait_healthy("worker");
    assert_eq!(world.cli(&["start", "worker"]).code, Some(0));
    assert_eq!(world.service("worker").pid, first.pid);
    for _ in 0..2 {
        assert_eq!(world.cli(&["stop", "worker"]).code, Some(0));
    }
    assert_eq!(world.service("worker").state, "stopped");
}

#[test]
fn logs_are_printed_and_followed() {
    let script =
        sh("echo first; while [ ! -e go ]; do sleep 0.02; done; echo second; exec sleep 1000");
    let world = World::plan().service("talker", &script).start();
    world.wait_healthy("talker");
    wait_until("the line is there", || {
        world
            .cli(&["logs", "talker"])
            .out
            .contains("first")
            .then_some(())
    });

    let out = std::fs::File::create(world.file("followed")).expect("a file");
    let mut follower = Command::new(PROGRAM)
        .args(["logs", "talker", "-f"])
        .current_dir(world.dir())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_until("the past is shown", || {
        world.read("followed").contains("first").then_some(())
    });
    std::fs::write(world.file("go"), "").expect("go");
    wait_until("the present is shown", || {
        world.read("followed").contains("second").then_some(())
    });
    follower.kill().expect("kill");
    follower.wait().expect("wait");
}

#[test]
fn a_service_in_trouble_is_shown_with_what_it_printed_last() {
    let world = World::plan()
        .service(
            "crasher",
            &format!(
                "{}restart = \"never\"",
                sh("echo no such table >&2; exit 9")
            ),
        )
        .service("fine", &sh("echo all is well; exec sleep 1000"))
        .start();
    world.wait_for("crasher", "is critical", |service| {
        service.status == "critical"
    });
    world.wait_for("fine", "runs", |service| service.status == "healthy");
    let ran = world.cli(&["status", "crasher"]);
    assert!(
        ran.out.ends_with("  last output\n    no such table\n"),
        "{ran:?}"
    );
    let json = world.cli(&["status", "crasher", "--json"]);
    assert!(!json.out.contains("no such table"), "{json:?}");
    let ran = world.cli(&["status", "fine"]);
    assert!(!ran.out.contains("all is well"), "{ran:?}");
}

#[test]
fn events_are_listed_for_people_and_for_programs() {
    let world = World::plan()
        .service("crasher", &format!("{}restart = \"never\"", sh("exit 9")))
        .start();
    world.wait_for("crasher", "is critical", |service| {
        service.status == "critical"
    });
    let list = wait_until("they are written", || {
        let ran = world.cli(&["events"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        (ran.out.contains("exited") && ran.out.contains("critical")).then_some(ran.out)
    });
    assert!(list.contains("crasher"), "{list}");
    let json = world
        .cli(&["events", "--json", "--service", "crasher"])
        .json();
    let events = json["events"].as_array().expect("events").clone();
    assert!(events.iter().all(|event| event["service"] == "crasher"));
    assert!(events.iter().any(|event| event["kind"] == "exited"));
}

#[test]
fn watching_the_status_prints_changes_as_they_come() {
    let world = World::plan()
        .service("outside", "interval = \"300ms\"")
        .start();
    world.pulse("outside");
    let out = std::fs::File::create(world.file("watched")).expect("a file");
    let mut watcher = Command::new(PROGRAM)
        .args(["status", "--watch"])
        .current_dir(world.dir())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_until("it shows how late it is", || {
        world.read("watched").contains("critical").then_some(())
    });
    watcher.kill().expect("kill");
    watcher.wait().expect("wait");
}

#[test]
fn the_pulse_command_works_within_a_service_and_from_outside() {
    let script = format!("{PROGRAM} pulse || exit 9\necho $? >pulsed\nexec sleep 1000");
    let world = World::plan()
        .service("inside", &format!("{}interval = \"1h\"", sh(&script)))
        .service("outside", "interval = \"1h\"")
        .start();
    world.wait_healthy("inside");
    wait_until("it went well", || {
        (world.read("pulsed") == "0\n").then_some(())
    });
    assert_eq!(world.service("inside").total_pulses, 1);
    assert_eq!(world.cli(&["pulse", "outside"]).code, Some(0));
    assert_eq!(
        world.cli(&["pulse", "outside", "--message", "hello"]).code,
        Some(0)
    );
    let service = world.service("outside");
    assert_eq!(
        (service.total_pulses, service.message.as_deref()),
        (2, Some("hello"))
    );
    assert_eq!(world.cli(&["pulse", "nobody"]).code, Some(1));
}

#[test]
fn the_pulse_command_in_a_loop_keeps_a_service_healthy_and_its_silence_is_poked() {
    let line = format!("{PROGRAM} pulse || exit 9");
    let script = sh(&until_silent(&line));
    let world = World::plan()
        .service("loop", &format!("{script}interval = '500ms'\n"))
        .start();
    wait_silence_is_poked(&world, "loop");
}

#[test]
fn the_log_says_what_changed_and_how_late_it_was() {
    let world = World::plan()
        .service("save_worker", "interval = \"300ms\"")
        .start();
    world.pulse("save_worker");
    world.wait_for("save_worker", "is critical", |service| {
        service.status == "critical"
    });
    let log = wait_until("it is logged", || {
        Some(world.output()).filter(|log| log.contains("degraded → critical"))
    });
    for step in [
        "service save_worker heartbeat: healthy → warning",
        "service save_worker heartbeat: warning → degraded",
        "service save_worker heartbeat: degraded → critical",
    ] {
        assert!(log.contains(step), "{step}\n{log}");
    }
    assert!(log.contains("missed 1 of 5"), "{log}");
    assert!(!log.contains('\u{1b}'), "colours in a file");
}

#[test]
fn the_log_is_json_on_request() {
    let mut world = World::plan()
        .service("worker", &command(&["sleep", "1000"]))
        .prepare();
    let config = world.config();
    let mut child = world
        .command()
        .arg("--config")
        .arg(&config)
        .args(["--log-format", "json"])
        .spawn()
        .expect("it starts");
    world.wait_ready();
    world.wait_healthy("worker");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid")),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("kill");
    assert_eq!(child.wait().expect("wait").code(), Some(0));
    let lines: Vec<serde_json::Value> = world
        .output()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.len() > 1);
}
