//! `/api/alerts…`, `/api/silences…`: what somebody is told of, and what nobody is.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use supervisor_actors::handle::Wish;
use supervisor_actors::ports::alerts::{AlertQuery, Fate};
use supervisor_core::Level;
use supervisor_core::alert::{
    Acknowledgement, Alert, AlertId, Pattern, Phase, Refused, Silence, SilenceId, Subject,
};

use super::api::Api;
use super::body::{self, Span};
use super::health::json;
use super::problem::Problem;
use super::query::Query;
use super::services;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
/// How long a name, a note or a tag may be, in bytes.
const MOST_TEXT: usize = 500;
/// Nobody silences for longer by intent.
const MOST_SILENCE: Duration = Duration::from_secs(366 * 24 * 3600);

/// An alert as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
pub(super) struct Shown {
    id: u64,
    /// `service`, `storm`, `sink` or `supervisor`.
    kind: &'static str,
    /// The service's or sink's name, or what of ourselves.
    service: String,
    state: Phase,
    level: Level,
    worst: Level,
    reason: String,
    opened: String,
    resolved: Option<String>,
    acknowledged: Option<Taken>,
    /// Why nobody is told now.
    silent: Option<String>,
    /// Who was told.
    told: Vec<String>,
    /// How many messages there were.
    messages: u32,
    restarts: u32,
    /// The services of a storm.
    members: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Acknowledgement)]
struct Taken {
    by: String,
    note: String,
    at: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Alerts)]
pub(super) struct Page {
    alerts: Vec<Shown>,
    /// What to give as `before` for older ones; null at the end.
    next: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AlertWithReasons)]
pub(super) struct Whole {
    #[serde(flatten)]
    alert: Shown,
    /// The rules that decide about it now, a sentence each; none once it is resolved.
    why: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Silence)]
pub(super) struct ShownSilence {
    id: u64,
    services: String,
    tag: Option<String>,
    until: String,
    by: String,
    note: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Silences {
    silences: Vec<ShownSilence>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Acknowledge)]
pub(super) struct AckBody {
    by: Option<String>,
    note: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSilence)]
pub(super) struct SilenceBody {
    services: String,
    r#for: Span,
    tag: Option<String>,
    by: Option<String>,
    note: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SinkTest)]
pub(super) struct TestBody {
    sink: String,
}

/// `GET /api/alerts?state=&service=&before=&limit=`.
pub(super) async fn list(api: &Api, query: &str) -> Result<HttpResponse, Problem> {
    let (asked, all) = read(query)?;
    let limit = asked.limit as usize;
    let alerts = if all {
        let kept = api.ask(api.alerts.kept(asked)).await?;
        kept.map_err(|why| Problem::unavailable("no_alerts", why.to_string()))?
    } else {
        let mut open = api.ask(api.alerts.open()).await?;
        open.reverse();
        let fits = |alert: &Alert| {
            asked.before.is_none_or(|before| alert.id < before)
                && asked
                    .service
                    .as_ref()
                    .is_none_or(|name| alert.subject.to_string() == *name)
        };
        open.retain(fits);
        open.truncate(limit);
        open
    };
    let full = alerts.len() == limit;
    let next = alerts.last().filter(|_| full).map(|alert| alert.id.0);
    let alerts = alerts.into_iter().map(shown).collect();
    Ok(json(&Page { alerts, next }))
}

/// `GET /api/alerts/{id}`.
pub(super) async fn one(api: &Api, id: &str) -> Result<HttpResponse, Problem> {
    let id = number(id).map(AlertId).ok_or_else(|| unknown_alert(id))?;
    let open = api.ask(api.alerts.open()).await?;
    if let Some(alert) = open.into_iter().find(|alert| alert.id == id) {
        let why = api.ask(api.alerts.why(id)).await?.unwrap_or_default();
        let alert = shown(alert);
        return Ok(json(&Whole { alert, why }));
    }
    let query = AlertQuery {
        id: Some(id),
        limit: 1,
        ..AlertQuery::default()
    };
    let kept = api.ask(api.alerts.kept(query)).await?;
    let kept = kept.map_err(|why| Problem::unavailable("no_alerts", why.to_string()))?;
    let alert = kept.into_iter().next();
    let alert = alert.ok_or_else(|| unknown_alert(&id.to_string()))?;
    Ok(json(&Whole {
        alert: shown(alert),
        why: Vec::new(),
    }))
}

/// `POST /api/alerts/{id}/ack`.
pub(super) async fn acknowledge(
    api: &Api,
    id: &str,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::read(request, payload, api.patience.body).await?;
    let id = number(id).map(AlertId).ok_or_else(|| unknown_alert(id))?;
    let said: AckBody = if body::is_blank(&body) {
        AckBody::default()
    } else {
        services::must_be_json(request.headers().get(header::CONTENT_TYPE))?;
        body::object(&body)?
    };
    let by = text("by", said.by)?.unwrap_or_else(|| "operator".to_owned());
    let note = text("note", said.note)?.unwrap_or_default();
    let alert = api.ask(api.alerts.acknowledge(id, by, note)).await?;
    Ok(json(&shown(alert.map_err(|why| refused(&why))?)))
}

/// `POST /api/alerts/test`: whether a sink takes messages.
pub(super) async fn test(
    api: &Api,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::read(request, payload, api.patience.body).await?;
    services::must_be_json(request.headers().get(header::CONTENT_TYPE))?;
    let TestBody { sink } = body::object(&body)?;
    let done = api.ask_long(api.alerts.test(sink.as_str().into())).await?;
    match done {
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_sink",
            format!("there is no sink named {sink:?}"),
        )),
        Some(Ok(())) => Ok(json(
            &serde_json::json!({ "sink": sink, "delivered": true }),
        )),
        Some(Err(undelivered)) => Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            match undelivered.fate {
                Fate::Never => "refused",
                Fate::Again { .. } => "undelivered",
            },
            format!("{sink} did not take it: {}", undelivered.reason),
        )),
    }
}

/// `GET` and `POST /api/silences`.
pub(super) async fn silences(
    api: &Api,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    if request.method() != Method::POST {
        let silences = api.ask(api.alerts.silences()).await?;
        let silences = silences.into_iter().map(shown_silence).collect();
        return Ok(json(&Silences { silences }));
    }
    let body = body::read(request, payload, api.patience.body).await?;
    services::must_be_json(request.headers().get(header::CONTENT_TYPE))?;
    let said: SilenceBody = body::object(&body)?;
    let services = Pattern::new(&said.services).map_err(|why| {
        Problem::bad(
            "bad_services",
            format!("services {:?}: {why}", said.services),
        )
    })?;
    let lasting = said.r#for.0;
    if lasting.is_zero() || lasting > MOST_SILENCE {
        return Err(Problem::bad(
            "bad_for",
            format!("for: {lasting:?} is not more than nothing and at most 366 days"),
        ));
    }
    let wish = Wish {
        services,
        tag: text("tag", said.tag)?,
        lasting,
        by: text("by", said.by)?.unwrap_or_else(|| "operator".to_owned()),
        note: text("note", said.note)?.unwrap_or_default(),
    };
    let silence = api.ask(api.alerts.silence(wish)).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(shown_silence(silence)))
}

/// `DELETE /api/silences/{id}`.
pub(super) async fn end_silence(api: &Api, id: &str) -> Result<HttpResponse, Problem> {
    let unknown = || {
        let detail = format!("there is no silence {id}");
        Problem::new(StatusCode::NOT_FOUND, "unknown_silence", detail)
    };
    let number = number(id).map(SilenceId).ok_or_else(unknown)?;
    let ended = api.ask(api.alerts.end_silence(number)).await?;
    ended.map_err(|why| refused(&why))?;
    Ok(HttpResponse::NoContent().finish())
}

fn refused(why: &Refused) -> Problem {
    let code = match why {
        Refused::NoAlert(_) => "unknown_alert",
        Refused::NoSilence(_) => "unknown_silence",
    };
    Problem::new(StatusCode::NOT_FOUND, code, why.to_string())
}

fn unknown_alert(id: &str) -> Problem {
    let detail = format!("there is no alert {id}");
    Problem::new(StatusCode::NOT_FOUND, "unknown_alert", detail)
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// A short text without control characters.
fn text(key: &str, value: Option<String>) -> Result<Option<String>, Problem> {
    let fits = |text: &String| text.len() <= MOST_TEXT && !text.chars().any(char::is_control);
    match value {
        Some(text) if !fits(&text) => Err(Problem::bad(
            "bad_text",
            format!("{key}: at most {MOST_TEXT} bytes without control characters"),
        )),
        other => Ok(other),
    }
}

/// What is asked for, and whether resolved ones are, too.
fn read(query: &str) -> Result<(AlertQuery, bool), Problem> {
    let query = Query::parse(query, &["state", "service", "before", "limit"])?;
    let mut asked = AlertQuery {
        limit: DEFAULT_LIMIT,
        ..AlertQuery::default()
    };
    if let Some(limit) = query.get("limit") {
        asked.limit = limit
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| Query::wrong("limit", limit, "a number from 1 to 1000"))?;
    }
    if let Some(before) = query.get("before") {
        let id = number(before).map(AlertId);
        asked.before = Some(id.ok_or_else(|| Query::wrong("before", before, "an alert's id"))?);
    }
    asked.service = query.get("service").map(str::to_owned);
    let all = match query.get("state") {
        None | Some("open") => false,
        Some("all") => true,
        Some(other) => return Err(Query::wrong("state", other, "open or all")),
    };
    Ok((asked, all))
}

/// An alert, to be shown.
pub(super) fn shown(alert: Alert) -> Shown {
    let (kind, service) = match &alert.subject {
        Subject::Service(name) => ("service", name.to_string()),
        Subject::Storm => ("storm", "storm".to_owned()),
        Subject::Sink(name) => ("sink", name.to_string()),
        Subject::Own(what) => ("supervisor", what.clone()),
    };
    Shown {
        id: alert.id.0,
        kind,
        service,
        state: alert.phase,
        level: alert.level,
        worst: alert.worst,
        reason: alert.reason,
        opened: alert.opened.rfc3339(),
        resolved: alert.closed.map(supervisor_core::Timestamp::rfc3339),
        acknowledged: alert
            .acknowledged
            .map(|Acknowledgement { who, note, at, .. }| Taken {
                by: who,
                note,
                at: at.rfc3339(),
            }),
        silent: alert.hold.map(|hold| hold.to_string()),
        told: alert.told.iter().map(ToString::to_string).collect(),
        messages: alert.serial,
        restarts: alert.restarts,
        members: alert.members.iter().map(ToString::to_string).collect(),
    }
}

fn shown_silence(silence: Silence) -> ShownSilence {
    ShownSilence {
        id: silence.id.0,
        services: silence.services.to_string(),
        tag: silence.tag,
        until: silence.until.rfc3339(),
        by: silence.by,
        note: silence.note,
    }
}
