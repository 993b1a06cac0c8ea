//! `GET /metrics`: everything in numbers, for Prometheus.
//!
//! Labels are bounded by what is configured and registered: services, their at most 32 figures,
//! levels. Nothing that a client sends without being known makes a series. Times are dates, not
//! ages: an age would be old when it is looked at.

use actix_web::HttpResponse;
use actix_web::http::header;

use supervisor_actors::messages::Overview;
use supervisor_actors::ports::alerts::AlertQuery;
use supervisor_actors::sync::Status;
use supervisor_core::alert::{Alert, Phase};
use supervisor_core::{Level, StateWord, Timestamp, View};

use super::api::Api;
use super::exposition::Kind::{Counter, Gauge};
use super::exposition::{Exposition, Kind};
use super::problem::Problem;
use crate::adapters::own_process::OwnProcess;

const LEVELS: [Level; 5] = [
    Level::Healthy,
    Level::Warning,
    Level::Degraded,
    Level::Critical,
    Level::Unknown,
];
const PHASES: [Phase; 3] = [Phase::Pending, Phase::Firing, Phase::Acknowledged];

/// `GET /metrics`.
pub(super) async fn show(api: &Api) -> Result<HttpResponse, Problem> {
    let overview = api.ask(api.supervisor.overview()).await?;
    let newest = AlertQuery {
        limit: 1,
        ..AlertQuery::default()
    };
    let open = api.ask(api.alerts.open()).await?;
    // Without its database there are no numbers of what was; the others are told all the same.
    let last = api.ask(api.alerts.kept(newest)).await?.unwrap_or_default();
    let sync = match &api.sync {
        Some(sync) => actix_web::rt::time::timeout(api.patience.answer, sync.status())
            .await
            .ok()
            .and_then(Result::ok),
        None => None,
    };
    let mut out = Exposition::with_capacity(4_096 + overview.services.len() * 1_024);
    own(&mut out, api, &overview);
    services(&mut out, &overview.services);
    alerts(&mut out, &open, last.first());
    if let Some(status) = &sync {
        mirrored(&mut out, status);
    }
    Ok(HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        ))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(out.into_text()))
}

fn own(out: &mut Exposition, api: &Api, overview: &Overview) {
    out.family("supervisor_build_info", Gauge, "Which supervisor this is.")
        .put(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.family(
        "supervisor_start_time_seconds",
        Gauge,
        "When this supervisor began, since the epoch.",
    )
    .put(&[], epoch(overview.started_at));
    out.family(
        "supervisor_overall_level",
        Gauge,
        "The worst level that counts: 0 healthy, 1 warning, 2 degraded, 3 critical, -1 unknown.",
    )
    .put(&[], level(overview.overall));
    out.family(
        "supervisor_storage_up",
        Gauge,
        "Whether records reach the disk.",
    )
    .put(&[], u8::from(overview.storage.is_ok()));
    out.family(
        "supervisor_refused_messages_total",
        Counter,
        "Messages refused because too many of their service waited.",
    )
    .put(&[], api.supervisor.refused());
    out.family(
        "supervisor_streams",
        Gauge,
        "Clients of the streams of changes.",
    )
    .put(&[], api.feed.readers());
    let Some(process) = OwnProcess::look() else {
        return;
    };
    out.family(
        "supervisor_process_cpu_seconds_total",
        Counter,
        "Processor time of the supervisor itself.",
    )
    .put(&[], process.cpu_seconds);
    for (name, help, value) in [
        (
            "supervisor_process_resident_memory_bytes",
            "Memory of the supervisor itself.",
            process.resident_bytes,
        ),
        (
            "supervisor_process_open_fds",
            "File descriptors that the supervisor has open.",
            process.open_fds,
        ),
        (
            "supervisor_process_max_fds",
            "File descriptors that the supervisor may open.",
            process.max_fds,
        ),
        (
            "supervisor_process_threads",
            "Threads of the supervisor.",
            process.threads,
        ),
    ] {
        out.family(name, Gauge, help).put(&[], value);
    }
}

fn services(out: &mut Exposition, all: &[View]) {
    let mut family = out.family("supervisor_services", Gauge, "Services at each level.");
    for wanted in LEVELS {
        let ours = |view: &&View| !view.name.is_internal() && view.status == wanted;
        let count = all.iter().filter(ours).count();
        family.put(&[("level", wanted.as_str())], count);
    }
    each(
        out,
        all,
        Gauge,
        "supervisor_service_level",
        "A service's level: 0 healthy, 1 warning, 2 degraded, 3 critical, -1 unknown.",
        |view| Some(f64::from(level(view.status))),
    );
    each(
        out,
        all,
        Gauge,
        "supervisor_service_running",
        "Whether its process runs, or it is watched where others run it.",
        |view| {
            let runs = match view.state {
                StateWord::Running | StateWord::External => 1.0,
                StateWord::Starting
                | StateWord::Stopping
                | StateWord::Stopped
                | StateWord::Backoff
                | StateWord::Quarantined
                | StateWord::Paused
                | StateWord::Exited => 0.0,
            };
            Some(runs)
        },
    );
    each(
        out,
        all,
        Gauge,
        "supervisor_service_last_pulse_timestamp_seconds",
        "When it last gave a sign of life, since the epoch.",
        |view| view.last_heartbeat.map(epoch),
    );
    each(
        out,
        all,
        Gauge,
        "supervisor_service_interval_seconds",
        "How often it promises to pulse.",
        |view| view.interval,
    );
    each(
        out,
        all,
        Gauge,
        "supervisor_service_missed_intervals",
        "Intervals that its present silence has missed.",
        |view| Some(view.missed.into()),
    );
    each(
        out,
        all,
        Gauge,
        "supervisor_service_start_time_seconds",
        "When its present life began, since the epoch.",
        |view| view.started_at.map(epoch),
    );
    each(
        out,
        all,
        Counter,
        "supervisor_service_pulses_total",
        "Pulses received since this supervisor began.",
        |view| Some(view.pulses_here as f64),
    );
    each(
        out,
        all,
        Counter,
        "supervisor_service_errors_total",
        "Errors ever reported.",
        |view| Some(view.error_count as f64),
    );
    each(
        out,
        all,
        Counter,
        "supervisor_service_restarts_total",
        "Restarts since it is known.",
        |view| Some(view.restarts as f64),
    );
    each(
        out,
        all,
        Counter,
        "supervisor_service_dropped_datagrams_total",
        "Datagrams to its notify socket that were left out.",
        |view| Some(view.notify_dropped as f64).filter(|count| *count > 0.0),
    );
    each(
        out,
        all,
        Counter,
        "supervisor_service_dropped_lines_total",
        "Lines of its output that were left out.",
        |view| Some(view.lines_dropped as f64).filter(|count| *count > 0.0),
    );
    each(
        out,
        all,
        Gauge,
        "supervisor_service_memory_bytes",
        "Resident memory of its processes, as of a minute ago at most while it is scraped.",
        |view| view.memory.map(|bytes| bytes as f64),
    );
    each(
        out,
        all,
        Gauge,
        "supervisor_service_suspicion",
        "How unusual its present silence is: phi, a power of ten.",
        |view| view.suspicion,
    );
    each(
        out,
        all,
        Gauge,
        "supervisor_service_predicted_miss_timestamp_seconds",
        "When it will first be late if it goes on slowing like this, since the epoch.",
        |view| view.predicted_miss_at.map(epoch),
    );
    let mut family = out.family(
        "supervisor_service_figure",
        Gauge,
        "The latest value of each of its own figures.",
    );
    for view in all {
        for (figure, metric) in &view.metrics {
            let labels = [("service", view.name.as_str()), ("figure", figure)];
            family.put(&labels, metric.value);
        }
    }
}

/// A number of each service that has it.
fn each(
    out: &mut Exposition,
    all: &[View],
    kind: Kind,
    name: &'static str,
    help: &'static str,
    value: impl Fn(&View) -> Option<f64>,
) {
    let mut family = out.family(name, kind, help);
    for view in all {
        if let Some(value) = value(view) {
            family.put(&[("service", view.name.as_str())], value);
        }
    }
}

fn alerts(out: &mut Exposition, open: &[Alert], newest: Option<&Alert>) {
    let mut family = out.family(
        "supervisor_open_alerts",
        Gauge,
        "Alerts that are not resolved, by their state and level.",
    );
    for phase in PHASES {
        for wanted in [Level::Warning, Level::Degraded, Level::Critical] {
            let fits = |alert: &&Alert| alert.phase == phase && alert.worst == wanted;
            let count = open.iter().filter(fits).count();
            let labels = [("state", phase.as_str()), ("level", wanted.as_str())];
            family.put(&labels, count);
        }
    }
    let last = open.iter().chain(newest).map(|alert| alert.id.0).max();
    out.family(
        "supervisor_alerts_total",
        Counter,
        "Alerts ever, over the life of the data directory.",
    )
    .put(&[], last.unwrap_or(0));
}

fn mirrored(out: &mut Exposition, status: &Status) {
    let mut family = out.family(
        "supervisor_sync_queue_rows",
        Gauge,
        "Rows that wait: edited a moment ago, due, held for somebody's word, parked.",
    );
    let queue = &status.queue;
    for (state, count) in [
        ("debouncing", queue.debouncing),
        ("due", queue.due),
        ("held", queue.held),
        ("parked", queue.parked),
    ] {
        family.put(&[("state", state)], count);
    }
    let mut family = out.family(
        "supervisor_sync_files_total",
        Counter,
        "Files since the start: rows taken by the target, found unchanged, parked.",
    );
    let totals = &status.totals;
    for (result, count) in [
        ("synced", totals.synced),
        ("skipped", totals.skipped),
        ("errors", totals.errors),
    ] {
        family.put(&[("result", result)], count);
    }
    out.family(
        "supervisor_sync_target_up",
        Gauge,
        "Whether the target takes rows now.",
    )
    .put(&[], u8::from(status.target.state == "open"));
}

fn level(level: Level) -> i8 {
    match level {
        Level::Healthy => 0,
        Level::Warning => 1,
        Level::Degraded => 2,
        Level::Critical => 3,
        Level::Unknown => -1,
    }
}

fn epoch(date: Timestamp) -> f64 {
    date.0 as f64 / 1e6
}
