//! What Supabase has in front of PostgREST, as far as clients notice, with faults on demand.

use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::wire::{self, Head};
use super::{ANON_KEY, EXPIRED_KEY, FORGED_KEY, PATIENCE, SECRET_KEY, SERVICE_KEY, USER_KEY};

/// How long a request line the edge takes; PostgREST itself takes more than 40 KB.
const MOST_TARGET: usize = 8 * 1024;

/// What the gateway does to a request instead of passing it on.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers by itself; the server is not asked.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Asks the server only after so long.
    Delay(Duration),
    /// Resets the connection; the server is not asked.
    Reset,
    /// The server does what was asked, then the connection is reset: nobody hears of it.
    DropReply,
    /// The server does what was asked; its answer ends in the middle of the body.
    CutReply,
    /// Never answers, and holds the connection open until the client gives up.
    Silence,
    /// The server does what was asked; its answer comes a byte at a time, so far apart.
    Drip(Duration),
    /// The server does what was asked; this body stands in place of its own.
    Body(Vec<u8>),
}

impl Fault {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &str) -> Self {
        Self::answer(
            status,
            &[("Content-Type", "application/json; charset=utf-8")],
            body,
        )
    }

    /// An answer with these headers.
    pub fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Self {
        Self::Answer {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            body: body.as_bytes().to_vec(),
        }
    }
}

/// A request as it came, and what became of it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query, `/rest/v1` included.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The answer's status, once there is one.
    pub status: Option<u16>,
    pub at: Instant,
    number: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// How many rows its body holds.
    pub fn rows(&self) -> usize {
        self.json().as_array().map_or(0, Vec::len)
    }
}

/// Decides what happens to a request.
type Rule = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    upstream: Option<PathBuf>,
    rule: Mutex<Option<Rule>>,
    seen: Mutex<Vec<Seen>>,
    count: AtomicUsize,
    connections: AtomicUsize,
    most_connections: AtomicUsize,
    stopped: AtomicBool,
}

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    state: Arc<State>,
}

impl Gateway {
    /// One in front of the PostgREST at this socket.
    pub fn before(upstream: &Path) -> Self {
        Self::listen(State {
            upstream: Some(upstream.to_owned()),
            ..State::default()
        })
    }

    /// One with nothing behind it: what no rule answers is 502.
    pub fn alone() -> Self {
        Self::listen(State::default())
    }

    fn listen(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let now = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.most_connections.fetch_max(now, Ordering::SeqCst);
                    // A client that goes away is its own affair.
                    let _ended = serve(&stream, &shared);
                    shared.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this decides what happens to each request; nothing: it is passed on.
    pub fn rule(&self, rule: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) {
        *lock(&self.state.rule) = Some(Box::new(rule));
    }

    /// These happen to the next requests, one each; those after them are passed on.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut faults: Vec<Fault> = faults.into_iter().collect();
        faults.reverse();
        self.rule(move |_| faults.pop());
    }

    /// No faults any more.
    pub fn well(&self) {
        *lock(&self.state.rule) = None;
    }

    /// The requests so far, in the order in which they came; forgotten by this.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.state.seen))
    }

    /// The most connections that were open at once.
    pub fn most_connections(&self) -> usize {
        self.state.most_connections.load(Ordering::SeqCst)
    }

    pub(super) fn stop(&self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which looks then.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client's connection, with a connection of its own to the server.
fn serve(client: &TcpStream, state: &State) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client);
    let mut writer = client;
    let mut server = None;
    while let Some(head) = wire::read_head(&mut reader)? {
        if head.header("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = wire::read_body(&head, &mut reader)?;
        let mut words = head.first.split(' ');
        let seen = Seen {
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            body,
            status: None,
            at: Instant::now(),
            number: state.count.fetch_add(1, Ordering::SeqCst),
        };
        let fault = lock(&state.rule).as_mut().and_then(|rule| rule(&seen));
        lock(&state.seen).push(seen.clone());
        let (mut answer, mut body) = match &fault {
            Some(Fault::Reset) => return reset(client),
            Some(Fault::Silence) => return wait_for_the_end(client),
            Some(Fault::Answer {
                status,
                headers,
                body,
            }) => (answer(*status, headers), body.clone()),
            Some(Fault::Delay(length)) => {
                std::thread::sleep(*length);
                ask(&head, &seen, state, &mut server)?
            }
            Some(Fault::DropReply) => {
                ask(&head, &seen, state, &mut server)?;
                return reset(client);
            }
            None | Some(Fault::CutReply | Fault::Drip(_) | Fault::Body(_)) => {
                ask(&head, &seen, state, &mut server)?
            }
        };
        if let Some(Fault::Body(other)) = &fault {
            body.clone_from(other);
        }
        if let Some(same) = lock(&state.seen)
            .iter_mut()
            .find(|other| other.number == seen.number)
        {
            same.status = answer.status();
        }
        match fault {
            Some(Fault::CutReply) => {
                answer.set("Content-Length", "100000");
                writer.write_all(&[answer.bytes().as_slice(), &body].concat())?;
                return client.shutdown(Shutdown::Both);
            }
            Some(Fault::Drip(pause)) => {
                let mut bytes = Vec::new();
                wire::write(answer, &body, &mut bytes)?;
                for byte in bytes {
                    writer.write_all(&[byte])?;
                    std::thread::sleep(pause);
                }
            }
            _ => wire::write(answer, &body, &mut writer)?,
        }
        if head
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
        {
            break;
        }
    }
    Ok(())
}

/// The gateway's own checks, then the server.
fn ask(
    head: &Head,
    seen: &Seen,
    state: &State,
    server: &mut Option<BufReader<UnixStream>>,
) -> io::Result<(Head, Vec<u8>)> {
    let refuse = |status, message: &str| {
        let body = serde_json::json!({ "message": message }).to_string();
        let kind = [("Content-Type", "application/json".to_owned())];
        Ok((answer(status, &kind), body.into_bytes()))
    };
    let Some(upstream) = &state.upstream else {
        return refuse(502, "nothing is behind this gateway");
    };
    if seen.target.len() > MOST_TARGET {
        return refuse(414, "URI Too Long");
    }
    let Some(target) = seen.target.strip_prefix("/rest/v1/") else {
        return refuse(404, "no Route matched with those values");
    };
    let Some(key) = seen.header("apikey") else {
        return refuse(401, "No API key found in request");
    };
    let known = [SERVICE_KEY, ANON_KEY, USER_KEY, EXPIRED_KEY, FORGED_KEY];
    let mut passed = head.clone();
    if key == SECRET_KEY {
        // A key of the new kind is no JWT: the gateway says whom it stands for, unless the
        // client does.
        if seen.header("authorization").is_none() {
            passed.set("Authorization", &format!("Bearer {SERVICE_KEY}"));
        }
    } else if !known.contains(&key) {
        return refuse(401, "Invalid API key");
    }
    passed.first = format!("{} /{target} HTTP/1.1", seen.method);
    for hop in ["connection", "keep-alive", "expect"] {
        passed
            .headers
            .retain(|(name, _)| !name.eq_ignore_ascii_case(hop));
    }
    // A connection that was kept may have been closed meanwhile: then once more, anew.
    let kept = server.take();
    if let Some(mut stream) = kept
        && let Ok(reply) = exchange(&passed, &seen.body, &mut stream)
    {
        *server = Some(stream);
        return Ok(reply);
    }
    let stream = UnixStream::connect(upstream)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let reply = exchange(&passed, &seen.body, &mut stream)?;
    *server = Some(stream);
    Ok(reply)
}

fn exchange(
    head: &Head,
    body: &[u8],
    server: &mut BufReader<UnixStream>,
) -> io::Result<(Head, Vec<u8>)> {
    wire::write(head.clone(), body, server.get_mut())?;
    let answer = wire::read_head(server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let body = if head.first.starts_with("HEAD ") {
        Vec::new()
    } else {
        wire::read_body(&answer, server)?
    };
    Ok((answer, body))
}

fn answer(status: u16, headers: &[(&'static str, String)]) -> Head {
    Head {
        first: format!("HTTP/1.1 {status} Scripted"),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

/// Closes with RST, so that the client's read fails instead of ending.
fn reset(client: &TcpStream) -> io::Result<()> {
    nix::sys::socket::setsockopt(
        client,
        nix::sys::socket::sockopt::Linger,
        &libc::linger {
            l_onoff: 1,
            l_linger: 0,
        },
    )?;
    Ok(())
}

/// Reads until the client gives up.
fn wait_for_the_end(mut client: &TcpStream) -> io::Result<()> {
    use std::io::Read as _;
    let mut chunk = [0; 1024];
    while client.read(&mut chunk)? > 0 {}
    Ok(())
}
