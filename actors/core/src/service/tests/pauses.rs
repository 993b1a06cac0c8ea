//! Pauses, and what waits for others.

use std::time::Duration;

use super::bench::{Bench, policy, start};
use crate::event::{Action, Event};
use crate::level::Level;
use crate::policy::{Policy, Restart};

fn pause(bench: &mut Bench) -> Vec<Action> {
    bench.on(Event::Pause {
        until: None,
        why: "upkeep".to_owned(),
    })
}

#[test]
fn a_pause_ends_by_itself_when_its_time_is_up() {
    let mut bench = Bench::up(policy());
    let until = Some(bench.now.at.time + Duration::from_secs(3_600));
    bench.on(Event::Pause {
        until,
        why: "upkeep".to_owned(),
    });
    assert_eq!((bench.state(), bench.level()), ("paused", Level::Unknown));
    assert_eq!(bench.reason(), "paused: upkeep");
    assert_eq!(bench.seconds(3_599), []);
    assert_eq!(bench.view().paused_for, Some(1.0));
    assert_eq!(bench.seconds(1), []);
    assert_eq!((bench.state(), bench.level()), ("running", Level::Healthy));
    assert_eq!(
        bench.kinds(),
        [
            "paused paused",
            "healthy → unknown",
            "resumed running",
            "unknown → healthy"
        ]
    );
}

#[test]
fn pulses_count_while_it_is_paused() {
    let mut bench = Bench::up(policy());
    pause(&mut bench);
    bench.seconds(5);
    bench.pulse();
    bench.seconds(1);
    assert_eq!(bench.view().total_pulses, 2);
    assert_eq!(bench.view().age, Some(1.0));
    assert_eq!(bench.level(), Level::Unknown);
}

#[test]
fn one_that_is_resumed_is_judged_afresh() {
    let mut bench = Bench::up(policy());
    bench.seconds(31);
    assert_eq!(bench.level(), Level::Degraded);
    pause(&mut bench);
    bench.seconds(100_000);
    bench.on(Event::Resume);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.seconds(10), []);
    bench.seconds(1);
    assert_eq!(bench.level(), Level::Warning);
    assert_eq!(bench.seconds(40), [Action::AskRestart], "it still hangs");
}

#[test]
fn an_exit_during_a_pause_is_decided_when_it_is_resumed() {
    let mut bench = Bench::up(policy());
    bench.seconds(3);
    pause(&mut bench);
    assert_eq!(bench.exit(1), []);
    assert_eq!((bench.state(), bench.level()), ("paused", Level::Unknown));
    assert_eq!(bench.seconds(1_000), []);
    assert_eq!(bench.on(Event::Resume), [start(2)]);
    assert_eq!(bench.level(), Level::Warning);
    assert_eq!(bench.reason(), "exited with code 1 after 3 s");
}

#[test]
fn a_planned_exit_during_a_pause_stays_one() {
    let mut bench = Bench::up(Policy {
        restart: Restart::OnFailure,
        ..policy()
    });
    pause(&mut bench);
    bench.exit(0);
    assert_eq!(bench.on(Event::Resume), []);
    assert_eq!((bench.state(), bench.level()), ("exited", Level::Unknown));
}

#[test]
fn a_series_of_restarts_stands_still_during_a_pause() {
    let mut bench = Bench::up(policy());
    bench.exit(1);
    bench.started();
    bench.exit(1);
    assert_eq!(bench.state(), "backoff");
    pause(&mut bench);
    assert_eq!(bench.seconds(1_000), []);
    assert_eq!(bench.on(Event::Resume), [start(3)]);
    assert_eq!(bench.level(), Level::Warning);
}

#[test]
fn a_program_that_begins_does_not_start_what_is_paused() {
    let mut bench = Bench::up(policy());
    pause(&mut bench);
    bench.on(Event::Stop {
        why: Event::SHUTDOWN.to_owned(),
    });
    bench.killed(15);
    bench.reload(Duration::from_secs(5));
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.state(), "paused");
    assert_eq!(bench.on(Event::Resume), [start(2)]);
}

#[test]
fn an_operator_starts_what_is_paused() {
    let mut bench = Bench::up(policy());
    pause(&mut bench);
    bench.exit(1);
    assert_eq!(bench.on(Event::Start), [start(2)]);
    assert_eq!(bench.state(), "paused");
}

#[test]
fn one_waits_for_what_it_depends_on() {
    let mut bench = Bench::new(policy());
    bench.depend("db, cache");
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!((bench.state(), bench.level()), ("starting", Level::Unknown));
    assert_eq!(bench.reason(), "waiting for db, cache");
    assert_eq!(bench.seconds(1_000), []);
    bench.depend("cache");
    assert_eq!(bench.reason(), "waiting for cache");
    assert_eq!(bench.depend(""), [start(1)]);
}

#[test]
fn one_that_ends_while_its_dependency_is_down_is_restarted_when_that_is_back() {
    let mut bench = Bench::up(policy());
    bench.depend("db");
    assert_eq!(bench.exit(1), []);
    assert_eq!((bench.state(), bench.level()), ("starting", Level::Warning));
    assert_eq!(bench.seconds(1_000), []);
    assert_eq!(bench.depend(""), [start(2)]);
    assert!(bench.kinds().contains(&"restarted exited".to_owned()));
}

#[test]
fn a_restart_that_is_cleared_while_it_waits_is_a_plain_start() {
    let mut bench = Bench::up(policy());
    bench.depend("db");
    bench.exit(1);
    assert_eq!(bench.on(Event::Clear), []);
    bench.told.clear();
    assert_eq!(bench.depend(""), [start(2)]);
    assert_eq!(bench.kinds(), [""; 0], "no restart of a series");
}
