//! `data_dir/history.db`: how services were, minute by minute, for ever coarser.
//!
//! ```text
//!   Supervisor ── a minute of all services ──▶ queue ──▶ thread ──▶ open
//!                                                            when the hour has ended │
//!                    7 days ◀── minutes, a row an hour and service ◀─────────────────┤
//!                    1 year ◀── hours ◀──────────────────────────────────────────────┘
//!                  for ever ◀── days, when the day has ended
//! ```
//!
//! A file and a thread of its own, so that nothing here is ever in the way of what services
//! must remember. The queue is bounded: a minute that finds no room, or cannot be written, is
//! lost, and the history says since when, until when and why.

mod book;
mod read;
mod schema;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use slog::{Logger, error, info, warn};
use tokio::sync::oneshot;

use supervisor_actors::ports::history::{History, HistoryQuery, Minutes, Page};
use supervisor_actors::ports::{Clock, StoreError};
use supervisor_core::{ServiceName, Timestamp};

use self::book::Book;

/// How many jobs may wait: minutes, and those who read.
const QUEUE: usize = 64;
/// How long the end of the program waits for the last minute to be written.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    /// Minute by minute.
    pub(crate) minutes: Duration,
    /// Hour by hour. Days are kept for ever.
    pub(crate) hours: Duration,
}

/// The history, from any thread.
pub(crate) struct HistoryDatabase {
    jobs: SyncSender<Job>,
    /// What found no room in the queue: since when and until when.
    lost: Arc<Mutex<Option<(Timestamp, Timestamp)>>>,
    /// It is said that its thread is no more.
    over: AtomicBool,
    log: Logger,
}

enum Job {
    Keep(Minutes),
    Read(HistoryQuery, oneshot::Sender<Result<Page, StoreError>>),
    Delete(
        ServiceName,
        Timestamp,
        oneshot::Sender<Result<u64, StoreError>>,
    ),
    Finish(SyncSender<()>),
}

impl HistoryDatabase {
    /// The history of this data directory. Nothing is touched before the first minute or reader.
    ///
    /// # Errors
    /// Where its thread cannot be started.
    pub(crate) fn new(
        data_dir: &Path,
        keep: Keep,
        clock: Arc<dyn Clock>,
        log: Logger,
    ) -> std::io::Result<Self> {
        let (jobs, todo) = sync_channel(QUEUE);
        let lost = Arc::default();
        let desk = Desk {
            book: Book::new(data_dir, keep, clock),
            lost: Arc::clone(&lost),
            log: log.clone(),
            trouble: String::new(),
        };
        std::thread::Builder::new()
            .name("history".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || desk.run(&todo))?;
        Ok(Self {
            jobs,
            lost,
            over: AtomicBool::new(false),
            log,
        })
    }

    /// Waits until all that was to be kept is written, but not for ever.
    pub(crate) fn finish(&self) {
        let (done, wait) = sync_channel(1);
        // A full queue is that of a disk that does not answer.
        if self.jobs.try_send(Job::Finish(done)).is_ok() && wait.recv_timeout(PATIENCE).is_err() {
            warn!(
                self.log,
                "the last minute of the history is not written in time, it is lost"
            );
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.try_send(job(reply));
        async move {
            match sent {
                Ok(()) => answer.await.unwrap_or(Err(StoreError::NoArchive)),
                Err(TrySendError::Full(_)) => Err(StoreError::Busy),
                Err(TrySendError::Disconnected(_)) => Err(StoreError::NoArchive),
            }
        }
        .boxed()
    }
}

impl History for HistoryDatabase {
    fn keep(&self, minutes: Minutes) {
        let (since, until) = (minutes.since, minutes.until);
        match self.jobs.try_send(Job::Keep(minutes)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
                let since = lost.map_or(since, |(before, _)| before);
                *lost = Some((since, until));
                warn!(
                    self.log,
                    "a minute of the history is lost, the disk does not keep up"
                );
            }
            Err(TrySendError::Disconnected(_)) => {
                if !self.over.swap(true, Ordering::Relaxed) {
                    error!(
                        self.log,
                        "history is kept no longer, its thread has ended; only a restart of the supervisor brings it back"
                    );
                }
            }
        }
    }

    fn read(&self, query: HistoryQuery) -> BoxFuture<'static, Result<Page, StoreError>> {
        self.ask(|reply| Job::Read(query, reply))
    }

    fn delete(
        &self,
        service: ServiceName,
        before: Timestamp,
    ) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.ask(|reply| Job::Delete(service, before, reply))
    }
}

/// What the thread does.
struct Desk {
    book: Book,
    lost: Arc<Mutex<Option<(Timestamp, Timestamp)>>>,
    log: Logger,
    /// What was last said to be wrong.
    trouble: String,
}

impl Desk {
    fn run(mut self, todo: &Receiver<Job>) {
        while let Ok(job) = todo.recv() {
            let minute = match &job {
                Job::Keep(minutes) => Some((minutes.since, minutes.until)),
                Job::Read(..) | Job::Delete(..) | Job::Finish(_) => None,
            };
            // What the job held is gone with it. The book is whole: its connection is closed,
            // and what was not committed is as if it had never been.
            let done = catch_unwind(AssertUnwindSafe(|| self.job(job)));
            if done.is_err() {
                self.failed(minute);
            }
            for notice in self.book.notices() {
                error!(self.log, "history notice"; "notice" => notice);
            }
        }
    }

    fn job(&mut self, job: Job) {
        match job {
            Job::Keep(minutes) => {
                let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((since, until)) = lost.take() {
                    self.book.lack(since, until, "the disk did not keep up");
                }
                drop(lost);
                let kept = self.book.keep(&minutes);
                self.say(kept);
            }
            // Those who gave up waiting do not hold up those who still wait.
            Job::Read(_, reply) if reply.is_closed() => {}
            // One who asks no longer is told nothing.
            Job::Read(query, reply) => drop(reply.send(self.book.read(&query))),
            Job::Delete(service, before, reply) => {
                drop(reply.send(self.book.delete(&service, before)));
            }
            Job::Finish(done) => {
                // Somebody waits for it, or no longer.
                let _ = done.send(());
            }
        }
    }

    /// A fault of ours ended a job, and the log says where: it must not end the history.
    fn failed(&mut self, minute: Option<(Timestamp, Timestamp)>) {
        let Some((since, until)) = minute else {
            // Who asked for it hears that there is no answer.
            return;
        };
        let why = "a fault of the supervisor's own";
        self.book.lack(since, until, why);
        self.say(Err(StoreError::Unavailable(why.to_owned())));
    }

    /// Says what is wrong when that changes.
    fn say(&mut self, kept: Result<(), StoreError>) {
        let trouble = kept.err().map_or_else(String::new, |why| why.to_string());
        if trouble == self.trouble {
            return;
        }
        if trouble.is_empty() {
            info!(self.log, "history is kept again");
        } else {
            error!(self.log, "history cannot be kept"; "error" => &trouble);
        }
        self.trouble = trouble;
    }
}
