//! Reads tables of a parsed file without stopping at the first mistake.
//!
//! A key is declared in one place: where it is taken. `take` decodes it, and by the way
//! notes that the table knows it; a table that goes out of scope reports the keys that nobody
//! took, with the known ones as suggestions. The notes are also what the test compares with
//! `docs/reference.toml`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::errors::{Mistake, Span, Text};
use super::value::{Value, suggest};

/// Collects what is wrong while a file is read.
pub(crate) struct Sink {
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
pub(crate) struct Place {
    pub(crate) shown: String,
    pub(crate) pattern: String,
}

/// A table whose keys are being taken.
pub(crate) struct Table<'a> {
    sink: &'a Sink,
    place: Place,
    span: Span,
    rest: Vec<Entry<'a>>,
    given: Vec<(&'static str, Span)>,
}

/// A key with its value, as they stand in the file.
pub(crate) struct Entry<'a> {
    /// The key, unquoted.
    pub(crate) key: &'a str,
    /// Where the key stands.
    pub(crate) key_span: Span,
    /// Its value.
    pub(crate) value: Value<'a>,
}

/// What became of a key.
#[derive(Debug, Clone, Default)]
pub(crate) enum Taken<T> {
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
pub(crate) struct Given<T> {
    /// What it says.
    pub(crate) value: T,
    /// Where its key stands.
    pub(crate) key: Span,
    /// Where its value stands.
    pub(crate) span: Span,
}

// === impl Sink ===

impl Sink {
    pub(crate) fn new(name: &str, text: &str, directory: &Path) -> Self {
        Self {
            text: Arc::new(Text::new(name, text.to_owned())),
            directory: directory.to_owned(),
            mistakes: RefCell::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// A mistake at a place of this file.
    pub(crate) fn at(
        &self,
        span: Span,
        label: impl Into<String>,
        message: impl Into<String>,
    ) -> Mistake {
        Mistake::at(&self.text, span, label, message.into())
    }

    /// What stands there.
    pub(crate) fn source(&self, span: Span) -> Option<&str> {
        self.text.text.get(span)
    }

    /// Takes a mistake.
    pub(crate) fn say(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    /// A path of the user's, relative to the file's directory.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        let joined = self.directory.join(text);
        // `.` and doubled slashes vanish, `..` stays: it may follow a symbolic link.
        joined.components().collect()
    }

    /// What is wrong so far, apart from keys that nobody took: for who reads only a part.
    pub(crate) fn mistakes(&self) -> Vec<Mistake> {
        self.mistakes.take()
    }

    /// Everything that is wrong, now that all tables are read.
    pub(crate) fn finish(&self) -> Vec<Mistake> {
        let known = self.known.borrow();
        for unknown in self.unknown.take() {
            self.say(unknown.mistake(self, &known));
        }
        self.mistakes.take()
    }

    /// The keys that were asked for, as `table.key`.
    #[cfg(test)]
    pub(crate) fn known_keys(&self) -> BTreeSet<String> {
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

// === impl Table ===

impl<'a> Table<'a> {
    /// The whole file.
    pub(crate) fn root(sink: &'a Sink, table: &'a DeTable<'a>) -> Self {
        let place = Place {
            shown: String::new(),
            pattern: String::new(),
        };
        Self::of(sink, place, 0..0, table)
    }

    /// A table found at that place.
    pub(crate) fn of(sink: &'a Sink, place: Place, span: Span, table: &'a DeTable<'a>) -> Self {
        let mut rest: Vec<_> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref(),
                key_span: key.span(),
                value: Value::new(sink, place.inner(key.get_ref()), value),
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
    pub(crate) fn sink(&self) -> &'a Sink {
        self.sink
    }

    /// What it is called in messages.
    pub(crate) fn shown(&self) -> &str {
        &self.place.shown
    }

    /// Where it stands.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Takes a key that this table knows.
    pub(crate) fn take<T>(
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
    pub(crate) fn take_either<T>(
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
    pub(crate) fn not_both<T, U>(
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
    pub(crate) fn table(&mut self, key: &'static str) -> Table<'a> {
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
    pub(crate) fn refuse_secret(&mut self, key: &str, help: &str) {
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
            let masked = Arc::new(Text::new(&text.name, masked.collect()));
            let message = format!("`{key}` in [{}] is a secret", self.place.shown);
            let label = "not in a file that others read";
            let mistake = Mistake::at(&masked, entry.key_span, label, message).help(help);
            self.sink.say(mistake);
        }
    }

    /// How many keys have been taken that were there: for [`Table::given_since`].
    pub(crate) fn taken(&self) -> usize {
        self.given.len()
    }

    /// The keys taken since then that were there.
    pub(crate) fn given_since(&self, taken: usize) -> &[(&'static str, Span)] {
        self.given.get(taken..).unwrap_or_default()
    }

    /// A table that stands in no file: all its keys have their defaults.
    pub(crate) fn nowhere(sink: &'a Sink, shown: String) -> Self {
        Self {
            sink,
            place: Place {
                shown,
                pattern: String::new(),
            },
            span: 0..0,
            rest: Vec::new(),
            given: Vec::new(),
        }
    }

    /// A `[services.NAME]` of this file without any key.
    pub(crate) fn empty(&self) -> Table<'a> {
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
    pub(crate) fn entries(&mut self) -> Vec<Entry<'a>> {
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
            nested: entry.value.is_table(),
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

// === impl Taken ===

impl<T> Taken<T> {
    /// The value, where there is a good one.
    pub(crate) fn value(self) -> Option<T> {
        self.given().map(|given| given.value)
    }

    /// The value or a default; the default also where it was wrong, since nobody will see it.
    pub(crate) fn or(self, default: T) -> T {
        self.value().unwrap_or(default)
    }

    /// The value with its place.
    pub(crate) fn given(self) -> Option<Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The same, borrowed.
    pub(crate) fn as_given(&self) -> Option<&Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Whether it was there and wrong: nothing may be concluded from a default then.
    pub(crate) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }

    /// Whether it was there.
    pub(crate) fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// This one where it was there, else the other.
    pub(crate) fn or_take(self, other: Self) -> Self {
        match self {
            Self::Absent => other,
            Self::Wrong | Self::Given(_) => self,
        }
    }
}
