//! Lists: their order and their pages.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, stranger};

/// All pages of a list. `between` is called after each one.
async fn pages(agent: &Agent, path: &str, between: impl AsyncFn()) -> Vec<Reply> {
    let join = if path.contains('?') { '&' } else { '?' };
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let reply = agent.get(&format!("{path}{join}cursor={cursor}")).await.status(200);
        let next = reply.at("/_meta/next_cursor");
        assert_eq!(reply.at("/_meta/has_more"), !next.is_null(), "{}", reply.story());
        all.push(reply);
        match next {
            Value::String(next) => cursor = next,
            _ => return all,
        }
        between().await;
    }
}

fn all(replies: &[Reply], column: &str) -> Vec<Value> {
    replies.iter().flat_map(|reply| reply.column(column)).collect()
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_while_others_insert() {
    let agent = agent().await;
    agent.sql("insert into contacts (first_name) select 'n' || g from generate_series(1, 25) g").await.status(200);
    let before = agent.get("/v1/contacts?limit=200").await.column("id");
    let replies = pages(&agent, "/v1/contacts?limit=4", async || {
        agent.post("/v1/contacts", json!({"first_name": "late"})).await.status(201);
    })
    .await;
    assert_eq!(replies.len(), 7);
    // All 25 have the same created_at, so the ids decide the order.
    assert_eq!(all(&replies, "id"), before);
}

#[tokio::test]
async fn a_page_has_50_rows_and_at_most_200() {
    let agent = agent().await;
    agent.sql("insert into companies (name) select 'n' from generate_series(1, 250)").await.status(200);
    let check = async |query: &str, rows: usize, limit: usize| {
        let reply = agent.get(&format!("/v1/companies{query}")).await.status(200);
        assert_eq!(reply.column("id").len(), rows, "{query}");
        assert_eq!(reply.at("/_meta/limit"), limit, "{query}");
    };
    check("", 50, 50).await;
    check("?limit=1", 1, 1).await;
    check("?limit=200", 200, 200).await;
    check("?limit=201", 200, 200).await;
    check("?limit=99999999999999999999999", 200, 200).await;
    check("?limit=10.0", 10, 10).await;
    check("?limit=1e3", 200, 200).await;
    for bad in ["0", "-1", "x", "1.5", "", "%2B5", "0.0", "1e-1"] {
        let reply = agent.get(&format!("/v1/companies?limit={bad}")).await.fault(400, "invalid_request");
        reply.says("limit");
    }
}

#[tokio::test]
async fn mails_are_sorted_by_when_they_came_or_went() {
    let agent = agent().await;
    for (subject, sent, received) in [
        ("b", Some("2026-02-01"), None),
        ("d", None, Some("2026-04-01")),
        ("a", Some("2026-09-01"), Some("2026-01-01")),
        ("c", Some("2026-03-01"), None),
    ] {
        let mail = json!({"subject": subject, "sent_at": sent, "received_at": received});
        agent.post("/v1/emails", mail).await.status(201);
    }
    agent.sql("update emails set created_at = '2020-01-01'").await.status(200);
    let replies = pages(&agent, "/v1/emails?limit=1", async || {}).await;
    assert_eq!(all(&replies, "subject"), ["d", "c", "b", "a"]);
    assert!(replies[0].at("/data/0").get("kith:order").is_none(), "{}", replies[0].story());
}

#[tokio::test]
async fn a_table_of_ones_own_pages_by_created_at_or_by_its_key() {
    let agent = agent().await;
    agent.sql("create table dated (id int primary key, created_at timestamptz)").await.status(200);
    agent
        .sql(
            "insert into dated select g, case when g % 3 > 0 then 'epoch'::timestamptz + g * interval '1 day' end
               from generate_series(1, 20) g",
        )
        .await
        .status(200);
    let replies = pages(&agent, "/v1/dated?limit=3", async || {}).await;
    // The order is descending, so NULLs are first.
    let expected = agent.sql("select id from dated order by created_at desc, id desc").await.column("id");
    assert_eq!(all(&replies, "id"), expected);

    agent.sql("create table plain (word text primary key)").await.status(200);
    agent.sql("insert into plain select chr(64 + g) || '\"é,' from generate_series(1, 10) g").await.status(200);
    let replies = pages(&agent, "/v1/plain?limit=3", async || {}).await;
    let expected = agent.sql("select word from plain order by word").await.column("word");
    assert_eq!(all(&replies, "word"), expected);
}

#[tokio::test]
async fn keys_of_many_types_carry_a_page() {
    let agent = agent().await;
    for (number, (kind, value)) in [
        ("bigint", "9007199254740990 + g"),
        ("numeric", "g::numeric / 7"),
        ("float8", "g::float8 / 7"),
        ("uuid", "md5(g::text)::uuid"),
        ("timestamptz", "'2026-01-01'::timestamptz + g * interval '1 microsecond'"),
        ("date", "'2026-01-01'::date + g"),
        ("interval", "g * interval '1 month 1 second'"),
        ("bytea", "decode(md5(g::text), 'hex')"),
        ("citext", "'Ab' || g"),
        ("boolean", "g > 4"),
        ("inet", "'10.0.0.0'::inet + g"),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("keyed{number}");
        agent.sql(&format!("create table {table} (key {kind} primary key)")).await.status(200);
        agent
            .sql(&format!("insert into {table} select distinct {value} from generate_series(1, 8) g"))
            .await
            .status(200);
        let replies = pages(&agent, &format!("/v1/{table}?limit=1"), async || {}).await;
        let expected = agent.sql(&format!("select key from {table} order by key")).await.column("key");
        assert_eq!(all(&replies, "key"), expected, "{kind}");
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_list() {
    let agent = agent().await;
    agent.sql("insert into contacts (first_name) select 'n' from generate_series(1, 5)").await.status(200);
    agent.sql("insert into companies (name) select 'n' from generate_series(1, 5)").await.status(200);
    let cursor = agent.get("/v1/contacts?limit=2").await.text("/_meta/next_cursor");
    agent.get(&format!("/v1/contacts?limit=3&cursor={cursor}")).await.status(200);
    for foreign in [
        format!("/v1/companies?cursor={cursor}"),
        format!("/v1/contacts?first_name=n&cursor={cursor}"),
        format!("/v1/contacts?include_deleted=true&cursor={cursor}"),
        format!("/v1/contacts?cursor={cursor}x"),
        format!("/v1/contacts?cursor={}", &cursor[..cursor.len() - 4]),
        "/v1/contacts?cursor=nonsense".into(),
        "/v1/contacts?cursor=%00".into(),
    ] {
        let reply = agent.get(&foreign).await;
        let code = if foreign.ends_with("%00") { "invalid_request" } else { "invalid_cursor" };
        reply.fault(400, code);
    }
}

#[tokio::test]
async fn every_answer_of_a_page_has_the_headers_of_a_page() {
    let stranger = stranger();
    let html: &[(&str, &str)] = &[("accept", "text/html")];
    for path in ["/claim/ws_x", "/invite/x", "/contacts", "/contacts/c_x", "/", "/login", "/nowhere"] {
        for method in [Method::GET, Method::POST] {
            let answer = stranger.send(method.clone(), path, html, "").await;
            if method == Method::POST && answer.code != 405 {
                continue;
            }
            for name in ["content-security-policy", "referrer-policy", "x-content-type-options", "x-frame-options"] {
                assert_ne!(answer.header(name), "", "{name} of {method} {path}: {}", answer.code);
            }
        }
    }
}
