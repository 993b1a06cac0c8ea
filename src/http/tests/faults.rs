//! What comes in broken, too big, too slow or on purpose.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client;
use super::world::{Setup, TOKEN, World};
use crate::http::Patience;

/// Impatient enough for a test.
fn impatient() -> Setup {
    Setup {
        patience: Patience {
            head: Duration::from_millis(500),
            body: Duration::from_millis(500),
            answer: Duration::from_millis(500),
            ..Patience::default()
        },
        ..Setup::default()
    }
}

#[actix_web::test]
async fn f59_a_huge_body_is_413_whether_announced_or_not() {
    let world = World::with(impatient()).await;
    let huge = "x".repeat(64 * 1024 + 1);
    for path in ["/api/pulse/a", "/api/error/a"] {
        let answer = world.tcp_with("POST", path, &[], &huge).await;
        assert_eq!((answer.status, &*answer.code()), (413, "body_too_large"));
    }
    let control = "/api/services/a/pause";
    let answer = world.tcp_with("POST", control, &[TOKEN], &huge).await;
    assert_eq!(answer.status, 413);
    let mut chunked = client::request("POST", "/api/pulse/a", &["Transfer-Encoding: chunked"], "");
    for _ in 0..5 {
        chunked.push_str(&format!("4000\r\n{}\r\n", "x".repeat(0x4000)));
    }
    assert_eq!(world.raw(chunked).await.status, 413);
    let announced =
        "POST /api/pulse/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n";
    assert_eq!(world.raw(announced).await.status, 413);
}

#[actix_web::test]
async fn f67_the_rest_of_a_refused_body_is_not_waited_for() {
    let world = World::with(impatient()).await;
    let head = "POST /api/pulse/none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n";
    assert_eq!(world.raw(head).await.status, 404);
}

#[actix_web::test]
async fn f59_a_huge_header_is_431() {
    let world = World::new().await;
    let huge = format!("X-Big: {}", "x".repeat(200_000));
    assert_eq!(world.tcp("GET", "/healthz", &[&huge]).await.status, 431);
    let many: Vec<String> = (0..500).map(|n| format!("X-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(world.tcp("GET", "/healthz", &many).await.status, 431);
}

#[actix_web::test]
async fn f61_a_path_that_is_not_utf8_is_a_400() {
    let world = World::new().await;
    let answer = world.tcp("POST", "/api/pulse/%ff%fe", &[]).await;
    assert_eq!((answer.status, &*answer.code()), (400, "bad_path"));
    let raw = b"POST /api/pulse/\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(world.raw(raw).await.status, 400);
}

#[actix_web::test]
async fn f62_a_path_that_climbs_is_a_400() {
    let world = World::new().await;
    for path in [
        "/api/logs/..%2f..%2fetc%2fpasswd",
        "/api/logs/%2e%2e%2f",
        "/api/logs/../../etc/passwd",
        "/api/logs/..%5c..",
        "/api/logs/a%00.log",
    ] {
        let answer = world.tcp("GET", path, &[TOKEN]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, "bad_path"),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn f67_a_slow_header_is_408() {
    let world = World::with(impatient()).await;
    let mut stream = client::tcp(world.address).await;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHos")
        .await
        .unwrap();
    let answer = client::exchange(stream, b"").await;
    assert_eq!(answer.status, 408);
}

#[actix_web::test]
async fn f67_a_slow_body_is_408() {
    let world = World::with(impatient()).await;
    let mut stream = client::tcp(world.address).await;
    let head = "POST /api/pulse/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Dripping on does not help: the deadline is for the whole.
    let (mut reader, mut writer) = stream.into_split();
    let dripping = actix_web::rt::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            actix_web::rt::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let text = client::read_until(&mut reader, "slow_body").await;
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    dripping.abort();
}

#[actix_web::test]
async fn f67_a_slow_header_on_a_kept_connection_is_cut_off_too() {
    let world = World::with(impatient()).await;
    let mut stream = client::tcp(world.address).await;
    let first = "GET /api/none HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(first.as_bytes()).await.unwrap();
    client::read_until(&mut stream, "not_found").await;
    #[expect(clippy::disallowed_methods, reason = "a test of a real deadline")]
    let began = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    writer
        .write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    let dripping = actix_web::rt::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            actix_web::rt::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut rest = Vec::new();
    let end = reader.read_to_end(&mut rest);
    // Closed or reset, but not kept.
    let _ = actix_web::rt::time::timeout(Duration::from_secs(20), end)
        .await
        .expect("a dripping client keeps its connection");
    assert!(began.elapsed() < Duration::from_secs(10));
    dripping.abort();
}

#[actix_web::test]
async fn what_is_not_ours_is_404_and_a_wrong_method_is_405() {
    let world = World::new().await;
    for path in [
        "/index.html",
        "/nope",
        "/api",
        "/api/services/a/format",
        "/metrics/x",
    ] {
        let answer = world.tcp("GET", path, &[]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (404, "not_found"),
            "{path}"
        );
    }
    for (method, path, allow) in [
        ("GET", "/api/pulse/a", "post"),
        ("HEAD", "/api/error/a", "post"),
        ("GET", "/api/services/a/stop", "post"),
        ("POST", "/api/health/status", "get, head"),
        ("DELETE", "/api/services/a", "get, head"),
        ("OPTIONS", "/api/pulse/a", "post"),
    ] {
        let answer = world.tcp(method, path, &[]).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}
