//! Prometheus' Alertmanager: `POST /api/v2/alerts`, again and again while it fires, for
//! Alertmanager takes for resolved what it does not hear of for `resolve_timeout`.

use std::time::Duration;

use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use supervisor_actors::ports::alerts::{AlertSink, Undelivered};
use supervisor_core::Timestamp;
use supervisor_core::alert::{Notice, Phase};

use super::post::{Poster, Request};
use super::words::Fields;
use super::{Address, Common};

/// Alertmanager's usual `resolve_timeout` is 5 min.
const REFRESH: Duration = Duration::from_secs(60);
/// How long one that fires counts without being said again.
const LASTS_MICROS: i64 = 5 * 60 * 1_000_000;

pub(super) struct AlertmanagerSink {
    address: Address,
    poster: Poster,
    common: Common,
}

impl AlertmanagerSink {
    pub(super) fn new(base: Address, poster: Poster, common: Common) -> Self {
        let text = base.0.to_string();
        let text = format!("{}/api/v2/alerts", text.trim_end_matches('/'));
        let address = text.parse::<Uri>().map_or(base, Address);
        Self {
            address,
            poster,
            common,
        }
    }
}

impl AlertSink for AlertmanagerSink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let fields = Fields::of(&notice, &self.common.host, self.common.url.as_deref());
        let body = payload(&fields, &notice, self.common.clock.wall());
        let request = Request::json(self.address.clone(), &body);
        let poster = self.poster.clone();
        Box::pin(async move { poster.send(request).await })
    }

    fn refresh(&self) -> Option<Duration> {
        Some(REFRESH)
    }
}

/// The labels are the alert's identity there: nothing in them changes while it lives.
pub(super) fn payload(fields: &Fields, notice: &Notice, now: Timestamp) -> Value {
    let ends = match (notice.alert.phase, notice.alert.closed) {
        (Phase::Resolved, Some(closed)) => closed,
        (Phase::Resolved, None) => now,
        (Phase::Pending | Phase::Firing | Phase::Acknowledged, _) => {
            Timestamp(now.0.saturating_add(LASTS_MICROS))
        }
    };
    json!([{
        "labels": {
            "alertname": "SupervisorAlert",
            "service": fields.service,
            "about": fields.about,
            "instance": fields.host,
            "alert": fields.id.to_string(),
        },
        "annotations": {
            "summary": fields.title,
            "description": fields.reason,
            "level": fields.level,
        },
        "startsAt": fields.opened,
        "endsAt": ends.rfc3339(),
        "generatorURL": fields.url.clone().unwrap_or_default(),
    }])
}
