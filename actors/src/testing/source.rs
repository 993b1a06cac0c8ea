//! A source that says what a test tells it to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::source::{Ear, Life, Listening, Source};
use crate::spec::ServiceSpec;

/// A source for tests. Clones share what happened to it.
#[derive(Debug, Clone, Default)]
pub struct FakeSource(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    environment: Vec<(String, String)>,
    ear: Option<Ear>,
    lives: Vec<Life>,
    opened: u32,
    dropped: u32,
}

impl FakeSource {
    /// One that gives each process these variables.
    #[must_use]
    pub fn with_environment(variables: &[(&str, &str)]) -> Self {
        let source = Self::default();
        let pairs = variables.iter();
        source.inner().environment = pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        source
    }

    /// To speak as the source.
    ///
    /// # Panics
    /// Before it was opened.
    #[must_use]
    pub fn ear(&self) -> Ear {
        self.inner().ear.clone().expect("the source was opened")
    }

    /// The lives that it was told, in order.
    #[must_use]
    pub fn lives(&self) -> Vec<Life> {
        self.inner().lives.clone()
    }

    /// How often it was opened and ended.
    #[must_use]
    pub fn opened_and_dropped(&self) -> (u32, u32) {
        let inner = self.inner();
        (inner.opened, inner.dropped)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for FakeSource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Source for FakeSource {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn open(&self, _service: &ServiceSpec, ear: Ear) -> Box<dyn Listening> {
        let mut inner = self.inner();
        inner.opened += 1;
        inner.ear = Some(ear);
        Box::new(AtWork(self.clone()))
    }
}

struct AtWork(FakeSource);

impl Listening for AtWork {
    fn environment(&self) -> Vec<(String, String)> {
        self.0.inner().environment.clone()
    }

    fn life(&mut self, life: Life) {
        self.0.inner().lives.push(life);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.inner().dropped += 1;
    }
}
