//! `/api/sync…`: how the mirroring of files into tables stands, and what people want of it.

use std::sync::{Mutex, PoisonError};

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use supervisor_actors::sync::{Status, SyncError, SyncHandle};

use super::api::Api;
use super::body;
use super::health::json;
use super::problem::Problem;
use super::services::must_be_json;
use crate::mirror::{self, Once};

/// What people can want of the sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncVerb {
    /// Try parked rows again.
    Retry,
    /// Do the deletions that wait for somebody's word.
    Confirm,
    /// Look at everything once and send it.
    Scan,
}

/// The walks that were asked for: one at a time.
#[derive(Debug, Default)]
pub(super) struct Walks(Mutex<Walk>);

#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    number: u64,
    done: Option<Once>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Sync)]
pub(super) struct Shown {
    #[serde(flatten)]
    status: Status,
    /// The last walk that was asked for, if one was.
    walk: Option<ShownWalk>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SyncWalk)]
struct ShownWalk {
    number: u64,
    running: bool,
    synced: Option<u64>,
    skipped: Option<u64>,
    errors: Option<u64>,
    left: Option<u64>,
    well: Option<bool>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SyncCommand)]
pub(super) struct Body {
    table: Option<String>,
}

/// `GET /api/sync`.
pub(super) async fn show(api: &Api) -> Result<HttpResponse, Problem> {
    let sync = sync(api)?;
    let status = ask(api, sync.status()).await?;
    let walk = api.walks.last();
    let walk = (walk.number > 0).then(|| ShownWalk {
        number: walk.number,
        running: walk.done.is_none(),
        synced: walk.done.map(|once| once.totals.synced),
        skipped: walk.done.map(|once| once.totals.skipped),
        errors: walk.done.map(|once| once.totals.errors),
        left: walk.done.map(|once| once.left),
        well: walk.done.map(Once::is_well),
    });
    Ok(json(&Shown { status, walk }))
}

/// `POST /api/sync/{verb}`.
pub(super) async fn command(
    api: &Api,
    verb: SyncVerb,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::read(request, payload, api.patience.body).await?;
    let Body { table } = if body.is_empty() {
        Body::default()
    } else {
        must_be_json(request.headers().get(header::CONTENT_TYPE))?;
        body::json(&body)?
    };
    let sync = sync(api)?;
    if let Some(table) = &table {
        let tables = ask(api, sync.status()).await?.directories;
        if tables.iter().all(|directory| directory.table != *table) {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "unknown_table",
                format!("nothing is mirrored into a table {table:?}"),
            ));
        }
    }
    Ok(match verb {
        SyncVerb::Retry => {
            let retried = ask(api, sync.retry(table)).await?;
            json(&serde_json::json!({ "retried": retried }))
        }
        SyncVerb::Confirm => {
            let confirmed = ask(api, sync.confirm(table)).await?;
            json(&serde_json::json!({ "confirmed": confirmed }))
        }
        SyncVerb::Scan => {
            let number = begin(api, sync);
            HttpResponse::Accepted()
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .json(serde_json::json!({ "walk": number }))
        }
    })
}

/// Begins a walk, unless one is under way; its number.
fn begin(api: &Api, sync: &SyncHandle) -> u64 {
    let Some(number) = api.walks.begin() else {
        return api.walks.last().number;
    };
    let (sync, shared) = (sync.clone(), std::sync::Arc::clone(&api.shared));
    actix_web::rt::spawn(async move {
        let once = mirror::once(&sync).await;
        shared.walks.end(once);
    });
    number
}

fn sync(api: &Api) -> Result<&SyncHandle, Problem> {
    api.sync.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_sync",
            "nothing is mirrored: the configuration has no [[sync.dirs]]",
        )
    })
}

/// Waits for the sync's answer, but not for ever.
async fn ask<T>(
    api: &Api,
    answer: impl Future<Output = Result<T, SyncError>>,
) -> Result<T, Problem> {
    match actix_web::rt::time::timeout(api.patience.answer, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error @ SyncError::Unreachable)) => {
            Err(Problem::unavailable("not_answering", error.to_string()))
        }
        Ok(Err(SyncError::Ledger(why))) => Err(Problem::unavailable(
            "no_record",
            format!("the sync's record cannot be used: {why}"),
        )),
        Err(_) => Err(Problem::unavailable(
            "not_answering",
            "the sync did not answer in time",
        )),
    }
}

// === impl Walks ===

impl Walks {
    /// The number of a new walk; nothing while one is under way.
    fn begin(&self) -> Option<u64> {
        let mut walk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if walk.number > 0 && walk.done.is_none() {
            return None;
        }
        *walk = Walk {
            number: walk.number + 1,
            done: None,
        };
        Some(walk.number)
    }

    fn end(&self, once: Once) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).done = Some(once);
    }

    fn last(&self) -> Walk {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
