//! What a service must remember across our own death.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::progress::Pace;
use super::state::{Ladder, Pause, State};
use crate::backoff::RestartHistory;
use crate::event::{Generation, Moment};
use crate::level::Level;
use crate::metrics::Metrics;
use crate::policy::{Policy, Watch};
use crate::run::Runs;
use crate::time::Time;

/// What a service must remember across our own death. Unknown fields are ignored and missing
/// ones take their default, so that older and newer states load.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Which life this is.
    pub generation: Generation,
    /// It said to have nothing to do.
    pub(super) idle: bool,
    /// It said to hang.
    pub(super) stuck: bool,
    /// This life is the one start that a quarantine allowed.
    pub(super) probing: bool,
    /// Pulses ever.
    pub(super) total_pulses: u64,
    /// The last sign of life.
    pub(super) last: Option<Moment>,
    /// From when on it is judged: the present life's start, or what gave it a new chance.
    pub(super) since: Time,
    /// It said to be busy and silent until then; zero for not.
    pub(super) busy_until: Time,
    #[serde(deserialize_with = "lenient")]
    pub(super) pause: Option<Box<Pause>>,
    #[serde(deserialize_with = "lenient")]
    pub(super) ladder: Ladder,
    /// Errors that it reported, in a row.
    pub(super) reported: u32,
    /// Probes that failed, in a row.
    pub(super) probes: u32,
    #[serde(deserialize_with = "lenient")]
    pub(super) state: State,
    /// The level shown.
    #[serde(deserialize_with = "lenient")]
    pub(super) level: Level,
    /// The level reached that no clean pulse has lifted yet; `Unknown` for none.
    #[serde(deserialize_with = "lenient")]
    pub(super) floor: Level,
    /// Clean pulses since the last trouble.
    pub(super) clean: u32,
    /// Why: of the floor, or of a rest.
    pub(super) reason: Box<str>,
    /// When the present life began.
    pub(super) began: Option<Moment>,
    /// Unexpected exits of the present series.
    pub(super) exits: u32,
    /// Restarts of the present series.
    pub(super) series: u32,
    /// Restarts ever.
    pub(super) restarts: u64,
    /// Errors ever.
    pub(super) error_count: u64,
    /// The restarts that the limit counts.
    pub(super) history: RestartHistory,
    /// What only some services say.
    pub(super) said: Option<Box<Said>>,
}

/// What a service said of itself last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    pub(super) message: Option<String>,
    pub(super) cycle: Option<i64>,
    pub(super) progress: Option<f64>,
    /// Why its last probe failed, until one succeeds.
    pub(super) refusal: Option<Box<str>>,
    /// How these numbers move.
    pub(super) pace: Option<Pace>,
    /// Its own figures, of this life.
    #[serde(deserialize_with = "lenient")]
    pub(super) metrics: Metrics,
    /// How often it pulses in this life.
    pub(super) interval: Option<Duration>,
    /// It said that it reloads, and not yet that it is ready again.
    pub(super) reloading: bool,
    /// When it asked its start to be over.
    pub(super) extended: Time,
    /// Beyond which its stop is extended no more, once it has asked for that.
    pub(super) stop_by: Option<Time>,
    /// Its runs.
    pub(super) runs: Runs,
}

/// A value, or the default of one that a newer version wrote and we do not know.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        Known(T),
        Strange(serde::de::IgnoredAny),
    }
    Ok(match Either::deserialize(from)? {
        Either::Known(value) => value,
        Either::Strange(_) => T::default(),
    })
}

impl Memory {
    /// The level that was shown last.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// How many pulses were ever received, and how many errors reported.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.total_pulses, self.error_count)
    }

    /// The youngest time in it that has surely been: see
    /// [`Attention::never_before`](crate::stall::Attention::never_before).
    #[must_use]
    pub fn latest(&self) -> Time {
        let moment = |moment: Option<Moment>| moment.map_or(Time(0), |moment| moment.time);
        moment(self.last).max(moment(self.began))
    }

    /// It is judged from that time on: what it missed before is nobody's lateness.
    pub fn judge_from(&mut self, time: Time) {
        self.since = self.since.max(time);
    }

    /// That of a service that nobody has heard of.
    pub(super) fn first(policy: &Policy, now: Moment) -> Self {
        match policy.watch {
            Watch::Pulsing | Watch::Alive => Self::default(),
            Watch::External => Self {
                generation: Generation(1),
                state: State::External { heard: false },
                began: Some(now),
                since: now.time,
                ..Self::default()
            },
        }
    }

    /// What is left of it when it is loaded: nothing is known to live.
    pub(super) fn resumed(mut self, policy: &Policy, now: Time) -> Self {
        // A state by another hand may say anything; what it must not do is name a future.
        self.since = self.since.min(now);
        if !policy.probed {
            // Nothing would ever end the row.
            self.probes = 0;
            if let Some(said) = &mut self.said {
                said.refusal = None;
            }
        }
        if self.ladder == Ladder::Commanded {
            // Who waited for its end died with us; its start's deadline goes on.
            self.ladder = Ladder::Calm;
        }
        let external = policy.watch == Watch::External;
        self.state = match self.state {
            State::External { heard } if external => State::External { heard },
            State::External { .. } => State::New,
            State::Starting { heard, .. } => State::Resumed {
                heard,
                ready: false,
                plan: None,
            },
            State::Running { heard, .. } => State::Resumed {
                heard,
                ready: true,
                plan: None,
            },
            State::Stopping { then, .. } => State::Resumed {
                heard: false,
                ready: false,
                plan: Some(then),
            },
            state @ (State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. }) => state,
        };
        if external {
            self.generation = Generation(1);
            // It was run by us before: now it is only watched.
            if matches!(
                self.state,
                State::New
                    | State::Waiting { .. }
                    | State::Held { .. }
                    | State::Exited { .. }
                    | State::Resumed { .. }
            ) {
                self.state = State::External { heard: false };
                self.since = now;
            }
        }
        self
    }
}
