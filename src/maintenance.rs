//! Maintenance windows: once, or each week on some days, by the calendar of a place.
//!
//! ```text
//!            from                     to                    from
//!   ──────────┴════════ open ═════════┴────── closed ────────┴════ …
//! ```
//!
//! A window is what its clocks on the wall read: where they are set back it lasts as much
//! longer, where they are set forward as much shorter. One that falls into the hour that is
//! left out altogether comes right after it, for as long as on other days.

use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use slog::{Logger, info};

use supervisor_actors::handle::SupervisorHandle;
use supervisor_actors::messages::OpenWindow;
use supervisor_actors::ports::Clock;
use supervisor_core::alert::Pattern;

/// How late at most a wall clock that was set is noticed.
const LOOK: Duration = Duration::from_secs(30);
/// When one that could not be told is told again.
const AGAIN: Duration = Duration::from_secs(1);

/// A window of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    /// What it is called.
    pub(crate) name: String,
    /// Which services it covers.
    pub(crate) services: Vec<Pattern>,
    /// When.
    pub(crate) when: When,
}

/// When a window is open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum When {
    /// From one moment to another, which is later.
    Once {
        /// It opens.
        from: Timestamp,
        /// It closes.
        to: Timestamp,
    },
    /// On some days of each week.
    Weekly {
        /// On which it opens; at least one.
        days: Vec<Weekday>,
        /// The time at which it opens.
        from: Time,
        /// The time at which it closes; not after `from`, it is one of the next day.
        to: Time,
        /// By whose clocks.
        zone: TimeZone,
    },
}

/// How a window is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is open until then.
    Open(Timestamp),
    /// It is closed until then, or for ever.
    Closed(Option<Timestamp>),
}

impl When {
    /// How it stands at that moment.
    pub(crate) fn at(&self, now: Timestamp) -> Standing {
        let spans = match self {
            Self::Once { from, to } => vec![(*from, *to)],
            Self::Weekly {
                days,
                from,
                to,
                zone,
            } => {
                let today = zone.to_datetime(now).date();
                // One that opened the day before yesterday has closed, however clocks are set;
                // and in eight days each day of a week has been.
                let near = (-2..=8).filter_map(|n: i64| today.checked_add(n.days()).ok());
                near.filter(|day| days.contains(&day.weekday()))
                    .filter_map(|day| span(day, *from, *to, zone))
                    .collect()
            }
        };
        let mut open: Option<Timestamp> = None;
        for (from, to) in &spans {
            // Those that follow without a gap are one.
            let reached = open.unwrap_or(now);
            if *from <= reached && *to > reached {
                open = Some(*to);
            }
        }
        match open {
            Some(until) => Standing::Open(until),
            None => Standing::Closed(
                spans
                    .iter()
                    .map(|(from, _)| *from)
                    .filter(|f| *f > now)
                    .min(),
            ),
        }
    }
}

/// The window of one day.
fn span(day: Date, from: Time, to: Time, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let last = if to > from { day } else { day.tomorrow().ok()? };
    let (opens, closes) = (day.to_datetime(from), last.to_datetime(to));
    let start = zone.to_ambiguous_timestamp(opens).compatible().ok()?;
    let end = zone.to_ambiguous_timestamp(closes).later().ok()?;
    if end > start {
        return Some((start, end));
    }
    let plain = opens.duration_until(closes);
    Some((start, start.checked_add(plain).ok()?))
}

/// Which windows are open.
pub(crate) fn open_at(windows: &[Window], now: supervisor_core::Timestamp) -> Vec<OpenWindow> {
    let Ok(now) = Timestamp::from_microsecond(now.0) else {
        // A wall clock beyond all calendars.
        return Vec::new();
    };
    let open = windows
        .iter()
        .filter_map(|window| match window.when.at(now) {
            Standing::Open(until) => Some(OpenWindow {
                name: window.name.clone(),
                services: window.services.clone(),
                until: supervisor_core::Timestamp(until.as_microsecond()),
            }),
            Standing::Closed(_) => None,
        });
    open.collect()
}

/// Tells the supervisor which windows are open, until it is dropped. `told` is what it began
/// with.
pub(crate) async fn keep(
    windows: Vec<Window>,
    mut told: Vec<OpenWindow>,
    supervisor: SupervisorHandle,
    clock: std::sync::Arc<dyn Clock>,
    log: Logger,
) {
    if windows.is_empty() {
        return;
    }
    loop {
        let now = clock.wall();
        let open = open_at(&windows, now);
        let mut wait = LOOK;
        if open != told {
            if supervisor.maintain(open.clone()).await.is_ok() {
                say(&told, &open, &log);
                told = open;
            } else {
                wait = AGAIN;
            }
        }
        if let Ok(now) = Timestamp::from_microsecond(now.0) {
            for window in &windows {
                let (Standing::Open(change) | Standing::Closed(Some(change))) = window.when.at(now)
                else {
                    continue;
                };
                let left = change.duration_since(now);
                wait = wait.min(left.try_into().unwrap_or(Duration::ZERO));
            }
        }
        // A timer may be a moment early.
        tokio::time::sleep(wait + Duration::from_millis(1)).await;
    }
}

fn say(before: &[OpenWindow], open: &[OpenWindow], log: &Logger) {
    let is_in = |all: &[OpenWindow], name: &str| all.iter().any(|one| one.name == name);
    for one in open.iter().filter(|one| !is_in(before, &one.name)) {
        info!(log, "maintenance window opens"; "name" => &one.name, "until" => one.until.rfc3339());
    }
    for one in before.iter().filter(|one| !is_in(open, &one.name)) {
        info!(log, "maintenance window closes"; "name" => &one.name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adapters::zones;

    fn zone(name: &str) -> TimeZone {
        zones::load(name).expect("tzdata is installed")
    }

    fn moment(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn time(text: &str) -> Time {
        text.parse().expect("a time")
    }

    fn weekly(days: &[Weekday], from: &str, to: &str, place: &str) -> When {
        When::Weekly {
            days: days.to_vec(),
            from: time(from),
            to: time(to),
            zone: zone(place),
        }
    }

    const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    #[test]
    fn windows_open_and_close_by_the_clocks_of_their_place() {
        use Weekday::{Saturday, Sunday};
        let berlin = "Europe/Berlin";
        let nightly = weekly(&ALL, "02:00", "04:00", berlin);
        let weekend = weekly(&[Saturday, Sunday], "22:00", "01:00", berlin);
        let short = weekly(&ALL, "02:15", "02:45", berlin);
        let lost = weekly(&ALL, "02:00", "03:00", berlin);
        let always = weekly(&ALL, "00:00", "00:00", berlin);
        let kathmandu = weekly(&[Sunday], "00:00", "00:30", "Asia/Kathmandu");
        let once = When::Once {
            from: moment("2026-12-24T21:00:00Z"),
            to: moment("2026-12-25T06:00:00Z"),
        };
        let open = |until: &str| Standing::Open(moment(until));
        let closed = |opens: &str| Standing::Closed(Some(moment(opens)));
        for (case, when, at, expected) in [
            (
                "winter",
                &nightly,
                "2026-01-10T00:59:59Z",
                closed("2026-01-10T01:00:00Z"),
            ),
            (
                "its first moment",
                &nightly,
                "2026-01-10T01:00:00Z",
                open("2026-01-10T03:00:00Z"),
            ),
            (
                "its end",
                &nightly,
                "2026-01-10T03:00:00Z",
                closed("2026-01-11T01:00:00Z"),
            ),
            (
                "summer",
                &nightly,
                "2026-07-10T00:00:00Z",
                open("2026-07-10T02:00:00Z"),
            ),
            // 2026-03-29 02:00 → 03:00; 2026-10-25 03:00 → 02:00.
            (
                "forward: an hour less",
                &nightly,
                "2026-03-29T01:00:00Z",
                open("2026-03-29T02:00:00Z"),
            ),
            (
                "back: an hour more",
                &nightly,
                "2026-10-25T00:00:00Z",
                open("2026-10-25T03:00:00Z"),
            ),
            (
                "both times it is 02:15",
                &short,
                "2026-10-25T00:15:00Z",
                open("2026-10-25T01:45:00Z"),
            ),
            (
                "in the hour left out",
                &short,
                "2026-03-29T01:15:00Z",
                open("2026-03-29T01:45:00Z"),
            ),
            (
                "that hour itself",
                &lost,
                "2026-03-29T01:00:00Z",
                open("2026-03-29T02:00:00Z"),
            ),
            (
                "over midnight",
                &weekend,
                "2026-01-10T23:30:00Z",
                open("2026-01-11T00:00:00Z"),
            ),
            (
                "sunday's own",
                &weekend,
                "2026-01-11T21:30:00Z",
                open("2026-01-12T00:00:00Z"),
            ),
            (
                "until saturday",
                &weekend,
                "2026-01-12T00:00:00Z",
                closed("2026-01-17T21:00:00Z"),
            ),
            (
                "a quarter of an hour off",
                &kathmandu,
                "2026-01-10T18:20:00Z",
                open("2026-01-10T18:45:00Z"),
            ),
            (
                "before",
                &once,
                "2026-12-24T20:59:59Z",
                closed("2026-12-24T21:00:00Z"),
            ),
            (
                "during",
                &once,
                "2026-12-25T00:00:00Z",
                open("2026-12-25T06:00:00Z"),
            ),
            (
                "for ever after",
                &once,
                "2026-12-25T06:00:00Z",
                Standing::Closed(None),
            ),
        ] {
            assert_eq!(when.at(moment(at)), expected, "{case}");
        }
        let Standing::Open(until) = always.at(moment("2026-01-10T12:00:00Z")) else {
            panic!("whole days, each day: it never closes");
        };
        assert!(until > moment("2026-01-17T00:00:00Z"));
    }

    proptest! {
        // Whatever place and time of the year: what the clocks there read decides.
        #[test]
        fn a_window_is_open_whenever_its_clocks_read_so(
            place in prop::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
                "Pacific/Apia", "Africa/Casablanca", "UTC", "America/St_Johns",
            ]),
            second in 1_600_000_000_i64..2_000_000_000,
            from in 0_i64..1_440,
            length in 1_i64..1_440,
            mask in 1_u8..128,
        ) {
            let minute = |n: i64| {
                let n = n % 1_440;
                jiff::civil::time((n / 60) as i8, (n % 60) as i8, 0, 0)
            };
            let days: Vec<Weekday> = ALL
                .into_iter()
                .enumerate()
                .filter(|(n, _)| mask & (1 << n) != 0)
                .map(|(_, day)| day)
                .collect();
            let zone = zone(place);
            let when = When::Weekly {
                days: days.clone(),
                from: minute(from),
                to: minute(from + length),
                zone: zone.clone(),
            };
            let now = Timestamp::from_second(second).expect("a moment");
            let read = zone.to_datetime(now);
            let into = i64::from(read.hour()) * 60 + i64::from(read.minute());
            let yesterday = read.date().yesterday().expect("a day").weekday();
            let reads_so = days.contains(&read.weekday()) && (from..from + length).contains(&into)
                || days.contains(&yesterday) && (from..from + length).contains(&(into + 1_440));
            let standing = when.at(now);
            match standing {
                Standing::Open(until) => {
                    prop_assert!(until > now);
                    let calm = |hours: i64| {
                        let then = now.checked_add(hours.hours()).expect("a moment");
                        zone.to_offset(then) == zone.to_offset(now)
                    };
                    let no_change = (-26..=26).all(calm);
                    prop_assert!(reads_so || !no_change, "open, but it is {read}");
                    let then = when.at(until);
                    prop_assert!(matches!(then, Standing::Closed(_)) , "{:?}", then);
                }
                Standing::Closed(opens) => {
                    prop_assert!(!reads_so, "closed, but it is {read}");
                    let opens = opens.expect("each week");
                    prop_assert!(opens > now);
                    prop_assert!(matches!(when.at(opens), Standing::Open(_)));
                    let before = opens.checked_sub(1.second()).expect("a moment");
                    prop_assert!(before < now || matches!(when.at(before), Standing::Closed(_)));
                }
            }
        }
    }
}
