//! Rows of the record, read and written.

use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Row, Statement, ToSql};

use supervisor_actors::ports::ledger::{Known, state_word};
use supervisor_core::Timestamp;
use supervisor_core::sync::{Content, ContentHash, Pending, Scope, Stat, State, Taken, Task};

use crate::adapters::checksum::checksum;

/// What a row says, or that it is garbled.
pub(super) type Sound<T> = Result<T, Garbled>;

/// A row that nobody wrote so: what can be made out of whose it is.
#[derive(Debug)]
pub(super) struct Garbled {
    pub(super) table: String,
    pub(super) key: String,
}

// === taken ===

pub(super) fn taken(row: &Row<'_>) -> Result<Sound<Taken>, rusqlite::Error> {
    let read = || -> Option<(Taken, i64)> {
        let taken = Taken {
            table: row.get_ref(0).ok()?.as_str().ok()?.to_owned(),
            key: row.get_ref(1).ok()?.as_str().ok()?.to_owned(),
            file_path: row.get_ref(2).ok()?.as_str().ok()?.to_owned(),
            hash: ContentHash(row.get_ref(3).ok()?.as_blob().ok()?.try_into().ok()?),
            stat: stat(row, 4)?,
            settled: row.get_ref(8).ok()?.as_i64().ok()? != 0,
            mapping: row.get_ref(9).ok()?.as_i64().ok()?.cast_unsigned(),
        };
        Some((taken, row.get_ref(10).ok()?.as_i64().ok()?))
    };
    Ok(match read() {
        Some((taken, sum)) if sum == sum_of(&taken) => Ok(taken),
        Some(_) | None => Err(garbled(row, 0)?),
    })
}

/// What is known of a file, unchecked.
pub(super) fn known<'a>(row: &'a Row<'_>) -> Option<Known<'a>> {
    Some(Known {
        file_path: row.get_ref(0).ok()?.as_str().ok()?,
        stat: stat(row, 1)?,
        settled: row.get_ref(5).ok()?.as_i64().ok()? != 0,
        mapping: row.get_ref(6).ok()?.as_i64().ok()?.cast_unsigned(),
    })
}

pub(super) fn put_taken(
    statement: &mut Statement<'_>,
    taken: &Taken,
) -> Result<(), rusqlite::Error> {
    statement.execute((
        &taken.table,
        &taken.key,
        &taken.file_path,
        &taken.hash.0[..],
        taken.stat.size.cast_signed(),
        taken.stat.mtime,
        taken.stat.ctime,
        taken.stat.inode.cast_signed(),
        taken.settled,
        taken.mapping.cast_signed(),
        sum_of(taken),
    ))?;
    Ok(())
}

/// The path is what decides on a row: garbled, it would be that of a file which is gone.
fn sum_of(taken: &Taken) -> i64 {
    let numbers = [
        taken.stat.size,
        taken.stat.mtime.cast_unsigned(),
        taken.stat.ctime.cast_unsigned(),
        taken.stat.inode,
        u64::from(taken.settled),
        taken.mapping,
    ]
    .map(u64::to_le_bytes);
    checksum(&[
        taken.table.as_bytes(),
        taken.key.as_bytes(),
        taken.file_path.as_bytes(),
        &taken.hash.0,
        numbers.as_flattened(),
    ])
    .cast_signed()
}

fn stat(row: &Row<'_>, first: usize) -> Option<Stat> {
    let number = |at: usize| row.get_ref(at).ok()?.as_i64().ok();
    Some(Stat {
        size: number(first)?.cast_unsigned(),
        mtime: number(first + 1)?,
        ctime: number(first + 2)?,
        inode: number(first + 3)?.cast_unsigned(),
    })
}

fn garbled(row: &Row<'_>, first: usize) -> Result<Garbled, rusqlite::Error> {
    let text = |at: usize| -> Result<String, rusqlite::Error> {
        Ok(match row.get_ref(at)?.as_bytes() {
            Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => String::new(),
        })
    };
    Ok(Garbled {
        table: text(first)?,
        key: text(first + 1)?,
    })
}

// === tasks ===

const UPSERT: &str = "upsert";
pub(super) const REMOVE: &str = "remove";
const UNREADABLE: &str = "unreadable";

const SCOPES: [(&str, Scope); 3] = [
    ("rows", Scope::Rows),
    ("table", Scope::Table),
    ("target", Scope::Target),
];

pub(super) fn pending(row: &Row<'_>) -> Result<Sound<Pending>, rusqlite::Error> {
    let read = || -> Option<Pending> {
        let text = |at: usize| row.get_ref(at).ok()?.as_str().ok();
        let task = match text(4)? {
            UPSERT => Task::Upsert {
                content: Content {
                    hash: ContentHash(row.get_ref(5).ok()?.as_blob().ok()?.try_into().ok()?),
                    stat: stat(row, 6)?,
                    settled: row.get_ref(10).ok()?.as_i64().ok()? != 0,
                },
                mapping: row.get_ref(11).ok()?.as_i64().ok()?.cast_unsigned(),
                from: row
                    .get_ref(12)
                    .ok()?
                    .as_str_or_null()
                    .ok()?
                    .map(str::to_owned),
            },
            REMOVE => Task::Remove,
            UNREADABLE => Task::Unreadable {
                stat: stat(row, 6)?,
            },
            _ => return None,
        };
        let state = match text(13)? {
            "due" => State::Due,
            "held" => State::Held,
            "confirmed" => State::Confirmed,
            "parked" => State::Parked {
                scope: SCOPES.iter().find(|(word, _)| text(14) == Some(*word))?.1,
                reason: text(15)?.to_owned(),
            },
            _ => return None,
        };
        Some(Pending {
            seq: row.get_ref(0).ok()?.as_i64().ok()?.cast_unsigned(),
            table: text(1)?.to_owned(),
            key: text(2)?.to_owned(),
            file_path: text(3)?.to_owned(),
            task,
            state,
            since: Timestamp(row.get_ref(16).ok()?.as_i64().ok()?),
        })
    };
    Ok(match read() {
        Some(pending) => Ok(pending),
        None => Err(garbled(row, 1)?),
    })
}

pub(super) fn put_pending(
    statement: &mut Statement<'_>,
    seq: i64,
    pending: &Pending,
) -> Result<(), rusqlite::Error> {
    let (kind, content, stat, mapping, from) = match &pending.task {
        Task::Upsert {
            content,
            mapping,
            from,
        } => (
            UPSERT,
            Some(content),
            Some(content.stat),
            Some(mapping.cast_signed()),
            from.as_deref(),
        ),
        Task::Remove => (REMOVE, None, None, None, None),
        Task::Unreadable { stat } => (UNREADABLE, None, Some(*stat), None, None),
    };
    let (state, scope, reason) = of_state(&pending.state);
    let values: [&dyn ToSql; 17] = [
        &seq,
        &pending.table,
        &pending.key,
        &pending.file_path,
        &kind,
        &content.map(|content| Blob(&content.hash.0)),
        &stat.map(|stat| stat.size.cast_signed()),
        &stat.map(|stat| stat.mtime),
        &stat.map(|stat| stat.ctime),
        &stat.map(|stat| stat.inode.cast_signed()),
        &content.map(|content| content.settled),
        &mapping,
        &from,
        &state,
        &scope,
        &reason,
        &pending.since.0,
    ];
    statement.execute(&values[..])?;
    Ok(())
}

/// State, scope and reason as they are written.
pub(super) fn of_state(state: &State) -> (&'static str, Option<&'static str>, Option<&str>) {
    let word = state_word(state);
    match state {
        State::Due | State::Held | State::Confirmed => (word, None, None),
        State::Parked { scope, reason } => {
            let scope = SCOPES.iter().find(|(_, known)| known == scope);
            (word, scope.map(|(word, _)| *word), Some(reason))
        }
    }
}

struct Blob<'a>(&'a [u8]);

impl ToSql for Blob<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        Ok(ToSqlOutput::Owned(Value::Blob(self.0.to_vec())))
    }
}
