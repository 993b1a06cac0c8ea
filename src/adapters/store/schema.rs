//! The tables, version by version. `user_version` says which version a database has.

use rusqlite::Connection;

/// Marks a database as ours (`svst` in ASCII).
pub(crate) const APPLICATION_ID: i32 = 0x7376_7374;

/// One step each, from version n to n + 1. Never change one that was released: add another.
pub(crate) const MIGRATIONS: &[&str] = &[
    // 1: `sum` finds garbled memories, which SQLite itself does not. No index on events: it
    // would cost many times what an insert does, and their ids already grow with time.
    "CREATE TABLE service (
        name   TEXT PRIMARY KEY NOT NULL,
        memory TEXT NOT NULL,
        sum    INTEGER NOT NULL
     ) WITHOUT ROWID;
     CREATE TABLE event (
        id      INTEGER PRIMARY KEY,
        time    INTEGER NOT NULL,
        service TEXT NOT NULL,
        kind    TEXT NOT NULL,
        from_   TEXT,
        to_     TEXT,
        reason  TEXT NOT NULL
     );",
    // 2: runs have a number of their own within each service, so that what is shown together
    // lies together. `output` comes last: a list of runs need not read what they printed.
    "CREATE TABLE run (
        service   TEXT NOT NULL,
        n         INTEGER NOT NULL,
        rid       TEXT,
        outcome   TEXT NOT NULL,
        exit_code INTEGER,
        began     INTEGER,
        ended     INTEGER NOT NULL,
        took      INTEGER,
        message   TEXT,
        output    TEXT,
        PRIMARY KEY (service, n)
     ) WITHOUT ROWID;",
];

pub(crate) const LOAD: &str = "SELECT name, memory, sum FROM service";
pub(crate) const REMEMBER: &str = "INSERT INTO service (name, memory, sum) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET memory = excluded.memory, sum = excluded.sum";
pub(crate) const UNREMEMBER: &str = "DELETE FROM service WHERE name = ?1";
pub(crate) const RECORD: &str = "INSERT INTO event (id, time, service, kind, from_, to_, reason)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(crate) const OLDEST_TO_NEWEST: &str =
    "SELECT id, time, service, kind, from_, to_, reason FROM event
     WHERE id > ?1 AND time >= ?2 AND (?3 IS NULL OR service = ?3) ORDER BY id LIMIT ?4";
pub(crate) const NEWEST_TO_OLDEST: &str =
    "SELECT id, time, service, kind, from_, to_, reason FROM event
     WHERE id > ?1 AND time >= ?2 AND (?3 IS NULL OR service = ?3) ORDER BY id DESC LIMIT ?4";
pub(crate) const ID_RANGE: &str = "SELECT (SELECT min(id) FROM event), (SELECT max(id) FROM event)";
/// The times of the newest events, as they were recorded, the newest first.
pub(crate) const NEWEST_TIMES: &str = "SELECT time FROM event ORDER BY id DESC LIMIT ?1";
/// The newest of the `?2` oldest events that is older than `?1`. What bears a date after `?3`,
/// the present one, keeps nobody from being found.
pub(crate) const LAST_TO_FORGET: &str = "SELECT max(id) FROM
    (SELECT id, time FROM event WHERE time <= ?3 ORDER BY id LIMIT ?2) WHERE time < ?1";
/// Up to that one what is old, and with it what bears a date after the present one (the clock
/// was wrong). What is young goes not, though an older date was recorded after it.
pub(crate) const FORGET_OLD: &str = "DELETE FROM event WHERE id IN
    (SELECT id FROM event WHERE id <= ?1 AND id < (SELECT max(id) FROM event)
       AND (time < ?2 OR time > ?3) ORDER BY id LIMIT ?4)";
pub(crate) const FORGET: &str =
    "DELETE FROM event WHERE id <= ?1 AND id < (SELECT max(id) FROM event)";

/// Of the events from `?1` to before `?2`, those of a service that are older than `?4`. The
/// newest of all stays, whatever it is: ids go on from it.
pub(crate) const DELETE: &str = "DELETE FROM event
    WHERE id >= ?1 AND id < ?2 AND service = ?3 AND time < ?4
      AND id < (SELECT max(id) FROM event)";

pub(crate) const LAST_RUN: &str = "SELECT max(n) FROM run WHERE service = ?1";
pub(crate) const RECORD_RUN: &str =
    "INSERT INTO run (service, n, rid, outcome, exit_code, began, ended, took, message, output)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
pub(crate) const RUNS: &str =
    "SELECT n, rid, outcome, exit_code, began, ended, took, message FROM run
     WHERE service = ?1 AND n < ?2 AND (?3 IS NULL OR n = ?3) ORDER BY n DESC LIMIT ?4";
pub(crate) const RUNS_WITH_OUTPUT: &str =
    "SELECT n, rid, outcome, exit_code, began, ended, took, message, output FROM run
     WHERE service = ?1 AND n < ?2 AND (?3 IS NULL OR n = ?3) ORDER BY n DESC LIMIT ?4";
pub(crate) const FORGET_OUTPUT: &str =
    "UPDATE run SET output = NULL WHERE service = ?1 AND n > ?2 AND n <= ?3";
pub(crate) const FORGET_RUNS: &str = "DELETE FROM run WHERE service = ?1 AND n <= ?2";
pub(crate) const FORGET_RUNS_ENDED: &str = "DELETE FROM run WHERE ended < ?1";

pub(crate) const DELETE_RUNS: &str = "DELETE FROM run WHERE service = ?1 AND ended < ?2";

/// Every statement that we run: a database in which one of them cannot be prepared is not ours.
const STATEMENTS: &[&str] = &[
    LOAD,
    REMEMBER,
    UNREMEMBER,
    RECORD,
    OLDEST_TO_NEWEST,
    NEWEST_TO_OLDEST,
    ID_RANGE,
    NEWEST_TIMES,
    LAST_TO_FORGET,
    FORGET_OLD,
    FORGET,
    DELETE,
    LAST_RUN,
    RECORD_RUN,
    RUNS,
    RUNS_WITH_OUTPUT,
    FORGET_OUTPUT,
    FORGET_RUNS,
    FORGET_RUNS_ENDED,
    DELETE_RUNS,
];

/// What a database of ours is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    /// Marks it.
    pub(crate) application_id: i32,
    /// Its versions, step by step.
    pub(crate) migrations: &'a [&'a str],
    /// Every statement that is run in it.
    pub(crate) statements: &'a [&'a str],
}

/// This database's.
pub(crate) const LAYOUT: Layout<'static> = Layout {
    application_id: APPLICATION_ID,
    migrations: MIGRATIONS,
    statements: STATEMENTS,
};

/// How a database's version stands to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It has our version, or was brought up to it.
    Ours,
    /// A newer program wrote it, but it has all that we use: it is used as it is.
    Newer(i32),
}

/// Why a database that SQLite can read is of no use.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// It is damaged, or not ours.
    Foreign(String),
    /// A newer program wrote it, and what we use is no longer there.
    TooNew(i32),
    /// SQLite's own word.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Misfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Brings a database up to the newest of these versions, each step in a transaction of its own.
pub(crate) fn migrate(connection: &mut Connection, layout: &Layout<'_>) -> Result<Fit, Misfit> {
    let ours = i32::try_from(layout.migrations.len()).unwrap_or(i32::MAX);
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let empty: bool = connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)",
        [],
        |row| row.get(0),
    )?;
    if !empty && id != layout.application_id {
        return Err(Misfit::Foreign(format!(
            "its application id is {id}, not ours"
        )));
    }
    if version < 0 || (version == 0 && !empty) || (version > 0 && empty) {
        return Err(Misfit::Foreign(format!(
            "its version {version} does not fit its tables"
        )));
    }
    if version > ours {
        return match prepare_all(connection, layout.statements) {
            Ok(()) => Ok(Fit::Newer(version)),
            Err(error) if is_about_schema(&error) => Err(Misfit::TooNew(version)),
            Err(error) => Err(error.into()),
        };
    }
    for (step, sql) in (1..)
        .zip(layout.migrations)
        .skip(usize::try_from(version).unwrap_or(0))
    {
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction
            .execute_batch(sql)
            .and_then(|()| transaction.pragma_update(None, "application_id", layout.application_id))
            .and_then(|()| transaction.pragma_update(None, "user_version", step))
            .map_err(foreign_if_about_schema)?;
        transaction.commit()?;
    }
    prepare_all(connection, layout.statements).map_err(foreign_if_about_schema)?;
    Ok(Fit::Ours)
}

fn prepare_all(connection: &Connection, statements: &[&str]) -> Result<(), rusqlite::Error> {
    statements
        .iter()
        .try_for_each(|sql| connection.prepare_cached(sql).map(drop))
}

/// SQLITE_ERROR: `no such table`, `already exists` and the like.
fn is_about_schema(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => failure.code == rusqlite::ErrorCode::Unknown,
        rusqlite::Error::SqlInputError { error, .. } => error.code == rusqlite::ErrorCode::Unknown,
        _ => false,
    }
}

fn foreign_if_about_schema(error: rusqlite::Error) -> Misfit {
    if is_about_schema(&error) {
        Misfit::Foreign(error.to_string())
    } else {
        Misfit::Sqlite(error)
    }
}
