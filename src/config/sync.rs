//! `[sync]`: which directories are mirrored into which tables, and where those are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use supervisor_core::sync::outbox::OnDelete;
use supervisor_core::sync::route::RouteError;
use supervisor_core::sync::table::{TableError, is_name};
use supervisor_core::sync::{Column, Field, Routes, Table, preset};

use super::duration;
use super::errors::Span;
use super::reader::{self, Entry, Sink, Taken};
use super::value::{Value, suggest};

/// Files that are larger are not mirrored, unless the file says otherwise.
const MOST_BYTES: u64 = 10_000_000;

/// What is mirrored, how and where to.
#[derive(Debug, Clone)]
pub(crate) struct SyncSettings {
    /// Which file goes into which table.
    pub(crate) routes: Arc<Routes>,
    /// Where the tables are.
    pub(crate) target: Target,
    /// How long a file must have been left alone.
    pub(crate) debounce: Duration,
    /// How long it may be edited at most before it is sent all the same.
    pub(crate) max_wait: Duration,
    /// What becomes of the row of a file that is gone.
    pub(crate) on_delete: OnDelete,
    /// Larger files are not mirrored, in bytes.
    pub(crate) max_file_size: u64,
}

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// In a database of our own, in the data directory.
    Sqlite,
    /// In a Supabase project, which these environment variables name; the first that is set
    /// counts.
    Supabase {
        /// Its address.
        url: Vec<String>,
        /// Its key.
        key: Vec<String>,
        /// Whether it may go over `http://` beyond this machine.
        allow_http: bool,
    },
}

/// The variables that Supabase's own tools use.
const URL_NAMES: [&str; 2] = ["SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"];
const KEY_NAMES: [&str; 2] = ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_KEY"];

/// What tables have that say nothing themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preset {
    Plain,
    Athena,
}

/// A directory as it stands in the file.
struct Given {
    path: PathBuf,
    table: String,
    path_span: Span,
}

/// A table as it stands in the file.
struct Mapped {
    name: String,
    span: Span,
    key: Taken<String>,
    columns: Taken<Vec<Column>>,
}

/// Reads the table; nothing where no directory is mirrored.
pub(super) fn read(
    table: &mut reader::Table<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Option<SyncSettings> {
    let sink = table.sink();
    let path = |v: &Value<'_>| v.need_some_text("\"docs\"").map(|text| sink.path(text));
    let root = table.take("root", path);
    let target = target(table, env);
    let debounce = table.take("debounce", duration::duration);
    let max_wait = table.take("max_wait", duration::duration);
    if let (Some(least), Some(most)) = (debounce.as_given(), max_wait.as_given())
        && most.value < least.value
    {
        let message = "`sync.max_wait` is shorter than `sync.debounce`";
        let mistake = sink.at(most.span.clone(), "too short", message);
        sink.say(mistake.also(least.span.clone(), "a file rests so long").help(
            "max_wait is how long a file that is edited on and on waits at most: for example 1m",
        ));
    }
    let extensions = table.take("extensions", |v| v.list("[\"md\"]", extension));
    let exclude = table.take("exclude", |v| v.list("[\"drafts\"]", pattern));
    let on_delete = table.take("on_delete", |v| {
        v.one_of(&[
            ("keep", OnDelete::Keep),
            ("delete", OnDelete::Delete),
            ("tombstone", OnDelete::Tombstone),
        ])
    });
    let preset = table.take("preset", |v| {
        v.one_of(&[("plain", Preset::Plain), ("athena", Preset::Athena)])
    });
    let max_file_size = table.take("max_file_size", |v| duration::size(v, 1));
    let given = table.take("dirs", directories);
    let mapped: Vec<_> = table
        .table("tables")
        .entries()
        .iter()
        .filter_map(|entry| mapped(entry, sink))
        .collect();
    let said_something = table.taken() > 0 || !mapped.is_empty();
    if said_something && !given.is_present() {
        let message = "[sync] names no directory: nothing would be mirrored";
        sink.say(
            sink.at(table.span(), "no `dirs`", message)
                .help("name one:\n[[sync.dirs]]\npath = \"docs\"\ntable = \"docs\""),
        );
    }
    let directories = given.value()?;
    let on_delete = on_delete.or(OnDelete::Keep);
    let preset = preset.or(Preset::Plain);
    let tombstones = on_delete == OnDelete::Tombstone;
    let tables = tables(&directories, &mapped, preset, tombstones, sink)?;
    let root = root.value().unwrap_or_else(|| sink.path("."));
    let extensions = extensions.or(vec!["md".to_owned()]);
    let exclude = exclude.or(Vec::new());
    let routes = routes(&root, &directories, &tables, &extensions, &exclude, sink)?;
    let debounce = debounce.or(Duration::from_secs(5));
    Some(SyncSettings {
        routes: Arc::new(routes),
        target,
        debounce,
        max_wait: max_wait.or(Duration::from_secs(60).max(debounce)),
        on_delete,
        max_file_size: max_file_size.or(MOST_BYTES),
    })
}

fn target(table: &mut reader::Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> Target {
    for key in ["key", "service_role_key", "token", "password"] {
        table.refuse_secret(
            key,
            "put it into an environment variable and name that: \
             key_env = \"SUPABASE_SERVICE_ROLE_KEY\"",
        );
    }
    let supabase = table
        .take("target", |v| {
            v.one_of(&[("sqlite", false), ("supabase", true)])
        })
        .or(false);
    let name = |value: &Value<'_>, example: &str| {
        let name = value.need_some_text(example)?;
        if supabase && env(name).is_none_or(|text| text.trim().is_empty()) {
            return value.wrong(
                format!("names {name}, which the environment does not have"),
                "set it before the supervisor starts",
            );
        }
        Some(vec![name.to_owned()])
    };
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
    let url = table.take("url_env", |v| name(v, "\"SUPABASE_URL\""));
    let key = table.take("key_env", |v| name(v, "\"SUPABASE_SERVICE_ROLE_KEY\""));
    let allow_http = table.take("allow_http", Value::flag);
    if supabase {
        Target::Supabase {
            url: url.or(names(&URL_NAMES)),
            key: key.or(names(&KEY_NAMES)),
            allow_http: allow_http.or(false),
        }
    } else {
        Target::Sqlite
    }
}

/// An extension, with or without its dot.
fn extension(value: &Value<'_>) -> Option<String> {
    let text = value.need_some_text("\"md\"")?;
    let bare = text.strip_prefix('.').unwrap_or(text);
    if bare.is_empty() || bare.contains(['/', '*', '.']) {
        return value.wrong(
            format!("holds {text:?}, which is no extension"),
            "what stands behind the last dot of a file's name, like \"md\"",
        );
    }
    Some(bare.to_owned())
}

/// A pattern; whether it is one is seen when all are put together.
fn pattern(value: &Value<'_>) -> Option<(String, Span)> {
    let text = value.need_some_text("\"drafts\"")?;
    Some((text.to_owned(), value.span.clone()))
}

fn directories(value: &Value<'_>) -> Option<Vec<Given>> {
    let directories = value.list("[{ path = \"docs\", table = \"docs\" }]", |element| {
        let mut table = element.table()?;
        let sink = element.sink;
        let path = table.take("path", |v| {
            v.need_some_text("\"docs\"").map(|text| sink.path(text))
        });
        let name = table.take("table", name);
        for (key, absent) in [("path", !path.is_present()), ("table", !name.is_present())] {
            if absent {
                let message = format!("a directory of [[sync.dirs]] has no `{key}`");
                let mistake = sink.at(element.span.clone(), "here", message);
                sink.say(mistake.help("path = \"docs\"\ntable = \"docs\""));
            }
        }
        let path = path.given()?;
        Some(Given {
            path: path.value,
            path_span: path.span,
            table: name.value()?,
        })
    })?;
    if directories.is_empty() {
        return value.wrong(
            "is empty",
            "name a directory: { path = \"docs\", table = \"docs\" }",
        );
    }
    Some(directories)
}

/// The name of a table or column.
fn name(value: &Value<'_>) -> Option<String> {
    let text = value.need_some_text("\"docs\"")?;
    if is_name(text) {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("is no name for a table or column: {text:?}"),
        "letters, digits and underscores, not beginning with a digit, at most 63",
    )
}

fn mapped(entry: &Entry<'_>, sink: &Sink) -> Option<Mapped> {
    let mut table = entry.value.named_table("sync.tables")?;
    let key = table.take("key", name);
    let columns = table.take("columns", columns);
    if !is_name(entry.key) {
        let message = format!("{:?} is no name for a table", entry.key);
        let mistake = sink.at(entry.key_span.clone(), "here", message);
        sink.say(mistake.help("letters, digits and underscores, not beginning with a digit"));
        return None;
    }
    Some(Mapped {
        name: entry.key.to_owned(),
        span: entry.key_span.clone(),
        key,
        columns,
    })
}

/// `{ column = "field" }`, in the order of the file.
fn columns(value: &Value<'_>) -> Option<Vec<Column>> {
    let mut table = value.table()?;
    let mut good = true;
    let mut columns = Vec::new();
    for entry in table.entries() {
        let decoded = column(&entry);
        good &= decoded.is_some();
        columns.extend(decoded);
    }
    if good && columns.is_empty() {
        return value.wrong(
            "is empty",
            "for example { path = \"file_path\", text = \"content\" }",
        );
    }
    good.then_some(columns)
}

fn column(entry: &Entry<'_>) -> Option<Column> {
    let value = &entry.value;
    let text = value.need_some_text("\"file_path\"")?;
    if !is_name(entry.key) {
        return value.wrong(
            format!(
                "stands under {:?}, which is no name for a column",
                entry.key
            ),
            "letters, digits and underscores, not beginning with a digit, at most 63",
        );
    }
    let Some(field) = Field::parse(text) else {
        let label = match suggest(text, Field::words()) {
            Some(best) => format!("did you mean \"{best}\"?"),
            None => "not known".to_owned(),
        };
        let words = Field::words().collect::<Vec<_>>().join(", ");
        let help = format!("written as column = \"field\"; a field is {words} or metadata.KEY");
        return value.wrong_at(
            value.span.clone(),
            format!("holds no field: {text:?}"),
            &label,
            help,
        );
    };
    Some(Column {
        name: entry.key.to_owned(),
        field,
    })
}

/// The tables that directories go into.
fn tables(
    directories: &[Given],
    mapped: &[Mapped],
    preset: Preset,
    tombstones: bool,
    sink: &Sink,
) -> Option<Vec<Arc<Table>>> {
    for unused in mapped {
        if directories.iter().all(|given| given.table != unused.name) {
            let message = format!("no directory goes into the table {:?}", unused.name);
            let names = directories.iter().map(|given| given.table.as_str());
            let label = match suggest(&unused.name, names) {
                Some(best) => format!("did you mean `{best}`?"),
                None => "not used".to_owned(),
            };
            sink.say(sink.at(unused.span.clone(), label, message));
        }
    }
    let mut tables: Vec<Arc<Table>> = Vec::new();
    let mut good = true;
    for given in directories {
        if tables.iter().any(|table| table.name() == given.table) {
            continue;
        }
        let standard = match preset {
            Preset::Plain => preset::plain(&given.table, tombstones),
            Preset::Athena => preset::athena(&given.table, tombstones),
        };
        // Its name was checked where it stands.
        let standard = standard.ok()?;
        let own = mapped.iter().find(|mapped| mapped.name == given.table);
        let built = match own {
            None => Some(standard),
            Some(own) => own.build(&standard, tombstones, sink),
        };
        good &= built.is_some();
        tables.extend(built.map(Arc::new));
    }
    good.then_some(tables)
}

impl Mapped {
    fn build(&self, standard: &Table, tombstones: bool, sink: &Sink) -> Option<Table> {
        if self.key.is_wrong() || self.columns.is_wrong() {
            return None;
        }
        let given = self.columns.as_given();
        let columns = match given {
            Some(given) => given.value.clone(),
            None => standard.columns().to_vec(),
        };
        let by_field = columns
            .iter()
            .find(|column| column.field == Field::FilePath);
        let by_name = columns.iter().find(|column| column.name == standard.key());
        let default = by_name
            .or(by_field)
            .map_or(standard.key(), |column| &column.name)
            .to_owned();
        let key = self.key.as_given().map_or(default, |key| key.value.clone());
        let columns_span = given.map_or(self.span.clone(), |given| given.span.clone());
        let key_span = self
            .key
            .as_given()
            .map_or(columns_span.clone(), |key| key.span.clone());
        let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        match Table::new(&self.name, &key, columns) {
            Ok(table) if tombstones && table.tombstone_column().is_none() => {
                let message = format!("{} has no column for tombstones", self.name);
                let mistake = sink.at(columns_span, "needs one", message);
                sink.say(
                    mistake.help("on_delete = \"tombstone\" needs it: deleted_at = \"deleted_at\""),
                );
                None
            }
            Ok(table) => Some(table),
            Err(error) => {
                let (span, help) = match &error {
                    TableError::NoKey(_) => {
                        (key_span, format!("its columns are {}", names.join(", ")))
                    }
                    TableError::BadKey(..) => (
                        key_span,
                        "a key holds file_path, filename, name or code".to_owned(),
                    ),
                    TableError::Name(_) | TableError::Twice(_) => (columns_span, String::new()),
                    TableError::TwoTombstones => (columns_span, "keep one of them".to_owned()),
                };
                let message = format!("{} cannot be: {error}", self.name);
                sink.say(sink.at(span, "here", message).help(help));
                None
            }
        }
    }
}

fn routes(
    root: &Path,
    directories: &[Given],
    tables: &[Arc<Table>],
    extensions: &[String],
    exclude: &[(String, Span)],
    sink: &Sink,
) -> Option<Routes> {
    let table = |name: &str| tables.iter().find(|table| table.name() == name).cloned();
    let placed: Option<Vec<_>> = directories
        .iter()
        .map(|given| Some((given.path.clone(), table(&given.table)?)))
        .collect();
    let patterns: Vec<_> = exclude.iter().map(|(text, _)| text.clone()).collect();
    let error = match Routes::new(root, placed?, extensions, &patterns) {
        Ok(routes) => return Some(routes),
        Err(error) => error,
    };
    let of = |path: &Path| {
        let last = directories.iter().rev().find(|given| given.path == path);
        last.or(directories.last())
            .map_or(0..0, |given| given.path_span.clone())
    };
    let (span, help) = match &error {
        RouteError::Outside { path, .. } => (
            of(path),
            "rows are named by paths relative to `sync.root`: set it to a directory above all others",
        ),
        RouteError::Twice(path) | RouteError::NotUtf8(path) => (of(path), "keep one of them"),
        RouteError::Pattern { pattern, .. } => {
            let found = exclude.iter().find(|(text, _)| text == pattern);
            let span = found
                .or(exclude.first())
                .map_or(0..0, |(_, span)| span.clone());
            (
                span,
                "patterns are written as in .gitignore: \"drafts\", \"*.tmp.md\", \"notes/**/old\"",
            )
        }
    };
    sink.say(sink.at(span, "here", error.to_string()).help(help));
    None
}
