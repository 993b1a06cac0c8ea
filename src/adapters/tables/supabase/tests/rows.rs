//! Rows come, change, move and go.

use std::collections::BTreeSet;

use super::postgrest::{ANON_KEY, SECRET_KEY};
use super::*;

/// Paths that two layers of escapes must carry.
const HOSTILE: [&str; 12] = [
    "a b.md",
    "a\"b.md",
    "back\\slash.md",
    "brackets(1),2.md",
    "in.(x).md",
    "null",
    "percent%41+plus.md",
    "q?a=b&c=d#e.md",
    "quote'--.md",
    "tab\tnewline\n.md",
    "ünïcode/🙂.md",
    "{curly}*.md",
];

#[actix_rt::test]
async fn rows_are_inserted_and_all_their_columns_replaced() {
    let stack = stack();
    let target = service(&stack);
    assert_eq!(target.upsert(&docs(), &rows(&["a", "b"])).await, Ok(()));
    let mut changed = row("b", "changed");
    changed.values[3] = Value::Null;
    assert_eq!(
        target.upsert(&docs(), &[changed, row("c", "t")]).await,
        Ok(())
    );
    assert_eq!(
        stack.sql("select file_path, title, metadata from docs order by 1"),
        "a|t|{\"tags\": [\"a\", null]}\nb|changed|\nc|t|{\"tags\": [\"a\", null]}"
    );
    let statuses: Vec<_> = stack
        .gateway()
        .take_seen()
        .iter()
        .map(|seen| seen.status)
        .collect();
    assert_eq!(statuses, [Some(201), Some(201)]);
    assert_eq!(target.upsert(&docs(), &rows(&["a"])).await, Ok(()));
    assert_eq!(stack.gateway().take_seen()[0].status, Some(200));
}

#[actix_rt::test]
async fn a_key_goes_as_its_kind_demands() {
    let stack = stack();
    for (key, bearer) in [
        (SERVICE_KEY, Some(format!("Bearer {SERVICE_KEY}"))),
        (SECRET_KEY, None),
    ] {
        let target = target(&stack.url(), key);
        assert_eq!(target.upsert(&docs(), &rows(&["a"])).await, Ok(()));
        assert!(!target.describe().contains(key));
        let seen = stack.gateway().take_seen().remove(0);
        assert_eq!(seen.header("apikey"), Some(key));
        assert_eq!(seen.header("authorization"), bearer.as_deref());
        assert!(!seen.target.contains(key));
        assert_eq!(
            seen.target,
            "/rest/v1/docs?on_conflict=file_path&columns=file_path,title,content_hash,metadata,deleted_at"
        );
        assert_eq!(
            seen.header("prefer"),
            Some("resolution=merge-duplicates,return=minimal,count=exact")
        );
        assert_eq!(seen.header("content-encoding"), None);
    }
}

#[actix_rt::test]
async fn hostile_paths_are_found_again_by_every_request() {
    let stack = stack();
    let target = service(&stack);
    target
        .upsert(&docs(), &rows(&HOSTILE))
        .await
        .expect("taken");
    let everything = async || {
        let (mut found, mut after) = (BTreeSet::new(), None::<String>);
        loop {
            let page = target
                .keys(&docs(), after.as_deref(), 5)
                .await
                .expect("a page");
            let Some(last) = page.last() else {
                return found;
            };
            after = Some(last.key.clone());
            found.extend(page.into_iter().map(|held| held.key));
        }
    };
    assert_eq!(everything().await, HOSTILE.map(str::to_owned).into());
    for path in HOSTILE {
        let away = row("elsewhere", "moved");
        assert_eq!(
            target.rename(&docs(), path, &away).await,
            Ok(true),
            "{path}"
        );
        assert_eq!(
            target.rename(&docs(), "elsewhere", &row(path, "t")).await,
            Ok(true),
            "{path}"
        );
    }
    let marked = target
        .tombstone(&docs(), &keys(&HOSTILE[..6]), Timestamp(1))
        .await;
    assert_eq!(marked, Ok(6));
    assert_eq!(
        everything().await,
        HOSTILE[6..].iter().map(ToString::to_string).collect()
    );
    assert_eq!(target.delete(&docs(), &keys(&HOSTILE)).await, Ok(12));
    assert_eq!(stack.sql("select count(*) from docs"), "0");
}

#[actix_rt::test]
async fn a_row_is_moved_with_what_others_wrote_to_it() {
    let stack = stack();
    stack.schema("alter table docs add column note text");
    let target = service(&stack);
    target
        .upsert(&docs(), &rows(&["a", "b"]))
        .await
        .expect("taken");
    stack.sql("update docs set note = 'kept'");
    let rename = async |from: &'static str, to: &'static str| {
        target.rename(&docs(), from, &row(to, "moved")).await
    };
    assert_eq!(rename("a", "c").await, Ok(true));
    assert_eq!(rename("a", "d").await, Ok(false), "there is none");
    assert_eq!(rename("c", "b").await, Ok(false), "it is taken");
    assert_eq!(
        stack.sql("select file_path, title, note from docs order by 1"),
        "b|t|kept\nc|moved|kept"
    );
}

#[actix_rt::test]
async fn deletes_and_tombstones_count_what_was_there() {
    let stack = stack();
    let target = service(&stack);
    target
        .upsert(&docs(), &rows(&["a", "b", "c"]))
        .await
        .expect("taken");
    let mark =
        async |paths: &[&str], at| target.tombstone(&docs(), &keys(paths), Timestamp(at)).await;
    assert_eq!(mark(&["a", "x"], 1_000_000).await, Ok(1));
    assert_eq!(
        mark(&["a", "b"], 2_000_000).await,
        Ok(2),
        "marked before, it counts"
    );
    assert_eq!(
        stack.sql("select file_path, extract(epoch from deleted_at)::int from docs order by 1"),
        "a|1\nb|2\nc|"
    );
    assert_eq!(target.delete(&docs(), &keys(&["a", "c", "x"])).await, Ok(2));
    assert_eq!(target.delete(&docs(), &keys(&["a", "c", "x"])).await, Ok(0));
    // A row that comes back is whole again.
    target.upsert(&docs(), &rows(&["b"])).await.expect("taken");
    assert_eq!(stack.sql("select file_path, deleted_at from docs"), "b|");
}

#[actix_rt::test]
async fn a_long_list_of_keys_goes_in_short_addresses_that_all_have_a_filter() {
    let stack = stack();
    let target = service(&stack);
    let all: Vec<String> = (0..400)
        .map(|n| format!("protocols/ünïcode/{n:03} a long name.md"))
        .collect();
    let list: Vec<Row> = all.iter().map(|path| row(path, "t")).collect();
    target.upsert(&docs(), &list).await.expect("taken");
    target
        .upsert(&docs(), &rows(&["stays"]))
        .await
        .expect("taken");
    stack.gateway().take_seen();
    assert_eq!(target.tombstone(&docs(), &all, Timestamp(1)).await, Ok(400));
    assert_eq!(target.delete(&docs(), &all).await, Ok(400));
    assert_eq!(paths(&stack), "stays");
    let seen = stack.gateway().take_seen();
    assert!(seen.len() > 2);
    for request in seen {
        assert!(request.target.len() < 6_000, "{}", request.target.len());
        assert!(request.target.contains("?file_path=in.(%22"));
        assert_eq!(request.header("prefer"), Some("return=minimal,count=exact"));
    }
    // One that cannot be cut goes alone.
    let long = [format!("{}.md", "ü".repeat(1_000))];
    assert_eq!(target.delete(&docs(), &long).await, Ok(0));
}

#[actix_rt::test]
async fn keys_come_in_pages_no_larger_than_the_server_gives() {
    let stack = Stack::start_with(&[("PGRST_DB_MAX_ROWS", "7")]);
    // An order that is not that of bytes: the server alone knows it.
    stack.schema(
        "create table docs (file_path text collate \"und-x-icu\" unique, title text, content_hash text, metadata jsonb, deleted_at timestamptz);
         insert into docs values (null, 'of somebody else', 'x')",
    );
    let target = service(&stack);
    let names: BTreeSet<String> = (0..20)
        .flat_map(|n| [format!("a{n}"), format!("B{n}"), format!("ä{n}")])
        .collect();
    let list: Vec<Row> = names.iter().map(|name| row(name, "t")).collect();
    target.upsert(&docs(), &list).await.expect("taken");
    let (mut found, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = target
            .keys(&docs(), after.as_deref(), 50)
            .await
            .expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        pages += 1;
        after = Some(last.key.clone());
        found.extend(page);
    }
    assert_eq!((found.len(), pages), (60, 9));
    assert!(
        found
            .iter()
            .all(|held| held.hash == Some(ContentHash([7; 32])))
    );
    let found: BTreeSet<String> = found.into_iter().map(|held| held.key).collect();
    assert_eq!(found, names);
}

#[actix_rt::test]
async fn rows_that_a_policy_protects_are_not_taken_for_gone() {
    let stack = stack();
    service(&stack)
        .upsert(&docs(), &rows(&["a", "b"]))
        .await
        .expect("taken");
    stack.schema(
        "alter table docs enable row level security;
         create policy seen on docs for select using (true);
         create policy mine on docs for all using (file_path = 'a')",
    );
    let anon = target(&stack.url(), ANON_KEY);
    let both = keys(&["a", "b"]);
    for refused in [
        anon.tombstone(&docs(), &both, Timestamp(1)).await,
        anon.delete(&docs(), &both).await,
    ] {
        let Err(Refusal::Park { scope, why }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(scope, Scope::Rows);
        assert!(
            why.starts_with("1 of the rows can be seen and not be"),
            "{why}"
        );
    }
    assert_eq!(paths(&stack), "b");
}

#[actix_rt::test]
async fn rows_that_a_trigger_swallows_are_not_taken_for_taken() {
    let stack = stack();
    stack.schema(
        "create function swallow() returns trigger language plpgsql as
           $$ begin if new.file_path = 'b' then return null; end if; return new; end $$;
         create trigger swallow before insert on docs for each row execute function swallow()",
    );
    let refused = service(&stack).upsert(&docs(), &rows(&["a", "b"])).await;
    let Err(Refusal::Split { why }) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.starts_with("docs took 1 of 2 rows"), "{why}");
}

#[actix_rt::test]
async fn the_printed_schema_makes_what_is_synced_into() {
    let stack = Stack::start();
    let columns = vec![
        column("filename", Field::FileName),
        column("code", Field::Code),
        column("date", Field::Date),
        column("session_number", Field::SessionNumber),
        column("metadata", Field::Metadata),
        column("updated_at", Field::UpdatedAt),
    ];
    // Words of SQL, and capitals.
    let odd = Table::new("Order", "filename", columns).expect("a table");
    let sql = supervisor_core::sync::schema::postgres(&[docs(), odd.clone()]);
    stack.schema(&sql);
    stack.schema(&sql);
    let target = service(&stack);
    target.upsert(&docs(), &rows(&["a"])).await.expect("taken");
    let session = Row {
        key: "s.md".to_owned(),
        hash: ContentHash([0; 32]),
        values: vec![
            json!("s.md"),
            json!("049"),
            json!("2026-03-03"),
            json!(12),
            json!({}),
            json!("2026-03-03T14:25:42.123456Z"),
        ],
    };
    target
        .upsert(&odd, std::slice::from_ref(&session))
        .await
        .expect("taken");
    target.upsert(&odd, &[session]).await.expect("taken again");
    assert_eq!(
        stack.sql("select filename, code, date, session_number, updated_at at time zone 'utc' from \"Order\""),
        "s.md|049|2026-03-03|12|2026-03-03 14:25:42.123456"
    );
    // Nobody else may, or sees anything.
    let anon = super::target(&stack.url(), ANON_KEY);
    assert!(anon.upsert(&docs(), &rows(&["b"])).await.is_err());
    assert_eq!(anon.keys(&docs(), None, 10).await, Ok(Vec::new()));
}

#[actix_rt::test]
async fn the_printed_schema_repairs_an_older_table_and_locks_nobody_out() {
    let stack = Stack::start();
    stack.schema(
        "create table docs (id bigint generated always as identity primary key, file_path text, title text, note text);
         insert into docs (file_path, note) values ('old', 'kept')",
    );
    let target = service(&stack);
    let refused = target
        .upsert(&docs(), &rows(&["old"]))
        .await
        .expect_err("no such column");
    assert!(
        refused.why().contains("supervisor sync schema"),
        "{refused}"
    );
    stack.schema(&supervisor_core::sync::schema::postgres(&[docs()]));
    target
        .upsert(&docs(), &rows(&["new", "old"]))
        .await
        .expect("taken");
    assert_eq!(
        stack.sql("select file_path, title, note from docs order by 1"),
        "new|t|\nold|t|kept"
    );
    let anon = super::target(&stack.url(), ANON_KEY);
    let seen = anon.keys(&docs(), None, 10).await.expect("a page");
    assert_eq!(seen.len(), 2, "who could read it still can");
    assert_eq!(
        stack.sql("select count(*) from pg_index where indrelid = 'docs'::regclass"),
        "2",
        "one unique key, however often it is run"
    );
}
