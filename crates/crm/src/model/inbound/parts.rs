//! The parts of a message: finds the text, the HTML and the files. The depth and the number of parts are limited; what is beyond is left out.
//! A message within a message is a file, and is not read.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use crate::model::inbound::head::{RawHead, ReadHead, bare};
use crate::model::inbound::{InboundEmail, InboundFile, MAX_FILES, MAX_TEXT_BYTES, clean, cut, without_nul};

/// The deepest part that is read, and the most parts.
const MAX_DEPTH: usize = 20;
const MAX_PARTS: usize = 500;
/// The longest encoded text that is decoded, in bytes. Each encoding takes at most four times as many bytes as the text.
const MAX_ENCODED_BYTES: usize = 4 * MAX_TEXT_BYTES;
/// The longest name of a file, in characters, and of a media type.
const MAX_NAME_CHARACTERS: usize = 255;

/// What a part and those in it contain.
#[derive(Default)]
struct PartText {
    text: String,
    html: String,
    /// Whether the text was written as text, and not derived from HTML.
    is_written: bool,
}

/// What is found in all parts.
struct Finds {
    files: Vec<InboundFile>,
    parts: usize,
    truncated: Vec<&'static str>,
}

/// Reads the body of a message.
pub(super) fn read(head: &ReadHead<'_>, body: &[u8], email: &mut InboundEmail) {
    let mut finds = Finds { files: Vec::new(), parts: 0, truncated: Vec::new() };
    let found = part(head, body, 0, &mut finds);
    let kept = |text: String| Some(text).filter(|text| !text.trim().is_empty());
    (email.text, email.html) = (kept(found.text), kept(found.html));
    email.files = finds.files;
    finds.truncated.sort_unstable();
    finds.truncated.dedup();
    email.truncated.extend(finds.truncated.into_iter().map(str::to_owned));
}

/// Reads a part and those in it.
fn part(head: &ReadHead<'_>, body: &[u8], depth: usize, finds: &mut Finds) -> PartText {
    finds.parts += 1;
    let kind = head.content_type();
    let (main, sub) = kind.map_or(("text", "plain"), |kind| (kind.ctype(), kind.subtype().unwrap_or_default()));
    let (main, sub) = (main.to_ascii_lowercase(), sub.to_ascii_lowercase());
    if main == "multipart" {
        let boundary = kind.and_then(|kind| kind.attribute("boundary")).filter(|it| !it.is_empty());
        if let Some(boundary) = boundary {
            let pieces = split(body, boundary.as_bytes(), MAX_PARTS.saturating_sub(finds.parts));
            if pieces.len() + finds.parts >= MAX_PARTS || (depth >= MAX_DEPTH && !pieces.is_empty()) {
                finds.truncated.push("attachments");
            }
            if !pieces.is_empty() {
                return if depth < MAX_DEPTH {
                    parts(&pieces, sub == "alternative", depth, finds)
                } else {
                    PartText::default()
                };
            }
        }
    }
    let encoding = head.text("content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
    let name = file_name(head);
    let is_attached = head.disposition().is_some_and(|it| it.ctype().eq_ignore_ascii_case("attachment"));
    // A multipart without parts is read as text, because something may be in it.
    let is_text = main == "multipart" || main == "text" && (sub == "plain" || sub == "html" || sub.is_empty());
    if !is_text || is_attached || name.is_some() {
        file(finds, name, (&main, &sub), size(body, &encoding));
        return PartText::default();
    }
    if body.len() > MAX_ENCODED_BYTES {
        finds.truncated.push(if sub == "html" { "html" } else { "text" });
    }
    let bytes = decoded(&body[..body.len().min(MAX_ENCODED_BYTES)], &encoding);
    let text = characters(&bytes, kind.and_then(|kind| kind.attribute("charset")));
    let text = without_nul(&text);
    if sub == "html" {
        let html = shortened(text, "html", finds);
        PartText { text: shortened(text_of(&html), "text", finds), html, is_written: false }
    } else {
        PartText { text: shortened(text, "text", finds), html: String::new(), is_written: true }
    }
}

/// Reads the parts of a part. Of alternatives, the text counts that was written as text.
fn parts(pieces: &[&[u8]], are_alternatives: bool, depth: usize, finds: &mut Finds) -> PartText {
    let mut found = Vec::new();
    for piece in pieces {
        let head = RawHead::split(piece);
        found.push(part(&head.read(), head.body(), depth + 1, finds));
    }
    let mut all = PartText { is_written: found.iter().any(|it| it.is_written), ..PartText::default() };
    for it in found {
        let is_repeated = are_alternatives && (all.is_written && !it.is_written || !all.text.is_empty());
        if !is_repeated {
            append(&mut all.text, &it.text, "text", finds);
        }
        append(&mut all.html, &it.html, "html", finds);
    }
    all
}

fn append(whole: &mut String, more: &str, name: &'static str, finds: &mut Finds) {
    if more.trim().is_empty() {
        return;
    }
    if !whole.is_empty() {
        whole.push('\n');
    }
    let room = MAX_TEXT_BYTES.saturating_sub(whole.len());
    if more.len() > room {
        finds.truncated.push(name);
    }
    whole.push_str(cut(more, room.min(more.len())));
}

fn shortened(mut text: String, name: &'static str, finds: &mut Finds) -> String {
    if text.len() > MAX_TEXT_BYTES {
        finds.truncated.push(name);
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    }
    text
}

/// The text of HTML.
pub(super) fn text_of(html: &str) -> String {
    without_nul(html_to_text(html).trim())
}

fn file(finds: &mut Finds, name: Option<String>, (main, sub): (&str, &str), bytes: usize) {
    if finds.files.len() == MAX_FILES {
        finds.truncated.push("attachments");
        return;
    }
    let content_type = clean(&format!("{main}/{}", if sub.is_empty() { "octet-stream" } else { sub }));
    let content_type = content_type.chars().take(MAX_NAME_CHARACTERS).collect();
    let filename = name.unwrap_or_else(|| if main == "message" { "message.eml".into() } else { "attachment".into() });
    finds.files.push(InboundFile { filename, content_type, bytes });
}

fn file_name(head: &ReadHead<'_>) -> Option<String> {
    let by_disposition = head.disposition().and_then(|it| it.attribute("filename"));
    let name = by_disposition.or_else(|| head.content_type().and_then(|it| it.attribute("name")))?;
    let name: String = clean(name).chars().take(MAX_NAME_CHARACTERS).collect();
    Some(name).filter(|name| !name.is_empty())
}

/// The parts between the lines of a boundary, at most so many. A part that is not ended reaches to the end.
fn split<'a>(body: &'a [u8], boundary: &[u8], most: usize) -> Vec<&'a [u8]> {
    let boundary = boundary.trim_ascii_end();
    let (mut pieces, mut start, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let rest = line.strip_prefix(b"--").and_then(|it| it.strip_prefix(boundary)).map(|it| it.trim_ascii());
        if let Some(rest @ (b"" | b"--")) = rest {
            if let Some(start) = start {
                // The line end before the boundary belongs to the boundary.
                pieces.push(bare(&body[start..at]));
            }
            start = (rest.is_empty()).then_some(at + line.len());
            if start.is_none() || pieces.len() >= most {
                return pieces;
            }
        }
        at += line.len();
    }
    pieces.extend(start.map(|start| &body[start..]));
    pieces
}

/// The content of a part without its transfer encoding. What breaks the encoding is passed over.
fn decoded<'a>(body: &'a [u8], encoding: &str) -> Cow<'a, [u8]> {
    match encoding {
        "base64" => base64_decode(body).unwrap_or_else(|| lenient_base64(body)).into(),
        "quoted-printable" => quoted_printable_decode(body).unwrap_or_else(|| lenient_quoted_printable(body)).into(),
        _ => body.into(),
    }
}

fn lenient_base64(body: &[u8]) -> Vec<u8> {
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::with_capacity(body.len() / 4 * 3));
    for byte in body {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }
    if count > 1 {
        let last = (bits << (6 * (4 - count))).to_be_bytes();
        out.extend_from_slice(&last[1..count as usize]);
    }
    out
}

fn lenient_quoted_printable(body: &[u8]) -> Vec<u8> {
    let digit = |at: usize| body.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(body.len()), 0);
    while let Some(byte) = body.get(at) {
        at += match (byte, digit(at + 1), digit(at + 2)) {
            (b'=', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                3
            }
            (b'=', ..) if body[at + 1..].starts_with(b"\r\n") => 3,
            (b'=', ..) if body[at + 1..].starts_with(b"\n") => 2,
            _ => {
                out.push(*byte);
                1
            }
        };
    }
    out
}

/// The size of a file, without decoding it.
fn size(body: &[u8], encoding: &str) -> usize {
    match encoding {
        "base64" => {
            let is_digit = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
            body.iter().filter(is_digit).count() * 3 / 4
        }
        "quoted-printable" => lenient_quoted_printable(body).len(),
        _ => body.len(),
    }
}

/// The characters of a text in a charset. A text that says nothing, or that is UTF-8 although it says something narrower, is UTF-8; if it can't be,
/// it is Windows-1252, which mail programs of old write without saying so.
fn characters(bytes: &[u8], charset: Option<&str>) -> String {
    let named = charset.map(|it| it.trim().to_ascii_lowercase()).unwrap_or_default();
    let is_vague =
        matches!(named.as_str(), "" | "us-ascii" | "ascii" | "utf-8" | "utf8" | "unknown-8bit" | "x-unknown");
    let decoder = charset_decoder(named.as_bytes()).filter(|_| !is_vague);
    if let Some(decode) = decoder {
        return decode(bytes);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("\u{1b}$") => {
            encoding_rs::ISO_2022_JP.decode_without_bom_handling(bytes).0.into_owned()
        }
        Ok(text) => text.to_owned(),
        // A text that was cut, or that has a wrong byte here and there, stays UTF-8.
        Err(_) if is_mostly_utf8(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// Whether a text has more characters of several bytes than wrong bytes.
fn is_mostly_utf8(bytes: &[u8]) -> bool {
    let (mut wide, mut wrong) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        wide += chunk.valid().chars().filter(|it| !it.is_ascii()).count();
        wrong += chunk.invalid().len();
    }
    wide > wrong
}
