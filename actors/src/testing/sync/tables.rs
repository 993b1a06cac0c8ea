//! A target in memory, which refuses what it is told to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt as _;

use supervisor_core::Timestamp;
use supervisor_core::sync::{ContentHash, Refusal, Row, Table};
use supervisor_core::time::Mono;

use super::disk::hash;
use super::row;
use crate::ports::Clock;
use crate::ports::tables::{self, Held, Tables};
use crate::testing::FakeClock;

/// Tables in memory, which refuse what they are told to.
pub struct FakeTables {
    clock: Arc<FakeClock>,
    inner: RefCell<Target>,
}

struct Target {
    rows: BTreeMap<(String, String), Vec<serde_json::Value>>,
    hashes: BTreeMap<(String, String), ContentHash>,
    calls: Vec<(Mono, Call)>,
    /// Answers to the next calls, whatever they are.
    script: VecDeque<Refusal>,
    /// Whatever is called is answered so.
    always: Option<Refusal>,
    /// Keys that no batch may hold.
    bad: BTreeSet<String>,
    /// So many rows at most.
    most: usize,
    delay: Duration,
    identity: String,
    in_flight: BTreeSet<(String, String)>,
    most_in_flight: usize,
    requests: usize,
    /// A batch is done and its answer lost.
    swallow: u32,
}

/// What the target was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Rows of a table, by key.
    Upsert(String, Vec<String>),
    /// A row's move.
    Rename(String, String, String),
    /// Deletions.
    Delete(String, Vec<String>),
    /// Tombstones.
    Tombstone(String, Vec<String>),
    /// A page of keys.
    Keys(String),
}

impl FakeTables {
    pub(super) fn new(clock: Arc<FakeClock>) -> Self {
        Self {
            clock,
            inner: RefCell::new(Target {
                rows: BTreeMap::new(),
                hashes: BTreeMap::new(),
                calls: Vec::new(),
                script: VecDeque::new(),
                always: None,
                bad: BTreeSet::new(),
                most: usize::MAX,
                delay: Duration::from_millis(10),
                identity: "fake".to_owned(),
                in_flight: BTreeSet::new(),
                most_in_flight: 0,
                requests: 0,
                swallow: 0,
            }),
        }
    }

    /// The next calls are refused so, one each.
    pub fn refuse(&self, refusals: impl IntoIterator<Item = Refusal>) {
        self.inner.borrow_mut().script.extend(refusals);
    }

    /// From now on every call is refused so, or none any more.
    pub fn refuse_all(&self, refusal: Option<Refusal>) {
        self.inner.borrow_mut().always = refusal;
    }

    /// No batch with this key is taken: all of it is rolled back.
    pub fn spoil(&self, key: &str, bad: bool) {
        let bads = &mut self.inner.borrow_mut().bad;
        if bad {
            bads.insert(key.to_owned());
        } else {
            bads.remove(key);
        }
    }

    /// Takes so many rows at once and no more.
    pub fn take_at_most(&self, rows: usize) {
        self.inner.borrow_mut().most = rows;
    }

    /// From now on a call takes so long.
    pub fn delay(&self, delay: Duration) {
        self.inner.borrow_mut().delay = delay;
    }

    /// It loses everything and begins anew.
    pub fn lose(&self) {
        let mut target = self.inner.borrow_mut();
        target.rows.clear();
        target.hashes.clear();
        target.identity.push('x');
    }

    /// The next calls are done, and their answers lost.
    pub fn swallow(&self, calls: u32) {
        self.inner.borrow_mut().swallow = calls;
    }

    /// Somebody put a row there.
    pub fn put(&self, table: &str, key: &str, hash: ContentHash) {
        let mut target = self.inner.borrow_mut();
        target.rows.insert(row(table, key), Vec::new());
        target.hashes.insert(row(table, key), hash);
    }

    /// The hash that a text's row has.
    #[must_use]
    pub fn hash_of(text: &str) -> ContentHash {
        hash(text.as_bytes())
    }

    /// All calls since the last time, with their times.
    pub fn calls(&self) -> Vec<(Mono, Call)> {
        std::mem::take(&mut self.inner.borrow_mut().calls)
    }

    /// The text of each row (`content`), by key.
    #[must_use]
    pub fn texts(&self, table: &str) -> BTreeMap<String, String> {
        let target = self.inner.borrow();
        let rows = target.rows.iter().filter(|((of, _), _)| of == table);
        rows.map(|((_, key), values)| {
            let content = values.get(2).and_then(serde_json::Value::as_str);
            (key.clone(), content.unwrap_or_default().to_owned())
        })
        .collect()
    }

    /// How many calls were under way at once at most.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.inner.borrow().most_in_flight
    }

    /// A call: waits, and may be refused.
    async fn call(&self, call: Call, keys: &[String], table: &str) -> Result<bool, Refusal> {
        let delay = {
            let mut target = self.inner.borrow_mut();
            target.calls.push((self.clock.mono(), call));
            for key in keys {
                let new = target.in_flight.insert(row(table, key));
                assert!(new, "{table} {key} is in flight twice");
            }
            target.requests += 1;
            target.most_in_flight = target.most_in_flight.max(target.requests);
            target.delay
        };
        tokio::time::sleep(delay).await;
        let mut target = self.inner.borrow_mut();
        target.requests -= 1;
        for key in keys {
            target.in_flight.remove(&row(table, key));
        }
        if let Some(refusal) = target.script.pop_front().or_else(|| target.always.clone()) {
            return Err(refusal);
        }
        if keys.len() > target.most {
            return Err(Refusal::Smaller {
                alone: supervisor_core::sync::Alone::Park,
                why: "too much".to_owned(),
            });
        }
        if keys.iter().any(|key| target.bad.contains(key)) {
            return Err(Refusal::Split {
                why: "a bad row".to_owned(),
            });
        }
        let lost = target.swallow > 0;
        target.swallow = target.swallow.saturating_sub(1);
        Ok(lost)
    }
}

fn lost<T>(lost: bool, answer: T) -> Result<T, Refusal> {
    if lost {
        return Err(Refusal::Retry {
            after: None,
            why: "the answer was lost".to_owned(),
        });
    }
    Ok(answer)
}

impl Tables for FakeTables {
    fn describe(&self) -> String {
        "fake".to_owned()
    }

    fn identity(&self) -> tables::Taken<'_, String> {
        let identity = self.inner.borrow().identity.clone();
        let refusal = self.inner.borrow().always.clone();
        async move {
            match refusal {
                Some(refusal @ Refusal::Retry { .. }) => Err(refusal),
                Some(_) | None => Ok(identity),
            }
        }
        .boxed_local()
    }

    fn upsert<'a>(&'a self, table: &'a Table, new: &'a [Row]) -> tables::Taken<'a, ()> {
        async move {
            let keys: Vec<String> = new.iter().map(|row| row.key.clone()).collect();
            assert!(
                !keys.is_empty() && keys.is_sorted_by(|a, b| a < b),
                "{keys:?}"
            );
            let call = Call::Upsert(table.name().to_owned(), keys.clone());
            let answer_lost = self.call(call, &keys, table.name()).await?;
            let mut target = self.inner.borrow_mut();
            for one in new {
                target
                    .rows
                    .insert(row(table.name(), &one.key), one.values.clone());
                target.hashes.insert(row(table.name(), &one.key), one.hash);
            }
            lost(answer_lost, ())
        }
        .boxed_local()
    }

    fn rename<'a>(
        &'a self,
        table: &'a Table,
        from: &'a str,
        new: &'a Row,
    ) -> tables::Taken<'a, bool> {
        async move {
            let name = table.name();
            let call = Call::Rename(name.to_owned(), from.to_owned(), new.key.clone());
            let keys = [from.to_owned(), new.key.clone()];
            let answer_lost = self.call(call, &keys, name).await?;
            let mut target = self.inner.borrow_mut();
            let free = !target.rows.contains_key(&row(name, &new.key));
            let moved = free && target.rows.remove(&row(name, from)).is_some();
            if moved {
                target.hashes.remove(&row(name, from));
                target.rows.insert(row(name, &new.key), new.values.clone());
                target.hashes.insert(row(name, &new.key), new.hash);
            }
            lost(answer_lost, moved)
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, table: &'a Table, keys: &'a [String]) -> tables::Taken<'a, u64> {
        async move {
            let call = Call::Delete(table.name().to_owned(), keys.to_vec());
            let answer_lost = self.call(call, keys, table.name()).await?;
            let mut target = self.inner.borrow_mut();
            let mut count = 0;
            for key in keys {
                count += u64::from(target.rows.remove(&row(table.name(), key)).is_some());
                target.hashes.remove(&row(table.name(), key));
            }
            lost(answer_lost, count)
        }
        .boxed_local()
    }

    fn tombstone<'a>(
        &'a self,
        table: &'a Table,
        keys: &'a [String],
        at: Timestamp,
    ) -> tables::Taken<'a, u64> {
        async move {
            let call = Call::Tombstone(table.name().to_owned(), keys.to_vec());
            let answer_lost = self.call(call, keys, table.name()).await?;
            let mut target = self.inner.borrow_mut();
            let mut count = 0;
            for key in keys {
                if let Some(values) = target.rows.get_mut(&row(table.name(), key)) {
                    count += 1;
                    if let Some(last) = values.last_mut() {
                        *last = at.rfc3339().into();
                    }
                }
            }
            lost(answer_lost, count)
        }
        .boxed_local()
    }

    fn keys<'a>(
        &'a self,
        table: &'a Table,
        after: Option<&'a str>,
        limit: u32,
    ) -> tables::Taken<'a, Vec<Held>> {
        async move {
            self.call(Call::Keys(table.name().to_owned()), &[], table.name())
                .await?;
            let target = self.inner.borrow();
            let all = target.hashes.iter().filter(|((of, key), _)| {
                of == table.name() && after.is_none_or(|after| key.as_str() > after)
            });
            let page = all.take(limit as usize).map(|((_, key), hash)| Held {
                key: key.clone(),
                hash: Some(*hash),
            });
            Ok(page.collect())
        }
        .boxed_local()
    }
}
