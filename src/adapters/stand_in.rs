//! A stand-in for a data directory on a file system that cannot be written: a directory in
//! memory, so that supervision goes on without records that last. Why so and not otherwise is
//! said in `docs/decisions/0007-a-read-only-data-directory.md`.
//!
//! Its name comes from the data directory's, so that whoever asks later finds the same one: the
//! command line, and the next supervisor, which looks for what this one has started. And it is
//! ours alone, whatever others have put there.

mod leave;

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::data_dir::LOCK;
use super::marks;

pub(crate) use self::leave::leave;

/// More of a history is not copied into memory.
const MOST_BYTES: u64 = 16 << 20;

/// Where the supervisor of a data directory lives: where one runs; else in the directory itself;
/// or, while that cannot be written, in its stand-in, which need not be there yet.
pub(crate) fn seat(data_dir: PathBuf) -> PathBuf {
    if let Some(occupied) = existing(&data_dir).into_iter().find(|path| is_held(path)) {
        return occupied;
    }
    if !is_read_only(&data_dir) || is_held(&data_dir) {
        return data_dir;
    }
    let is_possible = |path: &PathBuf| match fs::symlink_metadata(path) {
        Ok(found) => is_ours(&found),
        Err(_) => path
            .parent()
            .is_some_and(|place| rustix::fs::access(place, Access::WRITE_OK).is_ok()),
    };
    let possible = places(&data_dir).into_iter().find(is_possible);
    possible.unwrap_or(data_dir)
}

/// Whether what could not be made on a disk can be made in memory: no service is to be down
/// because a disk is full or read-only.
pub(crate) fn would_help(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
    )
}

/// Makes the first that can be had; gives the one that is there.
///
/// # Errors
/// Where there is none.
pub(crate) fn make(data_dir: &Path) -> io::Result<PathBuf> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for path in places(data_dir) {
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(_) if fs::symlink_metadata(&path).is_ok_and(|found| is_ours(&found)) => {
                return Ok(path);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Those that are there: what an earlier supervisor has left in them may live.
pub(crate) fn existing(data_dir: &Path) -> Vec<PathBuf> {
    let is_there = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| is_ours(&found));
    let mut found = places(data_dir);
    found.retain(is_there);
    found
}

/// Copies what can be read of the data directory and is worth having: the secrets, so that those
/// who hold tokens still do, and the databases, so that services are judged as they were. What
/// is there already is newer. Each that cannot be copied is done without.
pub(crate) fn fill(stand_in: &Path, data_dir: &Path) {
    // Of an earlier return it may be the way to where nothing can be written again.
    let logs = stand_in.join("log");
    if fs::symlink_metadata(&logs).is_ok_and(|found| found.is_symlink()) {
        let _gone = fs::remove_file(&logs);
        let _there = DirBuilder::new().mode(0o700).create(&logs);
    }
    for group in [
        &["key"][..],
        &["token"],
        &[marks::PLACES[0]],
        &[marks::PLACES[1]],
        // Whoever has stopped all pokes must not find them going on.
        &["ESTOP"],
        &["state.db", "state.db-wal"],
        &["alerts.db", "alerts.db-wal"],
    ] {
        if group
            .first()
            .is_some_and(|name| stand_in.join(name).exists())
        {
            continue;
        }
        for name in group {
            let (from, to) = (data_dir.join(name), stand_in.join(name));
            if fs::metadata(&from).is_ok_and(|file| file.len() <= MOST_BYTES) {
                if let Some(directory) = to.parent() {
                    let _is_there = DirBuilder::new().mode(0o700).create(directory);
                }
                let _done_without = fs::copy(&from, to);
            }
        }
    }
}

/// Where a data directory's stand-in may be. Not by the environment: every supervisor of this
/// directory must come to the same place.
fn places(data_dir: &Path) -> Vec<PathBuf> {
    // It need not even be there: then its path is all that there is of it.
    let data_dir = data_dir
        .canonicalize()
        .or_else(|_| std::path::absolute(data_dir))
        .unwrap_or_else(|_| data_dir.to_owned());
    let user = rustix::process::geteuid();
    let own = if user.is_root() {
        PathBuf::from("/run")
    } else {
        PathBuf::from(format!("/run/user/{}", user.as_raw()))
    };
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    let digits: Vec<_> = digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("supervisor-{}-{}", user.as_raw(), digits.concat());
    [own, "/dev/shm".into(), "/tmp".into()]
        .map(|place| place.join(&name))
        .into()
}

/// Whether it is on a file system that is read-only, or would be, were it there.
fn is_read_only(path: &Path) -> bool {
    path.ancestors()
        .map(|place| rustix::fs::access(place, Access::WRITE_OK))
        .find(|answer| *answer != Err(Errno::NOENT))
        .is_some_and(|answer| answer == Err(Errno::ROFS))
}

/// Whether a supervisor runs in it.
fn is_held(path: &Path) -> bool {
    File::open(path.join(LOCK)).is_ok_and(|lock| {
        let answer = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared);
        answer == Err(Errno::WOULDBLOCK)
    })
}

/// A directory of ours that nobody else may enter; never a link to one.
fn is_ours(found: &Metadata) -> bool {
    found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o077 == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_a_private_directory_of_ours_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there");
        let is_taken = |path: &Path| is_ours(&fs::symlink_metadata(path).unwrap());
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(is_taken(&path));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(!is_taken(&path), "others may enter");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(!is_taken(&link), "it may lead elsewhere tomorrow");
    }

    #[test]
    fn a_directory_that_can_be_written_or_made_needs_no_stand_in() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("not/yet")] {
            assert_eq!(seat(path.clone()), path);
        }
    }

    #[test]
    fn a_stand_in_takes_over_what_it_does_not_have_yet() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("key"), "old").unwrap();
        fs::write(from.join("state.db"), "old").unwrap();
        fs::write(from.join("ESTOP"), "").unwrap();
        fill(&to, &from);
        assert_eq!(fs::read_to_string(to.join("state.db")).unwrap(), "old");
        assert!(to.join("ESTOP").exists());
        fs::write(to.join("state.db"), "newer").unwrap();
        fs::write(from.join("state.db-wal"), "old").unwrap();
        fill(&to, &from);
        assert_eq!(fs::read_to_string(to.join("state.db")).unwrap(), "newer");
        assert!(
            !to.join("state.db-wal").exists(),
            "it belongs to the old one"
        );
    }
}
