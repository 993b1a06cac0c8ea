//! Watches one file in a directory in which much else is written all the time: `ESTOP` stands
//! beside our databases and our log.
//!
//! [`file_watch`](super::file_watch) is told of every write in a directory, by a thread of its
//! own. At rest that would be most of its wakings: so here the kernel tells only of what comes,
//! goes and is closed after writing, and on the thread of the actors.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// How often it is looked at where the kernel tells, to be sure, …
const TOLD: Duration = Duration::from_secs(60);
/// … and where it does not.
const UNTOLD: Duration = Duration::from_secs(5);

/// A file that is looked at when it may have changed.
pub(crate) struct Sight {
    path: PathBuf,
    kernel: Option<AsyncFd<OwnedFd>>,
    next: Instant,
}

impl Sight {
    /// Begins to watch. The file need not be there. Must be called inside a runtime.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            kernel: None,
            // What happened before the kernel listens nobody tells of.
            next: Instant::now(),
        }
    }

    /// Returns when it may have changed since this was last asked. Cancelling it loses nothing: a
    /// word of the kernel that concerns it is returned as soon as it is read.
    pub(crate) async fn changed(&mut self) {
        loop {
            let Some(kernel) = &self.kernel else {
                sleep_until(self.next).await;
                self.kernel = self.listen();
                let pause = if self.kernel.is_some() { TOLD } else { UNTOLD };
                self.next = Instant::now() + pause;
                return;
            };
            tokio::select! {
                biased;
                // Both may be given up and waited for again.
                ready = kernel.readable() => {
                    let Ok(mut ready) = ready else {
                        self.kernel = None;
                        continue;
                    };
                    match concerns(kernel.get_ref(), &self.path) {
                        Word::Nothing => ready.clear_ready(),
                        Word::Changed => return,
                        Word::Lost => {
                            self.kernel = None;
                            self.next = Instant::now();
                        }
                    }
                }
                () = sleep_until(self.next) => {
                    self.next = Instant::now() + TOLD;
                    return;
                }
            }
        }
    }

    /// Has the kernel tell of the directory; nothing where it cannot, or is told by others.
    fn listen(&self) -> Option<AsyncFd<OwnedFd>> {
        let directory = self.path.parent()?;
        if !is_told_of(directory) {
            return None;
        }
        let kernel = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let wanted = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&kernel, directory, wanted).ok()?;
        // SAFETY: its descriptor stays the same and open for as long as it lives.
        unsafe { AsyncFd::register(kernel) }.ok()
    }
}

/// What the kernel's words mean for the file.
enum Word {
    Nothing,
    Changed,
    /// The directory is another, or none: what is told is not of it.
    Lost,
}

/// Reads all of them.
fn concerns(kernel: &OwnedFd, path: &Path) -> Word {
    let name = path.file_name().map(std::ffi::OsStr::as_bytes);
    let mut buffer = [MaybeUninit::uninit(); 1_024];
    let mut events = inotify::Reader::new(kernel, &mut buffer);
    let mut word = Word::Nothing;
    loop {
        match events.next() {
            Ok(event) => {
                let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED;
                let ours = event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                    || event.file_name().map(std::ffi::CStr::to_bytes) == name;
                word = match word {
                    _ if event.events().intersects(gone) => Word::Lost,
                    Word::Nothing if ours => Word::Changed,
                    Word::Nothing | Word::Changed | Word::Lost => word,
                };
            }
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return word,
            Err(_) => return Word::Lost,
        }
    }
}

/// Whether the kernel tells of every change of what is in that directory: on file systems of this
/// machine alone it does, on one of the network only of its own changes.
fn is_told_of(directory: &Path) -> bool {
    /// statfs(2): ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS, bcachefs.
    const LOCAL: [u32; 8] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0x0102_1994,
        0x794c_7630,
        0xf2f5_2010,
        0x2fc1_2fc1,
        0xca45_1a4e,
    ];
    rustix::fs::statfs(directory).is_ok_and(|found| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the kernel's word has 32 bits, whatever libc makes of it"
        )]
        let kind = found.f_type as u32;
        LOCAL.contains(&kind)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    /// Longer than any machine needs, shorter than the looks to be sure.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn told(sight: &mut Sight) -> bool {
        tokio::time::timeout(PATIENCE, sight.changed())
            .await
            .is_ok()
    }

    async fn quiet(sight: &mut Sight) -> bool {
        let wait = Duration::from_millis(100);
        tokio::time::timeout(wait, sight.changed()).await.is_err()
    }

    #[actix_rt::test]
    async fn a_file_that_comes_is_written_and_goes_is_told_of_and_its_neighbours_are_not() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("ESTOP");
        let mut log = fs::File::create(home.path().join("log")).expect("made");
        let mut sight = Sight::of(&path);
        assert!(told(&mut sight).await, "the first look");
        assert!(quiet(&mut sight).await);
        for _ in 0..100 {
            log.write_all(b"a line\n").expect("written");
        }
        fs::write(home.path().join("other"), "1").expect("written");
        assert!(quiet(&mut sight).await);
        fs::write(&path, "1").expect("written");
        assert!(told(&mut sight).await);
        while !quiet(&mut sight).await {}
        fs::write(home.path().join("new"), "2").expect("written");
        fs::rename(home.path().join("new"), &path).expect("renamed");
        assert!(told(&mut sight).await);
        while !quiet(&mut sight).await {}
        fs::remove_file(&path).expect("removed");
        assert!(told(&mut sight).await);
    }

    #[actix_rt::test]
    async fn a_directory_may_go_and_come_again() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = home.path().join("data");
        fs::create_dir(&directory).expect("made");
        let path = directory.join("ESTOP");
        let mut sight = Sight::of(&path);
        assert!(told(&mut sight).await);
        fs::rename(&directory, home.path().join("away")).expect("renamed");
        fs::create_dir(&directory).expect("made");
        // At once, or by the look that comes after.
        assert!(told(&mut sight).await);
        while !quiet(&mut sight).await {}
        fs::write(&path, "1").expect("written");
        assert!(told(&mut sight).await);
    }

    #[test]
    fn a_file_system_of_this_machine_tells_and_one_that_is_made_up_does_not() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(is_told_of(home.path()));
        assert!(!is_told_of(Path::new("/proc/self")));
        assert!(!is_told_of(&home.path().join("not there")));
    }
}
