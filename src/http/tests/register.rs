//! Services that name themselves, as they meet the API.

use serde_json::json;

use super::world::{Setup, TOKEN, World};

const JSON: &str = "Content-Type: application/json";

impl World {
    async fn register(&self, body: &str) -> super::client::Answer {
        self.tcp_with("POST", "/api/register", &[JSON], body).await
    }
}

#[actix_web::test]
async fn whoever_registers_hears_what_holds_and_the_same_again() {
    let world = World::new().await;
    let body = r#"{"tag":"late","interval":45,"critical":true}"#;
    let holds =
        json!({"tag": "late", "interval": 45, "critical": true, "on_demand": false, "tags": []});
    for _ in 0..2 {
        let answer = world.register(body).await;
        assert_eq!((answer.status, answer.json()), (200, holds.clone()));
    }
    let answer = world.tcp("POST", "/api/pulse/late", &[]).await;
    assert_eq!(answer.status, 202);
    let answer = world.tcp("GET", "/api/health/service/late", &[]).await;
    assert_eq!(answer.json()["service"], "late");
    // The plainest one, and one that says all.
    let answer = world.register(r#"{"tag":"plain"}"#).await;
    assert_eq!(answer.json()["interval"], 30);
    assert_eq!(answer.json()["critical"], true);
    let all = r#"{"tag":"late","interval":"1m 30s","critical":false,"on_demand":true,"tags":["a b"],"host":"h"}"#;
    let answer = world.register(all).await;
    let holds = json!({"tag": "late", "interval": 90, "critical": false, "on_demand": true, "tags": ["a b"]});
    assert_eq!((answer.status, answer.json()), (200, holds.clone()));
    let answer = world.tcp("GET", "/api/register", &[]).await;
    assert_eq!(answer.json()["registered"][0], holds);
    assert_eq!(answer.json()["registered"][1]["tag"], "plain");
    assert_eq!(answer.json()["limit"], 1000);
    let answer = world.tcp("GET", "/api/services/late", &[]).await;
    assert_eq!(
        answer.json()["interval"],
        serde_json::Value::Null,
        "on demand"
    );
    assert_eq!(answer.json()["critical"], false);
}

#[actix_web::test]
async fn whoever_goes_is_gone_and_going_twice_is_404() {
    let world = World::new().await;
    world.register(r#"{"tag":"late"}"#).await;
    let answer = world.tcp("DELETE", "/api/register/late", &[]).await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    for (method, path) in [
        ("DELETE", "/api/register/late"),
        ("POST", "/api/pulse/late"),
        ("GET", "/api/services/late"),
        ("DELETE", "/api/register/No%20Name"),
    ] {
        let answer = world.tcp(method, path, &[]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (404, "unknown_service"),
            "{path}"
        );
    }
    let answer = world.tcp("POST", "/api/register/late", &[]).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("delete"))
    );
    let answer = world.tcp("PUT", "/api/register", &[]).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("get, head, post"))
    );
}

#[actix_web::test]
async fn f60_a_wrong_registration_is_refused_with_what_would_be_right() {
    let world = World::new().await;
    let long = format!(r#"{{"tag":"{}"}}"#, "a".repeat(65));
    let many = format!(r#"{{"tag":"x","tags":[{}"a"]}}"#, "\"a\",".repeat(16));
    for (body, code, named) in [
        ("", "bad_json", "EOF"),
        ("[]", "bad_json", "array"),
        ("{}", "bad_json", "missing field `tag`"),
        (r#"{"tag":5}"#, "bad_json", "string"),
        (r#"{"tag":null}"#, "bad_json", "null"),
        (r#"{"tag":"x","tag":"y"}"#, "bad_json", "duplicate"),
        (r#"{"tag":""}"#, "bad_tag", "empty"),
        (r#"{"tag":"Save Worker"}"#, "bad_tag", "'S'"),
        (r#"{"tag":"../x"}"#, "bad_tag", "'.'"),
        (r#"{"tag":"x/../y"}"#, "bad_tag", "'/'"),
        (&long, "bad_tag", "65 bytes"),
        (r#"{"tag":"x","interval":0}"#, "bad_interval", "100 ms"),
        (r#"{"tag":"x","interval":0.05}"#, "bad_interval", "50ms"),
        (r#"{"tag":"x","interval":-5}"#, "bad_json", "-5"),
        (r#"{"tag":"x","interval":1e300}"#, "bad_json", "too big"),
        (r#"{"tag":"x","interval":1e9}"#, "bad_interval", "366 days"),
        (r#"{"tag":"x","interval":"soon"}"#, "bad_json", "soon"),
        (r#"{"tag":"x","interval":"Auto"}"#, "bad_json", "Auto"),
        (r#"{"tag":"x","interval":true}"#, "bad_json", "auto"),
        (
            r#"{"tag":"x","interval":"auto","on_demand":true}"#,
            "bad_interval",
            "on demand",
        ),
        (r#"{"tag":"x","interval":NaN}"#, "bad_json", "expected"),
        (r#"{"tag":"x","critical":"yes"}"#, "bad_json", "bool"),
        (r#"{"tag":"x","tags":"core"}"#, "bad_json", "sequence"),
        (r#"{"tag":"x","tags":[""]}"#, "bad_tags", "1 to 64"),
        (r#"{"tag":"x","tags":["a\nb"]}"#, "bad_tags", "control"),
        (&many, "bad_tags", "at most 16"),
        (
            r#"{"tag":"x","tags":["unfit"]}"#,
            "unfit",
            "it says so itself",
        ),
    ] {
        let answer = world.register(body).await;
        assert_eq!((answer.status, &*answer.code()), (400, code), "{body}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(named), "{body}: {detail}");
    }
    let answer = world
        .tcp_with("POST", "/api/register", &[], r#"{"tag":"x"}"#)
        .await;
    assert_eq!((answer.status, &*answer.code()), (415, "not_json"));
    let answer = world.tcp("GET", "/api/register", &[]).await;
    assert_eq!(answer.json()["registered"], json!([]));
}

#[actix_web::test]
async fn an_interval_may_be_left_to_be_learnt() {
    let world = World::new().await;
    let answer = world.register(r#"{"tag":"x","interval":"auto"}"#).await;
    assert_eq!(
        (answer.status, &answer.json()["interval"]),
        (200, &json!("auto"))
    );
    let all = world.tcp("GET", "/api/register", &[]).await;
    assert_eq!(all.json()["registered"][0]["interval"], "auto");
    let shown = world.tcp("GET", "/api/services/x", &[]).await.json();
    assert_eq!(
        (&shown["interval"], &shown["interval_source"]),
        (&json!(null), &json!("learning"))
    );
    let answer = world.register(r#"{"tag":"x","interval":5}"#).await;
    assert_eq!(answer.json()["interval"], 5);
    let shown = world.tcp("GET", "/api/services/x", &[]).await.json();
    assert_eq!(
        (&shown["interval"], &shown["interval_source"]),
        (&json!(5.0), &json!("configured"))
    );
}

#[actix_web::test]
async fn names_of_the_configuration_and_of_ours_are_not_given_away() {
    let world = World::new().await;
    let answer = world.register(r#"{"tag":"a"}"#).await;
    assert_eq!((answer.status, &*answer.code()), (409, "configured"));
    let answer = world.tcp("DELETE", "/api/register/a", &[]).await;
    assert_eq!((answer.status, &*answer.code()), (409, "configured"));
    let answer = world.register(r#"{"tag":"internal.archive"}"#).await;
    assert_eq!((answer.status, &*answer.code()), (403, "internal"));
    let answer = world
        .tcp("DELETE", "/api/register/internal.archive", &[])
        .await;
    assert_eq!((answer.status, &*answer.code()), (403, "internal"));
}

#[actix_web::test]
async fn where_nobody_may_register_nobody_does_and_only_the_owner_takes_out() {
    let world = World::with(Setup {
        allow_registration: false,
        ..Setup::default()
    })
    .await;
    for headers in [&[JSON][..], &[JSON, TOKEN]] {
        let answer = world
            .tcp_with("POST", "/api/register", headers, r#"{"tag":"late"}"#)
            .await;
        assert_eq!((answer.status, &*answer.code()), (403, "registration_off"));
    }
    let answer = world.tcp("DELETE", "/api/register/late", &[]).await;
    assert_eq!((answer.status, &*answer.code()), (401, "token_required"));
    let answer = world.tcp("DELETE", "/api/register/late", &[TOKEN]).await;
    assert_eq!((answer.status, &*answer.code()), (404, "unknown_service"));
}

#[actix_web::test]
async fn beyond_loopback_registering_needs_the_token() {
    let world = World::with(Setup {
        listen: "0.0.0.0:0".to_owned(),
        ..Setup::default()
    })
    .await;
    let body = r#"{"tag":"late"}"#;
    let answer = world.register(body).await;
    assert_eq!((answer.status, &*answer.code()), (401, "token_required"));
    let answer = world
        .tcp_with("POST", "/api/register", &[JSON, TOKEN], body)
        .await;
    assert_eq!(answer.status, 200);
    let answer = world.tcp("DELETE", "/api/register/late", &[]).await;
    assert_eq!((answer.status, &*answer.code()), (401, "token_required"));
    let answer = world.tcp("DELETE", "/api/register/late", &[TOKEN]).await;
    assert_eq!(answer.status, 204);
}

#[actix_web::test]
async fn f37_what_cannot_be_recorded_is_done_and_said_so() {
    let world = World::new().await;
    let full = supervisor_actors::ports::StoreError::Unavailable("disk full".to_owned());
    world.stage.store.fail(Some(full));
    let answer = world.register(r#"{"tag":"late"}"#).await;
    assert_eq!((answer.status, &*answer.code()), (507, "not_recorded"));
    let answer = world.tcp("POST", "/api/pulse/late", &[]).await;
    assert_eq!(answer.status, 202);
}
