//! The Supabase of our own that other tests sync into: that it is one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::World;
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

/// A configuration that mirrors into tables of both presets, one of them with columns of its own.
fn mirrors(preset: &str, tables: &[&str]) -> World {
    let mut sync = format!("[sync]\npreset = \"{preset}\"\n");
    for table in tables {
        sync += &format!("[[sync.dirs]]\npath = \"{table}\"\ntable = \"{table}\"\n");
    }
    World::plan().config(&sync).prepare()
}

#[test]
fn the_printed_schema_makes_every_table_of_either_preset() {
    let stack = Stack::start();
    let athena = [
        "protocols",
        "case_studies",
        "capabilities",
        "sessions",
        "memory_bank",
        "system_docs",
        "references",
    ];
    for (world, tables) in [
        (mirrors("plain", &["docs", "Order"]), &["docs", "Order"][..]),
        (mirrors("athena", &athena), &athena[..]),
    ] {
        let printed = world.cli(&["sync", "schema"]);
        assert_eq!(
            (printed.code, printed.err.as_str()),
            (Some(0), ""),
            "{printed:?}"
        );
        let json = world.cli(&["--json", "sync", "schema"]);
        assert_eq!(json.json()["sql"], printed.out);
        for _twice in 0..2 {
            stack.schema(&printed.out);
        }
        for table in tables {
            let key = if *table == "memory_bank" {
                "filename"
            } else {
                "file_path"
            };
            let target = format!("/rest/v1/{table}?on_conflict={key}&columns={key},title,metadata");
            let body = json!([{ key: "a.md", "title": "t", "metadata": {} }]).to_string();
            for expected in [201, 200] {
                let answer = ask(&stack, "POST", &target, SERVICE_KEY, &body).expect("an answer");
                assert_eq!(answer.status, expected, "{table}: {}", answer.text());
            }
            let anon = ask(&stack, "POST", &target, ANON_KEY, &body).expect("an answer");
            assert_eq!(anon.status, 401, "{table}");
        }
    }
    let columns = stack.sql(
        "select column_name || ' ' || data_type from information_schema.columns
         where table_name = 'sessions' order by ordinal_position",
    );
    for column in ["metadata jsonb", "date date", "session_number bigint"] {
        assert!(columns.lines().any(|line| line == column), "{columns}");
    }
}

#[test]
fn without_anything_to_mirror_there_is_no_schema() {
    let world = World::plan().prepare();
    let ran = world.cli(&["sync", "schema"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.err.contains("[[sync.dirs]]"), "{ran:?}");
    std::fs::write(world.config(), "[sync]\ntarget = \"mysql\"\n").expect("a configuration");
    let ran = world.cli(&["sync", "schema"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(78), ""), "{ran:?}");
    assert!(ran.err.contains("mysql"), "{ran:?}");
}
