//! What is learnt of how a service beats and errs: through all actors, and over our own death.

use std::time::Duration;

use supervisor_actors::handle::Inform;
use supervisor_actors::messages::Verb;
use supervisor_actors::ports::Clock as _;
use supervisor_actors::registration::{Registering, Registration};
use supervisor_actors::testing::{
    PausedSystem, Running, Script, Stage, external, learning, pulsing, settle,
};
use supervisor_core::policy::IntervalSource;
use supervisor_core::rhythm::Trend;
use supervisor_core::run::{RunEnd, RunSign};
use supervisor_core::{Level, ServiceName};
use tokio::time::sleep;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs under a system of its own, which is then dropped: as if the supervisor were killed.
fn lifetime<R>(body: impl AsyncFnOnce() -> R) -> R {
    PausedSystem::new().block_on(body())
}

async fn pulses(universe: &Running, name: &str, count: u32, every: Duration) {
    for _ in 0..count {
        universe.pulse(name);
        sleep(every).await;
    }
}

async fn interval(universe: &Running, name: &str) -> (Option<f64>, IntervalSource) {
    let view = universe.view(name).await;
    (view.interval, view.interval_source.expect("it has one"))
}

fn told(universe: &Stage, name: &str) -> Vec<String> {
    let events = universe.store.events();
    let about = events
        .into_iter()
        .filter(|event| event.kind == "config" && event.service == name);
    about.map(|event| event.reason).collect()
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_service_whose_interval_is_learnt_is_judged_by_it() {
    let stage = Stage::new();
    let universe = stage.start(vec![learning("a", secs(30))]).await;
    assert_eq!(
        interval(&universe, "a").await,
        (None, IntervalSource::Learning)
    );
    pulses(&universe, "a", 5, ms(200)).await;
    assert_eq!(universe.view("a").await.status, Level::Healthy);
    assert_eq!(
        interval(&universe, "a").await,
        (None, IntervalSource::Learning)
    );
    pulses(&universe, "a", 30, ms(200)).await;
    let (learnt, source) = interval(&universe, "a").await;
    let learnt = learnt.expect("an interval");
    assert_eq!(source, IntervalSource::Learnt);
    assert!((0.2..=0.25).contains(&learnt), "{learnt}");
    let spec = universe
        .supervisor
        .spec(&ServiceName::new("a").expect("a name"))
        .await;
    let policy = spec.expect("an answer").expect("it is watched").policy;
    assert_eq!(policy.interval.as_secs_f64(), learnt);
    assert_eq!(told(&stage, "a"), ["its interval is learnt: 220 ms"]);
    // The last pulse was 200 ms ago: it is late after an interval and a grace of 100 ms.
    sleep(ms(100)).await;
    assert_eq!(universe.view("a").await.status, Level::Healthy);
    sleep(ms(60)).await;
    assert_eq!(universe.view("a").await.status, Level::Warning);
    sleep(secs(1)).await;
    assert_eq!(universe.view("a").await.status, Level::Critical);
    pulses(&universe, "a", 3, ms(200)).await;
    assert_eq!(universe.view("a").await.status, Level::Healthy);
    assert_eq!(interval(&universe, "a").await.0, Some(learnt));
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn one_that_hangs_is_restarted_by_what_was_learnt_and_its_next_life_keeps_that() {
    let stage = Stage::new();
    stage.machine.script(
        "worker",
        Script {
            pulse_every: Some(secs(1)),
            ..Script::default()
        },
    );
    let mut worker = pulsing("worker", secs(30));
    worker.policy = learning("worker", secs(30)).policy;
    let policy = std::sync::Arc::make_mut(&mut worker.policy);
    policy.watch = supervisor_core::policy::Watch::Pulsing;
    policy.poke_restarts = true;
    let universe = stage.start(vec![worker]).await;
    sleep(secs(20)).await;
    assert_eq!(
        interval(&universe, "worker").await,
        (Some(1.1), IntervalSource::Learnt)
    );
    stage.machine.hang("worker");
    sleep(secs(4)).await;
    assert_eq!(stage.machine.launches("worker"), 1);
    sleep(secs(2)).await;
    assert_eq!(stage.machine.launches("worker"), 2);
    sleep(secs(1)).await;
    assert_eq!(
        interval(&universe, "worker").await,
        (Some(1.1), IntervalSource::Learnt)
    );
    // The operator has it learnt anew.
    let name = ServiceName::new("worker").expect("a name");
    let cleared = universe.supervisor.control(&name, Verb::Clear).await;
    cleared.expect("answers").expect("done");
    assert_eq!(
        interval(&universe, "worker").await,
        (None, IntervalSource::Learning)
    );
    sleep(secs(20)).await;
    assert_eq!(
        interval(&universe, "worker").await,
        (Some(1.1), IntervalSource::Learnt)
    );
}

#[test]
fn what_was_learnt_survives_our_death_and_a_change_of_the_interval_ends_it() {
    let stage = lifetime(async || {
        let stage = Stage::new();
        let universe = stage
            .start(vec![learning("a", secs(30)), external("b", secs(10))])
            .await;
        for _ in 0..30 {
            universe.pulse("a");
            universe.pulse("b");
            sleep(secs(5)).await;
        }
        assert_eq!(interval(&universe, "a").await.0, Some(5.6));
        assert_eq!(universe.view("b").await.trend, Some(Trend::Steady));
        stage
    });
    stage.clock.freeze(secs(3_600));
    lifetime(async || {
        let universe = stage
            .start(vec![learning("a", secs(30)), external("b", secs(10))])
            .await;
        assert_eq!(
            interval(&universe, "a").await,
            (Some(5.6), IntervalSource::Learnt)
        );
        assert_eq!(universe.view("b").await.trend, Some(Trend::Steady));
        pulses(&universe, "a", 3, secs(5)).await;
        assert_eq!(universe.view("a").await.status, Level::Healthy);
        sleep(secs(2)).await;
        assert_eq!(universe.view("a").await.status, Level::Warning);
    });
    assert_eq!(told(&stage, "a").len(), 1, "{:?}", told(&stage, "a"));
    // Now its owner gives it one, and then has it learnt again.
    lifetime(async || {
        let universe = stage
            .start(vec![external("a", secs(30)), external("b", secs(20))])
            .await;
        assert_eq!(
            interval(&universe, "a").await,
            (Some(30.0), IntervalSource::Configured)
        );
        assert_eq!(universe.view("b").await.trend, Some(Trend::Learning));
        universe.pulse("a");
        sleep(secs(3)).await;
    });
    lifetime(async || {
        let universe = stage.start(vec![learning("a", secs(30))]).await;
        assert_eq!(
            interval(&universe, "a").await,
            (None, IntervalSource::Learning)
        );
    });
}

#[test]
fn a_rhythm_that_cannot_be_read_is_learnt_anew_and_that_is_said() {
    let stage = lifetime(async || {
        let stage = Stage::new();
        let universe = stage.start(vec![learning("a", secs(30))]).await;
        pulses(&universe, "a", 20, secs(5)).await;
        assert_eq!(interval(&universe, "a").await.0, Some(5.6));
        stage
    });
    let good = stage.store.memory("a").expect("a memory");
    let row: serde_json::Value = serde_json::from_str(&good).expect("JSON");
    for (n, damaged) in ["[1]", "[9,0]", "\"x\"", "{}"].into_iter().enumerate() {
        let mut row = row.clone();
        row["rhythm"] = serde_json::from_str(damaged).expect("JSON");
        stage.store.remember("a", &row.to_string());
        lifetime(async || {
            let universe = stage.start(vec![learning("a", secs(30))]).await;
            assert_eq!(
                interval(&universe, "a").await,
                (None, IntervalSource::Learning),
                "{damaged}"
            );
            // All else is as it was.
            assert_eq!(universe.view("a").await.total_pulses, 20);
            assert_eq!(universe.view("a").await.status, Level::Healthy);
        });
        let said = told(&stage, "a");
        assert_eq!(said.len(), n + 2, "{said:?}");
        assert!(said[n + 1].contains("is learnt anew: "), "{said:?}");
    }
    assert_eq!(stage.log.with("rhythm cannot be read").len(), 4);
    // One that an older supervisor wrote knows none, and nothing need be said.
    let mut row = row;
    row.as_object_mut().expect("an object").remove("rhythm");
    stage.store.remember("a", &row.to_string());
    lifetime(async || {
        let universe = stage.start(vec![learning("a", secs(30))]).await;
        assert_eq!(universe.view("a").await.total_pulses, 20);
        assert_eq!(told(&stage, "a").len(), 5);
    });
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_service_that_registers_may_have_its_interval_learnt() {
    let stage = Stage::new();
    let universe = stage.start(Vec::new()).await;
    let name = ServiceName::new("late").expect("a name");
    let plain = Registration::new(name.clone(), secs(30));
    let auto = Registration {
        auto: true,
        ..plain.clone()
    };
    for (says, change) in [
        (&auto, Registering::New),
        (&plain, Registering::Changed),
        (&auto, Registering::Changed),
    ] {
        let done = universe.supervisor.register(says.clone()).await;
        assert_eq!(done.expect("answers").expect("done").change, change);
        let source = match says.auto {
            true => IntervalSource::Learning,
            false => IntervalSource::Configured,
        };
        assert_eq!(interval(&universe, "late").await.1, source);
        pulses(&universe, "late", 20, secs(1)).await;
    }
    assert_eq!(
        interval(&universe, "late").await,
        (Some(1.1), IntervalSource::Learnt)
    );
    assert!(told(&stage, "late")[0].contains("registered: its interval is to be learnt"));
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn one_that_errs_more_often_than_it_used_to_is_told_of() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("a", secs(30))]).await;
    let handle = universe.directory.get("a").expect("a handle");
    let err = async || {
        let error = Inform::Error {
            message: "no answer".to_owned(),
            critical: false,
        };
        let _place = handle.inform(stage.clock.mono(), error).await;
    };
    for n in 0..400 {
        universe.pulse("a");
        sleep(secs(1)).await;
        if n % 100 == 50 {
            err().await;
        }
    }
    let view = universe.view("a").await;
    assert_eq!((view.trend, view.error_count), (Some(Trend::Steady), 4));
    let mut noticed = None;
    for n in 0..100 {
        if n % 3 == 0 {
            err().await;
        }
        universe.pulse("a");
        sleep(secs(1)).await;
        if universe.view("a").await.trend == Some(Trend::Erring) {
            noticed = Some(n);
            break;
        }
    }
    let noticed = noticed.expect("it was noticed");
    assert!(noticed < 60, "after {noticed} beats");
    universe.pulse("a");
    settle().await;
    settle().await;
    assert_eq!(universe.view("a").await.status, Level::Healthy);
    let open = universe.alerts.open().await.expect("the alerter answers");
    let alert = open.iter().find(|alert| alert.subject.to_string() == "a");
    let alert = alert.expect("there is an alert");
    assert_eq!(alert.level, Level::Warning);
    assert!(
        alert.reason.contains("errors more often than it used to"),
        "{}",
        alert.reason
    );
    let noted = universe.events("a").await;
    let alerted = |event: &&supervisor_actors::ports::EventRow| event.kind == "alert";
    assert!(noted.iter().any(|event| alerted(&event)), "{noted:?}");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn of_a_service_that_pulses_on_demand_only_the_errors_make_a_trend() {
    let stage = Stage::new();
    let mut desk = external("desk", secs(30));
    std::sync::Arc::make_mut(&mut desk.policy).on_demand = true;
    let universe = stage.start(vec![desk]).await;
    let handle = universe.directory.get("desk").expect("a handle");
    for n in 0..200 {
        universe.pulse("desk");
        sleep(ms(100 * (n % 13))).await;
    }
    let view = universe.view("desk").await;
    assert_eq!((view.trend, view.interval_source), (None, None));
    for _ in 0..30 {
        let error = Inform::Error {
            message: "no answer".to_owned(),
            critical: false,
        };
        let _place = handle.inform(stage.clock.mono(), error).await;
        universe.pulse("desk");
        sleep(ms(100)).await;
    }
    assert_eq!(universe.view("desk").await.trend, Some(Trend::Erring));
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn runs_that_end_well_are_beats_and_others_are_errors() {
    let stage = Stage::new();
    let universe = stage.start(vec![learning("job", secs(30))]).await;
    let handle = universe.directory.get("job").expect("a handle");
    let end = async |failed| {
        let end = RunSign::End(RunEnd {
            failed,
            ..RunEnd::default()
        });
        let told = handle.inform(stage.clock.mono(), Inform::Run(end)).await;
        assert_eq!(told, Ok(()));
        sleep(secs(20)).await;
    };
    for _ in 0..150 {
        end(false).await;
    }
    let view = universe.view("job").await;
    assert_eq!(
        (view.interval, view.trend, view.status),
        (Some(22.0), Some(Trend::Steady), Level::Healthy)
    );
    for _ in 0..25 {
        end(true).await;
        end(false).await;
    }
    let view = universe.view("job").await;
    assert_eq!(
        (view.interval, view.trend),
        (Some(22.0), Some(Trend::Erring))
    );
}
