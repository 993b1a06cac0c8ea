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
    fn what_it_leaves_to_be_uncommented_is_valid_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("supervisor.toml");
        std::fs::create_dir(dir.path().join("worker")).unwrap();
        let examples = EXAMPLE.lines().map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let is_code = bare.starts_with('[')
                || bare.split_once(" = ").is_some_and(|(key, _)| {
                    key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                });
            format!("{}\n", if is_code { bare } else { line })
        });
        std::fs::write(&path, examples.collect::<String>()).unwrap();
        let settings = crate::config::load(&path, &|_| None).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(settings.services.len(), 3);
    }

    #[test]
    fn it_writes_once_and_never_over_something() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("supervisor.toml");
        assert_eq!(run(&path).unwrap(), Exit::Fine);
        let settings = crate::config::load(&path, &|_| None).unwrap();
        assert_eq!(settings.services.len(), 1);
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(run(&path), Err(CliError::Exists(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
