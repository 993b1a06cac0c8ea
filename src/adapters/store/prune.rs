//! Forgetting old events, and deleting what is asked for, in small steps.

use super::*;

/// How many events a step forgets at most.
const STEP: i64 = 500;
/// How many events a step of a deletion looks at.
const LOOKED_AT: i64 = 20_000;
/// How often it is looked whether something is old.
const EVERY: Duration = Duration::from_secs(60);
/// A wall clock that jumped may jump back: nothing is forgotten by its word for so long.
pub(in crate::adapters) const DISTRUST: Duration = DAY;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// By how much it must jump to be distrusted.
pub(in crate::adapters) const JUMP_MICROS: i64 = 3_600_000_000;
/// By how much it must be ahead of what was recorded last to be distrusted at the beginning: a
/// machine may have been off over a weekend.
pub(in crate::adapters) const LEAP_MICROS: i64 = 3 * 24 * 3_600_000_000;
/// In how many of the newest events such a leap is looked for.
const NEWEST: i64 = 500;

/// When to forget, and by which clock.
#[derive(Debug)]
pub(super) struct Pruning {
    next: Mono,
    /// The id of the oldest event.
    oldest: i64,
    /// How far the wall clock was ahead of the one that nobody sets, in microseconds.
    ahead: i64,
    trusted_from: Mono,
    /// When it is looked next whether runs are old.
    runs: Mono,
}

impl Pruning {
    pub(super) fn new(clock: &dyn Clock, connection: &Connection) -> rusqlite::Result<Self> {
        let now = clock.mono();
        let (oldest, _) = open::id_range(connection)?;
        Ok(Self {
            next: now + EVERY,
            oldest,
            ahead: ahead(clock),
            trusted_from: now + distrust(since_leap(connection, clock.wall())?),
            runs: now,
        })
    }

    pub(super) fn is_due(&self, now: Mono, next_id: i64) -> bool {
        now >= self.next || next_id.saturating_sub(self.oldest) > MOST_EVENTS + STEP / 2
    }
}

/// How far the wall clock is ahead of the one that nobody sets, in microseconds. The sleep of a
/// machine is no jump of its clock.
pub(in crate::adapters) fn ahead(clock: &dyn Clock) -> i64 {
    let uptime = i64::try_from(clock.uptime().0 / 1_000).unwrap_or(i64::MAX);
    clock.wall().0.saturating_sub(uptime)
}

/// For how long a wall clock is still distrusted that leapt so many microseconds ago.
pub(in crate::adapters) fn distrust(since: Option<i64>) -> Duration {
    let since = since.and_then(|since| u64::try_from(since).ok());
    since.map_or(Duration::ZERO, |since| {
        DISTRUST.saturating_sub(Duration::from_micros(since))
    })
}

/// How long ago, by the wall clock, events leapt to its present date; none where they did not.
fn since_leap(connection: &Connection, wall: Timestamp) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached(schema::NEWEST_TIMES)?;
    let mut times = statement.query([NEWEST])?;
    let mut later = wall.0;
    while let Some(row) = times.next()? {
        let time = row.get_ref(0)?.as_i64().unwrap_or(later);
        if later.saturating_sub(time) > LEAP_MICROS {
            return Ok(Some(wall.0.saturating_sub(later)));
        }
        later = time;
    }
    Ok(None)
}

/// Forgets events older than `keep`, and the oldest beyond `most`; a step's worth of them.
pub(super) fn prune(
    open: &mut Open,
    clock: &dyn Clock,
    keep: Duration,
    most: i64,
) -> Result<(), rusqlite::Error> {
    let (now, wall) = (clock.mono(), clock.wall());
    let pruning = &mut open.pruning;
    pruning.next = now + EVERY;
    let ahead = ahead(clock);
    if (ahead.saturating_sub(pruning.ahead)).saturating_abs() > JUMP_MICROS {
        pruning.trusted_from = now + DISTRUST;
    }
    pruning.ahead = ahead;

    let connection = &open.connection;
    let (oldest, newest) = open::id_range(connection)?;
    // The newest stays, whatever its age: ids go on from it.
    let last = (newest - most).min(oldest.saturating_add(STEP - 1));
    let mut forgotten = 0;
    if last >= oldest {
        let mut statement = connection.prepare_cached(schema::FORGET)?;
        forgotten += statement.execute(params![last])?;
    }
    if now >= pruning.trusted_from {
        let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let before = wall.0.saturating_sub(keep);
        let last: Option<i64> = connection
            .prepare_cached(schema::LAST_TO_FORGET)?
            .query_row(params![before, STEP, wall.0], |row| row.get(0))?;
        if let Some(last) = last {
            let mut statement = connection.prepare_cached(schema::FORGET_OLD)?;
            forgotten += statement.execute(params![last, before, wall.0, STEP])?;
        }
        if now >= pruning.runs {
            // A look at each of them: once a day.
            pruning.runs = now + DAY;
            let keep = i64::try_from(runs::KEEP.as_micros()).unwrap_or(i64::MAX);
            runs::forget_ended(connection, Timestamp(wall.0.saturating_sub(keep)))?;
        }
    }
    (pruning.oldest, _) = open::id_range(connection)?;
    // As long as there is more, a step goes with every commit.
    if i64::try_from(forgotten).unwrap_or(i64::MAX) >= STEP {
        pruning.next = now;
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
