//! Synthetic gaps between pulses, in seconds, the same for each seed in every run.

/// The usual gap, and the interval that was promised.
pub(crate) const GAP: f64 = 15.0;
pub(crate) const INTERVAL: f64 = 30.0;
/// What an interval is late by at most: a tenth of it.
pub(crate) const GRACE: f64 = 3.0;

/// The beat at which [`drift`] would first miss the interval and its grace of a tenth, were
/// there no jitter: 15 s × 1.005ⁿ > 33 s.
pub(crate) const MISS: usize = 158;

const JITTER: f64 = 0.05;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
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

    fn jittered(&mut self) -> f64 {
        (GAP * (1.0 + JITTER * self.normal())).max(0.001)
    }
}

/// An even service.
pub(crate) fn jitter(seed: u64, beats: usize) -> Box<dyn Iterator<Item = f64>> {
    let mut dice = Dice(seed);
    Box::new((0..beats).map(move |_| dice.jittered()))
}

/// Pulses are lost on the way, in bursts: a good state that loses 1 %, a bad one that loses
/// half; a tenth altogether (Gilbert 1960, Elliott 1963).
pub(crate) fn lossy(seed: u64, beats: usize) -> Box<dyn Iterator<Item = f64>> {
    let mut dice = Dice(seed);
    let mut bad = false;
    Box::new((0..beats).map(move |_| {
        let mut gap = dice.jittered();
        loop {
            bad = dice.throw() < if bad { 0.8 } else { 0.045 };
            if dice.throw() >= if bad { 0.5 } else { 0.01 } {
                return gap;
            }
            gap += dice.jittered();
        }
    }))
}

/// One beat in a hundred waits for a pause with a heavy tail (garbage collection, a busy disk):
/// at least a second, Pareto with α = 1.5.
pub(crate) fn pausing(seed: u64, beats: usize) -> Box<dyn Iterator<Item = f64>> {
    let mut dice = Dice(seed);
    Box::new((0..beats).map(move |_| {
        let gap = dice.jittered();
        if dice.throw() < 0.01 {
            gap + dice.throw().max(1e-9).powf(-1.0 / 1.5)
        } else {
            gap
        }
    }))
}

/// Gaps that grow by 0.5 % a beat, up to the first that misses the interval.
pub(crate) fn drift(seed: u64) -> Vec<f64> {
    let mut dice = Dice(seed);
    (0..)
        .map(|beat| dice.jittered() * 1.005_f64.powi(beat))
        .take_while(|gap| *gap <= INTERVAL + GRACE)
        .collect()
}
