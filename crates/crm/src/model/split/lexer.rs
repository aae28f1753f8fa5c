//! The lexer: the kind, the start and the end of each token. It splits operators and signed exponents into single
//! marks, because no caller needs them whole.

use super::SplitError;

/// A token of a text. It begins at the byte `start`.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) text: &'a str,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A keyword, or an identifier without quotes.
    Word,
    /// A string or an identifier in quotes of any kind.
    Quoted,
    Number,
    Parameter(u32),
    /// Any other single byte. An operator of several characters is several marks.
    Mark,
}

impl Token<'_> {
    /// Whether this is the given keyword, ignoring case, or the given mark.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn mark(&self) -> Option<u8> {
        if self.kind == Kind::Mark { self.text.bytes().next() } else { None }
    }
}

/// The tokens of a text, without white space and comments. The iterator ends after an error.
#[derive(Clone)]
pub(super) struct Tokens<'a> {
    pub(super) sql: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(sql: &'a str) -> Tokens<'a> {
        Tokens { sql, at: 0 }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, SplitError>;

    fn next(&mut self) -> Option<Self::Item> {
        let token = self.skip_blanks().and_then(|start| {
            let Some(first) = self.byte(start) else {
                return Ok(None);
            };
            let (kind, end) = self.token(start, first)?;
            self.at = end;
            Ok(Some(Token { kind, start, text: &self.sql[start..end] }))
        });
        if token.is_err() {
            self.at = self.sql.len();
        }
        token.transpose()
    }
}

/// The escape rules of a string.
#[derive(Clone, Copy, PartialEq)]
enum EscapeRules {
    /// Two quotes in a row are one quote.
    Quotes,
    /// The same, and a backslash escapes the next byte.
    QuotesAndBackslashes,
    /// Bits and hexadecimal digits. Two quotes in a row are the end of one string and the beginning of the next.
    Digits,
}

impl Tokens<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.sql.as_bytes().get(at).copied()
    }

    fn has(&self, at: usize, what: &[u8]) -> bool {
        self.sql.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(what))
    }

    /// Returns the first index from `at` whose byte does not match.
    fn run(&self, at: usize, of: fn(u8) -> bool) -> usize {
        let mut end = at;
        while self.byte(end).is_some_and(of) {
            end += 1;
        }
        end
    }

    /// Skips white space and comments. Returns the index after them.
    fn skip_blanks(&mut self) -> Result<usize, SplitError> {
        loop {
            self.at = if self.byte(self.at).is_some_and(is_space) {
                self.at + 1
            } else if self.has(self.at, b"--") {
                self.run(self.at, is_within_line)
            } else if self.has(self.at, b"/*") {
                self.block_comment(self.at)?
            } else {
                return Ok(self.at);
            };
        }
    }

    fn block_comment(&self, start: usize) -> Result<usize, SplitError> {
        let mut depth = 1_usize;
        let mut at = start + 2;
        while depth > 0 {
            if self.has(at, b"/*") {
                depth += 1;
                at += 2;
            } else if self.has(at, b"*/") {
                depth -= 1;
                at += 2;
            } else if at < self.sql.len() {
                at += 1;
            } else {
                return Err(SplitError::Unterminated { what: "comment", offset: start });
            }
        }
        Ok(at)
    }

    /// Returns the kind and the end of the token that begins at `start` with the byte `first`.
    fn token(&self, start: usize, first: u8) -> Result<(Kind, usize), SplitError> {
        match first {
            b'\'' => self.string(start, 1, EscapeRules::Quotes),
            b'"' => self.quoted_identifier(start, 1),
            b'e' | b'E' if self.has(start + 1, b"'") => self.string(start, 2, EscapeRules::QuotesAndBackslashes),
            b'b' | b'B' | b'x' | b'X' if self.has(start + 1, b"'") => self.string(start, 2, EscapeRules::Digits),
            b'u' | b'U' if self.has(start + 1, b"&'") => self.string(start, 3, EscapeRules::Quotes),
            b'u' | b'U' if self.has(start + 1, b"&\"") => self.quoted_identifier(start, 3),
            b'$' => self.dollar(start),
            b'0'..=b'9' => Ok((Kind::Number, self.number(start))),
            first if begins_word(first) => Ok((Kind::Word, self.run(start, continues_word))),
            _ => Ok((Kind::Mark, start + 1)),
        }
    }

    /// The N of `N'…'` is a separate word, as in the server.
    fn string(&self, start: usize, prefix: usize, inside: EscapeRules) -> Result<(Kind, usize), SplitError> {
        let mut at = start + prefix;
        while let Some(byte) = self.byte(at) {
            at += match byte {
                b'\\' if inside == EscapeRules::QuotesAndBackslashes => 2,
                b'\'' if inside != EscapeRules::Digits && self.has(at + 1, b"'") => 2,
                b'\'' => match self.continuation(at + 1) {
                    Some(resumed) => resumed - at,
                    None => return Ok((Kind::Quoted, at + 1)),
                },
                _ => 1,
            };
        }
        Err(SplitError::Unterminated { what: "string", offset: start })
    }

    /// Returns the index in the next part of a string, if the string continues. A string continues after white space
    /// with a line break, by the rules of its first part: in `E'a'⏎'\''` the backslash is an escape. Line comments
    /// count as white space here; block comments do not.
    fn continuation(&self, end: usize) -> Option<usize> {
        let mut at = end;
        let mut line_break = false;
        loop {
            match self.byte(at)? {
                b'\'' if line_break => return Some(at + 1),
                byte if is_space(byte) => {
                    line_break |= !is_within_line(byte);
                    at += 1;
                }
                b'-' if self.has(at, b"--") => at = self.run(at, is_within_line),
                _ => return None,
            }
        }
    }

    fn quoted_identifier(&self, start: usize, prefix: usize) -> Result<(Kind, usize), SplitError> {
        let mut at = start + prefix;
        loop {
            at = self.run(at, |byte| byte != b'"');
            if self.has(at, b"\"\"") {
                at += 2;
            } else if self.has(at, b"\"") {
                return Ok((Kind::Quoted, at + 1));
            } else {
                return Err(SplitError::Unterminated { what: "quoted identifier", offset: start });
            }
        }
    }

    /// A parameter, a dollar-quoted string or a single dollar sign. A dollar sign inside a word does not get here.
    fn dollar(&self, start: usize) -> Result<(Kind, usize), SplitError> {
        let digits = self.run(start + 1, |byte| byte.is_ascii_digit());
        if digits > start + 1 {
            let number = self.sql[start + 1..digits].parse().unwrap_or(u32::MAX);
            return Ok((Kind::Parameter(number), self.trailing_junk(digits)));
        }
        let tag = self.run(start + 1, |byte| continues_word(byte) && byte != b'$');
        if !self.has(tag, b"$") {
            return Ok((Kind::Mark, start + 1));
        }
        let delimiter = &self.sql[start..=tag];
        match self.sql[tag + 1..].find(delimiter) {
            Some(length) => Ok((Kind::Quoted, tag + 1 + length + delimiter.len())),
            None => Err(SplitError::Unterminated { what: "dollar-quoted string", offset: start }),
        }
    }

    /// `1..2` is a number, two dots and a number. The sign of an exponent is a separate mark.
    fn number(&self, start: usize) -> usize {
        let mut end = self.run(start, |byte| byte.is_ascii_digit());
        if self.has(end, b".") && !self.has(end, b"..") {
            end = self.run(end + 1, |byte| byte.is_ascii_digit());
        }
        self.trailing_junk(end)
    }

    /// Letters directly after a number belong to it. They are part of `0x1F`, `1e6` and `1_000`, or the server rejects
    /// them. So the E of `1E'…'` does not begin a string.
    fn trailing_junk(&self, end: usize) -> usize {
        if self.byte(end).is_some_and(begins_word) { self.run(end, continues_word) } else { end }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// A line comment ends at either of the two line-break bytes, also if it occurs alone.
fn is_within_line(byte: u8) -> bool {
    !matches!(byte, b'\n' | b'\r')
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}
