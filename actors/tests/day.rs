//! Long times: a day of fifty services, a hundred hangs in a row.

use std::time::Duration;

use supervisor_actors::testing::{Act, PausedSystem, Script, Stage, What, pulsing};
use supervisor_core::Level;
use supervisor_core::backoff::Intensity;
use tokio::time::sleep;

/// How late a hang may be noticed: the wheel and the timer round up to a millisecond each.
const LATE: Duration = Duration::from_millis(20);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A small generator of our own: the day is the same one each time (xorshift, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_day_of_fifty_services_each_hang_is_caught_at_its_deadline_and_none_falsely() {
    let stage = Stage::new();
    let mut chance = Chance(0x5eed);
    let mut specs = Vec::new();
    let mut critical = Vec::new();
    for n in 0..50_u64 {
        let name = format!("s{n}");
        let interval = secs(60 + n * 3);
        stage.machine.script(
            &name,
            Script {
                pulse_every: Some(interval),
                stop_after: Duration::from_millis(n * 10),
                ..Script::default()
            },
        );
        let spec = pulsing(&name, interval);
        critical.push(spec.policy.thresholds.critical);
        specs.push(spec);
    }
    let universe = stage.start(specs).await;
    let (mut hangs, mut crashes) = (0, 0);
    let mut passed = Duration::ZERO;
    while passed < secs(86_400) {
        // Well apart, so that no restart limit and no storm brake comes into it.
        let pause = secs(60) + Duration::from_millis(chance.below(120_000));
        sleep(pause).await;
        passed += pause;
        let name = format!("s{}", chance.below(50));
        let view = universe.view(&name).await;
        if view.status != Level::Healthy || stage.machine.is_hung(&name) {
            continue;
        }
        if chance.below(2) == 0 {
            stage.machine.hang(&name);
            hangs += 1;
        } else {
            stage.machine.exit(&name, 1);
            crashes += 1;
        }
    }
    // The last ones' deadlines pass.
    sleep(secs(1_800)).await;

    let journal = stage.machine.journal();
    let mut caught = 0;
    for act in &journal {
        if let What::Stopped { hung, last } = act.what {
            let number: usize = act.name[1..].parse().expect("a number");
            let late = act.at.since(last + critical[number]);
            assert!(hung, "{} was well and was stopped", act.name);
            assert!(act.at >= last + critical[number], "{act:?} came too early");
            assert!(late <= LATE, "{} was noticed {late:?} late", act.name);
            caught += 1;
        }
    }
    assert_eq!(caught, hangs);
    assert!(
        hangs > 200 && crashes > 200,
        "{hangs} hangs, {crashes} crashes"
    );
    let launches = journal.iter().filter(|act| act.what == What::Launched);
    assert_eq!(launches.count(), 50 + hangs + crashes);
    assert!(!stage.machine.ever_doubled());
    let overview = universe.supervisor.overview().await.expect("an overview");
    assert_eq!(overview.overall, Level::Healthy);
    assert_eq!(stage.log.with("actor panicked").len(), 0);
    assert_eq!(stage.log.with("stalled").len(), 0);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_hundred_hangs_in_a_row_of_one_service_are_each_caught() {
    let stage = Stage::new();
    stage.machine.script(
        "worker",
        Script {
            pulse_every: Some(secs(1)),
            // Long enough to end a series of restarts.
            hang_after: Some(secs(70)),
            ..Script::default()
        },
    );
    let mut spec = pulsing("worker", secs(1));
    let mut policy = spec.policy.as_ref().clone();
    policy.intensity = Intensity::new(1_000, secs(900)).expect("a limit");
    spec.policy = policy.into();
    let critical = spec.policy.thresholds.critical;
    let universe = stage.start(vec![spec]).await;
    sleep(secs(100 * 76)).await;
    let stops: Vec<Act> = stage
        .machine
        .journal()
        .into_iter()
        .filter(|act| matches!(act.what, What::Stopped { .. }))
        .collect();
    assert!(stops.len() >= 100, "{} hangs were caught", stops.len());
    for act in &stops {
        let What::Stopped { hung, last } = act.what else {
            continue;
        };
        assert!(hung);
        let deadline = last + critical;
        assert!(
            act.at >= deadline && act.at.since(deadline) <= LATE,
            "{act:?}"
        );
    }
    assert_eq!(stage.machine.launches("worker") as usize, stops.len() + 1);
    assert_eq!(universe.view("worker").await.restarts, stops.len() as u64);
}

#[actix_rt::test(system = "PausedSystem")]
async fn hangs_without_end_lead_to_quarantine_and_no_further_start() {
    let stage = Stage::new();
    stage.machine.script(
        "worker",
        Script {
            pulse_every: Some(secs(1)),
            hang_after: Some(Duration::from_millis(1_500)),
            ..Script::default()
        },
    );
    let universe = stage.start(vec![pulsing("worker", secs(1))]).await;
    sleep(secs(880)).await;
    let view = universe.view("worker").await;
    assert_eq!(view.state, supervisor_core::view::StateWord::Quarantined);
    assert_eq!(view.status, Level::Critical);
    assert_eq!(stage.machine.launches("worker"), 11);
    assert_eq!(stage.log.with("service worker quarantined").len(), 1);
}
