//! Saved lists: conditions on a table and the records that it refers to, static members, projections, orders, pages.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both};

/// Creates a list. Returns the path of its rows.
async fn list(agent: &Agent, body: Value) -> String {
    let mut body = body;
    body["name"] = json!("L");
    format!("/v1/lists/{}/rows", agent.post("/v1/lists", body).await.status(201).id())
}

async fn rows(agent: &Agent, body: Value) -> Reply {
    agent.get(&list(agent, body).await).await
}

/// The id in the path of a list's rows.
fn id_of(path: &str) -> &str {
    path.split('/').nth(3).expect("an id")
}

/// Creates a list by SQL, which does not check its definition. Returns the path of its rows.
async fn unchecked(agent: &Agent, mut body: Value) -> String {
    body["name"] = json!("L");
    let sql = "insert into lists (name, target_table, kind, filter_predicate, filter_params, config)
               select l.name, l.target_table, coalesce(l.kind, 'dynamic'), l.filter_predicate, coalesce(l.filter_params, '[]'), coalesce(l.config, '{}')
                 from jsonb_populate_record(null::lists, $1) l returning id as v";
    let made = agent.sql_with(sql, json!([body])).await.status(200);
    format!("/v1/lists/{}/rows", made.text("/data/rows/0/v"))
}

/// A wrong list: the error of reading it. The same text is the error of writing it by REST, in both dialects.
async fn wrong(agent: &Agent, relm: &Agent, body: Value) -> Reply {
    let read = agent.get(&unchecked(agent, body.clone()).await).await;
    let whole = agent.post("/v1/lists", json!({"name": "R", "target_table": "contacts"})).await.status(201).id();
    let mut create = body.clone();
    create["name"] = json!("L");
    for client in [agent, relm] {
        let key = format!("{whole} {}", client.key);
        let keyed = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        for written in [
            client.post("/v1/lists", create.clone()).await,
            client.patch(&format!("/v1/lists/{whole}"), body.clone()).await,
            client.send(Method::POST, "/v1/lists", &keyed, create.to_string()).await,
        ] {
            let written = written.fault(422, "validation_failed");
            assert_eq!(written.error()["message"], read.error()["message"], "{}", written.story());
            let field = written.error()["field"].clone();
            let fields = ["filter_predicate", "filter_params", "config", "target_table"];
            assert!(field.as_str().is_some_and(|field| fields.contains(&field)), "{}", written.story());
        }
    }
    read
}

/// All rows of all pages.
async fn walk(agent: &Agent, path: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = agent.get(&format!("{path}?limit={limit}&cursor={cursor}")).await.status(200);
        all.extend(reply.data().as_array().unwrap().iter().cloned());
        assert!(all.len() < 1000, "it does not end");
        match reply.at("/_meta/next_cursor") {
            Value::String(next) => cursor = next,
            _ => return all,
        }
    }
}

/// Two companies, five contacts, three deals.
async fn crm() -> Agent {
    let agent = agent().await;
    agent
        .sql(
            r#"insert into companies (id, name, domain, size) values ('co_a', 'Acme', 'acme.example', '11-50'), ('co_b', 'Beta', 'beta.example', null);
               insert into contacts (id, email, first_name, title, company_id, custom, created_at) values
                 ('c_1', 'one@acme.example', 'One', 'CTO', 'co_a', '{"plan": "pro", "seats": 5}', '2026-01-01'),
                 ('c_2', 'two@acme.example', 'Two', 'CEO', 'co_a', '{"plan": "free", "seats": 10}', '2026-01-02'),
                 ('c_3', 'three@beta.example', 'Three', 'CTO', 'co_b', '{"plan": null}', '2026-01-03'),
                 ('c_4', null, 'Four', null, null, '{}', '2026-01-04'),
                 ('c_5', 'five@beta.example', 'Five', 'CTO', 'co_b', '{"plan": "pro", "seats": 1}', '2026-01-04');
               insert into deals (id, name, amount_cents, contact_id, company_id, close_date) values
                 ('d_1', 'Big', 500, 'c_1', 'co_a', '2026-03-01'), ('d_2', 'Small', 5, 'c_3', 'co_b', null), ('d_3', 'Loose', null, null, null, '2026-01-01')"#,
        )
        .await
        .status(200);
    agent
}

#[tokio::test]
async fn a_predicate_is_sql_over_the_table_and_what_it_refers_to() {
    let agent = crm().await;
    for (table, predicate, params, expected) in [
        ("contacts", "title = 'CTO'", json!([]), vec!["c_5", "c_3", "c_1"]),
        ("contacts", "title ILIKE $1 AND company.name = $2", json!(["ct%", "Beta"]), vec!["c_5", "c_3"]),
        ("contacts", "contacts.title = $1", json!(["CEO"]), vec!["c_2"]),
        ("contacts", "email = $1", json!(["ONE@acme.example"]), vec!["c_1"]),
        ("contacts", "company.id IS NULL", json!([]), vec!["c_4"]),
        ("contacts", "(custom->>'seats')::int >= $1", json!([5]), vec!["c_2", "c_1"]),
        ("contacts", "custom @> $1", json!([{"plan": "pro"}]), vec!["c_5", "c_1"]),
        ("contacts", "first_name = ANY ($1)", json!([["One", "Five"]]), vec!["c_5", "c_1"]),
        ("contacts", "created_at > $1::timestamptz", json!(["2026-01-03T12:00:00Z"]), vec!["c_5", "c_4"]),
        ("contacts", "id IN (SELECT contact_id FROM deals WHERE amount_cents > $1)", json!([100]), vec!["c_1"]),
        ("contacts", "EXISTS (SELECT FROM deals d WHERE d.contact_id = contacts.id)", json!([]), vec!["c_3", "c_1"]),
        ("contacts", "$1 AND title IS NOT NULL", json!([true]), vec!["c_5", "c_3", "c_2", "c_1"]),
        ("contacts", "title = 'CTO' -- a comment; not a statement", json!([]), vec!["c_5", "c_3", "c_1"]),
        ("contacts", "first_name = ';' OR first_name = 'Four' /* ; */", json!([]), vec!["c_4"]),
        ("contacts", "title = 'CEO';", json!([]), vec!["c_2"]),
        ("contacts", "", json!([]), vec!["c_5", "c_4", "c_3", "c_2", "c_1"]),
        ("contacts", "NULL::boolean", json!([]), vec![]),
        ("deals", "contact.title = 'CTO' AND company.name <> 'Beta'", json!([]), vec!["d_1"]),
        ("deals", "amount_cents BETWEEN $1 AND $2", json!([1, 100]), vec!["d_2"]),
        ("deals", "close_date < $1", json!(["2026-02-01"]), vec!["d_3"]),
        ("companies", "size = $1", json!(["11-50"]), vec!["co_a"]),
    ] {
        let body = json!({"target_table": table, "filter_predicate": predicate, "filter_params": params});
        let reply = rows(&agent, body).await.status(200);
        assert_eq!(reply.column("id"), expected, "{predicate}\n{}", reply.story());
        assert_eq!(reply.at("/_meta/has_more"), false);
    }
    // Hidden rows are in no list, and hidden lists are not served.
    let path = list(&agent, json!({"target_table": "contacts", "filter_predicate": "title = 'CTO'"})).await;
    agent.delete("/v1/contacts/c_3").await.status(200);
    assert_eq!(agent.get(&path).await.status(200).column("id"), ["c_5", "c_1"]);
    agent.delete(path.trim_end_matches("/rows")).await.status(200);
    agent.get(&path).await.fault(404, "not_found");
    agent.get("/v1/lists/l_none/rows").await.fault(404, "not_found");
}

#[tokio::test]
async fn a_list_shows_the_columns_that_it_names() {
    let agent = crm().await;
    let columns = json!(["email", "company.name", "custom.plan", "company.size", "id"]);
    let body = json!({"target_table": "contacts", "config": {"columns": columns, "order": ["first_name"]}});
    let reply = rows(&agent, body).await.status(200);
    let expected = json!({"email": "five@beta.example", "company.name": "Beta", "custom.plan": "pro", "company.size": null, "id": "c_5"});
    assert_eq!(reply.at("/data/0"), expected);
    assert_eq!(reply.at("/data/1/company.name"), Value::Null);
    let keys: Vec<String> = serde_json::from_value::<serde_json::Map<String, Value>>(reply.at("/data/0"))
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys.len(), 5);
    let body = json!({"target_table": "deals", "filter_predicate": "id = 'd_1'", "config": {"columns": ["name", "contact.email", "company.domain"]}});
    let reply = rows(&agent, body).await.status(200);
    assert_eq!(
        reply.data(),
        json!([{"name": "Big", "contact.email": "one@acme.example", "company.domain": "acme.example"}])
    );
    // Without a projection: the row as GET by id returns it, without its related records.
    let reply = rows(&agent, json!({"target_table": "contacts", "filter_predicate": "id = 'c_1'"})).await.status(200);
    let mut whole = agent.get("/v1/contacts/c_1").await.status(200).data();
    whole.as_object_mut().unwrap().remove("company");
    assert_eq!(reply.at("/data/0"), whole);
}

#[tokio::test]
async fn an_order_goes_both_ways_and_pages_go_to_its_end() {
    let agent = crm().await;
    agent
        .sql("alter table contacts add tags text[], add score float8, add day date;
              insert into contacts (id, first_name, title, custom, tags, score, day)
              select 'c_n' || g, 'N' || g % 3, case when g % 4 > 0 then 't' || g % 4 end, jsonb_build_object('plan', 'p' || g % 2, 'seats', g % 5),
                     array['x', 'y' || g % 3], case when g % 5 > 0 then g / 7.0 end, case when g % 3 > 0 then '2026-01-01'::date + g % 4 end
                from generate_series(1, 20) g")
        .await
        .status(200);
    for (order, sql) in [
        (json!(["first_name"]), "t.first_name, t.id"),
        (json!(["-first_name"]), "t.first_name desc, t.id desc"),
        (json!(["title", "-created_at"]), "t.title, t.created_at desc, t.id desc"),
        (json!(["-title", "first_name"]), "t.title desc, t.first_name, t.id"),
        (json!(["company.name", "-email"]), "company.name, t.email desc, t.id desc"),
        (json!(["-company.name"]), "company.name desc, t.id desc"),
        (json!(["custom.plan", "id"]), "t.custom -> 'plan', t.id"),
        (json!(["-custom.seats"]), "t.custom -> 'seats' desc, t.id desc"),
        (json!(["tags"]), "t.tags, t.id"),
        (json!(["-tags", "score"]), "t.tags desc, t.score, t.id"),
        (json!(["score"]), "t.score, t.id"),
        (json!(["-day", "-score"]), "t.day desc, t.score desc, t.id desc"),
        (json!([]), "t.created_at desc, t.id desc"),
    ] {
        let sql = format!(
            "select t.id from contacts t left join companies company on company.id = t.company_id order by {sql}"
        );
        let expected = agent.sql(&sql).await.status(200).column("id");
        let path =
            list(&agent, json!({"target_table": "contacts", "config": {"columns": ["id"], "order": order}})).await;
        for limit in [1, 3, 200] {
            let found: Vec<Value> = walk(&agent, &path, limit).await.iter().map(|row| row["id"].clone()).collect();
            assert_eq!(found, expected, "{order} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_list_and_page_parameters_are_checked() {
    let agent = crm().await;
    let path = list(&agent, json!({"target_table": "contacts"})).await;
    let cursor = agent.get(&format!("{path}?limit=2")).await.status(200).text("/_meta/next_cursor");
    let other = list(&agent, json!({"target_table": "contacts"})).await;
    agent.get(&format!("{other}?cursor={cursor}")).await.fault(400, "invalid_cursor");
    agent.get(&format!("/v1/contacts?cursor={cursor}")).await.fault(400, "invalid_cursor");
    agent.patch(path.trim_end_matches("/rows"), json!({"config": {"order": ["email"]}})).await.status(200);
    agent.get(&format!("{path}?cursor={cursor}")).await.fault(400, "invalid_cursor");
    agent.get(&format!("{path}?limit=0")).await.fault(400, "invalid_request");
    agent.get(&format!("{path}?title=CTO")).await.fault(400, "invalid_request").says("title");
}

#[tokio::test]
async fn a_predicate_that_is_wrong_is_refused_with_the_text_of_a_read() {
    let (relm, agent) = both().await;
    for (predicate, sqlstate) in [
        ("nope = 1", "42703"),
        ("title =", "42601"),
        ("title", "42804"),
        ("amount > 5", "42703"),
        ("company.nope = 1", "42703"),
        ("1 / 0 > 1", "22012"),
        ("(SELECT true FROM nowhere)", "42P01"),
        ("pg_read_file('/etc/passwd') > ''", "42501"),
        // A predicate is a condition on one row.
        ("count(*) > 0", "42803"),
        ("count(contacts.id) > 0", "42803"),
        ("count(company.id) > 0", "42803"),
        ("max(email) filter (where true) > ''", "42803"),
        ("row_number() over () = 1", "42P20"),
        ("first_value(email) over (order by id) = 'x'", "42P20"),
        ("generate_series(1, 2) = 1", "0A000"),
    ] {
        let reply = wrong(&agent, &relm, json!({"target_table": "contacts", "filter_predicate": predicate})).await;
        let status = if sqlstate == "42501" { 403 } else { 400 };
        let reply = reply.fault(status, "sql_error");
        assert_eq!((reply.at("/code"), reply.at("/position")), (json!(sqlstate), Value::Null), "{}", reply.story());
    }
    for (body, words) in [
        (json!({"filter_predicate": "true; delete from contacts"}), "one SQL boolean"),
        (json!({"filter_predicate": "true) OR (true"}), "one SQL boolean"),
        (json!({"filter_predicate": "true) AS holds) AS p; DROP TABLE deals; --"}), "one SQL boolean"),
        (json!({"filter_predicate": "'open"}), "unterminated"),
        (json!({"filter_predicate": "title = $1"}), "1 parameters"),
        (json!({"filter_predicate": "true", "filter_params": [1]}), "0 parameters"),
        (json!({"config": {"columns": ["emial"]}}), "email"),
        (json!({"config": {"columns": ["company.nmae"]}}), "name"),
        (json!({"config": {"order": ["-nope"]}}), "nope"),
        (json!({"config": {"columns": "email"}}), "array"),
        (json!({"config": {"columns": [1]}}), "array"),
        (json!({"target_table": "cotnacts"}), "cotnacts"),
    ] {
        let mut whole = json!({"target_table": "contacts"});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let reply = wrong(&agent, &relm, whole).await;
        reply.fault(422, "validation_failed").says(words);
    }
    assert_eq!(
        agent
            .sql("select count(*) as v from lists where name = 'R' and filter_predicate is null")
            .await
            .status(200)
            .v(),
        27
    );
}

#[tokio::test]
async fn a_definition_is_checked_as_it_will_be() {
    let agent = crm().await;
    let body = json!({"target_table": "contacts", "filter_predicate": "title = $1", "filter_params": ["CTO"], "config": {"columns": ["email"]}});
    let path = list(&agent, body).await;
    let list = path.trim_end_matches("/rows");
    for (change, field) in [
        (json!({"target_table": "companies"}), "config"),
        (json!({"filter_params": []}), "filter_params"),
        (json!({"filter_predicate": "true"}), "filter_params"),
        (json!({"config": {"order": ["nope"]}}), "config"),
        (json!({"target_table": "companies", "config": {"columns": null}}), "filter_predicate"),
    ] {
        let reply = agent.patch(list, change).await.fault(422, "validation_failed");
        assert_eq!(reply.at("/field"), field, "{}", reply.story());
    }
    agent
        .patch(list, json!({"filter_predicate": "title = $1 and first_name = $2", "filter_params": ["CTO", "One"]}))
        .await
        .status(200);
    agent.patch(list, json!({"config": {"order": ["first_name"]}})).await.status(200);
    assert_eq!(agent.get(&path).await.status(200).data(), json!([{"email": "one@acme.example"}]));
    agent.patch("/v1/lists/l_none", json!({"filter_predicate": "nope"})).await.fault(404, "not_found");
    let none = agent.post("/v1/lists", json!({"name": "L", "filter_predicate": "nope"})).await;
    assert_eq!(none.fault(422, "validation_failed").at("/field"), "target_table");
    // A table of its own, and a column that was added a moment ago.
    agent.sql("create table things (id int primary key, word text)").await.status(200);
    let body = json!({"name": "T", "target_table": "things", "filter_predicate": "word = 'a'"});
    let things = agent.post("/v1/lists", body).await.status(201).id();
    agent.sql("alter table contacts add column score int").await.status(200);
    agent.patch(list, json!({"filter_predicate": "score > 1", "filter_params": []})).await.status(200);
    // A later change of the table breaks a list. The list can still be renamed, corrected and deleted.
    agent.sql("alter table contacts drop column score; drop table things").await.status(200);
    agent.get(&path).await.fault(400, "sql_error").says("score");
    agent.get(&format!("/v1/lists/{things}/rows")).await.fault(422, "validation_failed").says("things");
    agent.patch(list, json!({"name": "Renamed", "description": "Broken", "custom": {"a": 1}})).await.status(200);
    agent.patch(list, json!({"filter_predicate": "title is null"})).await.status(200);
    agent.get(&path).await.status(200);
    agent.delete(&format!("/v1/lists/{things}")).await.status(200);
}

#[tokio::test]
async fn a_predicate_can_write_nothing() {
    let agent = crm().await;
    agent
        .sql("create function sneak() returns boolean language plpgsql as $$ begin delete from contacts; return true; end $$;
              create function loosen() returns boolean language plpgsql as $$ begin set transaction read write; delete from contacts; return true; end $$;
              create function configure() returns boolean language sql as $$ select set_config('transaction_read_only', 'off', false) = 'off' $$;
              create sequence counter")
        .await
        .status(200);
    for predicate in ["sneak()", "loosen()", "configure() and sneak()", "nextval('counter') > 0"] {
        let reply = rows(&agent, json!({"target_table": "contacts", "filter_predicate": predicate})).await;
        assert!(matches!(reply.code, 400 | 403), "{}", reply.story());
    }
    // A function that claims to be immutable runs when its call is planned, so the check of the definition runs it.
    agent
        .sql("create function liar() returns boolean language plpgsql immutable as $$ begin delete from contacts; return true; end $$;
              create function opener() returns boolean language plpgsql immutable as $$ begin perform set_config('transaction_read_only', 'off', true); delete from contacts; return true; end $$;
              create function quiet() returns boolean language plpgsql immutable as $$ begin begin delete from contacts; exception when others then null; end; return true; end $$")
        .await
        .status(200);
    for (predicate, code) in [("liar()", 422), ("opener()", 422), ("quiet()", 201)] {
        let body = json!({"name": predicate, "target_table": "contacts", "filter_predicate": predicate}).to_string();
        let plain = agent.send_json(Method::POST, "/v1/lists", body.clone()).await;
        assert_eq!(plain.code, code, "{}", plain.story());
        let keyed = [("content-type", "application/json"), ("idempotency-key", predicate)];
        for _ in 0..2 {
            let reply = agent.send(Method::POST, "/v1/lists", &keyed, body.clone()).await;
            assert_eq!(reply.code, code, "{}", reply.story());
        }
    }
    assert_eq!(agent.sql("select count(*) as v from contacts").await.status(200).v(), 5);
    agent.sql("insert into contacts (first_name) values ('still writable')").await.status(200);
}

#[tokio::test]
async fn a_list_of_ones_own_table_works_the_same() {
    let agent = agent().await;
    agent.sql("create table \"Odd Things\" (key int primary key, word text, deleted_at timestamptz)").await.status(200);
    agent.sql("insert into \"Odd Things\" values (1, 'a', null), (2, 'b', null), (3, 'c', now())").await.status(200);
    let dynamic =
        list(&agent, json!({"target_table": "Odd Things", "filter_predicate": "word >= $1", "filter_params": ["a"]}))
            .await;
    assert_eq!(agent.get(&dynamic).await.status(200).column("key"), [1, 2]);
    let fixed = list(&agent, json!({"target_table": "Odd Things", "kind": "static"})).await;
    let other = list(&agent, json!({"target_table": "Odd Things", "kind": "static"})).await;
    let members = fixed.replace("/rows", "/members");
    agent.post(&members, json!({"member_ids": ["2", "1"]})).await.status(201);
    for missing in ["3", "x"] {
        let reply =
            agent.post(&members, json!({"member_id": missing})).await.fault(422, "invalid_reference").says(missing);
        assert_eq!(reply.at("/field"), "member_id");
        let whole = json!({"list_id": id_of(&fixed), "member_id": missing});
        let reply = agent.post("/v1/list_members", whole).await.fault(422, "invalid_reference").says(missing);
        assert_eq!(reply.at("/field"), "member_id");
    }
    let whole = json!({"list_id": id_of(&other), "member_id": "1"});
    let member = agent.post("/v1/list_members", whole).await.status(201).id();
    let path = format!("/v1/list_members/{member}");
    agent.patch(&path, json!({"member_id": "3"})).await.fault(422, "invalid_reference");
    agent.patch(&path, json!({"list_id": "l_none", "member_id": "1"})).await.fault(422, "invalid_reference");
    agent.patch(&path, json!({"member_id": "2"})).await.status(200);
    agent.patch("/v1/list_members/lm_none", json!({"member_id": "2"})).await.fault(404, "not_found");
    assert_eq!(agent.get(&fixed).await.status(200).column("key"), [1, 2]);
}

#[tokio::test]
async fn a_static_list_has_the_members_that_it_was_given() {
    let agent = agent().await;
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(agent.post("/v1/contacts", json!({"first_name": format!("N{number}")})).await.status(201).id());
    }
    let path =
        list(&agent, json!({"target_table": "contacts", "kind": "static", "config": {"order": ["first_name"]}})).await;
    let (members, rows_of) =
        (path.replace("/rows", "/members"), async || agent.get(&path).await.status(200).column("first_name"));
    assert_eq!(rows_of().await, Vec::<Value>::new());
    let added = agent.post(&members, json!({"member_id": ids[0]})).await.status(201);
    assert_eq!(added.data()["member_id"], ids[0]);
    assert!(added.text("/data/added_by").starts_with("api_key:ak_"), "{}", added.story());
    assert!(added.id().starts_with("lm_"));
    // Again, with the other dialect's names, and with other values.
    let alias = ids[1].replace("c_", "con_");
    let again = agent.post(&members, json!({"member_ids": [ids[0], alias, ids[2], ids[2]]})).await.status(201);
    assert_eq!(again.column("member_id").len(), 3, "{}", again.story());
    assert_eq!(rows_of().await, ["N0", "N1", "N2"]);
    assert_eq!(agent.get("/v1/list_members").await.status(200).column("id").len(), 3);
    assert_eq!(walk(&agent, &path, 1).await.len(), 3);

    for (body, status, code) in [
        (json!({"member_ids": [ids[3], "c_none"]}), 422, "invalid_reference"),
        (json!({"member_id": ids[3].replace("c_", "d_")}), 422, "invalid_reference"),
        (json!({}), 400, "invalid_request"),
        (json!({"member_ids": []}), 400, "invalid_request"),
        (json!({"member_ids": [1]}), 400, "invalid_request"),
        (json!({"member_id": ids[3], "member_ids": [ids[3]]}), 400, "invalid_request"),
        (json!({"member": ids[3]}), 400, "invalid_request"),
    ] {
        agent.post(&members, body).await.fault(status, code);
    }
    assert_eq!(rows_of().await, ["N0", "N1", "N2"], "a refused request adds none");

    let removed = agent.delete(&format!("{members}/{alias}")).await.status(200);
    assert_eq!(removed.id(), ids[1]);
    agent.delete(&format!("{members}/{}", ids[1])).await.fault(404, "not_found");
    // A hidden record is not shown. After it is restored, it is still a member.
    agent.delete(&format!("/v1/contacts/{}", ids[0])).await.status(200);
    assert_eq!(rows_of().await, ["N2"]);
    agent.post(&format!("/v1/contacts/{}/restore", ids[0]), json!({})).await.status(200);
    assert_eq!(rows_of().await, ["N0", "N2"]);
    let feed = agent.get("/v1/activity?subject_type=list_member").await.status(200).column("verb");
    assert_eq!(feed, ["deleted", "created", "created", "created"]);

    let dynamic = list(&agent, json!({"target_table": "contacts"})).await.replace("/rows", "/members");
    agent.post(&dynamic, json!({"member_id": ids[0]})).await.fault(422, "validation_failed").says("dynamic");
    agent.delete(&format!("{dynamic}/{}", ids[0])).await.fault(422, "validation_failed");
    agent.post("/v1/lists/l_none/members", json!({"member_id": ids[0]})).await.fault(404, "not_found");
    // The list is deleted, and its members with it.
    agent.delete(&format!("{}?hard=true", path.trim_end_matches("/rows"))).await.status(200);
    assert_eq!(agent.get("/v1/list_members").await.status(200).data(), json!([]));
}
