//! Calls to HTTP servers: the one place where clients are made.
//!
//! ```text
//!   HttpCalls ──client──▶ HttpClient ──call──▶ names ▶ TCP ▶ TLS ▶ head ▶ body ──▶ Answer
//!   (one for all;           (one thread's;          within one timeout, the body
//!    roots read once,        a pool of connections)  within one limit)     CallError
//!    names looked up)
//! ```
//!
//! Nothing of TLS exists before the first `https://` address is called. Redirects are not
//! followed: whoever named an address meant it, and a secret in a header is for it alone. A
//! body is read up to a limit, and what comes after is not waited for. What goes wrong is a
//! [`CallError`], a reason for people.

mod connector;
mod error;
mod names;
mod tls;

#[cfg(test)]
pub(crate) mod tests;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use awc::ClientRequest;
use awc::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING, USER_AGENT};
use awc::http::{Method, StatusCode, Uri, Version};
use futures_util::StreamExt as _;
use rustls::ClientConfig;
use tokio::time::timeout;

use self::connector::{PHASE, Phase};
pub(crate) use self::error::{CallError, Place, of_io};
pub(crate) use self::names::Names;
pub(crate) use self::tls::Trust;

/// The connector's own timeouts are never reached: each call has one for the whole.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// What calls have in common. Cheap to clone; usable on any thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpCalls(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    names: Names,
    /// By whom they trust; as many as the configuration names.
    configs: Mutex<HashMap<Trust, tls::Cached>>,
}

/// Makes calls, on the thread that made it.
#[derive(Clone)]
pub(crate) struct HttpClient(awc::Client);

/// How much of a call is waited for and kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From the look-up of the name to the end of the body.
    pub(crate) timeout: Duration,
    /// How much of the body is read; with 0 it is not waited for.
    pub(crate) body_bytes: usize,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status, whatever that is.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, or the beginning of it.
    pub(crate) body: Bytes,
    /// Whether that is all of the body. A body of HTTP/1.1 that names no length and comes in no
    /// chunks is not read.
    pub(crate) whole: bool,
}

// === impl HttpCalls ===

impl HttpCalls {
    /// A client for addresses with the scheme of this one, which trusts whom it is told to. It
    /// keeps connections that the server leaves open; a caller who wants a new one for each
    /// call asks for that by [`ClientRequest::force_close`], or makes a client for each. After
    /// a change of a file of `trust` only new clients know it.
    ///
    /// # Errors
    /// Where nobody could be trusted: a file that cannot be read, no authorities installed.
    pub(crate) async fn client(&self, like: &Uri, trust: &Trust) -> Result<HttpClient, CallError> {
        let config = if like.scheme_str() == Some("https") {
            Some(self.config(trust).await?)
        } else {
            None
        };
        let connector = connector::new(self.0.names.clone(), config);
        let client = awc::Client::builder()
            .connector(connector.timeout(NEVER).handshake_timeout(NEVER))
            .disable_redirects()
            .disable_timeout()
            .no_default_headers()
            .add_default_header((
                USER_AGENT,
                concat!("supervisor/", env!("CARGO_PKG_VERSION")),
            ));
        Ok(HttpClient(client.finish()))
    }

    /// Looks names up, as its clients do.
    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    async fn config(&self, trust: &Trust) -> Result<Arc<ClientConfig>, CallError> {
        let known = self.0.configs().get(trust).cloned();
        if let (Some(known), Trust::System | Trust::Anyone) = (&known, trust) {
            return Ok(Arc::clone(&known.config));
        }
        let wanted = trust.clone();
        // Files are read: the authorities of a whole system take milliseconds.
        let fresh = actix_rt::task::spawn_blocking(move || tls::fresh(&wanted, known))
            .await
            .map_err(|panicked| CallError::Trust(panicked.to_string()))?
            .map_err(CallError::Trust)?;
        let config = Arc::clone(&fresh.config);
        self.0.configs().insert(trust.clone(), fresh);
        Ok(config)
    }
}

impl Shared {
    fn configs(&self) -> std::sync::MutexGuard<'_, HashMap<Trust, tls::Cached>> {
        self.configs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl HttpClient ===

impl HttpClient {
    /// A request, to be given headers and passed to [`Self::call`].
    pub(crate) fn request(&self, method: Method, address: &Uri) -> ClientRequest {
        self.0.request(method, address)
    }

    /// Sends it and reads the answer.
    ///
    /// # Errors
    /// Where there was no answer, or only half of one. A status is no error.
    pub(crate) async fn call(
        &self,
        request: ClientRequest,
        body: impl Into<Bytes>,
        bounds: Bounds,
    ) -> Result<Answer, CallError> {
        let phase = Rc::new(Cell::new(Phase::Connecting));
        let exchange = exchange(request, body.into(), bounds.body_bytes);
        let exchange = PHASE.scope(Rc::clone(&phase), exchange);
        match timeout(bounds.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(match phase.get() {
                Phase::Connecting => CallError::NotReached(bounds.timeout),
                Phase::Connected => CallError::Silent(bounds.timeout),
                Phase::Answering | Phase::Ended => CallError::Slow(bounds.timeout),
            }),
        }
    }
}

async fn exchange(request: ClientRequest, body: Bytes, most: usize) -> Result<Answer, CallError> {
    let is_head = *request.get_method() == Method::HEAD;
    let mut response = request.send_body(body).await.map_err(CallError::from)?;
    Phase::Answering.enter();
    let (status, headers) = (response.status(), response.headers().clone());
    let announced = announced(&headers).filter(|_| !is_head && may_have_body(status));
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let mut body = Vec::new();
    // awc reads no body that only the end of the connection ends, unless it is HTTP/1.0.
    let unread = may_have_body(status)
        && !is_head
        && response.version() == Version::HTTP_11
        && announced.is_none()
        && !chunked;
    let mut whole = most > 0 && !unread;
    while whole && let Some(chunk) = response.next().await {
        let chunk = chunk.map_err(|error| error::of_body(&error))?;
        let room = most - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        whole = chunk.len() <= room;
    }
    // awc takes the end of the connection for the end of any body.
    let had = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let short = announced.is_some_and(|announced| had < announced);
    let cut = chunked && announced.is_none() && Phase::current() == Some(Phase::Ended);
    if whole && (short || cut) {
        return Err(CallError::Half);
    }
    Ok(Answer {
        status,
        headers,
        body: body.into(),
        whole,
    })
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether an answer with this status can have a body: RFC 9110, 6.4.1.
fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}
