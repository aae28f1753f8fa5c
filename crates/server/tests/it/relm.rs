//! Relm's dialect over HTTP: records, pages, errors, versions, and the same data in both dialects.

use kith::clock::Clock;
use kith::serve::Door;
use reqwest::Method;
use serde_json::{Value, json};

use crate::belongings::owned;
use crate::support::{Reply, both, door, relm};

const VERSION: &str = "2026-07-02";

/// The keys of an object, in order.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[track_caller]
fn in_version(reply: Reply) -> Reply {
    assert_eq!(reply.header("relm-version"), VERSION, "{}", reply.story());
    reply
}

#[tokio::test]
async fn a_record_has_relms_names_and_says_what_it_is() {
    let relm = relm().await;
    let company = relm.post("/v1/companies", json!({"name": "Acme", "domain": "acme.example"})).await.status(201);
    let company_id = company.text("/id");
    assert!(company_id.starts_with("cmp_"), "{company_id}");
    let contact = relm
        .post(
            "/v1/contacts",
            json!({"email": "ada@acme.example", "title": "CTO", "company_id": company_id, "metadata": {"plan": "pro"}}),
        )
        .await
        .status(201);
    let contact_id = contact.text("/id");
    assert_eq!(
        keys(&contact.json()),
        [
            "id",
            "object",
            "email",
            "first_name",
            "last_name",
            "phone",
            "title",
            "company_id",
            "metadata",
            "created_at",
            "updated_at",
            "deleted_at"
        ]
    );
    assert!(contact_id.starts_with("con_"), "{contact_id}");
    assert_eq!(contact.at("/object"), "contact");
    assert_eq!(contact.at("/title"), "CTO");
    assert_eq!(contact.at("/company_id"), json!(company_id));
    assert_eq!(contact.at("/metadata"), json!({"plan": "pro"}));
    let body = json!({"title": "Rollout", "value_cents": 1250000, "currency": "EUR", "stage": "qualified",
        "close_date": "2026-12-31", "company_id": company_id, "primary_contact_id": contact_id, "metadata": {"a": 1}});
    let deal = relm.post("/v1/deals", body.clone()).await.status(201);
    assert_eq!(
        keys(&deal.json()),
        [
            "id",
            "object",
            "title",
            "pipeline",
            "stage",
            "value_cents",
            "currency",
            "close_date",
            "primary_contact_id",
            "company_id",
            "metadata",
            "created_at",
            "updated_at",
            "deleted_at"
        ]
    );
    assert!(deal.text("/id").starts_with("deal_"));
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&deal.json()[name], value, "{name}");
    }
    let body = json!({"type": "note", "subject": "Hello", "contact_id": contact_id, "deal_id": deal.text("/id")});
    let activity = relm.post("/v1/activities", body.clone()).await.status(201);
    assert!(activity.text("/id").starts_with("act_"));
    assert_eq!(activity.at("/object"), "activity");
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&activity.json()[name], value, "{name}");
    }
}

#[tokio::test]
async fn what_one_dialect_writes_the_other_reads() {
    let (relm, agentcrm) = both().await;
    let contact =
        agentcrm.post("/v1/contacts", json!({"email": "a@b.example", "custom": {"k": [1, 2.50]}})).await.status(201);
    let stored = contact.id();
    let id = stored.replacen("c_", "con_", 1);
    for path in [&stored, &id] {
        let seen = relm.get(&format!("/v1/contacts/{path}")).await.status(200);
        assert_eq!(seen.at("/id"), json!(id));
        assert_eq!(seen.at("/metadata"), json!({"k": [1, 2.50]}));
        agentcrm.get(&format!("/v1/contacts/{path}")).await.status(200);
    }
    let deal =
        relm.post("/v1/deals", json!({"title": "T", "value_cents": 5, "primary_contact_id": id})).await.status(201);
    let deal = agentcrm.get(&format!("/v1/deals/{}", deal.text("/id"))).await.status(200);
    assert_eq!((deal.at("/data/name"), deal.at("/data/amount_cents")), (json!("T"), json!(5)));
    assert_eq!(deal.at("/data/contact_id"), json!(stored));
    let path = format!("/v1/deals/{}", deal.id());
    let changed = relm.patch(&path, json!({"title": "U", "metadata": {"a": 1, "b": 2}})).await.status(200);
    assert_eq!(changed.at("/title"), "U");
    let changed = relm.patch(&path, json!({"metadata": {"a": null, "c": 3}})).await.status(200);
    assert_eq!(changed.at("/metadata"), json!({"b": 2, "c": 3}));
    assert_eq!(relm.patch(&path, json!({"metadata": null})).await.status(200).at("/metadata"), json!({}));
    // SQL shows the stored form, and accepts both.
    let found =
        relm.sql_with("select name, contact_id from deals where contact_id = $1", json!([id])).await.status(200);
    assert_eq!(found.at("/rows/0"), json!({"name": "U", "contact_id": stored}));
}

#[tokio::test]
async fn a_page_is_a_list_and_goes_by_its_cursor() {
    let relm = relm().await;
    for n in 0..55 {
        relm.post("/v1/contacts", json!({"first_name": format!("n{n}")})).await.status(201);
    }
    let page = relm.get("/v1/contacts").await.status(200);
    assert_eq!(keys(&page.json()), ["object", "data", "has_more", "next_cursor"]);
    assert_eq!(page.at("/object"), "list");
    assert_eq!(page.data().as_array().unwrap().len(), 50);
    assert_eq!(page.at("/has_more"), true);
    assert!(page.column("object").iter().all(|object| object == "contact"));
    let rest = relm.get(&format!("/v1/contacts?cursor={}", page.text("/next_cursor"))).await.status(200);
    assert_eq!((rest.at("/has_more"), rest.at("/next_cursor")), (json!(false), Value::Null));
    let names: Vec<Value> = page.column("first_name").into_iter().chain(rest.column("first_name")).collect();
    let expected: Vec<Value> = (0..55).rev().map(|n| json!(format!("n{n}"))).collect();
    assert_eq!(names, expected);
    assert_eq!(relm.get("/v1/contacts?limit=1000").await.status(200).data().as_array().unwrap().len(), 55);
    for bad in ["0", "-1", "x"] {
        relm.get(&format!("/v1/contacts?limit={bad}")).await.fault(400, "invalid_request");
    }
    relm.get("/v1/contacts?cursor=nonsense").await.fault(400, "invalid_cursor");
}

#[tokio::test]
async fn a_deleted_record_says_so_and_is_gone() {
    let relm = relm().await;
    let id = relm.post("/v1/deals", json!({"title": "T"})).await.status(201).text("/id");
    let path = format!("/v1/deals/{id}");
    let gone = relm.delete(&path).await.status(200);
    assert_eq!(gone.json(), json!({"id": id, "object": "deal", "deleted": true}));
    relm.get(&path).await.fault(404, "not_found").says(&id);
    relm.patch(&path, json!({"title": "U"})).await.fault(404, "not_found");
    relm.delete(&path).await.fault(404, "not_found");
    assert_eq!(relm.get("/v1/deals").await.status(200).data(), json!([]));
    assert!(relm.get(&format!("{path}?include_deleted=true")).await.status(200).at("/deleted_at").is_string());
    let back = relm.post(&format!("{path}/restore"), json!({})).await.status(200);
    assert_eq!((back.at("/id"), back.at("/deleted_at")), (json!(id), Value::Null));
}

#[tokio::test]
async fn errors_are_relms_and_speak_its_names() {
    let relm = relm().await;
    let first = relm.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).text("/id");
    let taken = relm.post("/v1/contacts", json!({"email": "A@b.example"})).await.fault(409, "conflict");
    assert_eq!(taken.at("/error/existing_id"), json!(first));
    assert_eq!(taken.at("/error/constraint"), "contacts_email_key");
    taken.says(&format!("PATCH the record {first} instead."));
    for (body, field, hint) in [
        (json!({"name": "T"}), "name", "Did you mean \"title\"?"),
        (json!({"amount_cents": 1}), "amount_cents", "Did you mean \"value_cents\"?"),
        (json!({"custom": {}}), "custom", "Did you mean \"metadata\"?"),
        (json!({"titel": "T"}), "titel", "Did you mean \"title\"?"),
        (json!({"value_cent": 1}), "value_cent", "Did you mean \"value_cents\"?"),
        (json!({"object": "deal"}), "object", "Unknown field \"object\"."),
    ] {
        let refused = relm.post("/v1/deals", body).await.fault(400, "invalid_request").says(hint);
        assert_eq!(refused.at("/error/field"), field);
    }
    for (body, message) in [
        (json!({"value_cents": {}}), "\"value_cents\" (bigint) takes a number, not an object."),
        (json!({"title": 1}), "\"title\" (text) takes text, not a number."),
        (json!({"metadata": 1}), "\"metadata\" takes a JSON object."),
        (json!({"id": "deal_1"}), "\"id\" is read-only."),
    ] {
        relm.post("/v1/deals", body).await.fault(400, "invalid_request").says(message);
    }
    relm.post("/v1/deals", json!({"value_cents": "many"})).await.fault(400, "invalid_request").says("\"value_cents\"");
    let nobody = relm
        .post("/v1/deals", json!({"primary_contact_id": "con_01kaqz3v5t8w9x2y4z6a8b0c1d"}))
        .await
        .fault(422, "invalid_reference")
        .says("Key (primary_contact_id)=(con_01kaqz3v5t8w9x2y4z6a8b0c1d)");
    assert_eq!(nobody.at("/error/field"), "primary_contact_id");
    let fax =
        relm.post("/v1/activities", json!({"type": "fax", "body": "secret"})).await.fault(422, "validation_failed");
    assert!(!fax.text("/error/message").contains("secret"), "{}", fax.story());
    relm.send(Method::PUT, "/v1/contacts/con_1", &[], "").await.fault(405, "method_not_allowed");
    relm.get("/v1/nothing/at/all").await.fault(404, "not_found");
    relm.send_json(Method::POST, "/v1/contacts", "{").await.fault(400, "invalid_request");
    relm.send(Method::POST, "/v1/contacts", &[("content-type", "text/plain")], "x")
        .await
        .fault(415, "unsupported_media_type");
}

#[tokio::test]
async fn every_answer_says_the_version_and_a_known_one_may_be_asked_for() {
    let (relm, agentcrm) = both().await;
    let put = in_version(relm.send(Method::PUT, "/v1/contacts", &[], "").await).fault(405, "method_not_allowed");
    assert_eq!(put.header("allow"), "GET, POST");
    for path in ["/v1/contacts", "/v1/tables", "/v1/contacts/con_1", "/v1/nothing/at/all", "/v1/contacts?x=1"] {
        in_version(relm.get(path).await);
    }
    in_version(relm.send(Method::GET, "/v1/contacts", &[("relm-version", VERSION)], "").await).status(200);
    for unknown in ["2025-01-01", "", "é"] {
        let refused = relm.send(Method::GET, "/v1/contacts", &[("relm-version", unknown)], "").await;
        in_version(refused).fault(400, "invalid_request").says(VERSION);
    }
    let key = format!("sk_live_{}", "0".repeat(32));
    in_version(relm.clone().with_key(key, String::new()).get("/v1/contacts").await).fault(401, "unauthorized");
    for other in [
        agentcrm.get("/v1/contacts").await,
        relm.clone().with_key(String::new(), String::new()).get("/v1/contacts").await,
    ] {
        assert_eq!(other.header("relm-version"), "", "{}", other.story());
    }
    assert_eq!(
        relm.clone().with_key("what".into(), String::new()).get("/v1/contacts").await.status(401).at("/error"),
        "unauthorized"
    );
}

#[tokio::test]
async fn a_replayed_answer_is_relms_too() {
    let relm = relm().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "create-ada-1")];
    let body = json!({"email": "ada@example.com", "first_name": "Ada"}).to_string();
    let first = in_version(relm.send(Method::POST, "/v1/contacts", &headers, body.clone()).await).status(201);
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = in_version(relm.send(Method::POST, "/v1/contacts", &headers, body.clone()).await).status(201);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true".into(), &first.body));
    let other = body.replace("Ada", "Grace");
    in_version(relm.send(Method::POST, "/v1/contacts", &headers, other).await).fault(409, "idempotency_conflict");
    for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
        assert!(again.header(name).parse::<u64>().is_ok(), "{name}");
    }
}

#[tokio::test]
async fn what_agentcrm_can_do_relm_can_do_in_its_shape() {
    let relm = relm().await;
    let id =
        relm.post("/v1/contacts", json!({"email": "a@b.example", "first_name": "Ada"})).await.status(201).text("/id");
    let result = relm.sql("select 1 as one").await.status(200).json();
    let column = json!({"name": "one", "type": "integer"});
    assert_eq!(
        result,
        json!({"object": "sql_result", "columns": [column], "rows": [{"one": 1}], "rowCount": 1, "command": "SELECT", "truncated": false})
    );
    let failed = relm.sql("select nope").await.fault(400, "sql_error");
    assert_eq!((failed.at("/error/sqlstate"), failed.at("/error/position")), (json!("42703"), json!(8)));
    assert_eq!(failed.at("/error/hint"), Value::Null);
    let tables = relm.get("/v1/tables").await.status(200);
    assert_eq!((tables.at("/object"), tables.at("/has_more")), (json!("list"), json!(false)));
    let contacts = tables.data().as_array().unwrap().iter().find(|table| table["name"] == "contacts").cloned().unwrap();
    assert_eq!((&contacts["object"], &contacts["kind"]), (&json!("table"), &json!("builtin")));
    let schema = relm.get("/v1/schema").await.status(200);
    assert_eq!(schema.at("/object"), "schema");
    assert!(schema.at("/tables").as_array().unwrap().len() > 5 && schema.at("/enums").is_array());
    let found = relm.get("/v1/contacts/search?q=Ada").await.status(200);
    assert_eq!((found.at("/data/0/id"), found.at("/data/0/object")), (json!(id), json!("contact")));
    assert!(found.at("/data/0/score").is_number());
    let list =
        relm.post("/v1/lists", json!({"name": "S", "target_table": "contacts", "kind": "static"})).await.status(201);
    assert_eq!(list.at("/object"), "list");
    let members = format!("/v1/lists/{}/members", list.text("/id"));
    let member = relm.post(&members, json!({"member_id": id})).await.status(201);
    assert_eq!((member.at("/object"), member.at("/member_id")), (json!("list_member"), json!(id)));
    let several = relm.post(&members, json!({"member_ids": [id]})).await.status(201);
    assert_eq!((several.at("/object"), several.at("/data/0/object")), (json!("list"), json!("list_member")));
    let rows = relm.get(&format!("/v1/lists/{}/rows", list.text("/id"))).await.status(200);
    assert_eq!((rows.at("/object"), rows.at("/data/0/id")), (json!("list"), json!(id)));
    assert_eq!(rows.at("/data/0/object"), "contact");
    assert_eq!(rows.at("/data/0/metadata"), json!({}));
    relm.sql("create table things (id int primary key, name text); insert into things values (1, 'a')")
        .await
        .status(200);
    for (body, expected) in [
        (json!({"name": "W", "target_table": "things"}), json!([{"id": 1, "object": "things", "name": "a"}])),
        (
            json!({"name": "P", "target_table": "contacts", "config": {"columns": ["first_name", "id"]}}),
            json!([{"id": id, "object": "row", "first_name": "Ada"}]),
        ),
    ] {
        let list = relm.post("/v1/lists", body).await.status(201).text("/id");
        assert_eq!(relm.get(&format!("/v1/lists/{list}/rows")).await.status(200).data(), expected);
    }
    let gone = relm.delete(&format!("{members}/{id}")).await.status(200);
    assert_eq!(gone.at("/deleted"), true);
}

#[tokio::test]
async fn tables_of_ones_own_keep_their_names() {
    let relm = relm().await;
    let sql = "create table projects (id bigint generated always as identity primary key, name text, custom jsonb, metadata text, contact_id text)";
    relm.sql(sql).await.status(200);
    let contact = relm.post("/v1/contacts", json!({})).await.status(201).text("/id");
    let body = json!({"name": "First", "custom": {"a": 1}, "metadata": "m", "contact_id": contact});
    let made = relm.post("/v1/projects", body.clone()).await.status(201);
    assert_eq!(keys(&made.json()), ["id", "object", "name", "custom", "metadata", "contact_id"]);
    assert_eq!((made.at("/id"), made.at("/object")), (json!(1), json!("projects")));
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&made.json()[name], value, "{name}");
    }
    assert_eq!(relm.get("/v1/projects?filter[custom->>a]=1").await.status(200).column("object"), ["projects"]);
    assert_eq!(relm.get(&format!("/v1/projects?contact_id={contact}")).await.status(200).column("id"), [1]);
    let gone = relm.delete("/v1/projects/1").await.status(200).json();
    assert_eq!(gone, json!({"id": 1, "object": "projects", "deleted": true}));
}

#[tokio::test]
async fn a_column_that_relm_has_a_name_for_gives_way() {
    let (relm, agentcrm) = both().await;
    relm.sql("alter table deals add column title text default 'own', add column metadata int, add column score int")
        .await
        .status(200);
    let deal = relm.post("/v1/deals", json!({"title": "T", "metadata": {"a": 1}, "score": 7})).await.status(201);
    assert_eq!((deal.at("/title"), deal.at("/metadata"), deal.at("/score")), (json!("T"), json!({"a": 1}), json!(7)));
    assert_eq!(String::from_utf8_lossy(&deal.body).matches("\"title\"").count(), 1);
    let stored = agentcrm.get("/v1/deals").await.status(200).at("/data/0");
    assert_eq!((&stored["name"], &stored["title"], &stored["metadata"]), (&json!("T"), &json!("own"), &Value::Null));
}

#[tokio::test]
async fn the_feed_names_records_as_relm_does() {
    let relm = relm().await;
    let contact = relm.post("/v1/contacts", json!({})).await.status(201).text("/id");
    let deal = relm.post("/v1/deals", json!({"title": "T"})).await.status(201).text("/id");
    relm.patch(&format!("/v1/deals/{deal}"), json!({"title": "U", "value_cents": 9, "primary_contact_id": contact}))
        .await
        .status(200);
    let feed = relm.get(&format!("/v1/activity?subject_id={deal}&filter[verb]=updated")).await.status(200);
    assert_eq!(feed.at("/data/0/object"), "event");
    assert_eq!(feed.at("/data/0/subject_id"), json!(deal));
    assert_eq!(
        feed.at("/data/0/changes"),
        json!({"title": {"from": "T", "to": "U"}, "value_cents": {"from": null, "to": 9}, "primary_contact_id": {"from": null, "to": contact}})
    );
    let since = relm.get("/v1/activity?since=2020-01-01T00:00:00Z&subject_type=contact").await.status(200);
    assert_eq!(since.column("subject_id"), [json!(contact)]);
}

#[tokio::test]
async fn the_doors_own_refusals_are_relms_too() {
    let relm = relm().await;
    let base = door(Door { public_url: None, clock: Clock::System, rate_limit: 2 }).await;
    let limited = relm.at(&base);
    // The count restarts each minute. With a few more requests than the limit, one is refused whenever they begin.
    let mut refused = None;
    for _ in 0..6 {
        let reply = limited.get("/v1/contacts").await;
        assert_eq!(reply.header("x-ratelimit-limit"), "2");
        refused = refused.or(Some(reply).filter(|reply| reply.code == 429));
    }
    let refused = in_version(refused.expect("a refusal")).fault(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{}", refused.story());
    let large = vec![b' '; 10 * 1024 * 1024 + 1];
    in_version(relm.send_json(Method::POST, "/v1/contacts", large).await).fault(413, "payload_too_large");
    let keyed = [("idempotency-key", "é"), ("content-type", "application/json")];
    in_version(relm.send(Method::POST, "/v1/contacts", &keyed, "{}").await).fault(400, "invalid_request");
    // The users' paths have the same shape in both dialects.
    let people = relm.get("/v1/keys").await.status(401);
    assert_eq!((people.at("/error"), people.header("relm-version")), (json!("unauthorized"), String::new()));
}

#[tokio::test]
async fn a_viewers_key_reads_and_is_told_so_in_relms_words() {
    let (owner, live) = owned().await;
    let wanted = json!({"dialect": "relm", "mode": "live", "role": "viewer"});
    let made = owner.post(&format!("/v1/keys?ws={}", owner.workspace_id), wanted).await.status(201);
    let viewer = live.clone().with_key(made.text("/data/api_key"), owner.workspace_id.clone());
    let id = live.post("/v1/deals", json!({"name": "T"})).await.status(201).id().replacen("d_", "deal_", 1);
    assert_eq!(viewer.get("/v1/deals?title=T").await.status(200).column("id"), [json!(id)]);
    let path = format!("/v1/deals/{id}");
    in_version(viewer.post("/v1/deals", json!({"title": "U"})).await).fault(403, "forbidden");
    in_version(viewer.patch(&path, json!({"title": "U"})).await).fault(403, "forbidden");
    in_version(viewer.delete(&path).await).fault(403, "forbidden");
    in_version(viewer.post("/v1/contacts/batch", json!({"contacts": [{}]})).await).fault(403, "forbidden");
    assert_eq!(viewer.sql("delete from deals").await.fault(403, "sql_error").at("/error/sqlstate"), "25006");
    assert_eq!(viewer.sql("select name from deals").await.status(200).at("/rows/0/name"), "T");
}

#[tokio::test]
async fn the_parameters_of_a_saved_list_take_either_id() {
    let relm = relm().await;
    let company = relm.post("/v1/companies", json!({"name": "Acme"})).await.status(201).text("/id");
    let contact = relm.post("/v1/contacts", json!({"company_id": company})).await.status(201).text("/id");
    relm.post("/v1/contacts", json!({})).await.status(201);
    let body = json!({"name": "Of Acme", "target_table": "contacts", "filter_predicate": "company_id = $1", "filter_params": [company]});
    let list = relm.post("/v1/lists", body).await.status(201).text("/id");
    assert_eq!(relm.get(&format!("/v1/lists/{list}/rows")).await.status(200).column("id"), [json!(contact)]);
}

#[tokio::test]
async fn a_message_is_cut_after_it_is_worded() {
    let relm = relm().await;
    let body = json!({"title": "x", "primary_contact_id": "x".repeat(10_000)});
    let refused = relm.post("/v1/deals", body).await.status(422);
    let message = refused.text("/error/message");
    assert!(message.contains("primary_contact_id"), "{message}");
    assert_eq!(message.chars().count(), 2000);
}
