//! What is done with a table that is as it should be. Each in one transaction.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use rusqlite::{params_from_iter, types::ValueRef};

use supervisor_actors::ports::tables::Held;
use supervisor_core::Timestamp;
use supervisor_core::sync::{ContentHash, Table};

use super::{Trouble, make};

/// Inserts rows, or puts their values in place of what stands under their keys.
pub(super) fn upsert(
    connection: &mut Connection,
    table: &Table,
    rows: Vec<Vec<SqlValue>>,
) -> Result<(), Trouble> {
    let transaction = begin(connection)?;
    let (name, key) = (table.name(), table.key());
    let columns = quoted(table);
    let places = vec!["?"; columns.len()].join(", ");
    let set: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    let sql = format!(
        "INSERT INTO \"{name}\" ({}) VALUES ({places}) ON CONFLICT (\"{key}\") DO UPDATE SET {}",
        columns.join(", "),
        set.join(", ")
    );
    {
        let mut statement = transaction.prepare_cached(&sql)?;
        for row in rows {
            statement.execute(params_from_iter(row))?;
        }
    }
    Ok(transaction.commit()?)
}

/// Moves a row; not where there is none, or another has the new key.
pub(super) fn rename(
    connection: &mut Connection,
    table: &Table,
    from: &str,
    to: &str,
    row: Vec<SqlValue>,
) -> Result<bool, Trouble> {
    let transaction = begin(connection)?;
    let (name, key) = (table.name(), table.key());
    if from != to && exists(&transaction, table, to)? {
        return Ok(false);
    }
    let set: Vec<String> = quoted(table)
        .iter()
        .map(|column| format!("{column} = ?"))
        .collect();
    let sql = format!(
        "UPDATE \"{name}\" SET {} WHERE \"{key}\" = ?",
        set.join(", ")
    );
    let values = row.into_iter().chain([SqlValue::Text(from.to_owned())]);
    let moved = transaction
        .prepare_cached(&sql)?
        .execute(params_from_iter(values))?;
    transaction.commit()?;
    Ok(moved > 0)
}

/// Deletes rows; how many there were.
pub(super) fn delete(
    connection: &mut Connection,
    table: &Table,
    keys: &[String],
) -> Result<u64, Trouble> {
    let transaction = begin(connection)?;
    let sql = format!(
        "DELETE FROM \"{}\" WHERE \"{}\" = ?",
        table.name(),
        table.key()
    );
    let mut gone = 0;
    {
        let mut statement = transaction.prepare_cached(&sql)?;
        for key in keys {
            gone += statement.execute([key])?;
        }
    }
    transaction.commit()?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

/// Marks rows as deleted; how many there were, those marked before included.
pub(super) fn tombstone(
    connection: &mut Connection,
    table: &Table,
    keys: &[String],
    at: Timestamp,
) -> Result<u64, Trouble> {
    let column = table
        .tombstone_column()
        .ok_or_else(|| Trouble::Table("it has no column for when a row was deleted".to_owned()))?;
    let transaction = begin(connection)?;
    let sql = format!(
        "UPDATE \"{}\" SET \"{column}\" = coalesce(\"{column}\", ?) WHERE \"{}\" = ?",
        table.name(),
        table.key()
    );
    let at = at.rfc3339_micros();
    let mut marked = 0;
    {
        let mut statement = transaction.prepare_cached(&sql)?;
        for key in keys {
            marked += statement.execute(params![at, key])?;
        }
    }
    transaction.commit()?;
    Ok(u64::try_from(marked).unwrap_or(u64::MAX))
}

/// A page of what the table holds, by key.
pub(super) fn keys(
    connection: &Connection,
    table: &Table,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Held>, Trouble> {
    let (name, key) = (table.name(), table.key());
    let there = make::columns(connection, name)?;
    if !there.contains(key) {
        return Ok(Vec::new());
    }
    let hash = table
        .hash_column()
        .filter(|column| there.contains(column))
        .map_or_else(|| "NULL".to_owned(), |column| format!("\"{column}\""));
    let living = table
        .tombstone_column()
        .filter(|column| there.contains(column))
        .map_or_else(String::new, |column| format!("AND \"{column}\" IS NULL"));
    // A key is never null with us; somebody else's rows may be anything.
    let sql = format!(
        "SELECT \"{key}\", {hash} FROM \"{name}\"
         WHERE typeof(\"{key}\") = 'text' AND (?1 IS NULL OR \"{key}\" > ?1) {living}
         ORDER BY \"{key}\" LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let page = statement.query_map(params![after, limit], |row| {
        let hash = match row.get_ref(1)? {
            ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(ContentHash::parse),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
        };
        let key = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned();
        Ok(Held { key, hash })
    })?;
    Ok(page.collect::<Result<_, _>>()?)
}

fn exists(transaction: &Transaction<'_>, table: &Table, key: &str) -> Result<bool, Trouble> {
    let sql = format!(
        "SELECT 1 FROM \"{}\" WHERE \"{}\" = ?",
        table.name(),
        table.key()
    );
    let found = transaction
        .prepare_cached(&sql)?
        .query_row([key], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// At once with the lock for writing: to ask for it later could fail in the middle.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Trouble> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

fn quoted(table: &Table) -> Vec<String> {
    table
        .columns()
        .iter()
        .map(|column| format!("\"{}\"", column.name))
        .collect()
}
