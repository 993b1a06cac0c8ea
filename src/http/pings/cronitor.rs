//! Cronitor's telemetry: `/p/KEY/MONITOR?state=run|complete|fail|ok&series=&message=&metric=`.
//!
//! The monitor is a service's name. `run` begins a run and `complete` or `fail` ends it, paired
//! by `series`; `ok`, and no state at all, is a pulse. Of the metrics `duration` is a run's,
//! the others are the service's figures. A monitor that nobody configured is not created.
//!
//! Source: PROTOCOLS 5.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use supervisor_core::event::Note;
use supervisor_core::metrics::Figures;
use supervisor_core::run::{RunEnd, RunSign};

use super::{Asked, Dialect, Pairs, Ping, What, Who};
use super::{not_found, plain_problem, run_id, segments, text};
use crate::http::problem::Problem;
use crate::http::pulse;
use crate::http::routes::Methods;

pub(super) struct Cronitor;

/// What `metric=count:5`, once or often, comes to.
#[derive(Debug, Default, PartialEq)]
struct Metrics {
    figures: Vec<(String, f64)>,
    duration: Option<Duration>,
    complaint: Option<String>,
}

/// Reads the metrics; what makes no sense is left out and said.
fn metrics(query: &Pairs<'_>) -> Metrics {
    let mut figures = Figures::default();
    let mut read = Metrics::default();
    let all = query.all("metric").flat_map(|value| value.split(','));
    for metric in all.filter(|metric| !metric.is_empty()) {
        let taken = match metric.split_once(':') {
            Some((name, number)) => match (name, number.parse::<f64>()) {
                ("duration", Ok(seconds)) => Duration::try_from_secs_f64(seconds)
                    .map(|duration| read.duration = Some(duration))
                    .map_err(|error| error.to_string()),
                (name, Ok(number)) => figures.push(name, number).map_err(|bad| bad.to_string()),
                (_, Err(_)) => Err("the value is no number".to_owned()),
            },
            None => Err("write it as name:number".to_owned()),
        };
        if let Err(why) = taken {
            read.complaint
                .get_or_insert(format!("metric={metric}: {why}"));
        }
    }
    read.figures = figures.into_vec();
    read
}

fn what(query: &Pairs<'_>, metrics: Metrics) -> Result<What, Problem> {
    let said = |key| query.get(key).filter(|text| !text.is_empty());
    let rid = said("series").map(|series| run_id("series", series));
    let rid = rid.transpose()?;
    let message = said("message").map(|text| pulse::cut(text.to_owned()));
    let end = |failed| {
        // Where it failed is worth knowing, where it went well it is not.
        let host = said("host").filter(|_| failed);
        let message = match (message.clone(), host) {
            (Some(message), Some(host)) => Some(format!("{message} (on {host})")),
            (None, Some(host)) => Some(format!("on {host}")),
            (message, None) => message,
        };
        What::Run(RunSign::End(RunEnd {
            rid: rid.clone(),
            failed,
            exit_code: said("status_code").and_then(|code| code.parse().ok()),
            took: metrics.duration,
            message: message.map(pulse::cut),
            output: None,
            metrics: metrics.figures.clone(),
        }))
    };
    match said("state") {
        Some("run") => Ok(What::Run(RunSign::Start { rid })),
        Some("complete") => Ok(end(false)),
        Some("fail") => Ok(end(true)),
        None | Some("ok") => Ok(What::Pulse(Note {
            message,
            metrics: metrics.figures,
            ..Note::default()
        })),
        Some(other) => Err(Problem::bad(
            "bad_query",
            format!("state={other:?} is not run, complete, fail or ok"),
        )),
    }
}

impl Dialect for Cronitor {
    fn prefix(&self) -> &'static str {
        "/p/"
    }

    fn methods(&self) -> Methods {
        Methods::Ping
    }

    fn read<'a>(&self, asked: &Asked<'a>) -> Result<Ping<'a>, Problem> {
        let segments = segments(asked.rest)?;
        let [key, monitor] = <[_; 2]>::try_from(segments).map_err(|_| not_found())?;
        let query = Pairs::parse(asked.query);
        let mut metrics = metrics(&query);
        let complaint = metrics.complaint.take();
        Ok(Ping {
            who: Who::Named {
                key,
                names: vec![monitor],
            },
            what: what(&query, metrics),
            create: false,
            complaint,
        })
    }

    fn done(&self, _created: bool) -> HttpResponse {
        text(StatusCode::OK, "OK")
    }

    fn refused(&self, problem: Problem) -> HttpResponse {
        plain_problem(problem)
    }
}
