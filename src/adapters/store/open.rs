//! Opening a database, and moving a damaged one out of the way.

use std::ffi::OsString;
use std::io::Read as _;

use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;

use super::schema::{Fit, LAYOUT, migrate};
use super::*;

impl SqliteStore {
    /// The open database, opened if it was not.
    pub(super) fn opened(&mut self) -> Result<&mut Open, Fault> {
        if self.open.is_none() {
            let open = self.open_now()?;
            self.open = Some(open);
            self.first_id = 1;
            self.saved = Vec::new();
        }
        self.open
            .as_mut()
            .ok_or_else(|| Fault::Unusable("not open".to_owned()))
    }

    fn open_now(&mut self) -> Result<Open, Fault> {
        check_header(&self.path)?;
        let mut connection = raw(&self.path)?;
        tune(&connection)?;
        match migrate(&mut connection, &LAYOUT)? {
            Fit::Ours => {}
            Fit::Newer(version) => {
                if !self.said_newer {
                    self.said_newer = true;
                    self.notices.push(format!(
                        "the database {} was written by a newer supervisor (version {version} of its tables): it is used as far as this one understands it",
                        self.path.display()
                    ));
                }
            }
        }
        if !self.saved.is_empty() {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let saved = self.saved.iter();
            write_memories(
                &transaction,
                saved.map(|(name, memory)| (name.as_str(), memory.as_str())),
            )?;
            transaction.commit()?;
        }
        let (_, newest) = id_range(&connection)?;
        let pruning = prune::Pruning::new(&*self.clock, &connection)?;
        let next_id = newest.saturating_add(1).max(self.first_id);
        let meta = fs::metadata(&self.path).map_err(|error| Fault::Unusable(error.to_string()))?;
        Ok(Open {
            connection,
            next_id,
            file: (meta.dev(), meta.ino()),
            pruning,
        })
    }
}

impl Open {
    /// Leaves the write-ahead log of a damaged database as it is when it is closed.
    pub(super) fn keep_log_on_close(&self) {
        keep_log_on_close(&self.connection);
    }
}

/// Refuses the one damage that SQLite takes for an order: an unknown write format makes a
/// database read-only for ever (byte 18; SQLite's "Database File Format", section 1.3.3).
pub(in crate::adapters) fn check_header(path: &Path) -> Result<(), Fault> {
    let mut header = [0; 20];
    match fs::File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) if header[18] > 2 => Err(Fault::Damaged(format!(
            "its header asks for the unknown format {}",
            header[18]
        ))),
        // Missing, empty, unreadable: SQLite says it better.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A connection as SQLite gives it.
pub(in crate::adapters) fn raw(path: &Path) -> Result<Connection, rusqlite::Error> {
    // Without a mutex: one thread at a time uses it, and the type system knows.
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

pub(in crate::adapters) fn tune(connection: &Connection) -> Result<(), rusqlite::Error> {
    // What a garbled file says about its own schema is not to be trusted.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // 128 kB: the whole program is to fit in a few megabytes, and the hot pages are few.
    connection.pragma_update(None, "cache_size", -128)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR),
            Some(format!("no write-ahead log possible here, only {mode}")),
        ));
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Checkpointed at 1 MB. The file is kept at that size and written over, so that on a full
    // disk there is still some room in it; what somebody's long read made it grow is given back.
    connection.pragma_update(None, "wal_autocheckpoint", 256)?;
    connection.pragma_update(None, "journal_size_limit", 1 << 20)?;
    Ok(())
}

pub(in crate::adapters) fn keep_log_on_close(connection: &Connection) {
    // Worth a try only: should it fail, the close copies the log into the damaged file.
    let _tried = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

pub(super) fn id_range(connection: &Connection) -> Result<(i64, i64), rusqlite::Error> {
    connection
        .prepare_cached(schema::ID_RANGE)?
        .query_row([], |row| {
            Ok((
                row.get::<_, Option<i64>>(0)?.unwrap_or(0),
                row.get::<_, Option<i64>>(1)?.unwrap_or(0),
            ))
        })
}

/// Renames a database and what belongs to it, and says the new name. Of those renamed before,
/// the newest `keep` are kept, this one included.
pub(in crate::adapters) fn move_aside(
    path: &Path,
    now: Timestamp,
    keep: usize,
) -> io::Result<String> {
    let prefix = format!("{}.corrupt-", file_name(path));
    // Without colons, which some tools take for a host or a drive.
    let stamp = now.rfc3339_micros().replace(':', "-");
    let name = format!("{prefix}{stamp}");
    for suffix in ["", "-wal", "-shm"] {
        match fs::rename(
            with_suffix(path, suffix),
            with_suffix(&path.with_file_name(&name), suffix),
        ) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
    }
    let mut older: Vec<String> = fs::read_dir(path.parent().unwrap_or(Path::new(".")))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .collect();
    older.sort_unstable();
    for name in older.iter().rev().skip(keep) {
        for suffix in ["", "-wal", "-shm"] {
            match fs::remove_file(with_suffix(&path.with_file_name(name), suffix)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(name)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
