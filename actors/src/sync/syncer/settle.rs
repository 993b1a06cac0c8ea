//! Settling: what the target has answered is put on record, lastingly, and only then said.
//!
//! One record is made lasting at a time, for that means waiting for the disk. What is answered
//! meanwhile is settled by the next, all of it together.

use std::rc::Rc;
use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext, Context, WrapFuture as _};
use slog::{info, warn};

use supervisor_core::Level;
use supervisor_core::sync::document::file_name;
use supervisor_core::sync::outbox::Step;
use supervisor_core::sync::{Batch, Pending, Scope, State, Taken, Task, Work};

use super::Syncer;
use super::lane::{Fate, Sent, run};
use crate::guardian::{caught, guarded};
use crate::ports::StoreError;
use crate::ports::ledger::{Ledger, Which};
use crate::sync::desk::blocking;
use crate::sync::messages::{Touch, Touched};

/// What was put on record.
#[derive(Debug, Default)]
struct Settled {
    /// Files to be looked at: they are others by now, or have been when the target took them.
    look: Vec<Arc<str>>,
    /// Tasks that go on because what had parked them is over.
    freed: u64,
}

impl Syncer {
    /// Sends a batch in a lane of its own.
    pub(super) fn send(&mut self, batch: Batch, context: &mut Context<Self>) {
        self.lanes += 1;
        let world = Rc::clone(self.guard.world());
        let (hall, line) = (self.hall(), self.line.clone());
        let now = world.ports.clock.wall();
        let log = world.log.clone();
        let lost = batch.clone();
        let work = async move {
            // Our own code, or the target's, may panic over what stands in a document.
            let sent = caught(run(hall, line, batch, now, log)).await;
            sent.unwrap_or_else(|panic| Sent::panicked(lost, &panic))
        };
        context.spawn(work.into_actor(self).map(|sent, actor, context| {
            guarded(actor, context, |actor, context| {
                actor.lanes -= 1;
                actor.judge(&sent, context);
                actor.answers.push(sent);
                actor.settle(context);
                actor.pump(context);
            });
        }));
    }

    /// Settles all answers that have come, unless that is being done.
    fn settle(&mut self, context: &mut Context<Self>) {
        if self.settling || self.answers.is_empty() {
            return;
        }
        self.settling = true;
        let answers = Arc::new(std::mem::take(&mut self.answers));
        let desk = self.hall().desk.clone();
        let wide = self.parked_wide;
        let work = {
            let answers = Arc::clone(&answers);
            async move {
                blocking(move || {
                    desk.transaction(true, |ledger| {
                        let mut settled = Settled::default();
                        for sent in &*answers {
                            settle(ledger, sent, wide, &mut settled)?;
                        }
                        Ok(settled)
                    })
                })
                .await
            }
        };
        context.spawn(work.into_actor(self).map(move |settled, actor, context| {
            guarded(actor, context, |actor, context| {
                actor.settling = false;
                actor.settled(settled, &answers, context);
            });
        }));
    }

    fn settled(
        &mut self,
        settled: Result<Settled, StoreError>,
        answers: &[Sent],
        context: &mut Context<Self>,
    ) {
        let recorded = settled.is_ok();
        for sent in answers {
            let fates = sent.batch.tasks.iter().zip(&sent.fates);
            self.stock
                .came_back(fates.map(|(task, fate)| (task, recorded && *fate != Fate::Waits)));
        }
        self.halted = self
            .answers
            .iter()
            .any(|sent| sent.parked_widely().is_some());
        match settled {
            Ok(settled) => {
                self.ledger_state(Ok(()));
                for sent in answers {
                    self.say(sent);
                }
                if settled.freed > 0 {
                    self.stock.more_anywhere();
                }
                if !settled.look.is_empty() {
                    let touches = settled.look.into_iter().map(|file_path| Touch {
                        file_path,
                        from: None,
                    });
                    // Bounded: at most what was under way.
                    self.hall().debouncer.tell(Touched(touches.collect()));
                }
                self.settle(context);
                self.pump(context);
            }
            Err(why) => {
                // The target may have it; it is sent again, which changes nothing there.
                self.ledger_state(Err(why.to_string()));
                self.gate.back(self.now());
                context.run_later(super::PAUSE, |actor, context| {
                    guarded(actor, context, |actor, context| {
                        actor.settle(context);
                        actor.pump(context);
                    });
                });
            }
        }
    }

    /// Says what was done.
    fn say(&mut self, sent: &Sent) {
        let world = Rc::clone(self.guard.world());
        let hall = self.hall();
        let (now, wall) = (world.ports.clock.mono(), world.ports.clock.wall());
        let mut parked: Vec<(&Pending, Scope, &str)> = Vec::new();
        let mut taken = 0;
        for (task, fate) in sent.batch.tasks.iter().zip(&sent.fates) {
            let path = &task.file_path;
            match fate {
                Fate::Taken | Fate::TakenBeside => {
                    taken += 1;
                    hall.shared.took_of(&hall.spec.routes, path, wall);
                    if hall.spec.dry_run {
                        continue;
                    }
                    let name = file_name(path);
                    match sent.batch.work {
                        Work::Upsert | Work::Move => {
                            info!(world.log, "Synced: {name}"; "file_path" => path);
                        }
                        Work::Remove => {
                            info!(world.log, "Removed: {name}"; "file_path" => path);
                            // Those that somebody confirmed count for no brake.
                            if task.state == State::Due {
                                self.removed.push_back((now, task.table.clone(), 1));
                            }
                        }
                    }
                }
                Fate::Parked(scope, why) => parked.push((task, *scope, why)),
                Fate::Waits | Fate::Stale => {}
            }
        }
        if taken > 0 && !hall.spec.dry_run {
            hall.shared.took(taken, now);
        }
        let Some((first, scope, why)) = parked.first() else {
            return;
        };
        hall.shared
            .count(|totals| totals.errors += parked.len() as u64);
        for (task, _, why) in &parked {
            warn!(world.log, "Sync failed for {}: {why}", file_name(&task.file_path);
                "file_path" => &task.file_path, "table" => &task.table, "parked" => true);
        }
        self.forget_parked(*scope, &first.table);
        self.told.parked_may_differ();
        let what = match scope {
            Scope::Rows => format!("{} rows of {}", parked.len(), first.table),
            Scope::Table => format!("all rows of {}", first.table),
            Scope::Target => "all rows".to_owned(),
        };
        self.tell_event(
            format!("{what} are parked, {} first: {why}", first.file_path),
            Level::Warning,
        );
    }

    /// Parks a task that does not go.
    pub(super) fn park(&mut self, task: Pending, reason: String, context: &mut Context<Self>) {
        let desk = self.hall().desk.clone();
        let fates = vec![Fate::Parked(Scope::Rows, reason.clone())];
        let sent = Sent {
            batch: Batch {
                table: task.table.clone(),
                work: Work::Upsert,
                tasks: vec![task.clone()],
            },
            fates,
            retry: None,
            too_much: None,
            taken: 0,
            answered: false,
        };
        self.stock.forgive(Some(&task));
        let state = State::Parked {
            scope: Scope::Rows,
            reason,
        };
        let work = async move {
            blocking(move || desk.transaction(true, |ledger| ledger.set_state(&task, &state))).await
        };
        context.spawn(work.into_actor(self).map(move |done, actor, context| {
            guarded(actor, context, |actor, context| {
                actor.ledger_state(done.clone().map_err(|why| why.to_string()));
                if done.is_ok() {
                    actor.say(&sent);
                }
                actor.stock.more_anywhere();
                actor.pump(context);
            });
        }));
    }
}

/// Puts a batch's fates on record; blocking. `wide`: whole tables may be parked.
fn settle(
    ledger: &mut dyn Ledger,
    sent: &Sent,
    wide: bool,
    settled: &mut Settled,
) -> Result<(), StoreError> {
    let mut taken = false;
    let mut parked_wide = None;
    for (task, fate) in sent.batch.tasks.iter().zip(&sent.fates) {
        match fate {
            Fate::Waits => {}
            Fate::Stale => settled.look.push(Arc::from(task.file_path.as_str())),
            Fate::Taken | Fate::TakenBeside => {
                taken = true;
                done(ledger, task, fate, settled)?;
            }
            Fate::Parked(scope, reason) => {
                let state = State::Parked {
                    scope: *scope,
                    reason: reason.clone(),
                };
                ledger.set_state(task, &state)?;
                if *scope != Scope::Rows {
                    parked_wide = Some((*scope, state));
                }
            }
        }
    }
    if let Some((scope, state)) = parked_wide {
        let table = (scope == Scope::Table).then(|| sent.batch.table.clone());
        ledger.set_states(&Which::Due { table }, &state)?;
    } else if taken && wide {
        let table = sent.batch.table.clone();
        settled.freed += ledger.set_states(&Which::ParkedWithTable { table }, &State::Due)?;
    }
    Ok(())
}

/// The target has done a task.
fn done(
    ledger: &mut dyn Ledger,
    task: &Pending,
    fate: &Fate,
    settled: &mut Settled,
) -> Result<(), StoreError> {
    let (table, key) = (task.table.clone(), task.key.clone());
    let newest = ledger.finish(task)?;
    match &task.task {
        Task::Upsert {
            content,
            mapping,
            from,
        } => {
            if let Some(from) = from {
                let old = ledger.taken(&table, from)?;
                match fate {
                    // It stands under its old key still: that key's file is gone.
                    Fate::TakenBeside if old.is_some() => {
                        let path = old.map(|old| old.file_path).unwrap_or_default();
                        settled.look.push(Arc::from(path));
                    }
                    _ => ledger.apply(&Step::Forget {
                        table: table.clone(),
                        key: from.clone(),
                    })?,
                }
            }
            ledger.apply(&Step::Take(Taken {
                table: table.clone(),
                key: key.clone(),
                file_path: task.file_path.clone(),
                hash: content.hash,
                stat: content.stat,
                settled: content.settled,
                mapping: *mapping,
            }))?;
            if !newest && ledger.pending(&table, &key)?.is_none() {
                // Its file went while it was on its way.
                settled.look.push(Arc::from(task.file_path.as_str()));
            }
        }
        Task::Remove => ledger.apply(&Step::Forget { table, key })?,
        Task::Unreadable { .. } => {}
    }
    Ok(())
}
