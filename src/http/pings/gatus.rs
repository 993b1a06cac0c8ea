//! Gatus' external endpoints:
//! `POST /api/v1/endpoints/GROUP_NAME/external?success=true|false[&error=…][&duration=3s]`, with
//! the project's key or the service's own `ping_uuid` as bearer token.
//!
//! Gatus writes an endpoint's key as its group, an underscore and its name. The service is
//! the one that is called like the whole key, so that two groups may have one of the same
//! name; else the one that is called like what follows the first underscore: services know
//! no groups. `duration` becomes a figure of the service, in seconds.
//!
//! Source: PROTOCOLS 5.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;

use supervisor_core::event::Note;

use super::go_duration::go_duration;
use super::{Asked, Dialect, Pairs, Ping, WRONG_KEY, What, Who};
use super::{not_found, plain_problem, segments, text};
use crate::http::problem::Problem;
use crate::http::routes::Methods;

pub(super) struct Gatus;

/// The services that a key may mean, in this order.
fn names(key: Cow<'_, str>) -> Vec<Cow<'_, str>> {
    let name = match &key {
        Cow::Borrowed(key) => key.split_once('_').map(|(_, name)| Cow::Borrowed(name)),
        Cow::Owned(key) => key
            .split_once('_')
            .map(|(_, name)| Cow::Owned(name.to_owned())),
    };
    std::iter::once(key).chain(name).collect()
}

/// The token of the request.
fn token(authorization: Option<&HeaderValue>) -> Result<&str, Problem> {
    let refuse = |detail| Problem::unauthorized("bad_authorization", detail);
    let header = authorization.and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer "));
    match token.map(str::trim) {
        None => Err(refuse("invalid Authorization header")),
        Some("") => Err(refuse("bearer token must not be empty")),
        Some(token) => Ok(token),
    }
}

fn what(query: &Pairs<'_>, success: bool) -> Result<What, Problem> {
    let duration = query.get("duration").filter(|text| !text.is_empty());
    let duration = duration
        .map(go_duration)
        .transpose()
        .map_err(|why| Problem::bad("bad_query", format!("invalid duration: {why}")))?;
    if !success {
        let error = query.get("error").filter(|text| !text.is_empty());
        return Ok(What::Error(error.unwrap_or("the check failed").to_owned()));
    }
    let figure = duration.map(|duration| ("duration".to_owned(), duration.as_secs_f64()));
    Ok(What::Pulse(Note {
        metrics: figure.into_iter().collect(),
        ..Note::default()
    }))
}

impl Dialect for Gatus {
    fn prefix(&self) -> &'static str {
        "/api/v1/endpoints/"
    }

    fn methods(&self) -> Methods {
        Methods::Post
    }

    fn read<'a>(&self, asked: &Asked<'a>) -> Result<Ping<'a>, Problem> {
        let [key, word] = <[_; 2]>::try_from(segments(asked.rest)?).map_err(|_| not_found())?;
        if word != "external" {
            return Err(not_found());
        }
        let query = Pairs::parse(asked.query);
        let success = match query.get("success") {
            Some("true") => true,
            Some("false") => false,
            Some(_) | None => {
                return Err(Problem::bad(
                    "bad_query",
                    "missing or invalid success query parameter",
                ));
            }
        };
        Ok(Ping {
            who: Who::Named {
                key: Cow::Borrowed(token(asked.authorization)?),
                names: names(key),
            },
            what: what(&query, success),
            create: false,
            complaint: None,
        })
    }

    fn done(&self, _created: bool) -> HttpResponse {
        text(StatusCode::OK, "")
    }

    fn refused(&self, problem: Problem) -> HttpResponse {
        if problem.code() == WRONG_KEY {
            return plain_problem(Problem::unauthorized(WRONG_KEY, "invalid token"));
        }
        plain_problem(problem)
    }
}
