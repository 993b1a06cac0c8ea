//! A command: one line of compact JSON on its stdin, the fields in its environment.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use supervisor_actors::ports::alerts::{AlertSink, Fate, Undelivered};
use supervisor_core::alert::Notice;

use super::words::Fields;

/// What of our own environment it gets: none of our secrets.
const PASSED: [&str; 8] = [
    "PATH",
    "HOME",
    "LANG",
    "USER",
    "TZ",
    "DISPLAY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];

pub(super) struct ExecSink {
    command: Vec<String>,
    cwd: PathBuf,
    timeout: Duration,
    host: String,
}

impl ExecSink {
    pub(super) fn new(command: Vec<String>, cwd: PathBuf, timeout: Duration, host: String) -> Self {
        Self {
            command,
            cwd,
            timeout,
            host,
        }
    }
}

impl AlertSink for ExecSink {
    fn deliver(&self, notice: Notice) -> LocalBoxFuture<'static, Result<(), Undelivered>> {
        let fields = Fields::of(&notice, &self.host, None);
        let (command, cwd, patience) = (self.command.clone(), self.cwd.clone(), self.timeout);
        Box::pin(async move {
            run(&command, &cwd, &fields, patience)
                .await
                .map_err(|reason| Undelivered {
                    reason,
                    fate: Fate::Again { after: None },
                })
        })
    }
}

/// Kills the whole group of a command that nobody waits for any more.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Its leader was not waited for, so the number is still its own.
            let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

async fn run(
    command: &[String],
    cwd: &std::path::Path,
    fields: &Fields,
    patience: Duration,
) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let mut line = serde_json::to_string(fields).map_err(|error| error.to_string())?;
    line.push('\n');
    let passed = PASSED
        .iter()
        .filter_map(|name| std::env::var_os(name).map(|value| (*name, value)));
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(cwd)
        .env_clear()
        .envs(passed)
        .envs(variables(fields))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    let mut group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()));
    let stdin = child.stdin.take();
    let work = async {
        if let Some(mut stdin) = stdin {
            // One that does not read it may still do its work.
            let _closed = stdin.write_all(line.as_bytes()).await;
        }
        child.wait().await
    };
    let done = timeout(patience, work).await;
    match done {
        Ok(Ok(status)) => {
            group.0 = None;
            match status.code() {
                Some(0) => Ok(()),
                Some(code) => Err(format!("{program} ended with code {code}")),
                None => Err(format!("{program} was ended by a signal")),
            }
        }
        Ok(Err(error)) => Err(format!("{program} could not be waited for: {error}")),
        Err(_elapsed) => {
            drop(group);
            // Out of the process table.
            let _killed = child.wait().await;
            let patience = humantime::format_duration(patience);
            Err(format!(
                "{program} did not end within {patience} and was killed"
            ))
        }
    }
}

/// `ALERT_ID`, `ALERT_TITLE`, ….
fn variables(fields: &Fields) -> Vec<(String, String)> {
    let values = serde_json::to_value(fields).unwrap_or_default();
    let object = values.as_object().cloned().unwrap_or_default();
    let plain = |value: &serde_json::Value| match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.replace('\0', ""),
        serde_json::Value::Array(items) => {
            let texts: Vec<&str> = items.iter().filter_map(|item| item.as_str()).collect();
            texts.join(",")
        }
        other => other.to_string(),
    };
    object
        .iter()
        .map(|(name, value)| (format!("ALERT_{}", name.to_uppercase()), plain(value)))
        .collect()
}
