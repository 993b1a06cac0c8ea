//! sd_notify through the real program: real services and clients, unmodified.
//!
//! `tests/run` installs what these need.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use crate::common::postgresql::postgresql;
use crate::common::proof::{ANEW, wait_silence_is_poked};
use crate::common::script::{command, sh};
use crate::common::wait::{wait_until, watch_for};
use crate::common::world::{PROGRAM, Plan, free_port};
use crate::common::{Service, World, signal};

fn text(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}

/// Waits until it has said by itself that it is ready.
fn wait_ready(world: &World, name: &str) -> Service {
    let event = world.wait_event(&format!("{name} is ready"), |event| {
        event.service == name && event.kind == "ready"
    });
    assert_eq!(event.reason, "it said so");
    let service = world.service(name);
    assert_eq!(service.state, "running");
    // One that promises pulses is judged by the first of them.
    let promises = service.interval.is_some();
    assert!(promises || service.status == "healthy", "{service:?}");
    service
}

// --- services that say READY=1 by themselves ---

#[test]
fn redis_says_by_itself_that_it_is_ready() {
    let port = free_port().to_string();
    let redis = ["redis-server", "--supervised", "systemd", "--port", &port];
    let redis = command(&[&redis[..], &["--save", ""]].concat());
    let world = World::plan()
        .service("redis", &format!("{redis}ready = 'notify'"))
        .start();
    wait_ready(&world, "redis");
    world.wait_for("redis", "says what it does", |service| {
        service.message.as_deref() == Some("Ready to accept connections")
    });
}

#[test]
fn redis_that_never_says_so_is_critical_and_poked() {
    let port = free_port().to_string();
    // Nobody has told it that it is supervised.
    let redis = command(&["redis-server", "--port", &port, "--save", ""]);
    let keys = "ready = 'notify'\nstart_timeout = '1s'\n";
    let world = World::plan()
        .service("redis", &format!("{redis}{keys}"))
        .start();
    world.wait_event("critical", |event| {
        event.service == "redis" && event.to.as_deref() == Some("critical")
    });
    world.wait_event("poked", |event| {
        event.service == "redis"
            && event.kind == "restarted"
            && event.to.as_deref() == Some("unready")
    });
}

#[test]
fn haproxy_says_by_itself_that_it_is_ready() {
    let plan = World::plan();
    let config = plan.dir().join("haproxy.cfg");
    let port = free_port();
    fs::write(
        &config,
        format!(
            "global\n log stdout format raw local0\ndefaults\n mode http\n timeout client 1s\n \
             timeout server 1s\n timeout connect 1s\nfrontend f\n bind 127.0.0.1:{port}\n"
        ),
    )
    .expect("a configuration");
    let haproxy = command(&["haproxy", "-Ws", "-f", &text(&config)]);
    let world = plan
        .service("haproxy", &format!("{haproxy}ready = 'notify'"))
        .start();
    wait_ready(&world, "haproxy");
}

#[test]
fn gunicorn_says_by_itself_that_it_is_ready() {
    let plan = World::plan();
    fs::write(
        plan.dir().join("app.py"),
        "def app(environ, respond):\n    respond('200 OK', [])\n    return [b'']\n",
    )
    .expect("an application");
    let address = format!("127.0.0.1:{}", free_port());
    let gunicorn = command(&["gunicorn", "-b", &address, "app:app"]);
    let world = plan
        .service("gunicorn", &format!("{gunicorn}ready = 'notify'"))
        .start();
    wait_ready(&world, "gunicorn");
    let message = world.service("gunicorn").message;
    assert_eq!(message.as_deref(), Some("Gunicorn arbiter booted"));
}

fn postgresql_is_ready(keys: &str) {
    let (plan, _) = postgresql(World::plan(), keys);
    let world = plan.start();
    wait_ready(&world, "db");
}

#[test]
fn postgresql_of_another_user_reaches_the_path_and_says_that_it_is_ready() {
    postgresql_is_ready("");
}

#[test]
fn postgresql_of_another_user_reaches_the_abstract_name_as_well() {
    postgresql_is_ready("notify_socket = 'abstract'");
}

// --- clients that pulse ---

#[test]
fn systemd_notify_pulses_its_barrier_is_answered_and_its_silence_is_poked() {
    // Without --no-block it waits until we have closed the descriptor of its barrier, and
    // fails after 5 s: then the service ends.
    let script = format!(
        "set -e; {ANEW}systemd-notify --ready --status=up; \
         while ! [ -e silent ]; do systemd-notify WATCHDOG=1; sleep 0.1; done; exec sleep 1000"
    );
    let keys = "interval = '500ms'\nready = 'notify'\n";
    let world = World::plan()
        .service("unit", &format!("{}{keys}", sh(&script)))
        .start();
    assert_eq!(wait_ready(&world, "unit").message.as_deref(), Some("up"));
    wait_silence_is_poked(&world, "unit");
}

#[test]
fn a_shell_line_with_socat_pulses_and_its_silence_is_poked() {
    for (form, address) in [
        ("path", "UNIX-SENDTO:$NOTIFY_SOCKET"),
        ("abstract", "ABSTRACT-SENDTO:${NOTIFY_SOCKET#@}"),
    ] {
        let script = format!(
            "{ANEW}while ! [ -e silent ]; do printf WATCHDOG=1 | socat -u - \"{address}\"; \
             sleep 0.1; done; exec sleep 1000"
        );
        let keys = format!("interval = '500ms'\nnotify_socket = '{form}'\n");
        let world = World::plan()
            .service("line", &format!("{}{keys}", sh(&script)))
            .start();
        wait_silence_is_poked(&world, "line");
    }
}

/// A Python service that speaks by the package sdnotify, which stays connected to the socket
/// that it has met at its start.
fn by_sdnotify(plan: Plan, name: &str, pause: f64, keys: &str) -> Plan {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/notify-venv/bin/python");
    let script = format!(
        "import os, sdnotify, time\n\
         if os.path.exists('silent'): os.remove('silent')\n\
         n = sdnotify.SystemdNotifier()\n\
         n.notify('READY=1\\nSTATUS=by python')\n\
         while True:\n    os.path.exists('silent') or n.notify('WATCHDOG=1')\n    \
         time.sleep({pause})\n"
    );
    let command = command(&[&text(&python), "-c", &script]);
    plan.service(name, &format!("{command}ready = 'notify'\n{keys}"))
}

#[test]
fn the_python_package_sdnotify_pulses_and_its_silence_is_poked() {
    let world = by_sdnotify(World::plan(), "py", 0.1, "interval = '500ms'\n").start();
    let service = wait_ready(&world, "py");
    assert_eq!(service.message.as_deref(), Some("by python"));
    wait_silence_is_poked(&world, "py");
}

/// The example of this repository that speaks by the Rust crate sd-notify.
fn by_the_crate() -> String {
    let programs = Path::new(PROGRAM).parent().expect("a directory");
    let example = programs.join("examples/sd_notify");
    assert!(example.exists(), "cargo builds examples with the tests");
    text(&example)
}

#[test]
fn the_rust_crate_sd_notify_pulses_and_its_silence_is_poked() {
    // The crate knows only paths, and wants WATCHDOG_PID to be the process's own.
    let keys = "interval = '500ms'\nready = 'notify'\n";
    let world = World::plan()
        .service("rust", &format!("{}{keys}", command(&[&by_the_crate()])))
        .start();
    let service = wait_ready(&world, "rust");
    assert_eq!(service.message.as_deref(), Some("by the crate"));
    world.wait_healthy("rust");
    let first = world.wait_for("rust", "pulses on", |service| service.total_pulses > 5);
    assert_eq!(first.generation, 1);
    // It hangs as a whole.
    signal(
        first.pid.expect("it runs"),
        nix::sys::signal::Signal::SIGSTOP,
    );
    world.wait_event("critical by silence", |event| {
        event.service == "rust" && event.to.as_deref() == Some("critical")
    });
    world.wait_event("poked", |event| {
        event.service == "rust" && event.kind == "poked" && event.to.as_deref() == Some("stale")
    });
    world.wait_for("rust", "is well again", |service| {
        service.generation == 2 && service.status == "healthy"
    });
}

// --- our own death ---

#[test]
fn f28_an_adopted_child_is_heard_on_whether_or_not_it_stays_connected() {
    let script = "while :; do systemd-notify --no-block WATCHDOG=1 2>/dev/null; sleep 0.1; done";
    let plan = by_sdnotify(World::plan(), "py", 0.1, "interval = '1s'\n");
    let mut world = plan
        .service("path", &format!("{}interval = '1s'\n", sh(script)))
        .service(
            "abstract",
            &format!(
                "{}interval = '1s'\nnotify_socket = 'abstract'\n",
                sh(script)
            ),
        )
        .start();
    let names = ["py", "path", "abstract"];
    for _ in 0..2 {
        let before = names.map(|name| {
            world.wait_healthy(name);
            world.service(name)
        });
        world.kill();
        world.start();
        for before in before {
            let name = before.name.as_str();
            let after = world.wait_for(name, "pulses again", |service| {
                service.total_pulses > before.total_pulses + 10
            });
            assert_eq!(
                (after.pid, after.generation),
                (before.pid, before.generation)
            );
            assert_eq!((after.status.as_str(), after.restarts), ("healthy", 0));
        }
    }
}

#[test]
fn f28_what_was_said_while_nobody_listened_is_heard_by_the_next_supervisor() {
    let script = "while [ ! -e go ]; do sleep 0.05; done; systemd-notify --no-block --ready; \
                  touch said; exec sleep 1000";
    let mut world = World::plan()
        .service(
            "late",
            &format!("{}ready = 'notify'\nstart_grace = '1h'\n", sh(script)),
        )
        .start();
    world.wait_for("late", "has begun", |service| service.pid.is_some());
    // That it is not ready yet is on record.
    world.wait_event("its start", |event| {
        event.service == "late" && event.kind == "started"
    });
    world.kill();
    fs::write(world.file("go"), "").expect("the sign to be ready");
    wait_until("it has said so", || {
        world.file("said").exists().then_some(())
    });
    // At once: what nobody wants to hear for a second is thrown away.
    world.start();
    let service = wait_ready(&world, "late");
    assert_eq!(service.generation, 1);
}

#[test]
fn nobody_waits_for_a_supervisor_that_does_not_come_back() {
    // A socket whose queue is full holds up who sends; ten datagrams may wait in one.
    let mut world = by_sdnotify(World::plan(), "py", 0.02, "interval = '1s'\n").start();
    let pid = world.wait_healthy("py").pid.expect("it runs");
    world.kill();
    // It is asleep between two datagrams; one that is held up sleeps in the socket.
    let held_up = || {
        let place = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        let switches = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let line = switches.lines().find(|line| line.starts_with("voluntary"));
        let count = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        (place, count.expect("a count"))
    };
    std::thread::sleep(Duration::from_secs(2));
    let mut last = held_up().1;
    for _ in 0..5 {
        last = wait_until("it goes on", || {
            let (place, count) = held_up();
            assert!(!place.contains("unix"), "held up in {place}");
            (count > last + 5).then_some(count)
        });
    }
    world.start();
    let after = world.wait_for("py", "pulses again", |service| {
        service.total_pulses > 50 && service.status == "healthy"
    });
    assert_eq!((after.pid, after.generation), (Some(pid), 1));
}

// --- words ---

#[test]
fn a_service_that_triggers_its_watchdog_is_poked_at_once() {
    let script = "if [ -e silent ]; then sleep 1000; fi; touch silent; \
        systemd-notify WATCHDOG=1; systemd-notify WATCHDOG=trigger; exec sleep 1000";
    let world = World::plan()
        .service("stuck", &format!("{}interval = '1h'", sh(script)))
        .start();
    let poked = world.wait_event("poked", |event| {
        event.service == "stuck" && event.kind == "poked"
    });
    assert!(poked.reason.contains("triggered its own watchdog"));
    world.wait_for("stuck", "was restarted", |service| service.generation == 2);
}

#[test]
fn the_interval_that_a_service_names_is_the_one_it_is_judged_by() {
    let script = "systemd-notify WATCHDOG_USEC=200000; systemd-notify WATCHDOG=1; exec sleep 1000";
    let world = World::plan()
        .service("fast", &format!("{}interval = '1h'", sh(script)))
        .start();
    world.wait_for("fast", "named its interval", |service| {
        service.interval == Some(0.2)
    });
    world.wait_for("fast", "was poked", |service| service.restarts > 0);
}

#[test]
fn a_pulse_of_a_service_that_pulses_by_living_is_counted() {
    let script = sh("systemd-notify WATCHDOG=1; exec sleep 1000");
    let world = World::plan().service("alive", &script).start();
    let service = world.wait_for("alive", "was counted", |service| service.total_pulses == 1);
    assert_eq!(
        (service.status.as_str(), service.interval),
        ("healthy", None)
    );
}

#[test]
fn a_stop_that_asks_for_more_time_has_it() {
    // It takes twice as long as it is given, and says so.
    let script = "trap 'systemd-notify EXTEND_TIMEOUT_USEC=20000000; sleep 2; exit 7' TERM; \
                  systemd-notify --ready; while :; do sleep 0.05; done";
    let keys = "ready = 'notify'\nnotify_access = 'all'\nstop_timeout = '1s'\n";
    let world = World::plan()
        .service("slow", &format!("{}{keys}", sh(script)))
        .service("hasty", &format!("{}{keys}max_busy = '0s'\n", sh(script)))
        .start();
    for (name, end) in [
        ("slow", "exited with code 7"),
        ("hasty", "killed by SIGKILL"),
    ] {
        wait_ready(&world, name);
        world.control(name, "stop");
        let exited = world.wait_event("its end", |event| {
            event.service == name && event.kind == "exited"
        });
        assert!(exited.reason.starts_with(end), "{name}: {exited:?}");
    }
}

#[test]
fn the_main_process_that_is_named_is_shown_and_speaks_for_the_service() {
    // Only the child pulses; both do so at the end.
    let script = "import os, socket, sys, time\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        say = lambda text: s.sendto(text, os.environ['NOTIFY_SOCKET'])\n\
        child = os.fork()\n\
        if child == 0:\n\
        \x20   while True:\n\
        \x20       say(b'WATCHDOG=1\\nSTATUS=by the child')\n\
        \x20       time.sleep(0.1)\n\
        time.sleep(0.5)\n\
        say(b'STATUS=by the parent\\nMAINPID=1')\n\
        while not os.path.exists('go'): time.sleep(0.02)\n\
        say(b'READY=1\\nMAINPID=%d' % child)\n\
        while not os.path.exists('end'): time.sleep(0.02)\n\
        os.kill(child, 9)\n\
        os.wait()\n\
        while True:\n\
        \x20   say(b'WATCHDOG=1\\nSTATUS=by the parent again')\n\
        \x20   time.sleep(0.1)\n";
    let keys = "ready = 'notify'\nnotify_access = 'main'\ninterval = '500ms'\nstart_grace = '1m'\n";
    let python = command(&["python3", "-c", script]);
    let mut world = World::plan()
        .service("forks", &format!("{python}{keys}"))
        .start();
    // The child is not the main process: dropped and counted. Nor is process 1 of the service.
    let service = world.wait_for("forks", "is not heard by its child", |service| {
        service.notify_dropped > 3 && service.message.as_deref() == Some("by the parent")
    });
    assert_eq!(service.total_pulses, 0);
    let parent = service.pid.expect("it runs");
    fs::write(world.file("go"), "").expect("written");
    let service = world.wait_for("forks", "is heard by its child", |service| {
        service.total_pulses > 5
    });
    assert_eq!(service.message.as_deref(), Some("by the child"));
    let child = service.pid.expect("it runs");
    assert_ne!(child, parent);
    assert_eq!(
        crate::common::process::stat(child)
            .expect("it lives")
            .parent,
        parent
    );
    // The next supervisor knows it.
    world.kill();
    world.start();
    let after = world.wait_for("forks", "is heard on", |after| {
        after.total_pulses > service.total_pulses + 5 && after.pid == Some(child)
    });
    assert_eq!((after.generation, after.restarts), (1, 0));
    // When it ends, what was started speaks for itself again.
    fs::write(world.file("end"), "").expect("written");
    let after = world.wait_for("forks", "speaks for itself", |service| {
        service.message.as_deref() == Some("by the parent again") && service.pid == Some(parent)
    });
    assert_eq!(after.generation, 1);
}

// --- hostile senders ---

/// The notify socket in a process's environment.
fn socket_of(pid: i32) -> String {
    let environ = fs::read(format!("/proc/{pid}/environ")).expect("it lives");
    let environ = String::from_utf8_lossy(&environ).into_owned();
    let mut variables = environ.split('\0');
    let value = variables.find_map(|pair| pair.strip_prefix("NOTIFY_SOCKET="));
    value.expect("it has a socket").to_owned()
}

fn address(of: &str) -> SocketAddr {
    match of.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(of),
    }
    .expect("an address")
}

#[test]
fn f71_a_forged_sender_from_outside_the_tree_is_dropped_and_counted() {
    for form in ["path", "abstract"] {
        let keys = format!("{}notify_socket = '{form}'\n", sh("exec sleep 1000"));
        let world = World::plan()
            .service("honest", &keys)
            .service("other", &keys)
            .start();
        let pid = |name| world.wait_healthy(name).pid.expect("it runs");
        let (honest, other) = (socket_of(pid("honest")), socket_of(pid("other")));
        assert_ne!(honest, other);
        assert_eq!(honest.starts_with('@'), form == "abstract");
        let secret = honest.rsplit('/').next().expect("a part");
        assert_eq!(secret.len(), 32, "128 bits in hexadecimal");

        let forger = UnixDatagram::unbound().expect("a socket");
        let to = address(&honest);
        for text in ["WATCHDOG=1", "WATCHDOG=trigger", "MAINPID=1", "READY=1"] {
            forger.send_to_addr(text.as_bytes(), &to).expect("sent");
        }
        let service = world.wait_for("honest", "counts them", |service| {
            service.notify_dropped == 4
        });
        assert_eq!((service.total_pulses, service.generation), (0, 1));
        assert_eq!(service.status, "healthy");
        let me = format!("last_pid: {}", std::process::id());
        wait_until("it is said", || world.output().contains(&me).then_some(()));
        assert_eq!(world.service("other").notify_dropped, 0);
    }
}

#[test]
fn f70_hostile_datagrams_do_nothing_and_leave_no_descriptor_open() {
    // All from inside the tree; a pulse at the end says that everything before was read.
    let script = "import os, socket\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)\n\
        s.connect(os.environ['NOTIFY_SOCKET'])\n\
        fds = [os.open('/dev/null', os.O_RDONLY) for _ in range(100)]\n\
        for _ in range(50):\n\
        \x20   for bad in (b'', b'WATCHDOG=1\\0', b'\\0', b'WATCHDOG=1\\n' + b'x' * 65536, b'\\xff' * 100, b'WATCHDOG'):\n\
        \x20       s.send(bad)\n\
        \x20   socket.send_fds(s, [b'FDSTORE=1'], fds[:1])\n\
        \x20   socket.send_fds(s, [b'X=1'], fds)\n\
        \x20   socket.send_fds(s, [b'BARRIER=1'], fds[:3])\n\
        s.send(b'WATCHDOG=1')\n\
        import time\n\
        time.sleep(1000)\n";
    let quiet = World::plan().service("bad", &sh("exec sleep 1000")).start();
    quiet.wait_healthy("bad");
    let world = World::plan()
        .service("bad", &command(&["python3", "-c", script]))
        .start();
    let service = world.wait_for("bad", "pulsed", |service| service.total_pulses > 0);
    assert_eq!((service.total_pulses, service.error_count), (1, 0));
    // Empty, with a NUL, or too long: four of each round.
    assert_eq!(service.notify_dropped, 4 * 50);
    let open = |pid: i32| {
        let list = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        let links = list
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        links.filter(|link| link == Path::new("/dev/null")).count()
    };
    for of in [World::pid, |world: &World| world.shim_of("bad")] {
        wait_until("all are closed", || {
            (open(of(&world)) == open(of(&quiet))).then_some(())
        });
    }
}

#[test]
fn sockets_are_gone_with_the_life_that_had_them() {
    let world = World::plan().service("a", &sh("exec sleep 1000")).start();
    let path = socket_of(world.wait_healthy("a").pid.expect("it runs"));
    assert!(Path::new(&path).exists());
    watch_for(Duration::from_millis(100), || {
        assert!(Path::new(&path).exists());
    });
    world.control("a", "stop");
    wait_until("it is gone", || (!Path::new(&path).exists()).then_some(()));
}
