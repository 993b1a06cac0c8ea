//! How a service is judged by its age and errors: the keys that `[heartbeat]` sets for all
//! and a service for itself.

use std::cell::Cell;
use std::time::Duration;

use supervisor_core::level::{After, Profile, Threshold, ThresholdError, Thresholds, Which};

use super::duration::{self, show};
use super::errors::Span;
use super::log::{LogFilter, filter};
use super::reader::{Sink, Table, Taken};
use super::value::Value;

/// Nobody promises to pulse more often, and less grace would judge the scheduler.
pub(super) const LEAST: Duration = Duration::from_millis(100);

/// The word for an interval that is to be learnt.
const AUTO: &str = "auto";

/// How often services promise to pulse unless they say.
const INTERVAL: Duration = Duration::from_secs(30);

/// The shortest deadline of a start unless one is given.
const START_GRACE: Duration = Duration::from_secs(30);

/// How long `busy_for` may postpone a deadline unless the file says.
const MAX_BUSY: Duration = Duration::from_secs(30 * 60);

/// More intervals than this are a mistake, and near the end of what clocks can add.
const MOST_INTERVALS: u32 = 1_000_000;

/// How often a service promises to pulse, as its owner says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interval {
    /// So often.
    Every(Duration),
    /// It is to be learnt from how it pulses.
    Auto,
}

/// What lateness is forgiven.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Grace {
    /// A share of the interval.
    Share(f64),
    /// So long.
    Fixed(Duration),
}

/// The defaults of every service.
pub(super) struct Defaults {
    /// Whether silence is judged at all.
    pub(super) enabled: bool,
    /// How often a service promises to pulse.
    pub(super) interval: Duration,
    /// Another name of `log.level`.
    pub(super) log_level: Taken<LogFilter>,
    /// The keys that a service has, too.
    pub(super) judging: Judging,
    /// Whether it is said that these thresholds decrease: a service that has none of its own
    /// need not repeat it.
    said: Cell<bool>,
}

/// The keys that `[heartbeat]` and a service have in common, as they were given.
#[derive(Clone)]
pub(super) struct Judging {
    grace: Taken<Grace>,
    warning: Taken<Threshold>,
    degraded: Taken<Threshold>,
    multiplier: Taken<u32>,
    critical: Taken<Threshold>,
    start_grace: Taken<Duration>,
    recover_after: Taken<u32>,
    alert_on_miss: Taken<bool>,
    max_busy: Taken<Duration>,
}

/// How one service is judged, all told.
pub(super) struct Judged {
    pub(super) grace: Duration,
    pub(super) grace_share: Option<f64>,
    pub(super) thresholds: Option<Thresholds>,
    pub(super) start_grace: Duration,
    pub(super) recover_after: u32,
    pub(super) alert_on_miss: bool,
    pub(super) max_busy: Duration,
}

/// The thresholds that were written, and where.
#[derive(Default)]
struct Written {
    after: After,
    warning: Option<Span>,
    degraded: Option<Span>,
    critical: Option<Span>,
}

/// Reads `[heartbeat]`, all but its `services`.
pub(super) fn read(table: &mut Table<'_>) -> Defaults {
    let sink = table.sink();
    let enabled = table.take("enabled", Value::flag).or(true);
    let interval = table
        .take("default_interval", default_interval)
        .or(INTERVAL);
    let log_level = table.take("log_level", filter);
    let judging = read_judging(table);
    let defaults = Defaults {
        enabled,
        interval,
        log_level,
        judging,
        said: Cell::new(false),
    };
    // Numbers decrease or not whatever the interval is; durations are compared with them
    // where it is known, service by service.
    if let Some(written) = defaults.judging.written()
        && written.all_numbers()
    {
        let thresholds =
            written.thresholds(interval, Duration::ZERO, Profile::Usual, "heartbeat", sink);
        defaults.said.set(thresholds.is_none());
    }
    defaults
}

/// A service's interval, or said.
pub(super) fn interval(value: &Value<'_>) -> Option<Interval> {
    match value.text().map(str::trim) {
        Some(AUTO) => Some(Interval::Auto),
        Some(text) if !text.is_empty() && !text.contains(|c: char| c.is_ascii_digit()) => value
            .wrong(
                format!("cannot be {text:?}"),
                "write a duration like \"30s\", or \"auto\" to have it learnt",
            ),
        Some(_) | None => duration::at_least(value, LEAST).map(Interval::Every),
    }
}

/// That of all services.
fn default_interval(value: &Value<'_>) -> Option<Duration> {
    if value.text().map(str::trim) == Some(AUTO) {
        return value.wrong(
            "cannot be \"auto\"",
            "write a duration here: `interval = \"auto\"` is for each service that wants it, and this \
             is what probes and files of it go by",
        );
    }
    duration::at_least(value, LEAST)
}

/// Reads the common keys.
pub(super) fn read_judging(table: &mut Table<'_>) -> Judging {
    let judging = Judging {
        grace: table.take("grace", grace),
        warning: table.take("warning_after", after),
        degraded: table.take("degraded_after", after),
        multiplier: table.take("timeout_multiplier", |v| v.whole(1..=MOST_INTERVALS)),
        critical: table.take("critical_after", after),
        start_grace: table.take_either("start_grace", "start_timeout", duration::positive),
        recover_after: table.take("recover_after", |v| v.whole(1..=1_000_000)),
        alert_on_miss: table.take("alert_on_miss", Value::flag),
        max_busy: table.take("max_busy", duration::duration),
    };
    table.not_both(
        ("degraded_after", &judging.degraded),
        ("timeout_multiplier", &judging.multiplier),
    );
    judging
}

/// `"10%"` of the interval, or a duration.
fn grace(value: &Value<'_>) -> Option<Grace> {
    let Some(percent) = value.text().and_then(|text| text.trim().strip_suffix('%')) else {
        return duration::at_least(value, LEAST).map(Grace::Fixed);
    };
    match percent.trim().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Some(Grace::Share(percent / 100.0)),
        Ok(_) => value.wrong(
            "is not between 0% and 100%",
            "a share of the interval, like \"10%\", or a duration",
        ),
        Err(_) => value.wrong(
            "is no percentage",
            "a share of the interval, like \"10%\", or a duration like \"3s\"",
        ),
    }
}

/// A number of intervals, or an age.
fn after(value: &Value<'_>) -> Option<Threshold> {
    if value.text().is_some() {
        duration::positive(value).map(Threshold::Exactly)
    } else if value.integer().is_some() {
        value.whole(1..=MOST_INTERVALS).map(Threshold::Intervals)
    } else {
        value.expected(
            "a whole number of intervals, or a duration",
            "3, or \"90s\"",
        )
    }
}

// === impl Defaults ===

impl Defaults {
    /// What was said of one service is to be said of the next, too.
    pub(super) fn say_again(&self) {
        self.said.set(false);
    }

    /// How a service is judged that says this of itself.
    pub(super) fn judge(
        &self,
        own: &Judging,
        interval: Duration,
        profile: Profile,
        shown: &str,
        sink: &Sink,
    ) -> Judged {
        let all = &self.judging;
        let (grace, grace_share) = match pick(&own.grace, &all.grace).unwrap_or(Grace::Share(0.1)) {
            Grace::Share(share) => (interval.mul_f64(share).max(LEAST), Some(share)),
            Grace::Fixed(grace) => (grace, None),
        };
        // A profile stands between what a service says and what is said for all.
        let written = match profile {
            Profile::Usual => own.written().zip(all.written()).map(|(a, b)| a.or(b)),
            Profile::Deacon => own.written(),
        };
        let only_all = !own.has_thresholds() && profile == Profile::Usual;
        let thresholds = written
            .filter(|_| !(only_all && self.said.get()))
            .and_then(|written| {
                let thresholds = written.thresholds(interval, grace, profile, shown, sink);
                if only_all && thresholds.is_none() {
                    self.said.set(true);
                }
                thresholds
            });
        let critical = thresholds.as_ref().map_or(START_GRACE, |t| t.critical);
        Judged {
            grace,
            grace_share,
            thresholds,
            start_grace: pick(&own.start_grace, &all.start_grace)
                .unwrap_or(critical.max(START_GRACE)),
            recover_after: pick(&own.recover_after, &all.recover_after).unwrap_or(1),
            alert_on_miss: pick(&own.alert_on_miss, &all.alert_on_miss).unwrap_or(true),
            max_busy: pick(&own.max_busy, &all.max_busy).unwrap_or(MAX_BUSY),
        }
    }
}

impl Judging {
    fn has_thresholds(&self) -> bool {
        self.warning.is_present()
            || self.degraded.is_present()
            || self.multiplier.is_present()
            || self.critical.is_present()
    }

    /// The thresholds written here; none where one is wrong, which is said already.
    fn written(&self) -> Option<Written> {
        let wrong = self.warning.is_wrong()
            || self.degraded.is_wrong()
            || self.multiplier.is_wrong()
            || self.critical.is_wrong();
        if wrong {
            return None;
        }
        let value = |taken: &Taken<Threshold>| taken.as_given().map(|given| given.value);
        let span = |taken: &Taken<Threshold>| taken.as_given().map(|given| given.span.clone());
        let mut written = Written {
            after: After {
                warning: value(&self.warning),
                degraded: value(&self.degraded),
                critical: value(&self.critical),
            },
            warning: span(&self.warning),
            degraded: span(&self.degraded),
            critical: span(&self.critical),
        };
        if let Some(multiplier) = self.multiplier.as_given() {
            written.after = written.after.with_multiplier(multiplier.value);
            written.degraded = Some(multiplier.span.clone());
            written.critical = written.critical.or(Some(multiplier.span.clone()));
        }
        Some(written)
    }
}

/// What a service says, else what is said for all.
fn pick<T: Copy>(own: &Taken<T>, all: &Taken<T>) -> Option<T> {
    own.as_given().or(all.as_given()).map(|given| given.value)
}

// === impl Written ===

impl Written {
    fn or(self, other: Self) -> Self {
        Self {
            after: self.after.or(other.after),
            warning: self.warning.or(other.warning),
            degraded: self.degraded.or(other.degraded),
            critical: self.critical.or(other.critical),
        }
    }

    fn all_numbers(&self) -> bool {
        let After {
            warning,
            degraded,
            critical,
        } = self.after;
        [warning, degraded, critical]
            .iter()
            .flatten()
            .all(|threshold| matches!(threshold, Threshold::Intervals(_)))
    }

    fn span(&self, which: Which) -> Option<Span> {
        match which {
            Which::Warning => self.warning.clone(),
            Which::Degraded => self.degraded.clone(),
            Which::Critical => self.critical.clone(),
        }
    }

    /// The thresholds, or said where they decrease.
    fn thresholds(
        &self,
        interval: Duration,
        grace: Duration,
        profile: Profile,
        shown: &str,
        sink: &Sink,
    ) -> Option<Thresholds> {
        let error = match Thresholds::new(interval, grace, self.after, profile) {
            Ok(thresholds) => return Some(thresholds),
            Err(error) => error,
        };
        match error {
            // Excluded where they are read; said all the same rather than trusted.
            ThresholdError::Zero(which) => {
                let span = self.span(which).unwrap_or_default();
                sink.say(sink.at(span, "zero", error.to_string()));
            }
            ThresholdError::Decrease {
                earlier,
                earlier_at,
                later,
                later_at,
            } => {
                // At least one of them is written: the defaults do not decrease.
                let (first, second) = (self.span(later), self.span(earlier));
                let (span, other) = match (first, second) {
                    (Some(first), second) => (first, second),
                    (None, second) => (second.unwrap_or_default(), None),
                };
                let message = format!("`{later}` would be reached before `{earlier}` in [{shown}]");
                let mut mistake = sink
                    .at(span.clone(), "thresholds must not decrease", message)
                    .help(format!(
                        "{earlier} comes to {}, {later} to {}",
                        show(earlier_at),
                        show(later_at)
                    ));
                if let Some(other) = other.filter(|other| *other != span) {
                    mistake = mistake.also(other, "the better level");
                }
                sink.say(mistake);
            }
        }
        None
    }
}
