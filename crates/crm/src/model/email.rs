//! E-mail that is sent: messages whose fields have been checked, and the addresses in them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most bytes of all files of a message, before they are encoded.
pub const MAX_ATTACHMENT_BYTES: usize = 10 * 1024 * 1024;
/// The most bytes of a body that sends messages. Base64 makes files a third longer.
pub const MAX_SENDING_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The header that names the record of a message, for providers that set the Message-ID. A copy of the message is recognized by it.
pub const RECORD_HEADER: &str = "X-Kith-Email";

/// An address, with the name of its owner if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// The name, without quotes.
    pub name: Option<String>,
    /// `local@domain`
    pub address: String,
}

/// A file in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The file's name.
    pub filename: String,
    /// The media type; `None` if the name decides.
    pub content_type: Option<String>,
    /// The id by which the HTML shows the file in the text.
    pub content_id: Option<String>,
    /// The content in base64, with padding and without white space.
    pub content: String,
}

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmailMessage {
    /// The sender; `None` until the workspace's own address is put in its place.
    pub from: Option<Mailbox>,
    /// The recipients.
    pub to: Vec<Mailbox>,
    /// The recipients of copies.
    pub cc: Vec<Mailbox>,
    /// The recipients whom the others do not see.
    pub bcc: Vec<Mailbox>,
    /// The addresses to which answers go.
    pub reply_to: Vec<Mailbox>,
    /// The subject line.
    pub subject: String,
    /// The HTML part.
    pub html: Option<String>,
    /// The text part.
    pub text: Option<String>,
    /// Additional headers, without those that follow from the other fields.
    pub headers: Vec<(String, String)>,
    /// The files.
    pub attachments: Vec<Attachment>,
    /// The message that it answers: the id of a recorded one, `e_…`, or a Message-ID.
    pub in_reply_to: Option<String>,
    /// The Message-IDs of the conversation up to the message that it answers, the oldest first.
    #[serde(default)]
    pub references: Vec<String>,
    /// The free-form fields of the record.
    pub custom: Map<String, Value>,
    /// The deals that it concerns.
    pub deal_ids: Vec<String>,
}

/// What became of a message, as its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailStatus {
    /// It is about to be sent, or is tried again later.
    Queued,
    /// It waits until the workspace may send again.
    Held,
    /// The provider has accepted it.
    Sent,
    /// It was refused or given up.
    Failed,
    /// It is test data and is never sent.
    Simulated,
}

impl EmailMessage {
    /// The bytes of its texts and files, as they are encoded.
    pub fn bytes(&self) -> usize {
        let texts = [&self.html, &self.text].into_iter().flatten().map(String::len);
        texts.chain(self.attachments.iter().map(|file| file.content.len())).sum()
    }
}

impl EmailStatus {
    /// Every status.
    pub const NAMES: &'static [&'static str] = &["queued", "held", "sent", "failed", "simulated"];

    /// The name in the record.
    pub fn name(self) -> &'static str {
        match self {
            EmailStatus::Queued => "queued",
            EmailStatus::Held => "held",
            EmailStatus::Sent => "sent",
            EmailStatus::Failed => "failed",
            EmailStatus::Simulated => "simulated",
        }
    }
}

impl Mailbox {
    /// Parses one mailbox: `ada@example.com` or `Ada Lovelace <ada@example.com>`.
    pub fn parse(text: &str) -> Option<Mailbox> {
        // As the database trims what is stored.
        let text = text.trim_matches(is_blank);
        let (name, address) = match text.strip_suffix('>') {
            Some(rest) => {
                let (name, address) = rest.rsplit_once('<')?;
                (unquoted(name.trim())?, address.trim_matches(is_blank))
            }
            None => (String::new(), text),
        };
        let is_fine = is_address(address) && !name.chars().any(char::is_control);
        is_fine.then(|| Mailbox { name: (!name.is_empty()).then_some(name), address: address.to_owned() })
    }

    /// Parses mailboxes that commas or semicolons separate. The error is the part that is no mailbox.
    pub fn parse_list(text: &str) -> Result<Vec<Mailbox>, &str> {
        split(text).map(|part| Mailbox::parse(part).ok_or(part)).collect()
    }

    /// The domain of the address.
    pub fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// As in a header, with the name in quotes where it needs them.
impl std::fmt::Display for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(name) = &self.name else { return f.write_str(&self.address) };
        let is_plain = |it: char| it.is_alphanumeric() || it == ' ' || "!#$%&'*+-/=?^_`{|}~".contains(it);
        match name.chars().all(is_plain) {
            true => write!(f, "{name} <{}>", self.address),
            false => write!(f, "\"{}\" <{}>", name.replace('\\', "\\\\").replace('"', "\\\""), self.address),
        }
    }
}

/// A display name without its quotes. `None` if the quotes or brackets do not fit.
fn unquoted(name: &str) -> Option<String> {
    let Some(inner) = name.strip_prefix('"') else {
        return (!name.contains(['"', '<', '>'])).then(|| name.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let (mut out, mut is_escaped) = (String::with_capacity(inner.len()), false);
    for character in inner.chars() {
        match character {
            '\\' if !is_escaped => is_escaped = true,
            '"' if !is_escaped => return None,
            character => {
                out.push(character);
                is_escaped = false;
            }
        }
    }
    (!is_escaped).then(|| out.trim().to_owned())
}

/// The parts of a list between commas and semicolons, outside of quotes and angle brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut in_angle, mut is_escaped) = (false, false, false);
    text.split(move |character: char| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match character {
            '\\' if in_quotes => is_escaped = true,
            '"' => in_quotes = !in_quotes,
            '<' if !in_quotes => in_angle = true,
            '>' if !in_quotes => in_angle = false,
            ',' | ';' => return !in_quotes && !in_angle,
            _ => {}
        }
        false
    })
    .filter(|part| !part.trim().is_empty())
}

/// White space and invisible characters: those that `kith.trimmed()` removes from both ends of an address.
pub fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}' | '\u{e007f}')
}

/// Whether a text is an address that mail on the internet can have (RFC 5321), without the quoted form of the local part. Letters of
/// all scripts are allowed (RFC 6531).
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_atom = |it: char| it.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(it);
    let is_local = (1..=64).contains(&local.len())
        && local.chars().all(is_atom)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|it| it.is_alphanumeric() || it == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    is_local && domain.len() <= 253 && domain.contains('.') && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_an_address_with_or_without_a_name() {
        let check = |text: &str, name: Option<&str>, address: &str, written: &str| {
            let mailbox = Mailbox::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((mailbox.name.as_deref(), mailbox.address.as_str()), (name, address), "{text}");
            assert_eq!(mailbox.to_string(), written);
            assert_eq!(Mailbox::parse(written), Some(mailbox));
        };
        check(" ada@example.com ", None, "ada@example.com", "ada@example.com");
        check("\u{200b}ada@example.com\u{feff}", None, "ada@example.com", "ada@example.com");
        check("Ada <ada@example.com>", Some("Ada"), "ada@example.com", "Ada <ada@example.com>");
        check("<a.b+c@x-y.example>", None, "a.b+c@x-y.example", "a.b+c@x-y.example");
        check(r#""Ada, \"L\"" <a@b.co>"#, Some("Ada, \"L\""), "a@b.co", r#""Ada, \"L\"" <a@b.co>"#);
        check(
            "Zoë Müller <zoë@müller.example>",
            Some("Zoë Müller"),
            "zoë@müller.example",
            "Zoë Müller <zoë@müller.example>",
        );
        check("Dr. X <x@y.zz>", Some("Dr. X"), "x@y.zz", "\"Dr. X\" <x@y.zz>");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@example",
            "a b@example.com",
            "ada@@example.com",
            "ada@exa mple.com",
            ".ada@example.com",
            "ada.@example.com",
            "a..b@example.com",
            "ada@-x.com",
            "ada@x-.com",
            "ada@.com",
            "ada@x..com",
            "Ada <ada@example.com",
            "Ada ada@example.com>",
            "\"Ada <ada@example.com>",
            "ada@example.com\r\nBcc: x@y.zz",
            "A\nB <ada@example.com>",
            "<<ada@example.com>>",
            "ada@exam_ple.com",
            "\"a b\"@example.com",
            "ada@[1.2.3.4]",
        ] {
            assert_eq!(Mailbox::parse(text), None, "{text:?}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        assert_eq!(Mailbox::parse(&long), None);
    }

    #[test]
    fn a_text_may_hold_several() {
        let addresses =
            |text| Mailbox::parse_list(text).map(|all| all.into_iter().map(|it| it.address).collect::<Vec<_>>());
        assert_eq!(addresses("a@b.co, \"X, Y\" <c@d.co>; e@f.co,").unwrap(), ["a@b.co", "c@d.co", "e@f.co"]);
        assert_eq!(addresses("a@b.co, nobody").unwrap_err(), " nobody");
        assert!(addresses("  ").unwrap().is_empty());
    }
}
