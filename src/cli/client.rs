//! HTTP/1.1 to the supervisor over its Unix socket (or TCP): one connection a call, every
//! call with a deadline, every answer with a limit.

mod error;

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::BodySize;
use actix_http::error::{ParseError, PayloadError};
use actix_http::h1::{ClientCodec, ClientPayloadCodec, Message, MessageType};
use actix_http::header::{self, HeaderValue};
use actix_http::{
    ConnectionType, Method, RequestHead, RequestHeadType, ResponseHead, StatusCode, Version,
};
use actix_web::web::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Endpoint;

pub(crate) use error::{ClientError, Problem};

const USER_AGENT: &str = concat!("supervisor/", env!("CARGO_PKG_VERSION"));
/// Said of an answer that stops before its end.
const CUT: &str = "the connection was closed before the end of the answer";

/// What a call may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the connection to the last byte; of a stream, to the head of the answer.
    pub(super) total: Duration,
    /// Bytes of an answer that is read whole.
    pub(super) body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Longer than the supervisor itself takes before it says that it cannot answer.
            total: Duration::from_secs(15),
            body: 256 << 20,
        }
    }
}

/// Speaks to one supervisor.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    limits: Limits,
}

/// A byte stream of either kind.
trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}
type BoxedIo = Box<dyn Io>;

/// What is asked.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    /// JSON, or nothing.
    body: Option<Vec<u8>>,
}

impl Call {
    /// Reads something.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
        }
    }

    /// Ends something.
    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self {
            method: Method::DELETE,
            path: path.into(),
            body: None,
        }
    }

    /// Changes something.
    pub(super) fn post(path: impl Into<String>, body: Option<&serde_json::Value>) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: body.map(|json| json.to_string().into_bytes()),
        }
    }
}

/// The bytes of an answer as they come.
pub(super) struct Chunks {
    body: Body,
    place: String,
}

/// How the rest of an answer is read.
enum Body {
    /// By its length or in chunks.
    Coded(Framed<BoxedIo, ClientPayloadCodec>),
    /// To the end of the connection: what was read with the head, and the rest.
    UntilClosed(Bytes, BoxedIo),
    /// There is none, or no more.
    Ended,
}

impl Client {
    /// One that speaks to that supervisor.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self::with_limits(endpoint, Limits::default())
    }

    /// The same with other limits.
    pub(super) fn with_limits(endpoint: Endpoint, limits: Limits) -> Self {
        Self { endpoint, limits }
    }

    /// Calls and reads the whole answer.
    ///
    /// # Errors
    /// See [`ClientError`]; a status that is no success is [`ClientError::Refused`].
    pub(super) async fn call(&self, call: Call) -> Result<String, ClientError> {
        self.in_time(async {
            let (status, chunks) = self.send(&call).await?;
            let bytes = chunks.whole(self.limits.body).await?;
            Self::judge(status, &bytes)?;
            String::from_utf8(bytes).map_err(|_| self.garbled("it is not UTF-8"))
        })
        .await
    }

    /// Reads JSON: the parsed object, and its text as it came.
    ///
    /// # Errors
    /// As [`Client::call`], and where it is not the JSON that it should be.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        call: Call,
    ) -> Result<(T, String), ClientError> {
        let text = self.call(call).await?;
        let parsed = serde_json::from_str(&text).map_err(|e| self.unexpected(&e))?;
        Ok((parsed, text))
    }

    /// The error of JSON that is not what it should be.
    pub(super) fn unexpected(&self, error: &serde_json::Error) -> ClientError {
        self.garbled(format!("unexpected JSON: {error}"))
    }

    /// Calls and gives the answer as it comes, for as long as it comes.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(super) async fn stream(&self, call: Call) -> Result<Chunks, ClientError> {
        self.in_time(async {
            let (status, chunks) = self.send(&call).await?;
            if !status.is_success() {
                let bytes = chunks.whole(self.limits.body).await?;
                Self::judge(status, &bytes)?;
                return Ok(Chunks {
                    body: Body::Ended,
                    place: self.place(),
                });
            }
            Ok(chunks)
        })
        .await
    }

    /// Ends what takes too long.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        // Cancelling drops the connection, which nothing else uses.
        tokio::time::timeout(self.limits.total, work)
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::Silent {
                    place: self.place(),
                    after: self.limits.total,
                })
            })
    }

    /// Connects, sends, reads the head.
    async fn send(&self, call: &Call) -> Result<(StatusCode, Chunks), ClientError> {
        let head = self.request(call)?;
        let io = self
            .connect()
            .await
            .map_err(|error| self.not_reachable(&error))?;
        let mut framed = Framed::new(io, ClientCodec::default());
        let size = match &call.body {
            Some(body) => BodySize::Sized(body.len() as u64),
            None if call.method == Method::POST => BodySize::Sized(0),
            None => BodySize::None,
        };
        framed
            .feed(Message::Item((head, size)))
            .await
            .map_err(|e| self.garbled(e.to_string()))?;
        if let Some(body) = &call.body {
            framed
                .feed(Message::Chunk(Some(Bytes::copy_from_slice(body))))
                .await
                .map_err(|e| self.garbled(e.to_string()))?;
        }
        // A server that refuses early closes while we still write; its answer is there to read.
        let sent = SinkExt::<Message<(RequestHeadType, BodySize)>>::flush(&mut framed).await;
        let head = loop {
            match framed.next().await {
                Some(Ok(head)) if head.status.is_informational() => {}
                Some(Ok(head)) => break head,
                Some(Err(error)) => return Err(self.garbled(parse_error(&error))),
                None => {
                    let why = sent.err().map_or_else(
                        || "the connection was closed before an answer".to_owned(),
                        |e| e.to_string(),
                    );
                    return Err(self.garbled(why));
                }
            }
        };
        let body = match framed.codec_ref().message_type() {
            _ if ends_with_the_connection(&head) => {
                let parts = framed.into_parts();
                Body::UntilClosed(parts.read_buf.freeze(), parts.io)
            }
            MessageType::None => Body::Ended,
            MessageType::Payload | MessageType::Stream => {
                Body::Coded(framed.into_map_codec(ClientCodec::into_payload_codec))
            }
        };
        let place = self.place();
        Ok((head.status, Chunks { body, place }))
    }

    async fn connect(&self) -> io::Result<BoxedIo> {
        Ok(match &self.endpoint {
            Endpoint::Unix { path, .. } => Box::new(connect_unix(path).await?),
            Endpoint::Tcp { authority, .. } => Box::new(TcpStream::connect(authority).await?),
        })
    }

    fn request(&self, call: &Call) -> Result<RequestHeadType, ClientError> {
        let mut head = RequestHead::default();
        head.method = call.method.clone();
        head.version = Version::HTTP_11;
        head.uri = call
            .path
            .parse()
            .map_err(|e| self.garbled(format!("cannot ask for {}: {e}", call.path)))?;
        head.set_connection_type(ConnectionType::Close);
        let mut set = |name, value: &str| match HeaderValue::from_str(value) {
            Ok(value) => {
                head.headers_mut().insert(name, value);
                Ok(())
            }
            Err(_) => Err(self.garbled(format!("the header {name} cannot hold its value"))),
        };
        set(header::USER_AGENT, USER_AGENT)?;
        set(header::ACCEPT, "application/json, */*")?;
        if call.body.is_some() {
            set(header::CONTENT_TYPE, "application/json")?;
        }
        match &self.endpoint {
            Endpoint::Unix { .. } => set(header::HOST, "localhost")?,
            Endpoint::Tcp { authority, token } => {
                set(header::HOST, authority)?;
                set(header::AUTHORIZATION, &format!("Bearer {token}"))?;
            }
        }
        Ok(RequestHeadType::from(head))
    }

    /// A refusal, or a redirect that nobody should send, as an error.
    fn judge(status: StatusCode, body: &[u8]) -> Result<(), ClientError> {
        if status.is_success() {
            return Ok(());
        }
        // What is no problem object came from something in between: show its beginning.
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            detail: std::str::from_utf8(body)
                .ok()
                .map(|text| text.trim().chars().take(200).collect()),
            ..Problem::default()
        });
        let status = status.as_u16();
        Err(ClientError::Refused(Problem { status, ..problem }))
    }

    fn place(&self) -> String {
        match &self.endpoint {
            Endpoint::Unix { path, .. } => format!("on {}", path.display()),
            Endpoint::Tcp { authority, .. } => format!("at {authority}"),
        }
    }

    fn garbled(&self, why: impl Into<String>) -> ClientError {
        ClientError::Garbled {
            place: self.place(),
            why: why.into(),
        }
    }

    fn not_reachable(&self, error: &io::Error) -> ClientError {
        let why = match (&self.endpoint, error.kind()) {
            (Endpoint::Unix { .. }, io::ErrorKind::NotFound) => {
                "there is no such socket".to_owned()
            }
            (_, io::ErrorKind::ConnectionRefused) => "nobody listens there".to_owned(),
            (_, io::ErrorKind::PermissionDenied) => "permission denied".to_owned(),
            (_, _) => error.to_string(),
        };
        let help = match (&self.endpoint, error.kind()) {
            (Endpoint::Unix { .. }, io::ErrorKind::PermissionDenied) => {
                "ask as the user that runs it".to_owned()
            }
            (
                Endpoint::Unix {
                    config: Some(config),
                    ..
                },
                _,
            ) => format!(
                "start one with `supervisor --config {}`, or name another with --config or --socket",
                config.display()
            ),
            (Endpoint::Unix { config: None, .. } | Endpoint::Tcp { .. }, _) => {
                "is it running?".to_owned()
            }
        };
        let place = self.place();
        ClientError::NotReachable { place, why, help }
    }
}

/// Connects to a socket however long its path is: the address of one holds 107 bytes, so a
/// longer path is shortened by way of its directory, opened.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    /// `sun_path` without its terminating zero.
    const LONGEST: usize = 107;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return UnixStream::connect(path).await;
    };
    if path.as_os_str().len() <= LONGEST {
        return UnixStream::connect(path).await;
    }
    let directory = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(directory)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    UnixStream::connect(short).await
}

/// Whether an answer without a length goes on until its sender closes (RFC 9112, 6.3): the
/// codec takes that to be an empty one.
fn ends_with_the_connection(head: &ResponseHead) -> bool {
    let has = |name| head.headers().contains_key(name);
    !has(header::CONTENT_LENGTH)
        && !has(header::TRANSFER_ENCODING)
        && !matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
}

/// What a head that is none is worth saying.
fn parse_error(error: &ParseError) -> String {
    match error {
        ParseError::Io(error) => error.to_string(),
        ParseError::TooLarge => "its head is too long".to_owned(),
        error => format!("this is not HTTP ({error})"),
    }
}

impl Chunks {
    /// The next bytes, `None` at the end. Cancelling loses nothing: what was read stays in the
    /// connection's buffer until it is handed out.
    ///
    /// # Errors
    /// Where the connection breaks, or ends before the answer does.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let read = match &mut self.body {
            Body::Ended => return Ok(None),
            Body::Coded(framed) => match framed.next().await {
                Some(Ok(Some(bytes))) => Ok(Some(bytes)),
                Some(Ok(None)) => Ok(None),
                Some(Err(PayloadError::Incomplete(_))) => Err(CUT.to_owned()),
                Some(Err(error)) => Err(error.to_string()),
                None => Err(CUT.to_owned()),
            },
            Body::UntilClosed(first, io) => {
                if first.is_empty() {
                    let mut buffer = vec![0; 16 * 1024];
                    match io.read(&mut buffer).await {
                        Ok(0) => Ok(None),
                        Ok(n) => {
                            buffer.truncate(n);
                            Ok(Some(Bytes::from(buffer)))
                        }
                        Err(error) => Err(error.to_string()),
                    }
                } else {
                    Ok(Some(std::mem::take(first)))
                }
            }
        };
        match read {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                self.body = Body::Ended;
                Ok(None)
            }
            Err(why) => {
                self.body = Body::Ended;
                let place = self.place.clone();
                Err(ClientError::Garbled { place, why })
            }
        }
    }

    /// The error of an answer that stopped coming.
    pub(super) fn silent(&self, after: Duration) -> ClientError {
        ClientError::Silent {
            place: self.place.clone(),
            after,
        }
    }

    /// All of it, up to a limit.
    async fn whole(mut self, limit: usize) -> Result<Vec<u8>, ClientError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > limit {
                return Err(ClientError::Garbled {
                    place: self.place,
                    why: format!("it is longer than {limit} bytes"),
                });
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
