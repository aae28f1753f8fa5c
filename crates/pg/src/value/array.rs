//! Arrays as `array_out` writes them: `[2:3]={{1,"a \"b\"",NULL},{…}}`.

use super::{Stop, Writer};
use crate::types::Type;

/// PostgreSQL's own MAXDIM.
const MAX_DIMENSIONS: usize = 6;

/// What may follow.
#[derive(PartialEq)]
enum Expect {
    /// An element, a sub-array, or the end of an empty one.
    First,
    /// An element or a sub-array, after a delimiter.
    Element,
    /// A delimiter or the end.
    More,
}

impl Writer<'_> {
    pub(super) fn array(&mut self, element: &Type, delimiter: u8, text: &[u8], depth: usize) -> Result<(), Stop> {
        let mut at = bounds(text);
        let mut open = 0;
        let mut expect = Expect::First;
        let mut unescaped = Vec::new();
        loop {
            let byte = *text.get(at).ok_or(Stop::Malformed)?;
            let may_begin = expect != Expect::More;
            match byte {
                b'{' if may_begin && open < MAX_DIMENSIONS => {
                    self.out.push(b'[');
                    open += 1;
                    at += 1;
                    expect = Expect::First;
                    continue;
                }
                b'}' if open > 0 && expect != Expect::Element => {
                    self.out.push(b']');
                    open -= 1;
                    at += 1;
                    if open == 0 {
                        break;
                    }
                }
                _ if open == 0 => return Err(Stop::Malformed),
                _ if byte == delimiter && !may_begin => {
                    self.out.push(b',');
                    at += 1;
                    expect = Expect::Element;
                    continue;
                }
                b'"' if may_begin => {
                    at = unescape(text, at + 1, &mut unescaped)?;
                    self.value(&element.kind, &unescaped, depth)?;
                }
                _ if may_begin => {
                    let ends = |byte: &u8| *byte == delimiter || matches!(byte, b'{' | b'}' | b'"' | b'\\');
                    let len = text[at..].iter().position(ends).ok_or(Stop::Malformed)?;
                    let word = &text[at..at + len];
                    match word {
                        b"" => return Err(Stop::Malformed),
                        b"NULL" => self.verbatim(b"null")?,
                        _ => self.value(&element.kind, word, depth)?,
                    }
                    at += len;
                }
                _ => return Err(Stop::Malformed),
            }
            expect = Expect::More;
            self.room(0)?;
        }
        if at == text.len() { Ok(()) } else { Err(Stop::Malformed) }
    }
}

/// The start of the array after its bounds. The bounds are present only if they don't all start at 1.
fn bounds(text: &[u8]) -> usize {
    match text {
        [b'[', ..] => text.iter().position(|byte| *byte == b'=').map_or(0, |equals| equals + 1),
        _ => 0,
    }
}

/// Copies a quoted element without its backslashes. Returns the position after the closing quote.
fn unescape(text: &[u8], mut at: usize, into: &mut Vec<u8>) -> Result<usize, Stop> {
    into.clear();
    loop {
        match text.get(at).ok_or(Stop::Malformed)? {
            b'"' => return Ok(at + 1),
            b'\\' => {
                into.push(*text.get(at + 1).ok_or(Stop::Malformed)?);
                at += 2;
            }
            byte => {
                into.push(*byte);
                at += 1;
            }
        }
    }
}
