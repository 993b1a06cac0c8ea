//! What services print, as their pulses.

use std::fs;
use std::time::Duration;

use crate::common::World;
use crate::common::script::sh;
use crate::common::wait::{wait_until, watch_for};

/// Prints that line every tenth of a second until the file `silent` is there; its later lives
/// remove it first.
fn prints(line: &str) -> String {
    sh(&format!(
        "rm -f silent; n=0; while [ ! -e silent ]; do n=$((n + 1)); echo \"{line}\"; sleep 0.1; done; \
         exec sleep 1000"
    ))
}

#[test]
fn any_line_is_a_pulse_and_its_silence_is_poked() {
    let world = World::plan()
        .service(
            "worker",
            &format!("{}interval = \"300ms\"\nstdout_pulse = true\n", prints("x")),
        )
        .start();
    world.wait_healthy("worker");
    let before = world.wait_for("worker", "goes on", |service| service.total_pulses > 10);
    assert_eq!((before.generation, before.restarts), (1, 0));
    fs::write(world.file("silent"), "").expect("written");
    world.wait_event("critical by silence", |event| {
        event.service == "worker" && event.to.as_deref() == Some("critical")
    });
    world.wait_event("poked", |event| {
        event.service == "worker"
            && event.kind == "restarted"
            && event.to.as_deref() == Some("stale")
    });
    world.wait_for("worker", "is well again", |service| {
        service.generation == 2 && service.status == "healthy"
    });
}

#[test]
fn groups_of_a_regex_become_what_they_are_called() {
    let keys = "interval = \"300ms\"\nstdout_pulse = '^(?P<message>\\w+) (?P<cycle>\\d+) at (?P<progress>[\\d.]+)%, queue (?P<queue>\\S+)'\n";
    let script = prints("row $n at 12.5%, queue $((n % 5))\"; echo \"noise\" >&2; echo \"");
    let world = World::plan()
        .service("worker", &format!("{script}{keys}"))
        .start();
    world.wait_healthy("worker");
    let service = world.wait_for("worker", "has counted", |service| service.cycle > Some(10));
    assert_eq!(service.message.as_deref(), Some("row"));
    let all = world.get("/api/services/worker").json();
    assert_eq!(all["progress"], 12.5);
    let queue = &all["metrics"]["queue"];
    assert_eq!((&queue["min"], &queue["max"]), (&0.0.into(), &4.0.into()));
    assert!(queue["count"].as_u64() > Some(10), "{queue}");
    // The noise between is none: as many pulses as rows.
    let (pulses, rows) = (&all["total_pulses"], &all["cycle"]);
    assert_eq!(pulses, rows, "{all}");
    // It is in the log like everything else.
    let log = world.get("/api/logs/worker?tail=10").text();
    assert!(log.contains("noise") && log.contains("row "), "{log}");
}

#[test]
fn lines_that_the_regex_does_not_find_are_no_pulses() {
    let keys = "interval = \"300ms\"\nstdout_pulse = '^done'\npoke_on = [\"probe\"]\nstart_grace = \"2s\"\n";
    let world = World::plan()
        .service("worker", &format!("{}{keys}", prints("doing, not done")))
        .start();
    world.wait_for("worker", "is critical", |service| {
        service.status == "critical"
    });
    assert_eq!(world.service("worker").total_pulses, 0);
}

#[test]
fn a_progress_that_it_prints_must_move() {
    let keys = "interval = \"300ms\"\nprogress_timeout = \"2s\"\nstdout_pulse = '^at (?P<progress>\\d+)'\n";
    let script = sh("echo >>lives; n=0; while :; do n=$((n + 1)); \
         [ $(wc -l <lives) = 1 ] && [ $n -gt 5 ] && n=5; echo \"at $n\"; sleep 0.1; done");
    let world = World::plan()
        .service("worker", &format!("{script}{keys}"))
        .start();
    let poked = world.wait_event("poked", |event| {
        event.service == "worker" && event.kind == "poked"
    });
    assert!(
        poked.reason.starts_with("progress has stood at 5 for "),
        "{poked:?}"
    );
    world.wait_for("worker", "gets further", |service| {
        service.generation == 2 && service.total_pulses > 100
    });
}

#[test]
fn f28_an_adopted_service_is_heard_on() {
    let keys = "interval = \"500ms\"\nstdout_pulse = '(?P<cycle>\\d+)'\n";
    let mut world = World::plan()
        .service("worker", &format!("{}{keys}", prints("$n")))
        .start();
    world.wait_healthy("worker");
    for _ in 0..3 {
        let before = world.wait_for("worker", "counts", |service| service.cycle.is_some());
        world.kill();
        world.start();
        let after = world.wait_for("worker", "counts on", |service| {
            service.cycle > before.cycle.map(|cycle| cycle + 5)
        });
        assert_eq!(
            (after.pid, after.generation),
            (before.pid, before.generation)
        );
        assert_eq!((after.status.as_str(), after.restarts), ("healthy", 0));
    }
}

/// What a process has in memory of its own, in kB.
fn memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1));
    kb.expect("a size").parse().expect("a number")
}

#[test]
fn f71_a_flood_of_lines_costs_little_and_holds_up_nobody() {
    let keys = "interval = \"1s\"\nlog_max_size = \"1 MB\"\nlog_keep = 1\n";
    let flood = sh("while :; do yes \"row 7 of a flood\" | head -n 100000; done");
    let world = World::plan()
        .service(
            "lines",
            &format!("{flood}{keys}stdout_pulse = 'row (?P<rows>\\d+)'\n"),
        )
        .service("count", &format!("{flood}{keys}stdout_pulse = true\n"))
        .service(
            "quiet",
            &format!("{}interval = \"1s\"\nstdout_pulse = true\n", prints("x")),
        )
        .start();
    for name in ["lines", "count", "quiet"] {
        world.wait_healthy(name);
    }
    world.wait_for("count", "is counted", |service| {
        service.total_pulses > 1_000_000
    });
    world.wait_for("lines", "loses some", |service| {
        service.lines_dropped > 100_000
    });
    let shim = world.shim_of("lines");
    let before = (memory(world.pid()), memory(shim));
    watch_for(Duration::from_secs(5), || {
        for name in ["lines", "count", "quiet"] {
            let service = world.service(name);
            assert_eq!(
                (service.status.as_str(), service.generation),
                ("healthy", 1),
                "{service:?}"
            );
        }
    });
    let after = (memory(world.pid()), memory(shim));
    assert!(after.0 < before.0 + 8_000, "{before:?} → {after:?} kB");
    assert!(after.1 < 300, "the shim: {before:?} → {after:?} kB");
    assert_eq!(world.service("quiet").lines_dropped, 0);
    // Who stops it need not wait for all that was printed.
    world.control("lines", "stop");
    wait_until("it is stopped", || {
        (world.service("lines").state == "stopped").then_some(())
    });
}
