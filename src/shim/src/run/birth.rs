//! From a spare one to a shim whose service runs, or could not be started.

use super::*;

/// What we inherit: the socket to the supervisor that started us; and, where we are to be a
/// service's, the lock of our directory, already taken, and that directory, which gets its place
/// when we get our service.
const INHERITED: [Fd; 3] = [0, 1, 2];
/// Ours live above what a child gets.
const OWN_FDS: Fd = 10;

/// How long a fork that finds no room is tried again: DESIGN wants a short hiccup survived.
const FORK_TRIES: u32 = 20;
const FORK_WAIT_MS: u64 = 100;
/// What is read from the log pipe at once.
const LOG_BUFFER: usize = 64 << 10;

/// All that can be done before it is known for whom: nothing of it stands in the way of a start.
#[derive(Debug)]
pub struct Ready {
    /// The socket to the supervisor.
    pub supervisor: Fd,
    /// The directory that becomes a generation's.
    pub(super) dir: Fd,
    /// The file mode mask that we were started with.
    pub umask: u32,
    /// Ourselves.
    pub shim: Identity,
    /// Readable when a child has ended.
    pub signals: Fd,
    /// Of what the service prints: (read, write).
    pub(super) output: (Fd, Fd),
    /// Of why it could not be executed: (read, write).
    pub failure: (Fd, Fd),
    pub(super) buffer: &'static mut [u8],
}

/// Leaves everything of the supervisor's behind but what we inherit.
#[inline(never)]
pub(super) fn settle() -> sys::Result<Ready> {
    // Closing first: a descriptor that our starter leaked must not live as long as we do.
    let _ = sys::close_from(3, false);
    let [socket, lock, dir] = INHERITED;
    let supervisor = sys::dup_above(socket, OWN_FDS)?;
    // Held as long as this is open, which is as long as we live.
    sys::dup_above(lock, OWN_FDS)?;
    let dir = sys::dup_above(dir, OWN_FDS)?;
    let null = sys::open(NONE, c"/dev/null", flag::O_RDWR, 0)?;
    for fd in 0..3 {
        sys::dup_onto(null, fd)?;
    }
    sys::close(null);
    sys::block_signals(true);
    sys::default_signals();
    // Fails only where we lead a group already, and then nobody signals that group.
    let _ = sys::setsid();
    sys::prctl(sys::pr::SET_CHILD_SUBREAPER, 1)?;
    sys::prctl(sys::pr::SET_NAME, c"supervisor-shim".as_ptr() as usize)?;
    let umask = sys::umask(0o077);
    sys::chdir(c"/")?;
    let (output, failure) = (sys::pipe()?, sys::pipe()?);
    sys::set_nonblocking(output.0)?;
    sys::set_nonblocking(failure.0)?;
    Ok(Ready {
        supervisor,
        dir,
        umask,
        shim: tree::identity(sys::getpid()),
        signals: sys::child_signals()?,
        output,
        failure,
        buffer: sys::map(LOG_BUFFER)?,
    })
}

/// Reads the first frame into pages of its own: (payload's length, pages, the descriptor that
/// comes with its first byte). For a service that is its notify socket, where it has one; for a
/// command its output.
pub(super) fn read_start(supervisor: Fd) -> Option<(usize, &'static mut [u8], Fd)> {
    let mut head = [0_u8; 4];
    let (count, companion) = sys::receive(supervisor, &mut head).ok()?;
    if count == 0 {
        return None;
    }
    read_exactly(supervisor, &mut head[count..])?;
    let length = u32::from_le_bytes(head) as usize;
    if length == 0 || length > protocol::MAX_FRAME {
        return None;
    }
    let memory = sys::map(length.next_multiple_of(PAGE)).ok()?;
    read_exactly(supervisor, &mut memory[..length])?;
    Some((length, memory, companion))
}

fn read_exactly(fd: Fd, mut into: &mut [u8]) -> Option<()> {
    while !into.is_empty() {
        let count = sys::read(fd, into).ok().filter(|&count| count > 0)?;
        into = &mut into[count..];
    }
    Some(())
}

impl Shim<'_> {
    #[inline(never)]
    pub(super) fn start(
        &mut self,
        frame: Frame<'_>,
        umask: u32,
        output_end: Fd,
        failure_end: Fd,
    ) -> core::result::Result<(), (Stage, Errno)> {
        let setup = |errno| (Stage::Setup, errno);
        sys::set_nonblocking(self.supervisor).map_err(setup)?;
        let pointers = (spec::pointers(frame) * size_of::<*const u8>()).next_multiple_of(PAGE);
        let room_bytes = sys::map(pointers).map_err(setup)?;
        let room_at = room_bytes.as_mut_ptr().cast::<*const u8>();
        // SAFETY: fresh zeroed pages, aligned, of that size; zeros are null pointers.
        let room =
            unsafe { core::slice::from_raw_parts_mut(room_at, pointers / size_of::<*const u8>()) };
        let mut child = spec::child(frame, room);
        if let Some(uid) = child.uid {
            // So that the service may reopen /dev/stdout, as web servers do.
            let _ = sys::fchown(output_end, uid, child.gid.unwrap_or(u32::MAX));
        }
        let streams = Streams {
            output: output_end,
            failure: failure_end,
        };
        let cgroup = self.make_cgroup();
        let mut tries = 0;
        let pid = loop {
            match sys::fork(cgroup) {
                Ok(0) => {
                    let shim = self.shim.pid;
                    let (stage, errno) = child::become_service(&mut child, streams, umask, shim);
                    child::report(failure_end, stage, errno);
                    sys::exit(127);
                }
                Ok(pid) => break pid,
                Err(Errno::EAGAIN | Errno::ENOMEM) if tries < FORK_TRIES => {
                    tries += 1;
                    sys::sleep_ms(FORK_WAIT_MS);
                }
                Err(errno) => return Err((Stage::Fork, errno)),
            }
        };
        sys::close(cgroup);
        // The output's other end stays open: its closing by a service that dies would wake us
        // before the death itself does, and on the same processor in its stead.
        sys::close(failure_end);
        sys::unmap(room_bytes);
        // What else there is to do would be done on the child's processor, before it.
        self.await_exec();
        self.main = tree::identity(pid);
        // Where it cannot be written (a full disk) the service runs all the same: the next
        // supervisor asks us over the socket.
        let _ = record::write_start(self.dir, &self.settings, self.shim, self.main);
        Ok(())
    }

    /// Waits until the child has executed, or failed to, but not for one that takes its time:
    /// it dies with us until it has executed, so no record is missed yet.
    pub(super) fn await_exec(&self) {
        const EXEC_MS: u64 = 20;
        let mut failure = [PollFd {
            fd: self.failure,
            events: flag::POLLIN,
            found: 0,
        }];
        let _ = sys::poll(&mut failure, Some(EXEC_MS));
    }

    /// Makes the service's cgroup and opens it; the subreaper does without as well.
    #[inline(never)]
    pub(super) fn make_cgroup(&self) -> Fd {
        if self.settings.cgroup.is_empty() {
            return NONE;
        }
        /// The last shim to end removes the parent, at worst just now.
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            if sys::mkdir(self.settings.cgroup, 0o755) != Err(Errno::ENOENT) {
                break;
            }
            let _ = sys::mkdir(self.cgroup_parent().as_c(), 0o755);
        }
        sys::open(NONE, self.settings.cgroup, flag::O_RDONLY, 0).unwrap_or(NONE)
    }

    /// The directory of all cgroups of our data directory.
    pub(super) fn cgroup_parent(&self) -> Text<4096> {
        let path = self.settings.cgroup.to_bytes();
        let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let mut parent = Text::new();
        parent.push(&path[..end]);
        parent
    }

    /// The exec has happened, or failed.
    #[inline(never)]
    pub(super) fn on_failure_pipe(&mut self) {
        let told = match child::read_report(self.failure) {
            Err(Errno::EAGAIN) => return,
            told => told,
        };
        sys::close(self.failure);
        self.failure = NONE;
        if let Ok(Some((stage, errno))) = told {
            self.phase = Phase::Failed(stage, errno);
            return;
        }
        self.phase = Phase::Running;
        let (mut pid, mut start) = (Digits::default(), Digits::default());
        self.tell(
            kind::STARTED,
            &[
                (key::PID, pid.of(i64::from(self.main.pid))),
                (key::START_TIME, start.of(self.main.start_time)),
            ],
        );
        self.listen();
        self.oom = OomCount::now();
    }

    #[inline(never)]
    pub(super) fn report_failed(&mut self, stage: Stage, errno: Errno) {
        self.phase = Phase::Gone;
        record::remove_start(self.dir);
        let mut digits = Digits::default();
        self.tell(
            kind::START_FAILED,
            &[
                (key::STAGE, stage.as_str().as_bytes()),
                (key::ERRNO, digits.of(i64::from(errno.0))),
            ],
        );
    }
}

/// Gives the frame's pages back but those of the settings, which stand at its front, and
/// wipes what of the arguments and the environment (secrets) shares a page with them.
pub(super) fn release(frame: Frame<'_>, memory: &'static mut [u8]) {
    let first = frame
        .fields()
        .find(|(name, _)| *name == key::ARG.as_bytes() || *name == key::ENV.as_bytes());
    let Some((name, _)) = first else {
        return;
    };
    let settings_end = name.as_ptr() as usize - memory.as_ptr() as usize;
    let page_end = settings_end.next_multiple_of(PAGE).min(memory.len());
    let (kept, rest) = memory.split_at_mut(page_end);
    kept[settings_end..].fill(0);
    // Where the kernel's pages are larger than ours, some of it stays.
    rest.fill(0);
    if !rest.is_empty() {
        sys::unmap(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_environment_stays_even_where_pages_cannot_be_given_back() {
        let mut bytes = Vec::new();
        let long = [b'x'; 6000];
        let fields: [(&str, &[u8]); 3] = [
            (key::SERVICE, b"web"),
            (key::ENV, b"PASSWORD=secret"),
            (key::ENV, &long),
        ];
        protocol::encode(kind::START, &fields, &mut |piece| {
            bytes.extend_from_slice(piece);
        });
        let payload = &bytes[4..];
        // As where those of the kernel are larger than 4 kB: it is no whole page of its.
        const LARGEST: usize = 64 << 10;
        let pages = sys::map(2 * LARGEST).unwrap();
        let at = pages.as_ptr() as usize;
        let begin = at.next_multiple_of(LARGEST) - at + 16;
        let memory = &mut pages[begin..][..payload.len().next_multiple_of(PAGE)];
        memory[..payload.len()].copy_from_slice(payload);
        let (at, length) = (memory.as_ptr(), memory.len());
        // SAFETY: it stays mapped: `release` cannot give it back.
        let seen = || unsafe { core::slice::from_raw_parts(at, length) };
        let frame = Frame::parse(&seen()[..payload.len()]).unwrap();
        release(frame, memory);
        let contains = |what: &[u8]| seen().windows(what.len()).any(|part| part == what);
        assert!(contains(b"web"), "the settings stay");
        assert!(!contains(b"secret") && !contains(b"xx"));
    }
}
