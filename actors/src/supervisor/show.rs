//! What whoever looks on is shown: each service that changed, at most four times a second.
//!
//! ```text
//!   pulse ─────────▶ listed ──── all together, four times a second ────────┐
//!   another level,                                                         ├──▶ Feed
//!   state, life ───▶ pressing ── in a moment, unless it was shown ─────────┘
//!                                less than a quarter of a second ago
//! ```
//!
//! Each service has a pace of its own: that one of them pulses all the time is no reason why
//! another one's failure waits.

use super::*;

use crate::feed::News;

/// How often a service is shown at most.
const EVERY: Duration = Duration::from_millis(250);
/// How long the first change after a quiet time waits for those that come with it: a fraction of
/// what people notice.
const GATHER: Duration = Duration::from_millis(20);
/// How long the feed stays on after the last reader has left, in turns of a second.
const LINGER: u32 = 60;

/// How often those that are not well are shown though nothing has happened to them, in turns of a
/// second.
const AGAIN: u32 = 10;

/// What is to be shown.
#[derive(Debug, Default)]
pub(super) struct Showing {
    /// Who has changed, …
    changed: Vec<u32>,
    /// … and what is known of each, by number.
    known: Vec<Known>,
    /// When the earliest of those is to be shown that cannot wait for the others.
    pressing: Option<Mono>,
    /// The timer, and when it goes off.
    timer: Option<(SpawnHandle, Mono)>,
    /// When services were shown last.
    shown: Mono,
    /// For how many seconds somebody has looked on since those that are not well were shown.
    turns: u32,
    /// For how many seconds nobody has looked on.
    alone: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    listed: bool,
    pressing: bool,
    /// When it was shown last.
    shown: Mono,
}

impl Supervisor {
    /// A service has changed. Where nobody looks on that costs a look at a flag.
    pub(super) fn changed(&mut self, id: u32) {
        if !self.guard.world().feed.is_on() {
            return;
        }
        let place = id as usize;
        let showing = &mut self.showing;
        if place >= showing.known.len() {
            showing.known.resize(place + 1, Known::default());
        }
        if !std::mem::replace(&mut showing.known[place].listed, true) {
            showing.changed.push(id);
        }
    }

    /// A service has changed in a way that people wait to see.
    pub(super) fn changed_visibly(&mut self, id: u32) {
        self.changed(id);
        let now = self.present.mono;
        let Showing {
            known, pressing, ..
        } = &mut self.showing;
        if let Some(known) = known.get_mut(id as usize)
            && known.listed
        {
            known.pressing = true;
            let due = (now + GATHER).max(known.shown + EVERY);
            *pressing = Some(pressing.map_or(due, |other| other.min(due)));
        }
    }

    /// Sees to it that what has changed is shown soon.
    pub(super) fn show_soon(&mut self, context: &mut Context<Self>) {
        let showing = &mut self.showing;
        if showing.changed.is_empty() {
            return;
        }
        let now = self.present.mono;
        let rested = (showing.shown + EVERY).max(now + GATHER);
        let due = showing
            .pressing
            .map_or(rested, |pressing| pressing.min(rested));
        if let Some((timer, armed)) = showing.timer {
            if armed <= due {
                return;
            }
            context.cancel_future(timer);
        }
        let timer = context.run_later(due.since(now), |actor, context| {
            guarded(actor, context, |actor, context| {
                actor.showing.timer = None;
                actor.look();
                actor.show();
                actor.show_soon(context);
            });
        });
        showing.timer = Some((timer, due));
    }

    /// Shows those that have changed and were not shown a moment ago.
    fn show(&mut self) {
        let present = self.present.mono;
        let now = self.now_for_core();
        // What a machine just took over may have been listed meanwhile: it goes with the rest.
        let mut changed = std::mem::take(&mut self.showing.changed);
        let mut news = Vec::with_capacity(changed.len());
        let all = present >= self.showing.shown + EVERY;
        if all {
            self.showing.shown = present;
        }
        self.showing.pressing = None;
        changed.retain(|&id| {
            let known = &mut self.showing.known[id as usize];
            let rested = known.shown + EVERY;
            if !(all || known.pressing) || rested > present {
                if known.pressing {
                    let pressing = &mut self.showing.pressing;
                    *pressing = Some(pressing.map_or(rested, |other| other.min(rested)));
                }
                return true;
            }
            *known = Known {
                listed: false,
                pressing: false,
                shown: present,
            };
            if let Some(entry) = self.entries.get(id as usize) {
                news.push(News::Service(Box::new(self.shown(entry, &now))));
            }
            false
        });
        changed.append(&mut self.showing.changed);
        self.showing.changed = changed;
        self.guard.world().feed.tell(news);
    }

    /// Shows those that are not well once more: how long they have been so, and how much they
    /// missed, grows without anything happening to them.
    fn show_unwell(&mut self) {
        let unwell = |entry: &Entry| entry.service.level() >= Level::Warning;
        let all = self.entries.iter().filter(|(_, entry)| unwell(entry));
        let all: Vec<u32> = all.map(|(id, _)| id).collect();
        for id in all {
            self.changed(id);
        }
    }

    /// Turns the feed off when nobody has looked on for long. Each second.
    pub(super) fn show_nobody(&mut self) {
        let feed = &self.guard.world().feed;
        if !feed.is_on() {
            return;
        }
        if feed.readers() > 0 {
            self.showing.alone = 0;
            self.showing.turns = (self.showing.turns + 1) % AGAIN;
            if self.showing.turns == 0 {
                self.show_unwell();
            }
            return;
        }
        self.showing.alone += 1;
        if self.showing.alone > LINGER {
            feed.rest();
            // What was to be shown nobody sees, and the next one begins with everything.
            let timer = self.showing.timer.take();
            self.showing = Showing {
                timer,
                ..Showing::default()
            };
        }
    }
}
