//! A probe that sees what a test tells it to.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::time::sleep;

use supervisor_core::time::Mono;

use crate::ports::{Check, Look};
use crate::probe::{Places, Plan, begin};
use crate::source::{Ear, Listening, Source};
use crate::spec::ServiceSpec;

/// A probe for tests. Clones share what they see and what was seen.
#[derive(Debug, Clone)]
pub struct FakeProbe {
    plan: Plan,
    places: Places,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    /// What it sees next, and then; at the end for good.
    sees: Vec<Look>,
    takes: Duration,
    panics: bool,
    ear: Option<Ear>,
    looks: Vec<Mono>,
    under_way: u32,
    most_under_way: u32,
    given_up: u32,
}

impl FakeProbe {
    /// One that looks that often, and sees that all is well, at once.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self {
            plan: Plan {
                interval,
                timeout: interval.min(Duration::from_secs(2)),
                failure_threshold: 1,
                success_threshold: 1,
            },
            places: Places::new(100),
            inner: Arc::new(Mutex::new(Inner {
                sees: vec![Look::Passed],
                takes: Duration::ZERO,
                panics: false,
                ear: None,
                looks: Vec::new(),
                under_way: 0,
                most_under_way: 0,
                given_up: 0,
            })),
        }
    }

    /// The same with these thresholds.
    #[must_use]
    pub fn with_thresholds(mut self, failures: u32, successes: u32) -> Self {
        self.plan.failure_threshold = failures;
        self.plan.success_threshold = successes;
        self
    }

    /// The same, with places that it shares with others.
    #[must_use]
    pub fn with_places(mut self, places: &Places) -> Self {
        self.places = places.clone();
        self
    }

    /// From the next look on it sees that, for good.
    pub fn sees(&self, look: Look) {
        self.sees_in_turn(vec![look]);
    }

    /// From the next look on it sees these, the last for good.
    pub fn sees_in_turn(&self, looks: Vec<Look>) {
        self.inner().sees = looks;
    }

    /// From the next look on it takes so long.
    pub fn takes(&self, time: Duration) {
        self.inner().takes = time;
    }

    /// Its next look panics.
    pub fn panics_once(&self) {
        self.inner().panics = true;
    }

    /// When it looked, since it was asked last.
    #[must_use]
    pub fn looks(&self) -> Vec<Mono> {
        std::mem::take(&mut self.inner().looks)
    }

    /// How many looks were under way at once, at most.
    #[must_use]
    pub fn most_under_way(&self) -> u32 {
        self.inner().most_under_way
    }

    /// How many looks are under way now.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.inner().under_way
    }

    /// How many looks were given up.
    #[must_use]
    pub fn given_up(&self) -> u32 {
        self.inner().given_up
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check for FakeProbe {
    fn look(&self) -> LocalBoxFuture<'static, Look> {
        let (sees, takes) = {
            let mut inner = self.inner();
            let now = inner.ear.as_ref().map(|ear| ear.clock().mono());
            inner.looks.push(now.unwrap_or_default());
            let panics = std::mem::replace(&mut inner.panics, false);
            assert!(!panics, "the probe was told to panic");
            inner.under_way += 1;
            inner.most_under_way = inner.most_under_way.max(inner.under_way);
            let sees = match inner.sees.as_slice() {
                [last] => last.clone(),
                _ => inner.sees.remove(0),
            };
            (sees, inner.takes)
        };
        let under_way = UnderWay {
            probe: self.clone(),
            done: false,
        };
        Box::pin(async move {
            sleep(takes).await;
            under_way.done();
            sees
        })
    }
}

/// A look under way; one that is dropped before its end was given up.
struct UnderWay {
    probe: FakeProbe,
    done: bool,
}

impl UnderWay {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut inner = self.probe.inner();
        inner.under_way -= 1;
        inner.given_up += u32::from(!self.done);
    }
}

impl PartialEq for FakeProbe {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Source for FakeProbe {
    fn kind(&self) -> &'static str {
        "probe"
    }

    fn open(&self, service: &ServiceSpec, ear: Ear) -> Box<dyn Listening> {
        self.inner().ear = Some(ear.clone());
        let check = Rc::new(self.clone());
        begin(service, self.plan, check, self.places.clone(), ear)
    }
}
