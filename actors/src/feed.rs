//! The feed: what changes, for whoever looks on, kept just long enough that nobody need look
//! all the time.
//!
//! ```text
//!   Supervisor ── services, four times a second ──┐
//!   Archive ───── recorded events ────────────────┤──▶ Feed ◀── read from a position on ── streams
//!   Alerter ───── alerts ─────────────────────────┘
//! ```
//!
//! Every piece of news has a number; a stream is no more than the number that it has come to.
//! Of a service only the latest news is kept: who reads slowly skips what was outrun meanwhile,
//! and nothing grows with the number of those who read. Events, alerts and farewells are each
//! news of their own, the last [`MOST_EVENTS`] of them; whoever is further behind has lost
//! something, and is told so.
//!
//! While nobody looks on the feed is off: then it costs an atomic load where something changes.
//! It stays on for a while after the last one has left, so that one whose connection broke goes
//! on where it was.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use supervisor_core::alert::Alert;
use supervisor_core::view::View;
use supervisor_core::{ServiceName, Timestamp};

use crate::ports::EventRow;

/// How many events, alerts and farewells are kept.
pub const MOST_EVENTS: usize = 16_384;
/// And how much they may take, in bytes of what they say: anybody may report errors with long
/// messages, and each is kept as it is and as the text that is sent.
pub const MOST_BYTES: usize = 8 << 20;

/// What has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A service is like this now.
    Service(Box<View>),
    /// A service is watched no longer.
    Removed(ServiceName),
    /// Something was recorded.
    Event(Box<EventRow>),
    /// An alert is like this now.
    Alert(Box<Alert>),
}

/// A piece of news and its number.
#[derive(Debug)]
pub struct Item {
    /// Grows by time, also over the lives of supervisors.
    pub id: u64,
    /// What.
    pub news: News,
    text: OnceLock<Box<str>>,
}

/// What changes, from any thread.
#[derive(Debug)]
pub struct Feed {
    on: AtomicBool,
    readers: AtomicUsize,
    kept: Mutex<Kept>,
    /// The last number, for those who wait for more.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    items: BTreeMap<u64, Arc<Item>>,
    /// The news of each service.
    services: HashMap<ServiceName, u64>,
    /// The numbers of all others, and what each takes.
    events: VecDeque<(u64, usize)>,
    /// What these take together.
    bytes: usize,
    last: u64,
    /// Whoever has come less far has lost something.
    floor: u64,
}

/// Somebody who looks on, and how far they have come.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    at: u64,
    newest: watch::Receiver<u64>,
}

/// Who reads has come less far than what is still kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind;

// === impl News ===

impl News {
    /// What it takes for as long as it is kept; nothing of a service, of which only the latest is.
    fn bytes(&self) -> Option<usize> {
        /// Of what is short.
        const REST: usize = 256;
        let words = match self {
            Self::Service(_) => return None,
            Self::Removed(_) => 0,
            Self::Event(row) => row.reason.len(),
            Self::Alert(alert) => alert.reason.len() + alert.members.len() * 64,
        };
        // Once as it is, once as text.
        Some(REST + 2 * words)
    }
}

// === impl Item ===

impl Item {
    /// The news as text, which is made once for all who read it.
    pub fn text(&self, make: impl FnOnce(&News) -> String) -> &str {
        self.text.get_or_init(|| make(&self.news).into_boxed_str())
    }
}

// === impl Feed ===

impl Feed {
    /// An idle one. Its numbers begin with the microseconds of the date: those of an earlier
    /// supervisor are smaller, and a number of theirs is not mistaken for one of ours.
    #[must_use]
    pub fn new(now: Timestamp) -> Arc<Self> {
        let last = u64::try_from(now.0).unwrap_or(1);
        Arc::new(Self {
            on: AtomicBool::new(false),
            readers: AtomicUsize::new(0),
            kept: Mutex::new(Kept {
                items: BTreeMap::new(),
                services: HashMap::new(),
                events: VecDeque::new(),
                bytes: 0,
                last,
                floor: last,
            }),
            newest: watch::Sender::new(last),
        })
    }

    /// Whether anybody looks on, or has until a moment ago.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// How many look on.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    /// One more looks on, from now on.
    #[must_use]
    pub fn read(self: &Arc<Self>) -> Reader {
        self.reader(None).0
    }

    /// One more looks on, from that number on if all that came after it is still kept. Says
    /// whether it is.
    #[must_use]
    pub fn read_after(self: &Arc<Self>, id: u64) -> (Reader, bool) {
        self.reader(Some(id))
    }

    fn reader(self: &Arc<Self>, after: Option<u64>) -> (Reader, bool) {
        let mut kept = self.kept();
        self.readers.fetch_add(1, Ordering::Relaxed);
        if !self.on.swap(true, Ordering::Relaxed) {
            // What changed while nobody looked on is unknown, to those too who were there before.
            kept.last += 1;
            kept.floor = kept.last;
        }
        let held = after.filter(|id| (kept.floor..=kept.last).contains(id));
        let reader = Reader {
            feed: Arc::clone(self),
            at: held.unwrap_or(kept.last),
            newest: self.newest.subscribe(),
        };
        (reader, held.is_some())
    }

    /// Forgets everything if nobody looks on.
    pub(crate) fn rest(&self) {
        let mut kept = self.kept();
        if self.readers() == 0 {
            self.on.store(false, Ordering::Relaxed);
            kept.items = BTreeMap::new();
            kept.services = HashMap::new();
            kept.events = VecDeque::new();
            kept.bytes = 0;
        }
    }

    /// Tells news, if anybody looks on.
    pub(crate) fn tell(&self, news: impl IntoIterator<Item = News>) {
        if !self.is_on() {
            return;
        }
        let mut kept = self.kept();
        let before = kept.last;
        for news in news {
            kept.add(news);
        }
        let last = kept.last;
        drop(kept);
        if last != before {
            self.newest.send_replace(last);
        }
    }

    /// Tells one piece of news, which is made only if anybody looks on.
    pub(crate) fn tell_if(&self, make: impl FnOnce() -> News) {
        if self.is_on() {
            self.tell([make()]);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, news: News) {
        self.last += 1;
        let id = self.last;
        let outrun = match &news {
            News::Service(view) => self.services.insert(view.name.clone(), id),
            News::Removed(name) => self.services.remove(name),
            News::Event(_) | News::Alert(_) => None,
        };
        if let Some(outrun) = outrun {
            self.items.remove(&outrun);
        }
        let bytes = news.bytes();
        let text = OnceLock::new();
        self.items.insert(id, Arc::new(Item { id, news, text }));
        if let Some(bytes) = bytes {
            self.events.push_back((id, bytes));
            self.bytes += bytes;
        }
        while self.events.len() > MOST_EVENTS || self.bytes > MOST_BYTES {
            let Some((lost, bytes)) = self.events.pop_front() else {
                break;
            };
            self.bytes -= bytes;
            self.items.remove(&lost);
            self.floor = self.floor.max(lost);
        }
    }
}

// === impl Reader ===

impl Reader {
    /// The number that it has come to.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// What came since, in order: at most so many.
    ///
    /// # Errors
    /// Where some of it is no longer kept.
    pub fn next(&mut self, most: usize) -> Result<Vec<Arc<Item>>, Behind> {
        // Seen before it is read, so that what comes meanwhile wakes us again.
        self.newest.borrow_and_update();
        let kept = self.feed.kept();
        if self.at < kept.floor {
            return Err(Behind);
        }
        let items: Vec<_> = kept
            .items
            .range(self.at + 1..)
            .take(most)
            .map(|(_, item)| Arc::clone(item))
            .collect();
        self.at = items.last().map_or(kept.last, |item| item.id);
        Ok(items)
    }

    /// Waits for more than has been read. Giving up and waiting again misses nothing.
    pub async fn wait(&mut self) {
        if self.newest.changed().await.is_err() {
            // We hold the feed, and with it the sender: it cannot be gone.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.feed.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: i64) -> News {
        News::Event(Box::new(EventRow {
            id: n,
            time: String::new(),
            service: "a".to_owned(),
            kind: "error".to_owned(),
            from: None,
            to: None,
            reason: String::new(),
        }))
    }

    fn gone(name: &str) -> News {
        News::Removed(ServiceName::new(name).expect("a name"))
    }

    fn numbers(reader: &mut Reader) -> Vec<i64> {
        let items = reader.next(100).expect("nothing is lost");
        let number = |item: &Arc<Item>| match &item.news {
            News::Event(row) => row.id,
            News::Service(_) | News::Removed(_) | News::Alert(_) => -1,
        };
        items.iter().map(number).collect()
    }

    #[test]
    fn everybody_reads_everything_once_in_order() {
        let feed = Feed::new(Timestamp(7));
        feed.tell([event(0)]);
        let (mut one, mut other) = (feed.read(), feed.read());
        assert_eq!(numbers(&mut one), [0_i64; 0], "nobody looked on");
        feed.tell([event(1), event(2)]);
        assert_eq!(numbers(&mut one), [1, 2]);
        feed.tell([event(3)]);
        assert_eq!(numbers(&mut one), [3]);
        assert_eq!(numbers(&mut other), [1, 2, 3]);
        assert_eq!(numbers(&mut other), [0_i64; 0]);
    }

    #[test]
    fn one_whose_connection_broke_goes_on_where_it_was() {
        let feed = Feed::new(Timestamp(7));
        let mut reader = feed.read();
        feed.tell([event(1), event(2)]);
        let first = reader.next(1).expect("kept")[0].id;
        drop(reader);
        feed.tell([event(3)]);
        let (mut again, held) = feed.read_after(first);
        assert!(held);
        assert_eq!(numbers(&mut again), [2, 3]);
        assert!(!feed.read_after(first + 100).1, "a number of nobody");
    }

    #[test]
    fn after_a_time_without_readers_everybody_begins_anew() {
        let feed = Feed::new(Timestamp(7));
        let reader = feed.read();
        feed.rest();
        assert!(feed.is_on(), "somebody looks on");
        let at = reader.position();
        drop(reader);
        feed.rest();
        assert!(!feed.is_on());
        feed.tell([event(1)]);
        let (mut again, held) = feed.read_after(at);
        assert!(!held);
        assert_eq!(numbers(&mut again), [0_i64; 0]);
    }

    #[test]
    fn f69_long_messages_push_each_other_out() {
        let feed = Feed::new(Timestamp(7));
        let mut slow = feed.read();
        let long = |n| match event(n) {
            News::Event(row) => News::Event(Box::new(EventRow {
                reason: "x".repeat(10_000),
                ..*row
            })),
            other => other,
        };
        feed.tell((0..2_000).map(long));
        let kept = feed.kept();
        assert!(kept.bytes <= MOST_BYTES);
        assert!(kept.events.len() > 300, "{}", kept.events.len());
        assert_eq!(kept.items.len(), kept.events.len());
        drop(kept);
        assert_eq!(slow.next(1).expect_err("the first is lost"), Behind);
        // One that is larger than all together leaves nothing behind, and breaks nothing.
        let mut reader = feed.read();
        feed.tell([News::Event(Box::new(EventRow {
            id: 1,
            time: String::new(),
            service: "a".to_owned(),
            kind: "error".to_owned(),
            from: None,
            to: None,
            reason: "x".repeat(MOST_BYTES),
        }))]);
        assert_eq!(feed.kept().bytes, 0);
        assert_eq!(reader.next(1).expect_err("it was lost"), Behind);
        feed.tell([event(2)]);
        assert_eq!(feed.kept().items.len(), 1);
    }

    #[test]
    fn f69_who_reads_nothing_costs_nothing_and_is_told_what_it_lost() {
        let feed = Feed::new(Timestamp(7));
        let mut slow = feed.read();
        let most = i64::try_from(MOST_EVENTS).expect("a small number");
        feed.tell((0..most).map(event));
        assert!(feed.read_after(slow.position()).1);
        feed.tell([gone("b")]);
        assert_eq!(slow.next(1).expect_err("the first is lost"), Behind);
        assert_eq!(feed.kept().items.len(), MOST_EVENTS);
    }
}
