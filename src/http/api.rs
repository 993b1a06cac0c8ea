//! What every handler can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slog::Logger;
use tokio::sync::watch;

use supervisor_actors::feed::Feed;
use supervisor_actors::handle::{AlertsHandle, Directory, SupervisorHandle, Unreachable};
use supervisor_actors::ports::Clock;
use supervisor_actors::ports::history::History;
use supervisor_actors::sync::SyncHandle;

use super::hosts::Hosts;
use super::places::Places;
use super::problem::Problem;
use super::session::Codes;
use super::sync::Walks;
use super::throttle::Throttle;
use crate::ping_keys::PingKeys;
use crate::token::Token;

/// Gives a service's own token by its name.
pub(crate) type ChildToken = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// How long clients may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To send the head of a request.
    pub(crate) head: Duration,
    /// To send its body, all of it.
    pub(crate) body: Duration,
    /// To read the next piece of a followed log.
    pub(crate) read: Duration,
    /// How long we ourselves may take to record or to answer.
    pub(crate) answer: Duration,
    /// The same where we ask somebody outside.
    pub(crate) outside: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(5),
            body: Duration::from_secs(5),
            read: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            outside: Duration::from_secs(30),
        }
    }
}

/// Tells when everything that streams or serves must end.
#[derive(Debug, Clone)]
pub(super) struct Closing(pub(super) watch::Receiver<bool>);

impl Closing {
    /// Whether it has come.
    pub(super) fn is_now(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the end. Giving up and waiting again misses nothing.
    pub(super) async fn wait(&mut self) {
        // Nobody left who could say it means the same.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

/// Behind both doors.
pub(super) struct Shared {
    pub(super) directory: Directory,
    pub(super) supervisor: SupervisorHandle,
    pub(super) alerts: AlertsHandle,
    pub(super) sync: Option<SyncHandle>,
    pub(super) walks: Walks,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log: Logger,
    pub(super) host: String,
    pub(super) token: Token,
    pub(super) child_token: ChildToken,
    pub(super) public_status: bool,
    pub(super) allow_registration: bool,
    pub(super) default_interval: Duration,
    pub(super) log_dir: PathBuf,
    pub(super) patience: Patience,
    pub(super) throttle: Throttle,
    pub(super) ping_keys: PingKeys,
    /// Apart from that of tokens: a wrong crontab must not keep the owner out.
    pub(super) ping_throttle: Throttle,
    pub(super) codes: Codes,
    pub(super) bound: watch::Receiver<Option<SocketAddr>>,
    pub(super) followers: Places,
    pub(super) streams: Places,
    pub(super) feed: Arc<Feed>,
    pub(super) history: Arc<dyn History>,
    pub(super) closing: Closing,
}

/// Where a request came in.
#[derive(Debug, Clone)]
pub(super) enum Door {
    /// Through the file in `data_dir`, which only its owner can open.
    Unix,
    /// Over the network.
    Tcp {
        /// What it may call us.
        hosts: Hosts,
        /// Whether only this machine can come in.
        loopback: bool,
        /// Where it is.
        port: u16,
    },
}

/// Everything behind one door.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) shared: Arc<Shared>,
    pub(super) door: Door,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// Where a browser on this machine finds us; none while no address is ours.
    pub(super) fn address(&self) -> Option<String> {
        let bound = (*self.bound.borrow())?;
        let near = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Some(format!("http://{}", SocketAddr::new(near, bound.port())))
    }

    /// Waits for the supervisor's answer, but not for ever.
    pub(super) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, Unreachable>>,
    ) -> Result<T, Problem> {
        self.ask_for(self.patience.answer, answer).await
    }

    /// The same where somebody outside has to answer first.
    pub(super) async fn ask_long<T>(
        &self,
        answer: impl Future<Output = Result<T, Unreachable>>,
    ) -> Result<T, Problem> {
        self.ask_for(self.patience.outside, answer).await
    }

    async fn ask_for<T>(
        &self,
        patience: Duration,
        answer: impl Future<Output = Result<T, Unreachable>>,
    ) -> Result<T, Problem> {
        match actix_web::rt::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(unreachable)) => Err(Problem::unavailable(
                "not_answering",
                unreachable.to_string(),
            )),
            Err(_) => Err(Problem::unavailable(
                "not_answering",
                "the supervisor did not answer in time",
            )),
        }
    }
}
