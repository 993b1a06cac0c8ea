//! `data_dir/sync.db`: the manifest and the outbox of the sync.
//!
//! A database of its own, so that a first scan of many thousand files never keeps the
//! supervisor's events waiting, and so that what is damaged in the one harms nothing of the
//! other. What stands in it can be found again, from the files and from the target; so a
//! damaged one is set aside and begun anew, and whoever uses it is told by the epoch.
//!
//! ```text
//! closed ──use──▶ open ──I/O error──▶ closed
//!                  └──damaged, deleted──▶ set aside, a new one, another epoch ──▶ open
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, ToSql, params};

use supervisor_actors::ports::ledger::{Counts, Known, Ledger, Which};
use supervisor_actors::ports::{Clock, StoreError};
use supervisor_core::sync::outbox::Step;
use supervisor_core::sync::{Pending, State, Taken};

use super::store::fault::Fault;

mod file;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

use file::Open;
use rows::{Garbled, Sound};

/// How many garbled rows are named.
const MOST_NAMED: usize = 3;

/// The record, in a database.
pub(crate) struct SqliteLedger {
    /// None: in memory, and gone with it.
    path: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    open: Option<Open>,
    /// Whether a transaction is under way.
    begun: bool,
    epoch: u64,
    /// The number of the last task that was queued by anybody.
    last_seq: i64,
    notices: Vec<String>,
}

type Read<T> = Result<T, rusqlite::Error>;

impl SqliteLedger {
    /// The record of this data directory. Nothing is touched before its first use.
    pub(crate) fn new(data_dir: &Path, clock: Arc<dyn Clock>) -> Self {
        Self::at(Some(data_dir.join("sync.db")), clock)
    }

    fn at(path: Option<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            path,
            clock,
            open: None,
            begun: false,
            epoch: 0,
            last_seq: 0,
            notices: Vec::new(),
        }
    }

    fn shown(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(":memory:"))
    }

    /// Uses the database. A damaged one is set aside; who was using it starts over.
    fn with<T>(&mut self, work: impl FnOnce(&Connection) -> Read<T>) -> Result<T, StoreError> {
        let done = match self.opened() {
            Ok(open) => work(&open.connection).map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        done.map_err(|fault| self.failed(fault))
    }

    /// Garbled rows are as good as none: they are taken out, and said.
    fn drop_garbled(&mut self, garbled: &[Garbled], forget: &str) -> Result<(), StoreError> {
        if garbled.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = garbled
            .iter()
            .take(MOST_NAMED)
            .map(|row| row.key.as_str())
            .collect();
        self.notices.push(format!(
            "{} rows of the sync's record were garbled (of {:?}{}): they are found again from the files",
            garbled.len(),
            named,
            if garbled.len() > MOST_NAMED { ", …" } else { "" },
        ));
        self.with(|connection| {
            let mut statement = connection.prepare_cached(forget)?;
            for row in garbled {
                statement.execute([&row.table, &row.key])?;
            }
            Ok(())
        })
    }

    fn read_taken(
        &mut self,
        sql: &str,
        values: &[&dyn ToSql],
        each: &mut dyn FnMut(Taken),
    ) -> Result<(), StoreError> {
        self.read(sql, values, rows::taken, schema::FORGET, each)
    }

    fn read_tasks(
        &mut self,
        sql: &str,
        values: &[&dyn ToSql],
        each: &mut dyn FnMut(Pending),
    ) -> Result<(), StoreError> {
        self.read(sql, values, rows::pending, schema::UNQUEUE, each)
    }

    /// Shows rows; those that are garbled are taken out by `forget`.
    fn read<T>(
        &mut self,
        sql: &str,
        values: &[&dyn ToSql],
        of: fn(&Row<'_>) -> Read<Sound<T>>,
        forget: &str,
        each: &mut dyn FnMut(T),
    ) -> Result<(), StoreError> {
        let mut garbled = Vec::new();
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = statement.query(values)?;
            while let Some(row) = found.next()? {
                match of(row)? {
                    Ok(sound) => each(sound),
                    Err(row) => garbled.push(row),
                }
            }
            Ok(())
        })?;
        self.drop_garbled(&garbled, forget)
    }

    fn next_seq(&mut self) -> i64 {
        self.last_seq += 1;
        self.last_seq
    }
}

impl Ledger for SqliteLedger {
    fn begin(&mut self, lasting: bool) -> Result<(), StoreError> {
        self.rollback();
        self.notice_replacement();
        let begun = match self.opened() {
            Ok(open) => open.begin(lasting).map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        begun.map_err(|fault| self.failed(fault))?;
        self.begun = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if !self.begun {
            return Err(StoreError::Unavailable(
                "the transaction was given up".to_owned(),
            ));
        }
        self.with(|connection| connection.prepare_cached("COMMIT")?.execute([]))?;
        self.begun = false;
        Ok(())
    }

    fn rollback(&mut self) {
        if std::mem::take(&mut self.begun)
            && let Some(open) = &self.open
            && !open.connection.is_autocommit()
        {
            // One that cannot be rolled back is rolled back when the connection closes.
            if open.connection.execute_batch("ROLLBACK").is_err() {
                self.open = None;
            }
        }
    }

    fn every_known(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Known<'_>),
    ) -> Result<(), StoreError> {
        let (first, end) = between(below.unwrap_or("."));
        self.with(|connection| {
            let (mut all, mut some);
            let mut found = if below.is_none() {
                all = connection.prepare_cached(schema::EVERY_KNOWN)?;
                all.query([])?
            } else {
                some = connection.prepare_cached(schema::KNOWN_BELOW)?;
                some.query([&first, &end])?
            };
            while let Some(row) = found.next()? {
                // One without sense is not known: its file is looked at.
                rows::known(row).into_iter().for_each(&mut *each);
            }
            Ok(())
        })
    }

    fn every_taken(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Taken),
    ) -> Result<(), StoreError> {
        match below.map(between) {
            None => self.read_taken(schema::EVERY_TAKEN, &[], each),
            Some((first, end)) => self.read_taken(schema::TAKEN_BELOW, &[&first, &end], each),
        }
    }

    fn taken(&mut self, table: &str, key: &str) -> Result<Option<Taken>, StoreError> {
        let mut found = None;
        self.read_taken(schema::TAKEN, &[&table, &key], &mut |taken| {
            found = Some(taken);
        })?;
        Ok(found)
    }

    fn taken_of(&mut self, file_path: &str) -> Result<Vec<Taken>, StoreError> {
        let mut found = Vec::new();
        self.read_taken(schema::TAKEN_OF, &[&file_path], &mut |taken| {
            found.push(taken);
        })?;
        Ok(found)
    }

    fn pending(&mut self, table: &str, key: &str) -> Result<Option<Pending>, StoreError> {
        let mut found = None;
        self.read_tasks(schema::TASK, &[&table, &key], &mut |task| {
            found = Some(task);
        })?;
        Ok(found)
    }

    fn tasks(
        &mut self,
        states: &[&str],
        beyond: u64,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        let state = |at: usize| states.get(at).copied();
        let values: [&dyn ToSql; 6] = [
            &beyond.cast_signed(),
            &state(0),
            &state(1),
            &state(2),
            &state(3),
            &limit,
        ];
        let mut found = Vec::new();
        self.read_tasks(schema::TASKS, &values, &mut |task| {
            found.push(task);
        })?;
        Ok(found)
    }

    fn every_task(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Pending),
    ) -> Result<(), StoreError> {
        let (first, end) = between(below.unwrap_or("."));
        self.read_tasks(schema::TASKS_BELOW, &[&first, &end], each)
    }

    fn claim(&mut self, table: &str, from: &str) -> Result<Option<String>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(schema::CLAIM)?;
            statement
                .query_row([table, from], |row| row.get(0))
                .optional()
        })
    }

    fn apply(&mut self, step: &Step) -> Result<(), StoreError> {
        match step {
            Step::Queue(pending) => {
                let seq = self.next_seq();
                self.with(|connection| {
                    let mut statement = connection.prepare_cached(schema::QUEUE)?;
                    rows::put_pending(&mut statement, seq, pending)
                })
            }
            Step::Unqueue { table, key } => self.with(|connection| {
                connection
                    .prepare_cached(schema::UNQUEUE)?
                    .execute([table, key])?;
                Ok(())
            }),
            Step::Take(taken) => self.with(|connection| {
                let mut statement = connection.prepare_cached(schema::TAKE)?;
                rows::put_taken(&mut statement, taken)
            }),
            Step::Forget { table, key } => self.with(|connection| {
                connection
                    .prepare_cached(schema::FORGET)?
                    .execute([table, key])?;
                Ok(())
            }),
            Step::Unclaim { table, key } => {
                let seq = self.next_seq();
                self.with(|connection| {
                    connection
                        .prepare_cached(schema::UNCLAIM)?
                        .execute(params![table, key, seq])?;
                    Ok(())
                })
            }
        }
    }

    fn finish(&mut self, pending: &Pending) -> Result<bool, StoreError> {
        let seq = pending.seq.cast_signed();
        self.with(|connection| Ok(connection.prepare_cached(schema::FINISH)?.execute([seq])? > 0))
    }

    fn set_state(&mut self, pending: &Pending, state: &State) -> Result<(), StoreError> {
        let seq = pending.seq.cast_signed();
        let (word, scope, reason) = rows::of_state(state);
        self.with(|connection| {
            connection
                .prepare_cached(schema::SET_STATE)?
                .execute(params![seq, word, scope, reason])?;
            Ok(())
        })
    }

    fn set_states(&mut self, which: &Which, state: &State) -> Result<u64, StoreError> {
        let (from, table, kind, readable, wide) = match which {
            Which::Removals { table } => ("due", Some(table), Some(rows::REMOVE), false, false),
            Which::Held { table } => ("held", table.as_ref(), None, false, false),
            Which::Due { table } => ("due", table.as_ref(), None, false, false),
            Which::Parked { table } => ("parked", table.as_ref(), None, true, false),
            Which::ParkedWithTable { .. } => ("parked", None, None, true, true),
        };
        let of = match which {
            Which::ParkedWithTable { table } => Some(table),
            Which::Removals { .. }
            | Which::Held { .. }
            | Which::Due { .. }
            | Which::Parked { .. } => None,
        };
        let (word, scope, reason) = rows::of_state(state);
        let values: [&dyn ToSql; 9] = [
            &word, &scope, &reason, &from, &table, &kind, &readable, &wide, &of,
        ];
        self.with(|connection| {
            let changed = connection
                .prepare_cached(schema::SET_STATES)?
                .execute(&values[..])?;
            Ok(u64::try_from(changed).unwrap_or(u64::MAX))
        })
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        self.with(|connection| {
            connection.prepare_cached(schema::FORGET_ALL)?.execute([])?;
            Ok(())
        })
    }

    fn is_empty(&mut self) -> Result<(bool, bool), StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(schema::EMPTY)?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        })
    }

    fn counts(&mut self) -> Result<Vec<Counts>, StoreError> {
        self.with(|connection| {
            let mut all: Vec<Counts> = Vec::new();
            let mut of = |table: String, add: &dyn Fn(&mut Counts)| {
                if let Some(counts) = all.iter_mut().find(|counts| counts.table == table) {
                    add(counts);
                } else {
                    let mut counts = Counts {
                        table,
                        ..Counts::default()
                    };
                    add(&mut counts);
                    all.push(counts);
                }
            };
            let mut statement = connection.prepare_cached(schema::COUNT_ROWS)?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                let rows = row.get::<_, i64>(1)?.cast_unsigned();
                of(row.get(0)?, &|counts| counts.rows = rows);
            }
            let mut statement = connection.prepare_cached(schema::COUNT_TASKS)?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                let (state, kind): (String, String) = (row.get(1)?, row.get(2)?);
                let tasks = row.get::<_, i64>(3)?.cast_unsigned();
                of(row.get(0)?, &|counts| {
                    match state.as_str() {
                        "held" => counts.held += tasks,
                        "parked" => counts.parked += tasks,
                        _ => counts.due += tasks,
                    }
                    if state == "due" && kind == rows::REMOVE {
                        counts.removals += tasks;
                    }
                });
            }
            all.sort_unstable_by(|a, b| a.table.cmp(&b.table));
            Ok(all)
        })
    }

    fn note(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        self.with(|connection| {
            let mut statement: CachedStatement<'_> = connection.prepare_cached(schema::NOTE)?;
            statement.query_row([name], |row| row.get(0)).optional()
        })
    }

    fn set_note(&mut self, name: &str, text: &str) -> Result<(), StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(schema::SET_NOTE)?
                .execute([name, text])?;
            Ok(())
        })
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }
}

/// Where the paths below a directory begin and end: `/` is followed by `0`.
fn between(below: &str) -> (String, String) {
    match below {
        "" | "." => (String::new(), char::MAX.to_string()),
        below => (format!("{below}/"), format!("{below}0")),
    }
}
