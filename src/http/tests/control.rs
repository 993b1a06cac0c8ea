//! What an operator can do over HTTP, and what is refused.

use serde_json::json;

use super::world::{TOKEN, World};

const JSON: &str = "Content-Type: application/json";

#[actix_web::test]
async fn every_verb_answers_202_with_the_service() {
    let world = World::new().await;
    for verb in ["pause", "resume", "restart", "stop", "start", "clear"] {
        let path = format!("/api/services/ours/{verb}");
        let answer = world.tcp("POST", &path, &[TOKEN]).await;
        assert_eq!(answer.status, 202, "{verb}: {answer:?}");
        assert_eq!(answer.json()["name"], "ours", "{verb}");
    }
    world.until("ours", |view| view.pid.is_some()).await;
}

#[actix_web::test]
async fn over_the_socket_control_needs_no_token() {
    let world = World::new().await;
    let answer = world.unix("POST", "/api/services/ours/stop", &[]).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    world.until("ours", |view| view.pid.is_none()).await;
}

#[actix_web::test]
async fn a_pause_may_say_for_how_long() {
    let world = World::new().await;
    let path = "/api/services/a/pause";
    let answer = world
        .tcp_with("POST", path, &[TOKEN, JSON], r#"{"for":"1h"}"#)
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let view = answer.json();
    assert_eq!(view["state"], json!("paused"));
    let left = view["paused_for"].as_f64().unwrap();
    assert!((3_590.0..=3_600.0).contains(&left), "{left}");
    let answer = world
        .tcp_with("POST", path, &[TOKEN, JSON], r#"{"until":"1h"}"#)
        .await;
    assert_eq!((answer.status, &*answer.code()), (400, "bad_json"));
    assert!(answer.body.contains("until"), "{answer:?}");
}

#[actix_web::test]
async fn what_is_asked_for_in_the_query_is_refused_not_ignored() {
    let world = World::new().await;
    for path in ["/api/services/a/pause?for=1s", "/api/services/ours/stop?x"] {
        let answer = world.tcp("POST", path, &[TOKEN]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, "bad_query"),
            "{path}"
        );
        assert!(answer.body.contains("body"), "{answer:?}");
    }
    assert_ne!(world.actors.view("a").await.state.as_str(), "paused");
    assert!(world.actors.view("ours").await.pid.is_some());
}

#[actix_web::test]
async fn f65_a_simple_post_with_a_body_is_415() {
    let world = World::new().await;
    let path = "/api/services/ours/stop";
    for kind in ["Content-Type: text/plain", "X-Nothing: 1"] {
        let answer = world.tcp_with("POST", path, &[TOKEN, kind], "{}").await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (415, "not_json"),
            "{kind}"
        );
        let answer = world.unix_with("POST", path, &[kind], "{}").await;
        assert_eq!(answer.status, 415, "{kind}");
    }
    assert!(world.actors.view("ours").await.pid.is_some());
}

#[actix_web::test]
async fn what_cannot_be_done_is_409_with_its_reason_and_what_is_not_there_404() {
    let world = World::new().await;
    for (path, status, code) in [
        ("/api/services/none/stop", 404, "unknown_service"),
        ("/api/services/NONE/stop", 404, "unknown_service"),
        ("/api/services/a/start", 409, "not_ours"),
        ("/api/services/ours/nudge", 409, "no_nudge"),
        ("/api/services/internal.archive/stop", 409, "internal"),
    ] {
        let answer = world.tcp("POST", path, &[TOKEN]).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{path}");
    }
}
