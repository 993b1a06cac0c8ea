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

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use supervisor_actors::ports::ledger::{Counts, Known, Ledger, Which};
use supervisor_actors::ports::{Clock, StoreError};
use supervisor_core::sync::outbox::Step;
use supervisor_core::sync::{Pending, State, Taken};

use super::store::fault::Fault;
use super::store::open::{check_header, keep_log_on_close, move_aside, raw, tune};
use super::store::schema::migrate;

mod rows;
mod schema;
#[cfg(test)]
mod tests;

use rows::Garbled;

/// How many damaged databases are kept.
const MOST_SET_ASIDE: usize = 3;
/// Pages kept in memory, in kB: a first scan writes to all of the indices all of the time.
const CACHE_KB: i64 = 1_024;
/// Pages of its log after which they are copied into the database, which waits for the disk:
/// 4 MB. A first scan writes ten times that.
const CHECKPOINT_PAGES: i64 = 1_024;
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

struct Open {
    connection: Connection,
    /// Which file it is, as device and inode; none in memory.
    file: Option<(u64, u64)>,
    lasting: bool,
}

type Read<T> = Result<T, rusqlite::Error>;

impl SqliteLedger {
    /// The record of this data directory. Nothing is touched before its first use.
    pub(crate) fn new(data_dir: &Path, clock: Arc<dyn Clock>) -> Self {
        Self::at(Some(data_dir.join("sync.db")), clock)
    }

    /// One that is written nowhere, with what stands in that of a data directory: for a look at
    /// what would be done. Nothing there is changed.
    ///
    /// # Errors
    /// Where there is one and it cannot be read.
    pub(crate) fn copy_of(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let path = data_dir.join("sync.db");
        let mut copy = Self::at(None, clock);
        if !path.exists() {
            return Ok(copy);
        }
        let unusable = |error: rusqlite::Error| match Fault::from(error) {
            // It would be set aside and begun anew.
            Fault::Damaged(_) => None,
            fault @ (Fault::Busy | Fault::Full | Fault::TooNew(_) | Fault::Unusable(_)) => {
                Some(fault.told(&path))
            }
        };
        let copied = look_at(&path).and_then(|source| {
            let open = copy.opened().map_err(|_| rusqlite::Error::InvalidQuery)?;
            let backup = rusqlite::backup::Backup::new(&source, &mut open.connection)?;
            backup.run_to_completion(1_000, std::time::Duration::ZERO, None)
        });
        match copied.map_err(unusable) {
            Err(Some(error)) => return Err(error),
            Err(None) => copy.open = None,
            Ok(()) => {
                // What was damaged shows now rather than later.
                let migrated = copy
                    .open
                    .as_mut()
                    .map(|open| migrate(&mut open.connection, &schema::LAYOUT));
                if !matches!(migrated, Some(Ok(_))) {
                    copy.open = None;
                }
            }
        }
        Ok(copy)
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

    fn opened(&mut self) -> Result<&mut Open, Fault> {
        if self.open.is_none() {
            let open = self.open_now()?;
            self.open = Some(open);
        }
        let none = || Fault::Unusable("not open".to_owned());
        self.open.as_mut().ok_or_else(none)
    }

    fn open_now(&mut self) -> Result<Open, Fault> {
        let (mut connection, file) = match &self.path {
            None => (Connection::open_in_memory()?, None),
            Some(path) => {
                check_header(path)?;
                let connection = raw(path)?;
                tune(&connection)?;
                connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
                let meta =
                    fs::metadata(path).map_err(|error| Fault::Unusable(error.to_string()))?;
                (connection, Some((meta.dev(), meta.ino())))
            }
        };
        connection.pragma_update(None, "cache_size", -CACHE_KB)?;
        connection.set_prepared_statement_cache_capacity(schema::LAYOUT.statements.len() + 8);
        // A file that was cut to almost nothing counts as empty, not as damaged.
        let empty: bool = connection.query_row(schema::IS_EMPTY, [], |row| row.get(0))?;
        migrate(&mut connection, &schema::LAYOUT)?;
        let last: Option<i64> = connection.query_row(schema::LAST_SEQ, [], |row| row.get(0))?;
        // Numbers of tasks that were finished are not used again while we live.
        self.last_seq = self.last_seq.max(last.unwrap_or(0));
        if empty {
            self.epoch += 1;
        }
        Ok(Open {
            connection,
            file,
            lasting: false,
        })
    }

    /// Uses the database. A damaged one is set aside; who was using it starts over.
    fn with<T>(&mut self, work: impl FnOnce(&Connection) -> Read<T>) -> Result<T, StoreError> {
        let done = match self.opened() {
            Ok(open) => work(&open.connection).map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        done.map_err(|fault| self.failed(fault))
    }

    fn failed(&mut self, fault: Fault) -> StoreError {
        self.rollback();
        let Some(path) = self.path.clone() else {
            return fault.told(self.shown());
        };
        if let Fault::Damaged(why) = fault {
            if let Some(open) = self.open.take() {
                keep_log_on_close(&open.connection);
            }
            self.epoch += 1;
            let shown = path.display();
            return match move_aside(&path, self.clock.wall(), MOST_SET_ASIDE) {
                Ok(aside) => {
                    self.notices.push(format!(
                        "the sync's record {shown} was damaged ({why}): set aside as {aside} and begun anew, by comparing the files with the target"
                    ));
                    StoreError::Unavailable(format!("{shown} was damaged and is begun anew"))
                }
                Err(error) => StoreError::Unavailable(format!(
                    "{shown} is damaged ({why}) and cannot be set aside: {error}"
                )),
            };
        }
        if fault.wants_reopening() {
            self.open = None;
        }
        fault.told(&path)
    }

    /// Notices a database that somebody deleted or replaced: what we wrote is lost.
    fn notice_replacement(&mut self) {
        let (Some(path), Some(open)) = (&self.path, &self.open) else {
            return;
        };
        let present = fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        if present == open.file {
            return;
        }
        self.notices.push(format!(
            "the sync's record {} was deleted or replaced while in use: begun anew, by comparing the files with the target",
            path.display()
        ));
        keep_log_on_close(&open.connection);
        self.open = None;
        self.epoch += 1;
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
        values: &[&dyn rusqlite::ToSql],
        each: &mut dyn FnMut(Taken),
    ) -> Result<(), StoreError> {
        let mut garbled = Vec::new();
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = statement.query(values)?;
            while let Some(row) = found.next()? {
                match rows::taken(row)? {
                    Ok(taken) => each(taken),
                    Err(row) => garbled.push(row),
                }
            }
            Ok(())
        })?;
        self.drop_garbled(&garbled, schema::FORGET)
    }

    fn read_tasks(
        &mut self,
        sql: &str,
        values: &[&dyn rusqlite::ToSql],
        each: &mut dyn FnMut(Pending),
    ) -> Result<(), StoreError> {
        let mut garbled = Vec::new();
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = statement.query(values)?;
            while let Some(row) = found.next()? {
                match rows::pending(row)? {
                    Ok(pending) => each(pending),
                    Err(row) => garbled.push(row),
                }
            }
            Ok(())
        })?;
        self.drop_garbled(&garbled, schema::UNQUEUE)
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
        let values: [&dyn rusqlite::ToSql; 6] = [
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
        let values: [&dyn rusqlite::ToSql; 9] = [
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

impl Open {
    fn begin(&mut self, lasting: bool) -> Read<()> {
        if self.file.is_some() && self.lasting != lasting {
            let how = if lasting { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", how)?;
            self.lasting = lasting;
        }
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        Ok(())
    }
}

/// Where the paths below a directory begin and end: `/` is followed by `0`.
fn between(below: &str) -> (String, String) {
    match below {
        "" | "." => (String::new(), char::MAX.to_string()),
        below => (format!("{below}/"), format!("{below}0")),
    }
}

/// Opens somebody's database to read it, without leaving anything beside it. Where nobody has
/// it open and all of it is in its file, nothing else is looked at. A log that was left is read
/// without the shared memory that SQLite would make, and stays; where somebody has it open,
/// that memory is there already.
fn look_at(path: &Path) -> Read<Connection> {
    use rusqlite::OpenFlags;
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let in_use = beside("-shm").exists();
    let log_is_empty = fs::metadata(beside("-wal")).map_or(true, |meta| meta.len() == 0);
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !in_use && log_is_empty {
        let mut uri = "file:".to_owned();
        for byte in path.as_os_str().as_bytes() {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02x}");
        }
        uri.push_str("?immutable=1");
        return Connection::open_with_flags(uri, read_only | OpenFlags::SQLITE_OPEN_URI);
    }
    let mode = if in_use {
        read_only
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
    };
    let connection = Connection::open_with_flags(path, mode)?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    if !in_use {
        keep_log_on_close(&connection);
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    Ok(connection)
}
