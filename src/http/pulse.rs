//! `POST /api/pulse/{service}` and `POST /api/error/{service}`: signs of life.
//!
//! An empty body is a plain pulse, whatever its content type says: that is the hot path, and
//! it neither parses, nor waits, nor allocates. What carries information is recorded before
//! it is acknowledged.
//!
//! A field that we do not know is ignored: a sign of life is not refused because its sender is
//! newer than we are, or adds a timestamp of its own (the time of receipt is what counts). Nor
//! for its figures: where one of them is none, the answer says so, and the pulse is taken
//! without them. (JSON knows no NaN; who writes one all the same is alive.)

use std::borrow::Cow;
use std::fmt;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use supervisor_actors::handle::{Inform, InformError, ServiceHandle};
use supervisor_core::event::{Note, PulseState};
use supervisor_core::metrics::{BadFigure, Figures};
use supervisor_core::name::INTERNAL_PREFIX;
use supervisor_core::run;

use super::api::Api;
use super::body::{self, Span};
use super::problem::Problem;

/// How much of a message is kept. A longer one is cut: its sender is alive all the same.
const MAX_MESSAGE_BYTES: usize = 10_000;

/// A pulse that says something.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Pulse)]
pub(super) struct PulseBody {
    state: Option<PulseState>,
    message: Option<String>,
    cycle: Option<i64>,
    progress: Option<f64>,
    #[schema(value_type = Option<BTreeMap<String, f64>>)]
    metrics: Option<Box<RawValue>>,
    busy_for: Option<Span>,
}

/// An error.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorBody {
    message: Option<String>,
    critical: Option<bool>,
}

/// A service's own figures as they were written.
struct Written(Vec<(String, Box<RawValue>)>);

/// What a pulse tells.
#[derive(Debug, PartialEq)]
struct Told {
    /// `None` where it tells nothing.
    note: Option<Note>,
    /// What is wrong with its figures, which are none then.
    bad_figures: Option<String>,
}

impl PulseBody {
    /// Reads a body.
    fn read(body: &[u8]) -> Result<Told, Problem> {
        let read: Self = body::object(body).or_else(|problem| match without_nan(body) {
            Cow::Owned(body) => body::object(&body),
            Cow::Borrowed(_) => Err(problem),
        })?;
        let figures = read.metrics.as_deref().map_or(Ok(Vec::new()), figures);
        let (metrics, bad_figures) = match figures {
            Ok(metrics) => (metrics, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let note = Note {
            state: read.state,
            message: read.message.map(cut),
            cycle: read.cycle,
            progress: read.progress,
            busy_for: read.busy_for.map(|span| span.0),
            metrics,
        };
        Ok(Told {
            note: (note != Note::default()).then_some(note),
            bad_figures,
        })
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
    let told = PulseBody::read(&body)?;
    let answer = match told.note {
        Some(note) => inform(api, &service, at, Inform::Note(note)).await,
        None => beat(api, &service),
    };
    match told.bad_figures {
        Some(why) => answer.and(Err(bad_figures(&why))),
        None => answer,
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

/// The service that somebody speaks for.
pub(super) fn find(api: &Api, name: &str) -> Result<ServiceHandle, Problem> {
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

/// Tells what carries information, and answers when it is recorded.
pub(super) async fn inform(
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

/// 422: the pulse is taken, its figures are not.
pub(super) fn bad_figures(why: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad_metrics",
        format!("taken as a pulse, but without its metrics: {why}"),
    )
}

/// What to answer where a sign of life was not taken, or not recorded.
pub(super) fn refused(error: &InformError) -> Problem {
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
pub(super) fn cut(mut text: String) -> String {
    text.truncate(run::cut(&text, MAX_MESSAGE_BYTES).len());
    text
}

/// The figures of a pulse, all of them good.
pub(super) fn figures(written: &RawValue) -> Result<Vec<(String, f64)>, String> {
    let Ok(Written(written)) = serde_json::from_str(written.get()) else {
        return Err("metrics: expected an object of names and numbers".to_owned());
    };
    let mut figures = Figures::default();
    for (name, value) in written {
        let number = serde_json::from_str(value.get());
        let taken = match number {
            Ok(number) => figures.push(&name, number),
            // Its name may be what is wrong with it, too.
            Err(_) => figures
                .push(&name, 0.0)
                .and(Err(BadFigure::value(&name, value.get()))),
        };
        taken.map_err(|bad| bad.to_string())?;
    }
    Ok(figures.into_vec())
}

/// A body whose bare `NaN`, `Infinity` and `-Infinity`, which Python and others write, stand
/// in quotes: as JSON that says what they are.
fn without_nan(body: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let mut fixed = Vec::new();
    let (mut at, mut done, mut in_string) = (0, 0, false);
    while at < body.len() {
        match body[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            _ => {
                let rest = &body[at..];
                if let Some(word) = WORDS.iter().find(|word| rest.starts_with(word)) {
                    fixed.extend_from_slice(&body[done..at]);
                    fixed.push(b'"');
                    fixed.extend_from_slice(word);
                    fixed.push(b'"');
                    at += word.len();
                    done = at;
                    continue;
                }
            }
        }
        at += 1;
    }
    if done == 0 {
        return Cow::Borrowed(body);
    }
    fixed.extend_from_slice(&body[done..]);
    Cow::Owned(fixed)
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and numbers")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Written, M::Error> {
                // Bounded by the body's size. A name that comes twice must be seen.
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Written(entries))
            }
        }

        from.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn note(text: &str) -> Result<Option<Note>, Problem> {
        PulseBody::read(text.as_bytes()).map(|told| {
            assert_eq!(told.bad_figures, None, "{text}");
            told.note
        })
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
        for (text, named) in [
            ("[]", "array"),
            (r#"["idle"]"#, "array"),
            (r#"{"state":"sleepy"}"#, "sleepy"),
            (r#"{"progress":1e999}"#, "number out of range"),
            (r#"{"progress":NaN}"#, "NaN"),
            (r#"{"cycle":1.5}"#, "i64"),
            (r#"{"cycle":99999999999999999999}"#, "i64"),
            (r#"{"metrics":{"a":}}"#, "expected value"),
            (r#"{"metrics":{"a":1}"#, "EOF"),
            (r#"{"metrics":{},"metrics":{}}"#, "duplicate field"),
            (r#"{"busy_for":"soon"}"#, "soon"),
            (r#"{"message":5}"#, "string"),
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
    fn f60_bad_figures_are_named_and_the_rest_of_the_pulse_is_taken() {
        let many: Vec<String> = (0..33).map(|n| format!(r#""m{n}":1"#)).collect();
        let many = format!("{{{}}}", many.join(","));
        let long = format!(r#"{{"{}":1}}"#, "a".repeat(65));
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
        for (metrics, named) in [
            (r#"{"A":1}"#, r#"metrics: "A" is no name"#),
            (r#"{"":1}"#, r#"metrics: "" is no name"#),
            (r#"{"a":1,"a":2}"#, "metrics.a: given twice"),
            (r#"{"a":"1"}"#, r#"metrics.a: "1" is no finite number"#),
            (r#"{"a":null}"#, "metrics.a: null is no"),
            (r#"{"a":1e999}"#, "metrics.a: 1e999 is no"),
            (r#"{"a":NaN}"#, r#"metrics.a: "NaN" is no"#),
            (
                r#"{"b":1,"a":-Infinity}"#,
                r#"metrics.a: "-Infinity" is no"#,
            ),
            (r#"{"\u0041":{}}"#, r#"metrics: "A" is no name"#),
            (&deep, "metrics.a: [[["),
            ("[1]", "names and numbers"),
            ("7", "names and numbers"),
            (r#""a=1""#, "names and numbers"),
            ("NaN", "names and numbers"),
            (&many, "more than 32"),
            (&long, "64 characters"),
        ] {
            let text = format!(r#"{{"cycle":7,"metrics":{metrics},"message":"a NaN, b"}}"#);
            let told = PulseBody::read(text.as_bytes()).unwrap();
            let note = told.note.expect("the rest");
            assert_eq!(
                (note.cycle, note.metrics.len()),
                (Some(7), 0),
                "{metrics:.40}"
            );
            assert_eq!(note.message.as_deref(), Some("a NaN, b"), "{metrics:.40}");
            let said = told.bad_figures.expect("what is wrong");
            assert!(
                said.contains(named) && said.len() < 200,
                "{metrics:.40}: {said}"
            );
        }
    }

    #[test]
    fn f26_a_field_that_we_do_not_know_is_no_reason_to_refuse_a_sign_of_life() {
        for text in [
            r#"{"timestamp":"2099-01-01T00:00:00Z"}"#,
            r#"{"timestamp":-1,"mood":{"today":["good"]}}"#,
        ] {
            assert_eq!(note(text).unwrap(), None, "{text}");
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
