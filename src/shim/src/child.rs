//! The child, between fork and exec: it takes on the service's identity and executes it.

use crate::protocol::Stage;
use crate::spec::ChildSpec;
use crate::sys::{self, Errno, Fd, signal};
use crate::text::Text;

/// How long a program that somebody is writing is tried again.
const BUSY_TRIES: u32 = 50;
const BUSY_WAIT_MS: u64 = 20;

/// The descriptors that the child needs.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    /// The log pipe's write end.
    pub output: Fd,
    /// Where to say what failed; closed by a successful exec.
    pub failure: Fd,
}

/// Becomes the service. Comes back only when that failed, with where and why.
pub fn become_service(
    spec: &mut ChildSpec<'_>,
    streams: Streams,
    umask: u32,
    shim: i32,
) -> (Stage, Errno) {
    match prepare(spec, streams, umask, shim) {
        Ok(()) => (Stage::Exec, exec(spec)),
        Err(failed) => failed,
    }
}

/// Says what failed, from the child.
pub fn report(failure: Fd, stage: Stage, errno: Errno) {
    let mut told = [0_u8; 8];
    told[..4].copy_from_slice(&(stage as u32).to_ne_bytes());
    told[4..].copy_from_slice(&errno.0.to_ne_bytes());
    let _ = sys::write_all(failure, &told);
}

/// What the child said: nothing, where it has executed.
pub fn read_report(failure: Fd) -> sys::Result<Option<(Stage, Errno)>> {
    let mut told = [0_u8; 8];
    if sys::read(failure, &mut told)? != told.len() {
        return Ok(None);
    }
    let number = |at: usize| [told[at], told[at + 1], told[at + 2], told[at + 3]];
    let stage = u32::from_ne_bytes(number(0)) as usize;
    let stage = Stage::ALL.get(stage).copied().unwrap_or(Stage::Setup);
    Ok(Some((stage, Errno(i32::from_ne_bytes(number(4))))))
}

fn prepare(
    spec: &ChildSpec<'_>,
    streams: Streams,
    umask: u32,
    shim: i32,
) -> core::result::Result<(), (Stage, Errno)> {
    let at = |stage: Stage| move |errno: Errno| (stage, errno);
    sys::setsid().map_err(at(Stage::Setup))?;
    // Our own descriptor 0 is /dev/null already.
    for standard in [1, 2] {
        sys::dup_onto(streams.output, standard).map_err(at(Stage::Setup))?;
    }
    // All of ours are closed on exec already; this is for what a debugger or a future line
    // forgets. Kernels before 5.11 lack it.
    let _ = sys::close_from(3, true);
    sys::umask(spec.umask.unwrap_or(umask));
    if let Some(nice) = spec.nice {
        sys::set_nice(nice).map_err(at(Stage::Nice))?;
    }
    for &(resource, value) in spec.limits() {
        sys::set_limit(resource, value).map_err(at(Stage::Limits))?;
    }
    if let Some(gid) = spec.gid {
        sys::set_groups(spec.groups()).map_err(at(Stage::User))?;
        sys::set_gid(gid).map_err(at(Stage::User))?;
    }
    if let Some(uid) = spec.uid {
        sys::set_uid(uid).map_err(at(Stage::User))?;
        sys::prctl(sys::pr::SET_NO_NEW_PRIVS, 1).map_err(at(Stage::User))?;
    }
    // After the change of user, which takes it back. A shim that is killed before it has
    // written down whom it started must not leave somebody who executes later.
    die_with_shim(true);
    if sys::getppid() != shim {
        sys::exit(127);
    }
    // As the user: a directory that only root may enter is an error here, not later.
    sys::chdir(spec.cwd).map_err(at(Stage::Cwd))?;
    sys::block_signals(false);
    Ok(())
}

/// Whether we die when our shim does. Never a service: it is ended by its signals.
fn die_with_shim(on: bool) {
    let signal = if on { signal::KILL } else { 0 };
    let _ = sys::prctl(sys::pr::SET_PDEATHSIG, signal as usize);
}

fn exec(spec: &mut ChildSpec<'_>) -> Errno {
    // The pid is known only here; clients with a wrong WATCHDOG_PID stay silent.
    let mut watchdog = Text::<40>::new();
    if spec.watchdog {
        watchdog.push(b"WATCHDOG_PID=");
        watchdog.push_number(i64::from(sys::getpid()));
        let free = spec.envp.len() - 2;
        spec.envp[free] = watchdog.as_bytes().as_ptr();
    }
    let Some(&program) = spec.argv.first().filter(|program| !program.is_null()) else {
        return Errno::EINVAL;
    };
    // SAFETY: the arguments point into the frame, each ended by a NUL.
    let program = unsafe { core::ffi::CStr::from_ptr(program.cast()) }.to_bytes();
    if program.contains(&b'/') {
        return try_exec(spec, b"", program);
    }
    // As execvp: what may not be executed here may stand further on; said in the end.
    let mut result = Errno::ENOENT;
    for dir in spec.path.to_bytes().split(|&byte| byte == b':') {
        match try_exec(spec, if dir.is_empty() { b"." } else { dir }, program) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => result = Errno::EACCES,
            other => return other,
        }
    }
    result
}

fn try_exec(spec: &ChildSpec<'_>, dir: &[u8], program: &[u8]) -> Errno {
    let mut path = Text::<4096>::new();
    path.push(dir);
    if !dir.is_empty() {
        path.push(b"/");
    }
    path.push(program);
    if !path.is_whole() {
        return Errno::ENAMETOOLONG;
    }
    let mut tries = 0;
    loop {
        die_with_shim(false);
        let errno = sys::exec(path.as_bytes().as_ptr(), spec.argv, spec.envp);
        die_with_shim(true);
        tries += 1;
        if errno != Errno::ETXTBSY || tries > BUSY_TRIES {
            return errno;
        }
        sys::sleep_ms(BUSY_WAIT_MS);
    }
}
