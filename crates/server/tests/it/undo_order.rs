//! The order of the log, if triggers of the workspace's own write other rows: the cause comes first.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn sql_in_run(agent: &Agent, run: &str, sql: &str) -> Reply {
    let headers = [("content-type", "application/json"), ("x-run-id", run)];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await
}

async fn changes(agent: &Agent, run: &str) -> Vec<Value> {
    let page = agent.get(&format!("/v1/runs/{run}/changes")).await.status(200);
    page.data().as_array().expect("changes").clone()
}

/// The changes as `table verb via`.
async fn told(agent: &Agent, run: &str) -> Vec<String> {
    let text = |change: &Value, field: &str| change[field].as_str().expect("a text").to_owned();
    let line = |it: &Value| [text(it, "table"), text(it, "verb"), text(it, "via")].join(" ");
    changes(agent, run).await.iter().map(line).collect()
}

async fn state(agent: &Agent) -> Value {
    let sql = "select array(select (to_jsonb(c) - 'updated_at')::text from contacts c order by 1) as contacts,
                      array(select (to_jsonb(c) - 'updated_at')::text from companies c order by 1) as companies,
                      array(select d::text from deals d order by 1) as deals";
    agent.sql(sql).await.status(200).at("/data/rows/0")
}

#[tokio::test]
async fn a_change_comes_before_what_an_earlier_named_trigger_makes_of_it() {
    let agent = agent().await;
    agent
        .sql(
            "create function note() returns trigger language plpgsql as $$ begin
               update companies set industry = new.title where name = 'Acme';
               if new.title = 'loud' then update contacts set title = upper(title) where id = new.id; end if;
               return null; end $$;
             create trigger aaa after update on contacts for each row execute function note();
             insert into companies (name, industry) values ('Acme', 'steel');
             insert into contacts (email, title) values ('a@b.example', 'quiet')",
        )
        .await
        .status(200);
    let before = state(&agent).await;
    sql_in_run(&agent, "r", "update contacts set title = 'loud'").await.status(200);
    assert_eq!(
        told(&agent, "r").await,
        [
            "contacts updated request",
            "companies updated trigger",
            "contacts updated trigger",
            "companies updated trigger"
        ]
    );
    let net = agent.get("/v1/runs/r/changes?net=true").await.status(200);
    assert_eq!(net.at("/data/0/changes"), json!({"title": {"from": "quiet", "to": "LOUD"}}));
    agent.sql("drop trigger aaa on contacts").await.status(200);
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(state(&agent).await, before);
}

#[tokio::test]
async fn a_trigger_that_changes_another_row_of_its_statement_is_logged_after_it() {
    let agent = agent().await;
    // Of all contacts of a statement, the last one keeps its title.
    agent
        .sql(
            "create function only_one() returns trigger language plpgsql as $$ begin
               if pg_trigger_depth() = 1 then update contacts set title = 'former' where id <> new.id and title = 'head'; end if;
               return null; end $$;
             create trigger aaa after insert or update on contacts for each row execute function only_one();
             insert into contacts (email, title) values ('a@b.example', 'x'), ('b@b.example', 'y'), ('c@b.example', 'z')",
        )
        .await
        .status(200);
    let before = state(&agent).await;
    sql_in_run(&agent, "u", "update contacts set title = 'head'").await.status(200);
    assert_eq!(told(&agent, "u").await[..3], ["contacts updated request"; 3]);
    let net = agent.get("/v1/runs/u/changes?net=true").await.status(200);
    let from: Vec<_> = net.column("changes").iter().map(|it| it["title"]["from"].clone()).collect();
    assert_eq!(from, ["x", "y", "z"]);
    sql_in_run(
        &agent,
        "i",
        "insert into contacts (email, title) values ('d@b.example', 'head'), ('e@b.example', 'head')",
    )
    .await
    .status(200);
    assert_eq!(told(&agent, "i").await[..2], ["contacts created request"; 2]);
    let run = agent.get("/v1/runs/i").await.status(200);
    assert_eq!(run.at("/data/affected/contacts/created"), 2);
    agent.sql("drop trigger aaa on contacts").await.status(200);
    agent.post("/v1/runs/i/undo", json!({})).await.status(200);
    agent.post("/v1/runs/u/undo", json!({})).await.status(200);
    assert_eq!(state(&agent).await, before);
}

#[tokio::test]
async fn the_same_holds_for_a_table_of_the_workspaces_own() {
    let agent = agent().await;
    agent
        .sql(
            "create table parts (id int primary key, n int not null); create table sums (id int primary key, total int not null);
             insert into parts values (1, 1); insert into sums values (1, 1);
             create function add() returns trigger language plpgsql as $$ begin
               update sums set total = total + new.n - old.n; return null; end $$;
             create trigger \"Add\" after update on parts for each row execute function add();
             create trigger zz after insert or update or delete on sums for each row execute function record_activity()",
        )
        .await
        .status(200);
    sql_in_run(&agent, "r", "update parts set n = 5").await.status(200);
    assert_eq!(told(&agent, "r").await, ["parts updated request", "sums updated trigger"]);
    let shown = changes(&agent, "r").await;
    assert_eq!(shown[0]["activity_id"], Value::Null);
    let entry = shown[1]["activity_id"].as_str().expect("the entry of record_activity()").to_owned();
    agent.post(&format!("/v1/activity/{entry}/undo"), json!({})).await.status(200);
    assert_eq!(agent.sql("select total as v from sums").await.v(), 1);
}

#[tokio::test]
async fn statements_of_many_rows_are_logged_to_the_letter() {
    let agent = agent().await;
    agent
        .sql(
            "alter table contacts add column ratio float8, add column notes json, add column tags text[], add column twice text generated always as (title || title) stored,
               add column k text default 'k', add column n int, add column v text, add column x text, add column new text, add column old text, add column o text, add column w text,
               add column gone text default 'g';
             alter table contacts drop column gone;
             insert into contacts (email, title, ratio, notes, tags) select 'n' || n || '@b.example', nullif('t' || n, 't3'), case n when 1 then '-0' else n end,
               case when n < 4 then '{\"a\":  1}'::json end, case when n < 3 then '[0:1]={x,y}'::text[] end from generate_series(1, 5) n",
        )
        .await
        .status(200);
    let exact = "select array(select (to_jsonb(c) - 'updated_at')::text || format('%s %s %s', ratio, notes, tags) from contacts c order by email) as v";
    let before = agent.sql(exact).await.status(200).v();
    sql_in_run(
        &agent,
        "r",
        "update contacts set ratio = '0', notes = '{\"a\": 1}', tags = '{x,y}' where email < 'n4';
         update contacts set title = upper(title) where email > 'n2'; update contacts set title = title; delete from contacts",
    )
    .await
    .status(200);
    let verbs = told(&agent, "r").await;
    assert_eq!(verbs.len(), 3 + 3 + 5, "{verbs:?}");
    let feed = agent.get("/v1/activity?limit=50").await.status(200);
    assert_eq!(feed.column("verb").iter().filter(|it| **it == "deleted").count(), 5);
    let listed = changes(&agent, "r").await;
    let gone = &listed[10];
    let entry = agent.get("/v1/activity?limit=1").await.status(200);
    assert_eq!((&gone["activity_id"], &gone["id"]), (&entry.at("/data/0/id"), &entry.at("/data/0/subject_id")));
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(agent.sql(exact).await.v(), before);
    // What changes nothing begins no run.
    sql_in_run(&agent, "none", "update contacts set title = title").await.status(200);
    agent.get("/v1/runs/none").await.fault(404, "not_found");
}

#[tokio::test]
async fn what_foreign_keys_do_to_several_rows_is_a_cascade() {
    let agent = agent().await;
    agent
        .sql(
            "alter table contacts add column chief text references contacts on delete cascade, add column friend text references contacts (id) on delete set null on update cascade;
             insert into contacts (id, email) values ('c1', 'a@b.example'), ('c2', 'b@b.example');
             insert into contacts (id, email, chief, friend) values ('c3', 'c@b.example', 'c1', null), ('c4', 'd@b.example', 'c2', 'c1'), ('c5', 'e@b.example', 'c3', 'c2'), ('c6', 'f@b.example', null, 'c2');
             insert into deals (name, contact_id) values ('D', 'c6')",
        )
        .await
        .status(200);
    let before = state(&agent).await;
    sql_in_run(&agent, "r", "delete from contacts where id in ('c1', 'c2')").await.status(200);
    let lines = told(&agent, "r").await;
    assert_eq!(lines[..2], ["contacts deleted request"; 2]);
    assert_eq!(lines.iter().filter(|it| *it == "contacts deleted cascade").count(), 3, "{lines:?}");
    assert!(lines.contains(&"contacts updated cascade".to_owned()), "{lines:?}");
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(state(&agent).await, before);
    // PostgreSQL checks a row that its own transaction has written once more, perhaps before the key that it refers to has moved.
    agent.sql("update contacts set chief = null").await.status(200);
    let before = state(&agent).await;
    let keys = "update contacts set id = 'x' || id where id = 'c2'";
    sql_in_run(&agent, "keys", keys).await.status(200);
    assert!(told(&agent, "keys").await.contains(&"contacts updated cascade".to_owned()));
    agent.post("/v1/runs/keys/undo", json!({})).await.status(200);
    assert_eq!(state(&agent).await, before);
}

#[tokio::test]
async fn statements_that_insert_and_update_log_each_row_once() {
    let agent = agent().await;
    agent
        .sql(
            "insert into companies (name, domain) select 'C' || n, 'c' || n || '.example' from generate_series(1, 3) n",
        )
        .await
        .status(200);
    sql_in_run(
        &agent,
        "r",
        "insert into companies (name, domain) select 'D' || n, 'c' || n || '.example' from generate_series(2, 5) n
           on conflict (lower(domain)) where deleted_at is null do update set name = excluded.name",
    )
    .await
    .status(200);
    let lines = told(&agent, "r").await;
    assert_eq!(lines.iter().filter(|it| *it == "companies updated request").count(), 2, "{lines:?}");
    assert_eq!(lines.iter().filter(|it| *it == "companies created request").count(), 2, "{lines:?}");
    sql_in_run(
        &agent,
        "m",
        "merge into companies c using (values ('c1.example'), ('c2.example'), ('c3.example'), ('c4.example'), ('c8.example'), ('c9.example')) v(d) on c.domain = v.d
           when matched and v.d < 'c3' then update set name = 'M' when matched then delete when not matched then insert (name, domain) values ('N', v.d)",
    )
    .await
    .status(200);
    let lines = told(&agent, "m").await;
    for verb in ["updated", "deleted", "created"] {
        assert_eq!(lines.iter().filter(|it| **it == format!("companies {verb} request")).count(), 2, "{lines:?}");
    }
    sql_in_run(
        &agent,
        "w",
        "with a as (update companies set size = '1' where domain in ('c5.example', 'c8.example') returning id), b as (update companies set size = '2' where domain in ('c1.example', 'c2.example') returning id)
         select count(*) from a, b",
    )
    .await
    .status(200);
    assert_eq!(told(&agent, "w").await, ["companies updated request"; 4]);
    for run in ["w", "m", "r"] {
        agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.status(200);
    }
    let names = agent.sql("select array_agg(name order by name)::text as v from companies").await.v();
    assert_eq!(names, "{C1,C2,C3}");
}

#[tokio::test]
async fn a_statement_of_large_rows_is_logged_in_parts_and_whole() {
    let agent = agent().await;
    agent
        .sql(
            "insert into companies (name, custom) select 'C' || n, jsonb_build_object('text', (select string_agg(md5((n * 1000 + i)::text), '') from generate_series(1, 900) i))
               from generate_series(1, 400) n",
        )
        .await
        .status(200);
    sql_in_run(&agent, "r", "update companies set size = name").await.status(200);
    let feed = "select count(*) = 400 and count(distinct subject_id) = 400 and bool_and(changes = jsonb_build_object('size', jsonb_build_object('from', null, 'to', subject_repr))) as v
                  from activity where verb = 'updated'";
    assert_eq!(agent.sql(feed).await.status(200).v(), true);
    let run = agent.get("/v1/runs/r").await.status(200);
    assert_eq!(run.at("/data/affected/companies/updated"), 400);
    let undone = agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(undone.at("/data/undone"), 400);
    assert_eq!(agent.sql("select count(size) as v from companies").await.v(), 0);
}
