//! What is said of a service's runs: see [`crate::run`].

use super::{Now, Service, words};
use crate::event::{Action, Generation, Note};
use crate::run::{Ended, Outcome, Run, RunEnd, RunSign};

impl Service {
    /// [`Event::Run`](crate::Event::Run). Runs belong to the service and to none of its lives:
    /// whoever tells of them is mostly no process of ours.
    pub(super) fn run_told(
        &mut self,
        generation: Generation,
        sign: RunSign,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        match sign {
            RunSign::Start { rid } => {
                let given_up = self.said().runs.start(rid, now.at);
                out.extend(given_up.map(Action::Record));
            }
            RunSign::Log { rid, output } => out.push(Action::Record(Box::new(Run {
                rid,
                outcome: Outcome::Log,
                exit_code: None,
                began: None,
                ended: now.at.wall,
                took: None,
                message: None,
                output: Some(output),
            }))),
            RunSign::End(end) => self.run_ended(generation, end, now, out),
        }
    }

    fn run_ended(
        &mut self,
        generation: Generation,
        mut end: RunEnd,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        let failed = end.failed;
        let note = Note {
            message: end.message.clone(),
            metrics: std::mem::take(&mut end.metrics),
            ..Note::default()
        };
        let run = match self.said().runs.end(end, now.at) {
            Ended::Run(run) => Some(run),
            Ended::Nothing => None,
            // Counted when it was told first.
            Ended::Again if failed => return,
            Ended::Again => None,
        };
        if failed {
            let reason = run.as_deref().map_or_else(String::new, words::run_failed);
            self.erred(generation, &reason, false, now, out);
        } else {
            let note = (note != Note::default()).then(|| Box::new(note));
            self.pulsed(generation, 1, note, now, out);
        }
        out.extend(run.map(Action::Record));
    }
}
