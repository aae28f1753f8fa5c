//! Features of Relm besides records, in its own dialect: batches, search, custom fields, associations, pipelines and stages.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both, relm};

async fn made(relm: &Agent, path: &str, body: Value) -> String {
    relm.post(path, body).await.status(201).text("/id")
}

/// A record's values under these names, in one array.
fn said(record: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| record[name].clone()).collect()
}

fn counts(reply: &Reply) -> Value {
    said(&reply.json(), &["object", "created", "updated", "failed"])
}

#[tokio::test]
async fn a_batch_says_what_became_of_each_row() {
    let relm = relm().await;
    let there = made(&relm, "/v1/contacts", json!({"email": "there@b.example", "metadata": {"a": 1}})).await;
    let field = json!({"object_type": "contact", "key": "plan", "type": "select", "options": ["free", "pro"]});
    made(&relm, "/v1/schema/fields", field).await;
    let rows = json!([
        {"email": "new@b.example", "metadata": {"plan": "pro"}},
        {"email": "THERE@b.example", "first_name": "There", "metadata": {"b": 2}},
        {"email": "x@b.example", "metadata": {"plan": "gold"}},
        {"email": "y@b.example", "custom": {}},
        {"email": "z@b.example", "firstname": "Z"},
        "six",
    ]);
    let reply = relm.post("/v1/contacts/batch", json!({"contacts": rows})).await.status(200);
    assert_eq!(counts(&reply), json!(["batch", 1, 1, 4]));
    assert_eq!(reply.column("index"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(reply.column("status"), ["created", "updated", "error", "error", "error", "error"]);
    assert!(reply.text("/data/0/contact/id").starts_with("con_"));
    assert_eq!(reply.at("/data/0/contact/metadata"), json!({"plan": "pro"}));
    assert_eq!(said(&reply.at("/data/1/contact"), &["id", "object", "first_name"]), json!([there, "contact", "There"]));
    assert_eq!(reply.at("/data/1/contact/metadata"), json!({"a": 1, "b": 2}));
    assert_eq!(said(&reply.at("/data/2/error"), &["code", "field"]), json!(["invalid_metadata", "plan"]));
    assert_eq!(
        said(&reply.at("/data/3/error"), &["code", "hint"]),
        json!(["invalid_request", "Did you mean \"metadata\"?"])
    );
    assert_eq!(
        said(&reply.at("/data/4/error"), &["field", "hint"]),
        json!(["firstname", "Did you mean \"first_name\"?"])
    );
    assert!(reply.text("/data/5/error/message").contains("JSON object"));
    assert_eq!(relm.get("/v1/contacts").await.status(200).data().as_array().unwrap().len(), 2, "good rows are kept");

    let many: Vec<Value> = (0..501).map(|n| json!({"email": format!("{n}@b.example")})).collect();
    relm.post("/v1/contacts/batch", json!({"contacts": many})).await.fault(422, "batch_too_large");
    for body in [
        json!({}),
        json!({"contacts": {}}),
        json!({"contacts": [{}], "dedup_on": "email"}),
        json!({"contacts": [{}], "x": 1}),
    ] {
        relm.post("/v1/contacts/batch", body).await.fault(400, "invalid_request");
    }
    relm.post("/v1/contacts/batch", json!({"contacts": [{}], "dedup_on": ["custom"]}))
        .await
        .fault(400, "invalid_request");
    for (method, path, allow) in [
        (Method::GET, "/v1/contacts/batch", "POST"),
        (Method::POST, "/v1/contacts/search", "GET"),
        (Method::PUT, "/v1/activity", "GET"),
        (Method::PUT, "/v1/contacts", "GET, POST"),
    ] {
        let refused = relm.send(method, path, &[], "").await.fault(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), allow, "{path}");
    }
    let refused = agent().await.get("/v1/keys/rotate").await.fault(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), "POST");
}

#[tokio::test]
async fn search_finds_records_of_every_kind() {
    let relm = relm().await;
    let contact = made(&relm, "/v1/contacts", json!({"first_name": "Zephyrine", "last_name": "Quill"})).await;
    let company = made(&relm, "/v1/companies", json!({"name": "Zephyrine Works"})).await;
    let deal = made(&relm, "/v1/deals", json!({"title": "Zephyrine rollout"})).await;
    let activity = made(&relm, "/v1/activities", json!({"type": "note", "subject": "Call Zephyrine"})).await;
    for words in ["zephyrine", "Zephirine"] {
        let found = relm.get(&format!("/v1/search?q={words}")).await.status(200);
        assert_eq!(said(&found.json(), &["object", "has_more", "next_cursor"]), json!(["list", false, null]));
        for (object, id) in [("contact", &contact), ("company", &company), ("deal", &deal), ("activity", &activity)] {
            let hit = found.data().as_array().unwrap().iter().find(|it| it["object"] == object).cloned();
            let hit = hit.unwrap_or_else(|| panic!("no {object}\n{}", found.story()));
            assert_eq!(hit["id"], json!(id));
            assert!(hit["score"].is_number() && hit["metadata"].is_object(), "{hit}");
        }
    }
    let deal_found = relm.get("/v1/search?q=rollout&limit=1").await.status(200);
    assert_eq!(deal_found.at("/data/0/title"), "Zephyrine rollout");
    relm.get("/v1/search").await.fault(400, "invalid_request");
    relm.get("/v1/search?query=x").await.fault(400, "invalid_request").says("Did you mean \"q\"?");
}

#[tokio::test]
async fn custom_fields_are_defined_under_schema() {
    let (relm, agentcrm) = both().await;
    let body =
        json!({"object_type": "contact", "key": "plan", "type": "select", "label": "Plan", "options": ["free", "pro"]});
    let field = relm.post("/v1/schema/fields", body.clone()).await.status(201);
    let id = field.text("/id");
    assert!(id.starts_with("fld_"), "{id}");
    assert_eq!(field.at("/object"), "custom_field");
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&field.json()[name], value, "{name}");
    }
    made(&relm, "/v1/schema/fields", json!({"object_type": "deal", "key": "seats", "type": "number"})).await;
    assert_eq!(relm.get("/v1/schema/fields?object_type=contact").await.status(200).column("id"), [json!(id)]);
    assert_eq!(agentcrm.get("/v1/schema/fields?object_type=contact").await.status(200).column("id"), [json!(id)]);
    assert_eq!(relm.get("/v1/schema/fields").await.status(200).data().as_array().unwrap().len(), 2);
    let refused = relm.post("/v1/contacts", json!({"metadata": {"plan": "gold"}})).await.fault(422, "invalid_metadata");
    assert_eq!(refused.at("/error/field"), "plan");
    refused.says("GET /v1/schema/fields");
    made(&relm, "/v1/contacts", json!({"metadata": {"plan": "pro", "free": [1]}})).await;
    assert_eq!(
        relm.get("/v1/contacts?filter[metadata->>plan]=pro").await.status(200).data().as_array().unwrap().len(),
        1
    );
    let path = format!("/v1/schema/fields/{id}");
    assert_eq!(relm.patch(&path, json!({"label": "Tier"})).await.status(200).at("/label"), "Tier");
    let gone = relm.delete(&path).await.status(200).json();
    assert_eq!(said(&gone, &["id", "object", "deleted"]), json!([id, "custom_field", true]));
    relm.get(&path).await.fault(404, "not_found");
    made(&relm, "/v1/contacts", json!({"metadata": {"plan": "gold"}})).await;
}

#[tokio::test]
async fn associations_lead_from_any_record_to_any_other() {
    let (relm, agentcrm) = both().await;
    let contact = made(&relm, "/v1/contacts", json!({})).await;
    let deal = made(&relm, "/v1/deals", json!({"title": "T"})).await;
    let body =
        json!({"from_type": "contact", "from_id": contact, "to_type": "deal", "to_id": deal, "label": "champion"});
    let edge = relm.post("/v1/associations", body.clone()).await.status(201);
    let id = edge.text("/id");
    assert!(id.starts_with("as_"), "{id}");
    assert_eq!(edge.at("/object"), "association");
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&edge.json()[name], value, "{name}");
    }
    assert_eq!(relm.post("/v1/associations", body).await.status(200).json(), edge.json());
    for query in [
        format!("from_type=contact&from_id={contact}"),
        format!("to_type=deal&to_id={deal}"),
        format!("filter[to_id]={deal}"),
    ] {
        assert_eq!(
            relm.get(&format!("/v1/associations?{query}")).await.status(200).column("id"),
            [json!(id)],
            "{query}"
        );
    }
    assert_eq!(
        relm.get(&format!("/v1/associations?from_type=deal&from_id={deal}")).await.status(200).data(),
        json!([])
    );
    let stored = agentcrm.get("/v1/associations").await.status(200);
    assert_eq!(stored.at("/data/0/from_id"), contact.replacen("con_", "c_", 1));
    let path = format!("/v1/associations/{id}");
    assert_eq!(
        relm.delete(&path).await.status(200).json(),
        json!({"id": id, "object": "association", "deleted": true})
    );
    relm.get(&path).await.fault(404, "not_found");
    assert_eq!(relm.get(&format!("/v1/associations?from_id={contact}")).await.status(200).data(), json!([]));
}

#[tokio::test]
async fn pipelines_and_stages_go_by_their_keys() {
    let relm = relm().await;
    let sales = relm.get("/v1/pipelines/sales").await.status(200);
    assert_eq!(said(&sales.json(), &["object", "key", "is_default"]), json!(["pipeline", "sales", true]));
    for path in ["/v1/pipelines/sales/stages", "/v1/pipeline/stages"] {
        let stages = relm.get(path).await.status(200);
        assert_eq!(stages.column("key"), ["lead", "qualified", "proposal", "won", "lost"], "{path}");
        assert!(stages.column("object").iter().all(|object| object == "pipeline_stage"));
    }
    let pipeline = relm.post("/v1/pipelines", json!({"key": "renewals", "label": "Renewals"})).await.status(201);
    assert_eq!(pipeline.at("/object"), "pipeline");
    let stages = "/v1/pipelines/renewals/stages";
    for (key, more) in [("due", json!({})), ("done", json!({"is_won": true}))] {
        let mut body = json!({"key": key, "label": key.to_uppercase()});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let stage = relm.post(stages, body).await.status(201);
        assert_eq!(said(&stage.json(), &["pipeline", "key"]), json!(["renewals", key]));
    }
    assert_eq!(relm.get(stages).await.status(200).column("key"), ["due", "done"]);
    let deal = made(&relm, "/v1/deals", json!({"title": "T", "pipeline": "renewals", "stage": "due"})).await;
    assert_eq!(relm.get(&format!("{stages}/due")).await.status(200).at("/label"), "DUE");
    assert_eq!(
        relm.patch(&format!("{stages}/due"), json!({"label": "Due soon"})).await.status(200).at("/label"),
        "Due soon"
    );
    relm.delete(&format!("{stages}/due")).await.fault(409, "stage_in_use");
    relm.delete("/v1/pipelines/renewals").await.fault(409, "pipeline_in_use");
    relm.delete("/v1/pipelines/sales").await.fault(409, "cannot_delete_default");
    for (body, path) in
        [(json!({"stage": "dui"}), format!("/v1/deals/{deal}")), (json!({"stage": "won"}), format!("/v1/deals/{deal}"))]
    {
        relm.patch(&path, body).await.fault(422, "unknown_stage");
    }
    relm.post("/v1/deals", json!({"stage": "nowhere"})).await.fault(422, "unknown_stage");
    relm.patch(&format!("/v1/deals/{deal}"), json!({"pipeline": "sales", "stage": "won"})).await.status(200);
    let gone = relm.delete(&format!("{stages}/due")).await.status(200);
    assert_eq!(said(&gone.json(), &["object", "deleted"]), json!(["pipeline_stage", true]));
    let gone = relm.delete("/v1/pipelines/renewals").await.status(200);
    assert_eq!(said(&gone.json(), &["id", "object", "deleted"]), json!([pipeline.text("/id"), "pipeline", true]));
    relm.get("/v1/pipelines/renewals").await.fault(404, "not_found");
    relm.get(stages).await.fault(404, "not_found");
    relm.post("/v1/pipeline/stages", json!({"key": "legal", "label": "Legal"})).await.status(201);
    relm.patch("/v1/pipeline/stages/legal", json!({"position": 0})).await.status(200);
    relm.delete("/v1/pipeline/stages/legal").await.status(200);
    relm.delete("/v1/pipeline/stages/legal").await.fault(404, "not_found");
}

#[tokio::test]
async fn records_come_bare_and_show_what_is_asked_for() {
    let relm = relm().await;
    let company = made(&relm, "/v1/companies", json!({"name": "Acme"})).await;
    let contact = made(&relm, "/v1/contacts", json!({"email": "a@b.example", "company_id": company})).await;
    let deal = relm
        .post("/v1/deals", json!({"title": "T", "company_id": company, "primary_contact_id": contact}))
        .await
        .status(201);
    let path = format!("/v1/deals/{}", deal.text("/id"));
    assert_eq!(relm.get(&path).await.status(200).json(), deal.json());
    for query in ["expand=company,primary_contact", "expand[]=company&expand[]=primary_contact"] {
        let shown = relm.get(&format!("{path}?{query}")).await.status(200);
        assert_eq!(
            said(&shown.at("/company"), &["id", "object", "name"]),
            json!([company, "company", "Acme"]),
            "{query}"
        );
        assert_eq!(
            said(&shown.at("/primary_contact"), &["id", "object", "email"]),
            json!([contact, "contact", "a@b.example"])
        );
        assert_eq!(shown.at("/primary_contact/metadata"), json!({}));
    }
    assert!(relm.get(&format!("{path}?expand=company")).await.status(200).json().get("primary_contact").is_none());
    let shown = relm.get(&format!("/v1/companies/{company}?expand=deals")).await.status(200);
    assert_eq!(said(&shown.at("/deals/0"), &["object", "title", "primary_contact_id"]), json!(["deal", "T", contact]));
    for (name, hint) in [("contact", "primary_contact"), ("compny", "company")] {
        relm.get(&format!("{path}?expand={name}"))
            .await
            .fault(400, "invalid_request")
            .says(&format!("Did you mean \"{hint}\"?"));
    }
}
