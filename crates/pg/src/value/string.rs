//! JSON strings, with the escapes of the server's `escape_json`.

/// The character after the backslash for a byte that must be escaped. 0 for all others, `u` for `\u00XX`.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends `text` as a JSON string. Bytes that are not UTF-8 (which a database with encoding SQL_ASCII can contain) become
/// U+FFFD.
pub fn quote(text: &[u8], out: &mut Vec<u8>) {
    if text.is_ascii() || std::str::from_utf8(text).is_ok() {
        escape(text, out);
    } else {
        escape(String::from_utf8_lossy(text).as_bytes(), out);
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let (blocks, rest) = text.as_chunks::<16>();
    for block in blocks {
        // Checks the block as a whole, which the compiler turns into a few vector instructions.
        let special = block.iter().fold(false, |any, byte| any | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\'));
        if special { escape_bytes(block, out) } else { out.extend_from_slice(block) }
    }
    escape_bytes(rest, out);
    out.push(b'"');
}

fn escape_bytes(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut copied = 0;
    for (index, byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&text[copied..index]);
        copied = index + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'0', b'0', HEX[high], HEX[low]]);
        }
    }
    out.extend_from_slice(&text[copied..]);
}
