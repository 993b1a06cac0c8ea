//! What the database wants people to know reaches them.

use std::time::Duration;

use supervisor_actors::testing::{Stage, alive, settle};
use tokio::time::sleep;

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn f40_a_database_set_aside_is_logged_and_recorded_whenever_it_happens() {
    let stage = Stage::new();
    stage.store.notice("set aside at the start");
    let universe = stage.start(vec![alive("worker")]).await;
    settle().await;
    stage.store.notice("set aside while running");
    universe.pulse("worker");
    sleep(Duration::from_secs(5)).await;
    // Commits are made on real threads, which virtual time does not wait for.
    let mut texts = Vec::new();
    while texts.len() < 2 {
        let events = universe.events("internal.archive").await;
        let reasons = events.into_iter().map(|event| event.reason);
        texts = reasons
            .filter(|reason| reason.starts_with("set aside"))
            .collect();
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(texts, ["set aside at the start", "set aside while running"]);
    assert_eq!(stage.log.with("set aside").len(), 2);
}
