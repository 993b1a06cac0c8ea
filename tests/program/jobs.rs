//! `supervisor run NAME -- CMD`: a command as a run of a service, with or without a supervisor.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::World;
use crate::common::script::sh;
use crate::common::signal;
use crate::common::wait::wait_until;
use crate::common::world::{PROGRAM, Ran};

fn world() -> World {
    World::plan().service("nightly", "interval = '1h'").start()
}

/// The last run on record, with what it printed.
fn last_run(world: &World) -> Value {
    let list = world.get("/api/runs/nightly").json();
    let id = list["runs"][0]["id"].to_string();
    let reply = world.get(&format!("/api/runs/nightly/{id}"));
    assert_eq!(reply.status, 200, "{list}");
    reply.json()
}

fn run_sh(world: &World, script: &str) -> Ran {
    world.cli(&["run", "nightly", "--", "sh", "-c", script])
}

#[test]
fn a_command_is_run_and_its_start_end_duration_and_output_are_on_record() {
    let world = world();
    let ran = run_sh(&world, "echo to-out; echo to-err >&2; sleep 0.3");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(0), "to-out\n", "to-err\n")
    );
    let service = world.service("nightly");
    assert_eq!(
        (service.status.as_str(), service.total_pulses),
        ("healthy", 1)
    );
    let run = last_run(&world);
    assert_eq!(
        (&run["outcome"], &run["exit_code"]),
        (&"success".into(), &0.into())
    );
    assert!(
        run["duration"].as_f64().is_some_and(|took| took >= 0.3),
        "{run}"
    );
    assert!(
        run["started_at"].is_string() && run["rid"].is_string(),
        "{run}"
    );
    let output = run["output"].as_str().expect("its output");
    assert!(
        output.contains("to-out\n") && output.contains("to-err\n"),
        "{output}"
    );

    // A failure is an error of the service; the code is passed on as it is.
    let ran = run_sh(&world, "echo no space left; exit 77");
    assert_eq!((ran.code, ran.out.as_str()), (Some(77), "no space left\n"));
    let service = world.service("nightly");
    assert_eq!(
        (service.status.as_str(), service.error_count),
        ("warning", 1)
    );
    assert!(service.reason.contains("exit code 77"), "{service:?}");
    let run = last_run(&world);
    assert_eq!(
        (&run["outcome"], &run["exit_code"]),
        (&"failure".into(), &77.into())
    );
    assert_eq!(run["output"], "no space left\n");
}

#[test]
fn a_signal_is_128_and_more_and_what_is_sent_to_us_is_for_the_command() {
    let world = world();
    let ran = run_sh(&world, "kill -KILL $$");
    assert_eq!(ran.code, Some(137));
    let run = last_run(&world);
    assert_eq!(
        (&run["exit_code"], &run["message"]),
        (&137.into(), &"killed by SIGKILL".into())
    );

    let script = "trap 'echo stopping; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let mut child = Command::new(PROGRAM)
        .args(["run", "nightly", "--", "sh", "-c", script])
        .current_dir(world.dir())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut out = child.stdout.take().expect("a pipe");
    let mut up = [0; 3];
    out.read_exact(&mut up).expect("it is up");
    wait_until("its run is under way", || {
        let service = world.get("/api/services/nightly").json();
        service["run"]["rid"].is_string().then_some(())
    });
    signal(i32::try_from(child.id()).expect("a pid"), Signal::SIGTERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("its output");
    assert_eq!(rest, "stopping\n");
    let run = last_run(&world);
    assert_eq!(
        (&run["exit_code"], &run["output"]),
        (&5.into(), &"up\nstopping\n".into())
    );
}

#[test]
fn a_command_that_cannot_be_started_is_a_failed_run() {
    let world = world();
    fs::write(world.file("plain"), "no program").expect("a file");
    for (command, code, why) in [
        ("./no-such-program", 127, "No such file"),
        ("./plain", 126, "Permission denied"),
    ] {
        let ran = world.cli(&["run", "nightly", "--", command]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.err.contains(why), "{ran:?}");
        let run = last_run(&world);
        assert_eq!(
            (&run["outcome"], &run["exit_code"]),
            (&"failure".into(), &code.into())
        );
        assert!(
            run["message"]
                .as_str()
                .is_some_and(|text| text.contains(why)),
            "{run}"
        );
    }
}

#[test]
fn while_the_supervisor_is_down_the_command_runs_and_it_is_said() {
    let mut world = world();
    world.terminate();
    let ran = run_sh(&world, "echo done; exit 3");
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), "done\n"));
    assert!(ran.err.contains("cannot reach a supervisor"), "{ran:?}");
    assert!(ran.err.contains("runs all the same"), "{ran:?}");
    assert!(ran.err.contains("not on record"), "{ran:?}");
    let ran = world.cli(&["run", "nightly", "--", "true"]);
    assert_eq!(ran.code, Some(0));

    // One that comes back meanwhile hears the end of what began without it.
    let script = "until [ -e back ]; do sleep 0.05; done; echo late";
    let mut child = Command::new(PROGRAM)
        .args(["run", "nightly", "--", "sh", "-c", script])
        .current_dir(world.dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    world.start();
    fs::write(world.file("back"), "").expect("a file");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let run = last_run(&world);
    assert_eq!(
        (&run["outcome"], &run["output"]),
        (&"success".into(), &"late\n".into())
    );
    assert!(
        run["duration"].as_f64().is_some_and(|took| took > 0.0),
        "{run}"
    );
}

#[test]
fn an_unknown_service_is_said_and_keeps_no_command_from_running() {
    let world = world();
    let ran = world.cli(&["run", "stranger", "--", "sh", "-c", "echo done; exit 4"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(4), "done\n"));
    assert!(ran.err.contains("stranger"), "{ran:?}");
    // What makes no sense is a usage error, and nothing is run.
    for words in [
        &["run", "nightly"][..],
        &["run", "nightly", "true"],
        &["run", "Nightly", "--", "touch", "ran"],
        &["run", "--", "touch", "ran"],
    ] {
        assert_eq!(world.cli(words).code, Some(2), "{words:?}");
    }
    assert!(!world.file("ran").exists());
}

#[test]
fn of_much_output_all_is_passed_on_and_the_end_is_kept() {
    let world = world();
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end";
    let ran = run_sh(&world, script);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.out.len(), 3_000_000 + 1 + 8);
    let run = last_run(&world);
    let output = run["output"].as_str().expect("its output");
    assert_eq!(output.len(), 10_000);
    assert!(output.ends_with("x\nthe end\n"));
    // Whoever reads us has had enough: so has the command.
    let status = Command::new("sh")
        .args(["-c", r#""$0" run nightly -- yes | head -1"#, PROGRAM])
        .current_dir(world.dir())
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("sh").success());
    wait_until("its end is on record", || {
        (last_run(&world)["message"] == "killed by SIGPIPE").then_some(())
    });
    // With --no-output it prints where we print, and nothing is kept.
    let ran = world.cli(&["run", "--no-output", "nightly", "--", "echo", "hello"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "hello\n"));
    assert!(last_run(&world)["output"].is_null());
}

#[test]
fn what_it_leaves_behind_goes_on_printing_and_its_end_is_told_before() {
    let world = world();
    let script = "(until [ -e go ]; do sleep 0.05; done; echo afterwards) & echo begun; exit 6";
    let child = Command::new(PROGRAM)
        .args(["run", "nightly", "--", "sh", "-c", script])
        .current_dir(world.dir())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    wait_until("its end is on record", || {
        let list = world.get("/api/runs/nightly").json();
        (list["runs"][0]["exit_code"] == 6).then_some(())
    });
    fs::write(world.file("go"), "").expect("a file");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(6));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "begun\nafterwards\n"
    );
}

#[test]
fn within_a_service_it_needs_no_name_and_its_silence_is_poked() {
    // A service that is a loop of jobs: each success is its pulse.
    let line = format!("{PROGRAM} run -- sh -c 'echo job' || exit 9");
    let script = crate::common::proof::until_silent(&line);
    let world = World::plan()
        .service("loop", &format!("{}interval = '500ms'\n", sh(&script)))
        .start();
    crate::common::proof::wait_silence_is_poked(&world, "loop");
}

#[test]
fn a_job_that_is_no_longer_run_turns_critical_and_tells_its_restart_command() {
    let world = World::plan()
        .service(
            "nightly",
            "interval = '300ms'\nrestart_command = ['touch', 'poked']\n",
        )
        .start();
    assert_eq!(run_sh(&world, "true").code, Some(0));
    world.wait_healthy("nightly");
    world.wait_event("critical by silence", |event| {
        event.service == "nightly" && event.to.as_deref() == Some("critical")
    });
    wait_until("it is poked", || world.file("poked").exists().then_some(()));
    assert_eq!(run_sh(&world, "true").code, Some(0));
    world.wait_healthy("nightly");
}
