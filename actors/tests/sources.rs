//! What a source hears reaches the supervisor, in order and for the right life.

use std::sync::Arc;
use std::time::Duration;

use supervisor_actors::ports::output::{Hearing, More};
use supervisor_actors::source::{Heard, Life, Source};
use supervisor_actors::spec::ServiceSpec;
use supervisor_actors::testing::{FakeSource, Script, Stage, alive, external, pulsing, settle};
use supervisor_core::Level;
use supervisor_core::event::{Generation, Note};
use supervisor_core::view::StateWord;
use tokio::time::sleep;

fn with(mut spec: ServiceSpec, source: &FakeSource) -> ServiceSpec {
    spec.sources.push(Arc::new(source.clone()));
    spec
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_source_is_told_each_life_and_gives_each_process_its_variables() {
    let stage = Stage::new();
    let source = FakeSource::with_environment(&[("NOTIFY_SOCKET", "@x")]);
    let universe = stage.start(vec![with(alive("web"), &source)]).await;
    assert_eq!(
        stage.machine.environment("web"),
        [("NOTIFY_SOCKET".to_owned(), "@x".to_owned())]
    );
    let pid = universe.view("web").await.pid.expect("it runs");
    stage.machine.exit("web", 1);
    sleep(second()).await;
    let (first, second) = (Generation(1), Generation(2));
    let again = universe.view("web").await.pid.expect("it runs again");
    assert_eq!(
        source.lives(),
        [
            Life::Starting { generation: first },
            Life::Started {
                generation: first,
                pid
            },
            Life::Ended { generation: first },
            Life::Starting { generation: second },
            Life::Started {
                generation: second,
                pid: again
            },
        ]
    );
}

#[test]
fn a_life_that_outlived_us_is_told_to_the_sources_as_started() {
    use supervisor_actors::testing::PausedSystem;
    let source = FakeSource::default();
    let kept = PausedSystem::new().block_on(async {
        let stage = Stage::new();
        stage.start(vec![with(alive("web"), &source)]).await;
        stage
    });
    assert_eq!(
        source.opened_and_dropped(),
        (1, 1),
        "it ends with its actor"
    );
    PausedSystem::new().block_on(async {
        let source = FakeSource::default();
        let universe = kept.start(vec![with(alive("web"), &source)]).await;
        let pid = universe.view("web").await.pid.expect("it lives");
        let generation = Generation(1);
        assert_eq!(source.lives(), [Life::Started { generation, pid }]);
    });
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn what_a_source_hears_is_judged_in_its_order() {
    let stage = Stage::new();
    let source = FakeSource::default();
    let universe = stage
        .start(vec![with(external("other", second()), &source)])
        .await;
    let ear = source.ear();
    ear.pulse();
    assert!(ear.error("disk full", false));
    settle().await;
    assert_eq!(universe.view("other").await.status, Level::Warning);
    // The pulse comes after the error, so it is the one that counts.
    assert!(ear.error("disk full", false));
    ear.pulses(3);
    settle().await;
    let view = universe.view("other").await;
    assert_eq!((view.status, view.error_count), (Level::Healthy, 2));
    assert_eq!(view.total_pulses, 4);
    assert!(ear.note(Note {
        message: Some("all well".to_owned()),
        ..Note::default()
    }));
    assert!(ear.probe_failed("refused", true));
    settle().await;
    let view = universe.view("other").await;
    assert_eq!((view.status, view.total_pulses), (Level::Warning, 5));
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn an_ear_of_an_older_life_is_not_listened_to() {
    let stage = Stage::new();
    stage.machine.script("worker", Script::default());
    let source = FakeSource::default();
    let universe = stage
        .start(vec![with(pulsing("worker", second()), &source)])
        .await;
    let old = source.ear().of(Generation(1));
    old.pulse();
    settle().await;
    assert_eq!(universe.view("worker").await.state, StateWord::Running);
    stage.machine.exit("worker", 0);
    settle().await;
    settle().await;
    assert_eq!(universe.view("worker").await.generation, 2);
    old.pulse();
    old.error("from the grave", true);
    old.note(Note::default());
    settle().await;
    let view = universe.view("worker").await;
    assert_eq!((view.state, view.total_pulses), (StateWord::Starting, 1));
    assert_eq!(view.error_count, 0);
    source.ear().of(Generation(2)).pulse();
    settle().await;
    assert_eq!(universe.view("worker").await.state, StateWord::Running);
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn what_does_not_find_a_place_is_lost_but_never_the_life_in_it() {
    let stage = Stage::new();
    let source = FakeSource::default();
    let universe = stage
        .start(vec![with(external("other", second()), &source)])
        .await;
    let ear = source.ear();
    let taken = (0..1_000).filter(|_| ear.note(Note::default())).count();
    assert!((100..1_000).contains(&taken), "{taken} were taken");
    settle().await;
    assert_eq!(universe.view("other").await.total_pulses, 1_000);
    assert!(universe.supervisor.refused() > 0);
    assert!(ear.note(Note::default()), "their places are free again");
}

#[test]
fn sources_are_compared_as_configurations() {
    let (one, other) = (FakeSource::default(), FakeSource::default());
    let of = |source: &FakeSource| Arc::new(source.clone()) as Arc<dyn Source>;
    assert_eq!(with(alive("a"), &one), with(alive("a"), &one));
    assert_ne!(with(alive("a"), &one), with(alive("a"), &other));
    assert!(*of(&one) == *of(&one));
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn what_a_process_prints_is_judged_before_its_end() {
    let stage = Stage::new();
    let source = FakeSource::with_hearing(Hearing::Lines);
    let universe = stage
        .start(vec![with(pulsing("worker", second()), &source)])
        .await;
    let print = |lines: &[&str]| stage.machine.print("worker", lines, More::default());
    assert_eq!(print(&["first"]), Some(Hearing::Lines));
    settle().await;
    let view = universe.view("worker").await;
    assert_eq!((view.state, view.total_pulses), (StateWord::Running, 1));
    // At once, one after the other.
    print(&["row 6", "row 7"]);
    stage.machine.exit("worker", 1);
    settle().await;
    let view = universe.view("worker").await;
    assert_eq!(view.total_pulses, 3);
    assert_eq!(view.message.as_deref(), Some("row 7"));
    assert_eq!(view.error_count, 0);
    let events = universe.events("worker").await;
    assert!(events.iter().any(|event| event.kind == "exited"));
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn lines_that_are_counted_are_as_many_pulses_and_more_are_asked_for() {
    let stage = Stage::new();
    let source = FakeSource::with_hearing(Hearing::Count);
    let universe = stage
        .start(vec![with(pulsing("worker", second()), &source)])
        .await;
    let (given_back, mut wait) = tokio::sync::oneshot::channel::<()>();
    let more = More::new(move || drop(given_back));
    stage.machine.print("worker", &["a", "b", "c"], more);
    settle().await;
    assert_eq!(universe.view("worker").await.total_pulses, 3);
    assert_eq!(
        wait.try_recv(),
        Err(tokio::sync::oneshot::error::TryRecvError::Closed),
        "it was dealt with"
    );
}

#[test]
fn a_process_that_outlived_us_is_heard_on() {
    use supervisor_actors::testing::PausedSystem;
    let kept = PausedSystem::new().block_on(async {
        let stage = Stage::new();
        let deaf = FakeSource::default();
        stage
            .start(vec![with(pulsing("worker", second()), &deaf)])
            .await;
        assert_eq!(
            stage.machine.print("worker", &["x"], More::default()),
            None,
            "nobody wants it"
        );
        stage
    });
    PausedSystem::new().block_on(async {
        let source = FakeSource::with_hearing(Hearing::Lines);
        let universe = kept
            .start(vec![with(pulsing("worker", second()), &source)])
            .await;
        kept.machine.print("worker", &["here"], More::default());
        settle().await;
        let view = universe.view("worker").await;
        assert_eq!(view.message.as_deref(), Some("here"));
    });
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_service_that_is_stopped_may_ask_for_more_time_and_not_for_ever() {
    let stage = Stage::new();
    let script = Script {
        pulse_every: Some(second() / 2),
        stop_after: Duration::from_secs(3_600),
        ..Script::default()
    };
    stage.machine.script("worker", script);
    let source = FakeSource::default();
    let universe = stage
        .start(vec![with(pulsing("worker", second()), &source)])
        .await;
    let ear = source.ear();
    ear.heard(Heard::Extend(Duration::from_secs(7)));
    settle().await;
    let extended = || stage.machine.extended("worker");
    assert_eq!(extended(), Duration::ZERO, "nothing is being stopped");
    let name = supervisor_core::ServiceName::new("worker").expect("a name");
    let stop = supervisor_actors::messages::Verb::Stop;
    let answer = universe.supervisor.control(&name, stop).await;
    answer.expect("it answers").expect("it is granted");
    settle().await;
    assert_eq!(universe.view("worker").await.state, StateWord::Stopping);
    ear.heard(Heard::Extend(Duration::from_secs(7)));
    settle().await;
    assert_eq!(extended(), Duration::from_secs(7));
    // Half an hour is `max_busy`: so long in all.
    sleep(Duration::from_secs(25 * 60)).await;
    ear.heard(Heard::Extend(Duration::from_secs(3_600)));
    settle().await;
    let left = extended();
    assert!(
        left < Duration::from_secs(5 * 60) && left > Duration::from_secs(4 * 60),
        "{left:?}"
    );
}
