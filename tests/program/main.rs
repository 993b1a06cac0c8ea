//! The real program, with real processes, sockets and files, seen from outside.
//!
//! One test binary, so that it is linked once. Each test has a world of its own (see
//! `tests/common`): a directory, a port, a configuration. Tests of a fault carry its number
//! of the catalogue in their name.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests watch real time pass in another process"
)]
#![expect(unreachable_pub, reason = "nobody but these tests reads them")]

#[path = "../common/mod.rs"]
mod common;

mod adoption;
mod alert_sinks;
mod alerts;
mod api;
mod athena;
mod catalogue;
mod cli;
mod client;
mod clock;
mod configuration;
mod disk;
mod example;
mod heartbeat_files;
mod heavy;
mod history;
mod incoming;
mod jobs;
mod learnt;
mod levels;
mod metrics;
mod notify;
mod openapi;
mod page;
mod pings;
mod probes;
mod processes;
mod progress;
mod registration;
mod restarts;
mod starts;
mod stdout;
mod stopping;
mod sync;
mod tables;
mod top;
mod watched;
