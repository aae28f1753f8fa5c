//! The client over a real server: what runs, what is refused, what is cut, and in what state it leaves the
//! connection.

mod support;

use std::borrow::Cow;
use std::time::Duration;

use pg::conn::{Begin, Caps, Format, Frame, Login, Outcome, Statement, Truncated, Tx};
use pg::types::TypeCache;
use pg::{Conn, Error, ServerError};
use support::{Tenant, one, server};

const CAPS: Caps = Caps { max_rows: 1_000, max_bytes: 1 << 20, max_value_bytes: 1 << 20 };

type Param<'a> = Option<Cow<'a, str>>;

fn statement<'a>(sql: &'a str, params: &'a [Param<'a>]) -> Statement<'a> {
    Statement { sql, params, format: Format::Json, discard: false }
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

/// Prepares and executes in a transaction.
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

#[tokio::test]
async fn a_request_is_one_transaction_and_its_rows_are_json() {
    let (_tenant, mut conn) = tenant().await;
    let params = [text("4"), text("fo\"ur")];
    let statements = [
        statement("insert into t values ($1, $2)", &params),
        Statement { discard: true, ..statement("select * from t", &[]) },
        statement("select * from t order by a desc limit 2", &[]),
    ];
    let types = TypeCache::default();
    let outcomes = conn.run(Frame::Implicit, &statements, &types, CAPS).await.unwrap();
    assert_eq!((outcomes[0].command(), outcomes[0].affected()), ("INSERT", Some(1)));
    assert_eq!((outcomes[1].rows.len(), outcomes[1].affected()), (0, Some(4)));
    assert_eq!(cells(&outcomes[2]), ["4", r#""fo\"ur""#, "3", "null"]);

    let result = run(&mut conn, Frame::Implicit, &["delete from t", "select 1/0"]).await;
    assert_eq!(code(result), "22012");
    assert!(conn.is_clean());
    assert_eq!(one(&mut conn, "select count(*) from t").await, "4");
}

#[tokio::test]
async fn a_read_only_frame_cannot_be_made_to_write() {
    let (_tenant, mut conn) = tenant().await;
    for sql in ["insert into t values (9)", "drop table t"] {
        assert_eq!(code(run(&mut conn, Frame::ReadOnly, &[sql]).await), "25006");
    }
    let unlock = "set transaction read write";
    assert_eq!(code(run(&mut conn, Frame::ReadOnly, &[unlock, "delete from t"]).await), "25001");
    let unlock = Begin::ReadOnly(&[]);
    assert_eq!(code(raw(&mut conn, unlock, "set transaction read write").await), "25001");
    assert_eq!(code(raw(&mut conn, unlock, "commit").await), "25001");
    assert_eq!(code(raw(&mut conn, unlock, "delete from t").await), "25006");
    assert_eq!(run(&mut conn, Frame::ReadOnly, &["select a from t"]).await.unwrap()[0].rows.len(), 3);
    assert!(conn.is_clean());
}

#[tokio::test]
async fn errors_tell_where_and_leave_the_connection_usable() {
    let (_tenant, mut conn) = tenant().await;
    let types = TypeCache::default();
    let error = server_error(run(&mut conn, Frame::Implicit, &["select 1", "select é, nme from t"]).await);
    assert_eq!((error.code.as_str(), error.position), ("42703", Some(8)));
    let error = server_error(run(&mut conn, Frame::Implicit, &["insert into t values (1)"]).await);
    assert_eq!((error.code.as_str(), error.constraint.as_deref()), ("23505", Some("t_pkey")));
    assert_eq!((error.table.as_deref(), error.schema.as_deref()), (Some("t"), Some("public")));
    assert_eq!(code(run(&mut conn, Frame::Implicit, &["select 1; select 2"]).await), "42601");
    assert_eq!(code(run(&mut conn, Frame::Implicit, &["select '\0'"]).await), "22021");
    let nul = [text("a\0b")];
    let result = conn.run(Frame::Implicit, &[statement("select $1::text", &nul)], &types, CAPS).await;
    assert_eq!(code(result), "22021");
    let result = conn.run(Frame::Implicit, &[statement("select 1", &nul)], &types, CAPS).await;
    assert_eq!(code(result), "08P01");
    let many = vec![None; 70_000];
    let result = conn.run(Frame::Implicit, &[statement("select 1", &many)], &types, CAPS).await;
    assert_eq!(code(result), "54000");
    assert!(conn.is_clean() && conn.is_alive());
    assert_eq!(one(&mut conn, "select 1").await, "1");
}

#[tokio::test]
async fn an_error_of_any_length_is_cut() {
    let (_tenant, mut conn) = tenant().await;
    let raise = "do $$ begin raise exception using message = repeat('x', 30000000), errcode = 'ZZ001'; end $$";
    let error = server_error(run(&mut conn, Frame::Implicit, &[raise]).await);
    assert_eq!(error.code, "ZZ001");
    assert!(error.message.len() < 70_000);
    let notice = "do $$ begin raise warning '%', repeat('x', 30000000); end $$";
    assert!(run(&mut conn, Frame::Implicit, &[notice]).await.is_ok());
}

#[tokio::test]
async fn every_kind_of_statement_runs_or_is_refused() {
    let (_tenant, mut conn) = tenant().await;
    let procedures = "create procedure p_out(inout a int) language plpgsql as 'begin a := a + 1; end'";
    conn.script(procedures).await.unwrap();
    let committing = "create procedure p_commit() language plpgsql as 'begin insert into t values (50) on conflict do nothing; commit; end'";
    conn.script(committing).await.unwrap();

    // In a transaction: the tag, how many rows, the first cell.
    for (sql, tag, rows, first) in [
        ("select 1 as a, 2 as a", "SELECT 1", 1, "1"),
        ("select 1 -- trailing comment", "SELECT 1", 1, "1"),
        ("insert into t(a, b) values (10, 'n') returning b, a", "INSERT 0 1", 1, r#""n""#),
        ("update t set b = 'x' where a = 10", "UPDATE 1", 0, ""),
        ("with d as (delete from t where a = 10 returning *) select count(*) from d", "SELECT 1", 1, "1"),
        ("explain (costs off) select 1", "EXPLAIN", 1, r#""Result""#),
        ("show server_encoding", "SHOW", 1, r#""UTF8""#),
        ("call p_out(4)", "CALL", 1, "5"),
        ("values (1, 'a'), (2, 'b')", "SELECT 2", 2, "1"),
        ("table t", "SELECT 3", 3, "1"),
        ("select * from generate_series(1, 100)", "SELECT 100", 100, "1"),
        ("select * from generate_series(1, 10000) limit 900", "SELECT 900", 900, "1"),
        ("select from t", "SELECT 3", 3, ""),
        ("", "", 0, ""),
        ("do $$ begin raise notice 'hi'; end $$", "DO", 0, ""),
        ("set work_mem = '8MB'", "SET", 0, ""),
        ("listen foo", "LISTEN", 0, ""),
        ("notify foo, 'bar'", "NOTIFY", 0, ""),
        ("declare cu cursor for select 1", "DECLARE CURSOR", 0, ""),
        ("prepare pp as select 1", "PREPARE", 0, ""),
        ("create table tt (a int)", "CREATE TABLE", 0, ""),
        (
            "merge into tt using (select 1 a) s on tt.a = s.a when not matched then insert values (s.a) returning tt.a",
            "MERGE 1",
            1,
            "1",
        ),
        ("insert into tt select generate_series(1, 200) returning a", "INSERT 0 200", 200, "1"),
        ("create table copy as table t", "SELECT 3", 0, ""),
        ("drop table tt", "DROP TABLE", 0, ""),
    ] {
        let outcome = raw(&mut conn, Begin::ReadWrite(&[]), sql).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!((outcome.tag.as_str(), outcome.rows.len()), (tag, rows), "{sql}");
        assert_eq!(cells(&outcome).first().copied().unwrap_or_default(), first, "{sql}");
        assert!(outcome.truncated.is_none() && conn.is_clean(), "{sql}");
    }
    // By itself.
    for (sql, tag) in [
        ("vacuum t", "VACUUM"),
        ("create index concurrently zz on t (b)", "CREATE INDEX"),
        ("drop index concurrently zz", "DROP INDEX"),
        ("call p_commit()", "CALL"),
        ("select 1", "SELECT 1"),
        ("select * from generate_series(1, 500)", "SELECT 500"),
    ] {
        let outcome = raw(&mut conn, Begin::Bare, sql).await;
        assert_eq!(outcome.unwrap_or_else(|error| panic!("{sql}: {error}")).tag, tag);
        assert!(conn.is_clean(), "{sql}");
    }
    assert_eq!(one(&mut conn, "select count(*) from t where a = 50").await, "1");
    for (sql, expected) in [
        ("vacuum t", "25001"),
        ("call p_commit()", "2D000"),
        ("begin", "25001"),
        ("/* */ rollback", "25001"),
        ("select 1; select 2", "42601"),
        ("selec 1", "42601"),
        ("select nme from t", "42703"),
        ("select 1/0", "22012"),
        ("select 1/(100-g) from generate_series(1, 200) g", "22012"),
        ("insert into t(a) values (70), (70)", "23505"),
        ("select $1", "08P01"),
    ] {
        assert_eq!(code(raw(&mut conn, Begin::ReadWrite(&[]), sql).await), expected, "{sql}");
        assert!(conn.is_clean(), "{sql}");
    }
    for sql in ["select 1/0", "selec", "insert into t values (1)"] {
        server_error(raw(&mut conn, Begin::Bare, sql).await);
        assert!(conn.is_clean(), "{sql}");
    }
}

#[tokio::test]
async fn copy_is_refused_and_never_stuck() {
    let (tenant, mut conn) = tenant().await;
    for sql in ["copy t to stdout", "copy t from stdin"] {
        for begin in [Begin::ReadWrite(&[]), Begin::Bare] {
            assert!(matches!(raw(&mut conn, begin, sql).await, Err(Error::Copy)), "{sql}");
            assert!(conn.is_clean(), "{sql}");
        }
        assert_eq!(one(&mut conn, "select count(*) from t").await, "3");
        let mut other = tenant.connect().await;
        assert!(matches!(run(&mut other, Frame::ReadOnly, &[sql]).await, Err(Error::Copy | Error::Server(_))));
        assert!(other.is_clean() || !other.is_alive());
        let mut other = tenant.connect().await;
        assert!(matches!(other.query(sql, &[]).await, Err(Error::Copy)));
        assert!(!other.is_alive());
    }
    let endless = "copy (select repeat('x', 1000) from generate_series(1, 10000000)) to stdout";
    let mut tx = conn.begin(Begin::ReadWrite(&[])).await.unwrap();
    assert!(matches!(act(&mut tx, endless, CAPS).await, Err(Error::Copy)));
    drop(tx);
    assert!(!conn.is_alive());
}

#[tokio::test]
async fn results_are_cut_at_the_caps() {
    let (_tenant, mut conn) = tenant().await;
    let few = Caps { max_rows: 10, ..CAPS };
    let small = Caps { max_bytes: 10_000, ..CAPS };
    let types = TypeCache::default();
    let endless = "select g, repeat('x', 100) from generate_series(1, 100000000) g";
    for begin in [Begin::ReadWrite(&[]), Begin::Bare, Begin::ReadOnly(&[])] {
        let mut tx = conn.begin(begin).await.unwrap();
        let outcome = act(&mut tx, "select generate_series(1, 11)", few).await.unwrap();
        assert_eq!((outcome.rows.len(), outcome.truncated), (10, Some(Truncated::Rows)));
        assert_eq!((outcome.command(), outcome.affected()), ("SELECT", None));
        tx.commit().await.unwrap();

        let mut tx = conn.begin(begin).await.unwrap();
        let outcome = act(&mut tx, "select generate_series(1, 10)", few).await.unwrap();
        assert_eq!((outcome.rows.len(), outcome.truncated), (10, None));
        tx.rollback().await.unwrap();

        // The function's rows would take gigabytes on the server's disk; a cursor over a table would not.
        let mut tx = conn.begin(begin).await.unwrap();
        let rows = "select a.g, repeat('x', 100) from t, lateral (select * from generate_series(1, 1000) g) a";
        let outcome = act(&mut tx, rows, small).await.unwrap();
        assert_eq!(outcome.truncated, Some(Truncated::Bytes));
        assert!((90..100).contains(&outcome.rows.len()), "{}", outcome.rows.len());
        tx.commit().await.unwrap();
        assert!(conn.is_clean());
    }
    // An open portal would keep the table from being dropped.
    let mut tx = conn.begin(Begin::ReadWrite(&[])).await.unwrap();
    act(&mut tx, "select a from t", Caps { max_rows: 1, ..CAPS }).await.unwrap();
    act(&mut tx, "drop table t", CAPS).await.unwrap();
    tx.rollback().await.unwrap();

    for (frame, caps, cut) in [
        (Frame::Implicit, few, Truncated::Rows),
        (Frame::ReadOnly, small, Truncated::Bytes),
        (Frame::Implicit, small, Truncated::Bytes),
    ] {
        let sql = endless.replace("100000000", "5000");
        let outcomes = run_with(&mut conn, frame, &[&sql, "select 1"], caps, &types).await.unwrap();
        assert_eq!(outcomes[0].truncated, Some(cut));
        assert_eq!((outcomes[1].rows.len(), outcomes[1].truncated), (1, None));
        assert!(conn.is_clean());
    }
}

#[tokio::test]
async fn a_value_over_the_cap_is_refused_and_a_row_of_many_is_cut() {
    let (tenant, mut conn) = tenant().await;
    let caps = Caps { max_rows: 100, max_bytes: 5_000, max_value_bytes: 1_000 };
    let fits = "select repeat('x', 990), repeat('y', 990), repeat('z', 990)";
    let wide = format!("{fits}, {}", &fits[7..]);
    let huge = "select 1, repeat('x', 3000000)";
    let control = "select repeat(chr(1), 400)";
    let types = TypeCache::default();
    for sql in [huge, control] {
        let result = run_with(&mut conn, Frame::ReadOnly, &[sql, "select 1"], caps, &types).await;
        assert!(matches!(result, Err(Error::ValueTooLarge { limit: 1_000 })), "{sql}");
        assert!(conn.is_clean());
        for begin in [Begin::ReadWrite(&[]), Begin::Bare] {
            let mut tx = conn.begin(begin).await.unwrap();
            let result = act(&mut tx, sql, caps).await;
            assert!(matches!(result, Err(Error::ValueTooLarge { limit: 1_000 })), "{sql}");
            tx.rollback().await.unwrap();
            assert!(conn.is_clean());
        }
    }
    for (sql, rows) in [(fits, 1), (wide.as_str(), 0)] {
        let outcomes = run_with(&mut conn, Frame::Implicit, &[sql], caps, &types).await.unwrap();
        assert_eq!((outcomes[0].rows.len(), outcomes[0].truncated.is_some()), (rows, rows == 0));
    }
    // What would commit is ended from this side.
    let insert = "insert into t values (9, repeat('x', 9000000)) returning b";
    let result = run_with(&mut conn, Frame::Implicit, &[insert], caps, &types).await;
    assert!(matches!(result, Err(Error::ValueTooLarge { .. })));
    assert!(!conn.is_alive());
    let pid = conn.pid();
    drop(conn);
    let mut conn = tenant.connect().await;
    let gone = format!("select count(*) from pg_stat_activity where pid = {pid}");
    while one(&mut conn, &gone).await != "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(one(&mut conn, "select count(*) from t").await, "3");
}

#[tokio::test]
async fn what_a_bare_statement_did_can_be_taken_back_until_it_is_committed() {
    let (_tenant, mut conn) = tenant().await;
    let mut tx = conn.begin(Begin::Bare).await.unwrap();
    act(&mut tx, "delete from t", CAPS).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(conn.is_clean());
    assert_eq!(one(&mut conn, "select count(*) from t").await, "3");
}

#[tokio::test]
async fn preludes_go_first_and_their_errors_come_first() {
    let (_tenant, mut conn) = tenant().await;
    let params = [text("7")];
    let prelude = [statement("select set_config('kith.probe', $1, true)", &params)];
    let mut tx = conn.begin(Begin::ReadWrite(&prelude)).await.unwrap();
    let outcome = act(&mut tx, "select current_setting('kith.probe')", CAPS).await.unwrap();
    assert_eq!(cells(&outcome), [r#""7""#]);
    let outcome = act(&mut tx, "select a from t where a = 1", CAPS).await.unwrap();
    assert_eq!(cells(&outcome), ["1"]);
    tx.commit().await.unwrap();

    let prelude = [statement("select 1/0", &[])];
    assert_eq!(code(raw(&mut conn, Begin::ReadWrite(&prelude), "selec").await), "22012");
    let tx = conn.begin(Begin::ReadWrite(&prelude)).await.unwrap();
    assert_eq!(code(tx.commit().await), "22012");
    assert!(conn.is_clean());
    conn.begin(Begin::ReadOnly(&[])).await.unwrap().rollback().await.unwrap();
    conn.begin(Begin::Bare).await.unwrap().commit().await.unwrap();
    assert!(conn.is_clean());
}

#[tokio::test]
async fn a_commit_says_what_was_deferred_to_it() {
    let (_tenant, mut conn) = tenant().await;
    conn.script("create table d (a int unique deferrable initially deferred)").await.unwrap();
    let insert = "insert into d values (1), (1)";
    assert_eq!(code(run(&mut conn, Frame::Implicit, &[insert]).await), "23505");
    assert_eq!(code(raw(&mut conn, Begin::ReadWrite(&[]), insert).await), "23505");
    assert_eq!(code(raw(&mut conn, Begin::Bare, insert).await), "23505");
    assert!(conn.is_clean());

    let mut tx = conn.begin(Begin::ReadWrite(&[])).await.unwrap();
    server_error(act(&mut tx, "select 1/0", CAPS).await);
    assert_eq!(code(act(&mut tx, "select 1", CAPS).await), "40000");
    assert_eq!(code(tx.commit().await), "40000");
    assert!(conn.is_clean());
}

#[tokio::test]
async fn statements_that_went_stale_are_dropped_and_can_be_run_again() {
    let (tenant, mut conn) = tenant().await;
    let mut other = tenant.connect().await;
    let sql = ["insert into t values (20)", "select * from t where a = 1"];
    let types = TypeCache::default();
    for frame in [Frame::ReadOnly, Frame::Implicit] {
        let sql = if frame == Frame::ReadOnly { &sql[1..] } else { &sql[..] };
        assert!(run_with(&mut conn, frame, sql, CAPS, &types).await.is_ok());
        other.script("delete from t where a = 20; alter table t add column c int").await.unwrap();
        let result = run_with(&mut conn, frame, sql, CAPS, &types).await;
        assert!(matches!(result, Err(Error::Stale)), "{result:?}");
        assert!(conn.is_clean());
        let outcomes = run_with(&mut conn, frame, sql, CAPS, &types).await.unwrap();
        assert_eq!(outcomes.last().unwrap().rows.columns().len(), 3);
        other.script("alter table t drop column c; delete from t where a = 20").await.unwrap();
        let _ = run_with(&mut conn, frame, sql, CAPS, &types).await;
        assert!(run_with(&mut conn, frame, sql, CAPS, &types).await.is_ok());
        other.script("delete from t where a = 20").await.unwrap();

        // A tenant's function can drop them too.
        let drop_all = "do $$ begin execute 'deallocate all'; end $$";
        assert!(run_with(&mut conn, frame, &[drop_all], CAPS, &types).await.is_ok());
        let result = run_with(&mut conn, frame, sql, CAPS, &types).await;
        // The missing ROLLBACK gave it away already.
        assert!(matches!(result, Err(Error::Stale)) || frame == Frame::ReadOnly, "{result:?}");
        assert!(run_with(&mut conn, frame, sql, CAPS, &types).await.is_ok());
        assert_eq!(one(&mut other, "select count(*) from t where a = 20").await == "1", frame == Frame::Implicit);
        other.script("delete from t where a = 20").await.unwrap();
    }
    // The same code from inside of a statement is the statement's own.
    let gone = "do $$ begin execute 'execute nothing'; end $$";
    assert_eq!(code(run(&mut conn, Frame::Implicit, &[gone]).await), "26000");
}

#[tokio::test]
async fn a_connection_keeps_200_statements() {
    let (_tenant, mut conn) = tenant().await;
    let types = TypeCache::default();
    for i in 0..450 {
        let (a, b) = (format!("select {i}"), format!("select {}", i / 2));
        run_with(&mut conn, Frame::ReadOnly, &[&a, "select 'always'", &b], CAPS, &types).await.unwrap();
    }
    let sqls: Vec<String> = (0..300).map(|i| format!("select -{i}")).collect();
    let sqls: Vec<&str> = sqls.iter().map(String::as_str).collect();
    assert_eq!(run_with(&mut conn, Frame::Implicit, &sqls, CAPS, &types).await.unwrap().len(), 300);
    run_with(&mut conn, Frame::Implicit, &["select 'x'"], CAPS, &types).await.unwrap();
    assert_eq!(one(&mut conn, "select count(*) from pg_prepared_statements").await, "200");
    conn.reset().await.unwrap();
    assert_eq!(one(&mut conn, "select count(*) from pg_prepared_statements").await, "0");
    run_with(&mut conn, Frame::ReadOnly, &["select 1", "select 1"], CAPS, &types).await.unwrap();
}

#[tokio::test]
async fn a_description_has_types_by_name() {
    let (_tenant, mut conn) = tenant().await;
    conn.script("create type mood as enum ('ok'); create type pair as (a int, b mood[])").await.unwrap();
    let types = TypeCache::default();
    let sql = "select a, b, null::mood[] as m, null::pair as p, null::numeric(9, 2) as n, row(1) as r from t where a = $1 and $2::mood = 'ok'";
    let description = conn.describe(sql, &types).await.unwrap();
    let names: Vec<_> = description.columns.iter().map(|column| column.type_name.as_str()).collect();
    assert_eq!(names, ["integer", "text", "mood[]", "pair", "numeric", "record"]);
    let opaque: Vec<_> = description.columns.iter().map(|column| column.is_anonymous_record).collect();
    assert_eq!(opaque, [false, false, false, false, false, true]);
    assert_eq!((description.columns[1].attnum, description.columns[2].attnum), (2, 0));
    let mood = types.get(description.params[1]).unwrap();
    assert_eq!((description.params[0], mood.name.as_str()), (23, "mood"));

    // A type that changes is seen once the cache is cleared, or once a value does not fit it.
    let sql = "select row(1, null)::pair";
    let value = |outcomes: Vec<Outcome>| cells(&outcomes[0])[0].to_owned();
    let first = run_with(&mut conn, Frame::Implicit, &[sql], CAPS, &types).await.unwrap();
    assert_eq!(value(first), r#"{"a":1,"b":null}"#);
    conn.script("alter type pair rename attribute a to c; create table pairs (p pair)").await.unwrap();
    types.clear();
    let second = run_with(&mut conn, Frame::Implicit, &[sql], CAPS, &types).await.unwrap();
    assert_eq!(value(second), r#"{"b":null,"c":1}"#);
    let sql = "select t from t where a = 1";
    run_with(&mut conn, Frame::Implicit, &[sql], CAPS, &types).await.unwrap();
    conn.script("alter table t add column c int default 7").await.unwrap();
    run_with(&mut conn, Frame::Implicit, &[sql], CAPS, &types).await.unwrap();
    let third = run_with(&mut conn, Frame::Implicit, &[sql], CAPS, &types).await.unwrap();
    assert_eq!(value(third), r#"{"a":1,"b":"one","c":7}"#);
}

#[tokio::test]
async fn a_request_given_up_half_way_leaves_the_connection_unclean() {
    let (tenant, mut conn) = tenant().await;
    let short = Duration::from_millis(50);
    let slow = run(&mut conn, Frame::Implicit, &["select pg_sleep(60)"]);
    assert!(tokio::time::timeout(short, slow).await.is_err());
    assert!(!conn.is_clean());
    assert!(run(&mut conn, Frame::Implicit, &["select 1"]).await.is_err());
    assert!(conn.reset().await.is_err());

    let mut conn = tenant.connect().await;
    let mut tx = conn.begin(Begin::ReadWrite(&[])).await.unwrap();
    act(&mut tx, "select 1", CAPS).await.unwrap();
    drop(tx);
    assert!(!conn.is_clean());
    let mut conn = tenant.connect().await;
    drop(conn.begin(Begin::ReadWrite(&[])).await.unwrap());
    assert!(!conn.is_clean());
}

#[tokio::test]
async fn the_end_of_the_backend_is_told_and_noticed() {
    let (tenant, mut conn) = tenant().await;
    let mut admin = server().await.admin().await;
    let terminate = format!("select pg_terminate_backend({}, 5000)", conn.pid());
    let slow = run(&mut conn, Frame::Implicit, &["select pg_sleep(60)"]);
    let (result, _) = tokio::join!(slow, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        admin.query(&terminate, &[]).await.unwrap()
    });
    assert_eq!(code(result), "57P01");
    assert!(!conn.is_clean() && !conn.is_alive());

    let mut conn = tenant.connect().await;
    assert!(conn.is_alive());
    admin.query(&format!("select pg_terminate_backend({}, 5000)", conn.pid()), &[]).await.unwrap();
    support::until("the end is noticed", Duration::from_secs(5), || {
        let alive = conn.is_alive();
        async move { !alive }
    })
    .await;
    let mut conn = tenant.connect().await;
    admin.query(&format!("select pg_terminate_backend({}, 5000)", conn.pid()), &[]).await.unwrap();
    assert_eq!(code(run(&mut conn, Frame::Implicit, &["select 1"]).await), "57P01");
}

#[tokio::test]
async fn a_changed_setting_is_seen_and_a_reset_undoes_it() {
    let (_tenant, mut conn) = tenant().await;
    for (setting, value) in [("timezone", "Asia/Tokyo"), ("search_path", "pg_temp"), ("datestyle", "german")] {
        assert!(!conn.is_altered());
        let sql = format!("select set_config('{setting}', '{value}', false)");
        run(&mut conn, Frame::Implicit, &[&sql]).await.unwrap();
        assert!(conn.is_clean());
        // Reported from PostgreSQL 18 on.
        assert!(conn.is_altered() || setting == "search_path");
        conn.reset().await.unwrap();
    }
    assert!(!conn.is_altered());
    raw(&mut conn, Begin::ReadWrite(&[]), "declare c cursor with hold for select 1").await.unwrap();
    conn.reset().await.unwrap();
    assert_eq!(one(&mut conn, "select count(*) from pg_cursors where name <> ''").await, "0");
}

#[tokio::test]
async fn a_long_pipeline_with_long_answers_does_not_stop() {
    let (_tenant, mut conn) = tenant().await;
    let big = "x".repeat(1 << 20);
    let params = [text(&big)];
    let statements: Vec<_> = (0..40).map(|_| statement("select $1::text, $1::text", &params)).collect();
    let caps = Caps { max_value_bytes: 2 << 20, max_bytes: 4 << 20, ..CAPS };
    let types = TypeCache::default();
    let all = conn.run(Frame::Implicit, &statements, &types, caps);
    let outcomes = tokio::time::timeout(Duration::from_secs(60), all).await.unwrap().unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.rows.cell(0, 1).len() == big.len() + 2));
}

#[tokio::test]
async fn a_verifier_lets_its_password_in_and_no_other() {
    let (tenant, _conn) = tenant().await;
    let mut admin = server().await.admin().await;
    for iterations in [1, 4096] {
        let verifier = pg::scram::verifier("a fine password", iterations, &[7; 16]);
        assert_eq!(one(&mut admin, &format!("select '{verifier}'")).await, verifier);
        admin.query(&format!("alter role {} password '{verifier}'", tenant.role), &[]).await.unwrap();
        let target = server().await.target();
        let login = |password| Login { user: &tenant.role, password, database: &tenant.database, settings: &[] };
        assert!(Conn::open(&target, &login("a fine password")).await.unwrap().is_clean());
        assert_eq!(code(Conn::open(&target, &login("another")).await), "28P01");
    }
}
