//! What survives our own death.

use std::time::Duration;

use super::bench::{Bench, S, alive, external, policy, start, stop};
use crate::event::{Action, Event, Generation};
use crate::level::Level;
use crate::policy::{Policy, Restart};
use crate::service::Memory;

fn adopted(bench: &mut Bench) -> Vec<Action> {
    let generation = bench.generation();
    bench.on(Event::Adopted {
        generation,
        pid: 1_000 + generation.0.cast_signed(),
    })
}

#[test]
fn an_adopted_service_goes_on_as_it_was_and_nobody_is_alerted_again() {
    let mut bench = Bench::up(policy());
    bench.pulse_for(100);
    bench.seconds(11);
    assert_eq!(bench.level(), Level::Warning);
    bench.told.clear();
    bench.reload(Duration::from_secs(3_600));
    assert_eq!((bench.state(), bench.level()), ("running", Level::Warning));
    assert_eq!(adopted(&mut bench), []);
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.kinds(), ["adopted running"]);
    assert_eq!((bench.state(), bench.level()), ("running", Level::Warning));
    let view = bench.view();
    assert_eq!((view.pid, view.generation), (Some(1_001), 1));
    assert_eq!(view.total_pulses, 11);
    assert_eq!(view.age, Some(3_611.0), "what is shown is what has passed");
    assert_eq!(view.missed, 1, "what is judged is what it could have done");
    bench.seconds(20);
    assert_eq!(bench.level(), Level::Degraded, "31 s on the judging clock");
    assert_eq!(bench.seconds(20), [Action::AskRestart]);
}

#[test]
fn a_critical_service_on_the_ladder_is_neither_nudged_nor_alerted_again() {
    let mut bench = Bench::up(Policy {
        nudge: true,
        ..policy()
    });
    assert_eq!(bench.seconds(51), [Action::Nudge]);
    bench.told.clear();
    bench.reload(Duration::from_secs(60));
    assert_eq!(adopted(&mut bench), []);
    assert_eq!(bench.kinds(), ["adopted running"]);
    assert_eq!(bench.seconds(10), [Action::AskRestart]);
    bench.reload(Duration::from_secs(60));
    assert_eq!(adopted(&mut bench), [Action::AskRestart], "asked again");
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
}

#[test]
fn a_start_under_way_is_adopted_as_one() {
    let mut bench = Bench::new(policy());
    bench.on(Event::Begin);
    bench.started();
    bench.reload(Duration::from_secs(1));
    assert_eq!(adopted(&mut bench), []);
    assert_eq!((bench.state(), bench.level()), ("starting", Level::Unknown));
    bench.pulse();
    assert_eq!((bench.state(), bench.level()), ("running", Level::Healthy));
}

#[test]
fn an_exit_while_we_were_away_is_judged_by_the_policy() {
    let mut bench = Bench::up(policy());
    bench.reload(Duration::from_secs(60));
    assert_eq!(bench.exit(3), [start(2)]);
    assert_eq!(bench.level(), Level::Warning);
    assert!(bench.reason().starts_with("exited with code 3"));

    let mut bench = Bench::up(Policy {
        restart: Restart::OnFailure,
        ..policy()
    });
    bench.reload(Duration::from_secs(60));
    assert_eq!(bench.exit(0), []);
    assert_eq!((bench.state(), bench.level()), ("exited", Level::Unknown));
    assert_eq!(bench.on(Event::Begin), [], "nothing is run twice");
}

#[test]
fn one_that_vanished_while_we_were_away_is_restarted_and_that_is_said() {
    let mut bench = Bench::up(policy());
    bench.reload(Duration::from_secs(60));
    assert_eq!(bench.on(Event::Begin), [start(2)]);
    assert_eq!(
        bench.reason(),
        "ended while the supervisor was away, nobody knows how"
    );
}

#[test]
fn remains_found_are_ended_before_the_next_start() {
    let mut bench = Bench::up(policy());
    bench.reload(Duration::from_secs(60));
    assert_eq!(bench.end(Some(1), None, true), []);
    assert_eq!(bench.state(), "stopping");
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.gone(), [start(2)]);
}

#[test]
fn a_stop_under_way_goes_on() {
    let mut bench = Bench::up(policy());
    bench.stop();
    bench.reload(Duration::from_secs(1));
    assert_eq!(bench.state(), "stopping");
    assert_eq!(adopted(&mut bench), [stop(1)]);
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.killed(9), []);
    assert_eq!(bench.state(), "stopped");
}

#[test]
fn a_stop_that_ended_while_we_were_away_is_one() {
    let mut bench = Bench::up(policy());
    bench.stop();
    bench.reload(Duration::from_secs(1));
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.state(), "stopped");
}

#[test]
fn a_restart_under_way_goes_on() {
    let mut bench = Bench::up(policy());
    bench.seconds(51);
    bench.on(Event::RestartGranted);
    bench.reload(Duration::from_secs(1));
    assert_eq!(bench.on(Event::Begin), [start(2)]);
    assert!(bench.kinds().contains(&"restarted stale".to_owned()));
}

#[test]
fn what_was_shut_down_half_way_is_started_again_when_it_is_down() {
    let mut bench = Bench::up(policy());
    bench.on(Event::Stop {
        why: Event::SHUTDOWN.to_owned(),
    });
    bench.reload(Duration::from_secs(1));
    assert_eq!(adopted(&mut bench), [stop(1)]);
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.killed(15), [start(2)]);
}

#[test]
fn a_living_process_that_the_memory_knows_nothing_of_is_adopted() {
    let mut bench = Bench::new(policy());
    let found = Event::Adopted {
        generation: Generation(7),
        pid: 4_711,
    };
    assert_eq!(bench.on(found.clone()), []);
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!((bench.state(), bench.level()), ("running", Level::Unknown));
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.exit(1), [start(8)]);

    let mut stale = Bench::up(policy());
    stale.reload(Duration::from_secs(1));
    assert_eq!(stale.on(found), []);
    assert_eq!(stale.generation(), Generation(7));
    assert_eq!(stale.state(), "running");
}

#[test]
fn a_life_whose_start_was_not_remembered_is_counted_when_its_end_is_found() {
    let found = |generation| Event::Exited {
        generation: Generation(generation),
        exit: crate::event::Exit {
            code: Some(3),
            signal: None,
            oom: false,
            at: crate::Timestamp(0),
        },
        left: false,
    };
    // Killed while it was alive, in backoff, and before anything was remembered.
    let mut alive = Bench::up(policy());
    alive.reload(Duration::from_secs(1));
    let mut backing_off = Bench::up(policy());
    assert_eq!(backing_off.exit(1), [start(2)]);
    backing_off.started();
    assert_eq!(backing_off.exit(1), []);
    assert_eq!(backing_off.state(), "backoff");
    backing_off.reload(Duration::from_secs(1));
    for (mut bench, lost) in [(alive, 2), (backing_off, 3), (Bench::new(policy()), 1)] {
        bench.told.clear();
        let mut done = bench.on(found(lost));
        assert!(bench.kinds()[0].starts_with("exited "));
        done.extend(bench.on(Event::Begin));
        done.extend(bench.seconds(5));
        assert_eq!(
            done,
            [start(lost + 1)],
            "its number is not given away again"
        );
    }

    let mut stopped = Bench::up(policy());
    stopped.stop();
    stopped.killed(15);
    stopped.reload(Duration::from_secs(1));
    assert_eq!(stopped.on(found(2)), []);
    assert_eq!(
        (stopped.state(), stopped.generation()),
        ("stopped", Generation(2))
    );
}

#[test]
fn one_that_should_be_stopped_is_stopped_when_it_is_found_alive() {
    let mut bench = Bench::up(policy());
    bench.stop();
    bench.killed(15);
    bench.reload(Duration::from_secs(1));
    assert_eq!(adopted(&mut bench), [stop(1)]);
    assert_eq!(bench.killed(15), []);
    assert_eq!(bench.state(), "stopped");
}

#[test]
fn the_restart_limit_survives() {
    let limited = Policy {
        intensity: crate::backoff::Intensity::new(2, Duration::from_secs(900)).unwrap(),
        ..policy()
    };
    let mut bench = Bench::up(limited);
    for generation in [2, 3] {
        assert_eq!(bench.exit(1).len() + bench.seconds(1).len(), 1);
        bench.started();
        bench.pulse();
        bench.reload(Duration::from_secs(10_000));
        assert_eq!(adopted(&mut bench), []);
        assert_eq!(bench.generation(), Generation(generation));
    }
    assert_eq!(bench.exit(1), []);
    assert_eq!(bench.state(), "quarantined");
    bench.reload(Duration::from_secs(10_000));
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(
        (bench.state(), bench.level()),
        ("quarantined", Level::Critical)
    );
}

#[test]
fn a_pause_survives() {
    let mut bench = Bench::up(policy());
    bench.on(Event::Pause {
        until: None,
        why: "upkeep".to_owned(),
    });
    bench.reload(Duration::from_secs(1));
    adopted(&mut bench);
    assert_eq!(
        (bench.state(), bench.reason()),
        ("paused", "paused: upkeep".to_owned())
    );
    assert_eq!(bench.seconds(100_000), []);
}

#[test]
fn a_twenty_five_hour_heartbeat_survives_a_restart_of_the_supervisor() {
    let day = Policy {
        interval: Duration::from_secs(25 * 3_600),
        thresholds: crate::Thresholds::new(
            Duration::from_secs(25 * 3_600),
            Duration::from_secs(9_000),
            crate::level::After::default(),
            crate::level::Profile::Usual,
        )
        .unwrap(),
        grace: Duration::from_secs(9_000),
        ..external()
    };
    let mut bench = Bench::up(day);
    assert_eq!(bench.seconds(24 * 3_600), []);
    bench.reload(Duration::from_secs(600));
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.on(Event::Begin), []);
    assert_eq!(bench.seconds(3_600 + 8_999), []);
    assert_eq!(bench.level(), Level::Healthy);
    bench.seconds(1);
    assert_eq!(bench.level(), Level::Warning);
}

#[test]
fn one_that_only_runs_is_adopted_as_well() {
    let mut bench = Bench::up(alive());
    bench.reload(Duration::from_secs(60));
    adopted(&mut bench);
    assert_eq!((bench.state(), bench.level()), ("running", Level::Healthy));
    assert_eq!(bench.kinds(), ["adopted running"]);
}

#[test]
fn a_memory_with_unknown_fields_states_and_words_still_loads() {
    let text = r#"{
        "generation": 4, "colour": "red", "total_pulses": 17,
        "state": {"hibernating": {"until": 5}}, "level": "mauve",
        "ladder": "sideways", "history": [1, 2]
    }"#;
    let memory: Memory = serde_json::from_str(text).unwrap();
    assert_eq!(memory.generation, Generation(4));
    let mut bench = Bench::with_memory(policy(), Some(memory), 1_000 * S);
    assert_eq!(bench.view().total_pulses, 17);
    assert_eq!(bench.on(Event::Begin), [start(5)]);
}

#[test]
fn an_empty_memory_loads() {
    let memory: Memory = serde_json::from_str("{}").unwrap();
    assert_eq!(memory, Memory::default());
}

#[test]
fn the_first_version_of_a_memory_still_loads() {
    // Written by version 0.1; not to be changed, only added to.
    let text = include_str!("memory-0.1.json");
    let memory: Memory = serde_json::from_str(text).unwrap();
    assert_eq!(memory.generation, Generation(3));
    assert_eq!(memory.level(), Level::Warning);
    assert_eq!(memory.latest().0, 1_039_000_000_000);
    let mut bench = Bench::with_memory(policy(), Some(memory), 1_060 * S);
    assert_eq!(adopted(&mut bench), []);
    let view = bench.view();
    assert_eq!((bench.state(), bench.level()), ("running", Level::Warning));
    assert_eq!(
        (view.total_pulses, view.error_count, view.restarts),
        (5, 1, 2)
    );
    assert_eq!(view.message.as_deref(), Some("at work"));
}

#[test]
fn a_service_whose_kind_was_changed_begins_anew() {
    let ours = Bench::up(policy()).service().memory().clone();
    let mut bench = Bench::with_memory(external(), Some(ours), 2_000 * S);
    assert_eq!(bench.state(), "external");
    assert_eq!(bench.on(Event::Begin), []);
    let theirs = Bench::up(external()).service().memory().clone();
    let mut bench = Bench::with_memory(policy(), Some(theirs), 2_000 * S);
    assert_eq!(bench.on(Event::Begin), [start(2)]);
}
