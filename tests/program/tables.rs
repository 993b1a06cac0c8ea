//! The Supabase of our own that other tests sync into: that it is one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::Digest as _;

use crate::common::World;
use crate::common::http::{Address, Reply};
use crate::common::postgrest::{ANON_KEY, EXPIRED_KEY, Fault, SECRET_KEY, SERVICE_KEY, Stack};
use crate::common::wait::wait_until;

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
    // The first answer may be of a connection that nobody has told it is broken: 400.
    wait_until("PostgREST says that its database is gone", || {
        let down = ask(&stack, "POST", UPSERT, SERVICE_KEY, &row("a")).expect("an answer");
        assert!(matches!(down.status, 400 | 503), "{down:?}");
        (down.status == 503).then_some(())
    });
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

/// Files of a small project, and the hash of one.
fn project(world: &World) -> impl Fn(&str) -> String {
    let docs = world.file("docs");
    std::fs::create_dir_all(docs.join("deep")).expect("directories");
    for (name, text) in [
        ("a.md", "A"),
        ("deep/b c.md", "B"),
        ("c.md", "C"),
        ("d.txt", "D"),
    ] {
        std::fs::write(docs.join(name), text).expect("a file");
    }
    |text| {
        let hash = sha2::Sha256::digest(text.as_bytes());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[test]
fn verify_compares_every_path_with_the_project() {
    let stack = Stack::start();
    let world = World::plan()
        .config("[sync]\ntarget = \"supabase\"\n[[sync.dirs]]\npath = \"docs\"\ntable = \"docs\"\n")
        .prepare();
    let hash = project(&world);
    let url = stack.url();
    let env = [
        ("SUPABASE_URL", url.as_str()),
        ("SUPABASE_KEY", SERVICE_KEY),
    ];
    let verify = || world.cli_with(&["sync", "verify"], &env);
    let missing = verify();
    assert_eq!((missing.code, missing.out.as_str()), (Some(1), ""));
    assert!(
        missing.err.contains("there is no table docs"),
        "{missing:?}"
    );
    stack.schema(&world.cli(&["sync", "schema"]).out);
    stack.sql(&format!(
        "insert into docs (file_path, content_hash) values
           ('docs/a.md', '{}'), ('docs/deep/b c.md', '{}'), ('docs/x.md', null)",
        hash("A"),
        hash("another"),
    ));
    let ran = verify();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(
        ran.out,
        "missing    docs  docs/c.md\n\
         different  docs  docs/deep/b c.md\n\
         extra      docs  docs/x.md\n\
         Verified. Same: 1, Missing: 1, Different: 1, Extra: 1, Unreadable: 0\n"
    );
    let json = world.cli_with(&["--json", "sync", "verify"], &env);
    assert_eq!(json.code, Some(3));
    assert_eq!(json.json()["tables"][0]["missing"], json!(["docs/c.md"]));
    stack.sql(&format!(
        "insert into docs (file_path, content_hash) values ('docs/c.md', '{}');
         update docs set content_hash = '{}' where file_path = 'docs/deep/b c.md'",
        hash("C"),
        hash("B"),
    ));
    // A row whose file is gone stays by default.
    let ran = verify();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out
            .ends_with("Same: 3, Missing: 0, Different: 0, Extra: 1, Unreadable: 0\n")
    );
    for request in stack.gateway().take_seen() {
        assert_eq!(request.method, "GET", "nothing is written");
    }
    assert!(!world.data().exists(), "nor here");
}

#[test]
fn verify_compares_every_path_with_the_embedded_tables() {
    let world = World::plan()
        .config("[[sync.dirs]]\npath = \"docs\"\ntable = \"docs\"\n")
        .prepare();
    let hash = project(&world);
    let none = world.cli(&["sync", "verify"]);
    assert_eq!((none.code, none.out.as_str()), (Some(1), ""), "{none:?}");
    assert!(
        none.err.contains("nothing has been mirrored yet"),
        "{none:?}"
    );
    std::fs::create_dir(world.data()).expect("a directory");
    let database = rusqlite::Connection::open(world.data().join("tables.db")).expect("a database");
    let ran = world.cli(&["sync", "verify"]);
    assert!(
        ran.out
            .ends_with("Same: 0, Missing: 3, Different: 0, Extra: 0, Unreadable: 0\n")
    );
    database
        .execute_batch(&format!(
            "create table docs (file_path text primary key, content_hash text);
             insert into docs values ('docs/a.md', '{}'), ('docs/c.md', '{}'), ('docs/deep/b c.md', '{}')",
            hash("A"),
            hash("C"),
            hash("B"),
        ))
        .expect("rows");
    let ran = world.cli(&["sync", "verify"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        ran.out,
        "Verified. Same: 3, Missing: 0, Different: 0, Extra: 0, Unreadable: 0\n"
    );
}

#[test]
fn without_a_key_there_is_nothing_to_verify() {
    let world = World::plan()
        .config("[sync]\ntarget = \"supabase\"\n[[sync.dirs]]\npath = \"docs\"\ntable = \"docs\"\n")
        .prepare();
    let verify = |env: &[(&str, &str)]| {
        let ran = world.cli_with(&["sync", "verify"], env);
        assert_eq!((ran.code, ran.out.as_str()), (Some(78), ""), "{ran:?}");
        ran.err
    };
    let unset = [("SUPABASE_SERVICE_ROLE_KEY", ""), ("SUPABASE_KEY", " ")];
    let said = verify(&[
        ("SUPABASE_URL", "https://x.supabase.co"),
        unset[0],
        unset[1],
    ]);
    assert!(
        said.contains("set SUPABASE_SERVICE_ROLE_KEY or SUPABASE_KEY"),
        "{said}"
    );
    let clear = [
        ("SUPABASE_URL", "http://x.supabase.co"),
        ("SUPABASE_KEY", SERVICE_KEY),
    ];
    let said = verify(&clear);
    assert!(
        said.contains("in the clear") && !said.contains(SERVICE_KEY),
        "{said}"
    );
}
