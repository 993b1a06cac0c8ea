//! A service whose interval is learnt.

use std::time::Duration;

use super::bench::{Bench, external, policy};
use crate::event::{Action, Event, EventKind};
use crate::level::{After, Level, Profile, Threshold, Thresholds};
use crate::policy::{IntervalSource, Policy};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A start has 60 s.
fn learning() -> Policy {
    Policy {
        interval_source: IntervalSource::Learning,
        ..policy()
    }
}

fn learn(bench: &mut Bench, interval: Duration) {
    assert_eq!(bench.on(Event::Learnt { interval }), []);
}

#[test]
fn until_it_is_learnt_silence_is_forgiven_for_as_long_as_a_start() {
    let mut bench = Bench::up(learning());
    bench.pulse();
    let view = bench.view();
    assert_eq!(view.status, Level::Healthy);
    assert_eq!(
        (view.interval, view.interval_source),
        (None, Some(IntervalSource::Learning))
    );
    assert_eq!(bench.pass(Duration::from_millis(59_999)), []);
    assert_eq!(bench.level(), Level::Healthy);
    let done = bench.pass(Duration::from_millis(1));
    assert_eq!(
        (bench.level(), done),
        (Level::Critical, vec![Action::AskRestart])
    );
    assert_eq!(bench.view().missed, 1);
    assert_eq!(
        bench.view().reason,
        "no pulse for 60 s; until its interval is learnt it has 60 s"
    );
}

#[test]
fn what_is_learnt_judges_from_then_on_and_is_told() {
    let mut bench = Bench::up(learning());
    bench.pulse();
    learn(&mut bench, secs(2));
    let view = bench.view();
    assert_eq!(
        (view.interval, view.interval_source),
        (Some(2.0), Some(IntervalSource::Learnt))
    );
    bench.pass(Duration::from_millis(2_199));
    assert_eq!(bench.level(), Level::Healthy);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.level(), Level::Warning);
    bench.pulse();
    learn(&mut bench, secs(3));
    bench.pass(Duration::from_millis(3_250));
    assert_eq!(bench.level(), Level::Healthy);
    learn(&mut bench, secs(3));
    let told = bench.told.iter();
    let told: Vec<_> = told
        .filter(|change| change.kind == EventKind::Config)
        .map(|change| change.reason.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "its interval is learnt: 2 s",
            "its interval is learnt anew: 3 s, before that 2 s"
        ]
    );
    assert_eq!(bench.seconds(13), [Action::AskRestart]);
}

#[test]
fn a_new_life_keeps_what_was_learnt_and_clearing_forgets_it() {
    let mut bench = Bench::up(learning());
    bench.pulse();
    learn(&mut bench, secs(2));
    let generation = bench.generation();
    bench.on(Event::Restart {
        kind: crate::event::RestartKind::Operator,
    });
    bench.gone();
    assert!(bench.generation() > generation);
    assert_eq!(bench.view().interval, Some(2.0));
    bench.on(Event::Clear);
    assert_eq!(bench.view().interval_source, Some(IntervalSource::Learning));
}

#[test]
fn what_it_names_itself_outranks_what_was_learnt() {
    let mut bench = Bench::up(learning());
    bench.pulse();
    learn(&mut bench, secs(2));
    let generation = bench.generation();
    // As long as what it would be without: all the same it is its own.
    for interval in [secs(5), policy().interval] {
        bench.on(Event::Interval {
            generation,
            interval,
        });
        let view = bench.view();
        assert_eq!(view.interval, Some(interval.as_secs_f64()));
        assert_eq!(view.interval_source, Some(IntervalSource::Announced));
    }
}

#[test]
fn nothing_is_learnt_where_the_owner_has_given_an_interval() {
    for given in [policy(), external()] {
        let mut bench = Bench::up(given);
        learn(&mut bench, secs(2));
        let view = bench.view();
        assert_eq!(
            (view.interval, view.interval_source),
            (Some(10.0), Some(IntervalSource::Configured))
        );
        assert!(
            bench
                .told
                .iter()
                .all(|change| change.kind != EventKind::Config)
        );
    }
}

#[test]
fn thresholds_given_as_ages_stay_and_the_rest_follows() {
    let after = After {
        warning: None,
        // As many seconds as the fallback's 3 intervals and grace come to: an age all the same.
        degraded: Some(Threshold::Exactly(secs(31))),
        critical: Some(Threshold::Intervals(20)),
    };
    let (interval, grace) = (secs(10), secs(1));
    let mut bench = Bench::up(Policy {
        thresholds: Thresholds::new(interval, grace, after, Profile::Usual).expect("they increase"),
        grace: secs(1),
        grace_share: None,
        ..learning()
    });
    bench.pulse();
    learn(&mut bench, secs(4));
    let mut reached = Vec::new();
    let mut last = bench.level();
    for second in 1..=90 {
        bench.seconds(1);
        if bench.level() != last {
            last = bench.level();
            reached.push((second, last));
        }
    }
    assert_eq!(
        reached,
        [
            (5, Level::Warning),
            (31, Level::Degraded),
            (81, Level::Critical)
        ]
    );
}
