//! The alerter: keeps core's desk of alerts, and sees to it that its messages arrive.
//!
//! ```text
//!   News (facts) ──▶ desk ──▶ actions ──▶ batch ── commit ──▶ couriers, one a sink ──▶ sinks
//!   Acknowledge, Mute…  ▲                   ▲                      │
//!        AlertTick ─────┘                   └────── taken, dropped ┘
//! ```
//!
//! A message is kept before it is sent and until its sink has taken it, so that a death at any
//! moment loses none: after it, what was not confirmed is sent again, under the same id and
//! serial. Where it cannot be kept (a full disk) it is sent all the same. Each sink has a
//! courier of its own with its own order and pauses: one that hangs holds up no other.
//!
//! The judging clock is the supervisor's: it comes with every message, and a tick each second
//! while something is due, so that nobody is told of a lateness that was ours.

mod courier;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseFuture,
    WrapFuture,
};
use slog::{error, warn};

use supervisor_core::Level;
use supervisor_core::alert::{
    Action, Alert, Desk, NoticeKind, Phase, Refused, SinkName, Subject as About,
};
use supervisor_core::event::{Change, EventKind, Moment};
use supervisor_core::time::Time;

use self::courier::{Courier, Outcome};
use crate::feed;
use crate::guardian::{Guard, Guarded, Subject, guarded, guarded_start, text_of};
use crate::internal::{self, PULSE};
use crate::messages::{
    Acknowledge, AlertTick, AlertsCommitted, Delivered, EndSilence, GetAlerts, GetOpenAlerts,
    GetSilences, Mute, NewEvent, News, OwnTrouble, Record, SelfPulse, TellConcerns, TestSink, Why,
};
use crate::ports::StoreError;
use crate::ports::alerts::{AlertBatch, AlertStore, Delivery, Kept};

/// How long after a failed commit it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// A sink that has taken nothing for so long, though it was asked to, is an alert itself.
const FAILS_LONG: Duration = Duration::from_secs(5 * 60);

/// Keeps the desk and the couriers.
pub(crate) struct Alerter {
    guard: Guard,
    desk: Desk,
    /// The last moment that the supervisor told.
    present: Moment,
    couriers: BTreeMap<SinkName, Courier>,
    /// The number of the next delivery.
    next: u64,
    /// What is to be kept and is not yet under way.
    batch: AlertBatch,
    /// What is sent as soon as it is kept.
    held: Vec<Delivery>,
    /// What is being kept now, to be sent when it is.
    in_flight: Option<Vec<Delivery>>,
    /// Whether the last commit failed: nothing waits for the next one.
    failing: Option<String>,
}

impl Alerter {
    pub(crate) fn new(guard: Guard) -> Self {
        let world = Rc::clone(guard.world());
        let couriers = world.alert_sinks.iter().map(|(name, sink)| {
            let courier = Courier::new(name.clone(), Rc::clone(sink));
            (name.clone(), courier)
        });
        let kept = Kept::default();
        Self {
            desk: desk_of(&world.alert_policy.borrow(), kept),
            present: Moment::default(),
            couriers: couriers.collect(),
            next: 1,
            batch: AlertBatch::default(),
            held: Vec::new(),
            in_flight: None,
            failing: None,
            guard,
        }
    }

    /// Goes on from what was kept.
    fn begin(&mut self, loaded: Result<Kept, StoreError>, context: &mut Context<Self>) {
        let world = Rc::clone(self.guard.world());
        let mut kept = loaded.unwrap_or_else(|why| {
            error!(world.log, "alerts cannot be read, they begin afresh"; "error" => %why);
            Kept::default()
        });
        self.next = kept.last.2 + 1;
        for delivery in std::mem::take(&mut kept.queue) {
            self.next = self.next.max(delivery.number + 1);
            match self.couriers.get_mut(&delivery.sink) {
                Some(courier) => self.batch.done.extend(courier.take(delivery)),
                // The configuration has no such sink any more.
                None => self.batch.done.push(delivery.number),
            }
        }
        self.desk = desk_of(&world.alert_policy.borrow(), kept);
        let names: Vec<_> = self.couriers.keys().cloned().collect();
        for name in names {
            self.dispatch(&name, context);
        }
        self.settle(context);
        // All facts once more: the supervisor tells them to whoever begins.
        world.supervisor.tell(TellConcerns);
        self.pulse(context);
    }

    // === what is decided ===

    fn news(&mut self, news: News, context: &mut Context<Self>) {
        let at = news.at;
        self.present = at;
        self.desk.set_watched(news.watched);
        for (service, when) in &news.poked {
            self.desk.poked(service, *when);
        }
        for service in &news.restarted {
            self.desk.restarted(service);
        }
        let mut actions = Vec::new();
        for service in &news.forgotten {
            actions.extend(self.desk.forget(service, at));
        }
        for fact in news.facts {
            actions.extend(self.desk.fact(fact, at));
        }
        for trouble in news.own {
            actions.extend(match trouble {
                OwnTrouble::Is {
                    what,
                    level,
                    reason,
                    lasts,
                } => self.desk.own(what, level, reason, lasts, at),
                OwnTrouble::Over { what } => self.desk.own_over(what, at),
            });
        }
        self.carry_out(actions, context);
    }

    fn tick(&mut self, at: Moment, context: &mut Context<Self>) {
        self.present = at;
        let mut actions = self.desk.tick(at);
        let now = self.guard.world().ports.clock.mono();
        for (name, courier) in &mut self.couriers {
            if let Some(why) = courier.fails_for(now, FAILS_LONG) {
                actions.extend(self.desk.sink_fails(name, why, at));
            }
            let told_here = |alert: &&Alert| {
                alert.told.contains(name)
                    && matches!(alert.phase, Phase::Firing | Phase::Acknowledged)
            };
            courier.refresh(now, self.desk.alerts().filter(told_here));
        }
        self.carry_out(actions, context);
        let names: Vec<_> = self.couriers.keys().cloned().collect();
        for name in names {
            self.dispatch(&name, context);
        }
    }

    /// Keeps what is to be kept, and what is to be sent goes once it is.
    fn carry_out(&mut self, actions: Vec<Action>, context: &mut Context<Self>) {
        let mut events = Vec::new();
        for action in actions {
            match action {
                Action::Save(alert) => {
                    let feed = &self.guard.world().feed;
                    feed.tell_if(|| feed::News::Alert(alert.clone()));
                    self.batch.alerts.push(*alert);
                }
                Action::EndSilence(id) => self.batch.ended.push(id),
                Action::Send(notice) => {
                    for sink in &notice.to {
                        if !self.couriers.contains_key(sink) {
                            continue;
                        }
                        let delivery = Delivery {
                            number: self.next,
                            sink: sink.clone(),
                            notice: (*notice).clone(),
                        };
                        self.next += 1;
                        self.batch.queue.push(delivery.clone());
                        self.held.push(delivery);
                    }
                }
                Action::Tell {
                    id,
                    subject,
                    from,
                    to,
                    level,
                    reason,
                } => {
                    let name = match &subject {
                        About::Service(name) => name.clone(),
                        About::Storm | About::Sink(_) | About::Own(_) => {
                            internal::name(Subject::Alerter)
                        }
                    };
                    events.push(NewEvent {
                        time: self.guard.world().ports.clock.wall(),
                        service: name,
                        change: Change {
                            kind: EventKind::Alert,
                            from: from.map(Phase::as_str),
                            to: Some(to.as_str()),
                            reason: format!("alert {id} ({subject}): {reason}"),
                            level,
                        },
                    });
                }
            }
        }
        self.record(events);
        self.settle(context);
    }

    fn record(&self, events: Vec<NewEvent>) {
        if !events.is_empty() {
            let record = Record {
                events,
                ..Record::default()
            };
            // Bounded: by what services live through.
            self.guard.world().archive.tell(record);
        }
    }

    /// Begins a commit, unless one is under way, and tells the supervisor what is due next.
    fn settle(&mut self, context: &mut Context<Self>) {
        let world = Rc::clone(self.guard.world());
        let refreshes = self.couriers.values().any(Courier::wants_ticks);
        let open = self.desk.alerts().next().is_some();
        world.alerts_due.set(if refreshes && open {
            Time(0)
        } else {
            self.desk.next()
        });
        if self.in_flight.is_some() {
            return;
        }
        if self.failing.is_some() {
            // Nobody waits for a disk that is full.
            self.hand_over(context);
            self.batch.condense();
            return;
        }
        self.commit(context);
    }

    fn commit(&mut self, context: &mut Context<Self>) {
        if self.batch.is_empty() {
            self.hand_over(context);
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.condense();
        self.in_flight = Some(std::mem::take(&mut self.held));
        self.on_store(context, move |store| {
            let result = store.commit(&batch);
            AlertsCommitted { batch, result }
        });
    }

    fn committed(&mut self, done: AlertsCommitted, context: &mut Context<Self>) {
        let log = self.guard.world().log.clone();
        let kept = self.in_flight.take().unwrap_or_default();
        // What came meanwhile is in no transaction yet: sent now and lost by our death, its
        // number would be given to another message.
        let later = std::mem::replace(&mut self.held, kept);
        self.hand_over(context);
        self.held.extend(later);
        match done.result {
            Ok(()) => {
                self.failing = None;
                self.settle(context);
            }
            Err(why) => {
                let why = why.to_string();
                if self.failing.as_ref() != Some(&why) {
                    error!(log, "alerts cannot be kept, they are sent all the same"; "error" => &why);
                }
                self.failing = Some(why);
                self.hand_over(context);
                let later = std::mem::replace(&mut self.batch, done.batch);
                self.batch.append(later);
                self.batch.condense();
                context.run_later(RETRY, |actor, context| {
                    guarded(actor, context, |actor, context| {
                        if actor.in_flight.is_none() {
                            actor.commit(context);
                        }
                    });
                });
            }
        }
    }

    fn on_store(
        &self,
        context: &mut Context<Self>,
        use_it: impl FnOnce(&mut dyn AlertStore) -> AlertsCommitted + Send + 'static,
    ) {
        let store = Arc::clone(&self.guard.world().alert_store);
        let address = context.address();
        let task = actix_rt::task::spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let done = catch_unwind(AssertUnwindSafe(|| use_it(&mut **store)));
            // Bounded: one at a time.
            address.do_send(done.unwrap_or_else(|payload| AlertsCommitted {
                batch: AlertBatch::default(),
                result: Err(StoreError::Unavailable(format!(
                    "its code panicked: {}",
                    text_of(&*payload)
                ))),
            }));
        });
        // The message above is how it ends.
        drop(task);
    }

    // === what is delivered ===

    fn hand_over(&mut self, context: &mut Context<Self>) {
        for delivery in std::mem::take(&mut self.held) {
            let name = delivery.sink.clone();
            if let Some(courier) = self.couriers.get_mut(&name) {
                self.batch.done.extend(courier.take(delivery));
            }
            self.dispatch(&name, context);
        }
    }

    /// Lets a courier go, if it is at home and has something to bring.
    fn dispatch(&mut self, sink: &SinkName, context: &mut Context<Self>) {
        let now = self.guard.world().ports.clock.mono();
        let Some(courier) = self.couriers.get_mut(sink) else {
            return;
        };
        let Some((number, errand)) = courier.go(now) else {
            return;
        };
        let name = sink.clone();
        // A sink that panics is a sink that fails: its panic must not take all others along.
        let errand = futures_util::FutureExt::catch_unwind(AssertUnwindSafe(errand));
        let task = errand.into_actor(self).map(move |result, actor, context| {
            guarded(actor, context, |actor, context| {
                let result =
                    result.unwrap_or_else(|payload| Err(courier::panicked(&text_of(&*payload))));
                actor.delivered(&name, number, result, context);
            });
        });
        context.spawn(task);
    }

    fn delivered(
        &mut self,
        sink: &SinkName,
        number: u64,
        result: Delivered,
        context: &mut Context<Self>,
    ) {
        let world = Rc::clone(self.guard.world());
        let (now, roll) = (world.ports.clock.mono(), world.ports.dice.roll());
        let Some(courier) = self.couriers.get_mut(sink) else {
            return;
        };
        match courier.came_back(number, result, now, roll) {
            Outcome::Taken { recovered } => {
                self.batch.done.push(number);
                if recovered {
                    let actions = self.desk.sink_works(sink, self.present);
                    self.carry_out(actions, context);
                }
            }
            Outcome::Dropped { id, reason } => {
                self.batch.done.push(number);
                error!(world.log, "alert refused for good"; "sink" => &**sink,
                    "alert" => id.0, "error" => &reason);
                self.record(vec![NewEvent {
                    time: world.ports.clock.wall(),
                    service: internal::name(Subject::Alerter),
                    change: Change {
                        kind: EventKind::Alert,
                        from: None,
                        to: None,
                        reason: format!("sink {sink} refused alert {id}: {reason}"),
                        level: Level::Degraded,
                    },
                }]);
            }
            Outcome::Again {
                after,
                said,
                reason,
            } => {
                if said {
                    warn!(world.log, "alert not delivered, trying again"; "sink" => &**sink,
                        "in_s" => after.as_secs_f64(), "error" => reason);
                }
                let name = sink.clone();
                context.run_later(after, move |actor, context| {
                    guarded(actor, context, |actor, context| {
                        actor.dispatch(&name, context);
                    });
                });
            }
        }
        self.dispatch(sink, context);
        self.settle(context);
    }

    fn pulse(&mut self, context: &mut Context<Self>) {
        // Bounded: one each ten seconds.
        self.guard
            .world()
            .supervisor
            .tell(SelfPulse(Subject::Alerter));
        context.run_later(PULSE, |actor, context| {
            guarded(actor, context, Self::pulse);
        });
    }
}

fn desk_of(policy: &Arc<supervisor_core::alert::Policy>, kept: Kept) -> Desk {
    let last = (kept.last.0, kept.last.1);
    Desk::new(Arc::clone(policy), kept.alerts, kept.silences, last)
}

// === what reaches it ===

impl Actor for Alerter {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            let store = Arc::clone(&actor.guard.world().alert_store);
            let load = actix_rt::task::spawn_blocking(move || {
                let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                catch_unwind(AssertUnwindSafe(|| store.load()))
            });
            // Nothing is handled before it is known what is open.
            context.wait(load.into_actor(actor).map(|loaded, actor, context| {
                guarded(actor, context, |actor, context| {
                    let panicked = |what: String| Err(StoreError::Unavailable(what));
                    let loaded = match loaded {
                        Ok(Ok(loaded)) => loaded,
                        Ok(Err(payload)) => panicked(text_of(&*payload)),
                        Err(error) => panicked(error.to_string()),
                    };
                    actor.begin(loaded, context);
                });
            }));
        });
    }
}

impl Guarded for Alerter {
    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl Handler<News> for Alerter {
    type Result = ();

    fn handle(&mut self, news: News, context: &mut Self::Context) {
        guarded(self, context, |actor, context| actor.news(news, context));
    }
}

impl Handler<AlertTick> for Alerter {
    type Result = ();

    fn handle(&mut self, AlertTick(at): AlertTick, context: &mut Self::Context) {
        guarded(self, context, |actor, context| actor.tick(at, context));
    }
}

impl Handler<AlertsCommitted> for Alerter {
    type Result = ();

    fn handle(&mut self, done: AlertsCommitted, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.committed(done, context);
        });
    }
}

impl Handler<Acknowledge> for Alerter {
    type Result = Result<Alert, Refused>;

    fn handle(&mut self, wish: Acknowledge, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            let at = actor.present;
            let Acknowledge { id, who, note } = wish;
            let actions = actor.desk.acknowledge(id, who, note, at)?;
            actor.carry_out(actions, context);
            let found = actor.desk.alerts().find(|alert| alert.id == id).cloned();
            found.ok_or(Refused::NoAlert(id))
        })
    }
}

impl Handler<Mute> for Alerter {
    type Result = MessageResult<Mute>;

    fn handle(&mut self, wish: Mute, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            let by = (wish.by, wish.note);
            let at = actor.present;
            let desk = &mut actor.desk;
            let (silence, actions) = desk.silence(wish.services, wish.tag, wish.lasting, by, at);
            actor.batch.silences.push(silence.clone());
            actor.carry_out(actions, context);
            MessageResult(silence)
        })
    }
}

impl Handler<EndSilence> for Alerter {
    type Result = Result<(), Refused>;

    fn handle(&mut self, EndSilence(id): EndSilence, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            let at = actor.present;
            let actions = actor.desk.end_silence(id, at)?;
            actor.carry_out(actions, context);
            Ok(())
        })
    }
}

impl Handler<GetSilences> for Alerter {
    type Result = MessageResult<GetSilences>;

    fn handle(&mut self, _: GetSilences, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            MessageResult(actor.desk.silences().cloned().collect())
        })
    }
}

impl Handler<GetOpenAlerts> for Alerter {
    type Result = MessageResult<GetOpenAlerts>;

    fn handle(&mut self, _: GetOpenAlerts, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            MessageResult(actor.desk.alerts().cloned().collect())
        })
    }
}

impl Handler<Why> for Alerter {
    type Result = Result<Vec<String>, Refused>;

    fn handle(&mut self, Why(id): Why, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            actor.desk.why(id, actor.present.time)
        })
    }
}

impl Handler<GetAlerts> for Alerter {
    type Result = ResponseFuture<Result<Vec<Alert>, StoreError>>;

    fn handle(&mut self, GetAlerts(query): GetAlerts, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            let store = Arc::clone(&actor.guard.world().alert_store);
            let read = actix_rt::task::spawn_blocking(move || {
                let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                store.alerts(&query)
            });
            let answer = async move {
                let failed =
                    |error: actix_rt::task::JoinError| StoreError::Unavailable(error.to_string());
                read.await.map_err(failed)?
            };
            Box::pin(answer) as Self::Result
        })
    }
}

impl Handler<TestSink> for Alerter {
    type Result = ResponseFuture<Option<Delivered>>;

    fn handle(&mut self, TestSink(name): TestSink, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            let errand = actor
                .couriers
                .get(&*name)
                .map(|courier| courier.test(Alert::example(actor.present.wall), NoticeKind::Test));
            let answer = async move {
                match errand {
                    Some(errand) => Some(errand.await),
                    None => None,
                }
            };
            Box::pin(answer) as Self::Result
        })
    }
}
