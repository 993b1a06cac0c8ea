//! What is forgotten by its age, where the wall clock was wrong for a while.

use super::*;

/// An event, and what is due besides.
fn tell(world: &World, store: &mut SqliteStore, reason: &str) {
    let batch = events([world.event("a", reason)]);
    store.commit(&batch).expect("committed");
}

fn count(store: &mut SqliteStore) -> usize {
    store.events(&all(10_000)).expect("read").len()
}

#[test]
fn f23_a_clock_that_is_wrong_from_the_beginning_makes_nothing_old() {
    let world = World::new();
    let mut store = world.store();
    for _ in 0..100 {
        tell(&world, &mut store, "before");
    }
    world.clock.jump(400 * DAY_MICROS);
    // Also when it died before its clock was set.
    for _ in 0..3 {
        let mut store = world.store();
        for _ in 0..3 {
            tell(&world, &mut store, "while");
            world.clock.pass(Duration::from_secs(75));
        }
    }
    assert_eq!(count(&mut store), 109);
    world.clock.jump(-400 * DAY_MICROS);
    let mut store = world.store();
    world.clock.pass(Duration::from_secs(75));
    tell(&world, &mut store, "after");
    assert_eq!(count(&mut store), 110);
    // One that goes on for a day is believed.
    world.clock.jump(400 * DAY_MICROS);
    let mut store = world.store();
    tell(&world, &mut store, "much later");
    world.clock.pass(DAY + Duration::from_secs(75));
    tell(&world, &mut store, "last");
    let rows = store.events(&all(10_000)).expect("read");
    assert!(!reasons(&rows).contains(&"before"), "{}", rows.len());
    assert_eq!(reasons(&rows).last(), Some(&"last"));
}

#[test]
fn f23_one_event_with_an_old_date_takes_nobody_along() {
    let world = World::new();
    let mut store = world.store();
    for n in 1..=6 {
        tell(&world, &mut store, &n.to_string());
    }
    world.clock.jump(-30 * DAY_MICROS);
    tell(&world, &mut store, "the clock was set back");
    world.clock.jump(30 * DAY_MICROS);
    tell(&world, &mut store, "the clock was set forward");
    // A later one, and in the end one that believes its clock.
    let mut store = world.store();
    world.clock.pass(Duration::from_secs(61));
    tell(&world, &mut store, "90 s later");
    assert_eq!(reasons(&store.events(&all(6)).expect("read")).len(), 6);
    assert!(count(&mut store) >= 8);
    world.clock.pass(DAY);
    tell(&world, &mut store, "a day later");
    assert_eq!(
        reasons(&store.events(&all(100)).expect("read")).join(", "),
        "1, 2, 3, 4, 5, 6, the clock was set forward, 90 s later, a day later"
    );
}

#[test]
fn f23_a_flood_with_dates_to_come_keeps_nothing_else_from_being_forgotten() {
    let world = World::new();
    let mut store = world.store();
    world.clock.jump(400 * DAY_MICROS);
    let flood = (0..1_200).map(|_| world.event("a", "flood")).collect();
    let flood = Batch {
        events: flood,
        ..Batch::default()
    };
    store.commit(&flood).expect("committed");
    world.clock.jump(-400 * DAY_MICROS);
    tell(&world, &mut store, "then");
    for _ in 0..9 {
        world.clock.pass(DAY);
        tell(&world, &mut store, "on");
    }
    for _ in 0..4 {
        tell(&world, &mut store, "last");
    }
    let rows = store.events(&all(10_000)).expect("read");
    assert!(rows.len() < 15, "{} are left", rows.len());
    assert_eq!(reasons(&rows).last(), Some(&"last"));
}

#[test]
fn f24_a_machine_that_sleeps_each_night_forgets_what_is_old() {
    let world = World::new();
    let mut store = world.store();
    for _ in 0..20 {
        tell(&world, &mut store, "a day");
        world.clock.pass(DAY / 2);
        world.clock.suspend(DAY / 2);
    }
    tell(&world, &mut store, "the last");
    let left = count(&mut store);
    assert!((7..=9).contains(&left), "{left} are left");
}
