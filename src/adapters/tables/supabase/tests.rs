//! The target `supabase` against the real PostgreSQL and PostgREST, and a gateway whose
//! faults are scripted.

mod edges;
mod errors;
mod golden;
#[path = "../../../../tests/common/postgrest/mod.rs"]
mod postgrest;
mod rows;

use std::sync::Arc;

use supervisor_core::sync::{Column, Field, Row, Table};

use super::*;
use crate::adapters::clock::RealClock;
use postgrest::{SERVICE_KEY, Stack};

/// The table of most of these tests.
const DOCS: &str = "create table docs (
    file_path text primary key,
    title text not null,
    content_hash text,
    metadata jsonb,
    deleted_at timestamptz
)";

fn column(name: &str, field: Field) -> Column {
    Column {
        name: name.to_owned(),
        field,
    }
}

fn table(name: &str) -> Table {
    let columns = vec![
        column("file_path", Field::FilePath),
        column("title", Field::Title),
        column("content_hash", Field::ContentHash),
        column("metadata", Field::Metadata),
        column("deleted_at", Field::DeletedAt),
    ];
    Table::new(name, "file_path", columns).expect("a table")
}

fn docs() -> Table {
    table("docs")
}

fn row(path: &str, title: &str) -> Row {
    let hash = ContentHash([7; 32]);
    Row {
        key: path.to_owned(),
        hash,
        values: vec![
            json!(path),
            json!(title),
            json!(hash.to_string()),
            json!({"tags": ["a", null]}),
            Value::Null,
        ],
    }
}

fn rows(paths: &[&str]) -> Vec<Row> {
    paths.iter().map(|path| row(path, "t")).collect()
}

fn keys(paths: &[&str]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

fn target(url: &str, key: &str) -> Supabase {
    Supabase::new(
        Project::new(url, key, false).expect("a project"),
        HttpCalls::default(),
        Trust::System,
        Arc::new(RealClock),
    )
}

fn service(stack: &Stack) -> Supabase {
    target(&stack.url(), SERVICE_KEY)
}

/// A stack with the table `docs`.
fn stack() -> Stack {
    let stack = Stack::start();
    stack.schema(DOCS);
    stack
}

fn paths(stack: &Stack) -> String {
    stack.sql("select string_agg(file_path, ',' order by file_path) from docs")
}
