//! Durations as people write them, read by humantime.

use std::time::Duration;

use humantime::DurationError;

/// Longer than any duration that somebody means.
const MOST_BYTES: usize = 40;
/// More digits than any number in one. Three such numbers of years are less than a [`Duration`]
/// can hold.
const MOST_DIGITS: usize = 11;

/// `1m 30s`. Who sends it may be anybody: humantime 2.4 panics where seconds that just fit and
/// nanoseconds that are a whole second are added up, so nothing comes near that here.
///
/// # Errors
/// Where it is no duration, or so long that nobody means it.
pub(crate) fn duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len);
    if text.len() > MOST_BYTES || digits.max().is_some_and(|most| most > MOST_DIGITS) {
        return Err(DurationError::NumberOverflow);
    }
    #[expect(clippy::disallowed_methods, reason = "this is the one place for it")]
    humantime::parse_duration(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, millis) in [("1m 30s", 90_000), ("500ms", 500), ("2h 1ns", 7_200_000)] {
            assert_eq!(duration(text).map(|d| d.as_millis()), Ok(millis), "{text}");
        }
        assert!(duration("soon").is_err());
    }

    #[test]
    fn no_sum_is_beyond_what_a_duration_holds() {
        for text in [
            "18446744073709551615s 1000000000ns",
            "99999999999y 99999999999y 99999999999y 1s",
            "18446744073709551615s",
        ] {
            assert_eq!(duration(text), Err(DurationError::NumberOverflow), "{text}");
        }
        assert!(duration("99999999999y 99999999999y 99999999999y").is_ok());
    }
}
