//! healthchecks.io's pings: a line of curl in a crontab, runitor, and dozens of libraries.
//!
//! `/ping/UUID`, `/ping/KEY/SLUG`, each followed by nothing, `/start`, `/fail`, `/log` or an
//! exit status; `rid=` pairs a start with its end, `create=1` on a slug creates it. The slug
//! is a service's name, the uuid its `ping_uuid`.
//!
//! Source: PROTOCOLS 4.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};

use supervisor_core::run::{MOST_OUTPUT, RunEnd, RunId, RunSign};

use super::{Asked, Dialect, Pairs, Ping, What, Who};
use super::{not_found, plain_problem, run_id, segments, text};
use crate::http::problem::Problem;
use crate::http::routes::Methods;
use crate::uuid::Uuid;

pub(super) struct Healthchecks;

const BODY_LIMIT: HeaderName = HeaderName::from_static("ping-body-limit");

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Success,
    Start,
    Fail,
    Log,
    /// A number of whatever size.
    ExitStatus(Option<u8>),
}

impl Action {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "start" => Self::Start,
            "fail" => Self::Fail,
            "log" => Self::Log,
            _ if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::ExitStatus(word.parse().ok())
            }
            _ => return None,
        })
    }

    fn what(self, rid: Option<RunId>) -> Result<What, Problem> {
        let end = |failed, exit_code| {
            RunSign::End(RunEnd {
                rid: rid.clone(),
                failed,
                exit_code,
                ..RunEnd::default()
            })
        };
        Ok(What::Run(match self {
            Self::Success => end(false, None),
            Self::Fail => end(true, None),
            Self::ExitStatus(Some(status)) => end(status != 0, Some(status.into())),
            Self::ExitStatus(None) => {
                return Err(Problem::bad("bad_path", "invalid url format"));
            }
            Self::Start => RunSign::Start { rid },
            Self::Log => RunSign::Log {
                rid,
                output: String::new(),
            },
        }))
    }
}

/// What `rid=` says: the usual form of a uuid and nothing else.
fn rid(query: &Pairs<'_>) -> Result<Option<RunId>, Problem> {
    let Some(text) = query.get("rid") else {
        return Ok(None);
    };
    match Uuid::parse(text) {
        Some(uuid) => run_id("rid", &uuid.to_string()).map(Some),
        None => Err(Problem::bad("bad_query", "invalid uuid format")),
    }
}

impl Dialect for Healthchecks {
    fn prefix(&self) -> &'static str {
        "/ping/"
    }

    fn methods(&self) -> Methods {
        Methods::Ping
    }

    fn read<'a>(&self, asked: &Asked<'a>) -> Result<Ping<'a>, Problem> {
        let mut segments = segments(asked.rest)?.into_iter();
        let first = segments.next().ok_or_else(not_found)?;
        let rest: Vec<_> = segments.collect();
        let uuid = Uuid::parse(&first);
        let (who, action) = match (uuid, rest.as_slice()) {
            (Some(uuid), []) => (Who::Own(uuid), Action::Success),
            (Some(uuid), [action]) => {
                let action = Action::parse(action).ok_or_else(not_found)?;
                (Who::Own(uuid), action)
            }
            (None, [slug, action @ ..]) => {
                let action = match action {
                    [] => Action::Success,
                    [action] => Action::parse(action).ok_or_else(not_found)?,
                    _ => return Err(not_found()),
                };
                let names = vec![slug.clone()];
                (Who::Named { key: first, names }, action)
            }
            (Some(_), _) | (None, []) => return Err(not_found()),
        };
        let query = Pairs::parse(asked.query);
        Ok(Ping {
            create: matches!(who, Who::Named { .. }) && query.get("create") == Some("1"),
            who,
            what: rid(&query).and_then(|rid| action.what(rid)),
            complaint: None,
        })
    }

    fn done(&self, created: bool) -> HttpResponse {
        let mut response = if created {
            text(StatusCode::CREATED, "Created")
        } else {
            text(StatusCode::OK, "OK")
        };
        let limit = HeaderValue::from(MOST_OUTPUT);
        response.headers_mut().insert(BODY_LIMIT, limit);
        response
    }

    fn refused(&self, problem: Problem) -> HttpResponse {
        plain_problem(problem)
    }
}
