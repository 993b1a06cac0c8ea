//! A year and what follows it, in virtual time: how large the file becomes, that it stops
//! growing, and that no step on the way takes long.
//!
//! `HISTORY_SERVICES=100 cargo test --release --lib history::tests::year -- --ignored --nocapture`
//! prints the figures of `docs/BENCHMARKS.md`.

use std::time::Instant;

use super::*;

const MINUTES_OF_A_DAY: i64 = 1_440;

/// A small generator (Steele and Vigna's SplitMix64), so that each run is the same.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn share(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }
}

/// A minute of a service that pulses each ten seconds, 5 % unevenly: one in fifty has a miss or
/// an error in it. Every tenth service has a figure of its own.
fn minute_of(service: usize, chance: &mut Chance) -> Slice {
    let mut slice = Slice {
        levels: [60_000, 0, 0, 0, 0],
        pulses: 6,
        ..Slice::default()
    };
    let gaps: Vec<f64> = (0..6).map(|_| 9.5 + chance.share()).collect();
    let mut all = Rollup::of(gaps[0]);
    gaps[1..].iter().for_each(|gap| all.add(*gap));
    for gap in &gaps {
        slice.sketch.add(bucket(Duration::from_secs_f64(*gap)), 1);
    }
    slice.gaps = Some(all);
    if chance.next().is_multiple_of(50) {
        slice.levels = [48_000, 12_000, 0, 0, 0];
        slice.misses = 1;
        slice.errors = chance.next() % 2;
    }
    if service.is_multiple_of(10) {
        let mut figure = Rollup::of(chance.share() * 1e4);
        figure.add(chance.share() * 1e4);
        slice.metrics.insert("queue".into(), figure);
    }
    slice
}

/// What a file of the disk takes, its log included.
fn on_disk(world: &World) -> u64 {
    ["history.db", "history.db-wal"]
        .iter()
        .filter_map(|name| std::fs::metadata(world.home.path().join(name)).ok())
        .map(|file| file.len())
        .sum()
}

#[test]
#[ignore = "a benchmark: it takes minutes"]
fn a_year_of_a_thousand_services_takes_less_than_a_gigabyte() {
    let services: i32 = std::env::var("HISTORY_SERVICES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(100);
    let names: Vec<_> = (0..services)
        .map(|n| name(&format!("service-{n:04}")))
        .collect();
    let mut world = World::new();
    let mut chance = Chance(7);
    let mut steps: Vec<f64> = Vec::new();
    println!("| after | file for {services} | for 1,000 | a step, median | p99 | worst |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut sizes = Vec::new();
    for day in 1..=400_i64 {
        for _ in 0..MINUTES_OF_A_DAY {
            let slices = names.iter().enumerate();
            let slices = slices.map(|(n, name)| (name.clone(), minute_of(n, &mut chance)));
            let slices = slices.collect();
            #[expect(clippy::disallowed_methods, reason = "how long it really takes")]
            let begun = Instant::now();
            world.minute(slices).unwrap();
            steps.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        if [1, 7, 8, 30, 90, 180, 365, 375, 400].contains(&day) {
            #[expect(clippy::cast_precision_loss, reason = "megabytes")]
            let megabytes = on_disk(&world) as f64 / 1e6;
            let scaled = megabytes * 1_000.0 / f64::from(services);
            steps.sort_by(f64::total_cmp);
            println!(
                "| {day} days | {megabytes:.1} MB | {scaled:.0} MB | {:.2} ms | {:.2} ms | {:.0} ms |",
                steps[steps.len() / 2],
                steps[steps.len() * 99 / 100],
                steps[steps.len() - 1],
            );
            steps.clear();
            sizes.push((day, scaled));
        }
    }
    let at = |wanted: i64| sizes.iter().find(|(day, _)| *day == wanted).unwrap().1;
    assert!(at(365) <= 1_000.0, "{} MB a year", at(365));
    assert!(at(400) - at(375) <= 20.0, "it goes on growing: {sizes:?}");
    assert!(
        (364..=366).contains(&(world.count("hours") / i64::from(services) / 24)),
        "{}",
        world.count("hours")
    );
}
