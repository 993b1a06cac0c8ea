//! A log file that is rotated by size, and survives what others do to it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Lines are written together, but not more than this.
const MOST_BUFFERED: usize = 64 * 1024;

/// The file, with lines that wait for the next flush.
pub(super) struct RotatedFile {
    path: PathBuf,
    /// At which size it is rotated, in bytes.
    max_size: u64,
    /// How many rotated ones are kept, as `NAME.1` (the youngest) and so on.
    keep: u32,
    open: Option<File>,
    buffer: Vec<u8>,
    /// How many lines the buffer holds.
    lines: u64,
    /// Lines that could not be written, since it was told.
    lost: u64,
    /// Whether it was told that it cannot be written.
    told: bool,
    /// Whether the last write ended within a line.
    cut: bool,
}

/// How a flush went.
#[derive(Debug)]
pub(super) enum Flushed {
    /// All is written.
    Fine,
    /// It is not, for the first time.
    Failed(io::Error),
    /// It still is not.
    StillFailing,
    /// It is again, after so many lines were lost.
    Recovered {
        /// How many.
        lost: u64,
    },
}

impl RotatedFile {
    pub(super) fn new(path: PathBuf, max_size: u64, keep: u32) -> Self {
        Self {
            path,
            max_size,
            keep,
            open: None,
            buffer: Vec::new(),
            lines: 0,
            lost: 0,
            told: false,
            cut: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a line.
    pub(super) fn write(&mut self, line: &[u8]) {
        let most = usize::try_from(self.max_size).unwrap_or(MOST_BUFFERED);
        if self.buffer.len() + line.len() > most.min(MOST_BUFFERED) {
            // A failure counts the lines; the next flush tells of it.
            let _counted = self.write_out();
        }
        self.buffer.extend_from_slice(line);
        self.lines += 1;
    }

    /// Writes what waits. Lines that cannot be written are lost: memory is no place for them.
    pub(super) fn flush(&mut self) -> Flushed {
        if self.buffer.is_empty() {
            return match self.told {
                true => Flushed::StillFailing,
                false => Flushed::Fine,
            };
        }
        match self.write_out() {
            Ok(()) if self.told || self.lost > 0 => {
                self.told = false;
                Flushed::Recovered {
                    lost: std::mem::take(&mut self.lost),
                }
            }
            Ok(()) => Flushed::Fine,
            Err(_) if self.told => Flushed::StillFailing,
            Err(error) => {
                self.told = true;
                Flushed::Failed(error)
            }
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let lines = std::mem::take(&mut self.lines);
        if buffer.is_empty() {
            return Ok(());
        }
        let mut written = 0;
        let result = self.append(&buffer, &mut written);
        if result.is_err() {
            let whole = buffer[..written]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            self.lost += lines.saturating_sub(u64::try_from(whole).unwrap_or(0));
            if written > 0 {
                self.cut = buffer[written - 1] != b'\n';
            }
            // Closed, so that the next attempt begins from scratch.
            self.open = None;
        }
        // Kept for its room, unless a burst made it large.
        if self.buffer.is_empty() && buffer.capacity() <= MOST_BUFFERED {
            self.buffer = buffer;
            self.buffer.clear();
        }
        result
    }

    fn append(&mut self, bytes: &[u8], written: &mut usize) -> io::Result<()> {
        let mut size = self.find()?;
        let adds = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > 0 && size.saturating_add(adds) > self.max_size {
            // Where it cannot be rotated, an overlong log is better than none.
            if self.rotate().is_ok() {
                size = self.find()?;
            }
        }
        let Some(file) = &mut self.open else {
            return Ok(());
        };
        if self.cut && size > 0 {
            file.write_all(b"\n")?;
        }
        self.cut = false;
        while *written < bytes.len() {
            match file.write(&bytes[*written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => *written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes sure that the open file is the one that bears the name, and says its size:
    /// somebody may have moved, deleted or emptied it since.
    fn find(&mut self) -> io::Result<u64> {
        if let Some(file) = &self.open {
            let (ours, named) = (file.metadata()?, fs::metadata(&self.path));
            match named {
                Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                    return Ok(named.len());
                }
                Ok(_) | Err(_) => self.open = None,
            }
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        let size = file.metadata()?.len();
        self.open = Some(file);
        Ok(size)
    }

    /// `log` becomes `log.1`, that `log.2`, and so on; the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.path;
        if self.keep == 0 {
            if let Some(file) = &self.open {
                file.set_len(0)?;
            }
            return Ok(());
        }
        for n in (1..self.keep).rev() {
            match fs::rename(numbered(path, n), numbered(path, n + 1)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        fs::rename(path, numbered(path, 1))?;
        self.open = None;
        Ok(())
    }
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn log(&self, max_size: u64, keep: u32) -> RotatedFile {
            RotatedFile::new(self.0.path().join("log"), max_size, keep)
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.0.path())
                .expect("a directory")
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .into_string()
                        .expect("a name")
                })
                .collect();
            names.sort();
            names
        }
    }

    fn put(log: &mut RotatedFile, line: &str) -> Flushed {
        log.write(line.as_bytes());
        log.flush()
    }

    #[track_caller]
    fn fine(flushed: &Flushed) {
        assert!(matches!(flushed, Flushed::Fine), "{flushed:?}");
    }

    #[test]
    fn lines_are_appended_to_what_an_earlier_run_left() {
        let home = Home::new();
        fine(&put(&mut home.log(1000, 2), "one\n"));
        fine(&put(&mut home.log(1000, 2), "two\n"));
        assert_eq!(home.read("log"), "one\ntwo\n");
    }

    #[test]
    fn it_is_rotated_by_size_at_whole_lines_and_the_oldest_goes() {
        let home = Home::new();
        let mut log = home.log(15, 2);
        for n in 0..10 {
            fine(&put(&mut log, &format!("line {n} ..\n")));
        }
        assert_eq!(home.names(), ["log", "log.1", "log.2"]);
        assert_eq!(home.read("log.2"), "line 7 ..\n");
        assert_eq!(home.read("log.1"), "line 8 ..\n");
        assert_eq!(home.read("log"), "line 9 ..\n");
    }

    #[test]
    fn a_burst_is_rotated_like_single_lines() {
        let home = Home::new();
        let mut log = home.log(100, 100);
        for n in 0..100 {
            log.write(format!("{n:019}\n").as_bytes());
        }
        fine(&log.flush());
        let names = home.names();
        assert_eq!(names.len(), 20);
        assert!(names.iter().all(|name| home.read(name).len() == 100));
    }

    #[test]
    fn without_old_ones_to_keep_it_begins_anew() {
        let home = Home::new();
        let mut log = home.log(10, 0);
        fine(&put(&mut log, "1234567\n"));
        fine(&put(&mut log, "abcdefg\n"));
        assert_eq!(
            (home.names().len(), home.read("log")),
            (1, "abcdefg\n".to_owned())
        );
    }

    #[test]
    fn f44_a_log_deleted_moved_or_emptied_by_others_goes_on() {
        let home = Home::new();
        let mut log = home.log(1000, 2);
        fine(&put(&mut log, "one\n"));
        fs::remove_file(home.0.path().join("log")).expect("deleted");
        fine(&put(&mut log, "two\n"));
        assert_eq!(home.read("log"), "two\n");
        fs::rename(home.0.path().join("log"), home.0.path().join("moved")).expect("moved");
        fine(&put(&mut log, "three\n"));
        assert_eq!(
            (home.read("moved"), home.read("log")),
            ("two\n".into(), "three\n".into())
        );
        fs::write(home.0.path().join("log"), "").expect("emptied");
        fine(&put(&mut log, "four\n"));
        assert_eq!(home.read("log"), "four\n");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_told_once_and_goes_on_when_it_can() {
        let home = Home::new();
        let mut log = home.log(1000, 2);
        fs::create_dir(home.0.path().join("log")).expect("something in the way");
        assert!(matches!(put(&mut log, "one\n"), Flushed::Failed(_)));
        assert!(matches!(put(&mut log, "two\n"), Flushed::StillFailing));
        fs::remove_dir(home.0.path().join("log")).expect("removed");
        assert!(matches!(
            put(&mut log, "three\n"),
            Flushed::Recovered { lost: 2 }
        ));
        fine(&put(&mut log, "four\n"));
        assert_eq!(home.read("log"), "three\nfour\n");
    }

    #[test]
    fn f37_a_full_disk_loses_lines_but_no_more_than_that() {
        // /dev/full is that: every write fails with ENOSPC.
        let home = Home::new();
        let mut log = home.log(1000, 2);
        std::os::unix::fs::symlink("/dev/full", home.0.path().join("log")).expect("linked");
        match put(&mut log, "one\n") {
            Flushed::Failed(error) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
        fs::remove_file(home.0.path().join("log")).expect("room again");
        assert!(matches!(
            put(&mut log, "two\n"),
            Flushed::Recovered { lost: 1 }
        ));
        assert_eq!(home.read("log"), "two\n");
    }
}
