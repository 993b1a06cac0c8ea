//! Mistakes in supervisor.toml: all at once, each with its place; and the seed's shape.

use std::fs;

use crate::common::World;
use crate::common::script::command;

/// Three mistakes: a wrong type, a misspelt key, a dependency that does not exist.
const THREE: &str = "\
[supervisor]
data_dir = \"data\"

[services.worker]
command = [\"sleep\", \"1000\"]
interval = true
restrat = \"always\"

[services.web]
command = [\"sleep\", \"1000\"]
depends_on = [\"wroker\"]
";

#[test]
fn f82_three_mistakes_are_all_shown_with_line_and_caret() {
    let mut world = World::plan().prepare();
    fs::write(world.config(), THREE).expect("supervisor.toml");
    let run = |words: &[&str]| {
        let ran = world.cli(words);
        assert_eq!(ran.code, Some(78), "{words:?}: {ran:?}");
        ran.err
    };
    for words in [
        &["--config", "supervisor.toml"][..],
        &["check"],
        &["--validate"],
    ] {
        let said = run(words);
        for (line, text, hint) in [
            (6, "true", "interval"),
            (7, "restrat", "restart"),
            (11, "wroker", "worker"),
        ] {
            assert!(
                said.contains(&format!("supervisor.toml:{line}")),
                "line {line}: {said}"
            );
            assert!(said.contains(text), "{text}: {said}");
            assert!(said.contains(hint), "{hint}: {said}");
        }
        let carets = said
            .lines()
            .filter(|line| line.contains('^') || line.contains('┬') || line.contains('─'));
        assert!(carets.count() >= 3, "{said}");
        assert!(!said.contains('\u{1b}'), "colours in a pipe: {said}");
    }
    // Nothing was started or created meanwhile.
    world.spawn();
    assert_eq!(world.wait_exit().code(), Some(78));
    assert!(!world.data().join("state.db").exists());
}

#[test]
fn f82_each_kind_of_mistake_is_refused_with_its_reason() {
    let world = World::plan().prepare();
    let service = |keys: &str| format!("[services.a]\ncommand = [\"sleep\", \"9\"]\n{keys}\n");
    let cycle = "[services.a]\ncommand = \"a\"\ndepends_on = [\"b\"]\n[services.b]\ncommand = \"b\"\ndepends_on = [\"a\"]\n";
    for (toml, reason) in [
        (service("interval = \"-5s\""), "interval"),
        (service("interval = -5"), "interval"),
        (service("interval = \"50ms\""), "100"),
        (service("interval = \"99999999999999999999y\""), "interval"),
        (service("interval = 1e300"), "interval"),
        (
            service("warning_after = 5\ndegraded_after = 3"),
            "degraded_after",
        ),
        (service("stop_signal = \"SIGNOTHING\""), "SIGNOTHING"),
        (service("depends_on = [\"a\"]"), "a"),
        (service("command = [\"twice\"]"), "command"),
        (
            service("command = []").replacen("command = [\"sleep\", \"9\"]\n", "", 1),
            "command",
        ),
        (service("max_restarts = -1"), "max_restarts"),
        (
            service("backoff = { min = \"5m\", max = \"1s\" }"),
            "backoff",
        ),
        (cycle.to_owned(), "cycle"),
        (
            "[services.\"Bad Name\"]\ncommand = \"a\"\n".to_owned(),
            "Bad Name",
        ),
        (
            "[services.\"internal.x\"]\ncommand = \"a\"\n".to_owned(),
            "internal",
        ),
        ("[supervisor]\nlisten = \"nonsense\"\n".to_owned(), "listen"),
        ("[services.a\n".to_owned(), "supervisor.toml"),
        ("servces = 1\n".to_owned(), "services"),
    ] {
        fs::write(world.config(), &toml).expect("supervisor.toml");
        let ran = world.cli(&["check"]);
        assert_eq!(ran.code, Some(78), "{toml}{ran:?}");
        assert!(ran.err.contains(reason), "{toml}{}", ran.err);
        assert!(
            ran.err.contains("supervisor.toml:"),
            "no place: {}",
            ran.err
        );
    }
}

#[test]
fn a_missing_configuration_is_said_plainly() {
    let world = World::plan().prepare();
    let ran = world.cli(&["--config", "nowhere.toml"]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(ran.err.contains("nowhere.toml"), "{ran:?}");
}

#[test]
fn a_right_configuration_is_said_to_be_right_and_starts_nothing() {
    let world = World::plan()
        .service("worker", &command(&["touch", "started"]))
        .prepare();
    for words in [&["check"][..], &["--validate"]] {
        let ran = world.cli(words);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert!(!world.file("started").exists());
    assert!(!world.data().exists());
}

#[test]
fn a_listener_beyond_loopback_needs_a_token_of_the_operators() {
    let world = World::plan().listen("0.0.0.0:1").prepare();
    let ran = world.cli(&["check"]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(ran.err.contains("token"), "{ran:?}");
}

#[test]
fn a_secret_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::plan()
        .supervisor("token_file = \"secret\"")
        .prepare();
    fs::write(world.file("secret"), "a-token-of-our-own-0123456789abcdef").expect("secret");
    fs::set_permissions(world.file("secret"), fs::Permissions::from_mode(0o644)).expect("chmod");
    world.spawn();
    assert_eq!(world.wait_exit().code(), Some(78), "{}", world.output());
    assert!(world.output().contains("secret"), "{}", world.output());
    fs::set_permissions(world.file("secret"), fs::Permissions::from_mode(0o600)).expect("chmod");
    world.start();
    let headers = [(
        "Authorization",
        "Bearer a-token-of-our-own-0123456789abcdef",
    )];
    let reply = world
        .tcp()
        .request("GET", "/api/services", &headers, b"")
        .expect("an answer");
    assert_eq!(reply.status, 200);
}
