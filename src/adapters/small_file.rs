//! Reads small files that others write while we look: never for long, never too much.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use supervisor_core::Timestamp;

/// Longer files are no heartbeats, pauses or stops: a device that never ends is.
const MOST_BYTES: u64 = 64 * 1024;

/// What tells one content of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// When it was last written.
    pub(crate) modified: Timestamp,
    /// When its content was changed or it was touched, and which file it is.
    pub(crate) stamp: Stamp,
    /// What it holds.
    pub(crate) bytes: Vec<u8>,
}

impl Stamp {
    /// Without what a change of rights or names moves, too.
    pub(crate) fn content(self) -> Self {
        Self {
            changed: (0, 0),
            ..self
        }
    }
}

/// The stamp of a file, without opening it.
///
/// # Errors
/// Where there is none, or it may not be looked at.
pub(crate) fn stamp(path: &Path) -> io::Result<Stamp> {
    std::fs::metadata(path).map(|meta| stamp_of(&meta))
}

/// Reads a file; `None` where there is none.
///
/// # Errors
/// Where it may not be read, is no regular file, or is longer than 64 KiB.
pub(crate) fn look(path: &Path) -> io::Result<Option<Found>> {
    // Without waiting: a FIFO of that name would keep us for ever.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) => read(file).map(Some),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn read(mut file: File) -> io::Result<Found> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file)
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
        return Err(io::Error::other("longer than 64 KiB"));
    }
    let micros = meta.mtime().saturating_mul(1_000_000);
    Ok(Found {
        modified: Timestamp(micros.saturating_add(meta.mtime_nsec() / 1_000)),
        stamp: stamp_of(&meta),
        bytes,
    })
}

fn stamp_of(meta: &std::fs::Metadata) -> Stamp {
    Stamp {
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_no_error_and_neither_is_a_missing_directory() {
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(look(&home.path().join("a")).expect("looked"), None);
        assert_eq!(look(&home.path().join("a/b/c")).expect("looked"), None);
        std::fs::write(home.path().join("f"), "x").expect("written");
        assert_eq!(look(&home.path().join("f/c")).expect("looked"), None);
    }

    #[test]
    fn what_is_no_small_regular_file_is_refused_at_once() {
        let home = tempfile::tempdir().expect("a directory");
        let fifo = home.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        look(&fifo).expect_err("a fifo");
        look(home.path()).expect_err("a directory");
        look(Path::new("/dev/zero")).expect_err("a device");
        let long = home.path().join("long");
        std::fs::write(&long, vec![b' '; 64 * 1024 + 1]).expect("written");
        look(&long).expect_err("too long");
    }

    #[test]
    fn another_content_has_another_stamp() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("f");
        std::fs::write(&file, "one").expect("written");
        let one = look(&file).expect("looked").expect("found");
        assert_eq!(one.bytes, b"one");
        assert_eq!(stamp(&file).expect("a stamp"), one.stamp);
        std::fs::write(home.path().join("g"), "two").expect("written");
        std::fs::rename(home.path().join("g"), &file).expect("renamed");
        assert_ne!(stamp(&file).expect("a stamp"), one.stamp);
    }
}
