//! Processes of services that the configuration no longer knows: it was changed while no
//! supervisor ran. Nobody would ever adopt them, so they are ended.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use supervisor_actors::ports::{Adoption, Process, ProcessEvent, ProcessSink, Processes as _};
use supervisor_actors::spec::ProcessSpec;
use supervisor_core::ServiceName;

use super::ShimProcesses;

impl ShimProcesses {
    /// Ends whatever runs of services other than these, and gives their names.
    pub(crate) async fn end_strays(&self, known: &HashSet<ServiceName>) -> Vec<ServiceName> {
        let strays: HashSet<_> = self
            .places()
            .iter()
            .flat_map(|shims| names(shims))
            .filter(|name| !known.contains(name))
            .collect();
        let mut ended = Vec::new();
        for name in strays {
            if self.end_stray(&name).await {
                ended.push(name.clone());
            }
        }
        ended
    }

    /// Whether something of it ran.
    async fn end_stray(&self, name: &ServiceName) -> bool {
        let (sender, mut events) = unbounded_channel();
        let sink: ProcessSink = Rc::new(move |event| drop(sender.send(event)));
        let found = self.adopt(name, &unknown(), None, sink).await;
        let process: Option<Box<dyn Process>> = match found {
            Some(
                Adoption::Living { process, .. }
                | Adoption::Remains { process, .. }
                | Adoption::ShimLost { process, .. },
            ) => Some(process),
            Some(Adoption::Ended { .. }) | None => None,
        };
        let ran = process.is_some();
        if let Some(process) = process {
            process.stop();
            while let Some(event) = events.recv().await {
                match event {
                    ProcessEvent::Gone
                    | ProcessEvent::StartFailed(_)
                    | ProcessEvent::Exited { left: false, .. } => break,
                    ProcessEvent::Started { .. }
                    | ProcessEvent::Exited { left: true, .. }
                    | ProcessEvent::Blocked(_)
                    | ProcessEvent::ShimLost
                    | ProcessEvent::Output(_) => {}
                }
            }
        }
        self.forget(name);
        ran
    }
}

fn names(shims: &Path) -> Vec<ServiceName> {
    let entries = fs::read_dir(shims).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| ServiceName::new(entry.file_name().to_str()?).ok())
        .collect()
}

/// How to stop what nobody describes any more. Its shim knows better; this is for one whose
/// shim is lost.
fn unknown() -> ProcessSpec {
    ProcessSpec {
        command: Vec::new(),
        cwd: "/".into(),
        env: Vec::new(),
        pass_env: Vec::new(),
        user: None,
        group: None,
        umask: None,
        nice: None,
        limits: Vec::new(),
        stop_signal: libc::SIGTERM,
        stop_timeout: Duration::from_secs(10),
        watchdog: None,
        log_max_size: 0,
        log_keep: 0,
    }
}
