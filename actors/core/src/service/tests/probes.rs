//! Probes: what their successes and failures are to a service, in every state.

use std::time::Duration;

use super::bench::{Bench, alive, external, policy, start, stop};
use crate::event::{Action, Event, Generation, Note, PulseState};
use crate::level::Level;
use crate::policy::{Policy, Ready};

/// Started and executed; it never pulsed and no probe has succeeded yet.
fn begun(policy: Policy) -> Bench {
    let mut bench = Bench::new(policy);
    bench.on(Event::Begin);
    bench.started();
    bench.told.clear();
    bench
}

fn by_probe() -> Policy {
    Policy {
        ready: Ready::Probe,
        ..policy()
    }
}

#[test]
fn a_success_is_a_pulse() {
    let mut bench = Bench::up(policy());
    bench.seconds(31);
    assert_eq!(bench.level(), Level::Degraded);
    bench.probe_passes();
    assert_eq!(bench.level(), Level::Healthy);
    let view = bench.view();
    assert_eq!((view.total_pulses, view.age), (2, Some(0.0)));
    for _ in 0..30 {
        assert_eq!(bench.seconds(10), []);
        bench.probe_passes();
    }
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn failures_in_a_row_raise_the_level_and_get_it_poked() {
    let mut bench = Bench::up(policy());
    for level in [
        Level::Warning,
        Level::Warning,
        Level::Degraded,
        Level::Degraded,
    ] {
        bench.pulse();
        assert_eq!(bench.probe_fails(), []);
        assert_eq!(bench.level(), level);
    }
    assert_eq!(
        bench.reason(),
        "4 probes failed in a row, the last: connection refused"
    );
    assert_eq!(bench.view().consecutive_failures, 4);
    bench.told.clear();
    assert_eq!(bench.probe_fails(), [Action::AskRestart]);
    assert_eq!(bench.level(), Level::Critical);
    let poked = bench.told.last().expect("a poke");
    assert_eq!(poked.to, Some("probe"));
    assert_eq!(
        poked.reason,
        "5 probes failed in a row, the last: connection refused"
    );
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
    bench.killed(15);
    assert_eq!(bench.generation(), Generation(2));
    assert_eq!(bench.view().consecutive_failures, 0, "judged afresh");
}

#[test]
fn the_first_failure_of_a_row_is_an_event_and_the_others_are_levels() {
    let mut bench = Bench::up(policy());
    for _ in 0..4 {
        bench.probe_fails();
    }
    assert_eq!(
        bench.kinds(),
        ["error", "healthy → warning", "warning → degraded"]
    );
    bench.probe_passes();
    bench.probe_fails();
    assert_eq!(
        bench.kinds(),
        ["degraded → healthy", "error", "healthy → warning"]
    );
    assert_eq!(bench.view().error_count, 5);
}

#[test]
fn only_a_success_ends_a_row_of_failures() {
    let mut bench = Bench::up(policy());
    bench.probe_fails();
    for _ in 0..10 {
        bench.seconds(10);
        bench.pulse();
        assert_eq!(
            bench.level(),
            Level::Warning,
            "it pulses and answers nobody"
        );
    }
    assert_eq!(bench.reason(), "probe failed: connection refused");
    bench.error(false);
    bench.pulse();
    assert_eq!(
        bench.view().consecutive_failures,
        1,
        "its own errors are over"
    );
    bench.probe_passes();
    assert_eq!(
        (bench.level(), bench.reason()),
        (Level::Healthy, String::new())
    );
}

#[test]
fn a_level_falls_after_as_many_successes_as_it_takes() {
    let mut bench = Bench::up(Policy {
        recover_after: 2,
        ..policy()
    });
    bench.probe_fails();
    bench.pulse();
    bench.pulse();
    assert_eq!(bench.level(), Level::Warning);
    bench.probe_passes();
    assert_eq!(bench.level(), Level::Warning);
    bench.probe_passes();
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn failures_before_the_first_success_wait_for_the_start_s_deadline() {
    let mut bench = begun(by_probe());
    for _ in 0..11 {
        assert_eq!(bench.probe_fails_yet(), []);
        assert_eq!(bench.seconds(5), []);
        assert_eq!((bench.state(), bench.level()), ("starting", Level::Unknown));
        assert_eq!(
            bench.reason(),
            "starting; its last probe failed: connection refused"
        );
    }
    assert_eq!(bench.kinds(), [""; 0], "nothing to tell of");
    assert_eq!(bench.view().error_count, 0);
    assert_eq!(bench.seconds(5), [Action::AskRestart]);
    assert_eq!(
        bench.reason(),
        "not ready within 60 s of its start; its last probe failed: connection refused"
    );
    assert!(bench.kinds().contains(&"poked unready".to_owned()));
}

#[test]
fn one_that_became_ready_within_its_start_is_healthy_whatever_failed_before() {
    let mut bench = begun(by_probe());
    for _ in 0..9 {
        bench.probe_fails_yet();
    }
    bench.probe_passes();
    assert_eq!((bench.state(), bench.level()), ("running", Level::Healthy));
    bench.seconds(1);
    bench.probe_fails();
    assert_eq!(bench.level(), Level::Warning, "from now on they count");
}

#[test]
fn one_that_is_ready_and_never_answers_is_judged_from_the_start_s_deadline_on() {
    let mut bench = begun(Policy {
        ready: Ready::Running,
        ..policy()
    });
    for _ in 0..6 {
        bench.pulse();
        assert_eq!(bench.probe_fails_yet(), []);
        assert_eq!(bench.level(), Level::Healthy);
        assert_eq!(bench.seconds(10), []);
    }
    for _ in 0..4 {
        bench.pulse();
        assert_eq!(bench.probe_fails_yet(), []);
    }
    assert_eq!(bench.level(), Level::Degraded);
    assert_eq!(bench.probe_fails_yet(), [Action::AskRestart]);
}

#[test]
fn ready_by_probe_is_not_ready_by_anything_else() {
    let mut bench = begun(by_probe());
    bench.pulse();
    let generation = bench.generation();
    bench.on(Event::Ready { generation });
    assert_eq!((bench.state(), bench.level()), ("starting", Level::Healthy));
    bench.probe_passes();
    assert_eq!(bench.kinds(), ["unknown → healthy", "ready running"]);
}

#[test]
fn where_no_life_is_judged_nothing_counts() {
    type Lead = fn(&mut Bench);
    let table: [(&str, Lead); 5] = [
        ("stopping", |bench| drop(bench.stop())),
        ("stopped", |bench| {
            bench.stop();
            bench.killed(15);
        }),
        ("backoff", |bench| {
            bench.exit(1);
            bench.started();
            bench.exit(1);
        }),
        ("starting", |bench| {
            bench.depend("db");
            bench.exit(1);
        }),
        ("stopping", |bench| drop(bench.end(Some(1), None, true))),
    ];
    for (state, lead) in table {
        let mut bench = Bench::up(policy());
        lead(&mut bench);
        assert_eq!(bench.state(), state);
        bench.told.clear();
        let (level, errors) = (bench.level(), bench.view().error_count);
        for _ in 0..9 {
            assert_eq!(bench.probe_fails(), []);
        }
        assert_eq!(bench.probe_passes(), []);
        assert_eq!((bench.state(), bench.level()), (state, level));
        assert_eq!(bench.kinds(), [""; 0], "{state}");
        assert_eq!(bench.view().error_count, errors);
    }
}

#[test]
fn of_an_older_life_nothing_counts_but_that_a_pulse_came() {
    let mut bench = Bench::up(policy());
    let old = bench.generation();
    bench.exit(1);
    bench.started();
    bench.told.clear();
    for _ in 0..9 {
        bench.on(Event::ProbeFailed {
            generation: old,
            reason: "gone".to_owned(),
            passed_before: true,
        });
    }
    bench.on(Event::ProbePassed { generation: old });
    assert_eq!((bench.state(), bench.level()), ("starting", Level::Warning));
    assert_eq!(bench.kinds(), [""; 0]);
    assert_eq!(bench.view().total_pulses, 2);
}

#[test]
fn what_failed_in_a_pause_is_forgotten_with_it() {
    let mut bench = Bench::up(policy());
    bench.on(Event::Pause {
        until: None,
        why: String::new(),
    });
    for _ in 0..9 {
        assert_eq!(bench.probe_fails(), []);
    }
    assert_eq!(bench.on(Event::Resume), []);
    for _ in 0..4 {
        bench.pulse();
        assert_eq!(bench.probe_fails(), []);
    }
    assert_eq!(bench.probe_fails(), [Action::AskRestart]);
}

#[test]
fn what_failed_while_its_dependency_was_down_is_not_held_against_it() {
    let mut bench = Bench::up(policy());
    bench.depend("db");
    for _ in 0..9 {
        assert_eq!(bench.probe_fails(), []);
    }
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.depend(""), [], "it cannot have answered yet");
    for _ in 0..4 {
        bench.seconds(10);
        assert_eq!(bench.probe_fails(), []);
    }
    assert_eq!(bench.probe_fails(), [Action::AskRestart]);
}

#[test]
fn a_success_is_not_the_service_s_own_word() {
    // Idle: it said so itself, and only it can take that back.
    let mut bench = Bench::up(policy());
    bench.says(PulseState::Idle);
    bench.probe_passes();
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Healthy);
    // Busy.
    bench.say(Note {
        busy_for: Some(Duration::from_secs(600)),
        ..Note::default()
    });
    bench.probe_passes();
    assert_eq!(bench.seconds(600), []);
    assert_eq!(bench.level(), Level::Healthy);
    // Stuck: whoever answers may still know that it hangs.
    assert_eq!(bench.says(PulseState::Stuck), [Action::AskRestart]);
    bench.probe_passes();
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
}

#[test]
fn after_a_nudge_a_success_is_waited_for_and_a_pulse_is_none() {
    let nudged = || {
        let mut bench = Bench::up(Policy {
            nudge: true,
            ..policy()
        });
        for _ in 0..4 {
            bench.probe_fails();
        }
        assert_eq!(bench.probe_fails(), [Action::Nudge]);
        bench.pulse();
        bench
    };
    let mut bench = nudged();
    bench.probe_passes();
    bench.told.clear();
    assert_eq!(bench.seconds(10), []);
    assert_eq!(nudged().seconds(10), [Action::AskRestart]);
}

#[test]
fn one_that_is_not_poked_for_probes_is_only_critical() {
    let mut bench = Bench::up(Policy {
        poke_on: crate::policy::PokeOn {
            stale: true,
            probe: false,
            errors: false,
        },
        ..policy()
    });
    for _ in 0..9 {
        bench.pulse();
        assert_eq!(bench.probe_fails(), []);
    }
    assert_eq!(bench.level(), Level::Critical);
}

#[test]
fn silence_names_what_its_last_probe_found() {
    let mut bench = Bench::up(policy());
    bench.probe_fails();
    bench.seconds(51);
    assert_eq!(
        bench.reason(),
        "no pulse for 51 s, expected every 10 s (missed 5 of 5); \
         its last probe failed: connection refused"
    );
}

#[test]
fn one_that_others_run_is_judged_alike() {
    let mut bench = Bench::new(external());
    bench.on(Event::Begin);
    for _ in 0..5 {
        assert_eq!(bench.probe_fails_yet(), []);
        assert_eq!(bench.seconds(10), []);
    }
    assert_eq!(bench.level(), Level::Unknown);
    assert!(!bench.service().is_ready());
    assert_eq!(
        bench.reason(),
        "no pulse yet; its last probe failed: connection refused"
    );
    bench.seconds(10);
    assert_eq!(bench.level(), Level::Critical);
    bench.probe_passes();
    assert_eq!(bench.level(), Level::Healthy);
    assert!(bench.service().is_ready());
    for _ in 0..4 {
        bench.probe_fails();
    }
    assert_eq!(bench.probe_fails(), [Action::AskRestart]);
    assert_eq!(bench.on(Event::RestartGranted), [Action::RestartCommand]);
    bench.on(Event::RestartCommandDone { failed: None });
    for _ in 0..9 {
        assert_eq!(bench.probe_fails_yet(), [], "it has a start's time for it");
    }
    bench.probe_passes();
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn one_that_comes_back_by_itself_out_of_a_backoff_or_quarantine_is_watched_again() {
    let mut bench = Bench::up(Policy {
        intensity: crate::backoff::Intensity::new(0, Duration::from_secs(60)).expect("valid"),
        ..external()
    });
    bench.seconds(51);
    bench.on(Event::RestartGranted);
    assert_eq!(bench.state(), "quarantined");
    bench.probe_fails();
    assert_eq!(bench.state(), "quarantined");
    bench.probe_passes();
    assert_eq!((bench.state(), bench.level()), ("external", Level::Healthy));
}

#[test]
fn one_that_lives_without_promises_is_not_well_while_its_probes_fail() {
    let mut bench = Bench::up(alive());
    bench.probe_fails();
    assert_eq!(bench.level(), Level::Warning);
    bench.seconds(100_000);
    assert_eq!(bench.level(), Level::Warning, "its life is no answer");
    bench.probe_passes();
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn a_row_survives_us_unless_nobody_probes_any_more() {
    let mut bench = Bench::up(policy());
    for _ in 0..4 {
        bench.probe_fails();
    }
    bench.reload(Duration::from_secs(5));
    let generation = bench.generation();
    bench.on(Event::Adopted { generation, pid: 7 });
    bench.on(Event::Begin);
    assert_eq!(bench.probe_fails(), [Action::AskRestart]);

    let mut bench = Bench::up(Policy {
        probed: false,
        ..policy()
    });
    bench.probe_fails();
    bench.reload(Duration::from_secs(5));
    bench.on(Event::Adopted { generation, pid: 7 });
    bench.on(Event::Begin);
    assert_eq!(bench.level(), Level::Warning);
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn a_restart_for_probes_is_limited_like_any_other() {
    let mut bench = Bench::up(Policy {
        intensity: crate::backoff::Intensity::new(1, Duration::from_secs(600)).expect("valid"),
        ..policy()
    });
    let fail = |bench: &mut Bench| {
        for _ in 0..5 {
            bench.probe_fails();
        }
        bench.on(Event::RestartGranted);
    };
    fail(&mut bench);
    assert_eq!(bench.killed(15), [start(2)]);
    bench.started();
    bench.probe_passes();
    fail(&mut bench);
    bench.killed(15);
    assert_eq!(bench.state(), "quarantined");
}
