//! The tables that markdown is mirrored into, on the real PostgreSQL and PostgREST.

use crate::common::postgrest::*;
use std::io::{Read, Write};

fn ask(stack: &Stack, m: &str, path: &str, key: &str, headers: &str, body: &str) -> String {
    let addr = stack.url().replace("http://", "");
    let mut s = std::net::TcpStream::connect(&addr).unwrap();
    write!(s, "{m} /rest/v1{path} HTTP/1.1\r\nHost: {addr}\r\napikey: {key}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut v = Vec::new();
    s.read_to_end(&mut v).unwrap();
    String::from_utf8_lossy(&v).into_owned()
}

#[test]
fn probe() {
    let mut stack = Stack::start();
    stack.schema("create table t (file_path text primary key, title text not null, n int, other text unique, meta jsonb, check (n < 100)); create table nokey (file_path text, title text);
      create table rls (file_path text primary key, title text); alter table rls enable row level security; create table nogrant (file_path text primary key); revoke all on nogrant from service_role;
      create table needs (file_path text primary key, title text, needed text not null);
      create table slow (file_path text primary key, title text); create function f() returns trigger language plpgsql as $$ begin perform pg_sleep(5); return new; end $$; create trigger x before insert on slow for each row execute function f(); alter role service_role set statement_timeout='200ms'; notify pgrst, 'reload config'");
    let up = "Prefer: resolution=merge-duplicates,return=minimal\r\n";
    let p = "/t?on_conflict=file_path&columns=file_path,title";
    for (what, m, path, key, h, body) in [
        (
            "new",
            "POST",
            p,
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "upd",
            "POST",
            p,
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "upd count",
            "POST",
            p,
            SERVICE_KEY,
            "Prefer: resolution=merge-duplicates,return=minimal,count=exact\r\n",
            r#"[{"file_path":"a","title":"x"},{"file_path":"b","title":"x"}]"#,
        ),
        (
            "twice",
            "POST",
            p,
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"},{"file_path":"a","title":"x"}]"#,
        ),
        (
            "keys",
            "POST",
            "/t?on_conflict=file_path",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"},{"file_path":"c"}]"#,
        ),
        ("json", "POST", p, SERVICE_KEY, up, r#"[{"file_path":"a","#),
        (
            "col",
            "POST",
            "/t?on_conflict=file_path&columns=file_path,titel",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "tab",
            "POST",
            "/tt?on_conflict=file_path&columns=file_path,title",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "nokey",
            "POST",
            "/nokey?on_conflict=file_path&columns=file_path,title",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "null",
            "POST",
            p,
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":null}]"#,
        ),
        (
            "needs",
            "POST",
            "/needs?on_conflict=file_path&columns=file_path,title",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "int",
            "POST",
            "/t?on_conflict=file_path&columns=file_path,title,n",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x","n":"secret"}]"#,
        ),
        (
            "check",
            "POST",
            "/t?on_conflict=file_path&columns=file_path,title,n",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x","n":100}]"#,
        ),
        (
            "nul",
            "POST",
            p,
            SERVICE_KEY,
            up,
            "[{\"file_path\":\"a\",\"title\":\"x\\u0000y\"}]",
        ),
        (
            "uniq",
            "POST",
            "/t?on_conflict=file_path&columns=file_path,title,other",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x","other":"o"},{"file_path":"b","title":"x","other":"o"}]"#,
        ),
        (
            "rls anon",
            "POST",
            "/rls?on_conflict=file_path&columns=file_path,title",
            ANON_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "rls user",
            "POST",
            "/rls?on_conflict=file_path&columns=file_path,title",
            USER_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "nogrant",
            "POST",
            "/nogrant?on_conflict=file_path&columns=file_path",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "rls ok",
            "POST",
            "/rls?on_conflict=file_path&columns=file_path,title",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "del hidden",
            "DELETE",
            "/rls?file_path=in.(%22a%22)",
            USER_KEY,
            "Prefer: count=exact,return=minimal\r\n",
            "",
        ),
        (
            "patch hidden",
            "PATCH",
            "/rls?file_path=in.(%22a%22)",
            USER_KEY,
            "Prefer: count=exact,return=minimal\r\n",
            r#"{"title":"z"}"#,
        ),
        (
            "patch",
            "PATCH",
            "/rls?file_path=in.(%22a%22)",
            SERVICE_KEY,
            "Prefer: count=exact,return=minimal\r\n",
            r#"{"title":"z"}"#,
        ),
        (
            "patch key taken",
            "PATCH",
            "/t?file_path=eq.a",
            SERVICE_KEY,
            "Prefer: count=exact,return=minimal\r\n",
            r#"{"file_path":"b"}"#,
        ),
        (
            "del",
            "DELETE",
            "/rls?file_path=in.(%22a%22)",
            SERVICE_KEY,
            "Prefer: count=exact,return=minimal\r\n",
            "",
        ),
        (
            "keys",
            "GET",
            "/t?select=file_path,title&order=file_path&limit=2&file_path=gt.%22",
            SERVICE_KEY,
            "",
            "",
        ),
        (
            "slow",
            "POST",
            "/slow?on_conflict=file_path&columns=file_path,title",
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "expired",
            "POST",
            p,
            EXPIRED_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "forged",
            "POST",
            p,
            FORGED_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "sb as bearer",
            "POST",
            p,
            SECRET_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
        (
            "bad key",
            "POST",
            p,
            "x",
            up,
            r#"[{"file_path":"a","title":"x"}]"#,
        ),
    ] {
        eprintln!("=== {what}\n{}\n", ask(&stack, m, path, key, h, body));
    }
    stack.stop_database();
    eprintln!(
        "=== down\n{}\n",
        ask(
            &stack,
            "POST",
            p,
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#
        )
    );
    eprintln!(
        "=== down2\n{}\n",
        ask(
            &stack,
            "POST",
            p,
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#
        )
    );
    stack.start_database();
    eprintln!(
        "=== up\n{}\n",
        ask(
            &stack,
            "POST",
            p,
            SERVICE_KEY,
            up,
            r#"[{"file_path":"a","title":"x"}]"#
        )
    );
    drop(stack);
}
