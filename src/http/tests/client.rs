//! A client that sends exactly the bytes that it is told to.

use std::path::Path;
use std::time::Duration;

use actix_web::rt::net::{TcpStream, UnixStream};
use actix_web::rt::time::timeout;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How long a test waits for what must come.
const ENOUGH: Duration = Duration::from_secs(20);

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head[9..12].parse().unwrap();
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem, whose form is checked on the way.
    pub(super) fn code(&self) -> String {
        let content_type = self.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        for member in ["type", "title", "detail"] {
            assert!(body[member].is_string(), "{self:?}");
        }
        body["code"].as_str().unwrap().to_owned()
    }
}

/// One request of the usual form; the connection is closed after it.
pub(super) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        text.push_str("Host: localhost\r\n");
    }
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text
}

/// Sends bytes and reads to the end.
pub(super) async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    bytes: &[u8],
) -> Answer {
    // A server that refuses early may close before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(ENOUGH, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server neither answers nor closes");
    Answer::parse(&String::from_utf8_lossy(&answer))
}

/// Reads until the text has come, and gives all that came before and with it.
pub(super) async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut all = Vec::new();
    let found = timeout(ENOUGH, async {
        loop {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await.unwrap();
            all.extend_from_slice(&piece[..count]);
            if String::from_utf8_lossy(&all).contains(text) {
                return true;
            }
            if count == 0 {
                return false;
            }
        }
    });
    let found = found.await;
    let all = String::from_utf8_lossy(&all).into_owned();
    assert_eq!(found, Ok(true), "{text:?} did not come, but {all:?}");
    all
}

/// A connection over TCP.
pub(super) async fn tcp(address: std::net::SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// A connection over the socket.
pub(super) async fn unix(path: &Path) -> UnixStream {
    UnixStream::connect(path).await.unwrap()
}
