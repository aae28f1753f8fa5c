//! Checks the fields of e-mails to be sent.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde_json::{Map, Value};

use crate::model::email::{Attachment, EmailMessage, MAX_ATTACHMENT_BYTES, Mailbox};
use crate::model::fault::Fault;
use crate::model::id::is_id;
use crate::model::value::name_of;
use crate::plan::control::{broken, missing, only, text};

/// The most recipients of a message: to, cc and bcc together.
pub const MAX_RECIPIENTS: usize = 50;
/// The most additional headers, and the most files.
const MAX_PARTS: usize = 50;
/// The longest line of a header (RFC 5322).
const MAX_LINE_CHARACTERS: usize = 998;
const MAX_BODY_CHARACTERS: usize = 10 * 1024 * 1024;

/// The fields of a message to be sent.
pub const FIELDS: [&str; 13] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply_to",
    "subject",
    "html",
    "text",
    "headers",
    "attachments",
    "in_reply_to",
    "custom",
    "deal_ids",
];

/// Headers that follow from other fields, or that the provider sets.
const RESERVED_HEADERS: [&str; 20] = [
    "bcc",
    "cc",
    "content-disposition",
    "content-id",
    "content-transfer-encoding",
    "content-type",
    "date",
    "dkim-signature",
    "from",
    "in-reply-to",
    "message-id",
    "mime-version",
    "received",
    "references",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
    "x-kith-email",
];

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Checks the fields of a message.
pub fn message(values: &Map<String, Value>) -> Result<EmailMessage, Fault> {
    only(values, &FIELDS)?;
    let from = match mailboxes(values, "from")? {
        from if from.len() > 1 => return Err(broken("from", "\"from\" has one address.".into(), None)),
        mut from => from.pop(),
    };
    let message = EmailMessage {
        from,
        to: mailboxes(values, "to")?,
        cc: mailboxes(values, "cc")?,
        bcc: mailboxes(values, "bcc")?,
        reply_to: mailboxes(values, "reply_to")?,
        subject: line(values, "subject")?.ok_or_else(|| missing("subject"))?,
        html: body(values, "html")?,
        text: body(values, "text")?,
        headers: headers(values)?,
        attachments: attachments(values)?,
        in_reply_to: in_reply_to(values)?,
        references: Vec::new(),
        custom: match values.get("custom") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(custom)) => custom.clone(),
            Some(_) => return Err(Fault::invalid("\"custom\" takes a JSON object.")),
        },
        deal_ids: ids(values, "deal_ids")?,
    };
    if message.to.is_empty() {
        return Err(missing("to"));
    }
    let lists = [("to", &message.to), ("cc", &message.cc), ("bcc", &message.bcc)];
    let mut recipients = 0;
    for (field, list) in lists {
        recipients += list.len();
        if recipients > MAX_RECIPIENTS {
            let said = format!("A message has at most {MAX_RECIPIENTS} recipients: to, cc and bcc together.");
            return Err(broken(field, said, Some("Send several messages.".into())));
        }
    }
    if message.html.is_none() && message.text.is_none() {
        return Err(broken("text", "A message has \"text\", \"html\" or both.".into(), None));
    }
    Ok(message)
}

/// The mailboxes of a field: a text with one or several, or an array of such texts.
pub(super) fn mailboxes(values: &Map<String, Value>, name: &str) -> Result<Vec<Mailbox>, Fault> {
    let texts: Vec<&str> = match values.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => {
            let item = |item: &'_ Value| match item {
                Value::String(_) => Ok(()),
                other => Err(Fault::invalid(format!("\"{name}\" takes addresses, not {}.", name_of(other)))),
            };
            items.iter().try_for_each(item)?;
            items.iter().filter_map(Value::as_str).collect()
        }
        Some(other) => {
            return Err(Fault::invalid(format!(
                "\"{name}\" takes an address or an array of them, not {}.",
                name_of(other)
            )));
        }
    };
    let mut mailboxes = Vec::with_capacity(texts.len());
    for text in texts {
        let found = Mailbox::parse_list(text).map_err(|part| no_address(name, part))?;
        if found.is_empty() {
            return Err(no_address(name, text));
        }
        mailboxes.extend(found);
    }
    Ok(mailboxes)
}

fn no_address(field: &str, text: &str) -> Fault {
    let shown: String = text.chars().take(100).flat_map(char::escape_default).collect();
    let hint = "Send ada@example.com or Ada Lovelace <ada@example.com>.";
    broken(field, format!("\"{field}\": \"{shown}\" is no e-mail address."), Some(hint.into()))
}

/// A text that becomes one line of a header.
pub(super) fn line(values: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    let line = text(values, name, MAX_LINE_CHARACTERS)?.flatten().filter(|line| !line.trim().is_empty());
    match line {
        Some(line) => checked_line(name, &line).map(|()| Some(line)),
        None => Ok(None),
    }
}

/// Refuses what would end the line of a header and begin another one.
fn checked_line(field: &str, line: &str) -> Result<(), Fault> {
    match line.chars().any(|it| it.is_control() || matches!(it, '\u{2028}' | '\u{2029}')) {
        false => Ok(()),
        true => {
            Err(broken(field, format!("\"{field}\" is one line: it has no line breaks and control characters."), None))
        }
    }
}

fn body(values: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    Ok(text(values, name, MAX_BODY_CHARACTERS)?.flatten().filter(|text| !text.is_empty()))
}

fn headers(values: &Map<String, Value>) -> Result<Vec<(String, String)>, Fault> {
    let given = match values.get("headers") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(headers)) => headers,
        Some(other) => {
            return Err(Fault::invalid(format!(
                "\"headers\" takes an object of names and values, not {}.",
                name_of(other)
            )));
        }
    };
    if given.len() > MAX_PARTS {
        return Err(broken("headers", format!("\"headers\" has at most {MAX_PARTS} headers."), None));
    }
    let mut headers: Vec<(String, String)> = Vec::with_capacity(given.len());
    for (name, value) in given {
        let shown: String = name.chars().take(100).flat_map(char::escape_default).collect();
        let path = format!("headers.{shown}");
        let is_name = (1..=76).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_graphic() && it != b':');
        if !is_name {
            return Err(broken(&path, format!("\"{shown}\" is no name of a header."), None));
        }
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let hint = "Use the message's own fields: from, to, cc, bcc, reply_to, subject, in_reply_to.";
            return Err(broken(
                &path,
                format!("The header {name} is set by Kith or by the provider."),
                Some(hint.into()),
            ));
        }
        if headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(broken(&path, format!("The header {name} is given twice."), None));
        }
        let Value::String(value) = value else {
            return Err(Fault::invalid(format!("\"{path}\" takes a string, not {}.", name_of(value))));
        };
        checked_line(&path, value)?;
        if name.len() + 2 + value.chars().count() > MAX_LINE_CHARACTERS {
            return Err(broken(&path, format!("A header has at most {MAX_LINE_CHARACTERS} characters."), None));
        }
        headers.push((name.clone(), value.clone()));
    }
    Ok(headers)
}

fn attachments(values: &Map<String, Value>) -> Result<Vec<Attachment>, Fault> {
    let items = match values.get("attachments") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(Fault::invalid(format!("\"attachments\" takes an array, not {}.", name_of(other)))),
    };
    if items.len() > MAX_PARTS {
        return Err(broken("attachments", format!("A message has at most {MAX_PARTS} files."), None));
    }
    let (mut attachments, mut bytes) = (Vec::with_capacity(items.len()), 0);
    for (at, item) in items.iter().enumerate() {
        let path = |field: &str| format!("attachments[{at}].{field}");
        let Value::Object(item) = item else {
            return Err(Fault::invalid(format!("\"attachments\" takes objects, not {}.", name_of(item))));
        };
        only(item, &["filename", "content", "content_type", "content_id"])?;
        let word = |field: &'static str| {
            let word = text(item, field, 255)?.flatten().filter(|it| !it.trim().is_empty());
            word.map(|word| checked_line(&path(field), &word).map(|()| word)).transpose()
        };
        let filename = word("filename")?.ok_or_else(|| missing(&path("filename")))?;
        let content_type = word("content_type")?;
        if content_type.as_deref().is_some_and(|it| !is_media_type(it)) {
            return Err(broken(&path("content_type"), "A media type is like application/pdf.".into(), None));
        }
        let content_id = word("content_id")?;
        if content_id.as_deref().is_some_and(|it| it.contains(['<', '>', ' '])) {
            return Err(broken(&path("content_id"), "A content id has no brackets and no space.".into(), None));
        }
        let encoded = text(item, "content", usize::MAX)?.flatten().ok_or_else(|| missing(&path("content")))?;
        let (content, len) = canonical(encoded)
            .ok_or_else(|| broken(&path("content"), format!("{} is no base64.", path("content")), None))?;
        bytes += len;
        if bytes > MAX_ATTACHMENT_BYTES {
            let said = format!("All files together have at most {} MiB.", MAX_ATTACHMENT_BYTES >> 20);
            return Err(broken("attachments", said, Some("Send a link instead.".into())));
        }
        attachments.push(Attachment { filename, content_type, content_id, content });
    }
    Ok(attachments)
}

/// Base64 with padding and without white space, and the length of its content. Most is that already, and is not copied.
fn canonical(mut encoded: String) -> Option<(String, usize)> {
    if encoded.bytes().any(|byte| byte.is_ascii_whitespace()) {
        encoded.retain(|it| !it.is_ascii_whitespace());
    }
    if let Ok(content) = STANDARD.decode(&encoded) {
        return Some((encoded, content.len()));
    }
    let content = BASE64.decode(encoded).ok()?;
    Some((STANDARD.encode(&content), content.len()))
}

fn is_media_type(text: &str) -> bool {
    let part =
        |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&it));
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .split_once('/')
        .is_some_and(|(kind, name)| part(kind) && part(name))
}

/// The id of a recorded message, or a Message-ID with its brackets.
fn in_reply_to(values: &Map<String, Value>) -> Result<Option<String>, Fault> {
    let Some(given) = line(values, "in_reply_to")? else { return Ok(None) };
    let given = given.trim();
    if is_id(given, "e") {
        return Ok(Some(given.to_owned()));
    }
    let inner = given.strip_prefix('<').and_then(|it| it.strip_suffix('>')).unwrap_or(given);
    match inner.contains('@') && !inner.contains(['<', '>', ' ']) {
        true => Ok(Some(format!("<{inner}>"))),
        false => Err(broken(
            "in_reply_to",
            "\"in_reply_to\" is the id of a recorded e-mail, e_…, or a Message-ID.".into(),
            Some("GET /v1/emails lists the recorded ones.".into()),
        )),
    }
}

fn ids(values: &Map<String, Value>, name: &str) -> Result<Vec<String>, Fault> {
    let wrong = || Fault::invalid(format!("\"{name}\" takes an array of ids."));
    match values.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|it| it.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn with(name: &str, value: Value) -> Value {
        let mut mail = json!({"from": "a@b.co", "to": "c@d.co", "subject": "S", "text": "T"});
        mail[name] = value;
        mail
    }

    #[track_caller]
    fn refused(value: Value, status: u16, field: Option<&str>) {
        let fault = message(&of(value.clone())).expect_err("a refusal");
        assert_eq!(fault.status(), status, "{value}: {}", fault.message());
        if let Some(expected) = field {
            let Fault::ValidationFailed { field, .. } = &fault else { panic!("{fault:?}") };
            assert_eq!(field.as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn a_message_is_read() {
        let mail = json!({"from": "Ada <a@b.co>", "to": ["c@d.co, e@f.co"], "bcc": "g@h.co", "subject": "Hi", "html": "<p>Hi</p>",
            "headers": {"X-Ref": "1"}, "attachments": [{"filename": "a.txt", "content": "aGk"}], "in_reply_to": "x@y",
            "custom": {"k": 1}});
        let read = message(&of(mail)).unwrap();
        assert_eq!((read.to.len(), read.bcc.len(), read.text), (2, 1, None));
        assert_eq!(read.attachments[0].content, "aGk=");
        assert_eq!(read.in_reply_to.as_deref(), Some("<x@y>"));
        assert_eq!(read.headers, [("X-Ref".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn what_is_wrong_is_refused_by_field() {
        refused(with("to", json!([])), 422, Some("to"));
        refused(with("to", json!("nobody")), 422, Some("to"));
        refused(with("to", json!(["c@d.co", "x"])), 422, Some("to"));
        refused(with("to", json!(5)), 400, None);
        refused(with("from", json!("a@b.co, c@d.co")), 422, Some("from"));
        refused(with("cc", json!("a@b.co\r\nBcc: x@y.zz")), 422, Some("cc"));
        refused(with("reply_to", json!("x")), 422, Some("reply_to"));
        refused(with("subject", json!("a\r\nBcc: x@y.zz")), 422, Some("subject"));
        refused(with("subject", json!("a\nb")), 422, Some("subject"));
        for content in ["aGk", "aGk=", "aG\r\n k="] {
            let read = message(&of(with("attachments", json!([{"filename": "a", "content": content}])))).unwrap();
            assert_eq!(read.attachments[0].content, "aGk=", "{content}");
        }
        let most = STANDARD.encode(vec![7; MAX_ATTACHMENT_BYTES]);
        let file = |content: &str| json!({"filename": "a", "content": content});
        assert!(message(&of(with("attachments", json!([file(&most)])))).is_ok());
        refused(with("attachments", json!([file(&most), file("aA==")])), 422, Some("attachments"));
        refused(with("subject", json!("")), 422, Some("subject"));
        refused(with("text", json!(null)), 422, Some("text"));
        refused(with("headers", json!({"X-A": "1\r\nBcc: x@y.zz"})), 422, Some("headers.X-A"));
        refused(with("headers", json!({"X-A\r\nBcc": "1"})), 422, Some("headers.X-A\\r\\nBcc"));
        refused(with("headers", json!({"X A": "1"})), 422, Some("headers.X A"));
        refused(with("headers", json!({"bCC": "x@y.zz"})), 422, Some("headers.bCC"));
        refused(with("headers", json!({"X-A": "1", "x-a": "2"})), 422, None);
        refused(with("headers", json!({"X-A": 1})), 400, None);
        refused(with("attachments", json!([{"filename": "a", "content": "%"}])), 422, Some("attachments[0].content"));
        refused(with("attachments", json!([{"content": "aGk="}])), 422, Some("attachments[0].filename"));
        refused(
            with("attachments", json!([{"filename": "a\r\nX: y", "content": ""}])),
            422,
            Some("attachments[0].filename"),
        );
        refused(with("attachments", json!([{"filename": "a", "content": "", "content_type": "a\r\nb/c"}])), 422, None);
        refused(with("attachments", json!([{"filename": "a", "content": "", "path": "/etc/passwd"}])), 400, None);
        refused(with("in_reply_to", json!("nothing")), 422, Some("in_reply_to"));
        refused(with("bc", json!("x@y.zz")), 400, None);
        let many = |count: usize| json!((0..count).map(|it| format!("p{it}@x.example")).collect::<Vec<_>>());
        assert!(message(&of(with("to", many(MAX_RECIPIENTS)))).is_ok());
        refused(with("to", many(MAX_RECIPIENTS + 1)), 422, Some("to"));
        refused(with("bcc", many(MAX_RECIPIENTS)), 422, Some("bcc"));
        let large = STANDARD.encode(vec![0; MAX_ATTACHMENT_BYTES / 2 + 1]);
        let file = json!({"filename": "a", "content": large});
        assert!(message(&of(with("attachments", json!([file])))).is_ok());
        refused(with("attachments", json!([file, file])), 422, Some("attachments"));
    }
}
