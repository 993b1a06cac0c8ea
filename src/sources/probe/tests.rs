//! The three ways to look, at real servers and processes, good and hostile.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use supervisor_actors::testing::{external, pulsing};

use super::*;
use crate::adapters::file_watch::FileWatch;
use crate::adapters::http_client::tests::certificates::{LOCAL, Papers};
use crate::adapters::http_client::tests::server::{serve, serve_endlessly};
use crate::config::reader::Sink;

/// Reads what stands behind `probe =`.
fn parse(probe: &str) -> Probe {
    let text = format!("probe = {probe}");
    let root = toml::de::DeTable::parse(&text).expect("TOML");
    let sink = Sink::new("test.toml", &text, Path::new("/etc/x"));
    let mut table = Table::root(&sink, root.get_ref());
    let means = Means::new(Path::new("/nowhere"), String::new());
    let about = About {
        ours: false,
        interval: Duration::from_secs(30),
        data_dir: Path::new("/nowhere"),
        files: &FileWatch::default(),
        probes: &means,
    };
    let read = table.take("probe", |value| settings::read(value, &about));
    drop(table);
    assert!(sink.finish().is_empty(), "{probe}");
    let (way, plan) = read.value().expect("a probe");
    Probe { way, plan, means }
}

/// Looks once.
async fn look(probe: &str) -> Look {
    let probe = parse(probe);
    let (calls, timeout) = (probe.means.calls, probe.plan.timeout);
    match probe.way {
        Way::Http(http) => http.check(calls, timeout).look().await,
        Way::Tcp(tcp) => tcp.check(calls, timeout).look().await,
        Way::Exec(exec) => {
            let home = tempfile::tempdir().expect("a directory");
            let commands = Commands::new(home.path().to_owned(), String::new());
            let service = external("db", Duration::from_secs(30));
            let exec = Exec {
                directory: home.path().to_owned(),
                ..exec
            };
            exec.check(&service, commands, timeout).look().await
        }
    }
}

async fn look_at(address: &str, more: &str) -> Look {
    look(&format!(
        "{{ http = '{address}', interval = '60s', timeout = '20s', {more} }}"
    ))
    .await
}

fn failed(text: &str) -> Look {
    Look::Failed(text.to_owned())
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn what_is_not_said_has_its_default() {
    let probe = parse("{ tcp = 'db.example.org:5432' }");
    assert_eq!(
        probe.plan,
        Plan {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            failure_threshold: 1,
            success_threshold: 1,
        }
    );
    let host = "db.example.org".to_owned();
    assert_eq!(probe.way, Way::Tcp(Tcp { host, port: 5432 }));
    assert_eq!(probe.rhythm(), Some(Duration::from_secs(12)));
    let Way::Http(http) = parse("{ http = 'http://x/' }").way else {
        panic!("no HTTP");
    };
    assert_eq!(
        (http.method.as_str(), http.expect.to_string().as_str()),
        ("GET", "200-299")
    );
    let Way::Exec(exec) = parse("{ exec = 'pg_isready -h db' }").way else {
        panic!("no command");
    };
    assert_eq!(exec.command, ["pg_isready", "-h", "db"]);
    assert_eq!(exec.directory, Path::new("/etc/x"));
}

#[test]
fn probes_are_compared_as_configurations() {
    let alike = [
        "{ http = 'http://x/', body = 'ok', headers = { a = 'b' } }",
        "{ tcp = 'x:1' }",
        "{ exec = 'x' }",
    ];
    for one in alike {
        for other in alike {
            assert_eq!(parse(one) == parse(other), one == other, "{one} {other}");
        }
    }
    let plain = parse("{ http = 'http://x/' }");
    for other in [
        "{ http = 'http://y/' }",
        "{ http = 'HEAD http://x/' }",
        "{ http = 'http://x/', body = 'ok' }",
        "{ http = 'http://x/', expect = 200 }",
        "{ http = 'http://x/', headers = { a = 'b' } }",
        "{ http = 'http://x/', insecure = true }",
        "{ http = 'http://x/', interval = '11s' }",
        "{ http = 'http://x/', failure_threshold = 2 }",
    ] {
        assert!(plain != parse(other), "{other}");
    }
}

#[test]
fn neither_headers_nor_paths_are_shown_to_who_debugs() {
    let probe =
        parse("{ http = 'http://x/health?key=secret1', headers = { Authorization = 'secret2' } }");
    let shown = format!("{probe:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[actix_rt::test]
async fn a_status_within_the_range_passes_and_others_say_what_was_expected() {
    for (status, expect, passes) in [
        ("200 OK", "", true),
        ("204 No Content", "", true),
        ("299 Odd", "", true),
        ("300 Multiple Choices", "", false),
        ("404 Not Found", "", false),
        ("404 Not Found", "expect = 404", true),
        ("200 OK", "expect = 404", false),
        ("503 Service Unavailable", "expect = '200-299, 503'", true),
        ("301 Moved Permanently", "expect = '300-399'", true),
    ] {
        let server = serve(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        let seen = look_at(&server.address("/"), expect).await;
        assert_eq!(seen == Look::Passed, passes, "{status}, {expect}: {seen:?}");
    }
    let server = serve("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    let place = server.place();
    assert_eq!(
        look_at(&server.address("/secret?key=1"), "expect = '200, 300-399'").await,
        failed(&format!(
            "{place} answered 503 Service Unavailable, expected 200, 300-399"
        ))
    );
}

#[actix_rt::test]
async fn a_redirect_is_named_and_not_followed() {
    let target = serve(OK);
    let server = serve(format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        target.address("/login")
    ));
    assert_eq!(
        look_at(&server.address("/"), "").await,
        failed(&format!(
            "{} answered 302 Found to {}, which is not followed, expected 200-299",
            server.place(),
            target.address("/login")
        ))
    );
    assert_eq!(target.connections(), 0);
}

#[actix_rt::test]
async fn the_body_must_match_where_a_pattern_is_given() {
    let json = "HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"status\": \"up\"}";
    let pattern = "body = '\"status\":\\s*\"up\"'";
    let server = serve(json);
    assert_eq!(look_at(&server.address("/"), pattern).await, Look::Passed);
    let server = serve(OK);
    assert_eq!(
        look_at(&server.address("/"), pattern).await,
        failed(&format!(
            "{} answered 200 OK with the body \"ok\", expected a match of {:?}",
            server.place(),
            "\"status\":\\s*\"up\""
        ))
    );
    let server = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let seen = look_at(&server.address("/"), "body = 'ok'").await;
    let text = format!("{} answered 200 OK with an empty body", server.place());
    assert!(
        matches!(&seen, Look::Failed(said) if said.starts_with(&text)),
        "{seen:?}"
    );
    // Not UTF-8, and longer than what is searched at once.
    let long = [vec![0xff; 5_000], b"all is well".to_vec()].concat();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", long.len());
    let server = serve([head.into_bytes(), long].concat());
    assert_eq!(
        look_at(&server.address("/"), "body = 'is well$'").await,
        Look::Passed
    );
}

#[actix_rt::test]
async fn a_huge_body_is_read_up_to_its_limit() {
    let server = serve_endlessly("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(look_at(&server.address("/"), "").await, Look::Passed);
    let seen = look_at(&server.address("/"), "body = 'never'").await;
    let Look::Failed(said) = seen else {
        panic!("{seen:?}");
    };
    assert!(said.contains("of which 65536 bytes were read"), "{said}");
    assert!(said.len() < 500, "{said}");
}

#[actix_rt::test]
async fn a_body_of_unknown_length_says_why_it_does_not_match() {
    let server = serve("HTTP/1.1 200 OK\r\n\r\nok");
    assert_eq!(look_at(&server.address("/"), "").await, Look::Passed);
    let seen = look_at(&server.address("/"), "body = 'ok'").await;
    let text = "a body of no known length (neither Content-Length nor chunks), which is not read";
    assert!(
        matches!(&seen, Look::Failed(said) if said.contains(text)),
        "{seen:?}"
    );
}

#[actix_rt::test]
async fn it_asks_as_it_was_told_to() {
    let server = serve(OK);
    let address = format!("HEAD {}", server.address("/health?deep=1"));
    let more = "headers = { Authorization = 'Bearer abc', Host = 'web.example.org' }";
    // An answer to HEAD has no body, whatever it announces.
    assert_eq!(look_at(&address, more).await, Look::Passed);
    let asked = server.asked();
    assert!(
        asked.starts_with("HEAD /health?deep=1 HTTP/1.1\r\n"),
        "{asked}"
    );
    let asked = asked.to_lowercase();
    for line in [
        "authorization: bearer abc\r\n",
        "host: web.example.org\r\n",
        "connection: close\r\n",
    ] {
        assert!(asked.contains(line), "{line:?} in {asked}");
    }
    assert_eq!(asked.matches("host:").count(), 1, "{asked}");
}

#[actix_rt::test]
async fn each_look_makes_a_connection_of_its_own() {
    let server = serve(OK);
    let probe = parse(&format!("{{ http = '{}' }}", server.address("/")));
    let Way::Http(http) = probe.way else {
        panic!("no HTTP");
    };
    let check = http.check(probe.means.calls, Duration::from_secs(20));
    for _ in 0..3 {
        assert_eq!(check.look().await, Look::Passed);
    }
    assert_eq!(server.connections(), 3);
}

#[actix_rt::test]
async fn each_fault_of_a_server_has_its_reason() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    for (answer, stays, reason) in [
        ("", false, "closed the connection without an answer"),
        ("", true, "did not answer within 300ms"),
        (half, false, "broke off in the middle of its answer"),
        (
            half,
            true,
            "began to answer but did not finish within 300ms",
        ),
        (
            "220 mail ESMTP\r\n",
            false,
            "does not speak HTTP: invalid HTTP version specified",
        ),
    ] {
        let server = serve(answer);
        let server = if stays { server.that_stays() } else { server };
        let timeout = if stays { "300ms" } else { "20s" };
        let address = server.address("/");
        let probe = format!("{{ http = '{address}', interval = '60s', timeout = '{timeout}' }}");
        let seen = look(&probe).await;
        assert_eq!(seen, failed(&format!("{} {reason}", server.place())));
    }
}

#[actix_rt::test]
async fn certificates_are_checked_unless_anyone_is_trusted() {
    let papers = Papers::new();
    let file = papers.self_signed("local", &[LOCAL]);
    let server = papers.server("local");
    let address = server.address("/");
    assert_eq!(
        look_at(&address, "").await,
        failed(&format!(
            "{} shows a certificate that is self-signed and not trusted",
            server.place()
        ))
    );
    let trusted = format!("ca_file = '{}'", file.display());
    assert_eq!(look_at(&address, &trusted).await, Look::Passed);
    assert_eq!(look_at(&address, "insecure = true").await, Look::Passed);
    let seen = look_at(&address, "ca_file = 'none.pem'").await;
    assert_eq!(
        seen,
        failed(&format!(
            "{} cannot be called: /etc/x/none.pem cannot be read: \
             No such file or directory (os error 2)",
            server.place()
        ))
    );
}

#[actix_rt::test]
async fn tcp_passes_where_somebody_takes_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(
            look(&format!("{{ tcp = '{host}:{port}' }}")).await,
            Look::Passed
        );
    }
    drop(listener);
    assert_eq!(
        look(&format!("{{ tcp = '127.0.0.1:{port}' }}")).await,
        failed(&format!("127.0.0.1:{port} refused the connection"))
    );
    assert_eq!(
        look(&format!("{{ tcp = '[::1]:{port}' }}")).await,
        failed(&format!("[::1]:{port} refused the connection"))
    );
    let seen = look("{ tcp = 'no-such-host.invalid:80' }").await;
    let text = "no-such-host.invalid:80 could not be resolved: ";
    assert!(
        matches!(&seen, Look::Failed(said) if said.starts_with(text)),
        "{seen:?}"
    );
}

#[actix_rt::test]
async fn a_command_passes_where_it_ends_well() {
    assert_eq!(
        look("{ exec = ['true'], timeout = '10s' }").await,
        Look::Passed
    );
    assert_eq!(
        look("{ exec = ['sh', '-c', 'echo no response; exit 2'], timeout = '10s' }").await,
        failed("sh ended with code 2: no response")
    );
    assert_eq!(
        look("{ exec = ['sleep', '1000'], timeout = '300ms' }").await,
        failed("sleep did not end within 300ms and was killed")
    );
    let seen = look("{ exec = ['no-such-program'] }").await;
    assert!(
        matches!(&seen, Look::Failed(said) if said.contains("no-such-program")),
        "{seen:?}"
    );
}

#[test]
fn a_command_runs_as_the_service_does() {
    let exec = Exec {
        command: vec!["x".to_owned()],
        directory: "/etc/x".into(),
    };
    let service = pulsing("web", Duration::from_secs(1));
    let own = service.process.as_deref().expect("it is ours");
    let process = exec.process(Some(own));
    assert_eq!(process.command, ["x"]);
    assert_eq!((process.cwd, process.watchdog), (own.cwd.clone(), None));
    assert_eq!(exec.process(None).cwd, Path::new("/etc/x"));
}

#[actix_rt::test]
async fn where_there_is_no_room_that_is_said_to_be_ours() {
    let error = std::io::Error::from_raw_os_error(libc::EMFILE);
    let error = crate::adapters::http_client::of_io(&error);
    assert_eq!(
        look_of("127.0.0.1:80", &error),
        Look::Unable("127.0.0.1:80 could not be called: Too many open files".to_owned())
    );
}
