//! `GET /api/events?since=&service=&limit=`: what happened, oldest first.
//!
//! `since` is a date (RFC 3339), an age (`24h`), or the `next` of an earlier answer, which is
//! a whole number: who asks with `next` again and again gets every event once. Without it the
//! newest are given.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use supervisor_actors::ports::{EventQuery, EventRow};
use supervisor_core::Timestamp;

use super::api::Api;
use super::health::json;
use super::problem::Problem;
use super::query::Query;
use super::services;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
/// How much the reasons of one answer may come to.
const MOST_BYTES: usize = 1 << 20;

#[derive(Serialize, ToSchema)]
#[schema(as = Events)]
pub(super) struct Page {
    events: Vec<EventRow>,
    /// Where to go on; null where there is nothing yet to go on from.
    next: Option<i64>,
}

/// `GET /api/events`.
pub(super) async fn list(api: &Api, query: &str) -> Result<HttpResponse, Problem> {
    let query = read(query, api.clock.wall())?;
    let (after, newest) = (query.after, query.after.is_none() && query.since.is_none());
    let answer = api.supervisor.events(query);
    let events = match actix_web::rt::time::timeout(api.patience.answer, answer).await {
        Ok(Ok(events)) => events,
        Ok(Err(error)) => return Err(Problem::unavailable("no_history", error.to_string())),
        Err(_) => return Err(unread()),
    };
    let events = page(events, newest);
    let next = events.last().map(|event| event.id).or(after);
    Ok(json(&Page { events, next }))
}

/// As many as make one answer, at least one: a thousand long messages would be tens of megabytes
/// for each who asks and does not read. Where the newest are asked for, the older ones give way.
fn page(mut events: Vec<EventRow>, newest: bool) -> Vec<EventRow> {
    let mut bytes = 0;
    let mut fits = |event: &&EventRow| {
        let first = bytes == 0;
        bytes += event.reason.len();
        first || bytes <= MOST_BYTES
    };
    if newest {
        let fits = events.iter().rev().take_while(&mut fits).count();
        events.drain(..events.len() - fits);
    } else {
        let fits = events.iter().take_while(&mut fits).count();
        events.truncate(fits);
    }
    events
}

fn unread() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_history",
        "the history could not be read in time",
    )
    .retry_after(1)
}

fn read(query: &str, now: Timestamp) -> Result<EventQuery, Problem> {
    let query = Query::parse(query, &["since", "service", "limit"])?;
    let mut asked = EventQuery {
        limit: DEFAULT_LIMIT,
        ..EventQuery::default()
    };
    if let Some(limit) = query.get("limit") {
        asked.limit = limit
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| Query::wrong("limit", limit, "a number from 1 to 1000"))?;
    }
    if let Some(service) = query.get("service") {
        // One that is gone still has a history, so it need not be known.
        let name = services::checked(service)?;
        asked.service = Some(name.as_str().to_owned());
    }
    if let Some(since) = query.get("since") {
        if since.bytes().all(|byte| byte.is_ascii_digit()) {
            let id = since.parse();
            asked.after = Some(id.map_err(|_| wrong_since(since))?);
        } else {
            let at = point(since, now);
            asked.since = Some(at.ok_or_else(|| wrong_since(since))?);
        }
    }
    Ok(asked)
}

/// A date or an age.
pub(super) fn point(text: &str, now: Timestamp) -> Option<Timestamp> {
    date(text).or_else(|| age(text, now))
}

fn wrong_since(since: &str) -> Problem {
    Query::wrong(
        "since",
        since,
        "a date such as 2026-01-02T18:30:00Z, an age such as 24h, or an earlier answer's next",
    )
}

/// `24h`: so long ago.
fn age(text: &str, now: Timestamp) -> Option<Timestamp> {
    let age = crate::human_time::duration(text).ok()?;
    let micros = i64::try_from(age.as_micros()).ok()?;
    Some(Timestamp(now.0.saturating_sub(micros)))
}

/// RFC 3339, with `Z` or an offset.
fn date(text: &str) -> Option<Timestamp> {
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, offset_seconds(offset)?)
        }
    };
    let utc = humantime::parse_rfc3339(&format!("{}Z", local.to_ascii_uppercase())).ok()?;
    let since_epoch: Duration = utc.duration_since(std::time::UNIX_EPOCH).ok()?;
    let micros = i64::try_from(since_epoch.as_micros()).ok()?;
    Some(Timestamp(micros - offset * 1_000_000))
}

/// `+02:00`. A `+` that nobody escaped arrives as a space.
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+" | " ", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, below: i64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: i64 = digits.then(|| text.parse().ok())??;
        (number < below).then_some(number)
    };
    Some(sign * (number(hours, 24)? * 3600 + number(minutes, 60)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T18:30:00Z.
    const NOW: Timestamp = Timestamp(1_767_378_600_000_000);

    fn ask(query: &str) -> EventQuery {
        read(query, NOW).unwrap()
    }

    #[test]
    fn an_answer_holds_as_many_as_there_is_room_for_and_always_one() {
        let event = |id: i64, bytes: usize| EventRow {
            id,
            time: String::new(),
            service: "a".to_owned(),
            kind: "error".to_owned(),
            from: None,
            to: None,
            reason: "x".repeat(bytes),
        };
        let ids = |sizes: &[usize], newest| -> Vec<i64> {
            let events = (1..).zip(sizes).map(|(id, bytes)| event(id, *bytes));
            let shown = page(events.collect(), newest);
            shown.iter().map(|event| event.id).collect()
        };
        let third = MOST_BYTES / 3;
        assert_eq!(ids(&[third; 5], false), [1, 2, 3]);
        assert_eq!(ids(&[third; 5], true), [3, 4, 5]);
        assert_eq!(ids(&[2 * MOST_BYTES, 1], false), [1]);
        assert_eq!(ids(&[1, 2 * MOST_BYTES], true), [2]);
        assert_eq!(ids(&[], true), [0_i64; 0]);
    }

    #[test]
    fn without_a_query_the_last_hundred_are_asked_for() {
        assert_eq!(
            ask(""),
            EventQuery {
                limit: 100,
                ..EventQuery::default()
            }
        );
    }

    #[test]
    fn since_is_a_date_an_age_or_a_cursor() {
        let hour = 3_600_000_000;
        for date in [
            "2026-01-02T18:30:00Z",
            "2026-01-02t18:30:00z",
            "2026-01-02T18:30:00.000Z",
            "2026-01-02T20:30:00%2B02:00",
            "2026-01-02T20:30:00+02:00",
            "2026-01-02T13:00:00-05:30",
        ] {
            assert_eq!(ask(&format!("since={date}")).since, Some(NOW), "{date}");
        }
        assert_eq!(ask("since=24h").since, Some(Timestamp(NOW.0 - 24 * hour)));
        assert_eq!(
            ask("since=1h%2030m").since,
            Some(Timestamp(NOW.0 - hour * 3 / 2))
        );
        assert_eq!(ask("since=42").after, Some(42));
        assert_eq!(ask("since=42").since, None);
    }

    #[test]
    fn a_wrong_query_names_its_key() {
        for (query, key) in [
            ("since=yesterday", "since"),
            ("since=2026-13-02T18:30:00Z", "since"),
            ("since=2026-01-02T18:30:00%2B25:00", "since"),
            ("since=99999999999999999999", "since"),
            ("since=-1h", "since"),
            ("since=", "since"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=many", "limit"),
            ("sevice=a", "sevice"),
            ("limit=1&limit=2", "limit"),
        ] {
            let problem = read(query, NOW).unwrap_err();
            assert_eq!(problem.status().as_u16(), 400, "{query}");
            assert!(problem.detail().contains(key), "{query}: {problem:?}");
        }
        assert_eq!(read("service=NO", NOW).unwrap_err().status().as_u16(), 404);
    }
}
