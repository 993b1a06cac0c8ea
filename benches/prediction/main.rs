//! Failure detectors against each other on the same synthetic pulses: how soon each notices a
//! crash, how often it is wrong, and how long before a drifting service's first missed
//! interval it speaks. Run: `cargo bench --bench prediction`. Seeds are fixed: every run
//! prints the same tables.
mod detectors;
#[path = "../support/mod.rs"]
mod support;
mod traces;

use detectors::{Auto, Bertier, Chen, Detector, Fixed, Ours, Phi, Tails};
use support::{head, median, row};
use traces::{GAP, GRACE, INTERVAL};

/// Beats of each trace without a failure.
const BEATS: usize = 1_000_000;
/// How many services crash, and how many drift.
const LIVES: u64 = 400;

type Make = fn() -> Box<dyn Detector>;

/// Each with the parameters of who uses it.
const DETECTORS: [(&str, Make); 11] = [
    ("1 missed interval", || {
        Box::new(Fixed::new(1.0 * INTERVAL + GRACE))
    }),
    ("3 missed intervals", || {
        Box::new(Fixed::new(3.0 * INTERVAL + GRACE))
    }),
    ("5 missed intervals", || {
        Box::new(Fixed::new(5.0 * INTERVAL + GRACE))
    }),
    (
        "φ as Akka has it (8, 1,000 gaps, normal, 3 gaps' pause)",
        || Box::new(Phi::new(8.0, Tails::Normal { pause: 3.0 * GAP })),
    ),
    ("φ as Akka has it, no pause", || {
        Box::new(Phi::new(8.0, Tails::Normal { pause: 0.0 }))
    }),
    (
        "φ as Cassandra has it (8, 1,000 gaps, exponential)",
        || Box::new(Phi::new(8.0, Tails::Exponential)),
    ),
    ("Chen (1,000 gaps, α = half a gap)", || {
        Box::new(Chen::new(0.5 * GAP))
    }),
    ("Bertier (β = 1, φ = 4, γ = 0.1)", || {
        Box::<Bertier>::default()
    }),
    ("ours: 1 missed interval, or a trend", || {
        Box::new(Ours::new(INTERVAL + GRACE))
    }),
    ("ours: `interval = \"auto\"`, or a trend", || {
        Box::new(Auto::new())
    }),
    ("ours: the trend alone", || {
        Box::new(Ours::new(f64::INFINITY))
    }),
];

fn main() {
    println!(
        "Pulses every {GAP} s, {INTERVAL} s promised ({GRACE} s of grace); 5 % jitter everywhere."
    );
    quality();
    lead();
}

/// Detection time and mistakes.
fn quality() {
    head(
        "Crash noticed, and mistakes per 100,000 beats",
        &[
            "detector",
            "crash noticed after (median)",
            "jitter alone",
            "10 % lost in bursts (Gilbert–Elliott)",
            "pauses (Pareto)",
        ],
    );
    for (name, make) in DETECTORS {
        let mut crash: Vec<f64> = (0..LIVES).map(|seed| crash(make(), seed)).collect();
        let noticed = match median(&mut crash) {
            never if never.is_infinite() => "–".to_owned(),
            seconds => format!("{seconds:.1} s"),
        };
        let mut cells = vec![name.to_owned(), noticed];
        for trace in [traces::jitter, traces::lossy, traces::pausing] {
            let mistakes = mistakes(make(), trace(1, BEATS));
            cells.push(format!("{:.1}", mistakes as f64 * 1e5 / BEATS as f64));
        }
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        row(&cells);
    }
}

/// How long before the first missed interval a drift is told.
fn lead() {
    head(
        "A drift of 0.5 % a beat, from half the interval on",
        &[
            "detector",
            "told at beat (median)",
            "beats before the first miss (median, least)",
            "told 100 beats before the 158th",
        ],
    );
    for (name, make) in DETECTORS {
        let (mut told, mut before, mut in_time) = (Vec::new(), Vec::new(), 0);
        for seed in 0..LIVES {
            let gaps = traces::drift(seed);
            let missed = gaps.len();
            if let Some(beat) = first_word(make(), &gaps) {
                told.push(beat as f64);
                before.push(missed as f64 - beat as f64);
                in_time += u64::from(beat + 100 <= traces::MISS);
            }
        }
        if told.is_empty() {
            row(&[name, "not before the miss", "0", "0 %"]);
            continue;
        }
        let least = before.iter().copied().fold(f64::INFINITY, f64::min);
        row(&[
            name,
            &format!("{:.0}", median(&mut told)),
            &format!("{:.0}, {least:.0}", median(&mut before)),
            &format!("{} %", in_time * 100 / LIVES),
        ]);
    }
}

/// How long after its last pulse a service that is dead is suspected, in seconds.
fn crash(mut detector: Box<dyn Detector>, seed: u64) -> f64 {
    let mut now = 0.0;
    for gap in traces::jitter(seed, 500) {
        now += gap;
        detector.beat(now);
    }
    detector.suspects_at() - now
}

/// How often a service that lives was suspected.
fn mistakes(mut detector: Box<dyn Detector>, gaps: impl Iterator<Item = f64>) -> usize {
    let (mut now, mut count) = (0.0, 0);
    for gap in gaps {
        now += gap;
        let late = now > detector.suspects_at();
        let warned = detector.beat(now);
        count += usize::from(late || warned);
    }
    count
}

/// The beat of a drift at which a suspicion or a warning came first.
fn first_word(mut detector: Box<dyn Detector>, drift: &[f64]) -> Option<usize> {
    let mut now = 0.0;
    for gap in traces::jitter(7, 1_000) {
        now += gap;
        detector.beat(now);
    }
    drift.iter().position(|gap| {
        now += gap;
        let late = now > detector.suspects_at();
        detector.beat(now) || late
    })
}
