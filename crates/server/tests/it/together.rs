//! Fast reads that arrive at the same time share a round trip to the database. This must not change any answer.

use futures_util::future::join_all;
use pg::conn::Begin;
use pg::types::TypeCache;
use serde_json::json;

use crate::support::{agent, psql};

#[tokio::test]
async fn each_of_many_reads_at_once_gets_its_own_answer() {
    let agent = agent().await;
    let mut ids = Vec::new();
    for number in 0..20 {
        let company = agent.post("/v1/companies", json!({"name": format!("Company {number}")})).await.status(201).id();
        let email = format!("reader-{number}@example.com");
        let contact = json!({"email": email, "company_id": company});
        ids.push((number, agent.post("/v1/contacts", contact).await.status(201).id(), company));
    }
    let agent = &agent;
    let reads = (0..10).flat_map(|_| &ids).map(|(number, contact, company)| async move {
        let found = agent.get(&format!("/v1/contacts/{contact}")).await.status(200);
        assert_eq!(found.text("/data/email"), format!("reader-{number}@example.com"));
        assert_eq!(found.text("/data/company/name"), format!("Company {number}"));
        let found = agent.get(&format!("/v1/companies/{company}")).await.status(200);
        assert_eq!(found.text("/data/contacts/0/id"), *contact);
        let missing = format!("/v1/contacts/{}", contact.replace("c_0", "c_7"));
        agent.get(&missing).await.fault(404, "not_found");
        let limit = number % 7 + 1;
        let page = agent.get(&format!("/v1/contacts?limit={limit}")).await.status(200);
        assert_eq!(page.data().as_array().map(Vec::len), Some(limit));
    });
    join_all(reads).await;
}

#[tokio::test]
async fn reads_of_a_locked_table_do_not_hold_up_the_others() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"name": "Open"})).await.status(201).id();
    let contact = agent.post("/v1/contacts", json!({"email": "locked@example.com"})).await.status(201).id();
    let mut session = psql(&agent).await;
    let mut work = session.begin(Begin::ReadWrite(&[])).await.expect("a transaction");
    work.prepare("LOCK TABLE contacts IN ACCESS EXCLUSIVE MODE", &TypeCache::default()).await.expect("a statement");
    work.discard().await.expect("a lock");
    let locked = (0..4).map(|_| {
        let (agent, path) = (agent.clone(), format!("/v1/contacts/{contact}"));
        tokio::spawn(async move { agent.get(&path).await })
    });
    let locked: Vec<_> = locked.collect();
    let company = &format!("/v1/companies/{company}?include_deleted=true");
    let agent = &agent;
    let open = (0..40).map(|_| async move {
        agent.get("/v1/lists").await.status(200);
        agent.get("/v1/pipelines").await.status(200);
    });
    join_all(open).await;
    assert!(locked.iter().all(|read| !read.is_finished()), "they had to wait");
    work.commit().await.expect("a commit");
    for read in locked {
        assert_eq!(read.await.expect("no panic").status(200).id(), contact);
    }
    // Requests that were cancelled meanwhile leave nothing behind.
    agent.get(company).await.status(200);
}

#[tokio::test]
async fn reads_at_once_see_a_table_change_under_them() {
    let agent = &agent().await;
    agent.sql("CREATE TABLE things (id bigint PRIMARY KEY, a int)").await.status(200);
    agent.sql("INSERT INTO things SELECT n, n FROM generate_series(1, 30) AS n").await.status(200);
    let mut session = psql(agent).await;
    for (change, column) in [
        ("ADD b text DEFAULT 'b'", "b"),
        ("RENAME b TO c", "c"),
        ("ALTER c DROP DEFAULT, ALTER c TYPE jsonb USING '[]'", "c"),
    ] {
        let before = (1..=30).map(|id| async move { agent.get(&format!("/v1/things/{id}")).await.status(200) });
        join_all(before).await;
        session.script(&format!("ALTER TABLE things {change}")).await.expect("a change");
        let after = (1..=30).map(|id| async move {
            let found = agent.get(&format!("/v1/things/{id}")).await.status(200).data();
            assert_eq!((&found["a"], found.get(column).is_some()), (&json!(id), true), "{found}");
        });
        join_all(after).await;
    }
}
