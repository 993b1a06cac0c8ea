//! The Deacon's heartbeat: the bytes of its file, and what its reader makes of them.
//!
//! Its writer is Go's `json.MarshalIndent`: keys in a fixed order, an empty `last_action` left
//! out, `& < >` escaped, no newline at the end. We write the same bytes.
//!
//! Its reader is Go's `json.Unmarshal` into a struct: keys in any case, unknown ones ignored,
//! the last duplicate wins, `null` leaves a field as it was. A missing timestamp is Go's zero
//! time, hence very stale. Whatever Go refuses is no heartbeat. A timestamp ahead of our clock
//! counts as now and is flagged.

mod session;
mod town;

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::level::Freshness;
use crate::time::Timestamp;

pub use session::{Estop, PauseFile, Session};
pub use town::{
    age, age_at_first_sight, freshness, heartbeat_file, is_fresh, is_stale, is_very_stale, read,
    should_poke, touch, touch_with_action, write,
};

/// From this age on a heartbeat is stale.
pub const STALE: Duration = Duration::from_secs(2 * 60);
/// From this age on it is very stale.
pub const VERY_STALE: Duration = Duration::from_secs(5 * 60);

/// What `heartbeat.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// When it was written.
    pub timestamp: GoTime,
    /// How many times it was written.
    pub cycle: i64,
    /// What was done last; empty for nothing.
    pub last_action: String,
    /// How many are well.
    pub healthy_agents: i64,
    /// How many are not.
    pub unhealthy_agents: i64,
}

/// A point in time as Go writes it: nanoseconds, and a zero in the year 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoTime {
    /// Seconds since the Unix epoch, years 0 to 9999.
    seconds: i64,
    nanos: u32,
}

/// There is no heartbeat in these bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoHeartbeat {
    /// Nothing was written yet, or its writer is at it.
    #[error("the heartbeat file is empty")]
    Empty,
    /// Not what a Deacon writes; perhaps its writer is at it.
    #[error("not a heartbeat: {0}")]
    Malformed(String),
}

/// How old a heartbeat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAge {
    /// The time since; `None` for one that was never written (Go's zero time).
    pub age: Option<Duration>,
    /// Whether its timestamp lies ahead of our clock; it counts as now.
    pub future: bool,
}

// === impl Heartbeat ===

impl Heartbeat {
    /// The heartbeat that follows one: `touch` of the Deacon's own program.
    #[must_use]
    pub fn touch(previous: Option<&Self>, now: Timestamp) -> Self {
        Self {
            timestamp: now.into(),
            cycle: previous.map_or(1, |previous| previous.cycle.wrapping_add(1)),
            ..Self::default()
        }
    }

    /// The same with what was done and how many are well.
    #[must_use]
    pub fn touch_with_action(
        previous: Option<&Self>,
        now: Timestamp,
        action: &str,
        healthy: i64,
        unhealthy: i64,
    ) -> Self {
        Self {
            last_action: action.to_owned(),
            healthy_agents: healthy,
            unhealthy_agents: unhealthy,
            ..Self::touch(previous, now)
        }
    }

    /// The exact bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "{{\n  \"timestamp\": \"{}\",\n  \"cycle\": {},\n",
            self.timestamp, self.cycle
        );
        if !self.last_action.is_empty() {
            text.push_str("  \"last_action\": ");
            go_string(&self.last_action, &mut text);
            text.push_str(",\n");
        }
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "  \"healthy_agents\": {},\n  \"unhealthy_agents\": {}\n}}",
            self.healthy_agents, self.unhealthy_agents
        );
        text.into_bytes()
    }

    /// What these bytes say.
    ///
    /// # Errors
    /// Where the Deacon's own reader would refuse them. The writer is not atomic: a refusal
    /// is worth believing only after a second look.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoHeartbeat> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(NoHeartbeat::Empty);
        }
        // Go replaces what is not UTF-8 in strings; elsewhere it is refused all the same.
        let text = String::from_utf8_lossy(bytes);
        let Lenient(heartbeat) =
            serde_json::from_str(&text).map_err(|e| NoHeartbeat::Malformed(e.to_string()))?;
        Ok(heartbeat)
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> HeartbeatAge {
        let now = GoTime::from(now);
        if self.timestamp == GoTime::ZERO {
            return HeartbeatAge {
                age: None,
                future: false,
            };
        }
        HeartbeatAge {
            age: Some(now.since(self.timestamp)),
            future: self.timestamp > now,
        }
    }
}

impl HeartbeatAge {
    /// The Deacon's word for it, with the thresholds given (see [`STALE`], [`VERY_STALE`]).
    #[must_use]
    pub fn freshness(self, stale: Duration, very_stale: Duration) -> Freshness {
        match self.age {
            None => Freshness::VeryStale,
            Some(age) if age >= very_stale => Freshness::VeryStale,
            Some(age) if age >= stale => Freshness::Stale,
            Some(_) => Freshness::Fresh,
        }
    }
}

/// A string as Go's encoder writes it, HTML escapes included.
fn go_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{0}'..='\u{1f}' | '&' | '<' | '>' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

// === reading ===

/// A heartbeat as Go's decoder reads it.
struct Lenient(Heartbeat);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Lenient;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Lenient, E> {
        Ok(Lenient(Heartbeat::default()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lenient, A::Error> {
        let mut heartbeat = Heartbeat::default();
        while let Some(key) = map.next_key::<String>()? {
            match folded(&key).as_str() {
                "timestamp" => set(&mut heartbeat.timestamp, value(&key, &mut map)?),
                "cycle" => set(&mut heartbeat.cycle, value(&key, &mut map)?),
                "last_action" => set(&mut heartbeat.last_action, value(&key, &mut map)?),
                "healthy_agents" => set(&mut heartbeat.healthy_agents, value(&key, &mut map)?),
                "unhealthy_agents" => set(&mut heartbeat.unhealthy_agents, value(&key, &mut map)?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Lenient(heartbeat))
    }
}

/// The value of a key, or an error that names the key.
fn value<'de, T, A>(key: &str, map: &mut A) -> Result<Option<T>, A::Error>
where
    T: Deserialize<'de>,
    A: MapAccess<'de>,
{
    let named = |error| serde::de::Error::custom(format_args!("{key}: {error}"));
    map.next_value().map_err(named)
}

/// `null` leaves a field as it was.
fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A key without its case, as Go folds it: two letters beyond ASCII fold into it.
fn folded(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            'ſ' => 's',
            '\u{212a}' => 'k',
            _ => c.to_ascii_lowercase(),
        })
        .collect()
}

// === impl GoTime ===

const DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z.
const YEAR_ONE: i64 = -62_135_596_800;
/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what RFC 3339 can write.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl GoTime {
    /// Go's zero time, which stands for "never".
    pub const ZERO: Self = Self {
        seconds: YEAR_ONE,
        nanos: 0,
    };

    /// The point in time in our own microseconds.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp(self.seconds * 1_000_000 + i64::from(self.nanos / 1_000))
    }

    /// The time since `earlier`; zero if that is later.
    fn since(self, earlier: Self) -> Duration {
        let nanos = |t: Self| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
        let difference = (nanos(self) - nanos(earlier)).max(0);
        // All years of RFC 3339 fit: 3 × 10^20 ns is more than 64 bits, but not its seconds.
        Duration::new(
            u64::try_from(difference / 1_000_000_000).unwrap_or(u64::MAX),
            u32::try_from(difference % 1_000_000_000).unwrap_or(0),
        )
    }

    /// RFC 3339 as Go's `time.Time` reads it from JSON.
    fn parse(text: &str) -> Option<Self> {
        let digits = |range: std::ops::Range<usize>| -> Option<i64> {
            let part = text.get(range)?;
            let all = part.bytes().all(|b| b.is_ascii_digit());
            all.then(|| part.parse().ok()).flatten()
        };
        let is = |at: usize, byte: u8| (text.as_bytes().get(at) == Some(&byte)).then_some(());
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
        is(4, b'-')?;
        is(7, b'-')?;
        is(10, b'T')?;
        is(13, b':')?;
        is(16, b':')?;
        let valid = (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !valid {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut nanos = 0;
        if let Some(fraction) = rest.strip_prefix(['.', ',']) {
            let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if length == 0 {
                return None;
            }
            // Digits beyond the ninth are cut off.
            for place in 0..9 {
                let digit = fraction.as_bytes()[..length].get(place);
                nanos = nanos * 10 + digit.map_or(0, |digit| u32::from(digit - b'0'));
            }
            rest = &fraction[length..];
        }
        let offset = Self::parse_zone(rest)?;
        let seconds =
            days_from_civil(year, month, day) * DAY + hour * 3_600 + minute * 60 + second - offset;
        YEARS.contains(&seconds).then_some(Self { seconds, nanos })
    }

    /// `Z` or `+02:00`, in seconds.
    fn parse_zone(zone: &str) -> Option<i64> {
        if zone == "Z" {
            return Some(0);
        }
        let sign = match zone.bytes().next()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, minutes) = zone.get(1..)?.split_once(':')?;
        let two = |part: &str| -> Option<i64> {
            let both = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            both.then(|| part.parse().ok()).flatten()
        };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        // Go lets offsets of 24 hours and 60 minutes pass, and so do we.
        (hours <= 24 && minutes <= 60).then_some(sign * (hours * 3_600 + minutes * 60))
    }
}

impl Default for GoTime {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<Timestamp> for GoTime {
    fn from(timestamp: Timestamp) -> Self {
        let seconds = timestamp.0.div_euclid(1_000_000);
        Self {
            seconds: seconds.clamp(*YEARS.start(), *YEARS.end()),
            nanos: u32::try_from(timestamp.0.rem_euclid(1_000_000)).unwrap_or(0) * 1_000,
        }
    }
}

impl fmt::Display for GoTime {
    /// RFC 3339 in UTC with up to nine fractional digits, trailing zeros trimmed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second / 3_600,
            second / 60 % 60,
            second % 60
        )?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_char('Z')
    }
}

impl<'de> Deserialize<'de> for GoTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not an RFC 3339 date")))
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a civil date (Howard Hinnant, "chrono-compatible low-level date
/// algorithms"): years begin in March, so that the leap day is the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse, from the same source.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    /// 2026-01-02T18:30:00Z.
    const NOON: i64 = 1_767_378_600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn parse(text: &str) -> Result<Heartbeat, NoHeartbeat> {
        Heartbeat::parse(text.as_bytes())
    }

    fn with_time(time: &str) -> Result<Heartbeat, NoHeartbeat> {
        parse(&format!("{{\"timestamp\":\"{time}\"}}"))
    }

    #[test]
    fn the_bytes_are_those_of_the_original_writer() {
        let heartbeat = Heartbeat {
            timestamp: at(NOON).into(),
            cycle: 42,
            last_action: "health-scan".to_owned(),
            healthy_agents: 3,
            unhealthy_agents: 0,
        };
        let golden = "{\n  \"timestamp\": \"2026-01-02T18:30:00Z\",\n  \"cycle\": 42,\n  \
                      \"last_action\": \"health-scan\",\n  \"healthy_agents\": 3,\n  \
                      \"unhealthy_agents\": 0\n}";
        assert_eq!(golden.len(), 136);
        assert_eq!(heartbeat.to_bytes(), golden.as_bytes());
        assert_eq!(parse(golden), Ok(heartbeat));
    }

    #[test]
    fn an_empty_action_is_left_out_and_nine_digits_are_kept() {
        let heartbeat = parse(
            "{\"timestamp\":\"2026-04-30T13:02:38.123456789Z\",\"cycle\":1,\
             \"healthy_agents\":0,\"unhealthy_agents\":0}",
        )
        .unwrap();
        let bytes = heartbeat.to_bytes();
        assert_eq!(bytes.len(), 113);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\n  \"timestamp\": \"2026-04-30T13:02:38.123456789Z\",\n  \"cycle\": 1,\n  \
             \"healthy_agents\": 0,\n  \"unhealthy_agents\": 0\n}"
        );
    }

    #[test]
    fn trailing_zeros_of_a_second_are_trimmed() {
        let shown = |micros: i64| GoTime::from(Timestamp(NOON * 1_000_000 + micros)).to_string();
        assert_eq!(shown(0), "2026-01-02T18:30:00Z");
        assert_eq!(shown(500_000), "2026-01-02T18:30:00.5Z");
        assert_eq!(shown(1), "2026-01-02T18:30:00.000001Z");
        assert_eq!(
            GoTime::from(Timestamp(-1)).to_string(),
            "1969-12-31T23:59:59.999999Z"
        );
    }

    #[test]
    fn actions_are_escaped_as_go_does() {
        let heartbeat = Heartbeat {
            last_action: "a & b <c> \"d\" \\ \n\r\t\u{8}\u{c}\u{1}\u{7f}\u{2028}\u{2029} é"
                .to_owned(),
            ..Heartbeat::default()
        };
        let text = String::from_utf8(heartbeat.to_bytes()).unwrap();
        assert!(
            text.contains(
                "\"a \\u0026 b \\u003cc\\u003e \\\"d\\\" \\\\ \\n\\r\\t\\b\\f\\u0001\u{7f}\\u2028\\u2029 é\""
            ),
            "{text}"
        );
        assert_eq!(parse(&text), Ok(heartbeat));
    }

    #[test]
    fn touch_continues_the_cycle_and_begins_with_one() {
        let first = Heartbeat::touch(None, at(NOON));
        assert_eq!(first.cycle, 1);
        let second = Heartbeat::touch_with_action(Some(&first), at(NOON), "poke worker", 2, 1);
        assert_eq!(
            (second.cycle, second.healthy_agents, second.unhealthy_agents),
            (2, 2, 1)
        );
        assert_eq!(second.last_action, "poke worker");
        assert_eq!(Heartbeat::touch(Some(&second), at(NOON)).last_action, "");
    }

    #[test]
    fn what_says_no_time_is_go_s_zero_time_and_very_stale() {
        for text in ["{}", "null", "{\"timestamp\":null}", " {} "] {
            let heartbeat = parse(text).unwrap();
            assert_eq!(heartbeat.timestamp.to_string(), "0001-01-01T00:00:00Z");
            let age = heartbeat.age(at(NOON));
            assert_eq!(age.age, None, "{text}");
            assert_eq!(age.freshness(STALE, VERY_STALE), Freshness::VeryStale);
        }
        assert_eq!(
            with_time("0001-01-01T00:00:00Z").unwrap().age(at(NOON)).age,
            None
        );
    }

    #[test]
    fn what_go_refuses_is_no_heartbeat() {
        assert_eq!(parse(""), Err(NoHeartbeat::Empty));
        assert_eq!(parse(" \n"), Err(NoHeartbeat::Empty));
        for text in [
            "\u{feff}{}",
            "\"\"",
            "[]",
            "5",
            "true",
            "{\"timestamp\":\"2026-01-02T18:30:00\"}",
            "{\"timestamp\":\"2026-01-02 18:30:00Z\"}",
            "{\"timestamp\":\"2026-01-02t18:30:00z\"}",
            "{\"timestamp\":\"\"}",
            "{\"timestamp\":1767378600}",
            "{\"timestamp\":\"2026-02-29T00:00:00Z\"}",
            "{\"timestamp\":\"2026-13-01T00:00:00Z\"}",
            "{\"timestamp\":\"2026-01-02T24:00:00Z\"}",
            "{\"timestamp\":\"2026-01-02T23:59:60Z\"}",
            "{\"timestamp\":\"2026-01-02T18:30:00.Z\"}",
            "{\"timestamp\":\"2026-01-02T18:30:00Zx\"}",
            "{\"timestamp\":\"+026-01-02T18:30:00Z\"}",
            "{\"timestamp\":\"2026-01-02T18:30:00+2:00\"}",
            "{\"timestamp\":\"é026-01-02T18:30:00Z\"}",
            "{\"cycle\":\"5\"}",
            "{\"cycle\":5.0}",
            "{\"cycle\":9223372036854775808}",
            "{\"cycle\":true}",
            "{\"healthy_agents\":\"3\"}",
            "{\"last_action\":3}",
            "{} {}",
            "{\"cycle\":1,}",
        ] {
            assert!(
                matches!(parse(text), Err(NoHeartbeat::Malformed(_))),
                "{text}: {:?}",
                parse(text)
            );
        }
    }

    #[test]
    fn what_is_refused_is_named() {
        for (text, said) in [
            (
                "{\"cycle\":\"5\"}",
                "cycle: invalid type: string \"5\", expected i64 at line 1 column 12",
            ),
            (
                "{\n\"Last_Action\":3}",
                "Last_Action: invalid type: integer `3`, expected a string at line 2 column 15",
            ),
            (
                "{\"timestamp\":\"today\"}",
                "timestamp: \"today\" is not an RFC 3339 date at line 1 column 21",
            ),
            (
                "{\"healthy_agents\":{}}",
                "healthy_agents: invalid type: map, expected i64 at line 1 column 18",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.to_string(), format!("not a heartbeat: {said}"));
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_is_no_heartbeat() {
        let whole = Heartbeat::touch_with_action(None, at(NOON), "x & y", 1, 2).to_bytes();
        for cut in 0..whole.len() {
            assert!(Heartbeat::parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Heartbeat::parse(&whole).is_ok());
    }

    #[test]
    fn keys_have_no_case_unknown_ones_are_ignored_and_the_last_wins() {
        let heartbeat = parse(
            "{\"TimeStamp\":\"2026-01-02T18:30:00Z\",\"CYCLE\":1,\"cycle\":7,\"Cycle\":null,\
             \"extra\":{\"deep\":[1,2]},\"LAST_action\":\"a\",\"laſt_action\":\"b\"}",
        )
        .unwrap();
        assert_eq!(heartbeat.cycle, 7);
        assert_eq!(heartbeat.last_action, "b");
        assert_eq!(heartbeat.timestamp, at(NOON).into());
    }

    #[test]
    fn offsets_are_accepted() {
        assert_eq!(
            with_time("2026-01-02T20:30:00+02:00").unwrap().timestamp,
            at(NOON).into()
        );
        assert_eq!(
            with_time("2026-01-02T13:00:00.5-05:30").unwrap().timestamp,
            Timestamp(NOON * 1_000_000 + 500_000).into()
        );
    }

    #[test]
    fn ages_have_the_deacon_s_words() {
        let heartbeat = Heartbeat::touch(None, at(NOON));
        for (later, word) in [
            (0, Freshness::Fresh),
            (119, Freshness::Fresh),
            (120, Freshness::Stale),
            (299, Freshness::Stale),
            (300, Freshness::VeryStale),
        ] {
            let age = heartbeat.age(at(NOON + later));
            assert_eq!(age.freshness(STALE, VERY_STALE), word, "{later} s");
            assert!(!age.future);
        }
    }

    #[test]
    fn a_time_in_the_future_counts_as_now_and_is_flagged() {
        let age = Heartbeat::touch(None, at(NOON + 900)).age(at(NOON));
        assert_eq!(age.age, Some(Duration::ZERO));
        assert!(age.future);
        let far = with_time("9999-12-31T23:59:59Z").unwrap().age(at(NOON));
        assert!(far.future);
    }

    #[test]
    fn a_very_old_time_is_old_and_not_an_overflow() {
        let age = with_time("0000-01-01T00:00:00Z").unwrap().age(at(NOON));
        assert!(age.age.is_some_and(|age| age.as_secs() > 63_000_000_000));
    }

    /// Keys that mean something, in any case, and others.
    fn key() -> impl Strategy<Value = String> {
        let known = [
            "timestamp",
            "cycle",
            "Cycle",
            "last_action",
            "la\u{17f}t_action",
            "healthy_agents",
            "unhealthy_agents",
            "state",
            "",
        ];
        prop_oneof![
            prop::sample::select(known.to_vec()).prop_map(str::to_owned),
            "[a-z\\\\u0]{0,8}"
        ]
    }

    /// JSON of all kinds, good values among them.
    fn json() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|n| n.to_string()),
            "[0-9]{1,40}".prop_map(|n| n),
            Just("\"2026-01-02T18:30:00Z\"".to_owned()),
            "[0-9TZ:.+-]{0,30}".prop_map(|text| format!("\"{text}\"")),
            prop::sample::select(vec![
                "null",
                "true",
                "{}",
                "[]",
                "[[[1]]]",
                "\"\\u0000\"",
                "\"\\ud800\""
            ])
            .prop_map(str::to_owned),
        ]
    }

    fn good_json() -> impl Strategy<Value = String> {
        json().prop_filter("JSON", |text| {
            serde_json::from_str::<serde_json::Value>(text).is_ok()
        })
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(
            micros in -62_135_596_800_000_000_i64..253_402_300_799_000_000,
            cycle in any::<i64>(),
            action in ".*",
            healthy in any::<i64>(),
            unhealthy in any::<i64>(),
        ) {
            let heartbeat = Heartbeat {
                timestamp: Timestamp(micros).into(),
                cycle,
                last_action: action,
                healthy_agents: healthy,
                unhealthy_agents: unhealthy,
            };
            prop_assert_eq!(heartbeat.timestamp.timestamp(), Timestamp(micros));
            prop_assert_eq!(Heartbeat::parse(&heartbeat.to_bytes()), Ok(heartbeat));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Heartbeat::parse(&bytes);
        }

        #[test]
        fn no_fields_make_the_reader_panic_or_its_words_grow(fields in prop::collection::vec(
            (key(), prop_oneof![json(), "\\PC{0,20}"]), 0..8,
        )) {
            let fields: Vec<String> = fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
            let text = format!("{{{}}}", fields.join(","));
            match parse(&text) {
                Ok(heartbeat) => prop_assert!(heartbeat.last_action.len() <= 3 * text.len()),
                Err(why) => prop_assert!(why.to_string().len() <= 10 * text.len() + 200),
            }
        }

        #[test]
        fn a_field_that_is_refused_is_named_whatever_stands_beside_it(
            others in prop::collection::vec(("[a-z]{13,20}", good_json()), 0..4),
            (field, bad) in prop::sample::select(vec![
                ("cycle", "\"5\""), ("cycle", "5.0"), ("cycle", "1e3"), ("cycle", "[1]"),
                ("timestamp", "5"), ("timestamp", "\"\""), ("timestamp", "{}"),
                ("last_action", "7"), ("last_action", "[]"),
                ("healthy_agents", "\"x\""), ("unhealthy_agents", "true"),
            ]),
        ) {
            let mut fields: Vec<String> = others.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
            fields.push(format!("\"{field}\":{bad}"));
            let why = parse(&format!("{{{}}}", fields.join(","))).unwrap_err().to_string();
            prop_assert!(why.starts_with(&format!("not a heartbeat: {field}: ")), "{why}");
        }

        #[test]
        fn no_text_makes_the_date_reader_panic(text in "[0-9TZ:.+, é-]{0,40}") {
            let _ = GoTime::parse(&text);
        }
    }
}
