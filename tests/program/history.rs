//! The history of services: kept over our end, read and exported.

use crate::common::World;

#[test]
fn what_was_is_read_and_exported_after_a_restart() {
    let mut world = World::plan()
        .service("worker", "interval = \"1h\"")
        .service("other", "interval = \"1h\"")
        .start();
    let body = r#"{"metrics": {"queue": 7}}"#;
    for _ in 0..3 {
        assert_eq!(world.post("/api/pulse/worker", body).status, 202);
    }
    world.terminate();
    world.start();
    let reply = world.get("/api/history/worker?from=1h");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let page = reply.json();
    let points = page["points"].as_array().unwrap();
    let pulses: u64 = points.iter().filter_map(|p| p["pulses"].as_u64()).sum();
    assert_eq!(pulses, 3, "{page}");
    assert_eq!(points[0]["metrics"]["queue"]["max"], 7.0, "{page}");
    assert_eq!(page["uptime"]["24h"], 1.0, "{page}");
    assert_eq!(page["step"], 60);

    let csv = world.cli(&["export", "--since", "1h"]);
    assert_eq!(csv.code, Some(0), "{csv:?}");
    let mut lines = csv.out.lines();
    let header = lines.next().unwrap();
    assert!(header.starts_with("time,seconds,pulses,"), "{header}");
    let columns = header.split(',').count();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == columns), "{csv:?}");
    assert!(
        rows.iter().any(|row| row.last() == Some(&"other")),
        "{csv:?}"
    );
    let all = world.cli(&["export", "--format", "ndjson", "--service", "worker"]);
    let objects: Vec<serde_json::Value> = all
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        objects.iter().all(|one| one["service"] == "worker"),
        "{all:?}"
    );
    let pulses: u64 = objects
        .iter()
        .filter_map(|one| one["pulses"].as_u64())
        .sum();
    assert_eq!(pulses, 3, "{all:?}");

    let unknown = world.get("/api/history/nobody");
    assert_eq!(unknown.status, 404);
    let path = "/api/history/worker?older_than=0s";
    let deleted = world.socket().request("DELETE", path, &[], b"");
    assert_eq!(deleted.unwrap().status, 200);
}
