//! The tables of `history.db`.

use crate::adapters::store::schema::Layout;

/// One step each, from version n to n + 1. Never change one that was released: add another.
const MIGRATIONS: &[&str] = &[
    // Everything is keyed by time first: what is new goes to the end, what is old goes in one
    // piece, and a service's stretch is one look-up. `open` has a row a minute with all services
    // in it; when their hour has ended, each service's minutes of it become one row.
    "CREATE TABLE open (
        n      INTEGER PRIMARY KEY,
        minute INTEGER NOT NULL,
        until  INTEGER NOT NULL,
        data   BLOB NOT NULL
     );
     CREATE TABLE minutes (
        hour    INTEGER NOT NULL,
        service TEXT NOT NULL,
        data    BLOB NOT NULL,
        PRIMARY KEY (hour, service)
     ) WITHOUT ROWID;
     CREATE TABLE hours (
        hour    INTEGER NOT NULL,
        service TEXT NOT NULL,
        data    BLOB NOT NULL,
        PRIMARY KEY (hour, service)
     ) WITHOUT ROWID;
     CREATE TABLE days (
        day     INTEGER NOT NULL,
        service TEXT NOT NULL,
        data    BLOB NOT NULL,
        PRIMARY KEY (day, service)
     ) WITHOUT ROWID;
     CREATE TABLE gap (
        began  INTEGER PRIMARY KEY,
        ended  INTEGER NOT NULL,
        reason TEXT NOT NULL
     );",
];

pub(super) const ADD: &str = "INSERT INTO open (minute, until, data) VALUES (?1, ?2, ?3)";
/// As they were written: by its date the last one may be one of a clock that was wrong.
pub(super) const LAST_UNTIL: &str = "SELECT (SELECT until FROM open ORDER BY n DESC LIMIT 1)";
pub(super) const LAST_HOUR: &str = "SELECT max(hour) FROM hours";
pub(super) const UNTIL_BEFORE: &str = "SELECT max(until) FROM open WHERE until <= ?1";
pub(super) const HOUR_BEFORE: &str = "SELECT max(hour) FROM hours WHERE hour < ?1";
pub(super) const ENDED_HOUR: &str =
    "SELECT minute / 60 FROM open WHERE minute < ?1 ORDER BY n LIMIT 1";
pub(super) const OPEN: &str =
    "SELECT minute, data FROM open WHERE minute >= ?1 AND minute < ?2 ORDER BY n";
pub(super) const CLOSE: &str = "DELETE FROM open WHERE minute >= ?1 AND minute < ?2";
pub(super) const REWRITE: &str = "UPDATE open SET data = ?2 WHERE n = ?1";
pub(super) const ALL_OPEN: &str = "SELECT n, minute, data FROM open";

pub(super) const MINUTES: &str = "SELECT data FROM minutes WHERE hour = ?1 AND service = ?2";
pub(super) const PUT_MINUTES: &str =
    "INSERT OR REPLACE INTO minutes (hour, service, data) VALUES (?1, ?2, ?3)";
pub(super) const HOUR: &str = "SELECT data FROM hours WHERE hour = ?1 AND service = ?2";
pub(super) const PUT_HOUR: &str =
    "INSERT OR REPLACE INTO hours (hour, service, data) VALUES (?1, ?2, ?3)";
pub(super) const DAY: &str = "SELECT data FROM days WHERE day = ?1 AND service = ?2";
pub(super) const PUT_DAY: &str =
    "INSERT OR REPLACE INTO days (day, service, data) VALUES (?1, ?2, ?3)";

pub(super) const HAS_DAY: &str = "SELECT EXISTS (SELECT 1 FROM days WHERE day = ?1)";
pub(super) const NEXT_DAY: &str = "SELECT min(day) FROM days WHERE day >= ?1";
pub(super) const NEXT_MINUTES: &str = "SELECT min(hour) FROM minutes WHERE hour >= ?1";
pub(super) const NEXT_HOUR: &str = "SELECT min(hour) FROM hours WHERE hour >= ?1";
pub(super) const HOURS_OF: &str =
    "SELECT service, data FROM hours WHERE hour >= ?1 AND hour < ?2 ORDER BY hour";

/// A step's worth of what is older: time comes first in the key, so it is one piece.
pub(super) const FORGET_MINUTES: &str = "DELETE FROM minutes WHERE (hour, service) IN
    (SELECT hour, service FROM minutes WHERE hour < ?1 LIMIT ?2)";
pub(super) const FORGET_HOURS: &str = "DELETE FROM hours WHERE (hour, service) IN
    (SELECT hour, service FROM hours WHERE hour < ?1 LIMIT ?2)";
pub(super) const FORGET_GAPS: &str = "DELETE FROM gap WHERE ended < ?1";

pub(super) const DELETE_MINUTES: &str = "DELETE FROM minutes WHERE hour < ?1 AND service = ?2";
pub(super) const DELETE_HOURS: &str = "DELETE FROM hours WHERE hour < ?1 AND service = ?2";
pub(super) const DELETE_DAYS: &str = "DELETE FROM days WHERE day < ?1 AND service = ?2";

pub(super) const ADD_GAP: &str =
    "INSERT OR REPLACE INTO gap (began, ended, reason) VALUES (?1, ?2, ?3)";
pub(super) const LAST_LEAP: &str =
    "SELECT max(ended) FROM gap WHERE ended - began > ?1 AND ended <= ?2";
pub(super) const GAPS: &str = "SELECT began, ended, reason FROM gap
    WHERE ended > ?1 AND began < ?2 ORDER BY began LIMIT 1000";

pub(super) const LAYOUT: Layout<'static> = Layout {
    // `svhi` in ASCII.
    application_id: 0x7376_6869,
    migrations: MIGRATIONS,
    statements: &[
        ADD,
        LAST_UNTIL,
        LAST_HOUR,
        UNTIL_BEFORE,
        HOUR_BEFORE,
        ENDED_HOUR,
        OPEN,
        CLOSE,
        REWRITE,
        ALL_OPEN,
        MINUTES,
        PUT_MINUTES,
        HOUR,
        PUT_HOUR,
        DAY,
        PUT_DAY,
        HAS_DAY,
        NEXT_DAY,
        NEXT_MINUTES,
        NEXT_HOUR,
        HOURS_OF,
        FORGET_MINUTES,
        FORGET_HOURS,
        FORGET_GAPS,
        DELETE_MINUTES,
        DELETE_HOURS,
        DELETE_DAYS,
        ADD_GAP,
        LAST_LEAP,
        GAPS,
    ],
};
