//! The head of a message or of one of its parts. Only the fields that are used are kept, each up to a limit, so that a head of any size takes
//! little memory. `mail-parser` reads what is kept.

use mail_parser::{ContentType, Header, HeaderName, HeaderValue, MessageParser};

use crate::model::email::Mailbox;
use crate::model::inbound::{MAX_ADDRESS_CHARACTERS, believable_ms, clean, message_id};

/// The fields that are used, with the longest value and the most values of each.
const FIELDS: &[(&str, usize, usize)] = &[
    ("from", 4096, 2),
    ("sender", 4096, 1),
    ("to", 128 * 1024, 4),
    ("cc", 128 * 1024, 4),
    ("reply-to", 4096, 1),
    ("subject", 8192, 1),
    ("date", 512, 1),
    ("message-id", 2048, 1),
    ("in-reply-to", 8192, 1),
    ("references", 32 * 1024, 2),
    ("received", 4096, 1),
    ("content-type", 8192, 1),
    ("content-disposition", 8192, 1),
    ("content-transfer-encoding", 512, 1),
    ("auto-submitted", 512, 1),
    ("precedence", 512, 1),
    ("x-autoreply", 512, 1),
    ("x-kith-email", 512, 1),
];
/// The longest name of a field.
const MAX_NAME_BYTES: usize = 76;

/// A head as it was split from the body.
pub(super) struct RawHead<'a> {
    /// The text of the kept fields, which `mail-parser` reads.
    text: Vec<u8>,
    /// Names of fields of which not all was kept.
    shortened: Vec<&'static str>,
    body: &'a [u8],
}

/// A head that was read.
pub(super) struct ReadHead<'a> {
    headers: Vec<Header<'a>>,
    shortened: &'a [&'static str],
}

impl<'a> RawHead<'a> {
    /// Splits a head from the body. If a message has no head at all, all of it is the body.
    pub(super) fn split(raw: &'a [u8]) -> RawHead<'a> {
        let mut head = RawHead { text: Vec::new(), shortened: Vec::new(), body: raw };
        let mut counts = vec![0_usize; FIELDS.len()];
        let (mut at, mut has_field, mut is_first) = (0, false, true);
        while at < raw.len() {
            let end = line_end(raw, at);
            let line = &raw[at..end];
            if bare(line).is_empty() {
                head.body = if has_field || is_first { &raw[end..] } else { raw };
                break;
            }
            let Some((name, value_at)) = field_name(line) else {
                // The first line of a mailbox file, or of what such a file was quoted in.
                if is_first && (line.starts_with(b"From ") || line.starts_with(b">From ")) {
                    (at, is_first) = (end, false);
                    continue;
                }
                // The empty line is missing, or there is no head.
                head.body = if has_field { &raw[at..] } else { raw };
                break;
            };
            (has_field, is_first) = (true, false);
            let mut value_end = end;
            while raw.get(value_end).is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                value_end = line_end(raw, value_end);
            }
            if let Some(place) = FIELDS.iter().position(|(known, ..)| name.eq_ignore_ascii_case(known.as_bytes())) {
                let (known, longest, most) = FIELDS[place];
                counts[place] += 1;
                if counts[place] <= most {
                    head.keep(known, &raw[at + value_at..value_end], longest);
                } else if most > 1 {
                    head.shortened.push(known);
                }
            }
            at = value_end;
            head.body = &raw[at..];
        }
        head.text.extend_from_slice(b"\r\n");
        head.shortened.dedup();
        head
    }

    /// Keeps a value, as UTF-8.
    fn keep(&mut self, name: &'static str, value: &[u8], longest: usize) {
        let mut value = value;
        if value.len() > longest {
            self.shortened.push(name);
            let whole = &value[..longest];
            // An address that is cut in two would be another one. What has no gap for so long is no list of addresses.
            let gap = whole.iter().rposition(|byte| matches!(byte, b',' | b';' | b' ' | b'\n'));
            value = &value[..gap.filter(|gap| *gap > longest / 2).unwrap_or(longest)];
        }
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b": ");
        let text = match std::str::from_utf8(value) {
            Ok(text) => text.into(),
            Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(value).0,
        };
        // All lines after the first begin with white space, so a value is one field.
        let lines = text.split(['\n', '\r', '\0']).map(str::trim_end).filter(|line| !line.is_empty());
        for (number, line) in lines.enumerate() {
            if number > 0 {
                self.text.extend_from_slice(b"\r\n ");
            }
            self.text.extend_from_slice(line.trim_start_matches([' ', '\t']).as_bytes());
        }
        self.text.extend_from_slice(b"\r\n");
    }

    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }

    pub(super) fn read(&self) -> ReadHead<'_> {
        let parsed = MessageParser::default().parse_headers(&self.text);
        let headers = parsed.and_then(|mut message| (!message.parts.is_empty()).then(|| message.parts.swap_remove(0)));
        ReadHead { headers: headers.map(|part| part.headers).unwrap_or_default(), shortened: &self.shortened }
    }
}

impl ReadHead<'_> {
    fn values(&self, name: &str) -> impl Iterator<Item = &HeaderValue<'_>> {
        let is_named =
            move |header: &&Header<'_>| HeaderName::parse(name.to_owned()).is_some_and(|it| it == header.name);
        self.headers.iter().filter(is_named).map(|header| &header.value)
    }

    /// The text of a field on one line. An empty one is none.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.values(name).find_map(HeaderValue::as_text).map(clean).filter(|text| !text.is_empty())
    }

    /// The Message-IDs of a field.
    pub(super) fn ids(&self, name: &str) -> Vec<String> {
        let texts = self.values(name).flat_map(|value| match value {
            HeaderValue::Text(text) => vec![text.as_ref()],
            HeaderValue::TextList(texts) => texts.iter().map(AsRef::as_ref).collect(),
            _ => Vec::new(),
        });
        texts.filter_map(message_id).collect()
    }

    /// The mailboxes of a field, and whether these are all.
    pub(super) fn mailboxes(&self, name: &str) -> (Vec<Mailbox>, bool) {
        let found = self.values(name).filter_map(HeaderValue::as_address).flat_map(|address| address.iter());
        let mailboxes = found.filter_map(|it| {
            let address = clean(it.address.as_deref().or(it.name.as_deref())?);
            let name = it.address.as_ref().and(it.name.as_deref()).map(clean).filter(|name| !name.is_empty());
            let is_fine = !address.is_empty() && address.chars().count() <= MAX_ADDRESS_CHARACTERS;
            is_fine.then_some(Mailbox { name, address })
        });
        (mailboxes.collect(), !self.shortened.contains(&name))
    }

    pub(super) fn date_ms(&self, name: &str) -> Option<i64> {
        let date = self.values(name).find_map(HeaderValue::as_datetime).filter(|date| date.is_valid());
        date.and_then(|date| believable_ms(date.to_timestamp()))
    }

    /// When the last server received it.
    pub(super) fn received_ms(&self) -> Option<i64> {
        let date = self.values("received").find_map(HeaderValue::as_received).and_then(|it| it.date());
        date.filter(|date| date.is_valid()).and_then(|date| believable_ms(date.to_timestamp()))
    }

    /// Whether a program has written it in answer to another message (RFC 3834, and what was usual before).
    pub(super) fn is_automatic(&self) -> bool {
        let said = |name: &str| self.text(name).map(|text| text.to_lowercase());
        said("auto-submitted").is_some_and(|it| !it.starts_with("no"))
            || said("precedence").is_some_and(|it| it.replace('-', "_") == "auto_reply")
            || said("x-autoreply").is_some()
    }

    pub(super) fn content_type(&self) -> Option<&ContentType<'_>> {
        self.values("content-type").find_map(HeaderValue::as_content_type)
    }

    pub(super) fn disposition(&self) -> Option<&ContentType<'_>> {
        self.values("content-disposition").find_map(HeaderValue::as_content_type)
    }
}

/// The place after a line and its end.
fn line_end(raw: &[u8], at: usize) -> usize {
    raw[at..].iter().position(|byte| *byte == b'\n').map_or(raw.len(), |place| at + place + 1)
}

/// A line without its end.
pub(super) fn bare(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The name of the field that a line begins, and where its value begins.
fn field_name(line: &[u8]) -> Option<(&[u8], usize)> {
    let colon = line.iter().take(MAX_NAME_BYTES + 1).position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some((name, colon + 1))
}
