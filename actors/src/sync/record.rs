//! Looks at files and puts on record what follows. Blocking.
//!
//! A round is a set of files that were found changed together. Those that are gone are known
//! before the others are judged, so that one that only has another name is seen as such: by
//! the kernel's own word, by its inode (and time, for inodes are used again), or by its
//! content.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use supervisor_core::Timestamp;
use supervisor_core::sync::outbox::{self, Outcome, Place, Step};
use supervisor_core::sync::row::key_of;
use supervisor_core::sync::{
    Content, ContentHash, Ignored, OnDelete, Pending, Routes, Table, Taken, Task,
};

use crate::link::Link;
use crate::ports::StoreError;
use crate::ports::files::{Files, Look, Progress};
use crate::ports::ledger::Ledger;

use super::desk::Desk;
use super::messages::{Queued, Touch};
use super::syncer::Syncer;

/// So many files go into one transaction: nobody else who wants the ledger waits long.
const CHUNK: usize = 256;

/// What rounds need.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) desk: Desk,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) on_delete: OnDelete,
    /// Told of what is due as soon as it is on record.
    pub(crate) syncer: Link<Syncer>,
}

/// Files by what was found where they should be.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    /// Those that were there.
    pub(crate) here: Vec<Arc<str>>,
    /// Those that were not, or belong nowhere.
    pub(crate) gone: Vec<Arc<str>>,
    /// What some of them were called before, by the kernel's own word.
    hints: HashMap<Arc<str>, Arc<str>>,
    /// Those of the gone that belong nowhere, and why.
    ignored: Vec<(Arc<str>, Ignored)>,
}

/// What a round came to.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Files with something to send.
    pub(crate) queued: u64,
    /// Files with nothing to send.
    pub(crate) unchanged: u64,
    /// Files that cannot be read, and why: said once.
    pub(crate) parked: Vec<(Arc<str>, String)>,
    /// Files that changed while they were read.
    pub(crate) again: Vec<Arc<str>>,
    /// Files whose row is another's, with the other.
    pub(crate) rivals: Vec<(Arc<str>, String)>,
    /// Files that belong nowhere any more.
    pub(crate) ignored: Vec<(Arc<str>, Ignored)>,
    /// Files that are gone.
    pub(crate) gone: Vec<Arc<str>>,
    /// How long was spent on reading files, on each of the threads that do so.
    pub(crate) reading: Duration,
}

impl Recorded {
    pub(crate) fn add(&mut self, more: Self) {
        self.queued += more.queued;
        self.unchanged += more.unchanged;
        self.parked.extend(more.parked);
        self.again.extend(more.again);
        self.rivals.extend(more.rivals);
        self.ignored.extend(more.ignored);
        self.gone.extend(more.gone);
        self.reading += more.reading;
    }
}

impl Recorder {
    /// Looks at these files and records what follows.
    ///
    /// # Errors
    /// Those of the ledger; what is recorded by then is recorded.
    pub(crate) fn round(&self, touches: &[Touch], now: Timestamp) -> Result<Recorded, StoreError> {
        let mut heap = Heap::default();
        for touch in touches {
            self.sort(&touch.file_path, &mut heap);
            if let Some(from) = &touch.from {
                heap.hints
                    .insert(Arc::clone(&touch.file_path), Arc::clone(from));
                if !self.files.exists(from) && !heap.gone.contains(from) {
                    heap.gone.push(Arc::clone(from));
                }
            }
        }
        self.record(heap, now, None)
    }

    /// Puts a file where it belongs.
    pub(crate) fn sort(&self, file_path: &Arc<str>, heap: &mut Heap) {
        match self.routes.route_of(file_path) {
            Ok(_) if self.files.exists(file_path) => heap.here.push(Arc::clone(file_path)),
            Ok(_) => heap.gone.push(Arc::clone(file_path)),
            Err(why) => {
                heap.ignored.push((Arc::clone(file_path), why));
                heap.gone.push(Arc::clone(file_path));
            }
        }
    }

    /// Reads files and records what follows, whole chunks at a time; the next ones are read
    /// while one is recorded.
    ///
    /// # Errors
    /// Those of the ledger; what is recorded by then is recorded.
    pub(crate) fn record(
        &self,
        heap: Heap,
        now: Timestamp,
        progress: Option<&Progress>,
    ) -> Result<Recorded, StoreError> {
        let recording = self.desk.recording();
        let Heap {
            mut here,
            gone,
            hints,
            ignored,
        } = heap;
        let mut recorded = Recorded {
            ignored,
            ..Recorded::default()
        };
        // Neighbours lie together: on the disk, in the record and in the target's tables.
        here.sort_unstable();
        let was_empty = self.desk.with(|ledger| ledger.is_empty())? == (true, true);
        let mut claims = if here.is_empty() || gone.is_empty() || was_empty {
            Claims::default()
        } else {
            self.desk.with(|ledger| self.claims(ledger, &gone))?
        };
        let mut failed = None;
        let reading = self.files.look(&here, CHUNK, &mut |paths, looks| {
            if let Some(progress) = progress {
                let read = paths.len() as u64;
                progress.read.fetch_add(read, Ordering::Relaxed);
            }
            let more = self.desk.transaction(false, |ledger| {
                let fresh = was_empty && recording.is_alone();
                let mut more = Recorded::default();
                for (path, look) in paths.iter().zip(looks) {
                    let hint = hints.get(path);
                    self.found(
                        ledger,
                        path,
                        look,
                        (&mut claims, hint),
                        (now, fresh),
                        &mut more,
                    )?;
                }
                Ok(more)
            });
            match more {
                Ok(more) => {
                    if more.queued > 0 {
                        // Bounded: one a chunk.
                        self.syncer.tell(Queued);
                    }
                    recorded.add(more);
                    ControlFlow::Continue(())
                }
                Err(why) => {
                    failed = Some(why);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(why) = failed {
            return Err(why);
        }
        recorded.reading = reading;
        for chunk in gone.chunks(CHUNK) {
            let more = self.desk.transaction(false, |ledger| {
                let mut more = Recorded::default();
                for path in chunk {
                    if self.is_back(path) {
                        more.again.push(Arc::clone(path));
                    } else {
                        self.lost(ledger, path, now, &mut more)?;
                    }
                }
                Ok(more)
            })?;
            recorded.add(more);
        }
        Ok(recorded)
    }

    /// What was found where a file should be.
    fn found(
        &self,
        ledger: &mut dyn Ledger,
        path: &Arc<str>,
        look: Look,
        (claims, hint): (&mut Claims, Option<&Arc<str>>),
        (now, fresh): (Timestamp, bool),
        recorded: &mut Recorded,
    ) -> Result<(), StoreError> {
        let Ok(table) = self.routes.route_of(path) else {
            return self.lost(ledger, path, now, recorded);
        };
        let (steps, outcome) = match look {
            Look::Gone => return self.lost(ledger, path, now, recorded),
            Look::Changing => {
                recorded.again.push(Arc::clone(path));
                return Ok(());
            }
            Look::Here(content) => {
                let place = place(ledger, table, path, fresh)?;
                if let Some(rival) = self.rival(&place) {
                    recorded.rivals.push((Arc::clone(path), rival));
                    return Ok(());
                }
                let moved = place
                    .taken
                    .as_ref()
                    .is_none_or(|taken| taken.stat.inode != content.stat.inode);
                let from = if moved {
                    claims.take(ledger, &place, content, hint.map(|hint| &**hint))?
                } else {
                    None
                };
                outbox::here(&place, content, from, self.on_delete, now)
            }
            Look::Unreadable { stat, why } => {
                let place = place(ledger, table, path, fresh)?;
                if let Some(rival) = self.rival(&place) {
                    recorded.rivals.push((Arc::clone(path), rival));
                    return Ok(());
                }
                let planned = outbox::unreadable(&place, stat, &why, now);
                if planned.1 == Outcome::Parked {
                    recorded.parked.push((Arc::clone(path), why));
                }
                planned
            }
        };
        apply(ledger, &steps)?;
        match outcome {
            Outcome::Queued => recorded.queued += 1,
            Outcome::Unchanged => recorded.unchanged += 1,
            Outcome::Parked => {}
        }
        Ok(())
    }

    /// Whether a file that was not there is by now: many may have been read meanwhile, and what
    /// others recorded of it is newer than what we know.
    fn is_back(&self, path: &str) -> bool {
        self.routes.route_of(path).is_ok() && self.files.exists(path)
    }

    /// A file that is gone, or belongs nowhere: it may have rows under whatever keys.
    fn lost(
        &self,
        ledger: &mut dyn Ledger,
        path: &Arc<str>,
        now: Timestamp,
        recorded: &mut Recorded,
    ) -> Result<(), StoreError> {
        recorded.gone.push(Arc::clone(path));
        let mut places: Vec<(String, String)> = ledger
            .taken_of(path)?
            .into_iter()
            .map(|taken| (taken.table, taken.key))
            .collect();
        // One that was queued and never taken stands only in the outbox.
        let directory = self.routes.directory_of(&self.routes.root().join(&**path));
        if let Some(directory) = directory {
            let own = (
                directory.table.name().to_owned(),
                key_of(&directory.table, path).to_owned(),
            );
            if !places.contains(&own) {
                places.push(own);
            }
        }
        for (table, key) in places {
            let place = Place {
                taken: ledger.taken(&table, &key)?,
                pending: ledger.pending(&table, &key)?,
                elsewhere: Vec::new(),
                claimed_by: ledger.claim(&table, &key)?,
                file_path: path.to_string(),
                mapping: 0,
                table,
                key,
            };
            let (steps, outcome) = outbox::gone(&place, self.on_delete, now);
            apply(ledger, &steps)?;
            if outcome == Outcome::Queued {
                recorded.queued += 1;
            }
        }
        Ok(())
    }

    /// Another file that is there and has the same row.
    fn rival(&self, place: &Place) -> Option<String> {
        let taken = place.taken.as_ref().map(|taken| &taken.file_path);
        let pending = place.pending.as_ref().map(|pending| &pending.file_path);
        let other = [taken, pending]
            .into_iter()
            .flatten()
            .find(|other| **other != place.file_path)?;
        let table = self.routes.route_of(other).ok()?;
        let same = table.name() == place.table && key_of(table, other) == place.key;
        (same && self.files.exists(other)).then(|| other.clone())
    }

    /// The rows of files that are gone.
    fn claims(&self, ledger: &mut dyn Ledger, gone: &[Arc<str>]) -> Result<Claims, StoreError> {
        let mut claims = Claims::default();
        for path in gone {
            for taken in ledger.taken_of(path)? {
                claims.add(taken);
            }
            // One that moved here a moment ago, and on now: its row stands where it was first.
            let Ok(table) = self.routes.route_of(path) else {
                continue;
            };
            if let Some(Pending {
                task:
                    Task::Upsert {
                        content,
                        mapping,
                        from: Some(from),
                    },
                ..
            }) = ledger.pending(table.name(), key_of(table, path))?
            {
                claims.add(Taken {
                    table: table.name().to_owned(),
                    key: from,
                    file_path: path.to_string(),
                    hash: content.hash,
                    stat: content.stat,
                    settled: content.settled,
                    mapping,
                });
            }
        }
        Ok(claims)
    }
}

/// What is known of a file's row. A first scan asks for nothing that cannot be there: where
/// nothing but what it has recorded itself is on record, nothing is known of the other files.
fn place(
    ledger: &mut dyn Ledger,
    table: &Table,
    path: &str,
    fresh: bool,
) -> Result<Place, StoreError> {
    let key = key_of(table, path).to_owned();
    let name = table.name();
    let taken = if fresh && key == path {
        None
    } else {
        ledger.taken(name, &key)?
    };
    let elsewhere = if fresh {
        Vec::new()
    } else {
        let mut all = ledger.taken_of(path)?;
        all.retain(|taken| taken.table != name || taken.key != key);
        all
    };
    // Two files of one round may have one row, where its key is no path.
    let (pending, claimed_by) = if fresh && key == path {
        (None, None)
    } else {
        (ledger.pending(name, &key)?, ledger.claim(name, &key)?)
    };
    Ok(Place {
        table: name.to_owned(),
        file_path: path.to_owned(),
        mapping: table.mapping(),
        taken,
        pending,
        elsewhere,
        claimed_by,
        key,
    })
}

pub(crate) fn apply(ledger: &mut dyn Ledger, steps: &[Step]) -> Result<(), StoreError> {
    steps.iter().try_for_each(|step| ledger.apply(step))
}

/// Rows whose file is gone, for files that may be it under another name.
#[derive(Debug, Default)]
struct Claims {
    rows: Vec<Option<Taken>>,
    by_path: HashMap<String, usize>,
    by_inode: HashMap<(u64, i64), usize>,
    by_hash: HashMap<ContentHash, usize>,
}

impl Claims {
    fn add(&mut self, taken: Taken) {
        let at = self.rows.len();
        self.by_path.insert(taken.file_path.clone(), at);
        // Renaming changes neither; a new file with an old inode has another time.
        self.by_inode
            .insert((taken.stat.inode, taken.stat.mtime), at);
        // Empty files are all alike.
        if taken.stat.size > 0 {
            self.by_hash.insert(taken.hash, at);
        }
        self.rows.push(Some(taken));
    }

    /// The key of the row that has become this file; nobody else gets it.
    fn take(
        &mut self,
        ledger: &mut dyn Ledger,
        place: &Place,
        content: Content,
        hint: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let found = [
            hint.and_then(|hint| self.by_path.get(hint)),
            self.by_inode.get(&(content.stat.inode, content.stat.mtime)),
            self.by_hash.get(&content.hash),
        ];
        for at in found.into_iter().flatten() {
            let Some(slot) = self.rows.get_mut(*at) else {
                continue;
            };
            let fits = slot
                .as_ref()
                .is_some_and(|row| row.table == place.table && row.key != place.key);
            if fits
                && let Some(row) = slot.take()
                && ledger.claim(&row.table, &row.key)?.is_none()
            {
                return Ok(Some(row.key));
            }
        }
        Ok(None)
    }
}
