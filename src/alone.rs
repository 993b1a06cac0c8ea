//! `--once` and `--dry-run`: the sync without any service.
//!
//! ```text
//!            --once                    --dry-run               --once --dry-run
//!   data_dir locked, written    nothing written anywhere    nothing written anywhere
//!   walk, send, totals          until a signal              walk, say, totals
//! ```

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, info, warn};

use supervisor_actors::ports::{Clock, Store};
use supervisor_actors::sync::SyncHandle;

use crate::adapters::clock::RealClock;
use crate::adapters::data_dir::{DataDirError, lock_data_dir};
use crate::adapters::http_client::HttpCalls;
use crate::adapters::store::SqliteStore;
use crate::cli::{RunArgs, once_beside};
use crate::config::{Settings, SyncSettings};
use crate::mirror::{self, Alone, Mode};
use crate::run::{StartError, start_log};
use crate::signals::Signals;

/// A configuration that mirrors nothing, though that was asked for.
const NOTHING: u8 = 78;
/// Something failed, or is left.
const PARTLY: u8 = 3;
/// A walk that takes longer than this shows how far it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often that is shown.
const EVERY: Duration = Duration::from_millis(100);
/// How wide it is.
const WIDTH: usize = 30;

/// Runs the sync alone.
pub(crate) fn run(args: &RunArgs, settings: Settings) -> Result<ExitCode, StartError> {
    let Some(sync) = settings.sync.clone() else {
        eprintln!(
            "supervisor: {} mirrors no directory: it has no [[sync.dirs]]",
            settings.file.display()
        );
        return Ok(ExitCode::from(NOTHING));
    };
    let mode = Mode {
        continuous: !args.once,
        dry_run: args.dry_run,
    };
    if mode.dry_run {
        let mut settings = settings;
        // Nothing is written anywhere, not even into the log.
        settings.log.file = None;
        let data_dir = settings.supervisor.data_dir.clone();
        return begin(args, &settings, &sync, &data_dir, mode);
    }
    let lock = match lock_data_dir(
        &settings.supervisor.given_data_dir,
        &settings.supervisor.data_dir,
    ) {
        Ok(lock) => lock,
        Err(DataDirError::Held { path, .. }) => return Ok(once_beside(&path)),
        Err(error) => return Err(error.into()),
    };
    let data_dir = lock.path().to_owned();
    begin(args, &settings, &sync, &data_dir, mode)
}

fn begin(
    args: &RunArgs,
    settings: &Settings,
    sync: &SyncSettings,
    data_dir: &Path,
    mode: Mode,
) -> Result<ExitCode, StartError> {
    let (log, guard) = start_log(args, settings)?;
    let code = actix_rt::System::new().block_on(serve(settings, sync, data_dir, mode, &log));
    drop(guard);
    code
}

async fn serve(
    all: &Settings,
    settings: &SyncSettings,
    data_dir: &Path,
    mode: Mode,
    log: &Logger,
) -> Result<ExitCode, StartError> {
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    let setup = mirror::setup(settings, data_dir, &HttpCalls::default(), &clock, mode)?;
    let store: Option<Box<dyn Store>> = (!mode.dry_run).then(|| {
        let store = SqliteStore::new(data_dir, all.history.keep, Arc::clone(&clock));
        Box::new(store) as Box<dyn Store>
    });
    mirror::announce(settings, mode, log);
    let alone = Alone::start(setup, clock, store, log);
    let code = if mode.continuous {
        let why = signals.end(log).await;
        info!(log, "supervisor stops"; "why" => why);
        ExitCode::SUCCESS
    } else {
        let bar = actix_rt::spawn(show_progress(alone.sync.clone()));
        let done = tokio::select! {
            biased;
            why = signals.end(log) => Err(why),
            once = mirror::once(&alone.sync) => Ok(once),
        };
        bar.abort();
        clear();
        match done {
            Ok(once) => {
                say(&once.line(), log);
                if once.left > 0 {
                    warn!(log, "sync: rows are left"; "rows" => once.left);
                }
                if once.is_well() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::from(PARTLY)
                }
            }
            Err(why) => {
                info!(log, "supervisor stops"; "why" => why);
                ExitCode::from(PARTLY)
            }
        }
    };
    mirror::stop(&alone.sync, log).await;
    alone.end().await;
    Ok(code)
}

/// The line that people wait for: on stdout for programs, in the log for the rest. Who looks
/// at both on one terminal sees it once.
fn say(line: &str, log: &Logger) {
    info!(log, "{line}");
    if !(std::io::stdout().is_terminal() && std::io::stderr().is_terminal()) {
        // Whoever read our output has gone.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// Shows on a terminal how far a long walk is.
async fn show_progress(sync: SyncHandle) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    tokio::time::sleep(PATIENCE).await;
    while let Ok(status) = sync.status().await {
        let scan = status.scan;
        if scan.running {
            let line = if scan.to_read == 0 {
                format!("{} files seen", scan.files)
            } else {
                format!(
                    "{} {} of {} files read",
                    bar(scan.read, scan.to_read),
                    scan.read,
                    scan.to_read
                )
            };
            let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
        } else {
            let queue = status.queue;
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[2K{} rows left to send",
                queue.due
            );
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn bar(done: u64, all: u64) -> String {
    let part =
        usize::try_from(done.min(all).saturating_mul(WIDTH as u64) / all.max(1)).unwrap_or(0);
    format!(
        "[{}{}]",
        "=".repeat(part),
        " ".repeat(WIDTH - part.min(WIDTH))
    )
}

fn clear() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[2K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_from_empty_to_full() {
        assert_eq!(bar(0, 10), format!("[{}]", " ".repeat(30)));
        assert_eq!(
            bar(5, 10),
            format!("[{}{}]", "=".repeat(15), " ".repeat(15))
        );
        assert_eq!(bar(10, 10), format!("[{}]", "=".repeat(30)));
        assert_eq!(bar(11, 10), bar(10, 10));
        assert_eq!(bar(0, 0), bar(0, 10));
    }
}
