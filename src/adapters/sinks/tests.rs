//! What sinks say: bodies within the limits of those who read them, and nobody pinged.

use std::process::{Command, Stdio};

use supervisor_core::alert::{Alert, AlertId, Notice, NoticeKind, Phase, Subject};
use supervisor_core::{Level, ServiceName, Timestamp};

use super::words::{Fields, colour, cut};
use super::*;

/// 2026-01-02T18:30:00Z.
const OPENED: Timestamp = Timestamp(1_767_378_600_000_000);

fn notice(kind: NoticeKind, reason: &str) -> Notice {
    let mut alert = Alert::example(OPENED);
    alert.id = AlertId(7);
    alert.subject = Subject::Service(ServiceName::new("worker").unwrap());
    alert.level = Level::Critical;
    alert.reason = reason.to_owned();
    alert.serial = 2;
    if kind == NoticeKind::Resolved {
        alert.phase = Phase::Resolved;
        alert.closed = Some(Timestamp(OPENED.0 + 60_000_000));
    }
    Notice {
        kind,
        alert,
        to: vec!["ops".into()],
    }
}

fn fields(kind: NoticeKind, reason: &str) -> Fields {
    Fields::of(
        &notice(kind, reason),
        "host-1",
        Some("http://127.0.0.1:5001"),
    )
}

#[test]
fn titles_say_what_of_whom_and_where() {
    for (kind, title) in [
        (NoticeKind::Firing, "critical: worker on host-1"),
        (NoticeKind::Escalated, "critical: worker on host-1"),
        (NoticeKind::Repeated, "still critical: worker on host-1"),
        (NoticeKind::Acknowledged, "acknowledged: worker on host-1"),
        (NoticeKind::Resolved, "resolved: worker on host-1"),
        (NoticeKind::Test, "test: worker on host-1"),
    ] {
        assert_eq!(fields(kind, "late").title, title);
    }
    assert_eq!(cut("äöü", 3), "äöü");
    assert_eq!(cut("äöüß", 3), "äö…");
}

#[test]
fn slack_gets_blocks_within_its_limits_and_nobody_is_pinged() {
    let body = slack::payload(&fields(NoticeKind::Firing, &"<!channel> & ".repeat(1_000)));
    assert_eq!(body["text"], "critical: worker on host-1");
    assert_eq!(body["blocks"][0]["type"], "header");
    assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
    let shown = body["blocks"][1]["fields"].as_array().unwrap();
    assert!(shown.len() <= 10);
    for field in shown {
        let text = field["text"].as_str().unwrap();
        assert_eq!(field["type"], "mrkdwn");
        assert!(text.chars().count() <= 2_000);
        assert!(!text.contains('<') && !text.contains('>'), "{text}");
    }
}

#[test]
fn discord_gets_an_embed_within_its_limits_and_nobody_is_pinged() {
    let said = fields(NoticeKind::Firing, &"@everyone **now** ".repeat(1_000));
    let body = discord::payload(&said, colour(&notice(NoticeKind::Firing, "")));
    assert_eq!(body["allowed_mentions"]["parse"], serde_json::json!([]));
    let embed = &body["embeds"][0];
    assert!(embed["title"].as_str().unwrap().chars().count() <= 256);
    let description = embed["description"].as_str().unwrap();
    assert!(description.chars().count() <= 4_096);
    assert!(description.starts_with("\\@everyone \\*\\*now"));
    assert!(embed["color"].is_u64());
    assert_eq!(embed["timestamp"], "2026-01-02T18:30:00Z");
    for field in embed["fields"].as_array().unwrap() {
        assert!(field["name"].is_string() && field["inline"].is_boolean());
        assert!(!field["value"].as_str().unwrap().is_empty());
    }
}

#[test]
fn pagerduty_hears_of_one_incident_by_one_key() {
    let body = |kind| pagerduty::payload(&fields(kind, &"x".repeat(5_000)), kind, "key");
    let fired = body(NoticeKind::Firing).unwrap();
    assert_eq!(fired["event_action"], "trigger");
    assert_eq!(fired["payload"]["severity"], "critical");
    assert!(
        fired["payload"]["summary"]
            .as_str()
            .unwrap()
            .chars()
            .count()
            <= 1_024
    );
    let resolved = body(NoticeKind::Resolved).unwrap();
    assert_eq!(resolved["event_action"], "resolve");
    assert_eq!(resolved["dedup_key"], fired["dedup_key"]);
    assert_eq!(
        body(NoticeKind::Acknowledged).unwrap()["event_action"],
        "acknowledge"
    );
    assert_eq!(body(NoticeKind::Repeated), None);
}

#[test]
fn ntfy_and_alertmanager_get_what_they_read() {
    let body = ntfy::payload(&fields(NoticeKind::Firing, "late"), "topic", 5);
    assert_eq!(body["topic"], "topic");
    assert_eq!(body["priority"], 5);
    assert_eq!(body["actions"][0]["action"], "view");
    let now = Timestamp(OPENED.0 + 1_000_000);
    let firing = notice(NoticeKind::Firing, "late");
    let said = fields(NoticeKind::Firing, "late");
    let alert = &alertmanager::payload(&said, &firing, now)[0];
    assert_eq!(alert["labels"]["service"], "worker");
    assert_eq!(alert["startsAt"], "2026-01-02T18:30:00Z");
    assert_eq!(alert["endsAt"], "2026-01-02T18:35:01Z", "unless said again");
    let resolved = notice(NoticeKind::Resolved, "late");
    let said = fields(NoticeKind::Resolved, "late");
    let over = &alertmanager::payload(&said, &resolved, now)[0];
    assert_eq!(over["endsAt"], "2026-01-02T18:31:00Z");
    assert_eq!(over["labels"], alert["labels"], "one identity");
}

#[test]
fn a_mail_has_two_parts_and_shows_markup_as_text() {
    let email = Email {
        host: "localhost".to_owned(),
        port: 25,
        tls: Starttls::Plain,
        username: None,
        password: None,
        from: "supervisor@example.org".parse().unwrap(),
        to: vec!["ops@example.org".parse().unwrap()],
    };
    let said = fields(NoticeKind::Firing, "<script>alert(1)</script>");
    let message = email::message(&email, &said, 0xff_00_00).unwrap();
    let text = String::from_utf8(message.formatted()).unwrap();
    assert!(
        text.contains("Subject: [critical] critical: worker on host-1"),
        "{text}"
    );
    assert!(text.contains("multipart/alternative"));
    assert!(text.contains("text/plain") && text.contains("text/html"));
    assert!(text.contains("&lt;script&gt;"));
}

#[test]
fn templates_name_fields_that_there_are() {
    for bad in ["{{tilte}}", "{{title", "{{ }}", "{{}}"] {
        assert!(Template::new(bad).is_err(), "{bad}");
    }
    assert!(Template::new("").is_ok());
    assert!(Template::new("{\"a\": \"{{ title }}\", \"b\": {\"c\": 1}}").is_ok());
}

#[test]
fn the_signature_is_what_openssl_makes() {
    let body = "{\"title\":\"critical: worker\"}";
    let ours = webhook::signature("open sesame", 1_767_378_600, body);
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", "open sesame", "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    let signed = format!("1767378600.{body}");
    std::io::Write::write_all(&mut openssl.stdin.take().unwrap(), signed.as_bytes()).unwrap();
    let theirs = String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap();
    let theirs = theirs.split_whitespace().next().unwrap();
    assert_eq!(ours, format!("t=1767378600,v1={theirs}"));
}

#[test]
fn secrets_are_not_shown() {
    let spec = SinkSpec {
        name: "ops".to_owned(),
        kind: SinkKind::Slack(Address(Uri::from_static(
            "https://hooks.example/services/T0/B0/secret",
        ))),
        timeout: Duration::from_secs(1),
        allow_link_local: false,
    };
    let shown = format!("{spec:?} {:?}", Secret("secret".to_owned()));
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("hooks.example"));
}
