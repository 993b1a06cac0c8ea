//! The program.

#[allow(dead_code, reason = "the program wires it in run.rs")]
mod adapters;
#[allow(dead_code, unused_imports, reason = "the program wires it in run.rs")]
mod config;

#[allow(dead_code, reason = "the program wires it in run.rs")]
mod cli;

#[allow(dead_code, unused_imports, reason = "the program wires it in run.rs")]
mod http;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli::Parsed::Client(command)) => cli::execute(command),
        Ok(cli::Parsed::Check(args)) => cli::check(&args),
        Ok(cli::Parsed::Run(_)) => {
            eprintln!("supervisor: this build only has the commands of a client");
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}
