//! `probe = { … }`.

use std::ops::RangeInclusive;
use std::time::Duration;

use awc::http::Method;
use awc::http::header::{HeaderName, HeaderValue};
use regex::bytes::Regex;
use supervisor_actors::probe::Plan;

use super::exec::Exec;
use super::http::{Expect, Http};
use super::tcp::Tcp;
use super::{About, Way};
use crate::adapters::http_client::Trust;
use crate::config::address;
use crate::config::duration;
use crate::config::reader::Table;
use crate::config::value::Value;
use crate::config::words;
use crate::sources::pattern::compile;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);
/// As for pulses: nobody needs to know more often.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

const HELP: &str = "one of { http = \"http://127.0.0.1:8080/health\" }, \
                    { tcp = \"127.0.0.1:5432\" } and { exec = [\"pg_isready\"] }";

/// Reads a probe: how it looks, and when.
pub(super) fn read(value: &Value<'_>, about: &About<'_>) -> Option<(Way, Plan)> {
    let Some(mut table) = value.is_table().then(|| value.table()).flatten() else {
        return value.expected("a table", "{ http = \"http://127.0.0.1:8080/health\" }");
    };
    let http = table.take("http", |v| {
        address::call(v, "GET", "\"http://127.0.0.1:8080/health\"")
    });
    let tcp = table.take("tcp", tcp);
    let exec = table.take("exec", words::command);
    let before = table.taken();
    let expect = table.take("expect", expect);
    let body = table.take("body", body);
    let headers = table.take("headers", headers);
    let trust = trust(&mut table);
    let only_http = table.given_since(before).to_vec();
    let plan = plan(value, &mut table, about);
    let given = [http.is_present(), tcp.is_present(), exec.is_present()];
    match given.iter().filter(|given| **given).count() {
        0 => return value.wrong("names nothing to look at", HELP),
        1 => {}
        _ => return value.wrong("looks in more than one way", HELP),
    }
    if !http.is_present() {
        for (key, span) in only_http {
            let sink = table.sink();
            let message = format!("`{key}` in [{}] is for `http`", table.shown());
            let mistake = sink.at(span, "what should it mean here?", message);
            sink.say(mistake.help("leave it out; other probes have an interval and a timeout"));
        }
    }
    let way = if http.is_present() {
        let (method, address) = http.value()?;
        Way::Http(Http {
            method: Method::from_bytes(method.as_bytes()).ok()?,
            address: address.parse().ok()?,
            headers: headers.or(Vec::new()),
            expect: expect.or(Expect(vec![200..=299])),
            body: body.value(),
            trust,
        })
    } else if tcp.is_present() {
        Way::Tcp(tcp.value()?)
    } else {
        Way::Exec(Exec {
            command: exec.value()?,
            directory: value.sink.path("."),
        })
    };
    Some((way, plan?))
}

/// When it looks.
fn plan(value: &Value<'_>, table: &mut Table<'_>, about: &About<'_>) -> Option<Plan> {
    let interval = table.take("interval", |v| duration::at_least(v, LEAST_INTERVAL));
    let timeout = table.take("timeout", duration::positive);
    let failures = table.take("failure_threshold", |v| v.whole(1..=1_000_u32));
    let successes = table.take("success_threshold", |v| v.whole(1..=1_000_u32));
    if interval.is_wrong() || timeout.is_wrong() {
        return None;
    }
    let span = timeout
        .as_given()
        .or(interval.as_given())
        .map(|given| given.span.clone());
    let interval = interval.or(INTERVAL.min(about.interval));
    let timeout = timeout.or(TIMEOUT.min(interval));
    if timeout > interval {
        return value.wrong_at(
            span.unwrap_or_else(|| value.span.clone()),
            "has a timeout beyond its interval",
            "the next look would be due before this one has ended",
            format!(
                "the interval is {}, the timeout {}",
                duration::show(interval),
                duration::show(timeout)
            ),
        );
    }
    Some(Plan {
        interval,
        timeout,
        failure_threshold: failures.or(1),
        success_threshold: successes.or(1),
    })
}

/// `host:port`, an IPv6 address in brackets.
fn tcp(value: &Value<'_>) -> Option<Tcp> {
    const EXAMPLE: &str = "\"127.0.0.1:5432\"";
    const HELP: &str =
        "a host and a port: \"127.0.0.1:5432\", \"db.example.org:5432\", \"[::1]:5432\"";
    let text = value.need_some_text(EXAMPLE)?;
    let Some((host, port)) = text.rsplit_once(':') else {
        return value.wrong("has no port", HELP);
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let is_address = bare.is_some_and(|bare| bare.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if !is_address && !is_name {
        return value.wrong("has no host that could be one", HELP);
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Some(Tcp {
            host: bare.unwrap_or(host).to_owned(),
            port,
        }),
        Ok(_) | Err(_) => value.wrong(format!("has a port that is none, {port:?}"), HELP),
    }
}

/// `200`, `"200-299"`, `"200, 204, 300-399"`.
fn expect(value: &Value<'_>) -> Option<Expect> {
    const EXAMPLE: &str = "\"200-299\"";
    const HELP: &str = "statuses and ranges of them, from 100 to 599: \"200-299\", \"200, 204\"";
    if value.integer().is_some() {
        let status = value.whole(100..=599_u16)?;
        return Some(Expect(vec![status..=status]));
    }
    let text = value.need_some_text(EXAMPLE)?;
    let range = |part: &str| -> Option<RangeInclusive<u16>> {
        let status = |text: &str| {
            let status = text.trim().parse().ok();
            status.filter(|status| (100..=599).contains(status))
        };
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u16, u16) = (status(from)?, status(to)?);
        (from <= to).then_some(from..=to)
    };
    match text.split(',').map(range).collect::<Option<Vec<_>>>() {
        Some(ranges) => Some(Expect(ranges)),
        None => value.wrong(format!("is no range of statuses: {text:?}"), HELP),
    }
}

/// What the body must match somewhere.
fn body(value: &Value<'_>) -> Option<Regex> {
    let text = value.need_some_text("\"ok\"")?;
    match compile(text) {
        Ok(pattern) => Some(pattern),
        Err(bad) => bad.say(value),
    }
}

/// What is sent besides.
fn headers(value: &Value<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    /// What the connection is made of is not the owner's to say.
    const OURS: [&str; 4] = [
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
    ];
    let Some(mut table) = value.is_table().then(|| value.table()).flatten() else {
        return value.expected("a table", "{ Authorization = \"Bearer …\" }");
    };
    let headers: Vec<_> = table
        .entries()
        .iter()
        .map(|entry| {
            let named = HeaderName::from_bytes(entry.key.as_bytes()).ok();
            let Some(name) = named.filter(|name| !OURS.contains(&name.as_str())) else {
                return value.wrong_at(
                    entry.key_span.clone(),
                    format!("holds {:?}, which is no header to set", entry.key),
                    "not this one",
                    "for example: { Authorization = \"Bearer …\" }",
                );
            };
            let text = entry.value.need_text("\"value\"")?;
            match HeaderValue::from_str(text) {
                Ok(value) => Some((name, value)),
                Err(_) => entry.value.wrong(
                    "holds a character that no header may",
                    "visible ASCII and blanks, on one line",
                ),
            }
        })
        .collect();
    headers.into_iter().collect()
}

/// Whose certificates are good.
fn trust(table: &mut Table<'_>) -> Trust {
    let file = table.take("ca_file", |value| {
        let text = value.need_some_text("\"ca.pem\"")?;
        Some(Trust::File(value.sink.path(text)))
    });
    let insecure = table.take("insecure", Value::flag);
    if let (Some(file), Some(insecure)) = (file.as_given(), insecure.as_given())
        && insecure.value
    {
        let sink = table.sink();
        let shown = table.shown();
        let message = format!("`insecure` and `ca_file` in [{shown}] contradict each other");
        let mistake = sink.at(insecure.key.clone(), "trusts anyone", message);
        let mistake = mistake.also(file.key.clone(), "trusts these");
        sink.say(mistake.help("keep `ca_file`: it takes a self-signed certificate, too"));
    }
    if insecure.or(false) {
        Trust::Anyone
    } else {
        file.or(Trust::System)
    }
}
