//! The Supabase of our own that other tests sync into: that it is one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::http::{Address, Reply};
use crate::common::postgrest::{ANON_KEY, EXPIRED_KEY, Fault, SECRET_KEY, SERVICE_KEY, Stack};

const DOCS: &str = "create table docs (file_path text primary key, title text)";
const UPSERT: &str = "/rest/v1/docs?on_conflict=file_path&columns=file_path,title";

/// One request with this key, as the gateway of a project gets it.
fn ask(stack: &Stack, method: &str, target: &str, key: &str, body: &str) -> std::io::Result<Reply> {
    let address: SocketAddr = stack
        .url()
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let bearer = format!("Bearer {key}");
    let mut headers = vec![
        ("Content-Type", "application/json"),
        ("Prefer", "resolution=merge-duplicates,return=minimal"),
    ];
    if !key.is_empty() {
        headers.push(("apikey", key));
    }
    if !key.is_empty() && !key.starts_with("sb_") {
        headers.push(("Authorization", &bearer));
    }
    Address::Tcp(address).request(method, target, &headers, body.as_bytes())
}

fn row(path: &str) -> String {
    json!([{ "file_path": path, "title": "t" }]).to_string()
}

#[test]
fn the_stack_knows_keys_and_roles_as_supabase_does() {
    let stack = Stack::start();
    stack.schema(DOCS);
    stack.sql("alter table docs enable row level security");
    let status = |key, path| {
        ask(&stack, "POST", UPSERT, key, &row(path))
            .expect("an answer")
            .status
    };
    assert_eq!(status(SERVICE_KEY, "a"), 201, "a new row");
    assert_eq!(status(SERVICE_KEY, "a"), 200, "an old one");
    assert_eq!(status(SECRET_KEY, "b"), 201, "a key that is no JWT");
    assert_eq!(status(ANON_KEY, "c"), 401, "row security");
    assert_eq!(status(EXPIRED_KEY, "c"), 401);
    assert_eq!(status("another", "c"), 401);
    let none = ask(&stack, "POST", UPSERT, "", &row("c")).expect("an answer");
    assert_eq!(none.json()["message"], "No API key found in request");
    assert_eq!(
        stack.sql("select string_agg(file_path, ',' order by file_path) from docs"),
        "a,b"
    );
    let seen = stack.gateway().take_seen();
    assert_eq!(seen.len(), 7);
    assert_eq!(seen[0].target, UPSERT);
    assert_eq!((seen[0].rows(), seen[0].status), (1, Some(201)));
}

#[test]
fn the_stack_plays_its_script_of_faults_once() {
    let stack = Stack::start();
    stack.schema(DOCS);
    stack.gateway().script([
        Fault::answer(429, &[("Retry-After", "7")], ""),
        Fault::Reset,
        Fault::DropReply,
        Fault::Delay(Duration::from_millis(150)),
        Fault::CutReply,
    ]);
    let ask = |path| ask(&stack, "POST", UPSERT, SERVICE_KEY, &row(path));
    let scripted = ask("a").expect("an answer");
    assert_eq!(scripted.status, 429);
    assert_eq!(scripted.header("retry-after"), Some("7"));
    for (path, there) in [("b", "0"), ("c", "1")] {
        let broken = ask(path).expect_err("a reset");
        assert!(
            matches!(
                broken.kind(),
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
            ),
            "{broken}"
        );
        let count = format!("select count(*) from docs where file_path = '{path}'");
        assert_eq!(stack.sql(&count), there, "{path}");
    }
    let begin = Instant::now();
    assert_eq!(ask("d").expect("an answer").status, 201);
    assert!(begin.elapsed() >= Duration::from_millis(150));
    ask("e").expect_err("half an answer");
    assert_eq!(ask("f").expect("an answer").status, 201);
}

#[test]
fn the_stack_survives_the_end_of_its_database() {
    let mut stack = Stack::start();
    stack.schema(DOCS);
    stack.stop_database();
    let down = ask(&stack, "POST", UPSERT, SERVICE_KEY, &row("a")).expect("an answer");
    assert_eq!(down.status, 503);
    stack.start_database();
    let up = ask(&stack, "POST", UPSERT, SERVICE_KEY, &row("a")).expect("an answer");
    assert_eq!(up.status, 201);
}
