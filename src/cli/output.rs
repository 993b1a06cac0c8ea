//! Where output goes and how it may look: data on stdout, messages on stderr, colour only
//! where somebody looks.

use std::io::{self, IsTerminal, Write};

use super::args::Common;
use super::escape::escape_json;

/// How stdout may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether colours are wanted.
    pub(super) color: bool,
    /// Whether somebody looks at a terminal.
    pub(super) terminal: bool,
    /// Whether JSON is wanted.
    pub(super) json: bool,
}

impl Look {
    /// As the options, the environment and stdout have it.
    pub(super) fn new(common: &Common) -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let color = wants_color(
            common.no_color || set("NO_COLOR").is_some(),
            set("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            terminal && set("TERM").is_none_or(|value| value != "dumb"),
        );
        Self {
            color,
            terminal,
            json: common.json,
        }
    }

    /// The text in that ink, or as it is.
    pub(super) fn paint(self, ink: Ink, text: &str) -> String {
        if self.color {
            format!("\x1b[{}m{text}\x1b[0m", ink.code())
        } else {
            text.to_owned()
        }
    }
}

/// `NO_COLOR` outranks `CLICOLOR_FORCE`, that outranks what stdout is.
fn wants_color(never: bool, force: bool, suits: bool) -> bool {
    !never && (force || suits)
}

/// The inks that words are painted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Well.
    Green,
    /// Worth a look.
    Yellow,
    /// In trouble.
    Magenta,
    /// Needs somebody.
    BoldRed,
    /// Beside the point.
    Faint,
    /// A heading.
    Bold,
}

impl Ink {
    /// The parameters of its SGR sequence.
    fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Magenta => "35",
            Self::BoldRed => "1;31",
            Self::Faint => "2",
            Self::Bold => "1",
        }
    }
}

/// Columns and rows of the terminal at stdout.
pub(super) fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Writes data to stdout at once.
///
/// # Errors
/// Where it cannot be written; a closed pipe is `BrokenPipe`.
pub(super) fn put(text: &str) -> io::Result<()> {
    put_bytes(text.as_bytes())
}

/// The same for bytes.
pub(super) fn put_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes JSON as it came, safe for a terminal, with an end of line.
pub(super) fn put_json(json: &str) -> io::Result<()> {
    put(&format!("{}\n", escape_json(json.trim_end())))
}

/// A message for people, on stderr.
pub(super) fn complain(text: &str) {
    put_message(&format!("supervisor: {text}\n"));
}

/// The same, as it is. Where even stderr is closed there is nobody to tell.
pub(super) fn put_message(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether whoever read stdout has gone: without this a `logs -f | head` would wait for a
/// service's next line before it notices.
pub(super) fn reader_is_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&at_once)).is_ok_and(|_| {
        fds[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
    })
}

/// The error of a reader that has gone.
pub(super) fn broken_pipe() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_unless_forced_or_forbidden() {
        for (never, force, suits, expected) in [
            (false, false, true, true),
            (false, false, false, false),
            (false, true, false, true),
            (true, true, true, false),
            (true, false, true, false),
        ] {
            assert_eq!(wants_color(never, force, suits), expected);
        }
    }
}
