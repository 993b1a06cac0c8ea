//! `sync status|retry|confirm`, and a `--once` beside a running supervisor: what is asked of
//! its sync.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::Context;
use super::client::{Call, Client};
use super::endpoint::Endpoint;
use super::escape::escape;
use super::exit::{CliError, Exit, conclude};
use super::output::{Ink, Look, complain, put, put_json};

/// How often a walk is asked after.
const EVERY: Duration = Duration::from_millis(200);
/// So many parked rows are listed.
const MOST_LISTED: usize = 20;

/// The status as the API shows it, as far as it is printed.
#[derive(Debug, Deserialize)]
struct Status {
    mode: String,
    target: Target,
    queue: Queue,
    parked: Vec<Parked>,
    held: Vec<Held>,
    directories: Vec<Directory>,
    totals: Totals,
    rates: Rates,
    scan: Scan,
    watch: Watch,
    ledger: Option<String>,
    walk: Option<Walk>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    state: String,
    reason: Option<String>,
    retry_in: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Queue {
    debouncing: u64,
    due: u64,
    in_flight: u64,
    held: u64,
    parked: u64,
}

#[derive(Debug, Deserialize)]
struct Parked {
    file_path: String,
    table: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Held {
    table: String,
    rows: u64,
    of: u64,
}

#[derive(Debug, Deserialize)]
struct Directory {
    path: String,
    table: String,
    exists: bool,
    last_sync: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Totals {
    synced: u64,
    skipped: u64,
    errors: u64,
}

#[derive(Debug, Deserialize)]
struct Rates {
    rows_last_minute: u64,
}

#[derive(Debug, Deserialize)]
struct Scan {
    running: bool,
    files: u64,
    read: u64,
    to_read: u64,
}

#[derive(Debug, Deserialize)]
struct Watch {
    mode: String,
    directories: u64,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Walk {
    number: u64,
    running: bool,
    synced: Option<u64>,
    skipped: Option<u64>,
    errors: Option<u64>,
    left: Option<u64>,
    well: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Begun {
    walk: u64,
}

#[derive(Debug, Deserialize)]
struct Retried {
    retried: u64,
}

#[derive(Debug, Deserialize)]
struct Confirmed {
    confirmed: u64,
}

/// Carries out `sync status`. Exits 3 where rows are parked or held, or the target takes
/// nothing.
pub(super) async fn status(context: &Context) -> Result<Exit, CliError> {
    let (status, text): (Status, String) = context.client.read(Call::get("/api/sync")).await?;
    if context.look.json {
        put_json(&text)?;
    } else {
        put(&lines(&status, context.look))?;
    }
    let well = status.queue.parked == 0
        && status.queue.held == 0
        && status.ledger.is_none()
        && status.target.state != "resting";
    Ok(if well { Exit::Fine } else { Exit::Unhealthy })
}

/// Carries out `sync retry`.
pub(super) async fn retry(context: &Context, table: Option<&str>) -> Result<Exit, CliError> {
    let body = table.map(|table| json!({ "table": table }));
    let call = Call::post("/api/sync/retry", body.as_ref());
    let (answer, text): (Retried, String) = context.client.read(call).await?;
    if context.look.json {
        put_json(&text)?;
    } else {
        put(&format!("{} rows are tried again\n", answer.retried))?;
    }
    Ok(Exit::Fine)
}

/// Carries out `sync confirm`.
pub(super) async fn confirm(context: &Context, table: Option<&str>) -> Result<Exit, CliError> {
    let body = table.map(|table| json!({ "table": table }));
    let call = Call::post("/api/sync/confirm", body.as_ref());
    let (answer, text): (Confirmed, String) = context.client.read(call).await?;
    if context.look.json {
        put_json(&text)?;
    } else {
        put(&format!("{} deletions are done\n", answer.confirmed))?;
    }
    Ok(Exit::Fine)
}

fn lines(status: &Status, look: Look) -> String {
    let mut text = String::new();
    let target = &status.target;
    let state = match (target.state.as_str(), target.retry_in) {
        ("open", _) => look.paint(Ink::Green, "open"),
        ("resting", Some(seconds)) => look.paint(
            Ink::Yellow,
            &format!("resting, asked again in {seconds:.0} s"),
        ),
        (state, _) => look.paint(Ink::Yellow, &escape(state)),
    };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "target     {} ({state})", escape(&target.name));
    if let Some(reason) = &target.reason {
        let _ = writeln!(text, "           {}", escape(reason));
    }
    if let Some(why) = &status.ledger {
        let why = look.paint(Ink::BoldRed, &escape(why));
        let _ = writeln!(text, "record     {why}");
    }
    let watch = &status.watch;
    let how = match (watch.mode.as_str(), &watch.reason) {
        ("kernel", _) => format!("{} directories are watched", watch.directories),
        (mode, Some(reason)) => format!("{}: {}", escape(mode), escape(reason)),
        (mode, None) => escape(mode).into_owned(),
    };
    let _ = writeln!(text, "watch      {how}");
    if status.mode != "live" {
        let _ = writeln!(text, "mode       {}", escape(&status.mode));
    }
    if status.scan.running {
        let scan = &status.scan;
        let _ = writeln!(
            text,
            "walk       {} files seen, {} of {} read",
            scan.files, scan.read, scan.to_read
        );
    }
    let queue = &status.queue;
    let _ = writeln!(
        text,
        "queue      {} being edited, {} due ({} on their way), {} held, {} parked",
        queue.debouncing, queue.due, queue.in_flight, queue.held, queue.parked
    );
    let totals = &status.totals;
    let _ = writeln!(
        text,
        "totals     Synced: {}, Skipped: {}, Errors: {} ({} rows in the last minute)",
        totals.synced, totals.skipped, totals.errors, status.rates.rows_last_minute
    );
    for directory in &status.directories {
        let last = match (&directory.last_sync, directory.exists) {
            (_, false) => look.paint(Ink::Yellow, "is not there"),
            (Some(last), true) => format!("last synced {}", escape(last)),
            (None, true) => "nothing synced yet".to_owned(),
        };
        let _ = writeln!(
            text,
            "directory  {} → {}: {last}",
            escape(&directory.path),
            escape(&directory.table)
        );
    }
    for held in &status.held {
        let line = format!(
            "held       {} of {} rows of {} would be deleted: `supervisor sync confirm {}`",
            held.rows,
            held.of,
            escape(&held.table),
            escape(&held.table)
        );
        let _ = writeln!(text, "{}", look.paint(Ink::Yellow, &line));
    }
    for parked in status.parked.iter().take(MOST_LISTED) {
        let line = format!(
            "parked     {} → {}: {}",
            escape(&parked.file_path),
            escape(&parked.table),
            escape(&parked.reason)
        );
        let _ = writeln!(text, "{}", look.paint(Ink::BoldRed, &line));
    }
    if status.parked.len() > MOST_LISTED {
        let _ = writeln!(
            text,
            "           and {} more",
            status.parked.len() - MOST_LISTED
        );
    }
    text
}

// === beside a running supervisor ===

/// Has the supervisor that runs over this data directory look at everything once, and says
/// what came of it.
pub(crate) fn once_beside(data_dir: &std::path::Path) -> ExitCode {
    let client = Client::new(Endpoint::Unix {
        path: data_dir.join("supervisor.sock"),
        config: None,
    });
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return conclude(Err(CliError::Runtime(error))),
    };
    // The codec of actix-http keeps its date in a task of this thread.
    let local = tokio::task::LocalSet::new();
    conclude(local.block_on(&runtime, ask_once(&client)))
}

async fn ask_once(client: &Client) -> Result<Exit, CliError> {
    complain("a supervisor runs already over this data directory: it is asked");
    let call = Call::post("/api/sync/scan", None);
    let (begun, _): (Begun, String) = client.read(call).await?;
    loop {
        let (status, _): (Status, String) = client.read(Call::get("/api/sync")).await?;
        let Some(walk) = status.walk.filter(|walk| walk.number >= begun.walk) else {
            complain("the supervisor was restarted meanwhile: it looks at everything by itself");
            return Ok(Exit::Failure);
        };
        if !walk.running {
            let count = |count: Option<u64>| count.unwrap_or(0);
            put(&format!(
                "Scan complete. Synced: {}, Skipped (unchanged): {}, Errors: {}\n",
                count(walk.synced),
                count(walk.skipped),
                count(walk.errors),
            ))?;
            if count(walk.left) > 0 {
                complain(&format!(
                    "{} rows are left: see `supervisor sync status`",
                    count(walk.left)
                ));
            }
            return Ok(if walk.well == Some(true) {
                Exit::Fine
            } else {
                Exit::Unhealthy
            });
        }
        tokio::time::sleep(EVERY).await;
    }
}
