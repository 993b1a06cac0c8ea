//! The description of the API, judged by who makes requests from it: schemathesis.

use std::path::Path;
use std::process::Command;

use crate::common::World;
use crate::common::script::command;

/// Installed by tests/run.
const SCHEMATHESIS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/api-venv/bin/schemathesis"
);

#[test]
fn what_the_api_answers_is_what_its_description_says() {
    assert!(
        Path::new(SCHEMATHESIS).exists(),
        "schemathesis is not installed: run tests/run"
    );
    let world = World::plan()
        .service("7", &command(&["sleep", "1000"]))
        .service("watched", "interval = \"1h\"")
        .start();
    world.wait_healthy("7");
    let ran = Command::new(SCHEMATHESIS)
        .arg("run")
        .arg(format!("http://127.0.0.1:{}/openapi.json", world.port()))
        .arg(format!("--header=Authorization: Bearer {}", world.token()))
        // What never ends, and what ends what it runs on.
        .args(["--exclude-path", "/api/stream", "--exclude-path", "/api/ws"])
        .args(["--exclude-path-regex", "/(stop|restart)$|^/api/logs/"])
        .args(["--phases", "fuzzing", "--max-examples", "10", "--seed", "7"])
        .args(["--checks", "not_a_server_error,status_code_conformance"])
        .args([
            "--checks",
            "content_type_conformance,response_schema_conformance",
        ])
        .args(["--no-color", "--generation-database", "none"])
        .current_dir(world.dir())
        .output()
        .expect("schemathesis starts");
    assert!(
        ran.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}
