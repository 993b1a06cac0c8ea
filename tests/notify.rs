//! sd_notify through the real program: real services and clients, unmodified.
//!
//! `tests/run` installs what these need. Each test has a supervisor and a directory of its
//! own, and waits on states.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests watch real time pass in another process"
)]
#![allow(unreachable_pub, reason = "the harness is shared with the benchmarks")]

#[path = "../benches/support/mod.rs"]
mod support;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{World, free_port};

/// Far more than anything here needs: its only use is to end a test that would hang.
const PATIENCE: Duration = Duration::from_secs(30);

fn service(world: &World, name: &str) -> Option<Value> {
    world
        .services()
        .into_iter()
        .find(|service| service["name"] == name)
}

/// Waits until a service is as it should be.
#[track_caller]
fn wait(world: &World, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let found = service(world, name);
        if let Some(service) = found.as_ref().filter(|service| is_so(service)) {
            return service.clone();
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{name} never {what}: {found:?}\n{}",
            log(world)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn log(world: &World) -> String {
    fs::read_to_string(world.dir.path().join("stderr.log")).unwrap_or_default()
}

/// Waits until it has said by itself that it is ready.
#[track_caller]
fn wait_ready(world: &World, name: &str) -> Value {
    let service = wait(world, name, "was ready", |service| {
        service["state"] == "running"
    });
    // One that promises pulses is judged by the first of them.
    let promises = !service["interval"].is_null();
    assert!(promises || service["status"] == "healthy", "{service}");
    let said = format!("service {name} ready");
    // The log is written by a thread of its own, a moment later.
    let begin = Instant::now();
    let line = loop {
        let log = log(world);
        if let Some(line) = log.lines().find(|line| line.contains(&said)) {
            break line.to_owned();
        }
        assert!(begin.elapsed() < PATIENCE, "never said to be ready: {log}");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(line.contains("it said so"), "{line:?}");
    service
}

/// It pulses in time; then it hangs, and is poked.
#[track_caller]
fn wait_pulses_then_hang(world: &World, name: &str) {
    wait(world, name, "pulsed", |service| {
        service["status"] == "healthy" && service["total_pulses"].as_u64() > Some(5)
    });
    let first = service(world, name).expect("it is watched");
    assert_eq!(first["generation"], 1, "{first}");
    fs::write(world.dir.path().join("silent"), "").expect("the sign to be silent");
    wait(world, name, "was restarted", |service| {
        service["generation"].as_u64() > Some(1)
    });
    let restarted = format!("service {name} restarted, kind: stale");
    assert!(log(world).contains(&restarted), "{}", log(world));
}

fn toml(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("command = [{}]\n", words.join(", "))
}

fn sh(script: &str) -> String {
    toml(&["sh", "-c", script])
}

#[test]
fn redis_says_by_itself_that_it_is_ready() {
    let port = free_port().to_string();
    let command = toml(&[
        "redis-server",
        "--supervised",
        "systemd",
        "--port",
        &port,
        "--save",
        "",
    ]);
    let world = World::start(&format!("[services.redis]\n{command}ready = 'notify'"));
    wait_ready(&world, "redis");
    wait(&world, "redis", "said what it does", |service| {
        service["message"] == "Ready to accept connections"
    });
}

#[test]
fn haproxy_says_by_itself_that_it_is_ready() {
    let world = World::start("");
    let port = free_port();
    let config = world.dir.path().join("haproxy.cfg");
    fs::write(
        &config,
        format!(
            "global\n log stdout format raw local0\ndefaults\n mode http\n timeout client 1s\n \
             timeout server 1s\n timeout connect 1s\nfrontend f\n bind 127.0.0.1:{port}\n"
        ),
    )
    .expect("a configuration");
    let command = toml(&["haproxy", "-Ws", "-f", config.to_str().expect("a path")]);
    let world = World::start(&format!("[services.haproxy]\n{command}ready = 'notify'"));
    wait_ready(&world, "haproxy");
}

#[test]
fn gunicorn_says_by_itself_that_it_is_ready() {
    let app = tempfile::tempdir().expect("a directory");
    fs::write(
        app.path().join("app.py"),
        "def app(environ, respond):\n    respond('200 OK', [])\n    return [b'']\n",
    )
    .expect("an application");
    let address = format!("127.0.0.1:{}", free_port());
    let path = app.path().to_str().expect("a path");
    let command = toml(&["gunicorn", "-b", &address, "--chdir", path, "app:app"]);
    let world = World::start(&format!("[services.gunicorn]\n{command}ready = 'notify'"));
    let service = wait_ready(&world, "gunicorn");
    assert_eq!(service["message"], "Gunicorn arbiter booted");
}

/// Debian's server programs are in no PATH.
fn postgres() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut bins: Vec<_> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    bins.sort();
    bins.pop().expect("PostgreSQL is installed")
}

#[test]
fn postgresql_of_another_user_says_by_itself_that_it_is_ready() {
    let bin = postgres();
    let home = tempfile::tempdir().expect("a directory");
    let root = nix::unistd::getuid().is_root();
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o777)).expect("for all");
    let data = home.path().join("data");
    let mut init = if root {
        let mut init = Command::new("setpriv");
        init.args([
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--clear-groups",
        ]);
        init.arg(bin.join("initdb"));
        init
    } else {
        Command::new(bin.join("initdb"))
    };
    let made = init
        .arg("-D")
        .arg(&data)
        .args(["-A", "trust", "--no-sync"])
        .output();
    let made = made.expect("initdb runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let text = |path: &Path| path.to_str().expect("a path").to_owned();
    let port = free_port().to_string();
    let command = toml(&[
        &text(&bin.join("postgres")),
        "-D",
        &text(&data),
        "-p",
        &port,
        "-k",
        &text(home.path()),
        "-F",
    ]);
    let user = if root { "user = 'postgres'\n" } else { "" };
    let world = World::start(&format!("[services.db]\n{command}{user}ready = 'notify'"));
    wait_ready(&world, "db");
}

#[test]
fn systemd_notify_pulses_its_barrier_is_answered_and_its_silence_is_noticed() {
    // Without --no-block it waits until we have closed the descriptor of its barrier, and
    // fails after 5 s: then the service ends.
    let script = "set -e; systemd-notify --ready --status=up; \
        while ! [ -e \"$SIGN\" ]; do systemd-notify WATCHDOG=1; sleep 0.1; done; exec sleep 1000";
    let sign = tempfile::tempdir().expect("a directory");
    let sign = sign.path().join("silent");
    let world = World::start(&format!(
        "[services.unit]\n{}interval = '500ms'\nready = 'notify'\nenv = {{ SIGN = {sign:?} }}",
        sh(script)
    ));
    let service = wait_ready(&world, "unit");
    assert_eq!(service["message"], "up");
    wait(&world, "unit", "pulsed", |service| {
        service["total_pulses"].as_u64() > Some(5)
    });
    assert_eq!(service["generation"], 1);
    fs::create_dir_all(sign.parent().expect("a directory")).expect("a directory");
    fs::write(&sign, "").expect("the sign to be silent");
    wait(&world, "unit", "was poked", |service| {
        service["restarts"].as_u64() > Some(0)
    });
    assert!(
        log(&world).contains("service unit poked"),
        "{}",
        log(&world)
    );
}

#[test]
fn a_shell_line_with_socat_pulses_and_its_silence_is_noticed() {
    let script = "while ! [ -e silent ]; do \
        printf WATCHDOG=1 | socat -u - \"ABSTRACT-SENDTO:${NOTIFY_SOCKET#@}\"; sleep 0.1; \
        done; exec sleep 1000";
    let world = World::start(&format!(
        "[services.line]\n{}interval = '500ms'",
        sh(script)
    ));
    wait_pulses_then_hang(&world, "line");
}

#[test]
fn the_python_package_sdnotify_pulses_and_its_silence_is_noticed() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/notify-venv/bin/python");
    let script = "import os, sdnotify, time\n\
        n = sdnotify.SystemdNotifier()\n\
        n.notify('READY=1\\nSTATUS=by python')\n\
        while True:\n    os.path.exists('silent') or n.notify('WATCHDOG=1')\n    time.sleep(0.1)\n";
    let command = toml(&[python.to_str().expect("a path"), "-c", script]);
    let world = World::start(&format!(
        "[services.py]\n{command}interval = '500ms'\nready = 'notify'"
    ));
    assert_eq!(wait_ready(&world, "py")["message"], "by python");
    wait_pulses_then_hang(&world, "py");
}

#[test]
fn an_adopted_child_reaches_the_next_supervisor_by_the_name_that_it_has() {
    let script = "while :; do systemd-notify --no-block WATCHDOG=1 2>/dev/null; sleep 0.1; done";
    let mut world = World::start(&format!("[services.child]\n{}interval = '1s'", sh(script)));
    let pulsed = |more: u64| {
        move |service: &Value| {
            service["status"] == "healthy" && service["total_pulses"].as_u64() > Some(more)
        }
    };
    let before = wait(&world, "child", "pulsed", pulsed(3));
    world.kill();
    world.launch();
    let seen = before["total_pulses"].as_u64().expect("a number");
    let after = wait(&world, "child", "pulsed again", pulsed(seen + 10));
    assert_eq!(
        (&after["pid"], &after["generation"]),
        (&before["pid"], &before["generation"])
    );
}

#[test]
fn a_service_that_triggers_its_watchdog_is_poked_at_once() {
    let script = "if [ -e silent ]; then sleep 1000; fi; touch silent; \
        systemd-notify WATCHDOG=1; systemd-notify WATCHDOG=trigger; exec sleep 1000";
    let world = World::start(&format!("[services.stuck]\n{}interval = '1h'", sh(script)));
    wait(&world, "stuck", "was restarted", |service| {
        service["generation"] == 2
    });
    assert!(
        log(&world).contains("triggered its own watchdog"),
        "{}",
        log(&world)
    );
}

#[test]
fn the_interval_that_a_service_names_is_the_one_it_is_judged_by() {
    let script = "systemd-notify WATCHDOG_USEC=200000; systemd-notify WATCHDOG=1; exec sleep 1000";
    let world = World::start(&format!("[services.fast]\n{}interval = '1h'", sh(script)));
    wait(&world, "fast", "named its interval", |service| {
        service["interval"] == 0.2
    });
    wait(&world, "fast", "was poked", |service| {
        service["restarts"].as_u64() > Some(0)
    });
}

#[test]
fn a_pulse_of_a_service_that_pulses_by_living_is_counted() {
    let world = World::start(&format!(
        "[services.alive]\n{}",
        sh("systemd-notify WATCHDOG=1; exec sleep 1000")
    ));
    let service = wait(&world, "alive", "was counted", |service| {
        service["total_pulses"] == 1
    });
    assert_eq!(
        (&service["status"], &service["interval"]),
        (&"healthy".into(), &Value::Null)
    );
}

/// The notify socket in a process's environment.
fn socket_of(pid: i64) -> String {
    let environ = fs::read(format!("/proc/{pid}/environ")).expect("it lives");
    let environ = String::from_utf8_lossy(&environ).into_owned();
    let mut variables = environ.split('\0');
    let value = variables.find_map(|pair| pair.strip_prefix("NOTIFY_SOCKET=@"));
    value.expect("it has a socket").to_owned()
}

#[test]
fn f71_a_forged_sender_from_outside_the_tree_is_dropped_and_counted() {
    let world = World::start(&format!(
        "[services.honest]\n{}\n[services.other]\n{}",
        sh("exec sleep 1000"),
        sh("exec sleep 1000")
    ));
    let running = |service: &Value| service["state"] == "running" && service["pid"].is_i64();
    let honest = wait(&world, "honest", "ran", running);
    let other = wait(&world, "other", "ran", running);
    let name = socket_of(honest["pid"].as_i64().expect("a pid"));
    assert_ne!(name, socket_of(other["pid"].as_i64().expect("a pid")));
    let secret = name.rsplit('/').next().expect("a part");
    assert_eq!(secret.len(), 32, "128 bits in hexadecimal");

    let forger = UnixDatagram::unbound().expect("a socket");
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    for _ in 0..3 {
        forger
            .send_to_addr(b"WATCHDOG=1", &address)
            .expect("it is sent");
    }
    forger
        .send_to_addr(b"WATCHDOG=trigger", &address)
        .expect("it is sent");
    let begin = Instant::now();
    while !log(&world).contains("notify datagrams dropped") {
        assert!(begin.elapsed() < PATIENCE, "never said: {}", log(&world));
        std::thread::sleep(Duration::from_millis(10));
    }
    let me = format!("last_pid: {}", std::process::id());
    assert!(log(&world).contains(&me), "{}", log(&world));
    let honest = service(&world, "honest").expect("it is watched");
    assert_eq!(
        (&honest["total_pulses"], &honest["generation"]),
        (&0.into(), &1.into())
    );
    assert_eq!(honest["status"], "healthy");
}

#[test]
fn f70_hostile_datagrams_do_nothing_and_leave_no_descriptor_open() {
    // All from inside the tree; a pulse at the end says that everything before was read.
    let script = "import os, socket\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)\n\
        s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])\n\
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
    let quiet = World::start(&format!("[services.bad]\n{}", sh("exec sleep 1000")));
    wait(&quiet, "bad", "ran", |service| {
        service["state"] == "running"
    });
    let world = World::start(&format!(
        "[services.bad]\n{}",
        toml(&["python3", "-c", script])
    ));
    let service = wait(&world, "bad", "pulsed", |service| {
        service["total_pulses"].as_u64() > Some(0)
    });
    assert_eq!(
        (&service["total_pulses"], &service["error_count"]),
        (&1.into(), &0.into())
    );
    let open = |world: &World| {
        let list = fs::read_dir(format!("/proc/{}/fd", world.pid())).expect("it runs");
        let links = list
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        links.filter(|link| link == Path::new("/dev/null")).count()
    };
    let begin = Instant::now();
    while open(&world) != open(&quiet) {
        assert!(begin.elapsed() < PATIENCE, "{} stay open", open(&world));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(
        log(&world).contains("notify datagrams dropped"),
        "{}",
        log(&world)
    );
}
