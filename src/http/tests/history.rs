//! Deleting history, and who may.

use super::world::{TOKEN, World};

const CHILD: &str = "Authorization: Bearer child-token-of-a";
/// In seconds.
const DAY: i64 = 24 * 3600;

impl World {
    /// What is recorded of a service, besides that it is there.
    async fn errors_of(&self, name: &str) -> usize {
        let events = self.actors.events(name).await;
        events.iter().filter(|event| event.kind == "error").count()
    }

    async fn err(&self, name: &str) {
        let path = format!("/api/error/{name}");
        assert_eq!(self.tcp("POST", &path, &[]).await.status, 202);
    }
}

#[actix_web::test]
async fn what_is_older_goes_and_what_is_younger_or_anothers_stays() {
    let world = World::new().await;
    world.err("a").await;
    world.err("half").await;
    world.stage.clock.set_wall_by(10 * DAY);
    // Whoever is asked looks at the clocks.
    world.tcp("GET", "/api/services", &[]).await;
    world.err("a").await;
    let path = "/api/history/a?older_than=7d";
    let answer = world.tcp("DELETE", path, &[TOKEN]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["deleted"].as_u64() >= Some(1), "{answer:?}");
    assert_eq!(world.errors_of("a").await, 1);
    assert_eq!(world.errors_of("half").await, 1);
    let again = world.tcp("DELETE", path, &[TOKEN]).await;
    assert_eq!(again.json()["deleted"], 0);
    // It is said, and not in what can be deleted like this.
    let told = world.actors.events("internal.archive").await;
    let reason = &told.last().expect("an event").reason;
    assert!(reason.contains("events and runs of a before"), "{reason}");
    let path = "/api/history/internal.archive?older_than=0s";
    let answer = world.tcp("DELETE", path, &[TOKEN]).await;
    assert_eq!((answer.status, &*answer.code()), (403, "internal"));
    // The owner may delete all, here also by the socket.
    let answer = world
        .unix("DELETE", "/api/history/a?older_than=0s", &[])
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.errors_of("a").await, 0);
}

#[actix_web::test]
async fn a_service_deletes_its_own_that_is_older_than_a_day() {
    let world = World::new().await;
    world.err("a").await;
    let child = |path: &'static str| world.tcp("DELETE", path, &[CHILD]);
    for young in ["23h", "0s", "1h"] {
        let path = format!("/api/history/a?older_than={young}");
        let answer = world.tcp("DELETE", &path, &[CHILD]).await;
        assert_eq!((answer.status, &*answer.code()), (403, "too_young"));
    }
    assert_eq!(world.errors_of("a").await, 1);
    world.stage.clock.set_wall_by(2 * DAY);
    assert_eq!(child("/api/history/a?older_than=1d").await.status, 200);
    assert_eq!(world.errors_of("a").await, 0);
    let answer = child("/api/history/half?older_than=7d").await;
    assert_eq!((answer.status, &*answer.code()), (401, "wrong_token"));
}

#[actix_web::test]
async fn nonsense_is_refused() {
    let world = World::new().await;
    let code = |path: &'static str| async {
        let answer = world.tcp("DELETE", path, &[TOKEN]).await;
        (answer.status, answer.code())
    };
    let bad = (400, "bad_query".to_owned());
    assert_eq!(code("/api/history/a").await, bad);
    assert_eq!(code("/api/history/a?older_than=7").await, bad);
    assert_eq!(code("/api/history/a?older_than=-7d").await, bad);
    let unknown = (404, "unknown_service".to_owned());
    assert_eq!(code("/api/history/nobody?older_than=7d").await, unknown);
    assert_eq!(code("/api/history/No%20Name?older_than=7d").await, unknown);
    world
        .stage
        .store
        .fail(Some(supervisor_actors::ports::StoreError::Busy));
    let answer = world
        .tcp("DELETE", "/api/history/a?older_than=7d", &[TOKEN])
        .await;
    assert_eq!((answer.status, &*answer.code()), (503, "no_history"));
}
