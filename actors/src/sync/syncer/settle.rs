//! What follows from a target's answers: put on record first, then said.

use std::rc::Rc;
use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext, Context, WrapFuture as _};
use slog::{info, warn};

use supervisor_core::Level;
use supervisor_core::sync::batch::rows;
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

/// A task that has failed so often while others went is parked.
const HOPELESS: u32 = 10;
/// How many tasks' failures are remembered.
const MOST_FAILURES: usize = 10_000;

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
        let hall = self.hall();
        let now = world.ports.clock.wall();
        let log = world.log.clone();
        let wide = self.parked_wide;
        let lost = batch.clone();
        let work = async move {
            // Our own code, or the target's, may panic over what stands in a document.
            let sent = caught(run(Rc::clone(&hall), batch, now, log)).await;
            let sent = sent.unwrap_or_else(|panic| Sent::panicked(lost.clone(), &panic));
            let desk = hall.desk.clone();
            let settled = blocking(move || {
                let settled = desk.transaction(true, |ledger| settle(ledger, &sent, wide));
                Ok((settled, sent))
            });
            settled.await.unwrap_or_else(|why| {
                let sent = Sent::panicked(lost, &why.to_string());
                (Err(why), sent)
            })
        };
        context.spawn(
            work.into_actor(self)
                .map(|(settled, sent), actor, context| {
                    guarded(actor, context, |actor, context| {
                        actor.lanes -= 1;
                        actor.settled(settled, &sent, context);
                    });
                }),
        );
    }

    fn settled(
        &mut self,
        settled: Result<Settled, StoreError>,
        sent: &Sent,
        context: &mut Context<Self>,
    ) {
        for task in &sent.batch.tasks {
            for key in rows(task) {
                self.busy.remove(&(task.table.clone(), key.to_owned()));
            }
        }
        match settled {
            Ok(settled) => {
                self.ledger_state(Ok(()));
                self.say(sent);
                if settled.freed > 0 {
                    self.more = true;
                }
                if !settled.look.is_empty() {
                    let touches = settled.look.into_iter().map(|file_path| Touch {
                        file_path,
                        from: None,
                    });
                    // Bounded: at most a batch.
                    self.hall().debouncer.tell(Touched(touches.collect()));
                }
                let over: std::collections::HashSet<u64> = sent
                    .batch
                    .tasks
                    .iter()
                    .zip(&sent.fates)
                    .filter(|(_, fate)| **fate != Fate::Waits)
                    .map(|(task, _)| task.seq)
                    .collect();
                self.fetched.retain(|task| !over.contains(&task.seq));
            }
            Err(why) => {
                // The target may have it; it is sent again, which changes nothing there.
                self.ledger_state(Err(why.to_string()));
                self.gate.back(self.now());
                context.run_later(super::PAUSE, |actor, context| {
                    guarded(actor, context, |actor, context| {
                        actor.more = true;
                        actor.pump(context);
                    });
                });
                return;
            }
        }
        self.judge(sent, context);
        self.pump(context);
    }

    /// What follows for the gate, the pace, and tasks that failed.
    fn judge(&mut self, sent: &Sent, context: &mut Context<Self>) {
        if let Some(rows) = sent.too_much {
            self.pace.too_much(rows);
        }
        for _ in 0..sent.taken {
            self.pace.taken();
            self.proven = true;
        }
        for (task, fate) in sent.batch.tasks.iter().zip(&sent.fates) {
            if *fate != Fate::Waits {
                self.failures.remove(&task.seq);
            }
        }
        if sent.answered {
            self.gate.answered();
        }
        if sent.fates.contains(&Fate::Waits) {
            self.more = true;
        }
        let Some((after, why)) = &sent.retry else {
            // The one that went first after a rest was not sent at all, perhaps.
            self.gate.back(self.now());
            self.tell_trouble();
            return;
        };
        let failures = |pending: &Pending| self.failures.get(&pending.seq).copied().unwrap_or(0);
        let alone = sent.batch.is_weak(&failures) && self.gate.trouble().is_none();
        let mut first = None;
        for (task, fate) in sent.batch.tasks.iter().zip(&sent.fates) {
            if *fate == Fate::Waits {
                first = first.or(Some(task));
                *self.failures.entry(task.seq).or_default() += 1;
            }
        }
        if self.failures.len() > MOST_FAILURES {
            let known: std::collections::HashSet<u64> =
                self.fetched.iter().map(|task| task.seq).collect();
            self.failures.retain(|seq, _| known.contains(seq));
        }
        let now = self.now();
        let roll = self.guard.world().ports.dice.roll();
        if alone && let Some(task) = first {
            // The others go; only this one does not.
            self.let_rest(task.clone(), why, now, roll, context);
        } else {
            self.gate.refused(*after, why, now, roll);
        }
        if let Some(task) = first {
            warn!(self.guard.world().log, "Sync failed for {}: {why}", file_name(&task.file_path);
                "file_path" => &task.file_path, "table" => &task.table,
                "rows" => sent.fates.iter().filter(|fate| **fate == Fate::Waits).count(),
                "again_in_s" => self.rests_for());
        }
        self.tell_trouble();
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
        match scope {
            Scope::Rows => {}
            Scope::Table => {
                self.parked_wide = true;
                self.fetched.retain(|task| task.table != first.table);
            }
            Scope::Target => {
                self.parked_wide = true;
                self.proven = false;
                self.fetched.clear();
            }
        }
        self.parked_dirty = true;
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

    /// A task that alone does not go: it rests while the others go on, and is parked in the
    /// end.
    fn let_rest(
        &mut self,
        task: Pending,
        why: &str,
        now: supervisor_core::time::Mono,
        roll: f64,
        context: &mut Context<Self>,
    ) {
        let failures = self.failures.get(&task.seq).copied().unwrap_or(0);
        if failures >= HOPELESS {
            self.park(
                task,
                format!("it has failed {failures} times: {why}"),
                context,
            );
            return;
        }
        let mut gate = supervisor_core::sync::Gate::default();
        for _ in 0..failures {
            let at = gate.until().unwrap_or(now);
            gate.pass(0, at);
            gate.refused(None, why, now, roll);
        }
        for key in rows(&task) {
            self.busy.insert((task.table.clone(), key.to_owned()), ());
        }
        self.resting.push((gate.until().unwrap_or(now), task));
    }

    fn park(&mut self, task: Pending, reason: String, context: &mut Context<Self>) {
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
        self.failures.remove(&task.seq);
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
                actor.more = true;
                actor.pump(context);
            });
        }));
    }
}

/// Puts a batch's fates on record; blocking. `wide`: whole tables may be parked.
fn settle(ledger: &mut dyn Ledger, sent: &Sent, wide: bool) -> Result<Settled, StoreError> {
    let mut settled = Settled::default();
    let mut taken = false;
    let mut parked_wide = None;
    for (task, fate) in sent.batch.tasks.iter().zip(&sent.fates) {
        match fate {
            Fate::Waits => {}
            Fate::Stale => settled.look.push(Arc::from(task.file_path.as_str())),
            Fate::Taken | Fate::TakenBeside => {
                taken = true;
                done(ledger, task, fate, &mut settled)?;
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
        settled.freed = ledger.set_states(&Which::ParkedWithTable { table }, &State::Due)?;
    }
    Ok(settled)
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
