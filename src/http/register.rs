//! `/api/register`: services that name themselves at run time.
//!
//! Who may register is decided at the door like reading (see [`super::guard`]); whether
//! anybody may, here. No call accepts a command line: what registers is only watched.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use supervisor_actors::ports::StoreError;
use supervisor_actors::registration::{MOST_REGISTERED, Registered, Registration};
use supervisor_core::ServiceName;
use supervisor_core::policy::Policy;

use super::api::Api;
use super::body::{self, Span};
use super::health::{Seconds, json};
use super::problem::Problem;
use super::{pulse, services};

/// Nobody waits longer for a sign of life.
const MOST_INTERVAL: Duration = Duration::from_secs(366 * 24 * 3600);
/// The word for an interval that is to be learnt.
const AUTO: &str = "auto";
/// How many labels a service may have.
const MOST_TAGS: usize = 16;
/// How long a label may be, in bytes.
const MOST_TAG_BYTES: usize = 64;

/// What a registrant says. What we do not know is ignored, as in a pulse: the answer shows
/// what holds.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Registration)]
pub(super) struct Body {
    tag: String,
    interval: Option<Every>,
    critical: Option<bool>,
    on_demand: Option<bool>,
    tags: Option<Vec<String>>,
}

/// How often a registrant will pulse: `"1m 30s"`, or a number of seconds; `"auto"` to have it
/// learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawEvery")]
pub(super) enum Every {
    /// So often.
    Span(Span),
    /// Learnt from how it pulses.
    Auto,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a duration such as \"1m 30s\", a number of seconds, or \"auto\""
)]
enum RawEvery {
    Seconds(f64),
    Text(String),
}

/// The same in answers.
#[derive(Serialize)]
#[serde(untagged)]
enum ShownInterval {
    Every(Seconds),
    Auto(&'static str),
}

#[derive(Serialize, ToSchema)]
#[schema(as = Registered)]
pub(super) struct Shown<'a> {
    tag: &'a str,
    #[schema(value_type = Every)]
    interval: ShownInterval,
    critical: bool,
    on_demand: bool,
    tags: &'a [String],
}

#[derive(Serialize, ToSchema)]
#[schema(as = AllRegistered)]
pub(super) struct List<'a> {
    registered: Vec<Shown<'a>>,
    limit: usize,
}

impl TryFrom<RawEvery> for Every {
    type Error = String;

    fn try_from(raw: RawEvery) -> Result<Self, String> {
        match raw {
            RawEvery::Seconds(seconds) => Span::of_seconds(seconds).map(Self::Span),
            RawEvery::Text(text) if text == AUTO => Ok(Self::Auto),
            RawEvery::Text(text) => Span::of_text(&text).map(Self::Span),
        }
    }
}

/// `GET` and `POST /api/register`.
pub(super) async fn register(
    api: &Api,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    if request.method() != Method::POST {
        return list(api).await;
    }
    let body = body::read(request, payload, api.patience.body).await?;
    let registration = read(&body, request, api.default_interval)?;
    let registered = enter(api, registration.clone()).await?;
    recorded(registered.recorded)?;
    Ok(json(&shown(&registration)))
}

/// Registers a service, wherever it was asked for.
///
/// # Errors
/// Where nobody may, or not like that.
pub(super) async fn enter(api: &Api, registration: Registration) -> Result<Registered, Problem> {
    if !api.allow_registration {
        return Err(Problem::forbidden(
            "registration_off",
            "services may not register here; see `allow_registration` in [supervisor]",
        ));
    }
    pulse::not_internal(registration.name.as_str())?;
    api.ask(api.supervisor.register(registration))
        .await?
        .map_err(|denied| services::refused(&denied))
}

/// `DELETE /api/register/{tag}`.
pub(super) async fn unregister(api: &Api, name: &str) -> Result<HttpResponse, Problem> {
    pulse::not_internal(name)?;
    let name = services::checked(name)?;
    match api.ask(api.supervisor.unregister(&name)).await? {
        Ok(done) => {
            recorded(done)?;
            Ok(HttpResponse::NoContent().finish())
        }
        Err(denied) => Err(services::refused(&denied)),
    }
}

async fn list(api: &Api) -> Result<HttpResponse, Problem> {
    let all = api.ask(api.supervisor.registrations()).await?;
    Ok(json(&List {
        registered: all.iter().map(shown).collect(),
        limit: MOST_REGISTERED,
    }))
}

fn shown(registration: &Registration) -> Shown<'_> {
    Shown {
        tag: registration.name.as_str(),
        interval: match registration.auto {
            true => ShownInterval::Auto(AUTO),
            false => ShownInterval::Every(Seconds(registration.interval.as_secs_f64())),
        },
        critical: registration.critical,
        on_demand: registration.on_demand,
        tags: &registration.tags,
    }
}

fn recorded(recorded: Result<(), StoreError>) -> Result<(), Problem> {
    recorded.map_err(|why| {
        Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "not_recorded",
            format!("done, but not recorded: a restart of the supervisor forgets it: {why}"),
        )
    })
}

/// Reads what a registrant says.
fn read(body: &[u8], request: &HttpRequest, default: Duration) -> Result<Registration, Problem> {
    services::must_be_json(request.headers().get(header::CONTENT_TYPE))?;
    let body: Body = body::object(body)?;
    let name = ServiceName::new(&body.tag)
        .map_err(|why| Problem::bad("bad_tag", format!("tag {:?}: {why}", body.tag)))?;
    let auto = body.interval == Some(Every::Auto);
    let interval = match body.interval {
        Some(Every::Span(span)) => span.0,
        Some(Every::Auto) | None => default,
    };
    if !(Policy::LEAST_INTERVAL..=MOST_INTERVAL).contains(&interval) {
        return Err(Problem::bad(
            "bad_interval",
            format!("interval: {interval:?} is not between 100 ms and 366 days"),
        ));
    }
    let tags = body.tags.unwrap_or_default();
    let fits = |tag: &String| {
        (1..=MOST_TAG_BYTES).contains(&tag.len()) && !tag.chars().any(char::is_control)
    };
    if tags.len() > MOST_TAGS || !tags.iter().all(fits) {
        return Err(Problem::bad(
            "bad_tags",
            format!(
                "tags: at most {MOST_TAGS} of 1 to {MOST_TAG_BYTES} bytes without control characters"
            ),
        ));
    }
    let on_demand = body.on_demand.unwrap_or(false);
    if auto && on_demand {
        return Err(Problem::bad(
            "bad_interval",
            "interval: there is none to be learnt of one that pulses on demand",
        ));
    }
    Ok(Registration {
        auto,
        critical: body.critical.unwrap_or(true),
        on_demand,
        tags,
        ..Registration::new(name, interval)
    })
}
