//! Slack's incoming webhooks: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use supervisor_actors::ports::alerts::{AlertSink, Undelivered};
use supervisor_core::alert::Notice;

use super::post::{Poster, Request};
use super::words::{Fields, cut};
use super::{Address, Common};

/// Slack's own limits, in characters and fields.
const HEADER: usize = 150;
const FIELD: usize = 2_000;
const MOST_FIELDS: usize = 10;

pub(super) struct SlackSink {
    address: Address,
    poster: Poster,
    common: Common,
}

impl SlackSink {
    pub(super) fn new(address: Address, poster: Poster, common: Common) -> Self {
        Self {
            address,
            poster,
            common,
        }
    }
}

impl AlertSink for SlackSink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let fields = Fields::of(&notice, &self.common.host, self.common.url.as_deref());
        let request = Request::json(self.address.clone(), &payload(&fields));
        let poster = self.poster.clone();
        Box::pin(async move { poster.send(request).await })
    }
}

pub(super) fn payload(fields: &Fields) -> Value {
    let lines = fields.lines();
    let shown = lines.iter().take(MOST_FIELDS).map(|(what, value)| {
        let text = format!("*{what}*\n{}", escape(value));
        json!({ "type": "mrkdwn", "text": cut(&text, FIELD) })
    });
    let mut blocks = vec![
        json!({
            "type": "header",
            "text": { "type": "plain_text", "text": cut(&fields.title, HEADER), "emoji": false }
        }),
        json!({ "type": "section", "fields": shown.collect::<Vec<_>>() }),
    ];
    if let Some(url) = &fields.url {
        blocks.push(json!({
            "type": "section",
            "text": { "type": "mrkdwn", "text": format!("<{url}|dashboard>") }
        }));
    }
    json!({ "text": escape(&fields.title), "blocks": blocks })
}

/// The three characters by which a text could ping or link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
