//! A service whose shim is gone: its processes have no parent that would find them, so they
//! are found by their cgroup, their session, their ancestry and the token in their
//! environment, which nobody else has. Never by a number alone.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use supervisor_actors::ports::{ProcessEvent, ProcessSink};
use supervisor_actors::spec::ProcessSpec;

use super::census::{Census, Registry};
use super::cgroup;
use super::doubt::Doubt;
use super::link::Shared;
use super::proc_fs::{self, Identity, Status};
use super::records::StartRecord;

/// How to find what a lost shim left.
#[derive(Debug, Clone)]
pub(super) struct Orphans {
    /// The service's main process, where it is known.
    pub(super) main: Option<Identity>,
    /// Its cgroup, where it has one.
    pub(super) cgroup: Option<PathBuf>,
    /// `SUPERVISOR_TOKEN=…`, as in its environment.
    pub(super) token: String,
    /// The present boot: start times of another one mean nothing.
    pub(super) boot_id: String,
    /// Who lives at all.
    pub(super) registry: Registry,
}

impl Orphans {
    /// Adds what the start record knows.
    pub(super) fn learn(&mut self, record: &StartRecord) {
        self.main.get_or_insert(record.main());
        self.cgroup = record.cgroup();
    }

    /// Who of the service lives.
    ///
    /// # Errors
    /// Where that cannot be seen.
    pub(super) async fn find(&self) -> io::Result<Vec<Status>> {
        match &*self.registry.ask().await {
            Ok(census) => self.living(census),
            Err(error) => Err(io::Error::new(error.kind(), format!("/proc: {error}"))),
        }
    }

    fn living(&self, census: &Census) -> io::Result<Vec<Status>> {
        let mut all = census.all.clone();
        let mut in_cgroup = HashSet::new();
        for pid in self
            .cgroup
            .as_deref()
            .map_or(Ok(Vec::new()), cgroup::members)?
        {
            in_cgroup.insert(pid);
            // Begun since the look, by one that has ended since.
            if !all.iter().any(|process| process.id.pid == pid) {
                all.extend(proc_fs::look(pid)?);
            }
        }
        // A session's number belongs to ours as long as its leader is the one recorded.
        let session = self
            .main
            .filter(|main| all.iter().any(|process| process.id == *main))
            .map(|main| main.pid);
        let ourselves = i32::try_from(std::process::id()).unwrap_or_default();
        let mut ours: HashSet<i32> = all
            .iter()
            .filter(|process| {
                Some(process.id) == self.main
                    || in_cgroup.contains(&process.id.pid)
                    || Some(process.session) == session
                    || census.has_token(process.id.pid, &self.token)
            })
            .map(|process| process.id.pid)
            .filter(|pid| *pid != ourselves)
            .collect();
        loop {
            let before = ours.len();
            ours.extend(
                all.iter()
                    .filter(|process| ours.contains(&process.parent))
                    .map(|process| process.id.pid)
                    .collect::<Vec<_>>(),
            );
            if ours.len() == before {
                break;
            }
        }
        ours.remove(&ourselves);
        all.retain(|process| !process.dead && ours.contains(&process.id.pid));
        Ok(all)
    }
}

/// Ends the tree: the stop signal, SIGCONT, and SIGKILL after the stop timeout. `false` where
/// nobody holds the process any more; the next holder begins anew.
pub(super) async fn end_tree(
    orphans: &Orphans,
    process: &ProcessSpec,
    shared: &Shared,
    sink: &ProcessSink,
) -> bool {
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    const LONGEST_PAUSE: Duration = Duration::from_millis(100);
    const REPORT: Duration = Duration::from_secs(1);
    let begin = tokio::time::Instant::now();
    let mut asked = HashSet::new();
    let mut killing_since = None;
    let mut reported = 0;
    let mut pause = FIRST_PAUSE;
    let mut doubt = Doubt::new(Rc::clone(sink));
    loop {
        let living = match orphans.find().await {
            Ok(living) if living.is_empty() => break,
            Ok(living) => Some(living),
            Err(error) => {
                doubt.of(&error).await;
                None
            }
        };
        if shared.is_abandoned() {
            return false;
        }
        let Some(living) = living else {
            continue;
        };
        if begin.elapsed() >= process.stop_timeout || shared.stops() >= 2 {
            let since = *killing_since.get_or_insert_with(tokio::time::Instant::now);
            if let Some(cgroup) = &orphans.cgroup {
                cgroup::kill(cgroup);
            }
            for member in &living {
                proc_fs::signal(member.id, libc::SIGKILL);
            }
            let seconds = since.elapsed().as_secs() / REPORT.as_secs();
            if seconds > reported {
                reported = seconds;
                sink(ProcessEvent::Blocked(describe(&living)));
            }
        } else {
            for member in &living {
                if asked.contains(&member.id) {
                    continue;
                }
                let is_main = Some(member.id) == orphans.main;
                let signal = if is_main {
                    process.stop_signal
                } else {
                    libc::SIGTERM
                };
                // One that cannot be reached, for want of a descriptor, is asked the next time.
                if proc_fs::signal(member.id, signal) {
                    asked.insert(member.id);
                }
                proc_fs::signal(member.id, libc::SIGCONT);
            }
        }
        // Woken by a second stop; a permit that is lost costs one pause.
        tokio::select! {
            biased;
            () = shared.woken() => {}
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    if let Some(cgroup) = &orphans.cgroup {
        cgroup::remove(cgroup);
        if let Some(root) = cgroup.parent() {
            cgroup::remove(root);
        }
    }
    true
}

fn describe(living: &[Status]) -> String {
    let each = living
        .iter()
        .map(|process| format!("{} ({})", process.id.pid, process.name));
    each.collect::<Vec<_>>().join(", ")
}
