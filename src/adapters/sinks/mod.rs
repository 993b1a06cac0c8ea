//! Where alerts go: one file each, and its line in [`SinkKind`] and [`make`].
//!
//! What a sink says is made in `words.rs`; how one speaks HTTP and what follows from an answer
//! is in `post.rs`. A sink's address is often its secret: only its host is ever named.

mod alertmanager;
mod discord;
mod email;
mod exec;
mod log;
mod ntfy;
mod pagerduty;
mod post;
mod slack;
#[cfg(test)]
mod tests;
mod webhook;
mod words;

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::http::Uri;
use slog::Logger;

use supervisor_actors::ports::Clock;
use supervisor_actors::ports::alerts::AlertSink;

use crate::adapters::http_client::HttpCalls;
use post::Poster;

/// A sink as the configuration describes it.
#[derive(Debug, Clone)]
pub(crate) struct SinkSpec {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: SinkKind,
    /// How long a delivery may take.
    pub(crate) timeout: Duration,
    /// Whether it may be at a link-local address, where clouds keep their credentials.
    pub(crate) allow_link_local: bool,
}

/// The kinds of sinks.
#[derive(Debug, Clone)]
pub(crate) enum SinkKind {
    /// Our own log.
    Log,
    /// A command with the alert on its stdin.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
        /// Where it runs.
        cwd: PathBuf,
    },
    /// Any HTTP server.
    Webhook(webhook::Webhook),
    /// Slack's incoming webhook.
    Slack(Address),
    /// Discord's webhook.
    Discord(Address),
    /// A topic of ntfy.
    Ntfy(ntfy::Ntfy),
    /// Prometheus' Alertmanager: its base address.
    Alertmanager(Address),
    /// PagerDuty's events API.
    PagerDuty(pagerduty::PagerDuty),
    /// Mail.
    Email(Box<email::Email>),
}

/// An address that may be a secret: only its host is shown.
#[derive(Clone)]
pub(crate) struct Address(pub(crate) Uri);

/// A secret: shown nowhere.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

/// What all sinks have in common.
#[derive(Clone)]
pub(crate) struct Common {
    /// What this machine is called.
    pub(crate) host: String,
    /// Where people look, if anywhere.
    pub(crate) url: Option<String>,
    /// How calls are made.
    pub(crate) calls: HttpCalls,
    /// For `Retry-After` and signatures.
    pub(crate) clock: Arc<dyn Clock>,
    /// Our own log.
    pub(crate) log: Logger,
}

pub(crate) use email::{Email, Starttls};
pub(crate) use ntfy::Ntfy;
pub(crate) use pagerduty::PagerDuty;
pub(crate) use webhook::{Template, Webhook};

/// Makes a sink.
pub(crate) fn make(spec: &SinkSpec, common: &Common) -> Rc<dyn AlertSink> {
    let common = common.clone();
    let poster = Poster::new(spec, &common);
    match spec.kind.clone() {
        SinkKind::Log => Rc::new(log::LogSink::new(common.log)),
        SinkKind::Exec { command, cwd } => {
            Rc::new(exec::ExecSink::new(command, cwd, spec.timeout, common.host))
        }
        SinkKind::Webhook(webhook) => Rc::new(webhook::WebhookSink::new(webhook, poster, common)),
        SinkKind::Slack(address) => Rc::new(slack::SlackSink::new(address, poster, common)),
        SinkKind::Discord(address) => Rc::new(discord::DiscordSink::new(address, poster, common)),
        SinkKind::Ntfy(ntfy) => Rc::new(ntfy::NtfySink::new(ntfy, poster, common)),
        SinkKind::Alertmanager(address) => {
            Rc::new(alertmanager::AlertmanagerSink::new(address, poster, common))
        }
        SinkKind::PagerDuty(duty) => Rc::new(pagerduty::PagerDutySink::new(duty, poster, common)),
        SinkKind::Email(email) => Rc::new(email::EmailSink::new(*email, spec.timeout, common)),
    }
}

impl Address {
    /// Its host, with its port where it names one.
    fn host(&self) -> String {
        self.0
            .authority()
            .map_or_else(String::new, |authority| authority.as_str().to_owned())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}…)", self.host())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
