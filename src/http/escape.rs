//! Makes a service's output safe to look at: it may hold anything, and a terminal obeys some
//! of it.

use std::fmt::Write as _;

/// Turns bytes into text, piece by piece: what is no UTF-8 becomes U+FFFD, and control
/// characters other than line feed and tab become `\xNN`, so that neither ANSI sequences nor
/// NUL ever reach a terminal; nor what reorders or hides the text around it (`\u{202e}`).
#[derive(Debug, Default)]
pub(super) struct Escaper {
    /// The beginning of a character whose rest has not come yet: at most three bytes.
    begun: Vec<u8>,
}

impl Escaper {
    /// The next piece.
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut String) {
        let joined;
        let bytes = if self.begun.is_empty() {
            bytes
        } else {
            let mut begun = std::mem::take(&mut self.begun);
            begun.extend_from_slice(bytes);
            joined = begun;
            &joined[..]
        };
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for character in chunk.valid().chars() {
                match character {
                    '\n' | '\t' => text.push(character),
                    // C0, DEL and C1, which holds a one-character CSI.
                    _ if character.is_control() => {
                        write!(text, "\\x{:02x}", u32::from(character))
                            .expect("a String takes everything");
                    }
                    // What turns the direction of a line or hides itself in it.
                    // What joins letters and signs stays: words and emoji need it.
                    '\u{200b}'
                    | '\u{200e}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{61c}'
                    | '\u{feff}' => {
                        write!(text, "\\u{{{:x}}}", u32::from(character))
                            .expect("a String takes everything");
                    }
                    _ => text.push(character),
                }
            }
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && is_begun(invalid) {
                self.begun = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// The end: what was begun will not be finished.
    pub(super) fn finish(&mut self, text: &mut String) {
        if !std::mem::take(&mut self.begun).is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Whether more bytes could make a character of these.
fn is_begun(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(pieces: &[&[u8]]) -> String {
        let (mut escaper, mut text) = (Escaper::default(), String::new());
        for piece in pieces {
            escaper.push(piece, &mut text);
        }
        escaper.finish(&mut text);
        text
    }

    #[test]
    fn f13_what_a_terminal_would_obey_is_escaped() {
        assert_eq!(escaped(&[b"a\x1b[31mred\x07"]), "a\\x1b[31mred\\x07");
        assert_eq!(
            escaped(&[b"nul\0 del\x7f cr\r\n"]),
            "nul\\x00 del\\x7f cr\\x0d\n"
        );
        assert_eq!(escaped(&["c1 \u{9b}31m".as_bytes()]), "c1 \\x9b31m");
        assert_eq!(
            escaped(&["a\u{202e}txt.exe\u{200b} \u{1f468}\u{200d}\u{1f469}".as_bytes()]),
            "a\\u{202e}txt.exe\\u{200b} \u{1f468}\u{200d}\u{1f469}"
        );
        assert_eq!(
            escaped(&["tab\tund grüße\n".as_bytes()]),
            "tab\tund grüße\n"
        );
    }

    #[test]
    fn f13_what_is_no_utf8_is_replaced() {
        assert_eq!(escaped(&[b"a\xffb\xc3("]), "a\u{fffd}b\u{fffd}(");
        assert_eq!(escaped(&[b"cut \xe2\x82"]), "cut \u{fffd}");
        assert_eq!(
            escaped(&[b"\xf0\x9f", b"\x92\xa5 ", b"\xf0\x9f", b"x"]),
            "💥 \u{fffd}x"
        );
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_changes_nothing(
            bytes: Vec<u8>,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let whole = escaped(&[&bytes]);
            prop_assert_eq!(escaped(&pieces), whole.clone());
            prop_assert!(!whole.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
