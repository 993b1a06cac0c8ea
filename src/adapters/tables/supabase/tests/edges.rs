//! What stands before a project: gateways, edges, proxies, broken lines.

use std::time::Duration;

use supervisor_actors::ports::Clock as _;
use supervisor_core::sync::Alone;

use super::postgrest::{Fault, Gateway};
use super::*;

const PAGE: &str = "<!DOCTYPE html><html><head><title>x.co | 520: Web server is returning an unknown error</title></head><body>hidden</body></html>";

/// A gateway with nothing behind it: enough for what it answers itself.
fn edge() -> (Gateway, Supabase) {
    let gateway = Gateway::alone();
    let mut target = target(&gateway.url(), SERVICE_KEY);
    target.patience = Duration::from_secs(20);
    (gateway, target)
}

async fn after(gateway: &Gateway, target: &Supabase, fault: Fault) -> Refusal {
    gateway.script([fault]);
    let refused = target.upsert(&docs(), &rows(&["a"])).await;
    refused.expect_err("a refusal")
}

#[actix_rt::test]
async fn f51_what_the_edge_says_while_it_fails_is_worth_another_try() {
    let (gateway, target) = edge();
    for (status, body) in [
        (500, PAGE),
        (502, PAGE),
        (
            503,
            r#"{"message":"failure to get a peer from the ring-balancer"}"#,
        ),
        (503, r#"{"message":"name resolution failed"}"#),
        (504, ""),
        (520, PAGE),
        (522, PAGE),
        (544, ""),
        (408, ""),
    ] {
        let refusal = after(&gateway, &target, Fault::answer(status, &[], body)).await;
        let Refusal::Retry { after, why } = refusal else {
            panic!("{status}: {refusal:?}");
        };
        assert_eq!(after, None);
        assert!(
            why.contains(&status.to_string()) && !why.contains("hidden"),
            "{why}"
        );
    }
}

#[actix_rt::test]
async fn f50_too_many_requests_are_followed_by_the_wait_that_is_asked_for() {
    let (gateway, target) = edge();
    let soon = RealClock.wall().0 / 1_000_000 + 90;
    let date = http_date(soon);
    for (asked, least, most) in [
        ("30", 30, 30),
        (date.as_str(), 60, 91),
        ("999999999999", 3_600, 3_600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600, 3_600),
    ] {
        let limited = Fault::answer(429, &[("Retry-After", asked)], "");
        let refusal = after(&gateway, &target, limited).await;
        let Refusal::Retry {
            after: Some(wait), ..
        } = refusal
        else {
            panic!("{asked}: {refusal:?}");
        };
        assert!(
            (least..=most).contains(&wait.as_secs()),
            "{asked}: {wait:?}"
        );
    }
    for senseless in ["0", "-1", "soon", ""] {
        let limited = Fault::answer(429, &[("Retry-After", senseless)], "");
        let refusal = after(&gateway, &target, limited).await;
        assert!(
            matches!(refusal, Refusal::Retry { after: None, .. }),
            "{refusal:?}"
        );
    }
}

/// A date as HTTP writes it.
fn http_date(seconds: i64) -> String {
    let output = std::process::Command::new("date")
        .args([
            "-u",
            "-d",
            &format!("@{seconds}"),
            "+%a, %d %b %Y %H:%M:%S GMT",
        ])
        .env("LC_ALL", "C")
        .output()
        .expect("date");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

#[actix_rt::test]
async fn f49_what_is_too_large_is_sent_in_smaller_pieces_and_parked_alone() {
    let (gateway, target) = edge();
    for (status, body) in [(413, PAGE), (414, "")] {
        let refusal = after(&gateway, &target, Fault::answer(status, &[], body)).await;
        let Refusal::Smaller { alone, .. } = refusal else {
            panic!("{status}: {refusal:?}");
        };
        assert_eq!(alone, Alone::Park);
    }
}

/// As nginx and Cloudflare do: the answer comes before the body is read, and the connection
/// is closed upon what is still under way.
#[actix_rt::test]
async fn f49_what_is_refused_before_it_has_arrived_is_sent_in_smaller_pieces() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().expect("a connection");
            let head = BufReader::new(&stream).lines();
            let lines = head
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty());
            assert!(lines.count() > 3);
            // Nobody may be listening any more.
            let _sent = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let target = target(&format!("http://{address}"), SERVICE_KEY);
    for _ in 0..3 {
        let large = row("a", &"x".repeat(8 << 20));
        let refused = target.upsert(&docs(), &[large]).await;
        assert!(
            matches!(refused, Err(Refusal::Smaller { .. })),
            "{refused:?}"
        );
    }
    server.join().expect("its end");
}

#[actix_rt::test]
async fn a_project_that_is_restricted_or_paused_is_parked() {
    let (gateway, target) = edge();
    for (status, body, words) in [
        (
            402,
            r#"{"message":"Service for this project is restricted due to the following violations: exceed_egress_quota"}"#,
            "exceed_egress_quota",
        ),
        (540, "", "the project is paused"),
        (
            401,
            r#"{"message":"No API key found in request"}"#,
            "No API key found in request",
        ),
        (403, PAGE, "refused"),
    ] {
        let refusal = after(&gateway, &target, Fault::answer(status, &[], body)).await;
        let Refusal::Park { scope, why } = refusal else {
            panic!("{status}: {refusal:?}");
        };
        assert_eq!(scope, Scope::Target);
        assert!(why.contains(words), "{why}");
    }
}

/// What PostgREST 12.0.2 cannot be brought to say to us, and newer ones say otherwise.
#[actix_rt::test]
async fn what_other_versions_say_is_understood() {
    let (gateway, target) = edge();
    for (status, body, parked) in [
        (
            400,
            r#"{"code":"PGRST102","details":null,"hint":null,"message":"All object keys must match"}"#,
            None,
        ),
        (
            500,
            r#"{"code":"21000","details":null,"hint":"Ensure that no rows proposed for insertion within the same command have duplicate constrained values.","message":"ON CONFLICT DO UPDATE command cannot affect row a second time"}"#,
            None,
        ),
        (
            404,
            r#"{"code":"PGRST205","details":null,"hint":"Perhaps you meant the table 'public.docs_old'","message":"Could not find the table 'public.docs' in the schema cache"}"#,
            Some(Scope::Table),
        ),
        (
            401,
            r#"{"code":"PGRST303","details":null,"hint":null,"message":"JWT expired"}"#,
            Some(Scope::Target),
        ),
    ] {
        match (
            after(&gateway, &target, Fault::json(status, body)).await,
            parked,
        ) {
            (Refusal::Split { .. }, None) => {}
            (Refusal::Park { scope, .. }, Some(expected)) if scope == expected => {}
            (other, _) => panic!("{body}: {other:?}"),
        }
    }
}

#[actix_rt::test]
async fn f56_a_redirect_is_refused_and_the_key_goes_nowhere() {
    let (gateway, target) = edge();
    let other = Gateway::alone();
    let elsewhere = format!("{}/rest/v1/docs", other.url());
    for status in [301, 302, 303, 307, 308] {
        let away = Fault::answer(status, &[("Location", &elsewhere)], "");
        let refusal = after(&gateway, &target, away).await;
        let Refusal::Park { scope, why } = refusal else {
            panic!("{status}: {refusal:?}");
        };
        assert_eq!(scope, Scope::Target);
        assert!(why.contains("redirect"), "{why}");
    }
    assert!(other.take_seen().is_empty());
}

#[actix_rt::test]
async fn a_key_that_is_echoed_is_not_repeated() {
    let (gateway, target) = edge();
    for body in [
        format!(r#"{{"message":"bad key {SERVICE_KEY}"}}"#),
        format!("<title>{SERVICE_KEY}</title>"),
        format!(r#"{{"code":"PGRST301","message":"Bearer {SERVICE_KEY}","hint":"{SERVICE_KEY}"}}"#),
    ] {
        let refusal = after(&gateway, &target, Fault::answer(401, &[], &body)).await;
        let shown = format!("{refusal} {refusal:?}");
        assert!(!shown.contains(&SERVICE_KEY[..40]), "{shown}");
    }
}

#[actix_rt::test]
async fn f54_a_success_of_somebody_else_is_no_success() {
    let stack = stack();
    let target = service(&stack);
    let login = || Fault::answer(200, &[("Content-Type", "text/html")], PAGE);
    for fault in [
        login(),
        Fault::json(200, "[]"),
        Fault::answer(204, &[], ""),
        Fault::json(201, "{}"),
    ] {
        stack
            .gateway()
            .script([fault.clone(), fault.clone(), fault]);
        for refused in [
            target.upsert(&docs(), &rows(&["a"])).await,
            target.delete(&docs(), &keys(&["a"])).await.map(drop),
            target
                .tombstone(&docs(), &keys(&["a"]), Timestamp(1))
                .await
                .map(drop),
        ] {
            let Err(Refusal::Retry { why, .. }) = refused else {
                panic!("{refused:?}");
            };
            assert!(why.contains("not as PostgREST does"), "{why}");
        }
    }
    assert_eq!(stack.sql("select count(*) from docs"), "0");
    // A page that is no JSON, half of it, or something else in JSON.
    target
        .upsert(&docs(), &rows(&["a", "b"]))
        .await
        .expect("taken");
    for body in ["", "[{\"file_path\":\"a\"", "{}", PAGE] {
        stack.gateway().script([Fault::Body(body.into())]);
        let refused = target.keys(&docs(), None, 10).await;
        assert!(
            matches!(refused, Err(Refusal::Retry { .. })),
            "{body:?}: {refused:?}"
        );
    }
    stack.gateway().script([Fault::CutReply]);
    let refused = target.keys(&docs(), None, 10).await;
    assert!(matches!(refused, Err(Refusal::Retry { .. })), "{refused:?}");
    assert_eq!(
        target.keys(&docs(), None, 10).await.map(|page| page.len()),
        Ok(2)
    );
}

#[actix_rt::test]
async fn f52_what_was_committed_and_not_answered_is_sent_again_without_harm() {
    let stack = stack();
    let mut target = service(&stack);
    target.patience = Duration::from_millis(700);
    let done = || [Fault::DropReply];
    for path in ["a", "b"] {
        stack.gateway().script(done());
        let refused = target.upsert(&docs(), &rows(&[path])).await;
        assert!(matches!(refused, Err(Refusal::Retry { .. })), "{refused:?}");
        let there = format!("select count(*) from docs where file_path = '{path}'");
        assert_eq!(stack.sql(&there), "1");
        assert_eq!(target.upsert(&docs(), &rows(&[path])).await, Ok(()));
    }
    stack.gateway().script(done());
    let refused = target.rename(&docs(), "a", &row("c", "t")).await;
    assert!(matches!(refused, Err(Refusal::Retry { .. })), "{refused:?}");
    // Done before, it finds nothing to move: the caller upserts then.
    assert_eq!(target.rename(&docs(), "a", &row("c", "t")).await, Ok(false));
    assert_eq!(target.upsert(&docs(), &rows(&["c"])).await, Ok(()));
    stack.gateway().script(done());
    let refused = target.delete(&docs(), &keys(&["b"])).await;
    assert!(matches!(refused, Err(Refusal::Retry { .. })), "{refused:?}");
    assert_eq!(target.delete(&docs(), &keys(&["b"])).await, Ok(0));
    assert_eq!(paths(&stack), "c");
}

#[actix_rt::test]
async fn f53_a_server_that_hangs_or_drips_is_given_up_in_time() {
    let stack = stack();
    let mut target = service(&stack);
    target
        .upsert(&docs(), &rows(&["a", "b"]))
        .await
        .expect("taken");
    target.patience = Duration::from_millis(500);
    for (fault, words) in [
        (Fault::Silence, "did not answer within"),
        (Fault::Drip(Duration::from_millis(40)), "within"),
        (Fault::Reset, "connection"),
    ] {
        stack.gateway().script([fault]);
        let began = RealClock.mono();
        let refused = target.keys(&docs(), None, 10).await.expect_err("no answer");
        assert!(
            matches!(&refused, Refusal::Retry { why, .. } if why.contains(words)),
            "{refused:?}"
        );
        assert!(RealClock.mono().since(began) < Duration::from_secs(15));
    }
    target.patience = Duration::from_secs(20);
    assert_eq!(
        target.keys(&docs(), None, 10).await.map(|page| page.len()),
        Ok(2)
    );
}

#[actix_rt::test]
async fn nobody_there_is_worth_another_try() {
    let gateway = Gateway::alone();
    let url = gateway.url();
    // https to a server that speaks none: the key is never sent.
    let secure = target(&url.replace("http://", "https://"), SERVICE_KEY);
    let refused = secure.upsert(&docs(), &rows(&["a"])).await;
    assert!(matches!(refused, Err(Refusal::Retry { .. })), "{refused:?}");
    assert!(gateway.take_seen().is_empty());
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let refused = target(&format!("http://{nowhere}"), SERVICE_KEY)
        .upsert(&docs(), &rows(&["a"]))
        .await;
    let Err(Refusal::Retry { why, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("refused the connection"), "{why}");
}

#[actix_rt::test]
async fn an_endless_answer_is_cut() {
    let (gateway, target) = edge();
    let echo = format!(
        r#"{{"code":"22P02","details":null,"hint":null,"message":"invalid input syntax: \"{}\""}}"#,
        "hidden".repeat(1_000_000)
    );
    let refusal = after(&gateway, &target, Fault::json(400, &echo)).await;
    let Refusal::Split { why } = refusal else {
        panic!("{refusal:?}");
    };
    assert!(why.contains("22P02") && !why.contains("hidden"), "{why}");
}
