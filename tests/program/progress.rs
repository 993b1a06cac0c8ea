//! Progress: services that pulse and hang all the same.

use crate::common::World;
use crate::common::script::bash;

#[test]
fn a_service_that_pulses_and_gets_nowhere_is_poked_and_says_where_it_stood() {
    // Its first life stops counting, the next goes on.
    let script = "n=0\nwhile :; do \
        { [ $LIFE = 1 ] && [ $n = 5 ]; } || n=$((n + 1)); \
        pulse \"{\\\"cycle\\\": $n}\" >/dev/null; sleep 0.1; done";
    let script = format!("echo >>lives\nLIFE=$(wc -l <lives)\n{script}");
    let keys = "interval = \"300ms\"\nprogress_timeout = \"2s\"\n";
    let world = World::plan()
        .service("worker", &format!("{}{keys}", bash(&script)))
        .start();
    world.wait_healthy("worker");
    let poked = world.wait_event("poked", |event| {
        event.service == "worker" && event.kind == "poked"
    });
    assert_eq!(poked.to.as_deref(), Some("stale"));
    let reason = &poked.reason;
    assert!(reason.starts_with("cycle has stood at 5 for "), "{poked:?}");
    assert!(reason.ends_with("; it must move within 2s"), "{poked:?}");
    let again = world.wait_for("worker", "counts on", |service| {
        service.generation == 2 && service.status == "healthy" && service.cycle > Some(20)
    });
    assert_eq!(again.restarts, 1);
}
