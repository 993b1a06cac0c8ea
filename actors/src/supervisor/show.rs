//! What whoever looks on is shown: each service that changed, at most four times a second.

use super::*;

use crate::feed::News;

/// How often a service is shown at most.
const EVERY: Duration = Duration::from_millis(250);
/// How long the first change after a quiet time waits for those that come with it: a fraction of
/// what people notice.
const GATHER: Duration = Duration::from_millis(20);
/// How long the feed stays on after the last reader has left, in turns of a second.
const LINGER: u32 = 60;

/// What is to be shown.
#[derive(Debug, Default)]
pub(super) struct Showing {
    /// Who has changed, …
    changed: Vec<u32>,
    /// … and whether a service is listed there.
    listed: Vec<bool>,
    timer: Option<SpawnHandle>,
    /// When services were shown last.
    shown: Mono,
    /// For how many seconds nobody has looked on.
    alone: u32,
}

impl Supervisor {
    /// A service has changed. Where nobody looks on that costs a look at a flag.
    pub(super) fn changed(&mut self, id: u32) {
        if !self.guard.world().feed.is_on() {
            return;
        }
        let place = id as usize;
        let showing = &mut self.showing;
        if place >= showing.listed.len() {
            showing.listed.resize(place + 1, false);
        }
        if !std::mem::replace(&mut showing.listed[place], true) {
            showing.changed.push(id);
        }
    }

    /// Sees to it that what has changed is shown soon.
    pub(super) fn show_soon(&mut self, context: &mut Context<Self>) {
        if self.showing.changed.is_empty() || self.showing.timer.is_some() {
            return;
        }
        let rested = self.showing.shown + EVERY;
        let wait = rested.since(self.present.mono).max(GATHER);
        self.showing.timer = Some(context.run_later(wait, |actor, context| {
            guarded(actor, context, |actor, _| {
                actor.showing.timer = None;
                actor.look();
                actor.show();
            });
        }));
    }

    /// Shows all that have changed.
    fn show(&mut self) {
        self.showing.shown = self.present.mono;
        let now = self.now_for_core();
        let mut changed = std::mem::take(&mut self.showing.changed);
        let mut news = Vec::with_capacity(changed.len());
        for id in changed.drain(..) {
            self.showing.listed[id as usize] = false;
            if let Some(entry) = self.entries.get(id as usize) {
                news.push(News::Service(Box::new(self.shown(entry, &now))));
            }
        }
        self.showing.changed = changed;
        self.guard.world().feed.tell(news);
    }

    /// Turns the feed off when nobody has looked on for long.
    pub(super) fn show_nobody(&mut self) {
        let feed = &self.guard.world().feed;
        if !feed.is_on() || feed.readers() > 0 {
            self.showing.alone = 0;
            return;
        }
        self.showing.alone += 1;
        if self.showing.alone > LINGER {
            self.showing.alone = 0;
            feed.rest();
        }
    }
}
