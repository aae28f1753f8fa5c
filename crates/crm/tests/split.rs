//! Compares the splitter with a model on random texts. The model follows PostgreSQL's documentation ("Lexical
//! Structure") and is as simple as possible: it is slow, and it has no keywords and no routine bodies.

use crm::model::split::{SplitError, Statement, split, statements};
use proptest::prelude::*;
use proptest::sample::select;

/// The kind, the start and the end of a token.
type Token = (Sort, usize, usize);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    Word,
    Quoted,
    Number,
    Parameter,
    Mark(char),
}

/// Returns all tokens of a text, or the kind and the start of a token that is not closed.
fn tokens(sql: &str) -> Result<Vec<Token>, (&'static str, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let lower: String = rest.chars().take(3).map(|it| it.to_ascii_lowercase()).collect();
        let unless_open = |what, end: Option<usize>| end.ok_or((what, at));
        let (sort, length) = if is_space(first) {
            (None, 1)
        } else if rest.starts_with("--") {
            (None, rest.find(['\n', '\r']).unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (None, unless_open("comment", comment(rest))?)
        } else if lower.starts_with("u&'") {
            (Some(Sort::Quoted), unless_open("string", string(rest, 3, false))?)
        } else if lower.starts_with("u&\"") {
            (Some(Sort::Quoted), unless_open("quoted identifier", identifier(rest, 3))?)
        } else if lower.starts_with("e'") {
            (Some(Sort::Quoted), unless_open("string", string(rest, 2, true))?)
        } else if lower.starts_with("b'") || lower.starts_with("x'") {
            (Some(Sort::Quoted), unless_open("string", digits(rest))?)
        } else if first == '\'' {
            (Some(Sort::Quoted), unless_open("string", string(rest, 1, false))?)
        } else if first == '"' {
            (Some(Sort::Quoted), unless_open("quoted identifier", identifier(rest, 1))?)
        } else if begins_word(first) {
            (Some(Sort::Word), word(rest))
        } else if first.is_ascii_digit() {
            (Some(Sort::Number), number(rest))
        } else if first == '$' && rest[1..].starts_with(|next: char| next.is_ascii_digit()) {
            (Some(Sort::Parameter), 1 + number(&rest[1..].replace('.', " ")))
        } else if let Some(delimiter) = delimiter(rest) {
            let after = delimiter.len();
            let end = rest[after..].find(delimiter).map(|length| after + length + after);
            (Some(Sort::Quoted), unless_open("dollar-quoted string", end)?)
        } else {
            (Some(Sort::Mark(first)), first.len_utf8())
        };
        found.extend(sort.map(|sort| (sort, at, at + length)));
        at += length;
    }
    Ok(found)
}

fn is_space(it: char) -> bool {
    " \t\n\r\u{b}\u{c}".contains(it)
}

fn begins_word(it: char) -> bool {
    it == '_' || it.is_ascii_alphabetic() || !it.is_ascii()
}

/// The length of the word at the start of the text.
fn word(rest: &str) -> usize {
    rest.find(|it| !(begins_word(it) || it == '$' || it.is_ascii_digit())).unwrap_or(rest.len())
}

/// The length of the number at the start of the text, including letters directly after it.
fn number(rest: &str) -> usize {
    let digits = |text: &str| text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits(rest);
    if rest[end..].starts_with('.') && !rest[end..].starts_with("..") {
        end += 1 + digits(&rest[end + 1..]);
    }
    if rest[end..].starts_with(begins_word) { end + word(&rest[end..]) } else { end }
}

/// The length of the comment at the start of the text, including nested comments.
fn comment(rest: &str) -> Option<usize> {
    let mut at = 2;
    loop {
        let inner = &rest[at..];
        if inner.starts_with("*/") {
            return Some(at + 2);
        }
        at += if inner.starts_with("/*") { comment(inner)? } else { inner.chars().next()?.len_utf8() };
    }
}

/// The length of a string whose content begins at `from`, including its continuations on further lines.
fn string(rest: &str, from: usize, has_escapes: bool) -> Option<usize> {
    let mut content = rest[from..].char_indices();
    while let Some((at, it)) = content.next() {
        match it {
            '\\' if has_escapes => drop(content.next()?),
            '\'' => {
                let behind = &rest[from + at + 1..];
                if behind.starts_with('\'') {
                    content.next();
                    continue;
                }
                let end = from + at + 1;
                return match further_line(behind) {
                    Some(gap) => string(&rest[end..], gap + 1, has_escapes).map(|length| end + length),
                    None => Some(end),
                };
            }
            _ => {}
        }
    }
    None
}

/// The length of a bit string, including its continuations on further lines. It has no quote inside.
fn digits(rest: &str) -> Option<usize> {
    let end = 2 + rest[2..].find('\'')? + 1;
    match further_line(&rest[end..]) {
        Some(gap) => digits(&rest[end + gap - 1..]).map(|length| end + gap - 1 + length),
        None => Some(end),
    }
}

/// The distance to the next quote, if it is on a further line and only white space and line comments are before it.
fn further_line(behind: &str) -> Option<usize> {
    let mut rest = behind;
    loop {
        rest = rest.trim_start_matches(is_space);
        if rest.starts_with('\'') {
            let gap = behind.len() - rest.len();
            return behind[..gap].contains(['\n', '\r']).then_some(gap);
        }
        rest = &rest[rest.starts_with("--").then(|| rest.find(['\n', '\r']))??..];
    }
}

/// The length of a quoted identifier whose content begins at `from`.
fn identifier(rest: &str, from: usize) -> Option<usize> {
    let end = from + rest[from..].find('"')? + 1;
    if rest[end..].starts_with('"') { identifier(rest, end + 1) } else { Some(end) }
}

/// Returns `$tag$`, if the text begins with it.
fn delimiter(rest: &str) -> Option<&str> {
    let tag = rest.strip_prefix('$')?.split_once('$')?.0;
    let is_tag = tag.is_empty() || tag.starts_with(begins_word) && word(tag) == tag.len();
    is_tag.then(|| &rest[..tag.len() + 2])
}

/// The start and the end of each statement.
fn spans(tokens: &[Token]) -> Vec<(usize, usize)> {
    let (mut spans, mut open, mut depth) = (Vec::new(), None, 0_usize);
    for (sort, start, end) in tokens {
        match sort {
            Sort::Mark(';') if depth == 0 => {
                spans.extend(open.take());
                continue;
            }
            Sort::Mark('(') => depth += 1,
            Sort::Mark(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        open = Some((open.map_or(*start, |(first, _)| first), *end));
    }
    spans.extend(open);
    spans
}

/// The pieces of the random texts: everything that the lexer has rules for. `CREATE` is not included, because the model
/// has no routine bodies.
const PIECES: &[&str] = &[
    "'",
    "'",
    "''",
    "\"",
    "\"\"",
    "$",
    "$$",
    "$a$",
    "$é_1$",
    "$A$",
    "$1",
    "$1a",
    "$007",
    "\\",
    "\\'",
    "E'",
    "e'",
    "U&'",
    "u&\"",
    "U &'",
    "b'",
    "X'",
    "n'",
    "ee'",
    "--",
    "-",
    "/*",
    "*/",
    "/",
    "*",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\t",
    "\u{b}",
    "\u{c}",
    "'\n'",
    "' -- x\n'",
    "' /**/\n'",
    ";",
    ";",
    ";",
    "(",
    ")",
    "[",
    "a",
    "é",
    "€",
    "😀",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "\u{85}",
    "\0",
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
    "SELECT ",
    "select",
    "INTO",
    "insert",
    "delete ",
];

fn noise() -> impl Strategy<Value = String> {
    let piece = prop_oneof![8 => select(PIECES).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Random texts in which most tokens are closed.
fn closed() -> impl Strategy<Value = String> {
    let quoted = prop_oneof![
        noise().prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        noise().prop_map(|text| format!("E'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))),
        noise().prop_map(|text| format!("U&\"{}\"", text.replace('"', "\"\""))),
        noise().prop_map(|text| format!("$tag${text}$tag$")),
        noise().prop_map(|text| format!("/*{}*/", text.replace("/*", "").replace("*/", "").replace(['/', '*'], ""))),
        noise().prop_map(|text| format!("--{}\n", text.replace(['\n', '\r'], ""))),
    ];
    let piece =
        prop_oneof![select(vec![";", " ", ",", "a", "1", "$1", "(", ")", "\n", "é"]).prop_map(str::to_owned), quoted];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

fn check(sql: &str) -> Result<(), TestCaseError> {
    let found = split(sql);
    let model = match tokens(sql) {
        Err((what, offset)) => {
            prop_assert_eq!(found, Err(SplitError::Unterminated { what, offset }));
            return Ok(());
        }
        Ok(model) => model,
    };
    let found = found.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let ends = |it: &Statement<'_>| (it.offset, it.offset + it.text.len());
    prop_assert_eq!(found.iter().map(ends).collect::<Vec<_>>(), spans(&model));
    for statement in &found {
        let (start, end) = ends(statement);
        // The slice would panic if one of the ends split a character.
        prop_assert_eq!(&sql[start..end], statement.text);
        // The text of a statement is one statement again.
        prop_assert_eq!(split(statement.text), Ok(vec![Statement { offset: 0, ..*statement }]));
        let inside: Vec<&Token> = model.iter().filter(|(_, from, to)| start <= *from && *to <= end).collect();
        let digits = |token: &&&Token| sql[token.1 + 1..token.2].find(|it: char| !it.is_ascii_digit());
        let parameter = |token: &Token| {
            let text = &sql[token.1 + 1..token.2];
            text[..digits(&&token).unwrap_or(text.len())].parse().unwrap_or(u32::MAX)
        };
        let parameters = inside.iter().filter(|token| token.0 == Sort::Parameter).map(|token| parameter(token));
        prop_assert_eq!(statement.parameters(), parameters.max().unwrap_or(0));
        let writes = ["insert", "update", "delete", "merge", "into"];
        let modifies = |token: &&&Token| {
            token.0 == Sort::Word && writes.contains(&sql[token.1..token.2].to_ascii_lowercase().as_str())
        };
        prop_assert_eq!(statement.modifies_data(), inside.iter().any(|token| modifies(&token)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_split_as_the_model_splits_it(sql in noise()) {
        check(&sql)?;
    }

    #[test]
    fn quoted_noise_is_split_as_the_model_splits_it(sql in closed()) {
        check(&sql)?;
    }

    /// Statements that are joined by semicolons are split into the same statements.
    #[test]
    fn statements_joined_again_are_the_same(sql in closed()) {
        if let Ok(found) = split(&sql) {
            let texts: Vec<&str> = found.iter().map(|statement| statement.text).collect();
            // A statement with an open parenthesis would include everything after it.
            let whole = texts.len() - usize::from(found.last().is_some_and(|last| !last.is_balanced()));
            let joined = texts[..whole].join(" ;\n");
            let again: Vec<&str> = split(&joined).unwrap().into_iter().map(|statement| statement.text).collect();
            prop_assert_eq!(again, &texts[..whole]);
        }
    }

    /// Text that is not closed does not change the statements before it.
    #[test]
    fn an_open_end_changes_nothing_before_it(sql in closed(), open in select(vec!["'", "E'\\", "\"", "$$", "$é$", "/* /* */"])) {
        if let Ok(whole) = split(&sql) {
            let text = format!("{sql}\n;{open}");
            let found: Vec<_> = statements(&text).collect();
            let error_at = found.iter().position(Result::is_err);
                // An open parenthesis includes it.
            let unbalanced = whole.last().is_some_and(|last| !last.is_balanced());
            prop_assert!(unbalanced || error_at == Some(whole.len()), "{found:?}");
        }
    }
}

#[test]
fn both_kinds_of_noise_reach_both_ends() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut whole, mut open, mut several) = (0, 0, 0);
    for strategy in [noise().boxed(), closed().boxed()] {
        for _ in 0..2_000 {
            let sql = strategy.new_tree(&mut runner).expect("a text").current();
            match split(&sql) {
                Ok(found) => {
                    whole += 1;
                    several += usize::from(found.len() > 1);
                }
                Err(_) => open += 1,
            }
        }
    }
    assert!(
        whole > 1_000 && open > 1_000 && several > 300,
        "{whole} whole, {open} open, {several} of several statements"
    );
}
