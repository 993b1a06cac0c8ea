//! The actor of one probe: looks at a service from outside, on a schedule of its own.
//!
//! ```text
//!             a life begins             its time                  a place is free
//!   nobody ─────────────────▶ waiting ───────────▶ for its place ─────────────────▶ looking
//!     ▲                          ▲                                                     │
//!     └──── the life ends ───────┴──────────── passed, failed, could not look ◀────────┘
//! ```
//!
//! Where nobody lives nobody is looked at, and a look that is under way when a life ends is
//! given up with it. A service that others run always lives.
//!
//! Looks come at fixed times, `interval` apart, whose phase follows from the service's name:
//! a thousand probes that are begun together do not go on together. Only until the first
//! success of a life, and not beyond its start's time, they follow one another faster, so that
//! readiness is seen when it comes.
//!
//! A failure is the service's. That we could not look is ours, and so is one that came while
//! we were stopped or starved (`attended`): then it is looked again, and meanwhile the
//! silence is excused.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message,
    SpawnHandle, WrapFuture,
};
use futures_util::FutureExt;
use slog::{error, warn};
use supervisor_core::ServiceName;
use supervisor_core::event::Generation;
use supervisor_core::stall::ORDINARY;
use supervisor_core::time::Mono;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::guardian::text_of;
use crate::ports::{Check, Clock, Look};
use crate::source::{Ear, Heard, Life, Listening};
use crate::spec::ServiceSpec;

/// How far apart looks are until the first success of a life, at most.
const QUICK: Duration = Duration::from_secs(1);
/// How soon it is looked again after a failure that was ours.
const AGAIN: Duration = Duration::from_millis(100);
/// How often we see to it, while we look, that we are awake.
const TICK: Duration = Duration::from_millis(250);
/// Which share of a look's time we must have slept through for its failure to be ours.
const SLEPT: u32 = 8;
/// How often it is said that probes wait for one another, or cannot look.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// What of a reason is kept.
const REASON_BYTES: usize = 500;

/// When a probe looks and what it makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How far apart looks are.
    pub interval: Duration,
    /// How long one may take; not longer than the interval.
    pub timeout: Duration,
    /// From the how manieth failure in a row on they count; at least 1.
    pub failure_threshold: u32,
    /// How many successes in a row it takes until they count again; at least 1.
    pub success_threshold: u32,
}

/// The places that all probes share: so many looks are under way at once, at most. Cheap to
/// clone; usable on any thread.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: u32,
    free: Arc<Semaphore>,
    /// When something was said of all of them last.
    said: AtomicU64,
}

/// Begins to look at a service: what the source of a probe opens.
#[must_use]
pub fn begin(
    spec: &ServiceSpec,
    plan: Plan,
    check: Rc<dyn Check>,
    places: Places,
    ear: Ear,
) -> Box<dyn Listening> {
    let ours = spec.process.is_some();
    let probe = Probe {
        service: spec.name.clone(),
        start: spec.policy.start_grace,
        splay: splay(&spec.name),
        plan,
        check,
        places,
        ear,
        ours,
        present: None,
        pending: None,
    };
    Box::new(AtWork(probe.start()))
}

/// What the service's actor holds.
struct AtWork(Addr<Probe>);

impl Listening for AtWork {
    fn life(&mut self, life: Life) {
        // Bounded: by how often a process can be started.
        self.0.do_send(Lived(life));
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        // Bounded: said once.
        self.0.do_send(Leave);
    }
}

/// The service's process has come to this.
#[derive(Message)]
#[rtype(result = "()")]
struct Lived(Life);

/// Nobody wants it looked at any more.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

/// The actor.
struct Probe {
    service: ServiceName,
    /// How long its start may take.
    start: Duration,
    /// Where in an interval its looks come, in 0..1.
    splay: f64,
    plan: Plan,
    check: Rc<dyn Check>,
    places: Places,
    ear: Ear,
    /// Whether we run the service.
    ours: bool,
    /// The life that is looked at.
    present: Option<Present>,
    /// What wakes us for the next look, or the look under way.
    pending: Option<SpawnHandle>,
}

/// A life, and what was seen of it.
struct Present {
    generation: Option<Generation>,
    ear: Ear,
    begun: Mono,
    /// Whether one has succeeded.
    passed: bool,
    /// Whether a success counts at once.
    passing: bool,
    /// Successes and failures in a row.
    good: u32,
    bad: u32,
}

/// What a look under way comes back with.
struct Seen {
    look: Look,
    /// How much of its time we slept through.
    slept: Duration,
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if !self.ours {
            self.live(None, context);
        }
    }
}

impl Handler<Lived> for Probe {
    type Result = ();

    fn handle(&mut self, Lived(life): Lived, context: &mut Self::Context) {
        match life {
            Life::Starting { .. } | Life::Ended { .. } => self.rest(context),
            Life::Started { generation, .. } => {
                let known = self.present.as_ref();
                // A word that is repeated is no new life.
                if known.is_none_or(|known| known.generation != Some(generation)) {
                    self.live(Some(generation), context);
                }
            }
        }
    }
}

impl Handler<Leave> for Probe {
    type Result = ();

    fn handle(&mut self, _: Leave, context: &mut Self::Context) {
        self.rest(context);
        context.stop();
    }
}

impl Probe {
    /// Nobody lives.
    fn rest(&mut self, context: &mut Context<Self>) {
        self.present = None;
        self.forget_pending(context);
    }

    /// Gives up the look under way, or the wait for it.
    fn forget_pending(&mut self, context: &mut Context<Self>) {
        if let Some(pending) = self.pending.take() {
            context.cancel_future(pending);
        }
    }

    /// A life has begun, or was found.
    fn live(&mut self, generation: Option<Generation>, context: &mut Context<Self>) {
        self.forget_pending(context);
        self.present = Some(Present {
            generation,
            ear: match generation {
                Some(generation) => self.ear.of(generation),
                None => self.ear.clone(),
            },
            begun: self.ear.clock().mono(),
            passed: false,
            passing: false,
            good: 0,
            bad: 0,
        });
        // Not all at once, and no later than a pulse that is due may be late.
        let most = (self.plan.interval / 10).min(QUICK);
        self.wait(most.mul_f64(self.splay), context);
    }

    fn wait(&mut self, time: Duration, context: &mut Context<Self>) {
        let pending = context.run_later(time, Self::look);
        self.pending = Some(pending);
    }

    /// It is time.
    fn look(&mut self, context: &mut Context<Self>) {
        let Some(present) = &self.present else {
            return;
        };
        let places = self.places.clone();
        let (check, plan) = (Rc::clone(&self.check), self.plan);
        let ear = present.ear.clone();
        let pending = context.spawn(
            async move {
                let place = places.take(check.weight(), plan, &ear).await;
                let look = AssertUnwindSafe(async { check.look().await }).catch_unwind();
                let (look, slept) = attended(&**ear.clock(), plan.timeout, look).await;
                drop(place);
                let look = look.unwrap_or_else(|payload| {
                    Look::Unable(format!("its code panicked: {}", text_of(&*payload)))
                });
                Seen { look, slept }
            }
            .into_actor(self)
            .map(|seen, probe, context| probe.seen(seen, context)),
        );
        self.pending = Some(pending);
    }

    /// A look has come back.
    fn seen(&mut self, seen: Seen, context: &mut Context<Self>) {
        let plan = self.plan;
        let Some(present) = &mut self.present else {
            return;
        };
        let wait = match seen.look {
            Look::Passed => {
                present.succeed(plan);
                self.until_next()
            }
            Look::Failed(_) if seen.slept * SLEPT >= plan.timeout => AGAIN,
            Look::Failed(reason) => {
                present.fail(reason, plan);
                self.until_next()
            }
            Look::Unable(why) => {
                excuse(&present.ear, plan);
                if self.places.may_speak(present.ear.clock().mono()) {
                    error!(present.ear.log(), "a probe cannot look";
                        "service" => %self.service, "why" => why);
                }
                self.until_next()
            }
        };
        self.wait(wait, context);
    }

    /// How long until the next look.
    fn until_next(&self) -> Duration {
        let Some(present) = &self.present else {
            return self.plan.interval;
        };
        let lived = self.ear.clock().mono().since(present.begun);
        if !present.passed && lived < self.start {
            return self.plan.interval.min(QUICK);
        }
        // What was missed is missed: the next one is the first that is not over.
        let interval = self.plan.interval.as_nanos().max(1);
        let phase = self.plan.interval.mul_f64(self.splay).as_nanos();
        let into = (lived.as_nanos() + interval - phase) % interval;
        Duration::from_nanos(u64::try_from(interval - into).unwrap_or(u64::MAX))
    }
}

impl Present {
    fn succeed(&mut self, plan: Plan) {
        self.bad = 0;
        self.good = self.good.saturating_add(1);
        self.passing |= self.good >= plan.success_threshold;
        if self.passing {
            self.passed = true;
            // Where it is lost the life in it is not, and the next one comes.
            let _lost = self.ear.probe_passed();
        }
    }

    fn fail(&mut self, reason: String, plan: Plan) {
        self.good = 0;
        self.bad = self.bad.saturating_add(1);
        if self.bad >= plan.failure_threshold {
            self.passing = false;
            // Where it is lost the next one counts.
            let _lost = self.ear.probe_failed(clamp(reason), self.passed);
        }
    }
}

/// We do not look at it as it was promised: what it does not say meanwhile is no lateness.
fn excuse(ear: &Ear, plan: Plan) {
    let _lost = ear.heard(Heard::Extend(plan.interval + plan.timeout));
}

/// A place in 0..1 that follows from the name, so that it is the same after our restart.
fn splay(name: &ServiceName) -> f64 {
    let mut hasher = DefaultHasher::new();
    name.as_str().hash(&mut hasher);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low bits are as good as all"
    )]
    let low = hasher.finish() as u32;
    f64::from(low) / (f64::from(u32::MAX) + 1.0)
}

/// Cuts a reason to what is kept of it.
fn clamp(mut reason: String) -> String {
    if reason.len() > REASON_BYTES {
        let mut end = REASON_BYTES;
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

/// Runs something that has a time limit of its own, and says how much of its time we slept
/// through: stopped, or starved. A limit that has passed meanwhile, or a connection that the
/// other side gave up, is not the other side's fault.
async fn attended<F: Future>(
    clock: &dyn Clock,
    timeout: Duration,
    work: F,
) -> (F::Output, Duration) {
    let every = TICK.min(timeout / 4).max(Duration::from_millis(1));
    let mut work = pin!(work);
    let mut slept = Duration::ZERO;
    loop {
        let due = clock.mono() + every;
        let done = tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = sleep(every) => None,
        };
        slept += clock.mono().since(due).saturating_sub(ORDINARY);
        if let Some(done) = done {
            return (done, slept);
        }
    }
}

// === impl Places ===

impl Places {
    /// So many places.
    #[must_use]
    pub fn new(places: u32) -> Self {
        let all = places.max(1);
        Self(Arc::new(Shared {
            all,
            free: Arc::new(Semaphore::new(all as usize)),
            said: AtomicU64::new(0),
        }))
    }

    /// Waits for so many of them. Whoever waits is looked at too late, and that is not its
    /// fault.
    async fn take(&self, count: u32, plan: Plan, ear: &Ear) -> Option<OwnedSemaphorePermit> {
        let count = count.clamp(1, self.0.all);
        let mut place = pin!(Arc::clone(&self.0.free).acquire_many_owned(count));
        let mut patience = AGAIN.min(plan.interval);
        loop {
            tokio::select! {
                biased;
                // It is never closed.
                place = &mut place => return place.ok(),
                () = sleep(patience) => {}
            }
            patience = plan.interval;
            excuse(ear, plan);
            if self.may_speak(ear.clock().mono()) {
                warn!(ear.log(), "probes wait for one another, too many take long";
                    "at_once" => self.0.all);
            }
        }
    }

    /// Whether it is time to say something that concerns many of them.
    fn may_speak(&self, now: Mono) -> bool {
        let said = Mono(self.0.said.load(Ordering::Relaxed));
        let may = said == Mono(0) || now.since(said) >= SAY_EVERY;
        if may {
            self.0.said.store(now.0, Ordering::Relaxed);
        }
        may
    }
}
