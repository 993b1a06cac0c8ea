//! Sign-in for browsers: `POST /login` trades the token, or a code that is good for one use,
//! for a session.
//!
//! A session is a cookie that says until when it is good, under a seal that only the token's
//! holder can make: nothing is kept here, a restart ends none, another token ends all. It is
//! named after our port, because cookies know none, and another supervisor on this machine has
//! a session of its own. Scripts cannot read it, and pages of other sites cannot send it.
//!
//! A code is for the address that `supervisor dashboard` prints. It travels in the fragment,
//! which neither logs nor other sites ever see, and the page posts it: whoever only looks at
//! the address (a mail scanner, a preview) does not use it up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use supervisor_core::Timestamp;
use supervisor_core::time::Mono;

use super::api::{Api, Door};
use super::body;
use super::guard;
use super::health::json;
use super::page;
use super::problem::Problem;
use super::routes::Route;
use super::services;
use crate::token::{Token, one_time, same};

/// How long a session lasts.
const LASTING: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a code waits to be used.
const CODE_LASTING: Duration = Duration::from_secs(600);
/// How many codes wait at most; the oldest goes.
const MAX_CODES: usize = 16;
/// What a session's seal is for, so that no other seal can be taken for one.
const PURPOSE: &str = "session";

/// Codes that nobody has used yet.
#[derive(Debug, Default)]
pub(super) struct Codes(Mutex<Vec<(String, Mono)>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    token: Option<String>,
    code: Option<String>,
}

/// What `supervisor dashboard` is told.
#[derive(Serialize, ToSchema)]
#[schema(as = LoginAddress)]
pub(super) struct Invitation {
    url: String,
    /// Seconds.
    expires_in: u64,
}

/// What the page asks first.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct Present {
    signed_in: bool,
    /// Whether reading needs a session, too.
    must_sign_in: bool,
    /// What this machine is called; null for strangers.
    host: Option<String>,
    /// Of the program; null for strangers.
    version: Option<&'static str>,
    /// Of the page's files: another than its own tells a page that it is outdated.
    page: &'static str,
    /// What of the API the page may ask for.
    offers: Vec<&'static str>,
}

impl Codes {
    /// A new one.
    pub(super) fn issue(&self, now: Mono) -> std::io::Result<String> {
        let code = one_time()?;
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|(_, until)| *until > now);
        if codes.len() == MAX_CODES {
            codes.remove(0);
        }
        codes.push((code.clone(), now + CODE_LASTING));
        Ok(code)
    }

    /// Uses one up.
    fn redeem(&self, code: &str, now: Mono) -> bool {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|(_, until)| *until > now);
        let found = codes
            .iter()
            .position(|(known, _)| same(known.as_bytes(), code.as_bytes()));
        found.map(|at| codes.remove(at)).is_some()
    }
}

/// `POST /login`.
pub(super) async fn sign_in(
    api: &Api,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::read(request, payload, api.patience.body).await?;
    services::must_be_json(request.headers().get(header::CONTENT_TYPE))?;
    let said: SignIn = body::object(&body)?;
    let now = api.clock.mono();
    let peer = guard::peer(request);
    guard::not_throttled(api, peer, now)?;
    let right = match (&said.token, &said.code) {
        (Some(token), None) => api.token.is(token.trim().as_bytes()),
        (None, Some(code)) => api.codes.redeem(code, now),
        _ => {
            return Err(Problem::bad(
                "bad_login",
                "give either the token or a code: {\"token\": \"…\"}",
            ));
        }
    };
    if !right {
        guard::note_wrong(api, peer, now);
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "wrong_token",
            if said.code.is_some() {
                "this address has been used or is too old: `supervisor dashboard` prints a new one"
            } else {
                "this is not the supervisor's token"
            },
        ));
    }
    let until = api.clock.wall().0 / 1_000_000 + LASTING.as_secs().cast_signed();
    let value = sealed(&api.token, until);
    Ok(with_cookie(&api.door, &value, LASTING))
}

/// `POST /logout`.
pub(super) fn sign_out(api: &Api) -> Result<HttpResponse, Problem> {
    Ok(with_cookie(&api.door, "", Duration::ZERO))
}

/// `POST /api/login`: an address that signs in once.
pub(super) fn invite(api: &Api) -> Result<HttpResponse, Problem> {
    let address = api.address();
    let url = address.ok_or_else(|| {
        Problem::new(
            StatusCode::CONFLICT,
            "no_dashboard",
            "the supervisor does not listen on an address now, so browsers cannot reach it",
        )
    })?;
    let code = api.codes.issue(api.clock.mono());
    let code = code.map_err(|why| Problem::unavailable("no_code", why.to_string()))?;
    Ok(json(&Invitation {
        url: format!("{url}/login#{code}"),
        expires_in: CODE_LASTING.as_secs(),
    }))
}

/// `GET /api/session`: who somebody is to us.
pub(super) fn show(api: &Api, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let signed_in = guard::is_owner(api, request);
    let must_sign_in = matches!(api.door, Door::Tcp { loopback, .. } if !loopback);
    let known = signed_in || !must_sign_in;
    Ok(json(&Present {
        signed_in,
        must_sign_in,
        host: known.then(|| api.host.clone()),
        version: known.then_some(env!("CARGO_PKG_VERSION")),
        page: page::VERSION,
        offers: offers(api),
    }))
}

/// What a page may ask for without being told in its console that it is not there.
fn offers(api: &Api) -> Vec<&'static str> {
    let sync = api.sync.as_ref().map(|_| "sync");
    let reads = |route: Route<'_>| route.methods().hold(&Method::GET);
    let history = Route::parse("/api/history/a").is_ok_and(reads);
    let history = history.then_some("history");
    ["stream"].into_iter().chain(sync).chain(history).collect()
}

/// Whether a request comes with a session of ours that is still good.
pub(super) fn is_good(api: &Api, headers: &HeaderMap) -> bool {
    let wanted = cookie_name(&api.door);
    let now = api.clock.wall();
    headers
        .get_all(header::COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .any(|(name, value)| name == wanted && holds(&api.token, value, now))
}

fn sealed(token: &Token, until: i64) -> String {
    format!("{until}.{}", token.seal(PURPOSE, &until.to_string()))
}

fn holds(token: &Token, value: &str, now: Timestamp) -> bool {
    let Some((until, seal)) = value.split_once('.') else {
        return false;
    };
    same(token.seal(PURPOSE, until).as_bytes(), seal.as_bytes())
        && until
            .parse()
            .is_ok_and(|until: i64| until > now.0 / 1_000_000)
}

/// Hands out a cookie: a session, or nothing for no longer.
fn with_cookie(door: &Door, value: &str, lasting: Duration) -> HttpResponse {
    let cookie = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}",
        cookie_name(door),
        lasting.as_secs()
    );
    HttpResponse::NoContent()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::SET_COOKIE, cookie))
        .finish()
}

fn cookie_name(door: &Door) -> String {
    match door {
        Door::Unix => "supervisor".to_owned(),
        Door::Tcp { port, .. } => format!("supervisor-{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_not_for_ever() {
        let codes = Codes::default();
        let code = codes.issue(Mono(0)).unwrap();
        assert!(!codes.redeem("", Mono(0)));
        assert!(!codes.redeem(&code[1..], Mono(0)));
        assert!(codes.redeem(&code, Mono(0)));
        assert!(!codes.redeem(&code, Mono(0)));
        let code = codes.issue(Mono(0)).unwrap();
        assert!(!codes.redeem(&code, Mono(0) + CODE_LASTING));
    }

    #[test]
    fn only_so_many_codes_wait() {
        let codes = Codes::default();
        let first = codes.issue(Mono(0)).unwrap();
        for _ in 0..MAX_CODES {
            codes.issue(Mono(0)).unwrap();
        }
        assert!(!codes.redeem(&first, Mono(0)));
        assert_eq!(codes.0.lock().unwrap().len(), MAX_CODES);
    }

    #[test]
    fn a_session_ends_in_time_and_cannot_be_made_or_stretched() {
        let token = Token::new("0123456789abcdef").unwrap();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let value = sealed(&token, 1_000);
        assert!(holds(&token, &value, at(999)));
        assert!(!holds(&token, &value, at(1_000)));
        let stretched = value.replacen("1000.", "9000.", 1);
        for forged in [&*stretched, "", ".", "9000.", "9000", &value[..20]] {
            assert!(!holds(&token, forged, at(0)), "{forged}");
        }
        let other = Token::new("0123456789abcdeX").unwrap();
        assert!(!holds(&other, &value, at(0)));
    }
}
