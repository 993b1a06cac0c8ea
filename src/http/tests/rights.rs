//! Who may do what, and where.

use super::client;
use super::world::{Setup, TOKEN, World};

const WRONG: &str = "Authorization: Bearer wrong-token-0123456789";
const CHILD: &str = "Authorization: Bearer child-token-of-a";

/// What needs the token on loopback.
const CONTROL: [(&str, &str); 9] = [
    ("POST", "/api/services/a/start"),
    ("POST", "/api/services/a/stop"),
    ("POST", "/api/services/a/restart"),
    ("POST", "/api/services/a/nudge"),
    ("POST", "/api/services/a/pause"),
    ("POST", "/api/services/a/resume"),
    ("POST", "/api/services/a/clear"),
    ("GET", "/api/logs/a"),
    ("DELETE", "/api/history/a?older_than=7d"),
];

#[actix_web::test]
async fn control_and_logs_need_the_token_on_loopback() {
    let world = World::new().await;
    for (method, path) in CONTROL {
        let answer = world.tcp(method, path, &[]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (401, "token_required"),
            "{path}"
        );
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("bearer realm=\"supervisor\""));
    }
}

#[actix_web::test]
async fn f64_a_wrong_token_is_401_and_soon_429() {
    let world = World::new().await;
    let mut seen = Vec::new();
    for _ in 0..30 {
        let answer = world.tcp("POST", "/api/services/a/stop", &[WRONG]).await;
        if answer.status == 429 {
            assert_eq!(answer.code(), "too_many_wrong_tokens");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=5).contains(&wait));
        }
        seen.push(answer.status);
    }
    assert!(seen.starts_with(&[401; 10]), "{seen:?}");
    assert_eq!(seen.last(), Some(&429), "{seen:?}");
    // Not even the right one is looked at now, or guessing would go on.
    let answer = world.tcp("POST", "/api/services/a/stop", &[TOKEN]).await;
    assert_eq!(answer.status, 429);
}

#[actix_web::test]
async fn f64_a_wrong_token_is_401_even_where_none_is_needed() {
    let world = World::new().await;
    for authorization in [
        WRONG,
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: Basic dGVzdDp0ZXN0",
        "Authorization: test-token-0123456789",
        CHILD,
    ] {
        let answer = world.tcp("GET", "/api/services", &[authorization]).await;
        assert_eq!(answer.status, 401, "{authorization}");
        assert_eq!(answer.code(), "wrong_token", "{authorization}");
    }
    let answer = world.tcp("POST", "/api/pulse/b", &[CHILD]).await;
    assert_eq!((answer.status, &*answer.code()), (401, "wrong_token"));
}

#[actix_web::test]
async fn f65_what_another_sites_page_sends_is_403() {
    let world = World::new().await;
    let host = format!("Host: {}", world.address);
    for header in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost:80",
        "Origin: https://127.0.0.1.evil.example",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        for (method, path) in [
            ("POST", "/api/pulse/a"),
            ("GET", "/api/services"),
            ("POST", "/api/services/a/stop"),
        ] {
            let answer = world.tcp(method, path, &[&host, header, TOKEN]).await;
            assert_eq!(answer.status, 403, "{header} {path}");
            assert_eq!(answer.code(), "foreign_origin");
            let answer = world.unix(method, path, &[&host, header]).await;
            assert_eq!(answer.status, 403, "{header} {path} over the socket");
        }
    }
}

#[actix_web::test]
async fn f65_our_own_pages_and_local_clients_pass() {
    let world = World::new().await;
    let host = format!("Host: {}", world.address);
    let own = format!("Origin: http://{}", world.address);
    for headers in [
        &[host.as_str()][..],
        &[&host, &own],
        &[&host, &own, "Sec-Fetch-Site: same-origin"],
        &[&host, "Sec-Fetch-Site: none"],
    ] {
        let answer = world.tcp("GET", "/none", headers).await;
        assert_eq!(answer.status, 404, "{headers:?}");
    }
}

#[actix_web::test]
async fn f66_a_foreign_host_is_403() {
    let world = World::new().await;
    let foreign = format!("Host: evil.example:{}", world.address.port());
    for host in [
        &*foreign,
        "Host: evil.example",
        "Host: localhost:1",
        "Host: ",
    ] {
        let answer = world.tcp("GET", "/healthz", &[host]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (403, "foreign_host"),
            "{host}"
        );
    }
    let answer = world.tcp("GET", "http://evil.example/healthz", &[]).await;
    assert_eq!(answer.status, 403);
    let twice = ["Host: localhost", "Host: evil.example"];
    assert_eq!(world.tcp("GET", "/healthz", &twice).await.status, 400);
    let none = world
        .raw("GET /none HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(none.status, 400);
    assert_eq!(world.raw("GET /none HTTP/1.0\r\n\r\n").await.status, 404);
}

#[actix_web::test]
async fn f66_our_own_names_pass_and_on_the_socket_any() {
    let world = World::new().await;
    let port = world.address.port();
    for name in [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "box.example",
        "BOX.example",
    ] {
        for host in [format!("Host: {name}"), format!("Host: {name}:{port}")] {
            let answer = world.tcp("GET", "/none", &[&host]).await;
            assert_eq!(answer.status, 404, "{host}");
        }
    }
    let answer = world.unix("GET", "/none", &["Host: whatever"]).await;
    assert_eq!(answer.status, 404);
}

#[actix_web::test]
async fn beyond_loopback_everything_but_the_probes_needs_the_token() {
    let world = World::with(Setup {
        listen: "0.0.0.0:0".to_owned(),
        ..Setup::default()
    })
    .await;
    for (method, path) in [
        ("POST", "/api/pulse/a"),
        ("POST", "/api/error/a"),
        ("GET", "/api/health/status"),
        ("GET", "/api/health/service/a"),
        ("GET", "/api/services"),
        ("GET", "/api/services/a"),
        ("GET", "/api/events"),
    ]
    .into_iter()
    .chain(CONTROL)
    {
        let answer = world.tcp(method, path, &[]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (401, "token_required"),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn the_socket_needs_no_token_and_is_gone_after_a_stop() {
    let world = World::new().await;
    let stream = client::unix(&world.socket()).await;
    drop(stream);
    let socket = world.socket();
    let address = world.address;
    world.servers.stop().await;
    assert!(!socket.exists());
    assert!(std::net::TcpStream::connect(address).is_err());
}
