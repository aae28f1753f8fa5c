//! Which writes fire events, what the events say, and that none is lost, repeated or made up.

use pg::conn::{Begin, Conn, Tx};
use pg::types::TypeCache;
use reqwest::Method;
use serde_json::{Value, json};

use super::{field, subscribe};
use crate::automations::{create, rule, runs};
use crate::mcp;
use crate::support::{Agent, Receiver, agent, both, home, psql, relm};

/// Creates a webhook for these events. Returns its id.
pub(super) async fn subscribe_to(agent: &Agent, receiver: &Receiver, events: &[&str]) -> String {
    let made = agent.post("/v1/webhooks", json!({"url": receiver.url(), "events": events})).await.status(201);
    field(&made, "id")
}

/// The types and records of what a receiver has got, in order.
fn story(receiver: &Receiver) -> Vec<(String, Value)> {
    let told = receiver.received();
    told.iter().map(|it| it.json()).map(|it| (it["type"].as_str().expect("a type").to_owned(), it)).collect()
}

#[tokio::test]
async fn every_kind_of_write_fires_alike() {
    let agent = agent().await;
    let receiver = Receiver::start().await;
    subscribe(&agent, &receiver.url()).await;
    let mut told = 0;
    let mut expect = async |types: &[&str]| {
        told += types.len();
        receiver.wait(told).await;
        let all = story(&receiver);
        let mut last: Vec<&str> = all[told - types.len()..].iter().map(|(it, _)| it.as_str()).collect();
        last.sort_unstable();
        assert_eq!(last, types);
        all.last().expect("an event").1.clone()
    };
    let id = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let created = expect(&["contact.created"]).await;
    assert_eq!((&created["data"]["id"], &created["data"]["email"]), (&json!(id), &json!("a@b.example")));
    assert_eq!(created.get("previous"), None);
    let path = format!("/v1/contacts/{id}");
    agent.patch(&path, json!({"title": "CTO"})).await.status(200);
    let updated = expect(&["contact.updated"]).await;
    assert_eq!((&updated["data"]["title"], &updated["previous"]), (&json!("CTO"), &json!({"title": null})));
    agent.delete(&path).await.status(200);
    let deleted = expect(&["contact.deleted"]).await;
    assert!(deleted["data"]["deleted_at"].is_string(), "{deleted}");
    agent.post(&format!("{path}/restore"), json!({})).await.status(200);
    expect(&["contact.restored"]).await;
    agent.sql("update contacts set title = 'CEO'").await.status(200);
    assert_eq!(expect(&["contact.updated"]).await["previous"], json!({"title": "CTO"}));
    psql(&agent).await.query("UPDATE contacts SET title = 'CFO'", &[]).await.expect("an update");
    let by_psql = expect(&["contact.updated"]).await;
    assert_eq!((&by_psql["request_id"], &by_psql["run_id"]), (&Value::Null, &Value::Null));
    assert!(by_psql["actor"].as_str().is_some_and(|actor| actor.starts_with("postgres:")), "{by_psql}");
    let batch = json!({"contacts": [{"email": "a@b.example", "title": "x"}, {"email": "new@b.example"}]});
    agent.post("/v1/contacts/batch", batch).await.status(200);
    expect(&["contact.created", "contact.updated"]).await;
    agent.delete(&format!("{path}?hard=true")).await.status(200);
    assert_eq!(expect(&["contact.deleted"]).await["data"]["id"], json!(id));
    agent.sql("create table invoices (id int primary key, total numeric)").await.status(200);
    agent.post("/v1/invoices", json!({"id": 1, "total": 12.50})).await.status(201);
    let invoice = expect(&["invoices.created"]).await;
    assert_eq!(invoice["data"], json!({"id": 1, "total": 12.50}));
    let run = [("content-type", "application/json"), ("x-run-id", "my run")];
    agent.send(Method::POST, "/v1/companies", &run, json!({"name": "Acme"}).to_string()).await.status(201);
    assert_eq!(expect(&["company.created"]).await["run_id"], "my run");
}

/// A record is what its table says, and not what its table is called.
#[tokio::test]
async fn a_table_that_is_called_like_a_record_fires_nothing_of_its() {
    let agent = agent().await;
    agent.sql("create table company (id text primary key, name text)").await.status(200);
    let (of_records, of_table) = (Receiver::start().await, Receiver::start().await);
    let webhook = subscribe_to(&agent, &of_records, &["company.*"]).await;
    subscribe_to(&agent, &of_table, &["public.company.created"]).await;
    let actions = json!([{"type": "create_activity", "activity_type": "note"}]);
    let noting = rule(&agent, "company.*", json!([]), actions).await;
    let id = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
    agent.post("/v1/company", json!({"id": id, "name": "Own"})).await.status(201);
    let told = of_table.wait(1).await[0].json();
    assert_eq!((&told["type"], &told["data"]["name"]), (&json!("public.company.created"), &json!("Own")));
    agent.post("/v1/companies", json!({"name": "Last"})).await.status(201);
    of_records.wait(2).await;
    let queued = agent.get(&format!("/v1/webhooks/{webhook}/deliveries")).await.status(200);
    assert_eq!(queued.column("event_type"), ["company.created", "company.created"]);
    let ended = runs(&agent, &noting, 2).await;
    assert!(ended.iter().all(|run| run["event_type"] == "company.created"), "{ended:?}");
    assert_eq!(ended.len(), 2);
    // A test of a rule reads the types as they are written.
    let event = json!({"event": {"type": "public.company.created", "data": {"id": id, "name": "Own"}}});
    let test = agent.post(&format!("/v1/automations/{noting}/test"), event).await.status(200);
    assert_eq!(test.at("/data/fires"), false);
}

#[tokio::test]
async fn an_event_is_written_in_the_dialect_of_the_subscriber() {
    let (relm, agentcrm) = both().await;
    let (of_relm, of_agentcrm) = (Receiver::start().await, Receiver::start().await);
    subscribe_to(&relm, &of_relm, &["deal.*"]).await;
    subscribe_to(&agentcrm, &of_agentcrm, &["deal.*"]).await;
    let contact = relm.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let contact = contact.json()["id"].as_str().expect("an id").to_owned();
    let deal = json!({"title": "T", "value_cents": 5, "primary_contact_id": contact, "metadata": {"a": 1}});
    let made = relm.post("/v1/deals", deal).await.status(201).json();
    let id = made["id"].as_str().expect("an id");
    relm.patch(&format!("/v1/deals/{id}"), json!({"value_cents": 7})).await.status(200);
    let requests = of_relm.wait(2).await;
    let body = requests[0].json();
    assert_eq!(
        (&body["type"], &body["data"]["object"], &body["data"]["id"]),
        (&json!("deal.created"), &json!("deal"), &json!(id))
    );
    for name in ["title", "value_cents", "primary_contact_id", "metadata", "stage", "created_at"] {
        assert_eq!(body["data"][name], made[name], "{name}");
    }
    assert_eq!(requests[1].json()["previous"], json!({"value_cents": 5}));
    let requests = of_agentcrm.wait(2).await;
    let body = requests[0].json();
    let stored = id.replace("deal_", "d_");
    assert_eq!((&body["data"]["id"], &body["data"]["name"]), (&json!(stored), &json!("T")));
    assert_eq!((&body["data"]["amount_cents"], &body["data"]["custom"]), (&json!(5), &json!({"a": 1})));
    assert_eq!(body["data"]["contact_id"], json!(contact.replace("con_", "c_")));
    assert_eq!(requests[1].json()["previous"], json!({"amount_cents": 5}));
    assert_eq!((&body["workspace_id"], &body["mode"]), (&json!(relm.workspace_id), &json!("live")));
}

#[tokio::test]
async fn a_deal_that_moves_fires_old_and_new_values() {
    let agent = relm().await;
    let receiver = Receiver::start().await;
    subscribe_to(&agent, &receiver, &["deal.stage_changed", "deal.pipeline_changed"]).await;
    agent.post("/v1/pipelines", json!({"key": "other", "label": "Other"})).await.status(201);
    agent.post("/v1/pipelines/other/stages", json!({"key": "begun", "label": "Begun"})).await.status(201);
    let id = agent.post("/v1/deals", json!({"title": "T"})).await.status(201).json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/v1/deals/{id}");
    agent.patch(&path, json!({"title": "U"})).await.status(200);
    agent.patch(&path, json!({"stage": "won"})).await.status(200);
    receiver.wait(1).await;
    agent.patch(&path, json!({"pipeline": "other", "stage": "begun"})).await.status(200);
    receiver.wait(3).await;
    let told = story(&receiver);
    let types: Vec<&str> = told.iter().map(|(it, _)| it.as_str()).collect();
    assert_eq!(types, ["deal.stage_changed", "deal.stage_changed", "deal.pipeline_changed"]);
    let moves = |at: usize| {
        ["old_stage", "new_stage", "old_pipeline", "new_pipeline"].map(|name| told[at].1["data"][name].clone())
    };
    assert_eq!(moves(0), ["lead", "won", "sales", "sales"].map(|it| json!(it)));
    assert_eq!(moves(2), ["won", "begun", "sales", "other"].map(|it| json!(it)));
    assert_eq!((&told[0].1["data"]["title"], &told[0].1["data"]["object"]), (&json!("U"), &json!("deal")));
}

#[tokio::test]
async fn only_what_was_chosen_and_committed_after_the_subscription_is_sent() {
    let agent = agent().await;
    agent.post("/v1/contacts", json!({"email": "before@b.example"})).await.status(201);
    let receiver = Receiver::start().await;
    subscribe_to(&agent, &receiver, &["contact.created"]).await;
    agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201);
    // What is rolled back never happened.
    agent.sql("insert into contacts (email) values ('gone@b.example'); select 1 / 0").await.fault(400, "sql_error");
    let mut session = psql(&agent).await;
    session.script("BEGIN; INSERT INTO contacts (email) VALUES ('gone2@b.example'); ROLLBACK").await.expect("a script");
    agent.sql("update contacts set title = 'x'").await.status(200);
    agent.post("/v1/contacts", json!({"email": "after@b.example"})).await.status(201);
    receiver.wait(1).await;
    agent.post("/v1/contacts", json!({"email": "last@b.example"})).await.status(201);
    receiver.wait(2).await;
    let emails: Vec<Value> = story(&receiver).into_iter().map(|(_, it)| it["data"]["email"].clone()).collect();
    assert_eq!(emails, ["after@b.example", "last@b.example"].map(|it| json!(it)));
}

#[tokio::test]
async fn a_change_that_was_begun_before_the_subscription_and_committed_after_it_is_sent() {
    let agent = agent().await;
    let mut session = psql(&agent).await;
    let mut open = session.begin(Begin::ReadWrite(&[])).await.expect("a transaction");
    open.prepare("INSERT INTO contacts (email) VALUES ('early@b.example')", &TypeCache::default())
        .await
        .expect("an insert");
    open.discard().await.expect("a row");
    let receiver = Receiver::start().await;
    subscribe_to(&agent, &receiver, &["contact.created"]).await;
    agent.post("/v1/contacts", json!({"email": "late@b.example"})).await.status(201);
    receiver.wait(1).await;
    open.commit().await.expect("a commit");
    receiver.wait(2).await;
    let emails: Vec<Value> = story(&receiver).into_iter().map(|(_, it)| it["data"]["email"].clone()).collect();
    assert_eq!(emails, ["late@b.example", "early@b.example"].map(|it| json!(it)));
}

#[tokio::test]
async fn the_events_of_a_record_arrive_in_the_order_of_its_changes() {
    let agent = agent().await;
    let receiver = Receiver::start().await;
    subscribe_to(&agent, &receiver, &["contact.updated"]).await;
    agent
        .sql("insert into contacts (id, email) values ('c_1', 'a@b.example'), ('c_2', 'c@d.example')")
        .await
        .status(200);
    let updates = (1..=30).map(|n| format!("update contacts set title = '{n}'"));
    for chunk in updates.collect::<Vec<_>>().chunks(10) {
        agent.sql(&chunk.join("; ")).await.status(200);
    }
    receiver.wait(60).await;
    for id in ["c_1", "c_2"] {
        let titles: Vec<String> = story(&receiver)
            .into_iter()
            .filter(|(_, it)| it["data"]["id"] == id)
            .map(|(_, it)| it["data"]["title"].as_str().expect("a title").to_owned())
            .collect();
        assert_eq!(titles, (1..=30).map(|n| n.to_string()).collect::<Vec<_>>(), "{id}");
    }
}

#[tokio::test]
async fn what_was_queued_and_not_numbered_is_not_sent_again() {
    let agent = agent().await;
    let receiver = Receiver::start().await;
    let webhook = subscribe_to(&agent, &receiver, &["*"]).await;
    for n in 0..5 {
        agent.post("/v1/contacts", json!({"email": format!("{n}@b.example")})).await.status(201);
    }
    receiver.wait(5).await;
    // As after a crash between the two steps: the queue has the events, the log has no positions.
    let place = home().place(&agent.workspace_id).await;
    let mut admin = home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("a session");
    admin
        .script("UPDATE kith.change SET position = NULL; UPDATE kith.published SET position = 0")
        .await
        .expect("a script");
    agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201);
    receiver.wait(6).await;
    let types: Vec<String> = story(&receiver).into_iter().map(|(it, _)| it).collect();
    assert_eq!(types[5], "company.created");
    let listed = agent.get(&format!("/v1/webhooks/{webhook}/deliveries")).await.status(200).data();
    assert_eq!(listed.as_array().map(Vec::len), Some(6));
    assert_eq!(receiver.received().len(), 6);
}

#[tokio::test]
async fn only_the_server_publishes() {
    let agent = agent().await;
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    for attack in [
        "select * from kith.unpublished('x', null, 1)",
        "select kith.publish('x', '{1}')",
        "select * from kith.events('x', 0, 0, 10)",
        "select * from kith.published",
        "update kith.published set position = 0",
        "select * from kith.change",
        "update kith.change set position = 1",
        "select * from kith.as_events('{}')",
        "select kith.check_secret('x')",
    ] {
        let refused = agent.sql(attack).await;
        assert!(matches!(refused.code, 400 | 403), "{attack}: {}", refused.story());
        assert!(refused.text("/code").starts_with("42501") || refused.text("/code") == "28000", "{}", refused.story());
    }
}

#[tokio::test]
async fn a_dry_run_sends_nothing_and_definitions_take_no_controls() {
    let agent = agent().await;
    let receiver = Receiver::start().await;
    subscribe(&agent, &receiver.url()).await;
    let dry = [("content-type", "application/json"), ("x-dry-run", "true")];
    agent.send(Method::POST, "/v1/contacts", &dry, json!({"email": "dry@b.example"}).to_string()).await.status(200);
    agent.post("/v1/contacts", json!({"email": "real@b.example"})).await.status(201);
    let first = receiver.wait(1).await.remove(0).json();
    assert_eq!(first["data"]["email"], "real@b.example");
    let body = json!({"url": receiver.url(), "events": ["*"]}).to_string();
    agent.send(Method::POST, "/v1/webhooks", &dry, body.clone()).await.fault(400, "control_not_supported");
    let capped = [("content-type", "application/json"), ("x-max-affected", "1")];
    agent.send(Method::POST, "/v1/webhooks", &capped, body).await.fault(400, "control_not_supported");
    assert_eq!(agent.get("/v1/webhooks").await.status(200).data().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn undoing_is_told_and_fires_no_automation() {
    let agent = agent().await;
    let receiver = Receiver::start().await;
    let rule =
        json!({"name": "R", "trigger_event": "contact.*", "actions": [{"type": "move_deal_stage", "stage": "won"}]});
    // Its runs fail, because a contact is no deal. They are recorded all the same.
    let rule = agent.post("/v1/automations", rule).await.status(201).id();
    subscribe_to(&agent, &receiver, &["contact.*"]).await;
    let run = [("content-type", "application/json"), ("x-run-id", "r1")];
    agent.send(Method::POST, "/v1/contacts", &run, json!({"email": "a@b.example"}).to_string()).await.status(201);
    receiver.wait(1).await;
    agent.post("/v1/runs/r1/undo", json!({})).await.status(200);
    let undone = receiver.wait(2).await.remove(1).json();
    assert_eq!(undone["type"], "contact.deleted");
    assert!(undone["undo_of"].is_string(), "{undone}");
    agent.post("/v1/contacts", json!({"email": "b@b.example"})).await.status(201);
    let start = std::time::Instant::now();
    let runs = loop {
        let runs = agent.get(&format!("/v1/automations/{rule}/runs")).await.status(200).data();
        if runs.as_array().is_some_and(|runs| runs.len() >= 2) {
            break runs;
        }
        assert!(start.elapsed().as_secs() < 60, "{runs}");
    };
    let types: Vec<&Value> = runs.as_array().expect("runs").iter().map(|run| &run["event_type"]).collect();
    assert_eq!(types, ["contact.created", "contact.created"], "the runs keep the order of the events");
}

#[tokio::test]
async fn each_operation_of_a_batch_fires_and_a_failed_batch_fires_nothing() {
    let agent = agent().await;
    let receiver = Receiver::start().await;
    subscribe(&agent, &receiver.url()).await;
    let company = json!({"ref": "acme", "method": "POST", "path": "/v1/companies", "body": {"name": "Acme"}});
    let contact = |company: &str| {
        let body = json!({"email": "a@b.example", "company_id": company});
        json!({"method": "POST", "path": "/v1/contacts", "body": body})
    };
    let broken = json!({"operations": [company, contact("c_none")]});
    let refused = agent.post("/v1/batch", broken).await;
    assert!((400..500).contains(&refused.code), "{}", refused.story());
    let sql = json!({"method": "POST", "path": "/v1/sql", "body": {"sql": "update contacts set title = 'CTO'"}});
    agent.post("/v1/batch", json!({"operations": [company, contact("$acme.id"), sql]})).await.status(200);
    receiver.wait(3).await;
    let told = story(&receiver);
    let mut types: Vec<&str> = told.iter().map(|(it, _)| it.as_str()).collect();
    types.sort_unstable();
    assert_eq!(types, ["company.created", "contact.created", "contact.updated"]);
    let of = |name: &str| &told.iter().find(|(it, _)| it == name).expect("an event").1;
    assert_eq!(of("contact.created")["data"]["company_id"], of("company.created")["data"]["id"]);
    assert_eq!(of("contact.updated")["data"]["title"], "CTO");
    // They are one request.
    assert_eq!(of("contact.created")["request_id"], of("company.created")["request_id"]);
}

#[tokio::test]
async fn a_move_over_mcp_fires_the_old_and_the_new_stage() {
    let agent = relm().await;
    let receiver = Receiver::start().await;
    subscribe_to(&agent, &receiver, &["deal.stage_changed"]).await;
    let deal = create(&agent, "/v1/deals", json!({"title": "T"})).await;
    mcp::call(&agent, "move_deal_stage", json!({"id": deal, "stage": "won"})).await;
    let event = receiver.wait(1).await.remove(0).json();
    assert_eq!((&event["type"], &event["data"]["id"]), (&json!("deal.stage_changed"), &json!(deal)));
    assert_eq!((&event["data"]["old_stage"], &event["data"]["new_stage"]), (&json!("lead"), &json!("won")));
}

#[tokio::test]
async fn what_an_automation_writes_fires_with_its_name_and_run() {
    let agent = relm().await;
    let receiver = Receiver::start().await;
    subscribe_to(&agent, &receiver, &["deal.stage_changed"]).await;
    let id = rule(&agent, "deal.created", json!([]), json!([{"type": "move_deal_stage", "stage": "won"}])).await;
    let deal = create(&agent, "/v1/deals", json!({"title": "T"})).await;
    let event = receiver.wait(1).await.remove(0).json();
    assert_eq!((&event["data"]["id"], &event["data"]["new_stage"]), (&json!(deal), &json!("won")));
    let run = runs(&agent, &id, 1).await.remove(0);
    assert_eq!((&event["actor"], &event["run_id"]), (&json!(format!("automation:{id}")), &run["id"]), "{event}");
}

/// A JSON document of this many arrays in each other, in SQL.
fn nested(levels: usize) -> String {
    format!("(repeat('[', {levels}) || repeat(']', {levels}))::jsonb")
}

#[tokio::test]
async fn a_row_that_cannot_be_shown_whole_stops_no_events() {
    let agent = agent().await;
    let receiver = Receiver::start().await;
    subscribe(&agent, &receiver.url()).await;
    let rule = json!({"name": "R", "trigger_event": "things.created", "actions": [{"type": "set_metadata", "key": "a", "value": 1}]});
    let rule = agent.post("/v1/automations", rule).await.status(201).id();
    agent.sql("create table things (id text primary key, data jsonb, more jsonb)").await.status(200);
    // Parsers refuse the first, and the second within an event. The third can't be in an index, the fourth is all of its row.
    let key = "(select string_agg(md5(n::text), '') from generate_series(1, 82) n)";
    for values in [
        format!("('deep', {}, '1')", nested(5000)),
        format!("('deeper', {}, '1')", nested(125)),
        format!("({key}, null, '1')"),
        "(repeat('a', 20000), to_jsonb(repeat('b', 1200000)), null)".to_owned(),
    ] {
        agent.sql(&format!("insert into things values {values}")).await.status(200);
    }
    agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201);
    let told: Vec<Value> = receiver.wait(5).await.iter().map(|it| it.json()).collect();
    let of = |id: &str| told.iter().find(|it| it["data"]["id"] == id).unwrap_or_else(|| panic!("no {id}: {told:?}"));
    for id in ["deep", "deeper"] {
        assert_eq!(of(id)["data"], json!({"id": id, "more": 1}), "what can't be shown is left out");
    }
    let long = told.iter().find(|it| it["data"]["id"].as_str().is_some_and(|id| id.len() == 82 * 32));
    assert!(long.is_some_and(|it| it["data"]["more"] == 1), "{told:?}");
    assert!(told.iter().any(|it| it["data"] == json!({"more": null})), "{told:?}");
    let listed = agent.get("/v1/events").await.status(200).json();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(5), "{listed}");
    let start = std::time::Instant::now();
    while agent.get(&format!("/v1/automations/{rule}/runs")).await.data().as_array().map(Vec::len) != Some(4) {
        assert!(start.elapsed().as_secs() < 60, "the runs of four events");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_queued_with_its_row_is_told_without_it() {
    let agent = agent().await;
    let rule = json!({"name": "R", "trigger_event": "contact.created", "actions": [{"type": "set_metadata", "key": "a", "value": 1}]});
    let rule = agent.post("/v1/automations", rule).await.status(201).id();
    // The parser reads this as U+0000, which the queue refuses.
    let poison = r#"{"a": {"$serde_json::private::RawValue": "\"\\u0000\""}}"#;
    agent
        .sql(&format!(
            "insert into contacts (id, email, custom) values ('c_before', 'a@b.example', '{{}}'), ('c_poison', 'b@b.example', '{poison}'),
             ('c_after', 'c@b.example', '{{}}')"
        ))
        .await
        .status(200);
    let start = std::time::Instant::now();
    let runs = loop {
        let runs = agent.get(&format!("/v1/automations/{rule}/runs")).await.status(200).data();
        if runs.as_array().is_some_and(|runs| runs.len() == 3) {
            break runs;
        }
        assert!(start.elapsed().as_secs() < 60, "{runs}");
    };
    let written: Vec<&Value> = runs.as_array().expect("runs").iter().map(|it| &it["actions"][0]["id"]).collect();
    assert_eq!(written, ["c_after", "c_poison", "c_before"], "{runs}");
}

#[tokio::test]
async fn more_than_one_statement_can_hold_is_queued() {
    let agent = agent().await;
    // Nothing is sent.
    home().control("UPDATE workspaces SET sending = false WHERE id = $1", &[&agent.workspace_id]).await;
    let receiver = Receiver::start().await;
    for _ in 0..60 {
        subscribe(&agent, &receiver.url()).await;
    }
    // PostgreSQL takes 256 MiB of JSON at once. These are 270.
    agent.sql("create table things (id int primary key, data text)").await.status(200);
    agent.sql("insert into things select n, repeat('x', 900000) from generate_series(1, 5) n").await.status(200);
    let webhooks = agent.get("/v1/webhooks?limit=100").await.status(200).column("id");
    assert_eq!(webhooks.len(), 60);
    for webhook in &webhooks {
        let path = format!("/v1/webhooks/{}/deliveries", webhook.as_str().expect("an id"));
        let start = std::time::Instant::now();
        while agent.get(&path).await.status(200).data().as_array().map(Vec::len) != Some(5) {
            assert!(start.elapsed().as_secs() < 120, "five deliveries of each webhook");
        }
    }
    home().control("DELETE FROM webhook_endpoints WHERE workspace_id = $1", &[&agent.workspace_id]).await;
}

/// A session of the administrator in a workspace's database.
pub(super) async fn administrator(agent: &Agent) -> Conn {
    let place = home().place(&agent.workspace_id).await;
    home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("a session")
}

/// Keeps changes of the database from being published, until it is committed.
async fn hold_back(admin: &mut Conn) -> Tx<&mut Conn> {
    let mut held = admin.begin(Begin::ReadWrite(&[])).await.expect("a transaction");
    held.prepare("SELECT FROM kith.published FOR UPDATE", &TypeCache::default()).await.expect("a statement");
    held.discard().await.expect("a lock");
    held
}

#[tokio::test]
async fn the_oldest_snapshot_counts_whatever_was_created_first() {
    let agent = agent().await;
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let webhook = subscribe_to(&agent, &first, &["*"]).await;
    let path = format!("/v1/webhooks/{webhook}");
    agent.patch(&path, json!({"enabled": false})).await.status(200);
    subscribe_to(&agent, &second, &["*"]).await;
    let mut admin = administrator(&agent).await;
    let held = hold_back(&mut admin).await;
    agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201);
    agent.patch(&path, json!({"enabled": true})).await.status(200);
    held.commit().await.expect("a commit");
    second.wait(1).await;
    agent.post("/v1/companies", json!({"name": "Last"})).await.status(201);
    let names = |told: &[crate::support::Received]| {
        told.iter().map(|it| it.json()["data"]["name"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(names(&second.wait(2).await), ["Acme", "Last"].map(|it| json!(it)));
    assert_eq!(names(&first.wait(1).await), ["Last"].map(|it| json!(it)));
}

#[tokio::test]
async fn what_is_enabled_gets_nothing_that_was_committed_before() {
    let agent = agent().await;
    let (late, always) = (Receiver::start().await, Receiver::start().await);
    let body = json!({"url": late.url(), "events": ["*"], "enabled": false});
    let made = agent.post("/v1/webhooks", body).await.status(201).id();
    let rule = json!({"name": "R", "trigger_event": "company.created", "enabled": false,
        "actions": [{"type": "set_metadata", "key": "seen", "value": true}]});
    let rule = agent.post("/v1/automations", rule).await.status(201).id();
    subscribe_to(&agent, &always, &["company.created"]).await;
    // It is committed while both are disabled, and published when both are enabled.
    let mut admin = administrator(&agent).await;
    let held = hold_back(&mut admin).await;
    agent.post("/v1/companies", json!({"name": "Before"})).await.status(201);
    agent.patch(&format!("/v1/webhooks/{made}"), json!({"enabled": true})).await.status(200);
    agent.patch(&format!("/v1/automations/{rule}"), json!({"enabled": true})).await.status(200);
    held.commit().await.expect("a commit");
    let after = agent.post("/v1/companies", json!({"name": "After"})).await.status(201).id();
    always.wait(2).await;
    let told = late.wait(1).await.remove(0).json();
    assert_eq!((&told["type"], &told["data"]["name"]), (&json!("company.created"), &json!("After")));
    let start = std::time::Instant::now();
    let runs = loop {
        let runs = agent.get(&format!("/v1/automations/{rule}/runs")).await.status(200).data();
        if runs.as_array().is_some_and(|runs| !runs.is_empty()) {
            break runs;
        }
        assert!(start.elapsed().as_secs() < 60, "a run");
    };
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
    assert_eq!(runs[0]["actions"][0]["id"], json!(after));
    // To enable what is enabled leaves nothing out.
    always.wait(2).await;
    let held = hold_back(&mut admin).await;
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    agent.patch(&format!("/v1/webhooks/{made}"), json!({"enabled": true})).await.status(200);
    held.commit().await.expect("a commit");
    // The rule's write is told too.
    let told = late.wait(3).await;
    assert!(told.iter().any(|it| it.json()["type"] == "contact.created"));
}

#[tokio::test]
async fn old_changes_stay_for_a_listener_until_they_are_published() {
    let (heard, unheard) = (agent().await, agent().await);
    let receiver = Receiver::start().await;
    subscribe_to(&heard, &receiver, &["company.created"]).await;
    let mut holding = administrator(&heard).await;
    let held = hold_back(&mut holding).await;
    let store = &home().kith.app.store;
    let (mut sessions, mut left) = (Vec::new(), Vec::new());
    for agent in [&heard, &unheard] {
        agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201);
        let mut admin = administrator(agent).await;
        admin.script("UPDATE kith.change SET at = at - interval '2 hours'").await.expect("an older log");
        sessions.push(admin);
    }
    // Nothing is kept for undo.
    store.sweep_changes(0).await.expect("a sweep");
    for admin in &mut sessions {
        let rows = admin.query("SELECT count(*) AS left FROM kith.change", &[]).await.expect("a count");
        left.push(rows.text(0, 0).map(str::to_owned));
    }
    assert_eq!(left, [Some("1".to_owned()), Some("0".to_owned())]);
    held.commit().await.expect("a commit");
    assert_eq!(receiver.wait(1).await[0].json()["data"]["name"], "Acme");
    // Once they are published, they go.
    let start = std::time::Instant::now();
    loop {
        store.sweep_changes(0).await.expect("a sweep");
        let rows = sessions[0].query("SELECT count(*) AS left FROM kith.change", &[]).await.expect("a count");
        if rows.text(0, 0) == Some("0") {
            break;
        }
        assert!(start.elapsed().as_secs() < 60, "the change is still there");
    }
}
