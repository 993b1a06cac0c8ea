//! How many wrong tokens an address may present.
//!
//! A bucket per address: it holds [`BURST`] tries and gains one every [`REFILL`]. Addresses
//! are counted in a bounded table; those beyond it share one bucket, so that a botnet costs
//! no memory. IPv6 addresses count by their /64, which is what one host owns.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use supervisor_core::time::Mono;

/// How many wrong tokens in a row are answered with 401 before 429.
const BURST: u32 = 10;
/// How long it takes to earn one more.
const REFILL: Duration = Duration::from_secs(3);
/// How many addresses are told apart.
const MAX_ADDRESSES: usize = 1024;
/// How often wrong tokens are worth a line in the log.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The table.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<IpAddr, Bucket>,
    others: Bucket,
    unlogged: u64,
    logged: Option<Mono>,
}

/// A bucket as the time at which it is full again: nothing to update while nobody uses it.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at: Mono,
}

impl Bucket {
    /// How long until a try is free; `None` where one is.
    fn wait(self, now: Mono) -> Option<Duration> {
        let missing = self.full_at.since(now);
        let most = REFILL * (BURST - 1);
        missing.checked_sub(most).filter(|wait| !wait.is_zero())
    }

    fn spend(&mut self, now: Mono) {
        self.full_at = self.full_at.max(now) + REFILL;
    }
}

impl Throttle {
    /// How long this address must wait before its tokens are looked at again; `None` where
    /// they are.
    pub(super) fn wait(&self, peer: IpAddr, now: Mono) -> Option<Duration> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.buckets.get(&network(peer)) {
            Some(bucket) => bucket.wait(now),
            None if table.buckets.len() >= MAX_ADDRESSES => table.others.wait(now),
            None => None,
        }
    }

    /// Counts a wrong token. Returns how many are to be logged, where it is time to.
    pub(super) fn wrong(&self, peer: IpAddr, now: Mono) -> Option<u64> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        let peer = network(peer);
        if table.buckets.len() >= MAX_ADDRESSES && !table.buckets.contains_key(&peer) {
            table.buckets.retain(|_, bucket| bucket.full_at > now);
        }
        if table.buckets.len() < MAX_ADDRESSES || table.buckets.contains_key(&peer) {
            table.buckets.entry(peer).or_default().spend(now);
        } else {
            table.others.spend(now);
        }
        table.unlogged += 1;
        if table.logged.is_some_and(|at| now.since(at) < LOG_EVERY) {
            return None;
        }
        table.logged = Some(now);
        Some(std::mem::take(&mut table.unlogged))
    }
}

/// What one host owns.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn f64_an_address_runs_out_of_tries_and_earns_them_back() {
        let throttle = Throttle::default();
        for _ in 0..BURST {
            assert_eq!(throttle.wait(HERE, at(100)), None);
            throttle.wrong(HERE, at(100));
        }
        assert_eq!(throttle.wait(HERE, at(100)), Some(REFILL));
        assert_eq!(throttle.wait(HERE, at(103)), None);
        throttle.wrong(HERE, at(103));
        assert!(throttle.wait(HERE, at(103)).is_some());
        assert_eq!(throttle.wait(IpAddr::from([127, 0, 0, 1]), at(103)), None);
    }

    #[test]
    fn f64_any_number_of_addresses_costs_bounded_memory_and_is_still_limited() {
        let throttle = Throttle::default();
        for n in 0..MAX_ADDRESSES + 100 {
            let n = u32::try_from(n).unwrap();
            throttle.wrong(IpAddr::from(n.to_be_bytes()), at(100));
        }
        assert_eq!(throttle.table.lock().unwrap().buckets.len(), MAX_ADDRESSES);
        let stranger = IpAddr::from([200, 0, 0, 1]);
        assert!(throttle.wait(stranger, at(100)).is_some());
        throttle.wrong(stranger, at(100_000));
        assert_eq!(throttle.table.lock().unwrap().buckets.len(), 1);
    }

    #[test]
    fn f64_the_log_hears_of_it_once_a_minute_with_the_count() {
        let throttle = Throttle::default();
        assert_eq!(throttle.wrong(HERE, at(1)), Some(1));
        assert_eq!(throttle.wrong(HERE, at(2)), None);
        assert_eq!(throttle.wrong(HERE, at(60)), None);
        assert_eq!(throttle.wrong(HERE, at(62)), Some(3));
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let two: IpAddr = "2001:db8::2:1".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network(one), network(two));
        assert_eq!(network(mapped), IpAddr::from([10, 0, 0, 1]));
    }
}
