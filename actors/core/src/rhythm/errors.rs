//! How often a service errs, and whether that has become more than it used to be.
//!
//! Each pulse and each error is a throw of a coin. Its usual share of errors p₀ is learnt, and
//! the sum of log-likelihood ratios for a markedly larger share p₁ is kept, never below zero:
//! the Bernoulli CUSUM of M. R. Reynolds and Z. G. Stoumbos, "A CUSUM Chart for Monitoring a
//! Proportion When Inspecting Continuously" (Journal of Quality Technology 31, 1999). With p₀
//! known a sum that reaches h comes by chance once in eʰ throws at most (G. Lorden,
//! "Procedures for Reacting to a Change in Distribution", Annals of Mathematical Statistics 42,
//! 1971, section 2).
//!
//! p₀ is not known but learnt, so it is taken from the upper end of what the throws so far allow
//! (A. Agresti and B. A. Coull, "Approximate Is Better than 'Exact'", The American Statistician
//! 52, 1998: two successes and two failures more): who has been seen little is given much
//! credit.

/// Throws before which nothing is said.
const LEARNT: u16 = 24;
/// As many throws weigh in the learnt share.
const MEMORY: u16 = 1_024;
/// The sum from which on it errs more than it used to: one false alarm in 10⁵ throws at most.
const LIMIT: f32 = 11.5;
/// The sum below which that is over.
const OVER: f32 = 2.0;
/// The sum is cut there, so that the end is seen soon.
const MOST: f32 = 23.0;
/// How far above the learnt share p₀ is, in its standard errors.
const CREDIT: f32 = 1.28;
/// p₀ is within these: a first error is no alarm, and there is always more to become.
const LEAST_SHARE: f32 = 0.01;
const MOST_SHARE: f32 = 0.95;
/// p₁: so much larger in odds, or by so much, whichever is more.
const ODDS: f32 = 3.0;
const RISE: f32 = 0.1;

/// What is learnt of a service's errors.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Errors {
    /// Errors among all that was seen, the youngest counting most.
    pub(super) share: f32,
    /// How many throws were seen, up to [`MEMORY`].
    pub(super) seen: u16,
    pub(super) sum: f32,
    pub(super) erring: bool,
}

impl Errors {
    /// So many pulses without an error.
    pub(super) fn pulses(&mut self, count: u32) {
        if self.seen >= LEARNT {
            let (usual, more) = self.shares();
            let less = ((1.0 - more) / (1.0 - usual)).ln();
            self.sum = (self.sum + less * count as f32).max(0.0);
        }
        // The first throws count as much as each other.
        let room = u32::from(MEMORY - self.seen.min(MEMORY));
        let fresh = count.min(room) as u16;
        if fresh > 0 {
            self.share *= f32::from(self.seen) / f32::from(self.seen + fresh);
            self.seen += fresh;
        }
        let kept = 1.0 - 1.0 / f32::from(MEMORY);
        self.share *= kept.powf((count - u32::from(fresh)) as f32);
        self.judge();
    }

    /// An error.
    pub(super) fn error(&mut self) {
        if self.seen >= LEARNT {
            let (usual, more) = self.shares();
            self.sum = (self.sum + (more / usual).ln()).min(MOST);
        }
        self.seen = self.seen.saturating_add(1).min(MEMORY);
        self.share += (1.0 - self.share) / f32::from(self.seen);
        self.judge();
    }

    /// A new life is judged afresh; what was learnt stays.
    pub(super) fn forgive(&mut self) {
        self.sum = 0.0;
        self.erring = false;
    }

    /// Whether throws can come to that.
    pub(super) fn is_sane(share: f32, seen: u16, sum: f32) -> bool {
        (0.0..=1.0).contains(&share) && seen <= MEMORY && (0.0..=MOST).contains(&sum)
    }

    /// As they were when these were kept. Between its limits the sum does not say whether
    /// it was erring: then it is not, until it errs again.
    pub(super) fn kept(share: f32, seen: u16, sum: f32) -> Self {
        Self {
            share,
            seen,
            sum,
            erring: sum >= LIMIT,
        }
    }

    /// p₀ and p₁.
    fn shares(&self) -> (f32, f32) {
        let seen = f32::from(self.seen);
        let middle = (self.share * seen + 2.0) / (seen + 4.0);
        let error = (middle * (1.0 - middle) / (seen + 4.0)).sqrt();
        let usual = (middle + CREDIT * error).clamp(LEAST_SHARE, MOST_SHARE);
        let odds = ODDS * usual / (1.0 - usual);
        let more = (odds / (1.0 + odds)).max((usual + RISE).min(0.99));
        (usual, more)
    }

    fn judge(&mut self) {
        self.erring = self.sum >= if self.erring { OVER } else { LIMIT };
    }
}
