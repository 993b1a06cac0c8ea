//! Faults of our own: the record, panics, a target that has lost everything.

use super::*;

#[actix_rt::test(system = "PausedSystem")]
async fn f39_a_record_that_cannot_be_written_is_said_and_made_up_for() {
    let stage = SyncStage::new();
    let (universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    stage
        .ledger
        .fail(Some(StoreError::Unavailable("no space left".to_owned())));
    stage.disk.write("docs/a.md", "a");
    sleep(secs(30)).await;
    assert_eq!(
        stage.tables.texts("docs").len(),
        0,
        "nothing is sent that is not on record"
    );
    let now = status(&sync).await;
    assert!(now.ledger.is_some_and(|why| why.contains("no space left")));
    let alerts = universe.alerts.open().await.expect("alerts");
    assert!(
        alerts
            .iter()
            .any(|alert| alert.reason.contains("no space left")),
        "{alerts:?}"
    );
    stage.ledger.fail(None);
    sleep(secs(30)).await;
    assert_mirrored(&stage);
    assert_eq!(status(&sync).await.ledger, None);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_record_that_fails_amid_the_first_walk_loses_nothing_whichever_transaction_it_was() {
    for commits in 0..6 {
        let stage = SyncStage::new();
        for n in 0..300 {
            stage.disk.write(&format!("docs/{n:04}.md"), &n.to_string());
        }
        stage.age().await;
        stage.ledger.fail_after(commits, StoreError::Busy);
        let (_universe, sync) = stage.start().await;
        sleep(secs(60)).await;
        assert_mirrored(&stage);
        sync.stop(secs(1)).await;
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn an_answer_that_cannot_be_recorded_is_sent_again_and_changes_nothing() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.tables.delay(secs(1));
    stage.disk.write("docs/a.md", "a");
    sleep(ms(5_500)).await;
    stage.ledger.fail(Some(StoreError::Busy));
    sleep(secs(5)).await;
    stage.ledger.fail(None);
    sleep(secs(20)).await;
    assert!(upserts(&stage, Mono(0)).len() >= 2);
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f42_a_lost_record_is_made_again_by_comparing_not_by_sending() {
    let stage = SyncStage::new();
    for n in 0..500 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    assert_mirrored(&stage);
    stage.tables.calls();
    stage.ledger.lose();
    stage.disk.write("docs/7.md", "seven");
    sleep(secs(60)).await;
    let sent: Vec<_> = upserts(&stage, Mono(0))
        .into_iter()
        .flat_map(|(_, keys)| keys)
        .collect();
    assert_eq!(sent, ["docs/7.md"]);
    assert_mirrored(&stage);
    assert_eq!(stage.ledger.taken_files().len(), 500);
    sync.stop(secs(1)).await;
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_target_that_begins_anew_gets_everything_again() {
    let stage = SyncStage::new();
    for n in 0..120 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.lose();
    sleep(secs(120)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f29_panics_of_its_actors_lose_nothing() {
    for (line, restarts) in [
        // Beside its messages: a failure of one batch.
        ("Syncing: a.md", 0),
        ("Synced: a.md", 1),
        ("sync: everything was looked at", 1),
    ] {
        let stage = SyncStage::new();
        let (universe, sync) = stage.start().await;
        sleep(secs(1)).await;
        stage.stage.log.panic_at(line);
        stage.disk.write("docs/a.md", "a");
        sleep(secs(1)).await;
        stage.disk.overflow();
        sleep(secs(1)).await;
        stage.disk.write("docs/b.md", "b");
        sleep(secs(30)).await;
        assert_mirrored(&stage);
        let names = ["internal.watcher", "internal.debouncer", "internal.syncer"];
        let mut sum = 0;
        for name in names {
            let view = universe.view(name).await;
            assert_eq!(view.status, Level::Healthy, "{name}");
            sum += view.restarts;
        }
        assert_eq!(sum, restarts, "{line}");
        sync.stop(secs(1)).await;
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn f29_a_panic_over_the_record_is_a_failure_of_that_use_alone() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.ledger.panic(true);
    stage.disk.write("docs/a.md", "a");
    sleep(secs(10)).await;
    stage.ledger.panic(false);
    sleep(secs(30)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn its_actors_are_watched_services_only_where_something_is_mirrored() {
    let stage = SyncStage::new();
    let (universe, _sync) = stage.start().await;
    sleep(secs(120)).await;
    for name in ["internal.watcher", "internal.debouncer", "internal.syncer"] {
        assert_eq!(universe.view(name).await.status, Level::Healthy, "{name}");
    }
    let without = supervisor_actors::testing::Stage::new();
    let universe = without.start(Vec::new()).await;
    assert!(universe.sync.is_none());
    let overview = universe.supervisor.overview().await.expect("an overview");
    assert!(
        overview
            .services
            .iter()
            .all(|view| !view.name.as_str().contains("sync"))
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_look_at_what_would_be_done_says_so_and_counts_nothing() {
    let mut stage = SyncStage::new();
    stage.spec.dry_run = true;
    stage.disk.write("docs/a.md", "a");
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    let said = stage.stage.log.with("[DRY RUN] Would sync: a.md → docs");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(stage.stage.log.with("Synced"), Vec::<String>::new());
    assert_eq!(status(&sync).await.totals.synced, 0);
    assert_eq!(status(&sync).await.mode, "dry_run");
}
