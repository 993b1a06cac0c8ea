//! Files in memory, and the kernel that tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use supervisor_core::sync::manifest::is_settled;
use supervisor_core::sync::{Content, ContentHash, Routes, Stat};

use super::lock;
use crate::ports::Clock;
use crate::ports::files::{Blind, Eyes, Files, Found, Listing, Look, Sighting, Survey, Take, Tell};
use crate::testing::FakeClock;

/// Files in memory, and the kernel that tells of them. Clones share it.
#[derive(Clone)]
pub struct FakeDisk {
    clock: Arc<FakeClock>,
    routes: Arc<Routes>,
    inner: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<String, FakeFile>,
    tell: Option<Tell>,
    watched: BTreeSet<PathBuf>,
    /// The kernel tells nobody.
    deaf: bool,
    /// What happens when a file was read.
    when_read: Option<(String, Box<Deed>)>,
    blind: Option<Blind>,
    unread: Vec<String>,
    inodes: u64,
    looks: u64,
}

/// What somebody does.
type Deed = dyn FnOnce(&FakeDisk) + Send;

#[derive(Clone)]
struct FakeFile {
    bytes: Vec<u8>,
    stat: Stat,
    unreadable: Option<String>,
    /// So many looks find it changing.
    changing: u32,
}

impl FakeDisk {
    pub(super) fn new(clock: Arc<FakeClock>, routes: Arc<Routes>) -> Self {
        Self {
            clock,
            routes,
            inner: Arc::default(),
        }
    }

    fn now(&self) -> i64 {
        self.clock.wall().0 * 1_000
    }

    fn tell(&self, sightings: impl IntoIterator<Item = Sighting>) {
        let tell = {
            let disk = lock(&self.inner);
            if disk.deaf { None } else { disk.tell.clone() }
        };
        if let Some(tell) = tell {
            for sighting in sightings {
                tell(sighting);
            }
        }
    }

    fn path(&self, file_path: &str) -> PathBuf {
        self.routes.root().join(file_path)
    }

    /// Somebody writes a file.
    pub fn write(&self, file_path: &str, text: &str) {
        let now = self.now();
        {
            let mut disk = lock(&self.inner);
            disk.inodes += 1;
            let inode = disk
                .files
                .get(file_path)
                .map_or(disk.inodes, |file| file.stat.inode);
            let file = FakeFile {
                bytes: text.as_bytes().to_vec(),
                stat: Stat {
                    size: text.len() as u64,
                    mtime: now,
                    ctime: now,
                    inode,
                },
                unreadable: None,
                changing: 0,
            };
            disk.files.insert(file_path.to_owned(), file);
        }
        self.tell([Sighting::File(self.path(file_path))]);
    }

    /// Somebody removes a file.
    pub fn remove(&self, file_path: &str) {
        lock(&self.inner).files.remove(file_path);
        self.tell([Sighting::File(self.path(file_path))]);
    }

    /// Somebody renames a file.
    ///
    /// # Panics
    /// Where there is none.
    pub fn rename(&self, from: &str, to: &str) {
        let now = self.now();
        {
            let mut disk = lock(&self.inner);
            let mut file = disk.files.remove(from).expect("a file");
            file.stat.ctime = now;
            disk.files.insert(to.to_owned(), file);
        }
        let (from, to) = (self.path(from), self.path(to));
        self.tell([
            Sighting::File(from.clone()),
            Sighting::File(to.clone()),
            Sighting::Moved { from, to },
        ]);
    }

    /// From now on a file cannot be read for that reason, or can again.
    pub fn forbid(&self, file_path: &str, why: Option<&str>) {
        let now = self.now();
        if let Some(file) = lock(&self.inner).files.get_mut(file_path) {
            file.unreadable = why.map(str::to_owned);
            file.stat.ctime = now;
        }
        self.tell([Sighting::File(self.path(file_path))]);
    }

    /// So many looks find a file changing.
    pub fn keep_changing(&self, file_path: &str, looks: u32) {
        if let Some(file) = lock(&self.inner).files.get_mut(file_path) {
            file.changing = looks;
        }
    }

    /// Somebody does something as soon as that file was read, before it is recorded.
    pub fn when_read(&self, file_path: &str, then: impl FnOnce(&Self) + Send + 'static) {
        lock(&self.inner).when_read = Some((file_path.to_owned(), Box::new(then)));
    }

    /// From now on the kernel tells nobody, or does again.
    pub fn deafen(&self, deaf: bool) {
        lock(&self.inner).deaf = deaf;
    }

    /// From now on nothing can be watched for that reason, or can again.
    pub fn blind(&self, why: Option<Blind>) {
        lock(&self.inner).blind = why;
    }

    /// From now on a directory cannot be read, or all can again.
    pub fn hide(&self, directory: Option<&str>) {
        lock(&self.inner).unread = directory.map(str::to_owned).into_iter().collect();
    }

    /// The kernel says that it missed something.
    pub fn overflow(&self) {
        self.tell([Sighting::Everything("overflow".to_owned())]);
    }

    /// How many files were read.
    #[must_use]
    pub fn looks(&self) -> u64 {
        lock(&self.inner).looks
    }

    /// All files with their texts.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, String> {
        let disk = lock(&self.inner);
        let files = disk.files.iter();
        files
            .map(|(path, file)| {
                (
                    path.clone(),
                    String::from_utf8_lossy(&file.bytes).into_owned(),
                )
            })
            .collect()
    }

    fn look_one(&self, file_path: &str) -> Result<(Vec<u8>, Content), Look> {
        let now = self.clock.wall();
        let mut disk = lock(&self.inner);
        disk.looks += 1;
        let Some(file) = disk.files.get_mut(file_path) else {
            return Err(Look::Gone);
        };
        if let Some(why) = &file.unreadable {
            return Err(Look::Unreadable {
                stat: file.stat,
                why: why.clone(),
            });
        }
        if file.changing > 0 {
            file.changing -= 1;
            return Err(Look::Changing);
        }
        let content = Content {
            hash: hash(&file.bytes),
            stat: file.stat,
            settled: is_settled(&file.stat, now),
        };
        Ok((file.bytes.clone(), content))
    }
}

/// Not SHA-256, but different where the bytes are.
pub(super) fn hash(bytes: &[u8]) -> ContentHash {
    let mut hash = [0; 32];
    for (at, part) in [&b""[..], b"1", b"2", b"3"].into_iter().enumerate() {
        let mut all = bytes.to_vec();
        all.extend_from_slice(part);
        let sum = supervisor_core::sync::manifest::path_sum(&all);
        hash[at * 8..at * 8 + 8].copy_from_slice(&sum.to_le_bytes());
    }
    ContentHash(hash)
}

impl Files for FakeDisk {
    fn look(&self, file_paths: &[Arc<str>], at_once: usize, take: &mut Take<'_>) -> Duration {
        let one = |path: &Arc<str>| match self.look_one(path) {
            Ok((_, content)) => Look::Here(content),
            Err(look) => look,
        };
        for some in file_paths.chunks(at_once) {
            let looks = some.iter().map(one).collect();
            let read = |(path, _): &mut (String, _)| some.iter().any(|other| **other == **path);
            let then = lock(&self.inner).when_read.take_if(read);
            if let Some((_, then)) = then {
                then(self);
            }
            if take(some, looks).is_break() {
                break;
            }
        }
        Duration::ZERO
    }

    fn read(&self, file_path: &str) -> Result<(Vec<u8>, Content), Look> {
        self.look_one(file_path)
    }

    fn exists(&self, file_path: &str) -> bool {
        lock(&self.inner).files.contains_key(file_path)
    }

    fn survey(&self, survey: &Survey<'_>) -> Found {
        for directory in self.routes.directories() {
            (survey.enter)(&[&directory.path]);
        }
        let (files, unread) = {
            let disk = lock(&self.inner);
            let files: Vec<_> = disk
                .files
                .iter()
                .map(|(path, file)| (path.clone(), file.stat))
                .collect();
            (files, disk.unread.clone())
        };
        let mut found = Found::default();
        for (path, stat) in files {
            let below = |directory: &str| {
                path.strip_prefix(directory)
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            if survey.below.is_some_and(|directory| !below(directory))
                || unread.iter().any(|directory| below(directory))
            {
                continue;
            }
            let Ok(table) = self.routes.route_of(&path) else {
                continue;
            };
            let name_at = path.rfind('/').map_or(0, |at| at + 1);
            let mut listing = Listing::new(&path[..name_at], &Arc::from(table.name()));
            listing.push(&path[name_at..], stat);
            (survey.list)(listing);
        }
        found.unread = unread
            .into_iter()
            .map(|path| (path, "forbidden".to_owned()))
            .collect();
        found
    }

    fn roots(&self) -> Vec<Option<u64>> {
        self.routes.directories().iter().map(|_| Some(1)).collect()
    }
}

impl Eyes for FakeDisk {
    fn open(&self, tell: Tell) -> Result<(), Blind> {
        let mut disk = lock(&self.inner);
        disk.tell = Some(tell);
        disk.watched.clear();
        Ok(())
    }

    fn watch(&self, directory: &Path) -> Result<(), Blind> {
        let mut disk = lock(&self.inner);
        if let Some(why) = &disk.blind {
            return Err(why.clone());
        }
        disk.watched.insert(directory.to_owned());
        Ok(())
    }

    fn close(&self) {
        let mut disk = lock(&self.inner);
        disk.tell = None;
        disk.watched.clear();
    }

    fn watched(&self) -> usize {
        lock(&self.inner).watched.len()
    }
}
