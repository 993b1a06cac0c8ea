//! The program.
#[allow(dead_code, reason = "the program wires it in run.rs")]
mod adapters;

#[allow(dead_code, unused_imports, reason = "the program wires it in run.rs")]
mod http;

fn main() {}
