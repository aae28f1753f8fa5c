//! Filters on built-in tables: every form on every column, compared with the result of SQL.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

const FORMS: &[&str] = &["", "_after", "_before", "_gte", "_lte", "_contains", "_starts", "_present", "_has"];

async fn list(agent: &Agent, table: &str, filters: &[(&str, &str)]) -> Reply {
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().extend_pairs(filters);
    agent.get(&format!("/v1/{table}?{}", url.query().unwrap())).await
}

/// Records of every built-in table.
async fn crm() -> Agent {
    let agent = agent().await;
    agent
        .sql(
            r#"insert into companies (id, name, domain, industry, size, custom) values
                 ('co_1', '100% Acme', 'acme.example', 'a_b', '11-50', '{"tier": "gold", "n": 5}'), ('co_2', 'Beta\, Inc.', null, 'ab', null, '{}'), ('co_3', 'ÉCLAIR "x,y"', 'eclair.example', '', '1', '{"tier": null}');
               insert into contacts (id, email, first_name, last_name, phone, title, company_id, custom) values
                 ('c_1', 'Ann@Acme.example', 'Ann', 'O''Hara', '+1 555', 'CTO', 'co_1', '{"plan": "pro", "vip": true}'), ('c_2', 'bob@beta.example', 'Bob', '', null, null, 'co_2', '{}'), ('c_3', null, 'cat', null, null, 'cto', null, '{}');
               insert into deals (id, name, stage, amount_cents, currency, close_date, contact_id, company_id) values
                 ('d_1', 'Big', 'won', 9007199254740993, 'EUR', '2026-03-01', 'c_1', 'co_1'), ('d_2', 'Small', 'lead', 5, 'USD', '2026-02-28', null, null), ('d_3', null, 'odd, stage', null, null, null, 'c_2', null);
               insert into activities (id, type, subject, occurred_at) values ('act_1', 'call', 'Called', '2026-01-01T00:00:00.000001Z'), ('act_2', 'note', null, '2026-01-02');
               insert into emails (id, subject, from_addr, to_addrs, direction, sent_at) values ('e_1', 'Hi', 'ann@acme.example', '{bob@beta.example,"\"x,y\"@z.example"}', 'inbound', '2026-01-01'), ('e_2', null, null, '{}', null, null);
               insert into lists (id, name, target_table) values ('l_1', 'L', 'contacts');
               insert into list_members (id, list_id, member_id) values ('lm_1', 'l_1', 'c_1');
               insert into associations (id, from_type, from_id, to_type, to_id) values ('as_1', 'contact', 'c_1', 'deal', 'd_1');
               insert into custom_fields (id, object_type, key, type, options) values ('fld_1', 'deal', 'k', 'select', '["a"]')"#,
        )
        .await
        .status(200);
    agent
}

#[tokio::test]
async fn each_form_on_each_column_is_answered_or_refused_with_what_to_use() {
    let agent = crm().await;
    let schema = agent.get("/v1/schema").await.status(200).at("/data/tables");
    let mut asked = 0;
    for table in schema.as_array().unwrap() {
        let name = table["name"].as_str().unwrap();
        for column in table["columns"].as_array().unwrap() {
            let (column, kind) = (column["name"].as_str().unwrap(), column["type"].as_str().unwrap());
            for form in FORMS {
                let parameter = format!("{column}{form}");
                let value = match (*form, kind) {
                    ("_present", _) => "true",
                    (_, "timestamp with time zone" | "date") => "2026-01-01",
                    (_, "bigint" | "integer") => "5",
                    (_, "boolean") => "true",
                    _ => "x",
                };
                let reply = list(&agent, name, &[(&parameter, value)]).await;
                asked += 1;
                let ordered = matches!(kind, "timestamp with time zone" | "date" | "bigint" | "integer");
                let texts = matches!(kind, "text" | "citext");
                let array = kind.ends_with("[]");
                let fits = match *form {
                    "" => !array && kind != "jsonb",
                    "_present" => true,
                    "_has" => array,
                    "_contains" | "_starts" => texts,
                    _ => ordered,
                };
                if fits {
                    reply.status(200);
                } else {
                    let reply = reply.fault(400, "invalid_request").says(column).says(kind);
                    assert!(!reply.text("/hint").is_empty(), "{}", reply.story());
                }
            }
        }
    }
    assert!(asked > 1000, "{asked}");
}

#[tokio::test]
async fn rows_are_those_that_sql_would_choose() {
    let agent = crm().await;
    for (table, filters, condition) in [
        ("companies", &[("name", "100% Acme")][..], "name = '100% Acme'"),
        ("companies", &[("name_contains", "%")], "name like '%\\%%'"),
        ("companies", &[("name_contains", "\\")], "position('\\' in name) > 0"),
        ("companies", &[("name_starts", "éclair")], "id = 'co_3'"),
        ("companies", &[("name", "\"Beta\\, Inc.\"")], "id = 'co_2'"),
        ("companies", &[("name", "\"ÉCLAIR \"\"x,y\"\"\",\"Beta\\, Inc.\"")], "id in ('co_2', 'co_3')"),
        ("companies", &[("industry_contains", "_")], "industry = 'a_b'"),
        ("companies", &[("industry", "")], "industry = ''"),
        ("companies", &[("industry", "ab,")], "industry in ('ab', '')"),
        ("companies", &[("domain_present", "false")], "domain is null"),
        ("companies", &[("custom.tier", "gold")], "custom->>'tier' = 'gold'"),
        ("companies", &[("custom.n", "5")], "custom->>'n' = '5'"),
        ("companies", &[("custom.tier", "")], "false"),
        ("companies", &[("id", "cmp_1,co_3")], "id = 'co_3'"),
        ("contacts", &[("email", "ANN@ACME.EXAMPLE")], "id = 'c_1'"),
        ("contacts", &[("email", "ann@acme.example,BOB@beta.example")], "id in ('c_1', 'c_2')"),
        ("contacts", &[("email_contains", "ACME")], "id = 'c_1'"),
        ("contacts", &[("email_starts", "BOB")], "id = 'c_2'"),
        ("contacts", &[("title", "CTO")], "title = 'CTO'"),
        ("contacts", &[("title_contains", "cto")], "id in ('c_1', 'c_3')"),
        ("contacts", &[("last_name", "O'Hara")], "id = 'c_1'"),
        ("contacts", &[("last_name", "")], "id = 'c_2'"),
        ("contacts", &[("last_name_present", "true")], "last_name is not null"),
        ("contacts", &[("company_id", "co_1,co_2"), ("title_present", "true")], "id = 'c_1'"),
        ("contacts", &[("custom.vip", "true"), ("custom.plan", "pro"), ("first_name_starts", "a")], "id = 'c_1'"),
        ("contacts", &[("custom.vip", "true"), ("custom.plan", "free")], "false"),
        ("contacts", &[("first_name_contains", "a"), ("first_name_contains", "n")], "id = 'c_1'"),
        ("deals", &[("amount_cents", "9007199254740993")], "id = 'd_1'"),
        ("deals", &[("amount_cents_gte", "5"), ("amount_cents_lte", "9007199254740992")], "id = 'd_2'"),
        ("deals", &[("amount_cents", "5,9007199254740993")], "amount_cents is not null"),
        ("deals", &[("close_date_after", "2026-02-28")], "id = 'd_1'"),
        ("deals", &[("close_date_before", "2026-02-28")], "id = 'd_2'"),
        ("deals", &[("close_date_gte", "2026-02-28"), ("close_date_lte", "2026-02-28")], "id = 'd_2'"),
        ("deals", &[("close_date", "2026-02-28,2026-03-01")], "close_date is not null"),
        ("deals", &[("stage", "\"odd, stage\"")], "id = 'd_3'"),
        ("deals", &[("stage", "odd, stage")], "false"),
        ("deals", &[("currency_present", "false")], "id = 'd_3'"),
        ("activities", &[("occurred_at", "2026-01-01T00:00:00.000001Z")], "id = 'act_1'"),
        ("activities", &[("occurred_at_after", "2026-01-01T00:00:00.000001Z")], "id = 'act_2'"),
        ("activities", &[("occurred_at_before", "2026-01-01T02:00:00.000001+02:00")], "id = 'act_1'"),
        ("activities", &[("type", "call,note")], "true"),
        ("emails", &[("to_addrs_has", "BOB@BETA.example")], "id = 'e_1'"),
        ("emails", &[("to_addrs_has", r#""""x,y""@z.example""#)], "id = 'e_1'"),
        ("emails", &[("to_addrs_has", r#"bob@beta.example,"""x,y""@z.example""#)], "id = 'e_1'"),
        ("emails", &[("to_addrs_has", "bob@beta.example,nobody@z.example")], "false"),
        ("emails", &[("contact_ids_has", "c_1")], "id = 'e_1'"),
        ("emails", &[("sent_at_present", "false")], "id = 'e_2'"),
        ("pipeline_stages", &[("is_won", "true")], "is_won"),
        ("pipeline_stages", &[("position_gte", "2"), ("position_lte", "3")], "position in (2, 3)"),
        ("pipelines", &[("is_default", "t")], "true"),
        ("list_members", &[("member_id", "c_1"), ("list_id", "l_1")], "true"),
    ] {
        let expected = agent.sql(&format!("select id from {table} where {condition} order by id")).await.status(200);
        let reply = list(&agent, table, filters).await.status(200);
        let mut found = reply.column("id");
        found.sort_by_key(Value::to_string);
        assert_eq!(found, expected.column("id"), "{filters:?}\n{}", reply.story());
    }
}

#[tokio::test]
async fn hidden_rows_are_left_out_asked_for_or_asked_for_alone() {
    let agent = crm().await;
    agent.delete("/v1/contacts/c_1").await.status(200);
    let ids = async |query: &str| {
        let mut found = agent.get(&format!("/v1/contacts?{query}")).await.status(200).column("id");
        found.sort_by_key(Value::to_string);
        found
    };
    assert_eq!(ids("").await, ["c_2", "c_3"]);
    assert_eq!(ids("include_deleted=false&only_deleted=false").await, ["c_2", "c_3"]);
    assert_eq!(ids("include_deleted=true").await, ["c_1", "c_2", "c_3"]);
    assert_eq!(ids("only_deleted=true").await, ["c_1"]);
    assert_eq!(ids("only_deleted=true&include_deleted=true").await, ["c_1"]);
    assert_eq!(ids("only_deleted=true&title=cto").await, Vec::<Value>::new());
    assert_eq!(ids("include_deleted=true&title_contains=CTO").await, ["c_1", "c_3"]);
    assert_eq!(ids("include_deleted=true&deleted_at_present=true").await, ["c_1"]);
    agent.get("/v1/contacts?include_deleted=maybe").await.fault(400, "invalid_request").says("include_deleted");
    // A table without deleted_at has no hidden records.
    assert_eq!(agent.get("/v1/list_members?only_deleted=true").await.status(200).data(), json!([]));
    assert_eq!(agent.get("/v1/list_members?include_deleted=true").await.status(200).column("id"), ["lm_1"]);
}

#[tokio::test]
async fn columns_that_are_really_named_like_a_form_come_first() {
    let agent = crm().await;
    agent
        .sql("alter table contacts add score int, add score_gte int, add limit_ text, add title_contains text, add \"custom.plan\" text;
              update contacts set score = right(id, 1)::int, score_gte = 10 - right(id, 1)::int, title_contains = 't' || id, \"custom.plan\" = 'column'")
        .await
        .status(200);
    let ids = async |query: &str| {
        let mut found = agent.get(&format!("/v1/contacts?{query}")).await.status(200).column("id");
        found.sort_by_key(Value::to_string);
        found
    };
    assert_eq!(ids("score_gte=9").await, ["c_1"]);
    assert_eq!(ids("score_gte_gte=8").await, ["c_1", "c_2"]);
    assert_eq!(ids("score_lte=1").await, ["c_1"]);
    assert_eq!(ids("title_contains=tc_2").await, ["c_2"]);
    assert_eq!(ids("title_contains_contains=TC").await, ["c_1", "c_2", "c_3"]);
    assert_eq!(ids("custom.plan=column").await, ["c_1", "c_2", "c_3"]);
    assert_eq!(ids("custom.plan=pro").await, Vec::<Value>::new());
    // A column with the name of a page parameter can't be filtered by.
    agent.sql("create table odd (id int primary key, \"limit\" text, cursor text)").await.status(200);
    agent.get("/v1/odd?limit=x").await.fault(400, "invalid_request").says("limit");
}

#[tokio::test]
async fn what_is_not_known_is_refused_with_the_nearest_that_is() {
    let agent = crm().await;
    for (query, nearest) in [
        ("emial=x", "email"),
        ("frist_name=x", "first_name"),
        ("first_nam_contains=x", "first_name"),
        ("compny_id=x", "company_id"),
        ("created=x", "created_at"),
        ("limt=5", "limit"),
        ("curser=x", "cursor"),
        ("include_delete=true", "include_deleted"),
        ("metadata.plan=pro", "metadata.plan"),
        ("email.x=pro", "email.x"),
        ("email_like=x", "email_like"),
        ("email_=x", "email"),
    ] {
        let reply = agent.get(&format!("/v1/contacts?{query}")).await.fault(400, "invalid_request");
        let given = query.split('=').next().unwrap();
        assert_eq!(reply.at("/parameter"), given, "{}", reply.story());
        reply.says(nearest);
    }
    for path in ["/v1/contacts/c_1?limit=5", "/v1/tables?x=1", "/v1/schema?x=1", "/v1/contacts/c_2?hard=true"] {
        agent.get(path).await.fault(400, "invalid_request");
    }
    agent.delete("/v1/contacts/c_1?hrad=true").await.fault(400, "invalid_request").says("hard");
    agent.get("/v1/contacts?from_contact=c_1").await.fault(400, "invalid_request");
    agent.get("/v1/contacts?since=2026-01-01").await.fault(400, "invalid_request");
    assert_eq!(agent.get("/v1/contacts").await.status(200).column("id").len(), 3);
}

#[tokio::test]
async fn a_value_of_another_type_names_column_and_type_on_built_in_tables_too() {
    let agent = crm().await;
    for (table, filter, words) in [
        ("deals", "amount_cents=abc", ["amount_cents", "bigint"]),
        ("deals", "amount_cents=", ["amount_cents", "bigint"]),
        ("deals", "amount_cents_gte=1e400", ["amount_cents_gte", "bigint"]),
        ("deals", "amount_cents=5,x", ["amount_cents", "bigint"]),
        ("deals", "close_date=soon", ["close_date", "date"]),
        ("deals", "close_date_after=2026-13-01", ["close_date_after", "date"]),
        ("deals", "created_at_before=", ["created_at_before", "timestamp"]),
        ("contacts", "created_at_after=yesterdayish", ["created_at_after", "timestamp"]),
        ("pipelines", "is_default=perhaps", ["is_default", "boolean"]),
        ("pipelines", "position=1.5", ["position", "integer"]),
        ("contacts", "title_present=1", ["title_present", "true or false"]),
    ] {
        let reply = agent.get(&format!("/v1/{table}?{filter}")).await.fault(400, "invalid_request");
        words.iter().fold(reply, |reply, word| reply.says(word));
        // Once more, with a prepared statement.
        agent.get(&format!("/v1/{table}?{filter}")).await.fault(400, "invalid_request");
    }
}
