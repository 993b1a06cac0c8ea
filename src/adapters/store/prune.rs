//! Forgetting old events, and deleting what is asked for, in small steps.

use super::*;

/// How many events a step forgets at most.
const STEP: i64 = 500;
/// How many events a step of a deletion looks at.
const LOOKED_AT: i64 = 20_000;
/// How often it is looked whether something is old.
const EVERY: Duration = Duration::from_secs(60);
/// A wall clock that jumped may jump back: nothing is forgotten by its word for so long.
const DISTRUST: Duration = DAY;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// By how much it must jump to be distrusted.
const JUMP_MICROS: i64 = 3_600_000_000;

/// When to forget, and by which clock.
#[derive(Debug)]
pub(super) struct Pruning {
    next: Mono,
    /// The id of the oldest event.
    oldest: i64,
    /// How far the wall clock was ahead of the monotonic one, in microseconds.
    ahead: i64,
    trusted_from: Mono,
    /// When it is looked next whether runs are old.
    runs: Mono,
}

impl Pruning {
    pub(super) fn new(now: Mono, wall: Timestamp, oldest: i64) -> Self {
        Self {
            next: now + EVERY,
            oldest,
            ahead: ahead(now, wall),
            trusted_from: now,
            runs: now,
        }
    }

    pub(super) fn is_due(&self, now: Mono, next_id: i64) -> bool {
        now >= self.next || next_id.saturating_sub(self.oldest) > MOST_EVENTS + STEP / 2
    }
}

fn ahead(now: Mono, wall: Timestamp) -> i64 {
    wall.0
        .saturating_sub(i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX))
}

/// Forgets events older than `keep`, and the oldest beyond `most`; a step's worth of them.
pub(super) fn prune(
    open: &mut Open,
    now: Mono,
    wall: Timestamp,
    keep: Duration,
    most: i64,
) -> Result<(), rusqlite::Error> {
    let pruning = &mut open.pruning;
    pruning.next = now + EVERY;
    let ahead = ahead(now, wall);
    if (ahead.saturating_sub(pruning.ahead)).saturating_abs() > JUMP_MICROS {
        pruning.trusted_from = now + DISTRUST;
    }
    pruning.ahead = ahead;

    let connection = &open.connection;
    let (oldest, newest) = open::id_range(connection)?;
    let mut last = (newest - most).min(oldest.saturating_add(STEP - 1));
    if now >= pruning.trusted_from {
        let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        // Those between that bear a later date (the clock was wrong) go with their neighbours.
        let old: Option<i64> = connection
            .prepare_cached(schema::LAST_TO_FORGET)?
            .query_row(params![wall.0.saturating_sub(keep), STEP], |row| row.get(0))?;
        last = last.max(old.unwrap_or(i64::MIN));
        if now >= pruning.runs {
            // A look at each of them: once a day.
            pruning.runs = now + DAY;
            let keep = i64::try_from(runs::KEEP.as_micros()).unwrap_or(i64::MAX);
            runs::forget_ended(connection, Timestamp(wall.0.saturating_sub(keep)))?;
        }
    }
    pruning.oldest = oldest;
    if last >= oldest {
        // The newest stays, whatever its age: ids go on from it.
        connection
            .prepare_cached(schema::FORGET)?
            .execute(params![last])?;
        pruning.oldest = last.saturating_add(1);
        // As long as there is more, a step goes with every commit.
        if last >= oldest.saturating_add(STEP - 1) {
            pruning.next = now;
        }
    }
    Ok(())
}

/// Deletes a step's worth of what was asked for.
pub(super) fn delete(connection: &Connection, bygone: &Bygone) -> Result<Deleted, rusqlite::Error> {
    let (oldest, newest) = open::id_range(connection)?;
    let from = bygone.from.max(oldest);
    let to = from.saturating_add(LOOKED_AT);
    let events = connection.prepare_cached(schema::DELETE)?.execute(params![
        from,
        to,
        bygone.service.as_str(),
        bygone.before.0
    ])?;
    // With the first step: a service has few.
    let runs = if bygone.from == 0 {
        connection
            .prepare_cached(schema::DELETE_RUNS)?
            .execute(params![bygone.service.as_str(), bygone.before.0])?
    } else {
        0
    };
    Ok(Deleted {
        records: (events + runs) as u64,
        next: (to <= newest).then_some(to),
    })
}
