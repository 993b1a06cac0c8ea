//! `supervisor` keeps long-running services alive by listening to their heartbeats.

use std::process::ExitCode;

fn main() -> ExitCode {
    supervisor::main()
}
