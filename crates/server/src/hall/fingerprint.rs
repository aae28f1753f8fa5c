//! The hash of a call's content. Spacing, the order of keys, the choice of escapes and the way in which a number is written do
//! not change it. The body is
//! parsed a second time for the hash, as a stream: a second tree of its values would take as much memory as the first.

use std::fmt;

use ring::digest::{Context, SHA256, digest};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The key under which the parser passes on a number of arbitrary precision.
const NUMBER: &str = "$serde_json::private::Number";

/// The hash of a call's parts and its body.
pub fn fingerprint<'p>(said: impl IntoIterator<Item = &'p str>, body: &[u8]) -> String {
    let mut hash = Context::new(&SHA256);
    for part in said {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut of_values = hash.clone();
    let hash = match read(&mut of_values, body) {
        Ok(()) => of_values,
        // The body is not JSON. The hash covers its bytes.
        Err(_) => {
            hash.update(body);
            hash
        }
    };
    hex::encode(hash.finish().as_ref())
}

fn read(hash: &mut Context, body: &[u8]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Hashed(hash).deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Adds a value to a hash. Each kind has a letter and each text has its length, so that no two values hash the same bytes.
struct Hashed<'h>(&'h mut Context);

impl Hashed<'_> {
    fn text(self, kind: u8, text: &str) {
        self.0.update(&[kind]);
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }
}

impl<'de> DeserializeSeed<'de> for Hashed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Hashed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.update(if value { b"t" } else { b"f" });
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.update(b"z");
        Ok(())
    }

    // Numbers arrive as text, or as these types if the parser has already converted them.
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.text(b'n', &canonical(&value.to_string()));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.text(b'n', &canonical(&value.to_string()));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.text(b'n', &canonical(&format!("{value:?}")));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.text(b's', value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.update(b"[");
        while items.next_element_seed(Hashed(self.0))?.is_some() {}
        self.0.update(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut hashes: Vec<[[u8; 32]; 2]> = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            if hashes.is_empty() && key == NUMBER {
                self.text(b'n', &canonical(&members.next_value::<String>()?));
                return Ok(());
            }
            let mut value = Context::new(&SHA256);
            members.next_value_seed(Hashed(&mut value))?;
            hashes.push([bytes(&digest(&SHA256, key.as_bytes())), bytes(&value.finish())]);
        }
        // If a key occurs twice, the last one counts. The sort is stable.
        hashes.sort_by_key(|[key, _]| *key);
        self.0.update(b"{");
        for (at, [key, value]) in hashes.iter().enumerate() {
            if hashes.get(at + 1).is_none_or(|[next, _]| next != key) {
                self.0.update(key);
                self.0.update(value);
            }
        }
        self.0.update(b"}");
        Ok(())
    }
}

/// A number as its significant digits and their exponent: the same text for `1000`, `1000.0` and `1e3`.
fn canonical(number: &str) -> String {
    let (sign, unsigned) = number.strip_prefix('-').map_or(("", number), |unsigned| ("-", unsigned));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return "0".to_owned();
    }
    // An exponent beyond 64 bits stays as it is written.
    let Ok(exponent) = exponent.parse::<i64>() else { return number.to_owned() };
    let exponent = i128::from(exponent) - fraction.len() as i128 + (digits.len() - significant.len()) as i128;
    format!("{sign}{significant}e{exponent}")
}

fn bytes(digest: &ring::digest::Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::{canonical, fingerprint};

    #[test]
    fn a_number_is_known_again_however_it_is_written() {
        for (first, second, are_equal) in [
            ("1000", "1000.0", true),
            ("1000", "1e3", true),
            ("1000", "10.00E+2", true),
            ("-0.5", "-5e-1", true),
            ("0", "-0.0", true),
            ("0", "0e99999999999999999999", true),
            ("1000", "1001", false),
            ("1", "-1", false),
            ("1e3", "1e4", false),
            ("0.1", "0.01", false),
            ("12345678901234567890.10", "12345678901234567890.1", true),
            ("12345678901234567890.1", "12345678901234567890.2", false),
            ("1e99999999999999999999", "1e99999999999999999998", false),
        ] {
            assert_eq!(canonical(first) == canonical(second), are_equal, "{first} {second}");
        }
    }

    #[test]
    fn a_body_is_known_again_however_it_is_written() {
        let first = fingerprint(["contacts"], r#"{"a": {"x": 1, "y": [1, 2]}, "b": "é"}"#.as_bytes());
        for same in [
            r#"{"b":"é","a":{"y":[1,2],"x":1}}"#,
            r#"{"b":"\u00e9","a":{"y":[1,2],"x":1}}"#,
            r#"{"b": 7, "b":"é","a":{"y":[1,2],"x":1}}"#,
            r#"{"b":"é","a":{"y":[10e-1,2.0],"x":1.0}}"#,
        ] {
            assert_eq!(first, fingerprint(["contacts"], same.as_bytes()), "{same}");
        }
        for other in [
            r#"{"b":"é","a":{"y":[2,1],"x":1}}"#,
            r#"{"b":"é","a":{"y":[1,2],"x":1.01}}"#,
            r#"{"b":"é","a":{"y":[1,2],"x":"1"}}"#,
            r#"{"b":"é","a":{"y":[[1],2],"x":1}}"#,
            r#"{"b":"é","a":{"y":[12],"x":1}}"#,
            r#"{"b":"é","x":1,"a":{"y":[1,2]}}"#,
            r#"{"b":"é"}"#,
            "",
            "{",
        ] {
            assert_ne!(first, fingerprint(["contacts"], other.as_bytes()), "{other}");
        }
        assert_ne!(first, fingerprint(["companies"], r#"{"a": {"x": 1, "y": [1, 2]}, "b": "é"}"#.as_bytes()));
        assert_ne!(fingerprint(["a", "b"], b""), fingerprint(["ab"], b""));
    }
}
