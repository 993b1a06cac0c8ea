//! What follows a death: restarts, their delays and limits, quarantine.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::script::{bash, command, sh};
use crate::common::wait::{wait_within, watch_for};
use crate::common::{World, alive, signal};

#[test]
fn a_killed_service_is_replaced_at_once() {
    let world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    let first = world.wait_healthy("sleeper");
    let pid = first.pid.expect("a process");
    signal(pid, Signal::SIGKILL);
    let second = world.wait_for("sleeper", "has a new life", |service| {
        service.generation == first.generation + 1 && service.pid.is_some_and(alive)
    });
    assert_ne!(second.pid, first.pid);
    assert_eq!(second.restarts, 1);
    let events = world.events_of("sleeper");
    let exit = events
        .iter()
        .find(|event| event.kind == "exited")
        .expect("an exit");
    assert!(
        exit.reason.contains("KILL") || exit.reason.contains('9'),
        "{exit:?}"
    );
    let restart = events
        .iter()
        .find(|event| event.kind == "restarted")
        .expect("a restart");
    assert_eq!(restart.to.as_deref(), Some("signalled"));
}

#[test]
fn f17_a_crash_loop_backs_off_and_ends_in_a_quarantine_that_says_so() {
    let keys = format!(
        "{}backoff = {{ min = \"100ms\", max = \"200ms\", factor = 2.0, jitter = 0.0 }}\nmax_restarts = 4",
        sh("date +%s%N >>starts; exit 7")
    );
    let world = World::plan().service("crasher", &keys).start();

    let service = world.wait_for("crasher", "is quarantined", |service| {
        service.state == "quarantined"
    });
    assert_eq!((service.status.as_str(), service.pid), ("critical", None));
    assert!(
        service.reason.to_lowercase().contains("restart"),
        "{service:?}"
    );
    assert!(
        service.next_start_in.is_some_and(|seconds| seconds > 600.0),
        "{service:?}"
    );
    let starts: Vec<u64> = world
        .read("starts")
        .lines()
        .map(|line| line.parse().expect("ns"))
        .collect();
    assert_eq!(starts.len(), 5, "one start and four restarts");
    let gaps: Vec<u64> = starts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / 1_000_000)
        .collect();
    // The first restart has no delay; then 100, 200, and no more than 200 ms.
    assert!(
        gaps[1] >= 100 && gaps[2] >= 200 && gaps[3] >= 200,
        "{gaps:?}"
    );
    let events = world.events_of("crasher");
    assert_eq!(
        events
            .iter()
            .filter(|event| event.kind == "quarantined")
            .count(),
        1
    );
    watch_for(Duration::from_millis(700), || {
        assert_eq!(
            world.read("starts").lines().count(),
            5,
            "started from quarantine"
        );
    });

    world.control("crasher", "clear");
    world.wait_event("the clearing is recorded", |event| event.kind == "cleared");
    world.wait_for("crasher", "is tried again", |_| {
        world.read("starts").lines().count() > 5
    });
}

#[test]
fn f18_a_service_that_dies_while_it_is_stopped_is_not_restarted() {
    let script = bash("trap 'kill -9 $$' TERM\nwhile :; do sleep 0.05; done");
    let world = World::plan().service("dying", &script).start();
    let first = world.wait_healthy("dying");
    world.control("dying", "stop");
    world.wait_for("dying", "is stopped", |service| service.state == "stopped");

    watch_for(Duration::from_secs(1), || {
        let service = world.service("dying");
        assert_eq!(
            (service.generation, service.pid),
            (first.generation, None),
            "{service:?}"
        );
    });
    assert_eq!(world.service("dying").status, "unknown");
    assert!(
        world
            .events_of("dying")
            .iter()
            .all(|event| event.kind != "restarted")
    );
}

#[test]
fn a_clean_exit_is_restarted_only_where_the_policy_says_always() {
    let brief = sh("echo started >>$SUPERVISOR_SERVICE; sleep 0.1; exit 0");
    let world = World::plan()
        .service(
            "always",
            &format!("{brief}backoff = {{ min = \"50ms\", max = \"50ms\" }}"),
        )
        .service("on-failure", &format!("{brief}restart = \"on-failure\""))
        .service("never", &format!("{brief}restart = \"never\""))
        .start();
    for name in ["on-failure", "never"] {
        let service = world.wait_for(name, "has exited", |service| service.state == "exited");
        assert_eq!(service.status, "unknown");
    }
    world.wait_for("always", "has been restarted", |service| {
        service.restarts >= 2
    });
    assert_eq!(world.read("on-failure").lines().count(), 1);
    assert_eq!(world.read("never").lines().count(), 1);
}

#[test]
fn a_hung_service_that_is_never_restarted_is_stopped_and_critical() {
    let script = bash("pulse; exec sleep 1000");
    let keys = format!("{script}interval = \"200ms\"\nrestart = \"never\"");
    let world = World::plan().service("hung", &keys).start();
    let pid = world
        .wait_for("hung", "runs", |service| service.pid.is_some())
        .pid
        .expect("a process");
    let service = world.wait_for("hung", "is stopped and critical", |service| {
        service.status == "critical" && service.pid.is_none()
    });
    assert!(!alive(pid));
    watch_for(Duration::from_millis(700), || {
        assert_eq!(world.service("hung").generation, service.generation);
    });
}

#[test]
fn a_nudge_comes_before_the_restart_and_a_pulse_after_it_spares_the_service() {
    // It hangs after its first pulse until it is woken by USR1, once; the next hang is for good.
    let script = bash(
        "woken=0\ntrap 'woken=$((woken+1)); echo nudged >>nudges; [ $woken = 1 ] && pulse >/dev/null' USR1\n\
         pulse >/dev/null\nwhile :; do sleep 0.05; done",
    );
    let keys = format!(
        "{script}interval = \"200ms\"\nnudge = {{ signal = \"SIGUSR1\" }}\nnudge_wait = \"1s\""
    );
    let world = World::plan().service("dozing", &keys).start();
    let first = world.wait_for("dozing", "runs", |service| service.pid.is_some());

    world.wait_for("dozing", "is nudged", |_| {
        world.read("nudges") == "nudged\n"
    });
    world.wait_for("dozing", "is healthy again in the same life", |service| {
        service.status == "healthy"
            && service.total_pulses >= 2
            && service.generation == first.generation
    });
    let second = world.wait_for("dozing", "is restarted at last", |service| {
        service.generation > first.generation
    });
    assert_eq!(second.restarts, 1);
    assert!(
        world.read("nudges").starts_with("nudged\nnudged\n"),
        "it was nudged each time first"
    );
}

#[test]
fn an_operators_restart_gives_a_new_life_and_is_no_failure() {
    let script = bash("pulse_every 0.1");
    let world = World::plan()
        .service("worker", &format!("{script}interval = \"500ms\""))
        .start();
    let first = world.wait_healthy("worker");
    world.control("worker", "restart");
    let second = world.wait_for("worker", "is healthy in a new life", |service| {
        service.generation == first.generation + 1 && service.status == "healthy"
    });
    assert!(!alive(first.pid.expect("a process")));
    assert!(second.pid.is_some_and(alive));
    let events = world.events_of("worker");
    let restart = events
        .iter()
        .find(|event| event.kind == "restarted")
        .expect("a restart");
    assert_eq!(restart.to.as_deref(), Some("operator"));
    let worse = |event: &&crate::common::Event| {
        event.kind == "level" && !matches!(event.to.as_deref(), Some("healthy" | "unknown"))
    };
    assert_eq!(events.iter().find(worse), None);
}

#[test]
fn a_stopped_service_is_started_again_on_request() {
    let world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    let first = world.wait_healthy("sleeper");
    world.control("sleeper", "stop");
    let stopped = world.wait_for("sleeper", "is stopped", |service| {
        service.state == "stopped"
    });
    assert_eq!((stopped.status.as_str(), stopped.pid), ("unknown", None));
    world.control("sleeper", "start");
    let second = world.wait_healthy("sleeper");
    assert_eq!(second.generation, first.generation + 1);
}

#[test]
fn the_proof_a_service_that_hangs_is_poked_within_its_limit_and_healthy_again() {
    let script = bash("pulse_every 0.1");
    let world = World::plan()
        .service("worker", &format!("{script}interval = \"400ms\""))
        .start();
    let first = world.wait_healthy("worker");
    let pid = first.pid.expect("a process");

    let began = Instant::now();
    signal(pid, Signal::SIGSTOP);
    world.wait_event("it is poked", |event| event.kind == "poked");
    let noticed = began.elapsed();
    // Five intervals and the grace of 100 ms; a pulse may have been due or just sent.
    let limit = Duration::from_millis(5 * 400 + 100);
    assert!(
        noticed + Duration::from_millis(150) >= limit,
        "after {noticed:?}: too early"
    );
    assert!(
        noticed < limit + Duration::from_secs(2),
        "after {noticed:?}: too late"
    );
    world.wait_for("worker", "is healthy in a new life", |service| {
        service.generation > first.generation && service.status == "healthy"
    });
}

#[test]
fn a_hundred_hangs_in_a_row_are_each_caught() {
    const HANGS: u64 = 100;
    let script = bash("pulse >/dev/null; echo x >>lives; exec sleep 1000");
    let keys = format!(
        "{script}interval = \"200ms\"\nwarning_after = 1\ndegraded_after = 1\ncritical_after = 1\nmax_restarts = 10000\n\
         backoff = {{ min = \"1ms\", max = \"1ms\", reset_after = \"100ms\" }}"
    );
    let world = World::plan().service("hanging", &keys).start();
    let began = Instant::now();
    wait_within(
        Duration::from_secs(100),
        "a hundred hangs are caught",
        || (world.service("hanging").restarts >= HANGS).then_some(()),
    );
    let took = began.elapsed();
    // Each costs its limit (one interval and the grace), a stop and a start.
    assert!(took < Duration::from_secs(75), "{took:?} for {HANGS}");
    let events = world.events_of("hanging");
    let poked = events.iter().filter(|event| event.kind == "poked").count();
    let restarted = events.iter().filter(|event| event.kind == "restarted");
    let stale = restarted
        .filter(|event| event.to.as_deref() == Some("stale"))
        .count();
    assert!(
        poked >= 100 && stale >= 100,
        "{poked} poked, {stale} restarted as stale"
    );
    assert!(world.read("lives").lines().count() >= 100);
}
