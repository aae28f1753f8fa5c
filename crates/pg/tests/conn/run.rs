//! Requests of several statements as one transaction, prepared by name.

use std::time::Duration;

use pg::Error;
use pg::conn::{Begin, Caps, Frame, Outcome, Statement, Want};
use pg::types::TypeCache;

use crate::support::one;
use crate::{CAPS, act, cells, code, raw, run, run_with, server_error, statement, tenant, text};

#[tokio::test]
async fn a_request_is_one_transaction_and_its_rows_are_json() {
    let (_tenant, mut conn) = tenant().await;
    let params = [text("4"), text("fo\"ur")];
    let statements = [
        statement("insert into t values ($1, $2)", &params),
        Statement { want: Want::Nothing, ..statement("select * from t", &[]) },
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
async fn a_frame_that_is_rolled_back_keeps_nothing() {
    let (_tenant, mut conn) = tenant().await;
    let outcomes = run(&mut conn, Frame::RolledBack, &["delete from t", "select a from t"]).await.unwrap();
    assert_eq!((outcomes[0].affected(), outcomes[1].rows.len()), (Some(3), 0));
    assert_eq!(code(run(&mut conn, Frame::RolledBack, &["delete from t", "select 1/0"]).await), "22012");
    // What a statement leaves of the transaction.
    for end in ["deallocate all", "savepoint s", "set constraints all immediate"] {
        run(&mut conn, Frame::RolledBack, &["delete from t", end]).await.unwrap();
        assert!(conn.is_clean());
    }
    assert_eq!(one(&mut conn, "select count(*) from t").await, "3");
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
    // A statement that would commit is ended by the client.
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

        // A tenant's function can drop prepared statements too.
        let drop_all = "do $$ begin execute 'deallocate all'; end $$";
        assert!(run_with(&mut conn, frame, &[drop_all], CAPS, &types).await.is_ok());
        let result = run_with(&mut conn, frame, sql, CAPS, &types).await;
        // In a read-only frame the missing ROLLBACK has already revealed it.
        assert!(matches!(result, Err(Error::Stale)) || frame == Frame::ReadOnly, "{result:?}");
        assert!(run_with(&mut conn, frame, sql, CAPS, &types).await.is_ok());
        assert_eq!(one(&mut other, "select count(*) from t where a = 20").await == "1", frame == Frame::Implicit);
        other.script("delete from t where a = 20").await.unwrap();
    }
    // The same SQLSTATE raised inside a statement is an error of that statement.
    let gone = "do $$ begin execute 'execute nothing'; end $$";
    assert_eq!(code(run(&mut conn, Frame::Implicit, &[gone]).await), "26000");
}

#[tokio::test]
async fn a_description_has_types_by_name() {
    let (_tenant, mut conn) = tenant().await;
    conn.script("create type mood as enum ('ok'); create type pair as (a int, b mood[])").await.unwrap();
    let types = TypeCache::default();
    let sql = "select a, b, null::mood[] as m, null::pair as p, null::numeric(9, 2) as n, row(1) as r from t where a = $1 and $2::mood = 'ok'";
    let description = conn.describe(sql, &types).await.unwrap();
    let names: Vec<_> = description.columns.iter().map(|column| &*column.type_name).collect();
    assert_eq!(names, ["integer", "text", "mood[]", "pair", "numeric", "record"]);
    let opaque: Vec<_> = description.columns.iter().map(|column| column.is_anonymous_record).collect();
    assert_eq!(opaque, [false, false, false, false, false, true]);
    assert_eq!((description.columns[1].attnum, description.columns[2].attnum), (2, 0));
    let mood = types.get(description.params[1]).unwrap();
    assert_eq!((description.params[0], mood.name.as_str()), (23, "mood"));

    // A changed type is detected after the cache is cleared, or when a value does not match it.
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
async fn requests_that_go_together_do_not_feel_each_other() {
    let (_tenant, mut conn) = tenant().await;
    let types = TypeCache::default();
    let long = "x".repeat(10);
    let sqls: [&[&str]; 5] = [
        &["select a from t order by a"],
        &["insert into t values (7)", "insert into t values (1)"],
        &["select count(*) from t", "select 'two'"],
        &["select repeat('x', 10)"],
        &["insert into t values (8) returning a"],
    ];
    let requests: Vec<Vec<Statement<'_>>> =
        sqls.iter().map(|request| request.iter().map(|sql| statement(sql, &[])).collect()).collect();
    for _ in 0..2 {
        let mut results = Vec::new();
        conn.run_each(&requests, &types, CAPS, |number, result| results.push((number, result))).await.unwrap();
        let mut results = results.into_iter().enumerate().map(|(at, (number, result))| {
            assert_eq!(at, number);
            result
        });
        let mut next = || results.next().unwrap();
        assert_eq!(next().unwrap()[0].rows.len(), 3);
        assert_eq!(code(next()), "23505");
        let two = next().unwrap();
        assert_eq!((cells(&two[0]), cells(&two[1])), (vec!["3"], vec![r#""two""#]), "the 7 went back with its request");
        assert_eq!(cells(&next().unwrap()[0]), [format!("\"{long}\"")]);
        assert_eq!(cells(&next().unwrap()[0]), ["8"]);
        assert!(conn.is_clean());
        assert_eq!(one(&mut conn, "delete from t where a = 8 returning a").await, "8");
    }
}

#[tokio::test]
async fn of_requests_that_go_together_only_those_that_went_stale_say_so() {
    let (tenant, mut conn) = tenant().await;
    let types = TypeCache::default();
    let requests = [vec![statement("select * from t where a = 1", &[])], vec![statement("select 'unmoved'", &[])]];
    let mut other = tenant.connect().await;
    for changed in [false, true, false] {
        if changed {
            other.script("alter table t add column c int").await.unwrap();
        }
        let mut results = Vec::new();
        conn.run_each(&requests, &types, CAPS, |_, result| results.push(result)).await.unwrap();
        assert_eq!(matches!(results[0], Err(Error::Stale)), changed, "{:?}", results[0]);
        assert_eq!(cells(&results[1].as_ref().unwrap()[0]), [r#""unmoved""#]);
    }
}

#[tokio::test]
async fn a_value_over_the_cap_costs_the_connection_and_what_comes_after() {
    let (_tenant, mut conn) = tenant().await;
    let types = TypeCache::default();
    let requests = ["select 'before'", "select repeat('x', 2000)", "select 'after'"];
    let requests = requests.map(|sql| vec![statement(sql, &[])]);
    let caps = Caps { max_value_bytes: 1_000, ..CAPS };
    let mut numbers = Vec::new();
    let result = conn.run_each(&requests, &types, caps, |number, _| numbers.push(number)).await;
    assert!(matches!(result, Err(Error::ValueTooLarge { limit: 1_000 })), "{result:?}");
    assert_eq!((numbers, conn.is_clean()), (vec![0], false));
}
