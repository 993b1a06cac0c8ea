//! Files that are gone or have other names, and what becomes of their rows.

use super::*;

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
async fn f81_a_mass_deletion_is_one_though_edits_of_the_same_moment_go_at_once() {
    let mut stage = SyncStage::new();
    stage.spec.on_delete = OnDelete::Delete;
    let name = |n: u32| format!("docs/{n:04}.md");
    for n in 0..5_000 {
        stage.disk.write(&name(n), "first");
    }
    let (_universe, sync) = stage.start().await;
    sleep(secs(20)).await;
    stage.tables.calls();
    // A part of them would be few of so many.
    for n in 0..600 {
        stage.disk.remove(&name(n));
        stage.disk.write(&name(n + 600), "second");
    }
    sleep(secs(20)).await;
    let calls = stage.tables.calls();
    assert!(
        calls
            .iter()
            .all(|(_, call)| matches!(call, Call::Upsert(..))),
        "{calls:?}"
    );
    assert_eq!(stage.tables.texts("docs").len(), 5_000);
    assert_eq!(stage.tables.texts("docs")[&name(1_199)], "second");
    assert_eq!(status(&sync).await.queue.held, 600);
    assert_eq!(sync.confirm(None).await, Ok(600));
    sleep(secs(20)).await;
    assert_mirrored(&stage);
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
