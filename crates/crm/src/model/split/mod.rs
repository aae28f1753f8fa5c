//! Splits the text of a raw SQL request into statements and classifies each one.
//!
//! The tokens are those of PostgreSQL's lexer (`src/backend/parser/scan.l`, version 18) with
//! `standard_conforming_strings` on. The statements end where they end in psql (`src/fe_utils/psqlscan.l`). This is a
//! lexer and not a parser: text that is not SQL also becomes a statement, and the server rejects it. This module does
//! not check rights. It does not know tables, keys or roles.
//!
//! Every pass is linear in the length of the text. Tokens begin and end at ASCII bytes or at the edge of a run of other
//! bytes, so a slice between tokens never splits a character.

mod lexer;
#[cfg(test)]
mod tests;

use std::fmt;

use lexer::{Kind, Token, Tokens};

/// A statement of a text. It is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The text from the first byte of the first token to the last byte of the last token, without white space,
    /// comments and semicolons around it. It does not end with a line comment, so SQL can be appended to it.
    pub text: &'a str,
    /// The start of `text` in the whole text, in bytes. Error positions are shifted by it.
    pub offset: usize,
    /// The kind of the statement.
    pub command: Command,
}

/// The kind of a statement, by its leading words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `BEGIN`, `START TRANSACTION`, `COMMIT`, `END`, `ROLLBACK` (also `TO`), `ABORT`, `SAVEPOINT`,
    /// `RELEASE`, `PREPARE TRANSACTION`, `COMMIT PREPARED`, `ROLLBACK PREPARED`, `SET TRANSACTION` and
    /// `SET SESSION CHARACTERISTICS`.
    TransactionControl,
    /// `COPY`, in either direction.
    Copy,
    /// Cannot run inside a transaction block: `VACUUM`, `CREATE` or `DROP INDEX CONCURRENTLY`, `CREATE DATABASE`,
    /// `ALTER SYSTEM` and so on. `REINDEX` and `CLUSTER` of a partitioned table cannot either, but the text does not
    /// show that. They are `Definition`.
    NoTransaction,
    /// `SELECT`, `VALUES`, `TABLE`, `WITH` or an opening parenthesis. It returns rows. It can be wrapped as a
    /// sub-select if it is balanced and does not modify data (`SELECT … INTO` does).
    Query,
    /// `SHOW`.
    Show,
    /// `EXPLAIN`. With `ANALYZE` it runs the explained statement.
    Explain,
    /// `INSERT`. With a leading `WITH` it is a `Query`; this is also true of the next three.
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `MERGE`.
    Merge,
    /// Changes the schema or rights: `CREATE`, `ALTER`, `DROP`, `COMMENT`, `GRANT`, `REVOKE`, `TRUNCATE` and the like.
    /// It includes `DO` and `CALL`, because they can run such a statement.
    Definition,
    /// All other statements: `SET`, `RESET`, `LISTEN`, `PREPARE`, `EXECUTE`, `DECLARE`, `FETCH`, `LOCK`, `ANALYZE` and
    /// so on, and text that is not SQL.
    Other,
}

/// The error of a text that cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// A token or comment is not closed before the end of the text.
    Unterminated {
        /// `string`, `quoted identifier`, `dollar-quoted string` or `comment`.
        what: &'static str,
        /// The start of the token or comment, in bytes.
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

/// Returns all statements of a text in order. Empty statements are dropped.
pub fn split(sql: &str) -> Result<Vec<Statement<'_>>, SplitError> {
    statements(sql).collect()
}

/// Iterates over the statements of a text, for callers that need only the first ones: ten megabytes can hold five
/// million. The iterator ends after an error.
pub fn statements(sql: &str) -> impl Iterator<Item = Result<Statement<'_>, SplitError>> {
    let mut tokens = Tokens::of(sql);
    std::iter::from_fn(move || next_statement(&mut tokens).transpose())
}

/// Maximum number of statements that are examined. A request with more statements is refused.
const MOST_STATEMENTS: usize = 100;

/// Whether a text of SQL may change tables or the definitions of custom fields. The cached catalog is then out of date.
pub fn may_change_catalog(sql: &str) -> bool {
    statements(sql).take(MOST_STATEMENTS).flatten().any(|statement| statement.may_change_catalog())
}

/// The table that defines custom fields.
const DEFINITIONS: &[u8] = b"custom_fields";

impl Statement<'_> {
    /// Whether the statement may change tables or the definitions of custom fields. A SELECT that calls such a function
    /// is not detected here. The next look-up detects the change.
    pub fn may_change_catalog(&self) -> bool {
        matches!(self.command, Command::Definition | Command::NoTransaction)
            || (self.command == Command::Query && self.modifies_data())
            || self.text.as_bytes().windows(DEFINITIONS.len()).any(|it| it.eq_ignore_ascii_case(DEFINITIONS))
    }

    /// Whether INSERT, UPDATE, DELETE, MERGE or INTO (as in `SELECT … INTO`) occurs outside quotes and comments. It is
    /// for `Query` and `Explain`, whose first word is not enough. It has false positives: `FOR UPDATE` and a column
    /// named `update`. It does not detect writes by functions.
    pub fn modifies_data(&self) -> bool {
        let writes = ["INSERT", "UPDATE", "DELETE", "MERGE", "INTO"];
        self.tokens().any(|token| token.kind == Kind::Word && writes.iter().any(|word| token.is(word)))
    }

    /// Whether this word, in capital letters, occurs outside quotes and comments.
    pub fn has_word(&self, word: &str) -> bool {
        self.tokens().any(|token| token.kind == Kind::Word && token.is(word))
    }

    /// The largest `$n` outside quotes and comments; 0 if there is none. A number above `u32::MAX` becomes `u32::MAX`.
    /// The arguments of a function in a `BEGIN ATOMIC` body count too.
    pub fn parameters(&self) -> u32 {
        let number = |token: Token<'_>| match token.kind {
            Kind::Parameter(number) => number,
            Kind::Word | Kind::Quoted | Kind::Number | Kind::Mark => 0,
        };
        self.tokens().map(number).max().unwrap_or(0)
    }

    /// Whether the parentheses match. Without this check, `SELECT 1) a, (SELECT 2` in parentheses would be another
    /// statement.
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
        Tokens::of(self.text).map_while(Result::ok)
    }
}

// The end of a statement.

/// Reads up to the next semicolon that is neither in parentheses (`CREATE RULE … DO (a; b)`) nor in a `BEGIN ATOMIC`
/// body. An unclosed parenthesis or body extends to the end of the text, as in psql.
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

/// Tracks the tokens outside parentheses, to detect the body of an SQL routine.
///
/// psql counts every BEGIN, CASE and END of `CREATE FUNCTION`, so it fails at a column named `begin` or `end`. The
/// grammar is stricter: a body begins with BEGIN ATOMIC, each of its statements ends with a semicolon, and no statement
/// begins with END. So the END of the body follows directly after a semicolon or ATOMIC, and the END of a CASE never
/// does.
#[derive(Default)]
struct Routine {
    heading: Heading,
    previous: Previous,
    bodies: usize,
}

/// The part of `CREATE [OR REPLACE] {FUNCTION | PROCEDURE}` that has been read.
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

// The kind of a statement.

/// The leading tokens of each command. The first phrase that matches decides; without a match the command is `Other`.
/// `…` matches any tokens up to the next word of the phrase. `;` matches the end of the statement.
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
    let mut rest = Tokens::of(text);
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

/// Whether the tokens begin with the rest of a phrase. `phrase` is empty, or a space and the remaining words.
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
