//! The sessions that a workspace's requests run in are its own, and stay so.

use serde_json::json;

use crate::support::{agent, home};

#[tokio::test]
async fn a_role_that_changed_its_password_is_let_in_again() {
    let agent = agent().await;
    agent.sql("alter role current_user password 'mine alone'").await.status(200);
    let store = &home().kith.app.store;
    let place = home().place(&agent.workspace_id).await;
    store.pool.evict_database(place.cell, &place.database);
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    assert_eq!(agent.sql("select count(*) as v from contacts").await.status(200).v(), 1);
}

#[tokio::test]
async fn a_roles_own_settings_do_not_bind_the_server() {
    let agent = agent().await;
    let settings = "alter role current_user set timezone = 'Asia/Tokyo'; alter role current_user set search_path = pg_catalog;
                    alter role current_user set default_transaction_read_only = on; alter role current_user set datestyle = 'german'";
    agent.sql(settings).await.status(200);
    let store = &home().kith.app.store;
    let place = home().place(&agent.workspace_id).await;
    store.pool.evict_database(place.cell, &place.database);
    let made = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    assert!(made.text("/data/created_at").ends_with("+00:00"), "{}", made.story());
    let reply = agent.sql("select '2026-02-01'::date::text as v from contacts").await.status(200);
    assert_eq!(reply.v(), "2026-02-01");
}

#[tokio::test]
async fn one_busy_workspace_leaves_the_others_their_turn() {
    let (busy, calm) = (agent().await, agent().await);
    let load = futures_util::future::join_all((0..40).map(|_| busy.sql("select pg_sleep(0.3)")));
    let turns = async {
        for _ in 0..20 {
            calm.get("/v1/contacts").await.status(200);
            calm.sql("select 1").await.status(200);
        }
    };
    let (load, ()) = tokio::join!(load, turns);
    for reply in load {
        reply.status(200);
    }
}

#[tokio::test]
async fn a_workspace_sees_nothing_of_another() {
    let (agent, other) = (agent().await, agent().await);
    other.sql("create table their_secret (id int primary key)").await.status(200);
    agent.get("/v1/their_secret").await.fault(404, "not_found");
    agent.sql("select * from their_secret").await.fault(400, "sql_error");
    let database = other.sql("select current_database() as v").await.status(200).v();
    let reply = agent.sql(&format!("select * from {}.public.contacts", database.as_str().expect("a name"))).await;
    assert_eq!(reply.fault(400, "sql_error").at("/code"), "0A000");
    agent.sql("create extension dblink").await.fault(403, "sql_error");
    agent.sql("create extension postgres_fdw").await.fault(403, "sql_error");
    agent.sql("select pg_read_file('/etc/passwd')").await.fault(403, "sql_error");
    agent.sql("select query from pg_stat_activity").await.fault(403, "sql_error");
}
