//! The client against servers that answer well, badly, slowly and not at all.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::cli::exit::Exit;

/// What a scripted server does after it has read the request.
#[derive(Clone)]
enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Lets others run, so that the client sees what was sent so far by itself.
    Breathe,
    /// Never goes on, and never closes.
    Hang,
    /// Sends these bytes again and again.
    Flood(Vec<u8>),
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// A server for one connection at a time, and what it was asked.
struct Server {
    dir: tempfile::TempDir,
    path: PathBuf,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Server {
    fn start(script: Vec<Step>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        Self::at(dir, path, script)
    }

    fn at(dir: tempfile::TempDir, path: PathBuf, script: Vec<Step>) -> Self {
        let listener = UnixListener::bind(dir.path().join("s.sock")).unwrap();
        let asked = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&asked);
        spawn_local(async move {
            while let Ok((mut io, _)) = listener.accept().await {
                let request = read_request(&mut io).await;
                log.borrow_mut().push(request);
                play(&mut io, &script).await;
            }
        });
        Self { dir, path, asked }
    }

    fn client(&self) -> Client {
        let limits = Limits {
            total: Duration::from_millis(300),
            body: 1 << 20,
        };
        Client::with_limits(endpoint(self.path.clone()), limits)
    }
}

fn endpoint(path: PathBuf) -> Endpoint {
    let config = Some(PathBuf::from("supervisor.toml"));
    Endpoint::Unix { path, config }
}

/// Reads a head, and as much of a body as it announces.
async fn read_request(io: &mut UnixStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let n = io.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.strip_prefix("content-length: "))
                .map(|n| n.parse::<usize>().unwrap())
                .next();
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if n == 0 {
            return text;
        }
    }
}

async fn play(io: &mut UnixStream, script: &[Step]) {
    for step in script {
        match step {
            // A client that has seen enough closes: then there is nobody to send to.
            Step::Send(bytes) => drop(io.write_all(bytes).await),
            Step::Breathe => tokio::time::sleep(Duration::from_millis(5)).await,
            Step::Hang => std::future::pending().await,
            Step::Flood(bytes) => while io.write_all(bytes).await.is_ok() {},
        }
    }
}

/// Runs a test on a runtime as commands have it, and ends it if it hangs.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    LocalSet::new()
        .block_on(&runtime, limited)
        .expect("the client hangs");
}

/// What a call to such a server gives.
async fn ask(script: Vec<Step>) -> Result<String, ClientError> {
    Server::start(script).client().call(Call::get("/x")).await
}

fn garbled(result: Result<String, ClientError>) -> String {
    match result {
        Err(ClientError::Garbled { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_with_a_length_is_read() {
    run(async {
        let text = ask(vec![
            send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe"),
            Step::Breathe,
            send("llo"),
            Step::Hang,
        ])
        .await
        .unwrap();
        assert_eq!(text, "hello");
    });
}

#[test]
fn an_answer_in_chunks_is_read_however_it_is_cut() {
    run(async {
        let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                     5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n";
        for at in 1..whole.len() {
            let script = vec![
                send(&whole[..at]),
                Step::Breathe,
                send(&whole[at..]),
                Step::Hang,
            ];
            assert_eq!(ask(script).await.unwrap(), "hello, world", "cut at {at}");
        }
    });
}

#[test]
fn an_answer_without_a_length_goes_on_until_its_sender_closes() {
    run(async {
        for version in ["1.1", "1.0"] {
            let text = ask(vec![
                send(&format!("HTTP/{version} 200 OK\r\nserver: x\r\n\r\nhe")),
                Step::Breathe,
                send("llo"),
            ])
            .await
            .unwrap();
            assert_eq!(text, "hello", "{version}");
        }
    });
}

#[test]
fn an_answer_without_a_body_is_whole_at_once() {
    run(async {
        for head in [
            "HTTP/1.1 204 No Content",
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0",
        ] {
            let script = vec![send(&format!("{head}\r\n\r\n")), Step::Hang];
            assert_eq!(ask(script).await.unwrap(), "", "{head}");
        }
    });
}

#[test]
fn an_interim_answer_is_passed_over() {
    run(async {
        let text = ask(vec![
            send("HTTP/1.1 100 Continue\r\n\r\n"),
            Step::Breathe,
            send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ])
        .await
        .unwrap();
        assert_eq!(text, "ok");
    });
}

#[test]
fn a_cut_answer_is_no_answer() {
    run(async {
        for cut in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\nconte",
            "",
        ] {
            let why = garbled(ask(vec![send(cut)]).await);
            assert!(!why.is_empty(), "{cut:?}");
        }
    });
}

#[test]
fn what_is_not_http_is_said_to_be_none() {
    run(async {
        for garbage in [
            &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
            b"\0\xff\x1b[31m",
            b"HTTP/1.1 banana\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        ] {
            let why = garbled(ask(vec![Step::Send(garbage.to_vec()), Step::Hang]).await);
            assert!(!why.is_empty(), "{garbage:?}");
        }
        let broken = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nhello";
        garbled(ask(vec![send(broken), Step::Hang]).await);
        let binary = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
        let script = vec![send(binary), Step::Send(vec![0xff, 0xfe])];
        assert_eq!(garbled(ask(script).await), "it is not UTF-8");
    });
}

#[test]
fn an_endless_answer_ends_in_an_error() {
    run(async {
        let megabyte = vec![b'x'; 1 << 16];
        let why = garbled(
            ask(vec![
                send("HTTP/1.0 200 OK\r\n\r\n"),
                Step::Flood(megabyte.clone()),
            ])
            .await,
        );
        assert_eq!(why, "it is longer than 1048576 bytes");
        let header = b"x-header: and so on\r\n".repeat(100);
        let why = garbled(ask(vec![send("HTTP/1.1 200 OK\r\n"), Step::Flood(header)]).await);
        assert!(!why.is_empty());
    });
}

#[test]
fn silence_ends_at_the_deadline_wherever_it_begins() {
    run(async {
        for begun in [
            "",
            "HTTP/1.1 2",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\n\r\nhel",
        ] {
            match ask(vec![send(begun), Step::Hang]).await {
                Err(error @ ClientError::Silent { .. }) => {
                    assert_eq!(error.exit(), Exit::NotReachable);
                    assert!(error.to_string().contains("within 0.3 s"), "{error}");
                }
                other => panic!("{begun:?}: {other:?}"),
            }
        }
    });
}

#[test]
fn a_slow_drip_ends_at_the_deadline() {
    run(async {
        let mut script = vec![send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")];
        for _ in 0..10_000 {
            script.extend([send("x"), Step::Breathe]);
        }
        let result = ask(script).await;
        assert!(
            matches!(result, Err(ClientError::Silent { .. })),
            "{result:?}"
        );
    });
}

#[test]
fn a_problem_is_told_in_the_supervisors_words() {
    run(async {
        let body = json!({"type": "about:blank", "title": "Conflict", "status": 409,
            "detail": "db is not run by this supervisor, it is only watched", "code": "not_ours"})
        .to_string();
        let script = vec![send(&format!(
            "HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ))];
        let error = ask(script).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "db is not run by this supervisor, it is only watched"
        );
        assert_eq!(error.exit(), Exit::Failure);
        let ClientError::Refused(problem) = error else {
            panic!("{error:?}");
        };
        assert_eq!(problem.status, 409);
        assert_eq!(problem.code.as_deref(), Some("not_ours"));
    });
}

#[test]
fn a_refusal_without_a_problem_shows_what_came() {
    run(async {
        let told = |status: &str, body: &str| {
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            async move { ask(vec![send(&answer)]).await.unwrap_err().to_string() }
        };
        assert_eq!(
            told("502 Bad Gateway", "upstream is gone\n").await,
            "upstream is gone"
        );
        assert_eq!(
            told("500 Internal Server Error", "").await,
            "the supervisor refused with status 500"
        );
        // A redirect is not followed.
        assert_eq!(told("302 Found", "elsewhere").await, "elsewhere");
    });
}

#[test]
fn where_nobody_listens_the_socket_and_the_remedy_are_named() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("supervisor.sock");
        let left_behind = dir.path().join("old.sock");
        drop(std::os::unix::net::UnixListener::bind(&left_behind).unwrap());
        for path in [missing, left_behind] {
            let client = Client::new(endpoint(path.clone()));
            let error = client.call(Call::get("/")).await.unwrap_err();
            assert_eq!(error.exit(), Exit::NotReachable);
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(
                text.contains("`supervisor --config supervisor.toml`"),
                "{text}"
            );
        }
    });
}

#[test]
fn a_request_is_what_the_server_expects() {
    run(async {
        let server = Server::start(vec![send(
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
        )]);
        let client = server.client();
        let body = json!({"for": "1h"});
        client
            .call(Call::post("/api/services/a/pause", Some(&body)))
            .await
            .unwrap();
        client.call(Call::post("/api/pulse/a", None)).await.unwrap();
        let asked = server.asked.borrow();
        let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(
            head.starts_with("post /api/services/a/pause http/1.1\r\n"),
            "{head}"
        );
        for header in [
            "host: localhost",
            "content-type: application/json",
            "content-length: 12",
            "connection: close",
        ] {
            assert!(head.lines().any(|line| line == header), "{head}");
        }
        assert_eq!(body, r#"{"for":"1h"}"#);
        let plain = asked[1].to_ascii_lowercase();
        assert!(plain.contains("content-length: 0\r\n"), "{plain}");
        assert!(!plain.contains("content-type"), "{plain}");
    });
}

#[test]
fn json_that_is_not_what_it_should_be_is_an_error() {
    run(async {
        let answer = |body: &str| {
            let length = body.len();
            send(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
        };
        let server = Server::start(vec![answer(r#"{"services":[{"name":"a"}"#)]);
        let read = server.client().read::<Value>(Call::get("/x")).await;
        assert!(garbled(read.map(|(_, text)| text)).contains("JSON"));
        let deep = answer(&"[".repeat(100_000));
        let read = Server::start(vec![deep])
            .client()
            .read::<Value>(Call::get("/x"))
            .await;
        assert!(garbled(read.map(|(_, text)| text)).contains("JSON"));
    });
}

#[test]
fn a_stream_gives_what_comes_and_outlives_the_deadline() {
    run(async {
        let mut script = vec![
            send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            send("4\r\none\n\r\n"),
        ];
        // Longer than the deadline of a call.
        script.extend(vec![Step::Breathe; 80]);
        script.extend([send("4\r\ntwo\n\r\n"), Step::Breathe, send("0\r\n\r\n")]);
        let server = Server::start(script);
        let mut chunks = server.client().stream(Call::get("/x")).await.unwrap();
        assert_eq!(&chunks.next().await.unwrap().unwrap()[..], b"one\n");
        assert_eq!(&chunks.next().await.unwrap().unwrap()[..], b"two\n");
        assert_eq!(chunks.next().await.unwrap(), None);
        assert_eq!(chunks.next().await.unwrap(), None);
    });
}

#[test]
fn a_stream_that_breaks_off_is_an_error_once() {
    run(async {
        let server = Server::start(vec![send(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\none\n\r\n",
        )]);
        let mut chunks = server.client().stream(Call::get("/x")).await.unwrap();
        assert!(chunks.next().await.unwrap().is_some());
        let error = chunks.next().await.unwrap_err();
        assert!(error.to_string().contains(CUT), "{error}");
        assert_eq!(chunks.next().await.unwrap(), None);
        let server = Server::start(vec![send(
            "HTTP/1.1 404 Not Found\r\ncontent-length: 14\r\n\r\n{\"detail\":\"x\"}",
        )]);
        match server.client().stream(Call::get("/x")).await {
            Err(ClientError::Refused(problem)) => assert_eq!(problem.to_string(), "x"),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("a 404 is no stream"),
        }
    });
}

#[test]
fn a_socket_with_a_path_longer_than_an_address_is_reached() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a-long-name/".repeat(20));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("s.sock");
        let script = vec![send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")];
        let server = Server::at(dir, path.clone(), script);
        let missing = server.client().call(Call::get("/")).await.unwrap_err();
        assert_eq!(missing.exit(), Exit::NotReachable);
        std::fs::rename(server.dir.path().join("s.sock"), &path).unwrap();
        assert_eq!(server.client().call(Call::get("/")).await.unwrap(), "ok");
    });
}
