//! A source that says what a test tells it to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supervisor_core::event::Note;

use crate::ports::output::{Hearing, Output};
use crate::source::{Ear, Heard, Life, Listening, Source};
use crate::spec::ServiceSpec;

/// A source for tests. Clones share what happened to it.
#[derive(Debug, Clone, Default)]
pub struct FakeSource(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    environment: Vec<(String, String)>,
    hearing: Option<Hearing>,
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

    /// One that wants the output of each process: a line is a pulse with that message.
    #[must_use]
    pub fn with_hearing(hearing: Hearing) -> Self {
        let source = Self::default();
        source.inner().hearing = Some(hearing);
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

    fn hearing(&self) -> Option<Hearing> {
        self.0.inner().hearing
    }

    fn output(&mut self, output: &Output) -> Vec<Heard> {
        if output.text.is_empty() {
            let count = output.lines;
            return vec![Heard::Pulse { count }];
        }
        let text = String::from_utf8_lossy(&output.text).into_owned();
        let notes = text.lines().map(|line| {
            Heard::Note(Note {
                message: Some(line.to_owned()),
                ..Note::default()
            })
        });
        notes.collect()
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
