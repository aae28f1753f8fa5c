//! Splits the text of a raw SQL request into its statements and says what kind each one is.
//!
//! The rules are those of PostgreSQL's lexer (`src/backend/parser/scan.l`, version 18) with
//! `standard_conforming_strings` on, and psql's for where a statement ends (`src/fe_utils/psqlscan.l`).
//! It is a lexer and not a parser: a text that is not SQL comes out as some statement, and the server is
//! left to refuse it. Nothing here judges what a caller may do; it knows no tables, keys or roles.
//!
//! Every pass is linear in the length of the text, and all tokens begin and end at ASCII bytes or at the
//! edge of a run of others, so that cutting the text at them never cuts a character.

mod lexer;
#[cfg(test)]
mod tests;

use std::fmt;

use lexer::{Kind, Token, Tokens};

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
    let mut tokens = Tokens::of(sql);
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
        Tokens::of(self.text).map_while(Result::ok)
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
