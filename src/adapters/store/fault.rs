//! What goes wrong with a database, sorted by what we do about it.

use std::path::Path;

use rusqlite::ErrorCode;

use supervisor_actors::ports::StoreError;

use super::schema::Misfit;

/// A failure of the database.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Somebody held its lock for longer than we wait.
    Busy,
    /// No space left.
    Full,
    /// Its content is damaged, or not ours: to be set aside.
    Damaged(String),
    /// A newer program wrote it, and what we use is no longer there.
    TooNew(i32),
    /// An I/O error, a read-only disk, missing rights: perhaps better later.
    Unusable(String),
}

impl Fault {
    /// Whether the connection is better closed and opened anew.
    pub(crate) fn wants_reopening(&self) -> bool {
        match self {
            Self::Busy | Self::Full => false,
            Self::Damaged(_) | Self::TooNew(_) | Self::Unusable(_) => true,
        }
    }

    /// What others are told.
    pub(crate) fn told(self, path: &Path) -> StoreError {
        let path = path.display();
        match self {
            Self::Busy => StoreError::Busy,
            Self::Full => StoreError::Unavailable(format!("no space left for {path}")),
            Self::Damaged(why) => StoreError::Unavailable(format!(
                "{path} is damaged, and so is its successor: {why}"
            )),
            Self::TooNew(version) => StoreError::Unavailable(format!(
                "{path} was written by a newer supervisor (version {version} of its tables) that this one does not understand; run that one, or use another data_dir"
            )),
            Self::Unusable(why) => StoreError::Unavailable(format!("{path}: {why}")),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let code = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => failure.code,
            rusqlite::Error::SqlInputError { error, .. } => error.code,
            // A value of a type or in an encoding that we never write.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => return Self::Damaged(error.to_string()),
            _ => return Self::Unusable(error.to_string()),
        };
        match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
            ErrorCode::DiskFull => Self::Full,
            // `Unknown` is SQLITE_ERROR, a fault in the statement: all of ours were prepared
            // when it was opened, so its tables have changed under us.
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Unusable(error.to_string()),
        }
    }
}

impl From<Misfit> for Fault {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Foreign(why) => Self::Damaged(why),
            Misfit::TooNew(version) => Self::TooNew(version),
            Misfit::Sqlite(error) => error.into(),
        }
    }
}
