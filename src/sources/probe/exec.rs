//! A probe that runs a command: well ended is well.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use supervisor_actors::ports::{Check, Look};
use supervisor_actors::spec::{ProcessSpec, ServiceSpec};
use supervisor_core::ServiceName;
use tokio::time::{sleep, timeout};

use crate::adapters::processes::command::{Commands, Remains, Trouble};

/// What one costs more than a connection: two processes.
const WEIGHT: u32 = 4;

/// How often it is looked whether the run before is over.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exec {
    pub(super) command: Vec<String>,
    /// Where it runs for a service that has no directory of its own.
    pub(super) directory: PathBuf,
}

impl Exec {
    pub(super) fn check(
        &self,
        service: &ServiceSpec,
        commands: Commands,
        timeout: Duration,
    ) -> ExecCheck {
        ExecCheck {
            service: service.name.clone(),
            process: Arc::new(self.process(service.process.as_deref())),
            commands,
            timeout,
            remains: Remains::default(),
        }
    }

    /// How it runs: as the service does, apart from what.
    pub(super) fn process(&self, service: Option<&ProcessSpec>) -> ProcessSpec {
        let command = self.command.clone();
        match service {
            Some(process) => ProcessSpec {
                command,
                watchdog: None,
                ..process.clone()
            },
            None => ProcessSpec {
                command,
                cwd: self.directory.clone(),
                env: Vec::new(),
                pass_env: Vec::new(),
                user: None,
                group: None,
                umask: None,
                nice: None,
                limits: Vec::new(),
                stop_signal: libc::SIGKILL,
                stop_timeout: Duration::ZERO,
                watchdog: None,
                log_max_size: 0,
                log_keep: 0,
            },
        }
    }
}

/// The same at work.
pub(super) struct ExecCheck {
    service: ServiceName,
    process: Arc<ProcessSpec>,
    commands: Commands,
    timeout: Duration,
    /// Of the run before.
    remains: Remains,
}

impl Check for ExecCheck {
    fn look(&self) -> LocalBoxFuture<'static, Look> {
        let (service, process) = (self.service.clone(), Arc::clone(&self.process));
        let (commands, patience) = (self.commands.clone(), self.timeout);
        let remains = self.remains.clone();
        Box::pin(async move {
            // A command that hangs in the kernel does not even die of SIGKILL, and runs must
            // not pile up beside it.
            let over = async {
                while remains.are_left() {
                    sleep(LOOK_AGAIN).await;
                }
            };
            if timeout(patience, over).await.is_err() {
                let program = process.command.first().map_or("", String::as_str);
                return Look::Failed(format!(
                    "{program} of the probe before does not die even of SIGKILL"
                ));
            }
            match commands.run(&service, &process, patience, &remains).await {
                Ok(()) => Look::Passed,
                Err(Trouble::Failed(reason)) => Look::Failed(reason),
                Err(Trouble::NoRoom(reason)) => Look::Unable(reason),
            }
        })
    }

    fn weight(&self) -> u32 {
        WEIGHT
    }
}
