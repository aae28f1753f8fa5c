//! Undo of updates of which only some columns can go back, and of keys that foreign keys changed.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn in_run(agent: &Agent, run: &str, sql: &str) {
    let headers = [("content-type", "application/json"), ("x-run-id", run)];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await.status(200);
}

async fn undo(agent: &Agent, run: &str, on_conflict: &str) -> Reply {
    agent.post(&format!("/v1/runs/{run}/undo"), json!({"on_conflict": on_conflict})).await
}

async fn rows(agent: &Agent, table: &str) -> String {
    let sql = format!("select string_agg(x::text, ' ' order by x::text) as v from {table} x");
    agent.sql(&sql).await.v().as_str().unwrap_or_default().to_owned()
}

/// Sets the scene, works in a run, and lets another come in between. The undo is refused for this reason and these columns of t, and skips only
/// them.
async fn check(scene: &str, work: &str, since: &str, (reason, columns): (&str, &[&str]), left: &str) -> Agent {
    let agent = agent().await;
    agent.sql(scene).await.status(200);
    in_run(&agent, "r", work).await;
    agent.sql(since).await.status(200);
    let before = rows(&agent, "t").await;
    let refused = undo(&agent, "r", "refuse").await.fault(409, "undo_conflict");
    let conflict = refused.at("/conflicts/0");
    assert_eq!((conflict["table"].as_str(), conflict["reason"].as_str()), (Some("t"), Some(reason)), "{work}");
    let named = conflict["columns"].as_object().map(|columns| columns.keys().cloned().collect::<Vec<_>>());
    assert_eq!(named.as_deref().unwrap_or_default(), columns, "{work}: {conflict}");
    assert_eq!(rows(&agent, "t").await, before, "{work}");
    let done = undo(&agent, "r", "skip").await.status(200);
    assert_eq!(rows(&agent, "t").await, left, "{work}: {}", done.story());
    assert_eq!(done.at("/data/undone"), 1, "{work}");
    assert_eq!(done.at("/data/skipped/0/reason"), reason, "{work}");
    agent
}

#[tokio::test]
async fn only_the_columns_in_the_way_are_left() {
    let work = "update t set a = a + 100, b = 'new' where id = 1";
    // A unique column, an index of an expression, a unique pair.
    let scene = "create table t (id int primary key, a int unique, b text); insert into t values (1, 1, 'b')";
    let agent =
        check(scene, work, "insert into t values (2, 1, 'c')", ("unique_taken", &["a"]), "(1,101,b) (2,1,c)").await;
    let again = undo(&agent, "r", "skip").await.status(200);
    assert_eq!((again.at("/data/undone"), rows(&agent, "t").await), (json!(0), "(1,101,b) (2,1,c)".to_owned()));
    // What was in the way goes, and the rest goes back.
    agent.sql("delete from t where id = 2").await.status(200);
    assert_eq!(undo(&agent, "r", "refuse").await.status(200).at("/data/undone"), 1);
    assert_eq!(rows(&agent, "t").await, "(1,1,b)");
    undo(&agent, "r", "refuse").await.fault(409, "already_undone");

    let scene = "create table t (id int primary key, a int, b text); create unique index on t (abs(a)); insert into t values (1, 1, 'b')";
    check(scene, work, "insert into t values (2, -1, 'c')", ("unique_taken", &["a"]), "(1,101,b) (2,-1,c)").await;
    let scene =
        "create table t (id int primary key, a int, b text, c int, unique (a, b)); insert into t values (1, 1, 'b', 1)";
    let work_of_three = "update t set a = 2, b = 'new', c = 2 where id = 1";
    let since = "insert into t values (2, 1, 'b', 3)";
    check(scene, work_of_three, since, ("unique_taken", &["a", "b"]), "(1,2,new,1) (2,1,b,3)").await;
    // Deferred, excluded, in a partition.
    let scene = "create table t (id int primary key, a int unique deferrable initially deferred, b text); insert into t values (1, 1, 'b')";
    check(scene, work, "insert into t values (2, 1, 'c')", ("unique_taken", &["a"]), "(1,101,b) (2,1,c)").await;
    let scene = "create table t (id int primary key, a int, b text, exclude using btree ((a * 2) with =)); insert into t values (1, 1, 'b')";
    check(scene, work, "insert into t values (2, 1, 'c')", ("unique_taken", &["a"]), "(1,101,b) (2,1,c)").await;
    let scene = "create table t (id int, a int, b text, primary key (id, a), unique (a)) partition by list (a); create table t_low partition of t for values in (1, 2, 101);
                 create table t_high partition of t default; insert into t values (1, 1, 'b')";
    check(scene, work, "insert into t values (2, 1, 'c')", ("unique_taken", &["a"]), "(1,101,b) (2,1,c)").await;
    // The key itself.
    let scene = "create table t (id int primary key, a int, b text); insert into t values (1, 1, 'b')";
    let work_on_the_key = "update t set id = 5, b = 'new' where id = 1";
    let since = "insert into t values (1, 2, 'c')";
    check(scene, work_on_the_key, since, ("unique_taken", &["id"]), "(1,2,c) (5,1,b)").await;
}

#[tokio::test]
async fn references_and_checks_leave_their_columns() {
    let parents = "create table parents (id int primary key, kind text, unique (id, kind)); insert into parents values (1, 'x'), (101, 'x');";
    let work = "update t set a = 101, b = 'new'";
    let gone = "delete from parents where id = 1";
    for deferred in ["", " deferrable initially deferred"] {
        let scene = format!(
            "{parents} create table t (id int primary key, a int references parents{deferred}, b text); insert into t values (1, 1, 'b')"
        );
        check(&scene, work, gone, ("parent_gone", &["a"]), "(1,101,b)").await;
    }
    let scene = format!(
        "{parents} create table t (id int primary key, a int, k text, b text, foreign key (a, k) references parents (id, kind)); insert into t values (1, 1, 'x', 'b')"
    );
    check(&scene, work, gone, ("parent_gone", &["a"]), "(1,101,x,b)").await;
    // Others refer to the row by its new key.
    let scene = "create table t (id int primary key, b text); create table children (t int references t); insert into t values (1, 'b')";
    let since = "insert into children values (5)";
    let work_on_the_key = "update t set id = 5, b = 'new'";
    check(scene, work_on_the_key, since, ("would_remove_others", &["id"]), "(5,b)").await;
    // A cascade would change what others wrote.
    let scene = "create table t (id int primary key, b text); create table children (t int references t on update cascade, id int primary key); insert into t values (1, 'b')";
    check(scene, work_on_the_key, "insert into children values (5, 1)", ("would_remove_others", &[]), "(5,b)").await;

    let scene = "create table t (id int primary key, a int, b text); insert into t values (1, 1, 'b')";
    let since = "alter table t add check (a > 50)";
    check(scene, work, since, ("not_permitted", &["a"]), "(1,101,b)").await;
    let since = "update t set b = 'new'; alter table t alter a set not null";
    let emptied = "create table t (id int primary key, a int, b text); insert into t values (1, null, 'b')";
    check(emptied, work, since, ("not_permitted", &["a"]), "(1,101,b)").await;
    // Errors that name no column: of a domain, of a trigger.
    let since = "create domain large as int check (value > 50); create function no() returns trigger language plpgsql as $$ begin
                   perform new.a::large; return new; end $$; create trigger no before update on t for each row execute function no()";
    check(scene, work, since, ("not_permitted", &[]), "(1,101,b)").await;
    // A trigger that refuses whatever is written leaves the row.
    let agent = agent().await;
    agent.sql(scene).await.status(200);
    in_run(&agent, "r", work).await;
    agent
        .sql("create function no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$; create trigger no before update on t for each row execute function no()")
        .await
        .status(200);
    let done = undo(&agent, "r", "skip").await.status(200);
    assert_eq!((done.at("/data/undone"), rows(&agent, "t").await), (json!(0), "(1,101,new)".to_owned()));
}

#[tokio::test]
async fn columns_that_are_no_longer_as_they_were_are_left() {
    let scene = "create table t (id int primary key, a int, b text); insert into t values (1, 1, 'b')";
    let work = "update t set a = 101, b = 'new'";
    check(scene, work, "alter table t alter a type bigint", ("schema_changed", &["a"]), "(1,101,b)").await;
    check(scene, work, "alter table t drop a", ("schema_changed", &["a"]), "(1,b)").await;
    check(scene, work, "alter table t rename a to c", ("schema_changed", &["a"]), "(1,101,b)").await;
    // A conflict of its own for what others wrote.
    let agent = agent().await;
    agent
        .sql("create table t (id int primary key, a int, b text, c int); insert into t values (1, 1, 'b', 1)")
        .await
        .status(200);
    in_run(&agent, "r", "update t set a = 101, b = 'new', c = 2").await;
    agent.sql("alter table t drop a; update t set b = 'newer'").await.status(200);
    let refused = undo(&agent, "r", "refuse").await.fault(409, "undo_conflict");
    let reasons = [refused.at("/conflicts/0/reason"), refused.at("/conflicts/1/reason")];
    assert_eq!(reasons, ["schema_changed", "changed_since"], "{}", refused.story());
    undo(&agent, "r", "skip").await.status(200);
    assert_eq!(rows(&agent, "t").await, "(1,newer,1)");
}

/// Others took the value that one row of a pair had. The other row's columns go back, and no row gets what is not its own.
#[tokio::test]
async fn rows_that_exchanged_values_leave_what_is_in_the_way() {
    let agent = agent().await;
    agent.sql("create table t (id int primary key, a int unique deferrable, b text); insert into t values (1, 1, 'x'), (2, 2, 'y')").await.status(200);
    in_run(&agent, "r", "update t set a = a + 10, b = 'new'; update t set a = 13 - a + 10").await;
    assert_eq!(rows(&agent, "t").await, "(1,12,new) (2,11,new)");
    agent.sql("insert into t values (3, 1, 'z')").await.status(200);
    let done = undo(&agent, "r", "skip").await.status(200);
    assert_eq!(rows(&agent, "t").await, "(1,12,x) (2,2,y) (3,1,z)", "{}", done.story());
    assert_eq!(done.at("/data/skipped"), json!([{"table": "t", "id": 1, "reason": "unique_taken"}]));
}

#[tokio::test]
async fn a_record_keeps_only_what_another_has_taken() {
    let agent = agent().await;
    let id = agent.post("/v1/contacts", json!({"email": "a@b.example", "title": "CEO"})).await.status(201).id();
    let headers = [("content-type", "application/json"), ("x-run-id", "r")];
    let body = json!({"email": "new@b.example", "title": "CTO"}).to_string();
    agent.send(Method::PATCH, &format!("/v1/contacts/{id}"), &headers, body).await.status(200);
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let refused = undo(&agent, "r", "refuse").await.fault(409, "undo_conflict");
    let email = json!({"email": {"expected": "new@b.example", "now": "new@b.example", "back_to": "a@b.example"}});
    assert_eq!(
        refused.at("/conflicts"),
        json!([{"table": "contacts", "id": id, "reason": "unique_taken", "columns": email}])
    );
    undo(&agent, "r", "skip").await.status(200);
    let contact = agent.get(&format!("/v1/contacts/{id}")).await.status(200);
    assert_eq!((contact.at("/data/email"), contact.at("/data/title")), (json!("new@b.example"), json!("CEO")));

    // A deal does not come into a stage of a pipeline that it has left since.
    agent.post("/v1/pipelines", json!({"key": "p", "label": "P"})).await.status(201);
    agent.post("/v1/pipelines/p/stages", json!({"key": "x", "label": "X"})).await.status(201);
    let deal = agent.post("/v1/deals", json!({"name": "D"})).await.status(201).id();
    let body = json!({"pipeline": "p", "stage": "x", "name": "E"}).to_string();
    let headers = [("content-type", "application/json"), ("x-run-id", "s")];
    agent.send(Method::PATCH, &format!("/v1/deals/{deal}"), &headers, body).await.status(200);
    agent.patch(&format!("/v1/deals/{deal}"), json!({"stage": "y"})).await.status(200);
    agent.post("/v1/runs/s/undo", json!({"on_conflict": "skip"})).await.status(200);
    let sql = "select concat_ws(' ', name, pipeline, stage) as v from deals";
    assert_eq!(agent.sql(sql).await.v(), "D p y");
}

#[tokio::test]
async fn a_deleted_deal_comes_back_into_a_pipeline_that_is_deleted() {
    let agent = agent().await;
    agent.post("/v1/pipelines", json!({"key": "p", "label": "P"})).await.status(201);
    agent.post("/v1/pipelines/p/stages", json!({"key": "x", "label": "X"})).await.status(201);
    let deal = agent.post("/v1/deals", json!({"name": "D", "pipeline": "p", "stage": "x"})).await.status(201).id();
    agent.delete(&format!("/v1/deals/{deal}")).await.status(200);
    agent.sql("update pipelines set deleted_at = now() where key = 'p'").await.status(200);
    let before = rows(&agent, "deals").await;
    in_run(&agent, "r", "delete from deals").await;
    assert_eq!(undo(&agent, "r", "refuse").await.status(200).at("/data/undone"), 1);
    assert_eq!(rows(&agent, "deals").await, before);
}

#[tokio::test]
async fn keys_that_foreign_keys_changed_go_back() {
    let agent = agent().await;
    agent
        .sql("create table orders (no text primary key, note text);
              create table lines (no text references orders on update cascade, line int, note text, primary key (no, line));
              create table parts (no text, line int, part int, primary key (no, line, part), foreign key (no, line) references lines on update cascade);
              insert into orders values ('a', 'x'), ('b', 'y'), ('c', 'z');
              insert into lines select no, g, note from orders, generate_series(1, 3) g; insert into parts select no, line, g from lines, generate_series(1, 2) g")
        .await
        .status(200);
    let all = async || [rows(&agent, "orders").await, rows(&agent, "lines").await, rows(&agent, "parts").await];
    let start = all().await;
    for (run, work) in [
        "update orders set no = 'new' where no = 'a'",
        "update orders set no = no || '2', note = 'changed'",
        // The lines are changed too, before and after.
        "update lines set note = 'first'; update orders set no = no || '3'; update lines set note = 'then' where line = 2; delete from parts where part = 2",
        // A chain, and back and forth.
        "update orders set no = 'd' where no = 'c'; update orders set no = 'c' where no = 'b'; update orders set no = 'b' where no = 'a'",
        "update orders set no = 'x' where no = 'a'; update orders set no = 'a' where no = 'b'; update orders set no = 'b' where no = 'x'",
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("r{run}");
        in_run(&agent, &run, work).await;
        let changed = all().await;
        let done = undo(&agent, &run, "refuse").await.status(200);
        assert_eq!(all().await, start, "{work}");
        // The undo is undone, and that too.
        undo(&agent, &done.text("/data/run_id"), "refuse").await.status(200);
        assert_eq!(all().await, changed, "{work}");
        undo(&agent, &run, "refuse").await.status(200);
        assert_eq!(all().await, start, "{work}");
    }
}

#[tokio::test]
async fn what_is_left_of_triggers_is_no_run_to_undo_again() {
    let agent = agent().await;
    in_run(&agent, "r", "insert into deals (id, name, stage) values ('d_1', 'D', 'tasting')").await;
    let other = agent.post("/v1/deals", json!({"name": "Other", "stage": "tasting"})).await.status(201).id();
    assert_eq!(undo(&agent, "r", "refuse").await.status(200).at("/data/skipped/0/reason"), "would_remove_others");
    for on_conflict in ["refuse", "skip"] {
        undo(&agent, "r", on_conflict).await.fault(409, "already_undone");
    }
    // When nothing needs it any more, it goes.
    agent.sql(&format!("delete from deals where id = '{}'", other)).await.status(200);
    let done = undo(&agent, "r", "refuse").await.status(200);
    assert_eq!((done.at("/data/undone"), done.at("/data/skipped")), (json!(1), Value::Array(Vec::new())));
    assert_eq!(agent.sql("select count(*) as v from pipeline_stages where key = 'tasting'").await.v(), 0);
}
