//! Who watches us hears of us, and hears nothing when we stand still.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::World;
use crate::common::wait::wait_until;

/// What a service manager is to us: a socket on which it listens.
struct Manager {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        Self { dir, socket }
    }

    fn path(&self) -> String {
        self.dir.path().join("notify").display().to_string()
    }

    fn hear(&self) -> String {
        let mut buffer = [0; 512];
        let count = self.socket.recv(&mut buffer).expect("something is said");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }
}

#[test]
fn a_service_manager_hears_ready_signs_of_life_and_the_end() {
    let manager = Manager::new();
    let mut world = World::plan()
        .env("NOTIFY_SOCKET", &manager.path())
        .env("WATCHDOG_USEC", "400000")
        .service("web", "interval = \"1h\"")
        .service(
            "shows",
            "command = [\"sh\", \"-c\", \"env >shown; exec sleep 1000\"]",
        )
        .start();
    wait_until("it is ready", || {
        let said = manager.hear();
        // A start on a machine under load may take its time.
        assert!(
            said.starts_with("READY=1") || said.starts_with("EXTEND_TIMEOUT_USEC="),
            "{said}"
        );
        said.starts_with("READY=1").then_some(())
    });
    for _ in 0..3 {
        assert_eq!(manager.hear(), "WATCHDOG=1");
    }
    let shown = wait_until("the child shows its environment", || {
        let shown = world.read("shown");
        shown.contains("NOTIFY_SOCKET").then_some(shown)
    });
    assert!(!shown.contains(&manager.path()), "{shown}");
    world.signal(Signal::SIGTERM);
    wait_until("its end is said", || {
        (manager.hear() == "STOPPING=1").then_some(())
    });
    world.wait_exit();
}

#[test]
fn f34_a_service_manager_waits_for_who_cannot_see_yet_what_runs() {
    let manager = Manager::new();
    let mut world = World::plan()
        .env("NOTIFY_SOCKET", &manager.path())
        .service("web", "command = [\"sleep\", \"1000\"]")
        .start();
    let before = world.wait_healthy("web");
    wait_until("it is ready", || {
        manager.hear().starts_with("READY=1").then_some(())
    });
    world.kill();
    // What cannot be opened: neither is it there nor is it not.
    let lock = world.data().join("shim/web/1/lock");
    let aside = lock.with_extension("aside");
    std::fs::rename(&lock, &aside).expect("a lock");
    std::os::unix::fs::symlink(&lock, &lock).expect("a link to itself");
    world.spawn();
    for _ in 0..2 {
        assert!(manager.hear().starts_with("EXTEND_TIMEOUT_USEC="));
    }
    std::fs::rename(&aside, &lock).expect("the lock");
    wait_until("it is ready", || {
        manager.hear().starts_with("READY=1").then_some(())
    });
    assert_eq!(world.wait_healthy("web").pid, before.pid);
}

#[test]
fn an_external_monitor_hears_nothing_while_we_stand_still() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 2048];
            let _asked = stream.read(&mut buffer);
            counted.fetch_add(1, Ordering::SeqCst);
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let world = World::plan()
        .config(&format!(
            "[alerts.heartbeat]\nurl = \"http://127.0.0.1:{port}/ping\"\nevery = \"1s\"\n"
        ))
        .service("web", "interval = \"1h\"")
        .start();
    wait_until("it is heard of twice", || {
        (calls.load(Ordering::SeqCst) >= 2).then_some(())
    });
    world.signal(Signal::SIGSTOP);
    let before = calls.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_secs(3));
    let after = calls.load(Ordering::SeqCst);
    world.signal(Signal::SIGCONT);
    assert!(after <= before + 1, "{before} then {after}");
    wait_until("it is heard of again", || {
        (calls.load(Ordering::SeqCst) > after).then_some(())
    });
}
