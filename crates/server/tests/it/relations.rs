//! References of records, the result of restoring records, and which record a conflict names.

use serde_json::{Value, json};

use crate::support::{Agent, agent};

async fn make(agent: &Agent, table: &str, body: Value) -> String {
    agent.post(&format!("/v1/{table}"), body).await.status(201).id()
}

async fn shown(agent: &Agent, path: &str) -> Value {
    agent.get(&format!("/v1/{path}")).await.status(200).data()
}

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_company_shows_its_ten_newest_live_contacts_and_deals() {
    let agent = agent().await;
    let company = make(&agent, "companies", json!({"name": "Acme"})).await;
    let (mut contacts, mut deals) = (Vec::new(), Vec::new());
    for number in 0..13 {
        contacts
            .push(make(&agent, "contacts", json!({"first_name": format!("N{number}"), "company_id": company})).await);
        deals.push(make(&agent, "deals", json!({"name": format!("D{number}"), "company_id": company})).await);
    }
    agent.delete(&format!("/v1/contacts/{}", contacts[12])).await.status(200);
    agent.delete(&format!("/v1/deals/{}?hard=true", deals[11])).await.status(200);
    let record = shown(&agent, &format!("companies/{company}")).await;
    let newest = |from: &[String], gone: usize| {
        from.iter()
            .enumerate()
            .rev()
            .filter(|(at, _)| *at != gone)
            .map(|(_, id)| id.clone())
            .take(10)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&record["contacts"]), newest(&contacts, 12));
    assert_eq!(ids(&record["deals"]), newest(&deals, 11));
    assert_eq!(
        record["contacts"][0],
        shown(&agent, &format!("contacts/{}", contacts[11]))
            .await
            .as_object()
            .map(|it| {
                let mut it = it.clone();
                it.remove("company");
                json!(it)
            })
            .unwrap()
    );
    // Pages and writes show only the record.
    for reply in [
        agent.get("/v1/companies").await.at("/data/0"),
        agent.patch(&format!("/v1/companies/{company}"), json!({"name": "B"})).await.data(),
    ] {
        assert!(reply.get("contacts").is_none(), "{reply}");
    }
}

#[tokio::test]
async fn what_a_record_refers_to_is_shown_or_null() {
    let agent = agent().await;
    let company = make(&agent, "companies", json!({"name": "Acme"})).await;
    let contact = make(&agent, "contacts", json!({"email": "a@acme.example", "company_id": company})).await;
    let deal = make(&agent, "deals", json!({"name": "D", "contact_id": contact})).await;
    let record = shown(&agent, &format!("deals/{deal}")).await;
    assert_eq!(
        (&record["contact"]["email"], &record["company"], &record["company_id"]),
        (&json!("a@acme.example"), &Value::Null, &Value::Null)
    );
    assert_eq!(shown(&agent, &format!("contacts/{contact}")).await["company"]["name"], "Acme");
    let alone = make(&agent, "contacts", json!({})).await;
    assert_eq!(shown(&agent, &format!("contacts/{alone}")).await["company"], Value::Null);
    let removed = make(&agent, "deals", json!({})).await;
    let mail = make(&agent, "emails", json!({"from_addr": "a@acme.example", "deal_ids": [deal, removed]})).await;
    agent.delete(&format!("/v1/deals/{removed}?hard=true")).await.status(200);
    let record = shown(&agent, &format!("emails/{mail}")).await;
    assert_eq!(
        (ids(&record["contacts"]), ids(&record["companies"]), ids(&record["deals"])),
        (vec![&*contact], vec![], vec![&*deal])
    );
    // Custom columns on either side are shown. Columns with the same name keep each record's own value.
    agent.sql("alter table companies add title text default 'company title'; alter table contacts add name text default 'contact name'").await.status(200);
    let record = shown(&agent, &format!("contacts/{contact}")).await;
    assert_eq!((&record["title"], &record["name"]), (&Value::Null, &json!("contact name")));
    assert_eq!(
        (&record["company"]["title"], &record["company"]["name"], &record["company"]["id"]),
        (&json!("company title"), &json!("Acme"), &json!(company))
    );
    // The deal can still refer to a hidden contact. It can't refer to a deleted one.
    agent.delete(&format!("/v1/contacts/{contact}")).await.status(200);
    let record = shown(&agent, &format!("deals/{deal}")).await;
    assert!(record["contact"].is_null() || record["contact"]["id"] == contact, "{record}");
    assert_eq!(ids(&shown(&agent, &format!("emails/{mail}")).await["contacts"]), Vec::<&str>::new());
}

#[tokio::test]
async fn a_restored_record_is_as_it_was_unless_its_key_is_taken() {
    let agent = agent().await;
    let first = agent.post("/v1/contacts", json!({"email": "a@b.example", "custom": {"k": 1}})).await.status(201);
    let path = format!("/v1/contacts/{}", first.id());
    agent.delete(&path).await.status(200);
    let restored = agent.post(&format!("{path}/restore"), json!({})).await.status(200).data();
    for (name, value) in first.data().as_object().unwrap().iter().filter(|(name, _)| *name != "updated_at") {
        assert_eq!(&restored[name], value, "{name}");
    }
    assert_eq!(agent.get(&path).await.status(200).data()["deleted_at"], Value::Null);
    // A repetition has no effect.
    assert_eq!(agent.post(&format!("{path}/restore"), json!({})).await.status(200).data(), restored);

    agent.delete(&path).await.status(200);
    let second = make(&agent, "contacts", json!({"email": "A@B.example"})).await;
    let reply = agent.post(&format!("{path}/restore"), json!({})).await.fault(409, "conflict");
    assert_eq!(
        (reply.at("/existing_id"), reply.at("/constraint")),
        (json!(second), json!("contacts_email_key")),
        "{}",
        reply.story()
    );
    let entry = agent.get("/v1/activity?verb=conflict").await.status(200);
    assert_eq!(entry.column("subject_id"), [json!(second)], "{}", entry.story());
    assert_eq!(entry.at("/data/0/custom/request_id"), reply.header("x-request-id"));
    agent.get(&path).await.fault(404, "not_found");
    agent.patch(&format!("/v1/contacts/{second}"), json!({"email": null})).await.status(200);
    agent.post(&format!("{path}/restore"), json!({})).await.status(200);

    agent.delete(&format!("{path}?hard=true")).await.status(200);
    agent.post(&format!("{path}/restore"), json!({})).await.fault(404, "not_found");
    agent.post("/v1/contacts/c_none/restore", json!({})).await.fault(404, "not_found");
    agent.post(&format!("/v1/contacts/{second}/restore"), json!({"email": "x"})).await.fault(400, "invalid_request");
    agent.post("/v1/list_members/lm_1/restore", json!({})).await.fault(400, "invalid_request");
    agent.post("/v1/activity/a_1/restore", json!({})).await.fault(403, "forbidden");
}

#[tokio::test]
async fn hidden_rows_are_removed_for_good_and_keep_no_key() {
    let agent = agent().await;
    let company = make(&agent, "companies", json!({"domain": "acme.example"})).await;
    let path = format!("/v1/companies/{company}");
    agent.delete(&path).await.status(200);
    make(&agent, "companies", json!({"domain": "ACME.example"})).await;
    let gone = agent.delete(&format!("{path}?hard=true")).await.status(200);
    assert_eq!(gone.id(), company);
    agent.get(&format!("{path}?include_deleted=true")).await.fault(404, "not_found");
    // Soft deletion ignores references. Hard deletion checks them, including those of hidden records.
    let kept = make(&agent, "companies", json!({"name": "Kept"})).await;
    let contact = make(&agent, "contacts", json!({"company_id": kept})).await;
    agent.delete(&format!("/v1/contacts/{contact}")).await.status(200);
    let reply = agent.delete(&format!("/v1/companies/{kept}?hard=true")).await.fault(409, "still_referenced");
    assert_eq!(reply.at("/constraint"), "contacts_company_id_fkey");
    agent.delete(&format!("/v1/contacts/{contact}?hard=true")).await.status(200);
    agent.delete(&format!("/v1/companies/{kept}?hard=true")).await.status(200);
}

#[tokio::test]
async fn tables_of_ones_own_hide_restore_and_collide_alike() {
    let agent = agent().await;
    agent
        .sql(
            "create table gadgets (code text primary key, serial text, deleted_at timestamptz);
              create unique index gadgets_serial on gadgets (lower(serial)) where deleted_at is null",
        )
        .await
        .status(200);
    for code in ["a", "b"] {
        agent.post("/v1/gadgets", json!({"code": code, "serial": format!("S{code}")})).await.status(201);
    }
    agent.delete("/v1/gadgets/a").await.status(200);
    agent.patch("/v1/gadgets/b", json!({"serial": "sA"})).await.status(200);
    let reply = agent.post("/v1/gadgets/a/restore", json!({})).await.fault(409, "conflict");
    assert_eq!((reply.at("/existing_id"), reply.at("/constraint")), (json!("b"), json!("gadgets_serial")));
    agent.delete("/v1/gadgets/b?hard=true").await.status(200);
    assert_eq!(agent.post("/v1/gadgets/a/restore", json!({})).await.status(200).data()["deleted_at"], Value::Null);
    let reply = agent.post("/v1/gadgets", json!({"code": "a"})).await.fault(409, "conflict");
    assert_eq!((reply.at("/existing_id"), reply.at("/constraint")), (json!("a"), json!("gadgets_pkey")));
    assert_eq!(agent.get("/v1/activity?verb=conflict").await.column("subject_id"), ["a", "b"]);
}

#[tokio::test]
async fn a_trigger_that_collides_elsewhere_is_a_conflict_without_an_owner() {
    let agent = agent().await;
    agent
        .sql("create table once (word text primary key);
              create function note_it() returns trigger language plpgsql as $$ begin insert into once values (new.title); return null; end $$;
              create trigger note_it after insert on contacts for each row execute function note_it()")
        .await
        .status(200);
    agent.post("/v1/contacts", json!({"title": "CTO"})).await.status(201);
    let reply = agent.post("/v1/contacts", json!({"title": "CTO"})).await.fault(409, "conflict");
    assert_eq!((reply.at("/existing_id"), reply.at("/constraint")), (Value::Null, json!("once_pkey")));
    assert_eq!(agent.get("/v1/contacts").await.status(200).column("title"), ["CTO"]);
}
