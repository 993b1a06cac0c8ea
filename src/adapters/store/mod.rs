//! `data_dir/state.db`: what services remember, and what happened.
//!
//! One connection, opened on first use and again after an I/O error: the program starts and
//! goes on without a disk. A commit is one write to the write-ahead log, which survives our
//! SIGKILL; the disk is waited for at checkpoints only.
//!
//! ```text
//! closed ──use──▶ open ──I/O error──▶ closed
//!                  └──damaged──▶ set aside, memories saved, a new one begun ──▶ open
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use supervisor_actors::ports::{
    Batch, Bygone, Clock, Deleted, EventQuery, EventRow, RunQuery, RunRow, Store, StoreError,
};
use supervisor_core::time::Mono;
use supervisor_core::{ServiceName, Timestamp};

use crate::adapters::background::stand_back;
use crate::adapters::checksum::checksum;

mod alerts;
pub(super) mod fault;
#[cfg(test)]
mod older;
pub(super) mod open;
pub(super) mod prune;
mod runs;
pub(super) mod schema;
#[cfg(test)]
mod tests;

pub(crate) use alerts::AlertsDatabase;
use fault::Fault;

/// How long we wait for somebody else's lock.
const BUSY: Duration = Duration::from_secs(2);
/// How many events are kept at most, however young: a flood of reported errors must not fill
/// the disk (about 60 MB).
const MOST_EVENTS: i64 = 500_000;
/// How many damaged databases are kept: a bad disk must not fill up with them.
const MOST_SET_ASIDE: usize = 3;

/// The database.
pub(crate) struct SqliteStore {
    path: PathBuf,
    keep: Duration,
    clock: Arc<dyn Clock>,
    open: Option<Open>,
    /// Memories of a damaged database that are not yet in the new one.
    saved: Vec<(String, String)>,
    /// Where event ids go on after a damaged database.
    first_id: i64,
    notices: Vec<String>,
    said_newer: bool,
}

/// An open database.
struct Open {
    connection: Connection,
    /// The id of the next event. Given by us: they grow even if all older ones are gone.
    next_id: i64,
    /// Which file it is, as device and inode: somebody may delete or replace it.
    file: (u64, u64),
    pruning: prune::Pruning,
}

impl SqliteStore {
    /// The database of this data directory. Events are kept for so long. Nothing is touched
    /// before its first use.
    pub(crate) fn new(data_dir: &Path, keep: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: data_dir.join("state.db"),
            keep,
            clock,
            open: None,
            saved: Vec::new(),
            first_id: 1,
            notices: Vec::new(),
            said_newer: false,
        }
    }

    /// Has something to say from the beginning.
    pub(crate) fn noticing(mut self, notices: Vec<String>) -> Self {
        self.notices.extend(notices);
        self
    }

    /// Runs `work` on the open database. A damaged one is set aside, and the work done on the
    /// new one: `work` must be whole or nothing.
    fn with<T>(
        &mut self,
        mut work: impl FnMut(&mut Open) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        let mut again = true;
        loop {
            let done = match self.opened() {
                Ok(open) => work(open).map_err(Fault::from),
                Err(fault) => Err(fault),
            };
            match done {
                Ok(value) => return Ok(value),
                Err(Fault::Damaged(why)) if again => {
                    again = false;
                    self.set_aside(&why)?;
                }
                Err(fault) => {
                    if fault.wants_reopening() {
                        self.open = None;
                    }
                    return Err(fault.told(&self.path));
                }
            }
        }
    }

    /// Moves a damaged database out of the way, saving what it still gives.
    fn set_aside(&mut self, why: &str) -> Result<(), StoreError> {
        self.save_memories();
        self.first_id = match self.open.take() {
            Some(open) => {
                open.keep_log_on_close();
                open.next_id
            }
            // Unknown, but never so many events as seconds.
            None => self.clock.wall().0 / 1_000_000,
        };
        let aside =
            open::move_aside(&self.path, self.clock.wall(), MOST_SET_ASIDE).map_err(|error| {
                StoreError::Unavailable(format!(
                    "{} is damaged ({why}) and cannot be set aside: {error}",
                    self.path.display()
                ))
            })?;
        self.notices.push(format!(
            "the database {} was damaged ({why}): set aside as {aside} and begun anew; saved what {} services remember, the history of events starts again",
            self.path.display(),
            self.saved.len()
        ));
        Ok(())
    }

    /// Takes what can still be read of the services' memories into `saved`.
    fn save_memories(&mut self) {
        let opened;
        let connection = match &self.open {
            Some(open) => &open.connection,
            None => match open::raw(&self.path) {
                Ok(connection) => {
                    opened = connection;
                    &opened
                }
                Err(_) => return,
            },
        };
        let mut saved = Vec::new();
        // Whatever comes before the damage is taken.
        let _ended_at = read_memories(connection, &mut saved, &mut Vec::new());
        if self.open.is_none() {
            open::keep_log_on_close(connection);
        }
        for (name, memory) in saved {
            self.saved.retain(|(other, _)| *other != name);
            self.saved.push((name, memory));
        }
    }

    /// Notices a database that somebody deleted or replaced under us: what we wrote since would
    /// be lost with our death.
    fn notice_replacement(&mut self) {
        let Some(open) = &self.open else { return };
        let present = fs::metadata(&self.path).map(|meta| (meta.dev(), meta.ino()));
        if present.is_ok_and(|file| file == open.file) {
            return;
        }
        let next_id = open.next_id;
        self.save_memories();
        self.open = None;
        self.first_id = next_id;
        self.notices.push(format!(
            "the database {} was deleted or replaced while in use: going on with what services remember",
            self.path.display()
        ));
    }

    /// Once in a while, and never at the expense of a commit: what must be done besides.
    fn tidy(&mut self) {
        let Some(open) = &mut self.open else { return };
        if !open.pruning.is_due(self.clock.mono(), open.next_id) {
            return;
        }
        match prune::prune(open, &*self.clock, self.keep, MOST_EVENTS).map_err(Fault::from) {
            // A full or busy disk is tried again in a minute, and the next commit tells of it.
            Ok(()) | Err(Fault::Busy | Fault::Full | Fault::Unusable(_) | Fault::TooNew(_)) => {}
            Err(Fault::Damaged(why)) => {
                if let Err(error) = self.set_aside(&why) {
                    self.notices.push(error.to_string());
                }
            }
        }
        self.notice_replacement();
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let (rows, garbled) = self.with(|open| {
            let (mut rows, mut garbled) = (Vec::new(), Vec::new());
            read_memories(&open.connection, &mut rows, &mut garbled)?;
            Ok((rows, garbled))
        })?;
        for name in garbled {
            self.notices.push(format!(
                "what the service {name} remembered is garbled in the database: it starts afresh"
            ));
        }
        Ok(rows)
    }

    fn commit(&mut self, batch: &Batch) -> Result<i64, StoreError> {
        let nothing = batch.events.is_empty()
            && batch.runs.is_empty()
            && batch.forget.is_empty()
            && batch.memories.is_empty();
        if nothing {
            return Ok(self.first_id);
        }
        stand_back();
        let first_id = self.with(|open| {
            let first_id = open.next_id;
            let transaction = open
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let next_id = write_events(&transaction, batch, first_id)?;
            unremember(&transaction, &batch.forget)?;
            runs::write(&transaction, &batch.runs)?;
            let memories = batch.memories.iter();
            write_memories(
                &transaction,
                memories.map(|(name, memory)| (name.as_str(), memory.as_str())),
            )?;
            transaction.commit()?;
            open.next_id = next_id;
            Ok(first_id)
        })?;
        self.tidy();
        Ok(first_id)
    }

    fn events(&mut self, query: &EventQuery) -> Result<Vec<EventRow>, StoreError> {
        self.with(|open| read_events(&open.connection, query))
    }

    fn delete(&mut self, bygone: &Bygone) -> Result<Deleted, StoreError> {
        self.with(|open| prune::delete(&open.connection, bygone))
    }

    fn runs(&mut self, query: &RunQuery) -> Result<Vec<RunRow>, StoreError> {
        self.with(|open| runs::read(&open.connection, query))
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }
}

fn sum_of(name: &str, memory: &str) -> i64 {
    checksum(&[name.as_bytes(), memory.as_bytes()]).cast_signed()
}

/// Reads memories until the end or the first damage; the names of garbled ones go to `garbled`.
fn read_memories(
    connection: &Connection,
    rows: &mut Vec<(String, String)>,
    garbled: &mut Vec<String>,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare_cached(schema::LOAD)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let (name, memory) = (text(row, 0)?, text(row, 1)?);
        let sum = row.get_ref(2)?.as_i64();
        if sum == Ok(sum_of(&name, &memory)) {
            rows.push((name, memory));
        } else {
            garbled.push(name);
        }
    }
    Ok(())
}

fn write_memories<'a>(
    transaction: &Transaction<'_>,
    memories: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), rusqlite::Error> {
    let mut statement = transaction.prepare_cached(schema::REMEMBER)?;
    for (name, memory) in memories {
        statement.execute(params![name, memory, sum_of(name, memory)])?;
    }
    Ok(())
}

fn unremember(transaction: &Transaction<'_>, names: &[ServiceName]) -> Result<(), rusqlite::Error> {
    let mut statement = transaction.prepare_cached(schema::UNREMEMBER)?;
    for name in names {
        statement.execute(params![name.as_str()])?;
    }
    Ok(())
}

/// Writes the events and says which id comes next.
fn write_events(
    transaction: &Transaction<'_>,
    batch: &Batch,
    first_id: i64,
) -> Result<i64, rusqlite::Error> {
    let mut statement = transaction.prepare_cached(schema::RECORD)?;
    let mut id = first_id;
    for event in &batch.events {
        let change = &event.change;
        statement.execute(params![
            id,
            event.time.0,
            event.service.as_str(),
            change.kind.as_str(),
            change.from,
            change.to,
            change.reason,
        ])?;
        id += 1;
    }
    Ok(id)
}

fn read_events(
    connection: &Connection,
    query: &EventQuery,
) -> Result<Vec<EventRow>, rusqlite::Error> {
    let sql = if query.is_from_a_point() {
        schema::OLDEST_TO_NEWEST
    } else {
        schema::NEWEST_TO_OLDEST
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params![
        query.after.unwrap_or(i64::MIN),
        query.since.map_or(i64::MIN, |since| since.0),
        query.service,
        query.limit,
    ])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(EventRow {
            id: row.get(0)?,
            time: Timestamp(row.get_ref(1)?.as_i64().unwrap_or(0)).rfc3339_micros(),
            service: text(row, 2)?,
            kind: text(row, 3)?,
            from: optional_text(row, 4)?,
            to: optional_text(row, 5)?,
            reason: text(row, 6)?,
        });
    }
    if !query.is_from_a_point() {
        rows.reverse();
    }
    Ok(rows)
}

/// A column as text, whatever damage made of it: one bad row must not hide the others.
fn text(row: &rusqlite::Row<'_>, column: usize) -> Result<String, rusqlite::Error> {
    Ok(optional_text(row, column)?.unwrap_or_default())
}

fn optional_text(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> Result<Option<String>, rusqlite::Error> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    })
}
