//! `sync`: what the mirroring of markdown into tables needs, and whether it has been done.

use std::sync::Arc;

use serde_json::{Value, json};

use supervisor_actors::verify::{Report, verify};
use supervisor_core::sync::verify::Kind;
use supervisor_core::sync::{OnDelete, Table, schema};

use super::args::{SyncArgs, SyncCommand};
use super::escape::escape;
use super::exit::{CliError, Exit};
use super::output::{put, put_json, put_message};
use super::{Context, mirror};
use crate::adapters::clock::RealClock;
use crate::adapters::files::RealFiles;
use crate::adapters::http_client::HttpCalls;
use crate::adapters::tables;
use crate::config::{self, Settings, SyncSettings, Target};

/// Carries out `sync`.
pub(super) async fn run(context: &Context, args: &SyncArgs) -> Result<Exit, CliError> {
    let verify = match &args.command {
        SyncCommand::Status => return mirror::status(context).await,
        SyncCommand::Retry(of) => return mirror::retry(context, of.table.as_deref()).await,
        SyncCommand::Confirm(of) => return mirror::confirm(context, of.table.as_deref()).await,
        SyncCommand::Schema => false,
        SyncCommand::Verify => true,
    };
    let common = &context.common;
    let settings = match config::load(&common.config, &|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            if common.json {
                put_json(&mistakes.to_json().to_string())?;
            } else {
                put_message(&mistakes.render_for_stderr(common.no_color));
            }
            return Ok(Exit::BadConfiguration);
        }
    };
    let Some(sync) = &settings.sync else {
        return Err(CliError::NothingMirrored(common.config.clone()));
    };
    if verify {
        compare(&settings, sync, common.json).await
    } else {
        print_schema(sync, common.json)
    }
}

/// Prints the SQL for the tables of the configuration.
fn print_schema(sync: &SyncSettings, as_json: bool) -> Result<Exit, CliError> {
    let tables: Vec<Table> = sync
        .routes
        .tables()
        .map(|table| (**table).clone())
        .collect();
    let sql = schema::postgres(&tables);
    if as_json {
        put_json(&json!({ "sql": sql }).to_string())?;
    } else {
        put(&sql)?;
    }
    Ok(Exit::Fine)
}

/// Compares every path with the target, which is asked by ourselves: no supervisor is needed,
/// and none is believed.
async fn compare(
    settings: &Settings,
    sync: &SyncSettings,
    as_json: bool,
) -> Result<Exit, CliError> {
    let data_dir = &settings.supervisor.data_dir;
    let database = data_dir.join("tables.db");
    if sync.target == Target::Sqlite && !database.exists() {
        return Err(CliError::NothingSynced(database));
    }
    let clock = Arc::new(RealClock);
    let env = |name: &str| std::env::var(name).ok();
    let calls = HttpCalls::default();
    let target = tables::target(&sync.target, data_dir, &env, &calls, clock.clone())?;
    let files = RealFiles::new(Arc::clone(&sync.routes), sync.max_file_size, clock);
    let report = verify(Arc::new(files), &*target, &sync.routes).await?;
    if as_json {
        put_json(&object(&report).to_string())?;
    } else {
        put(&lines(&report))?;
    }
    Ok(exit(&report, sync.on_delete))
}

/// A row without a file is a fault only where it should have gone with it.
fn exit(report: &Report, on_delete: OnDelete) -> Exit {
    let wrong = report
        .tables
        .iter()
        .flat_map(|table| &table.verdict.differences);
    let wrong = wrong.filter(|it| it.kind != Kind::Extra || on_delete != OnDelete::Keep);
    if wrong.count() == 0 && report.unreadable.is_empty() {
        Exit::Fine
    } else {
        Exit::Unhealthy
    }
}

/// For people: a line for each difference, and the totals.
fn lines(report: &Report) -> String {
    let mut text = String::new();
    for compared in &report.tables {
        let table = compared.table.name();
        for it in &compared.verdict.differences {
            let name = escape(&it.name);
            text += &format!("{:<10} {table}  {name}\n", it.kind.word());
        }
        if compared.table.hash_column().is_none() {
            text +=
                &format!("{table} has no column for content_hash: only its keys were compared\n");
        }
    }
    for (path, why) in &report.unreadable {
        text += &format!("unreadable {}: {}\n", escape(path), escape(why));
    }
    let count = |kind| -> usize {
        let counts = report.tables.iter().map(|it| it.verdict.count(kind));
        counts.sum()
    };
    let same: u64 = report.tables.iter().map(|it| it.verdict.same).sum();
    text += &format!(
        "Verified. Same: {same}, Missing: {}, Different: {}, Extra: {}, Unreadable: {}\n",
        count(Kind::Missing),
        count(Kind::Different),
        count(Kind::Extra),
        report.unreadable.len()
    );
    text
}

/// For programs.
fn object(report: &Report) -> Value {
    let tables: Vec<Value> = report
        .tables
        .iter()
        .map(|compared| {
            let names = |kind| -> Vec<&str> {
                let of_kind = compared.verdict.differences.iter();
                let of_kind = of_kind.filter(|it| it.kind == kind);
                of_kind.map(|it| it.name.as_str()).collect()
            };
            json!({
                "table": compared.table.name(),
                "by_hash": compared.table.hash_column().is_some(),
                "same": compared.verdict.same,
                "missing": names(Kind::Missing),
                "different": names(Kind::Different),
                "extra": names(Kind::Extra),
            })
        })
        .collect();
    let unreadable: Vec<Value> = report
        .unreadable
        .iter()
        .map(|(path, why)| json!({ "path": path, "reason": why }))
        .collect();
    json!({ "tables": tables, "unreadable": unreadable })
}
