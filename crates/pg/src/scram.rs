//! SCRAM-SHA-256 verifiers. With one, a role gets its password without the password appearing in a statement or a log.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

/// What `CREATE ROLE … PASSWORD` accepts instead of a password:
/// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>` (RFC 5803).
///
/// The password must be ASCII, because other passwords require SASLprep. An `iterations` of 0 is treated as 1, which is
/// enough for a password of 256 random bits.
pub fn verifier(password: &str, iterations: u32, salt: &[u8; 16]) -> String {
    debug_assert!(password.is_ascii());
    let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);

    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    format!(
        "SCRAM-SHA-256${rounds}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_verifier_that_postgres_makes() {
        // The server returned this for the same salt.
        let salt = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        assert_eq!(
            verifier("secret", 4096, &salt),
            "SCRAM-SHA-256$4096:AQIDBAUGBwgJCgsMDQ4PEA==$8rrDg00OqaiWXJ7p+sCgHEIaBSHY89ZJl3mfIsf32oY=\
             :05L1f+yZbiN8O0AnO40Og85NNRhvzTS57naKRWCcsIA=",
        );
    }
}
