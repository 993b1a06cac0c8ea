//! A table of a target: which of a document's facts stands in which column.

use std::fmt;

use super::manifest::mapping;

/// A table and its columns, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
    columns: Vec<Column>,
    /// The place of the key among the columns.
    key: usize,
    /// See [`mapping`]: asked for with every file.
    mapping: u64,
}

/// A column and what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What it is called there.
    pub name: String,
    /// What it holds.
    pub field: Field,
}

/// The facts of a document that a column can hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// Its path relative to the project's root, `/`-separated.
    FilePath,
    /// The name of its file.
    FileName,
    /// `title` of its frontmatter, else its file's name without the extension.
    Title,
    /// All of its text, frontmatter included.
    Content,
    /// Its text behind the frontmatter.
    Body,
    /// The SHA-256 of its bytes, in hex.
    ContentHash,
    /// Its frontmatter as an object; an empty one where there is none.
    Metadata,
    /// One value of its frontmatter, by its key.
    Meta(String),
    /// When the row was made.
    UpdatedAt,
    /// Empty while the file is there; when it was found gone, where `on_delete` is `tombstone`.
    DeletedAt,
    /// The number that its file's name begins with: `049`, `CS-042`.
    Code,
    /// Its file's name without the extension; of a `SKILL.md` the name of its folder.
    Name,
    /// The date in its file's name.
    Date,
    /// The number behind `session` in its file's name.
    SessionNumber,
}

/// What type a column needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text.
    Text,
    /// JSON.
    Json,
    /// A point in time.
    Time,
    /// A day.
    Date,
    /// A whole number.
    Integer,
}

/// Why there can be no such table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A name that we would have to quote everywhere.
    #[error("{0:?} is no name for a table or column")]
    Name(String),
    /// Two columns of that name.
    #[error("there are two columns {0:?}")]
    Twice(String),
    /// The key is none of the columns.
    #[error("the key {0:?} is none of the columns")]
    NoKey(String),
    /// The key's column does not tell documents apart.
    #[error("the key {0:?} holds the {1}, which does not tell documents apart")]
    BadKey(String, Field),
    /// Rows would be marked as deleted in several places.
    #[error("there are two columns for when a row was deleted")]
    TwoTombstones,
}

/// The longest name that PostgreSQL keeps whole (NAMEDATALEN − 1).
const LONGEST_NAME: usize = 63;

/// The words of all fields but [`Field::Meta`].
const FIELDS: [(&str, Field); 13] = [
    ("file_path", Field::FilePath),
    ("filename", Field::FileName),
    ("title", Field::Title),
    ("content", Field::Content),
    ("body", Field::Body),
    ("content_hash", Field::ContentHash),
    ("metadata", Field::Metadata),
    ("updated_at", Field::UpdatedAt),
    ("deleted_at", Field::DeletedAt),
    ("code", Field::Code),
    ("name", Field::Name),
    ("date", Field::Date),
    ("session_number", Field::SessionNumber),
];

// === impl Table ===

impl Table {
    /// A table with these columns, in their order.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn new(name: &str, key: &str, columns: Vec<Column>) -> Result<Self, TableError> {
        let names = columns.iter().map(|column| column.name.as_str());
        if let Some(bad) = names.chain([name]).find(|name| !is_name(name)) {
            return Err(TableError::Name(bad.to_owned()));
        }
        for (at, column) in columns.iter().enumerate() {
            if columns[..at].iter().any(|other| other.name == column.name) {
                return Err(TableError::Twice(column.name.clone()));
            }
        }
        let tombstones = columns
            .iter()
            .filter(|column| column.field == Field::DeletedAt);
        if tombstones.count() > 1 {
            return Err(TableError::TwoTombstones);
        }
        let found = columns.iter().position(|column| column.name == key);
        let key = found.ok_or_else(|| TableError::NoKey(key.to_owned()))?;
        if !columns[key].field.can_be_key() {
            let Column { name, field } = columns[key].clone();
            return Err(TableError::BadKey(name, field));
        }
        Ok(Self {
            mapping: mapping(name, &columns[key].name, &columns),
            name: name.to_owned(),
            columns,
            key,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns; a [`super::Row`] has a value for each, in this order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column that tells rows apart: unique, and what `on_conflict` names.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.columns[self.key].name
    }

    /// The place of the key among the columns.
    #[must_use]
    pub fn key_index(&self) -> usize {
        self.key
    }

    /// A number for its name, its key and its columns: other ones make another row of a file.
    #[must_use]
    pub fn mapping(&self) -> u64 {
        self.mapping
    }

    /// The column that holds a fact, where one does.
    #[must_use]
    pub fn column_of(&self, field: &Field) -> Option<&str> {
        let column = self.columns.iter().find(|column| column.field == *field)?;
        Some(&column.name)
    }

    /// The column with the hash of the bytes. Without it a damaged manifest cannot be rebuilt
    /// by asking the target, and everything is sent again.
    #[must_use]
    pub fn hash_column(&self) -> Option<&str> {
        self.column_of(&Field::ContentHash)
    }

    /// The column that is set when a row's file is gone, and empty otherwise.
    #[must_use]
    pub fn tombstone_column(&self) -> Option<&str> {
        self.column_of(&Field::DeletedAt)
    }
}

/// Whether a table or column may be called so: what needs no quotes in SQL and no escapes in a
/// URL, so that none can be forgotten.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && text.len() <= LONGEST_NAME && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

// === impl Field ===

impl Field {
    /// Reads a field as the configuration writes it: its word, or `metadata.KEY`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((_, field)) = FIELDS.iter().find(|(word, _)| *word == text) {
            return Some(field.clone());
        }
        let key = text.strip_prefix("metadata.")?;
        (!key.is_empty()).then(|| Self::Meta(key.to_owned()))
    }

    /// All words that the configuration knows.
    pub fn words() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|(word, _)| *word)
    }

    /// What type its column needs.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::FilePath
            | Self::FileName
            | Self::Title
            | Self::Content
            | Self::Body
            | Self::ContentHash
            | Self::Meta(_)
            | Self::Code
            | Self::Name => Kind::Text,
            Self::Metadata => Kind::Json,
            Self::UpdatedAt | Self::DeletedAt => Kind::Time,
            Self::Date => Kind::Date,
            Self::SessionNumber => Kind::Integer,
        }
    }

    /// Whether it can tell documents apart.
    fn can_be_key(&self) -> bool {
        match self {
            Self::FilePath | Self::FileName | Self::Code | Self::Name => true,
            Self::Title
            | Self::Content
            | Self::Body
            | Self::ContentHash
            | Self::Metadata
            | Self::Meta(_)
            | Self::UpdatedAt
            | Self::DeletedAt
            | Self::Date
            | Self::SessionNumber => false,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Meta(key) = self {
            return write!(f, "metadata.{key}");
        }
        let word = FIELDS.iter().find(|(_, field)| field == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, field: Field) -> Column {
        Column {
            name: name.to_owned(),
            field,
        }
    }

    #[test]
    fn every_field_is_read_as_it_is_written() {
        for (word, field) in FIELDS {
            assert_eq!(Field::parse(word), Some(field.clone()));
            assert_eq!(field.to_string(), word);
        }
        let meta = Field::parse("metadata.category").unwrap();
        assert_eq!(meta, Field::Meta("category".to_owned()));
        assert_eq!(meta.to_string(), "metadata.category");
        assert_eq!(Field::parse("metadata."), None);
        assert_eq!(Field::parse("contents"), None);
    }

    #[test]
    fn a_table_needs_a_key_among_its_columns_that_tells_documents_apart() {
        let columns = vec![column("path", Field::FilePath), column("t", Field::Title)];
        let table = Table::new("docs", "path", columns.clone()).unwrap();
        assert_eq!(table.key(), "path");
        assert_eq!(table.hash_column(), None);
        assert_eq!(
            Table::new("docs", "id", columns.clone()),
            Err(TableError::NoKey("id".to_owned()))
        );
        assert_eq!(
            Table::new("docs", "t", columns),
            Err(TableError::BadKey("t".to_owned(), Field::Title))
        );
    }

    #[test]
    fn a_name_that_would_need_quotes_is_refused() {
        for (name, good) in [
            ("protocols", true),
            ("_x9", true),
            ("Case_Studies", true),
            ("", false),
            ("9x", false),
            ("a-b", false),
            ("a b", false),
            ("a\"; drop table x", false),
            ("ü", false),
        ] {
            assert_eq!(is_name(name), good, "{name:?}");
            let columns = vec![column("file_path", Field::FilePath)];
            assert_eq!(Table::new(name, "file_path", columns).is_ok(), good);
        }
        assert!(is_name(&"x".repeat(63)) && !is_name(&"x".repeat(64)));
    }

    #[test]
    fn a_column_stands_there_once() {
        let twice = vec![column("a", Field::FilePath), column("a", Field::Title)];
        assert_eq!(
            Table::new("t", "a", twice),
            Err(TableError::Twice("a".to_owned()))
        );
        let tombstones = vec![
            column("a", Field::FilePath),
            column("b", Field::DeletedAt),
            column("c", Field::DeletedAt),
        ];
        assert_eq!(
            Table::new("t", "a", tombstones),
            Err(TableError::TwoTombstones)
        );
    }
}
