//! Every type's JSON against the server's own `to_jsonb`, digit for digit.

mod support;

use std::borrow::Cow;

use pg::Conn;
use pg::conn::{Begin, Caps, Format, Frame, Login, Outcome, Statement, Want};
use pg::types::TypeCache;
use support::{PASSWORD, server};

/// One expression per line.
const VALUES: &str = include_str!("data/values.txt");
const TYPES: &str = include_str!("data/types.sql");

const CAPS: Caps = Caps { max_rows: 10_000, max_bytes: 64 << 20, max_value_bytes: 16 << 20 };

/// The settings under which the contract's values are written.
const PINNED: &[(&str, &str)] = &[
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

async fn connect(database: &str) -> Conn {
    let target = server().await.target();
    let login = Login { user: "postgres", password: PASSWORD, database, settings: PINNED };
    Conn::open(&target, &login).await.unwrap()
}

/// A database with the types of the tests.
async fn database(name: &str) -> Conn {
    connect("postgres").await.query(&format!("create database {name}"), &[]).await.unwrap();
    let mut conn = connect(name).await;
    conn.script(TYPES).await.unwrap();
    conn
}

/// JSON without the white space between its tokens.
fn compact(json: &[u8]) -> String {
    let (mut out, mut in_string, mut escaped) = (Vec::new(), false, false);
    for byte in json {
        if in_string || !byte.is_ascii_whitespace() {
            out.push(*byte);
        }
        match byte {
            b'"' if !escaped => in_string = !in_string,
            b'\\' if in_string && !escaped => {
                escaped = true;
                continue;
            }
            _ => {}
        }
        escaped = false;
    }
    String::from_utf8(out).unwrap()
}

fn statement(sql: &str) -> Statement<'_> {
    Statement { sql, params: &[], format: Format::Json, want: Want::Rows }
}

async fn run(conn: &mut Conn, types: &TypeCache, sql: &str) -> Outcome {
    let outcomes = conn.run(Frame::ReadOnly, &[statement(sql)], types, CAPS).await;
    match outcomes {
        Ok(mut o) => o.remove(0),
        Err(e) => {
            eprintln!("RUN {sql}: {e}");
            std::process::abort()
        }
    }
}

/// The same over the raw SQL path.
async fn execute(conn: &mut Conn, types: &TypeCache, sql: &str) -> Outcome {
    let mut tx = conn.begin(Begin::ReadOnly(&[])).await.unwrap();
    tx.prepare(sql, types).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let params: &[Option<Cow<'_, str>>] = &[];
    let outcome = tx.execute(params, Format::Json, CAPS, types).await.unwrap();
    tx.rollback().await.unwrap();
    outcome
}

async fn oracle(conn: &mut Conn, sql: &str) -> String {
    let sql = format!("select pg_catalog.to_jsonb(v)::text from ({sql}) o");
    let rows = match conn.query(&sql, &[]).await {
        Ok(r) => r,
        Err(e) => return format!("ORACLE {e}"),
    };
    compact(rows.text(0, 0).unwrap_or("null").as_bytes())
}

#[tokio::test]
async fn a_value_is_what_to_jsonb_gives() {
    let mut conn = database("oracle").await;
    let types = TypeCache::default();
    let (mut wrong, mut opaque) = (Vec::new(), 0);
    for expression in VALUES.lines().filter(|line| !line.is_empty()) {
        let sql = format!("select {expression} as v");
        let expected = oracle(&mut conn, &sql).await;
        if expected.starts_with("ORACLE") {
            wrong.push(format!("{sql} {expected}"));
            continue;
        }
        // The second path has an empty cache, so that its lookups are tested too.
        for outcome in [run(&mut conn, &types, &sql).await, execute(&mut conn, &TypeCache::default(), &sql).await] {
            let given = compact(outcome.rows.cell(0, 0));
            serde_json::from_str::<&serde_json::value::RawValue>(&given)
                .unwrap_or_else(|error| panic!("{expression}: {error}: {given}"));
            if outcome.rows.columns()[0].is_anonymous_record {
                opaque += 1;
            } else if given != expected {
                wrong.push(format!("{expression}\n  gives  {given}\n  server {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    // Anonymous records, anyarray, and types with their own cast to json.
    assert_eq!(opaque, 2 * 12);
}
