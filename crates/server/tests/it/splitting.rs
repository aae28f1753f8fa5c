//! The splitter of SQL texts against PostgreSQL itself. The server parses a whole text before it runs any of its statements,
//! so its answer for the whole must match its answers for the single statements.

use crm::model::split::{SplitError, split};
use pg::{Conn, Error};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::{agent, psql};

const TEXTS: usize = 1_500;

/// The server's verdict on a text.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// The lexer or the grammar rejects it at this character, counted from 0.
    Refused(usize),
    /// The lexer rejects bytes that result from a string's escapes, and does not report the position.
    BadBytes,
    /// It contains several statements.
    Several,
    /// It contains one statement, which may have other errors, or no statement.
    One,
}

/// The server's functions that raise errors before any name in a text is looked up.
const OF_THE_PARSER: &[&str] = &[
    "scanner_yyerror",
    "core_yylex",
    "base_yylex",
    "base_yyparse",
    "str_udeescape",
    "check_unicode_value",
    "addunicode",
];

async fn verdict(conn: &mut Conn, sql: &str) -> Verdict {
    match conn.query(sql, &[]).await {
        Err(Error::Server(error)) => match error.routine.as_deref() {
            Some("exec_parse_message") => Verdict::Several,
            Some("report_invalid_encoding") => Verdict::BadBytes,
            Some(routine) if OF_THE_PARSER.contains(&routine) => {
                Verdict::Refused(error.position.unwrap_or_else(|| panic!("{sql:?}: {error:?}")) as usize - 1)
            }
            _ => Verdict::One,
        },
        Ok(_) | Err(Error::Copy) => Verdict::One,
        Err(other) => panic!("{sql:?}: {other}"),
    }
}

/// Pieces that the lexer has rules for. None of them has an effect.
const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "$",
    "$$",
    "$a$",
    "$é1$",
    "$1",
    "\\",
    "\\'",
    "E'",
    "U&'",
    "u&\"",
    "B'",
    "n'",
    "ee'",
    "--",
    "-",
    "/*",
    "*/",
    "*",
    "\n",
    "\r",
    " ",
    "\u{b}",
    "'\n'",
    "' -- x\n'",
    "' /**/\n'",
    ";",
    "(",
    ")",
    "[",
    "a",
    "é",
    "😀",
    "\u{a0}",
    "0",
    "1",
    "1.",
    ".5",
    "..",
    "1e",
    "0x",
    "1_0",
    "+",
    "@",
    ":",
    "::",
    ",",
];

fn noise() -> impl Strategy<Value = String> {
    vec(select(PIECES), 0..12).prop_map(|pieces| pieces.concat())
}

fn blank() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => Just(" ".to_owned()),
        1 => Just("\n".to_owned()),
        1 => noise().prop_map(|text| format!(" --{}\n", text.replace(['\n', '\r'], ""))),
        1 => noise().prop_map(|text| format!("/* {} /* ; */ */", text.replace(['/', '*'], ""))),
    ]
}

/// An expression that the grammar accepts, with noise in its quotes.
fn expression() -> impl Strategy<Value = String> {
    prop_oneof![
        noise().prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        noise().prop_map(|text| format!("E'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))),
        noise().prop_map(|text| format!("U&'{}'", text.replace('\\', r"\\").replace('\'', "''"))),
        noise().prop_map(|text| format!("E'a'\n --;\n'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))),
        noise().prop_map(|text| format!("x.\"{}.\"", text.replace('"', "\"\""))),
        noise().prop_map(|text| format!("$tag${text}$tag$")),
        noise().prop_map(|text| format!("$${}$$", text.replace('$', ""))),
        select(vec![
            "1", "1.5e+3", "0x1F", "1_000", "B'01'", "X'1f'", "N'n'", "a$b$", "é", "1 - -1", "@ 1", "$1", "a[1]"
        ])
        .prop_map(str::to_owned),
    ]
}

fn statement() -> impl Strategy<Value = String> {
    let select = (blank(), vec((expression(), blank()), 1..4)).prop_map(|(blank, expressions)| {
        let list: Vec<String> = expressions.into_iter().map(|(it, blank)| format!("{it}{blank}")).collect();
        format!("SELECT{blank}{}", list.join(","))
    });
    let body = (expression(), blank()).prop_map(|(it, blank)| {
        format!(
            "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC{blank}SELECT 1 AS end;{blank}\
             SELECT CASE WHEN true THEN {it} END; END"
        )
    });
    let rule =
        expression().prop_map(|it| format!("CREATE RULE r AS ON INSERT TO nothing DO ALSO (SELECT 1; SELECT {it})"));
    prop_oneof![10 => select, 1 => body, 1 => rule]
}

/// Some statements, mostly valid, with text that may stand between them and occasional noise.
fn text() -> impl Strategy<Value = String> {
    let statements = vec((statement(), blank(), select(vec![";", ";", ";", ";;", "; ;"])), 0..4);
    let fallen = prop_oneof![2 => Just(None), 1 => (any::<prop::sample::Index>(), noise()).prop_map(Some)];
    (blank(), statements, blank(), fallen).prop_map(|(before, statements, after, fallen)| {
        let middle: String = statements.into_iter().map(|(it, blank, end)| format!("{it}{blank}{end}")).collect();
        let mut text = format!("{before}{middle}{after}");
        if let Some((at, noise)) = fallen {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            text.insert_str(places[at.index(places.len())], &noise);
        }
        text
    })
}

#[tokio::test]
async fn statements_are_those_that_the_server_sees() {
    let mut conn = psql(&agent().await).await;
    let mut runner = TestRunner::deterministic();
    let (mut several, mut refused, mut open) = (0, 0, 0);
    for _ in 0..TEXTS {
        let sql = text().new_tree(&mut runner).expect("a text").current();
        let characters = |bytes: usize| sql[..bytes].chars().count();
        let whole = verdict(&mut conn, &sql).await;
        if whole == Verdict::BadBytes {
            continue;
        }
        let statements = match split(&sql) {
            Ok(statements) => statements,
            Err(error) => {
                // The server may report an earlier position, or a later one for an invalid escape in the string.
                let SplitError::Unterminated { offset, .. } = error;
                let (at, has_escapes) = (characters(offset), sql[offset..].starts_with(['e', 'E']));
                let agrees = matches!(whole, Verdict::Refused(place) if place <= at || has_escapes);
                assert!(agrees, "{sql:?}\n{error}\n{whole:?}");
                open += 1;
                continue;
            }
        };
        let mut first_refused = None;
        for statement in &statements {
            match verdict(&mut conn, statement.text).await {
                Verdict::One => {}
                Verdict::Several | Verdict::BadBytes => panic!("{sql:?}\nhas another verdict on {:?}", statement.text),
                Verdict::Refused(at) => {
                    first_refused = Some((characters(statement.offset) + at, statement));
                    break;
                }
            }
        }
        match (first_refused, whole) {
            (None, Verdict::Several) => {
                assert!(statements.len() > 1, "{sql:?}\nis one statement: {statements:?}");
                several += 1;
            }
            (None, Verdict::One) => assert!(statements.len() <= 1, "{sql:?}\nhas several statements: {statements:?}"),
            (Some((at, statement)), Verdict::Refused(place)) => {
                // A single statement has nothing after its end, but in the text there is a semicolon.
                let end = statement.offset + statement.text.len();
                let behind = sql.chars().nth(place);
                let is_at_end = at == characters(end) && place >= at && matches!(behind, None | Some(';'));
                assert!(place == at || is_at_end, "{sql:?}\nis refused at {place}, {statement:?} at {at}");
                refused += 1;
            }
            (first_refused, whole) => panic!("{sql:?}\nwhole: {whole:?}, one by one: {first_refused:?}"),
        }
    }
    println!("{several} of several statements, {refused} refused, {open} open");
    assert!(several > TEXTS / 4 && refused > TEXTS / 20 && open > TEXTS / 30, "{several}, {refused}, {open}");
}
