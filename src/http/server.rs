//! Opens both doors, keeps them open, and closes them in order.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_service::map_config;
use actix_web::dev::{AppConfig, Server, ServiceFactory, fn_service};
use actix_web::rt::net::{TcpStream, UnixStream};
use actix_web::rt::task::JoinHandle;
use actix_web::rt::time::sleep;
use actix_web::{App, web};
use slog::{Logger, error, info, warn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use supervisor_actors::feed::Feed;
use supervisor_actors::handle::{AlertsHandle, Directory, SupervisorHandle};
use supervisor_actors::ports::Clock;
use supervisor_actors::ports::history::History;
use supervisor_actors::sync::SyncHandle;

use super::api::{Api, ChildToken, Closing, Door, Patience, Shared};
use super::awake::{Awake, Connected};
use super::connection::Connection;
use super::entry::entry;
use super::holder::holder;
use super::hosts::Hosts;
use super::listen;
use super::logs::{self, MAX_FOLLOWERS};
use super::places::Places;
use super::session::Codes;
use super::stream::MOST_STREAMS;
use super::sync::Walks;
use super::throttle::Throttle;
use crate::ping_keys::PingKeys;
use crate::token::Token;

/// How long until a door that could not be opened is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// How long requests under way may take when we stop. Streams are told to end before.
const SHUTDOWN_SECONDS: u64 = 2;
/// How long a client may go on sending what was refused, so that it reads the refusal and not
/// a reset.
const LINGER: Duration = Duration::from_secs(1);
/// The command line and a few scripts.
const UNIX_WORKERS: usize = 1;
/// A pulse costs microseconds: more threads would only wake up more often.
const MAX_TCP_WORKERS: usize = 2;

/// What the API needs.
pub(crate) struct Options {
    /// Where the socket and the logs lie. The caller holds its lock.
    pub(crate) data_dir: PathBuf,
    /// The TCP address; none for the socket alone.
    pub(crate) listen: Option<SocketAddr>,
    /// Names under which we may be addressed, besides the obvious ones.
    pub(crate) allowed_hosts: Vec<String>,
    /// Whether anybody may read the health endpoints, on any address.
    pub(crate) public_status: bool,
    /// Whether services may register themselves.
    pub(crate) allow_registration: bool,
    /// What this machine is called.
    pub(crate) host: String,
    /// What allows everything.
    pub(crate) token: Token,
    /// What allows a service to speak for itself.
    pub(crate) child_token: ChildToken,
    /// What allows anybody to send signs of life by URL.
    pub(crate) ping_keys: PingKeys,
    /// Shown as the interval of services that have none.
    pub(crate) default_interval: Duration,
    /// The services.
    pub(crate) directory: Directory,
    /// Who knows and commands.
    pub(crate) supervisor: SupervisorHandle,
    /// Who is told of what.
    pub(crate) alerts: AlertsHandle,
    /// What changes.
    pub(crate) feed: Arc<Feed>,
    /// What is mirrored, if anything is.
    pub(crate) sync: Option<SyncHandle>,
    /// What was, minute by minute.
    pub(crate) history: Arc<dyn History>,
    /// The clocks.
    pub(crate) clock: Arc<dyn Clock>,
    /// For what happens to the API itself; requests are not logged.
    pub(crate) log: Logger,
    /// How long clients may take.
    pub(crate) patience: Patience,
}

/// The open doors.
pub(crate) struct Servers {
    closing: watch::Sender<bool>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    socket: PathBuf,
}

/// Opens both doors. The TCP address may be taken: then it is said by whom, and tried again
/// until it is free. To be called within an actix `System`.
///
/// # Errors
/// Where the socket in `data_dir` cannot be made.
pub(crate) fn serve(options: Options) -> io::Result<Servers> {
    let (closing, closing_seen) = watch::channel(false);
    let closing_seen = Closing(closing_seen);
    let (address, address_seen) = watch::channel(None);
    let log = options.log.clone();
    let shared = Arc::new(Shared {
        directory: options.directory,
        supervisor: options.supervisor,
        alerts: options.alerts,
        sync: options.sync,
        walks: Walks::default(),
        clock: options.clock,
        log: options.log,
        host: options.host,
        token: options.token,
        child_token: options.child_token,
        public_status: options.public_status,
        allow_registration: options.allow_registration,
        default_interval: options.default_interval,
        log_dir: logs::directory(&options.data_dir),
        patience: options.patience,
        throttle: Throttle::default(),
        ping_keys: options.ping_keys,
        ping_throttle: Throttle::default(),
        codes: Codes::default(),
        bound: address_seen,
        // They last: who only sends a pulse must always find room beside them.
        followers: Places::new(MAX_FOLLOWERS.min(connections() / 4)),
        streams: Places::new(MOST_STREAMS.min(connections() / 4)),
        feed: options.feed,
        history: options.history,
        closing: closing_seen.clone(),
    });
    let socket = listen::socket_path(&options.data_dir);
    let keeper = |place| Keeper {
        place,
        shared: shared.clone(),
        log: log.clone(),
        closing: closing_seen.clone(),
        trouble: String::new(),
    };
    let mut unix = keeper(Place::Unix {
        data_dir: options.data_dir,
    });
    let first = unix.open()?;
    let mut tasks = vec![actix_web::rt::spawn(unix.keep(Some(first)))];
    if let Some(wanted) = options.listen {
        let mut tcp = keeper(Place::Tcp {
            wanted,
            allowed_hosts: options.allowed_hosts,
            bound: address,
        });
        // Tried at once, so that the address is known when this returns.
        let first = tcp.open();
        tasks.push(actix_web::rt::spawn(async move {
            let first = match first {
                Ok(server) => Some(server),
                Err(error) => {
                    tcp.complain(&error).await;
                    None
                }
            };
            tcp.keep(first).await;
        }));
    }
    Ok(Servers {
        closing,
        shared,
        tasks,
        socket,
    })
}

impl Servers {
    /// The TCP address that is answered on; none while it is taken or not wanted.
    #[cfg(test)]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        *self.shared.bound.borrow()
    }

    /// Where the dashboard is, and an address of it that signs in once; none while the TCP
    /// address is taken or not wanted.
    pub(crate) fn dashboard(&self) -> Option<(String, String)> {
        let url = self.shared.address()?;
        let code = self.shared.codes.issue(self.shared.clock.mono()).ok()?;
        let invitation = format!("{url}/login#{code}");
        Some((url, invitation))
    }

    /// Ends the streams, lets requests under way finish, closes both doors and removes the
    /// socket.
    pub(crate) async fn stop(self) {
        // Nobody listening means that all has ended already.
        let _ = self.closing.send(true);
        for task in self.tasks {
            // It can only fail by a panic, which has been reported where it happened.
            let _ = task.await;
        }
        // A leftover would only be replaced by the next supervisor.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Keeps one door open.
struct Keeper {
    place: Place,
    shared: Arc<Shared>,
    log: Logger,
    closing: Closing,
    /// What was last said to be wrong: said again only when it changes.
    trouble: String,
}

enum Place {
    Unix {
        data_dir: PathBuf,
    },
    Tcp {
        wanted: SocketAddr,
        allowed_hosts: Vec<String>,
        bound: watch::Sender<Option<SocketAddr>>,
    },
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Keeper {
    /// Opens the door, or says why not.
    fn open(&mut self) -> io::Result<Server> {
        let (listener, door, workers) = match &self.place {
            Place::Unix { data_dir } => {
                let listener = listen::unix(data_dir)?;
                (Listener::Unix(listener), Door::Unix, UNIX_WORKERS)
            }
            Place::Tcp {
                wanted,
                allowed_hosts,
                bound,
            } => {
                let listener = listen::tcp(*wanted)?;
                let address = listener.local_addr()?;
                let door = Door::Tcp {
                    hosts: Hosts::new(address, allowed_hosts),
                    loopback: address.ip().to_canonical().is_loopback(),
                    port: address.port(),
                };
                bound.send_replace(Some(address));
                info!(self.log, "listening"; "address" => %address);
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                (Listener::Tcp(listener), door, cores.min(MAX_TCP_WORKERS))
            }
        };
        self.trouble.clear();
        let api = Api {
            shared: self.shared.clone(),
            door,
        };
        run(api, listener, workers)
    }

    /// Serves, and opens the door again where it falls shut, until we close.
    async fn keep(mut self, mut server: Option<Server>) {
        loop {
            if let Some(server) = server.take() {
                let handle = server.handle();
                let mut serving = actix_web::rt::spawn(server);
                tokio::select! {
                    biased;
                    () = self.closing.wait() => {
                        handle.stop(true).await;
                        self.unbound();
                        return;
                    }
                    // Asking again after a cancelled wait is what a join handle allows.
                    ended = &mut serving => {
                        self.unbound();
                        error!(self.log, "the API stopped by itself, opening it again";
                            "door" => self.name(), "how" => ?ended);
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.closing.wait() => return,
                () = sleep(RETRY_EVERY) => {}
            }
            match self.open() {
                Ok(opened) => server = Some(opened),
                Err(error) => self.complain(&error).await,
            }
        }
    }

    /// Says what keeps the door shut, once.
    async fn complain(&mut self, error: &io::Error) {
        let mut trouble = error.to_string();
        if let Place::Tcp { wanted, .. } = self.place
            && error.kind() == io::ErrorKind::AddrInUse
        {
            let found = web::block(move || holder(wanted)).await;
            if let Ok(Some(holder)) = found {
                trouble = format!("already held by {holder}");
            }
        }
        if self.trouble != trouble {
            warn!(self.log, "cannot listen, supervising without it and trying again";
                "door" => self.name(), "reason" => &trouble, "retry_every" => ?RETRY_EVERY);
            self.trouble = trouble;
        }
    }

    fn unbound(&self) {
        if let Place::Tcp { bound, .. } = &self.place {
            bound.send_replace(None);
        }
    }

    fn name(&self) -> String {
        match &self.place {
            Place::Unix { data_dir } => listen::socket_path(data_dir).display().to_string(),
            Place::Tcp { wanted, .. } => wanted.to_string(),
        }
    }
}

fn run(api: Api, listener: Listener, workers: usize) -> io::Result<Server> {
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(connections() / workers)
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_SECONDS);
    let builder = match listener {
        Listener::Unix(listener) => builder.listen_uds("unix", listener, move || {
            // One for this worker: its requests share it without counting across threads.
            let (api, awake) = (Rc::new(api.clone()), Awake::new());
            fn_service(move |stream: UnixStream| {
                let connection = Connection::new(stream, &api.patience);
                let api = Rc::clone(&api);
                Rc::clone(&awake).serve((connection, None), || http(api))
            })
        })?,
        Listener::Tcp(listener) => builder.listen("tcp", listener, move || {
            // One for this worker: its requests share it without counting across threads.
            let (api, awake) = (Rc::new(api.clone()), Awake::new());
            fn_service(move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                let connection = Connection::new(stream, &api.patience);
                let api = Rc::clone(&api);
                Rc::clone(&awake).serve((connection, peer), || http(api))
            })
        })?,
    };
    Ok(builder.run())
}

/// HTTP/1.1 on our own kind of connection: what actix-web's `HttpServer` would build, but that
/// takes the bare streams only.
fn http<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    api: Rc<Api>,
) -> impl ServiceFactory<Connected<S>, Config = (), Response = (), Error = DispatchError, InitError = ()>
+ use<S> {
    let closing = api.closing.clone();
    let entry = fn_service(move |incoming| entry(&api, incoming));
    let app = App::new().default_service(entry);
    HttpService::build()
        // The connection itself times the head.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(LINGER)
        .on_connect_ext(|connection: &Connection<S>, data| {
            data.insert(connection.wire());
        })
        // Hidden in its documentation, but what `HttpServer` does: without it an idle
        // connection delays our end by the whole of its keep-alive.
        .graceful_shutdown_signal(move || {
            let mut closing = closing.clone();
            async move { closing.wait().await }
        })
        .h1(map_config(app, |()| AppConfig::default()))
}

/// How many connections one door may have: a quarter of the descriptors that we may open, so
/// that no number of clients keeps us from starting a process.
fn connections() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let open = limit.current.unwrap_or(u64::MAX) / 4;
    usize::try_from(open).unwrap_or(usize::MAX).clamp(64, 8192)
}
