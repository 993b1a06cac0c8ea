//! What is wrong with a configuration: every mistake at once, each with its place in the file.

use std::fmt;
use std::io::IsTerminal as _;
use std::ops::Range;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

/// Bytes of a file.
pub(crate) type Span = Range<usize>;

/// A file as it was read, to show its lines.
#[derive(Debug)]
pub(crate) struct Text {
    /// What the user calls it.
    pub(crate) name: String,
    /// Its content.
    pub(crate) text: String,
    /// Where its lines begin, so that a thousand mistakes do not count lines a thousand times.
    lines: Vec<usize>,
}

/// How many mistakes are shown in full: a file that is no configuration at all has thousands.
pub(crate) const SHOWN_AT_MOST: usize = 50;

/// Narrower than this a quoted line is unreadable.
const LEAST_WIDTH: usize = 40;

/// One mistake: what is wrong, where, and what would be right.
#[derive(Debug, Clone)]
pub(crate) struct Mistake {
    message: String,
    labels: Vec<(Span, String)>,
    help: Option<String>,
    text: Option<Arc<Text>>,
}

/// Why a configuration was refused: all its mistakes, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct ConfigErrors {
    file: String,
    mistakes: Vec<Mistake>,
}

// === impl Mistake ===

impl Mistake {
    /// A mistake that has no place: a file that cannot be read.
    pub(crate) fn nowhere(message: String, help: Option<String>) -> Self {
        Self {
            message,
            labels: Vec::new(),
            help,
            text: None,
        }
    }

    /// A mistake at a place. The span is cut to the file and to whole characters, because a
    /// label outside would hide the line that it is about.
    pub(crate) fn at(
        text: &Arc<Text>,
        span: Span,
        label: impl Into<String>,
        message: String,
    ) -> Self {
        let span = within(&text.text, span);
        Self {
            message,
            labels: vec![(span, label.into())],
            help: None,
            text: Some(Arc::clone(text)),
        }
    }

    /// Says what would be right.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points to another place that has to do with it.
    pub(crate) fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        if let Some(text) = &self.text {
            let span = within(&text.text, span);
            self.labels.push((span, label.into()));
        }
        self
    }

    /// What is wrong, in a sentence.
    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// It in one line, for what came from elsewhere than a file: what is wrong, and what would
    /// be right.
    pub(crate) fn sentence(&self) -> String {
        match &self.help {
            Some(help) => format!("{}: {help}", self.message),
            None => self.message.clone(),
        }
    }

    /// Its line and column, counted from 1; none for a file that could not be read.
    #[must_use]
    pub(crate) fn position(&self) -> Option<(usize, usize)> {
        let text = self.text.as_ref()?;
        let (line, start) = text.line(self.start());
        let before = text.text.get(start..self.start())?;
        Some((line + 1, before.chars().count() + 1))
    }

    /// Its line, counted from 0.
    pub(crate) fn line(&self) -> Option<usize> {
        Some(self.text.as_ref()?.line(self.start()).0)
    }

    /// Where it begins: the order in which mistakes are shown.
    pub(crate) fn start(&self) -> usize {
        self.labels.first().map_or(0, |(span, _)| span.start)
    }
}

/// Cuts a span to the text and to whole characters of one line. An empty one, at the end of
/// a line mostly, takes the character before it: there is nothing to draw a caret under else.
fn within(text: &str, span: Span) -> Span {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    let end = floor(span.end).max(start);
    let inner = text.get(start..end).unwrap_or_default();
    let end = start + inner.find('\n').unwrap_or(inner.len());
    if start < end {
        return start..end;
    }
    let before = text.get(..start).unwrap_or_default();
    match before.trim_end_matches('\r').char_indices().next_back() {
        Some((last, c)) if c != '\n' => last..last + c.len_utf8(),
        Some(_) | None => start..start,
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl Diagnostic for Mistake {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.as_deref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let mut first = true;
        Some(Box::new(self.labels.iter().map(move |(span, label)| {
            let label = (!label.is_empty()).then(|| label.clone());
            // The first label decides the line that stands in the heading.
            if std::mem::take(&mut first) {
                LabeledSpan::new_primary_with_span(label, span.clone())
            } else {
                LabeledSpan::new_with_span(label, span.clone())
            }
        })))
    }
}

// === impl Text ===

impl Text {
    pub(crate) fn new(name: &str, text: String) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            name: name.to_owned(),
            lines: std::iter::once(0).chain(ends).collect(),
            text,
        }
    }

    /// The line that holds a byte, counted from 0, and where it begins.
    fn line(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at) - 1;
        (line, self.lines[line])
    }
}

impl SourceCode for Text {
    /// The whole lines of a span and no others: a neighbour may hold a value that is nobody's
    /// business. (miette's own would show the span alone, or neighbours.)
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.text.as_str();
        let end = span.offset().saturating_add(span.len());
        let (head, tail) = (text.get(..span.offset()), text.get(end..));
        let (Some(head), Some(tail)) = (head, tail) else {
            return Err(MietteError::OutOfBounds);
        };
        let (line, start) = self.line(head.len());
        let end = tail.find('\n').map_or(text.len(), |at| end + at);
        let lines = text[start..end].lines().count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            &text.as_bytes()[start..end],
            (start, end - start).into(),
            line,
            text[start..head.len()].chars().count(),
            lines,
        )))
    }
}

// === impl ConfigErrors ===

impl ConfigErrors {
    /// Sorts the mistakes into the order of the file.
    pub(crate) fn new(file: String, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(Mistake::start);
        Self { file, mistakes }
    }

    /// The mistakes, in the order of the file.
    #[cfg(test)]
    pub(crate) fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// The same for programs: `{"file", "mistakes": [{"line", "column", "message", "help"}]}`,
    /// with null where a mistake has no place or no advice.
    #[must_use]
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mistakes = self.mistakes.iter().map(|mistake| {
            let (line, column) = mistake.position().unzip();
            serde_json::json!({
                "line": line,
                "column": column,
                "message": mistake.message,
                "help": mistake.help,
            })
        });
        serde_json::json!({ "file": self.file, "mistakes": mistakes.collect::<Vec<_>>() })
    }

    /// `3 mistakes in supervisor.toml`.
    #[must_use]
    pub(crate) fn summary(&self) -> String {
        match self.mistakes.len() {
            1 => format!("1 mistake in {}", self.file),
            n => format!("{n} mistakes in {}", self.file),
        }
    }

    /// [`ConfigErrors::render`] as it suits whoever reads stderr.
    #[must_use]
    pub(crate) fn render_for_stderr(&self, no_color: bool) -> String {
        /// What a pipe gets: long enough for the lines that people write.
        const PIPE: usize = 120;
        let stderr = std::io::stderr();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|value| value == "dumb");
        let color = stderr.is_terminal() && !no_color && !set("NO_COLOR") && !dumb;
        let width = rustix::termios::tcgetwinsize(&stderr)
            .map(|size| usize::from(size.ws_col))
            .ok()
            .filter(|columns| *columns > 0);
        self.render(color, width.unwrap_or(PIPE))
    }

    /// All mistakes with line, caret and advice, for a terminal that is `width` columns wide
    /// (`color`: it understands colours and Unicode), or plain ASCII for anything else; the
    /// last line is the summary.
    #[must_use]
    pub(crate) fn render(&self, color: bool, width: usize) -> String {
        let mut theme = if color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::none()
        };
        theme.characters.underline = '^';
        theme.characters.underbar = '^';
        theme.characters.error = if color { "×" } else { "error:" }.to_owned();
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(width.max(LEAST_WIDTH))
            .with_context_lines(0)
            .with_links(false);

        let mut out = String::new();
        for mistake in self.mistakes.iter().take(SHOWN_AT_MOST) {
            // Writing into a String cannot fail; a label that miette cannot place can.
            if handler.render_report(&mut out, mistake).is_err() {
                out.push_str(&mistake.message);
                out.push('\n');
            }
            out.push('\n');
        }
        if let Some(more) = self.mistakes.len().checked_sub(SHOWN_AT_MOST + 1) {
            out.push_str(&format!("… and {} more\n\n", more + 1));
        }
        out.push_str(&self.summary());
        out.push('\n');
        out
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each mistake: `supervisor.toml:3:1: unknown key`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in self.mistakes.iter().take(SHOWN_AT_MOST) {
            match (&mistake.text, mistake.position()) {
                (Some(text), Some((line, column))) => {
                    writeln!(f, "{}:{line}:{column}: {mistake}", text.name)?;
                }
                _ => writeln!(f, "{mistake}")?,
            }
        }
        f.write_str(&self.summary())
    }
}

impl std::error::Error for ConfigErrors {}
