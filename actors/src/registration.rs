//! Services that name themselves at run time: others run them, and they promise to pulse.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use supervisor_core::ServiceName;

use crate::ports::StoreError;
use crate::spec::ServiceSpec;

/// How many services may be registered: whoever may register must not fill the memory.
pub const MOST_REGISTERED: usize = 1_000;

/// What a service says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// Its name.
    pub name: ServiceName,
    /// How often it promises to pulse (at least 100 ms).
    pub interval: Duration,
    /// Its interval is to be learnt: the other is the usual one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto: bool,
    /// Whether it counts in full for the overall status.
    pub critical: bool,
    /// It pulses per request: silence is no lateness.
    #[serde(default)]
    pub on_demand: bool,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Makes a service of a registration, judged as the owner wants services to be judged; or
/// says in a sentence why it cannot be judged so.
pub type Admit = Box<dyn Fn(&Registration) -> Result<ServiceSpec, String>>;

/// What came of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// What it changed.
    pub change: Registering,
    /// Whether it survives the supervisor's death. It is watched in any case.
    pub recorded: Result<(), StoreError>,
}

/// What a registration changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registering {
    /// Nobody had that name.
    New,
    /// It says something else than before.
    Changed,
    /// It says what it said before.
    Same,
}

impl Registration {
    /// The plainest one: critical, not on demand, without tags.
    #[must_use]
    pub fn new(name: ServiceName, interval: Duration) -> Self {
        Self {
            name,
            interval,
            auto: false,
            critical: true,
            on_demand: false,
            tags: Vec::new(),
        }
    }
}
