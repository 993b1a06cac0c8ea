//! Why an alert tells whom it tells, or nobody, in words: `supervisor alerts why ID`.

use std::time::Duration;

use super::{Alert, AlertId, Desk, Phase, Policy, Refused};
use crate::time::Time;

impl Desk {
    /// The rules that decide about an open alert now, a sentence each, the strongest first.
    ///
    /// # Errors
    /// If no alert of that number is open.
    pub fn why(&self, id: AlertId, now: Time) -> Result<Vec<String>, Refused> {
        let open = self.open.get(&id).ok_or(Refused::NoAlert(id))?;
        Ok(open.alert.why(&self.policy, now))
    }
}

impl Alert {
    fn why(&self, policy: &Policy, now: Time) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(well) = self.clock.well {
            let wait = policy.well_for(self.flaps);
            let left = words((well + wait).since(now));
            lines.push(if well > now {
                format!("it was a moment; over in {left} unless it happens again")
            } else if self.flaps > 0 {
                format!(
                    "well again, but it flaps: {}; resolved once it has been well for {}, in {left}",
                    match self.flaps {
                        1 => "another incident shortly before".to_owned(),
                        more => format!("{more} incidents shortly before"),
                    },
                    words(wait)
                )
            } else {
                format!(
                    "well again; resolved once it has been well for group_wait = {}, in {left}",
                    words(wait)
                )
            });
            return lines;
        }
        if let Some(hold) = &self.hold {
            lines.push(format!("nobody is told now: {hold}"));
        }
        match self.phase {
            Phase::Pending if self.hold.is_none() => lines.push(format!(
                "waits for group_wait = {}, {} more",
                words(policy.group_wait),
                words((self.clock.pending + policy.group_wait).since(now))
            )),
            Phase::Acknowledged => {
                if let Some(taken) = &self.acknowledged {
                    lines.push(format!(
                        "taken by {} at {}, when it was {}: no repeats and no further steps \
                         unless it gets worse",
                        taken.who,
                        taken.at.rfc3339(),
                        taken.level.as_str()
                    ));
                }
            }
            Phase::Pending | Phase::Firing | Phase::Resolved => {}
        }
        for (n, step) in policy.steps.iter().enumerate() {
            let to = policy.sinks_of(step, &self.subject).join(", ");
            let rule = format!(
                "step {} (from {}, after {}, to {to})",
                n + 1,
                step.level.as_str(),
                words(step.after)
            );
            let due = self.step_due(n, step.level, step.after);
            lines.push(if self.clock.steps & (1 << n) != 0 {
                format!("{rule}: taken")
            } else if self.level < step.level {
                format!("{rule}: not reached, it is {}", self.level.as_str())
            } else if due == Time::NEVER {
                format!("{rule}: waits")
            } else {
                format!("{rule}: in {}", words(due.since(now)))
            });
        }
        let repeat = self.repeat_due(policy);
        if repeat != Time::NEVER && self.hold.is_none() {
            lines.push(format!(
                "repeated every {}, next in {}",
                words(policy.repeat_of(&self.subject)),
                words(repeat.since(now))
            ));
        }
        lines
    }
}

fn words(duration: Duration) -> String {
    let whole = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    humantime::format_duration(whole).to_string()
}
