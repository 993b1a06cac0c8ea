//! Where the history of services is kept, minute by minute.

use futures_util::future::BoxFuture;

use supervisor_core::history::Slice;
use supervisor_core::{ServiceName, Timestamp};

use super::StoreError;

/// Keeps and reads the history. From any thread; nothing here blocks.
pub trait History: Send + Sync {
    /// Takes a minute of all services. Where there is no room for it it is lost, and the
    /// history says so.
    fn keep(&self, minutes: Minutes);

    /// Reads the history of a service.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read(&self, query: HistoryQuery) -> BoxFuture<'static, Result<Page, StoreError>>;

    /// Deletes what is older of a service. Answers how many stretches went.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn delete(
        &self,
        service: ServiceName,
        before: Timestamp,
    ) -> BoxFuture<'static, Result<u64, StoreError>>;
}

/// A minute of all services.
#[derive(Debug, Clone, PartialEq)]
pub struct Minutes {
    /// Which, counted from the Unix epoch.
    pub minute: i64,
    /// When what it holds began …
    pub since: Timestamp,
    /// … and ended: not to the second at the minute's own bounds.
    pub until: Timestamp,
    /// Whose.
    pub slices: Vec<(ServiceName, Slice)>,
}

/// Which history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Whose.
    pub service: ServiceName,
    /// From that minute on (counted from the Unix epoch), …
    pub from: i64,
    /// … up to before that one, …
    pub to: i64,
    /// … in steps of so many minutes, which begin at multiples of it.
    pub step: i64,
    /// The present minute: uptime is told up to now.
    pub now: i64,
}

/// The history of a service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// Each step of which anything is known, by its first minute, the oldest first.
    pub points: Vec<(i64, Slice)>,
    /// When nothing was recorded, of anybody, the oldest first.
    pub gaps: Vec<Gap>,
    /// The share of the judged time in which it was up: the last day, 7 days, 30 days.
    pub uptime: [Option<f64>; 3],
}

/// A time of which nothing is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Why.
    pub reason: String,
}
