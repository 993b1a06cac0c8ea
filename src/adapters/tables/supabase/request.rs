//! Requests to PostgREST as text: addresses with their filters, and bodies.
//!
//! Names of tables and columns need no escapes (`is_name`); keys need two layers of them. In
//! a list (`in.("a","b")`) each stands in quotes, with `"` and `\` behind a backslash; alone
//! (`eq.a`) it stands as it is. Either is then percent-encoded.

use std::fmt::Write as _;

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use supervisor_core::sync::{Row, Table};

/// How long an address may be: what edges and proxies before a project take. PostgREST itself
/// takes more than 40 KB.
pub(super) const MOST_ADDRESS_BYTES: usize = 6_000;

/// Where rows are inserted or replaced. A value that a row lacks is null: all columns are named.
pub(super) fn upsert(base: &str, table: &Table) -> String {
    format!(
        "{}?on_conflict={}&columns={}",
        place(base, table),
        table.key(),
        columns(table)
    )
}

/// The row under a key.
pub(super) fn one(base: &str, table: &Table, key: &str) -> String {
    format!("{}?{}=eq.{}", place(base, table), table.key(), encoded(key))
}

/// The rows under some keys, as many requests as the length of an address makes necessary,
/// each with its keys and with `more` behind it. There is always a filter: without one, a
/// DELETE would empty the table.
pub(super) fn some<'a>(
    base: &str,
    table: &Table,
    keys: &'a [String],
    more: &str,
) -> Vec<(String, &'a [String])> {
    let head = format!("{}?{}=in.(", place(base, table), table.key());
    let mut requests = Vec::new();
    let mut rest = keys;
    while !rest.is_empty() {
        let mut address = head.clone();
        let mut taken = 0;
        for key in rest {
            let comma = if taken == 0 { "" } else { "," };
            let item = format!("{comma}{}", encoded(&quoted(key)));
            let length = address.len() + item.len() + 1 + more.len();
            // One alone goes whatever its length: it cannot be cut.
            if taken > 0 && length > MOST_ADDRESS_BYTES {
                break;
            }
            address.push_str(&item);
            taken += 1;
        }
        address.push(')');
        address.push_str(more);
        let (these, others) = rest.split_at(taken);
        requests.push((address, these));
        rest = others;
    }
    requests
}

/// A page of keys and hashes beyond a key.
pub(super) fn page(base: &str, table: &Table, after: Option<&str>, limit: u32) -> String {
    let key = table.key();
    let mut address = format!("{}?select={key}", place(base, table));
    if let Some(hash) = table.hash_column() {
        let _ = write!(address, ",{hash}");
    }
    if let Some(column) = table.tombstone_column() {
        let _ = write!(address, "&{column}=is.null");
    }
    if let Some(after) = after {
        let _ = write!(address, "&{key}=gt.{}", encoded(after));
    }
    let _ = write!(address, "&order={key}.asc&limit={limit}");
    address
}

/// Rows as an array of objects.
pub(super) fn rows(table: &Table, rows: &[Row]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Rows { table, rows })
}

/// One row as an object.
pub(super) fn row(table: &Table, row: &Row) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Object {
        table,
        values: &row.values,
    })
}

struct Rows<'a> {
    table: &'a Table,
    rows: &'a [Row],
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut array = to.serialize_seq(Some(self.rows.len()))?;
        for row in self.rows {
            array.serialize_element(&Object {
                table: self.table,
                values: &row.values,
            })?;
        }
        array.end()
    }
}

struct Object<'a> {
    table: &'a Table,
    values: &'a [Value],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut object = to.serialize_map(Some(self.values.len()))?;
        for (column, value) in self.table.columns().iter().zip(self.values) {
            object.serialize_entry(&column.name, value)?;
        }
        object.end()
    }
}

fn place(base: &str, table: &Table) -> String {
    format!("{base}/rest/v1/{}", table.name())
}

fn columns(table: &Table) -> String {
    let names: Vec<&str> = table
        .columns()
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    names.join(",")
}

/// A value of a list.
fn quoted(key: &str) -> String {
    let mut text = String::with_capacity(key.len() + 2);
    text.push('"');
    for c in key.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

/// All but the unreserved characters of RFC 3986, and `/`, which a query may hold.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use supervisor_core::sync::{Column, ContentHash, Field};

    use super::*;

    const BASE: &str = "https://x.supabase.co";

    fn table(fields: &[(&str, Field)]) -> Table {
        let columns = fields
            .iter()
            .map(|(name, field)| Column {
                name: (*name).to_owned(),
                field: field.clone(),
            })
            .collect();
        Table::new("docs", "file_path", columns).unwrap()
    }

    fn docs() -> Table {
        table(&[
            ("file_path", Field::FilePath),
            ("title", Field::Title),
            ("hash", Field::ContentHash),
            ("gone", Field::DeletedAt),
        ])
    }

    fn keys(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_upsert_names_the_key_and_every_column() {
        assert_eq!(
            upsert(BASE, &docs()),
            "https://x.supabase.co/rest/v1/docs?on_conflict=file_path&columns=file_path,title,hash,gone"
        );
    }

    #[test]
    fn keys_in_a_list_are_quoted_and_encoded() {
        let keys = keys(&["a/b c.md", "q\"\\,().md", "ü+&=%.md"]);
        let requests = some(BASE, &docs(), &keys, "&gone=is.null");
        assert_eq!(requests.len(), 1);
        assert_eq!(
            requests[0].0,
            "https://x.supabase.co/rest/v1/docs?file_path=in.(%22a/b%20c.md%22,%22q%5C%22%5C%5C%2C%28%29.md%22,%22%C3%BC%2B%26%3D%25.md%22)&gone=is.null"
        );
    }

    #[test]
    fn an_address_stays_short_and_no_key_is_lost() {
        let all: Vec<String> = (0..500)
            .map(|n| format!("protocols/{n:03}/ünïcode name.md"))
            .collect();
        let requests = some(BASE, &docs(), &all, "");
        assert!(requests.len() > 1);
        let mut seen = Vec::new();
        for (address, keys) in &requests {
            assert!(address.len() <= MOST_ADDRESS_BYTES, "{}", address.len());
            assert!(address.contains("?file_path=in.(%22") && address.ends_with("%22)"));
            seen.extend(keys.iter().cloned());
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_key_that_is_too_long_for_company_goes_alone() {
        let long = "ü".repeat(2_000);
        let all = keys(&["a", &long, "b"]);
        let requests = some(BASE, &docs(), &all, "");
        let counts: Vec<usize> = requests.iter().map(|(_, keys)| keys.len()).collect();
        assert_eq!(counts, [1, 1, 1]);
    }

    #[test]
    fn without_keys_there_is_no_request_that_could_lack_a_filter() {
        assert!(some(BASE, &docs(), &[], "").is_empty());
    }

    #[test]
    fn a_page_asks_for_what_lives_beyond_a_key() {
        assert_eq!(
            page(BASE, &docs(), Some("a b.md"), 100),
            "https://x.supabase.co/rest/v1/docs?select=file_path,hash&gone=is.null&file_path=gt.a%20b.md&order=file_path.asc&limit=100"
        );
        let plain = table(&[("file_path", Field::FilePath)]);
        assert_eq!(
            page(BASE, &plain, None, 5),
            "https://x.supabase.co/rest/v1/docs?select=file_path&order=file_path.asc&limit=5"
        );
    }

    #[test]
    fn rows_are_objects_with_every_column() {
        let row = Row {
            key: "a".to_owned(),
            hash: ContentHash([0; 32]),
            values: vec![
                json!("a"),
                json!("\u{0}\"\u{2028}"),
                json!(null),
                json!({"b": 1}),
            ],
        };
        let body = rows(&docs(), &[row.clone(), row.clone()]).unwrap();
        let one =
            json!({"file_path": "a", "title": "\u{0}\"\u{2028}", "hash": null, "gone": {"b": 1}});
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!([one, one])
        );
        let alone = super::row(&docs(), &row).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&alone).unwrap(), one);
    }
}
