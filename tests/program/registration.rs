//! Services that name themselves at run time, with the real program.

use serde_json::json;

use crate::common::World;

#[test]
fn what_registers_is_judged_as_the_configuration_says_and_survives_a_kill() {
    let mut world = World::plan()
        .config("[heartbeat]\ndefault_interval = 20\nwarning_after = 2\n")
        .service("ours", "interval = \"1h\"")
        .start();
    let reply = world.post(
        "/api/register",
        r#"{"tag":"outside","interval":0.2,"critical":true}"#,
    );
    assert_eq!(
        (reply.status, reply.json()),
        (
            200,
            json!({"tag": "outside", "interval": 0.2, "critical": true, "on_demand": false, "tags": []})
        )
    );
    world.pulse("outside");
    world.wait_for("outside", "is critical", |service| {
        service.status == "critical"
    });
    // There is nobody whom we could restart; that it should be is said all the same.
    world.wait_event("poked", |event| {
        event.service == "outside" && event.kind == "poked"
    });
    assert_eq!(
        world.post("/api/register", r#"{"tag":"plain"}"#).json()["interval"],
        20
    );
    assert_eq!(world.post("/api/register", r#"{"tag":"gone"}"#).status, 200);
    let reply = world
        .socket()
        .request("DELETE", "/api/register/gone", &[], b"")
        .expect("an answer");
    assert_eq!(reply.status, 204);

    world.kill();
    world.start();
    let names: Vec<String> = world
        .services()
        .into_iter()
        .map(|service| service.name)
        .filter(|name| !name.starts_with("internal."))
        .collect();
    assert_eq!(names[0], "ours");
    assert_eq!(names.len(), 3, "{names:?}");
    let outside = world.service("outside");
    assert_eq!(outside.interval, Some(0.2));
    assert_eq!(outside.total_pulses, 1);
    world.pulse("outside");
    // And a name that the configuration takes now is the configuration's.
    world.terminate();
    let config = std::fs::read_to_string(world.config()).expect("the configuration");
    let config = format!("{config}\n[services.outside]\ninterval = \"5s\"\n");
    std::fs::write(world.config(), config).expect("written");
    world.start();
    assert_eq!(world.service("outside").interval, Some(5.0));
    let reply = world.post("/api/register", r#"{"tag":"outside"}"#);
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (409, &json!("configured"))
    );
}

#[test]
fn an_interval_that_does_not_fit_the_configured_thresholds_is_refused_and_harms_no_other() {
    let world = World::plan()
        .config("[heartbeat]\nwarning_after = \"2m\"\ncritical_after = \"10m\"\n")
        .start();
    for _ in 0..2 {
        let reply = world.post("/api/register", r#"{"tag":"slow","interval":"1h"}"#);
        assert_eq!(
            (reply.status, &reply.json()["code"]),
            (400, &json!("unfit"))
        );
        let detail = reply.json()["detail"].to_string();
        assert!(detail.contains("critical_after to 10m"), "{detail}");
    }
    let reply = world.post("/api/register", r#"{"tag":"quick","interval":"50s"}"#);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn registration_can_be_turned_off() {
    let world = World::plan()
        .supervisor("allow_registration = false")
        .start();
    let reply = world.post("/api/register", r#"{"tag":"outside"}"#);
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (403, &json!("registration_off"))
    );
}
