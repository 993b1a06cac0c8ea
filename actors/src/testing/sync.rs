//! A disk, a ledger and a target in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::FutureExt as _;

use supervisor_core::Timestamp;
use supervisor_core::sync::manifest::is_settled;
use supervisor_core::sync::outbox::Step;
use supervisor_core::sync::{
    Content, ContentHash, OnDelete, Pending, Refusal, Routes, Row, Scope, Stat, State, Table,
    Taken, Task, preset,
};
use supervisor_core::time::Mono;

use crate::ports::files::{Blind, Eyes, Files, Found, Listing, Look, Sighting, Survey, Take, Tell};
use crate::ports::ledger::{Counts, Known, Ledger, Which, state_word};
use crate::ports::tables::{self, Held, Tables};
use crate::ports::{Clock, StoreError};
use crate::sync::{SyncHandle, SyncSetup, SyncSpec};

use super::{FakeClock, Running, Stage};

/// A stage with a sync: the directories `docs` and `notes` below `/p`, each in a table of its
/// name.
#[derive(Clone)]
pub struct SyncStage {
    /// The rest of the world.
    pub stage: Stage,
    /// The files.
    pub disk: FakeDisk,
    /// The record.
    pub ledger: MemoryLedger,
    /// The target.
    pub tables: Rc<FakeTables>,
    /// What the sync does.
    pub spec: SyncSpec,
}

impl Default for SyncStage {
    fn default() -> Self {
        Self::new()
    }
}

impl SyncStage {
    /// Fresh fakes. Inside a [`super::PausedSystem`].
    ///
    /// # Panics
    /// Never: its routes are good ones.
    #[must_use]
    pub fn new() -> Self {
        let stage = Stage::new();
        let table = |name: &str| {
            (
                PathBuf::from(name),
                Arc::new(preset::plain(name, true).expect("a table")),
            )
        };
        let directories = vec![table("docs"), table("notes")];
        let extensions = ["md".to_owned()];
        let routes = Routes::new(Path::new("/p"), directories, &extensions, &[]).expect("routes");
        let routes = Arc::new(routes);
        Self {
            disk: FakeDisk::new(Arc::clone(&stage.clock), Arc::clone(&routes)),
            ledger: MemoryLedger::default(),
            tables: Rc::new(FakeTables::new(Arc::clone(&stage.clock))),
            spec: SyncSpec {
                routes,
                debounce: Duration::from_secs(5),
                max_wait: Duration::from_secs(60),
                on_delete: OnDelete::Keep,
                dry_run: false,
                continuous: true,
            },
            stage,
        }
    }

    /// The fakes as ports.
    #[must_use]
    pub fn setup(&self) -> SyncSetup {
        SyncSetup {
            spec: self.spec.clone(),
            ledger: Box::new(self.ledger.clone()),
            files: Arc::new(self.disk.clone()),
            eyes: Arc::new(self.disk.clone()),
            tables: Rc::clone(&self.tables) as _,
        }
    }

    /// Lets what is on the disk grow old before the start.
    pub async fn age(&self) {
        tokio::time::sleep(Duration::from_secs(60)).await;
        // A clock that nobody reads before the start begins where it was read last.
        self.stage.clock.mono();
    }

    /// Starts it all and waits until the first walk and what follows from it are done.
    ///
    /// # Panics
    /// Where there is no sync.
    pub async fn start(&self) -> (Running, SyncHandle) {
        let running = self.stage.start_with(Vec::new(), Some(self.setup())).await;
        let sync = running.sync.clone().expect("a sync");
        (running, sync)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === the disk ===

/// Files in memory, and the kernel that tells of them. Clones share it.
#[derive(Clone)]
pub struct FakeDisk {
    clock: Arc<FakeClock>,
    routes: Arc<Routes>,
    inner: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<String, FakeFile>,
    tell: Option<Tell>,
    watched: BTreeSet<PathBuf>,
    /// The kernel tells nobody.
    deaf: bool,
    /// What happens when a file was read.
    when_read: Option<(String, Box<Deed>)>,
    blind: Option<Blind>,
    unread: Vec<String>,
    inodes: u64,
    looks: u64,
}

/// What somebody does.
type Deed = dyn FnOnce(&FakeDisk) + Send;

#[derive(Clone)]
struct FakeFile {
    bytes: Vec<u8>,
    stat: Stat,
    unreadable: Option<String>,
    /// So many looks find it changing.
    changing: u32,
}

impl FakeDisk {
    fn new(clock: Arc<FakeClock>, routes: Arc<Routes>) -> Self {
        Self {
            clock,
            routes,
            inner: Arc::default(),
        }
    }

    fn now(&self) -> i64 {
        self.clock.wall().0 * 1_000
    }

    fn tell(&self, sightings: impl IntoIterator<Item = Sighting>) {
        let tell = {
            let disk = lock(&self.inner);
            if disk.deaf { None } else { disk.tell.clone() }
        };
        if let Some(tell) = tell {
            for sighting in sightings {
                tell(sighting);
            }
        }
    }

    fn path(&self, file_path: &str) -> PathBuf {
        self.routes.root().join(file_path)
    }

    /// Somebody writes a file.
    pub fn write(&self, file_path: &str, text: &str) {
        let now = self.now();
        {
            let mut disk = lock(&self.inner);
            disk.inodes += 1;
            let inode = disk
                .files
                .get(file_path)
                .map_or(disk.inodes, |file| file.stat.inode);
            let file = FakeFile {
                bytes: text.as_bytes().to_vec(),
                stat: Stat {
                    size: text.len() as u64,
                    mtime: now,
                    ctime: now,
                    inode,
                },
                unreadable: None,
                changing: 0,
            };
            disk.files.insert(file_path.to_owned(), file);
        }
        self.tell([Sighting::File(self.path(file_path))]);
    }

    /// Somebody removes a file.
    pub fn remove(&self, file_path: &str) {
        lock(&self.inner).files.remove(file_path);
        self.tell([Sighting::File(self.path(file_path))]);
    }

    /// Somebody renames a file.
    ///
    /// # Panics
    /// Where there is none.
    pub fn rename(&self, from: &str, to: &str) {
        let now = self.now();
        {
            let mut disk = lock(&self.inner);
            let mut file = disk.files.remove(from).expect("a file");
            file.stat.ctime = now;
            disk.files.insert(to.to_owned(), file);
        }
        let (from, to) = (self.path(from), self.path(to));
        self.tell([
            Sighting::File(from.clone()),
            Sighting::File(to.clone()),
            Sighting::Moved { from, to },
        ]);
    }

    /// From now on a file cannot be read for that reason, or can again.
    pub fn forbid(&self, file_path: &str, why: Option<&str>) {
        let now = self.now();
        if let Some(file) = lock(&self.inner).files.get_mut(file_path) {
            file.unreadable = why.map(str::to_owned);
            file.stat.ctime = now;
        }
        self.tell([Sighting::File(self.path(file_path))]);
    }

    /// So many looks find a file changing.
    pub fn keep_changing(&self, file_path: &str, looks: u32) {
        if let Some(file) = lock(&self.inner).files.get_mut(file_path) {
            file.changing = looks;
        }
    }

    /// Somebody does something as soon as that file was read, before it is recorded.
    pub fn when_read(&self, file_path: &str, then: impl FnOnce(&Self) + Send + 'static) {
        lock(&self.inner).when_read = Some((file_path.to_owned(), Box::new(then)));
    }

    /// From now on the kernel tells nobody, or does again.
    pub fn deafen(&self, deaf: bool) {
        lock(&self.inner).deaf = deaf;
    }

    /// From now on nothing can be watched for that reason, or can again.
    pub fn blind(&self, why: Option<Blind>) {
        lock(&self.inner).blind = why;
    }

    /// From now on a directory cannot be read, or all can again.
    pub fn hide(&self, directory: Option<&str>) {
        lock(&self.inner).unread = directory.map(str::to_owned).into_iter().collect();
    }

    /// The kernel says that it missed something.
    pub fn overflow(&self) {
        self.tell([Sighting::Everything("overflow".to_owned())]);
    }

    /// How many files were read.
    #[must_use]
    pub fn looks(&self) -> u64 {
        lock(&self.inner).looks
    }

    /// All files with their texts.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, String> {
        let disk = lock(&self.inner);
        let files = disk.files.iter();
        files
            .map(|(path, file)| {
                (
                    path.clone(),
                    String::from_utf8_lossy(&file.bytes).into_owned(),
                )
            })
            .collect()
    }

    fn look_one(&self, file_path: &str) -> Result<(Vec<u8>, Content), Look> {
        let now = self.clock.wall();
        let mut disk = lock(&self.inner);
        disk.looks += 1;
        let Some(file) = disk.files.get_mut(file_path) else {
            return Err(Look::Gone);
        };
        if let Some(why) = &file.unreadable {
            return Err(Look::Unreadable {
                stat: file.stat,
                why: why.clone(),
            });
        }
        if file.changing > 0 {
            file.changing -= 1;
            return Err(Look::Changing);
        }
        let content = Content {
            hash: hash(&file.bytes),
            stat: file.stat,
            settled: is_settled(&file.stat, now),
        };
        Ok((file.bytes.clone(), content))
    }
}

/// Not SHA-256, but different where the bytes are.
fn hash(bytes: &[u8]) -> ContentHash {
    let mut hash = [0; 32];
    for (at, part) in [&b""[..], b"1", b"2", b"3"].into_iter().enumerate() {
        let mut all = bytes.to_vec();
        all.extend_from_slice(part);
        let sum = supervisor_core::sync::manifest::path_sum(&all);
        hash[at * 8..at * 8 + 8].copy_from_slice(&sum.to_le_bytes());
    }
    ContentHash(hash)
}

impl Files for FakeDisk {
    fn look(&self, file_paths: &[Arc<str>], at_once: usize, take: &mut Take<'_>) -> Duration {
        let one = |path: &Arc<str>| match self.look_one(path) {
            Ok((_, content)) => Look::Here(content),
            Err(look) => look,
        };
        for some in file_paths.chunks(at_once) {
            let looks = some.iter().map(one).collect();
            let read = |(path, _): &mut (String, _)| some.iter().any(|other| **other == **path);
            let then = lock(&self.inner).when_read.take_if(read);
            if let Some((_, then)) = then {
                then(self);
            }
            if take(some, looks).is_break() {
                break;
            }
        }
        Duration::ZERO
    }

    fn read(&self, file_path: &str) -> Result<(Vec<u8>, Content), Look> {
        self.look_one(file_path)
    }

    fn exists(&self, file_path: &str) -> bool {
        lock(&self.inner).files.contains_key(file_path)
    }

    fn survey(&self, survey: &Survey<'_>) -> Found {
        for directory in self.routes.directories() {
            (survey.enter)(&[&directory.path]);
        }
        let (files, unread) = {
            let disk = lock(&self.inner);
            let files: Vec<_> = disk
                .files
                .iter()
                .map(|(path, file)| (path.clone(), file.stat))
                .collect();
            (files, disk.unread.clone())
        };
        let mut found = Found::default();
        for (path, stat) in files {
            let below = |directory: &str| {
                path.strip_prefix(directory)
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            if survey.below.is_some_and(|directory| !below(directory))
                || unread.iter().any(|directory| below(directory))
            {
                continue;
            }
            let Ok(table) = self.routes.route_of(&path) else {
                continue;
            };
            let name_at = path.rfind('/').map_or(0, |at| at + 1);
            let mut listing = Listing::new(&path[..name_at], &Arc::from(table.name()));
            listing.push(&path[name_at..], stat);
            (survey.list)(listing);
        }
        found.unread = unread
            .into_iter()
            .map(|path| (path, "forbidden".to_owned()))
            .collect();
        found
    }

    fn roots(&self) -> Vec<Option<u64>> {
        self.routes.directories().iter().map(|_| Some(1)).collect()
    }
}

impl Eyes for FakeDisk {
    fn open(&self, tell: Tell) -> Result<(), Blind> {
        let mut disk = lock(&self.inner);
        disk.tell = Some(tell);
        disk.watched.clear();
        Ok(())
    }

    fn watch(&self, directory: &Path) -> Result<(), Blind> {
        let mut disk = lock(&self.inner);
        if let Some(why) = &disk.blind {
            return Err(why.clone());
        }
        disk.watched.insert(directory.to_owned());
        Ok(())
    }

    fn close(&self) {
        let mut disk = lock(&self.inner);
        disk.tell = None;
        disk.watched.clear();
    }

    fn watched(&self) -> usize {
        lock(&self.inner).watched.len()
    }
}

// === the ledger ===

/// A record in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    pages: Pages,
    before: Option<Pages>,
    failure: Option<StoreError>,
    /// The commit that fails, after so many others.
    failing_commit: Option<(u32, StoreError)>,
    panics: bool,
    epoch: u64,
    commits: u64,
}

#[derive(Default, Clone)]
struct Pages {
    taken: BTreeMap<(String, String), Taken>,
    tasks: BTreeMap<(String, String), Pending>,
    notes: BTreeMap<String, String>,
    seq: u64,
}

impl MemoryLedger {
    /// From now on it cannot be used, or can again.
    pub fn fail(&self, failure: Option<StoreError>) {
        lock(&self.0).failure = failure;
    }

    /// One commit fails, after so many others.
    pub fn fail_after(&self, commits: u32, failure: StoreError) {
        lock(&self.0).failing_commit = Some((commits, failure));
    }

    /// From now on each use panics, or no longer.
    pub fn panic(&self, panics: bool) {
        lock(&self.0).panics = panics;
    }

    /// It is lost, and begun anew.
    pub fn lose(&self) {
        let mut book = lock(&self.0);
        let seq = book.pages.seq;
        book.pages = Pages {
            seq,
            ..Pages::default()
        };
        book.epoch += 1;
    }

    /// How many transactions were committed.
    #[must_use]
    pub fn commits(&self) -> u64 {
        lock(&self.0).commits
    }

    /// The files that the target has taken, with their keys.
    #[must_use]
    pub fn taken_files(&self) -> BTreeMap<String, String> {
        let book = lock(&self.0);
        let taken = book.pages.taken.values();
        taken
            .map(|taken| (taken.file_path.clone(), taken.key.clone()))
            .collect()
    }

    /// All tasks, by their numbers.
    #[must_use]
    pub fn all_tasks(&self) -> Vec<Pending> {
        let mut tasks: Vec<_> = lock(&self.0).pages.tasks.values().cloned().collect();
        tasks.sort_by_key(|task| task.seq);
        tasks
    }

    fn with<T>(&self, work: impl FnOnce(&mut Pages) -> T) -> Result<T, StoreError> {
        let mut book = lock(&self.0);
        assert!(!book.panics, "the ledger was told to panic");
        if let Some(failure) = &book.failure {
            return Err(failure.clone());
        }
        Ok(work(&mut book.pages))
    }
}

fn row(table: &str, key: &str) -> (String, String) {
    (table.to_owned(), key.to_owned())
}

fn lies_below(path: &str, below: Option<&str>) -> bool {
    below.is_none_or(|below| {
        below == "."
            || path
                .strip_prefix(below)
                .is_some_and(|rest| rest.starts_with('/'))
    })
}

impl Ledger for MemoryLedger {
    fn begin(&mut self, _: bool) -> Result<(), StoreError> {
        self.rollback();
        self.with(|_| ())?;
        let mut book = lock(&self.0);
        book.before = Some(book.pages.clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.with(|_| ())?;
        let mut book = lock(&self.0);
        match book.failing_commit.take() {
            Some((0, failure)) => return Err(failure),
            Some((others, failure)) => book.failing_commit = Some((others - 1, failure)),
            None => {}
        }
        assert!(book.before.take().is_some(), "no transaction");
        book.commits += 1;
        Ok(())
    }

    fn rollback(&mut self) {
        let mut book = lock(&self.0);
        if let Some(before) = book.before.take() {
            let seq = book.pages.seq;
            book.pages = before;
            book.pages.seq = seq;
        }
    }

    fn every_known(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Known<'_>),
    ) -> Result<(), StoreError> {
        let all = self.with(|pages| pages.taken.values().cloned().collect::<Vec<_>>())?;
        all.iter()
            .filter(|taken| lies_below(&taken.file_path, below))
            .for_each(|taken| {
                each(Known {
                    file_path: &taken.file_path,
                    stat: taken.stat,
                    settled: taken.settled,
                    mapping: taken.mapping,
                });
            });
        Ok(())
    }

    fn every_taken(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Taken),
    ) -> Result<(), StoreError> {
        let all = self.with(|pages| pages.taken.values().cloned().collect::<Vec<_>>())?;
        all.into_iter()
            .filter(|taken| lies_below(&taken.file_path, below))
            .for_each(each);
        Ok(())
    }

    fn taken(&mut self, table: &str, key: &str) -> Result<Option<Taken>, StoreError> {
        self.with(|pages| pages.taken.get(&row(table, key)).cloned())
    }

    fn taken_of(&mut self, file_path: &str) -> Result<Vec<Taken>, StoreError> {
        self.with(|pages| {
            let all = pages.taken.values();
            all.filter(|taken| taken.file_path == file_path)
                .cloned()
                .collect()
        })
    }

    fn pending(&mut self, table: &str, key: &str) -> Result<Option<Pending>, StoreError> {
        self.with(|pages| pages.tasks.get(&row(table, key)).cloned())
    }

    fn tasks(
        &mut self,
        states: &[&str],
        beyond: u64,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        self.with(|pages| {
            let all = pages.tasks.values();
            let mut found: Vec<_> = all
                .filter(|task| task.seq > beyond && states.contains(&state_word(&task.state)))
                .cloned()
                .collect();
            found.sort_by_key(|task| task.seq);
            found.truncate(limit as usize);
            found
        })
    }

    fn every_task(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Pending),
    ) -> Result<(), StoreError> {
        let all = self.with(|pages| pages.tasks.values().cloned().collect::<Vec<_>>())?;
        all.into_iter()
            .filter(|task| lies_below(&task.file_path, below))
            .for_each(each);
        Ok(())
    }

    fn claim(&mut self, table: &str, from: &str) -> Result<Option<String>, StoreError> {
        self.with(|pages| {
            let mut all = pages.tasks.values();
            let claims = |task: &&Pending| {
                task.table == table
                    && matches!(&task.task, Task::Upsert { from: Some(key), .. } if key == from)
            };
            all.find(claims).map(|task| task.key.clone())
        })
    }

    fn apply(&mut self, step: &Step) -> Result<(), StoreError> {
        self.with(|pages| match step {
            Step::Queue(pending) => {
                pages.seq += 1;
                let pending = Pending {
                    seq: pages.seq,
                    ..pending.clone()
                };
                pages
                    .tasks
                    .insert(row(&pending.table, &pending.key), pending);
            }
            Step::Unqueue { table, key } => {
                pages.tasks.remove(&row(table, key));
            }
            Step::Take(taken) => {
                pages
                    .taken
                    .insert(row(&taken.table, &taken.key), taken.clone());
            }
            Step::Forget { table, key } => {
                pages.taken.remove(&row(table, key));
            }
            Step::Unclaim { table, key } => {
                pages.seq += 1;
                let seq = pages.seq;
                if let Some(pending) = pages.tasks.get_mut(&row(table, key)) {
                    pending.seq = seq;
                    if let Task::Upsert { from, .. } = &mut pending.task {
                        *from = None;
                    }
                }
            }
        })
    }

    fn finish(&mut self, pending: &Pending) -> Result<bool, StoreError> {
        self.with(|pages| {
            let key = row(&pending.table, &pending.key);
            let same = pages
                .tasks
                .get(&key)
                .is_some_and(|task| task.seq == pending.seq);
            if same {
                pages.tasks.remove(&key);
            }
            same
        })
    }

    fn set_state(&mut self, pending: &Pending, state: &State) -> Result<(), StoreError> {
        self.with(|pages| {
            let key = row(&pending.table, &pending.key);
            if let Some(task) = pages
                .tasks
                .get_mut(&key)
                .filter(|task| task.seq == pending.seq)
            {
                task.state = state.clone();
            }
        })
    }

    fn set_states(&mut self, which: &Which, state: &State) -> Result<u64, StoreError> {
        let of = |task: &Pending, table: &Option<String>| {
            table.as_ref().is_none_or(|table| *table == task.table)
        };
        let parked = |task: &Pending| match &task.state {
            State::Parked { scope, .. } if !matches!(task.task, Task::Unreadable { .. }) => {
                Some(*scope)
            }
            State::Parked { .. } | State::Due | State::Held | State::Confirmed => None,
        };
        let chosen = |task: &Pending| match which {
            Which::Removals { table } => {
                task.state == State::Due && task.task == Task::Remove && task.table == *table
            }
            Which::Held { table } => task.state == State::Held && of(task, table),
            Which::Due { table } => {
                matches!(task.state, State::Due | State::Confirmed) && of(task, table)
            }
            Which::Parked { table } => parked(task).is_some() && of(task, table),
            Which::ParkedWithTable { table } => match parked(task) {
                Some(Scope::Table) => task.table == *table,
                Some(Scope::Target) => true,
                Some(Scope::Rows) | None => false,
            },
        };
        self.with(|pages| {
            let mut count = 0;
            for task in pages.tasks.values_mut().filter(|task| chosen(task)) {
                task.state = state.clone();
                count += 1;
            }
            count
        })
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        self.with(|pages| pages.taken.clear())
    }

    fn is_empty(&mut self) -> Result<(bool, bool), StoreError> {
        self.with(|pages| (pages.taken.is_empty(), pages.tasks.is_empty()))
    }

    fn counts(&mut self) -> Result<Vec<Counts>, StoreError> {
        self.with(|pages| {
            let mut all: BTreeMap<String, Counts> = BTreeMap::new();
            for taken in pages.taken.values() {
                all.entry(taken.table.clone()).or_default().rows += 1;
            }
            for task in pages.tasks.values() {
                let counts = all.entry(task.table.clone()).or_default();
                match task.state {
                    State::Due | State::Confirmed => counts.due += 1,
                    State::Held => counts.held += 1,
                    State::Parked { .. } => counts.parked += 1,
                }
                if task.state == State::Due && task.task == Task::Remove {
                    counts.removals += 1;
                }
            }
            all.into_iter()
                .map(|(table, counts)| Counts { table, ..counts })
                .collect()
        })
    }

    fn note(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        self.with(|pages| pages.notes.get(name).cloned())
    }

    fn set_note(&mut self, name: &str, text: &str) -> Result<(), StoreError> {
        self.with(|pages| {
            pages.notes.insert(name.to_owned(), text.to_owned());
        })
    }

    fn epoch(&self) -> u64 {
        lock(&self.0).epoch
    }
}

// === the target ===

/// Tables in memory, which refuse what they are told to.
pub struct FakeTables {
    clock: Arc<FakeClock>,
    inner: RefCell<Target>,
}

struct Target {
    rows: BTreeMap<(String, String), Vec<serde_json::Value>>,
    hashes: BTreeMap<(String, String), ContentHash>,
    calls: Vec<(Mono, Call)>,
    /// Answers to the next calls, whatever they are.
    script: VecDeque<Refusal>,
    /// Whatever is called is answered so.
    always: Option<Refusal>,
    /// Keys that no batch may hold.
    bad: BTreeSet<String>,
    /// So many rows at most.
    most: usize,
    delay: Duration,
    identity: String,
    in_flight: BTreeSet<(String, String)>,
    most_in_flight: usize,
    requests: usize,
    /// A batch is done and its answer lost.
    swallow: u32,
}

/// What the target was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Rows of a table, by key.
    Upsert(String, Vec<String>),
    /// A row's move.
    Rename(String, String, String),
    /// Deletions.
    Delete(String, Vec<String>),
    /// Tombstones.
    Tombstone(String, Vec<String>),
    /// A page of keys.
    Keys(String),
}

impl FakeTables {
    fn new(clock: Arc<FakeClock>) -> Self {
        Self {
            clock,
            inner: RefCell::new(Target {
                rows: BTreeMap::new(),
                hashes: BTreeMap::new(),
                calls: Vec::new(),
                script: VecDeque::new(),
                always: None,
                bad: BTreeSet::new(),
                most: usize::MAX,
                delay: Duration::from_millis(10),
                identity: "fake".to_owned(),
                in_flight: BTreeSet::new(),
                most_in_flight: 0,
                requests: 0,
                swallow: 0,
            }),
        }
    }

    /// The next calls are refused so, one each.
    pub fn refuse(&self, refusals: impl IntoIterator<Item = Refusal>) {
        self.inner.borrow_mut().script.extend(refusals);
    }

    /// From now on every call is refused so, or none any more.
    pub fn refuse_all(&self, refusal: Option<Refusal>) {
        self.inner.borrow_mut().always = refusal;
    }

    /// No batch with this key is taken: all of it is rolled back.
    pub fn spoil(&self, key: &str, bad: bool) {
        let bads = &mut self.inner.borrow_mut().bad;
        if bad {
            bads.insert(key.to_owned());
        } else {
            bads.remove(key);
        }
    }

    /// Takes so many rows at once and no more.
    pub fn take_at_most(&self, rows: usize) {
        self.inner.borrow_mut().most = rows;
    }

    /// From now on a call takes so long.
    pub fn delay(&self, delay: Duration) {
        self.inner.borrow_mut().delay = delay;
    }

    /// It loses everything and begins anew.
    pub fn lose(&self) {
        let mut target = self.inner.borrow_mut();
        target.rows.clear();
        target.hashes.clear();
        target.identity.push('x');
    }

    /// The next calls are done, and their answers lost.
    pub fn swallow(&self, calls: u32) {
        self.inner.borrow_mut().swallow = calls;
    }

    /// Somebody put a row there.
    pub fn put(&self, table: &str, key: &str, hash: ContentHash) {
        let mut target = self.inner.borrow_mut();
        target.rows.insert(row(table, key), Vec::new());
        target.hashes.insert(row(table, key), hash);
    }

    /// The hash that a text's row has.
    #[must_use]
    pub fn hash_of(text: &str) -> ContentHash {
        hash(text.as_bytes())
    }

    /// All calls since the last time, with their times.
    pub fn calls(&self) -> Vec<(Mono, Call)> {
        std::mem::take(&mut self.inner.borrow_mut().calls)
    }

    /// The text of each row (`content`), by key.
    #[must_use]
    pub fn texts(&self, table: &str) -> BTreeMap<String, String> {
        let target = self.inner.borrow();
        let rows = target.rows.iter().filter(|((of, _), _)| of == table);
        rows.map(|((_, key), values)| {
            let content = values.get(2).and_then(serde_json::Value::as_str);
            (key.clone(), content.unwrap_or_default().to_owned())
        })
        .collect()
    }

    /// How many calls were under way at once at most.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.inner.borrow().most_in_flight
    }

    /// A call: waits, and may be refused.
    async fn call(&self, call: Call, keys: &[String], table: &str) -> Result<bool, Refusal> {
        let delay = {
            let mut target = self.inner.borrow_mut();
            target.calls.push((self.clock.mono(), call));
            for key in keys {
                let new = target.in_flight.insert(row(table, key));
                assert!(new, "{table} {key} is in flight twice");
            }
            target.requests += 1;
            target.most_in_flight = target.most_in_flight.max(target.requests);
            target.delay
        };
        tokio::time::sleep(delay).await;
        let mut target = self.inner.borrow_mut();
        target.requests -= 1;
        for key in keys {
            target.in_flight.remove(&row(table, key));
        }
        if let Some(refusal) = target.script.pop_front().or_else(|| target.always.clone()) {
            return Err(refusal);
        }
        if keys.len() > target.most {
            return Err(Refusal::Smaller {
                alone: supervisor_core::sync::Alone::Park,
                why: "too much".to_owned(),
            });
        }
        if keys.iter().any(|key| target.bad.contains(key)) {
            return Err(Refusal::Split {
                why: "a bad row".to_owned(),
            });
        }
        let lost = target.swallow > 0;
        target.swallow = target.swallow.saturating_sub(1);
        Ok(lost)
    }
}

fn lost<T>(lost: bool, answer: T) -> Result<T, Refusal> {
    if lost {
        return Err(Refusal::Retry {
            after: None,
            why: "the answer was lost".to_owned(),
        });
    }
    Ok(answer)
}

impl Tables for FakeTables {
    fn describe(&self) -> String {
        "fake".to_owned()
    }

    fn identity(&self) -> tables::Taken<'_, String> {
        let identity = self.inner.borrow().identity.clone();
        let refusal = self.inner.borrow().always.clone();
        async move {
            match refusal {
                Some(refusal @ Refusal::Retry { .. }) => Err(refusal),
                Some(_) | None => Ok(identity),
            }
        }
        .boxed_local()
    }

    fn upsert<'a>(&'a self, table: &'a Table, new: &'a [Row]) -> tables::Taken<'a, ()> {
        async move {
            let keys: Vec<String> = new.iter().map(|row| row.key.clone()).collect();
            assert!(
                !keys.is_empty() && keys.is_sorted_by(|a, b| a < b),
                "{keys:?}"
            );
            let call = Call::Upsert(table.name().to_owned(), keys.clone());
            let answer_lost = self.call(call, &keys, table.name()).await?;
            let mut target = self.inner.borrow_mut();
            for one in new {
                target
                    .rows
                    .insert(row(table.name(), &one.key), one.values.clone());
                target.hashes.insert(row(table.name(), &one.key), one.hash);
            }
            lost(answer_lost, ())
        }
        .boxed_local()
    }

    fn rename<'a>(
        &'a self,
        table: &'a Table,
        from: &'a str,
        new: &'a Row,
    ) -> tables::Taken<'a, bool> {
        async move {
            let name = table.name();
            let call = Call::Rename(name.to_owned(), from.to_owned(), new.key.clone());
            let keys = [from.to_owned(), new.key.clone()];
            let answer_lost = self.call(call, &keys, name).await?;
            let mut target = self.inner.borrow_mut();
            let free = !target.rows.contains_key(&row(name, &new.key));
            let moved = free && target.rows.remove(&row(name, from)).is_some();
            if moved {
                target.hashes.remove(&row(name, from));
                target.rows.insert(row(name, &new.key), new.values.clone());
                target.hashes.insert(row(name, &new.key), new.hash);
            }
            lost(answer_lost, moved)
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, table: &'a Table, keys: &'a [String]) -> tables::Taken<'a, u64> {
        async move {
            let call = Call::Delete(table.name().to_owned(), keys.to_vec());
            let answer_lost = self.call(call, keys, table.name()).await?;
            let mut target = self.inner.borrow_mut();
            let mut count = 0;
            for key in keys {
                count += u64::from(target.rows.remove(&row(table.name(), key)).is_some());
                target.hashes.remove(&row(table.name(), key));
            }
            lost(answer_lost, count)
        }
        .boxed_local()
    }

    fn tombstone<'a>(
        &'a self,
        table: &'a Table,
        keys: &'a [String],
        at: Timestamp,
    ) -> tables::Taken<'a, u64> {
        async move {
            let call = Call::Tombstone(table.name().to_owned(), keys.to_vec());
            let answer_lost = self.call(call, keys, table.name()).await?;
            let mut target = self.inner.borrow_mut();
            let mut count = 0;
            for key in keys {
                if let Some(values) = target.rows.get_mut(&row(table.name(), key)) {
                    count += 1;
                    if let Some(last) = values.last_mut() {
                        *last = at.rfc3339().into();
                    }
                }
            }
            lost(answer_lost, count)
        }
        .boxed_local()
    }

    fn keys<'a>(
        &'a self,
        table: &'a Table,
        after: Option<&'a str>,
        limit: u32,
    ) -> tables::Taken<'a, Vec<Held>> {
        async move {
            self.call(Call::Keys(table.name().to_owned()), &[], table.name())
                .await?;
            let target = self.inner.borrow();
            let all = target.hashes.iter().filter(|((of, key), _)| {
                of == table.name() && after.is_none_or(|after| key.as_str() > after)
            });
            let page = all.take(limit as usize).map(|((_, key), hash)| Held {
                key: key.clone(),
                hash: Some(*hash),
            });
            Ok(page.collect())
        }
        .boxed_local()
    }
}
