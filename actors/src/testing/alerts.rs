//! Alerts: a store in memory, and sinks that are told what to answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use supervisor_core::alert::{Alert, AlertId, Notice, Phase, Silence, SilenceId};

use crate::ports::StoreError;
use crate::ports::alerts::{
    AlertBatch, AlertQuery, AlertSink, AlertStore, Delivery, Fate, Kept, Undelivered,
};

/// Kept alerts in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryAlerts(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    alerts: BTreeMap<AlertId, Alert>,
    silences: BTreeMap<SilenceId, Silence>,
    queue: BTreeMap<u64, Delivery>,
    last: u64,
    failure: Option<StoreError>,
    /// How long a commit takes, in real time.
    delay: Duration,
}

impl MemoryAlerts {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing can be written; `None`: it can again.
    pub fn fail(&self, failure: Option<StoreError>) {
        self.lock().failure = failure;
    }

    /// From now on a commit takes so long, in real time.
    pub fn delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// Whether that message is kept for its sinks.
    fn holds(&self, notice: &Notice) -> bool {
        self.lock().queue.values().any(|one| one.notice == *notice)
    }

    /// How many messages wait for their sinks.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().queue.len()
    }
}

impl AlertStore for MemoryAlerts {
    fn load(&mut self) -> Result<Kept, StoreError> {
        let contents = self.lock();
        let open = |alert: &&Alert| alert.phase != Phase::Resolved;
        let last_alert = contents.alerts.keys().max().copied().unwrap_or_default();
        let last_silence = contents.silences.keys().max().copied().unwrap_or_default();
        Ok(Kept {
            alerts: contents.alerts.values().filter(open).cloned().collect(),
            silences: contents.silences.values().cloned().collect(),
            queue: contents.queue.values().cloned().collect(),
            last: (last_alert, last_silence, contents.last),
        })
    }

    fn commit(&mut self, batch: &AlertBatch) -> Result<(), StoreError> {
        let delay = self.lock().delay;
        std::thread::sleep(delay);
        let mut contents = self.lock();
        if let Some(failure) = &contents.failure {
            return Err(failure.clone());
        }
        for alert in &batch.alerts {
            contents.alerts.insert(alert.id, alert.clone());
        }
        for silence in &batch.silences {
            contents.silences.insert(silence.id, silence.clone());
        }
        for id in &batch.ended {
            contents.silences.remove(id);
        }
        for delivery in &batch.queue {
            contents.last = contents.last.max(delivery.number);
            contents.queue.insert(delivery.number, delivery.clone());
        }
        for number in &batch.done {
            contents.queue.remove(number);
        }
        Ok(())
    }

    fn alerts(&mut self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        let contents = self.lock();
        let all = contents.alerts.values().rev();
        let fits = |alert: &&Alert| {
            query.before.is_none_or(|before| alert.id < before)
                && query.id.is_none_or(|id| alert.id == id)
                && query
                    .service
                    .as_ref()
                    .is_none_or(|name| alert.subject.to_string() == *name)
        };
        Ok(all
            .filter(fits)
            .take(query.limit as usize)
            .cloned()
            .collect())
    }
}

/// A sink that is told what to answer. Clones share it.
#[derive(Clone, Default)]
pub struct FakeSink(Rc<RefCell<Answers>>);

#[derive(Default)]
struct Answers {
    got: Vec<Notice>,
    refusal: Option<Undelivered>,
    hangs: bool,
    panics: bool,
    refresh: Option<Duration>,
    /// Where everything must be kept before it comes here.
    record: Option<MemoryAlerts>,
    unkept: Vec<Notice>,
}

impl FakeSink {
    /// What it has taken, as `kind subject level`.
    #[must_use]
    pub fn got(&self) -> Vec<String> {
        let line = |notice: &Notice| {
            let alert = &notice.alert;
            let (kind, level) = (notice.kind.as_str(), alert.level.as_str());
            format!("{kind} {} {level}", alert.subject)
        };
        self.0.borrow().got.iter().map(line).collect()
    }

    /// What it has taken, whole.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.0.borrow().got.clone()
    }

    /// From now on it refuses, for now.
    pub fn refuse(&self, reason: &str) {
        self.0.borrow_mut().refusal = Some(Undelivered {
            reason: reason.to_owned(),
            fate: Fate::Again { after: None },
        });
    }

    /// From now on it refuses for good.
    pub fn refuse_for_good(&self, reason: &str) {
        self.0.borrow_mut().refusal = Some(Undelivered {
            reason: reason.to_owned(),
            fate: Fate::Never,
        });
    }

    /// From now on it takes everything.
    pub fn accept(&self) {
        let mut answers = self.0.borrow_mut();
        answers.refusal = None;
        answers.hangs = false;
        answers.panics = false;
    }

    /// From now on it takes a message and never answers.
    pub fn hang(&self) {
        self.0.borrow_mut().hangs = true;
    }

    /// From now on its code panics.
    pub fn panic(&self) {
        self.0.borrow_mut().panics = true;
    }

    /// From now on it looks whether what comes is kept there.
    pub fn compares_with(&self, record: &MemoryAlerts) {
        self.0.borrow_mut().record = Some(record.clone());
    }

    /// What came though it was not kept.
    #[must_use]
    pub fn unkept(&self) -> Vec<Notice> {
        self.0.borrow().unkept.clone()
    }

    /// It forgets what it does not hear so often.
    pub fn forgets(&self, after: Duration) {
        self.0.borrow_mut().refresh = Some(after);
    }
}

impl AlertSink for FakeSink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let sink = self.clone();
        Box::pin(async move {
            let hangs = {
                let answers = sink.0.borrow();
                assert!(!answers.panics, "the sink was told to panic");
                answers.hangs
            };
            if hangs {
                std::future::pending::<()>().await;
            }
            let mut answers = sink.0.borrow_mut();
            if answers
                .record
                .as_ref()
                .is_some_and(|record| !record.holds(&notice))
            {
                answers.unkept.push(notice.clone());
            }
            match &answers.refusal {
                Some(refusal) => Err(refusal.clone()),
                None => {
                    answers.got.push(notice);
                    Ok(())
                }
            }
        })
    }

    fn refresh(&self) -> Option<Duration> {
        self.0.borrow().refresh
    }
}
