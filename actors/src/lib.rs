//! The actors of `supervisor`: they carry out what `supervisor-core` decides, through ports.

pub mod handle;
pub mod messages;
pub mod ports;
pub mod spec;
