//! The Python client in `clients/python`: its own tests, against this very program.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::world::PROGRAM;

/// Runs a file of its tests. `tests/run` has installed what they need.
fn pytest(file: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/client-venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run tests/run",
        python.display()
    );
    let done = Command::new(python)
        .args(["-m", "pytest", "--quiet"])
        .arg(format!("tests/{file}"))
        .current_dir(root.join("clients/python"))
        .env("SUPERVISOR_PROGRAM", PROGRAM)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("python runs");
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn a_service_that_we_run_pulses_by_it() {
    pytest("test_child.py");
}

#[test]
fn its_farewells_neither_overtake_nor_get_lost() {
    pytest("test_farewell.py");
}

#[test]
fn a_service_that_others_run_pulses_by_it() {
    pytest("test_outside.py");
}

#[test]
fn it_hurts_no_host() {
    pytest("test_harm.py");
}

#[test]
fn it_has_the_forms_that_existing_code_uses() {
    pytest("test_forms.py");
}

#[test]
fn it_can_be_built_installed_and_is_typed() {
    pytest("test_package.py");
}

#[test]
fn an_existing_csharp_client_reads_our_health() {
    pytest("test_csharp.py");
}
