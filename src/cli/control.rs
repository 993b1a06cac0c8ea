//! Commands that change services: one line for each on stdout, or a sentence on stderr that
//! says why not.

use std::time::Duration;

use serde_json::{Value, json};
use supervisor_core::{Level, ServiceName};
use tokio::time::{Instant, sleep};

use super::Context;
use super::api::Service;
use super::args::{ChangeArgs, NamesArgs, PauseArgs};
use super::client::{Call, Client, ClientError};
use super::escape::escape;
use super::exit::{CliError, Exit, Tally, sentence};
use super::human::seconds;
use super::output::{complain, put, put_json};
use super::status::{all, one};

/// How long a start may take before we stop looking on.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stop may take before we stop looking on; it includes what depends on it.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The first pause between two looks; each is longer than the one before.
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// The longest pause between two looks.
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// A change that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Run it.
    Start,
    /// Stop it, whole.
    Stop,
    /// Stop it and run it.
    Restart,
}

impl Change {
    /// The API's word.
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// Whether a change is done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// It is.
    Done,
    /// Not yet.
    Going,
    /// Not before somebody starts what it needs, for this reason.
    Waiting(String),
    /// It will not be, for this reason.
    Failed(String),
}

/// Carries out `start`, `stop`, `restart`.
pub(super) async fn change(
    context: &Context,
    change: Change,
    args: &ChangeArgs,
) -> Result<Exit, CliError> {
    let names = names(&context.client, &args.names, Whose::Ours).await?;
    let mut report = Report::new(context);
    let mut waiting = Vec::new();
    // All are told before any is waited for: five stops take as long as the slowest.
    for name in names {
        match begin(&context.client, change, &name).await {
            Ok(begun) if args.no_wait => report.done(&name, &begun.service, &begun.json)?,
            Ok(begun) => waiting.push((name, begun)),
            Err(error) => report.failed(&name, &error)?,
        }
    }
    let timeout = args.timeout.unwrap_or(match change {
        Change::Start | Change::Restart => START_TIMEOUT,
        Change::Stop => STOP_TIMEOUT,
    });
    wait(context, change, waiting, timeout, &mut report).await?;
    Ok(report.tally.exit())
}

/// A change that was accepted.
#[derive(Debug)]
struct Begun {
    /// The life before it.
    generation: u64,
    /// The service as it was last seen.
    service: Service,
    /// The same as text.
    json: String,
}

async fn begin(client: &Client, change: Change, name: &ServiceName) -> Result<Begun, ClientError> {
    // Only a later life than the one before is a restart's success.
    let before = match change {
        Change::Restart => one(client, name).await?.0.generation,
        Change::Start | Change::Stop => None,
    };
    let (service, json) = post(client, name, change.verb(), None).await?;
    Ok(Begun {
        generation: before.unwrap_or_default(),
        service,
        json,
    })
}

async fn post(
    client: &Client,
    name: &ServiceName,
    verb: &str,
    body: Option<&Value>,
) -> Result<(Service, String), ClientError> {
    let path = format!("/api/services/{name}/{verb}");
    client.read(Call::post(path, body)).await
}

/// Looks on until every one is done, has failed, or the time is up.
async fn wait(
    context: &Context,
    change: Change,
    mut waiting: Vec<(ServiceName, Begun)>,
    timeout: Duration,
    report: &mut Report<'_>,
) -> Result<(), CliError> {
    let deadline = Instant::now() + timeout;
    let mut pause = FIRST_LOOK;
    let mut first = true;
    loop {
        let mut still = Vec::new();
        for (name, begun) in waiting {
            match progress(change, begun.generation, &begun.service) {
                // Seen before the others of this command were told.
                Progress::Waiting(_) if first => still.push((name, begun)),
                Progress::Waiting(why) => report.unsuccessful(&name, &why)?,
                Progress::Done => report.done(&name, &begun.service, &begun.json)?,
                Progress::Failed(why) => report.unsuccessful(&name, &why)?,
                Progress::Going => still.push((name, begun)),
            }
        }
        first = false;
        waiting = still;
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            break;
        }
        sleep(pause.min(deadline - Instant::now())).await;
        pause = (pause * 2).min(LONGEST_LOOK);
        let mut seen = Vec::new();
        for (name, begun) in waiting {
            match one(&context.client, &name).await {
                Ok((service, json)) => {
                    report.blocked(&name, &begun.service, &service);
                    let generation = begun.generation;
                    seen.push((
                        name,
                        Begun {
                            generation,
                            service,
                            json,
                        },
                    ));
                }
                Err(error) => report.failed(&name, &error)?,
            }
        }
        waiting = seen;
    }
    for (name, begun) in waiting {
        report.unsuccessful(&name, &unfinished(&begun.service, timeout))?;
    }
    Ok(())
}

/// Whether the change is done, by what the service looks like now.
fn progress(change: Change, before: u64, service: &Service) -> Progress {
    let state = service.state.as_str();
    if change == Change::Stop {
        return match state {
            // One that we do not run leaves nothing of ours.
            "stopped" | "external" => Progress::Done,
            _ => Progress::Going,
        };
    }
    let new_life = change == Change::Start || service.generation.unwrap_or_default() > before;
    match state {
        // The command that restarts what we do not run has been sent off.
        "external" => Progress::Done,
        "exited" if new_life && service.level() == Level::Critical => {
            Progress::Failed(describe(service))
        }
        "starting" if !service.waiting_for.is_empty() => Progress::Waiting(format!(
            "{}; it starts once that runs: `supervisor start {}`",
            describe(service),
            escape(&service.waiting_for.join(" "))
        )),
        // One that is left alone starts when it is resumed.
        "paused" => Progress::Done,
        "running" | "exited" if new_life => Progress::Done,
        "backoff" if new_life => Progress::Failed(describe(service)),
        "quarantined" => Progress::Failed(format!(
            "{}; `supervisor clear {}` starts it",
            describe(service),
            escape(&service.name)
        )),
        // Somebody else wants it so.
        "stopped" if new_life && change == Change::Restart => Progress::Failed(describe(service)),
        _ => Progress::Going,
    }
}

/// What is said when the time is up.
fn unfinished(service: &Service, timeout: Duration) -> String {
    format!(
        "still {} after {}; it goes on, we wait no longer",
        describe(service),
        seconds(timeout.as_secs_f64())
    )
}

/// `running (pid 4711, generation 2)`, `backoff: it exited with code 1 (next start in 2 s)`.
fn describe(service: &Service) -> String {
    let mut facts = Vec::new();
    if let Some(pid) = service.pid {
        facts.push(format!("pid {pid}"));
        if let Some(generation) = service.generation {
            facts.push(format!("generation {generation}"));
        }
    }
    if let Some(left) = service.next_start_in {
        facts.push(format!("next start in {}", seconds(left)));
    }
    if let Some(left) = service.paused_for {
        facts.push(format!("for {}", seconds(left)));
    }
    if let Some(window) = &service.maintenance {
        facts.push(format!("in maintenance window {window}"));
    }
    if let Some(by) = &service.blocked_by {
        facts.push(format!("waits for {by}"));
    }
    let reason = service.reason();
    let mut text = if reason.is_empty() || service.state == "running" {
        service.state.clone()
    } else if reason.starts_with(&service.state) {
        reason.to_owned()
    } else {
        format!("{}: {reason}", service.state)
    };
    if !facts.is_empty() {
        text = format!("{text} ({})", facts.join(", "));
    }
    escape(&text).into_owned()
}

/// Carries out `pause`.
pub(super) async fn pause(context: &Context, args: &PauseArgs) -> Result<Exit, CliError> {
    let body = args
        .period
        .map(|period| json!({ "for": humantime::format_duration(period).to_string() }));
    tell(context, "pause", body, &args.names).await
}

/// Carries out a command that is done as soon as it is accepted.
pub(super) async fn tell(
    context: &Context,
    verb: &str,
    body: Option<Value>,
    args: &NamesArgs,
) -> Result<Exit, CliError> {
    let mut report = Report::new(context);
    for name in names(&context.client, args, Whose::Anybodys).await? {
        match post(&context.client, &name, verb, body.as_ref()).await {
            Ok((service, json)) if verb == "nudge" => report.nudged(&name, &service, &json)?,
            Ok((service, json)) => report.done(&name, &service, &json)?,
            Err(error) => report.failed(&name, &error)?,
        }
    }
    Ok(report.tally.exit())
}

/// Which services `--all` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Those whose processes the supervisor runs: only they can be started and stopped.
    Ours,
    /// Those that somebody else runs, too.
    Anybodys,
}

/// The names that were typed, each once; or all but the supervisor's own actors.
async fn names(
    client: &Client,
    args: &NamesArgs,
    whose: Whose,
) -> Result<Vec<ServiceName>, ClientError> {
    if !args.all {
        let mut names: Vec<ServiceName> = Vec::new();
        for name in &args.names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        return Ok(names);
    }
    let (services, _) = all(client).await?;
    Ok(services
        .iter()
        .filter(|service| !service.is_internal())
        .filter(|service| whose == Whose::Anybodys || service.state != "external")
        .filter_map(|service| ServiceName::new(&service.name).ok())
        .collect())
}

/// What is told of each service, and what it amounts to.
struct Report<'a> {
    context: &'a Context,
    tally: Tally,
}

impl<'a> Report<'a> {
    fn new(context: &'a Context) -> Self {
        let tally = Tally::default();
        Self { context, tally }
    }

    fn done(&mut self, name: &ServiceName, service: &Service, json: &str) -> Result<(), CliError> {
        self.well(name, &describe(service), json)
    }

    /// A nudge leaves the state as it is, so it is said by itself.
    fn nudged(
        &mut self,
        name: &ServiceName,
        service: &Service,
        json: &str,
    ) -> Result<(), CliError> {
        self.well(name, &format!("nudged, {}", describe(service)), json)
    }

    fn well(&mut self, name: &ServiceName, text: &str, json: &str) -> Result<(), CliError> {
        self.tally.done();
        if self.context.look.json {
            put_json(json)?;
        } else {
            put(&format!("{name}: {text}\n"))?;
        }
        Ok(())
    }

    fn failed(&mut self, name: &ServiceName, error: &ClientError) -> Result<(), CliError> {
        let code = match error {
            ClientError::Refused(problem) => problem.code.as_deref(),
            ClientError::NotReachable { .. }
            | ClientError::Silent { .. }
            | ClientError::Garbled { .. } => None,
        };
        self.say_failed(name, &sentence(error), code, error.exit())
    }

    /// One that was accepted and did not come about.
    fn unsuccessful(&mut self, name: &ServiceName, why: &str) -> Result<(), CliError> {
        self.say_failed(name, why, None, Exit::Failure)
    }

    fn say_failed(
        &mut self,
        name: &ServiceName,
        why: &str,
        code: Option<&str>,
        exit: Exit,
    ) -> Result<(), CliError> {
        self.tally.failed(exit);
        if self.context.look.json {
            let line = json!({ "name": name.as_str(), "error": why, "code": code });
            put_json(&line.to_string())?;
        }
        complain(&format!("{name}: {}", escape(why)));
        Ok(())
    }

    /// Says what a stop waits for, when that changes.
    fn blocked(&self, name: &ServiceName, before: &Service, now: &Service) {
        if let Some(by) = &now.blocked_by
            && before.blocked_by.as_ref() != Some(by)
        {
            complain(&format!("{name}: waiting for {}", escape(by)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(state: &str, generation: u64) -> Service {
        Service {
            name: "a".to_owned(),
            status: "healthy".to_owned(),
            state: state.to_owned(),
            generation: Some(generation),
            ..Service::default()
        }
    }

    #[test]
    fn a_stop_is_done_when_nothing_is_left() {
        for (state, expected) in [
            ("running", Progress::Going),
            ("stopping", Progress::Going),
            ("starting", Progress::Going),
            ("backoff", Progress::Going),
            ("stopped", Progress::Done),
            ("external", Progress::Done),
        ] {
            assert_eq!(
                progress(Change::Stop, 0, &of(state, 1)),
                expected,
                "{state}"
            );
        }
    }

    #[test]
    fn a_start_is_done_when_it_is_ready_and_fails_when_it_waits_for_another_try() {
        for (state, done) in [
            ("starting", None),
            ("stopping", None),
            ("stopped", None),
            ("running", Some(true)),
            ("paused", Some(true)),
            ("exited", Some(true)),
            ("external", Some(true)),
            ("backoff", Some(false)),
            ("quarantined", Some(false)),
        ] {
            // Even a restart does not lift a quarantine.
            if matches!(state, "paused" | "quarantined") {
                let restart = progress(Change::Restart, 1, &of(state, 1));
                assert_ne!(restart, Progress::Going, "{state}");
            }
            let seen = match progress(Change::Start, 0, &of(state, 1)) {
                Progress::Going => None,
                Progress::Done => Some(true),
                Progress::Failed(_) | Progress::Waiting(_) => Some(false),
            };
            assert_eq!(seen, done, "{state}");
        }
        let mut failed = of("exited", 1);
        failed.status = "critical".to_owned();
        failed.reason = Some("there is no program x".to_owned());
        assert_eq!(
            progress(Change::Start, 0, &failed),
            Progress::Failed("exited: there is no program x".to_owned())
        );
    }

    #[test]
    fn a_start_does_not_wait_for_what_somebody_has_stopped() {
        let mut service = of("starting", 1);
        service.reason = Some("waiting for db, which is stopped".to_owned());
        assert_eq!(progress(Change::Start, 0, &service), Progress::Going);
        service.waiting_for = vec!["db".to_owned()];
        assert_eq!(
            progress(Change::Start, 0, &service),
            Progress::Waiting(
                "starting: waiting for db, which is stopped; it starts once that runs: \
                 `supervisor start db`"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_restart_is_done_with_a_later_life_only() {
        assert_eq!(
            progress(Change::Restart, 3, &of("running", 3)),
            Progress::Going
        );
        assert_eq!(
            progress(Change::Restart, 3, &of("backoff", 3)),
            Progress::Going
        );
        assert_eq!(
            progress(Change::Restart, 3, &of("starting", 4)),
            Progress::Going
        );
        assert_eq!(
            progress(Change::Restart, 3, &of("running", 4)),
            Progress::Done
        );
        assert!(matches!(
            progress(Change::Restart, 3, &of("stopped", 4)),
            Progress::Failed(_)
        ));
    }

    #[test]
    fn a_service_is_described_in_a_line() {
        let mut service = of("running", 2);
        service.pid = Some(4711);
        service.reason = Some("1 interval missed".to_owned());
        assert_eq!(describe(&service), "running (pid 4711, generation 2)");
        let mut service = of("backoff", 2);
        service.reason = Some("it exited with\x1b code 1".to_owned());
        service.next_start_in = Some(2.0);
        assert_eq!(
            describe(&service),
            "backoff: it exited with\\x1b code 1 (next start in 2 s)"
        );
        let mut service = of("stopped", 2);
        service.reason = Some("stopped (operator)".to_owned());
        assert_eq!(describe(&service), "stopped (operator)");
        let mut service = of("stopping", 2);
        service.blocked_by = Some("4711 (dd)".to_owned());
        assert_eq!(
            unfinished(&service, Duration::from_secs(60)),
            "still stopping (waits for 4711 (dd)) after 1m; it goes on, we wait no longer"
        );
    }
}
