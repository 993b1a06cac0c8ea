//! What a target is sent: one document as one row.

use std::fmt;

use serde_json::{Map, Value};

use super::document::{self, Document, Frontmatter};
use super::table::{Field, Table};
use crate::time::Timestamp;

/// One document as a row of its table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which row: the text of the table's key column.
    pub key: String,
    /// The hash of the file's bytes, whether or not the table has a column for it.
    pub hash: ContentHash,
    /// A value for each column of the [`super::Table`], in its order: text, a number, an
    /// object for JSON, RFC 3339 for a time, `YYYY-MM-DD` for a date, or null.
    pub values: Vec<Value>,
}

/// The SHA-256 of a file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

// === impl Row ===

impl Row {
    /// The row of a document in its table, made at that time.
    #[must_use]
    pub fn of(
        table: &Table,
        file_path: &str,
        document: &Document<'_>,
        hash: ContentHash,
        now: Timestamp,
    ) -> Self {
        let values = table
            .columns()
            .iter()
            .map(|column| value(&column.field, file_path, document, hash, now));
        Self {
            key: key_of(table, file_path).to_owned(),
            hash,
            values: values.collect(),
        }
    }

    /// About how many bytes it has on its way.
    #[must_use]
    pub fn size(&self) -> usize {
        self.values.iter().map(size).sum::<usize>() + self.key.len()
    }
}

/// The key of a document's row: its path alone decides.
#[must_use]
pub fn key_of<'a>(table: &Table, file_path: &'a str) -> &'a str {
    match &table.columns()[table.key_index()].field {
        Field::FileName => document::file_name(file_path),
        Field::Code => document::code(file_path),
        Field::Name => document::name(file_path),
        // The others cannot be keys.
        Field::FilePath
        | Field::Title
        | Field::Content
        | Field::Body
        | Field::ContentHash
        | Field::Metadata
        | Field::Meta(_)
        | Field::UpdatedAt
        | Field::DeletedAt
        | Field::Date
        | Field::SessionNumber => file_path,
    }
}

fn value(
    field: &Field,
    file_path: &str,
    document: &Document<'_>,
    hash: ContentHash,
    now: Timestamp,
) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    match field {
        Field::FilePath => text(file_path),
        Field::FileName => text(document::file_name(file_path)),
        Field::Title => Value::String(document.title(file_path)),
        Field::Content => text(&document.text),
        Field::Body => text(document.body()),
        Field::ContentHash => Value::String(hash.to_string()),
        Field::Metadata => Value::Object(match &document.frontmatter {
            Frontmatter::Good(map) => map.clone(),
            Frontmatter::None | Frontmatter::Bad(_) => Map::new(),
        }),
        // What is no scalar is written as JSON: its column holds text.
        Field::Meta(key) => match document.meta(key) {
            None | Some(Value::Null) => Value::Null,
            Some(value) => {
                Value::String(document::plain_text(value).unwrap_or_else(|| value.to_string()))
            }
        },
        Field::UpdatedAt => Value::String(now.rfc3339_micros()),
        Field::DeletedAt => Value::Null,
        Field::Code => text(document::code(file_path)),
        Field::Name => text(document::name(file_path)),
        Field::Date => document::date(file_path).map_or(Value::Null, text),
        Field::SessionNumber => {
            document::session_number(file_path).map_or(Value::Null, Value::from)
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => values.iter().map(size).sum::<usize>() + 2,
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| key.len() + 4 + size(value))
            .sum(),
    }
}

// === impl ContentHash ===

impl ContentHash {
    /// Reads 64 hex digits, as a `content_hash` column holds them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sync::preset;
    use serde_json::json;

    const HASH: ContentHash = ContentHash([0xab; 32]);

    /// The row of a text as an object.
    fn row(table: &Table, file_path: &str, text: &str) -> Value {
        let document = Document::read(text.as_bytes());
        let row = Row::of(table, file_path, &document, HASH, Timestamp(0));
        assert_eq!(row.values.len(), table.columns().len());
        assert_eq!(row.values[table.key_index()], json!(row.key));
        let columns = table.columns().iter().map(|column| column.name.clone());
        Value::Object(columns.zip(row.values).collect())
    }

    #[test]
    fn the_default_row_has_the_six_columns() {
        let table = preset::plain("docs", false).unwrap();
        let text = "---\ntitle: A\nn: 1\n---\nbody";
        assert_eq!(
            row(&table, "docs/a.md", text),
            json!({
                "file_path": "docs/a.md",
                "title": "A",
                "content": text,
                "content_hash": "ab".repeat(32),
                "metadata": { "title": "A", "n": 1 },
                "updated_at": "1970-01-01T00:00:00.000000Z",
            })
        );
    }

    #[test]
    fn a_document_without_frontmatter_has_empty_metadata_and_its_name_as_title() {
        let table = preset::plain("docs", true).unwrap();
        let row = row(&table, "docs/deep/note.v2.md", "");
        assert_eq!(row["title"], json!("note.v2"));
        assert_eq!(row["metadata"], json!({}));
        assert_eq!(row["content"], json!(""));
        assert_eq!(row["deleted_at"], Value::Null);
    }

    #[test]
    fn a_value_of_the_frontmatter_is_text_in_a_column_of_its_own() {
        let columns = ["a", "b", "c", "d"].map(|key| crate::sync::Column {
            name: key.to_owned(),
            field: Field::Meta(key.to_owned()),
        });
        let mut columns = columns.to_vec();
        columns.push(crate::sync::Column {
            name: "file_path".to_owned(),
            field: Field::FilePath,
        });
        let table = Table::new("t", "file_path", columns).unwrap();
        let row = row(&table, "x.md", "---\na: 1\nb: [x, 2]\nc: ~\n---\n");
        assert_eq!(
            row,
            json!({ "a": "1", "b": "[\"x\",2]", "c": null, "d": null, "file_path": "x.md" })
        );
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let mut hash = ContentHash([0; 32]);
        hash.0[0] = 0xab;
        hash.0[31] = 0x01;
        let text = hash.to_string();
        assert!(text.starts_with("ab00") && text.ends_with("0001"));
        assert_eq!(ContentHash::parse(&text), Some(hash));
        assert_eq!(ContentHash::parse(&text.to_uppercase()), Some(hash));
        assert_eq!(ContentHash::parse(&text[1..]), None);
        assert_eq!(ContentHash::parse(&text.replace('a', "g")), None);
        assert_eq!(ContentHash::parse(&"é".repeat(32)), None);
    }
}
