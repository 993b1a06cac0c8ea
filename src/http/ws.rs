//! `GET /api/ws`: the same as `/api/stream`, as text messages of a WebSocket (RFC 6455):
//! `{"id", "event", "data"}`. A ping stands for the beat. Where a client goes on it says by
//! `?last_event_id=`, because browsers cannot send a header here. What clients say is not
//! looked at, but for pings and their farewell.

use std::io;

use actix_codec::{Decoder as _, Encoder as _};
use actix_http::body::{BodyStream, BoxBody, MessageBody as _};
use actix_http::ws::{CloseCode, CloseReason, Codec, Frame, Message, ProtocolError, handshake};
use actix_web::dev::Payload;
use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;

use super::api::Api;
use super::problem::Problem;
use super::stream::{Onlooker, Piece, While, after, farewell, told, wire_of};

/// How long a message of a client may be: longer than any that means something here.
const MOST_MESSAGE: usize = 4096;
/// The longest head of a frame, with its mask (RFC 6455, 5.2).
const HEAD: usize = 14;

/// One client.
struct Socket {
    onlooker: Onlooker,
    incoming: Payload,
    codec: Codec,
    received: BytesMut,
    over: bool,
}

/// What came first.
enum Step {
    Send(Option<Piece>),
    Received(Option<Bytes>),
}

/// `GET /api/ws`.
pub(super) fn socket(
    api: &Api,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let asked = after(request.query_string())?;
    let refused = |why: String| {
        Problem::new(StatusCode::UPGRADE_REQUIRED, "no_websocket", why)
            .with_header(header::UPGRADE, "websocket")
    };
    if request.method() != Method::GET {
        return Err(refused("a WebSocket begins with GET".to_owned()));
    }
    let mut response = handshake(request.head()).map_err(|why| refused(why.to_string()))?;
    let socket = Socket {
        onlooker: Onlooker::new(api, asked)?,
        incoming: payload,
        codec: Codec::new().max_size(MOST_MESSAGE),
        received: BytesMut::new(),
        over: false,
    };
    let pieces = unfold(socket, |mut socket| async {
        let piece = socket.next().await?;
        Some((piece, socket))
    });
    let body = BodyStream::new(While {
        stream: Box::pin(pieces),
        wire: wire_of(request),
    });
    let response: actix_http::Response<BoxBody> =
        response.message_body(body.boxed()).map_err(|error| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "no_websocket",
                error.to_string(),
            )
        })?;
    Ok(HttpResponse::from(response))
}

impl Socket {
    /// The next bytes for the client. An error ends the connection without a farewell.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.over {
                return None;
            }
            // What has been received is dealt with before anything else is.
            match self.codec.decode(&mut self.received) {
                Ok(Some(frame)) => match self.answer(frame) {
                    Some(answer) => return Some(self.encoded([answer])),
                    None => continue,
                },
                // The codec compares a frame's length with what it may be only when all of it is
                // there: what is longer is refused before that, or it would be kept for ever.
                Ok(None) if self.received.len() > MOST_MESSAGE + HEAD => {
                    return Some(self.mistaken(&ProtocolError::Overflow));
                }
                Ok(None) => {}
                Err(error) => return Some(self.mistaken(&error)),
            }
            // A piece that is not sent because something came first is asked for again.
            let step = tokio::select! {
                biased;
                bytes = self.incoming.next() => Step::Received(bytes.and_then(Result::ok)),
                piece = self.onlooker.next() => Step::Send(piece),
            };
            match step {
                Step::Received(Some(bytes)) => self.received.extend_from_slice(&bytes),
                Step::Received(None) | Step::Send(None) => return None,
                Step::Send(Some(piece)) => return Some(self.written(&piece)),
            }
        }
    }

    /// What a client's message is answered with.
    fn answer(&mut self, frame: Frame) -> Option<Message> {
        match frame {
            Frame::Ping(bytes) => Some(Message::Pong(bytes)),
            Frame::Close(_) => {
                self.over = true;
                Some(Message::Close(None))
            }
            Frame::Text(_) | Frame::Binary(_) | Frame::Continuation(_) | Frame::Pong(_) => None,
        }
    }

    fn mistaken(&mut self, error: &ProtocolError) -> io::Result<Bytes> {
        self.over = true;
        let code = match error {
            ProtocolError::Overflow => CloseCode::Size,
            ProtocolError::UnmaskedFrame
            | ProtocolError::MaskedFrame
            | ProtocolError::InvalidOpcode(_)
            | ProtocolError::InvalidLength(_)
            | ProtocolError::BadOpCode
            | ProtocolError::ContinuationNotStarted
            | ProtocolError::ContinuationStarted
            | ProtocolError::ContinuationFragment(_)
            | ProtocolError::Io(_) => CloseCode::Protocol,
        };
        let why = CloseReason {
            code,
            description: Some(error.to_string()),
        };
        self.encoded([Message::Close(Some(why))])
    }

    fn written(&mut self, piece: &Piece) -> io::Result<Bytes> {
        let text = |id: u64, event: &str, data: &str| {
            Message::Text(format!(r#"{{"id":{id},"event":"{event}","data":{data}}}"#).into())
        };
        match piece {
            Piece::Snapshot { id, data } => self.encoded([text(*id, "snapshot", data)]),
            Piece::News(items) => {
                let messages = items.iter().map(|item| {
                    let (event, data) = told(item);
                    text(item.id, event, data)
                });
                self.encoded(messages)
            }
            Piece::Beat => self.encoded([Message::Ping(Bytes::new())]),
            Piece::Bye { id, reason } => {
                self.over = true;
                let why = CloseReason {
                    code: CloseCode::Away,
                    description: Some(reason.clone()),
                };
                let bye = text(*id, "bye", &farewell(reason));
                self.encoded([bye, Message::Close(Some(why))])
            }
        }
    }

    fn encoded(&mut self, messages: impl IntoIterator<Item = Message>) -> io::Result<Bytes> {
        let mut bytes = BytesMut::new();
        for message in messages {
            let encoded = self.codec.encode(message, &mut bytes);
            encoded.map_err(io::Error::other)?;
        }
        Ok(bytes.freeze())
    }
}
