//! Reading: the finest that there is for the steps that are asked for.

use std::collections::BTreeMap;

use rusqlite::Connection;

use supervisor_actors::ports::StoreError;
use supervisor_actors::ports::history::{Gap, HistoryQuery, Page};
use supervisor_core::Timestamp;
use supervisor_core::history::Slice;

use super::book::{Book, blob, each_minute, each_named};
use super::schema;

const HOUR: i64 = 60;
const DAY: i64 = 1440;
const MINUTE_MICROS: i64 = 60_000_000;
/// The times of which uptime is told, in minutes.
const UPTIME: [i64; 3] = [DAY, 7 * DAY, 30 * DAY];

impl Book {
    /// Reads the history of a service.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn read(&mut self, query: &HistoryQuery) -> Result<Page, StoreError> {
        self.with(|_, connection| {
            // One for all that is looked up: each of its own takes as long as what it reads.
            let connection = connection.transaction()?;
            Ok(Page {
                points: points(&connection, query)?,
                gaps: gaps(&connection, query)?,
                uptime: uptime(&connection, query)?,
            })
        })
    }
}

/// Sums by the step that a minute belongs to.
struct Sums<'a> {
    query: &'a HistoryQuery,
    points: BTreeMap<i64, Slice>,
}

impl Sums<'_> {
    fn add(&mut self, minute: i64, slice: &Slice) {
        if (self.query.from..self.query.to).contains(&minute) {
            let start = minute - minute.rem_euclid(self.query.step);
            self.points.entry(start).or_default().merge(slice);
        }
    }
}

fn points(connection: &Connection, query: &HistoryQuery) -> rusqlite::Result<Vec<(i64, Slice)>> {
    let name = query.service.as_str();
    let mut sums = Sums {
        query,
        points: BTreeMap::new(),
    };
    let (mut hour, end) = (query.from.div_euclid(HOUR), query.to.div_euclid(HOUR) + 1);
    let whole_hours = [query.step, query.from, query.to]
        .iter()
        .all(|minutes| minutes % HOUR == 0);
    while hour < end {
        if query.step % DAY == 0
            && hour % 24 == 0
            && hour * HOUR >= query.from
            && hour + 24 <= end
            && let Some(day) = slice(connection, schema::DAY, hour.div_euclid(24), name)?
        {
            sums.add(hour * HOUR, &day);
            hour += 24;
            continue;
        }
        let minutes = if whole_hours {
            None
        } else {
            blob(connection, schema::MINUTES, hour, name)?
        };
        if let Some(minutes) = minutes {
            each_minute(&minutes, |place, slice| {
                sums.add(hour * HOUR + place, &slice);
            });
        } else if let Some(whole) = slice(connection, schema::HOUR, hour, name)? {
            // Of what is too old for minutes, or where hours are all that is asked for.
            sums.add((hour * HOUR).max(query.from), &whole);
        } else {
            // Nobody was there for what may be centuries.
            hour = next(connection, hour + 1)?.unwrap_or(end);
            continue;
        }
        hour += 1;
    }
    each_open(connection, query.from, query.to, name, |minute, slice| {
        sums.add(minute, &slice);
    })?;
    Ok(sums.points.into_iter().collect())
}

/// The first hour from that one on of which anything is known, of anybody. Of a day it is its
/// first one: where the hours begin later, the day is not passed by.
fn next(connection: &Connection, hour: i64) -> rusqlite::Result<Option<i64>> {
    let first = |statement: &str, from: i64| -> rusqlite::Result<Option<i64>> {
        connection
            .prepare_cached(statement)?
            .query_row([from], |row| row.get(0))
    };
    let day = -(-hour).div_euclid(24);
    let found = [
        first(schema::NEXT_MINUTES, hour)?,
        first(schema::NEXT_HOUR, hour)?,
        first(schema::NEXT_DAY, day)?.map(|day| day.saturating_mul(24)),
    ];
    Ok(found.into_iter().flatten().min())
}

fn gaps(connection: &Connection, query: &HistoryQuery) -> rusqlite::Result<Vec<Gap>> {
    let mut statement = connection.prepare_cached(schema::GAPS)?;
    let rows = statement.query_map(
        [query.from * MINUTE_MICROS, query.to * MINUTE_MICROS],
        |row| {
            Ok(Gap {
                from: Timestamp(row.get(0)?),
                to: Timestamp(row.get(1)?),
                reason: row.get(2)?,
            })
        },
    )?;
    rows.collect()
}

/// Up to now, by hours: the first one counts whole.
fn uptime(connection: &Connection, query: &HistoryQuery) -> rusqlite::Result<[Option<f64>; 3]> {
    let name = query.service.as_str();
    let mut sums: [Slice; 3] = Default::default();
    let mut add = |minute: i64, slice: &Slice| {
        for (sum, time) in sums.iter_mut().zip(UPTIME) {
            if minute >= query.now - time {
                sum.merge(slice);
            }
        }
    };
    let first = (query.now - UPTIME[2]).div_euclid(HOUR);
    for hour in first..=query.now.div_euclid(HOUR) {
        if let Some(whole) = slice(connection, schema::HOUR, hour, name)? {
            add(hour * HOUR + HOUR - 1, &whole);
        }
    }
    let all = (i64::MIN, i64::MAX);
    each_open(connection, all.0, all.1, name, |minute, slice| {
        add(minute, &slice);
    })?;
    Ok(sums.map(|sum| sum.uptime()))
}

fn slice(
    connection: &Connection,
    statement: &str,
    time: i64,
    service: &str,
) -> rusqlite::Result<Option<Slice>> {
    let data = blob(connection, statement, time, service)?;
    Ok(data.and_then(|data| Slice::unpack(&mut &data[..])))
}

/// The minutes of hours under way.
fn each_open(
    connection: &Connection,
    from: i64,
    to: i64,
    service: &str,
    mut each: impl FnMut(i64, Slice),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(schema::OPEN)?;
    let mut rows = statement.query([from, to])?;
    while let Some(row) = rows.next()? {
        let minute = row.get(0)?;
        each_named(
            row.get_ref(1)?.as_blob().unwrap_or_default(),
            |name, slice| {
                if name == service {
                    each(minute, slice);
                }
            },
        );
    }
    Ok(())
}
