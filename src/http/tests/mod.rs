//! The API as its clients meet it: real sockets, real actors.

mod client;
mod control;
mod doors;
mod faults;
mod history;
mod logs;
mod pings;
mod pulses;
mod readers;
mod register;
mod rights;
mod runs;
mod session;
mod stream;
mod world;
