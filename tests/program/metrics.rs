//! Numbers for Prometheus, read by Prometheus itself; badges.

use std::process::{Child, Command, Stdio};

use crate::common::World;
use crate::common::wait::wait_until;
use crate::common::world::free_port;

/// Gives `input` to promtool and says what it thinks.
fn promtool(words: &[&str], input: &str) -> (bool, String) {
    use std::io::Write as _;
    let mut child = Command::new("promtool")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: tests/run installs it (package prometheus)");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("promtool reads");
    drop(stdin);
    let done = child.wait_with_output().expect("promtool ends");
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn world() -> World {
    let world = World::plan()
        .service("worker", "interval = \"1h\"")
        .service("silent", "interval = \"1h\"")
        .start();
    let body = r#"{"metrics": {"queue": 7.5}}"#;
    assert_eq!(world.post("/api/pulse/worker", body).status, 202);
    world.wait_healthy("worker");
    world
}

/// A number of that text.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let world = world();
    let reply = world.get("/metrics");
    assert_eq!(reply.status, 200);
    let kind = reply.header("content-type").unwrap().to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = reply.text();
    let (fine, said) = promtool(&["check", "metrics"], &text);
    assert!(fine && said.is_empty(), "{said}\n{text}");
    for (series, expected) in [
        ("supervisor_service_level{service=\"worker\"}", 0.0),
        ("supervisor_service_pulses_total{service=\"worker\"}", 1.0),
        (
            "supervisor_service_figure{service=\"worker\",figure=\"queue\"}",
            7.5,
        ),
        ("supervisor_services{level=\"healthy\"}", 1.0),
        ("supervisor_storage_up", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}\n{text}");
    }
    let last = "supervisor_service_last_pulse_timestamp_seconds{service=\"worker\"}";
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age = now.unwrap().as_secs_f64() - value(&text, last).unwrap();
    assert!((-1.0..60.0).contains(&age), "{age}");
    let memory = value(&text, "supervisor_process_resident_memory_bytes").unwrap();
    assert!(memory > 1e6, "{memory}");
}

#[test]
fn f63_what_nobody_watches_makes_no_series() {
    let world = world();
    let lines = |world: &World| world.get("/metrics").text().lines().count();
    let before = lines(&world);
    for n in 0..20 {
        assert_eq!(
            world.post(&format!("/api/pulse/stranger{n}"), "").status,
            404
        );
    }
    let text = world.get("/metrics").text();
    assert!(!text.contains("stranger"), "{text}");
    assert_eq!(text.lines().count(), before);
}

#[test]
fn the_examples_in_docs_are_valid_and_about_metrics_that_there_are() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alert-rules.yml");
    let (fine, said) = promtool(&["check", "rules", rules], "");
    assert!(fine, "{said}");
    let grafana = include_str!("../../docs/grafana.json");
    let _: serde_json::Value = serde_json::from_str(grafana).unwrap();
    let source = include_str!("../../src/http/metrics.rs");
    let both = [include_str!("../../docs/alert-rules.yml"), grafana].concat();
    let name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut named = 0;
    for (at, _) in both.match_indices("supervisor_") {
        let rest = &both[at..];
        let end = rest.find(|c| !name(c)).unwrap_or(rest.len());
        let metric = &rest[..end];
        assert!(source.contains(&format!("\"{metric}\"")), "{metric}");
        named += 1;
    }
    assert!(named > 20, "{named}");
    // Every expression of the dashboard is one that Prometheus understands.
    let dashboard: serde_json::Value = serde_json::from_str(grafana).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: Vec<String> = targets
        .enumerate()
        .map(|(n, target)| {
            let expr = target["expr"].as_str().unwrap();
            let expr = serde_json::Value::from(expr.replace('$', ""));
            format!("  - record: grafana:target{n}\n    expr: {expr}\n")
        })
        .collect();
    let text = format!("groups:\n- name: grafana\n  rules:\n{}", rules.concat());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &text).unwrap();
    let (fine, said) = promtool(&["check", "rules", file.path().to_str().unwrap()], "");
    assert!(fine, "{said}\n{text}");
}

/// Ends with the test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn prometheus_itself_scrapes_us() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\n\
         scrape_configs:\n- job_name: supervisor\n  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        world.port()
    );
    std::fs::write(&config, text).unwrap();
    let port = free_port();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.path().join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("prometheus: tests/run installs it");
    let _prometheus = Prometheus(child);
    let ask = |query: &str| -> Option<String> {
        let address = crate::common::http::Address::Tcp(([127, 0, 0, 1], port).into());
        let path = format!("/api/v1/query?query={query}");
        let reply = address.request("GET", &path, &[], b"").ok()?;
        if reply.status != 200 {
            // It is still starting.
            return None;
        }
        let value = reply.json()["data"]["result"][0]["value"][1].clone();
        value.as_str().map(str::to_owned)
    };
    wait_until("prometheus has scraped us", || {
        let pulses = ask("supervisor_service_pulses_total%7Bservice=%22worker%22%7D");
        let up = ask("up").as_deref() == Some("1");
        (up && pulses.as_deref() == Some("1")).then_some(())
    });
    assert_eq!(ask("sum(supervisor_services)").as_deref(), Some("2"));
}

#[test]
fn a_badge_shows_a_services_level() {
    let world = world();
    let reply = world.get("/badge/worker.svg");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("image/svg+xml"));
    assert!(reply.text().contains("worker: healthy"), "{}", reply.text());
    assert_eq!(world.get("/badge/nobody.svg").status, 404);
    assert_eq!(world.get("/badge/worker.png").status, 404);
}
