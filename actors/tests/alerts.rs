//! Alerts from end to end: services go bad, sinks hear of it.

use std::time::Duration;

use supervisor_actors::messages::{OpenWindow, Verb};
use supervisor_actors::ports::{Clock as _, StoreError};
use supervisor_actors::spec::ServiceSpec;
use supervisor_actors::testing::{PausedSystem, Script, Stage, pulsing, settle};
use supervisor_core::alert::{AlertId, Pattern};
use supervisor_core::{Level, ServiceName, Timestamp};
use tokio::time::sleep;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn crew(stage: &Stage, names: &[&str]) -> Vec<ServiceSpec> {
    let every_second = Script {
        pulse_every: Some(secs(1)),
        ..Script::default()
    };
    let one = |name: &&str| {
        stage.machine.script(name, every_second.clone());
        pulsing(name, secs(1))
    };
    names.iter().map(one).collect()
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_hang_is_told_once_with_its_reason_and_its_end() {
    let stage = Stage::new();
    let mut specs = crew(&stage, &["worker", "other", "third"]);
    // Nothing restarts it, so that it stays as it is.
    let mut policy = (*specs[0].policy).clone();
    policy.poke_on.stale = false;
    specs[0].policy = std::sync::Arc::new(policy);
    let universe = stage.start(specs).await;
    sleep(secs(10)).await;
    stage.machine.hang("worker");
    sleep(secs(60)).await;
    assert_eq!(
        stage.ops.got(),
        ["firing worker critical"],
        "it went from warning to critical while it was pending"
    );
    let notice = &stage.ops.notices()[0];
    assert!(
        notice.alert.reason.starts_with("no pulse for "),
        "{}",
        notice.alert.reason
    );
    let open = universe.alerts.open().await.unwrap();
    assert_eq!(open.len(), 1);
    let why = universe.alerts.why(open[0].id).await.unwrap().unwrap();
    assert!(why.iter().any(|line| line.contains("taken")), "{why:?}");
    stage.machine.wake("worker");
    sleep(secs(10)).await;
    assert_eq!(
        stage.ops.got(),
        ["firing worker critical", "resolved worker healthy"]
    );
    assert_eq!(stage.log_sink.got(), stage.ops.got());
    assert_eq!(stage.alerts.waiting(), 0, "what was taken is not kept");
    let events = universe.events("worker").await;
    let words: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "alert")
        .filter_map(|event| event.to.as_deref())
        .collect();
    assert_eq!(words, ["pending", "firing", "resolved"]);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_restart_that_helps_within_group_wait_wakes_nobody() {
    let stage = Stage::new();
    let universe = stage
        .start(crew(&stage, &["worker", "other", "third"]))
        .await;
    sleep(secs(10)).await;
    stage.machine.hang("worker");
    sleep(secs(60)).await;
    assert!(universe.view("worker").await.restarts > 0);
    let got = stage.ops.got();
    assert!(got.is_empty(), "{got:?}");
}

#[actix_rt::test(system = "PausedSystem")]
async fn while_a_parent_is_down_its_children_are_silent() {
    let stage = Stage::new();
    let names: Vec<String> = (0..50).map(|n| format!("child{n}")).collect();
    let mut all: Vec<&str> = vec!["parent"];
    all.extend(names.iter().map(String::as_str));
    let mut specs = crew(&stage, &all);
    for spec in &mut specs {
        let mut policy = (*spec.policy).clone();
        policy.poke_on.stale = false;
        spec.policy = std::sync::Arc::new(policy);
    }
    for child in &mut specs[1..] {
        child.depends_on = vec![supervisor_core::ServiceName::new("parent").unwrap()];
    }
    let universe = stage.start(specs).await;
    sleep(secs(10)).await;
    for name in &all {
        stage.machine.hang(name);
    }
    sleep(secs(60)).await;
    assert_eq!(stage.ops.got(), ["firing parent critical"]);
    let open = universe.alerts.open().await.unwrap();
    assert_eq!(open.len(), 51);
    for name in &all {
        stage.machine.wake(name);
    }
    sleep(secs(20)).await;
    assert_eq!(
        stage.ops.got(),
        ["firing parent critical", "resolved parent healthy"]
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn f57_a_sink_that_hangs_fails_or_panics_holds_up_no_other() {
    for trouble in ["hang", "refuse", "panic"] {
        let stage = Stage::new();
        match trouble {
            "hang" => stage.ops.hang(),
            "refuse" => stage.ops.refuse("HTTP 500"),
            _ => stage.ops.panic(),
        }
        let mut specs = crew(&stage, &["worker", "other", "third"]);
        let mut policy = (*specs[0].policy).clone();
        policy.poke_on.stale = false;
        specs[0].policy = std::sync::Arc::new(policy);
        let _universe = stage.start(specs).await;
        sleep(secs(10)).await;
        stage.machine.hang("worker");
        sleep(secs(20)).await;
        assert_eq!(
            stage.log_sink.got(),
            ["firing worker critical"],
            "{trouble}"
        );
        assert_eq!(stage.ops.got(), [""; 0]);
        assert_eq!(stage.alerts.waiting(), 1, "it is kept on disk");
        sleep(secs(10 * 60)).await;
        assert!(
            stage
                .log_sink
                .got()
                .contains(&"firing sink ops critical".to_owned()),
            "{trouble}: {:?}",
            stage.log_sink.got()
        );
        stage.ops.accept();
        sleep(secs(10 * 60)).await;
        assert_eq!(stage.ops.got(), ["firing worker critical"], "{trouble}");
        assert!(
            stage
                .log_sink
                .got()
                .contains(&"resolved sink ops critical".to_owned()),
            "{trouble}: {:?}",
            stage.log_sink.got()
        );
        assert_eq!(stage.alerts.waiting(), 0);
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn what_a_sink_refuses_for_good_is_dropped_with_a_word() {
    let stage = Stage::new();
    stage.ops.refuse_for_good("HTTP 404: no such webhook");
    let mut specs = crew(&stage, &["worker", "other", "third"]);
    let mut policy = (*specs[0].policy).clone();
    policy.poke_on.stale = false;
    specs[0].policy = std::sync::Arc::new(policy);
    let universe = stage.start(specs).await;
    sleep(secs(10)).await;
    stage.machine.hang("worker");
    sleep(secs(30)).await;
    assert_eq!(stage.alerts.waiting(), 0);
    let events = universe.events("internal.alerter").await;
    assert!(
        events
            .iter()
            .any(|event| event.reason.contains("no such webhook")),
        "{events:?}"
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn f37_a_full_disk_keeps_no_alert_back() {
    let stage = Stage::new();
    let full = StoreError::Unavailable("disk full".to_owned());
    let mut specs = crew(&stage, &["worker", "other", "third"]);
    let mut policy = (*specs[0].policy).clone();
    policy.poke_on.stale = false;
    specs[0].policy = std::sync::Arc::new(policy);
    let _universe = stage.start(specs).await;
    sleep(secs(10)).await;
    stage.alerts.fail(Some(full.clone()));
    stage.store.fail(Some(full));
    stage.machine.hang("worker");
    sleep(secs(60)).await;
    let mut got = stage.ops.got();
    got.sort();
    assert_eq!(
        got,
        [
            "firing supervisor: records degraded",
            "firing worker critical"
        ]
    );
    stage.alerts.fail(None);
    stage.store.fail(None);
    stage.machine.wake("worker");
    sleep(secs(60)).await;
    let mut rest = stage.ops.got().split_off(2);
    rest.sort();
    assert_eq!(
        rest,
        [
            "resolved supervisor: records degraded",
            "resolved worker healthy"
        ]
    );
    assert_eq!(stage.alerts.waiting(), 0);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f25_our_own_stall_is_one_alert_about_ourselves() {
    let stage = Stage::new();
    let _universe = stage
        .start(crew(&stage, &["worker", "other", "third"]))
        .await;
    sleep(secs(10)).await;
    stage.clock.freeze(secs(60));
    stage.machine.freeze(secs(60));
    sleep(secs(30)).await;
    stage.clock.freeze(secs(10));
    stage.machine.freeze(secs(10));
    sleep(secs(120)).await;
    assert_eq!(stage.ops.got(), [""; 0]);
    assert_eq!(
        stage.log_sink.got(),
        [
            "firing supervisor: stalled warning",
            "resolved supervisor: stalled warning"
        ]
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn who_takes_an_alert_is_told_to_the_sinks() {
    let stage = Stage::new();
    let mut specs = crew(&stage, &["worker", "other", "third"]);
    let mut policy = (*specs[0].policy).clone();
    policy.poke_on.stale = false;
    specs[0].policy = std::sync::Arc::new(policy);
    let universe = stage.start(specs).await;
    sleep(secs(10)).await;
    stage.machine.hang("worker");
    sleep(secs(30)).await;
    let id = universe.alerts.open().await.unwrap()[0].id;
    let taken = universe
        .alerts
        .acknowledge(id, "ann".into(), "on it".into());
    assert!(taken.await.unwrap().is_ok());
    settle().await;
    sleep(secs(1)).await;
    assert_eq!(
        stage.ops.got(),
        ["firing worker critical", "acknowledged worker critical"]
    );
    let none = universe
        .alerts
        .acknowledge(AlertId(99), "ann".into(), String::new());
    assert!(none.await.unwrap().is_err());
    let test = universe.alerts.test("ops".into()).await.unwrap();
    assert_eq!(test, Some(Ok(())));
    let nobody = universe.alerts.test("nobody".into()).await.unwrap();
    assert_eq!(nobody, None);
    let _ = stage.clock.mono();
}

#[actix_rt::test(system = "PausedSystem")]
async fn nothing_is_sent_before_it_is_kept_not_even_what_comes_during_a_commit() {
    let stage = Stage::new();
    let mut specs = crew(&stage, &["worker", "other", "third", "fourth", "fifth"]);
    let mut policy = (*specs[0].policy).clone();
    policy.poke_on.stale = false;
    let policy = std::sync::Arc::new(policy);
    specs[0].policy = std::sync::Arc::clone(&policy);
    specs[1].policy = policy;
    let universe = stage.start(specs).await;
    sleep(secs(10)).await;
    stage.machine.hang("worker");
    stage.machine.hang("other");
    sleep(secs(30)).await;
    let open = universe.alerts.open().await.unwrap();
    assert_eq!(open.len(), 2);
    stage.alerts.delay(Duration::from_millis(50));
    stage.ops.compares_with(&stage.alerts);
    // The second comes while the first is being kept.
    let take = |at: usize| {
        let taken = universe
            .alerts
            .acknowledge(open[at].id, "ann".into(), String::new());
        async { assert!(taken.await.unwrap().is_ok()) }
    };
    tokio::join!(take(0), take(1));
    sleep(secs(1)).await;
    let told = stage.ops.got().split_off(2);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(stage.ops.unkept(), []);
    assert_eq!(stage.alerts.waiting(), 0);
}

#[test]
fn the_next_supervisor_tells_nobody_again_and_forgets_nothing() {
    let stage = std::cell::RefCell::new(None::<Stage>);
    let life = |hang: bool, expected: &[&str]| {
        PausedSystem::new().block_on(async {
            let known = stage.borrow().is_some();
            let here = stage.borrow_mut().get_or_insert_with(Stage::new).clone();
            let mut specs = crew(&here, &["worker", "other", "third"]);
            let mut policy = (*specs[0].policy).clone();
            policy.poke_on.stale = false;
            specs[0].policy = std::sync::Arc::new(policy);
            let _universe = here.start(specs).await;
            if hang {
                sleep(secs(5)).await;
                here.machine.hang("worker");
                here.ops.refuse("HTTP 503");
            } else if known {
                here.ops.accept();
            }
            sleep(secs(30)).await;
            assert_eq!(here.ops.got(), expected, "{hang}");
        });
    };
    life(true, &[]);
    // That it was killed is news of its own, once.
    let told = [
        "firing worker critical",
        "firing supervisor: restarted degraded",
    ];
    life(false, &told);
    life(false, &told);
}

fn window(name: &str, services: &str) -> OpenWindow {
    OpenWindow {
        name: name.to_owned(),
        services: vec![Pattern::new(services).expect("a pattern")],
        // 2026-01-02T20:00:00Z
        until: Timestamp(1_767_384_000_000_000),
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn in_a_maintenance_window_a_hang_is_seen_but_neither_poked_nor_told() {
    let stage = Stage::new();
    let universe = stage
        .start(crew(&stage, &["db-1", "web", "other", "third"]))
        .await;
    sleep(secs(10)).await;
    let open = vec![window("nightly", "db-*")];
    universe.supervisor.maintain(open).await.unwrap();
    stage.machine.hang("db-1");
    sleep(secs(300)).await;
    let view = universe.view("db-1").await;
    assert_eq!(view.status, Level::Critical, "muted, not blind");
    assert_eq!(view.maintenance.as_deref(), Some("nightly"));
    assert_eq!(view.restarts, 0, "nobody pokes it");
    assert_eq!(stage.log_sink.got(), [""; 0]);
    let alert = universe.alerts.open().await.unwrap()[0].clone();
    let why = universe.alerts.why(alert.id).await.unwrap().unwrap();
    assert_eq!(
        why[0],
        "nobody is told now: maintenance window nightly covers its service until \
         2026-01-02T20:00:00Z"
    );
    // Others are looked after as ever.
    stage.machine.hang("web");
    sleep(secs(20)).await;
    assert!(universe.view("web").await.restarts > 0);
    assert_eq!(universe.view("web").await.maintenance, None);
    // Its end: what hangs still is poked at once, and nobody need hear of it.
    universe.supervisor.maintain(Vec::new()).await.unwrap();
    sleep(secs(30)).await;
    let view = universe.view("db-1").await;
    assert_eq!((view.status, view.restarts), (Level::Healthy, 1));
    assert_eq!(stage.ops.got(), [""; 0]);
    let said: Vec<_> = universe
        .events("internal.supervisor")
        .await
        .into_iter()
        .map(|event| event.reason)
        .filter(|reason| reason.contains("maintenance"))
        .collect();
    assert_eq!(
        said,
        [
            "maintenance window nightly opens until 2026-01-02T20:00:00Z: 1 services are \
             neither poked nor told of",
            "maintenance window nightly closes"
        ]
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn what_is_still_bad_when_a_window_closes_is_told_then() {
    let stage = Stage::new();
    let mut specs = crew(&stage, &["db-1", "web", "other"]);
    let mut policy = (*specs[0].policy).clone();
    policy.poke_on.stale = false;
    specs[0].policy = std::sync::Arc::new(policy);
    let universe = stage.start(specs).await;
    sleep(secs(10)).await;
    // It outlives the actor that knows it.
    let open = vec![window("nightly", "db-*")];
    universe.supervisor.maintain(open).await.unwrap();
    stage.machine.hang("db-1");
    sleep(secs(60)).await;
    stage.dice.panic_once();
    let name = ServiceName::new("db-1").expect("a name");
    let died = universe.supervisor.service(&name).await;
    assert!(died.is_err(), "it panicked over this question");
    sleep(secs(60)).await;
    assert_eq!(
        universe.view("db-1").await.maintenance.as_deref(),
        Some("nightly")
    );
    assert!(!stage.ops.got().contains(&"firing db-1 critical".to_owned()));
    universe.supervisor.maintain(Vec::new()).await.unwrap();
    sleep(secs(10)).await;
    assert!(stage.ops.got().contains(&"firing db-1 critical".to_owned()));
}

#[actix_rt::test(system = "PausedSystem")]
async fn f24_a_suspend_is_nobody_s_fault_and_no_jump_of_the_clock() {
    let stage = Stage::new();
    let universe = stage
        .start(crew(&stage, &["worker", "other", "third"]))
        .await;
    sleep(secs(10)).await;
    let before = stage.store.events().len();
    stage.clock.suspend(secs(8 * 3_600));
    sleep(secs(60)).await;
    assert_eq!(stage.store.events().len(), before);
    assert_eq!(stage.log_sink.got(), [""; 0]);
    for name in ["worker", "other", "third"] {
        assert_eq!(universe.view(name).await.status, Level::Healthy);
        assert_eq!(stage.machine.launches(name), 1);
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn f23_a_wall_clock_that_jumps_is_one_alert_about_ourselves() {
    let stage = Stage::new();
    let universe = stage
        .start(crew(&stage, &["worker", "other", "third"]))
        .await;
    sleep(secs(10)).await;
    for leap in [-3_600, 10 * 365 * 86_400] {
        stage.clock.set_wall_by(leap);
        sleep(secs(10)).await;
    }
    let open = universe.alerts.open().await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    assert!(
        open[0]
            .reason
            .starts_with("the wall clock was set 315360000.0 s forward, to 2035-12-31"),
        "{}",
        open[0].reason
    );
    sleep(secs(120)).await;
    assert_eq!(
        stage.log_sink.got(),
        [
            "firing supervisor: clock warning",
            "resolved supervisor: clock warning"
        ]
    );
    assert_eq!(stage.ops.got(), [""; 0]);
    assert_eq!(universe.view("worker").await.status, Level::Healthy);
}

#[test]
fn our_own_death_is_one_alert_and_an_orderly_end_is_none() {
    let stage = std::cell::RefCell::new(None::<Stage>);
    let life = |orderly: bool| {
        PausedSystem::new().block_on(async {
            let here = stage.borrow_mut().get_or_insert_with(Stage::new).clone();
            let universe = here.start(crew(&here, &["worker", "other", "third"])).await;
            sleep(secs(20)).await;
            if orderly {
                // Long enough for what was said to be over, too.
                sleep(secs(120)).await;
                universe.supervisor.shutdown(true).await;
            }
            (
                here.ops.got(),
                universe.alerts.open().await.unwrap_or_default(),
            )
        })
    };
    life(true);
    let (got, open) = life(false);
    assert_eq!((got.len(), open.len()), (0, 0), "it was stopped: {got:?}");
    let fired = "firing supervisor: restarted degraded";
    let (got, open) = life(false);
    assert_eq!(got, [fired]);
    assert!(
        open[0]
            .reason
            .starts_with("the supervisor ended without being stopped (killed, or a crash)"),
        "{}",
        open[0].reason
    );
    let (got, open) = life(false);
    assert_eq!(got, [fired], "soon after it is the same trouble");
    assert!(open[0].reason.contains("twice since"), "{}", open[0].reason);
    stage.borrow().as_ref().unwrap().marks.reboot();
    let (_, open) = life(true);
    assert_eq!(open.len(), 0);
    let (got, _) = life(false);
    assert_eq!(got, [fired, "resolved supervisor: restarted degraded"]);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f58_couriers_come_back_at_times_of_their_own() {
    let mut came = Vec::new();
    for roll in [0.0, 0.5, 0.999] {
        let stage = Stage::new();
        stage.dice.set(roll);
        stage.ops.refuse("HTTP 503");
        let mut specs = crew(&stage, &["worker", "other", "third"]);
        let mut policy = (*specs[0].policy).clone();
        policy.poke_on.stale = false;
        specs[0].policy = std::sync::Arc::new(policy);
        let _universe = stage.start(specs).await;
        sleep(secs(10)).await;
        stage.machine.hang("worker");
        sleep(secs(600)).await;
        stage.ops.accept();
        let mut waited = Duration::ZERO;
        while !stage
            .ops
            .got()
            .contains(&"firing worker critical".to_owned())
        {
            sleep(Duration::from_millis(100)).await;
            waited += Duration::from_millis(100);
            assert!(waited <= secs(5 * 60 + 90), "at most the longest pause");
        }
        came.push(waited);
    }
    came.dedup();
    assert_eq!(came.len(), 3, "{came:?}");
}

#[actix_rt::test(system = "PausedSystem")]
async fn misses_that_alert_nobody_change_levels_all_the_same() {
    let stage = Stage::new();
    let mut specs = crew(&stage, &["worker", "other", "third"]);
    let mut policy = (*specs[0].policy).clone();
    policy.poke_on.stale = false;
    policy.alert_on_miss = false;
    specs[0].policy = std::sync::Arc::new(policy);
    let universe = stage.start(specs).await;
    sleep(secs(10)).await;
    stage.machine.hang("worker");
    sleep(secs(60)).await;
    assert_eq!(universe.view("worker").await.status, Level::Critical);
    assert_eq!(stage.log_sink.got(), [""; 0]);
    let id = universe.alerts.open().await.unwrap()[0].id;
    let why = universe.alerts.why(id).await.unwrap().unwrap();
    assert!(why[0].contains("alert_on_miss = false"), "{why:?}");
    // A pause holds it in other words, and goes on where it was.
    let name = ServiceName::new("worker").unwrap();
    let paused = universe.supervisor.control(&name, Verb::Pause(None)).await;
    assert!(paused.unwrap().is_ok());
    sleep(secs(1)).await;
    let why = universe.alerts.why(id).await.unwrap().unwrap();
    assert!(
        why[0].contains("its service is paused: operator"),
        "{why:?}"
    );
}
