//! Pauses by files: a service's `pause_file`, and `ESTOP` in the data directory for all.
//!
//! What the files say holds while they say it: a service that should be paused is, one that
//! only a file had paused is watched again when the file is gone or says so. A pause by an
//! operator is left alone. Which pauses are ours is told by their reason, so that those of a
//! supervisor before us are found again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::select_all;
use slog::{Logger, info, warn};

use supervisor_actors::handle::SupervisorHandle;
use supervisor_actors::messages::Verb;
use supervisor_core::ServiceName;
use supervisor_core::deacon::{Estop, PauseFile};

use crate::adapters::file_watch::{FileWatch, Watched};
use crate::adapters::sight::Sight;
use crate::adapters::small_file::look;

/// How often it is looked whether all are paused that should be: some may be new.
const SEE_TO_IT: Duration = Duration::from_secs(5);
/// A file that cannot be read is looked at again after so long: its writer may be at it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often.
const LOOKS: u32 = 20;

/// How the reason of a pause by an emergency stop begins …
const BY_ESTOP: &str = "ESTOP";
/// … and one by a service's own file.
const BY_FILE: &str = "pause file: ";

/// What pauses are made of.
pub(crate) struct Pauses {
    /// The services with a pause file.
    pub(crate) files: Vec<(ServiceName, PathBuf)>,
    /// The file that stops all.
    pub(crate) estop: PathBuf,
    /// Who watches files.
    pub(crate) watch: FileWatch,
    /// Whom to tell.
    pub(crate) supervisor: SupervisorHandle,
    /// Where it is said.
    pub(crate) log: Logger,
}

/// What the files say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Wanted {
    /// Why all are paused.
    all: Option<String>,
    /// Why some are.
    some: HashMap<ServiceName, String>,
}

/// What is to be done about one service.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Pause(String),
    Resume,
}

/// Why all are paused when the program begins, if they are. Read at once, so that nothing is
/// started before it is known.
pub(crate) fn estop_stands(estop: &Path) -> Option<String> {
    match look(estop) {
        Ok(found) => found.map(|found| Estop::parse(&found.bytes).why()),
        Err(_) => Some(Estop::default().why()),
    }
}

impl Pauses {
    /// Sees to it until it is dropped.
    pub(crate) async fn run(self) {
        let mut estop = Sight::of(&self.estop);
        let files: Vec<(ServiceName, Watched)> = self
            .files
            .iter()
            .map(|(name, path)| (name.clone(), self.watch.watch(path, SEE_TO_IT)))
            .collect();
        let mut wanted = Wanted {
            all: self.estopped().await,
            some: HashMap::new(),
        };
        for (name, file) in &files {
            self.read_into(&mut wanted, name, file).await;
        }
        // What an earlier supervisor paused is looked through once in any case.
        let mut unseen = true;
        loop {
            let any = wanted != Wanted::default();
            if any || unseen {
                unseen = !self.see_to(&wanted).await || any;
            }
            let next = {
                let all = pin!(estop.changed());
                let some = files.iter().map(|(_, file)| Box::pin(file.changed()));
                let some = async {
                    if files.is_empty() {
                        std::future::pending().await
                    } else {
                        let ((), index, _) = select_all(some).await;
                        index
                    }
                };
                tokio::select! {
                    biased;
                    () = all => None,
                    index = some => Some(index),
                    () = tokio::time::sleep(SEE_TO_IT), if any || unseen => continue,
                }
            };
            match next.and_then(|index| files.get(index)) {
                None => wanted.all = self.estopped().await,
                Some((name, file)) => self.read_into(&mut wanted, name, file).await,
            }
            unseen = true;
        }
    }

    /// Why all are paused, if they are. A file that cannot be read stops all the same.
    async fn estopped(&self) -> Option<String> {
        let path = self.estop.clone();
        let looked = actix_rt::task::spawn_blocking(move || estop_stands(&path)).await;
        looked.unwrap_or_else(|_panicked| Some(Estop::default().why()))
    }

    /// What a pause file says; one that says nothing that we understand changes nothing.
    async fn read_into(&self, wanted: &mut Wanted, name: &ServiceName, file: &Watched) {
        for look_number in 1..=LOOKS {
            let path = file.path().to_owned();
            let looked = actix_rt::task::spawn_blocking(move || look(&path)).await;
            let problem = match looked {
                Ok(Ok(None)) => {
                    wanted.some.remove(name);
                    return;
                }
                Ok(Ok(Some(found))) => match PauseFile::parse(&found.bytes) {
                    Ok(said) if said.paused => {
                        let why = format!("{BY_FILE}{}", said.why());
                        wanted.some.insert(name.clone(), why);
                        return;
                    }
                    Ok(_) => {
                        wanted.some.remove(name);
                        return;
                    }
                    Err(problem) => problem.to_string(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(panicked) => panicked.to_string(),
            };
            if look_number == LOOKS {
                warn!(self.log, "pause file cannot be understood, nothing changes";
                    "service" => %name, "path" => %file.path().display(), "why" => problem);
            } else {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Pauses and resumes what differs from what is wanted; `false` if nobody could be asked.
    async fn see_to(&self, wanted: &Wanted) -> bool {
        let Ok(overview) = self.supervisor.overview().await else {
            return false;
        };
        let mut well = true;
        for service in overview.services {
            let name = service.name;
            if name.is_internal() {
                continue;
            }
            let verb = match step(wanted, &name, &service.reason) {
                Step::Nothing => continue,
                Step::Pause(why) => Verb::PauseFor(why),
                Step::Resume => Verb::Resume,
            };
            info!(self.log, "pause by file"; "service" => %name, "what" => ?verb);
            well &= matches!(self.supervisor.control(&name, verb).await, Ok(Ok(_)));
        }
        well
    }
}

/// What is to be done about a service whose level has that reason.
fn step(wanted: &Wanted, name: &ServiceName, reason: &str) -> Step {
    let pause = reason.strip_prefix("paused: ");
    let ours = pause.is_some_and(|why| why.starts_with(BY_ESTOP) || why.starts_with(BY_FILE));
    let why = wanted.all.as_ref().or_else(|| wanted.some.get(name));
    match (why, pause) {
        (Some(why), Some(pause)) if ours && pause != why => Step::Pause(why.clone()),
        (Some(why), None) if reason != "paused" => Step::Pause(why.clone()),
        (Some(_), _) => Step::Nothing,
        (None, _) if ours => Step::Resume,
        (None, _) => Step::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ServiceName {
        ServiceName::new("worker").expect("a name")
    }

    fn wanted(all: Option<&str>, own: Option<&str>) -> Wanted {
        Wanted {
            all: all.map(str::to_owned),
            some: own
                .map(|why| (name(), why.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn a_file_pauses_what_is_not_paused_and_frees_only_what_it_paused() {
        let nothing = wanted(None, None);
        let own = wanted(None, Some("pause file: lunch"));
        let pause = |why: &str| Step::Pause(why.to_owned());
        for (wanted, reason, expected) in [
            (&nothing, "", Step::Nothing),
            (&nothing, "paused: operator", Step::Nothing),
            (&nothing, "paused", Step::Nothing),
            (&nothing, "paused: pause file: lunch", Step::Resume),
            (&nothing, "paused: ESTOP: fire", Step::Resume),
            (&own, "", pause("pause file: lunch")),
            (&own, "no pulse for 3 s", pause("pause file: lunch")),
            (&own, "paused: pause file: lunch", Step::Nothing),
            (&own, "paused: pause file: tea", pause("pause file: lunch")),
            (&own, "paused: operator", Step::Nothing),
            (&own, "paused: ESTOP", pause("pause file: lunch")),
        ] {
            assert_eq!(step(wanted, &name(), reason), expected, "{reason}");
        }
        let all = wanted(Some("ESTOP: fire"), Some("pause file: lunch"));
        assert_eq!(
            step(&all, &name(), "paused: pause file: lunch"),
            pause("ESTOP: fire")
        );
        assert_eq!(step(&all, &name(), "paused: ESTOP: fire"), Step::Nothing);
    }
}
