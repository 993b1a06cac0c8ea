//! Uuids (RFC 9562): what clients name services and runs by. Sixteen bytes and two ways to
//! write them are too little for a crate.

use std::fmt;

/// A uuid, of whichever version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Uuid([u8; 16]);

/// Where the hyphens stand in the usual form.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl Uuid {
    /// Reads the usual form, `5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278`, in either case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let formed = bytes.len() == 36 && HYPHENS.iter().all(|&at| bytes[at] == b'-');
        formed.then(|| Self::digits(bytes.iter().copied().filter(|&byte| byte != b'-')))?
    }

    /// Reads the usual form, or the 32 digits alone.
    pub(crate) fn parse_any(text: &str) -> Option<Self> {
        match text.len() {
            32 => Self::digits(text.bytes()),
            _ => Self::parse(text),
        }
    }

    /// Exactly 32 hexadecimal digits.
    fn digits(digits: impl Iterator<Item = u8>) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut count = 0;
        for digit in digits {
            let value = u8::try_from(char::from(digit).to_digit(16)?).ok()?;
            let byte = bytes.get_mut(count / 2)?;
            *byte = *byte << 4 | value;
            count += 1;
        }
        (count == 32).then_some(Self(bytes))
    }

    /// A new one at random (version 4).
    ///
    /// # Errors
    /// Where the kernel gives no randomness.
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        let mut filled = 0;
        while filled < bytes.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            filled += rustix::rand::getrandom(&mut bytes[filled..], flags)?;
        }
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Self(bytes))
    }

    /// Its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";

    #[test]
    fn the_usual_form_is_read_in_either_case_and_written_in_lower() {
        for text in [TEXT, &TEXT.to_uppercase()] {
            assert_eq!(Uuid::parse(text).unwrap().to_string(), TEXT);
        }
        let bare = TEXT.replace('-', "");
        assert_eq!(Uuid::parse(&bare), None);
        assert_eq!(Uuid::parse_any(&bare), Uuid::parse(TEXT));
        assert_eq!(Uuid::parse_any(TEXT), Uuid::parse(TEXT));
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "5bf66975",
            "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea27",
            "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea2788",
            "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea27g",
            "5bf66975d-4c7-4bf5-bcc8-b8d8a82ea278",
            "5bf66975--d4c-4bf5-bcc8-b8d8a82ea278",
            "{5bf66975-d4c7-4bf5-bcc8-b8d8a82ea2}",
            "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea2 8",
            "5bf66975-d4c7-4bf5-bcc8-b8d8a82eü78",
            "--------------------------------",
            "------------------------------------",
        ] {
            assert_eq!(Uuid::parse_any(text), None, "{text}");
        }
    }

    #[test]
    fn a_random_one_is_of_version_4_and_new() {
        let (one, other) = (Uuid::random().unwrap(), Uuid::random().unwrap());
        assert_ne!(one, other);
        let text = one.to_string();
        assert_eq!(&text[14..15], "4");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: [u8; 16]) {
            prop_assert_eq!(Uuid::parse(&Uuid(bytes).to_string()), Some(Uuid(bytes)));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[0-9a-f-]{30,40}") {
            let read = Uuid::parse_any(&text);
            let digits = text.replace('-', "").to_lowercase();
            prop_assert!(read.is_none_or(|uuid| uuid.to_string().replace('-', "") == digits));
        }
    }
}
