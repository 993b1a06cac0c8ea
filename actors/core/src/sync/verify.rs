//! Whether a table of the target holds what the directories hold: a comparison by key, and by
//! hash where the table has a column for it.
//!
//! The target gives its rows in an order of its own, so ours are looked up. Where several files
//! share a key, its row may be that of any of them.

use std::collections::HashMap;

use super::row::ContentHash;

/// The files of a table, by the key of their rows.
#[derive(Debug, Default)]
pub struct Expected {
    files: HashMap<String, Vec<File>>,
    /// Whether the table has a column for hashes.
    hashes: bool,
}

#[derive(Debug)]
struct File {
    path: String,
    /// Nothing where it cannot be read: then any row is as good, and so is none.
    hash: Option<ContentHash>,
}

/// A row that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Its key, or the path of its file where there is one.
    pub name: String,
    /// What about it.
    pub kind: Kind,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The file has none.
    Missing,
    /// It is that of another content.
    Different,
    /// It has no file.
    Extra,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Rows that are as they should be.
    pub same: u64,
    /// Rows that are not.
    pub differences: Vec<Difference>,
}

impl Kind {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Different => "different",
            Self::Extra => "extra",
        }
    }
}

impl Expected {
    /// Nothing yet; `hashes` where the table has a column for them.
    #[must_use]
    pub fn new(hashes: bool) -> Self {
        Self {
            files: HashMap::new(),
            hashes,
        }
    }

    /// One more file, and the key of its row; without its hash where it cannot be read.
    pub fn add(&mut self, key: &str, path: &str, hash: Option<ContentHash>) {
        self.files.entry(key.to_owned()).or_default().push(File {
            path: path.to_owned(),
            hash,
        });
    }

    /// A row of the target. Each is given once.
    pub fn held(&mut self, key: &str, hash: Option<ContentHash>, verdict: &mut Verdict) {
        let Some(files) = self.files.remove(key) else {
            verdict.tell(key, Kind::Extra);
            return;
        };
        let fits = |file: &File| file.hash.is_none() || file.hash == hash || !self.hashes;
        if files.iter().all(|file| file.hash.is_none()) {
            return;
        }
        if files.iter().any(fits) {
            verdict.same += 1;
        } else {
            let name = files.first().map_or(key, |file| file.path.as_str());
            verdict.tell(name, Kind::Different);
        }
    }

    /// All rows have been given: what is left has none.
    pub fn end(self, verdict: &mut Verdict) {
        let readable = |file: &File| file.hash.is_some();
        for file in self.files.into_values().flatten().filter(readable) {
            verdict.tell(&file.path, Kind::Missing);
        }
        verdict.differences.sort();
    }
}

impl Verdict {
    fn tell(&mut self, name: &str, kind: Kind) {
        self.differences.push(Difference {
            name: name.to_owned(),
            kind,
        });
    }

    /// How many differences of a kind there are.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        let of_kind = |difference: &&Difference| difference.kind == kind;
        self.differences.iter().filter(of_kind).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ContentHash = ContentHash([1; 32]);
    const TWO: ContentHash = ContentHash([2; 32]);

    fn compare(
        hashes: bool,
        files: &[(&str, &str, ContentHash)],
        rows: &[(&str, Option<ContentHash>)],
    ) -> (u64, Vec<(String, Kind)>) {
        let (mut expected, mut verdict) = (Expected::new(hashes), Verdict::default());
        for (key, path, hash) in files {
            expected.add(key, path, Some(*hash));
        }
        for (key, hash) in rows {
            expected.held(key, *hash, &mut verdict);
        }
        expected.end(&mut verdict);
        let told = verdict.differences.into_iter();
        (verdict.same, told.map(|it| (it.name, it.kind)).collect())
    }

    #[test]
    fn each_row_is_the_same_different_missing_or_extra() {
        let files = [
            ("a", "docs/a", ONE),
            ("b", "docs/b", ONE),
            ("c", "docs/c", ONE),
            ("d", "docs/d", ONE),
        ];
        let rows = [
            ("x", Some(ONE)),
            ("a", Some(ONE)),
            ("b", Some(TWO)),
            ("c", None),
        ];
        let (same, told) = compare(true, &files, &rows);
        assert_eq!(same, 1);
        assert_eq!(
            told,
            [
                ("docs/b".to_owned(), Kind::Different),
                ("docs/c".to_owned(), Kind::Different),
                ("docs/d".to_owned(), Kind::Missing),
                ("x".to_owned(), Kind::Extra),
            ]
        );
    }

    #[test]
    fn without_a_column_for_hashes_a_row_is_as_it_should_be_if_it_is_there() {
        let (same, told) = compare(false, &[("a", "a", ONE)], &[("a", None)]);
        assert_eq!((same, told), (1, Vec::new()));
    }

    #[test]
    fn of_a_file_that_cannot_be_read_nothing_is_said() {
        for rows in [&[][..], &["a"]] {
            let (mut expected, mut verdict) = (Expected::new(true), Verdict::default());
            expected.add("a", "a", None);
            for key in rows {
                expected.held(key, Some(ONE), &mut verdict);
            }
            expected.end(&mut verdict);
            assert_eq!((verdict.same, verdict.differences.len()), (0, 0));
        }
    }

    #[test]
    fn a_key_that_several_files_share_may_be_that_of_any() {
        let files = [("a.md", "x/a.md", ONE), ("a.md", "y/a.md", TWO)];
        assert_eq!(compare(true, &files, &[("a.md", Some(TWO))]).0, 1);
        let (_, told) = compare(true, &files, &[]);
        assert_eq!(told.len(), 2);
    }
}
