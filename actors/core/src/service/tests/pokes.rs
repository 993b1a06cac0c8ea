//! The ladder: nudge, restart, and who is never poked.

use std::time::Duration;

use super::bench::{Bench, policy, start, stop};
use crate::event::{Action, Event, Note, PulseState};
use crate::level::Level;
use crate::policy::{PokeOn, Policy, Ready};

fn nudged() -> Policy {
    Policy {
        nudge: true,
        ..policy()
    }
}

#[test]
fn a_nudge_comes_first_once_and_then_the_restart() {
    let mut bench = Bench::up(nudged());
    assert_eq!(bench.seconds(51), [Action::Nudge]);
    assert_eq!(bench.on(Event::NudgeDone { failed: None }), []);
    assert_eq!(bench.seconds(9), []);
    assert_eq!(bench.on(Event::Tick), [], "not again every tick");
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
    assert_eq!(bench.seconds(100), []);
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
    assert_eq!(bench.killed(15), [start(2)]);
    bench.kinds().iter().for_each(|kind| {
        assert!(kind != "nudged" || bench.told.is_empty());
    });
}

#[test]
fn a_pulse_after_the_nudge_ends_the_ladder() {
    let mut bench = Bench::up(nudged());
    bench.seconds(51);
    bench.seconds(5);
    assert_eq!(bench.pulse(), []);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.seconds(50), []);
    assert_eq!(bench.seconds(1), [Action::Nudge], "the next hang is caught");
}

#[test]
fn an_error_after_the_nudge_is_a_sign_of_life() {
    let mut bench = Bench::up(nudged());
    bench.seconds(51);
    bench.error(false);
    assert_eq!(bench.seconds(50), []);
    assert_eq!(bench.seconds(1), [Action::Nudge]);
}

#[test]
fn a_nudge_that_cannot_be_sent_is_not_waited_for() {
    let mut bench = Bench::up(nudged());
    bench.seconds(51);
    let failed = Some("no such tmux session".to_owned());
    assert_eq!(bench.on(Event::NudgeDone { failed }), [Action::AskRestart]);
    assert_eq!(
        bench.told.last().map(|change| change.reason.as_str()),
        Some("the nudge failed: no such tmux session")
    );
}

#[test]
fn a_poke_that_cannot_act_says_so_once() {
    let mut bench = Bench::up(Policy {
        poke_restarts: false,
        ..nudged()
    });
    assert_eq!(bench.seconds(51), [Action::Nudge]);
    bench.told.clear();
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.kinds(), ["poked stale"]);
    assert_eq!(bench.level(), Level::Critical);
    bench.pulse();
    assert_eq!(bench.seconds(51), [Action::Nudge]);
}

#[test]
fn one_that_says_that_it_is_stuck_is_poked_at_once_whatever_it_is_poked_on() {
    let mut bench = Bench::up(Policy {
        poke_on: PokeOn {
            stale: false,
            probe: false,
            errors: false,
        },
        ..policy()
    });
    assert_eq!(bench.says(PulseState::Stuck), [Action::AskRestart]);
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.reason(), "it says that it is stuck");
    assert_eq!(bench.says(PulseState::Stuck), [], "asked already");
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
    bench.killed(15);
    bench.started();
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn failed_probes_in_a_row_get_it_poked_though_it_pulses() {
    let mut bench = Bench::up(policy());
    for _ in 0..4 {
        assert_eq!(bench.probe_fails(), []);
        assert_eq!(bench.pulse(), []);
    }
    assert_eq!(bench.probe_fails(), [Action::AskRestart]);
    bench.on(Event::RestartGranted);
    bench.killed(15);
    assert!(bench.kinds().contains(&"restarted probe".to_owned()));
}

#[test]
fn errors_get_it_poked_only_where_that_is_listed() {
    let mut bench = Bench::up(policy());
    for _ in 0..9 {
        assert_eq!(bench.error(false), []);
    }
    assert_eq!(bench.level(), Level::Critical);
    let mut bench = Bench::up(Policy {
        poke_on: PokeOn {
            stale: true,
            probe: true,
            errors: true,
        },
        ..policy()
    });
    for _ in 0..4 {
        assert_eq!(bench.error(false), []);
    }
    assert_eq!(bench.error(false), [Action::AskRestart]);
}

#[test]
fn one_that_is_not_poked_on_staleness_is_only_critical() {
    let mut bench = Bench::up(Policy {
        poke_on: PokeOn {
            stale: false,
            probe: true,
            errors: false,
        },
        ..policy()
    });
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Critical);
}

#[test]
fn a_paused_service_is_never_poked() {
    let mut bench = Bench::up(policy());
    bench.on(Event::Pause {
        until: None,
        why: "upkeep".to_owned(),
    });
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.says(PulseState::Stuck), []);
    assert_eq!(bench.level(), Level::Unknown);
}

#[test]
fn an_idle_service_is_never_poked_not_even_for_its_probes() {
    let mut bench = Bench::up(policy());
    bench.says(PulseState::Idle);
    for _ in 0..9 {
        assert_eq!(bench.probe_fails(), []);
    }
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Critical);
}

#[test]
fn a_busy_service_is_never_poked() {
    let mut bench = Bench::up(policy());
    bench.say(Note {
        busy_for: Some(Duration::from_secs(600)),
        ..Note::default()
    });
    for _ in 0..9 {
        assert_eq!(bench.probe_fails(), []);
    }
    assert_eq!(bench.seconds(599), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart], "busy no longer");
}

#[test]
fn one_whose_dependency_is_down_is_not_poked_before_that_is_back_for_a_while() {
    let mut bench = Bench::up(policy());
    bench.seconds(40);
    bench.depend("db");
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(
        bench.level(),
        Level::Critical,
        "its level is told all the same"
    );
    assert_eq!(bench.depend(""), []);
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.seconds(50), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
}

#[test]
fn one_in_a_maintenance_window_is_judged_but_not_poked_before_it_closes() {
    let mut bench = Bench::up(nudged());
    assert_eq!(bench.seconds(51), [Action::Nudge]);
    assert_eq!(bench.on(Event::Maintenance(true)), []);
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Critical, "muted, not blind");
    assert_eq!(
        bench.on(Event::Maintenance(false)),
        [Action::Nudge],
        "from the first step on"
    );
    bench.on(Event::Maintenance(true));
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.on(Event::Maintenance(false)), []);
}

#[test]
fn a_restart_granted_too_late_does_nothing() {
    for undone in ["pulse", "pause", "stop", "maintenance", "dependency"] {
        let mut bench = Bench::up(policy());
        assert_eq!(bench.seconds(51), [Action::AskRestart]);
        assert!(bench.service().wants_restart());
        match undone {
            "pulse" => bench.pulse(),
            "pause" => bench.on(Event::Pause {
                until: None,
                why: String::new(),
            }),
            "stop" => bench.stop(),
            "maintenance" => bench.on(Event::Maintenance(true)),
            _ => bench.depend("db"),
        };
        assert!(!bench.service().wants_restart(), "{undone}");
        assert_eq!(bench.on(Event::RestartGranted), [], "{undone}");
    }
}

#[test]
fn a_stall_between_poke_and_grant_does_not_begin_the_ladder_anew() {
    let mut bench = Bench::up(nudged());
    bench.seconds(51);
    bench.seconds(10);
    bench.now.amnesty = bench.now.at.time;
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
}

#[test]
fn a_hundred_hangs_in_a_row_are_each_caught() {
    let mut bench = Bench::up(Policy {
        intensity: crate::backoff::Intensity::new(1_000, Duration::from_secs(900)).unwrap(),
        ..nudged()
    });
    for n in 1..=100 {
        assert_eq!(bench.seconds(51), [Action::Nudge], "hang {n}");
        assert_eq!(bench.seconds(10), [Action::AskRestart]);
        assert_eq!(bench.on(Event::RestartGranted), [stop(n)]);
        assert_eq!(bench.killed(9), [start(n + 1)]);
        bench.started();
        bench.seconds(1);
        bench.pulse();
        assert_eq!(bench.level(), Level::Healthy);
    }
}

#[test]
fn an_operator_s_nudge_is_sent_whatever_the_level() {
    let mut bench = Bench::up(policy());
    assert_eq!(bench.on(Event::Nudge), [Action::Nudge]);
    bench.on(Event::NudgeDone { failed: None });
    assert_eq!(bench.kinds(), ["nudged"]);
    bench.stop();
    assert_eq!(bench.on(Event::Nudge), []);
}

#[test]
fn one_that_pulses_but_is_not_ready_is_poked_once_and_not_at_every_pulse() {
    let mut bench = Bench::new(Policy {
        ready: Ready::Notify,
        ..policy()
    });
    bench.on(Event::Begin);
    bench.started();
    bench.seconds(55);
    bench.pulse();
    assert_eq!(bench.seconds(5), [Action::AskRestart]);
    for _ in 0..5 {
        assert_eq!(bench.seconds(5), []);
        assert_eq!(bench.pulse(), []);
    }
    assert_eq!(bench.level(), Level::Critical);
    let generation = bench.generation();
    assert_eq!(bench.on(Event::Ready { generation }), []);
    assert_eq!(bench.on(Event::RestartGranted), [], "ready after all");
}
