//! What is edited is sent once it has come to rest, once, and nothing is forgotten.

use super::*;

#[actix_rt::test(system = "PausedSystem")]
async fn saves_at_0_2_and_4_seconds_are_one_sync_at_9() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    let begin = stage.stage.clock.mono();
    for text in ["one", "two", "three"] {
        stage.disk.write("docs/a.md", text);
        sleep(secs(2)).await;
    }
    sleep(secs(60)).await;
    let upserts = upserts(&stage, begin);
    assert_eq!(upserts.len(), 1, "{upserts:?}");
    assert!((9.0..9.05).contains(&upserts[0].0), "{upserts:?}");
    assert_mirrored(&stage);
    assert_eq!(stage.stage.log.with("Syncing: a.md → docs").len(), 1);
    assert_eq!(stage.stage.log.with("Synced: a.md").len(), 1);
}

#[actix_rt::test(system = "PausedSystem")]
async fn ten_thousand_paths_edited_at_once_each_sync_once_and_in_time() {
    let stage = SyncStage::new();
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    let begin = stage.stage.clock.mono();
    for n in 0..10_000 {
        stage
            .disk
            .write(&format!("docs/d{}/{n}.md", n % 100), &n.to_string());
    }
    // A few of them once more, two seconds later.
    sleep(secs(2)).await;
    for n in 0..10 {
        stage.disk.write(&format!("docs/d{n}/{n}.md"), "later");
    }
    sleep(ms(2_990)).await;
    assert_eq!(upserts(&stage, begin), [], "nothing before its time");
    sleep(secs(30)).await;
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (at, keys) in upserts(&stage, begin) {
        assert!(keys.len() <= 100);
        for key in keys {
            times.entry(key).or_default().push(at);
        }
    }
    assert_eq!(times.len(), 10_000);
    let texts = expected(&stage, "docs");
    for (key, times) in &times {
        // 25 rounds of 4 batches of 100 rows, 10 ms each.
        assert!(times.len() == 1, "{key}: {times:?}");
        let late = texts[key] == "later";
        let due = if late { 7.0..7.5 } else { 5.0..6.0 };
        assert!(due.contains(&times[0]), "{key}: {times:?}");
    }
    assert_mirrored(&stage);
    assert_eq!(stage.tables.most_in_flight(), 4);
    assert_eq!(status(&sync).await.totals.synced, 10_000);
}

#[actix_rt::test(system = "PausedSystem")]
async fn endless_edits_are_synced_once_a_minute() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.tables.calls();
    let begin = stage.stage.clock.mono();
    for n in 0..130 {
        stage.disk.write("docs/a.md", &n.to_string());
        sleep(secs(1)).await;
    }
    let times: Vec<_> = upserts(&stage, begin)
        .into_iter()
        .map(|(at, _)| at.round())
        .collect();
    assert_eq!(times, [60.0, 120.0]);
}

#[actix_rt::test(system = "PausedSystem")]
async fn what_is_being_debounced_at_a_stop_is_flushed() {
    let stage = SyncStage::new();
    let (_universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.disk.write("docs/a.md", "last words");
    sleep(ms(100)).await;
    let totals = sync.stop(secs(5)).await;
    assert_eq!(totals.synced, 1);
    assert_mirrored(&stage);
}

#[test]
fn what_was_being_debounced_at_a_kill_is_found_again() {
    let stage = std::cell::RefCell::new(None);
    PausedSystem::new().block_on(async {
        let fresh = SyncStage::new();
        let (_universe, _sync) = fresh.start().await;
        sleep(secs(1)).await;
        fresh.disk.write("docs/a.md", "last words");
        sleep(ms(100)).await;
        *stage.borrow_mut() = Some(fresh);
    });
    // The runtime and all its actors are gone; files, ledger and target are not.
    PausedSystem::new().block_on(async {
        let stage = stage.borrow_mut().take().expect("a stage");
        assert_eq!(stage.tables.texts("docs"), BTreeMap::new());
        let (_universe, _sync) = stage.start().await;
        sleep(secs(10)).await;
        assert_mirrored(&stage);
    });
}

#[actix_rt::test(system = "PausedSystem")]
async fn f79_a_file_that_changes_while_it_is_read_is_looked_at_again() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.disk.write("docs/a.md", "text");
    stage.disk.keep_changing("docs/a.md", 2);
    sleep(ms(9_900)).await;
    assert_eq!(stage.tables.texts("docs").len(), 0);
    sleep(secs(6)).await;
    assert_mirrored(&stage);
}
