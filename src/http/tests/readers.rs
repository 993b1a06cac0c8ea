//! What is read: health, services, events, probes.

use std::time::Duration;

use serde_json::{Value, json};

use supervisor_actors::testing::external;

use super::client::Answer;
use super::world::{Setup, TOKEN, World};

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// `2026-01-02T18:30:00Z`
fn is_a_date(value: &Value) -> bool {
    let text = value.as_str().unwrap();
    text.len() == 20 && text.ends_with('Z') && humantime::parse_rfc3339(text).is_ok()
}

#[actix_web::test]
async fn the_health_endpoints_give_existing_clients_their_fields() {
    let world = World::new().await;
    world.tcp("POST", "/api/pulse/a", &[]).await;
    world.until("a", |view| view.total_pulses == 1).await;
    let answer = world.tcp("GET", "/api/health/status", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let status = answer.json();
    assert_eq!(keys(&status), ["overall_status", "services"]);
    let services = &status["services"];
    // Our own actors are none of theirs.
    assert_eq!(keys(services), ["a", "alive", "half", "ours"]);
    let a = &services["a"];
    assert_eq!(
        keys(a),
        [
            "consecutive_failures",
            "interval",
            "last_heartbeat",
            "status"
        ]
    );
    assert_eq!(a["status"], "healthy");
    assert_eq!(a["consecutive_failures"], json!(0));
    assert!(is_a_date(&a["last_heartbeat"]), "{a}");
    assert!(answer.body.contains(r#""interval":30,"#), "{}", answer.body);
    assert_eq!(services["half"]["interval"], json!(0.5));
    assert_eq!(services["half"]["last_heartbeat"], Value::Null);
    assert_eq!(services["half"]["status"], "unknown");
    // One that pulses by living has none of its own.
    assert_eq!(services["alive"]["interval"], json!(30));
    assert_eq!(status["overall_status"], "healthy");
}

#[actix_web::test]
async fn the_health_of_one_service_gives_existing_clients_their_fields() {
    let world = World::new().await;
    for _ in 0..3 {
        world.tcp("POST", "/api/pulse/a", &[]).await;
    }
    world.until("a", |view| view.total_pulses == 3).await;
    let one = world.tcp("GET", "/api/health/service/a", &[]).await.json();
    assert_eq!(
        keys(&one),
        [
            "error_count",
            "last_heartbeat",
            "service",
            "status",
            "total_pulses",
            "uptime"
        ]
    );
    assert_eq!(one["service"], "a");
    assert_eq!(one["status"], "healthy");
    assert_eq!(one["total_pulses"], json!(3));
    assert_eq!(one["error_count"], json!(0));
    assert!(is_a_date(&one["last_heartbeat"]), "{one}");
    let alive = world.tcp("GET", "/api/health/service/alive", &[]).await;
    assert_eq!(alive.json()["uptime"], "0m");
    let none = world.tcp("GET", "/api/health/service/none", &[]).await;
    assert_eq!((none.status, &*none.code()), (404, "unknown_service"));
}

#[actix_web::test]
async fn a_head_is_a_get_without_its_body() {
    let world = World::new().await;
    for path in ["/healthz", "/api/health/status", "/api/services/a"] {
        let get = world.tcp("GET", path, &[]).await;
        let head = world.tcp("HEAD", path, &[]).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert!(get.header("content-length").is_some());
        assert!(head.header("content-length").is_some());
    }
}

#[actix_web::test]
async fn who_is_going_to_follow_gets_the_services_compressed_and_where_to_go_on() {
    let services = (0..40).map(|n| external(&format!("many-{n}"), Duration::from_secs(30)));
    let world = World::with(Setup {
        specs: services.collect(),
        ..Setup::default()
    })
    .await;
    let plain = world.tcp("GET", "/api/services?follow=1", &[]).await;
    assert_eq!(plain.header("content-encoding"), None);
    let list = plain.json();
    assert_eq!(keys(&list), ["id", "overall", "services"]);
    assert!(list["id"].is_u64());
    let gzip = ["Accept-Encoding: gzip"];
    let packed = world.tcp("GET", "/api/services?follow=1", &gzip).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let length = |answer: &Answer| -> usize {
        let length = answer.header("content-length").unwrap();
        length.parse().unwrap()
    };
    assert!(length(&packed) * 4 < length(&plain), "{}", packed.head);
    // What is small is not worth it.
    let one = world.tcp("GET", "/api/services/many-1", &gzip).await;
    assert_eq!(one.header("content-encoding"), None);
    let wrong = world.tcp("GET", "/api/services?follow=maybe", &[]).await;
    assert_eq!(wrong.status, 400);
}

#[actix_web::test]
async fn services_are_listed_with_everything_that_the_contract_names() {
    let world = World::new().await;
    let answer = world.tcp("GET", "/api/services", &[]).await;
    let list = answer.json();
    assert_eq!(keys(&list), ["services"]);
    let services = list["services"].as_array().unwrap();
    let named = |name: &str| services.iter().any(|service| service["name"] == name);
    assert!(named("a") && named("internal.archive"), "{list}");
    let one = world.tcp("GET", "/api/services/ours", &[]).await.json();
    for key in [
        "name",
        "status",
        "state",
        "pid",
        "generation",
        "interval",
        "age",
        "missed",
        "consecutive_failures",
        "restarts",
        "reason",
        "last_heartbeat",
        "freshness",
        "total_pulses",
        "error_count",
        "critical",
    ] {
        assert!(one.get(key).is_some(), "{key} is missing in {one}");
    }
    let none = world.tcp("GET", "/api/services/none", &[]).await;
    assert_eq!((none.status, &*none.code()), (404, "unknown_service"));
}

#[actix_web::test]
async fn who_asks_with_next_again_and_again_gets_every_event_once() {
    let world = World::new().await;
    for n in 0..5 {
        let body = json!({ "message": format!("error {n}") }).to_string();
        world.tcp_with("POST", "/api/error/a", &[], &body).await;
    }
    let all = world
        .tcp("GET", "/api/events?service=a&limit=1000", &[])
        .await;
    let all = all.json();
    assert_eq!(keys(&all), ["events", "next"]);
    let events = all["events"].as_array().unwrap().clone();
    assert!(events.len() >= 5, "{all}");
    assert_eq!(
        keys(&events[0]),
        ["from", "id", "kind", "reason", "service", "time", "to"]
    );
    let mut seen = Vec::new();
    let mut next = json!(0);
    loop {
        let path = format!("/api/events?service=a&limit=2&since={next}");
        let page = world.tcp("GET", &path, &[]).await.json();
        next = page["next"].clone();
        let page = page["events"].as_array().unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        seen.extend(page.iter().cloned());
    }
    assert_eq!(seen, events);
    let since = events.last().unwrap()["id"].clone();
    assert_eq!(
        next, since,
        "an empty page leads on from where it was asked"
    );
    let recent = world.tcp("GET", "/api/events?since=24h&limit=3", &[]).await;
    assert_eq!(recent.json()["events"].as_array().unwrap().len(), 3);
    let wrong = world.tcp("GET", "/api/events?since=soon", &[]).await;
    assert_eq!((wrong.status, &*wrong.code()), (400, "bad_query"));
}

#[actix_web::test]
async fn the_probes_say_whether_the_loop_turns() {
    let world = World::new().await;
    for path in ["/healthz", "/readyz"] {
        let answer = world.tcp("GET", path, &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{path}");
    }
}

#[actix_web::test]
async fn beyond_loopback_public_status_opens_health_alone() {
    let world = World::with(Setup {
        listen: "0.0.0.0:0".to_owned(),
        public_status: true,
        ..Setup::default()
    })
    .await;
    for path in [
        "/healthz",
        "/readyz",
        "/api/health/status",
        "/api/health/service/a",
    ] {
        assert_eq!(world.tcp("GET", path, &[]).await.status, 200, "{path}");
    }
    for path in ["/api/services", "/api/services/a", "/api/events"] {
        assert_eq!(world.tcp("GET", path, &[]).await.status, 401, "{path}");
        assert_eq!(world.tcp("GET", path, &[TOKEN]).await.status, 200, "{path}");
    }
}
