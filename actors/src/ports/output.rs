//! What a process writes to its stdout and stderr, as far as somebody wants to hear it.

use std::sync::Arc;

/// What is wanted of a process's output, stdout and stderr alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// How many lines there were.
    Count,
    /// The lines.
    Lines,
}

/// Lines that a process has written.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// How many.
    pub lines: u32,
    /// How many more there were that are not told: too many at once. The log has them.
    pub lost: u32,
    /// The lines themselves, where they are wanted, each with its end, and cut at some
    /// kilobytes.
    pub text: Vec<u8>,
    /// Whoever deals with them keeps this until it is ready for more.
    pub more: More,
}

/// Asks for more output when its last copy is dropped.
#[derive(Clone, Default)]
pub struct More(Option<Arc<AtDrop>>);

/// Calls something once, when it is dropped.
struct AtDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl More {
    /// Calls that when its last copy is dropped.
    #[must_use]
    pub fn new(ask: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(AtDrop(Some(Box::new(ask))))))
    }
}

impl Drop for AtDrop {
    fn drop(&mut self) {
        if let Some(ask) = self.0.take() {
            ask();
        }
    }
}

impl PartialEq for More {
    fn eq(&self, _: &Self) -> bool {
        // It is no part of what was written.
        true
    }
}

impl std::fmt::Debug for More {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("More").field(&self.0.is_some()).finish()
    }
}
