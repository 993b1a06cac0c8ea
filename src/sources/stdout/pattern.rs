//! A regex and what its named groups become: `message`, `progress` and `cycle`, all others
//! metrics of that name.
//!
//! The engine takes time linear in the line, whatever the regex; its size, and with it that
//! time, has a limit, and so has a line.

use regex::bytes::{CaptureLocations, Regex};
use supervisor_core::Note;
use supervisor_core::metrics::{Figures, MOST, MOST_NAME, is_name};

use crate::sources::pattern::{BadPattern, compile};

/// A regex that was understood.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    groups: Vec<(usize, Group)>,
}

/// What a group's text becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Group {
    Message,
    Progress,
    Cycle,
    Metric(String),
}

/// Room for where groups were found.
pub(super) struct Places(CaptureLocations);

/// A line that is a pulse.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    /// What it says; `None` where it says nothing.
    pub(super) note: Option<Note>,
    /// A group that should be a number and is none.
    pub(super) bad_group: Option<String>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Pattern {
    /// Understands a regex.
    pub(super) fn new(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern {
                at: 0..0,
                problem: "is empty".to_owned(),
                label: String::new(),
                help: "for any line: stdout_pulse = true".to_owned(),
            });
        }
        let regex = compile(text)?;
        let groups = groups(&regex, text)?;
        Ok(Self { regex, groups })
    }

    /// Room for one reader.
    pub(super) fn places(&self) -> Places {
        Places(self.regex.capture_locations())
    }

    /// What a line says, with or without its end; `None` where it is no pulse.
    pub(super) fn read(&self, line: &[u8], places: &mut Places) -> Option<Read> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.groups.is_empty() {
            let found = self.regex.is_match(line);
            return found.then_some(Read {
                note: None,
                bad_group: None,
            });
        }
        self.regex.captures_read(&mut places.0, line)?;
        let mut note = Note::default();
        let mut figures = Figures::default();
        let mut bad_group = None;
        for (number, group) in &self.groups {
            let Some((start, end)) = places.0.get(*number) else {
                continue;
            };
            let text = &line[start..end];
            let taken = match group {
                Group::Message => {
                    note.message = Some(readable(text));
                    true
                }
                Group::Progress => {
                    note.progress = finite(text);
                    note.progress.is_some()
                }
                Group::Cycle => {
                    note.cycle = ascii(text).and_then(|text| text.parse().ok());
                    note.cycle.is_some()
                }
                Group::Metric(name) => {
                    finite(text).is_some_and(|value| figures.push(name, value).is_ok())
                }
            };
            if !taken {
                bad_group = Some(group.name().to_owned());
            }
        }
        note.metrics = figures.into_vec();
        Some(Read {
            note: (note != Note::default()).then_some(note),
            bad_group,
        })
    }
}

impl Group {
    fn name(&self) -> &str {
        match self {
            Self::Message => "message",
            Self::Progress => "progress",
            Self::Cycle => "cycle",
            Self::Metric(name) => name,
        }
    }
}

/// Its named groups, by number.
fn groups(regex: &Regex, text: &str) -> Result<Vec<(usize, Group)>, BadPattern> {
    let mut groups = Vec::new();
    let mut metrics = 0;
    for (number, name) in regex.capture_names().enumerate() {
        let Some(name) = name else { continue };
        let group = match name {
            "message" => Group::Message,
            "progress" => Group::Progress,
            "cycle" => Group::Cycle,
            name => {
                metrics += 1;
                Group::Metric(name.to_owned())
            }
        };
        let at = || {
            let quoted = format!("<{name}>");
            let start = text.find(&quoted).map_or(0, |found| found + 1);
            start..start + name.len()
        };
        if !is_name(name) {
            return Err(BadPattern {
                at: at(),
                problem: "names a group that is no metric's name".to_owned(),
                label: format!("1 to {MOST_NAME} characters a-z, 0-9 and _"),
                help: "message, progress and cycle are pulses' fields, all others metrics; \
                       (?:…) groups without a name"
                    .to_owned(),
            });
        }
        if metrics > MOST {
            return Err(BadPattern {
                at: at(),
                problem: format!("has more than {MOST} metrics"),
                label: "one too many".to_owned(),
                help: "(?:…) groups without a name".to_owned(),
            });
        }
        groups.push((number, group));
    }
    Ok(groups)
}

fn ascii(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok().map(str::trim)
}

fn finite(text: &[u8]) -> Option<f64> {
    let number: f64 = ascii(text)?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// Text as people may read it: valid, and without control characters.
fn readable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pattern: &str, line: &[u8]) -> Option<Read> {
        let pattern = Pattern::new(pattern).expect("a regex");
        let mut places = pattern.places();
        pattern.read(line, &mut places)
    }

    fn note(pattern: &str, line: &str) -> Note {
        let read = read(pattern, line.as_bytes()).expect("it is found");
        assert_eq!(read.bad_group, None);
        read.note.expect("it says something")
    }

    #[test]
    fn a_line_that_is_found_is_a_pulse_and_no_other() {
        let plain = Some(Read {
            note: None,
            bad_group: None,
        });
        assert_eq!(read("^tick", b"tick tock\n"), plain);
        assert_eq!(read("tock$", b"tick tock\r\n"), plain);
        assert_eq!(read("^tick", b" tick\n"), None);
        assert_eq!(read("tick", b"\xff\xfetick\x00\n"), plain);
        assert_eq!(
            read("(tick)|(tock)", b"tock"),
            plain,
            "groups without names"
        );
        assert_eq!(read("^$", b"\n"), plain);
    }

    #[test]
    fn named_groups_become_what_they_are_called() {
        let pattern = r"^(?P<message>\w+) (?P<cycle>-?\d+) (?<progress>\S+)%(?: q=(?P<queue>\S+) r=(?P<rows_2>\S+))?";
        assert_eq!(
            note(pattern, "batch 7 12.5% q=3 r=-1e3\n"),
            Note {
                message: Some("batch".to_owned()),
                cycle: Some(7),
                progress: Some(12.5),
                metrics: vec![("queue".to_owned(), 3.0), ("rows_2".to_owned(), -1_000.0)],
                ..Note::default()
            }
        );
        assert_eq!(note(pattern, "batch 8 13%").metrics, []);
    }

    #[test]
    fn a_group_that_is_no_number_is_named_and_the_line_is_a_pulse() {
        let pattern = r"^(?:p=(?P<progress>\S*))? ?(?:c=(?P<cycle>\S*))? ?(?:m=(?P<m>\S*))?";
        for (line, group) in [
            ("p=many", "progress"),
            ("p=", "progress"),
            ("p=NaN", "progress"),
            ("p=inf", "progress"),
            ("p=1e999", "progress"),
            ("p=1 c=1.5", "cycle"),
            ("c=99999999999999999999", "cycle"),
            ("c=７", "cycle"),
            ("p=1 c=2 m=-infinity", "m"),
            ("m=1,5", "m"),
        ] {
            let read = read(pattern, line.as_bytes()).expect("it is a pulse");
            assert_eq!(read.bad_group.as_deref(), Some(group), "{line}");
        }
        let read = read(pattern, b"p=1 c=2 m=x").expect("a pulse");
        let note = read.note.expect("the others");
        assert_eq!((note.progress, note.cycle), (Some(1.0), Some(2)));
    }

    #[test]
    fn a_message_is_text_for_people() {
        let message = read("(?P<message>.*)", "a\u{1b}[2Jb\tü".as_bytes());
        let message = message.and_then(|read| read.note).and_then(|n| n.message);
        assert_eq!(message.as_deref(), Some("a [2Jb ü"));
        let message = read("(?-u)(?P<message>.*)", b"\xffx");
        let message = message.and_then(|read| read.note).and_then(|n| n.message);
        assert_eq!(message.as_deref(), Some("\u{fffd}x"));
    }

    #[test]
    fn what_is_wrong_with_a_regex_is_said_with_its_place() {
        let many: String = (0..33).map(|n| format!("(?P<m{n}>x)?")).collect();
        for (text, at, said) in [
            ("", 0..0, "is empty"),
            ("a(b", 1..2, "unclosed group"),
            ("a)b", 1..2, "unopened group"),
            ("[z-a]", 1..4, "invalid character class range"),
            ("a{2,1}", 1..6, "invalid repetition count range"),
            ("*", 0..1, "repetition operator missing expression"),
            (r"(?P<a>x)\1", 8..10, "backreferences are not supported"),
            ("x(?=y)", 1..4, "look-around"),
            (r"\p{Klingon}", 0..11, "Unicode property not found"),
            ("(?P<a>x)(?P<a>y)", 12..13, "duplicate capture group name"),
            ("(?P<Rows>x)", 4..8, "a-z, 0-9 and _"),
            ("(?P<a.b>x)", 4..7, "a-z, 0-9 and _"),
            ("(?P<ü>x)", 4..6, "a-z, 0-9 and _"),
            (&many, 346..349, "one too many"),
            (r"\w{1000}{1000}", 0..14, "too large"),
            (&"(".repeat(60), 0..0, ""),
        ] {
            let bad = Pattern::new(text).expect_err(text);
            let all = format!("{} {} {}", bad.problem, bad.label, bad.help);
            assert!(all.contains(said), "{text}: {bad:?}");
            assert!(at.is_empty() || bad.at == at, "{text}: {bad:?}");
            assert!(bad.at.end <= text.len());
        }
    }

    #[test]
    fn a_regex_that_is_slow_elsewhere_is_not_here() {
        let line = "a".repeat(4_096) + "!";
        assert_eq!(read("^(a+)+$", line.as_bytes()), None);
        assert_eq!(read("^(?P<message>(a|a)*)*$", line.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_line_breaks_a_pattern(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let pattern = r"(?P<message>[^=]*)=?(?P<progress>[^ ]*) ?(?P<cycle>.?.?)(?P<queue>.*)";
            if let Some(read) = read(pattern, &line)
                && let Some(note) = read.note
            {
                prop_assert!(note.progress.is_none_or(f64::is_finite));
                prop_assert!(note.metrics.iter().all(|(_, value)| value.is_finite()));
                let message = note.message.unwrap_or_default();
                prop_assert!(!message.chars().any(char::is_control));
                prop_assert!(message.len() <= 3 * line.len());
            }
        }

        #[test]
        fn numbers_are_read_as_they_are_printed(progress in any::<f64>(), cycle: i64) {
            let line = format!("at {progress} of {cycle}");
            let read = read(r"at (?P<progress>\S+) of (?P<cycle>\S+)", line.as_bytes());
            let read = read.expect("it is found");
            let note = read.note.expect("the cycle");
            prop_assert_eq!(note.cycle, Some(cycle));
            prop_assert_eq!(note.progress, progress.is_finite().then_some(progress));
            prop_assert_eq!(read.bad_group.is_some(), !progress.is_finite());
        }

        #[test]
        fn no_text_breaks_the_compiler(
            text in r#"([a-z.*+?(){}\[\]|^$\\<>P:=!,0-9ü-]|\(\?P<|\\[a-zA-Z]){0,30}"#,
            line in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            match Pattern::new(&text) {
                Ok(pattern) => {
                    let mut places = pattern.places();
                    let _ = pattern.read(&line, &mut places);
                }
                Err(bad) => {
                    prop_assert!(bad.at.start <= bad.at.end && bad.at.end <= text.len(), "{bad:?}");
                    prop_assert!(!bad.problem.is_empty());
                }
            }
        }
    }
}
