//! What the actors' ports mean on a real machine.

pub(crate) mod background;
pub(crate) mod checksum;
pub(crate) mod child_env;
pub(crate) mod child_token;
pub(crate) mod clock;
pub(crate) mod data_dir;
pub(crate) mod deacon_file;
pub(crate) mod descriptors;
pub(crate) mod dice;
pub(crate) mod errands;
pub(crate) mod file_watch;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod http_client;
pub(crate) mod ledger;
pub(crate) mod logging;
pub(crate) mod marks;
pub(crate) mod output;
pub(crate) mod processes;
pub(crate) mod quiet;
pub(crate) mod sinks;
pub(crate) mod small_file;
pub(crate) mod stand_in;
pub(crate) mod store;
pub(crate) mod tables;
pub(crate) mod zones;
