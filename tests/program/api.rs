//! The API to the letter.

use std::io::Write as _;

use crate::common::World;
use crate::common::script::{bash, command, sh};
use crate::common::wait::wait_until;

fn is_date(value: &serde_json::Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.len() == 20 && text.ends_with('Z') && humantime::parse_rfc3339(text).is_ok()
    })
}

fn keys(value: &serde_json::Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_health_endpoints_answer_to_the_letter() {
    let world = World::plan()
        .config("[heartbeat]\nenabled = true\ndefault_interval = 30\ntimeout_multiplier = 3\nalert_on_miss = true\nlog_level = \"info\"\n")
        .config("[heartbeat.services]\nsave_worker = { interval = 30, critical = true }\nfast = { interval = 0.5, critical = false }\n")
        .start();
    for _ in 0..3 {
        world.pulse("save_worker");
    }
    world.pulse("fast");
    assert_eq!(
        world
            .post("/api/error/save_worker", "{\"message\":\"m\"}")
            .status,
        202
    );
    world.pulse("save_worker");

    // Over TCP without a token, as the existing clients ask.
    let reply = world
        .tcp()
        .request("GET", "/api/health/status", &[], b"")
        .expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let answer = reply.json();
    assert_eq!(answer["overall_status"], "healthy");
    assert_eq!(
        keys(&answer["services"]),
        ["fast", "save_worker"],
        "our own actors are not among them"
    );
    let save_worker = &answer["services"]["save_worker"];
    for key in [
        "status",
        "last_heartbeat",
        "interval",
        "consecutive_failures",
    ] {
        assert!(keys(save_worker).contains(&key), "{key}: {save_worker}");
    }
    assert_eq!(save_worker["status"], "healthy");
    assert!(is_date(&save_worker["last_heartbeat"]), "{save_worker}");
    assert_eq!(save_worker["interval"].to_string(), "30");
    assert_eq!(save_worker["consecutive_failures"].to_string(), "0");
    assert_eq!(answer["services"]["fast"]["interval"].to_string(), "0.5");

    let reply = world
        .tcp()
        .request("GET", "/api/health/service/save_worker", &[], b"")
        .expect("an answer");
    assert_eq!(reply.status, 200);
    let answer = reply.json();
    for key in [
        "service",
        "status",
        "last_heartbeat",
        "uptime",
        "total_pulses",
        "error_count",
    ] {
        assert!(keys(&answer).contains(&key), "{key}: {answer}");
    }
    assert_eq!(answer["service"], "save_worker");
    assert_eq!(answer["status"], "healthy");
    assert!(is_date(&answer["last_heartbeat"]), "{answer}");
    assert_eq!(answer["uptime"], "0m");
    assert_eq!(answer["total_pulses"].to_string(), "4");
    assert_eq!(answer["error_count"].to_string(), "1");
}

#[test]
fn uptime_is_written_in_days_hours_and_minutes() {
    let world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    world.wait_healthy("sleeper");
    let uptime = world.get("/api/health/service/sleeper").json()["uptime"].clone();
    let uptime = uptime.as_str().expect("a text");
    let parts: Vec<&str> = uptime.split(' ').collect();
    assert!(
        !parts.is_empty()
            && parts.iter().all(|part| {
                let (number, unit) = part.split_at(part.len() - 1);
                number.parse::<u64>().is_ok() && matches!(unit, "d" | "h" | "m" | "s")
            }),
        "{uptime:?}"
    );
}

#[test]
fn a_service_object_carries_every_field_of_the_contract() {
    let world = World::plan()
        .service("outside", "interval = \"30s\"")
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    world.wait_healthy("sleeper");
    let answer = world.get("/api/services").json();
    assert_eq!(keys(&answer), ["services"]);
    for service in answer["services"].as_array().expect("an array") {
        for key in [
            "name",
            "status",
            "state",
            "pid",
            "generation",
            "interval",
            "age",
            "missed",
            "consecutive_failures",
            "restarts",
            "reason",
            "last_heartbeat",
            "freshness",
            "total_pulses",
            "error_count",
            "critical",
        ] {
            assert!(keys(service).contains(&key), "{key} is missing: {service}");
        }
    }
    let outside = world.get("/api/services/outside").json();
    assert_eq!(outside["state"], "external");
    assert_eq!(outside["status"], "unknown");
    for key in ["pid", "age", "last_heartbeat"] {
        assert!(outside[key].is_null(), "{key}: {outside}");
    }
    assert_eq!(outside["interval"].as_f64(), Some(30.0));
    let sleeper = world.get("/api/services/sleeper").json();
    assert_eq!(
        (sleeper["state"].as_str(), sleeper["status"].as_str()),
        (Some("running"), Some("healthy"))
    );
    assert_eq!(sleeper["generation"].to_string(), "1");
    assert!(sleeper["interval"].is_null());
}

#[test]
fn our_own_actors_are_watched_as_internal_services() {
    let world = World::plan()
        .service("outside", "interval = \"30s\"")
        .start();
    let internal = wait_until("they pulse", || {
        let services = world.services().into_iter();
        let internal: Vec<_> = services
            .filter(|service| service.name.starts_with("internal."))
            .collect();
        // Those that pulse only when something happens have no level before.
        let well = internal
            .iter()
            .filter(|service| service.status == "healthy")
            .count();
        let ill = internal
            .iter()
            .find(|s| !matches!(s.status.as_str(), "healthy" | "unknown"));
        assert_eq!(ill, None);
        (well >= 3).then_some(internal)
    });
    assert!(
        internal
            .iter()
            .any(|service| service.name == "internal.supervisor")
    );
    for service in &internal {
        let refused = world.post(&format!("/api/services/{}/stop", service.name), "");
        assert!(
            (400..500).contains(&refused.status),
            "{service:?}: {}",
            refused.status
        );
        let pulse = world.post(&format!("/api/pulse/{}", service.name), "");
        assert!(
            (400..500).contains(&pulse.status),
            "somebody pulsed for {service:?}"
        );
    }
}

#[test]
fn an_external_service_cannot_be_started_or_stopped() {
    let world = World::plan()
        .service("outside", "interval = \"30s\"")
        .start();
    for verb in ["start", "stop", "restart", "nudge"] {
        let reply = world.post(&format!("/api/services/outside/{verb}"), "");
        assert!(
            (400..500).contains(&reply.status),
            "{verb}: {}",
            reply.status
        );
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
    }
}

#[test]
fn events_are_told_in_order_and_from_any_point_on() {
    let script = sh("exit 3");
    let world = World::plan()
        .service(
            "crasher",
            &format!("{script}backoff = {{ min = \"20ms\", max = \"20ms\" }}\nmax_restarts = 3"),
        )
        .start();
    world.wait_for("crasher", "is quarantined", |service| {
        service.state == "quarantined"
    });
    let all = world.events();
    assert!(
        all.windows(2)
            .all(|pair| pair[0].id < pair[1].id && pair[0].time <= pair[1].time),
        "{all:?}"
    );
    let kinds = [
        "level",
        "started",
        "ready",
        "exited",
        "poked",
        "nudged",
        "restarted",
        "quarantined",
        "cleared",
        "paused",
        "resumed",
        "error",
        "adopted",
        "config",
        "sync",
        "alert",
        "supervisor",
    ];
    assert!(
        all.iter().all(|event| kinds.contains(&event.kind.as_str())),
        "{all:?}"
    );
    let answer = world
        .get(&format!("/api/events?since={}&limit=2", all[1].id))
        .json();
    let page = answer["events"].as_array().expect("an array");
    let ids: Vec<_> = page
        .iter()
        .map(|event| event["id"].as_i64().expect("an id"))
        .collect();
    assert_eq!(ids, [all[2].id, all[3].id]);
    assert_eq!(answer["next"].as_i64(), Some(all[3].id));
    let of_nobody = world.get("/api/events?service=nobody").json();
    assert_eq!(of_nobody["events"], serde_json::json!([]));
    let recent = world
        .get("/api/events?since=1h&service=crasher&limit=1000")
        .json();
    assert!(
        recent["events"]
            .as_array()
            .is_some_and(|events| events.len() > 5)
    );
}

#[test]
fn the_end_of_a_log_is_read_and_followed() {
    let script = sh(
        "for i in 1 2 3 4 5; do echo line $i; done; while [ ! -e go ]; do sleep 0.02; done; echo the last >&2; exec sleep 1000",
    );
    let world = World::plan().service("talker", &script).start();
    world.wait_healthy("talker");
    let tail = wait_until("the lines are logged", || {
        let reply = world.get("/api/logs/talker?tail=2");
        assert_eq!(reply.status, 200, "{}", reply.text());
        Some(reply.text()).filter(|text| text.contains("line 5"))
    });
    assert!(
        tail.contains("line 4") && !tail.contains("line 3"),
        "{tail:?}"
    );

    let mut follower = world.socket().connect().expect("a connection");
    follower
        .write_all(b"GET /api/logs/talker?tail=1&follow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    let mut seen = String::new();
    let mut chunk = [0; 4096];
    let mut read_until = |text: &str| {
        while !seen.contains(text) {
            let n = follower.read(&mut chunk).expect("more to come");
            assert!(n > 0, "the stream ended: {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&chunk[..n]));
        }
    };
    read_until("line 5");
    std::fs::write(world.file("go"), "").expect("go");
    read_until("the last");
}

#[test]
fn a_taken_port_does_not_keep_the_supervisor_from_its_work() {
    let mut world = World::plan()
        .service("sleeper", &command(&["sleep", "1000"]))
        .prepare();
    let holder = std::net::TcpListener::bind(("127.0.0.1", world.port())).expect("the port");
    world.start();
    world.wait_healthy("sleeper");
    wait_until("the holder is named", || {
        let output = world.output();
        let named = |number: String| output.contains(&number);
        (named(world.port().to_string()) && named(std::process::id().to_string())).then_some(())
    });
    drop(holder);
    wait_until("it is taken once it is free", || {
        let reply = world.tcp().request("GET", "/healthz", &[], b"").ok()?;
        (reply.status == 200).then_some(())
    });
}

#[test]
fn an_empty_listen_means_no_tcp() {
    let world = World::plan()
        .listen("")
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    world.wait_healthy("sleeper");
    assert!(world.tcp().connect().is_err());
}

#[test]
fn a_service_finds_the_api_by_its_environment() {
    let script = bash("pulse >first; report_error 'it says' >second; exec sleep 1000");
    let world = World::plan()
        .service("speaker", &format!("{script}interval = \"30s\""))
        .start();
    world.wait_for("speaker", "has pulsed and complained", |service| {
        service.total_pulses >= 1 && service.error_count == 1
    });
    wait_until("both were accepted", || {
        (world.read("first") == "202\n" && world.read("second") == "202\n").then_some(())
    });
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let world = World::plan()
        .service("outside", "interval = \"30s\"")
        .start();
    let reply = world
        .tcp()
        .raw(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let reply = match reply {
        Ok(reply) => reply,
        // Its length is announced, its body is not sent.
        Err(error) => {
            assert!(error.to_string().contains("HTTP/1.1 200"), "{error}");
            return;
        }
    };
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}
