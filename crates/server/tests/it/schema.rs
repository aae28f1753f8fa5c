//! `/v1/tables` and `/v1/schema`: everything that an agent needs to write a join.

use crm::model::entity::ENTITIES;
use serde_json::{Value, json};

use crate::support::{Agent, agent, both};

async fn schema(agent: &Agent) -> Value {
    agent.get("/v1/schema").await.status(200).data()
}

fn table<'a>(schema: &'a Value, name: &str) -> &'a Value {
    schema["tables"]
        .as_array()
        .unwrap()
        .iter()
        .find(|table| table["name"] == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn tables_are_listed_with_their_kind_and_size() {
    let agent = agent().await;
    agent.sql("create table zeta (id int primary key); create view alpha as select 1 as id; insert into zeta select generate_series(1, 500)").await.status(200);
    let tables = agent.get("/v1/tables").await.status(200);
    let names = tables.column("name");
    assert_eq!(names.len(), ENTITIES.len() + 2, "{}", tables.story());
    assert_eq!(names[ENTITIES.len()..], ["alpha", "zeta"], "the built-in ones come first");
    for (row, name) in tables.data().as_array().unwrap().iter().zip(&names) {
        assert_eq!(keys(row), ["estimated_rows", "kind", "name"]);
        let builtin = ENTITIES.iter().any(|entity| entity.table == name);
        assert_eq!(row["kind"], if builtin { "builtin" } else { "custom" }, "{row}");
        assert!(row["estimated_rows"].as_u64().is_some(), "{row}");
    }
    agent.sql("analyze zeta").await.status(200);
    let tables = agent.get("/v1/tables").await.status(200).data();
    assert_eq!(tables.as_array().unwrap().last().unwrap()["estimated_rows"], 500);
    // Every one of them can be requested.
    for name in names {
        agent.get(&format!("/v1/{}", name.as_str().unwrap())).await.status(200);
    }
}

#[tokio::test]
async fn the_schema_says_what_every_built_in_column_is_for() {
    let agent = agent().await;
    let schema = schema(&agent).await;
    assert_eq!(keys(&schema), ["enums", "tables"]);
    assert_eq!(schema["tables"].as_array().unwrap().len(), ENTITIES.len());
    for entity in ENTITIES {
        let table = table(&schema, entity.table);
        assert_eq!(keys(table), ["columns", "comment", "foreign_keys", "indexes", "kind", "name", "primary_key"]);
        assert_eq!((&table["kind"], &table["primary_key"]), (&json!("builtin"), &json!(["id"])), "{}", entity.table);
        assert!(table["comment"].as_str().is_some_and(|it| it.len() > 5), "{} has no comment", entity.table);
        let columns = table["columns"].as_array().unwrap();
        for column in columns {
            assert_eq!(keys(column), ["comment", "default", "description", "generated", "name", "nullable", "type"]);
            assert!(
                column["comment"].as_str().is_some_and(|it| it.len() > 5),
                "{}.{column} has no comment",
                entity.table
            );
        }
        let names: Vec<&str> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
        for column in entity.columns() {
            assert!(names.contains(&column.name), "{}.{}", entity.table, column.name);
        }
        assert_eq!(names.len(), entity.columns().count(), "{names:?}");
    }
    let contacts = table(&schema, "contacts");
    assert!(contacts["columns"].as_array().unwrap().iter().all(|column| column["generated"].is_null()));
    let email = contacts["columns"].as_array().unwrap().iter().find(|column| column["name"] == "email").unwrap();
    assert_eq!((&email["type"], &email["nullable"], &email["default"]), (&json!("citext"), &json!(true), &Value::Null));
    let expected = json!([{"columns": ["company_id"], "references": {"table": "companies", "columns": ["id"]}, "on_delete": "no action"}]);
    assert_eq!(contacts["foreign_keys"], expected);
    let key =
        contacts["indexes"].as_array().unwrap().iter().find(|index| index["name"] == "contacts_email_key").unwrap();
    assert_eq!(key["unique"], true);
    assert!(key["definition"].as_str().unwrap().starts_with("CREATE UNIQUE INDEX"), "{key}");
    let members = &table(&schema, "list_members")["foreign_keys"][0];
    assert_eq!((&members["on_delete"], &members["references"]["table"]), (&json!("cascade"), &json!("lists")));
    let stages = table(&schema, "deals")["foreign_keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["columns"].as_array().unwrap().len() == 2);
    assert_eq!(stages.unwrap()["references"], json!({"table": "pipeline_stages", "columns": ["pipeline", "key"]}));
}

#[tokio::test]
async fn what_the_workspace_made_is_described_as_fully() {
    let agent = agent().await;
    agent
        .sql(
            r#"create type mood as enum ('sad', 'it''s "ok"');
               create domain score as int check (value > 0);
               create table "Odd Table" (a int, "B c" text default 'x''y', primary key ("B c", a));
               create table things (id bigint generated always as identity primary key, m mood not null default 'sad', n numeric(10,2), s score, tags text[],
                 v vector(3), at timestamptz(3) default now(), twice int generated always as (1 + 1) stored, contact_id text references contacts on delete set null,
                 odd_a int, odd_b text, foreign key (odd_b, odd_a) references "Odd Table" on delete cascade on update cascade, gone int);
               alter table things drop column gone;
               create index things_tags on things using gin (tags);
               create unique index things_m on things (lower(m::text)) where id > 5;
               create view seen as select id, m from things;
               create materialized view kept as select id from things;
               comment on table things is 'What we have';
               comment on column things.m is 'How it feels';
               comment on column seen.m is 'How it seems'"#
                .replace("lower(m::text)", "m")
                .as_str(),
        )
        .await
        .status(200);
    let schema = schema(&agent).await;
    assert_eq!(schema["enums"], json!([{"name": "mood", "values": ["sad", "it's \"ok\""]}]));
    let things = table(&schema, "things");
    assert_eq!(
        (&things["kind"], &things["comment"], &things["primary_key"]),
        (&json!("custom"), &json!("What we have"), &json!(["id"]))
    );
    let generated = |name: &str| {
        let columns = things["columns"].as_array().unwrap();
        columns.iter().find(|column| column["name"] == name).unwrap()["generated"].clone()
    };
    assert_eq!(["id", "twice", "m", "at"].map(generated), [json!("always"), json!("always"), Value::Null, Value::Null]);
    let columns: Vec<(&str, &str, bool)> = things["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| {
            (column["name"].as_str().unwrap(), column["type"].as_str().unwrap(), column["nullable"].as_bool().unwrap())
        })
        .collect();
    let expected = [
        ("id", "bigint", false),
        ("m", "mood", false),
        ("n", "numeric(10,2)", true),
        ("s", "score", true),
        ("tags", "text[]", true),
        ("v", "vector(3)", true),
        ("at", "timestamp(3) with time zone", true),
        ("twice", "integer", true),
        ("contact_id", "text", true),
        ("odd_a", "integer", true),
        ("odd_b", "text", true),
    ];
    assert_eq!(columns, expected);
    assert_eq!(things["columns"][1]["default"], "'sad'::mood");
    assert_eq!(things["columns"][1]["comment"], "How it feels");
    assert_eq!(things["columns"][2]["comment"], Value::Null);
    let references = |at: usize| {
        (
            things["foreign_keys"][at]["columns"].clone(),
            things["foreign_keys"][at]["references"].clone(),
            things["foreign_keys"][at]["on_delete"].clone(),
        )
    };
    assert_eq!(
        references(0),
        (json!(["contact_id"]), json!({"table": "contacts", "columns": ["id"]}), json!("set null"))
    );
    assert_eq!(
        references(1),
        (json!(["odd_b", "odd_a"]), json!({"table": "Odd Table", "columns": ["B c", "a"]}), json!("cascade"))
    );
    let indexes: Vec<(&Value, &Value)> =
        things["indexes"].as_array().unwrap().iter().map(|index| (&index["name"], &index["unique"])).collect();
    assert_eq!(
        indexes,
        [
            (&json!("things_m"), &json!(true)),
            (&json!("things_pkey"), &json!(true)),
            (&json!("things_tags"), &json!(false))
        ]
    );
    assert!(things["indexes"][2]["definition"].as_str().unwrap().contains("USING gin (tags)"));
    assert_eq!(table(&schema, "Odd Table")["primary_key"], json!(["B c", "a"]));
    let seen = table(&schema, "seen");
    assert_eq!((&seen["primary_key"], &seen["foreign_keys"], &seen["indexes"]), (&json!([]), &json!([]), &json!([])));
    assert_eq!(seen["columns"][1]["comment"], "How it seems");
    table(&schema, "kept");
    // The schema's information is enough for the join that it describes.
    let join = "select t.id from things t join contacts c on c.id = t.contact_id join \"Odd Table\" o on (o.\"B c\", o.a) = (t.odd_b, t.odd_a)";
    agent.sql(join).await.status(200);
}

#[tokio::test]
async fn the_tables_are_listed_in_pages() {
    let (relm, agentcrm) = both().await;
    agentcrm.sql("create table zz (id int primary key); create table aa (id int primary key)").await.status(200);
    let all = relm.get("/v1/tables").await.status(200).json();
    assert_eq!((&all["has_more"], &all["next_cursor"]), (&json!(false), &Value::Null));
    let mut found = Vec::new();
    let mut path = "/v1/tables?limit=5".to_owned();
    loop {
        let page = relm.get(&path).await.status(200).json();
        let data = page["data"].as_array().expect("tables");
        assert!(data.len() <= 5 && !data.is_empty());
        found.extend(data.iter().map(|it| it["name"].clone()));
        assert_eq!(page["has_more"] == true, page["next_cursor"].is_string());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert_eq!(data.len(), 5);
        path = format!("/v1/tables?limit=5&cursor={cursor}");
    }
    let names: Vec<Value> = all["data"].as_array().expect("tables").iter().map(|it| it["name"].clone()).collect();
    assert_eq!(found, names);
    assert!(names.contains(&json!("zz")));
    let page = agentcrm.get("/v1/tables?limit=5").await.status(200);
    assert_eq!(page.at("/_meta/has_more"), true);
    assert_eq!(page.data().as_array().expect("tables").len(), 5);
    relm.get("/v1/tables?cursor=x").await.fault(400, "invalid_cursor");
    relm.get("/v1/tables?sort=name").await.status(400);
}
