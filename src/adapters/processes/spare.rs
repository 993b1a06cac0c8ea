//! Shims are started ahead of time: a spare one waits, so that a replacement need not wait
//! for a spawn and an exec. It has nothing but a socket; what makes it somebody's shim is the
//! specification, and the lock of the generation that travels with it.
//!
//! The lock is taken before it is sent, and while the message is under way the kernel holds
//! it, so there is no instant of our death at which a start looks like none.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
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
use crate::adapters::descriptors::GivenLimit;

/// How long after the last start a new spare is made: starts have the machine first.
const CALM: Duration = Duration::from_millis(100);

/// Where shims come from.
#[derive(Debug)]
pub(super) struct Nursery(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    descriptors: GivenLimit,
    image: RefCell<ShimImage>,
    spare: RefCell<Option<Shim>>,
    /// How many starts there have been.
    starts: Cell<u64>,
    /// Whether a new spare is being thought of.
    renewing: Cell<bool>,
}

/// A shim that waits for its specification.
#[derive(Debug)]
pub(super) struct Shim {
    socket: StdStream,
    pid: i32,
}

/// A shim that has its specification.
pub(super) struct Sent {
    pub(super) stream: UnixStream,
    pub(super) pid: i32,
    /// What of the specification the socket did not take at once.
    pub(super) rest: Vec<u8>,
}

impl Nursery {
    pub(super) fn new(data_dir: &Path, descriptors: GivenLimit) -> io::Result<Self> {
        Ok(Self(Rc::new(Inner {
            data_dir: data_dir.to_owned(),
            descriptors,
            image: RefCell::new(ShimImage::new(data_dir)?),
            spare: RefCell::new(None),
            starts: Cell::new(0),
            renewing: Cell::new(false),
        })))
    }

    /// Gives a shim its specification, its lock and what it keeps.
    pub(super) fn start(
        &self,
        frame: &[u8],
        lock: &File,
        socket: Option<&OwnedFd>,
    ) -> io::Result<Sent> {
        self.0.starts.set(self.0.starts.get() + 1);
        self.prepare();
        let spare = self.0.spare.borrow_mut().take();
        if let Some(spare) = spare {
            let pid = spare.pid;
            match spare.send(frame, lock, socket) {
                Ok(sent) => return Ok(sent),
                // Somebody has killed it while it waited.
                Err(_) => drop(actix_rt::spawn(link::reap(pid))),
            }
        }
        self.0.spawn()?.send(frame, lock, socket)
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
                *inner.spare.borrow_mut() = inner.spawn().ok();
            }
            return;
        }
        drop(inner);
        tokio::time::sleep(CALM).await;
    }
}

impl Inner {
    fn spawn(&self) -> io::Result<Shim> {
        let mut image = self.image.borrow_mut();
        Shim::spawn(&mut image, &self.data_dir, self.descriptors)
    }
}

/// A machine without /proc, or one that forbids executable memfds.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
    )
}

fn spawn(image: &ShimImage, descriptors: GivenLimit) -> io::Result<Shim> {
    let (socket, theirs) = StdStream::pair()?;
    socket.set_nonblocking(true)?;
    // It writes its service's name over this: the room must be there.
    let waiting = "supervisor-shim (spare)";
    let room = "supervisor-shim ".len() + ServiceName::MAX_BYTES;
    // Waited for by its pid, in link::reap: another task may adopt it.
    let child = Command::new(image.path())
        .arg0(format!("{waiting:room$}"))
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // It waits for its specification, so its service never sees another one.
    descriptors.give_to(child.id());
    let pid = i32::try_from(child.id()).unwrap_or_default();
    Ok(Shim { socket, pid })
}

impl Shim {
    /// Starts one. Where memory may not be executed the image becomes a file.
    pub(super) fn spawn(
        image: &mut ShimImage,
        data_dir: &Path,
        descriptors: GivenLimit,
    ) -> io::Result<Self> {
        match spawn(image, descriptors) {
            Err(error) if is_refused(&error) && image.is_memory() => {
                let on_disk = ShimImage::on_disk(data_dir)?;
                let shim = spawn(&on_disk, descriptors)?;
                *image = on_disk;
                Ok(shim)
            }
            other => other,
        }
    }

    /// Its number, for whoever waits for its end.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Gives it its specification, and descriptors with it.
    pub(super) fn send(
        self,
        frame: &[u8],
        companion: &File,
        socket: Option<&OwnedFd>,
    ) -> io::Result<Sent> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let socket = socket.map(OwnedFd::as_fd);
        let along: Vec<_> = std::iter::once(companion.as_fd()).chain(socket).collect();
        control.push(SendAncillaryMessage::ScmRights(&along));
        let parts = [IoSlice::new(frame)];
        let sent = rustix::net::sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL)?;
        Ok(Sent {
            stream: UnixStream::from_std(self.socket)?,
            pid: self.pid,
            rest: frame[sent..].to_vec(),
        })
    }
}
