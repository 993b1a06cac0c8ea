//! `[alerts.maintenance.NAME]`: when services are judged, but neither poked nor told of.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use supervisor_core::alert::Pattern;

use super::reader::{Entry, Table, Taken};
use super::value::{Value, suggest};
use crate::adapters::zones::{self, ZoneError};
use crate::maintenance::{When, Window};

/// The words for days.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// `from` or `to`.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// A time of each day.
    Time(Time),
    /// The end of each day.
    Midnight,
    /// A date and time somewhere.
    Date(DateTime),
    /// A moment.
    Moment(Timestamp),
}

/// Reads one window.
pub(super) fn read(entry: &Entry<'_>) -> Option<Window> {
    let mut table = entry.value.named_table("alerts.maintenance")?;
    let sink = table.sink();
    let services = table.take("services", |v| {
        let all = v.list("[\"db-*\"]", pattern)?;
        if all.is_empty() {
            return v.wrong("is empty", "leave it out for all services");
        }
        Some(all)
    });
    let days = table.take("days", |v| {
        let days = v.list("[\"sat\", \"sun\"]", |day| day.one_of(&DAYS))?;
        if days.is_empty() {
            return v.wrong("is empty", "leave it out for every day");
        }
        Some(days)
    });
    let from = table.take("from", point);
    let to = table.take("to", point);
    let zone = table.take("zone", zone);
    if entry.key.trim().is_empty() || entry.key.len() > 64 || entry.key.contains(char::is_control) {
        let message = "a maintenance window has no name that could be shown";
        let mistake = sink.at(entry.key_span.clone(), "here", message);
        sink.say(mistake.help("for example: [alerts.maintenance.nightly]"));
        return None;
    }
    for (key, absent, example) in [
        (
            "from",
            !from.is_present(),
            "\"02:00\", or \"2026-12-24 22:00\"",
        ),
        ("to", !to.is_present(), "\"04:00\", or \"2026-12-25 06:00\""),
    ] {
        if absent {
            let message = format!("[{}] has no `{key}`", table.shown());
            let mistake = sink.at(entry.key_span.clone(), "incomplete", message);
            sink.say(mistake.help(format!("for example: {key} = {example}")));
        }
    }
    let when = when(&table, entry, (from, to), days, zone)?;
    Some(Window {
        name: entry.key.to_owned(),
        services: services.or(Pattern::new("*").into_iter().collect()),
        when,
    })
}

fn when(
    table: &Table<'_>,
    entry: &Entry<'_>,
    (from, to): (Taken<Point>, Taken<Point>),
    days: Taken<Vec<Weekday>>,
    zone: Taken<TimeZone>,
) -> Option<When> {
    let sink = table.sink();
    let (from, to) = (from.given()?, to.given()?);
    let no_zone = || {
        if zone.is_present() {
            return;
        }
        let message = format!("[{}] has no `zone`", table.shown());
        let mistake = sink.at(entry.key_span.clone(), "by whose clocks?", message);
        sink.say(mistake.help("for example: zone = \"Europe/Berlin\", or \"UTC\""));
    };
    let refuse = |span, label: &str, message: &str, help: &str| {
        sink.say(sink.at(span, label, message).help(help));
    };
    match (from.value, to.value) {
        (Point::Midnight, _) => {
            refuse(
                from.span,
                "here",
                "no window opens at 24:00",
                "from = \"00:00\"",
            );
            None
        }
        (Point::Time(opens), Point::Time(_) | Point::Midnight) => {
            let closes = match to.value {
                Point::Time(time) => time,
                Point::Midnight | Point::Date(_) | Point::Moment(_) => Time::midnight(),
            };
            if matches!(to.value, Point::Time(_)) && opens == closes {
                let help = "a whole day is from = \"00:00\", to = \"24:00\"";
                refuse(
                    to.span,
                    "the same",
                    "a window that opens and closes at once",
                    help,
                );
                return None;
            }
            no_zone();
            if days.is_wrong() {
                return None;
            }
            Some(When::Weekly {
                days: days.or(DAYS.map(|(_, day)| day).to_vec()),
                from: opens,
                to: closes,
                zone: zone.value()?,
            })
        }
        (Point::Time(_), Point::Date(_) | Point::Moment(_))
        | (Point::Date(_) | Point::Moment(_), Point::Time(_) | Point::Midnight) => {
            let help = "each week: from = \"02:00\", to = \"04:00\"; once: from = \
                        \"2026-12-24 22:00\", to = \"2026-12-25 06:00\"";
            refuse(
                to.span,
                "the other has a date, or has none",
                "`from` and `to` are of two kinds",
                help,
            );
            None
        }
        (opens @ (Point::Date(_) | Point::Moment(_)), closes) => {
            if let Some(days) = days.given() {
                let help = "leave the dates out of from and to, or days";
                refuse(
                    days.key,
                    "here",
                    "a window between two dates has no days",
                    help,
                );
            }
            if [opens, closes]
                .iter()
                .any(|one| matches!(one, Point::Date(_)))
            {
                no_zone();
            }
            let zone = zone.or(TimeZone::UTC);
            let (start, end) = (moment(opens, &zone)?, moment(closes, &zone)?);
            if end <= start {
                let help = "a window closes after it has opened";
                refuse(
                    to.span,
                    "not later than `from`",
                    "a window that never opens",
                    help,
                );
                return None;
            }
            Some(When::Once {
                from: start,
                to: end,
            })
        }
    }
}

fn moment(point: Point, zone: &TimeZone) -> Option<Timestamp> {
    match point {
        Point::Date(date) => zone.to_ambiguous_timestamp(date).compatible().ok(),
        Point::Moment(moment) => Some(moment),
        Point::Time(_) | Point::Midnight => None,
    }
}

fn pattern(value: &Value<'_>) -> Option<Pattern> {
    let text = value.need_some_text("\"db-*\"")?;
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(problem) => value.wrong(
            format!("holds no pattern: {problem}"),
            "a service\u{2019}s name, where * stands for any text: \"db-*\"",
        ),
    }
}

/// A time of day, a date and time, or such with an offset: as text, or as TOML\u{2019}s own.
fn point(value: &Value<'_>) -> Option<Point> {
    const HELP: &str = "a time of day (\"02:00\"), or a date and time (\"2026-12-24 22:00\", \
                        \"2026-12-24T21:00:00Z\")";
    let text = match value.date() {
        Some(date) => date,
        None => value.need_some_text("\"02:00\"")?.trim().to_owned(),
    };
    if text == "24:00" {
        return Some(Point::Midnight);
    }
    let point = if text.get(4..5) == Some("-") {
        let text = text.replacen(' ', "T", 1);
        let moment = text.parse().map(Point::Moment);
        moment.or_else(|_| text.parse().map(Point::Date)).ok()
    } else if text.contains(':') {
        text.parse().map(Point::Time).ok()
    } else {
        None
    };
    match point {
        Some(point) => Some(point),
        None => value.wrong(format!("is no time: {text:?}"), HELP),
    }
}

fn zone(value: &Value<'_>) -> Option<TimeZone> {
    let name = value.need_some_text("\"Europe/Berlin\"")?;
    let why = match zones::load(name) {
        Ok(zone) => return Some(zone),
        Err(why) => why,
    };
    let help = match why {
        ZoneError::NoDatabase => "install tzdata, or write \"UTC\", which needs none",
        ZoneError::Name | ZoneError::Unknown(_) | ZoneError::Unreadable(_) => {
            "a name of the IANA database: \"Europe/Berlin\", \"America/New_York\", \"UTC\""
        }
    };
    let names = zones::names();
    let label = match suggest(name, names.iter().map(String::as_str)) {
        Some(best) => format!("did you mean {best:?}?"),
        None => "not known".to_owned(),
    };
    value.wrong_at(value.span.clone(), format!("{name:?} {why}"), &label, help)
}
