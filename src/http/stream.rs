//! `GET /api/stream`: everything once, then what changes, as server-sent events (WHATWG HTML,
//! 9.2). `GET /api/ws` ([`super::ws`]) sends the same.
//!
//! ```text
//!   id: 12               snapshot: all services
//!   event: service       one that changed, at most four times a second
//!   event: removed       one that is watched no longer
//!   event: event         something that was recorded
//!   event: alert         an alert as it is now
//!   event: bye           why the stream ends
//!   : beat               every ten seconds
//! ```
//!
//! Nothing is queued for a client: it takes the next piece from the feed when it has room for
//! it, and what was outrun meanwhile it never sees. One that reads nothing is dropped by its
//! [connection](super::connection), one that has fallen behind what the feed keeps is told so.
//! Who comes back with `Last-Event-ID` goes on from there if the feed still holds it.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::rt::time::{Instant, sleep_until};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;

use supervisor_actors::feed::{Item, News, Reader};
use supervisor_core::{Level, View};

use super::alerts;
use super::api::{Api, Closing};
use super::connection::{Streaming, Wire};
use super::places::Place;
use super::problem::Problem;
use super::query::Query;

/// How many may look on at the same time at most.
pub(super) const MOST_STREAMS: usize = 256;
/// How often a stream says that it lives.
const BEAT: Duration = Duration::from_secs(10);
/// How much news goes into one piece.
const SOME: usize = 64;

/// What a client is sent next.
pub(super) enum Piece {
    /// Everything.
    Snapshot {
        /// What has come before.
        id: u64,
        /// As JSON.
        data: String,
    },
    /// What has changed, in order.
    News(Vec<Arc<Item>>),
    /// Nothing, but it lives.
    Beat,
    /// The end.
    Bye {
        /// After this.
        id: u64,
        /// Why.
        reason: String,
    },
}

/// One client, whatever it speaks.
pub(super) struct Onlooker {
    api: Api,
    reader: Reader,
    closing: Closing,
    phase: Phase,
    beat: Instant,
    _place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has seen nothing.
    New,
    /// It has seen what came before.
    Following,
    /// It has been told why it ends.
    Over,
}

#[derive(Serialize)]
struct Snapshot<'a> {
    services: &'a [View],
    overall: Level,
    time: String,
}

/// `GET /api/stream`.
pub(super) fn stream(api: &Api, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    // A page that opens the stream again can only say it so; the browser itself says it by the
    // header, and that is younger.
    let asked = after(request.query_string())?;
    let header = request.headers().get("last-event-id");
    let header = header.and_then(|id| number(id.to_str().ok()?));
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // nginx would collect it otherwise.
        .insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let onlooker = Onlooker::new(api, header.or(asked))?;
    let pieces = unfold(onlooker, |mut onlooker| async {
        let piece = onlooker.next().await?;
        Some((written(&piece), onlooker))
    });
    Ok(response.streaming(While {
        stream: Box::pin(pieces),
        wire: wire_of(request),
    }))
}

/// From where on it is asked for: the id of the last piece that the client has seen.
pub(super) fn after(query: &str) -> Result<Option<u64>, Problem> {
    let query = Query::parse(query, &["last_event_id"])?;
    let Some(id) = query.get("last_event_id") else {
        return Ok(None);
    };
    let id = number(id);
    id.map(Some).ok_or_else(|| {
        let given = query.get("last_event_id").unwrap_or_default();
        Query::wrong("last_event_id", given, "the id of a piece of this stream")
    })
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

pub(super) fn wire_of(request: &HttpRequest) -> Streaming {
    let wire = request.conn_data::<Wire>().cloned();
    wire.unwrap_or_default().stream()
}

impl Onlooker {
    /// One more, who has seen everything up to that id.
    pub(super) fn new(api: &Api, after: Option<u64>) -> Result<Self, Problem> {
        let place = api.streams.take().ok_or_else(|| {
            Problem::unavailable(
                "too_many_streams",
                format!("{} already look on", api.streams.most()),
            )
        })?;
        let (reader, phase) = match after {
            Some(id) => match api.feed.read_after(id) {
                (reader, true) => (reader, Phase::Following),
                (reader, false) => (reader, Phase::New),
            },
            None => (api.feed.read(), Phase::New),
        };
        Ok(Self {
            api: api.clone(),
            reader,
            closing: api.closing.clone(),
            phase,
            beat: Instant::now() + BEAT,
            _place: place,
        })
    }

    /// What comes next; nothing after the end. Giving up and asking again loses nothing.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        match self.phase {
            Phase::New => return Some(self.snapshot().await),
            Phase::Following => {}
            Phase::Over => return None,
        }
        loop {
            if self.closing.is_now() {
                return Some(self.bye("the supervisor stops".to_owned()));
            }
            match self.reader.next(SOME) {
                Ok(news) if !news.is_empty() => return Some(Piece::News(news)),
                Ok(_) => {}
                Err(_behind) => {
                    let why = "too slow: some of what happened is no longer kept";
                    return Some(self.bye(why.to_owned()));
                }
            }
            tokio::select! {
                biased;
                // All three may be given up and waited for again.
                () = self.closing.wait() => {}
                () = self.reader.wait() => {}
                () = sleep_until(self.beat) => {
                    self.beat = Instant::now() + BEAT;
                    return Some(Piece::Beat);
                }
            }
        }
    }

    async fn snapshot(&mut self) -> Piece {
        // What changes while it is made comes after it once more.
        let id = self.reader.position();
        let overview = match self.api.ask(self.api.supervisor.overview()).await {
            Ok(overview) => overview,
            Err(problem) => return self.bye(problem.detail().to_owned()),
        };
        let snapshot = Snapshot {
            services: &overview.services,
            overall: overview.overall,
            time: self.api.clock.wall().rfc3339_micros(),
        };
        self.phase = Phase::Following;
        Piece::Snapshot {
            id,
            data: json(&snapshot),
        }
    }

    fn bye(&mut self, reason: String) -> Piece {
        self.phase = Phase::Over;
        let id = self.reader.position();
        Piece::Bye { id, reason }
    }
}

/// The word for a piece of news, and what it says.
pub(super) fn told(item: &Item) -> (&'static str, &str) {
    let word = match &item.news {
        News::Service(_) => "service",
        News::Removed(_) => "removed",
        News::Event(_) => "event",
        News::Alert(_) => "alert",
    };
    let text = item.text(|news| match news {
        News::Service(view) => json(view),
        News::Removed(name) => json(&serde_json::json!({ "name": name.as_str() })),
        News::Event(event) => json(event),
        News::Alert(alert) => json(&alerts::shown((**alert).clone())),
    });
    (word, text)
}

/// Why a stream ends.
pub(super) fn farewell(reason: &str) -> String {
    json(&serde_json::json!({ "reason": reason }))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("keys are strings, and numbers are finite or null")
}

/// A piece as server-sent events.
fn written(piece: &Piece) -> Result<Bytes, Infallible> {
    let mut text = String::new();
    let mut frame = |id: u64, event: &str, data: &str| {
        // JSON has no line breaks outside its strings, and escapes those inside.
        let _never_fails = write!(text, "id: {id}\nevent: {event}\ndata: {data}\n\n");
    };
    match piece {
        Piece::Snapshot { id, data } => frame(*id, "snapshot", data),
        Piece::News(items) => {
            for item in items {
                let (event, data) = told(item);
                frame(item.id, event, data);
            }
        }
        Piece::Beat => text.push_str(": beat\n\n"),
        Piece::Bye { id, reason } => frame(*id, "bye", &farewell(reason)),
    }
    Ok(text.into())
}

/// A stream that ends when its client does: nothing else would notice before the next piece.
pub(super) struct While<S> {
    pub(super) stream: Pin<Box<S>>,
    pub(super) wire: Streaming,
}

impl<S: Stream> Stream for While<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.wire.is_gone() {
            return Poll::Ready(None);
        }
        self.stream.as_mut().poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_stream_goes_on_is_a_number_of_its_own() {
        assert_eq!(after(""), Ok(None));
        assert_eq!(after("last_event_id=12"), Ok(Some(12)));
        for query in [
            "last_event_id=",
            "last_event_id=-1",
            "last_event_id=a",
            "id=3",
        ] {
            assert_eq!(after(query).unwrap_err().status().as_u16(), 400, "{query}");
        }
    }

    #[test]
    fn a_piece_is_written_as_an_event_of_one_line() {
        let bye = Piece::Bye {
            id: 3,
            reason: "two\nlines".to_owned(),
        };
        let Ok(text) = written(&bye);
        assert_eq!(
            text,
            "id: 3\nevent: bye\ndata: {\"reason\":\"two\\nlines\"}\n\n"
        );
        let Ok(text) = written(&Piece::Beat);
        assert_eq!(text, ": beat\n\n");
    }
}
