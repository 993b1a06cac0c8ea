//! `alerts`, `ack`, `silence`: who is told of what, and who is not.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::Context;
use super::api::level;
use super::args::{AckArgs, AlertsArgs, AlertsCommand, SilenceArgs, SilenceCommand};
use super::client::{Call, ClientError};
use super::escape::escape;
use super::exit::{CliError, Exit};
use super::output::{Look, put, put_json};
use super::table::ink;

/// An alert as the API shows it.
#[derive(Debug, Deserialize)]
struct Alert {
    id: u64,
    service: String,
    state: String,
    level: String,
    reason: String,
    opened: String,
    resolved: Option<String>,
    acknowledged: Option<Taken>,
    silent: Option<String>,
    #[serde(default)]
    why: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Taken {
    by: String,
    note: String,
}

#[derive(Debug, Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Silence {
    id: u64,
    services: String,
    tag: Option<String>,
    until: String,
    by: String,
    note: String,
}

#[derive(Debug, Deserialize)]
struct Silences {
    silences: Vec<Silence>,
}

#[derive(Debug, Deserialize)]
struct Anything {}

/// Carries out `alerts`. Exits 3 where a critical one is open that nobody has taken.
pub(super) async fn run(context: &Context, args: &AlertsArgs) -> Result<Exit, CliError> {
    match &args.command {
        None => list(context, args).await,
        Some(AlertsCommand::Why { id }) => why(context, *id).await,
        Some(AlertsCommand::Test { sink }) => test(context, sink).await,
    }
}

async fn list(context: &Context, args: &AlertsArgs) -> Result<Exit, CliError> {
    let state = if args.all { "all" } else { "open" };
    let limit = args.limit;
    let call = Call::get(format!("/api/alerts?state={state}&limit={limit}"));
    let (found, text): (Alerts, String) = context.client.read(call).await?;
    if context.look.json {
        put_json(&text)?;
    } else if found.alerts.is_empty() {
        put(if args.all {
            "no alerts yet\n"
        } else {
            "no alerts\n"
        })?;
    } else {
        let lines: String = found
            .alerts
            .iter()
            .map(|alert| line(alert, context.look))
            .collect();
        put(&lines)?;
    }
    let urgent = |alert: &Alert| alert.level == "critical" && alert.state == "firing";
    Ok(if found.alerts.iter().any(urgent) {
        Exit::Unhealthy
    } else {
        Exit::Fine
    })
}

async fn why(context: &Context, id: u64) -> Result<Exit, CliError> {
    let call = Call::get(format!("/api/alerts/{id}"));
    let (alert, text): (Alert, String) = context.client.read(call).await?;
    if context.look.json {
        put_json(&text)?;
        return Ok(Exit::Fine);
    }
    let mut shown = line(&alert, context.look);
    for rule in &alert.why {
        let _ = writeln!(shown, "  {}", escape(rule));
    }
    if let Some(resolved) = &alert.resolved {
        let _ = writeln!(shown, "  resolved at {}", escape(resolved));
    }
    put(&shown)?;
    Ok(Exit::Fine)
}

async fn test(context: &Context, sink: &str) -> Result<Exit, CliError> {
    let body = json!({ "sink": sink });
    let call = Call::post("/api/alerts/test", Some(&body));
    let (_, text): (Anything, String) = context.client.read(call).await?;
    if context.look.json {
        put_json(&text)?;
    } else {
        put(&format!("{} took a test message\n", escape(sink)))?;
    }
    Ok(Exit::Fine)
}

/// Carries out `ack`.
pub(super) async fn acknowledge(context: &Context, args: &AckArgs) -> Result<Exit, CliError> {
    let by = args.by.clone().or_else(user);
    let body = json!({ "by": by, "note": args.note });
    let call = Call::post(format!("/api/alerts/{}/ack", args.id), Some(&body));
    let (alert, text): (Alert, String) = context.client.read(call).await?;
    if context.look.json {
        put_json(&text)?;
    } else {
        put(&line(&alert, context.look))?;
    }
    Ok(Exit::Fine)
}

/// Carries out `silence`.
pub(super) async fn silence(context: &Context, args: &SilenceArgs) -> Result<Exit, CliError> {
    match &args.command {
        SilenceCommand::List => {
            let call = Call::get("/api/silences");
            let (found, text): (Silences, String) = context.client.read(call).await?;
            if context.look.json {
                put_json(&text)?;
            } else if found.silences.is_empty() {
                put("no silences\n")?;
            } else {
                put(&found.silences.iter().map(describe).collect::<String>())?;
            }
        }
        SilenceCommand::Add(wish) => {
            let body = json!({
                "services": wish.services,
                "for": seconds_of(wish.period),
                "tag": wish.tag,
                "by": wish.by.clone().or_else(user),
                "note": wish.note,
            });
            let call = Call::post("/api/silences", Some(&body));
            let (made, text): (Silence, String) = context.client.read(call).await?;
            if context.look.json {
                put_json(&text)?;
            } else {
                put(&describe(&made))?;
            }
        }
        SilenceCommand::Expire { id } => {
            end(context, *id).await?;
            if !context.look.json {
                put(&format!("silence {id} is over\n"))?;
            }
        }
    }
    Ok(Exit::Fine)
}

async fn end(context: &Context, id: u64) -> Result<(), ClientError> {
    let call = Call::delete(format!("/api/silences/{id}"));
    context.client.call(call).await.map(drop)
}

/// Who types this.
fn user() -> Option<String> {
    std::env::var("USER").ok().filter(|user| !user.is_empty())
}

fn seconds_of(period: Duration) -> f64 {
    period.as_secs_f64()
}

/// `7 critical firing  worker  since 2026-01-02T18:30:00Z  no pulse for 95 s …`
fn line(alert: &Alert, look: Look) -> String {
    let mut line = format!(
        "{:<4} {} {:<12} {:<16} since {}  {}",
        alert.id,
        look.paint(
            ink(level(&alert.level)),
            &format!("{:<8}", escape(&alert.level))
        ),
        escape(&alert.state),
        escape(&alert.service),
        escape(&alert.opened),
        escape(&alert.reason)
    );
    if let Some(taken) = &alert.acknowledged {
        let _ = write!(line, "; taken by {}", escape(&taken.by));
        if !taken.note.is_empty() {
            let _ = write!(line, ": {}", escape(&taken.note));
        }
    }
    if let Some(silent) = &alert.silent {
        let _ = write!(line, " [nobody is told: {}]", escape(silent));
    }
    line.push('\n');
    line
}

fn describe(silence: &Silence) -> String {
    let tag = silence
        .tag
        .as_ref()
        .map_or_else(String::new, |tag| format!(" with tag {}", escape(tag)));
    let note = match silence.note.as_str() {
        "" => String::new(),
        note => format!(": {}", escape(note)),
    };
    format!(
        "silence {} of {}{tag} until {}, by {}{note}\n",
        silence.id,
        escape(&silence.services),
        escape(&silence.until),
        escape(&silence.by)
    )
}
