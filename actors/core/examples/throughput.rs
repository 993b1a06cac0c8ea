//! What a pulse and a tick of the pure core cost, with a million services: prints figures and
//! asserts nothing.
//!
//! `cargo run --release -p supervisor-core --example throughput [SERVICES]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use supervisor_core::backoff::{Backoff, Intensity};
use supervisor_core::event::{Event, Moment};
use supervisor_core::level::{After, Level, Profile, Thresholds};
use supervisor_core::policy::{PokeOn, Policy, Ready, Restart, Watch};
use supervisor_core::service::Now;
use supervisor_core::time::{Mono, Time, Timestamp};
use supervisor_core::wheel::Wheel;
use supervisor_core::{Generation, Service};

const SECOND: u64 = 1_000_000_000;

fn policy() -> Result<Policy, Box<dyn std::error::Error>> {
    let (interval, grace) = (Duration::from_secs(10), Duration::from_secs(1));
    Ok(Policy {
        watch: Watch::External,
        interval,
        grace,
        thresholds: Thresholds::new(interval, grace, After::default(), Profile::Usual)?,
        start_grace: Duration::from_secs(60),
        recover_after: 1,
        alert_on_miss: true,
        critical: true,
        on_demand: false,
        max_busy: Duration::from_secs(1_800),
        progress_timeout: None,
        probed: false,
        restart: Restart::Always,
        backoff: Backoff::default(),
        intensity: Intensity::default(),
        quarantine_for: Duration::from_secs(1_800),
        poke_on: PokeOn {
            stale: true,
            probe: true,
            errors: false,
        },
        nudge: false,
        poke_restarts: false,
        nudge_wait: interval,
        ready: Ready::Pulse,
        stop_timeout: interval,
    })
}

fn now(at: u64) -> Now {
    Now {
        at: Moment {
            time: Time(at),
            mono: Mono(at),
            wall: Timestamp((at / 1_000).cast_signed()),
        },
        amnesty: Time(0),
        roll: 0.5,
    }
}

/// A walk over all services in an order that no cache likes.
fn scattered(count: u32) -> impl Iterator<Item = u32> {
    let step = 48_271_u64;
    (0..u64::from(count)).map(move |n| (n * step % u64::from(count)) as u32)
}

#[expect(
    clippy::disallowed_methods,
    reason = "it measures the core from outside"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u32 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 1_000_000,
    };
    let policy = Arc::new(policy()?);
    let mut at = 3_600 * SECOND;
    let mut wheel = Wheel::new(Time(at));
    let mut services: Vec<Service> = (0..count)
        .map(|_| Service::new(Arc::clone(&policy), None, &now(at)))
        .collect();
    for (id, service) in (0..).zip(&mut services) {
        // Spread over one interval, as in life.
        let began = now(at + u64::from(id) * 10 * SECOND / u64::from(count));
        let pulse = Event::Pulse {
            generation: Generation(1),
            count: 1,
            note: None,
        };
        let _first = service.on(pulse, &began);
        wheel.arm(id, service.deadline(Time(0)));
    }
    println!(
        "{count} services: {} bytes each, and 16 in the wheel",
        size_of::<Service>()
    );

    let (mut pulses, mut ticks, mut in_pulses, mut in_ticks) =
        (0_u64, 0_u64, Duration::ZERO, Duration::ZERO);
    let mut fired = Vec::new();
    for _round in 0..3 {
        let began = Instant::now();
        for id in scattered(count) {
            let moment = now(at + 10 * SECOND).at;
            pulses += u64::from(services[id as usize].pulse(Generation(1), 1, moment));
        }
        in_pulses += began.elapsed();
        // The deadlines of before fire, see that a pulse has moved them, and re-arm.
        let began = Instant::now();
        for _step in 0..10_000 {
            at += SECOND / 1_000;
            wheel.expire(Time(at), &mut fired);
            for id in fired.drain(..) {
                ticks += 1;
                let deadline = services[id as usize].deadline(Time(0));
                if deadline > Time(at) {
                    wheel.arm(id, deadline);
                } else {
                    let _late = services[id as usize].on(Event::Tick, &now(at));
                    wheel.arm(id, services[id as usize].deadline(Time(0)));
                }
            }
        }
        in_ticks += began.elapsed();
    }
    let began = Instant::now();
    let mut in_order = 0;
    for service in &mut services {
        in_order += u64::from(service.pulse(Generation(1), 1, now(at).at));
    }
    let in_a_row = began.elapsed();
    let few = services.len().min(1_000);
    let began = Instant::now();
    let mut in_cache = 0;
    for _round in 0..1_000 {
        for service in &mut services[..few] {
            in_cache += u64::from(service.pulse(Generation(1), 1, now(at).at));
        }
    }
    let of_few = began.elapsed();
    let per = |total: Duration, n: u64| total.as_nanos() as f64 / n.max(1) as f64;
    println!(
        "a pulse: {:.1} ns scattered over all, {:.1} ns in their order, {:.1} ns of the same {few}",
        per(in_pulses, pulses),
        per(in_a_row, in_order),
        per(of_few, in_cache)
    );
    println!(
        "a deadline of the lazy wheel: {:.1} ns ({ticks} of them), {:.2} ms for each second",
        per(in_ticks, ticks),
        in_ticks.as_secs_f64() * 1_000.0 / 30.0
    );
    let late = services.iter().filter(|one| one.level() != Level::Healthy);
    println!("not healthy: {}", late.count());
    Ok(())
}
