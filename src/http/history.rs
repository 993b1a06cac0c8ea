//! `DELETE /api/history/{name}?older_than=7d`: what is recorded of a service, deleted.
//!
//! The owner may delete all of it. A service may delete its own with its own token, so that a
//! client's `cleanup_old_data` works from a child of ours, but only what is older than a day:
//! what went wrong last is not for the one with whom it went wrong to hide.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use serde::Serialize;
use utoipa::ToSchema;

use supervisor_core::Timestamp;

use super::api::Api;
use super::guard;
use super::health::json;
use super::problem::Problem;
use super::query::Query;
use super::{pulse, services};

/// What a service may not delete of its own.
const LEFT_TO_THE_OWNER: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    deleted: u64,
}

/// `DELETE /api/history/{name}`.
pub(super) async fn delete(
    api: &Api,
    name: &str,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    pulse::not_internal(name)?;
    let service = services::checked(name)?;
    let age = read(request.query_string())?;
    if age < LEFT_TO_THE_OWNER && !guard::is_owner(api, request) {
        return Err(Problem::forbidden(
            "too_young",
            "a service's own token deletes what is older than a day (older_than=1d or more)",
        ));
    }
    let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let before = Timestamp(api.clock.wall().0.saturating_sub(micros));
    let answer = api.supervisor.delete_history(&service, before);
    // Minutes, hours and days go beside; they are no records of their own to anybody.
    let rolled = api.history.delete(service.clone(), before);
    let deleted = match actix_web::rt::time::timeout(api.patience.answer, answer).await {
        Ok(Ok(deleted)) => deleted,
        Ok(Err(error)) => return Err(Problem::unavailable("no_history", error.to_string())),
        Err(_) => {
            return Err(Problem::unavailable(
                "no_history",
                "deleting takes longer than this request may; it goes on",
            ));
        }
    };
    let rolled = match actix_web::rt::time::timeout(api.patience.answer, rolled).await {
        Ok(Ok(rolled)) => rolled,
        Ok(Err(error)) => return Err(Problem::unavailable("no_history", error.to_string())),
        Err(_) => {
            return Err(Problem::unavailable(
                "no_history",
                "deleting takes longer than this request may; it goes on",
            ));
        }
    };
    if deleted == 0 && rolled == 0 && api.directory.get(name).is_none() {
        // One that is gone may still have a history; this one never had any, or no longer.
        return Err(Problem::unknown_service(name));
    }
    Ok(json(&Deleted { deleted }))
}

fn read(query: &str) -> Result<Duration, Problem> {
    let query = Query::parse(query, &["older_than"])?;
    let text = query.get("older_than").ok_or_else(|| {
        Problem::bad(
            "bad_query",
            "older_than is missing: it says how old, such as older_than=7d",
        )
    })?;
    // No bare numbers: who writes 7 may mean days.
    crate::human_time::duration(text)
        .map_err(|_| Query::wrong("older_than", text, "an age with its unit, such as 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_duration_with_its_unit() {
        for (query, seconds) in [
            ("older_than=7d", 604_800),
            ("older_than=0s", 0),
            ("older_than=1h%2030m", 5_400),
            ("older_than=99999999999s", 99_999_999_999),
        ] {
            assert_eq!(read(query), Ok(Duration::from_secs(seconds)), "{query}");
        }
        for (query, named) in [
            ("", "missing"),
            ("older_than=", "\"\""),
            ("older_than=soon", "soon"),
            ("older_than=7", "unit"),
            ("older_than=-1", "-1"),
            ("older_than=-1d", "-1d"),
            ("older_than=NaN", "NaN"),
            ("older_than=inf", "inf"),
            ("older_than=1e300", "1e300"),
            ("older_than=7d&older_than=1d", "twice"),
            ("olderthan=7d", "olderthan"),
            ("older_than=99999999999999999999d", "9d"),
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!(problem.status().as_u16(), 400, "{query}");
            assert!(problem.detail().contains(named), "{query}: {problem:?}");
        }
    }
}
