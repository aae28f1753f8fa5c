//! How the database normalizes values: addresses and domains, references, stages and custom fields, over every interface.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both, psql};

async fn stored(agent: &Agent, table: &str, field: &str, value: &str) -> Value {
    let made = agent.post(&format!("/v1/{table}"), json!({field: value})).await.status(201);
    let stored = made.data()[field].clone();
    agent.delete(&format!("/v1/{table}/{}?hard=true", made.id())).await.status(200);
    stored
}

#[tokio::test]
async fn an_address_loses_what_surrounds_it() {
    let agent = agent().await;
    for (sent, expected) in [
        ("ada@acme.example", json!("ada@acme.example")),
        ("  Ada@Acme.example\t", json!("Ada@Acme.example")),
        ("\u{200b}ada@acme.example\u{feff}", json!("ada@acme.example")),
        ("\u{a0}\u{2060}ada@acme.example\u{3000}\u{200d}", json!("ada@acme.example")),
        ("", Value::Null),
        (" \u{200b} ", Value::Null),
    ] {
        assert_eq!(stored(&agent, "contacts", "email", sent).await, expected, "{sent:?}");
        assert_eq!(stored(&agent, "emails", "from_addr", sent).await, expected, "{sent:?}");
    }
    // The normalized value is the one that is unique, searched and shown in the feed.
    let first = agent.post("/v1/contacts", json!({"email": "ada@acme.example"})).await.status(201).id();
    let taken = agent.post("/v1/contacts", json!({"email": "\u{200b}ADA@acme.example "})).await;
    assert_eq!(taken.fault(409, "conflict").text("/existing_id"), first);
    let found = agent.get("/v1/contacts?email=ada@acme.example%E2%80%8B").await.status(200);
    assert_eq!(found.column("id"), [json!(first)]);
    agent.sql("insert into contacts (email) values (E' bob@acme.example\\u200b')").await.status(200);
    let bob = agent.sql("select email as v from contacts where email like 'bob%'").await.status(200);
    assert_eq!(bob.v(), "bob@acme.example");
    let changed = agent.patch(&format!("/v1/contacts/{first}"), json!({"email": " \u{feff}"})).await.status(200);
    assert_eq!(changed.data()["email"], Value::Null);
}

#[tokio::test]
async fn a_domain_is_stored_bare_and_in_unicode() {
    let agent = agent().await;
    for (sent, expected) in [
        ("acme.example", json!("acme.example")),
        ("HTTPS://www.Acme.example:8443/path?q#f", json!("acme.example")),
        ("http://acme.example", json!("acme.example")),
        ("//acme.example/", json!("acme.example")),
        ("www.acme.example.", json!("acme.example")),
        ("\u{200b}acme.example \u{feff}", json!("acme.example")),
        ("www.com", json!("www.com")),
        ("xn--bcher-kva.example", json!("bücher.example")),
        ("BÜCHER.example", json!("bücher.example")),
        ("https://www.XN--BCHER-KVA.example/", json!("bücher.example")),
        ("xn--fiqs8s.xn--fiqs8s", json!("中国.中国")),
        ("xn--80a1acny.xn--p1ai", json!("почта.рф")),
        ("中国。中国", json!("中国.中国")),
        ("xn--zz", json!("xn--zz")),
        ("xn--999999999999999999999999999999999999", json!("xn--999999999999999999999999999999999999")),
        ("xn--", json!("xn--")),
        ("", Value::Null),
        ("https://", Value::Null),
        (" . ", Value::Null),
    ] {
        assert_eq!(stored(&agent, "companies", "domain", sent).await, expected, "{sent:?}");
    }
}

#[tokio::test]
async fn a_domain_is_found_in_any_form() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"domain": "xn--bcher-kva.example"})).await.status(201).id();
    let other = agent.post("/v1/companies", json!({"domain": "acme.example"})).await.status(201).id();
    for form in
        ["xn--bcher-kva.example", "b%C3%BCcher.example", "https://www.B%C3%9CCHER.example/", "XN--BCHER-KVA.EXAMPLE."]
    {
        let found = agent.get(&format!("/v1/companies?domain={form}")).await.status(200);
        assert_eq!(found.column("id"), [json!(company)], "{form}");
        let found = agent.get(&format!("/v1/companies?domain_not={form}")).await;
        if found.code == 200 {
            assert_eq!(found.column("id"), [json!(other)], "{form}");
        }
    }
    let taken = agent.post("/v1/companies", json!({"domain": "www.bücher.example"})).await;
    assert_eq!(taken.fault(409, "conflict").text("/existing_id"), company);
    // The same applies to mails, whichever form they and the contacts have.
    let contacts = ["a@bücher.example", "b@xn--bcher-kva.example"].map(|email| json!({"email": email}));
    for contact in contacts {
        agent.post("/v1/contacts", contact).await.status(201);
    }
    for form in ["bücher.example", "xn--bcher-kva.example", "BÜCHER.Example"] {
        let mail = json!({"from_addr": format!("A <a@{form}>"), "to_addrs": [format!("b@{form}")]});
        let mail = agent.post("/v1/emails", mail).await.status(201);
        assert_eq!(mail.data()["company_ids"], json!([company]), "{form}");
        assert_eq!(mail.data()["contact_ids"].as_array().map(Vec::len), Some(2), "{form}: {}", mail.story());
    }
}

#[tokio::test]
async fn each_recipient_is_an_element() {
    let agent = agent().await;
    let made = async |addresses: Value| {
        let mail =
            agent.post("/v1/emails", json!({"from_addr": "x@y.example", "to_addrs": addresses})).await.status(201);
        mail.data()["to_addrs"].clone()
    };
    for (sent, expected) in [
        (json!(["a@x.example, b@x.example"]), json!(["a@x.example", "b@x.example"])),
        (json!(["a@x.example;b@x.example", " c@x.example "]), json!(["a@x.example", "b@x.example", "c@x.example"])),
        (
            json!(["\"Lovelace, Ada\" <ada@x.example>, Bob <bob@x.example>"]),
            json!(["\"Lovelace, Ada\" <ada@x.example>", "Bob <bob@x.example>"]),
        ),
        (json!(["Lovelace, Ada <ada@x.example>"]), json!(["Lovelace, Ada <ada@x.example>"])),
        (json!(["", " ", "a@x.example,", "\u{200b}"]), json!(["a@x.example"])),
        (json!([]), json!([])),
        (Value::Null, json!([])),
    ] {
        assert_eq!(made(sent.clone()).await, expected, "{sent}");
    }
    let ada = agent.post("/v1/contacts", json!({"email": "ada@x.example"})).await.status(201).id();
    let mail = json!({"from_addr": "x@y.example", "cc_addrs": ["b@x.example, Ada <ADA@x.example>"]});
    let mail = agent.post("/v1/emails", mail).await.status(201);
    assert_eq!(mail.data()["contact_ids"], json!([ada]));
    let found = agent.get(&format!("/v1/emails?involves_contact={ada}")).await.status(200);
    assert_eq!(found.column("id"), [json!(mail.id())]);
}

/// Columns of emails that are never null for readers.
const ARRAYS: [&str; 5] = ["to_addrs", "cc_addrs", "contact_ids", "company_ids", "deal_ids"];

#[tokio::test]
async fn null_is_the_empty_array_of_an_email() {
    let agent = agent().await;
    let is_empty = |reply: &Reply, row: &Value| {
        for column in ARRAYS {
            assert_eq!(row[column], json!([]), "{column}: {}", reply.story());
        }
    };
    let mut nulls = json!({"from_addr": "x@y.example"});
    ARRAYS.iter().for_each(|column| nulls[*column] = Value::Null);
    let made = agent.post("/v1/emails", nulls.clone()).await.status(201);
    is_empty(&made, &made.data());
    let path = format!("/v1/emails/{}", made.id());
    let full = json!({"to_addrs": ["a@x.example"], "cc_addrs": ["b@x.example"], "contact_ids": ["c_1"], "company_ids": ["co_1"],
        "deal_ids": ["d_1"]});
    agent.patch(&path, full).await.status(200);
    nulls.as_object_mut().expect("an object").remove("from_addr");
    let emptied = agent.patch(&path, nulls).await.status(200);
    is_empty(&emptied, &emptied.data());
    agent
        .sql(
            "insert into emails (id, to_addrs, cc_addrs, contact_ids, company_ids, deal_ids) values ('e_1', null, null, null, null, null);
             insert into emails (id, to_addrs) values ('e_2', array['a@x.example']);
             update emails set to_addrs = null, cc_addrs = null, contact_ids = null, company_ids = null, deal_ids = null where id = 'e_2'",
        )
        .await
        .status(200);
    psql(&agent)
        .await
        .script("do $$ begin execute 'insert into emails (id, to_addrs) values (''e_3'', null)'; end $$")
        .await
        .expect("an email by psql");
    for id in ["e_1", "e_2", "e_3"] {
        let shown = agent.get(&format!("/v1/emails/{id}")).await.status(200);
        is_empty(&shown, &shown.data());
    }
    // In answers they are never null.
    let nullable =
        "select count(*) as v from information_schema.columns where table_name = 'emails' and is_nullable = 'YES'
                    and column_name in ('to_addrs', 'cc_addrs', 'contact_ids', 'company_ids', 'deal_ids')";
    assert_eq!(agent.sql(nullable).await.status(200).v(), 0);
}

#[tokio::test]
async fn a_reference_names_a_live_record() {
    let (relm, agent) = both().await;
    let company = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
    let contact = agent.post("/v1/contacts", json!({"company_id": company})).await.status(201).id();
    let deal = agent.post("/v1/deals", json!({"name": "D", "contact_id": contact})).await.status(201).id();
    for path in [format!("companies/{company}"), format!("contacts/{contact}"), format!("deals/{deal}")] {
        agent.delete(&format!("/v1/{path}")).await.status(200);
    }
    let dead = [
        ("contacts", "company_id", company.as_str()),
        ("deals", "company_id", &company),
        ("deals", "contact_id", &contact),
        ("activities", "company_id", &company),
        ("activities", "contact_id", &contact),
        ("activities", "deal_id", &deal),
    ];
    for (table, field, id) in dead {
        let live = agent.post(&format!("/v1/{table}"), json!({})).await.status(201).id();
        for id in [id, "c_00000000000000000000000000"] {
            let refused = agent.post(&format!("/v1/{table}"), json!({field: id})).await.fault(422, "invalid_reference");
            assert_eq!(refused.text("/field"), field, "{}", refused.story());
            let patched = agent.patch(&format!("/v1/{table}/{live}"), json!({field: id})).await;
            patched.fault(422, "invalid_reference");
        }
        let sql = format!("insert into {table} ({field}) values ('{id}')");
        let refused = agent.sql(&sql).await;
        assert_eq!(refused.at("/code"), "23503", "{}", refused.story());
    }
    let refused = relm.post("/v1/deals", json!({"title": "D", "primary_contact_id": contact})).await;
    assert_eq!(refused.code, 422, "{}", refused.story());
    assert_eq!(refused.text("/error/code"), "invalid_reference");
    assert_eq!(refused.text("/error/field"), "primary_contact_id");
    // A reference to a record that was deleted later remains, and the referring record can still be changed.
    agent.post(&format!("/v1/contacts/{contact}/restore"), json!({})).await.status(200);
    let renamed = agent.patch(&format!("/v1/contacts/{contact}"), json!({"first_name": "Ada"})).await.status(200);
    assert_eq!(renamed.data()["company_id"], json!(company));
    agent.patch(&format!("/v1/contacts/{contact}"), json!({"company_id": company})).await.status(200);
    agent.post(&format!("/v1/companies/{company}/restore"), json!({})).await.status(200);
    agent.post("/v1/contacts", json!({"company_id": company})).await.status(201);
}

#[tokio::test]
async fn a_custom_field_is_checked_when_its_value_changes() {
    let agent = agent().await;
    let made = agent.post("/v1/contacts", json!({"custom": {"size": "big", "note": "x"}})).await.status(201).id();
    let bare = agent.post("/v1/contacts", json!({})).await.status(201).id();
    for definition in [
        json!({"object_type": "contact", "key": "size", "type": "number"}),
        json!({"object_type": "contact", "key": "tier", "type": "text", "required": true}),
    ] {
        agent.post("/v1/custom_fields", definition).await.status(201);
    }
    let path = format!("/v1/contacts/{made}");
    agent.patch(&path, json!({"custom": {"note": "y"}})).await.status(200);
    agent.patch(&path, json!({"custom": {"size": "big", "note": "z"}})).await.status(200);
    agent.patch(&format!("/v1/contacts/{bare}"), json!({"custom": {"note": "y"}})).await.status(200);
    agent.patch(&path, json!({"custom": {"size": "huge"}})).await.fault(422, "invalid_metadata");
    agent.patch(&path, json!({"custom": {"tier": 1}})).await.fault(422, "invalid_metadata");
    agent.patch(&path, json!({"custom": {"size": 3, "tier": "gold"}})).await.status(200);
    agent.patch(&path, json!({"custom": {"tier": null}})).await.fault(422, "invalid_metadata");
    agent.patch(&path, json!({"custom": {"size": null}})).await.status(200);
    agent.post("/v1/contacts", json!({"custom": {"size": 1}})).await.fault(422, "invalid_metadata");
    let sql = format!("update contacts set custom = custom || '{{\"size\": \"big\"}}' where id = '{made}'");
    let refused = agent.sql(&sql).await;
    assert_eq!(refused.at("/code"), "KF001", "{}", refused.story());
}

#[tokio::test]
async fn a_stage_is_not_both_won_and_lost() {
    let (relm, agent) = both().await;
    let both = json!({"pipeline": "sales", "key": "odd", "label": "Odd", "is_won": true, "is_lost": true});
    agent.post("/v1/pipeline_stages", both).await.fault(422, "validation_failed").says("both won and lost");
    let stage =
        relm.post("/v1/pipelines/sales/stages", json!({"key": "x", "label": "X", "is_won": true, "is_lost": true}));
    assert_eq!(stage.await.code, 422);
    let won = agent.get("/v1/pipeline_stages?key=won").await.status(200).column("id")[0].clone();
    let path = format!("/v1/pipeline_stages/{}", won.as_str().expect("an id"));
    let patched = agent.patch(&path, json!({"is_lost": true})).await;
    assert_eq!(patched.fault(422, "validation_failed").text("/field"), "is_lost");
    agent.patch(&path, json!({"is_lost": true, "is_won": false})).await.status(200);
    let refused = agent.sql("update pipeline_stages set is_won = true, is_lost = true").await;
    assert_eq!(refused.at("/code"), "23514", "{}", refused.story());
    // A later trigger of the workspace can't circumvent this.
    agent
        .sql(
            "create function won() returns trigger language plpgsql as $$ begin new.is_won = true; new.is_lost = true; return new; end $$;
             create trigger zzz before update on pipeline_stages for each row execute function won()",
        )
        .await
        .status(200);
    let refused = agent.sql("update pipeline_stages set label = 'x'").await;
    assert_eq!(refused.at("/code"), "23514", "{}", refused.story());
}

#[tokio::test]
async fn a_deal_keeps_its_stage() {
    let agent = agent().await;
    let deal = agent.post("/v1/deals", json!({"name": "D", "stage": null})).await.status(201);
    assert_eq!(deal.data()["stage"], "lead");
    let path = format!("/v1/deals/{}", deal.id());
    agent.patch(&path, json!({"stage": null})).await.fault(422, "validation_failed");
    assert_eq!(agent.get(&path).await.status(200).data()["stage"], "lead");
}
