//! hstore as `hstore_out` writes it: `"a"=>"1", "b"=>NULL`. Its cast to json returns an object of strings. The keys are
//! already in jsonb's order.

use super::{Stop, Writer};

impl Writer<'_> {
    pub(super) fn hstore(&mut self, text: &[u8]) -> Result<(), Stop> {
        let (mut at, mut text_of) = (0, Vec::new());
        self.out.push(b'{');
        while at < text.len() {
            if at > 0 {
                at = expect(text, at, b", ")?;
                self.out.push(b',');
            }
            at = self.quoted(text, at, &mut text_of)?;
            at = expect(text, at, b"=>")?;
            self.out.push(b':');
            if text[at..].starts_with(b"NULL") {
                self.verbatim(b"null")?;
                at += 4;
            } else {
                at = self.quoted(text, at, &mut text_of)?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes a quoted text. Returns the position after it.
    fn quoted(&mut self, text: &[u8], at: usize, into: &mut Vec<u8>) -> Result<usize, Stop> {
        into.clear();
        let mut at = expect(text, at, b"\"")?;
        loop {
            match text.get(at).ok_or(Stop::Malformed)? {
                b'"' => break,
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
        self.string(into)?;
        Ok(at + 1)
    }
}

fn expect(text: &[u8], at: usize, what: &[u8]) -> Result<usize, Stop> {
    let there = text.get(at..).is_some_and(|rest| rest.starts_with(what));
    if there { Ok(at + what.len()) } else { Err(Stop::Malformed) }
}
