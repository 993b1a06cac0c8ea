//! Reads `supervisor.toml`.
//!
//! ```text
//!   text ──toml──▶ spanned tables ──reader──▶ keys ──build──▶ Settings
//!                                     └────────┴──── mistakes, all at once
//! ```
//!
//! serde stops at the first mistake; people want all of them. So each file here takes its
//! keys from a [`reader::Table`], which knows where each stands, and says what is wrong
//! without stopping. A new key is one `take` in its file and one line in
//! `docs/reference.toml` (a test compares the two). The keys of a source of pulses are taken
//! by the source: see [`crate::sources`].

pub(crate) mod address;
mod alerts;
mod check;
pub(crate) mod duration;
mod env_file;
pub(crate) mod errors;
mod graph;
mod heartbeat;
mod history;
mod ladder;
mod log;
mod maintenance;
mod pings;
mod process;
pub(crate) mod reader;
mod secret;
mod service;
mod signals;
mod supervisor;
mod sync;
pub(crate) mod value;
pub(crate) mod words;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use supervisor_actors::registration::Registration;
use supervisor_actors::spec::ServiceSpec;
use supervisor_core::ServiceName;
use toml::de::DeTable;

pub(crate) use self::alerts::AlertSettings;
pub(crate) use self::check::check_report;
pub(crate) use self::errors::{ConfigErrors, Mistake};
pub(crate) use self::history::HistorySettings;
pub(crate) use self::log::{LogFilter, LogFormat, LogSettings};
pub(crate) use self::supervisor::{OnExit, SupervisorSettings};
pub(crate) use self::sync::{SyncSettings, Target};

use crate::adapters::file_watch::FileWatch;
use crate::ping_keys::PingKeys;
use crate::sources::{About, Means};

use self::errors::SHOWN_AT_MOST;
use self::reader::{Sink, Table};
use self::service::{Placed, Policies};

/// Nobody writes so long a configuration; a device that never ends is.
const MOST_BYTES: u64 = 64 << 20;

/// Everything that the configuration says, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The file that says it, as it was named.
    pub(crate) file: PathBuf,
    /// The program itself.
    pub(crate) supervisor: SupervisorSettings,
    /// What is logged, how and where.
    pub(crate) log: LogSettings,
    /// The promise of services that name no interval.
    pub(crate) default_interval: Duration,
    /// The watched services, in the order of the file.
    pub(crate) services: Vec<ServiceSpec>,
    /// The services with a file that pauses them.
    pub(crate) pause_files: Vec<(ServiceName, PathBuf)>,
    /// What is mirrored into tables, if anything is.
    pub(crate) sync: Option<SyncSettings>,
    /// For how long what happened is kept.
    pub(crate) history: HistorySettings,
    /// Who is told of what, and how.
    pub(crate) alerts: AlertSettings,
    /// Who may ping.
    pub(crate) ping_keys: PingKeys,
    /// Who watches files, one for all.
    pub(crate) files: FileWatch,
    /// What all probes share.
    pub(crate) probes: Means,
    /// How services are judged that register themselves.
    pub(crate) registrants: Registrants,
}

/// Makes services of what registers itself at run time, by what `[heartbeat]` says for all.
#[derive(Clone)]
pub(crate) struct Registrants(Rc<heartbeat::Defaults>);

impl Registrants {
    /// The service that it is to be.
    ///
    /// # Errors
    /// Why it cannot be judged like that, in a sentence.
    pub(crate) fn admit(&self, registration: &Registration) -> Result<ServiceSpec, String> {
        service::read_registration(registration, &self.0)
    }
}

impl std::fmt::Debug for Registrants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registrants(…)")
    }
}

/// Reads a configuration; `env` is the environment, where secrets may come from.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn load(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, ConfigErrors> {
    let text = read_text(path)?;
    parse(path, &text, env)
}

/// Where a configuration's data lives. For clients of a running supervisor: it asks for no
/// secrets, and other mistakes in the file are none of their business.
///
/// # Errors
/// Where the file cannot be read or is no TOML, or `data_dir` itself is wrong.
pub(crate) fn data_dir(path: &Path) -> Result<PathBuf, ConfigErrors> {
    let text = read_text(path)?;
    let name = path.display().to_string();
    let (root, syntax) = DeTable::parse_recoverable(&text);
    let sink = Sink::new(&name, &text, &directory(path)?);
    if !contained(&syntax) {
        return Err(ConfigErrors::new(name, say_syntax(&sink, &text, &syntax)));
    }
    let mut root = Table::root(&sink, root.get_ref());
    let data_dir = supervisor::given_data_dir(&mut root.table("supervisor"));
    let mistakes = sink.mistakes();
    if mistakes.is_empty() {
        Ok(data_dir)
    } else {
        Err(ConfigErrors::new(name, mistakes))
    }
}

/// Reads the text of a configuration that stands in the file `path`.
fn parse(
    path: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, ConfigErrors> {
    let name = path.display().to_string();
    let sink = Sink::new(&name, text, &directory(path)?);
    let (root, syntax) = DeTable::parse_recoverable(text);
    let mut mistakes = say_syntax(&sink, text, &syntax);
    let settings = contained(&syntax).then(|| {
        let mut table = Table::root(&sink, root.get_ref());
        settings(path, &mut table, env)
    });
    let lines: HashSet<_> = mistakes.iter().map(Mistake::line).collect();
    let more = sink.finish().into_iter();
    mistakes.extend(more.filter(|mistake| !lines.contains(&mistake.line())));
    match settings {
        Some(settings) if mistakes.is_empty() => Ok(settings),
        _ => Err(ConfigErrors::new(name, mistakes)),
    }
}

/// Reads all tables.
fn settings(path: &Path, root: &mut Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> Settings {
    let sink = root.sink();
    let supervisor = supervisor::read(&mut root.table("supervisor"), env);
    let mut heartbeat = root.table("heartbeat");
    let defaults = heartbeat::read(&mut heartbeat);
    let other_level = defaults.log_level.clone();
    let log = log::read(&mut root.table("log"), other_level, &supervisor.data_dir);
    let sync = sync::read(&mut root.table("sync"), env);
    let history = history::read(&mut root.table("history"));
    let mut alerts = alerts::read(&mut root.table("alerts"), env);

    let pings = pings::read(&mut root.table("pings"), env);

    let files = FileWatch::default();
    let probes = Means::new(&supervisor.data_dir, supervisor.url());
    let about = About {
        ours: false,
        interval: defaults.interval,
        data_dir: &supervisor.data_dir,
        files: &files,
        probes: &probes,
    };
    let mut policies = Policies::default();
    let mut services: Vec<Placed> = Vec::new();
    for entry in root.table("services").entries() {
        if let Some(name) = service::name(&entry, sink) {
            let service = service::read(&entry, name, &defaults, about, &mut policies);
            services.push(service);
        }
    }
    for entry in heartbeat.table("services").entries() {
        let Some(name) = service::name(&entry, sink) else {
            continue;
        };
        let placed = service::read_short(&entry, name, &defaults, &mut policies);
        match services.iter().find(|known| known.name == placed.name) {
            Some(known) => sink.say(
                sink.at(
                    placed.span,
                    "the short form",
                    format!("{} is defined twice", placed.name),
                )
                .also(known.span.clone(), "and here")
                .help("keep [services.NAME]: it takes every key of the short form"),
            ),
            None => services.push(placed),
        }
    }
    for placed in &mut services {
        alerts.own(placed.name.clone(), placed.alerts.take(), sink);
    }
    if let Some(token_env) = &supervisor.token_env {
        keep_token(&services, token_env, sink);
    }
    if let Some(key_env) = &pings.key_env {
        keep_key(&services, key_env, sink);
    }
    graph::check(&services, sink);
    services.sort_by_key(|placed| placed.span.start);
    let pause_files = services
        .iter_mut()
        .filter_map(|placed| Some((placed.name.clone(), placed.pause_file.take()?)))
        .collect();
    let own = services
        .iter_mut()
        .filter_map(|placed| Some((placed.name.clone(), placed.ping_uuid.take()?)))
        .collect();
    let ping_keys = pings.keys(own, sink);
    Settings {
        file: path.to_owned(),
        supervisor,
        log,
        default_interval: defaults.interval,
        services: services
            .into_iter()
            .filter_map(|placed| placed.spec)
            .collect(),
        pause_files,
        sync,
        history,
        alerts,
        ping_keys,
        files,
        probes,
        registrants: Registrants(Rc::new(defaults)),
    }
}

/// Refuses to hand the owner's token to a service: it has one of its own, good only for itself.
fn keep_token(services: &[Placed], token_env: &str, sink: &Sink) {
    let help = "every service gets a token of its own as SUPERVISOR_TOKEN: take it out";
    keep(services, (token_env, "the API's token"), help, sink);
}

/// Refuses to hand the key of all pings to a service, for the same reason.
fn keep_key(services: &[Placed], key_env: &str, sink: &Sink) {
    let help = "give it a `ping_uuid` of its own, or let it use SUPERVISOR_TOKEN";
    keep(services, (key_env, "the key of all pings"), help, sink);
}

fn keep(services: &[Placed], (variable, what): (&str, &str), help: &str, sink: &Sink) {
    for placed in services {
        let process = placed.spec.as_ref().and_then(|spec| spec.process.as_ref());
        if process.is_some_and(|process| process.pass_env.iter().any(|name| name == variable)) {
            let message = format!("{} is given {variable}, {what}", placed.name);
            let mistake = sink.at(placed.span.clone(), "by its `pass_env`", message);
            sink.say(mistake.help(help));
        }
    }
}

/// The directory that relative paths start from: the file's.
fn directory(path: &Path) -> Result<PathBuf, ConfigErrors> {
    match std::path::absolute(path) {
        Ok(absolute) => Ok(absolute.parent().unwrap_or(&absolute).to_owned()),
        Err(error) => Err(unreadable(
            path,
            &error.to_string(),
            "name the configuration file",
        )),
    }
}

fn read_text(path: &Path) -> Result<String, ConfigErrors> {
    const NAME_IT: &str = "name the configuration file with --config";
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = std::fs::File::open(path)?.take(MOST_BYTES + 1);
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| unreadable(path, &error.to_string(), NAME_IT))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
        return Err(unreadable(path, "longer than 64 MiB", NAME_IT));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(
            path,
            &format!("line {line} is not UTF-8"),
            "TOML is UTF-8 text: save the file in that encoding",
        )
    })
}

fn unreadable(path: &Path, why: &str, help: &str) -> ConfigErrors {
    let message = format!("cannot read {}: {why}", path.display());
    let mistake = Mistake::nowhere(message, Some(help.to_owned()));
    ConfigErrors::new(path.display().to_string(), vec![mistake])
}

/// What the TOML parser calls a key or table that is there already.
const DUPLICATE: &str = "duplicate key";

/// What it says of text without quotes: `interval = 30s`.
const UNQUOTED: &str = "string values must be quoted";

/// Whether the mistakes of the syntax are such that the rest of the file stands where it
/// belongs. After others, like an open bracket, keys may stand in the wrong table, and what
/// is said about them would mislead.
fn contained(errors: &[toml::de::Error]) -> bool {
    errors
        .iter()
        .all(|error| error.message() == DUPLICATE || error.message().starts_with(UNQUOTED))
}

/// The mistakes of the syntax, one a line: what follows on the same line is mostly an echo.
fn say_syntax(sink: &Sink, text: &str, errors: &[toml::de::Error]) -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> = Vec::new();
    for error in errors {
        let message = error.message();
        let span = error.span().unwrap_or(text.len()..text.len());
        let mistake = if message == DUPLICATE {
            let said = sink.at(span.clone(), "given before", "the same key twice");
            let said = said.help("keep one of them");
            // The search costs a look at all lines before: only for what is shown.
            let shown = mistakes.len() < SHOWN_AT_MOST;
            match shown.then(|| earlier(text, &span)).flatten() {
                Some(first) => said.also(first, "here"),
                None => said,
            }
        } else if message.starts_with(UNQUOTED) {
            sink.at(span, "text without quotes", format!("not TOML: {message}"))
                .help("text and durations stand in quotes: interval = \"30s\"")
        } else {
            sink.at(span, "here", format!("not TOML: {message}"))
        };
        // They come in the order of the file.
        if mistakes
            .last()
            .is_none_or(|last| last.line() != mistake.line())
        {
            mistakes.push(mistake);
        }
    }
    mistakes
}

/// Where a key that is given twice, or the header of a table, stands for the first time: the
/// parser does not say. A guess by lines that finds the plain cases and is silent in others.
fn earlier(text: &str, second: &Range<usize>) -> Option<Range<usize>> {
    /// What a line gives: its header, or its key.
    fn given(line: &str) -> &str {
        let line = line.trim();
        match (line.starts_with('['), line.split_once('=')) {
            (false, Some((key, _))) => key.trim_end(),
            (true, _) | (false, None) => line,
        }
    }
    let start = text.get(..second.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(start..)?.lines().next()?;
    let twice = given(line);
    let header = twice.starts_with('[');
    let key_at = start + (line.len() - line.trim_start().len());
    if second.start < key_at || second.end > key_at + twice.len() {
        return None;
    }
    let mut end = start;
    for earlier in text.get(..start)?.split_inclusive('\n').rev() {
        end -= earlier.len();
        if given(earlier) == twice {
            let at = end + (earlier.len() - earlier.trim_start().len());
            return Some(at..at + twice.len());
        }
        if !header && earlier.trim_start().starts_with('[') {
            return None;
        }
    }
    None
}
