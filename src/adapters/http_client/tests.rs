//! Calls to scripted servers, good and hostile.

pub(crate) mod certificates;
mod hostile;
pub(crate) mod server;

use std::time::Duration;

use super::*;

use self::server::{Served, serve};

/// Long enough for any answer that comes.
const PATIENT: Bounds = Bounds {
    timeout: Duration::from_secs(20),
    body_bytes: 64 * 1024,
};

async fn get(address: &str, trust: &Trust, bounds: Bounds) -> Result<Answer, CallError> {
    let address: Uri = address.parse().expect("an address");
    let client = HttpCalls::default().client(&address, trust).await?;
    let request = client.request(Method::GET, &address).force_close();
    client.call(request, "", bounds).await
}

async fn get_plain(server: &Served, bounds: Bounds) -> Result<Answer, CallError> {
    get(&server.address("/"), &Trust::System, bounds).await
}

#[actix_rt::test]
async fn an_answer_has_its_status_headers_and_body() {
    let server =
        serve("HTTP/1.1 418 I'm a teapot\r\nx-kind: pot\r\ncontent-length: 5\r\n\r\nshort");
    let answer = get_plain(&server, PATIENT).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(answer.headers.get("x-kind").expect("a header"), "pot");
    assert_eq!(&answer.body[..], b"short");
    assert!(answer.whole);
}

#[actix_rt::test]
async fn a_request_says_who_asks_and_what_it_was_told_to_say() {
    let server = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let address: Uri = server.address("/path?query=1").parse().expect("an address");
    let calls = HttpCalls::default();
    let client = calls.client(&address, &Trust::System).await.expect("one");
    let request = client
        .request(Method::POST, &address)
        .force_close()
        .insert_header(("x-secret", "abc"));
    let answer = client.call(request, "{\"a\":1}", PATIENT).await;
    assert!(answer.is_ok(), "{answer:?}");
    let asked = server.asked();
    assert!(
        asked.starts_with("POST /path?query=1 HTTP/1.1\r\n"),
        "{asked}"
    );
    let agent = format!("user-agent: supervisor/{}\r\n", env!("CARGO_PKG_VERSION"));
    for line in [
        agent.as_str(),
        "x-secret: abc\r\n",
        "connection: close\r\n",
        "content-length: 7\r\n",
        "\r\n\r\n{\"a\":1}",
    ] {
        assert!(asked.to_lowercase().contains(line), "{line:?} in {asked}");
    }
}

#[actix_rt::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let server =
        serve("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    let answer = get_plain(&server, PATIENT).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::FOUND);
}

#[actix_rt::test]
async fn a_body_that_is_too_long_is_read_up_to_the_limit_and_not_waited_for() {
    // It promises more than it ever sends, and keeps the connection open.
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
    let server = serve(format!("{head}{}", "x".repeat(5_000))).that_stays();
    let bounds = Bounds {
        body_bytes: 1_000,
        ..PATIENT
    };
    let answer = get_plain(&server, bounds).await.expect("an answer");
    assert_eq!(answer.body.len(), 1_000);
    assert!(!answer.whole);
    let bounds = Bounds {
        body_bytes: 0,
        ..PATIENT
    };
    let server = serve(head).that_stays();
    let answer = get_plain(&server, bounds).await.expect("an answer");
    assert_eq!((answer.body.len(), answer.whole), (0, false));
}

#[actix_rt::test]
async fn bodies_that_end_with_a_chunk_or_with_the_connection_are_whole() {
    for body in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nabcde",
    ] {
        let server = serve(body);
        let answer = get_plain(&server, PATIENT).await.expect("an answer");
        assert_eq!(&answer.body[..], b"abcde", "{body:?}");
        assert!(answer.whole, "{body:?}");
    }
}

#[actix_rt::test]
async fn a_body_of_no_known_length_is_not_taken_for_an_empty_one() {
    let server = serve("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcde");
    let answer = get_plain(&server, PATIENT).await.expect("an answer");
    assert_eq!((answer.body.len(), answer.whole), (0, false));
}

#[actix_rt::test]
async fn an_answer_without_a_body_is_whole_whatever_length_it_names() {
    for (method, answer) in [
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n",
        ),
    ] {
        let server = serve(answer);
        let address: Uri = server.address("/").parse().expect("an address");
        let calls = HttpCalls::default();
        let client = calls.client(&address, &Trust::System).await.expect("one");
        let request = client.request(method, &address).force_close();
        let answer = client.call(request, "", PATIENT).await;
        assert!(answer.is_ok_and(|answer| answer.body.is_empty()));
    }
}

#[actix_rt::test]
async fn a_connection_that_the_server_leaves_open_is_used_again() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let server = serve(answer).twice_on_a_connection();
    let address: Uri = server.address("/").parse().expect("an address");
    let calls = HttpCalls::default();
    let client = calls.client(&address, &Trust::System).await.expect("one");
    for _ in 0..2 {
        let request = client.request(Method::GET, &address);
        let answer = client.call(request, "", PATIENT).await.expect("an answer");
        assert_eq!(&answer.body[..], b"ok");
    }
    assert_eq!(server.connections(), 1);
}

#[actix_rt::test]
async fn addresses_and_localhost_need_no_name_server() {
    let names = Names::default();
    let look = async |host: &str| {
        let found = names.look_up(host).await;
        found.map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(look("127.0.0.1").await, Ok(vec!["127.0.0.1".to_owned()]));
    assert_eq!(look("[::1]").await, Ok(vec!["::1".to_owned()]));
    assert_eq!(look("fe80::1").await, Ok(vec!["fe80::1".to_owned()]));
    let both = Ok(vec!["127.0.0.1".to_owned(), "::1".to_owned()]);
    for name in ["localhost", "LocalHost.", "db.localhost"] {
        assert_eq!(look(name).await, both, "{name}");
    }
}

#[actix_rt::test]
async fn a_name_is_looked_up_once_however_many_ask() {
    let names = Names::default();
    let ask = || {
        let names = names.clone();
        async move { names.look_up("no-such-host.invalid").await }
    };
    // Both are polled before the look-up can have ended.
    let (one, other) = futures_util::future::join(ask(), ask()).await;
    assert!(one.is_err());
    assert_eq!(one, other);
    assert_eq!(names.under_way(), 0, "nothing is kept");
}
