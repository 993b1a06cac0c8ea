//! Rhythms that are known, under a virtual clock and thrown dice that are the same in every run.

use proptest::prelude::*;

use super::*;

/// Numbers between 0 and 1 that are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed (Box–Muller).
    fn normal(&mut self) -> f64 {
        let (a, b) = (self.throw().max(1e-12), self.throw());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

/// A rhythm and its clock.
struct Heart {
    rhythm: Rhythm,
    now: Time,
    alarms: u32,
}

impl Heart {
    fn new() -> Self {
        Self {
            rhythm: Rhythm::default(),
            now: Time(1_000_000_000),
            alarms: 0,
        }
    }

    fn beat(&mut self, gap: f64) -> Trend {
        self.now = self.now + Duration::from_secs_f64(gap);
        let told = self.rhythm.pulse(1, self.now, self.now).trend;
        if matches!(told, Some(Trend::Slowing | Trend::Hurrying)) {
            self.alarms += 1;
        }
        self.rhythm.trend()
    }

    fn outlook(&self) -> Outlook {
        self.rhythm.outlook(self.now, Duration::from_secs(33))
    }
}

const DEADLINE: f64 = 33.0;

#[test]
fn a_drift_is_told_a_hundred_beats_before_the_first_miss() {
    for (seed, before) in (0..200).flat_map(|seed| [(seed, 0), (seed, 50), (seed, 1_000)]) {
        let mut dice = Dice(seed);
        let mut heart = Heart::new();
        let mut jitter = || 1.0 + 0.05 * dice.normal();
        for _ in 0..before {
            heart.beat(15.0 * jitter());
        }
        let mut told = None;
        let mut missed = None;
        for beat in 0..400 {
            let gap = 15.0 * 1.005_f64.powi(beat) * jitter();
            if gap > DEADLINE {
                missed = Some(beat);
                break;
            }
            if heart.beat(gap) == Trend::Slowing {
                told.get_or_insert(beat);
            }
        }
        let (told, missed) = (told.expect("told"), missed.expect("missed"));
        // The jitter may bring the first miss some beats before 158.
        assert!(missed > 120, "{missed}");
        assert!(
            told <= 58,
            "seed {seed}: told at beat {told} after {before} even ones, missed at {missed}"
        );
    }
}

#[test]
fn the_predicted_miss_is_about_right() {
    let mut dice = Dice(7);
    let mut heart = Heart::new();
    let mut jitter = || 1.0 + 0.05 * dice.normal();
    for _ in 0..200 {
        heart.beat(15.0 * jitter());
    }
    assert_eq!(heart.outlook().predicted_miss_at, None);
    let gaps: Vec<f64> = (0..158).map(|beat| 15.0 * 1.005_f64.powi(beat)).collect();
    for gap in &gaps[..90] {
        heart.beat(gap * jitter());
    }
    let left: f64 = gaps[90..].iter().sum();
    let predicted = heart.outlook().predicted_miss_at.expect("a prediction");
    let predicted = predicted.since(heart.now).as_secs_f64();
    assert!(
        (0.5..2.0).contains(&(predicted / left)),
        "{predicted} s foretold, {left} s it was"
    );
}

#[test]
fn an_even_rhythm_raises_at_most_one_alarm_in_a_hundred_thousand_beats() {
    let mut alarms = 0;
    for seed in 0..10 {
        let mut dice = Dice(1_000 + seed);
        let mut heart = Heart::new();
        for _ in 0..100_000 {
            heart.beat(15.0 * (1.0 + 0.05 * dice.normal()).max(0.01));
        }
        alarms += heart.alarms;
    }
    println!("{alarms} false alarms in a million beats");
    assert!(alarms <= 10, "{alarms} in a million beats");
}

#[test]
fn single_pauses_and_lost_pulses_are_no_trend() {
    let mut dice = Dice(3);
    let mut heart = Heart::new();
    for beat in 0..20_000 {
        let mut gap = 10.0 * (1.0 + 0.05 * dice.normal());
        if beat % 50 == 0 {
            gap *= 2.0;
        }
        if beat % 997 == 0 {
            gap *= 20.0;
        }
        heart.beat(gap);
    }
    assert_eq!(heart.alarms, 0);
}

#[test]
fn beating_much_too_fast_is_told_and_a_little_faster_is_not() {
    let mut heart = Heart::new();
    let mut dice = Dice(5);
    for _ in 0..500 {
        heart.beat(10.0 + dice.throw());
    }
    let mut little = Heart {
        rhythm: heart.rhythm.clone(),
        now: heart.now,
        alarms: 0,
    };
    for _ in 0..40 {
        heart.beat(2.0 + 0.2 * dice.throw());
        little.beat(9.5 + dice.throw());
    }
    assert_eq!(heart.rhythm.trend(), Trend::Hurrying);
    assert_eq!(little.rhythm.trend(), Trend::Steady);
    // It becomes the new normal.
    for _ in 0..1_000 {
        heart.beat(2.0 + 0.2 * dice.throw());
    }
    assert_eq!(heart.rhythm.trend(), Trend::Steady);
}

#[test]
fn nothing_is_said_before_enough_is_known() {
    let mut heart = Heart::new();
    for _ in 0..LEARNT {
        let outlook = heart.outlook();
        assert_eq!((outlook.trend, outlook.gap), (Trend::Learning, None));
        assert_eq!((outlook.suspicion, heart.rhythm.interval()), (None, None));
        heart.beat(10.0);
    }
    heart.beat(10.0);
    let outlook = heart.outlook();
    assert_eq!(outlook.trend, Trend::Steady);
    let gap = outlook.gap.expect("learnt").as_secs_f64();
    assert!((9.9..10.1).contains(&gap), "{gap}");
}

#[test]
fn suspicion_grows_with_the_age() {
    let mut dice = Dice(11);
    let mut heart = Heart::new();
    for _ in 0..1_000 {
        heart.beat(10.0 * (1.0 + 0.1 * dice.normal()));
    }
    let deadline = Duration::from_secs(33);
    let at = |age: u64| {
        let now = heart.now + Duration::from_secs(age);
        heart.rhythm.outlook(now, deadline).suspicion.expect("one")
    };
    assert!(at(0) < 0.01, "{}", at(0));
    assert!((0.2..0.5).contains(&at(10)), "{}", at(10));
    assert!((1.0..3.0).contains(&at(12)), "{}", at(12));
    assert!(at(20) > 8.0, "{}", at(20));
    assert!(at(100_000) <= 300.0);
    // Against tables of the normal distribution: P(X > 1 σ) = 0.1587, 2 σ: 0.0228.
    assert!((phi(1.0, 0.0, 1.0) - 0.1587_f64.log10().abs()).abs() < 0.01);
    assert!((phi(2.0, 0.0, 1.0) - 0.0228_f64.log10().abs()).abs() < 0.02);
}

#[test]
fn a_rest_is_no_gap() {
    let mut heart = Heart::new();
    for _ in 0..100 {
        heart.beat(10.0);
    }
    let before = heart.rhythm.clone();
    heart.rhythm.rest();
    heart.beat(100_000.0);
    assert_eq!(heart.rhythm.slow, before.slow);
    assert_eq!(heart.outlook().trend, Trend::Steady);
}

proptest! {
    #[test]
    fn no_gaps_make_nonsense(
        gaps in prop::collection::vec((0_u64..u64::MAX / 1_000, 1_u32..5, 0_u64..1_000), 0..200),
    ) {
        let mut rhythm = Rhythm::learning();
        let mut now = Time(1);
        for (gap, count, spread) in gaps {
            let first = now + Duration::from_nanos(gap);
            now = first + Duration::from_nanos(spread);
            rhythm.pulse(count, first, now);
            let outlook = rhythm.outlook(now, Duration::from_secs(1));
            prop_assert!(outlook.suspicion.is_none_or(f64::is_finite));
            prop_assert!(outlook.predicted_miss_at.is_none_or(|at| at >= now));
            let json = serde_json::to_string(&rhythm.keep(None)).unwrap();
            let kept: Kept = serde_json::from_str(&json).unwrap();
            let again = Rhythm::go_on(&kept, None).expect("sane").expect("its own");
            prop_assert_eq!(again.keep(None), kept);
        }
    }
}

mod errors;
mod interval;
