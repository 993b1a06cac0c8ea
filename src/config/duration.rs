//! Durations (`"1m 30s"`, a bare number is seconds) and sizes (`"10 MB"`, `"64 KiB"`).

use std::time::Duration;

use super::value::Value;

/// Longer than this is a mistake in the unit, and near the end of what clocks can add.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What a user's duration looks like.
const EXAMPLE: &str = "\"30s\"";

/// The units of sizes, and what they multiply by.
const SIZES: [(&str, u64); 9] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];

/// A duration of any length, or said.
pub(crate) fn duration(value: &Value<'_>) -> Option<Duration> {
    at_least(value, Duration::ZERO)
}

/// A duration that is not zero, or said.
pub(crate) fn positive(value: &Value<'_>) -> Option<Duration> {
    at_least(value, Duration::from_nanos(1))
}

/// A duration not shorter than `least`, or said.
pub(crate) fn at_least(value: &Value<'_>, least: Duration) -> Option<Duration> {
    let parsed = match (value.text(), value.number()) {
        (Some(text), _) => from_text(text),
        (None, Some(seconds)) => from_seconds(seconds),
        (None, None) => {
            return value.expected(
                "a duration",
                &format!("{EXAMPLE} (a bare number is seconds)"),
            );
        }
    };
    match parsed {
        Ok(duration) if duration < least && duration.is_zero() => {
            value.wrong("is zero", format!("write a duration like {EXAMPLE}"))
        }
        Ok(duration) if duration < least => value.wrong(
            format!("is shorter than {}", show(least)),
            format!("at least {} is needed", show(least)),
        ),
        Ok(duration) => Some(duration),
        Err(Bad { problem, help }) => value.wrong(problem, help),
    }
}

/// Why a text or number is no duration or size.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    problem: String,
    help: String,
}

fn bad<T>(problem: &str, help: impl Into<String>) -> Result<T, Bad> {
    Err(Bad {
        problem: problem.to_owned(),
        help: help.into(),
    })
}

/// Seconds, also fractions of them.
fn from_seconds(seconds: f64) -> Result<Duration, Bad> {
    if seconds.is_nan() {
        return bad("is not a number", "a bare number is seconds: 30, or 0.5");
    }
    if seconds < 0.0 {
        return negative();
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => bounded(duration),
        Err(_) => too_long(),
    }
}

/// What humantime reads: numbers with units.
pub(crate) fn from_text(text: &str) -> Result<Duration, Bad> {
    use humantime::DurationError as Why;

    let text = text.trim();
    if text.starts_with('-') {
        return negative();
    }
    // To humantime this is a month; whoever writes it means minutes or megabytes.
    let month = |c: char| !c.is_alphabetic();
    if text.split(month).any(|unit| unit == "M") {
        return bad("has an unclear unit, M", "m is minutes: \"5m\"");
    }
    match crate::human_time::duration(text) {
        Ok(duration) => bounded(duration),
        // humantime wants a unit even here.
        Err(_) if text == "0" => Ok(Duration::ZERO),
        Err(Why::Empty) => bad("is empty", format!("write a duration like {EXAMPLE}")),
        Err(Why::NumberOverflow) => too_long(),
        Err(Why::UnknownUnit { unit, .. }) if unit.is_empty() => bad(
            "has no unit",
            format!("write \"{text}s\" for seconds, or the number without quotes"),
        ),
        Err(Why::UnknownUnit { unit, .. }) => bad(
            &format!("has an unknown unit, {unit:?}"),
            "the units are ms, s, m, h, d, w: \"1m 30s\"",
        ),
        Err(Why::InvalidCharacter(_) | Why::NumberExpected(_)) => bad(
            &format!("is no duration: {text:?}"),
            "numbers with units, like \"500ms\", \"30s\", \"1m 30s\", \"2h\"",
        ),
    }
}

fn negative<T>() -> Result<T, Bad> {
    bad("is negative", "a duration counts forward: \"30s\"")
}

fn too_long<T>() -> Result<T, Bad> {
    bad("is longer than ten years", "is the unit right?")
}

fn bounded(duration: Duration) -> Result<Duration, Bad> {
    if duration > LONGEST {
        too_long()
    } else {
        Ok(duration)
    }
}

/// A duration as people write it, without what lies below a millisecond.
pub(crate) fn show(duration: Duration) -> String {
    let whole = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let shown = if whole.is_zero() { duration } else { whole };
    humantime::format_duration(shown).to_string()
}

/// A size in bytes, not below `least`, or said.
pub(crate) fn size(value: &Value<'_>, least: u64) -> Option<u64> {
    let parsed = match (value.text(), value.integer()) {
        (Some(text), _) => size_from_text(text),
        (None, Some(bytes)) => match bytes.map(u64::try_from) {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(_)) | Err(()) => bad("is no size", "bytes, or a size like \"10 MB\""),
        },
        (None, None) => return value.expected("a size", "\"10 MB\""),
    };
    match parsed {
        Ok(bytes) if bytes < least => value.wrong(
            format!("is smaller than {least} bytes"),
            "for example: \"10 MB\"",
        ),
        Ok(bytes) => Some(bytes),
        Err(Bad { problem, help }) => value.wrong(problem, help),
    }
}

/// A number and a unit: decimal (`10 MB`) or binary (`64 KiB`).
fn size_from_text(text: &str) -> Result<u64, Bad> {
    const HELP: &str = "a number and one of B, KB, MB, GB, TB, KiB, MiB, GiB: \"10 MB\"";
    let text = text.trim();
    if text.starts_with('-') {
        return bad("is negative", HELP);
    }
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = unit.trim().to_ascii_lowercase();
    let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        return bad(&format!("has an unknown unit, {unit:?}"), HELP);
    };
    let Ok(number) = number.replace('_', "").parse::<f64>() else {
        return bad("is no size", HELP);
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "factors have few significant bits"
    )]
    let bytes = number * *factor as f64;
    if !bytes.is_finite() || bytes >= 1e18 {
        return bad("is larger than any disk", HELP);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded above, and no sign is left"
    )]
    Ok(bytes as u64)
}

/// A size as people write it.
pub(crate) fn show_size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    match units
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units_and_may_have_fractions() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("500ms", 500),
            ("2h", 7_200_000),
            (" 7d ", 604_800_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(
                from_text(text),
                Ok(Duration::from_millis(millis)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_says_what_is_wrong_with_it() {
        for (text, problem) in [
            ("", "is empty"),
            ("-5s", "is negative"),
            ("30", "has no unit"),
            ("30 parsecs", "has an unknown unit, \"parsecs\""),
            ("5M", "has an unclear unit, M"),
            ("1h 5M", "has an unclear unit, M"),
            ("soon", "is no duration: \"soon\""),
            ("99999999999999999999s", "is longer than ten years"),
            ("1000000 weeks", "is longer than ten years"),
        ] {
            assert_eq!(from_text(text).unwrap_err().problem, problem, "{text:?}");
        }
    }

    #[test]
    fn seconds_may_be_fractions_but_neither_negative_nor_absurd() {
        assert_eq!(from_seconds(0.5), Ok(Duration::from_millis(500)));
        for seconds in [
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e300,
            1e10,
        ] {
            assert!(from_seconds(seconds).is_err(), "{seconds}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary() {
        for (text, bytes) in [
            ("10 MB", 10_000_000),
            ("10MB", 10_000_000),
            ("64 KiB", 65_536),
            ("1.5 KiB", 1_536),
            ("1_000", 1_000),
            ("12 b", 12),
        ] {
            assert_eq!(size_from_text(text), Ok(bytes), "{text:?}");
        }
        for text in ["", "MB", "-1 MB", "1..2 MB", "10 XB", "99999999 TB"] {
            assert!(size_from_text(text).is_err(), "{text:?}");
        }
    }
}
