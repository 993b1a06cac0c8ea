//! The same, asked by the official Python client and by us: what goes over the wire must mean
//! the same.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::postgrest::Seen;
use super::*;

/// What a request means: the order of a query's parts, of preferences and of columns says
/// nothing, nor do quotes that need not be there.
#[derive(Debug, PartialEq)]
struct Meaning {
    method: String,
    path: String,
    query: BTreeSet<(String, BTreeSet<String>)>,
    prefer: BTreeSet<String>,
    apikey: Option<String>,
    authorization: Option<String>,
    content_type: Option<String>,
    body: Value,
}

fn meaning(seen: &Seen) -> Meaning {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let header = |name| seen.header(name).map(str::to_owned);
    // The client sends {} with a DELETE, which nobody reads.
    let has_body = !seen.body.is_empty() && seen.method != "DELETE";
    Meaning {
        method: seen.method.clone(),
        path: path.to_owned(),
        query: query.split('&').map(part).collect(),
        prefer: header("prefer")
            .unwrap_or_default()
            .split(',')
            .map(|preference| preference.trim().to_owned())
            .collect(),
        apikey: header("apikey"),
        authorization: header("authorization"),
        content_type: header("content-type").filter(|_| has_body),
        body: if has_body { seen.json() } else { Value::Null },
    }
}

/// A name and its values: of a list, or of `order=file_path.asc`, each by itself.
fn part(text: &str) -> (String, BTreeSet<String>) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let value = decoded(value);
    let list = value
        .strip_prefix("in.(")
        .and_then(|rest| rest.strip_suffix(')'));
    let values = match (list, name) {
        (Some(list), _) => items(list)
            .into_iter()
            .map(|item| format!("in {item}"))
            .collect(),
        (None, "columns" | "select" | "on_conflict") => items(&value).into_iter().collect(),
        (None, _) => BTreeSet::from([value]),
    };
    (name.to_owned(), values)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, left)) = rest.split_first() {
        rest = left;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, left) = rest.split_at(2);
                rest = left;
                let digits = std::str::from_utf8(digits).expect("hex");
                u8::from_str_radix(digits, 16).expect("hex")
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The items between commas, quoted or not.
fn items(text: &str) -> Vec<String> {
    let (mut items, mut item) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => {
                item.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    items.push(item);
    items
}

#[actix_rt::test]
async fn we_ask_as_the_official_client_does() {
    let stack = stack();
    let before = [
        row("a b,c.md", "A"),
        row("ü/(x).md", "B"),
        row("plain.md", "C"),
    ];
    let moved = row("moved to.md", "A");
    let keys = keys(&["moved to.md", "plain.md", "ü/(x).md"]);
    let at = Timestamp(1_800_000_000_000_000);
    let object = |row: &Row| -> Value {
        let table = docs();
        let names = table.columns().iter().map(|column| column.name.clone());
        names.zip(row.values.iter().cloned()).collect()
    };
    let asked = json!({
        "rows": before.iter().map(object).collect::<Vec<_>>(),
        "moved": object(&moved),
        "from": "a b,c.md",
        "keys": keys,
        "at": at.rfc3339_micros(),
        "after": "a+b&c.md",
    });
    let theirs = python(&stack, &asked);
    assert_eq!(stack.sql("select count(*) from docs"), "0", "deleted again");

    let target = service(&stack);
    target.upsert(&docs(), &before).await.expect("taken");
    assert_eq!(target.rename(&docs(), "a b,c.md", &moved).await, Ok(true));
    assert_eq!(target.tombstone(&docs(), &keys, at).await, Ok(3));
    target
        .keys(&docs(), Some("a+b&c.md"), 100)
        .await
        .expect("a page");
    assert_eq!(target.delete(&docs(), &keys).await, Ok(3));
    let ours = stack.gateway().take_seen();

    assert_eq!((ours.len(), theirs.len()), (5, 5));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(meaning(ours), meaning(theirs));
        assert_eq!(ours.status, theirs.status);
    }
}

/// What the Python client sends.
fn python(stack: &Stack, asked: &Value) -> Vec<Seen> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/supabase-venv/bin/python");
    assert!(
        program.exists(),
        "{} is missing: tests/run installs it",
        program.display()
    );
    let mut child = Command::new(program)
        .arg(root.join("tests/fixtures/supabase_client.py"))
        .args([&stack.url(), SERVICE_KEY])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("a pipe");
    input
        .write_all(asked.to_string().as_bytes())
        .expect("written");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    stack.gateway().take_seen()
}
