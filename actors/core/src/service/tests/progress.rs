//! Progress: a number that must move. The policy here allows a minute of standing still.

use std::time::Duration;

use super::bench::{Bench, alive, external, policy, start, stop};
use crate::event::{Action, Event, Note, PulseState, RestartKind};
use crate::level::{Freshness, Level};
use crate::policy::{PokeOn, Policy, Ready};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn paced(policy: Policy) -> Policy {
    Policy {
        progress_timeout: Some(secs(60)),
        ..policy
    }
}

fn cycle(cycle: i64) -> Note {
    Note {
        cycle: Some(cycle),
        ..Note::default()
    }
}

fn progress(progress: f64) -> Note {
    Note {
        progress: Some(progress),
        ..Note::default()
    }
}

fn busy(seconds: u64) -> Note {
    Note {
        busy_for: Some(secs(seconds)),
        ..Note::default()
    }
}

/// Up since just now, its number at 7.
fn up(policy: Policy) -> Bench {
    let mut bench = Bench::up(paced(policy));
    bench.say(cycle(7));
    bench
}

/// Says the same every second for so long; what the machine wants done meanwhile.
fn say_for(bench: &mut Bench, seconds: u64, note: &Note) -> Vec<Action> {
    let mut done = Vec::new();
    for _ in 0..seconds {
        done.extend(bench.seconds(1));
        done.extend(bench.say(note.clone()));
    }
    done
}

#[test]
fn a_number_that_stands_still_is_a_hang_though_it_pulses() {
    let mut bench = up(policy());
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.seconds(1), [Action::AskRestart], "at the minute");
    assert_eq!(bench.level(), Level::Critical);
    let view = bench.view();
    assert_eq!(
        view.reason,
        "cycle has stood at 7 for 60 s, since 1970-01-01T00:16:40Z; it must move within 1m"
    );
    assert_eq!((view.cycle, view.progress), (Some(7), None));
    assert_eq!(view.freshness, Some(Freshness::Fresh), "its pulses are");
    assert_eq!(
        bench.kinds(),
        ["healthy → critical", "poked stale"],
        "said once"
    );
    assert_eq!(say_for(&mut bench, 100, &cycle(7)), [], "asked once");
    assert!(bench.reason().contains("for 2m 40s"), "{}", bench.reason());
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
    assert_eq!(bench.killed(9), [start(2)]);
}

#[test]
fn a_number_that_moves_is_none_in_whichever_direction() {
    let mut bench = up(policy());
    for n in [8, 6, 6, 5, 900, -3] {
        assert_eq!(say_for(&mut bench, 29, &cycle(n)), []);
    }
    let mut bench = Bench::up(paced(policy()));
    for n in [0.0, 0.25, 0.125, -1e300, f64::MIN_POSITIVE] {
        assert_eq!(say_for(&mut bench, 59, &progress(n)), []);
    }
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.view().progress, Some(f64::MIN_POSITIVE));
}

#[test]
fn of_two_numbers_it_is_enough_that_one_moves() {
    let both = |cycle, progress| Note {
        cycle: Some(cycle),
        progress: Some(progress),
        ..Note::default()
    };
    let mut bench = Bench::up(paced(policy()));
    for n in 0..4 {
        assert_eq!(say_for(&mut bench, 59, &both(n, 0.5)), []);
    }
    for n in 0..4 {
        assert_eq!(say_for(&mut bench, 59, &both(3, f64::from(n))), []);
    }
    // The pulse that moved last came 58 s ago.
    assert_eq!(bench.seconds(2), [Action::AskRestart]);
    assert!(
        bench
            .reason()
            .starts_with("cycle has stood at 3 and progress at 3 for 60 s"),
        "{}",
        bench.reason()
    );
}

#[test]
fn what_is_no_number_moves_nothing() {
    let mut bench = Bench::up(paced(policy()));
    let nan = progress(f64::NAN);
    bench.say(progress(1.0));
    assert_eq!(say_for(&mut bench, 59, &nan), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
    assert_eq!(bench.view().progress, Some(1.0));

    let mut bench = Bench::up(paced(policy()));
    assert_eq!(say_for(&mut bench, 300, &nan), [], "it never had a number");
    assert_eq!(bench.view().progress, None);
}

#[test]
fn plain_pulses_messages_and_errors_move_nothing() {
    let message = Note {
        message: Some("at work".to_owned()),
        ..Note::default()
    };
    for kind in ["plain", "message", "error"] {
        let mut bench = up(policy());
        for _ in 0..11 {
            bench.seconds(5);
            match kind {
                "plain" => bench.pulse(),
                "message" => bench.say(message.clone()),
                _ => bench.error(false),
            };
        }
        bench.pulse();
        assert_eq!(bench.level(), Level::Healthy, "{kind}");
        assert_eq!(bench.seconds(5), [Action::AskRestart], "{kind}");
    }
}

#[test]
fn only_a_pulse_that_moves_makes_it_well_again() {
    let mut bench = up(Policy {
        recover_after: 2,
        ..policy()
    });
    say_for(&mut bench, 60, &cycle(7));
    for _ in 0..5 {
        bench.seconds(1);
        bench.pulse();
        bench.say(cycle(7));
        assert_eq!(bench.level(), Level::Critical);
    }
    bench.say(cycle(8));
    assert_eq!(bench.level(), Level::Critical, "the first of two");
    assert!(!bench.service().wants_restart(), "but it does not hang");
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.on(Event::RestartGranted), []);
    assert_eq!(bench.seconds(10), [], "one minute from the move on");
}

#[test]
fn who_names_no_number_or_has_no_timeout_is_not_judged_by_one() {
    let mut bench = Bench::up(paced(policy()));
    bench.pulse_for(1_000);
    assert_eq!(bench.level(), Level::Healthy);
    let mut bench = Bench::up(policy());
    assert_eq!(say_for(&mut bench, 1_000, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.view().cycle, Some(7), "shown all the same");
}

#[test]
fn idleness_ends_it_and_work_begins_it_anew() {
    let mut bench = up(policy());
    say_for(&mut bench, 50, &cycle(7));
    bench.says(PulseState::Idle);
    assert_eq!(bench.seconds(100_000), []);
    assert_eq!(bench.level(), Level::Healthy);
    bench.says(PulseState::Working);
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
    bench.says(PulseState::Idle);
    assert_eq!(bench.level(), Level::Healthy, "it has nothing to do");
    assert!(!bench.service().wants_restart());
}

#[test]
fn busyness_postpones_it() {
    let mut bench = up(policy());
    say_for(&mut bench, 50, &cycle(7));
    bench.say(busy(600));
    assert_eq!(bench.seconds(640), []);
    bench.pulse();
    assert_eq!(bench.seconds(19), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart], "600 and 60");
}

#[test]
fn busyness_that_ends_before_its_time_postpones_it_until_then() {
    let mut bench = up(policy());
    bench.say(busy(600));
    bench.seconds(100);
    bench.pulse();
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
}

#[test]
fn saying_to_be_busy_again_and_again_postpones_it_by_max_busy_and_no_more() {
    let mut bench = up(Policy {
        max_busy: secs(300),
        ..policy()
    });
    let note = Note {
        busy_for: Some(secs(100)),
        ..cycle(7)
    };
    assert_eq!(say_for(&mut bench, 359, &note), []);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(say_for(&mut bench, 1, &note), [Action::AskRestart]);
    let moved = Note {
        busy_for: Some(secs(100)),
        ..cycle(8)
    };
    bench.say(moved);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.seconds(140), [], "a move begins it all anew");
}

#[test]
fn time_asked_for_by_other_words_counts_as_busy() {
    let mut bench = up(Policy {
        max_busy: secs(100),
        ..policy()
    });
    for _ in 0..15 {
        let generation = bench.generation();
        let by = secs(100);
        assert_eq!(bench.on(Event::Extend { generation, by }), []);
        assert_eq!(bench.seconds(10), []);
        bench.pulse();
    }
    bench.say(cycle(7));
    assert_eq!(bench.seconds(9), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart], "100 and 60");
}

#[test]
fn a_reload_that_ends_gives_back_what_is_left_of_it() {
    let mut bench = up(policy());
    let generation = bench.generation();
    bench.on(Event::Reloading { generation });
    bench.seconds(30);
    bench.on(Event::Ready { generation });
    bench.pulse();
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
}

#[test]
fn on_demand_it_is_not_judged_by_a_number() {
    let mut bench = up(Policy {
        on_demand: true,
        ..policy()
    });
    assert_eq!(say_for(&mut bench, 1_000, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn one_that_pulses_by_living_is() {
    let mut bench = up(alive());
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
    assert_eq!(bench.view().freshness, None);
    bench.say(cycle(8));
    assert_eq!(bench.level(), Level::Healthy);
    // That it lives for long proves nothing while it stands still.
    say_for(&mut bench, 200, &cycle(8));
    assert_eq!(bench.level(), Level::Critical);
}

#[test]
fn one_that_others_run_is_and_its_restart_begins_a_new_count() {
    let mut bench = up(external());
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
    assert_eq!(bench.on(Event::RestartGranted), [Action::RestartCommand]);
    bench.on(Event::RestartCommandDone { failed: None });
    assert_eq!(bench.view().cycle, None);
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy, "it has not named a number");
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Healthy, "the same, but a new count");
}

#[test]
fn a_new_life_is_not_judged_by_the_number_of_the_old() {
    let mut bench = up(policy());
    say_for(&mut bench, 50, &cycle(7));
    bench.exit(1);
    bench.started();
    assert_eq!(bench.view().cycle, None);
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn what_an_older_life_says_moves_nothing() {
    let mut bench = up(policy());
    bench.exit(1);
    bench.started();
    bench.say(cycle(1));
    say_for(&mut bench, 59, &cycle(1));
    bench.on(Event::Pulse {
        generation: crate::event::Generation(1),
        count: 1,
        note: Some(Box::new(cycle(99))),
    });
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
    assert_eq!(bench.view().cycle, Some(1));
}

#[test]
fn a_pause_excuses_it() {
    let mut bench = up(policy());
    say_for(&mut bench, 50, &cycle(7));
    bench.on(Event::Pause {
        until: Some(bench.now.at.time + secs(500)),
        why: "upkeep".to_owned(),
    });
    assert_eq!(say_for(&mut bench, 499, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Unknown);
    bench.seconds(1);
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Healthy);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
}

#[test]
fn it_is_not_poked_for_it_while_what_it_depends_on_is_down() {
    let mut bench = up(policy());
    bench.depend("db");
    assert_eq!(say_for(&mut bench, 200, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Critical, "its level is told");
    assert_eq!(bench.depend(""), []);
    assert_eq!(say_for(&mut bench, 59, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
}

#[test]
fn it_is_nudged_first_where_there_is_a_nudge() {
    let mut bench = up(Policy {
        nudge: true,
        ..policy()
    });
    say_for(&mut bench, 59, &cycle(7));
    assert_eq!(bench.seconds(1), [Action::Nudge]);
    bench.on(Event::NudgeDone { failed: None });
    assert_eq!(say_for(&mut bench, 9, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart], "it still stands");
    bench.say(cycle(8));
    say_for(&mut bench, 59, &cycle(8));
    assert_eq!(bench.seconds(1), [Action::Nudge]);
    bench.say(cycle(9));
    assert_eq!(say_for(&mut bench, 30, &cycle(9)), [], "woken");
}

#[test]
fn where_silence_is_not_poked_neither_is_it() {
    let mut bench = up(Policy {
        poke_on: PokeOn {
            stale: false,
            probe: true,
            errors: true,
        },
        ..policy()
    });
    assert_eq!(say_for(&mut bench, 1_000, &cycle(7)), []);
    assert_eq!(bench.level(), Level::Critical);
}

#[test]
fn a_hung_one_that_is_never_restarted_is_stopped_and_stays_critical() {
    let mut bench = up(Policy {
        restart: crate::policy::Restart::Never,
        ..policy()
    });
    say_for(&mut bench, 60, &cycle(7));
    assert_eq!(bench.on(Event::RestartGranted), [stop(1)]);
    assert_eq!(bench.killed(15), []);
    assert_eq!(
        (bench.state(), bench.level()),
        ("exited", Level::Critical),
        "{}",
        bench.reason()
    );
    assert!(bench.reason().contains("cycle has stood at 7"));
}

#[test]
fn one_that_is_also_silent_is_poked_for_what_comes_first_and_once() {
    let mut bench = up(policy());
    assert_eq!(bench.seconds(51), [Action::AskRestart]);
    assert!(bench.reason().starts_with("no pulse for"));
    assert_eq!(bench.seconds(500), []);
    let pokes = bench.kinds();
    let pokes = pokes.iter().filter(|kind| *kind == "poked stale").count();
    assert_eq!(pokes, 1);
}

#[test]
fn a_start_that_pulses_and_stands_still_is_judged_by_it() {
    let mut bench = Bench::new(Policy {
        ready: Ready::Notify,
        start_grace: secs(1_000),
        ..paced(policy())
    });
    bench.on(Event::Begin);
    bench.started();
    assert_eq!(say_for(&mut bench, 60, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
    assert_eq!(bench.state(), "starting");
}

#[test]
fn our_own_death_forgets_nothing_and_gives_one_grace() {
    let mut bench = up(policy());
    say_for(&mut bench, 50, &cycle(7));
    bench.reload(secs(3_600));
    let generation = bench.generation();
    bench.on(Event::Adopted {
        generation,
        pid: 1_001,
    });
    bench.on(Event::Begin);
    bench.say(cycle(7));
    assert_eq!(say_for(&mut bench, 9, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart], "an hour is ours");

    let mut bench = up(policy());
    say_for(&mut bench, 59, &cycle(7));
    bench.pass(Duration::from_millis(900));
    bench.now.amnesty = bench.now.at.time;
    assert_eq!(bench.pass(Duration::from_millis(999)), []);
    assert_eq!(
        bench.pass(Duration::from_millis(1)),
        [Action::AskRestart],
        "one grace after we came back"
    );
}

#[test]
fn a_number_met_at_first_sight_has_its_age() {
    let mut bench = Bench::new(paced(external()));
    bench.on(Event::Begin);
    let mut given = bench.now.at;
    given.time.0 -= 40 * super::bench::S;
    let generation = bench.generation();
    bench.on(Event::Sighted {
        generation,
        at: given,
        note: Some(Box::new(cycle(7))),
    });
    assert_eq!(say_for(&mut bench, 19, &cycle(7)), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart]);
}

#[test]
fn a_longer_interval_that_it_names_leaves_time_for_one_pulse() {
    let mut bench = up(policy());
    let generation = bench.generation();
    let interval = secs(100);
    bench.on(Event::Interval {
        generation,
        interval,
    });
    bench.say(cycle(8));
    assert_eq!(bench.seconds(109), []);
    assert_eq!(bench.seconds(1), [Action::AskRestart], "100 and its grace");
}

#[test]
fn an_operator_s_restart_needs_no_move() {
    let mut bench = up(policy());
    say_for(&mut bench, 60, &cycle(7));
    let kind = RestartKind::Operator;
    assert_eq!(bench.on(Event::Restart { kind }), [stop(1)]);
    assert_eq!(bench.killed(15), [start(2)]);
    bench.started();
    bench.pulse();
    assert_eq!(bench.level(), Level::Healthy);
}
