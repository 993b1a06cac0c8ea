//! The sync under virtual time: what is edited arrives, once, at the right time, whatever
//! fails on the way.

mod contents;
mod debounce;
mod faults;
mod gone;
mod refusals;
mod walks;
mod watching;

use std::collections::BTreeMap;
use std::time::Duration;

use supervisor_actors::ports::files::Blind;
use supervisor_actors::ports::{Clock, StoreError};
use supervisor_actors::sync::{Status, SyncHandle};
use supervisor_actors::testing::{Call, FakeTables, PausedSystem, SyncStage};
use supervisor_core::Level;
use supervisor_core::sync::{OnDelete, Refusal, Scope};
use supervisor_core::time::Mono;
use tokio::time::sleep;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn retry(why: &str) -> Refusal {
    Refusal::Retry {
        after: None,
        why: why.to_owned(),
    }
}

fn park(scope: Scope) -> Refusal {
    Refusal::Park {
        scope,
        why: "no such thing".to_owned(),
    }
}

async fn status(sync: &SyncHandle) -> Status {
    sync.status().await.expect("a status")
}

/// The keys of all upserts so far, with the seconds after `since` at which they were asked for.
fn upserts(stage: &SyncStage, since: Mono) -> Vec<(f64, Vec<String>)> {
    let calls = stage.tables.calls().into_iter();
    calls
        .filter_map(|(at, call)| match call {
            Call::Upsert(_, keys) => Some((at.since(since).as_secs_f64(), keys)),
            _ => None,
        })
        .collect()
}

/// What the target should hold: all files of `docs` and `notes`.
fn expected(stage: &SyncStage, table: &str) -> BTreeMap<String, String> {
    let mut all = stage.disk.all();
    all.retain(|path, _| path.starts_with(&format!("{table}/")));
    all
}

#[track_caller]
fn assert_mirrored(stage: &SyncStage) {
    for table in ["docs", "notes"] {
        assert_eq!(stage.tables.texts(table), expected(stage, table), "{table}");
    }
    assert_eq!(stage.ledger.all_tasks(), []);
}
