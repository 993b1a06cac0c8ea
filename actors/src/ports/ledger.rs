//! The sync's own record: the manifest (what the target has taken) and the outbox (what it has
//! still to take). Blocking: used on blocking threads, by one at a time.

use serde::Serialize;
use utoipa::ToSchema;

use supervisor_core::sync::outbox::Step;
use supervisor_core::sync::{Pending, Stat, State, Taken};

use super::StoreError;

/// The manifest and the outbox.
///
/// A transaction is begun and committed by whoever uses it; what is done outside of one is a
/// transaction of its own. A transaction that is not committed never happened.
pub trait Ledger: Send {
    /// Begins a transaction. What is done in a lasting one survives the power's loss as well.
    ///
    /// # Errors
    /// Where the record cannot be used now; the same for all that follow.
    fn begin(&mut self, lasting: bool) -> Result<(), StoreError>;

    /// Ends a transaction: what was done in it survives our SIGKILL.
    ///
    /// # Errors
    /// Where it could not be written: then it never happened.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Gives a transaction up, if there is one.
    fn rollback(&mut self);

    /// Shows, in no order, as much of everything that the target has taken as tells whether a
    /// file has changed: of all files, or of those below a directory. Nothing is checked: what
    /// is garbled differs from its file, and is found out when that is looked at.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn every_known(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Known<'_>),
    ) -> Result<(), StoreError>;

    /// Shows everything that the target has taken, in no order: of all files, or of those
    /// below a directory.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn every_taken(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Taken),
    ) -> Result<(), StoreError>;

    /// What the target has taken under a key.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn taken(&mut self, table: &str, key: &str) -> Result<Option<Taken>, StoreError>;

    /// What the target has taken of a file, under whatever keys.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn taken_of(&mut self, file_path: &str) -> Result<Vec<Taken>, StoreError>;

    /// A row's task.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn pending(&mut self, table: &str, key: &str) -> Result<Option<Pending>, StoreError>;

    /// All tasks in some of the states (by [`state_word`]), by number, beyond one; at most so
    /// many.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn tasks(
        &mut self,
        states: &[&str],
        beyond: u64,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError>;

    /// Shows every task, by number: of all files, or of those below a directory.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn every_task(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Pending),
    ) -> Result<(), StoreError>;

    /// The key of the task that moves a row away from this key.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn claim(&mut self, table: &str, from: &str) -> Result<Option<String>, StoreError>;

    /// Does a step. A task that is queued gets a number that none had before.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn apply(&mut self, step: &Step) -> Result<(), StoreError>;

    /// Takes away the task of that number. `false` where its row has another one by now, or
    /// none.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn finish(&mut self, pending: &Pending) -> Result<bool, StoreError>;

    /// Sets the state of the task of that number, if its row still has it.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn set_state(&mut self, pending: &Pending, state: &State) -> Result<(), StoreError>;

    /// Sets the state of all tasks that this selects; how many there were.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn set_states(&mut self, which: &Which, state: &State) -> Result<u64, StoreError>;

    /// Forgets everything that the target has taken.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn forget_all(&mut self) -> Result<(), StoreError>;

    /// Whether the target has taken nothing, and whether it has nothing to take.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn is_empty(&mut self) -> Result<(bool, bool), StoreError>;

    /// How much of everything there is, table by table.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn counts(&mut self) -> Result<Vec<Counts>, StoreError>;

    /// A note of ours.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn note(&mut self, name: &str) -> Result<Option<String>, StoreError>;

    /// Writes a note.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn set_note(&mut self, name: &str, text: &str) -> Result<(), StoreError>;

    /// A number that changes when the record is begun anew, because it was damaged or lost:
    /// then nothing is known of what the target has taken.
    fn epoch(&self) -> u64;

    /// What people should know and was not said yet: a record set aside as damaged. Asked for
    /// after every use.
    fn notices(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// What the target has taken of a file, as far as it tells whether the file has changed since:
/// there may be many thousands, so nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The file, relative to the root.
    pub file_path: &'a str,
    /// As it was when it was read.
    pub stat: Stat,
    /// Whether that stat can be trusted.
    pub settled: bool,
    /// Of the table's columns then.
    pub mapping: u64,
}

/// Which tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Deletions of a table that are due.
    Removals {
        /// The table's name.
        table: String,
    },
    /// Those that wait for somebody's word, of one table or of all.
    Held {
        /// The table's name.
        table: Option<String>,
    },
    /// Those that are due, confirmed deletions among them, of one table or of all.
    Due {
        /// The table's name.
        table: Option<String>,
    },
    /// Those that are parked, of one table or of all; not those whose file cannot be read.
    Parked {
        /// The table's name.
        table: Option<String>,
    },
    /// Those that are parked with their whole table, or with the whole target.
    ParkedWithTable {
        /// The table's name.
        table: String,
    },
}

/// How much there is of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = SyncTable)]
pub struct Counts {
    /// The table's name.
    pub table: String,
    /// Rows that the target has taken.
    pub rows: u64,
    /// Tasks that are due.
    pub due: u64,
    /// Of these, deletions that nobody has confirmed.
    pub removals: u64,
    /// Deletions that wait for somebody's word.
    pub held: u64,
    /// Tasks that are parked.
    pub parked: u64,
}

/// The word for a state.
#[must_use]
pub fn state_word(state: &State) -> &'static str {
    match state {
        State::Due => "due",
        State::Held => "held",
        State::Confirmed => "confirmed",
        State::Parked { .. } => "parked",
    }
}
