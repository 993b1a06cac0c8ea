//! The command line: what can be typed, and the commands that ask a running supervisor.
//!
//! [`parse`] reads the command line. The run in the foreground is handed back to the program,
//! so is the check of the configuration, which is [`check()`]; every other command is a client,
//! run by [`execute`] on a small runtime of its own.

#[cfg(test)]
mod against_a_server;
mod alerts;
mod api;
mod args;
mod check;
mod client;
mod control;
mod dashboard;
mod deacon;
mod endpoint;
mod escape;
mod events;
mod exit;
mod export;
mod human;
mod init;
mod job;
mod logs;
mod mirror;
mod output;
mod pulse;
mod status;
mod sync;
mod table;
#[cfg(feature = "top")]
mod top;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use args::{Cli, Command, Common};
use client::Client;
use endpoint::Environment;
use exit::{CliError, Exit};
use output::Look;

pub(crate) use args::LogFormat;
pub(crate) use check::check;
pub(crate) use mirror::once_beside;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Run in the foreground.
    Run(RunArgs),
    /// Check the configuration, run nothing: see [`check()`].
    Check(CheckArgs),
    /// Anything else: see [`execute`].
    Client(ClientCommand),
}

/// How to run in the foreground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// How the log on stderr looks, where the command line says so.
    pub(crate) log_format: Option<LogFormat>,
    /// Whether colour is forbidden by option.
    pub(crate) no_color: bool,
    /// Look at all that is mirrored once, send it, start no service.
    pub(crate) once: bool,
    /// Say what would be mirrored, write nothing, start no service.
    pub(crate) dry_run: bool,
}

/// What to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// Whether JSON is wanted.
    pub(crate) json: bool,
    /// Whether colour is forbidden by option.
    pub(crate) no_color: bool,
}

/// A command that this module carries out.
#[derive(Debug)]
pub(crate) struct ClientCommand {
    common: Common,
    command: Command,
}

/// Reads the command line of this process.
///
/// # Errors
/// The exit code to end with: help, the version or a usage error has been printed.
pub(crate) fn parse() -> Result<Parsed, ExitCode> {
    parse_from(std::env::args_os()).map_err(|error| {
        let exit = if error.use_stderr() {
            Exit::Usage
        } else {
            Exit::Fine
        };
        // A closed pipe is all that can go wrong, and then nobody reads.
        let _ = error.print();
        exit.into()
    })
}

fn parse_from<I>(line: I) -> Result<Parsed, clap::Error>
where
    I: IntoIterator,
    I::Item: Into<std::ffi::OsString> + Clone,
{
    let Cli {
        common,
        run,
        command,
    } = Cli::try_parse_from(line)?;
    let refuse = |text: &str| Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
    let check = |common: Common| {
        Parsed::Check(CheckArgs {
            config: common.config,
            json: common.json,
            no_color: common.no_color,
        })
    };
    match command {
        Some(_) if run.validate || run.log_format.is_some() || run.once || run.dry_run => refuse(
            "--validate, --log-format, --once and --dry-run are for the run in the foreground, not for a command",
        ),
        None if run.validate && (run.once || run.dry_run) => {
            refuse("--validate runs nothing, not even once")
        }
        Some(Command::Check) => Ok(check(common)),
        Some(command) => Ok(Parsed::Client(ClientCommand { common, command })),
        None if common.socket.is_some() => refuse(
            "--socket is for commands; a run makes its socket in the configuration's data_dir",
        ),
        None if run.validate => Ok(check(common)),
        None if common.json => {
            refuse("--json is for commands; the log of a run gets it by --log-format json")
        }
        None => Ok(Parsed::Run(RunArgs {
            config: common.config,
            log_format: run.log_format,
            no_color: common.no_color,
            once: run.once,
            dry_run: run.dry_run,
        })),
    }
}

/// What every command works with.
struct Context {
    client: Client,
    look: Look,
    common: Common,
    environment: Environment,
}

/// Carries out a command and says how it ended.
pub(crate) fn execute(command: ClientCommand) -> ExitCode {
    let ClientCommand { common, command } = command;
    let environment = Environment::read();
    let context = Context {
        client: Client::new(endpoint::socket(&common, &environment)),
        look: Look::new(&common),
        common,
        environment,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return exit::conclude(Err(CliError::Runtime(error))),
    };
    // The codec of actix-http keeps its date in a task of this thread.
    let local = tokio::task::LocalSet::new();
    let code = match command {
        // Its exit code is that of the command which it runs.
        Command::Run(args) => local.block_on(&runtime, job::run(&context, &args)),
        command => exit::conclude(local.block_on(&runtime, run(&context, command))),
    };
    // Who still writes to a reader that has stopped reading is not waited for.
    runtime.shutdown_background();
    code
}

async fn run(context: &Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Status(args) if args.watch => watch::run(context, &args).await,
        Command::Status(args) => status::run(context, &args).await,
        #[cfg(feature = "top")]
        Command::Top => top::run(context).await,
        Command::Start(args) => control::change(context, control::Change::Start, &args).await,
        Command::Stop(args) => control::change(context, control::Change::Stop, &args).await,
        Command::Restart(args) => control::change(context, control::Change::Restart, &args).await,
        Command::Nudge(args) => control::tell(context, "nudge", None, &args).await,
        Command::Pause(args) => control::pause(context, &args).await,
        Command::Resume(args) => control::tell(context, "resume", None, &args).await,
        Command::Clear(args) => control::tell(context, "clear", None, &args).await,
        Command::Logs(args) => logs::run(context, &args).await,
        Command::Events(args) => events::run(context, &args).await,
        Command::Export(args) => export::run(context, &args).await,
        Command::Alerts(args) => alerts::run(context, &args).await,
        Command::Ack(args) => alerts::acknowledge(context, &args).await,
        Command::Silence(args) => alerts::silence(context, &args).await,
        Command::Dashboard => dashboard::run(context).await,
        Command::Pulse(args) => pulse::run(context, &args).await,
        Command::Deacon(args) => deacon::run(context, &args),
        Command::Sync(args) => sync::run(context, &args).await,
        Command::Init => init::run(&context.common.config),
        Command::Completions(args) => {
            let mut text = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "supervisor", &mut text);
            output::put_bytes(&text)?;
            Ok(Exit::Fine)
        }
        Command::Check => unreachable!("parse_from hands it to the program"),
        Command::Run(_) => unreachable!("execute carries it out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Parsed {
        parse_from(line.split(' ')).unwrap()
    }

    #[test]
    fn validate_and_check_are_the_same() {
        for line in [
            "supervisor --config a.toml --validate --json",
            "supervisor check --config a.toml --json",
        ] {
            let Parsed::Check(args) = parsed(line) else {
                panic!("{line}");
            };
            assert_eq!(args.config, PathBuf::from("a.toml"));
            assert!(args.json);
        }
    }

    #[test]
    fn a_run_gets_its_options() {
        let Parsed::Run(args) = parsed("supervisor --config a.toml --log-format json --no-color")
        else {
            panic!("no run");
        };
        assert_eq!(args.config, PathBuf::from("a.toml"));
        assert_eq!(args.log_format, Some(LogFormat::Json));
        assert!(args.no_color);
    }

    #[test]
    fn options_that_would_mean_nothing_are_refused() {
        for line in [
            "supervisor --validate status",
            "supervisor --log-format json stop a",
            "supervisor --socket x",
            "supervisor --json",
            "supervisor --once status",
            "supervisor --validate --dry-run",
        ] {
            let error = parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
