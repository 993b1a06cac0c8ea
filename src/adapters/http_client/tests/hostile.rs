//! What may go wrong on the way to an answer, each with a reason of its own.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use super::super::*;
use super::server::serve;
use super::{PATIENT, get, get_plain};

/// For those who never answer.
const SHORT: Bounds = Bounds {
    timeout: Duration::from_millis(300),
    body_bytes: 64 * 1024,
};

#[actix_rt::test]
async fn each_failure_has_a_reason_of_its_own() {
    let long_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    let table: [(&str, &str, bool, &str); 13] = [
        (
            "closed at once",
            "",
            false,
            "closed the connection without an answer",
        ),
        ("silence", "", true, "did not answer within 300ms"),
        (
            "half a head",
            "HTTP/1.1 200 OK\r\nx: y",
            false,
            "broke off in the middle of its answer",
        ),
        (
            "half a head, slowly",
            "HTTP/1.1 200 OK\r\nx: y",
            true,
            "did not answer within 300ms",
        ),
        (
            "half a body",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            false,
            "broke off in the middle of its answer",
        ),
        (
            "no body",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
            false,
            "broke off in the middle of its answer",
        ),
        (
            "half a chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
            false,
            "broke off in the middle of its answer",
        ),
        (
            "no last chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            false,
            "broke off in the middle of its answer",
        ),
        (
            "a slow body",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            true,
            "began to answer but did not finish within 300ms",
        ),
        (
            "another protocol",
            "SSH-2.0-OpenSSH_9.6\r\n",
            false,
            "does not speak HTTP: ",
        ),
        (
            "no HTTP at all",
            "\0\x01\x02\r\n\r\n",
            false,
            "does not speak HTTP: ",
        ),
        (
            "an endless head",
            &long_head,
            false,
            "does not speak HTTP: message head is too large",
        ),
        (
            "a chunk of no size",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhalf",
            false,
            "broke off",
        ),
    ];
    for (name, answer, stays, reason) in table {
        let server = serve(answer);
        let server = if stays { server.that_stays() } else { server };
        let bounds = if stays { SHORT } else { PATIENT };
        let error = get_plain(&server, bounds)
            .await
            .expect_err(name)
            .to_string();
        assert!(error.starts_with(reason), "{name}: {error}");
    }
}

#[actix_rt::test]
async fn nobody_there_is_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let error = get(&address, &Trust::System, PATIENT).await;
    assert_eq!(error.expect_err("nobody"), CallError::Refused);
}

#[actix_rt::test]
async fn a_full_queue_of_connections_is_not_reached() {
    // Nobody accepts, and the kernel takes no more than these.
    let socket = socket_without_room();
    let address = socket.local_addr().expect("an address");
    let mut waiting = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))
    {
        waiting.push(stream);
        assert!(waiting.len() < 100, "it has room for everybody");
    }
    let error = get(&format!("http://{address}/"), &Trust::System, SHORT).await;
    assert_eq!(
        error.expect_err("no room"),
        CallError::NotReached(SHORT.timeout)
    );
}

fn socket_without_room() -> TcpListener {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    bind(&fd, &any).expect("bound");
    listen(&fd, 0).expect("listening");
    TcpListener::from(fd)
}

#[actix_rt::test]
async fn a_broken_connection_is_told_from_a_closed_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/", listener.local_addr().expect("an address"));
    let breaker = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        // Unread bytes and no linger: the kernel sends a reset.
        let linger = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&stream, linger).expect("set");
        (&stream).write_all(b"HTTP/1.1 ").expect("written");
    });
    let error = get(&address, &Trust::System, PATIENT)
        .await
        .expect_err("reset");
    assert_eq!(
        error.to_string(),
        "broke the connection: Connection reset by peer"
    );
    breaker.join().expect("done");
}

#[actix_rt::test]
async fn a_name_without_an_address_says_so() {
    // RFC 6761 reserves `.invalid`: no name server knows one, and none may be there at all.
    let error = get("http://no-such-host.invalid/", &Trust::System, PATIENT).await;
    match error.expect_err("no such host") {
        CallError::Unresolved(why) => {
            assert!(
                !why.is_empty() && !why.contains("failed to lookup"),
                "{why}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[actix_rt::test]
async fn what_is_no_address_cannot_be_called() {
    for address in ["/only/a/path", "ftp://127.0.0.1/"] {
        let error = get(address, &Trust::System, PATIENT).await;
        match error.expect_err(address) {
            CallError::Address(_) => {}
            other => panic!("{address}: {other:?}"),
        }
    }
}
