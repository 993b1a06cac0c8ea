//! What all services together amount to.
//!
//! The worst level that counts: a service that is not critical counts for degraded at most,
//! and unknown counts for nothing. Where nobody has an opinion (no services, or all of them
//! starting, stopped or paused) the answer is `unknown`: a client that asks for `healthy`
//! should not hear it of a system of which nothing has been seen alive.
//!
//! The tally is kept as levels change, so asking costs nothing however many there are.

use crate::level::Level;

/// How many services have which level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    full: [u32; 5],
    capped: [u32; 5],
}

fn place(level: Level) -> usize {
    match level {
        Level::Unknown => 0,
        Level::Healthy => 1,
        Level::Warning => 2,
        Level::Degraded => 3,
        Level::Critical => 4,
    }
}

/// The levels that count, worst first.
const WORST_FIRST: [Level; 4] = [
    Level::Critical,
    Level::Degraded,
    Level::Warning,
    Level::Healthy,
];

impl Tally {
    /// Counts a service; `critical` as its policy says.
    pub fn add(&mut self, level: Level, critical: bool) {
        self.side(critical)[place(level)] += 1;
    }

    /// No longer counts one that was counted like that.
    pub fn remove(&mut self, level: Level, critical: bool) {
        let count = &mut self.side(critical)[place(level)];
        *count = count.saturating_sub(1);
    }

    /// A service went from one level to another.
    pub fn shift(&mut self, from: Level, to: Level, critical: bool) {
        self.remove(from, critical);
        self.add(to, critical);
    }

    /// The overall level.
    #[must_use]
    pub fn overall(&self) -> Level {
        let full = worst(&self.full);
        let capped = worst(&self.capped).min(Level::Degraded);
        full.max(capped)
    }

    /// How many have that level.
    #[must_use]
    pub fn count(&self, level: Level) -> u32 {
        self.full[place(level)] + self.capped[place(level)]
    }

    fn side(&mut self, critical: bool) -> &mut [u32; 5] {
        if critical {
            &mut self.full
        } else {
            &mut self.capped
        }
    }
}

fn worst(counts: &[u32; 5]) -> Level {
    WORST_FIRST
        .into_iter()
        .find(|&level| counts[place(level)] > 0)
        .unwrap_or(Level::Unknown)
}

impl FromIterator<(Level, bool)> for Tally {
    fn from_iter<I: IntoIterator<Item = (Level, bool)>>(services: I) -> Self {
        let mut tally = Self::default();
        for (level, critical) in services {
            tally.add(level, critical);
        }
        tally
    }
}

/// The overall level of services, each with whether it counts in full.
#[must_use]
pub fn overall(services: impl IntoIterator<Item = (Level, bool)>) -> Level {
    services.into_iter().collect::<Tally>().overall()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_level_counts() {
        let services = [(Level::Healthy, true), (Level::Critical, true)];
        assert_eq!(overall(services), Level::Critical);
        let services = [(Level::Warning, false), (Level::Healthy, true)];
        assert_eq!(overall(services), Level::Warning);
    }

    #[test]
    fn one_that_is_not_critical_counts_for_degraded_at_most() {
        assert_eq!(overall([(Level::Critical, false)]), Level::Degraded);
        let services = [(Level::Critical, false), (Level::Critical, true)];
        assert_eq!(overall(services), Level::Critical);
    }

    #[test]
    fn unknown_counts_for_nothing() {
        let services = [(Level::Unknown, true), (Level::Healthy, false)];
        assert_eq!(overall(services), Level::Healthy);
    }

    #[test]
    fn without_an_opinion_the_answer_is_unknown() {
        assert_eq!(overall([]), Level::Unknown);
        assert_eq!(overall([(Level::Unknown, true)]), Level::Unknown);
    }

    #[test]
    fn a_tally_that_is_kept_up_agrees_with_a_count() {
        let mut tally = Tally::default();
        tally.add(Level::Healthy, true);
        tally.add(Level::Healthy, true);
        tally.shift(Level::Healthy, Level::Critical, true);
        assert_eq!(tally.overall(), Level::Critical);
        assert_eq!(tally.count(Level::Critical), 1);
        tally.shift(Level::Critical, Level::Warning, true);
        assert_eq!(tally.overall(), Level::Warning);
        tally.remove(Level::Warning, true);
        assert_eq!(tally.overall(), Level::Healthy);
    }
}
