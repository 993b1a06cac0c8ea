//! The other small files of a Deacon's town: a session's heartbeat, a pause, an emergency
//! stop. Their reader is the same as the heartbeat's (see the module above): keys in any case,
//! unknown ones ignored, the last duplicate wins, `null` says nothing.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{GoTime, NoHeartbeat, folded};
use crate::event::PulseState;

/// What `.runtime/heartbeats/<session>.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Session {
    /// When it was written.
    pub timestamp: GoTime,
    /// What the session does; `None` for a word that we do not know.
    pub state: Option<PulseState>,
}

/// What a pause file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PauseFile {
    /// Whether there is a pause.
    pub paused: bool,
    /// Why; empty for no word about it.
    pub reason: String,
    /// Who paused it; empty for no word about it.
    pub paused_by: String,
}

/// What a file `ESTOP` says. That it exists is what counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Estop {
    /// Why; empty for no word about it.
    pub reason: String,
}

// === impl Session ===

impl Session {
    /// What these bytes say.
    ///
    /// # Errors
    /// Where they hold no session's heartbeat. A refusal is worth believing only after a
    /// second look.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoHeartbeat> {
        let mut session = Self::default();
        for (key, value) in fields(bytes)? {
            match key.as_str() {
                "timestamp" => {
                    if let Some(text) = text(&key, value)? {
                        session.timestamp = GoTime::parse(&text).ok_or_else(|| {
                            NoHeartbeat::Malformed(format!("{text:?} is not an RFC 3339 date"))
                        })?;
                    }
                }
                "state" => {
                    if let Some(word) = text(&key, value)? {
                        session.state = state(&word);
                    }
                }
                _ => {}
            }
        }
        Ok(session)
    }
}

fn state(word: &str) -> Option<PulseState> {
    match word {
        "working" => Some(PulseState::Working),
        "idle" => Some(PulseState::Idle),
        "exiting" => Some(PulseState::Exiting),
        "stuck" => Some(PulseState::Stuck),
        _ => None,
    }
}

// === impl PauseFile ===

impl PauseFile {
    /// What these bytes say.
    ///
    /// # Errors
    /// Where they say nothing about a pause. A refusal is worth believing only after a second
    /// look.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoHeartbeat> {
        let mut pause = Self::default();
        for (key, value) in fields(bytes)? {
            match (key.as_str(), value) {
                (_, Value::Null) => {}
                ("paused", Value::Bool(paused)) => pause.paused = paused,
                ("paused", _) => {
                    return Err(NoHeartbeat::Malformed(
                        "`paused` is neither true nor false".to_owned(),
                    ));
                }
                ("reason", value) => pause.reason = text(&key, value)?.unwrap_or_default(),
                ("paused_by", value) => pause.paused_by = text(&key, value)?.unwrap_or_default(),
                _ => {}
            }
        }
        Ok(pause)
    }

    /// Why, in words for people; never empty.
    #[must_use]
    pub fn why(&self) -> String {
        let reason = shown(&self.reason);
        match (reason.as_str(), shown(&self.paused_by).as_str()) {
            ("", "") => "its pause file says so".to_owned(),
            (reason, "") => reason.to_owned(),
            ("", by) => format!("by {by}"),
            (reason, by) => format!("{reason} (by {by})"),
        }
    }
}

// === impl Estop ===

impl Estop {
    /// What these bytes say: `manual\t<RFC 3339>\t<reason>\n`. Anything is an emergency stop;
    /// what has no tabs is all reason.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().next().unwrap_or_default();
        let reason = line.splitn(3, '\t').nth(2);
        let reason = match (reason, line.contains('\t')) {
            (Some(reason), _) => reason,
            (None, false) => line,
            (None, true) => "",
        };
        Self {
            reason: shown(reason),
        }
    }

    /// Why, in words for people; never empty.
    #[must_use]
    pub fn why(&self) -> String {
        match self.reason.as_str() {
            "" => "ESTOP".to_owned(),
            reason => format!("ESTOP: {reason}"),
        }
    }
}

/// How much of somebody's words is shown.
const SHOWN: usize = 500;

/// Somebody's words as part of a sentence: one line, not too long.
fn shown(text: &str) -> String {
    let one_line = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.chars().take(SHOWN).map(one_line).collect();
    line.trim().to_owned()
}

/// A string; `None` for `null`.
fn text(key: &str, value: Value) -> Result<Option<String>, NoHeartbeat> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(NoHeartbeat::Malformed(format!("`{key}` is no string")))
        }
    }
}

/// The fields of an object in their order, duplicates and all, keys without their case.
fn fields(bytes: &[u8]) -> Result<Vec<(String, Value)>, NoHeartbeat> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(NoHeartbeat::Empty);
    }
    let text = String::from_utf8_lossy(bytes);
    let Fields(fields) =
        serde_json::from_str(&text).map_err(|error| NoHeartbeat::Malformed(error.to_string()))?;
    Ok(fields)
}

struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Fields, E> {
        Ok(Fields(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            fields.push((folded(&key), value));
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn a_session_says_its_state() {
        for (word, state) in [
            ("working", Some(PulseState::Working)),
            ("idle", Some(PulseState::Idle)),
            ("exiting", Some(PulseState::Exiting)),
            ("stuck", Some(PulseState::Stuck)),
            ("dancing", None),
            ("", None),
        ] {
            let text = format!("{{\"timestamp\":\"2026-01-02T18:30:00Z\",\"state\":\"{word}\"}}\n");
            let session = Session::parse(text.as_bytes()).unwrap();
            assert_eq!(session.state, state, "{word}");
            assert_eq!(session.timestamp.to_string(), "2026-01-02T18:30:00Z");
        }
    }

    #[test]
    fn a_session_is_read_as_generously_as_a_heartbeat() {
        let session = Session::parse(
            b"{\"TIMESTAMP\":\"2026-01-02T20:30:00+02:00\",\"State\":\"idle\",\"state\":\"stuck\",\
              \"STATE\":null,\"bead\":{\"deep\":[1]}}",
        )
        .unwrap();
        assert_eq!(session.state, Some(PulseState::Stuck));
        assert_eq!(session.timestamp.to_string(), "2026-01-02T18:30:00Z");
        assert_eq!(Session::parse(b"{}"), Ok(Session::default()));
        assert_eq!(Session::parse(b"null"), Ok(Session::default()));
    }

    #[test]
    fn what_is_no_session_is_refused() {
        assert_eq!(Session::parse(b""), Err(NoHeartbeat::Empty));
        for text in [
            "{\"timestamp\":5}",
            "{\"timestamp\":\"yesterday\"}",
            "{\"timestamp\":\"NaN\"}",
            "{\"timestamp\":\"-001-01-02T18:30:00Z\"}",
            "{\"state\":5}",
            "[]",
            "\u{feff}{}",
            "{\"state\":\"idle\"",
            "{} {}",
        ] {
            assert!(
                matches!(
                    Session::parse(text.as_bytes()),
                    Err(NoHeartbeat::Malformed(_))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn a_pause_file_says_whether_and_why() {
        let pause = PauseFile::parse(
            b"{\"paused\":true,\"reason\":\"maintenance\",\"paused_at\":\"2026-01-02T18:30:00Z\",\
              \"paused_by\":\"human\"}",
        )
        .unwrap();
        assert!(pause.paused);
        assert_eq!(pause.why(), "maintenance (by human)");
        let bare = PauseFile::parse(b"{\"Paused\":true}").unwrap();
        assert!(bare.paused);
        assert_eq!(bare.why(), "its pause file says so");
        for off in [
            "{}",
            "null",
            "{\"paused\":false}",
            "{\"paused\":true,\"paused\":false}",
        ] {
            assert!(!PauseFile::parse(off.as_bytes()).unwrap().paused, "{off}");
        }
        for wrong in [
            "",
            "{\"paused\":\"true\"}",
            "{\"paused\":1}",
            "{\"paused\":tr",
            "[true]",
        ] {
            assert!(PauseFile::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_emergency_stop_says_why_whatever_it_looks_like() {
        for (text, why) in [
            (
                "manual\t2026-01-02T18:30:00Z\tdisk on fire\n",
                "ESTOP: disk on fire",
            ),
            ("manual\t2026-01-02T18:30:00Z\ta\tb\nmore", "ESTOP: a b"),
            ("manual\t2026-01-02T18:30:00Z\t\n", "ESTOP"),
            ("manual\t2026-01-02T18:30:00Z", "ESTOP"),
            ("just stop", "ESTOP: just stop"),
            ("", "ESTOP"),
            ("a\t\t\u{1b}[31mred", "ESTOP: [31mred"),
        ] {
            assert_eq!(Estop::parse(text.as_bytes()).why(), why, "{text:?}");
        }
        assert_eq!(
            Estop::parse(&[0xff, b'\t', b'x', b'\t', 0xff]).why(),
            "ESTOP: \u{fffd}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Session::parse(&bytes);
            let _ = PauseFile::parse(&bytes);
            prop_assert!(Estop::parse(&bytes).why().starts_with("ESTOP"));
        }
    }
}
