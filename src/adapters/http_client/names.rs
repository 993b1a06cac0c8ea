//! Looks host names up without letting a name server that does not answer harm anybody else.
//!
//! The C library's look-up blocks, takes up to half a minute where no name server answers,
//! and cannot be given up. So each name is looked up once at a time, whoever asks for it, and
//! few names at once: the threads for blocking work are also those of the database. Addresses
//! and `localhost` (RFC 6761, 6.3) need no name server and wait for none.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_tls::connect::Resolve;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{Semaphore, watch};

/// How many names are looked up at once.
const AT_ONCE: usize = 16;

/// Looks names up. Cheap to clone; usable on any thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Arc<Semaphore>,
    /// The look-ups under way.
    asked: Mutex<HashMap<String, watch::Receiver<Found>>>,
}

/// What a look-up has come to, so far nothing.
type Found = Option<Result<Arc<[IpAddr]>, String>>;

impl Default for Inner {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            asked: Mutex::default(),
        }
    }
}

impl Names {
    /// The addresses of a host, at least one: an address, in brackets or not, or a name.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn look_up(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
            return Ok(Arc::from([address]));
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(Arc::from([
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ]));
        }
        let mut answer = self.asked_for(host);
        let found = answer.wait_for(Option::is_some).await;
        let found = found.ok().and_then(|found| found.clone());
        found.unwrap_or_else(|| Err("its look-up was given up".to_owned()))
    }

    /// How many look-ups are under way.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.0.asked().len()
    }

    /// The look-up of a name that is under way, or begins now.
    fn asked_for(&self, host: &str) -> watch::Receiver<Found> {
        let mut asked = self.0.asked();
        let under_way = asked
            .get(host)
            .filter(|answer| answer.has_changed().is_ok());
        if let Some(answer) = under_way {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        asked.insert(host.to_owned(), answer.clone());
        drop(asked);
        let (inner, host) = (Arc::clone(&self.0), host.to_owned());
        // It goes on to its end though nobody may wait for it any more: a thread is at it.
        actix_rt::spawn(async move {
            let found = match Arc::clone(&inner.places).acquire_owned().await {
                Ok(place) => {
                    let name = host.clone();
                    let looked = actix_rt::task::spawn_blocking(move || {
                        let found = look_up(&name);
                        drop(place);
                        found
                    });
                    looked
                        .await
                        .unwrap_or_else(|failed| Err(failed.to_string()))
                }
                Err(closed) => Err(closed.to_string()),
            };
            inner.asked().remove(&host);
            tell.send_replace(Some(found));
        });
        answer
    }
}

impl Inner {
    fn asked(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Found>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the C library, which blocks.
fn look_up(host: &str) -> Result<Arc<[IpAddr]>, String> {
    let found = (host, 0).to_socket_addrs().map_err(|error| plain(&error))?;
    let addresses: Arc<[IpAddr]> = found.map(|address| address.ip()).collect();
    if addresses.is_empty() {
        return Err("it has no address".to_owned());
    }
    Ok(addresses)
}

/// Without the words that std puts before the reason.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.strip_prefix("failed to lookup address information: ") {
        Some(reason) => reason.to_owned(),
        None => text,
    }
}

impl Resolve for Names {
    fn lookup<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, Box<dyn Error>>> {
        Box::pin(async move {
            let addresses = self.look_up(host).await?;
            let with_port = addresses.iter().map(|ip| SocketAddr::new(*ip, port));
            Ok(with_port.collect())
        })
    }
}
