//! Services come and go while everything runs.

use std::time::Duration;

use supervisor_actors::messages::{Denied, Verb};
use supervisor_actors::ports::StoreError;
use supervisor_actors::registration::{MOST_REGISTERED, Registered, Registering, Registration};
use supervisor_actors::testing::{PausedSystem, Running, Stage, alive, external, pulsing, settle};
use supervisor_core::view::StateWord;
use supervisor_core::{Level, ServiceName};
use tokio::time::sleep;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a service's name")
}

fn says(text: &str, interval: Duration) -> Registration {
    Registration::new(name(text), interval)
}

async fn register(universe: &Running, registration: Registration) -> Result<Registering, Denied> {
    let answer = universe.supervisor.register(registration).await;
    let registered = answer.expect("the supervisor answers")?;
    assert_eq!(registered.recorded, Ok(()));
    Ok(registered.change)
}

async fn unregister(universe: &Running, text: &str) -> Result<(), Denied> {
    let answer = universe.supervisor.unregister(&name(text)).await;
    answer
        .expect("the supervisor answers")
        .map(|recorded| assert_eq!(recorded, Ok(())))
}

async fn unwatch(universe: &Running, text: &str) -> Result<(), Denied> {
    let answer = universe.supervisor.unwatch(&name(text)).await;
    answer.expect("the supervisor answers")
}

async fn names(universe: &Running) -> Vec<String> {
    let overview = universe.supervisor.overview().await.expect("an answer");
    let views = overview.services.iter();
    views
        .filter(|view| !view.name.is_internal())
        .map(|view| view.name.to_string())
        .collect()
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_service_that_registers_is_watched_judged_and_remembered() {
    let stage = Stage::new();
    let universe = stage.start(vec![alive("web")]).await;
    let late = says("late", secs(1));
    assert_eq!(
        register(&universe, late.clone()).await,
        Ok(Registering::New)
    );
    assert_eq!(
        register(&universe, late.clone()).await,
        Ok(Registering::Same)
    );
    let all = universe.supervisor.registrations().await;
    assert_eq!(all, Ok(vec![late]));
    universe.pulse("late");
    settle().await;
    assert_eq!(universe.view("late").await.status, Level::Healthy);
    assert!(stage.store.memory("late").is_some());
    sleep(Duration::from_millis(5_200)).await;
    assert_eq!(universe.view("late").await.status, Level::Critical);
    let events = universe.events("late").await;
    assert_eq!(events[0].kind, "config");
    assert_eq!(events[0].reason, "registered: every 1 s");
    assert_eq!(
        events.iter().filter(|event| event.kind == "config").count(),
        1,
        "saying the same again is no change"
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn what_a_service_says_anew_holds_from_then_on() {
    let stage = Stage::new();
    let universe = stage.start(vec![]).await;
    register(&universe, says("late", secs(100)))
        .await
        .expect("new");
    universe.pulse("late");
    sleep(secs(50)).await;
    let faster = Registration {
        critical: false,
        tags: vec!["core".to_owned()],
        ..says("late", secs(1))
    };
    assert_eq!(register(&universe, faster).await, Ok(Registering::Changed));
    let view = universe.view("late").await;
    assert_eq!(
        (view.status, view.interval, view.critical, &*view.tags),
        (Level::Healthy, Some(1.0), false, &["core".to_owned()][..]),
        "50 s of silence were none of its lateness"
    );
    assert_eq!(view.total_pulses, 1, "it is the same service");
    sleep(Duration::from_millis(5_200)).await;
    assert_eq!(universe.view("late").await.status, Level::Critical);
    let overview = universe.supervisor.overview().await.expect("an answer");
    assert_eq!(overview.overall, Level::Degraded, "it is not critical");
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_name_of_the_configuration_or_of_ours_cannot_be_taken_nor_given_up() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("other", secs(30))]).await;
    let configured = Err(Denied::Configured(name("other")));
    assert_eq!(
        register(&universe, says("other", secs(1))).await,
        configured
    );
    assert_eq!(
        unregister(&universe, "other").await,
        Err(Denied::Configured(name("other")))
    );
    let ours = name("internal.archive");
    let internal = Err(Denied::Internal(ours.clone()));
    assert_eq!(
        register(&universe, says("internal.archive", secs(1))).await,
        internal
    );
    assert_eq!(
        unregister(&universe, "internal.archive").await,
        Err(Denied::Internal(ours))
    );
    assert_eq!(
        register(&universe, says("internal.mine", secs(1))).await,
        Err(Denied::Internal(name("internal.mine")))
    );
    assert_eq!(
        unregister(&universe, "nobody").await,
        Err(Denied::Unknown("nobody".to_owned()))
    );
    let unfit = Registration {
        tags: vec!["unfit".to_owned()],
        ..says("odd", secs(1))
    };
    assert_eq!(
        register(&universe, unfit).await,
        Err(Denied::Unfit("it says so itself".to_owned()))
    );
    assert_eq!(names(&universe).await, ["other"]);
}

#[actix_rt::test(system = "PausedSystem")]
async fn one_that_leaves_is_unknown_and_forgotten() {
    let stage = Stage::new();
    let universe = stage.start(vec![alive("web")]).await;
    register(&universe, says("late", secs(1)))
        .await
        .expect("new");
    universe.pulse("late");
    settle().await;
    let handle = universe.directory.get("late").expect("it is watched");
    assert_eq!(unregister(&universe, "late").await, Ok(()));
    assert_eq!(names(&universe).await, ["web"]);
    assert!(universe.directory.get("late").is_none());
    assert!(handle.pulse(supervisor_core::Mono(0)).is_err());
    assert_eq!(stage.store.memory("late"), None);
    sleep(secs(10)).await;
    assert_eq!(
        universe.events("late").await.last().expect("events").reason,
        "no longer watched",
        "its silence is no news"
    );
    assert_eq!(stage.store.memory("late"), None);
    // One who comes again is new.
    register(&universe, says("late", secs(1)))
        .await
        .expect("new");
    assert_eq!(universe.view("late").await.total_pulses, 0);
}

#[actix_rt::test(system = "PausedSystem")]
async fn what_registered_comes_back_with_the_next_supervisor() {
    let stage = Stage::new();
    let said = Registration {
        critical: false,
        on_demand: true,
        tags: vec!["core".to_owned()],
        ..says("late", secs(7))
    };
    {
        let universe = stage.start(vec![]).await;
        register(&universe, said.clone()).await.expect("new");
        for gone in ["gone", "mine"] {
            register(&universe, says(gone, secs(1))).await.expect("new");
        }
        unregister(&universe, "gone").await.expect("it goes");
        universe.pulse("late");
        universe.pulse("mine");
        settle().await;
        universe.supervisor.shutdown(false).await;
    }
    // Meanwhile the configuration has taken one of the names.
    let universe = stage.start(vec![external("mine", secs(60))]).await;
    assert_eq!(names(&universe).await, ["mine", "late"]);
    let view = universe.view("late").await;
    assert_eq!((view.total_pulses, view.interval), (1, None), "on demand");
    assert_eq!(universe.view("mine").await.interval, Some(60.0));
    let all = universe.supervisor.registrations().await;
    assert_eq!(all, Ok(vec![said]));
    assert_eq!(
        unregister(&universe, "mine").await,
        Err(Denied::Configured(name("mine")))
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_rebuilt_supervisor_knows_who_came_and_who_went() {
    let stage = Stage::new();
    let universe = stage.start(vec![alive("web")]).await;
    for one in ["a", "b"] {
        register(&universe, says(one, secs(60))).await.expect("new");
    }
    unregister(&universe, "a").await.expect("it goes");
    stage.log.panic_at("service b heartbeat");
    universe.pulse("b");
    sleep(secs(1)).await;
    assert_eq!(stage.log.with("actor panicked").len(), 1);
    assert_eq!(names(&universe).await, ["web", "b"]);
    universe.pulse("b");
    settle().await;
    assert_eq!(universe.view("b").await.status, Level::Healthy);
    assert_eq!(unregister(&universe, "b").await, Ok(()));
    register(&universe, says("c", secs(60))).await.expect("new");
    universe.pulse("c");
    settle().await;
    assert_eq!(universe.view("c").await.total_pulses, 1);
    assert_eq!(names(&universe).await.len(), 2);
}

#[actix_rt::test(system = "PausedSystem")]
async fn numbers_are_used_again_and_nothing_that_was_said_before_counts_for_the_next() {
    let stage = Stage::new();
    let universe = stage.start(vec![alive("web")]).await;
    for round in 0..3_000 {
        let one = format!("s{round}");
        register(&universe, says(&one, secs(1))).await.expect("new");
        // Not read before it goes.
        for _ in 0..3 {
            universe.pulse(&one);
        }
        unregister(&universe, &one).await.expect("it goes");
    }
    register(&universe, says("last", secs(60)))
        .await
        .expect("new");
    settle().await;
    let view = universe.view("last").await;
    assert_eq!((view.total_pulses, view.status), (0, Level::Unknown));
    // Far fewer numbers than services: the wheel and the table are as long as the highest.
    let number = universe
        .directory
        .get("last")
        .expect("it is watched")
        .number();
    assert!(number < 100, "it has the number {number}");
}

#[actix_rt::test(system = "PausedSystem")]
async fn no_more_than_so_many_may_register() {
    let stage = Stage::new();
    let universe = stage.start(vec![]).await;
    for one in 0..MOST_REGISTERED {
        let said = says(&format!("s{one}"), secs(60));
        register(&universe, said).await.expect("new");
    }
    let full = Err(Denied::TooMany(MOST_REGISTERED));
    assert_eq!(register(&universe, says("more", secs(1))).await, full);
    // Those who are known are not shut out.
    let known = register(&universe, says("s7", secs(50))).await;
    assert_eq!(known, Ok(Registering::Changed));
    unregister(&universe, "s0").await.expect("it goes");
    let again = register(&universe, says("more", secs(1))).await;
    assert_eq!(again, Ok(Registering::New));
}

#[actix_rt::test(system = "PausedSystem")]
async fn one_that_cannot_be_recorded_is_watched_and_said_so() {
    let stage = Stage::new();
    let universe = stage.start(vec![]).await;
    let full = StoreError::Unavailable("full".to_owned());
    stage.store.fail(Some(full.clone()));
    let answer = universe.supervisor.register(says("late", secs(1))).await;
    let registered = Registered {
        change: Registering::New,
        recorded: Err(full),
    };
    assert_eq!(answer, Ok(Ok(registered)));
    universe.pulse("late");
    settle().await;
    assert_eq!(universe.view("late").await.status, Level::Healthy);
    stage.store.fail(None);
    sleep(secs(20)).await;
    let memory = stage.store.memory("late").expect("recorded later");
    assert!(memory.contains("\"registered\""), "{memory}");
    // One that goes while nothing can be written is forgotten when it can.
    stage.store.fail(Some(StoreError::Busy));
    let gone = universe.supervisor.unregister(&name("late")).await;
    assert_eq!(gone, Ok(Ok(Err(StoreError::Busy))));
    assert!(stage.store.memory("late").is_some());
    stage.store.fail(None);
    sleep(secs(20)).await;
    assert_eq!(stage.store.memory("late"), None);
}

#[actix_rt::test(system = "PausedSystem")]
async fn one_that_we_run_is_stopped_before_it_goes() {
    let stage = Stage::new();
    let universe = stage
        .start(vec![alive("web"), pulsing("worker", secs(30))])
        .await;
    assert_eq!(stage.machine.living().len(), 2);
    assert_eq!(unwatch(&universe, "worker").await, Ok(()));
    assert_eq!(stage.machine.living().len(), 1);
    assert_eq!(names(&universe).await, ["web"]);
    assert_eq!(stage.store.memory("worker"), None);
    sleep(secs(100)).await;
    assert_eq!(stage.machine.living().len(), 1, "it is not started again");
    // It may come again, and is started.
    let again = universe.supervisor.watch(pulsing("worker", secs(30))).await;
    assert_eq!(again, Ok(true));
    sleep(secs(1)).await;
    assert_eq!(stage.machine.living().len(), 2);
    assert_eq!(universe.view("worker").await.generation, 1);
}

#[actix_rt::test(system = "PausedSystem")]
async fn one_that_others_need_does_not_go_before_them() {
    let stage = Stage::new();
    let mut web = alive("web");
    web.depends_on = vec![name("db")];
    let universe = stage.start(vec![alive("db"), web]).await;
    sleep(secs(1)).await;
    let needed = Denied::Needed(name("db"), "web".to_owned());
    assert_eq!(unwatch(&universe, "db").await, Err(needed));
    assert_eq!(universe.view("db").await.state, StateWord::Running);
    assert_eq!(unwatch(&universe, "web").await, Ok(()));
    assert_eq!(unwatch(&universe, "db").await, Ok(()));
    assert_eq!(stage.machine.living(), []);
    let mut late = alive("late");
    late.depends_on = vec![name("other")];
    for spec in [alive("other"), late] {
        assert_eq!(universe.supervisor.watch(spec).await, Ok(true));
    }
    sleep(secs(1)).await;
    assert_eq!(universe.view("late").await.state, StateWord::Running);
    let denied = universe.supervisor.control(&name("db"), Verb::Start).await;
    assert_eq!(denied, Ok(Err(Denied::Unknown("db".to_owned()))));
}
