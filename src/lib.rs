//! The program `supervisor`, as a library, so that its parts can be used by others.

mod adapters;
mod alone;
mod cli;
mod config;
mod footprint;
mod http;
mod human_time;
mod library;
mod maintenance;
mod mirror;
mod pauses;
mod ping_keys;
mod run;
mod signals;
mod sources;
mod tail;
mod token;
mod uuid;
mod watched;

use std::process::ExitCode;

pub use library::{Mirror, MirrorStats, StartMirrorError};

/// The whole program, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli::Parsed::Run(args)) => run::run(&args),
        Ok(cli::Parsed::Check(args)) => cli::check(&args),
        Ok(cli::Parsed::Client(command)) => cli::execute(command),
        Err(code) => code,
    }
}
