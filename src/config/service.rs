//! `[services.NAME]` and the short form in `[heartbeat.services]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use supervisor_actors::registration::Registration;
use supervisor_actors::source::Source;
use supervisor_actors::spec::ServiceSpec;
use supervisor_core::ServiceName;
use supervisor_core::level::{Profile, Thresholds};
use supervisor_core::name::InvalidName;
use supervisor_core::policy::{IntervalSource, Policy, Ready, Watch};

use super::alerts;
use super::duration;
use super::errors::{Mistake, Span};
use super::heartbeat::{self, Defaults, Interval};
use super::ladder;
use super::pings;
use super::process;
use super::reader::{Entry, Given, Sink, Table, Taken};
use super::value::Value;
use crate::sources::{self, About};

/// A service, and where its parts stand in the file.
pub(super) struct Placed {
    /// Its name.
    pub(super) name: ServiceName,
    /// Where that stands.
    pub(super) span: Span,
    /// What it depends on, and where that stands.
    pub(super) depends_on: Vec<(ServiceName, Span)>,
    /// The service; none where something is wrong with it, which is said.
    pub(super) spec: Option<ServiceSpec>,
    /// The file that pauses it.
    pub(super) pause_file: Option<PathBuf>,
    /// Its own uuid in ping URLs.
    pub(super) ping_uuid: Option<pings::Own>,
    /// What it wants otherwise of alerts.
    pub(super) alerts: Option<alerts::Own>,
}

/// Shares equal policies: a thousand services of a kind cost one.
#[derive(Default)]
pub(super) struct Policies {
    // A policy holds numbers that cannot be hashed, so only a part of it is the key.
    known: std::collections::HashMap<(Duration, Thresholds), Vec<Arc<Policy>>>,
}

impl Policies {
    fn share(&mut self, policy: Policy) -> Arc<Policy> {
        let key = (policy.interval, policy.thresholds.clone());
        let alike = self.known.entry(key).or_default();
        if let Some(same) = alike.iter().find(|known| ***known == policy) {
            return Arc::clone(same);
        }
        let policy = Arc::new(policy);
        alike.push(Arc::clone(&policy));
        policy
    }
}

/// A service's name, or said.
pub(super) fn name(entry: &Entry<'_>, sink: &Sink) -> Option<ServiceName> {
    let wrong = |label: &str, help: String| {
        let message = format!("{:?} is no service name", entry.key);
        sink.say(sink.at(entry.key_span.clone(), label, message).help(help));
    };
    match ServiceName::new(entry.key) {
        Ok(name) if name.is_internal() => {
            wrong(
                "reserved",
                "names that begin with `internal.` are our own parts".to_owned(),
            );
            None
        }
        Ok(name) => Some(name),
        Err(error) => {
            let lower = entry.key.to_lowercase().replace([' ', '/', ':'], "-");
            let help = match ServiceName::new(&lower) {
                Ok(better) => format!("for example: {better}"),
                Err(_) => "up to 64 of a-z, 0-9, and after the first also _ . @ -".to_owned(),
            };
            let label = match error {
                InvalidName::Empty => "empty".to_owned(),
                InvalidName::TooLong(bytes) => format!("{bytes} bytes, at most 64 are allowed"),
                InvalidName::BadCharacter(bad) => format!("{bad:?} is not allowed here"),
            };
            wrong(&label, help);
            None
        }
    }
}

/// Reads one `[services.NAME]`; of `about` what is the same for all services.
pub(super) fn read(
    entry: &Entry<'_>,
    name: ServiceName,
    defaults: &Defaults,
    about: About<'_>,
    policies: &mut Policies,
) -> Placed {
    let mut placed = Placed {
        name: name.clone(),
        span: entry.key_span.clone(),
        depends_on: Vec::new(),
        spec: None,
        pause_file: None,
        ping_uuid: None,
        alerts: None,
    };
    if let Some(mut table) = entry.value.named_table("services") {
        let mut keys = Keys::read(&mut table);
        let about = About {
            ours: keys.process.is_ours(),
            interval: match keys.interval.as_given().map(|given| given.value) {
                Some(Interval::Every(interval)) => interval,
                Some(Interval::Auto) | None => defaults.interval,
            },
            ..about
        };
        keys.sources = sources::read(&mut table, &about);
        placed.pause_file = table
            .take("pause_file", |value| {
                let text = value.need_some_text("\"paused.json\"")?;
                Some(value.sink.path(text))
            })
            .value();
        placed.ping_uuid = pings::read_own(&mut table);
        placed.alerts = alerts::read_own(&mut table);
        placed.depends_on = keys.depends_on.clone();
        placed.spec = keys.build(name, table.shown(), defaults, policies, table.sink());
    }
    placed
}

/// Reads one line of the short form: an external service, its interval, its importance.
pub(super) fn read_short(
    entry: &Entry<'_>,
    name: ServiceName,
    defaults: &Defaults,
    policies: &mut Policies,
) -> Placed {
    let mut placed = Placed {
        name: name.clone(),
        span: entry.key_span.clone(),
        depends_on: Vec::new(),
        spec: None,
        pause_file: None,
        ping_uuid: None,
        alerts: None,
    };
    if let Some(mut table) = entry.value.named_table("heartbeat.services") {
        let interval = table.take("interval", heartbeat::interval);
        let critical = table.take("critical", Value::flag);
        let shown = table.shown().to_owned();
        // Every other key has its default: read from a table that has none.
        let mut keys = Keys::read(&mut table.empty());
        keys.interval = interval;
        keys.critical = critical;
        placed.spec = keys.build(name, &shown, defaults, policies, table.sink());
    }
    placed
}

/// Reads what a service says of itself at run time: it is judged as `[heartbeat]` says.
///
/// # Errors
/// Everything that is wrong with it, in a sentence.
pub(super) fn read_registration(
    registration: &Registration,
    defaults: &Defaults,
) -> Result<ServiceSpec, String> {
    let given = |value| {
        Taken::Given(Given {
            value,
            key: 0..0,
            span: 0..0,
        })
    };
    let shown = format!("registration of {}", registration.name);
    let sink = Sink::new(&shown, "", Path::new("/"));
    let mut keys = Keys::read(&mut Table::nowhere(&sink, shown.clone()));
    keys.interval = Taken::Given(Given {
        value: match registration.auto {
            true => Interval::Auto,
            false => Interval::Every(registration.interval),
        },
        key: 0..0,
        span: 0..0,
    });
    keys.critical = given(registration.critical);
    keys.on_demand = given(registration.on_demand);
    let mut policies = Policies::default();
    let name = registration.name.clone();
    let spec = keys.build(name, &shown, defaults, &mut policies, &sink);
    defaults.say_again();
    let mistakes: Vec<String> = sink.mistakes().iter().map(Mistake::sentence).collect();
    match spec {
        Some(spec) if mistakes.is_empty() => Ok(ServiceSpec {
            tags: registration.tags.clone(),
            ..spec
        }),
        _ => Err(mistakes.join("; ")),
    }
}

/// What the file says of a service.
struct Keys {
    enabled: Taken<bool>,
    interval: Taken<Interval>,
    critical: Taken<bool>,
    on_demand: Taken<bool>,
    progress_timeout: Taken<Duration>,
    profile: Taken<Profile>,
    tags: Taken<Vec<String>>,
    depends_on: Vec<(ServiceName, Span)>,
    judging: heartbeat::Judging,
    process: process::ProcessKeys,
    ladder: ladder::LadderKeys,
    /// What its sources made of their keys.
    sources: Vec<Arc<dyn Source>>,
}

impl Keys {
    fn read(table: &mut Table<'_>) -> Self {
        Self {
            process: process::read(table),
            enabled: table.take("enabled", Value::flag),
            interval: table.take("interval", heartbeat::interval),
            critical: table.take("critical", Value::flag),
            on_demand: table.take("on_demand", Value::flag),
            progress_timeout: table.take("progress_timeout", duration::positive),
            profile: table.take("profile", |v| v.one_of(&[("deacon", Profile::Deacon)])),
            tags: table.take("tags", |v| {
                v.list("[\"core\"]", |tag| {
                    tag.need_some_text("\"core\"").map(str::to_owned)
                })
            }),
            depends_on: table
                .take("depends_on", |v| v.list("[\"db\"]", dependency))
                .or(Vec::new()),
            judging: heartbeat::read_judging(table),
            ladder: ladder::read(table),
            sources: Vec::new(),
        }
    }

    fn build(
        self,
        name: ServiceName,
        shown: &str,
        defaults: &Defaults,
        policies: &mut Policies,
        sink: &Sink,
    ) -> Option<ServiceSpec> {
        let ours = self.process.is_ours();
        let promises =
            self.interval.is_present() || self.sources.iter().any(|source| source.promises());
        if let Some(ready) = self.process.ready.as_given()
            && (ours && !promises && ready.value == Ready::Pulse)
        {
            sink.say(
                sink.at(
                    ready.span.clone(),
                    "nobody promises a pulse",
                    format!("`ready` in [{shown}] waits for a pulse, but nothing promises one"),
                )
                .help("give it an `interval`, or leave `ready` out: then it is \"running\""),
            );
        }
        self.check_auto(shown, sink);
        let rhythms = self.sources.iter().filter_map(|source| source.rhythm());
        let slowest = rhythms.max().unwrap_or_default();
        let (interval, interval_source) = match self.interval.as_given().map(|given| given.value) {
            Some(Interval::Every(interval)) => (interval, IntervalSource::Configured),
            Some(Interval::Auto) => (defaults.interval, IntervalSource::Learning),
            None => (defaults.interval.max(slowest), IntervalSource::Configured),
        };
        let learns = interval_source == IntervalSource::Learning;
        // Where silence is not judged at all, a process pulses by living.
        let watch = match (ours, promises && defaults.enabled) {
            (false, _) => Watch::External,
            (true, true) => Watch::Pulsing,
            (true, false) => Watch::Alive,
        };
        let usual = match watch {
            Watch::Alive => Ready::Running,
            Watch::Pulsing | Watch::External => Ready::Pulse,
        };
        let ready = match self.process.ready.as_given().map(|given| given.value) {
            // What pulses by living has no first pulse.
            Some(Ready::Pulse) | None => usual,
            Some(ready @ (Ready::Notify | Ready::Probe | Ready::Running)) => ready,
        };
        if let Some(given) = self.process.ready.as_given()
            && ours
            && let Some(kind) = needed(given.value)
            && !self.sources.iter().any(|source| source.kind() == kind)
        {
            sink.say(
                sink.at(
                    given.span.clone(),
                    "nothing says so",
                    format!("`ready` in [{shown}] waits for its {kind}, but it has none"),
                )
                .help(format!("configure its `{kind}`, or leave `ready` out")),
            );
        }
        let restart = self
            .process
            .restart
            .as_given()
            .map(|given| given.value)
            .unwrap_or_default();
        let stop_timeout = self.process.stop_timeout();
        // What is learnt of a service is not told to it: it would pulse twice as often, from
        // which half of that would be learnt, and so on.
        let watchdog = (watch == Watch::Pulsing && !learns).then_some(interval);
        let process = self.process.build(shown, watchdog, sink);
        let profile = self.profile.or(Profile::Usual);
        let judged = defaults.judge(&self.judging, interval, profile, shown, sink);
        let next_pulse = match watch {
            // Nobody knows when a pulse is due: its number has as long as that, if that is longer.
            Watch::Pulsing | Watch::External if learns => Duration::ZERO,
            Watch::Pulsing | Watch::External => interval.saturating_add(judged.grace),
            Watch::Alive => Duration::ZERO,
        };
        check_progress(
            &self.progress_timeout,
            &self.on_demand,
            next_pulse,
            shown,
            sink,
        );
        let ladder = self.ladder.build(shown, ours, interval, sink)?;
        let policy = Policy {
            watch,
            interval,
            interval_source,
            grace: judged.grace,
            grace_share: judged.grace_share,
            thresholds: judged.thresholds?,
            start_grace: judged.start_grace,
            recover_after: judged.recover_after,
            alert_on_miss: judged.alert_on_miss,
            critical: self.critical.or(true),
            on_demand: self.on_demand.or(false) || !defaults.enabled,
            max_busy: judged.max_busy,
            progress_timeout: self.progress_timeout.value(),
            probed: self.sources.iter().any(|source| source.kind() == "probe"),
            restart,
            backoff: ladder.backoff,
            intensity: ladder.intensity,
            quarantine_for: ladder.quarantine_for,
            poke_on: ladder.poke_on,
            nudge: ladder.nudges,
            poke_restarts: ladder.restarts,
            nudge_wait: ladder.nudge_wait,
            ready,
            stop_timeout,
        };
        Some(ServiceSpec {
            name,
            enabled: self.enabled.or(true),
            policy: policies.share(policy),
            process: process.map(Arc::new),
            nudge: ladder.nudge,
            restart_command: ladder.restart_command,
            depends_on: self.depends_on.into_iter().map(|(name, _)| name).collect(),
            tags: self.tags.or(Vec::new()),
            sources: self.sources,
        })
    }
}

impl Keys {
    /// Says what cannot be together with an interval that is learnt.
    fn check_auto(&self, shown: &str, sink: &Sink) {
        let Some(auto) = self.interval.as_given() else {
            return;
        };
        if auto.value != Interval::Auto {
            return;
        }
        if let Some(profile) = self.profile.as_given() {
            let message = format!("`interval = \"auto\"` with `profile = \"deacon\"` in [{shown}]");
            let label = "nobody would be judged by it";
            sink.say(
                sink.at(auto.span.clone(), label, message)
                    .also(
                        profile.key.clone(),
                        "stale after 2 minutes, very stale after 5",
                    )
                    .help("leave one of them out"),
            );
        }
        if let Some(on_demand) = self.on_demand.as_given()
            && on_demand.value
        {
            let message = format!("`interval = \"auto\"` with `on_demand` in [{shown}]");
            let label = "there is none to be learnt";
            sink.say(
                sink.at(auto.span.clone(), label, message)
                    .also(on_demand.key.clone(), "it pulses per request")
                    .help("leave one of them out"),
            );
        }
        if self.sources.iter().any(|source| source.kind() == "probe") {
            let message = format!("`interval = \"auto\"` with a `probe` in [{shown}]");
            let label = "how often we look would be learnt";
            sink.say(
                sink.at(auto.span.clone(), label, message)
                    .help("leave `interval` out: then it is as long as its probes take"),
            );
        }
    }
}

/// Says where the number of a service could not move in time, however well it is.
fn check_progress(
    timeout: &Taken<Duration>,
    on_demand: &Taken<bool>,
    next_pulse: Duration,
    shown: &str,
    sink: &Sink,
) {
    let Some(given) = timeout.as_given() else {
        return;
    };
    if let Some(on_demand) = on_demand.as_given()
        && on_demand.value
    {
        let message = format!("`progress_timeout` with `on_demand` in [{shown}]");
        let label = "nothing moves while nobody asks";
        sink.say(
            sink.at(given.key.clone(), label, message)
                .also(on_demand.key.clone(), "it pulses per request")
                .help("leave one of them out"),
        );
    } else if given.value <= next_pulse {
        let message = format!("`progress_timeout` in [{shown}] is over before a pulse is due");
        let least = duration::show(next_pulse);
        sink.say(
            sink.at(given.span.clone(), "too short", message)
                .help(format!(
                    "its interval and grace come to {least}: make it longer"
                )),
        );
    }
}

/// Which kind of source says that a start is ready in that way.
fn needed(ready: Ready) -> Option<&'static str> {
    match ready {
        Ready::Notify => Some("notify"),
        Ready::Probe => Some("probe"),
        Ready::Pulse | Ready::Running => None,
    }
}

/// The name of another service; whether there is one is known later.
fn dependency(value: &Value<'_>) -> Option<(ServiceName, Span)> {
    let text = value.need_text("\"db\"")?;
    match ServiceName::new(text) {
        Ok(name) => Some((name, value.span.clone())),
        Err(error) => value.wrong(
            format!("holds {text:?}, which is no service name"),
            error.to_string(),
        ),
    }
}
