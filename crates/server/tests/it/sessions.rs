//! The sessions that a workspace's requests run in belong to it alone.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::{agent, home, psql};

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

#[tokio::test]
async fn of_many_requests_that_find_a_changed_password_all_are_served() {
    let agent = agent().await;
    let place = home().place(&agent.workspace_id).await;
    for round in 0..3 {
        agent.sql(&format!("alter role current_user password 'mine alone {round}'")).await.status(200);
        home().kith.app.store.pool.evict_database(place.cell, &place.database);
        let [reads, statements] = [0, 1].map(|_| 0..12);
        let reads = futures_util::future::join_all(reads.map(|_| agent.get("/v1/contacts")));
        let statements = futures_util::future::join_all(statements.map(|_| agent.sql("select 1")));
        let (reads, statements) = tokio::join!(reads, statements);
        for reply in reads.into_iter().chain(statements) {
            reply.status(200);
        }
    }
}

#[tokio::test]
async fn a_workspace_that_changes_its_password_in_a_loop_costs_others_nothing() {
    let (hostile, calm) = (agent().await, agent().await);
    let (place, calm_place) = (home().place(&hostile.workspace_id).await, home().place(&calm.workspace_id).await);
    let pool = &home().kith.app.store.pool;
    let mut session = psql(&hostile).await;
    let is_over = AtomicBool::new(false);
    let changing = async {
        let mut changes = 0;
        // The role's row stays locked until the script ends.
        let script = "alter role current_user password 'mine alone'; select pg_sleep(0.02)";
        while !is_over.load(Ordering::Relaxed) {
            changes += u32::from(session.script(script).await.is_ok());
        }
        changes
    };
    let asking = async {
        for _ in 0..20 {
            pool.evict_database(place.cell, &place.database);
            let asks = futures_util::future::join_all((0..4).map(|_| hostile.get("/v1/contacts")));
            let calm_asks = async {
                pool.evict_database(calm_place.cell, &calm_place.database);
                calm.sql("alter role current_user password 'mine alone'").await.status(200);
                pool.evict_database(calm_place.cell, &calm_place.database);
                calm.get("/v1/contacts").await.status(200);
            };
            let (replies, ()) = tokio::join!(asks, calm_asks);
            for reply in replies {
                assert!(matches!(reply.code, 200 | 503), "{}", reply.story());
            }
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (changes, ()) = tokio::join!(changing, asking);
    assert!(changes > 0, "it was changed all the time");
    pool.evict_database(place.cell, &place.database);
    hostile.get("/v1/contacts").await.status(200);
}
