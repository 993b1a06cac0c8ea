//! The API's objects as a client reads them: leniently, so that an older or newer supervisor
//! can be asked too. Unknown fields are ignored, missing ones and nulls are absent.

use std::collections::BTreeMap;

use serde::Deserialize;
use supervisor_core::Level;

/// A service object (see [`supervisor_core::view::View`]).
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) name: String,
    /// The level's word.
    pub(super) status: String,
    pub(super) state: String,
    pub(super) pid: Option<i64>,
    pub(super) generation: Option<u64>,
    /// Seconds.
    pub(super) interval: Option<f64>,
    pub(super) interval_source: Option<String>,
    /// Seconds.
    pub(super) age: Option<f64>,
    pub(super) missed: Option<u64>,
    pub(super) consecutive_failures: Option<u64>,
    pub(super) restarts: Option<u64>,
    pub(super) reason: Option<String>,
    pub(super) last_heartbeat: Option<String>,
    pub(super) freshness: Option<String>,
    pub(super) total_pulses: Option<u64>,
    pub(super) error_count: Option<u64>,
    pub(super) critical: Option<bool>,
    pub(super) started_at: Option<String>,
    /// Seconds.
    pub(super) uptime: Option<f64>,
    /// Seconds.
    pub(super) next_start_in: Option<f64>,
    /// Seconds.
    pub(super) paused_for: Option<f64>,
    pub(super) maintenance: Option<String>,
    pub(super) message: Option<String>,
    pub(super) cycle: Option<i64>,
    pub(super) progress: Option<f64>,
    pub(super) metrics: BTreeMap<String, Metric>,
    /// The youngest under way.
    pub(super) run: Option<Run>,
    pub(super) last_run: Option<Run>,
    pub(super) waiting_for: Vec<String>,
    pub(super) blocked_by: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) depends_on: Vec<String>,
}

/// A run, under way or ended.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) outcome: Option<String>,
    pub(super) exit_code: Option<i64>,
    pub(super) ended_at: Option<String>,
    /// Seconds.
    pub(super) duration: Option<f64>,
    /// Seconds.
    pub(super) running_for: Option<f64>,
    pub(super) message: Option<String>,
}

/// A figure of a service's own.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metric {
    pub(super) value: Option<f64>,
    pub(super) count: Option<u64>,
    pub(super) min: Option<f64>,
    pub(super) mean: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Service {
    /// Its level; a word that we do not know is no opinion.
    pub(super) fn level(&self) -> Level {
        level(&self.status)
    }

    /// Whether it is one of the supervisor's own actors.
    pub(super) fn is_internal(&self) -> bool {
        self.name
            .starts_with(supervisor_core::name::INTERNAL_PREFIX)
    }

    /// Why its level is what it is; nothing when healthy.
    pub(super) fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }
}

/// The level of that word.
pub(super) fn level(word: &str) -> Level {
    [
        Level::Healthy,
        Level::Warning,
        Level::Degraded,
        Level::Critical,
    ]
    .into_iter()
    .find(|level| level.as_str() == word)
    .unwrap_or(Level::Unknown)
}

/// `GET /api/services`
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Services {
    pub(super) services: Vec<Service>,
}

/// The worst level over all services (DESIGN 3).
pub(super) fn overall(services: &[Service]) -> Level {
    let counted = |service: &Service| (service.level(), service.critical.unwrap_or(true));
    supervisor_core::overall::overall(services.iter().map(counted))
}

/// One recorded event.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) time: String,
    pub(super) service: String,
    pub(super) kind: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: &str, critical: bool) -> Service {
        Service {
            status: status.to_owned(),
            critical: Some(critical),
            ..Service::default()
        }
    }

    #[test]
    fn overall_is_the_worst_that_counts() {
        assert_eq!(overall(&[]), Level::Unknown);
        assert_eq!(overall(&[of("unknown", true)]), Level::Unknown);
        assert_eq!(
            overall(&[of("unknown", true), of("healthy", true)]),
            Level::Healthy
        );
        assert_eq!(
            overall(&[of("critical", false), of("warning", true)]),
            Level::Degraded
        );
        assert_eq!(
            overall(&[of("critical", true), of("degraded", true)]),
            Level::Critical
        );
    }

    #[test]
    fn objects_of_other_versions_are_read_leniently() {
        let service: Service =
            serde_json::from_str(r#"{"name":"a","status":"splendid","pid":null,"new":{"x":[1]}}"#)
                .unwrap();
        assert_eq!(service.level(), Level::Unknown);
        assert_eq!(service.pid, None);
    }
}
