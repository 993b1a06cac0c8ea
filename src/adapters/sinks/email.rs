//! Mail, by SMTP: one text and one HTML part.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use supervisor_actors::ports::alerts::{AlertSink, Fate, Undelivered};
use supervisor_core::alert::Notice;

use super::words::{Fields, colour, cut};
use super::{Common, Secret};

/// A subject longer than this is cut by who shows it.
const SUBJECT: usize = 200;

/// A mail server and whom it reaches.
#[derive(Debug, Clone)]
pub(crate) struct Email {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Starttls,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starttls {
    /// From the first byte (`smtps://`, port 465).
    Implicit,
    /// After STARTTLS, which the server must offer.
    Required,
    /// Not at all: for a server on this machine.
    Plain,
}

pub(super) struct EmailSink {
    email: Email,
    timeout: Duration,
    common: Common,
}

impl EmailSink {
    pub(super) fn new(email: Email, timeout: Duration, common: Common) -> Self {
        Self {
            email,
            timeout,
            common,
        }
    }
}

impl AlertSink for EmailSink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let fields = Fields::of(&notice, &self.common.host, self.common.url.as_deref());
        let (email, patience) = (self.email.clone(), self.timeout);
        let colour = colour(&notice);
        Box::pin(async move {
            let host = format!("{}:{}", email.host, email.port);
            match tokio::time::timeout(patience, send(&email, &fields, colour, patience)).await {
                Ok(done) => done.map_err(|undelivered| Undelivered {
                    reason: format!("{host} {}", undelivered.reason),
                    ..undelivered
                }),
                Err(_elapsed) => Err(Undelivered {
                    reason: format!(
                        "{host} did not take it within {}",
                        humantime::format_duration(patience)
                    ),
                    fate: Fate::Again { after: None },
                }),
            }
        })
    }
}

async fn send(
    email: &Email,
    fields: &Fields,
    colour: u32,
    patience: Duration,
) -> Result<(), Undelivered> {
    let never = |reason: String| Undelivered {
        reason,
        fate: Fate::Never,
    };
    let again = |reason: String| Undelivered {
        reason,
        fate: Fate::Again { after: None },
    };
    let message = message(email, fields, colour).map_err(|error| never(error.to_string()))?;
    let tls = match email.tls {
        Starttls::Plain => Tls::None,
        Starttls::Required | Starttls::Implicit => {
            let parameters = TlsParameters::new(email.host.clone())
                .map_err(|error| again(format!("cannot be trusted: {error}")))?;
            match email.tls {
                Starttls::Implicit => Tls::Wrapper(parameters),
                Starttls::Required | Starttls::Plain => Tls::Required(parameters),
            }
        }
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.host)
        .port(email.port)
        .tls(tls)
        .timeout(Some(patience));
    if let (Some(user), Some(Secret(password))) = (&email.username, &email.password) {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    match builder.build().send(message).await {
        Ok(_taken) => Ok(()),
        // 5yz: it would be refused for ever (RFC 5321, 4.2.1).
        Err(error) if error.is_permanent() => Err(never(format!("refused it: {error}"))),
        Err(error) => Err(again(format!("did not take it: {error}"))),
    }
}

pub(super) fn message(
    email: &Email,
    fields: &Fields,
    colour: u32,
) -> Result<Message, lettre::error::Error> {
    // Messages of one alert belong together in a mail reader.
    let thread = format!("<alert-{}@{}>", fields.id, host_of(&fields.host));
    let mut builder = Message::builder()
        .from(email.from.clone())
        .subject(cut(
            &format!("[{}] {}", fields.level, fields.title),
            SUBJECT,
        ))
        .references(thread.clone())
        .in_reply_to(thread);
    for to in &email.to {
        builder = builder.to(to.clone());
    }
    builder.multipart(
        MultiPart::alternative()
            .singlepart(
                SinglePart::builder()
                    .header(ContentType::TEXT_PLAIN)
                    .body(fields.text()),
            )
            .singlepart(
                SinglePart::builder()
                    .header(ContentType::TEXT_HTML)
                    .body(html(fields, colour)),
            ),
    )
}

/// A host name as it may stand in a message's id.
fn host_of(name: &str) -> String {
    let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let host: String = name.chars().filter(good).collect();
    if host.is_empty() {
        "localhost".to_owned()
    } else {
        host
    }
}

fn html(fields: &Fields, colour: u32) -> String {
    let rows: String = fields
        .lines()
        .iter()
        .map(|(what, value)| {
            format!(
                "<tr><td style=\"padding:2px 12px 2px 0;color:#666;vertical-align:top\">{what}</td>\
                 <td style=\"padding:2px 0\">{}</td></tr>",
                escape(value)
            )
        })
        .collect();
    let link = fields.url.as_ref().map_or_else(String::new, |url| {
        format!("<p><a href=\"{0}\">{0}</a></p>", escape(url))
    });
    format!(
        "<!doctype html><html><body style=\"font-family:sans-serif;font-size:14px\">\
         <h2 style=\"border-left:6px solid #{colour:06x};padding-left:10px;font-size:18px\">{}</h2>\
         <table style=\"border-collapse:collapse\">{rows}</table>{link}</body></html>",
        escape(&fields.title)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
