//! What is observed of a service from pulse to pulse: its rhythm, and the present minute of its
//! history. Nothing here decides about the service, and nothing is allocated but for figures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Sketch, Slice, bucket, place};
use crate::level::Level;
use crate::metrics::{MOST, Rollup};
use crate::rhythm::{Kept, Noticed, Outlook, Rhythm};
use crate::time::{Mono, Time};

/// How many different gaps a minute tells apart; further ones count as the nearest of them.
const BUCKETS: usize = 6;

/// What is observed of one service.
#[derive(Debug, Clone)]
pub struct Track {
    rhythm: Rhythm,
    level: Level,
    /// Since when it has that level, or since the minute began.
    since: Mono,
    /// Milliseconds at each level in this minute.
    levels: [u32; 5],
    /// Totals when the minute began.
    pulses: u64,
    errors: u64,
    misses: u32,
    /// Of the silence under way, so many misses are in the history already.
    counted: u32,
    gaps: Gaps,
    metrics: BTreeMap<Box<str>, Rollup>,
}

/// The gaps of this minute.
#[derive(Debug, Clone, Copy, Default)]
struct Gaps {
    count: u32,
    min: f32,
    max: f32,
    sum: f64,
    buckets: [(u16, u32); BUCKETS],
}

/// What a service promises: a pulse each interval, with so much grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promised {
    /// How often it pulses.
    pub interval: Duration,
    /// How late it may be.
    pub grace: Duration,
}

impl Track {
    /// Of a service that is first seen now, with its totals so far.
    #[must_use]
    pub fn new(level: Level, pulses: u64, errors: u64, now: Mono) -> Self {
        Self {
            rhythm: Rhythm::default(),
            level,
            since: now,
            levels: [0; 5],
            pulses,
            errors,
            misses: 0,
            counted: 0,
            gaps: Gaps::default(),
            metrics: BTreeMap::new(),
        }
    }

    /// Pulses, received between `first` and `last`.
    pub fn pulse(
        &mut self,
        count: u32,
        first: Time,
        last: Time,
        promised: Option<Promised>,
    ) -> Noticed {
        self.ends_gap(first, promised);
        if count > 1 {
            self.gaps.add(last.since(first) / (count - 1), count - 1);
        }
        self.rhythm.pulse(count, first, last)
    }

    /// An error that came where a pulse was due: see [`Rhythm::failed`].
    pub fn failed(&mut self, at: Time, promised: Option<Promised>) -> Noticed {
        self.ends_gap(at, promised);
        self.rhythm.failed(at)
    }

    /// The gap since the last beat ends then.
    fn ends_gap(&mut self, at: Time, promised: Option<Promised>) {
        if let Some(before) = self.rhythm.last() {
            let gap = at.since(before);
            self.gaps.add(gap, 1);
            if let Some(Promised { interval, grace }) = promised {
                let missed = gap.saturating_sub(grace).as_nanos() / interval.as_nanos().max(1);
                let missed = u32::try_from(missed).unwrap_or(u32::MAX);
                let more = missed.saturating_sub(self.counted);
                self.misses = self.misses.saturating_add(more);
            }
        }
        self.counted = 0;
    }

    /// As [`Track::pulse`], where only the last receipt is known: they came evenly.
    pub fn pulses(&mut self, count: u32, at: Time, promised: Option<Promised>) -> Noticed {
        let first = match self.rhythm.last() {
            Some(before) if count > 1 => before + at.since(before) / count,
            Some(_) | None => at,
        };
        let count = if first == at { 1 } else { count };
        self.pulse(count, first, at, promised)
    }

    /// It has reported an error.
    pub fn error(&mut self) -> Noticed {
        self.rhythm.error()
    }

    /// A figure of its own.
    pub fn figure(&mut self, name: &str, value: f64) {
        let metrics = &mut self.metrics;
        if let Some(rollup) = metrics.get_mut(name) {
            rollup.add(value);
        } else if metrics.len() < MOST {
            metrics.insert(name.into(), Rollup::of(value));
        }
    }

    /// The gap to its next pulse says nothing: see [`Rhythm::rest`].
    pub fn rest(&mut self) {
        self.rhythm.rest();
        self.counted = 0;
    }

    /// A new life: see [`Rhythm::begin_anew`].
    pub fn begin_anew(&mut self) {
        self.rhythm.begin_anew();
        self.counted = 0;
    }

    /// It has another level from now on.
    pub fn level(&mut self, level: Level, now: Mono) {
        self.pass(now);
        self.level = level;
    }

    fn pass(&mut self, now: Mono) {
        let ms = u32::try_from(now.since(self.since).as_millis()).unwrap_or(u32::MAX);
        let sum = &mut self.levels[place(self.level)];
        *sum = sum.saturating_add(ms);
        // What is left of the millisecond counts with the next.
        self.since = self.since + Duration::from_millis(ms.into());
    }

    /// The minute ends: what it was. `pulses` and `errors` are the totals by now, `missed` the
    /// intervals that the silence under way has missed.
    pub fn close(&mut self, now: Mono, pulses: u64, errors: u64, missed: u32) -> Slice {
        self.pass(now);
        let fresh = missed.saturating_sub(self.counted);
        self.counted = missed;
        let gaps = std::mem::take(&mut self.gaps);
        let mut sketch = Sketch::default();
        for (bucket, count) in gaps.buckets {
            if count > 0 {
                sketch.add(bucket, count.into());
            }
        }
        let levels = std::mem::take(&mut self.levels);
        Slice {
            levels: levels.map(u64::from),
            pulses: pulses.saturating_sub(std::mem::replace(&mut self.pulses, pulses)),
            errors: errors.saturating_sub(std::mem::replace(&mut self.errors, errors)),
            misses: u64::from(std::mem::take(&mut self.misses)) + u64::from(fresh),
            gaps: gaps.rollup(),
            sketch,
            metrics: std::mem::take(&mut self.metrics),
        }
    }

    /// What its rhythm says now of a service that is late after `deadline`.
    #[must_use]
    pub fn outlook(&self, now: Time, deadline: Duration) -> Outlook {
        self.rhythm.outlook(now, deadline)
    }

    /// The interval that was learnt: see [`Rhythm::interval`].
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.rhythm.interval()
    }

    /// How far that has come: see [`Rhythm::progress`].
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        self.rhythm.progress()
    }

    /// What of it outlives us: see [`Rhythm::keep`].
    #[must_use]
    pub fn keep(&self, interval: Option<Duration>) -> Kept {
        self.rhythm.keep(interval)
    }

    /// Goes on with that rhythm.
    pub fn go_on(&mut self, rhythm: Rhythm) {
        self.rhythm = rhythm;
        self.counted = 0;
    }
}

impl Gaps {
    fn add(&mut self, gap: Duration, count: u32) {
        let seconds = gap.as_secs_f32();
        if self.count == 0 {
            (self.min, self.max) = (seconds, seconds);
        }
        self.min = self.min.min(seconds);
        self.max = self.max.max(seconds);
        self.sum += f64::from(seconds) * f64::from(count);
        self.count = self.count.saturating_add(count);
        let at = bucket(gap);
        let fits = |(bucket, taken): &(u16, u32)| *bucket == at || *taken == 0;
        let place = self.buckets.iter().position(fits).unwrap_or_else(|| {
            let distance = |n: &usize| self.buckets[*n].0.abs_diff(at);
            (0..BUCKETS).min_by_key(distance).unwrap_or(0)
        });
        let (bucket, taken) = &mut self.buckets[place];
        if *taken == 0 {
            *bucket = at;
        }
        *taken = taken.saturating_add(count);
    }

    fn rollup(&self) -> Option<Rollup> {
        (self.count > 0).then(|| {
            let (min, max) = (f64::from(self.min), f64::from(self.max));
            Rollup {
                count: self.count.into(),
                min,
                mean: (self.sum / f64::from(self.count)).clamp(min, max),
                max,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISED: Option<Promised> = Some(Promised {
        interval: Duration::from_secs(10),
        grace: Duration::from_secs(1),
    });

    fn at(seconds: u64) -> Time {
        Time(1) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_minute_holds_what_happened_in_it() {
        let mut track = Track::new(Level::Unknown, 5, 1, Mono(0));
        track.level(Level::Healthy, Mono(10_000_000_000));
        for second in [10, 20, 30, 45] {
            track.pulse(1, at(second), at(second), PROMISED);
        }
        track.figure("queue", 3.0);
        track.figure("queue", 5.0);
        let slice = track.close(Mono(60_000_000_000), 9, 3, 0);
        assert_eq!(slice.levels, [50_000, 0, 0, 0, 10_000]);
        assert_eq!((slice.pulses, slice.errors, slice.misses), (4, 2, 1));
        let gaps = slice.gaps.expect("three gaps");
        assert_eq!((gaps.count, gaps.min, gaps.max), (3, 10.0, 15.0));
        assert_eq!(slice.metrics["queue"].mean, 4.0);
        let next = track.close(Mono(120_000_000_000), 9, 3, 0);
        assert_eq!(next.levels, [60_000, 0, 0, 0, 0]);
        assert_eq!((next.pulses, next.gaps, next.metrics.len()), (0, None, 0));
    }

    #[test]
    fn a_miss_counts_once_whether_seen_at_the_end_of_a_minute_or_of_the_silence() {
        let mut track = Track::new(Level::Healthy, 0, 0, Mono(0));
        track.pulse(1, at(0), at(0), PROMISED);
        assert_eq!(track.close(Mono(0), 1, 0, 5).misses, 5);
        assert_eq!(track.close(Mono(0), 1, 0, 11).misses, 6);
        track.pulse(1, at(132), at(132), PROMISED);
        assert_eq!(track.close(Mono(0), 2, 0, 0).misses, 2, "13 in all");
    }

    #[test]
    fn folded_pulses_are_as_many_gaps() {
        let mut track = Track::new(Level::Healthy, 0, 0, Mono(0));
        track.pulse(1, at(0), at(0), PROMISED);
        track.pulse(5, at(1), at(3), PROMISED);
        let gaps = track.close(Mono(0), 6, 0, 0).gaps.expect("gaps");
        assert_eq!((gaps.count, gaps.min, gaps.max), (5, 0.5, 1.0));
        track.pulses(4, at(7), PROMISED);
        let gaps = track.close(Mono(0), 10, 0, 0).gaps.expect("gaps");
        assert_eq!((gaps.count, gaps.min, gaps.max), (4, 1.0, 1.0));
    }

    #[test]
    fn more_different_gaps_than_a_minute_tells_apart_are_all_counted() {
        let mut track = Track::new(Level::Healthy, 0, 0, Mono(0));
        let mut now = 0;
        for n in 0..40 {
            now += 1 << (n % 12);
            track.pulse(1, at(now), at(now), None);
        }
        let slice = track.close(Mono(0), 40, 0, 0);
        let gaps = slice.gaps.expect("gaps");
        assert_eq!((gaps.count, gaps.max), (39, 2048.0));
        assert!(slice.p99().is_some());
    }
}
