//! A world that mirrors a directory of files into the embedded tables.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::wait::wait_until;
use super::world::{Plan, World};

/// `tree/docs` goes into the table `docs`, `tree/notes` into `notes`; files rest 300 ms.
pub const SYNC: &str = r#"
[sync]
root = "tree"
debounce = "300ms"
exclude = ["drafts"]
[[sync.dirs]]
path = "tree/docs"
table = "docs"
[[sync.dirs]]
path = "tree/notes"
table = "notes"
"#;

/// A plan whose files lie in `tree`, with more keys of `[sync]`.
pub fn plan(keys: &str) -> Plan {
    let plan = World::plan();
    for directory in ["tree/docs", "tree/notes"] {
        fs::create_dir_all(plan.dir().join(directory)).expect("a directory");
    }
    let sync = SYNC.replacen("[sync]\n", &format!("[sync]\n{keys}\n"), 1);
    plan.config(&sync)
}

/// A file of the tree.
pub fn path(world: &World, name: &str) -> PathBuf {
    world.dir().join("tree").join(name)
}

/// Writes a file of the tree.
pub fn write(world: &World, name: &str, text: &str) {
    let path = path(world, name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(path, text).expect("written");
}

/// The rows of a table that are not marked as deleted, text by key; none while there is no
/// such table.
pub fn rows(world: &World, table: &str) -> BTreeMap<String, String> {
    read_rows(&world.data().join("tables.db"), table).unwrap_or_default()
}

fn read_rows(database: &Path, table: &str) -> rusqlite::Result<BTreeMap<String, String>> {
    let connection = rusqlite::Connection::open_with_flags(
        database,
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    let mut statement =
        connection.prepare(&format!("SELECT file_path, content FROM \"{table}\""))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// What stands below a directory of the tree, text by path, as far as it is to be mirrored.
pub fn files(world: &World, directory: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    collect(&path(world, directory), directory, &mut files);
    files
}

fn collect(at: &Path, shown: &str, files: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(at) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type().expect("a type");
        let shown = format!("{shown}/{name}");
        if name.starts_with(['.', '~']) || name == "drafts" {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &shown, files);
        } else if kind.is_file() && name.to_lowercase().ends_with(".md") {
            let bytes = fs::read(entry.path()).expect("a file");
            files.insert(shown, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

/// Waits until both tables are what the directories are.
#[track_caller]
pub fn wait_mirrored(world: &World) {
    let mut last = String::new();
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("the tables are what the directories are", || {
            for table in ["docs", "notes"] {
                let (files, rows) = (files(world, table), rows(world, table));
                if files != rows {
                    last = difference(&files, &rows);
                    return None;
                }
            }
            Some(())
        });
    }));
    assert!(waited.is_ok(), "{last}\n{}", world.output());
}

/// What one has and the other has not.
pub fn difference(files: &BTreeMap<String, String>, rows: &BTreeMap<String, String>) -> String {
    let missing = files
        .iter()
        .filter(|(path, text)| rows.get(*path) != Some(text));
    let extra = rows.keys().filter(|path| !files.contains_key(*path));
    let missing: Vec<_> = missing.take(10).collect();
    format!(
        "missing or different: {missing:?}; extra: {:?}",
        extra.take(10).collect::<Vec<_>>()
    )
}

/// The sync as the API shows it.
pub fn status(world: &World) -> Value {
    let reply = world.get("/api/sync");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Waits until the sync looks like that.
#[track_caller]
pub fn wait_status(world: &World, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, || {
        let status = status(world);
        wanted(&status).then_some(status)
    })
}

/// Waits until everything was looked at once and nothing is left to send.
pub fn wait_quiet(world: &World) -> Value {
    wait_status(world, "nothing is left to send", |status| {
        let queue = &status["queue"];
        status["scan"]["last"].is_string()
            && status["target"]["state"] == "open"
            && queue["due"] == 0
            && queue["debouncing"] == 0
    })
}

/// Bytes, times and inodes of everything below a directory.
pub type Fingerprint = BTreeMap<PathBuf, (u64, i64, i64, Vec<u8>)>;

/// That of the tree.
pub fn fingerprint(world: &World) -> Fingerprint {
    fingerprint_of(&world.dir().join("tree"))
}

/// That of a directory.
pub fn fingerprint_of(directory: &Path) -> Fingerprint {
    fn walk(at: &Path, all: &mut Fingerprint) {
        for entry in fs::read_dir(at).expect("a directory").flatten() {
            let meta = entry.metadata().expect("metadata");
            let bytes = if meta.is_file() {
                fs::read(entry.path()).expect("a file")
            } else {
                Vec::new()
            };
            let nanos = |seconds: i64, nanos: i64| seconds * 1_000_000_000 + nanos;
            let modified = nanos(meta.mtime(), meta.mtime_nsec());
            let changed = nanos(meta.ctime(), meta.ctime_nsec());
            all.insert(entry.path(), (meta.ino(), modified, changed, bytes));
            if meta.is_dir() {
                walk(&entry.path(), all);
            }
        }
    }
    let mut all = Fingerprint::new();
    walk(directory, &mut all);
    all
}
