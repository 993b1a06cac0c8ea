//! sd_notify: pulses through the real program against a bare recvmsg loop, both fed by the
//! same flood of a process of its own. Run: `cargo bench --bench notify`.
#![expect(clippy::disallowed_methods, reason = "benchmarks measure real time")]

mod support;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{World, head, median, row};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(1_500);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("--flood") {
        flood();
    }
    let exe = std::env::current_exe().expect("our own path");
    let (mut bare, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let yardstick = bare_loop(&exe);
        let through = program(&exe);
        bare.push(yardstick);
        ours.push(through);
        ratios.push(through / yardstick);
    }
    head(
        "sd_notify datagrams",
        &["what", "datagrams/s (median of 7)"],
    );
    row(&[
        "bare recvmsg loop with credentials (yardstick)",
        &format!("{:.0}", median(&mut bare)),
    ]);
    row(&[
        "WATCHDOG=1 through the actors, counted",
        &format!("{:.0}", median(&mut ours)),
    ]);
    row(&[
        "ratio (median of pairs)",
        &format!("{:.2} ×", median(&mut ratios)),
    ]);
}

/// Sends pulses as fast as they are taken, for ever.
fn flood() -> ! {
    let name = std::env::var("NOTIFY_SOCKET").expect("a socket's name");
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let address = address.expect("an address");
    let socket = UnixDatagram::unbound().expect("a socket");
    loop {
        if socket.send_to_addr(b"WATCHDOG=1", &address).is_err() {
            std::process::exit(0);
        }
    }
}

/// Datagrams a second through the program, by its own exact count.
fn program(exe: &std::path::Path) -> f64 {
    let mut world = World::start(&format!(
        "[services.flood]\ncommand = [{exe:?}, \"--flood\"]\ninterval = 1\n"
    ));
    world.wait_for(1, "running", Instant::now());
    let total = || {
        let services = world.services();
        let total = services.first().and_then(|s| s["total_pulses"].as_f64());
        total.expect("a count of pulses")
    };
    let (begin, before) = (Instant::now(), total());
    std::thread::sleep(ROUND);
    let rate = (total() - before) / begin.elapsed().as_secs_f64();
    world.stop();
    rate
}

/// Datagrams a second that are only received.
fn bare_loop(exe: &std::path::Path) -> f64 {
    use std::os::fd::AsRawFd;

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let address = SocketAddr::from_pathname(&path).expect("an address");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length are those of a local that outlives the call.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PASSCRED,
            (&raw const on).cast(),
            4,
        );
    }
    let mut sender = Command::new(exe)
        .arg("--flood")
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .spawn()
        .expect("the flood starts");
    let mut received = 0_u32;
    let mut begin = Instant::now();
    let mut buffer = [0_u8; 4096];
    let mut control = [0_u64; 16];
    while received == 0 || begin.elapsed() < ROUND {
        for _ in 0..64 {
            let mut part = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            // SAFETY: all zeros is an empty header; it points to locals that outlive the call.
            let length = unsafe {
                let mut header: libc::msghdr = std::mem::zeroed();
                header.msg_iov = &raw mut part;
                header.msg_iovlen = 1;
                header.msg_control = control.as_mut_ptr().cast();
                header.msg_controllen = 128;
                libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0)
            };
            assert!(length > 0, "a datagram");
            if received == 0 {
                begin = Instant::now();
            }
            received += 1;
        }
    }
    let rate = f64::from(received) / begin.elapsed().as_secs_f64();
    sender.kill().expect("the flood can be killed");
    sender.wait().expect("the flood can be waited for");
    rate
}
