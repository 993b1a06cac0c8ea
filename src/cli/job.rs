//! `run`: a command as a run of a service: when it began, how it ended, how long it took and
//! the end of what it printed.
//!
//! The command comes first. It is started at once and whether or not anybody can be told; its
//! input, its output, its signals and its exit code are as without us. Only its end waits for
//! the supervisor, for as long as [`END`] says.

mod output;
mod signals;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use supervisor_core::ServiceName;

use super::Context;
use super::args::JobArgs;
use super::client::{Call, ClientError, Limits};
use super::endpoint::{Ways, for_pulse};
use super::exit::{self, CliError, sentence};
use super::output::complain;
use super::pulse;
use crate::uuid::Uuid;

use output::Output;
use signals::Signals;

/// How long we wait to be heard that it begins: it runs all the while.
const START: Duration = Duration::from_secs(3);
/// How long, that it has ended.
const END: Duration = Duration::from_secs(10);
/// How long its end is tried again where its start was heard: the supervisor may be on its
/// way back.
const RETRY: Duration = Duration::from_secs(5);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// How long, after its exit, we wait for those who still hold its output before its end is
/// told.
const REST: Duration = Duration::from_secs(1);

/// What a shell answers for a command that is not there, and one that cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Tells the supervisor of one run.
struct Reporter {
    name: ServiceName,
    rid: Option<Uuid>,
    ways: Ways,
}

/// How a command ended.
struct Ended {
    code: u8,
    took: Duration,
    message: Option<String>,
    output: Option<String>,
}

/// Carries out `run`; the exit code is the command's own.
pub(super) async fn run(context: &Context, args: &JobArgs) -> ExitCode {
    let name = match pulse::name(args.name.as_ref(), &context.environment) {
        Ok(name) => name,
        Err(error) => return exit::conclude(Err(error)),
    };
    let reporter = Reporter {
        ways: for_pulse(&context.common, &context.environment, &name),
        // Without randomness the run has no name, and is told all the same.
        rid: Uuid::random().ok(),
        name,
    };
    match carry_out(&reporter, args).await {
        Ok(code) => code.into(),
        Err(error) => exit::conclude(Err(CliError::Runtime(error))),
    }
}

async fn carry_out(reporter: &Reporter, args: &JobArgs) -> io::Result<u8> {
    // Before it starts: a signal that comes now is for it.
    let mut signals = Signals::new()?;
    let [program, words @ ..] = args.command.as_slice() else {
        unreachable!("clap demands a word");
    };
    let mut command = Command::new(program);
    command.args(words);
    let output = if args.no_output {
        None
    } else {
        Some(Output::attach(&mut command)?)
    };
    let began = Instant::now();
    let spawned = command.spawn();
    // It holds the ends of the pipes that are the child's.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let why = format!("cannot start {}: {error}", program.to_string_lossy());
            complain(&why);
            let code = match error.kind() {
                io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            };
            let ended = Ended {
                code,
                took: began.elapsed(),
                message: Some(why),
                output: None,
            };
            reporter.end(&ended, false).await;
            return Ok(code);
        }
    };
    let pid = child.id();
    let mut heard = None;
    let status = {
        let mut start = std::pin::pin!(reporter.start());
        loop {
            // A wait, a signal and a call may each be cancelled: what has happened stays there
            // to be seen, and the call is only given up with the run.
            tokio::select! {
                biased;
                signal = signals.next() => {
                    if let Some(pid) = pid {
                        signals::pass_on(signal, pid);
                    }
                }
                status = child.wait() => {
                    if heard.is_none() {
                        // Its end must not overtake its start.
                        heard = Some(start.await);
                    }
                    break status?;
                }
                told = &mut start, if heard.is_none() => heard = Some(told),
            }
        }
    };
    let took = began.elapsed();
    let printed = match &output {
        Some(output) => Some(output.wait(REST).await),
        None => None,
    };
    let (code, message) = code_of(status);
    let ended = Ended {
        code,
        took,
        message,
        output: printed.filter(|text| !text.is_empty()),
    };
    reporter.end(&ended, heard == Some(true)).await;
    if let Some(output) = output {
        // Whoever it left behind goes on printing through us: cut off, it would die of it.
        output.finish(&mut signals).await;
    }
    Ok(code)
}

/// The code that a shell would answer, and what there is to say about it.
fn code_of(status: ExitStatus) -> (u8, Option<String>) {
    if let Some(signal) = status.signal() {
        let name = Signal::try_from(signal)
            .map_or_else(|_| format!("signal {signal}"), |known| known.to_string());
        let code = u8::try_from(128 + signal).unwrap_or(u8::MAX);
        return (code, Some(format!("killed by {name}")));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    (code.unwrap_or(u8::MAX), None)
}

impl Reporter {
    /// Tells that it begins; whether that was heard.
    async fn start(&self) -> bool {
        let body = json!({ "state": "start", "rid": self.rid() });
        match self.tell(&body, START).await {
            Ok(()) => true,
            Err(error) => {
                complain(&format!(
                    "{}; the command runs all the same",
                    sentence(&error)
                ));
                false
            }
        }
    }

    /// Tells how it ended.
    async fn end(&self, ended: &Ended, insist: bool) {
        let body = json!({
            "rid": self.rid(),
            "exit_code": ended.code,
            "duration": ended.took.as_secs_f64(),
            "message": ended.message,
            "output": ended.output,
        });
        let deadline = Instant::now() + RETRY;
        let error = loop {
            match self.tell(&body, END).await {
                Ok(()) => return,
                Err(error) if insist && error.may_pass() && Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                Err(error) => break error,
            }
        };
        let name = &self.name;
        complain(&format!(
            "the end of {name}'s run is not on record: {}",
            sentence(&error)
        ));
    }

    fn rid(&self) -> Option<String> {
        self.rid.map(|rid| rid.to_string())
    }

    /// Tells it by the first way that leads to a supervisor.
    async fn tell(&self, body: &Value, patience: Duration) -> Result<(), ClientError> {
        let limits = Limits {
            total: patience,
            ..Limits::default()
        };
        let path = format!("/api/run/{}", self.name);
        pulse::by_any_way(self.ways.clone(), limits, || Call::post(&*path, Some(body))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (raw, code, message) in [
            (0, 0, None),
            (3 << 8, 3, None),
            (255 << 8, 255, None),
            (9, 137, Some("killed by SIGKILL")),
            (15 | 0x80, 143, Some("killed by SIGTERM")),
            (40, 168, Some("killed by signal 40")),
        ] {
            let (own, said) = code_of(ExitStatus::from_raw(raw));
            assert_eq!((own, said.as_deref()), (code, message), "{raw}");
        }
    }
}
