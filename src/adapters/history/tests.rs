//! The history as its thread does it, by clocks that the tests set.

mod clocks;
mod panics;
mod reading;
mod year;

use std::sync::atomic::{AtomicI64, AtomicU64};

use supervisor_core::history::{Sketch, Slice, bucket};
use supervisor_core::metrics::Rollup;
use supervisor_core::time::Mono;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE_MICROS: i64 = 60_000_000;
/// The first minute of a day: 2026-11-22.
const FIRST: i64 = 20_779 * 1_440;
const KEEP: Keep = Keep {
    minutes: Duration::from_secs(7 * 24 * 3600),
    hours: Duration::from_secs(365 * 24 * 3600),
};

/// Clocks that stand until they are set.
struct SetClock {
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

struct World {
    home: tempfile::TempDir,
    clock: Arc<SetClock>,
    book: Book,
    minute: i64,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(SetClock {
            mono: AtomicU64::new(1_000_000_000_000),
            asleep: AtomicU64::new(0),
            wall: AtomicI64::new(FIRST * MINUTE_MICROS),
        });
        let book = Book::new(home.path(), KEEP, clock.clone());
        Self {
            home,
            clock,
            book,
            minute: FIRST,
        }
    }

    /// The program is killed and begun anew after so long.
    fn again_after(&mut self, time: Duration) {
        self.pass(time);
        self.book = Book::new(self.home.path(), KEEP, self.clock.clone());
    }

    fn pass(&mut self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap();
        let nanos = u64::try_from(time.as_nanos()).unwrap();
        self.clock.mono.fetch_add(nanos, Ordering::Relaxed);
        self.clock.wall.fetch_add(micros, Ordering::Relaxed);
        self.minute = self.clock.wall().0.div_euclid(MINUTE_MICROS);
    }

    /// A minute passes and is to be kept.
    fn minute(&mut self, slices: Vec<(ServiceName, Slice)>) -> Result<(), StoreError> {
        let (minute, since) = (self.minute, self.clock.wall());
        self.pass(MINUTE);
        self.book.keep(&Minutes {
            minute,
            since,
            until: self.clock.wall(),
            slices,
        })
    }

    /// So many minutes in which `a` is healthy.
    fn healthy(&mut self, minutes: i64) {
        for _ in 0..minutes {
            self.minute(vec![(name("a"), steady())]).unwrap();
        }
    }

    fn read(&mut self, from: i64, to: i64, step: i64) -> Page {
        self.book
            .read(&HistoryQuery {
                service: name("a"),
                from,
                to,
                step,
                now: self.minute,
            })
            .unwrap()
    }

    /// How much of the file is in use.
    fn bytes(&mut self) -> i64 {
        let count = |_: &mut Book, connection: &mut rusqlite::Connection| {
            let pragma =
                |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
        };
        self.book.with(count).unwrap()
    }

    fn count(&mut self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        let count = |_: &mut Book, connection: &mut rusqlite::Connection| {
            connection.query_row(&sql, [], |row| row.get(0))
        };
        self.book.with(count).unwrap()
    }
}

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

/// A minute of a healthy service that pulses each ten seconds, a little unevenly.
fn steady() -> Slice {
    let gaps = [9.71, 10.33, 9.94, 10.12, 9.8, 10.1];
    let mut sketch = Sketch::default();
    let mut all = Rollup::of(gaps[0]);
    for gap in gaps {
        sketch.add(bucket(Duration::from_secs_f64(gap)), 1);
    }
    gaps[1..].iter().for_each(|gap| all.add(*gap));
    Slice {
        levels: [60_000, 0, 0, 0, 0],
        pulses: 6,
        gaps: Some(all),
        sketch,
        ..Slice::default()
    }
}

fn critical() -> Slice {
    Slice {
        levels: [0, 0, 0, 60_000, 0],
        misses: 6,
        ..Slice::default()
    }
}

fn sums(page: &Page) -> (usize, u64, u64) {
    let pulses = page.points.iter().map(|(_, slice)| slice.pulses).sum();
    let covered = page.points.iter().map(|(_, slice)| slice.covered()).sum();
    (page.points.len(), pulses, covered)
}

#[test]
fn minutes_become_hours_and_days_and_nothing_is_lost_on_the_way() {
    let mut world = World::new();
    world.healthy(1_440 + 90);
    let all = 1_440 + 90;
    let to = FIRST + all;
    for (step, points) in [(1, all), (15, all / 15), (60, 26), (1_440, 2)] {
        let page = world.read(FIRST, to + (-to).rem_euclid(step), step);
        let covered = all as u64 * 60_000;
        assert_eq!(
            sums(&page),
            (points as usize, 6 * all as u64, covered),
            "{step}"
        );
        assert_eq!(page.points[0].0, FIRST);
        assert_eq!(page.gaps, []);
    }
    let page = world.read(FIRST, FIRST + 1_440, 1_440);
    let day = &page.points[0].1;
    let gaps = day.gaps.unwrap();
    assert_eq!(gaps.count, 6 * 1_440);
    assert!(
        (gaps.mean - 10.0).abs() < 0.01 && (gaps.max - 10.33).abs() < 0.01,
        "{gaps:?}"
    );
    assert!(
        (9.9..=10.33).contains(&day.p99().unwrap()),
        "{:?}",
        day.p99()
    );
    // Open are the last hour's alone, and the day before has its row.
    assert_eq!(world.count("open"), 30);
    assert_eq!((world.count("hours"), world.count("days")), (25, 1));
}

#[test]
fn uptime_is_told_for_a_day_a_week_and_a_month() {
    let mut world = World::new();
    for day in 0..10 {
        for minute in 0..1_440 {
            let slice = if day == 5 && minute < 144 {
                critical()
            } else {
                steady()
            };
            world.minute(vec![(name("a"), slice)]).unwrap();
        }
    }
    let page = world.read(world.minute - 60, world.minute, 60);
    let [day, week, month] = page.uptime.map(Option::unwrap);
    assert_eq!(day, 1.0);
    assert!(
        (week - (1.0 - 144.0 / (7.0 * 1_440.0))).abs() < 1e-3,
        "{week}"
    );
    assert!((month - 0.99).abs() < 1e-4, "{month}");
    assert_eq!(
        world
            .book
            .read(&HistoryQuery {
                service: name("b"),
                from: 0,
                to: 1,
                step: 1,
                now: world.minute
            })
            .unwrap(),
        Page::default()
    );
}

#[test]
fn a_time_without_us_is_a_gap() {
    let mut world = World::new();
    world.healthy(70);
    let died = world.clock.wall();
    world.again_after(10 * MINUTE);
    world.healthy(5);
    let page = world.read(FIRST, FIRST + 90, 1);
    assert_eq!(sums(&page).0, 75);
    assert_eq!(page.gaps.len(), 1, "{:?}", page.gaps);
    let gap = &page.gaps[0];
    assert_eq!(
        (gap.from, gap.to),
        (died, Timestamp(died.0 + 10 * MINUTE_MICROS))
    );
    assert!(gap.reason.contains("did not run"), "{gap:?}");
    // One that follows at once leaves none.
    world.again_after(Duration::from_secs(2));
    world.healthy(1);
    assert_eq!(world.read(FIRST, FIRST + 90, 1).gaps.len(), 1);
}

#[test]
fn f37_a_full_disk_leaves_a_gap_that_says_so() {
    let mut world = World::new();
    world.healthy(3);
    let limit = |world: &mut World, pages: i64| {
        let set = |_: &mut Book, connection: &mut rusqlite::Connection| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            connection.query_row(&sql, [], |_| Ok(()))
        };
        world.book.with(set).unwrap();
    };
    limit(&mut world, 1);
    let full_at = world.clock.wall();
    let many: Vec<_> = (0..2_000)
        .map(|n| (name(&format!("s{n}")), steady()))
        .collect();
    let full = world.minute(many.clone());
    assert!(full.unwrap_err().to_string().contains("no space left"));
    world.minute(many).unwrap_err();
    limit(&mut world, 1_000_000);
    let again = world.clock.wall();
    world.healthy(2);
    let page = world.read(FIRST, FIRST + 10, 1);
    let minutes: Vec<i64> = page
        .points
        .iter()
        .map(|(minute, _)| minute - FIRST)
        .collect();
    assert_eq!(minutes, [0, 1, 2, 5, 6]);
    assert_eq!(page.gaps.len(), 1, "{:?}", page.gaps);
    let gap = &page.gaps[0];
    assert_eq!((gap.from, gap.to), (full_at, again));
    assert!(gap.reason.contains("no space left"), "{gap:?}");
}

#[test]
fn what_is_old_goes_and_days_stay() {
    let mut world = World::new();
    world.healthy(120);
    for _ in 0..400 {
        world.pass(DAY - MINUTE);
        world.healthy(1);
    }
    let hours = world.count("hours");
    assert!((363..=366).contains(&hours), "{hours}");
    let minutes = world.count("minutes");
    assert!((6..=7).contains(&minutes), "{minutes}");
    assert_eq!(world.count("days"), 400);
    let page = world.read(FIRST, FIRST + 1_440, 1_440);
    assert_eq!(sums(&page), (1, 120 * 6, 120 * 60_000));
    // Where minutes are gone, hours stand for them.
    let from = FIRST + 300 * 1_440;
    let page = world.read(from, from + 1_440, 1);
    assert_eq!(sums(&page), (1, 6, 60_000));
}

#[test]
fn f31_a_clock_that_jumps_ahead_makes_nothing_old() {
    let mut world = World::new();
    world.healthy(70);
    let year = 366 * 1_440 * MINUTE_MICROS;
    world.clock.wall.fetch_add(year, Ordering::Relaxed);
    world.pass(Duration::ZERO);
    world.healthy(3);
    world.clock.wall.fetch_sub(year, Ordering::Relaxed);
    world.pass(Duration::ZERO);
    world.healthy(3);
    let page = world.read(FIRST, FIRST + 80, 1);
    assert_eq!(sums(&page).1, 6 * 73);
}

#[test]
fn what_is_deleted_of_a_service_is_gone_and_others_stay() {
    let mut world = World::new();
    for _ in 0..130 {
        world
            .minute(vec![(name("a"), steady()), (name("b"), steady())])
            .unwrap();
    }
    let before = Timestamp((FIRST + 125) * MINUTE_MICROS);
    assert!(world.book.delete(&name("a"), before).unwrap() > 0);
    let page = world.read(FIRST, FIRST + 130, 1);
    let minutes: Vec<i64> = page
        .points
        .iter()
        .map(|(minute, _)| minute - FIRST)
        .collect();
    assert_eq!(minutes, [125, 126, 127, 128, 129]);
    let of_b = HistoryQuery {
        service: name("b"),
        from: FIRST,
        to: FIRST + 130,
        step: 1,
        now: world.minute,
    };
    assert_eq!(sums(&world.book.read(&of_b).unwrap()).0, 130);
}

#[test]
fn f40_a_damaged_history_is_set_aside_and_begun_anew() {
    let mut world = World::new();
    world.healthy(10);
    world.again_after(Duration::from_secs(1));
    let path = world.home.path().join("history.db");
    std::fs::write(&path, vec![0x5a; 8192]).unwrap();
    let _ = std::fs::remove_file(world.home.path().join("history.db-wal"));
    world.healthy(2);
    assert_eq!(sums(&world.read(FIRST, FIRST + 30, 1)).0, 2);
    let notices = world.book.notices();
    assert!(
        notices.iter().any(|notice| notice.contains("set aside")),
        "{notices:?}"
    );
}

#[test]
fn a_day_of_a_thousand_services_takes_less_than_thirty_megabytes() {
    let mut world = World::new();
    let all: Vec<_> = (0..1_000)
        .map(|n| (name(&format!("service-{n:04}")), steady()))
        .collect();
    // Two hours stand for a day: it grows evenly, but for the room of the hour under way.
    let mut used = Vec::new();
    for hour in 0..3 {
        for _ in 0..60 {
            world.minute(all.clone()).unwrap();
        }
        if hour != 1 {
            world.minute(Vec::new()).unwrap();
            used.push(world.bytes());
        }
    }
    let day = (used[1] - used[0]) / 2 * 24;
    println!("{day} bytes a day");
    assert!(day <= 30_000_000, "{day} bytes a day");
}

#[actix_web::test]
async fn the_thread_keeps_reads_and_finishes() {
    let world = World::new();
    let log = Logger::root(slog::Discard, slog::o!());
    let history = HistoryDatabase::new(world.home.path(), KEEP, world.clock.clone(), log).unwrap();
    let since = world.clock.wall();
    for minute in 0..3 {
        history.keep(Minutes {
            minute: FIRST + minute,
            since: Timestamp(since.0 + minute * MINUTE_MICROS),
            until: Timestamp(since.0 + (minute + 1) * MINUTE_MICROS),
            slices: vec![(name("a"), steady())],
        });
    }
    history.finish();
    let query = HistoryQuery {
        service: name("a"),
        from: FIRST,
        to: FIRST + 10,
        step: 1,
        now: FIRST + 3,
    };
    let page = history.read(query.clone()).await.unwrap();
    assert_eq!((sums(&page).0, page.uptime[0]), (3, Some(1.0)));
    let before = Timestamp((FIRST + 1) * MINUTE_MICROS);
    assert_eq!(history.delete(name("a"), before).await, Ok(1));
    assert_eq!(sums(&history.read(query).await.unwrap()).0, 2);
}
