//! E-mail that is received: reads a raw message (RFC 5322, MIME) as far as it can be read. Nothing in a message is an error, and the
//! work on one is bounded: by its length, and by the limits in this folder.

mod head;
mod parts;

use mail_parser::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::email::{Mailbox, RECORD_HEADER};
use crate::model::id::is_id;

use head::RawHead;

/// The most recipients that are kept: to and cc each.
pub const MAX_ADDRESSES: usize = 1000;
/// The most files that are listed.
pub const MAX_FILES: usize = 100;
/// The longest text and the longest HTML that are kept, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// The longest subject that is kept, in characters.
const MAX_SUBJECT_CHARACTERS: usize = 998;
/// The longest Message-ID, in bytes. An index has it.
const MAX_ID_BYTES: usize = 990;
/// The most messages that a message can name as those that it answers.
const MAX_REFERENCES: usize = 50;
/// The longest address that mail on the internet can have, with some room.
const MAX_ADDRESS_CHARACTERS: usize = 320;
/// The latest time that is believed, in Unix milliseconds: the year 2100.
const LATEST_MS: i64 = 4_102_444_800_000;

/// A file in a received message. Its content is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundFile {
    /// The file's name.
    pub filename: String,
    /// The media type.
    pub content_type: String,
    /// Its size in bytes, decoded.
    pub bytes: usize,
}

/// A received message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InboundEmail {
    /// Names the message: its Message-ID in angle brackets. A message without one is named by its content, without brackets.
    pub message_id: String,
    /// The Message-IDs of the messages that it answers, the first one of the conversation first.
    pub references: Vec<String>,
    /// The sender.
    pub from: Option<Mailbox>,
    /// The addresses of the recipients.
    pub to: Vec<String>,
    /// The addresses of the recipients of copies.
    pub cc: Vec<String>,
    /// The addresses to which answers go.
    pub reply_to: Vec<String>,
    /// The subject line.
    pub subject: Option<String>,
    /// When it was sent, as it says itself, in Unix milliseconds.
    pub sent_ms: Option<i64>,
    /// When the last server received it, in Unix milliseconds.
    pub received_ms: Option<i64>,
    /// The text; that of the HTML if the message has no other.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// The files.
    pub files: Vec<InboundFile>,
    /// The record of the message that the workspace has sent, if this may be a copy of it: `e_…`.
    #[serde(default)]
    pub copy_of: Option<String>,
    /// Whether a program has answered: "I am out of office".
    pub is_automatic: bool,
    /// What was too long and is kept in part: `to`, `cc`, `text`, `html`, `attachments`.
    pub truncated: Vec<String>,
}

impl InboundEmail {
    /// Reads a raw message.
    pub fn parse(raw: &[u8]) -> InboundEmail {
        let head = RawHead::split(raw);
        let read = head.read();
        let mut email = InboundEmail {
            message_id: read.ids("message-id").into_iter().next().unwrap_or_else(|| name_by_content(raw)),
            from: read.mailboxes("from").0.into_iter().chain(read.mailboxes("sender").0).next(),
            subject: read.text("subject").map(|subject| cut_to_characters(&subject, MAX_SUBJECT_CHARACTERS)),
            sent_ms: read.date_ms("date"),
            received_ms: read.received_ms(),
            copy_of: read.text(&RECORD_HEADER.to_ascii_lowercase()).and_then(|text| record_named(&text)),
            is_automatic: read.is_automatic(),
            ..InboundEmail::default()
        };
        for (name, list) in [("to", &mut email.to), ("cc", &mut email.cc), ("reply-to", &mut email.reply_to)] {
            let (found, is_whole) = read.mailboxes(name);
            *list = addresses(found.into_iter().map(|mailbox| mailbox.address));
            if list.len() > MAX_ADDRESSES || !is_whole {
                list.truncate(MAX_ADDRESSES);
                email.truncated.push(name.replace('-', "_"));
            }
        }
        email.references = references(read.ids("references"), read.ids("in-reply-to"));
        parts::read(&read, head.body(), &mut email);
        email
    }

    /// Makes what a caller has filled in fit the limits, as [`InboundEmail::parse`] does.
    pub fn within_limits(mut self) -> InboundEmail {
        self.subject = self.subject.map(|subject| cut_to_characters(&clean(&subject), MAX_SUBJECT_CHARACTERS));
        for (name, list) in [("to", &mut self.to), ("cc", &mut self.cc), ("reply_to", &mut self.reply_to)] {
            *list = addresses(std::mem::take(list).into_iter());
            if list.len() > MAX_ADDRESSES {
                list.truncate(MAX_ADDRESSES);
                self.truncated.push(name.to_owned());
            }
        }
        if self.text.is_none() {
            self.text = self.html.as_deref().map(|html| parts::text_of(cut(html, MAX_TEXT_BYTES)));
        }
        for (name, text) in [("text", &mut self.text), ("html", &mut self.html)] {
            if let Some(text) = text {
                *text = without_nul(text);
                if text.len() > MAX_TEXT_BYTES {
                    *text = cut(text, MAX_TEXT_BYTES).to_owned();
                    self.truncated.push(name.to_owned());
                }
            }
        }
        if self.files.len() > MAX_FILES {
            self.files.truncate(MAX_FILES);
            self.truncated.push("attachments".to_owned());
        }
        self.references = references(std::mem::take(&mut self.references), Vec::new());
        self
    }
}

/// The record that the header of a message names.
pub fn record_named(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| is_id(text, "e")).map(str::to_owned)
}

/// The Message-IDs in the text of a header.
pub fn message_ids(text: &str) -> Vec<String> {
    let parts = text.split(|it: char| it.is_whitespace() || matches!(it, '<' | '>' | ','));
    parts.filter(|part| part.contains('@')).filter_map(message_id).collect()
}

/// The time of a text, as e-mail or ISO 8601 writes it, in Unix milliseconds.
pub fn time_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    let iso = text.replacen(' ', "T", 1);
    let time = DateTime::parse_rfc3339(&iso).filter(DateTime::is_valid);
    let time = time.or_else(|| DateTime::parse_rfc822(text).filter(DateTime::is_valid))?;
    believable_ms(time.to_timestamp())
}

/// A Message-ID in angle brackets; `None` if the text is none.
pub fn message_id(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|it| !it.is_whitespace() && !it.is_control()).collect();
    let inner = text.trim_start_matches('<').trim_end_matches('>');
    (!inner.is_empty() && inner.len() <= MAX_ID_BYTES).then(|| format!("<{inner}>"))
}

/// The name of a message without a Message-ID: the same message has the same.
pub fn name_by_content(raw: &[u8]) -> String {
    let digest = Sha256::digest(raw);
    digest.iter().take(20).fold("sha256:".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// The messages that a message answers, without repetitions: the first one and the last ones.
fn references(named: Vec<String>, answered: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for id in named.into_iter().chain(answered) {
        // The nearest one comes last.
        if all.len() < 10 * MAX_REFERENCES && !all.contains(&id) {
            all.push(id);
        }
    }
    if all.len() > MAX_REFERENCES {
        all.drain(1..=all.len() - MAX_REFERENCES);
    }
    all
}

/// Addresses without those that are none, and without repetitions. One more than the limit shows that there are more.
fn addresses(found: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for address in found {
        let address = clean(&address);
        if is_addressable(&address) && seen.insert(address.to_lowercase()) {
            kept.push(address);
            if kept.len() > MAX_ADDRESSES {
                break;
            }
        }
    }
    kept
}

/// Whether a text can stand as one address: the database would take one with a comma for several.
fn is_addressable(text: &str) -> bool {
    text.contains('@') && !text.contains([',', ';', '<', '>']) && text.chars().count() <= MAX_ADDRESS_CHARACTERS
}

/// A text on one line, without control characters.
fn clean(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|it: char| it.is_control() || it == ' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// A text without NUL, which PostgreSQL does not take, and with the line ends of Unix.
fn without_nul(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\0', "")
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn cut_to_characters(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// A time that can be true.
fn believable_ms(unix_seconds: i64) -> Option<i64> {
    unix_seconds.checked_mul(1000).filter(|ms| (0..LATEST_MS).contains(ms))
}

#[cfg(test)]
mod tests;
