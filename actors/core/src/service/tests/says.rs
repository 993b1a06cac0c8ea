//! What a service says of its own deadlines.

use std::time::Duration;

use super::bench::{Bench, alive, policy};
use crate::event::{Action, Event, Generation, Note, PulseState};
use crate::level::Level;
use crate::policy::{Policy, Ready};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn interval(bench: &mut Bench, interval: Duration) {
    let generation = bench.generation();
    bench.on(Event::Interval {
        generation,
        interval,
    });
}

fn extend(bench: &mut Bench, by: Duration) {
    let generation = bench.generation();
    bench.on(Event::Extend { generation, by });
}

/// A service that is being started and says itself when it is ready.
fn starting() -> Bench {
    let mut bench = Bench::new(Policy {
        ready: Ready::Notify,
        ..policy()
    });
    bench.on(Event::Begin);
    bench.on(Event::Start);
    let generation = bench.generation();
    bench.on(Event::Started {
        generation,
        pid: 1_001,
    });
    bench
}

#[test]
fn an_interval_that_it_names_moves_every_threshold_that_counts_intervals() {
    let mut bench = Bench::up(policy());
    interval(&mut bench, secs(2));
    bench.pulse();
    // The grace of a tenth of 10 s becomes one of 2 s: 200 ms.
    bench.pass(Duration::from_millis(2_150));
    assert_eq!(bench.level(), Level::Healthy);
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.level(), Level::Warning);
    assert_eq!(bench.view().interval, Some(2.0));
    assert_eq!(bench.seconds(9), [Action::AskRestart]);
}

#[test]
fn an_interval_that_it_names_holds_for_its_life_and_over_our_own_restart() {
    let mut bench = Bench::up(policy());
    interval(&mut bench, secs(100));
    bench.pulse();
    bench.reload(secs(1));
    let generation = bench.generation();
    bench.on(Event::Adopted {
        generation,
        pid: 1_001,
    });
    bench.on(Event::Begin);
    assert_eq!(bench.seconds(90), []);
    assert_eq!(bench.level(), Level::Healthy);
    bench.on(Event::Restart {
        kind: crate::event::RestartKind::Operator,
    });
    bench.on(Event::Gone { generation });
    assert_eq!(bench.generation(), Generation(2));
    assert_eq!(bench.view().interval, Some(10.0), "its owner's word again");
}

#[test]
fn nobody_promises_more_than_ten_pulses_a_second() {
    let mut bench = Bench::up(policy());
    interval(&mut bench, Duration::from_nanos(1));
    assert_eq!(bench.view().interval, Some(0.1));
}

#[test]
fn a_start_that_asks_for_time_has_it() {
    let mut bench = starting();
    bench.seconds(50);
    extend(&mut bench, secs(100));
    assert_eq!(bench.seconds(99), []);
    assert_eq!(bench.state(), "starting");
    assert_eq!(bench.seconds(2), [Action::AskRestart]);
}

#[test]
fn less_time_than_it_has_takes_none_away() {
    let mut bench = starting();
    extend(&mut bench, secs(1));
    assert_eq!(bench.seconds(59), []);
    assert_eq!(bench.seconds(2), [Action::AskRestart]);
}

#[test]
fn silence_that_was_announced_is_no_lateness_up_to_the_limit() {
    let mut bench = Bench::up(Policy {
        max_busy: secs(100),
        ..policy()
    });
    extend(&mut bench, secs(3_600));
    bench.seconds(110);
    assert_eq!(bench.level(), Level::Healthy);
    bench.seconds(2);
    assert_eq!(bench.level(), Level::Warning);
}

#[test]
fn one_that_finds_itself_hung_is_poked_at_once_even_if_it_pulses_by_living() {
    for policy in [policy(), alive()] {
        let mut bench = Bench::up(policy);
        let generation = bench.generation();
        let why = "it triggered its watchdog".to_owned();
        let done = bench.on(Event::Stuck { generation, why });
        assert_eq!(done, [Action::AskRestart]);
        assert_eq!(bench.level(), Level::Critical);
        assert!(bench.view().reason.contains("watchdog"));
    }
}

#[test]
fn one_that_finds_itself_hung_is_poked_at_once_though_it_was_busy_or_idle() {
    for was in ["busy", "idle"] {
        let mut bench = Bench::up(policy());
        match was {
            "busy" => extend(&mut bench, secs(600)),
            _ => drop(bench.says(PulseState::Idle)),
        }
        let generation = bench.generation();
        let why = "it triggered its watchdog".to_owned();
        let done = bench.on(Event::Stuck { generation, why });
        assert_eq!(done, [Action::AskRestart], "{was}");
    }
}

#[test]
fn a_status_is_shown_and_is_no_sign_of_life() {
    let mut bench = Bench::up(policy());
    let generation = bench.generation();
    bench.seconds(5);
    let message = "ready to accept connections".to_owned();
    bench.on(Event::Status {
        generation,
        message: message.clone(),
    });
    assert_eq!(bench.view().message, Some(message));
    assert_eq!(bench.view().age, Some(5.0));
    bench.on(Event::Status {
        generation,
        message: String::new(),
    });
    assert_eq!(bench.view().message, None);
}

#[test]
fn a_reload_excuses_silence_until_it_is_ready_again() {
    let mut bench = Bench::up(policy());
    let generation = bench.generation();
    bench.on(Event::Reloading { generation });
    bench.seconds(60);
    assert_eq!(bench.level(), Level::Healthy);
    bench.on(Event::Ready { generation });
    assert!(
        bench.level() > Level::Healthy,
        "it says that it works again"
    );
}

#[test]
fn one_that_stops_by_itself_has_the_time_of_a_stop() {
    let mut bench = Bench::up(policy());
    let generation = bench.generation();
    bench.on(Event::Stopping { generation });
    bench.seconds(20);
    assert_eq!(bench.level(), Level::Healthy);
    bench.seconds(2);
    assert_eq!(bench.level(), Level::Warning);
}

#[test]
fn what_an_older_life_says_is_ignored() {
    let mut bench = Bench::up(policy());
    let generation = Generation(7);
    for event in [
        Event::Stuck {
            generation,
            why: "x".to_owned(),
        },
        Event::Interval {
            generation,
            interval: secs(1),
        },
        Event::Extend {
            generation,
            by: secs(900),
        },
        Event::Stopping { generation },
        Event::Reloading { generation },
        Event::Status {
            generation,
            message: "x".to_owned(),
        },
    ] {
        assert_eq!(bench.on(event), []);
    }
    let view = bench.view();
    assert_eq!((view.interval, view.message), (Some(10.0), None));
    bench.seconds(12);
    assert_eq!(bench.level(), Level::Warning);
}

fn figures(figures: &[(&str, f64)]) -> Note {
    Note {
        metrics: figures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        ..Note::default()
    }
}

#[test]
fn figures_are_kept_for_one_life_and_over_our_own_restart() {
    let mut bench = Bench::up(policy());
    bench.say(figures(&[("queue", 3.0), ("rows", 1.0)]));
    bench.seconds(5);
    bench.say(figures(&[("queue", 5.0)]));
    bench.reload(secs(60));
    let generation = bench.generation();
    bench.on(Event::Adopted {
        generation,
        pid: 1_001,
    });
    bench.say(figures(&[("queue", 4.0)]));
    let view = bench.view();
    let queue = &view.metrics["queue"];
    assert_eq!((queue.value, queue.rollup.count), (4.0, 3));
    assert_eq!((queue.rollup.min, queue.rollup.max), (3.0, 5.0));
    assert_eq!(view.metrics["rows"].rollup.count, 1);
    assert_eq!(view.metrics.len(), 2);

    bench.exit(1);
    bench.started();
    assert!(
        bench.view().metrics.is_empty(),
        "the next life's are its own"
    );
    bench.on(Event::Pulse {
        generation,
        count: 1,
        note: Some(Box::new(figures(&[("queue", 9.0)]))),
    });
    assert!(bench.view().metrics.is_empty(), "said by the older life");
}

#[test]
fn figures_that_nobody_should_have_let_through_are_left_out() {
    let mut bench = Bench::up(policy());
    bench.say(figures(&[("a", f64::NAN), ("B", 1.0), ("c", 1.0)]));
    let view = bench.view();
    let names: Vec<_> = view.metrics.keys().collect();
    assert_eq!(names, ["c"]);
}

#[test]
fn a_stop_that_asks_for_time_has_it_up_to_the_limit() {
    let mut bench = Bench::up(Policy {
        max_busy: secs(100),
        ..policy()
    });
    let generation = bench.generation();
    let asks = |bench: &mut Bench, seconds| {
        let by = secs(seconds);
        bench.on(Event::Extend { generation, by })
    };
    let given = |seconds| {
        let by = secs(seconds);
        [Action::Extend { generation, by }]
    };
    assert_eq!(asks(&mut bench, 30), [], "it is not being stopped");
    bench.stop();
    bench.seconds(5);
    assert_eq!(asks(&mut bench, 30), given(30));
    bench.seconds(20);
    assert_eq!(asks(&mut bench, 1_000), given(80), "100 s from the first");
    bench.seconds(79);
    assert_eq!(asks(&mut bench, 30), given(1));
    bench.seconds(1);
    assert_eq!(asks(&mut bench, 30), []);
    assert_eq!(bench.state(), "stopping");
    bench.killed(9);
    assert_eq!(asks(&mut bench, 30), []);
    bench.on(Event::Start);
    bench.started();
    bench.stop();
    let generation = bench.generation();
    let by = secs(30);
    assert_eq!(
        bench.on(Event::Extend { generation, by }),
        [Action::Extend { generation, by }],
        "the next life's is its own"
    );
}

#[test]
fn the_main_process_that_it_names_is_shown_in_this_life() {
    let mut bench = Bench::up(policy());
    let generation = bench.generation();
    assert_eq!(
        bench.on(Event::MainPid {
            generation,
            pid: 42
        }),
        []
    );
    assert_eq!(bench.view().pid, Some(42));
    bench.pulse();
    assert_eq!(bench.exit(1).len(), 1, "what was started has ended");
    bench.started();
    assert_eq!(bench.view().pid, Some(1_002));
    bench.on(Event::MainPid {
        generation,
        pid: 42,
    });
    assert_eq!(bench.view().pid, Some(1_002), "said by the older life");
    bench.stop();
    let generation = bench.generation();
    bench.on(Event::MainPid {
        generation,
        pid: 42,
    });
    assert_eq!(bench.view().pid, Some(1_002), "it is over");
}
