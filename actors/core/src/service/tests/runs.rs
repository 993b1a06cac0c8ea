//! Runs of a service: what starts and ends come to for its level.

use std::time::Duration;

use super::bench::{Bench, external, policy};
use crate::event::{Action, Event};
use crate::level::Level;
use crate::run::{Outcome, RunEnd, RunId, RunSign};

fn rid(text: &str) -> Option<RunId> {
    Some(RunId::new(text).unwrap())
}

impl Bench {
    fn run(&mut self, sign: RunSign) -> Vec<Action> {
        let generation = self.generation();
        self.on(Event::Run {
            generation,
            sign: Box::new(sign),
        })
    }

    fn run_starts(&mut self) {
        self.run(RunSign::Start { rid: rid("a") });
    }

    fn run_ends(&mut self, code: i32) {
        self.run(RunSign::End(RunEnd {
            rid: rid("a"),
            failed: code != 0,
            exit_code: Some(code),
            ..RunEnd::default()
        }));
    }
}

#[test]
fn a_start_is_no_pulse_and_moves_no_deadline() {
    let mut bench = Bench::up(external());
    bench.seconds(8);
    bench.run_starts();
    assert_eq!(bench.view().age, Some(8.0));
    bench.seconds(4);
    assert_eq!(bench.level(), Level::Warning);
    let run = bench.view().run.unwrap();
    assert_eq!((run.rid.as_deref(), run.running_for), (Some("a"), 4.0));
}

#[test]
fn a_success_is_a_clean_pulse_and_a_run_on_record() {
    let mut bench = Bench::up(external());
    let pulses = bench.view().total_pulses;
    bench.run_starts();
    bench.seconds(15);
    assert_eq!(bench.level(), Level::Warning);
    bench.run_ends(0);
    assert_eq!(bench.level(), Level::Healthy);
    let view = bench.view();
    assert_eq!((view.total_pulses, view.age), (pulses + 1, Some(0.0)));
    assert_eq!(view.run, None);
    let last = view.last_run.unwrap();
    assert_eq!(last.outcome, Outcome::Success);
    assert_eq!((last.exit_code, last.duration), (Some(0), Some(15.0)));
    assert_eq!(bench.runs.len(), 1);
    assert_eq!(bench.runs[0].took, Some(Duration::from_secs(15)));
}

#[test]
fn a_failed_run_is_an_error_that_says_how_it_failed() {
    let mut bench = Bench::up(external());
    let pulses = bench.view().total_pulses;
    bench.run_starts();
    bench.seconds(5);
    bench.run_ends(3);
    assert_eq!(bench.level(), Level::Warning);
    assert_eq!(bench.reason(), "run failed with exit code 3 after 5 s");
    let view = bench.view();
    assert_eq!((view.total_pulses, view.error_count), (pulses, 1));
    assert_eq!(view.age, Some(0.0), "a sign of life all the same");
    assert_eq!(bench.runs[0].outcome, Outcome::Failure);
    assert_eq!(bench.kinds(), ["error", "healthy → warning"]);
}

#[test]
fn five_failed_runs_in_a_row_are_critical_and_a_success_ends_that() {
    let mut bench = Bench::up(external());
    for _ in 0..5 {
        bench.seconds(5);
        bench.run(RunSign::End(RunEnd {
            failed: true,
            message: Some("disk full".to_owned()),
            ..RunEnd::default()
        }));
    }
    assert_eq!(bench.level(), Level::Critical);
    assert_eq!(
        bench.reason(),
        "5 errors in a row, the last: run failed: disk full"
    );
    bench.run_ends(0);
    assert_eq!(bench.level(), Level::Healthy);
}

#[test]
fn a_failure_that_is_told_again_is_one_error_and_a_success_a_pulse() {
    let mut bench = Bench::up(external());
    for code in [1, 1] {
        bench.run_ends(code);
    }
    assert_eq!(bench.view().error_count, 1);
    let pulses = bench.view().total_pulses;
    bench.run_ends(0);
    assert_eq!(bench.view().total_pulses, pulses + 1);
    assert_eq!(bench.runs.len(), 1);
}

#[test]
fn a_log_is_kept_and_changes_nothing() {
    let mut bench = Bench::up(external());
    bench.seconds(5);
    let before = bench.view();
    bench.run(RunSign::Log {
        rid: None,
        output: "half way".to_owned(),
    });
    assert_eq!(bench.view(), before);
    assert_eq!(bench.runs[0].outcome, Outcome::Log);
    assert_eq!(bench.runs[0].output.as_deref(), Some("half way"));
}

#[test]
fn a_run_goes_on_over_our_own_restart() {
    let mut bench = Bench::up(external());
    bench.run_starts();
    assert!(bench.service().is_in_run());
    bench.reload(Duration::from_secs(30));
    bench.on(Event::Begin);
    assert!(bench.service().is_in_run());
    bench.run_ends(0);
    assert_eq!(bench.runs[0].took, Some(Duration::from_secs(30)));
}

#[test]
fn runs_belong_to_no_life_of_a_service_that_we_run() {
    let mut bench = Bench::up(policy());
    bench.run_starts();
    bench.exit(1);
    bench.started();
    bench.run_ends(0);
    assert_eq!(bench.runs[0].outcome, Outcome::Success);
    assert_eq!(bench.level(), Level::Healthy);
}
