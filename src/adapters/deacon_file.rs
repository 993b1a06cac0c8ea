//! `data_dir/deacon/heartbeat.json`, through which something outside can watch us.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use supervisor_actors::ports::DeaconFile;

/// The heartbeat file in its directory. It is replaced whole by a rename, so that a reader
/// never sees half of one. It is not forced to the disk: after a power loss it would be stale
/// in any case.
#[derive(Debug)]
pub(crate) struct RealDeaconFile {
    directory: PathBuf,
}

impl RealDeaconFile {
    /// The file under this data directory; nothing is touched before the first write.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            directory: data_dir.join("deacon"),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("heartbeat.json")
    }
}

impl DeaconFile for RealDeaconFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Created every time: somebody may have tidied it away.
        fs::create_dir_all(&self.directory)?;
        let temporary = self.directory.join(".heartbeat.json.new");
        let written =
            fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, self.path()));
        if written.is_err() {
            // A half of it must not stay and fill a full disk; the first error is what counts.
            let _already_failed = fs::remove_file(&temporary);
        }
        written
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        fs::read(self.path()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn nothing_stands_there_at_first_and_then_what_was_written_last() {
        let home = tempfile::tempdir().expect("a directory");
        let mut file = RealDeaconFile::new(home.path());
        assert_eq!(file.read(), None);
        file.write(b"one").expect("written");
        file.write(b"two").expect("written");
        assert_eq!(file.read().as_deref(), Some(b"two".as_slice()));
        let names: Vec<_> = fs::read_dir(home.path().join("deacon"))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, ["heartbeat.json"]);
    }

    #[test]
    fn a_directory_that_was_deleted_is_made_again() {
        let home = tempfile::tempdir().expect("a directory");
        let mut file = RealDeaconFile::new(home.path());
        file.write(b"one").expect("written");
        fs::remove_dir_all(home.path().join("deacon")).expect("deleted");
        file.write(b"two").expect("written");
        assert_eq!(file.read().as_deref(), Some(b"two".as_slice()));
    }

    #[test]
    fn f43_a_reader_never_sees_half_of_a_heartbeat() {
        let home = tempfile::tempdir().expect("a directory");
        let mut writer = RealDeaconFile::new(home.path());
        let mut reader = RealDeaconFile::new(home.path());
        let (long, short) = (vec![b'a'; 100_000], vec![b'b'; 10]);
        writer.write(&long).expect("written");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..500 {
                    writer.write(&short).expect("written");
                    writer.write(&long).expect("written");
                }
                done.store(true, Ordering::Release);
            });
            let mut seen = 0;
            while !done.load(Ordering::Acquire) || seen == 0 {
                let bytes = reader.read().expect("it always stands there");
                assert!(bytes == long || bytes == short, "{} bytes", bytes.len());
                seen += 1;
            }
        });
    }

    #[test]
    fn a_failed_write_says_why_and_leaves_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("deacon"), "a file is in the way").expect("written");
        let mut file = RealDeaconFile::new(home.path());
        file.write(b"one").expect_err("no directory");
        assert_eq!(file.read(), None);
    }
}
