//! What a service is, as its owner wrote it: the part that decisions need is a
//! [`Policy`], the rest is for those who carry them out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use supervisor_core::ServiceName;
use supervisor_core::policy::Policy;

use crate::source::Source;

/// One watched service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// Whether it is started (or, run by others, judged) with the supervisor; a disabled one
    /// is shown as stopped until an operator starts it.
    pub enabled: bool,
    /// What decisions depend on. Equal ones are shared: a million services cost one.
    pub policy: Arc<Policy>,
    /// Its process, where we run it.
    pub process: Option<Arc<ProcessSpec>>,
    /// How to nudge it.
    pub nudge: Option<Nudge>,
    /// How to restart it where we do not run it.
    pub restart_command: Option<Vec<String>>,
    /// What must be ready before it starts.
    pub depends_on: Vec<ServiceName>,
    /// Labels of the owner's.
    pub tags: Vec<String>,
    /// How signs of life come in, besides the API.
    pub sources: Vec<Arc<dyn Source>>,
}

/// How to run a process.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessSpec {
    /// Program and arguments, at least one.
    pub command: Vec<String>,
    /// Its working directory, absolute.
    pub cwd: PathBuf,
    /// What the owner sets in its environment (`env_file`, then `env`), besides the usual.
    pub env: Vec<(String, String)>,
    /// Which variables of our own environment it gets, besides the usual.
    pub pass_env: Vec<String>,
    /// The user to become, by name or number.
    pub user: Option<String>,
    /// The group to become, by name or number; default: the user's.
    pub group: Option<String>,
    /// Its file mode mask.
    pub umask: Option<u32>,
    /// Its niceness, −20 to 19.
    pub nice: Option<i32>,
    /// Its resource limits by name (`nofile`, `core`, …), soft and hard alike.
    pub limits: Vec<(String, u64)>,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// How long that may take before SIGKILL.
    pub stop_timeout: Duration,
    /// What its `WATCHDOG_USEC` says; none for one that pulses by living.
    pub watchdog: Option<Duration>,
    /// At which size its log file is rotated, in bytes.
    pub log_max_size: u64,
    /// How many rotated log files are kept.
    pub log_keep: u32,
}

/// A nudge: what may wake a service that hangs, short of a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nudge {
    /// A signal to its main process.
    Signal(i32),
    /// A command.
    Exec(Vec<String>),
    /// An HTTP call: method and URL.
    Http(String, String),
    /// Text typed into a tmux session, then Enter.
    Tmux(String, String),
}
