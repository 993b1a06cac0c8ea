//! The sync for other programs: started, left alone for a while, stopped, asked what it did.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use slog::Logger;
use tokio::sync::mpsc as tokio_mpsc;

use supervisor_actors::ports::{Clock, Store};
use supervisor_actors::sync::Totals;

use crate::adapters::clock::RealClock;
use crate::adapters::data_dir::{DataDirError, DataDirLock, lock_data_dir};
use crate::adapters::http_client::HttpCalls;
use crate::adapters::store::SqliteStore;
use crate::config::{self, SyncSettings};
use crate::mirror::{self, Alone, MirrorError, Mode};

/// So many questions may wait; who asks more waits himself.
const QUESTIONS: usize = 8;

/// What was done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MirrorStats {
    /// Rows that the target has taken.
    pub synced: u64,
    /// Files that were looked at and had not changed.
    pub skipped: u64,
    /// Things that went wrong: files that cannot be read, rows that were refused.
    pub errors: u64,
}

/// A sync of markdown into tables within another program, by the `[sync]` of a configuration
/// file. Its actors run on a thread of their own; services of the configuration are not run.
///
/// It takes the configuration's data directory for itself: no supervisor may run over it at the
/// same time. What was seen is on record there before it is sent, so that the next start goes on
/// where this one ended, however it ended. Dropping it stops it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let project = tempfile::tempdir()?;
/// # let config = project.path().join("supervisor.toml");
/// # std::fs::create_dir(project.path().join("docs"))?;
/// std::fs::write(project.path().join("docs/a.md"), "# A\n")?;
/// std::fs::write(&config, r#"
///     [sync]
///     debounce = "100ms"
///     [[sync.dirs]]
///     path = "docs"
///     table = "docs"
/// "#)?;
///
/// let sync = supervisor::Mirror::start(&config)?;
/// // The program does what it does; what changes meanwhile is mirrored.
/// # let patience = std::time::Duration::from_secs(60);
/// # let began = std::time::Instant::now();
/// while sync.stats().synced < 1 {
///     std::thread::sleep(std::time::Duration::from_millis(20));
/// #   assert!(began.elapsed() < patience, "nothing was synced");
/// }
/// let stats = sync.stop();
/// assert_eq!((stats.synced, stats.errors), (1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mirror {
    questions: tokio_mpsc::Sender<Question>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked. It answers with what was done.
#[derive(Debug)]
struct Question {
    stop: bool,
    answer: mpsc::SyncSender<MirrorStats>,
}

/// Why a sync cannot be started.
#[derive(Debug)]
pub struct StartMirrorError(Why);

#[derive(Debug)]
enum Why {
    Configuration(String),
    NothingMirrored(String),
    DataDir(DataDirError),
    Mirror(MirrorError),
    Thread(std::io::Error),
    Died,
}

impl fmt::Display for StartMirrorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Configuration(said) => f.write_str(said),
            Why::NothingMirrored(file) => {
                write!(f, "{file} mirrors no directory: it has no [[sync.dirs]]")
            }
            Why::DataDir(error) => error.fmt(f),
            Why::Mirror(error) => error.fmt(f),
            Why::Thread(_) => f.write_str("the sync's thread cannot be started"),
            Why::Died => f.write_str("the sync's thread died while it started"),
        }
    }
}

impl std::error::Error for StartMirrorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Why::Configuration(_) | Why::NothingMirrored(_) | Why::Died => None,
            Why::DataDir(error) => error.source(),
            Why::Mirror(error) => error.source(),
            Why::Thread(error) => Some(error),
        }
    }
}

impl Mirror {
    /// Starts it. The environment's `SUPABASE_…` are read as the program reads them.
    ///
    /// # Errors
    /// Where the configuration is bad (with all its mistakes) or mirrors nothing, where a
    /// supervisor has the data directory, where the target is not known or the record cannot be
    /// read.
    pub fn start(config: impl AsRef<Path>) -> Result<Self, StartMirrorError> {
        Self::start_with(config, None)
    }

    /// The same, with a log for the lines that users of the sync know; otherwise it is silent.
    ///
    /// # Errors
    /// As those of [`Mirror::start`].
    pub fn start_with(
        config: impl AsRef<Path>,
        log: Option<Logger>,
    ) -> Result<Self, StartMirrorError> {
        let failed = |why| StartMirrorError(why);
        let settings = config::load(config.as_ref(), &|name| std::env::var(name).ok())
            .map_err(|mistakes| failed(Why::Configuration(mistakes.render_for_stderr(true))))?;
        let Some(sync) = settings.sync.clone() else {
            let file = settings.file.display().to_string();
            return Err(failed(Why::NothingMirrored(file)));
        };
        let own = &settings.supervisor;
        let lock = lock_data_dir(&own.given_data_dir, &own.data_dir)
            .map_err(|error| failed(Why::DataDir(error)))?;
        let log = log.unwrap_or_else(|| Logger::root(slog::Discard, slog::o!()));
        let (questions, asked) = tokio_mpsc::channel(QUESTIONS);
        let (started, begun) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("sync".to_owned())
            .spawn(move || {
                let run = run(sync, lock, log, asked, started);
                actix_rt::System::new().block_on(run);
            })
            .map_err(|error| failed(Why::Thread(error)))?;
        match begun.recv() {
            Ok(Ok(())) => Ok(Self {
                questions,
                thread: Some(thread),
            }),
            Ok(Err(error)) => Err(failed(Why::Mirror(error))),
            Err(_) => Err(failed(Why::Died)),
        }
    }

    /// What was done since the start.
    #[must_use]
    pub fn stats(&self) -> MirrorStats {
        self.ask(false)
    }

    /// Ends it: what was edited last is put on record, and sent where the target takes it within
    /// five seconds. What is left the next start sends.
    #[must_use = "what was done is known only here"]
    pub fn stop(mut self) -> MirrorStats {
        let stats = self.ask(true);
        self.end();
        stats
    }

    fn ask(&self, stop: bool) -> MirrorStats {
        let (answer, answered) = mpsc::sync_channel(1);
        let question = Question { stop, answer };
        // A thread that died has done nothing that anybody could count.
        match self.questions.blocking_send(question) {
            Ok(()) => answered.recv().unwrap_or_default(),
            Err(_) => MirrorStats::default(),
        }
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic in there has been said by itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.ask(true);
            self.end();
        }
    }
}

impl From<Totals> for MirrorStats {
    fn from(totals: Totals) -> Self {
        Self {
            synced: totals.synced,
            skipped: totals.skipped,
            errors: totals.errors,
        }
    }
}

/// The thread's work, until it is told to stop or nobody can tell it any more.
async fn run(
    sync: SyncSettings,
    lock: DataDirLock,
    log: Logger,
    mut asked: tokio_mpsc::Receiver<Question>,
    started: mpsc::SyncSender<Result<(), MirrorError>>,
) {
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    let mode = Mode {
        continuous: true,
        dry_run: false,
    };
    let calls = HttpCalls::default();
    let setup = match mirror::setup(&sync, lock.path(), &calls, &clock, mode) {
        Ok(setup) => setup,
        Err(error) => {
            // Who started it waits for that.
            let _ = started.send(Err(error));
            return;
        }
    };
    mirror::announce(&sync, mode, &log);
    let store = SqliteStore::new(
        lock.path(),
        crate::config::HistorySettings::default().keep,
        Arc::clone(&clock),
    );
    let store: Box<dyn Store> = Box::new(store);
    let alone = Alone::start(setup, clock, Some(store), &log);
    let _ = started.send(Ok(()));
    let mut last = None;
    while let Some(question) = asked.recv().await {
        if question.stop {
            last = Some(question.answer);
            break;
        }
        let totals = alone.sync.totals().await.unwrap_or_default();
        // Who asked may have been killed meanwhile.
        let _ = question.answer.send(totals.into());
    }
    let totals = mirror::stop(&alone.sync, &log).await;
    alone.end().await;
    if let Some(answer) = last {
        let _ = answer.send(totals.into());
    }
}
