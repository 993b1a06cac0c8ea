//! Pulses in process: what one costs on its way to the supervisor, what ageing costs, what a
//! watched service weighs, and how late a missed deadline is noticed. Run:
//! `cargo bench --bench pulses`, or one of `pulse`, `ageing`, `memory`, `deadline`, `million`
//! behind it.
//!
//! Rates are per second of CPU time of the whole process: that is what "on one core" means,
//! and it holds still on a machine that others use, too.

mod support;

use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use libc::{CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
use slog::{Drain, Logger, Never, OwnedKVList, Record};

use supervisor_actors::Universe;
use supervisor_actors::handle::ServiceHandle;
use supervisor_actors::messages::{Pulse, ServiceId};
use supervisor_actors::testing::{policy, tell};
use supervisor_core::beats::{Beat, Beats};
use supervisor_core::event::{Event, Generation, Moment};
use supervisor_core::policy::Watch;
use supervisor_core::service::{Now, Service};
use supervisor_core::time::{Mono, Time};
use supervisor_core::wheel::Wheel;
use supervisor_core::{ServiceName, Timestamp};

use support::universe::{silent, start, watched};
use support::{clock, head, median, mono, percentile, row};

const SECOND: u64 = 1_000_000_000;
const MILLION: usize = 1_000_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("--weigh") => return weigh(&args[2], args[3].parse().expect("a number")),
        Some("--ageing") => return ageing(),
        Some("--million") => return watch_a_million(),
        _ => {}
    }
    // cargo adds a `--bench` of its own.
    let mut words = args.iter().skip(1).filter(|a| !a.starts_with("--"));
    let (only, line) = (words.next(), words.next());
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    if wanted("pulse") {
        pulse(line.map(String::as_str));
    }
    if wanted("ageing") {
        println!("\nThe next two: with pages of 4 kB, and with huge pages for the heap.");
        again(&["--ageing"], "hugetlb=0", |text| print!("{text}"));
        again(&["--ageing"], "hugetlb=1", |text| print!("{text}"));
    }
    if wanted("memory") {
        memory();
    }
    if wanted("deadline") {
        deadline();
    }
    if wanted("million") {
        again(&["--million"], "hugetlb=0", |text| print!("{text}"));
    }
}

/// Runs this benchmark again as a process of its own, whose memory is nobody else's, with a
/// setting of glibc's allocator.
fn again<R>(args: &[&str], malloc: &str, read: impl FnOnce(&str) -> R) -> R {
    let me = std::env::current_exe().expect("our own path");
    let output = Command::new(me)
        .args(args)
        .env("GLIBC_TUNABLES", format!("glibc.malloc.{malloc}"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} failed: {said}");
    read(&String::from_utf8_lossy(&output.stdout))
}

#[expect(clippy::cast_precision_loss, reason = "rates and shares")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

// === Pulse ===

/// What an actor of the yardstick does with a pulse.
struct Sink {
    last: Vec<u64>,
    heard: u64,
}

struct Relay {
    to: Addr<Sink>,
    id: u32,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

#[derive(Message)]
#[rtype(result = "u64")]
struct Heard;

impl Actor for Sink {
    type Context = Context<Self>;
}

impl Actor for Relay {
    type Context = Context<Self>;
}

impl Handler<Pulse> for Sink {
    type Result = ();

    fn handle(&mut self, pulse: Pulse, _: &mut Self::Context) {
        self.last[pulse.service.0 as usize] = pulse.last.0;
        self.heard += 1;
    }
}

impl Handler<Heard> for Sink {
    type Result = u64;

    fn handle(&mut self, _: Heard, _: &mut Self::Context) -> u64 {
        self.heard
    }
}

impl Handler<Tick> for Relay {
    type Result = ();

    fn handle(&mut self, _: Tick, _: &mut Self::Context) {
        self.to.do_send(a_pulse(self.id));
    }
}

fn a_pulse(id: u32) -> Pulse {
    Pulse {
        service: ServiceId(id),
        generation: Generation(1),
        count: 1,
        first: Mono(1),
        last: Mono(1),
    }
}

/// One hop: as the actor of a service tells it, the supervisor's mailbox, the machine. Both
/// hops: from `ServiceHandle::pulse`, the slot, the service's actor, and on. Nothing folds: a
/// round waits for the one before.
fn pulse(only: Option<&str>) {
    head(
        "In-process pulse: service actor → supervisor actor, ageing included",
        &["what", "million/s on one core (median of 7)"],
    );
    let show = |what: &str, rate: &mut dyn FnMut() -> f64| {
        if only.is_none_or(|only| what.contains(only)) {
            row(&[what, &format!("{:.2}", rate())]);
        }
    };
    let run = |future: &mut dyn FnMut() -> LocalBoxFuture<'static, f64>| {
        actix_rt::System::new().block_on(future())
    };
    show("store into a slot (yardstick)", &mut || {
        rates(|| {
            let mut slots = vec![0_u64; 1_000];
            for round in 0..20_000 {
                for slot in &mut slots {
                    *slot = black_box(round);
                }
                black_box(&slots);
            }
            20_000_000
        })
    });
    show("bare actix mailbox, one hop (yardstick)", &mut || {
        run(&mut || bare_mailbox().boxed_local())
    });
    for count in [1_000, 100_000] {
        let what = format!("supervisor, {count} services, one hop");
        show(&what, &mut || run(&mut || one_hop(count).boxed_local()));
    }
    show("bare actors, both hops (yardstick)", &mut || {
        run(&mut || two_hops().boxed_local())
    });
    for count in [1_000, 100_000] {
        let what = format!("supervisor, {count} services, both hops");
        show(&what, &mut || {
            run(&mut || through_the_actors(count).boxed_local())
        });
    }
    show("supervisor, one service in a burst (folded)", &mut || {
        run(&mut || folded().boxed_local())
    });
}

/// Millions a second of CPU time; the body says how many it did.
fn rates(mut body: impl FnMut() -> u64) -> f64 {
    let mut rates: Vec<f64> = (0..7)
        .map(|_| {
            let begin = clock(CLOCK_PROCESS_CPUTIME_ID);
            let count = body();
            ratio(count, clock(CLOCK_PROCESS_CPUTIME_ID) - begin) * 1e3
        })
        .collect();
    median(&mut rates)
}

/// The same for what waits.
async fn rates_of(mut body: impl AsyncFnMut() -> u64) -> f64 {
    let mut rates = Vec::new();
    for _ in 0..7 {
        let begin = clock(CLOCK_PROCESS_CPUTIME_ID);
        let count = body().await;
        rates.push(ratio(count, clock(CLOCK_PROCESS_CPUTIME_ID) - begin) * 1e3);
    }
    median(&mut rates)
}

fn sink(count: usize) -> Addr<Sink> {
    Sink {
        last: vec![0; count],
        heard: 0,
    }
    .start()
}

async fn bare_mailbox() -> f64 {
    let sink = sink(1_000);
    rates_of(async || {
        for _ in 0..1_000 {
            for id in 0..1_000 {
                sink.do_send(a_pulse(id));
            }
            sink.send(Heard).await.expect("an answer");
        }
        1_000_000
    })
    .await
}

async fn two_hops() -> f64 {
    let sink = sink(1_000);
    let relays: Vec<Addr<Relay>> = (0..1_000)
        .map(|id| {
            let to = sink.clone();
            Relay { to, id }.start()
        })
        .collect();
    let mut sent = 0;
    rates_of(async || {
        for _ in 0..300 {
            for relay in &relays {
                relay.do_send(Tick);
            }
            sent += 1_000;
            while sink.send(Heard).await.expect("an answer") < sent {
                tokio::task::yield_now().await;
            }
        }
        300_000
    })
    .await
}

/// All watched services after their first pulse, which is an event; from now on they are well.
async fn well(count: usize) -> (Universe, Vec<ServiceHandle>) {
    let (universe, handles) = start(watched(count, Duration::from_secs(10)), silent()).await;
    for handle in &handles {
        handle.pulse(Mono(mono())).expect("a pulse is taken");
    }
    arrived(&universe, handles[count - 1].name(), 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    (universe, handles)
}

async fn one_hop(count: usize) -> f64 {
    let (universe, handles) = well(count).await;
    let last = handles[count - 1].name().clone();
    let rounds = (1_000_000 / count).max(3);
    let mut sent = 1;
    rates_of(async || {
        for _ in 0..rounds {
            let at = Mono(mono());
            for id in 0..count {
                let id = u32::try_from(id).expect("a small number");
                let pulse = Pulse {
                    first: at,
                    last: at,
                    ..a_pulse(id)
                };
                assert!(tell(&universe.supervisor, pulse), "it listens");
                if id % 1_000 == 999 {
                    tokio::task::yield_now().await;
                }
            }
            sent += 1;
            arrived(&universe, &last, sent).await;
        }
        (rounds * count) as u64
    })
    .await
}

async fn through_the_actors(count: usize) -> f64 {
    let (universe, handles) = well(count).await;
    let last = handles[count - 1].name().clone();
    let rounds = (300_000 / count).max(3);
    let mut sent = 1;
    rates_of(async || {
        for _ in 0..rounds {
            let at = Mono(mono());
            for handle in &handles {
                handle.pulse(at).expect("a pulse is taken");
            }
            sent += 1;
            arrived(&universe, &last, sent).await;
        }
        (rounds * count) as u64
    })
    .await
}

/// Waits until a service's pulses have all been counted.
async fn arrived(universe: &Universe, name: &ServiceName, pulses: u64) {
    tokio::task::yield_now().await;
    loop {
        let view = universe.supervisor.service(name).await;
        let counted = view.expect("an answer").expect("a service").total_pulses;
        assert!(counted <= pulses, "no pulse is counted twice");
        if counted == pulses {
            return;
        }
        // The bell of the doors rests for a millisecond; turning meanwhile would count as ours.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn folded() -> f64 {
    let (universe, handles) = start(watched(1, Duration::from_secs(10)), silent()).await;
    let mut sent = 0;
    rates_of(async || {
        let at = Mono(mono());
        for _ in 0..3_000_000 {
            handles[0].pulse(at).expect("a pulse is taken");
        }
        sent += 3_000_000;
        arrived(&universe, handles[0].name(), sent).await;
        3_000_000
    })
    .await
}

// === Ageing ===

/// Core alone: a table of machines and their wheel, a million services at 10 s intervals, each
/// pulse in random order, twenty simulated seconds.
fn ageing() {
    let order = shuffled(MILLION);
    let interval = Duration::from_secs(10);
    let policy = Arc::new(policy(Watch::External, interval));
    let mut wheel = Wheel::new(Time(0));
    let mut beats = Beats::default();
    let mut services: Vec<Service> = (0..MILLION)
        .map(|_| Service::new(Arc::clone(&policy), None, &at(0)))
        .collect();
    for (id, service) in (0..).zip(&mut services) {
        for event in [
            Event::Begin,
            Event::Pulse {
                generation: Generation(1),
                count: 1,
                note: None,
            },
        ] {
            drop(black_box(service.on(event, &at(1))));
        }
        beats.promise(id, service.promise());
        wheel.arm(id, service.deadline(Time(0)));
    }
    let (mut pulses, mut turns, mut catching_up) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fired, mut rearmed) = (Vec::new(), 0);
    // The first lap of pulses touches the memory for the first time, and no deadline passes.
    for second in 0..20_u64 {
        let (mut pulsing, mut turning) = (0, 0);
        for turn in 0..100_u64 {
            let now = second * 100 + turn;
            let begin = clock(CLOCK_THREAD_CPUTIME_ID);
            let moment = at(now * 10_000_000).at;
            let from = usize::try_from(now % 1_000).expect("small") * 1_000;
            for &id in &order[from..from + 1_000] {
                let beat = Beat {
                    count: 1,
                    first: moment.time,
                    last: moment,
                };
                let taken = beats.pulse(id, Generation(1), beat);
                assert!(taken, "a plain pulse is a store");
            }
            let between = clock(CLOCK_THREAD_CPUTIME_ID);
            wheel.expire(moment.time, &mut fired);
            for id in fired.drain(..) {
                let until = beats.well_until(id).expect("they are well");
                assert!(until > moment.time, "nobody is late");
                wheel.arm(id, until);
                rearmed += 1;
            }
            pulsing += between - begin;
            turning += clock(CLOCK_THREAD_CPUTIME_ID) - between;
        }
        let begin = clock(CLOCK_THREAD_CPUTIME_ID);
        while let Some((id, beat)) = beats.take_any() {
            services[id as usize].catch_up(beat);
        }
        if second >= 10 {
            let all = clock(CLOCK_THREAD_CPUTIME_ID) - begin;
            catching_up.push(ratio(all, 1_000_000));
            pulses.push(ratio(pulsing, 100_000));
            turns.push(ratio(turning, 1_000_000));
        }
    }
    head(
        "Ageing at 1,000,000 services, intervals of 10 s, random order",
        &["what", "cost (median of 10 s)"],
    );
    let ns = |what: &str, ns: f64| row(&[what, &format!("{ns:.0} ns a pulse")]);
    let eight = plain_store(&order, |_| 0_u64, |slot, now| *slot = now);
    ns("a plain store, 8 bytes a service (yardstick)", eight);
    drop(services);
    let line = plain_store(&order, |_| [0_u64; 8], |slot, now| slot[0] = now);
    ns("a plain store, 64 bytes a service (yardstick)", line);
    let whole = plain_store(
        &order,
        |_| [0_u64; size_of::<Service>() / 8],
        |slot, now| slot[2] = now,
    );
    ns("a plain store into the machines (yardstick)", whole);
    ns("tokio's DelayQueue, reset (yardstick)", delay_queue(&order));
    ns("supervisor: a pulse", median(&mut pulses));
    row(&[
        "what expires: CPU of a second",
        &format!("{:.1} ms", median(&mut turns)),
    ]);
    row(&[
        "what machines take over: CPU of a second",
        &format!("{:.1} ms", median(&mut catching_up)),
    ]);
    row(&[
        "deadlines that fired and were re-armed",
        &rearmed.to_string(),
    ]);
    let size = size_of::<Service>();
    row(&["size of a machine", &format!("{size} bytes")]);
}

fn at(nanos: u64) -> Now {
    Now {
        at: Moment {
            time: Time(nanos),
            mono: Mono(nanos),
            wall: Timestamp(0),
        },
        amnesty: Time(0),
        roll: 0.5,
    }
}

/// All indices in an order that no prefetcher guesses (Fisher–Yates over xorshift).
fn shuffled(count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(count).expect("a small number")).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for n in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(n, usize::try_from(state % (n as u64 + 1)).expect("below n"));
    }
    order
}

fn plain_store<T>(order: &[u32], new: fn(&u32) -> T, store: fn(&mut T, u64)) -> f64 {
    let mut slots: Vec<T> = order.iter().map(new).collect();
    let mut times: Vec<f64> = (1..=7)
        .map(|round| {
            let begin = clock(CLOCK_THREAD_CPUTIME_ID);
            for &id in order {
                store(&mut slots[id as usize], black_box(round));
            }
            black_box(&slots);
            ratio(clock(CLOCK_THREAD_CPUTIME_ID) - begin, order.len() as u64)
        })
        .collect();
    median(&mut times)
}

fn delay_queue(order: &[u32]) -> f64 {
    actix_rt::System::new().block_on(async {
        let mut queue = tokio_util::time::DelayQueue::with_capacity(order.len());
        let begin = tokio::time::Instant::now();
        let keys: Vec<_> = (0..order.len())
            .map(|id| queue.insert_at(id, begin + Duration::from_secs(10)))
            .collect();
        let mut times = Vec::new();
        for round in 1..=3_u64 {
            let before = clock(CLOCK_THREAD_CPUTIME_ID);
            for (n, &id) in (0..).zip(order) {
                let later = Duration::from_secs(10 * round) + Duration::from_micros(10 * n);
                queue.reset_at(&keys[id as usize], begin + later);
            }
            times.push(ratio(
                clock(CLOCK_THREAD_CPUTIME_ID) - before,
                order.len() as u64,
            ));
        }
        median(&mut times)
    })
}

// === Memory ===

/// An actor that waits for its timer.
struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_later(Duration::from_secs(3_600), |_, _| {});
    }
}

fn memory() {
    let weight = |what: &str| {
        again(&["--weigh", what, "100000"], "hugetlb=0", |text| {
            text.trim().parse::<f64>().expect("a number")
        })
    };
    head(
        "One watched in-process service more (of 100,000)",
        &["what", "resident bytes"],
    );
    for (what, name) in [
        ("idle actix actor with a timer (yardstick)", "actor"),
        ("watched service, all of it", "service"),
    ] {
        row(&[what, &format!("{:.0}", weight(name))]);
    }
}

/// Prints by how many bytes one of so many has made this process grow.
fn weigh(what: &str, count: usize) {
    let bytes = actix_rt::System::new().block_on(async {
        // What the first ones bring with them is not theirs.
        let warm = start(watched(10, Duration::from_secs(10)), silent()).await;
        let before = resident();
        match what {
            "actor" => {
                let actors: Vec<Addr<Idle>> = (0..count).map(|_| Idle.start()).collect();
                tokio::time::sleep(Duration::from_secs(1)).await;
                let grown = resident() - before;
                drop(actors);
                grown
            }
            "service" => {
                let specs = watched(count, Duration::from_secs(10));
                let (universe, handles) = start(specs, silent()).await;
                for _ in 0..3 {
                    for handle in &handles {
                        handle.pulse(Mono(mono())).expect("a pulse is taken");
                    }
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                let grown = resident() - before;
                drop((universe, handles, warm));
                grown
            }
            other => panic!("what is {other}?"),
        }
    });
    println!("{}", bytes / count as u64);
}

/// Resident bytes of this process, without what it has freed.
fn resident() -> u64 {
    // SAFETY: it only gives free pages back.
    unsafe { libc::malloc_trim(0) };
    let pid = i32::try_from(std::process::id()).expect("a pid");
    support::pss_kb(pid).expect("we live") * 1024
}

// === Deadlines ===

/// A log that notes when the level of which service fell to warning.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<(usize, u64)>>>);

impl Drain for Warnings {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let at = mono();
        let text = record.msg().to_string();
        let number = text
            .strip_prefix("service s")
            .and_then(|rest| rest.strip_suffix(" heartbeat: healthy → warning"))
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            self.0.lock().expect("a list").push((number, at));
        }
        Ok(())
    }
}

/// What a thread that pulses for all services did.
struct Pulsed {
    /// Its own CPU time.
    cpu: u64,
    /// Of each service, when it pulsed.
    receipts: Vec<Vec<u64>>,
}

/// Pulses for all services in turn, evenly over their interval, from a thread of its own.
/// `skips(lap, service)` are left out.
fn pulser(
    handles: Vec<ServiceHandle>,
    interval: Duration,
    stop: Arc<AtomicBool>,
    skips: fn(u64, usize) -> bool,
) -> std::thread::JoinHandle<Pulsed> {
    std::thread::spawn(move || {
        let lap = u64::try_from(interval.as_nanos()).expect("seconds");
        let mut receipts = vec![Vec::with_capacity(4); handles.len()];
        let begin = mono();
        let mut next = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let passed = u128::from(mono() - begin);
            let due = passed * handles.len() as u128 / u128::from(lap);
            while u128::from(next) < due {
                let count = handles.len() as u64;
                let service = usize::try_from(next % count).expect("an index");
                if !skips(next / count, service) {
                    let now = mono();
                    handles[service].pulse(Mono(now)).expect("taken");
                    receipts[service].push(now);
                }
                next += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Pulsed {
            cpu: clock(CLOCK_THREAD_CPUTIME_ID),
            receipts,
        }
    })
}

/// How late each missed deadline was noticed, in milliseconds, and how many warnings were false
/// or missing. A gap that ends just after its deadline may be seen either way.
fn judge(pulsed: &Pulsed, warnings: &Warnings, deadline: Duration) -> (Vec<f64>, usize, usize) {
    let deadline = u64::try_from(deadline.as_nanos()).expect("seconds");
    let unclear = SECOND / 5;
    let mut told = warnings.0.lock().expect("a list").clone();
    told.sort_unstable();
    let mut late = Vec::new();
    let mut missing = 0;
    let mut explained = 0;
    for (service, receipts) in pulsed.receipts.iter().enumerate() {
        let from = told.partition_point(|(other, _)| *other < service);
        let to = told.partition_point(|(other, _)| *other <= service);
        let mine = &told[from..to];
        for pair in receipts.windows(2) {
            let gap = pair[1] - pair[0];
            let due = pair[0] + deadline;
            let seen = mine
                .iter()
                .find(|(_, at)| (due..pair[1] + unclear).contains(at));
            match seen {
                _ if gap <= deadline => {}
                Some((_, at)) => {
                    explained += 1;
                    if gap > deadline + unclear {
                        late.push(ratio(at - due, 1_000_000));
                    }
                }
                None => missing += usize::from(gap > deadline + unclear),
            }
        }
        if let Some(last) = receipts.last() {
            explained += mine.iter().filter(|(_, at)| *at >= last + deadline).count();
        }
    }
    (late, told.len().saturating_sub(explained), missing)
}

/// Real time: 10,000 services at 1 s intervals, a fiftieth of them leaves out a pulse in each
/// second.
fn deadline() {
    let interval = Duration::from_secs(1);
    let deadline = interval + Duration::from_millis(100);
    let warnings = Warnings::default();
    let pulsed = actix_rt::System::new().block_on(async {
        let log = Logger::root(warnings.clone().fuse(), slog::o!());
        let (universe, handles) = start(watched(10_000, interval), log).await;
        let stop = Arc::new(AtomicBool::new(false));
        let skips =
            |lap: u64, service: usize| (service as u64 + lap * 17).is_multiple_of(50) && lap > 1;
        let pulser = pulser(handles, interval, Arc::clone(&stop), skips);
        tokio::time::sleep(Duration::from_secs(15)).await;
        stop.store(true, Ordering::Relaxed);
        drop(universe);
        pulser.join().expect("it pulses")
    });
    let (mut late, wrong, missing) = judge(&pulsed, &warnings, deadline);
    head(
        "Deadline passed → level changed, 10,000 services at 1 s intervals",
        &["p50", "p99", "deadlines missed", "false", "not noticed"],
    );
    row(&[
        &format!("{:.2} ms", median(&mut late)),
        &format!("{:.2} ms", percentile(&mut late, 0.99)),
        &late.len().to_string(),
        &wrong.to_string(),
        &missing.to_string(),
    ]);
}

/// A million services at 10 s intervals in real time, a thousand of which leave out a pulse in
/// each second round.
fn watch_a_million() {
    let interval = Duration::from_secs(10);
    let warnings = Warnings::default();
    let log = Logger::root(warnings.clone().fuse(), slog::o!());
    let before = resident();
    let (pulsed, cpu, own, grown) = actix_rt::System::new().block_on(async {
        let (universe, handles) = start(watched(MILLION, interval), log).await;
        let stop = Arc::new(AtomicBool::new(false));
        let skips = |lap: u64, service: usize| lap % 2 == 1 && service % 1_000 == 7;
        let pulser = pulser(handles, interval, Arc::clone(&stop), skips);
        // The first round brings a million events of services that are well now.
        tokio::time::sleep(Duration::from_secs(14)).await;
        let begin = clock(CLOCK_PROCESS_CPUTIME_ID);
        let own = clock(CLOCK_THREAD_CPUTIME_ID);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let cpu = clock(CLOCK_PROCESS_CPUTIME_ID) - begin;
        let own = clock(CLOCK_THREAD_CPUTIME_ID) - own;
        stop.store(true, Ordering::Relaxed);
        let pulsed = pulser.join().expect("it pulses");
        let grown = resident() - before;
        drop(universe);
        (pulsed, cpu, own, grown)
    });
    let deadline = interval + Duration::from_secs(1);
    let (mut late, wrong, missing) = judge(&pulsed, &warnings, deadline);
    head(
        "1,000,000 watched services at 10 s intervals, in process",
        &["what", "figure"],
    );
    let percent = |nanos: u64| format!("{:.0} % of a core", ratio(nanos, 20 * SECOND) * 100.0);
    row(&["CPU of the actors' thread", &percent(own)]);
    let pulsing = pulsed.cpu;
    row(&["CPU of everything, the pulsing thread too", &percent(cpu)]);
    row(&[
        "of which the pulsing thread (all its life)",
        &format!("{:.1} s", ratio(pulsing, SECOND)),
    ]);
    row(&["resident", &format!("{:.2} GB", ratio(grown, 1 << 30))]);
    row(&["deadlines missed", &late.len().to_string()]);
    row(&["false warnings", &wrong.to_string()]);
    row(&["not noticed", &missing.to_string()]);
    row(&[
        "noticed after, p99",
        &format!("{:.1} ms", percentile(&mut late, 0.99)),
    ]);
}
