//! `sync verify`: every path below the directories against the target, without the sync's own
//! record. Nothing is written.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use supervisor_core::sync::row::key_of;
use supervisor_core::sync::verify::{Expected, Kind, Verdict};
use supervisor_core::sync::{Refusal, Routes, Table};

use crate::ports::files::{Files, Found, Look, Progress, Survey};
use crate::ports::tables::Tables;

/// How many files are read at once, so that a change of mind is heard between them.
const AT_ONCE: usize = 512;
/// How many keys are asked for at once.
const PAGE: u32 = 1_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Table by table, in the order of the configuration.
    pub tables: Vec<Compared>,
    /// Files that cannot be read, and directories; nothing is known of these.
    pub unreadable: Vec<(String, String)>,
}

/// A table that was compared.
#[derive(Debug)]
pub struct Compared {
    /// Which.
    pub table: Arc<Table>,
    /// What its rows are like.
    pub verdict: Verdict,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The target did not show a table's rows.
    #[error("the rows of {table} cannot be read")]
    Target {
        /// The table's name.
        table: String,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// Our own fault.
    #[error("the files could not be read")]
    Panicked,
}

/// Compares everything.
///
/// # Errors
/// See [`VerifyError`].
pub async fn verify(
    files: Arc<dyn Files>,
    target: &dyn Tables,
    routes: &Routes,
) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    let mut expected: Vec<(Arc<Table>, Expected)> = routes
        .tables()
        .map(|table| {
            let hashes = table.hash_column().is_some();
            (Arc::clone(table), Expected::new(hashes))
        })
        .collect();
    let (paths, found) = walk(&files).await?;
    let closed: Vec<String> = found
        .unread
        .iter()
        .map(|(path, _)| format!("{path}/"))
        .collect();
    report.unreadable.extend(found.unread);
    if found.not_utf8_count > 0 {
        let names = found.not_utf8.into_iter();
        let why = "its name is no UTF-8".to_owned();
        report
            .unreadable
            .extend(names.map(|name| (name, why.clone())));
    }
    for paths in paths.chunks(AT_ONCE) {
        for (path, look) in paths.iter().zip(look(&files, paths).await?) {
            let (hash, why) = match look {
                Look::Here(content) => (Some(content.hash), None),
                Look::Gone => continue,
                Look::Unreadable { why, .. } => (None, Some(why)),
                Look::Changing => (None, Some("it changes while it is read".to_owned())),
            };
            report
                .unreadable
                .extend(why.map(|why| (path.to_string(), why)));
            let Ok(table) = routes.route_of(path) else {
                continue;
            };
            let of_table = |(other, _): &&mut (Arc<Table>, Expected)| other.name() == table.name();
            if let Some((_, expected)) = expected.iter_mut().find(of_table) {
                expected.add(key_of(table, path), path, hash);
            }
        }
    }
    for (table, expected) in expected {
        let verdict = compare(target, &table, expected).await;
        let mut verdict = verdict.map_err(|refusal| VerifyError::Target {
            table: table.name().to_owned(),
            refusal,
        })?;
        // Whether these have a file, nobody knows.
        verdict.differences.retain(|difference| {
            let below = |directory: &String| difference.name.starts_with(directory.as_str());
            difference.kind != Kind::Extra || !closed.iter().any(below)
        });
        report.tables.push(Compared { table, verdict });
    }
    Ok(report)
}

/// Reads a table's keys page by page.
async fn compare(
    target: &dyn Tables,
    table: &Table,
    mut expected: Expected,
) -> Result<Verdict, Refusal> {
    let mut verdict = Verdict::default();
    let mut after: Option<String> = None;
    loop {
        let page = target.keys(table, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        for held in &page {
            expected.held(&held.key, held.hash, &mut verdict);
        }
    }
    expected.end(&mut verdict);
    Ok(verdict)
}

/// All files in the order of their paths, and what else there is.
async fn walk(files: &Arc<dyn Files>) -> Result<(Vec<Arc<str>>, Found), VerifyError> {
    let files = Arc::clone(files);
    let walk = actix_rt::task::spawn_blocking(move || {
        let paths: Mutex<Vec<Arc<str>>> = Mutex::default();
        let found = files.survey(&Survey {
            below: None,
            list: &|listing| {
                let mut paths = paths.lock().unwrap_or_else(PoisonError::into_inner);
                listing.each(|path, _| paths.push(Arc::from(path)));
            },
            enter: &|_| {},
            progress: &Progress::default(),
        });
        let mut paths = paths.into_inner().unwrap_or_else(PoisonError::into_inner);
        paths.sort_unstable();
        (paths, found)
    });
    walk.await.map_err(|_panicked| VerifyError::Panicked)
}

async fn look(files: &Arc<dyn Files>, paths: &[Arc<str>]) -> Result<Vec<Look>, VerifyError> {
    let (files, paths) = (Arc::clone(files), paths.to_vec());
    let look = actix_rt::task::spawn_blocking(move || {
        let mut looks = Vec::with_capacity(paths.len());
        files.look(&paths, AT_ONCE, &mut |_, more| {
            looks.extend(more);
            ControlFlow::Continue(())
        });
        looks
    });
    look.await.map_err(|_panicked| VerifyError::Panicked)
}
