//! What of a rhythm outlives us: a short row of numbers beside the service's memory.
//!
//! `[1, 30000, 96, [2.7, 2.7, 0.04], "steady", [0.0, 0.0], [0.01, 1024, 0.0], null]`: the
//! version of this form; the interval that the owner gave, in milliseconds, 0 where it is
//! learnt; gaps; means and deviation; where they go; its sums; errors; what the interval is
//! learnt from. When it last pulsed is no part of it: what came while we were away nobody heard.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::errors::Errors;
use super::interval::{FIRST, Learner};
use super::{MOST, Rhythm, Trend};
use crate::policy::Policy;
use crate::time::Time;

/// The form that is written. One that means something else gets another number.
const VERSION: u8 = 1;
/// ln of a microsecond and of more time than there is on our clocks, in seconds.
const SHORTEST: f32 = -13.9;
const LONGEST: f32 = 25.0;

/// A rhythm as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept(
    u8,
    u64,
    u32,
    [f32; 3],
    Trend,
    [f32; 2],
    (f32, u16, f32),
    Option<Learnt>,
);

/// First gaps, usual and high gap, and the interval in milliseconds; 0 for none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learnt(Vec<f32>, f32, f32, u64);

/// Why what was kept cannot be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unkept {
    /// It is written otherwise.
    #[error("it is of version {0}, we know version {VERSION}")]
    Version(u8),
    /// No rhythm is like that.
    #[error("its numbers make no sense")]
    Nonsense,
}

impl Rhythm {
    /// What outlives us of the rhythm of a service whose owner gave it that interval; none where
    /// it is learnt.
    #[must_use]
    pub fn keep(&self, interval: Option<Duration>) -> Kept {
        let learnt = self.learner.as_deref().map(|learner| {
            let interval = learner.interval.map_or(0, ms);
            Learnt(learner.first.clone(), learner.usual, learner.high, interval)
        });
        let errors = self.errors;
        Kept(
            VERSION,
            interval.map_or(0, ms),
            self.gaps,
            [self.fast, self.slow, self.deviation],
            self.pace,
            [self.slower, self.faster],
            (errors.share, errors.seen, errors.sum),
            learnt,
        )
    }

    /// Goes on from what was kept; none where it was kept for another interval.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn go_on(kept: &Kept, interval: Option<Duration>) -> Result<Option<Self>, Unkept> {
        let Kept(version, of, gaps, means, pace, sums, (share, seen, sum), learnt) = kept;
        if *version != VERSION {
            return Err(Unkept::Version(*version));
        }
        if *of != interval.map_or(0, ms) || learnt.is_some() != interval.is_none() {
            return Ok(None);
        }
        let [fast, slow, deviation] = *means;
        let [slower, faster] = *sums;
        let gap = |x: f32| (SHORTEST..=LONGEST).contains(&x);
        let sane = gap(fast)
            && gap(slow)
            && (0.0..=2.0 * LONGEST).contains(&deviation)
            && (0.0..=MOST).contains(&slower)
            && (0.0..=MOST).contains(&faster)
            && Errors::is_sane(*share, *seen, *sum)
            && *pace != Trend::Erring;
        let learner = match learnt {
            None => None,
            Some(Learnt(first, usual, high, interval)) => {
                let interval = Duration::from_millis(*interval);
                let known = !interval.is_zero();
                let sane = if known {
                    gap(*usual)
                        && gap(*high)
                        && high >= usual
                        && first.is_empty()
                        && interval >= Policy::LEAST_INTERVAL
                } else {
                    first.len() < FIRST && first.iter().all(|x| gap(*x))
                };
                if !sane {
                    return Err(Unkept::Nonsense);
                }
                Some(Box::new(Learner {
                    first: first.clone(),
                    usual: *usual,
                    high: *high,
                    interval: known.then_some(interval),
                }))
            }
        };
        if !sane {
            return Err(Unkept::Nonsense);
        }
        Ok(Some(Self {
            last: Time(0),
            gaps: *gaps,
            fast,
            slow,
            deviation,
            slower,
            faster,
            pace: *pace,
            errors: Errors::kept(*share, *seen, *sum),
            learner,
        }))
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
