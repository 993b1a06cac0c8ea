//! Levels as the outside sees them: late, in error, paused, on demand.

use std::time::Duration;

use crate::common::World;
use crate::common::script::{bash, command};
use crate::common::wait::watch_for;

#[test]
fn a_silent_service_goes_through_all_levels_and_back_on_a_pulse() {
    let world = World::plan()
        .service("outside", "interval = \"300ms\"")
        .start();
    assert_eq!(world.service("outside").status, "unknown");
    world.pulse("outside");
    for level in ["healthy", "warning", "degraded", "critical"] {
        let service = world.wait_for("outside", level, |service| service.status == level);
        match level {
            "healthy" => assert_eq!(service.freshness.as_deref(), Some("fresh")),
            "critical" => {
                assert_eq!(service.freshness.as_deref(), Some("very_stale"));
                assert!(service.missed >= 5, "{service:?}");
                assert!(!service.reason.is_empty());
            }
            _ => assert_eq!(service.freshness.as_deref(), Some("stale")),
        }
    }
    world.pulse("outside");
    let service = world.service("outside");
    assert_eq!((service.status.as_str(), service.missed), ("healthy", 0));
    let events = world.events_of("outside");
    let steps: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "level")
        .map(|event| {
            (
                event.from.as_deref().expect("from"),
                event.to.as_deref().expect("to"),
            )
        })
        .collect();
    let path = [
        "unknown", "healthy", "warning", "degraded", "critical", "healthy",
    ];
    let expected: Vec<_> = path.windows(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(steps, expected);
}

#[test]
fn reported_errors_raise_the_level_though_the_service_lives() {
    let world = World::plan()
        .service("outside", "interval = \"1h\"")
        .start();
    world.pulse("outside");
    let error = || {
        assert_eq!(
            world
                .post("/api/error/outside", "{\"message\":\"disk is hot\"}")
                .status,
            202
        );
    };
    for (count, level) in [
        (1, "warning"),
        (2, "warning"),
        (3, "degraded"),
        (4, "degraded"),
        (5, "critical"),
    ] {
        error();
        let service = world.service("outside");
        assert_eq!(service.status, level, "after {count} errors");
        assert_eq!(service.consecutive_failures, count);
        assert!(service.reason.contains("disk is hot"), "{service:?}");
    }
    world.pulse("outside");
    let service = world.service("outside");
    assert_eq!(
        (service.status.as_str(), service.consecutive_failures),
        ("healthy", 0)
    );
    assert_eq!(service.error_count, 5);
    assert_eq!(
        world
            .post(
                "/api/error/outside",
                "{\"message\":\"fire\",\"critical\":true}"
            )
            .status,
        202
    );
    assert_eq!(world.service("outside").status, "critical");
}

#[test]
fn the_worst_service_decides_the_overall_status() {
    let world = World::plan()
        .service("vital", "interval = \"1h\"")
        .service("nice-to-have", "interval = \"1h\"\ncritical = false")
        .service("never-seen", "interval = \"1h\"")
        .start();
    let overall = || world.get("/api/health/status").json()["overall_status"].clone();
    world.pulse("vital");
    world.pulse("nice-to-have");
    assert_eq!(overall(), "healthy", "unknown counts for nothing");
    world.post(
        "/api/error/nice-to-have",
        "{\"message\":\"x\",\"critical\":true}",
    );
    assert_eq!(
        overall(),
        "degraded",
        "an unimportant one counts for degraded at most"
    );
    world.post("/api/error/vital", "{\"message\":\"x\",\"critical\":true}");
    assert_eq!(overall(), "critical");
}

#[test]
fn a_paused_service_is_left_alone_until_it_is_resumed() {
    let script = bash("pulse >/dev/null; exec sleep 1000");
    let world = World::plan()
        .service("hanging", &format!("{script}interval = \"300ms\""))
        .start();
    let first = world.wait_healthy("hanging");
    world.control("hanging", "pause");
    let paused = world.service("hanging");
    assert_eq!(
        (paused.state.as_str(), paused.status.as_str()),
        ("paused", "unknown")
    );
    watch_for(Duration::from_millis(2500), || {
        let service = world.service("hanging");
        assert_eq!(
            (service.generation, service.status.as_str()),
            (first.generation, "unknown")
        );
    });
    world.control("hanging", "resume");
    world.wait_for("hanging", "is poked after all", |service| {
        service.generation > first.generation
    });
    let kinds: Vec<_> = world
        .events_of("hanging")
        .into_iter()
        .map(|event| event.kind)
        .collect();
    let place = |kind: &str| {
        kinds
            .iter()
            .position(|found| found == kind)
            .unwrap_or_else(|| panic!("{kind}: {kinds:?}"))
    };
    assert!(place("paused") < place("resumed") && place("resumed") < place("poked"));
}

#[test]
fn a_pause_ends_by_itself_after_the_time_that_was_given() {
    let world = World::plan()
        .service("outside", "interval = \"1h\"")
        .start();
    world.pulse("outside");
    let ran = world.cli(&["pause", "outside", "--for", "1s"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(world.service("outside").state, "paused");
    world.wait_for("outside", "is watched again", |service| {
        service.state == "external"
    });
    world.wait_event("it is recorded", |event| event.kind == "resumed");
}

#[test]
fn a_pause_survives_the_death_of_the_supervisor() {
    let mut world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    let pid = world.wait_healthy("sleeper").pid;
    world.control("sleeper", "pause");
    // At once: an order that was confirmed is on record.
    world.kill();
    world.start();
    let service = world.service("sleeper");
    assert_eq!((service.state.as_str(), service.pid), ("paused", pid));
}

#[test]
fn a_stop_by_an_operator_survives_the_death_of_the_supervisor() {
    let mut world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    world.wait_healthy("sleeper");
    assert_eq!(world.cli(&["stop", "sleeper"]).code, Some(0));
    world.kill();
    world.start();
    watch_for(Duration::from_millis(500), || {
        let service = world.service("sleeper");
        assert_eq!((service.state.as_str(), service.pid), ("stopped", None));
    });
}

#[test]
fn a_service_on_demand_is_never_late() {
    let world = World::plan()
        .service("bell", "interval = \"200ms\"\non_demand = true")
        .start();
    world.pulse("bell");
    watch_for(Duration::from_millis(1800), || {
        assert_eq!(world.service("bell").status, "healthy");
    });
}

#[test]
fn an_idle_service_may_be_silent_until_it_works_again() {
    let world = World::plan()
        .service("batch", "interval = \"200ms\"")
        .start();
    assert_eq!(
        world
            .post("/api/pulse/batch", "{\"state\":\"idle\"}")
            .status,
        202
    );
    watch_for(Duration::from_millis(1800), || {
        let service = world.service("batch");
        assert_ne!(service.status, "critical", "{service:?}");
        assert_ne!(service.status, "warning", "{service:?}");
    });
    assert_eq!(
        world
            .post("/api/pulse/batch", "{\"state\":\"working\"}")
            .status,
        202
    );
    world.wait_for("batch", "is late again", |service| {
        service.status == "critical"
    });
}

#[test]
fn busy_for_postpones_the_deadline() {
    let world = World::plan()
        .service("batch", "interval = \"200ms\"")
        .start();
    assert_eq!(
        world
            .post("/api/pulse/batch", "{\"busy_for\":\"2s\"}")
            .status,
        202
    );
    watch_for(Duration::from_millis(1700), || {
        assert_eq!(world.service("batch").status, "healthy");
    });
    world.wait_for("batch", "is late in the end", |service| {
        service.status == "critical"
    });
}

#[test]
fn a_service_that_says_it_is_stuck_is_poked_at_once() {
    let script = bash(
        "pulse >/dev/null\n[ -e was_stuck ] && exec sleep 1000\necho >was_stuck\npulse '{\"state\":\"stuck\"}' >/dev/null\nexec sleep 1000",
    );
    let world = World::plan()
        .service("honest", &format!("{script}interval = \"10m\""))
        .start();
    world.wait_for("honest", "is in its second life", |service| {
        service.generation == 2 && service.status == "healthy"
    });
}
