//! `GET /api/logs/{name}?tail=200&follow=1`: what a service wrote, as text that is safe to
//! look at (see [`super::escape`]).
//!
//! A follower costs a task that looks at the file a few times a second and a queue of a few
//! pieces. One that does not read is dropped; one that is not there any more ends with its
//! connection; all end when we stop.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::http::header;
use actix_web::rt::time::{sleep, timeout};
use actix_web::web::{Bytes, block};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use slog::debug;
use tokio::sync::mpsc;

use super::api::{Api, Closing};
use super::connection::{Streaming, Wire};
use super::escape::Escaper;
use super::places::Place;
use super::problem::Problem;
use super::query::Query;
use super::services;
use crate::tail::Tail;

const DEFAULT_LINES: usize = 200;
const MAX_LINES: usize = 10_000;
/// How often a follower looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many pieces wait for a client that reads slowly.
const QUEUE: usize = 4;
/// How many may follow at the same time.
pub(super) const MAX_FOLLOWERS: usize = 64;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    lines: usize,
    follow: bool,
}

/// `GET /api/logs/{name}`.
pub(super) async fn show(
    api: &Api,
    name: &str,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let asked = read(request.query_string())?;
    let name = services::find(api, name).await?.name;
    let place = if asked.follow {
        let place = api.followers.take();
        Some(place.ok_or_else(|| {
            Problem::unavailable(
                "too_many_followers",
                format!("{} already follow", api.followers.most()),
            )
        })?)
    } else {
        None
    };
    let path = api.log_dir.join(format!("{name}.log"));
    let (tail, last) = on_disk(move || Tail::open(path, asked.lines))
        .await
        .map_err(|error| unreadable(&error))?;
    let (mut escaper, mut text) = (Escaper::default(), String::new());
    escaper.push(&last, &mut text);
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    let Some(place) = place else {
        escaper.finish(&mut text);
        return Ok(response.body(text));
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let pump = Pump {
        tail,
        escaper,
        sender,
        patience: api.patience.read,
        closing: api.closing.clone(),
        _place: place,
    };
    let log = api.log.clone();
    actix_web::rt::spawn(async move {
        if let Err(error) = pump.run(text).await {
            debug!(log, "following a log ended"; "service" => %name, "error" => %error);
        }
    });
    Ok(response.streaming(Pieces {
        receiver,
        wire: request
            .conn_data::<Wire>()
            .cloned()
            .unwrap_or_default()
            .stream(),
    }))
}

fn unreadable(error: &io::Error) -> Problem {
    Problem::unavailable("unreadable_log", format!("the log cannot be read: {error}"))
}

fn read(query: &str) -> Result<Asked, Problem> {
    let query = Query::parse(query, &["tail", "follow"])?;
    let lines = match query.get("tail") {
        None => DEFAULT_LINES,
        Some(lines) => lines
            .parse()
            .ok()
            .filter(|lines| (0..=MAX_LINES).contains(lines))
            .ok_or_else(|| Query::wrong("tail", lines, "a number from 0 to 10000"))?,
    };
    let follow = match query.get("follow") {
        None | Some("0" | "false") => false,
        Some("1" | "true" | "") => true,
        Some(other) => return Err(Query::wrong("follow", other, "0 or 1")),
    };
    Ok(Asked { lines, follow })
}

/// Runs something that blocks.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    block(work).await.map_err(io::Error::other)?
}

/// Why a follower ended that had not asked for it.
#[derive(Debug, thiserror::Error)]
enum PumpError {
    #[error("the log cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the client does not read")]
    Slow,
}

/// Carries a log to one client.
struct Pump {
    tail: Tail,
    escaper: Escaper,
    sender: mpsc::Sender<Bytes>,
    patience: Duration,
    closing: Closing,
    _place: Place,
}

impl Pump {
    async fn run(mut self, mut text: String) -> Result<(), PumpError> {
        loop {
            if text.is_empty() {
                tokio::select! {
                    biased;
                    // Both may be asked again at any time, and sleeping loses nothing.
                    () = self.closing.wait() => return Ok(()),
                    () = self.sender.closed() => return Ok(()),
                    () = sleep(LOOK_EVERY) => {}
                }
            } else {
                let piece = Bytes::from(std::mem::take(&mut text));
                tokio::select! {
                    biased;
                    () = self.closing.wait() => return Ok(()),
                    // What is not sent when this is given up is lost with its client.
                    sent = timeout(self.patience, self.sender.send(piece)) => match sent {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Ok(()),
                        Err(_) => return Err(PumpError::Slow),
                    }
                }
            }
            let mut tail = self.tail;
            let (tail, piece) = on_disk(move || {
                let piece = tail.next()?;
                Ok((tail, piece))
            })
            .await?;
            self.tail = tail;
            self.escaper.push(&piece, &mut text);
        }
    }
}

/// The body of a follower's answer. It ends when the client does: nothing else would notice
/// before the next piece.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    wire: Streaming,
}

impl Stream for Pieces {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.wire.is_gone() {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}

/// Where a service's log lies.
pub(super) fn directory(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_how_many_lines_and_whether_to_follow() {
        let asked = |lines, follow| Ok(Asked { lines, follow });
        assert_eq!(read(""), asked(200, false));
        assert_eq!(read("tail=0&follow=1"), asked(0, true));
        assert_eq!(read("tail=10000&follow=0"), asked(10_000, false));
        for (query, key) in [
            ("tail=10001", "tail"),
            ("tail=-1", "tail"),
            ("follow=maybe", "follow"),
            ("tial=3", "tial"),
        ] {
            let problem = read(query).unwrap_err();
            assert!(problem.detail().contains(key), "{query}: {problem:?}");
        }
    }
}
