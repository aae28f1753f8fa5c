//! The first word of a statement. It is enough to name the command of a cut result, and to refuse transaction control.

/// The first word in upper case, without leading comments and opening brackets. Empty if there is none.
fn first_word(sql: &str) -> String {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '(');
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.find(['\n', '\r']).map_or("", |end| &comment[end..])
        } else if rest.starts_with("/*") {
            after_comment(rest)
        } else {
            break;
        };
    }
    rest.chars().take_while(char::is_ascii_alphabetic).take(32).collect::<String>().to_uppercase()
}

/// The text after the comment that `sql` begins with. Comments nest.
fn after_comment(sql: &str) -> &str {
    let bytes = sql.as_bytes();
    let (mut depth, mut at) = (0, 0);
    while let Some(pair) = bytes.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return &sql[at..];
        }
    }
    ""
}

/// The command of a cut result, for which the server sends no tag. For a `WITH` it is not known: only its main statement
/// says.
pub(super) fn of_cut_result(sql: &str) -> String {
    match first_word(sql).as_str() {
        word @ ("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "EXPLAIN" | "SHOW" | "FETCH" | "CALL" | "EXECUTE") => {
            word.into()
        }
        _ => "SELECT".into(),
    }
}

/// True for a statement that would end or nest the transaction it runs in.
pub(super) fn is_transaction_control(sql: &str) -> bool {
    let word = first_word(sql);
    match word.as_str() {
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => true,
        // PREPARE TRANSACTION. PREPARE alone is the SQL form of a prepared statement.
        "PREPARE" => {
            let after = sql.to_ascii_uppercase();
            after.find("PREPARE").is_some_and(|at| first_word(&after[at + 7..]) == "TRANSACTION")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_brackets_are_passed_over() {
        assert_eq!(first_word("-- a\n /* b /* c */ d */ ((select 1))"), "SELECT");
        assert_eq!(first_word("/* never closed"), "");
        assert_eq!(first_word("/*é*/insert"), "INSERT");
        assert_eq!(of_cut_result("values (1)"), "SELECT");
        assert_eq!(of_cut_result("update t set a = 1 returning a"), "UPDATE");
    }

    #[test]
    fn transaction_control_is_known() {
        for sql in ["commit", "/**/END", "Rollback to a", "prepare /* x */ transaction 'a'"] {
            assert!(is_transaction_control(sql), "{sql}");
        }
        for sql in ["prepare a as select 1", "select 'commit'", "ended", ""] {
            assert!(!is_transaction_control(sql), "{sql}");
        }
    }
}
