//! The policy table: every way to end × every restart policy.

use std::time::Duration;

use super::bench::{Bench, alive, policy, start, stop};
use crate::backoff::{Backoff, Intensity};
use crate::event::{Action, Event, StartFailure, StartFault};
use crate::level::Level;
use crate::policy::{Policy, Restart};

fn with(restart: Restart) -> Bench {
    Bench::up(Policy {
        restart,
        ..policy()
    })
}

fn start_fails(bench: &mut Bench, fault: StartFault) -> Vec<Action> {
    let generation = bench.generation();
    bench.on(Event::StartFailed {
        generation,
        failure: StartFailure {
            fault,
            detail: "/no/such/program: no such file".to_owned(),
        },
    })
}

#[derive(Clone, Copy)]
enum End {
    Clean,
    Failure,
    Signal,
    Vanished,
    Shim,
    NotFound,
    NoResources,
}

fn end(bench: &mut Bench, end: End) -> Vec<Action> {
    match end {
        End::Clean => bench.exit(0),
        End::Failure => bench.exit(1),
        End::Signal => bench.killed(11),
        End::Vanished => bench.gone(),
        End::Shim => {
            let generation = bench.generation();
            assert_eq!(bench.on(Event::ShimLost { generation }), []);
            assert_eq!(bench.state(), "stopping", "its tree is being ended");
            bench.gone()
        }
        End::NotFound => start_fails(bench, StartFault::NotFound),
        End::NoResources => start_fails(bench, StartFault::NoResources),
    }
}

macro_rules! cells {
    ($($name:ident: $restart:ident $end:ident => $outcome:ident $($kind:literal)?;)+) => {$(
        #[test]
        fn $name() {
            let mut bench = with(Restart::$restart);
            bench.pulse_for(20);
            let actions = end(&mut bench, End::$end);
            cells!(@ $outcome bench actions $($kind)?);
        }
    )+};
    (@ restarted $bench:ident $actions:ident $kind:literal) => {
        assert_eq!($actions, [start(2)]);
        assert_eq!(($bench.state(), $bench.level()), ("starting", Level::Warning));
        assert!($bench.kinds().contains(&concat!("restarted ", $kind).to_owned()));
        assert_eq!($bench.view().restarts, 1);
    };
    (@ planned $bench:ident $actions:ident) => {
        assert_eq!($actions, []);
        assert_eq!(($bench.state(), $bench.level()), ("exited", Level::Unknown));
        assert_eq!($bench.seconds(100_000), []);
        assert_eq!($bench.level(), Level::Unknown);
    };
    (@ failed $bench:ident $actions:ident) => {
        assert_eq!($actions, []);
        assert_eq!(($bench.state(), $bench.level()), ("exited", Level::Critical));
        assert_eq!($bench.seconds(100_000), []);
        assert_eq!($bench.level(), Level::Critical);
        assert!(!$bench.reason().is_empty());
    };
}

cells! {
    always_restarts_after_a_clean_exit: Always Clean => restarted "exited";
    always_restarts_after_a_failure: Always Failure => restarted "exited";
    always_restarts_after_a_signal: Always Signal => restarted "signalled";
    always_restarts_after_an_end_unseen: Always Vanished => restarted "exited";
    always_restarts_after_a_lost_shim: Always Shim => restarted "shim";
    always_does_not_try_a_missing_program_again: Always NotFound => failed;
    always_tries_again_where_resources_lacked: Always NoResources => restarted "unready";

    on_failure_does_not_restart_after_a_clean_exit: OnFailure Clean => planned;
    on_failure_restarts_after_a_failure: OnFailure Failure => restarted "exited";
    on_failure_restarts_after_a_signal: OnFailure Signal => restarted "signalled";
    on_failure_restarts_after_an_end_unseen: OnFailure Vanished => restarted "exited";
    on_failure_restarts_after_a_lost_shim: OnFailure Shim => restarted "shim";
    on_failure_does_not_try_a_missing_program_again: OnFailure NotFound => failed;
    on_failure_tries_again_where_resources_lacked: OnFailure NoResources => restarted "unready";

    never_does_not_restart_after_a_clean_exit: Never Clean => planned;
    never_does_not_restart_after_a_failure: Never Failure => failed;
    never_does_not_restart_after_a_signal: Never Signal => failed;
    never_does_not_restart_after_an_end_unseen: Never Vanished => failed;
    never_does_not_restart_after_a_lost_shim: Never Shim => failed;
    never_does_not_try_a_missing_program_again: Never NotFound => failed;
    never_does_not_try_again_where_resources_lacked: Never NoResources => failed;
}

#[test]
fn an_exit_says_how_and_after_what_time() {
    let mut bench = with(Restart::Never);
    bench.seconds(3);
    bench.exit(1);
    assert_eq!(
        bench.reason(),
        "exited with code 1 after 3 s; it is not restarted"
    );
    let told = &bench.told[0];
    assert_eq!(told.reason, "exited with code 1 after 3 s");
    assert_eq!((told.from, told.to), (Some("running"), Some("exited")));
    assert_eq!(told.level, Level::Critical);
}

#[test]
fn a_hung_service_that_is_never_restarted_is_stopped_and_stays_critical() {
    let mut bench = with(Restart::Never);
    assert_eq!(bench.seconds(51), [Action::AskRestart]);
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.killed(15), []);
    assert_eq!((bench.state(), bench.level()), ("exited", Level::Critical));
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.on(Event::Start), [start(2)]);
}

#[test]
fn a_start_that_cannot_be_says_so_until_somebody_starts_it_again() {
    for again in [
        Event::Start,
        Event::Clear,
        Event::Restart {
            kind: crate::RestartKind::Operator,
        },
        Event::Restart {
            kind: crate::RestartKind::Config,
        },
    ] {
        let mut bench = Bench::new(policy());
        bench.on(Event::Begin);
        assert_eq!(start_fails(&mut bench, StartFault::NotFound), []);
        assert_eq!(
            bench.reason(),
            "could not be started: /no/such/program: no such file"
        );
        assert_eq!(bench.on(again), [start(2)]);
    }
}

#[test]
fn nothing_starts_beside_what_a_main_process_left_behind() {
    let mut bench = with(Restart::Always);
    assert_eq!(bench.end(Some(1), None, true), []);
    assert_eq!(
        (bench.state(), bench.level()),
        ("stopping", Level::Warning),
        "its end is known, whatever is left"
    );
    assert_eq!(bench.seconds(1_000), []);
    assert_eq!(bench.gone(), [start(2)]);
    assert_eq!(bench.level(), Level::Warning);
    bench.started();
    assert_eq!(
        bench.exit(1),
        [],
        "the series' second: the remains were no life"
    );
}

#[test]
fn exits_in_a_row_are_a_warning_then_degraded_then_critical() {
    let mut bench = Bench::up(policy());
    for level in [
        Level::Warning,
        Level::Warning,
        Level::Degraded,
        Level::Degraded,
        Level::Critical,
    ] {
        bench.exit(1);
        assert_eq!(bench.level(), level);
        bench.seconds(30);
        assert_eq!(bench.state(), "starting");
        bench.started();
        assert_eq!(bench.level(), level, "held until it pulses");
        bench.pulse();
        assert_eq!(bench.level(), Level::Healthy);
    }
}

#[test]
fn a_life_that_lasts_ends_the_row_of_exits_and_the_series_of_delays() {
    let mut bench = Bench::up(policy());
    for _ in 0..8 {
        assert_eq!(bench.exit(1).len(), 1, "started at once");
        assert_eq!(bench.level(), Level::Warning);
        bench.started();
        bench.pulse();
        bench.pulse_for(60);
    }
}

#[test]
fn the_first_restart_of_a_series_is_immediate_and_the_others_wait() {
    let mut bench = Bench::up(policy());
    assert_eq!(bench.exit(1), [start(2)]);
    let mut waits = Vec::new();
    for n in 0..5 {
        bench.started();
        assert_eq!(bench.exit(1), []);
        assert_eq!(bench.state(), "backoff");
        let wait = bench.view().next_start_in.unwrap();
        waits.push(wait);
        assert_eq!(bench.pass(Duration::from_secs_f64(wait - 0.001)), []);
        assert_eq!(bench.pass(Duration::from_millis(1)), [start(n + 3)]);
    }
    assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0]);
}

#[test]
fn a_level_never_falls_in_backoff() {
    let mut bench = Bench::up(policy());
    for _ in 0..5 {
        bench.exit(1);
        bench.seconds(20);
        bench.started();
    }
    assert_eq!(bench.level(), Level::Critical);
    bench.exit(1);
    assert_eq!((bench.state(), bench.level()), ("backoff", Level::Critical));
    let generation = bench.generation();
    bench.on(Event::Pulse {
        generation,
        count: 1,
        note: None,
    });
    assert_eq!(bench.level(), Level::Critical, "a late pulse of the dead");
}

/// Crashes at once, again and again, and returns how often it was started.
fn crash_loop(bench: &mut Bench, seconds: u64) -> usize {
    let end = bench.now.at.time + Duration::from_secs(seconds);
    let mut starts = 0;
    let mut actions = Vec::new();
    while bench.now.at.time < end {
        if actions.is_empty() {
            actions = bench.seconds(1);
        }
        for action in std::mem::take(&mut actions) {
            assert!(matches!(action, Action::Start { .. }), "{action:?}");
            starts += 1;
            bench.started();
            actions.extend(bench.exit(1));
        }
    }
    starts
}

fn hasty() -> Policy {
    Policy {
        backoff: Backoff::new(
            Duration::from_millis(100),
            Duration::from_secs(1),
            2.0,
            0.0,
            Duration::from_secs(60),
        )
        .unwrap(),
        intensity: Intensity::new(10, Duration::from_secs(900)).unwrap(),
        ..policy()
    }
}

#[test]
fn f17_a_crash_loop_ends_in_quarantine_that_says_so() {
    let mut bench = Bench::up(hasty());
    assert_eq!(bench.exit(1), [start(2)]);
    bench.started();
    assert_eq!(bench.exit(1), []);
    let more = crash_loop(&mut bench, 60);
    assert_eq!(1 + more, 10, "as many restarts as the limit allows");
    assert_eq!(
        (bench.state(), bench.level()),
        ("quarantined", Level::Critical)
    );
    assert_eq!(
        bench.reason(),
        "restarted 10 times within 15m, the last cause: exited with code 1 after 0 ms"
    );
    assert_eq!(
        bench
            .kinds()
            .iter()
            .filter(|k| *k == "quarantined quarantined")
            .count(),
        1
    );
}

#[test]
fn a_quarantine_allows_one_start_when_its_time_is_up() {
    let mut bench = Bench::up(hasty());
    bench.exit(1);
    bench.started();
    bench.exit(1);
    crash_loop(&mut bench, 60);
    let generation = bench.generation().0;
    // It began within that minute.
    assert_eq!(bench.seconds(1_700), []);
    assert_eq!(bench.seconds(100), [start(generation + 1)]);
    assert_eq!(bench.level(), Level::Critical);
    bench.started();
    assert_eq!(bench.exit(1), [], "it failed");
    assert_eq!(bench.state(), "quarantined");
    assert_eq!(
        bench.reason(),
        "failed again after a quarantine: exited with code 1 after 0 ms"
    );
    assert_eq!(bench.seconds(1_799), []);
    assert_eq!(bench.seconds(1), [start(generation + 2)]);
    bench.started();
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
    bench.pulse_for(60);
    assert_eq!(bench.exit(1), [start(generation + 3)], "it had recovered");
}

#[test]
fn a_quarantine_is_lifted_by_clear_alone() {
    let mut bench = Bench::up(hasty());
    bench.exit(1);
    bench.started();
    bench.exit(1);
    crash_loop(&mut bench, 60);
    let generation = bench.generation().0;
    bench.told.clear();
    for event in [
        Event::Start,
        Event::Begin,
        Event::Restart {
            kind: crate::RestartKind::Operator,
        },
        Event::Restart {
            kind: crate::RestartKind::Dependency,
        },
        Event::Resume,
        Event::Tick,
    ] {
        assert_eq!(bench.on(event), []);
        assert_eq!(bench.state(), "quarantined");
    }
    assert_eq!(bench.on(Event::Clear), [start(generation + 1)]);
    assert_eq!(bench.kinds(), ["cleared"]);
    bench.started();
    assert_eq!(bench.exit(1), [start(generation + 2)], "a new series");
}

#[test]
fn a_clear_starts_nothing_that_somebody_stopped_or_that_has_done_its_work() {
    let stopped = |mut bench: Bench| {
        bench.on(Event::Stop {
            why: "operator".to_owned(),
        });
        assert_eq!(bench.on(Event::Clear), [], "while it is being stopped");
        bench.killed(15);
        bench
    };
    let mut bench = stopped(with(Restart::Always));
    assert_eq!((bench.on(Event::Clear), bench.state()), (vec![], "stopped"));
    assert_eq!(bench.on(Event::Start), [start(2)]);

    let mut bench = Bench::new(policy());
    assert_eq!((bench.on(Event::Clear), bench.state()), (vec![], "stopped"));

    let mut bench = with(Restart::OnFailure);
    assert_eq!(bench.exit(0), []);
    assert_eq!((bench.on(Event::Clear), bench.state()), (vec![], "exited"));

    let mut bench = with(Restart::Never);
    assert_eq!(bench.exit(1), []);
    assert_eq!(bench.on(Event::Clear), [start(2)], "a failure is lifted");
}

#[test]
fn a_quarantine_names_the_newest_cause_whatever_led_to_the_level() {
    let mut bench = Bench::up(Policy {
        intensity: Intensity::new(1, Duration::from_secs(900)).unwrap(),
        ..hasty()
    });
    assert_eq!(bench.exit(1), [start(2)]);
    bench.started();
    bench.exit(1);
    let first = "restarted once within 15m, the last cause: exited with code 1 after 0 ms";
    assert_eq!(
        (bench.state(), bench.reason().as_str()),
        ("quarantined", first)
    );
    bench.on(Event::Clear);
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.reason(), "its quarantine was lifted");
    bench.started();
    assert_eq!(bench.exit(2), [start(4)]);
    assert_eq!(bench.level(), Level::Critical, "it has not pulsed");
    assert_eq!(bench.reason(), "exited with code 2 after 0 ms");
    bench.started();
    bench.exit(3);
    let second = "restarted once within 15m, the last cause: exited with code 3 after 0 ms";
    assert_eq!(
        (bench.state(), bench.reason().as_str()),
        ("quarantined", second)
    );
}

#[test]
fn pokes_do_not_go_around_the_limit() {
    let mut bench = Bench::up(Policy {
        intensity: Intensity::new(3, Duration::from_secs(100_000)).unwrap(),
        ..policy()
    });
    for _ in 0..3 {
        assert_eq!(bench.seconds(51), [Action::AskRestart]);
        bench.on(Event::RestartGranted);
        let starts = [bench.killed(15), bench.seconds(2)].concat();
        assert_eq!(starts.len(), 1);
        bench.started();
        bench.pulse();
    }
    bench.seconds(51);
    bench.on(Event::RestartGranted);
    assert_eq!(bench.killed(15), []);
    assert_eq!(bench.state(), "quarantined");
    assert!(
        bench.reason().starts_with("restarted 3 times within"),
        "{}",
        bench.reason()
    );
}

#[test]
fn what_an_operator_restarts_does_not_count_but_is_recorded() {
    let mut bench = Bench::up(Policy {
        intensity: Intensity::new(1, Duration::from_secs(100_000)).unwrap(),
        ..policy()
    });
    for n in 1..6 {
        let restart = Event::Restart {
            kind: crate::RestartKind::Operator,
        };
        assert_eq!(bench.on(restart), [stop(n)]);
        assert_eq!(bench.killed(15), [start(n + 1)]);
        bench.started();
        bench.pulse();
    }
    assert_eq!(bench.view().restarts, 5);
    assert_eq!(bench.exit(1), [start(7)], "the limit's first");
    bench.started();
    assert_eq!(bench.exit(1), []);
    assert_eq!(bench.state(), "quarantined");
}

#[test]
fn one_that_only_runs_keeps_the_level_until_it_has_lived_for_a_while() {
    let mut bench = Bench::up(alive());
    bench.exit(1);
    assert_eq!(bench.level(), Level::Warning);
    bench.started();
    assert_eq!((bench.state(), bench.level()), ("running", Level::Warning));
    bench.seconds(59);
    assert_eq!(bench.level(), Level::Warning);
    bench.seconds(1);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.reason(), "");
}

#[test]
fn an_error_of_one_that_only_runs_is_forgiven_after_a_while() {
    let mut bench = Bench::up(alive());
    bench.error(false);
    bench.seconds(30);
    bench.error(false);
    assert_eq!(bench.level(), Level::Warning);
    bench.seconds(59);
    assert_eq!(bench.level(), Level::Warning);
    bench.seconds(1);
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn f16_an_exit_before_the_news_of_the_start_is_one_end() {
    let mut bench = Bench::new(policy());
    bench.on(Event::Begin);
    assert_eq!(bench.exit(127), [start(2)]);
    let generation = crate::Generation(1);
    assert_eq!(bench.on(Event::Started { generation, pid: 7 }), []);
    assert_eq!(bench.on(Event::Gone { generation }), []);
    assert_eq!(bench.generation().0, 2);
    assert_eq!(bench.state(), "starting");
}

#[test]
fn a_restart_counts_when_it_happens_not_when_it_was_planned() {
    let mut bench = Bench::up(Policy {
        intensity: Intensity::new(1, Duration::from_secs(900)).unwrap(),
        ..policy()
    });
    bench.depend("db");
    bench.exit(1);
    bench.seconds(800);
    assert_eq!(bench.depend(""), [start(2)]);
    bench.started();
    bench.pulse();
    bench.seconds(10);
    bench.pulse_for(140);
    assert_eq!(
        bench.exit(1),
        [],
        "950 s after the plan, 150 s after the restart"
    );
    assert_eq!(bench.state(), "quarantined");
}
