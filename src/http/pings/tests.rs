//! What dialects read, and what they answer: pure, without a server.

use actix_web::body::MessageBody as _;
use proptest::prelude::*;

use super::*;
use crate::ping_keys::ProjectKey;

const UUID: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";
const RID: &str = "123e4567-e89b-12d3-a456-426614174000";

/// Reads a path with its query, as it would come over the wire.
fn read<'a>(target: &'a str, bearer: Option<&'a HeaderValue>) -> Option<Result<Ping<'a>, Problem>> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let call = Call::parse(path)?;
    Some(call.dialect.read(&Asked {
        rest: call.rest,
        query,
        authorization: bearer,
    }))
}

#[track_caller]
fn good(target: &str) -> Ping<'_> {
    let ping = read(target, None).unwrap_or_else(|| panic!("{target} is nobody's"));
    ping.unwrap_or_else(|problem| panic!("{target}: {problem:?}"))
}

fn own() -> Who<'static> {
    Who::Own(Uuid::parse(UUID).unwrap())
}

fn named(key: &'static str, name: &'static str) -> Who<'static> {
    Who::Named {
        key: key.into(),
        names: vec![name.into()],
    }
}

fn end(failed: bool, exit_code: Option<i32>) -> What {
    What::Run(RunSign::End(RunEnd {
        failed,
        exit_code,
        ..RunEnd::default()
    }))
}

fn status_and_text(response: HttpResponse) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().try_into_bytes().unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

// === healthchecks ===

#[test]
fn every_form_of_a_healthchecks_ping_is_read() {
    let start = What::Run(RunSign::Start { rid: None });
    let log = What::Run(RunSign::Log {
        rid: None,
        output: String::new(),
    });
    for (word, what) in [
        ("", end(false, None)),
        ("/", end(false, None)),
        ("/start", start),
        ("/fail", end(true, None)),
        ("/log", log),
        ("/0", end(false, Some(0))),
        ("/1", end(true, Some(1))),
        ("/007", end(true, Some(7))),
        ("/255", end(true, Some(255))),
    ] {
        let by_uuid = format!("/ping/{UUID}{word}");
        let by_uuid = good(&by_uuid);
        assert_eq!((&by_uuid.who, &by_uuid.what), (&own(), &Ok(what.clone())));
        let by_slug = format!("/ping/a-ping-key/backup{word}");
        let by_slug = good(&by_slug);
        assert_eq!(by_slug.who, named("a-ping-key", "backup"));
        assert_eq!(by_slug.what, Ok(what));
    }
}

#[test]
fn a_rid_and_create_are_taken_from_the_query() {
    let target = format!(
        "/ping/a-ping-key/backup/start?rid={}&create=1",
        RID.to_uppercase()
    );
    let ping = good(&target);
    let rid = Some(RunId::new(RID).unwrap());
    assert_eq!(ping.what, Ok(What::Run(RunSign::Start { rid })));
    assert!(ping.create);
    let target = format!("/ping/{UUID}?create=1");
    assert!(!good(&target).create, "a uuid creates nothing");
    assert!(!good("/ping/a-ping-key/backup?create=yes").create);
    // What newer clients may say besides is none of our business.
    assert_eq!(
        good("/ping/a-ping-key/backup?x=%ff&y").what,
        Ok(end(false, None))
    );
}

#[test]
fn slugs_are_decoded_once_and_are_not_mistaken_for_words() {
    let names = |target: &str| match good(target).who {
        Who::Named { names, .. } => names.concat(),
        other => panic!("{other:?}"),
    };
    assert_eq!(names("/ping/a-ping-key/web%401"), "web@1");
    assert_eq!(names("/ping/a-ping-key/web@1/fail"), "web@1");
    assert_eq!(names("/ping/a-ping-key/a%2541"), "a%41");
    // In its own place each is a name.
    for word in ["start", "fail", "log", "7"] {
        assert_eq!(names(&format!("/ping/a-ping-key/{word}")), word);
    }
}

#[test]
fn what_is_wrong_with_a_healthchecks_ping_is_said_in_the_words_that_its_clients_know() {
    let answer = |target: &str| {
        let (path, _) = target.split_once('?').unwrap_or((target, ""));
        let call = Call::parse(path).unwrap();
        let problem = match read(target, None).unwrap() {
            Ok(ping) => ping.what.unwrap_err(),
            Err(problem) => problem,
        };
        status_and_text(call.dialect.refused(problem))
    };
    let not_found = (404, "not found".to_owned());
    let bad_url = (400, "invalid url format".to_owned());
    let bad_rid = (400, "invalid uuid format".to_owned());
    for word in ["256", "1000", "99999999999999999999999"] {
        assert_eq!(answer(&format!("/ping/{UUID}/{word}")), bad_url, "{word}");
        assert_eq!(answer(&format!("/ping/key/slug/{word}")), bad_url, "{word}");
    }
    for rid in [
        "",
        "1",
        "null",
        "not-a-uuid",
        &RID.replace('-', ""),
        &format!("{RID}0"),
    ] {
        assert_eq!(answer(&format!("/ping/{UUID}?rid={rid}")), bad_rid, "{rid}");
    }
    for path in [
        "/ping/",
        "/ping/key",
        "/ping/key/slug/stop",
        "/ping/key/slug/-1",
        "/ping/key/slug/+1",
        "/ping/key/slug/1.0",
        "/ping/key/slug/fail/fail",
        &format!("/ping/{UUID}/slug"),
        &format!("/ping/{UUID}/fail/1"),
    ] {
        assert_eq!(answer(path), not_found, "{path}");
    }
    for path in [
        "/ping/%ff/x",
        "/ping/key/..%2fx",
        "/ping/key/..",
        "/ping/k/a%00",
        "/ping/%",
    ] {
        assert_eq!(answer(path).0, 400, "{path}");
    }
}

#[test]
fn healthchecks_answers_are_exact() {
    let dialect = &healthchecks::Healthchecks;
    let response = dialect.done(false);
    let limit = response.headers().get("Ping-Body-Limit").cloned();
    assert_eq!(limit.unwrap(), "10000");
    assert_eq!(status_and_text(response), (200, "OK".to_owned()));
    assert_eq!(
        status_and_text(dialect.done(true)),
        (201, "Created".to_owned())
    );
    assert_eq!(
        status_and_text(dialect.refused(unknown_key())),
        (404, "not found".to_owned())
    );
}

// === Cronitor ===

#[test]
fn every_state_of_a_cronitor_ping_is_read() {
    let series = Some(RunId::new("s-1").unwrap());
    let what = |query: &str| {
        let target = format!("/p/a-ping-key/nightly?{query}");
        let ping = good(&target);
        assert_eq!(ping.who, named("a-ping-key", "nightly"));
        assert_eq!(ping.complaint, None, "{query}");
        ping.what.clone().unwrap()
    };
    let start = What::Run(RunSign::Start {
        rid: series.clone(),
    });
    assert_eq!(what("state=run&series=s-1&host=web1"), start);
    assert_eq!(what("state=complete"), end(false, None));
    assert_eq!(what("state=fail&status_code=3"), end(true, Some(3)));
    assert_eq!(what(""), What::Pulse(Note::default()));
    assert_eq!(
        what("state=ok&env=production&stamp=1"),
        What::Pulse(Note::default())
    );
    let full = "state=fail&series=s-1&message=disk+full&host=web%201\
                &metric=duration:1.5&metric=count:5,error_count:2";
    assert_eq!(
        what(full),
        What::Run(RunSign::End(RunEnd {
            rid: series,
            failed: true,
            took: Some(Duration::from_millis(1_500)),
            message: Some("disk full (on web 1)".to_owned()),
            metrics: vec![("count".to_owned(), 5.0), ("error_count".to_owned(), 2.0)],
            ..RunEnd::default()
        }))
    );
}

#[test]
fn f26_a_cronitor_metric_that_is_none_is_said_and_the_rest_is_taken() {
    for metric in [
        "count:NaN",
        "count:inf",
        "count:",
        "count",
        ":5",
        "Count:5",
        "duration:-1",
        "duration:NaN",
        "duration:1e300",
        "count:1,count:2",
    ] {
        let target = format!("/p/a-ping-key/nightly?state=complete&metric={metric}&metric=rows:7");
        let ping = good(&target);
        let complaint = ping.complaint.unwrap();
        assert!(complaint.starts_with("metric="), "{complaint}");
        match ping.what.unwrap() {
            What::Run(RunSign::End(end)) => {
                assert!(end.metrics.contains(&("rows".to_owned(), 7.0)), "{metric}");
                assert_eq!(end.took, None, "{metric}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_cronitor_does_not_know_is_a_bad_request_that_names_it() {
    for (query, named) in [
        ("state=stop", "state"),
        ("state=RUN", "RUN"),
        ("state=run&series=a%20b", "series"),
    ] {
        let target = format!("/p/a-ping-key/nightly?{query}");
        let problem = good(&target).what.unwrap_err();
        assert_eq!(problem.status().as_u16(), 400);
        assert!(problem.detail().contains(named), "{problem:?}");
    }
    for path in ["/p/", "/p/key", "/p/key/monitor/run"] {
        let problem = read(path, None).unwrap().unwrap_err();
        assert_eq!(problem.status().as_u16(), 404, "{path}");
    }
}

// === Uptime Kuma ===

#[test]
fn a_kuma_push_is_a_pulse_or_an_error() {
    let what = |query: &str| {
        let target = format!("/api/push/a-ping-key-web?{query}");
        let ping = good(&target);
        assert_eq!(ping.who, Who::Joined("a-ping-key-web".into()));
        ping.what.clone().unwrap()
    };
    let plain = What::Pulse(Note::default());
    for query in [
        "",
        "status=up&msg=OK&ping=",
        "status=up",
        "status=&msg=",
        "ping=NaN",
        "ping=fast",
        "ping=1e999",
    ] {
        assert_eq!(what(query), plain, "{query}");
    }
    let note = Note {
        message: Some("all well".to_owned()),
        metrics: vec![("ping".to_owned(), 12.5)],
        ..Note::default()
    };
    assert_eq!(what("msg=all+well&ping=12.5"), What::Pulse(note));
    assert_eq!(what("status=down"), What::Error("down".to_owned()));
    assert_eq!(
        what("status=down&msg=no%20route"),
        What::Error("no route".to_owned())
    );
    assert_eq!(what("status=pending"), What::Error("down".to_owned()));
}

#[test]
fn every_kuma_error_is_404_with_its_reason() {
    let dialect = &kuma::Kuma;
    assert_eq!(
        status_and_text(dialect.done(false)),
        (200, r#"{"ok":true}"#.to_owned())
    );
    for problem in [
        not_found(),
        unknown_key(),
        Problem::unavailable("busy", "too much"),
        Problem::bad("bad_path", "a % too many"),
    ] {
        let (status, text) = status_and_text(dialect.refused(problem));
        assert_eq!(status, 404);
        assert!(text.starts_with(r#"{"msg":""#) || text.starts_with(r#"{"ok":false,"msg":""#));
        assert!(text.contains(r#""ok":false"#), "{text}");
    }
    for path in ["/api/push/a/b", "/api/push/a%2fb"] {
        assert!(read(path, None).unwrap().is_err(), "{path}");
    }
}

// === Gatus ===

fn bearer(token: &str) -> HeaderValue {
    HeaderValue::from_str(token).unwrap()
}

#[test]
fn a_gatus_key_means_the_service_of_that_name_or_what_follows_the_group() {
    let token = bearer("Bearer a-ping-key");
    let names = |key: &str| {
        let target = format!("/api/v1/endpoints/{key}/external?success=true");
        let ping = read(&target, Some(&token)).unwrap().unwrap();
        match ping.who {
            Who::Named { key, names } => {
                assert_eq!(key, "a-ping-key");
                names.iter().map(ToString::to_string).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(names("core_db"), ["core_db", "db"]);
    assert_eq!(
        names("core_save_worker"),
        ["core_save_worker", "save_worker"]
    );
    assert_eq!(names("_db"), ["_db", "db"]);
    assert_eq!(names("db"), ["db"]);
    assert_eq!(names("core%5Fdb"), ["core_db", "db"]);
}

#[test]
fn a_gatus_result_is_a_pulse_or_an_error() {
    let token = bearer("Bearer a-ping-key");
    let what = |query: &str| {
        let target = format!("/api/v1/endpoints/core_db/external?{query}");
        let ping = read(&target, Some(&token)).unwrap().unwrap();
        ping.what.clone()
    };
    assert_eq!(what("success=true"), Ok(What::Pulse(Note::default())));
    assert_eq!(
        what("success=true&duration=1.5s"),
        Ok(What::Pulse(Note {
            metrics: vec![("duration".to_owned(), 1.5)],
            ..Note::default()
        }))
    );
    assert_eq!(
        what("success=false"),
        Ok(What::Error("the check failed".to_owned()))
    );
    assert_eq!(
        what("success=false&error=timed%20out&duration=3s"),
        Ok(What::Error("timed out".to_owned()))
    );
    for duration in ["3", "-3s", "NaN", "1 day"] {
        let problem = what(&format!("success=true&duration={duration}")).unwrap_err();
        assert_eq!(problem.status().as_u16(), 400);
        assert!(
            problem.detail().starts_with("invalid duration"),
            "{problem:?}"
        );
    }
}

#[test]
fn gatus_says_what_is_wrong_in_its_own_words_and_in_its_own_order() {
    let answer = |target: &str, authorization: Option<&str>| {
        let value = authorization.map(bearer);
        let problem = read(target, value.as_ref()).unwrap().unwrap_err();
        status_and_text(gatus::Gatus.refused(problem))
    };
    let path = "/api/v1/endpoints/core_db/external";
    for query in ["", "?success=", "?success=yes", "?error=x"] {
        let (status, text) = answer(&format!("{path}{query}"), None);
        assert_eq!(status, 400);
        assert_eq!(text, "missing or invalid success query parameter");
    }
    let target = format!("{path}?success=true");
    for authorization in [None, Some("Basic YTpi"), Some("bearer x"), Some("Bearer")] {
        let said = (401, "invalid Authorization header".to_owned());
        assert_eq!(answer(&target, authorization), said, "{authorization:?}");
    }
    let empty = (401, "bearer token must not be empty".to_owned());
    assert_eq!(answer(&target, Some("Bearer  ")), empty);
    let wrong = status_and_text(gatus::Gatus.refused(unknown_key()));
    assert_eq!(wrong, (401, "invalid token".to_owned()));
    assert_eq!(status_and_text(gatus::Gatus.refused(not_found())).0, 404);
    assert_eq!(
        status_and_text(gatus::Gatus.done(false)),
        (200, String::new())
    );
    let other = "/api/v1/endpoints/core_db/statuses?success=true";
    assert_eq!(answer(other, Some("Bearer x")).0, 404);
}

// === all of them ===

#[test]
fn no_path_is_of_two_dialects_and_ours_are_of_none() {
    for (at, one) in DIALECTS.iter().enumerate() {
        for other in &DIALECTS[at + 1..] {
            assert!(!one.prefix().starts_with(other.prefix()));
            assert!(!other.prefix().starts_with(one.prefix()));
        }
    }
    for path in [
        "/",
        "/ping",
        "/p",
        "/api/pulse/a",
        "/api/push",
        "/pong/a",
        "/api/v1/x",
    ] {
        assert!(Call::parse(path).is_none(), "{path}");
    }
}

#[test]
fn what_is_between_a_key_and_a_service_does_not_show_the_key() {
    let call = Call::parse("/ping/secret-secret-secret/a").unwrap();
    assert!(!format!("{call:?}").contains("secret"));
}

#[test]
fn a_body_is_text_whatever_it_is_made_of() {
    assert_eq!(text_of(b""), None);
    assert_eq!(text_of(b"a\0b\n").as_deref(), Some("a\0b\n"));
    let broken = text_of(&[0xff; 10_000]).unwrap();
    assert!(broken.len() <= MOST_OUTPUT && broken.len() > MOST_OUTPUT - 3);
    assert!(broken.chars().all(|c| c == char::REPLACEMENT_CHARACTER));
}

/// Pieces that mean something to one dialect or another, and some that mean nothing.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "/",
            "?",
            "&",
            "=",
            "ping",
            "p",
            "api",
            "push",
            "v1",
            "endpoints",
            "external",
            "key",
            "start",
            "fail",
            "log",
            "rid",
            "create",
            "success",
            "true",
            "duration",
            "state",
            "run",
            "metric",
            "count:1",
            "status",
            "down",
            "%2f",
            "%",
            "%ff",
            "..",
            "%00",
            "_",
            "-",
            "256",
            UUID,
            RID,
            "+",
            ":",
            ",",
            "NaN",
            "ü",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ]
}

proptest! {
    #[test]
    fn no_target_is_too_strange(
        prefix in prop::sample::select(vec!["/ping/", "/p/", "/api/push/", "/api/v1/endpoints/"]),
        pieces in prop::collection::vec(piece(), 0..20),
        authorization in prop::option::of("(Bearer )?[ -~]{0,30}"),
    ) {
        let target = format!("{prefix}{}", pieces.concat());
        let value = authorization.as_deref().map(bearer);
        let ping = read(&target, value.as_ref()).expect("a dialect's own path");
        match ping {
            Err(problem) => prop_assert!((400..=404).contains(&problem.status().as_u16())),
            Ok(ping) => {
                match ping.what {
                    Ok(What::Run(RunSign::End(end))) => {
                        prop_assert!(end.metrics.iter().all(|(_, value)| value.is_finite()));
                        prop_assert!(end.metrics.len() <= 32);
                    }
                    Ok(What::Pulse(note)) => {
                        prop_assert!(note.metrics.iter().all(|(_, value)| value.is_finite()));
                    }
                    Ok(_) => {}
                    Err(problem) => prop_assert_eq!(problem.status().as_u16(), 400),
                }
                // Whoever is meant, without the key nobody is found.
                let keys = PingKeys::new(Some(ProjectKey::new("another-key-than-these").unwrap()), []);
                prop_assert!(lookup(&keys, &Directory::default(), &ping.who).is_none());
            }
        }
    }

    #[test]
    fn a_slug_and_an_exit_status_come_through(slug in "[a-z0-9][a-z0-9_.@-]{0,63}", status: u8) {
        let target = format!("/ping/a-ping-key/{slug}/{status}");
        let ping = good(&target);
        let names = vec![slug.clone().into()];
        prop_assert_eq!(ping.who, Who::Named { key: "a-ping-key".into(), names });
        prop_assert_eq!(ping.what, Ok(end(status != 0, Some(status.into()))));
    }
}
