//! What lasts, kept in memory: the database, the mark, the heartbeat file, the log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Drain, KV, Key, Logger, OwnedKVList, Record, Serializer};

use supervisor_core::Timestamp;

use crate::messages::Mark;
use crate::ports::{
    Batch, Bygone, DeaconFile, Deleted, EventQuery, EventRow, Marks, RunQuery, RunRow, Store,
    StoreError,
};

/// A database in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    events: Vec<EventRow>,
    runs: Vec<(String, RunRow)>,
    memories: BTreeMap<String, String>,
    failure: Option<StoreError>,
    panics: bool,
    commits: u64,
    delay: std::time::Duration,
    notices: Vec<String>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing can be written; `None`: it can again.
    pub fn fail(&self, failure: Option<StoreError>) {
        self.lock().failure = failure;
    }

    /// From now on each use panics, or no longer.
    pub fn panic(&self, panics: bool) {
        self.lock().panics = panics;
    }

    /// From now on each commit takes so long, in real time.
    pub fn delay(&self, delay: std::time::Duration) {
        self.lock().delay = delay;
    }

    /// On its next use it notices this.
    pub fn notice(&self, text: &str) {
        self.lock().notices.push(text.to_owned());
    }

    /// How many transactions were committed.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// What a service remembers.
    #[must_use]
    pub fn memory(&self, name: &str) -> Option<String> {
        self.lock().memories.get(name).cloned()
    }

    /// From now on it is remembered so.
    pub fn remember(&self, name: &str, memory: &str) {
        let mut contents = self.lock();
        contents.memories.insert(name.to_owned(), memory.to_owned());
    }

    /// All recorded events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<EventRow> {
        self.lock().events.clone()
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let contents = self.lock();
        assert!(!contents.panics, "the store was told to panic");
        Ok(contents.memories.clone().into_iter().collect())
    }

    fn commit(&mut self, batch: &Batch) -> Result<i64, StoreError> {
        let delay = self.lock().delay;
        std::thread::sleep(delay);
        let mut contents = self.lock();
        assert!(!contents.panics, "the store was told to panic");
        if let Some(failure) = &contents.failure {
            return Err(failure.clone());
        }
        contents.commits += 1;
        let first = i64::try_from(contents.events.len()).expect("fewer events") + 1;
        for event in &batch.events {
            let id = i64::try_from(contents.events.len()).expect("fewer events") + 1;
            contents.events.push(EventRow::of(id, event));
        }
        for name in &batch.forget {
            contents.memories.remove(name.as_str());
        }
        for run in &batch.runs {
            let service = run.service.as_str();
            let id = contents.runs.iter().filter(|(of, _)| of == service);
            let id = i64::try_from(id.count()).expect("fewer runs") + 1;
            let run = &run.run;
            let row = RunRow {
                id,
                rid: run.rid.as_ref().map(ToString::to_string),
                outcome: run.outcome.as_str().to_owned(),
                exit_code: run.exit_code.map(i64::from),
                started_at: run.began.map(Timestamp::rfc3339_micros),
                ended_at: run.ended.rfc3339_micros(),
                duration: run.took.map(|took| took.as_secs_f64()),
                message: run.message.clone(),
                output: run.output.clone(),
            };
            contents.runs.push((service.to_owned(), row));
        }
        for (name, memory) in &batch.memories {
            contents
                .memories
                .insert(name.as_str().to_owned(), memory.clone());
        }
        Ok(first)
    }

    fn events(&mut self, query: &EventQuery) -> Result<Vec<EventRow>, StoreError> {
        let contents = self.lock();
        let rows: Vec<EventRow> = contents
            .events
            .iter()
            .filter(|row| query.after.is_none_or(|after| row.id > after))
            .filter(|row| {
                query
                    .since
                    .is_none_or(|since| row.time >= since.rfc3339_micros())
            })
            .filter(|row| {
                query
                    .service
                    .as_ref()
                    .is_none_or(|name| *name == row.service)
            })
            .cloned()
            .collect();
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let from = if query.is_from_a_point() {
            0
        } else {
            rows.len().saturating_sub(limit)
        };
        Ok(rows.into_iter().skip(from).take(limit).collect())
    }

    fn delete(&mut self, bygone: &Bygone) -> Result<Deleted, StoreError> {
        let mut contents = self.lock();
        if let Some(failure) = &contents.failure {
            return Err(failure.clone());
        }
        let before = contents.events.len();
        let date = bygone.before.rfc3339_micros();
        let goes = |row: &EventRow| row.service == bygone.service.as_str() && row.time < date;
        contents.events.retain(|row| !goes(row));
        let events = (before - contents.events.len()) as u64;
        Ok(Deleted {
            records: events,
            next: None,
        })
    }

    fn runs(&mut self, query: &RunQuery) -> Result<Vec<RunRow>, StoreError> {
        let contents = self.lock();
        let rows = contents.runs.iter().rev();
        Ok(rows
            .filter(|(service, _)| *service == query.service)
            .map(|(_, row)| row)
            .filter(|row| query.before.is_none_or(|before| row.id < before))
            .filter(|row| query.number.is_none_or(|number| row.id == number))
            .take(usize::try_from(query.limit).unwrap_or(usize::MAX))
            .map(|row| RunRow {
                output: row.output.clone().filter(|_| query.output),
                ..row.clone()
            })
            .collect())
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lock().notices)
    }
}

/// A mark file in memory.
#[derive(Default)]
pub struct FakeMarks {
    mark: RefCell<Option<Mark>>,
    boot: RefCell<String>,
}

impl FakeMarks {
    /// The machine was booted anew.
    pub fn reboot(&self) {
        self.boot.borrow_mut().push('x');
    }
}

impl Marks for FakeMarks {
    fn read(&self) -> Option<Mark> {
        self.mark.borrow().clone()
    }

    fn leave(&self, mark: &Mark) {
        self.mark.replace(Some(mark.clone()));
    }

    fn boot(&self) -> String {
        self.boot.borrow().clone()
    }
}

/// A heartbeat file in memory. Clones share it.
#[derive(Clone, Default)]
pub struct FakeDeaconFile(Arc<Mutex<DeaconContents>>);

#[derive(Default)]
struct DeaconContents {
    bytes: Option<Vec<u8>>,
    written: u64,
    panics: bool,
    fails: bool,
}

impl FakeDeaconFile {
    fn lock(&self) -> MutexGuard<'_, DeaconContents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands in it.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        self.lock().bytes.clone()
    }

    /// Somebody else wrote it.
    pub fn put(&self, bytes: &[u8]) {
        self.lock().bytes = Some(bytes.to_vec());
    }

    /// How often we wrote it.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    /// From now on each use panics, or no longer.
    pub fn panic(&self, panics: bool) {
        self.lock().panics = panics;
    }

    /// From now on it cannot be written, or can again.
    pub fn fail(&self, fails: bool) {
        self.lock().fails = fails;
    }
}

impl DeaconFile for FakeDeaconFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut contents = self.lock();
        assert!(!contents.panics, "the heartbeat file was told to panic");
        if contents.fails {
            return Err(std::io::Error::other("told to fail"));
        }
        contents.bytes = Some(bytes.to_vec());
        contents.written += 1;
        Ok(())
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        self.bytes()
    }
}

/// What was logged: one line each, `LEVEL message key=value …`. Clones share it.
#[derive(Clone, Default)]
pub struct LogLines(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    panic_at: Option<String>,
}

impl LogLines {
    /// A logger that writes here.
    pub fn logger(&self) -> Logger {
        Logger::root(self.clone().fuse(), slog::o!())
    }

    /// All lines.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever next logs a line that contains this text panics while doing so.
    pub fn panic_at(&self, text: &str) {
        self.lock().panic_at = Some(text.to_owned());
    }

    /// The lines that contain a text.
    #[must_use]
    pub fn with(&self, text: &str) -> Vec<String> {
        let mut lines = self.all();
        lines.retain(|line| line.contains(text));
        lines
    }
}

impl Drain for LogLines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let mut line = Line(format!(
            "{} {}",
            record.level().as_short_str(),
            record.msg()
        ));
        // Writing to a String cannot fail.
        drop(record.kv().serialize(record, &mut line));
        drop(values.serialize(record, &mut line));
        let mut lines = self.lock();
        let fatal = lines
            .panic_at
            .take_if(|text| line.0.contains(text.as_str()));
        lines.lines.push(line.0);
        drop(lines);
        assert!(fatal.is_none(), "the log was told to panic");
        Ok(())
    }
}

struct Line(String);

impl Serializer for Line {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}")?;
        Ok(())
    }
}
