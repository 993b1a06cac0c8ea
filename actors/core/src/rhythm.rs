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

//!
//! Errors among its pulses are `errors`, an interval that is learnt is `interval`, what of all
//! this outlives us is `kept`.

mod errors;
mod interval;
mod kept;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;
use errors::Errors;
use interval::Learner;
pub use kept::{Kept, Unkept};

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
/// The sum from which on a drift may be building up: no interval is learnt from it.
const DOUBT: f32 = 4.0;

/// What is learnt of one service. Nothing is allocated unless its interval is learnt, too.
#[derive(Debug, Clone, PartialEq, Default)]
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
    /// Where the gaps go: never [`Trend::Erring`].
    pace: Trend,
    errors: Errors,
    learner: Option<Box<Learner>>,
}

/// What a pulse or an error brought to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noticed {
    /// The trend, if it is another than before.
    pub trend: Option<Trend>,
    /// The learnt interval, if it is another than before.
    pub interval: Option<Duration>,
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
    /// It reports errors more often than it used to.
    Erring,
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
    /// The share of its pulses and errors that are errors, as it was learnt.
    pub errors: f64,
}

impl Rhythm {
    /// Of a service whose interval is to be learnt.
    #[must_use]
    pub fn learning() -> Self {
        Self {
            learner: Some(Box::default()),
            ..Self::default()
        }
    }

    /// One or more pulses, received between `first` and `last`.
    pub fn pulse(&mut self, count: u32, first: Time, last: Time) -> Noticed {
        let before = self.trend();
        self.errors.pulses(count);
        let interval = self.beat(count, first, last);
        Noticed {
            interval,
            ..self.noticed(before)
        }
    }

    /// An error that came where a pulse was due: it is a beat all the same.
    pub fn failed(&mut self, at: Time) -> Noticed {
        let before = self.trend();
        self.errors.error();
        let interval = self.beat(1, at, at);
        Noticed {
            interval,
            ..self.noticed(before)
        }
    }

    /// Learns from gaps. Gives the interval if it is another than before.
    fn beat(&mut self, count: u32, first: Time, last: Time) -> Option<Duration> {
        let mut interval = None;
        if self.last != Time(0) {
            interval = self.learn(first.since(self.last));
        }
        // Folded pulses were too close to be told apart: one gap stands for all of them.
        if count > 1 {
            interval = self.learn(last.since(first) / (count - 1)).or(interval);
        }
        self.last = last;
        self.judge();
        interval
    }

    /// When it last pulsed, where the gap since then says something.
    #[must_use]
    pub fn last(&self) -> Option<Time> {
        (self.last != Time(0)).then_some(self.last)
    }

    /// It has reported an error, instead of a pulse or beside it, nobody knows: the gap around it
    /// says nothing.
    pub fn error(&mut self) -> Noticed {
        let before = self.trend();
        self.errors.error();
        self.last = Time(0);
        self.noticed(before)
    }

    /// The gap to the next pulse says nothing: a pause, idleness, our own absence. What was
    /// learnt is kept, a trend of its gaps that was building up is not.
    pub fn rest(&mut self) {
        self.last = Time(0);
        self.slower = 0.0;
        self.faster = 0.0;
        self.judge();
    }

    /// A new life is judged afresh. What was learnt is kept: it is the same program.
    pub fn begin_anew(&mut self) {
        self.rest();
        self.errors.forgive();
    }

    /// Where it goes.
    #[must_use]
    pub fn trend(&self) -> Trend {
        match self.pace {
            Trend::Slowing | Trend::Hurrying => self.pace,
            Trend::Learning | Trend::Steady | Trend::Erring if self.errors.erring => Trend::Erring,
            Trend::Learning | Trend::Steady | Trend::Erring => self.pace,
        }
    }

    /// What it says now of a service that is late after `deadline` (interval and grace).
    #[must_use]
    pub fn outlook(&self, now: Time, deadline: Duration) -> Outlook {
        let learnt = self.gaps >= LEARNT;
        let sigma = self.sigma();
        Outlook {
            trend: self.trend(),
            gap: learnt.then(|| seconds(self.fast.exp())),
            deviation: learnt.then(|| seconds(self.fast.exp() * sigma)),
            predicted_miss_at: self.predicted_miss(now, deadline),
            suspicion: (learnt && self.last != Time(0)).then(|| {
                let age = now.since(self.last).as_secs_f64();
                let mean = f64::from(self.fast.exp());
                phi(age, mean, mean * f64::from(sigma))
            }),
            errors: self.errors.share.into(),
        }
    }

    /// The interval that was learnt; none before enough is known, or where none is learnt.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.learner.as_ref()?.interval
    }

    /// How many gaps were seen of those that come before an interval, and how many these are.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        let learner = self.learner.as_ref()?;
        let seen = learner.seen();
        learner
            .interval
            .is_none()
            .then_some((seen, interval::FIRST as u32))
    }

    fn noticed(&self, before: Trend) -> Noticed {
        let trend = self.trend();
        Noticed {
            trend: (trend != before).then_some(trend),
            interval: None,
        }
    }

    /// Gives the learnt interval if it is another than before.
    fn learn(&mut self, gap: Duration) -> Option<Duration> {
        /// A microsecond: two receipts at the same instant have a logarithm, too.
        const LEAST: f32 = 1e-6;
        let x = gap.as_secs_f32().max(LEAST).ln();
        self.gaps = self.gaps.saturating_add(1);
        if self.gaps == 1 {
            (self.fast, self.slow) = (x, x);
            // Until more is known, half the gap either way is nothing unusual.
            self.deviation = 0.25;
            return self.learn_interval(x);
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
        self.learn_interval(x)
    }

    fn learn_interval(&mut self, x: f32) -> Option<Duration> {
        let held = self.slower >= DOUBT || self.pace == Trend::Slowing;
        self.learner.as_mut()?.learn(x, held)
    }

    fn judge(&mut self) {
        self.pace = match self.pace {
            _ if self.gaps < LEARNT => Trend::Learning,
            _ if self.slower >= LIMIT => Trend::Slowing,
            _ if self.faster >= LIMIT => Trend::Hurrying,
            Trend::Slowing if self.slower > OVER => Trend::Slowing,
            Trend::Hurrying if self.faster > OVER => Trend::Hurrying,
            Trend::Learning | Trend::Steady | Trend::Slowing | Trend::Hurrying | Trend::Erring => {
                Trend::Steady
            }
        };
    }

    /// ln(gap) grows by a straight line: when does it reach the deadline?
    fn predicted_miss(&self, now: Time, deadline: Duration) -> Option<Time> {
        if self.pace != Trend::Slowing || self.last == Time(0) {
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
            Self::Erring => "erring",
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
mod tests;
