//! `sync`: what the mirroring of markdown into tables needs.

use supervisor_core::sync::{Table, schema};

use super::Context;
use super::args::{SyncArgs, SyncCommand};
use super::exit::{CliError, Exit};
use super::output::{put, put_json, put_message};
use crate::config;

/// Carries out `sync`.
pub(super) fn run(context: &Context, args: &SyncArgs) -> Result<Exit, CliError> {
    match args.command {
        SyncCommand::Schema => print_schema(context),
    }
}

/// Prints the SQL for the tables of the configuration.
fn print_schema(context: &Context) -> Result<Exit, CliError> {
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
    let Some(sync) = settings.sync else {
        return Err(CliError::NothingMirrored(common.config.clone()));
    };
    let tables: Vec<Table> = sync
        .routes
        .tables()
        .map(|table| (**table).clone())
        .collect();
    let sql = schema::postgres(&tables);
    if common.json {
        put_json(&serde_json::json!({ "sql": sql }).to_string())?;
    } else {
        put(&sql)?;
    }
    Ok(Exit::Fine)
}
