//! Where alerts go: one file each, and its line in the list of its kind.

mod log;

pub(crate) use log::LogSink;
