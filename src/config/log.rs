//! `[log]`: what is logged, how and where.

use std::path::{Path, PathBuf};

use slog::Level;

use super::duration;
use super::reader::{Table, Taken};
use super::value::{Value, suggest};

/// The words for levels; slog's own are short, so the usual ones come first.
const LEVELS: [(&str, Level); 7] = [
    ("trace", Level::Trace),
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("warn", Level::Warning),
    ("warning", Level::Warning),
    ("error", Level::Error),
    ("critical", Level::Critical),
];

/// A log file smaller than this would be rotated by every few lines.
pub(super) const LEAST_LOG_SIZE: u64 = 1_000;

/// The size at which logs are rotated unless the file says otherwise.
pub(super) const LOG_SIZE: u64 = 10_000_000;

/// How many rotated logs are kept unless the file says otherwise.
pub(super) const LOG_KEEP: u32 = 5;

/// What is logged, how and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// Which records.
    pub(crate) filter: LogFilter,
    /// How they look on stderr.
    pub(crate) format: LogFormat,
    /// The log file; none: only stderr.
    pub(crate) file: Option<PathBuf>,
    /// At which size it is rotated, in bytes.
    pub(crate) max_size: u64,
    /// How many rotated files are kept.
    pub(crate) keep: u32,
}

/// Which records are logged: `info,probe=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter {
    /// The least severe level of all modules not named.
    pub(crate) default: Level,
    /// The least severe level of these modules.
    pub(crate) modules: Vec<(String, Level)>,
}

/// How log records look on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people, coloured on a terminal.
    Term,
    /// One JSON object a line.
    Json,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self {
            default: Level::Info,
            modules: Vec::new(),
        }
    }
}

/// Reads the table. `other` is `heartbeat.log_level`, another name of `level`.
pub(super) fn read(table: &mut Table<'_>, other: Taken<LogFilter>, data_dir: &Path) -> LogSettings {
    let level = table.take("level", filter);
    if let (Some(level), Some(other)) = (level.as_given(), other.as_given()) {
        let sink = table.sink();
        sink.say(
            sink.at(
                other.key.clone(),
                "besides log.level",
                "`heartbeat.log_level` and `log.level` say the same",
            )
            .also(level.key.clone(), "given here")
            .help("keep one of them"),
        );
    }
    let file = table.take("file", |v| {
        let text = v.need_text("\"supervisor.log\"")?;
        if text.contains('\0') {
            return v.wrong("contains a NUL character", "no file is called so");
        }
        Some((!text.is_empty()).then(|| data_dir.join(text)))
    });
    LogSettings {
        filter: level.or_take(other).or(LogFilter::default()),
        format: table
            .take("format", |v| {
                v.one_of(&[("term", LogFormat::Term), ("json", LogFormat::Json)])
            })
            .or(LogFormat::Term),
        file: file.or(Some(data_dir.join("supervisor.log"))),
        max_size: table
            .take("max_size", |v| duration::size(v, LEAST_LOG_SIZE))
            .or(LOG_SIZE),
        keep: table.take("keep", |v| v.whole(0..=1_000)).or(LOG_KEEP),
    }
}

/// Levels by module, or said.
pub(super) fn filter(value: &Value<'_>) -> Option<LogFilter> {
    const EXAMPLE: &str = "\"info\", or \"info,probe=debug\"";
    let text = value.need_some_text(EXAMPLE)?;
    let mut filter = LogFilter::default();
    let mut at = 0;
    for part in text.split(',') {
        let (module, word) = match part.split_once('=') {
            Some((module, word)) => (Some(module.trim()), word.trim()),
            None => (None, part.trim()),
        };
        let span = value.inner_span(at, part.len());
        at += part.len() + 1;
        let lower = word.to_ascii_lowercase();
        let Some((_, level)) = LEVELS.iter().find(|(name, _)| *name == lower) else {
            let names = LEVELS.iter().map(|(name, _)| *name);
            let label = match suggest(word, names) {
                Some(best) => format!("did you mean `{best}`?"),
                None => "no level".to_owned(),
            };
            let help = "the levels are trace, debug, info, warning, error, critical; \
                        also per module: \"info,probe=debug\"";
            return value.wrong_at(
                span,
                format!("has an unknown level, {word:?}"),
                &label,
                help,
            );
        };
        match module {
            None => filter.default = *level,
            Some("") => {
                return value.wrong_at(
                    span,
                    "has a level for a module without a name",
                    "a name belongs before the `=`",
                    format!("for example: {EXAMPLE}"),
                );
            }
            Some(module) => filter.modules.push((module.to_owned(), *level)),
        }
    }
    Some(filter)
}
