//! Making a table as the configuration wants it, or an older one fit.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use supervisor_core::sync::{Kind, Table};

use super::{Open, Trouble};

/// Whether there is an index that makes this column alone unique.
const IS_UNIQUE: &str = "
    SELECT 1 FROM pragma_index_list(?1) AS list
    WHERE list.\"unique\" AND NOT list.partial
      AND (SELECT count(*) FROM pragma_index_info(list.name)) = 1
      AND (SELECT name FROM pragma_index_info(list.name)) = ?2";

/// Names of columns.
pub(super) struct Columns(Vec<String>);

/// Gives a new database a number of its own, in the field that SQLite leaves to its users:
/// who finds another one knows that everything was begun anew.
pub(super) fn identify(connection: &Connection) -> Result<(), rusqlite::Error> {
    if identity(connection)? == 0 {
        let number: u32 =
            connection.query_row("SELECT abs(random() % 2147483647) + 1", [], |row| {
                row.get(0)
            })?;
        connection.pragma_update(None, "user_version", number)?;
    }
    Ok(())
}

/// That number.
pub(super) fn identity(connection: &Connection) -> Result<u32, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

impl Open {
    /// Sees to it that the table is there and has its columns and its key.
    pub(super) fn prepare(&mut self, table: &Table) -> Result<(), Trouble> {
        if self.made.get(table.name()) == Some(table) {
            return Ok(());
        }
        make(&mut self.connection, table)?;
        self.made.insert(table.name().to_owned(), table.clone());
        Ok(())
    }
}

/// Names are checked when a [`Table`] is built, so that quotes around them suffice.
fn make(connection: &mut Connection, table: &Table) -> Result<(), Trouble> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (name, key) = (table.name(), table.key());
    let declared: Vec<String> = table
        .columns()
        .iter()
        .map(|column| format!("\"{}\" {}", column.name, type_of(column.field.kind())))
        .collect();
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS \"{name}\" ({})",
        declared.join(", ")
    ))?;
    let there = columns(&transaction, name)?;
    for (column, declared) in table.columns().iter().zip(&declared) {
        if !there.contains(&column.name) {
            transaction.execute_batch(&format!("ALTER TABLE \"{name}\" ADD COLUMN {declared}"))?;
        }
    }
    let unique = transaction
        .prepare(IS_UNIQUE)?
        .query_row([name, key], |_| Ok(()))
        .optional()?;
    if unique.is_none() {
        transaction
            .execute_batch(&format!(
                "CREATE UNIQUE INDEX \"{name}_{key}_key\" ON \"{name}\" (\"{key}\")"
            ))
            .map_err(|error| match error {
                rusqlite::Error::SqliteFailure(failure, _)
                    if failure.code == rusqlite::ErrorCode::ConstraintViolation =>
                {
                    Trouble::Table(format!(
                        "{key} cannot become its key: some rows share theirs"
                    ))
                }
                other => other.into(),
            })?;
    }
    transaction.commit()?;
    Ok(())
}

/// The columns that a table has; none where there is no such table.
pub(super) fn columns(connection: &Connection, table: &str) -> Result<Columns, rusqlite::Error> {
    let mut statement = connection.prepare_cached("SELECT name FROM pragma_table_info(?1)")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(Columns(names.collect::<Result<_, _>>()?))
}

impl Columns {
    /// Whether there is one of this name, as SQLite compares names.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|other| other.eq_ignore_ascii_case(name))
    }
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Json | Kind::Time | Kind::Date => "TEXT",
        Kind::Integer => "INTEGER",
    }
}
