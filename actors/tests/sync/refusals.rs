//! What the target refuses, for a while or for good.

use super::*;

#[actix_rt::test(system = "PausedSystem")]
async fn one_bad_row_is_split_off_and_the_others_are_taken() {
    let stage = SyncStage::new();
    for n in 0..100 {
        stage.disk.write(&format!("docs/{n:03}.md"), &n.to_string());
    }
    stage.tables.spoil("docs/042.md", true);
    stage.age().await;
    let (universe, sync) = stage.start().await;
    sleep(secs(5)).await;
    assert_eq!(stage.tables.texts("docs").len(), 99);
    let calls = upserts(&stage, Mono(0)).len();
    assert!(calls <= 2 * 7 + 1, "{calls} requests");
    let now = status(&sync).await;
    assert_eq!(now.parked.len(), 1);
    assert_eq!(
        (
            now.parked[0].file_path.as_str(),
            now.parked[0].reason.as_str()
        ),
        ("docs/042.md", "a bad row")
    );
    assert_eq!(now.totals.errors, 1);
    assert_eq!(
        stage
            .stage
            .log
            .with("Sync failed for 042.md: a bad row")
            .len(),
        1
    );
    let events = universe.events("internal.syncer").await;
    assert!(
        events
            .iter()
            .any(|event| event.kind == "sync" && event.reason.contains("docs/042.md")),
        "{events:?}"
    );
    sleep(secs(20)).await;
    let alerts = universe.alerts.open().await.expect("alerts");
    assert!(
        alerts.iter().any(|alert| alert.reason.contains("parked")),
        "{alerts:?}"
    );
    // It is left alone, however long.
    sleep(secs(600)).await;
    assert_eq!(upserts(&stage, Mono(0)), []);
    // Tried again when its file changes.
    stage.tables.spoil("docs/042.md", false);
    stage.disk.write("docs/042.md", "good now");
    sleep(secs(10)).await;
    assert_mirrored(&stage);
    assert_eq!(status(&sync).await.parked, []);
}

#[actix_rt::test(system = "PausedSystem")]
async fn parked_rows_are_tried_again_on_request_and_at_the_next_start() {
    let stage = SyncStage::new();
    stage.disk.write("docs/a.md", "a");
    stage.tables.spoil("docs/a.md", true);
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    assert_eq!(status(&sync).await.queue.parked, 1);
    assert_eq!(sync.retry(Some("notes".to_owned())).await, Ok(0));
    assert_eq!(sync.retry(None).await, Ok(1));
    sleep(secs(1)).await;
    assert_eq!(
        status(&sync).await.queue.parked,
        1,
        "{:?}",
        stage.stage.log.all()
    );
    stage.tables.spoil("docs/a.md", false);
    assert_eq!(sync.retry(None).await, Ok(1));
    sleep(secs(1)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f51_an_outage_is_waited_out_with_growing_pauses_and_nothing_is_lost() {
    let stage = SyncStage::new();
    let (universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.tables.calls();
    stage.tables.refuse_all(Some(retry("it is down (503)")));
    for n in 0..1_000 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    sleep(secs(300)).await;
    let requests = stage.tables.calls().len();
    assert!(
        (5..=16).contains(&requests),
        "{requests} requests in five minutes"
    );
    let now = status(&sync).await;
    assert_eq!(now.target.state, "resting");
    assert!(now.target.reason.is_some_and(|why| why.contains("503")));
    assert_eq!(now.queue.due, 1_000);
    let alerts = universe.alerts.open().await.expect("alerts");
    assert!(
        alerts
            .iter()
            .any(|alert| alert.reason.contains("takes nothing")),
        "{alerts:?}"
    );
    stage.tables.refuse_all(None);
    sleep(secs(310)).await;
    assert_mirrored(&stage);
    let alerts = universe.alerts.open().await.expect("alerts");
    assert!(
        alerts
            .iter()
            .all(|alert| !alert.reason.contains("takes nothing")),
        "{alerts:?}"
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn f50_the_targets_own_pause_is_kept() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.tables.calls();
    stage.tables.refuse([Refusal::Retry {
        after: Some(secs(90)),
        why: "slowly (429)".to_owned(),
    }]);
    let begin = stage.stage.clock.mono();
    stage.disk.write("docs/a.md", "a");
    sleep(secs(200)).await;
    let times: Vec<_> = upserts(&stage, begin)
        .into_iter()
        .map(|(at, _)| at)
        .collect();
    assert_eq!(times.len(), 2);
    let pause = times[1] - times[0];
    assert!((90.0..100.0).contains(&pause), "{pause}");
}

#[actix_rt::test(system = "PausedSystem")]
async fn f46_a_wrong_key_parks_all_rows_and_is_not_tried_again_and_again() {
    let stage = SyncStage::new();
    for n in 0..1_000 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    stage.disk.write("notes/n.md", "n");
    stage.age().await;
    stage.tables.refuse_all(Some(park(Scope::Target)));
    let (universe, sync) = stage.start().await;
    sleep(secs(3_000)).await;
    let requests = stage
        .tables
        .calls()
        .into_iter()
        .filter(|(_, call)| matches!(call, Call::Upsert(..)));
    let requests = requests.count();
    assert!(requests <= 4, "{requests} requests");
    assert_eq!(status(&sync).await.queue.parked, 1_001);
    let events = universe.events("internal.syncer").await;
    assert!(
        events
            .iter()
            .any(|event| event.kind == "sync" && event.reason.contains("all rows are parked")),
        "{events:?}"
    );
    // Somebody has given it another key: one changed file shows it, and all go.
    stage.tables.refuse_all(None);
    stage.disk.write("docs/5.md", "changed");
    sleep(secs(20)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f47_a_missing_table_parks_its_rows_alone() {
    let stage = SyncStage::new();
    for n in 0..300 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    stage.age().await;
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    stage.tables.refuse([park(Scope::Table)]);
    for n in 0..10 {
        stage.disk.write(&format!("notes/{n}.md"), &n.to_string());
    }
    sleep(secs(10)).await;
    assert_eq!(status(&sync).await.queue.parked, 10);
    stage.disk.write("docs/1.md", "goes on");
    sleep(secs(10)).await;
    assert_eq!(stage.tables.texts("docs")["docs/1.md"], "goes on");
    assert_eq!(status(&sync).await.queue.parked, 10);
    assert_eq!(sync.retry(Some("notes".to_owned())).await, Ok(10));
    sleep(secs(1)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f49_a_target_that_takes_few_rows_gets_few_and_one_too_large_is_parked_alone() {
    let stage = SyncStage::new();
    for n in 0..500 {
        stage.disk.write(&format!("docs/{n:03}.md"), &n.to_string());
    }
    stage.age().await;
    stage.tables.take_at_most(30);
    let (_universe, sync) = stage.start().await;
    sleep(secs(20)).await;
    assert_mirrored(&stage);
    stage.tables.take_at_most(0);
    stage.disk.write("docs/000.md", "too large");
    sleep(secs(20)).await;
    assert_eq!(status(&sync).await.queue.parked, 1);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_row_that_alone_fails_for_a_while_does_not_hold_up_the_others() {
    let stage = SyncStage::new();
    let (_universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    // It is the first by number, and every batch with it says "not now".
    stage.tables.refuse_all(Some(retry("timeout")));
    stage.disk.write("docs/000.md", "slow");
    sleep(secs(20)).await;
    stage.tables.refuse_all(None);
    for n in 1..200 {
        stage.disk.write(&format!("docs/{n:03}.md"), &n.to_string());
    }
    sleep(secs(120)).await;
    assert_mirrored(&stage);
    assert_eq!(status(&sync).await.target.state, "open");
}

#[actix_rt::test(system = "PausedSystem")]
async fn two_files_with_one_row_are_said_and_the_second_gets_it_when_the_first_goes() {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use supervisor_core::sync::{Routes, preset};
    let mut stage = SyncStage::new();
    // Keyed by the file's name.
    let table = Arc::new(preset::athena("user_profile", true).expect("a table"));
    let routes = Routes::new(
        Path::new("/p"),
        vec![(PathBuf::from("docs"), table)],
        &["md".to_owned()],
        &[],
    );
    stage.spec.routes = Arc::new(routes.expect("routes"));
    stage.spec.on_delete = OnDelete::Delete;
    stage.disk.write("docs/a/x.md", "first");
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.disk.write("docs/b/x.md", "second");
    sleep(secs(10)).await;
    assert_eq!(stage.tables.texts("user_profile")["x.md"], "first");
    let now = status(&sync).await;
    assert!(
        now.parked[0].reason.contains("docs/a/x.md"),
        "{:?}",
        now.parked
    );
    stage.disk.remove("docs/a/x.md");
    sleep(secs(20)).await;
    assert_eq!(stage.tables.texts("user_profile")["x.md"], "second");
    assert_eq!(stage.ledger.all_tasks(), []);
}
