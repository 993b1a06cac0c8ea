//! How a record looks: slog-term's full format, or slog-json's, each as one line.
//!
//! Whatever comes from outside (a service's error message) is in a record sooner or later, so
//! control characters are escaped: nobody forges a line or drives our terminal.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use slog::{Drain, FnValue, Level, OwnedKVList, PushFnValue, Record, o};
use slog_json::Json;
use slog_term::{Decorator, FullFormat, RecordDecorator, ThreadSafeTimestampFn};

use supervisor_core::Timestamp;

/// Makes lines of records.
pub(super) struct Format {
    drain: Box<dyn Drain<Ok = (), Err = io::Error>>,
    /// When the record at hand was logged: the formatters ask for it by themselves.
    at: Arc<AtomicI64>,
    line: Line,
}

/// The line being made.
#[derive(Clone, Default)]
struct Line(Rc<RefCell<Vec<u8>>>);

impl Format {
    /// Lines for people: `2026-11-22T01:02:03.123Z WARN message, key: value`.
    pub(super) fn lines(colour: bool) -> Self {
        let (at, line) = (Arc::new(AtomicI64::new(0)), Line::default());
        let stamp = at.clone();
        let paint = Paint {
            line: line.clone(),
            colour,
        };
        let drain = FullFormat::new(paint)
            .use_custom_timestamp(move |to: &mut dyn Write| write!(to, "{}", stamp_text(&stamp)))
            .use_custom_header_print(header)
            .use_original_order()
            .build();
        Self {
            drain: Box::new(drain),
            at,
            line,
        }
    }

    /// JSON: `{"ts":"…","level":"warn","msg":"…","module":"…","key":"value"}`.
    pub(super) fn json() -> Self {
        let (at, line) = (Arc::new(AtomicI64::new(0)), Line::default());
        let stamp = at.clone();
        let drain = Json::new(line.clone())
            .add_key_value(o!("ts" => FnValue(move |_: &Record<'_>| stamp_text(&stamp))))
            .add_key_value(
                o!("level" => FnValue(|record: &Record<'_>| word(record.level()).to_lowercase())),
            )
            .add_key_value(
                o!("msg" => PushFnValue(|record: &Record<'_>, to| to.emit(record.msg()))),
            )
            .add_key_value(o!("module" => FnValue(|record: &Record<'_>| origin(record).to_owned())))
            .build();
        Self {
            drain: Box::new(drain),
            at,
            line,
        }
    }

    /// The record as a line, with its end.
    pub(super) fn line(&self, at: Timestamp, record: &Record<'_>, values: &OwnedKVList) -> Vec<u8> {
        self.at.store(at.0, Ordering::Relaxed);
        let formatted = self.drain.log(record, values);
        let mut line = std::mem::take(&mut *self.line.0.borrow_mut());
        if let Err(error) = formatted {
            // Half a record is better than none, but it must be seen to be half.
            line.extend_from_slice(format!(" (cut: {error})").as_bytes());
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        line
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// RFC 3339 in UTC with milliseconds.
fn stamp_text(at: &AtomicI64) -> String {
    let micros = u64::try_from(at.load(Ordering::Relaxed)).unwrap_or(0);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_micros(micros)).to_string()
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Critical => "CRITICAL",
        Level::Error => "ERROR",
        Level::Warning => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    }
}

/// Where a record comes from; those of the `log` crate say it by their tag.
fn origin<'a>(record: &'a Record<'_>) -> &'a str {
    match record.tag() {
        "" => record.module(),
        tag => tag,
    }
}

fn header(
    stamp: &dyn ThreadSafeTimestampFn<Output = io::Result<()>>,
    mut line: &mut dyn RecordDecorator,
    record: &Record<'_>,
    _location: bool,
) -> io::Result<bool> {
    line.start_timestamp()?;
    stamp(&mut line)?;
    line.start_whitespace()?;
    write!(line, " ")?;
    line.start_level()?;
    write!(line, "{}", word(record.level()))?;
    line.start_whitespace()?;
    write!(line, " ")?;
    // Other people's messages do not say whose they are.
    if !record.tag().is_empty() {
        line.start_location()?;
        write!(line, "{}", record.tag())?;
        line.start_whitespace()?;
        write!(line, ": ")?;
    }
    line.start_msg()?;
    write!(line, "{}", record.msg())?;
    Ok(true)
}

/// Paints the parts of a line, and escapes what does not belong in one.
struct Paint {
    line: Line,
    colour: bool,
}

struct Painting<'a> {
    line: &'a Line,
    /// The colour of the level, where there is colour.
    level: Option<&'static str>,
    painted: bool,
}

impl Decorator for Paint {
    fn with_record<F>(&self, record: &Record<'_>, _: &OwnedKVList, body: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let level = self.colour.then(|| match record.level() {
            Level::Critical => "1;97;41",
            Level::Error => "1;31",
            Level::Warning => "33",
            Level::Info => "32",
            Level::Debug => "36",
            Level::Trace => "35",
        });
        body(&mut Painting {
            line: &self.line,
            level,
            painted: false,
        })
    }
}

impl Painting<'_> {
    /// Goes on in this colour (none: the terminal's own).
    fn paint(&mut self, code: Option<&str>) {
        let mut line = self.line.0.borrow_mut();
        if self.level.is_none() {
            return;
        }
        if self.painted {
            line.extend_from_slice(b"\x1b[0m");
        }
        self.painted = code.is_some();
        if let Some(code) = code {
            line.extend_from_slice(format!("\x1b[{code}m").as_bytes());
        }
    }
}

impl RecordDecorator for Painting<'_> {
    fn reset(&mut self) -> io::Result<()> {
        self.paint(None);
        Ok(())
    }

    fn start_timestamp(&mut self) -> io::Result<()> {
        self.paint(Some("2"));
        Ok(())
    }

    fn start_level(&mut self) -> io::Result<()> {
        let level = self.level;
        self.paint(level);
        Ok(())
    }

    fn start_location(&mut self) -> io::Result<()> {
        self.paint(Some("2"));
        Ok(())
    }

    fn start_msg(&mut self) -> io::Result<()> {
        self.paint(Some("1"));
        Ok(())
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.paint(Some("2"));
        Ok(())
    }

    fn start_value(&mut self) -> io::Result<()> {
        self.paint(None);
        Ok(())
    }
}

impl Write for Painting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = self.line.0.borrow_mut();
        escape(bytes, &mut line);
        Ok(bytes.len())
    }

    /// Comes once, after the newline that ends the record: the only real one.
    fn flush(&mut self) -> io::Result<()> {
        let mut line = self.line.0.borrow_mut();
        if line.ends_with(b"\\n") {
            let end = line.len() - 2;
            line.truncate(end);
        }
        line.push(b'\n');
        Ok(())
    }
}

/// Control characters (C0, DEL and C1) as Rust writes them in a literal.
fn escape(bytes: &[u8], to: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after.first()) {
            (b'\n', _) => to.extend_from_slice(b"\\n"),
            (b'\r', _) => to.extend_from_slice(b"\\r"),
            (b'\t', _) => to.extend_from_slice(b"\\t"),
            (0..0x20 | 0x7f, _) => to.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            // U+0080 to U+009F in UTF-8: among them are one-character escape sequences.
            (0xc2, Some(&second @ 0x80..0xa0)) => {
                to.extend_from_slice(format!("\\u{{{second:x}}}").as_bytes());
                rest = &after[1..];
                continue;
            }
            _ => to.push(byte),
        }
        rest = after;
    }
}
