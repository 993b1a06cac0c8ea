//! PagerDuty's events API v2: <https://developer.pagerduty.com/docs/events-api-v2-overview>.

use futures_util::future::{LocalBoxFuture, ready};
use serde_json::{Value, json};

use supervisor_actors::ports::alerts::{AlertSink, Undelivered};
use supervisor_core::alert::{Notice, NoticeKind};

use super::post::{Poster, Request};
use super::words::{Fields, cut};
use super::{Address, Common, Secret};

/// PagerDuty's own limits, in characters.
const SUMMARY: usize = 1_024;
const KEY: usize = 255;

/// An integration.
#[derive(Debug, Clone)]
pub(crate) struct PagerDuty {
    pub(crate) routing_key: Secret,
    /// Where its API is.
    pub(crate) url: Address,
}

pub(super) struct PagerDutySink {
    duty: PagerDuty,
    poster: Poster,
    common: Common,
}

impl PagerDutySink {
    pub(super) fn new(duty: PagerDuty, poster: Poster, common: Common) -> Self {
        Self {
            duty,
            poster,
            common,
        }
    }
}

impl AlertSink for PagerDutySink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let fields = Fields::of(&notice, &self.common.host, self.common.url.as_deref());
        let Some(body) = payload(&fields, notice.kind, &self.duty.routing_key.0) else {
            return Box::pin(ready(Ok(())));
        };
        let request = Request::json(self.duty.url.clone(), &body).answered_in_json();
        let poster = self.poster.clone();
        Box::pin(async move { poster.send(request).await })
    }
}

/// What is sent; nothing for what PagerDuty repeats by itself.
pub(super) fn payload(fields: &Fields, kind: NoticeKind, routing_key: &str) -> Option<Value> {
    let action = match kind {
        NoticeKind::Firing | NoticeKind::Escalated | NoticeKind::Test => "trigger",
        NoticeKind::Acknowledged => "acknowledge",
        NoticeKind::Resolved => "resolve",
        NoticeKind::Repeated => return None,
    };
    let severity = match fields.level {
        "critical" => "critical",
        "degraded" => "error",
        _ => "warning",
    };
    let key = format!("supervisor/{}/{}", fields.host, fields.id);
    let mut body = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": cut(&key, KEY),
        "payload": {
            "summary": cut(&format!("{}: {}", fields.title, fields.reason), SUMMARY),
            "source": fields.host,
            "severity": severity,
            "timestamp": fields.opened,
            "component": fields.service,
            "group": fields.about,
            "class": fields.level,
            "custom_details": fields,
        }
    });
    if let Some(url) = &fields.url {
        body["links"] = json!([{ "href": url, "text": "Dashboard" }]);
    }
    Some(body)
}
