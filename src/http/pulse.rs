//! `POST /api/pulse/{service}` and `POST /api/error/{service}`: signs of life.
//!
//! An empty body is a plain pulse, whatever its content type says: that is the hot path, and
//! it neither parses, nor waits, nor allocates. What carries information is recorded before
//! it is acknowledged.
//!
//! A field that we do not know is ignored: a sign of life is not refused because its sender is
//! newer than we are, or adds a timestamp of its own (the time of receipt is what counts).

use std::fmt;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use supervisor_actors::handle::{Inform, InformError, ServiceHandle};
use supervisor_core::event::{Note, PulseState};
use supervisor_core::name::INTERNAL_PREFIX;

use super::api::Api;
use super::body::{self, Span};
use super::problem::Problem;

/// How much of a message is kept. A longer one is cut: its sender is alive all the same.
const MAX_MESSAGE_BYTES: usize = 10_000;
/// How many figures a pulse may carry.
const MAX_METRICS: usize = 32;
/// How long a figure's name may be.
const MAX_METRIC_NAME: usize = 64;

/// A pulse that says something.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PulseBody {
    state: Option<PulseState>,
    message: Option<String>,
    cycle: Option<i64>,
    progress: Option<f64>,
    metrics: Option<Metrics>,
    busy_for: Option<Span>,
}

/// An error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    message: Option<String>,
    critical: Option<bool>,
}

/// A service's own figures, in its order.
#[derive(Debug, Default, PartialEq)]
struct Metrics(Vec<(String, f64)>);

impl PulseBody {
    /// What it tells; `None` where it tells nothing.
    fn note(self) -> Option<Note> {
        let note = Note {
            state: self.state,
            message: self.message.map(cut),
            cycle: self.cycle,
            progress: self.progress,
            busy_for: self.busy_for.map(|span| span.0),
            metrics: self.metrics.unwrap_or_default().0,
        };
        (note != Note::default()).then_some(note)
    }
}

/// Whether a pulse comes without a body. An empty one that is announced as chunked is read
/// first.
pub(super) fn is_plain(payload: &Payload) -> bool {
    matches!(payload, Payload::None)
}

/// `POST /api/pulse/{service}` without a body.
pub(super) fn plain(api: &Api, name: &str) -> Result<HttpResponse, Problem> {
    beat(api, &find(api, name)?)
}

/// `POST /api/pulse/{service}`.
pub(super) async fn pulse(
    api: &Api,
    name: &str,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let service = find(api, name)?;
    let at = api.clock.mono();
    let body = body::read(request, payload, api.patience.body).await?;
    if body::is_blank(&body) {
        return beat(api, &service);
    }
    match body::object::<PulseBody>(&body)?.note() {
        Some(note) => inform(api, &service, at, Inform::Note(note)).await,
        None => beat(api, &service),
    }
}

/// `POST /api/error/{service}`.
pub(super) async fn error(
    api: &Api,
    name: &str,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let service = find(api, name)?;
    let at = api.clock.mono();
    let body = body::read(request, payload, api.patience.body).await?;
    let body = if body::is_blank(&body) {
        ErrorBody::default()
    } else {
        body::object(&body)?
    };
    let error = Inform::Error {
        message: cut(body.message.unwrap_or_default()),
        critical: body.critical.unwrap_or(false),
    };
    inform(api, &service, at, error).await
}

/// Refuses to speak for our own actors.
pub(super) fn not_internal(name: &str) -> Result<(), Problem> {
    if name.starts_with(INTERNAL_PREFIX) {
        return Err(Problem::forbidden(
            "internal",
            format!("{name:?} is a part of the supervisor: nobody else speaks for it"),
        ));
    }
    Ok(())
}

fn find(api: &Api, name: &str) -> Result<ServiceHandle, Problem> {
    not_internal(name)?;
    api.directory
        .get(name)
        .ok_or_else(|| Problem::unknown_service(name))
}

fn beat(api: &Api, service: &ServiceHandle) -> Result<HttpResponse, Problem> {
    match service.pulse(api.clock.mono()) {
        Ok(()) => Ok(accepted()),
        Err(error) => Err(refused(&error)),
    }
}

async fn inform(
    api: &Api,
    service: &ServiceHandle,
    at: supervisor_core::Mono,
    inform: Inform,
) -> Result<HttpResponse, Problem> {
    // Giving up on the answer takes nothing back: the message is on its way, and whoever
    // would acknowledge it finds that nobody waits.
    match actix_web::rt::time::timeout(api.patience.answer, service.inform(at, inform)).await {
        Ok(Ok(())) => Ok(accepted()),
        Ok(Err(error)) => Err(refused(&error)),
        Err(_) => Err(not_recorded("it takes too long")),
    }
}

fn accepted() -> HttpResponse {
    HttpResponse::new(StatusCode::ACCEPTED)
}

fn refused(error: &InformError) -> Problem {
    match error {
        InformError::Full => Problem::unavailable("busy", error.to_string()),
        InformError::Closed => Problem::unavailable("not_answering", error.to_string()),
        InformError::NotRecorded(source) => not_recorded(&source.to_string()),
    }
}

/// 507: it counts as a sign of life, but the history will not tell of it.
fn not_recorded(why: &str) -> Problem {
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "not_recorded",
        format!("taken as a sign of life, but not recorded: {why}"),
    )
}

/// Cuts a text to what is kept, between two characters.
fn cut(mut text: String) -> String {
    let end = (0..=MAX_MESSAGE_BYTES.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or(0));
    text
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Figures;

        impl<'de> Visitor<'de> for Figures {
            type Value = Metrics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and numbers")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Metrics, M::Error> {
                let mut figures: Vec<(String, f64)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, f64>()? {
                    if figures.len() == MAX_METRICS {
                        return Err(M::Error::custom(format!(
                            "metrics: more than {MAX_METRICS} of them"
                        )));
                    }
                    if !is_metric_name(&name) {
                        return Err(M::Error::custom(format!(
                            "metrics: {name:?} is no name of 1 to {MAX_METRIC_NAME} characters a-z, 0-9 and _"
                        )));
                    }
                    if figures.iter().any(|(other, _)| *other == name) {
                        return Err(M::Error::custom(format!("metrics: {name} comes twice")));
                    }
                    figures.push((name, value));
                }
                Ok(Metrics(figures))
            }
        }

        from.deserialize_map(Figures)
    }
}

fn is_metric_name(name: &str) -> bool {
    (1..=MAX_METRIC_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn note(text: &str) -> Result<Option<Note>, Problem> {
        body::object::<PulseBody>(text.as_bytes()).map(PulseBody::note)
    }

    #[test]
    fn every_field_of_a_pulse_is_taken() {
        let text = r#"{"state":"idle","message":"m","cycle":7,"progress":0.5,
            "metrics":{"k":1.5,"b_2":-3},"busy_for":"2m"}"#;
        assert_eq!(
            note(text).unwrap().unwrap(),
            Note {
                state: Some(PulseState::Idle),
                message: Some("m".to_owned()),
                cycle: Some(7),
                progress: Some(0.5),
                busy_for: Some(Duration::from_secs(120)),
                metrics: vec![("k".to_owned(), 1.5), ("b_2".to_owned(), -3.0)],
            }
        );
    }

    #[test]
    fn a_body_that_carries_nothing_is_a_plain_pulse() {
        for text in ["{}", r#"{"message":null}"#, r#"{"metrics":{}}"#] {
            assert_eq!(note(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn f60_a_wrong_body_is_refused_with_the_field_and_the_place() {
        let many: Vec<String> = (0..33).map(|n| format!(r#""m{n}":1"#)).collect();
        let many = format!(r#"{{"metrics":{{{}}}}}"#, many.join(","));
        let long = format!(r#"{{"metrics":{{"{}":1}}}}"#, "a".repeat(65));
        for (text, named) in [
            ("[]", "array"),
            (r#"["idle"]"#, "array"),
            (r#"{"state":"sleepy"}"#, "sleepy"),
            (r#"{"progress":1e999}"#, "number out of range"),
            (r#"{"progress":NaN}"#, "expected"),
            (r#"{"cycle":1.5}"#, "i64"),
            (r#"{"cycle":99999999999999999999}"#, "i64"),
            (r#"{"metrics":{"A":1}}"#, "\"A\""),
            (r#"{"metrics":{"":1}}"#, "\"\""),
            (r#"{"metrics":{"a":1,"a":2}}"#, "a comes twice"),
            (r#"{"metrics":{"a":"1"}}"#, "f64"),
            (r#"{"metrics":[1]}"#, "names and numbers"),
            (r#"{"busy_for":"soon"}"#, "soon"),
            (r#"{"message":5}"#, "string"),
            (&many, "more than 32"),
            (&long, "64 characters"),
            ("null", "null"),
            ("{", "EOF"),
            ("hello", "expected"),
            (r#"{"message":"a","message":"b"}"#, "duplicate field"),
            ("{}{}", "trailing"),
        ] {
            let problem = note(text).unwrap_err();
            assert_eq!(problem.status().as_u16(), 400, "{text}");
            assert!(problem.detail().contains(named), "{text}: {problem:?}");
            assert!(problem.detail().contains("line 1"), "{text}: {problem:?}");
        }
    }

    #[test]
    fn f26_a_field_that_we_do_not_know_is_no_reason_to_refuse_a_sign_of_life() {
        for text in [
            r#"{"timestamp":"2099-01-01T00:00:00Z"}"#,
            r#"{"timestamp":-1,"mood":{"today":["good"]}}"#,
        ] {
            assert_eq!(note(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let long = "ü".repeat(MAX_MESSAGE_BYTES);
        let kept = cut(format!("a{long}"));
        assert!(kept.len() <= MAX_MESSAGE_BYTES && kept.len() > MAX_MESSAGE_BYTES - 4);
        assert!(long.contains(&kept[1..]));
    }
}
