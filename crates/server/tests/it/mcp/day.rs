//! A model's day: what thirty calls of the small set cost it.

use serde_json::{Value, json};

use super::call;
use crate::support::{Agent, relm};

/// The tokens that all answers of the day may have.
const MOST_TOKENS: usize = 20_000;

/// A model that counts the tokens of the answers that it reads.
struct Model {
    agent: Agent,
    tokenizer: tiktoken_rs::CoreBPE,
    calls: usize,
    tokens: usize,
}

impl Model {
    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = call(&self.agent, tool, arguments).await;
        self.calls += 1;
        self.tokens += self.tokenizer.encode_ordinary(&answer.to_string()).len();
        answer
    }
}

/// A workspace with work of some months.
async fn busy(agent: &Agent) {
    for sql in [
        "insert into companies (name, domain) select 'Company ' || n, 'company' || n || '.example' from generate_series(1, 80) n",
        "insert into contacts (email, first_name, last_name, company_id) \
         select 'person' || n || '@company' || (n % 80 + 1) || '.example', 'Person', 'Number ' || n, c.id \
         from generate_series(1, 400) n join companies c on c.name = 'Company ' || (n % 80 + 1)",
        "insert into deals (name, amount_cents, stage, contact_id, company_id) \
         select 'Deal of ' || last_name, 100000, (array['lead', 'qualified', 'proposal'])[length(last_name) % 3 + 1], id, company_id from contacts limit 150",
        "insert into activities (type, subject, body, contact_id, company_id) \
         select 'call', 'Call with ' || last_name, repeat('We spoke about the price and the date. ', 40), id, company_id from contacts, generate_series(1, 3)",
        "insert into emails (from_addr, to_addrs, subject, body_text) \
         select email, array['me@kith.example'], 'Question of ' || last_name, repeat('Could you send the price list? ', 100) from contacts limit 100",
    ] {
        agent.sql(sql).await.status(200);
    }
}

#[tokio::test]
async fn thirty_calls_of_the_small_set_stay_small() {
    let agent = relm().await;
    busy(&agent).await;
    let mut model = Model { agent, tokenizer: tiktoken_rs::o200k_base().expect("a tokenizer"), calls: 0, tokens: 0 };
    model.call("describe_schema", json!({})).await;
    model
        .call("query_sql", json!({"sql": "select stage, count(*), sum(amount_cents) from deals group by stage"}))
        .await;
    for address in ["person17@company18.example", "person230@company71.example", "person399@company80.example"] {
        let found = model.call("search", json!({"query": address, "limit": 5})).await;
        let hit = found["data"].as_array().into_iter().flatten().find(|hit| hit["object"] == "contact").cloned();
        let id = hit.unwrap_or_else(|| panic!("{found}"))["id"].clone();
        let contact = model.call("get_record", json!({"table": "contacts", "id": id})).await;
        assert_eq!(contact["activities"].as_array().map(Vec::len), Some(3), "{contact}");
        let deals = model.call("list_records", json!({"table": "deals", "filter": {"primary_contact_id": id}})).await;
        model
            .call("list_records", json!({"table": "emails", "filter": {"from_addr": contact["email"]}, "limit": 5}))
            .await;
        model
            .call("log_activity", json!({"type": "call", "subject": "Follow-up", "contact_id": id, "reason": "asked"}))
            .await;
        if let Some(deal) = deals["data"][0]["id"].as_str() {
            model.call("update_record", json!({"table": "deals", "id": deal, "values": {"stage": "won"}})).await;
        } else {
            model
                .call("create_record", json!({"table": "deals", "values": {"title": "New", "primary_contact_id": id}}))
                .await;
        }
    }
    model.call("list_records", json!({"table": "deals", "filter": {"stage": "proposal"}})).await;
    let page = model.call("list_records", json!({"table": "contacts", "limit": 20})).await;
    model.call("list_records", json!({"table": "contacts", "limit": 20, "cursor": page["next_cursor"]})).await;
    let rows: Vec<Value> = (0..10).map(|at| json!({"email": format!("new{at}@company1.example")})).collect();
    let made = model.call("upsert_contacts", json!({"contacts": rows})).await;
    let id = made["data"][0]["contact"]["id"].clone();
    model.call("fetch", json!({"id": id})).await;
    model.call("delete_record", json!({"table": "contacts", "id": id})).await;
    model.call("restore_record", json!({"table": "contacts", "id": id})).await;
    let mail = model.call("list_records", json!({"table": "emails", "limit": 10})).await;
    model.call("get_record", json!({"table": "emails", "id": mail["data"][0]["id"]})).await;
    model.call("execute_sql", json!({"sql": "update contacts set title = 'Buyer' where title is null"})).await;
    println!("{} calls, {} tokens", model.calls, model.tokens);
    assert_eq!(model.calls, 30);
    assert!(model.tokens < MOST_TOKENS, "{} tokens", model.tokens);
}
