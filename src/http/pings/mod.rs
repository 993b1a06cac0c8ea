//! Ping URLs: signs of life as other monitors' clients send them, unmodified.
//!
//! ```text
//!   path ──▶ dialect ──read──▶ Ping { who, what } ──▶ key, service ──▶ pulse, error or run
//!                └──────────── answer, in its own words ◀──────────────────┘
//! ```
//!
//! A dialect is one file and one line in [`DIALECTS`]: it reads a request into a [`Ping`] and
//! puts the outcome into the status codes and texts that its clients know. Both are pure;
//! what lies between is the same for all of them and lives here.
//!
//! A ping carries its own key and needs no token, on whatever address. The key is looked at
//! before anything else that a ping says. Wrong keys are answered like unknown services, and
//! soon with 429 (a key that is right is served all the while: nobody guesses one, and
//! nobody who tries may silence others behind the same address).

mod cronitor;
mod gatus;
mod go_duration;
mod healthchecks;
mod kuma;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use slog::warn;

use supervisor_actors::handle::{Directory, Inform, ServiceHandle};
use supervisor_actors::registration::Registration;
use supervisor_core::ServiceName;
use supervisor_core::event::Note;
use supervisor_core::run::{MOST_OUTPUT, RunEnd, RunId, RunSign};

use super::api::{Api, Door};
use super::body;
use super::guard;
use super::problem::Problem;
use super::pulse;
use super::register;
use super::routes::{Methods, decode};
use crate::ping_keys::PingKeys;
use crate::uuid::Uuid;

/// Every dialect.
const DIALECTS: &[&dyn Dialect] = &[
    &healthchecks::Healthchecks,
    &cronitor::Cronitor,
    &kuma::Kuma,
    &gatus::Gatus,
];

/// The largest body that is read to its end; of it [`MOST_OUTPUT`] bytes are kept.
const MOST_BODY: usize = 10 << 20;

/// How often one that a ping has created promises to be pinged: what its clients are used to.
const CREATED_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// One way of speaking.
trait Dialect: Sync {
    /// What its paths begin with.
    fn prefix(&self) -> &'static str;

    /// The methods that its clients use.
    fn methods(&self) -> Methods;

    /// Reads a request.
    ///
    /// # Errors
    /// Where it does not even say who is meant.
    fn read<'a>(&self, asked: &Asked<'a>) -> Result<Ping<'a>, Problem>;

    /// The answer to one that was taken; `created`: its service is new.
    fn done(&self, created: bool) -> HttpResponse;

    /// The answer to one that was not.
    fn refused(&self, problem: Problem) -> HttpResponse;
}

/// A request to one of the dialects.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    dialect: &'static dyn Dialect,
    /// Its path behind the dialect's prefix, raw.
    rest: &'a str,
}

/// What a dialect reads.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    /// The path behind the dialect's prefix, raw.
    rest: &'a str,
    /// What comes after the `?`, raw.
    query: &'a str,
    authorization: Option<&'a HeaderValue>,
}

/// What a ping says; nothing is decided yet.
#[derive(Debug, Clone, PartialEq)]
struct Ping<'a> {
    /// Whose, and by what right.
    who: Who<'a>,
    /// What; looked at once it is clear that it may be said.
    what: Result<What, Problem>,
    /// Whether its service is to be watched from now on, where there is none of that name.
    create: bool,
    /// What of it makes no sense, and does not keep it from being taken.
    complaint: Option<String>,
}

/// Whose sign of life it is, and by what right.
#[derive(Debug, Clone, PartialEq)]
enum Who<'a> {
    /// That of the service whose own uuid this is.
    Own(Uuid),
    /// That of the first of these services that there is, by the project's key or by that
    /// service's own uuid.
    Named {
        key: Cow<'a, str>,
        names: Vec<Cow<'a, str>>,
    },
    /// Both in one text: the key, a hyphen and the name.
    Joined(Cow<'a, str>),
}

/// What a ping is about.
#[derive(Debug, Clone, PartialEq)]
enum What {
    /// A pulse.
    Pulse(Note),
    /// An error.
    Error(String),
    /// Something about a run. What it printed is the body.
    Run(RunSign),
}

impl Ping<'_> {
    /// Whether it says nothing of itself but that all is well.
    fn is_plain(&self) -> bool {
        let bare = match &self.what {
            Ok(What::Pulse(note)) => *note == Note::default(),
            Ok(What::Run(RunSign::End(end))) => end.is_bare(),
            Ok(What::Error(_) | What::Run(RunSign::Start { .. } | RunSign::Log { .. }))
            | Err(_) => false,
        };
        bare && self.complaint.is_none()
    }

    /// Whether it may end a run.
    fn is_of_runs(&self) -> bool {
        matches!(self.what, Ok(What::Run(_)))
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    /// The dialect of that path, if it is one's.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        DIALECTS.iter().find_map(|&dialect| {
            let rest = path.strip_prefix(dialect.prefix())?;
            Some(Self { dialect, rest })
        })
    }

    /// The methods that it answers to.
    pub(super) fn methods(self) -> Methods {
        self.dialect.methods()
    }

    fn read(self, request: &'a HttpRequest) -> Result<Ping<'a>, Problem> {
        self.dialect.read(&Asked {
            rest: self.rest,
            query: request.query_string(),
            authorization: request.headers().get(header::AUTHORIZATION),
        })
    }

    fn answer(self, taken: Result<bool, Problem>) -> HttpResponse {
        match taken {
            Ok(created) => self.dialect.done(created),
            Err(problem) => self.dialect.refused(problem),
        }
    }
}

impl PartialEq for Call<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.dialect.prefix(), self.rest) == (other.dialect.prefix(), other.rest)
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What follows may be a key.
        write!(f, "Call({}…)", self.dialect.prefix())
    }
}

// === what is the same for all ===

/// A ping without a body that is no more than a pulse, or not even that: answered here and
/// now. The hot path. `None` where it takes longer.
pub(super) fn plain(api: &Api, call: Call<'_>, request: &HttpRequest) -> Option<HttpResponse> {
    let taken = match call.read(request) {
        Err(problem) => Err(problem),
        Ok(ping) if !ping.is_plain() => return None,
        Ok(ping) => match find(api, &ping.who, request) {
            Err(problem) => Err(problem),
            Ok(Found::Nobody(_)) if ping.create => return None,
            Ok(Found::Nobody(_)) => Err(not_found()),
            Ok(Found::Service(service)) if ping.is_of_runs() && service.is_in_run() => {
                return None;
            }
            Ok(Found::Service(service)) => beat(api, &service).map(|()| false),
        },
    };
    Some(call.answer(taken))
}

/// Any other ping.
pub(super) async fn ping(
    api: &Api,
    call: Call<'_>,
    request: &HttpRequest,
    payload: Payload,
) -> HttpResponse {
    call.answer(take(api, call, request, payload).await)
}

/// Takes a ping; whether its service is new.
async fn take(
    api: &Api,
    call: Call<'_>,
    request: &HttpRequest,
    payload: Payload,
) -> Result<bool, Problem> {
    let ping = call.read(request)?;
    let at = api.clock.mono();
    let found = find(api, &ping.who, request)?;
    if matches!(found, Found::Nobody(_)) && !ping.create {
        return Err(not_found());
    }
    let what = ping.what?;
    // Read to its end whatever is in it, so that the connection goes on.
    let patience = api.patience.body;
    let body = body::beginning(request, payload, (MOST_OUTPUT, MOST_BODY), patience).await?;
    let (service, created) = match found {
        Found::Service(service) => (service, false),
        Found::Nobody(name) => (create(api, &name).await?, true),
    };
    let inform = match what {
        What::Pulse(note) if note == Note::default() => None,
        What::Pulse(note) => Some(Inform::Note(note)),
        What::Error(message) => Some(Inform::Error {
            message: pulse::cut(message),
            critical: false,
        }),
        What::Run(sign) => with_output(sign, text_of(&body), service.is_in_run()),
    };
    match inform {
        None => beat(api, &service)?,
        Some(inform) => drop(pulse::inform(api, &service, at, inform).await?),
    }
    match ping.complaint {
        None => Ok(created),
        Some(why) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "partly_taken",
            format!("taken, but without this: {why}"),
        )),
    }
}

/// What is said of a run, with what it printed. `None`: it says no more than a pulse.
fn with_output(sign: RunSign, output: Option<String>, in_run: bool) -> Option<Inform> {
    let sign = match sign {
        RunSign::Log { rid, .. } => RunSign::Log {
            rid,
            output: output.unwrap_or_default(),
        },
        RunSign::End(end) if end.is_bare() && output.is_none() && !in_run => return None,
        RunSign::End(end) => RunSign::End(RunEnd { output, ..end }),
        start @ RunSign::Start { .. } => start,
    };
    Some(Inform::Run(sign))
}

/// What a body says: text, whatever bytes it is made of.
fn text_of(body: &[u8]) -> Option<String> {
    let mut text = String::from_utf8_lossy(body).into_owned();
    // What is no UTF-8 has grown.
    text.truncate(supervisor_core::run::cut(&text, MOST_OUTPUT).len());
    (!text.is_empty()).then_some(text)
}

fn beat(api: &Api, service: &ServiceHandle) -> Result<(), Problem> {
    let taken = service.pulse(api.clock.mono());
    taken.map_err(|error| pulse::refused(&error))
}

/// Whom a ping is about.
enum Found {
    Service(ServiceHandle),
    /// The key is right, and nobody has that name.
    Nobody(String),
}

/// Finds the service, once the key is known to be right.
fn find(api: &Api, who: &Who<'_>, request: &HttpRequest) -> Result<Found, Problem> {
    match lookup(&api.ping_keys, &api.directory, who) {
        Some(found) => Ok(found),
        None => Err(wrong_key(api, request)),
    }
}

/// Finds the service; `None` where the key is not right.
fn lookup(keys: &PingKeys, directory: &Directory, who: &Who<'_>) -> Option<Found> {
    let named = |name: &str| match directory.get(name) {
        Some(service) => Found::Service(service),
        None => Found::Nobody(name.to_owned()),
    };
    match who {
        Who::Own(uuid) => keys.service_of(uuid).map(|name| named(name.as_str())),
        Who::Named { key, names } => {
            let own = Uuid::parse_any(key).and_then(|uuid| keys.service_of(&uuid));
            if !keys.is_project(key) {
                // Good for one service alone.
                let own = own?.as_str();
                return names.iter().any(|name| name == own).then(|| named(own));
            }
            let known = names.iter().find_map(|name| directory.get(name));
            known.map(Found::Service).or_else(|| {
                let first = names.first()?;
                Some(Found::Nobody(first.clone().into_owned()))
            })
        }
        Who::Joined(text) => match keys.after_project(text) {
            Some(name) => Some(named(name)),
            None => {
                let uuid = Uuid::parse_any(text)?;
                keys.service_of(&uuid).map(|name| named(name.as_str()))
            }
        },
    }
}

/// The answer to a key that is none: the same as to an unknown service, until an address
/// tries too many.
fn wrong_key(api: &Api, request: &HttpRequest) -> Problem {
    if !api.ping_keys.are_any() || matches!(api.door, Door::Unix) {
        return unknown_key();
    }
    let (peer, now) = (guard::peer(request), api.clock.mono());
    if let Some(wait) = api.ping_throttle.wait(peer, now) {
        return Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_wrong_keys",
            "too many wrong ping keys came from this address",
        )
        .retry_after(wait.as_secs() + 1);
    }
    if let Some(count) = api.ping_throttle.wrong(peer, now) {
        warn!(api.log, "wrong ping key presented"; "peer" => %peer, "count" => count);
    }
    unknown_key()
}

const WRONG_KEY: &str = "wrong_key";

/// 404 that one dialect knows apart from [`not_found`].
fn unknown_key() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, WRONG_KEY, "not found")
}

fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "not found")
}

/// Watches a service of that name from now on, as one that registers itself.
async fn create(api: &Api, name: &str) -> Result<ServiceHandle, Problem> {
    let name = ServiceName::new(name)
        .map_err(|why| Problem::bad("bad_slug", format!("cannot be created: {why}")))?;
    let registration = Registration::new(name.clone(), CREATED_INTERVAL);
    // Whether it survives our restart is on record, or the ping itself is answered with 507.
    register::enter(api, registration).await?;
    api.directory.get(name.as_str()).ok_or_else(not_found)
}

// === what dialects read with ===

/// The segments of a path, decoded. A slash at its end is forgiven.
fn segments(rest: &str) -> Result<Vec<Cow<'_, str>>, Problem> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    rest.split('/').map(decode).collect()
}

/// A query's pairs, decoded, whatever keys they have: a ping is not refused because its
/// sender knows more than we do.
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Pairs<'a> {
    fn parse(query: &'a str) -> Self {
        if query.is_empty() {
            // The most frequent one.
            return Self(Vec::new());
        }
        Self(
            actix_web::web::Query::<Vec<(String, String)>>::from_query(query)
                .map(actix_web::web::Query::into_inner)
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (Cow::Owned(key), Cow::Owned(value)))
                .collect(),
        )
    }

    /// The last value of a key: what the servers that these clients know take.
    fn get(&self, key: &str) -> Option<&str> {
        let last = self.0.iter().rfind(|(known, _)| known == key)?;
        Some(&last.1)
    }

    /// All values of a key.
    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        let of = move |(known, _): &&(Cow<'a, str>, Cow<'a, str>)| known == key;
        self.0.iter().filter(of).map(|(_, value)| value.as_ref())
    }
}

/// An answer in plain text.
fn text(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// A problem in plain text.
fn plain_problem(problem: Problem) -> HttpResponse {
    let detail = problem.detail().to_owned();
    problem.into_response("text/plain; charset=utf-8", detail)
}

/// A run's id, or what is wrong with it.
fn run_id(key: &str, text: &str) -> Result<RunId, Problem> {
    RunId::new(text).map_err(|error| Problem::bad("bad_query", format!("{key}: {error}")))
}
