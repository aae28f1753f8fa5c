//! What surrounds an undo: constraints that are checked late, what has left already, causes of runs, and a log that keeps nothing.

use kith::clock::Clock;
use kith::serve::Kith;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Receiver, agent, both, config_of_another, door_of, home, resend};

async fn sql_in_run(agent: &Agent, run: &str, sql: &str) {
    let headers = [("content-type", "application/json"), ("x-run-id", run)];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await.status(200);
}

/// The conflicts of an undo of this run: table, id and reason.
async fn conflicts(agent: &Agent, run: &str) -> Vec<(Value, Value, Value)> {
    let refused = agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.fault(409, "undo_conflict");
    let all = refused.at("/conflicts").as_array().unwrap().clone();
    all.iter().map(|it| (it["table"].clone(), it["id"].clone(), it["reason"].clone())).collect()
}

fn conflict(table: &str, id: i32, reason: &str) -> (Value, Value, Value) {
    (json!(table), json!(id), json!(reason))
}

#[tokio::test]
async fn a_constraint_that_is_checked_late_is_a_conflict_too() {
    let agent = agent().await;
    agent
        .sql("create table parents (id int primary key, code text unique deferrable initially deferred);
              create table children (id int primary key, parent int references parents deferrable initially deferred);
              insert into parents select g, 'p' || g from generate_series(1, 9) g; insert into children select g, g from generate_series(1, 9) g")
        .await
        .status(200);
    sql_in_run(&agent, "parent", "delete from children where id in (1, 2)").await;
    agent.sql("delete from parents where id = 1").await.status(200);
    assert_eq!(conflicts(&agent, "parent").await, [conflict("children", 1, "parent_gone")]);
    sql_in_run(&agent, "unique", "update parents set code = 'new' || id where id in (3, 4)").await;
    agent.sql("update parents set code = 'p3' where id = 5").await.status(200);
    assert_eq!(conflicts(&agent, "unique").await, [conflict("parents", 3, "unique_taken")]);
    sql_in_run(&agent, "others", "insert into parents values (20, 'a'), (21, 'b')").await;
    agent.sql("insert into children values (20, 20)").await.status(200);
    assert_eq!(conflicts(&agent, "others").await, [conflict("parents", 20, "would_remove_others")]);
    // The rest goes back where that is asked for.
    let done = agent.post("/v1/runs/others/undo", json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!(done.at("/data/undone"), 1);
    assert_eq!(done.at("/data/skipped"), json!([{"table": "parents", "id": 20, "reason": "would_remove_others"}]));
    assert_eq!(agent.sql("select string_agg(code, ',' order by id) as v from parents where id >= 20").await.v(), "a");
}

#[tokio::test]
async fn a_late_trigger_that_removes_others_is_a_conflict() {
    let agent = agent().await;
    agent
        .sql("create table kept (id int primary key); create table cause (id int primary key); insert into kept values (1);
              create function clear() returns trigger language plpgsql as $$ begin delete from kept; return null; end $$;
              create constraint trigger clear after delete on cause deferrable initially deferred for each row execute function clear()")
        .await
        .status(200);
    sql_in_run(&agent, "r", "insert into cause values (7)").await;
    assert_eq!(conflicts(&agent, "r").await, [conflict("cause", 7, "would_remove_others")]);
    assert_eq!(agent.sql("select count(*) as v from kept").await.v(), 1);
}

/// A trigger may change a row that was put back, when another is. Rows go back in the order in which their tables were created.
#[tokio::test]
async fn what_triggers_make_of_an_undo_is_put_right() {
    let agent = agent().await;
    for (order, first, second) in [("a", "sums_a", "parts_a"), ("b", "parts_b", "sums_b")] {
        agent
            .sql(&format!(
                "create table {first} (id int primary key, n int); create table {second} (id int primary key, n int);
                 insert into sums_{order} values (1, 1); insert into parts_{order} values (1, 1);
                 create function add_{order}() returns trigger language plpgsql as $$ begin update sums_{order} set n = n + new.n - old.n; return null; end $$;
                 create trigger add after update on parts_{order} for each row execute function add_{order}()"
            ))
            .await
            .status(200);
        let rows = async || {
            let sql = format!("select (select n from parts_{order}) || ' ' || (select n from sums_{order}) as v");
            agent.sql(&sql).await.v()
        };
        sql_in_run(&agent, order, &format!("update parts_{order} set n = 5")).await;
        assert_eq!(rows().await, "5 5");
        let done = agent.post(&format!("/v1/runs/{order}/undo"), json!({})).await.status(200);
        assert_eq!((done.at("/data/undone"), rows().await), (json!(2), json!("1 1")));
        // The same if another had put the sum right already.
        let run = format!("{order} again");
        sql_in_run(&agent, &run, &format!("update parts_{order} set n = 5")).await;
        agent.sql(&format!("update sums_{order} set n = 1")).await.status(200);
        agent.post(&format!("/v1/runs/{order}%20again/undo"), json!({})).await.status(200);
        assert_eq!(rows().await, "1 1");
    }
}

/// What a trigger writes each time cannot go back.
#[tokio::test]
async fn what_triggers_do_not_let_go_back_is_a_conflict() {
    let agent = agent().await;
    agent
        .sql("create table parts (id int primary key, n int, version int);
              insert into parts values (1, 1, 1), (2, 1, 1);
              create function count_up() returns trigger language plpgsql as $$ begin new.version := old.version + 1; return new; end $$;
              create trigger count before update on parts for each row execute function count_up();
              create table rows (id int primary key, n int);
              create function change() returns trigger language plpgsql as $$ begin new.n := new.n + 1; return new; end $$;
              create trigger change before insert on rows for each row execute function change();
              create trigger change_again before update on rows for each row execute function change();
              insert into rows values (1, 1)")
        .await
        .status(200);
    sql_in_run(&agent, "r", "update parts set n = 5 where id = 1; delete from rows").await;
    let refused = agent.post("/v1/runs/r/undo", json!({})).await.fault(409, "undo_conflict");
    let mut all = refused.at("/conflicts").as_array().unwrap().clone();
    all.sort_by_key(|it| it["table"].as_str().map(str::to_owned));
    let columns = json!({"version": {"expected": 2, "now": 4, "back_to": 1}});
    assert_eq!(all[0], json!({"table": "parts", "id": 1, "reason": "not_permitted", "columns": columns}));
    assert_eq!(all[1], json!({"table": "rows", "id": 1, "reason": "not_permitted"}));
    let parts =
        async || agent.sql("select string_agg(n || ' ' || version, ', ' order by id) as v from parts").await.v();
    assert_eq!(parts().await, "5 2, 1 1");
    // The rest goes back where that is asked for: the other columns, and no row that would be another.
    let done = agent.post("/v1/runs/r/undo", json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!((done.at("/data/undone"), parts().await), (json!(1), json!("1 3, 1 1")));
    assert_eq!(done.at("/data/skipped").as_array().map(Vec::len), Some(2), "{}", done.story());
    assert_eq!(agent.sql("select count(*) as v from rows").await.v(), 0);
}

/// E-mails, lists and associations name records without a foreign key.
#[tokio::test]
async fn records_that_others_name_are_left() {
    let agent = agent().await;
    sql_in_run(
        &agent,
        "r",
        "insert into contacts (id, email) values ('c_mail', 'm@b.example'), ('c_list', 'l@b.example'), ('c_assoc', 'a@b.example'), ('c_free', 'f@b.example');
         insert into companies (id, domain) values ('co_mail', 'b.example');
         insert into deals (id, name) values ('d_mail', 'D');
         insert into emails (id, from_addr, contact_ids) values ('e_own', 'f@b.example', '{c_free}')",
    )
    .await;
    agent
        .sql("insert into emails (id, contact_ids, company_ids, deal_ids) values ('e_1', '{c_mail}', '{}', '{}'), ('e_2', '{}', '{co_mail}', '{}'), ('e_3', '{}', '{}', '{d_mail}');
              insert into lists (id, name, target_table, kind) values ('l_1', 'L', 'contacts', 'static');
              insert into list_members (list_id, member_id) values ('l_1', 'c_list');
              insert into associations (from_type, from_id, to_type, to_id, label) values ('contact', 'c_assoc', 'list', 'l_1', 'knows')")
        .await
        .status(200);
    let mut left: Vec<String> =
        conflicts(&agent, "r").await.iter().map(|(_, id, reason)| format!("{id} {reason}").replace('"', "")).collect();
    left.sort();
    let expected = ["c_assoc", "c_list", "c_mail", "co_mail", "d_mail"].map(|id| format!("{id} would_remove_others"));
    assert_eq!(left, expected);
    let done = agent.post("/v1/runs/r/undo", json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!(done.at("/data/skipped").as_array().map(Vec::len), Some(5), "{}", done.story());
    let kept = "select string_agg(id, ' ' order by id) as v from contacts";
    assert_eq!(agent.sql(kept).await.v(), "c_assoc c_list c_mail");
    assert_eq!(
        agent.sql("select array_to_string(contact_ids, ' ') as v from emails where id = 'e_1'").await.v(),
        "c_mail"
    );
    assert_eq!(agent.sql("select count(*) as v from list_members, associations").await.v(), 1);
}

#[tokio::test]
async fn an_added_stage_that_another_deal_uses_is_left() {
    let agent = agent().await;
    sql_in_run(&agent, "r", "insert into deals (id, name, stage) values ('d_1', 'D', 'tasting')").await;
    agent.post("/v1/deals", json!({"name": "Other", "stage": "tasting"})).await.status(201);
    let stage = agent.sql("select id as v from pipeline_stages where key = 'tasting'").await.v();
    let done = agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(done.at("/data/undone"), 1);
    let left = json!([{"table": "pipeline_stages", "id": stage, "reason": "would_remove_others"}]);
    assert_eq!(done.at("/data/skipped"), left);
    assert_eq!(agent.sql("select string_agg(name || ' ' || stage, ',') as v from deals").await.v(), "Other tasting");
}

/// Rows that need each other are only right together.
#[tokio::test]
async fn rows_that_need_each_other_come_back_together() {
    let agent = agent().await;
    agent
        .sql("create table eggs (id int primary key, hen int not null);
              create table hens (id int primary key, egg int not null references eggs deferrable initially deferred);
              alter table eggs add foreign key (hen) references hens deferrable initially deferred;
              insert into eggs select g, g from generate_series(1, 3) g; insert into hens select g, g from generate_series(1, 3) g")
        .await
        .status(200);
    sql_in_run(&agent, "r", "delete from eggs; delete from hens").await;
    let undone = agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(undone.at("/data/undone"), 6);
    // Others have an egg 2 and a hen 1 of their own. What belonged to those that were deleted does not come to these.
    sql_in_run(&agent, "s", "delete from eggs; delete from hens").await;
    agent.sql("insert into eggs values (2, 1), (9, 9); insert into hens values (9, 9), (1, 9)").await.status(200);
    let done = agent.post("/v1/runs/s/undo", json!({"on_conflict": "skip"})).await.status(200);
    let left = agent.sql("select string_agg(id::text, ',' order by id) as v from eggs").await.v();
    assert_eq!((left, done.at("/data/undone")), (json!("2,3,9"), json!(2)), "{}", done.story());
}

#[tokio::test]
async fn an_undo_names_the_webhooks_that_have_left() {
    let (relm, agent) = both().await;
    let receiver = Receiver::start().await;
    let hook = json!({"url": receiver.url(), "events": ["deal.*"]});
    let hook = agent.post("/v1/webhooks", hook).await.status(201).id();
    let deal = agent.post("/v1/deals", json!({"name": "D"})).await.status(201).id();
    receiver.wait(1).await;
    sql_in_run(&agent, "r", &format!("update deals set stage = 'elsewhere' where id = '{deal}'")).await;
    sql_in_run(&agent, "quiet", "insert into contacts (email) values ('a@b.example')").await;
    receiver.wait(3).await;
    let of_run = |page: &Value| -> Vec<Value> {
        let all = page["data"].as_array().expect("deliveries").iter();
        all.filter(|it| it["event_type"] != "deal.created").map(|it| it["id"].clone()).collect()
    };
    let mut sent = of_run(&agent.get(&format!("/v1/webhooks/{hook}/deliveries")).await.status(200).json());
    let dry = [("content-type", "application/json"), ("x-dry-run", "true")];
    let would = agent.send(Method::POST, "/v1/runs/r/undo", &dry, "{}").await.status(200);
    let id = agent.get("/v1/runs/r").await.id();
    let done = relm.post(&format!("/v1/runs/{id}/undo"), json!({})).await.status(200);
    for not_undone in [would.at("/data/not_undone"), done.at("/not_undone")] {
        let all = not_undone.as_array().expect("effects").clone();
        assert!(all.iter().all(|it| it["effect"] == "webhook_sent"), "{not_undone}");
        let mut ids: Vec<Value> = all.iter().map(|it| it["id"].clone()).collect();
        ids.sort_by_key(Value::to_string);
        sent.sort_by_key(Value::to_string);
        assert_eq!(ids, sent, "{not_undone}");
        assert_eq!(ids.len(), 2);
    }
    let quiet = agent.post("/v1/runs/quiet/undo", json!({})).await.status(200);
    assert_eq!(quiet.at("/data/not_undone"), json!([]));
}

#[tokio::test]
async fn a_log_that_keeps_nothing_undoes_nothing() {
    let agent = agent().await;
    let kith = home().run(async {
        let mut kith = Kith::start(&config_of_another(), Clock::System).await.expect("another Kith");
        kith.app.undo_days = 0;
        Box::leak(Box::new(kith))
    });
    let there = agent.at(&door_of(kith.await, Clock::System).await);
    sql_in_run(&there, "r", "insert into contacts (email) values ('a@b.example')").await;
    let run = there.get("/v1/runs/r").await.status(200);
    assert_eq!((run.at("/data/undoable"), run.at("/data/requests")), (json!("no"), json!(1)));
    let entry = there.get("/v1/activity").await.text("/data/0/id");
    let request = there.get("/v1/runs/r/changes").await.text("/data/0/request_id");
    for what in ["runs/r".to_owned(), format!("requests/{request}"), format!("activity/{entry}")] {
        there.post(&format!("/v1/{what}/undo"), json!({})).await.fault(410, "undo_expired");
    }
    assert_eq!(there.get("/v1/contacts").await.column("id").len(), 1);
}

#[tokio::test]
async fn a_run_says_that_what_has_left_cannot_be_undone() {
    let (relm, agent) = both().await;
    let key = format!("re_{}", agent.workspace_id);
    let settings = json!({"api_key": key, "from_email": "shop@shop.example"}).to_string();
    agent.send_json(Method::PUT, "/v1/integrations/email", settings).await.status(200);
    let send = async |agent: &Agent, run: &str, path: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("x-run-id", run)];
        agent.send(Method::POST, path, &headers, body.to_string()).await
    };
    let mail = |subject: &str| json!({"to": "sarah@acme.example", "subject": subject, "text": "T"});
    let run = async |agent: &Agent, run: &str| {
        let found = agent.get(&format!("/v1/runs/{run}")).await.status(200).json();
        let listed = agent.get(&format!("/v1/runs?run_id={run}")).await.status(200).json()["data"][0].clone();
        let found = if found.get("object").is_some() { found } else { found["data"].clone() };
        assert_eq!((&found["undoable"], &found["why"]), (&listed["undoable"], &listed["why"]), "{found} {listed}");
        (found["undoable"].clone(), found["why"].clone())
    };
    for agent in [&relm, &agent] {
        // What waits can still be undone.
        resend().will_answer(&key, 429, json!({"message": "Later."}));
        send(agent, "waits", "/v1/emails", mail("Waits")).await.status(202);
        assert_eq!(run(agent, "waits").await, (json!("whole"), json!([])));
        send(agent, "sends", "/v1/emails", mail("One")).await.status(201);
        send(agent, "sends", "/v1/emails", mail("Two")).await.status(201);
        send(agent, "sends", "/v1/contacts", json!({"first_name": "Ada"})).await.status(201);
        assert_eq!(run(agent, "sends").await, (json!("partly"), json!(["2 e-mails have left"])));
        let finished = agent.post("/v1/runs/sends/finish", json!({"status": "complete"})).await.status(200);
        assert!(finished.story().contains("\"partly\""), "{}", finished.story());
        let undone = agent.post("/v1/runs/sends/undo", json!({})).await.status(200).json();
        let undone = if undone.get("object").is_some() { undone } else { undone["data"].clone() };
        let left = undone["not_undone"].as_array().unwrap();
        assert!(left.len() == 2 && left.iter().all(|it| it["effect"] == "email_sent"), "{undone}");
        assert_eq!(run(agent, "sends").await, (json!("no"), json!(["it is undone"])));
    }
    let receiver = Receiver::start().await;
    agent.post("/v1/webhooks", json!({"url": receiver.url(), "events": ["company.*"]})).await.status(201);
    send(&agent, "tells", "/v1/companies", json!({"name": "Acme"})).await.status(201);
    send(&agent, "tells", "/v1/emails", mail("Three")).await.status(201);
    send(&agent, "quiet", "/v1/contacts", json!({"first_name": "Bob"})).await.status(201);
    receiver.wait(1).await;
    let both = json!(["1 e-mail has left", "1 webhook delivery has left"]);
    assert_eq!(run(&agent, "tells").await, (json!("partly"), both));
    assert_eq!(run(&agent, "quiet").await, (json!("whole"), json!([])));
}
