//! The archive: everything that must survive us goes to the database through here.
//!
//! ```text
//!            Record ──▶ queue ── commit ──▶ in flight ──▶ acknowledged
//!                         ▲                     │
//!                         └── what failed ◀─────┘   refused to those who wait; tried again
//! ```
//!
//! One transaction is under way at a time, on a blocking thread; what comes meanwhile queues
//! and goes together with the next (group commit). When a transaction fails, those who wait
//! are told so at once, memories are kept (the last of each service), events are kept up to
//! [`MAX_EVENTS`], and it is tried again after a growing pause. When it succeeds again the
//! history gets an event that says where it has a gap. Supervision does not depend on any of
//! it: the supervisor never waits for the archive once it has begun.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, ResponseFuture};
use slog::{error, info};
use tokio::sync::{Semaphore, oneshot};

use supervisor_core::event::{Change, EventKind};
use supervisor_core::time::Mono;
use supervisor_core::{Level, ServiceName, Timestamp};

use crate::feed::News;
use crate::guardian::{Guard, Guarded, Subject, guarded, guarded_start, text_of};
use crate::handle::InformError;
use crate::internal::PULSE;
use crate::messages::{
    Ack, Committed, DeleteHistory, GetEvents, GetRuns, Load, NewEvent, NewRun, Noticed, Record,
    SelfPulse, Storage,
};
use crate::ports::{Batch, Bygone, EventRow, RunRow, Store, StoreError};

/// How many events are kept while the database cannot be written; the oldest go first.
const MAX_EVENTS: usize = 10_000;
/// How many runs are kept so: each may have 10 kB of output.
const MAX_RUNS: usize = 500;
/// How many services that are to be forgotten are kept so long; what is beyond that is
/// remembered until it registers and leaves again.
const MAX_FORGET: usize = 10_000;
/// How many events go into one transaction at most, so that one who waits does not wait long.
const BATCH: usize = 4_096;
/// The pause before a failed transaction is tried again, at first …
const RETRY_MIN: Duration = Duration::from_millis(500);
/// … and at most.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How many read requests may use the database besides the transaction. The others wait
/// without a thread of their own.
const READERS: usize = 1;

/// Writes and reads what is recorded.
pub(crate) struct Archive {
    guard: Guard,
    store: Arc<Mutex<Box<dyn Store>>>,
    readers: Arc<Semaphore>,
    /// In order.
    events: Vec<NewEvent>,
    /// Who is forgotten before the memories are written.
    forget: HashSet<ServiceName>,
    /// In order.
    runs: Vec<NewRun>,
    memories: HashMap<ServiceName, String>,
    acks: Vec<Ack>,
    /// Who waits for the transaction under way; `None` if there is none.
    in_flight: Option<Vec<Ack>>,
    /// Who asked for all memories while a transaction was under way.
    loads: Vec<oneshot::Sender<Loaded>>,
    outage: Option<Outage>,
}

/// What services remember, as JSON by name.
type Loaded = Result<Vec<(String, String)>, StoreError>;

/// A time in which the database could not be written.
#[derive(Debug)]
struct Outage {
    since: Timestamp,
    began: Mono,
    why: StoreError,
    /// The pause before the next attempt.
    pause: Duration,
    /// Messages that were refused to those who waited.
    refused: u64,
    /// Events that did not fit any more.
    lost: u64,
    /// Runs that did not fit any more.
    lost_runs: u64,
    /// Whether the next attempt has its timer.
    retrying: bool,
}

impl Archive {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            store: Arc::clone(&guard.world().store),
            guard,
            readers: Arc::new(Semaphore::new(READERS)),
            events: Vec::new(),
            forget: HashSet::new(),
            runs: Vec::new(),
            memories: HashMap::new(),
            acks: Vec::new(),
            in_flight: None,
            loads: Vec::new(),
            outage: None,
        }
    }

    fn take(&mut self, record: Record, context: &mut Context<Self>) {
        self.events.extend(record.events);
        for name in record.forget {
            self.memories.remove(&name);
            if self.forget.len() < MAX_FORGET {
                self.forget.insert(name);
            }
        }
        self.runs.extend(record.runs);
        self.memories.extend(record.memories);
        match &mut self.outage {
            Some(outage) if !record.last && (outage.retrying || self.in_flight.is_some()) => {
                // The next attempt is at most a few seconds away; nobody waits for it, and a
                // full disk is not asked again for every message.
                outage.refused += record.acks.len() as u64;
                for ack in record.acks {
                    ack.tell(Err(InformError::NotRecorded(outage.why.clone())));
                }
                outage.lost += drop_oldest(&mut self.events, MAX_EVENTS);
                outage.lost_runs += drop_oldest(&mut self.runs, MAX_RUNS);
            }
            Some(_) | None => {
                self.acks.extend(record.acks);
                self.commit(context);
            }
        }
    }

    /// Begins a transaction, unless one is under way or there is nothing to write.
    fn commit(&mut self, context: &mut Context<Self>) {
        let nothing = self.events.is_empty()
            && self.forget.is_empty()
            && self.runs.is_empty()
            && self.memories.is_empty()
            && self.acks.is_empty();
        if self.in_flight.is_some() || nothing {
            return;
        }
        let some = self.events.len().min(BATCH);
        let batch = Batch {
            events: self.events.drain(..some).collect(),
            forget: self.forget.drain().collect(),
            // At most what its senders may have under way, and what an outage has left.
            runs: std::mem::take(&mut self.runs),
            memories: self.memories.drain().collect(),
        };
        // Those who wait for an event beyond this batch wait for the next one: an
        // acknowledgement must not come before the commit that holds it.
        let acks = if self.events.is_empty() {
            std::mem::take(&mut self.acks)
        } else {
            Vec::new()
        };
        self.in_flight = Some(acks);
        let store = Arc::clone(&self.store);
        let address = context.address();
        let task = actix_rt::task::spawn_blocking(move || {
            let result = on_store(&store, &address, |store| store.commit(&batch));
            // Bounded: one transaction is under way at a time.
            address.do_send(Committed { batch, result });
        });
        // The message above is how it ends; a panic of the store is caught inside.
        drop(task);
    }

    fn committed(&mut self, done: Committed, context: &mut Context<Self>) {
        let waiting = self.in_flight.take().unwrap_or_default();
        match done.result {
            Ok(first) => {
                self.show(first, &done.batch.events);
                for ack in waiting {
                    ack.tell(Ok(()));
                }
                if let Some(outage) = self.outage.take() {
                    self.recovered(&outage);
                }
            }
            Err(why) => self.failed(done.batch, waiting, why, context),
        }
        // With the queue as it is before the next transaction takes it: reading before or
        // after that one makes no difference then.
        for asker in std::mem::take(&mut self.loads) {
            self.load(asker, context.address());
        }
        if self.outage.is_none() {
            self.commit(context);
        }
    }

    /// Shows what has been recorded to whoever looks on.
    fn show(&self, first: i64, events: &[NewEvent]) {
        let feed = &self.guard.world().feed;
        if !feed.is_on() {
            return;
        }
        let rows = (first..).zip(events);
        feed.tell(rows.map(|(id, event)| News::Event(Box::new(EventRow::of(id, event)))));
    }

    /// Reads what services remember, as it was written or is about to be.
    fn load(&self, asker: oneshot::Sender<Loaded>, address: Addr<Self>) {
        // What waits to be written is younger than what is.
        let (forget, pending) = (self.forget.clone(), self.memories.clone());
        let store = Arc::clone(&self.store);
        let task = actix_rt::task::spawn_blocking(move || {
            let read = on_store(&store, &address, |store| store.load());
            let loaded = read.map(|rows| {
                let mut rows: HashMap<String, String> = rows.into_iter().collect();
                rows.retain(|name, _| !forget.contains(name.as_str()));
                rows.extend(
                    pending
                        .into_iter()
                        .map(|(name, memory)| (name.into(), memory)),
                );
                rows.into_iter().collect()
            });
            // An asker who is gone has been rebuilt and asks again.
            drop(asker.send(loaded));
        });
        // The answer above is how it ends.
        drop(task);
    }

    fn failed(
        &mut self,
        batch: Batch,
        waiting: Vec<Ack>,
        why: StoreError,
        context: &mut Context<Self>,
    ) {
        let world = Rc::clone(self.guard.world());
        let acks = waiting.into_iter().chain(self.acks.drain(..));
        let mut refused = 0;
        for ack in acks {
            ack.tell(Err(InformError::NotRecorded(why.clone())));
            refused += 1;
        }
        for (name, memory) in batch.memories {
            // A younger one may have come meanwhile, or it is to be forgotten now.
            if !self.forget.contains(&name) {
                self.memories.entry(name).or_insert(memory);
            }
        }
        self.forget.extend(batch.forget);
        self.events.splice(0..0, batch.events);
        self.runs.splice(0..0, batch.runs);
        let first = self.outage.is_none();
        if self.outage.as_ref().is_none_or(|outage| outage.why != why) {
            error!(world.log, "storage unavailable"; "error" => %why);
            // Bounded: one per change.
            world.supervisor.tell(Storage(Err(why.to_string())));
        }
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: world.ports.clock.wall(),
            began: world.ports.clock.mono(),
            why: why.clone(),
            pause: RETRY_MIN,
            refused: 0,
            lost: 0,
            lost_runs: 0,
            retrying: false,
        });
        outage.retrying = true;
        outage.refused += refused;
        outage.lost += drop_oldest(&mut self.events, MAX_EVENTS);
        outage.lost_runs += drop_oldest(&mut self.runs, MAX_RUNS);
        outage.why = why;
        if !first {
            outage.pause = (outage.pause * 2).min(RETRY_MAX);
        }
        let pause = outage.pause;
        context.run_later(pause, |actor, context| {
            guarded(actor, context, |actor, context| {
                if let Some(outage) = &mut actor.outage {
                    outage.retrying = false;
                }
                actor.commit(context);
            });
        });
    }

    /// The database takes records again: the history says what it lacks.
    fn recovered(&mut self, outage: &Outage) {
        let world = self.guard.world();
        let lasted = world.ports.clock.mono().since(outage.began);
        info!(world.log, "storage available again";
            "after_s" => lasted.as_secs_f64(), "events_lost" => outage.lost,
            "runs_lost" => outage.lost_runs,
            "messages_refused" => outage.refused);
        let reason = format!(
            "the database could not be written for {:.1} s since {} ({}): {} messages were refused, {} events and {} runs are lost",
            lasted.as_secs_f64(),
            outage.since.rfc3339(),
            outage.why,
            outage.refused,
            outage.lost,
            outage.lost_runs,
        );
        self.events.push(NewEvent {
            time: world.ports.clock.wall(),
            service: crate::internal::name(Subject::Archive),
            change: Change {
                kind: EventKind::Supervisor,
                from: Some("unavailable"),
                to: Some("gap"),
                reason,
                level: Level::Warning,
            },
        });
        // Bounded: one per change.
        world.supervisor.tell(Storage(Ok(())));
    }

    /// What the store wants people to know, such as a damaged database, goes into the log and
    /// the history.
    fn noticed(&mut self, notices: Vec<String>, context: &mut Context<Self>) {
        let world = Rc::clone(self.guard.world());
        let events = notices.into_iter().map(|notice| {
            error!(world.log, "storage notice"; "notice" => &notice);
            NewEvent {
                time: world.ports.clock.wall(),
                service: crate::internal::name(Subject::Archive),
                change: Change {
                    kind: EventKind::Supervisor,
                    from: None,
                    to: None,
                    reason: notice,
                    level: Level::Warning,
                },
            }
        });
        let record = Record {
            events: events.collect(),
            ..Record::default()
        };
        self.take(record, context);
    }

    /// Whether records reach the disk, as far as is known.
    fn say_health(&self) {
        let health = match &self.outage {
            Some(outage) => Err(outage.why.to_string()),
            None => Ok(()),
        };
        // Bounded: one per rebuild of this actor or the supervisor.
        self.guard.world().supervisor.tell(Storage(health));
    }

    fn pulse(&mut self, context: &mut Context<Self>) {
        // Bounded: one each ten seconds.
        self.guard
            .world()
            .supervisor
            .tell(SelfPulse(Subject::Archive));
        context.run_later(PULSE, |actor, context| {
            guarded(actor, context, Self::pulse);
        });
    }
}

/// Cuts a queue to its bound; how many went.
fn drop_oldest<T>(queue: &mut Vec<T>, most: usize) -> u64 {
    let excess = queue.len().saturating_sub(most);
    queue.drain(..excess);
    excess as u64
}

/// Uses the store on a blocking thread, and passes on what it noticed. A store that panics has
/// failed; it is used again, for its transaction was dropped, that is, rolled back.
fn on_store<R>(
    store: &Mutex<Box<dyn Store>>,
    archive: &Addr<Archive>,
    use_it: impl FnOnce(&mut dyn Store) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    let used = AssertUnwindSafe(|| {
        let result = use_it(&mut **store);
        (result, store.notices())
    });
    match catch_unwind(used) {
        Ok((result, notices)) => {
            if !notices.is_empty() {
                // Bounded: a few at most for each use of the store.
                archive.do_send(Noticed(notices));
            }
            result
        }
        Err(payload) => Err(StoreError::Unavailable(format!(
            "its code panicked: {}",
            text_of(&*payload)
        ))),
    }
}

impl Actor for Archive {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            // An outage that the one before it knew of is found anew, or is over.
            actor.say_health();
            actor.pulse(context);
        });
    }
}

impl Guarded for Archive {
    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl Handler<Record> for Archive {
    type Result = ();

    fn handle(&mut self, record: Record, context: &mut Self::Context) {
        guarded(self, context, |actor, context| actor.take(record, context));
    }
}

impl Handler<Committed> for Archive {
    type Result = ();

    fn handle(&mut self, done: Committed, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.committed(done, context);
        });
    }
}

impl Handler<Noticed> for Archive {
    type Result = ();

    fn handle(&mut self, Noticed(notices): Noticed, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.noticed(notices, context);
        });
    }
}

impl Handler<Load> for Archive {
    type Result = ResponseFuture<Loaded>;

    fn handle(&mut self, _: Load, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            // It is a new supervisor that asks.
            actor.say_health();
            let (asker, answer) = oneshot::channel();
            if actor.in_flight.is_some() {
                actor.loads.push(asker);
            } else {
                actor.load(asker, context.address());
            }
            Box::pin(async { answer.await.unwrap_or(Err(StoreError::NoArchive)) })
        })
    }
}

impl Handler<DeleteHistory> for Archive {
    type Result = ResponseFuture<Result<u64, StoreError>>;

    fn handle(&mut self, wanted: DeleteHistory, context: &mut Self::Context) -> Self::Result {
        let address = context.address();
        let store = Arc::clone(&self.store);
        let readers = Arc::clone(&self.readers);
        let now = self.guard.world().ports.clock.wall();
        Box::pin(async move {
            // Both awaits may be cancelled: the first gives its place back, what the second
            // waits for goes on by itself to its end.
            let place = readers.acquire_owned().await;
            let place = place.map_err(|_| StoreError::NoArchive)?;
            actix_rt::task::spawn_blocking(move || {
                let deleted = delete_history(&store, &address, &wanted);
                if let Ok(records @ 1..) = deleted {
                    // Bounded: by what there was.
                    address.do_send(told_of_deletion(&wanted, records, now));
                }
                drop(place);
                deleted
            })
            .await
            .map_err(|_| StoreError::NoArchive)?
        })
    }
}

/// Deletes step by step, and lets others use the store in between.
fn delete_history(
    store: &Mutex<Box<dyn Store>>,
    archive: &Addr<Archive>,
    wanted: &DeleteHistory,
) -> Result<u64, StoreError> {
    let mut bygone = Bygone {
        service: wanted.service.clone(),
        before: wanted.before,
        from: 0,
    };
    let mut records = 0;
    loop {
        let step = on_store(store, archive, |store| store.delete(&bygone))?;
        records += step.records;
        match step.next {
            Some(next) => bygone.from = next,
            None => return Ok(records),
        }
    }
}

/// What the history says of what it no longer has. It is told of us, not of the service: the
/// service itself can delete what is told of it.
fn told_of_deletion(wanted: &DeleteHistory, records: u64, now: Timestamp) -> Record {
    let DeleteHistory { service, before } = wanted;
    let before = before.rfc3339();
    Record {
        events: vec![NewEvent {
            time: now,
            service: crate::internal::name(Subject::Archive),
            change: Change {
                kind: EventKind::Supervisor,
                from: None,
                to: None,
                reason: format!(
                    "{records} events and runs of {service} before {before} deleted on request"
                ),
                level: Level::Healthy,
            },
        }],
        ..Record::default()
    }
}

impl Archive {
    /// Reads on a blocking thread, when it is this reader's turn.
    fn read<R: Send + 'static>(
        &self,
        address: Addr<Self>,
        read: impl FnOnce(&mut dyn Store) -> Result<R, StoreError> + Send + 'static,
    ) -> ResponseFuture<Result<R, StoreError>> {
        let store = Arc::clone(&self.store);
        let readers = Arc::clone(&self.readers);
        Box::pin(async move {
            // Both awaits may be cancelled: a reader who went away gives its place back.
            let _place = readers.acquire().await.map_err(|_| StoreError::NoArchive)?;
            actix_rt::task::spawn_blocking(move || on_store(&store, &address, read))
                .await
                .map_err(|_| StoreError::NoArchive)?
        })
    }
}

impl Handler<GetEvents> for Archive {
    type Result = ResponseFuture<Result<Vec<EventRow>, StoreError>>;

    fn handle(&mut self, GetEvents(query): GetEvents, context: &mut Self::Context) -> Self::Result {
        self.read(context.address(), move |store| store.events(&query))
    }
}

impl Handler<GetRuns> for Archive {
    type Result = ResponseFuture<Result<Vec<RunRow>, StoreError>>;

    fn handle(&mut self, GetRuns(query): GetRuns, context: &mut Self::Context) -> Self::Result {
        self.read(context.address(), move |store| store.runs(&query))
    }
}
