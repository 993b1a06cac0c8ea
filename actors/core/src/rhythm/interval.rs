//! `interval = "auto"`: the interval that a service would promise, learnt from how it pulses.
//!
//! ```text
//!   the first 12 gaps ──▶ usual, high ──▶ interval
//!   each further gap ──▶ usual: what a tenth of all gaps exceed       ─┐ half as far above high
//!                   └──▶ high: what one gap in two hundred exceeds    ─┘ as high is above usual
//! ```
//!
//! Both are quantiles, tracked by steps: a gap above lifts one by a fixed share, one below
//! lowers it by as much less as gaps above are rarer (H. Robbins and S. Monro, "A Stochastic
//! Approximation Method", Annals of Mathematical Statistics 22, 1951; of ln(gap), so that steps
//! are shares). So a single gap says little however long it is: a hang is not learnt. What is
//! usual for a service, lost pulses or a burst among them, is, up to [`MOST_ABOVE`] times the
//! usual gap. What goes down goes down slowly: nobody becomes late for having been quick for a
//! while.
//!
//! While a drift builds up nothing is learnt (see [`Learner::learn`]): it is told, and becomes
//! lateness where it goes on.

use std::time::Duration;

use crate::policy::Policy;

/// So many gaps are looked at before an interval is promised.
pub(super) const FIRST: usize = 12;
/// How far a gap above and one below move the usual gap: as 9 to 1.
const USUAL_UP: f32 = 0.009;
const USUAL_DOWN: f32 = 0.001;
/// The same of the high gap: as 199 to 1.
const HIGH_UP: f32 = 0.03;
const HIGH_DOWN: f32 = HIGH_UP / 199.0;
/// Of the first gaps the second longest is the usual one (a single outlier is none), and the high
/// one is above it by so many times what it is above the median.
const FIRST_ABOVE: f32 = 1.5;
/// The interval is at least and at most so many times the usual gap.
const LEAST_ABOVE: f32 = 1.05;
const MOST_ABOVE: f32 = 3.0;
/// How far above the usual gap the interval is, in what the high one is above it. For normal
/// gaps that is 3.2 standard deviations above their mean, and the grace comes on top.
const ABOVE: f32 = 1.5;
/// An interval that would be this much shorter is learnt anew.
const SHORTER: f32 = 0.7;

/// The mantissas that an interval is rounded up to, so that it does not change with every beat:
/// the E24 series of IEC 60063, about 10 % apart.
const SERIES: [f32; 25] = [
    1.0, 1.1, 1.2, 1.3, 1.5, 1.6, 1.8, 2.0, 2.2, 2.4, 2.7, 3.0, 3.3, 3.6, 3.9, 4.3, 4.7, 5.1, 5.6,
    6.2, 6.8, 7.5, 8.2, 9.1, 10.0,
];

/// Learns the interval of one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Learner {
    /// ln of the first gaps in seconds; all of them once there is an interval.
    pub(super) first: Vec<f32>,
    /// ln of the usual and of the high gap.
    pub(super) usual: f32,
    pub(super) high: f32,
    /// The interval, once there is one.
    pub(super) interval: Option<Duration>,
}

impl Learner {
    /// A gap of e^`x` seconds. `held`: it may be the beginning of a drift. Gives the interval if
    /// it is another than before.
    pub(super) fn learn(&mut self, x: f32, held: bool) -> Option<Duration> {
        let Some(present) = self.interval else {
            self.first.push(x);
            return self.begin();
        };
        if held {
            return None;
        }
        self.usual += if x > self.usual {
            USUAL_UP
        } else {
            -USUAL_DOWN
        };
        self.high += if x > self.high { HIGH_UP } else { -HIGH_DOWN };
        // Further up it would have to come down again before it says anything.
        self.high = self.high.clamp(self.usual, self.usual + MOST_ABOVE.ln());
        let interval = self.figure();
        let changed = interval > present || interval < present.mul_f32(SHORTER);
        changed.then(|| {
            self.interval = Some(interval);
            interval
        })
    }

    /// How many gaps it has seen of those that it waits for.
    pub(super) fn seen(&self) -> u32 {
        self.first.len() as u32
    }

    fn begin(&mut self) -> Option<Duration> {
        if self.first.len() < FIRST {
            return None;
        }
        self.first.sort_unstable_by(f32::total_cmp);
        let (middle, usual) = (self.first[FIRST / 2], self.first[FIRST - 2]);
        self.first = Vec::new();
        self.usual = usual;
        self.high = usual + FIRST_ABOVE * (usual - middle).min(MOST_ABOVE.ln());
        self.interval = Some(self.figure());
        self.interval
    }

    /// What the gaps amount to.
    fn figure(&self) -> Duration {
        let above = (ABOVE * (self.high - self.usual)).clamp(LEAST_ABOVE.ln(), MOST_ABOVE.ln());
        round_up((self.usual + above).exp()).max(Policy::LEAST_INTERVAL)
    }
}

/// To the next of the series.
fn round_up(seconds: f32) -> Duration {
    let decade = 10_f32.powf(seconds.max(1e-6).log10().floor());
    // What was rounded before stays what it was.
    let mantissa = seconds / decade * 0.999;
    let rounded = SERIES.iter().find(|step| **step >= mantissa);
    let rounded = rounded.copied().unwrap_or(10.0) * decade;
    // Whole milliseconds, where that is enough.
    let ms = (f64::from(rounded) * 1e3).round();
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or(Duration::MAX)
}
