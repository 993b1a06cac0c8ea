//! What others ask of the Syncer.

use std::rc::Rc;

use actix::{ActorFutureExt as _, AsyncContext, Handler, ResponseActFuture, WrapFuture as _};

use supervisor_core::sync::{Gate, State, Task};

use super::Syncer;
use crate::guardian::guarded;
use crate::ports::StoreError;
use crate::ports::ledger::{Counts, Which};
use crate::sync::desk::blocking;
use crate::sync::messages::{Confirm, GetSync, GetTotals, RetryParked, Touch, Touched};
use crate::sync::status::{
    DirectoryStatus, HeldRows, ParkedRow, Queue, ScanStatus, Status, TargetStatus, Totals,
};

/// So many parked rows are shown.
const MOST_PARKED: u32 = 1_000;

impl Syncer {
    fn status(&self, counts: Vec<Counts>, parked: Vec<ParkedRow>) -> Status {
        use std::sync::atomic::Ordering::Relaxed;
        let world = self.guard.world();
        let hall = self.hall();
        let now = self.now();
        let sum = |part: fn(&Counts) -> u64| counts.iter().map(part).sum();
        let rivals = hall.shared.all_rivals();
        let queue = Queue {
            debouncing: hall.shared.debouncing.get(),
            due: sum(|counts| counts.due),
            in_flight: self.stock.in_flight() as u64,
            held: sum(|counts| counts.held),
            parked: sum(|counts| counts.parked) + rivals.len() as u64,
        };
        let held = counts
            .iter()
            .filter(|counts| counts.held > 0)
            .map(|counts| HeldRows {
                table: counts.table.clone(),
                rows: counts.held,
                of: counts.rows,
            });
        let held = held.collect();
        let mut parked = parked;
        parked.extend(rivals.into_iter().map(|(path, other)| {
            ParkedRow {
                table: hall
                    .spec
                    .routes
                    .route_of(&path)
                    .map_or_else(|_| String::new(), |table| table.name().to_owned()),
                file_path: path.to_string(),
                reason: format!("its row is that of {other}"),
                since: String::new(),
            }
        }));
        let exists = hall.shared.exists.borrow();
        let last_sync = hall.shared.last_sync.borrow();
        let directories = hall.spec.routes.directories().iter().enumerate();
        let directories = directories.map(|(at, directory)| DirectoryStatus {
            path: directory.shown.clone(),
            table: directory.table.name().to_owned(),
            exists: exists.get(at).copied().unwrap_or(false),
            last_sync: last_sync
                .get(at)
                .copied()
                .flatten()
                .map(supervisor_core::Timestamp::rfc3339),
        });
        let progress = &hall.shared.progress;
        let last = hall.shared.last_scan.get();
        Status {
            mode: if hall.spec.dry_run { "dry_run" } else { "live" },
            target: TargetStatus {
                name: hall.tables.describe(),
                state: match (&self.gate, self.meeting.is_over()) {
                    (Gate::Resting { .. } | Gate::Trying { .. }, _) => "resting",
                    (Gate::Open, false) => "meeting",
                    (Gate::Open, true) => "open",
                },
                reason: self.gate.trouble().map(|(why, _)| why.to_owned()),
                retry_in: self
                    .gate
                    .until()
                    .map(|until| until.since(now).as_secs_f64()),
            },
            queue,
            parked,
            held,
            directories: directories.collect(),
            totals: hall.shared.totals.get(),
            rates: hall.shared.rates(now),
            scan: ScanStatus {
                running: hall.shared.scanning.get(),
                files: progress.files.load(Relaxed),
                read: progress.read.load(Relaxed),
                to_read: progress.to_read.load(Relaxed),
                last: last.map(|(at, _)| at.rfc3339()),
                seconds: last.map(|(_, took)| took.as_secs_f64()),
            },
            watch: hall.shared.watch.borrow().clone(),
            ledger: self.broken.clone(),
            tables: counts,
            started_at: world.started_at.rfc3339(),
        }
    }
}

impl Handler<GetSync> for Syncer {
    type Result = ResponseActFuture<Self, Result<Status, StoreError>>;

    fn handle(&mut self, _: GetSync, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            let desk = actor.hall().desk.clone();
            let work = async move {
                blocking(move || {
                    desk.with(|ledger| {
                        let counts = ledger.counts()?;
                        let parked = ledger.tasks(&["parked"], 0, MOST_PARKED)?;
                        Ok((counts, parked))
                    })
                })
                .await
            };
            let shown = work.into_actor(actor).map(|read, actor, _| {
                let (counts, parked) = match read {
                    Ok(read) => read,
                    Err(why) => {
                        let mut status = actor.status(Vec::new(), Vec::new());
                        status.ledger = Some(why.to_string());
                        return Ok(status);
                    }
                };
                let parked = parked.into_iter().filter_map(|task| match task.state {
                    State::Parked { reason, .. } => Some(ParkedRow {
                        file_path: task.file_path,
                        table: task.table,
                        reason,
                        since: task.since.rfc3339(),
                    }),
                    State::Due | State::Held | State::Confirmed => None,
                });
                Ok(actor.status(counts, parked.collect()))
            });
            Box::pin(shown) as Self::Result
        })
    }
}

impl Handler<RetryParked> for Syncer {
    type Result = ResponseActFuture<Self, Result<u64, StoreError>>;

    fn handle(
        &mut self,
        RetryParked(table): RetryParked,
        context: &mut Self::Context,
    ) -> Self::Result {
        guarded(self, context, |actor, _| {
            let desk = actor.hall().desk.clone();
            let work = async move {
                blocking(move || {
                    desk.transaction(true, |ledger| {
                        // Files that cannot be read are looked at.
                        let mut look = Vec::new();
                        for task in ledger.tasks(&["parked"], 0, u32::MAX)? {
                            let meant = table.as_ref().is_none_or(|table| *table == task.table);
                            if meant && matches!(task.task, Task::Unreadable { .. }) {
                                look.push(Touch {
                                    file_path: task.file_path.into(),
                                    from: None,
                                });
                            }
                        }
                        let freed = ledger.set_states(&Which::Parked { table }, &State::Due)?;
                        Ok((freed, look))
                    })
                })
                .await
            };
            let freed = work.into_actor(actor).map(|done, actor, context| {
                let (freed, mut look) = done?;
                let hall = actor.hall();
                let rivals = hall.shared.all_rivals();
                look.extend(rivals.into_iter().map(|(file_path, _)| Touch {
                    file_path,
                    from: None,
                }));
                let count = freed + look.len() as u64;
                if !look.is_empty() {
                    // Bounded: each parked file once.
                    hall.debouncer.tell(Touched(look));
                }
                actor.gate = Gate::default();
                actor.stock.forgive(None);
                actor.stock.more_anywhere();
                actor.told.parked_may_differ();
                context.run_later(std::time::Duration::ZERO, |actor, context| {
                    guarded(actor, context, Self::pump);
                });
                Ok(count)
            });
            Box::pin(freed) as Self::Result
        })
    }
}

impl Handler<Confirm> for Syncer {
    type Result = ResponseActFuture<Self, Result<u64, StoreError>>;

    fn handle(&mut self, Confirm(table): Confirm, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            let desk = actor.hall().desk.clone();
            let work = async move {
                blocking(move || {
                    desk.transaction(true, |ledger| {
                        ledger.set_states(&Which::Held { table }, &State::Confirmed)
                    })
                })
                .await
            };
            let confirmed = work.into_actor(actor).map(|done, actor, context| {
                if done.is_ok() {
                    actor.stock.more_anywhere();
                    context.run_later(std::time::Duration::ZERO, |actor, context| {
                        guarded(actor, context, Self::pump);
                    });
                }
                done
            });
            Box::pin(confirmed) as Self::Result
        })
    }
}

impl Handler<GetTotals> for Syncer {
    type Result = actix::MessageResult<GetTotals>;

    fn handle(&mut self, _: GetTotals, _: &mut Self::Context) -> Self::Result {
        let hall: Rc<_> = self.hall();
        let totals: Totals = hall.shared.totals.get();
        actix::MessageResult(totals)
    }
}
