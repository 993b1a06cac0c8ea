//! The sink that is always there: our own log.

use futures_util::future::{LocalBoxFuture, ready};
use slog::{Logger, error, info, warn};

use supervisor_actors::ports::alerts::{AlertSink, Undelivered};
use supervisor_core::Level;
use supervisor_core::alert::{Notice, NoticeKind};

/// Writes a line for each message.
pub(crate) struct LogSink(Logger);

impl LogSink {
    pub(crate) fn new(log: Logger) -> Self {
        Self(log)
    }
}

impl AlertSink for LogSink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let Notice { kind, alert, .. } = notice;
        let (what, id) = (kind.as_str(), alert.id.0);
        let (about, level) = (alert.subject.to_string(), alert.level.as_str());
        if kind == NoticeKind::Acknowledged
            && let Some(taken) = &alert.acknowledged
        {
            info!(self.0, "alert {what}"; "alert" => id, "about" => about, "level" => level,
                "by" => &taken.who, "note" => &taken.note);
            return Box::pin(ready(Ok(())));
        }
        let quiet = matches!(
            kind,
            NoticeKind::Resolved | NoticeKind::Acknowledged | NoticeKind::Test
        );
        let log = &self.0;
        match alert.level {
            Level::Critical if !quiet => error!(log, "alert {what}";
                "alert" => id, "about" => about, "level" => level, "reason" => alert.reason),
            Level::Degraded | Level::Warning if !quiet => warn!(log, "alert {what}";
                "alert" => id, "about" => about, "level" => level, "reason" => alert.reason),
            Level::Critical
            | Level::Degraded
            | Level::Warning
            | Level::Healthy
            | Level::Unknown => info!(log, "alert {what}";
                "alert" => id, "about" => about, "level" => level, "reason" => alert.reason),
        }
        Box::pin(ready(Ok(())))
    }
}
