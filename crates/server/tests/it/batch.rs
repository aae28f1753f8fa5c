//! `/v1/contacts/batch`: many contacts in one request, each processed independently.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both};

async fn batch(agent: &Agent, contacts: Value) -> Reply {
    agent.post("/v1/contacts/batch", json!({"contacts": contacts})).await
}

fn statuses(reply: &Reply) -> Vec<Value> {
    assert_eq!(
        reply.column("index"),
        (0..reply.data().as_array().unwrap().len()).map(|at| json!(at)).collect::<Vec<_>>(),
        "{}",
        reply.story()
    );
    reply.column("status")
}

fn counts(reply: &Reply) -> [Value; 3] {
    ["created", "updated", "failed"].map(|name| reply.at(&format!("/_meta/{name}")))
}

#[tokio::test]
async fn contacts_are_made_or_found_again_by_their_email() {
    let agent = agent().await;
    let there = agent
        .post(
            "/v1/contacts",
            json!({"email": "Ada@b.example", "first_name": "Ada", "title": "CTO", "custom": {"a": 1, "b": 2}}),
        )
        .await
        .status(201);
    let rows = json!([
        {"email": "new@b.example", "first_name": "New"},
        {"email": "ada@B.example", "last_name": "Lovelace", "custom": {"b": null, "c": [3]}},
        {"first_name": "No email"},
        {},
        {"email": "NEW@b.example", "title": "Second"},
        {"email": null, "phone": "1"},
    ]);
    let reply = batch(&agent, rows).await.status(200);
    assert_eq!(statuses(&reply), ["created", "updated", "created", "created", "updated", "created"]);
    assert_eq!(counts(&reply), [4, 2, 0].map(|count| json!(count)), "{}", reply.story());
    let ada = reply.at("/data/1/contact");
    assert_eq!(ada["id"], there.id());
    assert_eq!(
        (&ada["first_name"], &ada["last_name"], &ada["title"], &ada["custom"]),
        (&json!("Ada"), &json!("Lovelace"), &json!("CTO"), &json!({"a": 1, "c": [3]}))
    );
    let new = reply.at("/data/4/contact");
    assert_eq!(reply.at("/data/0/contact/id"), new["id"]);
    assert_eq!((&new["first_name"], &new["title"]), (&json!("New"), &json!("Second")));
    // The answer shows the stored data.
    for at in 0..6 {
        let shown = reply.at(&format!("/data/{at}/contact"));
        let mut there = agent.get(&format!("/v1/contacts/{}", shown["id"].as_str().unwrap())).await.data();
        there.as_object_mut().unwrap().remove("company");
        assert_eq!(shown, there);
    }
    assert_eq!(agent.sql("select count(*)::int as v from contacts").await.v(), 5);
    // Each change is in the feed, with the key and this request.
    let sql = "select verb || ' ' || count(*) as v from activity where subject_type = 'contact' and custom ->> 'request_id' = $1
               and actor like 'api_key:%' group by verb order by 1";
    let entries = agent.sql_with(sql, json!([reply.header("x-request-id")])).await.status(200).column("v");
    assert_eq!(entries, ["created 4", "updated 2"]);

    // A hidden contact is not matched.
    agent.delete(&format!("/v1/contacts/{}", there.id())).await.status(200);
    let reply = batch(&agent, json!([{"email": "ada@b.example"}])).await.status(200);
    assert_eq!(statuses(&reply), ["created"]);
    // `custom: null` empties it, as in a PATCH.
    let reply = batch(
        &agent,
        json!([{"email": "new@b.example", "custom": {"x": 1}}, {"email": "new@b.example", "custom": null}]),
    )
    .await;
    assert_eq!(reply.status(200).at("/data/1/contact/custom"), json!({}));
}

#[tokio::test]
async fn good_rows_are_kept_when_others_fail() {
    let agent = agent().await;
    let field =
        json!({"object_type": "contact", "key": "plan", "type": "select", "label": "Plan", "options": ["free", "pro"]});
    agent.post("/v1/schema/fields", field).await.status(201);
    agent.sql("alter table contacts add score int, add code varchar(3), add born date, add constraint grown check (score >= 0);
               create unique index contacts_code on contacts (code)").await.status(200);
    let rows = json!([
        {"email": "0@b.example", "custom": {"plan": "pro"}},
        {"email": "1@b.example", "custom": {"plan": "gold"}},
        {"email": 2},
        "three",
        {"email": "4@b.example", "nickname": "x"},
        {"email": "5@b.example", "score": -1},
        {"email": "6@b.example", "score": "many"},
        {"email": "7@b.example", "company_id": "co_none"},
        {"email": "8@b.example", "code": "long"},
        {"email": "9@b.example", "code": "ok"},
        {"email": "10@b.example", "code": "ok"},
        {"email": "11@b.example", "born": "2026-02-30"},
        {"email": "12@b.example", "first_name": "a\u{0}b"},
        {"email": "13@b.example", "id": "c_1"},
        {"email": "14@b.example", "custom": [1]},
        {"email": "15@b.example", "born": "2026-02-28", "score": 7},
        null,
    ]);
    let reply = batch(&agent, rows).await.status(200);
    let expected = [
        (0, None),
        (1, Some(("invalid_metadata", "plan"))),
        (2, Some(("invalid_request", "email"))),
        (3, Some(("invalid_request", "object"))),
        (4, Some(("invalid_request", "nickname"))),
        (5, Some(("validation_failed", "grown"))),
        (6, Some(("invalid_request", "many"))),
        (7, Some(("invalid_reference", "co_none"))),
        (8, Some(("invalid_request", "character varying(3)"))),
        (9, None),
        (10, Some(("conflict", "contacts_code"))),
        (11, Some(("invalid_request", "2026-02-30"))),
        (12, Some(("invalid_request", "NUL"))),
        (13, Some(("invalid_request", "id"))),
        (14, Some(("invalid_request", "custom"))),
        (15, None),
        (16, Some(("invalid_request", "object"))),
    ];
    for (at, fault) in expected {
        let item = reply.at(&format!("/data/{at}"));
        assert_eq!(item["index"], at);
        match fault {
            None => assert_eq!(item["status"], "created", "{item}"),
            Some((code, says)) => {
                assert_eq!((&item["status"], &item["error"]["error"]), (&json!("error"), &json!(code)), "{item}");
                let message = item["error"]["message"].as_str().unwrap();
                assert!(message.contains(says), "{says}: {item}");
            }
        }
    }
    assert_eq!(counts(&reply), [3, 0, 14].map(|count| json!(count)));
    // The answer and the feed name the record that has the code which another one wants.
    assert_eq!(reply.at("/data/10/error/existing_id"), reply.at("/data/9/contact/id"));
    let entry = agent.get("/v1/activity?verb=conflict").await.status(200);
    assert_eq!(entry.column("subject_id"), [reply.at("/data/9/contact/id")], "{}", entry.story());
    assert_eq!(entry.at("/data/0/custom/request_id"), reply.header("x-request-id"));
    let kept = agent.sql("select email as v from contacts order by created_at, email").await.column("v");
    assert_eq!(kept, ["0@b.example", "15@b.example", "9@b.example"]);
}

#[tokio::test]
async fn five_hundred_at_once_and_no_more() {
    let (relm, agent) = both().await;
    let rows = |from: usize, count: usize| -> Value {
        (from..from + count).map(|n| json!({"email": format!("p{n}@b.example"), "metadata": {"n": n}})).collect()
    };
    let body = |rows: Value| json!({"contacts": rows, "dedup_on": ["email"]});
    let reply = relm.post("/v1/contacts/batch", body(rows(0, 500))).await.status(200);
    assert_eq!(
        (reply.at("/object"), reply.at("/created"), reply.at("/failed")),
        (json!("batch"), json!(500), json!(0))
    );
    for at in [0, 250, 499] {
        let contact = reply.at(&format!("/data/{at}/contact"));
        assert_eq!((&contact["metadata"]["n"], &contact["object"]), (&json!(at), &json!("contact")));
        assert!(contact["id"].as_str().unwrap().starts_with("con_"));
    }
    let reply = relm.post("/v1/contacts/batch", body(rows(300, 400))).await.status(200);
    assert_eq!((reply.at("/created"), reply.at("/updated")), (json!(200), json!(200)));
    let reply = relm.post("/v1/contacts/batch", body(rows(0, 501))).await.status(422);
    assert_eq!(reply.at("/error/code"), "batch_too_large", "{}", reply.story());
    relm.post("/v1/contacts/batch", body(json!([]))).await.status(400);
    assert_eq!(agent.sql("select count(*)::int as v from contacts").await.v(), 700);

    for (body, says) in [
        (json!({}), "contacts"),
        (json!({"contacts": {}}), "contacts"),
        (json!({"contacts": [], "dedup": 1}), "dedup"),
        (json!({"contacts": [{}], "dedup_on": ["phone"]}), "unique"),
        (json!({"contacts": [{}], "dedup_on": ["nothing"]}), "nothing"),
        (json!({"contacts": [{}], "dedup_on": []}), "dedup_on"),
        (json!({"contacts": [{}], "dedup_on": "email"}), "dedup_on"),
    ] {
        agent.post("/v1/contacts/batch", body).await.fault(400, "invalid_request").says(says);
    }
    // Any unique index can be used.
    agent.sql("alter table contacts add column external text; create unique index contacts_external on contacts (external)").await.status(200);
    let body = |title: &str| json!({"contacts": [{"external": "x1", "title": title}], "dedup_on": ["external"]});
    for (title, count) in [("A", "created"), ("B", "updated")] {
        let reply = agent.post("/v1/contacts/batch", body(title)).await.status(200);
        assert_eq!(reply.at(&format!("/_meta/{count}")), 1, "{}", reply.story());
    }
}

#[tokio::test]
async fn batches_that_meet_leave_each_contact_once() {
    let agent = agent().await;
    let rows = |shift: usize| -> Value {
        (0..200).map(|n| json!({"email": format!("p{}@b.example", (n * 7 + shift * 31) % 200)})).collect()
    };
    let replies = futures_util::future::join_all((0..6).map(|shift| batch(&agent, rows(shift)))).await;
    let mut created = 0;
    for reply in replies {
        let reply = reply.status(200);
        assert_eq!(reply.at("/_meta/failed"), 0, "{}", reply.story());
        created += reply.at("/_meta/created").as_u64().unwrap();
    }
    assert_eq!(created, 200);
    assert_eq!(agent.sql("select count(*)::int as v from contacts").await.v(), 200);
}

#[tokio::test]
async fn a_batch_with_a_key_is_done_once_whatever_is_in_it() {
    let agent = agent().await;
    let headers = [("idempotency-key", "import-1"), ("content-type", "application/json")];
    let body = json!({"contacts": [{"email": "a@b.example"}, {"email": 7}, {"email": "b@b.example", "company_id": "co_none"}]}).to_string();
    let first = agent.send(reqwest::Method::POST, "/v1/contacts/batch", &headers, body.clone()).await.status(200);
    assert_eq!(counts(&first), [1, 0, 2].map(|count| json!(count)), "{}", first.story());
    let again = agent.send(reqwest::Method::POST, "/v1/contacts/batch", &headers, body).await.status(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.body, first.body);
    assert_eq!(agent.sql("select count(*)::int as v from contacts").await.v(), 1);
}

#[tokio::test]
async fn the_workspaces_own_triggers_have_their_say() {
    let agent = agent().await;
    agent
        .sql(
            "create function judge() returns trigger language plpgsql as $$
             begin
               if new.first_name = 'skip' then return null; end if;
               if new.first_name = 'bad' then raise exception 'no % here', new.first_name; end if;
               new.title := 'judged';
               return new;
             end $$;
             create trigger judge before insert on contacts for each row execute function judge()",
        )
        .await
        .status(200);
    let rows = json!([{"first_name": "a"}, {"first_name": "skip"}, {"first_name": "bad"}, {"first_name": "b"}]);
    let reply = batch(&agent, rows).await.status(200);
    assert_eq!(statuses(&reply), ["created", "error", "error", "created"]);
    assert_eq!(reply.at("/data/3/contact/title"), "judged");
    assert!(reply.text("/data/1/error/message").contains("trigger"), "{}", reply.story());
    assert!(reply.text("/data/2/error/message").contains("no bad here"), "{}", reply.story());
}

#[tokio::test]
async fn of_two_spellings_of_one_address_the_later_row_is_kept() {
    let (relm, _) = both().await;
    for (number, spelling) in
        ["SAME{n}@b.example", "same{n}@b.example ", "\u{200b}same{n}@b.example", "\u{a0}Same{n}@B.example\u{feff}"]
            .into_iter()
            .enumerate()
    {
        let first = format!("same{number}@b.example");
        let rows = json!({"contacts": [
            {"email": format!("other{number}@b.example"), "first_name": "0", "phone": "0"},
            {"email": first, "first_name": "OLD"},
            {"email": spelling.replace("{n}", &number.to_string()), "first_name": "NEW", "phone": "1"},
        ]});
        let done = relm.post("/v1/contacts/batch", rows).await.status(200).json();
        let statuses: Vec<&str> =
            done["data"].as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["created", "created", "updated"], "{spelling:?}");
        let found = relm.get(&format!("/v1/contacts?email={first}")).await.status(200).json();
        assert_eq!(found["data"][0]["first_name"], "NEW", "{spelling:?}");
        assert_eq!(found["data"][0]["phone"], "1", "{spelling:?}");
    }
}
