//! Reads files: what is in them, by their hash.
//!
//! A file is opened once, and `stat` is asked before that and after it was read: where the two
//! differ, or fewer or more bytes come than it should have, somebody writes it just now or put
//! another in its place, and what was read is perhaps half of one version and half of another.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use supervisor_actors::ports::files::Look;
use supervisor_core::sync::manifest::is_settled;
use supervisor_core::sync::{Content, ContentHash, Stat};

use super::RealFiles;

/// As much is read at once.
const PIECE: usize = 128 * 1024;

/// Reads one file, whole.
pub(super) fn read(files: &RealFiles, path: &str) -> Result<(Vec<u8>, Content), Look> {
    let mut bytes = Vec::new();
    match Reader::new(files).look_keeping(path, Some(&mut bytes)) {
        Look::Here(content) => Ok((bytes, content)),
        look @ (Look::Gone | Look::Unreadable { .. } | Look::Changing) => Err(look),
    }
}

/// Reads files, one after another.
pub(super) struct Reader<'a> {
    files: &'a RealFiles,
    buffer: Vec<u8>,
    /// The directories of the configuration, opened.
    roots: HashMap<&'a Path, Option<OwnedFd>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a RealFiles) -> Self {
        Self {
            files,
            buffer: Vec::new(),
            roots: HashMap::new(),
        }
    }

    pub(super) fn look(&mut self, file_path: &str) -> Look {
        self.look_keeping(file_path, None)
    }

    fn look_keeping(&mut self, file_path: &str, keep: Option<&mut Vec<u8>>) -> Look {
        let path = self.files.routes.root().join(file_path);
        let Some(directory) = self.files.routes.directory_of(&path) else {
            return Look::Gone;
        };
        let Ok(below) = path.strip_prefix(&directory.path) else {
            return Look::Gone;
        };
        let root = self.roots.entry(&directory.path).or_insert_with(|| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(&directory.path, flags, Mode::empty()).ok()
        });
        let Some(root) = root else {
            return Look::Gone;
        };
        // Only what is a file is opened: opening a device may do something.
        let before = match rustix::fs::statat(root.as_fd(), below, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(before) => before,
            Err(error) => return not_there(error, Stat::default()),
        };
        let stat = stat_of(&before);
        match FileType::from_raw_mode(before.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink | FileType::Directory => return Look::Gone,
            other => {
                let why = format!("it is {}, no file", kind(other));
                return Look::Unreadable { stat, why };
            }
        }
        if stat.size > self.files.max_size {
            return Look::Unreadable {
                stat,
                why: format!(
                    "it has {} bytes, more than max_file_size ({})",
                    stat.size, self.files.max_size
                ),
            };
        }
        let file = match open(root.as_fd(), below) {
            Ok(file) => file,
            Err(error) => return not_there(error, stat),
        };
        let read_at = self.files.clock.wall();
        match self.read(&file, &stat, keep) {
            Ok(Some(hash)) => Look::Here(Content {
                hash,
                stat,
                settled: is_settled(&stat, read_at),
            }),
            Ok(None) => Look::Changing,
            Err(error) => not_there(error, stat),
        }
    }

    /// Its hash; nothing if it changed since that stat, or is another file by now.
    fn read(
        &mut self,
        file: &OwnedFd,
        before: &Stat,
        mut keep: Option<&mut Vec<u8>>,
    ) -> rustix::io::Result<Option<ContentHash>> {
        // One byte more than there should be shows that there are more.
        let size = usize::try_from(before.size).unwrap_or(PIECE);
        let enough = size.saturating_add(1).min(PIECE);
        if self.buffer.len() < enough {
            self.buffer.resize(enough, 0);
        }
        let mut hasher = Sha256::new();
        let mut length: u64 = 0;
        loop {
            let count = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut self.buffer[..]))?;
            let piece = &self.buffer[..count];
            hasher.update(piece);
            if let Some(bytes) = keep.as_mut() {
                bytes.extend_from_slice(piece);
            }
            length += count as u64;
            // Whether there is more by now, the stat behind it says.
            if count == 0 || length >= before.size {
                break;
            }
        }
        let after = stat_of(&rustix::fs::fstat(file)?);
        let whole = length == before.size && after == *before;
        Ok(whole.then(|| ContentHash(hasher.finalize().into())))
    }
}

/// Opens a file below a directory without following a link anywhere on the way.
fn open(root: BorrowedFd<'_>, below: &Path) -> rustix::io::Result<OwnedFd> {
    // Nobody waits for a FIFO that took the file's place, nor makes a terminal ours.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let strict = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, below, flags, Mode::empty(), strict) {
        // Before Linux 5.6, or forbidden by a sandbox that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(root, below, flags),
        opened => opened,
    }
}

/// The same for kernels that cannot do it at once: directory by directory.
fn step_by_step(root: BorrowedFd<'_>, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut names: Vec<_> = below.iter().collect();
    let Some(name) = names.pop() else {
        return Err(Errno::NOENT);
    };
    let mut at: Option<OwnedFd> = None;
    for directory in names {
        let from = at.as_ref().map_or(root, AsFd::as_fd);
        let inner = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = Some(rustix::fs::openat(from, directory, inner, Mode::empty())?);
    }
    let from = at.as_ref().map_or(root, AsFd::as_fd);
    rustix::fs::openat(from, name, flags, Mode::empty())
}

/// What an error says about a file.
fn not_there(error: Errno, stat: Stat) -> Look {
    match error {
        // A link on the way is ELOOP, and a file where a directory was ENOTDIR.
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG => Look::Gone,
        // Of ours, not of the file's: better in a while.
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => Look::Changing,
        error => Look::Unreadable {
            stat,
            why: format!("it cannot be read: {}", io::Error::from(error)),
        },
    }
}

fn kind(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Unknown => "something unknown",
    }
}

/// What a change would leave a trace in.
pub(super) fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
        ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
    }
}

fn nanos(seconds: i64, nanos: impl TryInto<i64>) -> i64 {
    let nanos = nanos.try_into().unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
