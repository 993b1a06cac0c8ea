//! History: what is kept of a stretch of a service's life, so that stretches merge.
//!
//! A [`Slice`] is a minute, an hour or a day. Hours are merged minutes, days merged hours: counts
//! add up, means by their weight, and p99 comes from a sketch of the gaps between pulses, whose
//! buckets grow by a factor as in Masson, Rim and Lee, "DDSketch" (VLDB 2019): each value is
//! known to within 4.5 %, whatever is merged with whatever.
//!
//! Slices are packed for the database: a steady minute takes a dozen bytes. Durations are packed
//! by their logarithm, to within 0.04 %.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::level::Level;
use crate::metrics::{MOST, Rollup, is_name};

/// Buckets for each doubling of a gap.
const FINENESS: f32 = 8.0;
/// The most buckets of a sketch; beyond it the smallest are merged, which p99 never notices.
const MOST_BUCKETS: usize = 64;
/// A minute at one level, as it is usually cut: a little late or early.
const ABOUT_A_MINUTE: std::ops::RangeInclusive<u64> = 59_400..=60_600;
const MINUTE_MS: u64 = 60_000;
/// The levels in the order in which they are packed.
const LEVELS: [Level; 5] = [
    Level::Healthy,
    Level::Warning,
    Level::Degraded,
    Level::Critical,
    Level::Unknown,
];

/// What is kept of a stretch of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Slice {
    /// Milliseconds at each level, in the order healthy, warning, degraded, critical, unknown.
    pub levels: [u64; 5],
    /// Pulses.
    pub pulses: u64,
    /// Reported errors.
    pub errors: u64,
    /// Missed intervals.
    pub misses: u64,
    /// The gaps between pulses, in seconds.
    pub gaps: Option<Rollup>,
    /// How they are spread.
    pub sketch: Sketch,
    /// Its own figures.
    pub metrics: BTreeMap<Box<str>, Rollup>,
}

/// How many gaps fell into which bucket: those that are not empty, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch(Vec<(u16, u64)>);

/// The place of a level in [`Slice::levels`].
#[must_use]
pub fn place(level: Level) -> usize {
    match level {
        Level::Healthy => 0,
        Level::Warning => 1,
        Level::Degraded => 2,
        Level::Critical => 3,
        Level::Unknown => 4,
    }
}

/// The bucket of a gap.
#[must_use]
pub fn bucket(gap: Duration) -> u16 {
    let micros = gap.as_secs_f32() * 1e6;
    // Not negative, and at most 64 doublings.
    (micros.max(1.0).log2() * FINENESS) as u16
}

/// The middle of a bucket, in seconds.
fn middle(bucket: u16) -> f64 {
    ((f64::from(bucket) + 0.5) / f64::from(FINENESS)).exp2() / 1e6
}

impl Slice {
    /// Takes in all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (ms, more) in self.levels.iter_mut().zip(other.levels) {
            *ms = ms.saturating_add(more);
        }
        self.pulses = self.pulses.saturating_add(other.pulses);
        self.errors = self.errors.saturating_add(other.errors);
        self.misses = self.misses.saturating_add(other.misses);
        match (&mut self.gaps, &other.gaps) {
            (Some(gaps), Some(more)) => gaps.merge(more),
            (gaps @ None, more) => *gaps = *more,
            (Some(_), None) => {}
        }
        for &(bucket, count) in &other.sketch.0 {
            self.sketch.add(bucket, count);
        }
        for (name, more) in &other.metrics {
            if let Some(rollup) = self.metrics.get_mut(name) {
                rollup.merge(more);
            } else if self.metrics.len() < MOST {
                self.metrics.insert(name.clone(), *more);
            }
        }
    }

    /// How much time it covers, in milliseconds.
    #[must_use]
    pub fn covered(&self) -> u64 {
        let sum = |sum: u64, ms: &u64| sum.saturating_add(*ms);
        self.levels.iter().fold(0, sum)
    }

    /// The share of the judged time in which it was not critical; none where nobody judged it.
    #[must_use]
    pub fn uptime(&self) -> Option<f64> {
        let down = self.levels[place(Level::Critical)];
        let judged = self
            .covered()
            .saturating_sub(self.levels[place(Level::Unknown)]);
        (judged > 0).then(|| judged.saturating_sub(down) as f64 / judged as f64)
    }

    /// The gap than which one in a hundred is longer, in seconds.
    #[must_use]
    pub fn p99(&self) -> Option<f64> {
        let gaps = self.gaps?;
        let value = self.sketch.p99()?;
        Some(value.clamp(gaps.min, gaps.max))
    }

    // --- packed ---

    /// Appends it to packed ones.
    pub fn pack(&self, out: &mut Vec<u8>) {
        let at: Vec<usize> = (0..LEVELS.len())
            .filter(|at| self.levels[*at] > 0)
            .collect();
        let minute = match at[..] {
            [only] if ABOUT_A_MINUTE.contains(&self.levels[only]) => Some(only as u8),
            _ => None,
        };
        let flags = u8::from(self.errors > 0)
            | u8::from(self.misses > 0) << 1
            | u8::from(self.gaps.is_some()) << 2
            | u8::from(!self.metrics.is_empty()) << 3
            | u8::from(minute.is_some()) << 4
            | minute.unwrap_or(0) << 5;
        out.push(flags);
        if minute.is_none() {
            out.push(at.iter().fold(0, |mask, at| mask | 1 << at));
            for at in at {
                put(out, self.levels[at]);
            }
        }
        put(out, self.pulses);
        if self.errors > 0 {
            put(out, self.errors);
        }
        if self.misses > 0 {
            put(out, self.misses);
        }
        if let Some(gaps) = &self.gaps {
            put(out, gaps.count);
            for value in [gaps.min, gaps.mean, gaps.max] {
                out.extend_from_slice(&code(value).to_le_bytes());
            }
            put(out, self.sketch.0.len() as u64);
            let mut before = 0;
            for (n, &(bucket, count)) in self.sketch.0.iter().enumerate() {
                put(out, u64::from(bucket - before));
                before = bucket;
                // The last one is what is left.
                if n + 1 < self.sketch.0.len() {
                    put(out, count);
                }
            }
        }
        if !self.metrics.is_empty() {
            put(out, self.metrics.len() as u64);
            for (name, rollup) in &self.metrics {
                put(out, name.len() as u64);
                out.extend_from_slice(name.as_bytes());
                put(out, rollup.count);
                for value in [rollup.min, rollup.mean, rollup.max] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
            }
        }
    }

    /// Takes one from packed ones; none where they are garbled.
    pub fn unpack(from: &mut &[u8]) -> Option<Self> {
        let mut slice = Self::default();
        let flags = byte(from)?;
        let has = |bit: u8| flags & (1 << bit) != 0;
        if has(4) {
            *slice.levels.get_mut(usize::from(flags >> 5))? = MINUTE_MS;
        } else {
            let mask = byte(from)?;
            for (at, ms) in slice.levels.iter_mut().enumerate() {
                if mask & (1 << at) != 0 {
                    *ms = take(from)?;
                }
            }
        }
        slice.pulses = take(from)?;
        if has(0) {
            slice.errors = take(from)?;
        }
        if has(1) {
            slice.misses = take(from)?;
        }
        if has(2) {
            let count = take(from)?;
            let (min, mean, max) = (decoded(from)?, decoded(from)?, decoded(from)?);
            slice.gaps = Some(rollup(count, min, mean, max)?);
            let buckets = take(from)?;
            let (mut left, mut bucket) = (count, 0_u16);
            for n in 1..=buckets.min(MOST_BUCKETS as u64) {
                bucket = bucket.checked_add(u16::try_from(take(from)?).ok()?)?;
                let count = if n < buckets { take(from)? } else { left };
                left = left.saturating_sub(count);
                slice.sketch.0.push((bucket, count));
            }
        }
        if has(3) {
            for _ in 0..take(from)? {
                let length = usize::try_from(take(from)?).ok()?;
                let (name, rest) = from.split_at_checked(length)?;
                *from = rest;
                let name = std::str::from_utf8(name)
                    .ok()
                    .filter(|name| is_name(name))?;
                let count = take(from)?;
                let (min, mean, max) = (float(from)?, float(from)?, float(from)?);
                let rollup = rollup(count, min, mean, max)?;
                slice.metrics.insert(name.into(), rollup);
            }
        }
        Some(slice)
    }
}

impl Sketch {
    /// So many more gaps of that bucket.
    pub fn add(&mut self, bucket: u16, count: u64) {
        match self.0.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => {
                self.0.insert(at, (bucket, count));
                if self.0.len() > MOST_BUCKETS {
                    let (_, count) = self.0.remove(0);
                    self.0[0].1 = self.0[0].1.saturating_add(count);
                }
            }
        }
    }

    fn p99(&self) -> Option<f64> {
        let all = self
            .0
            .iter()
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        let rank = all - all / 100;
        let mut seen = 0;
        for &(bucket, count) in &self.0 {
            seen = count.saturating_add(seen);
            if seen >= rank && count > 0 {
                return Some(middle(bucket));
            }
        }
        None
    }
}

/// Four numbers that can be one.
fn rollup(count: u64, min: f64, mean: f64, max: f64) -> Option<Rollup> {
    (count > 0 && min <= mean && mean <= max).then_some(Rollup {
        count,
        min,
        mean,
        max,
    })
}

/// Seconds by their logarithm.
fn code(seconds: f64) -> u16 {
    ((seconds * 1e6).max(1.0).log2() * 1000.0).round() as u16
}

fn decoded(from: &mut &[u8]) -> Option<f64> {
    let (code, rest) = from.split_first_chunk::<2>()?;
    *from = rest;
    Some((f64::from(u16::from_le_bytes(*code)) / 1000.0).exp2() / 1e6)
}

fn float(from: &mut &[u8]) -> Option<f64> {
    let (bytes, rest) = from.split_first_chunk::<8>()?;
    *from = rest;
    Some(f64::from_le_bytes(*bytes)).filter(|value| value.is_finite())
}

/// Seven bits a byte, the lowest first (LEB128).
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What [`put`] has put; none where it is garbled.
pub fn take(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(from)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn byte(from: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = from.split_first()?;
    *from = rest;
    Some(*byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_gaps(gaps: &[f64]) -> Slice {
        let mut slice = Slice::default();
        for gap in gaps {
            let one = Slice {
                gaps: Some(Rollup::of(*gap)),
                sketch: Sketch(vec![(bucket(Duration::from_secs_f64(*gap)), 1)]),
                pulses: 1,
                ..Slice::default()
            };
            slice.merge(&one);
        }
        slice
    }

    #[test]
    fn a_steady_minute_takes_a_dozen_bytes() {
        let mut slice = of_gaps(&[10.01, 9.98, 10.0, 10.02, 9.99, 10.0]);
        slice.levels[0] = 60_004;
        let mut packed = Vec::new();
        slice.pack(&mut packed);
        assert!(packed.len() <= 14, "{} bytes", packed.len());
        let read = Slice::unpack(&mut &packed[..]).expect("whole");
        assert_eq!(read.levels, [60_000, 0, 0, 0, 0]);
        assert_eq!((read.pulses, read.gaps.expect("gaps").count), (6, 6));
        assert_eq!(read.sketch, slice.sketch);
        assert!((read.gaps.expect("gaps").mean - 10.0).abs() < 0.01);
    }

    #[test]
    fn uptime_is_the_share_of_judged_time_that_was_not_critical() {
        let mut slice = Slice::default();
        assert_eq!(slice.uptime(), None);
        slice.levels = [0, 0, 0, 0, 60_000];
        assert_eq!(slice.uptime(), None, "nobody judged it");
        slice.levels = [30_000, 10_000, 5_000, 15_000, 60_000];
        assert_eq!(slice.uptime(), Some(0.75));
    }

    #[test]
    fn one_gap_in_a_hundred_is_longer_than_p99() {
        let mut gaps = vec![1.0; 990];
        gaps.extend([30.0; 10]);
        let p99 = of_gaps(&gaps).p99().expect("gaps");
        assert!((0.9..1.1).contains(&p99), "{p99}");
        gaps.extend([30.0; 10]);
        let p99 = of_gaps(&gaps).p99().expect("gaps");
        assert!((28.0..=30.0).contains(&p99), "{p99}");
    }

    fn any_slice() -> impl Strategy<Value = Slice> {
        let gaps = prop::collection::vec(1e-6..1e6_f64, 0..40);
        let levels = prop::array::uniform5(0..90_000_u64);
        let counts = (0..1_000_u64, 0..9_u64, 0..9_u64);
        let metrics = prop::collection::btree_map("[a-z]{1,8}", -1e9..1e9_f64, 0..4);
        (gaps, levels, counts, metrics).prop_map(|(gaps, levels, counts, metrics)| Slice {
            levels,
            pulses: counts.0,
            errors: counts.1,
            misses: counts.2,
            metrics: metrics
                .into_iter()
                .map(|(name, value)| (name.into(), Rollup::of(value)))
                .collect(),
            ..of_gaps(&gaps)
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(slices in prop::collection::vec(any_slice(), 1..5)) {
            let mut packed = Vec::new();
            slices.iter().for_each(|slice| slice.pack(&mut packed));
            let mut rest = &packed[..];
            for slice in &slices {
                let read = Slice::unpack(&mut rest).expect("whole");
                prop_assert_eq!(read.pulses, slice.pulses);
                prop_assert_eq!((read.errors, read.misses), (slice.errors, slice.misses));
                prop_assert_eq!(&read.sketch, &slice.sketch);
                prop_assert_eq!(&read.metrics, &slice.metrics);
                prop_assert!(read.covered().abs_diff(slice.covered()) <= 600);
                if let (Some(read), Some(gaps)) = (read.gaps, slice.gaps) {
                    for (read, value) in [(read.min, gaps.min), (read.mean, gaps.mean), (read.max, gaps.max)] {
                        prop_assert!((read / value - 1.0).abs() < 5e-4, "{} {}", read, value);
                    }
                }
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn garbled_bytes_are_refused_and_harm_nobody(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            while let Some(slice) = Slice::unpack(&mut rest) {
                let (_, _) = (slice.uptime(), slice.p99());
                if rest.is_empty() { break; }
            }
        }

        #[test]
        fn however_slices_are_merged_the_sums_are_the_same(slices in prop::collection::vec(any_slice(), 1..6)) {
            let mut forth = Slice::default();
            slices.iter().for_each(|slice| forth.merge(slice));
            let mut back = Slice::default();
            slices.iter().rev().for_each(|slice| back.merge(slice));
            prop_assert_eq!(forth.levels, back.levels);
            prop_assert_eq!((forth.pulses, forth.errors), (back.pulses, back.errors));
            prop_assert_eq!(forth.gaps.map(|gaps| gaps.count), back.gaps.map(|gaps| gaps.count));
        }
    }
}
