//! How much memory services take: weighed now and then, more often while somebody looks.
//!
//! A round goes through all services that have a process, some at a time, on a thread of its
//! own; the figures come back as one message. So what it costs at a time is bounded however many
//! there are, and with very many a round just takes longer.

use super::*;

/// How often they are weighed while somebody looks, …
const OFTEN: Duration = Duration::from_secs(5);
/// … which is so for that long after they have asked, …
const LOOKED: Duration = Duration::from_secs(30);
/// … and how often else: who asks then is told what was so a moment ago, not nothing.
const SELDOM: Duration = Duration::from_secs(60);
/// How many are weighed at a time, that is, a second.
const SOME: usize = 256;
/// A change of less than a part in so many is none: it would keep those busy who look on.
const NEGLIGIBLE: u32 = 64;

/// Who is weighed next, and when.
#[derive(Debug, Default)]
pub(super) struct Weighing {
    /// When the present round began.
    began: Mono,
    /// How far it has come; none between rounds.
    next: Option<u32>,
    /// When somebody asked last.
    asked: Option<Mono>,
    /// Whether there is one with a process that was not weighed yet.
    fresh: bool,
    /// Whether some are being weighed.
    under_way: bool,
}

/// What was weighed of a service.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Resident {
    /// Which process: another one's figure says nothing.
    pid: i32,
    kilobytes: u32,
}

impl Resident {
    /// In bytes, if it is that process's.
    pub(super) fn of(self, pid: Option<i32>) -> Option<u64> {
        let bytes = u64::from(self.kilobytes) * 1_024;
        (pid == Some(self.pid)).then_some(bytes)
    }
}

impl Supervisor {
    /// Somebody asks for what is known of services.
    pub(super) fn asked(&mut self) {
        self.weighing.asked = Some(self.present.mono);
    }

    /// There is a process that was not there before.
    pub(super) fn unweighed(&mut self) {
        self.weighing.fresh = true;
    }

    /// Weighs some, if it is time to.
    pub(super) fn weigh_some(&mut self, context: &mut Context<Self>) {
        if self.weighing.under_way {
            return;
        }
        let now = self.present.mono;
        let first = match self.weighing.next {
            Some(next) => next as usize,
            None => {
                let weighing = &self.weighing;
                let asked = weighing.asked.is_some_and(|then| now.since(then) < LOOKED);
                let watched = asked || self.guard.world().feed.readers() > 0;
                let pace = if watched || weighing.fresh {
                    OFTEN
                } else {
                    SELDOM
                };
                if now.since(weighing.began) < pace {
                    return;
                }
                0
            }
        };
        if first == 0 {
            self.weighing.began = now;
            self.weighing.fresh = false;
        }
        let (mut ids, mut mains) = (Vec::new(), Vec::new());
        let mut next = None;
        for id in first..self.entries.len() {
            let pid = self.entries.get(id).and_then(|entry| entry.service.pid());
            if let Some(pid) = pid {
                if ids.len() == SOME {
                    next = Some(id as u32);
                    break;
                }
                ids.push(id as u32);
                mains.push(pid);
            }
        }
        self.weighing.next = next;
        if ids.is_empty() {
            return;
        }
        self.weighing.under_way = true;
        let weighed = self.guard.world().ports.processes.weigh(mains.clone());
        let done = weighed
            .into_actor(self)
            .map(move |weights, actor, context| {
                guarded(actor, context, |actor, context| {
                    actor.weighing.under_way = false;
                    for ((id, pid), bytes) in ids.into_iter().zip(mains).zip(weights) {
                        actor.weighed_of(id, pid, bytes);
                    }
                    actor.show_soon(context);
                });
            });
        context.spawn(done);
    }

    fn weighed_of(&mut self, id: u32, pid: i32, bytes: Option<u64>) {
        let Some(entry) = self.entries.get_mut(id as usize) else {
            return;
        };
        // What is gone has its end told by others.
        let Some(bytes) = bytes.filter(|_| entry.service.pid() == Some(pid)) else {
            return;
        };
        let kilobytes = u32::try_from(bytes / 1_024).unwrap_or(u32::MAX);
        let before = entry.resident;
        if before.pid != pid || before.kilobytes.abs_diff(kilobytes) > before.kilobytes / NEGLIGIBLE
        {
            entry.resident = Resident { pid, kilobytes };
            self.changed(id);
        }
    }
}
