//! A service whose shim is gone: its processes have no parent that would find them, so they
//! are found by their cgroup, their session, their ancestry and the token in their
//! environment, which nobody else has. Never by a number alone.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use supervisor_actors::spec::ProcessSpec;

use super::cgroup;
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
}

impl Orphans {
    /// Adds what the start record knows.
    pub(super) fn learn(&mut self, record: &StartRecord) {
        self.main.get_or_insert(record.main());
        self.cgroup = record.cgroup();
    }

    /// Who of the service lives. Reads all of `/proc`.
    pub(super) fn living(&self) -> Vec<Status> {
        let all = proc_fs::all();
        let in_cgroup: HashSet<i32> = self
            .cgroup
            .as_deref()
            .map(cgroup::members)
            .unwrap_or_default()
            .into_iter()
            .collect();
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
                    || proc_fs::has_variable(process.id.pid, &self.token)
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
        all.into_iter()
            .filter(|process| !process.dead && ours.contains(&process.id.pid))
            .collect()
    }

    /// [`Self::living`], on a thread that may block.
    async fn find(&self) -> Vec<Status> {
        let orphans = self.clone();
        tokio::task::spawn_blocking(move || orphans.living())
            .await
            .unwrap_or_default()
    }
}

/// Ends the tree: the stop signal, SIGCONT, and SIGKILL after the stop timeout. `false` where
/// nobody holds the process any more; the next holder begins anew.
pub(super) async fn end_tree(
    orphans: &Orphans,
    process: &ProcessSpec,
    shared: &Shared,
    blocked: &dyn Fn(String),
) -> bool {
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    const LONGEST_PAUSE: Duration = Duration::from_millis(100);
    const REPORT: Duration = Duration::from_secs(1);
    let begin = tokio::time::Instant::now();
    let mut asked = HashSet::new();
    let mut killing_since = None;
    let mut reported = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        let living = orphans.find().await;
        if living.is_empty() {
            break;
        }
        if shared.is_abandoned() {
            return false;
        }
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
                blocked(describe(&living));
            }
        } else {
            for member in living.iter().filter(|member| asked.insert(member.id)) {
                let is_main = Some(member.id) == orphans.main;
                let signal = if is_main {
                    process.stop_signal
                } else {
                    libc::SIGTERM
                };
                proc_fs::signal(member.id, signal);
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
