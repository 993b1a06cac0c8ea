//! The file of the record: opened, set aside where it is damaged, noticed where it is replaced,
//! copied for a look.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use supervisor_actors::ports::ledger::Ledger as _;
use supervisor_actors::ports::{Clock, StoreError};

use super::{Read, SqliteLedger, schema};
use crate::adapters::store::fault::Fault;
use crate::adapters::store::open::{check_header, keep_log_on_close, move_aside, raw, tune};
use crate::adapters::store::schema::migrate;

/// How many damaged databases are kept.
const MOST_SET_ASIDE: usize = 3;
/// Pages kept in memory, in kB: a first scan writes to all of the indices all of the time.
const CACHE_KB: i64 = 1_024;
/// Pages of its log after which they are copied into the database, which waits for the disk:
/// 4 MB. A first scan writes ten times that.
const CHECKPOINT_PAGES: i64 = 1_024;

/// The database while it is open.
pub(super) struct Open {
    pub(super) connection: Connection,
    /// Which file it is, as device and inode; none in memory.
    file: Option<(u64, u64)>,
    lasting: bool,
}

impl SqliteLedger {
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

    pub(super) fn opened(&mut self) -> Result<&mut Open, Fault> {
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

    pub(super) fn failed(&mut self, fault: Fault) -> StoreError {
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
    pub(super) fn notice_replacement(&mut self) {
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
}

impl Open {
    pub(super) fn begin(&mut self, lasting: bool) -> Read<()> {
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
