//! Stops: of one service, and of everything.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::script::{bash, command, sh};
use crate::common::wait::wait_until;
use crate::common::{World, alive, process};

/// Writes its name when it is asked to stop, a little later says that it has, and ends.
fn orderly(name: &str, extra: &str) -> String {
    let script = bash(&format!(
        "trap 'echo {name} asked >>order; sleep 0.2; echo {name} done >>order; exit 0' TERM\n\
         echo {name} >>up\nwhile :; do sleep 0.02; done"
    ));
    format!("{script}{extra}")
}

#[test]
fn stop_says_done_only_when_nothing_of_the_service_is_left() {
    // Its main process goes at once; a child ignores TERM, another called setsid besides.
    let script = "(trap '' TERM; echo $$ >>started; exec sleep 1000) &\n\
         setsid sh -c 'trap \"\" TERM; echo $$ >>started; exec sleep 1000' &\n\
         exec sleep 1000";
    let world = World::plan()
        .service("family", &format!("{}stop_timeout = \"800ms\"", sh(script)))
        .start();
    let main = world.wait_healthy("family").pid.expect("a process");
    let all = wait_until("its children run", || {
        let sleeping: Vec<i32> = process::belonging_to(world.dir())
            .into_iter()
            .filter(|pid| process::command_line(*pid) == "sleep 1000")
            .collect();
        (sleeping.len() == 3 && sleeping.contains(&main)).then_some(sleeping)
    });

    let began = Instant::now();
    let ran = world.cli(&["stop", "family"]);
    let left: Vec<_> = all.iter().filter(|pid| alive(**pid)).collect();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(left.is_empty(), "done was said of {left:?}");
    assert!(
        began.elapsed() >= Duration::from_millis(800),
        "the deaf ones had their time"
    );
    assert_eq!(world.service("family").state, "stopped");
}

#[test]
fn a_stop_that_takes_its_time_is_shown_as_stopping_until_it_is_done() {
    let script = sh("trap '' TERM; echo up >up; exec sleep 1000");
    let world = World::plan()
        .service("slow", &format!("{script}stop_timeout = \"1500ms\""))
        .start();
    let pid = world.wait_healthy("slow").pid.expect("a process");
    wait_until("it ignores TERM", || {
        world.file("up").exists().then_some(())
    });
    world.control("slow", "stop");
    let service = world.wait_for("slow", "is stopping", |service| service.state == "stopping");
    assert_eq!(service.pid, Some(pid));
    assert!(alive(pid));
    world.wait_for("slow", "is stopped", |service| service.state == "stopped");
    assert!(!alive(pid));
}

/// A cgroup whose processes stand still and do not even die of SIGKILL before it thaws.
struct Ice(PathBuf);

impl Ice {
    /// Freezes a process, where this machine has the means (root, and the old freezer).
    fn around(pid: i32) -> Option<Self> {
        let ice = Self(PathBuf::from(format!(
            "/sys/fs/cgroup/freezer/sv-test-{pid}"
        )));
        fs::create_dir(&ice.0).ok()?;
        fs::write(ice.0.join("cgroup.procs"), pid.to_string()).ok()?;
        fs::write(ice.0.join("freezer.state"), "FROZEN").ok()?;
        Some(ice)
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let emptied = || fs::remove_dir(&self.0).is_ok();
        for _ in 0..200 {
            if emptied() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_stop_that_nothing_can_finish_names_what_blocks_it() {
    let world = World::plan()
        .service(
            "stuck",
            &format!("{}stop_timeout = \"200ms\"", command(&["sleep", "1000"])),
        )
        .start();
    let pid = world.wait_healthy("stuck").pid.expect("a process");
    let Some(ice) = Ice::around(pid) else {
        eprintln!("skipped: processes cannot be frozen here");
        return;
    };

    let ran = world.cli(&["stop", "stuck", "--timeout", "3s"]);

    assert_eq!(ran.code, Some(1), "done was said: {ran:?}");
    assert!(
        ran.err.contains(&pid.to_string()),
        "it names what blocks it: {ran:?}"
    );
    let service = world.service("stuck");
    assert_eq!(service.state, "stopping");
    let blocked = service.blocked_by.expect("what blocks it");
    assert!(
        blocked.contains(&pid.to_string()) && blocked.contains("sleep"),
        "{blocked}"
    );
    drop(ice);
    world.wait_for("stuck", "is stopped", |service| service.state == "stopped");
    assert!(!alive(pid));
}

#[test]
fn the_end_of_the_supervisor_stops_all_in_reverse_order_of_dependency() {
    let mut world = World::plan()
        .service("db", &orderly("db", ""))
        .service("api", &orderly("api", "depends_on = [\"db\"]"))
        .service("web", &orderly("web", "depends_on = [\"api\"]"))
        .start();
    wait_until("all run", || {
        (world.read("up").lines().count() == 3).then_some(())
    });
    let pids: Vec<i32> = ["db", "api", "web"]
        .map(|name| world.wait_healthy(name).pid.expect("a process"))
        .into();

    let status = world.terminate();

    assert_eq!(status.code(), Some(0), "{}", world.output());
    assert_eq!(
        world.read("order"),
        "web asked\nweb done\napi asked\napi done\ndb asked\ndb done\n"
    );
    assert!(pids.iter().all(|pid| !alive(*pid)));
    // The shims themselves may be seen on their last step.
    wait_until("nothing is left", || {
        process::belonging_to(world.dir()).is_empty().then_some(())
    });
}

#[test]
fn a_service_is_stopped_after_its_dependants() {
    let world = World::plan()
        .service("db", &orderly("db", ""))
        .service("web", &orderly("web", "depends_on = [\"db\"]"))
        .start();
    wait_until("all run", || {
        (world.read("up").lines().count() == 2).then_some(())
    });
    world.wait_healthy("web");
    let ran = world.cli(&["stop", "db"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let order = world.read("order");
    if order.contains("web") {
        assert_eq!(order, "web asked\nweb done\ndb asked\ndb done\n");
    } else {
        panic!("a dependant ran on without what it depends on: {order:?}");
    }
}

#[test]
fn f36_a_storm_of_signals_is_one_ordered_stop() {
    let mut world = World::plan()
        .service("db", &orderly("db", ""))
        .service("web", &orderly("web", "depends_on = [\"db\"]"))
        .start();
    wait_until("all run", || {
        (world.read("up").lines().count() == 2).then_some(())
    });
    world.wait_healthy("web");

    let pid = world.pid();
    for round in 0..60 {
        // Ctrl-C twice, and TERM as fast as a nervous script sends it.
        let signal = if round % 2 == 0 {
            Signal::SIGTERM
        } else {
            Signal::SIGINT
        };
        if nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    assert_eq!(world.wait_exit().code(), Some(0), "{}", world.output());

    assert_eq!(
        world.read("order"),
        "web asked\nweb done\ndb asked\ndb done\n"
    );
}

#[test]
fn sigint_stops_everything_as_sigterm_does() {
    let mut world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    let pid = world.wait_healthy("sleeper").pid.expect("a process");
    world.signal(Signal::SIGINT);
    assert_eq!(world.wait_exit().code(), Some(0), "{}", world.output());
    assert!(!alive(pid));
}

#[test]
fn on_exit_leave_leaves_the_services_running_for_the_next_supervisor() {
    let script = bash("alone; pulse_every 0.1");
    let mut world = World::plan()
        .supervisor("on_exit = \"leave\"")
        .service("stayer", &format!("{script}interval = \"5s\""))
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    let before = ["stayer", "sleeper"].map(|name| {
        let service = world.wait_healthy(name);
        (service.pid.expect("a process"), service.generation)
    });

    assert_eq!(world.terminate().code(), Some(0), "{}", world.output());
    assert!(before.iter().all(|(pid, _)| alive(*pid)));
    world.start();

    let after = ["stayer", "sleeper"].map(|name| {
        let service = world.wait_healthy(name);
        (service.pid.expect("a process"), service.generation)
    });
    assert_eq!(before, after);
    assert_eq!(world.read("doubled"), "");
}

#[test]
fn the_supervisor_ends_even_if_a_client_reads_a_stream_for_ever() {
    let mut world = World::plan()
        .service("sleeper", &sh("echo hello; exec sleep 1000"))
        .start();
    world.wait_healthy("sleeper");
    let mut follower = world.socket().connect().expect("a connection");
    follower
        .write_all(b"GET /api/logs/sleeper?follow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    let mut first = [0; 1];
    follower.read_exact(&mut first).expect("an answer begins");

    let began = Instant::now();
    assert_eq!(world.terminate().code(), Some(0), "{}", world.output());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it waited for the reader: {:?}",
        began.elapsed()
    );
}
