//! Pages: their size, and the cursors between them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::model::fault::Fault;
use crate::model::value::integer;

/// Rows of a page if the request has no `limit`.
pub const DEFAULT_LIMIT: usize = 50;
/// Maximum rows of a page. A larger limit becomes this one.
pub const MAX_LIMIT: usize = 200;

/// The page that the caller requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageAsk {
    /// Maximum number of rows.
    pub limit: usize,
    /// The `next_cursor` of the previous page; `None` for the first page.
    pub cursor: Option<String>,
}

impl Default for PageAsk {
    fn default() -> PageAsk {
        PageAsk { limit: DEFAULT_LIMIT, cursor: None }
    }
}

/// Parses a `limit` parameter. A value above the maximum becomes the maximum. 0, negative numbers and text are refused. A
/// number with a zero fraction is an integer, as it is for columns.
pub fn parse_limit(text: Option<&str>) -> Result<usize, Fault> {
    let Some(text) = text else { return Ok(DEFAULT_LIMIT) };
    let number = integer(text.to_owned());
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse::<u128>() {
        Ok(limit) if digits && limit > 0 => Ok(limit.min(MAX_LIMIT as u128) as usize),
        _ if digits && number.bytes().any(|byte| byte != b'0') => Ok(MAX_LIMIT),
        _ => Err(Fault::invalid(format!("limit must be a whole number from 1 to {MAX_LIMIT}, not \"{text}\"."))),
    }
}

/// Marks a key that is NULL, in place of the key's length.
const NULL_LENGTH: u32 = u32::MAX;

/// The sort key of a page's last row, as texts that PostgreSQL can parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// A hash of the list: of its table, order and filters. A cursor is valid only for the list with the same scope.
    pub scope: u64,
    /// The values of the sort columns, in order. `None` is NULL.
    pub keys: Vec<Option<String>>,
}

impl Cursor {
    /// Returns the opaque text for the caller.
    pub fn encode(&self) -> String {
        let mut bytes = self.scope.to_be_bytes().to_vec();
        for key in &self.keys {
            let length = key.as_ref().map_or(NULL_LENGTH, |key| key.len() as u32);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(key.as_deref().unwrap_or("").as_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Parses a cursor. The cursor must have this scope and this number of keys.
    pub fn decode(text: &str, scope: u64, keys: usize) -> Result<Cursor, Fault> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault::InvalidCursor)?;
        let (head, mut rest) = bytes.split_first_chunk::<8>().ok_or(Fault::InvalidCursor)?;
        if u64::from_be_bytes(*head) != scope {
            return Err(Fault::InvalidCursor);
        }
        let mut found = Vec::with_capacity(keys);
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length);
            if length == NULL_LENGTH {
                found.push(None);
                rest = tail;
                continue;
            }
            let length = length as usize;
            let key = tail.get(..length).ok_or(Fault::InvalidCursor)?;
            let key = std::str::from_utf8(key).map_err(|_| Fault::InvalidCursor)?;
            if key.contains('\0') {
                return Err(Fault::InvalidCursor);
            }
            found.push(Some(key.to_owned()));
            rest = &tail[length..];
        }
        if !rest.is_empty() || found.len() != keys {
            return Err(Fault::InvalidCursor);
        }
        Ok(Cursor { scope, keys: found })
    }
}

/// A stable 64-bit hash (FNV-1a) of the parts that define a list. It detects mistakes. It needs no secret, because a
/// forged cursor can only select a position in rows that the caller may read anyway.
pub fn scope<'a>(parts: impl Iterator<Item = &'a str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_capped_and_nonsense_is_refused() {
        assert_eq!(parse_limit(None), Ok(50));
        assert_eq!(parse_limit(Some("7")), Ok(7));
        assert_eq!(parse_limit(Some("201")), Ok(200));
        assert_eq!(parse_limit(Some("99999999999999999999999999999999999999999999")), Ok(200));
        for (text, limit) in [("10.0", 10), ("1e1", 10), ("7.", 7), ("250.00", 200), ("1e40", 200), ("007", 7)] {
            assert_eq!(parse_limit(Some(text)), Ok(limit), "{text}");
        }
        for bad in ["0", "-1", "", "ten", "1.5", "+5", "00", "0.0", "-1.0", "1e-1", ".0", "1.0.0", "1e99", " 1"] {
            assert!(parse_limit(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_survives_the_trip_and_belongs_to_its_list() {
        let cursor = Cursor { scope: scope(["contacts", "a=b"].into_iter()), keys: vec![None, Some("c_é".into())] };
        let text = cursor.encode();
        assert_eq!(Cursor::decode(&text, cursor.scope, 2), Ok(cursor.clone()));
        assert!(Cursor::decode(&text, cursor.scope + 1, 2).is_err());
        assert!(Cursor::decode(&text, cursor.scope, 1).is_err());
        for cut in 0..text.len() {
            assert!(Cursor::decode(&text[..cut], cursor.scope, 2).is_err(), "{cut}");
        }
        assert!(Cursor::decode("no cursor!", cursor.scope, 2).is_err());
    }
}
