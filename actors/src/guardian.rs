//! The guardian: notices that an actor panicked and builds it anew.
//!
//! actix drops a panicked actor and lets its senders find a closed mailbox; its own
//! supervisor does not help. So every guarded actor holds a [`Guard`]. When the actor dies
//! the guard is dropped with it and tells the [`Guardian`], which has the actor built again,
//! at once as long as it died at most [`MAX_DEATHS`] times within [`DEATH_WINDOW`], otherwise
//! when the window allows it: what always panics must not burn the processor, and giving up
//! would leave the services without a watcher.
//!
//! Handlers run inside [`guarded`], which keeps the panic's text for the log. It also marks
//! the actor's context as ended before the unwinding goes on: actix polls the context once
//! more while it drops it, and a half-changed actor must not run again.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::FutureExt as _;

use actix::{Actor, ActorContext, ActorState, AsyncContext, Context, Handler};
use slog::error;

use supervisor_core::time::Mono;

use crate::internal::PULSE;
use crate::messages::{Deaths, Rebuilt, SelfPulse, ServiceId};
use crate::world::World;

/// How often an actor may die within [`DEATH_WINDOW`] and be rebuilt at once.
const MAX_DEATHS: usize = 3;
/// See [`MAX_DEATHS`].
const DEATH_WINDOW: Duration = Duration::from_secs(60);

/// One of our actors, as the guardian knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The supervisor.
    Supervisor,
    /// The archive.
    Archive,
    /// The writer of `deacon/heartbeat.json`.
    Deacon,
    /// The alerter.
    Alerter,
    /// What sees files change.
    Watcher,
    /// What waits until they rest.
    Debouncer,
    /// What sends them to tables.
    Syncer,
    /// The guardian itself.
    Guardian,
    /// The actor of a watched service.
    Service(ServiceId),
}

/// What an actor holds to be missed when it dies.
pub(crate) struct Guard {
    world: Rc<World>,
    subject: Subject,
}

/// A death that nobody has dealt with yet.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    pub(crate) subject: Subject,
    /// The panic's text.
    pub(crate) text: String,
    /// When it may be rebuilt; `None` until the guardian has thought about it.
    pub(crate) due: Option<Mono>,
}

/// An actor that is rebuilt when it panics.
pub(crate) trait Guarded: Actor<Context = Context<Self>> {
    fn guard(&self) -> &Guard;

    /// Called after a panic, before the actor is dropped: the last chance to hand on what
    /// only it knows. Its state may be half changed.
    fn last_will(&mut self) {}
}

/// Runs what an actor does on a message, so that a panic in it leaves its text.
pub(crate) fn guarded<A: Guarded, R>(
    actor: &mut A,
    context: &mut Context<A>,
    body: impl FnOnce(&mut A, &mut Context<A>) -> R,
) -> R {
    match catch_unwind(AssertUnwindSafe(|| body(actor, context))) {
        Ok(result) => result,
        Err(payload) => {
            actor.guard().world.say_last_words(text_of(&*payload));
            // A second panic, in the will, must not hide the first.
            let will = catch_unwind(AssertUnwindSafe(|| actor.last_will()));
            if will.is_err() {
                error!(actor.guard().world.log, "actor panicked again in its last will";
                    "actor" => actor.guard().world.label(actor.guard().subject));
            }
            context.terminate();
            resume_unwind(payload)
        }
    }
}

/// [`guarded`], for what an actor begins with. An actor that never had its first turn gets it
/// while it is dropped: then there is nothing to begin, and no runtime to do it in.
pub(crate) fn guarded_start<A: Guarded>(
    actor: &mut A,
    context: &mut Context<A>,
    body: impl FnOnce(&mut A, &mut Context<A>),
) {
    if context.state() == ActorState::Running {
        guarded(actor, context, body);
    }
}

/// Runs a future that an actor has under way beside its messages: a panic in it is a failure
/// of that, not the death of the actor, which nobody would hear of.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let done = AssertUnwindSafe(future).catch_unwind().await;
    done.map_err(|payload| text_of(&*payload))
}

/// The text of a panic, where it has one.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

// === impl Guard ===

impl Guard {
    pub(crate) fn new(world: Rc<World>, subject: Subject) -> Self {
        Self { world, subject }
    }

    pub(crate) fn world(&self) -> &Rc<World> {
        &self.world
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Actors are also dropped, unpanicked, when their whole system ends.
        let words = self.world.take_last_words();
        if let Subject::Service(id) = self.subject
            && self.world.left(id)
        {
            // It was to end anyway.
            return;
        }
        if let Some(text) = words {
            self.world.mourn(Death {
                subject: self.subject,
                text,
                due: None,
            });
        }
    }
}

// === impl Guardian ===

/// Rebuilds what died.
pub(crate) struct Guardian {
    guard: Guard,
    /// When each that ever died did, within the last window.
    deaths: HashMap<Subject, VecDeque<Mono>>,
}

impl Guardian {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard,
            deaths: HashMap::new(),
        }
    }

    fn pulse(&mut self, context: &mut Context<Self>) {
        let world = self.guard.world();
        // Bounded: one each ten seconds.
        world.supervisor.tell(SelfPulse(Subject::Guardian));
        context.run_later(PULSE, |actor, context| {
            guarded(actor, context, Self::pulse);
        });
    }

    /// Deals with all deaths that it is time to deal with.
    fn tend(&mut self, context: &mut Context<Self>) {
        let world = Rc::clone(self.guard.world());
        let now = world.ports.clock.mono();
        while let Some(death) = world.next_death(now) {
            // Whatever happens to this guardian below, the dead one is not forgotten: it is
            // rebuilt before anything is said about it, or stands in the list again.
            let wait = match death.due {
                None => self.wait(death.subject, now),
                Some(_) => Duration::ZERO,
            };
            let line = death.clone();
            if death.subject == Subject::Guardian {
                // It has been rebuilt already: it is the one who reads this.
                count(&world, death);
            } else if wait.is_zero() {
                rebuild(&world, death);
            } else {
                let due = Some(now + wait);
                world.mourn(Death { due, ..death });
                context.run_later(wait, |actor, context| {
                    guarded(actor, context, Self::tend);
                });
            }
            if line.due.is_none() {
                error!(world.log, "actor panicked";
                    "actor" => world.label(line.subject), "panic" => &line.text,
                    "rebuilt_in_ms" => wait.as_millis());
            }
        }
    }

    /// How long it must wait to be rebuilt: it has just died once more.
    fn wait(&mut self, subject: Subject, now: Mono) -> Duration {
        let died = self.deaths.entry(subject).or_default();
        died.push_back(now);
        while died
            .front()
            .is_some_and(|first| now.since(*first) > DEATH_WINDOW)
        {
            died.pop_front();
        }
        match died.len().checked_sub(MAX_DEATHS + 1) {
            Some(first) => (died[first] + DEATH_WINDOW).since(now),
            None => Duration::ZERO,
        }
    }
}

/// Builds the actor anew and has its death counted.
fn rebuild(world: &Rc<World>, death: Death) {
    // A factory that panics is the death of what it did not build.
    match catch_unwind(AssertUnwindSafe(|| world.build(death.subject))) {
        Ok(()) => count(world, death),
        Err(payload) => world.mourn(Death {
            text: text_of(&*payload),
            due: None,
            ..death
        }),
    }
}

/// Has a death counted and shown.
fn count(world: &Rc<World>, death: Death) {
    // Bounded: one per death, and deaths are limited.
    world.supervisor.tell(Rebuilt {
        subject: death.subject,
        text: death.text,
    });
}

impl Actor for Guardian {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            // Who died while the guardian itself was dead.
            context.notify(Deaths);
            actor.pulse(context);
        });
    }
}

impl Guarded for Guardian {
    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl Handler<Deaths> for Guardian {
    type Result = ();

    fn handle(&mut self, _: Deaths, context: &mut Self::Context) {
        guarded(self, context, Self::tend);
    }
}
