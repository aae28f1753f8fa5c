//! Splits the text of a raw SQL request into its statements and says what kind each one is.
//!
//! The rules are those of PostgreSQL's lexer (`src/backend/parser/scan.l`, version 18) with
//! `standard_conforming_strings` on, and psql's for where a statement ends (`src/fe_utils/psqlscan.l`).
//! It is a lexer and not a parser: a text that is not SQL comes out as some statement, and the server is
//! left to refuse it. Nothing here judges what a caller may do; it knows no tables, keys or roles.
//!
//! Every pass is linear in the length of the text, and all tokens begin and end at ASCII bytes or at the
//! edge of a run of others, so that cutting the text at them never cuts a character.

use std::fmt;

/// One statement of a text, never an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// From the first byte of the first token to the last byte of the last one: no white space, comment or
    /// semicolon around it. So a line comment at its end cannot swallow what is put behind it.
    pub text: &'a str,
    /// Where `text` begins in the whole text, in bytes; error positions are shifted by it.
    pub offset: usize,
    /// What kind of statement it is, by its leading words.
    pub command: Command,
}

/// What a statement is, as far as its leading words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `BEGIN`, `START TRANSACTION`, `COMMIT`, `END`, `ROLLBACK` (also `TO`), `ABORT`, `SAVEPOINT`,
    /// `RELEASE`, `PREPARE TRANSACTION`, `COMMIT PREPARED`, `ROLLBACK PREPARED`, `SET TRANSACTION` and
    /// `SET SESSION CHARACTERISTICS`.
    TransactionControl,
    /// `COPY`, in either direction.
    Copy,
    /// May not run inside a transaction block: `VACUUM`, `CREATE` or `DROP INDEX CONCURRENTLY`, `CREATE
    /// DATABASE`, `ALTER SYSTEM` and so on. `REINDEX` and `CLUSTER` of a partitioned table may not either,
    /// which the text does not tell: they are `Definition`.
    NoTransaction,
    /// `SELECT`, `VALUES`, `TABLE`, `WITH` or an opening parenthesis: gives rows, and may be wrapped as a
    /// sub-select where it is balanced and does not modify data (`SELECT … INTO` does).
    Query,
    /// `SHOW`.
    Show,
    /// `EXPLAIN`, which with `ANALYZE` runs what it explains.
    Explain,
    /// `INSERT` (without a leading `WITH`; that is a `Query`, here and in the next three).
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `MERGE`.
    Merge,
    /// Changes the schema or rights: `CREATE`, `ALTER`, `DROP`, `COMMENT`, `GRANT`, `REVOKE`, `TRUNCATE` and
    /// the like; `DO` and `CALL` too, because they may hide such a statement.
    Definition,
    /// The rest: `SET`, `RESET`, `LISTEN`, `PREPARE`, `EXECUTE`, `DECLARE`, `FETCH`, `LOCK`, `ANALYZE` …, and
    /// whatever is not SQL.
    Other,
}

/// Why a text cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// Something was opened and not closed before the end of the text.
    Unterminated {
        /// `string`, `quoted identifier`, `dollar-quoted string` or `comment`.
        what: &'static str,
        /// Where it was opened, in bytes.
        offset: usize,
    },
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SplitError::Unterminated { what, offset } = self;
        write!(f, "unterminated {what} at byte {offset}")
    }
}

impl std::error::Error for SplitError {}

/// All statements of a text, in order; empty ones are dropped.
pub fn split(sql: &str) -> Result<Vec<Statement<'_>>, SplitError> {
    statements(sql).collect()
}

/// The statements of a text one by one, for callers that want no more than so many: ten megabytes may hold
/// five million. After an error there are no more.
pub fn statements(sql: &str) -> impl Iterator<Item = Result<Statement<'_>, SplitError>> {
    let mut tokens = Tokens { sql, at: 0 };
    std::iter::from_fn(move || next_statement(&mut tokens).transpose())
}

/// Statements that are looked at; a request with more of them is refused.
const MOST_STATEMENTS: usize = 100;

/// Whether a text of SQL may change tables or the definitions of custom fields, so that what is known of them is old.
pub fn may_change_catalog(sql: &str) -> bool {
    statements(sql).take(MOST_STATEMENTS).flatten().any(|statement| statement.may_change_catalog())
}

/// The table of custom fields' definitions.
const DEFINITIONS: &[u8] = b"custom_fields";

impl Statement<'_> {
    /// Whether it may change tables or the definitions of custom fields. A SELECT can call a function that does; that
    /// shows itself at the next look-up.
    pub fn may_change_catalog(&self) -> bool {
        matches!(self.command, Command::Definition | Command::NoTransaction)
            || (self.command == Command::Query && self.modifies_data())
            || self.text.as_bytes().windows(DEFINITIONS.len()).any(|it| it.eq_ignore_ascii_case(DEFINITIONS))
    }

    /// Whether INSERT, UPDATE, DELETE, MERGE or INTO (as of `SELECT … INTO`) stands anywhere outside quotes and
    /// comments. Meant for `Query` and `Explain`, whose first word does not tell. It errs towards yes:
    /// `FOR UPDATE` and a column called `update` are a yes too. It cannot see what functions do.
    pub fn modifies_data(&self) -> bool {
        let writes = ["INSERT", "UPDATE", "DELETE", "MERGE", "INTO"];
        self.tokens().any(|token| token.kind == Kind::Word && writes.iter().any(|word| token.is(word)))
    }

    /// The largest `$n` outside quotes and comments, 0 if there is none. A number past `u32` is `u32::MAX`.
    /// In a `BEGIN ATOMIC` body these are the function's arguments, and counted all the same.
    pub fn parameters(&self) -> u32 {
        let number = |token: Token<'_>| match token.kind {
            Kind::Parameter(number) => number,
            Kind::Word | Kind::Quoted | Kind::Number | Kind::Mark => 0,
        };
        self.tokens().map(number).max().unwrap_or(0)
    }

    /// Whether each parenthesis closes one opened before it, and none stays open. Where not,
    /// `SELECT 1) a, (SELECT 2` put between parentheses would become another statement.
    pub fn is_balanced(&self) -> bool {
        let mut depth = 0_usize;
        for token in self.tokens() {
            match token.mark() {
                Some(b'(') => depth += 1,
                Some(b')') if depth == 0 => return false,
                Some(b')') => depth -= 1,
                _ => {}
            }
        }
        depth == 0
    }

    fn tokens(&self) -> impl Iterator<Item = Token<'_>> {
        Tokens { sql: self.text, at: 0 }.map_while(Result::ok)
    }
}

// Where a statement ends.

/// Reads up to the next semicolon that is neither in parentheses (`CREATE RULE … DO (a; b)`) nor in a
/// `BEGIN ATOMIC` body. Parentheses or a body left open run to the end of the text, as in psql.
fn next_statement<'a>(tokens: &mut Tokens<'a>) -> Result<Option<Statement<'a>>, SplitError> {
    let mut span = None;
    let mut depth = 0_usize;
    let mut routine = Routine::default();
    for token in tokens.by_ref() {
        let token = token?;
        match token.mark() {
            Some(b';') if depth == 0 && routine.bodies == 0 => {
                if span.is_some() {
                    break;
                }
                continue;
            }
            Some(b'(') => depth += 1,
            Some(b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            routine.read(&token);
        }
        span = Some((span.map_or(token.start, |(first, _)| first), token.start + token.text.len()));
    }
    Ok(span.map(|(offset, end)| {
        let text = &tokens.sql[offset..end];
        Statement { text, offset, command: command(text) }
    }))
}

/// Follows a statement outside parentheses to know whether it stands in the body of an SQL routine.
///
/// psql counts any BEGIN, CASE and END of `CREATE FUNCTION`, and so loses its way at a column called `begin`
/// or `end`. The grammar is stricter: a body opens with BEGIN ATOMIC, each statement of it ends with a
/// semicolon, and no statement begins with END; so the END that closes it is the one right after a semicolon
/// or ATOMIC, and the END of a CASE never is.
#[derive(Default)]
struct Routine {
    heading: Heading,
    previous: Previous,
    bodies: usize,
}

/// How far `CREATE [OR REPLACE] {FUNCTION | PROCEDURE}` has been read.
#[derive(Clone, Copy, Default, PartialEq)]
enum Heading {
    #[default]
    Start,
    Create,
    CreateOr,
    CreateOrReplace,
    Routine,
    SomethingElse,
}

#[derive(Default, PartialEq)]
enum Previous {
    #[default]
    SomethingElse,
    Begin,
    AtomicOrSemicolon,
}

impl Routine {
    fn read(&mut self, token: &Token<'_>) {
        self.heading = match self.heading {
            Heading::Start if token.is("CREATE") => Heading::Create,
            Heading::Create if token.is("OR") => Heading::CreateOr,
            Heading::CreateOr if token.is("REPLACE") => Heading::CreateOrReplace,
            Heading::Create | Heading::CreateOrReplace if token.is("FUNCTION") || token.is("PROCEDURE") => {
                Heading::Routine
            }
            Heading::Routine => Heading::Routine,
            _ => Heading::SomethingElse,
        };
        if self.heading != Heading::Routine {
            return;
        }
        self.previous = if token.is("BEGIN") {
            Previous::Begin
        } else if token.is("ATOMIC") && self.previous == Previous::Begin {
            self.bodies += 1;
            Previous::AtomicOrSemicolon
        } else if token.is("END") && self.previous == Previous::AtomicOrSemicolon {
            self.bodies = self.bodies.saturating_sub(1);
            Previous::SomethingElse
        } else if token.is(";") {
            Previous::AtomicOrSemicolon
        } else {
            Previous::SomethingElse
        };
    }
}

// What a statement is.

/// The leading tokens of each command; the first phrase that fits decides, none is `Other`. `…` stands for any
/// tokens up to the first that is the next of the phrase, `;` for the end of the statement.
const PHRASES: &[(Command, &[&str])] = &[
    (
        Command::TransactionControl,
        &[
            "BEGIN",
            "START",
            "COMMIT",
            "END",
            "ROLLBACK",
            "ABORT",
            "SAVEPOINT",
            "RELEASE",
            "PREPARE TRANSACTION",
            "SET TRANSACTION",
            "SET LOCAL TRANSACTION",
            "SET SESSION TRANSACTION",
            "SET SESSION CHARACTERISTICS",
            "SET LOCAL SESSION CHARACTERISTICS",
            "SET SESSION SESSION CHARACTERISTICS",
        ],
    ),
    (Command::Copy, &["COPY"]),
    (
        Command::NoTransaction,
        &[
            "VACUUM",
            "CREATE INDEX CONCURRENTLY",
            "CREATE UNIQUE INDEX CONCURRENTLY",
            "CREATE DATABASE",
            "CREATE TABLESPACE",
            "CREATE SUBSCRIPTION",
            "DROP INDEX CONCURRENTLY",
            "DROP DATABASE",
            "DROP TABLESPACE",
            "DROP SUBSCRIPTION",
            "ALTER SYSTEM",
            "ALTER SUBSCRIPTION",
            "ALTER DATABASE … SET TABLESPACE",
            "ALTER TABLE … DETACH … CONCURRENTLY",
            "REINDEX DATABASE",
            "REINDEX SYSTEM",
            "REINDEX SCHEMA",
            "REINDEX ( … ) DATABASE",
            "REINDEX ( … ) SYSTEM",
            "REINDEX ( … ) SCHEMA",
            "REINDEX … CONCURRENTLY",
            "CLUSTER ;",
            "CLUSTER VERBOSE ;",
            "CLUSTER ( … ) ;",
        ],
    ),
    (Command::Query, &["SELECT", "VALUES", "TABLE", "WITH", "("]),
    (Command::Show, &["SHOW"]),
    (Command::Explain, &["EXPLAIN"]),
    (Command::Insert, &["INSERT"]),
    (Command::Update, &["UPDATE"]),
    (Command::Delete, &["DELETE"]),
    (Command::Merge, &["MERGE"]),
    (
        Command::Definition,
        &[
            "CREATE", "ALTER", "DROP", "COMMENT", "GRANT", "REVOKE", "REASSIGN", "REFRESH", "IMPORT", "SECURITY",
            "REINDEX", "CLUSTER", "TRUNCATE", "DO", "CALL",
        ],
    ),
];

fn command(text: &str) -> Command {
    let mut rest = Tokens { sql: text, at: 0 };
    let Some(Ok(first)) = rest.next() else {
        return Command::Other;
    };
    let fits = |phrase: &str| {
        let Some((word, others)) = phrase.split_at_checked(first.text.len()) else {
            return false;
        };
        (others.is_empty() || others.starts_with(' ')) && first.is(word) && begins_with(rest.clone(), others)
    };
    let found = PHRASES.iter().find(|(_, phrases)| phrases.iter().any(|phrase| fits(phrase)));
    found.map_or(Command::Other, |(command, _)| *command)
}

/// `phrase` is what is left of one: empty, or a space and the words after it.
fn begins_with(tokens: Tokens<'_>, phrase: &str) -> bool {
    let mut tokens = tokens.map_while(Result::ok);
    let mut phrase = phrase.split(' ').skip(1);
    while let Some(word) = phrase.next() {
        let fits = match word {
            ";" => tokens.next().is_none(),
            "…" => phrase.next().is_none_or(|word| tokens.any(|token| token.is(word))),
            word => tokens.next().is_some_and(|token| token.is(word)),
        };
        if !fits {
            return false;
        }
    }
    true
}

// The lexer.

#[derive(Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    start: usize,
    text: &'a str,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
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
    fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text.eq_ignore_ascii_case(word)
    }

    fn mark(&self) -> Option<u8> {
        if self.kind == Kind::Mark { self.text.bytes().next() } else { None }
    }
}

/// The tokens of a text without white space and comments. Ends after an error.
#[derive(Clone)]
struct Tokens<'a> {
    sql: &'a str,
    at: usize,
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

/// Whether a backslash in a string takes the next byte with it.
#[derive(Clone, Copy, PartialEq)]
enum Backslash {
    Plain,
    Escapes,
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
            b'\'' => self.string(start, 1, Backslash::Plain),
            b'"' => self.quoted_identifier(start, 1),
            b'e' | b'E' if self.has(start + 1, b"'") => self.string(start, 2, Backslash::Escapes),
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if self.has(start + 1, b"'") => {
                self.string(start, 2, Backslash::Plain)
            }
            b'u' | b'U' if self.has(start + 1, b"&'") => self.string(start, 3, Backslash::Plain),
            b'u' | b'U' if self.has(start + 1, b"&\"") => self.quoted_identifier(start, 3),
            b'$' => self.dollar(start),
            b'0'..=b'9' => Ok((Kind::Number, self.number(start))),
            first if begins_word(first) => Ok((Kind::Word, self.run(start, continues_word))),
            _ => Ok((Kind::Mark, start + 1)),
        }
    }

    /// A doubled quote stays inside. For `B''` and `X''` the server sees two strings there, which end alike.
    fn string(&self, start: usize, prefix: usize, backslash: Backslash) -> Result<(Kind, usize), SplitError> {
        let mut at = start + prefix;
        while let Some(byte) = self.byte(at) {
            at += match byte {
                b'\\' if backslash == Backslash::Escapes => 2,
                b'\'' if self.has(at + 1, b"'") => 2,
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

#[cfg(test)]
mod tests;
