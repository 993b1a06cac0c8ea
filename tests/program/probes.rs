//! Probes through the real program: it looks at a real HTTP server and a real PostgreSQL.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::postgresql::{binaries, postgresql};
use crate::common::script::{command, quote};
use crate::common::wait::wait_until;
use crate::common::world::free_port;
use crate::common::{World, signal};

/// Python's HTTP server, which serves the world's directory.
fn server(port: u16) -> String {
    let port = port.to_string();
    let words = ["python3", "-m", "http.server", "--bind", "127.0.0.1", &port];
    command(&words)
}

/// How often is looked, and how many failures get it poked: short, for a busy machine too.
const OFTEN: &str = "interval = '500ms', timeout = '500ms'";
const SOON: &str = "degraded_after = 2\ncritical_after = 3\n";

#[test]
fn a_server_that_answers_is_healthy_and_one_that_hangs_or_answers_wrongly_is_poked() {
    let port = free_port();
    let plan = World::plan();
    fs::write(plan.dir().join("health"), "all is ok\n").expect("a file");
    let probe = format!(
        "probe = {{ http = 'http://127.0.0.1:{port}/health', body = '\\bok\\b', {OFTEN} }}\n"
    );
    let world = plan
        .service(
            "web",
            &format!("{}ready = 'probe'\n{probe}{SOON}", server(port)),
        )
        .start();
    let first = world.wait_healthy("web");
    let ready = world.wait_event("ready", |event| {
        event.service == "web" && event.kind == "ready"
    });
    assert!(ready.id > 0);
    world.wait_for("web", "goes on", |service| service.total_pulses > 3);
    assert_eq!(world.service("web").generation, 1);

    // It hangs as a whole: nobody answers.
    signal(first.pid.expect("it runs"), Signal::SIGSTOP);
    world.wait_event("critical by its probe", |event| {
        event.service == "web"
            && event.to.as_deref() == Some("critical")
            && event.reason.contains("did not answer within 500ms")
    });
    world.wait_event("poked", |event| {
        event.service == "web" && event.kind == "restarted" && event.to.as_deref() == Some("probe")
    });
    world.wait_for("web", "is well again", |service| {
        service.generation == 2 && service.status == "healthy"
    });

    // It answers, and not what it should.
    fs::write(world.file("health"), "not yet\n").expect("a file");
    world.wait_event("what it answers is said", |event| {
        event.service == "web" && event.reason.contains("with the body \"not yet")
    });
    world.wait_for("web", "is poked again", |service| service.generation == 3);
    fs::write(world.file("health"), "ok\n").expect("a file");
    world.wait_healthy("web");
}

#[test]
fn a_database_that_others_run_is_looked_at_by_its_port_and_by_pg_isready() {
    // It is a service of its own here so that it can be stopped; those who look at it do not
    // know that.
    let (plan, port) = postgresql(World::plan(), "");
    let isready = binaries().join("pg_isready");
    let isready = quote(isready.to_str().expect("a path"));
    let poke = |name: &str| format!("restart_command = ['touch', 'poked-{name}']\n");
    let world = plan
        .service(
            "port",
            &format!(
                "probe = {{ tcp = '127.0.0.1:{port}', {OFTEN} }}\n{SOON}{}",
                poke("port")
            ),
        )
        .service(
            "sql",
            &format!(
                "probe = {{ exec = [{isready}, '-h', '127.0.0.1', '-p', '{port}'], \
                 interval = '1s', timeout = '1s' }}\n{SOON}{}",
                poke("sql")
            ),
        )
        .start();
    let db = world.wait_healthy("db").pid.expect("it runs");
    assert_eq!(world.wait_healthy("port").state, "external");
    world.wait_healthy("sql");

    // Frozen, its port still takes connections: only who asks for more notices.
    signal(db, Signal::SIGSTOP);
    world.wait_for("sql", "is critical", |service| service.status == "critical");
    wait_until("it is poked", || {
        world.file("poked-sql").exists().then_some(())
    });
    assert_eq!(world.service("port").status, "healthy");
    signal(db, Signal::SIGCONT);
    world.wait_healthy("sql");

    // Gone, nobody listens.
    world.control("db", "stop");
    let service = world.wait_for("port", "is critical", |service| {
        service.status == "critical"
    });
    assert!(
        service.reason.contains("refused the connection"),
        "{service:?}"
    );
    wait_until("it is poked", || {
        world.file("poked-port").exists().then_some(())
    });
    world.control("db", "start");
    world.wait_healthy("port");
    world.wait_healthy("sql");
}
