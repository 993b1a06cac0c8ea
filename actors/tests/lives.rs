//! A service's life through all actors, under virtual time.

use std::time::Duration;

use futures_util::FutureExt;
use supervisor_actors::handle::Inform;
use supervisor_actors::ports::{Clock, Marks as _};
use supervisor_actors::registration::Registration;
use supervisor_actors::spec::ServiceSpec;
use supervisor_actors::testing::{Script, Stage, alive, external, pulsing, settle};
use supervisor_core::view::StateWord;
use supervisor_core::{Level, ServiceName};
use tokio::time::sleep;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn every(interval: Duration) -> Script {
    Script {
        pulse_every: Some(interval),
        ..Script::default()
    }
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_started_service_that_pulses_is_running_and_healthy() {
    let stage = Stage::new();
    stage.machine.script("worker", every(secs(1)));
    let universe = stage.start(vec![pulsing("worker", secs(1))]).await;
    sleep(secs(10)).await;
    let view = universe.view("worker").await;
    assert_eq!(view.state, StateWord::Running);
    assert_eq!(view.status, Level::Healthy);
    assert_eq!(view.generation, 1);
    assert!(view.pid.is_some());
    assert_eq!(view.total_pulses, 11, "one at once, one each second");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_hung_service_is_restarted_at_its_deadline() {
    let stage = Stage::new();
    stage.machine.script("worker", every(secs(1)));
    let universe = stage.start(vec![pulsing("worker", secs(1))]).await;
    sleep(ms(2_500)).await;
    stage.machine.hang("worker");
    // The last pulse came at 2 s; critical after 5 intervals and a grace of 100 ms.
    sleep(ms(4_550)).await;
    assert_eq!(universe.view("worker").await.status, Level::Degraded);
    assert_eq!(stage.machine.launches("worker"), 1);
    sleep(ms(80)).await;
    assert_eq!(stage.machine.launches("worker"), 2);
    sleep(secs(1)).await;
    let view = universe.view("worker").await;
    assert_eq!((view.status, view.generation), (Level::Healthy, 2));
    assert_eq!(view.restarts, 1);
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_service_that_pulses_by_living_is_healthy_while_it_runs() {
    let stage = Stage::new();
    let universe = stage.start(vec![alive("web")]).await;
    sleep(secs(600)).await;
    assert_eq!(universe.view("web").await.status, Level::Healthy);
    stage.machine.exit("web", 1);
    settle().await;
    settle().await;
    let view = universe.view("web").await;
    assert_eq!((view.state, view.generation), (StateWord::Running, 2));
    assert_eq!(view.status, Level::Warning);
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn an_external_service_ages_without_being_run() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("other", secs(1))]).await;
    universe.pulse("other");
    settle().await;
    assert_eq!(universe.view("other").await.status, Level::Healthy);
    sleep(ms(1_110)).await;
    assert_eq!(universe.view("other").await.status, Level::Warning);
    sleep(secs(2)).await;
    assert_eq!(universe.view("other").await.status, Level::Degraded);
    sleep(secs(2)).await;
    assert_eq!(universe.view("other").await.status, Level::Critical);
    universe.pulse("other");
    settle().await;
    assert_eq!(universe.view("other").await.status, Level::Healthy);
    let levels: Vec<_> = universe
        .events("other")
        .await
        .into_iter()
        .filter(|event| event.kind == "level")
        .map(|event| event.to.unwrap_or_default())
        .collect();
    assert_eq!(
        levels,
        ["healthy", "warning", "degraded", "critical", "healthy"]
    );
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn pulses_and_errors_are_judged_in_the_order_of_their_receipt() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("other", secs(1))]).await;
    let other = universe.directory.get("other").expect("a handle");
    let error = || Inform::Error {
        message: "no".to_owned(),
        critical: false,
    };
    // All within one turn of this task: nobody has read the first when the last is sent.
    let at = stage.clock.mono();
    universe.pulse("other");
    universe.pulse("other");
    let mut erred = Box::pin(other.inform(at, error()));
    assert_eq!((&mut erred).now_or_never(), None);
    universe.pulse("other");
    erred.await.expect("it is recorded");
    settle().await;
    let view = universe.view("other").await;
    assert_eq!((view.total_pulses, view.error_count), (3, 1));
    assert_eq!(view.status, Level::Healthy, "a clean pulse came last");

    universe.pulse("other");
    other.inform(at, error()).await.expect("it is recorded");
    settle().await;
    let view = universe.view("other").await;
    assert_eq!((view.total_pulses, view.error_count), (4, 2));
    assert_eq!(view.status, Level::Warning, "the error came last");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn what_is_acknowledged_is_in_the_database() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("other", secs(1))]).await;
    let other = universe.directory.get("other").expect("a handle");
    for n in 1..=20 {
        universe.pulse("other");
        let error = Inform::Error {
            message: format!("error {n}"),
            critical: false,
        };
        let at = stage.clock.mono();
        other.inform(at, error).await.expect("it is recorded");
        let memory = stage.store.memory("other").expect("a memory");
        assert!(
            memory.contains(&format!("\"total_pulses\":{n},")),
            "{memory}"
        );
        let told = format!("error {n}");
        let events = stage.store.events();
        assert!(events.iter().any(|event| event.reason.contains(&told)));
    }
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn whether_a_run_is_under_way_is_seen_without_asking_and_survives_our_death() {
    use supervisor_core::run::{RunEnd, RunSign};
    let stage = Stage::new();
    let universe = stage.start(vec![external("job", secs(60))]).await;
    let handle = universe.directory.get("job").expect("watched");
    assert!(!handle.is_in_run());
    let tell = async |sign| {
        let at = stage.clock.mono();
        handle.inform(at, Inform::Run(sign)).await
    };
    assert_eq!(tell(RunSign::Start { rid: None }).await, Ok(()));
    assert!(handle.is_in_run());
    sleep(secs(5)).await;

    let next = stage.start(vec![external("job", secs(60))]).await;
    let handle = next.directory.get("job").expect("watched");
    assert!(handle.is_in_run());
    let at = stage.clock.mono();
    let end = RunSign::End(RunEnd::default());
    assert_eq!(handle.inform(at, Inform::Run(end)).await, Ok(()));
    assert!(!handle.is_in_run());
    let view = next.view("job").await;
    assert_eq!(view.last_run.expect("a run").duration, Some(5.0));
    assert_eq!((view.total_pulses, view.status), (1, Level::Healthy));
}

/// The next supervisor, so many days later on the judging clock.
async fn days_later(stage: &Stage, days: u64, specs: Vec<ServiceSpec>) {
    let mut mark = stage.marks.read().expect("a mark");
    mark.time = mark.time + secs(days * 24 * 3600);
    stage.marks.leave(&mark);
    let universe = stage.start(specs).await;
    sleep(secs(3)).await;
    universe.supervisor.shutdown(false).await;
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn who_left_the_configuration_is_remembered_for_a_week_and_then_forgotten() {
    let stage = Stage::new();
    let gone = || stage.store.memory("gone");
    let universe = stage.start(vec![alive("web"), alive("gone")]).await;
    let registration = Registration::new(ServiceName::new("agent").expect("a name"), secs(60));
    let answer = universe.supervisor.register(registration).await;
    assert!(answer.expect("an answer").is_ok());
    sleep(secs(3)).await;
    universe.supervisor.shutdown(false).await;

    let web = || vec![alive("web")];
    // That it was away for long before it was missed does not count.
    days_later(&stage, 30, web()).await;
    assert!(gone().is_some());
    days_later(&stage, 6, web()).await;
    assert!(gone().is_some());
    // Back for once, it is missed anew.
    days_later(&stage, 0, vec![alive("web"), alive("gone")]).await;
    days_later(&stage, 0, web()).await;
    days_later(&stage, 6, web()).await;
    assert!(gone().is_some());
    days_later(&stage, 2, web()).await;
    assert_eq!(gone(), None);
    assert!(stage.store.memory("web").is_some());
    assert!(stage.store.memory("agent").is_some(), "it registered");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn the_time_without_a_supervisor_is_no_lateness_of_our_own_actors() {
    let stage = Stage::new();
    stage
        .start(vec![alive("web")])
        .await
        .supervisor
        .shutdown(false)
        .await;
    days_later(&stage, 1, vec![alive("web")]).await;
    assert_eq!(stage.log.with("critical"), Vec::<String>::new());
}
