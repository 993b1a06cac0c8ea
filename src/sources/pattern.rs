//! Regexes of the owner's. The engine takes time linear in what it searches, whatever the
//! regex; its size, and with it that time, has a limit.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use crate::config::value::Value;

/// The largest compiled regex, and what it may use while it runs.
const MOST_BYTES: usize = 256 << 10;

/// How deep parentheses may go.
const DEEPEST: u32 = 50;

/// What is wrong with a regex.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPattern {
    /// Where in it.
    pub(crate) at: Range<usize>,
    /// A predicate: `is no regex`.
    pub(crate) problem: String,
    /// Of that place.
    pub(crate) label: String,
    /// What would be right.
    pub(crate) help: String,
}

/// Understands a regex.
pub(crate) fn compile(text: &str) -> Result<Regex, BadPattern> {
    // First by itself: only the parser says where something is wrong.
    let parsed = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .nest_limit(DEEPEST)
        .build()
        .parse(text);
    if let Err(error) = parsed {
        return Err(syntax(&error, text));
    }
    let built = RegexBuilder::new(text)
        .size_limit(MOST_BYTES)
        .dfa_size_limit(MOST_BYTES)
        .nest_limit(DEEPEST)
        .build();
    built.map_err(|_| BadPattern {
        at: 0..text.len(),
        problem: "is too large a regex".to_owned(),
        label: String::new(),
        help: format!(
            "compiled it may take {} KiB: say less, or (?-u) for ASCII classes",
            MOST_BYTES >> 10
        ),
    })
}

impl BadPattern {
    /// Says it of the value that holds it; always `None`, to end a decoder with.
    pub(crate) fn say<T>(self, value: &Value<'_>) -> Option<T> {
        let span = value.inner_span(self.at.start, self.at.len());
        value.wrong_at(span, self.problem, &self.label, self.help)
    }
}

/// What the parser says is wrong, and where.
fn syntax(error: &regex_syntax::Error, text: &str) -> BadPattern {
    let (span, what) = match error {
        regex_syntax::Error::Parse(error) => (error.span(), error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span(), error.kind().to_string()),
        other => {
            return BadPattern {
                at: 0..0,
                problem: "is no regex".to_owned(),
                label: String::new(),
                help: other.to_string(),
            };
        }
    };
    let (start, mut end) = (span.start.offset, span.end.offset);
    if start == end {
        // Something is missing: at the character that stands there instead.
        let there = text.get(start..).and_then(|rest| rest.chars().next());
        end += there.map_or(0, char::len_utf8);
    }
    BadPattern {
        at: start..end,
        problem: "is no regex".to_owned(),
        label: what,
        help: r"Rust's regex syntax, in single quotes: '^at (?P<progress>\d+)'".to_owned(),
    }
}
