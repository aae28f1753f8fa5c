//! Tests of the splitter: each special case of PostgreSQL's lexer, and random texts.

use super::*;

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let found = split(sql).expect(sql);
    assert_eq!(found.iter().map(|statement| statement.text).collect::<Vec<_>>(), expected, "{sql}");
    for statement in found {
        assert!(sql[statement.offset..].starts_with(statement.text), "{sql}");
    }
}

#[track_caller]
fn check_open(sql: &str, what: &'static str, offset: usize) {
    assert_eq!(split(sql), Err(SplitError::Unterminated { what, offset }), "{sql}");
}

#[track_caller]
fn check_command(expected: Command, texts: &[&str]) {
    for sql in texts {
        let found = split(sql).expect(sql);
        assert_eq!(found.iter().map(|statement| statement.command).collect::<Vec<_>>(), [expected], "{sql}");
    }
}

fn only(sql: &str) -> Statement<'_> {
    let found = split(sql).expect(sql);
    assert_eq!(found.len(), 1, "{sql}");
    found[0]
}

#[test]
fn statements_end_at_semicolons_and_empty_ones_are_dropped() {
    check("", &[]);
    check(" ;; -- a;b\n ; /* c */ ;", &[]);
    check("select 1", &["select 1"]);
    check("a;b;;c;", &["a", "b", "c"]);
    check("\u{b}a\u{c};\r\n\tb ", &["a", "b"]);
}

#[test]
fn text_goes_from_the_first_token_to_the_last() {
    check("/* x */ select /* y */ 1 -- z", &["select /* y */ 1"]);
    let found = split(" -- é\n a ; /* ; */ b c ;").unwrap();
    assert_eq!(found.iter().map(|s| (s.offset, s.text)).collect::<Vec<_>>(), [(8, "a"), (20, "b c")]);
}

#[test]
fn strings_hide_semicolons() {
    check("'a;''b;';c", &["'a;''b;'", "c"]);
    check(r"'\';b", &[r"'\'", "b"]);
    check(r"E'\';''\\';b", &[r"E'\';''\\'", "b"]);
    check(r"e'\é;';b", &[r"e'\é;'", "b"]);
    check(r"ee'\';b", &[r"ee'\'", "b"]);
    check(r"t.e'\';';b", &[r"t.e'\';'", "b"]);
    check(r"U&'\0061;\';b;u&'';c", &[r"U&'\0061;\'", "b", "u&''", "c"]);
    check(r"B'0;';x'\';N'\';n", &["B'0;'", r"x'\'", r"N'\'", "n"]);
    check(r"U &'\';E '\';b", &[r"U &'\'", r"E '\'", "b"]);
}

#[test]
fn strings_go_on_after_a_line_break() {
    check("E'a'\n'\\';b';c", &["E'a'\n'\\';b'", "c"]);
    check("E'a'\r'\\';b';c", &["E'a'\r'\\';b'", "c"]);
    check("E'a' -- x;\n -- y\n '\\';';c", &["E'a' -- x;\n -- y\n '\\';'", "c"]);
    check("E'a' '\\';c", &["E'a' '\\'", "c"]);
    check("E'a' /* \n */ '\\';c", &["E'a' /* \n */ '\\'", "c"]);
    check("E'a'\n/**/'\\';c", &["E'a'\n/**/'\\'", "c"]);
    check("E'a'\n-'\\';c", &["E'a'\n-'\\'", "c"]);
    check("'a'\nE'\\';';c", &["'a'\nE'\\';'", "c"]);
    check("E'a'\n;'\\';c", &["E'a'", "'\\'", "c"]);
}

#[test]
fn quoted_identifiers_hide_semicolons() {
    check(r#""a;""b;";c"#, &[r#""a;""b;""#, "c"]);
    check(r#"U&"a;\";c"#, &[r#"U&"a;\""#, "c"]);
    check(r#""'";b'"';c"#, &[r#""'""#, r#"b'"'"#, "c"]);
}

#[test]
fn dollar_quotes_hide_semicolons() {
    check("$$a;'$$;b", &["$$a;'$$", "b"]);
    check("$a$;$b$;$$;$a$;c", &["$a$;$b$;$$;$a$", "c"]);
    check("$é1_$;$é1$;$é1_$;c", &["$é1_$;$é1$;$é1_$", "c"]);
    check("$a$$aa$;$a$;c", &["$a$$aa$;$a$", "c"]);
    check("$a$ $A$;$a$;c", &["$a$ $A$;$a$", "c"]);
    check("a$b$;c$b$", &["a$b$", "c$b$"]);
    check("é$$;a$$", &["é$$", "a$$"]);
    check("$1$a$;$a$;b", &["$1$a$;$a$", "b"]);
    check("1$$;$$;b", &["1$$;$$", "b"]);
    check("$1a$;b;$1a$", &["$1a$", "b", "$1a$"]);
    check("$ $;$a;$-$", &["$ $", "$a", "$-$"]);
}

#[test]
fn numbers_take_the_letters_behind_them() {
    check("1E'\\';b", &["1E'\\'", "b"]);
    check("1.E'\\';b", &["1.E'\\'", "b"]);
    check("1..E'\\';';b", &["1..E'\\';'", "b"]);
    check("1a$b$;c$b$", &["1a$b$", "c$b$"]);
    check("0x1F+1_000+1e+5;b", &["0x1F+1_000+1e+5", "b"]);
}

#[test]
fn comments_hide_semicolons() {
    check("a--;'\nb;c", &["a--;'\nb", "c"]);
    check("a--;\rb;c", &["a--;\rb", "c"]);
    check("a--;", &["a"]);
    check("a/*;/*'*/;*/b;c", &["a/*;/*'*/;*/b", "c"]);
    check("a/*/;*/b;c", &["a/*/;*/b", "c"]);
    check("a/***;**/b;c", &["a/***;**/b", "c"]);
    check("a+/*;*/b;@--;\nc;d", &["a+/*;*/b", "@--;\nc", "d"]);
    check("a*/*;*/b - -c;d", &["a*/*;*/b - -c", "d"]);
    check("a--/*\n;b", &["a", "b"]);
    check("/*--*/a;b", &["a", "b"]);
}

#[test]
fn parentheses_hide_semicolons() {
    let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); DELETE FROM b)";
    check(&format!("{rule}; c"), &[rule, "c"]);
    check("a);b", &["a)", "b"]);
    check("(a;b", &["(a;b"]);
    check("a[;b]", &["a[", "b]"]);
}

#[test]
fn bodies_of_sql_routines_hide_semicolons() {
    let head = "CREATE OR REPLACE FUNCTION f(a int DEFAULT (1)) RETURNS int LANGUAGE sql";
    for body in [
        "BEGIN ATOMIC SELECT 1; SELECT 2; END",
        "begin /* x */ atomic SELECT CASE WHEN true THEN CASE 1 WHEN 1 THEN 2 END END; END",
        "BEGIN ATOMIC SELECT (CASE WHEN a THEN b END); RETURN 1; END",
        "BEGIN ATOMIC SELECT 1 AS end; SELECT 1 end; SELECT t.begin, t.end, t.case FROM t; SELECT 1 \"end\"; END",
        "BEGIN ATOMIC END",
        "IMMUTABLE BEGIN ATOMIC INSERT INTO t VALUES ('END;'); /* END; */ DELETE FROM t; END",
    ] {
        check(&format!("{head} {body}; SELECT 1"), &[&format!("{head} {body}"), "SELECT 1"]);
    }
    check("create procedure p() begin atomic a; end; b", &["create procedure p() begin atomic a; end", "b"]);
    check("create function begin() as $$a;$$; b", &["create function begin() as $$a;$$", "b"]);
    check(
        "create function f() return case when a then b end; c",
        &["create function f() return case when a then b end", "c"],
    );
    check("begin; create table t (); end", &["begin", "create table t ()", "end"]);
    check("begin atomic; a; end", &["begin atomic", "a", "end"]);
    check("create \"or\" function f() begin atomic a; b", &["create \"or\" function f() begin atomic a", "b"]);
    check("create function f() begin atomic a; b", &["create function f() begin atomic a; b"]);
}

#[test]
fn what_is_left_open_is_an_error_where_it_was_opened() {
    check_open("a; 'b;''", "string", 3);
    check_open(r"E'\'", "string", 0);
    check_open(r"E'\", "string", 0);
    check_open("'a'\n'", "string", 0);
    check_open("B'0''", "string", 4);
    check_open("N'a", "string", 1);
    check_open("é \"b\"\"", "quoted identifier", 3);
    check_open("U&\"", "quoted identifier", 0);
    check_open("$$ $a$", "dollar-quoted string", 0);
    check_open("a $b$ $$ $b", "dollar-quoted string", 2);
    check_open("a /* /* */ *", "comment", 2);
    check_open("/*/", "comment", 0);
    assert_eq!(split("'").unwrap_err().to_string(), "unterminated string at byte 0");
    assert_eq!(statements("a;'").map(|s| s.is_ok()).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn commands_are_told_by_their_leading_words() {
    check_command(
        Command::TransactionControl,
        &[
            "BEGIN",
            "begin read only",
            "START TRANSACTION",
            "Commit",
            "COMMIT PREPARED 'x'",
            "END",
            "rollback to a",
            "ROLLBACK PREPARED 'x'",
            "ABORT",
            "SAVEPOINT a",
            "RELEASE a",
            "PREPARE TRANSACTION 'x'",
            "PREPARE/**/TRANSACTION'x'",
            "SET TRANSACTION READ WRITE",
            "SET LOCAL TRANSACTION READ WRITE",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        ],
    );
    check_command(Command::Copy, &["COPY t FROM STDIN", "copy (select 1) to stdout"]);
    check_command(
        Command::NoTransaction,
        &[
            "VACUUM",
            "vacuum (full) t",
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "DROP INDEX concurrently i",
            "create unique index /* x */ concurrently on t (a)",
            "REINDEX TABLE CONCURRENTLY t",
            "REINDEX SCHEMA s",
            "REINDEX (VERBOSE, CONCURRENTLY) TABLE t",
            "REINDEX (verbose) DATABASE d",
            "REINDEX SYSTEM d",
            "CREATE DATABASE d",
            "DROP DATABASE d",
            "CREATE TABLESPACE t LOCATION ''",
            "DROP TABLESPACE t",
            "ALTER SYSTEM SET a = 1",
            "ALTER DATABASE \"d\" SET TABLESPACE t",
            "CLUSTER",
            "cluster verbose",
            "CLUSTER (VERBOSE)",
            "ALTER TABLE ONLY \"t\" DETACH PARTITION s.p CONCURRENTLY",
        ],
    );
    check_command(
        Command::Query,
        &["SELECT 1", "values (1)", "TABLE t", "WITH a AS (SELECT 1) SELECT 1", "((SELECT 1))", "SELECT'a'"],
    );
    check_command(Command::Show, &["SHOW all"]);
    check_command(Command::Explain, &["EXPLAIN (ANALYZE) SELECT 1"]);
    check_command(Command::Insert, &["insert into t values (1)"]);
    check_command(Command::Update, &["UPDATE t SET a = 1"]);
    check_command(Command::Delete, &["DELETE FROM t"]);
    check_command(Command::Merge, &["MERGE INTO t USING s ON true WHEN MATCHED THEN DO NOTHING"]);
    check_command(
        Command::Definition,
        &[
            "CREATE TABLE t ()",
            "CREATE INDEX i ON t (a)",
            "CREATE INDEX ON t (concurrently(a))",
            "ALTER TABLE t DETACH PARTITION p",
            "DROP INDEX \"concurrently\"",
            "COMMENT ON TABLE t IS ''",
            "GRANT a TO b",
            "REVOKE a FROM b",
            "CALL p()",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
            "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c",
            "SECURITY LABEL ON TABLE t IS ''",
            "REINDEX TABLE t",
            "REINDEX (VERBOSE) TABLE t",
            "CLUSTER t",
            "CLUSTER (VERBOSE) t",
            "CLUSTER VERBOSE t",
            "TRUNCATE t",
            "DO $$begin; end$$",
            "REASSIGN OWNED BY a TO b",
            "ALTER DATABASE d SET a = 'SET TABLESPACE'",
        ],
    );
    check_command(
        Command::Other,
        &[
            "SET a = 1",
            "RESET ALL",
            "DISCARD ALL",
            "LISTEN a",
            "PREPARE a AS SELECT 1",
            "EXECUTE a",
            "FETCH 1 FROM c",
            "LOCK t",
            "ANALYZE t",
            "\"select\" 1",
            "selecté",
            "select$1",
            "select$$a$$",
            "1",
            "\\q",
            "\u{feff}SELECT 1",
            ")",
            "'SELECT'",
        ],
    );
}

#[test]
fn writes_inside_a_query_are_seen() {
    for sql in [
        "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
        "with a as (select 1) insert into t select * from a",
        "WITH a AS (SELECT 1), b AS (/* x */update t SET a = 1) TABLE a",
        "(WITH a AS (MERGE INTO t USING s ON true WHEN MATCHED THEN DO NOTHING RETURNING 1) TABLE a)",
        "SELECT * INTO t FROM s",
        "SELECT 1 FROM t FOR UPDATE",
        "EXPLAIN ANALYZE DELETE FROM t",
    ] {
        assert!(only(sql).modifies_data(), "{sql}");
    }
    for sql in [
        "SELECT 'delete', \"insert\", $$update$$, U&\"merge\" /* into */ -- into",
        "SELECT deleted, updates, inserté FROM t",
    ] {
        assert!(!only(sql).modifies_data(), "{sql}");
    }
}

#[test]
fn parameters_are_those_outside_quotes() {
    for (sql, expected) in [
        ("SELECT 1", 0),
        ("SELECT $2, $1", 2),
        ("SELECT '$3', \"$4\", $$ $5 $$, a$6, $1 /* $7 */ -- $8", 1),
        ("SELECT 1+$12::int", 12),
        ("SELECT $007", 7),
        ("SELECT $99999999999999999999", u32::MAX),
    ] {
        assert_eq!(only(sql).parameters(), expected, "{sql}");
    }
}

#[test]
fn balance_looks_at_order_and_past_quotes() {
    for (sql, expected) in
        [("SELECT (1), ')', $$($$ /* ( */", true), ("SELECT 1) a, (SELECT 2", false), ("SELECT (1", false)]
    {
        assert_eq!(only(sql).is_balanced(), expected, "{sql}");
    }
}

/// Splits random combinations of the pieces that have rules. Each statement must split into itself, and the text
/// between two statements must have no statement.
#[test]
fn noise_never_panics_and_statements_stand_on_their_own() {
    const PIECES: &[&str] = &[
        "'",
        "''",
        "\"",
        "$",
        "$$",
        "$a$",
        "$1",
        "\\",
        "e'",
        "U&'",
        "U&\"",
        "b'",
        "--",
        "-",
        "/*",
        "*/",
        "/",
        "*",
        "\n",
        "\r",
        " ",
        "\u{b}",
        ";",
        ";",
        ";",
        "(",
        ")",
        "a",
        "é",
        "€",
        "😀",
        "\u{a0}",
        "\0",
        "1",
        "1.",
        "..",
        "CREATE ",
        "OR ",
        "REPLACE ",
        "FUNCTION ",
        "BEGIN ",
        "ATOMIC ",
        "CASE ",
        "END",
        "SELECT ",
        "CLUSTER ",
        "REINDEX ",
        "CONCURRENTLY",
        "insert",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound
    };
    let (mut whole, mut open) = (0, 0);
    for _ in 0..20_000 {
        let sql = (0..below(24)).map(|_| PIECES[below(PIECES.len())]).collect::<String>();
        let Ok(found) = split(&sql) else {
            open += 1;
            continue;
        };
        whole += 1;
        let mut end = 0;
        for statement in &found {
            assert!(statement.offset >= end, "{sql}");
            assert_eq!(split(&sql[end..statement.offset]), Ok(vec![]), "{sql}");
            end = statement.offset + statement.text.len();
            assert_eq!(split(statement.text), Ok(vec![Statement { offset: 0, ..*statement }]), "{sql}");
            let _ = (statement.modifies_data(), statement.parameters(), statement.is_balanced());
        }
        assert_eq!(split(&sql[end..]), Ok(vec![]), "{sql}");
    }
    assert!(whole > 1000 && open > 1000, "{whole} {open}");
}

/// A quadratic step would make this test run for minutes.
#[test]
fn long_texts_take_linear_time() {
    const PIECES: &[&str] = &[
        "a;",
        "''",
        "'a'\n",
        "E'a'--\n",
        "$a",
        "$a ",
        "$1",
        "/*",
        "/**/",
        "--\n",
        "(",
        ")",
        "\"\"",
        "aé",
        "1",
        "ALTER TABLE DETACH;",
        "REINDEX ( a;",
        "create function begin atomic a;",
    ];
    for piece in PIECES {
        let sql = piece.repeat((1 << 18) / piece.len());
        if let Ok(found) = split(&sql) {
            for statement in &found {
                let _ = (statement.modifies_data(), statement.parameters(), statement.is_balanced());
            }
        }
    }
}
