//! Invalid requests: each gets a clear error in the dialect's shape, and has no effect on others.

use reqwest::Method;
use serde_json::json;

use crate::support::{Agent, agent, stranger};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn bodies_that_are_no_json_object_are_refused() {
    let agent = agent().await;
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_inside = format!("{{\"custom\": {{\"a\": {deep}}}}}");
    for path in ["/v1/contacts", "/v1/sql", "/v1/workspaces"] {
        for body in [
            "{",
            "nonsense",
            "{\"a\": }",
            "{\"a\": 1,}",
            "{'a': 1}",
            "[1",
            "\"",
            "{\"a\": 1} x",
            "{\"a\": NaN}",
            "{\"a\": 01}",
            "{\"a\": \"\u{1}\"}",
            "{\"a\": \"\\ud800\"}",
            "\u{feff}{}",
            &deep,
            &deep_inside,
            "[]",
            "1",
            "\"x\"",
            "null",
            "true",
        ] {
            let caller = if path == "/v1/workspaces" { &stranger() } else { &agent };
            let reply = caller.send_json(Method::POST, path, body).await.fault(400, "invalid_request");
            assert!(reply.text("/message").to_lowercase().contains("json"), "{}", reply.story());
        }
        for body in [&b"{\"a\": \"\xff\xfe\"}"[..], b"\xff", b"{\"\xc3\x28\": 1}"] {
            let caller = if path == "/v1/workspaces" { &stranger() } else { &agent };
            caller.send_json(Method::POST, path, body).await.fault(400, "invalid_request");
        }
    }
    agent.get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn values_of_another_type_are_refused_by_name() {
    let agent = agent().await;
    let table =
        "create table kinds (id int primary key, t text, n numeric, i int, b boolean, ts timestamptz, d date, u uuid,
                                     a text[], ai int[], v vector(2), j jsonb, m inet)";
    agent.sql(table).await.status(200);
    let mut number = 0;
    for (column, bad) in [
        ("t", vec![json!(1), json!(true), json!({}), json!([])]),
        ("n", vec![json!("x"), json!(true), json!({}), json!([]), json!("")]),
        ("i", vec![json!("x"), json!(1.5), json!(3_000_000_000_u32), json!(false), json!([1])]),
        ("b", vec![json!("maybe"), json!(1), json!({})]),
        ("ts", vec![json!("yesterdayish"), json!(1), json!(true), json!("2026-13-01"), json!("")]),
        ("d", vec![json!("2026-02-30"), json!(20_260_101)]),
        ("u", vec![json!("x"), json!(1), json!({})]),
        ("a", vec![json!("x"), json!(1), json!([1]), json!({}), json!([["a"], ["b", "c"]])]),
        ("ai", vec![json!(["x"]), json!([1.5]), json!([true])]),
        ("v", vec![json!(["a", "b"]), json!("x"), json!(1)]),
        ("m", vec![json!("x"), json!(true)]),
    ] {
        for value in bad {
            number += 1;
            let reply =
                agent.post("/v1/kinds", json!({"id": number, column: value})).await.fault(400, "invalid_request");
            assert!(reply.text("/message").contains(&format!("\"{column}\"")), "{}", reply.story());
        }
    }
    agent.post("/v1/kinds", json!({"id": 1, "v": [1]})).await.fault(400, "invalid_request").says("2 dimensions");
    assert_eq!(agent.get("/v1/kinds").await.data(), json!([]));
    for (column, bad) in
        [("email", json!(5)), ("first_name", json!(["x"])), ("company_id", json!(1)), ("title", json!({}))]
    {
        let reply = agent.post("/v1/contacts", json!({column: bad})).await.fault(400, "invalid_request");
        assert!(reply.text("/message").contains(column), "{}", reply.story());
    }
    for (column, bad) in [("amount_cents", json!("lots")), ("amount_cents", json!(1.5)), ("close_date", json!("soon"))]
    {
        let reply = agent.post("/v1/deals", json!({column: bad})).await.fault(400, "invalid_request");
        assert!(reply.text("/message").contains(column), "{}", reply.story());
    }
    agent
        .post("/v1/activities", json!({"type": "shout"}))
        .await
        .fault(422, "validation_failed")
        .says("note, email, call, meeting, task");
    agent.post("/v1/lists", json!({"name": "x"})).await.fault(422, "validation_failed").says("target_table");
}

#[tokio::test]
async fn numbers_of_any_size_are_taken_or_refused() {
    let agent = agent().await;
    agent.sql("create table n (id int primary key, exact numeric, approximate float8)").await.status(200);
    let digits = "9".repeat(5_000);
    let body = format!("{{\"id\": 1, \"exact\": {digits}.{digits}, \"approximate\": 1e308}}");
    let made = agent.send_json(Method::POST, "/v1/n", body).await.status(201);
    assert_eq!(made.data()["exact"].to_string(), format!("{digits}.{digits}"));
    for (column, bad) in [("exact", "1e999999"), ("approximate", "1e400"), ("id", "99999999999999999999999999")] {
        let body = format!("{{\"id\": 2, \"{column}\": {bad}}}").replace("\"id\": 2, \"id\"", "\"id\"");
        let reply = agent.send_json(Method::POST, "/v1/n", body).await.fault(400, "invalid_request");
        assert!(reply.text("/message").contains(column), "{}", reply.story());
    }
}

#[tokio::test]
async fn unknown_names_are_refused_with_the_nearest_one() {
    let agent = agent().await;
    agent.get("/v1/contact").await.fault(404, "not_found").says("contacts");
    agent.post("/v1/companys", json!({})).await.fault(404, "not_found").says("companies");
    agent.get("/v1/zzzz").await.fault(404, "not_found").says("zzzz");
    agent.get("/v1/pg_class").await.fault(404, "not_found");
    agent.get("/v1/public.contacts").await.fault(404, "not_found");
    agent.get("/v1/contacts%22;select").await.fault(404, "not_found");
    let reply = agent.post("/v1/contacts", json!({"firstname": "x"})).await.fault(400, "invalid_request");
    assert_eq!(reply.at("/field"), "firstname");
    assert!(reply.text("/hint").contains("first_name"), "{}", reply.story());
    let reply = agent.get("/v1/contacts?emial=x").await.fault(400, "invalid_request");
    assert_eq!(reply.at("/parameter"), "emial");
    assert!(reply.text("/hint").contains("email"), "{}", reply.story());
    agent.get("/v1/contacts?order=email").await.fault(400, "invalid_request");
    agent.get("/v1/contacts/c_1?limit=5").await.fault(400, "invalid_request").says("limit");
    agent.post("/v1/contacts?email=x", json!({})).await.fault(400, "invalid_request").says("email");
    agent.post("/v1/sql?x=1", json!({"sql": "select 1"})).await.fault(400, "invalid_request");
    agent.delete("/v1/contacts/c_1?hard=maybe").await.fault(400, "invalid_request").says("hard");
    agent.get("/v1/contacts?include_deleted=maybe").await.fault(400, "invalid_request").says("include_deleted");
    stranger().post("/v1/workspaces", json!({"nmae": "x"})).await.fault(400, "invalid_request").says("name");
    stranger().post("/v1/workspaces", json!({"name": 5})).await.fault(400, "invalid_request").says("name");
}

#[tokio::test]
async fn a_body_over_10_mib_is_a_413_and_one_below_is_not() {
    let agent = agent().await;
    for path in ["/v1/contacts", "/v1/sql"] {
        for _ in 0..3 {
            let reply = agent.send_json(Method::POST, path, vec![b'x'; 11 * 1024 * 1024]).await;
            reply.fault(413, "payload_too_large");
        }
    }
    stranger()
        .send_json(Method::POST, "/v1/workspaces", vec![b' '; 11 * 1024 * 1024])
        .await
        .fault(413, "payload_too_large");
    let sql = format!("select 1 as v -- {}", "x".repeat(9 * 1024 * 1024));
    assert_eq!(agent.sql(&sql).await.status(200).v(), 1);
    let large = "x".repeat(9 * 1024 * 1024);
    let made = agent.post("/v1/contacts", json!({"first_name": large})).await.status(201);
    assert_eq!(made.data()["first_name"], large);
}

#[tokio::test]
async fn keys_that_are_none_are_a_401() {
    let agent = agent().await;
    let last = if agent.key.ends_with('0') { '1' } else { '0' };
    let changed = format!("{}{last}", &agent.key[..agent.key.len() - 1]);
    let bad = [
        "Bearer acrm_dev_00000000000000000000000000000000aaaaaa".to_owned(),
        format!("Bearer {}x", agent.key),
        format!("Bearer {}", changed.replace("00", "11")),
        format!("Bearer {}", agent.key.replace("acrm_dev_", "acrm_live_")),
        format!("Bearer {}", agent.key.to_uppercase()),
        format!("Basic {}", agent.key),
        format!("Bearer{}", agent.key),
        format!("Bearer {} {}", agent.key, agent.key),
        agent.key.clone(),
        "Bearer".into(),
        "Bearer ".into(),
        "Bearer x".into(),
        "Bearer sk_live_00000000000000000000000000000000aaaaaa".into(),
        "Bearer acrm_dev_' or '1'='1".into(),
        "é".into(),
        "".into(),
    ];
    for header in &bad {
        for path in ["/v1/contacts", "/v1/workspaces", "/v1/sql", "/v1/nowhere/at/all"] {
            let headers = [("authorization", header.as_str()), ("content-type", "application/json")];
            let reply = agent.send(Method::POST, path, &headers, "{}").await.fault(401, "unauthorized");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
    for path in ["/v1/contacts", "/v1/sql", "/v1/tables"] {
        stranger().get(path).await.fault(401, "unauthorized").says("POST /v1/workspaces");
    }
    let scheme = format!("bEARER   {}", agent.key);
    agent.send(Method::GET, "/v1/contacts", &[("authorization", &scheme)], "").await.status(200);
}

#[tokio::test]
async fn an_id_of_another_table_or_workspace_names_nothing() {
    let (agent, other) = (agent().await, agent().await);
    let company = agent.post("/v1/companies", json!({"name": "A"})).await.status(201).id();
    for path in [
        format!("/v1/contacts/{company}"),
        format!("/v1/deals/{company}"),
        "/v1/companies/co_none".into(),
        "/v1/companies/%20".into(),
        "/v1/companies/1".into(),
        "/v1/companies/'%20or%20true--".into(),
        "/v1/companies/%F0%9F%98%80".into(),
        format!("/v1/companies/{}", "x".repeat(4_000)),
    ] {
        agent.get(&path).await.fault(404, "not_found");
        agent.patch(&path, json!({"custom": {}})).await.fault(404, "not_found");
        agent.delete(&path).await.fault(404, "not_found");
    }
    let path = format!("/v1/companies/{company}");
    other.get(&path).await.fault(404, "not_found");
    other.patch(&path, json!({"name": "mine"})).await.fault(404, "not_found");
    other.delete(&path).await.fault(404, "not_found");
    assert_eq!(agent.get(&path).await.status(200).data()["name"], "A");
    agent.sql("create table numbered (id int primary key)").await.status(200);
    agent.get("/v1/numbered/abc").await.fault(404, "not_found");
    agent.get("/v1/numbered/99999999999999").await.fault(404, "not_found");
    agent.delete("/v1/numbered/abc").await.fault(404, "not_found");
}

#[tokio::test]
async fn a_method_that_a_path_lacks_is_a_405_that_names_the_others() {
    let agent = agent().await;
    let check = async |method: Method, path: &str, allow: &str| {
        let reply = agent.send(method.clone(), path, JSON, "{}").await;
        let reply = reply.fault(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), allow, "{}", reply.story());
    };
    check(Method::PUT, "/v1/contacts", "GET, POST").await;
    check(Method::DELETE, "/v1/contacts", "GET, POST").await;
    check(Method::PATCH, "/v1/contacts", "GET, POST").await;
    check(Method::POST, "/v1/contacts/c_1", "GET, PATCH, DELETE").await;
    check(Method::PUT, "/v1/contacts/c_1", "GET, PATCH, DELETE").await;
    check(Method::GET, "/v1/sql", "POST").await;
    check(Method::DELETE, "/v1/sql", "POST").await;
    check(Method::OPTIONS, "/v1/sql", "POST").await;
    check(Method::TRACE, "/v1/contacts", "GET, POST").await;
    check(Method::from_bytes(b"BREW").unwrap(), "/v1/contacts", "GET, POST").await;
    check(Method::DELETE, "/v1/workspaces", "GET, POST").await;
    let head = agent.send(Method::HEAD, "/v1/contacts", &[], "").await.status(200);
    assert!(head.body.is_empty() && head.header("x-request-id").starts_with("req_"));
    stranger().send(Method::DELETE, "/v1/workspaces", &[], "").await.fault(405, "method_not_allowed");
}

#[tokio::test]
async fn paths_that_lead_nowhere_are_a_404() {
    let agent = agent().await;
    for path in ["/v1", "/v1/", "/v2/contacts", "/v1/contacts/c_1/x/y", "/v1/sql/x", "/v1//contacts", "/nope"] {
        agent.get(path).await.fault(404, "not_found");
    }
    agent.get("/v1/contacts/").await.status(200);
    stranger().get("/nope").await.fault(404, "not_found");
}

#[tokio::test]
async fn a_body_of_another_type_is_a_415() {
    let agent = agent().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "json",
        "é",
    ] {
        for path in ["/v1/contacts", "/v1/sql"] {
            let reply = agent.send(Method::POST, path, &[("content-type", kind)], "{\"sql\": \"select 1\"}").await;
            reply.fault(415, "unsupported_media_type").says("application/json");
        }
    }
    agent.send(Method::POST, "/v1/contacts", &[], "{}").await.fault(415, "unsupported_media_type");
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"] {
        agent.send(Method::POST, "/v1/contacts", &[("content-type", kind)], "{}").await.status(201);
    }
    // A request without a body needs no content type.
    agent.send(Method::POST, "/v1/contacts", &[], "").await.status(201);
}

async fn nul(agent: &Agent, method: Method, path: &str, body: &str) {
    let reply = agent.send_json(method, path, body).await;
    assert!(reply.code == 400 || reply.code == 404, "{}", reply.story());
    let code = if reply.code == 400 { "invalid_request" } else { "not_found" };
    let status = reply.code;
    reply.fault(status, code);
}

#[tokio::test]
async fn nul_and_bytes_that_are_no_text_are_refused_everywhere() {
    let agent = agent().await;
    let id = agent.post("/v1/contacts", json!({})).await.status(201).id();
    let one = format!("/v1/contacts/{id}");
    nul(&agent, Method::POST, "/v1/contacts", r#"{"first_name": "a\u0000b"}"#).await;
    nul(&agent, Method::POST, "/v1/contacts", r#"{"custom": {"a": "\u0000"}}"#).await;
    nul(&agent, Method::POST, "/v1/contacts", r#"{"custom": {"a\u0000": 1}}"#).await;
    nul(&agent, Method::POST, "/v1/contacts", r#"{"a\u0000": 1}"#).await;
    nul(&agent, Method::POST, "/v1/emails", r#"{"to_addrs": ["a\u0000"]}"#).await;
    nul(&agent, Method::PATCH, &one, r#"{"custom": {"a\u0000": null}}"#).await;
    nul(&agent, Method::PATCH, &one, r#"{"title": "\u0000"}"#).await;
    nul(&stranger(), Method::POST, "/v1/workspaces", r#"{"name": "\u0000"}"#).await;
    nul(&agent, Method::POST, "/v1/sql", r#"{"sql": "select '\u0000'"}"#).await;
    for path in [
        "/v1/contacts/%00",
        "/v1/%00",
        "/v1/contacts?email=%00",
        "/v1/contacts?email=%ff",
        "/v1/contacts?%ff=x",
        "/v1/contacts?%00=x",
        "/v1/contacts/%ff",
        "/v1/%c3%28",
        "/v1/contacts?custom.a%00=x",
        "/v1/contacts?email=%ed%a0%80",
    ] {
        let reply = agent.get(path).await;
        reply.fault(400, "invalid_request");
    }
    agent.get("/v1/contacts?email=%zz").await.status(200);
    agent.get(&one).await.status(200);
}

#[tokio::test]
async fn unicode_comes_back_as_it_went_in() {
    let agent = agent().await;
    for text in [
        "é",
        "e\u{301}",
        "☃",
        "😀👩‍👩‍👧",
        "\u{202e}rtl",
        "ﷺ",
        "\u{feff}",
        "\u{7f}\u{1}\n\t\r\u{8}\u{c}",
        "\\u0041",
        "'; drop table contacts; --",
        "\u{10ffff}",
    ] {
        let made = agent.post("/v1/contacts", json!({"first_name": text, "custom": {text: text}})).await.status(201);
        assert_eq!(made.data()["first_name"], text);
        assert_eq!(made.data()["custom"], json!({text: text}));
        let mut url = reqwest::Url::parse("http://x/v1/contacts").unwrap();
        url.query_pairs_mut().append_pair("first_name", &format!("\"{}\"", text.replace('"', "\"\"")));
        let found = agent.get(&format!("/v1/contacts?{}", url.query().unwrap())).await.status(200);
        assert_eq!(found.column("id"), [made.data()["id"].clone()], "{text:?}");
        assert_eq!(agent.sql_with("select $1::text as v", json!([text])).await.status(200).v(), text);
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let agent = agent().await;
    let mut seen = std::collections::HashSet::new();
    for path in ["/v1/contacts", "/v1/contacts/x", "/v1/nope", "/v1/contacts?limit=0", "/v1/sql"] {
        let reply = agent.get(path).await;
        assert!(reply.header("x-request-id").starts_with("req_"), "{}", reply.story());
        assert!(seen.insert(reply.header("x-request-id")));
        let said = reply.json();
        let said = said.pointer("/_meta/request_id").or(said.pointer("/request_id")).unwrap().clone();
        assert_eq!(said, reply.header("x-request-id"), "{}", reply.story());
    }
}

#[tokio::test]
async fn a_delete_takes_no_body() {
    let agent = agent().await;
    let contact = agent.post("/v1/contacts", json!({})).await.status(201).id();
    let list = json!({"name": "L", "target_table": "contacts", "kind": "static"});
    let list = agent.post("/v1/lists", list).await.status(201).id();
    agent.post(&format!("/v1/lists/{list}/members"), json!({"member_id": contact})).await.status(201);
    for path in [format!("/v1/lists/{list}/members/{contact}"), format!("/v1/contacts/{contact}")] {
        let send =
            async |headers: &[(&str, &str)], body: &'static str| agent.send(Method::DELETE, &path, headers, body).await;
        send(JSON, "{\"x\": 1}").await.fault(400, "invalid_request").says("x");
        send(JSON, "{").await.fault(400, "invalid_request");
        send(&[("content-type", "text/plain")], "x").await.fault(415, "unsupported_media_type");
        agent.get(&format!("/v1/contacts/{contact}")).await.status(200);
        send(JSON, if path.contains("members") { "null" } else { "{}" }).await.status(200);
    }
    agent.get(&format!("/v1/contacts/{contact}")).await.fault(404, "not_found");
}
