//! The actors of `supervisor`: they carry out what `supervisor-core` decides, through ports.
//!
//! [`universe`] starts them all; what others hold of them is in [`handle`].

mod alerter;
mod archive;
mod bell;
mod deacon;
mod door;
pub mod feed;
mod guardian;
pub mod handle;
mod internal;
mod link;
pub mod messages;
pub mod ports;
pub mod probe;
pub mod registration;
mod roster;
mod service;
mod slot;
pub mod source;
pub mod spec;
mod supervisor;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod universe;
pub mod verify;
mod world;

pub use guardian::Subject;
pub use universe::{Setup, Universe};
pub use world::Ports;
