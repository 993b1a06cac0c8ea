//! The sync under virtual time: what is edited arrives, once, at the right time, whatever
//! fails on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use supervisor_actors::ports::files::Blind;
use supervisor_actors::ports::{Clock, StoreError};
use supervisor_actors::sync::{Status, SyncHandle};
use supervisor_actors::testing::{Call, FakeTables, PausedSystem, SyncStage};
use supervisor_core::Level;
use supervisor_core::sync::{OnDelete, Refusal, Scope};
use supervisor_core::time::Mono;
use tokio::time::sleep;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn retry(why: &str) -> Refusal {
    Refusal::Retry {
        after: None,
        why: why.to_owned(),
    }
}

fn park(scope: Scope) -> Refusal {
    Refusal::Park {
        scope,
        why: "no such thing".to_owned(),
    }
}

async fn status(sync: &SyncHandle) -> Status {
    sync.status().await.expect("a status")
}

/// The keys of all upserts so far, with the seconds after `since` at which they were asked for.
fn upserts(stage: &SyncStage, since: Mono) -> Vec<(f64, Vec<String>)> {
    let calls = stage.tables.calls().into_iter();
    calls
        .filter_map(|(at, call)| match call {
            Call::Upsert(_, keys) => Some((at.since(since).as_secs_f64(), keys)),
            _ => None,
        })
        .collect()
}

/// What the target should hold: all files of `docs` and `notes`.
fn expected(stage: &SyncStage, table: &str) -> BTreeMap<String, String> {
    let mut all = stage.disk.all();
    all.retain(|path, _| path.starts_with(&format!("{table}/")));
    all
}

#[track_caller]
fn assert_mirrored(stage: &SyncStage) {
    for table in ["docs", "notes"] {
        assert_eq!(stage.tables.texts(table), expected(stage, table), "{table}");
    }
    assert_eq!(stage.ledger.all_tasks(), []);
}

// === the debounce ===

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

// === the first walk ===

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

// === the last content wins ===

#[actix_rt::test(system = "PausedSystem")]
async fn f80_an_edit_during_the_upload_wins() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.tables.delay(secs(20));
    stage.disk.write("docs/a.md", "old");
    sleep(secs(6)).await;
    stage.disk.write("docs/a.md", "new");
    sleep(secs(60)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_file_that_changes_before_it_is_sent_is_sent_as_it_is_then() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.tables.refuse_all(Some(retry("down")));
    stage.disk.write("docs/a.md", "old");
    sleep(secs(30)).await;
    // The kernel misses this one.
    stage.disk.deafen(true);
    stage.disk.write("docs/a.md", "new");
    stage.tables.refuse_all(None);
    sleep(secs(60)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f52_an_answer_that_is_lost_makes_no_duplicate() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.tables.swallow(2);
    stage.disk.write("docs/a.md", "text");
    sleep(secs(60)).await;
    assert_eq!(upserts(&stage, Mono(0)).len(), 3);
    assert_mirrored(&stage);
}

// === gone and renamed ===

#[actix_rt::test(system = "PausedSystem")]
async fn the_row_of_a_deleted_file_becomes_what_the_configuration_says() {
    for on_delete in [OnDelete::Keep, OnDelete::Delete, OnDelete::Tombstone] {
        let mut stage = SyncStage::new();
        stage.spec.on_delete = on_delete;
        stage.disk.write("docs/a.md", "a");
        stage.disk.write("docs/b.md", "b");
        let (_universe, sync) = stage.start().await;
        sleep(secs(10)).await;
        stage.tables.calls();
        stage.disk.remove("docs/a.md");
        sleep(secs(10)).await;
        let calls: Vec<_> = stage
            .tables
            .calls()
            .into_iter()
            .map(|(_, call)| call)
            .collect();
        let (table, keys) = ("docs".to_owned(), vec!["docs/a.md".to_owned()]);
        let expected = match on_delete {
            OnDelete::Keep => vec![],
            OnDelete::Delete => vec![Call::Delete(table, keys)],
            OnDelete::Tombstone => vec![Call::Tombstone(table, keys)],
        };
        assert_eq!(calls, expected);
        assert_eq!(stage.ledger.all_tasks(), []);
        assert_eq!(stage.ledger.taken_files().len(), 1);
        // The same name again is a new row, or takes the old one over.
        stage.disk.write("docs/a.md", "again");
        sleep(secs(10)).await;
        assert_eq!(stage.tables.texts("docs")["docs/a.md"], "again");
        sync.stop(secs(1)).await;
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_file_deleted_before_it_was_sent_is_not_said_to_be_synced() {
    let stage = SyncStage::new();
    let (_universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.disk.write("docs/a.md", "a");
    sleep(secs(2)).await;
    stage.disk.remove("docs/a.md");
    sleep(secs(20)).await;
    assert_eq!(upserts(&stage, Mono(0)), []);
    assert_eq!(stage.stage.log.with("Synced"), Vec::<String>::new());
    assert_eq!(status(&sync).await.totals.synced, 0);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_renamed_file_keeps_its_row_under_its_new_name() {
    let stage = SyncStage::new();
    stage.disk.write("docs/old.md", "text");
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    stage.disk.rename("docs/old.md", "docs/new.md");
    sleep(secs(10)).await;
    let calls: Vec<_> = stage
        .tables
        .calls()
        .into_iter()
        .map(|(_, call)| call)
        .collect();
    assert_eq!(
        calls,
        [Call::Rename(
            "docs".into(),
            "docs/old.md".into(),
            "docs/new.md".into()
        )]
    );
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_file_renamed_twice_and_edited_within_the_debounce_keeps_its_row() {
    let stage = SyncStage::new();
    stage.disk.write("docs/a.md", "text");
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    stage.disk.rename("docs/a.md", "docs/b.md");
    sleep(secs(2)).await;
    stage.disk.write("docs/b.md", "other text");
    sleep(secs(2)).await;
    stage.disk.rename("docs/b.md", "docs/c.md");
    sleep(secs(20)).await;
    let calls: Vec<_> = stage
        .tables
        .calls()
        .into_iter()
        .map(|(_, call)| call)
        .collect();
    assert_eq!(
        calls,
        [Call::Rename(
            "docs".into(),
            "docs/a.md".into(),
            "docs/c.md".into()
        )]
    );
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_rename_that_nobody_saw_is_known_by_the_file() {
    let stage = SyncStage::new();
    stage.disk.write("docs/old.md", "text");
    stage.disk.write("docs/other.md", "other");
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    stage.disk.deafen(true);
    stage.disk.rename("docs/old.md", "docs/new.md");
    sleep(secs(10)).await;
    sync.scan("test").await.expect("scanned");
    sync.drained().await;
    let calls: Vec<_> = stage
        .tables
        .calls()
        .into_iter()
        .map(|(_, call)| call)
        .collect();
    assert_eq!(
        calls,
        [Call::Rename(
            "docs".into(),
            "docs/old.md".into(),
            "docs/new.md".into()
        )]
    );
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_new_file_with_an_old_inode_is_no_rename() {
    let stage = SyncStage::new();
    stage.disk.write("docs/old.md", "text");
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    // Moved and written: the same inode, another time, another text, and no word of it.
    stage.disk.deafen(true);
    stage.disk.rename("docs/old.md", "docs/new.md");
    sleep(secs(1)).await;
    stage.disk.write("docs/new.md", "something else");
    stage.disk.deafen(false);
    stage.disk.overflow();
    sleep(secs(20)).await;
    let calls: Vec<_> = stage
        .tables
        .calls()
        .into_iter()
        .map(|(_, call)| call)
        .collect();
    assert_eq!(
        calls,
        [Call::Upsert("docs".into(), vec!["docs/new.md".into()])]
    );
    // Kept, as the configuration says of files that are gone.
    assert_eq!(stage.tables.texts("docs").len(), 2);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_file_that_moves_into_another_table_is_gone_from_the_first() {
    let mut stage = SyncStage::new();
    stage.spec.on_delete = OnDelete::Delete;
    stage.disk.write("docs/a.md", "text");
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.disk.rename("docs/a.md", "notes/a.md");
    sleep(secs(10)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_file_renamed_over_another_takes_its_row() {
    let mut stage = SyncStage::new();
    stage.spec.on_delete = OnDelete::Delete;
    stage.disk.write("docs/a.md", "a");
    stage.disk.write("docs/b.md", "b");
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.disk.rename("docs/a.md", "docs/b.md");
    sleep(secs(20)).await;
    assert_mirrored(&stage);
    assert_eq!(stage.tables.texts("docs")["docs/b.md"], "a");
}

#[actix_rt::test(system = "PausedSystem")]
async fn f75_an_editors_atomic_save_is_one_sync() {
    let stage = SyncStage::new();
    stage.disk.write("docs/a.md", "old");
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    stage.disk.write("docs/.a.md.swp", "new");
    stage.disk.write("docs/4913", "");
    stage.disk.remove("docs/4913");
    stage.disk.rename("docs/.a.md.swp", "docs/a.md");
    sleep(secs(10)).await;
    assert_eq!(upserts(&stage, Mono(0)).len(), 1);
    assert_eq!(stage.tables.texts("docs")["docs/a.md"], "new");
}

#[actix_rt::test(system = "PausedSystem")]
async fn f81_a_mass_deletion_waits_for_somebodys_word() {
    let mut stage = SyncStage::new();
    stage.spec.on_delete = OnDelete::Delete;
    for n in 0..100 {
        stage.disk.write(&format!("docs/{n:03}.md"), &n.to_string());
    }
    let (universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.tables.calls();
    for n in 0..50 {
        stage.disk.remove(&format!("docs/{n:03}.md"));
    }
    sleep(secs(30)).await;
    assert_eq!(stage.tables.calls(), []);
    let held = status(&sync).await.held;
    assert_eq!((held[0].rows, held[0].of), (50, 100));
    let events = universe.events("internal.syncer").await;
    assert!(
        events
            .iter()
            .any(|event| event.kind == "sync" && event.reason.contains("50 of 100")),
        "{events:?}"
    );
    let alerts = universe.alerts.open().await.expect("alerts");
    assert!(
        alerts
            .iter()
            .any(|alert| alert.reason.contains("supervisor sync confirm")),
        "{alerts:?}"
    );
    // Edits go on meanwhile, and a file that comes back is not deleted.
    stage.disk.write("docs/000.md", "0");
    stage.disk.write("docs/099.md", "edited");
    sleep(secs(10)).await;
    assert_eq!(stage.tables.texts("docs")["docs/099.md"], "edited");
    assert_eq!(status(&sync).await.queue.held, 49);
    assert_eq!(sync.confirm(None).await, Ok(49));
    sleep(secs(10)).await;
    assert_mirrored(&stage);
    assert_eq!(stage.tables.texts("docs").len(), 51);
    // One more is no mass deletion.
    stage.disk.remove("docs/060.md");
    sleep(secs(10)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f81_deletions_that_trickle_are_a_mass_deletion_too() {
    let mut stage = SyncStage::new();
    stage.spec.on_delete = OnDelete::Delete;
    for n in 0..100 {
        stage.disk.write(&format!("docs/{n:03}.md"), &n.to_string());
    }
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    for n in 0..100 {
        stage.disk.remove(&format!("docs/{n:03}.md"));
        sleep(ms(500)).await;
    }
    sleep(secs(30)).await;
    let status = status(&sync).await;
    assert!(status.queue.held >= 75, "{:?}", status.held);
    assert!(stage.tables.texts("docs").len() >= 75);
}

#[actix_rt::test(system = "PausedSystem")]
async fn twenty_deletions_are_done() {
    let mut stage = SyncStage::new();
    stage.spec.on_delete = OnDelete::Delete;
    for n in 0..20 {
        stage.disk.write(&format!("docs/{n:03}.md"), &n.to_string());
    }
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    for n in 0..20 {
        stage.disk.remove(&format!("docs/{n:03}.md"));
    }
    sleep(secs(10)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn files_of_a_directory_that_cannot_be_read_are_not_gone() {
    let mut stage = SyncStage::new();
    stage.spec.on_delete = OnDelete::Delete;
    stage.disk.write("docs/a/a.md", "a");
    stage.disk.write("docs/b.md", "b");
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    stage.disk.hide(Some("docs/a"));
    let scanned = sync.scan("test").await.expect("scanned");
    assert!(!scanned.whole);
    sleep(secs(10)).await;
    assert_mirrored(&stage);
}

// === refusals ===

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

// === watching ===

#[actix_rt::test(system = "PausedSystem")]
async fn f72_an_overflow_of_the_kernels_queue_is_a_walk_of_everything() {
    let stage = SyncStage::new();
    let (_universe, _sync) = stage.start().await;
    sleep(secs(1)).await;
    stage.disk.deafen(true);
    for n in 0..50 {
        stage.disk.write(&format!("docs/{n}.md"), &n.to_string());
    }
    sleep(secs(60)).await;
    assert_eq!(stage.tables.texts("docs").len(), 0);
    stage.disk.deafen(false);
    stage.disk.overflow();
    sleep(secs(1)).await;
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn f73_at_the_limit_of_watches_everything_is_walked_now_and_then() {
    let stage = SyncStage::new();
    stage.disk.blind(Some(Blind::Watches));
    let (_universe, sync) = stage.start().await;
    stage.disk.deafen(true);
    sleep(secs(1)).await;
    let watch = status(&sync).await.watch;
    assert_eq!(watch.mode, "polling");
    let warnings = stage.stage.log.with("fs.inotify.max_user_watches");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    stage.disk.write("docs/a.md", "a");
    sleep(secs(30)).await;
    assert_mirrored(&stage);
    // Within an hour it is seen that the limit was raised.
    stage.disk.blind(None);
    stage.disk.deafen(false);
    sleep(secs(3_700)).await;
    assert_eq!(status(&sync).await.watch.mode, "kernel");
}

#[actix_rt::test(system = "PausedSystem")]
async fn f77_a_file_that_cannot_be_read_is_said_once_and_sent_when_it_can() {
    let stage = SyncStage::new();
    stage.disk.write("docs/a.md", "a");
    stage.disk.forbid("docs/a.md", Some("permission denied"));
    let (_universe, sync) = stage.start().await;
    sleep(secs(10)).await;
    sync.scan("test").await.expect("scanned");
    sync.scan("test").await.expect("scanned");
    assert_eq!(
        stage
            .stage
            .log
            .with("Sync failed for a.md: permission denied")
            .len(),
        1
    );
    assert_eq!(status(&sync).await.parked[0].reason, "permission denied");
    assert_eq!(sync.retry(None).await, Ok(1));
    sleep(secs(10)).await;
    assert_eq!(status(&sync).await.queue.parked, 1);
    stage.disk.forbid("docs/a.md", None);
    sleep(secs(10)).await;
    assert_mirrored(&stage);
}

// === our own faults ===

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
async fn a_record_that_fails_amid_the_first_walk_loses_nothing_and_keeps_what_it_had() {
    let stage = SyncStage::new();
    for n in 0..2_000 {
        stage.disk.write(&format!("docs/{n:04}.md"), &n.to_string());
    }
    stage.age().await;
    stage.ledger.fail_after(3, StoreError::Busy);
    let (_universe, sync) = stage.start().await;
    sleep(ms(500)).await;
    let looks = stage.disk.looks();
    assert!(looks < 2_000, "it went on reading for nobody: {looks}");
    let part = stage.ledger.all_tasks().len() + stage.tables.texts("docs").len();
    assert!((256..2_000).contains(&part), "{part} recorded");
    assert_eq!(part % 256, 0, "whole chunks");
    sleep(secs(10)).await;
    assert_mirrored(&stage);
    assert_eq!(status(&sync).await.totals.synced, 2_000, "none twice");
}

#[actix_rt::test(system = "PausedSystem")]
async fn f79_a_file_that_changes_after_it_was_read_ahead_is_looked_at_again() {
    let stage = SyncStage::new();
    for n in 0..600 {
        stage.disk.write(&format!("docs/{n:04}.md"), &n.to_string());
    }
    stage.age().await;
    stage
        .disk
        .when_read("docs/0001.md", |disk| disk.write("docs/0001.md", "new"));
    let (_universe, _sync) = stage.start().await;
    sleep(secs(10)).await;
    assert_eq!(stage.tables.texts("docs")["docs/0001.md"], "new");
    assert_mirrored(&stage);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_file_that_comes_back_while_others_are_read_keeps_its_row() {
    let mut stage = SyncStage::new();
    stage.spec.on_delete = OnDelete::Delete;
    stage.disk.write("docs/a.md", "a");
    stage.disk.write("docs/b.md", "b");
    stage.age().await;
    let (_universe, sync) = stage.start().await;
    sleep(secs(1)).await;
    assert_mirrored(&stage);
    stage.disk.deafen(true);
    stage.disk.remove("docs/a.md");
    stage.disk.write("docs/b.md", "other");
    stage.age().await;
    // When the walk has found it missing; and nobody tells of it.
    stage
        .disk
        .when_read("docs/b.md", |disk| disk.write("docs/a.md", "a"));
    sync.scan("somebody asked").await.expect("scanned");
    sleep(secs(20)).await;
    assert_eq!(stage.tables.texts("docs")["docs/a.md"], "a");
    assert_mirrored(&stage);
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
