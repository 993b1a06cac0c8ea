//! A value of the file: decoders ask it what it is, and say what is wrong with it.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::errors::Span;
use super::reader::{Place, Sink, Table};

/// Below this likeness a suggestion confuses more than it helps.
const ALIKE: f64 = 0.7;

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Value<'a> {
    /// Where what is wrong with it goes.
    pub(crate) sink: &'a Sink,
    /// Where it stands.
    pub(crate) span: Span,
    place: Place,
    node: &'a DeValue<'a>,
}

// === impl Value ===

impl<'a> Value<'a> {
    /// A value found at that place.
    pub(crate) fn new(sink: &'a Sink, place: Place, found: &'a Spanned<DeValue<'a>>) -> Self {
        Self {
            sink,
            span: found.span(),
            place,
            node: found.get_ref(),
        }
    }

    /// What it is called in messages: `services.worker.interval`.
    pub(crate) fn shown(&self) -> &str {
        &self.place.shown
    }

    /// Its key alone.
    fn key(&self) -> &str {
        self.place.shown.rsplit('.').next().unwrap_or_default()
    }

    /// What it is, with its article: `a string`.
    fn kind(&self) -> &'static str {
        match self.node {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    /// Says that it is of the wrong type, and what would be right.
    pub(crate) fn expected<T>(&self, what: &str, example: &str) -> Option<T> {
        let message = format!("`{}` must be {what}", self.shown());
        let label = format!("this is {}", self.kind());
        let help = format!("for example: {} = {example}", self.key());
        self.sink
            .say(self.sink.at(self.span.clone(), label, message).help(help));
        None
    }

    /// Says what is wrong with it (a predicate: `is empty`) and what would be right; always
    /// `None`, to end a decoder with.
    pub(crate) fn wrong<T>(
        &self,
        problem: impl std::fmt::Display,
        help: impl Into<String>,
    ) -> Option<T> {
        self.wrong_at(self.span.clone(), problem, "", help)
    }

    /// The same of a part of it.
    pub(crate) fn wrong_at<T>(
        &self,
        span: Span,
        problem: impl std::fmt::Display,
        label: &str,
        help: impl Into<String>,
    ) -> Option<T> {
        let message = format!("`{}` {problem}", self.shown());
        self.sink.say(self.sink.at(span, label, message).help(help));
        None
    }

    /// Its bytes in the file as they stand, for labels on a part of a plain string: the span
    /// without quotes, where nothing in it is escaped.
    pub(crate) fn inner_span(&self, at: usize, length: usize) -> Span {
        let raw = self.sink.source(self.span.clone());
        let plain = raw.zip(self.node.as_str()).is_some_and(|(raw, text)| {
            raw.len() == text.len() + 2 && raw.get(1..=text.len()) == Some(text)
        });
        if plain {
            let start = self.span.start + 1 + at;
            start..start + length
        } else {
            self.span.clone()
        }
    }

    /// A string.
    pub(crate) fn text(&self) -> Option<&'a str> {
        self.node.as_str()
    }

    /// A date, a time or both, as TOML writes them without quotes.
    pub(crate) fn date(&self) -> Option<String> {
        match self.node {
            DeValue::Datetime(date) => Some(date.to_string()),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        }
    }

    /// A string, or said.
    pub(crate) fn need_text(&self, example: &str) -> Option<&'a str> {
        match self.text() {
            Some(text) => Some(text),
            None => self.expected("a string", example),
        }
    }

    /// A string that says something, or said.
    pub(crate) fn need_some_text(&self, example: &str) -> Option<&'a str> {
        let text = self.need_text(example)?;
        if text.contains('\0') {
            return self.wrong("contains a NUL character", "no program can be given one");
        }
        if text.trim().is_empty() {
            let help = format!(
                "for example: {} = {example}; or leave it out for the default",
                self.key()
            );
            return self.wrong("is empty", help);
        }
        Some(text)
    }

    /// A boolean.
    pub(crate) fn as_flag(&self) -> Option<bool> {
        self.node.as_bool()
    }

    /// A boolean, or said.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self.node.as_bool() {
            Some(flag) => Some(flag),
            None => self.expected("true or false", "true"),
        }
    }

    /// An integer in whatever base it is written; `Err` where it does not fit.
    pub(crate) fn integer(&self) -> Option<Result<i128, ()>> {
        let integer = self.node.as_integer()?;
        Some(i128::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| ()))
    }

    /// Whether it is an integer written in octal (`0o22`).
    pub(crate) fn is_octal(&self) -> bool {
        self.node.as_integer().is_some_and(|n| n.radix() == 8)
    }

    /// An integer or a fraction; not a number and infinities are passed on as such.
    pub(crate) fn number(&self) -> Option<f64> {
        if let Some(integer) = self.integer() {
            #[expect(
                clippy::cast_precision_loss,
                reason = "what has more than 53 bits is refused as too large by all who ask"
            )]
            return Some(integer.map_or(f64::INFINITY, |n| n as f64));
        }
        self.node.as_float()?.as_str().parse().ok()
    }

    /// A whole number within a range, or said.
    pub(crate) fn whole<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Into<i128> + TryFrom<i128> + std::fmt::Display,
    {
        let (least, most) = (*range.start(), *range.end());
        let Some(number) = self.integer() else {
            return self.expected("a whole number", &least.to_string());
        };
        let fits = |n: &i128| (least.into()..=most.into()).contains(n);
        match number.ok().filter(fits).map(T::try_from) {
            Some(Ok(number)) => Some(number),
            _ => self.wrong(
                "is out of range",
                format!("a whole number from {least} to {most} is allowed"),
            ),
        }
    }

    /// One of a few words, or said.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let all = words.iter().map(|(word, _)| *word);
        let list = all
            .clone()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(" or ");
        let Some(text) = self.text() else {
            return self.expected(&list, &format!("\"{}\"", words.first()?.0));
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let label = match suggest(text, all) {
            Some(best) => format!("did you mean \"{best}\"?"),
            None => "not known".to_owned(),
        };
        let problem = format!("cannot be {text:?}");
        let help = format!("it is {list}");
        self.wrong_at(self.span.clone(), problem, &label, help)
    }

    /// An array, each element decoded; `None` if it is none or one element was wrong.
    pub(crate) fn list<T>(
        &self,
        example: &str,
        decode: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(array) = self.node.as_array() else {
            return self.expected("an array", example);
        };
        let decoded: Vec<_> = self.elements(array).map(|value| decode(&value)).collect();
        // Collected before it is judged, so that every wrong element is said.
        decoded.into_iter().collect()
    }

    /// Whether it is an array.
    pub(crate) fn is_array(&self) -> bool {
        self.node.is_array()
    }

    /// Whether it is a table.
    pub(crate) fn is_table(&self) -> bool {
        self.node.is_table()
    }

    /// What stands in the file.
    pub(crate) fn written(&self) -> Option<String> {
        match self.node {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            DeValue::Integer(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        }
    }

    fn elements(&self, array: &'a DeArray<'a>) -> impl Iterator<Item = Value<'a>> {
        array
            .iter()
            .map(|element| Self::new(self.sink, self.place.clone(), element))
    }

    /// A table, or said.
    pub(crate) fn table(&self) -> Option<Table<'a>> {
        match self.node.as_table() {
            Some(table) => Some(Table::of(
                self.sink,
                self.place.clone(),
                self.span.clone(),
                table,
            )),
            None => self.expected("a table", "{ … }"),
        }
    }

    /// A table whose name the user chose, or said: its keys are known as those of `NAME`.
    pub(crate) fn named_table(&self, pattern: &str) -> Option<Table<'a>> {
        let mut value = self.clone();
        value.place.pattern = format!("{pattern}.NAME");
        value.table()
    }
}

/// The candidate that looks most like a word, if any looks like it.
pub(crate) fn suggest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_lowercase();
    let likeness = |candidate: &str| {
        let lower = candidate.to_lowercase();
        // `interval` is meant by whoever writes it where it is called `default_interval`.
        let part = word.len() >= 4 && (lower.contains(&word) || word.contains(&lower));
        let alike = strsim::normalized_damerau_levenshtein(&word, &lower);
        if part { alike.max(ALIKE) } else { alike }
    };
    candidates
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
