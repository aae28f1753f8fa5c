//! Random references in all tables, random merges: nothing refers to what is gone, nothing else is lost, and undo puts every row back.

use serde_json::{Value, json};

use crate::merge::rows;
use crate::support::{Agent, Numbers, agent};

const TABLES: [&str; 11] = [
    "contacts",
    "companies",
    "deals",
    "activities",
    "emails",
    "lists",
    "list_members",
    "associations",
    "nodes",
    "joined",
    "pipeline_stages",
];

const SEEDS: [u64; 3] = [3, 17, 2026];

/// Every reference to a contact, company, deal or node that names no live record: table and id.
const LOST: &str = "
    with live as (select 'contact' as kind, id from contacts where deleted_at is null union all select 'company', id from companies where deleted_at is null
                  union all select 'deal', id from deals where deleted_at is null union all select 'node', id::text from nodes),
         named as (select 'contact' as kind, contact_id as id from deals union all select 'company', company_id from deals union all select 'company', company_id from contacts where deleted_at is null
                   union all select 'contact', contact_id from activities union all select 'company', company_id from activities union all select 'deal', deal_id from activities
                   union all select 'contact', unnest(contact_ids) from emails union all select 'company', unnest(company_ids) from emails union all select 'deal', unnest(deal_ids) from emails
                   union all select case l.target_table when 'contacts' then 'contact' else 'deal' end, member_id from list_members m join lists l on l.id = m.list_id
                   union all select from_type, from_id from associations where from_type <> 'nodes' union all select to_type, to_id from associations where to_type <> 'nodes'
                   union all select 'node', parent::text from nodes union all select 'node', node::text from joined union all select 'contact', contact from joined)
    select count(*)::int as v from named n where n.id is not null and not exists (select from live l where l.kind = n.kind and l.id = n.id)";

async fn ids(agent: &Agent, table: &str) -> Vec<String> {
    let live = if table == "nodes" { "" } else { " where deleted_at is null" };
    let listed = agent.sql(&format!("select id::text from {table}{live} order by id")).await.status(200);
    listed.column("id").iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
}

async fn workspace(numbers: &mut Numbers) -> Agent {
    let agent = agent().await;
    let mut sql = String::from(
        "create table nodes (id int primary key, parent int references nodes on delete cascade, label text, extra jsonb);
         create table joined (contact text references contacts on delete cascade, node int references nodes on delete cascade on update cascade, note text, primary key (contact, node));
         insert into companies (name, domain) select case when g % 2 = 0 then 'C' || g end, case when g % 3 > 0 then g || '.example' end from generate_series(1, 6) g;
         insert into contacts (email, phone, custom) select case when g % 4 > 0 then g || '@b.example' end, case when g % 3 = 0 then '+' || g end, jsonb_build_object('k' || g % 3, g) from generate_series(1, 12) g;
         insert into lists (name, target_table, kind) values ('a', 'contacts', 'static'), ('b', 'contacts', 'static'), ('c', 'deals', 'static');
         insert into nodes select g, nullif(g / 2, 0), case when g % 2 = 0 then 'n' || g end, to_jsonb(g) from generate_series(1, 8) g;",
    );
    let any = |numbers: &mut Numbers, table: &str, of: u64| {
        format!("(select id from {table} order by id offset {} limit 1)", numbers.below(of))
    };
    for _ in 0..12 {
        let (contact, company) = (any(numbers, "contacts", 12), any(numbers, "companies", 6));
        sql.push_str(&format!("insert into deals (name, contact_id, company_id, amount_cents) values (null, {contact}, {company}, nullif({}, 0));", numbers.below(3)));
        let contact = any(numbers, "contacts", 12);
        sql.push_str(&format!("update contacts set company_id = {company} where id = {contact};"));
    }
    for _ in 0..30 {
        let (a, b, c) = (any(numbers, "contacts", 12), any(numbers, "contacts", 12), any(numbers, "companies", 6));
        let (d, node) = (any(numbers, "deals", 12), numbers.below(8) + 1);
        let list = if numbers.below(2) == 0 { "a" } else { "b" };
        sql.push_str(&format!(
            "insert into activities (contact_id, company_id, deal_id) values ({a}, {c}, {d});
             insert into emails (contact_ids, company_ids, deal_ids) values (array[{b}, {a}], array[{c}], array[{d}]);
             insert into list_members (list_id, member_id) select id, {a} from lists where name = '{list}' on conflict do nothing;
             insert into list_members (list_id, member_id) select id, {d} from lists where name = 'c' on conflict do nothing;
             insert into joined values ({b}, {node}, 'x') on conflict do nothing;
             insert into associations (from_type, from_id, to_type, to_id, label) values ('contact', {a}, 'contact', {b}, 'l') on conflict do nothing;
             insert into associations (from_type, from_id, to_type, to_id, label) values ('deal', {d}, 'company', {c}, null) on conflict do nothing;"
        ));
    }
    for statements in sql.split_inclusive(';').collect::<Vec<_>>().chunks(40) {
        agent.sql(&statements.concat()).await.status(200);
    }
    agent
}

async fn merges_undone_in_reverse(seed: u64) {
    let mut numbers = Numbers(seed);
    let agent = workspace(&mut numbers).await;
    let mut states = Vec::new();
    for step in 0..8 {
        let table = ["contacts", "companies", "deals", "nodes"][step % 4];
        let mut ids = ids(&agent, table).await;
        let survivor = ids.remove(numbers.below(ids.len() as u64) as usize);
        let from: Vec<String> =
            (0..1 + numbers.below(2)).map(|_| ids.remove(numbers.below(ids.len() as u64) as usize)).collect();
        let told = format!("seed {seed}, step {step}: {table} {survivor} <- {from:?}");
        let before = rows(&agent, &TABLES).await;
        let path = format!("/v1/{table}/{survivor}/merge");
        let reply = agent.post(&path, json!({"from": from})).await;
        assert_eq!(reply.code, 200, "{told}\n{}", reply.story());
        assert_eq!(agent.sql(LOST).await.status(200).v(), json!(0), "{told}");
        let after = rows(&agent, &TABLES).await;
        let count = |state: &Value, at: usize| state[at]["rows"].as_array().map_or(0, Vec::len) as u64;
        for at in 0..TABLES.len() {
            let name = before[at]["t"].as_str().expect("a name");
            let gone = if name == "nodes" && table == "nodes" { from.len() as u64 } else { 0 };
            let dropped = reply.at("/_meta/merged/dropped")[name].as_u64().unwrap_or(0);
            assert_eq!(count(&before, at), count(&after, at) + gone + dropped, "{told}: {name}\n{}", reply.story());
        }
        states.push((before, reply.header("x-request-id"), told));
    }
    for (before, request, told) in states.into_iter().rev() {
        let reply = agent.post(&format!("/v1/requests/{request}/undo"), json!({})).await;
        assert_eq!(reply.code, 200, "{told}\n{}", reply.story());
        assert_eq!(rows(&agent, &TABLES).await, before, "{told}");
    }
}

#[tokio::test]
async fn random_merges_lose_no_reference_and_are_undone_to_the_row() {
    for seed in SEEDS {
        merges_undone_in_reverse(seed).await;
    }
}
