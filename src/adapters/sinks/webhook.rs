//! Any HTTP server: a template for the body, headers, and a signature.
//!
//! A template is text with `{{field}}` in it; in a template that is JSON the value stands
//! within a string and is escaped for it. Without one the body is all fields as JSON. The
//! signature is `X-Supervisor-Signature: t=SECONDS,v1=HEX`, HMAC-SHA256 over `SECONDS.BODY`:
//! who checks it refuses old times, so that nobody can send an old message again.

use std::fmt::Write as _;

use awc::http::Method;
use futures_util::future::LocalBoxFuture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use supervisor_actors::ports::alerts::{AlertSink, Undelivered};
use supervisor_core::alert::Notice;

use super::post::{Poster, Request};
use super::words::Fields;
use super::{Address, Common, Secret};

/// A server and how it wants to be told.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) url: Address,
    pub(crate) method: Method,
    /// Values are templates, too, and may be secrets.
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) template: Option<Template>,
    pub(crate) hmac_key: Option<Secret>,
}

/// A checked template: it names only fields that there are.
#[derive(Clone)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone)]
enum Piece {
    Text(String),
    Field(&'static str),
}

/// The fields that a template may name.
pub(crate) const FIELDS: [&str; 14] = [
    "id", "serial", "kind", "about", "service", "level", "title", "reason", "opened", "resolved",
    "by", "note", "host", "url",
];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The name that is no field, or the brace that is not closed.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, behind) = after
                .split_once("}}")
                .ok_or_else(|| "has a {{ without its }}".to_owned())?;
            let name = name.trim();
            let field = FIELDS.iter().find(|field| **field == name);
            let field = field.ok_or_else(|| format!("names {name:?}, which is no field"))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Field(field));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    fn fill(&self, values: &Value, escape: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Field(name) => text.push_str(&escape(&plain(&values[*name]))),
            }
        }
        text
    }

    /// Whether it looks like JSON.
    fn is_json(&self) -> bool {
        match self.0.first() {
            Some(Piece::Text(text)) => text.trim_start().starts_with(['{', '[']),
            Some(Piece::Field(_)) | None => false,
        }
    }
}

/// A template may hold a secret.
impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template(…)")
    }
}

pub(super) struct WebhookSink {
    webhook: Webhook,
    poster: Poster,
    common: Common,
}

impl WebhookSink {
    pub(super) fn new(webhook: Webhook, poster: Poster, common: Common) -> Self {
        Self {
            webhook,
            poster,
            common,
        }
    }

    fn request(&self, notice: &Notice) -> Request {
        let fields = Fields::of(notice, &self.common.host, self.common.url.as_deref());
        let values = serde_json::to_value(&fields).unwrap_or_default();
        let body = match &self.webhook.template {
            None => values.to_string(),
            Some(template) if template.is_json() => template.fill(&values, json_escaped),
            Some(template) => template.fill(&values, str::to_owned),
        };
        let mut headers: Vec<(String, String)> = self
            .webhook
            .headers
            .iter()
            .map(|(name, value)| {
                let value = value.fill(&values, |text| text.replace(['\r', '\n', '\0'], " "));
                (name.clone(), value)
            })
            .collect();
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            let json = self.webhook.template.as_ref().is_none_or(Template::is_json);
            let kind = if json {
                "application/json"
            } else {
                "text/plain; charset=utf-8"
            };
            headers.push(("content-type".to_owned(), kind.to_owned()));
        }
        if let Some(Secret(key)) = &self.webhook.hmac_key {
            let now = self.common.clock.wall().0 / 1_000_000;
            let value = signature(key, now, &body);
            headers.push(("x-supervisor-signature".to_owned(), value));
        }
        Request {
            method: self.webhook.method.clone(),
            to: self.webhook.url.clone(),
            headers,
            body,
            wants_json: false,
        }
    }
}

impl AlertSink for WebhookSink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let request = self.request(&notice);
        let poster = self.poster.clone();
        Box::pin(async move { poster.send(request).await })
    }
}

/// `t=SECONDS,v1=HEX`.
pub(super) fn signature(key: &str, now: i64, body: &str) -> String {
    let mut hmac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    hmac.update(format!("{now}.{body}").as_bytes());
    let mut hex = String::new();
    for byte in hmac.finalize().into_bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("t={now},v1={hex}")
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As it stands between the quotes of a JSON string.
fn json_escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
