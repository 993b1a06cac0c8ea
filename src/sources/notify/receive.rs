//! The socket: read with the sender's credentials.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};

use supervisor_core::notify::MOST_BYTES;

use super::failed;
use super::sender::Sender;

/// Room for the credentials and a few descriptors; those that find no room the kernel closes.
const CONTROL: usize = 256;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket(UnixDatagram);

/// What was received. What it carries is closed when it is dropped.
pub(super) struct Datagram<'a> {
    pub(super) bytes: &'a [u8],
    /// It was longer than what is read.
    pub(super) cut: bool,
    pub(super) sender: Sender,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Memory for control messages, aligned as the kernel wants it.
#[repr(align(8))]
struct Control(MaybeUninit<[u8; CONTROL]>);

impl Socket {
    pub(super) fn bind(address: &SocketAddr) -> io::Result<Self> {
        let socket = UnixDatagram::bind_addr(address)?;
        socket.set_nonblocking(true)?;
        let on: libc::c_int = 1;
        // SAFETY: the pointer and the length are those of a local that outlives the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSCRED,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(failed());
        }
        Ok(Self(socket))
    }

    /// One that was bound so before and kept.
    pub(super) fn kept(descriptor: OwnedFd) -> Self {
        Self(UnixDatagram::from(descriptor))
    }

    /// Another descriptor of it, to be kept.
    ///
    /// # Errors
    /// Where there is none left.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }

    /// Receives one datagram, if one waits.
    ///
    /// # Errors
    /// Where the kernel has one.
    pub(super) fn receive(&self, take: impl FnOnce(Datagram<'_>)) -> io::Result<bool> {
        // On the stack: one page of it is touched for the usual datagram, none is allocated.
        let mut bytes = MaybeUninit::<[u8; MOST_BYTES]>::uninit();
        let mut control = Control(MaybeUninit::uninit());
        let mut part = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: MOST_BYTES,
        };
        // SAFETY: all zeros is an empty header.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let length = loop {
            // SAFETY: the header points to memory of the given lengths, alive and ours.
            let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, flags) };
            if let Ok(length) = usize::try_from(length) {
                break length.min(MOST_BYTES);
            }
            let error = failed();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(false),
                _ => return Err(error),
            }
        };
        // SAFETY: the kernel has filled the header and what it points to.
        let (sender, descriptors) = unsafe { carried(&header) };
        // SAFETY: the kernel wrote that many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), length) };
        take(Datagram {
            bytes,
            cut: header.msg_flags & libc::MSG_TRUNC != 0,
            sender,
            descriptors,
        });
        Ok(true)
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who sent it, and the descriptors that came with it, which are ours to close.
///
/// # Safety
/// The header has been filled by `recvmsg`, and its descriptors belong to nobody else.
unsafe fn carried(header: &libc::msghdr) -> (Sender, Vec<OwnedFd>) {
    let mut sender = Sender::NOBODY;
    let mut descriptors = Vec::new();
    // SAFETY: the macros stay within the control memory that the kernel has described.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = at.as_ref() {
            let data = libc::CMSG_DATA(at);
            #[allow(
                clippy::unnecessary_cast,
                reason = "the type differs between C libraries"
            )]
            let length = message.cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                    let who = data.cast::<libc::ucred>().read_unaligned();
                    sender = Sender {
                        pid: who.pid,
                        uid: who.uid,
                    };
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for n in 0..length / size_of::<RawFd>() {
                        let fd = data.cast::<RawFd>().add(n).read_unaligned();
                        descriptors.push(OwnedFd::from_raw_fd(fd));
                    }
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    (sender, descriptors)
}
