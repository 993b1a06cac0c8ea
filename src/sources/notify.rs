//! sd_notify: a datagram socket for each service that we run, as systemd gives its services.
//!
//! ```text
//!   a process of the service ── READY=1, WATCHDOG=1, … ──▶ @supervisor/notify/<128 bits>
//!        │ kernel adds pid, uid                                   │ recvmsg, in batches
//!        └───────────── is it of the service's tree? ─────────────┘──▶ Ear
//! ```
//!
//! The socket is abstract, so that a child of any user, in any root directory, reaches it. Its
//! name is an HMAC of the service's name under the key in our data directory: nobody who does
//! not read that directory can guess it (128 bits), and it is the same after our own restart,
//! so that a child that we adopt still reaches us by the name in its environment.
//!
//! Nothing is read before it is known which process is the main one, since a fast child sends
//! READY=1 before we hear of its start: the kernel keeps it. What an older life left in the
//! socket is thrown away before the next begins.

mod receive;
mod sender;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slog::{error, info, warn};
use supervisor_actors::source::{Ear, Heard, Life, Listening, Source};
use supervisor_actors::spec::ServiceSpec;
use supervisor_core::ServiceName;
use supervisor_core::event::Generation;
use supervisor_core::notify::{Said, Watchdog, is_plain_pulse, parse};
use supervisor_core::time::Mono;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify as Bell;
use tokio::task::JoinHandle;

use self::receive::{Datagram, Socket};
use self::sender::{Access, Family};
use super::About;
use crate::adapters::child_token::notify_name;
use crate::adapters::data_dir::read_key;
use crate::config::reader::{Table, Taken};

/// How many datagrams are read before others get their turn.
const BATCH: u32 = 256;

/// The most messages that one datagram can become.
const MOST_MESSAGES: u32 = 12;

/// How long after a failure the socket is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// How often it is said that datagrams were dropped.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// sd_notify as the configuration has it.
#[derive(Debug, PartialEq)]
pub(super) struct Notify {
    access: Access,
    data_dir: PathBuf,
}

/// Takes `notify_access`. Every service that we run has this source.
pub(super) fn read(table: &mut Table<'_>, about: &About<'_>) -> Option<Arc<dyn Source>> {
    let access = table.take("notify_access", |value| {
        value.one_of(&[("all", Access::All), ("main", Access::Main)])
    });
    if !about.ours {
        if let Taken::Given(given) = &access {
            let sink = table.sink();
            let message = format!("`notify_access` without `command` in [{}]", table.shown());
            sink.say(
                sink.at(given.key.clone(), "only for a service that we run", message)
                    .help("add `command`; without it the service has no socket of ours"),
            );
        }
        return None;
    }
    Some(Arc::new(Notify {
        access: access.or(Access::All),
        data_dir: about.data_dir.to_owned(),
    }))
}

impl Source for Notify {
    fn kind(&self) -> &'static str {
        "notify"
    }

    /// A service may be ready without ever pulsing: systemd's `Type=notify` promises nothing
    /// either.
    fn promises(&self) -> bool {
        false
    }

    fn open(&self, service: &ServiceSpec, ear: Ear) -> Box<dyn Listening> {
        let service = &service.name;
        let name = match read_key(&self.data_dir) {
            Ok(key) => format!("supervisor/notify/{}", notify_name(&key, service.as_str())),
            Err(why) => {
                error!(ear.log(), "no notify socket, the key cannot be read";
                    "service" => %service, "error" => %why);
                return Box::new(Deaf);
            }
        };
        let post = Rc::new(Post {
            service: service.clone(),
            access: self.access,
            ear,
            name,
            socket: RefCell::default(),
            life: RefCell::default(),
            changed: Bell::new(),
            lost: Cell::default(),
        });
        post.bind();
        let task = actix_rt::spawn(Rc::clone(&post).listen());
        Box::new(AtWork { post, task })
    }
}

/// One that could not be opened for good.
struct Deaf;

impl Listening for Deaf {}

/// A socket at work.
struct AtWork {
    post: Rc<Post>,
    task: JoinHandle<()>,
}

/// The socket of one service, and what is known of who may write to it.
struct Post {
    service: ServiceName,
    access: Access,
    ear: Ear,
    /// Without the `@` of abstract names.
    name: String,
    socket: RefCell<Option<Rc<AsyncFd<Socket>>>>,
    /// The present life, once its main process is known.
    life: RefCell<Option<Present>>,
    changed: Bell,
    lost: Cell<Lost>,
}

/// A life of the service.
struct Present {
    generation: Generation,
    family: Family,
}

/// What was dropped and not said yet.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    /// From senders who may not.
    strangers: u64,
    /// The last of these.
    pid: i32,
    uid: u32,
    /// What is no message at all.
    noise: u64,
    said: Option<Mono>,
}

impl Listening for AtWork {
    fn environment(&self) -> Vec<(String, String)> {
        vec![("NOTIFY_SOCKET".to_owned(), format!("@{}", self.post.name))]
    }

    fn life(&mut self, life: Life) {
        let post = &self.post;
        match life {
            Life::Starting { .. } => {
                post.life.replace(None);
                post.throw_away();
            }
            Life::Started { generation, pid } => {
                let family = Family::of(pid);
                post.life.replace(Some(Present { generation, family }));
                post.changed.notify_one();
            }
            Life::Ended { .. } => {
                // Its last words came before its end.
                while post.read_batch() == Batch::More {}
                post.life.replace(None);
            }
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.task.abort();
        // At once, so that whoever opens it anew finds the name free.
        self.post.socket.replace(None);
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// The socket is empty.
    Empty,
    /// There may be more.
    More,
    /// Too much of this service waits to be judged.
    Full,
}

impl Post {
    fn bind(&self) -> bool {
        let bound = Socket::bind(&self.name).and_then(|socket| {
            // SAFETY: its descriptor stays the same and open for as long as it lives.
            let registered = unsafe { AsyncFd::register(socket) };
            registered.map_err(io::Error::from)
        });
        match bound {
            Ok(socket) => {
                self.socket.replace(Some(Rc::new(socket)));
                true
            }
            Err(why) => {
                warn!(self.ear.log(), "notify socket cannot be opened, tried again";
                    "service" => %self.service, "error" => %why);
                false
            }
        }
    }

    /// Reads for as long as the service is watched.
    async fn listen(self: Rc<Self>) {
        while self.socket.borrow().is_none() && !self.bind() {
            tokio::time::sleep(AGAIN).await;
        }
        loop {
            if self.life.borrow().is_none() {
                self.changed.notified().await;
                continue;
            }
            let Some(socket) = self.socket.borrow().clone() else {
                return;
            };
            let ready = socket.readable().await;
            // It may have ended while we waited.
            if self.life.borrow().is_none() {
                continue;
            }
            match (self.read_batch(), ready) {
                (Batch::Empty, Ok(mut ready)) => ready.clear_ready(),
                (Batch::More, Ok(_)) => tokio::task::yield_now().await,
                (Batch::Full, Ok(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
                (_, Err(why)) => {
                    error!(self.ear.log(), "notify socket is not heard any more";
                        "service" => %self.service, "error" => %why);
                    return;
                }
            }
        }
    }

    /// Reads some datagrams and says what they say, in order, plain pulses together.
    fn read_batch(&self) -> Batch {
        let Some(socket) = self.socket.borrow().clone() else {
            return Batch::Empty;
        };
        let mut life = self.life.borrow_mut();
        let Some(life) = &mut *life else {
            return Batch::Empty;
        };
        let ear = self.ear.of(life.generation);
        let now = ear.clock().mono();
        let mut pulses = 0;
        let mut batch = Batch::More;
        for _ in 0..BATCH {
            if ear.room() < MOST_MESSAGES {
                batch = Batch::Full;
                break;
            }
            let received = socket.get_ref().receive(|datagram| {
                if !life.family.may_speak(self.access, datagram.sender, now) {
                    self.drop_one(Some(datagram.sender));
                } else if is_plain_pulse(datagram.bytes) {
                    pulses += 1;
                } else {
                    ear.pulses(std::mem::take(&mut pulses));
                    self.take(datagram, &ear, &mut life.family);
                }
            });
            match received {
                Ok(true) => {}
                Ok(false) => {
                    batch = Batch::Empty;
                    break;
                }
                Err(why) => {
                    warn!(ear.log(), "notify socket cannot be read";
                        "service" => %self.service, "error" => %why);
                    batch = Batch::Empty;
                    break;
                }
            }
        }
        ear.pulses(pulses);
        batch
    }

    fn take(&self, datagram: Datagram<'_>, ear: &Ear, family: &mut Family) {
        let Ok(said) = parse(datagram.bytes, datagram.cut) else {
            return self.drop_one(None);
        };
        if said.barrier {
            // Its descriptors are closed once everything before it has been judged.
            ear.settle(datagram.descriptors);
        }
        if let Some(pid) = said.main_pid
            && !family.adopt_main(pid)
        {
            warn!(ear.log(), "MAINPID names a process that is not the service's, ignored";
                "service" => %self.service, "pid" => pid);
        }
        for heard in words(said) {
            // There is room: that was looked at before the datagram was read.
            let taken = ear.heard(heard);
            debug_assert!(taken || ear.room() == 0, "a message was lost");
        }
    }

    /// Throws away what waits: it was sent to a life that is over.
    fn throw_away(&self) {
        if let Some(socket) = &*self.socket.borrow() {
            while matches!(socket.get_ref().receive(|old| drop(old)), Ok(true)) {}
        }
    }

    /// Counts a datagram that says nothing to us, and says so now and then.
    fn drop_one(&self, stranger: Option<sender::Sender>) {
        let mut lost = self.lost.get();
        match stranger {
            Some(sender) => {
                lost.strangers += 1;
                (lost.pid, lost.uid) = (sender.pid, sender.uid);
            }
            None => lost.noise += 1,
        }
        self.ear.lose_datagrams(1);
        let now = self.ear.clock().mono();
        if lost.said.is_none_or(|said| now.since(said) >= SAY_EVERY) {
            info!(self.ear.log(), "notify datagrams dropped";
                "service" => %self.service, "from_strangers" => lost.strangers,
                "no_messages" => lost.noise, "last_pid" => lost.pid, "last_uid" => lost.uid);
            lost = Lost {
                said: Some(now),
                ..Lost::default()
            };
        }
        self.lost.set(lost);
    }
}

/// What a datagram's words are to the supervisor, in the order in which they matter.
fn words(said: Said) -> Vec<Heard> {
    let mut heard = Vec::new();
    let error = said.error();
    heard.extend(said.interval.map(Heard::Interval));
    heard.extend(said.extend.map(Heard::Extend));
    heard.extend(said.status.map(|message| Heard::Status { message }));
    heard.extend(error.map(|message| Heard::Error {
        message,
        critical: false,
    }));
    if said.reloading {
        heard.push(Heard::Reloading);
    }
    if said.ready {
        heard.push(Heard::Ready);
    }
    if said.stopping {
        heard.push(Heard::Stopping);
    }
    match said.watchdog {
        Some(Watchdog::Alive) => heard.push(Heard::Pulse { count: 1 }),
        Some(Watchdog::Trigger) => heard.push(Heard::Stuck {
            why: "it triggered its own watchdog".to_owned(),
        }),
        None => {}
    }
    heard
}

/// A failure of a system call.
fn failed() -> io::Error {
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests;
