//! The calls, a line of prose each. Which there are is decided in [`super::super::routes`]; a
//! test compares the two.

use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};

/// One method of one path.
pub(super) struct Call {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    /// For those who make clients from this.
    pub(super) id: &'static str,
    pub(super) group: &'static str,
    pub(super) says: &'static str,
    /// Name, meaning, and what may stand there.
    pub(super) query: &'static [(&'static str, &'static str, Form)],
    pub(super) takes: Takes,
    /// Status, meaning, body.
    pub(super) gives: &'static [(u16, &'static str, Kind)],
    pub(super) needs: Needs,
}

/// What a request's body is; JSON by the name of its type.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    Nothing,
    Maybe(&'static str),
    Json(&'static str),
    Text,
}

/// What may stand in a query.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// A whole number between these.
    Number(u32, u32),
    Text,
    /// One of these.
    Word(&'static [&'static str]),
}

/// What an answer's body is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Nothing,
    Json(&'static str),
    AnyJson,
    Text,
    Html,
    Svg,
    Events,
}

/// Who may.
#[derive(Clone, Copy)]
pub(super) enum Needs {
    /// Everybody, or whoever has the key in the path.
    Nothing,
    /// Everybody on this machine, elsewhere the token.
    TokenElsewhere,
    Token,
}

const TAKEN: (u16, &str, Kind) = (202, "Taken.", Kind::Nothing);
const ACCEPTED: (u16, &str, Kind) = (202, "Taken.", Kind::AnyJson);
const SERVICE: &[(u16, &str, Kind)] = &[(202, "Begun: the service now.", Kind::Json("Service"))];
/// Yes or no.
const ONCE: Form = Form::Word(&["0", "1"]);
const PINGED: &[(u16, &str, Kind)] = &[(200, "Taken.", Kind::Text)];

/// What other monitors' clients call.
pub(super) const PINGS: &str = "ping URLs";

/// A call that says and is said the least.
const CALL: Call = Call {
    method: Get,
    path: "",
    id: "",
    group: "",
    says: "",
    query: &[],
    takes: Takes::Nothing,
    gives: &[],
    needs: Needs::TokenElsewhere,
};

const fn verb(path: &'static str, id: &'static str, says: &'static str) -> Call {
    Call {
        method: Post,
        path,
        id,
        group: "control",
        says,
        gives: SERVICE,
        needs: Needs::Token,
        ..CALL
    }
}

const fn ping(
    method: HttpMethod,
    path: &'static str,
    id: &'static str,
    says: &'static str,
) -> Call {
    Call {
        takes: match method {
            Post => Takes::Text,
            _ => Takes::Nothing,
        },
        method,
        path,
        id,
        group: PINGS,
        says,
        gives: PINGED,
        needs: Needs::Nothing,
        ..CALL
    }
}

pub(super) const CALLS: &[Call] = &[
    Call {
        method: Post,
        path: "/api/pulse/{service}",
        id: "pulse",
        group: "pulses",
        says: "A sign of life. An empty body is a plain pulse.",
        takes: Takes::Maybe("Pulse"),
        gives: &[TAKEN],
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/error/{service}",
        id: "error",
        group: "pulses",
        says: "It lives, and something is wrong.",
        takes: Takes::Maybe("Error"),
        gives: &[TAKEN],
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/run/{service}",
        id: "run",
        group: "pulses",
        says: "A piece of work begins or has ended.",
        takes: Takes::Json("RunReport"),
        gives: &[TAKEN],
        ..CALL
    },
    Call {
        path: "/api/health/status",
        id: "health",
        group: "health",
        says: "The health of all services.",
        gives: &[(200, "How they are.", Kind::Json("HealthStatus"))],
        ..CALL
    },
    Call {
        path: "/api/health/service/{service}",
        id: "health_of_service",
        group: "health",
        says: "The health of one service.",
        gives: &[(200, "How it is.", Kind::Json("HealthOfService"))],
        ..CALL
    },
    Call {
        path: "/healthz",
        id: "alive",
        group: "health",
        says: "Whether the supervisor's own loop turns.",
        gives: &[(200, "It does.", Kind::Text)],
        needs: Needs::Nothing,
        ..CALL
    },
    Call {
        path: "/readyz",
        id: "ready",
        group: "health",
        says: "Whether all services are watched already.",
        gives: &[(200, "They are.", Kind::Text)],
        needs: Needs::Nothing,
        ..CALL
    },
    Call {
        path: "/api/services",
        id: "services",
        group: "services",
        says: "Everything known of all services.",
        query: &[("follow", "1: also where the stream goes on from", ONCE)],
        gives: &[(200, "All of them.", Kind::Json("Services"))],
        ..CALL
    },
    Call {
        path: "/api/services/{service}",
        id: "service",
        group: "services",
        says: "Everything known of one service.",
        gives: &[(200, "The service.", Kind::Json("Service"))],
        ..CALL
    },
    Call {
        path: "/api/services/{service}/config",
        id: "config",
        group: "services",
        says: "A service as it is configured now, without secrets.",
        gives: &[(200, "In the words of the configuration.", Kind::AnyJson)],
        needs: Needs::Token,
        ..CALL
    },
    verb("/api/services/{service}/start", "start", "Starts it."),
    verb(
        "/api/services/{service}/stop",
        "stop",
        "Stops it, after what depends on it.",
    ),
    verb(
        "/api/services/{service}/restart",
        "restart",
        "Restarts it, past any backoff.",
    ),
    verb(
        "/api/services/{service}/nudge",
        "nudge",
        "Nudges it as configured.",
    ),
    Call {
        takes: Takes::Maybe("Pause"),
        ..verb(
            "/api/services/{service}/pause",
            "pause",
            "Leaves it alone: neither judged nor poked.",
        )
    },
    verb(
        "/api/services/{service}/resume",
        "resume",
        "Watches it again.",
    ),
    verb(
        "/api/services/{service}/clear",
        "clear",
        "Lifts its quarantine and starts it.",
    ),
    Call {
        path: "/api/logs/{service}",
        id: "logs",
        group: "services",
        says: "What it printed, as text that is safe to show.",
        query: &[
            (
                "tail",
                "how many of the last lines; 200",
                Form::Number(0, 10_000),
            ),
            ("follow", "1: goes on with what it prints from now on", ONCE),
        ],
        gives: &[(200, "Its lines.", Kind::Text)],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        path: "/api/events",
        id: "events",
        group: "history",
        says: "What happened, oldest first.",
        query: &[
            (
                "since",
                "a date, an age (`24h`), or the `next` of the answer before",
                Form::Text,
            ),
            ("service", "of this one alone", Form::Text),
            ("limit", "how many at most; 100", Form::Number(1, 1000)),
        ],
        gives: &[(200, "Events, and where to go on.", Kind::Json("Events"))],
        ..CALL
    },
    Call {
        path: "/api/runs/{service}",
        id: "runs",
        group: "history",
        says: "Its runs that have ended, the youngest first.",
        query: &[
            ("limit", "how many at most; 20", Form::Number(1, 1000)),
            (
                "before",
                "the `next` of the answer before",
                Form::Number(0, u32::MAX),
            ),
        ],
        gives: &[(200, "Runs, and where to go on.", Kind::Json("Runs"))],
        ..CALL
    },
    Call {
        path: "/api/runs/{service}/{id}",
        id: "run_of_service",
        group: "history",
        says: "One of its runs with what it printed.",
        gives: &[(200, "The run.", Kind::Json("Run"))],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        path: "/api/history/{service}",
        id: "history",
        group: "history",
        says: "How it was, step by step.",
        query: &[
            ("from", "a date or an age (`24h`)", Form::Text),
            ("to", "a date or an age", Form::Text),
            ("step", "such as `1m`, `1h`, `1d`", Form::Text),
        ],
        gives: &[(200, "Its history.", Kind::Json("History"))],
        ..CALL
    },
    Call {
        method: Delete,
        path: "/api/history/{service}",
        id: "forget",
        group: "history",
        says: "Deletes its events and runs that are older.",
        query: &[("older_than", "an age, such as `7d`", Form::Text)],
        gives: &[(200, "How many there were.", Kind::Json("Deleted"))],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        path: "/api/alerts",
        id: "alerts",
        group: "alerts",
        says: "Alerts, the newest first.",
        query: &[
            (
                "state",
                "open (the default) or all",
                Form::Word(&["open", "all"]),
            ),
            ("service", "of this one alone", Form::Text),
            (
                "before",
                "the `next` of the answer before",
                Form::Number(0, u32::MAX),
            ),
            ("limit", "how many at most; 100", Form::Number(1, 1000)),
        ],
        gives: &[(200, "Alerts, and where to go on.", Kind::Json("Alerts"))],
        ..CALL
    },
    Call {
        path: "/api/alerts/{id}",
        id: "alert",
        group: "alerts",
        says: "One alert, and the rules that decide about it now.",
        gives: &[(200, "The alert.", Kind::Json("AlertWithReasons"))],
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/alerts/{id}/ack",
        id: "acknowledge",
        group: "alerts",
        says: "Takes it: no repeats and no further steps, unless it gets worse.",
        takes: Takes::Maybe("Acknowledge"),
        gives: &[(200, "The alert.", Kind::Json("Alert"))],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/alerts/test",
        id: "test_sink",
        group: "alerts",
        says: "Sends a test message to a sink.",
        takes: Takes::Json("SinkTest"),
        gives: &[(200, "The sink took it.", Kind::AnyJson)],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        path: "/api/silences",
        id: "silences",
        group: "alerts",
        says: "The silences that hold.",
        gives: &[(200, "All of them.", Kind::Json("Silences"))],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/silences",
        id: "silence",
        group: "alerts",
        says: "Has the alerts of some services tell nobody for a while.",
        takes: Takes::Json("NewSilence"),
        gives: &[(201, "It holds.", Kind::Json("Silence"))],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        method: Delete,
        path: "/api/silences/{id}",
        id: "end_silence",
        group: "alerts",
        says: "Ends a silence.",
        gives: &[(204, "It is over.", Kind::Nothing)],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        path: "/api/register",
        id: "registered",
        group: "registration",
        says: "Who has registered.",
        gives: &[(200, "All of them.", Kind::Json("AllRegistered"))],
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/register",
        id: "register",
        group: "registration",
        says: "Watches a service that others run.",
        takes: Takes::Json("Registration"),
        gives: &[(200, "What holds.", Kind::Json("Registered"))],
        ..CALL
    },
    Call {
        method: Delete,
        path: "/api/register/{tag}",
        id: "unregister",
        group: "registration",
        says: "Watches it no longer.",
        gives: &[(204, "It is gone.", Kind::Nothing)],
        ..CALL
    },
    Call {
        path: "/api/stream",
        id: "stream",
        group: "streams",
        says: "All services, then what changes, as server-sent events.",
        query: &[(
            "last_event_id",
            "goes on from there, as the header Last-Event-ID does",
            Form::Number(0, u32::MAX),
        )],
        gives: &[(200, "Until one side has enough.", Kind::Events)],
        ..CALL
    },
    Call {
        path: "/api/ws",
        id: "socket",
        group: "streams",
        says: "The same as a WebSocket, a JSON message each.",
        query: &[(
            "last_event_id",
            "goes on from there",
            Form::Number(0, u32::MAX),
        )],
        gives: &[(101, "Until one side has enough.", Kind::Nothing)],
        ..CALL
    },
    Call {
        path: "/api/sync",
        id: "sync",
        group: "sync",
        says: "The mirroring of files into tables: queue, parked rows, directories, rates.",
        gives: &[(200, "How it is.", Kind::Json("Sync"))],
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/sync/retry",
        id: "sync_retry",
        group: "sync",
        says: "Tries parked rows again.",
        takes: Takes::Maybe("SyncCommand"),
        gives: &[ACCEPTED],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/sync/confirm",
        id: "sync_confirm",
        group: "sync",
        says: "Does the deletions that wait for somebody's word.",
        takes: Takes::Maybe("SyncCommand"),
        gives: &[ACCEPTED],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/sync/scan",
        id: "sync_scan",
        group: "sync",
        says: "Looks at every file once and sends what changed.",
        takes: Takes::Maybe("SyncCommand"),
        gives: &[ACCEPTED],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        path: "/api/session",
        id: "session",
        group: "dashboard",
        says: "Who somebody is to us.",
        gives: &[(200, "What may be asked for.", Kind::Json("Session"))],
        needs: Needs::Nothing,
        ..CALL
    },
    Call {
        method: Post,
        path: "/api/login",
        id: "invite",
        group: "dashboard",
        says: "An address that signs a browser in once.",
        gives: &[(200, "The address.", Kind::Json("LoginAddress"))],
        needs: Needs::Token,
        ..CALL
    },
    Call {
        path: "/",
        id: "page",
        group: "dashboard",
        says: "The dashboard.",
        gives: &[(200, "A page.", Kind::Html)],
        needs: Needs::Nothing,
        ..CALL
    },
    Call {
        path: "/metrics",
        id: "metrics",
        group: "health",
        says: "Everything in numbers, for Prometheus.",
        gives: &[(200, "Its text format.", Kind::Text)],
        ..CALL
    },
    Call {
        path: "/badge/{file}",
        id: "badge",
        group: "health",
        says: "A service's level as a picture: its name and `.svg`.",
        gives: &[(200, "A picture.", Kind::Svg)],
        ..CALL
    },
    Call {
        path: "/openapi.json",
        id: "openapi",
        group: "health",
        says: "This.",
        gives: &[(200, "OpenAPI 3.1.", Kind::AnyJson)],
        ..CALL
    },
    ping(
        Get,
        "/ping/{uuid}",
        "ping",
        "healthchecks: a success. By POST with what it printed.",
    ),
    ping(
        Post,
        "/ping/{uuid}",
        "ping_with_output",
        "healthchecks: a success, with what it printed.",
    ),
    ping(
        Get,
        "/ping/{uuid}/{action}",
        "ping_action",
        "healthchecks: start, fail, log or an exit status.",
    ),
    ping(
        Post,
        "/ping/{key}/{slug}/{action}",
        "ping_slug_action",
        "healthchecks: the same by the project's key and the service's name.",
    ),
    ping(
        Get,
        "/p/{key}/{monitor}",
        "cronitor",
        "Cronitor's telemetry: `state`, `series`, `message`, `metric`.",
    ),
    ping(
        Get,
        "/api/push/{token}",
        "kuma",
        "Uptime Kuma's push monitor: `status`, `msg`, `ping`.",
    ),
    ping(
        Post,
        "/api/v1/endpoints/{key}/external",
        "gatus",
        "Gatus' external endpoint: `success`, `error`, `duration`.",
    ),
];
