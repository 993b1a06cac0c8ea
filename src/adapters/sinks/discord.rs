//! Discord's webhooks: <https://discord.com/developers/docs/resources/webhook#execute-webhook>.

use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use supervisor_actors::ports::alerts::{AlertSink, Undelivered};
use supervisor_core::alert::Notice;

use super::post::{Poster, Request};
use super::words::{Fields, colour, cut};
use super::{Address, Common};

/// Discord's own limits, in characters.
const TITLE: usize = 256;
const DESCRIPTION: usize = 4_096;
const VALUE: usize = 1_024;

pub(super) struct DiscordSink {
    address: Address,
    poster: Poster,
    common: Common,
}

impl DiscordSink {
    pub(super) fn new(address: Address, poster: Poster, common: Common) -> Self {
        Self {
            address,
            poster,
            common,
        }
    }
}

impl AlertSink for DiscordSink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let fields = Fields::of(&notice, &self.common.host, self.common.url.as_deref());
        let request = Request::json(self.address.clone(), &payload(&fields, colour(&notice)));
        let poster = self.poster.clone();
        Box::pin(async move { poster.send(request).await })
    }
}

pub(super) fn payload(fields: &Fields, colour: u32) -> Value {
    let lines = fields.lines();
    let rest = lines.iter().filter(|(what, _)| *what != "Reason");
    let shown = rest.map(|(what, value)| {
        let value = cut(&escape(value), VALUE);
        json!({ "name": what, "value": value, "inline": value.len() < 40 })
    });
    let mut embed = json!({
        "title": cut(&escape(&fields.title), TITLE),
        "description": cut(&escape(&fields.reason), DESCRIPTION),
        "color": colour,
        "timestamp": fields.resolved.as_ref().unwrap_or(&fields.opened),
        "fields": shown.collect::<Vec<_>>(),
    });
    if let Some(url) = &fields.url {
        embed["url"] = json!(url);
    }
    // What a service says of itself must not ping anybody.
    json!({
        "username": "supervisor",
        "content": "",
        "embeds": [embed],
        "allowed_mentions": { "parse": [] }
    })
}

/// Markdown's characters, so that a message is shown as it is.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '#' | '[' | ']' | '<' | '@'
        ) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
