//! What comes in over the wire and should not have: too large, too slow, too clever, foreign.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::common::World;
use crate::common::http::{Reply, read_reply};
use crate::common::script::sh;
use crate::common::wait::wait_until;

fn world() -> World {
    World::plan()
        .service("outside", "interval = \"1h\"")
        .service("worker", &sh("echo hello; exec sleep 1000"))
        .start()
}

fn is_problem(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let problem = reply.json();
    for key in ["type", "title", "status", "detail", "code"] {
        assert!(!problem[key].is_null(), "{key} is missing: {problem}");
    }
    assert_eq!(problem["status"], status);
}

#[test]
fn f59_a_huge_body_or_header_is_refused() {
    let world = world();
    let body = vec![b'x'; 8 << 20];
    let reply = world
        .tcp()
        .request("POST", "/api/error/outside", &[], &body)
        .expect("an answer");
    assert_eq!(reply.status, 413);
    // The same without saying beforehand how much comes.
    let mut request = b"POST /api/error/outside HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..200 {
        request.extend_from_slice(b"1000\r\n");
        request.extend_from_slice(&[b' '; 0x1000]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(world.tcp().raw(&request).expect("an answer").status, 413);
    let long = "x".repeat(300_000);
    let reply = world
        .tcp()
        .request("GET", "/healthz", &[("X-Long", &long)], b"")
        .expect("an answer");
    assert_eq!(reply.status, 431);
    assert_eq!(world.service("outside").error_count, 0);
    assert_eq!(world.get("/healthz").status, 200);
}

#[test]
fn f60_deep_or_broken_json_is_a_bad_request() {
    let world = world();
    let deep = format!("{{\"message\":{}", "[".repeat(20_000));
    for body in [
        "{",
        "[]",
        "\"text\"",
        "{\"message\":",
        "{\"message\":1}",
        "{\"critical\":\"yes\"}",
        "\u{0}",
        deep.as_str(),
    ] {
        is_problem(&world.post("/api/error/outside", body), 400);
    }
    let reply = world.socket().request(
        "POST",
        "/api/error/outside",
        &[],
        b"{\"message\":\"\xff\xfe\"}",
    );
    is_problem(&reply.expect("an answer"), 400);
    assert_eq!(world.service("outside").error_count, 0);
}

#[test]
fn f61_a_path_that_is_not_utf8_is_a_bad_request() {
    let world = world();
    for path in [
        "/api/services/%ff",
        "/api/services/%c3%28",
        "/api/logs/a%80",
    ] {
        is_problem(&world.get(path), 400);
    }
    // Not even as a path: the parser refuses the bytes themselves, or we do.
    let reply = world.tcp().raw(
        b"GET /api/services/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(reply.expect("an answer").status, 400);
}

#[test]
fn f62_a_path_that_climbs_is_rejected() {
    let world = world();
    for path in [
        "/api/logs/..%2f..%2f..%2fetc%2fpasswd",
        "/api/logs/%2e%2e%2f%2e%2e%2ftoken",
        "/api/logs/..",
        "/api/logs/..%5c..%5ctoken",
        "/api/services/..%2fworker",
        "/../../etc/passwd",
        "/api/logs/worker%00",
        "/api/logs/../../data/token",
    ] {
        let reply = world.get(path);
        assert!(
            matches!(reply.status, 400 | 404),
            "{path}: {} {}",
            reply.status,
            reply.text()
        );
        assert!(
            !reply.text().contains("root:") && !reply.text().contains(&world.token()),
            "{path}"
        );
    }
}

#[test]
fn f63_an_unknown_service_is_not_found_and_costs_nothing() {
    let world = world();
    let before = world.services().len();
    for number in 0..300 {
        let reply = world.post(&format!("/api/pulse/stranger-{number}"), "");
        assert_eq!(reply.status, 404, "{}", reply.text());
    }
    is_problem(
        &world.post("/api/error/stranger", "{\"message\":\"m\"}"),
        404,
    );
    is_problem(&world.get("/api/services/stranger"), 404);
    is_problem(&world.get("/api/health/service/stranger"), 404);
    is_problem(&world.get("/api/logs/stranger"), 404);
    is_problem(&world.post("/api/services/stranger/stop", ""), 404);
    is_problem(&world.get("/nothing/here"), 404);
    assert_eq!(world.services().len(), before);
    assert!(
        world
            .events()
            .iter()
            .all(|event| !event.service.contains("stranger"))
    );
}

#[test]
fn f64_a_wrong_token_is_unauthorized_and_guessing_is_slowed_down() {
    let world = world();
    let stop = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let headers = if token.is_empty() {
            &headers[..0]
        } else {
            &headers[..]
        };
        world
            .tcp()
            .request("POST", "/api/services/outside/pause", headers, b"")
            .expect("an answer")
    };
    is_problem(&stop(""), 401);
    assert!(
        stop("")
            .header("www-authenticate")
            .is_some_and(|value| value.starts_with("Bearer"))
    );
    is_problem(&stop("wrong"), 401);
    let token = world.token();
    is_problem(&stop(&token[..token.len() - 1]), 401);
    is_problem(&stop(&format!("{token}x")), 401);
    assert_eq!(stop(&token).status, 202);
    assert_eq!(world.service("outside").state, "paused");
    // Logs may hold secrets.
    is_problem(
        &world
            .tcp()
            .request("GET", "/api/logs/worker", &[], b"")
            .expect("an answer"),
        401,
    );

    let statuses: Vec<u16> = (0..40)
        .map(|guess| stop(&format!("guess-{guess}")).status)
        .collect();
    assert!(
        statuses.iter().all(|status| matches!(status, 401 | 429)),
        "{statuses:?}"
    );
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    // Whoever has the file is not kept out, and nobody's pulses are.
    assert_eq!(world.control("outside", "resume").status, 202);
    let pulse = world
        .tcp()
        .request("POST", "/api/pulse/outside", &[], b"")
        .expect("an answer");
    assert_eq!(pulse.status, 202);
}

#[test]
fn f65_a_page_of_another_site_can_do_nothing() {
    let world = world();
    let token = format!("Bearer {}", world.token());
    let port = world.port();
    let own = format!("http://127.0.0.1:{port}");
    let post = |headers: &[(&str, &str)]| {
        world
            .tcp()
            .request("POST", "/api/pulse/outside", headers, b"")
            .expect("an answer")
            .status
    };
    for origin in [
        "http://evil.example",
        "null",
        "https://127.0.0.1",
        "http://localhost.evil.example",
    ] {
        assert_eq!(post(&[("Origin", origin)]), 403, "{origin}");
        assert_eq!(
            post(&[("Origin", origin), ("Authorization", &token)]),
            403,
            "{origin}"
        );
    }
    for site in ["cross-site", "same-site"] {
        assert_eq!(post(&[("Sec-Fetch-Site", site)]), 403, "{site}");
    }
    assert_eq!(world.service("outside").total_pulses, 0);
    assert_eq!(post(&[]), 202);
    assert_eq!(
        post(&[("Origin", &own), ("Sec-Fetch-Site", "same-origin")]),
        202
    );
    // A form's content type is no way to command, either.
    let headers = [
        ("Authorization", token.as_str()),
        ("Content-Type", "text/plain"),
    ];
    let reply = world
        .tcp()
        .request("POST", "/api/services/outside/pause", &headers, b"{}");
    is_problem(&reply.expect("an answer"), 415);
}

#[test]
fn f66_a_foreign_host_is_refused() {
    let world = world();
    let port = world.port();
    let get = |host: &str| {
        world
            .tcp()
            .request("GET", "/api/health/status", &[("Host", host)], b"")
            .expect("an answer")
            .status
    };
    for host in [
        "evil.example",
        "evil.example:5001",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0x7f000001",
    ] {
        assert_eq!(get(host), 403, "{host}");
    }
    for host in [
        "localhost".to_owned(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
    ] {
        assert_eq!(get(&host), 200, "{host}");
    }
}

#[test]
fn f67_a_slow_header_or_body_is_timed_out() {
    let world = world();
    for begin in [
        &b"POST /api/pulse/outside HTTP/1.1\r\nHost: localhost\r\nX-Slow"[..],
        &b"POST /api/error/outside HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"[..],
    ] {
        let began = Instant::now();
        let mut connection = world.tcp().connect().expect("a connection");
        connection.write_all(begin).expect("a beginning");
        let reply = read_reply(&mut connection).expect("an answer");
        assert_eq!(reply.status, 408, "{}", reply.text());
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "after {:?}",
            began.elapsed()
        );
    }
    assert_eq!(world.service("outside").error_count, 0);
}

#[test]
fn a_body_that_drips_has_one_deadline_for_all_of_it() {
    let world = world();
    let mut connection = world.tcp().connect().expect("a connection");
    let head =
        b"POST /api/error/outside HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    connection.write_all(head).expect("a head");
    let began = Instant::now();
    // A byte every 300 ms: never silent for long, never done.
    while began.elapsed() < Duration::from_secs(15) && connection.write_all(b" ").is_ok() {
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(began.elapsed() < Duration::from_secs(14), "it was let drip");
    assert_eq!(world.get("/healthz").status, 200);
}

#[test]
fn f68_ten_thousand_idle_connections_shut_nobody_out_and_are_gone_again() {
    // Each of them is a descriptor of ours, too.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit raised");
    let wanted = usize::try_from(hard)
        .unwrap_or(usize::MAX)
        .saturating_sub(500);
    let wanted = wanted.min(10_000);
    let world = World::plan()
        .service("outside", "interval = \"1h\"")
        .service("worker", "command = \"sleep 1000\"")
        .start();
    world.wait_healthy("worker");
    let open = || {
        std::fs::read_dir(format!("/proc/{}/fd", world.pid()))
            .expect("fds")
            .count()
    };
    let before = open();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, world.port()));
    let mut idle = Vec::new();
    // Those for whom there is no room wait in the kernel's queue, and beyond it outside.
    let mut refused = 0;
    while idle.len() < wanted && refused < 5 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => idle.push(stream),
            Err(_) => refused += 1,
        }
    }
    assert!(
        idle.len() >= wanted.min(4_000),
        "only {} came in",
        idle.len()
    );
    let began = Instant::now();
    assert_eq!(
        world.cli(&["status"]).code,
        Some(0),
        "the socket is another door"
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(world.control("worker", "restart").status, 202);
    world.wait_for("worker", "lives again", |service| {
        service.generation == 2 && service.status == "healthy"
    });
    // Who is silent is sent away, and so the address answers though all hold on to it.
    let began = Instant::now();
    wait_until("a pulse comes through", || {
        let reply = world.tcp().request("POST", "/api/pulse/outside", &[], b"");
        reply.is_ok_and(|reply| reply.status == 202).then_some(())
    });
    println!(
        "{} idle connections, a pulse after {:?}",
        idle.len(),
        began.elapsed()
    );
    drop(idle);
    wait_until("all are gone", || (open() <= before + 20).then_some(()));
    assert_eq!(world.service("outside").total_pulses, 1);
}
