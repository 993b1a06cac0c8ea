//! The Syncer: sends what is due, and takes off the record what the target has taken.
//!
//! ```text
//!   begin ──▶ meet the target: is it the one that the manifest speaks of?
//!               │ no: forget the manifest, walk, compare with what it holds
//!               ▼
//!   Wake ──▶ fetch tasks ──▶ lanes: read the files ──▶ the line: 4 requests ──▶ answers
//!   Queued      ▲            (ahead of the line)        at a time, no row twice    │
//!               │                                                                 ▼
//!               ├─────────── settle: all that has come meanwhile, on record at once
//!               └─────────── resting: the target said "not now"
//! ```
//!
//! Sending begins with the first tasks on record, while everything is still being walked. While
//! the requests of some lanes are under way others read the next files, and what was answered
//! while a record was being made lasting is settled together by the next: nobody waits for the
//! disk but the rows that are settled.
//!
//! - `stock`: the tasks at hand;
//! - `lane`: one batch from its files to the target's answers;
//! - `line`: how many requests go at once, and whether any;
//! - `judge`: what follows from an answer for what is sent next;
//! - `settle`: what follows from it for the record, and is said then;
//! - `meet`: which target it is, and what it holds already;
//! - `tell`: what people should know;
//! - `answer`: what others ask.

mod answer;
mod judge;
mod lane;
mod line;
mod meet;
mod settle;
mod stock;
mod tell;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext, Context, Handler, SpawnHandle, WrapFuture as _,
};
use slog::{error, info};
use tokio::sync::oneshot;

use supervisor_core::Level;
use supervisor_core::sync::batch::Pace;
use supervisor_core::sync::outbox::brakes;
use supervisor_core::sync::{Gate, OnDelete, Pending, State, Task};
use supervisor_core::time::Mono;

use crate::guardian::{Guard, Guarded, Subject, guarded, guarded_start};
use crate::internal::PULSE;
use crate::messages::SelfPulse;
use crate::ports::StoreError;
use crate::ports::ledger::{Ledger, Which};
use crate::ports::tables::Appetite;

use super::Hall;
use super::desk::blocking;
use super::messages::{Drain, LedgerState, Queued, Rescan, Scanned, Wake};

use lane::Sent;
use line::Line;
use meet::Meeting;
use stock::Stock;
use tell::Told;

/// Of what the target is sent at once, so many times are under way: what is being sent, and
/// what is being read to be sent next.
const AHEAD: usize = 2;
/// So many answers may wait to be settled; then nothing more is sent before they are.
const MOST_ANSWERS: usize = 32;
/// At least so many tasks are fetched at once.
const FETCH: usize = 1_000;
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
    appetite: Appetite,
    meeting: Meeting,
    gate: Gate,
    pace: Pace,
    line: Line,
    stock: Stock,
    /// Whether the target has ever taken anything: until then one batch goes at a time.
    proven: bool,
    /// Batches under way, from their files to their answers.
    lanes: usize,
    /// Answers that are not on record.
    answers: Vec<Sent>,
    /// Whether some are being put there.
    settling: bool,
    /// Nothing is sent before the answers are settled: one of them parks more than its rows.
    halted: bool,
    /// Whether whole tables, or the whole target, may be parked.
    parked_wide: bool,
    /// Deletions done, and when: for the brake.
    removed: VecDeque<(Mono, String, u64)>,
    /// Why the ledger cannot be used.
    broken: Option<String>,
    /// What people were told last.
    told: Told,
    timer: Option<SpawnHandle>,
    /// Who waits until all is sent.
    draining: Vec<oneshot::Sender<()>>,
    /// The ledger's epoch that we know.
    epoch: Option<u64>,
}

/// What was fetched.
struct Fetched {
    tasks: Vec<Pending>,
    /// Whether there were no more.
    all: bool,
    /// Tables whose deletions were held just now, with how many of how many.
    held: Vec<(String, u64, u64)>,
}

impl Syncer {
    pub(crate) fn new(guard: Guard) -> Self {
        let appetite = guard.world().hall().tables.appetite();
        Self {
            guard,
            appetite,
            meeting: Meeting::default(),
            gate: Gate::default(),
            pace: Pace::new(appetite.rows),
            line: Line::new(appetite.requests),
            stock: Stock::default(),
            proven: false,
            lanes: 0,
            answers: Vec::new(),
            settling: false,
            halted: false,
            // Perhaps the one before us left some.
            parked_wide: true,
            removed: VecDeque::new(),
            broken: None,
            told: Told::default(),
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

    /// Sends what may be sent now.
    fn pump(&mut self, context: &mut Context<Self>) {
        self.see_epoch();
        self.stock.wake(self.now());
        self.meet(context);
        while self.may_send() {
            let now = self.now();
            if !self.gate.pass(self.lanes, now) {
                break;
            }
            let Some(batch) = self.stock.next_batch(self.pace.rows()) else {
                self.gate.back(now);
                break;
            };
            self.line.open();
            self.send(batch, context);
        }
        // Few are left: the rest waits for rows in flight.
        if self.stock.len() < self.at_once() {
            self.fetch(context);
        }
        self.arm(context);
        self.conclude();
    }

    fn may_send(&self) -> bool {
        let lanes = if self.proven {
            AHEAD * self.appetite.requests
        } else {
            1
        };
        self.meeting.is_over()
            && self.lanes < lanes
            && self.answers.len() < MOST_ANSWERS
            && !self.halted
            && self.stock.len() > 0
    }

    /// How many rows the target is sent at once.
    fn at_once(&self) -> usize {
        self.appetite.requests * self.pace.rows()
    }

    /// Gets tasks from the ledger, and holds deletions that are too many.
    fn fetch(&mut self, context: &mut Context<Self>) {
        if !self.meeting.is_over() {
            return;
        }
        let Some(beyond) = self.stock.begin_fetch() else {
            return;
        };
        let hall = self.hall();
        let desk = hall.desk.clone();
        let removed = self.recently_removed();
        let removes = hall.spec.on_delete != OnDelete::Keep;
        let most = u32::try_from(FETCH.max(AHEAD * self.at_once())).unwrap_or(u32::MAX);
        let work = async move {
            blocking(move || {
                desk.transaction(false, |ledger| {
                    // How many deletions there are is not known before they are all on record.
                    let counted = !desk.is_recording();
                    let held = if removes && counted {
                        hold(ledger, &removed)?
                    } else {
                        Vec::new()
                    };
                    let mut tasks = ledger.tasks(&["due", "confirmed"], beyond, most)?;
                    let all = tasks.len() < most as usize;
                    if !counted {
                        tasks.retain(|task| {
                            task.task != Task::Remove || task.state == State::Confirmed
                        });
                    }
                    Ok(Fetched { tasks, all, held })
                })
            })
            .await
        };
        context.spawn(work.into_actor(self).map(|fetched, actor, context| {
            guarded(actor, context, |actor, context| {
                actor.fetched(fetched, context);
            });
        }));
    }

    fn fetched(&mut self, fetched: Result<Fetched, StoreError>, context: &mut Context<Self>) {
        match fetched {
            Ok(Fetched { tasks, all, held }) => {
                let goes_on = self.stock.fetched(tasks, all);
                self.ledger_state(Ok(()));
                for (table, rows, of) in held {
                    self.held(&table, rows, of);
                }
                if goes_on {
                    self.pump(context);
                } else {
                    self.arm(context);
                    self.conclude();
                }
            }
            Err(why) => {
                self.stock.not_fetched();
                self.ledger_state(Err(why.to_string()));
                context.run_later(PAUSE, |actor, context| {
                    guarded(actor, context, Self::pump);
                });
                self.conclude();
            }
        }
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

    /// Wakes us when the target may be asked again.
    fn arm(&mut self, context: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        let resting = self.stock.rests();
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
                actor.stock.more_anywhere();
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
        let at_work =
            self.lanes > 0 || self.settling || !self.answers.is_empty() || self.stock.is_fetching();
        if self.draining.is_empty() || at_work {
            return;
        }
        let gives_up = self
            .gate
            .trouble()
            .is_some_and(|(_, failures)| failures >= PATIENCE)
            || self.broken.is_some()
            || self.meeting.is_refused(PATIENCE);
        // Without lanes only those are busy that rest.
        let nothing = self.meeting.is_over() && !self.stock.may_be_more() && self.stock.is_stuck();
        if gives_up || nothing {
            for who in self.draining.drain(..) {
                // Who asked may be gone.
                let _ = who.send(());
            }
        }
    }

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
                    self.stock.more_anywhere();
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
            self.stock.forget(None);
            // Bounded: one for each record.
            hall.watcher.tell(Rescan {
                why: "the sync's record was begun anew".to_owned(),
                done: None,
            });
        }
        self.epoch = epoch.or(self.epoch);
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
            actor.stock.more_anywhere();
            // Files that cannot be read are parked, and freed, by those who look at them.
            actor.told.parked_may_differ();
            actor.pump(context);
        });
    }
}

impl Handler<Queued> for Syncer {
    type Result = ();

    fn handle(&mut self, _: Queued, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.stock.more();
            actor.pump(context);
        });
    }
}

impl Handler<Scanned> for Syncer {
    type Result = ();

    fn handle(&mut self, scanned: Scanned, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.meeting.scanned(scanned);
            actor.stock.more_anywhere();
            actor.told.parked_may_differ();
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
            actor.stock.more_anywhere();
            actor.pump(context);
        });
    }
}
