//! A server that says what it is told to, whatever it is asked.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server on a port of its own, until it is dropped or has failed.
pub(crate) struct Served {
    scheme: &'static str,
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    asked: Receiver<String>,
    connections: Arc<Mutex<u32>>,
}

struct Script {
    answer: Vec<u8>,
    /// Whether the connection stays open when all is said.
    stays: bool,
    /// Whether it answers before it has read a request.
    deaf: bool,
    /// Whether chunks follow, for as long as somebody takes them.
    endless: bool,
    /// How many requests a connection serves.
    requests: u32,
    tls: Option<Arc<ServerConfig>>,
}

/// Answers by these bytes, then closes the connection in an orderly way.
pub(crate) fn serve(answer: impl Into<Vec<u8>>) -> Served {
    start(answer.into(), None)
}

/// Answers by this head, and then by chunks until the client goes away.
pub(crate) fn serve_endlessly(head: &str) -> Served {
    let served = start(head.as_bytes().to_vec(), None);
    served.script.lock().expect("alone").endless = true;
    served
}

/// The same behind TLS.
pub(crate) fn serve_tls(answer: impl Into<Vec<u8>>, tls: ServerConfig) -> Served {
    start(answer.into(), Some(Arc::new(tls)))
}

fn start(answer: Vec<u8>, tls: Option<Arc<ServerConfig>>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let script = Arc::new(Mutex::new(Script {
        answer,
        stays: false,
        deaf: false,
        endless: false,
        requests: 1,
        tls,
    }));
    let (tell, asked) = channel();
    let connections = Arc::new(Mutex::new(0));
    let (scripted, counted) = (Arc::clone(&script), Arc::clone(&connections));
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            *counted.lock().expect("alone") += 1;
            let script = scripted.lock().expect("alone");
            // A client that goes away early is what some tests are about.
            let _gone = talk(&stream, &script, &tell);
            if script.stays {
                open.push(stream);
            } else {
                let _gone = stream.shutdown(Shutdown::Write);
                let _gone = (&stream).read_to_end(&mut Vec::new());
            }
        }
    });
    Served {
        scheme,
        address,
        script,
        asked,
        connections,
    }
}

fn talk(stream: &TcpStream, script: &Script, tell: &Sender<String>) -> std::io::Result<()> {
    let Some(tls) = &script.tls else {
        for _ in 0..script.requests {
            answer(&mut &*stream, script, tell)?;
        }
        return Ok(());
    };
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    answer(&mut stream, script, tell)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn answer(
    stream: &mut (impl Read + Write),
    script: &Script,
    tell: &Sender<String>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !script.deaf && !is_complete(&request) {
        let mut some = [0; 4096];
        let n = stream.read(&mut some)?;
        if n == 0 {
            return Ok(());
        }
        request.extend_from_slice(&some[..n]);
    }
    let _nobody_asks = tell.send(String::from_utf8_lossy(&request).into_owned());
    stream.write_all(&script.answer)?;
    if script.endless {
        loop {
            stream.write_all(b"5\r\nlong \r\n")?;
        }
    }
    stream.flush()
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

impl Served {
    /// The same, but its connections stay open when all is said.
    pub(crate) fn that_stays(self) -> Self {
        self.script.lock().expect("alone").stays = true;
        self
    }

    /// The same, but it answers whatever comes, before it does.
    pub(crate) fn that_does_not_listen(self) -> Self {
        self.script.lock().expect("alone").deaf = true;
        self
    }

    /// The same, answering two requests on a connection.
    pub(crate) fn twice_on_a_connection(self) -> Self {
        self.script.lock().expect("alone").requests = 2;
        self
    }

    /// Where a path of it is.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The same by another name.
    pub(crate) fn address_at(&self, host: &str) -> String {
        format!("{}://{host}:{}/", self.scheme, self.address.port())
    }

    /// Its address and port, as reasons name it.
    pub(crate) fn place(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked first.
    pub(crate) fn asked(&self) -> String {
        self.asked.recv().expect("a request")
    }

    /// How many connections it has had.
    pub(crate) fn connections(&self) -> u32 {
        *self.connections.lock().expect("alone")
    }
}
