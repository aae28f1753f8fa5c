//! Lists in an order that the caller chooses.

use serde_json::{Value, json};

use crate::support::{Agent, agent, both};

/// A table of nine rows with a value in each column, and three rows with none. `id` 1 to 12.
async fn kinds() -> Agent {
    let agent = agent().await;
    agent
        .sql("create type mood as enum ('sad', 'ok');
              create table kinds (id int primary key, t text, c citext, n numeric, i bigint, f float8, b boolean, ts timestamptz, d date,
                                  u uuid, m mood, iv interval, ip inet, j jsonb, a text[], x text not null default 'x', \"Odd \"\"name\" text)")
        .await
        .status(200);
    agent
        .sql("insert into kinds select g, 't' || g, case when g % 2 = 0 then 'C' else 'c' end || g, g / 4.0, g * 10000000000, g / 3.0::float8, g > 5,
                '2026-01-01T12:00:00.123456Z'::timestamptz + g * interval '1 microsecond', '2026-01-01'::date + g,
                ('11111111-1111-1111-1111-' || lpad(g::text, 12, '0'))::uuid, case when g > 5 then 'ok' else 'sad' end::mood,
                g * interval '1 hour', '10.0.0.0'::inet + g, jsonb_build_object('k', 'k' || g), array['a'], 'x', 'odd' || g
              from generate_series(1, 9) g;
              insert into kinds (id) values (10), (11), (12)")
        .await
        .status(200);
    agent
}

/// All ids of a list, read in pages of two.
async fn walked(agent: &Agent, path: &str) -> Vec<i64> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    let join = if path.contains('?') { '&' } else { '?' };
    loop {
        let reply = agent.get(&format!("{path}{join}limit=2&cursor={cursor}")).await.status(200);
        let json = reply.json();
        ids.extend(json["data"].as_array().expect("rows").iter().map(|row| row["id"].as_i64().expect("a number")));
        match &json["_meta"]["next_cursor"] {
            Value::String(next) => cursor = next.clone(),
            _ => return ids,
        }
    }
}

#[tokio::test]
async fn every_scalar_sorts_both_ways_with_nulls_last() {
    let agent = kinds().await;
    for column in ["t", "c", "n", "i", "f", "ts", "d", "u", "iv", "ip", "Odd%20%22name", "j.k"] {
        let up = walked(&agent, &format!("/v1/kinds?sort={column}")).await;
        assert_eq!(up, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "{column}");
        let down = walked(&agent, &format!("/v1/kinds?sort=-{column}")).await;
        assert_eq!(down, [9, 8, 7, 6, 5, 4, 3, 2, 1, 12, 11, 10], "{column}");
    }
    for column in ["b", "m"] {
        let up = walked(&agent, &format!("/v1/kinds?sort={column}")).await;
        assert_eq!(up, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "{column}");
        let down = walked(&agent, &format!("/v1/kinds?sort=-{column}")).await;
        assert_eq!(down, [9, 8, 7, 6, 5, 4, 3, 2, 1, 12, 11, 10], "{column}");
    }
    let by_key = walked(&agent, "/v1/kinds?sort=-id").await;
    assert_eq!(by_key, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    let all_equal = walked(&agent, "/v1/kinds?sort=x").await;
    assert_eq!(all_equal, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let filtered = walked(&agent, "/v1/kinds?sort=-n&b=false").await;
    assert_eq!(filtered, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn what_is_no_order_is_refused() {
    let agent = kinds().await;
    for (sort, words) in [
        ("nn", "sort: there is no column \"nn\"."),
        ("-nn", "sort: there is no column \"nn\"."),
        ("n_gte", "there is no column"),
        ("a", "can't be sorted by \"a\", which is text[]"),
        ("j", "can't be sorted by \"j\", which is jsonb"),
    ] {
        agent.get(&format!("/v1/kinds?sort={sort}")).await.fault(400, "invalid_request").says(words);
    }
    agent.get("/v1/contacts?sort=first_nam").await.fault(400, "invalid_request").says("first_name");
    // A type without an order.
    agent.sql("create table places (id int primary key, p point)").await.status(200);
    agent.get("/v1/places?sort=p").await.status(400);
}

#[tokio::test]
async fn a_reference_sorts_by_the_name_of_its_record_in_both_dialects() {
    let (relm, agent) = both().await;
    for name in ["Beta", "Alpha", "Gamma"] {
        let company = agent.post("/v1/companies", json!({"name": name})).await.status(201).text("/data/id");
        for nth in ["one", "two"] {
            let contact = json!({"first_name": format!("{name} {nth}"), "company_id": company});
            let contact = agent.post("/v1/contacts", contact).await.status(201).text("/data/id");
            agent.post("/v1/deals", json!({"name": format!("{name} {nth}"), "contact_id": contact})).await.status(201);
        }
    }
    agent.post("/v1/contacts", json!({"first_name": "Nobody's"})).await.status(201);
    let names = async |agent: &Agent, path: &str, field: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = agent.get(&format!("{path}&limit=2&cursor={cursor}")).await.status(200).json();
            let rows = page["data"].as_array().expect("rows").iter();
            found.extend(rows.map(|row| row[field].as_str().expect("a name").to_owned()));
            let next = page["_meta"]["next_cursor"].as_str().or(page["next_cursor"].as_str());
            match next {
                Some(next) => cursor = next.to_owned(),
                None => return found,
            }
        }
    };
    let up = ["Alpha one", "Alpha two", "Beta one", "Beta two", "Gamma one", "Gamma two", "Nobody's"];
    assert_eq!(names(&agent, "/v1/contacts?sort=company.name", "first_name").await, up);
    assert_eq!(names(&relm, "/v1/contacts?sort=company.name", "first_name").await, up);
    let down = ["Gamma two", "Gamma one", "Beta two", "Beta one", "Alpha two", "Alpha one", "Nobody's"];
    assert_eq!(names(&agent, "/v1/contacts?sort=-company.name", "first_name").await, down);
    assert_eq!(names(&agent, "/v1/deals?sort=contact.first_name", "name").await, up[..6]);
    assert_eq!(names(&relm, "/v1/deals?sort=-contact.first_name", "title").await[..2], ["Gamma two", "Gamma one"]);
    for sort in ["company.nam", "company.id", "compani.name", "company.custom", "first_name.x"] {
        agent.get(&format!("/v1/contacts?sort={sort}")).await.fault(400, "invalid_request");
        relm.get(&format!("/v1/contacts?sort={sort}")).await.fault(400, "invalid_request");
    }
    let page = agent.get("/v1/contacts?sort=company.name&limit=2").await.status(200).json();
    let cursor = page["_meta"]["next_cursor"].as_str().expect("a cursor");
    agent.get(&format!("/v1/contacts?sort=company.domain&cursor={cursor}")).await.fault(400, "invalid_cursor");
}

#[tokio::test]
async fn a_cursor_belongs_to_its_order() {
    let agent = kinds().await;
    let cursor_of = async |query: &str| {
        let page = agent.get(&format!("/v1/kinds?limit=2{query}")).await.status(200).json();
        page["_meta"]["next_cursor"].as_str().expect("a cursor").to_owned()
    };
    let (up, own) = (cursor_of("&sort=n").await, cursor_of("").await);
    for (cursor, query) in [(&up, ""), (&up, "&sort=-n"), (&up, "&sort=i"), (&up, "&sort=j.k"), (&own, "&sort=id")] {
        agent.get(&format!("/v1/kinds?cursor={cursor}{query}")).await.fault(400, "invalid_cursor");
    }
    agent.get(&format!("/v1/kinds?cursor={up}&sort=n&limit=7")).await.status(200);
    // An empty sort is none.
    agent.get(&format!("/v1/kinds?cursor={own}&sort=")).await.status(200);
}

#[tokio::test]
async fn custom_fields_sort_as_their_type_in_both_dialects() {
    let (relm, agent) = both().await;
    for (key, kind) in [("seats", "number"), ("since", "date"), ("plan", "text"), ("paid", "bool")] {
        let field = json!({"object_type": "deal", "key": key, "type": kind});
        relm.post("/v1/schema/fields", field).await.status(201);
    }
    for (at, seats) in [9, 10, 100].into_iter().enumerate() {
        let custom = json!({"seats": seats, "since": format!("2026-01-0{}", at + 1), "plan": format!("p{at}"), "paid": at == 2, "free": "f"});
        let deal = json!({"name": format!("Deal {at}"), "amount_cents": at, "custom": custom});
        agent.post("/v1/deals", deal).await.status(201);
    }
    agent.post("/v1/deals", json!({"name": "Deal 3"})).await.status(201);
    let names = async |agent: &Agent, path: &str, key: &str| {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = agent.get(&format!("{path}&limit=1&cursor={cursor}")).await.status(200).json();
            names.extend(page["data"].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()));
            let next = page["_meta"]["next_cursor"].as_str().or(page["next_cursor"].as_str());
            match next {
                Some(next) => cursor = next.to_owned(),
                None => return names.join(", "),
            }
        }
    };
    for key in ["custom.seats", "custom.since", "custom.plan", "amount_cents"] {
        let found = names(&agent, &format!("/v1/deals?sort=-{key}"), "name").await;
        assert_eq!(found, "Deal 2, Deal 1, Deal 0, Deal 3", "{key}");
    }
    for key in ["metadata->>seats", "metadata->>since", "value_cents"] {
        let found = names(&relm, &format!("/v1/deals?sort={key}"), "title").await;
        assert_eq!(found, "Deal 0, Deal 1, Deal 2, Deal 3", "{key}");
    }
    assert_eq!(names(&agent, "/v1/deals?sort=-custom.paid", "name").await, "Deal 2, Deal 1, Deal 0, Deal 3");
    relm.get("/v1/deals?sort=amount_cents").await.fault(400, "invalid_request").says("value_cents");
}
