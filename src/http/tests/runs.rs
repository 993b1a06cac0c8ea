//! Runs over HTTP.

use serde_json::json;
use supervisor_actors::ports::StoreError;

use super::world::{Setup, TOKEN, World};

const CHILD: &str = "Authorization: Bearer child-token-of-a";

impl World {
    async fn run(&self, body: &str) -> u16 {
        self.tcp_with("POST", "/api/run/a", &[], body).await.status
    }
}

#[actix_web::test]
async fn a_run_is_told_recorded_shown_and_read() {
    let world = World::new().await;
    assert_eq!(world.run(r#"{"state":"start","rid":"r-1"}"#).await, 202);
    let service = world.tcp("GET", "/api/services/a", &[]).await.json();
    assert_eq!(service["run"]["rid"], "r-1");
    assert_eq!(service["total_pulses"], 0);

    let end = r#"{"rid":"r-1","exit_code":0,"output":"hello\n","message":"7 rows"}"#;
    assert_eq!(world.run(end).await, 202);
    let service = world.tcp("GET", "/api/services/a", &[]).await.json();
    assert_eq!(service["run"], json!(null));
    assert_eq!(service["last_run"]["outcome"], "success");
    assert_eq!(service["last_run"]["exit_code"], 0);
    assert_eq!(service["message"], "7 rows");
    assert_eq!(
        (&service["status"], &service["total_pulses"]),
        (&json!("healthy"), &json!(1))
    );

    let list = world.tcp("GET", "/api/runs/a", &[]).await.json();
    assert_eq!(list["next"], json!(null));
    let run = &list["runs"][0];
    assert_eq!((&run["id"], &run["rid"]), (&json!(1), &json!("r-1")));
    assert!(run["duration"].is_f64() && run["started_at"].is_string());
    assert_eq!(run.get("output"), None, "what was printed is no list's");

    let one = world.tcp("GET", "/api/runs/a/1", &[TOKEN]).await.json();
    assert_eq!(one["output"], "hello\n");
}

#[actix_web::test]
async fn a_failed_run_is_an_error_of_the_service() {
    let world = World::new().await;
    let end = r#"{"exit_code":3,"duration":2.5,"message":"disk full"}"#;
    assert_eq!(world.run(end).await, 202);
    let view = world.actors.view("a").await;
    assert_eq!((view.status.as_str(), view.error_count), ("warning", 1));
    assert_eq!(
        view.reason,
        "run failed with exit code 3 after 2.5 s: disk full"
    );
}

#[actix_web::test]
async fn many_runs_are_read_page_by_page() {
    let world = World::new().await;
    for _ in 0..5 {
        assert_eq!(world.run(r#"{"exit_code":0}"#).await, 202);
    }
    let mut path = "/api/runs/a?limit=2".to_owned();
    let mut ids = Vec::new();
    loop {
        let page = world.tcp("GET", &path, &[]).await.json();
        let runs = page["runs"].as_array().unwrap();
        ids.extend(runs.iter().map(|run| run["id"].as_i64().unwrap()));
        match page["next"].as_i64() {
            Some(next) => path = format!("/api/runs/a?limit=2&before={next}"),
            None => break,
        }
    }
    assert_eq!(ids, [5, 4, 3, 2, 1]);
}

#[actix_web::test]
async fn f63_runs_of_unknown_services_and_unknown_runs_are_not_found() {
    let world = World::new().await;
    for (method, path, code) in [
        ("POST", "/api/run/stranger", "unknown_service"),
        ("GET", "/api/runs/stranger", "unknown_service"),
        ("GET", "/api/runs/a/1", "unknown_run"),
        ("GET", "/api/runs/a/x", "unknown_run"),
        ("GET", "/api/runs/a/99999999999999999999", "unknown_run"),
    ] {
        let answer = world.tcp(method, path, &[TOKEN]).await;
        assert_eq!((answer.status, &*answer.code()), (404, code), "{path}");
    }
    let answer = world
        .tcp("POST", "/api/run/internal.archive", &[TOKEN])
        .await;
    assert_eq!((answer.status, &*answer.code()), (403, "internal"));
}

#[actix_web::test]
async fn f37_a_run_that_cannot_be_recorded_is_507_and_judged_all_the_same() {
    let world = World::new().await;
    let full = StoreError::Unavailable("disk full".to_owned());
    world.stage.store.fail(Some(full));
    assert_eq!(world.run(r#"{"exit_code":1}"#).await, 507);
    assert_eq!(world.actors.view("a").await.error_count, 1);
    world.stage.store.fail(None);
    for _ in 0..500 {
        // The archive tries again now and then, and refuses in between.
        if world.run(r#"{"exit_code":0}"#).await == 202 {
            break;
        }
        actix_web::rt::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let list = world.tcp("GET", "/api/runs/a?limit=1000", &[]).await.json();
    let runs = list["runs"].as_array().unwrap();
    assert!(
        runs.iter().any(|run| run["outcome"] == "failure"),
        "not lost: {list}"
    );
}

#[actix_web::test]
async fn a_bad_figure_is_said_and_the_run_is_taken_without_it() {
    let world = World::new().await;
    let body = r#"{"exit_code":0,"metrics":{"Rows":1}}"#;
    assert_eq!(world.run(body).await, 422);
    assert_eq!(world.actors.view("a").await.total_pulses, 1);
}

#[actix_web::test]
async fn what_a_run_printed_needs_the_token_and_beyond_loopback_everything_does() {
    let world = World::new().await;
    world.run(r#"{"exit_code":0,"output":"secret"}"#).await;
    let answer = world.tcp("GET", "/api/runs/a/1", &[]).await;
    assert_eq!((answer.status, &*answer.code()), (401, "token_required"));
    assert_eq!(world.unix("GET", "/api/runs/a/1", &[]).await.status, 200);

    let world = World::with(Setup {
        listen: "0.0.0.0:0".to_owned(),
        ..Setup::default()
    })
    .await;
    for (method, path) in [("POST", "/api/run/a"), ("GET", "/api/runs/a")] {
        let answer = world.tcp(method, path, &[]).await;
        assert_eq!(answer.status, 401, "{path}");
    }
    let body = r#"{"exit_code":0}"#;
    let answer = world.tcp_with("POST", "/api/run/a", &[CHILD], body).await;
    assert_eq!(answer.status, 202);
    assert_eq!(world.tcp("GET", "/api/runs/a", &[CHILD]).await.status, 401);
}
