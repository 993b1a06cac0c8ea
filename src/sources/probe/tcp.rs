//! A probe that connects, and no more.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use supervisor_actors::ports::{Check, Look};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::look_of;
use crate::adapters::http_client::{CallError, HttpCalls, of_io};

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tcp {
    /// A name or an address, this one without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Tcp {
    pub(super) fn check(&self, calls: HttpCalls, timeout: Duration) -> TcpCheck {
        TcpCheck {
            tcp: Arc::new(self.clone()),
            calls,
            timeout,
        }
    }

    /// As reasons name it.
    fn shown(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            Ok(IpAddr::V4(_)) | Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The same at work.
pub(super) struct TcpCheck {
    tcp: Arc<Tcp>,
    calls: HttpCalls,
    timeout: Duration,
}

impl Check for TcpCheck {
    fn look(&self) -> LocalBoxFuture<'static, Look> {
        let (tcp, calls, patience) = (Arc::clone(&self.tcp), self.calls.clone(), self.timeout);
        Box::pin(async move {
            let connected = timeout(patience, connect(&tcp, &calls)).await;
            match connected {
                Ok(Ok(())) => Look::Passed,
                Ok(Err(error)) => look_of(&tcp.shown(), &error),
                Err(_elapsed) => look_of(&tcp.shown(), &CallError::NotReached(patience)),
            }
        })
    }
}

/// Connects to the first of its addresses that takes it.
async fn connect(tcp: &Tcp, calls: &HttpCalls) -> Result<(), CallError> {
    let addresses = calls.names().look_up(&tcp.host).await;
    let addresses = addresses.map_err(CallError::Unresolved)?;
    let mut last = CallError::Unresolved("it has no address".to_owned());
    for address in addresses.iter() {
        match TcpStream::connect(SocketAddr::new(*address, tcp.port)).await {
            Ok(_connected) => return Ok(()),
            Err(error) => last = of_io(&error),
        }
    }
    Err(last)
}
