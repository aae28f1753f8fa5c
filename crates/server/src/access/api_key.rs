//! API keys: how a key is generated, and how it is recognised although it is not stored.
//!
//! A key is `acrm_dev_` + 32 random characters (160 bits) + 6 characters of checksum. With the checksum, a mistyped or
//! invented key is refused without a query. The database stores the SHA-256 of the whole key.

use crm::model::id;
use ring::digest;

use crate::clock::random;

const RANDOM_CHARACTERS: usize = 32;
const CHECK_CHARACTERS: usize = 6;

/// Generates a key with this prefix.
pub fn make(prefix: &str) -> String {
    let body = id::token(&random::<RANDOM_CHARACTERS>());
    format!("{prefix}{body}{}", check(prefix, &body))
}

/// The hash under which a key is stored.
pub fn hash(key: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    out
}

/// Whether a key with this prefix could have been issued.
pub fn is_well_formed(key: &str, prefix: &str) -> bool {
    let Some(rest) = key.strip_prefix(prefix) else { return false };
    rest.len() == RANDOM_CHARACTERS + CHECK_CHARACTERS
        && rest.is_ascii()
        && check(prefix, &rest[..RANDOM_CHARACTERS]) == rest[RANDOM_CHARACTERS..]
}

/// The first and last characters, which help people tell keys apart.
pub fn hint(key: &str, prefix: &str) -> String {
    format!("{prefix}…{}", &key[key.len() - 4..])
}

fn check(prefix: &str, body: &str) -> String {
    let hash = digest::digest(&digest::SHA256, format!("kith key check {prefix}{body}").as_bytes());
    id::token(&hash.as_ref()[..CHECK_CHARACTERS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_well_formed_and_a_changed_one_is_not() {
        let key = make("acrm_dev_");
        assert!(is_well_formed(&key, "acrm_dev_"));
        assert!(!is_well_formed(&key, "acrm_live_"));
        let mut changed = key.clone();
        let last = changed.pop().unwrap();
        changed.push(if last == '0' { '1' } else { '0' });
        assert!(!is_well_formed(&changed, "acrm_dev_"));
        assert!(!is_well_formed("acrm_dev_é", "acrm_dev_"));
        assert_ne!(hash(&key), hash(&changed));
    }
}
