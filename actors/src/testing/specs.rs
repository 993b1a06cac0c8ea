//! Services as tests write them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use supervisor_core::ServiceName;
use supervisor_core::backoff::{Backoff, Intensity};
use supervisor_core::level::{After, Profile, Thresholds};
use supervisor_core::policy::{IntervalSource, PokeOn, Policy, Ready, Restart, Watch};

use crate::registration::Registration;
use crate::spec::{ProcessSpec, ServiceSpec};

/// The usual policy with that interval, and a grace of a tenth of it, at least 100 ms.
///
/// # Panics
/// Never: the usual thresholds are valid.
#[must_use]
pub fn policy(watch: Watch, interval: Duration) -> Policy {
    let grace = (interval / 10).max(Duration::from_millis(100));
    let thresholds = Thresholds::new(interval, grace, After::default(), Profile::Usual)
        .expect("the usual thresholds");
    Policy {
        watch,
        interval,
        interval_source: IntervalSource::Configured,
        grace,
        grace_share: Some(0.1),
        start_grace: thresholds.critical.max(Duration::from_secs(30)),
        thresholds,
        recover_after: 1,
        alert_on_miss: true,
        critical: true,
        on_demand: false,
        max_busy: Duration::from_secs(30 * 60),
        progress_timeout: None,
        probed: false,
        restart: Restart::Always,
        backoff: Backoff::default(),
        intensity: Intensity::default(),
        quarantine_for: Duration::from_secs(30 * 60),
        poke_on: PokeOn {
            stale: true,
            probe: true,
            errors: false,
        },
        nudge: false,
        poke_restarts: true,
        nudge_wait: interval,
        ready: match watch {
            Watch::Alive => Ready::Running,
            Watch::Pulsing | Watch::External => Ready::Pulse,
        },
        stop_timeout: Duration::from_secs(10),
    }
}

/// A service that we run and that pulses.
#[must_use]
pub fn pulsing(name: &str, interval: Duration) -> ServiceSpec {
    spec(name, policy(Watch::Pulsing, interval))
}

/// A service that we run and that pulses by living.
#[must_use]
pub fn alive(name: &str) -> ServiceSpec {
    spec(name, policy(Watch::Alive, Duration::from_secs(30)))
}

/// A service that others run, or that lives in this process.
#[must_use]
pub fn external(name: &str, interval: Duration) -> ServiceSpec {
    let mut policy = policy(Watch::External, interval);
    policy.poke_restarts = false;
    ServiceSpec {
        process: None,
        ..spec(name, policy)
    }
}

/// A service that others run, and whose interval is to be learnt; until then it is judged by
/// that one.
#[must_use]
pub fn learning(name: &str, until_then: Duration) -> ServiceSpec {
    let mut service = external(name, until_then);
    Arc::make_mut(&mut service.policy).interval_source = IntervalSource::Learning;
    service
}

/// A service that registers itself; one with the label `unfit` cannot be watched.
///
/// # Errors
/// That label.
pub fn admit(registration: &Registration) -> Result<ServiceSpec, String> {
    if registration.tags.iter().any(|tag| tag == "unfit") {
        return Err("it says so itself".to_owned());
    }
    let mut policy = policy(Watch::External, registration.interval);
    policy.poke_restarts = false;
    policy.critical = registration.critical;
    policy.on_demand = registration.on_demand;
    if registration.auto {
        policy.interval_source = IntervalSource::Learning;
    }
    Ok(ServiceSpec {
        process: None,
        tags: registration.tags.clone(),
        ..spec(registration.name.as_str(), policy)
    })
}

fn spec(name: &str, policy: Policy) -> ServiceSpec {
    ServiceSpec {
        name: ServiceName::new(name).expect("a service's name"),
        enabled: true,
        process: Some(Arc::new(ProcessSpec {
            command: vec![name.to_owned()],
            cwd: PathBuf::from("/"),
            env: Vec::new(),
            pass_env: Vec::new(),
            user: None,
            group: None,
            umask: None,
            nice: None,
            limits: Vec::new(),
            stop_signal: 15,
            stop_timeout: policy.stop_timeout,
            watchdog: None,
            log_max_size: 10_000_000,
            log_keep: 5,
        })),
        policy: Arc::new(policy),
        nudge: None,
        restart_command: None,
        depends_on: Vec::new(),
        tags: Vec::new(),
        sources: Vec::new(),
    }
}
