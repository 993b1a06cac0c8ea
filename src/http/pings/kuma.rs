//! Uptime Kuma's push monitors: `/api/push/TOKEN?status=up|down&msg=OK&ping=12`, by any method.
//!
//! A token is the project's key, a hyphen and a service's name, or that service's own
//! `ping_uuid`. `ping` (milliseconds) becomes a figure of the service; what is no number is
//! ignored, as Kuma does. Every answer but `{"ok":true}` is 404: that is what its clients know.
//!
//! Source: PROTOCOLS 5.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use serde_json::json;

use supervisor_core::event::Note;

use super::{Asked, Dialect, Pairs, Ping, What, Who};
use super::{not_found, segments};
use crate::http::problem::Problem;
use crate::http::pulse;
use crate::http::routes::Methods;

pub(super) struct Kuma;

fn what(query: &Pairs<'_>) -> What {
    let message = query.get("msg").filter(|msg| !msg.is_empty());
    match query.get("status") {
        None | Some("" | "up") => {
            let ping = query.get("ping").and_then(|ping| ping.parse().ok());
            let ping = ping.filter(|ping: &f64| ping.is_finite());
            What::Pulse(Note {
                // What it says where nobody says anything.
                message: message
                    .filter(|msg| *msg != "OK")
                    .map(|msg| pulse::cut(msg.to_owned())),
                metrics: ping
                    .map(|ping| ("ping".to_owned(), ping))
                    .into_iter()
                    .collect(),
                ..Note::default()
            })
        }
        Some(_) => What::Error(message.unwrap_or("down").to_owned()),
    }
}

fn answer(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body)
}

impl Dialect for Kuma {
    fn prefix(&self) -> &'static str {
        "/api/push/"
    }

    fn methods(&self) -> Methods {
        Methods::Any
    }

    fn read<'a>(&self, asked: &Asked<'a>) -> Result<Ping<'a>, Problem> {
        let [token] = <[_; 1]>::try_from(segments(asked.rest)?).map_err(|_| not_found())?;
        Ok(Ping {
            who: Who::Joined(token),
            what: Ok(what(&Pairs::parse(asked.query))),
            create: false,
            complaint: None,
        })
    }

    fn done(&self, _created: bool) -> HttpResponse {
        answer(StatusCode::OK, &json!({ "ok": true }))
    }

    fn refused(&self, problem: Problem) -> HttpResponse {
        let msg = match problem.status() {
            StatusCode::NOT_FOUND => "Monitor not found or not active.",
            _ => problem.detail(),
        };
        answer(StatusCode::NOT_FOUND, &json!({ "ok": false, "msg": msg }))
    }
}
