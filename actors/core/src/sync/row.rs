//! What a target is sent: one document as one row.

use std::fmt;

use serde_json::Value;

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
