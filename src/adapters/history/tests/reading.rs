//! Reading: what it finds, and that it looks at nothing else.

use super::*;

/// The year 9999, in minutes.
const END_OF_DATES: i64 = 4_223_371_679;

#[test]
fn a_stretch_in_which_there_is_nothing_costs_nothing() {
    let mut world = World::new();
    world.healthy(1_440 + 70);
    world.pass(300 * DAY);
    world.healthy(90);
    let all = 6 * (1_440 + 70 + 90);
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for step in [366 * 1_440, 1_440, 60 * 25, 60, 45, 1] {
            let from = -(-END_OF_DATES).div_euclid(step) * step;
            let page = world.read(-from, from, step);
            // Nobody listens where the time was up.
            let _ = done.send((step, sums(&page).1));
        }
    });
    for _ in 0..6 {
        let read = wait.recv_timeout(Duration::from_secs(10));
        let (step, pulses) = read.expect("it looks at what there is");
        assert_eq!(pulses, all, "{step}");
    }
}

#[test]
fn days_hours_and_minutes_are_found_behind_empty_ones() {
    let mut world = World::new();
    // A day that begins in the middle, whose hours go in a year.
    world.pass(13 * 60 * MINUTE + 40 * MINUTE);
    world.healthy(90);
    for _ in 0..2 {
        world.pass(200 * DAY);
        world.healthy(90);
    }
    assert_eq!(world.count("hours WHERE hour < 20779 * 24 + 24"), 0);
    let (from, to) = (FIRST - 1_440 * 9, FIRST + 1_440 * 500);
    for step in [1_440, 7 * 1_440] {
        let from = from - from.rem_euclid(step);
        let page = world.read(from, to, step);
        assert_eq!(sums(&page), (3, 3 * 540, 3 * 90 * 60_000), "{step}");
    }
    // Of a service of which nothing is known nothing is found.
    let nobody = HistoryQuery {
        service: name("nobody"),
        from,
        to,
        step: 1_440,
        now: world.minute,
    };
    assert_eq!(world.book.read(&nobody).unwrap().points, []);
}

#[test]
fn nothing_is_looked_up_for_one_who_waits_no_longer() {
    let world = World::new();
    let mut desk = Desk {
        book: world.book,
        lost: Arc::default(),
        log: Logger::root(slog::Discard, slog::o!()),
        trouble: String::new(),
    };
    let query = HistoryQuery {
        service: name("a"),
        from: 0,
        to: 1,
        step: 1,
        now: FIRST,
    };
    let database = world.home.path().join("history.db");
    let (reply, answer) = oneshot::channel();
    drop(answer);
    desk.job(Job::Read(query.clone(), reply));
    assert!(!database.exists());
    let (reply, mut answer) = oneshot::channel();
    desk.job(Job::Read(query, reply));
    assert!(database.exists());
    assert_eq!(answer.try_recv().unwrap(), Ok(Page::default()));
}
