//! The rate of errors against thrown coins.

use super::*;

/// Throws it so often; gives how often it was told of, and after how many throws first.
fn throw(rhythm: &mut Rhythm, dice: &mut Dice, rate: f64, times: u32) -> (u32, Option<u32>) {
    let (mut told, mut first) = (0, None);
    for n in 1..=times {
        let noticed = if dice.throw() < rate {
            rhythm.error()
        } else {
            rhythm.pulse(1, Time(1), Time(1))
        };
        if noticed.trend == Some(Trend::Erring) {
            told += 1;
            first.get_or_insert(n);
        }
    }
    (told, first)
}

#[test]
fn a_stationary_rate_of_errors_raises_at_most_one_alarm_in_a_hundred_thousand_beats() {
    for rate in [0.0, 0.001, 0.01, 0.1, 0.5] {
        let mut alarms = 0;
        for seed in 0..10 {
            let mut rhythm = Rhythm::default();
            alarms += throw(&mut rhythm, &mut Dice(seed), rate, 100_000).0;
        }
        println!("{rate}: {alarms} alarms in a million beats");
        assert!(alarms <= 10, "{rate}: {alarms} in a million beats");
    }
}

#[test]
fn from_one_in_a_hundred_to_one_in_five_is_noticed_within_tens_of_beats() {
    for (before, after, median, most) in [(0.01, 0.2, 45, 250), (0.1, 0.5, 40, 100)] {
        let mut all: Vec<u32> = (0..200)
            .map(|seed| {
                let (mut rhythm, mut dice) = (Rhythm::default(), Dice(seed));
                throw(&mut rhythm, &mut dice, before, 2_000);
                let (_, first) = throw(&mut rhythm, &mut dice, after, most);
                first.unwrap_or_else(|| panic!("seed {seed}: not within {most} beats"))
            })
            .collect();
        all.sort_unstable();
        println!("{before} → {after}: median {}, p90 {}", all[100], all[180]);
        assert!(all[100] <= median, "{}", all[100]);
        assert!(all[180] <= 90, "{}", all[180]);
    }
}

#[test]
fn it_becomes_the_new_normal_in_the_end_and_is_over_soon_where_it_ends() {
    let (mut rhythm, mut dice) = (Rhythm::default(), Dice(3));
    throw(&mut rhythm, &mut dice, 0.01, 2_000);
    throw(&mut rhythm, &mut dice, 0.3, 150);
    assert_eq!(rhythm.trend(), Trend::Erring);
    let mut better = rhythm.clone();
    throw(&mut better, &mut dice, 0.0, 250);
    assert_ne!(better.trend(), Trend::Erring);
    throw(&mut rhythm, &mut dice, 0.3, 5_000);
    assert_ne!(rhythm.trend(), Trend::Erring);
}

#[test]
fn nothing_is_made_of_the_first_errors_and_a_new_life_is_judged_afresh() {
    let mut rhythm = Rhythm::default();
    for _ in 0..20 {
        assert_eq!(rhythm.error().trend, None);
    }
    let (mut rhythm, mut dice) = (Rhythm::default(), Dice(4));
    throw(&mut rhythm, &mut dice, 0.01, 2_000);
    throw(&mut rhythm, &mut dice, 0.6, 60);
    assert_eq!(rhythm.trend(), Trend::Erring);
    let usual = rhythm.outlook(Time(1), Duration::from_secs(1)).errors;
    rhythm.begin_anew();
    assert_ne!(rhythm.trend(), Trend::Erring);
    let after = rhythm.outlook(Time(1), Duration::from_secs(1)).errors;
    assert_eq!(
        usual, after,
        "what is usual for it is no matter of its life"
    );
}

#[test]
fn pulses_that_come_at_once_count_as_each_of_them() {
    let (mut one, mut many) = (Rhythm::default(), Rhythm::default());
    for n in 0..300 {
        if n % 7 == 0 {
            one.error();
            many.error();
        }
        for _ in 0..5 {
            one.errors.pulses(1);
        }
        many.errors.pulses(5);
    }
    assert!((one.errors.share - many.errors.share).abs() < 1e-3);
    assert!((one.errors.sum - many.errors.sum).abs() < 0.5);
    many.errors.pulses(0);
    many.errors.pulses(u32::MAX);
    assert!(many.errors.share < 1e-9 && many.errors.sum == 0.0);
}

#[test]
fn errors_instead_of_pulses_or_beside_them_do_not_change_the_rhythm() {
    for beside in [false, true] {
        let mut dice = Dice(6);
        let mut heart = Heart {
            rhythm: Rhythm::learning(),
            ..Heart::new()
        };
        let mut jitter = || 10.0 * (1.0 + 0.05 * dice.normal());
        for _ in 0..500 {
            heart.beat(jitter());
        }
        let interval = heart.rhythm.interval();
        for beat in 0..300 {
            if beat % 3 > 0 {
                heart.beat(jitter());
            } else {
                let until = if beside { 1.0 } else { jitter() };
                heart.now = heart.now + Duration::from_secs_f64(until);
                heart.rhythm.error();
            }
        }
        assert_eq!(heart.alarms, 0);
        assert_eq!(heart.rhythm.trend(), Trend::Erring);
        assert_eq!(heart.rhythm.interval(), interval);
        // A run that failed is the beat that was due.
        let late = heart.now + Duration::from_secs(10);
        heart.beat(10.0);
        heart.rhythm.failed(late);
        assert_eq!(heart.rhythm.last(), Some(late));
    }
}
