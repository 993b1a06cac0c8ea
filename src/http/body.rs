//! Request bodies: small, whole, and in time.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The largest body that any route takes.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// Reads a whole body. actix-web bounds its size in extractors only, and the time that it may
/// take nowhere.
pub(super) async fn read(
    request: &HttpRequest,
    payload: Payload,
    deadline: Duration,
) -> Result<Bytes, Problem> {
    if matches!(payload, Payload::None) {
        return Ok(Bytes::new());
    }
    let headers = request.headers();
    if announced(headers).is_some_and(|length| length > MAX_BYTES as u64) {
        return Err(too_large(MAX_BYTES));
    }
    if is_compressed(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "compressed bodies are not taken",
        ));
    }
    in_time(deadline, collect(payload)).await
}

/// Reads a whole body of whatever kind and gives its beginning: so many bytes are kept, and
/// beyond so many it is refused. One that is compressed is read and not kept.
pub(super) async fn beginning(
    request: &HttpRequest,
    payload: Payload,
    (kept, most): (usize, usize),
    deadline: Duration,
) -> Result<Bytes, Problem> {
    if matches!(payload, Payload::None) {
        return Ok(Bytes::new());
    }
    let headers = request.headers();
    if announced(headers).is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    let kept = if is_compressed(headers) { 0 } else { kept };
    let reading = async {
        let mut payload = payload;
        let (mut body, mut length) = (BytesMut::new(), 0);
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| broken(&error))?;
            length += chunk.len();
            if length > most {
                return Err(too_large(most));
            }
            let room = kept - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok(body.freeze())
    };
    in_time(deadline, reading).await
}

async fn in_time(
    deadline: Duration,
    reading: impl Future<Output = Result<Bytes, Problem>>,
) -> Result<Bytes, Problem> {
    match actix_web::rt::time::timeout(deadline, reading).await {
        Ok(body) => body,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow_body",
            format!("the body did not arrive within {deadline:?}"),
        )),
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn is_compressed(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn broken(error: &PayloadError) -> Problem {
    Problem::bad("broken_body", format!("the body broke off: {error}"))
}

async fn collect(mut payload: Payload) -> Result<Bytes, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(too_large(MAX_BYTES));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn too_large(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("a body has at most {most} bytes"),
    )
}

/// Whether a body says nothing.
pub(super) fn is_blank(body: &[u8]) -> bool {
    body.trim_ascii().is_empty()
}

/// Reads JSON, with what is wrong and where in the answer.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad("bad_json", format!("the body cannot be read: {error}")))
}

/// As [`json`], for what is written as an object alone: serde reads a struct from an array of
/// its fields, too, and would take `[]` for one that says nothing.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::bad(
            "bad_json",
            "the body cannot be read: expected an object, found an array at line 1",
        ));
    }
    json(body)
}

/// A duration in a body or a query: `"1m 30s"`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSpan")]
pub(super) struct Span(pub(super) Duration);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a duration such as \"1m 30s\", or a number of seconds"
)]
enum RawSpan {
    Seconds(f64),
    Text(String),
}

impl TryFrom<RawSpan> for Span {
    type Error = String;

    fn try_from(raw: RawSpan) -> Result<Self, String> {
        match raw {
            RawSpan::Seconds(seconds) => Self::of_seconds(seconds),
            RawSpan::Text(text) => Self::of_text(&text),
        }
    }
}

impl Span {
    /// # Errors
    /// Why it is none.
    pub(super) fn of_seconds(seconds: f64) -> Result<Self, String> {
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|error| format!("{seconds} is no duration in seconds: {error}"))
    }

    /// # Errors
    /// Why it is none.
    pub(super) fn of_text(text: &str) -> Result<Self, String> {
        crate::human_time::duration(text)
            .map(Self)
            .map_err(|error| format!("{text:?} is no duration such as \"1m 30s\": {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_text_or_a_number_of_seconds() {
        let span = |text: &str| json::<Span>(text.as_bytes());
        assert_eq!(span("\"1m 30s\"").unwrap().0, Duration::from_secs(90));
        assert_eq!(span("0.5").unwrap().0, Duration::from_millis(500));
        assert_eq!(span("90").unwrap().0, Duration::from_secs(90));
        for wrong in ["-1", "1e300", "\"soon\"", "\"-1s\"", "true", "[]", "\"\""] {
            let problem = span(wrong).unwrap_err();
            assert_eq!(problem.code(), "bad_json", "{wrong}");
            assert!(problem.detail().contains("duration"), "{problem:?}");
        }
    }

    #[test]
    fn f60_deep_json_is_refused_before_it_costs_a_stack() {
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        let problem = json::<serde_json::Value>(deep.as_bytes()).unwrap_err();
        assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
        assert!(problem.detail().contains("line 1"), "{problem:?}");
    }
}
