//! A history in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use supervisor_core::history::Slice;
use supervisor_core::{ServiceName, Timestamp};

use crate::ports::StoreError;
use crate::ports::history::{History, HistoryQuery, Minutes, Page};

/// Keeps every minute. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryHistory(Arc<Mutex<Vec<Minutes>>>);

impl MemoryHistory {
    fn lock(&self) -> MutexGuard<'_, Vec<Minutes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was kept, in order.
    #[must_use]
    pub fn minutes(&self) -> Vec<Minutes> {
        self.lock().clone()
    }

    /// All that was kept of a service, by minute.
    #[must_use]
    pub fn of(&self, name: &str) -> Vec<(i64, Slice)> {
        let minutes = self.lock();
        let of = |one: &Minutes| {
            let slices = one
                .slices
                .iter()
                .filter(|(other, _)| other.as_str() == name);
            let minute = one.minute;
            slices
                .map(move |(_, slice)| (minute, slice.clone()))
                .collect::<Vec<_>>()
        };
        minutes.iter().flat_map(of).collect()
    }
}

impl History for MemoryHistory {
    fn keep(&self, minutes: Minutes) {
        self.lock().push(minutes);
    }

    fn read(&self, query: HistoryQuery) -> BoxFuture<'static, Result<Page, StoreError>> {
        let asked = query.from..query.to;
        let mut points: Vec<(i64, Slice)> = Vec::new();
        for (minute, slice) in self.of(query.service.as_str()) {
            let start = minute - minute.rem_euclid(query.step);
            if !asked.contains(&minute) {
                continue;
            }
            match points.last_mut() {
                Some((last, sum)) if *last == start => sum.merge(&slice),
                Some(_) | None => points.push((start, slice)),
            }
        }
        let mut all = Slice::default();
        points.iter().for_each(|(_, slice)| all.merge(slice));
        let page = Page {
            points,
            gaps: Vec::new(),
            uptime: [all.uptime(); 3],
        };
        ready(Ok(page)).boxed()
    }

    fn delete(
        &self,
        service: ServiceName,
        before: Timestamp,
    ) -> BoxFuture<'static, Result<u64, StoreError>> {
        let mut deleted = 0;
        for minutes in self.lock().iter_mut() {
            if minutes.until <= before {
                let all = minutes.slices.len();
                minutes.slices.retain(|(name, _)| *name != service);
                deleted += (all - minutes.slices.len()) as u64;
            }
        }
        ready(Ok(deleted)).boxed()
    }
}
