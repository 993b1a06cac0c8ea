//! Throws of the dice, for jitter.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::rand::{GetRandomFlags, getrandom};

use supervisor_actors::ports::Clock as _;
use supervisor_actors::ports::Dice;

use crate::adapters::clock::RealClock;

/// SplitMix64 (Steele, Lea, Flood 2014): one atomic addition a throw, good enough to spread
/// retries, never to be used for secrets.
#[derive(Debug)]
pub(crate) struct RealDice {
    state: AtomicU64,
}

/// The odd constant nearest to 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl RealDice {
    /// Dice that no other process throws alike.
    pub(crate) fn new() -> Self {
        let mut seed = [0; 8];
        // Early in a boot the kernel may have no randomness yet: we do not wait for it, the
        // clock will do for jitter.
        let seed = match getrandom(&mut seed, GetRandomFlags::NONBLOCK) {
            Ok(8) => u64::from_ne_bytes(seed),
            Ok(_) | Err(_) => RealClock.mono().0 ^ u64::from(std::process::id()) << 32,
        };
        Self {
            state: AtomicU64::new(seed),
        }
    }
}

impl Dice for RealDice {
    fn roll(&self) -> f64 {
        let mut z = self
            .state
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 53 bits are what a double holds exactly: never 1.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let roll = (z >> 11) as f64 / (1_u64 << 53) as f64;
        roll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_stay_within_their_range_and_spread_over_it() {
        let dice = RealDice::new();
        let mut tenths = [0_u32; 10];
        for _ in 0..100_000 {
            let roll = dice.roll();
            assert!((0.0..1.0).contains(&roll), "{roll}");
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 9"
            )]
            let tenth = (roll * 10.0) as usize;
            tenths[tenth] += 1;
        }
        // Six standard deviations (95 each) around 10,000.
        assert!(
            tenths.iter().all(|n| (9_400..10_600).contains(n)),
            "{tenths:?}"
        );
    }

    #[test]
    fn two_dice_throw_differently() {
        assert_ne!(
            RealDice::new().roll().to_bits(),
            RealDice::new().roll().to_bits()
        );
    }
}
