//! A workspace that an older Kith made is brought up to date by its first request.

use kith::clock::{Clock, iso};
use kith::people::workspace::keys::IssuedKey;
use kith::store::cell::migrate::{self, WORKSPACE, WORKSPACE_VERSION};
use kith::store::control::workspaces::NewWorkspace;
use serde_json::json;

use crate::support::{Agent, agent, home, stranger};

/// A caller whose workspace's database is of the first version.
async fn agent_of_version_1() -> Agent {
    let (store, clock) = (&home().kith.app.store, Clock::System);
    let oldest = &WORKSPACE[..1];
    migrate::ensure_template_of(&store.cells, &store.control, 0, oldest).await.expect("the first template");
    store.make_database_of(0, oldest).await.expect("a database of it");
    let (id, key) = (clock.id("ws"), IssuedKey::anonymous(&clock).expect("a key"));
    let new = NewWorkspace {
        id: &id,
        name: None,
        now: &iso(clock.unix_seconds()),
        key: key.row(),
        owner_id: None,
        audit_id: &clock.id("au"),
    };
    assert!(store.control.create_workspace(1, &new).await.expect("an answer"), "the database is there");
    stranger().with_key(key.api_key, id)
}

async fn version(agent: &Agent) -> i32 {
    let sql = "SELECT version FROM databases WHERE workspace_id = $1";
    let rows = home().kith.app.store.control.query(sql, &[Some(&agent.workspace_id)]).await.expect("an answer");
    rows.only().expect("a database").get("version").expect("a version")
}

/// What the built-in tables of a workspace are, its owner's additions left out.
async fn shape(agent: &Agent) -> Vec<String> {
    let store = &home().kith.app.store;
    let place = home().place(&agent.workspace_id).await;
    let mut admin = store.cells.administer(0, &place.database).await.expect("an administrator");
    let sql = "select concat_ws(' ', relation, kind, name, value) as line from kith_guard.shape
               where name not in ('score', 'mine') order by 1";
    let rows = admin.query(sql, &[]).await.expect("an answer");
    (0..rows.len()).map(|row| rows.get(row, "line").expect("a line")).collect()
}

#[tokio::test]
async fn a_workspace_of_version_1_is_upgraded_with_all_that_is_in_it() {
    let agent = agent_of_version_1().await;
    assert_eq!(version(&agent).await, 1);
    // What its owner did while it was old, in the owner's own session.
    let store = &home().kith.app.store;
    let place = home().place(&agent.workspace_id).await;
    let mut owner = store.cells.tenant(0, &place.role, &place.database).await.expect("a session of the owner's");
    owner
        .script(
            "alter table contacts add column score int;
             create table notes (id int primary key, body text);
             insert into contacts (email, score) values ('old@b.example', 7);
             insert into notes values (1, 'kept');
             create function shadow() returns trigger language plpgsql as $$ begin new.score = 8; return new; end $$;
             create trigger mine before insert on contacts for each row execute function shadow();",
        )
        .await
        .expect("the owner's work");
    drop(owner);

    // Many first requests at once: one upgrades, the others wait for it.
    let asks = (0..6).map(|_| agent.get("/v1/contacts?email=OLD@b.example"));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.status(200).column("score"), [7]);
    }
    assert_eq!(version(&agent).await, WORKSPACE_VERSION);
    assert_eq!(agent.get("/v1/notes/1").await.status(200).data()["body"], "kept");
    let made = agent.post("/v1/contacts", json!({"email": "new@b.example"})).await.status(201);
    assert_eq!(made.data()["score"], 8, "the owner's trigger goes on");

    // It is what a new workspace is, and the guards hold on.
    assert_eq!(shape(&agent).await, shape(&self::agent().await).await);
    agent.sql("alter table contacts drop column email").await.fault(403, "sql_error");
    agent.sql("alter table contacts add column another text").await.status(200);
    agent.post("/v1/contacts", json!({"another": "x"})).await.status(201);
}
