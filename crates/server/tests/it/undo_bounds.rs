//! Where undo ends: what is too old, what nobody may undo, what stands in the way, and what the change log does not see.

use reqwest::Method;
use serde_json::json;

use crate::belongings::owned;
use crate::direct::{come, connection};
use crate::keyed::with_role;
use crate::support::{Agent, agent, home};

async fn sql_in_run(agent: &Agent, run: &str, sql: &str) {
    let headers = [("content-type", "application/json"), ("x-run-id", run)];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await.status(200);
}

/// The conflict of an undo of this run: its table and reason.
async fn conflict(agent: &Agent, run: &str) -> (String, String) {
    let refused = agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.fault(409, "undo_conflict");
    (refused.text("/conflicts/0/table"), refused.text("/conflicts/0/reason"))
}

#[tokio::test]
async fn what_is_older_than_the_log_is_gone() {
    let agent = agent().await;
    sql_in_run(&agent, "old", "insert into contacts (email) values ('a@b.example')").await;
    let entry = agent.get("/v1/activity").await.text("/data/0/id");
    let request = agent.get("/v1/runs/old/changes").await.text("/data/0/request_id");
    let place = home().place(&agent.workspace_id).await;
    let store = &home().kith.app.store;
    let mut admin = store.cells.administer(place.cell, &place.database).await.expect("the administrator");
    for (table, time) in [("kith.change", "at"), ("kith.run", "started_at"), ("public.activity", "occurred_at")] {
        let sql = format!("update {table} set {time} = {time} - interval '31 days'");
        admin.query(&sql, &[]).await.expect("an older log");
    }
    let paths =
        ["/v1/runs/old/undo".to_owned(), format!("/v1/requests/{request}/undo"), format!("/v1/activity/{entry}/undo")];
    for path in &paths {
        agent.post(path, json!({})).await.fault(410, "undo_expired");
    }
    assert_eq!(agent.get("/v1/runs/old").await.status(200).at("/data/affected/contacts/created"), 1);
    let other = partly_old_runs().await;
    store.sweep_changes(30).await.expect("a sweep");
    let kept = admin.query("select count(*) as kept from kith.change", &[]).await.expect("a count");
    assert_eq!(kept.text(0, 0), Some("0"));
    for path in &paths {
        agent.post(path, json!({})).await.fault(410, "undo_expired");
    }
    let run = agent.get("/v1/runs/old").await.status(200);
    assert_eq!((run.at("/data/undoable"), run.at("/data/why")), (json!("no"), json!(["no changes are kept"])));
    // A run that lost a part says so, and the rest goes back. A part that was undone before is not missed.
    let run = other.get("/v1/runs/r").await.status(200);
    assert_eq!(
        (run.at("/data/undoable"), run.at("/data/why")),
        (json!("partly"), json!(["changes that are no longer kept"]))
    );
    assert_eq!(other.post("/v1/runs/r/undo", json!({})).await.status(200).at("/data/undone"), 1);
    let run = other.get("/v1/runs/undone").await.status(200);
    assert_eq!((run.at("/data/undoable"), run.at("/data/why")), (json!("whole"), json!([])));
    let left = other.sql("select string_agg(email::text, ',' order by created_at) as v from contacts").await.v();
    assert_eq!(left, "old@r.example,new@undone.example");
}

/// A workspace with two runs of which the older half is due. In the run `undone` it is undone.
async fn partly_old_runs() -> Agent {
    let agent = agent().await;
    for run in ["r", "undone"] {
        for age in ["old", "new"] {
            sql_in_run(&agent, run, &format!("insert into contacts (email) values ('{age}@{run}.example')")).await;
        }
    }
    let request = agent.get("/v1/runs/undone/changes").await.text("/data/0/request_id");
    agent.post(&format!("/v1/requests/{request}/undo"), json!({})).await.status(200);
    let place = home().place(&agent.workspace_id).await;
    let store = &home().kith.app.store;
    let mut admin = store.cells.administer(place.cell, &place.database).await.expect("the administrator");
    let older = "update kith.change set at = at - interval '31 days' where image ->> 'email' like 'old@%' and op = 'I'";
    admin.query(older, &[]).await.expect("an older log");
    agent
}

#[tokio::test]
async fn a_viewer_reads_runs_and_undoes_none() {
    let agent = agent().await;
    sql_in_run(&agent, "r", "insert into contacts (email) values ('a@b.example')").await;
    let id = agent.get("/v1/runs/r").await.id();
    let viewer = with_role(&agent, "viewer").await;
    assert_eq!(viewer.get(&format!("/v1/runs/{id}")).await.status(200).text("/data/run_id"), "r");
    assert_eq!(viewer.get(&format!("/v1/runs/{id}/changes")).await.status(200).column("verb"), ["created"]);
    viewer.post(&format!("/v1/runs/{id}/undo"), json!({})).await.fault(403, "forbidden");
    viewer.post(&format!("/v1/runs/{id}/finish"), json!({"status": "failed"})).await.fault(403, "forbidden");
    viewer.post("/v1/runs", json!({"run_id": "mine"})).await.fault(403, "forbidden");
    assert_eq!(agent.get("/v1/contacts").await.column("id").len(), 1);
}

/// A viewer's role decides what the log shows it.
#[tokio::test]
async fn a_viewer_sees_no_changes_of_what_it_cannot_read() {
    let agent = agent().await;
    agent
        .sql("create table shown (id int primary key); create table hidden (id int primary key); create table policed (id int primary key);
              create table gone (id int primary key)")
        .await
        .status(200);
    let role = home().place(&agent.workspace_id).await.role;
    let revoke = format!("revoke select on hidden from {role}_r; alter table policed enable row level security");
    agent.sql(&revoke).await.status(200);
    let tables = ["hidden", "policed", "gone", "shown"];
    let insert = tables.map(|table| format!("insert into {table} values (7)")).join(";");
    sql_in_run(&agent, "r", &insert).await;
    agent.sql("drop table gone").await.status(200);
    let id = agent.get("/v1/runs/r").await.id();
    let viewer = with_role(&agent, "viewer").await;
    for (path, column) in [
        (format!("/v1/runs/{id}/changes"), "table"),
        (format!("/v1/runs/{id}/changes?net=true"), "table"),
        ("/v1/events".into(), "type"),
    ] {
        let seen = async |by: &Agent| {
            let all = by.get(&path).await.status(200).column(column).into_iter();
            all.filter_map(|it| it.as_str().map(|it| it.trim_end_matches(".created").to_owned()))
                .filter(|it| !it.starts_with("pipeline"))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(&agent).await, tables, "{path}");
        assert_eq!(seen(&viewer).await, ["shown"], "{path}");
    }
}

#[tokio::test]
async fn a_run_says_what_it_cannot_undo() {
    let agent = agent().await;
    agent.sql("create table plain (n int); create table kept (id int primary key)").await.status(200);
    sql_in_run(&agent, "r", "insert into kept values (1); insert into plain values (1); create index on kept (id)")
        .await;
    let run = agent.get("/v1/runs/r").await.status(200);
    assert_eq!(run.at("/data/undoable"), "partly");
    assert_eq!(run.at("/data/why"), json!(["writes to plain, which has no primary key", "CREATE INDEX"]));
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(agent.sql("select count(*) as v from plain").await.v(), 1);
    assert_eq!(agent.sql("select count(*) as v from kept").await.v(), 0);
    // A table brings triggers of the log's with it, which nobody asked for.
    sql_in_run(&agent, "ddl", "create table more (id int primary key)").await;
    let run = agent.get("/v1/runs/ddl").await.status(200);
    assert_eq!((run.at("/data/undoable"), run.at("/data/why")), (json!("no"), json!(["CREATE TABLE"])));
    // What no change shows was kept all the same, so its requests count.
    for _ in 0..2 {
        sql_in_run(&agent, "ddl", "insert into plain values (2)").await;
    }
    let run = agent.get("/v1/runs/ddl").await.status(200);
    let why = json!(["CREATE TABLE", "writes to plain, which has no primary key"]);
    assert_eq!((run.at("/data/requests"), run.at("/data/why")), (json!(3), why));
    // Rows that come and go with a table, and those that a statement reaches through the table's parent.
    let tables = "create table years (id int, y int, primary key (id, y)) partition by list (y); create table first (id int, y int, primary key (id, y));
                  create table base (id int primary key, v text); create table bare () inherits (base);
                  insert into first values (1, 1); insert into bare values (1, 'x');
                  create function kept() returns trigger language plpgsql as $$ begin return new; end $$";
    agent.sql(tables).await.status(200);
    for (run, statement, why) in [
        ("attach", "alter table years attach partition first for values in (1)", "ALTER TABLE"),
        ("detach", "alter table years detach partition first", "ALTER TABLE"),
        ("no inherit", "alter table bare no inherit base", "ALTER TABLE"),
        ("inherit", "alter table bare inherit base", "ALTER TABLE"),
        ("parent", "update base set v = 'y'", "writes to bare, which has no primary key"),
        ("key", "alter table bare add primary key (id)", "ALTER TABLE"),
        ("own", "create trigger own before insert on base execute function kept()", "CREATE TRIGGER"),
        ("own gone", "drop trigger own on base", "DROP TRIGGER"),
    ] {
        sql_in_run(&agent, run, statement).await;
        let shown = agent.get(&format!("/v1/runs/{}", run.replace(' ', "%20"))).await.status(200);
        assert_eq!((shown.at("/data/undoable"), shown.at("/data/why")), (json!("no"), json!([why])), "{run}");
    }
}

/// Kith makes the index of a custom field and drops it, in an undo too. An index of the workspace's own stays.
#[tokio::test]
async fn a_custom_field_goes_with_its_index() {
    let agent = agent().await;
    let field = json!({"object_type": "contact", "key": "tier", "type": "text"}).to_string();
    let headers = [("content-type", "application/json"), ("x-run-id", "field")];
    agent.send(Method::POST, "/v1/schema/fields", &headers, field).await.status(201);
    let shown = agent.get("/v1/runs/field").await.status(200);
    assert_eq!((shown.at("/data/undoable"), shown.at("/data/why")), (json!("whole"), json!([])));
    let indexes = "select count(*) as v from pg_indexes where indexdef like '%tier%'";
    assert_eq!(agent.sql(indexes).await.v(), 1);
    agent.post("/v1/runs/field/undo", json!({})).await.status(200);
    assert_eq!(agent.sql(indexes).await.v(), 0);
    sql_in_run(&agent, "own", "create index own on contacts (title)").await;
    assert_eq!(agent.get("/v1/runs/own").await.status(200).at("/data/why"), json!(["CREATE INDEX"]));
}

#[tokio::test]
async fn each_thing_in_the_way_has_its_reason() {
    let agent = agent().await;
    agent
        .sql(
            "create table parents (id int primary key, name text);
             create table children (id int primary key, parent int references parents, note text);
             insert into parents select g, 'p' from generate_series(1, 9) g; insert into children select g, g, 'c' from generate_series(1, 9) g;
             create function no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$",
        )
        .await
        .status(200);
    for (run, work, since, table, reason) in [
        (
            "gone",
            "update children set note = 'x' where id = 1",
            "delete from children where id = 1",
            "children",
            "row_gone",
        ),
        (
            "exists",
            "delete from children where id = 2",
            "insert into children values (2, 2, 'new')",
            "children",
            "row_exists",
        ),
        ("parent", "delete from children where id = 3", "delete from parents where id = 3", "children", "parent_gone"),
        (
            "schema",
            "update parents set name = 'x' where id = 4",
            "alter table parents alter name type varchar(9)",
            "parents",
            "schema_changed",
        ),
        (
            "permitted",
            "update children set note = 'y' where id = 5",
            "create trigger no before update on children for each row execute function no()",
            "children",
            "not_permitted",
        ),
    ] {
        sql_in_run(&agent, run, work).await;
        agent.sql(since).await.status(200);
        assert_eq!(conflict(&agent, run).await, (table.to_owned(), reason.to_owned()), "{run}");
    }
}

#[tokio::test]
async fn an_undo_is_held_to_its_limit() {
    let agent = agent().await;
    sql_in_run(&agent, "r", "insert into contacts (phone) select n::text from generate_series(1, 5) n").await;
    let limited = [("content-type", "application/json"), ("x-max-affected", "4")];
    let refused = agent.send(Method::POST, "/v1/runs/r/undo", &limited, "{}").await.fault(412, "max_affected_exceeded");
    assert_eq!(refused.at("/affected/contacts/deleted"), 5);
    assert_eq!(agent.get("/v1/contacts").await.column("id").len(), 5);
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(agent.get("/v1/contacts").await.column("id").len(), 0);
}

#[tokio::test]
async fn a_partition_counts_under_its_root() {
    let agent = agent().await;
    agent
        .sql(
            "create table events_of (id int, at date, primary key (id, at)) partition by range (at);
             create table events_of_2026 partition of events_of for values from ('2026-01-01') to ('2027-01-01')",
        )
        .await
        .status(200);
    sql_in_run(
        &agent,
        "r",
        "insert into events_of values (1, '2026-05-01'); insert into events_of_2026 values (2, '2026-06-01')",
    )
    .await;
    let run = agent.get("/v1/runs/r").await.status(200);
    assert_eq!(
        run.at("/data/affected"),
        json!({"events_of": {"created": 2, "updated": 0, "deleted": 0, "restored": 0}})
    );
    assert_eq!(agent.get("/v1/runs/r/changes").await.at("/data/0/id"), json!({"id": 1, "at": "2026-05-01"}));
    assert_eq!(agent.post("/v1/runs/r/undo", json!({})).await.status(200).at("/data/undone"), 2);
    assert_eq!(agent.sql("select count(*) as v from events_of").await.v(), 0);
}

#[tokio::test]
async fn a_column_that_another_command_renames_stays_in_the_log() {
    let agent = agent().await;
    agent
        .sql("create table tagged (id int primary key, tags text[]); insert into tagged values (1, '{a}')")
        .await
        .status(200);
    agent.sql("alter view tagged rename column tags to labels").await.status(200);
    sql_in_run(&agent, "r", "update tagged set labels = '[0:0]={b}'").await;
    let change = agent.get("/v1/runs/r/changes").await.status(200);
    assert_eq!(change.at("/data/0/changes"), json!({"labels": {"from": ["a"], "to": ["b"]}}));
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(agent.sql("select labels::text as v from tagged").await.v(), "{a}");
}

#[tokio::test]
async fn a_table_of_another_schema_is_in_the_log() {
    let (owner, live) = owned().await;
    let mut conn = come(&connection(&owner).await.0).await.expect("a session");
    conn.script("create schema app; create table app.notes (id integer primary key, body text)")
        .await
        .expect("a table");
    sql_in_run(&live, "r", "insert into app.notes values (1, 'kept'); update app.notes set body = 'changed'").await;
    let run = live.get("/v1/runs/r").await.status(200);
    assert_eq!(
        run.at("/data/affected"),
        json!({"app.notes": {"created": 1, "updated": 0, "deleted": 0, "restored": 0}})
    );
    sql_in_run(&live, "s", "delete from app.notes").await;
    live.post("/v1/runs/s/undo", json!({})).await.status(200);
    assert_eq!(live.sql("select body as v from app.notes").await.v(), "changed");
    // Limits hold there, too, and without one everything may be dropped: Kith's own role has no rights to such a schema.
    let limited = async |sql: &str| {
        let headers = [("content-type", "application/json"), ("x-max-affected", "0")];
        live.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await
    };
    live.sql("alter table app.notes add constraint short check (length(body) < 99)").await.status(200);
    limited("alter table app.notes drop constraint short").await.status(200);
    let escape = "alter table app.notes drop constraint notes_pkey; update app.notes set body = 'x'";
    for refused in [escape, "drop table app.notes"] {
        limited(refused).await.fault(403, "sql_error").says("X-Max-Affected");
    }
    live.sql("alter table app.notes drop constraint notes_pkey").await.status(200);
    live.sql("drop table app.notes").await.status(200);
}
