//! Whether the target is sent anything now.
//!
//! ```text
//!            Retry                          rested: one batch
//!   open ──────────▶ resting, ever longer ────────────────────▶ trying ──taken──▶ open
//!                        ▲                                        │ Retry
//!                        └────────────────────────────────────────┘
//! ```
//!
//! After an outage one batch goes first; only when that is taken do the others. Every rest is
//! blurred, so that many of us do not come back together.

use std::time::Duration;

use crate::time::Mono;

/// The shortest rest.
const LEAST: Duration = Duration::from_secs(1);
/// The longest, whatever the target asks for.
pub const LONGEST: Duration = Duration::from_secs(5 * 60);
/// The share by which a rest is blurred.
const BLUR: f64 = 0.5;

/// The door to a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Gate {
    /// All lanes may send.
    #[default]
    Open,
    /// Nobody may.
    Resting {
        /// Until then.
        until: Mono,
        /// How often in a row it has said no.
        failures: u32,
        /// Why, the last time.
        why: String,
    },
    /// One lane is trying.
    Trying {
        /// How often in a row it has said no.
        failures: u32,
        /// Why, the last time.
        why: String,
    },
}

impl Gate {
    /// Whether a batch may go now, while so many are in flight. The one that goes first after
    /// a rest is let through once.
    pub fn pass(&mut self, in_flight: usize, now: Mono) -> bool {
        match self {
            Self::Open => true,
            Self::Trying { .. } => false,
            Self::Resting {
                until,
                failures,
                why,
            } => {
                if now < *until || in_flight > 0 {
                    return false;
                }
                *self = Self::Trying {
                    failures: *failures,
                    why: std::mem::take(why),
                };
                true
            }
        }
    }

    /// The one that was let through had nothing to send after all.
    pub fn back(&mut self, now: Mono) {
        if let Self::Trying { failures, why } = self {
            *self = Self::Resting {
                until: now,
                failures: *failures,
                why: std::mem::take(why),
            };
        }
    }

    /// The target has answered something else than "not now".
    pub fn answered(&mut self) {
        *self = Self::Open;
    }

    /// The target says "not now", and perhaps when. `roll` in 0..1.
    pub fn refused(&mut self, after: Option<Duration>, why: &str, now: Mono, roll: f64) {
        let failures = match self {
            Self::Open => 0,
            Self::Resting { failures, .. } | Self::Trying { failures, .. } => *failures,
        };
        let late = match self {
            Self::Resting { until, .. } => *until,
            Self::Open | Self::Trying { .. } => now,
        };
        // Lanes that were under way together count once.
        let again = matches!(self, Self::Resting { .. });
        let failures = if again {
            failures.max(1)
        } else {
            failures.saturating_add(1)
        };
        let rest = rest(failures, after, roll);
        *self = Self::Resting {
            until: late.max(now + rest),
            failures,
            why: why.to_owned(),
        };
    }

    /// When to ask again, if not now.
    #[must_use]
    pub fn until(&self) -> Option<Mono> {
        match self {
            Self::Resting { until, .. } => Some(*until),
            Self::Open | Self::Trying { .. } => None,
        }
    }

    /// Why nothing is sent, or only one batch, and how often that was said in a row.
    #[must_use]
    pub fn trouble(&self) -> Option<(&str, u32)> {
        match self {
            Self::Open => None,
            Self::Resting { why, failures, .. } | Self::Trying { why, failures } => {
                Some((why, *failures))
            }
        }
    }
}

/// How long to rest after so many refusals in a row. What the target asks for is never
/// undercut, and capped.
fn rest(failures: u32, after: Option<Duration>, roll: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let ours = LEAST.saturating_mul(1 << doublings).min(LONGEST);
    let blur = 1.0 + BLUR * (roll.clamp(0.0, 1.0) - 0.5) * 2.0;
    let ours = ours.mul_f64(blur);
    match after {
        None => ours.min(LONGEST),
        // At least what it asks for, and up to a tenth more.
        Some(after) => after
            .min(LONGEST)
            .mul_f64(1.0 + roll.clamp(0.0, 1.0) / 10.0)
            .max(LEAST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono(1_000_000_000_000);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_open_gate_lets_everybody_through() {
        let mut gate = Gate::default();
        assert!(gate.pass(0, NOW) && gate.pass(3, NOW));
        assert_eq!(gate.trouble(), None);
    }

    #[test]
    fn after_a_rest_one_goes_first() {
        let mut gate = Gate::default();
        gate.refused(None, "down", NOW, 0.5);
        assert_eq!(gate.until(), Some(NOW + secs(1)));
        assert_eq!(gate.trouble(), Some(("down", 1)));
        assert!(!gate.pass(0, NOW));
        let later = NOW + secs(1);
        assert!(!gate.pass(1, later), "others are still under way");
        assert!(gate.pass(0, later));
        assert!(!gate.pass(1, later));
        gate.answered();
        assert!(gate.pass(1, later));
    }

    #[test]
    fn rests_grow_to_five_minutes() {
        let mut gate = Gate::default();
        let mut now = NOW;
        let mut rests = Vec::new();
        for _ in 0..11 {
            gate.refused(None, "down", now, 0.5);
            let until = gate.until().unwrap();
            rests.push(until.since(now).as_secs());
            now = until;
            assert!(gate.pass(0, now));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        gate.answered();
        gate.refused(None, "down", now, 0.5);
        assert_eq!(gate.until(), Some(now + secs(1)));
    }

    #[test]
    fn four_lanes_that_fail_together_count_once() {
        let mut gate = Gate::default();
        for _ in 0..4 {
            gate.refused(None, "down", NOW, 0.5);
        }
        assert_eq!(gate.trouble(), Some(("down", 1)));
    }

    #[test]
    fn f58_rests_differ_so_that_many_do_not_come_back_together() {
        let until = |roll| {
            let mut gate = Gate::default();
            gate.refused(None, "down", NOW, roll);
            gate.until().unwrap().since(NOW)
        };
        assert_eq!(until(0.0), Duration::from_millis(500));
        assert_eq!(until(1.0), Duration::from_millis(1_500));
    }

    #[test]
    fn f50_what_the_target_asks_for_is_honoured_and_capped() {
        let until = |after, roll| {
            let mut gate = Gate::default();
            gate.refused(Some(after), "slowly", NOW, roll);
            gate.until().unwrap().since(NOW)
        };
        assert_eq!(until(secs(30), 0.0), secs(30));
        assert_eq!(until(secs(30), 1.0), secs(33));
        assert_eq!(until(Duration::ZERO, 0.0), secs(1));
        assert_eq!(until(Duration::MAX, 0.0), LONGEST);
    }

    #[test]
    fn one_that_has_nothing_to_send_gives_its_turn_back() {
        let mut gate = Gate::default();
        gate.refused(None, "down", NOW, 0.5);
        let later = NOW + secs(2);
        assert!(gate.pass(0, later));
        gate.back(later);
        assert!(gate.pass(0, later));
        assert_eq!(gate.trouble(), Some(("down", 1)));
    }
}
