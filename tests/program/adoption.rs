//! The supervisor's own death: children live on, are found again, none is doubled.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::script::{bash, command, sh};
use crate::common::wait::{wait_until, watch_for};
use crate::common::{Event, Service, World, alive, process, signal};

/// What must be the same before and after.
fn identity(service: &Service) -> (Option<i32>, u64, u64, String) {
    (
        service.pid,
        service.generation,
        service.restarts,
        service.status.clone(),
    )
}

#[test]
fn the_proof_a_killed_supervisor_finds_the_same_pids_and_generations() {
    let worker = bash("alone; pulse_every 0.1");
    let mut world = World::plan()
        .service("worker", &format!("{worker}interval = \"2s\""))
        .service("sleeper", &command(&["sleep", "1000"]))
        .service("outside", "interval = \"1h\"")
        .start();
    world.pulse("outside");
    // One of them in its second life.
    let first = world.wait_healthy("sleeper").pid.expect("a process");
    signal(first, Signal::SIGKILL);
    world.wait_for("sleeper", "is in its second life", |service| {
        service.generation == 2 && service.status == "warning" && service.pid.is_some_and(alive)
    });
    world.wait_healthy("worker");
    let before = ["worker", "sleeper"].map(|name| identity(&world.service(name)));
    let outside = world.service("outside");

    world.kill();
    assert!(
        before
            .iter()
            .all(|(pid, ..)| alive(pid.expect("a process"))),
        "children died with it"
    );
    world.start();

    let after = ["worker", "sleeper"].map(|name| identity(&world.service(name)));
    assert_eq!(before, after);
    for name in ["worker", "sleeper"] {
        let events = world.events_of(name);
        assert!(
            events.iter().any(|event| event.kind == "adopted"),
            "{events:?}"
        );
    }
    assert_eq!(
        world.service("outside").last_heartbeat,
        outside.last_heartbeat
    );
    assert_eq!(world.service("outside").total_pulses, 1);
    let pulses = world.service("worker").total_pulses;
    world.wait_for("worker", "pulses on", |service| {
        service.total_pulses > pulses
    });
    assert_eq!(world.read("doubled"), "");
}

#[test]
fn a_restart_of_the_supervisor_alerts_nobody_again() {
    let worker = bash("alone; pulse_every 0.1");
    let mut world = World::plan()
        .service("worker", &format!("{worker}interval = \"500ms\""))
        .service("sleeper", &command(&["sleep", "1000"]))
        .service("faulty", "interval = \"1h\"")
        .service("silent", "interval = \"200ms\"\nstart_grace = \"300ms\"")
        .start();
    world.wait_healthy("worker");
    world.wait_healthy("sleeper");
    for _ in 0..3 {
        assert_eq!(
            world
                .post("/api/error/faulty", "{\"message\":\"no\"}")
                .status,
            202
        );
    }
    world.wait_for("faulty", "is degraded", |service| {
        service.status == "degraded"
    });
    world.wait_for("silent", "is critical", |service| {
        service.status == "critical"
    });
    let levels = |world: &World| {
        let events = world
            .events()
            .into_iter()
            .filter(|event| event.kind == "level");
        events
            .filter(|event| !event.service.starts_with("internal."))
            .collect::<Vec<_>>()
    };
    let before = levels(&world);

    for _ in 0..3 {
        world.kill();
        world.start();
        watch_for(Duration::from_millis(800), || {
            assert_eq!(world.service("faulty").status, "degraded");
            assert_eq!(world.service("silent").status, "critical");
            assert_eq!(world.service("worker").status, "healthy");
        });
    }
    assert_eq!(levels(&world), before, "levels were told again");
}

#[test]
fn an_exit_while_nobody_watched_is_learnt_with_its_code() {
    let script = sh("echo $$ >pid; while [ ! -e go ]; do sleep 0.02; done; exit 23");
    let mut world = World::plan()
        .service("leaving", &format!("{script}restart = \"never\""))
        .service(
            "killed",
            &format!("{}restart = \"never\"", command(&["sleep", "1000"])),
        )
        .start();
    let leaving = world.wait_healthy("leaving").pid.expect("a process");
    let killed = world.wait_healthy("killed").pid.expect("a process");
    world.kill();
    fs::write(world.file("go"), "").expect("go");
    signal(killed, Signal::SIGUSR1);
    wait_until("both are gone", || {
        (!alive(leaving) && !alive(killed)).then_some(())
    });

    world.start();

    let exit = world.wait_event("the exit is recorded", |event| {
        event.service == "leaving" && event.kind == "exited"
    });
    assert!(exit.reason.contains("23"), "{exit:?}");
    let exit = world.wait_event("the signal is recorded", |event| {
        event.service == "killed" && event.kind == "exited"
    });
    assert!(
        exit.reason.contains("USR1") || exit.reason.contains("10"),
        "{exit:?}"
    );
    for name in ["leaving", "killed"] {
        let service = world.wait_for(name, "is critical", |service| service.status == "critical");
        assert_eq!((service.pid, service.generation), (None, 1));
    }
}

#[test]
fn a_service_that_hung_while_nobody_watched_is_caught_after_one_grace() {
    let script = bash("alone; pulse_every 0.1");
    let mut world = World::plan()
        // Short, should the kill come before its first pulse is on record.
        .service(
            "worker",
            &format!("{script}interval = \"300ms\"\nstart_grace = \"3s\""),
        )
        .start();
    let first = world.wait_healthy("worker");
    let pid = first.pid.expect("a process");
    world.kill();
    signal(pid, Signal::SIGSTOP);
    world.start();
    world.wait_for("worker", "is healthy in a new life", |service| {
        service.generation > first.generation && service.status == "healthy"
    });
    assert!(!alive(pid));
}

/// Where the shims of a service keep their files.
fn run_files(world: &World, name: &str) -> PathBuf {
    world.data().join("shim").join(name)
}

fn files_below(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).expect("metadata").file_type();
        if kind.is_dir() {
            files.extend(files_below(&path));
        } else if kind.is_file() {
            files.push(path);
        }
    }
    files
}

#[test]
fn f8_a_stranger_with_the_pid_of_a_former_child_is_never_signalled() {
    let world_of = World::plan().service("sleeper", &command(&["sleep", "1000"]));
    let mut world = world_of.start();
    let pid = world.wait_healthy("sleeper").pid.expect("a process");
    let shim = world.shim_of("sleeper");
    world.kill();
    // Both die without a chance to write how: the files say that the pid lives.
    signal(shim, Signal::SIGKILL);
    signal(pid, Signal::SIGKILL);
    wait_until("both are gone", || {
        (!process::all().contains(&pid) && !process::all().contains(&shim)).then_some(())
    });

    // A stranger gets the very pid, as it does on a busy machine sooner or later.
    let mut stranger = stranger_with_pid(pid);
    world.start();
    let service = world.wait_for("sleeper", "has a new life", |service| {
        service.generation == 2 && service.pid.is_some_and(alive)
    });
    assert_ne!(service.pid, Some(pid));
    world.control("sleeper", "stop");
    world.wait_for("sleeper", "is stopped", |service| {
        service.state == "stopped"
    });
    assert_eq!(
        stranger.try_wait().expect("wait"),
        None,
        "the stranger was ended"
    );
    stranger.kill().expect("kill");
    stranger.wait().expect("wait");
}

/// Starts a process that has this pid. Where the kernel lets us say which pid comes next that
/// takes a few attempts; else as many as there are pids.
fn stranger_with_pid(pid: i32) -> std::process::Child {
    let chooser = PathBuf::from("/proc/sys/kernel/ns_last_pid");
    for _ in 0..200_000 {
        let _ = fs::write(&chooser, (pid - 1).to_string());
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        if i32::try_from(child.id()) == Ok(pid) {
            return child;
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
    panic!("no process got the pid {pid}");
}

#[test]
fn f35_a_second_supervisor_on_the_same_directory_refuses() {
    let world = World::plan()
        .service("sleeper", &sh("echo x >>starts; exec sleep 1000"))
        .start();
    let before = identity(&world.wait_healthy("sleeper"));

    let second = world.cli(&["--config", "supervisor.toml"]);

    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(
        second.err.contains(&world.pid().to_string()),
        "it names the holder: {second:?}"
    );
    assert_eq!(identity(&world.service("sleeper")), before);
    assert_eq!(world.read("starts"), "x\n");
}

#[test]
fn f42_cut_state_files_never_keep_the_supervisor_from_its_children() {
    let script = bash("alone; exec sleep 1000");
    let mut world = World::plan()
        .service("sleeper", &script)
        .service("other", &script)
        .start();
    for name in ["sleeper", "other"] {
        world.wait_healthy(name);
    }
    let before = ["sleeper", "other"].map(|name| identity(&world.service(name)));
    for cut in [0, 1, 7, 100, 4096, 5000] {
        for file in [
            "clock/mark",
            "state.db",
            "state.db-wal",
            "deacon/heartbeat.json",
        ] {
            world.kill();
            let path = world.data().join(file);
            if let Ok(bytes) = fs::read(&path) {
                fs::write(&path, &bytes[..cut.min(bytes.len())]).expect(file);
            }
            world.start();
            for name in ["sleeper", "other"] {
                world.wait_healthy(name);
            }
            let after = ["sleeper", "other"].map(|name| identity(&world.service(name)));
            let pids = |all: &[(Option<i32>, u64, u64, String); 2]| {
                [(all[0].0, all[0].1), (all[1].0, all[1].1)]
            };
            assert_eq!(pids(&before), pids(&after), "{file} cut at {cut}");
        }
    }
    assert_eq!(world.read("doubled"), "");
}

#[test]
fn f42_a_cut_run_file_costs_at_most_its_own_service_and_doubles_nothing() {
    let script = bash("alone; exec sleep 1000");
    let mut world = World::plan()
        .service("sleeper", &format!("{script}stop_timeout = \"300ms\""))
        .service("other", &script)
        .start();
    world.wait_healthy("other");
    let other = identity(&world.service("other"));
    for cut in [0, 1, 10, 40, 80] {
        world.wait_healthy("sleeper");
        world.kill();
        for path in files_below(&run_files(&world, "sleeper")) {
            let bytes = fs::read(&path).expect("a run file");
            fs::write(&path, &bytes[..cut.min(bytes.len())]).expect("a run file");
        }
        world.start();
        world.wait_for("sleeper", "runs", |service| service.pid.is_some_and(alive));
        assert_eq!(world.read("doubled"), "", "cut at {cut}");
        assert_eq!(identity(&world.service("other")), other);
    }
}

#[test]
fn f90_a_killed_shim_takes_its_tree_along_and_the_restart_says_so() {
    let script = sh("setsid sleep 1000 & trap '' TERM; sleep 1000; sleep 1000");
    let world = World::plan()
        .service("orphaned", &format!("{script}stop_timeout = \"300ms\""))
        .service("other", &command(&["sleep", "2000"]))
        .start();
    let first = world.wait_healthy("orphaned");
    let other = identity(&world.wait_healthy("other"));
    let tree = wait_until("its tree stands", || {
        let tree = process::descendants(world.shim_of("orphaned"));
        (tree.len() == 3).then_some(tree)
    });

    signal(world.shim_of("orphaned"), Signal::SIGKILL);

    world.wait_for("orphaned", "runs again", |service| {
        service.generation > first.generation && service.pid.is_some_and(alive)
    });
    let left: Vec<_> = tree.iter().filter(|pid| alive(**pid)).collect();
    assert!(left.is_empty(), "{left:?} of the old tree run on");
    let events = world.events_of("orphaned");
    let restart = events
        .iter()
        .find(|event| event.kind == "restarted")
        .expect("a restart");
    assert_eq!(restart.to.as_deref(), Some("shim"));
    assert_eq!(identity(&world.service("other")), other);
}

#[test]
fn f90_a_shim_that_died_while_nobody_watched_is_noticed_too() {
    let mut world = World::plan()
        .service("orphaned", &bash("alone; exec sleep 1000"))
        .start();
    let pid = world.wait_healthy("orphaned").pid.expect("a process");
    let shim = world.shim_of("orphaned");
    world.kill();
    signal(shim, Signal::SIGKILL);
    world.start();
    world.wait_for("orphaned", "runs again", |service| {
        service.generation == 2 && service.pid.is_some_and(alive)
    });
    assert!(!alive(pid));
    assert_eq!(world.read("doubled"), "");
    let events = world.events_of("orphaned");
    assert!(
        events
            .iter()
            .any(|event| event.kind == "restarted" && event.to.as_deref() == Some("shim")),
        "{events:?}"
    );
}

#[test]
fn f34_services_for_which_no_descriptor_is_left_are_neither_ended_nor_started_again() {
    const SERVICES: usize = 30;
    let few = "if test -e few; then ulimit -n 72; fi; exec \"$@\"";
    let mut plan = World::plan().prefix(&["sh", "-c", few, "limited"]);
    for number in 0..SERVICES {
        plan = plan.service(&format!("s{number}"), &command(&["sleep", "1000"]));
    }
    let mut world = plan.start();
    let before: Vec<_> = (0..SERVICES)
        .map(|number| identity(&world.wait_healthy(&format!("s{number}"))))
        .collect();
    world.kill();
    fs::write(world.file("few"), "").expect("a file");
    world.spawn();
    wait_until("it can be asked", || world.socket().connect().ok());

    // Some find room, and are supervised. Of the others it is said, and that is all.
    let is_unclear = |event: &Event| event.reason.contains("Too many open files");
    world.wait_event("it is said", is_unclear);
    let adopted = world.wait_event("one is adopted", |event| event.kind == "adopted");
    let adopted = world.service(&adopted.service);
    signal(adopted.pid.expect("a process"), Signal::SIGKILL);
    world.wait_for(&adopted.name, "lives again", |service| {
        service.generation > 1 && service.pid.is_some_and(alive)
    });
    let events = world.events();
    let waiting = events
        .iter()
        .find(|event| {
            is_unclear(event)
                && !events
                    .iter()
                    .any(|other| other.kind == "adopted" && other.service == event.service)
        })
        .expect("one that waits");
    let waiting = world.service(&waiting.service);
    assert!(
        waiting
            .message
            .as_deref()
            .unwrap_or_default()
            .contains("Too many open files"),
        "{waiting:?}"
    );
    watch_for(Duration::from_secs(1), || {
        for (number, (pid, ..)) in before.iter().enumerate() {
            let name = format!("s{number}");
            let is_it = name != adopted.name;
            assert!(!is_it || pid.is_some_and(alive), "{name} was ended");
            let generations = fs::read_dir(world.data().join("shim").join(&name)).expect("lives");
            assert!(
                !is_it || generations.count() == 1,
                "{name} was started again"
            );
        }
    });

    world.kill();
    fs::remove_file(world.file("few")).expect("removed");
    world.start();
    for (number, before) in before.iter().enumerate() {
        let name = format!("s{number}");
        if name != adopted.name {
            assert_eq!(identity(&world.wait_healthy(&name)), *before, "{name}");
        }
    }
}

#[test]
fn a_state_directory_of_an_older_version_loads() {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-v1");
    let mut world = World::plan().prepare();
    fs::copy(fixture.join("supervisor.toml"), world.config()).expect("supervisor.toml");
    fs::create_dir(world.data()).expect("data");
    for entry in fs::read_dir(fixture.join("data")).expect("the fixture") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), world.data().join(entry.file_name())).expect("a copy");
    }
    world.start();

    let worker = world.service("worker");
    assert!(worker.total_pulses >= 1000, "{worker:?}");
    assert!(
        worker.generation > 1,
        "its pid belonged to another boot: {worker:?}"
    );
    let crasher = world.service("crasher");
    assert_eq!(
        (crasher.state.as_str(), crasher.restarts),
        ("quarantined", 3)
    );
    assert_eq!(world.service("paused").state, "paused");
    let backup = world.service("backup");
    assert_eq!(backup.total_pulses, 1);
    assert!(backup.last_heartbeat.is_some(), "{backup:?}");
    assert!(!world.events().is_empty());
    let aside = fs::read_dir(world.data())
        .expect("data")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .find(|name| name.contains("corrupt"));
    assert_eq!(aside, None, "it was taken for corrupt");
}

#[test]
fn a_data_dir_with_a_very_long_path_works() {
    // Longer than the name of a Unix socket may be.
    let deep = "a-directory-with-quite-a-long-name/".repeat(6);
    let mut world = World::plan()
        .service("sleeper", &bash("alone; exec sleep 1000"))
        .prepare();
    let config = world
        .read("supervisor.toml")
        .replace("\"data\"", &format!("\"{deep}data\""));
    fs::write(world.config(), config).expect("supervisor.toml");
    world.spawn();
    let status = |world: &World| world.cli(&["status", "sleeper", "--json"]);
    let pid = wait_until("the service runs", || {
        let ran = status(&world);
        (ran.code == Some(0))
            .then(|| ran.json()["pid"].as_i64())
            .flatten()
    });
    world.kill();
    world.spawn();
    wait_until("it is found again", || {
        let ran = status(&world);
        (ran.code == Some(0) && ran.json()["pid"].as_i64() == Some(pid)).then_some(())
    });
    assert_eq!(world.read("doubled"), "");
}
