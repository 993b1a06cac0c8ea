//! Probes look on time, at whom lives, and nobody is judged for what is our own fault.

use std::sync::Arc;
use std::time::Duration;

use supervisor_actors::messages::Verb;
use supervisor_actors::ports::Look;
use supervisor_actors::probe::Places;
use supervisor_actors::spec::ServiceSpec;
use supervisor_actors::testing::{
    FakeProbe, PausedSystem, Running, Script, Stage, external, pulsing, settle,
};
use supervisor_core::Level;
use supervisor_core::policy::{Policy, Ready};
use supervisor_core::time::Mono;
use supervisor_core::view::StateWord;
use tokio::time::sleep;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn refused() -> Look {
    Look::Failed("127.0.0.1:80 refused the connection".to_owned())
}

fn probed(mut spec: ServiceSpec, probe: &FakeProbe) -> ServiceSpec {
    let mut policy = Policy::clone(&spec.policy);
    policy.probed = true;
    spec.policy = Arc::new(policy);
    spec.sources.push(Arc::new(probe.clone()));
    spec
}

fn with_policy(mut spec: ServiceSpec, change: impl FnOnce(&mut Policy)) -> ServiceSpec {
    let mut policy = Policy::clone(&spec.policy);
    change(&mut policy);
    spec.policy = Arc::new(policy);
    spec
}

/// A service of ours that is judged by 10 s and ready by its probe.
fn web(probe: &FakeProbe) -> ServiceSpec {
    web_by(secs(10), probe)
}

fn web_by(interval: Duration, probe: &FakeProbe) -> ServiceSpec {
    with_policy(probed(pulsing("web", interval), probe), |policy| {
        policy.ready = Ready::Probe;
    })
}

async fn level(universe: &Running, name: &str) -> Level {
    universe.view(name).await.status
}

async fn reason(universe: &Running, name: &str) -> String {
    universe.view(name).await.reason
}

fn gaps(looks: &[Mono]) -> Vec<Duration> {
    looks.windows(2).map(|two| two[1].since(two[0])).collect()
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_probe_that_passes_keeps_a_service_healthy() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    let universe = stage
        .start(vec![probed(external("db", secs(10)), &probe)])
        .await;
    sleep(secs(300)).await;
    let view = universe.view("db").await;
    assert_eq!(view.status, Level::Healthy);
    assert!((30..=32).contains(&view.total_pulses), "{view:?}");
    let events = universe.events("db").await;
    assert_eq!(events.len(), 1, "it was healthy all the time: {events:?}");
}

#[actix_rt::test(system = "PausedSystem")]
async fn looks_come_at_fixed_times_however_long_one_takes() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    let _universe = stage
        .start(vec![probed(external("db", secs(30)), &probe)])
        .await;
    sleep(secs(25)).await;
    probe.takes(ms(1_900));
    assert!(!probe.looks().is_empty());
    sleep(secs(100)).await;
    let gaps = gaps(&probe.looks());
    assert_eq!(gaps.len(), 9);
    for gap in gaps {
        assert!(gap.abs_diff(secs(10)) < ms(5), "{gap:?}");
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn many_probes_are_spread_over_the_interval() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    let specs = (0..1_000)
        .map(|n| probed(external(&format!("db{n}"), secs(10)), &probe))
        .collect();
    let universe = stage.start(specs).await;
    sleep(secs(100)).await;
    let _before = probe.looks();
    for _ in 0..20 {
        sleep(ms(500)).await;
        let looks = probe.looks().len();
        assert!((20..90).contains(&looks), "{looks} in half a second");
    }
    assert_eq!(level(&universe, "db0").await, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn readiness_is_seen_when_it_comes() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(60));
    probe.sees(refused());
    let universe = stage.start(vec![web_by(secs(65), &probe)]).await;
    sleep(secs(5)).await;
    let view = universe.view("web").await;
    assert_eq!(
        (view.state, view.status),
        (StateWord::Starting, Level::Unknown)
    );
    assert_eq!(
        view.reason,
        "starting; its last probe failed: 127.0.0.1:80 refused the connection"
    );
    probe.sees(Look::Passed);
    sleep(ms(1_100)).await;
    assert_eq!(universe.view("web").await.state, StateWord::Running);
    let _quick = probe.looks();
    sleep(secs(600)).await;
    assert!(probe.looks().len() <= 10, "from then on once a minute");
}

#[actix_rt::test(system = "PausedSystem")]
async fn one_that_never_becomes_ready_is_restarted_at_its_start_s_deadline() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    probe.sees(refused());
    let universe = stage.start(vec![web(&probe)]).await;
    sleep(secs(50)).await;
    assert_eq!(stage.machine.launches("web"), 1);
    sleep(secs(3)).await;
    assert_eq!(stage.machine.launches("web"), 2);
    let restarted = universe.events("web").await;
    let restarted = restarted
        .iter()
        .find(|event| event.kind == "restarted")
        .expect("it was");
    assert_eq!(restarted.to.as_deref(), Some("unready"));
    assert_eq!(
        restarted.reason,
        "not ready within 51 s of its start; \
         its last probe failed: 127.0.0.1:80 refused the connection"
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn failures_in_a_row_raise_the_level_and_restart_it_though_it_pulses() {
    let stage = Stage::new();
    stage.machine.script(
        "web",
        Script {
            pulse_every: Some(secs(1)),
            ..Script::default()
        },
    );
    let probe = FakeProbe::every(secs(10));
    let universe = stage.start(vec![web(&probe)]).await;
    sleep(secs(20)).await;
    assert_eq!(level(&universe, "web").await, Level::Healthy);
    probe.sees(refused());
    sleep(secs(10)).await;
    assert_eq!(level(&universe, "web").await, Level::Warning);
    sleep(secs(20)).await;
    assert_eq!(level(&universe, "web").await, Level::Degraded);
    assert_eq!(
        reason(&universe, "web").await,
        "3 probes failed in a row, the last: 127.0.0.1:80 refused the connection"
    );
    assert_eq!(stage.machine.launches("web"), 1);
    sleep(secs(20)).await;
    assert_eq!(stage.machine.launches("web"), 2);
    let events = universe.events("web").await;
    let restarted = events.iter().find(|event| event.kind == "restarted");
    let kind = restarted.and_then(|event| event.to.as_deref());
    assert_eq!(kind, Some("probe"));
    probe.sees(Look::Passed);
    sleep(secs(2)).await;
    let view = universe.view("web").await;
    assert_eq!(
        (view.status, view.state),
        (Level::Healthy, StateWord::Running)
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn failures_below_the_threshold_are_nothing_and_successes_below_theirs_no_pulse() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10)).with_thresholds(3, 2);
    let universe = stage
        .start(vec![probed(external("db", secs(60)), &probe)])
        .await;
    sleep(ms(900)).await;
    assert_eq!(
        level(&universe, "db").await,
        Level::Unknown,
        "one is not enough"
    );
    sleep(secs(1)).await;
    assert_eq!(level(&universe, "db").await, Level::Healthy);
    sleep(secs(20)).await;
    probe.sees_in_turn(vec![refused(), refused(), Look::Passed]);
    sleep(secs(60)).await;
    assert_eq!(universe.view("db").await.error_count, 0);
    probe.sees_in_turn(vec![
        refused(),
        refused(),
        refused(),
        refused(),
        Look::Passed,
    ]);
    sleep(secs(40)).await;
    let view = universe.view("db").await;
    assert_eq!((view.status, view.error_count), (Level::Warning, 2));
    sleep(secs(10)).await;
    assert_eq!(
        level(&universe, "db").await,
        Level::Warning,
        "one is not enough"
    );
    sleep(secs(10)).await;
    assert_eq!(level(&universe, "db").await, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn nobody_is_looked_at_where_nobody_lives() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(1));
    let universe = stage.start(vec![web(&probe)]).await;
    sleep(secs(5)).await;
    let name = supervisor_core::ServiceName::new("web").expect("a name");
    let stopped = universe.supervisor.control(&name, Verb::Stop).await;
    stopped.expect("it is told").expect("it may");
    settle().await;
    let _before = probe.looks();
    sleep(secs(60)).await;
    assert_eq!(probe.looks(), []);
    let started = universe.supervisor.control(&name, Verb::Start).await;
    started.expect("it is told").expect("it may");
    sleep(secs(2)).await;
    assert!(!probe.looks().is_empty());
    // In a backoff.
    stage.machine.exit("web", 1);
    settle().await;
    stage.machine.exit("web", 1);
    settle().await;
    assert_eq!(universe.view("web").await.state, StateWord::Backoff);
    let _before = probe.looks();
    sleep(ms(300)).await;
    assert_eq!(probe.looks(), []);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_look_is_given_up_with_the_life_that_it_is_about() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    let universe = stage.start(vec![web(&probe)]).await;
    sleep(secs(5)).await;
    probe.sees(refused());
    probe.takes(secs(2));
    while probe.under_way() == 0 {
        sleep(ms(100)).await;
    }
    stage.machine.exit("web", 1);
    settle().await;
    assert_eq!(probe.given_up(), 1);
    let view = universe.view("web").await;
    assert_eq!((view.generation, view.error_count), (2, 0));
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_failure_while_we_were_stopped_is_nobody_s_fault() {
    for stopped in [ms(600), secs(6), secs(600)] {
        let stage = Stage::new();
        let probe = FakeProbe::every(secs(10));
        let universe = stage.start(vec![web(&probe)]).await;
        sleep(secs(15)).await;
        // The server answers in time; we read it too late.
        probe.sees_in_turn(vec![
            Look::Failed("127.0.0.1:80 did not answer within 2s".to_owned()),
            Look::Passed,
        ]);
        probe.takes(ms(500));
        while probe.under_way() == 0 {
            sleep(ms(10)).await;
        }
        stage.clock.freeze(stopped);
        let _before = probe.looks();
        sleep(secs(2)).await;
        assert_eq!(probe.looks().len(), 1, "it looked again at once");
        sleep(secs(30)).await;
        let view = universe.view("web").await;
        assert_eq!((view.status, view.error_count), (Level::Healthy, 0));
        assert_eq!(stage.machine.launches("web"), 1);
        let events = universe.events("web").await;
        let levels = events.iter().filter(|event| event.kind == "level");
        assert_eq!(levels.count(), 1, "{stopped:?}: {events:?}");
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn after_a_stop_of_ours_missed_looks_are_not_made_up_for() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(1));
    let universe = stage
        .start(vec![probed(external("db", secs(1)), &probe)])
        .await;
    sleep(secs(5)).await;
    stage.clock.freeze(secs(3_600));
    let _before = probe.looks();
    sleep(secs(10)).await;
    let looks = probe.looks().len();
    assert!((9..=11).contains(&looks), "{looks}");
    let events = universe.events("db").await;
    let levels = events.iter().filter(|event| event.kind == "level");
    assert_eq!(levels.count(), 1, "{events:?}");
}

#[actix_rt::test(system = "PausedSystem")]
async fn that_we_cannot_look_is_nobody_s_fault() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    let universe = stage
        .start(vec![probed(external("db", secs(10)), &probe)])
        .await;
    sleep(secs(30)).await;
    probe.sees(Look::Unable("too many open files".to_owned()));
    sleep(secs(600)).await;
    let view = universe.view("db").await;
    assert_eq!((view.status, view.error_count), (Level::Healthy, 0));
    let said = stage.log.with("a probe cannot look");
    assert!((5..15).contains(&said.len()), "not at every look: {said:?}");
    probe.sees(refused());
    sleep(secs(30)).await;
    assert_eq!(level(&universe, "db").await, Level::Degraded);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_probe_whose_code_panics_looks_again() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    let universe = stage
        .start(vec![probed(external("db", secs(10)), &probe)])
        .await;
    sleep(secs(30)).await;
    probe.panics_once();
    sleep(secs(30)).await;
    assert_eq!(stage.log.with("the probe was told to panic").len(), 1);
    let view = universe.view("db").await;
    assert_eq!((view.status, view.error_count), (Level::Healthy, 0));
    assert!(view.total_pulses >= 5);
}

#[actix_rt::test(system = "PausedSystem")]
async fn so_many_looks_are_under_way_and_who_waits_for_a_place_is_not_late() {
    let stage = Stage::new();
    let places = Places::new(10);
    let probe = FakeProbe::every(secs(10)).with_places(&places);
    // Each takes two seconds, so ten of them serve fifty in ten: a hundred are too many.
    probe.takes(secs(2));
    let specs = (0..100)
        .map(|n| probed(external(&format!("db{n}"), secs(12)), &probe))
        .collect();
    let universe = stage.start(specs).await;
    sleep(secs(600)).await;
    assert_eq!(probe.most_under_way(), 10);
    for n in 0..100 {
        let name = format!("db{n}");
        let events = universe.events(&name).await;
        let levels: Vec<_> = events
            .iter()
            .filter(|event| event.kind == "level")
            .collect();
        assert_eq!(levels.len(), 1, "{name}: {levels:?}");
    }
    let said = stage.log.with("probes wait for one another");
    assert!((5..15).contains(&said.len()), "{said:?}");
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_life_found_after_our_restart_is_looked_at_soon() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    let universe = stage.start(vec![web(&probe)]).await;
    sleep(secs(15)).await;
    drop(universe);
    settle().await;
    let again = FakeProbe::every(secs(10));
    let universe = stage.start(vec![web(&again)]).await;
    sleep(secs(1)).await;
    assert!(!again.looks().is_empty());
    assert_eq!(level(&universe, "web").await, Level::Healthy);
    assert_eq!(stage.machine.launches("web"), 1);
}

#[actix_rt::test(system = "PausedSystem")]
async fn many_services_whose_probes_fail_at_once_are_a_storm() {
    let stage = Stage::new();
    let probe = FakeProbe::every(secs(10));
    let specs = (0..6)
        .map(|n| {
            let name = format!("web{n}");
            stage.machine.script(
                &name,
                Script {
                    pulse_every: Some(secs(1)),
                    stop_after: secs(3),
                    ..Script::default()
                },
            );
            probed(pulsing(&name, secs(10)), &probe)
        })
        .collect();
    let _universe = stage.start(specs).await;
    sleep(secs(20)).await;
    probe.sees(refused());
    sleep(secs(50)).await;
    assert_eq!(stage.log.with("storm: most services").len(), 1);
}

#[test]
fn a_probe_ends_with_its_service() {
    let probe = FakeProbe::every(secs(1));
    probe.takes(ms(900));
    PausedSystem::new().block_on(async {
        let stage = Stage::new();
        let universe = stage
            .start(vec![probed(external("db", secs(5)), &probe)])
            .await;
        sleep(ms(500)).await;
        assert_eq!(probe.under_way(), 1);
        universe.supervisor.shutdown(false).await;
        drop(universe);
    });
    assert_eq!((probe.under_way(), probe.given_up()), (0, 1));
}
