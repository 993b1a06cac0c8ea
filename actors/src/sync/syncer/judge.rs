//! What follows from an answer for what is sent next: at once, before it is on record.

use actix::Context;
use slog::warn;

use supervisor_core::sync::document::file_name;
use supervisor_core::sync::{Gate, Pending, Scope};

use super::Syncer;
use super::lane::{Fate, Sent};

/// A task that has failed so often while others went is parked.
const HOPELESS: u32 = 10;

impl Syncer {
    /// What follows for the gate, the pace, and tasks that failed.
    pub(super) fn judge(&mut self, sent: &Sent, context: &mut Context<Self>) {
        if let Some(rows) = sent.too_much {
            self.pace.too_much(rows);
        }
        for _ in 0..sent.taken {
            self.pace.taken();
            self.proven = true;
        }
        if sent.answered {
            self.gate.answered();
        }
        if let Some((scope, table)) = sent.parked_widely() {
            self.halted = true;
            self.line.close();
            self.forget_parked(scope, table);
        }
        let Some((after, why)) = &sent.retry else {
            // The one that went first after a rest was not sent at all, perhaps.
            self.gate.back(self.now());
            self.tell_trouble();
            return;
        };
        let failures = |pending: &Pending| self.stock.failures_of(pending);
        let alone = sent.batch.is_weak(&failures) && self.gate.trouble().is_none();
        let mut first = None;
        for (task, fate) in sent.batch.tasks.iter().zip(&sent.fates) {
            if *fate == Fate::Waits {
                first = first.or(Some(task));
                self.stock.failed(task);
            }
        }
        let now = self.now();
        let roll = self.guard.world().ports.dice.roll();
        if alone && let Some(task) = first {
            // The others go; only this one does not.
            self.let_rest(task.clone(), why, roll, context);
        } else {
            self.gate.refused(*after, why, now, roll);
            self.line.close();
        }
        if let Some(task) = first {
            warn!(self.guard.world().log, "Sync failed for {}: {why}", file_name(&task.file_path);
                "file_path" => &task.file_path, "table" => &task.table,
                "rows" => sent.fates.iter().filter(|fate| **fate == Fate::Waits).count(),
                "again_in_s" => self.rests_for());
        }
        self.tell_trouble();
    }

    /// A refusal parks more than the rows that were sent: what was fetched of them is not to be
    /// sent.
    pub(super) fn forget_parked(&mut self, scope: Scope, table: &str) {
        match scope {
            Scope::Rows => {}
            Scope::Table => {
                self.parked_wide = true;
                self.stock.forget(Some(table));
            }
            Scope::Target => {
                self.parked_wide = true;
                self.proven = false;
                self.stock.forget(None);
            }
        }
    }

    /// A task that alone does not go: it rests while the others go on, and is parked in the
    /// end.
    fn let_rest(&mut self, task: Pending, why: &str, roll: f64, context: &mut Context<Self>) {
        let now = self.now();
        let failures = self.stock.failures_of(&task);
        if failures >= HOPELESS {
            let reason = format!("it has failed {failures} times: {why}");
            self.park(task, reason, context);
            return;
        }
        let mut gate = Gate::default();
        for _ in 0..failures {
            let at = gate.until().unwrap_or(now);
            gate.pass(0, at);
            gate.refused(None, why, now, roll);
        }
        self.stock.rest(task, gate.until().unwrap_or(now));
    }
}
