//! `data_dir/clock/mark`: where the judging clock stood, about a second ago at most.
//!
//! In a directory of its own: the data directory is watched for `ESTOP`, and a file in it that
//! is written each second would wake whoever watches as often.
//!
//! Two records, written in turn, each with a number and a checksum: a write torn by a power
//! loss or a full disk leaves the other one. Both have their room from the beginning, so that
//! leaving a mark needs no space.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use std::sync::{Mutex, PoisonError};

use slog::{Logger, info, warn};

use supervisor_actors::messages::Mark;
use supervisor_actors::ports::Marks;
use supervisor_core::time::{Mono, Time};

use crate::adapters::checksum::checksum;

/// The mark file.
#[derive(Debug)]
pub(crate) struct FileMarks {
    path: PathBuf,
    /// Where older versions have it.
    older: PathBuf,
    log: Logger,
    boot: String,
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    file: Option<File>,
    /// The number of the newest record.
    number: u64,
    /// Whether the last attempt failed: it is said once, not every second.
    failing: bool,
}

/// Where it is in the data directory, and where older versions have it.
pub(super) const PLACES: [&str; 2] = ["clock/mark", "mark"];

/// The records stand a sector apart: one torn sector cannot take both.
const STRIDE: u64 = 512;
/// magic, number, judging clock, monotonic clock, boot, checksum.
const RECORD: usize = 4 + 8 + 8 + 8 + BOOT + 8;
/// The length of a boot id: a UUID as text.
const BOOT: usize = 36;
/// How records begin: left by an older version, which did not say, while it worked, or while it
/// was being stopped.
const MAGIC: [([u8; 4], Option<bool>); 3] = [
    (*b"SVM1", None),
    (*b"SVM2", Some(false)),
    (*b"SVM3", Some(true)),
];

impl FileMarks {
    /// The marks under this data directory. Nothing is written before the first mark.
    pub(crate) fn new(data_dir: &Path, log: Logger) -> Self {
        let boot = match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Ok(text) => text.trim().to_owned(),
            Err(error) => {
                warn!(log, "the boot's id cannot be read: every start counts as one after a reboot"; "error" => %error);
                String::new()
            }
        };
        let [path, older] = PLACES.map(|place| data_dir.join(place));
        Self {
            path,
            older,
            log,
            boot,
            writing: Mutex::default(),
        }
    }

    /// The newest whole record. That of an older version only before our first: its file goes
    /// then.
    fn newest(&self) -> Option<(u64, Mark)> {
        Self::newest_in(&self.path).or_else(|| Self::newest_in(&self.older))
    }

    fn newest_in(path: &Path) -> Option<(u64, Mark)> {
        let bytes = fs::read(path).ok()?;
        [0, STRIDE]
            .into_iter()
            .filter_map(|offset| {
                let from = usize::try_from(offset).ok()?;
                decode(bytes.get(from..from + RECORD)?)
            })
            .max_by_key(|(number, _)| *number)
    }

    fn try_leave(&self, writing: &mut Writing, mark: &Mark) -> io::Result<()> {
        // A file that somebody deleted would take our marks with it.
        if let Some(file) = &writing.file
            && file.metadata()?.nlink() == 0
        {
            writing.file = None;
        }
        let fresh = writing.file.is_none();
        if fresh {
            writing.number = self.newest().map_or(0, |(number, _)| number);
            if let Some(directory) = self.path.parent() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)?;
            }
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&self.path)?;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 2 * STRIDE)
                .or_else(|_| file.set_len(2 * STRIDE))?;
            writing.file = Some(file);
        }
        let Some(file) = &writing.file else {
            return Ok(());
        };
        let number = writing.number.wrapping_add(1);
        file.write_all_at(&encode(number, mark), (number % 2) * STRIDE)?;
        writing.number = number;
        if fresh {
            // It would be believed by an older version that comes back, long after it was true.
            let _not_there = fs::remove_file(&self.older);
        }
        Ok(())
    }
}

impl Marks for FileMarks {
    fn read(&self) -> Option<Mark> {
        self.newest().map(|(_, mark)| mark)
    }

    fn leave(&self, mark: &Mark) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.try_leave(&mut writing, mark) {
            Ok(()) if writing.failing => {
                writing.failing = false;
                info!(self.log, "the mark of our clock can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                writing.file = None;
                if !writing.failing {
                    writing.failing = true;
                    warn!(self.log, "the mark of our clock cannot be written; a restart now would forgive more lateness than it should";
                        "path" => %self.path.display(), "error" => %error);
                }
            }
        }
    }

    fn boot(&self) -> String {
        self.boot.clone()
    }
}

fn encode(number: u64, mark: &Mark) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        record[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let magic = MAGIC
        .iter()
        .find(|(_, stopping)| *stopping == mark.stopping);
    put(&magic.map_or(MAGIC[0].0, |(magic, _)| *magic));
    put(&number.to_le_bytes());
    put(&mark.time.0.to_le_bytes());
    put(&mark.mono.0.to_le_bytes());
    // A longer id would be cut and then match no boot: that counts as a reboot.
    let boot = mark.boot.as_bytes();
    let mut padded = [0; BOOT];
    let length = boot.len().min(BOOT);
    padded[..length].copy_from_slice(&boot[..length]);
    put(&padded);
    let sum = checksum(&[&record[..RECORD - 8]]);
    record[RECORD - 8..].copy_from_slice(&sum.to_le_bytes());
    record
}

fn decode(record: &[u8]) -> Option<(u64, Mark)> {
    let (body, sum) = record.split_at_checked(RECORD - 8)?;
    let sum = u64::from_le_bytes(sum.try_into().ok()?);
    if checksum(&[body]) != sum {
        return None;
    }
    let (_, stopping) = MAGIC.iter().find(|(magic, _)| body[..4] == *magic)?;
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?))
    };
    let boot = std::str::from_utf8(&body[28..28 + BOOT]).ok()?;
    Some((
        word(4)?,
        Mark {
            time: Time(word(12)?),
            mono: Mono(word(20)?),
            boot: boot.trim_end_matches('\0').to_owned(),
            stopping: *stopping,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::{Discard, o};

    fn quiet() -> Logger {
        Logger::root(Discard, o!())
    }

    fn mark(n: u64) -> Mark {
        Mark {
            time: Time(1_000 + n),
            mono: Mono(2_000 + n),
            boot: "0f0f0f0f-1111-2222-3333-444444444444".to_owned(),
            stopping: [None, Some(false), Some(true)][(n % 3) as usize],
        }
    }

    #[test]
    fn there_is_no_mark_before_the_first_and_then_always_the_last() {
        let home = tempfile::tempdir().expect("a directory");
        let marks = FileMarks::new(home.path(), quiet());
        assert_eq!(marks.read(), None);
        for n in 0..10 {
            marks.leave(&mark(n));
            assert_eq!(marks.read(), Some(mark(n)));
        }
        // Another supervisor's start goes on where this one ended.
        let next = FileMarks::new(home.path(), quiet());
        assert_eq!(next.read(), Some(mark(9)));
        next.leave(&mark(10));
        assert_eq!(next.read(), Some(mark(10)));
    }

    #[test]
    fn the_boot_is_a_uuid_and_stays_the_same() {
        let home = tempfile::tempdir().expect("a directory");
        let boot = FileMarks::new(home.path(), quiet()).boot();
        assert_eq!(boot.len(), BOOT);
        assert_eq!(FileMarks::new(home.path(), quiet()).boot(), boot);
    }

    #[test]
    fn f42_a_mark_file_cut_or_garbled_at_any_byte_gives_the_last_good_mark_or_none() {
        let home = tempfile::tempdir().expect("a directory");
        let marks = FileMarks::new(home.path(), quiet());
        marks.leave(&mark(1));
        marks.leave(&mark(2));
        let whole = fs::read(home.path().join(PLACES[0])).expect("the file");
        let good = [None, Some(mark(1)), Some(mark(2))];
        let mut seen = [0_u32; 3];
        let mut check = |bytes: &[u8]| {
            let broken = tempfile::tempdir().expect("a directory");
            fs::create_dir(broken.path().join("clock")).expect("made");
            fs::write(broken.path().join(PLACES[0]), bytes).expect("written");
            let marks = FileMarks::new(broken.path(), quiet());
            let read = marks.read();
            let which = good.iter().position(|mark| *mark == read);
            seen[which.unwrap_or_else(|| panic!("{read:?} was never left"))] += 1;
            marks.leave(&mark(3));
            assert_eq!(marks.read(), Some(mark(3)), "it goes on from what was left");
        };
        for length in 0..=whole.len() {
            check(&whole[..length]);
        }
        for at in 0..whole.len() {
            let mut garbled = whole.clone();
            garbled[at] ^= 0x55;
            check(&garbled);
        }
        assert!(seen.iter().all(|n| *n > 0), "all three were met: {seen:?}");
    }

    #[test]
    fn a_deleted_mark_file_is_made_again() {
        let home = tempfile::tempdir().expect("a directory");
        let marks = FileMarks::new(home.path(), quiet());
        marks.leave(&mark(1));
        fs::remove_file(home.path().join(PLACES[0])).expect("deleted");
        marks.leave(&mark(2));
        assert_eq!(marks.read(), Some(mark(2)));
    }

    #[test]
    fn the_mark_of_an_older_version_counts_until_ours_is_left() {
        let home = tempfile::tempdir().expect("a directory");
        let marks = FileMarks::new(home.path(), quiet());
        marks.leave(&mark(1));
        let older = home.path().join("mark");
        fs::rename(home.path().join(PLACES[0]), &older).expect("where it was once");
        let marks = FileMarks::new(home.path(), quiet());
        assert_eq!(marks.read(), Some(mark(1)));
        marks.leave(&mark(2));
        assert_eq!(marks.read(), Some(mark(2)));
        assert!(!older.exists());
    }

    #[test]
    fn a_mark_that_cannot_be_written_is_left_later() {
        let home = tempfile::tempdir().expect("a directory");
        let marks = FileMarks::new(home.path(), quiet());
        fs::create_dir_all(home.path().join(PLACES[0])).expect("something in the way");
        marks.leave(&mark(1));
        assert_eq!(marks.read(), None);
        fs::remove_dir(home.path().join(PLACES[0])).expect("removed");
        marks.leave(&mark(2));
        assert_eq!(marks.read(), Some(mark(2)));
    }
}
