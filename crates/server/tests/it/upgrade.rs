//! A workspace that an older Kith made is brought up to date by its first request. The newer Kith is this one with one more migration.

use std::sync::LazyLock;

use kith::store::cell::migrate::WORKSPACE;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::support::{Agent, agent, home, newer_process, psql, stranger_at};

/// The migrations of a Kith that is newer than this one.
static NEWER: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| [WORKSPACE, &[include_str!("data/made_up_migration.sql")]].concat());

/// Where the newer Kith serves.
async fn newer() -> &'static str {
    static BASE: OnceCell<String> = OnceCell::const_new();
    BASE.get_or_init(|| newer_process(&NEWER)).await
}

async fn version(agent: &Agent) -> usize {
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
async fn an_older_workspace_is_upgraded_with_all_that_is_in_it() {
    let agent = agent().await;
    assert_eq!(version(&agent).await, WORKSPACE.len());
    // What its owner did while it was old, in the owner's own session.
    let mut owner = psql(&agent).await;
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

    let base = newer().await;
    let agent = agent.at(base);
    // Many first requests at once: one upgrades, the others wait for it.
    let asks = (0..6).map(|_| agent.get("/v1/contacts?email=OLD@b.example"));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.status(200).column("score"), [7]);
    }
    assert_eq!(version(&agent).await, NEWER.len());
    assert_eq!(agent.get("/v1/notes/1").await.status(200).data()["body"], "kept");
    let made = agent.post("/v1/contacts", json!({"email": "new@b.example"})).await.status(201);
    assert_eq!(made.data()["score"], 8, "the owner's trigger goes on");

    // It is what a new workspace is, and the guards hold on.
    let fresh = stranger_at(base).with_workspace().await;
    assert_eq!(version(&fresh).await, NEWER.len());
    assert_eq!(shape(&agent).await, shape(&fresh).await);
    for agent in [&agent, &fresh] {
        agent.sql("alter table contacts drop column email").await.fault(403, "sql_error");
        agent.sql("alter table contacts add column another text").await.status(200);
        agent.post("/v1/contacts", json!({"another": "x"})).await.status(201);
    }
}

#[tokio::test]
async fn a_migration_adds_a_built_in_table() {
    let old = agent().await;
    let base = newer().await;
    let old = old.at(base);
    let fresh = stranger_at(base).with_workspace().await;
    for agent in [&old, &fresh] {
        let company = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
        let made = agent.post("/v1/tickets", json!({"title": "Help", "company_id": company})).await.status(201);
        assert!(made.id().starts_with("tk_"), "{}", made.story());
        agent.patch(&format!("/v1/tickets/{}", made.id()), json!({"title": "Help!"})).await.status(200);
        agent.delete(&format!("/v1/companies/{company}")).await.status(200);
        agent.post("/v1/tickets", json!({"title": "Late", "company_id": company})).await.status(422);
        let told = agent.get(&format!("/v1/activity?subject_id={}", made.id())).await.status(200);
        assert_eq!(told.column("verb"), ["updated", "created"]);
        assert_eq!(told.column("subject_type"), ["ticket", "ticket"]);
        assert_eq!(told.column("subject_repr"), ["Help!", "Help"]);
        agent.sql("alter table tickets drop column title").await.fault(403, "sql_error");
        agent.sql("alter table tickets disable trigger kith_record").await.fault(403, "sql_error");
        agent.sql("truncate tickets").await.fault(403, "sql_error");
        let viewer = agent.sql("select has_table_privilege(rolname, 'tickets', 'SELECT') as v from pg_roles where rolname = current_user || '_r'");
        assert_eq!(viewer.await.status(200).column("v"), [true]);
    }
}

#[tokio::test]
async fn nothing_of_a_migration_stays_with_the_workspace() {
    let agent = agent().await;
    let base = newer().await;
    let agent = agent.at(base);
    agent.get("/v1/tickets").await.status(200);
    for function in ["record_change()", "no_truncate()", "check_custom()", "place_deal()", "link()"] {
        let sql = format!("select has_function_privilege('kith.{function}', 'EXECUTE') as v");
        assert_eq!(agent.sql(&sql).await.status(200).column("v"), [false], "{function}");
    }
    let found = agent.sql("select count(*) as v from kith_guard.migration").await.status(200);
    assert_eq!(found.column("v"), [0]);
}

#[tokio::test]
async fn another_session_gains_nothing_while_a_migration_runs() {
    let agent = agent().await;
    let place = home().place(&agent.workspace_id).await;
    let mut admin = home().kith.app.store.cells.administer(0, &place.database).await.expect("an administrator");
    // No session has this process id, so whoever connects is another.
    let begin = format!("select kith_guard.begin_section('{}'::regrole, 0)", place.role);
    admin.script(&begin).await.expect("a section that begins");
    for sql in [
        "create table forged (id text, name text);
         create trigger kith_record after insert on forged for each row execute function kith.record_change('contact', '{name}')",
        "create trigger zz after insert on contacts for each row execute function kith.record_change('contact')",
        "create table forged (id text); select kith.make_builtin('forged', 'contact', array['{id}'])",
        "alter table contacts disable trigger kith_record",
    ] {
        agent.sql(sql).await.fault(403, "sql_error");
    }
    admin.script(&format!("select kith_guard.end_section('{}'::regrole)", place.role)).await.expect("its end");
}
