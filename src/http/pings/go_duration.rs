//! Durations as Go writes and reads them: `1h2m3.5s`, `300ms`, `1.5us`, `0`.

use std::time::Duration;

/// Reads one; a negative one is none that anything could have taken.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(super) fn go_duration(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| Err(format!("{text:?} {why}"));
    if text.starts_with('-') {
        return wrong("is negative");
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return wrong("is empty");
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = rest.split_at(end.unwrap_or(rest.len()));
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, more) = unit.split_at(end.unwrap_or(unit.len()));
        // Neither `inf` nor `1e3` gets here: digits and dots alone.
        let Ok(number) = number.parse::<f64>() else {
            return wrong("has a part without a number");
        };
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "" => return wrong("lacks a unit: ns, us, ms, s, m or h"),
                _ => return wrong("has an unknown unit: use ns, us, ms, s, m or h"),
            };
        rest = more;
    }
    Duration::try_from_secs_f64(seconds).or_else(|_| wrong("is too long"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_go_writes_is_read() {
        for (text, micros) in [
            ("0", 0),
            ("0s", 0),
            ("3s", 3_000_000),
            ("+3s", 3_000_000),
            ("1.5s", 1_500_000),
            (".5s", 500_000),
            ("1.s", 1_000_000),
            ("300ms", 300_000),
            ("100µs", 100),
            ("100μs", 100),
            ("100us", 100),
            ("5000ns", 5),
            ("1h2m3.5s", 3_723_500_000),
        ] {
            assert_eq!(
                go_duration(text),
                Ok(Duration::from_micros(micros)),
                "{text}"
            );
        }
    }

    #[test]
    fn f26_anything_else_is_said_to_be_wrong() {
        for text in [
            "",
            "+",
            "-3s",
            "3",
            "s",
            ".s",
            "..5s",
            "1..5s",
            "3 s",
            "3d",
            "3S",
            "1s2",
            "NaN",
            "NaNs",
            "infs",
            "1e3s",
            "0x1s",
            "ü",
            "3sü",
            "--1s",
            "99999999999999999999999h",
        ] {
            let why = go_duration(text).unwrap_err();
            assert!(why.contains(text), "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[0-9.a-zµ+-]{0,20}") {
            let _ = go_duration(&text);
        }

        #[test]
        fn a_number_of_milliseconds_is_that(ms in 0_u64..1_000_000_000) {
            let read = go_duration(&format!("{ms}ms")).unwrap();
            let difference = read.abs_diff(Duration::from_millis(ms));
            prop_assert!(difference < Duration::from_micros(1), "{ms}: {read:?}");
        }
    }
}
