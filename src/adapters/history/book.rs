//! Writing: minutes become hours and days, and what is old goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use supervisor_actors::ports::history::Minutes;
use supervisor_actors::ports::{Clock, StoreError};
use supervisor_core::history::{Slice, put, take};
use supervisor_core::time::Mono;
use supervisor_core::{ServiceName, Timestamp};

use super::{Keep, schema};
use crate::adapters::store::fault::Fault;
use crate::adapters::store::open::{check_header, move_aside, raw, tune};
use crate::adapters::store::prune::{DISTRUST, JUMP_MICROS, LEAP_MICROS, ahead, distrust};
use crate::adapters::store::schema::{Fit, migrate};

/// How many damaged databases are kept.
const MOST_SET_ASIDE: usize = 2;
/// How many rows are forgotten each minute at most.
const STEP: u32 = 4_000;
/// How many free pages are left in the file for what comes, and how many are given back each
/// minute.
const FREE_PAGES: i64 = 2_048;
const VACUUM_PAGES: u32 = 256;
/// A silence of the history that is no gap: between two lives that follow each other at once.
const NO_GAP: i64 = 5_000_000;
const MINUTE_MICROS: i64 = 60_000_000;

/// By how much one clock is ahead of another, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    /// The one that everybody can set, of that which nobody can.
    wall: i64,
    /// That one, of the one that stands still while the machine is suspended.
    uptime: i64,
}

/// The database on its thread.
pub(super) struct Book {
    path: PathBuf,
    keep: Keep,
    clock: Arc<dyn Clock>,
    connection: Option<Connection>,
    /// Until when it is kept, as soon as we kept any of it, and where the clocks stood then.
    until: Option<(Timestamp, Clocks)>,
    /// Since when it lacks something that is not yet told, until when, and why.
    lacks: Option<(Timestamp, Timestamp, String)>,
    /// No day before this one is still to be made of its hours.
    unfolded: i64,
    /// How far the wall clock was ahead of the monotonic one, in microseconds.
    ahead: i64,
    trusted_from: Mono,
    notices: Vec<String>,
}

impl Book {
    pub(super) fn new(data_dir: &Path, keep: Keep, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: data_dir.join("history.db"),
            keep,
            ahead: ahead(&*clock),
            trusted_from: clock.mono(),
            clock,
            connection: None,
            until: None,
            lacks: None,
            unfolded: i64::MIN,
            notices: Vec::new(),
        }
    }

    /// What people should know and was not said yet.
    pub(super) fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Keeps a minute. One that cannot be kept is lost, and told of as a gap later.
    ///
    /// # Errors
    /// Why it could not be kept.
    pub(super) fn keep(&mut self, minutes: &Minutes) -> Result<(), StoreError> {
        let kept = self.with(|book, connection| book.write(connection, minutes));
        if let Err(why) = &kept {
            self.lack(minutes.since, minutes.until, &why.to_string());
            return kept;
        }
        self.lacks = None;
        self.until = Some((minutes.until, clocks(&*self.clock)));
        // What fails here is done with the next minute.
        self.with(|book, connection| {
            book.fold(connection, minutes.minute)?;
            book.forget(connection)
        })
    }

    /// The history lacks that time.
    pub(super) fn lack(&mut self, since: Timestamp, until: Timestamp, why: &str) {
        match &mut self.lacks {
            Some((_, to, _)) => *to = until,
            lacks @ None => *lacks = Some((since, until, why.to_owned())),
        }
    }

    fn write(&mut self, connection: &mut Connection, minutes: &Minutes) -> rusqlite::Result<()> {
        let mut data = Vec::with_capacity(minutes.slices.len() * 32);
        for (name, slice) in &minutes.slices {
            pack_named(&mut data, name.as_str(), slice);
        }
        let transaction = begin(connection)?;
        let last = match self.until {
            Some((until, _)) => Some(until.0),
            None => {
                let leapt = since_leap(&transaction, self.clock.wall())?;
                self.trusted_from = self.clock.mono() + distrust(leapt);
                last_kept(&transaction)?
            }
        };
        let since = self.lacks.as_ref().map_or(minutes.since, |lacks| lacks.0);
        if let Some(last) = last
            && since.0.saturating_sub(last) > NO_GAP
        {
            // A clock that was set back to the right date came by what is known already.
            let last = last.max(last_before(&transaction, since)?);
            if since.0.saturating_sub(last) > NO_GAP {
                add_gap(&transaction, Timestamp(last), since, self.why())?;
            }
        }
        if let Some((since, until, why)) = &self.lacks {
            add_gap(&transaction, *since, *until, why)?;
        }
        transaction.prepare_cached(schema::ADD)?.execute(params![
            minutes.minute,
            minutes.until.0,
            data
        ])?;
        transaction.commit()
    }

    /// Why nothing was kept since what was kept last.
    fn why(&self) -> &'static str {
        let Some((_, before)) = self.until else {
            return "the supervisor did not run, or ended at once";
        };
        let now = clocks(&*self.clock);
        if now.uptime.saturating_sub(before.uptime) > NO_GAP {
            "the machine was suspended"
        } else if now.wall.saturating_sub(before.wall) > NO_GAP {
            "the wall clock was set forward"
        } else {
            "the supervisor had to begin anew, and forgot the minute under way"
        }
    }

    /// Makes rows of their services of the minutes of hours that have ended, and days of hours.
    fn fold(&mut self, connection: &mut Connection, present: i64) -> rusqlite::Result<()> {
        let hour_began = present - present.rem_euclid(60);
        while let Some(hour) = ended_hour(connection, hour_began)? {
            let transaction = begin(connection)?;
            let has_day = fold_hour(&transaction, hour)?;
            transaction.commit()?;
            if !has_day {
                // A clock that was set may come by days that were long done with.
                self.unfolded = self.unfolded.min(hour.div_euclid(24));
            }
        }
        let today = present.div_euclid(1440);
        while let Some(day) = next_day(connection, self.unfolded)?.filter(|day| *day < today) {
            let transaction = begin(connection)?;
            if !has_day(&transaction, day)? {
                fold_day(&transaction, day)?;
            }
            transaction.commit()?;
            // Also where none of its hours could be understood, and it has no row.
            self.unfolded = day + 1;
        }
        Ok(())
    }

    /// Forgets what is old, a step's worth, and gives back some of the room.
    fn forget(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let now = self.clock.mono();
        let ahead = ahead(&*self.clock);
        if ahead.saturating_sub(self.ahead).saturating_abs() > JUMP_MICROS {
            self.trusted_from = now + DISTRUST;
        }
        self.ahead = ahead;
        if now < self.trusted_from {
            return Ok(());
        }
        let wall = self.clock.wall().0;
        let before = |keep: Duration| {
            let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
            wall.saturating_sub(keep)
        };
        let hour = |micros: i64| micros.div_euclid(60 * MINUTE_MICROS);
        let mut forgotten = 0;
        for (statement, before) in [
            (schema::FORGET_MINUTES, hour(before(self.keep.minutes))),
            // Days are made of hours: none goes before.
            (
                schema::FORGET_HOURS,
                hour(before(self.keep.hours)).min(self.unfolded.saturating_mul(24)),
            ),
        ] {
            let mut statement = connection.prepare_cached(statement)?;
            forgotten += statement.execute(params![before, STEP])?;
        }
        connection
            .prepare_cached(schema::FORGET_GAPS)?
            .execute([before(self.keep.hours)])?;
        if forgotten == 0 {
            let free: i64 =
                connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
            if free > FREE_PAGES {
                connection.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
            }
        }
        Ok(())
    }

    /// Deletes what is older of a service; how many hours, days and minutes under way went.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn delete(
        &mut self,
        service: &ServiceName,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let minute = before.0.div_euclid(MINUTE_MICROS);
        let name = service.as_str();
        self.with(|_, connection| {
            let transaction = begin(connection)?;
            let mut deleted = 0;
            for (statement, time) in [
                (schema::DELETE_MINUTES, minute.div_euclid(60)),
                (schema::DELETE_HOURS, minute.div_euclid(60)),
                (schema::DELETE_DAYS, minute.div_euclid(1440)),
            ] {
                let mut statement = transaction.prepare_cached(statement)?;
                deleted += statement.execute(params![time, name])?;
            }
            let mut rest = Vec::new();
            {
                let mut statement = transaction.prepare_cached(schema::ALL_OPEN)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let (n, at): (i64, i64) = (row.get(0)?, row.get(1)?);
                    if at < minute {
                        let data = row.get_ref(2)?.as_blob().unwrap_or_default();
                        let mut kept = Vec::with_capacity(data.len());
                        let mut found = false;
                        each_named(data, |other, slice| {
                            if other == name {
                                found = true;
                            } else {
                                pack_named(&mut kept, other, &slice);
                            }
                        });
                        if found {
                            rest.push((n, kept));
                        }
                    }
                }
            }
            for (n, data) in rest {
                deleted += transaction
                    .prepare_cached(schema::REWRITE)?
                    .execute(params![n, data])?;
            }
            transaction.commit()?;
            Ok(deleted as u64)
        })
    }

    // --- the file ---

    /// Runs `work` on the open database. A damaged one is set aside, and a new one begun:
    /// `work` must be whole or nothing.
    pub(super) fn with<T>(
        &mut self,
        mut work: impl FnMut(&mut Self, &mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut again = true;
        loop {
            let opened = match self.connection.take() {
                Some(connection) => Ok(connection),
                None => self.open(),
            };
            let done = match opened {
                Ok(mut connection) => {
                    let done = work(self, &mut connection).map_err(Fault::from);
                    let close = done.as_ref().err().is_some_and(Fault::wants_reopening);
                    self.connection = (!close).then_some(connection);
                    done
                }
                Err(fault) => Err(fault),
            };
            match done {
                Ok(value) => return Ok(value),
                Err(Fault::Damaged(why)) if again => {
                    again = false;
                    self.set_aside(&why)?;
                }
                Err(fault) => return Err(fault.told(&self.path)),
            }
        }
    }

    fn open(&mut self) -> Result<Connection, Fault> {
        check_header(&self.path)?;
        let mut connection = raw(&self.path)?;
        // Only before there is anything in it; then room that is freed can be given back.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        tune(&connection)?;
        match migrate(&mut connection, &schema::LAYOUT)? {
            Fit::Ours => {}
            Fit::Newer(version) => self.notices.push(format!(
                "{} was written by a newer supervisor (version {version} of its tables): it is used as far as this one understands it",
                self.path.display()
            )),
        }
        Ok(connection)
    }

    fn set_aside(&mut self, why: &str) -> Result<(), StoreError> {
        let aside = move_aside(&self.path, self.clock.wall(), MOST_SET_ASIDE).map_err(|error| {
            StoreError::Unavailable(format!(
                "{} is damaged ({why}) and cannot be set aside: {error}",
                self.path.display()
            ))
        })?;
        self.notices.push(format!(
            "{} was damaged ({why}): set aside as {aside}, the history begins anew",
            self.path.display()
        ));
        Ok(())
    }
}

fn clocks(clock: &dyn Clock) -> Clocks {
    let asleep = clock.uptime().since(clock.mono());
    Clocks {
        wall: ahead(clock),
        uptime: i64::try_from(asleep.as_micros()).unwrap_or(i64::MAX),
    }
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Until when anything was kept.
fn last_kept(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let one = |sql: &str| -> rusqlite::Result<Option<i64>> {
        connection
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))
    };
    if let Some(until) = one(schema::LAST_UNTIL)? {
        return Ok(Some(until));
    }
    let hour = one(schema::LAST_HOUR)?;
    Ok(hour.map(|hour| (hour + 1) * 60 * MINUTE_MICROS))
}

/// Until when anything is known before that time, by its date.
fn last_before(connection: &Connection, since: Timestamp) -> rusqlite::Result<i64> {
    let hour = since.0.div_euclid(60 * MINUTE_MICROS);
    let one = |sql: &str, before: i64| -> rusqlite::Result<Option<i64>> {
        connection
            .prepare_cached(sql)?
            .query_row([before], |row| row.get(0))
    };
    let until = one(schema::UNTIL_BEFORE, since.0)?;
    let hour = one(schema::HOUR_BEFORE, hour)?.map(|hour| (hour + 1) * 60 * MINUTE_MICROS);
    Ok(until.max(hour).unwrap_or(i64::MIN))
}

/// How long ago, by the wall clock, what is kept leapt to its present date; none where it did
/// not. A leap is a gap, too.
fn since_leap(connection: &Connection, wall: Timestamp) -> rusqlite::Result<Option<i64>> {
    if last_kept(connection)?.is_some_and(|last| wall.0.saturating_sub(last) > LEAP_MICROS) {
        return Ok(Some(0));
    }
    let leapt: Option<i64> = connection
        .prepare_cached(schema::LAST_LEAP)?
        .query_row([LEAP_MICROS, wall.0], |row| row.get(0))?;
    Ok(leapt.map(|leapt| wall.0.saturating_sub(leapt)))
}

fn add_gap(
    connection: &Connection,
    since: Timestamp,
    until: Timestamp,
    why: &str,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(schema::ADD_GAP)?;
    statement.execute(params![since.0, until.0, why]).map(drop)
}

/// A slice with its service's name.
fn pack_named(out: &mut Vec<u8>, name: &str, slice: &Slice) {
    put(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
    slice.pack(out);
}

/// All of them, up to the first that is garbled.
pub(super) fn each_named<'a>(mut data: &'a [u8], mut each: impl FnMut(&'a str, Slice)) {
    loop {
        let Some(length) = take(&mut data).and_then(|length| usize::try_from(length).ok()) else {
            return;
        };
        let Some((name, rest)) = data.split_at_checked(length) else {
            return;
        };
        data = rest;
        let (Ok(name), Some(slice)) = (std::str::from_utf8(name), Slice::unpack(&mut data)) else {
            return;
        };
        each(name, slice);
    }
}

/// The minutes of an hour, each with its place in it.
pub(super) fn each_minute(mut data: &[u8], mut each: impl FnMut(i64, Slice)) {
    while let Some((place, rest)) = data.split_first() {
        data = rest;
        let Some(slice) = Slice::unpack(&mut data) else {
            return;
        };
        each(i64::from(*place), slice);
    }
}

/// The first day from that one on of which there are hours.
fn next_day(connection: &Connection, from: i64) -> rusqlite::Result<Option<i64>> {
    let hour: Option<i64> = connection
        .prepare_cached(schema::NEXT_HOUR)?
        .query_row([from.saturating_mul(24)], |row| row.get(0))?;
    Ok(hour.map(|hour| hour.div_euclid(24)))
}

fn has_day(connection: &Connection, day: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(schema::HAS_DAY)?
        .query_row([day], |row| row.get(0))
}

/// An hour of which minutes are open, and that began before that minute.
fn ended_hour(connection: &Connection, before: i64) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached(schema::ENDED_HOUR)?;
    let found = statement.query_row([before], |row| row.get(0));
    found.optional()
}

/// Whether its day was made already, and has it now.
fn fold_hour(transaction: &Transaction<'_>, hour: i64) -> rusqlite::Result<bool> {
    let day = hour.div_euclid(24);
    let has_day = has_day(transaction, day)?;
    let (from, to) = (hour * 60, hour * 60 + 60);
    let mut services: BTreeMap<String, (Vec<u8>, Slice)> = BTreeMap::new();
    {
        let mut statement = transaction.prepare_cached(schema::OPEN)?;
        let mut rows = statement.query([from, to])?;
        while let Some(row) = rows.next()? {
            let place = row.get::<_, i64>(0)? - from;
            each_named(
                row.get_ref(1)?.as_blob().unwrap_or_default(),
                |name, slice| {
                    if !services.contains_key(name) {
                        services.insert(name.to_owned(), Default::default());
                    }
                    if let Some((minutes, sum)) = services.get_mut(name) {
                        // Within an hour.
                        minutes.push(u8::try_from(place).unwrap_or(u8::MAX));
                        slice.pack(minutes);
                        sum.merge(&slice);
                    }
                },
            );
        }
    }
    for (name, (minutes, sum)) in services {
        // A clock that was set back passes an hour twice.
        let mut all = blob(transaction, schema::MINUTES, hour, &name)?.unwrap_or_default();
        all.extend_from_slice(&minutes);
        transaction
            .prepare_cached(schema::PUT_MINUTES)?
            .execute(params![hour, name, all])?;
        if has_day {
            add_to(
                transaction,
                (schema::DAY, schema::PUT_DAY),
                day,
                &name,
                sum.clone(),
            )?;
        }
        add_to(
            transaction,
            (schema::HOUR, schema::PUT_HOUR),
            hour,
            &name,
            sum,
        )?;
    }
    let mut close = transaction.prepare_cached(schema::CLOSE)?;
    close.execute([from, to])?;
    Ok(has_day)
}

/// Merges more into what is kept of a service at that time.
fn add_to(
    transaction: &Transaction<'_>,
    (get, put): (&str, &str),
    time: i64,
    service: &str,
    mut sum: Slice,
) -> rusqlite::Result<()> {
    let before = blob(transaction, get, time, service)?;
    if let Some(before) = before.and_then(|data| Slice::unpack(&mut &data[..])) {
        sum.merge(&before);
    }
    let mut packed = Vec::new();
    sum.pack(&mut packed);
    let mut put = transaction.prepare_cached(put)?;
    put.execute(params![time, service, packed]).map(drop)
}

fn fold_day(transaction: &Transaction<'_>, day: i64) -> rusqlite::Result<()> {
    let mut services: BTreeMap<String, Slice> = BTreeMap::new();
    {
        let mut statement = transaction.prepare_cached(schema::HOURS_OF)?;
        let mut rows = statement.query([day * 24, day * 24 + 24])?;
        while let Some(row) = rows.next()? {
            let data = row.get_ref(1)?.as_blob().unwrap_or_default();
            if let Some(slice) = Slice::unpack(&mut &data[..]) {
                services.entry(row.get(0)?).or_default().merge(&slice);
            }
        }
    }
    for (name, sum) in services {
        let mut packed = Vec::new();
        sum.pack(&mut packed);
        transaction
            .prepare_cached(schema::PUT_DAY)?
            .execute(params![day, name, packed])?;
    }
    Ok(())
}

/// What is kept of a service at that time.
pub(super) fn blob(
    connection: &Connection,
    statement: &str,
    time: i64,
    service: &str,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached(statement)?;
    let found = statement.query_row(params![time, service], |row| {
        Ok(row.get_ref(0)?.as_blob().unwrap_or_default().to_vec())
    });
    found.optional()
}
