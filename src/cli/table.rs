//! How services look to people: the table of all of them, and the card of one.

use std::borrow::Cow;
use std::fmt::Write as _;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use supervisor_core::Level;

use super::api::Service;
use super::escape::escape;
use super::human::{count, seconds};
use super::output::{Ink, Look};

/// What stands where there is nothing to say.
const NOTHING: &str = "-";

/// How much room a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Columns of the terminal; without a terminal no line is too long.
    pub(super) width: Option<u16>,
    /// Lines of the terminal, where nothing may scroll (`--watch`): then no row takes two.
    pub(super) height: Option<u16>,
}

/// The ink of a level.
pub(super) fn ink(level: Level) -> Ink {
    match level {
        Level::Healthy => Ink::Green,
        Level::Warning => Ink::Yellow,
        Level::Degraded => Ink::Magenta,
        Level::Critical => Ink::BoldRed,
        Level::Unknown => Ink::Faint,
    }
}

/// `1 critical, 1 warning, 3 healthy`: the worst first, what there is none of left out.
pub(super) fn summary(services: &[&Service], look: Look) -> String {
    let parts: Vec<String> = counts(services)
        .into_iter()
        .map(|(level, n)| look.paint(ink(level), &format!("{n} {}", level.as_str())))
        .collect();
    if parts.is_empty() {
        "no services".to_owned()
    } else {
        parts.join(", ")
    }
}

/// How many services are at each level, the worst first, what there is none of left out.
pub(super) fn counts(services: &[&Service]) -> Vec<(Level, usize)> {
    [
        Level::Critical,
        Level::Degraded,
        Level::Warning,
        Level::Healthy,
        Level::Unknown,
    ]
    .into_iter()
    .map(|level| {
        let n = services.iter().filter(|s| s.level() == level).count();
        (level, n)
    })
    .filter(|(_, n)| *n > 0)
    .collect()
}

/// A column: its heading, and how soon it is left out where there is little room.
#[derive(Clone, Copy)]
struct Column {
    heading: &'static str,
    /// 0 stays; the highest goes first.
    expendable: u8,
    right: bool,
    text: fn(&Service) -> String,
}

const COLUMNS: [Column; 9] = [
    Column {
        heading: "NAME",
        expendable: 0,
        right: false,
        text: |s| escape(&s.name).into_owned(),
    },
    Column {
        heading: "LEVEL",
        expendable: 0,
        right: false,
        text: |s| escape(&s.status).into_owned(),
    },
    Column {
        heading: "STATE",
        expendable: 0,
        right: false,
        text: |s| escape(&s.state).into_owned(),
    },
    Column {
        heading: "AGE / INTERVAL",
        expendable: 1,
        right: false,
        text: age,
    },
    Column {
        heading: "MISSED",
        expendable: 4,
        right: true,
        text: |s| number(s.missed),
    },
    Column {
        heading: "PID",
        expendable: 2,
        right: true,
        text: |s| s.pid.map_or_else(|| NOTHING.to_owned(), |n| n.to_string()),
    },
    Column {
        heading: "UPTIME",
        expendable: 5,
        right: true,
        text: |s| s.uptime.map_or_else(|| NOTHING.to_owned(), seconds),
    },
    Column {
        heading: "RESTARTS",
        expendable: 3,
        right: true,
        text: |s| number(s.restarts),
    },
    Column {
        heading: "REASON",
        expendable: 0,
        right: false,
        text: |s| escape(&remark(s)).into_owned(),
    },
];
/// The column of names.
const NAME: usize = 0;
/// The column of levels.
const LEVEL: usize = 1;
/// The column of reasons.
const REASON: usize = COLUMNS.len() - 1;
/// Reasons are not squeezed below this.
const REASON_WIDTH: usize = 20;
/// A line of a service's output is cut here: `logs` shows it whole.
const LAST_OUTPUT_WIDTH: usize = 200;
/// Between two columns.
const GAP: usize = 2;

fn number(n: Option<u64>) -> String {
    n.map_or_else(|| NOTHING.to_owned(), |n| n.to_string())
}

/// `2.1 s / 5 s`; one that pulses on demand has promised nothing, one that pulses by living is
/// always of age 0, one that never pulsed has none.
fn age(service: &Service) -> String {
    match (service.age, service.interval) {
        (Some(age), Some(interval)) => format!("{} / {}", seconds(age), seconds(interval)),
        (None, Some(interval)) => format!("never / {}", seconds(interval)),
        (Some(age), None) if age > 0.0 => seconds(age),
        (Some(_) | None, None) => NOTHING.to_owned(),
    }
}

/// The reason, and what one wants to know about the state at a glance.
fn remark(service: &Service) -> String {
    let mut parts = Vec::new();
    if !service.reason().is_empty() {
        parts.push(service.reason().to_owned());
    }
    parts.extend(outlook(service));
    parts.join("; ")
}

/// What happens next, or what it waits for.
fn outlook(service: &Service) -> Option<String> {
    if let Some(left) = service.next_start_in {
        return Some(format!("next start in {}", seconds(left)));
    }
    if let Some(left) = service.paused_for {
        return Some(format!("for another {}", seconds(left)));
    }
    if let Some(window) = &service.maintenance {
        return Some(format!("in maintenance window {window}"));
    }
    let by = service.blocked_by.as_deref().filter(|by| !by.is_empty())?;
    Some(format!("waits for {by}"))
}

/// A table that somebody else draws: the columns for which there is room, and their texts.
#[cfg(feature = "top")]
pub(super) struct Grid {
    pub(super) columns: Vec<GridColumn>,
    pub(super) rows: Vec<(Level, Vec<String>)>,
}

/// A column of a [`Grid`].
#[cfg(feature = "top")]
pub(super) struct GridColumn {
    pub(super) heading: &'static str,
    pub(super) right: bool,
    /// Of its longest text, in characters.
    pub(super) width: usize,
    pub(super) is_name: bool,
    pub(super) is_level: bool,
}

/// The same table as [`table`].
#[cfg(feature = "top")]
pub(super) fn grid(services: &[&Service], width: Option<u16>) -> Grid {
    let rows = texts(services);
    let (shown, _) = choose(&rows, width);
    let columns = shown.iter().map(|&at| GridColumn {
        heading: COLUMNS[at].heading,
        right: COLUMNS[at].right,
        width: widest(&rows, at),
        is_name: at == NAME,
        is_level: at == LEVEL,
    });
    Grid {
        columns: columns.collect(),
        rows: rows
            .into_iter()
            .map(|(level, mut texts)| {
                let shown = shown.iter().map(|&at| std::mem::take(&mut texts[at]));
                (level, shown.collect())
            })
            .collect(),
    }
}

fn texts(services: &[&Service]) -> Vec<(Level, Vec<String>)> {
    services
        .iter()
        .map(|s| (s.level(), COLUMNS.iter().map(|c| (c.text)(s)).collect()))
        .collect()
}

fn widest(rows: &[(Level, Vec<String>)], at: usize) -> usize {
    let texts = rows.iter().map(|(_, texts)| texts[at].chars().count());
    texts.fold(COLUMNS[at].heading.len(), usize::max)
}

/// The table of those services, in their order.
pub(super) fn table(services: &[&Service], look: Look, room: Room) -> String {
    let rows = texts(services);
    let (shown, left) = choose(&rows, room.width);
    // Where rows may not wrap, the reason is cut to the last character that fits.
    let left = left.filter(|_| room.height.is_some());
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_truncation_indicator("…")
        .set_content_arrangement(ContentArrangement::Disabled);
    if look.color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    if let Some(width) = room.width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    table.set_header(shown.iter().map(|&at| {
        Cell::new(COLUMNS[at].heading)
            .add_attribute(Attribute::Bold)
            .set_alignment(alignment(&COLUMNS[at]))
    }));
    for (level, texts) in &rows {
        let cells = shown.iter().map(|&at| {
            let text = match left {
                Some(left) if at == REASON => cut(&texts[at], left),
                Some(_) | None => Cow::Borrowed(texts[at].as_str()),
            };
            let cell = Cell::new(text).set_alignment(alignment(&COLUMNS[at]));
            match at {
                LEVEL => paint(cell, *level),
                NAME if *level >= Level::Degraded => cell.add_attribute(Attribute::Bold),
                _ => cell,
            }
        });
        let mut row = comfy_table::Row::from(cells.collect::<Vec<_>>());
        if room.height.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    let last = shown.len() - 1;
    for (at, column) in table.column_iter_mut().enumerate() {
        let gap = if at == last { 0 } else { GAP as u16 };
        column.set_padding((0, gap));
        if room.width.is_some() && at != last {
            column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

fn alignment(column: &Column) -> CellAlignment {
    if column.right {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    }
}

/// A cell in the ink of a level (the same inks as [`ink`]).
fn paint(cell: Cell, level: Level) -> Cell {
    match ink(level) {
        Ink::Green => cell.fg(Color::DarkGreen),
        Ink::Yellow => cell.fg(Color::DarkYellow),
        Ink::Magenta => cell.fg(Color::DarkMagenta),
        Ink::BoldRed => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
        Ink::Faint => cell.add_attribute(Attribute::Dim),
        Ink::Bold => cell.add_attribute(Attribute::Bold),
    }
}

/// A text of at most so many characters, with a sign where it goes on.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    Cow::Owned(format!("{}…", kept.trim_end()))
}

/// Which columns are shown: all, or so many that reasons keep some room; and how much room
/// reasons have where that is limited.
fn choose(rows: &[(Level, Vec<String>)], width: Option<u16>) -> (Vec<usize>, Option<usize>) {
    let mut shown: Vec<usize> = (0..COLUMNS.len()).collect();
    let Some(width) = width.map(usize::from) else {
        return (shown, None);
    };
    let widest = |at: usize| widest(rows, at);
    let reasons = widest(REASON).min(REASON_WIDTH);
    loop {
        let others = shown.iter().filter(|&&at| at != REASON);
        let taken: usize = others.map(|&at| widest(at) + GAP).sum();
        let next = (0..shown.len())
            .filter(|&place| COLUMNS[shown[place]].expendable > 0)
            .max_by_key(|&place| COLUMNS[shown[place]].expendable);
        match next {
            Some(place) if taken + reasons > width => shown.remove(place),
            Some(_) | None => return (shown, Some(width.saturating_sub(taken).max(1))),
        };
    }
}

/// Everything known of one service.
pub(super) fn card(service: &Service, look: Look) -> String {
    let mut out = format!(
        "{}: {}, {}\n",
        look.paint(Ink::Bold, &escape(&service.name)),
        look.paint(ink(service.level()), &escape(&service.status)),
        escape(&service.state),
    );
    let mut line = |label: &str, text: &str| {
        if !text.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {label:<12} {}", escape(text));
        }
    };
    line("reason", service.reason());
    line("next", &outlook(service).unwrap_or_default());
    line("process", &process(service));
    line("last pulse", &last_pulse(service));
    line("pulses", &pulses(service));
    line("run", &run_under_way(service));
    line("last run", &last_run(service));
    line("restarts", &number(service.restarts));
    line("message", service.message.as_deref().unwrap_or_default());
    line("progress", &progress(service));
    line("metrics", &metrics(service));
    if service.critical == Some(false) {
        line("critical", "no: counts for degraded at most");
    }
    line("depends on", &service.depends_on.join(", "));
    line("tags", &service.tags.join(", "));
    out
}

/// The end of a service's output, below its card.
pub(super) fn last_output(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<String> = lines
        .map(|line| format!("    {}\n", cut(&escape(line), LAST_OUTPUT_WIDTH)))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("  last output\n{}", lines.concat())
}

fn process(service: &Service) -> String {
    let mut parts = Vec::new();
    if let Some(pid) = service.pid {
        parts.push(format!("pid {pid}"));
    }
    if let Some(generation) = service.generation.filter(|n| *n > 0) {
        parts.push(format!("generation {generation}"));
    }
    if let Some(uptime) = service.uptime {
        let since = service.started_at.as_ref();
        let since = since.map_or_else(String::new, |date| format!(" (since {date})"));
        parts.push(format!("up {}{since}", seconds(uptime)));
    }
    parts.join(", ")
}

fn last_pulse(service: &Service) -> String {
    let mut parts = vec![match (service.age, &service.last_heartbeat) {
        (Some(age), Some(date)) => format!("{} ago ({date})", seconds(age)),
        (Some(age), None) => format!("{} ago", seconds(age)),
        (None, _) => "never".to_owned(),
    }];
    let source = service.interval_source.as_deref();
    match (service.interval, source) {
        (Some(interval), Some("learnt")) => {
            parts.push(format!("expected every {} (learnt)", seconds(interval)));
        }
        (Some(interval), Some("announced")) => {
            let every = seconds(interval);
            parts.push(format!("expected every {every} (as it says itself)"));
        }
        (Some(interval), Some(_) | None) => {
            parts.push(format!("expected every {}", seconds(interval)));
        }
        (None, Some("learning")) => parts.push("its interval is being learnt".to_owned()),
        (None, Some(_) | None) => {}
    }
    if let Some(missed) = service.missed.filter(|n| *n > 0) {
        parts.push(format!("{missed} missed"));
    }
    parts.extend(
        service
            .freshness
            .as_ref()
            .map(|word| word.replace('_', " ")),
    );
    parts.join(", ")
}

fn pulses(service: &Service) -> String {
    let mut parts = vec![number(service.total_pulses)];
    if let Some(errors) = service.error_count {
        parts.push(count(errors, "error"));
    }
    if let Some(failures) = service.consecutive_failures.filter(|n| *n > 0) {
        parts.push(format!("{failures} in a row missed or failed"));
    }
    parts.join(", ")
}

fn run_under_way(service: &Service) -> String {
    let run = service.run.as_ref().and_then(|run| run.running_for);
    run.map_or_else(String::new, |time| {
        format!("under way for {}", seconds(time))
    })
}

/// `failure with exit code 3, took 2.5 s (2026-01-02T18:30:00Z): disk full`
fn last_run(service: &Service) -> String {
    let Some(run) = &service.last_run else {
        return String::new();
    };
    let mut text = run.outcome.clone().unwrap_or_default();
    // Writing to a String cannot fail.
    if let Some(code) = run.exit_code.filter(|code| *code != 0) {
        let _ = write!(text, " with exit code {code}");
    }
    if let Some(took) = run.duration {
        let _ = write!(text, ", took {}", seconds(took));
    }
    if let Some(date) = &run.ended_at {
        let _ = write!(text, " ({date})");
    }
    if let Some(message) = &run.message {
        let _ = write!(text, ": {message}");
    }
    text
}

fn progress(service: &Service) -> String {
    let cycle = service.cycle.map(|cycle| format!("cycle {cycle}"));
    let progress = service.progress.map(figure);
    let parts: Vec<_> = cycle.into_iter().chain(progress).collect();
    parts.join(", ")
}

/// `queue 12 (mean 3.5, 0 to 12)`: one that was given once has nothing in brackets.
fn metrics(service: &Service) -> String {
    let parts = service.metrics.iter().map(|(name, metric)| {
        let value = metric.value.map_or_else(|| NOTHING.to_owned(), figure);
        match (metric.mean, metric.min, metric.max) {
            (Some(mean), Some(min), Some(max)) if metric.count > Some(1) => format!(
                "{name} {value} (mean {}, {} to {})",
                figure(mean),
                figure(min),
                figure(max)
            ),
            _ => format!("{name} {value}"),
        }
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// A number as people read it: at most three digits behind the point, where that says
/// something.
fn figure(number: f64) -> String {
    let rounded = (number * 1_000.0).round() / 1_000.0;
    if rounded != 0.0 && rounded.abs() < 1e15 {
        rounded.to_string()
    } else if number == 0.0 {
        "0".to_owned()
    } else {
        format!("{number:e}")
    }
}

#[cfg(test)]
mod tests;
