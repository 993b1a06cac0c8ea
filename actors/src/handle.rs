//! What others hold of the actors: cheap to clone, sendable to any thread, valid across the
//! rebuild of a panicked actor.

use supervisor_core::ServiceName;
use supervisor_core::event::Note;
use supervisor_core::time::Mono;
use supervisor_core::view::View;

use crate::messages::{Denied, Overview, Verb};
use crate::ports::{EventQuery, EventRow, StoreError};

/// All watched services by name.
#[derive(Clone)]
pub struct Directory {}

impl Directory {
    /// The service of that name.
    #[must_use]
    pub fn get(&self, _name: &str) -> Option<ServiceHandle> {
        todo!()
    }
}

/// One watched service, to send it signs of life from any thread.
#[derive(Clone)]
pub struct ServiceHandle {}

/// What carries information and is recorded before it is acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub enum Inform {
    /// A pulse that says something.
    Note(Note),
    /// An error.
    Error {
        /// What it says.
        message: String,
        /// Whether it calls it critical.
        critical: bool,
    },
}

/// Why a sign of life was not taken, or not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InformError {
    /// Its mailbox is full: counted, and the sender is told (503).
    #[error("too many messages for this service wait already")]
    Full,
    /// Its actor is being rebuilt or stopped (503).
    #[error("the service's actor does not answer")]
    Closed,
    /// It counts as life, but could not be recorded (507).
    #[error("taken as a sign of life, but not recorded")]
    NotRecorded(#[source] StoreError),
}

impl ServiceHandle {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        todo!()
    }

    /// A plain pulse, received at that time. Costs a few atomic operations where one of the
    /// same service is already under way.
    ///
    /// # Errors
    /// [`InformError::Full`] or [`InformError::Closed`].
    pub fn pulse(&self, _at: Mono) -> Result<(), InformError> {
        todo!()
    }

    /// Something that carries information: returns when it is recorded.
    ///
    /// # Errors
    /// See [`InformError`].
    pub async fn inform(&self, _at: Mono, _inform: Inform) -> Result<(), InformError> {
        todo!()
    }
}

/// The supervisor, to ask and to command it from any thread.
#[derive(Clone)]
pub struct SupervisorHandle {}

/// The supervisor actor is being rebuilt or stopped (503).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor does not answer")]
pub struct Unreachable;

impl SupervisorHandle {
    /// Everything known of all services.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn overview(&self) -> Result<Overview, Unreachable> {
        todo!()
    }

    /// Everything known of one service.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn service(&self, _name: &ServiceName) -> Result<Option<View>, Unreachable> {
        todo!()
    }

    /// What an operator wants of a service.
    ///
    /// # Errors
    /// Where it does not answer; within, where it refuses.
    pub async fn control(
        &self,
        _name: &ServiceName,
        _verb: Verb,
    ) -> Result<Result<View, Denied>, Unreachable> {
        todo!()
    }

    /// Recorded events.
    ///
    /// # Errors
    /// Where the archive cannot be read.
    pub async fn events(&self, _query: EventQuery) -> Result<Vec<EventRow>, StoreError> {
        todo!()
    }

    /// Stops everything in reverse dependency order, or leaves it running.
    pub async fn shutdown(&self, _leave: bool) {
        todo!()
    }

    /// Whether the supervisor's loop has turned within the last seconds, without asking it.
    #[must_use]
    pub fn is_alive(&self, _now: Mono) -> bool {
        todo!()
    }

    /// Whether all services of the configuration are watched and the first starts are sent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        todo!()
    }
}
