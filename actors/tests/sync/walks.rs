//! What a walk of everything finds is sent; what the target has is not.

use super::*;

#[actix_rt::test(system = "PausedSystem")]
async fn the_first_walk_sends_what_is_there_and_the_second_nothing() {
    let stage = SyncStage::new();
    for n in 0..250 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    stage.disk.write("notes/n.md", "n");
    stage.disk.write("other/x.md", "x");
    stage.age().await;
    let (_universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    assert_mirrored(&stage);
    assert_eq!(status(&sync).await.totals.synced, 251);
    let calls: Vec<_> = upserts(&stage, Mono(0))
        .into_iter()
        .map(|(_, keys)| keys.len())
        .collect();
    assert_eq!(calls.iter().sum::<usize>(), 251);
    assert!(calls.len() <= 4 + 1, "{calls:?}");
    let scanned = sync.scan("again").await.expect("scanned");
    assert_eq!((scanned.unchanged, scanned.queued), (251, 0));
    sync.drained().await;
    assert_eq!(upserts(&stage, Mono(0)), []);
}

#[actix_rt::test(system = "PausedSystem")]
async fn unchanged_files_are_not_read_again() {
    let stage = SyncStage::new();
    for n in 0..50 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    stage.age().await;
    let (_universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    let looks = stage.disk.looks();
    sync.scan("again").await.expect("scanned");
    assert_eq!(stage.disk.looks(), looks);
}

#[actix_rt::test(system = "PausedSystem")]
async fn without_going_on_a_walk_is_asked_for_and_ends_with_all_sent() {
    let mut stage = SyncStage::new();
    stage.spec.continuous = false;
    for n in 0..150 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    let (_universe, sync) = stage.start().await;
    sleep(secs(20)).await;
    assert_eq!(stage.tables.calls(), [], "nobody asked");
    let scanned = sync.scan("once").await.expect("scanned");
    assert_eq!(scanned.queued, 150);
    sync.drained().await;
    assert_mirrored(&stage);
    assert_eq!(sync.totals().await.expect("totals").synced, 150);
}

#[actix_rt::test(system = "PausedSystem")]
async fn what_the_target_holds_already_is_not_sent_again() {
    let stage = SyncStage::new();
    for n in 0..30 {
        let text = n.to_string();
        stage.disk.write(&format!("docs/{n}.md"), &text);
        stage
            .tables
            .put("docs", &format!("docs/{n}.md"), FakeTables::hash_of(&text));
    }
    stage.disk.write("docs/5.md", "changed");
    stage
        .tables
        .put("docs", "docs/of_others.md", FakeTables::hash_of("x"));
    stage.age().await;
    let (_universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    let sent: Vec<_> = upserts(&stage, Mono(0))
        .into_iter()
        .flat_map(|(_, keys)| keys)
        .collect();
    assert_eq!(sent, ["docs/5.md"]);
    assert_eq!(status(&sync).await.totals.skipped, 29);
    assert!(
        stage.tables.texts("docs").contains_key("docs/of_others.md"),
        "it is not ours"
    );
}
