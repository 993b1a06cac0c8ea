//! Whole commands against a small API that behaves as the test says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::{LocalSet, spawn_local};

use super::*;

/// What the API answers: a status and a body.
type Answer = (u16, Value);

/// An API of one test, and what it was asked: `GET /path`, `POST /path {"body":1}`.
struct Api {
    dir: tempfile::TempDir,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Api {
    fn start(answer: impl Fn(&str) -> Answer + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s.sock")).unwrap();
        let asked = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&asked);
        spawn_local(async move {
            while let Ok((mut io, _)) = listener.accept().await {
                let mut request = String::new();
                let mut buffer = [0; 4096];
                while !is_whole(&request) {
                    let n = io.read(&mut buffer).await.unwrap();
                    request.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
                }
                let (head, body) = request.split_once("\r\n\r\n").unwrap();
                let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
                let asked = format!("{line} {body}").trim_end().to_owned();
                log.borrow_mut().push(asked);
                let (status, body) = answer(line);
                let body = body.to_string();
                let length = body.len();
                let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
                io.write_all(text.as_bytes()).await.unwrap();
            }
        });
        Self { dir, asked }
    }

    /// Runs a command line and gives its exit code.
    async fn run(&self, line: &str) -> Exit {
        self.run_in(line, Environment::default()).await
    }

    async fn run_in(&self, line: &str, environment: Environment) -> Exit {
        let socket = self.dir.path().join("s.sock");
        let words = ["supervisor", "--socket", socket.to_str().unwrap()];
        let words = words.into_iter().chain(line.split(' '));
        let Parsed::Client(ClientCommand { common, command }) = parse_from(words).unwrap() else {
            panic!("{line} is no command of a client");
        };
        let context = Context {
            client: Client::new(endpoint::socket(&common, &environment)),
            look: Look {
                color: false,
                terminal: false,
                json: common.json,
            },
            common,
            environment,
        };
        match super::run(&context, command).await {
            Ok(exit) => exit,
            Err(error) => error.exit(),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse::<usize>().unwrap())
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { tokio::time::timeout(std::time::Duration::from_secs(20), test).await };
    LocalSet::new()
        .block_on(&runtime, limited)
        .expect("the command hangs");
}

fn service(name: &str, status: &str, state: &str, generation: u32) -> Value {
    json!({"name": name, "status": status, "state": state, "generation": generation,
        "pid": 7, "critical": true, "tags": [], "depends_on": []})
}

/// A service that looks different at each look, and stays as it was at the last one.
fn looks(states: &[(&'static str, u32)]) -> impl Fn(&str) -> Answer + 'static {
    let states = RefCell::new(states.iter().copied().collect::<VecDeque<_>>());
    move |line| {
        let mut states = states.borrow_mut();
        let (state, generation) = states[0];
        if states.len() > 1 {
            states.pop_front();
        }
        let code = if line.starts_with("POST") { 202 } else { 200 };
        (code, service("a", "healthy", state, generation))
    }
}

fn unknown() -> Answer {
    (
        404,
        json!({"status": 404, "detail": "there is no service named \"b\"", "code": "unknown_service"}),
    )
}

#[test]
fn a_stop_waits_until_nothing_is_left() {
    run(async {
        let api = Api::start(looks(&[
            ("running", 1),
            ("stopping", 1),
            ("stopping", 1),
            ("stopped", 1),
        ]));
        assert_eq!(api.run("stop a").await, Exit::Fine);
        let asked = api.asked();
        assert_eq!(asked[0], "POST /api/services/a/stop");
        assert_eq!(asked[1..], ["GET /api/services/a"; 3]);
    });
}

#[test]
fn a_stop_that_does_not_end_is_a_failure_after_its_timeout() {
    run(async {
        let api = Api::start(looks(&[("stopping", 1)]));
        assert_eq!(api.run("stop a --timeout 100ms").await, Exit::Failure);
    });
}

#[test]
fn without_waiting_nothing_is_asked_after_the_command() {
    run(async {
        let api = Api::start(looks(&[("stopping", 1)]));
        assert_eq!(api.run("stop a --no-wait").await, Exit::Fine);
        assert_eq!(api.asked(), ["POST /api/services/a/stop"]);
    });
}

#[test]
fn a_restart_waits_for_the_next_life() {
    run(async {
        let api = Api::start(looks(&[
            ("running", 3),
            ("running", 3),
            ("stopping", 3),
            ("starting", 4),
            ("running", 4),
        ]));
        assert_eq!(api.run("restart a").await, Exit::Fine);
        assert_eq!(api.asked().len(), 5);
    });
}

#[test]
fn a_start_that_ends_in_backoff_is_a_failure() {
    run(async {
        let api = Api::start(looks(&[("starting", 1), ("backoff", 1)]));
        assert_eq!(api.run("start a").await, Exit::Failure);
    });
}

#[test]
fn some_of_several_failed_is_three_and_all_are_told_first() {
    run(async {
        let api = Api::start(|line| match line {
            "POST /api/services/b/stop" => unknown(),
            _ => (200, service("a", "unknown", "stopped", 1)),
        });
        assert_eq!(api.run("stop a b a").await, Exit::Unhealthy);
        assert_eq!(
            api.asked(),
            ["POST /api/services/a/stop", "POST /api/services/b/stop"]
        );
        assert_eq!(api.run("stop b").await, Exit::Failure);
    });
}

#[test]
fn all_means_all_but_our_own_actors() {
    run(async {
        let api = Api::start(|line| match line {
            "GET /api/services" => (
                200,
                json!({"services": [service("a", "healthy", "running", 1),
                    service("b", "healthy", "external", 1),
                    service("internal.archive", "healthy", "running", 1)]}),
            ),
            _ => (202, service("x", "unknown", "stopped", 1)),
        });
        assert_eq!(api.run("pause --all --for 90m").await, Exit::Fine);
        assert_eq!(
            api.asked(),
            [
                "GET /api/services",
                "POST /api/services/a/pause {\"for\":\"1h 30m\"}",
                "POST /api/services/b/pause {\"for\":\"1h 30m\"}",
            ]
        );
        assert_eq!(api.run("stop --all").await, Exit::Fine);
        // What somebody else runs cannot be stopped by us, so it is not meant.
        assert_eq!(
            api.asked()[3..],
            ["GET /api/services", "POST /api/services/a/stop"]
        );
    });
}

#[test]
fn the_exit_code_of_status_is_the_health_of_what_was_asked_for() {
    run(async {
        let api = Api::start(|line| match line {
            "GET /api/services/a" => (200, service("a", "warning", "running", 1)),
            "GET /api/services/b" => (200, service("b", "critical", "running", 1)),
            "GET /api/services" => (
                200,
                json!({"services": [service("a", "warning", "running", 1),
                    service("b", "critical", "running", 1)]}),
            ),
            _ => unknown(),
        });
        for json in ["", " --json"] {
            assert_eq!(api.run(&format!("status a{json}")).await, Exit::Fine);
            assert_eq!(api.run(&format!("status b{json}")).await, Exit::Unhealthy);
            assert_eq!(api.run(&format!("status{json}")).await, Exit::Unhealthy);
            assert_eq!(api.run(&format!("status c{json}")).await, Exit::Failure);
        }
    });
}

#[test]
fn a_pulse_says_what_it_was_given() {
    run(async {
        let api = Api::start(|_| (202, json!({})));
        let environment = || Environment {
            service: Some("own".to_owned()),
            ..Environment::default()
        };
        assert_eq!(api.run_in("pulse", environment()).await, Exit::Fine);
        for line in [
            "pulse a",
            "pulse a --state idle --message hello --cycle -3",
            "pulse a --busy-for 90s --metric x=1.5 --metric y=2 --progress 0.5",
            "pulse a --error broken",
            "pulse a --error broken --critical",
        ] {
            assert_eq!(api.run(line).await, Exit::Fine, "{line}");
        }
        assert_eq!(
            api.asked(),
            [
                "POST /api/pulse/own",
                "POST /api/pulse/a",
                r#"POST /api/pulse/a {"cycle":-3,"message":"hello","state":"idle"}"#,
                r#"POST /api/pulse/a {"busy_for":"1m 30s","metrics":{"x":1.5,"y":2.0},"progress":0.5}"#,
                r#"POST /api/error/a {"critical":false,"message":"broken"}"#,
                r#"POST /api/error/a {"critical":true,"message":"broken"}"#,
            ]
        );
        assert_eq!(api.run("pulse").await, Exit::Usage, "of which service?");
        let bad = Environment {
            service: Some("Not A Name".to_owned()),
            ..Environment::default()
        };
        assert_eq!(api.run_in("pulse", bad).await, Exit::Usage);
    });
}

#[test]
fn a_pulse_that_was_not_recorded_is_a_failure() {
    run(async {
        let api = Api::start(|_| (507, json!({"status": 507, "detail": "the disk is full"})));
        assert_eq!(api.run("pulse a --message x").await, Exit::Failure);
    });
}

#[test]
fn logs_and_events_ask_for_what_was_typed() {
    run(async {
        let api = Api::start(|line| match line.split('?').next() {
            Some("GET /api/events") => (200, json!({"events": [], "next": null})),
            _ => (200, json!("log")),
        });
        assert_eq!(api.run("logs a -n 5").await, Exit::Fine);
        assert_eq!(
            api.run("events --service a --since 1h -n 7").await,
            Exit::Fine
        );
        assert_eq!(api.run("events --json").await, Exit::Fine);
        assert_eq!(
            api.asked(),
            [
                "GET /api/logs/a?tail=5",
                "GET /api/events?limit=7&service=a&since=3600000ms",
                "GET /api/events?limit=100",
            ]
        );
    });
}

#[test]
fn where_nobody_listens_every_command_says_so() {
    run(async {
        let api = Api::start(|_| unknown());
        std::fs::remove_file(api.dir.path().join("s.sock")).unwrap();
        for line in [
            "status",
            "status a",
            "status --watch",
            "stop a",
            "start a",
            "restart a",
            "pause a",
            "nudge --all",
            "logs a",
            "events -f",
            "pulse a",
        ] {
            assert_eq!(api.run(line).await, Exit::NotReachable, "{line}");
        }
    });
}
