//! Text in a fixed buffer: the formatting machinery of core would be most of the program.

use core::ffi::CStr;

/// Bytes pushed so far; what does not fit is cut off and noted.
#[derive(Debug, Clone)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
    cut: bool,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Text<N> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
            cut: false,
        }
    }

    /// Adds bytes; the last place is kept for a NUL.
    pub fn push(&mut self, bytes: &[u8]) -> &mut Self {
        let room = N - 1 - self.length;
        let count = bytes.len().min(room);
        self.bytes[self.length..self.length + count].copy_from_slice(&bytes[..count]);
        self.length += count;
        self.bytes[self.length] = 0;
        self.cut |= count < bytes.len();
        self
    }

    /// Adds a number in decimal.
    pub fn push_number(&mut self, number: i64) -> &mut Self {
        let mut digits = Digits::default();
        self.push(digits.of(number))
    }

    /// Adds a string as JSON writes it, quotes included.
    pub fn push_json(&mut self, text: &[u8]) -> &mut Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.push(b"\"");
        for &byte in text {
            match byte {
                b'"' | b'\\' => {
                    self.push(&[b'\\', byte]);
                }
                0..0x20 => {
                    let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                    self.push(b"\\u00").push(&[high, low]);
                }
                _ => {
                    self.push(&[byte]);
                }
            }
        }
        self.push(b"\"")
    }

    /// What was pushed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// What was pushed, for a system call.
    #[must_use]
    pub fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }

    /// Whether all of it fitted.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.cut
    }
}

/// Room for the digits of a number.
#[derive(Debug, Default)]
pub struct Digits([u8; 20]);

impl Digits {
    /// A number in decimal.
    pub fn of(&mut self, number: i64) -> &[u8] {
        let mut rest = number.unsigned_abs();
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            at -= 1;
            self.0[at] = b'-';
        }
        &self.0[at..]
    }
}

/// Reads a decimal number that is nothing else.
#[must_use]
pub fn number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(i64::from(digit - b'0'))?;
    }
    Some(if negative { -value } else { value })
}

/// A C string in place: the bytes up to and with the first NUL; empty where there is none.
#[must_use]
pub fn c_str(bytes_with_nul: &[u8]) -> &CStr {
    CStr::from_bytes_until_nul(bytes_with_nul).unwrap_or(c"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_being_written_and_read() {
        for value in [0, 7, -1, 10, 1_234_567_890_123, i64::MAX, i64::MIN + 1] {
            let mut digits = Digits::default();
            let text = digits.of(value).to_vec();
            assert_eq!(text, value.to_string().into_bytes());
            assert_eq!(number(&text), Some(value));
        }
        for bad in ["", "-", "1x", " 1", "99999999999999999999"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn text_that_does_not_fit_is_cut_and_says_so() {
        let mut text = Text::<4>::new();
        text.push(b"abc");
        assert!(text.is_whole());
        text.push(b"d");
        assert!(!text.is_whole());
        assert_eq!(text.as_c(), c"abc");
    }

    #[test]
    fn json_strings_are_escaped() {
        let mut text = Text::<64>::new();
        text.push_json(b"a\"b\\c\n");
        assert_eq!(text.as_bytes(), br#""a\"b\\c\u000a""#);
    }
}
