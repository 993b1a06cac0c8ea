//! A target of the sync: tables somewhere, whose rows are told apart by one column.

use futures_util::future::{LocalBoxFuture, ready};

use supervisor_core::Timestamp;
use supervisor_core::sync::{ContentHash, Refusal, Row, Table};

/// A target. All on the thread of the sync's actors; nothing here blocks it. A future that is
/// dropped is a request given up: the target may have done it or not, so everything here may
/// be done twice.
///
/// Every call is whole or nothing, where it answers with a refusal as well.
pub trait Tables {
    /// What it is, for people: `sqlite .supervisor/tables.db`, `supabase https://x.supabase.co`.
    fn describe(&self) -> String;

    /// Which tables these are: another word where the target is another, or has lost
    /// everything and begun anew. Then nothing is known of what it has taken.
    fn identity(&self) -> Taken<'_, String> {
        Box::pin(ready(Ok(self.describe())))
    }

    /// How much it is sent at once.
    fn appetite(&self) -> Appetite {
        Appetite::default()
    }

    /// Inserts the rows, or puts all their columns in place of what stands under their keys.
    /// The rows are sorted by key and no key is twice among them; there is at least one.
    fn upsert<'a>(&'a self, table: &'a Table, rows: &'a [Row]) -> Taken<'a, ()>;

    /// Moves the row under `from` to that of `row`, all columns set, keeping whatever other
    /// columns the target has. `false` where there was none to move, or the new key is taken:
    /// then nothing has happened.
    fn rename<'a>(&'a self, table: &'a Table, from: &'a str, row: &'a Row) -> Taken<'a, bool>;

    /// Deletes the rows under these keys (at least one, sorted, none twice); how many were
    /// there. One that can still be seen afterwards (a policy protects it) is a refusal.
    fn delete<'a>(&'a self, table: &'a Table, keys: &'a [String]) -> Taken<'a, u64>;

    /// Marks the rows under these keys as deleted at that time, in the table's tombstone
    /// column; how many were there. Rows that are marked already keep their time and count.
    fn tombstone<'a>(
        &'a self,
        table: &'a Table,
        keys: &'a [String],
        at: Timestamp,
    ) -> Taken<'a, u64>;

    /// A page of what the table holds, rows with a tombstone left out: keys beyond `after` in
    /// the target's own order, at most `limit`. A page may be shorter than that; only an
    /// empty one is the end.
    fn keys<'a>(
        &'a self,
        table: &'a Table,
        after: Option<&'a str>,
        limit: u32,
    ) -> Taken<'a, Vec<Held>>;
}

/// How much a target is sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appetite {
    /// So many rows in one request at most.
    pub rows: usize,
    /// So many requests side by side.
    pub requests: usize,
}

impl Default for Appetite {
    /// That of PostgREST: more rows in a request, or more requests, gain nothing (PROTOCOLS 6).
    fn default() -> Self {
        Self {
            rows: 100,
            requests: 4,
        }
    }
}

/// What a target answers.
pub type Taken<'a, T> = LocalBoxFuture<'a, Result<T, Refusal>>;

/// A row that a target holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its key.
    pub key: String,
    /// Its hash; nothing where it has none, or the table no column for it.
    pub hash: Option<ContentHash>,
}
