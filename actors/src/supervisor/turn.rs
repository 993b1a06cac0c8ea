//! Time: the one timer, our own lateness, the wheel, and what is done each second.

use std::sync::atomic::Ordering;

use super::*;

use supervisor_core::alert::Lasting;
use supervisor_core::stall::{ORDINARY, Stall};

use crate::messages::Mark;

/// A turn at least this often: so late at most is our own lateness noticed, and so old at most
/// are mark and memories when we die.
const SECOND: Duration = Duration::from_secs(1);
/// How soon it goes on with what it did not finish.
const SOON: Duration = Duration::from_millis(1);
/// For how long a deadline waits for a pulse that is known to be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(50);
/// How often it looks whether that pulse has come.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// A wall clock that is set further than that at once has jumped.
const JUMP: Duration = Duration::from_secs(2);
/// What happens to us again within this is one alert.
pub(super) const TOGETHER: Duration = Duration::from_secs(60);

impl Supervisor {
    /// Looks at the clocks. Comes before anything that asks for the time: what the judging
    /// clock has given out it does not take back.
    pub(super) fn look(&mut self) {
        let clock = &self.guard.world().ports.clock;
        let (mono, wall) = (clock.mono(), clock.wall());
        self.present = Present { mono, wall };
        if let Some(stall) = self.attention.observe(mono, self.due) {
            self.stalled(stall);
        }
    }

    /// Looks at the clocks once in a while, and turns if it is time to.
    pub(super) fn glance(&mut self, received: Mono, context: &mut Context<Self>) {
        self.handled = self.handled.wrapping_add(1);
        if self.handled.is_multiple_of(GLANCE) || received >= self.due {
            self.look();
            if self.present.mono >= self.due {
                self.turn(context);
            }
        }
        if self.handled.is_multiple_of(BATCH) {
            // Without this an actor handles its whole mailbox before anybody else, timers
            // included, gets a turn.
            context.wait(tokio::task::yield_now().into_actor(self));
        }
    }

    /// The moment of a receipt, on each clock.
    pub(super) fn moment(&self, mono: Mono) -> Moment {
        // In whole numbers, without the detour over `Duration`: this is the way of each pulse.
        let Present { mono: seen, wall } = self.present;
        let micros = (mono.0.abs_diff(seen.0) / 1_000) as i64;
        let wall = if mono >= seen {
            wall.0.saturating_add(micros)
        } else {
            wall.0.saturating_sub(micros)
        };
        Moment {
            time: self.attention.at(mono),
            mono,
            wall: Timestamp(wall),
        }
    }

    /// The present moment, as of the last look.
    pub(super) fn now(&mut self) -> Moment {
        let Present { mono, wall } = self.present;
        Moment {
            time: self.attention.now(mono),
            mono,
            wall,
        }
    }

    fn stalled(&mut self, stall: Stall) {
        if stall.is_reported() {
            let log = &self.guard.world().log;
            warn!(log, "supervisor was stalled, deadlines moved";
                "late_s" => stall.late.as_secs_f64());
            let reason = format!(
                "the supervisor itself stood still for {:.1} s; every deadline moved by that",
                stall.late.as_secs_f64()
            );
            self.own_trouble(OwnTrouble::Is {
                what: "stalled",
                level: Level::Warning,
                reason: reason.clone(),
                lasts: Lasting::For(TOGETHER),
            });
            self.tell_of_us(Subject::Supervisor, reason, Level::Warning);
        }
    }

    /// Whether the wall clock has gone on as far as the one that nobody can set. Nobody is
    /// judged by it; that it jumps explains strange dates in the history.
    fn compare_clocks(&mut self) {
        let clock = &self.guard.world().ports.clock;
        let (uptime, wall, after) = (clock.uptime(), clock.wall(), clock.uptime());
        if after.since(uptime) > ORDINARY {
            // Stopped between two looks: what they say does not belong together.
            return;
        }
        let Some((then, before)) = self.clocks.replace((uptime, wall)) else {
            return;
        };
        let passed = i64::try_from(uptime.since(then).as_micros()).unwrap_or(i64::MAX);
        let jump = wall.0.saturating_sub(before.0.saturating_add(passed));
        let size = Duration::from_micros(jump.unsigned_abs());
        if size < JUMP {
            return;
        }
        let way = if jump > 0 { "forward" } else { "back" };
        let reason = format!(
            "the wall clock was set {:.1} s {way}, to {}; no service is judged by it",
            size.as_secs_f64(),
            wall.rfc3339()
        );
        warn!(self.guard.world().log, "wall clock was set";
            "by_s" => size.as_secs_f64(), "way" => way);
        self.own_trouble(OwnTrouble::Is {
            what: "clock",
            level: Level::Warning,
            reason: reason.clone(),
            lasts: Lasting::For(TOGETHER),
        });
        self.tell_of_us(Subject::Supervisor, reason, Level::Warning);
    }

    /// Everything that time alone brings about.
    pub(super) fn turn(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        let vital = &self.guard.world().vital;
        vital.turned.store(now.mono.0, Ordering::Relaxed);
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.expire(now.time, &mut fired);
        for id in fired.drain(..) {
            self.expired(id, now);
        }
        self.fired = fired;
        self.release_brake();
        if now.mono >= self.second {
            self.each_second(now);
            self.weigh_some(context);
        }
        // What the pulses that machines took over have brought to light.
        self.follow();
        self.depart();
        self.end_some();
        self.write_some();
        self.send();
        self.show_soon(context);
        self.arm(context);
    }

    /// A deadline of the wheel has passed: whether it is still the service's, the lazy wheel
    /// does not know.
    fn expired(&mut self, id: u32, now: Moment) {
        if let Some(until) = self.beats.well_until(id)
            && until > now.time
        {
            // The usual case: it has pulsed since, and nobody need ask its machine.
            self.wheel.arm(id, until);
            return;
        }
        self.catch_up(id);
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let deadline = entry.service.deadline(self.attention.amnesty());
        if deadline > now.time {
            self.wheel.arm(id, deadline);
        } else if entry.door.is_heard() && now.time < deadline + ON_ITS_WAY {
            self.guard.world().beat(ServiceId(id));
            self.wheel.arm(id, now.time + LOOK_AGAIN);
        } else {
            self.happen(id, Event::Tick, now);
        }
    }

    fn each_second(&mut self, now: Moment) {
        let world = Rc::clone(self.guard.world());
        self.second = world
            .ports
            .clock
            .cheap(now.mono + SECOND)
            .max(now.mono + SECOND / 2);
        self.leave_mark();
        self.compare_clocks();
        self.tick_alerts(now);
        if now.mono >= self.pulse {
            self.pulse = now.mono + internal::PULSE;
            self.pulse_of(Subject::Supervisor, now);
        }
        if now.mono >= self.patrol {
            self.patrol = now.mono + internal::PATROL;
            self.patrol("patrol".to_owned());
        }
        // They are written now, and those of whom nobody asks must not be listed for ever.
        self.catch_up_all();
        // What is left of the last second's comes first.
        self.writing.append(&mut self.dirty);
        let refused = world.vital.refused.load(Ordering::Relaxed);
        if refused != self.refused {
            warn!(world.log, "messages refused, too many of a service waited";
                "messages" => refused - self.refused, "ever" => refused);
            self.refused = refused;
        }
        self.show_nobody();
        self.minute();
    }

    /// Leaves the point of the judging clock from which the next supervisor goes on.
    pub(super) fn leave_mark(&mut self) {
        let now = self.now();
        let marks = &self.guard.world().ports.marks;
        marks.leave(&Mark {
            time: now.time,
            mono: now.mono,
            boot: marks.boot(),
            stopping: Some(self.closing.is_some()),
        });
    }

    /// Arms the one timer anew: for the earliest deadline, but at most a second ahead.
    pub(super) fn arm(&mut self, context: &mut Context<Self>) {
        let mut due = self.second.min(self.present.mono + SECOND);
        for deadline in [self.wheel.next().unwrap_or(Time::NEVER), self.brake.next()] {
            due = due.min(self.attention.mono(deadline));
        }
        if !self.writing.is_empty() || self.observing.is_ending() {
            due = due.min(self.present.mono + SOON);
        }
        // What is overdue was not late because of us.
        due = due.max(self.present.mono);
        if self.timer.is_some() && due == self.due {
            return;
        }
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.due = due;
        let wait = due.since(self.present.mono);
        self.timer = Some(context.run_later(wait, |actor, context| {
            guarded(actor, context, |actor, context| {
                actor.timer = None;
                actor.look();
                actor.turn(context);
            });
        }));
    }

    /// Arms the timer anew if a deadline has come closer.
    pub(super) fn hasten(&mut self, context: &mut Context<Self>) {
        let earliest = self
            .wheel
            .next()
            .unwrap_or(Time::NEVER)
            .min(self.brake.next());
        if self.attention.mono(earliest) < self.due {
            self.arm(context);
        }
    }
}
