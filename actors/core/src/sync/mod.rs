//! What is decided about the sync: which file belongs into which table, what its row is, what
//! differs, what is sent next, and what follows from a target's answer.
//!
//! ```text
//!  a path ──route──▶ a table       bytes ──document──▶ facts ──table──▶ a row
//!  manifest: what the target has taken        outbox: what it has still to take
//!  a target's answer ──verdict──▶ Refusal ──▶ again, smaller, split, or parked
//! ```

pub mod refusal;
pub mod retry_after;
pub mod row;
pub mod said;
pub mod schema;
pub mod table;
pub mod verdict;

pub use refusal::{Alone, Refusal, Scope};
pub use row::{ContentHash, Row};
pub use table::{Column, Field, Kind, Table};
