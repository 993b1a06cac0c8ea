//! `GET /api/history/{name}?from=&to=&step=`: how a service was, step by step.
//!
//! Minutes are there for days, hours for a year, days for ever (`[history]`). A step of which
//! nothing is known is left out; why nothing is known of a time is said under `gaps`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use serde::Serialize;
use utoipa::ToSchema;

use supervisor_actors::ports::history::HistoryQuery;
use supervisor_core::history::Slice;
use supervisor_core::metrics::Rollup;
use supervisor_core::{ServiceName, Timestamp};

use super::api::Api;
use super::health::json;
use super::problem::Problem;
use super::query::Query;
use super::{events, services};

const MINUTE_MICROS: i64 = 60_000_000;
/// The most steps of one answer; `next` says where to go on.
const MOST_STEPS: i64 = 2_000;
/// How many steps there are at most where nobody says how long they are.
const FEW_STEPS: i64 = 360;
/// The steps to choose from then, in minutes.
const STEPS: [i64; 8] = [1, 5, 15, 60, 360, 1_440, 10_080, 43_200];
/// How much is shown where nobody says.
const HOUR: i64 = 60;

#[derive(Serialize, ToSchema)]
#[schema(as = History)]
pub(super) struct Page {
    service: ServiceName,
    from: String,
    to: String,
    /// In seconds.
    step: i64,
    points: Vec<Point>,
    gaps: Vec<Gap>,
    uptime: Uptime,
    /// What to give as `from` for what comes after; null at the end.
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryPoint)]
struct Point {
    time: String,
    /// How many seconds of the step are known.
    seconds: f64,
    pulses: u64,
    errors: u64,
    /// Intervals missed.
    misses: u64,
    /// The gaps between pulses, in seconds.
    gap: Option<Gaps>,
    /// Seconds at each level.
    levels: Levels,
    /// The share of the judged time in which it was not critical.
    uptime: Option<f64>,
    #[schema(value_type = BTreeMap<String, Rollup>)]
    metrics: BTreeMap<Box<str>, Rollup>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryGaps)]
struct Gaps {
    #[serde(flatten)]
    all: Rollup,
    p99: Option<f64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryLevels)]
struct Levels {
    healthy: f64,
    warning: f64,
    degraded: f64,
    critical: f64,
    unknown: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryGap)]
struct Gap {
    from: String,
    to: String,
    reason: String,
}

#[derive(Serialize, ToSchema)]
struct Uptime {
    #[serde(rename = "24h")]
    day: Option<f64>,
    #[serde(rename = "7d")]
    week: Option<f64>,
    #[serde(rename = "30d")]
    month: Option<f64>,
}

/// `GET /api/history/{name}`.
pub(super) async fn show(api: &Api, name: &str, query: &str) -> Result<HttpResponse, Problem> {
    let service = services::checked(name)?;
    let now = api.clock.wall();
    let asked = read(query, service, now)?;
    let (until, next) = match asked.from + MOST_STEPS * asked.step {
        end if end < asked.to => (end, Some(date(end))),
        _ => (asked.to, None),
    };
    let asked = HistoryQuery { to: until, ..asked };
    let answer = api.history.read(asked.clone());
    let page = match actix_web::rt::time::timeout(api.patience.answer, answer).await {
        Ok(Ok(page)) => page,
        Ok(Err(error)) => return Err(Problem::unavailable("no_history", error.to_string())),
        Err(_) => {
            return Err(Problem::unavailable(
                "no_history",
                "the history could not be read in time",
            ));
        }
    };
    if page.points.is_empty() && page.uptime[2].is_none() && api.directory.get(name).is_none() {
        // One that is gone may still have a history.
        return Err(Problem::unknown_service(name));
    }
    let [day, week, month] = page.uptime.map(|up| up.map(share));
    Ok(json(&Page {
        service: asked.service,
        from: date(asked.from),
        to: date(asked.to),
        step: asked.step * 60,
        points: page.points.iter().map(point).collect(),
        gaps: page.gaps.into_iter().map(gap).collect(),
        uptime: Uptime { day, week, month },
        next,
    }))
}

fn read(query: &str, service: ServiceName, now: Timestamp) -> Result<HistoryQuery, Problem> {
    let query = Query::parse(query, &["from", "to", "step"])?;
    let point = |key: &str| {
        query.get(key).map_or(Ok(None), |text| {
            let at = events::point(text, now);
            at.map(Some).ok_or_else(|| {
                let right = "a date such as 2026-01-02T18:30:00Z or an age such as 24h";
                Query::wrong(key, text, right)
            })
        })
    };
    let minute = |at: Timestamp| at.0.div_euclid(MINUTE_MICROS);
    // Nothing is known of what is to come, however far ahead it is asked for.
    let end = minute(now) + 1;
    let to = point("to")?.map_or(end, |to| minute(to).min(end));
    let from = point("from")?.map_or(to - HOUR, minute);
    if from >= end {
        return Err(Problem::bad("bad_query", "from is still to come"));
    }
    if from >= to {
        return Err(Problem::bad(
            "bad_query",
            "from is not at least a minute before to",
        ));
    }
    let step = match query.get("step") {
        Some(text) => step(text)?,
        None => {
            let few = STEPS
                .into_iter()
                .find(|step| (to - from) / step <= FEW_STEPS);
            few.unwrap_or(STEPS[STEPS.len() - 1])
        }
    };
    Ok(HistoryQuery {
        service,
        from: from - from.rem_euclid(step),
        to: to + (-to).rem_euclid(step),
        step,
        now: minute(now),
    })
}

/// Whole minutes.
fn step(text: &str) -> Result<i64, Problem> {
    /// Longer than anything is kept for, but for days.
    const MOST: i64 = 366 * 1_440;
    let right = || Query::wrong("step", text, "whole minutes such as 1m, 15m, 1h or 1d");
    let step = crate::human_time::duration(text).map_err(|_| right())?;
    let minutes = i64::try_from(step.as_secs() / 60).map_err(|_| right())?;
    let whole = step.as_secs().is_multiple_of(60) && step.subsec_nanos() == 0;
    if whole && (1..=MOST).contains(&minutes) {
        Ok(minutes)
    } else {
        Err(right())
    }
}

fn date(minute: i64) -> String {
    Timestamp(minute.saturating_mul(MINUTE_MICROS)).rfc3339()
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// What has more digits than anybody reads.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A share of the time that was up, never rounded up: 1 says that there was nothing else.
fn share(up: f64) -> f64 {
    if up >= 1.0 {
        return 1.0;
    }
    // What a binary fraction lacks to a decimal one is not cut off.
    ((up * 1e6 + 1e-6).floor() / 1e6).min(0.999_999)
}

fn point((minute, slice): &(i64, Slice)) -> Point {
    let [healthy, warning, degraded, critical, unknown] = slice.levels.map(seconds);
    Point {
        time: date(*minute),
        seconds: seconds(slice.covered()),
        pulses: slice.pulses,
        errors: slice.errors,
        misses: slice.misses,
        gap: slice.gaps.map(|all| Gaps {
            all: Rollup {
                count: all.count,
                min: rounded(all.min),
                mean: rounded(all.mean),
                max: rounded(all.max),
            },
            p99: slice.p99().map(rounded),
        }),
        levels: Levels {
            healthy,
            warning,
            degraded,
            critical,
            unknown,
        },
        uptime: slice.uptime().map(share),
        metrics: slice.metrics.clone(),
    }
}

fn gap(gap: supervisor_actors::ports::history::Gap) -> Gap {
    Gap {
        from: gap.from.rfc3339(),
        to: gap.to.rfc3339(),
        reason: gap.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T18:30:00Z.
    const NOW: Timestamp = Timestamp(1_767_378_600_000_000);
    const MINUTE: i64 = 1_767_378_600 / 60;

    fn ask(query: &str) -> Result<HistoryQuery, Problem> {
        read(query, ServiceName::new("a").unwrap(), NOW)
    }

    fn bounds(query: &str) -> (i64, i64, i64) {
        let asked = ask(query).unwrap();
        (MINUTE - asked.from, asked.to - MINUTE, asked.step)
    }

    #[test]
    fn what_is_asked_for_begins_and_ends_with_a_step() {
        assert_eq!(bounds(""), (59, 1, 1));
        assert_eq!(bounds("from=24h"), (1_440, 5, 5));
        assert_eq!(bounds("from=24h&step=1m"), (1_440, 1, 1));
        assert_eq!(bounds("from=2h&to=1h&step=1h"), (150, -30, 60));
        assert_eq!(bounds("from=2026-01-02T17:30:00Z").0, 60);
        assert_eq!(ask("from=365d").unwrap().step, 10_080);
    }

    #[test]
    fn uptime_is_never_rounded_up() {
        let month = 30.0 * 86_400.0;
        for (up, shown) in [
            (1.0, 1.0),
            (1.0 - 1.0 / month, 0.999_999),
            (1.0 - f64::EPSILON, 0.999_999),
            (0.999_499_9, 0.999_499),
            (0.29, 0.29),
            (0.99, 0.99),
            (0.0, 0.0),
        ] {
            assert_eq!(share(up), shown, "{up}");
        }
    }

    #[test]
    fn what_is_to_come_is_not_asked_for() {
        assert_eq!(
            bounds("from=1h&to=9999-12-31T00:00:00Z&step=1m"),
            (60, 1, 1)
        );
        let ever = ask("from=1970-01-01T00:00:00Z&to=9999-12-31T00:00:00Z&step=366d").unwrap();
        assert_eq!((ever.from, ever.step), (0, 366 * 1_440));
        assert!((MINUTE + 1..=MINUTE + 1 + ever.step).contains(&ever.to));
        let problem = ask("from=2026-01-02T18:31:00Z&to=2027-01-02T18:30:00Z").unwrap_err();
        assert!(problem.detail().contains("still to come"), "{problem:?}");
    }

    #[test]
    fn a_wrong_query_names_its_key() {
        for (query, key) in [
            ("from=yesterday", "from"),
            ("to=", "to"),
            ("from=1h&to=2h", "from"),
            ("step=90s", "step"),
            ("step=0s", "step"),
            ("step=60", "step"),
            ("step=99999999d", "step"),
            ("steps=1m", "steps"),
        ] {
            let problem = ask(query).unwrap_err();
            assert_eq!(problem.status().as_u16(), 400, "{query}");
            assert!(problem.detail().contains(key), "{query}: {problem:?}");
        }
    }
}
