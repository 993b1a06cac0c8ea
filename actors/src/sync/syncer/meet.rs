//! Meeting the target: is it the one that the manifest speaks of, and what does it hold?
//!
//! ```text
//!   asked ──the same, compared before──────────────────────────────────▶ over
//!     │ another, or begun anew: the manifest is forgotten ──▶ walked       ▲ ▲
//!     ├──the same, never compared──▶ walked ──▶ compared, page by page ────┘ │
//!     └──… and it holds nothing──────────────────────────────────────────────┘
//! ```
//!
//! Comparing spares sending what the target holds already: rows whose hash is that of the task
//! are taken as they are. It comes after a walk, so that there is a task for every file; where
//! there is nothing to compare with, sending begins while everything is still being walked.

use actix::{ActorFutureExt as _, AsyncContext, Context, WrapFuture as _};
use slog::{info, warn};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

use supervisor_core::sync::outbox::Step;
use supervisor_core::sync::{Refusal, State, Table, Taken, Task};
use supervisor_core::time::Mono;

use super::Syncer;
use crate::guardian::{caught, guarded};
use crate::ports::StoreError;
use crate::ports::ledger::{Ledger, Which};
use crate::ports::tables::Held;
use crate::sync::Hall;
use crate::sync::desk::{Desk, blocking};
use crate::sync::messages::{Rescan, Scanned};

/// The ledger's notes: which target the manifest speaks of, and with which it was compared.
const TARGET: &str = "target";
/// The same as people call it: all that is known of a target that is not asked.
const DESCRIBED: &str = "described";
const COMPARED: &str = "compared";

/// So many rows are compared at once.
const PAGE: u32 = 1_000;

/// How far we know the target.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    step: Step_,
    /// A walk of everything is on record that saw the present manifest.
    walked: bool,
    /// How often in a row the target has not answered.
    failures: u32,
    /// Whether parked rows were given their try of a new start.
    freed: bool,
    /// Which it was when it was asked last, and when that was.
    known: Option<(String, Mono)>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Step_ {
    #[default]
    Unasked,
    /// A question is under way, to the target or the ledger.
    Asking,
    /// Everything is being walked.
    Walking {
        identity: String,
    },
    Over,
}

/// Which target it is.
struct Asked {
    identity: String,
    described: String,
    dry_run: bool,
}

/// What the ledger says of a target.
enum Known {
    /// The manifest speaks of it, and it was compared.
    Well,
    /// It holds nothing that could be compared.
    Bare,
    /// It was never compared.
    Uncompared,
    /// The manifest spoke of another, and is forgotten.
    Forgotten,
}

impl Meeting {
    /// Whether anything may be sent.
    pub(super) fn is_over(&self) -> bool {
        self.step == Step_::Over
    }

    /// Whether the target has not answered so often.
    pub(super) fn is_refused(&self, failures: u32) -> bool {
        self.failures >= failures
    }

    /// A walk is over.
    pub(super) fn scanned(&mut self, scanned: Scanned) {
        self.walked |= scanned.recorded;
    }

    /// Begins anew: nothing is known of the target.
    pub(super) fn again(&mut self) {
        *self = Self {
            freed: self.freed,
            ..Self::default()
        };
    }
}

impl Syncer {
    /// Does what is next to know the target.
    pub(super) fn meet(&mut self, context: &mut Context<Self>) {
        match &self.meeting.step {
            Step_::Unasked => {
                if self.gate.pass(self.lanes, self.now()) {
                    self.ask(context);
                }
            }
            Step_::Walking { identity } if self.meeting.walked => {
                let identity = identity.clone();
                self.compare(identity, context);
            }
            Step_::Asking | Step_::Walking { .. } | Step_::Over => {}
        }
    }

    /// Asks the target which it is, and the ledger whether it knows that.
    fn ask(&mut self, context: &mut Context<Self>) {
        self.meeting.step = Step_::Asking;
        let hall = self.hall();
        let free = !self.meeting.freed;
        let work = async move {
            let identity = if hall.spec.dry_run {
                // Nothing is opened for a look.
                Ok(hall.tables.describe())
            } else {
                answered(hall.tables.identity()).await
            };
            let identity = match identity {
                Ok(identity) => identity,
                // It can be sent to all the same, and says why not better than we.
                Err(Refusal::Park { .. }) => hall.tables.describe(),
                Err(refusal) => return Err(refusal),
            };
            let desk = hall.desk.clone();
            let asked = Asked {
                identity: identity.clone(),
                described: hall.tables.describe(),
                dry_run: hall.spec.dry_run,
            };
            let known = blocking(move || {
                desk.transaction(true, |ledger| {
                    if free {
                        // A start is a new configuration, as far as we know.
                        ledger.set_states(&Which::Parked { table: None }, &State::Due)?;
                    }
                    look_up(ledger, &asked)
                })
            });
            let mut known = known.await;
            if matches!(known, Ok(Known::Uncompared)) && answered(holds_nothing(&hall)).await? {
                known = note_compared(&hall, identity.clone())
                    .await
                    .map(|()| Known::Bare);
            }
            Ok((identity, known))
        };
        context.spawn(work.into_actor(self).map(|asked, actor, context| {
            guarded(actor, context, |actor, context| actor.asked(asked, context));
        }));
    }

    fn asked(
        &mut self,
        asked: Result<(String, Result<Known, StoreError>), Refusal>,
        context: &mut Context<Self>,
    ) {
        let hall = self.hall();
        match asked {
            Err(refusal) => self.not_met(&refusal, context),
            Ok((_, Err(why))) => {
                self.meeting.step = Step_::Unasked;
                self.ledger_state(Err(why.to_string()));
                self.gate.back(self.now());
                self.later(context);
            }
            Ok((identity, Ok(known))) => {
                self.ledger_state(Ok(()));
                self.meeting.freed = true;
                self.meeting.known = Some((identity.clone(), self.now()));
                // Which it is many a target tells without being asked: that it answers is proved
                // only by comparing, or by the first batch.
                match known {
                    Known::Well => {
                        self.gate.back(self.now());
                        self.meeting.failures = 0;
                        self.meeting.step = Step_::Over;
                        info!(self.guard.world().log, "sync: the target is known";
                            "target" => hall.tables.describe());
                    }
                    Known::Bare => {
                        self.gate.answered();
                        self.meeting.failures = 0;
                        self.meeting.step = Step_::Over;
                        info!(self.guard.world().log, "sync: the target holds nothing yet";
                            "target" => hall.tables.describe());
                    }
                    Known::Uncompared => self.meeting.step = Step_::Walking { identity },
                    Known::Forgotten => {
                        self.meeting.walked = false;
                        self.stock.forget(None);
                        self.meeting.step = Step_::Walking { identity };
                        self.walk_anew(context);
                    }
                }
                self.stock.more_anywhere();
                self.pump(context);
            }
        }
    }

    /// Has everything walked, and goes on when that is on record.
    fn walk_anew(&mut self, context: &mut Context<Self>) {
        let (done, walked) = oneshot::channel();
        // Bounded: one for each target.
        self.hall().watcher.tell(Rescan {
            why: "the target holds nothing that is known".to_owned(),
            done: Some(done),
        });
        let work = async move { walked.await.ok() };
        context.spawn(work.into_actor(self).map(|scanned, actor, context| {
            guarded(actor, context, |actor, context| {
                // Whoever walked died: the new one begins with a walk.
                if let Some(scanned) = scanned {
                    actor.meeting.scanned(scanned);
                }
                actor.stock.more_anywhere();
                actor.pump(context);
            });
        }));
    }

    /// The target did not answer.
    fn not_met(&mut self, refusal: &Refusal, context: &mut Context<Self>) {
        self.meeting.step = Step_::Unasked;
        self.meeting.failures += 1;
        let after = match refusal {
            Refusal::Retry { after, .. } => *after,
            Refusal::Smaller { .. } | Refusal::Split { .. } | Refusal::Park { .. } => None,
        };
        let roll = self.guard.world().ports.dice.roll();
        self.gate.refused(after, refusal.why(), self.now(), roll);
        warn!(self.guard.world().log, "sync: the target does not answer"; "why" => refusal.why(),
            "again_in_s" => self.rests_for());
        self.tell_trouble();
        self.arm(context);
        self.conclude();
    }

    /// Takes what the target holds already.
    fn compare(&mut self, identity: String, context: &mut Context<Self>) {
        self.meeting.step = Step_::Asking;
        let hall = self.hall();
        let work = async move {
            let compared = if hall.spec.dry_run {
                Ok(Ok(0))
            } else {
                let compared = caught(compare_all(&hall)).await;
                compared.unwrap_or_else(|panic| Err(panicked(&panic)))
            };
            let compared = match compared {
                Ok(Ok(same)) => same,
                other => return other,
            };
            let noted = note_compared(&hall, identity).await;
            Ok(noted.map(|()| compared))
        };
        context.spawn(work.into_actor(self).map(|compared, actor, context| {
            guarded(actor, context, |actor, context| {
                actor.compared(compared, context);
            });
        }));
    }

    fn compared(
        &mut self,
        compared: Result<Result<u64, StoreError>, Refusal>,
        context: &mut Context<Self>,
    ) {
        match compared {
            Ok(Ok(same)) => {
                self.ledger_state(Ok(()));
                self.meeting.step = Step_::Over;
                self.meeting.failures = 0;
                self.gate.answered();
                self.hall().shared.count(|totals| totals.skipped += same);
                info!(self.guard.world().log, "sync: compared with what the target holds";
                    "target" => self.hall().tables.describe(), "same" => same);
                self.stock.forget(None);
                self.pump(context);
            }
            Ok(Err(why)) => {
                self.meeting.step = Step_::Unasked;
                self.ledger_state(Err(why.to_string()));
                self.gate.back(self.now());
                self.later(context);
            }
            Err(refusal) => self.not_met(&refusal, context),
        }
    }

    fn later(&mut self, context: &mut Context<Self>) {
        context.run_later(super::PAUSE, |actor, context| {
            guarded(actor, context, Self::pump);
        });
        self.conclude();
    }

    /// Now and then: whether the target is still the one that it was.
    pub(super) fn look_in(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        let due = self
            .meeting
            .known
            .as_ref()
            .is_some_and(|(_, asked)| now.since(*asked) >= super::MEET);
        let quiet = self.lanes == 0 && self.gate.trouble().is_none();
        if !due || !quiet || !self.meeting.is_over() || self.hall().spec.dry_run {
            return;
        }
        let hall = self.hall();
        let work = async move { answered(hall.tables.identity()).await };
        context.spawn(work.into_actor(self).map(move |identity, actor, context| {
            guarded(actor, context, |actor, context| {
                let Some((known, asked)) = &mut actor.meeting.known else {
                    return;
                };
                *asked = now;
                // One that does not answer now is found out when something is sent.
                let another = matches!(&identity, Ok(identity) if identity != known);
                if another && actor.meeting.is_over() {
                    warn!(
                        actor.guard.world().log,
                        "sync: the target has begun anew, or is another"
                    );
                    actor.meeting.again();
                    actor.pump(context);
                }
            });
        }));
    }
}

/// The target's answer; a panic in its code is one, too.
async fn answered<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    caught(answer)
        .await
        .unwrap_or_else(|panic| Err(panicked(&panic)))
}

fn panicked(panic: &str) -> Refusal {
    Refusal::Retry {
        after: None,
        why: format!("our own code panicked: {panic}"),
    }
}

/// Whether the manifest speaks of this target. If not it is forgotten; blocking.
fn look_up(ledger: &mut dyn Ledger, asked: &Asked) -> Result<Known, StoreError> {
    let (note, word) = if asked.dry_run {
        (DESCRIBED, &asked.described)
    } else {
        (TARGET, &asked.identity)
    };
    let known = ledger.note(note)?;
    if known.as_ref() == Some(word) {
        let compared = asked.dry_run || ledger.note(COMPARED)?.as_ref() == Some(word);
        return Ok(if compared {
            Known::Well
        } else {
            Known::Uncompared
        });
    }
    let (no_rows, _) = ledger.is_empty()?;
    ledger.forget_all()?;
    ledger.set_note(TARGET, &asked.identity)?;
    ledger.set_note(DESCRIBED, &asked.described)?;
    // The walk that is under way sees an empty manifest as well as another would.
    Ok(if no_rows {
        Known::Uncompared
    } else {
        Known::Forgotten
    })
}

/// There is nothing left to compare that target with.
async fn note_compared(hall: &Rc<Hall>, identity: String) -> Result<(), StoreError> {
    let desk = hall.desk.clone();
    blocking(move || desk.transaction(true, |ledger| ledger.set_note(COMPARED, &identity))).await
}

/// Whether there is nothing in the target's tables that could be compared.
async fn holds_nothing(hall: &Rc<Hall>) -> Result<bool, Refusal> {
    for table in hall.spec.routes.tables() {
        if table.hash_column().is_none() {
            continue;
        }
        match hall.tables.keys(table, None, 1).await {
            Ok(page) if page.is_empty() => {}
            Ok(_) => return Ok(false),
            // What is sent to it will be refused, with the reason.
            Err(Refusal::Park { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(true)
}

/// Compares all tables with what the target holds; how many rows it holds as they should be.
async fn compare_all(hall: &Rc<Hall>) -> Result<Result<u64, StoreError>, Refusal> {
    let mut same = 0;
    for table in hall.spec.routes.tables() {
        if table.hash_column().is_none() {
            continue;
        }
        let mut after: Option<String> = None;
        loop {
            let page = match hall.tables.keys(table, after.as_deref(), PAGE).await {
                Ok(page) => page,
                // What is sent to it will be refused, with the reason.
                Err(Refusal::Park { .. }) => break,
                Err(refusal) => return Err(refusal),
            };
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.key.clone());
            let (desk, table) = (hall.desk.clone(), Arc::clone(table));
            match blocking(move || take_held(&desk, &table, &page)).await {
                Ok(more) => same += more,
                Err(why) => return Ok(Err(why)),
            }
        }
    }
    Ok(Ok(same))
}

/// Takes rows off the outbox that the target holds already; blocking.
fn take_held(desk: &Desk, table: &Table, page: &[Held]) -> Result<u64, StoreError> {
    let mapping = table.mapping();
    desk.transaction(true, |ledger| {
        let mut same = 0;
        for held in page {
            let Some(hash) = held.hash else {
                continue;
            };
            let Some(pending) = ledger.pending(table.name(), &held.key)? else {
                continue;
            };
            let Task::Upsert {
                content,
                mapping: made_for,
                from: None,
            } = &pending.task
            else {
                continue;
            };
            if content.hash != hash || *made_for != mapping {
                continue;
            }
            ledger.finish(&pending)?;
            ledger.apply(&Step::Take(Taken {
                table: pending.table.clone(),
                key: pending.key.clone(),
                file_path: pending.file_path.clone(),
                hash,
                stat: content.stat,
                settled: content.settled,
                mapping,
            }))?;
            same += 1;
        }
        Ok(same)
    })
}
