//! Dependencies, shutdown, storms, control: what happens to several services at once.

use std::time::Duration;

use supervisor_actors::messages::{Denied, Verb};
use supervisor_actors::spec::{Nudge, ServiceSpec};
use supervisor_actors::testing::{
    PausedSystem, Running, Script, Stage, What, alive, external, pulsing, settle,
};
use supervisor_core::view::{StateWord, View};
use supervisor_core::{Level, ServiceName};
use tokio::time::sleep;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn every(interval: Duration) -> Script {
    Script {
        pulse_every: Some(interval),
        ..Script::default()
    }
}

fn name(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a name")
}

async fn control(universe: &Running, service: &str, verb: Verb) -> Result<View, Denied> {
    let answer = universe.supervisor.control(&name(service), verb).await;
    answer.expect("the supervisor answers")
}

/// db ◀ api ◀ web, each a second after its launch with its first pulse.
fn chain(stage: &Stage) -> Vec<ServiceSpec> {
    let mut specs = Vec::new();
    for (service, needs) in [("web", Some("api")), ("api", Some("db")), ("db", None)] {
        let mut script = every(secs(1));
        script.start_after = ms(500);
        script.stop_after = ms(200);
        stage.machine.script(service, script);
        let mut spec = pulsing(service, secs(1));
        spec.depends_on = needs.into_iter().map(name).collect();
        specs.push(spec);
    }
    specs
}

/// Who was launched, or stopped, or ended, in order.
fn acts(stage: &Stage, wanted: fn(What) -> bool) -> Vec<String> {
    let mut acts = stage.machine.journal();
    acts.retain(|act| wanted(act.what));
    acts.into_iter().map(|act| act.name).collect()
}

fn launched(what: What) -> bool {
    what == What::Launched
}

fn stopped(what: What) -> bool {
    matches!(what, What::Stopped { .. })
}

fn ended_or_stopped(what: What) -> bool {
    what == What::Ended || stopped(what)
}

#[actix_rt::test(system = "PausedSystem")]
async fn services_start_when_what_they_need_is_ready() {
    let stage = Stage::new();
    let universe = stage.start(chain(&stage)).await;
    assert_eq!(acts(&stage, launched), ["db"]);
    let view = universe.view("web").await;
    assert_eq!(view.state, StateWord::Starting);
    assert!(view.reason.contains("api"), "{}", view.reason);
    sleep(ms(510)).await;
    assert_eq!(acts(&stage, launched), ["db", "api"]);
    sleep(ms(510)).await;
    assert_eq!(acts(&stage, launched), ["db", "api", "web"]);
    sleep(secs(1)).await;
    assert_eq!(universe.view("web").await.state, StateWord::Running);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_stop_takes_the_dependants_first_and_a_start_brings_them_back() {
    let stage = Stage::new();
    let universe = stage.start(chain(&stage)).await;
    sleep(secs(5)).await;
    control(&universe, "db", Verb::Stop).await.expect("allowed");
    sleep(secs(2)).await;
    assert_eq!(
        acts(&stage, ended_or_stopped),
        ["web", "web", "api", "api", "db", "db"],
        "each is told to stop when the one before has ended"
    );
    assert_eq!(universe.view("db").await.state, StateWord::Stopped);
    for dependant in ["api", "web"] {
        let view = universe.view(dependant).await;
        assert_eq!(view.state, StateWord::Starting, "it waits");
        assert_eq!(view.status, Level::Unknown, "nobody is to be alarmed");
    }
    sleep(secs(60)).await;
    assert_eq!(stage.machine.living(), []);
    control(&universe, "db", Verb::Start)
        .await
        .expect("allowed");
    sleep(secs(3)).await;
    assert_eq!(
        acts(&stage, launched),
        ["db", "api", "web", "db", "api", "web"]
    );
    assert_eq!(universe.view("web").await.status, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn an_operators_restart_takes_the_dependants_along() {
    let stage = Stage::new();
    let universe = stage.start(chain(&stage)).await;
    sleep(secs(5)).await;
    control(&universe, "api", Verb::Restart)
        .await
        .expect("allowed");
    sleep(secs(4)).await;
    assert_eq!(acts(&stage, stopped), ["web", "api"]);
    assert_eq!(
        acts(&stage, launched),
        ["db", "api", "web", "api", "web"],
        "db is none of its business"
    );
    assert_eq!(universe.view("web").await.status, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_crash_of_a_dependency_leaves_its_dependants_running_and_unpoked() {
    let stage = Stage::new();
    let universe = stage.start(chain(&stage)).await;
    sleep(secs(5)).await;
    // While db is down for good, api hangs: that is db's fault.
    control(&universe, "db", Verb::Pause(None))
        .await
        .expect("allowed");
    stage.machine.exit("db", 1);
    stage.machine.hang("api");
    sleep(secs(20)).await;
    assert_eq!(acts(&stage, stopped), [""; 0]);
    control(&universe, "db", Verb::Resume)
        .await
        .expect("allowed");
    sleep(secs(10)).await;
    assert_eq!(acts(&stage, stopped), ["api"], "now it is its own");
    assert_eq!(stage.machine.launches("web"), 1);
}

#[test]
fn a_shutdown_stops_everything_in_reverse_order_and_the_next_start_brings_it_back() {
    let stage = PausedSystem::new().block_on(async {
        let stage = Stage::new();
        let mut specs = chain(&stage);
        specs.push(alive("lone"));
        let universe = stage.start(specs).await;
        sleep(secs(5)).await;
        control(&universe, "lone", Verb::Stop)
            .await
            .expect("allowed");
        universe.supervisor.shutdown(false).await;
        assert_eq!(stage.machine.living(), []);
        assert_eq!(
            acts(&stage, ended_or_stopped)[2..],
            ["web", "web", "api", "api", "db", "db"]
        );
        assert_eq!(
            control(&universe, "db", Verb::Start).await,
            Err(Denied::ShuttingDown)
        );
        sleep(secs(60)).await;
        assert_eq!(stage.machine.living(), [], "nothing is started any more");
        stage
    });
    PausedSystem::new().block_on(async {
        let mut specs = chain(&stage);
        specs.push(alive("lone"));
        let universe = stage.start(specs).await;
        sleep(secs(3)).await;
        assert_eq!(universe.view("web").await.status, Level::Healthy);
        // What an operator stopped stays stopped.
        assert_eq!(universe.view("lone").await.state, StateWord::Stopped);
        assert_eq!(stage.machine.launches("lone"), 1);
    });
}

#[test]
fn a_shutdown_that_leaves_services_leaves_them_to_the_next_supervisor() {
    let stage = PausedSystem::new().block_on(async {
        let stage = Stage::new();
        let universe = stage.start(chain(&stage)).await;
        sleep(secs(5)).await;
        universe.supervisor.shutdown(true).await;
        assert_eq!(acts(&stage, stopped), [""; 0]);
        stage
    });
    let living = stage.machine.living();
    assert_eq!(living.len(), 3);
    PausedSystem::new().block_on(async {
        let universe = stage.start(chain(&stage)).await;
        sleep(secs(3)).await;
        assert_eq!(universe.view("web").await.status, Level::Healthy);
    });
    assert_eq!(stage.machine.living(), living);
}

#[actix_rt::test(system = "PausedSystem")]
async fn in_a_storm_one_alarm_is_raised_and_restarts_go_two_at_a_time() {
    let stage = Stage::new();
    let names: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    let mut specs = Vec::new();
    for service in &names {
        stage.machine.script(service, every(secs(1)));
        specs.push(pulsing(service, secs(1)));
    }
    let universe = stage.start(specs).await;
    sleep(ms(10_500)).await;
    for service in &names {
        // Their successors come up silent, so nobody makes room early.
        stage.machine.hang(service);
        let mut silent = every(secs(1));
        silent.start_after = secs(20);
        stage.machine.script(service, silent);
    }
    sleep(ms(4_650)).await;
    assert_eq!(acts(&stage, stopped).len(), 2);
    sleep(secs(5)).await;
    assert_eq!(acts(&stage, stopped).len(), 4);
    sleep(secs(16)).await;
    assert_eq!(acts(&stage, stopped).len(), 10);
    assert_eq!(stage.log.with("storm: ").len(), 1);
    sleep(secs(60)).await;
    assert_eq!(stage.log.with("storm over").len(), 1);
    for service in &names {
        assert_eq!(universe.view(service).await.status, Level::Healthy);
        assert_eq!(stage.machine.launches(service), 2);
    }
    assert!(!stage.machine.ever_doubled());
}

#[actix_rt::test(system = "PausedSystem")]
async fn two_hangs_of_many_are_no_storm() {
    let stage = Stage::new();
    let names: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    let mut specs = Vec::new();
    for service in &names {
        stage.machine.script(service, every(secs(1)));
        specs.push(pulsing(service, secs(1)));
    }
    let _universe = stage.start(specs).await;
    sleep(ms(10_500)).await;
    for service in &names[..5] {
        stage.machine.hang(service);
    }
    sleep(ms(4_650)).await;
    assert_eq!(
        acts(&stage, stopped).len(),
        5,
        "half are not more than half"
    );
    assert_eq!(stage.log.with("storm").len(), 0);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_nudge_comes_before_the_restart_and_may_save_it() {
    let stage = Stage::new();
    stage.machine.script("worker", every(secs(1)));
    let mut spec = pulsing("worker", secs(1));
    let mut policy = spec.policy.as_ref().clone();
    policy.nudge = true;
    policy.nudge_wait = secs(2);
    spec.policy = policy.into();
    spec.nudge = Some(Nudge::Signal(10));
    let universe = stage.start(vec![spec]).await;
    sleep(ms(3_500)).await;
    stage.machine.hang("worker");
    sleep(ms(4_700)).await;
    assert_eq!(stage.machine.signals("worker"), [10]);
    stage.machine.wake("worker");
    sleep(secs(10)).await;
    assert_eq!(stage.machine.launches("worker"), 1);
    assert_eq!(universe.view("worker").await.status, Level::Healthy);
    stage.machine.hang("worker");
    sleep(ms(8_000)).await;
    assert_eq!(stage.machine.launches("worker"), 2);
}

#[actix_rt::test(system = "PausedSystem")]
async fn one_that_others_run_is_restarted_by_its_command() {
    let stage = Stage::new();
    let mut spec = external("deacon", secs(1));
    let mut policy = spec.policy.as_ref().clone();
    policy.poke_restarts = true;
    spec.policy = policy.into();
    spec.restart_command = Some(vec!["gt".to_owned(), "deacon".to_owned()]);
    let universe = stage.start(vec![spec]).await;
    universe.pulse("deacon");
    sleep(ms(5_150)).await;
    assert_eq!(*stage.errands.done.borrow(), ["run gt deacon"]);
    universe.pulse("deacon");
    settle().await;
    assert_eq!(universe.view("deacon").await.status, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn what_cannot_be_done_is_denied_with_its_reason() {
    let stage = Stage::new();
    let specs = vec![alive("web"), external("other", secs(1))];
    let universe = stage.start(specs).await;
    let denied = [
        ("nobody", Verb::Start, Denied::Unknown("nobody".to_owned())),
        ("other", Verb::Stop, Denied::NotOurs(name("other"))),
        ("other", Verb::Start, Denied::NotOurs(name("other"))),
        ("other", Verb::Restart, Denied::NotOurs(name("other"))),
        ("web", Verb::Nudge, Denied::NoNudge(name("web"))),
        (
            "internal.archive",
            Verb::Stop,
            Denied::Internal(name("internal.archive")),
        ),
    ];
    for (service, verb, why) in denied {
        assert_eq!(control(&universe, service, verb).await, Err(why));
    }
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_nudge_of_one_that_does_not_run_is_denied_with_what_it_does() {
    let stage = Stage::new();
    let mut spec = alive("web");
    spec.nudge = Some(Nudge::Signal(10));
    let universe = stage.start(vec![spec]).await;
    assert!(control(&universe, "web", Verb::Nudge).await.is_ok());
    control(&universe, "web", Verb::Stop)
        .await
        .expect("allowed");
    sleep(secs(1)).await;
    let denied = control(&universe, "web", Verb::Nudge).await.unwrap_err();
    assert_eq!(
        denied.to_string(),
        "web does not run now, so there is nothing to nudge (stopped (operator))"
    );
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_service_can_be_watched_while_everything_runs() {
    let stage = Stage::new();
    let universe = stage.start(vec![alive("web")]).await;
    let answer = universe.supervisor.watch(external("late", secs(1))).await;
    assert_eq!(answer, Ok(true));
    let again = universe.supervisor.watch(external("late", secs(1))).await;
    assert_eq!(again, Ok(false), "the name is taken");
    universe.pulse("late");
    settle().await;
    assert_eq!(universe.view("late").await.status, Level::Healthy);
    sleep(ms(5_200)).await;
    assert_eq!(universe.view("late").await.status, Level::Critical);
}

#[actix_rt::test(system = "PausedSystem")]
async fn a_disabled_service_stays_down_until_an_operator_starts_it() {
    let stage = Stage::new();
    let mut specs = vec![alive("web"), external("other", secs(1))];
    for spec in &mut specs {
        spec.enabled = false;
    }
    let universe = stage.start(specs).await;
    sleep(secs(100)).await;
    for service in ["web", "other"] {
        let view = universe.view(service).await;
        assert_eq!(
            (view.state, view.status),
            (StateWord::Stopped, Level::Unknown)
        );
        control(&universe, service, Verb::Start)
            .await
            .expect("allowed");
    }
    sleep(secs(1)).await;
    assert_eq!(universe.view("web").await.state, StateWord::Running);
    universe.pulse("other");
    settle().await;
    assert_eq!(universe.view("other").await.status, Level::Healthy);
}

#[actix_rt::test(system = "PausedSystem")]
async fn two_universes_side_by_side_know_nothing_of_each_other() {
    let (one, other) = (Stage::new(), Stage::new());
    let first = one.start(vec![alive("web")]).await;
    let second = other.start(vec![alive("web"), alive("api")]).await;
    control(&first, "web", Verb::Stop).await.expect("allowed");
    sleep(secs(5)).await;
    assert_eq!(one.machine.living(), []);
    assert_eq!(other.machine.living().len(), 2);
    assert_eq!(second.view("web").await.state, StateWord::Running);
}

#[actix_rt::test(system = "PausedSystem")]
async fn the_heartbeat_file_is_written_on_patrol_and_on_every_poke() {
    let stage = Stage::new();
    stage
        .deacon
        .put(br#"{"timestamp":"2026-01-02T18:00:00Z","cycle":41,"healthy_agents":9,"unhealthy_agents":9}"#);
    stage.machine.script("worker", every(secs(1)));
    let specs = vec![pulsing("worker", secs(1)), external("other", secs(10))];
    let universe = stage.start(specs).await;
    universe.pulse("other");
    sleep(ms(500)).await;
    let text = |stage: &Stage| {
        let bytes = stage.deacon.bytes().expect("it is written");
        String::from_utf8(bytes).expect("text")
    };
    assert!(text(&stage).contains("\"cycle\": 42,"), "{}", text(&stage));
    assert!(text(&stage).contains("\"last_action\": \"patrol\""));
    stage.machine.hang("worker");
    sleep(secs(6)).await;
    assert!(
        text(&stage).contains("\"last_action\": \"poke worker\""),
        "{}",
        text(&stage)
    );
    assert!(text(&stage).contains("\"cycle\": 43,"), "{}", text(&stage));
    sleep(secs(31)).await;
    assert!(text(&stage).contains("\"last_action\": \"patrol\""));
    assert!(
        text(&stage).contains("\"healthy_agents\": 1,"),
        "{}",
        text(&stage)
    );
    assert!(text(&stage).contains("\"unhealthy_agents\": 1"));
}
