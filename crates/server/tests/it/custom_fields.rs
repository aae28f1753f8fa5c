//! Custom fields: defined once, checked at every write, compared as their declared type.

use serde_json::{Value, json};

use crate::support::{Agent, agent, psql, relm};

async fn define(agent: &Agent, key: &str, kind: &str, more: Value) -> String {
    let mut body = json!({"object_type": "contact", "key": key, "label": key, "type": kind});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    agent.post("/v1/schema/fields", body).await.status(201).id()
}

async fn contact(agent: &Agent, custom: Value) -> String {
    agent.post("/v1/contacts", json!({"custom": custom})).await.status(201).id()
}

/// The contacts that Relm's filters find, by their `n`.
async fn found(relm: &Agent, query: &str) -> Vec<i64> {
    let reply = relm.get(&format!("/v1/contacts?{query}")).await.status(200);
    let mut all: Vec<i64> = reply.column("metadata").iter().map(|it| it["n"].as_i64().unwrap()).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn a_declared_key_takes_the_operators_of_a_column() {
    let agent = agent().await;
    define(&agent, "nps", "number", json!({})).await;
    define(&agent, "plan", "text", json!({})).await;
    define(&agent, "renewal", "date", json!({})).await;
    define(&agent, "ask_after", "date", json!({})).await;
    for (n, custom) in [
        json!({"nps": 7, "plan": "Pro yearly", "renewal": "2026-01-31", "ask_after": "2026-05-01"}),
        json!({"nps": 9, "plan": "free", "renewal": "2026-12-01", "free_gte": "9"}),
        json!({"nps": 10, "ask_after": "2026-06-01"}),
    ]
    .into_iter()
    .enumerate()
    {
        agent.post("/v1/contacts", json!({"first_name": n.to_string(), "custom": custom})).await.status(201);
    }
    let ids = async |query: &str| agent.get(&format!("/v1/contacts?{query}")).await.status(200).column("first_name");
    assert_eq!(ids("custom.nps_gte=9").await, ["2", "1"]);
    assert_eq!(ids("custom.nps_gte=8&custom.nps_lte=9.5").await, ["1"]);
    assert_eq!(ids("custom.plan_contains=YEAR").await, ["0"]);
    assert_eq!(ids("custom.plan_starts=fr").await, ["1"]);
    assert_eq!(ids("custom.plan_present=false").await, ["2"]);
    assert_eq!(ids("custom.renewal_after=2026-06-30").await, ["1"]);
    // A declared key of that whole name comes first, and so does any key where the shorter one is not declared.
    assert_eq!(ids("custom.ask_after=2026-05-01").await, ["0"]);
    assert_eq!(ids("custom.free_gte=9").await, ["1"]);
    agent.get("/v1/contacts?custom.plan_gte=a").await.status(400);
}

#[tokio::test]
async fn values_are_held_to_their_type_on_every_door() {
    let agent = agent().await;
    define(&agent, "plan", "select", json!({"options": ["free", "pro"]})).await;
    define(&agent, "seats", "number", json!({})).await;
    define(&agent, "since", "date", json!({})).await;
    define(&agent, "vip", "bool", json!({})).await;
    define(&agent, "note", "text", json!({})).await;
    let good = [
        ("plan", json!(["free", "pro", null])),
        ("seats", json!([0, -1.5, 12345678901234567890_u64, null])),
        ("since", json!(["2026-02-28", "2026-02-28T23:59:60Z", "2026-02-28T10:00:00.123+05:30", null])),
        ("vip", json!([true, false, null])),
        ("note", json!(["", "x", null])),
        ("free", json!([1, "a", [true], {"b": 1}])),
    ];
    for (key, values) in good {
        for value in values.as_array().unwrap() {
            contact(&agent, json!({ key: value })).await;
        }
    }
    let id = contact(&agent, json!({})).await;
    let bad = [
        ("plan", json!(["gold", "", "Free", 1, true, ["free"]])),
        ("seats", json!(["1", true, [1], {"a": 1}])),
        ("since", json!(["2026-02-30", "tomorrow", "2026-2-1", "2026-02-01 10:00:00", 20260201, "2026-02-01T10:00Z"])),
        ("vip", json!(["true", 1, 0])),
        ("note", json!([1, false, {}])),
    ];
    let mut session = psql(&agent).await;
    for (key, values) in bad {
        for value in values.as_array().unwrap() {
            let custom = json!({ key: value });
            for reply in [
                agent.post("/v1/contacts", json!({"custom": custom})).await,
                agent.patch(&format!("/v1/contacts/{id}"), json!({"custom": custom})).await,
            ] {
                let reply = reply.fault(422, "invalid_metadata").says(key);
                assert_eq!(reply.at("/field"), key, "{}", reply.story());
            }
            let sql = "insert into contacts (custom) values ($1)";
            let reply = agent.sql_with(sql, json!([custom])).await.fault(400, "sql_error").says(key);
            assert_eq!(reply.at("/code"), "KF001", "{}", reply.story());
            session.query("insert into contacts (custom) values ($1)", &[Some(&custom.to_string())]).await.unwrap_err();
        }
    }
    // Records of other tables are not affected.
    agent.post("/v1/deals", json!({"name": "D", "custom": {"plan": 7}})).await.status(201);
}

#[tokio::test]
async fn a_field_that_is_required_may_not_be_left_out() {
    let agent = agent().await;
    let before = contact(&agent, json!({"plan": 7})).await;
    let id = define(&agent, "plan", "text", json!({"required": true})).await;
    for custom in [json!({}), json!({"plan": null}), json!({"other": 1})] {
        let reply = agent.post("/v1/contacts", json!({"custom": custom})).await;
        reply.fault(422, "invalid_metadata").says("required");
    }
    // A value that is older than the definition is checked when it changes, and does not block changes of other keys.
    let path = format!("/v1/contacts/{before}");
    agent.patch(&path, json!({"first_name": "Ada"})).await.status(200);
    agent.patch(&path, json!({"custom": {"other": 1}})).await.status(200);
    agent.patch(&path, json!({"custom": {"plan": 8}})).await.fault(422, "invalid_metadata");
    agent.patch(&path, json!({"custom": {"plan": "pro"}})).await.status(200);
    agent.patch(&path, json!({"custom": {"plan": null}})).await.fault(422, "invalid_metadata");
    agent.patch(&path, json!({"custom": null})).await.fault(422, "invalid_metadata");
    agent.patch(&format!("/v1/schema/fields/{id}"), json!({"required": false})).await.status(200);
    agent.patch(&path, json!({"custom": null})).await.status(200);
}

#[tokio::test]
async fn a_definition_says_what_is_wrong_with_it() {
    let agent = agent().await;
    let base = json!({"object_type": "contact", "key": "k", "type": "text"});
    for (change, field, says) in [
        (json!({"type": "integer"}), "type", "text, number, date, bool, select"),
        (json!({"object_type": "email"}), "object_type", "contact, company, deal, activity"),
        (json!({"key": ""}), "key", "must begin with"),
        (json!({"key": "a key"}), "key", "must begin with"),
        (json!({"key": "1st"}), "key", "must begin with"),
        (json!({"key": "k".repeat(64)}), "key", "must begin with"),
        (json!({"type": "select"}), "options", "at least one"),
        (json!({"type": "select", "options": []}), "options", "at least one"),
        (json!({"type": "select", "options": "a"}), "options", "array"),
        (json!({"type": "select", "options": ["a", 1]}), "options", "array of strings"),
        (json!({"type": "select", "options": ["a", ""]}), "options", "empty"),
        (json!({"type": "select", "options": ["a", "b", "a"]}), "options", "twice"),
        (json!({"key": null}), "key", "null"),
    ] {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let reply = agent.post("/v1/schema/fields", body).await.fault(422, "validation_failed").says(says);
        assert_eq!(reply.at("/field"), field, "{}", reply.story());
    }
    let first = agent.post("/v1/schema/fields", base.clone()).await.status(201);
    let taken = agent.post("/v1/schema/fields", base.clone()).await.fault(409, "conflict");
    assert_eq!(taken.at("/existing_id"), first.id());
    let mut other = base.clone();
    other["object_type"] = json!("deal");
    agent.post("/v1/schema/fields", other).await.status(201);
    assert_eq!(agent.get("/v1/schema/fields?object_type=contact").await.status(200).column("id"), [json!(first.id())]);
    let path = format!("/v1/schema/fields/{}", first.id());
    agent.patch(&path, json!({"type": "select"})).await.fault(422, "validation_failed");

    // Deleting the definition keeps the values, and the answer says so. The key is free again.
    let contact = contact(&agent, json!({"k": "v"})).await;
    let gone = agent.delete(&path).await.status(200);
    assert!(gone.text("/_meta/note").contains("values stay"), "{}", gone.story());
    assert_eq!(agent.get(&format!("/v1/contacts/{contact}")).await.data()["custom"], json!({"k": "v"}));
    agent.patch(&format!("/v1/contacts/{contact}"), json!({"custom": {"k": 7}})).await.status(200);
    agent.post("/v1/schema/fields", base).await.status(201);
}

#[tokio::test]
async fn filters_compare_as_the_declared_type() {
    let relm = relm().await;
    // Values of every type, before there is a definition.
    let values = json!([
        {"score": 9, "since": "2026-01-31", "vip": true, "plan": "pro"},
        {"score": 10.50, "since": "2026-02-01T00:30:00+02:00", "vip": false, "plan": "free"},
        {"score": "10.5", "since": "not a date", "vip": "true", "plan": 5},
        {"score": 100, "since": "2026-02-01", "vip": null, "plan": "pro, or not"},
        {"score": null, "since": {"a": 1}, "plan": ["pro"]},
        {"score": [1], "since": 20260201},
    ]);
    for (n, value) in values.as_array().unwrap().iter().enumerate() {
        let mut metadata = value.clone();
        metadata["n"] = json!(n);
        relm.post("/v1/contacts", json!({"metadata": metadata})).await.status(201);
    }
    let key = |key: &str| format!("filter%5Bmetadata-%3E%3E{key}%5D");
    // Without a declaration, all values are text.
    assert_eq!(found(&relm, &format!("{}=10.5", key("score"))).await, [1, 2]);
    let reply = relm.get(&format!("/v1/contacts?{}[gte]=10", key("score"))).await.status(400);
    assert_eq!(reply.at("/error/code"), "invalid_request", "{}", reply.story());
    for (name, kind) in [("score", "number"), ("since", "date"), ("vip", "bool"), ("plan", "text")] {
        let body = json!({"object_type": "contact", "key": name, "label": name, "type": kind});
        relm.post("/v1/schema/fields", body).await.status(201);
    }
    for (name, condition, expected) in [
        ("score", "=10.5", &[1][..]),
        ("score", "=10.500", &[1]),
        ("score", "[eq]=9", &[0]),
        ("score", "[gt]=9", &[1, 3]),
        ("score", "[gte]=9", &[0, 1, 3]),
        ("score", "[lt]=10.5", &[0]),
        ("score", "[lte]=10.5", &[0, 1]),
        ("score", "[neq]=9", &[1, 2, 3, 4, 5]),
        ("score", "[in]=9,100.0,7", &[0, 3]),
        ("since", "=2026-02-01", &[3]),
        ("since", "[gte]=2026-02-01", &[3]),
        ("since", "[lt]=2026-02-01", &[0, 1]),
        ("since", "[gt]=2026-01-31T12:00:00Z", &[1, 3]),
        ("vip", "=true", &[0]),
        ("vip", "=false", &[1]),
        ("vip", "[neq]=true", &[1, 2, 3, 4, 5]),
        ("plan", "=pro", &[0]),
        ("plan", "[in]=free,5", &[1, 2]),
        ("plan", "[neq]=pro", &[1, 2, 3, 4, 5]),
    ] {
        assert_eq!(found(&relm, &format!("{}{condition}", key(name))).await, expected, "{name}{condition}");
    }
    for (name, condition, says) in [
        ("score", "=ten", "numeric"),
        ("score", "[gte]=", "numeric"),
        ("score", "[in]=1,two", "numeric"),
        ("since", "[lt]=someday", "timestamp"),
        ("vip", "=perhaps", "boolean"),
        ("vip", "[gt]=true", "bool"),
        ("plan", "[gt]=a", "text"),
        ("score", "[ilike]=1", "number"),
    ] {
        let reply = relm.get(&format!("/v1/contacts?{}{condition}", key(name))).await.status(400);
        assert_eq!(reply.at("/error/code"), "invalid_request", "{}", reply.story());
        let message = reply.text("/error/message");
        assert!(message.contains(says) && message.contains(name), "{}", reply.story());
    }
    // If SQL changes the declared type, they are compared as that type immediately.
    relm.sql("update custom_fields set type = 'text' where key = 'score'").await.status(200);
    assert_eq!(found(&relm, &format!("{}=10.5", key("score"))).await, [1, 2]);
    relm.sql("delete from custom_fields where key = 'score'").await.status(200);
    assert_eq!(found(&relm, &format!("{}=9", key("score"))).await, [0]);
}

#[tokio::test]
async fn a_field_has_an_index_as_long_as_it_is_defined() {
    let agent = agent().await;
    agent.sql("insert into contacts (custom) select jsonb_build_object('plan', 'p' || n % 50, 'seats', n % 100) from generate_series(1, 5000) n").await.status(200);
    let plan = define(&agent, "plan", "text", json!({})).await;
    let seats = define(&agent, "seats", "number", json!({})).await;
    agent.sql("analyze contacts").await.status(200);
    let indexes = async || {
        let sql = "select indexname as v from pg_indexes where indexname like 'kith\\_fld\\_%' order by 1";
        agent.sql(sql).await.status(200).column("v")
    };
    assert_eq!(indexes().await, [json!(format!("kith_{plan}")), json!(format!("kith_{seats}"))]);
    // The conditions of lists (crates/crm/src/sql) use the index.
    for (condition, index) in
        [("kith.custom_text(t.custom, E'plan') = 'p7'", &plan), ("kith.custom_number(t.custom, E'seats') = 7", &seats)]
    {
        let sql = format!(
            "explain select t.* from contacts as t where true and t.deleted_at is null and {condition}
             order by t.created_at desc, t.id desc limit 51"
        );
        let lines: Vec<Value> = agent.sql(&sql).await.status(200).column("QUERY PLAN");
        let text = lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n");
        assert!(text.contains(&format!("kith_{index}")), "{text}");
    }
    // Texts of any length and numbers of any size can still be stored.
    let long = "x".repeat(20_000);
    let id = contact(&agent, json!({"plan": long})).await;
    assert_eq!(
        agent.get(&format!("/v1/contacts?custom.plan={}", &long[..3000])).await.status(200).column("id"),
        [] as [Value; 0]
    );
    agent
        .sql("insert into contacts (custom) values (jsonb_build_object('seats', ('1' || repeat('3', 20000))::numeric))")
        .await
        .status(200);
    let sql = "select count(*)::int as v from contacts where kith.custom_text(custom, 'plan') = repeat('x', 200)";
    assert_eq!(agent.sql(sql).await.status(200).v(), 1);
    agent.delete(&format!("/v1/contacts/{id}")).await.status(200);

    // A new type gets a new index. A new label does not.
    agent.patch(&format!("/v1/schema/fields/{plan}"), json!({"label": "Plan"})).await.status(200);
    assert_eq!(indexes().await.len(), 2);
    let definition = format!("select indexdef as v from pg_indexes where indexname = 'kith_{plan}'");
    assert!(agent.sql(&definition).await.v().as_str().unwrap().contains("custom_text"));
    agent.patch(&format!("/v1/schema/fields/{plan}"), json!({"type": "bool"})).await.status(200);
    assert!(agent.sql(&definition).await.v().as_str().unwrap().contains("custom_bool"));
    agent.delete(&format!("/v1/schema/fields/{plan}")).await.status(200);
    agent.sql(&format!("delete from custom_fields where id = '{seats}'")).await.status(200);
    assert_eq!(indexes().await, [] as [Value; 0]);
    agent.post(&format!("/v1/custom_fields/{plan}/restore"), json!({})).await.status(200);
    assert_eq!(indexes().await.len(), 1);
}

#[tokio::test]
async fn the_hours_of_a_date_end_at_23() {
    let agent = agent().await;
    define(&agent, "since", "date", json!({})).await;
    for (text, status) in [
        ("2026-01-31T23:59:59Z", 201),
        ("2026-12-31T23:59:60Z", 201),
        ("2026-01-31T24:00:00Z", 422),
        ("2026-01-31T24:00:00.0+02:00", 422),
    ] {
        agent.post("/v1/contacts", json!({"custom": {"since": text}})).await.status(status);
    }
}
