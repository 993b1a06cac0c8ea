//! What a document says: its text, its frontmatter, and what its name tells.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// A document, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'a> {
    /// Its text; what was no UTF-8 in it is U+FFFD.
    pub text: Cow<'a, str>,
    /// Whether anything was no UTF-8.
    pub lossy: bool,
    /// What stands before its body.
    pub frontmatter: Frontmatter,
    /// Where in the text its body begins.
    body: usize,
}

/// What stands before a document's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Frontmatter {
    /// Nothing.
    None,
    /// A mapping.
    Good(Map<String, Value>),
    /// Something between two `---` that is none: it is content, and the body begins with it.
    Bad(String),
}

/// Longer frontmatter is content.
const LONGEST: usize = 64 * 1024;
/// More nodes than anybody writes by hand: aliases of aliases.
const MOST_NODES: usize = 10_000;

// === impl Document ===

impl<'a> Document<'a> {
    /// Reads a document.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        // Borrowed means that nothing was replaced.
        let lossy = matches!(text, Cow::Owned(_));
        let (frontmatter, body) = match block(&text) {
            None => (Frontmatter::None, 0),
            Some((yaml, body)) => match parse(yaml) {
                Ok(map) => (Frontmatter::Good(map), body),
                Err(why) => (Frontmatter::Bad(why), 0),
            },
        };
        Self {
            text,
            lossy,
            frontmatter,
            body,
        }
    }

    /// The text behind the frontmatter.
    #[must_use]
    pub fn body(&self) -> &str {
        self.text.get(self.body..).unwrap_or_default()
    }

    /// A value of the frontmatter.
    #[must_use]
    pub fn meta(&self, key: &str) -> Option<&Value> {
        match &self.frontmatter {
            Frontmatter::Good(map) => map.get(key),
            Frontmatter::None | Frontmatter::Bad(_) => None,
        }
    }

    /// Its title: the frontmatter's, else the file's name without the extension.
    #[must_use]
    pub fn title(&self, file_path: &str) -> String {
        let given = self.meta("title").and_then(plain_text);
        let given = given.filter(|title| !title.trim().is_empty());
        given.unwrap_or_else(|| stem(file_path).to_owned())
    }
}

/// A scalar as text; nothing for a list, a mapping or null.
#[must_use]
pub fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text between the first line `---` and the next line `---` or `...`, and where the body
/// begins. A `---` that nothing ends is a rule across the page.
fn block(text: &str) -> Option<(&str, usize)> {
    let mark = text.len() - text.trim_start_matches('\u{feff}').len();
    let rest = text.get(mark..)?;
    let mut lines = rest.split_inclusive('\n');
    let first = lines.next()?;
    if !first.ends_with('\n') || first.trim_end() != "---" {
        return None;
    }
    let begin = mark + first.len();
    let mut end = begin;
    for line in lines {
        let next = end + line.len();
        if matches!(line.trim_end(), "---" | "...") {
            return Some((text.get(begin..end)?, next));
        }
        end = next;
    }
    None
}

fn parse(yaml: &str) -> Result<Map<String, Value>, String> {
    if yaml.len() > LONGEST {
        return Err(format!("it is longer than {} kB", LONGEST / 1024));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MOST_NODES },
        // "code: 049" is the text 049, "version: 1_0" is no ten.
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // "answer: yes" is a word, as YAML 1.2 has it.
        strict_booleans: true,
        // JSON has no infinity.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options(yaml, options) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("it is no mapping of keys to values".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

// === what a name tells ===

/// The file's name.
#[must_use]
pub fn file_name(file_path: &str) -> &str {
    file_path.rsplit('/').next().unwrap_or(file_path)
}

/// The file's name without its extension.
#[must_use]
pub fn stem(file_path: &str) -> &str {
    let name = file_name(file_path);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        Some(_) | None => name,
    }
}

/// What the document is called: its stem; a `SKILL.md` is called as its folder.
#[must_use]
pub fn name(file_path: &str) -> &str {
    let stem = stem(file_path);
    if !stem.eq_ignore_ascii_case("SKILL") {
        return stem;
    }
    let mut parts = file_path.rsplit('/');
    parts.nth(1).unwrap_or(stem)
}

/// The number that the file's name begins with, `049` or `CS-042`; a name without one is its
/// own code.
#[must_use]
pub fn code(file_path: &str) -> &str {
    let stem = stem(file_path);
    let bytes = stem.as_bytes();
    let letters = bytes.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let dash = usize::from(letters > 0 && bytes.get(letters) == Some(&b'-'));
    let prefix = if dash == 1 { letters + 1 } else { 0 };
    let digits = bytes[prefix..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    if digits == 0 {
        stem
    } else {
        &stem[..prefix + digits]
    }
}

/// The first date in the file's name, `2026-03-03`.
#[must_use]
pub fn date(file_path: &str) -> Option<&str> {
    let name = file_name(file_path);
    let windows = name.as_bytes().windows(10).enumerate();
    windows
        .filter(|(at, window)| {
            let digit = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
            is_date(window) && !digit(at + 10) && !at.checked_sub(1).is_some_and(digit)
        })
        .find_map(|(at, _)| name.get(at..at + 10))
}

/// A day that exists: PostgreSQL refuses others, and the whole row with them.
fn is_date(text: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| -> Option<u32> {
        text.get(range)?.iter().try_fold(0, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + u32::from(byte - b'0'))
        })
    };
    let dashes = text.get(4) == Some(&b'-') && text.get(7) == Some(&b'-');
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    dashes && year > 0 && (1..=days).contains(&day)
}

/// The number behind `session` in the file's name: `2026-03-03-session-12.md` has 12.
#[must_use]
pub fn session_number(file_path: &str) -> Option<i32> {
    const WORD: &str = "session";
    let name = file_name(file_path);
    let lower = name.to_ascii_lowercase();
    lower.match_indices(WORD).find_map(|(at, _)| {
        let behind = lower
            .get(at + WORD.len()..)?
            .trim_start_matches(['-', '_', ' ']);
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        behind.get(..digits)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn meta(text: &str) -> Value {
        match Document::read(text.as_bytes()).frontmatter {
            Frontmatter::Good(map) => Value::Object(map),
            Frontmatter::None => json!("none"),
            Frontmatter::Bad(why) => json!({ "bad": why }),
        }
    }

    #[test]
    fn frontmatter_is_what_stands_between_two_rules_at_the_beginning() {
        let text = "---\ntitle: Risk\ntags: [a, b]\n---\n# Risk\n";
        let document = Document::read(text.as_bytes());
        assert_eq!(document.title("x/y.md"), "Risk");
        assert_eq!(document.body(), "# Risk\n");
        assert_eq!(document.text, text);
        assert_eq!(meta(text), json!({ "title": "Risk", "tags": ["a", "b"] }));
        assert_eq!(meta("\u{feff}---\r\na: 1\r\n...\r\nx"), json!({ "a": 1 }));
        assert_eq!(meta("---\n---\n"), json!({}));
        assert_eq!(meta("---\n# only a comment\n---"), json!({}));
    }

    #[test]
    fn a_rule_that_nothing_ends_is_content() {
        for text in [
            "",
            "---",
            "---\n",
            "---\na: 1\n",
            "# a\n---\nb: 1\n---\n",
            " ---\na: 1\n---\n",
            "----\na: 1\n----\n",
        ] {
            assert_eq!(meta(text), json!("none"), "{text:?}");
            assert_eq!(Document::read(text.as_bytes()).body(), text);
        }
    }

    #[test]
    fn bad_frontmatter_is_content() {
        for yaml in [
            "a: b: c",
            "- a\n- b",
            "just words",
            "a: [1",
            "a: 1\na: 2",
            "[a]: b",
        ] {
            let text = format!("---\n{yaml}\n---\nbody");
            let document = Document::read(text.as_bytes());
            assert!(
                matches!(document.frontmatter, Frontmatter::Bad(_)),
                "{yaml}"
            );
            assert_eq!(document.body(), text);
            assert_eq!(document.title("a/b.md"), "b");
        }
    }

    #[test]
    fn what_looks_like_a_number_and_is_none_stays_as_it_is_written() {
        let text = "---\ncode: 049\nday: 2026-03-03\nanswer: yes\nten: 1_0\nmuch: .inf\n---\n";
        assert_eq!(
            meta(text),
            json!({ "code": "049", "day": "2026-03-03", "answer": "yes", "ten": "1_0", "much": ".inf" })
        );
    }

    #[test]
    fn frontmatter_that_would_grow_without_bound_is_content() {
        let mut bomb = String::from("---\na0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let alias = vec![format!("*a{}", level - 1); 9].join(",");
            bomb += &format!("a{level}: &a{level} [{alias}]\n");
        }
        bomb += "---\n";
        let deep = format!("---\na: {}\n---\n", "[".repeat(50_000));
        let long = format!("---\na: {}\n---\n", "x".repeat(LONGEST));
        for text in [bomb, deep, long] {
            let document = Document::read(text.as_bytes());
            let Frontmatter::Bad(why) = &document.frontmatter else {
                panic!("{:?}", document.frontmatter);
            };
            assert!(why.len() < 500, "{why}");
        }
    }

    #[test]
    fn a_title_is_text_whatever_yaml_takes_it_for() {
        for (yaml, title) in [
            ("title: 2026", "2026"),
            ("title: true", "true"),
            ("title: ' '", "notes"),
            ("title: ~", "notes"),
            ("title: [a]", "notes"),
            ("other: x", "notes"),
        ] {
            let text = format!("---\n{yaml}\n---\n");
            assert_eq!(Document::read(text.as_bytes()).title("d/notes.md"), title);
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_become_replacement_characters() {
        let document = Document::read(b"a\xffb");
        assert!(document.lossy);
        assert_eq!(document.text, "a\u{fffd}b");
        // Written as such, it is no loss.
        assert!(!Document::read("a\u{fffd}b".as_bytes()).lossy);
    }

    #[test]
    fn names_tell_code_name_date_and_session() {
        for (path, wanted) in [
            (
                "p/049-risk-management.md",
                ("049", "049-risk-management", None, None),
            ),
            ("p/CS-042-foo.md", ("CS-042", "CS-042-foo", None, None)),
            ("p/CS042.md", ("CS042", "CS042", None, None)),
            ("skills/bionic/SKILL.md", ("SKILL", "bionic", None, None)),
            ("SKILL.md", ("SKILL", "SKILL", None, None)),
            (
                "s/2026-03-03-session-12.md",
                (
                    "2026",
                    "2026-03-03-session-12",
                    Some("2026-03-03"),
                    Some(12),
                ),
            ),
            (
                "s/2026-02-30-session_7.md",
                ("2026", "2026-02-30-session_7", None, Some(7)),
            ),
            (
                "s/Session 3 of 2024-02-29.md",
                (
                    "Session 3 of 2024-02-29",
                    "Session 3 of 2024-02-29",
                    Some("2024-02-29"),
                    Some(3),
                ),
            ),
            (
                "s/x12026-03-031.md",
                ("x12026-03-031", "x12026-03-031", None, None),
            ),
            (
                "s/session-99999999999.md",
                ("session-99999999999", "session-99999999999", None, None),
            ),
            (
                "s/über-2026-01-01-é.md",
                (
                    "über-2026-01-01-é",
                    "über-2026-01-01-é",
                    Some("2026-01-01"),
                    None,
                ),
            ),
        ] {
            let found = (code(path), name(path), date(path), session_number(path));
            assert_eq!(found, wanted, "{path}");
        }
    }
}
