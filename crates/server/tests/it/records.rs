//! The life of a record, in every built-in table.

use crm::model::entity::{ENTITIES, Entity, Order};
use serde_json::{Value, json};

use crate::support::{Agent, agent};

/// The same contact each time, so that a record can be compared with the values that it was created with.
async fn contact(agent: &Agent, number: usize) -> String {
    let email = format!("end{number}@d.example");
    let found = agent.get(&format!("/v1/contacts?email={email}")).await.status(200).column("id");
    match found.first() {
        Some(id) => id.as_str().unwrap().to_owned(),
        None => agent.post("/v1/contacts", json!({"email": email})).await.status(201).id(),
    }
}

/// For each table, the values that a record is created with, and those that change it.
async fn sample(agent: &Agent, entity: &Entity, number: usize) -> (Value, Value) {
    let text = format!("{} {number}", entity.name);
    let key = format!("key{number}");
    match entity.table {
        "companies" => (json!({"name": text, "domain": format!("d{number}.example")}), json!({"industry": "steel"})),
        "contacts" => (json!({"email": format!("p{number}@d.example"), "first_name": text}), json!({"title": "CTO"})),
        "deals" => {
            (json!({"name": text, "close_date": "2026-12-31"}), json!({"amount_cents": 9_007_199_254_740_993_i64}))
        }
        "activities" => (json!({"type": "call", "subject": text}), json!({"body": "They called back."})),
        "emails" => (json!({"subject": text, "from_addr": "A <a@b.example>"}), json!({"snippet": "Hello"})),
        "lists" => (json!({"name": text, "target_table": "contacts"}), json!({"description": "All of them"})),
        "list_members" => {
            let list =
                agent.post("/v1/lists", json!({"name": "L", "target_table": "contacts", "kind": "static"})).await;
            (
                json!({"list_id": list.id(), "member_id": contact(agent, number).await}),
                json!({"custom": {"why": "asked"}}),
            )
        }
        "pipelines" => (json!({"key": key, "label": text}), json!({"label": "Other"})),
        "pipeline_stages" => (json!({"pipeline": "sales", "key": key, "label": text}), json!({"is_won": true})),
        "associations" => {
            let contact = contact(agent, number).await;
            (
                json!({"from_type": "contact", "from_id": contact, "to_type": "contact", "to_id": contact}),
                json!({"label": "decides"}),
            )
        }
        "custom_fields" => (json!({"object_type": "deal", "key": key, "type": "text"}), json!({"label": "Other"})),
        other => panic!("no sample for {other}"),
    }
}

fn same(record: &Value, given: &Value, story: &str) {
    for (name, value) in given.as_object().unwrap() {
        assert_eq!(&record[name], value, "{name}\n{story}");
    }
}

#[tokio::test]
async fn every_table_is_made_read_listed_changed_and_deleted() {
    let agent = agent().await;
    for entity in ENTITIES.iter().filter(|entity| entity.writable) {
        let table = format!("/v1/{}", entity.table);
        let before = agent.get(&table).await.status(200).data().as_array().unwrap().len();
        let mut ids = Vec::new();
        for number in 1..=3 {
            let (given, _) = sample(&agent, entity, number).await;
            let made = agent.post(&table, given.clone()).await.status(201);
            same(&made.data(), &given, &made.story());
            assert!(made.id().starts_with(&format!("{}_", entity.prefix)), "{}", made.story());
            assert_eq!(made.at("/_meta/workspace_id"), agent.workspace_id);
            ids.push(made.id());
        }

        let page = agent.get(&table).await.status(200);
        let listed: Vec<String> = page.column("id").iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        assert_eq!(listed.len(), before + 3, "{}", page.story());
        let at = |id: &String| listed.iter().position(|it| it == id).unwrap_or_else(|| panic!("{id} {}", page.story()));
        let newest_first = entity.order != Order::Position;
        assert_eq!(at(&ids[0]) > at(&ids[1]), newest_first, "{}", page.story());
        assert_eq!(at(&ids[1]) > at(&ids[2]), newest_first, "{}", page.story());
        assert_eq!(page.at("/_meta/has_more"), false);
        assert_eq!(page.at("/_meta/next_cursor"), Value::Null);
        assert_eq!(page.at("/_meta/limit"), 50);

        let one = format!("{table}/{}", ids[1]);
        let found = agent.get(&one).await.status(200);
        assert_eq!(found.id(), ids[1]);
        for field in entity.fields {
            found.at(&format!("/data/{}", field.name));
        }

        let (given, change) = sample(&agent, entity, 2).await;
        let changed = agent.patch(&one, change.clone()).await.status(200);
        same(&changed.data(), &change, &changed.story());
        for (name, value) in given.as_object().unwrap().iter().filter(|(name, _)| change.get(name).is_none()) {
            if *name != "list_id" {
                assert_eq!(&changed.data()[name], value, "{}", changed.story());
            }
        }
        if let Some(updated_at) = changed.data().get("updated_at") {
            assert_ne!(updated_at, &found.data()["updated_at"], "{}", changed.story());
            assert_eq!(changed.data()["created_at"], found.data()["created_at"]);
        }

        let deleted = agent.delete(&one).await.status(200);
        assert_eq!(deleted.id(), ids[1]);
        assert!(deleted.text("/data/deleted_at").starts_with("20"), "{}", deleted.story());
        agent.get(&one).await.fault(404, "not_found");
        agent.patch(&one, change).await.fault(404, "not_found");
        agent.delete(&one).await.fault(404, "not_found");
        let after = agent.get(&table).await.status(200);
        assert!(!after.column("id").contains(&json!(ids[1])), "{}", after.story());

        let with_deleted = agent.get(&format!("{one}?include_deleted=true")).await;
        if found.data().get("deleted_at").is_some() {
            let hidden = with_deleted.status(200);
            assert_eq!(hidden.data()["deleted_at"], deleted.data()["deleted_at"]);
            let only = agent.get(&format!("{table}?only_deleted=true")).await.status(200);
            assert_eq!(only.column("id"), [json!(ids[1])], "{}", only.story());
            let all = agent.get(&format!("{table}?include_deleted=true")).await.status(200);
            assert_eq!(all.column("id").len(), before + 3, "{}", all.story());
        } else {
            with_deleted.fault(404, "not_found");
        }

        let gone = format!("{table}/{}", ids[2]);
        agent.delete(&format!("{gone}?hard=true")).await.status(200);
        agent.get(&format!("{gone}?include_deleted=true")).await.fault(404, "not_found");
        agent.delete(&format!("{gone}?hard=true")).await.fault(404, "not_found");
    }
}

#[tokio::test]
async fn the_feed_is_read_and_never_written() {
    let agent = agent().await;
    let contact = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    agent.patch(&format!("/v1/contacts/{contact}"), json!({"title": "CTO"})).await.status(200);
    agent.delete(&format!("/v1/contacts/{contact}")).await.status(200);
    let feed = agent.get(&format!("/v1/activity?subject_type=contact&subject_id={contact}")).await.status(200);
    assert_eq!(feed.column("verb"), ["deleted", "updated", "created"], "{}", feed.story());
    assert_eq!(feed.at("/data/1/changes"), json!({"title": {"from": null, "to": "CTO"}}));
    assert!(feed.text("/data/0/actor").starts_with("api_key:ak_"), "{}", feed.story());
    assert_eq!(feed.at("/data/0/subject_repr"), "a@b.example");

    let entry = feed.text("/data/0/id");
    agent.get(&format!("/v1/activity/{entry}")).await.status(200);
    agent.post("/v1/activity", json!({"verb": "created"})).await.fault(403, "forbidden");
    agent.patch(&format!("/v1/activity/{entry}"), json!({"verb": "created"})).await.fault(403, "forbidden");
    agent.delete(&format!("/v1/activity/{entry}")).await.fault(403, "forbidden");
    agent.sql("delete from activity").await.fault(403, "sql_error");
}

#[tokio::test]
async fn provenance_headers_stand_in_the_feed() {
    let agent = agent().await;
    let headers =
        [("content-type", "application/json"), ("x-agent", "mailer/2"), ("x-run-id", "run 7"), ("x-reason", "because")];
    let body = json!({"name": "Acme"}).to_string();
    let made = agent.send(reqwest::Method::POST, "/v1/companies", &headers, body).await.status(201);
    let feed = agent.get(&format!("/v1/activity?subject_id={}", made.id())).await.status(200);
    let request_id = made.header("x-request-id");
    let expected = json!({"agent": "mailer/2", "run_id": "run 7", "reason": "because", "request_id": request_id});
    assert_eq!(feed.at("/data/0/custom"), expected);
    let headers = [("content-type", "application/json"), ("x-agent", "sql/1")];
    let body = json!({"sql": "insert into companies (name) values ('B')"}).to_string();
    agent.send(reqwest::Method::POST, "/v1/sql", &headers, body).await.status(200);
    let feed = agent.get("/v1/activity?custom.agent=sql/1").await.status(200);
    assert_eq!(feed.column("subject_repr"), ["B"]);
}

#[tokio::test]
async fn a_record_shows_what_it_refers_to() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"name": "Acme", "domain": "acme.example"})).await.status(201).id();
    let other = agent.post("/v1/companies", json!({"name": "Other"})).await.status(201).id();
    let mut contacts = Vec::new();
    for number in 0..12 {
        let given = json!({"email": format!("p{number}@acme.example"), "company_id": company});
        contacts.push(agent.post("/v1/contacts", given).await.status(201).id());
    }
    let deal = json!({"name": "Big", "company_id": company, "contact_id": contacts[0]});
    let deal = agent.post("/v1/deals", deal).await.status(201).id();
    let mail = json!({"from_addr": "P0 <P0@ACME.example>", "to_addrs": ["p1@acme.example"], "deal_ids": [deal]});
    let mail = agent.post("/v1/emails", mail).await.status(201).id();
    let note = agent.post("/v1/activities", json!({"deal_id": deal, "subject": "Called"})).await.status(201).id();

    let shown = agent.get(&format!("/v1/contacts/{}", contacts[0])).await.status(200);
    assert_eq!(shown.at("/data/company/name"), "Acme");
    let shown = agent.get(&format!("/v1/companies/{company}")).await.status(200);
    let newest: Vec<&String> = contacts.iter().rev().take(10).collect();
    let listed: Vec<Value> = shown.at("/data/contacts").as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(json!(listed), json!(newest), "{}", shown.story());
    assert_eq!(shown.at("/data/deals/0/id"), deal);
    let shown = agent.get(&format!("/v1/companies/{other}")).await.status(200);
    assert_eq!((shown.at("/data/contacts"), shown.at("/data/deals")), (json!([]), json!([])));
    let shown = agent.get(&format!("/v1/deals/{deal}")).await.status(200);
    assert_eq!(shown.at("/data/contact/id"), contacts[0]);
    assert_eq!(shown.at("/data/company/id"), company);
    assert_eq!((shown.at("/data/pipeline"), shown.at("/data/stage")), (json!("sales"), json!("lead")));
    let shown = agent.get(&format!("/v1/emails/{mail}")).await.status(200);
    assert_eq!(shown.at("/data/contacts").as_array().unwrap().len(), 2);
    assert_eq!(shown.at("/data/companies/0/id"), company);
    assert_eq!(shown.at("/data/deals/0/id"), deal);
    let shown = agent.get(&format!("/v1/activities/{note}")).await.status(200);
    assert_eq!(shown.at("/data/deal/name"), "Big");
    assert_eq!(shown.at("/data/contact"), Value::Null);
}

#[tokio::test]
async fn a_row_that_others_refer_to_is_hidden_but_not_removed() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
    agent.post("/v1/contacts", json!({"company_id": company})).await.status(201);
    let refused = agent.delete(&format!("/v1/companies/{company}?hard=true")).await.fault(409, "still_referenced");
    assert_eq!(refused.at("/constraint"), "contacts_company_id_fkey", "{}", refused.story());
    agent.get(&format!("/v1/companies/{company}")).await.status(200);
    agent.delete(&format!("/v1/companies/{company}")).await.status(200);
    let missing = agent.post("/v1/contacts", json!({"company_id": "co_none"})).await.fault(422, "invalid_reference");
    assert!(missing.text("/message").contains("co_none"), "{}", missing.story());
}

#[tokio::test]
async fn either_dialects_ids_name_a_record() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
    let alias = company.replace("co_", "cmp_");
    assert_eq!(agent.get(&format!("/v1/companies/{alias}")).await.status(200).id(), company);
    let contact = agent.post("/v1/contacts", json!({"company_id": alias})).await.status(201);
    assert_eq!(contact.data()["company_id"], company);
    let listed = agent.get(&format!("/v1/contacts?company_id={alias}")).await.status(200);
    assert_eq!(listed.column("id"), [contact.data()["id"].clone()]);
}

#[tokio::test]
async fn a_stage_that_is_named_and_missing_is_added_to_its_pipeline() {
    let agent = agent().await;
    let deal = agent.post("/v1/deals", json!({"name": "D", "stage": "legal_review"})).await.status(201);
    assert_eq!(deal.data()["pipeline"], "sales");
    let stages = agent.get("/v1/pipeline_stages?pipeline=sales").await.status(200);
    assert_eq!(stages.column("key"), ["lead", "qualified", "proposal", "won", "lost", "legal_review"]);
    agent.post("/v1/deals", json!({"name": "D", "pipeline": "none"})).await.fault(422, "validation_failed");
}
