//! The record: what is written is read, what is damaged is begun anew.

use super::*;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use supervisor_core::Timestamp;
use supervisor_core::sync::{Content, ContentHash, Scope, Stat, Task};

use crate::adapters::clock::RealClock;

fn ledger(dir: &Path) -> SqliteLedger {
    SqliteLedger::new(dir, Arc::new(RealClock))
}

fn stat(number: u64) -> Stat {
    Stat {
        size: number,
        mtime: -1,
        ctime: i64::MAX,
        inode: u64::MAX,
    }
}

fn taken(table: &str, key: &str) -> Taken {
    Taken {
        table: table.to_owned(),
        key: key.to_owned(),
        file_path: key.to_owned(),
        hash: ContentHash([7; 32]),
        stat: stat(5),
        settled: true,
        mapping: u64::MAX - 1,
    }
}

fn upsert(key: &str, from: Option<&str>) -> Pending {
    Pending {
        seq: 0,
        table: "docs".to_owned(),
        key: key.to_owned(),
        file_path: key.to_owned(),
        task: Task::Upsert {
            content: Content {
                hash: ContentHash([9; 32]),
                stat: stat(6),
                settled: false,
            },
            mapping: 3,
            from: from.map(str::to_owned),
        },
        state: State::Due,
        since: Timestamp(77),
    }
}

fn remove(table: &str, key: &str, state: State) -> Pending {
    Pending {
        table: table.to_owned(),
        task: Task::Remove,
        state,
        ..upsert(key, None)
    }
}

fn parked(scope: Scope) -> State {
    State::Parked {
        scope,
        reason: "because".to_owned(),
    }
}

fn queue(ledger: &mut SqliteLedger, pending: Pending) -> Pending {
    let (table, key) = (pending.table.clone(), pending.key.clone());
    ledger.apply(&Step::Queue(pending.clone())).unwrap();
    let read = ledger.pending(&table, &key).unwrap().unwrap();
    let written = Pending {
        seq: read.seq,
        ..pending
    };
    assert_eq!(read, written);
    read
}

fn all_taken(ledger: &mut SqliteLedger, below: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    ledger
        .every_taken(below, &mut |taken| found.push(taken.file_path))
        .unwrap();
    found.sort_unstable();
    let mut known = Vec::new();
    ledger
        .every_known(below, &mut |row| {
            let written = taken("docs", row.file_path);
            assert_eq!(
                (row.stat, row.settled, row.mapping),
                (written.stat, written.settled, written.mapping)
            );
            known.push(row.file_path.to_owned());
        })
        .unwrap();
    known.sort_unstable();
    assert_eq!(known, found);
    found
}

#[test]
fn what_is_written_is_read_again_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = ledger(dir.path());
    first.begin(true).unwrap();
    first.apply(&Step::Take(taken("docs", "a/ü.md"))).unwrap();
    let waiting = queue(&mut first, upsert("b.md", Some("a/ü.md")));
    let unreadable = Pending {
        task: Task::Unreadable { stat: stat(8) },
        state: parked(Scope::Rows),
        ..upsert("c.md", None)
    };
    let unreadable = queue(&mut first, unreadable);
    first.set_note("target", "sqlite").unwrap();
    first.commit().unwrap();
    drop(first);

    let mut second = ledger(dir.path());
    assert_eq!(
        second.taken("docs", "a/ü.md").unwrap(),
        Some(taken("docs", "a/ü.md"))
    );
    assert_eq!(
        second.taken_of("a/ü.md").unwrap(),
        [taken("docs", "a/ü.md")]
    );
    assert_eq!(second.taken("other", "a/ü.md").unwrap(), None);
    assert_eq!(second.pending("docs", "b.md").unwrap(), Some(waiting));
    assert_eq!(second.tasks(&["parked"], 0, 9).unwrap(), [unreadable]);
    assert_eq!(
        second.claim("docs", "a/ü.md").unwrap(),
        Some("b.md".to_owned())
    );
    assert_eq!(second.note("target").unwrap(), Some("sqlite".to_owned()));
    assert_eq!(second.note("other").unwrap(), None);
    assert_eq!(second.epoch(), 0, "nothing was lost");
    let newer = queue(&mut second, upsert("d.md", None));
    assert!(newer.seq > 2);
}

#[test]
fn what_is_not_committed_never_happened() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    ledger.begin(false).unwrap();
    ledger.apply(&Step::Take(taken("docs", "a"))).unwrap();
    ledger.rollback();
    assert_eq!(ledger.taken("docs", "a").unwrap(), None);
    // A transaction that somebody forgot.
    ledger.begin(false).unwrap();
    ledger.apply(&Step::Take(taken("docs", "a"))).unwrap();
    ledger.begin(true).unwrap();
    ledger.commit().unwrap();
    assert_eq!(ledger.taken("docs", "a").unwrap(), None);
    assert!(ledger.commit().is_err(), "there is none");
    assert_eq!(ledger.epoch(), 1);
}

#[test]
fn a_task_is_replaced_by_the_next_one_of_its_row_and_finished_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    let first = queue(&mut ledger, upsert("a", None));
    let second = queue(&mut ledger, upsert("a", None));
    assert!(second.seq > first.seq);
    assert!(!ledger.finish(&first).unwrap());
    assert!(ledger.finish(&second).unwrap());
    assert!(!ledger.finish(&second).unwrap());
    // A number is not used again, though no row has it.
    assert!(queue(&mut ledger, upsert("a", None)).seq > second.seq);
}

#[test]
fn an_unclaimed_task_has_another_number_and_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    let first = queue(&mut ledger, upsert("new", Some("old")));
    let unclaim = Step::Unclaim {
        table: "docs".to_owned(),
        key: "new".to_owned(),
    };
    ledger.apply(&unclaim).unwrap();
    let after = ledger.pending("docs", "new").unwrap().unwrap();
    assert!(after.seq > first.seq);
    assert_eq!(Pending { seq: 0, ..after }, upsert("new", None));
    assert_eq!(ledger.claim("docs", "old").unwrap(), None);
}

#[test]
fn a_directory_holds_what_is_below_it_and_nothing_that_begins_alike() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    for path in ["a", "a/b", "a/b/c", "a0", "a-b", "b"] {
        ledger.apply(&Step::Take(taken("docs", path))).unwrap();
        queue(&mut ledger, upsert(path, None));
    }
    assert_eq!(all_taken(&mut ledger, Some("a")), ["a/b", "a/b/c"]);
    assert_eq!(all_taken(&mut ledger, Some(".")).len(), 6);
    assert_eq!(all_taken(&mut ledger, None).len(), 6);
    for (below, expected) in [(Some("a"), 2), (Some("."), 6), (None, 6)] {
        let mut count = 0;
        ledger.every_task(below, &mut |_| count += 1).unwrap();
        assert_eq!(count, expected);
    }
}

#[test]
fn tasks_come_by_number_from_where_one_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    let tasks: Vec<_> = ["d", "c", "b", "a"]
        .map(|key| queue(&mut ledger, upsert(key, None)))
        .into();
    ledger.set_state(&tasks[1], &State::Held).unwrap();
    assert_eq!(
        ledger.tasks(&["due", "confirmed"], 0, 2).unwrap(),
        [tasks[0].clone(), tasks[2].clone()]
    );
    assert_eq!(
        ledger.tasks(&["due"], tasks[2].seq, 9).unwrap(),
        [tasks[3].clone()]
    );
    assert_eq!(ledger.tasks(&["held"], 0, 9).unwrap().len(), 1);
    assert_eq!(ledger.tasks(&[], 0, 9).unwrap(), []);
}

#[test]
fn states_are_set_for_those_that_are_meant() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    queue(&mut ledger, upsert("u", None));
    for (table, key) in [("docs", "r1"), ("docs", "r2"), ("other", "r3")] {
        queue(&mut ledger, remove(table, key, State::Due));
    }
    let docs = || "docs".to_owned();
    let held = ledger
        .set_states(&Which::Removals { table: docs() }, &State::Held)
        .unwrap();
    assert_eq!(held, 2);
    let counts = ledger.counts().unwrap();
    assert_eq!(
        counts,
        [
            Counts {
                table: docs(),
                due: 1,
                held: 2,
                ..Counts::default()
            },
            Counts {
                table: "other".to_owned(),
                due: 1,
                removals: 1,
                ..Counts::default()
            },
        ]
    );
    let none = Which::Held {
        table: Some("other".to_owned()),
    };
    assert_eq!(ledger.set_states(&none, &State::Confirmed).unwrap(), 0);
    assert_eq!(
        ledger
            .set_states(&Which::Held { table: None }, &State::Confirmed)
            .unwrap(),
        2
    );
    assert_eq!(ledger.counts().unwrap()[0].due, 3);
    // Confirmed once, they are not held again.
    assert_eq!(
        ledger
            .set_states(&Which::Removals { table: docs() }, &State::Held)
            .unwrap(),
        0
    );
    assert_eq!(
        ledger
            .set_states(&Which::Due { table: None }, &parked(Scope::Target))
            .unwrap(),
        4
    );
}

#[test]
fn parked_rows_are_freed_with_what_parked_them() {
    let dir = tempfile::tempdir().unwrap();
    let park = |ledger: &mut SqliteLedger| {
        for (table, key, scope) in [
            ("docs", "rows", Scope::Rows),
            ("docs", "table", Scope::Table),
            ("docs", "target", Scope::Target),
            ("other", "table", Scope::Table),
        ] {
            queue(ledger, remove(table, key, parked(scope)));
        }
        let task = Task::Unreadable { stat: stat(1) };
        queue(
            ledger,
            Pending {
                task,
                state: parked(Scope::Rows),
                ..upsert("unreadable", None)
            },
        );
    };
    let mut ledger = ledger(dir.path());
    park(&mut ledger);
    let table = Which::ParkedWithTable {
        table: "docs".to_owned(),
    };
    assert_eq!(ledger.set_states(&table, &State::Due).unwrap(), 2);
    park(&mut ledger);
    let table = Which::Parked {
        table: Some("docs".to_owned()),
    };
    assert_eq!(ledger.set_states(&table, &State::Due).unwrap(), 3);
    park(&mut ledger);
    assert_eq!(
        ledger
            .set_states(&Which::Parked { table: None }, &State::Due)
            .unwrap(),
        4
    );
    let left = ledger.tasks(&["parked"], 0, 9).unwrap();
    assert_eq!(left.len(), 1, "only its file can free it: {left:?}");
}

#[test]
fn everything_taken_can_be_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    assert_eq!(ledger.is_empty().unwrap(), (true, true));
    ledger.apply(&Step::Take(taken("docs", "a"))).unwrap();
    queue(&mut ledger, upsert("b", None));
    assert_eq!(ledger.is_empty().unwrap(), (false, false));
    ledger.forget_all().unwrap();
    assert_eq!(ledger.is_empty().unwrap(), (true, false));
}

#[test]
fn garbled_rows_are_found_said_and_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    for key in ["a", "b"] {
        ledger.apply(&Step::Take(taken("docs", key))).unwrap();
        queue(&mut ledger, upsert(key, None));
    }
    let other = Connection::open(dir.path().join("sync.db")).unwrap();
    other
        .execute_batch("UPDATE taken SET path = 'x' WHERE key = 'a'; UPDATE task SET hash = x'00', state = 'odd' WHERE key = 'b'")
        .unwrap();
    assert_eq!(all_taken(&mut ledger, None), ["b"]);
    let notices = ledger.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("\"a\""),
        "{notices:?}"
    );
    assert_eq!(ledger.taken("docs", "a").unwrap(), None);
    assert_eq!(ledger.pending("docs", "b").unwrap(), None);
    assert_eq!(ledger.pending("docs", "a").unwrap().unwrap().key, "a");
    assert_eq!(all_taken(&mut ledger, None), ["b"]);
}

/// A record with some content, closed; its database's bytes.
fn sample(dir: &Path) -> Vec<u8> {
    let mut first = ledger(dir);
    first.begin(true).unwrap();
    for number in 0..20 {
        first
            .apply(&Step::Take(taken("docs", &format!("docs/{number}.md"))))
            .unwrap();
        queue(&mut first, upsert(&format!("docs/{number}.md"), None));
    }
    first.commit().unwrap();
    drop(first);
    fs::read(dir.join("sync.db")).unwrap()
}

/// Uses a record as it is used: reads all, writes, reads again.
fn use_it(dir: &Path) -> (usize, u64) {
    let mut ledger = ledger(dir);
    let mut read = 0;
    for _ in 0..2 {
        read = 0;
        let whole = ledger.every_taken(None, &mut |_| read += 1);
        let whole = whole.and_then(|()| ledger.begin(true));
        let whole = whole.and_then(|()| ledger.apply(&Step::Take(taken("docs", "new"))));
        if whole.and_then(|()| ledger.commit()).is_ok() {
            break;
        }
    }
    assert_eq!(
        ledger.taken("docs", "new").unwrap(),
        Some(taken("docs", "new"))
    );
    (read, ledger.epoch())
}

#[test]
fn f42_a_record_cut_at_any_byte_is_begun_anew_or_whole() {
    let dir = tempfile::tempdir().unwrap();
    let whole = sample(dir.path());
    let mut anew = 0;
    // Every byte of the first page and of the last, and every page's border.
    let last = whole.len() - 4_096;
    let cuts = (0..whole.len()).filter(|cut| {
        *cut < 200 || (*cut > last && cut % 41 == 0) || cut % 4_096 < 2 || cut % 4_096 == 4_095
    });
    for cut in cuts {
        fs::remove_dir_all(dir.path()).unwrap();
        fs::create_dir(dir.path()).unwrap();
        fs::write(dir.path().join("sync.db"), &whole[..cut]).unwrap();
        let (read, epoch) = use_it(dir.path());
        assert!(read == 20 || epoch > 0, "{read} of a file cut at {cut}");
        anew += usize::from(epoch > 0);
    }
    assert!(anew > 100, "{anew}");
}

#[test]
fn f40_a_record_with_any_damaged_page_is_begun_anew_or_says_what_is_garbled() {
    let dir = tempfile::tempdir().unwrap();
    let whole = sample(dir.path());
    for page in 0..whole.len() / 4_096 {
        for fill in [0_u8, 0xff, 0x5a] {
            fs::remove_dir_all(dir.path()).unwrap();
            fs::create_dir(dir.path()).unwrap();
            let mut bytes = whole.clone();
            bytes[page * 4_096..(page + 1) * 4_096].fill(fill);
            fs::write(dir.path().join("sync.db"), &bytes).unwrap();
            use_it(dir.path());
        }
    }
}

#[test]
fn a_record_that_is_deleted_in_use_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    ledger.begin(false).unwrap();
    ledger.apply(&Step::Take(taken("docs", "a"))).unwrap();
    ledger.commit().unwrap();
    let epoch = ledger.epoch();
    fs::remove_file(dir.path().join("sync.db")).unwrap();
    ledger.begin(false).unwrap();
    ledger.apply(&Step::Take(taken("docs", "b"))).unwrap();
    ledger.commit().unwrap();
    assert!(ledger.epoch() > epoch);
    assert_eq!(ledger.notices().len(), 1);
    assert_eq!(all_taken(&mut ledger, None), ["b"]);
}

#[test]
fn f39_a_record_on_a_directory_that_is_not_there_says_so_and_works_when_it_is() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let mut ledger = ledger(&dir);
    let error = ledger.begin(false).unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(why) if why.contains("sync.db")),
        "{error}"
    );
    fs::create_dir(&dir).unwrap();
    ledger.begin(false).unwrap();
    ledger.apply(&Step::Take(taken("docs", "a"))).unwrap();
    ledger.commit().unwrap();
    assert_eq!(all_taken(&mut ledger, None), ["a"]);
}

#[test]
fn f41_a_record_that_somebody_locks_is_waited_for_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    ledger.begin(false).unwrap();
    ledger.commit().unwrap();
    let other = Connection::open(dir.path().join("sync.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(ledger.begin(false), Err(StoreError::Busy));
    other.execute_batch("ROLLBACK").unwrap();
    ledger.begin(false).unwrap();
    ledger.commit().unwrap();
    assert_eq!(ledger.epoch(), 1);
}

/// All names in a directory with their content and when that was written.
fn listing(dir: &Path) -> Vec<(String, Vec<u8>, i64)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap(), meta.mtime_nsec())
        })
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn a_copy_holds_what_the_record_held_even_after_a_kill_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    ledger.begin(false).unwrap();
    ledger.apply(&Step::Take(taken("docs", "a"))).unwrap();
    ledger.commit().unwrap();
    // In use by a living one.
    let mut copy = SqliteLedger::copy_of(dir.path(), Arc::new(RealClock)).unwrap();
    assert_eq!(all_taken(&mut copy, None), ["a"]);
    copy.begin(true).unwrap();
    copy.apply(&Step::Take(taken("docs", "b"))).unwrap();
    copy.commit().unwrap();
    assert_eq!(all_taken(&mut ledger, None), ["a"]);
    // As a killed one leaves it: all in the log, nothing in the database.
    let killed = tempfile::tempdir().unwrap();
    for name in ["sync.db", "sync.db-wal"] {
        fs::copy(dir.path().join(name), killed.path().join(name)).unwrap();
    }
    let before = listing(killed.path());
    let mut copy = SqliteLedger::copy_of(killed.path(), Arc::new(RealClock)).unwrap();
    assert_eq!(all_taken(&mut copy, None), ["a"]);
    drop(copy);
    assert_eq!(listing(killed.path()), before);
}

#[test]
fn a_copy_of_nothing_or_of_a_damaged_record_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = SqliteLedger::copy_of(dir.path(), Arc::new(RealClock)).unwrap();
    assert_eq!(all_taken(&mut copy, None), Vec::<String>::new());
    assert_eq!(listing(dir.path()), []);
    fs::write(dir.path().join("sync.db"), [7; 8_192]).unwrap();
    let mut copy = SqliteLedger::copy_of(dir.path(), Arc::new(RealClock)).unwrap();
    copy.begin(false).unwrap();
    copy.apply(&Step::Take(taken("docs", "b"))).unwrap();
    copy.commit().unwrap();
    assert_eq!(all_taken(&mut copy, None), ["b"]);
}
