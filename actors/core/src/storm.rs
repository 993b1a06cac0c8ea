//! The storm brake: when most services fall silent at once, something else is wrong.
//!
//! ```text
//!   calm ── 3 or more, and more than half of those watched, very stale within 10 s ──▶ storm
//!    ▲                                                                                  │
//!    └── nobody waits, nobody is being restarted, and 10 s without another one ─────────┘
//! ```
//!
//! In the calm every restart that is asked for is granted at the next [`Brake::poll`]. In a
//! storm two are under way at a time; each makes room when it is well again, gone, or 5 s
//! after it was granted.
//!
//! The caller tells of a batch of deadlines first and polls after it, so that services that
//! fall silent in the same millisecond are seen as the storm that they are. Suppressed, paused
//! and internal services are not told of. Every call is O(1), amortised; the memory is what
//! turned very stale in the last 10 s and what waits.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::time::Time;

/// How close together services must turn very stale.
pub const WITHIN: Duration = Duration::from_secs(10);
/// How many at least.
pub const AT_LEAST: usize = 3;
/// How many restarts are under way at a time.
pub const AT_ONCE: usize = 2;
/// How long one waits for the one before it, at most.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The brake over the services of a supervisor, by number.
#[derive(Debug, Default)]
pub struct Brake {
    /// When each last turned very stale, and the same in the order of time, where an entry
    /// that is no longer the last of its service is skipped.
    turned: HashMap<u32, Time>,
    turns: VecDeque<(Time, u32)>,
    storm: bool,
    /// Who waits, with the ticket that makes an entry of the queue valid.
    waiting: HashMap<u32, u64>,
    queue: VecDeque<(u64, u32)>,
    tickets: u64,
    /// Who was granted in this storm and until when the next waits for it.
    under_way: Vec<(u32, Time)>,
}

impl Brake {
    /// A service turned very stale, one of so many that count. `true` if a storm begins.
    pub fn very_stale(&mut self, service: u32, now: Time, watched: usize) -> bool {
        self.forget_older(now);
        self.turned.insert(service, now);
        self.turns.push_back((now, service));
        let count = self.turned.len();
        let begins = !self.storm && count >= AT_LEAST && count * 2 > watched;
        self.storm |= begins;
        begins
    }

    /// A service asks to be restarted; the next polls answer. Asking twice is asking once.
    pub fn ask(&mut self, service: u32) {
        if self.waiting.contains_key(&service) {
            return;
        }
        self.tickets += 1;
        self.waiting.insert(service, self.tickets);
        self.queue.push_back((self.tickets, service));
    }

    /// A service is well again, stopped or paused: it neither waits nor holds up others.
    pub fn settled(&mut self, service: u32) {
        self.waiting.remove(&service);
        self.under_way.retain(|&(other, _)| other != service);
    }

    /// Appends whose restart may go ahead. `true` if the storm is over.
    pub fn poll(&mut self, now: Time, granted: &mut Vec<u32>) -> bool {
        self.under_way.retain(|&(_, until)| until > now);
        while !self.storm || self.under_way.len() < AT_ONCE {
            let Some((ticket, service)) = self.queue.pop_front() else {
                break;
            };
            if self.waiting.get(&service) != Some(&ticket) {
                continue;
            }
            self.waiting.remove(&service);
            granted.push(service);
            if self.storm {
                self.under_way.push((service, now + PATIENCE));
            }
        }
        self.forget_older(now);
        let over = self.storm
            && self.waiting.is_empty()
            && self.under_way.is_empty()
            && self.turned.is_empty();
        if over {
            self.storm = false;
        }
        over
    }

    /// Whether there is a storm.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.storm
    }

    /// How many turned very stale within the last 10 s, as of the last call.
    #[must_use]
    pub fn count(&self) -> usize {
        self.turned.len()
    }

    /// When to poll next if nothing happens before; [`Time::NEVER`] in the calm.
    #[must_use]
    pub fn next(&self) -> Time {
        if !self.storm {
            return if self.waiting.is_empty() {
                Time::NEVER
            } else {
                Time(0)
            };
        }
        if !self.waiting.is_empty() && self.under_way.len() < AT_ONCE {
            return Time(0);
        }
        let patience = self.under_way.iter().map(|&(_, until)| until).min();
        let last_turn = self.turns.back().map(|&(at, _)| at + WITHIN);
        // With nobody under way the storm ends when the last one's time is up.
        patience.or(last_turn).unwrap_or(Time(0))
    }

    fn forget_older(&mut self, now: Time) {
        while let Some(&(at, service)) = self.turns.front()
            && at + WITHIN <= now
        {
            self.turns.pop_front();
            if self.turned.get(&service) == Some(&at) {
                self.turned.remove(&service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    fn granted(brake: &mut Brake, seconds: u64) -> Vec<u32> {
        let mut out = Vec::new();
        brake.poll(Time(seconds * S), &mut out);
        out
    }

    fn storm_of(count: u32) -> Brake {
        let mut brake = Brake::default();
        for service in 0..count {
            brake.very_stale(service, Time(100 * S), count as usize);
            brake.ask(service);
        }
        assert!(brake.is_on());
        brake
    }

    #[test]
    fn in_the_calm_every_restart_is_granted() {
        let mut brake = Brake::default();
        brake.very_stale(0, Time(S), 10);
        brake.ask(0);
        brake.ask(1);
        brake.ask(0);
        assert_eq!(granted(&mut brake, 1), [0, 1]);
        assert_eq!(brake.next(), Time::NEVER);
    }

    #[test]
    fn three_and_more_than_half_within_ten_seconds_are_a_storm() {
        let mut brake = Brake::default();
        assert!(!brake.very_stale(0, Time(0), 5));
        assert!(!brake.very_stale(1, Time(9 * S), 5));
        assert!(brake.very_stale(2, Time(10 * S - 1), 5));
        assert!(!brake.very_stale(3, Time(10 * S - 1), 5), "it goes on");
    }

    #[test]
    fn two_of_three_are_no_storm_nor_are_half_of_many() {
        let mut brake = Brake::default();
        assert!(!brake.very_stale(0, Time(0), 3));
        assert!(!brake.very_stale(1, Time(0), 3));
        let mut brake = Brake::default();
        for service in 0..4 {
            assert!(!brake.very_stale(service, Time(0), 8));
        }
    }

    #[test]
    fn services_that_fall_silent_over_a_long_time_are_no_storm() {
        let mut brake = Brake::default();
        for n in 0..10 {
            assert!(!brake.very_stale(n, Time(u64::from(n) * 5 * S), 3));
        }
    }

    #[test]
    fn one_service_that_is_very_stale_again_and_again_counts_once() {
        let mut brake = Brake::default();
        for n in 0..10 {
            assert!(!brake.very_stale(7, Time(n * S), 1));
        }
    }

    #[test]
    fn in_a_storm_restarts_go_two_at_a_time() {
        let mut brake = storm_of(5);
        assert_eq!(granted(&mut brake, 100), [0, 1]);
        assert_eq!(granted(&mut brake, 101), [0; 0]);
        assert_eq!(brake.next(), Time(105 * S));
        brake.settled(1);
        assert_eq!(granted(&mut brake, 102), [2]);
        assert_eq!(granted(&mut brake, 105), [3], "0 has had its 5 seconds");
        assert_eq!(granted(&mut brake, 107), [4]);
    }

    #[test]
    fn one_that_is_well_again_no_longer_waits() {
        let mut brake = storm_of(4);
        brake.settled(0);
        brake.settled(2);
        brake.ask(0);
        assert_eq!(granted(&mut brake, 100), [1, 3]);
        assert_eq!(granted(&mut brake, 105), [0]);
    }

    #[test]
    fn a_storm_is_over_when_nobody_waits_and_ten_seconds_were_quiet() {
        let mut brake = storm_of(3);
        let mut out = Vec::new();
        assert!(!brake.poll(Time(100 * S), &mut out));
        brake.settled(0);
        brake.settled(1);
        assert!(!brake.poll(Time(100 * S), &mut out));
        brake.settled(2);
        assert!(!brake.poll(Time(101 * S), &mut out));
        assert_eq!(brake.next(), Time(110 * S));
        assert!(brake.poll(brake.next(), &mut out));
        assert!(!brake.is_on());
        assert_eq!(brake.next(), Time::NEVER);
    }

    proptest! {
        #[test]
        fn every_storm_ends_and_everybody_who_asks_is_answered_once(
            asks in prop::collection::btree_set(0_u32..60, 1..60),
            settle in prop::collection::vec(any::<bool>(), 60),
        ) {
            let mut brake = Brake::default();
            for &service in &asks {
                brake.very_stale(service, Time(S), asks.len());
                brake.ask(service);
            }
            let mut now = Time(S);
            let mut all = Vec::new();
            for _ in 0..1_000 {
                let mut out = Vec::new();
                let storm = brake.is_on();
                brake.poll(now, &mut out);
                prop_assert!(!storm || out.len() <= AT_ONCE);
                for &service in &out {
                    if settle[service as usize] {
                        brake.settled(service);
                    }
                }
                all.extend(out);
                if brake.next() == Time::NEVER {
                    break;
                }
                now = now.max(brake.next());
            }
            prop_assert!(!brake.is_on());
            all.sort_unstable();
            prop_assert_eq!(all, asks.into_iter().collect::<Vec<_>>());
        }
    }
}
