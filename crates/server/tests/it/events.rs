//! The list of events: pages, cursors, types, and the stream that resumes.

use serde_json::{Value, json};

use crate::belongings::{joined, owned};
use crate::support::{Agent, StreamReader, StreamedEvent, agent, both, other_process, psql};

/// The events of a page of either dialect.
fn events(page: &Value) -> Vec<Value> {
    page["data"].as_array().expect("events").clone()
}

/// The cursor of a page of either dialect.
fn cursor(page: &Value) -> String {
    let cursor = if page["_meta"].is_null() { &page["next_cursor"] } else { &page["_meta"]["next_cursor"] };
    cursor.as_str().unwrap_or_else(|| panic!("no cursor in {page}")).to_owned()
}

fn has_more(page: &Value) -> bool {
    let flag = if page["_meta"].is_null() { &page["has_more"] } else { &page["_meta"]["has_more"] };
    flag.as_bool().unwrap_or_else(|| panic!("no has_more in {page}"))
}

async fn all(agent: &Agent, query: &str) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = agent.get(&format!("/v1/events?limit=3{query}{after}")).await.status(200).json();
        found.extend(events(&page));
        if !has_more(&page) {
            return found;
        }
        after = format!("&after={}", cursor(&page));
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

#[tokio::test]
async fn events_are_listed_from_the_oldest_in_both_dialects() {
    let (relm, agentcrm) = both().await;
    let id = relm.post("/v1/deals", json!({"title": "T"})).await.status(201).json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    relm.patch(&format!("/v1/deals/{id}"), json!({"stage": "won", "value_cents": 5})).await.status(200);
    agentcrm.sql("insert into contacts (email) values ('a@b.example')").await.status(200);
    psql(&agentcrm).await.query("DELETE FROM contacts", &[]).await.expect("a delete");
    let expected = ["deal.created", "deal.updated", "deal.stage_changed", "contact.created", "contact.deleted"];
    for agent in [&relm, &agentcrm] {
        let found = all(agent, "").await;
        let mine: Vec<Value> =
            found.into_iter().filter(|it| !it["type"].as_str().unwrap().starts_with("pipeline")).collect();
        assert_eq!(types(&mine), expected);
        assert!(mine.iter().all(|it| it["id"].as_str().is_some_and(|id| id.starts_with("evt_") && id.len() == 30)));
        assert!(mine[0]["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{}", mine[0]);
        assert_eq!((&mine[4]["request_id"], &mine[4]["run_id"]), (&Value::Null, &Value::Null));
        let data = &mine[1]["data"];
        match data.get("object") {
            Some(object) => assert_eq!(
                (object, &data["id"], &mine[1]["previous"]["value_cents"]),
                (&json!("deal"), &json!(id), &Value::Null)
            ),
            None => assert_eq!((&data["id"], &data["amount_cents"]), (&json!(id.replace("deal_", "d_")), &json!(5))),
        }
        assert_eq!(types(&all(agent, "&type=deal.*").await), expected[..3]);
        assert_eq!(
            types(&all(agent, "&type=contact.created,deal.stage_changed").await),
            ["deal.stage_changed", "contact.created"]
        );
        agent.get("/v1/events?type=contacts.created").await.fault(400, "invalid_request").says("contact.created");
    }
    let ids = |events: Vec<Value>| events.into_iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(all(&relm, "").await), ids(all(&agentcrm, "").await), "an event has one id");
}

#[tokio::test]
async fn a_cursor_goes_on_and_an_unknown_one_is_refused() {
    let agent = agent().await;
    let empty = agent.get("/v1/events?type=contact.*").await.status(200).json();
    assert_eq!((events(&empty), has_more(&empty)), (Vec::new(), false));
    let after = cursor(&empty);
    for n in 0..4 {
        agent.post("/v1/contacts", json!({"email": format!("{n}@b.example")})).await.status(201);
    }
    let page = agent.get(&format!("/v1/events?cursor={after}&limit=2")).await.status(200).json();
    assert_eq!((events(&page).len(), has_more(&page)), (2, true));
    // A cursor is not bound to types.
    let rest = agent.get(&format!("/v1/events?after={}&type=contact.created", cursor(&page))).await.status(200).json();
    assert_eq!((events(&rest).len(), has_more(&rest)), (2, false));
    let last = agent.get(&format!("/v1/events?after={}", cursor(&rest))).await.status(200).json();
    assert_eq!((events(&last), cursor(&last)), (Vec::new(), cursor(&rest)));
    // The log of another workspace is as long.
    let neighbour = crate::support::agent().await;
    neighbour.post("/v1/contacts", json!({"email": "n@b.example"})).await.status(201);
    let foreign = cursor(&neighbour.get("/v1/events").await.status(200).json());
    neighbour.get(&format!("/v1/events?after={foreign}")).await.status(200);
    // A list's cursor is none of events.
    let listed = cursor(&agent.get("/v1/contacts?limit=1").await.status(200).json());
    for forged in ["x", "ZTk5OTk5OS4x", "ZTAuMC4w", "ZTEuMQ", &foreign, &listed] {
        agent.get(&format!("/v1/events?after={forged}")).await.fault(400, "invalid_cursor");
    }
    // One parameter has two names, and one value.
    for query in [format!("after={after}&cursor={}", cursor(&page)), format!("after={after}&after={}", cursor(&page))] {
        agent.get(&format!("/v1/events?{query}")).await.fault(400, "invalid_request").says("one value");
    }
    for query in
        [format!("after={after}&cursor={after}"), format!("after=&cursor={after}"), format!("after={after}&cursor=")]
    {
        let same = agent.get(&format!("/v1/events?{query}&limit=2")).await.status(200).json();
        assert_eq!(cursor(&same), cursor(&page));
    }
    for (query, code) in [("limit=0", "invalid_request"), ("before=x", "invalid_request")] {
        agent.get(&format!("/v1/events?{query}")).await.fault(400, code);
    }
    agent.post("/v1/events", json!({})).await.fault(405, "method_not_allowed");
}

#[tokio::test]
async fn a_type_chooses_its_events_only() {
    let agent = agent().await;
    let id = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let path = format!("/v1/contacts/{id}");
    agent.patch(&path, json!({"title": "CTO"})).await.status(200);
    agent.delete(&path).await.status(200);
    agent.post(&format!("{path}/restore"), json!({})).await.status(200);
    assert_eq!(types(&all(&agent, "&type=contact.updated").await), ["contact.updated"]);
    assert_eq!(types(&all(&agent, "&type=contact.restored").await), ["contact.restored"]);
    assert_eq!(all(&agent, "&type=contact.*").await.len(), 4);
    let mut stream = StreamReader::open(&agent, &agent.base, "?type=contact.updated", None).await;
    assert_eq!(stream.next().await.expect("an event").event, "contact.updated");
    agent.delete(&path).await.status(200);
    agent.post(&format!("{path}/restore"), json!({})).await.status(200);
    agent.patch(&path, json!({"title": "CEO"})).await.status(200);
    let next = stream.next().await.expect("an event");
    assert_eq!((next.event.as_str(), &next.data["data"]["title"]), ("contact.updated", &json!("CEO")));
}

#[tokio::test]
async fn a_table_that_is_called_like_a_record_has_types_of_its_own() {
    let (relm, agent) = both().await;
    let tables =
        "create table company (id text primary key, name text); create table deal (id int primary key, stage text)";
    agent.sql(tables).await.status(200);
    let made = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
    agent.post("/v1/company", json!({"id": made, "name": "Own"})).await.status(201);
    agent.sql("insert into deal values (1, 'lead'); update deal set stage = 'won'").await.status(200);
    for dialect in [&relm, &agent] {
        let found = all(dialect, "&type=company.*,public.company.*,deal.*,deal.stage_changed,public.deal.*").await;
        let expected = ["company.created", "public.company.created", "public.deal.created", "public.deal.updated"];
        assert_eq!(types(&found), expected);
        assert_eq!(found[1]["data"]["name"], "Own");
        assert_eq!(types(&all(dialect, "&type=company.created").await), ["company.created"]);
        let refused = dialect.get("/v1/events?type=public.companies.created").await;
        refused.fault(400, "invalid_request").says("company.created");
    }
}

#[tokio::test]
async fn a_viewer_reads_events_and_other_workspaces_do_not() {
    let (owner, live) = owned().await;
    let (_, viewer, _) = joined(&owner, "viewer").await;
    live.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    assert_eq!(types(&all(&viewer, "&type=contact.*").await), ["contact.created"]);
    assert_eq!(all(&agent().await, "&type=contact.*").await.len(), 0);
}

#[tokio::test]
async fn readers_at_the_same_time_see_one_order() {
    let agent = agent().await;
    let writers = (0..4).map(|w| {
        let agent = agent.clone();
        async move {
            for n in 0..10 {
                agent.post("/v1/contacts", json!({"email": format!("{w}-{n}@b.example")})).await.status(201);
            }
        }
    });
    let mut seen: Vec<Vec<Value>> = vec![Vec::new(), Vec::new()];
    let others = [agent.clone(), agent.at(other_process().await)];
    let readers = seen.iter_mut().zip(&others).map(|(seen, agent)| async move {
        let mut after = String::new();
        while seen.len() < 40 {
            let page = agent.get(&format!("/v1/events?type=contact.*{after}")).await.status(200).json();
            seen.extend(events(&page).into_iter().map(|it| it["id"].clone()));
            after = format!("&after={}", cursor(&page));
        }
    });
    tokio::join!(futures_util::future::join_all(writers), futures_util::future::join_all(readers));
    assert_eq!(seen[0], seen[1]);
    let unique: std::collections::HashSet<String> = seen[0].iter().map(Value::to_string).collect();
    assert_eq!(unique.len(), 40);
}

#[tokio::test]
async fn a_stream_tells_what_happens_and_resumes_where_it_was() {
    let agent = agent().await;
    agent.post("/v1/contacts", json!({"email": "0@b.example"})).await.status(201);
    let mut stream = StreamReader::open(&agent, &agent.base, "?type=contact.*", None).await;
    let email = |event: &StreamedEvent| event.data["data"]["email"].as_str().expect("an address").to_owned();
    let first = stream.next().await.expect("an event");
    assert_eq!((email(&first).as_str(), first.event.as_str()), ("0@b.example", "contact.created"));
    agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201);
    for n in 1..4 {
        agent.post("/v1/contacts", json!({"email": format!("{n}@b.example")})).await.status(201);
    }
    let second = stream.next().await.expect("an event");
    assert_eq!(email(&second), "1@b.example");
    // The connection is lost. Another process goes on after the last event.
    drop(stream);
    let mut stream = StreamReader::open(&agent, other_process().await, "?type=contact.*", Some(&second.id)).await;
    for n in 2..4 {
        assert_eq!(email(&stream.next().await.expect("an event")), format!("{n}@b.example"));
    }
    psql(&agent).await.query("INSERT INTO contacts (email) VALUES ('4@b.example')", &[]).await.expect("an insert");
    assert_eq!(email(&stream.next().await.expect("an event")), "4@b.example");
    // The list and the stream have the same cursors.
    let page = agent.get(&format!("/v1/events?type=contact.*&after={}", second.id)).await.status(200).json();
    assert_eq!(events(&page).len(), 3);
}

#[tokio::test]
async fn a_stream_in_which_nothing_happens_stays_open_with_comments() {
    let agent = agent().await;
    let mut stream = StreamReader::open(&agent, &agent.base, "?type=contact.*", None).await;
    assert!(stream.next().await.is_none(), "a comment");
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    assert_eq!(stream.next().await.expect("an event").event, "contact.created");
}
