//! `status`: how the services are, once.

use supervisor_core::{Level, ServiceName};

use super::Context;
use super::api::{Service, Services, overall};
use super::args::StatusArgs;
use super::client::{Call, Client, ClientError};
use super::exit::{CliError, Exit};
use super::output::{Look, put, put_json, terminal_size};
use super::table::{Room, card, last_output, summary, table};

/// How many lines of its output a service in trouble is shown with.
const LAST_WORDS: usize = 3;

/// Carries out `status`.
pub(super) async fn run(context: &Context, args: &StatusArgs) -> Result<Exit, CliError> {
    if let Some(name) = &args.name {
        let (service, json) = one(&context.client, name).await?;
        if context.look.json {
            put_json(&json)?;
        } else {
            put(&card(&service, context.look))?;
            if service.level() >= Level::Warning {
                put(&last_words(&context.client, name).await)?;
            }
        }
        return Ok(verdict(service.level()));
    }
    let (services, json) = all(&context.client).await?;
    if context.look.json {
        put_json(&json)?;
    } else {
        let width = terminal_size().filter(|_| context.look.terminal);
        let room = Room {
            width: width.map(|(columns, _)| columns),
            height: None,
        };
        let shown = shown(&services, args.all);
        put(&page(&shown, &shown, context.look, room))?;
    }
    Ok(verdict(overall(&services)))
}

/// One service: the object, and its text.
pub(super) async fn one(
    client: &Client,
    name: &ServiceName,
) -> Result<(Service, String), ClientError> {
    client
        .read(Call::get(format!("/api/services/{name}")))
        .await
}

/// What a service in trouble printed last: most often that is why. Nothing where it is not to
/// be had: who asks for the status is not bothered with the log's own troubles.
async fn last_words(client: &Client, name: &ServiceName) -> String {
    let call = Call::get(format!("/api/logs/{name}?tail={LAST_WORDS}"));
    last_output(&client.call(call).await.unwrap_or_default())
}

/// All services, and the text of the answer.
pub(super) async fn all(client: &Client) -> Result<(Vec<Service>, String), ClientError> {
    let (answer, json): (Services, String) = client.read(Call::get("/api/services")).await?;
    Ok((answer.services, json))
}

/// The exit code of a level.
pub(super) fn verdict(level: Level) -> Exit {
    match level {
        Level::Unknown | Level::Healthy | Level::Warning => Exit::Fine,
        Level::Degraded | Level::Critical => Exit::Unhealthy,
    }
}

/// Those that are shown: our own actors only where they are not well, or asked for.
pub(super) fn shown(services: &[Service], internal: bool) -> Vec<&Service> {
    services
        .iter()
        .filter(|s| internal || !s.is_internal() || s.level() >= Level::Warning)
        .collect()
}

/// The summary of all, and the table of those with a row.
pub(super) fn page(all: &[&Service], rows: &[&Service], look: Look, room: Room) -> String {
    let mut page = summary(all, look);
    page.push('\n');
    if !rows.is_empty() {
        page.push('\n');
        page.push_str(&table(rows, look, room));
        page.push('\n');
    }
    page
}
