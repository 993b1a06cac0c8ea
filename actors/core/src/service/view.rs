//! The service object of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use super::judge::passed;
use super::state::State;
use super::{Now, Service};
use crate::name::ServiceName;
use crate::policy::Watch;
use crate::run::Runs;
use crate::time::Time;
use crate::view::{LastRun, MetricView, OpenRun, View};

impl Service {
    /// Everything known of it, to be shown.
    #[must_use]
    pub fn view(
        &self,
        name: &ServiceName,
        now: &Now,
        tags: &[String],
        depends_on: &[ServiceName],
    ) -> View {
        let memory = &self.memory;
        let alive = self.policy.watch == Watch::Alive
            && matches!(
                memory.state,
                State::Running { .. } | State::Starting { .. } | State::Stopping { .. }
            )
            && memory.state.pid().is_some();
        let missed = self.missed(now);
        let last = memory.last;
        let runs = memory.said.as_ref().map(|said| &said.runs);
        let living = match memory.state {
            State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Resumed { .. }
            // As long as it is watched, or since its restart command ran.
            | State::External { .. } => memory.began,
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. } => None,
        };
        View {
            name: name.clone(),
            status: memory.level,
            state: self.word(),
            pid: memory.state.pid(),
            // Known to whoever weighs it.
            memory: None,
            generation: memory.generation.0,
            interval: match self.policy.watch {
                Watch::Pulsing | Watch::External if self.policy.on_demand => None,
                Watch::Alive => None,
                Watch::Pulsing | Watch::External if self.policy.learns() => None,
                Watch::Pulsing | Watch::External => Some(self.policy.interval.as_secs_f64()),
            },
            interval_source: match self.policy.watch {
                Watch::Pulsing | Watch::External if self.policy.on_demand => None,
                Watch::Alive => None,
                Watch::Pulsing | Watch::External => Some(self.policy.interval_source),
            },
            age: if alive {
                Some(0.0)
            } else {
                last.map(|last| seconds(passed(last, now)))
            },
            missed,
            consecutive_failures: missed.max(self.errors()),
            restarts: memory.restarts,
            reason: self.reason(now),
            last_heartbeat: if alive {
                Some(now.at.wall)
            } else {
                last.map(|last| last.wall)
            },
            freshness: self.freshness(now),
            total_pulses: memory.total_pulses,
            pulses_here: memory.total_pulses.saturating_sub(self.recalled),
            error_count: memory.error_count,
            critical: self.policy.critical,
            started_at: living.map(|began| began.wall),
            uptime: living.map(|began| seconds(passed(began, now))),
            next_start_in: self.next_start().map(|at| seconds(at.since(now.at.time))),
            paused_for: memory
                .pause
                .as_ref()
                .and_then(|pause| pause.until)
                .map(|until| seconds(until.since(now.at.time))),
            message: memory.said.as_ref().and_then(|said| said.message.clone()),
            cycle: memory.said.as_ref().and_then(|said| said.cycle),
            progress: memory.said.as_ref().and_then(|said| said.progress),
            metrics: memory.said.as_ref().map_or_else(BTreeMap::new, |said| {
                let shown = |(name, metric): (&str, &_)| (name.to_owned(), MetricView::of(metric));
                said.metrics.iter().map(shown).collect()
            }),
            // Known to whoever knows all services.
            waiting_for: Vec::new(),
            maintenance: None,
            // What its sources count is added by who holds them.
            notify_dropped: 0,
            lines_dropped: 0,
            blocked_by: match &memory.state {
                State::Stopping { blocked, .. } => blocked.as_deref().map(str::to_owned),
                State::New
                | State::Stopped { .. }
                | State::Waiting { .. }
                | State::Starting { .. }
                | State::Running { .. }
                | State::Held { .. }
                | State::Backoff { .. }
                | State::Quarantined { .. }
                | State::Exited { .. }
                | State::External { .. }
                | State::Resumed { .. } => None,
            },
            run: runs.and_then(Runs::youngest).map(|open| {
                let mono = now.at.mono.since(open.began.mono);
                OpenRun {
                    rid: open.rid.as_ref().map(ToString::to_string),
                    started_at: open.began.wall,
                    running_for: seconds(mono.max(now.at.time.since(open.began.time))),
                }
            }),
            last_run: runs.and_then(Runs::last).map(|last| LastRun {
                rid: last.rid.as_ref().map(ToString::to_string),
                outcome: last.outcome,
                exit_code: last.exit_code,
                started_at: last.began,
                ended_at: last.ended,
                duration: last.took.map(seconds),
                message: last.message.clone(),
            }),
            // What is observed of it is held by whoever holds it.
            trend: None,
            predicted_miss_at: None,
            suspicion: None,
            tags: tags.to_vec(),
            depends_on: depends_on.to_vec(),
        }
    }

    fn next_start(&self) -> Option<Time> {
        match self.memory.state {
            State::Backoff { until, .. } | State::Quarantined { until } => Some(until),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Exited { .. }
            | State::External { .. }
            | State::Resumed { .. } => None,
        }
    }
}

/// Seconds with milliseconds: more digits say nothing to people.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}
