//! The rules, as one who knows nothing of the machine would check them.

use std::time::Duration;

use proptest::prelude::*;

use super::world::World;
use crate::event::{Change, EventKind};
use crate::level::{Level, Standing};
use crate::policy::Watch;
use crate::view::StateWord;

impl World {
    /// Trouble is lifted by clean pulses alone, or where nobody judges any more.
    pub(super) fn falls_only_for_a_reason(
        &self,
        before: Level,
        may_lower: bool,
    ) -> Result<(), TestCaseError> {
        let after = self.bench.level();
        if before <= Level::Healthy || after >= before || may_lower {
            return Ok(());
        }
        match after {
            Level::Unknown => prop_assert!(
                self.stopped || self.paused || self.bench.state() == "exited",
                "{before} → {after}"
            ),
            Level::Healthy | Level::Warning | Level::Degraded | Level::Critical => {
                prop_assert_eq!(self.policy().watch, Watch::Alive, "{} → {}", before, after);
            }
        }
        Ok(())
    }

    pub(super) fn told(&mut self, change: &Change) -> Result<(), TestCaseError> {
        prop_assert!(!change.reason.is_empty(), "{change:?}");
        let now = self.now();
        match change.kind {
            EventKind::Poked => {
                let last_step = change.reason.starts_with("nothing more");
                if !last_step {
                    self.poked(change)?;
                }
            }
            EventKind::Restarted => {
                let kind = change.to.unwrap_or("probing");
                if !["operator", "dependency", "config", "probing"].contains(&kind) {
                    prop_assert!(!self.paused, "restarted while paused");
                    self.counted.push_back(now);
                    let window = self.policy().intensity.window();
                    let count = self.counted.iter().filter(|&&at| at + window > now).count();
                    prop_assert!(
                        count <= self.policy().intensity.max() as usize,
                        "{count} restarts in a window"
                    );
                }
            }
            EventKind::Level => {
                prop_assert_eq!(change.from, Some(self.level.as_str()));
                prop_assert_ne!(change.from, change.to);
                prop_assert_eq!(change.to, Some(change.level.as_str()));
                self.rose_in_time(change)?;
            }
            EventKind::Cleared => self.counted.clear(),
            EventKind::Resumed => {
                self.paused = false;
                let (idle, busy) = (self.idle, self.busy_until);
                self.new_chance();
                (self.idle, self.busy_until) = (idle, busy);
            }
            EventKind::Started
            | EventKind::Ready
            | EventKind::Exited
            | EventKind::Nudged
            | EventKind::Quarantined
            | EventKind::Paused
            | EventKind::Error
            | EventKind::Adopted
            | EventKind::Config
            | EventKind::Sync
            | EventKind::Alert
            | EventKind::Supervisor => {}
        }
        if change.kind == EventKind::Level {
            self.level = change.level;
        }
        Ok(())
    }

    /// Nobody is late before the deadline, nor before one grace has passed since we came back.
    fn rose_in_time(&self, change: &Change) -> Result<(), TestCaseError> {
        // From unknown it may also come back from a pause to what it was between two lives.
        let late = self.level > Level::Unknown
            && change.level > self.level
            && change.reason.starts_with("no pulse for");
        let thresholds = &self.policy().thresholds;
        let at_least = match change.level {
            Level::Unknown | Level::Healthy => return Ok(()),
            Level::Warning => thresholds.warning,
            Level::Degraded => thresholds.degraded.unwrap_or(thresholds.critical),
            Level::Critical => thresholds.critical,
        };
        let silent = self.silent();
        prop_assert!(
            !late || silent >= at_least + self.excuse(),
            "{change:?} after {silent:?}"
        );
        Ok(())
    }

    /// How long it has been silent without having said so.
    pub(super) fn silent(&self) -> Duration {
        self.now().since(self.base.max(self.busy_until))
    }

    /// What lateness is ours for now.
    fn excuse(&self) -> Duration {
        if self.now() < self.bench.now.amnesty + self.policy().grace {
            self.policy().grace
        } else {
            Duration::ZERO
        }
    }

    /// Never a poke before the deadline, nor of one that may not be poked.
    pub(super) fn poked(&mut self, change: &Change) -> Result<(), TestCaseError> {
        prop_assert!(!self.paused && !self.missing && !self.idle, "{change:?}");
        prop_assert!(self.busy_until <= self.now(), "busy: {change:?}");
        self.pokes += 1;
        self.nudged = false;
        self.unready = change.to == Some("unready");
        prop_assert_eq!(self.pokes, 1, "poked twice for one silence");
        let (silent, excuse) = (self.silent(), self.excuse());
        if self.stuck {
            return Ok(());
        }
        if change.reason.contains("has stood at") {
            prop_assert_eq!(change.to, Some("stale"));
            prop_assert!(self.policy().poke_on.stale);
            let timeout = self.policy().progress_timeout;
            let still = self.still();
            let late = timeout
                .zip(still)
                .is_some_and(|(t, still)| still >= t + excuse);
            prop_assert!(late, "poked after {still:?} of {timeout:?}");
            return Ok(());
        }
        match change.to {
            Some("stale") if self.heard && !change.reason.contains("start") => {
                prop_assert!(self.policy().poke_on.stale && !self.policy().on_demand);
                prop_assert!(
                    silent >= self.policy().thresholds.critical + excuse,
                    "poked after {silent:?}"
                );
            }
            Some("stale" | "unready") => {
                prop_assert!(self.policy().poke_on.stale);
            }
            Some("probe") => {
                prop_assert!(self.policy().poke_on.probe || self.policy().poke_on.errors);
            }
            other => prop_assert!(false, "poked for {other:?}"),
        }
        Ok(())
    }

    /// What holds after every event.
    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        let service = self.bench.service();
        let now = &self.bench.now;
        let facts = service.facts(now);
        let level = service.level();
        prop_assert_eq!(
            level,
            facts.level(&service.owned_policy().thresholds),
            "{:?}",
            facts
        );
        prop_assert_eq!(level, self.level, "told of every change");
        let reason = self.bench.reason();
        match level {
            Level::Healthy => {
                let leave = ["idle: ", "busy for "]
                    .iter()
                    .any(|word| reason.starts_with(word));
                prop_assert!(leave || reason.is_empty(), "healthy, and yet: {reason}");
            }
            Level::Unknown | Level::Warning | Level::Degraded | Level::Critical => {
                prop_assert!(!reason.is_empty(), "{level:?} without a reason");
            }
        }
        prop_assert!(
            service.deadline(now.amnesty) > now.at.time,
            "a deadline that has passed and led nowhere"
        );
        prop_assert_eq!(self.bench.view().total_pulses, self.pulses);
        if self.stopped {
            prop_assert_eq!(level, Level::Unknown);
            let word = service.state();
            prop_assert!(
                matches!(word, StateWord::Stopped | StateWord::Stopping),
                "{word:?} after a stop"
            );
        }
        self.never_missed(facts.standing)?;
        self.never_missed_standing_still(facts.standing)
    }

    /// Nor one whose number stands still.
    fn never_missed_standing_still(&self, standing: Standing) -> Result<(), TestCaseError> {
        let policy = self.policy();
        let Some((timeout, still)) = policy.progress_timeout.zip(self.still()) else {
            prop_assert_ne!(standing, Standing::Still);
            return Ok(());
        };
        let up = matches!(standing, Standing::Up | Standing::Still | Standing::Silent);
        let watched = !self.stopped && !self.paused && self.lives() && self.heard && up;
        if !watched || still < timeout + policy.grace {
            return Ok(());
        }
        prop_assert_eq!(standing, Standing::Still);
        prop_assert_eq!(self.bench.service().level(), Level::Critical);
        if policy.poke_on.stale && !self.missing {
            prop_assert!(self.pokes > 0, "stands still for {still:?} and not poked");
        }
        Ok(())
    }

    /// Never a missed poke after the deadline and its grace.
    pub(super) fn never_missed(&self, standing: Standing) -> Result<(), TestCaseError> {
        let policy = self.policy();
        let watched = !self.stopped
            && !self.paused
            && self.lives()
            && self.heard
            && !self.idle
            && !policy.on_demand
            && policy.watch != Watch::Alive
            && standing == Standing::Up;
        let silent = self.silent();
        if !watched || silent < policy.thresholds.critical + policy.grace {
            return Ok(());
        }
        prop_assert_eq!(self.bench.service().level(), Level::Critical);
        if policy.poke_on.stale && !self.missing {
            prop_assert!(self.pokes > 0, "silent for {silent:?} and not poked");
        }
        Ok(())
    }
}
