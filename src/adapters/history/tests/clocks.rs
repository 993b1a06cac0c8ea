//! Clocks that are set, and what cannot be understood: days are whole all the same.

use super::*;

impl World {
    /// The wall clock alone is set.
    fn set_by(&mut self, time: i64) {
        self.clock.wall.fetch_add(time, Ordering::Relaxed);
        self.pass(Duration::ZERO);
    }

    fn run(&mut self, sql: &str) {
        let run =
            |_: &mut Book, connection: &mut rusqlite::Connection| connection.execute_batch(sql);
        self.book.with(run).unwrap();
    }

    fn pulses(&mut self, from: i64, to: i64, step: i64) -> u64 {
        let page = self.read(from, to, step);
        page.points.iter().map(|(_, slice)| slice.pulses).sum()
    }
}

const DAYS: i64 = 1_440 * MINUTE_MICROS;

#[test]
fn a_day_of_which_nothing_can_be_understood_holds_nothing_up() {
    let mut world = World::new();
    world.healthy(1);
    let hour = FIRST / 60 - 48;
    world.run(&format!("INSERT INTO hours VALUES ({hour}, 'old', x'ff')"));
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        world.healthy(1_500);
        // Nobody listens where the time was up.
        let _ = done.send(world);
    });
    let world = wait.recv_timeout(Duration::from_secs(60));
    let mut world = world.expect("the thread goes on");
    assert_eq!(world.count("days"), 1, "the day after is made");
    assert_eq!(world.count("hours WHERE service = 'old'"), 1);
}

#[test]
fn f23_days_are_whole_however_the_clock_was_set_while_they_went_by() {
    let mut world = World::new();
    world.healthy(8 * 60);
    world.set_by(2 * DAYS);
    world.healthy(1);
    assert_eq!(world.count("days"), 1, "today was made too early");
    world.set_by(-2 * DAYS);
    world.healthy(20 * 60);
    for step in [1, 60, 1_440] {
        let pulses = world.pulses(FIRST, FIRST + 1_440, step);
        // A minute of it was spent two days ahead.
        assert_eq!(pulses, 6 * (24 * 60 - 1), "{step}");
    }
    // Those that were ahead are not lost either when their time comes.
    world.healthy(3 * 1_440);
    for step in [1, 60, 1_440] {
        let pulses = world.pulses(FIRST, FIRST + 4 * 1_440, step);
        assert_eq!(pulses, 6 * 4 * 1_440, "{step}");
    }
}

#[test]
fn f23_days_are_made_while_later_ones_are_known_and_no_hour_goes_before_its_day() {
    let mut world = World::new();
    world.healthy(60);
    world.set_by(400 * DAYS);
    // Past a midnight there: that day is made, far ahead of all others.
    world.healthy(1_440);
    world.set_by(-400 * DAYS);
    for _ in 0..380 {
        world.pass(DAY - MINUTE);
        world.healthy(1);
    }
    assert!((363..=392).contains(&world.count("hours")));
    let pulses = world.pulses(FIRST, FIRST + 390 * 1_440, 1_440);
    assert_eq!(pulses, 6 * (60 + 380));
}

#[test]
fn no_hour_goes_before_its_day_however_short_hours_are_kept() {
    let mut world = World::new();
    let keep = Keep {
        minutes: 60 * MINUTE,
        hours: 60 * MINUTE,
    };
    world.book = Book::new(world.home.path(), keep, world.clock.clone());
    world.healthy(1_440 + 3 * 60);
    assert_eq!(world.count("days"), 1);
    assert_eq!(world.pulses(FIRST, FIRST + 1_440, 1_440), 6 * 1_440);
    // Those of the day before are gone: it is made.
    assert_eq!(world.count("hours"), 2);
}

#[test]
fn f23_a_clock_that_is_wrong_from_the_beginning_makes_nothing_old() {
    let mut world = World::new();
    world.healthy(100);
    let before = format!("WHERE hour < {}", FIRST / 60 + 24);
    for _ in 0..2 {
        // Also when it died before its clock was set.
        world.set_by(400 * DAYS);
        world.again_after(10 * MINUTE);
        world.healthy(3);
        world.again_after(MINUTE);
        world.healthy(3);
        assert_eq!(world.count(&format!("minutes {before}")), 2);
        assert_eq!(world.count(&format!("hours {before}")), 2);
        world.set_by(-400 * DAYS);
        world.healthy(1);
    }
    let page = world.read(FIRST, FIRST + 100, 1);
    assert_eq!(sums(&page).1, 600);
    // One that goes on for a day is believed.
    world.set_by(400 * DAYS);
    world.again_after(MINUTE);
    world.healthy(1_440 + 70);
    assert_eq!(world.count(&format!("hours {before}")), 0);
    let day = FIRST / 1_440;
    assert_eq!(world.count(&format!("days WHERE day = {day}")), 1);
}

/// The gaps that are told of, in minutes since the first one, and why.
fn gaps(world: &mut World) -> Vec<(i64, i64, String)> {
    let page = world.read(FIRST - 1_440, FIRST + 1_440, 60);
    let minutes = |at: Timestamp| at.0.div_euclid(MINUTE_MICROS) - FIRST;
    let gaps = page.gaps.into_iter();
    gaps.map(|gap| (minutes(gap.from), minutes(gap.to), gap.reason))
        .collect()
}

#[test]
fn f24_a_time_that_nobody_saw_is_a_gap_with_its_reason() {
    let mut world = World::new();
    world.healthy(10);
    world.pass(Duration::from_secs(3));
    world.healthy(1);
    assert_eq!(gaps(&mut world), [], "hardly any");
    world.pass(9 * MINUTE - Duration::from_secs(3));
    world.healthy(10);
    let slept = 30 * MINUTE;
    let nanos = u64::try_from(slept.as_nanos()).unwrap();
    world.clock.asleep.fetch_add(nanos, Ordering::Relaxed);
    world.set_by(30 * MINUTE_MICROS);
    world.healthy(10);
    world.set_by(40 * MINUTE_MICROS);
    world.healthy(10);
    let told = gaps(&mut world);
    let times: Vec<_> = told.iter().map(|gap| (gap.0, gap.1)).collect();
    assert_eq!(times, [(11, 20), (30, 60), (70, 110)]);
    for (gap, why) in told.iter().zip(["begin anew", "suspended", "set forward"]) {
        assert!(gap.2.contains(why), "{gap:?}");
    }
    // Set back it comes by what is known, and after it goes on where that ends.
    world.set_by(-20 * MINUTE_MICROS);
    world.healthy(30);
    assert_eq!(gaps(&mut world), told);
}

#[test]
fn f23_a_machine_that_begins_in_1970_covers_nothing_that_is_known() {
    let mut world = World::new();
    world.healthy(61);
    let present = world.clock.wall().0;
    world.set_by(-present);
    world.again_after(MINUTE);
    world.healthy(1);
    world.set_by(present);
    world.healthy(1);
    // The hour that has begun, and what it took to begin.
    assert_eq!(
        gaps(&mut world)
            .iter()
            .map(|gap| (gap.0, gap.1))
            .collect::<Vec<_>>(),
        [(61, 63)]
    );
}
