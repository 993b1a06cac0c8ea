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

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            keep: 7 * DAY,
            keep_rollups: 365 * DAY,
        }
    }
}

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>) -> HistorySettings {
    let keep = table.take("keep", |value| duration::at_least(value, LEAST));
    let keep_rollups = table.take("keep_rollups", |value| duration::at_least(value, DAY));
    let usual = HistorySettings::default();
    HistorySettings {
        keep: keep.or(usual.keep),
        keep_rollups: keep_rollups.or(usual.keep_rollups),
    }
}
