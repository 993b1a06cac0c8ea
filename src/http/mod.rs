//! The API over HTTP: the same on a Unix socket in `data_dir`, which the command line uses, and
//! on a TCP address.
//!
//! One request walks: [`entry`] → [`guard`] (is it addressed to us, does a browser send it for
//! somebody else, may it) → [`routes`] (what is meant) → its handler, which talks to the actors
//! through their handles and to nothing else. A pulse without a body does all that without
//! waiting once.

mod alerts;
mod api;
mod awake;
mod badge;
mod body;
mod configured;
mod connection;
mod entry;
mod escape;
mod events;
mod exposition;
mod guard;
mod health;
mod history;
mod holder;
mod hosts;
mod listen;
mod logs;
mod metrics;
mod openapi;
mod packed;
mod page;
mod pings;
mod places;
mod problem;
mod pulse;
mod query;
mod register;
mod routes;
mod runs;
mod server;
mod services;
mod session;
mod stream;
mod sync;
mod throttle;
mod timeline;
mod ws;

pub(crate) use api::Patience;
pub(crate) use server::{Options, Servers, serve};

#[cfg(test)]
mod tests;
