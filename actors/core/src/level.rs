//! Levels: what we think of a service, and the thresholds that decide it.
//!
//! ```text
//!  age 0        warning          degraded         critical
//!   ├─ healthy ──┼─── warning ────┼─── degraded ───┼─── critical, "very stale" ──▶
//!   │            1 × interval     3 × interval     5 × interval
//!   │            + grace          + grace          + grace
//!  last sign of life
//! ```
//!
//! A service is judged by the worst of three things: its age, its errors in a row, and what
//! its life came to (see [`Standing`]). [`Facts::level`] is that judgement, a total function:
//! no service is in a state without a level. What outranks what: a standing that needs no
//! pulses (off, failed) decides alone; otherwise the worst wins, and the level reached
//! before is a floor until a clean pulse lifts it, so that levels rise at once and fall only
//! on proof.
//!
//! A threshold is reached when the age *equals* it. Thresholds that decrease cannot be built.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a service is, from best to worst. `Unknown` is no opinion and ranks lowest.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No opinion: never pulsed and still starting, stopped, paused, exited as planned.
    #[default]
    Unknown,
    /// Pulsing, nothing wrong.
    Healthy,
    /// 1 interval missed, an error since the last clean pulse, or one unexpected exit.
    Warning,
    /// 3 missed, or 3 errors or exits in a row.
    Degraded,
    /// 5 missed, 5 errors or exits in a row, a critical error, not restarted, quarantined.
    Critical,
}

/// The same in the Deacon's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Below warning.
    Fresh,
    /// Late.
    Stale,
    /// Critical by age, or never a pulse after the start's deadline: to be poked.
    VeryStale,
}

/// The ages and counts at which levels are reached. Built by [`Thresholds::new`], which refuses
/// thresholds that decrease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// The age that is a warning.
    pub warning: Duration,
    /// The age that is degraded; `None` where the profile has no such level.
    pub degraded: Option<Duration>,
    /// The age that is critical, "very stale".
    pub critical: Duration,
    /// Which of them were given as ages: they are the same whatever the interval is.
    pub fixed: [bool; 3],
    /// The number of errors or exits in a row that is a warning, degraded, critical.
    pub counts: [u32; 3],
}

/// One threshold as its owner writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// So many intervals and one grace.
    Intervals(u32),
    /// Exactly this age.
    Exactly(Duration),
}

/// What thresholds default to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// 1, 3 and 5 intervals.
    #[default]
    Usual,
    /// 2 and 5 minutes, no degraded.
    Deacon,
}

/// Thresholds as their owner writes them; what is `None` is left to the [`Profile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct After {
    /// `warning_after`.
    pub warning: Option<Threshold>,
    /// `degraded_after`.
    pub degraded: Option<Threshold>,
    /// `critical_after`.
    pub critical: Option<Threshold>,
}

/// Which threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// `warning_after`.
    Warning,
    /// `degraded_after`.
    Degraded,
    /// `critical_after`.
    Critical,
}

/// Why thresholds cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// A service would be late at once.
    #[error("{0} is zero")]
    Zero(Which),
    /// A worse level would be reached before a better one.
    #[error(
        "{later} ({}) comes before {earlier} ({})",
        humantime::format_duration(*.later_at),
        humantime::format_duration(*.earlier_at)
    )]
    Decrease {
        /// The better level's threshold, which must come first.
        earlier: Which,
        /// The age that it comes to.
        earlier_at: Duration,
        /// The worse level's threshold.
        later: Which,
        /// The age that it comes to.
        later_at: Duration,
    },
}

/// What a service's present life has come to, as far as its level is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Stopped, paused, disabled, or exited as planned: nobody judges it.
    Off,
    /// A failure that is not restarted, or quarantined.
    Failed,
    /// Between two lives: stopping, in backoff, waiting for what it depends on.
    Between,
    /// Starting, and its start's deadline has not passed.
    Starting,
    /// Its start's deadline passed without readiness.
    Unready,
    /// Up, and its age judges it.
    Up,
    /// Up, and it pulses perhaps, but the number that must move stands still.
    Still,
    /// Up, and silence is no lateness: idle, on demand.
    Silent,
}

/// All that a level follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What its life has come to.
    pub standing: Standing,
    /// The time since its last sign of life, less what it is excused.
    pub age: Duration,
    /// Errors in a row, its own and failed probes.
    pub errors: u32,
    /// The level reached before, of this or an older generation, that no clean pulse has
    /// lifted yet.
    pub floor: Level,
}

// === impl Level ===

impl Level {
    /// The word that users and clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

impl Freshness {
    /// The word that users and clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::VeryStale => "very_stale",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Facts ===

impl Facts {
    /// The level that follows.
    #[must_use]
    pub fn level(&self, thresholds: &Thresholds) -> Level {
        let errors = thresholds.level_by_count(self.errors);
        match self.standing {
            Standing::Off => Level::Unknown,
            Standing::Failed | Standing::Unready | Standing::Still => Level::Critical,
            // Without a floor a first start is no opinion, but an error it reports is one.
            Standing::Between | Standing::Starting => match self.errors {
                0 => self.floor,
                1.. => self.floor.max(errors),
            },
            Standing::Up => self
                .floor
                .max(errors)
                .max(thresholds.level_by_age(self.age)),
            Standing::Silent => self.floor.max(errors),
        }
    }
}

// === impl Thresholds ===

/// The counts in a row that are degraded and critical where no number says otherwise.
const DEFAULT_COUNTS: [u32; 2] = [3, 5];

impl Threshold {
    fn age(self, interval: Duration, grace: Duration) -> Duration {
        match self {
            Self::Intervals(n) => interval.saturating_mul(n).saturating_add(grace),
            Self::Exactly(age) => age,
        }
    }

    fn count(self) -> Option<u32> {
        match self {
            Self::Intervals(n) => Some(n),
            Self::Exactly(_) => None,
        }
    }

    fn is_zero(self) -> bool {
        match self {
            Self::Intervals(n) => n == 0,
            Self::Exactly(age) => age.is_zero(),
        }
    }
}

impl After {
    /// What `timeout_multiplier = n` means: degraded at `n` and, where nothing else is said,
    /// critical at `n + 2`.
    #[must_use]
    pub fn with_multiplier(mut self, n: u32) -> Self {
        self.degraded = Some(Threshold::Intervals(n));
        self.critical = self
            .critical
            .or(Some(Threshold::Intervals(n.saturating_add(2))));
        self
    }

    /// What is said here, and where nothing is, what `defaults` says: a service over its
    /// configuration's `[heartbeat]`.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            warning: self.warning.or(defaults.warning),
            degraded: self.degraded.or(defaults.degraded),
            critical: self.critical.or(defaults.critical),
        }
    }
}

impl Thresholds {
    /// The same for another interval and grace: a threshold that was given as a number of
    /// intervals stays that number, others stay where they are, but never before a better
    /// level's.
    #[must_use]
    pub fn rescaled(
        &self,
        (interval, grace): (Duration, Duration),
        (new_interval, new_grace): (Duration, Duration),
    ) -> Self {
        let rescale = |at: Duration, fixed: bool| {
            let whole = at.saturating_sub(grace).as_nanos() / interval.as_nanos().max(1);
            match u32::try_from(whole) {
                Ok(n @ 1..) if !fixed => Threshold::Intervals(n),
                Ok(_) | Err(_) => Threshold::Exactly(at),
            }
            .age(new_interval, new_grace)
        };
        let [first, second, third] = self.fixed;
        let warning = rescale(self.warning, first);
        let degraded = self.degraded.map(|at| rescale(at, second).max(warning));
        let critical = rescale(self.critical, third).max(degraded.unwrap_or(warning));
        Self {
            warning,
            degraded,
            critical,
            ..self.clone()
        }
    }

    /// Thresholds for that interval and grace. A number n is reached at
    /// `n × interval + grace`, a duration exactly then.
    ///
    /// Counts in a row follow the numbers of `degraded` and `critical`, and are 3 and 5 where
    /// these are durations. One error or exit is always a warning.
    ///
    /// # Errors
    /// Which of them is zero or comes before a better level.
    pub fn new(
        interval: Duration,
        grace: Duration,
        after: After,
        profile: Profile,
    ) -> Result<Self, ThresholdError> {
        let after = match profile {
            Profile::Usual => after.or(After {
                warning: Some(Threshold::Intervals(1)),
                degraded: Some(Threshold::Intervals(DEFAULT_COUNTS[0])),
                critical: Some(Threshold::Intervals(DEFAULT_COUNTS[1])),
            }),
            Profile::Deacon => after.or(After {
                warning: Some(Threshold::Exactly(Duration::from_secs(2 * 60))),
                degraded: None,
                critical: Some(Threshold::Exactly(Duration::from_secs(5 * 60))),
            }),
        };
        let mut last: Option<(Which, Duration)> = None;
        let mut checked = |which: Which, threshold: Threshold| {
            if threshold.is_zero() {
                return Err(ThresholdError::Zero(which));
            }
            let at = threshold.age(interval, grace);
            if let Some((earlier, earlier_at)) = last
                && at < earlier_at
            {
                return Err(ThresholdError::Decrease {
                    earlier,
                    earlier_at,
                    later: which,
                    later_at: at,
                });
            }
            last = Some((which, at));
            Ok(at)
        };
        let count = |threshold: Option<Threshold>, default: u32| {
            threshold.and_then(Threshold::count).unwrap_or(default)
        };
        // Both profiles set these two; the fallback is never taken.
        let warning = after.warning.unwrap_or(Threshold::Intervals(1));
        let critical = after.critical.unwrap_or(Threshold::Intervals(5));
        let degraded_count = count(after.degraded, DEFAULT_COUNTS[0]);
        Ok(Self {
            warning: checked(Which::Warning, warning)?,
            degraded: after
                .degraded
                .map(|threshold| checked(Which::Degraded, threshold))
                .transpose()?,
            critical: checked(Which::Critical, critical)?,
            fixed: [
                warning.count().is_none(),
                after
                    .degraded
                    .is_some_and(|degraded| degraded.count().is_none()),
                critical.count().is_none(),
            ],
            counts: [
                1,
                degraded_count,
                // A number beside a duration may fall below the other's default.
                count(Some(critical), DEFAULT_COUNTS[1]).max(degraded_count),
            ],
        })
    }

    /// The level of a service of that age, with nothing else wrong.
    #[must_use]
    pub fn level_by_age(&self, age: Duration) -> Level {
        if age >= self.critical {
            Level::Critical
        } else if self.degraded.is_some_and(|degraded| age >= degraded) {
            Level::Degraded
        } else if age >= self.warning {
            Level::Warning
        } else {
            Level::Healthy
        }
    }

    /// The level of so many errors or exits in a row.
    #[must_use]
    pub fn level_by_count(&self, count: u32) -> Level {
        let [warning, degraded, critical] = self.counts;
        if count >= critical {
            Level::Critical
        } else if count >= degraded {
            Level::Degraded
        } else if count >= warning {
            Level::Warning
        } else {
            Level::Healthy
        }
    }

    /// The Deacon's word for that age.
    #[must_use]
    pub fn freshness(&self, age: Duration) -> Freshness {
        if age >= self.critical {
            Freshness::VeryStale
        } else if age >= self.warning {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }

    /// The age at which something worse than `level` is reached; `None` where nothing is.
    #[must_use]
    pub fn age_beyond(&self, level: Level) -> Option<Duration> {
        match level {
            Level::Unknown | Level::Healthy => Some(self.warning),
            Level::Warning => Some(self.degraded.unwrap_or(self.critical)),
            Level::Degraded => Some(self.critical),
            Level::Critical => None,
        }
    }
}

/// Whole intervals missed at that age, for display. Decisions use [`Thresholds`].
#[must_use]
pub fn missed(age: Duration, interval: Duration, grace: Duration) -> u32 {
    if interval.is_zero() {
        return 0;
    }
    let intervals = age.saturating_sub(grace).as_nanos() / interval.as_nanos();
    u32::try_from(intervals).unwrap_or(u32::MAX)
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning_after",
            Self::Degraded => "degraded_after",
            Self::Critical => "critical_after",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const GRACE: Duration = Duration::from_secs(3);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn usual() -> Thresholds {
        Thresholds::new(INTERVAL, GRACE, After::default(), Profile::Usual).unwrap()
    }

    #[test]
    fn thresholds_default_to_one_three_and_five_intervals_and_a_grace() {
        let thresholds = usual();
        assert_eq!(thresholds.warning, seconds(33));
        assert_eq!(thresholds.degraded, Some(seconds(93)));
        assert_eq!(thresholds.critical, seconds(153));
        assert_eq!(thresholds.counts, [1, 3, 5]);
    }

    #[test]
    fn a_threshold_is_reached_by_the_age_that_equals_it() {
        let almost = |d: Duration| d - Duration::from_nanos(1);
        let thresholds = usual();
        for (age, level) in [
            (seconds(0), Level::Healthy),
            (almost(seconds(33)), Level::Healthy),
            (seconds(33), Level::Warning),
            (almost(seconds(93)), Level::Warning),
            (seconds(93), Level::Degraded),
            (almost(seconds(153)), Level::Degraded),
            (seconds(153), Level::Critical),
            (Duration::MAX, Level::Critical),
        ] {
            assert_eq!(thresholds.level_by_age(age), level, "{age:?}");
        }
    }

    #[test]
    fn a_duration_is_exact_and_leaves_the_counts_at_their_default() {
        let after = After {
            warning: Some(Threshold::Exactly(seconds(40))),
            degraded: Some(Threshold::Intervals(4)),
            critical: Some(Threshold::Exactly(seconds(600))),
        };
        let thresholds = Thresholds::new(INTERVAL, GRACE, after, Profile::Usual).unwrap();
        assert_eq!(thresholds.warning, seconds(40));
        assert_eq!(thresholds.critical, seconds(600));
        assert_eq!(thresholds.counts, [1, 4, 5]);
    }

    #[test]
    fn a_multiplier_sets_degraded_and_two_more_for_critical_unless_that_is_set() {
        let after = After::default().with_multiplier(4);
        let thresholds = Thresholds::new(INTERVAL, GRACE, after, Profile::Usual).unwrap();
        assert_eq!(thresholds.degraded, Some(seconds(123)));
        assert_eq!(thresholds.critical, seconds(183));
        assert_eq!(thresholds.counts, [1, 4, 6]);

        let set = After {
            critical: Some(Threshold::Intervals(9)),
            ..After::default()
        };
        let thresholds =
            Thresholds::new(INTERVAL, GRACE, set.with_multiplier(4), Profile::Usual).unwrap();
        assert_eq!(thresholds.counts, [1, 4, 9]);
    }

    #[test]
    fn the_deacon_has_two_and_five_minutes_and_no_degraded() {
        let thresholds =
            Thresholds::new(INTERVAL, GRACE, After::default(), Profile::Deacon).unwrap();
        assert_eq!(thresholds.level_by_age(seconds(119)), Level::Healthy);
        assert_eq!(thresholds.level_by_age(seconds(120)), Level::Warning);
        assert_eq!(thresholds.level_by_age(seconds(299)), Level::Warning);
        assert_eq!(thresholds.level_by_age(seconds(300)), Level::Critical);
        assert_eq!(thresholds.freshness(seconds(119)), Freshness::Fresh);
        assert_eq!(thresholds.freshness(seconds(120)), Freshness::Stale);
        assert_eq!(thresholds.freshness(seconds(300)), Freshness::VeryStale);
        assert_eq!(
            thresholds.age_beyond(Level::Warning),
            Some(thresholds.critical)
        );
    }

    #[test]
    fn thresholds_that_decrease_are_refused_by_name() {
        let after = After {
            degraded: Some(Threshold::Exactly(seconds(20))),
            ..After::default()
        };
        let error = Thresholds::new(INTERVAL, GRACE, after, Profile::Usual).unwrap_err();
        assert_eq!(
            error.to_string(),
            "degraded_after (20s) comes before warning_after (33s)"
        );

        let after = After {
            degraded: Some(Threshold::Intervals(6)),
            ..After::default()
        };
        let error = Thresholds::new(INTERVAL, GRACE, after, Profile::Usual).unwrap_err();
        assert_eq!(
            error.to_string(),
            "critical_after (2m 33s) comes before degraded_after (3m 3s)"
        );
    }

    #[test]
    fn a_threshold_of_zero_is_refused_by_name() {
        let after = After {
            warning: Some(Threshold::Intervals(0)),
            ..After::default()
        };
        let error = Thresholds::new(INTERVAL, GRACE, after, Profile::Usual).unwrap_err();
        assert_eq!(error, ThresholdError::Zero(Which::Warning));
    }

    #[test]
    fn an_endless_interval_does_not_overflow() {
        let thresholds =
            Thresholds::new(Duration::MAX, GRACE, After::default(), Profile::Usual).unwrap();
        assert_eq!(thresholds.level_by_age(seconds(1)), Level::Healthy);
        assert_eq!(
            missed(Duration::MAX, Duration::from_nanos(1), GRACE),
            u32::MAX
        );
    }

    #[test]
    fn missed_counts_whole_intervals_after_the_grace() {
        for (age, count) in [(0, 0), (32, 0), (33, 1), (62, 1), (63, 2), (153, 5)] {
            assert_eq!(missed(seconds(age), INTERVAL, GRACE), count, "{age} s");
        }
    }

    #[test]
    fn the_worst_of_age_errors_and_floor_decides_for_one_that_is_up() {
        let thresholds = usual();
        let facts = Facts {
            standing: Standing::Up,
            age: seconds(0),
            errors: 0,
            floor: Level::Unknown,
        };
        assert_eq!(facts.level(&thresholds), Level::Healthy);
        let late = Facts {
            age: seconds(93),
            ..facts
        };
        assert_eq!(late.level(&thresholds), Level::Degraded);
        let failing = Facts { errors: 5, ..late };
        assert_eq!(failing.level(&thresholds), Level::Critical);
        let held = Facts {
            floor: Level::Degraded,
            ..facts
        };
        assert_eq!(held.level(&thresholds), Level::Degraded);
    }

    #[test]
    fn only_one_that_is_up_is_judged_by_its_age() {
        let thresholds = usual();
        for (standing, level) in [
            (Standing::Off, Level::Unknown),
            (Standing::Failed, Level::Critical),
            (Standing::Between, Level::Warning),
            (Standing::Starting, Level::Warning),
            (Standing::Unready, Level::Critical),
            (Standing::Up, Level::Critical),
            (Standing::Still, Level::Critical),
            (Standing::Silent, Level::Warning),
        ] {
            let facts = Facts {
                standing,
                age: Duration::MAX,
                errors: 0,
                floor: Level::Warning,
            };
            assert_eq!(facts.level(&thresholds), level, "{standing:?}");
        }
    }
}
