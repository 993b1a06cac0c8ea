//! A checksum of small records: finds what a torn write or a bad disk did, not an attacker.

/// FNV-1a (Fowler, Noll, Vo), 64 bits: every step is invertible, so any one changed byte
/// changes the sum.
pub(crate) fn checksum(parts: &[&[u8]]) -> u64 {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in *part {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // Ends each part, so that ("ab", "c") and ("a", "bc") differ.
        sum = (sum ^ 0xff).wrapping_mul(0x0100_0000_01b3);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_changed_byte_and_any_moved_border_changes_the_sum() {
        let text = *b"what a service remembers";
        let right = checksum(&[&text]);
        for at in 0..text.len() {
            for value in 0..=u8::MAX {
                let mut other = text;
                other[at] = value;
                assert_eq!(checksum(&[&other]) == right, other == text);
            }
        }
        assert_ne!(checksum(&[b"ab", b"c"]), checksum(&[b"a", b"bc"]));
    }
}
