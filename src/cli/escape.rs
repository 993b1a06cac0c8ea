//! Making what services say safe for a terminal: a service's output must not be able to move
//! the cursor, recolour, rename the window or forge a line of ours.
//!
//! A backslash itself is left alone (paths and JSON would become unreadable), so the escaped
//! form is for people. The supervisor escapes logs too; here that is done again, because what
//! is at the other end of a socket may be older, or something else.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character may reach a terminal as it is: no control character, and none that
/// reorders or hides the text around it.
fn is_plain(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Soft hyphen, zero width characters, direction marks and overrides, line separators.
        | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        // Invisible tags.
        | '\u{e0000}'..='\u{e007f}')
}

/// Writes a character in its escaped form.
fn push_escaped(to: &mut String, c: char) {
    match c {
        '\t' => to.push_str("\\t"),
        '\n' => to.push_str("\\n"),
        '\r' => to.push_str("\\r"),
        '\0'..='\u{7f}' => push_byte(to, c as u8),
        _ => {
            // Writing to a String cannot fail.
            let _ = write!(to, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// Writes a byte that is no text.
fn push_byte(to: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(to, "\\x{byte:02x}");
}

/// A text as one safe line: control characters, line ends among them, become visible.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            push_escaped(&mut out, c);
        }
    }
    Cow::Owned(out)
}

/// JSON text with every character that a terminal could obey written as `\uXXXX`: the same
/// JSON. Between the tokens of JSON stand only ASCII characters, so all others are in strings.
pub(super) fn escape_json(json: &str) -> Cow<'_, str> {
    let keeps = |c: char| c.is_ascii_control() && c != '\u{7f}' || is_plain(c);
    if json.chars().all(keeps) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if keeps(c) {
            out.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Cow::Owned(out)
}

/// Escapes a stream of bytes that comes in pieces. Line ends and tabs stay; everything else
/// that is not text becomes visible.
#[derive(Debug, Default)]
pub(super) struct StreamEscaper {
    /// The beginning of a character, or a carriage return, whose continuation has not come.
    held: Vec<u8>,
}

impl StreamEscaper {
    /// The safe text of the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) -> String {
        let joined;
        let bytes = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(piece);
            joined = std::mem::take(&mut self.held);
            &joined
        };
        let whole = bytes.len() - unfinished(bytes);
        let text = text_of(&bytes[..whole]);
        self.held = bytes[whole..].to_vec();
        text
    }

    /// The safe text of what was still held when the stream ended.
    pub(super) fn finish(&mut self) -> String {
        text_of(&std::mem::take(&mut self.held))
    }
}

/// How many bytes at the end belong to a character (or a CR LF) that may go on: at most 3.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.last() == Some(&b'\r') {
        return 1;
    }
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    (0..tail.len())
        .find(|&at| {
            matches!(std::str::from_utf8(&tail[at..]),
                Err(e) if e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .map_or(0, |at| tail.len() - at)
}

/// Bytes as safe text with line ends and tabs.
fn text_of(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\n' | '\t' => out.push(c),
                '\r' if chars.peek() == Some(&'\n') => {}
                c if is_plain(c) => out.push(c),
                c => push_escaped(&mut out, c),
            }
        }
        for &byte in chunk.invalid() {
            push_byte(&mut out, byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn f13_binary_ansi_and_nul_become_visible() {
        assert_eq!(escape("\x1b[31mred\x1b[0m"), "\\x1b[31mred\\x1b[0m");
        assert_eq!(escape("a\0b\rc\nd\te"), "a\\x00b\\rc\\nd\\te");
        assert_eq!(
            escape("\u{9b}2J\u{202e}txt.exe"),
            "\\u{9b}2J\\u{202e}txt.exe"
        );
        assert_eq!(escape("grüße 世界 ✓ C:\\new"), "grüße 世界 ✓ C:\\new");
        assert_eq!(
            StreamEscaper::default().feed(b"\xff\xfe\x1b]0;owned\x07\tok\r\n"),
            "\\xff\\xfe\\x1b]0;owned\\x07\tok\n"
        );
    }

    #[test]
    fn json_stays_the_same_json() {
        let json = "{\n  \"a\": \"\u{9b}1m\u{7f}\u{202e}\u{e0041}é\"\n}";
        let safe = escape_json(json);
        assert_eq!(
            safe,
            "{\n  \"a\": \"\\u009b1m\\u007f\\u202e\\udb40\\udc41é\"\n}"
        );
        let (before, after): (serde_json::Value, serde_json::Value) = (
            serde_json::from_str(json).unwrap(),
            serde_json::from_str(&safe).unwrap(),
        );
        assert_eq!(before, after);
    }

    #[test]
    fn a_character_cut_in_two_pieces_is_whole_again() {
        let mut escaper = StreamEscaper::default();
        let mut out = String::new();
        for byte in "a世\r\n🦀".as_bytes() {
            out += &escaper.feed(&[*byte]);
        }
        assert_eq!(out + &escaper.finish(), "a世\n🦀");
        let mut escaper = StreamEscaper::default();
        assert_eq!(escaper.feed(b"x\xe4\xb8"), "x");
        assert_eq!(escaper.finish(), "\\xe4\\xb8");
    }

    proptest! {
        #[test]
        fn nothing_escaped_can_be_obeyed_by_a_terminal(text in ".*|[\\x00-\\x{a0}\\x{200b}-\\x{206f}]*") {
            prop_assert!(escape(&text).chars().all(is_plain));
        }

        #[test]
        fn no_bytes_in_any_pieces_can_be_obeyed_by_a_terminal(
            pieces in prop::collection::vec(prop::collection::vec(
                prop_oneof![any::<u8>(), Just(0x1b), Just(b'\r'), Just(b'\n'), Just(0xe2), Just(0x80), Just(0xae)], 0..20), 0..10)
        ) {
            let mut escaper = StreamEscaper::default();
            let mut out: String = pieces.iter().map(|piece| escaper.feed(piece)).collect();
            out += &escaper.finish();
            prop_assert!(out.chars().all(|c| is_plain(c) || c == '\n' || c == '\t'));
            // However it is cut, the text is the same.
            let mut whole = StreamEscaper::default();
            let mut expected = whole.feed(&pieces.concat());
            expected += &whole.finish();
            prop_assert_eq!(out, expected);
        }
    }
}
