//! Faults of the catalogue that actors have to survive; each name carries its number.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use supervisor_actors::handle::{Inform, InformError};
use supervisor_actors::messages::Verb;
use supervisor_actors::ports::{Clock, StoreError};
use supervisor_actors::spec::ServiceSpec;
use supervisor_actors::testing::{
    PausedSystem, Running, Script, Stage, What, alive, external, pulsing, settle,
};
use supervisor_core::event::{Note, StartFailure, StartFault};
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

/// Services a, b, c … that pulse each second and promise to.
fn crew(stage: &Stage, count: u8) -> Vec<ServiceSpec> {
    (0..count)
        .map(|n| {
            let name = char::from(b'a' + n).to_string();
            stage.machine.script(&name, every(secs(1)));
            pulsing(&name, secs(1))
        })
        .collect()
}

fn say(message: &str) -> Inform {
    Inform::Note(Note {
        message: Some(message.to_owned()),
        ..Note::default()
    })
}

/// How many children were told to stop so far.
fn stops(stage: &Stage) -> usize {
    let stopped = |what: What| matches!(what, What::Stopped { .. });
    let journal = stage.machine.journal();
    journal.iter().filter(|act| stopped(act.what)).count()
}

async fn restarts(universe: &Running, name: &str) -> u64 {
    universe.view(name).await.restarts
}

#[actix_rt::test(system = "PausedSystem")]
async fn f20_a_start_without_room_for_a_process_is_tried_again_and_others_do_not_notice() {
    let stage = Stage::new();
    let specs = crew(&stage, 3);
    let script = Script {
        fails: Some(StartFailure {
            fault: StartFault::NoResources,
            detail: "fork: Resource temporarily unavailable".to_owned(),
        }),
        ..every(secs(1))
    };
    stage.machine.script("a", script);
    let universe = stage.start(specs).await;
    sleep(secs(5)).await;
    let view = universe.view("a").await;
    assert_eq!(view.state, StateWord::Backoff);
    assert!(
        view.reason.contains("temporarily unavailable"),
        "{}",
        view.reason
    );
    assert!(stage.machine.launches("a") >= 3, "it is tried again");
    // There is room again.
    stage.machine.script("a", every(secs(1)));
    sleep(secs(60)).await;
    assert_eq!(universe.view("a").await.status, Level::Healthy);
    for other in ["b", "c"] {
        assert_eq!(universe.view(other).await.status, Level::Healthy);
        assert_eq!(stage.machine.launches(other), 1);
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn f23_leaps_of_the_wall_clock_change_no_state() {
    let stage = Stage::new();
    let universe = stage.start(crew(&stage, 3)).await;
    sleep(secs(5)).await;
    let judged = |stage: &Stage| {
        let events = stage.store.events().into_iter();
        events
            .filter(|event| !event.service.starts_with("internal."))
            .count()
    };
    let before = judged(&stage);
    for leap in [-3_600, 10 * 365 * 86_400, -20 * 365 * 86_400] {
        stage.clock.set_wall_by(leap);
        sleep(secs(10)).await;
    }
    assert_eq!(judged(&stage), before);
    assert_eq!(universe.view("a").await.status, Level::Healthy);
    assert_eq!(stage.machine.launches("a"), 1);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f25_after_a_stall_nobody_is_poked_and_a_real_hang_is_still_caught() {
    for stall in [6, 45] {
        let stage = Stage::new();
        let universe = stage.start(crew(&stage, 8)).await;
        sleep(ms(20_300)).await;
        stage.machine.freeze(secs(stall));
        stage.machine.hang("c");
        sleep(ms(4_500)).await;
        assert_eq!(stops(&stage), 0, "nobody is poked for our absence");
        assert_eq!(universe.view("a").await.status, Level::Healthy);
        assert_eq!(stage.log.with("supervisor was stalled").len(), 1);
        // Its last pulse came 300 ms before the stall, critical is 5.1 s: at most the grace
        // of coming back is added.
        sleep(ms(300 + 100 + 20)).await;
        assert_eq!(stops(&stage), 1);
        assert_eq!(stage.machine.launches("c"), 2);
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn f25_stalls_without_end_do_not_keep_a_hang_from_being_caught() {
    let stage = Stage::new();
    let _universe = stage.start(crew(&stage, 3)).await;
    sleep(ms(10_500)).await;
    stage.machine.hang("b");
    for _ in 0..60 {
        sleep(ms(100)).await;
        stage.machine.freeze(ms(80));
    }
    assert_eq!(stage.machine.launches("b"), 2);
    assert_eq!(stage.machine.launches("a"), 1);
}

/// Runs under a system of its own, which is then dropped: as if the supervisor were killed.
fn lifetime<R>(body: impl AsyncFnOnce() -> R) -> R {
    PausedSystem::new().block_on(body())
}

#[test]
fn f28_after_a_kill_the_next_supervisor_finds_everything_as_it_was() {
    let specs = |stage: &Stage| {
        let mut specs = crew(stage, 5);
        specs.push(alive("web"));
        specs.push(external("other", secs(1)));
        specs
    };
    let stage = lifetime(async || {
        let stage = Stage::new();
        let universe = stage.start(specs(&stage)).await;
        sleep(ms(10_100)).await;
        stage.machine.hang("b");
        universe.pulse("other");
        sleep(ms(3_500)).await;
        assert_eq!(universe.view("b").await.status, Level::Degraded);
        assert_eq!(universe.view("other").await.status, Level::Degraded);
        stage
    });
    let (living, events) = (stage.machine.living(), stage.store.events());
    assert_eq!(living.len(), 6);
    for round in 0..5 {
        stage.clock.freeze(secs(20));
        lifetime(async || {
            let universe = stage.start(specs(&stage)).await;
            assert_eq!(universe.view("b").await.status, Level::Degraded);
            assert_eq!(universe.view("other").await.status, Level::Degraded);
            sleep(ms(200)).await;
            assert_eq!(universe.view("a").await.status, Level::Healthy);
            assert_eq!(universe.view("web").await.status, Level::Healthy);
        });
        assert_eq!(stage.machine.living(), living, "round {round}");
        assert!(!stage.machine.ever_doubled());
        let levels = |events: &[supervisor_actors::ports::EventRow]| {
            events.iter().filter(|event| event.kind == "level").count()
        };
        assert_eq!(levels(&stage.store.events()), levels(&events));
    }
    // The hang goes on being one: caught as soon as its time is up, our absences left out, and
    // with them what passed after the last mark.
    lifetime(async || {
        let universe = stage.start(specs(&stage)).await;
        sleep(ms(2_800)).await;
        assert_eq!(stage.machine.launches("b"), 2);
        assert_eq!(universe.view("b").await.generation, 2);
        assert_eq!(universe.view("b").await.status, Level::Healthy);
    });
    assert!(!stage.machine.ever_doubled());
}

#[test]
fn f28_an_exit_while_nobody_watched_is_learnt_with_its_code() {
    let stage = lifetime(async || {
        let stage = Stage::new();
        let _universe = stage.start(vec![alive("web")]).await;
        sleep(secs(90)).await;
        stage
    });
    stage.machine.exit("web", 7);
    lifetime(async || {
        let universe = stage.start(vec![alive("web")]).await;
        sleep(secs(1)).await;
        assert_eq!(universe.view("web").await.generation, 2);
        let events = universe.events("web").await;
        let exits: Vec<_> = events
            .iter()
            .filter(|event| event.kind == "exited")
            .collect();
        assert_eq!(exits.len(), 1);
        assert!(exits[0].reason.contains("code 7"), "{}", exits[0].reason);
    });
    assert_eq!(stage.machine.launches("web"), 2);
}

#[test]
fn f28_a_heartbeat_of_25_hours_survives_a_restart() {
    let hours = |hours: u64| secs(hours * 3_600);
    let specs = || vec![external("backup", hours(25))];
    let stage = lifetime(async || {
        let stage = Stage::new();
        let universe = stage.start(specs()).await;
        universe.pulse("backup");
        sleep(hours(10)).await;
        stage
    });
    stage.clock.freeze(hours(2));
    lifetime(async || {
        let universe = stage.start(specs()).await;
        let view = universe.view("backup").await;
        assert_eq!((view.status, view.total_pulses), (Level::Healthy, 1));
        assert_eq!(view.age.map(f64::round), Some(12.0 * 3_600.0));
        // 25 hours and a tenth, of which 10 had passed while we watched.
        sleep(ms(17 * 3_600_000 + 1_795_000)).await;
        assert_eq!(universe.view("backup").await.status, Level::Healthy);
        sleep(secs(10)).await;
        assert_eq!(universe.view("backup").await.status, Level::Warning);
    });
}

#[actix_rt::test(system = "PausedSystem")]
async fn f29_a_panicked_service_actor_is_rebuilt_and_counted() {
    let stage = Stage::new();
    let mut script = every(secs(1));
    script.launch_panics = true;
    stage.machine.script("worker", script);
    let specs = vec![pulsing("worker", secs(1)), external("other", secs(1))];
    let universe = stage.start(specs).await;
    stage.machine.script("worker", every(secs(1)));
    sleep(secs(3)).await;
    let view = universe.view("worker").await;
    assert_eq!(
        (view.state, view.status),
        (StateWord::Running, Level::Healthy)
    );
    assert_eq!(stage.machine.living().len(), 1);
    let said = stage.log.with("actor panicked");
    assert!(said[0].contains("the launch was told to panic"), "{said:?}");
    assert!(said[0].contains("service worker"), "{said:?}");
    assert_eq!(
        restarts(&universe, "internal.services").await,
        said.len() as u64
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn f29_a_panicked_supervisor_is_rebuilt_and_starts_nothing_twice() {
    let stage = Stage::new();
    let mut specs = crew(&stage, 5);
    specs.push(external("other", secs(1)));
    let universe = stage.start(specs).await;
    sleep(ms(5_200)).await;
    universe.pulse("other");
    stage.machine.hang("b");
    sleep(ms(1_000)).await;
    let (living, pulses) = (
        stage.machine.living(),
        universe.view("a").await.total_pulses,
    );
    stage.dice.panic_once();
    // Somebody reports an error, the supervisor dies of it; it is not on record.
    let other = universe.directory.get("other").expect("a handle");
    let error = Inform::Error {
        message: "deadly".to_owned(),
        critical: false,
    };
    let answer = other.inform(stage.clock.mono(), error).await;
    assert_eq!(answer, Err(InformError::Closed));
    settle().await;
    settle().await;
    assert_eq!(stage.machine.living(), living);
    assert_eq!(stage.log.with("actor panicked").len(), 1);
    assert_eq!(restarts(&universe, "internal.supervisor").await, 1);
    let view = universe.view("a").await;
    assert_eq!((view.state, view.generation), (StateWord::Running, 1));
    assert!(view.total_pulses >= pulses);
    // What hung before is caught after, at its time and one grace.
    assert_eq!(stage.machine.launches("b"), 1);
    sleep(ms(4_020)).await;
    assert_eq!(stage.machine.launches("b"), 2);
    assert_eq!(stage.machine.launches("a"), 1);
    assert!(!stage.machine.ever_doubled());
    assert!(universe.supervisor.is_alive(stage.clock.mono()));
    other.pulse(stage.clock.mono()).expect("it is taken");
    settle().await;
    assert_eq!(universe.view("other").await.status, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f29_a_panicked_archive_deacon_or_guardian_is_rebuilt_and_counted() {
    let stage = Stage::new();
    let universe = stage.start(crew(&stage, 2)).await;
    sleep(secs(2)).await;

    stage.log.panic_at("storage unavailable");
    stage
        .store
        .fail(Some(StoreError::Unavailable("disk full".to_owned())));
    sleep(secs(3)).await;
    stage.store.fail(None);
    sleep(secs(10)).await;
    assert_eq!(restarts(&universe, "internal.archive").await, 1);
    let memory = stage.store.memory("a").expect("a memory is written again");
    sleep(secs(2)).await;
    assert_ne!(stage.store.memory("a"), Some(memory));

    stage.log.panic_at("deacon heartbeat cannot be written");
    stage.deacon.fail(true);
    sleep(secs(31)).await;
    stage.deacon.fail(false);
    let written = stage.deacon.written();
    sleep(secs(31)).await;
    assert_eq!(restarts(&universe, "internal.deacon").await, 1);
    assert!(stage.deacon.written() > written);

    // The guardian dies while it deals with a dead supervisor: both stand again.
    stage.log.panic_at("actor panicked");
    stage.dice.panic_once();
    // Plain pulses need no decision.
    stage.machine.exit("b", 1);
    sleep(secs(2)).await;
    assert_eq!(restarts(&universe, "internal.guardian").await, 1);
    assert_eq!(restarts(&universe, "internal.supervisor").await, 1);
    assert_eq!(universe.view("a").await.status, Level::Healthy);
    assert_eq!(stage.machine.launches("a"), 1);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f29_an_actor_that_always_panics_is_rebuilt_three_times_a_minute_at_most() {
    let stage = Stage::new();
    let mut script = every(secs(1));
    script.launch_panics = true;
    stage.machine.script("worker", script);
    let mut spec = pulsing("worker", secs(1));
    let mut policy = spec.policy.as_ref().clone();
    policy.backoff = supervisor_core::backoff::Backoff::new(ms(10), ms(10), 1.0, 0.0, secs(60))
        .expect("a backoff");
    policy.intensity = supervisor_core::backoff::Intensity::new(1_000, secs(60)).expect("a limit");
    spec.policy = Arc::new(policy);
    let _universe = stage.start(vec![spec, external("other", secs(1))]).await;
    sleep(secs(55)).await;
    assert_eq!(stage.log.with("actor panicked").len(), 4);
    sleep(secs(60)).await;
    assert!(stage.log.with("actor panicked").len() <= 8);
    stage.machine.script("worker", every(secs(1)));
    sleep(secs(70)).await;
    assert_eq!(stage.machine.living().len(), 1);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f30_a_handler_that_blocks_does_not_keep_others_from_being_aged() {
    let stage = Stage::new();
    let mut specs = crew(&stage, 6);
    let mut blocking = every(secs(1));
    blocking.launch_blocks = secs(3);
    stage.machine.script("slow", blocking);
    specs.push(pulsing("slow", secs(1)));
    let universe = stage.start(specs).await;
    sleep(ms(10_200)).await;
    // The last pulse of c came at 10 s; meanwhile the start of another blocks the thread.
    stage.machine.hang("c");
    let hung = stage.clock.mono();
    stage.machine.exit("slow", 1);
    // A second of the stall may pass before a tick is due that is late.
    sleep(ms(3_850)).await;
    assert_eq!(stops(&stage), 0);
    sleep(ms(1_170)).await;
    let journal = stage.machine.journal();
    let stopped: Vec<_> = journal
        .iter()
        .filter(|act| matches!(act.what, What::Stopped { .. }))
        .collect();
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    assert_eq!(stopped[0].name, "c");
    // 5.1 s after its pulse and the 3 s that we stood still.
    assert!(stopped[0].at.since(hung) <= ms(4_900 + 3_000 + 120));
    assert_eq!(universe.view("a").await.status, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f31_a_full_mailbox_refuses_and_counts_and_tells() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("chatty", secs(1))]).await;
    universe.pulse("chatty");
    settle().await;
    let handle = universe.directory.get("chatty").expect("a handle");
    let at = stage.clock.mono();
    let answers = join_all((0..1_000).map(|n| {
        let handle = handle.clone();
        async move { handle.inform(at, say(&format!("message {n}"))).await }
    }))
    .await;
    let refused = answers
        .iter()
        .filter(|answer| **answer == Err(InformError::Full));
    let refused = refused.count();
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(taken + refused, 1_000);
    assert!((16..=128).contains(&taken), "{taken} were taken");
    assert_eq!(universe.supervisor.refused(), refused as u64);
    assert_eq!(universe.view("chatty").await.total_pulses, 1 + taken as u64);
    sleep(secs(2)).await;
    assert_eq!(stage.log.with("messages refused").len(), 1);
    assert_eq!(handle.inform(at, say("later")).await, Ok(()));
}

#[actix_rt::test(system = "PausedSystem")]
async fn f31_a_flood_of_plain_pulses_is_folded_and_counted_exactly() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("flood", secs(1))]).await;
    for _ in 0..100 {
        for _ in 0..1_000 {
            universe.pulse("flood");
        }
        tokio::task::yield_now().await;
    }
    settle().await;
    let view = universe.view("flood").await;
    assert_eq!(view.total_pulses, 100_000);
    assert_eq!(view.status, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f37_with_a_full_disk_supervision_goes_on_and_history_marks_the_gap() {
    let stage = Stage::new();
    let mut specs = crew(&stage, 2);
    specs.push(external("other", secs(1)));
    let universe = stage.start(specs).await;
    let other = universe.directory.get("other").expect("a handle");
    assert_eq!(
        other.inform(stage.clock.mono(), say("before")).await,
        Ok(())
    );
    let full = StoreError::Unavailable("disk full".to_owned());
    stage.store.fail(Some(full.clone()));
    for _ in 0..3 {
        let answer = other.inform(stage.clock.mono(), say("lost")).await;
        assert_eq!(answer, Err(InformError::NotRecorded(full.clone())));
    }
    // It counts as life all the same.
    assert_eq!(universe.view("other").await.total_pulses, 4);
    let overview = universe.supervisor.overview().await.expect("an overview");
    assert!(
        overview
            .storage
            .expect_err("it says so")
            .contains("disk full")
    );
    stage.machine.hang("a");
    sleep(secs(8)).await;
    assert_eq!(stage.machine.launches("a"), 2);
    assert_eq!(universe.view("a").await.status, Level::Healthy);
    assert_eq!(stage.log.with("storage unavailable").len(), 1);
    // A supervisor that is rebuilt meanwhile knows it, too.
    stage.dice.panic_once();
    stage.machine.exit("b", 1);
    sleep(secs(1)).await;
    assert_eq!(stage.log.with("actor panicked").len(), 1);
    let overview = universe.supervisor.overview().await.expect("an overview");
    assert!(overview.storage.is_err());
    let before = stage.store.events().len();

    stage.store.fail(None);
    sleep(secs(10)).await;
    let events = stage.store.events();
    let gap = events
        .iter()
        .find(|event| event.to.as_deref() == Some("gap"));
    let gap = gap.expect("the gap is marked");
    assert!(
        gap.reason.contains("3 messages were refused"),
        "{}",
        gap.reason
    );
    // What had only been delayed is there, too.
    let restarted = |event: &&supervisor_actors::ports::EventRow| event.kind == "restarted";
    assert!(events[before..].iter().any(|event| restarted(&event)));
    let overview = universe.supervisor.overview().await.expect("an overview");
    assert_eq!(overview.storage, Ok(()));
    assert_eq!(other.inform(stage.clock.mono(), say("after")).await, Ok(()));
}

#[actix_rt::test(system = "PausedSystem")]
async fn f37_a_shutdown_right_after_the_disk_has_room_again_is_recorded() {
    let stage = Stage::new();
    let universe = stage.start(crew(&stage, 2)).await;
    stage
        .store
        .fail(Some(StoreError::Unavailable("disk full".to_owned())));
    stage.machine.exit("a", 1);
    // By now the attempts are seconds apart.
    sleep(Duration::from_millis(8_600)).await;
    stage.store.fail(None);
    universe.supervisor.shutdown(false).await;
    let events = stage.store.events();
    let stopped = |name: &str| {
        events
            .iter()
            .any(|event| event.service == name && event.to.as_deref() == Some("stopped"))
    };
    assert!(stopped("a") && stopped("b"), "{events:?}");
}

#[actix_rt::test(system = "PausedSystem")]
async fn f37_while_the_disk_is_full_memory_stays_bounded() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("other", secs(1))]).await;
    let other = universe.directory.get("other").expect("a handle");
    stage
        .store
        .fail(Some(StoreError::Unavailable("disk full".to_owned())));
    for _ in 0..10_100 {
        let error = Inform::Error {
            message: "again".to_owned(),
            critical: false,
        };
        let answer = other.inform(stage.clock.mono(), error).await;
        assert!(matches!(answer, Err(InformError::NotRecorded(_))));
    }
    stage.store.fail(None);
    sleep(secs(10)).await;
    let events = stage.store.events();
    let gap = events
        .iter()
        .find(|event| event.to.as_deref() == Some("gap"));
    let gap = &gap.expect("the gap is marked").reason;
    assert!(gap.contains("10100 messages were refused"), "{gap}");
    assert!(!gap.contains(" 0 events are lost"), "{gap}");
    assert!(events.len() <= 10_100, "{}", events.len());
}

#[actix_rt::test(system = "PausedSystem")]
async fn f18_one_that_dies_while_it_is_stopped_is_not_restarted() {
    let stage = Stage::new();
    let mut script = every(secs(1));
    script.ignores_stop = true;
    stage.machine.script("worker", script);
    let universe = stage.start(vec![pulsing("worker", secs(1))]).await;
    sleep(secs(3)).await;
    let name = ServiceName::new("worker").expect("a name");
    let view = universe.supervisor.control(&name, Verb::Stop).await;
    let view = view.expect("an answer").expect("it is allowed");
    assert_eq!(view.state, StateWord::Stopping);
    sleep(secs(2)).await;
    stage.machine.exit("worker", 3);
    sleep(secs(60)).await;
    let view = universe.view("worker").await;
    assert_eq!(
        (view.state, view.status),
        (StateWord::Stopped, Level::Unknown)
    );
    assert_eq!(stage.machine.launches("worker"), 1);
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn ten_thousand_transitions_in_one_instant_are_all_recorded_however_slow_the_disk() {
    const COUNT: usize = 10_000;
    let stage = Stage::new();
    let names: Vec<String> = (0..COUNT).map(|n| format!("s{n}")).collect();
    let specs = names.iter().map(|name| external(name, secs(10)));
    let universe = stage.start(specs.collect()).await;
    names.iter().for_each(|name| universe.pulse(name));
    settle().await;
    for name in [&names[0], &names[COUNT - 1]] {
        assert_eq!(universe.view(name).await.status, Level::Healthy, "{name}");
    }
    // All of them are late in the same millisecond, and nothing else happens.
    stage.store.delay(Duration::from_millis(30));
    sleep(Duration::from_millis(11_500)).await;
    let warned = || {
        let events = stage.store.events().into_iter();
        let warned =
            events.filter(|row| row.kind == "level" && row.to.as_deref() == Some("warning"));
        let mut ids: Vec<i64> = warned.clone().map(|row| row.id).collect();
        ids.dedup();
        (warned.count(), ids.len())
    };
    // Real time passes for the store's thread and virtual time does not: no timer wakes anybody.
    for _ in 0..20_000 {
        if warned().0 == COUNT {
            break;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(warned(), (COUNT, COUNT));
}
