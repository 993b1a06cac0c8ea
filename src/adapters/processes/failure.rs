//! Why a start failed, in a sentence that says what path and what would help.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use supervisor_actors::spec::ProcessSpec;
use supervisor_core::event::{StartFailure, StartFault};
use supervisor_shim::protocol::Stage;

use super::spare::NoShim;

/// Explains what the shim reported.
pub(super) fn explain(stage: Stage, errno: i32, process: &ProcessSpec) -> StartFailure {
    let (fault, detail) = match stage {
        Stage::Exec => explain_exec(errno, process),
        Stage::Cwd => explain_cwd(errno, process),
        Stage::User => {
            let who = process
                .user
                .as_deref()
                .or(process.group.as_deref())
                .unwrap_or_default();
            let why = text(errno);
            (
                StartFault::NoUser,
                format!("it cannot become `{who}`: {why}"),
            )
        }
        Stage::Nice => {
            let nice = process.nice.unwrap_or_default();
            let why = text(errno);
            let detail =
                format!("its niceness cannot be set to {nice}: {why}; only root may go below 0");
            (StartFault::Other, detail)
        }
        Stage::Limits => {
            let limits: Vec<_> = process
                .limits
                .iter()
                .map(|(name, value)| format!("{name} = {value}"))
                .collect();
            let (limits, why) = (limits.join(", "), text(errno));
            let detail = format!(
                "its limits ({limits}) cannot be set: {why}; a value above the present hard \
                 limit needs CAP_SYS_RESOURCE"
            );
            (StartFault::Other, detail)
        }
        Stage::Fork | Stage::Setup => {
            let why = text(errno);
            (
                resources(errno),
                format!("the machine has no room for it now: {why}"),
            )
        }
    };
    StartFailure { fault, detail }
}

/// Explains why its shim could not even be started.
pub(super) fn no_shim(why: &NoShim, path: &Path) -> StartFailure {
    let (what, error) = match why {
        NoShim::NotStarted(error) => ("start the shim in", error),
        NoShim::NoDirectory(error) => ("make", error),
    };
    let fault = error.raw_os_error().map_or(StartFault::Other, resources);
    let detail = format!("cannot {what} {}: {}", path.display(), plain(error));
    StartFailure { fault, detail }
}

/// An error's text without Rust's number behind it.
fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), text)
}

fn text(errno: i32) -> String {
    nix::errno::Errno::from_raw(errno).desc().to_owned()
}

fn resources(errno: i32) -> StartFault {
    match errno {
        libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOSPC | libc::EDQUOT => {
            StartFault::NoResources
        }
        _ => StartFault::Other,
    }
}

fn explain_cwd(errno: i32, process: &ProcessSpec) -> (StartFault, String) {
    let cwd = process.cwd.display();
    let detail = match errno {
        libc::ENOENT => {
            format!("its working directory {cwd} does not exist; create it or correct `cwd`")
        }
        libc::ENOTDIR => format!("its working directory {cwd} is no directory; correct `cwd`"),
        libc::EACCES => {
            let who = who(process);
            format!(
                "its working directory {cwd} may not be entered by {who}; correct its mode or `cwd`"
            )
        }
        _ => format!(
            "its working directory {cwd} cannot be entered: {}",
            text(errno)
        ),
    };
    (StartFault::NoDirectory, detail)
}

fn explain_exec(errno: i32, process: &ProcessSpec) -> (StartFault, String) {
    let program = process
        .command
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let found = find(program, process);
    let shown = found
        .as_ref()
        .map_or_else(|| program.to_owned(), |path| path.display().to_string());
    match errno {
        libc::ENOENT => (
            StartFault::NotFound,
            missing(program, found.as_deref(), process),
        ),
        libc::ENOTDIR => {
            let detail = format!(
                "{shown} cannot exist: a part of its path is no directory; correct `command`"
            );
            (StartFault::NotFound, detail)
        }
        libc::EACCES => (
            StartFault::NotPermitted,
            refused(&shown, found.as_deref(), process),
        ),
        libc::EPERM => {
            let detail = format!("{shown} may not be executed here: the kernel forbids it");
            (StartFault::NotPermitted, detail)
        }
        libc::ENOEXEC => {
            let detail = format!(
                "{shown} is neither a program for this machine nor a script that begins with \
                 `#!`; for a shell script make its first line `#!/bin/sh`"
            );
            (StartFault::NotExecutable, detail)
        }
        libc::ETXTBSY => {
            let detail = format!("{shown} is being written by somebody; tried again for a second");
            (StartFault::Busy, detail)
        }
        libc::EAGAIN => {
            let who = who(process);
            let detail = format!("{who} has as many processes as its limit `nproc` allows");
            (StartFault::NoResources, detail)
        }
        _ => (
            resources(errno),
            format!("{shown} cannot be executed: {}", text(errno)),
        ),
    }
}

fn who(process: &ProcessSpec) -> String {
    process.user.as_ref().map_or_else(
        || "the supervisor's user".to_owned(),
        |user| format!("the user `{user}`"),
    )
}

/// ENOENT has two faces: no such program, or no such interpreter for it.
fn missing(program: &str, found: Option<&Path>, process: &ProcessSpec) -> String {
    let Some(found) = found else {
        return if program.contains('/') {
            let path = process.cwd.join(program);
            format!("{} does not exist; correct `command`", path.display())
        } else {
            let path = search_path(process);
            format!(
                "there is no program `{program}` in PATH ({path}); install it or give its whole path in `command`"
            )
        };
    };
    let shown = found.display();
    match interpreter(found) {
        Some(interpreter) => format!(
            "{shown} is there, but its interpreter `{interpreter}` does not exist; install it or \
             correct the file's first line (also look for Windows line ends)"
        ),
        None => format!(
            "{shown} is there, but the loader or library that it needs does not exist; it was \
             probably built for another system"
        ),
    }
}

fn refused(shown: &str, found: Option<&Path>, process: &ProcessSpec) -> String {
    let who = who(process);
    let Some(metadata) = found.and_then(|path| fs::metadata(path).ok()) else {
        return format!(
            "{shown} may not be executed by {who}: a directory on the way is closed to it"
        );
    };
    if metadata.is_dir() {
        return format!("{shown} is a directory, not a program; correct `command`");
    }
    if metadata.mode() & 0o111 == 0 {
        return format!(
            "{shown} is not executable (mode {:03o}); chmod +x it",
            metadata.mode() & 0o777
        );
    }
    format!(
        "{shown} may not be executed by {who} (mode {:03o}, owner {}); correct its mode, or its \
         file system is mounted noexec",
        metadata.mode() & 0o777,
        metadata.uid(),
    )
}

/// What the file's first line asks for.
fn interpreter(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let line = bytes
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line);
    let name = line
        .trim_start_matches([' ', '\t'])
        .split([' ', '\t'])
        .next()?;
    Some(name.escape_default().to_string())
}

/// The file that exec meant: the first that can be executed, else the first that exists.
fn find(program: &str, process: &ProcessSpec) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(process.cwd.join(program)).filter(|path| path.exists());
    }
    let path = search_path(process);
    let candidates = env::split_paths(&path).map(|dir| process.cwd.join(dir).join(program));
    let existing: Vec<PathBuf> = candidates.filter(|path| path.exists()).collect();
    let executable = |path: &&PathBuf| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    existing
        .iter()
        .find(executable)
        .or(existing.first())
        .cloned()
}

fn search_path(process: &ProcessSpec) -> String {
    let own = process.env.iter().rev().find(|(name, _)| name == "PATH");
    own.map_or_else(
        || env::var("PATH").unwrap_or_default(),
        |(_, path)| path.clone(),
    )
}
