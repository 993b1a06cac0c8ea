//! What is decided about the sync: which file belongs into which table, what its row is, what
//! differs, what is sent next, and what follows from a target's answer.
//!
//! ```text
//!  a path ──route──▶ a table       bytes ──document──▶ facts ──table──▶ a row
//!  manifest: what the target has taken        outbox: what it has still to take
//!  a target's answer ──verdict──▶ Refusal ──▶ again, smaller, split, or parked
//! ```

pub mod batch;
pub mod debounce;
pub mod document;
pub mod gate;
pub mod manifest;
pub mod outbox;
pub mod preset;
pub mod refusal;
pub mod retry_after;
pub mod route;
pub mod row;
pub mod said;
pub mod schema;
pub mod table;
pub mod verdict;
pub mod verify;

pub use batch::{Batch, Pace, Work};
pub use debounce::Debounce;
pub use document::{Document, Frontmatter};
pub use gate::Gate;
pub use manifest::{Stat, Taken};
pub use outbox::{Content, OnDelete, Pending, State, Task};
pub use refusal::{Alone, Refusal, Scope};
pub use route::{Ignored, Route, Routes};
pub use row::{ContentHash, Row};
pub use table::{Column, Field, Kind, Table};
