//! What the actors' ports mean on a real machine.

pub(crate) mod checksum;
pub(crate) mod clock;
pub(crate) mod deacon_file;
pub(crate) mod dice;
pub(crate) mod errands;
pub(crate) mod logging;
pub(crate) mod marks;
pub(crate) mod store;
