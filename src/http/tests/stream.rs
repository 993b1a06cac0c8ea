//! The streams: what is shown to whoever looks on.

use std::time::Duration;

use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Instant, sleep, timeout};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use supervisor_actors::messages::Verb;
use supervisor_actors::testing::external;
use supervisor_core::{Level, ServiceName};

use super::client;
use super::world::{Setup, TOKEN, World};
use crate::http::Patience;

const ENOUGH: Duration = Duration::from_secs(20);

/// One event of a stream.
#[derive(Debug, Clone)]
struct Frame {
    id: u64,
    event: String,
    data: Value,
}

/// A client of `/api/stream`.
struct Sse {
    stream: TcpStream,
    text: String,
    head: String,
}

impl Sse {
    async fn open(world: &World, headers: &[&str]) -> Self {
        Self::over(client::tcp(world.address).await, headers).await
    }

    async fn over(mut stream: TcpStream, headers: &[&str]) -> Self {
        let request = client::request("GET", "/api/stream", headers, "");
        stream.write_all(request.as_bytes()).await.unwrap();
        let all = client::read_until(&mut stream, "\r\n\r\n").await;
        let (head, rest) = all.split_once("\r\n\r\n").unwrap();
        Self {
            stream,
            text: rest.to_owned(),
            head: head.to_ascii_lowercase(),
        }
    }

    /// The next event; nothing at the end. Sizes of chunks stand on lines of their own, which
    /// an event does not have.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let frame = frame.to_owned();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    let mut lines = frame.lines();
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                if let (Some(id), Some(event), Some(data)) =
                    (field("id"), field("event"), field("data"))
                {
                    return Some(Frame {
                        id: id.parse().unwrap(),
                        event: event.to_owned(),
                        data: serde_json::from_str(data).unwrap(),
                    });
                }
                continue;
            }
            let mut piece = vec![0; 65_536];
            let count = timeout(ENOUGH, self.stream.read(&mut piece)).await;
            let count = count.expect("nothing comes").unwrap_or(0);
            if count == 0 {
                return None;
            }
            self.text
                .push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }

    /// The next one of that kind that fits.
    async fn until(&mut self, event: &str, fits: impl Fn(&Value) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("the stream ended");
            if frame.event == event && fits(&frame.data) {
                return frame;
            }
        }
    }
}

fn is(name: &'static str) -> impl Fn(&Value) -> bool {
    move |data| data["name"] == name
}

#[actix_web::test]
async fn the_first_frame_is_everything_and_changes_follow() {
    let world = World::new().await;
    let mut sse = Sse::open(&world, &[]).await;
    assert!(sse.head.starts_with("http/1.1 200"), "{}", sse.head);
    assert!(
        sse.head.contains("content-type: text/event-stream"),
        "{}",
        sse.head
    );
    assert!(
        sse.text.is_empty() || sse.text.contains("id: "),
        "{}",
        sse.text
    );
    let first = sse.next().await.unwrap();
    assert_eq!(first.event, "snapshot");
    let services = world.tcp("GET", "/api/services", &[]).await.json();
    let names = |list: &Value| -> Vec<Value> {
        let list = list["services"].as_array().unwrap();
        list.iter().map(|service| service["name"].clone()).collect()
    };
    assert_eq!(names(&first.data), names(&services));
    assert!(first.data["overall"].is_string() && first.data["time"].is_string());

    world.actors.pulse("a");
    let frame = sse.until("service", is("a")).await;
    assert!(frame.id > first.id);
    assert_eq!(frame.data["status"], "healthy");
    assert_eq!(frame.data["total_pulses"], 1);
    let error = world.tcp("POST", "/api/error/a", &[]).await;
    assert_eq!(error.status, 202, "{error:?}");
    let event = sse
        .until("event", |event| {
            event["service"] == "a" && event["kind"] == "level"
        })
        .await;
    let recorded = world.tcp("GET", "/api/events?service=a", &[]).await.json();
    assert!(
        recorded["events"].as_array().unwrap().contains(&event.data),
        "{event:?} is not among {recorded}"
    );
    let alert = sse.until("alert", |alert| alert["service"] == "a").await;
    assert_eq!(
        (&alert.data["kind"], &alert.data["level"]),
        (&"service".into(), &"warning".into())
    );
}

#[actix_web::test]
async fn a_service_is_shown_at_most_four_times_a_second() {
    let world = World::new().await;
    let mut sse = Sse::open(&world, &[]).await;
    sse.next().await.unwrap();
    let begun = Instant::now();
    for _ in 0..300 {
        world.actors.pulse("a");
        sleep(Duration::from_millis(4)).await;
    }
    let mut shown = 0;
    loop {
        let frame = sse.until("service", is("a")).await;
        shown += 1;
        if frame.data["total_pulses"] == 300 {
            break;
        }
    }
    let most = begun.elapsed().as_millis() / 250 + 2;
    assert!(shown as u128 <= most, "{shown} times, {most} at most");
    assert!(shown >= 3, "{shown} times");
}

#[actix_web::test]
async fn one_that_comes_and_goes_is_seen_to() {
    let world = World::new().await;
    let mut sse = Sse::open(&world, &[]).await;
    sse.next().await.unwrap();
    let body = r#"{"tag":"guest","interval":30}"#;
    let json = ["Content-Type: application/json"];
    let answer = world.tcp_with("POST", "/api/register", &json, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    sse.until("service", is("guest")).await;
    let answer = world.tcp("DELETE", "/api/register/guest", &[]).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let removed = sse.until("removed", is("guest")).await;
    assert_eq!(removed.data, serde_json::json!({"name": "guest"}));
}

#[actix_web::test]
async fn who_comes_back_goes_on_from_there() {
    let world = World::new().await;
    let mut sse = Sse::open(&world, &[]).await;
    let first = sse.next().await.unwrap();
    drop(sse);
    world.actors.pulse("a");
    world.until("a", |view| view.status == Level::Healthy).await;
    let last = format!("Last-Event-ID: {}", first.id);
    let mut again = Sse::open(&world, &[&last]).await;
    loop {
        let frame = again.next().await.unwrap();
        assert_ne!(frame.event, "snapshot");
        if frame.event == "service" && frame.data["name"] == "a" {
            break;
        }
    }
    for unheld in ["Last-Event-ID: 12", "Last-Event-ID: nonsense"] {
        let mut other = Sse::open(&world, &[unheld]).await;
        assert_eq!(other.next().await.unwrap().event, "snapshot", "{unheld}");
    }
}

#[actix_web::test]
async fn a_stop_says_why_and_ends_all_streams_at_once() {
    let world = World::new().await;
    let mut sse = Sse::open(&world, &[]).await;
    sse.next().await.unwrap();
    let mut ws = Ws::open(&world, "").await;
    assert_eq!(ws.next().await.unwrap()["event"], "snapshot");
    let stopped = timeout(Duration::from_millis(1_500), world.servers.stop()).await;
    stopped.expect("a stop waits for streams");
    let bye = loop {
        let frame = sse.next().await.expect("no farewell");
        if frame.event == "bye" {
            break frame;
        }
    };
    assert_eq!(bye.data["reason"], "the supervisor stops");
    assert!(sse.next().await.is_none());
    let bye = ws.until("bye").await;
    assert_eq!(bye["data"]["reason"], "the supervisor stops");
    assert!(ws.next().await.is_none());
}

#[actix_web::test]
async fn f69_a_frame_that_is_never_whole_is_refused_before_it_takes_memory() {
    let world = World::new().await;
    let mut ws = Ws::open(&world, "").await;
    assert_eq!(ws.next().await.unwrap()["event"], "snapshot");
    // A masked text of 2^40 bytes.
    let mut head = vec![0x81, 0xff];
    head.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    ws.stream.write_all(&head).await.unwrap();
    // It may be cut off while this is under way.
    let _ = ws.stream.write_all(&[b'x'; 100_000]).await;
    let (opcode, payload) = ws.control().await.expect("no farewell");
    assert_eq!(opcode, 8);
    assert_eq!(payload[..2], 1009_u16.to_be_bytes(), "{payload:?}");
    assert!(ws.next().await.is_none());
}

#[actix_web::test]
async fn a_hundred_look_on_and_all_see_the_same() {
    let world = World::new().await;
    let mut all = Vec::new();
    for _ in 0..100 {
        let mut sse = Sse::open(&world, &[]).await;
        assert_eq!(sse.next().await.unwrap().event, "snapshot");
        all.push(sse);
    }
    assert_eq!(world.actors.feed.readers(), 100);
    world.actors.pulse("a");
    let mut texts = Vec::new();
    for sse in &mut all {
        let frame = sse.until("service", is("a")).await;
        texts.push((frame.id, frame.data.to_string()));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    drop(all);
    for _ in 0..2_000 {
        if world.actors.feed.readers() == 0 {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("{} places are not given back", world.actors.feed.readers());
}

#[actix_web::test]
async fn f69_one_that_does_not_read_is_dropped_and_holds_up_nobody() {
    let patience = Patience {
        read: Duration::from_millis(500),
        ..Patience::default()
    };
    let specs = (0..500)
        .map(|n| external(&format!("s{n}"), Duration::from_secs(30)))
        .collect();
    let world = World::with(Setup {
        patience,
        specs,
        ..Setup::default()
    })
    .await;
    // Little room on the way, so that it is soon full.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let slow = socket.connect(world.address).await.unwrap();
    let slow = Sse::over(slow, &[]).await;
    let mut reads = Sse::open(&world, &[]).await;
    reads.next().await.unwrap();
    let dropped = async {
        for round in 1_u64.. {
            for n in 0..500 {
                world.actors.pulse(&format!("s{n}"));
            }
            let last = |data: &Value| data["name"] == "s499" && data["total_pulses"] == round;
            reads.until("service", last).await;
            if world.actors.feed.readers() == 1 {
                return;
            }
        }
    };
    timeout(ENOUGH, dropped).await.expect("it is still there");
    drop(slow);
}

#[actix_web::test]
async fn without_onlookers_nothing_is_kept() {
    let world = World::new().await;
    world.actors.pulse("a");
    world.until("a", |view| view.total_pulses == 1).await;
    assert!(!world.actors.feed.is_on());
    let head = world.tcp("HEAD", "/api/stream", &[]).await;
    assert_eq!((head.status, &*head.body), (200, ""));
    assert!(!world.actors.feed.is_on());
}

// === WebSocket ===

/// A client of `/api/ws`.
struct Ws {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Ws {
    async fn open(world: &World, query: &str) -> Self {
        let mut stream = client::tcp(world.address).await;
        let request = format!(
            "GET /api/ws{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let head = loop {
            let mut piece = [0; 1024];
            let count = timeout(ENOUGH, stream.read(&mut piece)).await;
            let count = count.expect("no answer").unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..count]);
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut bytes, rest)).unwrap();
            }
        };
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        // RFC 6455, 1.3: the answer to its example.
        assert!(
            head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{head}"
        );
        Self { stream, bytes }
    }

    /// The next frame: opcode and payload.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((head, length)) = header(&self.bytes)
                && self.bytes.len() >= head + length
            {
                let opcode = self.bytes[0] & 15;
                let rest = self.bytes.split_off(head + length);
                let frame = std::mem::replace(&mut self.bytes, rest);
                return Some((opcode, frame[head..].to_vec()));
            }
            let mut piece = vec![0; 65_536];
            let count = timeout(ENOUGH, self.stream.read(&mut piece)).await;
            let count = count.expect("nothing comes").unwrap_or(0);
            if count == 0 {
                return None;
            }
            self.bytes.extend_from_slice(&piece[..count]);
        }
    }

    /// The next frame that is no news.
    async fn control(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.frame().await {
                Some((1, _)) => {}
                other => return other,
            }
        }
    }

    /// The next text; nothing after a close.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match self.frame().await? {
                (1, text) => return Some(serde_json::from_slice(&text).unwrap()),
                (8, _) => return None,
                _ => {}
            }
        }
    }

    async fn until(&mut self, event: &str) -> Value {
        loop {
            let message = self.next().await.expect("the socket closed");
            if message["event"] == event {
                return message;
            }
        }
    }

    /// Sends a frame, masked as clients must (here with zeros).
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126);
        let mut bytes = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes).await.unwrap();
    }
}

/// How long a frame's header is, and its payload.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    Some(match *bytes.get(1)? {
        126 => (
            4,
            u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(),
        ),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(length).ok()?)
        }
        length => (2, length.into()),
    })
}

#[actix_web::test]
async fn a_web_socket_says_the_same() {
    let world = World::new().await;
    let mut ws = Ws::open(&world, "").await;
    let first = ws.next().await.unwrap();
    assert_eq!(first["event"], "snapshot");
    assert_eq!(first["data"]["services"][0]["name"], "a");
    let name = ServiceName::new("ours").unwrap();
    let paused = world
        .actors
        .supervisor
        .control(&name, Verb::Pause(None))
        .await;
    paused.unwrap().unwrap();
    let service = ws.until("service").await;
    assert_eq!(service["data"]["name"], "ours");
    assert_eq!(service["data"]["state"], "paused");
    let id = first["id"].as_u64().unwrap();
    let mut again = Ws::open(&world, &format!("?last_event_id={id}")).await;
    assert_ne!(again.next().await.unwrap()["event"], "snapshot");
}

#[actix_web::test]
async fn a_web_socket_answers_pings_and_farewells_and_ends_on_nonsense() {
    let world = World::new().await;
    let mut ws = Ws::open(&world, "").await;
    ws.next().await.unwrap();
    ws.send(9, b"are you there").await;
    assert_eq!(ws.control().await, Some((10, b"are you there".to_vec())));
    ws.send(1, b"what clients say is not looked at").await;
    ws.send(8, b"").await;
    assert_eq!(ws.control().await.map(|(opcode, _)| opcode), Some(8));
    assert_eq!(ws.control().await, None);
    let mut ws = Ws::open(&world, "").await;
    ws.next().await.unwrap();
    // Not masked.
    ws.stream.write_all(&[0x81, 1, b'x']).await.unwrap();
    let (opcode, why) = ws.control().await.unwrap();
    assert_eq!((opcode, &why[..2]), (8, &1002_u16.to_be_bytes()[..]));
    assert_eq!(ws.control().await, None);
}

#[actix_web::test]
async fn what_is_no_web_socket_is_told_so() {
    let world = World::new().await;
    let answer = world.tcp("GET", "/api/ws", &[TOKEN]).await;
    assert_eq!((answer.status, &*answer.code()), (426, "no_websocket"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    let answer = world.tcp("GET", "/api/stream?since=3", &[]).await;
    assert_eq!((answer.status, &*answer.code()), (400, "bad_query"));
    let foreign = ["Origin: http://evil.example"];
    let answer = world.tcp("GET", "/api/ws", &foreign).await;
    assert_eq!((answer.status, &*answer.code()), (403, "foreign_origin"));
    let answer = world.tcp("GET", "/api/stream", &foreign).await;
    assert_eq!((answer.status, &*answer.code()), (403, "foreign_origin"));
}
