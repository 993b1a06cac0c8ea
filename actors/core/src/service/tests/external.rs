//! Services that we do not run.

use std::time::Duration;

use super::bench::{Bench, S, external, moment};
use crate::backoff::Intensity;
use crate::event::{Action, Event, Generation, Note, PulseState, RestartKind};
use crate::level::Level;
use crate::policy::Policy;

#[test]
fn one_is_watched_from_the_first_moment() {
    let mut bench = Bench::new(external());
    assert_eq!(bench.state(), "external");
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.on(Event::Start), []);
    assert_eq!((bench.state(), bench.level()), ("external", Level::Unknown));
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
    assert!(bench.service().is_ready());
    assert_eq!(bench.view().generation, 1);
}

#[test]
fn one_that_never_pulses_is_very_stale_after_the_start_s_grace() {
    let mut bench = Bench::new(external());
    assert_eq!(bench.seconds(59), []);
    assert_eq!(bench.level(), Level::Unknown);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.reason(), "no pulse within 60 s");
}

#[test]
fn its_pulses_are_taken_whatever_generation_they_name() {
    let mut bench = Bench::up(external());
    for generation in [0, 1, 2, 99] {
        bench.seconds(10);
        bench.on(Event::Pulse {
            generation: Generation(generation),
            count: 1,
            note: None,
        });
    }
    assert_eq!(bench.view().age, Some(0.0));
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn its_restart_is_its_command_and_it_is_judged_afresh_after_it() {
    let mut bench = Bench::up(external());
    assert_eq!(bench.seconds(51), [Action::AskRestart]);
    assert_eq!(bench.on(Event::RestartGranted), [Action::RestartCommand]);
    assert_eq!(
        (bench.state(), bench.level()),
        ("external", Level::Critical)
    );
    assert_eq!(bench.seconds(20), [], "the command runs");
    assert_eq!(bench.on(Event::RestartCommandDone { failed: None }), []);
    assert_eq!(bench.seconds(59), []);
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.view().restarts, 1);
    assert_eq!(bench.seconds(51), [Action::AskRestart], "the next hang");
}

#[test]
fn a_restart_command_that_fails_is_tried_again_after_a_while() {
    let mut bench = Bench::up(external());
    bench.seconds(51);
    bench.on(Event::RestartGranted);
    let failed = || Event::RestartCommandDone {
        failed: Some("exited with code 2".to_owned()),
    };
    assert_eq!(bench.on(failed()), []);
    assert_eq!((bench.state(), bench.level()), ("backoff", Level::Critical));
    assert_eq!(
        bench.reason(),
        "its restart command failed: exited with code 2"
    );
    assert_eq!(bench.seconds(1), [Action::RestartCommand]);
    bench.on(failed());
    bench.pulse();
    assert_eq!((bench.state(), bench.level()), ("external", Level::Healthy));
    assert_eq!(bench.seconds(5), [], "somebody else brought it back");
}

#[test]
fn its_restarts_are_limited_and_a_pulse_proves_it_alive() {
    let mut bench = Bench::up(Policy {
        intensity: Intensity::new(1, Duration::from_secs(100_000)).unwrap(),
        ..external()
    });
    bench.seconds(51);
    bench.on(Event::RestartGranted);
    bench.on(Event::RestartCommandDone { failed: None });
    assert_eq!(bench.seconds(60), [Action::AskRestart]);
    assert_eq!(bench.on(Event::RestartGranted), []);
    assert_eq!(bench.state(), "quarantined");
    assert_eq!(
        bench.seconds(1_800),
        [Action::RestartCommand],
        "the one start"
    );
    bench.on(Event::RestartCommandDone { failed: None });
    bench.seconds(60);
    assert_eq!(bench.on(Event::RestartGranted), []);
    assert_eq!(bench.state(), "quarantined");
    bench.pulse();
    assert_eq!((bench.state(), bench.level()), ("external", Level::Healthy));
}

#[test]
fn clear_watches_it_again() {
    let mut bench = Bench::up(Policy {
        intensity: Intensity::new(0, Duration::from_secs(1)).unwrap(),
        ..external()
    });
    bench.seconds(51);
    bench.on(Event::RestartGranted);
    assert_eq!(bench.state(), "quarantined");
    assert_eq!(bench.on(Event::Clear), []);
    assert_eq!(
        (bench.state(), bench.level()),
        ("external", Level::Critical)
    );
}

#[test]
fn an_operator_restarts_it_by_its_command() {
    let mut bench = Bench::up(external());
    let restart = || Event::Restart {
        kind: RestartKind::Operator,
    };
    assert_eq!(bench.on(restart()), [Action::RestartCommand]);
    let mut bench = Bench::up(Policy {
        poke_restarts: false,
        ..external()
    });
    assert_eq!(bench.on(restart()), [], "it has none");
}

#[test]
fn a_stop_ends_the_watch_and_a_start_begins_it_again() {
    let mut bench = Bench::up(external());
    assert_eq!(bench.stop(), []);
    bench.pulse();
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!((bench.state(), bench.level()), ("stopped", Level::Unknown));
    assert_eq!(bench.on(Event::Start), []);
    assert_eq!(bench.state(), "external");
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
}

/// A sign of life of so many seconds ago is met.
fn sighted(bench: &mut Bench, seconds: u64, state: Option<PulseState>) -> Vec<Action> {
    let event = Event::Sighted {
        generation: bench.generation(),
        at: moment(bench.now.at.time.0 - seconds * S),
        note: Some(Box::new(Note {
            state,
            cycle: Some(7),
            ..Note::default()
        })),
    };
    bench.on(event)
}

#[test]
fn one_that_is_met_with_a_sign_of_life_is_as_old_as_that() {
    for (seconds, level) in [
        (0, Level::Healthy),
        (10, Level::Healthy),
        (11, Level::Warning),
        (31, Level::Degraded),
        (51, Level::Critical),
        (500, Level::Critical),
    ] {
        let mut bench = Bench::new(external());
        let done = sighted(&mut bench, seconds, None);
        assert_eq!(bench.level(), level, "{seconds} s");
        assert_eq!(done.contains(&Action::AskRestart), level == Level::Critical);
        assert_eq!(bench.view().total_pulses, 0, "it was not received");
        bench.pulse();
        assert_eq!(bench.level(), Level::Healthy);
    }
}

#[test]
fn a_sign_of_life_that_was_known_changes_nothing() {
    let mut bench = Bench::up(external());
    assert_eq!(bench.seconds(51), [Action::AskRestart]);
    assert_eq!(sighted(&mut bench, 51, None), []);
    assert_eq!(sighted(&mut bench, 90, None), []);
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.view().age, Some(51.0));
}

#[test]
fn one_that_is_met_idle_is_not_late_and_one_that_is_met_stuck_is_critical() {
    let mut bench = Bench::new(external());
    sighted(&mut bench, 500, Some(PulseState::Idle));
    assert_eq!(bench.level(), Level::Healthy);
    let mut bench = Bench::new(external());
    sighted(&mut bench, 1, Some(PulseState::Stuck));
    assert_eq!(bench.level(), Level::Critical);
}

#[test]
fn a_restart_command_that_does_not_end_holds_up_nothing_for_ever() {
    let mut bench = Bench::up(external());
    bench.seconds(51);
    assert_eq!(bench.on(Event::RestartGranted), [Action::RestartCommand]);
    assert_eq!(bench.seconds(59), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);

    let mut bench = Bench::up(external());
    bench.seconds(51);
    bench.on(Event::RestartGranted);
    bench.reload(Duration::from_secs(5));
    assert_eq!(bench.on(Event::Begin), [], "who waited for it died with us");
    assert_eq!(bench.seconds(60), [Action::AskRestart]);
}

#[test]
fn it_is_up_for_as_long_as_it_is_watched() {
    let mut bench = Bench::up(external());
    bench.pulse_for(600);
    assert_eq!(bench.view().uptime, Some(600.0));
}
