//! Values in answers: equal to the result of `to_jsonb`, digit for digit, for every type that a workspace can have.

use serde_json::{Value, json};

use crate::support::{agent, parse};

/// One expression per line.
const TYPES: &str = include_str!("data/types.txt");
/// The objects that the expressions use.
const SCHEMA: &str = include_str!("data/types.sql");

/// Types of extensions that a workspace doesn't have.
const ABSENT: &[&str] = &["hstore", "ltree", "cube", "isbn"];

#[tokio::test]
async fn a_value_is_what_to_jsonb_gives() {
    let agent = agent().await;
    agent.sql(SCHEMA).await.status(200);
    let mut wrong = Vec::new();
    for expression in TYPES.lines().filter(|line| !line.is_empty()) {
        let given = agent.sql(&format!("select {expression} as v")).await;
        if ABSENT.iter().any(|name| expression.ends_with(name)) {
            given.fault(400, "sql_error");
            continue;
        }
        let expected = agent.sql(&format!("select to_jsonb(x) as v from (select {expression} as v) x")).await;
        let (given, expected) = (given.status(200), expected.status(200));
        // Numbers are compared by their text, because serde_json preserves every digit here.
        if given.v() != expected.at("/data/rows/0/v/v") {
            wrong.push(format!("{expression}\n  gives    {}\n  to_jsonb {}", given.v(), expected.v()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn rest_gives_the_same_values_as_sql() {
    let agent = agent().await;
    agent.sql(SCHEMA).await.status(200);
    let table = "create table kinds (id bigint primary key, n numeric, f float8, m mood, p posint, a addr, q person, r int4range,
                   mr int4multirange, t text[], tt int[][], c citext[], v vector(3), i interval, ts timestamptz, d date, b bytea,
                   u uuid, j jsonb, js json, ip inet, x xml, bits bit(3), money money, h halfvec(2))";
    agent.sql(table).await.status(200);
    let row = r#"insert into kinds values (9223372036854775807, 123456789012345678901234567890.1234567890, 'NaN', 'it''s "q"', 5,
        row('1 "Main"', 2, 'ok'), row('n', row('s', 1, 'sad'), array['a', null]), '[1,9)', '{[1,3),[5,8)}', array['a,b', '"', null],
        array[[1,2],[3,4]], array['A@x']::citext[], '[1,2.5,-3]', '1 mon -3 days 04:05', 'infinity', '0044-03-15 BC', '\xdeadbeef',
        '11111111-2222-3333-4444-555555555555', '{"n": 1.500}', '{"a" : 1}', '10.0.0.0/8', '<a/>', B'101', 12.5, '[1,2]')"#;
    agent.sql(row).await.status(200);
    let expected = agent.sql("select to_jsonb(k) as v from kinds k").await.status(200).v();
    let id = "9223372036854775807";
    assert_eq!(agent.sql("select * from kinds").await.status(200).at("/data/rows/0"), expected);
    assert_eq!(agent.get(&format!("/v1/kinds/{id}")).await.status(200).data(), expected);
    assert_eq!(agent.get("/v1/kinds").await.status(200).at("/data/0"), expected);

    // A returned value can be sent again and is unchanged.
    agent.delete(&format!("/v1/kinds/{id}")).await.status(200);
    let mut again = expected.clone();
    // A record and a multirange have no JSON form that PostgreSQL can read. REST accepts their text.
    again["a"] = json!(r#"("1 ""Main""",2,ok)"#);
    again["q"] = json!(r#"(n,"(s,1,sad)","{a,NULL}")"#);
    let made = agent.post("/v1/kinds", again).await.status(201);
    assert_eq!(made.data(), expected, "{}", made.story());
}

#[tokio::test]
async fn column_types_have_postgres_own_names() {
    let agent = agent().await;
    agent.sql(SCHEMA).await.status(200);
    let reply = agent
        .sql("select 1::int8 a, now() b, 'x'::citext c, '{}'::text[] d, 'ok'::mood e, 1::numeric(10,2) f, '[1]'::vector(1) g, null h")
        .await
        .status(200);
    let columns = reply.at("/data/columns");
    let names: Vec<&Value> = columns.as_array().unwrap().iter().map(|column| &column["type"]).collect();
    let expected = ["bigint", "timestamp with time zone", "citext", "text[]", "mood", "numeric", "vector", "text"];
    assert_eq!(json!(names), json!(expected), "{}", reply.story());
}

#[tokio::test]
async fn params_take_any_json_value_for_any_type() {
    let agent = agent().await;
    agent.sql(SCHEMA).await.status(200);
    let digits = "1234567890123456789012345678901234567890.0987654321";
    for (kind, value, expected) in [
        ("text", json!("é ☃ 😀 \" ' \\ \n\u{1}"), json!("é ☃ 😀 \" ' \\ \n\u{1}")),
        ("text", json!(5), json!("5")),
        ("text", json!(true), json!("true")),
        ("text", json!({"a": [1]}), json!("{\"a\":[1]}")),
        ("int", json!(5), json!(5)),
        ("int", json!("5"), json!(5)),
        ("bigint", json!(9_223_372_036_854_775_807_i64), json!(9_223_372_036_854_775_807_i64)),
        ("numeric", parse(digits), parse(digits)),
        ("numeric", json!(digits), parse(digits)),
        ("numeric", json!("NaN"), json!("NaN")),
        ("float8", parse("1e20"), parse("100000000000000000000")),
        ("bool", json!(true), json!(true)),
        ("bool", json!("f"), json!(false)),
        ("timestamptz", json!("2026-01-02T03:04:05+02:00"), json!("2026-01-02T01:04:05+00:00")),
        ("date", json!("2026-01-02"), json!("2026-01-02")),
        ("jsonb", json!({"a": [1, null], "b": {"c": "d"}}), json!({"a": [1, null], "b": {"c": "d"}})),
        ("jsonb", json!([1, "x"]), json!([1, "x"])),
        ("jsonb", json!(5), json!(5)),
        ("jsonb", json!(true), json!(true)),
        // A string for a jsonb parameter is parsed as JSON.
        ("jsonb", json!("{\"a\": 1}"), json!({"a": 1})),
        ("json", json!("[1]"), json!([1])),
        ("text[]", json!(["a", "b,\"c\\", null, "NULL", ""]), json!(["a", "b,\"c\\", null, "NULL", ""])),
        ("text[]", json!([]), json!([])),
        ("text[]", json!("{a,b}"), json!(["a", "b"])),
        ("int[]", json!([1, 2, null]), json!([1, 2, null])),
        ("int[]", json!([[1, 2], [3, 4]]), json!([[1, 2], [3, 4]])),
        ("numeric[]", parse(&format!("[{digits}]")), parse(&format!("[{digits}]"))),
        ("bool[]", json!([true, false]), json!([true, false])),
        ("jsonb[]", json!([{"a": 1}, [1], "x"]), json!([{"a": 1}, [1], "x"])),
        ("citext[]", json!(["A@x"]), json!(["A@x"])),
        ("timestamptz[]", json!(["2026-01-02"]), json!(["2026-01-02T00:00:00+00:00"])),
        ("vector", json!([1, 2.5, -3]), json!("[1,2.5,-3]")),
        ("vector", json!("[1,2]"), json!("[1,2]")),
        ("mood", json!("ok"), json!("ok")),
        ("mood[]", json!(["ok", "it's \"q\""]), json!(["ok", "it's \"q\""])),
        ("posint", json!(5), json!(5)),
        ("addr", json!("(street,5,ok)"), json!({"street": "street", "zip": 5, "feeling": "ok"})),
        ("int4range", json!("[1,5)"), json!("[1,5)")),
        ("uuid", json!("11111111-2222-3333-4444-555555555555"), json!("11111111-2222-3333-4444-555555555555")),
        ("bytea", json!("\\xdeadbeef"), json!("\\xdeadbeef")),
        ("interval", json!("1 day 2 hours"), json!("1 day 02:00:00")),
        ("inet", json!("10.0.0.1"), json!("10.0.0.1")),
    ] {
        let reply = agent.sql_with(&format!("select $1::{kind} as v"), json!([value])).await.status(200);
        assert_eq!(reply.v(), expected, "{kind} {value}");
        let reply = agent.sql_with(&format!("select $1::{kind} as v"), json!([null])).await.status(200);
        assert_eq!(reply.v(), Value::Null, "{kind} null");
    }
}

#[tokio::test]
async fn a_param_that_its_type_does_not_take_is_an_sql_error() {
    let agent = agent().await;
    for (kind, value, sqlstate) in [
        ("int", json!("abc"), "22P02"),
        ("int", json!(1.5), "22P02"),
        ("int", json!(99_999_999_999_i64), "22003"),
        ("int", json!({"a": 1}), "22P02"),
        ("jsonb", json!("not json"), "22P02"),
        ("date", json!("tomorrowish"), "22007"),
        ("uuid", json!("x"), "22P02"),
        ("vector", json!(["a"]), "22P02"),
        ("int[]", json!(5), "22P02"),
    ] {
        let reply = agent.sql_with(&format!("select $1::{kind} as v"), json!([value])).await.fault(400, "sql_error");
        assert_eq!(reply.at("/code"), sqlstate, "{}", reply.story());
    }
    let reply = agent.sql_with("select $1::text as v", json!(["a\u{0}b"])).await;
    assert_eq!(reply.code, 400, "{}", reply.story());
    agent.sql("select 1").await.status(200);
}

#[tokio::test]
async fn a_number_with_a_zero_fraction_is_an_integer_parameter() {
    let agent = agent().await;
    for (sql, param, expected) in [
        ("select $1::int as v", "5.0", json!(5)),
        ("select $1::smallint as v", "1e3", json!(1000)),
        ("select $1::bigint as v", "9007199254740993.0", json!(9_007_199_254_740_993_i64)),
        ("select $1::int[] as v", "[[1.0], [1e1]]", json!([[1], [10]])),
    ] {
        let body = format!(r#"{{"sql": "{sql}", "params": [{param}]}}"#);
        let headers = [("content-type", "application/json")];
        let reply = agent.send(reqwest::Method::POST, "/v1/sql", &headers, body).await.status(200);
        assert_eq!(reply.v(), expected, "{param}");
    }
    let body = r#"{"sql": "select $1::numeric::text as v", "params": [1.50]}"#;
    let reply = agent.send(reqwest::Method::POST, "/v1/sql", &[("content-type", "application/json")], body).await;
    assert_eq!(reply.status(200).v(), json!("1.50"));
    agent.post("/v1/sql", json!({"sql": "select $1::int", "params": [5.5]})).await.fault(400, "sql_error");
    for nul in [json!("a\u{0}b"), json!(["\u{0}"]), json!({"a": "\u{0}"})] {
        let refused = agent.post("/v1/sql", json!({"sql": "select $1::text", "params": [nul]})).await;
        refused.fault(400, "invalid_request").says("NUL");
    }
}
