//! The configuration in the repository's root, which newcomers run first.

use std::fs;
use std::path::Path;

use crate::common::World;
use crate::common::script::quote;
use crate::common::wait::wait_within;
use crate::common::world::PROGRAM;

/// A world with the repository's example, on a port of its own.
fn example() -> World {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let world = World::plan().prepare();
    let text = fs::read_to_string(root.join("supervisor.toml")).expect("the example");
    let text = text
        .replace(
            "listen = \"127.0.0.1:5001\"",
            &format!("listen = \"127.0.0.1:{}\"", world.port()),
        )
        .replace("data_dir = \".supervisor\"", "data_dir = \"data\"");
    assert!(
        text.contains(&world.port().to_string()) && text.contains(&quote("data")),
        "{text}"
    );
    fs::write(world.config(), text).expect("supervisor.toml");
    fs::create_dir(world.file("examples")).expect("examples");
    for entry in fs::read_dir(root.join("examples")).expect("examples") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), world.file("examples").join(entry.file_name())).expect("a script");
    }
    // Where the scripts look for the program first.
    let built = world.file("target/release");
    fs::create_dir_all(&built).expect("a folder");
    std::os::unix::fs::symlink(PROGRAM, built.join("supervisor")).expect("a link");
    world
}

#[test]
fn the_example_is_a_right_configuration() {
    let world = example();
    let ran = world.cli(&["check"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
}

#[test]
fn within_a_minute_the_example_shows_a_service_that_hangs_and_comes_back() {
    let mut world = example();
    world.start();
    let steps = ["healthy", "warning", "degraded", "critical", "healthy"];
    wait_within(
        std::time::Duration::from_secs(60),
        "sleepy hangs and comes back",
        || {
            let events = world.events_of("sleepy").into_iter();
            let levels: Vec<_> = events
                .filter(|event| event.kind == "level")
                .filter_map(|event| event.to)
                .collect();
            (levels.len() >= steps.len()).then(|| assert_eq!(levels[..steps.len()], steps))
        },
    );
    let kinds: Vec<_> = world
        .events_of("sleepy")
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert!(
        kinds.contains(&"poked".to_owned()) && kinds.contains(&"restarted".to_owned()),
        "{kinds:?}"
    );

    let crashed = world.wait_for("clumsy", "has crashed and is back", |service| {
        service.restarts >= 1 && service.state == "running"
    });
    assert!(crashed.generation > 1);
    for name in ["steady", "quiet"] {
        let service = world.service(name);
        assert_eq!(
            (service.status.as_str(), service.generation),
            ("healthy", 1),
            "{service:?}"
        );
    }
    let doorbell = world.service("doorbell");
    assert_eq!(
        (doorbell.state.as_str(), doorbell.status.as_str()),
        ("external", "unknown")
    );
    assert_eq!(world.cli(&["pulse", "doorbell"]).code, Some(0));
    assert_eq!(world.service("doorbell").status, "healthy");
}

#[test]
fn the_example_of_alerts_is_a_right_configuration_and_each_of_its_sinks_works() {
    let mut world = example();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("examples/alerts.toml")).expect("the example");
    // Here the file stands where it looks for the others.
    let text = text
        .replace("127.0.0.1:5002", &format!("127.0.0.1:{}", world.port()))
        .replace(
            "data_dir = \"../.supervisor-alerts\"",
            "data_dir = \"data\"",
        )
        .replace("../.supervisor-alerts/", "data/")
        .replace("cwd = \"..\"", "cwd = \".\"");
    assert!(!text.contains("../"), "{text}");
    fs::write(world.config(), text).expect("supervisor.toml");
    world.start();
    for sink in ["log", "on-call", "boss"] {
        let ran = world.cli(&["alerts", "test", sink]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let told = world.read("data/incident.txt");
    assert!(
        told.contains("test: supervisor: test on ")
            && told.contains("to the boss: test: supervisor: test on "),
        "{told}"
    );
}
