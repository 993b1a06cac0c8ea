//! The wiring of the sync: what the configuration mirrors, as actors, beside services or alone.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, info, warn};

use supervisor_actors::ports::ledger::Ledger;
use supervisor_actors::ports::{Clock, Store, StoreError};
use supervisor_actors::sync::{SyncHandle, SyncSetup, SyncSpec, Totals};
use supervisor_actors::{Setup, Universe};

use crate::adapters::files::{KernelEyes, RealFiles};
use crate::adapters::http_client::HttpCalls;
use crate::adapters::ledger::SqliteLedger;
use crate::adapters::quiet;
use crate::adapters::tables;
use crate::adapters::tables::dry::DryTables;
use crate::adapters::tables::supabase::project::ProjectError;
use crate::config::SyncSettings;

/// How long a stop waits for the target to take what is left.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Files that change all the time are looked at so often by a single walk.
const ROUNDS: u32 = 3;

/// How a sync is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// It goes on after its first walk.
    pub(crate) continuous: bool,
    /// It only says what it would do, and writes nothing anywhere.
    pub(crate) dry_run: bool,
}

/// Why there can be no sync.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MirrorError {
    /// Nobody says where the tables are.
    #[error(transparent)]
    Target(#[from] ProjectError),
    /// What an earlier one left cannot be read.
    #[error("the sync's record cannot be read")]
    Ledger(#[source] StoreError),
}

/// What the configuration mirrors, as actors need it. Nothing is opened or sent yet.
///
/// # Errors
/// See [`MirrorError`].
pub(crate) fn setup(
    settings: &SyncSettings,
    data_dir: &Path,
    calls: &HttpCalls,
    clock: &Arc<dyn Clock>,
    mode: Mode,
) -> Result<SyncSetup, MirrorError> {
    let env = |name: &str| std::env::var(name).ok();
    let target = tables::target(&settings.target, data_dir, &env, calls, Arc::clone(clock))?;
    let ledger: Box<dyn Ledger> = if mode.dry_run {
        let copy = SqliteLedger::copy_of(data_dir, Arc::clone(clock));
        Box::new(copy.map_err(MirrorError::Ledger)?)
    } else {
        Box::new(SqliteLedger::new(data_dir, Arc::clone(clock)))
    };
    let routes = Arc::clone(&settings.routes);
    let files = RealFiles::new(routes, settings.max_file_size, Arc::clone(clock));
    Ok(SyncSetup {
        spec: SyncSpec {
            routes: Arc::clone(&settings.routes),
            debounce: settings.debounce,
            max_wait: settings.max_wait,
            on_delete: settings.on_delete,
            dry_run: mode.dry_run,
            continuous: mode.continuous,
        },
        ledger,
        files: Arc::new(files),
        eyes: Arc::new(KernelEyes::default()),
        tables: if mode.dry_run {
            Rc::new(DryTables::new(target))
        } else {
            target
        },
    })
}

/// Says what is watched, as users of the sync know it.
pub(crate) fn announce(settings: &SyncSettings, mode: Mode, log: &Logger) {
    let directories = settings.routes.directories();
    info!(log, "Watching {} directories", directories.len());
    for directory in directories {
        info!(log, "{}", directory.shown; "table" => directory.table.name());
        if directory.path.is_file() {
            warn!(log, "sync: this is a file, and only directories are mirrored";
                "path" => directory.path.display().to_string());
        } else if !directory.path.is_dir() {
            warn!(log, "sync: there is no such directory yet, it is mirrored when it appears";
                "path" => directory.path.display().to_string());
        }
    }
    let debounce = humantime::format_duration(settings.debounce);
    info!(log, "Debounce: {debounce}");
    info!(
        log,
        "{}",
        if mode.dry_run {
            "DRY RUN MODE"
        } else {
            "LIVE SYNC MODE"
        }
    );
}

/// Says what was done.
pub(crate) fn conclude(totals: Totals, log: &Logger) {
    let Totals {
        synced,
        skipped,
        errors,
    } = totals;
    info!(
        log,
        "Synced: {synced}, Skipped: {skipped}, Errors: {errors}"
    );
}

/// Ends a sync: what waits is put on record, and sent if the target takes it soon.
pub(crate) async fn stop(sync: &SyncHandle, log: &Logger) -> Totals {
    let totals = sync.stop(LAST_WORDS).await;
    conclude(totals, log);
    totals
}

/// A sync without services: its own actors, and those that watch them.
pub(crate) struct Alone {
    /// To ask and to command.
    pub(crate) sync: SyncHandle,
    universe: Universe,
}

/// What a single walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Once {
    /// What was done.
    pub(crate) totals: Totals,
    /// Rows that the target has not taken: due, parked or held.
    pub(crate) left: u64,
    /// Whether everything could be looked at and put on record.
    pub(crate) whole: bool,
}

impl Alone {
    /// Starts it on the present thread, which runs an actix system. Events go into `store`, if
    /// there is one.
    pub(crate) fn start(
        setup: SyncSetup,
        clock: Arc<dyn Clock>,
        store: Option<Box<dyn Store>>,
        log: &Logger,
    ) -> Self {
        let universe = Universe::start(Setup {
            specs: Vec::new(),
            admit: Box::new(|_| Err("there are no services here".to_owned())),
            ports: quiet::ports(clock, store),
            sync: Some(setup),
            alerting: supervisor_core::alert::Policy::default(),
            paused: None,
            maintenance: Vec::new(),
            log: log.clone(),
        });
        let sync = universe.sync.clone();
        Self {
            sync: sync.expect("it was set up with one"),
            universe,
        }
    }

    /// Ends it all, so that what was told is on record.
    pub(crate) async fn end(self) {
        self.universe.supervisor.shutdown(false).await;
    }
}

/// Looks at everything once, and sends it.
pub(crate) async fn once(sync: &SyncHandle) -> Once {
    let before = sync.totals().await.unwrap_or_default();
    let mut whole = false;
    for _ in 0..ROUNDS {
        let scanned = sync.scan("once").await.unwrap_or_default();
        whole = scanned.whole && scanned.recorded;
        if scanned.recorded {
            break;
        }
        // The record was damaged, and has been begun anew; or it cannot be written at all.
    }
    for _ in 0..ROUNDS {
        sync.drained().await;
        let waiting = sync.status().await.map(|status| status.queue.debouncing);
        if waiting.is_ok_and(|waiting| waiting == 0) {
            break;
        }
        // What changed while it was read or sent.
        sync.flushed().await;
    }
    sync.drained().await;
    let status = sync.status().await.ok();
    let left = status.as_ref().map_or(0, |status| {
        let queue = status.queue;
        queue.due + queue.parked + queue.held + queue.debouncing
    });
    whole &= status
        .as_ref()
        .is_some_and(|status| status.ledger.is_none());
    let after = sync.totals().await.unwrap_or_default();
    Once {
        totals: Totals {
            synced: after.synced - before.synced.min(after.synced),
            skipped: after.skipped - before.skipped.min(after.skipped),
            errors: after.errors - before.errors.min(after.errors),
        },
        left,
        whole,
    }
}

impl Once {
    /// Whether nothing failed and nothing is left.
    pub(crate) fn is_well(self) -> bool {
        self.whole && self.left == 0 && self.totals.errors == 0
    }

    /// As users of the sync know it.
    pub(crate) fn line(self) -> String {
        let Totals {
            synced,
            skipped,
            errors,
        } = self.totals;
        format!("Scan complete. Synced: {synced}, Skipped (unchanged): {skipped}, Errors: {errors}")
    }
}
