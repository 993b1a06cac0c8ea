//! What people should know: in the log, in the history, as alerts.

use actix::{ActorFutureExt as _, AsyncContext, Context, WrapFuture as _};
use slog::warn;

use supervisor_core::Level;
use supervisor_core::alert::Lasting;
use supervisor_core::event::{Change, EventKind};

use super::{PATIENCE, Syncer};
use crate::guardian::{Subject, guarded};
use crate::internal;
use crate::messages::{NewEvent, OwnTrouble, Record, Trouble};
use crate::ports::ledger::Counts;
use crate::sync::desk::blocking;

/// What was told last.
#[derive(Debug)]
pub(super) struct Told {
    /// What is wrong.
    trouble: Option<String>,
    /// What waits for people.
    waiting: Option<String>,
    /// Whether the number of parked rows may have changed since.
    parked_dirty: bool,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            trouble: None,
            waiting: None,
            // Perhaps the one before us left some.
            parked_dirty: true,
        }
    }
}

impl Told {
    /// The number of parked rows may have changed.
    pub(super) fn parked_may_differ(&mut self) {
        self.parked_dirty = true;
    }
}

impl Syncer {
    /// Too many deletions at once: somebody must confirm them.
    pub(super) fn held(&mut self, table: &str, rows: u64, of: u64) {
        let reason = format!(
            "{rows} of {of} rows of {table} would be deleted at once: they wait for `supervisor sync confirm`"
        );
        warn!(self.guard.world().log, "sync: {reason}"; "table" => table);
        self.told.parked_dirty = true;
        self.tell_event(reason, Level::Warning);
    }

    /// An event of ours, for the history.
    pub(super) fn tell_event(&self, reason: String, level: Level) {
        let world = self.guard.world();
        let event = NewEvent {
            time: world.ports.clock.wall(),
            service: internal::name(Subject::Syncer),
            change: Change {
                kind: EventKind::Sync,
                from: None,
                to: None,
                reason,
                level,
            },
        };
        // Bounded: one for each thing that a person should know of.
        world.archive.tell(Record {
            events: vec![event],
            ..Record::default()
        });
    }

    /// What is wrong, for whoever is alerted, where that has changed.
    pub(super) fn tell_trouble(&mut self) {
        let trouble = match (&self.broken, self.gate.trouble()) {
            (Some(why), _) => Some(format!("the sync's record cannot be used: {why}")),
            (None, Some((why, failures))) if failures >= PATIENCE => {
                Some(format!("the sync's target takes nothing: {why}"))
            }
            (None, _) => None,
        };
        if trouble == self.told.trouble {
            return;
        }
        let what = "sync";
        let own = match &trouble {
            Some(reason) => OwnTrouble::Is {
                what,
                level: Level::Degraded,
                reason: reason.clone(),
                lasts: Lasting::UntilOver,
            },
            None => OwnTrouble::Over { what },
        };
        // Bounded: one for each change.
        self.guard.world().supervisor.tell(Trouble(own));
        if let Some(reason) = &trouble {
            self.tell_event(reason.clone(), Level::Degraded);
        }
        self.told.trouble = trouble;
    }

    /// Tells whoever is alerted of parked rows, where their number may have changed.
    pub(super) fn look_at_parked(&mut self, context: &mut Context<Self>) {
        if !std::mem::take(&mut self.told.parked_dirty) {
            return;
        }
        let desk = self.hall().desk.clone();
        let work = async move { blocking(move || desk.with(|ledger| ledger.counts())).await };
        context.spawn(work.into_actor(self).map(|counts, actor, context| {
            guarded(actor, context, |actor, _| {
                let Ok(counts) = counts else {
                    actor.told.parked_dirty = true;
                    return;
                };
                let sum = |part: fn(&Counts) -> u64| -> u64 { counts.iter().map(part).sum() };
                let (parked, held) = (sum(|counts| counts.parked), sum(|counts| counts.held));
                let reason = match (parked, held) {
                    (0, 0) => None,
                    (parked, 0) => Some(format!("{parked} rows of the sync are parked: see `supervisor sync status`")),
                    (0, held) => Some(format!("{held} deletions wait for `supervisor sync confirm`")),
                    (parked, held) => Some(format!("{parked} rows of the sync are parked, and {held} deletions wait for `supervisor sync confirm`")),
                };
                if reason == actor.told.waiting {
                    return;
                }
                let what = "sync rows";
                let own = match &reason {
                    Some(reason) => OwnTrouble::Is {
                        what,
                        level: Level::Warning,
                        reason: reason.clone(),
                        lasts: Lasting::UntilOver,
                    },
                    None => OwnTrouble::Over { what },
                };
                // Bounded: one for each change, and one each ten seconds at most.
                actor.guard.world().supervisor.tell(Trouble(own));
                actor.told.waiting = reason;
            });
        }));
    }
}
