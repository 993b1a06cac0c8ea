//! `init`: a small commented configuration to begin with.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use super::exit::{CliError, Exit};
use super::output::complain;

/// What it writes: it runs as it is, on any machine with a POSIX shell.
const EXAMPLE: &str = include_str!("init.toml");

/// Carries out `init`.
pub(super) fn run(path: &Path) -> Result<Exit, CliError> {
    let failed = |source| CliError::File {
        path: path.to_owned(),
        source,
    };
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(CliError::Exists(path.to_owned()));
        }
        Err(error) => return Err(failed(error)),
    };
    file.write_all(EXAMPLE.as_bytes()).map_err(failed)?;
    complain(&format!(
        "wrote {}; start it with `supervisor --config {}`",
        path.display(),
        path.display()
    ));
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_once_and_never_over_something() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("supervisor.toml");
        assert_eq!(run(&path).unwrap(), Exit::Fine);
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(
            written
                .parse::<toml::Table>()
                .unwrap()
                .contains_key("services")
        );
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(run(&path), Err(CliError::Exists(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
