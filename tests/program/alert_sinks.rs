//! Alerts arrive where they are meant to: at scripted servers, at a real Alertmanager, in a
//! real mail server's hands.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::World;
use crate::common::schema;
use crate::common::wait::{wait_until, wait_within};
use crate::common::world::{Plan, free_port};

/// A service that pulses from outside, and nothing that could be poked.
const LATE: &str = "interval = \"300ms\"\npoke_on = []\n";
const QUICK: &str = "[alerts]\ngroup_wait = \"200ms\"\n";

/// A server that answers as it is told, one answer a request, the last one for ever.
#[derive(Clone)]
struct Scripted {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    /// When, in the same order.
    times: Arc<Mutex<Vec<Instant>>>,
    answers: Arc<Mutex<VecDeque<String>>>,
}

impl Scripted {
    fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            port: listener.local_addr().expect("an address").port(),
            asked: Arc::default(),
            times: Arc::default(),
            answers: Arc::new(Mutex::new(
                answers.iter().map(|a| (*a).to_owned()).collect(),
            )),
        };
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(stream));
            }
        });
        server
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !is_whole(&request) {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => request.extend_from_slice(&chunk[..count]),
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        self.asked.lock().expect("the list").push(request);
        self.times.lock().expect("the list").push(Instant::now());
        let answer = {
            let mut answers = self.answers.lock().expect("the answers");
            let next = answers.front().cloned().unwrap_or_default();
            if answers.len() > 1 {
                answers.pop_front();
            }
            next
        };
        if answer == "hang" {
            std::thread::sleep(Duration::from_secs(600));
        }
        // "reset" is no answer at all.
        if answer != "reset" {
            let _gone = stream.write_all(answer.as_bytes());
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the list").clone()
    }

    fn bodies(&self) -> Vec<Value> {
        let body = |request: &String| {
            let (_, body) = request.split_once("\r\n\r\n").expect("a body");
            serde_json::from_str(body).unwrap_or(Value::Null)
        };
        self.asked().iter().map(body).collect()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    body.len() >= length
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn plan(sinks: &str) -> Plan {
    World::plan()
        .config(QUICK)
        .config(sinks)
        .service("db", LATE)
        .service("web", "interval = \"1h\"")
        .service("api", "interval = \"1h\"")
}

#[test]
fn each_chat_gets_the_whole_life_of_an_incident_in_its_own_form() {
    let ok = answer("200 OK", "", "{\"status\":\"success\"}");
    let server = Scripted::start(&[&ok]);
    let url = server.url();
    for (kind, keys, title) in [
        ("slack", format!("url = \"{url}\""), "/blocks/0/text/text"),
        ("discord", format!("url = \"{url}\""), "/embeds/0/title"),
        (
            "ntfy",
            format!("server = \"{url}\"\ntopic = \"t\""),
            "/title",
        ),
        ("webhook", format!("url = \"{url}\""), "/title"),
        (
            "alertmanager",
            format!("url = \"{url}\""),
            "/0/annotations/summary",
        ),
        (
            "pagerduty",
            format!("url = \"{url}\"\nrouting_key_env = \"DUTY_KEY\""),
            "/payload/summary",
        ),
    ] {
        server.asked.lock().expect("the list").clear();
        let sink = format!("[alerts.sinks.ops]\nkind = \"{kind}\"\n{keys}\n");
        let world = plan(&sink).env("DUTY_KEY", "open-sesame").start();
        world.pulse("db");
        let said = |word: &str| {
            server.bodies().into_iter().find(|body| {
                let title = body
                    .pointer(title)
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                title.starts_with(word)
            })
        };
        wait_until("it is told of", || {
            said("degraded").or_else(|| said("critical"))
        });
        wait_until("it is told to be critical", || said("critical"));
        wait_until("its end is told", || {
            world.pulse("db");
            said("resolved")
        });
        if kind != "webhook" {
            let schema = schema::load(kind);
            for body in server.bodies() {
                let faults = schema::faults(&schema, &body);
                assert!(faults.is_empty(), "{kind}: {faults:#?}\n{body:#}");
            }
        }
        assert!(!world.output().contains("open-sesame"));
        let reply = world.get("/api/alerts?state=all");
        assert!(!reply.text().contains("/hook"), "an address is a secret");
    }
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_dropped() {
    let ok = answer("200 OK", "", "");
    for (trouble, passes) in [
        (answer("429 Too Many", "retry-after: 1\r\n", ""), true),
        (answer("429 Too Many", "retry-after: soon\r\n", ""), true),
        (
            answer(
                "429 Too Many",
                "retry-after: Fri, 02 Jan 1970 00:00:00 GMT\r\n",
                "",
            ),
            true,
        ),
        (answer("500 Oops", "", "<html>"), true),
        (answer("503 Busy", "", ""), true),
        ("reset".to_owned(), true),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf".to_owned(),
            true,
        ),
        ("hang".to_owned(), true),
        (answer("400 Bad", "", "invalid_blocks"), false),
        (answer("401 No", "", ""), false),
        (answer("404 Not Found", "", "no_service"), false),
        (answer("410 Gone", "", ""), false),
        (answer("413 Too Large", "", ""), false),
        (
            answer("302 Found", "location: http://127.0.0.1:1/\r\n", ""),
            false,
        ),
    ] {
        let server = Scripted::start(&[&trouble, &ok]);
        let sink = format!(
            "[alerts.sinks.ops]\nkind = \"slack\"\nurl = \"{}\"\ntimeout = \"1s\"\n",
            server.url()
        );
        let steps = "[[alerts.escalate]]\nlevel = \"critical\"\nto = [\"ops\"]\n";
        let world = plan(&format!("{sink}{steps}")).start();
        world.pulse("db");
        if passes {
            wait_until("it is tried again", || {
                (server.asked().len() >= 2).then_some(())
            });
        } else {
            wait_until("it is dropped with a word", || {
                let events = world.events_of("internal.alerter");
                events
                    .iter()
                    .any(|event| event.reason.contains("refused alert"))
                    .then_some(())
            });
            assert_eq!(server.asked().len(), 1, "{trouble}");
        }
    }
}

#[test]
fn f50_a_sink_that_names_its_pause_is_left_alone_for_so_long() {
    let date = Command::new("date")
        .args(["-u", "-d", "+5 seconds", "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .expect("date");
    let date = String::from_utf8(date.stdout).expect("text");
    let (ok, called) = (answer("200 OK", "", ""), Instant::now());
    let busy = |wish: &str| answer("429 Too Many", &format!("retry-after: {wish}\r\n"), "");
    let seconds = Scripted::start(&[&busy("3"), &ok]);
    let dated = Scripted::start(&[&busy(date.trim()), &ok]);
    let absurd = Scripted::start(&[&busy("99999999999999999999"), &ok]);
    let mut sinks = String::new();
    for (name, server) in [
        ("seconds", &seconds),
        ("dated", &dated),
        ("absurd", &absurd),
    ] {
        let url = server.url();
        sinks += &format!("[alerts.sinks.{name}]\nkind = \"webhook\"\nurl = \"{url}\"\n");
    }
    sinks +=
        "[[alerts.escalate]]\nlevel = \"critical\"\nto = [\"seconds\", \"dated\", \"absurd\"]\n";
    let world = plan(&sinks).start();
    world.pulse("db");
    let times = |server: &Scripted| server.times.lock().expect("the list").clone();
    let second = |server: &Scripted| times(server).get(1).copied();
    let tried = wait_until("it is tried again after its seconds", || second(&seconds));
    let pause = tried.duration_since(times(&seconds)[0]);
    assert!(pause >= Duration::from_millis(2_900), "{pause:?}");
    let tried = wait_until("it is tried again after its date", || second(&dated));
    // A date has whole seconds.
    let pause = tried.duration_since(called);
    assert!(pause >= Duration::from_millis(3_900), "{pause:?}");
    assert_eq!(times(&absurd).len(), 1, "not before an hour has passed");
    wait_until("the log says when", || {
        let log = world.output();
        let said = log.lines().find(|line| line.contains("sink: absurd"))?;
        said.contains("in_s: 3600").then_some(())
    });
}

#[test]
fn f54_words_of_somebody_else_are_no_delivery() {
    for (kind, keys) in [
        ("ntfy", "server = \"URL\"\ntopic = \"t\""),
        ("pagerduty", "url = \"URL\"\nrouting_key_env = \"DUTY_KEY\""),
    ] {
        let portal = answer("200 OK", "", "<html>Please log in to this network</html>");
        let broken = answer("200 OK", "", "{\"status\": \"succ");
        let good = answer("202 Accepted", "", "{\"status\": \"success\"}");
        let server = Scripted::start(&[&portal, &broken, &good]);
        let keys = keys.replace("URL", &server.url());
        let sink = format!("[alerts.sinks.ops]\nkind = \"{kind}\"\n{keys}\n");
        let world = plan(&sink).env("DUTY_KEY", "open-sesame").start();
        for _ in 0..2 {
            let ran = world.cli(&["alerts", "test", "ops"]);
            assert_eq!(ran.code, Some(1), "{kind}: {ran:?}");
            assert!(ran.err.contains("something else than JSON"), "{}", ran.err);
        }
        assert_eq!(world.cli(&["alerts", "test", "ops"]).code, Some(0));
    }
}

#[test]
fn f55_a_sink_whose_certificate_has_expired_gets_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let libraries = std::fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    let faketime = libraries
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.exists())
        .expect("libfaketime: apt-get install faketime");
    let openssl = |shift: Option<&str>, arguments: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(dir.path()).args(arguments.split(' '));
        if let Some(shift) = shift {
            command.env("LD_PRELOAD", &faketime).env("FAKETIME", shift);
        }
        let made = command.output().expect("openssl");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{arguments}: {said}");
    };
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        None,
        &format!("req -x509 {ec} -days 10 -keyout ca.key -out ca.pem -subj /CN=authority"),
    );
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    std::fs::write(dir.path().join("names"), names).expect("written");
    openssl(
        None,
        &format!("req {ec} -keyout own.key -out own.csr -subj /CN=sink"),
    );
    // Good for three days, as of five days ago.
    openssl(
        Some("-5d"),
        "x509 -req -in own.csr -out own.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 3 \
         -extfile names",
    );
    let port = free_port();
    let _server = Running(
        Command::new("openssl")
            .current_dir(dir.path())
            .args(["s_server", "-www", "-cert", "own.pem", "-key", "own.key"])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl"),
    );
    wait_until("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let sink = format!(
        "[alerts.sinks.ops]\nkind = \"webhook\"\nurl = \"https://127.0.0.1:{port}/hook\"\n"
    );
    let authority = dir.path().join("ca.pem");
    let world = plan(&sink)
        .env("SSL_CERT_FILE", authority.to_str().expect("text"))
        .start();
    let ran = world.cli(&["alerts", "test", "ops"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("certificate that expired"), "{}", ran.err);
    // It may be renewed any minute: the alert waits for that.
    world.pulse("db");
    wait_until("it is tried again and again", || {
        world
            .output()
            .contains("alert not delivered, trying again")
            .then_some(())
    });
    let events = world.events_of("internal.alerter");
    assert!(
        !events
            .iter()
            .any(|event| event.reason.contains("refused alert")),
        "{events:?}"
    );
}

#[test]
fn f57_a_sink_that_hangs_keeps_its_alert_on_disk_and_holds_up_no_other() {
    let ok = answer("200 OK", "", "");
    let (hangs, well) = (Scripted::start(&["hang"]), Scripted::start(&[&ok]));
    let sinks = format!(
        "[alerts.sinks.hangs]\nkind = \"webhook\"\nurl = \"{}\"\ntimeout = \"1m\"\n\
         [alerts.sinks.well]\nkind = \"webhook\"\nurl = \"{}\"\n",
        hangs.url(),
        well.url()
    );
    let mut world = plan(&sinks).start();
    world.pulse("db");
    let kinds = |server: &Scripted| -> Vec<String> {
        let bodies = server.bodies().into_iter();
        let kinds = bodies.map(|body| body["kind"].as_str().unwrap_or_default().to_owned());
        kinds.collect()
    };
    wait_until("its beginning reaches both", || {
        (!kinds(&well).is_empty() && !kinds(&hangs).is_empty()).then_some(())
    });
    wait_until("its end reaches it, too", || {
        world.pulse("db");
        kinds(&well).contains(&"resolved".to_owned()).then_some(())
    });
    assert_eq!(kinds(&hangs).len(), 1, "the first one is still under way");
    // Also over our own death.
    world.kill();
    world.spawn();
    world.wait_ready();
    let first = |server: &Scripted, n: usize| {
        let body = server.bodies().get(n).cloned();
        body.map(|body| (body["id"].clone(), body["serial"].clone()))
    };
    let again = wait_until("it is sent once more", || first(&hangs, 1));
    assert_eq!(Some(again), first(&hangs, 0), "under the same numbers");
}

#[test]
fn a_link_local_address_is_refused() {
    let world =
        plan("[alerts.sinks.ops]\nkind = \"webhook\"\nurl = \"http://169.254.169.254/latest\"\n")
            .start();
    let ran = world.cli(&["alerts", "test", "ops"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("link-local"), "{}", ran.err);
}

#[test]
fn a_webhook_is_templated_and_signed_and_a_command_gets_one_line() {
    let server = Scripted::start(&[&answer("204 No Content", "", "")]);
    let sinks = format!(
        "[alerts.sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\nmethod = \"PUT\"\n\
         headers = {{ X-Level = \"{{{{level}}}}\" }}\n\
         template = '{{\"text\": \"{{{{title}}}}\"}}'\nhmac_key_env = \"HOOK_KEY\"\n\
         [alerts.sinks.run]\nkind = \"exec\"\n\
         command = [\"sh\", \"-c\", \"cat >line; echo $ALERT_TITLE >title; env >seen\"]\n",
        server.url()
    );
    let world = plan(&sinks).env("HOOK_KEY", "open sesame").start();
    assert_eq!(world.cli(&["alerts", "test", "hook"]).code, Some(0));
    let asked = &server.asked()[0];
    assert!(asked.starts_with("PUT /hook HTTP/1.1\r\n"), "{asked}");
    let lower = asked.to_lowercase();
    assert!(lower.contains("x-level: warning\r\n"), "{asked}");
    let (head, body) = asked.split_once("\r\n\r\n").expect("a body");
    assert_eq!(
        serde_json::from_str::<Value>(body).expect("JSON")["text"],
        "test: supervisor: test on world"
    );
    let signature = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("x-supervisor-signature: ")
                .map(str::to_owned)
        })
        .expect("a signature");
    let (time, hex) = signature
        .strip_prefix("t=")
        .and_then(|rest| rest.split_once(",v1="))
        .expect("its parts");
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", "open sesame", "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    let signed = format!("{time}.{body}");
    openssl
        .stdin
        .take()
        .expect("its input")
        .write_all(signed.as_bytes())
        .expect("written");
    let made = openssl.wait_with_output().expect("its output").stdout;
    assert!(String::from_utf8_lossy(&made).starts_with(hex), "{hex}");

    assert_eq!(world.cli(&["alerts", "test", "run"]).code, Some(0));
    let line = world.read("line");
    assert_eq!(line.lines().count(), 1, "{line}");
    let fields: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(fields["kind"], "test");
    assert_eq!(
        world.read("title").trim(),
        "test: supervisor: test on world"
    );
    assert!(
        !world.read("seen").contains("open sesame"),
        "no secret of ours"
    );
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn a_real_alertmanager_shows_our_alert_and_its_end() {
    let port = free_port();
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("alertmanager.yml");
    std::fs::write(
        &config,
        "route:\n  receiver: none\nreceivers:\n- name: none\n",
    )
    .expect("written");
    let _manager = Running(
        Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-alertmanager"),
    );
    wait_within(Duration::from_secs(60), "it listens", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let sink =
        format!("[alerts.sinks.am]\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{port}\"\n");
    let world = plan(&sink).start();
    world.pulse("db");
    let alerts = || -> Vec<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let request = "GET /api/v2/alerts?active=true HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("written");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        let (_, body) = reply.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_default()
    };
    let shown = wait_until("it shows our alert", || {
        alerts()
            .into_iter()
            .find(|alert| alert["labels"]["service"] == "db")
    });
    assert_eq!(shown["labels"]["instance"], "world");
    let reason = shown["annotations"]["description"]
        .as_str()
        .expect("a reason");
    assert!(reason.starts_with("no pulse for "), "{reason}");
    wait_until("it shows none any more", || {
        world.pulse("db");
        alerts().is_empty().then_some(())
    });
}

#[test]
fn a_real_mail_server_takes_our_mail_by_starttls_too() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/mail-venv/bin/python");
    let port = free_port();
    let dir = tempfile::tempdir().expect("a directory");
    let script = format!(
        "import time\nfrom aiosmtpd.controller import Controller\n\
         class Keep:\n    async def handle_DATA(self, server, session, envelope):\n        \
         open('{0}/mail', 'ab').write(envelope.content); return '250 OK'\n\
         Controller(Keep(), hostname='127.0.0.1', port={port}).start()\ntime.sleep(600)\n",
        dir.path().display()
    );
    let _server = Running(
        Command::new(python)
            .args(["-c", &script])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python with aiosmtpd: tests/run installs it"),
    );
    wait_within(Duration::from_secs(60), "it listens", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let sink = |more: &str| {
        format!(
            "[alerts.sinks.mail]\nkind = \"email\"\nsmtp = \"smtp://127.0.0.1:{port}\"\n\
             from = \"supervisor@example.org\"\nto = [\"Ops <ops@example.org>\"]\n{more}"
        )
    };
    let world = plan(&sink("")).start();
    world.pulse("db");
    let mail = wait_until("a mail has come", || {
        let mail = std::fs::read_to_string(dir.path().join("mail")).unwrap_or_default();
        mail.contains("db on world").then_some(mail)
    });
    assert!(mail.contains("multipart/alternative"), "{mail}");
    assert!(
        mail.contains("text/plain") && mail.contains("text/html"),
        "{mail}"
    );
    // A server that does not offer what was asked for gets no mail in the open.
    drop(world);
    let world = plan(&sink("starttls = true\n")).start();
    let ran = world.cli(&["alerts", "test", "mail"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}
