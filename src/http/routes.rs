//! The list of routes: every path that we answer, its methods and who may.
//!
//! A path is read here and not by actix-web's router, because that one takes `..%2f` for text
//! and replaces bytes that are no UTF-8: here a path is decoded once, segment by segment, and
//! whatever could mean something else to somebody else is refused. Each `match` below is
//! total: a new route is a variant, and the compiler asks for its methods and its access.

use std::borrow::Cow;

use actix_web::http::Method;
use supervisor_actors::messages::Verb;

use super::pings::Call;
use super::problem::Problem;
use super::sync::SyncVerb;

/// What a path names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Route<'a> {
    /// `/api/pulse/{service}`: the hot one.
    Pulse(Cow<'a, str>),
    /// `/api/error/{service}`.
    Error(Cow<'a, str>),
    /// A ping URL of another monitor's clients.
    Ping(Call<'a>),
    /// `/api/run/{service}`: what is said of a run.
    Run(Cow<'a, str>),
    /// `/api/health/status`.
    HealthStatus,
    /// `/api/health/service/{name}`.
    HealthService(Cow<'a, str>),
    /// `/api/services`.
    Services,
    /// `/api/services/{name}`.
    Service(Cow<'a, str>),
    /// `/api/services/{name}/{verb}`; a pause gets its duration from the body.
    Control(Cow<'a, str>, Verb),
    /// `/api/services/{name}/config`: as it is configured now.
    Config(Cow<'a, str>),
    /// `/api/register`: who has registered, and one more.
    Register,
    /// `/api/register/{tag}`: one that goes.
    Registered(Cow<'a, str>),
    /// `/api/alerts`.
    Alerts,
    /// `/api/alerts/{id}`.
    Alert(Cow<'a, str>),
    /// `/api/alerts/{id}/ack`.
    Acknowledge(Cow<'a, str>),
    /// `/api/alerts/test`: whether a sink takes messages.
    TestSink,
    /// `/api/silences`: those that hold, and one more.
    Silences,
    /// `/api/silences/{id}`: one that ends.
    Silence(Cow<'a, str>),
    /// `/api/events`.
    Events,
    /// `/api/runs/{name}`.
    Runs(Cow<'a, str>),
    /// `/api/runs/{name}/{id}`: one with what it printed.
    RunOf(Cow<'a, str>, Cow<'a, str>),
    /// `/api/history/{name}`.
    History(Cow<'a, str>),
    /// `/api/logs/{name}`.
    Logs(Cow<'a, str>),
    /// `/api/stream`: all services, then what changes.
    Stream,
    /// `/api/ws`: the same as a WebSocket.
    Socket,
    /// `/api/sync`.
    Sync,
    /// `/api/sync/{verb}`.
    SyncCommand(SyncVerb),
    /// `/`: the dashboard.
    Page,
    /// `/assets/{version}/{name}`: its files.
    Asset(Cow<'a, str>, Cow<'a, str>),
    /// `/login`: the same page, and what it trades for a session.
    SignIn,
    /// `/logout`.
    SignOut,
    /// `/api/session`: who somebody is to us.
    Session,
    /// `/api/login`: an address that signs in once.
    Invite,
    /// `/metrics`: everything in numbers.
    Metrics,
    /// `/badge/{name}.svg`.
    Badge(Cow<'a, str>),
    /// `/openapi.json`: all these for programs.
    Described,
    /// `/healthz`.
    Alive,
    /// `/readyz`.
    Ready,
}

/// Which methods a route answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Methods {
    /// POST alone.
    Post,
    /// DELETE alone.
    Delete,
    /// GET with HEAD, and DELETE.
    GetDelete,
    /// GET with HEAD, and POST.
    GetPost,
    /// GET, and HEAD, which is a GET whose body actix-web leaves out.
    Get,
    /// GET, HEAD, POST and PUT, all the same.
    Ping,
    /// Whatever it is.
    Any,
}

impl Methods {
    /// Whether this is one of them.
    pub(super) fn hold(self, method: &Method) -> bool {
        match self {
            Self::Post => *method == Method::POST,
            Self::Delete => *method == Method::DELETE,
            Self::Get => *method == Method::GET || *method == Method::HEAD,
            Self::GetPost => Self::Get.hold(method) || Self::Post.hold(method),
            Self::GetDelete => Self::Get.hold(method) || Self::Delete.hold(method),
            Self::Ping => Self::GetPost.hold(method) || *method == Method::PUT,
            Self::Any => true,
        }
    }

    /// As the `Allow` header writes them.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::GetPost => "GET, HEAD, POST",
            Self::GetDelete => "GET, HEAD, DELETE",
            Self::Get => "GET, HEAD",
            Self::Ping => "GET, HEAD, POST, PUT",
            Self::Any => "*",
        }
    }
}

/// What somebody must be allowed to do in order to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access<'a> {
    /// Nothing.
    Open,
    /// The key that the request's address holds, which its handler looks at.
    Ping,
    /// Read the health endpoints (`public_status` opens them).
    Health,
    /// Read what is not secret.
    Read,
    /// Speak for that service.
    Signal(&'a str),
    /// Delete that service's history.
    Forget(&'a str),
    /// Take a registered service out: as one may put it in.
    Unregister,
    /// Command, and read what may hold secrets.
    Control,
}

impl<'a> Route<'a> {
    /// Reads a raw path, as it came over the wire.
    ///
    /// # Errors
    /// 400 for a path that cannot be one of anybody's, 404 for one that is not ours.
    pub(super) fn parse(path: &'a str) -> Result<Self, Problem> {
        if let Some(name) = path.strip_prefix("/api/pulse/")
            && name.bytes().all(is_plain)
            && !is_dots(name)
        {
            return Ok(Self::Pulse(Cow::Borrowed(name)));
        }
        if let Some(call) = Call::parse(path) {
            return Ok(Self::Ping(call));
        }
        let mut parts = path
            .strip_prefix('/')
            .ok_or_else(not_found)?
            .split('/')
            .map(decode)
            .collect::<Result<Vec<_>, _>>()?;
        let words: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let name_at = |take: fn(Cow<'a, str>) -> Self, at: usize| (take, at);
        let (take, at) = match words[..] {
            ["api", "pulse", _] => name_at(Self::Pulse, 2),
            ["api", "error", _] => name_at(Self::Error, 2),
            ["api", "run", _] => name_at(Self::Run, 2),
            ["api", "health", "status"] => return Ok(Self::HealthStatus),
            ["api", "health", "service", _] => name_at(Self::HealthService, 3),
            ["api", "services"] => return Ok(Self::Services),
            ["api", "services", _] => name_at(Self::Service, 2),
            ["api", "services", _, "config"] => name_at(Self::Config, 2),
            ["api", "services", _, verb] => {
                let verb = verb_of(verb).ok_or_else(not_found)?;
                return Ok(Self::Control(parts.swap_remove(2), verb));
            }
            ["api", "register"] => return Ok(Self::Register),
            ["api", "register", _] => name_at(Self::Registered, 2),
            ["api", "alerts"] => return Ok(Self::Alerts),
            ["api", "alerts", "test"] => return Ok(Self::TestSink),
            ["api", "alerts", _] => name_at(Self::Alert, 2),
            ["api", "alerts", _, "ack"] => name_at(Self::Acknowledge, 2),
            ["api", "silences"] => return Ok(Self::Silences),
            ["api", "silences", _] => name_at(Self::Silence, 2),
            ["api", "events"] => return Ok(Self::Events),
            ["api", "runs", _] => name_at(Self::Runs, 2),
            ["api", "runs", _, _] => {
                let id = parts.swap_remove(3);
                return Ok(Self::RunOf(parts.swap_remove(2), id));
            }
            ["api", "history", _] => name_at(Self::History, 2),
            ["api", "logs", _] => name_at(Self::Logs, 2),
            ["api", "stream"] => return Ok(Self::Stream),
            ["api", "ws"] => return Ok(Self::Socket),
            ["api", "sync"] => return Ok(Self::Sync),
            ["api", "sync", "retry"] => return Ok(Self::SyncCommand(SyncVerb::Retry)),
            ["api", "sync", "confirm"] => return Ok(Self::SyncCommand(SyncVerb::Confirm)),
            ["api", "sync", "scan"] => return Ok(Self::SyncCommand(SyncVerb::Scan)),
            ["api", "session"] => return Ok(Self::Session),
            ["api", "login"] => return Ok(Self::Invite),
            [""] => return Ok(Self::Page),
            ["login"] => return Ok(Self::SignIn),
            ["logout"] => return Ok(Self::SignOut),
            ["assets", _, _] => {
                let name = parts.swap_remove(2);
                return Ok(Self::Asset(parts.swap_remove(1), name));
            }
            ["metrics"] => return Ok(Self::Metrics),
            ["badge", _] => name_at(Self::Badge, 1),
            ["openapi.json"] => return Ok(Self::Described),
            ["healthz"] => return Ok(Self::Alive),
            ["readyz"] => return Ok(Self::Ready),
            _ => return Err(not_found()),
        };
        Ok(take(parts.swap_remove(at)))
    }

    /// The methods that it answers to.
    pub(super) fn methods(&self) -> Methods {
        match self {
            Self::Pulse(_)
            | Self::Error(_)
            | Self::Run(_)
            | Self::Control(..)
            | Self::Acknowledge(_)
            | Self::SyncCommand(_)
            | Self::TestSink
            | Self::SignOut
            | Self::Invite => Methods::Post,
            Self::Ping(call) => call.methods(),
            Self::Register | Self::Silences | Self::SignIn => Methods::GetPost,
            Self::Registered(_) | Self::Silence(_) => Methods::Delete,
            Self::History(_) => Methods::GetDelete,
            Self::HealthStatus
            | Self::HealthService(_)
            | Self::Services
            | Self::Service(_)
            | Self::Config(_)
            | Self::Alerts
            | Self::Alert(_)
            | Self::Events
            | Self::Runs(_)
            | Self::RunOf(..)
            | Self::Logs(_)
            | Self::Stream
            | Self::Socket
            | Self::Metrics
            | Self::Badge(_)
            | Self::Sync
            | Self::Page
            | Self::Asset(..)
            | Self::Session
            | Self::Described
            | Self::Alive
            | Self::Ready => Methods::Get,
        }
    }

    /// What it takes to be answered to that method.
    pub(super) fn access(&self, method: &Method) -> Access<'_> {
        match self {
            Self::Pulse(name) | Self::Error(name) | Self::Run(name) => Access::Signal(name),
            Self::Ping(_) => Access::Ping,
            Self::HealthStatus | Self::HealthService(_) | Self::Badge(_) => Access::Health,
            Self::Services
            | Self::Service(_)
            | Self::Register
            | Self::Alerts
            | Self::Alert(_)
            | Self::Events
            | Self::Runs(_)
            | Self::Metrics
            | Self::Stream
            | Self::Socket
            | Self::Sync
            | Self::Described => Access::Read,
            Self::Registered(_) => Access::Unregister,
            Self::History(name) if *method == Method::DELETE => Access::Forget(name),
            Self::History(_) => Access::Read,
            // Services write secrets into their logs, and runs into their output.
            Self::Control(..)
            | Self::RunOf(..)
            | Self::Logs(_)
            | Self::Config(_)
            | Self::Acknowledge(_)
            | Self::SyncCommand(_)
            | Self::TestSink
            | Self::Silences
            | Self::Silence(_)
            | Self::Invite => Access::Control,
            Self::Page
            | Self::Asset(..)
            | Self::SignIn
            | Self::SignOut
            | Self::Session
            | Self::Alive
            | Self::Ready => Access::Open,
        }
    }
}

fn verb_of(word: &str) -> Option<Verb> {
    Some(match word {
        "start" => Verb::Start,
        "stop" => Verb::Stop,
        "restart" => Verb::Restart,
        "nudge" => Verb::Nudge,
        "pause" => Verb::Pause(None),
        "resume" => Verb::Resume,
        "clear" => Verb::Clear,
        _ => return None,
    })
}

pub(super) fn not_found() -> Problem {
    Problem::new(
        actix_web::http::StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this address",
    )
}

/// What a segment holds that needs no decoding: the characters of names and of our paths.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'@' | b'-')
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Decodes one segment of a path, and refuses what might be read as a way out of it.
pub(super) fn decode(raw: &str) -> Result<Cow<'_, str>, Problem> {
    let text = if raw.contains('%') {
        Cow::Owned(percent_decode(raw)?)
    } else {
        Cow::Borrowed(raw)
    };
    if is_dots(&text) || text.contains(['/', '\\']) || text.chars().any(char::is_control) {
        return Err(Problem::bad(
            "bad_path",
            "the path holds a dot segment, an encoded slash or a control character",
        ));
    }
    Ok(text)
}

fn percent_decode(raw: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let digits = tail.get(..2).and_then(hex);
            bytes.push(digits.ok_or_else(|| {
                Problem::bad(
                    "bad_path",
                    "a % in the path is not followed by two hex digits",
                )
            })?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| Problem::bad("bad_path", "the path is not UTF-8"))
}

fn hex(digits: &[u8]) -> Option<u8> {
    let high = char::from(digits[0]).to_digit(16)?;
    let low = char::from(digits[1]).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str) -> u16 {
        Route::parse(path).map_or_else(|problem| problem.status().as_u16(), |_| 200)
    }

    #[test]
    fn every_path_of_the_contract_is_a_route() {
        let parse = |path| Route::parse(path).unwrap();
        assert_eq!(parse("/api/pulse/a"), Route::Pulse("a".into()));
        assert_eq!(parse("/api/error/a"), Route::Error("a".into()));
        assert_eq!(parse("/api/health/status"), Route::HealthStatus);
        assert_eq!(
            parse("/api/health/service/a"),
            Route::HealthService("a".into())
        );
        assert_eq!(parse("/api/services"), Route::Services);
        assert_eq!(parse("/api/services/a"), Route::Service("a".into()));
        assert_eq!(parse("/api/services/a/config"), Route::Config("a".into()));
        assert_eq!(parse("/api/events"), Route::Events);
        assert_eq!(parse("/api/logs/a"), Route::Logs("a".into()));
        assert_eq!(parse("/api/run/a"), Route::Run("a".into()));
        assert_eq!(parse("/api/runs/a"), Route::Runs("a".into()));
        assert_eq!(parse("/api/runs/a/7"), Route::RunOf("a".into(), "7".into()));
        assert_eq!(parse("/api/history/a"), Route::History("a".into()));
        assert_eq!(parse("/api/alerts"), Route::Alerts);
        assert_eq!(parse("/api/alerts/7"), Route::Alert("7".into()));
        assert_eq!(parse("/api/alerts/7/ack"), Route::Acknowledge("7".into()));
        assert_eq!(parse("/api/alerts/test"), Route::TestSink);
        assert_eq!(parse("/api/silences"), Route::Silences);
        assert_eq!(parse("/api/silences/7"), Route::Silence("7".into()));
        assert_eq!(parse("/api/register"), Route::Register);
        assert_eq!(parse("/api/register/a"), Route::Registered("a".into()));
        assert_eq!(parse("/api/stream"), Route::Stream);
        assert_eq!(parse("/api/ws"), Route::Socket);
        assert_eq!(parse("/api/sync"), Route::Sync);
        for (word, verb) in [
            ("retry", SyncVerb::Retry),
            ("confirm", SyncVerb::Confirm),
            ("scan", SyncVerb::Scan),
        ] {
            let path = format!("/api/sync/{word}");
            assert_eq!(Route::parse(&path).unwrap(), Route::SyncCommand(verb));
        }
        assert_eq!(parse("/"), Route::Page);
        assert_eq!(parse("/login"), Route::SignIn);
        assert_eq!(parse("/logout"), Route::SignOut);
        assert_eq!(parse("/api/session"), Route::Session);
        assert_eq!(parse("/api/login"), Route::Invite);
        assert_eq!(
            parse("/assets/7/app.js"),
            Route::Asset("7".into(), "app.js".into())
        );
        assert_eq!(parse("/healthz"), Route::Alive);
        assert_eq!(parse("/readyz"), Route::Ready);
        for (word, verb) in [
            ("start", Verb::Start),
            ("stop", Verb::Stop),
            ("restart", Verb::Restart),
            ("nudge", Verb::Nudge),
            ("pause", Verb::Pause(None)),
            ("resume", Verb::Resume),
            ("clear", Verb::Clear),
        ] {
            let path = format!("/api/services/a/{word}");
            assert_eq!(
                Route::parse(&path).unwrap(),
                Route::Control("a".into(), verb)
            );
        }
    }

    #[test]
    fn a_percent_encoded_name_is_decoded_once() {
        let parse = |path| Route::parse(path).unwrap();
        assert_eq!(parse("/api/pulse/web%401"), Route::Pulse("web@1".into()));
        assert_eq!(parse("/api/pulse/a%2541"), Route::Pulse("a%41".into()));
    }

    #[test]
    fn anything_else_is_not_found() {
        for path in [
            "/assets/app.js",
            "/login/x",
            "/api",
            "/api/pulse",
            "/api/services/",
            "/api/services/a/format",
            "/api/services/a/stop/now",
            "//api/services",
            "*",
            "",
        ] {
            let expected = if path == "/api/services/" { 200 } else { 404 };
            assert_eq!(status(path), expected, "{path}");
        }
    }

    #[test]
    fn f61_a_path_that_is_not_utf8_is_a_bad_request() {
        for path in ["/api/pulse/%ff", "/api/services/a%c3%28", "/%80"] {
            assert_eq!(status(path), 400, "{path}");
        }
    }

    #[test]
    fn f62_a_way_out_of_a_segment_is_a_bad_request() {
        for path in [
            "/api/logs/..%2f..%2fetc%2fpasswd",
            "/api/logs/..%2F",
            "/api/logs/..",
            "/api/logs/.",
            "/api/pulse/..",
            "/api/pulse/%2e%2e",
            "/api/logs/%2e%2e/x",
            "/api/logs/..%5c",
            "/api/logs/a%00",
            "/api/logs/a%0d%0a",
            "/api/logs/a%zz",
            "/api/logs/a%4",
            "/../api/services",
        ] {
            assert_eq!(status(path), 400, "{path}");
        }
    }

    #[test]
    fn what_commands_or_may_hold_secrets_needs_control() {
        let access = |path: &'static str| {
            let route = Route::parse(path).unwrap();
            match route.access(&Method::GET) {
                Access::Open => "open",
                Access::Ping => "ping",
                Access::Health => "health",
                Access::Read => "read",
                Access::Signal(_) => "signal",
                Access::Forget(_) => "forget",
                Access::Unregister => "unregister",
                Access::Control => "control",
            }
        };
        assert_eq!(access("/api/logs/a"), "control");
        assert_eq!(access("/api/services/a/stop"), "control");
        assert_eq!(access("/api/alerts/7/ack"), "control");
        assert_eq!(access("/api/alerts/test"), "control");
        assert_eq!(access("/api/silences"), "control");
        assert_eq!(access("/api/login"), "control");
        assert_eq!(access("/api/services/a/config"), "control");
        assert_eq!(access("/"), "open");
        assert_eq!(access("/login"), "open");
        assert_eq!(access("/api/alerts"), "read");
        assert_eq!(access("/api/sync"), "read");
        assert_eq!(access("/api/sync/confirm"), "control");
        assert_eq!(access("/api/runs/a/1"), "control");
        assert_eq!(access("/api/runs/a"), "read");
        assert_eq!(access("/api/run/a"), "signal");
        assert_eq!(access("/api/services/a"), "read");
        assert_eq!(access("/api/events"), "read");
        assert_eq!(access("/api/stream"), "read");
        assert_eq!(access("/api/ws"), "read");
        assert_eq!(access("/metrics"), "read");
        assert_eq!(access("/badge/a.svg"), "health");
        assert_eq!(access("/api/history/a"), "read");
        let history = Route::parse("/api/history/a").unwrap();
        assert_eq!(history.access(&Method::DELETE), Access::Forget("a"));
        assert_eq!(access("/api/health/status"), "health");
        assert_eq!(access("/api/pulse/a"), "signal");
        assert_eq!(access("/ping/key/a"), "ping");
        assert_eq!(access("/healthz"), "open");
    }
}
