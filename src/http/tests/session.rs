//! Signing in, and the dashboard's files.

use serde_json::{Value, json};

use super::client::Answer;
use super::world::{Setup, TOKEN, World};

const JSON: &str = "Content-Type: application/json";

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").unwrap();
    let lower = set.to_ascii_lowercase();
    for part in ["; path=/", "; httponly", "; samesite=strict", "; max-age="] {
        assert!(lower.contains(part), "{set}");
    }
    format!("Cookie: other=1; {}", set.split(';').next().unwrap())
}

async fn sign_in(world: &World, body: &Value) -> Answer {
    let origin = format!("Origin: http://{}", world.address);
    let host = format!("Host: {}", world.address);
    let headers = [JSON, &*origin, &*host];
    world
        .tcp_with("POST", "/login", &headers, &body.to_string())
        .await
}

#[actix_web::test]
async fn the_token_is_traded_for_a_session_that_reads_and_commands() {
    let world = World::new().await;
    let answer = sign_in(&world, &json!({"token": "test-token-0123456789"})).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let cookie = cookie(&answer);
    let origin = format!("Origin: http://{}", world.address);
    let host = format!("Host: {}", world.address);
    let known = world.tcp("GET", "/api/session", &[&cookie]).await.json();
    assert_eq!(known["signed_in"], true);
    let log = world.tcp("GET", "/api/logs/ours", &[&cookie]).await;
    assert_eq!(log.status, 200);
    let paused = [&*cookie, &origin, &host];
    let answer = world.tcp("POST", "/api/services/a/pause", &paused).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let out = world.tcp("POST", "/logout", &paused).await;
    let set = out.header("set-cookie").unwrap().to_ascii_lowercase();
    assert!(set.contains("max-age=0"), "{set}");
}

#[actix_web::test]
async fn f65_a_session_changes_nothing_without_a_word_on_the_page_it_comes_from() {
    let world = World::new().await;
    let answer = sign_in(&world, &json!({"token": "test-token-0123456789"})).await;
    let cookie = cookie(&answer);
    let answer = world.tcp("POST", "/api/services/a/pause", &[&cookie]).await;
    assert_eq!((answer.status, &*answer.code()), (401, "token_required"));
    let site = ["Sec-Fetch-Site: same-origin", &*cookie];
    assert_eq!(
        world
            .tcp("POST", "/api/services/a/pause", &site)
            .await
            .status,
        202
    );
    for foreign in ["Origin: http://evil.example", "Sec-Fetch-Site: same-site"] {
        let headers = [&*cookie, foreign];
        let answer = world.tcp("POST", "/api/services/a/resume", &headers).await;
        assert_eq!(answer.status, 403, "{foreign}");
    }
}

#[actix_web::test]
async fn f64_a_session_is_not_made_up_and_guessing_is_slow() {
    let world = World::new().await;
    let port = world.address.port();
    let origin = format!("Origin: http://127.0.0.1:{port}");
    let host = format!("Host: 127.0.0.1:{port}");
    for forged in ["", "9999999999.", "9999999999.00", "x"] {
        let cookie = format!("Cookie: supervisor-{port}={forged}");
        let headers = [&*cookie, &origin, &host];
        let answer = world.tcp("POST", "/api/services/a/pause", &headers).await;
        assert_eq!(answer.status, 401, "{forged}");
        // What needs nothing is not refused to whose session has ended.
        assert_eq!(
            world.tcp("GET", "/api/services", &[&cookie]).await.status,
            200
        );
    }
    let mut seen = Vec::new();
    for _ in 0..30 {
        seen.push(sign_in(&world, &json!({"token": "wrong"})).await.status);
    }
    assert!(seen.starts_with(&[401; 10]), "{seen:?}");
    assert_eq!(seen.last(), Some(&429), "{seen:?}");
}

#[actix_web::test]
async fn a_code_signs_in_once() {
    let world = World::new().await;
    assert_eq!(world.tcp("POST", "/api/login", &[]).await.status, 401);
    let told = world.unix("POST", "/api/login", &[]).await.json();
    let url = told["url"].as_str().unwrap();
    let (address, code) = url.split_once("/login#").unwrap();
    assert_eq!(address, format!("http://{}", world.address));
    let answer = sign_in(&world, &json!({"code": code})).await;
    assert_eq!(answer.status, 204);
    let known = world.tcp("GET", "/api/session", &[&cookie(&answer)]).await;
    assert_eq!(known.json()["signed_in"], true);
    let again = sign_in(&world, &json!({"code": code})).await;
    assert_eq!((again.status, &*again.code()), (401, "wrong_token"));
    let by_token = world.tcp("POST", "/api/login", &[TOKEN]).await;
    assert_eq!(by_token.status, 200);
}

#[actix_web::test]
async fn what_signs_nobody_in_says_what_would() {
    let world = World::new().await;
    for (body, status) in [
        ("{}", 400),
        (r#"{"token":"a","code":"b"}"#, 400),
        (r#"{"password":"a"}"#, 400),
        ("token=a", 400),
    ] {
        let answer = world.tcp_with("POST", "/login", &[JSON], body).await;
        assert_eq!(answer.status, status, "{body}");
    }
    let text = world
        .tcp_with("POST", "/login", &["Content-Type: text/plain"], "{}")
        .await;
    assert_eq!((text.status, &*text.code()), (415, "not_json"));
}

#[actix_web::test]
async fn the_page_is_for_everybody_and_may_not_load_or_run_anything_else() {
    let world = World::with(Setup {
        listen: "0.0.0.0:0".to_owned(),
        ..Setup::default()
    })
    .await;
    for path in ["/", "/login", "/?q=a"] {
        let page = world.tcp("GET", path, &[]).await;
        assert_eq!(page.status, 200, "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let etag = page.header("etag").unwrap();
        let known = format!("If-None-Match: {etag}");
        let again = world.tcp("GET", path, &[&known]).await;
        assert_eq!((again.status, &*again.body), (304, ""));
    }
    let page = world.tcp("GET", "/", &[]).await.body;
    let script = page
        .split("src=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let plain = world.tcp("GET", script, &[]).await;
    assert_eq!(plain.status, 200);
    assert!(plain.header("cache-control").unwrap().contains("immutable"));
    let packed = world.tcp("GET", script, &["Accept-Encoding: gzip"]).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let other = script.replacen("/assets/", "/assets/0", 1);
    assert_eq!(world.tcp("GET", &other, &[]).await.status, 404);
    let strangers = world.tcp("GET", "/api/session", &[]).await.json();
    assert_eq!(strangers["must_sign_in"], true);
    assert_eq!(strangers["host"], Value::Null);
    assert_eq!(strangers["version"], Value::Null);
}

#[actix_web::test]
async fn a_link_from_another_site_opens_the_page_and_nothing_else() {
    let world = World::new().await;
    let link = [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
    ];
    assert_eq!(world.tcp("GET", "/?service=a", &link).await.status, 200);
    assert_eq!(world.tcp("GET", "/api/services", &link).await.status, 403);
    assert_eq!(world.tcp("POST", "/login", &link).await.status, 403);
    let framed = [link[0], link[1], "Sec-Fetch-Dest: iframe"];
    assert_eq!(world.tcp("GET", "/", &framed).await.status, 403);
    assert_eq!(world.tcp("GET", "/", &link[..1]).await.status, 403);
}
