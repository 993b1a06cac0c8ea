//! The system calls that the shim needs, without a libc. Thin: names and meanings are the
//! kernel's. Only calls that every architecture has (`openat`, never `open`).

use core::arch::asm;
use core::ffi::CStr;

/// An error number of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What a call gives.
pub type Result<T> = core::result::Result<T, Errno>;

macro_rules! errnos {
    ($($name:ident = $number:literal),+ $(,)?) => {
        #[allow(missing_docs)]
        impl Errno { $(pub const $name: Self = Self($number);)+ }
    };
}

errnos!(
    EPERM = 1,
    ENOENT = 2,
    EINTR = 4,
    E2BIG = 7,
    ENOEXEC = 8,
    ECHILD = 10,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EEXIST = 17,
    ENOTDIR = 20,
    EINVAL = 22,
    ETXTBSY = 26,
    EPIPE = 32,
    ENAMETOOLONG = 36,
    ENOSYS = 38,
);

macro_rules! numbers {
    ($($name:ident $x86:literal $generic:literal),+ $(,)?) => {
        /// Call numbers: x86_64 has its own table, newer architectures share one.
        mod number {
            $(
                #[cfg(target_arch = "x86_64")]
                pub(super) const $name: usize = $x86;
                #[cfg(not(target_arch = "x86_64"))]
                pub(super) const $name: usize = $generic;
            )+
        }
    };
}

numbers!(
    READ 0 63, WRITE 1 64, CLOSE 3 57, LSEEK 8 62, MMAP 9 222, MUNMAP 11 215,
    RT_SIGACTION 13 134, RT_SIGPROCMASK 14 135, MADVISE 28 233, NANOSLEEP 35 101,
    GETPID 39 172, SOCKET 41 198, SENDTO 44 206, BIND 49 200, LISTEN 50 201,
    SENDMSG 46 211, RECVMSG 47 212,
    GETSOCKOPT 55 209, CLONE 56 220, EXECVE 59 221, WAIT4 61 260, KILL 62 129,
    FCNTL 72 25, FSYNC 74 82, CHDIR 80 49, FCHOWN 93 55, UMASK 95 166, GETEUID 107 175, GETPPID 110 173,
    SETSID 112 157, SETGROUPS 116 159, SETRESUID 117 147, SETRESGID 119 149,
    SETPRIORITY 141 140, PRCTL 157 167, GETDENTS64 217 61, CLOCK_GETTIME 228 113,
    EXIT_GROUP 231 94, OPENAT 257 56, MKDIRAT 258 34, UNLINKAT 263 35, PPOLL 271 73,
    ACCEPT4 288 242, SIGNALFD4 289 74, DUP3 292 24, PIPE2 293 59, PRLIMIT64 302 261,
    RENAMEAT2 316 276, STATX 332 291, PIDFD_SEND_SIGNAL 424 424, PIDFD_OPEN 434 434,
    CLONE3 435 435, CLOSE_RANGE 436 436,
);

#[cfg(target_arch = "x86_64")]
unsafe fn call6(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller answers for the arguments; the kernel keeps all but rax, rcx, r11.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") args[0],
            in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            in("r9") args[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn call6(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller answers for the arguments.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] => result, in("x1") args[1],
            in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack));
    }
    result
}

#[cfg(target_arch = "riscv64")]
unsafe fn call6(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller answers for the arguments.
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") args[0] => result, in("a1") args[1],
            in("a2") args[2], in("a3") args[3], in("a4") args[4], in("a5") args[5],
            options(nostack));
    }
    result
}

fn check(result: isize) -> Result<usize> {
    if (-4095..0).contains(&result) {
        Err(Errno((-result) as i32))
    } else {
        Ok(result as usize)
    }
}

macro_rules! call {
    ($number:ident $(, $arg:expr)* $(,)?) => {{
        let given = [$($arg as usize),*];
        let mut args = [0_usize; 6];
        args[..given.len()].copy_from_slice(&given);
        // SAFETY: each wrapper below passes what its call expects; borrowed memory outlives it.
        check(unsafe { call6(number::$number, args) })
    }};
}

/// A file descriptor; −1 where there is none.
pub type Fd = i32;

/// No descriptor.
pub const NONE: Fd = -1;

const AT_FDCWD: isize = -100;

#[allow(missing_docs)]
pub mod flag {
    pub const O_RDONLY: i32 = 0;
    pub const O_WRONLY: i32 = 1;
    pub const O_RDWR: i32 = 2;
    pub const O_CREAT: i32 = 0o100;
    pub const O_TRUNC: i32 = 0o1000;
    pub const O_APPEND: i32 = 0o2000;
    pub const O_NONBLOCK: i32 = 0o4000;
    pub const O_CLOEXEC: i32 = 0o2_000_000;
    pub const POLLIN: i16 = 1;
    pub const AT_REMOVEDIR: i32 = 0x200;
}

#[allow(missing_docs)]
pub mod signal {
    pub const HUP: i32 = 1;
    pub const KILL: i32 = 9;
    pub const TERM: i32 = 15;
    pub const CHLD: i32 = 17;
    pub const CONT: i32 = 18;
}

// === files ===

/// `openat`; relative to the working directory with [`NONE`].
pub fn open(dir: Fd, path: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    let dir = if dir == NONE { AT_FDCWD } else { dir as isize };
    call!(OPENAT, dir, path.as_ptr(), flags | flag::O_CLOEXEC, mode).map(|fd| fd as Fd)
}

/// Closes, ignoring what cannot be helped; [`NONE`] is fine.
pub fn close(fd: Fd) {
    if fd != NONE {
        let _ = call!(CLOSE, fd);
    }
}

/// Reads what there is.
pub fn read(fd: Fd, into: &mut [u8]) -> Result<usize> {
    retry(|| call!(READ, fd, into.as_mut_ptr(), into.len()))
}

/// Writes what fits.
pub fn write(fd: Fd, bytes: &[u8]) -> Result<usize> {
    retry(|| call!(WRITE, fd, bytes.as_ptr(), bytes.len()))
}

/// Writes all or fails.
pub fn write_all(fd: Fd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let count = write(fd, bytes)?;
        bytes = &bytes[count..];
    }
    Ok(())
}

fn retry(mut attempt: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match attempt() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// `lseek`.
pub fn seek(fd: Fd, offset: isize, whence: i32) -> Result<usize> {
    call!(LSEEK, fd, offset, whence)
}

/// `fsync`.
pub fn fsync(fd: Fd) -> Result<()> {
    call!(FSYNC, fd).map(drop)
}

/// `renameat2` within one directory, or by path with [`NONE`].
pub fn rename(dir: Fd, from: &CStr, to: &CStr) -> Result<()> {
    let dir = if dir == NONE { AT_FDCWD } else { dir as isize };
    call!(RENAMEAT2, dir, from.as_ptr(), dir, to.as_ptr(), 0).map(drop)
}

/// `unlinkat`.
pub fn unlink(dir: Fd, path: &CStr, flags: i32) -> Result<()> {
    let dir = if dir == NONE { AT_FDCWD } else { dir as isize };
    call!(UNLINKAT, dir, path.as_ptr(), flags).map(drop)
}

/// `mkdir`.
pub fn mkdir(path: &CStr, mode: u32) -> Result<()> {
    call!(MKDIRAT, AT_FDCWD, path.as_ptr(), mode).map(drop)
}

/// `chdir`.
pub fn chdir(path: &CStr) -> Result<()> {
    call!(CHDIR, path.as_ptr()).map(drop)
}

/// `fchown`.
pub fn fchown(fd: Fd, uid: u32, gid: u32) -> Result<()> {
    call!(FCHOWN, fd, uid, gid).map(drop)
}

/// `getdents64`.
pub fn read_dir(fd: Fd, into: &mut [u8]) -> Result<usize> {
    call!(GETDENTS64, fd, into.as_mut_ptr(), into.len())
}

/// Which file it is, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// Device and inode.
    pub identity: (u64, u64),
    /// In bytes.
    pub size: u64,
}

/// The kernel's `struct statx`, as far as we look.
#[repr(C)]
struct Statx {
    head: [u32; 8],
    ino: u64,
    size: u64,
    middle: [u64; 10],
    rdev: [u32; 2],
    dev: [u32; 2],
    tail: [u64; 14],
}

const _: () = assert!(size_of::<Statx>() == 256);

/// `statx` of a path, or of a descriptor with an empty one.
pub fn file_id(fd: Fd, path: &CStr) -> Result<FileId> {
    const AT_EMPTY_PATH: i32 = 0x1000;
    const STATX_INO_SIZE: u32 = 0x100 | 0x200;
    // SAFETY: all zeros is a valid Statx.
    let mut out: Statx = unsafe { core::mem::zeroed() };
    let dir = if fd == NONE { AT_FDCWD } else { fd as isize };
    call!(
        STATX,
        dir,
        path.as_ptr(),
        AT_EMPTY_PATH,
        STATX_INO_SIZE,
        &raw mut out
    )?;
    Ok(FileId {
        identity: (u64::from(out.dev[0]) << 32 | u64::from(out.dev[1]), out.ino),
        size: out.size,
    })
}

/// `dup3` without close-on-exec.
pub fn dup_onto(from: Fd, to: Fd) -> Result<()> {
    call!(DUP3, from, to, 0).map(drop)
}

/// A copy at `lowest` or above, closed on exec.
pub fn dup_above(fd: Fd, lowest: Fd) -> Result<Fd> {
    const F_DUPFD_CLOEXEC: i32 = 1030;
    call!(FCNTL, fd, F_DUPFD_CLOEXEC, lowest).map(|fd| fd as Fd)
}

/// Makes a descriptor's reads return at once.
pub fn set_nonblocking(fd: Fd) -> Result<()> {
    const F_SETFL: i32 = 4;
    call!(FCNTL, fd, F_SETFL, flag::O_NONBLOCK).map(drop)
}

/// A pipe, closed on exec: (read, write).
pub fn pipe() -> Result<(Fd, Fd)> {
    let mut fds = [NONE; 2];
    call!(PIPE2, fds.as_mut_ptr(), flag::O_CLOEXEC)?;
    Ok((fds[0], fds[1]))
}

/// Closes all from `first` on, or marks them to be closed on exec.
pub fn close_from(first: Fd, on_exec_only: bool) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    let how = if on_exec_only { CLOSE_RANGE_CLOEXEC } else { 0 };
    call!(CLOSE_RANGE, first, u32::MAX, how).map(drop)
}

// === memory ===

/// Fresh zeroed pages, never given back unless by [`unmap`].
pub fn map(length: usize) -> Result<&'static mut [u8]> {
    const PROT_READ_WRITE: i32 = 3;
    const MAP_PRIVATE_ANONYMOUS: i32 = 0x22;
    let at = call!(
        MMAP,
        0,
        length,
        PROT_READ_WRITE,
        MAP_PRIVATE_ANONYMOUS,
        -1_isize,
        0
    )?;
    // SAFETY: the kernel has just given us these pages for ourselves alone.
    Ok(unsafe { core::slice::from_raw_parts_mut(at as *mut u8, length) })
}

/// Gives pages back; the slice begins on a page of 4 kB. Where pages are larger, what lies in
/// one with something else stays as it is.
pub fn unmap(pages: &'static mut [u8]) {
    if call!(MUNMAP, pages.as_mut_ptr(), pages.len()).is_err()
        && let Some(pages) = pages.get_mut(to_any_page(pages.as_ptr())..)
        && !pages.is_empty()
    {
        let _ = call!(MUNMAP, pages.as_mut_ptr(), pages.len());
    }
}

/// Forgets the content of pages but keeps the addresses; the slice begins on a page of 4 kB.
pub fn forget(pages: &mut [u8]) {
    const MADV_DONTNEED: i32 = 4;
    let _ = call!(MADVISE, pages.as_mut_ptr(), pages.len(), MADV_DONTNEED);
}

/// How far the next page begins, however large the kernel's are.
fn to_any_page(at: *const u8) -> usize {
    const LARGEST: usize = 64 << 10;
    (at as usize).next_multiple_of(LARGEST) - at as usize
}

/// Gives back the pages of the stack that the present call does not need: what a start has
/// dirtied there would stay ours for years.
#[inline(never)]
pub fn forget_stack() {
    const DEEPEST: usize = 128 << 10;
    /// Below the stack pointer, but still in use on x86-64.
    const RED_ZONE: usize = 256;
    const MADV_DONTNEED: i32 = 4;
    let end = (stack_pointer() - RED_ZONE) & !0xfff;
    // Only what is below us: the kernel skips what was never touched.
    let _ = call!(MADVISE, end - DEEPEST, DEEPEST, MADV_DONTNEED);
}

fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "riscv64")]
        asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

// === processes ===

/// Ends this process.
pub fn exit(code: i32) -> ! {
    loop {
        let _ = call!(EXIT_GROUP, code);
    }
}

/// Our pid.
#[must_use]
pub fn getpid() -> i32 {
    call!(GETPID).map_or(0, |pid| pid as i32)
}

/// Our parent's pid.
#[must_use]
pub fn getppid() -> i32 {
    call!(GETPPID).map_or(0, |pid| pid as i32)
}

/// Our effective user.
#[must_use]
pub fn geteuid() -> u32 {
    call!(GETEUID).map_or(u32::MAX, |uid| uid as u32)
}

/// `setsid`.
pub fn setsid() -> Result<()> {
    call!(SETSID).map(drop)
}

/// The kernel's `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks, straight into a cgroup where a descriptor of one is given: 0 in the child.
pub fn fork(cgroup: Fd) -> Result<i32> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    if cgroup != NONE {
        let args = CloneArgs {
            flags: CLONE_INTO_CGROUP,
            exit_signal: signal::CHLD as u64,
            cgroup: cgroup as u64,
            ..CloneArgs::default()
        };
        match call!(CLONE3, &raw const args, size_of::<CloneArgs>()) {
            Err(Errno::EAGAIN) => return Err(Errno::EAGAIN),
            Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
            // Not there (old kernel, seccomp), or the cgroup does not take it: the cgroup is
            // a convenience, the subreaper finds the tree as well.
            Err(_) => {}
            Ok(pid) => return Ok(pid as i32),
        }
    }
    call!(CLONE, signal::CHLD, 0, 0, 0, 0).map(|pid| pid as i32)
}

/// `execve`: returns only an error. Both arrays end with a null pointer.
pub fn exec(path: *const u8, argv: &[*const u8], envp: &[*const u8]) -> Errno {
    match call!(EXECVE, path, argv.as_ptr(), envp.as_ptr()) {
        Ok(_) => Errno(0),
        Err(errno) => errno,
    }
}

/// What `waitpid(-1, WNOHANG)` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// This one, with this wait status.
    Child(i32, i32),
    /// Children live, none has ended.
    Nobody,
    /// There are no children.
    NoChildren,
}

/// Reaps one ended child, if any.
#[must_use]
pub fn reap() -> Reaped {
    const WNOHANG: i32 = 1;
    let mut status = 0_i32;
    match retry(|| call!(WAIT4, -1_isize, &raw mut status, WNOHANG, 0)) {
        Ok(0) => Reaped::Nobody,
        Ok(pid) => Reaped::Child(pid as i32, status),
        Err(_) => Reaped::NoChildren,
    }
}

/// `kill`; a negative pid is a process group.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    call!(KILL, pid as isize, signal).map(drop)
}

/// `pidfd_open`.
pub fn pidfd_open(pid: i32) -> Result<Fd> {
    call!(PIDFD_OPEN, pid, 0).map(|fd| fd as Fd)
}

/// `pidfd_send_signal`.
pub fn pidfd_kill(pidfd: Fd, signal: i32) -> Result<()> {
    call!(PIDFD_SEND_SIGNAL, pidfd, signal, 0, 0).map(drop)
}

/// Blocks all signals, or none.
pub fn block_signals(all: bool) {
    const SIG_SETMASK: i32 = 2;
    let mask: u64 = if all { u64::MAX } else { 0 };
    let _ = call!(RT_SIGPROCMASK, SIG_SETMASK, &raw const mask, 0, 8);
}

/// Gives every signal its default disposition: what we inherited as ignored would go on.
pub fn default_signals() {
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SIGKILL and SIGSTOP answer EINVAL, rightly.
        let _ = call!(RT_SIGACTION, signal, &raw const default, 0, 8);
    }
}

/// A descriptor that is readable when a child has ended (the signal must be blocked).
pub fn child_signals() -> Result<Fd> {
    const SFD_FLAGS: i32 = flag::O_CLOEXEC | flag::O_NONBLOCK;
    let mask: u64 = 1 << (signal::CHLD - 1);
    call!(SIGNALFD4, -1_isize, &raw const mask, 8, SFD_FLAGS).map(|fd| fd as Fd)
}

/// `prctl` with two arguments.
pub fn prctl(option: i32, argument: usize) -> Result<()> {
    call!(PRCTL, option, argument, 0, 0, 0).map(drop)
}

#[allow(missing_docs)]
pub mod pr {
    pub const SET_PDEATHSIG: i32 = 1;
    pub const SET_NAME: i32 = 15;
    pub const SET_CHILD_SUBREAPER: i32 = 36;
    pub const SET_NO_NEW_PRIVS: i32 = 38;
}

/// Sets the file mode mask, gives the old one.
pub fn umask(mask: u32) -> u32 {
    call!(UMASK, mask).map_or(0o022, |old| old as u32)
}

/// Our niceness.
pub fn set_nice(nice: i32) -> Result<()> {
    call!(SETPRIORITY, 0, 0, nice as isize).map(drop)
}

/// A resource limit, soft and hard.
pub fn set_limit(resource: u32, value: u64) -> Result<()> {
    let limits = [value, value];
    call!(PRLIMIT64, 0, resource, &raw const limits, 0).map(drop)
}

/// The supplementary groups.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    call!(SETGROUPS, groups.len(), groups.as_ptr()).map(drop)
}

/// Real, effective and saved group.
pub fn set_gid(gid: u32) -> Result<()> {
    call!(SETRESGID, gid, gid, gid).map(drop)
}

/// Real, effective and saved user.
pub fn set_uid(uid: u32) -> Result<()> {
    call!(SETRESUID, uid, uid, uid).map(drop)
}

// === sockets ===

/// Listens on a Unix stream socket at this path, which must fit its 108 bytes.
pub fn listen_unix(path: &CStr) -> Result<Fd> {
    const AF_UNIX: i32 = 1;
    const SOCK_STREAM: i32 = 1;
    let bytes = path.to_bytes_with_nul();
    let mut address = [0_u8; 110];
    if bytes.len() > 108 {
        return Err(Errno::ENAMETOOLONG);
    }
    address[..2].copy_from_slice(&(AF_UNIX as u16).to_ne_bytes());
    address[2..2 + bytes.len()].copy_from_slice(bytes);
    let kind = SOCK_STREAM | flag::O_CLOEXEC | flag::O_NONBLOCK;
    let fd = call!(SOCKET, AF_UNIX, kind, 0)? as Fd;
    let bound =
        call!(BIND, fd, address.as_ptr(), 2 + bytes.len()).and_then(|_| call!(LISTEN, fd, 4));
    match bound {
        Ok(_) => Ok(fd),
        Err(errno) => {
            close(fd);
            Err(errno)
        }
    }
}

/// Takes a waiting connection.
pub fn accept(fd: Fd) -> Result<Fd> {
    let flags = flag::O_CLOEXEC | flag::O_NONBLOCK;
    call!(ACCEPT4, fd, 0, 0, flags).map(|fd| fd as Fd)
}

/// The user at the other end.
pub fn peer_uid(fd: Fd) -> Result<u32> {
    const SOL_SOCKET: i32 = 1;
    const SO_PEERCRED: i32 = 17;
    let mut credentials = [0_u32; 3];
    let mut length = 12_u32;
    call!(
        GETSOCKOPT,
        fd,
        SOL_SOCKET,
        SO_PEERCRED,
        credentials.as_mut_ptr(),
        &raw mut length
    )?;
    Ok(credentials[1])
}

/// Sends without waiting and without SIGPIPE.
pub fn send(fd: Fd, bytes: &[u8]) -> Result<usize> {
    const MSG_DONTWAIT_NOSIGNAL: i32 = 0x40 | 0x4000;
    retry(|| {
        call!(
            SENDTO,
            fd,
            bytes.as_ptr(),
            bytes.len(),
            MSG_DONTWAIT_NOSIGNAL,
            0,
            0
        )
    })
}

/// The kernel's `struct msghdr`.
#[repr(C)]
struct MsgHdr {
    name: usize,
    name_length: usize,
    parts: *mut [usize; 2],
    part_count: usize,
    control: *mut Control,
    control_length: usize,
    flags: usize,
}

/// A control message that carries one descriptor.
#[repr(C)]
#[derive(Default)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fd: Fd,
    padding: i32,
}

/// Its length, without what follows the descriptor.
const CONTROL_LENGTH: usize = size_of::<Control>() - size_of::<i32>();
/// The level and kind of one that carries descriptors.
const SCM_RIGHTS: (i32, i32) = (1, 1);

/// Reads, and takes the descriptor that comes along ([`NONE`] where none does).
pub fn receive(fd: Fd, into: &mut [u8]) -> Result<(usize, Fd)> {
    const MSG_CMSG_CLOEXEC: i32 = 0x4000_0000;
    let mut part = [into.as_mut_ptr() as usize, into.len()];
    let mut control = Control::default();
    let mut header = MsgHdr {
        name: 0,
        name_length: 0,
        parts: &raw mut part,
        part_count: 1,
        control: &raw mut control,
        control_length: size_of::<Control>(),
        flags: 0,
    };
    let count = retry(|| call!(RECVMSG, fd, &raw mut header, MSG_CMSG_CLOEXEC))?;
    let came =
        header.control_length >= CONTROL_LENGTH && (control.level, control.kind) == SCM_RIGHTS;
    Ok((count, if came { control.fd } else { NONE }))
}

/// Sends without waiting and without SIGPIPE, and a descriptor along.
pub fn send_with(fd: Fd, bytes: &[u8], along: Fd) -> Result<usize> {
    const MSG_DONTWAIT_NOSIGNAL: i32 = 0x40 | 0x4000;
    let mut part = [bytes.as_ptr() as usize, bytes.len()];
    let mut control = Control {
        length: CONTROL_LENGTH,
        level: SCM_RIGHTS.0,
        kind: SCM_RIGHTS.1,
        fd: along,
        padding: 0,
    };
    let header = MsgHdr {
        name: 0,
        name_length: 0,
        parts: &raw mut part,
        part_count: 1,
        control: &raw mut control,
        control_length: size_of::<Control>(),
        flags: 0,
    };
    retry(|| call!(SENDMSG, fd, &raw const header, MSG_DONTWAIT_NOSIGNAL))
}

/// The kernel's `struct pollfd`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PollFd {
    /// What to look at; a negative one is left out.
    pub fd: Fd,
    /// What for.
    pub events: i16,
    /// What there is.
    pub found: i16,
}

/// Waits until one of them has something, or so many milliseconds.
pub fn poll(fds: &mut [PollFd], timeout_ms: Option<u64>) -> Result<usize> {
    let time = timeout_ms.map(timespec);
    let at = time.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    call!(PPOLL, fds.as_mut_ptr(), fds.len(), at, 0, 8)
}

// === time ===

fn timespec(ms: u64) -> [i64; 2] {
    [(ms / 1000) as i64, (ms % 1000 * 1_000_000) as i64]
}

/// Sleeps.
pub fn sleep_ms(ms: u64) {
    let time = timespec(ms);
    let _ = call!(NANOSLEEP, &raw const time, 0);
}

fn clock(id: i32) -> [i64; 2] {
    let mut time = [0_i64; 2];
    let _ = call!(CLOCK_GETTIME, id, &raw mut time);
    time
}

/// Milliseconds of the monotonic clock.
#[must_use]
pub fn monotonic_ms() -> u64 {
    let [seconds, nanos] = clock(1);
    seconds as u64 * 1000 + nanos as u64 / 1_000_000
}

/// Microseconds since the Unix epoch.
#[must_use]
pub fn wall_us() -> i64 {
    let [seconds, nanos] = clock(0);
    seconds * 1_000_000 + nanos / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_mapped(at: *const u8) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let at = at as usize;
        maps.lines().any(|line| {
            let (range, _) = line.split_once(' ').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let parse = |text| usize::from_str_radix(text, 16).unwrap();
            (parse(from)..parse(to)).contains(&at)
        })
    }

    #[test]
    fn pages_are_given_back_even_if_they_do_not_begin_where_the_kernels_do() {
        let pages = map(192 << 10).unwrap();
        let (first, last) = (pages.as_ptr(), pages[pages.len() - 1..].as_ptr());
        // As where those of the kernel are larger than 4 kB.
        unmap(&mut pages[16..]);
        assert!(is_mapped(first), "it was not ours to give");
        assert!(!is_mapped(last));
    }
}
