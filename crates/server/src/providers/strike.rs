//! Strikes secrets out of what a provider says. Some repeat the request that they refuse, and their words are shown and stored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::providers::tidy;

/// What stands in the place of a secret.
const MASK: &str = "***";
/// Shorter texts are no secrets that could be told from words.
const SHORTEST: usize = 4;

/// The words without the secrets, as they are, on one line and in base64.
pub(super) fn struck(words: &str, secrets: &[&str]) -> String {
    let mut struck = words.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
        let (encoded, on_one_line) = (STANDARD.encode(secret), tidy(secret));
        let forms = [&*encoded, encoded.trim_end_matches('='), secret, &on_one_line];
        for form in forms.into_iter().filter(|form| form.len() >= SHORTEST) {
            struck = struck.replace(form, MASK);
        }
    }
    struck
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_struck_in_both_forms() {
        let plain = "\0user\0pass-word";
        let words =
            format!("535 bad: AUTH PLAIN {}, pass-word, {}", STANDARD.encode(plain), STANDARD.encode("pass-word"));
        assert_eq!(struck(&words, &[plain, "pass-word"]), "535 bad: AUTH PLAIN ***, ***, ***");
        assert_eq!(struck("it is an a", &["a"]), "it is an a");
        assert_eq!(struck("two words, two  words", &["two  words"]), "***, ***");
    }
}
