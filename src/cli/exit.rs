//! How a command ends: its exit code, or an error that is said once, at the edge.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use supervisor_actors::verify::VerifyError;

use super::client::ClientError;
use super::escape::escape;
use crate::adapters::tables::supabase::project::ProjectError;

/// The exit codes of DESIGN 11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and well.
    Fine = 0,
    /// It failed.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Something is degraded or critical, or some of several services failed.
    Unhealthy = 3,
    /// There is no supervisor to ask.
    NotReachable = 4,
    /// The configuration is bad (EX_CONFIG of sysexits.h).
    BadConfiguration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The supervisor could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// We could not even begin.
    #[error("cannot start the client's runtime")]
    Runtime(#[source] io::Error),
    /// Our output could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// The command line makes no sense together with the environment.
    #[error("{0}")]
    Usage(String),
    /// `top` into a pipe or a file.
    #[cfg(feature = "top")]
    #[error("top needs a terminal; `supervisor status --watch` does not")]
    NoTerminal,
    /// A file is in the way.
    #[error("{} exists already and stays as it is", .0.display())]
    Exists(PathBuf),
    /// The configuration mirrors nothing.
    #[error("{} mirrors no directory: it has no [[sync.dirs]]", .0.display())]
    NothingMirrored(PathBuf),
    /// The embedded tables do not exist.
    #[error("there is no {}: nothing has been mirrored yet", .0.display())]
    NothingSynced(PathBuf),
    /// The target is not known.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The target could not be compared.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl CliError {
    /// The code that it ends the program with.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => error.exit(),
            // Whoever read our output has seen enough: nothing failed.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Fine,
            Self::Usage(_) => Exit::Usage,
            #[cfg(feature = "top")]
            Self::NoTerminal => Exit::Usage,
            Self::Project(_) => Exit::BadConfiguration,
            Self::Runtime(_)
            | Self::Output(_)
            | Self::Exists(_)
            | Self::NothingMirrored(_)
            | Self::NothingSynced(_)
            | Self::Verify(_)
            | Self::File { .. } => Exit::Failure,
            // Nobody can say that it is fresh.
            Self::Unreadable { .. } => Exit::Unhealthy,
        }
    }

    /// Whether there is nothing to say: our reader went away.
    fn is_quiet(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The error with all its causes in one line, safe for a terminal.
pub(super) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    escape(&text).into_owned()
}

/// Says how a command ended, on stderr, and gives its exit code.
pub(super) fn conclude(result: Result<Exit, CliError>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !error.is_quiet() {
                super::output::complain(&sentence(&error));
            }
            error.exit().into()
        }
    }
}

/// What several services amount to: all well, all failed, or some.
#[derive(Debug, Default)]
pub(super) struct Tally {
    done: usize,
    failed: usize,
    not_reachable: bool,
}

impl Tally {
    /// One that went well.
    pub(super) fn done(&mut self) {
        self.done += 1;
    }

    /// One that failed, and how.
    pub(super) fn failed(&mut self, exit: Exit) {
        self.failed += 1;
        self.not_reachable |= exit == Exit::NotReachable;
    }

    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        match (self.done, self.failed) {
            (_, 0) => Exit::Fine,
            _ if self.not_reachable => Exit::NotReachable,
            (0, _) => Exit::Failure,
            (_, _) => Exit::Unhealthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_several_is_three_and_all_is_one() {
        let mut tally = Tally::default();
        assert_eq!(tally.exit(), Exit::Fine);
        tally.failed(Exit::Failure);
        assert_eq!(tally.exit(), Exit::Failure);
        tally.done();
        assert_eq!(tally.exit(), Exit::Unhealthy);
        tally.failed(Exit::NotReachable);
        assert_eq!(tally.exit(), Exit::NotReachable);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(error.is_quiet());
        assert_eq!(error.exit(), Exit::Fine);
        let error = CliError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!error.is_quiet());
        assert_eq!(error.exit(), Exit::Failure);
    }
}
