//! What an earlier supervisor, or a broken connection, left of a generation.
//!
//! The lock says whether the shim lives, its socket what it does, the exit record how the
//! service ended, the start record whom to look for if the shim is gone. In this order, as
//! each can change into the next while we look, never back.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

use supervisor_core::event::Exit;
use supervisor_shim::protocol::{self, Frame, key, kind};

use super::doubt::Doubt;
use super::records::{ExitRecord, GenerationDir, StartRecord};

/// How long a shim that holds its lock may be silent before it is taken for hung and ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long until it is continued, should somebody have stopped it.
const SUSPICIOUS: Duration = Duration::from_secs(1);
/// Between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What was found.
pub(super) enum Found {
    /// Its shim lives and speaks.
    Connected {
        /// The connection.
        stream: UnixStream,
        /// The payload of its `hello`.
        hello: Vec<u8>,
        /// What came behind it.
        rest: Vec<u8>,
        /// What came along.
        socket: Option<OwnedFd>,
    },
    /// It has ended, whole.
    Ended(Exit),
    /// Its shim is gone; whether others live must be looked for.
    Lost {
        /// What ran.
        record: StartRecord,
        /// How main ended, if its shim lived to see that.
        exit: Option<ExitRecord>,
    },
    /// No trace.
    Nothing,
}

/// Why a shim that holds its lock was not heard.
enum Silent {
    /// It does not listen yet, or is just ending: look again.
    SoFar,
    /// It took the connection and said nothing for all our patience.
    ForLong,
    /// We could not listen: for want of descriptors or memory, or because a disk is sick.
    Unheard(io::Error),
}

impl Silent {
    /// Why a connection failed: by the shim that does not listen yet, or is ending, or has its
    /// queue full; or by us.
    fn because(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof, WouldBlock,
        };
        match error.kind() {
            NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof
            | WouldBlock => Self::SoFar,
            _ => Self::Unheard(error),
        }
    }
}

/// Looks at a generation until it is clear what it is.
pub(super) async fn inspect(dir: &GenerationDir, boot_id: &str, doubt: &mut Doubt) -> Found {
    let mut pause = FIRST_PAUSE;
    let mut waited = Duration::ZERO;
    let mut continued = false;
    loop {
        let exit = doubt.ask(|| dir.exit_record()).await;
        if let Some(exit) = exit.filter(|exit| !exit.left) {
            return Found::Ended(exit.exit());
        }
        if !doubt.ask(|| dir.has_shim()).await {
            return without_shim(dir, boot_id, doubt).await;
        }
        let patience = if continued { PATIENCE } else { SUSPICIOUS };
        match connect(dir, patience).await {
            Ok(found) => return found,
            Err(Silent::SoFar) => {}
            Err(Silent::ForLong) => waited += patience,
            Err(Silent::Unheard(error)) => {
                // Not counted: it is not the shim's silence.
                doubt.of(&error).await;
                continue;
            }
        }
        if waited >= SUSPICIOUS && !continued {
            dir.signal_shim(boot_id, libc::SIGCONT);
            continued = true;
        }
        if waited >= PATIENCE {
            dir.end_hung_shim(boot_id);
        }
        if waited >= PATIENCE * 2 {
            // Locked by nobody whom we could name.
            return Found::Nothing;
        }
        // Counted in pauses, not by a clock: if we were stopped meanwhile, so that the shim
        // had no chance either, that does not count.
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn without_shim(dir: &GenerationDir, boot_id: &str, doubt: &mut Doubt) -> Found {
    // Again: it may have been written between the first look and the end of the shim.
    let exit = doubt.ask(|| dir.exit_record()).await;
    if let Some(whole) = exit.as_ref().filter(|exit| !exit.left) {
        return Found::Ended(whole.exit());
    }
    match (doubt.ask(|| dir.start_record()).await, exit) {
        (Some(record), exit) if record.boot_id == boot_id => Found::Lost { record, exit },
        // Of another boot: whatever ran has ended with it.
        (_, Some(exit)) => Found::Ended(exit.exit()),
        (_, None) => Found::Nothing,
    }
}

/// Connects and waits for `hello`.
async fn connect(dir: &GenerationDir, patience: Duration) -> Result<Found, Silent> {
    let stream = open_socket(dir).await.map_err(Silent::because)?;
    let mut buffer = Vec::new();
    let mut socket = None;
    loop {
        while let Ok(Some((payload, used))) = protocol::first_frame(&buffer) {
            let hello = payload.to_vec();
            buffer.drain(..used);
            let Some(frame) = Frame::parse(&hello) else {
                continue;
            };
            let starting = frame.get(key::STATE) == Some(b"starting");
            if frame.kind == kind::START_FAILED.as_bytes() {
                return Ok(Found::Nothing);
            }
            // `started` carries what `hello` would, once it has started.
            let known = [kind::HELLO, kind::STARTED]
                .iter()
                .any(|kind| frame.kind == kind.as_bytes());
            if known && !starting && frame.get(key::STATE) != Some(b"gone") {
                return Ok(Found::Connected {
                    stream,
                    hello,
                    rest: buffer,
                    socket,
                });
            }
        }
        // Reading comes first, so that a timeout that passed while we were stopped ourselves
        // does not count. A readiness may be dropped: it is found again.
        tokio::select! {
            biased;
            ready = stream.readable() => ready.map_err(Silent::because)?,
            () = tokio::time::sleep(patience) => return Err(Silent::ForLong),
        }
        receive(&stream, &mut buffer, &mut socket).map_err(Silent::because)?;
    }
}

/// Appends some of what there is, and takes a descriptor that comes along.
fn receive(
    stream: &UnixStream,
    buffer: &mut Vec<u8>,
    socket: &mut Option<OwnedFd>,
) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = stream.try_io(Interest::READABLE, || {
        let mut parts = [IoSliceMut::new(&mut chunk)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(stream, &mut parts, &mut control, flags)?;
        Ok((received.bytes, received.flags))
    });
    match received {
        Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok((count, flags)) => {
            buffer.extend_from_slice(&chunk[..count]);
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    *socket = descriptors.last().or(socket.take());
                }
            }
            if socket.is_none() && flags.contains(ReturnFlags::CTRUNC) {
                // It came along, and we had no room for it: the next connection brings it again.
                return Err(io::Error::from_raw_os_error(libc::EMFILE));
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// The directory's path may be longer than a socket's address holds, so through /proc. Never
/// blocks, not even where a hung shim's queue of connections is full.
async fn open_socket(dir: &GenerationDir) -> io::Result<UnixStream> {
    let opened = File::open(&dir.path)?;
    let short = format!("/proc/self/fd/{}/{}", opened.as_raw_fd(), protocol::SOCKET);
    UnixStream::connect(short).await
}
