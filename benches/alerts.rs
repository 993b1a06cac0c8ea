//! Alerts in process: how long a failed parent's children and a storm take, and what a sink that
//! hangs costs the others. Run: `cargo bench --bench alerts`.

mod support;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, pending, ready};

use supervisor_actors::handle::Inform;
use supervisor_actors::messages::NewEvent;
use supervisor_actors::ports::Clock as _;
use supervisor_actors::ports::alerts::{AlertSink, Undelivered};
use supervisor_actors::spec::ServiceSpec;
use supervisor_core::ServiceName;
use supervisor_core::alert::{Notice, Policy};
use supervisor_core::event::EventKind;
use supervisor_core::time::Mono;

use support::universe::{Forgetful, RealClock, Sinks, silent, start_with, watched};
use support::{head, median, mono, percentile, row};

/// The policy of the services: a tenth of it is forgiven, see `testing::external`.
const INTERVAL: Duration = Duration::from_secs(3);
/// How late the last transition may be before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the third is measured.
const ROUNDS: usize = 60;

fn main() {
    head(
        "From the deadline to the last of all transitions",
        &[
            "what",
            "warning",
            "degraded",
            "critical",
            "alerts told",
            "goal",
        ],
    );
    let mut children = watched(1_001, INTERVAL);
    let parent = ServiceName::new("s0").expect("a name");
    for child in &mut children[1..] {
        child.depends_on = vec![parent.clone()];
    }
    expire(
        "1,000 services under one failed parent",
        children,
        "1 s, 1 alert",
    );
    let storm = watched(10_000, INTERVAL);
    expire(
        "10,000 services in the same second",
        storm,
        "1 s, 1 storm alert",
    );

    head(
        "A critical error → the message is at a sink",
        &["beside it", "p50", "p99", "slower", "goal"],
    );
    let mut alone = deliveries(false);
    let mut beside = deliveries(true);
    let slower = median(&mut beside) - median(&mut alone);
    for (what, times, slower) in [
        ("a sink that takes all", &mut alone, String::new()),
        ("a sink that hangs", &mut beside, format!("{slower:.2} ms")),
    ] {
        let (p50, p99) = (median(times), percentile(times, 0.99));
        row(&[
            what,
            &format!("{p50:.2} ms"),
            &format!("{p99:.2} ms"),
            &slower,
            "10 ms",
        ]);
    }
}

/// What a sink got, and when.
type Got = Rc<RefCell<Vec<(u64, Notice)>>>;

struct Keeps(Got);

impl AlertSink for Keeps {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        self.0.borrow_mut().push((mono(), notice));
        ready(Ok(())).boxed_local()
    }
}

struct Hangs;

impl AlertSink for Hangs {
    fn deliver(&self, _: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        pending().boxed_local()
    }
}

fn alerting(sinks: Sinks, group_wait: Duration) -> (Policy, Sinks) {
    let names: Vec<_> = sinks.iter().map(|(name, _)| name.clone()).collect();
    let policy = Policy {
        steps: Policy::default_steps(&names),
        group_wait,
        ..Policy::default()
    };
    (policy, sinks)
}

/// All of them fall silent in the same moment.
fn expire(what: &str, specs: Vec<ServiceSpec>, goal: &str) {
    let got = Got::default();
    let told: Arc<Mutex<Vec<NewEvent>>> = Arc::default();
    let policy = Arc::clone(&specs[0].policy);
    let count = specs.len();
    let store = Forgetful {
        told: Arc::clone(&told),
        tells: true,
    };
    let sinks: Sinks = vec![("ops".into(), Rc::new(Keeps(Rc::clone(&got))))];
    let last = actix_rt::System::new().block_on(async {
        let alerting = alerting(sinks, Duration::from_secs(5));
        let (_universe, services) = start_with(specs, silent(), store, alerting).await;
        for _ in 0..2 {
            for service in &services {
                service.pulse(Mono(mono())).expect("taken");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let clock = RealClock;
        let last = clock.wall();
        let at = clock.mono();
        for service in &services {
            service.pulse(at).expect("taken");
        }
        tokio::time::sleep(policy.thresholds.critical).await;
        // A busy machine is late, and our own lateness moves every deadline: the end is a state.
        let all = || {
            let told = told.lock().expect("the list");
            let critical = told.iter().filter(|event| {
                event.change.to == Some("critical") && !event.service.is_internal()
            });
            critical.count() >= count
        };
        let begun = clock.mono();
        while !all() && clock.mono().since(begun) < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The alerts wait for each other a while.
        tokio::time::sleep(Duration::from_secs(8)).await;
        last
    });
    let told = told.lock().expect("the list");
    let mut cells = vec![what.to_owned()];
    for (level, limit) in [
        ("warning", Some(policy.thresholds.warning)),
        ("degraded", policy.thresholds.degraded),
        ("critical", Some(policy.thresholds.critical)),
    ] {
        let limit = limit.expect("the policy names it");
        // Of each service the last time: on a busy machine one may be late before its last pulse.
        let reached: HashMap<&ServiceName, i64> = told
            .iter()
            .filter(|event| event.change.kind == EventKind::Level && event.time >= last)
            .filter(|event| event.change.to == Some(level) && !event.service.is_internal())
            .map(|event| (&event.service, event.time.0 - last.0))
            .collect();
        assert_eq!(reached.len(), count, "{what}: each of them reaches {level}");
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let seconds = |micros: i64| micros as f64 / 1e6 - limit.as_secs_f64();
        let worst = reached.into_values().map(seconds).fold(0.0, f64::max);
        cells.push(format!("{:.0} ms", worst * 1e3));
    }
    let notices: Vec<String> = got
        .borrow()
        .iter()
        .map(|(_, notice)| format!("{} {}", notice.kind.as_str(), notice.alert.subject))
        .collect();
    cells.push(notices.join(", "));
    cells.push(goal.to_owned());
    let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
    row(&cells);
}

/// How long messages take to a sink, in milliseconds.
fn deliveries(beside_one_that_hangs: bool) -> Vec<f64> {
    let got = Got::default();
    let other: Rc<dyn AlertSink> = if beside_one_that_hangs {
        Rc::new(Hangs)
    } else {
        Rc::new(Keeps(Got::default()))
    };
    let sinks: Sinks = vec![
        ("other".into(), other),
        ("ops".into(), Rc::new(Keeps(Rc::clone(&got)))),
    ];
    actix_rt::System::new().block_on(async {
        let alerting = alerting(sinks, Duration::ZERO);
        // So many that those that fail one after another are no storm.
        let specs = watched(4 * ROUNDS, Duration::from_secs(3_600));
        let (_universe, services) =
            start_with(specs, silent(), Forgetful::default(), alerting).await;
        let mut times = Vec::new();
        for service in services.iter().take(ROUNDS) {
            let before = got.borrow().len();
            let began = mono();
            let error = Inform::Error {
                message: "it broke".to_owned(),
                critical: true,
            };
            service.inform(Mono(began), error).await.expect("taken");
            while got.borrow().len() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let (at, _) = got.borrow()[before].clone();
            #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
            times.push((at - began) as f64 / 1e6);
        }
        times
    })
}
