//! `[history]`: for how long what happened is kept.

use std::time::Duration;

use super::duration;
use super::reader::Table;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The dashboard shows an hour minute by minute.
const LEAST: Duration = Duration::from_secs(3600);

/// For how long what happened is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistorySettings {
    /// Events, and the history minute by minute.
    pub(crate) keep: Duration,
    /// The history hour by hour. Days are kept for ever.
    pub(crate) keep_rollups: Duration,
}

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>) -> HistorySettings {
    let keep = table.take("keep", |value| duration::at_least(value, LEAST));
    let keep_rollups = table.take("keep_rollups", |value| duration::at_least(value, DAY));
    HistorySettings {
        keep: keep.or(7 * DAY),
        keep_rollups: keep_rollups.or(365 * DAY),
    }
}
