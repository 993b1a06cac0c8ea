//! `supervisor` keeps long-running services alive by listening to their heartbeats.

mod adapters;
mod cli;
mod config;
mod http;
mod pauses;
mod run;
mod signals;
mod sources;
mod token;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli::Parsed::Run(args)) => run::run(&args),
        Ok(cli::Parsed::Check(args)) => cli::check(&args),
        Ok(cli::Parsed::Client(command)) => cli::execute(command),
        Err(code) => code,
    }
}
