//! Makes connections and notes how far the call under way has come: what a timeout means
//! depends on it, and awc does not tell the end of a connection from the end of a body.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector, Resolver};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::names::Names;

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its name is looked up, its connection made.
    Connecting,
    /// There is a connection; TLS is agreed upon, the request sent, the answer waited for.
    Connected,
    /// The answer's head has come.
    Answering,
    /// The server has ended the connection.
    Ended,
}

tokio::task_local! {
    /// The phase of the call that the running task makes: a connection may serve many.
    pub(super) static PHASE: Rc<Cell<Phase>>;
}

impl Phase {
    /// Notes that the present call has come so far.
    pub(super) fn enter(self) {
        // Outside of a call, when a connection is closed, nobody wants to know.
        let _unknown = PHASE.try_with(|phase| phase.set(self));
    }

    /// How far the present call has come.
    pub(super) fn current() -> Option<Self> {
        PHASE.try_with(|phase| phase.get()).ok()
    }
}

/// Connects by TCP, and speaks TLS where there is a configuration for it.
pub(super) fn new(names: Names, config: Option<Arc<ClientConfig>>) -> awc::Connector<Tcp> {
    let tcp = Tcp(Connector::new(Resolver::custom(names)).service());
    let connector = awc::Connector::new().connector(tcp);
    match config {
        Some(config) => connector.rustls_0_23(config),
        None => connector,
    }
}

/// Makes connections by TCP.
#[derive(Clone)]
pub(super) struct Tcp(actix_tls::connect::ConnectorService);

impl Service<ConnectInfo<Uri>> for Tcp {
    type Response = Connection<Uri, Line>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let connected = self.0.call(info);
        Box::pin(async move {
            let (stream, connection) = connected.await?.replace_io(());
            Phase::Connected.enter();
            let ((), connection) = connection.replace_io(Line(stream));
            Ok(connection)
        })
    }
}

/// A connection that notes its end.
#[derive(Debug)]
pub(super) struct Line(TcpStream);

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        let ended = match &read {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) | Poll::Pending => false,
        };
        if ended && Phase::current() == Some(Phase::Answering) {
            Phase::Ended.enter();
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A connection that was kept from an earlier call was not made for this one.
        if Phase::current() == Some(Phase::Connecting) {
            Phase::Connected.enter();
        }
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl ActixStream for Line {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.0, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.0, context)
    }
}
