//! The columns that tables have unless the configuration says otherwise.

use super::table::{Column, Field, Table, TableError};

/// Column and field of the same name: what every table has.
const PLAIN: [Field; 6] = [
    Field::FilePath,
    Field::Title,
    Field::Content,
    Field::ContentHash,
    Field::Metadata,
    Field::UpdatedAt,
];

/// What Athena's tables have in common; they know no hash and no time.
const ATHENA: [Field; 4] = [
    Field::FilePath,
    Field::Title,
    Field::Content,
    Field::Metadata,
];

/// The default columns, keyed by `file_path`; with `tombstones` one for when a row's file was
/// found gone.
///
/// # Errors
/// Where the name is none for a table.
pub fn plain(name: &str, tombstones: bool) -> Result<Table, TableError> {
    build(name, &Field::FilePath, PLAIN.to_vec(), tombstones)
}

/// The columns and the key that an Athena project has in a table of that name.
///
/// # Errors
/// Where the name is none for a table.
pub fn athena(name: &str, tombstones: bool) -> Result<Table, TableError> {
    let (key, more): (_, &[Field]) = match name {
        "protocols" => (Field::FilePath, &[Field::Code, Field::Name]),
        "case_studies" => (Field::FilePath, &[Field::Code]),
        "capabilities" | "workflows" | "frameworks" | "playbooks" | "references" => {
            (Field::FilePath, &[Field::Name])
        }
        "sessions" => (Field::FilePath, &[Field::Date, Field::SessionNumber]),
        "system_docs" => (Field::FilePath, &[Field::FileName]),
        // One document of a name each, wherever it lies.
        "memory_bank" | "user_profile" => (Field::FileName, &[Field::FileName]),
        _ => (Field::FilePath, &[]),
    };
    let fields = ATHENA.iter().chain(more).cloned().collect();
    build(name, &key, fields, tombstones)
}

fn build(
    name: &str,
    key: &Field,
    mut fields: Vec<Field>,
    tombstones: bool,
) -> Result<Table, TableError> {
    if tombstones {
        fields.push(Field::DeletedAt);
    }
    let columns = fields.into_iter().map(|field| Column {
        name: field.to_string(),
        field,
    });
    Table::new(name, &key.to_string(), columns.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(table: &Table) -> Vec<&str> {
        let columns = table.columns().iter();
        columns.map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn athenas_tables_have_what_their_users_have() {
        let common = ["file_path", "title", "content", "metadata"];
        for (name, key, more) in [
            ("protocols", "file_path", &["code", "name"][..]),
            ("case_studies", "file_path", &["code"]),
            ("capabilities", "file_path", &["name"]),
            ("sessions", "file_path", &["date", "session_number"]),
            ("system_docs", "file_path", &["filename"]),
            ("user_profile", "filename", &["filename"]),
            ("memory_bank", "filename", &["filename"]),
            ("anything_else", "file_path", &[]),
        ] {
            let table = athena(name, false).unwrap();
            assert_eq!(table.key(), key, "{name}");
            let expected: Vec<_> = common.iter().chain(more).copied().collect();
            assert_eq!(names(&table), expected, "{name}");
        }
    }

    #[test]
    fn tombstones_need_a_column() {
        let table = plain("docs", true).unwrap();
        assert_eq!(table.tombstone_column(), Some("deleted_at"));
        assert_eq!(plain("docs", false).unwrap().tombstone_column(), None);
        assert_eq!(table.hash_column(), Some("content_hash"));
    }
}
