//! The run in the foreground: the one place where the program is wired together.
//!
//! ```text
//!   configuration ─▶ data directory ─▶ log ─▶ adapters ─▶ actors ─▶ API
//!                                                            │
//!                 a signal ─▶ stop all, or leave them ─▶ API closed ─▶ log closed
//! ```

use std::collections::HashSet;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, error, info, warn};

use supervisor_actors::ports::Clock;
use supervisor_actors::ports::alerts::AlertSink;
use supervisor_actors::spec::ServiceSpec;
use supervisor_actors::{Ports, Setup, Universe};
use supervisor_core::alert::{Policy as AlertPolicy, SinkName};

use crate::adapters::child_env::Usual;
use crate::adapters::child_token::child_token;
use crate::adapters::clock::WheelClock;
use crate::adapters::data_dir::{DataDirError, DataDirLock, lock_data_dir};
use crate::adapters::deacon_file::RealDeaconFile;
use crate::adapters::descriptors::GivenLimit;
use crate::adapters::dice::RealDice;
use crate::adapters::errands::{self, RealErrands};
use crate::adapters::history::{self, HistoryDatabase};
use crate::adapters::logging::{self, LogGuard, WhenFull};
use crate::adapters::marks::FileMarks;
use crate::adapters::processes::{ProcessesError, ShimProcesses};
use crate::adapters::sinks::{self, SinkKind, SinkSpec};
use crate::adapters::store::{AlertsDatabase, SqliteStore};
use crate::alone;
use crate::cli::{LogFormat, RunArgs};
use crate::config::{self, AlertSettings, OnExit, Settings};
use crate::footprint;
use crate::http::{self, Patience, Servers};
use crate::maintenance;
use crate::mirror::{self, MirrorError, Mode};
use crate::pauses::{Pauses, estop_stands};
use crate::signals::Signals;
use crate::token::{Token, TokenError};
use crate::watched::{Manager, Pulse};

/// EX_CONFIG of sysexits.h.
const BAD_CONFIGURATION: u8 = 78;

/// Why the program could not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("the log's thread cannot be started")]
    Log(#[source] io::Error),
    #[error("there is no token for the API")]
    Token(#[from] TokenError),
    #[error(transparent)]
    Processes(#[from] ProcessesError),
    #[error("the API's socket cannot be made in the data directory")]
    Socket(#[source] io::Error),
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error("the history's thread cannot be started")]
    History(#[source] io::Error),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// Runs until a signal ends it.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let settings = match config::load(&args.config, &|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprint!("{}", mistakes.render_for_stderr(args.no_color));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    footprint::begin(settings.sync.is_some());
    keep_to_ourselves();
    let done = if args.once || args.dry_run {
        alone::run(args, settings)
    } else {
        begin(args, settings)
    };
    done.unwrap_or_else(|failure| {
        eprintln!("supervisor: {}", chain(&failure));
        ExitCode::FAILURE
    })
}

/// An error and its causes, in one line.
fn chain(failure: &dyn std::error::Error) -> String {
    let mut line = failure.to_string();
    let mut cause = failure.source();
    while let Some(next) = cause {
        line.push_str(": ");
        line.push_str(&next.to_string());
        cause = next.source();
    }
    line
}

/// Descriptors that we were started with are not for the commands that we start.
fn keep_to_ourselves() {
    // SAFETY: marks descriptors, closes none. A kernel that cannot (before 5.11) leaves them
    // as they are: services get none of them anyway, their shims see to that.
    unsafe {
        libc::close_range(
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_int,
        );
    }
}

fn begin(args: &RunArgs, settings: Settings) -> Result<ExitCode, StartError> {
    let data_dir = lock_data_dir(
        &settings.supervisor.given_data_dir,
        &settings.supervisor.data_dir,
    )?;
    let (log, guard) = start_log(args, &settings)?;
    let clock = WheelClock::new();
    let code = actix_rt::System::new().block_on(serve(settings, &data_dir, clock, &log));
    drop(guard);
    code
}

pub(crate) fn start_log(
    args: &RunArgs,
    settings: &Settings,
) -> Result<(Logger, LogGuard), StartError> {
    let mut wanted = settings.log.clone();
    if let Some(format) = args.log_format {
        wanted.format = match format {
            LogFormat::Term => config::LogFormat::Term,
            LogFormat::Json => config::LogFormat::Json,
        };
    }
    // Both start no service.
    let when_full = if args.once || args.dry_run {
        WhenFull::Wait
    } else {
        WhenFull::Drop
    };
    let started = logging::start(&wanted, args.no_color, when_full);
    let (log, guard) = started.map_err(StartError::Log)?;
    logging::take_panics(&log, &guard);
    if let Err(taken) = logging::take_log_crate(&log, &wanted.filter) {
        warn!(log, "the libraries' own events are not logged"; "why" => %taken);
    }
    Ok((log, guard))
}

/// From the first actor to the last.
async fn serve(
    settings: Settings,
    data_dir: &DataDirLock,
    clock: WheelClock,
    log: &Logger,
) -> Result<ExitCode, StartError> {
    // Before anything is started, so that no signal is missed.
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let own = settings.supervisor;
    let clock = Arc::new(clock);
    let url = own.url();
    let usual = Usual::new(url.clone());
    let services = settings.services.len();
    let estop = data_dir.path().join("ESTOP");

    info!(log, "supervisor starts";
        "version" => env!("CARGO_PKG_VERSION"), "pid" => std::process::id(),
        "name" => &own.name, "services" => services, "data_dir" => %data_dir.path().display());
    let limit = GivenLimit::raise();
    settings.probes.commands.limit(limit);
    let processes = Rc::new(ShimProcesses::new(data_dir, usual.clone(), limit)?);
    end_strays(Rc::clone(&processes), &settings.services, log.clone());
    let registrants = settings.registrants;
    let calls = settings.probes.calls.clone();
    let common = sinks::Common {
        host: own.name.clone(),
        url: own.listen.map(|_| url),
        calls: calls.clone(),
        clock: clock.clone(),
        log: log.clone(),
    };
    let sync = match &settings.sync {
        Some(sync) => {
            let clock: Arc<dyn Clock> = clock.clone();
            let mode = Mode {
                continuous: true,
                dry_run: false,
            };
            mirror::announce(sync, mode, log);
            Some(mirror::setup(sync, data_dir.path(), &calls, &clock, mode)?)
        }
        None => None,
    };
    let windows = settings.alerts.windows.clone();
    let open = maintenance::open_at(&windows, clock.wall());
    let keep = history::Keep {
        minutes: settings.history.keep,
        hours: settings.history.keep_rollups,
    };
    let history = HistoryDatabase::new(data_dir.path(), keep, clock.clone(), log.clone());
    let history = Arc::new(history.map_err(StartError::History)?);
    let universe = Universe::start(Setup {
        specs: settings.services,
        admit: Box::new(move |registration| registrants.admit(registration)),
        ports: Ports {
            clock: clock.clone(),
            dice: Arc::new(RealDice::new()),
            processes,
            errands: Rc::new(RealErrands::new(
                usual,
                calls.clone(),
                errands::Patience::default(),
                limit,
            )),
            marks: Rc::new(FileMarks::new(data_dir.path(), log.clone())),
            store: Box::new(
                SqliteStore::new(data_dir.path(), settings.history.keep, clock.clone())
                    .noticing(data_dir.caveats()),
            ),
            deacon: Box::new(RealDeaconFile::new(data_dir.path())),
            alerts: Box::new(AlertsDatabase::new(
                data_dir.path(),
                settings.history.keep,
                clock.clone(),
            )),
            sinks: sinks_of(&settings.alerts, &common),
            history: history.clone(),
        },
        sync,
        alerting: settings.alerts.policy.clone(),
        paused: estop_stands(&estop),
        maintenance: open.clone(),
        log: log.clone(),
    });

    let pauses = actix_rt::spawn(
        Pauses {
            files: settings.pause_files,
            estop,
            watch: settings.files,
            supervisor: universe.supervisor.clone(),
            log: log.clone(),
        }
        .run(),
    );

    let pulse = Pulse {
        supervisor: universe.supervisor.clone(),
        clock: clock.clone(),
        log: log.clone(),
    };
    let manager = Manager::from_env(&|name| std::env::var(name).ok());
    let calendar = actix_rt::spawn(maintenance::keep(
        windows,
        open,
        universe.supervisor.clone(),
        clock.clone(),
        log.clone(),
    ));
    let mut watchers = vec![calendar];
    if let Some(manager) = manager.clone() {
        watchers.push(actix_rt::spawn(pulse.clone().notify(manager)));
    }
    if let Some(heartbeat) = settings.alerts.heartbeat {
        watchers.push(actix_rt::spawn(pulse.beat(heartbeat, calls)));
    }

    let token = match own.token {
        Some(token) => token,
        None => Token::load_or_create(data_dir.path())?,
    };
    let key = data_dir.key().clone();
    let servers = http::serve(http::Options {
        data_dir: data_dir.path().to_owned(),
        listen: own.listen,
        allowed_hosts: own.allowed_hosts,
        public_status: own.public_status,
        allow_registration: own.allow_registration,
        host: own.name,
        token,
        child_token: Arc::new(move |name| child_token(&key, name)),
        ping_keys: settings.ping_keys,
        default_interval: settings.default_interval,
        directory: universe.directory.clone(),
        supervisor: universe.supervisor.clone(),
        alerts: universe.alerts.clone(),
        feed: Arc::clone(&universe.feed),
        sync: universe.sync.clone(),
        history: history.clone(),
        clock,
        log: log.clone(),
        patience: Patience::default(),
    })
    .map_err(StartError::Socket)?;
    if let Some((url, invitation)) = servers.dashboard() {
        info!(log, "the dashboard is open"; "url" => url, "sign_in" => "supervisor dashboard");
        // A log is kept, and read by others: what signs in is for whoever sits here.
        if io::stderr().is_terminal() {
            eprintln!("dashboard, signed in (once, within ten minutes): {invitation}");
        }
    }

    let small = actix_rt::spawn(footprint::stay_small());
    let why = signals.end(log).await;
    small.abort();
    // Nothing is paused or resumed while all is being stopped.
    pauses.abort();
    for watcher in watchers {
        watcher.abort();
    }
    if let Some(manager) = manager {
        manager.say("STOPPING=1");
    }
    let leave = own.on_exit == OnExit::Leave;
    info!(log, "supervisor stops"; "why" => why, "services" => if leave { "left" } else { "stopped" });
    let code = stop(&universe, servers, leave, own.shutdown_timeout, log).await;
    history.finish();
    info!(log, "supervisor has stopped");
    Ok(code)
}

/// The sinks of the configuration, and the log.
fn sinks_of(
    settings: &AlertSettings,
    common: &sinks::Common,
) -> Vec<(SinkName, Rc<dyn AlertSink>)> {
    let log = SinkSpec {
        name: AlertPolicy::LOG.to_owned(),
        kind: SinkKind::Log,
        timeout: Duration::from_secs(1),
        allow_link_local: false,
    };
    let all = settings.sinks.iter().chain([&log]);
    all.map(|spec| (spec.name.as_str().into(), sinks::make(spec, common)))
        .collect()
}

/// Ends what still runs of services that were taken out of the configuration while we did not
/// run. Beside everything else: it may take their stop timeouts.
fn end_strays(processes: Rc<ShimProcesses>, services: &[ServiceSpec], log: Logger) {
    let known: HashSet<_> = services.iter().map(|spec| spec.name.clone()).collect();
    let unclear = {
        let log = log.clone();
        Rc::new(
            move |why: &str| warn!(log, "looking for services that the configuration does not know"; "why" => why),
        )
    };
    actix_rt::spawn(async move {
        for name in processes.end_strays(&known, unclear).await {
            warn!(log, "a service that the configuration does not know was running: stopped"; "service" => %name);
        }
    });
}

/// Stops the services (or leaves them), then the API, whose clients saw it happen.
async fn stop(
    universe: &Universe,
    servers: Servers,
    leave: bool,
    patience: Duration,
    log: &Logger,
) -> ExitCode {
    let all = universe.supervisor.shutdown(leave);
    let code = match tokio::time::timeout(patience, all).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => {
            // Their shims go on with the stop without us.
            error!(log, "services did not stop in time"; "shutdown_timeout" => ?patience);
            ExitCode::FAILURE
        }
    };
    // After the services, whose last words may be in mirrored files.
    if let Some(sync) = &universe.sync {
        mirror::stop(sync, log).await;
    }
    servers.stop().await;
    code
}
