//! Runs the caller's own SQL in one transaction, in a session of the workspace's own role. The session is reset before it is
//! used again, and REST never shares it.

use std::collections::HashSet;
use std::ops::DerefMut;
use std::time::{Duration, Instant};

use pg::conn::{Begin, Doubt, Format, Frame, Outcome, Reset, Statement as PgStatement, Tx, Want};
use pg::pool::Lease;
use pg::types::TypeCache;
use pg::{Conn, Error};

use serde_json::Value;

use crm::model::answer::{RanStatement, SqlResult};
use crm::model::fault::Fault;
use crm::model::rows::{ResultColumn, Rows};
use crm::model::split::{Command, Statement};
use crm::plan::raw::Raw;
use crm::sql::Sql;
use crm::sql::catalog::NEWER_ROUTINE;
use crm::sql::wrap::rows_as_json;

use crate::store::STATEMENT_LIMIT_SECONDS;
use crate::store::fault;
use crate::store::results::{CAPS, rows};
use crate::store::tenant::catalogs::TRUSTED_FOR;
use crate::store::tenant::params;
use crate::store::tenant::transaction::{Transaction, borrow, preludes};
use crate::store::tenant::{Access, Tenant};

/// Is told how many statements have run.
pub type Done<'a> = dyn Fn(usize) + Sync + 'a;

impl Tenant<'_> {
    /// Runs the caller's own statements and returns the last one's result. `context` names the actor and limits the transaction.
    /// `done` is told how many statements have run.
    pub async fn run_raw(
        &self,
        transaction: &mut Transaction,
        context: &[Sql],
        raw: &Raw<'_>,
        done: &Done<'_>,
    ) -> Result<SqlResult, Fault> {
        done(0);
        if let Transaction::Open(open) = transaction {
            let result = run_all(&mut open.tx, &self.cache.types, raw, done).await;
            if result.is_err() {
                open.aborted();
            }
            return result;
        }
        let mut lease = self.lease_for_sql().await?;
        let result = match self.run_kept(&mut lease, context, raw).await {
            Ok(Some(result)) => Ok(result),
            Ok(None) => self.run_framed(&mut lease, context, raw, done).await,
            Err(fault) => Err(fault),
        };
        if let (Ok(SqlResult { truncated: true, .. }), [only]) = (&result, &raw.statements[..]) {
            // In one round trip all rows would be sent. In a transaction, the rows beyond the limit are not sent.
            lease.never_keep(only.text);
        }
        lease.unwatch();
        result
    }

    /// Runs a repeated statement as a prepared one that is kept: the context, the statement and the reset of the session in one
    /// round trip. Returns `None` if it has to be run the ordinary way; in that case nothing was executed.
    ///
    /// Statements stay prepared only in a session that was reset lightly. That is possible only if no code can have prepared
    /// other statements there: plain statements can't, and the workspace has no functions that could.
    async fn run_kept(&self, lease: &mut Lease, context: &[Sql], raw: &Raw<'_>) -> Result<Option<SqlResult>, Fault> {
        if !raw.is_plain() {
            return Ok(None);
        }
        let types = &self.cache.types;
        let routines = self.cache.routines(lease).await.map_err(fault::of_connection)?;
        if routines.has_own {
            return Ok(None);
        }
        let doubt = Doubt { sql: NEWER_ROUTINE, param: routines.newest.to_string() };
        lease.reset_at_end(Reset::Light(Some(doubt)));
        let Some(statement) = raw.keepable().filter(|it| lease.is_repeated(it.text, types, TRUSTED_FOR)) else {
            return Ok(None);
        };
        // The error is reported when the statement runs the ordinary way.
        let Ok(description) = lease.describe(statement.text, types).await else { return Ok(None) };
        let columns = &description.columns;
        if columns.iter().any(|column| column.is_anonymous_record) {
            return Ok(None);
        }
        count_params(description.params.len(), raw.params.len())?;
        let values = params::values(raw.params, &description.params, types);
        let context_params: Vec<_> = context.iter().map(borrow).collect();
        let mut batch = preludes(context, &context_params);
        batch.push(PgStatement { sql: statement.text, params: &values, format: Format::Json, want: Want::Rows });
        let (frame, batch) = match self.access {
            Access::Full => (Frame::Implicit, &batch[..]),
            Access::ReadOnly => (Frame::ReadOnly, &batch[context.len()..]),
        };
        let outcome = match lease.run(frame, batch, types, CAPS).await {
            Ok(mut outcomes) => outcomes.pop().ok_or_else(|| Fault::internal("a statement without an outcome"))?,
            // Its table or the types of its parameters have changed.
            Err(Error::Stale) => {
                lease.ready().await.map_err(fault::of_connection)?;
                lease.reset_at_end(Reset::Full);
                return Ok(None);
            }
            Err(error) => return Err(at(error, statement, raw.body)),
        };
        let command = outcome.command().to_owned();
        let names = unique_names(columns.iter().map(|column| &*column.name));
        Ok(Some(result(outcome, command, columns, names)))
    }

    /// Runs the statements one by one in a transaction.
    async fn run_framed(
        &self,
        lease: &mut Lease,
        context: &[Sql],
        raw: &Raw<'_>,
        done: &Done<'_>,
    ) -> Result<SqlResult, Fault> {
        let context_params: Vec<_> = context.iter().map(borrow).collect();
        let prelude = preludes(context, &context_params);
        let begin = match self.access {
            Access::ReadOnly => Begin::ReadOnly(&[]),
            Access::Full if raw.bare => Begin::Bare,
            Access::Full => Begin::ReadWrite(&prelude),
        };
        let mut tx = lease.begin(begin).await.map_err(fault::of_connection)?;
        match run_all(&mut tx, &self.cache.types, raw, done).await {
            Ok(result) => tx.commit().await.map_err(fault::of_connection).map(|()| result),
            Err(fault) => {
                // The statement's error is returned. The pool drops a connection that can't roll back.
                let _ = tx.rollback().await;
                Err(fault)
            }
        }
    }

    /// Runs one read-only query that contains SQL from the workspace. The first parameters are these JSON values, converted
    /// to the types that PostgreSQL reports; the others are in the statement. Also returns whether the result was cut off.
    pub async fn run_query(
        &self,
        transaction: &mut Transaction,
        statement: &Sql,
        values: &[Value],
    ) -> Result<(Rows, bool), Fault> {
        if let Transaction::Open(open) = transaction {
            let result = query_within(&mut open.tx, &self.cache.types, statement, values).await;
            if result.is_err() {
                open.aborted();
            }
            return result;
        }
        let mut lease = self.lease_for_sql().await?;
        let result = query_alone(&mut lease, &self.cache.types, statement, values).await;
        lease.unwatch();
        result
    }
}

/// Makes a part of a transaction read-only. The savepoint has the former mode, and what the part sets ends with it.
const BEGIN_READING: &[&str] = &["SAVEPOINT kith_reading", "SET TRANSACTION READ ONLY"];
const END_READING: &[&str] = &["ROLLBACK TO SAVEPOINT kith_reading", "RELEASE SAVEPOINT kith_reading"];

/// Runs a query that can't write in a transaction that can.
async fn query_within<C: DerefMut<Target = Conn>>(
    tx: &mut Tx<C>,
    types: &TypeCache,
    statement: &Sql,
    values: &[Value],
) -> Result<(Rows, bool), Fault> {
    let outcome = async {
        tx.add(BEGIN_READING, &[])?;
        let outcome = query(tx, types, statement, values).await?;
        tx.add(END_READING, &[])?;
        Ok(outcome)
    };
    let outcome = outcome.await.map_err(fault::of_connection)?;
    let truncated = outcome.truncated.is_some();
    Ok((rows(outcome.rows), truncated))
}

/// Runs a query that contains SQL from the workspace.
async fn query<C: DerefMut<Target = Conn>>(
    tx: &mut Tx<C>,
    types: &TypeCache,
    statement: &Sql,
    values: &[Value],
) -> Result<Outcome, Error> {
    let description = tx.prepare(&statement.text, types).await?;
    let mut bound = params::values(values, &description.params, types);
    bound.extend(borrow(statement).into_iter().skip(values.len()));
    tx.execute(&bound, Format::Json, CAPS, types).await
}

async fn query_alone(
    conn: &mut Conn,
    types: &TypeCache,
    statement: &Sql,
    values: &[Value],
) -> Result<(Rows, bool), Fault> {
    let mut tx = conn.begin(Begin::ReadOnly(&[])).await.map_err(fault::of_connection)?;
    match query(&mut tx, types, statement, values).await {
        Ok(outcome) => {
            let _ = tx.rollback().await;
            let truncated = outcome.truncated.is_some();
            Ok((rows(outcome.rows), truncated))
        }
        Err(error) => {
            let _ = tx.rollback().await;
            Err(fault::of_connection(error))
        }
    }
}

async fn run_all<C: DerefMut<Target = Conn>>(
    tx: &mut Tx<C>,
    types: &TypeCache,
    raw: &Raw<'_>,
    done: &Done<'_>,
) -> Result<SqlResult, Fault> {
    let (body, params) = (raw.body, raw.params);
    let (last, before) = raw.statements.split_last().ok_or_else(|| Fault::internal("no statement to run"))?;
    let mut ran = Vec::with_capacity(before.len());
    let started = Instant::now();
    for (index, statement) in before.iter().enumerate() {
        let description = tx.prepare(statement.text, types).await.map_err(|error| at(error, statement, body))?;
        count_params(description.params.len(), 0)?;
        let outcome = tx.discard().await.map_err(|error| at(error, statement, body))?;
        ran.push(RanStatement { command: outcome.command().to_owned(), rows: outcome.affected() });
        done(index + 1);
        tx.add(&[&limit(started)], &[]).map_err(fault::of_connection)?;
    }
    let description = tx.prepare(last.text, types).await.map_err(|error| at(error, last, body))?;
    count_params(description.params.len(), params.len())?;
    let values = params::values(params, &description.params, types);
    let columns = &description.columns;
    let names = unique_names(columns.iter().map(|column| &*column.name));
    if columns.iter().any(|column| column.is_anonymous_record)
        && last.command == Command::Query
        && !last.modifies_data()
    {
        // A record without a type arrives as text without names or types, so PostgreSQL itself converts it to JSON.
        let records: Vec<bool> = columns.iter().map(|column| column.is_anonymous_record).collect();
        let wrapped = rows_as_json(last.text, &names, &records);
        tx.prepare(&wrapped, types).await.map_err(|error| at(error, last, body))?;
    }
    let outcome = tx.execute(&values, Format::Json, CAPS, types).await.map_err(|error| at(error, last, body))?;
    let command = outcome.command().to_owned();
    Ok(SqlResult { before: ran, ..result(outcome, command, columns, names) })
}

/// The statement that limits the next one to what is left of the request's time. A lower limit that the statements before have set stays, and so
/// does one that is higher by less than a second: it need not be lowered after each of many short statements.
fn limit(started: Instant) -> String {
    let left = Duration::from_secs(STATEMENT_LIMIT_SECONDS).saturating_sub(started.elapsed()).as_millis().max(1);
    format!(
        "SELECT pg_catalog.set_config('statement_timeout', '{left}', true) FROM (SELECT pg_catalog.current_setting('statement_timeout')::pg_catalog.interval AS i) s \
         WHERE s.i OPERATOR(pg_catalog.=) '0'::pg_catalog.interval OR s.i OPERATOR(pg_catalog.>) '{} ms'::pg_catalog.interval",
        left + 1000
    )
}

fn result(outcome: Outcome, command: String, columns: &[pg::rows::Column], names: Vec<String>) -> SqlResult {
    let truncated = outcome.truncated.is_some();
    let affected = outcome.affected();
    let len = outcome.rows.len();
    let (_, data, ends) = outcome.rows.into_parts();
    let columns = columns
        .iter()
        .zip(names)
        .map(|(column, name)| ResultColumn { name: name.into(), type_name: column.type_name.clone() })
        .collect();
    let row_count = if truncated { len as u64 } else { affected.unwrap_or(len as u64) };
    SqlResult { rows: Rows::new(columns, data, ends, len), row_count, command, truncated, before: Vec::new() }
}

fn count_params(wanted: usize, given: usize) -> Result<(), Fault> {
    if wanted == given {
        return Ok(());
    }
    Err(Fault::invalid_with_hint(
        format!("The statement has {wanted} parameters, but \"params\" has {given} values."),
        "Give one value for each of $1, $2 …",
    ))
}

/// Column names made unique: the second `name` is `name_2`.
fn unique_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let given: Vec<&str> = names.collect();
    given
        .iter()
        .map(|name| {
            let mut candidate = (*name).to_owned();
            let mut number = 2;
            while taken.contains(&candidate) || (number > 2 && given.contains(&candidate.as_str())) {
                candidate = format!("{name}_{number}");
                number += 1;
            }
            taken.insert(candidate.clone());
            candidate
        })
        .collect()
}

/// The fault for an error. Its position is counted from the start of the body.
fn at(error: Error, statement: &Statement<'_>, body: &str) -> Fault {
    let mut fault = fault::of_connection(error);
    if let Fault::Sql(sql) = &mut fault {
        let before = body.get(..statement.offset).map_or(0, |before| before.chars().count() as u32);
        sql.position = sql.position.map(|position| position + before);
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::unique_names;

    fn check(names: &[&str], expected: &[&str]) {
        assert_eq!(unique_names(names.iter().copied()), expected);
    }

    #[test]
    fn a_second_column_of_a_name_gets_a_number() {
        check(&["a", "b"], &["a", "b"]);
        check(&["a", "a", "a"], &["a", "a_2", "a_3"]);
        check(&["a", "a_2", "a"], &["a", "a_2", "a_3"]);
        check(&["a", "a", "a_2"], &["a", "a_3", "a_2"]);
    }
}
