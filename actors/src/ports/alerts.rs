//! Where alerts go, and where they are kept until they have gone.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use supervisor_core::alert::{Alert, AlertId, Notice, Silence, SilenceId, SinkName};

use super::StoreError;

/// Delivers alerts to one place. All on the thread of the actors; nothing here blocks it. A
/// future that is dropped is an attempt given up: the place may have taken it or not, so it
/// must tell messages apart by the alert's id and serial.
pub trait AlertSink {
    /// Delivers one message.
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>>;

    /// How often a firing alert must be said again for the place's own sake, where it forgets
    /// what it does not hear.
    fn refresh(&self) -> Option<Duration> {
        None
    }
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Undelivered {
    /// A sentence for people, without any secret.
    pub reason: String,
    /// What to do with it.
    pub fate: Fate,
}

/// What is done with a message that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Try again, not before that time if the place has named one.
    Again {
        /// The place's own wish, already capped.
        after: Option<Duration>,
    },
    /// It would be refused for ever: dropped, with a word in the log and the history.
    Never,
}

/// Keeps alerts, silences and undelivered messages. Blocking: called on a blocking thread. What
/// is committed survives a loss of power, too.
pub trait AlertStore: Send {
    /// Reads what was kept.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn load(&mut self) -> Result<Kept, StoreError>;

    /// Writes a batch in one transaction.
    ///
    /// # Errors
    /// Where it could not be written, whole.
    fn commit(&mut self, batch: &AlertBatch) -> Result<(), StoreError>;

    /// Alerts, resolved ones too, the newest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn alerts(&mut self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError>;
}

/// What an earlier supervisor left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// The open alerts.
    pub alerts: Vec<Alert>,
    /// The silences.
    pub silences: Vec<Silence>,
    /// The messages that no sink has taken yet, in order.
    pub queue: Vec<Delivery>,
    /// The highest numbers ever given away: alerts, silences, deliveries.
    pub last: (AlertId, SilenceId, u64),
}

/// One message on its way to one sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its number: grows.
    pub number: u64,
    /// To whom.
    pub sink: SinkName,
    /// What.
    pub notice: Notice,
}

/// What one transaction changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertBatch {
    /// Alerts as they are now; the last of each counts.
    pub alerts: Vec<Alert>,
    /// New silences.
    pub silences: Vec<Silence>,
    /// Silences that are over.
    pub ended: Vec<SilenceId>,
    /// New messages.
    pub queue: Vec<Delivery>,
    /// Messages that were taken, or dropped for good.
    pub done: Vec<u64>,
}

/// Which alerts are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertQuery {
    /// Only those with a smaller number.
    pub before: Option<AlertId>,
    /// Only this one.
    pub id: Option<AlertId>,
    /// Only of this service.
    pub service: Option<String>,
    /// At most so many.
    pub limit: u32,
}

impl AlertBatch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            alerts,
            silences,
            ended,
            queue,
            done,
        } = self;
        alerts.is_empty()
            && silences.is_empty()
            && ended.is_empty()
            && queue.is_empty()
            && done.is_empty()
    }

    /// Appends what came later.
    pub fn append(&mut self, later: Self) {
        self.alerts.extend(later.alerts);
        self.silences.extend(later.silences);
        self.ended.extend(later.ended);
        self.queue.extend(later.queue);
        self.done.extend(later.done);
    }

    /// Leaves out what later parts of it undo: while a disk is full, it must not grow with
    /// every message.
    pub fn condense(&mut self) {
        let mut seen = std::collections::HashSet::new();
        self.alerts.reverse();
        self.alerts.retain(|alert| seen.insert(alert.id));
        self.alerts.reverse();
        let done: std::collections::HashSet<_> = self.done.iter().copied().collect();
        self.queue.retain(|one| !done.contains(&one.number));
    }
}
