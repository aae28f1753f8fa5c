//! `Idempotency-Key`: the reply is stored in the transaction that does the work, so that a crash at any moment and a retry
//! never do it twice. Keys belong to a workspace and mode, and are kept for 24 hours.

use ring::digest;
use serde_json::Value;

use crm::dialect::Reply;
use crm::model::answer::Answer;
use crm::model::fault::Fault;

use crate::store::cell::secrets::hex;

/// Longest key that is taken, in characters.
const MAX_KEY_CHARACTERS: usize = 255;

/// A call's key, what the call says, and how its reply is written.
pub struct Idempotency<'a> {
    pub(super) key: &'a str,
    pub(super) fingerprint: String,
    pub(super) render: &'a (dyn Fn(&Result<Answer, Fault>) -> Reply + Sync),
}

impl<'a> Idempotency<'a> {
    /// Checks the key. `said` is what the call says beside its body (the dialect, the path …), so that a retry is told from
    /// another call with the same key.
    pub fn new<'p>(
        key: &'a str,
        said: impl IntoIterator<Item = &'p str>,
        body: &[u8],
        render: &'a (dyn Fn(&Result<Answer, Fault>) -> Reply + Sync),
    ) -> Result<Idempotency<'a>, Fault> {
        if key.is_empty() || key.chars().count() > MAX_KEY_CHARACTERS {
            return Err(Fault::invalid(format!("An Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters.")));
        }
        Ok(Idempotency { key, fingerprint: fingerprint(said, body), render })
    }
}

/// The hash of what a call says. JSON with other spacing or another order of keys says the same.
fn fingerprint<'p>(said: impl IntoIterator<Item = &'p str>, body: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in said {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(mut json) => {
            json.sort_all_objects();
            hash.update(json.to_string().as_bytes());
        }
        Err(_) => hash.update(body),
    }
    hex(hash.finish().as_ref())
}

/// Whether a refusal is stored under its key. One that a retry may better is not.
pub(super) fn is_stored(fault: &Fault) -> bool {
    !matches!(fault.status(), 401 | 429 | 500..) && !matches!(fault, Fault::GaveWay { .. })
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn a_body_is_known_again_however_it_is_written() {
        let first = fingerprint(["contacts"], r#"{"a": {"x": 1, "y": [1, 2]}, "b": "é"}"#.as_bytes());
        assert_eq!(first, fingerprint(["contacts"], r#"{"b":"é","a":{"y":[1,2],"x":1}}"#.as_bytes()));
        assert_eq!(first, fingerprint(["contacts"], r#"{"b":"\u00e9","a":{"y":[1,2],"x":1}}"#.as_bytes()));
        for other in [r#"{"b":"é","a":{"y":[2,1],"x":1}}"#, r#"{"b":"é"}"#, "", "{"] {
            assert_ne!(first, fingerprint(["contacts"], other.as_bytes()), "{other}");
        }
        assert_ne!(first, fingerprint(["companies"], r#"{"a": {"x": 1, "y": [1, 2]}, "b": "é"}"#.as_bytes()));
        assert_ne!(fingerprint(["a", "b"], b""), fingerprint(["ab"], b""));
    }
}
