//! The embedded target, on real files.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use supervisor_core::sync::{Column, ContentHash, Field};

use super::*;
use crate::adapters::clock::RealClock;

struct Home {
    dir: tempfile::TempDir,
    tables: SqliteTables,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tables = SqliteTables::new(dir.path(), Arc::new(RealClock));
        Self { dir, tables }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("tables.db")
    }

    /// What another program sees: rows as lines, columns parted by `|`.
    fn sql(&self, sql: &str) -> String {
        let connection = Connection::open(self.path()).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement
            .query_map([], |row| {
                let cells: Vec<String> = (0..columns)
                    .map(|at| match row.get::<_, SqlValue>(at).unwrap() {
                        SqlValue::Null => "NULL".to_owned(),
                        SqlValue::Integer(number) => number.to_string(),
                        SqlValue::Real(number) => number.to_string(),
                        SqlValue::Text(text) => text,
                        SqlValue::Blob(_) => "BLOB".to_owned(),
                    })
                    .collect();
                Ok(cells.join("|"))
            })
            .unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    fn execute(&self, sql: &str) {
        Connection::open(self.path())
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    }
}

fn column(name: &str, field: Field) -> Column {
    Column {
        name: name.to_owned(),
        field,
    }
}

fn docs() -> Table {
    let columns = vec![
        column("file_path", Field::FilePath),
        column("title", Field::Title),
        column("metadata", Field::Metadata),
        column("content_hash", Field::ContentHash),
        column("session_number", Field::SessionNumber),
        column("deleted_at", Field::DeletedAt),
    ];
    Table::new("docs", "file_path", columns).unwrap()
}

fn row(path: &str, title: Option<&str>) -> Row {
    let hash = ContentHash([7; 32]);
    Row {
        key: path.to_owned(),
        hash,
        values: vec![
            json!(path),
            json!(title),
            json!({"a": [1, null]}),
            json!(hash.to_string()),
            json!(12),
            json!(null),
        ],
    }
}

fn keys(page: &[Held]) -> Vec<&str> {
    page.iter().map(|held| held.key.as_str()).collect()
}

#[actix_rt::test]
async fn rows_are_inserted_and_all_their_columns_replaced() {
    let home = Home::new();
    let rows = [row("a.md", Some("A")), row("b.md", Some("B"))];
    assert_eq!(home.tables.upsert(&docs(), &rows).await, Ok(()));
    assert_eq!(
        home.tables.upsert(&docs(), &[row("b.md", None)]).await,
        Ok(())
    );
    assert_eq!(
        home.sql("select file_path, title, metadata, session_number, typeof(session_number), deleted_at from docs order by 1"),
        "a.md|A|{\"a\":[1,null]}|12|integer|NULL\nb.md|NULL|{\"a\":[1,null]}|12|integer|NULL"
    );
}

#[actix_rt::test]
async fn hostile_keys_and_texts_come_back_as_they_were() {
    let home = Home::new();
    let nasty = [
        "'\"; drop table docs; --.md",
        "a\0b.md",
        "ü/%20+&.md",
        "🙂\\.md",
    ];
    let mut nasty: Vec<String> = nasty.map(str::to_owned).to_vec();
    nasty.sort();
    let rows: Vec<Row> = nasty.iter().map(|path| row(path, Some(path))).collect();
    assert_eq!(home.tables.upsert(&docs(), &rows).await, Ok(()));
    let page = home.tables.keys(&docs(), None, 100).await.unwrap();
    assert_eq!(keys(&page), nasty);
    assert_eq!(home.tables.delete(&docs(), &nasty).await, Ok(4));
}

#[actix_rt::test]
async fn a_row_is_moved_with_what_others_wrote_to_it() {
    let home = Home::new();
    let rows = [row("a.md", Some("A")), row("b.md", Some("B"))];
    home.tables.upsert(&docs(), &rows).await.unwrap();
    home.execute("alter table docs add column note; update docs set note = 'kept'");
    let moved = row("c.md", Some("C"));
    let rename =
        async |from: &'static str, row: &Row| home.tables.rename(&docs(), from, row).await.unwrap();
    assert!(rename("a.md", &moved).await);
    assert_eq!(
        home.sql("select file_path, title, note from docs order by 1"),
        "b.md|B|kept\nc.md|C|kept"
    );
    assert!(!rename("a.md", &row("d.md", None)).await, "there is none");
    assert!(!rename("c.md", &row("b.md", None)).await, "it is taken");
    assert!(rename("c.md", &row("c.md", Some("again"))).await);
    assert_eq!(
        home.sql("select file_path, title from docs order by 1"),
        "b.md|B\nc.md|again"
    );
}

#[actix_rt::test]
async fn deletes_and_tombstones_count_what_was_there() {
    let home = Home::new();
    let rows = ["a", "b", "c"].map(|key| row(key, None));
    home.tables.upsert(&docs(), &rows).await.unwrap();
    let list = |keys: &[&str]| -> Vec<String> { keys.iter().map(ToString::to_string).collect() };
    let (first, second) = (Timestamp(1_000_000), Timestamp(2_000_000));
    let mark = async |keys: &[&str], at| {
        home.tables
            .tombstone(&docs(), &list(keys), at)
            .await
            .unwrap()
    };
    assert_eq!(mark(&["a", "x"], first).await, 1);
    assert_eq!(
        mark(&["a", "b"], second).await,
        2,
        "marked before, it counts"
    );
    assert_eq!(
        home.sql("select deleted_at from docs order by file_path"),
        "1970-01-01T00:00:01.000000Z\n1970-01-01T00:00:02.000000Z\nNULL"
    );
    let page = home.tables.keys(&docs(), None, 10).await.unwrap();
    assert_eq!(keys(&page), ["c"], "rows with a tombstone are left out");
    assert_eq!(
        home.tables.delete(&docs(), &list(&["a", "c", "x"])).await,
        Ok(2)
    );
    home.tables
        .upsert(&docs(), &[row("b", None)])
        .await
        .unwrap();
    assert_eq!(home.sql("select file_path, deleted_at from docs"), "b|NULL");
}

#[actix_rt::test]
async fn keys_come_in_pages_and_an_empty_one_is_the_end() {
    let home = Home::new();
    let rows: Vec<Row> = (0..25).map(|n| row(&format!("{n:02}"), None)).collect();
    home.tables.upsert(&docs(), &rows).await.unwrap();
    // What somebody else put there.
    home.execute("insert into docs (file_path, content_hash) values (null, 'x'), (5, 'y'), ('zz', 'no hash')");
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = home
            .tables
            .keys(&docs(), after.as_deref(), 10)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        all.extend(page);
    }
    // A number in a column of texts is a text to SQLite.
    assert_eq!(all.len(), 27);
    assert_eq!(all[0].hash, Some(ContentHash([7; 32])));
    assert_eq!(all[26].hash, None);
    assert!(all.is_sorted_by(|a, b| a.key < b.key));
}

#[actix_rt::test]
async fn an_older_table_is_given_the_columns_and_the_key_that_it_lacks() {
    let home = Home::new();
    home.execute(
        "create table docs (File_Path text, note text); insert into docs values ('a', 'kept')",
    );
    home.tables
        .upsert(&docs(), &[row("a", Some("A")), row("b", None)])
        .await
        .unwrap();
    assert_eq!(
        home.sql("select file_path, note, title from docs order by 1"),
        "a|kept|A\nb|NULL|NULL"
    );
    // The configuration's next version has another key and another column.
    let columns = vec![
        column("name", Field::Name),
        column("file_path", Field::FilePath),
    ];
    let other = Table::new("docs", "name", columns).unwrap();
    let named = Row {
        values: vec![json!("n"), json!("c")],
        ..row("n", None)
    };
    home.tables.upsert(&other, &[named]).await.unwrap();
    assert_eq!(home.sql("select file_path from docs where name = 'n'"), "c");
}

#[actix_rt::test]
async fn a_table_that_cannot_be_what_is_wanted_is_parked_alone() {
    let home = Home::new();
    home.execute("create table docs (file_path text); insert into docs values ('a'), ('a'); create view seen as select 1 as file_path");
    let refused = home.tables.upsert(&docs(), &[row("a", None)]).await;
    let Err(Refusal::Park { scope, why }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(scope, Scope::Table);
    assert!(why.contains("some rows share theirs"), "{why}");
    let view = Table::new("seen", "file_path", docs().columns().to_vec()).unwrap();
    let refused = home.tables.upsert(&view, &[row("a", None)]).await;
    assert!(
        matches!(
            refused,
            Err(Refusal::Park {
                scope: Scope::Table,
                ..
            })
        ),
        "{refused:?}"
    );
    let other = Table::new("other", "file_path", docs().columns().to_vec()).unwrap();
    assert_eq!(home.tables.upsert(&other, &[row("a", None)]).await, Ok(()));
}

#[actix_rt::test]
async fn one_bad_row_takes_its_batch_back_and_is_found_by_halves() {
    let home = Home::new();
    home.tables
        .upsert(&docs(), &[row("a", None)])
        .await
        .unwrap();
    home.execute("create unique index other on docs (title)");
    let rows = [row("b", Some("same")), row("c", Some("same"))];
    let refused = home.tables.upsert(&docs(), &rows).await;
    assert!(matches!(refused, Err(Refusal::Split { .. })), "{refused:?}");
    assert_eq!(home.sql("select file_path from docs"), "a");
}

#[actix_rt::test]
async fn f41_a_lock_of_another_program_is_waited_for_a_while() {
    let home = Home::new();
    home.tables
        .upsert(&docs(), &[row("a", None)])
        .await
        .unwrap();
    let other = Connection::open(home.path()).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let began = RealClock.mono();
    let refused = home.tables.upsert(&docs(), &[row("b", None)]).await;
    assert!(matches!(refused, Err(Refusal::Retry { .. })), "{refused:?}");
    assert!(RealClock.mono().since(began) < Duration::from_secs(60));
    other.execute_batch("rollback").unwrap();
    assert_eq!(home.tables.upsert(&docs(), &[row("b", None)]).await, Ok(()));
}

#[actix_rt::test]
async fn a_damaged_database_is_set_aside_and_begun_anew() {
    let home = Home::new();
    home.tables
        .upsert(&docs(), &[row("a", None)])
        .await
        .unwrap();
    drop(home.tables.database.lock().await.open.take());
    let mut bytes = fs::read(home.path()).unwrap();
    bytes[..4096].fill(0xa5);
    fs::write(home.path(), &bytes).unwrap();
    let refused = home.tables.upsert(&docs(), &[row("b", None)]).await;
    let Err(Refusal::Retry { why, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("was damaged") && why.contains("set aside as tables.db.corrupt-"));
    assert_eq!(home.tables.upsert(&docs(), &[row("b", None)]).await, Ok(()));
    assert_eq!(home.sql("select file_path from docs"), "b");
}

#[actix_rt::test]
async fn a_deleted_database_is_begun_anew() {
    let home = Home::new();
    home.tables
        .upsert(&docs(), &[row("a", None)])
        .await
        .unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let _there = fs::remove_file(home.dir.path().join(format!("tables.db{suffix}")));
    }
    assert_eq!(home.tables.upsert(&docs(), &[row("b", None)]).await, Ok(()));
    assert_eq!(home.sql("select file_path from docs"), "b");
}

#[actix_rt::test]
async fn a_directory_that_cannot_be_written_is_worth_another_try() {
    let tables = SqliteTables::new(Path::new("/proc/no such place"), Arc::new(RealClock));
    let refused = tables.upsert(&docs(), &[row("a", None)]).await;
    let Err(Refusal::Retry { why, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.starts_with("/proc/no such place/tables.db"), "{why}");
}

#[actix_rt::test]
async fn a_caller_that_loses_interest_leaves_nothing_half_done() {
    let home = Home::new();
    home.tables
        .upsert(&docs(), &[row("a", None)])
        .await
        .unwrap();
    let rows: Vec<Row> = (0..500).map(|n| row(&format!("n{n:03}"), None)).collect();
    let table = docs();
    for _ in 0..20 {
        let call = home.tables.upsert(&table, &rows);
        let _given_up = tokio::time::timeout(Duration::ZERO, call).await;
    }
    home.tables.upsert(&table, &[row("z", None)]).await.unwrap();
    let count = home.sql("select count(*) from docs");
    assert!(count == "2" || count == "502", "{count}");
}

#[actix_rt::test]
async fn what_was_begun_anew_is_another_database() {
    let home = Home::new();
    let first = home.tables.identity().await.unwrap();
    home.tables
        .upsert(&docs(), &[row("a", None)])
        .await
        .unwrap();
    let again = SqliteTables::new(home.dir.path(), Arc::new(RealClock));
    assert_eq!(again.identity().await, Ok(first.clone()));
    for suffix in ["", "-wal", "-shm"] {
        let _there = fs::remove_file(home.dir.path().join(format!("tables.db{suffix}")));
    }
    assert_ne!(home.tables.identity().await, Ok(first));
}

#[actix_rt::test]
async fn a_look_makes_no_table_and_adds_no_column() {
    let home = Home::new();
    home.execute(
        "create table docs (file_path text, note text); insert into docs values ('a', 'n')",
    );
    let page = home.tables.keys(&docs(), None, 10).await.unwrap();
    assert_eq!((keys(&page), page[0].hash), (vec!["a"], None));
    let other = Table::new("other", "file_path", docs().columns().to_vec()).unwrap();
    assert_eq!(home.tables.keys(&other, None, 10).await, Ok(Vec::new()));
    assert_eq!(home.sql("select count(*) from sqlite_master"), "1");
    assert_eq!(
        home.sql("select count(*) from pragma_table_info('docs')"),
        "2"
    );
}
