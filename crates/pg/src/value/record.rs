//! Composites and anonymous records as `record_out` writes them: `(1,"a ""b"" \\",,"")`.

use std::ops::Range;

use super::{Stop, Writer, quote};
use crate::types::Fields;

/// A parsed record.
struct ParsedRecord {
    /// The fields' texts, one after the other, without quotes.
    text: Vec<u8>,
    /// The range of each field's text. `None` for NULL.
    fields: Vec<Option<Range<usize>>>,
}

impl Writer<'_> {
    /// An object with the type's field names as keys, in jsonb's order.
    pub(super) fn composite(&mut self, fields: &Fields, text: &[u8], depth: usize) -> Result<(), Stop> {
        let mut record = ParsedRecord::read(text)?;
        // `()` is a record without fields as well as a record of one NULL.
        if fields.fields.is_empty() && matches!(record.fields[..], [None]) {
            record.fields.clear();
        }
        // The type was altered after it was looked up.
        self.stale_type |= record.fields.len() != fields.fields.len();

        let mut separator = b'{';
        for index in &fields.order {
            let Some(value) = record.fields.get(*index) else { continue };
            let field = &fields.fields[*index];
            self.key(&mut separator, field.name.as_bytes());
            match value {
                None => self.verbatim(b"null")?,
                Some(range) => self.value(&field.kind.kind, &record.text[range.clone()], depth)?,
            }
        }
        for index in fields.fields.len()..record.fields.len() {
            self.nameless(&mut separator, &record, index)?;
        }
        self.close(separator);
        Ok(())
    }

    /// The JSON of a record whose type is not known: keys are numbers, values are strings.
    pub(super) fn anonymous_record(&mut self, text: &[u8]) -> Result<(), Stop> {
        let mut record = ParsedRecord::read(text)?;
        if matches!(record.fields[..], [None]) {
            record.fields.clear();
        }
        let mut separator = b'{';
        for index in 0..record.fields.len() {
            self.nameless(&mut separator, &record, index)?;
        }
        self.close(separator);
        Ok(())
    }

    fn nameless(&mut self, separator: &mut u8, record: &ParsedRecord, index: usize) -> Result<(), Stop> {
        self.key(separator, format!("f{}", index + 1).as_bytes());
        match &record.fields[index] {
            None => self.verbatim(b"null"),
            Some(range) => Ok(self.string(&record.text[range.clone()])?),
        }
    }

    fn key(&mut self, separator: &mut u8, name: &[u8]) {
        self.out.push(*separator);
        *separator = b',';
        quote(name, self.out);
        self.out.push(b':');
    }

    fn close(&mut self, separator: u8) {
        if separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

impl ParsedRecord {
    fn read(text: &[u8]) -> Result<ParsedRecord, Stop> {
        let inside = text.strip_prefix(b"(").and_then(|text| text.strip_suffix(b")"));
        let inside = inside.ok_or(Stop::Malformed)?;
        let mut record = ParsedRecord { text: Vec::with_capacity(inside.len()), fields: Vec::new() };
        let mut bytes = inside.iter().copied().peekable();
        // A field is NULL if it is empty and has no quotes.
        let (mut start, mut is_null, mut in_quotes) = (0, true, false);
        while let Some(byte) = bytes.next() {
            match byte {
                b',' if !in_quotes => {
                    record.end_field(start, is_null);
                    (start, is_null) = (record.text.len(), true);
                    continue;
                }
                b'(' | b')' if !in_quotes => return Err(Stop::Malformed),
                b'"' if in_quotes && bytes.peek() == Some(&b'"') => {
                    bytes.next();
                    record.text.push(b'"');
                }
                b'"' => in_quotes = !in_quotes,
                b'\\' => record.text.push(bytes.next().ok_or(Stop::Malformed)?),
                _ => record.text.push(byte),
            }
            is_null = false;
        }
        if in_quotes {
            return Err(Stop::Malformed);
        }
        record.end_field(start, is_null);
        Ok(record)
    }

    fn end_field(&mut self, start: usize, is_null: bool) {
        let range = start..self.text.len();
        self.fields.push((!is_null).then_some(range));
    }
}
