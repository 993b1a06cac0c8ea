//! The socket and its senders, with real sockets and real processes.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use supervisor_core::notify::{MOST_BYTES, Noise};

use super::sender::Sender;
use super::*;

/// A socket that no other test uses, and one that sends to it.
fn pair(test: &str) -> (Socket, UnixDatagram) {
    let name = format!("supervisor/test/{}/{test}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = Socket::bind(&address).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect_addr(&address).unwrap();
    (socket, sender)
}

/// How often that file is open: other tests of this process open others.
fn open_descriptors(of: &std::path::Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    links.filter(|link| link == of).count()
}

fn me() -> Sender {
    Sender {
        pid: i32::try_from(std::process::id()).unwrap(),
        uid: nix::unistd::getuid().as_raw(),
    }
}

/// A process of its own session, as a shim's child is, ended when it is dropped.
struct Own(Child);

impl Own {
    fn new(script: &str) -> Self {
        let mut command = Command::new("setsid");
        let command = command.args(["sh", "-c", script]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// The number that it prints first.
    fn line(&mut self) -> i32 {
        use std::io::{BufRead, BufReader};
        let mut line = String::new();
        let output = self.0.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_datagram_comes_with_its_sender_and_an_empty_socket_says_so() {
    let (socket, sender) = pair("sender");
    assert!(!socket.receive(|_| panic!("nothing waits")).unwrap());
    sender.send(b"READY=1").unwrap();
    sender.send(b"").unwrap();
    let mut seen = Vec::new();
    while socket
        .receive(|datagram| seen.push((datagram.bytes.to_vec(), datagram.sender, datagram.cut)))
        .unwrap()
    {}
    assert_eq!(
        seen,
        [
            (b"READY=1".to_vec(), me(), false),
            (Vec::new(), me(), false)
        ]
    );
}

#[test]
fn f70_a_datagram_of_64_kib_or_more_is_known_to_be_cut_or_too_long() {
    let (socket, sender) = pair("long");
    for length in [MOST_BYTES, MOST_BYTES + 1, 2 * MOST_BYTES] {
        let mut long = b"WATCHDOG=1\n".to_vec();
        long.resize(length, b'x');
        sender.send(&long).unwrap();
        let mut read = None;
        socket
            .receive(|datagram| read = Some(parse(datagram.bytes, datagram.cut)))
            .unwrap();
        assert_eq!(read, Some(Err(Noise::Oversized)), "{length}");
    }
}

#[test]
fn f70_descriptors_that_come_along_are_closed_however_many_they_are() {
    let (socket, sender) = pair("descriptors");
    let file = tempfile::NamedTempFile::new().unwrap();
    let stray: Vec<_> = (0..200)
        .map(|_| std::fs::File::open(file.path()).unwrap())
        .collect();
    let raw: Vec<_> = stray.iter().map(AsFd::as_fd).collect();
    let before = open_descriptors(file.path());
    for count in [1, 2, 50, 200] {
        let mut space = [MaybeUninit::uninit(); 2_048];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        assert!(rights.push(SendAncillaryMessage::ScmRights(&raw[..count])));
        let text = [IoSlice::new(b"FDSTORE=1")];
        sendmsg(&sender, &text, &mut rights, SendFlags::empty()).unwrap();
        let mut carried = 0;
        assert!(
            socket
                .receive(|datagram| carried = datagram.descriptors.len())
                .unwrap()
        );
        assert!((1..=count).contains(&carried), "{carried} of {count}");
        assert_eq!(
            open_descriptors(file.path()),
            before,
            "{count} descriptors came along"
        );
    }
}

#[test]
fn a_process_of_the_tree_may_speak_and_no_other() {
    let mut main = Own::new("sleep 1000 & echo $!; wait");
    let child = main.line();
    let mut family = Family::of(main.pid());
    let now = Mono(0);
    let sender = |pid| Sender { pid, ..me() };
    assert!(family.may_speak(Access::All, sender(main.pid()), now));
    assert!(family.may_speak(Access::Main, sender(main.pid()), now));
    assert!(family.may_speak(Access::All, sender(child), now));
    assert!(!family.may_speak(Access::Main, sender(child), now));

    // Whoever runs this test is none of it; this test stands where its shim would.
    let stranger = nix::unistd::getppid().as_raw();
    assert!(!family.may_speak(Access::All, sender(stranger), now));
    // It names its main process anew: only one of its own.
    assert!(!family.name_main(stranger));
    assert!(!family.name_main(i32::MAX));
    assert!(family.name_main(child));
    assert!(family.may_speak(Access::Main, sender(child), now));
    assert!(!family.may_speak(Access::Main, sender(main.pid()), now));
    assert!(family.may_speak(Access::All, sender(main.pid()), now));
    assert_eq!(family.main(), child);
    // The next supervisor is told so, and believes it of exactly that process.
    let mut next = Family::of(main.pid());
    next.remember(&family.note());
    assert_eq!(next.main(), child);
    let mut stranger = Family::of(main.pid());
    stranger.remember(&format!("main {child} 1"));
    assert_eq!(stranger.main(), main.pid(), "another one of that number");
    for nonsense in ["", "main", "main x y", "main 5", "boss 1 2"] {
        let mut family = Family::of(main.pid());
        family.remember(nonsense);
        assert_eq!(family.main(), main.pid());
    }
    // SAFETY: a signal to the test's own child.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let gone = || std::fs::read(format!("/proc/{child}/stat")).is_err();
    while !gone() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(
        family.main(),
        main.pid(),
        "again, now that the other is gone"
    );
    assert_eq!(family.note(), "main");
    assert!(family.may_speak(Access::Main, sender(main.pid()), now));
}

#[test]
fn a_sender_that_is_gone_already_is_known_by_its_user_alone() {
    let main = Own::new("exec sleep 1000");
    let mut family = Family::of(main.pid());
    let gone = i32::MAX - 1;
    let of = |uid| Sender { pid: gone, uid };
    assert!(family.may_speak(Access::All, of(me().uid), Mono(0)));
    assert!(!family.may_speak(Access::Main, of(me().uid), Mono(0)));
    assert!(!family.may_speak(Access::All, of(me().uid + 12_345), Mono(0)));
    assert!(!family.may_speak(Access::All, Sender::NOBODY, Mono(0)));
}

#[test]
fn words_are_said_in_the_order_in_which_they_matter() {
    let said = parse(
        b"WATCHDOG=1\nREADY=1\nSTATUS=up\nWATCHDOG_USEC=1000000",
        false,
    )
    .unwrap();
    assert_eq!(
        words(said),
        [
            Heard::Interval(Duration::from_secs(1)),
            Heard::Status {
                message: "up".to_owned()
            },
            Heard::Ready,
            Heard::Pulse { count: 1 },
        ]
    );
    let said = parse(b"STOPPING=1\nERRNO=2\nWATCHDOG=trigger", false).unwrap();
    let heard = words(said);
    assert!(
        matches!(
            &heard[0],
            Heard::Error {
                critical: false,
                ..
            }
        ),
        "{heard:?}"
    );
    assert_eq!(heard[1], Heard::Stopping);
    assert!(matches!(&heard[2], Heard::Stuck { .. }), "{heard:?}");
    assert_eq!(words(parse(b"FDSTORE=1", false).unwrap()), []);
    // In either order: it is busy from this pulse on.
    let busy = words(parse(b"EXTEND_TIMEOUT_USEC=5\nWATCHDOG=1", false).unwrap());
    let extend = Heard::Extend(Duration::from_micros(5));
    assert_eq!(busy, [Heard::Pulse { count: 1 }, extend]);
    let all = b"READY=1\nRELOADING=1\nSTOPPING=1\nSTATUS=x\nERRNO=1\nBUSERROR=y\nMAINPID=1\n\
        WATCHDOG=1\nWATCHDOG_USEC=5\nEXTEND_TIMEOUT_USEC=5\nBARRIER=1";
    let most = words(parse(all, false).unwrap()).len();
    assert!(
        most < MOST_MESSAGES as usize,
        "there is always room for one datagram"
    );
}
