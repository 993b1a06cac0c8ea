//! The keys of a service that we run: its command and what surrounds it.

use std::path::PathBuf;
use std::time::Duration;

use supervisor_actors::spec::ProcessSpec;
use supervisor_core::policy::{Ready, Restart};

use super::duration;
use super::env_file;
use super::errors::Span;
use super::log::{LEAST_LOG_SIZE, LOG_KEEP, LOG_SIZE};
use super::reader::{Sink, Table, Taken};
use super::signals;
use super::value::{Value, suggest};
use super::words;

/// Larger files are no list of variables.
const ENV_FILE_MOST_BYTES: u64 = 1 << 20;

/// The resources that can be limited, as `ulimit` and systemd call them.
pub(super) const LIMITS: [&str; 15] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "sigpending",
    "stack",
];

/// What the file says of a process.
pub(super) struct ProcessKeys {
    command: Taken<Vec<String>>,
    cwd: Taken<PathBuf>,
    env: Taken<Vec<(String, String)>>,
    env_file: Taken<Vec<(String, String)>>,
    pass_env: Taken<Vec<String>>,
    user: Taken<String>,
    group: Taken<String>,
    umask: Taken<u32>,
    nice: Taken<i32>,
    limits: Taken<Vec<(String, u64)>>,
    stop_signal: Taken<i32>,
    stop_timeout: Taken<Duration>,
    log_max_size: Taken<u64>,
    log_keep: Taken<u32>,
    /// Which exits are restarted.
    pub(super) restart: Taken<Restart>,
    /// What makes a start ready.
    pub(super) ready: Taken<Ready>,
    /// Those of the above, but `command`, that are there.
    given: Vec<(&'static str, Span)>,
}

/// How long a stop may take unless the file says otherwise.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes the keys.
pub(super) fn read(table: &mut Table<'_>) -> ProcessKeys {
    let command = table.take("command", words::command);
    let before = table.taken();
    let mut keys = ProcessKeys {
        command,
        cwd: table.take("cwd", |v| {
            v.need_some_text("\".\"").map(|text| v.sink.path(text))
        }),
        env: table.take("env", env),
        env_file: table.take("env_file", read_env_file),
        pass_env: table.take("pass_env", |v| v.list("[\"LC_ALL\"]", variable)),
        user: table.take("user", |v| account(v, "\"nobody\"")),
        group: table.take("group", |v| account(v, "\"nogroup\"")),
        umask: table.take("umask", umask),
        nice: table.take("nice", |v| v.whole(-20..=19)),
        limits: table.take("limits", limits),
        stop_signal: table.take("stop_signal", signals::stop_signal),
        stop_timeout: table.take("stop_timeout", duration::duration),
        log_max_size: table.take("log_max_size", |v| duration::size(v, LEAST_LOG_SIZE)),
        log_keep: table.take("log_keep", |v| v.whole(0..=1_000)),
        restart: table.take("restart", |v| {
            v.one_of(&[
                ("always", Restart::Always),
                ("on-failure", Restart::OnFailure),
                ("never", Restart::Never),
            ])
        }),
        ready: table.take("ready", ready),
        given: Vec::new(),
    };
    keys.given = table.given_since(before).to_vec();
    keys
}

impl ProcessKeys {
    /// Whether it is a service that we run.
    pub(super) fn is_ours(&self) -> bool {
        self.command.is_present()
    }

    /// How long a stop may take.
    pub(super) fn stop_timeout(&self) -> Duration {
        self.stop_timeout
            .as_given()
            .map_or(STOP_TIMEOUT, |given| given.value)
    }

    /// The process; none for a service that others run, and says which keys are in vain then.
    pub(super) fn build(
        self,
        service: &str,
        watchdog: Option<Duration>,
        sink: &Sink,
    ) -> Option<ProcessSpec> {
        if !self.is_ours() {
            for (key, span) in self.given {
                sink.say(
                    sink.at(
                        span,
                        "only for a service that we run",
                        format!("`{key}` without `command` in [{service}]"),
                    )
                    .help("add `command`; without it the service is external, only watched"),
                );
            }
            return None;
        }
        let mut env = self.env_file.or(Vec::new());
        for (name, value) in self.env.or(Vec::new()) {
            env.retain(|(earlier, _)| *earlier != name);
            env.push((name, value));
        }
        Some(ProcessSpec {
            command: self.command.value()?,
            cwd: self.cwd.value().unwrap_or_else(|| sink.path(".")),
            env,
            pass_env: self.pass_env.or(Vec::new()),
            user: self.user.value(),
            group: self.group.value(),
            umask: self.umask.value(),
            nice: self.nice.value(),
            limits: self.limits.or(Vec::new()),
            stop_signal: self.stop_signal.or(libc::SIGTERM),
            stop_timeout: self.stop_timeout.or(STOP_TIMEOUT),
            watchdog,
            log_max_size: self.log_max_size.or(LOG_SIZE),
            log_keep: self.log_keep.or(LOG_KEEP),
        })
    }
}

/// What a start waits for.
fn ready(value: &Value<'_>) -> Option<Ready> {
    value.one_of(&[
        ("pulse", Ready::Pulse),
        ("notify", Ready::Notify),
        ("probe", Ready::Probe),
        ("running", Ready::Running),
    ])
}

/// Variables that the owner sets.
fn env(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    let Some(mut table) = value.is_table().then(|| value.table()).flatten() else {
        return value.expected("a table", "{ KEY = \"value\" }");
    };
    let variables: Vec<_> = table
        .entries()
        .iter()
        .map(|entry| {
            let name = entry.key;
            if name.is_empty() || name.contains(['=', '\0']) {
                let problem = format!("holds {name:?}, which is no variable's name");
                return value.wrong_at(
                    entry.key_span.clone(),
                    problem,
                    "neither empty nor with `=`",
                    "for example: { KEY = \"value\" }",
                );
            }
            match entry.value.written() {
                Some(text) if text.contains('\0') => entry
                    .value
                    .wrong("contains a NUL character", "no program can be given one"),
                Some(text) => Some((name.to_owned(), text)),
                None => entry.value.expected("a string", "\"value\""),
            }
        })
        .collect();
    variables.into_iter().collect()
}

/// A variable's name.
fn variable(value: &Value<'_>) -> Option<String> {
    let name = value.need_some_text("\"LC_ALL\"")?;
    if env_file::is_name(name) {
        return Some(name.to_owned());
    }
    value.wrong(
        format!("holds {name:?}, which is no variable's name"),
        "names alone; `env` sets values",
    )
}

/// Reads the file, because a mistake in it is better said now than at the next restart.
fn read_env_file(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    let name = value.need_some_text("\".env\"")?;
    let path = value.sink.path(name);
    let read = || -> std::io::Result<String> {
        let meta = std::fs::metadata(&path)?;
        if !meta.is_file() || meta.len() > ENV_FILE_MOST_BYTES {
            return Err(std::io::Error::other("no file of KEY=VALUE lines"));
        }
        std::fs::read_to_string(&path)
    };
    let text = match read() {
        Ok(text) => text,
        Err(error) => {
            return value.wrong(
                format!("cannot be read: {}: {error}", path.display()),
                "the path is relative to this file; its lines are KEY=VALUE",
            );
        }
    };
    let (variables, bad) = env_file::parse(&text);
    for bad in &bad {
        let problem = format!("is wrong in line {} of {}", bad.line, path.display());
        let help = format!("line {} {}", bad.line, bad.problem);
        value.wrong::<()>(problem, help);
    }
    bad.is_empty().then_some(variables)
}

/// A user or group, by name or number.
fn account(value: &Value<'_>, example: &str) -> Option<String> {
    // The highest number means "leave it as it is" to the kernel.
    const MOST: u32 = u32::MAX - 1;
    if value.integer().is_some() {
        return value.whole(0..=MOST).map(|id| id.to_string());
    }
    let text = value.need_some_text(example)?;
    if text.contains(':') {
        return value.wrong(
            "holds a colon",
            "user and group are two keys: user = \"nobody\", group = \"nogroup\"",
        );
    }
    if text.contains(|c: char| c.is_whitespace() || c == '/') {
        return value.wrong("is no name", format!("a name or a number, like {example}"));
    }
    Some(text.to_owned())
}

/// Octal, as `umask` writes it.
fn umask(value: &Value<'_>) -> Option<u32> {
    const EXAMPLE: &str = "\"022\"";
    const HELP: &str = "octal digits in quotes, up to \"777\": \"022\"";
    let bits = if let Some(text) = value.text() {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let octal = !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
        octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
    } else if let Some(number) = value.integer() {
        if !value.is_octal() {
            return value.wrong("is not octal", HELP);
        }
        number.ok().and_then(|number| u32::try_from(number).ok())
    } else {
        return value.expected("an octal number", EXAMPLE);
    };
    match bits {
        Some(bits) if bits <= 0o777 => Some(bits),
        Some(_) | None => value.wrong("is no file mode mask", HELP),
    }
}

/// Limits by resource: a number, a size or `"unlimited"`.
fn limits(value: &Value<'_>) -> Option<Vec<(String, u64)>> {
    let Some(mut table) = value.is_table().then(|| value.table()).flatten() else {
        return value.expected("a table", "{ nofile = 1024, core = 0 }");
    };
    let limits: Vec<_> = table
        .entries()
        .iter()
        .map(|entry| {
            if !LIMITS.contains(&entry.key) {
                let label = match suggest(entry.key, LIMITS) {
                    Some(best) => format!("did you mean `{best}`?"),
                    None => "no such limit".to_owned(),
                };
                return value.wrong_at(
                    entry.key_span.clone(),
                    format!("has an unknown limit, `{}`", entry.key),
                    &label,
                    format!("the limits are {}", LIMITS.join(", ")),
                );
            }
            let limit = match entry.value.text() {
                Some("unlimited") => Some(u64::MAX),
                Some(_) | None => duration::size(&entry.value, 0),
            };
            limit.map(|limit| (entry.key.to_owned(), limit))
        })
        .collect();
    limits.into_iter().collect()
}
