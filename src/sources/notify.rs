//! sd_notify: a datagram socket for each life of a service that we run, as systemd gives its
//! services.
//!
//! ```text
//!   a process of the service ── READY=1, WATCHDOG=1, … ──▶ its socket ◀── kept by its shim
//!        │ kernel adds pid, uid                                │ recvmsg, in batches
//!        └───────────── is it of the service's tree? ──────────┘──▶ Ear
//! ```
//!
//! Where the socket is, is told in [`place`]. It belongs to one life: the shim keeps it open
//! for as long as that lasts and hands it to whoever adopts the life, so our own death
//! disconnects no client, and what was sent meanwhile is read.
//!
//! Nothing is read before it is known which process is the main one, since a fast child sends
//! READY=1 before we hear of its start: the kernel keeps it.

mod place;
mod receive;
mod sender;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slog::{debug, error, info, warn};
use supervisor_actors::ports::Kept;
use supervisor_actors::source::{Ear, Heard, Life, Listening, Source};
use supervisor_actors::spec::ServiceSpec;
use supervisor_core::ServiceName;
use supervisor_core::event::Generation;
use supervisor_core::notify::{Said, Watchdog, is_plain_pulse, parse};
use supervisor_core::time::Mono;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify as Bell;
use tokio::task::JoinHandle;

use self::place::{Bound, Form, Places};
use self::receive::{Datagram, Socket};
use self::sender::{Access, Family};
use super::About;
use crate::adapters::data_dir::read_key;
use crate::config::reader::Table;

/// How many datagrams are read before others get their turn.
const BATCH: u32 = 256;

/// The most messages that one datagram can become.
const MOST_MESSAGES: u32 = 12;

/// How often it is said that datagrams were dropped.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// sd_notify as the configuration has it.
#[derive(Debug, PartialEq)]
pub(super) struct Notify {
    access: Access,
    form: Form,
    data_dir: PathBuf,
}

/// Takes `notify_access` and `notify_socket`. Every service that we run has this source.
pub(super) fn read(table: &mut Table<'_>, about: &About<'_>) -> Option<Arc<dyn Source>> {
    let access = table.take("notify_access", |value| {
        value.one_of(&[("all", Access::All), ("main", Access::Main)])
    });
    let form = table.take("notify_socket", |value| {
        value.one_of(&[("path", Form::Path), ("abstract", Form::Abstract)])
    });
    if !about.ours {
        let (access, form) = (access.as_given(), form.as_given());
        let given = [
            ("notify_access", access.map(|given| given.key.clone())),
            ("notify_socket", form.map(|given| given.key.clone())),
        ];
        for (name, key) in given {
            let Some(key) = key else { continue };
            let sink = table.sink();
            let message = format!("`{name}` without `command` in [{}]", table.shown());
            sink.say(
                sink.at(key, "only for a service that we run", message)
                    .help("add `command`; without it the service has no socket of ours"),
            );
        }
        return None;
    }
    Some(Arc::new(Notify {
        access: access.or(Access::All),
        form: form.or(Form::Path),
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
        let places = match read_key(&self.data_dir) {
            Ok(key) => Places::new(key, service.as_str(), self.form, &self.data_dir),
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
            places,
            socket: RefCell::default(),
            inherited: RefCell::default(),
            life: RefCell::default(),
            changed: Bell::new(),
            lost: Cell::default(),
        });
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
    places: Places,
    /// Of the present life.
    socket: RefCell<Option<Open>>,
    /// What a life that is about to be adopted has kept.
    inherited: RefCell<Option<Kept>>,
    /// The present life, once its main process is known.
    life: RefCell<Option<Present>>,
    changed: Bell,
    lost: Cell<Lost>,
}

/// A life of the service.
struct Present {
    generation: Generation,
    family: Family,
    /// The main process as the supervisor knows it.
    main: i32,
}

/// A socket that is open.
struct Open {
    socket: Rc<AsyncFd<Socket>>,
    address: String,
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
        let open = self.post.socket.borrow();
        let address = open.iter().map(|open| open.address.clone());
        address
            .map(|address| ("NOTIFY_SOCKET".to_owned(), address))
            .collect()
    }

    fn socket(&self) -> Option<Arc<OwnedFd>> {
        let open = self.post.socket.borrow();
        let socket = open.as_ref()?.socket.get_ref().descriptor();
        match socket {
            Ok(socket) => Some(Arc::new(socket)),
            Err(why) => {
                warn!(self.post.ear.log(), "notify socket will not outlive us";
                    "service" => %self.post.service, "error" => %why);
                None
            }
        }
    }

    fn inherit(&mut self, kept: &Kept) {
        self.post.inherited.replace(Some(kept.clone()));
    }

    fn life(&mut self, life: Life) {
        let post = &self.post;
        match life {
            Life::Starting { generation } => {
                post.life.replace(None);
                post.begin(generation);
            }
            Life::Started { generation, pid } => {
                let inherited = post.inherited.take();
                let mut family = Family::of(pid);
                if let Some(kept) = &inherited {
                    post.go_on(kept);
                    family.remember(&kept.note);
                }
                let life = Present {
                    generation,
                    family,
                    main: pid,
                };
                post.life.replace(Some(life));
                post.show_main();
                post.changed.notify_one();
            }
            Life::Ended { .. } => {
                // Its last words came before its end.
                while post.read_batch() == Batch::More {}
                post.life.replace(None);
                post.close();
            }
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.task.abort();
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
    /// Opens the socket of a life that begins.
    fn begin(&self, generation: Generation) {
        match self.places.bind(generation) {
            Ok(bound) => {
                if let Some(why) = &bound.no_path {
                    info!(self.ear.log(), "notify socket has no path, its name is abstract";
                        "service" => %self.service, "why" => %why);
                }
                self.open(bound);
            }
            Err(why) => {
                self.socket.replace(None);
                error!(self.ear.log(), "no notify socket for this life";
                    "service" => %self.service, "error" => %why);
            }
        }
    }

    /// Goes on with what a life has kept over our own death.
    fn go_on(&self, kept: &Kept) {
        let socket = kept.socket.as_ref();
        let bound = match socket.map(|socket| socket.try_clone()) {
            Some(socket) => socket.map(Bound::kept),
            None => self.places.bind_older(),
        };
        match bound {
            Ok(bound) => self.open(bound),
            Err(why) => {
                self.socket.replace(None);
                error!(self.ear.log(), "notify socket of a life that was found cannot be heard";
                    "service" => %self.service, "error" => %why);
            }
        }
    }

    fn open(&self, bound: Bound) {
        // SAFETY: its descriptor stays the same and open for as long as it lives.
        let registered = unsafe { AsyncFd::register(bound.socket) };
        let open = match registered {
            Ok(socket) => Some(Open {
                socket: Rc::new(socket),
                address: bound.address,
            }),
            Err(why) => {
                let why = io::Error::from(why);
                error!(self.ear.log(), "notify socket cannot be watched";
                    "service" => %self.service, "error" => %why);
                None
            }
        };
        self.socket.replace(open);
    }

    /// Its life is over: nobody has any use for it.
    fn close(&self) {
        let Some(open) = self.socket.take() else {
            return;
        };
        if open.address.starts_with('/')
            && let Err(why) = std::fs::remove_file(&open.address)
        {
            debug!(self.ear.log(), "notify socket's path cannot be removed";
                "service" => %self.service, "error" => %why);
        }
    }

    fn present(&self) -> Option<Rc<AsyncFd<Socket>>> {
        self.life.borrow().as_ref()?;
        let open = self.socket.borrow();
        Some(Rc::clone(&open.as_ref()?.socket))
    }

    /// Reads for as long as the service is watched.
    async fn listen(self: Rc<Self>) {
        loop {
            let Some(socket) = self.present() else {
                self.changed.notified().await;
                continue;
            };
            // Dropped at any time: a readiness is found again.
            let ready = tokio::select! {
                biased;
                () = self.changed.notified() => continue,
                ready = socket.readable() => ready,
            };
            // Its life may have ended while we waited.
            let same = |present: Rc<AsyncFd<Socket>>| Rc::ptr_eq(&present, &socket);
            if !self.present().is_some_and(same) {
                continue;
            }
            match (self.read_batch(), ready) {
                (Batch::Empty, Ok(mut ready)) => ready.clear_ready(),
                (Batch::More, Ok(_)) => tokio::task::yield_now().await,
                (Batch::Full, Ok(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
                (_, Err(why)) => {
                    error!(self.ear.log(), "notify socket is not heard any more";
                        "service" => %self.service, "error" => %why);
                    self.socket.replace(None);
                }
            }
        }
    }

    /// Tells which process is the main one, if that has changed: to the supervisor, and by the
    /// shim to the next one.
    fn show_main(&self) {
        let mut life = self.life.borrow_mut();
        let Some(life) = &mut *life else { return };
        let main = life.family.main();
        let ear = self.ear.of(life.generation);
        // Where there is no room it is told with what comes next.
        if main != life.main && ear.room() >= 2 {
            life.main = main;
            ear.heard(Heard::MainPid(main));
            let note = life.family.note();
            ear.heard(Heard::Remember { note });
        }
    }

    /// Reads some datagrams and says what they say, in order, plain pulses together.
    fn read_batch(&self) -> Batch {
        let batch = self.read_some();
        self.show_main();
        batch
    }

    fn read_some(&self) -> Batch {
        let Some(socket) = self.present() else {
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
            && !family.name_main(pid)
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
    // After the pulse beside it, which would end it.
    heard.extend(said.extend.map(Heard::Extend));
    heard
}

/// A failure of a system call.
fn failed() -> io::Error {
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests;
