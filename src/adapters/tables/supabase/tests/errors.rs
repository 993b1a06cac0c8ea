//! What PostgreSQL and PostgREST themselves refuse, really provoked.

use supervisor_core::sync::Alone;

use super::postgrest::{ANON_KEY, EXPIRED_KEY, FORGED_KEY, USER_KEY};
use super::*;

/// Everything that a row can fail at.
const STRICT: &str = "
    create table parents (id text primary key);
    create table strict (
        file_path text primary key,
        title text not null check (title <> 'forbidden'),
        content_hash varchar(64) unique,
        metadata jsonb,
        deleted_at timestamptz,
        parent text references parents
    )";

#[track_caller]
fn told(refused: Result<(), Refusal>, code: &str) -> Refusal {
    let refusal = refused.expect_err("a refusal");
    assert!(refusal.why().contains(code), "{code}: {refusal:?}");
    refusal
}

#[track_caller]
fn split(refused: Result<(), Refusal>, code: &str) -> String {
    match told(refused, code) {
        Refusal::Split { why } => why,
        other => panic!("{code}: {other:?}"),
    }
}

#[track_caller]
fn parked(refused: Result<(), Refusal>, expected: Scope, code: &str) -> String {
    match told(refused, code) {
        Refusal::Park { scope, why } if scope == expected => why,
        other => panic!("{code}: {other:?}"),
    }
}

#[track_caller]
fn retried(refused: Result<(), Refusal>, code: &str) -> String {
    match told(refused, code) {
        Refusal::Retry { why, .. } => why,
        other => panic!("{code}: {other:?}"),
    }
}

#[actix_rt::test]
async fn a_bad_row_takes_its_batch_back_and_is_split_off() {
    let stack = Stack::start();
    stack.schema(STRICT);
    let strict = table("strict");
    let target = service(&stack);
    let try_with = async |change: &dyn Fn(&mut Row)| {
        let mut bad = row("hidden-path", "hidden-title");
        change(&mut bad);
        target.upsert(&strict, &[row("good", "t"), bad]).await
    };
    let set = |at: usize, value: Value| move |row: &mut Row| row.values[at] = value.clone();
    for (code, change) in [
        (
            "23502",
            Box::new(set(1, Value::Null)) as Box<dyn Fn(&mut Row)>,
        ),
        ("23514", Box::new(set(1, json!("forbidden")))),
        ("22001", Box::new(set(2, json!("hidden ".repeat(10))))),
        ("22007", Box::new(set(4, json!("hidden")))),
        ("22P05", Box::new(set(1, json!("hidden\u{0}")))),
        ("22P05", Box::new(set(3, json!({"hidden": "\u{0}"})))),
        ("23505", Box::new(|_: &mut Row| {})),
    ] {
        let why = split(try_with(&*change).await, code);
        assert!(!why.contains("hidden"), "{why}");
        assert_eq!(stack.sql("select count(*) from strict"), "0", "{code}");
    }
    // The same key twice, which the caller sees to; 23505 above was the hash.
    split(target.upsert(&strict, &rows(&["a", "a"])).await, "21000");
    // A key longer than an index takes; it must not be compressible.
    let mut state = 1_u32;
    let noise: String = (0..6_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + u8::try_from(state >> 24).unwrap_or(0) % 90)
        })
        .collect();
    split(target.upsert(&strict, &rows(&[&noise])).await, "54000");
}

#[actix_rt::test]
async fn f48_a_conflict_is_a_rows_own_and_sending_twice_is_none() {
    let stack = Stack::start();
    stack.schema(&format!(
        "{STRICT}; alter table strict alter parent set default 'nobody'"
    ));
    let target = service(&stack);
    split(
        target.upsert(&table("strict"), &rows(&["a"])).await,
        "409 23503",
    );
    stack.sql("insert into parents values ('nobody')");
    for _ in 0..3 {
        assert_eq!(target.upsert(&table("strict"), &rows(&["a"])).await, Ok(()));
    }
    split(
        target.upsert(&table("strict"), &rows(&["b"])).await,
        "409 23505",
    );
    assert_eq!(stack.sql("select count(*) from strict"), "1");
}

#[actix_rt::test]
async fn f47_a_table_that_does_not_fit_is_parked_and_the_reason_says_what_helps() {
    let stack = stack();
    stack.schema(
        "create table narrow (file_path text primary key, title text);
         create table keyless (file_path text, title text, content_hash text, metadata jsonb, deleted_at timestamptz);
         create table needy (file_path text primary key, title text, content_hash text, metadata jsonb, deleted_at timestamptz, owner text not null);
         create view seen as select distinct * from docs",
    );
    let target = service(&stack);
    let upsert = async |name| target.upsert(&table(name), &rows(&["a"])).await;
    for (name, code, words) in [
        ("absent", "404", "there is no table absent"),
        ("narrow", "PGRST204", "narrow lacks a column"),
        ("keyless", "42P10", "keyless has no unique key on file_path"),
    ] {
        let why = parked(upsert(name).await, Scope::Table, code);
        assert!(why.starts_with(words), "{why}");
        assert!(why.contains("`supervisor sync schema`"), "{why}");
    }
    let why = parked(upsert("needy").await, Scope::Table, "23502");
    assert!(why.starts_with("needy needs a value in owner"), "{why}");
    parked(upsert("seen").await, Scope::Table, "55000");
    // A table that was there a moment ago, in the schema that the server remembers.
    stack.sql("drop table needy");
    let why = parked(upsert("needy").await, Scope::Table, "42P01");
    assert!(why.starts_with("there is no table needy"), "{why}");
    assert_eq!(upsert("docs").await, Ok(()), "others go on");
}

#[actix_rt::test]
async fn f46_a_key_that_may_not_is_parked() {
    let stack = stack();
    stack.schema(
        "alter table docs enable row level security;
         create table closed (like docs including all);
         revoke all on closed from service_role",
    );
    for (key, status) in [(ANON_KEY, "401 42501"), (USER_KEY, "403 42501")] {
        let refused = target(&stack.url(), key)
            .upsert(&docs(), &rows(&["a"]))
            .await;
        let why = parked(refused, Scope::Table, status);
        assert!(
            why.contains("use the service role's, or add a policy"),
            "{why}"
        );
    }
    let closed = service(&stack)
        .upsert(&table("closed"), &rows(&["a"]))
        .await;
    parked(closed, Scope::Table, "403 42501: permission denied");
    for (key, code) in [
        (EXPIRED_KEY, "401 PGRST301: JWT expired"),
        (FORGED_KEY, "401 PGRST301"),
        ("sb_secret_of_another_project", "401: Invalid API key"),
    ] {
        let target = target(&stack.url(), key);
        for refused in [
            target.upsert(&docs(), &rows(&["a"])).await,
            target.delete(&docs(), &keys(&["a"])).await.map(drop),
            target.keys(&docs(), None, 5).await.map(drop),
        ] {
            let why = parked(refused, Scope::Target, code);
            assert!(!why.contains(key), "{why}");
        }
    }
    assert_eq!(stack.sql("select count(*) from docs"), "0");
}

#[actix_rt::test]
async fn a_statement_that_took_too_long_is_sent_in_smaller_pieces() {
    let stack = stack();
    stack.schema(
        "create function slow() returns trigger language plpgsql as
           $$ begin perform pg_sleep(0.2); return new; end $$;
         create trigger slow before insert on docs for each row execute function slow();
         alter role service_role set statement_timeout = '1s';
         notify pgrst, 'reload config'",
    );
    let target = service(&stack);
    let many: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    let many: Vec<Row> = many.iter().map(|path| row(path, "t")).collect();
    let refused = target.upsert(&docs(), &many).await;
    let Refusal::Smaller { alone, .. } = told(refused, "500 57014") else {
        panic!("not smaller");
    };
    assert_eq!(alone, Alone::Retry);
    assert_eq!(target.upsert(&docs(), &many[..1]).await, Ok(()));
}

#[actix_rt::test]
async fn one_of_two_that_deadlock_is_told_to_try_again() {
    let stack = stack();
    let target = service(&stack);
    let (forth, mut back) = (rows(&["a", "b"]), rows(&["a", "b"]));
    back.reverse();
    target.upsert(&docs(), &forth).await.expect("taken");
    stack.schema(
        "create function slow() returns trigger language plpgsql as
           $$ begin perform pg_sleep(0.3); return new; end $$;
         create trigger slow before insert on docs for each row execute function slow()",
    );
    let table = docs();
    let both =
        futures_util::future::join(target.upsert(&table, &forth), target.upsert(&table, &back));
    let refused = match both.await {
        (Ok(()), refused @ Err(_)) | (refused @ Err(_), Ok(())) => refused,
        other => panic!("{other:?}"),
    };
    retried(refused, "500 40P01");
}

#[actix_rt::test]
async fn a_database_that_is_down_is_waited_for() {
    let mut stack = stack();
    let target = service(&stack);
    assert_eq!(target.upsert(&docs(), &rows(&["a"])).await, Ok(()));
    stack.stop_database();
    // PostgREST may hold connections of which nobody has told it that they are broken: what it
    // says of one is no verdict on the rows.
    let mut why = String::new();
    for _ in 0..20 {
        why = retried(target.upsert(&docs(), &rows(&["b"])).await, "");
        if why.contains("503 PGRST00") {
            break;
        }
        let broken = why.starts_with("the database went away (400");
        assert!(broken || why.contains("(503"), "{why}");
    }
    assert!(why.contains("503 PGRST00"), "{why}");
    retried(target.upsert(&docs(), &rows(&["b"])).await, "503 PGRST00");
    stack.start_database();
    assert_eq!(target.upsert(&docs(), &rows(&["b"])).await, Ok(()));
    assert_eq!(paths(&stack), "a,b");
}

#[actix_rt::test]
async fn a_database_that_lacks_connections_is_waited_for() {
    let stack = Stack::start_with(&[
        ("PGRST_DB_POOL", "1"),
        ("PGRST_DB_POOL_ACQUISITION_TIMEOUT", "1"),
    ]);
    stack.schema(&format!(
        "{DOCS};
         create function slow() returns trigger language plpgsql as
           $$ begin perform pg_sleep(3); return new; end $$;
         create trigger slow before insert on docs for each row execute function slow()"
    ));
    let target = service(&stack);
    let (table, first, second) = (docs(), rows(&["a"]), rows(&["b"]));
    let (one, two) = futures_util::future::join(
        target.upsert(&table, &first),
        target.upsert(&table, &second),
    )
    .await;
    let refused = if one.is_ok() { two } else { one };
    retried(refused, "504 PGRST003");
}

#[actix_rt::test]
async fn a_read_only_database_is_parked() {
    let stack = Stack::start_with(&[("PGRST_DB_PRE_REQUEST", "lock_down")]);
    // PostgREST begins its transactions for writing: as on a standby, they are not.
    stack.sql(
        "create function lock_down() returns void language sql as
           $$ select set_config('transaction_read_only', 'on', true) $$",
    );
    stack.sql(&format!("{DOCS}; notify pgrst, 'reload schema'"));
    let target = service(&stack);
    let mut refused = target.upsert(&docs(), &rows(&["a"])).await;
    // Until it knows the new schema.
    while matches!(
        &refused,
        Err(Refusal::Park {
            scope: Scope::Table,
            ..
        })
    ) {
        refused = target.upsert(&docs(), &rows(&["a"])).await;
    }
    let why = parked(refused, Scope::Target, "405 25006");
    assert!(why.starts_with("the database is read-only"), "{why}");
}
