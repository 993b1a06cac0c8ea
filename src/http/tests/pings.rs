//! Ping URLs, through real sockets and actors.

use supervisor_actors::ports::StoreError;

use super::client;
use super::world::{Setup, TOKEN, World};
use crate::ping_keys::{PingKeys, ProjectKey};
use crate::uuid::Uuid;

const KEY: &str = "fqOOd6-F4MMNuCEnzTU01w";
const UUID: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";
const RID: &str = "123e4567-e89b-12d3-a456-426614174000";

fn keys() -> PingKeys {
    let name = supervisor_core::ServiceName::new("a").unwrap();
    let own = [(name, Uuid::parse(UUID).unwrap())];
    PingKeys::new(Some(ProjectKey::new(KEY).unwrap()), own)
}

async fn world() -> World {
    World::with(Setup {
        ping_keys: keys(),
        ..Setup::default()
    })
    .await
}

impl World {
    /// A ping that must be taken.
    #[track_caller]
    fn ok(&self, method: &str, path: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        let (method, path) = (method.to_owned(), path.to_owned());
        async move {
            let answer = self.tcp(&method, &path, &[]).await;
            assert_eq!(answer.status, 200, "{place}: {answer:?}");
        }
    }
}

#[actix_web::test]
async fn every_dialect_pulses() {
    let world = world().await;
    let bearer = format!("Authorization: Bearer {KEY}");
    let own = format!("Authorization: Bearer {UUID}");
    let mut count = 0;
    for (method, path, headers, body) in [
        ("GET", format!("/ping/{UUID}"), &[][..], "OK"),
        ("HEAD", format!("/ping/{UUID}"), &[], ""),
        ("POST", format!("/ping/{UUID}/"), &[], "OK"),
        ("PUT", format!("/ping/{KEY}/a"), &[], "OK"),
        ("GET", format!("/ping/{KEY}/a/0"), &[], "OK"),
        ("GET", format!("/p/{KEY}/a"), &[], "OK"),
        ("GET", format!("/p/{UUID}/a?state=ok"), &[], "OK"),
        ("GET", format!("/p/{KEY}/a?state=complete"), &[], "OK"),
        ("GET", format!("/api/push/{KEY}-a"), &[], r#"{"ok":true}"#),
        (
            "DELETE",
            format!("/api/push/{UUID}?status=up&msg=OK&ping="),
            &[],
            r#"{"ok":true}"#,
        ),
        (
            "PATCH",
            format!("/api/push/{}?ping=12", UUID.replace('-', "")),
            &[],
            r#"{"ok":true}"#,
        ),
        (
            "POST",
            "/api/v1/endpoints/core_a/external?success=true".to_owned(),
            &[bearer.as_str()],
            "",
        ),
        (
            "POST",
            "/api/v1/endpoints/a/external?success=true&duration=3s".to_owned(),
            &[own.as_str()],
            "",
        ),
    ] {
        let answer = world.tcp(method, &path, headers).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
        count += 1;
    }
    let view = world.until("a", |view| view.total_pulses == count).await;
    assert_eq!(view.status.as_str(), "healthy");
    assert_eq!(view.metrics["ping"].value, 12.0);
    assert_eq!(view.metrics["duration"].value, 3.0);
}

#[actix_web::test]
async fn every_dialect_reports_errors() {
    let world = world().await;
    let bearer = format!("Authorization: Bearer {KEY}");
    let mut count = 0;
    for (method, path, reason) in [
        ("GET", format!("/ping/{UUID}/fail"), "run failed"),
        (
            "GET",
            format!("/ping/{KEY}/a/3"),
            "run failed with exit code 3",
        ),
        (
            "GET",
            format!("/p/{KEY}/a?state=fail&message=disk+full"),
            "run failed: disk full",
        ),
        (
            "GET",
            format!("/api/push/{KEY}-a?status=down&msg=no+route"),
            "no route",
        ),
        (
            "POST",
            "/api/v1/endpoints/x_a/external?success=false&error=refused".to_owned(),
            "refused",
        ),
    ] {
        let answer = world.tcp(method, &path, &[&bearer]).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        count += 1;
        let view = world.actors.view("a").await;
        assert_eq!(view.error_count, count, "{path}");
        assert!(view.reason.ends_with(reason), "{path}: {}", view.reason);
    }
}

#[actix_web::test]
async fn a_run_has_its_duration_its_code_and_what_it_printed() {
    let world = world().await;
    let start = format!("/ping/{UUID}/start?rid={RID}");
    world.ok("POST", &start).await;
    let view = world.actors.view("a").await;
    assert_eq!(
        (view.total_pulses, view.run.unwrap().rid.as_deref()),
        (0, Some(RID))
    );
    let path = format!("/ping/{UUID}/3?rid={RID}");
    let answer = world.tcp_with("POST", &path, &[], "no space left\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("ping-body-limit"), Some("10000"));
    let run = world.tcp("GET", "/api/runs/a/1", &[TOKEN]).await.json();
    assert_eq!(run["rid"], RID);
    assert_eq!(run["outcome"], "failure");
    assert_eq!(run["exit_code"], 3);
    assert_eq!(run["output"], "no space left\n");
    assert!(run["duration"].as_f64().unwrap() >= 0.0);
}

#[actix_web::test]
async fn a_plain_success_ends_a_run_that_is_under_way() {
    let world = world().await;
    world.ok("GET", &format!("/ping/{KEY}/a/start")).await;
    world.ok("GET", &format!("/ping/{KEY}/a")).await;
    let view = world.actors.view("a").await;
    assert_eq!((view.run, view.total_pulses), (None, 1));
    assert!(view.last_run.unwrap().duration.is_some());
    // With none under way it is a pulse and no run.
    world.ok("GET", &format!("/ping/{KEY}/a")).await;
    world.until("a", |view| view.total_pulses == 2).await;
    let list = world.tcp("GET", "/api/runs/a", &[]).await.json();
    assert_eq!(list["runs"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_log_is_kept_and_changes_nothing() {
    let world = world().await;
    world.ok("GET", &format!("/ping/{UUID}/start")).await;
    let path = format!("/ping/{UUID}/log");
    let answer = world.tcp_with("POST", &path, &[], "half way").await;
    assert_eq!(answer.status, 200);
    let view = world.actors.view("a").await;
    assert!(view.run.is_some());
    assert_eq!((view.total_pulses, view.status.as_str()), (0, "unknown"));
    let run = world.tcp("GET", "/api/runs/a/1", &[TOKEN]).await.json();
    assert_eq!(
        (&run["outcome"], &run["output"]),
        (&"log".into(), &"half way".into())
    );
}

#[actix_web::test]
async fn of_a_body_the_first_10000_bytes_are_kept_and_10_mib_are_read() {
    let world = world().await;
    let path = format!("/ping/{UUID}/1");
    let long = format!("begin{}", "x".repeat(3 << 20));
    let answer = world.tcp_with("POST", &path, &[], &long).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    let run = world.tcp("GET", "/api/runs/a/1", &[TOKEN]).await.json();
    let output = run["output"].as_str().unwrap();
    assert_eq!(output.len(), 10_000);
    assert!(output.starts_with("begin"));
    // A compressed one is no text of ours, but a ping all the same.
    let answer = world
        .tcp_with("POST", &path, &["Content-Encoding: gzip"], "\u{1f}\u{8b}")
        .await;
    assert_eq!(answer.status, 200);
    let run = world.tcp("GET", "/api/runs/a/2", &[TOKEN]).await.json();
    assert_eq!(run.get("output"), None);
}

#[actix_web::test]
async fn f59_a_body_beyond_that_is_413_and_no_ping() {
    let world = world().await;
    let head = format!(
        "POST /ping/{UUID} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
    );
    let answer = world.raw(head).await;
    assert_eq!(answer.status, 413);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(world.actors.view("a").await.total_pulses, 0);
}

#[actix_web::test]
async fn f61_f62_hostile_paths_are_refused_and_nothing_grows() {
    let world = world().await;
    for path in [
        "/ping/%ff/a",
        "/ping/..%2f..%2fetc/passwd",
        "/ping/../../etc/passwd",
        "/p/%00/a",
        "/api/push/%c3%28",
        "/api/v1/endpoints/..%5c/external?success=true",
    ] {
        let answer = world.tcp("POST", path, &[]).await;
        assert!((400..=404).contains(&answer.status), "{path}: {answer:?}");
    }
    let services = world.unix("GET", "/api/services", &[]).await.json();
    let names: Vec<_> = services["services"].as_array().unwrap().iter().collect();
    assert!(names.iter().all(|service| service["name"] != "etc"));
}

#[actix_web::test]
async fn f63_an_unknown_slug_is_not_found_and_stays_unknown() {
    let world = world().await;
    for path in [
        format!("/ping/{KEY}/stranger"),
        format!("/ping/{KEY}/stranger/start"),
        format!("/ping/{KEY}/internal.archive"),
        format!("/ping/{KEY}/A"),
        format!("/ping/{RID}"),
        format!("/p/{KEY}/stranger?state=run"),
    ] {
        let answer = world.tcp("GET", &path, &[]).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (404, "not found"),
            "{path}"
        );
    }
    let answer = world
        .tcp("GET", &format!("/api/push/{KEY}-stranger"), &[])
        .await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["ok"], false);
    let bearer = format!("Authorization: Bearer {KEY}");
    let path = "/api/v1/endpoints/a_stranger/external?success=true";
    let answer = world.tcp("POST", path, &[&bearer]).await;
    assert_eq!((answer.status, answer.body.as_str()), (404, "not found"));
    // A uuid is good for its own service alone.
    for path in [format!("/p/{UUID}/half"), format!("/ping/{UUID}/half")] {
        assert_eq!(world.tcp("GET", &path, &[]).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn f64_a_wrong_key_is_like_an_unknown_service_and_soon_429_but_silences_nobody() {
    let world = world().await;
    let mut seen = Vec::new();
    for n in 0..30 {
        let path = format!("/ping/wrong-key-{n:010}/a");
        let answer = world.tcp("GET", &path, &[]).await;
        if answer.status == 429 {
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=5).contains(&wait));
        }
        seen.push(answer.status);
    }
    assert!(seen.starts_with(&[404; 10]), "{seen:?}");
    assert_eq!(seen.last(), Some(&429), "{seen:?}");
    // Whoever has a key is heard, and the owner's token is looked at as before.
    world.ok("GET", &format!("/ping/{KEY}/a")).await;
    world.ok("GET", &format!("/ping/{UUID}")).await;
    let answer = world.tcp("POST", "/api/services/a/pause", &[TOKEN]).await;
    assert_eq!(answer.status, 202);
    assert_eq!(world.stage.log.with("wrong ping key presented").len(), 1);
    assert!(
        world.stage.log.with("wrong-key-").is_empty(),
        "never logged"
    );
}

#[actix_web::test]
async fn without_a_key_every_ping_is_404() {
    let world = World::new().await;
    for n in 0..20 {
        for path in [
            format!("/ping/{KEY}/a"),
            format!("/ping/{UUID}"),
            format!("/p/{KEY}/a"),
            format!("/api/push/{KEY}-a"),
            "/ping//a".to_owned(),
            "/api/push/-a".to_owned(),
        ] {
            let answer = world.tcp("GET", &path, &[]).await;
            assert_eq!(answer.status, 404, "{n} {path}");
        }
    }
    assert_eq!(world.actors.view("a").await.total_pulses, 0);
}

#[actix_web::test]
async fn beyond_loopback_a_ping_needs_its_key_and_no_token() {
    let world = World::with(Setup {
        listen: "0.0.0.0:0".to_owned(),
        ping_keys: keys(),
        ..Setup::default()
    })
    .await;
    world.ok("GET", &format!("/ping/{UUID}")).await;
    world.ok("GET", &format!("/ping/{KEY}/a/start")).await;
    // What it does not open is closed.
    assert_eq!(world.tcp("POST", "/api/pulse/a", &[]).await.status, 401);
    assert_eq!(world.tcp("GET", "/api/runs/a", &[]).await.status, 401);
    // On the socket, too, it is the key that counts.
    let answer = world.unix("GET", &format!("/ping/{UUID}"), &[]).await;
    assert_eq!(answer.status, 200);
    let answer = world.unix("GET", "/ping/wrong/a", &[]).await;
    assert_eq!(answer.status, 404);
}

#[actix_web::test]
async fn f65_another_sites_page_cannot_ping() {
    let world = world().await;
    let path = format!("/ping/{UUID}");
    let answer = world
        .tcp("GET", &path, &["Origin: http://evil.example"])
        .await;
    assert_eq!(answer.status, 403);
    assert_eq!(world.actors.view("a").await.total_pulses, 0);
}

#[actix_web::test]
async fn other_methods_are_405() {
    let world = world().await;
    for (method, path) in [
        ("DELETE", format!("/ping/{UUID}")),
        ("OPTIONS", format!("/ping/{UUID}")),
        ("PATCH", format!("/p/{KEY}/a")),
        (
            "GET",
            "/api/v1/endpoints/a/external?success=true".to_owned(),
        ),
    ] {
        let answer = world.tcp(method, &path, &[]).await;
        assert_eq!(answer.status, 405, "{method} {path}");
    }
}

#[actix_web::test]
async fn create_watches_a_new_service_and_says_so_once() {
    let world = world().await;
    let path = format!("/ping/{KEY}/nightly/start?create=1");
    let answer = world.tcp("POST", &path, &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, "Created"));
    let view = world.actors.view("nightly").await;
    assert_eq!(view.interval, Some(86_400.0));
    assert!(view.run.is_some());
    world
        .ok("POST", &format!("/ping/{KEY}/nightly/0?create=1"))
        .await;
    world.ok("GET", &format!("/ping/{KEY}/nightly")).await;
    let view = world.until("nightly", |view| view.total_pulses == 2).await;
    assert_eq!(view.status.as_str(), "healthy");
    let registered = world.tcp("GET", "/api/register", &[]).await;
    assert!(
        registered.body.contains("nightly"),
        "it may be taken out again"
    );

    for (slug, status) in [("Nightly", 400), ("internal.x", 403), ("-x", 400)] {
        let path = format!("/ping/{KEY}/{slug}?create=1");
        assert_eq!(world.tcp("GET", &path, &[]).await.status, status, "{slug}");
    }
    let path = "/ping/wrong-wrong-wrong/new?create=1";
    assert_eq!(world.tcp("GET", path, &[]).await.status, 404);
    assert!(world.actors.directory.get("new").is_none());
}

#[actix_web::test]
async fn f37_what_cannot_be_recorded_is_507_and_counts_all_the_same() {
    let world = world().await;
    let full = StoreError::Unavailable("disk full".to_owned());
    world.stage.store.fail(Some(full));
    let answer = world.tcp("GET", &format!("/ping/{UUID}/1"), &[]).await;
    assert_eq!(answer.status, 507);
    assert!(answer.body.contains("disk full"), "{answer:?}");
    assert_eq!(world.actors.view("a").await.error_count, 1);
    // A plain success promises nothing about the record.
    world.ok("GET", &format!("/ping/{UUID}")).await;
}

#[actix_web::test]
async fn a_figure_that_is_none_is_said_and_the_ping_is_taken_without_it() {
    let world = world().await;
    let path = format!("/p/{KEY}/a?state=complete&metric=count:NaN&metric=rows:7");
    let answer = world.tcp("GET", &path, &[]).await;
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("metric=count:NaN"), "{answer:?}");
    let view = world.actors.view("a").await;
    assert_eq!((view.total_pulses, view.metrics["rows"].value), (1, 7.0));
}

#[actix_web::test]
async fn pings_share_a_connection_and_each_is_answered() {
    let world = world().await;
    let mut stream = client::tcp(world.address).await;
    let head =
        |path: &str, extra: &str| format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n");
    let requests = [
        head(&format!("/ping/{UUID}/start"), "Content-Length: 0\r\n"),
        head(&format!("/ping/{UUID}/log"), "Content-Length: 5\r\n") + "hello",
        head(&format!("/p/{KEY}/a?state=ok"), "Content-Length: 3\r\n") + "abc",
        head(
            &format!("/ping/{UUID}/0"),
            "Content-Length: 2\r\nConnection: close\r\n",
        ) + "by",
    ]
    .concat();
    tokio::io::AsyncWriteExt::write_all(&mut stream, requests.as_bytes())
        .await
        .unwrap();
    let mut answers = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answers)
        .await
        .unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 4, "{answers}");
    world.until("a", |view| view.total_pulses == 2).await;
}
