//! What the kernel does not tell, and what cannot be read.

use super::*;

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
