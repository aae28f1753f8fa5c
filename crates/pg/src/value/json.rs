//! Converts `json`, which keeps its input text, to jsonb's normal form: keys ordered by length and bytes, the last of equal
//! keys kept, numbers without exponents, strings with the fewest escapes.
//!
//! It makes two passes over the text, both with an explicit stack on the heap. The first checks the grammar and records
//! where the objects' members are. If nothing needs to change, the text is returned as it is. The second writes the members
//! in their new order. Both are linear except for sorting each object's keys.

use std::cmp::Ordering;
use std::ops::Range;

use super::number::Literal;
use super::{Stop, Writer, quote};

/// The result of the first pass. Positions are `u32`, which halves the size of an outline that is larger than the text
/// itself.
#[derive(Default)]
struct Outline {
    /// Objects in the order of their opening braces.
    objects: Vec<Object>,
    /// Members to be written. Those of one object are together and in order.
    members: Vec<ObjectMember>,
    /// Keys with their escapes resolved.
    keys: Vec<u8>,
    /// True while jsonb would write the tokens unchanged.
    is_normal: bool,
}

#[derive(Default)]
struct Object {
    members: Range<u32>,
    /// The position after it.
    end: u32,
    /// The number of the first object that begins after it.
    next: u32,
}

#[derive(Clone)]
struct ObjectMember {
    key: Range<u32>,
    value: Range<u32>,
    /// The number of the first object that begins in the value or after it.
    first_object: u32,
    /// Whether the key is in `Outline::keys`. Otherwise it is in the text between its quotes.
    key_is_resolved: bool,
}

impl ObjectMember {
    fn key<'k>(&self, text: &'k [u8], keys: &'k [u8]) -> &'k [u8] {
        let from = if self.key_is_resolved { keys } else { text };
        &from[wide(&self.key)]
    }
}

fn wide(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn narrow(range: Range<usize>) -> Range<u32> {
    range.start as u32..range.end as u32
}

impl Writer<'_> {
    pub(super) fn json(&mut self, text: &[u8]) -> Result<(), Stop> {
        let is_text = text.is_ascii() || std::str::from_utf8(text).is_ok();
        if !is_text || u32::try_from(text.len()).is_err() {
            return Err(Stop::Malformed);
        }
        let outline = Scan::new(text).run()?;
        if outline.is_normal {
            return self.verbatim(text);
        }
        self.normalised(text, &outline)
    }

    fn normalised(&mut self, text: &[u8], outline: &Outline) -> Result<(), Stop> {
        // The objects being written: their number, the next member, and the position after the object.
        let mut open: Vec<(usize, u32, Range<usize>)> = Vec::new();
        let (mut left, mut object) = (0..text.len(), 0_usize);
        loop {
            while let Some(&byte) = text.get(left.start).filter(|_| left.start < left.end) {
                match byte {
                    b'{' => {
                        let members = &outline.objects[object].members;
                        open.push((object, members.start, left.clone()));
                        self.out.push(b'{');
                        // The code below writes its members next.
                        left = 0..0;
                    }
                    b'"' => left.start = self.json_string(text, left.start)?,
                    b'-' | b'0'..=b'9' => {
                        let token = &text[left.clone()];
                        let (number, len) = Literal::read(token).ok_or(Stop::Malformed)?;
                        self.literal(&number, &token[..len])?;
                        left.start += len;
                    }
                    b' ' | b'\t' | b'\n' | b'\r' => left.start += 1,
                    // Brackets, commas, and the letters of true, false and null.
                    _ => {
                        self.out.push(byte);
                        left.start += 1;
                    }
                }
                self.room(0)?;
            }
            let Some((current, next, after)) = open.last_mut() else { return Ok(()) };
            let Object { members, end, next: next_object } = &outline.objects[*current];
            if *next == members.end {
                self.out.push(b'}');
                (left, object) = (*end as usize..after.end, *next_object as usize);
                open.pop();
                continue;
            }
            let member = &outline.members[*next as usize];
            if *next > members.start {
                self.out.push(b',');
            }
            *next += 1;
            let key = member.key(text, &outline.keys);
            if member.key_is_resolved {
                quote(key, self.out);
            } else {
                self.out.push(b'"');
                self.out.extend_from_slice(key);
                self.out.push(b'"');
            }
            self.out.push(b':');
            (left, object) = (wide(&member.value), member.first_object as usize);
        }
    }

    /// Writes the string that begins at `at` with the escapes that jsonb uses. Returns its end.
    fn json_string(&mut self, text: &[u8], at: usize) -> Result<usize, Stop> {
        let (end, has_escapes) = string_end(text, at)?;
        let inside = &text[at + 1..end - 1];
        let mut resolved = Vec::new();
        if has_escapes && resolve(inside, &mut resolved) {
            self.string(&resolved)?;
        } else {
            self.verbatim(&text[at..end])?;
        }
        Ok(end)
    }
}

/// A container that the first pass is inside.
enum Container {
    Array,
    Object {
        number: usize,
        /// The index of its first member in `Scan::pending`.
        members: usize,
    },
}

struct Scan<'t> {
    text: &'t [u8],
    at: usize,
    outline: Outline,
    inside: Vec<Container>,
    /// Members of the objects that are still open.
    pending: Vec<ObjectMember>,
}

impl<'t> Scan<'t> {
    fn new(text: &'t [u8]) -> Scan<'t> {
        let outline = Outline { is_normal: true, ..Outline::default() };
        Scan { text, at: 0, outline, inside: Vec::new(), pending: Vec::new() }
    }

    fn run(mut self) -> Result<Outline, Stop> {
        loop {
            // A value must follow.
            match self.peek()? {
                b'[' => {
                    self.at += 1;
                    if self.peek()? != b']' {
                        self.inside.push(Container::Array);
                        continue;
                    }
                    self.at += 1;
                }
                b'{' => {
                    self.at += 1;
                    let number = self.outline.objects.len();
                    self.outline.objects.push(Object::default());
                    self.inside.push(Container::Object { number, members: self.pending.len() });
                    if self.peek()? != b'}' {
                        self.key()?;
                        continue;
                    }
                    self.at += 1;
                    self.close_object();
                }
                _ => self.scalar()?,
            }
            // A value has ended. The value that contains it may end too.
            loop {
                let Some(inside) = self.inside.last() else {
                    self.skip_space();
                    let whole = self.at == self.text.len();
                    return if whole { Ok(self.outline) } else { Err(Stop::Malformed) };
                };
                let is_object = matches!(inside, Container::Object { .. });
                if let Some(member) = self.pending.last_mut().filter(|_| is_object) {
                    member.value.end = self.at as u32;
                }
                match (self.peek()?, is_object) {
                    (b',', false) => {
                        self.at += 1;
                        break;
                    }
                    (b',', true) => {
                        self.at += 1;
                        self.key()?;
                        break;
                    }
                    (b']', false) => {
                        self.at += 1;
                        self.inside.pop();
                    }
                    (b'}', true) => {
                        self.at += 1;
                        self.close_object();
                    }
                    _ => return Err(Stop::Malformed),
                }
            }
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8, Stop> {
        self.skip_space();
        self.text.get(self.at).copied().ok_or(Stop::Malformed)
    }

    /// Reads `"key":` and records a member whose value begins there.
    fn key(&mut self) -> Result<(), Stop> {
        self.peek()?;
        let (end, has_escapes) = string_end(self.text, self.at)?;
        let inside = self.at + 1..end - 1;
        let (mut key, mut key_is_resolved) = (narrow(inside.clone()), false);
        if has_escapes {
            self.outline.is_normal = false;
            let start = self.outline.keys.len();
            key_is_resolved = resolve(&self.text[inside], &mut self.outline.keys);
            if key_is_resolved {
                key = narrow(start..self.outline.keys.len());
            } else {
                self.outline.keys.truncate(start);
            }
        }
        self.at = end;
        if self.peek()? != b':' {
            return Err(Stop::Malformed);
        }
        self.at += 1;
        let first_object = self.outline.objects.len() as u32;
        let value = narrow(self.at..self.at);
        self.pending.push(ObjectMember { key, value, first_object, key_is_resolved });
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Stop> {
        let rest = &self.text[self.at..];
        for word in [&b"true"[..], b"false", b"null"] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        if rest[0] == b'"' {
            let (end, has_escapes) = string_end(self.text, self.at)?;
            self.outline.is_normal &= !has_escapes;
            self.at = end;
            return Ok(());
        }
        let (number, len) = Literal::read(rest).ok_or(Stop::Malformed)?;
        self.outline.is_normal &= number.is_plain();
        self.at += len;
        Ok(())
    }

    /// Sorts the members of the innermost object and keeps only the last of equal keys.
    fn close_object(&mut self) {
        let Some(Container::Object { number, members }) = self.inside.pop() else { return };
        let (text, outline) = (self.text, &mut self.outline);
        let keys = &outline.keys;
        let order = |a: &ObjectMember, b: &ObjectMember| {
            let (a, b) = (a.key(text, keys), b.key(text, keys));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        };
        let own = &mut self.pending[members..];
        if !own.is_sorted_by(|a, b| order(a, b) == Ordering::Less) {
            outline.is_normal = false;
            // The sort is stable, so that the last of equal keys stays last.
            own.sort_by(order);
        }
        let start = outline.members.len();
        for index in 0..own.len() {
            let is_last = own.get(index + 1).is_none_or(|next| order(&own[index], next).is_ne());
            if is_last {
                outline.members.push(own[index].clone());
            }
        }
        self.pending.truncate(members);
        let next = outline.objects.len() as u32;
        let members = narrow(start..outline.members.len());
        outline.objects[number] = Object { members, end: self.at as u32, next };
    }
}

/// The end of the string that begins at `at` (after its quote), and whether it contains escapes.
fn string_end(text: &[u8], at: usize) -> Result<(usize, bool), Stop> {
    if text.get(at) != Some(&b'"') {
        return Err(Stop::Malformed);
    }
    let (mut at, mut has_escapes) = (at + 1, false);
    loop {
        match text.get(at).ok_or(Stop::Malformed)? {
            b'"' => return Ok((at + 1, has_escapes)),
            b'\\' => {
                has_escapes = true;
                at += match text.get(at + 1).ok_or(Stop::Malformed)? {
                    b'u' if hex(text, at + 2).is_some() => 6,
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                    _ => return Err(Stop::Malformed),
                };
            }
            0..0x20 => return Err(Stop::Malformed),
            _ => at += 1,
        }
    }
}

/// The four hexadecimal digits of a `\u` escape.
fn hex(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?;
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}

/// Appends a string's content without its escapes. False if jsonb rejects it: U+0000, half a surrogate pair.
fn resolve(inside: &[u8], into: &mut Vec<u8>) -> bool {
    let mut at = 0;
    while at < inside.len() {
        if inside[at] != b'\\' {
            into.push(inside[at]);
            at += 1;
            continue;
        }
        let Some(escape) = inside.get(at + 1) else { return false };
        at += 2;
        into.push(match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let Some(mut code) = hex(inside, at) else { return false };
                at += 4;
                if (0xd800..0xdc00).contains(&code) && inside[at..].starts_with(b"\\u") {
                    let Some(low @ 0xdc00..0xe000) = hex(inside, at + 2) else { return false };
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
                match char::from_u32(code) {
                    None | Some('\0') => return false,
                    Some(char) => into.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
                }
                continue;
            }
            other => *other,
        });
    }
    true
}
