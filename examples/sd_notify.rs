//! A service that speaks sd_notify by the crate of that name, as many Rust services do. Built
//! for the tests; run by hand without a supervisor it says so and ends.

use std::process::ExitCode;

use sd_notify::{NotifyState, notify, watchdog_enabled};

fn main() -> ExitCode {
    // The crate wants WATCHDOG_PID to be its own pid: that is what is being tested.
    let Some(interval) = watchdog_enabled() else {
        eprintln!("no watchdog in the environment");
        return ExitCode::FAILURE;
    };
    let mut told = notify(&[NotifyState::Ready, NotifyState::Status("by the crate")]);
    while told.is_ok() {
        std::thread::sleep(interval / 2);
        told = notify(&[NotifyState::Watchdog]);
    }
    ExitCode::FAILURE
}
