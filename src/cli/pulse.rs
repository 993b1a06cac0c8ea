//! `pulse`: a sign of life from a script, or from within a service.

use serde_json::{Map, Value, json};
use supervisor_core::ServiceName;

use super::Context;
use super::args::PulseArgs;
use super::client::{Call, Client, ClientError, Limits};
use super::endpoint::{Environment, Ways, for_pulse};
use super::exit::{CliError, Exit};

/// Carries out `pulse`. Prints nothing where all is well: it is called every few seconds.
pub(super) async fn run(context: &Context, args: &PulseArgs) -> Result<Exit, CliError> {
    let name = name(args.name.as_ref(), &context.environment)?;
    let ways = for_pulse(&context.common, &context.environment, &name);
    by_any_way(ways, Limits::default(), || call(&name, args)).await?;
    Ok(Exit::Fine)
}

/// Calls by the first way that leads to a supervisor.
///
/// # Errors
/// See [`ClientError`].
pub(super) async fn by_any_way(
    ways: Ways,
    limits: Limits,
    call: impl Fn() -> Call,
) -> Result<(), ClientError> {
    let first = Client::with_limits(ways.first, limits).call(call()).await;
    match (first, ways.second) {
        (Err(error), Some(second)) if error.is_not_reachable() => {
            let taken = Client::with_limits(second, limits).call(call()).await;
            match taken {
                // The first way is the one that was meant; its error is the one to show.
                Err(other) if other.is_not_reachable() => Err(error),
                taken => taken.map(drop),
            }
        }
        (taken, _) => taken.map(drop),
    }
}

/// The service that was typed, or the one whose environment this is.
pub(super) fn name(
    typed: Option<&ServiceName>,
    environment: &Environment,
) -> Result<ServiceName, CliError> {
    if let Some(name) = typed {
        return Ok(name.clone());
    }
    let Some(own) = &environment.service else {
        return Err(CliError::Usage(
            "which service? name it, or set SUPERVISOR_SERVICE".to_owned(),
        ));
    };
    ServiceName::new(own).map_err(|e| CliError::Usage(format!("SUPERVISOR_SERVICE: {e}")))
}

/// The request. A plain pulse has no body at all.
fn call(name: &ServiceName, args: &PulseArgs) -> Call {
    if let Some(message) = &args.error {
        let body = json!({ "message": message, "critical": args.critical });
        return Call::post(format!("/api/error/{name}"), Some(&body));
    }
    let mut body = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    add("state", args.state.map(|state| json!(state.as_str())));
    add("message", args.message.as_ref().map(|text| json!(text)));
    add("cycle", args.cycle.map(|n| json!(n)));
    add("progress", args.progress.map(|x| json!(x)));
    add(
        "busy_for",
        args.busy_for
            .map(|period| json!(humantime::format_duration(period).to_string())),
    );
    if !args.metrics.is_empty() {
        let metrics: Map<_, _> = args
            .metrics
            .iter()
            .map(|(key, x)| (key.clone(), json!(x)))
            .collect();
        body.insert("metrics".to_owned(), metrics.into());
    }
    let body = (!body.is_empty()).then(|| Value::from(body));
    Call::post(format!("/api/pulse/{name}"), body.as_ref())
}
