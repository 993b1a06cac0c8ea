//! `dashboard`: an address that signs a browser in.

use serde::Deserialize;

use super::Context;
use super::client::Call;
use super::exit::{CliError, Exit};
use super::human;
use super::output::{complain, put, put_json};

#[derive(Debug, Deserialize)]
struct Invitation {
    url: String,
    expires_in: u64,
}

/// Carries out `dashboard`. The address alone goes to stdout, so that a shell can hand it to a
/// browser.
pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let call = Call::post("/api/login", None);
    let (invitation, text): (Invitation, String) = context.client.read(call).await?;
    if context.look.json {
        put_json(&text)?;
        return Ok(Exit::Fine);
    }
    put(&format!("{}\n", invitation.url))?;
    complain(&format!(
        "it signs a browser in, once, within {}",
        human::seconds(invitation.expires_in as f64)
    ));
    Ok(Exit::Fine)
}
