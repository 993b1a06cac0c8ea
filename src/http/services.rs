//! `/api/services…`: everything known, and what an operator wants.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use supervisor_actors::messages::{Denied, Verb};
use supervisor_core::{Level, ServiceName, View};

use super::api::Api;
use super::body::{self, Span};
use super::health::json;
use super::packed;
use super::problem::Problem;
use super::query::Query;

#[derive(Serialize, ToSchema)]
#[schema(as = Services)]
pub(super) struct List {
    services: Vec<View>,
    /// For who is going to follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    overall: Option<Level>,
    /// What `GET /api/stream?last_event_id=` goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
}

/// What a pause may say. The other verbs say nothing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Pause)]
pub(super) struct PauseBody {
    r#for: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

/// `GET /api/services?follow=1`. Who is going to follow the stream gets its snapshot here,
/// compressed, as a stream is not.
pub(super) async fn list(api: &Api, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["follow"])?;
    let follows = match query.get("follow") {
        None | Some("0" | "false") => false,
        Some("1" | "true" | "") => true,
        Some(other) => return Err(Query::wrong("follow", other, "0 or 1")),
    };
    // Before the services: what changes meanwhile is told once more.
    let id = follows.then(|| api.feed.read().position());
    let overview = api.ask(api.supervisor.overview()).await?;
    let list = List {
        services: overview.services,
        overall: id.map(|_| overview.overall),
        id,
    };
    Ok(packed::json(&list, request.headers()).await)
}

/// `GET /api/services/{name}`.
pub(super) async fn one(api: &Api, name: &str) -> Result<HttpResponse, Problem> {
    Ok(json(&find(api, name).await?))
}

/// A service by the name in a path.
pub(super) async fn find(api: &Api, name: &str) -> Result<View, Problem> {
    let known = checked(name)?;
    api.ask(api.supervisor.service(&known))
        .await?
        .ok_or_else(|| Problem::unknown_service(name))
}

/// What cannot be a name is no service's.
pub(super) fn checked(name: &str) -> Result<ServiceName, Problem> {
    ServiceName::new(name).map_err(|_| Problem::unknown_service(name))
}

/// `POST /api/services/{name}/{verb}`.
pub(super) async fn control(
    api: &Api,
    name: &str,
    verb: Verb,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    if !request.query_string().is_empty() {
        // `?for=1h` ignored would be a pause for ever.
        return Err(Problem::bad(
            "bad_query",
            "nothing is read from the query here; a pause says how long in its body: {\"for\": \"1h\"}",
        ));
    }
    let body = body::read(request, payload, api.patience.body).await?;
    let verb = with_body(verb, &body, request.headers().get(header::CONTENT_TYPE))?;
    let known = checked(name)?;
    match api.ask(api.supervisor.control(&known, verb)).await? {
        Ok(view) => Ok(HttpResponse::Accepted()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(view)),
        Err(denied) => Err(refused(&denied)),
    }
}

/// The verb with what the body says. A page of another site can send text without asking
/// first, but not JSON: so nothing else is read.
fn with_body(verb: Verb, body: &[u8], kind: Option<&HeaderValue>) -> Result<Verb, Problem> {
    if body.is_empty() {
        return Ok(verb);
    }
    must_be_json(kind)?;
    match verb {
        Verb::Pause(_) => {
            let body: PauseBody = body::json(body)?;
            Ok(Verb::Pause(body.r#for.map(|span| span.0)))
        }
        Verb::Start
        | Verb::Stop
        | Verb::Restart
        | Verb::Nudge
        | Verb::PauseFor(_)
        | Verb::Resume
        | Verb::Clear => {
            let NoBody {} = body::json(body)?;
            Ok(verb)
        }
    }
}

fn is_json(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes().split(|&byte| byte == b';').next();
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// Refuses a body that is not announced as JSON.
pub(super) fn must_be_json(kind: Option<&HeaderValue>) -> Result<(), Problem> {
    if kind.is_some_and(is_json) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "a body here must be application/json",
    ))
}

/// What to answer to a refusal.
pub(super) fn refused(denied: &Denied) -> Problem {
    let code = match denied {
        Denied::Unknown(name) => return Problem::unknown_service(name),
        Denied::Unfit(_) => return Problem::bad("unfit", denied.to_string()),
        Denied::Leaving(_) => "leaving",
        Denied::Needed(..) => "needed",
        Denied::Configured(_) => "configured",
        Denied::TooMany(_) => "too_many_registered",
        Denied::NotOurs(_) => "not_ours",
        Denied::NoNudge(_) => "no_nudge",
        Denied::NothingToNudge { .. } => "nothing_to_nudge",
        Denied::Internal(_) => "internal",
        Denied::ShuttingDown => "shutting_down",
    };
    Problem::new(StatusCode::CONFLICT, code, denied.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(verb: Verb, body: &str, kind: &'static str) -> Result<Verb, Problem> {
        with_body(verb, body.as_bytes(), Some(&HeaderValue::from_static(kind)))
    }

    #[test]
    fn a_pause_takes_its_duration_from_the_body() {
        let kind = "Application/JSON; charset=utf-8";
        let hour = Verb::Pause(Some(Duration::from_secs(3600)));
        assert_eq!(said(Verb::Pause(None), r#"{"for":"1h"}"#, kind), Ok(hour));
        let for_ever = Ok(Verb::Pause(None));
        assert_eq!(said(Verb::Pause(None), "{}", kind), for_ever);
        assert_eq!(said(Verb::Pause(None), r#"{"for":null}"#, kind), for_ever);
        assert_eq!(with_body(Verb::Pause(None), b"", None), for_ever);
    }

    #[test]
    fn a_field_that_is_not_ours_is_named() {
        let problem = said(Verb::Pause(None), r#"{"fro":"1h"}"#, "application/json").unwrap_err();
        assert_eq!(problem.status().as_u16(), 400);
        assert!(problem.detail().contains("fro"), "{problem:?}");
        let problem = said(Verb::Stop, r#"{"for":"1h"}"#, "application/json").unwrap_err();
        assert!(problem.detail().contains("for"), "{problem:?}");
    }

    #[test]
    fn f65_a_body_that_is_not_json_is_not_read() {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "text/plain; application/json",
            "application/jsonp",
        ] {
            let problem = said(Verb::Stop, "{}", kind).unwrap_err();
            assert_eq!(problem.status().as_u16(), 415, "{kind}");
        }
        assert!(with_body(Verb::Stop, b"{}", None).is_err());
        assert!(with_body(Verb::Stop, b" ", None).is_err());
        assert_eq!(said(Verb::Stop, "{}", "application/json"), Ok(Verb::Stop));
        assert_eq!(said(Verb::Stop, "", "text/plain"), Ok(Verb::Stop));
    }
}
