//! Levels by age, errors and readiness, and what is excused.

use std::time::Duration;

use super::bench::{Bench, S, alive, moment, policy, start, stop};
use crate::event::{Action, Event, Generation, Note, PulseState, StartFailure, StartFault};
use crate::level::{Freshness, Level};
use crate::policy::{Policy, Ready};
use crate::time::Time;

#[test]
fn one_that_never_pulsed_is_unknown_until_its_start_s_deadline() {
    let mut bench = Bench::new(policy());
    bench.on(Event::Begin);
    bench.seconds(5);
    bench.started();
    assert_eq!(bench.pass(Duration::from_millis(59_999)), []);
    assert_eq!(bench.level(), Level::Unknown);
    assert_eq!(bench.view().freshness, None);
    assert_eq!(
        bench.pass(Duration::from_millis(1)),
        [Action::AskRestart],
        "counted from its execution"
    );
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.view().freshness, Some(Freshness::VeryStale));
    assert_eq!(bench.reason(), "not ready within 60 s of its start");
    bench.on(Event::RestartGranted);
    assert_eq!(bench.killed(15), [start(2)]);
    assert!(bench.kinds().contains(&"restarted unready".to_owned()));
}

#[test]
fn a_start_of_which_nothing_is_heard_has_the_same_deadline() {
    let mut bench = Bench::new(policy());
    bench.on(Event::Begin);
    assert_eq!(bench.seconds(60), [Action::AskRestart]);
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
}

#[test]
fn readiness_comes_by_the_way_that_the_policy_names() {
    let ready = Event::Ready {
        generation: Generation(1),
    };
    let pulse = Event::Pulse {
        generation: Generation(1),
        count: 1,
        note: None,
    };
    let probe = Event::ProbePassed {
        generation: Generation(1),
    };
    let (starting, running) = ("starting", "running");
    for (way, after_start, after_ready, after_pulse, after_probe) in [
        (Ready::Pulse, starting, starting, running, running),
        (Ready::Notify, starting, running, starting, starting),
        (Ready::Probe, starting, starting, starting, running),
        (Ready::Running, running, running, running, running),
    ] {
        let begun = || {
            let mut bench = Bench::new(Policy {
                ready: way,
                ..policy()
            });
            bench.on(Event::Begin);
            bench.started();
            bench
        };
        assert_eq!(begun().state(), after_start, "{way:?}");
        let mut bench = begun();
        bench.on(ready.clone());
        assert_eq!(bench.state(), after_ready, "{way:?}");
        let mut bench = begun();
        bench.on(pulse.clone());
        assert_eq!(bench.state(), after_pulse, "{way:?}");
        let mut bench = begun();
        bench.on(probe.clone());
        assert_eq!(bench.state(), after_probe, "{way:?}");
    }
}

#[test]
fn one_that_is_ready_but_never_pulses_is_very_stale_at_its_start_s_deadline() {
    let mut bench = Bench::new(Policy {
        ready: Ready::Running,
        ..policy()
    });
    bench.on(Event::Begin);
    bench.started();
    assert_eq!((bench.state(), bench.level()), ("running", Level::Unknown));
    assert_eq!(bench.seconds(60), [Action::AskRestart]);
    assert_eq!(bench.reason(), "no pulse within 60 s of its start");
}

#[test]
fn one_that_pulses_but_never_says_that_it_is_ready_is_unready() {
    let mut bench = Bench::new(Policy {
        ready: Ready::Notify,
        ..policy()
    });
    bench.on(Event::Begin);
    bench.started();
    for _ in 0..5 {
        bench.seconds(10);
        bench.pulse();
        assert_eq!((bench.state(), bench.level()), ("starting", Level::Healthy));
    }
    assert_eq!(bench.seconds(10), [Action::AskRestart]);
    assert_eq!(bench.level(), Level::Critical);
}

#[test]
fn a_pulse_before_the_news_of_the_start_makes_it_ready_after_it() {
    let mut bench = Bench::new(policy());
    bench.on(Event::Begin);
    bench.pulse();
    assert_eq!((bench.state(), bench.level()), ("starting", Level::Unknown));
    bench.started();
    assert_eq!((bench.state(), bench.level()), ("running", Level::Healthy));
    assert_eq!(bench.view().pid, Some(1_001));
    assert_eq!(
        bench.kinds(),
        ["started starting", "ready running", "unknown → healthy"]
    );

    // What an older life led to is lifted then, not before.
    bench.seconds(51);
    bench.on(Event::RestartGranted);
    bench.killed(15);
    bench.told.clear();
    bench.pulse();
    assert_eq!((bench.level(), bench.told.len()), (Level::Critical, 0));
    bench.started();
    assert_eq!(
        bench.kinds(),
        ["started starting", "ready running", "critical → healthy"]
    );
}

#[test]
fn a_pulse_before_a_start_that_fails_makes_nothing_ready() {
    let mut bench = Bench::new(policy());
    bench.on(Event::Begin);
    bench.pulse();
    bench.on(Event::StartFailed {
        generation: bench.generation(),
        failure: StartFailure {
            fault: StartFault::NotFound,
            detail: "no such file".to_owned(),
        },
    });
    assert_eq!(bench.kinds(), ["error", "unknown → critical"]);
    assert_eq!((bench.state(), bench.level()), ("exited", Level::Critical));
}

#[test]
fn what_of_a_silence_is_not_held_against_it_is_said() {
    let mut bench = Bench::up(policy());
    bench.on(Event::Pause {
        until: None,
        why: "operator".to_owned(),
    });
    bench.seconds(600);
    bench.on(Event::Resume);
    bench.seconds(12);
    assert_eq!(
        bench.reason(),
        "no pulse for 10m 12s, of which 12 s count, expected every 10 s (missed 1 of 5)"
    );
    assert_eq!(bench.view().age, Some(612.0));
}

#[test]
fn a_pulse_from_an_older_generation_is_counted_and_otherwise_ignored() {
    let mut bench = Bench::up(policy());
    bench.exit(1);
    bench.started();
    bench.told.clear();
    let old = Generation(1);
    assert!(!bench.fast(old, 1, bench.now.at));
    let note = Some(Box::new(Note {
        state: Some(PulseState::Stuck),
        ..Note::default()
    }));
    for event in [
        Event::Pulse {
            generation: old,
            count: 3,
            note: None,
        },
        Event::Pulse {
            generation: old,
            count: 1,
            note,
        },
        Event::ProbePassed { generation: old },
        Event::ProbeFailed {
            generation: old,
            reason: String::new(),
            passed_before: true,
        },
        Event::Ready { generation: old },
        Event::Gone { generation: old },
        Event::ShimLost { generation: old },
        Event::Started {
            generation: old,
            pid: 5,
        },
    ] {
        assert_eq!(bench.on(event), []);
    }
    assert_eq!((bench.state(), bench.level()), ("starting", Level::Warning));
    assert_eq!(bench.kinds(), [""; 0]);
    assert_eq!(bench.view().total_pulses, 6);
    bench.seconds(60);
    assert_eq!(bench.level(), Level::Critical, "it never pulsed itself");
}

#[test]
fn an_error_is_a_sign_of_life_but_not_a_clean_one() {
    let mut bench = Bench::up(policy());
    bench.seconds(10);
    bench.error(false);
    assert_eq!(bench.level(), Level::Warning);
    assert_eq!(bench.reason(), "disk on fire");
    bench.seconds(10);
    assert_eq!(bench.view().age, Some(10.0));
    assert_eq!(bench.view().missed, 0);
    assert_eq!(bench.view().consecutive_failures, 1);
    bench.error(false);
    bench.error(false);
    assert_eq!(bench.level(), Level::Degraded);
    assert_eq!(bench.reason(), "3 errors in a row, the last: disk on fire");
    bench.error(false);
    bench.error(false);
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.view().consecutive_failures, 5);
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.view().error_count, 5);
    assert_eq!(bench.view().consecutive_failures, 0);
}

#[test]
fn a_critical_error_is_critical_until_a_clean_pulse() {
    let mut bench = Bench::up(policy());
    assert_eq!(bench.error(true), [], "an error alone is no reason to poke");
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(bench.reason(), "a critical error: disk on fire");
    bench.error(false);
    assert_eq!(bench.level(), Level::Critical);
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn a_failed_probe_is_no_sign_of_life() {
    let mut bench = Bench::up(policy());
    bench.seconds(10);
    bench.probe_fails();
    assert_eq!(bench.level(), Level::Warning);
    assert_eq!(bench.reason(), "probe failed: connection refused");
    bench.seconds(21);
    assert_eq!(bench.level(), Level::Degraded, "31 s without a pulse");
}

#[test]
fn a_level_falls_after_as_many_clean_pulses_as_it_takes() {
    let mut bench = Bench::up(Policy {
        recover_after: 3,
        ..policy()
    });
    bench.seconds(31);
    assert_eq!(bench.level(), Level::Degraded);
    for level in [Level::Degraded, Level::Degraded, Level::Healthy] {
        bench.pulse();
        assert_eq!(bench.level(), level);
        bench.seconds(10);
    }
    bench.seconds(1);
    assert_eq!(bench.level(), Level::Warning);
    bench.pulse();
    bench.error(false);
    bench.pulse();
    bench.pulse();
    assert_eq!(bench.level(), Level::Warning, "counted from the error on");
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn idleness_ends_the_promise_to_pulse_until_the_next_pulse_that_is_not_idle() {
    let mut bench = Bench::up(policy());
    bench.says(PulseState::Idle);
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.view().missed, 0);
    assert_eq!(bench.reason(), "idle: it need not pulse");
    bench.pulse();
    assert_eq!(bench.reason(), "");
    bench.seconds(11);
    assert_eq!(bench.level(), Level::Warning);
}

#[test]
fn busyness_postpones_the_deadline_and_not_for_ever() {
    let mut bench = Bench::up(policy());
    let busy = |seconds| Note {
        busy_for: Some(Duration::from_secs(seconds)),
        ..Note::default()
    };
    bench.say(busy(120));
    assert_eq!(bench.seconds(60), []);
    assert_eq!(bench.reason(), "busy for another 60 s at most");
    assert_eq!(bench.seconds(70), []);
    assert_eq!(bench.level(), Level::Healthy);
    bench.seconds(1);
    assert_eq!(bench.level(), Level::Warning);
    assert_eq!(bench.seconds(40), [Action::AskRestart]);

    let mut bench = Bench::up(policy());
    bench.say(busy(1_000_000));
    assert_eq!(bench.seconds(1_850), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart], "max_busy and 51 s");

    let mut bench = Bench::up(policy());
    bench.say(busy(120));
    bench.pulse();
    assert_eq!(bench.seconds(51), [Action::AskRestart], "busy no longer");
}

#[test]
fn one_that_pulses_on_demand_is_never_late_and_promises_nothing() {
    let mut bench = Bench::new(Policy {
        on_demand: true,
        ..policy()
    });
    bench.on(Event::Begin);
    bench.started();
    assert_eq!((bench.state(), bench.level()), ("running", Level::Unknown));
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Healthy);
    bench.pulse();
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Healthy);
    let view = bench.view();
    assert_eq!((view.interval, view.age), (None, Some(100_000.0)));
    bench.error(false);
    assert_eq!(bench.level(), Level::Warning);
}

#[test]
fn after_a_stall_nobody_is_judged_before_one_grace_has_passed() {
    let mut bench = Bench::up(policy());
    bench.seconds(10);
    // The judging clock stood still for a minute; we are back now, 1 s before its deadline.
    bench.now.amnesty = bench.now.at.time;
    bench.now.at.mono = bench.now.at.mono + Duration::from_secs(60);
    bench.pass(Duration::from_millis(999));
    assert_eq!(bench.level(), Level::Healthy);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.level(), Level::Warning, "due anyhow");

    let mut bench = Bench::up(policy());
    bench.pass(Duration::from_millis(50_500));
    assert_eq!(bench.level(), Level::Degraded);
    bench.now.amnesty = bench.now.at.time;
    bench.pass(Duration::from_millis(999));
    assert_eq!(bench.level(), Level::Degraded, "its deadline has passed");
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy, "its pulse had been waiting");
}

#[test]
fn a_late_tick_judges_nobody() {
    let mut bench = Bench::up(policy());
    bench.seconds(10);
    bench.pass(Duration::from_millis(999));
    // Due in a millisecond; we are frozen just then, and so may it have been.
    bench.now.at = moment(bench.now.at.time.0 + S / 1_000);
    bench.now.amnesty = bench.now.at.time;
    bench.now.at.mono = bench.now.at.mono + Duration::from_secs(6);
    assert_eq!(bench.on(Event::Tick), []);
    assert_eq!(bench.level(), Level::Healthy);
    bench.pass(Duration::from_millis(999));
    bench.on(Event::Tick);
    assert_eq!(bench.level(), Level::Healthy);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.level(), Level::Warning, "one grace later");
}

#[test]
fn a_hang_is_caught_though_we_are_stalled_again_and_again() {
    let mut bench = Bench::up(policy());
    let mut asked = 0;
    for _ in 0..530 {
        bench.now.amnesty = bench.now.at.time;
        asked += bench.pass(Duration::from_millis(100)).len();
    }
    assert_eq!(asked, 1, "within one grace of its limit");
}

#[test]
fn a_receipt_out_of_order_does_not_make_it_older() {
    let mut bench = Bench::up(policy());
    bench.seconds(10);
    bench.pulse();
    let earlier = moment(bench.now.at.time.0 - 5 * S);
    assert!(bench.fast(Generation(1), 1, earlier));
    assert_eq!(bench.view().age, Some(0.0));
    assert_eq!(bench.view().total_pulses, 3);
}

#[test]
fn the_fast_path_takes_exactly_those_pulses_that_change_nothing() {
    let mut bench = Bench::up(policy());
    let fast = |bench: &mut Bench| bench.fast(Generation(1), 1, bench.now.at);
    assert!(fast(&mut bench));
    bench.seconds(11);
    assert!(!fast(&mut bench), "late");
    bench.pulse();
    assert!(fast(&mut bench));
    bench.error(false);
    assert!(!fast(&mut bench), "an error");
    bench.pulse();
    bench.says(PulseState::Idle);
    assert!(!fast(&mut bench), "idle");
    bench.pulse();
    bench.on(Event::Pause {
        until: None,
        why: String::new(),
    });
    assert!(!fast(&mut bench), "paused");
    bench.on(Event::Resume);
    assert!(fast(&mut bench));
    bench.stop();
    assert!(!fast(&mut bench), "stopping");
    assert!(!bench.fast(Generation(0), 1, bench.now.at));
    assert_eq!(bench.view().total_pulses, 8);
}

#[test]
fn a_service_is_small() {
    assert!(
        size_of::<crate::Service>() <= 400,
        "{} bytes",
        size_of::<crate::Service>()
    );
}

#[test]
fn the_view_says_everything() {
    let mut bench = Bench::up(policy());
    bench.say(Note {
        message: Some("at work".to_owned()),
        ..Note::default()
    });
    bench.seconds(95);
    let view = bench.view();
    assert_eq!(view.interval, Some(10.0));
    assert_eq!(view.age, Some(95.0));
    assert_eq!(view.missed, 9);
    assert_eq!(view.consecutive_failures, 9);
    assert_eq!(view.pid, Some(1_001));
    assert_eq!(view.generation, 1);
    assert_eq!(view.uptime, Some(95.0));
    assert_eq!(view.message.as_deref(), Some("at work"));
    assert_eq!(view.freshness, Some(Freshness::VeryStale));
    assert_eq!(
        view.reason,
        "no pulse for 95 s, expected every 10 s (missed 9 of 5)"
    );
    let alive = Bench::up(alive()).view();
    assert_eq!(
        (alive.interval, alive.age, alive.freshness),
        (None, Some(0.0), None)
    );
    assert!(alive.last_heartbeat.is_some());
}

#[test]
fn odd_clock_values_neither_panic_nor_poke() {
    for at in [0, 1, u64::MAX - 1, u64::MAX] {
        let mut bench = Bench::with_memory(policy(), None, at);
        bench.on(Event::Begin);
        bench.started();
        bench.pulse();
        bench.now.amnesty = Time(u64::MAX);
        assert_eq!(bench.on(Event::Tick), []);
        assert_eq!(bench.level(), Level::Healthy);
    }
}
