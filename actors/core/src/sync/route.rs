//! Which table a file belongs into, and why into none.
//!
//! Directories are compared by path components: `protocols2/` is not `protocols/`. Of those
//! that hold a file the most specific one decides, alone: what it leaves out no other takes.
//! Below it no name may begin with `.` or `~`; the directory itself may.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::table::Table;

/// A directory and the table of its files.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// Its path relative to the root, for people.
    pub shown: String,
    /// The table.
    pub table: Arc<Table>,
}

/// All directories, and what is taken of them.
#[derive(Debug, Clone)]
pub struct Routes {
    root: PathBuf,
    directories: Vec<Directory>,
    extensions: Vec<String>,
    exclude: GlobSet,
}

/// Where a file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'a> {
    /// The table.
    pub table: &'a Arc<Table>,
    /// The file's path relative to the root, `/`-separated: what it is called everywhere.
    pub file_path: &'a str,
}

/// Why a file goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// No directory holds it.
    NoTable,
    /// A name of it begins with `.` or `~`.
    Hidden,
    /// It has none of the extensions.
    Extension,
    /// `exclude` names it.
    Excluded,
    /// Its name is no UTF-8: no column could hold it.
    NotUtf8,
}

/// Why there can be no such routes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Rows are named by paths relative to the root.
    #[error("{} does not lie in the root {}", path.display(), root.display())]
    Outside {
        /// The directory.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// A directory has one table.
    #[error("{} is given twice", .0.display())]
    Twice(PathBuf),
    /// Its name is no UTF-8.
    #[error("the name of {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// No pattern that we understand.
    #[error("{pattern:?} is no pattern: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        why: String,
    },
}

/// How deep trees may be; what lies deeper is not looked at. Nobody builds such trees by hand.
pub const DEEPEST: usize = 128;

// === impl Routes ===

impl Routes {
    /// Routes below an absolute root. `extensions` without their dot, in any case.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn new(
        root: &Path,
        directories: Vec<(PathBuf, Arc<Table>)>,
        extensions: &[String],
        exclude: &[String],
    ) -> Result<Self, RouteError> {
        let root = plain(root);
        let mut taken: Vec<Directory> = Vec::with_capacity(directories.len());
        for (path, table) in directories {
            let path = plain(&root.join(path));
            let Ok(relative) = path.strip_prefix(&root) else {
                return Err(RouteError::Outside { path, root });
            };
            let Some(shown) = relative.to_str() else {
                return Err(RouteError::NotUtf8(path));
            };
            if taken.iter().any(|other| other.path == path) {
                return Err(RouteError::Twice(path));
            }
            let shown = if shown.is_empty() { "." } else { shown }.to_owned();
            taken.push(Directory { path, shown, table });
        }
        Ok(Self {
            root,
            directories: taken,
            extensions: extensions
                .iter()
                .map(|extension| extension.to_ascii_lowercase())
                .collect(),
            exclude: patterns(exclude)?,
        })
    }

    /// The directory that rows' paths are relative to.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All directories, in the order of the configuration.
    #[must_use]
    pub fn directories(&self) -> &[Directory] {
        &self.directories
    }

    /// The tables, each once, in the order of the configuration.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.directories
            .iter()
            .enumerate()
            .filter_map(|(at, directory)| {
                let table = &directory.table;
                let before = &self.directories[..at];
                let new = before
                    .iter()
                    .all(|other| other.table.name() != table.name());
                new.then_some(table)
            })
    }

    /// The table of that name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables().find(|table| table.name() == name)
    }

    /// Where a file goes, by its absolute path.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn route<'a>(&'a self, path: &'a Path) -> Result<Route<'a>, Ignored> {
        let directory = self.directory_of(path).ok_or(Ignored::NoTable)?;
        let below = path
            .strip_prefix(&directory.path)
            .map_err(|_| Ignored::NoTable)?;
        if below.as_os_str().is_empty() {
            return Err(Ignored::NoTable);
        }
        if below.iter().any(is_hidden) {
            return Err(Ignored::Hidden);
        }
        if !path
            .file_name()
            .is_some_and(|name| self.has_extension(name))
        {
            return Err(Ignored::Extension);
        }
        let file_path = path
            .strip_prefix(&self.root)
            .ok()
            .and_then(Path::to_str)
            .ok_or(Ignored::NotUtf8)?;
        if self.exclude.is_match(file_path) {
            return Err(Ignored::Excluded);
        }
        Ok(Route {
            table: &directory.table,
            file_path,
        })
    }

    /// Where a file goes, by its path relative to the root.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn route_of(&self, file_path: &str) -> Result<&Arc<Table>, Ignored> {
        let path = self.root.join(file_path);
        let directory = self.directory_of(&path).ok_or(Ignored::NoTable)?;
        self.route(&path).map(|_| &directory.table)
    }

    /// The most specific directory that holds a path, or is it.
    #[must_use]
    pub fn directory_of(&self, path: &Path) -> Option<&Directory> {
        self.directories
            .iter()
            .filter(|directory| path.starts_with(&directory.path))
            .max_by_key(|directory| directory.path.as_os_str().len())
    }

    /// Whether files may lie in a directory: it is one of ours, or lies in one and neither a
    /// hidden name nor `exclude` nor its depth leaves it out.
    #[must_use]
    pub fn enters(&self, path: &Path) -> bool {
        let Some(directory) = self.directory_of(path) else {
            return false;
        };
        let Ok(below) = path.strip_prefix(&directory.path) else {
            return false;
        };
        let mut depth = 0;
        for name in below {
            depth += 1;
            if is_hidden(name) || depth > DEEPEST {
                return false;
            }
        }
        depth == 0 || !self.excludes(path)
    }

    /// Whether `exclude` names what lies at an absolute path.
    #[must_use]
    pub fn excludes(&self, path: &Path) -> bool {
        !self.exclude.is_empty()
            && path
                .strip_prefix(&self.root)
                .is_ok_and(|relative| self.exclude.is_match(relative))
    }

    /// Whether there is anything that `exclude` names.
    #[must_use]
    pub fn excludes_some(&self) -> bool {
        !self.exclude.is_empty()
    }

    /// What it excludes, by a path relative to the root.
    #[must_use]
    pub fn excludes_relative(&self, path: &str) -> bool {
        !self.exclude.is_empty() && self.exclude.is_match(path)
    }

    /// Whether a name has one of the extensions.
    #[must_use]
    pub fn has_extension(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        self.extensions.iter().any(|extension| {
            let at = name.len().checked_sub(extension.len() + 1);
            at.is_some_and(|at| {
                at > 0
                    && name[at] == b'.'
                    && name[at + 1..].eq_ignore_ascii_case(extension.as_bytes())
            })
        })
    }
}

/// Whether a name is left out everywhere below a directory of ours.
#[must_use]
pub fn is_hidden(name: &OsStr) -> bool {
    matches!(name.as_bytes().first(), Some(b'.' | b'~'))
}

/// A path without `.` and with `..` resolved as text: links are followed by whoever opens it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component);
            }
        }
    }
    plain
}

/// Patterns as `.gitignore` has them: one without a `/` is meant at any depth, one that names
/// a directory leaves out all below it.
fn patterns(texts: &[String]) -> Result<GlobSet, RouteError> {
    let bad = |pattern: &String, error: &globset::Error| RouteError::Pattern {
        pattern: pattern.clone(),
        why: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for text in texts {
        let bare = text.trim_start_matches("./").trim_start_matches('/');
        let bare = bare.trim_end_matches('/');
        let anywhere = !bare.contains('/') && !text.starts_with('/');
        let pattern = if anywhere {
            format!("**/{bare}")
        } else {
            bare.to_owned()
        };
        for pattern in [pattern.clone(), format!("{pattern}/**")] {
            let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
            set.add(glob.map_err(|error| bad(text, &error))?);
        }
    }
    // A set that grew too large, whichever pattern did it.
    set.build().map_err(|error| bad(&texts.join(", "), &error))
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTable => "no table mapping",
            Self::Hidden => "hidden name",
            Self::Extension => "other extension",
            Self::Excluded => "excluded",
            Self::NotUtf8 => "name is not UTF-8",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sync::table::{Column, Field};

    fn table(name: &str) -> Arc<Table> {
        let columns = vec![Column {
            name: "file_path".to_owned(),
            field: Field::FilePath,
        }];
        Arc::new(Table::new(name, "file_path", columns).unwrap())
    }

    fn routes(directories: &[(&str, &str)], exclude: &[&str]) -> Routes {
        let directories = directories
            .iter()
            .map(|(path, name)| (PathBuf::from(path), table(name)))
            .collect();
        let exclude: Vec<_> = exclude.iter().map(|text| (*text).to_owned()).collect();
        Routes::new(Path::new("/p"), directories, &["md".to_owned()], &exclude).unwrap()
    }

    fn goes(routes: &Routes, path: &str) -> Result<String, Ignored> {
        let path = Path::new(path);
        let route = routes.route(path)?;
        assert_eq!(Path::new("/p").join(route.file_path), path);
        Ok(route.table.name().to_owned())
    }

    #[test]
    fn a_directory_that_only_begins_alike_is_another() {
        let routes = routes(&[("protocols", "protocols")], &[]);
        assert_eq!(goes(&routes, "/p/protocols/a.md"), Ok("protocols".into()));
        assert_eq!(goes(&routes, "/p/protocols2/a.md"), Err(Ignored::NoTable));
        assert_eq!(goes(&routes, "/p/protocols.md"), Err(Ignored::NoTable));
        assert_eq!(goes(&routes, "/protocols/a.md"), Err(Ignored::NoTable));
    }

    #[test]
    fn the_most_specific_directory_decides_wherever_it_stands() {
        let paths = [("docs", "docs"), ("docs/a", "a"), ("docs/a/b", "b")];
        let mut reversed = paths;
        reversed.reverse();
        for order in [paths, reversed] {
            let routes = routes(&order, &[]);
            assert_eq!(goes(&routes, "/p/docs/x.md"), Ok("docs".into()));
            assert_eq!(goes(&routes, "/p/docs/a/x.md"), Ok("a".into()));
            assert_eq!(goes(&routes, "/p/docs/a/b/c/x.md"), Ok("b".into()));
            assert_eq!(goes(&routes, "/p/docs/ab/x.md"), Ok("docs".into()));
        }
    }

    #[test]
    fn hidden_names_are_left_out_below_a_directory_that_may_be_hidden_itself() {
        let routes = routes(&[(".agent/skills", "skills"), ("docs", "docs")], &[]);
        assert_eq!(goes(&routes, "/p/.agent/skills/a.md"), Ok("skills".into()));
        for path in [
            "/p/docs/.a.md",
            "/p/docs/~a.md",
            "/p/docs/.git/a.md",
            "/p/.agent/skills/.x/y/a.md",
        ] {
            assert_eq!(goes(&routes, path), Err(Ignored::Hidden), "{path}");
        }
        assert!(routes.enters(Path::new("/p/.agent/skills/x")));
        assert!(!routes.enters(Path::new("/p/docs/.git")));
        assert!(!routes.enters(Path::new("/p/.agent")));
    }

    #[test]
    fn extensions_are_compared_without_case_and_need_a_name_before_them() {
        let routes = routes(&[("docs", "docs")], &[]);
        assert!(goes(&routes, "/p/docs/a.MD").is_ok());
        assert!(goes(&routes, "/p/docs/a.b.Md").is_ok());
        for path in ["/p/docs/a.mdx", "/p/docs/md", "/p/docs/a", "/p/docs/amd"] {
            assert_eq!(goes(&routes, path), Err(Ignored::Extension), "{path}");
        }
        assert_eq!(goes(&routes, "/p/docs/.md"), Err(Ignored::Hidden));
    }

    #[test]
    fn patterns_leave_out_files_and_whole_directories() {
        let routes = routes(
            &[(".", "all")],
            &["drafts", "*.tmp.md", "/docs/old/", "notes/**/secret.md"],
        );
        for (path, excluded) in [
            ("/p/a.md", false),
            ("/p/drafts/a.md", true),
            ("/p/x/drafts/y/a.md", true),
            ("/p/drafts.md", false),
            ("/p/x/a.tmp.md", true),
            ("/p/docs/old/a.md", true),
            ("/p/x/docs/old/a.md", false),
            ("/p/notes/a/b/secret.md", true),
            ("/p/notes/a.md", false),
        ] {
            let expected = if excluded {
                Err(Ignored::Excluded)
            } else {
                Ok("all".to_owned())
            };
            assert_eq!(goes(&routes, path), expected, "{path}");
        }
        assert!(!routes.enters(Path::new("/p/x/drafts")));
        assert!(routes.enters(Path::new("/p/docs")));
    }

    #[test]
    fn a_name_that_is_no_utf8_is_refused() {
        let routes = routes(&[("docs", "docs")], &[]);
        let path = Path::new(OsStr::from_bytes(b"/p/docs/a\xff.md"));
        assert_eq!(routes.route(path).unwrap_err(), Ignored::NotUtf8);
    }

    #[test]
    fn directories_lie_in_the_root_and_are_given_once() {
        let new = |paths: &[&str]| {
            let directories = paths
                .iter()
                .map(|path| (PathBuf::from(path), table("t")))
                .collect();
            Routes::new(Path::new("/p"), directories, &[], &[]).map(|_| ())
        };
        assert_eq!(new(&["a", "./a/b", "/p/c"]), Ok(()));
        assert!(matches!(new(&["../a"]), Err(RouteError::Outside { .. })));
        assert!(matches!(new(&["/q"]), Err(RouteError::Outside { .. })));
        assert!(matches!(new(&["a", "b/../a/"]), Err(RouteError::Twice(_))));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let error = Routes::new(Path::new("/p"), Vec::new(), &[], &["a[".to_owned()]);
        assert!(matches!(error, Err(RouteError::Pattern { pattern, .. }) if pattern == "a["));
    }

    #[test]
    fn the_root_itself_may_be_a_directory() {
        let routes = routes(&[(".", "all"), ("docs", "docs")], &[]);
        assert_eq!(routes.directories()[0].shown, ".");
        assert_eq!(goes(&routes, "/p/a.md"), Ok("all".into()));
        assert_eq!(goes(&routes, "/p/docs/a.md"), Ok("docs".into()));
        assert_eq!(goes(&routes, "/p"), Err(Ignored::NoTable));
    }
}
