//! A lane: one batch, from its files to the target's answers.
//!
//! The files are read now, not when they were found changed: what is sent is what is there,
//! and only if it is still what the task says. They are read before there is a place in the
//! line for them. What the target refuses is halved until the bad
//! rows stand alone; the others are taken.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, info, warn};

use supervisor_core::Timestamp;
use supervisor_core::sync::document::file_name;
use supervisor_core::sync::{
    Alone, Batch, Document, Frontmatter, OnDelete, Pending, Refusal, Row, Scope, Table, Task, Work,
};

use super::line::Line;
use crate::ports::files::Files;
use crate::ports::tables::Tables;
use crate::sync::Hall;
use crate::sync::desk::blocking;

/// A batch with what became of it.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) batch: Batch,
    /// What became of each task, in their order.
    pub(super) fates: Vec<Fate>,
    /// The target said "not now".
    pub(super) retry: Option<(Option<Duration>, String)>,
    /// So many rows were too much at once.
    pub(super) too_much: Option<usize>,
    /// Requests that were taken.
    pub(super) taken: u32,
    /// Whether any request was answered with something else than "not now".
    pub(super) answered: bool,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was not sent, or not answered: it stays due.
    Waits,
    /// The target has it.
    Taken,
    /// The target has it; the row that should have moved here stands where it was.
    TakenBeside,
    /// Its file is another by now: it is looked at again.
    Stale,
    /// Refused until something changes.
    Parked(Scope, String),
}

impl Sent {
    /// What is parked besides the rows of the batch, and of which table.
    pub(super) fn parked_widely(&self) -> Option<(Scope, &str)> {
        let mut scopes = self.fates.iter().filter_map(|fate| match fate {
            Fate::Parked(scope, _) if *scope != Scope::Rows => Some(*scope),
            Fate::Parked(..) | Fate::Waits | Fate::Taken | Fate::TakenBeside | Fate::Stale => None,
        });
        scopes
            .next()
            .map(|scope| (scope, self.batch.table.as_str()))
    }

    /// A batch over which somebody panicked: it may have been sent.
    pub(super) fn panicked(batch: Batch, panic: &str) -> Self {
        Self {
            fates: vec![Fate::Waits; batch.tasks.len()],
            batch,
            retry: Some((None, format!("our own code panicked: {panic}"))),
            too_much: None,
            taken: 0,
            answered: false,
        }
    }
}

/// A batch whose rows are made.
struct Ready {
    /// The place of each among the tasks, and its row.
    rows: Vec<(usize, Row)>,
    /// Tasks whose files are others by now.
    stale: Vec<usize>,
    /// What is worth a word: the file, and what of it.
    remarks: Vec<(String, String)>,
}

/// Sends a batch.
pub(super) async fn run(
    hall: Rc<Hall>,
    line: Line,
    batch: Batch,
    now: Timestamp,
    log: Logger,
) -> Sent {
    let mut sent = Sent {
        fates: vec![Fate::Waits; batch.tasks.len()],
        batch,
        retry: None,
        too_much: None,
        taken: 0,
        answered: false,
    };
    let Some(table) = hall.spec.routes.table(&sent.batch.table).map(Arc::clone) else {
        let reason = format!(
            "the configuration has no table {} any more",
            sent.batch.table
        );
        sent.fates.fill(Fate::Parked(Scope::Rows, reason));
        return sent;
    };
    let lane = Lane {
        tables: Rc::clone(&hall.tables),
        table,
        on_delete: hall.spec.on_delete,
        dry_run: hall.spec.dry_run,
        now,
        log,
    };
    match sent.batch.work {
        Work::Remove => {
            if let Some(_place) = line.place().await {
                lane.remove(&mut sent).await;
            }
        }
        Work::Upsert | Work::Move => {
            let files = Arc::clone(&hall.files);
            let (table, tasks) = (Arc::clone(&lane.table), sent.batch.tasks.clone());
            let made = blocking(move || Ok(make(&*files, &table, &tasks, now))).await;
            let ready = match made {
                Ok(ready) => ready,
                Err(why) => {
                    // A panic over one of these documents; it is not known which.
                    sent.retry = Some((None, why.to_string()));
                    return sent;
                }
            };
            for at in ready.stale {
                sent.fates[at] = Fate::Stale;
            }
            for (path, remark) in ready.remarks {
                warn!(lane.log, "sync: {remark}"; "file_path" => path);
            }
            let Some(_place) = line.place().await else {
                return sent;
            };
            if sent.batch.work == Work::Upsert {
                lane.upsert(&mut sent, ready.rows).await;
            } else {
                lane.rename(&mut sent, ready.rows).await;
            }
        }
    }
    sent
}

/// Reads the files and makes their rows; blocking.
fn make(files: &dyn Files, table: &Table, tasks: &[Pending], now: Timestamp) -> Ready {
    let mut ready = Ready {
        rows: Vec::with_capacity(tasks.len()),
        stale: Vec::new(),
        remarks: Vec::new(),
    };
    for (at, task) in tasks.iter().enumerate() {
        let Task::Upsert {
            content,
            mapping: made_for,
            ..
        } = &task.task
        else {
            continue;
        };
        let path = &task.file_path;
        let Ok((bytes, found)) = files.read(path) else {
            ready.stale.push(at);
            continue;
        };
        if found.hash != content.hash || *made_for != table.mapping() {
            ready.stale.push(at);
            continue;
        }
        let document = Document::read(&bytes);
        if document.lossy {
            let remark = "bytes that are no UTF-8 become U+FFFD".to_owned();
            ready.remarks.push((path.clone(), remark));
        }
        if let Frontmatter::Bad(why) = &document.frontmatter {
            let remark = format!("frontmatter that cannot be read is content: {why}");
            ready.remarks.push((path.clone(), remark));
        }
        let row = Row::of(table, path, &document, found.hash, now);
        ready.rows.push((at, row));
    }
    ready
}

struct Lane {
    tables: Rc<dyn Tables>,
    table: Arc<Table>,
    on_delete: OnDelete,
    dry_run: bool,
    now: Timestamp,
    log: Logger,
}

impl Lane {
    /// Sends rows, as many at once as the target takes.
    async fn upsert(&self, sent: &mut Sent, rows: Vec<(usize, Row)>) {
        let (places, rows): (Vec<usize>, Vec<Row>) = rows.into_iter().unzip();
        for at in &places {
            self.say_syncing(&sent.batch.tasks[*at]);
        }
        let mut pieces = VecDeque::new();
        pieces.push_back(0..rows.len());
        while let Some(piece) = pieces.pop_front() {
            if piece.is_empty() {
                continue;
            }
            let answer = self.tables.upsert(&self.table, &rows[piece.clone()]).await;
            if !take(sent, &places, piece, &mut pieces, answer) {
                return;
            }
        }
    }

    /// Moves rows, one after another.
    async fn rename(&self, sent: &mut Sent, rows: Vec<(usize, Row)>) {
        for (at, row) in rows {
            let task = sent.batch.tasks[at].clone();
            let Task::Upsert {
                from: Some(from), ..
            } = &task.task
            else {
                continue;
            };
            self.say_syncing(&task);
            let mut fate = Fate::Taken;
            let mut answer = self
                .tables
                .rename(&self.table, from, &row)
                .await
                .map(|moved| {
                    if !moved {
                        fate = Fate::TakenBeside;
                    }
                });
            if answer.is_ok() && fate == Fate::TakenBeside {
                answer = self
                    .tables
                    .upsert(&self.table, std::slice::from_ref(&row))
                    .await;
            }
            let mut pieces = VecDeque::new();
            if !take(sent, &[at], 0..1, &mut pieces, answer) {
                return;
            }
            if sent.fates[at] == Fate::Taken {
                sent.fates[at] = fate;
            }
        }
    }

    /// Does with rows whose files are gone what is to be done with them.
    async fn remove(&self, sent: &mut Sent) {
        let tasks: Vec<_> = sent.batch.tasks.iter().collect();
        let keys: Vec<String> = tasks.iter().map(|task| task.key.clone()).collect();
        let how = match self.on_delete {
            OnDelete::Keep => {
                // It was said otherwise when they were queued.
                sent.fates.fill(Fate::Taken);
                return;
            }
            OnDelete::Delete => "delete",
            OnDelete::Tombstone => "mark as deleted",
        };
        for task in tasks {
            let name = file_name(&task.file_path);
            if self.dry_run {
                info!(self.log, "[DRY RUN] Would {how}: {name} → {}", self.table.name();
                    "file_path" => &task.file_path);
            } else {
                info!(self.log, "Removing: {name} → {}", self.table.name();
                    "file_path" => &task.file_path);
            }
        }
        let places: Vec<usize> = (0..keys.len()).collect();
        let mut pieces = VecDeque::new();
        pieces.push_back(0..keys.len());
        while let Some(piece) = pieces.pop_front() {
            let some = &keys[piece.clone()];
            let answer = match self.on_delete {
                OnDelete::Tombstone => self.tables.tombstone(&self.table, some, self.now).await,
                OnDelete::Keep | OnDelete::Delete => self.tables.delete(&self.table, some).await,
            };
            let asked = some.len() as u64;
            let answer = answer.map(|removed| {
                if removed < asked && !self.dry_run {
                    info!(self.log, "sync: rows were gone already"; "table" => self.table.name(),
                        "asked" => asked, "removed" => removed);
                }
            });
            if !take(sent, &places, piece, &mut pieces, answer) {
                return;
            }
        }
    }

    fn say_syncing(&self, task: &Pending) {
        let name = file_name(&task.file_path);
        let table = self.table.name();
        let from = match &task.task {
            Task::Upsert { from, .. } => from.as_deref(),
            Task::Remove | Task::Unreadable { .. } => None,
        };
        let path = &task.file_path;
        match (self.dry_run, from) {
            (true, None) => {
                info!(self.log, "[DRY RUN] Would sync: {name} → {table}"; "file_path" => path);
            }
            (true, Some(from)) => {
                info!(self.log, "[DRY RUN] Would sync: {name} → {table}"; "file_path" => path, "moved_from" => from);
            }
            (false, None) => info!(self.log, "Syncing: {name} → {table}"; "file_path" => path),
            (false, Some(from)) => {
                info!(self.log, "Syncing: {name} → {table}"; "file_path" => path, "moved_from" => from);
            }
        }
    }
}

/// Takes an answer to a piece of a batch: its tasks have their fates, or it goes in halves.
/// `false` where nothing more is to be sent.
fn take(
    sent: &mut Sent,
    places: &[usize],
    piece: Range<usize>,
    pieces: &mut VecDeque<Range<usize>>,
    answer: Result<(), Refusal>,
) -> bool {
    let settle = |sent: &mut Sent, piece: Range<usize>, fate: &Fate| {
        for at in &places[piece] {
            sent.fates[*at] = fate.clone();
        }
    };
    let refusal = match answer {
        Ok(()) => {
            sent.taken += 1;
            sent.answered = true;
            settle(sent, piece, &Fate::Taken);
            return true;
        }
        Err(refusal) => refusal,
    };
    let halve = |pieces: &mut VecDeque<Range<usize>>| {
        let middle = piece.start + piece.len() / 2;
        pieces.push_front(middle..piece.end);
        pieces.push_front(piece.start..middle);
    };
    let alone = piece.len() <= 1;
    match refusal {
        Refusal::Retry { after, why } => {
            sent.retry = Some((after, why));
            false
        }
        Refusal::Smaller {
            alone: Alone::Retry,
            why,
        } if alone => {
            sent.retry = Some((None, why));
            false
        }
        Refusal::Smaller { .. } if !alone => {
            sent.answered = true;
            let rows = piece.len();
            sent.too_much = Some(sent.too_much.map_or(rows, |before| before.min(rows)));
            halve(pieces);
            true
        }
        Refusal::Split { .. } if !alone => {
            sent.answered = true;
            halve(pieces);
            true
        }
        Refusal::Smaller { why, .. } | Refusal::Split { why } => {
            sent.answered = true;
            settle(sent, piece, &Fate::Parked(Scope::Rows, why));
            true
        }
        Refusal::Park {
            scope: Scope::Rows,
            why,
        } => {
            sent.answered = true;
            settle(sent, piece, &Fate::Parked(Scope::Rows, why));
            true
        }
        Refusal::Park { scope, why } => {
            sent.answered = true;
            settle(sent, piece, &Fate::Parked(scope, why.clone()));
            for rest in pieces.drain(..) {
                settle(sent, rest, &Fate::Parked(scope, why.clone()));
            }
            false
        }
    }
}
