//! Runs, pieces of work with a beginning and an end: `POST /api/run/{service}` tells of one,
//! `GET /api/runs/{name}` lists those that have ended, `GET /api/runs/{name}/{id}` gives one
//! with what it printed.
//!
//! A success is a pulse and a failure an error; a start is neither. All of it is recorded
//! before it is acknowledged. Runs are read like events; what a run printed is read like a log.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use supervisor_actors::handle::Inform;
use supervisor_actors::ports::{RunQuery, RunRow};
use supervisor_core::run::{MOST_OUTPUT, RunEnd, RunId, RunSign};

use super::api::Api;
use super::body::{self, Span};
use super::health::json;
use super::problem::Problem;
use super::query::Query;
use super::{pulse, services};

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 1000;

/// What is said of a run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RunReport)]
pub(super) struct RunBody {
    state: Option<State>,
    rid: Option<String>,
    exit_code: Option<i32>,
    duration: Option<Span>,
    message: Option<String>,
    output: Option<String>,
    #[schema(value_type = Option<BTreeMap<String, f64>>)]
    metrics: Option<Box<RawValue>>,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RunState)]
enum State {
    Start,
    Log,
    Success,
    Failure,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Runs)]
pub(super) struct Page {
    runs: Vec<RunRow>,
    /// The `before` of the next page; null where this is the last.
    next: Option<i64>,
}

/// `POST /api/run/{service}`.
pub(super) async fn tell(
    api: &Api,
    name: &str,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let service = pulse::find(api, name)?;
    let at = api.clock.mono();
    let body = body::read(request, payload, api.patience.body).await?;
    let (sign, bad_figures) = body::object::<RunBody>(&body)?.sign()?;
    let answer = pulse::inform(api, &service, at, Inform::Run(sign)).await;
    match bad_figures {
        Some(why) => answer.and(Err(pulse::bad_figures(&why))),
        None => answer,
    }
}

impl RunBody {
    /// What it says, and what is wrong with its figures, which are none then.
    fn sign(self) -> Result<(RunSign, Option<String>), Problem> {
        let rid = self.rid.as_deref().map(RunId::new).transpose();
        let rid = rid.map_err(|error| Problem::bad("bad_run", format!("rid: {error}")))?;
        let output = self.output.map(|output| end_of(&output).to_owned());
        let failed = match (self.state, self.exit_code) {
            (Some(State::Start), _) => return Ok((RunSign::Start { rid }, None)),
            (Some(State::Log), _) => {
                let output = output.or(self.message).unwrap_or_default();
                return Ok((RunSign::Log { rid, output }, None));
            }
            (Some(State::Success), None | Some(0)) | (None, Some(0)) => false,
            (Some(State::Failure), _) | (None, Some(_)) => true,
            (Some(State::Success), Some(code)) => {
                return Err(Problem::bad(
                    "bad_run",
                    format!("state: a success with the exit_code {code}; leave one of them out"),
                ));
            }
            (None, None) => {
                return Err(Problem::bad(
                    "bad_run",
                    "state: \"start\", \"log\", \"success\" or \"failure\" is needed, or an exit_code",
                ));
            }
        };
        let (metrics, bad) = match self.metrics.as_deref().map_or(Ok(vec![]), pulse::figures) {
            Ok(metrics) => (metrics, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let end = RunEnd {
            rid,
            failed,
            exit_code: self.exit_code,
            took: self.duration.map(|span| span.0),
            message: self.message.map(pulse::cut),
            output,
            metrics,
        };
        Ok((RunSign::End(end), bad))
    }
}

/// The end of what a run printed, as much as is kept.
fn end_of(output: &str) -> &str {
    let from = output.len().saturating_sub(MOST_OUTPUT);
    let from = (from..=output.len()).find(|&at| output.is_char_boundary(at));
    &output[from.unwrap_or(output.len())..]
}

/// `GET /api/runs/{name}?limit=&before=`: the youngest first, without what they printed.
pub(super) async fn list(api: &Api, name: &str, query: &str) -> Result<HttpResponse, Problem> {
    let query = read(name, query)?;
    let limit = query.limit as usize;
    let runs = ask(api, query).await?;
    if runs.is_empty() && api.directory.get(name).is_none() {
        // One that is gone may still have a history; this one never had any, or no longer.
        return Err(Problem::unknown_service(name));
    }
    let next = runs.last().filter(|_| runs.len() == limit);
    let next = next.map(|run| run.id).filter(|&id| id > 1);
    Ok(json(&Page { runs, next }))
}

/// `GET /api/runs/{name}/{id}`: one, with what it printed.
pub(super) async fn one(api: &Api, name: &str, id: &str) -> Result<HttpResponse, Problem> {
    let unknown = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_run",
            format!("{name:?} has no run {id:?}, or it is forgotten"),
        )
    };
    let query = RunQuery {
        number: Some(id.parse().map_err(|_| unknown())?),
        output: true,
        ..read(name, "")?
    };
    let run = ask(api, query).await?.pop().ok_or_else(unknown)?;
    Ok(json(&run))
}

async fn ask(api: &Api, query: RunQuery) -> Result<Vec<RunRow>, Problem> {
    let answer = api.supervisor.runs(query);
    match actix_web::rt::time::timeout(api.patience.answer, answer).await {
        Ok(Ok(runs)) => Ok(runs),
        Ok(Err(error)) => Err(Problem::unavailable("no_history", error.to_string())),
        Err(_) => Err(Problem::unavailable(
            "no_history",
            "the history could not be read in time",
        )),
    }
}

fn read(name: &str, query: &str) -> Result<RunQuery, Problem> {
    let query = Query::parse(query, &["limit", "before"])?;
    let limit = match query.get("limit") {
        None => DEFAULT_LIMIT,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| Query::wrong("limit", limit, "a number from 1 to 1000"))?,
    };
    let before = match query.get("before") {
        None => None,
        Some(before) => Some(before.parse().map_err(|_| {
            Query::wrong("before", before, "a run's id, or an earlier answer's next")
        })?),
    };
    Ok(RunQuery {
        service: services::checked(name)?.as_str().to_owned(),
        number: None,
        before,
        limit,
        output: false,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sign(text: &str) -> Result<RunSign, Problem> {
        let (sign, bad) = body::object::<RunBody>(text.as_bytes())?.sign()?;
        assert_eq!(bad, None, "{text}");
        Ok(sign)
    }

    #[test]
    fn every_field_of_an_end_is_taken() {
        let text = r#"{"state":"failure","rid":"a-1","exit_code":3,"duration":"1m 30s",
            "message":"disk full","output":"…","metrics":{"rows":7}}"#;
        let end = RunEnd {
            rid: Some(RunId::new("a-1").unwrap()),
            failed: true,
            exit_code: Some(3),
            took: Some(Duration::from_secs(90)),
            message: Some("disk full".to_owned()),
            output: Some("…".to_owned()),
            metrics: vec![("rows".to_owned(), 7.0)],
        };
        assert_eq!(sign(text), Ok(RunSign::End(end)));
    }

    #[test]
    fn an_exit_code_alone_says_how_it_went() {
        for (text, failed) in [
            (r#"{"exit_code":0}"#, false),
            (r#"{"exit_code":1}"#, true),
            (r#"{"exit_code":-1}"#, true),
            (r#"{"state":"success"}"#, false),
            (r#"{"state":"failure","exit_code":0}"#, true),
        ] {
            match sign(text) {
                Ok(RunSign::End(end)) => assert_eq!(end.failed, failed, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn f60_a_wrong_body_is_refused_with_its_field() {
        let long = format!(r#"{{"state":"start","rid":"{}"}}"#, "a".repeat(65));
        for (text, named) in [
            ("{}", "state"),
            (r#"{"rid":"a"}"#, "state"),
            (r#"{"state":"running"}"#, "running"),
            (r#"{"state":"success","exit_code":1}"#, "exit_code"),
            (r#"{"exit_code":1.5}"#, "i32"),
            (r#"{"exit_code":99999999999}"#, "i32"),
            (r#"{"state":"start","rid":""}"#, "rid"),
            (r#"{"state":"start","rid":"a b"}"#, "rid"),
            (r#"{"state":"start","rid":7}"#, "string"),
            (&long, "rid"),
            (r#"{"exit_code":0,"duration":-1}"#, "duration"),
            (r#"{"exit_code":0,"duration":"soon"}"#, "soon"),
            (r#"{"exit_code":0,"output":["a"]}"#, "string"),
            ("[]", "array"),
            ("", "EOF"),
        ] {
            let problem = sign(text).unwrap_err();
            assert_eq!(problem.status().as_u16(), 400, "{text}");
            assert!(problem.detail().contains(named), "{text}: {problem:?}");
        }
    }

    #[test]
    fn of_a_long_output_its_end_is_kept() {
        let long = format!("{}ü end", "ü".repeat(MOST_OUTPUT));
        let kept = end_of(&long);
        assert!(kept.ends_with("ü end") && kept.len() <= MOST_OUTPUT);
        assert!(kept.len() > MOST_OUTPUT - 4);
        assert_eq!(end_of("short"), "short");
    }

    #[test]
    fn a_wrong_query_names_its_key() {
        for (query, key) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("before=x", "before"),
            ("limti=1", "limti"),
            ("before=1&before=2", "before"),
        ] {
            let problem = read("a", query).unwrap_err();
            assert_eq!(problem.status().as_u16(), 400, "{query}");
            assert!(problem.detail().contains(key), "{query}: {problem:?}");
        }
        assert_eq!(read("Not A Name", "").unwrap_err().status().as_u16(), 404);
    }
}
