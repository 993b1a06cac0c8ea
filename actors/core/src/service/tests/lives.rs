//! The happy path and the ends of lives.

use super::bench::{Bench, alive, policy, start, stop};
use crate::event::{Action, Event};
use crate::level::Level;

#[test]
fn a_service_starts_becomes_ready_pulses_and_is_well() {
    let mut bench = Bench::new(policy());
    assert_eq!(bench.on(Event::Begin), [start(1)]);
    assert_eq!((bench.state(), bench.level()), ("starting", Level::Unknown));
    assert_eq!(bench.started(), []);
    assert_eq!(bench.state(), "starting");
    bench.seconds(3);
    assert_eq!(bench.pulse(), []);
    assert_eq!((bench.state(), bench.level()), ("running", Level::Healthy));
    bench.pulse_for(600);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(
        bench.kinds(),
        ["started starting", "ready running", "unknown → healthy"]
    );
    assert_eq!(bench.view().total_pulses, 61);
    assert_eq!(bench.reason(), "");
}

#[test]
fn a_service_that_only_runs_is_well_when_it_runs() {
    let mut bench = Bench::new(alive());
    assert_eq!(bench.on(Event::Begin), [start(1)]);
    assert_eq!(bench.started(), []);
    assert_eq!((bench.state(), bench.level()), ("running", Level::Healthy));
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.view().age, Some(0.0));
}

#[test]
fn a_hang_is_seen_at_each_threshold_and_ends_in_a_restart() {
    let mut bench = Bench::up(policy());
    assert_eq!(bench.seconds(10), []);
    assert_eq!(bench.level(), Level::Healthy);
    bench.seconds(1);
    assert_eq!(bench.level(), Level::Warning);
    assert_eq!(
        bench.reason(),
        "no pulse for 11 s, expected every 10 s (missed 1 of 5)"
    );
    bench.seconds(20);
    assert_eq!(bench.level(), Level::Degraded);
    assert_eq!(bench.seconds(20), [Action::AskRestart]);
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
    assert_eq!(bench.state(), "stopping");
    assert_eq!(bench.killed(15), [start(2)]);
    assert_eq!(bench.level(), Level::Critical, "until it pulses");
    bench.started();
    assert_eq!(bench.level(), Level::Critical);
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(
        bench.kinds(),
        [
            "healthy → warning",
            "warning → degraded",
            "degraded → critical",
            "poked stale",
            "exited backoff",
            "restarted stale",
            "started starting",
            "ready running",
            "critical → healthy"
        ]
    );
}
