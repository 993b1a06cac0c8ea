//! The ways in which pulses come in besides the API: one file each, and one line in
//! [`SOURCES`].
//!
//! To add one:
//! 1. a file here with a type that is [`Source`] (what the configuration says, comparable) and
//!    one that is `Listening` (at work for one service), and a function [`Read`] that takes
//!    the source's keys of `[services.NAME]` and answers `None` where they are not there;
//! 2. its line in [`SOURCES`];
//! 3. its keys in `docs/reference.toml`, which a test compares with what is read.
//!
//! What it hears it says to its `Ear`; if that is a fact of a new kind, the fact becomes an
//! `Event` of core, which judges it, and a variant of `Heard`. No other file changes.

mod heartbeat_file;
mod notify;
mod pattern;
mod probe;
mod stdout;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use supervisor_actors::source::Source;

pub(crate) use self::probe::Means;

use crate::adapters::file_watch::FileWatch;
use crate::config::reader::Table;

/// Takes a source's keys of one service. Called for each service, so that its keys are known
/// in all of them; says what is wrong to the table's sink.
pub(crate) type Read = fn(&mut Table<'_>, &About<'_>) -> Option<Arc<dyn Source>>;

/// Every source.
pub(crate) const SOURCES: &[Read] = &[
    heartbeat_file::read,
    notify::read,
    stdout::read,
    probe::read,
];

/// What sources want to know of the service that they belong to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// Whether we run its process.
    pub(crate) ours: bool,
    /// How often it promises to pulse, where it or a source of it does.
    pub(crate) interval: Duration,
    /// Where our own files are.
    pub(crate) data_dir: &'a Path,
    /// Who watches files, one for all.
    pub(crate) files: &'a FileWatch,
    /// What all probes share.
    pub(crate) probes: &'a Means,
}

/// The sources of one service.
pub(crate) fn read(table: &mut Table<'_>, about: &About<'_>) -> Vec<Arc<dyn Source>> {
    let sources = SOURCES.iter().filter_map(|read| read(table, about));
    sources.collect()
}
