//! `interval = "auto"`: an interval that is learnt, and known to the next supervisor.

use std::fs;

use crate::common::World;
use crate::common::script::bash;

/// How often it is expected to pulse, and where that comes from.
fn interval(world: &World) -> (Option<f64>, String) {
    let shown = world.get("/api/services/quick").json();
    let source = shown["interval_source"].as_str().expect("a source");
    (shown["interval"].as_f64(), source.to_owned())
}

#[test]
fn a_learnt_interval_judges_a_service_and_outlives_a_killed_supervisor() {
    let script = "while [ ! -e quiet ]; do pulse >/dev/null; sleep 0.2; done\nsleep 1000";
    let keys = "interval = \"auto\"\npoke_on = []\n";
    let mut world = World::plan()
        .service("quick", &format!("{}{keys}", bash(script)))
        .start();
    world.wait_healthy("quick");
    // On record: so it is known to the next supervisor, too.
    let told = world.wait_event("learnt", |event| {
        event.service == "quick" && event.kind == "config"
    });
    assert!(
        told.reason.starts_with("its interval is learnt: "),
        "{told:?}"
    );
    let (learnt, source) = interval(&world);
    let learnt = learnt.expect("an interval");
    assert_eq!(source, "learnt");
    assert!((0.2..5.0).contains(&learnt), "{learnt}");
    let card = world.cli(&["status", "quick"]);
    assert!(card.out.contains("(learnt)"), "{card:?}");
    let config = world.get("/api/services/quick/config").json();
    assert_eq!(config["interval"], "auto");
    assert!(config["interval_learnt"].is_string(), "{config}");
    assert!(config["warning_after"].is_string(), "{config}");

    let before = world.service("quick");
    world.kill();
    world.start();
    let (again, source) = interval(&world);
    assert_eq!((again, source.as_str()), (Some(learnt), "learnt"));
    let pulses = before.total_pulses;
    let after = world.wait_for("quick", "is healthy and goes on", |service| {
        service.status == "healthy" && service.total_pulses > pulses + 3
    });
    assert_eq!(
        (after.pid, after.generation),
        (before.pid, before.generation)
    );

    fs::write(world.file("quiet"), "").expect("a file");
    let late = world.wait_event("late", |event| {
        event.service == "quick"
            && event.kind == "level"
            && event.to.as_deref() == Some("warning")
            && event.id > told.id
    });
    // `no pulse for 350 ms, expected every 220 ms (missed 1 of 5)`: not the 30 s of others.
    assert!(late.reason.contains(", expected every "), "{late:?}");
    assert!(late.reason.contains("(missed 1 of 5)"), "{late:?}");
    let gone = world.wait_for("quick", "is critical", |service| {
        service.status == "critical"
    });
    assert!(gone.age.expect("it pulsed") < 30.0, "{gone:?}");
}
