//! A probe that asks an HTTP server: status, and perhaps body.
//!
//! Each look makes a connection of its own: that a server still talks on an old one says
//! nothing about whether it takes new ones, and with TLS the certificate is seen each time.
//! Redirects are not followed; whoever expects one says so in `expect`.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use awc::http::header::{HeaderName, HeaderValue, LOCATION};
use awc::http::{Method, StatusCode, Uri};
use futures_util::future::LocalBoxFuture;
use regex::bytes::Regex;
use supervisor_actors::ports::{Check, Look};

use super::look_of;
use crate::adapters::http_client::{Answer, Bounds, CallError, HttpCalls, Trust};

/// How much of a body is read: whoever says that he is well needs no more.
pub(super) const BODY_BYTES: usize = 64 * 1024;
/// A body beyond this is not searched between two messages of the actors.
const SEARCHED_AT_ONCE: usize = 1024;
/// How much of a body, or of an address, is shown in a reason.
const SHOWN: usize = 100;

/// What to ask and what to expect.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) method: Method,
    pub(super) address: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) expect: Expect,
    pub(super) body: Option<Regex>,
    pub(super) trust: Trust,
}

/// Which statuses are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expect(pub(super) Vec<RangeInclusive<u16>>);

impl Http {
    pub(super) fn check(&self, calls: HttpCalls, timeout: Duration) -> HttpCheck {
        HttpCheck {
            http: Arc::new(self.clone()),
            calls,
            bounds: Bounds {
                timeout,
                body_bytes: BODY_BYTES,
            },
        }
    }

    /// As reasons name it: without path and query, which may hold a secret.
    fn shown(&self) -> String {
        let host = self.address.host().unwrap_or_default();
        let https = self.address.scheme_str() == Some("https");
        let port = self.address.port_u16();
        let port = port.unwrap_or(if https { 443 } else { 80 });
        format!("{host}:{port}")
    }

    async fn look(&self, calls: &HttpCalls, bounds: Bounds) -> Result<Look, CallError> {
        let client = calls.client(&self.address, &self.trust).await?;
        let mut request = client
            .request(self.method.clone(), &self.address)
            .force_close();
        for header in &self.headers {
            request = request.append_header(header.clone());
        }
        let answer = client.call(request, "", bounds).await?;
        Ok(self.judge(answer).await)
    }

    async fn judge(&self, answer: Answer) -> Look {
        let shown = self.shown();
        let status = status(answer.status);
        if !self.expect.takes(answer.status) {
            let location = answer
                .headers
                .get(LOCATION)
                .filter(|_| answer.status.is_redirection());
            let to = location.map(|to| {
                let to = excerpt(to.as_bytes());
                format!(" to {to}, which is not followed")
            });
            let to = to.unwrap_or_default();
            let expect = &self.expect;
            return Look::Failed(format!("{shown} answered {status}{to}, expected {expect}"));
        }
        let Some(body) = &self.body else {
            return Look::Passed;
        };
        if matches(body, &answer.body).await {
            return Look::Passed;
        }
        let what = match (answer.whole, answer.body.is_empty()) {
            (true, true) => "an empty body".to_owned(),
            (true, false) => format!("the body {:?}", excerpt(&answer.body)),
            (false, true) => {
                "a body of no known length (neither Content-Length nor chunks), which is not read"
                    .to_owned()
            }
            (false, false) => format!(
                "a body that begins with {:?}, of which {BODY_BYTES} bytes were read",
                excerpt(&answer.body)
            ),
        };
        let pattern = body.as_str();
        Look::Failed(format!(
            "{shown} answered {status} with {what}, expected a match of {pattern:?}"
        ))
    }
}

/// Whether a body matches. A long one is searched on a thread for such work.
async fn matches(pattern: &Regex, body: &Bytes) -> bool {
    if body.len() <= SEARCHED_AT_ONCE {
        return pattern.is_match(body);
    }
    let (pattern, body) = (pattern.clone(), body.clone());
    let searched = actix_rt::task::spawn_blocking(move || pattern.is_match(&body));
    // The search does not panic; should it, it has found nothing.
    searched.await.unwrap_or(false)
}

/// Its beginning, as far as it is shown.
fn excerpt(bytes: &[u8]) -> String {
    let shown = bytes.get(..SHOWN).unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(shown).trim().to_owned();
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text
}

fn status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

impl Expect {
    fn takes(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            match (range.start(), range.end()) {
                (start, end) if start == end => write!(f, "{comma}{start}")?,
                (start, end) => write!(f, "{comma}{start}-{end}")?,
            }
        }
        Ok(())
    }
}

impl PartialEq for Http {
    fn eq(&self, other: &Self) -> bool {
        let pattern = |http: &Self| http.body.as_ref().map(|body| body.as_str().to_owned());
        (&self.method, &self.address, &self.headers)
            == (&other.method, &other.address, &other.headers)
            && (&self.expect, pattern(self), &self.trust)
                == (&other.expect, pattern(other), &other.trust)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and addresses may hold secrets.
        f.debug_struct("Http")
            .field("method", &self.method)
            .field("host", &self.address.host())
            .field("expect", &self.expect)
            .finish_non_exhaustive()
    }
}

/// The same at work.
pub(super) struct HttpCheck {
    http: Arc<Http>,
    calls: HttpCalls,
    bounds: Bounds,
}

impl Check for HttpCheck {
    fn look(&self) -> LocalBoxFuture<'static, Look> {
        let (http, calls, bounds) = (Arc::clone(&self.http), self.calls.clone(), self.bounds);
        Box::pin(async move {
            match http.look(&calls, bounds).await {
                Ok(look) => look,
                Err(error) => look_of(&http.shown(), &error),
            }
        })
    }
}
