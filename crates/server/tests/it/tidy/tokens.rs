//! A minimal part of Rust's syntax that distinguishes code from comments and strings: tokens with their lines, and the paths
//! that they form. It does not know the rules.

use std::collections::HashMap;

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A name or a keyword.
    Word,
    /// A string literal's content, escapes as written.
    Text,
    /// A symbol: `::`, `==` and `!=` are one token each, every other character is a token of its own.
    Sign,
    /// A number, a character or a lifetime.
    Other,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
    /// Whether it is in a module under `#[cfg(test)]`.
    pub in_test: bool,
    /// The number of inline modules around it.
    pub inline_modules: usize,
}

/// A path in a `use` tree or an expression, with groups expanded: `std::fs::File`.
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
    pub in_test: bool,
    pub inline_modules: usize,
}

pub fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Scanner { source: source.as_bytes(), at: 0, line: 1, tokens: Vec::new() }.scan();
    mark_modules(&mut tokens);
    tokens
}

struct Scanner<'a> {
    source: &'a [u8],
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Scanner<'_> {
    fn scan(mut self) -> Vec<Token> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'/' if self.peek(1) == Some(b'/') => self.skip_while(|byte| byte != b'\n'),
                b'/' if self.peek(1) == Some(b'*') => self.skip_block_comment(),
                b'"' => self.string(0, false),
                b'\'' => self.quote(),
                b'0'..=b'9' => self.take(Kind::Other, is_word),
                _ if is_word(byte) => self.word(),
                _ if byte.is_ascii_whitespace() => self.step(),
                _ => self.sign(),
            }
        }
        self.tokens
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn step(&mut self) {
        self.line += usize::from(self.peek(0) == Some(b'\n'));
        self.at += 1;
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.step();
        }
    }

    fn push(&mut self, kind: Kind, from: usize, to: usize, line: usize) {
        let text = String::from_utf8_lossy(&self.source[from.min(to)..to]).into_owned();
        self.tokens.push(Token { kind, text, line, in_test: false, inline_modules: 0 });
    }

    fn take(&mut self, kind: Kind, keep: impl Fn(u8) -> bool) {
        let from = self.at;
        self.skip_while(keep);
        self.push(kind, from, self.at, self.line);
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while self.peek(0).is_some() {
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => depth += 1,
                (Some(b'*'), Some(b'/')) => depth -= 1,
                _ => {
                    self.step();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// A name, or the prefix of a literal: `r"…"`, `b'…'`, `br#"…"#`.
    fn word(&mut self) {
        let from = self.at;
        self.skip_while(is_word);
        let word = &self.source[from..self.at];
        let hashes = self.source[self.at..].iter().take_while(|&&byte| byte == b'#').count();
        match (word, self.peek(hashes)) {
            (b"r" | b"br" | b"cr", Some(b'"')) => self.string(hashes, true),
            (b"b" | b"c", Some(b'"')) if hashes == 0 => self.string(0, false),
            (b"b", Some(b'\'')) if hashes == 0 => self.quote(),
            (b"r", Some(byte)) if hashes == 1 && is_word(byte) => {
                self.at += 1;
                self.take(Kind::Word, is_word);
            }
            _ => self.push(Kind::Word, from, self.at, self.line),
        }
    }

    fn string(&mut self, hashes: usize, raw: bool) {
        let line = self.line;
        self.at += hashes + 1;
        let from = self.at;
        while let Some(byte) = self.peek(0) {
            let ends = byte == b'"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some(b'#'));
            if ends {
                break;
            }
            if byte == b'\\' && !raw {
                self.step();
            }
            self.step();
        }
        self.push(Kind::Text, from, self.at.min(self.source.len()), line);
        self.at += 1 + hashes;
    }

    /// A character or a lifetime.
    fn quote(&mut self) {
        let from = self.at;
        self.step();
        if self.peek(0) == Some(b'\\') {
            self.at += 2;
            self.skip_while(|byte| byte != b'\'');
            self.step();
        } else {
            let character = String::from_utf8_lossy(&self.source[self.at..(self.at + 4).min(self.source.len())])
                .chars()
                .next()
                .map_or(1, char::len_utf8);
            if self.peek(character) == Some(b'\'') {
                self.step();
                self.at += character;
            } else {
                self.skip_while(is_word);
            }
        }
        self.push(Kind::Other, from, self.at.min(self.source.len()), self.line);
    }

    fn sign(&mut self) {
        let (from, line) = (self.at, self.line);
        let pair = matches!((self.peek(0), self.peek(1)), (Some(b':'), Some(b':')) | (Some(b'=' | b'!'), Some(b'=')));
        self.at += if pair { 2 } else { 1 };
        self.push(Kind::Sign, from, self.at, line);
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Records for each token which inline modules contain it, and whether one of them is for tests.
fn mark_modules(tokens: &mut [Token]) {
    let texts: Vec<String> =
        tokens.iter().map(|token| if token.kind == Kind::Text { String::new() } else { token.text.clone() }).collect();
    let is = |at: usize, wanted: &[&str]| {
        wanted.iter().enumerate().all(|(n, text)| texts.get(at + n).is_some_and(|found| found == text))
    };
    let mut depth = 0;
    let mut modules: Vec<(usize, bool)> = Vec::new();
    let mut test_is_next = false;
    let mut opens_module: HashMap<usize, bool> = HashMap::new();
    for at in 0..tokens.len() {
        if is(at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            test_is_next = true;
        }
        if texts[at] == "mod" && texts.get(at + 2).is_some_and(|text| text == "{") {
            opens_module.insert(at + 2, test_is_next);
        }
        if matches!(texts[at].as_str(), "mod" | "fn" | "use" | "struct" | "enum" | "impl" | "const" | "static") {
            test_is_next = false;
        }
        match texts[at].as_str() {
            "{" => {
                depth += 1;
                if let Some(&test) = opens_module.get(&at) {
                    modules.push((depth, test));
                }
            }
            "}" => {
                modules.pop_if(|(opened, _)| *opened == depth);
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        tokens[at].in_test = modules.iter().any(|(_, test)| *test);
        tokens[at].inline_modules = modules.len();
    }
}

/// Every path of two segments or more, and every path that `use` imports.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let imports = tokens[at].kind == Kind::Word && tokens[at].text == "use";
        let starts = tokens[at].kind == Kind::Word
            && tokens.get(at + 1).is_some_and(|next| next.text == "::" && next.kind == Kind::Sign);
        if imports {
            at = branch(tokens, at + 1, &[], &mut found);
        } else if starts {
            let mut end = at;
            while is_sign(tokens, end + 1, "::") && tokens.get(end + 2).is_some_and(|token| token.kind == Kind::Word) {
                end += 2;
            }
            let segments = (at..=end).step_by(2).map(|word| tokens[word].text.clone()).collect();
            found.push(path(segments, &tokens[at]));
            at = end + 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one branch of a `use` tree from `at` on and returns its end.
fn branch(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let mut segments = before.to_vec();
    while let Some(token) = tokens.get(at) {
        match (&token.kind, token.text.as_str()) {
            (Kind::Sign, "::") => at += 1,
            (Kind::Sign, "{") => {
                at += 1;
                while at < tokens.len() && !is_sign(tokens, at, "}") {
                    at = branch(tokens, at, &segments, found);
                    at += usize::from(is_sign(tokens, at, ","));
                }
                return at + 1;
            }
            (Kind::Word, "as") => at += 2,
            (Kind::Word, _) | (Kind::Sign, "*") => {
                segments.push(token.text.clone());
                at += 1;
            }
            _ => {
                found.push(path(segments, token));
                // For any other token, the tree continues only after a comma.
                return if matches!(token.text.as_str(), "," | "}" | ";") { at } else { at + 1 };
            }
        }
    }
    at
}

fn path(segments: Vec<String>, from: &Token) -> Path {
    Path { segments, line: from.line, in_test: from.in_test, inline_modules: from.inline_modules }
}

fn is_sign(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.kind == Kind::Sign && token.text == text)
}

fn spelled(source: &str) -> Vec<String> {
    paths(&tokens(source)).into_iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn use_trees_are_expanded() {
    assert_eq!(
        spelled("use std::{fs, time::{SystemTime, Duration as D}, io::*}; pub use pg; fn f() { crate::a::b::<T>() }"),
        ["std::fs", "std::time::SystemTime", "std::time::Duration", "std::io::*", "pg", "crate::a::b"]
    );
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let source = "// a::b\n/* c::d /* e::f */ */ let x = \"g::h \\\" i::j\"; r#\"k::l \" m::n\"#; '\"'; '\\''; 'x: o::p; b'\"'; q::r";
    assert_eq!(spelled(source), ["o::p", "q::r"]);
}

#[test]
fn what_is_under_cfg_test_is_known() {
    let all = tokens("fn a() { one } #[cfg(test)] mod tests { mod deeper { two } three } four");
    let seen =
        |name: &str| all.iter().find(|token| token.text == name).map(|token| (token.in_test, token.inline_modules));
    assert_eq!(
        [seen("one"), seen("two"), seen("three"), seen("four")],
        [Some((false, 0)), Some((true, 2)), Some((true, 1)), Some((false, 0))]
    );
}
