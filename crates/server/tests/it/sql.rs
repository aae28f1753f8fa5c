//! `POST /v1/sql`: statements, transactions, results and errors.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both};

async fn with_table() -> Agent {
    let agent = agent().await;
    agent.sql("create table t (id int primary key, note text)").await.status(200);
    agent
}

async fn count(agent: &Agent) -> Value {
    agent.sql("select count(*) as v from t").await.status(200).v()
}

#[tokio::test]
async fn a_result_has_columns_rows_count_and_command() {
    let agent = with_table().await;
    let check = async |sql: &str, command: &str, row_count: u64, rows: Value| {
        let reply = agent.sql(sql).await.status(200);
        assert_eq!(reply.at("/data/command"), command, "{}", reply.story());
        assert_eq!(reply.at("/data/rowCount"), row_count, "{}", reply.story());
        assert_eq!(reply.at("/data/rows"), rows, "{}", reply.story());
        assert!(reply.json()["_meta"].get("truncated").is_none(), "{}", reply.story());
    };
    check("insert into t values (1, 'a'), (2, 'b')", "INSERT", 2, json!([])).await;
    check("update t set note = 'c' returning id", "UPDATE", 2, json!([{"id": 1}, {"id": 2}])).await;
    check("delete from t where id = 2", "DELETE", 1, json!([])).await;
    check("select * from t", "SELECT", 1, json!([{"id": 1, "note": "c"}])).await;
    check("table t", "SELECT", 1, json!([{"id": 1, "note": "c"}])).await;
    check("values (1), (2)", "SELECT", 2, json!([{"column1": 1}, {"column1": 2}])).await;
    check("with w as (insert into t values (3) returning *) select id from w", "SELECT", 1, json!([{"id": 3}])).await;
    check("select from t", "SELECT", 2, json!([{}, {}])).await;
    check("create table u (x int)", "CREATE TABLE", 0, json!([])).await;
    check("create index on u (x)", "CREATE INDEX", 0, json!([])).await;
    check("comment on table u is 'x'", "COMMENT", 0, json!([])).await;
    check("do $$ begin insert into u values (1); end $$", "DO", 0, json!([])).await;
    check("drop table u", "DROP TABLE", 0, json!([])).await;
    check("show timezone", "SHOW", 1, json!([{"TimeZone": "UTC"}])).await;
    check(
        "merge into t using (values (1)) v (i) on t.id = v.i when matched then update set note = 'm'",
        "MERGE",
        1,
        json!([]),
    )
    .await;
    let plan = agent.sql("explain (format json) select 1").await.status(200);
    assert_eq!(plan.at("/data/columns/0/name"), "QUERY PLAN");
}

#[tokio::test]
async fn columns_of_one_name_are_told_apart() {
    let agent = agent().await;
    let reply = agent.sql("select 1 as a, 2 as a, 3 as a, 4 as a_2, 5 as \"\"\"\", 6, 7").await.status(200);
    let names: Vec<Value> = reply.at("/data/columns").as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(json!(names), json!(["a", "a_3", "a_4", "a_2", "\"", "?column?", "?column?_2"]), "{}", reply.story());
    assert_eq!(reply.at("/data/rows/0/a_3"), 2);
    let reply = agent.sql("select c.*, d.* from contacts c join deals d on true").await.status(200);
    assert_eq!(reply.at("/data/rowCount"), 0);
}

#[tokio::test]
async fn several_statements_are_one_transaction_with_the_last_ones_result() {
    let agent = with_table().await;
    let reply = agent
        .sql("insert into t values (1); insert into t values (2); ; -- none\n select count(*) as v from t; /* end */ ;")
        .await
        .status(200);
    assert_eq!(reply.v(), 2);
    let times =
        agent.sql("create table n (a timestamptz); insert into n values (now()); select a = now() as v from n").await;
    assert_eq!(times.v(), true, "one transaction");

    let reply = agent.sql("insert into t values (3); insert into t values (1); select 1").await.fault(400, "sql_error");
    assert_eq!(reply.at("/code"), "23505");
    assert_eq!(count(&agent).await, 2, "nothing of the failing request is kept");
    agent.sql("create table gone (x int); select 1/0").await.fault(400, "sql_error");
    agent.sql("select * from gone").await.fault(400, "sql_error");
}

#[tokio::test]
async fn fifty_statements_are_taken_and_no_more() {
    let agent = with_table().await;
    let body =
        |statements: usize| (0..statements).map(|id| format!("insert into t values ({id});")).collect::<String>();
    agent.sql(&body(51)).await.fault(400, "invalid_request").says("50");
    assert_eq!(count(&agent).await, 0);
    agent.sql(&body(50)).await.status(200);
    assert_eq!(count(&agent).await, 50);
}

#[tokio::test]
async fn params_go_with_one_statement_and_match_it_in_number() {
    let agent = with_table().await;
    agent.sql_with("select 1; select $1::int", json!([1])).await.fault(400, "invalid_request").says("params");
    agent.sql_with("select $1::int as v", json!([])).await.fault(400, "invalid_request").says("1 parameter");
    agent.sql_with("select $1::int as v", json!([1, 2])).await.fault(400, "invalid_request").says("2 values");
    agent.sql_with("select 1 as v", json!([1])).await.fault(400, "invalid_request").says("0 parameters");
    agent.sql("select 1; select $1::int").await.status(400);
    let reply = agent.sql_with("select $2::int - $1::int as v;", json!([1, 3])).await.status(200);
    assert_eq!(reply.v(), 2);
    let reply = agent.sql_with("insert into t values ($1, $2) returning note as v", json!([1, "x"])).await.status(200);
    assert_eq!(reply.v(), "x");
}

#[tokio::test]
async fn transaction_control_is_refused_in_all_spellings() {
    let agent = with_table().await;
    for spelling in [
        "begin",
        "BEGIN",
        "Begin Work",
        "begin isolation level serializable",
        "start transaction",
        "START\n\tTRANSACTION READ ONLY",
        "commit",
        "/* x */ COMMIT /* y */ AND CHAIN",
        "-- x\nend",
        "rollback",
        "rollback to savepoint s",
        "abort",
        "savepoint s",
        "release s",
        "release savepoint s",
        "prepare transaction 'x'",
        "commit prepared 'x'",
        "rollback prepared 'x'",
        "set transaction read write",
        "SET  /**/ TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "set session characteristics as transaction read only",
        "insert into t values (1); commit; insert into t values (2)",
        ";;; commit",
        "( commit )",
    ] {
        let reply = agent.sql(spelling).await;
        if spelling.starts_with('(') {
            reply.fault(400, "sql_error");
            continue;
        }
        reply.fault(400, "invalid_request").says("one transaction");
    }
    // A procedure can't leave the transaction either.
    let reply = agent.sql("do $$ begin insert into t values (9); commit; end $$").await.fault(400, "sql_error");
    assert_eq!(reply.at("/code"), "2D000", "{}", reply.story());
    assert_eq!(count(&agent).await, 0);
    // Quoted words are not commands.
    agent.sql("select 'begin' as begin, $$; commit;$$ as v, \"note\" from t; -- commit").await.status(200);
    agent.sql("create function f() returns int language sql begin atomic select 1; end").await.status(200);
}

#[tokio::test]
async fn copy_is_refused() {
    let agent = with_table().await;
    for sql in [
        "copy t to stdout",
        "COPY t FROM stdin",
        "copy (select 1) to program 'x'",
        "select 1; copy t from '/etc/passwd'",
    ] {
        let reply = agent.sql(sql).await.fault(400, "sql_error").says("COPY");
        assert_eq!(reply.at("/code"), "0A000");
    }
    agent.sql("select 1").await.status(200);
}

async fn sql_error(agent: &Agent, sql: &str, status: u16, code: &str, position: Value) -> Reply {
    let reply = agent.sql(sql).await.fault(status, "sql_error");
    assert_eq!(reply.at("/code"), code, "{}", reply.story());
    assert_eq!(reply.at("/position"), position, "{}", reply.story());
    reply.at("/hint");
    reply
}

#[tokio::test]
async fn an_error_tells_sqlstate_hint_and_where_it_stands_in_the_body() {
    let agent = with_table().await;
    sql_error(&agent, "select x", 400, "42703", json!(8)).await;
    sql_error(&agent, "selec 1", 400, "42601", json!(1)).await;
    sql_error(&agent, "select 1; select x", 400, "42703", json!(18)).await;
    sql_error(&agent, "select 'é☃😀'; select x", 400, "42703", json!(22)).await;
    sql_error(&agent, "\n\n  -- é\n select * from nix", 400, "42P01", json!(25)).await;
    sql_error(&agent, "select 1/0", 400, "22012", Value::Null).await;
    sql_error(&agent, "select 'open", 400, "42601", json!(8)).await;
    sql_error(&agent, "insert into t values (1); insert into t values (1)", 400, "23505", Value::Null).await;
    sql_error(&agent, "select * from kith.secret", 403, "42501", Value::Null).await;
    sql_error(&agent, "create role x", 403, "42501", Value::Null).await;
    sql_error(&agent, "drop table emails", 403, "42501", Value::Null).await;
    let reply = sql_error(&agent, "select emial from contacts", 400, "42703", json!(8)).await;
    assert!(reply.text("/hint").contains("email"), "{}", reply.story());
    let reply = sql_error(
        &agent,
        "do $$ begin raise 'no way' using errcode = 'ZZ123', hint = 'try', detail = 'd'; end $$",
        400,
        "ZZ123",
        Value::Null,
    )
    .await;
    assert_eq!((reply.at("/hint"), reply.at("/detail")), (json!("try"), json!("d")));
}

#[tokio::test]
async fn an_error_at_commit_is_an_error() {
    let agent = with_table().await;
    agent.sql("create table child (t int references t deferrable initially deferred)").await.status(200);
    let reply = agent.sql("insert into child values (9)").await.fault(400, "sql_error");
    assert_eq!(reply.at("/code"), "23503", "{}", reply.story());
    assert_eq!(agent.sql("select count(*) as v from child").await.v(), 0);
    agent.sql("insert into child values (9); insert into t values (9)").await.status(200);
}

#[tokio::test]
async fn nothing_of_a_session_is_left_for_the_next() {
    let agent = with_table().await;
    agent
        .sql("set statement_timeout = '7s'; set search_path = pg_catalog; set timezone = 'Asia/Tokyo'")
        .await
        .status(200);
    agent.sql("prepare p as select 1; listen x; declare c cursor with hold for select 1").await.status(200);
    for _ in 0..10 {
        let reply = agent.sql("select concat_ws('/', current_setting('timezone'), current_setting('search_path'), current_setting('statement_timeout')) as v").await;
        assert_eq!(reply.status(200).v(), "UTC/public/30s");
        agent.sql("execute p").await.fault(400, "sql_error");
        agent.sql("fetch c").await.fault(400, "sql_error");
        let stamp = agent.post("/v1/contacts", json!({})).await.status(201).text("/data/created_at");
        assert!(stamp.ends_with("+00:00"), "{stamp}");
    }
}

#[tokio::test]
async fn statements_that_run_outside_a_transaction_run_alone() {
    let agent = with_table().await;
    assert_eq!(agent.sql("vacuum t").await.status(200).at("/data/command"), "VACUUM");
    assert_eq!(
        agent.sql("create index concurrently t_note on t (note);").await.status(200).at("/data/command"),
        "CREATE INDEX"
    );
    let reply = agent.sql("select 1; vacuum t").await.fault(400, "sql_error");
    assert_eq!(reply.at("/code"), "25001", "{}", reply.story());
}

#[tokio::test]
async fn what_is_no_statement_is_refused() {
    let agent = agent().await;
    for sql in ["", "  ", ";", "-- nothing", "/* nothing */ ;;"] {
        agent.sql(sql).await.fault(400, "invalid_request").says("no statement");
    }
    for body in [json!({}), json!({"sql": null}), json!({"sql": 5}), json!({"sql": ["select 1"]})] {
        agent.post("/v1/sql", body).await.fault(400, "invalid_request").says("sql");
    }
    agent
        .post("/v1/sql", json!({"sql": "select 1", "params": {"a": 1}}))
        .await
        .fault(400, "invalid_request")
        .says("params");
    let reply = agent.post("/v1/sql", json!({"sql": "select 1", "parms": []})).await.fault(400, "invalid_request");
    assert!(reply.text("/hint").contains("params"), "{}", reply.story());
    agent.sql("select '\u{0}'").await.fault(400, "invalid_request").says("NUL");
}

#[tokio::test]
async fn long_texts_of_an_error_are_cut() {
    let (relm, agentcrm) = both().await;
    let raise =
        "do $$ begin raise '%', repeat('m', 20000) using hint = repeat('h', 20000), detail = repeat('ö', 2001); end $$";
    let sql = agentcrm.sql(raise).await.status(400);
    for (field, letter) in [("/message", "m"), ("/hint", "h"), ("/detail", "ö")] {
        assert_eq!(sql.text(field), letter.repeat(1999) + "…", "{field}");
    }
    let sql = relm.sql(raise).await.status(400);
    for (field, letter) in [("/error/message", "m"), ("/error/hint", "h"), ("/error/detail", "ö")] {
        assert_eq!(sql.text(field), letter.repeat(1999) + "…", "{field}");
    }
    // Also the message of a trigger on a record.
    agentcrm
        .sql("create function refuse() returns trigger language plpgsql as $$ begin raise '%', repeat('m', 70000); end $$;
              create trigger refuse before insert on companies for each row execute function refuse()")
        .await
        .status(200);
    let refused = agentcrm.post("/v1/companies", json!({"name": "Acme"})).await.status(422);
    assert_eq!(refused.text("/message").chars().count(), 2000);
}

#[tokio::test]
async fn an_object_is_a_parameter_of_a_composite_type() {
    let agent = agent().await;
    agent.sql("create type inner_cp as (n int[], t text)").await.status(200);
    agent.sql("create type cp as (a int, b text, c inner_cp, d jsonb)").await.status(200);
    let value = json!({"a": 1, "b": "x\\\",)(' y", "c": {"n": [1, 2], "t": ""}, "d": {"k": ["v"]}});
    let sent = |sql: &str, value: Value| {
        let (agent, sql) = (agent.clone(), sql.to_owned());
        async move { agent.sql_with(&sql, json!([value])).await }
    };
    assert_eq!(sent("select $1::cp as v", value.clone()).await.status(200).v(), value);
    let lacking = json!({"a": null, "b": "b", "c": null, "d": null});
    assert_eq!(sent("select $1::cp as v", json!({"b": "b"})).await.status(200).v(), lacking);
    let several = json!([value, null, lacking]);
    assert_eq!(sent("select $1::cp[] as v", several.clone()).await.status(200).v(), several);
    assert_eq!(sent("select ($1::cp).b as v", json!("(1,t,,)")).await.status(200).v(), "t");
    sent("select $1::cp as v", json!({"other": 1})).await.status(400);
}
