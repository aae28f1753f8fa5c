//! Converts PostgreSQL's text form of a value to the JSON that `to_jsonb` returns for it, digit for digit.
//!
//! The text comes from output functions of the server, but it is not trusted: a text that can't be parsed as its type is
//! written as a JSON string, in linear time and without deep recursion.

mod array;
mod hstore;
mod json;
mod number;
mod record;
mod string;

pub use string::quote;

use crate::types::{Kind, Type};

/// The result of a rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The value was rendered as its type.
    Whole,
    /// The value's fields differ from those that the type had when it was looked up. Additional fields are named by number.
    StaleType,
    /// The JSON would be longer than the limit. The appended bytes are incomplete.
    TooLarge,
}

/// Appends the JSON of a value that is not NULL. `limit` bounds the appended bytes: a few bytes of text can stand for very
/// many digits (`1e300`).
///
/// White space between the tokens of `json` and `jsonb` may differ from the server's.
pub fn render(kind: &Kind, text: &[u8], limit: usize, out: &mut Vec<u8>) -> Fit {
    let mut writer = Writer { limit: out.len().saturating_add(limit), out, stale_type: false };
    match writer.value(kind, text, MAX_DEPTH) {
        Err(TooLarge) => Fit::TooLarge,
        Ok(()) if writer.out.len() > writer.limit => Fit::TooLarge,
        Ok(()) if writer.stale_type => Fit::StaleType,
        Ok(()) => Fit::Whole,
    }
}

/// The maximum depth of parsing. Every level of a real value at least doubles its quotes, so no real value is that deep; a
/// cyclic or absurd type would be.
const MAX_DEPTH: usize = 64;

/// The limit was reached.
struct TooLarge;

/// Why a value was not written as its type.
enum Stop {
    /// It can't be parsed as its type, and is written as a string.
    Malformed,
    TooLarge,
}

impl From<TooLarge> for Stop {
    fn from(_: TooLarge) -> Stop {
        Stop::TooLarge
    }
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// The length that `out` must not exceed.
    limit: usize,
    stale_type: bool,
}

impl Writer<'_> {
    fn value(&mut self, kind: &Kind, text: &[u8], depth: usize) -> Result<(), TooLarge> {
        let start = self.out.len();
        let written = match kind {
            Kind::Text | Kind::Opaque => return self.string(text),
            Kind::Bool => self.boolean(text),
            Kind::Number => self.number(text),
            Kind::Timestamp | Kind::TimestampTz => self.timestamp(kind, text),
            // jsonb's output is already JSON in normal form.
            Kind::Jsonb => self.verbatim(text),
            Kind::Json => self.json(text),
            _ if depth == 0 => Err(Stop::Malformed),
            Kind::Array { element, delimiter } => self.array(element, *delimiter, text, depth - 1),
            Kind::SpacedList { element } => self.spaced_list(element, text, depth - 1),
            Kind::Composite(fields) => self.composite(fields, text, depth - 1),
            Kind::Record => self.anonymous_record(text),
            Kind::Hstore => self.hstore(text),
        };
        match written {
            Ok(()) => Ok(()),
            Err(Stop::TooLarge) => Err(TooLarge),
            Err(Stop::Malformed) => {
                self.out.truncate(start);
                self.string(text)
            }
        }
    }

    fn string(&mut self, text: &[u8]) -> Result<(), TooLarge> {
        self.room(text.len() + 2)?;
        self.out.reserve(text.len() + 2);
        quote(text, self.out);
        Ok(())
    }

    /// Text that is already JSON.
    fn verbatim(&mut self, text: &[u8]) -> Result<(), Stop> {
        self.room(text.len())?;
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn boolean(&mut self, text: &[u8]) -> Result<(), Stop> {
        self.verbatim(match text {
            b"t" => b"true",
            b"f" => b"false",
            _ => return Err(Stop::Malformed),
        })
    }

    /// `2026-01-02 03:04:05.6+00` becomes `2026-01-02T03:04:05.6+00:00`. The infinities remain strings, and so does the
    /// output of another DateStyle.
    fn timestamp(&mut self, kind: &Kind, text: &[u8]) -> Result<(), Stop> {
        let (clock, era) = match text.strip_suffix(b" BC") {
            Some(clock) => (clock, &b" BC"[..]),
            None => (text, &b""[..]),
        };
        let is_iso = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b':' | b' ' | b'.' | b'+');
        let gap = clock.iter().position(|byte| *byte == b' ').ok_or(Stop::Malformed)?;
        if !clock.iter().all(is_iso) || !clock[0].is_ascii_digit() {
            return Err(Stop::Malformed);
        }
        self.room(text.len() + 5)?;
        self.out.push(b'"');
        self.out.extend_from_slice(&clock[..gap]);
        self.out.push(b'T');
        self.out.extend_from_slice(&clock[gap + 1..]);
        // An offset of whole hours is written without minutes in SQL and with minutes in JSON.
        let whole_hours = clock.len() > 3 && matches!(clock[clock.len() - 3], b'+' | b'-');
        if matches!(kind, Kind::TimestampTz) && whole_hours {
            self.out.extend_from_slice(b":00");
        }
        self.out.extend_from_slice(era);
        self.out.push(b'"');
        Ok(())
    }

    fn spaced_list(&mut self, element: &Type, text: &[u8], depth: usize) -> Result<(), Stop> {
        self.out.push(b'[');
        let words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(&element.kind, word, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// Fails if `more` bytes would exceed the limit.
    fn room(&self, more: usize) -> Result<(), TooLarge> {
        let fits = self.out.len().saturating_add(more) <= self.limit;
        if fits { Ok(()) } else { Err(TooLarge) }
    }
}

#[cfg(test)]
mod tests;
