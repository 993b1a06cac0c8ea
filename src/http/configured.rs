//! `GET /api/services/{name}/config`: a service as it is configured now, defaults included, in
//! the words of the configuration.
//!
//! For the owner alone, and even so without what may be secret: of its environment the names,
//! of addresses no user, password, query or fragment. What a command line holds can be read by
//! everybody on the machine while it runs, so it is shown.

use std::time::Duration;

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use supervisor_actors::spec::{Nudge, ProcessSpec, ServiceSpec};
use supervisor_core::policy::{IntervalSource, PokeOn, Policy, Ready, Restart, Watch};

use super::api::Api;
use super::health::json as answer;
use super::problem::Problem;
use super::services;

/// `GET /api/services/{name}/config`.
pub(super) async fn show(api: &Api, name: &str) -> Result<HttpResponse, Problem> {
    let known = services::checked(name)?;
    let spec = api.ask(api.supervisor.spec(&known)).await?;
    let spec = spec.ok_or_else(|| Problem::unknown_service(name))?;
    Ok(answer(&shown(&spec)))
}

/// A table in the words of the configuration.
#[derive(Default)]
struct Table(Map<String, Value>);

impl Table {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn put_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }
}

fn shown(spec: &ServiceSpec) -> Value {
    let mut table = Table::default();
    let policy = &spec.policy;
    if let Some(process) = &spec.process {
        put_process(&mut table, process);
    }
    table.put("enabled", spec.enabled);
    let pulses = match policy.watch {
        Watch::Alive => "by living",
        Watch::Pulsing | Watch::External if policy.on_demand => "on demand",
        Watch::Pulsing | Watch::External => "in intervals",
    };
    table.put("pulses", pulses);
    if policy.watch != Watch::Alive && !policy.on_demand {
        let interval = || time(policy.interval);
        match policy.interval_source {
            IntervalSource::Configured | IntervalSource::Announced => {
                table.put("interval", interval());
            }
            // Its policy is the one that judges it now.
            IntervalSource::Learning => table.put("interval", "auto"),
            IntervalSource::Learnt => {
                table.put("interval", "auto");
                table.put("interval_learnt", interval());
            }
        }
        table.put("grace", time(policy.grace));
    }
    let kinds: Vec<_> = spec.sources.iter().map(|source| source.kind()).collect();
    table.put("sources", kinds);
    table.put("critical", policy.critical);
    table.put("tags", spec.tags.clone());
    let needs: Vec<_> = spec.depends_on.iter().map(ToString::to_string).collect();
    table.put("depends_on", needs);
    put_policy(&mut table, policy);
    table.put_some("nudge", spec.nudge.as_ref().map(nudge));
    table.put_some("restart_command", spec.restart_command.clone());
    Value::Object(table.0)
}

fn put_process(table: &mut Table, process: &ProcessSpec) {
    table.put("command", process.command.clone());
    table.put("cwd", process.cwd.display().to_string());
    let names: Vec<_> = process.env.iter().map(|(name, _)| name.clone()).collect();
    table.put("env", names);
    table.put("pass_env", process.pass_env.clone());
    table.put_some("user", process.user.clone());
    table.put_some("group", process.group.clone());
    table.put_some("umask", process.umask.map(|mask| format!("{mask:03o}")));
    table.put_some("nice", process.nice);
    let limits = process.limits.iter();
    let limits: Map<_, _> = limits
        .map(|(name, most)| (name.clone(), json!(most)))
        .collect();
    if !limits.is_empty() {
        table.put("limits", limits);
    }
    table.put("stop_signal", process.stop_signal);
    table.put("stop_timeout", time(process.stop_timeout));
    table.put("log_max_size", process.log_max_size);
    table.put("log_keep", process.log_keep);
}

fn put_policy(table: &mut Table, policy: &Policy) {
    let thresholds = &policy.thresholds;
    if policy.watch != Watch::Alive && !policy.on_demand {
        table.put("warning_after", time(thresholds.warning));
        table.put_some("degraded_after", thresholds.degraded.map(time));
        table.put("critical_after", time(thresholds.critical));
    }
    table.put("errors_in_a_row", thresholds.counts.to_vec());
    table.put("start_grace", time(policy.start_grace));
    table.put("recover_after", policy.recover_after);
    table.put("alert_on_miss", policy.alert_on_miss);
    table.put("max_busy", time(policy.max_busy));
    table.put_some("progress_timeout", policy.progress_timeout.map(time));
    let ready = match policy.ready {
        Ready::Pulse => "pulse",
        Ready::Notify => "notify",
        Ready::Probe => "probe",
        Ready::Running => "running",
    };
    if policy.watch != Watch::External {
        table.put("ready", ready);
    }
    let restart = match policy.restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    };
    table.put("restart", restart);
    let (min, max, factor, jitter) = policy.backoff.parts();
    table.put(
        "backoff",
        json!({"min": time(min), "max": time(max), "factor": factor, "jitter": jitter,
               "reset_after": time(policy.backoff.reset_after())}),
    );
    table.put("max_restarts", policy.intensity.max());
    table.put("restart_window", time(policy.intensity.window()));
    table.put("quarantine_for", time(policy.quarantine_for));
    let PokeOn {
        stale,
        probe,
        errors,
    } = policy.poke_on;
    let reasons = [("stale", stale), ("probe", probe), ("errors", errors)];
    table.put("poke_on", on(&reasons));
    table.put(
        "poke",
        on(&[("nudge", policy.nudge), ("restart", policy.poke_restarts)]),
    );
    if policy.nudge {
        table.put("nudge_wait", time(policy.nudge_wait));
    }
}

fn on(words: &[(&'static str, bool)]) -> Vec<&'static str> {
    let on = words.iter().filter(|(_, on)| *on);
    on.map(|(word, _)| *word).collect()
}

fn nudge(nudge: &Nudge) -> Value {
    match nudge {
        Nudge::Signal(signal) => json!({ "signal": signal }),
        Nudge::Exec(command) => json!({ "exec": command }),
        Nudge::Http(method, url) => json!({ "http": format!("{method} {}", bare(url)) }),
        Nudge::Tmux(session, text) => json!({ "tmux": session, "text": text }),
    }
}

/// An address without what may be a secret in it.
fn bare(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (host, path) = rest[..end].split_at(rest[..end].find('/').unwrap_or(end));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!(
        "{scheme}://{host}{path}{}",
        if end < rest.len() { "?…" } else { "" }
    )
}

fn time(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("http://127.0.0.1:80/wake", "http://127.0.0.1:80/wake"),
            ("https://ann:pw@host/a?token=1#x", "https://host/a?…"),
            ("http://host?token=1", "http://host?…"),
            ("http://host", "http://host"),
        ] {
            assert_eq!(bare(url), shown);
        }
    }
}
