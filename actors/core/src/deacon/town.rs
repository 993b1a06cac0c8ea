//! The functions of the Deacon's own library, by their names there, pure: bytes and times come
//! in, bytes and answers go out.
//!
//! Where there is no heartbeat (no file, or bytes that hold none) it is very stale, as there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{GoTime, Heartbeat, NoHeartbeat, STALE, VERY_STALE};
use crate::level::Freshness;
use crate::time::Timestamp;

/// Where a town's Deacon keeps its heartbeat.
#[must_use]
pub fn heartbeat_file(town: &Path) -> PathBuf {
    town.join("deacon").join("heartbeat.json")
}

/// What these bytes of the file say: [`Heartbeat::parse`].
///
/// # Errors
/// Where the Deacon's own reader would refuse them.
pub fn read(bytes: &[u8]) -> Result<Heartbeat, NoHeartbeat> {
    Heartbeat::parse(bytes)
}

/// The bytes of the file: [`Heartbeat::to_bytes`].
#[must_use]
pub fn write(heartbeat: &Heartbeat) -> Vec<u8> {
    heartbeat.to_bytes()
}

/// The heartbeat that follows what stood there: [`Heartbeat::touch`].
#[must_use]
pub fn touch(previous: Option<&Heartbeat>, now: Timestamp) -> Heartbeat {
    Heartbeat::touch(previous, now)
}

/// The same with what was done: [`Heartbeat::touch_with_action`].
#[must_use]
pub fn touch_with_action(
    previous: Option<&Heartbeat>,
    now: Timestamp,
    action: &str,
    healthy: i64,
    unhealthy: i64,
) -> Heartbeat {
    Heartbeat::touch_with_action(previous, now, action, healthy, unhealthy)
}

/// How old it is; `None` where none was ever written. One from the future is as old as now.
#[must_use]
pub fn age(heartbeat: Option<&Heartbeat>, now: Timestamp) -> Option<Duration> {
    heartbeat.and_then(|heartbeat| heartbeat.age(now).age)
}

/// The Deacon's word for its age.
#[must_use]
pub fn freshness(heartbeat: Option<&Heartbeat>, now: Timestamp) -> Freshness {
    heartbeat.map_or(Freshness::VeryStale, |heartbeat| {
        heartbeat.age(now).freshness(STALE, VERY_STALE)
    })
}

/// Younger than 2 minutes.
#[must_use]
pub fn is_fresh(heartbeat: Option<&Heartbeat>, now: Timestamp) -> bool {
    freshness(heartbeat, now) == Freshness::Fresh
}

/// From 2 minutes on, and younger than 5.
#[must_use]
pub fn is_stale(heartbeat: Option<&Heartbeat>, now: Timestamp) -> bool {
    freshness(heartbeat, now) == Freshness::Stale
}

/// From 5 minutes on, or none.
#[must_use]
pub fn is_very_stale(heartbeat: Option<&Heartbeat>, now: Timestamp) -> bool {
    freshness(heartbeat, now) == Freshness::VeryStale
}

/// Whether the Deacon should be poked: only when it is very stale.
#[must_use]
pub fn should_poke(heartbeat: Option<&Heartbeat>, now: Timestamp) -> bool {
    is_very_stale(heartbeat, now)
}

/// How old a sign of life is that we meet as it stands: since the earliest of what it says,
/// when its file was last changed, and now. So neither a timestamp from the future nor a copy
/// of an old file makes it younger than it is.
#[must_use]
pub fn age_at_first_sight(said: Option<GoTime>, modified: Timestamp, now: Timestamp) -> Duration {
    let modified = GoTime::from(modified);
    let earliest = said.map_or(modified, |said| said.min(modified));
    GoTime::from(now).since(earliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T18:30:00Z.
    const NOON: Timestamp = Timestamp(1_767_378_600_000_000);

    fn later(seconds: i64) -> Timestamp {
        Timestamp(NOON.0 + seconds * 1_000_000)
    }

    #[test]
    fn the_file_stands_in_the_deacon_s_directory_of_the_town() {
        assert_eq!(
            heartbeat_file(Path::new("/town")),
            Path::new("/town/deacon/heartbeat.json")
        );
    }

    #[test]
    fn only_one_of_the_words_is_true_and_only_the_very_stale_is_poked() {
        let heartbeat = touch(None, NOON);
        for (seconds, fresh, stale, very_stale) in [
            (-60, true, false, false),
            (0, true, false, false),
            (119, true, false, false),
            (120, false, true, false),
            (299, false, true, false),
            (300, false, false, true),
            (86_400, false, false, true),
        ] {
            let (heartbeat, now) = (Some(&heartbeat), later(seconds));
            assert_eq!(is_fresh(heartbeat, now), fresh, "{seconds} s");
            assert_eq!(is_stale(heartbeat, now), stale, "{seconds} s");
            assert_eq!(is_very_stale(heartbeat, now), very_stale, "{seconds} s");
            assert_eq!(should_poke(heartbeat, now), very_stale, "{seconds} s");
        }
    }

    #[test]
    fn no_heartbeat_has_no_age_and_is_very_stale() {
        for nothing in [None, read(b"{}").ok(), read(b"").ok()] {
            let nothing = nothing.as_ref();
            assert_eq!(age(nothing, NOON), None);
            assert!(should_poke(nothing, NOON));
            assert!(!is_fresh(nothing, NOON) && !is_stale(nothing, NOON));
        }
    }

    #[test]
    fn what_is_written_is_read_and_touched_again() {
        let first = touch_with_action(None, NOON, "health-scan", 3, 0);
        let stood = read(&write(&first)).expect("a heartbeat");
        assert_eq!(stood, first);
        let second = touch(Some(&stood), later(60));
        assert_eq!(second.cycle, 2);
        assert_eq!(age(Some(&second), later(90)), Some(Duration::from_secs(30)));
    }

    #[test]
    fn at_first_sight_the_earliest_of_all_times_counts() {
        let said = |seconds| Some(GoTime::from(later(seconds)));
        let minutes = |n: u64| Duration::from_secs(n * 60);
        for (said, modified, age) in [
            (said(-180), -60, minutes(3)),
            (said(-60), -180, minutes(3)),
            // A future on either side does not make it younger.
            (said(900), -180, minutes(3)),
            (said(-180), 900, minutes(3)),
            (said(900), 900, minutes(0)),
            (None, -180, minutes(3)),
        ] {
            assert_eq!(age_at_first_sight(said, later(modified), NOON), age);
        }
        // Nothing overflows.
        let never = age_at_first_sight(Some(GoTime::ZERO), NOON, NOON);
        assert!(never.as_secs() > 60_000_000_000);
        let longest = age_at_first_sight(None, Timestamp(i64::MIN), Timestamp(i64::MAX));
        assert!(longest.as_secs() > 253_000_000_000);
    }
}
