//! Reads tables of a parsed file without stopping at the first mistake.
//!
//! A key is declared in one place: where it is taken. `take` decodes it, and by the way
//! notes that the table knows it; a table that goes out of scope reports the keys that nobody
//! took, with the known ones as suggestions. The notes are also what the test compares with
//! `docs/reference.toml`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeArray, DeTable, DeValue};

use super::errors::{Mistake, Span, Text};

/// Below this likeness a suggestion confuses more than it helps.
const ALIKE: f64 = 0.7;

/// Collects what is wrong while a file is read.
pub(super) struct Sink {
    text: Arc<Text>,
    /// Where relative paths start.
    directory: PathBuf,
    mistakes: RefCell<Vec<Mistake>>,
    known: RefCell<BTreeMap<String, BTreeSet<&'static str>>>,
    unknown: RefCell<Vec<Unknown>>,
}

/// A key that nobody took; suggestions wait until all tables have said what they know.
struct Unknown {
    table: Place,
    key: String,
    span: Span,
    /// Its value is a table, as after a `[services.a.b]`.
    nested: bool,
}

/// Which table: as the user wrote it, and with names that users choose replaced by `NAME`.
#[derive(Clone)]
struct Place {
    shown: String,
    pattern: String,
}

/// A table whose keys are being taken.
pub(super) struct Table<'a> {
    sink: &'a Sink,
    place: Place,
    span: Span,
    rest: Vec<Entry<'a>>,
    given: Vec<(&'static str, Span)>,
}

/// A key with its value, as they stand in the file.
pub(super) struct Entry<'a> {
    /// The key, unquoted.
    pub(super) key: &'a str,
    /// Where the key stands.
    pub(super) key_span: Span,
    /// Its value.
    pub(super) value: Value<'a>,
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Value<'a> {
    /// Where what is wrong with it goes.
    pub(super) sink: &'a Sink,
    /// Where it stands.
    pub(super) span: Span,
    place: Place,
    node: &'a DeValue<'a>,
}

/// What became of a key.
#[derive(Debug, Clone, Default)]
pub(super) enum Taken<T> {
    /// It was not there.
    #[default]
    Absent,
    /// It was there, and wrong; that is said already.
    Wrong,
    /// It was there.
    Given(Given<T>),
}

/// A good value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Given<T> {
    /// What it says.
    pub(super) value: T,
    /// Where its key stands.
    pub(super) key: Span,
    /// Where its value stands.
    pub(super) span: Span,
}

// === impl Sink ===

impl Sink {
    pub(super) fn new(name: &str, text: &str, directory: &Path) -> Self {
        Self {
            text: Arc::new(Text {
                name: name.to_owned(),
                text: text.to_owned(),
            }),
            directory: directory.to_owned(),
            mistakes: RefCell::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// A mistake at a place of this file.
    pub(super) fn at(
        &self,
        span: Span,
        label: impl Into<String>,
        message: impl Into<String>,
    ) -> Mistake {
        Mistake::at(&self.text, span, label, message.into())
    }

    /// Takes a mistake.
    pub(super) fn say(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    /// A path of the user's, relative to the file's directory.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        let joined = self.directory.join(text);
        // `.` and doubled slashes vanish, `..` stays: it may follow a symbolic link.
        joined.components().collect()
    }

    /// What is wrong so far, apart from keys that nobody took.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        self.mistakes.take()
    }

    /// Everything that is wrong, now that all tables are read.
    pub(super) fn finish(&self) -> Vec<Mistake> {
        let known = self.known.borrow();
        for unknown in self.unknown.take() {
            self.say(unknown.mistake(self, &known));
        }
        self.mistakes.take()
    }

    /// The keys that were asked for, as `table.key`.
    #[cfg(test)]
    pub(super) fn known_keys(&self) -> BTreeSet<String> {
        let known = self.known.borrow();
        let keys = known.iter().flat_map(|(table, keys)| {
            keys.iter().map(move |key| match table.as_str() {
                "" => (*key).to_owned(),
                table => format!("{table}.{key}"),
            })
        });
        keys.collect()
    }
}

impl Unknown {
    /// Says what the user may have meant: a key that looks like it, one of another table, or
    /// any of the known ones.
    fn mistake(&self, sink: &Sink, known: &BTreeMap<String, BTreeSet<&'static str>>) -> Mistake {
        let Self { key, table, .. } = self;
        let here: Vec<&str> = known
            .get(&table.pattern)
            .map(|keys| keys.iter().copied().collect())
            .unwrap_or_default();
        let elsewhere = known
            .iter()
            .find(|(other, keys)| !other.is_empty() && keys.contains(key.as_str()))
            .map(|(other, _)| other);
        let message = match table.shown.as_str() {
            "" => format!("unknown key `{key}`"),
            table => format!("unknown key `{key}` in [{table}]"),
        };
        let say = |label: String| sink.at(self.span.clone(), label, message);
        if let Some(best) = suggest(key, here.iter().copied()) {
            return say(format!("did you mean `{best}`?"));
        }
        if self.nested && table.pattern == "services.NAME" {
            let name = table.shown.strip_prefix("services.").unwrap_or_default();
            return say("not known here".to_owned()).help(format!(
                "a service's name with a dot is written in quotes: [services.\"{name}.{key}\"]"
            ));
        }
        let label = match elsewhere {
            Some(other) => format!("it belongs into [{other}]"),
            None => "not known here".to_owned(),
        };
        say(label).help(format!("known here: {}", here.join(", ")))
    }
}

/// The candidate that looks most like a word, if any looks like it.
pub(super) fn suggest<'c>(
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

// === impl Table ===

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(sink: &'a Sink, table: &'a DeTable<'a>) -> Self {
        let place = Place {
            shown: String::new(),
            pattern: String::new(),
        };
        Self::of(sink, place, 0..0, table)
    }

    fn of(sink: &'a Sink, place: Place, span: Span, table: &'a DeTable<'a>) -> Self {
        let mut rest: Vec<_> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref(),
                key_span: key.span(),
                value: Value {
                    sink,
                    span: value.span(),
                    place: place.inner(key.get_ref()),
                    node: value.get_ref(),
                },
            })
            .collect();
        // The order of the file: toml sorts keys by name.
        rest.sort_by_key(|entry| entry.key_span.start);
        Self {
            sink,
            place,
            span,
            rest,
            given: Vec::new(),
        }
    }

    /// Where what is wrong goes.
    pub(super) fn sink(&self) -> &'a Sink {
        self.sink
    }

    /// Where it begins: its header, or its brace.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// What it is called in messages.
    pub(super) fn shown(&self) -> &str {
        &self.place.shown
    }

    /// Takes a key that this table knows.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        decode: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Taken<T> {
        self.know(key);
        let Some(entry) = self.pull(key) else {
            return Taken::Absent;
        };
        self.given.push((key, entry.key_span.clone()));
        match decode(&entry.value) {
            Some(value) => Taken::Given(Given {
                value,
                key: entry.key_span,
                span: entry.value.span,
            }),
            None => Taken::Wrong,
        }
    }

    /// Takes a key that has two names, of which one may be given.
    pub(super) fn take_either<T>(
        &mut self,
        key: &'static str,
        other: &'static str,
        decode: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Taken<T> {
        let first = self.take(key, &decode);
        let second = self.take(other, &decode);
        self.not_both((key, &first), (other, &second));
        first.or_take(second)
    }

    /// Reports two keys of which one may be given.
    pub(super) fn not_both<T, U>(
        &self,
        (a, first): (&str, &Taken<T>),
        (b, second): (&str, &Taken<U>),
    ) {
        if let (Taken::Given(first), Taken::Given(second)) = (first, second) {
            self.sink.say(
                self.sink
                    .at(
                        second.key.clone(),
                        format!("besides `{a}`"),
                        format!("`{a}` and `{b}` say the same in [{}]", self.place.shown),
                    )
                    .also(first.key.clone(), "given here")
                    .help("keep one of them"),
            );
        }
    }

    /// Takes an inner table; an empty one where it is absent or no table, so that its keys
    /// are known and have their defaults all the same.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'a> {
        self.know(key);
        let found = self.pull(key).map(|entry| {
            let span = entry.key_span;
            entry.value.table().map(|mut table| {
                // A header names the table, its first brace or line does not.
                table.span = span;
                table
            })
        });
        found.flatten().unwrap_or_else(|| Table {
            sink: self.sink,
            place: self.place.inner(key),
            span: self.span.clone(),
            rest: Vec::new(),
            given: Vec::new(),
        })
    }

    /// Reports a secret that stands in the file, and does not show it.
    pub(super) fn refuse_secret(&mut self, key: &str, help: &str) {
        if let Some(entry) = self.pull(key) {
            let text = &self.sink.text;
            let secret = entry.value.span.clone();
            let masked = text.text.char_indices().map(|(at, c)| {
                // As many bytes as before, so that the caret stays where it belongs.
                let hide = secret.contains(&at) && c != '\n';
                if hide {
                    "*".repeat(c.len_utf8())
                } else {
                    c.to_string()
                }
            });
            let masked = Arc::new(Text {
                name: text.name.clone(),
                text: masked.collect(),
            });
            let message = format!("`{key}` in [{}] is a secret", self.place.shown);
            let label = "not in a file that others read";
            let mistake = Mistake::at(&masked, entry.key_span, label, message).help(help);
            self.sink.say(mistake);
        }
    }

    /// How many keys have been taken that were there: for [`Table::given_since`].
    pub(super) fn taken(&self) -> usize {
        self.given.len()
    }

    /// The keys taken since then that were there.
    pub(super) fn given_since(&self, taken: usize) -> &[(&'static str, Span)] {
        self.given.get(taken..).unwrap_or_default()
    }

    /// A `[services.NAME]` of this file without any key.
    pub(super) fn empty(&self) -> Table<'a> {
        Table {
            sink: self.sink,
            place: Place {
                shown: self.place.shown.clone(),
                pattern: "services.NAME".to_owned(),
            },
            span: self.span.clone(),
            rest: Vec::new(),
            given: Vec::new(),
        }
    }

    /// Takes all that is left: the entries of a table whose keys are names of the user's.
    pub(super) fn entries(&mut self) -> Vec<Entry<'a>> {
        std::mem::take(&mut self.rest)
    }

    fn know(&self, key: &'static str) {
        let mut known = self.sink.known.borrow_mut();
        known
            .entry(self.place.pattern.clone())
            .or_default()
            .insert(key);
    }

    fn pull(&mut self, key: &str) -> Option<Entry<'a>> {
        let at = self.rest.iter().position(|entry| entry.key == key)?;
        Some(self.rest.remove(at))
    }
}

impl Drop for Table<'_> {
    /// What nobody took is unknown. At the end of the scope, so that no reader can forget it.
    fn drop(&mut self) {
        let mut unknown = self.sink.unknown.borrow_mut();
        unknown.extend(self.rest.drain(..).map(|entry| Unknown {
            table: self.place.clone(),
            key: entry.key.to_owned(),
            span: entry.key_span,
            nested: entry.value.node.is_table(),
        }));
    }
}

impl Place {
    fn inner(&self, key: &str) -> Self {
        match self.shown.as_str() {
            "" => Self {
                shown: key.to_owned(),
                pattern: key.to_owned(),
            },
            shown => Self {
                shown: format!("{shown}.{key}"),
                pattern: format!("{}.{key}", self.pattern),
            },
        }
    }
}

// === impl Value ===

impl<'a> Value<'a> {
    /// What it is called in messages: `services.worker.interval`.
    pub(super) fn shown(&self) -> &str {
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
    pub(super) fn expected<T>(&self, what: &str, example: &str) -> Option<T> {
        let message = format!("`{}` must be {what}", self.shown());
        let label = format!("this is {}", self.kind());
        let help = format!("for example: {} = {example}", self.key());
        self.sink
            .say(self.sink.at(self.span.clone(), label, message).help(help));
        None
    }

    /// Says what is wrong with it (a predicate: `is empty`) and what would be right; always
    /// `None`, to end a decoder with.
    pub(super) fn wrong<T>(
        &self,
        problem: impl std::fmt::Display,
        help: impl Into<String>,
    ) -> Option<T> {
        self.wrong_at(self.span.clone(), problem, "", help)
    }

    /// The same of a part of it.
    pub(super) fn wrong_at<T>(
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
    pub(super) fn inner_span(&self, at: usize, length: usize) -> Span {
        let raw = self.sink.text.text.get(self.span.clone());
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
    pub(super) fn text(&self) -> Option<&'a str> {
        self.node.as_str()
    }

    /// A string, or said.
    pub(super) fn need_text(&self, example: &str) -> Option<&'a str> {
        match self.text() {
            Some(text) => Some(text),
            None => self.expected("a string", example),
        }
    }

    /// A string that says something, or said.
    pub(super) fn need_some_text(&self, example: &str) -> Option<&'a str> {
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

    /// A boolean, or said.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.node.as_bool() {
            Some(flag) => Some(flag),
            None => self.expected("true or false", "true"),
        }
    }

    /// An integer in whatever base it is written; `Err` where it does not fit.
    pub(super) fn integer(&self) -> Option<Result<i128, ()>> {
        let integer = self.node.as_integer()?;
        Some(i128::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| ()))
    }

    /// Whether it is an integer written in octal (`0o22`).
    pub(super) fn is_octal(&self) -> bool {
        self.node.as_integer().is_some_and(|n| n.radix() == 8)
    }

    /// An integer or a fraction; not a number and infinities are passed on as such.
    pub(super) fn number(&self) -> Option<f64> {
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
    pub(super) fn whole<T>(&self, range: RangeInclusive<T>) -> Option<T>
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
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
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
    pub(super) fn list<T>(
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
    pub(super) fn is_array(&self) -> bool {
        self.node.is_array()
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.node.is_table()
    }

    /// What stands in the file.
    pub(super) fn written(&self) -> Option<String> {
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
        array.iter().map(|element| Value {
            sink: self.sink,
            span: element.span(),
            place: self.place.clone(),
            node: element.get_ref(),
        })
    }

    /// A table, or said.
    pub(super) fn table(&self) -> Option<Table<'a>> {
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
    pub(super) fn named_table(&self, pattern: &str) -> Option<Table<'a>> {
        let mut value = self.clone();
        value.place.pattern = format!("{pattern}.NAME");
        value.table()
    }
}

// === impl Taken ===

impl<T> Taken<T> {
    /// The value, where there is a good one.
    pub(super) fn value(self) -> Option<T> {
        self.given().map(|given| given.value)
    }

    /// The value or a default; the default also where it was wrong, since nobody will see it.
    pub(super) fn or(self, default: T) -> T {
        self.value().unwrap_or(default)
    }

    /// The value with its place.
    pub(super) fn given(self) -> Option<Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The same, borrowed.
    pub(super) fn as_given(&self) -> Option<&Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Whether it was there and wrong: nothing may be concluded from a default then.
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }

    /// Whether it was there.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// This one where it was there, else the other.
    pub(super) fn or_take(self, other: Self) -> Self {
        match self {
            Self::Absent => other,
            Self::Wrong | Self::Given(_) => self,
        }
    }
}
