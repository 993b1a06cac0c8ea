//! The service's output: from a pipe into a file that is rotated by size.
//!
//! Memory stays flat whatever comes. Nothing here stops the service: where the disk is full,
//! what is lost is counted and said in the log when it can be written again. The file may be
//! deleted or moved by others at any time; each write looks whether it is still the one.

use core::ffi::CStr;

use crate::sys::{self, Fd, FileId, flag};
use crate::text::Text;

/// The log of one service.
#[derive(Debug)]
pub struct Log<'a> {
    path: &'a CStr,
    max_size: u64,
    keep: u32,
    fd: Fd,
    identity: (u64, u64),
    dropped: u64,
    last_error: i32,
}

impl<'a> Log<'a> {
    /// A log at that path; opened on the first write.
    #[must_use]
    pub fn new(path: &'a CStr, max_size: u64, keep: u32) -> Self {
        Self {
            path,
            max_size,
            keep,
            fd: sys::NONE,
            identity: (0, 0),
            dropped: 0,
            last_error: 0,
        }
    }

    /// Appends output, whatever it is.
    pub fn append(&mut self, mut bytes: &[u8]) {
        let size = match self.ensure_open() {
            Ok(size) => size,
            Err(errno) => return self.lose(bytes.len(), errno),
        };
        if self.max_size > 0 && size > 0 && size + bytes.len() as u64 > self.max_size {
            // The line that is under way stays whole in the old file.
            let end = bytes.iter().position(|&byte| byte == b'\n');
            if let Some(end) = end.filter(|_| size < self.max_size) {
                self.write(&bytes[..=end]);
                bytes = &bytes[end + 1..];
            }
            self.rotate();
            if let Err(errno) = self.ensure_open() {
                return self.lose(bytes.len(), errno);
            }
        }
        self.write(bytes);
    }

    /// Makes sure that we write to the file that stands at the path, and tells its size.
    fn ensure_open(&mut self) -> sys::Result<u64> {
        if self.fd != sys::NONE {
            match sys::file_id(sys::NONE, self.path) {
                Ok(FileId { identity, size }) if identity == self.identity => return Ok(size),
                _ => self.close(),
            }
        }
        // A FIFO without a reader must not hold us up: hence not blocking.
        let flags = flag::O_WRONLY | flag::O_APPEND | flag::O_CREAT | flag::O_NONBLOCK;
        self.fd = sys::open(sys::NONE, self.path, flags, 0o600)?;
        let found = sys::file_id(self.fd, c"")?;
        self.identity = found.identity;
        Ok(found.size)
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.dropped > 0 && !self.confess() {
            return self.lose(bytes.len(), sys::Errno(self.last_error));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match sys::write(self.fd, rest) {
                Ok(count) => rest = &rest[count..],
                Err(errno) => return self.lose(rest.len(), errno),
            }
        }
    }

    /// Says in the log what was lost; false where even that cannot be written whole. A part
    /// of the sentence may then stand there twice, which is better than never.
    fn confess(&mut self) -> bool {
        let mut note = Text::<128>::new();
        note.push(b"\n[supervisor: ")
            .push_number(self.dropped as i64)
            .push(b" bytes of output were lost, error ")
            .push_number(i64::from(self.last_error))
            .push(b"]\n");
        let told = sys::write_all(self.fd, note.as_bytes()).is_ok();
        if told {
            self.dropped = 0;
        }
        told
    }

    fn lose(&mut self, count: usize, errno: sys::Errno) {
        self.dropped += count as u64;
        self.last_error = errno.0;
    }

    /// `log` → `log.1` → … → `log.keep`, the oldest is overwritten. Where a rename fails we go
    /// on with the old file: a log that is too long is better than none.
    fn rotate(&mut self) {
        if self.keep == 0 {
            let _ = sys::unlink(sys::NONE, self.path, 0);
        }
        for number in (0..self.keep).rev() {
            let (Some(from), Some(to)) = (self.numbered(number), self.numbered(number + 1)) else {
                return;
            };
            let _ = sys::rename(sys::NONE, from.as_c(), to.as_c());
        }
        self.close();
    }

    fn numbered(&self, number: u32) -> Option<Text<4200>> {
        let mut path = Text::new();
        path.push(self.path.to_bytes());
        if number > 0 {
            path.push(b".").push_number(i64::from(number));
        }
        path.is_whole().then_some(path)
    }

    fn close(&mut self) {
        sys::close(self.fd);
        self.fd = sys::NONE;
    }
}

impl Drop for Log<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::fs;
    use std::path::PathBuf;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("shim-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn log(&self) -> CString {
            CString::new(self.0.join("a.log").into_os_string().into_encoded_bytes()).unwrap()
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn f44_a_log_goes_on_when_its_file_is_deleted_or_moved_away() {
        let dir = Dir::new("deleted");
        let path = dir.log();
        let mut log = Log::new(&path, 0, 5);
        log.append(b"one\n");
        fs::remove_file(dir.0.join("a.log")).unwrap();
        log.append(b"two\n");
        assert_eq!(dir.read("a.log"), "two\n");
        fs::rename(dir.0.join("a.log"), dir.0.join("moved")).unwrap();
        log.append(b"three\n");
        assert_eq!(dir.read("a.log"), "three\n");
        assert_eq!(dir.read("moved"), "two\n");
    }

    #[test]
    fn a_log_is_rotated_at_its_size_and_lines_stay_whole() {
        let dir = Dir::new("rotated");
        let path = dir.log();
        let mut log = Log::new(&path, 10, 2);
        for part in [
            "aaaa\n", "bb", "bb\ncc", "cc\n", "dddd\n", "eeee\n", "ffff\n", "gggg\n",
        ] {
            log.append(part.as_bytes());
        }
        assert_eq!(dir.read("a.log.2"), "cccc\ndddd\n");
        assert_eq!(dir.read("a.log.1"), "eeee\nffff\n");
        assert_eq!(dir.read("a.log"), "gggg\n");
        assert!(!dir.0.join("a.log.3").exists(), "aaaa bbbb was the oldest");
    }

    #[test]
    fn f37_what_a_full_disk_swallowed_is_counted_and_said() {
        let path = CString::new("/dev/full").unwrap();
        let dir = Dir::new("full");
        let good = dir.log();
        let mut log = Log::new(&path, 0, 0);
        log.append(b"lost\n");
        log.append(b"lost too\n");
        assert_eq!(log.dropped, 14);

        log.close();
        log.path = &good;
        log.append(b"again\n");
        let text = dir.read("a.log");
        assert!(
            text.contains("14 bytes of output were lost, error 28"),
            "{text}"
        );
        assert!(text.ends_with("]\nagain\n"), "{text}");
    }

    #[test]
    fn a_log_that_cannot_be_opened_loses_and_counts() {
        let path = CString::new("/nonexistent/dir/a.log").unwrap();
        let mut log = Log::new(&path, 0, 0);
        log.append(b"12345");
        assert_eq!((log.dropped, log.last_error), (5, 2));
    }
}
