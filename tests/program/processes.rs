//! Faults of processes while they live: stopped, deaf, forked away, noisy, silent.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::script::{bash, command, sh};
use crate::common::wait::{wait_until, watch_for};
use crate::common::{World, alive, process, signal};

#[test]
fn f1_a_stopped_child_goes_stale_is_terminated_and_replaced() {
    let script = bash("trap 'echo term >>terms; exit 0' TERM\npulse_every 0.1");
    let keys = format!("{script}interval = \"300ms\"\nstop_timeout = \"20s\"");
    let world = World::plan().service("frozen", &keys).start();
    let first = world.wait_healthy("frozen");
    let pid = first.pid.expect("a process");

    signal(pid, Signal::SIGSTOP);
    let second = world.wait_for("frozen", "is replaced and healthy", |service| {
        service.generation > first.generation && service.status == "healthy"
    });

    assert!(!alive(pid));
    assert_eq!(second.restarts, 1);
    // It could only run its trap because SIGCONT followed SIGTERM, long before SIGKILL.
    assert_eq!(world.read("terms"), "term\n");
    let events = world.events_of("frozen");
    let levels: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "level")
        .map(|event| event.to.clone().unwrap_or_default())
        .collect();
    assert_eq!(
        levels,
        ["healthy", "warning", "degraded", "critical", "healthy"]
    );
    let restarts: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "restarted")
        .collect();
    assert_eq!(restarts.len(), 1);
    assert_eq!(restarts[0].to.as_deref(), Some("stale"));
    assert!(events.iter().any(|event| event.kind == "poked"));
}

#[test]
fn f2_a_child_that_ignores_term_is_killed_after_the_stop_timeout() {
    let script = sh("trap '' TERM\necho ready >ready\nexec sleep 1000");
    let world = World::plan()
        .service("deaf", &format!("{script}stop_timeout = \"700ms\""))
        .start();
    let pid = world.wait_healthy("deaf").pid.expect("a process");
    wait_until("it ignores TERM", || {
        (world.read("ready") == "ready\n").then_some(())
    });

    let began = std::time::Instant::now();
    world.control("deaf", "stop");
    world.wait_for("deaf", "is stopped", |service| {
        let gone = !alive(pid);
        // Asked before: what is said to be stopped was gone already.
        assert!(
            service.state != "stopped" || gone,
            "stopped is said of what lives"
        );
        service.state == "stopped"
    });

    assert!(
        began.elapsed() >= Duration::from_millis(700),
        "it was given its time"
    );
    assert!(!alive(pid));
}

#[test]
fn f3_a_double_forked_daemon_is_stopped_with_its_service() {
    let script =
        "(setsid sh -c 'trap \"\" TERM; echo $$ >daemon; exec sleep 1000' &)\nexec sleep 1000";
    let world = World::plan()
        .service(
            "forking",
            &format!("{}stop_timeout = \"300ms\"", sh(script)),
        )
        .start();
    let main = world.wait_healthy("forking").pid.expect("a process");
    let daemon = wait_until("the daemon runs", || {
        world
            .pids("daemon")
            .first()
            .copied()
            .filter(|pid| process::command_line(*pid).contains("sleep"))
    });
    let sessions = [main, daemon].map(|pid| process::stat(pid).expect("it lives").session);
    assert_ne!(sessions[0], sessions[1], "it has left the session");

    world.control("forking", "stop");
    world.wait_for("forking", "is stopped", |service| {
        service.state == "stopped"
    });

    assert!(!alive(main));
    assert!(!alive(daemon));
}

#[test]
fn f5_what_a_dead_main_process_left_is_ended_before_the_next_start() {
    let script = bash("alone\nsetsid sleep 1000 &\nsleep 0.05\nexit 1");
    let keys =
        format!("{script}stop_timeout = \"300ms\"\nbackoff = {{ min = \"10ms\", max = \"20ms\" }}");
    let world = World::plan().service("leaver", &keys).start();

    world.wait_for("leaver", "has had five lives", |service| {
        service.generation >= 5
    });

    assert_eq!(world.read("doubled"), "", "two lives overlapped");
    let sleeping = process::belonging_to(world.dir())
        .into_iter()
        .filter(|pid| process::command_line(*pid) == "sleep 1000")
        .count();
    assert!(sleeping <= 1, "{sleeping} lives left something behind");
}

#[test]
fn f6_a_zombie_counts_as_dead() {
    // `sleep` never waits for the child that its shell left it.
    let script = sh("sleep 0.3 &\necho $! >zombie\nexec sleep 1000");
    let world = World::plan()
        .service("undertaker", &format!("{script}stop_timeout = \"20s\""))
        .start();
    let main = world.wait_healthy("undertaker").pid.expect("a process");
    let zombie = wait_until("the child is a zombie", || {
        let pid = *world.pids("zombie").first()?;
        process::stat(pid).filter(|stat| stat.state == 'Z')?;
        Some(pid)
    });

    let began = std::time::Instant::now();
    world.control("undertaker", "stop");
    world.wait_for("undertaker", "is stopped", |service| {
        service.state == "stopped"
    });
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it waited for the dead"
    );
    assert!(!alive(main));
    assert!(!alive(zombie));
}

#[test]
fn f6_a_zombie_that_nobody_can_reap_counts_as_dead_for_the_next_supervisor() {
    let mut world = World::plan()
        .service("zombie", &command(&["sleep", "1000"]))
        .service("other", &bash("alone; exec sleep 1000"))
        .start();
    let first = world.wait_healthy("zombie");
    let other = world.wait_healthy("other");
    let pid = first.pid.expect("a process");
    // Its parent, the shim, cannot wait for it, nor answer the next supervisor.
    signal(world.shim_of("zombie"), Signal::SIGSTOP);
    world.kill();
    signal(pid, Signal::SIGKILL);
    wait_until("it is a zombie", || {
        process::stat(pid).filter(|stat| stat.state == 'Z')
    });

    world.spawn();

    let began = std::time::Instant::now();
    wait_until("the other is found at once", || {
        let reply = world
            .socket()
            .request("GET", "/api/services/other", &[], b"")
            .ok()?;
        (reply.status == 200 && reply.json()["pid"].as_i64() == other.pid.map(i64::from))
            .then_some(())
    });
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "it waited for the frozen one"
    );
    world.wait_for("zombie", "lives again", |service| {
        service.generation > first.generation && service.pid.is_some_and(alive)
    });
    assert_eq!(world.read("doubled"), "");
}

#[test]
fn a_shim_that_hangs_in_a_stop_is_ended_and_its_service_with_it() {
    let keys = format!("{}stop_timeout = \"500ms\"", command(&["sleep", "1000"]));
    let world = World::plan().service("sleeper", &keys).start();
    let pid = world.wait_healthy("sleeper").pid.expect("a process");
    let shim = world.shim_of("sleeper");
    signal(shim, Signal::SIGSTOP);
    let ran = world.cli(&["stop", "sleeper", "--timeout", "30s"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!alive(pid));
    wait_until("the shim is gone, too", || (!alive(shim)).then_some(()));
}

#[test]
fn f11_a_child_holds_its_three_descriptors_and_no_other() {
    let world = World::plan()
        // The supervisor itself is started with a few that are not closed on exec.
        .prefix(&[
            "bash",
            "-c",
            "exec \"$@\" 7</dev/null 8>>leak 19</etc/passwd",
            "leaky",
        ])
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    let pid = world.wait_healthy("sleeper").pid.expect("a process");
    let open = |pid: i32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("fd");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut fds: Vec<u32> = names
            .map(|name| {
                name.to_str()
                    .and_then(|name| name.parse().ok())
                    .expect("a number")
            })
            .collect();
        fds.sort_unstable();
        fds
    };
    wait_until("it has executed", || {
        (process::command_line(pid) == "sleep 1000").then_some(())
    });
    assert_eq!(open(pid), [0, 1, 2]);
    // The supervisor has them, so the list above could have been longer.
    assert!(open(world.pid()).contains(&19));
}

#[test]
fn f13_binary_and_escape_sequences_in_output_are_shown_escaped() {
    let script = "printf 'a\\033[31mred\\000nul\\377high\\007bell\\n'; exec sleep 1000";
    let world = World::plan().service("noisy", &sh(script)).start();
    world.wait_healthy("noisy");

    let shown = wait_until("the line is logged", || {
        let ran = world.cli(&["logs", "noisy"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out.contains("bell").then_some(ran.out)
    });
    assert!(
        shown.contains("red") && shown.contains("nul") && shown.contains("high"),
        "{shown:?}"
    );
    let harmful: Vec<char> = shown
        .chars()
        .filter(|c| c.is_control() && *c != '\n')
        .collect();
    assert!(harmful.is_empty(), "{shown:?}");
}

#[test]
fn f13_escape_sequences_in_a_message_are_shown_escaped() {
    let world = World::plan().service("noisy", "interval = \"30s\"").start();
    let message = "{\"message\":\"\\u001b[2Jgone\\u0007\\nsecond\"}";
    assert_eq!(world.post("/api/error/noisy", message).status, 202);

    for words in [&["status"][..], &["status", "noisy"], &["events"]] {
        let ran = world.cli(words);
        let harmful: Vec<char> = ran
            .out
            .chars()
            .filter(|c| c.is_control() && *c != '\n')
            .collect();
        assert!(harmful.is_empty(), "{words:?} shows {:?}", ran.out);
        assert!(ran.out.contains("noisy"), "{ran:?}");
    }
    let log = world.output();
    assert!(!log.contains('\u{1b}') && !log.contains('\u{7}'), "{log:?}");
}

#[test]
fn f14_a_child_that_reads_its_stdin_meets_its_end_at_once() {
    let script = sh("cat >input; readlink /proc/self/fd/0 >stdin; exec sleep 1000");
    let world = World::plan().service("reader", &script).start();
    let stdin = wait_until("cat has ended", || {
        Some(world.read("stdin")).filter(|s| !s.is_empty())
    });
    assert_eq!(stdin, "/dev/null\n");
    assert_eq!(fs::read(world.file("input")).expect("input"), b"");
}

#[test]
fn f15_a_child_that_closes_its_output_is_still_alive() {
    let script = sh("exec >&- 2>&-; echo closed >closed; exec sleep 1000");
    let world = World::plan().service("quiet", &script).start();
    let first = world.wait_healthy("quiet");
    wait_until("its output is closed", || {
        world.file("closed").exists().then_some(())
    });

    watch_for(Duration::from_millis(700), || {
        let service = world.service("quiet");
        assert_eq!(
            (service.status.as_str(), service.pid),
            ("healthy", first.pid),
            "{service:?}"
        );
    });
    assert!(alive(first.pid.expect("a process")));
}

#[test]
fn f16_a_process_that_ends_at_once_is_one_start_and_one_exit() {
    let world = World::plan()
        .service(
            "brief",
            &format!("{}restart = \"never\"", command(&["false"])),
        )
        .service(
            "planned",
            &format!("{}restart = \"on-failure\"", command(&["true"])),
        )
        .start();
    let brief = world.wait_for("brief", "has exited", |service| {
        service.pid.is_none() && service.generation == 1
    });
    let planned = world.wait_for("planned", "has exited", |service| service.state == "exited");
    let brief = if brief.status == "critical" {
        brief
    } else {
        world.wait_for("brief", "is critical", |service| {
            service.status == "critical"
        })
    };
    assert!(
        brief.reason.contains('1'),
        "the exit code is said: {brief:?}"
    );
    assert_eq!(
        planned.status, "unknown",
        "a clean exit as planned is no fault"
    );

    for name in ["brief", "planned"] {
        let events = world.events_of(name);
        let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
        assert_eq!(
            (count("started"), count("exited"), count("restarted")),
            (1, 1, 0),
            "{events:?}"
        );
    }
}

#[test]
fn a_child_gets_exactly_the_environment_that_is_promised() {
    let keys = format!(
        "{}interval = \"30s\"\nenv = {{ GIVEN = \"a value\" }}\npass_env = [\"PASSED\", \"ABSENT\"]\nenv_file = \"worker.env\"",
        sh("env -0 >env.tmp; mv env.tmp env; exec sleep 1000")
    );
    let plan = World::plan()
        .env("PASSED", "through")
        .env("SECRET_OF_OURS", "hunter2")
        .env("SUPERVISOR_TOKEN", "the-operators-token-0123456789")
        .env("LD_LIBRARY_PATH", "/nowhere")
        .service("listed", &keys);
    fs::write(plan.dir().join("worker.env"), "FROM_FILE=yes\n").expect("worker.env");
    let world = plan.start();
    let env = wait_until("it is written", || fs::read(world.file("env")).ok());
    let variables: std::collections::BTreeMap<String, String> = env
        .split(|byte| *byte == 0)
        .filter_map(|line| {
            let line = String::from_utf8_lossy(line).into_owned();
            let (key, value) = line.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        })
        .collect();

    assert_eq!(variables["GIVEN"], "a value");
    assert_eq!(variables["PASSED"], "through");
    assert_eq!(variables["FROM_FILE"], "yes");
    assert_eq!(variables["SUPERVISOR_SERVICE"], "listed");
    assert_eq!(variables["WATCHDOG_USEC"], "30000000");
    let listed = world.wait_for("listed", "has a known pid", |service| service.pid.is_some());
    assert_eq!(
        listed.pid.map(|pid| pid.to_string()).as_ref(),
        Some(&variables["WATCHDOG_PID"])
    );
    assert!(variables["SUPERVISOR_URL"].contains(&world.port().to_string()));
    assert_ne!(
        variables["SUPERVISOR_TOKEN"],
        "the-operators-token-0123456789"
    );
    // What the shell sets by itself is not ours.
    let promised = [
        "PATH",
        "HOME",
        "LANG",
        "USER",
        "TZ",
        "GIVEN",
        "PASSED",
        "FROM_FILE",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "SUPERVISOR_SERVICE",
        "SUPERVISOR_URL",
        "SUPERVISOR_TOKEN",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    ];
    let others: Vec<_> = variables
        .keys()
        .filter(|key| !promised.contains(&key.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_service_without_an_interval_gets_no_watchdog_variables() {
    let script = sh("env >env.tmp; mv env.tmp env; exec sleep 1000");
    let world = World::plan().service("living", &script).start();
    let env = wait_until("it is written", || {
        Some(world.read("env")).filter(|env| !env.is_empty())
    });
    assert!(!env.contains("WATCHDOG_"), "{env}");
    assert!(env.contains("SUPERVISOR_SERVICE=living\n"), "{env}");
}

#[test]
fn a_childs_token_is_good_for_its_own_name_alone() {
    let script = |name: &str| {
        sh(&format!(
            "echo \"$SUPERVISOR_TOKEN\" >{name}.token; exec sleep 1000"
        ))
    };
    let keys = |name: &str| format!("{}interval = \"30s\"", script(name));
    let world = World::plan()
        .service("a", &keys("a"))
        .service("b", &keys("b"))
        .start();
    let token = wait_until("its token is written", || {
        Some(world.read("a.token").trim().to_owned()).filter(|token| !token.is_empty())
    });
    let bearer = format!("Bearer {token}");
    let post = |path: &str| {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        world
            .tcp()
            .request("POST", path, &headers, b"{\"message\":\"hello\"}")
            .expect(path)
            .status
    };

    assert_eq!(post("/api/pulse/a"), 202);
    assert_eq!(post("/api/error/a"), 202);
    assert!(
        matches!(post("/api/pulse/b"), 401 | 403),
        "it pulsed for another"
    );
    assert!(
        matches!(post("/api/error/b"), 401 | 403),
        "it accused another"
    );
    assert!(
        matches!(post("/api/services/a/stop"), 401 | 403),
        "it commanded itself"
    );
    assert_eq!(world.service("b").total_pulses, 0);
}

#[test]
fn a_child_is_started_as_the_user_and_with_the_limits_that_are_configured() {
    let keys = format!(
        "{}umask = \"027\"\nnice = 3\nlimits = {{ nofile = 77, core = 0 }}\n",
        sh(
            "touch mine; (ulimit -n; nice; umask) >limits.tmp; mv limits.tmp limits; exec sleep 1000"
        )
    );
    let world = World::plan().service("limited", &keys).start();
    let limits = wait_until("they are written", || {
        Some(world.read("limits")).filter(|limits| !limits.is_empty())
    });
    assert_eq!(limits, "77\n3\n0027\n");
}

#[test]
fn as_root_a_child_can_be_another_user_and_cannot_come_back() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can become somebody else; the refusal is tested with the other starts.
        return;
    }
    let keys = format!("{}user = \"nobody\"", command(&["sleep", "1000"]));
    let world = World::plan().service("nobody", &keys).start();
    let pid = world.wait_healthy("nobody").pid.expect("a process");
    let status = wait_until("it has executed", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        process::command_line(pid)
            .contains("sleep")
            .then_some(status)
    });
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .expect(name);
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(field("Uid:"), "65534 65534 65534 65534");
    assert_eq!(field("Gid:"), "65534 65534 65534 65534");
    assert_ne!(field("Groups:"), "0");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("CapEff:"), "0000000000000000");
}

#[test]
fn the_limit_of_descriptors_bounds_the_services_and_not_how_many_there_may_be() {
    let sleeper = command(&["sleep", "1000"]);
    let mut plan = World::plan()
        .prefix(&["prlimit", "--nofile=64:4096"])
        .service("asks", &sh("ulimit -n >limit\nexec sleep 1000"));
    for number in 0..50 {
        plan = plan.service(&format!("sleeper{number}"), &sleeper);
    }
    let world = plan.start();
    wait_until("all run", || {
        let services = world.services();
        let ours = services
            .iter()
            .filter(|service| !service.name.starts_with("internal."));
        ours.clone()
            .all(|service| service.state == "running")
            .then_some(())
    });
    wait_until("it has asked", || {
        (world.read("limit") == "64\n").then_some(())
    });
}
