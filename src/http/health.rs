//! `/api/health/…`: what existing clients read, to the letter, and the two probes.
//!
//! Our own actors (`internal.…`) are left out of `/api/health/status`: its readers walk over
//! the services that they know and would take them for theirs. They are in `/api/services`,
//! and `/api/health/service/internal.…` answers for those who ask by name.

use actix_web::HttpResponse;
use actix_web::http::header;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use supervisor_core::{Level, Timestamp, View};

use super::api::Api;
use super::problem::Problem;
use super::services;

#[derive(Serialize, ToSchema)]
#[schema(as = HealthStatus)]
pub(super) struct Status<'a> {
    #[serde(serialize_with = "by_name")]
    #[schema(value_type = BTreeMap<String, Entry>)]
    services: &'a [Entry<'a>],
    overall_status: Level,
}

/// One service in the overview.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthEntry)]
pub(super) struct Entry<'a> {
    #[serde(skip)]
    name: &'a str,
    status: Level,
    last_heartbeat: Option<String>,
    #[schema(value_type = f64)]
    interval: Seconds,
    consecutive_failures: u32,
}

/// One service alone.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthOfService)]
pub(super) struct One<'a> {
    service: &'a str,
    status: Level,
    last_heartbeat: Option<String>,
    uptime: Option<String>,
    total_pulses: u64,
    error_count: u64,
}

/// A number of seconds, written without a fraction where it has none: clients read it into an
/// integer.
pub(super) struct Seconds(pub(super) f64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        /// Above it not every integer is a double.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && (0.0..=EXACT).contains(&self.0) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and in range, as just tested"
            )]
            to.serialize_u64(self.0 as u64)
        } else {
            to.serialize_f64(self.0)
        }
    }
}

/// An object with the services' names as keys, in their order.
fn by_name<S: Serializer>(entries: &[Entry<'_>], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(entries.len()))?;
    for entry in entries {
        map.serialize_entry(entry.name, entry)?;
    }
    map.end()
}

/// `GET /api/health/status`.
pub(super) async fn status(api: &Api) -> Result<HttpResponse, Problem> {
    let overview = api.ask(api.supervisor.overview()).await?;
    let default = api.default_interval.as_secs_f64();
    let entries: Vec<Entry<'_>> = overview
        .services
        .iter()
        .filter(|view| !view.name.is_internal())
        .map(|view| Entry {
            name: view.name.as_str(),
            status: view.status,
            last_heartbeat: view.last_heartbeat.map(Timestamp::rfc3339),
            interval: Seconds(view.interval.unwrap_or(default)),
            consecutive_failures: view.consecutive_failures,
        })
        .collect();
    Ok(json(&Status {
        services: &entries,
        overall_status: overview.overall,
    }))
}

/// `GET /api/health/service/{name}`.
pub(super) async fn service(api: &Api, name: &str) -> Result<HttpResponse, Problem> {
    Ok(one(&services::find(api, name).await?))
}

fn one(view: &View) -> HttpResponse {
    json(&One {
        service: view.name.as_str(),
        status: view.status,
        last_heartbeat: view.last_heartbeat.map(Timestamp::rfc3339),
        uptime: view.uptime.map(uptime),
        total_pulses: view.total_pulses,
        error_count: view.error_count,
    })
}

/// `GET /healthz`: whether the supervisor's loop turns.
pub(super) fn alive(api: &Api) -> Result<HttpResponse, Problem> {
    if api.supervisor.is_alive(api.clock.mono()) {
        Ok(ok())
    } else {
        Err(Problem::unavailable(
            "stalled",
            "the supervisor's loop has not turned for seconds",
        ))
    }
}

/// `GET /readyz`: whether all services are watched.
pub(super) fn ready(api: &Api) -> Result<HttpResponse, Problem> {
    alive(api)?;
    if api.supervisor.is_ready() {
        Ok(ok())
    } else {
        Err(Problem::unavailable(
            "not_ready",
            "the supervisor is still taking up its services",
        ))
    }
}

fn ok() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body("ok")
}

/// An answer in JSON that nobody keeps.
pub(super) fn json(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body)
}

/// `2d 14h 23m`: whole minutes, without leading zeros.
fn uptime(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and no service lives 10^11 years"
    )]
    let minutes = (seconds / 60.0) as u64;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_as_existing_clients_expect() {
        for (seconds, text) in [
            (0.0, "0m"),
            (59.9, "0m"),
            (60.0, "1m"),
            (3_600.0, "1h 0m"),
            (51_780.0, "14h 23m"),
            (86_400.0, "1d 0h 0m"),
            (224_580.0, "2d 14h 23m"),
        ] {
            assert_eq!(uptime(seconds), text);
        }
    }

    #[test]
    fn a_whole_interval_is_an_integer_and_half_a_second_is_legal() {
        let text = |seconds| serde_json::to_string(&Seconds(seconds)).unwrap();
        assert_eq!(text(30.0), "30");
        assert_eq!(text(0.5), "0.5");
        assert_eq!(text(0.1), "0.1");
    }

    #[test]
    fn the_overview_has_the_fields_of_the_contract_and_no_others() {
        let entry = Entry {
            name: "save_worker",
            status: Level::Healthy,
            last_heartbeat: Some("2025-07-14T10:30:45Z".to_owned()),
            interval: Seconds(30.0),
            consecutive_failures: 0,
        };
        let status = Status {
            services: &[entry],
            overall_status: Level::Healthy,
        };
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            r#"{"services":{"save_worker":{"status":"healthy","last_heartbeat":"2025-07-14T10:30:45Z","interval":30,"consecutive_failures":0}},"overall_status":"healthy"}"#
        );
    }
}
