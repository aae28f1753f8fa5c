//! Batches of operations, runs, undo and events as tools.

use serde_json::{Value, json};

use super::{call, code, fail};
use crate::support::{Agent, agent, relm};

async fn contacts(agent: &Agent) -> usize {
    agent.get("/v1/contacts").await.status(200).column("id").len()
}

fn operations() -> Value {
    json!([
        {"method": "POST", "path": "/v1/companies", "body": {"name": "Acme"}, "ref": "co"},
        {"method": "POST", "path": "/v1/contacts", "body": {"email": "a@b.example", "company_id": "$co.id"}, "ref": "c"},
        {"method": "PATCH", "path": "/v1/contacts/$c.id", "body": {"first_name": "Ada"}},
        {"method": "GET", "path": "/v1/contacts"},
        {"method": "POST", "path": "/v1/sql", "body": {"sql": "select count(*)::int as n from contacts"}},
    ])
}

#[tokio::test]
async fn a_batch_is_kept_as_a_whole_or_not_at_all() {
    for agent in [&relm().await, &agent().await] {
        let dry = call(agent, "batch", json!({"operations": operations(), "dry_run": true})).await;
        assert!(dry["outcome"].as_str().is_some_and(|it| it.starts_with("Nothing was written")), "{dry}");
        assert_eq!(dry["affected"]["contacts"]["created"], 1, "{dry}");
        assert_eq!(contacts(agent).await, 0);
        let done = call(agent, "batch", json!({"operations": operations(), "reason": "asked", "run_id": "r"})).await;
        assert_eq!(done["outcome"], "Performed 5 operations in one transaction: created 1 contact and 1 company.");
        let statuses: Vec<&Value> = done["data"].as_array().into_iter().flatten().map(|it| &it["status"]).collect();
        assert_eq!(statuses, [201, 201, 200, 200, 200], "{done}");
        let body = |at: usize| &done["data"][at]["body"];
        // A record is what the tool alone would return, without an envelope.
        assert_eq!((&body(1)["company_id"], &body(1)["email"]), (&body(0)["id"], &json!("a@b.example")), "{done}");
        assert_eq!((&body(2)["id"], &body(2)["first_name"]), (&body(1)["id"], &json!("Ada")));
        assert_eq!((&body(3)["data"][0]["id"], &body(3)["has_more"]), (&body(1)["id"], &json!(false)), "{done}");
        assert_eq!(body(4)["rows"], json!([{"n": 1}]));
        let failing = json!([
            {"method": "POST", "path": "/v1/contacts", "body": {"email": "c@d.example"}},
            {"method": "POST", "path": "/v1/contacts", "body": {"email": "a@b.example"}, "ref": "twice"},
        ]);
        let refused = fail(agent, "batch", json!({"operations": failing})).await;
        assert_eq!((code(&refused), &refused["operation"]), ("conflict", &json!(1)), "{refused:?}");
        assert_eq!(refused["ref"], "twice");
        assert!(refused["next"].as_str().is_some_and(|next| next.starts_with("PATCH the record c")), "{refused:?}");
        assert_eq!(contacts(agent).await, 1);
        let limited = json!({"operations": [{"method": "POST", "path": "/v1/sql",
            "body": {"sql": "insert into contacts (phone) values ('1'), ('2')"}}], "max_affected": 1});
        assert_eq!(code(&fail(agent, "batch", limited).await), "max_affected_exceeded");
        assert_eq!(contacts(agent).await, 1);
        for (wrong, part) in [
            (json!({"operations": []}), "at least one"),
            (json!({"operations": [{"method": "POST", "path": "/v1/batch", "body": {}}]}), "batch"),
            (json!({"operations": [{"method": "POST", "path": "/v1/webhooks", "body": {}}]}), "webhooks"),
            (json!({"operation": operations()}), "operations"),
        ] {
            let refused = fail(agent, "batch", wrong.clone()).await;
            assert_eq!(code(&refused), "invalid_request", "{wrong}");
            assert!(json!(refused).to_string().contains(part), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn the_answers_of_a_batch_are_cut_to_the_tokens() {
    let agent = agent().await;
    let body = json!({"email": "a@b.example", "custom": {"notes": "x".repeat(9_000)}});
    let mut operations = vec![json!({"method": "POST", "path": "/v1/contacts", "body": body})];
    operations.extend((0..20).map(|_| json!({"method": "GET", "path": "/v1/contacts"})));
    let done = call(&agent, "batch", json!({"operations": operations, "max_tokens": 1_500})).await;
    assert!(done.to_string().len() < 2 * 4_500, "{}", done.to_string().len());
    assert!(done["data"][0]["body"]["id"].as_str().is_some_and(|id| id.starts_with("c_")), "{done}");
    assert_eq!(done["data"].as_array().map(Vec::len), Some(21), "every operation is answered");
    assert!(done["cut"].as_str().is_some_and(|cut| cut.starts_with("Long texts are cut. Only the ids")), "{done}");
}

#[tokio::test]
async fn a_large_answer_in_a_batch_is_cut_and_the_work_is_kept() {
    let agent = agent().await;
    let wide = "select repeat('x', 1000) as a from generate_series(1, 20000)";
    let mut operations: Vec<Value> =
        (0..10).map(|_| json!({"method": "POST", "path": "/v1/sql", "body": {"sql": wide}})).collect();
    operations.push(json!({"method": "GET", "path": "/v1/schema"}));
    operations.push(json!({"method": "POST", "path": "/v1/contacts", "body": {"email": "a@b.example"}}));
    let done = call(&agent, "batch", json!({"operations": operations, "max_tokens": 1_000})).await;
    assert!(done.to_string().len() < 2 * 3_000, "{}", done.to_string().len());
    assert_eq!(done["data"][11]["status"], 201, "{done}");
    assert_eq!(contacts(&agent).await, 1);
    // References read the whole record, whatever is shown of it.
    let long = "x".repeat(5_000);
    let operations = json!([
        {"method": "POST", "path": "/v1/contacts", "body": {"email": "c@d.example", "title": long}, "ref": "c"},
        {"method": "POST", "path": "/v1/companies", "body": {"name": "$c.title"}},
    ]);
    let done = call(&agent, "batch", json!({"operations": operations, "max_tokens": 300})).await;
    let id = done["data"][1]["body"]["id"].as_str().unwrap_or_else(|| panic!("{done}")).to_owned();
    assert_eq!(agent.get(&format!("/v1/companies/{id}")).await.status(200).text("/data/name").len(), 5_000);
}

#[tokio::test]
async fn a_run_is_listed_with_its_changes_and_undone() {
    for agent in [&relm().await, &agent().await] {
        for at in 0..3 {
            let contact = json!({"email": format!("p{at}@b.example"), "run_id": "import", "reason": "asked"});
            call(agent, "create_contact", contact).await;
        }
        let listed = call(agent, "list_runs", json!({"status": "open"})).await;
        assert_eq!((&listed["data"][0]["run_id"], &listed["has_more"]), (&json!("import"), &json!(false)), "{listed}");
        let run = listed["data"][0]["id"].clone();
        assert_eq!(call(agent, "list_records", json!({"table": "runs"})).await["data"], listed["data"]);
        for name in [&run, &json!("import")] {
            let found = call(agent, "get_run", json!({"id": name})).await;
            assert_eq!((&found["id"], &found["reason"]), (&run, &json!("asked")));
            assert_eq!(found["affected"]["contacts"]["created"], 3, "{found}");
        }
        let first = call(agent, "list_run_changes", json!({"run_id": run, "limit": 2})).await;
        assert_eq!(first["has_more"], true, "{first}");
        let next = json!({"table": format!("runs/{}/changes", run.as_str().expect("an id")), "limit": 2, "cursor": first["next_cursor"]});
        let rest = call(agent, "list_records", next).await;
        assert_eq!((rest["data"].as_array().map(Vec::len), &rest["has_more"]), (Some(1), &json!(false)), "{rest}");
        assert_eq!(rest["data"][0]["changes"]["email"]["to"], "p2@b.example");
        let dry = call(agent, "undo", json!({"run": "import", "dry_run": true})).await;
        assert_eq!((&dry["undone"], &dry["affected"]["contacts"]["deleted"]), (&json!(3), &json!(3)), "{dry}");
        assert_eq!(contacts(agent).await, 3);
        assert_eq!(
            code(&fail(agent, "undo", json!({"run": "import", "max_affected": 2})).await),
            "max_affected_exceeded"
        );
        let undone = call(agent, "undo", json!({"run": run, "reason": "a mistake"})).await;
        assert_eq!((&undone["undone"], &undone["skipped"]), (&json!(3), &json!([])), "{undone}");
        assert_eq!(undone["outcome"], "Undid the changes of 3 rows.");
        assert_eq!(contacts(agent).await, 0);
        assert_eq!(code(&fail(agent, "undo", json!({"run": run})).await), "already_undone");
        // An undo is a run, and is undone like any other.
        call(agent, "undo", json!({"run": undone["run_id"]})).await;
        assert_eq!(contacts(agent).await, 3);
        assert_eq!(code(&fail(agent, "undo", json!({"run": "no such run"})).await), "not_found");
    }
}

#[tokio::test]
async fn a_request_and_one_entry_of_the_feed_are_undone() {
    let agent = agent().await;
    let made = call(&agent, "create_contact", json!({"email": "a@b.example", "title": "CTO"})).await;
    let changed = call(&agent, "update_contact", json!({"id": made["id"], "title": "CEO", "run_id": "r"})).await;
    let request = changed["request_id"].as_str().expect("a request");
    assert!(request.starts_with("req_"), "{changed}");
    call(&agent, "update_contact", json!({"id": made["id"], "title": "CFO"})).await;
    let conflict = fail(&agent, "undo", json!({"request_id": request})).await;
    assert_eq!((code(&conflict), &conflict["conflicts"][0]["reason"]), ("undo_conflict", &json!("changed_since")));
    assert!(conflict["next"].as_str().is_some_and(|next| next.contains("on_conflict")), "{conflict:?}");
    let skipped = call(&agent, "undo", json!({"request_id": request, "on_conflict": "skip"})).await;
    assert_eq!((&skipped["undone"], skipped["skipped"].as_array().map(Vec::len)), (&json!(0), Some(1)), "{skipped}");
    let feed =
        call(&agent, "list_records", json!({"table": "activity", "limit": 10, "response_format": "detailed"})).await;
    let newest = feed["data"][0]["id"].clone();
    let undone = call(&agent, "undo", json!({"activity_id": newest})).await;
    assert_eq!(undone["undone"], 1, "{undone}");
    assert_eq!(call(&agent, "get_contact", json!({"id": made["id"]})).await["title"], "CEO");
    let dry = call(&agent, "update_contact", json!({"id": made["id"], "title": "X", "dry_run": true})).await;
    assert!(dry.get("request_id").is_none(), "there is nothing to undo: {dry}");
}

#[tokio::test]
async fn a_finished_run_takes_no_more_writes() {
    let agent = agent().await;
    call(&agent, "create_contact", json!({"email": "a@b.example", "run_id": "r"})).await;
    let ended = call(&agent, "finish_run", json!({"id": "r", "status": "complete", "summary": "done"})).await;
    assert_eq!((&ended["outcome"], &ended["summary"]), (&json!("Ended 1 run: complete."), &json!("done")));
    let late = fail(&agent, "create_contact", json!({"email": "c@d.example", "run_id": "r"})).await;
    assert_eq!(code(&late), "run_finished");
    assert!(late["next"].as_str().is_some_and(|next| next.contains("run_id")), "{late:?}");
    let wrong = fail(&agent, "finish_run", json!({"id": "r", "status": "undone"})).await;
    assert_eq!(code(&wrong), "invalid_request");
}

#[tokio::test]
async fn events_are_read_on_from_their_cursor() {
    for agent in [&relm().await, &agent().await] {
        let start = call(agent, "list_events", json!({})).await["next_cursor"].clone();
        assert!(start.is_string(), "an empty page has a cursor too");
        let made = call(agent, "create_contact", json!({"email": "a@b.example", "run_id": "r"})).await;
        call(agent, "create_company", json!({"name": "Acme"})).await;
        let page = call(agent, "list_events", json!({"after": start, "type": "contact.*"})).await;
        let events = page["data"].as_array().expect("events");
        assert_eq!((events.len(), &events[0]["type"]), (1, &json!("contact.created")), "{page}");
        assert_eq!((&events[0]["data"]["id"], &events[0]["run_id"]), (&made["id"], &json!("r")), "{page}");
        let all = json!({"table": "events", "cursor": start, "limit": 1});
        let all = call(agent, "list_records", all).await;
        assert_eq!((all["data"].as_array().map(Vec::len), &all["has_more"]), (Some(1), &json!(true)), "{all}");
        let next = call(agent, "list_events", json!({"cursor": all["next_cursor"]})).await;
        assert_eq!((&next["data"][0]["type"], &next["has_more"]), (&json!("company.created"), &json!(false)), "{next}");
        let narrow = json!({"cursor": start, "max_tokens": 200});
        let narrow = call(agent, "list_events", narrow).await;
        assert_eq!(narrow["data"].as_array().map(Vec::len), Some(1), "{narrow}");
        assert_eq!((&narrow["has_more"], narrow["cut"].is_string()), (&json!(true), true), "{narrow}");
        assert_eq!(code(&fail(agent, "list_events", json!({"cursor": "nothing"})).await), "invalid_cursor");
    }
}

#[tokio::test]
async fn a_table_of_the_workspace_does_not_shadow_kiths_own() {
    let agent = agent().await;
    for table in ["runs", "events", "webhooks"] {
        agent.sql(&format!("create table {table} (id text primary key, url text)")).await.status(200);
        agent.sql(&format!("insert into {table} values ('mine', 'https://a.example')")).await.status(200);
        let listed = call(&agent, "list_records", json!({"table": table, "limit": 50})).await;
        let ids: Vec<&Value> = listed["data"].as_array().into_iter().flatten().map(|row| &row["id"]).collect();
        assert!(!ids.contains(&&json!("mine")), "{listed}");
    }
    assert_eq!(code(&fail(&agent, "get_record", json!({"table": "webhooks", "id": "mine"})).await), "not_found");
    let rows = call(&agent, "query_sql", json!({"sql": "select id from webhooks"})).await;
    assert_eq!(rows["rows"], json!([{"id": "mine"}]), "SQL reaches it");
}
