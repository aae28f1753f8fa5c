//! Raw SQL: statements one by one, not prepared by name.

use pg::Error;
use pg::conn::{Begin, Caps, Frame, Truncated};
use pg::types::TypeCache;

use crate::support::one;
use crate::{CAPS, act, cells, code, raw, run, run_with, server_error, statement, tenant, text};

#[tokio::test]
async fn every_kind_of_statement_runs_or_is_refused() {
    let (_tenant, mut conn) = tenant().await;
    let procedures = "create procedure p_out(inout a int) language plpgsql as 'begin a := a + 1; end'";
    conn.script(procedures).await.unwrap();
    let committing = "create procedure p_commit() language plpgsql as 'begin insert into t values (50) on conflict do nothing; commit; end'";
    conn.script(committing).await.unwrap();

    // Each runs in a transaction: the SQL, the tag, the number of rows, the first cell.
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
    // An open portal would prevent the table from being dropped.
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
