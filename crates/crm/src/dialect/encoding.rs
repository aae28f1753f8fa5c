//! Reads a body as the text of a file, in any encoding that spreadsheets write.

use serde_json::{Map, Value};

use crate::model::call::Call;
use crate::model::fault::Fault;

/// The argument that holds the file's text.
pub const FILE: &str = "csv";

/// Reads the body of a call as the text of a file.
pub fn body(call: &Call<'_>) -> Result<Map<String, Value>, Fault> {
    let media_type = call.media_type();
    if !media_type.eq_ignore_ascii_case("text/csv") {
        return Err(Fault::UnsupportedMediaType { sent: media_type.to_owned() });
    }
    Ok([(FILE.to_owned(), Value::String(decoded(call.body)))].into_iter().collect())
}

/// The text of a file: UTF-8, UTF-16 with a mark at its beginning, or else Windows-1252, which spreadsheets write.
fn decoded(bytes: &[u8]) -> String {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        bytes => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => bytes.iter().map(|byte| windows_1252(*byte)).collect(),
            }
        }
    }
}

/// A byte of the encoding Windows-1252.
fn windows_1252(byte: u8) -> char {
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => UPPER[usize::from(byte - 0x80)],
        byte => char::from(byte),
    }
}
