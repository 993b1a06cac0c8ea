//! Reads the end of a service's log file and what comes after it, through rotation, truncation
//! and deletion. Blocking: for a blocking thread.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How far back the end of a log goes at most, however many lines are asked for: a line can be
/// endless.
const MAX_BYTES: u64 = 1024 * 1024;
/// The first attempt at finding the last lines.
const FIRST_BYTES: u64 = 64 * 1024;
/// The largest piece that [`Tail::next`] reads.
const PIECE_BYTES: u64 = 16 * 1024;

/// A log that is being read.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    at: u64,
}

impl Tail {
    /// Opens a log and reads its last lines, from its predecessor too where it has fewer. A
    /// log that is not there yet has none.
    pub(crate) fn open(path: PathBuf, lines: usize) -> io::Result<(Self, Vec<u8>)> {
        let Some(file) = open(&path)? else {
            return Ok((Self { path, open: None }, Vec::new()));
        };
        let end = file.metadata()?.len();
        let (mut last, whole) = last_lines(&file, end, lines, MAX_BYTES)?;
        let missing = lines.saturating_sub(count_lines(&last));
        let room = MAX_BYTES - last.len() as u64;
        if whole
            && missing > 0
            && room > 0
            && let Some(before) = open_other(&rotated(&path), &file)?
        {
            let before_end = before.metadata()?.len();
            let (mut earlier, _) = last_lines(&before, before_end, missing, room)?;
            earlier.append(&mut last);
            last = earlier;
        }
        let open = Some(Open { file, at: end });
        Ok((Self { path, open }, last))
    }

    /// The next piece; empty where nothing new is there.
    pub(crate) fn next(&mut self) -> io::Result<Vec<u8>> {
        let Some(open_file) = &mut self.open else {
            self.open = open(&self.path)?.map(|file| Open { file, at: 0 });
            return match &mut self.open {
                Some(opened) => opened.read(),
                None => Ok(Vec::new()),
            };
        };
        let piece = open_file.read()?;
        if !piece.is_empty() {
            return Ok(piece);
        }
        // Read to its end: only now look whether another one has taken its place, so that
        // nothing of the old one is lost.
        match open_other(&self.path, &open_file.file)? {
            Some(file) => {
                // What came between the read above and the rotation.
                let rest = open_file.read()?;
                if !rest.is_empty() {
                    return Ok(rest);
                }
                let mut opened = Open { file, at: 0 };
                let piece = opened.read()?;
                self.open = Some(opened);
                Ok(piece)
            }
            None => Ok(Vec::new()),
        }
    }
}

impl Open {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let end = self.file.metadata()?.len();
        if end < self.at {
            // Truncated: what is there now is new.
            self.at = 0;
        }
        let bytes = read_at(&self.file, self.at, (end - self.at).min(PIECE_BYTES))?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}

/// The file that a log is rotated to.
fn rotated(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Opens a log where there is one. A link, a pipe or a directory in its place is none of ours.
fn open(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a log where it is another file than that one.
fn open_other(path: &Path, than: &File) -> io::Result<Option<File>> {
    // Opening is not needed to see that it is the same: a follower looks every moment.
    let than = than.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if (there.dev(), there.ino()) == (than.dev(), than.ino()) => Ok(None),
        Ok(_) => open(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last lines before `end`, at most so many bytes, and whether that is all there is.
fn last_lines(file: &File, end: u64, lines: usize, most: u64) -> io::Result<(Vec<u8>, bool)> {
    let most = most.min(end);
    let mut size = FIRST_BYTES.min(most);
    loop {
        let mut bytes = read_at(file, end - size, size)?;
        // A newline at the very end ends the last line, it does not begin another.
        let before_last = bytes.len().saturating_sub(1);
        let start = bytes[..before_last]
            .iter()
            .enumerate()
            .rev()
            .filter(|&(_, &byte)| byte == b'\n')
            .nth(lines.saturating_sub(1))
            .map(|(newline, _)| newline + 1);
        match start {
            _ if lines == 0 => return Ok((Vec::new(), false)),
            Some(start) => return Ok((bytes.split_off(start), false)),
            None if size == most => return Ok((bytes, size == end)),
            None => size = (size * 4).min(most),
        }
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    let ends = bytes.iter().filter(|&&byte| byte == b'\n').count();
    ends + usize::from(bytes.last().is_some_and(|&last| last != b'\n'))
}

/// Reads so many bytes from there, fewer where the file has become shorter.
fn read_at(file: &File, mut at: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], at) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    struct Log {
        dir: tempfile::TempDir,
    }

    impl Log {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { dir }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("a.log")
        }

        fn append(&self, text: &str) {
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).open(self.path());
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn rotate(&self) {
            fs::rename(self.path(), rotated(&self.path())).unwrap();
        }

        fn tail(&self, lines: usize) -> (Tail, String) {
            let (tail, bytes) = Tail::open(self.path(), lines).unwrap();
            (tail, String::from_utf8(bytes).unwrap())
        }
    }

    fn next(tail: &mut Tail) -> String {
        String::from_utf8(tail.next().unwrap()).unwrap()
    }

    #[test]
    fn the_last_lines_are_the_last_lines() {
        let log = Log::new();
        log.append("one\ntwo\nthree\n");
        assert_eq!(log.tail(2).1, "two\nthree\n");
        assert_eq!(log.tail(3).1, "one\ntwo\nthree\n");
        assert_eq!(log.tail(9).1, "one\ntwo\nthree\n");
        assert_eq!(log.tail(0).1, "");
        log.append("fo");
        assert_eq!(log.tail(2).1, "three\nfo");
    }

    #[test]
    fn the_last_lines_go_back_into_the_rotated_file() {
        let log = Log::new();
        log.append("one\ntwo\n");
        log.rotate();
        log.append("three\n");
        assert_eq!(log.tail(2).1, "two\nthree\n");
        assert_eq!(log.tail(9).1, "one\ntwo\nthree\n");
        assert_eq!(log.tail(1).1, "three\n");
    }

    #[test]
    fn f12_a_line_without_an_end_costs_bounded_memory() {
        let log = Log::new();
        log.append(&"x".repeat(3 * 1024 * 1024));
        assert_eq!(log.tail(10).1.len() as u64, MAX_BYTES);
    }

    #[test]
    fn lines_longer_than_the_first_attempt_are_found() {
        let log = Log::new();
        let long = format!("{}\n", "y".repeat(100_000));
        log.append(&format!("first\n{long}{long}"));
        assert_eq!(log.tail(2).1, format!("{long}{long}"));
    }

    #[test]
    fn f44_following_goes_on_through_rotation_truncation_and_deletion() {
        let log = Log::new();
        let (mut tail, _) = log.tail(10);
        assert_eq!(next(&mut tail), "");
        log.append("born\n");
        assert_eq!(next(&mut tail), "born\n");
        log.append("before\n");
        log.rotate();
        log.append("after\n");
        assert_eq!(next(&mut tail), "before\n");
        assert_eq!(next(&mut tail), "after\n");
        File::create(log.path()).unwrap();
        assert_eq!(next(&mut tail), "");
        log.append("cut\n");
        assert_eq!(next(&mut tail), "cut\n");
        fs::remove_file(log.path()).unwrap();
        assert_eq!(next(&mut tail), "");
        log.append("again\n");
        assert_eq!(next(&mut tail), "again\n");
        assert_eq!(next(&mut tail), "");
    }

    #[test]
    fn a_link_in_the_place_of_a_log_is_not_followed() {
        let log = Log::new();
        std::os::unix::fs::symlink("/etc/passwd", log.path()).unwrap();
        let (mut tail, text) = log.tail(10);
        assert_eq!((text.as_str(), next(&mut tail).as_str()), ("", ""));
    }
}
