//! Rhythm: how a service beats, learnt from the gaps between its pulses, and what that says
//! of what is to come, long before a deadline passes.
//!
//! ```text
//!   gap ──ln──▶ x ──▶ fast mean (the last dozen gaps)  ─┐ difference: its drift a beat
//!                └──▶ slow mean (the last hundred)     ─┘ ──▶ when it will miss its deadline
//!   (x − slow) / deviation, clipped ──▶ two sums (CUSUM): slowing, hurrying
//! ```
//!
//! Gaps are taken by their logarithm: what grows by a share each beat is a straight line then,
//! and one lost pulse is no more than a step of ln 2. Each difference from the slow mean is
//! clipped to ±3 deviations before it counts, so that no single outlier (a pause, a lost
//! datagram) makes a trend: only many beats in the same direction do. The sums are Page's
//! CUSUM (E. S. Page, "Continuous Inspection Schemes", Biometrika 41, 1954): each beat adds
//! its deviation less an allowance, never below zero, and a trend is what passes the limit.
//!
//! The suspicion shown beside it is φ of Hayashibara, Défago, Yared and Katayama, "The φ
//! Accrual Failure Detector" (SRDS 2004): −log₁₀ of the probability that a pulse comes later
//! than it is late already, for normally distributed gaps. φ = 1: one in ten healthy gaps is
//! as long; φ = 8: one in a hundred million. It is a figure; levels are decided by deadlines.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// Gaps before which nothing is said: a mean of fewer says little.
const LEARNT: u32 = 24;
/// The share of a new gap in the fast and in the slow mean.
const FAST: f32 = 1.0 / 12.0;
const SLOW: f32 = 1.0 / 96.0;
/// What of a gap's deviation counts at most, in deviations.
const CLIP: f32 = 3.0;
/// What a sum forgives each beat, in deviations.
const ALLOWANCE: f32 = 0.55;
/// The sum from which on a trend is told, and the one below which it is over.
const LIMIT: f32 = 12.0;
const OVER: f32 = 2.0;
/// The sum is cut there, so that the end of a trend is seen soon.
const MOST: f32 = 40.0;
/// No clock is so even: a deviation of 1 % of the gap at least.
const LEAST_DEVIATION: f32 = 0.01;
/// The standard deviation of a normal distribution in mean absolute deviations: √(π/2).
const SIGMA: f32 = 1.253_314_1;
/// Beats ahead beyond which a miss is not foretold: the straight line is a guess by then.
const HORIZON: f32 = 1_000.0;
/// A gap below this share of the learnt one is hurried.
const HURRIED: f32 = 0.5;
/// Errors: the share of a new pulse in the fast and slow rate, and what makes a trend.
const ERROR_FAST: f32 = 1.0 / 16.0;
const ERROR_SLOW: f32 = 1.0 / 256.0;
const ERROR_RISE: f32 = 0.25;

/// What is learnt of one service. Nothing is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rhythm {
    /// When it last pulsed; 0: the next pulse ends no gap.
    last: Time,
    /// How many gaps were learnt from, up to a limit.
    gaps: u32,
    /// Means of ln(gap in seconds).
    fast: f32,
    slow: f32,
    /// The mean absolute deviation from the slow mean.
    deviation: f32,
    /// The sums.
    slower: f32,
    faster: f32,
    trend: Trend,
    /// Share of reports that are errors.
    errors_fast: f32,
    errors_slow: f32,
}

/// Where a service's rhythm goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// Too few gaps to say.
    #[default]
    Learning,
    /// As ever.
    Steady,
    /// Its gaps grow.
    Slowing,
    /// Its gaps have shrunk to less than half of what they were.
    Hurrying,
}

/// What the rhythm says now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Where it goes.
    pub trend: Trend,
    /// The gap to expect; none before enough were seen.
    pub gap: Option<Duration>,
    /// How far gaps usually are from that (one standard deviation).
    pub deviation: Option<Duration>,
    /// When it will first miss its deadline, if it goes on slowing like this.
    pub predicted_miss_at: Option<Time>,
    /// φ: see the module's page.
    pub suspicion: Option<f64>,
    /// Whether it reports errors more often than it used to.
    pub erring: bool,
}

impl Rhythm {
    /// One or more pulses, received between `first` and `last`. Gives the trend if it is
    /// another than before.
    pub fn pulse(&mut self, count: u32, first: Time, last: Time) -> Option<Trend> {
        let before = self.trend;
        self.count_error(false);
        if self.last != Time(0) {
            self.learn(first.since(self.last));
        }
        // Folded pulses were too close to be told apart: one gap stands for all of them.
        if count > 1 {
            self.learn(last.since(first) / (count - 1));
        }
        self.last = last;
        self.judge();
        (self.trend != before).then_some(self.trend)
    }

    /// When it last pulsed, where the gap since then says something.
    #[must_use]
    pub fn last(&self) -> Option<Time> {
        (self.last != Time(0)).then_some(self.last)
    }

    /// It has reported an error: a sign of life, too.
    pub fn error(&mut self) {
        self.count_error(true);
    }

    /// The gap to the next pulse says nothing: a new life, a pause, idleness, our own absence.
    /// What was learnt is kept, a trend that was building up is not.
    pub fn rest(&mut self) {
        self.last = Time(0);
        self.slower = 0.0;
        self.faster = 0.0;
        self.judge();
    }

    /// What it says now of a service that is late after `deadline` (interval and grace).
    #[must_use]
    pub fn outlook(&self, now: Time, deadline: Duration) -> Outlook {
        let learnt = self.gaps >= LEARNT;
        let sigma = self.sigma();
        Outlook {
            trend: self.trend,
            gap: learnt.then(|| seconds(self.fast.exp())),
            deviation: learnt.then(|| seconds(self.fast.exp() * sigma)),
            predicted_miss_at: self.predicted_miss(now, deadline),
            suspicion: (learnt && self.last != Time(0)).then(|| {
                let age = now.since(self.last).as_secs_f64();
                let mean = f64::from(self.fast.exp());
                phi(age, mean, mean * f64::from(sigma))
            }),
            erring: learnt && self.errors_fast > self.errors_slow + ERROR_RISE,
        }
    }

    /// The interval to promise for it, from what was learnt: the usual gap and four of its
    /// deviations, rounded up to three digits' tenths; at least 100 ms. None before enough is
    /// known.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        /// Less than one healthy gap in 30,000 is longer.
        const DEVIATIONS: f32 = 4.0;
        if self.gaps < LEARNT {
            return None;
        }
        let mean = self.fast.max(self.slow).exp();
        let longest = mean * (1.0 + DEVIATIONS * self.sigma());
        // Coarse on purpose, so that it does not change with every beat.
        let step = 10_f32.powf(longest.log10().floor() - 1.0);
        let rounded = (longest / step).ceil() * step;
        Some(seconds(rounded).max(crate::Policy::LEAST_INTERVAL))
    }

    fn learn(&mut self, gap: Duration) {
        /// A microsecond: two receipts at the same instant have a logarithm, too.
        const LEAST: f32 = 1e-6;
        let x = gap.as_secs_f32().max(LEAST).ln();
        self.gaps = self.gaps.saturating_add(1);
        if self.gaps == 1 {
            (self.fast, self.slow) = (x, x);
            // Until more is known, half the gap either way is nothing unusual.
            self.deviation = 0.25;
            return;
        }
        // The first gaps count as much as each other: a plain mean, which becomes the slow one.
        let share = |of: f32| of.max(1.0 / self.gaps as f32);
        let spread = self.deviation.max(LEAST_DEVIATION) * SIGMA;
        let off = (x - self.slow) / spread;
        let counted = off.clamp(-CLIP, CLIP);
        let within = self.slow + counted * spread;
        let (fast, slow) = (share(FAST), share(SLOW));
        if self.gaps >= LEARNT {
            self.slower = (self.slower + counted - ALLOWANCE).clamp(0.0, MOST);
            let hurry = if x - self.slow < HURRIED.ln() {
                -counted
            } else {
                -1.0
            };
            self.faster = (self.faster + hurry - ALLOWANCE).clamp(0.0, MOST);
        }
        self.fast += (within - self.fast) * fast;
        self.slow += (within - self.slow) * slow;
        // Of gaps that are far off for long, the deviation learns, too, but slowly: a drift
        // must not hide itself.
        self.deviation += ((within - self.slow).abs() - self.deviation) * slow;
    }

    fn judge(&mut self) {
        self.trend = match self.trend {
            _ if self.gaps < LEARNT => Trend::Learning,
            _ if self.slower >= LIMIT => Trend::Slowing,
            _ if self.faster >= LIMIT => Trend::Hurrying,
            Trend::Slowing if self.slower > OVER => Trend::Slowing,
            Trend::Hurrying if self.faster > OVER => Trend::Hurrying,
            Trend::Learning | Trend::Steady | Trend::Slowing | Trend::Hurrying => Trend::Steady,
        };
    }

    /// ln(gap) grows by a straight line: when does it reach the deadline?
    fn predicted_miss(&self, now: Time, deadline: Duration) -> Option<Time> {
        if self.trend != Trend::Slowing || self.last == Time(0) {
            return None;
        }
        // A mean that takes a share a of each new value lags a line of slope b by b/a.
        let slope = (self.fast - self.slow) / (1.0 / SLOW - 1.0 / FAST);
        if slope <= 0.0 {
            return None;
        }
        let present = self.fast + slope / FAST;
        let beats = (deadline.as_secs_f32().ln() - present) / slope;
        if beats > HORIZON {
            return None;
        }
        // The sum of gaps that grow by that factor.
        let gap = present.exp();
        let until = gap * ((slope * beats.max(0.0)).exp() - 1.0) / slope;
        Some((self.last + seconds(until)).max(now))
    }

    fn sigma(&self) -> f32 {
        self.deviation.max(LEAST_DEVIATION) * SIGMA
    }

    fn count_error(&mut self, error: bool) {
        let value = if error { 1.0 } else { 0.0 };
        self.errors_fast += (value - self.errors_fast) * ERROR_FAST;
        self.errors_slow += (value - self.errors_slow) * ERROR_SLOW;
    }
}

impl Trend {
    /// The word that users and clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Steady => "steady",
            Self::Slowing => "slowing",
            Self::Hurrying => "hurrying",
        }
    }
}

/// φ for normally distributed gaps, all in seconds; at most 300, where doubles end. The tail of
/// the normal distribution by a logistic curve (a relative error of 5 % at most where it
/// matters), as other implementations of φ take it.
#[must_use]
pub fn phi(age: f64, mean: f64, deviation: f64) -> f64 {
    let y = (age - mean) / deviation.max(1e-9);
    let exponent = y * (1.5976 + 0.070_566 * y * y);
    // log10(1 + e^x) without overflow.
    let late = if exponent > 700.0 {
        exponent * std::f64::consts::LOG10_E
    } else {
        exponent.exp().ln_1p() * std::f64::consts::LOG10_E
    };
    late.clamp(0.0, 300.0)
}

fn seconds(seconds: f32) -> Duration {
    Duration::try_from_secs_f32(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
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
            let told = self.rhythm.pulse(1, self.now, self.now);
            if matches!(told, Some(Trend::Slowing | Trend::Hurrying)) {
                self.alarms += 1;
            }
            self.rhythm.trend
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
            rhythm: heart.rhythm,
            now: heart.now,
            alarms: 0,
        };
        for _ in 0..40 {
            heart.beat(2.0 + 0.2 * dice.throw());
            little.beat(9.5 + dice.throw());
        }
        assert_eq!(heart.rhythm.trend, Trend::Hurrying);
        assert_eq!(little.rhythm.trend, Trend::Steady);
        // It becomes the new normal.
        for _ in 0..1_000 {
            heart.beat(2.0 + 0.2 * dice.throw());
        }
        assert_eq!(heart.rhythm.trend, Trend::Steady);
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
    fn the_learnt_interval_covers_the_usual_gaps_and_does_not_waver() {
        let mut dice = Dice(13);
        let mut heart = Heart::new();
        let mut seen = std::collections::BTreeSet::new();
        for beat in 0..5_000 {
            let gap = 10.0 * (1.0 + 0.05 * dice.normal());
            heart.beat(gap);
            if beat > 500 {
                seen.insert(heart.rhythm.interval().expect("learnt"));
            }
        }
        let (least, most) = (seen.first().unwrap(), seen.last().unwrap());
        assert!(*least >= Duration::from_secs(11), "{seen:?}");
        assert!(*most <= Duration::from_secs(15), "{seen:?}");
        let mut fast = Heart::new();
        for _ in 0..100 {
            fast.beat(0.000_01);
        }
        assert_eq!(fast.rhythm.interval(), Some(Duration::from_millis(100)));
    }

    #[test]
    fn more_errors_than_ever_are_told() {
        let mut heart = Heart::new();
        for beat in 0..500 {
            heart.beat(10.0);
            if beat % 20 == 0 {
                heart.rhythm.error();
            }
        }
        assert!(!heart.outlook().erring);
        for _ in 0..20 {
            heart.beat(10.0);
            heart.rhythm.error();
        }
        assert!(heart.outlook().erring);
    }

    #[test]
    fn a_rest_is_no_gap() {
        let mut heart = Heart::new();
        for _ in 0..100 {
            heart.beat(10.0);
        }
        let before = heart.rhythm;
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
            let mut rhythm = Rhythm::default();
            let mut now = Time(1);
            for (gap, count, spread) in gaps {
                let first = now + Duration::from_nanos(gap);
                now = first + Duration::from_nanos(spread);
                rhythm.pulse(count, first, now);
                let outlook = rhythm.outlook(now, Duration::from_secs(1));
                prop_assert!(outlook.suspicion.is_none_or(f64::is_finite));
                prop_assert!(outlook.predicted_miss_at.is_none_or(|at| at >= now));
                let json = serde_json::to_string(&rhythm).unwrap();
                prop_assert_eq!(serde_json::from_str::<Rhythm>(&json).unwrap(), rhythm);
            }
        }
    }
}
