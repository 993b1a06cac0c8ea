//! The courier of one sink: brings it its messages one after another, and tries again.
//!
//! A message that the sink refuses for good is dropped; one that it cannot take now holds up
//! those behind it, for a resolution must not arrive before its alert.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use supervisor_core::alert::{Alert, AlertId, Notice, NoticeKind, SinkName};
use supervisor_core::backoff::Backoff;
use supervisor_core::time::Mono;

use crate::messages::Delivered;
use crate::ports::alerts::{AlertSink, Delivery, Fate, Undelivered};

/// The pause after a failure, at first and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// By what share a pause may differ: after an outage of a server that many of us use, we
/// must not all come at once.
const JITTER: f64 = 0.3;
/// Sinks have timeouts of their own; this is for one that forgets it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many messages wait for one sink at most. Beyond that only the newest of each alert is
/// kept: what happened meanwhile stands in the history.
const MOST: usize = 1_000;

/// Brings one sink its messages.
pub(super) struct Courier {
    name: SinkName,
    sink: Rc<dyn AlertSink>,
    queue: VecDeque<Delivery>,
    /// The number of the message that is under way.
    busy: Option<u64>,
    /// Attempts in a row that failed, and since when.
    failures: u32,
    since: Option<Mono>,
    reason: String,
    /// Not before then.
    until: Mono,
    /// Whether its failing was told as an alert.
    told: bool,
    /// When what is firing was last said again.
    refreshed: Mono,
    backoff: Backoff,
}

/// How an errand ended.
pub(super) enum Outcome {
    /// It arrived; `recovered`: after a failing that was told.
    Taken { recovered: bool },
    /// It is refused for good.
    Dropped { id: AlertId, reason: String },
    /// It is tried again after a pause; `said`: worth a word in the log.
    Again {
        after: Duration,
        said: bool,
        reason: String,
    },
}

/// The errand: a delivery under way.
pub(super) type Errand = LocalBoxFuture<'static, Delivered>;

impl Courier {
    pub(super) fn new(name: SinkName, sink: Rc<dyn AlertSink>) -> Self {
        Self {
            name,
            sink,
            queue: VecDeque::new(),
            busy: None,
            failures: 0,
            since: None,
            reason: String::new(),
            until: Mono(0),
            told: false,
            refreshed: Mono(0),
            backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX, 2.0, JITTER, PAUSE_MAX)
                .expect("a valid backoff"),
        }
    }

    /// Gives the numbers of those that it supersedes: they are not delivered any more.
    pub(super) fn take(&mut self, delivery: Delivery) -> Vec<u64> {
        let mut superseded = Vec::new();
        if self.queue.len() >= MOST {
            let id = delivery.notice.alert.id;
            let busy = self.busy;
            self.queue.retain(|one| {
                let older = one.notice.alert.id == id && Some(one.number) != busy;
                if older {
                    superseded.push(one.number);
                }
                !older
            });
        }
        self.queue.push_back(delivery);
        superseded
    }

    /// The next delivery, if it is at home, has one, and need not wait.
    pub(super) fn go(&mut self, now: Mono) -> Option<(u64, Errand)> {
        if self.busy.is_some() || now < self.until {
            return None;
        }
        let next = self.queue.front()?;
        self.busy = Some(next.number);
        Some((next.number, self.errand(next.notice.clone())))
    }

    fn errand(&self, notice: Notice) -> Errand {
        let errand = self.sink.deliver(notice);
        Box::pin(async move {
            match tokio::time::timeout(PATIENCE, errand).await {
                Ok(done) => done,
                Err(_elapsed) => Err(Undelivered {
                    reason: format!("it did not answer within {} s", PATIENCE.as_secs()),
                    fate: Fate::Again { after: None },
                }),
            }
        })
    }

    /// A message beside the queue, to see whether it arrives.
    pub(super) fn test(&self, alert: Alert, kind: NoticeKind) -> Errand {
        let to = vec![self.name.clone()];
        self.errand(Notice { kind, alert, to })
    }

    pub(super) fn came_back(
        &mut self,
        number: u64,
        result: Delivered,
        now: Mono,
        roll: f64,
    ) -> Outcome {
        self.busy = None;
        let outcome = match result {
            Ok(()) => Outcome::Taken {
                recovered: std::mem::take(&mut self.told),
            },
            Err(Undelivered {
                reason,
                fate: Fate::Never,
            }) => {
                let front = self.queue.front();
                let id = front.map_or(AlertId(0), |front| front.notice.alert.id);
                // It answers: the message is at fault, not the sink.
                Outcome::Dropped { id, reason }
            }
            Err(Undelivered {
                reason,
                fate: Fate::Again { after },
            }) => {
                self.since.get_or_insert(now);
                let pause = self.backoff.delay(self.failures.saturating_add(1), roll);
                let after = after.map_or(pause, |wish| wish.max(pause));
                self.failures = self.failures.saturating_add(1);
                self.until = now + after;
                let said = self.reason != reason;
                self.reason.clone_from(&reason);
                return Outcome::Again {
                    after,
                    said,
                    reason,
                };
            }
        };
        if self
            .queue
            .front()
            .is_some_and(|front| front.number == number)
        {
            self.queue.pop_front();
        }
        self.failures = 0;
        self.since = None;
        self.reason.clear();
        outcome
    }

    /// What it says of a failing that has lasted so long; once.
    pub(super) fn fails_for(&mut self, now: Mono, long: Duration) -> Option<String> {
        let since = self.since?;
        let lasted = now.since(since);
        if self.told || lasted < long {
            return None;
        }
        self.told = true;
        Some(format!(
            "sink {} has taken nothing for {} min, {} messages wait: {}",
            self.name,
            lasted.as_secs() / 60,
            self.queue.len(),
            self.reason
        ))
    }

    /// Whether its sink forgets what it does not hear again.
    pub(super) fn wants_ticks(&self) -> bool {
        self.sink.refresh().is_some() || self.since.is_some()
    }

    /// Queues what is firing once more, where the sink wants that. Not kept: the next one comes
    /// by itself.
    pub(super) fn refresh<'a>(&mut self, now: Mono, firing: impl Iterator<Item = &'a Alert>) {
        let Some(every) = self.sink.refresh() else {
            return;
        };
        if now.since(self.refreshed) < every || !self.queue.is_empty() {
            return;
        }
        self.refreshed = now;
        self.queue.extend(firing.map(|alert| Delivery {
            number: 0,
            sink: self.name.clone(),
            notice: Notice {
                kind: NoticeKind::Repeated,
                alert: alert.clone(),
                to: vec![self.name.clone()],
            },
        }));
    }
}

/// A sink whose code panicked.
pub(super) fn panicked(text: &str) -> Undelivered {
    Undelivered {
        reason: format!("its code panicked: {text}"),
        fate: Fate::Again { after: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use supervisor_core::Timestamp;

    /// A sink that answers nothing.
    struct Silent;

    impl AlertSink for Silent {
        fn deliver(&self, _notice: Notice) -> LocalBoxFuture<'static, Delivered> {
            Box::pin(std::future::pending())
        }
    }

    fn courier() -> Courier {
        Courier::new("ops".into(), Rc::new(Silent))
    }

    fn delivery(number: u64, id: u64) -> Delivery {
        let mut alert = Alert::example(Timestamp(0));
        alert.id = AlertId(id);
        Delivery {
            number,
            sink: "ops".into(),
            notice: Notice {
                kind: NoticeKind::Firing,
                alert,
                to: Vec::new(),
            },
        }
    }

    fn numbers(courier: &Courier) -> Vec<u64> {
        courier.queue.iter().map(|one| one.number).collect()
    }

    #[test]
    fn nothing_is_superseded_while_there_is_room() {
        let mut courier = courier();
        for number in 1..=MOST as u64 {
            assert_eq!(courier.take(delivery(number, 7)), [0; 0]);
        }
        assert_eq!(courier.queue.len(), MOST);
    }

    #[test]
    fn a_full_queue_gives_up_the_older_messages_of_the_same_alert_by_number() {
        let mut courier = courier();
        for number in 1..=MOST as u64 {
            // Of alert 1 there are the messages 10, 20, 30 and so on.
            let alert = if number % 10 == 0 { 1 } else { 2 };
            courier.take(delivery(number, alert));
        }
        let superseded = courier.take(delivery(5_000, 1));
        let tens: Vec<u64> = (1..=MOST as u64 / 10).map(|n| n * 10).collect();
        assert_eq!(superseded, tens);
        assert_eq!(courier.queue.len(), MOST - tens.len() + 1);
        assert_eq!(numbers(&courier).last(), Some(&5_000), "its order is kept");
    }

    #[actix_rt::test]
    async fn what_is_under_way_is_not_superseded_for_it_may_be_taken() {
        let mut courier = courier();
        for number in 1..=MOST as u64 {
            courier.take(delivery(number, 1));
        }
        let under_way = courier.go(Mono(0)).map(|(number, _)| number);
        assert_eq!(under_way, Some(1));
        let superseded = courier.take(delivery(5_000, 1));
        assert_eq!(superseded.len(), MOST - 1);
        assert_eq!(numbers(&courier), [1, 5_000]);
        let outcome = courier.came_back(1, Ok(()), Mono(0), 0.5);
        assert!(matches!(outcome, Outcome::Taken { recovered: false }));
        assert_eq!(numbers(&courier), [5_000]);
    }
}
