//! Estimates the memory of a body's tree in one pass over the text, without building the tree. The pass assumes that
//! the text is JSON. If it is not, the parser stops at the error, and the part that it has built is within the
//! estimate.

use std::mem::size_of;

use serde_json::Value;

use super::tree::SPARE;

/// Maximum nesting of arrays and objects. The parser has the same limit.
pub const MAX_DEPTH: usize = 127;

/// Bytes of a value in an array.
const VALUE: usize = size_of::<Value>();
/// Bytes of a member in an object: its hash, its key and its value.
const MEMBER: usize = size_of::<u64>() + size_of::<String>() + VALUE;
/// Bytes of one slot in an object's index.
const PLACE: usize = size_of::<usize>() + 1;
/// The allocator rounds sizes up to a multiple of this. The text of a number takes at least one step.
const STEP: usize = 16;

/// The number of values in a body, and the memory of its tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// The number of values, including arrays and objects.
    pub values: usize,
    /// Whether the nesting is deeper than [`MAX_DEPTH`]. Values after that point are not counted.
    pub is_too_deep: bool,
    /// An upper bound of the tree's memory in bytes, also during construction.
    pub tree_bytes: usize,
}

/// An array or object that is not yet closed.
#[derive(Clone, Copy, Default)]
struct Open {
    is_object: bool,
    children: usize,
}

struct Scale {
    weight: Weight,
    open: [Open; MAX_DEPTH],
    depth: usize,
    /// Whether a string at this position is a key.
    at_key: bool,
    /// The largest number of extra bytes that an array or object of each depth needs while it grows.
    growing: [usize; MAX_DEPTH],
    /// The length of the longest string with escapes. The parser decodes such a string into a buffer first.
    longest_escaped: usize,
}

/// Counts the values of a body and estimates the memory of its tree. Text that is not JSON is no error here.
pub fn weigh(text: &[u8]) -> Weight {
    let mut scale = Scale {
        weight: Weight::default(),
        open: [Open::default(); MAX_DEPTH],
        depth: 0,
        at_key: false,
        growing: [0; MAX_DEPTH],
        longest_escaped: 0,
    };
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at = match byte {
            b'"' => scale.string(text, at + 1),
            b'[' | b'{' if scale.depth == MAX_DEPTH => {
                scale.weight.is_too_deep = true;
                break;
            }
            b'[' | b'{' => {
                scale.open(*byte == b'{');
                at + 1
            }
            b']' | b'}' => {
                scale.close();
                at + 1
            }
            b',' => {
                scale.at_key = scale.depth > 0 && scale.open[scale.depth - 1].is_object;
                at + 1
            }
            b':' => {
                scale.at_key = false;
                at + 1
            }
            b' ' | b'\t' | b'\r' | b'\n' => at + 1,
            _ => scale.scalar(text, at),
        };
    }
    scale.total()
}

impl Scale {
    fn value(&mut self) {
        self.weight.values += 1;
        if let Some(parent) = self.depth.checked_sub(1) {
            self.open[parent].children += 1;
        }
    }

    fn open(&mut self, is_object: bool) {
        self.value();
        self.open[self.depth] = Open { is_object, children: 0 };
        self.depth += 1;
        self.at_key = is_object;
    }

    fn close(&mut self) {
        self.at_key = false;
        let Some(depth) = self.depth.checked_sub(1) else { return };
        self.depth = depth;
        let (kept, growing) = self.open[depth].bytes();
        self.weight.tree_bytes += kept;
        self.growing[depth] = self.growing[depth].max(growing);
    }

    /// Skips a string whose first character is at `start`. Returns the index after its closing quote.
    fn string(&mut self, text: &[u8], start: usize) -> usize {
        let (mut at, mut is_escaped) = (start, false);
        while let Some(byte) = text.get(at) {
            match byte {
                b'"' => break,
                b'\\' => {
                    is_escaped = true;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        let len = at.min(text.len()) - start;
        self.weight.tree_bytes += room(len);
        if is_escaped {
            self.longest_escaped = self.longest_escaped.max(len);
        }
        if !self.at_key {
            self.value();
        }
        at + 1
    }

    /// Skips a number or a word. Returns the index after it.
    fn scalar(&mut self, text: &[u8], start: usize) -> usize {
        let is_end =
            |byte: &u8| matches!(byte, b',' | b':' | b'"' | b'[' | b'{' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
        let len = text[start..].iter().position(is_end).unwrap_or(text.len() - start);
        if matches!(text[start], b'0'..=b'9' | b'-') {
            self.weight.tree_bytes += len.next_power_of_two().max(STEP);
        }
        self.value();
        start + len
    }

    fn total(mut self) -> Weight {
        // Arrays and objects that are still open count as if the text closed them.
        while self.depth > 0 {
            self.close();
        }
        let growing: usize = self.growing.iter().sum();
        self.weight.tree_bytes += growing + VALUE + 2 * self.longest_escaped;
        self.weight
    }
}

impl Open {
    /// The bytes of the finished array or object, and the extra bytes while it grows.
    fn bytes(self) -> (usize, usize) {
        let count = self.children;
        match (count, self.is_object) {
            (0, _) => (0, 0),
            (_, false) => {
                let grown = count.next_power_of_two().max(4);
                let kept = if grown - count > SPARE { count } else { grown };
                (room(kept * VALUE), if grown > 4 { grown * VALUE } else { 0 })
            }
            (_, true) => {
                let places = if count < 4 { 4 } else { (count * 8 / 7 + 1).next_power_of_two() };
                let members = if places == 4 { 3 } else { places / 8 * 7 };
                let bytes = room(members.max(count) * MEMBER) + room(places * PLACE + STEP);
                (bytes, if places > 4 { bytes / 2 } else { 0 })
            }
        }
    }
}

/// The bytes that the allocator reserves for `len` bytes.
fn room(len: usize) -> usize {
    if len > 1024 { len + len / 16 } else { len.next_multiple_of(STEP) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, values: usize) {
        assert_eq!(weigh(text.as_bytes()).values, values, "{text}");
    }

    #[test]
    fn values_are_counted_and_keys_are_not() {
        check("", 0);
        check("1", 1);
        check("{}", 1);
        check(r#"{"a": 1, "b": "x", "c": [1, "2", null, true], "d": {"e": {}}}"#, 10);
        check(r#"{"a\"b": "c\\", "d": "]"}"#, 3);
        check(r#"["a", "b", ["c"]]"#, 5);
        check(r#"["unfinished"#, 2);
        check(r#"["unfinished\"#, 2);
        check("]]}}", 0);
    }

    #[test]
    fn depth_is_seen_where_the_parser_sees_it() {
        for (depth, is_too_deep) in [(MAX_DEPTH, false), (MAX_DEPTH + 1, true), (200_000, true)] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(weigh(text.as_bytes()).is_too_deep, is_too_deep, "{depth}");
            assert_eq!(super::super::parse(text.as_bytes()).is_err(), is_too_deep, "{depth}");
        }
    }

    /// The bytes of a tree, as far as they can be measured.
    fn bytes(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) => 0,
            Value::Number(number) => number.as_str().len(),
            Value::String(text) => text.capacity(),
            Value::Array(items) => items.capacity() * VALUE + items.iter().map(bytes).sum::<usize>(),
            Value::Object(members) => {
                members.iter().map(|(key, value)| MEMBER + key.capacity() + bytes(value)).sum::<usize>()
            }
        }
    }

    #[test]
    fn no_tree_costs_more_than_was_said() {
        let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
        for text in [
            list("1", 50_000),
            list("[]", 50_000),
            list("[1]", 50_000),
            list("{}", 20_000),
            list(r#"{"a":1}"#, 20_000),
            list(r#"{"a":1,"b":2,"c":3,"d":4}"#, 20_000),
            list(r#""x""#, 20_000),
            list("-0.006929283495992422", 20_000),
            format!("{{{}}}", (0..20_000).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",")),
            format!("[\"{}\"]", "x".repeat(100_000)),
            // The string is decoded into a buffer, which counts too.
            format!("[\"{}\"]", "\\n".repeat(50_000)),
        ] {
            let said = weigh(text.as_bytes()).tree_bytes;
            let costs = bytes(&super::super::parse(text.as_bytes()).unwrap());
            assert!(said >= costs, "{said} < {costs}: {}", &text[..40]);
            assert!(said <= 4 * costs.max(text.len()) + 1024, "{said} > 4 * {costs}: {}", &text[..40]);
        }
    }
}
