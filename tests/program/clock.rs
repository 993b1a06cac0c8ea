//! Clocks that jump, supervisors that stall, timestamps that lie.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::script::{bash, command};
use crate::common::wait::{wait_until, watch_for};
use crate::common::{Event, World, alive, signal};

/// Events of services that say that something was thought or done about them.
fn judgements(world: &World) -> Vec<Event> {
    let kinds = [
        "level",
        "poked",
        "nudged",
        "restarted",
        "exited",
        "started",
        "quarantined",
    ];
    let events = world.events().into_iter();
    events
        .filter(|event| {
            kinds.contains(&event.kind.as_str()) && !event.service.starts_with("internal.")
        })
        .collect()
}

fn faketime() -> PathBuf {
    let libraries = fs::read_dir("/usr/lib")
        .expect("/usr/lib")
        .filter_map(Result::ok);
    let mut candidates = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    candidates
        .find(|path| path.exists())
        .expect("libfaketime: apt-get install faketime")
}

#[test]
fn f23_a_jumping_wall_clock_changes_no_state() {
    let worker = format!("{}interval = \"400ms\"", bash("pulse_every 0.1"));
    let plan = World::plan();
    let offset = plan.dir().join("offset");
    fs::write(&offset, "+0").expect("offset");
    let world = plan
        .env("LD_PRELOAD", faketime().to_str().expect("utf-8"))
        .env("FAKETIME_TIMESTAMP_FILE", offset.to_str().expect("utf-8"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .service("worker", &worker)
        .service("sleeper", &command(&["sleep", "1000"]))
        .service("seldom", "interval = \"25h\"")
        .start();
    world.pulse("seldom");
    let first = world.wait_healthy("worker");
    world.wait_healthy("sleeper");
    let before = judgements(&world);
    let year = |text: &str| text[..4].parse::<i64>().expect("a year");
    let now = year(&world.service("worker").last_heartbeat.expect("a date"));

    for (jump, years) in [
        ("-3600", 0),
        ("+1y", 1),
        ("+10y", 10),
        ("-10y", -10),
        ("+0", 0),
    ] {
        fs::write(&offset, jump).expect("offset");
        let pulses = world.service("worker").total_pulses;
        let after = world.wait_for("worker", "pulses on", |service| {
            service.total_pulses >= pulses + 8
        });
        let shown = year(&after.last_heartbeat.expect("a date"));
        assert!(
            (shown - (now + years)).abs() <= 1,
            "the clock did not jump by {jump}: {shown}"
        );
        assert!(after.age.is_some_and(|age| age < 0.6), "{:?}", after.age);
        assert!(world.service("seldom").age.is_some_and(|age| age < 60.0));
    }

    assert_eq!(judgements(&world), before);
    let alerts = world.get("/api/alerts?state=all").json()["alerts"].clone();
    let about = |alert: &serde_json::Value| (alert["kind"].clone(), alert["service"].clone());
    let about: Vec<_> = alerts
        .as_array()
        .expect("a list")
        .iter()
        .map(about)
        .collect();
    assert_eq!(
        about,
        [("supervisor".into(), "clock".into())],
        "one alert about us, none about services"
    );
    assert_eq!(world.service("worker").generation, first.generation);
    assert_eq!(world.service("worker").pid, first.pid);
    // A real hang is noticed as ever.
    signal(first.pid.expect("a process"), Signal::SIGSTOP);
    world.wait_for("worker", "is replaced", |service| {
        service.generation > first.generation
    });
}

#[test]
fn f25_a_supervisor_that_was_stopped_judges_nobody_for_it() {
    let worker = bash("pulse_every 0.1");
    let world = World::plan()
        .service("worker", &format!("{worker}interval = \"500ms\""))
        .service("other", &format!("{worker}interval = \"1s\""))
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    for name in ["worker", "other", "sleeper"] {
        world.wait_healthy(name);
    }
    let before = judgements(&world);

    signal(world.pid(), Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(6));
    signal(world.pid(), Signal::SIGCONT);

    watch_for(Duration::from_secs(3), || {
        for name in ["worker", "other", "sleeper"] {
            assert_eq!(world.service(name).status, "healthy");
        }
    });
    assert_eq!(judgements(&world), before);
    let said = world.wait_event("the stall is said to be ours", |event| {
        event.kind == "supervisor"
            && !event.reason.is_empty()
            && event.id > before.last().map_or(0, |event| event.id)
    });
    assert!(
        said.reason.contains('6') || said.reason.contains('5'),
        "how long: {said:?}"
    );
}

#[test]
fn f25_pulses_that_wait_while_the_supervisor_is_stopped_are_all_taken() {
    let world = World::plan()
        .service("outside", "interval = \"1h\"")
        .start();
    for _ in 0..3 {
        let before = world.service("outside").total_pulses;
        signal(world.pid(), Signal::SIGSTOP);
        let senders: Vec<_> = (0..20)
            .map(|_| {
                let address = world.tcp();
                std::thread::spawn(move || {
                    let reply = address.request("POST", "/api/pulse/outside", &[], b"");
                    reply.expect("an answer").status
                })
            })
            .collect();
        // Longer than a client may take for the head of its request.
        std::thread::sleep(Duration::from_millis(6500));
        signal(world.pid(), Signal::SIGCONT);
        let statuses: Vec<u16> = senders
            .into_iter()
            .map(|sender| sender.join().expect("a sender"))
            .collect();
        assert!(statuses.iter().all(|status| *status == 202), "{statuses:?}");
        world.wait_for("outside", "has counted all", |service| {
            service.total_pulses == before + 20
        });
    }
}

#[test]
fn f25_service_and_supervisor_frozen_together_are_not_judged_and_a_hang_after_it_is() {
    let worker = bash("pulse_every 0.1");
    let world = World::plan()
        .service("worker", &format!("{worker}interval = \"500ms\""))
        .start();
    let first = world.wait_healthy("worker");
    let pid = first.pid.expect("a process");
    let before = judgements(&world);

    // The second time in the harder order: the supervisor looks while its service still stands.
    for head_start in [0, 100] {
        for pid in [pid, world.pid()] {
            signal(pid, Signal::SIGSTOP);
        }
        std::thread::sleep(Duration::from_secs(6));
        signal(world.pid(), Signal::SIGCONT);
        std::thread::sleep(Duration::from_millis(head_start));
        signal(pid, Signal::SIGCONT);

        watch_for(Duration::from_secs(2), || {
            assert_eq!(world.service("worker").generation, first.generation);
        });
        let new = judgements(&world).split_off(before.len());
        if head_start == 0 {
            assert_eq!(new, []);
        }
        // It was silent for those 100 ms: what it may not be is poked.
        assert!(new.iter().all(|event| event.kind == "level"), "{new:?}");
        assert!(
            new.iter()
                .all(|event| event.to.as_deref() != Some("critical")),
            "{new:?}"
        );
    }

    let began = std::time::Instant::now();
    signal(pid, Signal::SIGSTOP);
    world.wait_for("worker", "is healthy in a new life", |service| {
        service.generation > first.generation && service.status == "healthy"
    });
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "after {:?}",
        began.elapsed()
    );
    assert!(!alive(pid));
}

#[test]
fn f26_timestamps_and_numbers_that_lie_do_not_move_the_time_of_receipt() {
    let world = World::plan().service("liar", "interval = \"1h\"").start();
    let post = |body: &str| world.post("/api/pulse/liar", body).status;

    let today = humantime_day();
    for timestamp in [
        "\"2099-01-01T00:00:00Z\"",
        "\"0001-01-01T00:00:00Z\"",
        "0",
        "-5",
        "1e308",
        "null",
        "\"NaN\"",
        "\"\"",
    ] {
        // Nobody asked for its time; what it says of it decides nothing.
        assert_eq!(
            post(&format!("{{\"message\":\"m\",\"timestamp\":{timestamp}}}")),
            202,
            "{timestamp}"
        );
        let service = world.service("liar");
        assert!(
            service.age.is_some_and(|age| (0.0..30.0).contains(&age)),
            "{service:?}"
        );
        let date = service.last_heartbeat.expect("a date");
        assert!(
            today.iter().any(|day| date.starts_with(day.as_str())),
            "{timestamp} was taken: {date}"
        );
    }
    for body in [
        "{\"progress\":NaN}",
        "{\"progress\":1e999}",
        "{\"busy_for\":\"-5m\"}",
        "{\"busy_for\":-5}",
        "{\"busy_for\":NaN}",
        "{\"cycle\":1.5e300}",
    ] {
        assert_eq!(post(body), 400, "{body}");
    }
    let pulses = world.service("liar").total_pulses;
    assert_eq!(pulses, 8, "what was refused was no pulse");
    // A figure that is none is named, and does not cost the sign of life.
    assert_eq!(post("{\"metrics\":{\"k\":NaN}}"), 422);
    world.wait_for("liar", "its pulse counts", |service| {
        service.total_pulses == 9
    });
}

/// The present day in UTC, and the next, should midnight pass meanwhile.
fn humantime_day() -> [String; 2] {
    let now = std::time::SystemTime::now();
    let day = |time| humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned();
    [day(now), day(now + Duration::from_secs(3600))]
}

#[test]
fn a_heartbeat_that_is_older_than_a_day_survives_a_restart() {
    let mut world = World::plan()
        .service("seldom", "interval = \"25h\"")
        .start();
    world.pulse("seldom");
    let before = world.service("seldom");
    // It is stored within a second of its receipt.
    std::thread::sleep(Duration::from_millis(1500));
    world.kill();
    world.start();
    let after = world.service("seldom");
    assert_eq!(after.last_heartbeat, before.last_heartbeat);
    assert_eq!(after.total_pulses, 1);
    assert_eq!(after.status, "healthy");
    assert!(
        after.age >= before.age,
        "{:?} then {:?}",
        before.age,
        after.age
    );
}

#[test]
fn a_stopped_shim_does_not_stop_the_ageing() {
    let worker = bash("pulse_every 0.1");
    let world = World::plan()
        .service(
            "worker",
            &format!("{worker}interval = \"400ms\"\nstop_timeout = \"500ms\""),
        )
        .start();
    let first = world.wait_healthy("worker");
    let shim = world.shim_of("worker");
    signal(shim, Signal::SIGSTOP);
    signal(first.pid.expect("a process"), Signal::SIGSTOP);
    wait_until("it is critical", || {
        (world.service("worker").status == "critical").then_some(())
    });
    signal(shim, Signal::SIGCONT);
    world.wait_for("worker", "is healthy in a new life", |service| {
        service.generation > first.generation && service.status == "healthy"
    });
    wait_until("the old shim is gone", || (!alive(shim)).then_some(()));
}
