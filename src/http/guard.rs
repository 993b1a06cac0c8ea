//! Who may come in, from the first day: for each request the host it names, the page it comes
//! from, and what its token allows.
//!
//! | asked for | Unix socket | loopback | another address |
//! |---|---|---|---|
//! | `/healthz`, `/readyz` | yes | yes | yes |
//! | ping URLs | their key | their key | their key |
//! | health, badges | yes | yes | token, or `public_status` |
//! | services, events, runs, history, streams, metrics | yes | yes | token |
//! | registering | yes | yes | token |
//! | what is registered taken out | yes | where registering is allowed, else token | token |
//! | pulses, errors and runs told of a service | yes | yes | token, or that service's own |
//! | a service's history deleted | yes | token, or that service's own | as on loopback |
//! | control, logs, what a run printed | yes | token | token |
//! | the dashboard's files, signing in | yes | yes | yes |
//!
//! Where a token is asked for, a session does, too ([`super::session`]): a browser's cookie. For
//! what changes something it counts only beside a header that says from which page it comes.
//!
//! "Loopback" is the address that we listen on, not the peer's: a proxy on this machine makes
//! every peer look local. On the Unix socket the file's mode has already decided, and tokens
//! are not looked at. Elsewhere a wrong token is 401 even where none is needed: whoever sends
//! one believes that it counts. Too many wrong ones from an address, and for a while its
//! tokens are not looked at: what needs one is 429, what needs none is served, so that
//! somebody who guesses on this machine learns nothing and yet silences nobody's pulses. A
//! service's own token is an HMAC that nobody guesses, and stays good all the while.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::uri::Authority;
use slog::warn;

use supervisor_core::time::Mono;

use super::api::{Api, Door};
use super::problem::Problem;
use super::routes::Access;
use super::session;
use crate::token::same;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what is not addressed to us, and what another site's page sends through a browser.
pub(super) fn addressed(door: &Door, request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let host = single(headers, &header::HOST)?;
    // None at all is a probe that speaks HTTP/1.0: browsers always send one, and actix-web
    // refuses an HTTP/1.1 request without.
    if let Door::Tcp { hosts, .. } = door {
        // A target in absolute form outranks the header (RFC 9112, 3.2.2), so both must be ours.
        let target = request.uri().authority().map(Authority::as_str);
        let named = [host, target].into_iter().flatten();
        if let Some(foreign) = named.into_iter().find(|name| !hosts.allow(name)) {
            return Err(Problem::forbidden(
                "foreign_host",
                format!("{foreign:?} is not a name of this supervisor; see allowed_hosts"),
            ));
        }
    }
    for origin in headers.get_all(header::ORIGIN) {
        if !is_own_origin(origin, host) {
            return Err(foreign_page());
        }
    }
    for site in headers.get_all(SEC_FETCH_SITE) {
        // `none`: typed or opened by the user.
        if !matches!(site.as_bytes(), b"same-origin" | b"none") && !is_link(request) {
            return Err(foreign_page());
        }
    }
    Ok(())
}

/// Whether somebody follows a link to the dashboard, from a message in a chat for example. It is
/// the same for everybody, does nothing by being opened and cannot be framed.
fn is_link(request: &HttpRequest) -> bool {
    let says = |name: &str, value: &str| {
        let mut values = request.headers().get_all(name);
        values.next().is_some_and(|said| said == value) && values.next().is_none()
    };
    *request.method() == Method::GET
        && matches!(request.path(), "/" | "/login")
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

fn foreign_page() -> Problem {
    Problem::forbidden(
        "foreign_origin",
        "requests from pages of other sites are refused",
    )
}

/// Whether a page of that origin was served under the name that the request is addressed to.
fn is_own_origin(origin: &HeaderValue, host: Option<&str>) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// The only header of that name.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Problem::bad(
            "bad_header",
            format!("the {name} header must come once, in ASCII"),
        )),
    }
}

/// Refuses who may not do that.
pub(super) fn permit(api: &Api, request: &HttpRequest, access: Access<'_>) -> Result<(), Problem> {
    let Door::Tcp { loopback, .. } = api.door else {
        return Ok(());
    };
    if access == Access::Ping {
        // Its key is in its address, and an Authorization that it carries is not for us.
        return Ok(());
    }
    let free = match access {
        Access::Open | Access::Ping => true,
        Access::Health => loopback || api.public_status,
        Access::Read | Access::Signal(_) => loopback,
        Access::Unregister => loopback && api.allow_registration,
        Access::Control | Access::Forget(_) => false,
    };
    let Some(authorization) = request.headers().get(header::AUTHORIZATION) else {
        return if free || in_session(api, request) {
            Ok(())
        } else {
            Err(Problem::unauthorized(
                "token_required",
                "this needs the supervisor's token: Authorization: Bearer <token>",
            ))
        };
    };
    let token = bearer(authorization);
    if let (Some(token), Access::Signal(name) | Access::Forget(name)) = (token, access)
        && same((api.child_token)(name).as_bytes(), token)
    {
        return Ok(());
    }
    let peer = peer(request);
    let now = api.clock.mono();
    if let Err(wait) = not_throttled(api, peer, now) {
        return if free { Ok(()) } else { Err(wait) };
    }
    if token.is_some_and(|token| api.token.is(token)) {
        return Ok(());
    }
    note_wrong(api, peer, now);
    Err(Problem::unauthorized(
        "wrong_token",
        "this is not the supervisor's token; a service's own is good only for its pulses, errors and runs, and to delete its own history",
    ))
}

/// Whether a request that was permitted comes from the owner, not from a service.
pub(super) fn is_owner(api: &Api, request: &HttpRequest) -> bool {
    match api.door {
        Door::Unix => true,
        Door::Tcp { .. } => match request.headers().get(header::AUTHORIZATION) {
            Some(value) => bearer(value).is_some_and(|token| api.token.is(token)),
            None => in_session(api, request),
        },
    }
}

/// Whether a signed-in browser sends it. What changes something must also say from which page
/// it comes, as browsers do (and [`addressed`] has seen that it is ours): then it matters less
/// what else a browser could be made to send its cookies with.
fn in_session(api: &Api, request: &HttpRequest) -> bool {
    let headers = request.headers();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let says_whence = headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
    (reads || says_whence) && session::is_good(api, headers)
}

/// Refuses who has presented too many wrong tokens.
pub(super) fn not_throttled(api: &Api, peer: IpAddr, now: Mono) -> Result<(), Problem> {
    match api.throttle.wait(peer, now) {
        None => Ok(()),
        Some(wait) => Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_wrong_tokens",
            "too many wrong tokens came from this address",
        )
        .retry_after(wait.as_secs() + 1)),
    }
}

/// Counts a wrong token.
pub(super) fn note_wrong(api: &Api, peer: IpAddr, now: Mono) {
    if let Some(count) = api.throttle.wrong(peer, now) {
        warn!(api.log, "wrong token presented"; "peer" => %peer, "count" => count);
    }
}

/// Where a request comes from. Where the kernel does not say, all such share one address.
pub(super) fn peer(request: &HttpRequest) -> IpAddr {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    request.peer_addr().map_or(unknown, |peer| peer.ip())
}

/// The token of an `Authorization: Bearer` header.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}
