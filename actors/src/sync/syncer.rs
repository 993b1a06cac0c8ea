//! The Syncer: sends what is due, and takes off the record what the target has taken.
//!
//! ```text
//!   begin ──▶ meet the target: is it the one that the manifest speaks of?
//!               │ no: forget the manifest, walk, compare with what it holds
//!               ▼
//!   Wake ──▶ fetch tasks ──▶ a lane: read the files, send the batch ──▶ settle ──▶ again
//!               ▲                      4 at a time, no row twice          │
//!               └─────────── resting: the target said "not now" ◀─────────┘
//! ```
//!
//! - `lane`: one batch from its files to the target's answers;
//! - `settle`: what follows from them, on record;
//! - `meet`: which target it is, and what it holds already;
//! - `answer`: what others ask.

mod answer;
mod lane;
mod meet;
mod settle;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext, Context, Handler, SpawnHandle, WrapFuture as _,
};
use slog::{error, info, warn};
use tokio::sync::oneshot;

use supervisor_core::Level;
use supervisor_core::alert::Lasting;
use supervisor_core::event::{Change, EventKind};
use supervisor_core::sync::batch::{Batch, Pace, rows};
use supervisor_core::sync::outbox::brakes;
use supervisor_core::sync::{Gate, OnDelete, Pending, State};
use supervisor_core::time::Mono;

use crate::guardian::{Guard, Guarded, Subject, guarded, guarded_start};
use crate::internal::{self, PULSE};
use crate::messages::{NewEvent, OwnTrouble, Record, SelfPulse, Trouble};
use crate::ports::StoreError;
use crate::ports::ledger::{Counts, Ledger, Which};

use super::Hall;
use super::desk::blocking;
use super::messages::{Drain, LedgerState, Rescan, Scanned, Wake};

use meet::Meeting;

/// How many batches are under way at once.
const LANES: usize = 4;
/// How many tasks are fetched at once: enough for all lanes, and for those that must wait for
/// a row in flight.
const FETCH: u32 = 1_000;
/// Deletions of the last so long count for the brake.
const RECENT: Duration = Duration::from_secs(60);
/// After so long the ledger is asked again that could not be used.
const PAUSE: Duration = Duration::from_secs(2);
/// How often it is seen whether the target is still the one that it was.
const MEET: Duration = Duration::from_secs(60);
/// Whoever waits until all is sent waits no longer when the target has said "not now" so often
/// in a row.
const PATIENCE: u32 = 3;

/// See the module's page.
pub(crate) struct Syncer {
    guard: Guard,
    meeting: Meeting,
    gate: Gate,
    pace: Pace,
    /// Whether the target has ever taken anything: until then one batch goes at a time.
    proven: bool,
    /// Batches under way.
    lanes: usize,
    /// Rows in flight, by table and key.
    busy: HashMap<(String, String), ()>,
    /// How often tasks have failed, by number: only those that have.
    failures: HashMap<u64, u32>,
    /// Tasks fetched and not yet sent, by number.
    fetched: VecDeque<Pending>,
    /// Whether tasks are being fetched.
    fetching: bool,
    /// Whether there may be tasks that are not fetched.
    more: bool,
    /// Tasks that do not go though others do, until when: their rows are busy.
    resting: Vec<(Mono, Pending)>,
    /// Whether whole tables, or the whole target, may be parked.
    parked_wide: bool,
    /// Whether the number of parked rows may have changed.
    parked_dirty: bool,
    /// Deletions done, and when: for the brake.
    removed: VecDeque<(Mono, String, u64)>,
    /// Why the ledger cannot be used.
    broken: Option<String>,
    /// What is wrong, as it was told last.
    trouble: Option<String>,
    /// What waits for people, as it was told last.
    waiting: Option<String>,
    timer: Option<SpawnHandle>,
    /// Who waits until all is sent.
    draining: Vec<oneshot::Sender<()>>,
    /// The ledger's epoch that we know.
    epoch: Option<u64>,
}

/// What was fetched.
struct Fetched {
    tasks: Vec<Pending>,
    /// Tables whose deletions were held just now, with how many of how many.
    held: Vec<(String, u64, u64)>,
}

impl Syncer {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard,
            meeting: Meeting::default(),
            gate: Gate::default(),
            pace: Pace::default(),
            proven: false,
            lanes: 0,
            busy: HashMap::new(),
            failures: HashMap::new(),
            fetched: VecDeque::new(),
            fetching: false,
            more: true,
            resting: Vec::new(),
            // Perhaps the one before us left some.
            parked_wide: true,
            parked_dirty: true,
            removed: VecDeque::new(),
            broken: None,
            trouble: None,
            waiting: None,
            timer: None,
            draining: Vec::new(),
            epoch: None,
        }
    }

    fn hall(&self) -> Rc<Hall> {
        self.guard.world().hall()
    }

    fn now(&self) -> Mono {
        self.guard.world().ports.clock.mono()
    }

    // --- what goes when ---

    /// Sends what may be sent now.
    fn pump(&mut self, context: &mut Context<Self>) {
        self.see_epoch();
        self.wake_resting();
        self.meet(context);
        let lanes = if self.proven { LANES } else { 1 };
        while self.meeting.is_over() && self.lanes < lanes && !self.fetched.is_empty() {
            let now = self.now();
            if !self.gate.pass(self.lanes, now) {
                break;
            }
            let Some(batch) = self.next_batch() else {
                self.gate.back(now);
                break;
            };
            self.send(batch, context);
        }
        // Few are left: the rest waits for rows in flight.
        if self.fetched.len() < LANES * self.pace.rows() {
            self.fetch(context);
        }
        self.arm(context);
        self.conclude();
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let tasks = self.fetched.make_contiguous();
        let busy = |table: &str, key: &str| {
            !self.busy.is_empty() && self.busy.contains_key(&(table.to_owned(), key.to_owned()))
        };
        let failures = |pending: &Pending| self.failures.get(&pending.seq).copied().unwrap_or(0);
        let batch = Batch::next(tasks, self.pace.rows(), &busy, &failures)?;
        for task in &batch.tasks {
            for key in rows(task) {
                self.busy.insert((task.table.clone(), key.to_owned()), ());
            }
        }
        let sent: std::collections::HashSet<u64> =
            batch.tasks.iter().map(|task| task.seq).collect();
        self.fetched.retain(|task| !sent.contains(&task.seq));
        Some(batch)
    }

    /// Gets tasks from the ledger, and holds deletions that are too many.
    fn fetch(&mut self, context: &mut Context<Self>) {
        if self.fetching || !self.more || !self.meeting.is_over() {
            return;
        }
        self.fetching = true;
        self.more = false;
        let hall = self.hall();
        let desk = hall.desk.clone();
        let removed = self.recently_removed();
        let removes = hall.spec.on_delete != OnDelete::Keep;
        let work = async move {
            blocking(move || {
                desk.transaction(false, |ledger| {
                    let held = if removes {
                        hold(ledger, &removed)?
                    } else {
                        Vec::new()
                    };
                    let tasks = ledger.tasks(&["due", "confirmed"], 0, FETCH)?;
                    Ok(Fetched { tasks, held })
                })
            })
            .await
        };
        context.spawn(work.into_actor(self).map(|fetched, actor, context| {
            guarded(actor, context, |actor, context| {
                actor.fetching = false;
                actor.fetched(fetched, context);
            });
        }));
    }

    fn fetched(&mut self, fetched: Result<Fetched, StoreError>, context: &mut Context<Self>) {
        match fetched {
            Ok(Fetched { tasks, held }) => {
                self.ledger_state(Ok(()));
                for (table, rows, of) in held {
                    self.held(&table, rows, of);
                }
                // As it stands on record now: what was fetched before may have been replaced.
                let new = tasks.iter().any(|task| !self.is_busy(task));
                // Somebody has put more on record since this was read.
                let woken = self.more;
                self.more |= tasks.len() >= FETCH as usize;
                self.fetched = tasks.into();
                if new || woken {
                    self.pump(context);
                } else {
                    self.arm(context);
                    self.conclude();
                }
            }
            Err(why) => {
                self.more = true;
                self.ledger_state(Err(why.to_string()));
                context.run_later(PAUSE, |actor, context| {
                    guarded(actor, context, Self::pump);
                });
                self.conclude();
            }
        }
    }

    fn is_busy(&self, task: &Pending) -> bool {
        rows(task).any(|key| {
            self.busy
                .contains_key(&(task.table.clone(), key.to_owned()))
        })
    }

    fn recently_removed(&mut self) -> HashMap<String, u64> {
        let now = self.now();
        while self
            .removed
            .front()
            .is_some_and(|(at, _, _)| now.since(*at) > RECENT)
        {
            self.removed.pop_front();
        }
        let mut sums: HashMap<String, u64> = HashMap::new();
        for (_, table, rows) in &self.removed {
            *sums.entry(table.clone()).or_default() += rows;
        }
        sums
    }

    /// Too many deletions at once: somebody must confirm them.
    fn held(&mut self, table: &str, rows: u64, of: u64) {
        let reason = format!(
            "{rows} of {of} rows of {table} would be deleted at once: they wait for `supervisor sync confirm`"
        );
        warn!(self.guard.world().log, "sync: {reason}"; "table" => table);
        self.parked_dirty = true;
        self.tell_event(reason, Level::Warning);
    }

    /// Tasks that have rested may go again.
    fn wake_resting(&mut self) {
        let now = self.now();
        let busy = &mut self.busy;
        self.resting.retain(|(until, task)| {
            let rests = *until > now;
            if !rests {
                for key in rows(task) {
                    busy.remove(&(task.table.clone(), key.to_owned()));
                }
            }
            rests
        });
    }

    /// Wakes us when the target may be asked again.
    fn arm(&mut self, context: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        let resting = self.resting.iter().map(|(until, _)| *until);
        // What has passed already has been tried: there is nothing to send.
        let now = self.now();
        let until = resting
            .chain(self.gate.until())
            .filter(|until| *until > now)
            .min();
        let Some(until) = until else {
            return;
        };
        let wait = until.since(now);
        let timer = context.run_later(wait, |actor, context| {
            guarded(actor, context, |actor, context| {
                actor.timer = None;
                actor.more = true;
                actor.pump(context);
            });
        });
        self.timer = Some(timer);
    }

    /// How long nothing is sent, in seconds; for the log.
    fn rests_for(&self) -> f64 {
        let until = self.gate.until();
        let rest = until.map_or(Duration::ZERO, |until| until.since(self.now()));
        (rest.as_secs_f64() * 1_000.0).round() / 1_000.0
    }

    /// Tells who waits that there is nothing more to wait for.
    fn conclude(&mut self) {
        if self.draining.is_empty() || self.lanes > 0 || self.fetching {
            return;
        }
        let gives_up = self
            .gate
            .trouble()
            .is_some_and(|(_, failures)| failures >= PATIENCE)
            || self.broken.is_some()
            || self.meeting.is_refused(PATIENCE);
        // Without lanes only those are busy that rest.
        let nothing = self.meeting.is_over()
            && !self.more
            && self.fetched.iter().all(|task| self.is_busy(task));
        if gives_up || nothing {
            for who in self.draining.drain(..) {
                // Who asked may be gone.
                let _ = who.send(());
            }
        }
    }

    // --- how it is with the ledger ---

    fn ledger_state(&mut self, state: Result<(), String>) {
        let log = &self.guard.world().log;
        match state {
            Err(why) => {
                if self.broken.as_ref() != Some(&why) {
                    error!(log, "sync: the record cannot be used"; "why" => &why);
                    self.broken = Some(why);
                }
            }
            Ok(()) => {
                if self.broken.take().is_some() {
                    info!(log, "sync: the record can be used again");
                    self.more = true;
                }
            }
        }
        for notice in self.hall().desk.notices() {
            error!(self.guard.world().log, "sync: {notice}");
            self.tell_event(notice, Level::Warning);
        }
        self.see_epoch();
        self.tell_trouble();
    }

    /// A record that is begun anew knows nothing: everything is looked at, and compared with
    /// what the target holds.
    fn see_epoch(&mut self) {
        let hall = self.hall();
        let epoch = hall.desk.epoch();
        if epoch.is_some() && self.epoch.is_some() && self.epoch != epoch {
            self.meeting.again();
            self.fetched.clear();
            self.more = true;
            // Bounded: one for each record.
            hall.watcher.tell(Rescan {
                why: "the sync's record was begun anew".to_owned(),
                done: None,
            });
        }
        self.epoch = epoch.or(self.epoch);
    }

    // --- what others are told ---

    /// An event of ours, for the history.
    fn tell_event(&self, reason: String, level: Level) {
        let world = self.guard.world();
        let event = NewEvent {
            time: world.ports.clock.wall(),
            service: internal::name(Subject::Syncer),
            change: Change {
                kind: EventKind::Sync,
                from: None,
                to: None,
                reason,
                level,
            },
        };
        // Bounded: one for each thing that a person should know of.
        world.archive.tell(Record {
            events: vec![event],
            ..Record::default()
        });
    }

    /// What is wrong, for whoever is alerted, where that has changed.
    fn tell_trouble(&mut self) {
        let trouble = match (&self.broken, self.gate.trouble()) {
            (Some(why), _) => Some(format!("the sync's record cannot be used: {why}")),
            (None, Some((why, failures))) if failures >= PATIENCE => {
                Some(format!("the sync's target takes nothing: {why}"))
            }
            (None, _) => None,
        };
        if trouble == self.trouble {
            return;
        }
        let what = "sync";
        let own = match &trouble {
            Some(reason) => OwnTrouble::Is {
                what,
                level: Level::Degraded,
                reason: reason.clone(),
                lasts: Lasting::UntilOver,
            },
            None => OwnTrouble::Over { what },
        };
        // Bounded: one for each change.
        self.guard.world().supervisor.tell(Trouble(own));
        if let Some(reason) = &trouble {
            self.tell_event(reason.clone(), Level::Degraded);
        }
        self.trouble = trouble;
    }

    /// Tells whoever is alerted of parked rows, where their number may have changed.
    fn look_at_parked(&mut self, context: &mut Context<Self>) {
        if !std::mem::take(&mut self.parked_dirty) {
            return;
        }
        let desk = self.hall().desk.clone();
        let work = async move { blocking(move || desk.with(|ledger| ledger.counts())).await };
        context.spawn(work.into_actor(self).map(|counts, actor, context| {
            guarded(actor, context, |actor, _| {
                let Ok(counts) = counts else {
                    actor.parked_dirty = true;
                    return;
                };
                let sum = |part: fn(&Counts) -> u64| -> u64 { counts.iter().map(part).sum() };
                let (parked, held) = (sum(|counts| counts.parked), sum(|counts| counts.held));
                let reason = match (parked, held) {
                    (0, 0) => None,
                    (parked, 0) => Some(format!("{parked} rows of the sync are parked: see `supervisor sync status`")),
                    (0, held) => Some(format!("{held} deletions wait for `supervisor sync confirm`")),
                    (parked, held) => Some(format!("{parked} rows of the sync are parked, and {held} deletions wait for `supervisor sync confirm`")),
                };
                if reason == actor.waiting {
                    return;
                }
                let what = "sync rows";
                let own = match &reason {
                    Some(reason) => OwnTrouble::Is {
                        what,
                        level: Level::Warning,
                        reason: reason.clone(),
                        lasts: Lasting::UntilOver,
                    },
                    None => OwnTrouble::Over { what },
                };
                // Bounded: one for each change, and one each ten seconds at most.
                actor.guard.world().supervisor.tell(Trouble(own));
                actor.waiting = reason;
            });
        }));
    }

    fn pulse(&mut self, context: &mut Context<Self>) {
        // Bounded: one each ten seconds.
        self.guard
            .world()
            .supervisor
            .tell(SelfPulse(Subject::Syncer));
        context.run_later(PULSE, |actor, context| {
            guarded(actor, context, |actor, context| {
                actor.look_in(context);
                actor.look_at_parked(context);
                actor.pulse(context);
            });
        });
    }
}

/// Holds the deletions of tables of which too many would go at once.
fn hold(
    ledger: &mut dyn Ledger,
    removed: &HashMap<String, u64>,
) -> Result<Vec<(String, u64, u64)>, StoreError> {
    let mut all = Vec::new();
    for counts in ledger.counts()? {
        if counts.removals == 0 {
            continue;
        }
        let recent = removed.get(&counts.table).copied().unwrap_or(0);
        let removals = counts.removals + counts.held + recent;
        // Before them: what waits to be deleted is still among the rows.
        let rows = counts.rows + recent;
        if brakes(removals, rows) {
            let which = Which::Removals {
                table: counts.table.clone(),
            };
            ledger.set_states(&which, &State::Held)?;
            all.push((counts.table, counts.removals + counts.held, rows));
        }
    }
    Ok(all)
}

impl Actor for Syncer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            actor.pulse(context);
            if actor.hall().spec.continuous {
                actor.pump(context);
            }
        });
    }
}

impl Guarded for Syncer {
    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl Handler<Wake> for Syncer {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.more = true;
            // Files that cannot be read are parked, and freed, by those who look at them.
            actor.parked_dirty = true;
            actor.pump(context);
        });
    }
}

impl Handler<Scanned> for Syncer {
    type Result = ();

    fn handle(&mut self, scanned: Scanned, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.meeting.scanned(scanned);
            actor.more = true;
            actor.parked_dirty = true;
            actor.pump(context);
        });
    }
}

impl Handler<LedgerState> for Syncer {
    type Result = ();

    fn handle(&mut self, LedgerState(state): LedgerState, context: &mut Self::Context) {
        guarded(self, context, |actor, _| actor.ledger_state(state));
    }
}

impl Handler<Drain> for Syncer {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.draining.push(done);
            actor.more = true;
            actor.pump(context);
        });
    }
}
