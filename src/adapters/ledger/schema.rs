//! The tables of the sync's record, version by version.

use crate::adapters::store::schema::Layout;

/// Marks the database as ours (`svsy` in ASCII).
const APPLICATION_ID: i32 = 0x7376_7379;

/// One step each, from version n to n + 1. Never change one that was released: add another.
const MIGRATIONS: &[&str] = &[
    // 1: `sum` finds garbled rows, which SQLite itself does not. Rows of `taken` lie in the
    // order of their keys, which are mostly paths: a directory's are neighbours.
    "CREATE TABLE taken (
        tbl     TEXT NOT NULL,
        key     TEXT NOT NULL,
        path    TEXT NOT NULL,
        hash    BLOB NOT NULL,
        size    INTEGER NOT NULL,
        mtime   INTEGER NOT NULL,
        ctime   INTEGER NOT NULL,
        inode   INTEGER NOT NULL,
        settled INTEGER NOT NULL,
        mapping INTEGER NOT NULL,
        sum     INTEGER NOT NULL,
        PRIMARY KEY (tbl, key)
     ) WITHOUT ROWID;
     CREATE INDEX taken_path ON taken (path);
     CREATE TABLE task (
        seq      INTEGER PRIMARY KEY,
        tbl      TEXT NOT NULL,
        key      TEXT NOT NULL,
        path     TEXT NOT NULL,
        kind     TEXT NOT NULL,
        hash     BLOB,
        size     INTEGER,
        mtime    INTEGER,
        ctime    INTEGER,
        inode    INTEGER,
        settled  INTEGER,
        mapping  INTEGER,
        from_key TEXT,
        state    TEXT NOT NULL,
        scope    TEXT,
        reason   TEXT,
        since    INTEGER NOT NULL
     );
     CREATE UNIQUE INDEX task_row ON task (tbl, key);
     CREATE INDEX task_from ON task (tbl, from_key) WHERE from_key IS NOT NULL;
     CREATE TABLE note (
        name TEXT PRIMARY KEY NOT NULL,
        text TEXT NOT NULL
     ) WITHOUT ROWID;",
];

/// Runs before there are any tables.
pub(super) const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)";

macro_rules! taken {
    ($rest:literal) => {
        concat!(
            "SELECT tbl, key, path, hash, size, mtime, ctime, inode, settled, mapping, sum FROM taken ",
            $rest
        )
    };
}

/// As much as tells whether a file has changed.
macro_rules! known {
    ($rest:literal) => {
        concat!(
            "SELECT path, size, mtime, ctime, inode, settled, mapping FROM taken ",
            $rest
        )
    };
}

macro_rules! task {
    ($rest:literal) => {
        concat!(
            "SELECT seq, tbl, key, path, kind, hash, size, mtime, ctime, inode, settled, mapping, from_key, state, scope, reason, since FROM task ",
            $rest
        )
    };
}

pub(super) const EVERY_KNOWN: &str = known!("");
pub(super) const KNOWN_BELOW: &str = known!("WHERE path >= ?1 AND path < ?2");
pub(super) const EVERY_TAKEN: &str = taken!("");
/// `?1` with a `/` behind it, `?2` with the character after that.
pub(super) const TAKEN_BELOW: &str = taken!("WHERE path >= ?1 AND path < ?2");
pub(super) const TAKEN: &str = taken!("WHERE tbl = ?1 AND key = ?2");
pub(super) const TAKEN_OF: &str = taken!("WHERE path = ?1");
pub(super) const TAKE: &str =
    "INSERT INTO taken (tbl, key, path, hash, size, mtime, ctime, inode, settled, mapping, sum)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
     ON CONFLICT (tbl, key) DO UPDATE SET path = excluded.path, hash = excluded.hash,
        size = excluded.size, mtime = excluded.mtime, ctime = excluded.ctime,
        inode = excluded.inode, settled = excluded.settled, mapping = excluded.mapping,
        sum = excluded.sum";
pub(super) const FORGET: &str = "DELETE FROM taken WHERE tbl = ?1 AND key = ?2";
pub(super) const FORGET_ALL: &str = "DELETE FROM taken";

pub(super) const TASK: &str = task!("WHERE tbl = ?1 AND key = ?2");
pub(super) const TASKS: &str =
    task!("WHERE seq > ?1 AND state IN (?2, ?3, ?4, ?5) ORDER BY seq LIMIT ?6");
pub(super) const TASKS_BELOW: &str = task!("WHERE path >= ?1 AND path < ?2 ORDER BY seq");
pub(super) const CLAIM: &str = "SELECT key FROM task WHERE tbl = ?1 AND from_key = ?2 LIMIT 1";
pub(super) const UNQUEUE: &str = "DELETE FROM task WHERE tbl = ?1 AND key = ?2";
/// In place of the row's present one.
pub(super) const QUEUE: &str =
    "INSERT OR REPLACE INTO task (seq, tbl, key, path, kind, hash, size, mtime, ctime, inode, settled,
        mapping, from_key, state, scope, reason, since)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
pub(super) const UNCLAIM: &str =
    "UPDATE task SET seq = ?3, from_key = NULL WHERE tbl = ?1 AND key = ?2";
pub(super) const FINISH: &str = "DELETE FROM task WHERE seq = ?1";
pub(super) const SET_STATE: &str =
    "UPDATE task SET state = ?2, scope = ?3, reason = ?4 WHERE seq = ?1";
/// `?4` the state that is left, `?5` the table or null for all, `?6` a kind or null for all,
/// `?7` whether files that cannot be read stay as they are, `?8` whether single rows do.
pub(super) const SET_STATES: &str = "UPDATE task SET state = ?1, scope = ?2, reason = ?3
     WHERE (state = ?4 OR (?4 = 'due' AND ?6 IS NULL AND state = 'confirmed')) AND (?5 IS NULL OR tbl = ?5) AND (?6 IS NULL OR kind = ?6)
        AND NOT (?7 AND kind = 'unreadable')
        AND NOT (?8 AND (scope IS NULL OR scope = 'rows' OR (scope = 'table' AND tbl <> ?9)))";
pub(super) const LAST_SEQ: &str = "SELECT max(seq) FROM task";

pub(super) const EMPTY: &str =
    "SELECT NOT EXISTS (SELECT 1 FROM taken), NOT EXISTS (SELECT 1 FROM task)";
pub(super) const COUNT_ROWS: &str = "SELECT tbl, count(*) FROM taken GROUP BY tbl";
pub(super) const COUNT_TASKS: &str =
    "SELECT tbl, state, kind, count(*) FROM task GROUP BY tbl, state, kind";

pub(super) const NOTE: &str = "SELECT text FROM note WHERE name = ?1";
pub(super) const SET_NOTE: &str = "INSERT INTO note (name, text) VALUES (?1, ?2)
     ON CONFLICT (name) DO UPDATE SET text = excluded.text";

pub(super) const LAYOUT: Layout<'static> = Layout {
    application_id: APPLICATION_ID,
    migrations: MIGRATIONS,
    statements: &[
        EVERY_KNOWN,
        KNOWN_BELOW,
        EVERY_TAKEN,
        TAKEN_BELOW,
        TAKEN,
        TAKEN_OF,
        TAKE,
        FORGET,
        FORGET_ALL,
        TASK,
        TASKS,
        TASKS_BELOW,
        CLAIM,
        UNQUEUE,
        QUEUE,
        UNCLAIM,
        FINISH,
        SET_STATE,
        SET_STATES,
        LAST_SEQ,
        EMPTY,
        COUNT_ROWS,
        COUNT_TASKS,
        NOTE,
        SET_NOTE,
    ],
};
