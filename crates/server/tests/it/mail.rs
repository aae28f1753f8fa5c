//! E-mails are linked to their contacts and companies automatically, and are sorted by the time when they were received or
//! sent.

use serde_json::{Value, json};

use crate::support::{Agent, agent, psql};

async fn contact(agent: &Agent, email: &str) -> String {
    agent.post("/v1/contacts", json!({"email": email})).await.status(201).id()
}

async fn company(agent: &Agent, domain: &str) -> String {
    agent.post("/v1/companies", json!({"domain": domain})).await.status(201).id()
}

fn ids(found: &Value) -> Vec<String> {
    let mut ids: Vec<String> = serde_json::from_value(found.clone()).unwrap();
    ids.sort();
    ids
}

#[tokio::test]
async fn every_address_is_looked_for_whatever_its_case_and_dress() {
    let agent = agent().await;
    let (ann, bob, cat) = (
        contact(&agent, "Ann@Acme.example").await,
        contact(&agent, "bob+sales@sub.beta.example").await,
        contact(&agent, "c'at@c.example").await,
    );
    let (acme, beta, sub) = (
        company(&agent, "ACME.example").await,
        company(&agent, "beta.example").await,
        company(&agent, "sub.beta.example").await,
    );
    for (mail, contacts, companies) in [
        (json!({"from_addr": "ann@acme.example"}), vec![&ann], vec![&acme]),
        (json!({"from_addr": "\"Ann, of Acme\" <ANN@ACME.EXAMPLE>"}), vec![&ann], vec![&acme]),
        (json!({"to_addrs": ["x@y.example", " Ann <ann@acme.example> "]}), vec![&ann], vec![&acme]),
        (json!({"cc_addrs": ["c'at@c.example"]}), vec![&cat], vec![]),
        (json!({"from_addr": "Bob+Sales@Sub.Beta.Example"}), vec![&bob], vec![&sub]),
        (json!({"from_addr": "bob@sub.beta.example"}), vec![], vec![&sub]),
        (json!({"from_addr": "anybody+tag@Beta.EXAMPLE"}), vec![], vec![&beta]),
        (json!({"from_addr": "ann+x@acme.example"}), vec![], vec![&acme]),
        (json!({"from_addr": "ann@notacme.example"}), vec![], vec![]),
        (json!({"from_addr": "acme.example"}), vec![], vec![]),
        (
            json!({"from_addr": "ann@acme.example", "to_addrs": ["ANN@acme.example", "bob+sales@sub.beta.example"], "cc_addrs": ["c'at@c.example", "z@beta.example"]}),
            vec![&ann, &bob, &cat],
            vec![&acme, &beta, &sub],
        ),
        (json!({}), vec![], vec![]),
        (json!({"to_addrs": [], "cc_addrs": []}), vec![], vec![]),
        // Ids that the caller names are kept, and listed once.
        (
            json!({"from_addr": "ann@acme.example", "contact_ids": [cat, ann.replace("c_", "con_")], "company_ids": [beta]}),
            vec![&ann, &cat],
            vec![&acme, &beta],
        ),
    ] {
        let made = agent.post("/v1/emails", mail.clone()).await.status(201);
        let sorted = |mut ids: Vec<&String>| {
            ids.sort();
            ids.into_iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(ids(&made.data()["contact_ids"]), sorted(contacts), "{}", made.story());
        assert_eq!(ids(&made.data()["company_ids"]), sorted(companies), "{}", made.story());
    }
}

#[tokio::test]
async fn only_live_records_are_found_and_by_every_door() {
    let agent = agent().await;
    let (old, domain) = (contact(&agent, "ann@acme.example").await, company(&agent, "acme.example").await);
    agent.delete(&format!("/v1/contacts/{old}")).await.status(200);
    agent.delete(&format!("/v1/companies/{domain}")).await.status(200);
    let mail = agent.post("/v1/emails", json!({"from_addr": "ann@acme.example"})).await.status(201);
    assert_eq!((mail.at("/data/contact_ids"), mail.at("/data/company_ids")), (json!([]), json!([])));
    let new = contact(&agent, "ann@acme.example").await;
    let insert = "insert into emails (from_addr, to_addrs) values ('x@y.example', '{ANN@acme.example}') returning contact_ids as v";
    assert_eq!(agent.sql(insert).await.status(200).v(), json!([new]));
    let rows = psql(&agent).await.query(insert, &[]).await.unwrap();
    assert_eq!(rows.text(0, 0), Some(format!("{{{new}}}").as_str()));
    let many = "insert into emails (from_addr) select case when g % 2 = 0 then 'ann@acme.example' else 'nobody@x.example' end from generate_series(1, 10) g returning cardinality(contact_ids) as n";
    assert_eq!(agent.sql(many).await.status(200).column("n"), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    // Only the insert links records: neither a later contact nor an update of other columns changes the links.
    let early = agent.post("/v1/emails", json!({"from_addr": "late@z.example"})).await.status(201);
    contact(&agent, "late@z.example").await;
    let path = format!("/v1/emails/{}", early.id());
    assert_eq!(agent.patch(&path, json!({"snippet": "s"})).await.status(200).data()["contact_ids"], json!([]));
}

#[tokio::test]
async fn the_last_mail_is_the_one_that_came_last_not_the_one_recorded_last() {
    let agent = agent().await;
    let (jim, eve) = (contact(&agent, "jim@j.example").await, contact(&agent, "eve@e.example").await);
    for (subject, from, to, received, sent) in [
        ("newest", "Jim <jim@j.example>", "me@m.example", Some("2026-05-03T10:00:00Z"), Some("2026-05-03T09:59:00Z")),
        ("sent by us", "me@m.example", "jim@j.example", None, Some("2026-05-02T10:00:00Z")),
        ("old", "JIM@J.EXAMPLE", "me@m.example", Some("2026-05-01T10:00:00Z"), None),
        ("eve to jim", "eve@e.example", "Jim <jim@j.example>", Some("2026-04-01T10:00:00Z"), None),
        (
            "sent late, got early",
            "jim@j.example",
            "eve@e.example",
            Some("2026-03-01T10:00:00Z"),
            Some("2026-06-01T10:00:00Z"),
        ),
    ] {
        let mail =
            json!({"subject": subject, "from_addr": from, "to_addrs": [to], "received_at": received, "sent_at": sent});
        agent.post("/v1/emails", mail).await.status(201);
    }
    let subjects = async |query: String| agent.get(&format!("/v1/emails?{query}")).await.status(200).column("subject");
    assert_eq!(subjects(format!("from_contact={jim}&limit=1")).await, ["newest"]);
    assert_eq!(subjects(format!("from_contact={jim}")).await, ["newest", "old", "sent late, got early"]);
    assert_eq!(subjects(format!("to_contact={jim}")).await, ["sent by us", "eve to jim"]);
    assert_eq!(
        subjects(format!("involves_contact={jim}")).await,
        ["newest", "sent by us", "old", "eve to jim", "sent late, got early"]
    );
    assert_eq!(subjects(format!("from_contact={jim}&to_contact={eve}")).await, ["sent late, got early"]);
    assert_eq!(
        subjects(format!("involves_contact={}&involves_contact={}", jim.replace("c_", "con_"), eve)).await,
        ["eve to jim", "sent late, got early"]
    );
    assert_eq!(subjects(format!("involves_contact={jim}&received_at_after=2026-04-15")).await, ["newest", "old"]);
    assert_eq!(subjects(format!("from_contact={jim}&subject_contains=LATE")).await, ["sent late, got early"]);
    // Page by page, including one that was recorded without any date.
    agent.post("/v1/emails", json!({"subject": "now", "from_addr": "jim@j.example"})).await.status(201);
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = agent.get(&format!("/v1/emails?involves_contact={jim}&limit=2&cursor={cursor}")).await.status(200);
        all.extend(page.column("subject"));
        match page.at("/_meta/next_cursor") {
            Value::String(next) => cursor = next,
            _ => break,
        }
    }
    assert_eq!(all, ["now", "newest", "sent by us", "old", "eve to jim", "sent late, got early"]);
    agent.get(&format!("/v1/emails?involves_contact={eve}&cursor={cursor}")).await.fault(400, "invalid_cursor");
    // Jim's address changes: mails that he sent are found by his current address, mails that involve him by his id.
    agent.patch(&format!("/v1/contacts/{jim}"), json!({"email": "jim@new.example"})).await.status(200);
    assert_eq!(subjects(format!("involves_contact={jim}")).await.len(), 6);
    agent.get("/v1/emails?from_contact=").await.status(200);
}
