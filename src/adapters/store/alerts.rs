//! `data_dir/alerts.db`: alerts, silences, and the messages that no sink has taken yet.
//!
//! A database of its own: it is written rarely, but then waits for the disk, so that an alert
//! survives a loss of power, too; the other one must not wait. It is open only while there is
//! something in it that may change: usually there is no alert, and it costs nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};
use serde::de::DeserializeOwned;

use supervisor_actors::ports::alerts::{AlertBatch, AlertQuery, AlertStore, Delivery, Kept};
use supervisor_actors::ports::{Clock, StoreError};
use supervisor_core::alert::{Alert, AlertId, Notice, Phase, Silence, SilenceId};

use super::fault::Fault;
use super::open::{move_aside, raw, tune};
use super::schema::{Fit, Layout, migrate};

/// How many damaged databases are kept.
const MOST_SET_ASIDE: usize = 3;
/// How many alerts are kept at most, however young.
const MOST_ALERTS: u32 = 100_000;

/// Never change one that was released: add another. What an alert is in detail is JSON, so
/// that it can grow; what is asked for by is a column.
const MIGRATIONS: &[&str] = &["CREATE TABLE alert (
        id      INTEGER PRIMARY KEY,
        subject TEXT NOT NULL,
        open    INTEGER NOT NULL,
        opened  INTEGER NOT NULL,
        body    TEXT NOT NULL
     );
     CREATE INDEX alert_open ON alert (id) WHERE open = 1;
     CREATE TABLE silence (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
     CREATE TABLE delivery (id INTEGER PRIMARY KEY, sink TEXT NOT NULL, body TEXT NOT NULL);
     CREATE TABLE last (what TEXT PRIMARY KEY NOT NULL, id INTEGER NOT NULL) WITHOUT ROWID;"];

const OPEN_ALERTS: &str = "SELECT body FROM alert WHERE open = 1 ORDER BY id";
const ALERTS: &str = "SELECT body FROM alert
    WHERE id < ?1 AND (?2 IS NULL OR id = ?2) AND (?3 IS NULL OR subject = ?3)
    ORDER BY id DESC LIMIT ?4";
const KEEP_ALERT: &str = "INSERT INTO alert (id, subject, open, opened, body)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (id) DO UPDATE SET open = excluded.open, body = excluded.body";
const FORGET_ALERTS: &str = "DELETE FROM alert WHERE open = 0
    AND (opened < ?1 OR id <= (SELECT max(id) FROM alert) - ?2)";
const SILENCES: &str = "SELECT body FROM silence ORDER BY id";
const KEEP_SILENCE: &str = "INSERT OR REPLACE INTO silence (id, body) VALUES (?1, ?2)";
const END_SILENCE: &str = "DELETE FROM silence WHERE id = ?1";
const DELIVERIES: &str = "SELECT id, sink, body FROM delivery ORDER BY id";
const QUEUE: &str = "INSERT OR REPLACE INTO delivery (id, sink, body) VALUES (?1, ?2, ?3)";
const DONE: &str = "DELETE FROM delivery WHERE id = ?1";
const LAST: &str = "SELECT id FROM last WHERE what = ?1";
const KEEP_LAST: &str = "INSERT INTO last (what, id) VALUES (?1, ?2)
    ON CONFLICT (what) DO UPDATE SET id = max(id, excluded.id)";
const IS_QUIET: &str = "SELECT NOT EXISTS (SELECT 1 FROM alert WHERE open = 1)
    AND NOT EXISTS (SELECT 1 FROM delivery) AND NOT EXISTS (SELECT 1 FROM silence)";

const STATEMENTS: &[&str] = &[
    OPEN_ALERTS,
    ALERTS,
    KEEP_ALERT,
    FORGET_ALERTS,
    SILENCES,
    KEEP_SILENCE,
    END_SILENCE,
    DELIVERIES,
    QUEUE,
    DONE,
    LAST,
    KEEP_LAST,
    IS_QUIET,
];

const LAYOUT: Layout<'static> = Layout {
    // `sval` in ASCII.
    application_id: 0x7376_616c,
    migrations: MIGRATIONS,
    statements: STATEMENTS,
};

/// The database.
pub(crate) struct AlertsDatabase {
    path: PathBuf,
    keep: Duration,
    clock: Arc<dyn Clock>,
    connection: Option<Connection>,
}

impl AlertsDatabase {
    /// The database of this data directory. Resolved alerts are kept for so long. Nothing is
    /// touched before its first use.
    pub(crate) fn new(data_dir: &Path, keep: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: data_dir.join("alerts.db"),
            keep,
            clock,
            connection: None,
        }
    }

    /// Runs `work` on the open database, and sets a damaged one aside.
    fn with<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        let mut again = true;
        loop {
            let done = match self.opened() {
                Ok(connection) => work(connection).map_err(Fault::from),
                Err(fault) => Err(fault),
            };
            match done {
                Ok(value) => return Ok(value),
                Err(Fault::Damaged(why)) if again => {
                    again = false;
                    self.connection = None;
                    move_aside(&self.path, self.clock.wall(), MOST_SET_ASIDE).map_err(|error| {
                        StoreError::Unavailable(format!(
                            "{} is damaged ({why}) and cannot be set aside: {error}",
                            self.path.display()
                        ))
                    })?;
                }
                Err(fault) => {
                    if fault.wants_reopening() {
                        self.connection = None;
                    }
                    return Err(fault.told(&self.path));
                }
            }
        }
    }

    fn opened(&mut self) -> Result<&mut Connection, Fault> {
        if self.connection.is_none() {
            let mut connection = raw(&self.path)?;
            tune(&connection)?;
            // An alert that was kept must not be lost with the power.
            connection.pragma_update(None, "synchronous", "FULL")?;
            match migrate(&mut connection, &LAYOUT)? {
                Fit::Ours | Fit::Newer(_) => {}
            }
            self.connection = Some(connection);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| Fault::Unusable("not open".to_owned()))
    }

    /// Closes it while nothing in it may change.
    fn rest(&mut self) {
        let quiet = self.connection.as_ref().is_some_and(|connection| {
            connection
                .query_row(IS_QUIET, [], |row| row.get(0))
                .unwrap_or(false)
        });
        if quiet {
            self.connection = None;
        }
    }
}

impl AlertStore for AlertsDatabase {
    fn load(&mut self) -> Result<Kept, StoreError> {
        if !self.path.exists() {
            return Ok(Kept::default());
        }
        let kept = self.with(|connection| {
            let queue = read_deliveries(connection)?;
            Ok(Kept {
                alerts: bodies::<Alert>(connection, OPEN_ALERTS)?,
                silences: bodies::<Silence>(connection, SILENCES)?,
                queue,
                last: (
                    AlertId(last(connection, "alert")?),
                    SilenceId(last(connection, "silence")?),
                    last(connection, "delivery")?,
                ),
            })
        });
        self.rest();
        kept
    }

    fn commit(&mut self, batch: &AlertBatch) -> Result<(), StoreError> {
        let keep = i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX);
        let oldest = self.clock.wall().0.saturating_sub(keep);
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write(&transaction, batch)?;
            if batch
                .alerts
                .iter()
                .any(|alert| alert.phase == Phase::Resolved)
            {
                transaction
                    .prepare_cached(FORGET_ALERTS)?
                    .execute(params![oldest, MOST_ALERTS])?;
            }
            transaction.commit()
        })?;
        self.rest();
        Ok(())
    }

    fn alerts(&mut self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let number = |id: AlertId| i64::try_from(id.0).unwrap_or(i64::MAX);
        let found = self.with(|connection| {
            let mut statement = connection.prepare_cached(ALERTS)?;
            let rows = statement.query_map(
                params![
                    query.before.map_or(i64::MAX, number),
                    query.id.map(number),
                    query.service,
                    query.limit
                ],
                |row| row.get::<_, String>(0),
            )?;
            let texts: Result<Vec<String>, _> = rows.collect();
            Ok(read_all(&texts?))
        });
        self.rest();
        found
    }
}

fn write(connection: &Connection, batch: &AlertBatch) -> Result<(), rusqlite::Error> {
    for alert in &batch.alerts {
        let open = alert.phase != Phase::Resolved;
        let subject = alert.subject.to_string();
        connection.prepare_cached(KEEP_ALERT)?.execute(params![
            alert.id.0.cast_signed(),
            subject,
            open,
            alert.opened.0,
            json(alert)
        ])?;
        keep_last(connection, "alert", alert.id.0)?;
    }
    for silence in &batch.silences {
        let id = silence.id.0;
        connection
            .prepare_cached(KEEP_SILENCE)?
            .execute(params![id.cast_signed(), json(silence)])?;
        keep_last(connection, "silence", id)?;
    }
    for id in &batch.ended {
        connection
            .prepare_cached(END_SILENCE)?
            .execute(params![id.0.cast_signed()])?;
    }
    for delivery in &batch.queue {
        connection.prepare_cached(QUEUE)?.execute(params![
            delivery.number.cast_signed(),
            &*delivery.sink,
            json(&delivery.notice)
        ])?;
        keep_last(connection, "delivery", delivery.number)?;
    }
    for number in &batch.done {
        connection
            .prepare_cached(DONE)?
            .execute(params![number.cast_signed()])?;
    }
    Ok(())
}

fn keep_last(connection: &Connection, what: &str, id: u64) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare_cached(KEEP_LAST)?;
    statement.execute(params![what, id.cast_signed()]).map(drop)
}

fn last(connection: &Connection, what: &str) -> Result<u64, rusqlite::Error> {
    let mut statement = connection.prepare_cached(LAST)?;
    match statement.query_row([what], |row| row.get::<_, i64>(0)) {
        Ok(id) => Ok(u64::try_from(id).unwrap_or(0)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(0),
        Err(error) => Err(error),
    }
}

fn bodies<T: DeserializeOwned>(
    connection: &Connection,
    sql: &str,
) -> Result<Vec<T>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let texts: Result<Vec<String>, _> = rows.collect();
    Ok(read_all(&texts?))
}

/// Those that can be read: one that a newer version wrote in another form must not hide the
/// others.
fn read_all<T: DeserializeOwned>(texts: &[String]) -> Vec<T> {
    let read = |text: &String| serde_json::from_str(text).ok();
    texts.iter().filter_map(read).collect()
}

fn read_deliveries(connection: &Connection) -> Result<Vec<Delivery>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(DELIVERIES)?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
        ))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (number, sink, body) = row?;
        if let Ok(notice) = serde_json::from_str::<Notice>(&body) {
            found.push(Delivery {
                number: u64::try_from(number).unwrap_or(0),
                sink: sink.into(),
                notice,
            });
        }
    }
    Ok(found)
}

/// Keys are strings and numbers finite, so it can always be written.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use supervisor_core::Timestamp;
    use supervisor_core::alert::{NoticeKind, Pattern};
    use supervisor_core::time::Time;
    use tempfile::TempDir;

    use super::*;
    use crate::adapters::clock::RealClock;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

    fn database(dir: &TempDir) -> AlertsDatabase {
        AlertsDatabase::new(dir.path(), WEEK, Arc::new(RealClock))
    }

    fn alert(id: u64, phase: Phase, opened: Timestamp) -> Alert {
        let mut alert = Alert::example(opened);
        alert.id = AlertId(id);
        alert.phase = phase;
        alert
    }

    fn now() -> Timestamp {
        RealClock.wall()
    }

    fn delivery(number: u64) -> Delivery {
        Delivery {
            number,
            sink: "ops".into(),
            notice: Notice {
                kind: NoticeKind::Firing,
                alert: alert(1, Phase::Firing, Timestamp(1_000_000)),
                to: vec!["ops".into()],
            },
        }
    }

    #[test]
    fn what_is_kept_is_found_by_the_next_one_and_what_is_over_is_not() {
        let dir = TempDir::new().unwrap();
        let mut first = database(&dir);
        assert_eq!(first.load(), Ok(Kept::default()));
        assert!(!dir.path().join("alerts.db").exists(), "nothing to keep");
        let silence = Silence {
            id: SilenceId(4),
            services: Pattern::new("db-*").unwrap(),
            tag: None,
            until: now(),
            ends: Time(7),
            by: "ann".to_owned(),
            note: String::new(),
        };
        let batch = AlertBatch {
            alerts: vec![
                alert(1, Phase::Firing, now()),
                alert(2, Phase::Pending, now()),
            ],
            silences: vec![silence.clone()],
            queue: vec![delivery(8), delivery(9)],
            ..AlertBatch::default()
        };
        first.commit(&batch).unwrap();
        drop(first);
        let mut second = database(&dir);
        let kept = second.load().unwrap();
        assert_eq!(kept.alerts.len(), 2);
        assert_eq!(kept.silences, [silence]);
        assert_eq!(kept.queue, [delivery(8), delivery(9)]);
        assert_eq!(kept.last, (AlertId(2), SilenceId(4), 9));
        let batch = AlertBatch {
            alerts: vec![alert(2, Phase::Resolved, now())],
            ended: vec![SilenceId(4)],
            done: vec![8],
            ..AlertBatch::default()
        };
        second.commit(&batch).unwrap();
        let kept = database(&dir).load().unwrap();
        let ids: Vec<_> = kept.alerts.iter().map(|alert| alert.id.0).collect();
        assert_eq!(
            (ids, kept.silences.len(), kept.queue.len()),
            (vec![1], 0, 1)
        );
        assert_eq!(kept.last, (AlertId(2), SilenceId(4), 9), "no number twice");
        let query = AlertQuery {
            limit: 10,
            ..AlertQuery::default()
        };
        let all = second.alerts(&query).unwrap();
        let ids: Vec<_> = all.iter().map(|alert| alert.id.0).collect();
        assert_eq!(ids, [2, 1]);
        let before = AlertQuery {
            before: Some(AlertId(2)),
            ..query
        };
        assert_eq!(second.alerts(&before).unwrap().len(), 1);
    }

    #[test]
    fn old_alerts_are_forgotten_unless_they_are_open() {
        let dir = TempDir::new().unwrap();
        let mut database = database(&dir);
        let old = Timestamp(now().0 - 30 * 24 * 3600 * 1_000_000);
        let batch = AlertBatch {
            alerts: vec![
                alert(1, Phase::Resolved, old),
                alert(2, Phase::Firing, old),
                alert(3, Phase::Resolved, now()),
            ],
            ..AlertBatch::default()
        };
        database.commit(&batch).unwrap();
        let query = AlertQuery {
            limit: 10,
            ..AlertQuery::default()
        };
        let ids: Vec<_> = database.alerts(&query).unwrap();
        let ids: Vec<_> = ids.iter().map(|alert| alert.id.0).collect();
        assert_eq!(ids, [3, 2]);
    }

    #[test]
    fn a_damaged_one_is_set_aside_and_a_garbled_alert_hides_no_other() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("alerts.db");
        fs::write(
            &path,
            b"this is no database, but it is long enough to be taken for one",
        )
        .unwrap();
        let mut database = database(&dir);
        assert_eq!(database.load(), Ok(Kept::default()));
        let batch = AlertBatch {
            alerts: vec![
                alert(1, Phase::Firing, now()),
                alert(2, Phase::Firing, now()),
            ],
            ..AlertBatch::default()
        };
        database.commit(&batch).unwrap();
        database
            .with(|connection| connection.execute("UPDATE alert SET body = '{' WHERE id = 1", []))
            .unwrap();
        assert_eq!(database.load().unwrap().alerts.len(), 1);
        let aside = fs::read_dir(dir.path()).unwrap().flatten();
        let aside = aside.filter(|file| file.file_name().to_string_lossy().contains("corrupt"));
        assert_eq!(aside.count(), 1);
    }
}
