//! Writes `deacon/heartbeat.json` in the Deacon's format, so that something outside can watch
//! us: on every patrol and on every poke, as the supervisor says. A supervisor that no longer
//! turns therefore lets the file grow old.
//!
//! The file is read once, at the beginning, so that the cycle goes on from what stands there,
//! whoever wrote it. Reading and writing run on a blocking thread, one at a time; what comes
//! meanwhile waits, and of those that wait only the last is written, but each counts a cycle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use actix::{Actor, AsyncContext, Context, Handler};
use slog::{info, warn};

use supervisor_core::deacon::Heartbeat;

use crate::guardian::{Guard, Guarded, Subject, guarded, guarded_start, text_of};
use crate::messages::{Patrol, SelfPulse, Stood, Wrote};
use crate::ports::DeaconFile;

/// The writer.
pub(crate) struct Deacon {
    guard: Guard,
    /// What was written last; `None` if there is no heartbeat to go on from.
    last: Option<Heartbeat>,
    /// What waits while the file is being read or written.
    next: Option<Heartbeat>,
    busy: bool,
    /// Why the last write failed.
    failing: Option<String>,
}

impl Deacon {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard,
            last: None,
            next: None,
            busy: false,
            failing: None,
        }
    }

    fn patrol(&mut self, patrol: &Patrol, context: &mut Context<Self>) {
        let world = Rc::clone(self.guard.world());
        // Bounded: one per patrol.
        world.supervisor.tell(SelfPulse(Subject::Deacon));
        let previous = self.next.as_ref().or(self.last.as_ref());
        self.next = Some(Heartbeat::touch_with_action(
            previous,
            world.ports.clock.wall(),
            &patrol.action,
            patrol.healthy,
            patrol.unhealthy,
        ));
        self.write(context);
    }

    fn write(&mut self, context: &mut Context<Self>) {
        if self.busy {
            return;
        }
        let Some(heartbeat) = self.next.take() else {
            return;
        };
        let bytes = heartbeat.to_bytes();
        self.last = Some(heartbeat);
        self.on_file(
            context,
            move |file| Wrote(file.write(&bytes).map_err(|error| error.to_string())),
            |panic| Wrote(Err(panic)),
        );
    }

    /// Uses the file on a blocking thread; the answer comes as a message. Bounded: one at a
    /// time.
    fn on_file<M>(
        &mut self,
        context: &mut Context<Self>,
        use_it: impl FnOnce(&mut dyn DeaconFile) -> M + Send + 'static,
        panicked: impl FnOnce(String) -> M + Send + 'static,
    ) where
        M: actix::Message<Result = ()> + Send + 'static,
        Self: Handler<M>,
    {
        self.busy = true;
        let file = Arc::clone(&self.guard.world().deacon_file);
        let address = context.address();
        let task = actix_rt::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let done = catch_unwind(AssertUnwindSafe(|| use_it(&mut **file)));
            address.do_send(done.unwrap_or_else(|payload| {
                panicked(format!("its code panicked: {}", text_of(&*payload)))
            }));
        });
        // The message above is how it ends.
        drop(task);
    }
}

impl Actor for Deacon {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            actor.on_file(context, |file| Stood(file.read()), |_| Stood(None));
        });
    }
}

impl Guarded for Deacon {
    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl Handler<Patrol> for Deacon {
    type Result = ();

    fn handle(&mut self, patrol: Patrol, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.patrol(&patrol, context);
        });
    }
}

impl Handler<Stood> for Deacon {
    type Result = ();

    fn handle(&mut self, Stood(bytes): Stood, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.busy = false;
            // Something else in the file is no heartbeat to go on from; ours replaces it.
            let stood = bytes.and_then(|bytes| Heartbeat::parse(&bytes).ok());
            if let (Some(stood), Some(next)) = (&stood, &mut actor.next) {
                // Patrols that came before the file was read counted from nothing.
                next.cycle = next.cycle.wrapping_add(stood.cycle);
            }
            actor.last = stood;
            actor.write(context);
        });
    }
}

impl Handler<Wrote> for Deacon {
    type Result = ();

    fn handle(&mut self, Wrote(result): Wrote, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.busy = false;
            let log = &actor.guard.world().log;
            match (&result, &actor.failing) {
                (Err(why), failing) if failing.as_ref() != Some(why) => {
                    warn!(log, "deacon heartbeat cannot be written"; "error" => why);
                }
                (Ok(()), Some(_)) => info!(log, "deacon heartbeat written again"),
                (Err(_) | Ok(()), _) => {}
            }
            actor.failing = result.err();
            actor.write(context);
        });
    }
}
