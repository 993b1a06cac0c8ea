//! ntfy: <https://docs.ntfy.sh/publish/#publish-as-json>.

use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use supervisor_actors::ports::alerts::{AlertSink, Undelivered};
use supervisor_core::Level;
use supervisor_core::alert::{Notice, NoticeKind};

use super::post::{Poster, Request};
use super::words::{Fields, cut};
use super::{Address, Common, Secret};

/// ntfy's own limits, in characters; a longer message would become a file.
const TITLE: usize = 250;
const MESSAGE: usize = 3_500;

/// A topic on a server.
#[derive(Debug, Clone)]
pub(crate) struct Ntfy {
    pub(crate) server: Address,
    /// Who knows it can read it: shown nowhere.
    pub(crate) topic: Secret,
    pub(crate) token: Option<Secret>,
}

pub(super) struct NtfySink {
    ntfy: Ntfy,
    poster: Poster,
    common: Common,
}

impl NtfySink {
    pub(super) fn new(ntfy: Ntfy, poster: Poster, common: Common) -> Self {
        Self {
            ntfy,
            poster,
            common,
        }
    }
}

impl AlertSink for NtfySink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let fields = Fields::of(&notice, &self.common.host, self.common.url.as_deref());
        let body = payload(&fields, &self.ntfy.topic.0, priority(&notice));
        let mut request = Request::json(self.ntfy.server.clone(), &body).answered_in_json();
        if let Some(Secret(token)) = &self.ntfy.token {
            let value = format!("Bearer {token}");
            request.headers.push(("authorization".to_owned(), value));
        }
        let poster = self.poster.clone();
        Box::pin(async move { poster.send(request).await })
    }
}

pub(super) fn payload(fields: &Fields, topic: &str, priority: u8) -> Value {
    let lines = fields.lines();
    let lines: Vec<String> = lines
        .iter()
        .map(|(what, value)| format!("{what}: {value}"))
        .collect();
    let mut body = json!({
        "topic": topic,
        "title": cut(&fields.title, TITLE),
        "message": cut(&lines.join("\n"), MESSAGE),
        "priority": priority,
        "tags": [fields.level, fields.kind],
        "markdown": false,
    });
    if let Some(url) = &fields.url {
        body["click"] = json!(url);
        body["actions"] = json!([{ "action": "view", "label": "Dashboard", "url": url }]);
    }
    body
}

/// 5 rings, 1 is silent.
fn priority(notice: &Notice) -> u8 {
    match (notice.kind, notice.alert.level) {
        (NoticeKind::Resolved | NoticeKind::Acknowledged, _) => 2,
        (NoticeKind::Test, _) => 3,
        (_, Level::Critical) => 5,
        (_, Level::Degraded) => 4,
        (_, Level::Warning | Level::Healthy | Level::Unknown) => 3,
    }
}
