//! Who watches us: a service manager through `NOTIFY_SOCKET`, an external monitor through
//! `[alerts.heartbeat]`. Both hear of us only while the supervisor's loop turns; a loop that
//! stands still is silent, and whoever listens acts.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use awc::http::{Method, Uri};
use slog::{Logger, info, warn};
use tokio::time::sleep;

use supervisor_actors::handle::SupervisorHandle;
use supervisor_actors::ports::Clock;

use crate::adapters::http_client::{Bounds, HttpCalls, Trust};

/// How often it is looked whether the first starts are sent.
const LOOK: Duration = Duration::from_millis(100);
/// After so many looks more time is asked for.
const ASK_EVERY: u32 = 20;
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An external monitor that expects to hear of us.
#[derive(Clone)]
pub(crate) struct Heartbeat {
    /// Its address, often a secret.
    pub(crate) url: Uri,
    /// How often.
    pub(crate) every: Duration,
}

/// Shows its host alone.
impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Heartbeat({}…, {:?})", host(&self.url), self.every)
    }
}

fn host(url: &Uri) -> &str {
    url.host().unwrap_or_default()
}

/// What is asked whether we are alive.
#[derive(Clone)]
pub(crate) struct Pulse {
    pub(crate) supervisor: SupervisorHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Logger,
}

impl Pulse {
    fn is_alive(&self) -> bool {
        self.supervisor.is_alive(self.clock.mono())
    }

    /// Calls the monitor for as long as we turn. Said in the log on every change only.
    pub(crate) async fn beat(self, heartbeat: Heartbeat, calls: HttpCalls) {
        let mut failing = None;
        loop {
            if self.is_alive() {
                let result = call(&heartbeat.url, &calls).await;
                match (&result, &failing) {
                    (Err(why), before) if before.as_ref() != Some(why) => {
                        warn!(self.log, "the external monitor cannot be reached";
                            "host" => host(&heartbeat.url), "error" => why);
                    }
                    (Ok(()), Some(_)) => {
                        info!(self.log, "the external monitor hears of us again";
                            "host" => host(&heartbeat.url));
                    }
                    (Ok(()) | Err(_), _) => {}
                }
                failing = result.err();
            }
            sleep(heartbeat.every).await;
        }
    }

    /// Tells the service manager when we are ready, and while we turn.
    pub(crate) async fn notify(self, manager: Manager) {
        let mut looks = 0_u32;
        while !self.supervisor.is_ready() {
            sleep(LOOK).await;
            looks += 1;
            if looks.is_multiple_of(ASK_EVERY) && self.is_alive() {
                // A manager that gives up on us would start another that sees no more.
                manager.say("EXTEND_TIMEOUT_USEC=30000000\nSTATUS=cannot see yet all that runs");
            }
        }
        manager.say("READY=1\nSTATUS=all services looked after");
        let Some(every) = manager.watchdog else {
            return;
        };
        loop {
            if self.is_alive() {
                manager.say("WATCHDOG=1");
            }
            sleep(every / 2).await;
        }
    }
}

async fn call(url: &Uri, calls: &HttpCalls) -> Result<(), String> {
    let client = calls.client(url, &Trust::System).await;
    let client = client.map_err(|error| error.to_string())?;
    let bounds = Bounds {
        timeout: PATIENCE,
        body_bytes: 0,
    };
    let request = client.request(Method::GET, url).force_close();
    let answer = client.call(request, "", bounds).await;
    let status = answer.map_err(|error| error.to_string())?.status;
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("it answered {}", status.as_u16()))
    }
}

// === the service manager ===

/// The service manager that started us, if it wants to hear of us.
#[derive(Clone)]
pub(crate) struct Manager {
    socket: Arc<UnixDatagram>,
    to: SocketAddr,
    /// Within which time it wants a sign of life.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that our environment names.
    pub(crate) fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let name = env("NOTIFY_SOCKET")?;
        let to = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let socket = UnixDatagram::unbound().ok()?;
        // A manager that does not read must not keep us.
        socket.set_nonblocking(true).ok()?;
        let ours = env("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = env("WATCHDOG_USEC").and_then(|text| text.parse().ok());
        Some(Self {
            socket: Arc::new(socket),
            to: to.ok()?,
            watchdog: micros
                .filter(|micros| ours && *micros > 0)
                .map(Duration::from_micros),
        })
    }

    /// Says something. Whether it is heard is the manager's business.
    pub(crate) fn say(&self, words: &str) {
        let _unheard = self.socket.send_to_addr(words.as_bytes(), &self.to);
    }
}
