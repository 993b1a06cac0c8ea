//! `events`: what happened, oldest first.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Context;
use super::api::{Event, level};
use super::args::{EventsArgs, Since};
use super::client::Call;
use super::escape::{escape, escape_json};
use super::exit::{CliError, Exit, sentence};
use super::output::{Ink, Look, broken_pipe, complain, put, put_json, reader_is_gone};
use super::table::ink;

/// How often a followed list is asked for more.
const EVERY: Duration = Duration::from_millis(500);

/// How many are shown where nobody says.
const NEWEST: u32 = 100;

/// The most that one answer holds.
const MOST: u32 = 1000;

/// `GET /api/events`: each event as its own text too, for `--json`.
#[derive(Debug, Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    /// Where to go on.
    next: Option<i64>,
}

/// Carries out `events`.
pub(super) async fn run(context: &Context, args: &EventsArgs) -> Result<Exit, CliError> {
    let mut next = show(context, args, None).await?;
    // Everything since a point may be more than one answer holds.
    while args.since.is_some() && args.limit.is_none() && !args.follow && !context.look.json {
        let last = next;
        next = show(context, args, last).await?;
        if next == last {
            break;
        }
    }
    if args.follow {
        follow(context, args, next).await
    } else {
        Ok(Exit::Fine)
    }
}

/// Goes on from there for as long as somebody reads.
async fn follow(
    context: &Context,
    args: &EventsArgs,
    mut next: Option<i64>,
) -> Result<Exit, CliError> {
    let mut lost = false;
    loop {
        tokio::time::sleep(EVERY).await;
        if reader_is_gone() {
            return Err(broken_pipe().into());
        }
        // A supervisor that goes away may be on its way back, and its history is on disk.
        match show(context, args, next).await {
            Ok(cursor) => {
                if std::mem::take(&mut lost) {
                    complain("the supervisor is back");
                }
                next = cursor.or(next);
            }
            Err(CliError::Client(error)) if error.may_pass() => {
                if !std::mem::replace(&mut lost, true) {
                    complain(&sentence(&error));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Prints what there is after the cursor, or what was asked for; says where to go on.
async fn show(
    context: &Context,
    args: &EventsArgs,
    after: Option<i64>,
) -> Result<Option<i64>, CliError> {
    let (page, json): (Page, String) = context.client.read(Call::get(path(args, after))).await?;
    if context.look.json && !args.follow {
        put_json(&json)?;
        return Ok(page.next);
    }
    let mut text = String::new();
    for event in &page.events {
        if context.look.json {
            text.push_str(&escape_json(event.get()));
        } else {
            let event: Event =
                serde_json::from_str(event.get()).map_err(|e| context.client.unexpected(&e))?;
            text.push_str(&line(&event, context.look));
        }
        text.push('\n');
    }
    put(&text)?;
    Ok(page.next)
}

fn path(args: &EventsArgs, after: Option<i64>) -> String {
    let limit = args
        .limit
        .unwrap_or(if args.since.is_some() { MOST } else { NEWEST });
    let service = args
        .service
        .as_ref()
        .map_or_else(String::new, |name| format!("&service={name}"));
    let since = match (after, args.since) {
        (Some(cursor), _) => format!("&since={cursor}"),
        (None, Some(Since::Ago(age))) => format!("&since={}ms", age.as_millis()),
        (None, Some(Since::At(date))) => format!("&since={}", date.rfc3339_micros()),
        (None, None) => String::new(),
    };
    format!("/api/events?limit={limit}{service}{since}")
}

/// `2026-01-02T18:30:00.123Z worker level healthy → warning: 1 interval missed`
fn line(event: &Event, look: Look) -> String {
    let word = |word: &str| look.paint(ink(level(word)), &escape(word));
    let is_level = event.kind == "level";
    let paint = |text: &str| match is_level {
        true => word(text),
        false => escape(text).into_owned(),
    };
    let change = match (&event.from, &event.to) {
        // What happened within a state.
        (Some(from), Some(to)) if from == to => String::new(),
        (Some(from), Some(to)) => format!("{} → {}", paint(from), paint(to)),
        (None, Some(only)) | (Some(only), None) => paint(only),
        (None, None) => String::new(),
    };
    let reason = event.reason.as_deref().unwrap_or_default();
    let parts: Vec<String> = [change, escape(reason).into_owned()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let text = format!(
        "{} {:<16} {:<11} {}",
        look.paint(Ink::Faint, &millis(&event.time)),
        escape(&event.service),
        escape(&event.kind),
        parts.join(": ")
    );
    text.trim_end().to_owned()
}

/// A date with milliseconds: microseconds are for programs (`--json`).
fn millis(time: &str) -> String {
    let cut = match time.split_once('.') {
        Some((seconds, fraction)) if fraction.len() == 7 && fraction.ends_with('Z') => fraction
            .get(..3)
            .map(|millis| format!("{seconds}.{millis}Z")),
        Some(_) | None => None,
    };
    escape(cut.as_deref().unwrap_or(time)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look {
        color: false,
        terminal: false,
        json: false,
    };

    fn shown(json: &str) -> String {
        line(&serde_json::from_str(json).unwrap(), PLAIN)
    }

    #[test]
    fn an_event_is_a_line() {
        assert_eq!(
            shown(
                r#"{"id":7,"time":"2026-01-02T18:30:00.123456Z","service":"worker","kind":"level",
                "from":"healthy","to":"warning","reason":"1 interval missed"}"#
            ),
            "2026-01-02T18:30:00.123Z worker           level       healthy → warning: 1 interval missed"
        );
        assert_eq!(
            shown(r#"{"time":"t","service":"db","kind":"restarted","to":"stale","reason":""}"#),
            "t db               restarted   stale"
        );
        assert_eq!(
            shown(
                r#"{"time":"t","service":"db","kind":"started","from":null,"to":null,"reason":""}"#
            ),
            "t db               started"
        );
    }

    #[test]
    fn what_happened_within_a_state_names_none() {
        assert_eq!(
            shown(
                r#"{"time":"t","service":"db","kind":"started","from":"starting","to":"starting",
                "reason":"pid 7"}"#
            ),
            "t db               started     pid 7"
        );
    }

    #[test]
    fn f13_an_event_cannot_break_its_line() {
        let text = shown(
            r#"{"time":"\u001b","service":"\n","kind":"\r","from":"\u009b","to":"\u0000",
            "reason":"a\nb\u001b[1m"}"#,
        );
        assert_eq!(escape(&text), text);
    }

    #[test]
    fn a_cursor_outranks_where_it_began() {
        let args = |since| EventsArgs {
            service: supervisor_core::ServiceName::new("a@1").ok(),
            since,
            limit: Some(5),
            follow: true,
        };
        let ago = args(Some(Since::Ago(Duration::from_secs(90))));
        assert_eq!(
            path(&ago, None),
            "/api/events?limit=5&service=a@1&since=90000ms"
        );
        assert_eq!(
            path(&ago, Some(7)),
            "/api/events?limit=5&service=a@1&since=7"
        );
        let at = args(Some(Since::At(supervisor_core::Timestamp(1_000_000))));
        assert_eq!(
            path(&at, None),
            "/api/events?limit=5&service=a@1&since=1970-01-01T00:00:01.000000Z"
        );
        assert_eq!(path(&args(None), None), "/api/events?limit=5&service=a@1");
    }
}
