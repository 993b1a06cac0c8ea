//! The service of the figures about processes: the first thing that it does is to look at the
//! clock, the second to say so, and then it sleeps. `processes.rs` compiles it on its own.
//!
//! `marked SOCKET WORD` sends `PID NANOSECONDS WORD` to that datagram socket.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
}

fn main() {
    const CLOCK_MONOTONIC: i32 = 1;
    let mut time = [0; 2];
    // SAFETY: seconds and nanoseconds, as on every Linux of 64 bits.
    unsafe { clock_gettime(CLOCK_MONOTONIC, &raw mut time) };
    let at = time[0] * 1_000_000_000 + time[1];
    let mut args = std::env::args().skip(1);
    let socket = args.next().expect("a socket");
    let word = args.next().unwrap_or_default();
    let said = format!("{} {at} {word}", std::process::id());
    let own = UnixDatagram::unbound().expect("a socket");
    let _sent = own.send_to(said.as_bytes(), socket);
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
