//! Shims are started ahead of time: a spare one waits, so that a replacement need not wait
//! for a spawn and an exec, nor for a directory. It holds the lock of a directory that is no
//! generation's yet; what makes it somebody's shim is that directory's new name, and the
//! specification.
//!
//! In this order: a shim without a specification ends with us, and then its lock is free and
//! its directory empty, so it looks like no start, which it is. One that has it starts its
//! service, and has held the lock since before the directory had its name.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::{Rc, Weak};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::net::UnixStream;

use supervisor_core::ServiceName;

use super::image::ShimImage;
use super::link;
use super::records::{Cradle, GenerationDir};
use crate::adapters::background::let_pass;
use crate::adapters::descriptors::GivenLimit;

/// How long after the last start a new spare is made: starts have the machine first.
const CALM: Duration = Duration::from_millis(100);

/// Where shims come from.
#[derive(Debug)]
pub(super) struct Nursery(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    /// `data_dir/shim`.
    shims: PathBuf,
    descriptors: GivenLimit,
    image: RefCell<ShimImage>,
    spare: RefCell<Option<Shim>>,
    /// How many starts there have been.
    starts: Cell<u64>,
    /// How many shims there have been.
    shims_made: Cell<u64>,
    /// Whether a new spare is being thought of.
    renewing: Cell<bool>,
}

/// A shim that waits for its specification.
#[derive(Debug)]
pub(super) struct Shim {
    socket: StdStream,
    pid: i32,
    /// Its directory, as long as it is nobody's.
    cradle: Option<Cradle>,
}

/// A shim that has its specification.
pub(super) struct Sent {
    pub(super) stream: UnixStream,
    pub(super) pid: i32,
    /// What of the specification the socket did not take at once.
    pub(super) rest: Vec<u8>,
}

/// Why there is no shim.
#[derive(Debug)]
pub(super) enum NoShim {
    /// It could not be started.
    NotStarted(io::Error),
    /// The generation's directory could not be made.
    NoDirectory(io::Error),
}

impl Nursery {
    pub(super) fn new(data_dir: &Path, shims: &Path, descriptors: GivenLimit) -> io::Result<Self> {
        Cradle::remove_all(shims);
        Ok(Self(Rc::new(Inner {
            data_dir: data_dir.to_owned(),
            shims: shims.to_owned(),
            descriptors,
            image: RefCell::new(ShimImage::new(data_dir)?),
            spare: RefCell::new(None),
            starts: Cell::new(0),
            shims_made: Cell::new(0),
            renewing: Cell::new(false),
        })))
    }

    /// Makes a shim that of a generation, with this specification and what it keeps.
    pub(super) fn start(
        &self,
        frame: &[u8],
        socket: Option<&OwnedFd>,
        dir: &GenerationDir,
    ) -> Result<Sent, NoShim> {
        self.0.starts.set(self.0.starts.get() + 1);
        self.prepare();
        let spare = self.0.spare.borrow_mut().take();
        if let Some(spare) = spare {
            match spare.start(frame, socket, dir) {
                // Somebody has killed it while it waited.
                Err(NoShim::NotStarted(_)) => {}
                started => {
                    // Nothing that we have to do now is as urgent as what it has.
                    let_pass();
                    return started;
                }
            }
        }
        self.start_in(&self.0.shims, frame, socket, dir)
    }

    /// The same without a spare one, where `dir` lies elsewhere.
    pub(super) fn start_in(
        &self,
        shims: &Path,
        frame: &[u8],
        socket: Option<&OwnedFd>,
        dir: &GenerationDir,
    ) -> Result<Sent, NoShim> {
        self.0.spawn(shims)?.start(frame, socket, dir)
    }

    /// Sees to it that there is a spare one soon.
    pub(super) fn prepare(&self) {
        if !self.0.renewing.replace(true) {
            actix_rt::spawn(renew(Rc::downgrade(&self.0)));
        }
    }

    /// The spare one that waits now.
    #[cfg(test)]
    pub(super) fn spare_pid(&self) -> Option<i32> {
        self.0.spare.borrow().as_ref().map(|shim| shim.pid)
    }

    /// As on a machine that forbids executable memory.
    #[cfg(test)]
    pub(super) fn use_disk(&self) {
        *self.0.image.borrow_mut() = ShimImage::on_disk(&self.0.data_dir).unwrap();
    }
}

/// Makes a spare once no start has come for a while. Where that fails nothing is lost: the
/// next start spawns its own, and says why it cannot.
async fn renew(inner: Weak<Inner>) {
    let mut seen = None;
    while let Some(inner) = inner.upgrade() {
        if seen.replace(inner.starts.get()) == Some(inner.starts.get()) {
            inner.renewing.set(false);
            if inner.spare.borrow().is_none() {
                *inner.spare.borrow_mut() = inner.spawn(&inner.shims).ok();
            }
            return;
        }
        drop(inner);
        tokio::time::sleep(CALM).await;
    }
}

impl Inner {
    fn spawn(&self, shims: &Path) -> Result<Shim, NoShim> {
        self.shims_made.set(self.shims_made.get() + 1);
        let cradle = Cradle::make(shims, self.shims_made.get()).map_err(NoShim::NoDirectory)?;
        let mut image = self.image.borrow_mut();
        Shim::spawn(&mut image, &self.data_dir, self.descriptors, Some(cradle))
            .map_err(NoShim::NotStarted)
    }
}

/// A machine without /proc, or one that forbids executable memfds.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
    )
}

impl Shim {
    /// Starts one: for a service, with the directory that is to become its generation's; or for
    /// a command. Where memory may not be executed the image becomes a file.
    pub(super) fn spawn(
        image: &mut ShimImage,
        data_dir: &Path,
        descriptors: GivenLimit,
        mut cradle: Option<Cradle>,
    ) -> io::Result<Self> {
        let spawned = match spawn(image, descriptors, cradle.as_ref()) {
            Err(error) if is_refused(&error) && image.is_memory() => {
                *image = ShimImage::on_disk(data_dir)?;
                spawn(image, descriptors, cradle.as_ref())
            }
            other => other,
        };
        if let Some(cradle) = &mut cradle {
            cradle.let_go();
        }
        let (socket, pid) = spawned?;
        Ok(Self {
            socket,
            pid,
            cradle,
        })
    }

    /// Its number, for whoever waits for its end.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    fn start(
        mut self,
        frame: &[u8],
        socket: Option<&OwnedFd>,
        dir: &GenerationDir,
    ) -> Result<Sent, NoShim> {
        let (pid, cradle) = (self.pid, self.cradle.take());
        let placed = cradle.map_or(Ok(()), |cradle| cradle.become_dir_of(dir));
        let started = match placed.map_err(NoShim::NoDirectory) {
            Ok(()) => self
                .send(frame, socket.map(OwnedFd::as_fd))
                .inspect_err(|_| dir.remove())
                .map_err(NoShim::NotStarted),
            Err(why) => Err(why),
        };
        if started.is_err() {
            // Let go, it ends by itself.
            actix_rt::spawn(link::reap(pid));
        }
        started
    }

    /// Gives it its specification, and a descriptor with it.
    pub(super) fn send(self, frame: &[u8], along: Option<BorrowedFd<'_>>) -> io::Result<Sent> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let along: Vec<_> = along.into_iter().collect();
        if !along.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&along));
        }
        let parts = [IoSlice::new(frame)];
        let sent = rustix::net::sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL)?;
        Ok(Sent {
            stream: UnixStream::from_std(self.socket)?,
            pid: self.pid,
            rest: frame[sent..].to_vec(),
        })
    }
}

/// Starts the program: our end of its socket, and its number.
fn spawn(
    image: &ShimImage,
    descriptors: GivenLimit,
    cradle: Option<&Cradle>,
) -> io::Result<(StdStream, i32)> {
    let (socket, theirs) = StdStream::pair()?;
    socket.set_nonblocking(true)?;
    let (lock, dir) = match cradle {
        Some(cradle) => {
            let (lock, dir) = cradle.held()?;
            (Stdio::from(lock), Stdio::from(dir))
        }
        None => (Stdio::null(), Stdio::null()),
    };
    // It writes its service's name over this: the room must be there.
    let waiting = "supervisor-shim (spare)";
    let room = "supervisor-shim ".len() + ServiceName::MAX_BYTES;
    // Waited for by its pid, in link::reap: another task may adopt it.
    let child = Command::new(image.path())
        .arg0(format!("{waiting:room$}"))
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(lock)
        .stderr(dir)
        .spawn()?;
    // It waits for its specification, so its service never sees another one.
    descriptors.give_to(child.id());
    let pid = i32::try_from(child.id()).unwrap_or_default();
    Ok((socket, pid))
}
