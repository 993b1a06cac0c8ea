//! Our own actors as watched services: `internal.supervisor`, `internal.archive`, …
//!
//! They pulse like anybody, so that one that no longer turns is seen. What brings a panicked
//! one back is the guardian; its panic is shown here as an error and counted as a restart.
//! `internal.services` stands for the actors of all watched services: they pulse for their
//! services, not for themselves, so its silence is no lateness.

use std::sync::Arc;
use std::time::Duration;

use supervisor_core::ServiceName;
use supervisor_core::backoff::{Backoff, Intensity};
use supervisor_core::level::{After, Profile, Thresholds};
use supervisor_core::policy::{IntervalSource, PokeOn, Policy, Ready, Restart, Watch};

use crate::guardian::Subject;
use crate::spec::ServiceSpec;

/// How often our own actors say that they turn.
pub(crate) const PULSE: Duration = Duration::from_secs(10);
/// How often the heartbeat file is written.
pub(crate) const PATROL: Duration = Duration::from_secs(30);

/// Those that are shown, with how often they promise to pulse. They pulse more often than
/// that: what counts here is an actor that no longer turns, not one that is a little late.
const SHOWN: [(Subject, Duration); 6] = [
    (Subject::Supervisor, PULSE),
    (Subject::Archive, PULSE),
    (Subject::Deacon, PATROL),
    (Subject::Alerter, PULSE),
    (Subject::Guardian, PULSE),
    (ANY_SERVICE, PULSE),
];

/// Those of the sync, which are there where something is mirrored.
const SYNC: [(Subject, Duration); 3] = [
    (Subject::Watcher, PULSE),
    (Subject::Debouncer, PULSE),
    (Subject::Syncer, PULSE),
];

/// Stands for the actors of all watched services.
const ANY_SERVICE: Subject = Subject::Service(crate::messages::ServiceId(0));

/// The name under which an actor is shown.
pub(crate) fn name(subject: Subject) -> ServiceName {
    let name = match subject {
        Subject::Supervisor => "internal.supervisor",
        Subject::Archive => "internal.archive",
        Subject::Deacon => "internal.deacon",
        Subject::Alerter => "internal.alerter",
        Subject::Watcher => "internal.watcher",
        Subject::Debouncer => "internal.debouncer",
        Subject::Syncer => "internal.syncer",
        Subject::Guardian => "internal.guardian",
        Subject::Service(_) => "internal.services",
    };
    ServiceName::new(name).expect("the names of our own actors are names")
}

/// The actors that may be shown.
pub(crate) fn shown() -> impl Iterator<Item = Subject> {
    let all = SHOWN.into_iter().chain(SYNC);
    all.map(|(subject, _)| subject)
}

/// The one under which an actor is shown.
pub(crate) fn shown_as(subject: Subject) -> Subject {
    match subject {
        Subject::Service(_) => ANY_SERVICE,
        Subject::Supervisor
        | Subject::Archive
        | Subject::Deacon
        | Subject::Alerter
        | Subject::Watcher
        | Subject::Debouncer
        | Subject::Syncer
        | Subject::Guardian => subject,
    }
}

/// Our own actors as services, those of the sync where there is one.
pub(crate) fn specs(sync: bool) -> impl Iterator<Item = ServiceSpec> {
    let of_sync = SYNC.into_iter().filter(move |_| sync);
    let all = SHOWN.into_iter().chain(of_sync);
    all.map(|(subject, interval)| ServiceSpec {
        name: name(subject),
        enabled: true,
        policy: Arc::new(policy(interval, matches!(subject, Subject::Service(_)))),
        process: None,
        nudge: None,
        restart_command: None,
        depends_on: Vec::new(),
        tags: Vec::new(),
        sources: Vec::new(),
    })
}

fn policy(interval: Duration, on_demand: bool) -> Policy {
    let grace = interval / 2;
    let thresholds = Thresholds::new(interval, grace, After::default(), Profile::Usual)
        .expect("the usual thresholds increase");
    Policy {
        watch: Watch::External,
        interval,
        interval_source: IntervalSource::Configured,
        grace,
        grace_share: None,
        start_grace: thresholds.critical,
        thresholds,
        recover_after: 1,
        alert_on_miss: true,
        critical: false,
        on_demand,
        max_busy: Duration::ZERO,
        progress_timeout: None,
        probed: false,
        restart: Restart::Never,
        backoff: Backoff::default(),
        intensity: Intensity::default(),
        quarantine_for: Duration::from_secs(30 * 60),
        // The guardian acts, not the ladder.
        poke_on: PokeOn {
            stale: false,
            probe: false,
            errors: false,
        },
        nudge: false,
        poke_restarts: false,
        nudge_wait: interval,
        ready: Ready::Pulse,
        stop_timeout: Duration::ZERO,
    }
}
