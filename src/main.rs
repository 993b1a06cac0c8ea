//! The program.
#[allow(dead_code, reason = "the program wires it in run.rs")]
mod adapters;

fn main() {}
