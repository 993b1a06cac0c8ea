//! The embedded target, `data_dir/tables.db`: the tables, columns and upserts of the other
//! one, without a server.
//!
//! ```text
//! closed ──use──▶ open ──I/O error, deleted──▶ closed
//!                  └──damaged──▶ set aside, said as a refusal ──▶ closed
//! ```
//!
//! One job at a time, on a blocking thread. What is answered as taken survives a power loss
//! (synchronous FULL): the sync forgets its own record of it then. Tables are made when they
//! are first written to, and given the columns and the unique key that they lack; columns that
//! the configuration no longer has stay as they are.

mod make;
#[cfg(test)]
mod tests;
mod work;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::FutureExt as _;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, ErrorCode};
use serde_json::Value;

use supervisor_actors::ports::Clock;
use supervisor_actors::ports::tables::{Appetite, Held, Tables, Taken};
use supervisor_core::Timestamp;
use supervisor_core::sync::{Alone, Refusal, Row, Scope, Table};

use crate::adapters::store::fault::Fault;
use crate::adapters::store::open::{check_header, keep_log_on_close, move_aside, raw, tune};

/// How many damaged databases are kept.
const MOST_SET_ASIDE: usize = 3;
/// Pages kept in memory, in kB.
const CACHE_KB: i64 = 1_024;
/// Pages of its log after which they are copied into the database, which waits for the disk:
/// 4 MB, about what two transactions write.
const CHECKPOINT_PAGES: i64 = 1_024;
/// Each transaction waits for the disk: a few large ones, of which one is written while the
/// files of the next are read.
const APPETITE: Appetite = Appetite {
    rows: 500,
    requests: 2,
};

/// The database as a target.
pub(crate) struct SqliteTables {
    path: PathBuf,
    database: Arc<tokio::sync::Mutex<Database>>,
}

/// The database on the thread of a job.
struct Database {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    /// The tables that are known to be as they should.
    made: HashMap<String, Table>,
    /// Which file it is, as device and inode: somebody may delete or replace it.
    file: (u64, u64),
}

/// Why a job was not done.
#[derive(Debug)]
enum Trouble {
    /// A statement failed.
    Sqlite(rusqlite::Error),
    /// The file is damaged, too full, locked, or cannot be used.
    File(Fault),
    /// The table cannot be as the configuration wants it.
    Table(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

// === impl SqliteTables ===

impl SqliteTables {
    /// The tables of this data directory. Nothing is touched before their first use.
    pub(crate) fn new(data_dir: &Path, clock: Arc<dyn Clock>) -> Self {
        let path = data_dir.join("tables.db");
        let database = Database {
            path: path.clone(),
            clock,
            open: None,
        };
        Self {
            path,
            database: Arc::new(tokio::sync::Mutex::new(database)),
        }
    }

    /// Runs a job on a table that is as it should be.
    fn job<'a, T: Send + 'static>(
        &'a self,
        table: &Table,
        work: impl FnOnce(&mut Connection, &Table) -> Result<T, Trouble> + Send + 'static,
    ) -> Taken<'a, T> {
        let table = table.clone();
        let name = table.name().to_owned();
        self.with(name, move |open| {
            open.prepare(&table)?;
            work(&mut open.connection, &table)
        })
    }

    /// Runs a job on a blocking thread. Should the caller lose interest, it is done all the
    /// same: half of it is rolled back or all of it committed.
    fn with<'a, T: Send + 'static>(
        &'a self,
        about: String,
        work: impl FnOnce(&mut Open) -> Result<T, Trouble> + Send + 'static,
    ) -> Taken<'a, T> {
        async move {
            let mut database = Arc::clone(&self.database).lock_owned().await;
            let job = actix_rt::task::spawn_blocking(move || database.run(&about, work));
            job.await.unwrap_or_else(|panicked| {
                Err(Refusal::Retry {
                    after: None,
                    why: format!("{}: {panicked}", self.path.display()),
                })
            })
        }
        .boxed_local()
    }
}

impl Tables for SqliteTables {
    fn describe(&self) -> String {
        format!("sqlite {}", self.path.display())
    }

    fn identity(&self) -> Taken<'_, String> {
        self.with("what it is".to_owned(), |open| {
            Ok(format!("sqlite {}", make::identity(&open.connection)?))
        })
    }

    fn appetite(&self) -> Appetite {
        APPETITE
    }

    fn upsert<'a>(&'a self, table: &'a Table, rows: &'a [Row]) -> Taken<'a, ()> {
        let rows: Vec<Vec<SqlValue>> = rows.iter().map(values).collect();
        self.job(table, move |connection, table| {
            work::upsert(connection, table, rows)
        })
    }

    fn rename<'a>(&'a self, table: &'a Table, from: &'a str, row: &'a Row) -> Taken<'a, bool> {
        let (from, key, row) = (from.to_owned(), row.key.clone(), values(row));
        self.job(table, move |connection, table| {
            work::rename(connection, table, &from, &key, row)
        })
    }

    fn delete<'a>(&'a self, table: &'a Table, keys: &'a [String]) -> Taken<'a, u64> {
        let keys = keys.to_vec();
        self.job(table, move |connection, table| {
            work::delete(connection, table, &keys)
        })
    }

    fn tombstone<'a>(
        &'a self,
        table: &'a Table,
        keys: &'a [String],
        at: Timestamp,
    ) -> Taken<'a, u64> {
        let keys = keys.to_vec();
        self.job(table, move |connection, table| {
            work::tombstone(connection, table, &keys, at)
        })
    }

    fn keys<'a>(
        &'a self,
        table: &'a Table,
        after: Option<&'a str>,
        limit: u32,
    ) -> Taken<'a, Vec<Held>> {
        let (name, table) = (table.name().to_owned(), table.clone());
        let after = after.map(str::to_owned);
        // A look: a table that is not there, or lacks a column, stays as it is.
        self.with(name, move |open| {
            work::keys(&open.connection, &table, after.as_deref(), limit)
        })
    }
}

/// A row's values as SQLite holds them: objects as their JSON.
fn values(row: &Row) -> Vec<SqlValue> {
    let one = |value: &Value| match value {
        Value::Null => SqlValue::Null,
        Value::Bool(is) => SqlValue::Integer(i64::from(*is)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => SqlValue::Integer(whole),
            None => SqlValue::Real(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => SqlValue::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => SqlValue::Text(value.to_string()),
    };
    row.values.iter().map(one).collect()
}

// === impl Database ===

impl Database {
    fn run<T>(
        &mut self,
        about: &str,
        work: impl FnOnce(&mut Open) -> Result<T, Trouble>,
    ) -> Result<T, Refusal> {
        // Taken out, so that it is not used again should this panic.
        let done = match self.open.take().filter(|open| self.is_still(open)) {
            Some(open) => Ok(open),
            None => self.open_now(),
        };
        let done = done.and_then(|mut open| {
            let done = work(&mut open);
            let spoilt = done.as_ref().err().is_some_and(Trouble::wants_reopening);
            if spoilt {
                // The next one finds out whether it can still be used; a damaged file's log is
                // kept beside it.
                if matches!(&done, Err(trouble) if trouble.is_damage()) {
                    keep_log_on_close(&open.connection);
                }
            } else {
                self.open = Some(open);
            }
            done
        });
        done.map_err(|trouble| self.refusal(trouble, about))
    }

    fn is_still(&self, open: &Open) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == open.file)
    }

    fn open_now(&self) -> Result<Open, Trouble> {
        check_header(&self.path).map_err(Trouble::File)?;
        let connection = raw(&self.path)?;
        tune(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -CACHE_KB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        make::identify(&connection)?;
        let meta = fs::metadata(&self.path)
            .map_err(|error| Trouble::File(Fault::Unusable(error.to_string())))?;
        Ok(Open {
            connection,
            made: HashMap::new(),
            file: (meta.dev(), meta.ino()),
        })
    }

    /// What the sync is told. A damaged database is set aside first.
    fn refusal(&self, trouble: Trouble, about: &str) -> Refusal {
        let path = self.path.display();
        let fault = match trouble.sorted(about) {
            Ok(refusal) => return refusal,
            Err(fault) => fault,
        };
        let why = match fault {
            Fault::Busy => format!("{path} is locked by another program"),
            Fault::Full => format!("no space left for {path}"),
            Fault::Unusable(why) => format!("{path}: {why}"),
            Fault::TooNew(version) => format!("{path} is of a newer version ({version})"),
            Fault::Damaged(why) => {
                match move_aside(&self.path, self.clock.wall(), MOST_SET_ASIDE) {
                    Ok(name) => {
                        format!("{path} was damaged ({why}): set aside as {name} and begun anew")
                    }
                    Err(error) => {
                        format!("{path} is damaged ({why}) and cannot be set aside: {error}")
                    }
                }
            }
        };
        Refusal::Retry { after: None, why }
    }
}

// === impl Trouble ===

impl Trouble {
    /// The code of SQLite, where it is its failure.
    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) => Some(failure.code),
            Self::Sqlite(rusqlite::Error::SqlInputError { error, .. }) => Some(error.code),
            Self::Sqlite(_) | Self::File(_) | Self::Table(_) => None,
        }
    }

    fn is_damage(&self) -> bool {
        match self {
            Self::File(Fault::Damaged(_)) => true,
            Self::Sqlite(_) => matches!(
                self.code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
            Self::File(_) | Self::Table(_) => false,
        }
    }

    fn wants_reopening(&self) -> bool {
        match self {
            Self::File(fault) => fault.wants_reopening(),
            Self::Table(_) => false,
            Self::Sqlite(_) => !matches!(
                self.code(),
                Some(
                    ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::DiskFull
                        | ErrorCode::ConstraintViolation
                        | ErrorCode::TooBig
                )
            ),
        }
    }

    /// What concerns rows and tables is a refusal; what concerns the file is not yet one. No
    /// message of SQLite repeats what a row holds.
    fn sorted(self, name: &str) -> Result<Refusal, Fault> {
        let code = self.code();
        let error = match self {
            Self::Table(why) => {
                return Ok(Refusal::Park {
                    scope: Scope::Table,
                    why: format!("table {name} of the embedded store: {why}"),
                });
            }
            Self::File(fault) => return Err(fault),
            Self::Sqlite(error) => error,
        };
        match code {
            Some(ErrorCode::ConstraintViolation) => Ok(Refusal::Split {
                why: format!("{name} does not take this row: {error}"),
            }),
            Some(ErrorCode::TooBig) => Ok(Refusal::Smaller {
                alone: Alone::Park,
                why: format!("a row is larger than SQLite takes: {error}"),
            }),
            // SQLITE_ERROR: the statement does not fit the table, which is not as we made it.
            Some(ErrorCode::Unknown) => Ok(Refusal::Park {
                scope: Scope::Table,
                why: format!("table {name} of the embedded store: {error}"),
            }),
            _ => Err(Fault::from(error)),
        }
    }
}
