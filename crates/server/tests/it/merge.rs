//! Merges: several records become one, all that refers to them refers to it, and undo puts every row back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both};

const BUILTIN: [&str; 9] = [
    "contacts",
    "companies",
    "deals",
    "activities",
    "emails",
    "lists",
    "list_members",
    "associations",
    "pipeline_stages",
];

/// All rows of these tables, as PostgreSQL writes them, `updated_at` excepted.
pub async fn rows(agent: &Agent, tables: &[&str]) -> Value {
    let each = |table: &&str| {
        format!(
            "select '{table}' as t, array(select (to_jsonb(whole) - 'updated_at')::text from {table} whole order by 1) as rows"
        )
    };
    let sql = tables.iter().map(each).collect::<Vec<_>>().join(" union all ");
    agent.sql(&sql).await.status(200).at("/data/rows")
}

async fn made(agent: &Agent, table: &str, body: Value) -> String {
    agent.post(&format!("/v1/{table}"), body).await.status(201).id()
}

async fn merge(agent: &Agent, table: &str, id: &str, body: Value) -> Reply {
    agent.post(&format!("/v1/{table}/{id}/merge"), body).await
}

async fn undo(agent: &Agent, merged: &Reply) -> Reply {
    agent.post(&format!("/v1/requests/{}/undo", merged.header("x-request-id")), json!({})).await
}

async fn one(agent: &Agent, sql: &str) -> Value {
    agent.sql(sql).await.status(200).v()
}

#[tokio::test]
async fn a_merge_fills_what_is_empty_moves_what_refers_and_is_undone_whole() {
    let (relm, agent) = both().await;
    let company = made(&agent, "companies", json!({"name": "Acme"})).await;
    let a =
        made(&agent, "contacts", json!({"first_name": "Ada", "phone": "1", "custom": {"plan": "free", "x": ""}})).await;
    let b = made(
        &agent,
        "contacts",
        json!({"email": "ada@b.example", "first_name": "A.", "phone": "2", "company_id": company,
        "custom": {"plan": "pro", "x": 1, "y": [2]}}),
    )
    .await;
    let c = made(
        &agent,
        "contacts",
        json!({"email": "a2@b.example", "last_name": "L", "title": "CTO", "custom": {"y": 3, "z": 4}}),
    )
    .await;
    let deal = made(&agent, "deals", json!({"name": "D", "contact_id": b})).await;
    let call = made(&agent, "activities", json!({"type": "call", "contact_id": c})).await;
    let mail =
        made(&agent, "emails", json!({"from_addr": "ada@b.example", "to_addrs": ["a2@b.example"], "contact_ids": [a]}))
            .await;
    let list = made(&agent, "lists", json!({"name": "L", "target_table": "contacts", "kind": "static"})).await;
    let other = made(&agent, "lists", json!({"name": "M", "target_table": "contacts", "kind": "static"})).await;
    agent.post(&format!("/v1/lists/{list}/members"), json!({"member_ids": [a, b]})).await.status(201);
    agent.post(&format!("/v1/lists/{other}/members"), json!({"member_ids": [b, c]})).await.status(201);
    for (from, to, label) in [(&a, &deal, "x"), (&b, &deal, "x"), (&c, &deal, "y")] {
        let edge = json!({"from_type": "contact", "from_id": from, "to_type": "deal", "to_id": to, "label": label});
        agent.post("/v1/associations", edge).await.status(201);
    }
    let edge = json!({"from_type": "contact", "from_id": b, "to_type": "contact", "to_id": a, "label": "knows"});
    agent.post("/v1/associations", edge).await.status(201);
    let before = rows(&agent, &BUILTIN).await;

    let body = json!({"from": [b, c], "prefer": {"phone": b, "custom.plan": b}});
    let dry = agent
        .send(
            Method::POST,
            &format!("/v1/contacts/{a}/merge"),
            &[("content-type", "application/json"), ("x-dry-run", "true")],
            body.to_string(),
        )
        .await
        .status(200);
    assert_eq!(dry.at("/_meta/affected/contacts"), json!({"created": 0, "updated": 1, "deleted": 2, "restored": 0}));
    assert_eq!(rows(&agent, &BUILTIN).await, before, "a dry run keeps nothing");
    agent
        .send(
            Method::POST,
            &format!("/v1/contacts/{a}/merge"),
            &[("content-type", "application/json"), ("x-max-affected", "3")],
            body.to_string(),
        )
        .await
        .fault(412, "max_affected_exceeded");

    let merged = merge(&agent, "contacts", &a, body).await.status(200);
    let seen = merged.data();
    for (field, value) in
        [("first_name", "Ada"), ("last_name", "L"), ("phone", "2"), ("email", "ada@b.example"), ("title", "CTO")]
    {
        assert_eq!(seen[field], value, "{}", merged.story());
    }
    assert_eq!((&seen["id"], &seen["company_id"]), (&json!(a), &json!(company)));
    assert_eq!(seen["custom"], json!({"plan": "pro", "x": 1, "y": [2], "z": 4}));
    assert_eq!(
        merged.at("/_meta/merged"),
        json!({"from": [b, c], "moved": {"deals": 1, "activities": 1, "emails": 1, "list_members": 1, "associations": 1},
               "dropped": {"list_members": 2, "associations": 2}})
    );
    agent.get(&format!("/v1/contacts/{b}")).await.fault(404, "not_found");
    assert_eq!(agent.get(&format!("/v1/deals/{deal}")).await.at("/data/contact_id"), json!(a));
    assert_eq!(agent.get(&format!("/v1/activities/{call}")).await.at("/data/contact_id"), json!(a));
    assert_eq!(agent.get(&format!("/v1/emails/{mail}")).await.at("/data/contact_ids"), json!([a]));
    assert_eq!(one(&agent, "select jsonb_agg(member_id) as v from list_members").await, json!([a, a]));
    let feed = agent.get(&format!("/v1/activity?subject_id={b}&verb=deleted")).await.status(200);
    assert_eq!(feed.column("subject_id"), [json!(b)]);

    // Somebody changes another column meanwhile.
    agent.patch(&format!("/v1/contacts/{a}"), json!({"custom": {"new": true}})).await.status(200);
    undo(&agent, &merged).await.fault(409, "undo_conflict");
    agent.sql(&format!("update contacts set custom = custom - 'new' where id = '{a}'")).await.status(200);
    agent.sql(&format!("update activities set subject = 'later' where id = '{call}'")).await.status(200);
    undo(&agent, &merged).await.status(200);
    agent.sql(&format!("update activities set subject = null where id = '{call}'")).await.status(200);
    assert_eq!(rows(&agent, &BUILTIN).await, before);

    // Relm's names and ids.
    let con = |id: &str| format!("con_{}", &id[2..]);
    let merged = merge(
        &relm,
        "contacts",
        &con(&b),
        json!({"from": [con(&a)], "prefer": {"metadata.plan": con(&a), "first_name": con(&a)}}),
    )
    .await
    .status(200);
    assert_eq!((merged.at("/id"), merged.at("/object")), (json!(con(&b)), json!("contact")));
    assert_eq!(
        (merged.at("/metadata/plan"), merged.at("/first_name"), merged.at("/phone")),
        (json!("free"), json!("Ada"), json!("2"))
    );
    assert_eq!(merged.at("/merged/from"), json!([con(&a)]));
    let events = relm.get("/v1/events?type=contact.deleted&limit=200").await.status(200);
    assert!(
        events.data().as_array().is_some_and(|events| events.iter().any(|it| it["data"]["id"] == con(&a))),
        "{}",
        events.story()
    );
    undo(&relm, &merged).await.status(200);
    assert_eq!(rows(&agent, &BUILTIN).await, before);
}

#[tokio::test]
async fn what_can_not_be_merged_is_refused_with_its_place() {
    let (relm, agent) = both().await;
    let [a, b, gone] = [
        made(&agent, "contacts", json!({"email": "a@b.example"})).await,
        made(&agent, "contacts", json!({"email": "b@b.example"})).await,
        made(&agent, "contacts", json!({})).await,
    ];
    agent.delete(&format!("/v1/contacts/{gone}")).await.status(200);
    let before = rows(&agent, &BUILTIN).await;
    let many: Vec<String> = (0..21).map(|at| format!("c_{at}")).collect();
    for (body, status, code, part) in [
        (json!({"from": [b, a]}), 400, "invalid_request", "\"from[1]\" names the record that stays"),
        (json!({"from": [b, b]}), 400, "invalid_request", "\"from[1]\" names a record twice"),
        (json!({"from": [b, gone]}), 422, "invalid_reference", &gone),
        (json!({"from": ["c_nothing"]}), 422, "invalid_reference", "c_nothing"),
        (json!({"from": []}), 400, "invalid_request", "\"from\" has 0 records"),
        (json!({"from": many}), 400, "invalid_request", "\"from\" has 21 records"),
        (json!({}), 400, "invalid_request", "\"from\" must be an array"),
        (json!({"from": [b, null]}), 400, "invalid_request", "\"from[1]\" must be the id"),
        (json!({"from": [b], "prefer": {"phnoe": b}}), 400, "invalid_request", "prefer.phnoe"),
        (json!({"from": [b], "prefer": {"created_at": b}}), 400, "invalid_request", "created_at"),
        (json!({"from": [b], "prefer": {"phone": gone}}), 400, "invalid_request", "\"prefer.phone\" names"),
        (json!({"from": [b], "prefer": {"phone": true}}), 400, "invalid_request", "\"prefer.phone\" must be the id"),
        (json!({"from": [b], "prefer": [b]}), 400, "invalid_request", "\"prefer\" must be an object"),
        (json!({"from": [b], "perfer": {}}), 400, "invalid_request", "prefer"),
    ] {
        merge(&agent, "contacts", &a, body).await.fault(status, code).says(part);
    }
    assert_eq!(merge(&agent, "contacts", &a, json!({"from": [b, gone]})).await.at("/field"), json!("from[1]"));
    merge(&agent, "contacts", &gone, json!({"from": [b]})).await.fault(404, "not_found");
    merge(&agent, "contacts", "c_nothing", json!({"from": [b]})).await.fault(404, "not_found");
    merge(&relm, "contacts", &a, json!({"from": [b], "prefer": {"metdata": b}})).await.fault(400, "invalid_request");
    merge(&agent, "pipelines", "sales", json!({"from": ["pl_1"]}))
        .await
        .fault(400, "invalid_request")
        .says("can't be merged");
    merge(&agent, "activity", "a_1", json!({"from": ["a_2"]})).await.fault(403, "forbidden");
    agent.get(&format!("/v1/contacts/{a}/merge")).await.fault(405, "method_not_allowed");
    assert_eq!(rows(&agent, &BUILTIN).await, before);
}

#[tokio::test]
async fn amounts_keep_their_currency_and_stages_their_pipeline() {
    let agent = agent().await;
    agent.post("/v1/pipelines", json!({"key": "renewals", "label": "Renewals"})).await.status(201);
    agent.post("/v1/pipelines/renewals/stages", json!({"key": "due", "label": "Due"})).await.status(201);
    let a = made(&agent, "deals", json!({"name": "A"})).await;
    let b =
        made(&agent, "deals", json!({"amount_cents": 100, "currency": "EUR", "pipeline": "renewals", "stage": "due"}))
            .await;
    let merged = merge(&agent, "deals", &a, json!({"from": [b]})).await.status(200);
    assert_eq!((merged.at("/data/amount_cents"), merged.at("/data/currency")), (json!(100), json!("EUR")));
    assert_eq!((merged.at("/data/pipeline"), merged.at("/data/stage")), (json!("sales"), json!("lead")));
    undo(&agent, &merged).await.status(200);
    let merged = merge(&agent, "deals", &a, json!({"from": [b], "prefer": {"stage": b}})).await.status(200);
    assert_eq!((merged.at("/data/pipeline"), merged.at("/data/stage")), (json!("renewals"), json!("due")));
    assert_eq!(one(&agent, "select count(*)::int as v from pipeline_stages where pipeline = 'sales'").await, json!(5));

    // A reference to a deleted record is not taken over, and does not stop the merge.
    let company = made(&agent, "companies", json!({"name": "Gone", "domain": "gone.example"})).await;
    let [c, d] =
        [made(&agent, "contacts", json!({})).await, made(&agent, "contacts", json!({"company_id": company})).await];
    agent.delete(&format!("/v1/companies/{company}")).await.status(200);
    let merged = merge(&agent, "contacts", &c, json!({"from": [d]})).await.status(200);
    assert_eq!(merged.at("/data/company_id"), Value::Null);
    // A company's domain is unique.
    let [e, f] = [
        made(&agent, "companies", json!({"name": "E"})).await,
        made(&agent, "companies", json!({"domain": "f.example"})).await,
    ];
    let merged = merge(&agent, "companies", &e, json!({"from": [f]})).await.status(200);
    assert_eq!((merged.at("/data/name"), merged.at("/data/domain")), (json!("E"), json!("f.example")));
}

#[tokio::test]
async fn tables_of_the_workspaces_own_are_rewritten_too() {
    let agent = agent().await;
    agent
        .sql("create table topics (id int primary key, name text, parent int references topics on delete cascade, code text unique, size int generated always as (length(name)) stored);
              create table tagged (contact_id text references contacts on delete cascade, tag int references topics on delete cascade on update cascade, primary key (contact_id, tag) deferrable initially deferred);
              create table profiles (contact_id text primary key references contacts, bio text);
              create table scraps (id int primary key, who text references contacts on delete set null);
              alter table contacts add column external_no int unique, add column manager_id text references contacts;
              create table visits (contact_no int references contacts (external_no) on update cascade on delete cascade, n int)")
        .await
        .status(200);
    let [a, b, c] = [
        made(&agent, "contacts", json!({})).await,
        made(&agent, "contacts", json!({"external_no": 7})).await,
        made(&agent, "contacts", json!({"external_no": 8})).await,
    ];
    agent
        .sql(&format!(
            "insert into topics values (1, 'one', null, 'x'), (2, 'two', 1, null), (3, 'three', 2, 'y');
             insert into tagged values ('{a}', 1), ('{b}', 1), ('{b}', 2), ('{c}', 2), ('{c}', 3);
             insert into scraps values (1, '{b}'), (2, null); insert into profiles values ('{b}', 'bio');
             update contacts set manager_id = '{b}' where id in ('{a}', '{c}')"
        ))
        .await
        .status(200);
    let tables = ["topics", "tagged", "profiles", "scraps", "visits", "contacts"];
    let before = rows(&agent, &tables).await;
    let merged = merge(&agent, "contacts", &a, json!({"from": [b, c]})).await.status(200);
    assert_eq!(
        merged.at("/_meta/merged/moved"),
        json!({"tagged": 2, "profiles": 1, "scraps": 1}),
        "{}",
        merged.story()
    );
    assert_eq!(merged.at("/_meta/merged/dropped"), json!({"tagged": 2}));
    assert_eq!((merged.at("/data/external_no"), merged.at("/data/manager_id")), (json!(7), Value::Null));
    assert_eq!(one(&agent, "select array_agg(tag order by tag) as v from tagged").await, json!([1, 2, 3]));
    undo(&agent, &merged).await.status(200);
    assert_eq!(rows(&agent, &tables).await, before);

    // One profile each: neither may get lost.
    agent.sql(&format!("insert into profiles values ('{a}', 'another')")).await.status(200);
    merge(&agent, "contacts", &a, json!({"from": [b]})).await.fault(409, "conflict").says("profiles_pkey");
    agent
        .sql(&format!("delete from profiles where contact_id = '{a}'; insert into visits values (7, 1)"))
        .await
        .status(200);
    // The value that the visit refers to can't be at two records at once.
    merge(&agent, "contacts", &a, json!({"from": [b]})).await.fault(409, "still_referenced").says("visits");
    let merged = merge(&agent, "contacts", &c, json!({"from": [b]})).await.status(200);
    assert_eq!(one(&agent, "select contact_no as v from visits").await, json!(8));
    // Tables without a primary key are not in the log.
    undo(&agent, &merged).await;
    agent.sql("truncate visits").await.status(200);

    // Without deleted_at the others are removed, and what referred to them is not.
    let before = rows(&agent, &["topics", "tagged"]).await;
    let merged = merge(&agent, "topics", "3", json!({"from": [2, "1"], "prefer": {"name": 1}})).await.status(200);
    assert_eq!(merged.at("/data"), json!({"id": 3, "name": "one", "parent": null, "code": "y", "size": 3}));
    assert_eq!(one(&agent, "select array_agg(distinct tag) as v from tagged").await, json!([3]));
    assert_eq!(one(&agent, "select count(*)::int as v from topics").await, json!(1));
    undo(&agent, &merged).await.status(200);
    assert_eq!(rows(&agent, &["topics", "tagged"]).await, before);
    merge(&agent, "topics", "1", json!({"from": ["01"]})).await.fault(400, "invalid_request").says("from[0]");
    merge(&agent, "topics", "x", json!({"from": [1]})).await.fault(404, "not_found");
    merge(&agent, "topics", "1", json!({"from": ["x"]})).await.fault(422, "invalid_reference").says("x");
}

#[tokio::test]
async fn what_the_workspaces_own_code_does_stops_a_merge_and_loses_nothing() {
    let agent = agent().await;
    agent
        .sql(
            "create table pinned (id int primary key, who text references contacts on delete cascade);
              create function pin() returns trigger language plpgsql as 'begin return null; end';
              create trigger pin before update on pinned for each row execute function pin();
              create table hidden (id int primary key, who text references contacts);
              alter table hidden enable row level security; alter table hidden force row level security",
        )
        .await
        .status(200);
    let [a, b] = [made(&agent, "contacts", json!({})).await, made(&agent, "contacts", json!({})).await];
    let before = rows(&agent, &BUILTIN).await;
    // A policy hides rows, so what refers to the record is not known.
    merge(&agent, "contacts", &a, json!({"from": [b]})).await.fault(403, "forbidden").says("row-level security");
    agent.sql("drop table hidden").await.status(200);
    agent.sql(&format!("insert into pinned values (1, '{b}')")).await.status(200);
    merge(&agent, "contacts", &a, json!({"from": [b]})).await.fault(409, "still_referenced").says("pinned");
    assert_eq!(rows(&agent, &BUILTIN).await, before);
    assert_eq!(one(&agent, "select who as v from pinned").await, json!(b));
    // A trigger finds its tables, and has the caller's rights alone.
    agent
        .sql("drop table pinned; create table seen (id serial primary key, role text, path text);
              create function spy() returns trigger language plpgsql as 'begin insert into seen (role, path) values (current_user || session_user, current_setting(''search_path'')); return new; end';
              create trigger spy before update on contacts for each row execute function spy()")
        .await
        .status(200);
    let role = one(&agent, "select current_user || session_user as v").await;
    merge(&agent, "contacts", &a, json!({"from": [b]})).await.status(200);
    assert_eq!(one(&agent, "select jsonb_agg(distinct role) as v from seen").await, json!([role]));
}

#[tokio::test]
async fn merges_at_the_same_time_wait_for_each_other() {
    let agent = agent().await;
    let mut contacts = Vec::new();
    for _ in 0..8 {
        contacts.push(made(&agent, "contacts", json!({})).await);
    }
    let all = contacts.join("','");
    agent
        .sql(&format!("insert into emails (contact_ids) select array['{all}'] from generate_series(1, 50)"))
        .await
        .status(200);
    // Each two merges meet in all e-mails, and two of them name each other.
    let pairs = [(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (6, 7)];
    let merges = pairs.map(|(into, from)| {
        let body = json!({"from": [contacts[from]]});
        let (agent, id) = (agent.clone(), contacts[into].clone());
        async move { merge(&agent, "contacts", &id, body).await }
    });
    let replies = futures_util::future::join_all(merges).await;
    let codes: Vec<u16> = replies.iter().map(|reply| reply.code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 4, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 200 | 404 | 422)), "{codes:?}");
    assert_eq!(one(&agent, "select max(cardinality(contact_ids)) as v from emails").await, json!(4));
}

#[tokio::test]
async fn a_merge_is_a_write_like_any_other() {
    let agent = agent().await;
    let [a, b, c] = [
        made(&agent, "contacts", json!({"email": "a@b.example"})).await,
        made(&agent, "contacts", json!({"phone": "1"})).await,
        made(&agent, "contacts", json!({"title": "T"})).await,
    ];
    let before = rows(&agent, &BUILTIN).await;
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "m1"),
        ("x-run-id", "tidy up"),
        ("x-reason", "twins"),
    ];
    let path = format!("/v1/contacts/{a}/merge");
    let send = || agent.send(Method::POST, &path, &headers, json!({"from": [b]}).to_string());
    let (first, again) = (send().await.status(200), send().await.status(200));
    assert_eq!((again.header("idempotent-replayed"), again.json()["data"].clone()), ("true".to_owned(), first.data()));
    let operations = json!([
        {"method": "POST", "path": "/v1/contacts", "body": {"email": "n@b.example"}, "ref": "n"},
        {"method": "POST", "path": "/v1/contacts/$n.id/merge", "body": {"from": [c]}, "ref": "m"},
        {"method": "PATCH", "path": "/v1/contacts/$m.id", "body": {"last_name": "N"}},
    ]);
    let batch = agent
        .send(
            Method::POST,
            "/v1/batch",
            &headers[..1].iter().chain(&headers[2..]).copied().collect::<Vec<_>>(),
            json!({"operations": operations}).to_string(),
        )
        .await
        .status(200);
    assert_eq!(batch.at("/data/2/body/data/title"), json!("T"));
    let run = agent.get("/v1/runs/tidy%20up").await.status(200);
    assert_eq!(run.at("/data/affected/contacts"), json!({"created": 1, "updated": 1, "deleted": 2, "restored": 0}));
    agent.post("/v1/runs/tidy%20up/undo", json!({})).await.status(200);
    assert_eq!(rows(&agent, &BUILTIN).await, before);
}
