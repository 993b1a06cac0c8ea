//! What others hold of the alerter.

use std::time::Duration;

use supervisor_core::alert::{Alert, AlertId, Pattern, Refused, Silence, SilenceId, SinkName};

use super::Unreachable;
use crate::alerter::Alerter;
use crate::link::Link;
use crate::messages::{
    Acknowledge, EndSilence, GetAlerts, GetOpenAlerts, GetSilences, Mute, TestSink, Why,
};
use crate::ports::StoreError;
use crate::ports::alerts::{AlertQuery, Undelivered};

/// The alerts, to ask and to take from any thread.
#[derive(Clone)]
pub struct AlertsHandle(Link<Alerter>);

/// A silence that somebody wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Of which services.
    pub services: Pattern,
    /// Only of those with this tag.
    pub tag: Option<String>,
    /// For how long.
    pub lasting: Duration,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub note: String,
}

impl AlertsHandle {
    pub(crate) fn new(alerter: Link<Alerter>) -> Self {
        Self(alerter)
    }

    /// The open alerts, the oldest first.
    ///
    /// # Errors
    /// Where the alerter does not answer.
    pub async fn open(&self) -> Result<Vec<Alert>, Unreachable> {
        let alerter = self.0.get().ok_or(Unreachable)?;
        alerter.send(GetOpenAlerts).await.map_err(|_| Unreachable)
    }

    /// Kept alerts, resolved ones too, the newest first.
    ///
    /// # Errors
    /// Where the alerter does not answer; within, where they cannot be read.
    pub async fn kept(
        &self,
        query: AlertQuery,
    ) -> Result<Result<Vec<Alert>, StoreError>, Unreachable> {
        let alerter = self.0.get().ok_or(Unreachable)?;
        alerter
            .send(GetAlerts(query))
            .await
            .map_err(|_| Unreachable)
    }

    /// Which rules decide about an open alert now, a sentence each.
    ///
    /// # Errors
    /// Where the alerter does not answer; within, where there is none of that number.
    pub async fn why(&self, id: AlertId) -> Result<Result<Vec<String>, Refused>, Unreachable> {
        let alerter = self.0.get().ok_or(Unreachable)?;
        alerter.send(Why(id)).await.map_err(|_| Unreachable)
    }

    /// Takes an alert.
    ///
    /// # Errors
    /// Where the alerter does not answer; within, where there is none of that number.
    pub async fn acknowledge(
        &self,
        id: AlertId,
        who: String,
        note: String,
    ) -> Result<Result<Alert, Refused>, Unreachable> {
        let alerter = self.0.get().ok_or(Unreachable)?;
        let wish = Acknowledge { id, who, note };
        alerter.send(wish).await.map_err(|_| Unreachable)
    }

    /// The silences that hold.
    ///
    /// # Errors
    /// Where the alerter does not answer.
    pub async fn silences(&self) -> Result<Vec<Silence>, Unreachable> {
        let alerter = self.0.get().ok_or(Unreachable)?;
        alerter.send(GetSilences).await.map_err(|_| Unreachable)
    }

    /// From now on these services' alerts tell nobody.
    ///
    /// # Errors
    /// Where the alerter does not answer.
    pub async fn silence(&self, wish: Wish) -> Result<Silence, Unreachable> {
        let alerter = self.0.get().ok_or(Unreachable)?;
        let Wish {
            services,
            tag,
            lasting,
            by,
            note,
        } = wish;
        let mute = Mute {
            services,
            tag,
            lasting,
            by,
            note,
        };
        alerter.send(mute).await.map_err(|_| Unreachable)
    }

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// Where the alerter does not answer; within, where there is none of that number.
    pub async fn end_silence(&self, id: SilenceId) -> Result<Result<(), Refused>, Unreachable> {
        let alerter = self.0.get().ok_or(Unreachable)?;
        alerter.send(EndSilence(id)).await.map_err(|_| Unreachable)
    }

    /// Sends a message to a sink, to see whether it arrives; `None`: there is no such sink.
    ///
    /// # Errors
    /// Where the alerter does not answer.
    pub async fn test(
        &self,
        sink: SinkName,
    ) -> Result<Option<Result<(), Undelivered>>, Unreachable> {
        let alerter = self.0.get().ok_or(Unreachable)?;
        alerter.send(TestSink(sink)).await.map_err(|_| Unreachable)
    }
}
