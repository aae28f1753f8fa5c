//! The activity feed: the entries that every change to every built-in table creates, whatever made the change.

use std::collections::HashMap;

use crm::model::entity::ENTITIES;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, agent, home, psql};

/// For each table, how a row is created and changed in SQL. `$` is a number that makes it unique.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    ("companies", "(name) values ('A')", "name = 'B'"),
    ("contacts", "(first_name) values ('A')", "first_name = 'B'"),
    ("deals", "(name) values ('A')", "name = 'B'"),
    ("activities", "(subject) values ('A')", "subject = 'B'"),
    ("emails", "(subject) values ('A')", "subject = 'B'"),
    ("lists", "(name, target_table) values ('A', 'contacts')", "name = 'B'"),
    ("list_members", "(list_id, member_id) values ((select id from lists limit 1), 'm$')", "member_id = 'n$'"),
    ("pipelines", "(key, label) values ('k$', 'A')", "label = 'B'"),
    ("pipeline_stages", "(pipeline, key, label) values ('sales', 'k$', 'A')", "label = 'B'"),
    ("associations", "(from_type, from_id, to_type, to_id) values ('x', 'a$', 'y', 'b')", "to_id = 'c'"),
    ("custom_fields", "(object_type, key, type) values ('deal', 'k$', 'text')", "label = 'B'"),
];

async fn entries(agent: &Agent, id: &str) -> Vec<Value> {
    let feed = agent.get(&format!("/v1/activity?subject_id={id}")).await.status(200).data();
    feed.as_array().unwrap().iter().rev().cloned().collect()
}

fn verbs(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["verb"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_table_tells_of_every_change_by_every_door() {
    let agent = agent().await;
    let place = home().place(&agent.workspace_id).await;
    agent.sql("insert into lists (name, target_table, kind) values ('S', 'contacts', 'static')").await.status(200);
    let covered: Vec<&str> = ROWS.iter().map(|(table, ..)| *table).collect();
    for entity in ENTITIES.iter().filter(|entity| entity.writable) {
        assert!(covered.contains(&entity.table), "{} is not covered", entity.table);
    }
    let mut session = psql(&agent).await;
    let mut number = 0;
    for (table, insert, change) in ROWS {
        let entity = ENTITIES.iter().find(|entity| entity.table == *table).unwrap();
        for door in ["sql", "psql"] {
            number += 1;
            let unique = |text: &str| text.replace('$', &number.to_string());
            let made = unique(&format!("insert into {table} {insert} returning id as v"));
            let id = if door == "sql" {
                agent.sql(&made).await.status(200).v().as_str().unwrap().to_owned()
            } else {
                session.query(&made, &[]).await.unwrap().get::<String>(0, "v").unwrap()
            };
            let mut steps = vec![unique(&format!("update {table} set {change}"))];
            if entity.stamped {
                steps.extend(["now()", "null"].map(|at| format!("update {table} set deleted_at = {at}")));
            }
            steps.push(format!("delete from {table}"));
            for step in steps {
                let step = format!("{step} where id = '{id}'");
                if door == "sql" {
                    agent.sql(&step).await.status(200);
                } else {
                    session.script(&step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
                }
            }
            let told = entries(&agent, &id).await;
            let expected: &[&str] = match entity.stamped {
                true => &["created", "updated", "deleted", "restored", "deleted"],
                false => &["created", "updated", "deleted"],
            };
            assert_eq!(verbs(&told), expected, "{table} by {door}: {told:?}");
            for entry in &told {
                assert_eq!(entry["subject_type"], entity.name, "{entry}");
                let actor = entry["actor"].as_str().unwrap();
                match door {
                    "sql" => assert!(actor.starts_with("api_key:ak_"), "{entry}"),
                    _ => assert_eq!(actor, format!("postgres:{}", place.role), "{entry}"),
                }
                assert_eq!(entry["custom"].get("request_id").is_some(), door == "sql", "{entry}");
            }
            let changes = told[1]["changes"].as_object().unwrap();
            assert_eq!(changes.len(), 1, "updated_at is no change: {changes:?}");
            let (_, change) = changes.iter().next().unwrap();
            assert_ne!(change["from"], change["to"], "{changes:?}");
            let gone = &told.last().unwrap()["changes"];
            assert_eq!(gone["id"], json!({"from": id, "to": null}), "{gone}");
        }
    }
}

#[tokio::test]
async fn an_update_tells_each_column_that_changed_and_no_other() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
    let made = agent.post("/v1/contacts", json!({"email": "a@b.example", "custom": {"a": 1}})).await.status(201).id();
    let path = format!("/v1/contacts/{made}");
    agent
        .patch(&path, json!({"email": "A@B.example", "title": "CTO", "company_id": company, "custom": {"b": [2]}}))
        .await
        .status(200);
    agent.patch(&path, json!({"title": "CTO"})).await.status(200);
    agent.delete(&path).await.status(200);
    agent.post(&format!("{path}/restore"), json!({})).await.status(200);
    agent.post(&format!("{path}/restore"), json!({})).await.status(200);
    agent.delete(&format!("{path}?hard=true")).await.status(200);
    let told = entries(&agent, &made).await;
    assert_eq!(verbs(&told), ["created", "updated", "deleted", "restored", "deleted"]);
    assert_eq!(told[0]["changes"], Value::Null);
    let expected = json!({
        "email": {"from": "a@b.example", "to": "A@B.example"},
        "title": {"from": null, "to": "CTO"},
        "company_id": {"from": null, "to": company},
        "custom": {"from": {"a": 1}, "to": {"a": 1, "b": [2]}},
    });
    assert_eq!(told[1]["changes"], expected);
    assert_eq!(told[2]["changes"]["deleted_at"]["from"], Value::Null);
    assert_eq!(told[3]["changes"]["deleted_at"]["to"], Value::Null);
    assert_eq!(told[4]["changes"]["title"], json!({"from": "CTO", "to": null}));
    assert_eq!(told[0]["subject_repr"], "a@b.example");
    // Many rows in one statement create as many entries, in one transaction.
    agent
        .sql("insert into deals (name, amount_cents) select 'd' || g, g from generate_series(1, 30) g")
        .await
        .status(200);
    agent.sql("update deals set amount_cents = amount_cents * 2 where amount_cents > 10").await.status(200);
    assert_eq!(agent.get("/v1/activity?subject_type=deal&verb=updated").await.column("id").len(), 20);
    agent.sql("update deals set name = 'x'; select 1 / 0").await.fault(400, "sql_error");
    assert_eq!(agent.get("/v1/activity?subject_type=deal&verb=updated").await.column("id").len(), 20);
}

#[tokio::test]
async fn who_why_and_in_which_run_stands_in_each_entry() {
    let agent = agent().await;
    let send = async |method: Method, path: &str, body: Value, run: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("x-agent", "claude/1"),
            ("x-run-id", run),
            ("x-reason", "\"because\" é"),
        ];
        agent.send(method, path, &headers, body.to_string()).await
    };
    let made = send(Method::POST, "/v1/contacts", json!({"email": "a@b.example"}), "r1").await.status(201);
    let path = format!("/v1/contacts/{}", made.id());
    send(Method::PATCH, &path, json!({"title": "CTO"}), "r2").await.status(200);
    send(Method::POST, "/v1/contacts", json!({"email": "a@b.example"}), "r3").await.fault(409, "conflict");
    send(Method::DELETE, &path, Value::Null, "r4").await.status(200);
    send(Method::POST, &format!("{path}/restore"), json!({}), "r5").await.status(200);
    let sql = json!({"sql": "update contacts set title = 'CEO'; update contacts set title = 'CFO'"});
    let by_sql = send(Method::POST, "/v1/sql", sql, "r6").await.status(200);
    let told = entries(&agent, &made.id()).await;
    assert_eq!(verbs(&told), ["created", "updated", "conflict", "deleted", "restored", "updated", "updated"]);
    let runs: Vec<&str> = told.iter().map(|entry| entry["custom"]["run_id"].as_str().unwrap()).collect();
    assert_eq!(runs, ["r1", "r2", "r3", "r4", "r5", "r6", "r6"]);
    for entry in &told {
        assert_eq!(
            (&entry["custom"]["agent"], &entry["custom"]["reason"]),
            (&json!("claude/1"), &json!("\"because\" é")),
            "{entry}"
        );
    }
    assert_eq!(told[0]["custom"]["request_id"], made.header("x-request-id"));
    assert_eq!(told[6]["custom"]["request_id"], by_sql.header("x-request-id"));
    assert_eq!(agent.get("/v1/activity?custom.run_id=r6").await.column("verb"), ["updated", "updated"]);
    // Without the headers there is only the request id. Headers of another request are not kept.
    agent.patch(&path, json!({"title": "COO"})).await.status(200);
    let last = entries(&agent, &made.id()).await.pop().unwrap();
    assert_eq!(last["custom"].as_object().unwrap().keys().collect::<Vec<_>>(), ["request_id"], "{last}");
    // A header that is much too long is cut, not refused.
    let headers = [("content-type", "application/json"), ("x-reason", &*"x".repeat(5000))];
    agent.send(Method::PATCH, &path, &headers, json!({"title": "CIO"}).to_string()).await.status(200);
    let last = entries(&agent, &made.id()).await.pop().unwrap();
    assert_eq!(last["custom"]["reason"], "x".repeat(500));
}

#[tokio::test]
async fn the_feed_is_read_by_time_subject_actor_and_verb() {
    let agent = agent().await;
    let contact = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let deal = agent.post("/v1/deals", json!({"name": "D", "contact_id": contact})).await.status(201).id();
    psql(&agent).await.script("update contacts set title = 'CTO'").await.unwrap();
    agent.delete(&format!("/v1/deals/{deal}")).await.status(200);
    let feed = agent.get("/v1/activity").await.status(200);
    assert_eq!(feed.column("verb"), ["deleted", "updated", "created", "created"]);
    let at: Vec<String> = feed.column("occurred_at").iter().map(|at| at.as_str().unwrap().to_owned()).collect();
    let key = feed.text("/data/0/actor");
    let role = feed.text("/data/1/actor");
    let escape = |text: &str| text.replace('+', "%2B");
    let found = async |query: String| {
        let page = agent.get(&format!("/v1/activity?{query}")).await.status(200);
        let found: Vec<String> = page.column("occurred_at").iter().map(|at| at.as_str().unwrap().to_owned()).collect();
        let places: Vec<usize> = found.iter().map(|moment| at.iter().position(|it| it == moment).unwrap()).collect();
        places
    };
    assert_eq!(found(format!("since={}", escape(&at[1]))).await, [0, 1]);
    assert_eq!(found(format!("since={}&verb=created", escape(&at[3]))).await, [2, 3]);
    assert_eq!(found(format!("occurred_at_before={}", escape(&at[2]))).await, [2, 3]);
    assert_eq!(found("since=2999-01-01T00:00:00Z".into()).await, Vec::<usize>::new());
    assert_eq!(found(format!("subject_type=contact&subject_id={contact}")).await, [1, 3]);
    assert_eq!(found(format!("subject_id={}", contact.replace("c_", "con_"))).await, [1, 3]);
    assert_eq!(found("subject_type=deal".into()).await, [0, 2]);
    assert_eq!(found(format!("actor={key}")).await, [0, 2, 3]);
    assert_eq!(found(format!("actor={role}")).await, [1]);
    assert_eq!(found("actor_starts=postgres:".into()).await, [1]);
    assert_eq!(found("verb=deleted,updated".into()).await, [0, 1]);
    assert_eq!(found("verb=conflict".into()).await, Vec::<usize>::new());
    assert_eq!(found("subject_type=contact&verb=created&actor_starts=api_key".into()).await, [3]);
    let page = agent.get("/v1/activity?limit=3").await.status(200);
    let next = agent.get(&format!("/v1/activity?cursor={}", page.text("/_meta/next_cursor"))).await.status(200);
    assert_eq!(next.column("occurred_at"), [json!(at[3])]);
}

#[tokio::test]
async fn an_entry_has_an_end_however_large_the_change() {
    let agent = agent().await;
    let note =
        agent.post("/v1/activities", json!({"body": "ä".repeat(1_500_000), "subject": "S"})).await.status(201).id();
    let path = format!("/v1/activities/{note}");
    let keys: HashMap<String, String> = (0..5000).map(|number| (format!("key{number}"), "v".repeat(400))).collect();
    agent.patch(&path, json!({"body": "ö".repeat(2_000_000), "custom": keys, "subject": "T"})).await.status(200);
    agent.delete(&format!("{path}?hard=true")).await.status(200);
    let sizes = agent
        .sql("select octet_length(to_jsonb(a)::text) as size from activity a order by occurred_at")
        .await
        .status(200);
    for size in sizes.column("size") {
        assert!(size.as_u64().unwrap() <= 1024 * 1024, "{size}");
    }
    let told = entries(&agent, &note).await;
    assert_eq!(verbs(&told), ["created", "updated", "deleted"]);
    let changes = &told[1]["changes"];
    assert_eq!(changes["subject"], json!({"from": "S", "to": "T"}), "what is short stays whole");
    let body = &changes["body"];
    assert_eq!(body["clipped"], json!({"from": 3_000_000, "to": 4_000_000}), "{}", body["clipped"]);
    assert!(body["to"].as_str().unwrap().starts_with("öö"));
    assert!(!changes["custom"]["clipped"].is_null());
    // A refused value is cut too.
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let attempt = json!({"email": "a@b.example", "custom": {"long": "x".repeat(3_000_000)}, "title": "CTO"});
    agent.post("/v1/contacts", attempt).await.fault(409, "conflict");
    let entry = agent.get("/v1/activity?verb=conflict").await.status(200);
    assert_eq!(entry.at("/data/0/changes/attempted/title"), "CTO");
    assert!(entry.body.len() < 1024 * 1024, "{}", entry.body.len());
}

#[tokio::test]
async fn a_table_of_ones_own_opts_in() {
    let agent = agent().await;
    agent
        .sql("create table things (code text primary key, name text, deleted_at timestamptz);
              create trigger activity after insert or update or delete on things for each row execute function record_activity();
              create table contact (id int primary key);
              create trigger activity after insert on contact for each row execute function record_activity();
              create table silent (id int primary key)")
        .await
        .status(200);
    agent.post("/v1/silent", json!({"id": 1})).await.status(201);
    agent.post("/v1/things", json!({"code": "x", "name": "N"})).await.status(201);
    agent.patch("/v1/things/x", json!({"name": "M"})).await.status(200);
    agent.patch("/v1/things/x", json!({"name": "M"})).await.status(200);
    agent.delete("/v1/things/x").await.status(200);
    agent.post("/v1/things/x/restore", json!({})).await.status(200);
    agent.delete("/v1/things/x?hard=true").await.status(200);
    let told = entries(&agent, "x").await;
    assert_eq!(verbs(&told), ["created", "updated", "deleted", "restored", "deleted"]);
    assert!(told.iter().all(|entry| entry["subject_type"] == "things"), "{told:?}");
    assert_eq!(
        (&told[0]["subject_repr"], &told[1]["changes"]),
        (&json!("N"), &json!({"name": {"from": "N", "to": "M"}}))
    );
    // A table can't present its rows as those of a built-in table.
    agent.post("/v1/contact", json!({"id": 1})).await.status(201);
    assert_eq!(agent.get("/v1/activity?subject_id=1").await.column("subject_type"), ["custom:contact"]);
    let wrong = "create trigger activity before insert on silent for each row execute function record_activity()";
    agent.sql(wrong).await.status(200);
    agent.post("/v1/silent", json!({"id": 2})).await.fault(400, "sql_error").says("AFTER");
}
