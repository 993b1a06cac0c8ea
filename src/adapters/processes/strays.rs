//! Processes of services that the configuration no longer knows: it was changed while no
//! supervisor ran. Nobody would ever adopt them, so they are ended.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use supervisor_actors::ports::{Adoption, Process, ProcessEvent, ProcessSink, Processes as _};
use supervisor_actors::spec::ProcessSpec;
use supervisor_core::ServiceName;

use super::ShimProcesses;
use super::doubt::Doubt;

impl ShimProcesses {
    /// Ends whatever runs of services other than these, and gives their names. `unclear` hears
    /// why it cannot be seen what runs, as long as that is so.
    pub(crate) async fn end_strays(
        &self,
        known: &HashSet<ServiceName>,
        unclear: Rc<dyn Fn(&str)>,
    ) -> Vec<ServiceName> {
        let sink: ProcessSink = {
            let unclear = Rc::clone(&unclear);
            Rc::new(move |event| tell_unclear(&event, &*unclear))
        };
        let mut doubt = Doubt::new(sink);
        let mut strays = HashSet::new();
        for shims in self.places() {
            strays.extend(doubt.ask(|| names(&shims)).await);
        }
        drop(doubt);
        strays.retain(|name| !known.contains(name));
        let mut ended = Vec::new();
        for name in strays {
            if self.end_stray(&name, Rc::clone(&unclear)).await {
                ended.push(name.clone());
            }
        }
        ended
    }

    /// Whether something of it ran.
    async fn end_stray(&self, name: &ServiceName, unclear: Rc<dyn Fn(&str)>) -> bool {
        let (sender, mut events) = unbounded_channel();
        let sink: ProcessSink = Rc::new(move |event| {
            tell_unclear(&event, &*unclear);
            drop(sender.send(event));
        });
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
                    | ProcessEvent::Unclear(_)
                    | ProcessEvent::Output(_) => {}
                }
            }
        }
        self.forget(name);
        ran
    }
}

fn tell_unclear(event: &ProcessEvent, unclear: &dyn Fn(&str)) {
    if let ProcessEvent::Unclear(Some(why)) = event {
        unclear(why);
    }
}

fn names(shims: &Path) -> io::Result<HashSet<ServiceName>> {
    let entries = match fs::read_dir(shims) {
        Ok(entries) => entries,
        // A place that only might have been used.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(error),
    };
    let mut names = HashSet::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|name| ServiceName::new(name).ok()));
    }
    Ok(names)
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
