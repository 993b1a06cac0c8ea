//! The manifest: what the target has taken, and whether a file differs from it without
//! reading the file.
//!
//! A file whose size, times and inode are those of its last reading has not changed, unless
//! it was read within its clock's blur: two writes within one tick of the file system's clock
//! leave the same times (git's "racily clean" entries). So what was younger than
//! [`SETTLED_AFTER`] when it was read is read again once.

use std::time::Duration;

use super::row::ContentHash;
use super::table::Column;
use crate::time::Timestamp;

/// A file younger than this when it was read may have changed since without a trace.
pub const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What `stat` says of a file, as far as a change leaves a trace in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// When its content last changed, in nanoseconds since the Unix epoch.
    pub mtime: i64,
    /// When anything of it last changed, in nanoseconds since the Unix epoch.
    pub ctime: i64,
    /// Which file it is.
    pub inode: u64,
}

/// What the target has taken of a file, under one key of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The table's name.
    pub table: String,
    /// The row.
    pub key: String,
    /// The file, relative to the root.
    pub file_path: String,
    /// Of its bytes.
    pub hash: ContentHash,
    /// As it was when it was read.
    pub stat: Stat,
    /// Whether that stat can be trusted: see [`is_settled`].
    pub settled: bool,
    /// Of the table, see [`super::Table::mapping`]: other columns make another row.
    pub mapping: u64,
}

/// Whether a stat taken when the file was read, at that time, proves that nothing changed.
#[must_use]
pub fn is_settled(stat: &Stat, read_at: Timestamp) -> bool {
    let youngest = stat.mtime.max(stat.ctime);
    let margin = i64::try_from(SETTLED_AFTER.as_nanos()).unwrap_or(i64::MAX);
    // A time in the future is never old enough.
    youngest.saturating_add(margin) <= read_at.0.saturating_mul(1_000)
}

/// A number that differs, for all that matters, where anything differs that decides whether a
/// file must be read: kept instead of its parts, 8 bytes a file. Its lowest bit is 0.
#[must_use]
pub fn fingerprint(stat: &Stat, settled: bool, mapping: u64) -> u64 {
    let mut sum = Sum::new();
    for word in [
        stat.size,
        stat.mtime.cast_unsigned(),
        stat.ctime.cast_unsigned(),
        stat.inode,
        u64::from(settled),
        mapping,
    ] {
        sum.add(word);
    }
    sum.0 & !1
}

/// A number for a table's name, its key and its columns: see [`super::Table::mapping`].
pub(super) fn mapping(name: &str, key: &str, columns: &[Column]) -> u64 {
    let mut sum = Sum::new();
    sum.add_bytes(name.as_bytes());
    sum.add_bytes(key.as_bytes());
    for column in columns {
        sum.add_bytes(format!("{}={}", column.name, column.field).as_bytes());
    }
    sum.0
}

/// A number for a path, to look it up by.
#[must_use]
pub fn path_sum(path: &[u8]) -> u64 {
    let mut sum = Sum::new();
    sum.add_bytes(path);
    sum.0
}

/// The finaliser of MurmurHash3 (Appleby) over each word: no attacker chooses these numbers to
/// collide, for whoever can write the files can write their content, too.
struct Sum(u64);

impl Sum {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn add(&mut self, word: u64) {
        let mut mixed = (self.0.rotate_left(5) ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^= mixed >> 33;
        mixed = mixed.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.0 = mixed ^ (mixed >> 33);
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
        self.add(bytes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sync::preset;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn stat(age_ms: i64) -> Stat {
        let at = NOW.0 * 1_000 - age_ms * 1_000_000;
        Stat {
            size: 5,
            mtime: at,
            ctime: at,
            inode: 7,
        }
    }

    #[test]
    fn a_file_is_settled_two_seconds_after_its_last_change() {
        for (age_ms, settled) in [
            (2_001, true),
            (2_000, true),
            (1_999, false),
            (0, false),
            (-5_000, false),
        ] {
            assert_eq!(is_settled(&stat(age_ms), NOW), settled, "{age_ms}");
        }
        // Either time can betray a change: `touch -d` sets one of them alone.
        let mut touched = stat(10_000);
        touched.ctime = stat(100).ctime;
        assert!(!is_settled(&touched, NOW));
    }

    #[test]
    fn every_part_changes_the_fingerprint() {
        let base = stat(10_000);
        let print = fingerprint(&base, true, 1);
        for (other, settled, mapping) in [
            (Stat { size: 6, ..base }, true, 1),
            (
                Stat {
                    mtime: base.mtime + 1,
                    ..base
                },
                true,
                1,
            ),
            (
                Stat {
                    ctime: base.ctime + 1,
                    ..base
                },
                true,
                1,
            ),
            (Stat { inode: 8, ..base }, true, 1),
            (base, false, 1),
            (base, true, 2),
        ] {
            assert_ne!(fingerprint(&other, settled, mapping), print);
        }
        assert_eq!(print & 1, 0);
    }

    #[test]
    fn paths_and_mappings_have_numbers_of_their_own() {
        let mut seen = std::collections::HashSet::new();
        for number in 0..200_000 {
            assert!(seen.insert(path_sum(
                format!("docs/d{}/f{number}.md", number % 50).as_bytes()
            )));
        }
        assert_ne!(path_sum(b"a\0"), path_sum(b"a"));
        let plain = preset::plain("protocols", false).unwrap();
        let marked = preset::plain("protocols", true).unwrap();
        let athena = preset::athena("protocols", false).unwrap();
        assert_ne!(plain.mapping(), marked.mapping());
        assert_ne!(plain.mapping(), athena.mapping());
        assert_eq!(plain.mapping(), plain.clone().mapping());
    }
}
