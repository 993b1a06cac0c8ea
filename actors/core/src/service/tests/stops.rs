//! Stop outranks everything.

use super::bench::{Bench, policy, start, stop};
use crate::event::{Action, Event, RestartKind};
use crate::level::Level;
use crate::policy::{Policy, Restart};

/// A service in every state that one can be in, by name.
fn everywhere() -> Vec<(&'static str, Bench)> {
    let begun = || {
        let mut bench = Bench::new(policy());
        bench.on(Event::Begin);
        bench
    };
    let mut waiting = Bench::new(policy());
    waiting.depend("db");
    waiting.on(Event::Begin);
    let mut stopping = Bench::up(policy());
    stopping.on(Event::Restart {
        kind: RestartKind::Operator,
    });
    let mut poked = Bench::up(policy());
    poked.seconds(51);
    poked.on(Event::RestartGranted);
    let mut remains = Bench::up(policy());
    remains.end(Some(1), None, true);
    let mut held = Bench::up(policy());
    held.on(Event::Pause {
        until: None,
        why: String::new(),
    });
    held.exit(1);
    held.on(Event::Resume);
    held.on(Event::Pause {
        until: None,
        why: String::new(),
    });
    held.exit(1);
    let mut backoff = Bench::up(policy());
    backoff.exit(1);
    backoff.exit(1);
    let mut quarantined = Bench::up(Policy {
        intensity: crate::backoff::Intensity::new(0, std::time::Duration::from_secs(1)).unwrap(),
        ..policy()
    });
    quarantined.exit(1);
    let mut exited = Bench::up(Policy {
        restart: Restart::Never,
        ..policy()
    });
    exited.exit(1);
    let mut resumed = Bench::up(policy());
    resumed.reload(std::time::Duration::from_secs(1));
    vec![
        ("new", Bench::new(policy())),
        ("waiting", waiting),
        ("starting", begun()),
        ("running", Bench::up(policy())),
        ("stopping", stopping),
        ("poked", poked),
        ("remains", remains),
        ("held", held),
        ("backoff", backoff),
        ("quarantined", quarantined),
        ("exited", exited),
        ("resumed", resumed),
    ]
}

/// Everything that could happen to it by itself.
fn fate(bench: &mut Bench) -> Vec<Action> {
    let mut done = Vec::new();
    done.extend(bench.depend("db"));
    done.extend(bench.depend(""));
    done.extend(bench.started());
    done.extend(bench.pulse());
    done.extend(bench.on(Event::RestartGranted));
    done.extend(bench.on(Event::Resume));
    done.extend(bench.killed(15));
    done.extend(bench.gone());
    for kind in [
        RestartKind::Dependency,
        RestartKind::Config,
        RestartKind::Stale,
    ] {
        done.extend(bench.on(Event::Restart { kind }));
    }
    done.extend(bench.seconds(100_000));
    done
}

#[test]
fn after_a_stop_nothing_starts_from_any_state() {
    for (state, mut bench) in everywhere() {
        let actions = bench.stop();
        assert!(
            actions
                .iter()
                .all(|action| matches!(action, Action::Stop { .. })),
            "{state}: {actions:?}"
        );
        assert_eq!(bench.level(), Level::Unknown, "{state}");
        assert_eq!(fate(&mut bench), [], "{state}");
        if state == "resumed" {
            assert_eq!(bench.on(Event::Begin), [], "{state}");
        }
        assert_eq!(
            (bench.state(), bench.level()),
            ("stopped", Level::Unknown),
            "{state}"
        );
        assert_eq!(bench.reason(), "stopped (operator)", "{state}");
        assert!(bench.service().is_down());
        assert_eq!(bench.on(Event::Start).len(), 1, "{state}: started again");
    }
}

#[test]
fn a_stop_is_sent_once() {
    let mut bench = Bench::up(policy());
    assert_eq!(bench.stop(), [stop(1)]);
    assert_eq!(bench.state(), "stopping");
    assert_eq!(bench.stop(), []);
    assert_eq!(bench.seconds(1_000), []);
    assert_eq!(bench.killed(9), []);
    assert_eq!(bench.state(), "stopped");
}

#[test]
fn f18_one_that_dies_while_it_is_stopped_is_not_restarted_and_no_failure() {
    let mut bench = Bench::up(policy());
    bench.stop();
    assert_eq!(bench.exit(1), []);
    assert_eq!((bench.state(), bench.level()), ("stopped", Level::Unknown));
    assert_eq!(bench.on(Event::Start), [start(2)]);
    bench.started();
    bench.pulse();
    bench.exit(1);
    assert_eq!(bench.level(), Level::Warning, "the first exit");
}

#[test]
fn a_stop_is_done_only_when_nothing_is_left_and_names_what_blocks_it() {
    let mut bench = Bench::up(policy());
    bench.stop();
    bench.end(None, Some(15), true);
    assert_eq!(bench.state(), "stopping");
    assert!(!bench.service().is_down());
    let generation = bench.generation();
    bench.on(Event::Blocked {
        generation,
        by: "4711 (dd)".to_owned(),
    });
    assert_eq!(bench.view().blocked_by.as_deref(), Some("4711 (dd)"));
    bench.gone();
    assert_eq!(bench.state(), "stopped");
}

#[test]
fn a_start_during_a_stop_waits_for_its_end() {
    let mut bench = Bench::up(policy());
    bench.stop();
    assert_eq!(bench.on(Event::Start), []);
    assert_eq!(bench.killed(15), [start(2)]);
}

#[test]
fn a_restart_goes_past_any_backoff() {
    let mut bench = Bench::up(policy());
    bench.exit(1);
    bench.started();
    bench.exit(1);
    assert_eq!(bench.state(), "backoff");
    let restart = Event::Restart {
        kind: RestartKind::Operator,
    };
    assert_eq!(bench.on(restart), [start(3)]);
    assert_eq!(bench.seconds(1), [], "the planned one is off");
}

#[test]
fn a_dependency_s_restart_does_not_start_what_is_stopped() {
    let mut bench = Bench::up(policy());
    bench.stop();
    bench.killed(15);
    let restart = Event::Restart {
        kind: RestartKind::Dependency,
    };
    assert_eq!(bench.on(restart), []);
    assert_eq!(bench.state(), "stopped");
}

#[test]
fn a_shutdown_s_stop_holds_until_the_program_begins_again() {
    let mut bench = Bench::up(policy());
    bench.on(Event::Stop {
        why: Event::SHUTDOWN.to_owned(),
    });
    bench.killed(15);
    assert_eq!(bench.state(), "stopped");
    bench.reload(std::time::Duration::from_secs(60));
    assert_eq!(bench.state(), "stopped");
    assert_eq!(bench.on(Event::Begin), [start(2)]);
}

#[test]
fn an_operator_s_stop_outlives_the_program_even_through_its_shutdown() {
    let mut bench = Bench::up(policy());
    bench.stop();
    bench.killed(15);
    bench.on(Event::Stop {
        why: Event::SHUTDOWN.to_owned(),
    });
    bench.reload(std::time::Duration::from_secs(60));
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.state(), "stopped");
    assert_eq!(bench.on(Event::Start), [start(2)]);
}

#[test]
fn a_quarantine_outlives_a_shutdown() {
    let mut bench = Bench::up(Policy {
        intensity: crate::backoff::Intensity::new(0, std::time::Duration::from_secs(1)).unwrap(),
        ..policy()
    });
    bench.exit(1);
    assert_eq!(bench.state(), "quarantined");
    bench.on(Event::Stop {
        why: Event::SHUTDOWN.to_owned(),
    });
    assert_eq!(bench.seconds(10), []);
    assert_eq!(bench.state(), "stopped");
    bench.reload(std::time::Duration::from_secs(60));
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(
        (bench.state(), bench.level()),
        ("quarantined", Level::Critical)
    );
    assert_eq!(bench.seconds(1_800), [start(2)]);
}

#[test]
fn a_restart_asked_for_by_a_machine_is_limited_and_says_why() {
    let mut bench = Bench::up(Policy {
        intensity: crate::backoff::Intensity::new(1, std::time::Duration::from_secs(900)).unwrap(),
        ..policy()
    });
    let restart = || Event::Restart {
        kind: RestartKind::Stale,
    };
    assert_eq!(bench.on(restart()), [stop(1)]);
    assert_eq!(bench.killed(15), [start(2)]);
    let told = bench.told.iter().find(|change| change.to == Some("stale"));
    assert_eq!(
        told.map(|change| change.reason.as_str()),
        Some("it stopped pulsing")
    );
    bench.started();
    bench.on(restart());
    assert_eq!(bench.killed(15), []);
    assert_eq!(bench.state(), "quarantined");
}
