//! Speaks HTTP for sinks, and says what follows from an answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use awc::http::header::RETRY_AFTER;
use awc::http::{Method, StatusCode, Uri};

use supervisor_actors::ports::Clock;
use supervisor_actors::ports::alerts::{Fate, Undelivered};
use supervisor_core::sync::retry_after;

use super::{Address, Common, SinkSpec};
use crate::adapters::http_client::{Answer, Bounds, HttpCalls, Trust};

/// How much of an answer is read: enough to see what it complains of.
const BODY: usize = 16 * 1024;
/// How much of a complaint is shown.
const SHOWN: usize = 200;

/// Sends requests for one sink.
#[derive(Clone)]
pub(super) struct Poster {
    calls: HttpCalls,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    allow_link_local: bool,
}

/// One request.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) to: Address,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// Whether whoever takes it says so in JSON: other words come from somebody else on the way.
    pub(super) wants_json: bool,
}

impl Request {
    /// JSON, by POST.
    pub(super) fn json(to: Address, body: &serde_json::Value) -> Self {
        Self {
            method: Method::POST,
            to,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string(),
            wants_json: false,
        }
    }

    /// To a server that answers in JSON.
    pub(super) fn answered_in_json(self) -> Self {
        Self {
            wants_json: true,
            ..self
        }
    }
}

impl Poster {
    pub(super) fn new(spec: &SinkSpec, common: &Common) -> Self {
        Self {
            calls: common.calls.clone(),
            clock: Arc::clone(&common.clock),
            timeout: spec.timeout,
            allow_link_local: spec.allow_link_local,
        }
    }

    /// Sends it; only a status of 2xx with a whole answer is a success.
    pub(super) async fn send(&self, request: Request) -> Result<(), Undelivered> {
        let host = request.to.host();
        let uri = request.to.0;
        let again = |reason: String| Undelivered {
            reason,
            fate: Fate::Again { after: None },
        };
        self.check(&uri, &host).await?;
        let failed =
            |error: crate::adapters::http_client::CallError| again(format!("{host} {error}"));
        let client = self
            .calls
            .client(&uri, &Trust::System)
            .await
            .map_err(failed)?;
        let mut call = client.request(request.method, &uri).force_close();
        for (name, value) in request.headers {
            call = call.insert_header((name, value));
        }
        let bounds = Bounds {
            timeout: self.timeout,
            body_bytes: BODY,
        };
        let answer = client
            .call(call, request.body, bounds)
            .await
            .map_err(failed)?;
        self.judge(&host, &answer, request.wants_json)
    }

    /// A name that leads to a link-local address leads to a cloud's credentials.
    async fn check(&self, uri: &Uri, host: &str) -> Result<(), Undelivered> {
        if self.allow_link_local {
            return Ok(());
        }
        let name = uri.host().unwrap_or_default();
        let found = self.calls.names().look_up(name).await;
        let found = found.map_err(|why| Undelivered {
            reason: format!("{host} could not be resolved: {why}"),
            fate: Fate::Again { after: None },
        })?;
        if found.iter().copied().any(is_link_local) {
            return Err(Undelivered {
                reason: format!(
                    "{host} is at a link-local address; allow_link_local = true if that is meant"
                ),
                fate: Fate::Never,
            });
        }
        Ok(())
    }

    fn judge(&self, host: &str, answer: &Answer, wants_json: bool) -> Result<(), Undelivered> {
        let status = answer.status;
        if status.is_success() {
            let is_json = || serde_json::from_slice::<serde_json::Map<_, _>>(&answer.body).is_ok();
            if !wants_json || !answer.whole || is_json() {
                return Ok(());
            }
            return Err(Undelivered {
                reason: format!(
                    "{host} answered {} with something else than JSON; is that the right server, \
                     or a proxy on the way?",
                    status.as_u16()
                ),
                fate: Fate::Again { after: None },
            });
        }
        let said = String::from_utf8_lossy(&answer.body);
        let said: String = said
            .chars()
            .filter(|c| !c.is_control())
            .take(SHOWN)
            .collect();
        let said = match said.trim() {
            "" => String::new(),
            said => format!(": {said}"),
        };
        let wish = answer
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| retry_after::parse(text, self.clock.wall()));
        let help = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; is its secret right?",
            StatusCode::NOT_FOUND | StatusCode::GONE => "; was the webhook deleted?",
            StatusCode::PAYLOAD_TOO_LARGE => "; the message is too long for it",
            _ if status.is_redirection() => "; redirects are not followed: give its real address",
            _ => "",
        };
        let passes = status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT;
        Err(Undelivered {
            reason: format!("{host} answered {}{said}{help}", status.as_u16()),
            fate: if passes {
                Fate::Again { after: wish }
            } else {
                Fate::Never
            },
        })
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
