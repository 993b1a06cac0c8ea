//! The repository's example of a sync: the same project into the embedded tables and into a
//! PostgREST, as its users begin.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::World;
use crate::common::mirror::fingerprint_of;
use crate::common::postgrest::{SERVICE_KEY, Stack};
use crate::common::wait::wait_until;

const DOCUMENTS: usize = 300;
const TABLES: [&str; 5] = [
    "capabilities",
    "case_studies",
    "protocols",
    "sessions",
    "workflows",
];

/// A world with the example and its project; `change` rewrites the configuration.
fn example(change: impl Fn(String) -> String) -> World {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let world = World::plan().prepare();
    let text = fs::read_to_string(root.join("athena.toml")).expect("the example");
    let address = format!("listen = \"127.0.0.1:{}\"", world.port());
    let text = text
        .replace("listen = \"127.0.0.1:5001\"", &address)
        .replace("\"../.supervisor-athena\"", "\"data\"")
        .replace("\"../athena", "\"athena");
    assert!(
        text.contains(&address) && text.contains("\"data\""),
        "{text}"
    );
    fs::write(world.config(), change(text)).expect("supervisor.toml");
    let made = Command::new("sh")
        .arg(root.join("athena.sh"))
        .arg(DOCUMENTS.to_string())
        .current_dir(world.dir())
        .status()
        .expect("sh");
    assert!(made.success());
    // One may be read that may not be written: nothing tries to.
    let lone = world.file("athena/.agent/workflows/workflow-2.md");
    fs::set_permissions(lone, fs::Permissions::from_mode(0o444)).expect("chmod");
    world
}

const FIRST: &str = "Scan complete. Synced: 300, Skipped (unchanged): 0, Errors: 0\n";
const SECOND: &str = "Scan complete. Synced: 0, Skipped (unchanged): 300, Errors: 0\n";

#[test]
fn the_example_is_mirrored_into_the_embedded_tables_and_an_edit_after_five_seconds() {
    let mut world = example(|text| text);
    let tree = world.file("athena");
    let before = fingerprint_of(&tree);
    for expected in [FIRST, SECOND] {
        let ran = world.cli(&["--once"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
    }
    assert_eq!(fingerprint_of(&tree), before);
    let database = world.data().join("tables.db");
    let query = |sql: &str| -> String {
        let tables = rusqlite::Connection::open(&database);
        let row = tables.and_then(|tables| tables.query_row(sql, [], |row| row.get(0)));
        row.expect(sql)
    };
    for table in TABLES {
        let rows = query(&format!("SELECT CAST(count(*) AS TEXT) FROM {table}"));
        assert_eq!(rows, "60", "{table}");
    }
    let one = "SELECT code || '|' || name || '|' || title || '|' || (metadata ->> '$.tags[1]')
         FROM protocols WHERE file_path = '.agent/skills/protocols/005-protocol-5.md'";
    assert_eq!(query(one), "005|005-protocol-5|Document 5|number 5");
    let skill = "SELECT name FROM capabilities WHERE file_path = '.agent/skills/skill-1/SKILL.md'";
    assert_eq!(query(skill), "skill-1");
    let session = "SELECT date || '|' || session_number FROM sessions ORDER BY session_number";
    assert_eq!(query(session), "2026-03-03|4");

    world.start();
    let said = |world: &World, line: &str| world.output().matches(line).count();
    wait_until("everything was looked at", || {
        (said(&world, "everything was looked at") > 0).then_some(())
    });
    for line in ["Watching 5 directories", "Debounce: 5s", "LIVE SYNC MODE"] {
        assert_eq!(said(&world, line), 1, "{line}:\n{}", world.output());
    }
    let edited = Instant::now();
    let path = tree.join(".context/sessions/2026-03-03-session-4.md");
    fs::write(path, "# Edited\n").expect("written");
    wait_until("it is synced", || {
        (said(&world, "Synced: 2026-03-03-session-4.md") > 0).then_some(())
    });
    let took = edited.elapsed();
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(20),
        "{took:?}"
    );
    let title = "SELECT title || '|' || content FROM sessions WHERE session_number = 4";
    assert_eq!(query(title), "2026-03-03-session-4|# Edited\n");
    assert!(world.terminate().success());
    // Files this young are looked at once more; the edited one may have been waiting for that.
    let totals = [299, 300].map(|skipped| format!("Synced: 1, Skipped: {skipped}, Errors: 0"));
    let said: usize = totals.iter().map(|line| said(&world, line)).sum();
    assert_eq!(said, 1, "{}", world.output());
}

#[test]
fn the_example_is_mirrored_into_a_supabase_project_and_nothing_is_written_to_the_files() {
    let stack = Stack::start();
    let url = stack.url();
    let mut world = example(|text| {
        text.replace(
            "# target = \"supabase\" ",
            "target = \"supabase\"\ndebounce = \"300ms\" ",
        )
    });
    let env = [
        ("SUPABASE_URL", url.as_str()),
        ("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY),
    ];
    stack.schema(&world.cli(&["sync", "schema"]).out);
    let tree = world.file("athena");
    let before = fingerprint_of(&tree);
    stack.gateway().take_seen();
    for expected in [FIRST, SECOND] {
        let ran = world.cli_with(&["--once"], &env);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
        assert!(!ran.err.contains(SERVICE_KEY), "the key is in the log");
    }
    assert_eq!(fingerprint_of(&tree), before);
    for table in TABLES {
        assert_eq!(stack.sql(&format!("select count(*) from {table}")), "60");
    }
    let upserts = stack.gateway().take_seen().into_iter();
    let upserts: Vec<_> = upserts.filter(|seen| seen.method == "POST").collect();
    assert_eq!(upserts.len(), 5, "one batch a table");
    let verified = world.cli_with(&["sync", "verify"], &env);
    assert_eq!(verified.code, Some(0), "{verified:?}");

    for (name, value) in env {
        world.set_env(name, value);
    }
    world.start();
    fs::write(
        tree.join(".agent/workflows/new.md"),
        "---\ntitle: New\n---\n",
    )
    .expect("written");
    wait_until("it is there", || {
        (stack.sql("select title from workflows where name = 'new'") == "New").then_some(())
    });
    assert!(world.terminate().success());
    assert!(
        !world.output().contains(SERVICE_KEY),
        "the key is in the log"
    );
}
