//! Every tool does its work, in both dialects, with the same records as REST.

use serde_json::{Value, json};

use super::{call, code, fail};
use crate::support::{Agent, agent, both, relm};

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id: {object}")).to_owned()
}

#[tokio::test]
async fn contacts_companies_and_deals_live_in_relms_words() {
    let relm = relm().await;
    let company = call(&relm, "create_company", json!({"name": "Acme", "domain": "acme.example"})).await;
    assert_eq!(company["outcome"], "Created 1 company.");
    let person = json!({"email": "ada@acme.example", "first_name": "Ada", "company_id": id(&company), "metadata": {"plan": "pro"}});
    let contact = call(&relm, "create_contact", person).await;
    assert_eq!((&contact["object"], &contact["metadata"]["plan"]), (&json!("contact"), &json!("pro")));
    let deal = json!({"title": "Rollout", "value_cents": 5_000, "primary_contact_id": id(&contact), "company_id": id(&company)});
    let deal = call(&relm, "create_deal", deal).await;
    assert_eq!((&deal["stage"], &deal["value_cents"]), (&json!("lead"), &json!(5_000)));
    call(&relm, "update_deal", json!({"id": id(&deal), "value_cents": 7_000, "metadata": {"a": 1}})).await;
    let moved = call(&relm, "move_deal_stage", json!({"id": id(&deal), "stage": "won", "reason": "signed"})).await;
    assert_eq!((&moved["outcome"], &moved["stage"]), (&json!("Moved 1 deal to won."), &json!("won")));
    let logged = json!({"type": "call", "subject": "Intro", "contact_id": id(&contact), "deal_id": id(&deal)});
    let logged = call(&relm, "log_activity", logged).await;
    let joined = json!({"from_type": "contact", "from_id": id(&contact), "to_type": "deal", "to_id": id(&deal), "label": "champion"});
    let joined = call(&relm, "create_association", joined).await;
    // A contact comes with its activities and associations.
    let seen = call(&relm, "get_contact", json!({"id": id(&contact)})).await;
    assert_eq!(seen["activities"][0]["id"], logged["id"], "{seen}");
    assert_eq!(seen["associations"][0]["id"], joined["id"], "{seen}");
    assert_eq!(relm.get(&format!("/v1/contacts/{}", id(&contact))).await.at("/updated_at"), seen["updated_at"]);
    let seen = call(&relm, "get_deal", json!({"id": id(&deal), "expand": ["company"]})).await;
    assert_eq!((&seen["company"]["name"], &seen["value_cents"]), (&json!("Acme"), &json!(7_000)));
    for (tool, filter, found) in [
        ("list_contacts", json!({"email": "ADA@acme.example"}), &contact),
        ("list_contacts", json!({"company_id": id(&company), "limit": 1}), &contact),
        ("list_companies", json!({}), &company),
        ("list_deals", json!({"stage": "won", "company_id": id(&company)}), &deal),
        ("list_deals", json!({"filter": {"value_cents": {"gte": 7_000}, "metadata.a": 1}}), &deal),
        ("list_activities", json!({"contact_id": id(&contact)}), &logged),
        ("list_activities", json!({"deal_id": id(&deal)}), &logged),
        ("search", json!({"query": "Rolout"}), &deal),
    ] {
        let page = call(&relm, tool, filter.clone()).await;
        assert_eq!(page["data"][0]["id"], found["id"], "{tool} {filter}: {page}");
        assert_eq!((&page["has_more"], &page["next_cursor"]), (&json!(false), &Value::Null), "{page}");
    }
    assert_eq!(call(&relm, "list_deals", json!({"stage": "lost"})).await["data"], json!([]));
    // Why the deal was moved is in the feed.
    let feed = relm.get("/v1/activity").await.status(200);
    let reasons: Vec<Value> = feed.column("metadata").iter().map(|it| it["reason"].clone()).collect();
    assert!(reasons.contains(&json!("signed")), "{}", feed.story());
}

#[tokio::test]
async fn records_of_any_table_live_in_agentcrms_words() {
    let agent = agent().await;
    let made = call(
        &agent,
        "create_record",
        json!({"table": "contacts", "values": {"email": "a@b.example", "custom": {"x": 1}}}),
    )
    .await;
    assert_eq!(made["outcome"], "Created 1 contact.");
    let contact = id(&made);
    assert!(contact.starts_with("c_"), "{made}");
    let changed =
        json!({"table": "contacts", "id": contact, "values": {"title": "CTO", "custom": {"y": 2}}, "run_id": "run 1"});
    let changed = call(&agent, "update_record", changed).await;
    assert_eq!((&changed["title"], &changed["custom"]), (&json!("CTO"), &json!({"x": 1, "y": 2})));
    let by_either_prefix = format!("con_{}", &contact[2..]);
    assert_eq!(
        call(&agent, "get_record", json!({"table": "contacts", "id": by_either_prefix})).await["id"],
        contact.as_str()
    );
    let gone = call(&agent, "delete_record", json!({"table": "contacts", "id": contact})).await;
    assert_eq!(gone["outcome"], "Deleted 1 contact \"a@b.example\". restore_record undoes this.");
    assert_eq!(code(&fail(&agent, "get_record", json!({"table": "contacts", "id": contact})).await), "not_found");
    let there = json!({"table": "contacts", "id": contact, "include_deleted": true});
    assert_eq!(call(&agent, "get_record", there).await["id"], contact.as_str());
    let only = call(&agent, "list_records", json!({"table": "contacts", "only_deleted": true})).await;
    assert_eq!(only["data"][0]["id"], contact.as_str(), "{only}");
    let back = call(&agent, "restore_record", json!({"table": "contacts", "id": contact})).await;
    assert_eq!(back["outcome"], "Restored 1 contact.");
    let again = call(&agent, "restore_record", json!({"table": "contacts", "id": contact})).await;
    assert_eq!(again["outcome"], "Nothing was restored (0 of 1 contact): it was not deleted.");
    assert_eq!(
        code(&fail(&agent, "delete_record", json!({"table": "contacts", "id": contact, "hard": true})).await),
        "confirmation_required"
    );
    agent.get(&format!("/v1/contacts/{contact}")).await.status(200);
    let hard = json!({"table": "contacts", "id": contact, "hard": true, "confirm": true});
    assert_eq!(call(&agent, "delete_record", hard).await["outcome"], "Removed 1 contact \"a@b.example\" for good.");
    let runs = agent.get("/v1/activity").await.status(200);
    let runs: Vec<Value> = runs.column("custom").iter().map(|it| it["run_id"].clone()).collect();
    assert!(runs.contains(&json!("run 1")), "{runs:?}");
}

#[tokio::test]
async fn what_changes_nothing_is_not_told_as_a_change() {
    for agent in [&relm().await, &agent().await] {
        let contact = id(&call(agent, "create_contact", json!({"email": "a@b.example", "first_name": "Ada"})).await);
        let deal = id(&call(agent, "create_record", json!({"table": "deals", "values": {"stage": "won"}})).await);
        let nothing = "Nothing was changed (0 of 1 contact): the call names no field.";
        assert_eq!(call(agent, "update_contact", json!({"id": contact})).await["outcome"], nothing);
        let empty = json!({"table": "contacts", "id": contact, "values": {}});
        assert_eq!(call(agent, "update_record", empty).await["outcome"], nothing);
        let same = call(agent, "update_contact", json!({"id": contact, "first_name": "Ada"})).await;
        assert_eq!(same["outcome"], "Nothing was changed (0 of 1 contact): it has these values already.");
        let dry = call(agent, "update_contact", json!({"id": contact, "first_name": "Ada", "dry_run": true})).await;
        assert!(dry["outcome"].as_str().is_some_and(|it| it.ends_with("it has these values already.")), "{dry}");
        let there = call(agent, "move_deal_stage", json!({"id": deal, "stage": "won"})).await;
        assert_eq!(there["outcome"], "Nothing was changed (0 of 1 deal): it has these values already.");
        let changed = call(agent, "update_contact", json!({"id": contact, "first_name": "Eve"})).await;
        assert_eq!((&changed["outcome"], &changed["first_name"]), (&json!("Updated 1 contact."), &json!("Eve")));
        let reads = json!({"operations": [{"method": "GET", "path": "/v1/contacts"}]});
        assert_eq!(call(agent, "batch", reads).await["outcome"], "Performed 1 operation: no row was changed.");
    }
}

#[tokio::test]
async fn the_names_of_both_dialects_are_understood_in_requests_too() {
    let (relm, agentcrm) = both().await;
    for (agent, body, own) in [
        (&relm, json!({"name": "A", "amount_cents": 5}), "value_cents"),
        (&agentcrm, json!({"title": "A", "value_cents": 5}), "amount_cents"),
    ] {
        let request = json!({"method": "POST", "path": "/v1/deals", "body": body});
        let made = call(agent, "call_api", request.clone()).await;
        assert_eq!((&made["outcome"], &made[own]), (&json!("Created 1 deal."), &json!(5)), "{made}");
        let done = call(agent, "batch", json!({"operations": [request]})).await;
        assert_eq!(done["data"][0]["body"][own], 5, "{done}");
    }
}

#[tokio::test]
async fn tables_of_ones_own_are_served_too() {
    let agent = agent().await;
    let made = call(
        &agent,
        "execute_sql",
        json!({"sql": "create table invoices (id int primary key, total numeric, note text)"}),
    )
    .await;
    assert_eq!(made["outcome"], "CREATE TABLE: done. No row of a table with a primary key was changed.");
    let row =
        call(&agent, "create_record", json!({"table": "invoices", "values": {"id": 7, "total": 12.5, "note": null}}))
            .await;
    assert_eq!((&row["id"], &row["outcome"]), (&json!(7), &json!("Created 1 row of invoices.")));
    let listed = call(
        &agent,
        "list_records",
        json!({"table": "invoices", "filter": {"total": {"gt": 12}}, "fields": ["total"]}),
    )
    .await;
    assert_eq!(listed["data"].to_string(), r#"[{"id":7,"total":12.5}]"#);
    let fetched = call(&agent, "fetch", json!({"id": "invoices/7"})).await;
    assert_eq!((&fetched["text"], &fetched["metadata"]["table"]), (&json!("total: 12.5"), &json!("invoices")));
    let schema = call(&agent, "describe_schema", json!({})).await;
    assert_eq!(schema["tables"]["invoices"], "id* integer, total numeric, note text");
    let one = call(&agent, "describe_schema", json!({"table": "invoices"})).await;
    assert_eq!(one["tables"]["invoices"]["primary_key"], json!(["id"]), "{one}");
    let near = fail(&agent, "describe_schema", json!({"table": "invoces"})).await;
    assert!(near["hint"].as_str().is_some_and(|hint| hint.contains("invoices")), "{near:?}");
    let unconfirmed = fail(&agent, "delete_record", json!({"table": "invoices", "id": 7})).await;
    assert_eq!(code(&unconfirmed), "confirmation_required");
    let gone = call(&agent, "delete_record", json!({"table": "invoices", "id": 7, "confirm": true})).await;
    assert_eq!(gone["outcome"], "Removed 1 row of invoices for good.");
    // Where deleted rows are kept, nothing is lost.
    call(&agent, "execute_sql", json!({"sql": "create table plans (id int primary key, name text, deleted_at timestamptz); insert into plans values (1, 'Gold')"})).await;
    let gone = call(&agent, "delete_record", json!({"table": "plans", "id": 1})).await;
    assert_eq!(gone["outcome"], "Deleted 1 row of plans \"Gold\".");
}

#[tokio::test]
async fn pipelines_and_stages_are_named_by_their_keys() {
    let (relm, agentcrm) = both().await;
    for (agent, key) in [(&relm, "renewals"), (&agentcrm, "partners")] {
        let made = call(agent, "create_pipeline", json!({"key": key, "label": "R"})).await;
        assert_eq!(made["key"], key);
        let changed = call(agent, "update_pipeline", json!({"key": key, "label": "Renewals"})).await;
        assert_eq!((&changed["label"], &changed["outcome"]), (&json!("Renewals"), &json!("Updated 1 pipeline.")));
        let keys = call(agent, "list_pipelines", json!({})).await;
        assert!(keys["data"].as_array().is_some_and(|them| them.iter().any(|it| it["key"] == key)), "{keys}");
        let stage = json!({"pipeline": key, "key": "legal", "label": "Legal"});
        assert_eq!(call(agent, "create_pipeline_stage", stage).await["pipeline"], key);
        let stage = json!({"pipeline": key, "key": "legal", "label": "Legal review", "is_won": true});
        assert_eq!(call(agent, "update_pipeline_stage", stage).await["is_won"], true);
        let stages = call(agent, "list_pipeline_stages", json!({"pipeline": key})).await;
        assert_eq!(stages["data"][0]["label"], "Legal review", "{stages}");
        call(agent, "delete_pipeline_stage", json!({"pipeline": key, "key": "legal"})).await;
        call(agent, "delete_pipeline", json!({"key": key})).await;
    }
    let default = call(&relm, "list_pipeline_stages", json!({})).await;
    let keys: Vec<&Value> = default["data"].as_array().into_iter().flatten().map(|stage| &stage["key"]).collect();
    assert_eq!(keys, ["lead", "qualified", "proposal", "won", "lost"]);
    assert_eq!(code(&fail(&relm, "delete_pipeline", json!({"key": "sales"})).await), "cannot_delete_default");
    // Labels are understood, and the answer has the key.
    let sales = call(&relm, "list_pipelines", json!({})).await["data"][0]["label"].clone();
    let qualified = default["data"][1]["label"].as_str().expect("a label").to_uppercase();
    for agent in [&relm, &agentcrm] {
        let deal = json!({"pipeline": sales, "stage": qualified, "reason": "asked"});
        let deal = call(agent, "create_deal", deal).await;
        assert_eq!((&deal["pipeline"], &deal["stage"]), (&json!("sales"), &json!("qualified")), "{deal}");
        let moved = call(agent, "move_deal_stage", json!({"id": deal["id"], "stage": "Lost"})).await;
        assert_eq!(moved["stage"], "lost", "{moved}");
        for found in [json!({"stage": "Lost"}), json!({"filter": {"stage": ["Lost", "won"]}}), json!({"stage": "lost"})]
        {
            let listed = call(agent, "list_deals", found).await;
            assert_eq!(listed["data"][0]["id"], deal["id"], "{listed}");
        }
        call(agent, "delete_record", json!({"table": "deals", "id": deal["id"]})).await;
        let stages = call(agent, "list_pipeline_stages", json!({"pipeline": sales})).await;
        assert_eq!(stages["data"].as_array().map(Vec::len), Some(5), "no stage was added: {stages}");
    }
    // A deal in a stage that does not exist is refused with Relm's words and the next call.
    let refused = fail(&relm, "create_deal", json!({"title": "D", "stage": "wonn"})).await;
    assert_eq!(code(&refused), "unknown_stage");
    assert!(refused["next"].as_str().is_some_and(|next| next.contains("list_pipeline_stages")), "{refused:?}");
}

#[tokio::test]
async fn lists_have_members_and_rows() {
    let agent = agent().await;
    let list = json!({"table": "lists", "values": {"name": "L", "target_table": "contacts", "kind": "static"}});
    let list = id(&call(&agent, "create_record", list).await);
    let first = id(&call(&agent, "create_contact", json!({"email": "a@b.example"})).await);
    let second = id(&call(&agent, "create_contact", json!({"email": "c@d.example"})).await);
    let added = call(&agent, "add_list_members", json!({"list_id": list, "member_ids": [first, second]})).await;
    assert_eq!(added["outcome"], "Added 2 records to the list.");
    let third = id(&call(&agent, "create_contact", json!({"email": "e@f.example"})).await);
    let more = json!({"list_id": list, "member_ids": [first, second, third]});
    let more = call(&agent, "add_list_members", more).await;
    assert_eq!(more["outcome"], "Added 1 record to the list; 2 were in it already.");
    call(&agent, "remove_list_member", json!({"list_id": list, "member_id": third})).await;
    let rows = call(&agent, "get_list_rows", json!({"list_id": list, "limit": 1})).await;
    assert_eq!((rows["data"].as_array().map(Vec::len), &rows["has_more"]), (Some(1), &json!(true)), "{rows}");
    let rest = call(&agent, "get_list_rows", json!({"list_id": list, "limit": 1, "cursor": rows["next_cursor"]})).await;
    assert_ne!(rest["data"][0]["id"], rows["data"][0]["id"]);
    let removed = call(&agent, "remove_list_member", json!({"list_id": list, "member_id": first})).await;
    assert_eq!(removed["outcome"], "Removed 1 record from the list \"L\". The record itself stays.");
    let path = format!("lists/{list}/rows");
    assert_eq!(call(&agent, "list_records", json!({"table": path})).await["data"][0]["id"], second.as_str());
    let rows = call(&agent, "get_list_rows", json!({"list_id": list})).await;
    assert_eq!(rows["data"][0]["id"], second.as_str(), "{rows}");
}

#[tokio::test]
async fn values_are_added_to_what_is_there() {
    for (agent, own) in [(&relm().await, "metadata"), (&agent().await, "custom")] {
        let made = call(agent, "create_contact", json!({"email": "a@b.example", own: {"tags": ["a"]}})).await;
        let add = json!({"id": made["id"], own: {"tags": {"$append": ["b"]}}, "phone": {"$if_empty": "1"}});
        let added = call(agent, "update_contact", add).await;
        assert_eq!((&added[own]["tags"], &added["phone"]), (&json!(["a", "b"]), &json!("1")), "{added}");
        let values = json!({own: {"tags": {"$remove": ["a"]}}, "phone": {"$if_empty": "2"}});
        let request = json!({"table": "contacts", "id": made["id"], "values": values});
        let taken = call(agent, "update_record", request).await;
        assert_eq!((&taken[own]["tags"], &taken["phone"]), (&json!(["b"]), &json!("1")), "{taken}");
        // Ids are understood with either prefix in them too.
        let deal = call(agent, "create_record", json!({"table": "deals", "values": {}})).await["id"].clone();
        let mail = json!({"table": "emails", "values": {"from_addr": "a@b.example", "subject": "S"}});
        let mail = call(agent, "create_record", mail).await["id"].clone();
        let link = json!({"table": "emails", "id": mail, "values": {"deal_ids": {"$append": [deal]}}});
        assert_eq!(call(agent, "update_record", link).await["deal_ids"], json!([deal]));
    }
}

#[tokio::test]
async fn a_second_record_of_a_name_is_told() {
    for agent in [&relm().await, &agent().await] {
        let person = |email: &str, first: &str| json!({"email": email, "first_name": first, "last_name": "Lovelace"});
        let first = call(agent, "create_contact", person("a@b.example", "Ada")).await;
        assert_eq!((&first["outcome"], first.get("possible_duplicates")), (&json!("Created 1 contact."), None));
        let dry = json!({"email": "c@d.example", "first_name": "ada", "last_name": "LOVELACE", "dry_run": true});
        assert_eq!(call(agent, "create_contact", dry).await["possible_duplicates"][0]["id"], first["id"]);
        let second = call(agent, "create_contact", person("c@d.example", "ADA")).await;
        assert_eq!(
            second["outcome"], "Created 1 contact. Others have the same name (1): see possible_duplicates.",
            "{second}"
        );
        let expected = json!([{"id": first["id"], "name": "Ada Lovelace <a@b.example>"}]);
        assert_eq!(second["possible_duplicates"], expected);
        let other = call(agent, "create_contact", person("e@f.example", "Adah")).await;
        assert_eq!(other.get("possible_duplicates"), None, "{other}");
        let company = |name: &str| json!({"table": "companies", "values": {"name": name}});
        let acme = call(agent, "create_record", company("Acme")).await["id"].clone();
        assert_eq!(call(agent, "create_record", company(" acme")).await["possible_duplicates"][0]["id"], acme);
        let nameless = call(agent, "create_record", json!({"table": "companies", "values": {}})).await;
        assert_eq!(nameless["outcome"], "Created 1 company.");
    }
}

async fn upsert(agent: &Agent) -> Value {
    let rows = json!([{"email": "a@b.example", "first_name": "A"}, {"email": "A@B.example", "first_name": "B"}, {"emial": "x"}, 7]);
    call(agent, "upsert_contacts", json!({"contacts": rows})).await
}

#[tokio::test]
async fn contacts_come_and_change_in_numbers() {
    let (relm, agentcrm) = both().await;
    let first = upsert(&relm).await;
    assert_eq!(first["outcome"], "Created 1, updated 1 and refused 2 contacts.");
    assert_eq!(first["data"][2]["status"], "error", "{first}");
    let second = upsert(&agentcrm).await;
    assert_eq!((&second["updated"], &second["failed"]), (&json!(2), &json!(2)));
    assert_eq!(second["data"][1]["contact"]["first_name"], "B", "{second}");
}

#[tokio::test]
async fn sql_reads_with_one_tool_and_writes_with_another() {
    let (relm, agentcrm) = both().await;
    for agent in [&relm, &agentcrm] {
        let email = format!("{}@b.example", &agent.key[..4]);
        let made = json!({"sql": "insert into contacts (email) values ($1) returning id, email", "params": [email]});
        let made = call(agent, "execute_sql", made).await;
        assert_eq!(
            (&made["outcome"], &made["rows"][0]["email"]),
            (&json!("INSERT: 1 row was written."), &json!(email))
        );
        let read = call(
            agent,
            "query_sql",
            json!({"sql": "select email, 1::numeric / 3 as third from contacts where email = $1", "params": [email]}),
        )
        .await;
        assert_eq!((&read["rows"][0]["email"], &read["rowCount"]), (&json!(email), &json!(1)));
        for sql in [
            "delete from contacts",
            "with gone as (delete from contacts returning 1) select * from gone",
            "create table t (a int)",
            "select 1; delete from contacts",
            "do $$ begin delete from contacts; end $$",
            "set transaction read write; delete from contacts",
            "select set_config('transaction_read_only', 'off', false); delete from contacts",
            "set role none; delete from contacts",
        ] {
            fail(agent, "query_sql", json!({"sql": sql})).await;
        }
        let refused = fail(agent, "query_sql", json!({"sql": "delete from contacts"})).await;
        assert!(refused["next"].as_str().is_some_and(|next| next.contains("execute_sql")), "{refused:?}");
        let none =
            call(agent, "execute_sql", json!({"sql": "update contacts set title = 'x' where email = 'nobody'"})).await;
        assert_eq!(none["outcome"], "UPDATE: 0 rows were written.");
        // Each statement is counted, and what all did together.
        let table = format!("t_{}", &agent.key[..4]);
        let several = "create table TABLE (a int); insert into companies (name) values ('A'), ('B'); \
                       update companies set name = 'C' where name = 'B'; delete from companies where name = 'nothing'";
        let several = json!({"sql": several.replace("TABLE", &table)});
        let several = call(agent, "execute_sql", several).await;
        assert_eq!(
            several["outcome"],
            "Ran 4 statements. CREATE TABLE: done. INSERT: 2 rows were written. UPDATE: 1 row was written. \
             DELETE: 0 rows were written. In all: created 2 companies."
        );
        let hidden = "with gone as (delete from companies returning 1) select count(*) from gone";
        let hidden = call(agent, "execute_sql", json!({"sql": hidden})).await;
        assert_eq!(hidden["outcome"], "SELECT: 1 row was returned. In all: deleted 2 companies.");
        let block = "do $$ begin insert into companies (name) values ('D'); delete from companies; end $$";
        let block = call(agent, "execute_sql", json!({"sql": block})).await;
        assert_eq!(block["outcome"], "DO: done. No row of a table with a primary key was changed.");
        let wrong = fail(agent, "query_sql", json!({"sql": "select emial from contacts"})).await;
        assert_eq!(code(&wrong), "sql_error");
    }
    assert_eq!(relm.sql("select count(*)::int as v from contacts").await.status(200).at("/rows/0/v"), 2);
}
