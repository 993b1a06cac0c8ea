//! Durations and dates as people read them.

/// Seconds as `0.4 s`, `12 s`, `2m 10s`, `3h 5m`, `2d 14h`: two units, the smaller left out
/// where it is zero.
pub(super) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    if seconds < 10.0 {
        // Tenths, rounded down so that a deadline never seems to have passed before it has.
        let tenths = (seconds * 10.0 + 1e-6).floor() / 10.0;
        return format!("{tenths} s");
    }
    // At most 1.8e19 s are shown; nothing lives that long.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and it is not negative"
    )]
    let whole = seconds as u64;
    let pair = |large: u64, large_unit, small: u64, small_unit| {
        if small == 0 {
            format!("{large}{large_unit}")
        } else {
            format!("{large}{large_unit} {small}{small_unit}")
        }
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => pair(whole / 60, "m", whole % 60, "s"),
        3600..86_400 => pair(whole / 3600, "h", whole % 3600 / 60, "m"),
        _ => pair(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

/// `1 restart`, `2 restarts`.
pub(super) fn count(n: u64, one: &str) -> String {
    if n == 1 {
        format!("1 {one}")
    } else {
        format!("{n} {one}s")
    }
}

/// The wall clock, for the lines of `--watch` and for "24h ago".
#[expect(
    clippy::disallowed_methods,
    reason = "a client at the edge: it shows the time and decides nothing by it"
)]
pub(super) fn now() -> supervisor_core::Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    supervisor_core::Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        for (given, shown) in [
            (0.0, "0 s"),
            (0.1, "0.1 s"),
            (0.3, "0.3 s"),
            (0.45, "0.4 s"),
            (1.0, "1 s"),
            (2.39, "2.3 s"),
            (9.99, "9.9 s"),
            (10.9, "10 s"),
            (59.9, "59 s"),
            (60.0, "1m"),
            (130.0, "2m 10s"),
            (3600.0, "1h"),
            (11_100.0, "3h 5m"),
            (223_200.0, "2d 14h"),
            (f64::NAN, "?"),
            (-1.0, "?"),
            (1e300, "213503982334601d 7h"),
        ] {
            assert_eq!(seconds(given), shown, "{given}");
        }
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(count(1, "restart"), "1 restart");
        assert_eq!(count(0, "restart"), "0 restarts");
    }
}
