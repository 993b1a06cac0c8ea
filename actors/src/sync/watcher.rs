//! The Watcher: knows where something may have changed.
//!
//! ```text
//!  begin ──▶ walk everything, watching each directory before it is read
//!                │                                     ┌── limit of watches ──▶ polling: a walk
//!                ▼                                     │                        now and then
//!   what the board says: a file ──▶ Touched            │
//!                        a directory ──▶ walk that, its files are Touched
//!                        something missed ──▶ walk everything
//!   each second: do the directories still stand where they stood?
//! ```
//!
//! One walk at a time, on a blocking thread; what is asked for meanwhile is done after it. A
//! walk of everything records what it finds at once, but for what changed a moment ago: that
//! is left to the Debouncer, as what the kernel tells.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext, Context, Handler, SpawnHandle, WrapFuture as _,
};
use slog::{debug, info, warn};
use tokio::sync::oneshot;

use supervisor_core::time::Mono;

use crate::guardian::{Guard, Guarded, Subject, guarded, guarded_start};
use crate::internal::PULSE;
use crate::messages::SelfPulse;
use crate::ports::StoreError;
use crate::ports::files::Blind;

use super::Hall;
use super::desk::blocking;
use super::messages::{Close, Glance, LedgerState, Rescan, Scanned, Touch, Touched, Wake};
use super::scan::{Leave, Walked};

/// How often it is seen whether the directories of the configuration still stand.
const ROOTS: Duration = Duration::from_secs(1);
/// How often everything is walked where the kernel cannot tell; more seldom where a walk takes
/// long.
const POLL: Duration = Duration::from_secs(10);
/// A walk may take this share of the time between two, where everything is polled.
const POLL_SHARE: u32 = 20;
/// How often everything is walked though the kernel tells: it may be a file system that others
/// write to, of which it knows nothing.
const RESCAN: Duration = Duration::from_secs(60 * 60);
/// After so long a walk that could not be recorded is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// What was found is not kept back for more walks when it is so much.
const MOST_FOUND: usize = 10_000;

/// See the module's page.
pub(crate) struct Watcher {
    guard: Guard,
    /// Whether the kernel tells.
    seeing: bool,
    /// Why everything is walked, once the present walk is over.
    wanted: Option<String>,
    /// Who waits for a walk of everything that has not begun.
    waiting: Vec<oneshot::Sender<Scanned>>,
    /// Directories to be walked, once the present walk is over.
    below: BTreeSet<String>,
    /// What walks of directories found and the Debouncer has not been told: a directory's old
    /// name and its new one are walked one after the other, and their files belong together.
    found: Vec<Touch>,
    /// Whether a walk is under way.
    walking: bool,
    /// Whether everything was walked since the start.
    walked_once: bool,
    /// The directories of the configuration when they were last looked at.
    roots: Option<Vec<Option<u64>>>,
    /// When the kernel was asked to tell, the last time.
    opened: Mono,
    timer: Option<SpawnHandle>,
    closed: bool,
}

/// A walk that is over.
struct Done {
    walked: Result<Walked, StoreError>,
    blind: Option<Blind>,
    /// Whether all was walked.
    whole: bool,
    took: Duration,
}

impl Watcher {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard,
            seeing: false,
            wanted: None,
            waiting: Vec::new(),
            below: BTreeSet::new(),
            found: Vec::new(),
            walking: false,
            walked_once: false,
            roots: None,
            opened: Mono(0),
            timer: None,
            closed: false,
        }
    }

    fn hall(&self) -> Rc<Hall> {
        self.guard.world().hall()
    }

    fn begin(&mut self, context: &mut Context<Self>) {
        let hall = self.hall();
        if hall.spec.continuous {
            self.open();
            self.look_at_roots(context);
            self.want("start".to_owned(), context);
        }
    }

    /// Asks the kernel to tell.
    fn open(&mut self) {
        let world = Rc::clone(self.guard.world());
        let hall = self.hall();
        self.opened = world.ports.clock.mono();
        match hall.eyes.open(hall.board.tell()) {
            Ok(()) => {
                self.seeing = true;
                let mut watch = hall.shared.watch.borrow_mut();
                watch.mode = "kernel";
                watch.reason = None;
            }
            Err(why) => self.go_blind(&world.log, &why),
        }
    }

    /// From now on everything is walked now and then.
    fn go_blind(&mut self, log: &slog::Logger, why: &Blind) {
        let hall = self.hall();
        self.seeing = false;
        let mut watch = hall.shared.watch.borrow_mut();
        let reason = why.to_string();
        if watch.mode != "polling" || watch.reason.as_ref() != Some(&reason) {
            warn!(log, "sync: directories are not watched but walked now and then";
                "why" => &reason, "every_s" => POLL.as_secs());
        }
        watch.mode = "polling";
        watch.reason = Some(reason);
    }

    // --- what is told ---

    fn glance(&mut self, context: &mut Context<Self>) {
        let world = Rc::clone(self.guard.world());
        let hall = self.hall();
        let told = hall.board.take();
        if self.closed {
            return;
        }
        for name in told.not_utf8 {
            warn!(world.log, "sync: a name that is not UTF-8 is left out"; "name" => name);
        }
        for (name, why) in told.ignored {
            debug!(world.log, "Ignored ({why}): {name}");
        }
        let mut touches: Vec<Touch> = told
            .files
            .into_iter()
            .map(|file_path| Touch {
                file_path,
                from: None,
            })
            .collect();
        for (from, to) in told.moves {
            if hall.spec.routes.route_of(&to).is_ok() && hall.files.exists(&to) {
                touches.push(Touch {
                    file_path: Arc::from(to),
                    from: Some(Arc::from(from)),
                });
            } else {
                // Directories: the names in them tell the rest by their inodes.
                self.below.insert(from);
                self.below.insert(to);
            }
        }
        if !touches.is_empty() {
            // Bounded: the board holds each file once, and so many of them.
            hall.debouncer.tell(Touched(touches));
        }
        let directories = hall.spec.routes.directories();
        for (directory, known) in directories.iter().zip(self.roots.iter_mut().flatten()) {
            if told.directories.contains(&directory.shown) {
                // Whatever stands there next time has not been walked.
                *known = None;
            }
        }
        self.below.extend(told.directories);
        if let Some(why) = told.everything {
            warn!(world.log, "sync: something was missed, everything is looked at"; "why" => &why);
            self.want(why, context);
        }
        self.walk(context);
    }

    /// Whether the directories of the configuration still stand where they stood. One that
    /// appears or is replaced is walked, and watched by that.
    fn look_at_roots(&mut self, context: &mut Context<Self>) {
        let files = Arc::clone(&self.hall().files);
        let look = async move { blocking(move || Ok(files.roots())).await };
        context.spawn(look.into_actor(self).map(|roots, actor, context| {
            guarded(actor, context, |actor, context| {
                if let Ok(roots) = roots {
                    actor.compare_roots(roots, context);
                }
                if !actor.closed {
                    context.run_later(ROOTS, |actor, context| {
                        guarded(actor, context, Self::look_at_roots);
                    });
                }
            });
        }));
    }

    fn compare_roots(&mut self, roots: Vec<Option<u64>>, context: &mut Context<Self>) {
        let world = Rc::clone(self.guard.world());
        let hall = self.hall();
        *hall.shared.exists.borrow_mut() = roots.iter().map(Option::is_some).collect();
        let Some(before) = self.roots.replace(roots.clone()) else {
            return;
        };
        let directories = hall.spec.routes.directories().iter();
        for ((directory, before), now) in directories.zip(before).zip(roots) {
            if before == now {
                continue;
            }
            match now {
                Some(_) => {
                    info!(world.log, "sync: a directory appeared"; "path" => &directory.shown);
                }
                None => warn!(world.log, "sync: a directory is gone"; "path" => &directory.shown),
            }
            self.below.insert(directory.shown.clone());
        }
        self.walk(context);
    }

    // --- walks ---

    /// Everything is to be walked.
    fn want(&mut self, why: String, context: &mut Context<Self>) {
        self.wanted = Some(why);
        self.walk(context);
    }

    /// Begins the next walk, if there is one to begin and none under way.
    fn walk(&mut self, context: &mut Context<Self>) {
        if self.walking || self.closed {
            return;
        }
        let whole = self.wanted.take().is_some();
        let below = if whole {
            // It walks them, too.
            self.below.clear();
            None
        } else {
            match self.below.pop_first() {
                Some(below) => Some(below),
                None => return,
            }
        };
        self.walking = true;
        let world = Rc::clone(self.guard.world());
        let now = world.ports.clock.mono();
        if whole && self.hall().spec.continuous && !self.seeing && now.since(self.opened) >= RESCAN
        {
            // Its limits may have been raised.
            self.open();
        }
        let hall = self.hall();
        let (clock, recorder) = (Arc::clone(&world.ports.clock), hall.recorder());
        let (eyes, progress) = (Arc::clone(&hall.eyes), Arc::clone(&hall.shared.progress));
        let leave = self.leave(whole);
        let waiting = if whole {
            std::mem::take(&mut self.waiting)
        } else {
            Vec::new()
        };
        let seeing = self.seeing;
        if whole {
            hall.shared.scanning.set(true);
        }
        let began = clock.mono();
        let wall = clock.wall();
        let work = async move {
            blocking(move || {
                let blind: OnceLock<Blind> = OnceLock::new();
                let enter = |paths: &[&Path]| {
                    if seeing
                        && blind.get().is_none()
                        && let Err(why) = eyes.watch_all(paths)
                    {
                        // One at a time: nobody else has set it.
                        drop(blind.set(why));
                    }
                };
                let walked = recorder.walk(below.as_deref(), leave, &enter, &progress, wall);
                Ok((walked, blind.into_inner()))
            })
            .await
        };
        context.spawn(work.into_actor(self).map(move |done, actor, context| {
            guarded(actor, context, |actor, context| {
                actor.walking = false;
                let took = clock.mono().since(began);
                let (walked, blind) = match done {
                    Ok(done) => done,
                    Err(why) => (Err(why), None),
                };
                let done = Done {
                    walked,
                    blind,
                    whole,
                    took,
                };
                actor.walked(done, waiting, context);
            });
        }));
    }

    /// Which files a walk leaves to the Debouncer.
    fn leave(&self, whole: bool) -> Leave {
        let spec = &self.hall().spec;
        if !spec.continuous {
            return Leave::Nothing;
        }
        if !whole {
            return Leave::Everything;
        }
        let now = self.guard.world().ports.clock.wall();
        let debounce = i64::try_from(spec.debounce.as_nanos()).unwrap_or(i64::MAX);
        Leave::YoungerThan(now.0.saturating_mul(1_000).saturating_sub(debounce))
    }

    fn walked(
        &mut self,
        done: Done,
        waiting: Vec<oneshot::Sender<Scanned>>,
        context: &mut Context<Self>,
    ) {
        let world = Rc::clone(self.guard.world());
        let hall = self.hall();
        if let Some(why) = &done.blind {
            self.go_blind(&world.log, why);
        }
        hall.shared.watch.borrow_mut().directories = hall.eyes.watched() as u64;
        if done.whole {
            hall.shared.scanning.set(false);
        }
        let mut scanned = Scanned::default();
        let mut reading = Duration::ZERO;
        match done.walked {
            Ok(walked) => {
                reading = walked.recorded.reading;
                // A walk that nobody asked for skips nothing that was not skipped before.
                let counts = done.whole && (!waiting.is_empty() || !self.walked_once);
                self.walked_once |= done.whole;
                scanned = self.say(walked, done.whole, counts);
                // Bounded: one a walk.
                hall.syncer.tell(LedgerState(Ok(())));
            }
            Err(why) => {
                hall.syncer.tell(LedgerState(Err(why.to_string())));
                if hall.spec.continuous {
                    context.run_later(PAUSE, |actor, context| {
                        guarded(actor, context, |actor, context| {
                            actor.want("the last walk could not be recorded".to_owned(), context);
                        });
                    });
                }
            }
        }
        if done.whole {
            // Not before what it found is known to wait.
            let now = world.ports.clock.wall();
            hall.shared.last_scan.set(Some((now, done.took)));
            info!(world.log, "sync: everything was looked at"; "unchanged" => scanned.unchanged,
                "queued" => scanned.queued, "whole" => scanned.whole,
                "read_ms" => reading.as_millis(), "took_ms" => done.took.as_millis());
            hall.syncer.tell(scanned);
            for who in waiting {
                // Who asked may be gone.
                let _ = who.send(scanned);
            }
            self.plan_next(done.took, context);
        } else {
            hall.syncer.tell(Wake);
        }
        self.walk(context);
    }

    /// Says what a walk found, and passes on what it left.
    fn say(&mut self, walked: Walked, whole: bool, counts: bool) -> Scanned {
        let world = Rc::clone(self.guard.world());
        let hall = self.hall();
        let recorded = &walked.recorded;
        let unchanged = walked.unchanged + recorded.unchanged;
        if counts {
            hall.shared.count(|totals| totals.skipped += unchanged);
        }
        let freed = hall.say(&world.log, recorded);
        for (path, why) in &walked.unread {
            hall.shared.count(|totals| totals.errors += 1);
            warn!(world.log, "sync: a directory cannot be read, its files are left as they are";
                "path" => path, "why" => why);
        }
        let (names, count) = &walked.not_utf8;
        if whole && *count > 0 {
            warn!(world.log, "sync: names that are not UTF-8 are left out";
                "count" => count, "names" => names.join(", "));
        }
        let changing = recorded.again.iter().cloned();
        let touches = walked.young.into_iter().chain(changing).chain(freed);
        self.found.extend(touches.map(|file_path| Touch {
            file_path,
            from: None,
        }));
        let over = whole || self.below.is_empty() || self.found.len() >= MOST_FOUND;
        if over && !self.found.is_empty() {
            // Bounded: one a walk, with each file once.
            hall.debouncer
                .tell(Touched(std::mem::take(&mut self.found)));
        }
        Scanned {
            unchanged,
            queued: walked.recorded.queued,
            recorded: true,
            whole: walked.unread.is_empty(),
        }
    }

    /// Everything is walked again after a while, whether the kernel tells or not.
    fn plan_next(&mut self, took: Duration, context: &mut Context<Self>) {
        if !self.hall().spec.continuous {
            return;
        }
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        let wait = if self.seeing {
            RESCAN
        } else {
            POLL.max(took * POLL_SHARE)
        };
        let timer = context.run_later(wait, |actor, context| {
            guarded(actor, context, |actor, context| {
                actor.timer = None;
                actor.want("it is time".to_owned(), context);
            });
        });
        self.timer = Some(timer);
    }

    fn pulse(&mut self, context: &mut Context<Self>) {
        // Bounded: one each ten seconds.
        self.guard
            .world()
            .supervisor
            .tell(SelfPulse(Subject::Watcher));
        context.run_later(PULSE, |actor, context| {
            guarded(actor, context, Self::pulse);
        });
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            actor.pulse(context);
            actor.begin(context);
            // What was told while nobody listened.
            actor.glance(context);
        });
    }
}

impl Guarded for Watcher {
    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl Handler<Glance> for Watcher {
    type Result = ();

    fn handle(&mut self, _: Glance, context: &mut Self::Context) {
        guarded(self, context, Self::glance);
    }
}

impl Handler<Rescan> for Watcher {
    type Result = ();

    fn handle(&mut self, rescan: Rescan, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.waiting.extend(rescan.done);
            actor.want(rescan.why, context);
        });
    }
}

impl Handler<Close> for Watcher {
    type Result = ();

    fn handle(&mut self, _: Close, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.closed = true;
            actor.hall().eyes.close();
        });
    }
}
