//! The lexer: where each token of a text begins and ends, and of which kind it is. Operators and numbers are cut as finely as
//! is easy; nobody asks for them whole.

use super::SplitError;

/// A token of a text, in which it begins at the byte `start`.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) text: &'a str,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A key word or an identifier without quotes.
    Word,
    /// A string or an identifier in quotes of any sort.
    Quoted,
    Number,
    Parameter(u32),
    /// Any other single byte. Operators come apart; nobody here asks for them whole.
    Mark,
}

impl Token<'_> {
    /// Whether this is the given key word, in any case, or the given mark.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn mark(&self) -> Option<u8> {
        if self.kind == Kind::Mark { self.text.bytes().next() } else { None }
    }
}

/// The tokens of a text without white space and comments. Ends after an error.
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

/// What stands for itself in a string.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    /// A doubled quote is one quote.
    Quotes,
    /// The same, and a backslash takes the next byte with it.
    QuotesAndBackslashes,
    /// Bits and hexadecimal digits: two quotes are the end of one string and the beginning of another.
    Digits,
}

impl Tokens<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.sql.as_bytes().get(at).copied()
    }

    fn has(&self, at: usize, what: &[u8]) -> bool {
        self.sql.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(what))
    }

    /// The first place from `at` on whose byte is not of the kind.
    fn run(&self, at: usize, of: fn(u8) -> bool) -> usize {
        let mut end = at;
        while self.byte(end).is_some_and(of) {
            end += 1;
        }
        end
    }

    /// Goes past white space and comments and gives where that ends.
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

    /// The kind and the end of the token that begins at `start` with the byte `first`.
    fn token(&self, start: usize, first: u8) -> Result<(Kind, usize), SplitError> {
        match first {
            b'\'' => self.string(start, 1, Inside::Quotes),
            b'"' => self.quoted_identifier(start, 1),
            b'e' | b'E' if self.has(start + 1, b"'") => self.string(start, 2, Inside::QuotesAndBackslashes),
            b'b' | b'B' | b'x' | b'X' if self.has(start + 1, b"'") => self.string(start, 2, Inside::Digits),
            b'u' | b'U' if self.has(start + 1, b"&'") => self.string(start, 3, Inside::Quotes),
            b'u' | b'U' if self.has(start + 1, b"&\"") => self.quoted_identifier(start, 3),
            b'$' => self.dollar(start),
            b'0'..=b'9' => Ok((Kind::Number, self.number(start))),
            first if begins_word(first) => Ok((Kind::Word, self.run(start, continues_word))),
            _ => Ok((Kind::Mark, start + 1)),
        }
    }

    /// The N of `N'…'` is a word of its own, here as in the server.
    fn string(&self, start: usize, prefix: usize, inside: Inside) -> Result<(Kind, usize), SplitError> {
        let mut at = start + prefix;
        while let Some(byte) = self.byte(at) {
            at += match byte {
                b'\\' if inside == Inside::QuotesAndBackslashes => 2,
                b'\'' if inside != Inside::Digits && self.has(at + 1, b"'") => 2,
                b'\'' => match self.continuation(at + 1) {
                    Some(resumed) => resumed - at,
                    None => return Ok((Kind::Quoted, at + 1)),
                },
                _ => 1,
            };
        }
        Err(SplitError::Unterminated { what: "string", offset: start })
    }

    /// A string goes on after white space with a line break in it, and there by the rules it began with: so in
    /// `E'a'⏎'\''` the backslash counts. Line comments are white space here, block comments are not.
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

    /// A parameter, a dollar-quoted string, or a stray dollar sign. One inside a word never comes here.
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

    /// `1..2` is a number, two dots and a number. An exponent's sign comes as a mark of its own.
    fn number(&self, start: usize) -> usize {
        let mut end = self.run(start, |byte| byte.is_ascii_digit());
        if self.has(end, b".") && !self.has(end, b"..") {
            end = self.run(end + 1, |byte| byte.is_ascii_digit());
        }
        self.trailing_junk(end)
    }

    /// Letters right after a number belong to it, be it for `0x1F`, `1e6` and `1_000` or for the server to refuse:
    /// the E of `1E'…'` begins no string.
    fn trailing_junk(&self, end: usize) -> usize {
        if self.byte(end).is_some_and(begins_word) { self.run(end, continues_word) } else { end }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// Either of the two bytes that break lines ends a comment, also alone.
fn is_within_line(byte: u8) -> bool {
    !matches!(byte, b'\n' | b'\r')
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}
