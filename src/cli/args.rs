//! What can be typed: options, subcommands and their help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use supervisor_core::ServiceName;
use supervisor_core::metrics::{MOST_NAME, is_name};

/// What the help says at its end, for those who write scripts.
const EXIT_CODES: &str = "\
Exit codes:
   0  fine
   1  failed
   2  usage
   3  unhealthy (`status`: degraded or critical), or failed for some of several services
   4  no supervisor could be reached
  78  bad configuration";

/// Where the supervisor is looked for, at the end of the help of the program.
const SURROUNDINGS: &str = "\
Commands find the supervisor by its socket: --socket, else SUPERVISOR_SOCKET, else
`supervisor.sock` in the data_dir that the configuration names (`.supervisor` beside it).";

/// The version with what it was built for; packagers set SUPERVISOR_COMMIT while building.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("SUPERVISOR_COMMIT").map_or_else(String::new, |c| format!("{c}, "));
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    format!(
        "{} ({commit}{profile} build for {}-{})",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
});

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "supervisor",
    version = VERSION.as_str(),
    about = "Keeps long-running services alive by listening to their heartbeats",
    long_about = "Keeps long-running services alive by listening to their heartbeats.\n\n\
        Without a command it runs in the foreground: it starts the services of the \
        configuration, restarts what dies or hangs, and answers the commands below.",
    after_help = EXIT_CODES,
    after_long_help = format!("{SURROUNDINGS}\n\n{EXIT_CODES}"),
    disable_help_subcommand = true,
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(super) common: Common,
    /// Options of the run in the foreground.
    #[command(flatten)]
    pub(super) run: RunOptions,
    /// What to do instead of running.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// The configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "supervisor.toml"
    )]
    pub(super) config: PathBuf,
    /// The supervisor's Unix socket (default: the one in the configuration's data_dir)
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// No colour, as with NO_COLOR=1; a pipe or a file never gets any
    #[arg(long, global = true)]
    pub(super) no_color: bool,
}

/// Options of the run in the foreground.
#[derive(Debug, Args)]
pub(super) struct RunOptions {
    /// How the log on stderr looks
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
    /// Check the configuration, say all that is wrong with it, and run nothing
    #[arg(long)]
    pub(super) validate: bool,
    /// Mirror the directories of [sync] once and end; start no service
    ///
    /// Beside a running supervisor it is that one which does it. Exits 3 where something failed
    /// or is left.
    #[arg(long)]
    pub(super) once: bool,
    /// Say what would be mirrored, and write nothing anywhere; start no service
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// How the log on stderr looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Term,
    /// An object a line.
    Json,
}

/// What can be asked of a running supervisor, and a few things that need none.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// Show how the services are
    ///
    /// Exits 3 when anything counts as degraded or critical (with NAME: when that service is).
    Status(StatusArgs),
    /// Show how the services are, go on showing it, and act on them by keys
    #[cfg(feature = "top")]
    Top,
    /// Start services
    Start(ChangeArgs),
    /// Stop services and wait until nothing of them is left
    Stop(ChangeArgs),
    /// Stop and start services, past any backoff
    Restart(ChangeArgs),
    /// Nudge services as configured
    Nudge(NamesArgs),
    /// Leave services alone: neither judged nor poked
    Pause(PauseArgs),
    /// Watch paused services again
    Resume(NamesArgs),
    /// Lift the quarantine of services and start them, unless somebody has stopped them
    Clear(NamesArgs),
    /// Show what a service wrote to its stdout and stderr
    ///
    /// All but text, tabs and line ends is shown escaped. The bytes as they were written are
    /// in the data_dir, in log/NAME.log.
    Logs(LogsArgs),
    /// Show what happened
    ///
    /// With --json the API's object; with --follow too, an object for each event.
    Events(EventsArgs),
    /// Print the history of services, for other programs
    ///
    /// A line for each step of each service. NDJSON also has the services' own figures.
    Export(ExportArgs),
    /// Show alerts, why one tells nobody, or try a sink
    ///
    /// Exits 3 while a critical alert fires that nobody has taken.
    Alerts(AlertsArgs),
    /// Take an alert: no repeats and no further steps, unless it gets worse
    Ack(AckArgs),
    /// Have the alerts of services tell nobody for a while
    Silence(SilenceArgs),
    /// Print an address of the dashboard that signs in once
    Dashboard,
    /// Give a sign of life for a service, or report an error of it
    Pulse(PulseArgs),
    /// Run a command and tell of it as a run of a service
    ///
    /// When it begins, how it ends, how long it takes and the end of what it prints. The exit
    /// code is the command's own (128 and the signal where one ended it, 127 where it is not
    /// there). It runs whether or not a supervisor can be told.
    Run(JobArgs),
    /// Write or read the heartbeat of a town's Deacon; needs no supervisor
    Deacon(DeaconArgs),
    /// What the mirroring of markdown into tables needs
    Sync(SyncArgs),
    /// Check the configuration and say all that is wrong with it
    Check,
    /// Write a small commented configuration, if there is none
    Init,
    /// Print a shell's completions
    Completions(CompletionsArgs),
}

/// `status`
#[derive(Debug, Clone, Args)]
pub(super) struct StatusArgs {
    /// Show everything known of this service
    #[arg(value_parser = name)]
    pub(super) name: Option<ServiceName>,
    /// Go on showing it; into a pipe, a line for each change
    #[arg(short, long)]
    pub(super) watch: bool,
    /// Show the supervisor's own actors even when they are well
    #[arg(short, long, conflicts_with = "name")]
    pub(super) all: bool,
}

/// Several services by name.
#[derive(Debug, Clone, Args)]
pub(super) struct NamesArgs {
    /// The services
    #[arg(required_unless_present = "all", value_name = "NAME", value_parser = name)]
    pub(super) names: Vec<ServiceName>,
    /// All services
    #[arg(short, long, conflicts_with = "names")]
    pub(super) all: bool,
}

/// `start`, `stop`, `restart`
#[derive(Debug, Clone, Args)]
pub(super) struct ChangeArgs {
    /// Which.
    #[command(flatten)]
    pub(super) names: NamesArgs,
    /// Ask for it and do not wait until it is done
    #[arg(long)]
    pub(super) no_wait: bool,
    /// How long to wait [default: 30s, to stop 60s]
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "no_wait")]
    pub(super) timeout: Option<Duration>,
}

/// `pause`
#[derive(Debug, Clone, Args)]
pub(super) struct PauseArgs {
    /// Which.
    #[command(flatten)]
    pub(super) names: NamesArgs,
    /// For how long (default: until `resume`), as "90m" or "1h 30m"
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(super) period: Option<Duration>,
}

/// `logs`
#[derive(Debug, Clone, Args)]
pub(super) struct LogsArgs {
    /// The service
    #[arg(value_parser = name)]
    pub(super) name: ServiceName,
    /// Go on with what it writes from now on
    #[arg(short, long)]
    pub(super) follow: bool,
    /// How many of the last lines to show
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(super) lines: u32,
}

/// `events`
#[derive(Debug, Clone, Args)]
pub(super) struct EventsArgs {
    /// Only those of this service
    #[arg(short, long, value_name = "NAME", value_parser = name)]
    pub(super) service: Option<ServiceName>,
    /// Only those since: "24h" ago, or a date as 2026-01-02T18:30:00Z
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub(super) since: Option<Since>,
    /// At most so many: the newest (by default 100), or with --since the first (by default all)
    #[arg(short = 'n', long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: Option<u32>,
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub(super) follow: bool,
}

/// `export`
#[derive(Debug, Clone, Args)]
pub(super) struct ExportArgs {
    /// How a line looks
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    pub(super) format: ExportFormat,
    /// From when on: "24h" ago, or a date as 2026-01-02T18:30:00Z
    #[arg(long, value_name = "WHEN", default_value = "24h", value_parser = since)]
    pub(super) since: Since,
    /// How long a step is, in whole minutes
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub(super) step: Duration,
    /// Only this service
    #[arg(short, long, value_name = "NAME", value_parser = name)]
    pub(super) service: Option<ServiceName>,
}

/// How an exported line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ExportFormat {
    /// With a header line.
    Csv,
    /// An object a line.
    Ndjson,
}

/// `alerts`
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AlertsArgs {
    /// What else to do than to list them.
    #[command(subcommand)]
    pub(super) command: Option<AlertsCommand>,
    /// Resolved ones, too
    #[arg(short, long)]
    pub(super) all: bool,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
}

/// What can be done with alerts besides listing them.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum AlertsCommand {
    /// Print the rules that decide who is told of an alert
    Why {
        /// Its number
        id: u64,
    },
    /// Send a test message to a sink
    Test {
        /// Its name in the configuration, or "log"
        sink: String,
    },
}

/// `ack`
#[derive(Debug, Clone, Args)]
pub(super) struct AckArgs {
    /// The alert's number
    pub(super) id: u64,
    /// What to say of it
    #[arg(short, long)]
    pub(super) note: Option<String>,
    /// Who takes it [default: $USER]
    #[arg(long, value_name = "WHO")]
    pub(super) by: Option<String>,
}

/// `silence`
#[derive(Debug, Clone, Args)]
pub(super) struct SilenceArgs {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: SilenceCommand,
}

/// What can be done with silences.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum SilenceCommand {
    /// Show those that hold
    List,
    /// Begin one
    Add(SilenceAddArgs),
    /// End one before its time
    Expire {
        /// Its number
        id: u64,
    },
}

/// `silence add`
#[derive(Debug, Clone, Args)]
pub(super) struct SilenceAddArgs {
    /// Which services, as a pattern: "db-*", "{api,web}", "*"
    pub(super) services: String,
    /// For how long, as "90m" or "1h 30m"
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(super) period: Duration,
    /// Only services with this tag
    #[arg(long)]
    pub(super) tag: Option<String>,
    /// Why
    #[arg(short, long)]
    pub(super) note: Option<String>,
    /// Who wants it [default: $USER]
    #[arg(long, value_name = "WHO")]
    pub(super) by: Option<String>,
}

/// `pulse`
#[derive(Debug, Clone, Args)]
pub(super) struct PulseArgs {
    /// The service [default: SUPERVISOR_SERVICE, which every service finds in its environment]
    #[arg(value_parser = name)]
    pub(super) name: Option<ServiceName>,
    /// Report this error instead of a clean pulse
    #[arg(long, value_name = "MESSAGE")]
    pub(super) error: Option<String>,
    /// The error is critical
    #[arg(long, requires = "error")]
    pub(super) critical: bool,
    /// What it does now, for people to read
    #[arg(short, long, conflicts_with = "error")]
    pub(super) message: Option<String>,
    /// Its own word for its state; "idle" ends the promise to pulse until the next pulse
    #[arg(long, value_enum, conflicts_with = "error")]
    pub(super) state: Option<StateArg>,
    /// A counter that moves while it works
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "error"
    )]
    pub(super) cycle: Option<i64>,
    /// A number that moves while it works
    #[arg(long, value_name = "X", value_parser = finite, allow_negative_numbers = true, conflicts_with = "error")]
    pub(super) progress: Option<f64>,
    /// It will be busy and silent for so long
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "error")]
    pub(super) busy_for: Option<Duration>,
    /// A figure of its own; may be given several times
    #[arg(long = "metric", value_name = "KEY=X", value_parser = metric, conflicts_with = "error")]
    pub(super) metrics: Vec<(String, f64)>,
}

/// `run`
#[derive(Debug, Clone, Args)]
pub(super) struct JobArgs {
    /// The service [default: SUPERVISOR_SERVICE, which every service finds in its environment]
    #[arg(value_parser = name)]
    pub(super) name: Option<ServiceName>,
    /// Leave its stdout and stderr alone: nothing that it prints is kept
    #[arg(long)]
    pub(super) no_output: bool,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

/// `deacon`
#[derive(Debug, Clone, Args)]
pub(super) struct DeaconArgs {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: DeaconCommand,
}

/// What can be done with a Deacon's heartbeat.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum DeaconCommand {
    /// Write the next heartbeat
    Touch(DeaconTouchArgs),
    /// Show how old the heartbeat is
    ///
    /// Exits 0 when it is fresh, 1 when it is stale (2 minutes), 3 when it is very stale
    /// (5 minutes) or missing.
    Status(DeaconStatusArgs),
}

/// `deacon touch`
#[derive(Debug, Clone, Args)]
pub(super) struct DeaconTouchArgs {
    /// The town; the file is deacon/heartbeat.json in it
    #[arg(long, value_name = "DIR")]
    pub(super) town: PathBuf,
    /// What was done last
    #[arg(long, value_name = "ACTION")]
    pub(super) action: Option<String>,
    /// How many agents are well
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) healthy: Option<i64>,
    /// How many are not
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub(super) unhealthy: Option<i64>,
}

/// `deacon status`
#[derive(Debug, Clone, Args)]
pub(super) struct DeaconStatusArgs {
    /// The town; the file is deacon/heartbeat.json in it
    #[arg(long, value_name = "DIR")]
    pub(super) town: PathBuf,
}

/// `sync`
#[derive(Debug, Clone, Args)]
pub(super) struct SyncArgs {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: SyncCommand,
}

/// `sync retry`, `sync confirm`
#[derive(Debug, Clone, Args)]
pub(super) struct SyncTableArgs {
    /// Only those of this table (default: of all)
    pub(super) table: Option<String>,
}

/// What can be asked about the sync.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum SyncCommand {
    /// Show what is mirrored, what waits, and what is parked or held and why
    ///
    /// Exits 3 where rows are parked or held, or the target takes nothing.
    Status,
    /// Try parked rows again
    Retry(SyncTableArgs),
    /// Do the deletions that were held because they are many at once
    Confirm(SyncTableArgs),
    /// Print the SQL that makes the tables of the configuration in a Supabase project
    ///
    /// It may be run again and on tables that are there: it adds what they lack, and takes
    /// nothing away. Needs no supervisor.
    Schema,
    /// Compare every path with what the target holds
    ///
    /// By the hash of its content where the table has a column for it, else by its key alone.
    /// Needs no supervisor; what a running one has still to send counts as missing or
    /// different. Exits 3 where anything differs or cannot be read; rows whose file is gone
    /// count only where on_delete is not "keep".
    Verify,
}

/// A service's own word for its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StateArg {
    /// At work.
    Working,
    /// Nothing to do.
    Idle,
    /// About to exit.
    Exiting,
    /// It knows that it hangs.
    Stuck,
}

impl StateArg {
    /// The API's word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Idle => "idle",
            Self::Exiting => "exiting",
            Self::Stuck => "stuck",
        }
    }
}

/// `completions`
#[derive(Debug, Clone, Args)]
pub(super) struct CompletionsArgs {
    /// Whose
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// From when on events are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// So long ago.
    Ago(Duration),
    /// Microseconds since the epoch.
    At(supervisor_core::Timestamp),
}

/// A service's name.
fn name(text: &str) -> Result<ServiceName, supervisor_core::name::InvalidName> {
    ServiceName::new(text)
}

/// A duration as humantime reads it; a bare number is seconds, as in the configuration.
fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string());
    }
    crate::human_time::duration(text).map_err(|e| format!("{e}; write it as 90s, 5m or 1h 30m"))
}

/// A duration ago, or a date.
fn since(text: &str) -> Result<Since, String> {
    if let Ok(date) = humantime::parse_rfc3339_weak(text.trim()) {
        let micros = date
            .duration_since(std::time::UNIX_EPOCH)
            .ok()
            .and_then(|d| i64::try_from(d.as_micros()).ok())
            .unwrap_or(0);
        return Ok(Since::At(supervisor_core::Timestamp(micros)));
    }
    duration(text).map(Since::Ago).map_err(|_| {
        "neither a duration as 24h nor a date as 2026-01-02T18:30:00Z (UTC)".to_owned()
    })
}

/// A number that JSON can write.
fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) | Err(_) => Err("not a finite number".to_owned()),
    }
}

/// `KEY=NUMBER`
fn metric(text: &str) -> Result<(String, f64), String> {
    match text.split_once('=') {
        Some((key, number)) if is_name(key) => Ok((key.to_owned(), finite(number)?)),
        Some((key, _)) if !key.is_empty() => Err(format!(
            "{key:?} is no name of 1 to {MOST_NAME} characters a-z, 0-9 and _"
        )),
        Some(_) | None => Err("write it as key=1.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(line.split(' ')).map_err(|e| e.kind())
    }

    fn command(line: &str) -> Command {
        parse(line).unwrap().command.unwrap()
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_runs_the_configuration_beside_it() {
        let cli = parse("supervisor").unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.common.config, PathBuf::from("supervisor.toml"));
        let cli = parse("supervisor --config a/b.toml --log-format json").unwrap();
        assert_eq!(cli.common.config, PathBuf::from("a/b.toml"));
        assert_eq!(cli.run.log_format, Some(LogFormat::Json));
    }

    #[test]
    fn common_options_stand_before_or_behind_the_command() {
        for line in [
            "supervisor --config x.toml --json status worker",
            "supervisor status worker --json --config x.toml",
        ] {
            let cli = parse(line).unwrap();
            assert!(cli.common.json, "{line}");
            assert_eq!(cli.common.config, PathBuf::from("x.toml"), "{line}");
        }
    }

    #[test]
    fn durations_are_humantime_or_seconds() {
        let pause = |line| match command(line) {
            Command::Pause(args) => args.period,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            pause("supervisor pause a --for 1h"),
            Some(Duration::from_secs(3600))
        );
        assert_eq!(
            pause("supervisor pause a b --for 1.5"),
            Some(Duration::from_millis(1500))
        );
        for bad in ["-1", "1x", "NaN", "1e300", ""] {
            assert!(
                parse(&format!("supervisor pause a --for={bad}")).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn since_is_a_duration_or_a_date() {
        assert_eq!(since("24h"), Ok(Since::Ago(Duration::from_secs(86_400))));
        assert_eq!(
            since("1970-01-01T00:00:01Z"),
            Ok(Since::At(supervisor_core::Timestamp(1_000_000)))
        );
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn names_are_needed_checked_and_exclude_all() {
        assert_eq!(
            parse("supervisor stop").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            parse("supervisor stop Worker").unwrap_err(),
            ErrorKind::ValueValidation
        );
        assert_eq!(
            parse("supervisor stop a/../b").unwrap_err(),
            ErrorKind::ValueValidation
        );
        assert_eq!(
            parse("supervisor stop a --all").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
        assert!(parse("supervisor stop --all").is_ok());
        assert!(parse("supervisor stop a b c --timeout 5s").is_ok());
        assert_eq!(
            parse("supervisor stop a --timeout 5s --no-wait").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn an_error_is_no_pulse_with_a_state() {
        assert!(parse("supervisor pulse a --error broken --critical").is_ok());
        assert_eq!(
            parse("supervisor pulse a --critical").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            parse("supervisor pulse a --error x --state idle").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
        let Command::Pulse(args) = command("supervisor pulse --metric a=1.5 --progress -2") else {
            panic!("no pulse");
        };
        assert_eq!(args.metrics, [("a".to_owned(), 1.5)]);
        assert_eq!(args.progress, Some(-2.0));
        assert!(parse("supervisor pulse a --metric x=inf").is_err());
        assert!(parse("supervisor pulse a --metric =1").is_err());
        assert!(parse("supervisor pulse a --metric Queue=1").is_err());
    }

    #[test]
    fn unknown_words_are_usage_errors() {
        assert_eq!(
            parse("supervisor frobnicate").unwrap_err(),
            ErrorKind::InvalidSubcommand
        );
        assert_eq!(
            parse("supervisor status --colour").unwrap_err(),
            ErrorKind::UnknownArgument
        );
        assert_eq!(
            parse("supervisor events --limit 0").unwrap_err(),
            ErrorKind::ValueValidation
        );
    }
}
