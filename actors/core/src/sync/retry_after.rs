//! `Retry-After`: seconds, or a date in one of HTTP's three spellings (RFC 9110, 5.6.7 and
//! 10.2.3).

use std::time::{Duration, UNIX_EPOCH};

use crate::time::Timestamp;

/// The longest wait that a server can ask of us: a larger number is a mistake of its own.
pub const LONGEST: Duration = Duration::from_secs(3600);

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// How long it asks to wait, at most [`LONGEST`]; nothing where it says nothing that makes
/// sense, or no wait at all: our own backoff knows better then.
#[must_use]
pub fn parse(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only digits: what does not fit is absurdly much.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let micros = date(text)?.saturating_sub(now.0);
        Duration::from_micros(u64::try_from(micros).ok()?)
    };
    (!wait.is_zero()).then(|| wait.min(LONGEST))
}

/// A date in microseconds since the epoch.
fn date(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let civil = match *words.as_slice() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [weekday, day, month, year, time, "GMT"] if weekday.ends_with(',') => {
            (day, month, number(year, 4)?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [weekday, date, time, "GMT"] if weekday.ends_with(',') => {
            let mut parts = date.splitn(3, '-');
            let (day, month) = (parts.next()?, parts.next()?);
            let year = number(parts.next()?, 2)?;
            // Nobody asks us to wait until the last century.
            (day, month, 2000 + year, time)
        }
        // Sun Nov  6 08:49:37 1994
        [_weekday, month, day, time, year] => (day, month, number(year, 4)?, time),
        _ => return None,
    };
    let (day, month, year, time) = civil;
    let day: u32 = day.parse().ok()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let text = format!("{year:04}-{month:02}-{day:02}T{time}Z");
    let time = humantime::parse_rfc3339(&text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u32> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Timestamp = Timestamp(784_111_777_000_000);

    fn seconds(text: &str) -> Option<u64> {
        parse(text, NOW).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_are_taken_as_they_are() {
        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds(" 120 "), Some(120));
    }

    #[test]
    fn a_date_is_taken_in_each_spelling_of_http() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        let soon = Timestamp(1_794_000_000_000_000);
        let after = |text| parse(text, soon).map(|wait| wait.as_secs());
        assert_eq!(after("Friday, 06-Nov-26 21:20:09 GMT"), Some(9));
        assert_eq!(seconds("Sun Nov  6 08:49:41 1994"), Some(4));
    }

    #[test]
    fn f50_an_absurd_wait_is_capped() {
        for absurd in [
            "3601",
            "31536000",
            "99999999999999999999999999",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(parse(absurd, NOW), Some(LONGEST), "{absurd}");
        }
    }

    #[test]
    fn what_asks_for_no_wait_or_makes_no_sense_is_left_to_the_backoff() {
        for nothing in [
            "0",
            "",
            "-5",
            "1.5",
            "soon",
            "1994-11-06T08:50:37Z",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1970 08:49:37 GMT",
            "Sun, 31 Feb 2030 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:50:37 CET",
            "Sun, 06 Nov 99999 08:50:37 GMT",
        ] {
            assert_eq!(parse(nothing, NOW), None, "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much_for_it(text in ".{0,40}", now in any::<i64>()) {
            let wait = parse(&text, Timestamp(now));
            prop_assert!(wait.is_none_or(|wait| !wait.is_zero() && wait <= LONGEST));
        }
    }
}
