mod clocks;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use supervisor_actors::messages::NewEvent;
use supervisor_core::event::{Change, EventKind};
use supervisor_core::{Level, ServiceName};

use super::*;

/// Clocks that stand until they are set.
#[derive(Default)]
pub(super) struct SetClock {
    mono: AtomicU64,
    /// How long the machine was suspended, in nanoseconds.
    asleep: AtomicU64,
    wall: AtomicI64,
}

impl Clock for SetClock {
    fn mono(&self) -> Mono {
        Mono(self.mono.load(Ordering::Relaxed))
    }

    fn uptime(&self) -> Mono {
        Mono(self.mono().0 + self.asleep.load(Ordering::Relaxed))
    }

    fn wall(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::Relaxed))
    }
}

impl SetClock {
    /// Both clocks go on.
    pub(super) fn pass(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).expect("some years at most");
        self.mono.fetch_add(nanos, Ordering::Relaxed);
        self.jump(i64::try_from(time.as_micros()).expect("some years at most"));
    }

    /// The machine is suspended for so long.
    fn suspend(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).expect("some years at most");
        self.asleep.fetch_add(nanos, Ordering::Relaxed);
        self.jump(i64::try_from(time.as_micros()).expect("some years at most"));
    }

    /// The wall clock alone goes on.
    fn jump(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::Relaxed);
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
pub(super) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// 2026-11-22T01:02:03.004005Z
const START: i64 = 1_795_309_323_004_005;

pub(super) struct World {
    home: tempfile::TempDir,
    pub(super) clock: Arc<SetClock>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = SetClock::default();
        clock.mono.store(1_000_000_000_000, Ordering::Relaxed);
        clock.wall.store(START, Ordering::Relaxed);
        Self {
            home: tempfile::tempdir().expect("a directory"),
            clock: Arc::new(clock),
        }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("state.db")
    }

    pub(super) fn store(&self) -> SqliteStore {
        SqliteStore::new(self.home.path(), WEEK, self.clock.clone())
    }

    fn event(&self, service: &str, reason: &str) -> NewEvent {
        NewEvent {
            time: self.clock.wall(),
            service: name(service),
            change: Change {
                kind: EventKind::Level,
                from: Some("healthy"),
                to: Some("warning"),
                reason: reason.to_owned(),
                level: Level::Warning,
            },
        }
    }

    fn home_text(&self) -> &str {
        self.home.path().to_str().expect("a path of ours")
    }

    /// The names in the directory that begin so.
    fn names(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.home.path())
            .expect("a directory")
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.into_string().expect("a name of ours")
            })
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort();
        names
    }
}

pub(super) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

fn memories<const N: usize>(pairs: [(&str, &str); N]) -> Batch {
    Batch {
        events: Vec::new(),
        memories: pairs
            .into_iter()
            .map(|(service, memory)| (name(service), memory.to_owned()))
            .collect(),
        ..Batch::default()
    }
}

fn events<const N: usize>(events: [NewEvent; N]) -> Batch {
    Batch {
        events: events.into(),
        ..Batch::default()
    }
}

fn all(limit: u32) -> EventQuery {
    EventQuery {
        limit,
        ..EventQuery::default()
    }
}

fn loaded(store: &mut SqliteStore) -> BTreeMap<String, String> {
    store.load().expect("loaded").into_iter().collect()
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(service, memory)| (service.to_owned(), memory.to_owned()))
        .collect()
}

fn reasons(rows: &[EventRow]) -> Vec<&str> {
    rows.iter().map(|row| row.reason.as_str()).collect()
}

#[test]
fn nothing_is_remembered_at_first_and_then_the_last_word_of_each_service() {
    let world = World::new();
    let mut store = world.store();
    assert_eq!(loaded(&mut store), map([]));
    store
        .commit(&memories([("a", "1"), ("b", "2")]))
        .expect("committed");
    store.commit(&memories([("a", "3")])).expect("committed");
    drop(store);
    assert_eq!(loaded(&mut world.store()), map([("a", "3"), ("b", "2")]));
    assert_eq!(store_notices(&mut world.store()), Vec::<String>::new());
}

fn store_notices(store: &mut SqliteStore) -> Vec<String> {
    store.load().expect("loaded");
    store.notices()
}

#[test]
fn an_event_is_read_as_it_was_written() {
    let world = World::new();
    let mut store = world.store();
    store
        .commit(&events([world.event("a", "missed 1 of 5")]))
        .expect("committed");
    let rows = store.events(&all(10)).expect("read");
    assert_eq!(
        rows,
        [EventRow {
            id: 1,
            time: "2026-11-22T01:02:03.004005Z".to_owned(),
            service: "a".to_owned(),
            kind: "level".to_owned(),
            from: Some("healthy".to_owned()),
            to: Some("warning".to_owned()),
            reason: "missed 1 of 5".to_owned(),
        }]
    );
}

#[test]
fn events_are_asked_for_by_id_time_service_and_number() {
    let world = World::new();
    let mut store = world.store();
    for n in 0..10 {
        let service = if n % 2 == 0 { "even" } else { "odd" };
        store
            .commit(&events([world.event(service, &n.to_string())]))
            .expect("committed");
        world.clock.pass(Duration::from_secs(1));
    }
    let mut ask =
        |query: EventQuery| -> String { reasons(&store.events(&query).expect("read")).join(" ") };
    assert_eq!(ask(all(100)), "0 1 2 3 4 5 6 7 8 9");
    assert_eq!(ask(all(3)), "7 8 9", "the newest, oldest first");
    assert_eq!(ask(all(0)), "");
    let after = |id| EventQuery {
        after: Some(id),
        ..all(3)
    };
    assert_eq!(ask(after(0)), "0 1 2", "the next ones");
    assert_eq!(ask(after(4)), "4 5 6");
    assert_eq!(ask(after(10)), "");
    let since = Some(Timestamp(START + 6_000_000));
    assert_eq!(ask(EventQuery { since, ..all(100) }), "6 7 8 9");
    let some = EventQuery { since, ..all(2) };
    assert_eq!(
        ask(some),
        "6 7",
        "the first ones, so that paging skips none"
    );
    let service = Some("odd".to_owned());
    assert_eq!(
        ask(EventQuery {
            service: service.clone(),
            ..all(2)
        }),
        "7 9"
    );
    assert_eq!(
        ask(EventQuery {
            service,
            since,
            after: Some(1),
            limit: 9
        }),
        "7 9"
    );
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let world = World::new();
    let mut store = world.store();
    store.commit(&memories([("a", "1")])).expect("committed");
    let huge = "x".repeat(100_000);
    limit_pages(&mut store, 12);
    let batch = Batch {
        events: vec![world.event("a", "small"), world.event("a", &huge)],
        memories: vec![(name("a"), "2".to_owned())],
        ..Batch::default()
    };
    store.commit(&batch).expect_err("no room");
    assert_eq!(loaded(&mut store), map([("a", "1")]));
    assert_eq!(store.events(&all(10)).expect("read"), []);
    store
        .commit(&events([world.event("a", "later")]))
        .expect("committed");
    assert_eq!(
        store.events(&all(10)).expect("read")[0].id,
        1,
        "no id was used up"
    );
}

/// A full disk, the portable way.
fn limit_pages(store: &mut SqliteStore, pages: i64) {
    store.load().expect("open");
    let open = store.open.as_ref().expect("open");
    open.connection
        .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
        .expect("limited");
}

#[test]
fn f37_a_full_disk_is_said_and_writing_goes_on_when_there_is_room_again() {
    let world = World::new();
    let mut store = world.store();
    store.commit(&memories([("a", "1")])).expect("committed");
    limit_pages(&mut store, 5);
    let huge = "x".repeat(50_000);
    let error = store
        .commit(&memories([("b", &huge)]))
        .expect_err("no room");
    assert!(
        matches!(&error, StoreError::Unavailable(why) if why.contains("no space left")),
        "{error}"
    );
    assert_eq!(loaded(&mut store), map([("a", "1")]), "reading goes on");
    limit_pages(&mut store, 1_000_000);
    store.commit(&memories([("b", &huge)])).expect("room again");
    assert_eq!(loaded(&mut store).len(), 2);
    assert_eq!(store.notices(), Vec::<String>::new());
}

/// Runs `body` with a small file system of its own in `world.home`, where that is allowed.
fn on_a_small_disk(body: impl FnOnce(&World) + Send + 'static) {
    // A mount namespace belongs to a thread: this one's end unmounts it.
    let thread = std::thread::spawn(|| {
        let world = World::new();
        let flags = rustix::thread::UnshareFlags::NEWNS;
        // SAFETY: only unsharing the table of descriptors (FILES) can break others.
        if let Err(error) = unsafe { rustix::thread::unshare_unsafe(flags) } {
            eprintln!("not allowed to mount here ({error}): the portable tests must do");
            return;
        }
        mount(&["--make-rprivate", "/"]);
        mount(&["-t", "tmpfs", "-o", "size=600k", "none", world.home_text()]);
        body(&world);
    });
    thread.join().expect("no panic");
}

fn mount(arguments: &[&str]) {
    let status = Command::new("mount").args(arguments).status();
    let status = status.expect("mount runs");
    assert!(status.success(), "mount {arguments:?}: {status}");
}

#[test]
fn f37_a_really_full_file_system_is_said_and_writing_goes_on_when_there_is_room_again() {
    on_a_small_disk(|world| {
        let mut store = world.store();
        store.commit(&memories([("a", "1")])).expect("committed");
        let ballast = world.home.path().join("ballast");
        // As much as fits, to the last page.
        let mut size = 600_000;
        while fs::write(&ballast, vec![1; size]).is_err() {
            size -= 4096;
        }
        let huge = "x".repeat(20_000);
        let error = store
            .commit(&memories([("b", &huge)]))
            .expect_err("no room");
        assert!(
            matches!(&error, StoreError::Unavailable(why) if why.contains("no space left")),
            "{error}"
        );
        assert_eq!(loaded(&mut store), map([("a", "1")]), "reading goes on");
        // Neither can a new one begin, and it says so too.
        drop(store);
        let mut store = world.store();
        let error = store
            .commit(&memories([("b", &huge)]))
            .expect_err("no room");
        assert!(matches!(&error, StoreError::Unavailable(_)), "{error}");
        fs::remove_file(&ballast).expect("removed");
        store.commit(&memories([("b", &huge)])).expect("room again");
        assert_eq!(loaded(&mut store).len(), 2);
        assert_eq!(world.names("state.db.corrupt"), Vec::<String>::new());
    });
}

#[test]
fn f39_a_file_system_that_became_read_only_is_said_and_used_again_when_it_is_not() {
    on_a_small_disk(|world| {
        // What is open for writing would hold the remount up.
        world
            .store()
            .commit(&memories([("a", "1")]))
            .expect("committed");
        mount(&["-o", "remount,ro", world.home_text()]);
        let mut store = world.store();
        let error = store
            .commit(&memories([("a", "2")]))
            .expect_err("read-only");
        assert!(matches!(&error, StoreError::Unavailable(_)), "{error}");
        mount(&["-o", "remount,rw", world.home_text()]);
        store.commit(&memories([("a", "3")])).expect("committed");
        assert_eq!(loaded(&mut store), map([("a", "3")]));
        assert_eq!(store.notices(), Vec::<String>::new());
    });
}

#[test]
fn a_directory_that_is_missing_is_said_and_used_once_it_is_there() {
    let world = World::new();
    let missing = world.home.path().join("later");
    let mut store = SqliteStore::new(&missing, WEEK, world.clock.clone());
    let error = store.load().expect_err("no directory");
    assert!(
        matches!(&error, StoreError::Unavailable(why) if why.contains("later/state.db")),
        "{error}"
    );
    fs::create_dir(&missing).expect("made");
    store.commit(&memories([("a", "1")])).expect("committed");
    assert_eq!(loaded(&mut store), map([("a", "1")]));
}

#[test]
fn f41_a_busy_database_is_waited_for_but_not_for_ever() {
    let world = World::new();
    let mut store = world.store();
    store.commit(&memories([("a", "1")])).expect("committed");
    let other = Connection::open(world.path()).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert_eq!(store.commit(&memories([("a", "2")])), Err(StoreError::Busy));
    assert_eq!(loaded(&mut store), map([("a", "1")]), "reading goes on");
    // Released while we wait: we get it.
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| store.commit(&memories([("a", "3")])));
        other.execute_batch("COMMIT").expect("released");
        assert_eq!(writer.join().expect("no panic"), Ok(1));
    });
}

#[test]
fn f40_a_file_that_is_no_database_is_set_aside_and_said() {
    let world = World::new();
    fs::write(
        world.path(),
        "this is no database at all, but long enough to be one".repeat(100),
    )
    .expect("written");
    let mut store = world.store();
    assert_eq!(loaded(&mut store), map([]));
    let notices = store.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].contains("state.db.corrupt-2026-11-22T01-02-03.004005Z"),
        "{notices:?}"
    );
    let aside = world.names("state.db.corrupt-");
    assert_eq!(aside, ["state.db.corrupt-2026-11-22T01-02-03.004005Z"]);
    let kept = fs::read(world.home.path().join(&aside[0])).expect("kept");
    assert!(kept.starts_with(b"this is no database"));
    store.commit(&memories([("a", "1")])).expect("committed");
    assert_eq!(loaded(&mut world.store()), map([("a", "1")]));
}

#[test]
fn f40_damage_met_while_running_costs_the_history_but_no_memory() {
    let world = World::new();
    let mut store = world.store();
    store
        .commit(&memories([("a", "1"), ("b", "2")]))
        .expect("committed");
    for _ in 0..200 {
        store
            .commit(&events([world.event("a", &"y".repeat(500))]))
            .expect("committed");
    }
    let next_id = store.open.as_ref().expect("open").next_id;
    // All pages that hold events, in the file and not only in the log.
    checkpoint(&store);
    let mut bytes = fs::read(world.path()).expect("read");
    for page in bytes.chunks_mut(4096).skip(4) {
        page.fill(0x5a);
    }
    drop(store);
    fs::write(world.path(), &bytes).expect("written");

    let mut store = world.store();
    assert_eq!(loaded(&mut store).len(), 2);
    assert_eq!(store.events(&all(1000)).expect("a new one"), []);
    assert_eq!(loaded(&mut store), map([("a", "1"), ("b", "2")]), "saved");
    let notices = store.notices();
    assert!(
        notices
            .iter()
            .any(|said| said.contains("saved what 2 services remember")),
        "{notices:?}"
    );
    store
        .commit(&events([world.event("a", "after")]))
        .expect("committed");
    let rows = store.events(&all(10)).expect("read");
    assert_eq!(reasons(&rows), ["after"]);
    assert!(
        rows[0].id >= next_id,
        "ids go on: {} after {next_id}",
        rows[0].id
    );
}

fn checkpoint(store: &SqliteStore) {
    let open = store.open.as_ref().expect("open");
    open.connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .expect("checkpointed");
}

#[test]
fn f40_only_so_many_damaged_databases_are_kept() {
    let world = World::new();
    for _ in 0..6 {
        fs::write(world.path(), vec![0x5a; 8192]).expect("written");
        fs::write(world.home.path().join("state.db-wal"), "x").expect("written");
        let mut store = world.store();
        store.load().expect("a new one");
        assert_eq!(store.notices().len(), 1);
        drop(store);
        world.clock.pass(Duration::from_secs(1));
    }
    let aside = world.names("state.db.corrupt-");
    let databases: Vec<_> = aside.iter().filter(|name| name.ends_with('Z')).collect();
    assert_eq!(databases.len(), MOST_SET_ASIDE, "{aside:?}");
    assert!(
        databases[2].contains("01-02-08"),
        "the newest: {databases:?}"
    );
}

#[test]
fn f42_a_database_or_log_cut_or_garbled_anywhere_gives_what_was_once_written_or_nothing() {
    let world = World::new();
    let mut store = world.store();
    let mut written = vec![map([])];
    for n in 0..6 {
        let (a, b) = (format!("{{\"n\":{n}}}"), format!("{{\"m\":{n}}}"));
        store
            .commit(&Batch {
                events: vec![world.event("a", &"e".repeat(300))],
                memories: vec![(name("a"), a.clone()), (name("b"), b.clone())],
                ..Batch::default()
            })
            .expect("committed");
        written.push(map([("a", &a), ("b", &b)]));
        if n == 2 {
            checkpoint(&store);
        }
    }
    let database = fs::read(world.path()).expect("read");
    let log = fs::read(world.home.path().join("state.db-wal")).expect("read");
    assert!(!log.is_empty());

    let (mut last, mut older, mut fresh) = (0, 0, 0);
    let mut check = |database: &[u8], log: &[u8], what: &str| {
        let broken = World::new();
        fs::write(broken.path(), database).expect("written");
        fs::write(broken.home.path().join("state.db-wal"), log).expect("written");
        let mut store = broken.store();
        let found = loaded(&mut store);
        for (service, memory) in &found {
            assert!(
                written
                    .iter()
                    .any(|state| state.get(service) == Some(memory)),
                "{what}: {service} never remembered {memory}"
            );
        }
        match &found {
            found if Some(found) == written.last() => last += 1,
            found if found.is_empty() => fresh += 1,
            _ => older += 1,
        }
        store.events(&all(100)).expect(what);
        store
            .commit(&events([broken.event("a", "on")]))
            .expect(what);
        store.commit(&memories([("a", "on")])).expect(what);
        assert_eq!(
            loaded(&mut store).get("a").map(String::as_str),
            Some("on"),
            "{what}"
        );
    };
    // Every byte where structures live, and a sample of the rest.
    let places = |length: usize| (0..length).filter(|at| at % 4096 < 24 || at % 97 == 0);
    for at in places(database.len()) {
        check(&database[..at], &log, &format!("database cut at {at}"));
        let mut garbled = database.clone();
        garbled[at] ^= 0x55;
        check(&garbled, &log, &format!("database garbled at {at}"));
        check(&garbled, &[], &format!("database garbled at {at}, no log"));
    }
    for at in places(log.len()) {
        check(&database, &log[..at], &format!("log cut at {at}"));
        let mut garbled = log.clone();
        garbled[at] ^= 0x55;
        check(&database, &garbled, &format!("log garbled at {at}"));
    }
    assert!(last > 0 && older > 0 && fresh > 0, "{last} {older} {fresh}");
}

#[test]
fn what_is_to_be_forgotten_goes_before_what_is_to_be_remembered() {
    let world = World::new();
    let mut store = world.store();
    store
        .commit(&memories([("a", "1"), ("b", "2")]))
        .expect("committed");
    let batch = Batch {
        forget: vec![name("a"), name("b"), name("never")],
        ..memories([("b", "3")])
    };
    store.commit(&batch).expect("committed");
    assert_eq!(loaded(&mut store), map([("b", "3")]));
    let alone = Batch {
        forget: vec![name("b")],
        ..Batch::default()
    };
    store.commit(&alone).expect("committed");
    assert_eq!(loaded(&mut store), map([]));
}

#[test]
fn a_garbled_memory_is_left_out_and_said() {
    let world = World::new();
    let mut store = world.store();
    store
        .commit(&memories([("a", "{\"n\":1}"), ("b", "{\"n\":2}")]))
        .expect("committed");
    let open = store.open.as_ref().expect("open");
    open.connection
        .execute(
            "UPDATE service SET memory = '{\"n\":7}' WHERE name = 'a'",
            [],
        )
        .expect("garbled");
    assert_eq!(loaded(&mut store), map([("b", "{\"n\":2}")]));
    let notices = store.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("service a"),
        "{notices:?}"
    );
}

#[test]
fn f45_the_log_is_checkpointed_and_its_size_kept_in_bounds() {
    let world = World::new();
    let mut store = world.store();
    // Never the same twice: SQLite does not write what does not change.
    let commit = |store: &mut SqliteStore, n: u32| {
        let memory = format!("{n:01000}");
        store
            .commit(&memories([(&format!("s{}", n % 50), &memory)]))
            .expect("committed");
    };
    let log = world.home.path().join("state.db-wal");
    let mut most = 0;
    for n in 0..3000 {
        commit(&mut store, n);
        most = most.max(fs::metadata(&log).expect("a log").len());
    }
    assert!(most < 2 << 20, "{most} bytes");

    // Somebody's long read holds the checkpoints up; after it the room is given back.
    let reader = Connection::open(world.path()).expect("opened");
    reader.execute_batch("BEGIN").expect("begun");
    reader
        .query_row("SELECT count(*) FROM service", [], |_| Ok(()))
        .expect("reading");
    for n in 3000..6000 {
        commit(&mut store, n);
    }
    assert!(
        fs::metadata(&log).expect("a log").len() > 8 << 20,
        "it held them up: {} bytes",
        fs::metadata(&log).expect("a log").len()
    );
    drop(reader);
    for n in 7000..7600 {
        commit(&mut store, n);
    }
    assert!(fs::metadata(&log).expect("a log").len() < 2 << 20);
}

#[test]
fn events_older_than_a_week_are_forgotten_in_small_steps() {
    let world = World::new();
    let mut store = world.store();
    let many: Vec<_> = (0..1200).map(|_| world.event("a", "old")).collect();
    let old = Batch {
        events: many,
        ..Batch::default()
    };
    store.commit(&old).expect("committed");
    world.clock.pass(WEEK + Duration::from_secs(1));
    let mut left = Vec::new();
    for _ in 0..4 {
        store
            .commit(&events([world.event("a", "new")]))
            .expect("committed");
        left.push(store.events(&all(10_000)).expect("read").len());
    }
    assert_eq!(left, [701, 202, 3, 4]);
}

#[test]
fn only_what_is_asked_for_is_deleted_in_steps() {
    let world = World::new();
    let mut store = world.store();
    let many = |service: &str, count: usize| {
        let events = (0..count).map(|_| world.event(service, "old")).collect();
        Batch {
            events,
            ..Batch::default()
        }
    };
    for _ in 0..3 {
        store.commit(&many("a", 7_000)).expect("committed");
        store.commit(&many("b", 3_000)).expect("committed");
    }
    let delete = |store: &mut SqliteStore, service: &str, before: Timestamp| {
        let mut bygone = Bygone {
            service: name(service),
            before,
            from: 0,
        };
        let mut steps = Vec::new();
        loop {
            let step = store.delete(&bygone).expect("deleted");
            steps.push(step.records);
            match step.next {
                Some(next) => bygone.from = next,
                None => return steps,
            }
        }
    };
    let now = world.clock.wall();
    assert_eq!(
        delete(&mut store, "a", now),
        [0, 0],
        "none is older than itself"
    );
    let later = Timestamp(now.0 + 1);
    assert_eq!(delete(&mut store, "a", later), [14_000, 7_000]);
    let left = store.events(&all(100_000)).expect("read");
    assert_eq!(left.len(), 9_000);
    assert!(left.iter().all(|event| event.service == "b"));
    // The newest stays, so that ids go on.
    assert_eq!(delete(&mut store, "b", later).iter().sum::<u64>(), 8_999);
    drop(store);
    let mut store = world.store();
    store.commit(&many("c", 1)).expect("committed");
    assert_eq!(store.events(&all(10)).expect("read")[1].id, 30_001);
}

#[test]
fn the_newest_event_is_never_forgotten_so_that_ids_go_on() {
    let world = World::new();
    let mut store = world.store();
    store
        .commit(&events([world.event("a", "1"), world.event("a", "2")]))
        .expect("committed");
    world.clock.pass(WEEK * 10);
    store.commit(&memories([("a", "1")])).expect("committed");
    assert_eq!(reasons(&store.events(&all(10)).expect("read")), ["2"]);
    drop(store);
    let mut store = world.store();
    store
        .commit(&events([world.event("a", "3")]))
        .expect("committed");
    assert_eq!(store.events(&all(1)).expect("read")[0].id, 3);
}

#[test]
fn a_flood_of_events_is_kept_in_bounds() {
    let world = World::new();
    let mut store = world.store();
    for _ in 0..20 {
        let batch = (0..100).map(|_| world.event("a", "flood")).collect();
        let batch = Batch {
            events: batch,
            ..Batch::default()
        };
        store.commit(&batch).expect("committed");
        let open = store.open.as_mut().expect("open");
        prune::prune(open, &*world.clock, WEEK, 300).expect("pruned");
    }
    let rows = store.events(&all(10_000)).expect("read");
    assert_eq!(rows.len(), 300);
    assert_eq!(rows[299].id, 2000, "the newest are kept");
}

#[test]
fn f23_a_wall_clock_that_jumps_a_year_ahead_costs_no_history() {
    let world = World::new();
    let mut store = world.store();
    store
        .commit(&events([world.event("a", "before")]))
        .expect("committed");
    world.clock.jump(365 * DAY_MICROS);
    for _ in 0..100 {
        world.clock.pass(Duration::from_secs(120));
        store
            .commit(&events([world.event("a", "while")]))
            .expect("committed");
    }
    world.clock.jump(-365 * DAY_MICROS);
    world.clock.pass(Duration::from_secs(120));
    store
        .commit(&events([world.event("a", "after")]))
        .expect("committed");
    let rows = store.events(&all(1000)).expect("read");
    assert_eq!((rows.len(), rows[0].reason.as_str()), (102, "before"));
    // What bears the wrong date goes with its neighbours when their week is over.
    world.clock.pass(DAY * 8);
    store
        .commit(&events([world.event("a", "much later")]))
        .expect("committed");
    assert_eq!(
        reasons(&store.events(&all(1000)).expect("read")),
        ["much later"]
    );
}

#[test]
fn a_database_deleted_under_us_is_begun_anew_with_all_memories() {
    let world = World::new();
    let mut store = world.store();
    store
        .commit(&memories([("a", "1"), ("b", "2")]))
        .expect("committed");
    store
        .commit(&events([world.event("a", "lost")]))
        .expect("committed");
    fs::remove_file(world.path()).expect("deleted");
    world.clock.pass(Duration::from_secs(61));
    store.commit(&memories([("b", "3")])).expect("committed");
    assert_eq!(loaded(&mut store), map([("a", "1"), ("b", "3")]));
    let notices = store.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("deleted or replaced"),
        "{notices:?}"
    );
    drop(store);
    assert_eq!(loaded(&mut world.store()), map([("a", "1"), ("b", "3")]));
}

#[test]
fn a_newer_database_that_still_has_our_tables_is_used_as_it_is() {
    let world = World::new();
    world
        .store()
        .commit(&memories([("a", "1")]))
        .expect("committed");
    let other = Connection::open(world.path()).expect("opened");
    other
        .execute_batch(
            "ALTER TABLE service ADD COLUMN colour TEXT; CREATE TABLE more (x); PRAGMA user_version = 99",
        )
        .expect("made newer");
    drop(other);
    let mut store = world.store();
    store.commit(&memories([("b", "2")])).expect("committed");
    assert_eq!(loaded(&mut store), map([("a", "1"), ("b", "2")]));
    let notices = store.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("newer"),
        "{notices:?}"
    );
    assert_eq!(world.names("state.db.corrupt"), Vec::<String>::new());
    let other = Connection::open(world.path()).expect("opened");
    let version: i32 = other
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("read");
    assert_eq!(version, 99, "not migrated down");
}

#[test]
fn a_newer_database_without_our_tables_is_refused_and_left_alone() {
    let world = World::new();
    world
        .store()
        .commit(&memories([("a", "1")]))
        .expect("committed");
    let other = Connection::open(world.path()).expect("opened");
    other
        .execute_batch("ALTER TABLE service RENAME TO services; PRAGMA user_version = 99")
        .expect("made newer");
    drop(other);
    let mut store = world.store();
    for _ in 0..2 {
        let error = store.commit(&memories([("b", "2")])).expect_err("too new");
        assert!(
            matches!(&error, StoreError::Unavailable(why) if why.contains("newer supervisor (version 99")),
            "{error}"
        );
    }
    assert_eq!(world.names("state.db.corrupt"), Vec::<String>::new());
}

#[test]
fn an_older_database_is_brought_up_step_by_step_and_keeps_its_content() {
    let world = World::new();
    world
        .store()
        .commit(&memories([("a", "1")]))
        .expect("committed");
    let mut connection = open::raw(&world.path()).expect("opened");
    let mut newer = schema::MIGRATIONS.to_vec();
    newer.push("ALTER TABLE service ADD COLUMN colour TEXT DEFAULT 'red'");
    newer.push("UPDATE service SET colour = 'blue'");
    let layout = schema::Layout {
        migrations: &newer,
        ..schema::LAYOUT
    };
    let fit = schema::migrate(&mut connection, &layout).expect("migrated");
    assert_eq!(fit, schema::Fit::Ours);
    let (memory, colour): (String, String) = connection
        .query_row("SELECT memory, colour FROM service", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("read");
    assert_eq!((memory.as_str(), colour.as_str()), ("1", "blue"));
    let version: i32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("read");
    assert_eq!(usize::try_from(version).expect("positive"), newer.len());
}

#[test]
fn a_step_that_fails_leaves_the_database_as_it_was() {
    let world = World::new();
    world
        .store()
        .commit(&memories([("a", "1")]))
        .expect("committed");
    let mut connection = open::raw(&world.path()).expect("opened");
    let mut newer = schema::MIGRATIONS.to_vec();
    newer.push("UPDATE service SET memory = '2'; UPDATE nothing SET x = 1");
    let layout = schema::Layout {
        migrations: &newer,
        ..schema::LAYOUT
    };
    assert!(matches!(
        schema::migrate(&mut connection, &layout),
        Err(schema::Misfit::Foreign(_))
    ));
    drop(connection);
    assert_eq!(loaded(&mut world.store()), map([("a", "1")]));
}
