//! Who is told at which level, after how long, how often: validated, immutable.

use std::collections::HashMap;
use std::time::Duration;

use super::{SinkName, Subject};
use crate::level::Level;
use crate::name::ServiceName;

/// What `[alerts]` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The steps of the escalation, in the order of the configuration; at most
    /// [`Policy::MOST_STEPS`].
    pub steps: Vec<Step>,
    /// How often a critical alert that nobody has taken is told again.
    pub repeat: Duration,
    /// How long an alert waits for others, and for being gone by itself, before it fires; and
    /// how long it must be well before it is resolved.
    pub group_wait: Duration,
    /// Whether resolutions are told.
    pub resolved: bool,
    /// What single services want otherwise.
    pub overrides: HashMap<ServiceName, Override>,
}

/// One `[[alerts.escalate]]`: from that level on, after that time, these are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// From which level on.
    pub level: Level,
    /// How long the alert must have fired at that level, with nobody taking it.
    pub after: Duration,
    /// Who is told.
    pub to: Vec<SinkName>,
}

/// `alerts = {…}` of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Override {
    /// Who is told instead, from degraded on.
    pub to: Option<Vec<SinkName>>,
    /// How often it is told again.
    pub repeat: Option<Duration>,
}

impl Policy {
    /// As many steps as a bit set holds.
    pub const MOST_STEPS: usize = 64;
    /// A service that has been well for so long does not flap.
    pub const CALM: Duration = Duration::from_secs(600);
    /// The sink that is always there: our own log.
    pub const LOG: &str = "log";

    /// Without any `[[alerts.escalate]]`: a warning goes to the log alone, degraded and
    /// critical to every sink, the log among them.
    #[must_use]
    pub fn default_steps(sinks: &[SinkName]) -> Vec<Step> {
        let log: SinkName = Self::LOG.into();
        let mut everybody = vec![log.clone()];
        everybody.extend(sinks.iter().filter(|sink| **sink != log).cloned());
        let step = |level, to: &[SinkName]| Step {
            level,
            after: Duration::ZERO,
            to: to.to_vec(),
        };
        vec![
            step(Level::Warning, &[log]),
            step(Level::Degraded, &everybody),
            step(Level::Critical, &everybody),
        ]
    }

    /// Whom a step tells of that subject.
    pub(super) fn sinks_of(&self, step: &Step, subject: &Subject) -> Vec<SinkName> {
        let instead = self
            .override_of(subject)
            .and_then(|one| one.to.as_ref())
            .filter(|_| step.level >= Level::Degraded);
        instead.unwrap_or(&step.to).clone()
    }

    /// How long an alert must be well before it is over: `group_wait`, and four times as long
    /// for each incident of its service that has just been, up to [`Policy::CALM`].
    #[must_use]
    pub fn well_for(&self, flaps: u32) -> Duration {
        let wait = self.group_wait.saturating_mul(4_u32.saturating_pow(flaps));
        wait.min(Self::CALM).max(self.group_wait)
    }

    /// How often that subject is told again.
    pub(super) fn repeat_of(&self, subject: &Subject) -> Duration {
        self.override_of(subject)
            .and_then(|one| one.repeat)
            .unwrap_or(self.repeat)
    }

    fn override_of(&self, subject: &Subject) -> Option<&Override> {
        match subject {
            Subject::Service(name) => self.overrides.get(name),
            Subject::Storm | Subject::Sink(_) | Subject::Own(_) => None,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            steps: Self::default_steps(&[]),
            repeat: Duration::from_secs(3_600),
            group_wait: Duration::from_secs(5),
            resolved: true,
            overrides: HashMap::new(),
        }
    }
}
