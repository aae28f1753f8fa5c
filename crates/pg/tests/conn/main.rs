//! The client over a real server: what runs, what is refused, what is cut, and the state of the connection afterwards.

mod raw;
mod run;
mod session;
#[path = "../support/mod.rs"]
mod support;

use std::borrow::Cow;

use pg::conn::{Begin, Caps, Format, Frame, Outcome, Statement, Tx, Want};
use pg::types::TypeCache;
use pg::{Conn, Error, ServerError};
use support::{Tenant, server};

const CAPS: Caps = Caps { max_rows: 1_000, max_bytes: 1 << 20, max_value_bytes: 1 << 20 };

type Param<'a> = Option<Cow<'a, str>>;

fn statement<'a>(sql: &'a str, params: &'a [Param<'a>]) -> Statement<'a> {
    Statement { sql, params, format: Format::Json, want: Want::Rows }
}

fn text(text: &str) -> Param<'_> {
    Some(Cow::Borrowed(text))
}

async fn run(conn: &mut Conn, frame: Frame, sqls: &[&str]) -> Result<Vec<Outcome>, Error> {
    run_with(conn, frame, sqls, CAPS, &TypeCache::default()).await
}

async fn run_with(
    conn: &mut Conn,
    frame: Frame,
    sqls: &[&str],
    caps: Caps,
    types: &TypeCache,
) -> Result<Vec<Outcome>, Error> {
    let statements: Vec<_> = sqls.iter().map(|sql| statement(sql, &[])).collect();
    conn.run(frame, &statements, types, caps).await
}

/// Prepares and executes a statement in a transaction.
async fn act(tx: &mut Tx<&mut Conn>, sql: &str, caps: Caps) -> Result<Outcome, Error> {
    let types = TypeCache::default();
    tx.prepare(sql, &types).await?;
    tx.execute(&[], Format::Json, caps, &types).await
}

/// Runs one statement by the raw SQL path and commits.
async fn raw(conn: &mut Conn, begin: Begin<'_>, sql: &str) -> Result<Outcome, Error> {
    let mut tx = conn.begin(begin).await?;
    match act(&mut tx, sql, CAPS).await {
        Ok(outcome) => tx.commit().await.map(|()| outcome),
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

#[track_caller]
fn server_error<T>(result: Result<T, Error>) -> ServerError {
    match result {
        Err(Error::Server(error)) => *error,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it went well"),
    }
}

#[track_caller]
fn code<T>(result: Result<T, Error>) -> String {
    server_error(result).code
}

/// A tenant with a table `t(a int primary key, b text)` of three rows.
async fn tenant() -> (Tenant, Conn) {
    let tenant = server().await.tenant().await;
    let mut conn = tenant.connect().await;
    let rows = "insert into t values (1, 'one'), (2, 'two'), (3, null)";
    conn.script(&format!("create table t (a int primary key, b text); {rows}")).await.unwrap();
    (tenant, conn)
}

fn cells(outcome: &Outcome) -> Vec<&str> {
    let columns = outcome.rows.columns().len();
    let all = (0..outcome.rows.len()).flat_map(|row| (0..columns).map(move |col| (row, col)));
    all.map(|(row, col)| std::str::from_utf8(outcome.rows.cell(row, col)).unwrap()).collect()
}
