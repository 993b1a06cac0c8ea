//! Ping URLs through the real program, called by curl as crontabs and scripts call them.

use std::process::Command;

use serde_json::Value;

use crate::common::World;
use crate::common::proof::{until_silent, wait_silence_is_poked};
use crate::common::script::sh;

const KEY: &str = "fqOOd6-F4MMNuCEnzTU01w";
const UUID: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";
const RID: &str = "123e4567-e89b-12d3-a456-426614174000";

/// What curl got: the status and the body.
fn curl(world: &World, words: &[&str], path: &str) -> (u16, String) {
    let url = format!("http://127.0.0.1:{}{path}", world.port());
    let output = Command::new("curl")
        .args(["-sS", "-m", "20", "-w", "\n%{http_code}"])
        .args(words)
        .arg(url)
        .current_dir(world.dir())
        .env_remove("http_proxy")
        .output()
        .expect("curl starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = printed
        .rsplit_once('\n')
        .unwrap_or_else(|| panic!("curl {words:?} {path}: {output:?}"));
    (status.parse().expect("a status"), body.to_owned())
}

/// A service that we run sends this line of curl again and again, and then no more.
fn its_silence_is_poked(line: &str) {
    let keys = format!("interval = '500ms'\nping_uuid = '{UUID}'\n");
    let world = World::plan()
        .config(&format!("[pings]\nkey = '{KEY}'"))
        .service("pinger", &format!("{}{keys}", sh(&until_silent(line))))
        .start();
    wait_silence_is_poked(&world, "pinger");
}

#[test]
fn a_healthchecks_line_by_uuid_pulses_and_its_silence_is_poked() {
    let line = "curl -fsS -m 10 --retry 5 -o /dev/null $SUPERVISOR_URL/ping/";
    its_silence_is_poked(&format!("{line}{UUID}"));
}

#[test]
fn a_healthchecks_line_by_key_and_slug_pulses_and_its_silence_is_poked() {
    let line = "true; curl -fsS -m 10 --retry 5 -o /dev/null $SUPERVISOR_URL/ping/";
    its_silence_is_poked(&format!("{line}{KEY}/pinger/$?"));
}

#[test]
fn a_gatus_line_pulses_and_its_silence_is_poked() {
    its_silence_is_poked(&format!(
        "curl -fsS -X POST -H 'Authorization: Bearer {KEY}' \
         \"$SUPERVISOR_URL/api/v1/endpoints/core_pinger/external?success=true&duration=3s\""
    ));
}

#[test]
fn an_uptime_kuma_line_pulses_and_its_silence_is_poked() {
    its_silence_is_poked(&format!(
        "curl -fsS -o /dev/null \"$SUPERVISOR_URL/api/push/{UUID}?status=up&msg=OK&ping=12\""
    ));
}

#[test]
fn a_cronitor_line_pulses_and_its_silence_is_poked() {
    its_silence_is_poked(&format!(
        "curl -fsS -o /dev/null \"$SUPERVISOR_URL/p/{KEY}/pinger?state=ok&metric=count:7\""
    ));
}

fn world() -> World {
    World::plan()
        .config(&format!("[pings]\nkey = '{KEY}'"))
        .service("backup", &format!("interval = '1h'\nping_uuid = '{UUID}'"))
        .start()
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

fn runs(world: &World, service: &str) -> Vec<Value> {
    let list = world.get(&format!("/api/runs/{service}")).json();
    list["runs"].as_array().expect("runs").clone()
}

#[test]
fn a_job_of_a_crontab_has_its_start_its_end_its_exit_status_and_its_output_on_record() {
    let world = world();
    std::fs::write(
        world.file("log"),
        format!("no space{}", " left".repeat(9_000)),
    )
    .expect("log");
    let start = format!("/ping/{UUID}/start?rid={RID}");
    assert_eq!(curl(&world, &["-f", "--retry", "5"], &start), ok("OK"));
    world.wait_for("backup", "runs", |service| service.total_pulses == 0);
    assert_eq!(world.get("/api/services/backup").json()["run"]["rid"], RID);
    let end = format!("/ping/{UUID}/3?rid={RID}");
    assert_eq!(curl(&world, &["--data-binary", "@log"], &end), ok("OK"));
    let service = world.wait_for("backup", "has failed", |service| service.error_count == 1);
    assert_eq!(service.status, "warning");

    let run = &runs(&world, "backup")[0];
    assert_eq!(
        (&run["outcome"], &run["exit_code"], &run["rid"]),
        (&"failure".into(), &3.into(), &RID.into())
    );
    assert!(
        run["duration"].as_f64().is_some_and(|took| took >= 0.0),
        "{run}"
    );
    let id = run["id"].to_string();
    let run = world.get(&format!("/api/runs/backup/{id}")).json();
    let output = run["output"].as_str().expect("its output");
    assert_eq!(output.len(), 10_000);
    assert!(output.starts_with("no space left"));

    // The next one goes well; a word in between changes nothing.
    let path = |what: &str| format!("/ping/{KEY}/backup{what}");
    assert_eq!(curl(&world, &[], &path("/start")), ok("OK"));
    assert_eq!(curl(&world, &["-d", "half way"], &path("/log")), ok("OK"));
    assert_eq!(world.service("backup").status, "warning");
    assert_eq!(
        curl(&world, &["--head", "-o", "/dev/null"], &path("/0")),
        ok("")
    );
    world.wait_healthy("backup");
    assert_eq!(curl(&world, &[], &path("/fail")), ok("OK"));
    world.wait_for("backup", "has failed", |service| service.error_count == 2);
    assert_eq!(curl(&world, &["-X", "PUT"], &path("")), ok("OK"));
    world.wait_healthy("backup");
}

#[test]
fn statuses_and_texts_are_those_that_the_clients_know() {
    let world = world();
    let create = format!("/ping/{KEY}/nightly?create=1");
    assert_eq!(curl(&world, &[], &create), (201, "Created".to_owned()));
    assert_eq!(curl(&world, &[], &create), ok("OK"));
    world.wait_healthy("nightly");
    for (path, status, body) in [
        (format!("/ping/{KEY}/stranger"), 404, "not found"),
        (format!("/ping/{RID}"), 404, "not found"),
        (
            "/ping/a-key-of-nobody-here/backup".to_owned(),
            404,
            "not found",
        ),
        (format!("/ping/{UUID}/256"), 400, "invalid url format"),
        (format!("/ping/{UUID}?rid=1"), 400, "invalid uuid format"),
        (format!("/p/{KEY}/stranger?state=run"), 404, "not found"),
    ] {
        assert_eq!(
            curl(&world, &[], &path),
            (status, body.to_owned()),
            "{path}"
        );
    }
    let (status, body) = curl(&world, &[], &format!("/api/push/{KEY}-stranger"));
    assert_eq!(status, 404);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["ok"], false);
    assert!(body["msg"].is_string(), "{body}");
    let gatus = "/api/v1/endpoints/core_backup/external?success=true";
    let post = |words: &[&str], path: &str| curl(&world, &[&["-X", "POST"], words].concat(), path);
    let bearer = format!("Authorization: Bearer {UUID}");
    assert_eq!(post(&["-H", &bearer], gatus), ok(""));
    assert_eq!(post(&[], gatus).0, 401);
    assert_eq!(post(&["-H", "Authorization: Bearer wrong"], gatus).0, 401);
    assert_eq!(
        post(&["-H", &bearer], "/api/v1/endpoints/a/external").0,
        400
    );
    assert_eq!(curl(&world, &["-H", &bearer], gatus).0, 405);
    // The header that tells clients how much of a body is worth sending.
    let (_, head) = curl(&world, &["-i"], &format!("/ping/{UUID}"));
    assert!(
        head.to_lowercase().contains("ping-body-limit: 10000"),
        "{head}"
    );
}

#[test]
fn what_a_ping_has_created_and_recorded_survives_a_kill() {
    let mut world = world();
    let start = format!("/ping/{KEY}/nightly/start?create=1");
    assert_eq!(curl(&world, &["-X", "POST"], &start).0, 201);
    world.kill();
    world.start();
    let path = format!("/ping/{KEY}/nightly");
    assert_eq!(curl(&world, &["-d", "done"], &path), ok("OK"));
    let run = &runs(&world, "nightly")[0];
    assert_eq!(run["outcome"], "success", "{run}");
    assert!(run["duration"].as_f64().is_some(), "it began before: {run}");
}

#[test]
fn the_crontab_line_of_the_documentation_does_what_it_says() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PULSES.md");
    let docs = std::fs::read_to_string(docs).expect("the documentation");
    let line = docs
        .lines()
        .find_map(|line| line.strip_prefix("5 2 * * * RID="));
    let line = line.expect("a line for a crontab that begins with a rid");
    let world = world();
    let port = world.port().to_string();
    let line = format!("RID={line}")
        .replace("127.0.0.1:5001", &format!("127.0.0.1:{port}"))
        .replace("/KEY/", &format!("/{KEY}/"))
        .replace(
            "/usr/local/bin/backup",
            "sh -c 'echo no space left; exit 28'",
        );
    assert!(line.contains("exit 28"), "{line}");
    let status = Command::new("sh")
        .args(["-c", &line])
        .current_dir(world.dir())
        .status();
    assert!(status.expect("sh").success());
    world.wait_for("backup", "has failed", |service| service.error_count == 1);
    let run = &runs(&world, "backup")[0];
    assert_eq!(
        (&run["outcome"], &run["exit_code"]),
        (&"failure".into(), &28.into())
    );
    assert!(
        run["duration"].as_f64().is_some() && run["started_at"].is_string(),
        "{run}"
    );
    let run = world.get(&format!("/api/runs/backup/{}", run["id"])).json();
    assert_eq!(run["output"], "no space left");
}
