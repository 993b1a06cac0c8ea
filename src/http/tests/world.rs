//! A supervisor with an API: real actors over a fake kernel and a store in memory, real sockets
//! in a directory of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use supervisor_actors::ports::Clock;
use supervisor_actors::spec::ServiceSpec;
use supervisor_actors::testing::{Running, Stage, alive, external, pulsing};
use supervisor_core::View;

use super::client::{self, Answer};
use crate::http::{Options, Patience, Servers, serve};
use crate::ping_keys::PingKeys;
use crate::token::Token;

/// The token of every test.
pub(super) const TOKEN: &str = "Authorization: Bearer test-token-0123456789";

/// What differs between tests.
pub(super) struct Setup {
    pub(super) listen: String,
    pub(super) public_status: bool,
    pub(super) allow_registration: bool,
    pub(super) patience: Patience,
    pub(super) specs: Vec<ServiceSpec>,
    pub(super) ping_keys: PingKeys,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            public_status: false,
            allow_registration: true,
            patience: Patience::default(),
            ping_keys: PingKeys::default(),
            specs: vec![
                external("a", Duration::from_secs(30)),
                external("half", Duration::from_millis(500)),
                pulsing("ours", Duration::from_secs(60)),
                alive("alive"),
            ],
        }
    }
}

pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) stage: Stage,
    pub(super) actors: Running,
    pub(super) servers: Servers,
    pub(super) address: SocketAddr,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(super) async fn with(setup: Setup) -> Self {
        let mut world = Self::unbound(setup).await;
        world.address = world.servers.address().unwrap();
        world
    }

    /// One whose address may be taken.
    pub(super) async fn unbound(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let stage = Stage::new();
        let actors = stage.start(setup.specs).await;
        let servers = serve(Options {
            data_dir: dir.path().to_owned(),
            listen: Some(setup.listen.parse().unwrap()),
            allowed_hosts: vec!["box.example".to_owned()],
            public_status: setup.public_status,
            allow_registration: setup.allow_registration,
            host: "box".to_owned(),
            token: Token::new("test-token-0123456789").unwrap(),
            child_token: Arc::new(|name| format!("child-token-of-{name}")),
            ping_keys: setup.ping_keys,
            default_interval: Duration::from_secs(30),
            directory: actors.directory.clone(),
            supervisor: actors.supervisor.clone(),
            alerts: actors.alerts.clone(),
            feed: Arc::clone(&actors.feed),
            sync: None,
            history: Arc::new(stage.history.clone()),
            clock: Arc::clone(&stage.clock) as Arc<dyn Clock>,
            log: stage.log.logger(),
            patience: setup.patience,
        })
        .unwrap();
        let address = setup.listen.parse().unwrap();
        Self {
            dir,
            stage,
            actors,
            servers,
            address,
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("supervisor.sock")
    }

    /// A service's log file.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join("log").join(format!("{name}.log"))
    }

    /// Waits until a service looks like that.
    pub(super) async fn until(&self, name: &str, seen: impl Fn(&View) -> bool) -> View {
        for _ in 0..2_000 {
            let view = self.actors.view(name).await;
            if seen(&view) {
                return view;
            }
            actix_web::rt::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{name} stays {:?}", self.actors.view(name).await);
    }

    /// A request over TCP.
    pub(super) async fn tcp(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        self.tcp_with(method, path, headers, "").await
    }

    /// A request over TCP with a body.
    pub(super) async fn tcp_with(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        self.raw(client::request(method, path, headers, body)).await
    }

    /// These bytes over TCP.
    pub(super) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Answer {
        // On all addresses means on this one, too.
        let port = self.address.port();
        let stream = client::tcp(SocketAddr::from(([127, 0, 0, 1], port))).await;
        client::exchange(stream, bytes.as_ref()).await
    }

    /// A request over the socket.
    pub(super) async fn unix(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        self.unix_with(method, path, headers, "").await
    }

    /// A request over the socket with a body.
    pub(super) async fn unix_with(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        let stream = client::unix(&self.socket()).await;
        let text = client::request(method, path, headers, body);
        client::exchange(stream, text.as_bytes()).await
    }
}
