//! `Idempotency-Key` on every kind of POST, and viewers' keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kith::access::api_key;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, agent_at, home};

const HOUR_MS: i64 = 60 * 60 * 1000;

async fn keyed(agent: &Agent, key: &str, path: &str, body: Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    agent.send(Method::POST, path, &headers, body.to_string()).await
}

/// A client of the same workspace with a new key of another role.
pub async fn with_role(agent: &Agent, role: &str) -> Agent {
    let key = api_key::make("acrm_live_");
    let hash = api_key::hash(&key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (id, hint) = (format!("ak_{}", &hash[..26]), api_key::hint(&key, "acrm_live_"));
    let sql = "INSERT INTO api_keys (id, workspace_id, hash, hint, mode, role, created_at)
               VALUES ($1, $2, decode($3, 'hex'), $4, 'live', $5, now())";
    home().control(sql, &[&id, &agent.workspace_id, &hash, &hint, role]).await;
    agent.clone().with_key(key, agent.workspace_id.clone())
}

async fn count(agent: &Agent, table: &str) -> Value {
    agent.sql(&format!("select count(*) as v from {table}")).await.status(200).v()
}

#[tokio::test]
async fn every_kind_of_post_is_done_once_and_answered_alike() {
    let agent = agent().await;
    agent.sql("create table things (id int generated always as identity primary key, n int)").await.status(200);
    agent
        .sql("insert into contacts (id, email) values ('c_1', 'a@b.example'), ('c_2', 'c@d.example')")
        .await
        .status(200);
    agent.delete("/v1/contacts/c_2").await.status(200);
    let list = agent
        .post("/v1/lists", json!({"name": "S", "target_table": "contacts", "kind": "static"}))
        .await
        .status(201)
        .id();
    let before = count(&agent, "activity").await.as_u64().unwrap();
    for (number, (path, body, status)) in [
        ("/v1/things", json!({"n": 1}), 201),
        ("/v1/contacts", json!({"email": "new@b.example"}), 201),
        ("/v1/contacts", json!({"email": "A@b.example"}), 409),
        ("/v1/contacts", json!({"company_id": "co_none"}), 422),
        ("/v1/contacts", json!({"nope": 1}), 400),
        ("/v1/nope", json!({}), 404),
        ("/v1/activity", json!({}), 403),
        ("/v1/contacts/c_2/restore", json!({}), 200),
        ("/v1/contacts/c_none/restore", json!({}), 404),
        (&format!("/v1/lists/{list}/members"), json!({"member_id": "c_1"}), 201),
        (&format!("/v1/lists/{list}/members"), json!({"member_id": "c_none"}), 422),
        ("/v1/sql", json!({"sql": "insert into things (n) values ($1) returning id as v", "params": [2]}), 200),
        ("/v1/sql", json!({"sql": "create table made (id int primary key); insert into made values (1)"}), 200),
        ("/v1/sql", json!({"sql": "select 1 / 0"}), 400),
        ("/v1/sql", json!({"sql": "begin"}), 400),
        ("/v1/sql", json!({"sql": "delete from activity"}), 403),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key {number}");
        let first = keyed(&agent, &key, path, body.clone()).await.status(status);
        assert_eq!(first.header("idempotent-replayed"), "", "{}", first.story());
        for _ in 0..2 {
            let again = keyed(&agent, &key, path, body.clone()).await.status(status);
            assert_eq!(again.header("idempotent-replayed"), "true", "{}", again.story());
            assert_eq!((&again.body, again.header("content-type")), (&first.body, first.header("content-type")));
            assert_eq!(again.header("x-ratelimit-limit"), "1000000");
            assert_ne!(again.header("x-request-id"), first.header("x-request-id"), "each request has its own");
        }
    }
    assert_eq!(
        (count(&agent, "things").await, count(&agent, "made").await, count(&agent, "contacts").await),
        (json!(2), json!(1), json!(3))
    );
    // A created contact, a conflict, a restore and a member: one entry each.
    assert_eq!(count(&agent, "activity").await.as_u64().unwrap(), before + 4);
    agent.get("/v1/made/1").await.status(200);
    // Other methods ignore the key.
    let headers = [("content-type", "application/json"), ("idempotency-key", "key 1")];
    agent.send(Method::PATCH, "/v1/contacts/c_1", &headers, json!({"title": "x"}).to_string()).await.status(200);
    agent.send(Method::GET, "/v1/contacts", &headers, "").await.status(200);
}

#[tokio::test]
async fn another_body_path_or_query_is_another_request() {
    let agent = agent().await;
    keyed(&agent, "k", "/v1/companies", json!({"name": "A"})).await.status(201);
    for (path, body) in [
        ("/v1/companies", json!({"name": "B"})),
        ("/v1/companies", json!({"name": "A", "size": null})),
        ("/v1/deals", json!({"name": "A"})),
        ("/v1/companies/restore", json!({"name": "A"})),
        ("/v1/companies?x=1", json!({"name": "A"})),
        ("/v1/sql", json!({"sql": "select 1"})),
        ("/v1/nope", json!({"name": "A"})),
    ] {
        let reply = keyed(&agent, "k", path, body).await;
        if reply.code != 405 && reply.code != 404 {
            reply.fault(409, "idempotency_conflict");
        }
    }
    keyed(&agent, "k", "/v1/companies", json!({"name": "A"})).await.status(201);
    assert_eq!((count(&agent, "companies").await, count(&agent, "deals").await), (json!(1), json!(0)));
    // A key is any plain text.
    for key in ["K", "ключ", "a b\"c'", &"x".repeat(255)] {
        let reply = keyed(&agent, key, "/v1/companies", json!({"name": key})).await;
        assert_eq!(reply.code, if key.is_ascii() { 201 } else { 400 }, "{}", reply.story());
    }
}

#[tokio::test]
async fn twenty_at_once_do_it_once() {
    let agent = agent().await;
    let tries = (0..20).map(|_| keyed(&agent, "k", "/v1/companies", json!({"name": "Acme"})));
    let replies = futures_util::future::join_all(tries).await;
    let mut bodies = Vec::new();
    for reply in replies {
        if reply.code == 409 {
            reply.fault(409, "idempotency_in_progress");
        } else {
            bodies.push(reply.status(201).body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "all have one answer");
    assert_eq!(count(&agent, "companies").await, 1);
    // Two requests with the same key: one is performed, and all others are refused.
    let tries = (0..20).map(|number| keyed(&agent, "c", "/v1/companies", json!({"name": format!("N{}", number % 2)})));
    let made = futures_util::future::join_all(tries).await.iter().filter(|reply| reply.code == 201).count();
    assert!((1..=10).contains(&made), "{made}");
    assert_eq!(count(&agent, "companies").await, 2);
    let feed = agent.get("/v1/activity?subject_type=company").await.column("verb");
    assert_eq!(feed, ["created", "created"]);
}

#[tokio::test]
async fn a_key_is_kept_for_a_day() {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let agent = agent_at(&ahead_ms).await;
    let first = keyed(&agent, "k", "/v1/companies", json!({"name": "A"})).await.status(201);
    ahead_ms.store(24 * HOUR_MS - 60_000, Ordering::Relaxed);
    let again = keyed(&agent, "k", "/v1/companies", json!({"name": "A"})).await.status(201);
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, "true".into()));
    keyed(&agent, "k", "/v1/companies", json!({"name": "B"})).await.fault(409, "idempotency_conflict");
    ahead_ms.store(24 * HOUR_MS + 60_000, Ordering::Relaxed);
    let anew = keyed(&agent, "k", "/v1/companies", json!({"name": "B"})).await.status(201);
    assert_eq!((anew.data()["name"].clone(), anew.header("idempotent-replayed")), (json!("B"), String::new()));
    assert_eq!(keyed(&agent, "k", "/v1/companies", json!({"name": "B"})).await.status(201).body, anew.body);
    assert_eq!(count(&agent, "companies").await, 2);
}

#[tokio::test]
async fn what_the_workspaces_own_code_gets_wrong_is_its_answer_with_a_key_too() {
    let agent = agent().await;
    agent
        .sql("create table things (id int primary key, n int);
              create function spoil() returns trigger language plpgsql as $$ begin
                if new.n = 1 then perform nope from things; elsif new.n = 2 then perform nowhere(); elsif new.n = 3 then raise exception 'no threes';
                elsif new.n = 4 then insert into things values (new.id, 9); end if; return new; end $$;
              create trigger spoil after insert on things for each row execute function spoil()")
        .await
        .status(200);
    for (n, status, code) in
        [(1, 400, "sql_error"), (2, 400, "sql_error"), (3, 422, "validation_failed"), (4, 409, "conflict")]
    {
        let plain = agent.post("/v1/things", json!({"id": n, "n": n})).await.fault(status, code);
        let first = keyed(&agent, &format!("k{n}"), "/v1/things", json!({"id": n, "n": n})).await.fault(status, code);
        assert_eq!(first.at("/message"), plain.at("/message"));
        let again = keyed(&agent, &format!("k{n}"), "/v1/things", json!({"id": n, "n": n})).await.status(status);
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    assert_eq!(count(&agent, "things").await, 0);
    // A column that was added over another interface is found with a key as well as without one.
    crate::support::psql(&agent)
        .await
        .script("drop trigger spoil on things; alter table things add extra text")
        .await
        .unwrap();
    assert_eq!(keyed(&agent, "e", "/v1/things", json!({"id": 5, "extra": "x"})).await.status(201).data()["extra"], "x");
    crate::support::psql(&agent).await.script("alter table things drop extra, add other jsonb").await.unwrap();
    assert_eq!(
        keyed(&agent, "f", "/v1/things", json!({"id": 6, "other": {"a": 1}})).await.status(201).data()["other"],
        json!({"a": 1})
    );
}

#[tokio::test]
async fn a_viewers_key_reads_everything_and_writes_nothing() {
    let owner = agent().await;
    owner.sql("create table things (id int primary key, n int); insert into things values (1, 1); create sequence counter; create view seen as select * from things").await.status(200);
    let contact = owner.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let list = owner
        .post("/v1/lists", json!({"name": "L", "target_table": "contacts", "filter_predicate": "email is not null"}))
        .await
        .status(201)
        .id();
    let viewer = with_role(&owner, "viewer").await;
    for path in [
        "/v1/contacts",
        "/v1/things",
        "/v1/things/1",
        "/v1/seen",
        "/v1/activity",
        "/v1/tables",
        "/v1/schema",
        "/v1/contacts/search?q=b.example",
        &format!("/v1/contacts/{contact}"),
        &format!("/v1/lists/{list}/rows"),
        "/v1/deals?custom.k=v",
    ] {
        let (theirs, ours) = (viewer.get(path).await.status(200).data(), owner.get(path).await.status(200).data());
        if path != "/v1/tables" {
            assert_eq!(theirs, ours, "{path}");
        }
    }
    assert_eq!(viewer.sql("select count(*) as v from contacts").await.status(200).v(), 1);
    // A viewer can also read a table that is created now.
    owner.sql("create table later (id int primary key)").await.status(200);
    viewer.get("/v1/later").await.status(200);

    viewer.post("/v1/contacts", json!({})).await.fault(403, "forbidden");
    viewer.patch(&format!("/v1/contacts/{contact}"), json!({"title": "x"})).await.fault(403, "forbidden");
    viewer.delete(&format!("/v1/contacts/{contact}")).await.fault(403, "forbidden");
    viewer.post(&format!("/v1/contacts/{contact}/restore"), json!({})).await.fault(403, "forbidden");
    viewer.post(&format!("/v1/lists/{list}/members"), json!({"member_id": contact})).await.fault(403, "forbidden");
    for sql in [
        "insert into things values (2, 2)",
        "update contacts set title = 'x'",
        "delete from things",
        "create table mine (id int)",
        "select nextval('counter')",
        "set transaction read write; delete from things",
        "set session characteristics as transaction read write; delete from things",
        "reset role; delete from things",
        "with w as (delete from things returning 1) select * from w",
        "do $$ begin delete from things; end $$",
        "vacuum things",
        "truncate things",
    ] {
        let reply = viewer.sql(sql).await;
        assert!(matches!(reply.code, 400 | 403), "{}", reply.story());
    }
    viewer.sql("delete from things").await.status(403);
    // The same with a key as without one: a viewer's reads are not stored, and use no key that a writer could use.
    keyed(&viewer, "k", "/v1/contacts", json!({"email": "v@b.example"})).await.fault(403, "forbidden");
    let sql = json!({"sql": "select count(*) as v from contacts"});
    let first = keyed(&viewer, "s", "/v1/sql", sql.clone()).await.status(200);
    owner.post("/v1/contacts", json!({})).await.status(201);
    let again = keyed(&viewer, "s", "/v1/sql", sql).await.status(200);
    assert_eq!((first.v(), again.v(), again.header("idempotent-replayed")), (json!(1), json!(2), "".into()));
    keyed(&owner, "s", "/v1/companies", json!({"name": "Acme"})).await.status(201);
    keyed(&viewer, "d", "/v1/sql", json!({"sql": "delete from things"})).await.status(403);
    assert_eq!((count(&owner, "things").await, count(&owner, "contacts").await), (json!(1), json!(2)));
    // A member's key can write. The feed distinguishes the keys.
    let member = with_role(&owner, "member").await;
    let made = member.post("/v1/contacts", json!({"title": "by a member"})).await.status(201).id();
    let actors = owner.get("/v1/activity?verb=created&subject_type=contact").await.status(200);
    assert_eq!(actors.at("/data/0/subject_id"), made);
    assert_ne!(actors.at("/data/0/actor"), actors.at("/data/1/actor"));
    // A request that was refused to the viewer is performed for a member who sends the same one, and the viewer does not get
    // its result.
    for (key, path, body) in
        [("k", "/v1/contacts", json!({"email": "v@b.example"})), ("d", "/v1/sql", json!({"sql": "delete from things"}))]
    {
        let done = keyed(&member, key, path, body.clone()).await;
        assert!(matches!(done.code, 200 | 201) && done.header("idempotent-replayed").is_empty(), "{}", done.story());
        let refused = keyed(&viewer, key, path, body.clone()).await.status(403);
        assert_eq!(refused.header("idempotent-replayed"), "", "{}", refused.story());
        let again = keyed(&member, key, path, body).await.status(done.code);
        assert_eq!((again.header("idempotent-replayed"), again.body), ("true".into(), done.body));
    }
}

#[tokio::test]
async fn a_revoked_key_ends_where_it_was_not_remembered() {
    let owner = agent().await;
    let member = with_role(&owner, "member").await;
    home()
        .control(
            "UPDATE api_keys SET revoked_at = now() WHERE hash = $1::bytea",
            &[&format!("\\x{}", hex(&member.key))],
        )
        .await;
    member.get("/v1/contacts").await.fault(401, "unauthorized");
    owner.get("/v1/contacts").await.status(200);
}

fn hex(key: &str) -> String {
    api_key::hash(key).iter().map(|byte| format!("{byte:02x}")).collect()
}
