//! Ids: a prefix, an underscore and 26 lower-case characters of Crockford's base 32. They sort by time.
//!
//! The 26 characters are a ULID: 48 bits of milliseconds and 80 random bits. The database creates ids by the same
//! rule (`kith.new_id`), unless the server gives them.

/// Crockford's alphabet in lower case, without i, l, o and u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Creates an id from a prefix, a time in Unix milliseconds and ten random bytes.
pub fn make(prefix: &str, unix_ms: u64, random: [u8; 10]) -> String {
    let mut bits = u128::from(unix_ms & 0xffff_ffff_ffff);
    for byte in random {
        bits = bits << 8 | u128::from(byte);
    }
    let mut id = String::with_capacity(prefix.len() + 27);
    id.push_str(prefix);
    id.push('_');
    for place in (0..26).rev() {
        id.push(ALPHABET[(bits >> (place * 5) & 31) as usize] as char);
    }
    id
}

/// Encodes random bytes in the same alphabet: one character, and so five bits, for each byte. Keys and tokens end with
/// it.
pub fn token(random: &[u8]) -> String {
    random.iter().map(|byte| ALPHABET[usize::from(byte & 31)] as char).collect()
}

/// Whether the text is the prefix, `_` and 26 characters of the alphabet.
pub fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .is_some_and(|tail| tail.len() == 26 && tail.bytes().all(is_character))
}

/// Whether a byte is in the alphabet. It is a match instead of a search, because every row of every list has ids.
fn is_character(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b't' | b'v'..=b'z')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_told_byte_by_byte() {
        for byte in 0..=u8::MAX {
            assert_eq!(is_character(byte), ALPHABET.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn ids_sort_by_time_and_have_26_characters() {
        let early = make("c", 1_700_000_000_000, [255; 10]);
        let late = make("c", 1_700_000_000_001, [0; 10]);
        assert!(early < late);
        assert!(is_id(&early, "c"));
        assert!(!is_id(&early, "co"));
        assert_eq!(make("ak", 0, [0; 10]), "ak_00000000000000000000000000");
        assert_eq!(make("ak", (1 << 48) - 1, [255; 10]), "ak_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }

    #[test]
    fn a_token_has_one_character_a_byte() {
        assert_eq!(token(&[0, 31, 32, 33]), "0z01");
    }
}
