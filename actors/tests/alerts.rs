//! Alerts from end to end: services go bad, sinks hear of it.

use std::time::Duration;

use supervisor_actors::ports::{Clock as _, StoreError};
use supervisor_actors::spec::ServiceSpec;
use supervisor_actors::testing::{PausedSystem, Script, Stage, pulsing, settle};
use supervisor_core::alert::AlertId;
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
    sleep(secs(60)).await;
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
    life(false, &["firing worker critical"]);
    life(false, &["firing worker critical"]);
}
