//! The proof of a source of pulses: whoever uses it turns its service healthy, and its
//! silence turns the service critical and gets it poked.

use std::fs;

use super::World;

/// What a service's shell script does first, so that only its first life falls silent.
pub const ANEW: &str = "rm -f silent; ";

/// A shell script whose service sends a sign of life by this line, until it is told to be
/// silent: then it hangs.
pub fn until_silent(line: &str) -> String {
    format!("{ANEW}until [ -e silent ]; do {line}; sleep 0.1; done; exec sleep 1000")
}

/// It pulses in time; then it falls silent: critical, poked, and well again in its next life.
pub fn wait_silence_is_poked(world: &World, name: &str) {
    world.wait_healthy(name);
    let first = world.wait_for(name, "pulses on", |service| service.total_pulses > 5);
    assert_eq!((first.generation, first.restarts), (1, 0));
    fs::write(world.file("silent"), "").expect("the sign to be silent");
    world.wait_event("critical by silence", |event| {
        event.service == name && event.to.as_deref() == Some("critical")
    });
    let restarted = world.wait_event("restarted", |event| {
        event.service == name && event.kind == "restarted"
    });
    assert_eq!(restarted.to.as_deref(), Some("stale"));
    world.wait_for(name, "is well again", |service| {
        service.generation == 2 && service.status == "healthy"
    });
}
