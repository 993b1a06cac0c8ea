//! What every test of the real program needs: a world of its own to run it in, a small HTTP
//! client, a look at processes, and waiting on conditions instead of guessed times.

pub mod http;
pub mod mirror;
pub mod postgresql;
pub mod postgrest;
pub mod process;
pub mod proof;
pub mod schema;
pub mod script;
pub mod wait;
pub mod world;

pub use process::{alive, signal};
pub use wait::PATIENCE;
pub use world::{Event, Service, World};
