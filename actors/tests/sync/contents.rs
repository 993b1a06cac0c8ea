//! The last content wins, whatever overtakes what.

use super::*;

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
