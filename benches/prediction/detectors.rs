//! Failure detectors from the literature and from programs that use them. All times in seconds.

use std::collections::VecDeque;
use std::time::Duration;

use supervisor_core::Time;
use supervisor_core::rhythm::{Rhythm, Trend, phi};

/// Gaps that are remembered, where a detector has a window.
const WINDOW: usize = 1_000;

pub(crate) trait Detector {
    /// A pulse has come. Says whether this pulse made it warn, though nothing is late.
    fn beat(&mut self, now: f64) -> bool;
    /// When it will suspect the service if no pulse comes before.
    fn suspects_at(&self) -> f64;
}

/// The last gaps: mean and variance, kept up by sums.
#[derive(Default)]
struct Window {
    gaps: VecDeque<f64>,
    sum: f64,
    squares: f64,
    last: Option<f64>,
}

impl Window {
    fn beat(&mut self, now: f64) {
        if let Some(last) = self.last.replace(now) {
            let gap = now - last;
            self.gaps.push_back(gap);
            self.sum += gap;
            self.squares += gap * gap;
            if self.gaps.len() > WINDOW
                && let Some(old) = self.gaps.pop_front()
            {
                self.sum -= old;
                self.squares -= old * old;
            }
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.gaps.len() as f64
    }

    fn deviation(&self) -> f64 {
        let mean = self.mean();
        (self.squares / self.gaps.len() as f64 - mean * mean)
            .max(0.0)
            .sqrt()
    }

    /// The last pulse, once there is a gap to judge by.
    fn learnt(&self) -> Option<f64> {
        self.last.filter(|_| self.gaps.len() > 10)
    }
}

/// A timeout: what levels are made of.
pub(crate) struct Fixed {
    timeout: f64,
    last: f64,
}

impl Fixed {
    pub(crate) fn new(timeout: f64) -> Self {
        Self { timeout, last: 0.0 }
    }
}

impl Detector for Fixed {
    fn beat(&mut self, now: f64) -> bool {
        self.last = now;
        false
    }

    fn suspects_at(&self) -> f64 {
        self.last + self.timeout
    }
}

/// How φ takes gaps to be distributed.
pub(crate) enum Tails {
    /// As Hayashibara, Défago, Yared and Katayama have it (SRDS 2004), and Akka after them: the
    /// deviation is 100 ms at least, and a pause is added to the mean.
    Normal { pause: f64 },
    /// As Cassandra has it (CASSANDRA-2597).
    Exponential,
}

/// The φ accrual detector.
pub(crate) struct Phi {
    threshold: f64,
    tails: Tails,
    window: Window,
}

impl Phi {
    pub(crate) fn new(threshold: f64, tails: Tails) -> Self {
        Self {
            threshold,
            tails,
            window: Window::default(),
        }
    }
}

impl Detector for Phi {
    fn beat(&mut self, now: f64) -> bool {
        self.window.beat(now);
        false
    }

    fn suspects_at(&self) -> f64 {
        const LEAST_DEVIATION: f64 = 0.1;
        let Some(last) = self.window.learnt() else {
            return f64::INFINITY;
        };
        let mean = self.window.mean();
        last + match self.tails {
            Tails::Exponential => self.threshold * std::f64::consts::LN_10 * mean,
            Tails::Normal { pause } => {
                let deviation = self.window.deviation().max(LEAST_DEVIATION);
                mean + pause + deviation * quantile(self.threshold)
            }
        }
    }
}

/// How many deviations above the mean φ reaches that value.
fn quantile(threshold: f64) -> f64 {
    let (mut below, mut above) = (0.0, 40.0);
    for _ in 0..60 {
        let middle = (below + above) / 2.0;
        if phi(middle, 0.0, 1.0) < threshold {
            below = middle;
        } else {
            above = middle;
        }
    }
    above
}

/// Chen, Toueg and Aguilera ("On the Quality of Service of Failure Detectors", IEEE Transactions
/// on Computers 51, 2002): the next arrival as the last ones let expect it, and a constant
/// margin. Theirs counts from when messages were sent; pulses carry no such time, so arrivals
/// are expected a mean gap after the last.
pub(crate) struct Chen {
    margin: f64,
    window: Window,
}

impl Chen {
    pub(crate) fn new(margin: f64) -> Self {
        Self {
            margin,
            window: Window::default(),
        }
    }
}

impl Detector for Chen {
    fn beat(&mut self, now: f64) -> bool {
        self.window.beat(now);
        false
    }

    fn suspects_at(&self) -> f64 {
        self.window.learnt().map_or(f64::INFINITY, |last| {
            last + self.window.mean() + self.margin
        })
    }
}

/// Bertier, Marin and Sens ("Implementation and performance evaluation of an adaptable failure
/// detector", DSN 2002): Chen's arrival with a margin that Jacobson's estimate sets.
#[derive(Default)]
pub(crate) struct Bertier {
    window: Window,
    delay: f64,
    deviation: f64,
}

impl Detector for Bertier {
    fn beat(&mut self, now: f64) -> bool {
        const GAMMA: f64 = 0.1;
        if let Some(last) = self.window.learnt() {
            let error = now - last - self.window.mean() - self.delay;
            self.delay += GAMMA * error;
            self.deviation += GAMMA * (error.abs() - self.deviation);
        }
        self.window.beat(now);
        false
    }

    fn suspects_at(&self) -> f64 {
        const BETA: f64 = 1.0;
        const PHI: f64 = 4.0;
        self.window.learnt().map_or(f64::INFINITY, |last| {
            last + self.window.mean() + BETA * self.delay + PHI * self.deviation
        })
    }
}

/// Ours where the interval is learnt: the deadline of the first level follows it, and there is a
/// word before it where the rhythm slows down.
pub(crate) struct Auto {
    rhythm: Rhythm,
    last: f64,
}

impl Auto {
    pub(crate) fn new() -> Self {
        Self {
            rhythm: Rhythm::learning(),
            last: 0.0,
        }
    }
}

impl Detector for Auto {
    fn beat(&mut self, now: f64) -> bool {
        self.last = now;
        let at = Time(1_000_000_000) + Duration::from_secs_f64(now);
        self.rhythm.pulse(1, at, at).trend == Some(Trend::Slowing)
    }

    fn suspects_at(&self) -> f64 {
        /// Of the interval, as by default.
        const GRACE: f64 = 1.1;
        let interval = self.rhythm.interval();
        interval.map_or(f64::INFINITY, |interval| {
            self.last + GRACE * interval.as_secs_f64()
        })
    }
}

/// Ours: the deadline of the first level, and a word before it where the rhythm slows down.
pub(crate) struct Ours {
    rhythm: Rhythm,
    deadline: f64,
    last: f64,
}

impl Ours {
    pub(crate) fn new(deadline: f64) -> Self {
        Self {
            rhythm: Rhythm::default(),
            deadline,
            last: 0.0,
        }
    }
}

impl Detector for Ours {
    fn beat(&mut self, now: f64) -> bool {
        self.last = now;
        // From a second on: 0 stands for no pulse yet.
        let at = Time(1_000_000_000) + Duration::from_secs_f64(now);
        self.rhythm.pulse(1, at, at).trend == Some(Trend::Slowing)
    }

    fn suspects_at(&self) -> f64 {
        self.last + self.deadline
    }
}
