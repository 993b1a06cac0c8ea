//! Signs of life over HTTP.

use serde_json::json;
use supervisor_actors::ports::StoreError;

use super::world::{Setup, TOKEN, World};

const CHILD: &str = "Authorization: Bearer child-token-of-a";

#[actix_web::test]
async fn an_empty_body_is_a_plain_pulse_whatever_its_content_type() {
    let world = World::new().await;
    let mut count = 0;
    for headers in [
        &[][..],
        &["Content-Type: application/json"],
        &["Content-Type: text/plain"],
        &["Content-Length: 0"],
        &["Content-Type: application/x-www-form-urlencoded", CHILD],
        &[TOKEN],
    ] {
        let answer = world.tcp("POST", "/api/pulse/a", headers).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (202, ""),
            "{headers:?}"
        );
        count += 1;
    }
    let chunked = "POST /api/pulse/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(world.raw(chunked).await.status, 202);
    for body in ["{}", " \n", r#"{"metrics":{}}"#] {
        let answer = world.tcp_with("POST", "/api/pulse/a", &[], body).await;
        assert_eq!(answer.status, 202, "{body}");
        count += 1;
    }
    let view = world
        .until("a", |view| view.total_pulses == count + 1)
        .await;
    assert_eq!(view.status.as_str(), "healthy");
    assert_eq!(view.message, None);
}

#[actix_web::test]
async fn a_pulse_on_the_wire_costs_less_than_400_bytes_both_ways() {
    let world = World::new().await;
    let request = "POST /api/pulse/a HTTP/1.1\r\nHost: 127.0.0.1:5001\r\nUser-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let request = request.replace("5001", &world.address.port().to_string());
    let answer = world.raw(&request).await;
    assert_eq!(answer.status, 202);
    let back = answer.head.len() + "\r\n\r\n".len() + answer.body.len();
    assert!(request.len() + back <= 400, "{} + {back}", request.len());
}

#[actix_web::test]
async fn what_a_pulse_says_is_recorded_before_it_is_acknowledged() {
    let world = World::new().await;
    let body = r#"{"state":"working","message":"row 7","cycle":7,"progress":0.5,"metrics":{"k":1.5},"busy_for":"2m"}"#;
    for headers in [
        &["Content-Type: application/json"][..],
        &["Content-Type: text/plain"],
    ] {
        let before = world.stage.store.commits();
        let answer = world.tcp_with("POST", "/api/pulse/a", headers, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert!(world.stage.store.commits() > before);
    }
    let view = world.unix("GET", "/api/services/a", &[]).await.json();
    assert_eq!(view["message"], "row 7");
    assert_eq!(
        (&view["cycle"], &view["progress"]),
        (&7.into(), &0.5.into())
    );
    let metric = &view["metrics"]["k"];
    assert_eq!(
        (&metric["value"], &metric["count"]),
        (&1.5.into(), &2.into())
    );
    assert_eq!(
        (&metric["mean"], &metric["max"]),
        (&1.5.into(), &1.5.into())
    );
    assert!(metric["at"].as_str().is_some_and(|at| at.ends_with('Z')));
}

#[actix_web::test]
async fn f60_bad_figures_are_422_and_the_pulse_is_a_sign_of_life() {
    let world = World::new().await;
    for (pulses, body) in [
        (1, r#"{"metrics":{"Queue":1}}"#),
        (2, r#"{"metrics":{"queue":NaN},"message":"lost"}"#),
        (3, r#"{"metrics":[1,2]}"#),
    ] {
        let answer = world.tcp_with("POST", "/api/pulse/a", &[], body).await;
        assert_eq!((answer.status, &*answer.code()), (422, "bad_metrics"));
        assert!(answer.body.contains("metrics"), "{answer:?}");
        let view = world.until("a", |view| view.total_pulses == pulses).await;
        assert!(view.metrics.is_empty(), "{view:?}");
        assert_eq!(view.status.as_str(), "healthy");
    }
    let view = world.actors.view("a").await;
    assert_eq!(view.message.as_deref(), Some("lost"));
}

#[actix_web::test]
async fn an_error_is_recorded_with_its_message_or_without_one() {
    let world = World::new().await;
    let body = r#"{"message":"no disk","critical":true}"#;
    let answer = world.tcp_with("POST", "/api/error/a", &[CHILD], body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(world.actors.view("a").await.status.as_str(), "critical");
    let events = world.actors.events("a").await;
    assert!(
        events.iter().any(|event| event.reason.contains("no disk")),
        "{events:?}"
    );
    let answer = world.tcp("POST", "/api/error/a", &[]).await;
    assert_eq!(answer.status, 202);
    assert_eq!(world.actors.view("a").await.error_count, 2);
}

#[actix_web::test]
async fn f37_what_cannot_be_recorded_is_507_and_counts_all_the_same() {
    let world = World::new().await;
    let full = StoreError::Unavailable("disk full".to_owned());
    world.stage.store.fail(Some(full));
    let body = r#"{"message":"hello"}"#;
    let answer = world.tcp_with("POST", "/api/pulse/a", &[], body).await;
    assert_eq!((answer.status, &*answer.code()), (507, "not_recorded"));
    assert!(answer.body.contains("disk full"), "{answer:?}");
    assert_eq!(world.actors.view("a").await.total_pulses, 1);
    // A plain pulse promises nothing about the record.
    assert_eq!(world.tcp("POST", "/api/pulse/a", &[]).await.status, 202);
    world.stage.store.fail(None);
    for _ in 0..500 {
        // The archive tries again now and then, and refuses in between.
        let answer = world.tcp_with("POST", "/api/pulse/a", &[], body).await;
        if answer.status == 202 {
            return;
        }
        actix_web::rt::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("still refused though the disk has room again");
}

#[actix_web::test]
async fn f60_bad_json_is_400_and_is_no_sign_of_life() {
    let world = World::new().await;
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    for path in ["/api/pulse/a", "/api/error/a"] {
        for (body, named) in [
            ("{", "line 1"),
            ("hello", "line 1"),
            ("[]", "line 1"),
            (r#"{"message":7}"#, "line 1"),
            ("\u{feff}{}", "line 1"),
            (deep.as_str(), "line 1"),
        ] {
            let answer = world.tcp_with("POST", path, &[], body).await;
            assert_eq!(
                (answer.status, &*answer.code()),
                (400, "bad_json"),
                "{body:.40}"
            );
            assert!(answer.body.contains(named), "{answer:?}");
        }
        let answer = world
            .raw("POST /api/pulse/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{\u{0}\u{1}")
            .await;
        assert_eq!(answer.status, 400);
    }
    let view = world.actors.view("a").await;
    assert_eq!((view.total_pulses, view.error_count), (0, 0));
}

#[actix_web::test]
async fn f63_an_unknown_service_is_404_and_stays_unknown() {
    let world = World::new().await;
    let before = world.unix("GET", "/api/services", &[]).await.json();
    for n in 0..50 {
        for path in [
            format!("/api/pulse/stranger-{n}"),
            format!("/api/error/stranger-{n}"),
        ] {
            let answer = world.tcp("POST", &path, &[]).await;
            assert_eq!((answer.status, &*answer.code()), (404, "unknown_service"));
        }
    }
    for name in ["Ours", "-", "a%20b", "%F0%9F%92%A5", &"x".repeat(65)] {
        let answer = world.tcp("POST", &format!("/api/pulse/{name}"), &[]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (404, "unknown_service"),
            "{name}"
        );
    }
    let count = |list: &serde_json::Value| list["services"].as_array().unwrap().len();
    let after = world.unix("GET", "/api/services", &[]).await.json();
    assert_eq!(count(&before), count(&after));
}

#[actix_web::test]
async fn nobody_outside_speaks_for_our_own_actors() {
    let world = World::new().await;
    for path in ["/api/pulse/internal.archive", "/api/error/internal.archive"] {
        let answer = world.tcp("POST", path, &[]).await;
        assert_eq!((answer.status, &*answer.code()), (403, "internal"));
        let answer = world.unix("POST", path, &[]).await;
        assert_eq!(answer.status, 403);
    }
}

#[actix_web::test]
async fn beyond_loopback_a_services_own_token_is_good_for_its_own_pulses_alone() {
    let world = World::with(Setup {
        listen: "0.0.0.0:0".to_owned(),
        ..Setup::default()
    })
    .await;
    assert_eq!(
        world.tcp("POST", "/api/pulse/a", &[CHILD]).await.status,
        202
    );
    assert_eq!(
        world.tcp("POST", "/api/error/a", &[CHILD]).await.status,
        202
    );
    for (method, path) in [
        ("POST", "/api/pulse/half"),
        ("GET", "/api/services/a"),
        ("GET", "/api/logs/a"),
        ("POST", "/api/services/a/pause"),
    ] {
        let answer = world.tcp(method, path, &[CHILD]).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (401, "wrong_token"),
            "{path}"
        );
    }
    assert_eq!(
        world.tcp("POST", "/api/pulse/half", &[TOKEN]).await.status,
        202
    );
}

#[actix_web::test]
async fn f64_somebody_who_guesses_silences_nobodys_pulses() {
    let world = World::new().await;
    let wrong = "Authorization: Bearer wrong-token-0123456789";
    for _ in 0..30 {
        world.tcp("POST", "/api/services/a/stop", &[wrong]).await;
    }
    let answer = world.tcp("POST", "/api/services/a/pause", &[TOKEN]).await;
    assert_eq!(answer.status, 429);
    for headers in [&[][..], &[CHILD], &[TOKEN]] {
        let answer = world.tcp("POST", "/api/pulse/a", headers).await;
        assert_eq!(answer.status, 202, "{headers:?}");
    }
    // The owner's way in.
    let answer = world.unix("POST", "/api/services/a/pause", &[]).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["state"], json!("paused"));
}
