//! What is remembered of services that nobody knows any more: they were taken out of the
//! configuration while no supervisor ran.
//!
//! It is kept for a while, so that whoever leaves a service out for a day finds it as it was (one
//! that he had stopped is still stopped), and then forgotten. The time begins when a supervisor
//! first misses it, and passes on the judging clock: no jump of the wall clock and no month
//! without a supervisor is taken for it. What has registered itself is never forgotten here, even
//! where it cannot be watched now.

use super::*;

use serde_json::{Map, Value};

use supervisor_core::ServiceName;

/// How long: as long as the history of events.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Since when it is missed, beside the memory: nanoseconds of the judging clock. The first
/// memory that is written once it is back is without it.
const SINCE: &str = "missing_since";
/// What only those have that registered themselves.
const REGISTERED: &str = "registered";

impl Supervisor {
    /// Notes whom nobody knows, and forgets those who have been missed for long.
    pub(super) fn miss(&mut self, rows: Vec<(String, String)>) {
        let now = self.now().time;
        for (name, json) in rows {
            let (Ok(name), Ok(mut memory)) = (
                ServiceName::new(&name),
                serde_json::from_str::<Map<String, Value>>(&json),
            ) else {
                continue;
            };
            if memory.get(REGISTERED).is_some_and(|said| !said.is_null()) {
                continue;
            }
            match memory.get(SINCE).and_then(Value::as_u64) {
                Some(since) if now.since(Time(since)) >= KEPT => {
                    let log = &self.guard.world().log;
                    slog::info!(log, "forgotten, the configuration has not known it for long";
                        "service" => %name, "days" => KEPT.as_secs() / (24 * 3600));
                    self.outbox.forget.push(name);
                }
                Some(_) => {}
                None => {
                    memory.insert(SINCE.to_owned(), now.0.into());
                    let json = Value::Object(memory).to_string();
                    self.outbox.memories.push((name, json));
                }
            }
        }
    }
}
