//! The caller's own SQL: its statements, and the checks before they run.

use serde_json::Value;

use crate::model::fault::{Fault, SqlFault};
use crate::model::lifecycle::Phase;
use crate::model::split::{Command, SplitError, Statement, statements};
use crate::model::value::has_nul;
use crate::model::who::Who;

/// Maximum number of statements in a request.
pub const MAX_STATEMENTS: usize = 50;

/// Longer statements are not kept prepared.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// The statements of a request, for one transaction. There is at least one.
#[derive(Debug)]
pub struct Raw<'a> {
    /// The whole SQL text. The position of an error refers to it.
    pub body: &'a str,
    /// The values of `$1…`, if there is only one statement.
    pub params: &'a [Value],
    /// The statements, in order.
    pub statements: Vec<Statement<'a>>,
    /// Whether the only statement cannot run in a transaction, such as VACUUM.
    pub bare: bool,
}

impl Raw<'_> {
    /// Whether a statement may change tables or the definitions of custom fields. The catalog must be read again
    /// afterwards.
    pub fn may_change_catalog(&self) -> bool {
        self.statements.iter().any(Statement::may_change_catalog)
    }
}

impl Raw<'_> {
    /// Whether all statements are of kinds that change nothing in the session by themselves and run no code that is written in them:
    /// not DO, CALL, PREPARE, EXECUTE, LISTEN, DECLARE and the like.
    pub fn is_plain(&self) -> bool {
        self.statements.iter().all(|statement| is_plain(statement.command))
    }

    /// The only statement, if it is worth keeping prepared when it comes again.
    pub fn keepable(&self) -> Option<&Statement<'_>> {
        match &self.statements[..] {
            [only] if only.text.len() <= MAX_KEPT_BYTES && is_plain(only.command) && only.command != Command::Show => {
                // `SELECT … INTO` makes a table.
                Some(only).filter(|_| only.command != Command::Query || !only.modifies_data())
            }
            _ => None,
        }
    }
}

fn is_plain(command: Command) -> bool {
    match command {
        Command::Query | Command::Insert | Command::Update | Command::Delete | Command::Merge | Command::Show => true,
        // EXPLAIN EXECUTE runs a prepared statement.
        Command::Explain
        | Command::TransactionControl
        | Command::Copy
        | Command::NoTransaction
        | Command::Definition
        | Command::Other => false,
    }
}

/// Whether the command tag of a text says enough of what it does to rows: it is one plain statement that writes, or can't run in a
/// transaction. A query may call a function that writes, and a deletion may reach other tables.
pub fn tells_all(sql: &str) -> bool {
    let mut statements = statements(sql);
    let (Some(Ok(only)), None) = (statements.next(), statements.next()) else { return false };
    match only.command {
        Command::Insert | Command::Update | Command::Merge => !only.has_word("WITH"),
        Command::Show | Command::Copy | Command::TransactionControl | Command::NoTransaction => true,
        Command::Query | Command::Delete | Command::Explain | Command::Definition | Command::Other => false,
    }
}

/// Splits the SQL text and refuses statements that are not allowed.
pub fn plan<'a>(sql: &'a str, params: &'a [Value]) -> Result<Raw<'a>, Fault> {
    if sql.contains('\0') {
        return Err(Fault::invalid("The SQL text contains a NUL character, which PostgreSQL does not take."));
    }
    let statements =
        statements(sql).take(MAX_STATEMENTS + 1).collect::<Result<Vec<_>, _>>().map_err(|error| syntax(&error, sql))?;
    if statements.is_empty() {
        return Err(Fault::invalid_with_hint("\"sql\" has no statement.", "Send {\"sql\": \"SELECT …\"}."));
    }
    if statements.len() > MAX_STATEMENTS {
        return Err(Fault::invalid(format!("More than {MAX_STATEMENTS} statements in one request.")));
    }
    if statements.len() > 1 && !params.is_empty() {
        return Err(Fault::invalid_with_hint(
            "Several statements can't have params.",
            "Send the statement that needs params in a request of its own.",
        ));
    }
    if let Some(at) = params.iter().position(has_nul) {
        let message = format!("${} contains a NUL character, which PostgreSQL does not take.", at + 1);
        return Err(Fault::invalid(message));
    }
    for statement in &statements {
        refuse(statement)?;
    }
    let alone = statements.len() == 1;
    let bare = alone && statements[0].command == Command::NoTransaction;
    Ok(Raw { body: sql, params, statements, bare })
}

fn refuse(statement: &Statement<'_>) -> Result<(), Fault> {
    match statement.command {
        Command::TransactionControl => Err(Fault::invalid_with_hint(
            "Transaction control (BEGIN, COMMIT, ROLLBACK, SAVEPOINT …) is not accepted: a request is one transaction.",
            "Send all statements in one body, separated by semicolons; they succeed or fail together.",
        )),
        Command::Copy => Err(Fault::Sql(Box::new(SqlFault {
            message: "COPY is not available over HTTP.".into(),
            sqlstate: "0A000".into(),
            hint: Some("Use INSERT with several rows, or psql over a direct connection.".into()),
            ..SqlFault::default()
        }))),
        _ => Ok(()),
    }
}

fn syntax(error: &SplitError, sql: &str) -> Fault {
    let SplitError::Unterminated { what, offset } = error;
    let position = sql.get(..*offset).map(|before| before.chars().count() as u32 + 1);
    let message = format!("unterminated {what}");
    Fault::Sql(Box::new(SqlFault { message, sqlstate: "42601".into(), position, ..SqlFault::default() }))
}

/// Replaces the error of a read-only session by its cause, if the workspace itself is read-only.
pub fn explain(fault: Fault, who: &Who) -> Fault {
    match fault {
        Fault::Sql(sql) if sql.sqlstate == "25006" && matches!(who.phase, Phase::ReadOnly { .. }) => {
            Fault::WorkspaceReadOnly
        }
        fault => fault,
    }
}
