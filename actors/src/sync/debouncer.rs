//! The Debouncer: waits until files have come to rest, and puts them on record.
//!
//! One queue and one armed timer for all files (see core's `debounce`). What is due together
//! is looked at together, as one round on a blocking thread; what comes due meanwhile makes
//! the next. A round that could not be recorded is tried again, and nothing is lost by that
//! but time: its files wait as if they had been edited just now.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext, Context, Handler, MessageResult, SpawnHandle,
    WrapFuture as _,
};
use slog::{info, warn};
use tokio::sync::oneshot;

use supervisor_core::sync::Debounce;
use supervisor_core::sync::document::file_name;
use supervisor_core::time::Mono;

use crate::guardian::{Guard, Guarded, Subject, guarded, guarded_start};
use crate::internal::PULSE;
use crate::messages::SelfPulse;
use crate::ports::StoreError;

use super::Hall;
use super::desk::blocking;
use super::messages::{Flush, LedgerState, Rescan, Touch, Touched, Wake};
use super::record::{Recorded, Recorder};

/// So many files make a round at most.
const ROUND: usize = 20_000;
/// How soon a file that changed while it was read is looked at again, where it need not rest.
const AGAIN: Duration = Duration::from_millis(200);
/// After so long a round that could not be recorded is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// See the module's page.
pub(crate) struct Debouncer {
    guard: Guard,
    queue: Debounce<Arc<str>>,
    /// What files were called before, as the kernel said.
    names: HashMap<Arc<str>, Arc<str>>,
    /// The armed timer, and when it fires.
    timer: Option<(SpawnHandle, Mono)>,
    /// Whether a round is under way.
    busy: bool,
    /// Nothing is looked at before.
    not_before: Mono,
    /// Who waits until all is on record.
    flushing: Vec<oneshot::Sender<()>>,
}

impl Debouncer {
    pub(crate) fn new(guard: Guard) -> Self {
        let hall = guard.world().hall();
        let spec = &hall.spec;
        Self {
            queue: Debounce::new(spec.debounce, spec.max_wait),
            names: HashMap::new(),
            timer: None,
            busy: false,
            not_before: Mono(0),
            flushing: Vec::new(),
            guard,
        }
    }

    fn hall(&self) -> Rc<Hall> {
        self.guard.world().hall()
    }

    fn touched(&mut self, touches: Vec<Touch>, context: &mut Context<Self>) {
        let now = self.guard.world().ports.clock.mono();
        for touch in touches {
            if let Some(from) = touch.from {
                // What it was called before is looked at together with it.
                self.queue.forget(&from);
                let first = self.names.remove(&from).unwrap_or(from);
                if first == touch.file_path {
                    // It is called as it was.
                    self.queue.touch(first, now);
                    continue;
                }
                self.names.insert(Arc::clone(&touch.file_path), first);
            }
            self.queue.touch(touch.file_path, now);
        }
        self.after(context);
    }

    /// Arms the timer for what is due next, or begins a round if that is now.
    fn after(&mut self, context: &mut Context<Self>) {
        self.hall().shared.debouncing.set(self.queue.len() as u64);
        if self.busy {
            return;
        }
        if !self.flushing.is_empty() {
            self.round(context);
            return;
        }
        let now = self.guard.world().ports.clock.mono();
        let Some(next) = self.queue.next().map(|next| next.max(self.not_before)) else {
            return;
        };
        if next <= now {
            self.round(context);
            return;
        }
        if self.timer.as_ref().is_some_and(|(_, at)| *at <= next) {
            return;
        }
        if let Some((timer, _)) = self.timer.take() {
            context.cancel_future(timer);
        }
        let timer = context.run_later(next.since(now), |actor, context| {
            guarded(actor, context, |actor, context| {
                actor.timer = None;
                actor.after(context);
            });
        });
        self.timer = Some((timer, next));
    }

    /// Looks at what is due, or at everything if somebody waits for that.
    fn round(&mut self, context: &mut Context<Self>) {
        let world = Rc::clone(self.guard.world());
        let now = world.ports.clock.mono();
        let due = if self.flushing.is_empty() {
            self.queue.due(now, ROUND)
        } else {
            self.queue.take_all()
        };
        if due.is_empty() {
            for waiting in self.flushing.drain(..) {
                // Who asked may be gone.
                let _ = waiting.send(());
            }
            if self.queue.next().is_some() {
                self.after(context);
            }
            return;
        }
        let touches: Vec<Touch> = due
            .into_iter()
            .map(|file_path| Touch {
                from: self.names.remove(&file_path),
                file_path,
            })
            .collect();
        self.busy = true;
        let hall = self.hall();
        let recorder = hall.recorder();
        let wall = world.ports.clock.wall();
        let work = async move {
            blocking(move || {
                let recorded = recorder.round(&touches, wall);
                Ok((recorded, touches))
            })
            .await
        };
        context.spawn(work.into_actor(self).map(|done, actor, context| {
            guarded(actor, context, |actor, context| {
                actor.busy = false;
                actor.recorded(done, context);
            });
        }));
    }

    fn recorded(
        &mut self,
        done: Result<(Result<Recorded, StoreError>, Vec<Touch>), StoreError>,
        context: &mut Context<Self>,
    ) {
        let world = Rc::clone(self.guard.world());
        let hall = self.hall();
        let now = world.ports.clock.mono();
        let failed = match done {
            Ok((Ok(recorded), _)) => {
                let again = self.again(recorded);
                if !again.is_empty() {
                    let wait = hall.spec.debounce.max(AGAIN);
                    self.not_before = if hall.spec.debounce < AGAIN {
                        now + wait
                    } else {
                        now
                    };
                    for path in again {
                        self.queue.touch(path, now);
                    }
                }
                // Bounded: one a round.
                hall.syncer.tell(LedgerState(Ok(())));
                hall.syncer.tell(Wake);
                None
            }
            Ok((Err(why), touches)) => {
                for touch in touches {
                    if let Some(from) = touch.from {
                        self.names.insert(Arc::clone(&touch.file_path), from);
                    }
                    self.queue.touch(touch.file_path, now);
                }
                Some(why)
            }
            // Its files are lost with it: found again by a walk.
            Err(why) => {
                hall.watcher.tell(Rescan {
                    why: "a round of the debouncer failed".to_owned(),
                    done: None,
                });
                Some(why)
            }
        };
        if let Some(why) = failed {
            self.not_before = now + PAUSE;
            hall.syncer.tell(LedgerState(Err(why.to_string())));
            if !self.flushing.is_empty() {
                warn!(world.log, "sync: what was edited last is not on record; the next start finds it";
                    "why" => %why, "files" => self.queue.len());
                for waiting in self.flushing.drain(..) {
                    let _ = waiting.send(());
                }
            }
        }
        self.after(context);
    }

    /// Says what a round found; the files that are to be looked at again.
    fn again(&mut self, recorded: Recorded) -> Vec<Arc<str>> {
        let hall = self.hall();
        hall.shared
            .count(|totals| totals.skipped += recorded.unchanged);
        let freed = hall.say(&self.guard.world().log, &recorded);
        recorded.again.into_iter().chain(freed).collect()
    }

    fn pulse(&mut self, context: &mut Context<Self>) {
        // Bounded: one each ten seconds.
        self.guard
            .world()
            .supervisor
            .tell(SelfPulse(Subject::Debouncer));
        context.run_later(PULSE, |actor, context| {
            guarded(actor, context, Self::pulse);
        });
    }
}

impl Hall {
    /// What rounds need.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder {
            desk: self.desk.clone(),
            files: Arc::clone(&self.files),
            routes: Arc::clone(&self.spec.routes),
            on_delete: self.spec.on_delete,
            syncer: self.syncer.clone(),
        }
    }

    /// Says what a round found besides what it queued; the files that may have a row now that
    /// another's is gone.
    pub(crate) fn say(&self, log: &slog::Logger, recorded: &Recorded) -> Vec<Arc<str>> {
        for (path, why) in &recorded.parked {
            self.shared.count(|totals| totals.errors += 1);
            warn!(log, "Sync failed for {}: {why}", file_name(path); "file_path" => &**path);
        }
        for (path, other) in &recorded.rivals {
            if self.shared.rival(path, other) {
                self.shared.count(|totals| totals.errors += 1);
                warn!(log, "Sync failed for {}: its row is that of {other}", file_name(path);
                    "file_path" => &**path);
            }
        }
        for (path, why) in &recorded.ignored {
            info!(log, "Ignored ({why}): {}", file_name(path); "file_path" => &**path);
        }
        self.shared.rivals_of(&recorded.gone)
    }
}

impl Actor for Debouncer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            actor.pulse(context);
            let hall = actor.hall();
            if hall.shared.debounced.replace(true) {
                hall.shared.debouncing.set(0);
                // Bounded: one per death.
                hall.watcher.tell(Rescan {
                    why: "the debouncer was rebuilt".to_owned(),
                    done: None,
                });
            }
        });
    }
}

impl Guarded for Debouncer {
    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl Handler<Touched> for Debouncer {
    type Result = ();

    fn handle(&mut self, Touched(touches): Touched, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.touched(touches, context);
        });
    }
}

impl Handler<Flush> for Debouncer {
    type Result = MessageResult<Flush>;

    fn handle(&mut self, Flush(done): Flush, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            actor.flushing.push(done);
            actor.after(context);
            MessageResult(())
        })
    }
}
