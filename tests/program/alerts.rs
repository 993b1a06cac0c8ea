//! Alerts of the real program: one for each incident, kept across our death, taken, silenced.

use serde_json::Value;

use crate::common::World;
use crate::common::wait::wait_until;

/// A service that pulses from outside, and nothing that could be poked.
const LATE: &str = "interval = \"300ms\"\npoke_on = []\n";

fn open(world: &World) -> Vec<Value> {
    let reply = world.get("/api/alerts");
    assert_eq!(reply.status, 200);
    reply.json()["alerts"].as_array().expect("a list").clone()
}

fn firing(world: &World, service: &str) -> Value {
    wait_until("it fires", || {
        open(world)
            .into_iter()
            .find(|alert| alert["service"] == service && alert["state"] == "firing")
    })
}

#[test]
fn an_incident_is_one_alert_from_its_beginning_to_its_end() {
    let mut world = World::plan()
        .service("db", LATE)
        .service("web", "interval = \"1h\"")
        .service("api", "interval = \"1h\"")
        .start();
    world.pulse("db");
    let alert = firing(&world, "db");
    let reason = alert["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("no pulse for "), "{reason}");
    let id = alert["id"].as_u64().expect("a number");
    assert_eq!(alert["told"], serde_json::json!(["log"]));
    let whole = world.get(&format!("/api/alerts/{id}")).json();
    let why = whole["why"].to_string();
    assert!(why.contains("taken"), "{why}");
    wait_until("the log says so", || {
        world.output().contains("alert firing").then_some(())
    });

    // Our own death neither ends it nor begins it anew.
    world.kill();
    world.spawn();
    world.wait_ready();
    let again = firing(&world, "db");
    assert_eq!(again["id"].as_u64(), Some(id));

    let ran = world.cli(&["ack", &id.to_string(), "--by", "ann", "--note", "on it"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("taken by ann: on it"), "{}", ran.out);
    let ran = world.cli(&["alerts"]);
    assert!(ran.out.contains("acknowledged"), "{}", ran.out);
    assert_eq!(ran.code, Some(0), "somebody has taken it");

    wait_until("it is over", || {
        world.pulse("db");
        let of_db = |alert: &Value| alert["service"] == "db";
        (!open(&world).iter().any(of_db)).then_some(())
    });
    let ran = world.cli(&["alerts", "--all", "--json"]);
    let all: Value = serde_json::from_str(&ran.out).expect("JSON");
    let of_db = all["alerts"].as_array().expect("a list").iter();
    let states: Vec<_> = of_db
        .filter(|alert| alert["service"] == "db")
        .map(|alert| alert["state"].as_str())
        .collect();
    assert_eq!(states, [Some("resolved")]);
    let words: Vec<_> = world
        .events_of("db")
        .into_iter()
        .filter(|event| event.kind == "alert")
        .filter_map(|event| event.to)
        .collect();
    assert_eq!(words, ["pending", "firing", "acknowledged", "resolved"]);
}

#[test]
fn a_silence_tells_nobody_and_says_so() {
    let world = World::plan()
        .service("db-1", LATE)
        .service("web", "interval = \"1h\"")
        .service("api", "interval = \"1h\"")
        .start();
    let ran = world.cli(&["silence", "add", "db-*", "--for", "1h", "--by", "ann"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.out.starts_with("silence 1 of db-* until "),
        "{}",
        ran.out
    );
    world.pulse("db-1");
    let held = wait_until("it is held", || {
        open(&world)
            .into_iter()
            .find(|alert| alert["level"] == "critical")
    });
    assert_eq!(held["state"], "pending");
    let id = held["id"].to_string();
    let ran = world.cli(&["alerts", "why", &id]);
    assert!(
        ran.out
            .contains("nobody is told now: silence 1 covers it until"),
        "{}",
        ran.out
    );
    assert_eq!(world.cli(&["silence", "expire", "1"]).code, Some(0));
    assert_eq!(world.cli(&["silence", "list"]).out, "no silences\n");
    firing(&world, "db-1");
    assert_eq!(world.cli(&["alerts"]).code, Some(3), "it is critical");
}

#[test]
fn wrong_wishes_are_named() {
    let world = World::plan().service("db", LATE).start();
    for (method, path, body, status, code) in [
        ("POST", "/api/alerts/7/ack", "", 404, "unknown_alert"),
        ("POST", "/api/alerts/x/ack", "", 404, "unknown_alert"),
        (
            "GET",
            "/api/alerts/99999999999999999999",
            "",
            404,
            "unknown_alert",
        ),
        ("GET", "/api/alerts?state=closed", "", 400, "bad_query"),
        (
            "POST",
            "/api/alerts/test",
            "{\"sink\":\"x\"}",
            404,
            "unknown_sink",
        ),
        (
            "POST",
            "/api/silences",
            "{\"services\":\"[\",\"for\":\"1h\"}",
            400,
            "bad_services",
        ),
        (
            "POST",
            "/api/silences",
            "{\"services\":\"\",\"for\":\"1h\"}",
            400,
            "bad_services",
        ),
        (
            "POST",
            "/api/silences",
            "{\"services\":\"*\",\"for\":\"0s\"}",
            400,
            "bad_for",
        ),
        (
            "POST",
            "/api/silences",
            "{\"services\":\"*\"}",
            400,
            "bad_json",
        ),
        ("DELETE", "/api/silences/7", "", 404, "unknown_silence"),
    ] {
        let headers = [("Content-Type", "application/json")];
        let reply = world
            .socket()
            .request(method, path, &headers, body.as_bytes());
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, status, "{method} {path}");
        let problem = reply.json();
        assert!(
            problem["code"] == code || code == "bad_json",
            "{method} {path}: {problem}"
        );
    }
    // Without the token one may read them, and no more.
    let reply = world.tcp().request("GET", "/api/alerts", &[], b"");
    assert_eq!(reply.expect("an answer").status, 200);
    for (method, path) in [("POST", "/api/alerts/1/ack"), ("GET", "/api/silences")] {
        let reply = world.tcp().request(method, path, &[], b"");
        assert_eq!(reply.expect("an answer").status, 401, "{path}");
    }
    let ran = world.cli(&["alerts", "test", "log"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "log took a test message\n")
    );
}

#[test]
fn our_own_death_is_one_alert_about_us_and_an_orderly_start_is_none() {
    let mut world = World::plan()
        .service("web", "interval = \"1h\"")
        .service("sleeper", "command = [\"sleep\", \"1000\"]")
        .start();
    world.terminate();
    world.start();
    assert_eq!(open(&world), [Value::Null; 0], "it was stopped");
    let ours = |world: &World| {
        wait_until("it is told", || {
            let mut open = open(world);
            assert!(
                open.iter().all(|alert| alert["kind"] == "supervisor"),
                "{open:?}"
            );
            open.retain(|alert| alert["told"] == serde_json::json!(["log"]));
            open.pop()
        })
    };
    world.kill();
    world.start();
    let first = ours(&world);
    let reason = first["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("the supervisor ended without being stopped (killed, or a crash)"),
        "{reason}"
    );
    // It is told when it is kept.
    wait_until("the log says so", || {
        world.output().contains("alert firing").then_some(())
    });
    world.kill();
    world.start();
    let again = wait_until("it is counted", || {
        let alert = ours(&world);
        alert["reason"]
            .as_str()?
            .contains("; twice since ")
            .then_some(alert)
    });
    assert_eq!(again["id"], first["id"], "one alert");
    assert_eq!(again["messages"], first["messages"], "told once");
    let told = world.output();
    let told = told.lines().filter(|line| line.contains("alert firing"));
    assert_eq!(told.count(), 1);
}

#[test]
fn a_maintenance_window_mutes_a_service_says_so_and_lets_it_alone() {
    let world = World::plan()
        .config(
            "[alerts]\ngroup_wait = \"200ms\"\n[alerts.maintenance.all-day]\n\
             services = [\"d*\"]\nfrom = \"00:00\"\nto = \"24:00\"\nzone = \"Asia/Kathmandu\"\n",
        )
        .service(
            "db",
            "interval = \"200ms\"\nrestart_command = [\"touch\", \"poked\"]",
        )
        .service("web", LATE)
        .service("api", "interval = \"1h\"")
        .service("job", "interval = \"1h\"")
        .start();
    world.pulse("db");
    world.pulse("web");
    firing(&world, "web");
    let held = wait_until("it is critical", || {
        open(&world)
            .into_iter()
            .find(|alert| alert["service"] == "db" && alert["level"] == "critical")
    });
    assert_eq!(held["state"], "pending");
    assert_eq!(held["told"], serde_json::json!([]));
    let ran = world.cli(&["alerts", "why", &held["id"].to_string()]);
    assert!(
        ran.out
            .contains("nobody is told now: maintenance window all-day covers its service until 20"),
        "{}",
        ran.out
    );
    let ran = world.cli(&["status", "db"]);
    assert!(
        ran.out.contains("maintenance window all-day"),
        "{}",
        ran.out
    );
    let shown = world.get("/api/services/db").json();
    assert_eq!(
        (&shown["maintenance"], &shown["status"]),
        (&"all-day".into(), &"critical".into())
    );
    assert!(!world.file("poked").exists(), "nobody pokes it");
    let ran = world.cli(&["check"]);
    assert!(
        ran.out.contains("window   all-day open until ")
            && ran.out.contains("covers 1 of 4 services"),
        "{}",
        ran.out
    );
}
