//! The outbox: what the target has still to take, a task for each row, and how a task comes
//! to be there.
//!
//! ```text
//!  seen ──▶ plan ──▶ steps ──▶ manifest and outbox, in one transaction
//!
//!              Here, other content                  taken by the target,
//!   (nothing) ─────────────────────▶ Upsert · due ──────────────────────▶ (nothing)
//!       │      Here, as taken          │     ▲ file or configuration changes, or retry
//!       │ ◀────────────────────────────┤     │
//!       │                              └─▶ parked      refused for good
//!       │      Gone (on_delete)                           confirmed
//!       └─────────────────────▶ Remove · due ──brake──▶ held ───▶ confirmed
//! ```
//!
//! A task is replaced by the next one of its row, under a new number: the last content wins,
//! and an answer to an older number settles nothing but what the target holds. Which number
//! was sent already is not on record, so a task that may have been sent is never taken back
//! but undone by another: whatever was sent twice ends the same.
//!
//! A rename is an `Upsert` that says from which key its row moves. The manifest keeps the old
//! row until that is taken; until then nobody else removes it.

use super::manifest::{Stat, Taken};
use super::refusal::Scope;
use super::row::ContentHash;
use crate::time::Timestamp;

/// A row's task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its number: grows with each that is queued. 0 before it is.
    pub seq: u64,
    /// The table's name.
    pub table: String,
    /// The row.
    pub key: String,
    /// The file that decides on it, relative to the root.
    pub file_path: String,
    /// What is to be done.
    pub task: Task,
    /// Whether it may be.
    pub state: State,
    /// Since when it stands here.
    pub since: Timestamp,
}

/// What is to be done to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Make it that of the file.
    Upsert {
        /// What was read.
        content: Content,
        /// Of the table's columns.
        mapping: u64,
        /// The key whose row moves here.
        from: Option<String>,
    },
    /// Do with it what `on_delete` says: its file is gone.
    Remove,
    /// Nothing, until the file is another: it cannot be read.
    Unreadable {
        /// As it was.
        stat: Stat,
    },
}

/// Whether a task may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Due,
    /// When somebody confirms: it is one of too many deletions.
    Held,
    /// Yes, however many deletions there are: somebody has confirmed them.
    Confirmed,
    /// When something has changed.
    Parked {
        /// What must change.
        scope: Scope,
        /// Why.
        reason: String,
    },
}

/// What was read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Of its bytes.
    pub hash: ContentHash,
    /// As it was before and after it was read.
    pub stat: Stat,
    /// Whether the stat can be trusted from now on.
    pub settled: bool,
}

/// What becomes of the row of a file that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// It stays.
    Keep,
    /// It is deleted.
    Delete,
    /// It stays, marked with the time.
    Tombstone,
}

/// Where a file's row is, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The table's name.
    pub table: String,
    /// The row.
    pub key: String,
    /// The file.
    pub file_path: String,
    /// Of the table's columns.
    pub mapping: u64,
    /// What the target has taken under this key.
    pub taken: Option<Taken>,
    /// What it has still to take.
    pub pending: Option<Pending>,
    /// Other rows that the target has of this file: it belonged elsewhere before.
    pub elsewhere: Vec<Taken>,
    /// The key of a task that wants to move our row to itself.
    pub claimed_by: Option<String>,
}

/// A step, to be done with all others of a plan or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Puts this task in place of the row's present one.
    Queue(Pending),
    /// Takes the row's task away.
    Unqueue {
        /// Of which table.
        table: String,
        /// Which row.
        key: String,
    },
    /// Records what the target has taken.
    Take(Taken),
    /// Forgets what the target has taken.
    Forget {
        /// Of which table.
        table: String,
        /// Which row.
        key: String,
    },
    /// A task moves no row any more: it is queued anew without.
    Unclaim {
        /// Of which table.
        table: String,
        /// The task's row.
        key: String,
    },
}

/// What a plan comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is something to send.
    Queued,
    /// There is nothing to do, or it is queued already.
    Unchanged,
    /// It waits for a change of the file.
    Parked,
}

/// More than so many deletions …
pub const BRAKE_ROWS: u64 = 20;
/// … and more than this share of a table at once wait for somebody's word.
pub const BRAKE_SHARE: u64 = 10;

/// Whether deletions must be held: `removals` that wait or were done just now, of a table that
/// had `rows` before them.
#[must_use]
pub fn brakes(removals: u64, rows: u64) -> bool {
    removals > BRAKE_ROWS && removals.saturating_mul(BRAKE_SHARE) > rows
}

/// A file was read. `from` is the key of a row whose file has become this one.
#[must_use]
pub fn here(
    place: &Place,
    content: Content,
    from: Option<String>,
    on_delete: OnDelete,
    now: Timestamp,
) -> (Vec<Step>, Outcome) {
    let mut steps = leave_elsewhere(place, on_delete, now);
    if let Some(claimant) = &place.claimed_by {
        steps.push(Step::Unclaim {
            table: place.table.clone(),
            key: claimant.clone(),
        });
    }
    let same = place.taken.as_ref().filter(|taken| {
        // The row may have been moved away already.
        place.claimed_by.is_none()
            && taken.hash == content.hash
            && taken.mapping == place.mapping
            && taken.file_path == place.file_path
    });
    let (queue, inherited) = match (&place.pending, same) {
        (None, Some(_)) if from.is_none() => (false, None),
        (None, Some(_) | None) => (true, None),
        (Some(pending), _) => match (&pending.task, &pending.state) {
            (
                Task::Upsert {
                    content: before,
                    mapping,
                    from: earlier,
                },
                state,
            ) => {
                let alike = before.hash == content.hash
                    && *mapping == place.mapping
                    && pending.file_path == place.file_path
                    && (from.is_none() || from == *earlier);
                let waits = match state {
                    State::Due | State::Held | State::Confirmed => true,
                    // Somebody did something to it: worth another try.
                    State::Parked { .. } => before.stat == content.stat,
                };
                if alike && waits {
                    return (steps, Outcome::Unchanged);
                }
                (true, earlier.clone())
            }
            // Held deletions were never sent.
            (Task::Remove, State::Held) => (same.is_none() || from.is_some(), None),
            (Task::Remove, State::Due | State::Confirmed | State::Parked { .. }) => (true, None),
            (Task::Unreadable { .. }, _) => (same.is_none() || from.is_some(), None),
        },
    };
    if queue {
        steps.push(Step::Queue(pending(
            place,
            Task::Upsert {
                content,
                mapping: place.mapping,
                from: from.or(inherited),
            },
            State::Due,
            now,
        )));
        return (steps, Outcome::Queued);
    }
    if place.pending.is_some() {
        steps.push(unqueue(&place.table, &place.key));
    }
    if let Some(taken) = same
        && (taken.stat != content.stat || taken.settled != content.settled)
    {
        steps.push(Step::Take(Taken {
            stat: content.stat,
            settled: content.settled,
            ..taken.clone()
        }));
    }
    (steps, Outcome::Unchanged)
}

/// A file is there and cannot be read. What the target has of it stays.
#[must_use]
pub fn unreadable(place: &Place, stat: Stat, reason: &str, now: Timestamp) -> (Vec<Step>, Outcome) {
    if let Some(pending) = &place.pending
        && pending.task == (Task::Unreadable { stat })
        && matches!(&pending.state, State::Parked { reason: before, .. } if before == reason)
    {
        return (Vec::new(), Outcome::Unchanged);
    }
    let state = State::Parked {
        scope: Scope::Rows,
        reason: reason.to_owned(),
    };
    let step = Step::Queue(pending(place, Task::Unreadable { stat }, state, now));
    (vec![step], Outcome::Parked)
}

/// A file is gone, or belongs nowhere any more.
#[must_use]
pub fn gone(place: &Place, on_delete: OnDelete, now: Timestamp) -> (Vec<Step>, Outcome) {
    let mut steps = leave_elsewhere(place, on_delete, now);
    let ours = |path: &str| path == place.file_path;
    let pending = place.pending.as_ref().filter(|task| ours(&task.file_path));
    let taken = place.taken.as_ref().filter(|taken| ours(&taken.file_path));
    if pending.is_none() && taken.is_none() {
        return finish(steps);
    }
    let moves_along = place.claimed_by.is_some();
    // The row that was to move here stands under its old key still, or here already.
    if let Some(Pending {
        task: Task::Upsert {
            from: Some(from), ..
        },
        ..
    }) = pending
    {
        steps.extend(leave(&place.table, from, &place.file_path, on_delete, now));
    }
    match (on_delete, pending.map(|pending| &pending.task)) {
        _ if moves_along => {
            if pending.is_some() {
                steps.push(unqueue(&place.table, &place.key));
            }
        }
        (OnDelete::Keep, _) => {
            if pending.is_some() {
                steps.push(unqueue(&place.table, &place.key));
            }
            if taken.is_some() {
                steps.push(forget(&place.table, &place.key));
            }
        }
        (OnDelete::Delete | OnDelete::Tombstone, Some(Task::Remove)) => {}
        (OnDelete::Delete | OnDelete::Tombstone, Some(Task::Unreadable { .. }))
            if taken.is_none() =>
        {
            // Never sent.
            steps.push(unqueue(&place.table, &place.key));
        }
        (
            OnDelete::Delete | OnDelete::Tombstone,
            None | Some(Task::Upsert { .. } | Task::Unreadable { .. }),
        ) => steps.push(Step::Queue(self::pending(
            place,
            Task::Remove,
            State::Due,
            now,
        ))),
    }
    finish(steps)
}

fn finish(steps: Vec<Step>) -> (Vec<Step>, Outcome) {
    let queued = steps.iter().any(|step| matches!(step, Step::Queue(_)));
    let outcome = if queued {
        Outcome::Queued
    } else {
        Outcome::Unchanged
    };
    (steps, outcome)
}

/// What becomes of rows of a file that belongs elsewhere now.
fn leave_elsewhere(place: &Place, on_delete: OnDelete, now: Timestamp) -> Vec<Step> {
    place
        .elsewhere
        .iter()
        .flat_map(|taken| leave(&taken.table, &taken.key, &taken.file_path, on_delete, now))
        .collect()
}

/// What becomes of a row that nobody decides on any more.
fn leave(
    table: &str,
    key: &str,
    file_path: &str,
    on_delete: OnDelete,
    now: Timestamp,
) -> Option<Step> {
    Some(match on_delete {
        OnDelete::Keep => forget(table, key),
        OnDelete::Delete | OnDelete::Tombstone => Step::Queue(Pending {
            seq: 0,
            table: table.to_owned(),
            key: key.to_owned(),
            file_path: file_path.to_owned(),
            task: Task::Remove,
            state: State::Due,
            since: now,
        }),
    })
}

fn pending(place: &Place, task: Task, state: State, now: Timestamp) -> Pending {
    Pending {
        seq: 0,
        table: place.table.clone(),
        key: place.key.clone(),
        file_path: place.file_path.clone(),
        task,
        state,
        since: now,
    }
}

fn unqueue(table: &str, key: &str) -> Step {
    Step::Unqueue {
        table: table.to_owned(),
        key: key.to_owned(),
    }
}

fn forget(table: &str, key: &str) -> Step {
    Step::Forget {
        table: table.to_owned(),
        key: key.to_owned(),
    }
}

#[cfg(test)]
mod tests;
