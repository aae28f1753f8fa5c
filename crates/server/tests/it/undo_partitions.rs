//! A row that is moved to another partition is the same row: one change, for events, for limits and for undo.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

const SCENE: &str = "create table pt (id int, r text, v text, primary key (id, r)) partition by list (r);
     create table pt_a partition of pt for values in ('a'); create table pt_b partition of pt for values in ('b');
     create table pt_rest partition of pt default partition by list (r);
     create table pt_y partition of pt_rest for values in ('y'); create table pt_others partition of pt_rest default;
     insert into pt values (0, 'a', 'precious')";

async fn scene(more: &str) -> Agent {
    let agent = agent().await;
    agent.sql(&format!("{SCENE}; {more}")).await.status(200);
    agent
}

async fn sql(agent: &Agent, header: (&str, &str), sql: &str) -> Reply {
    let headers = [("content-type", "application/json"), header];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await
}

async fn in_run(agent: &Agent, run: &str, text: &str) {
    sql(agent, ("x-run-id", run), text).await.status(200);
}

async fn undo(agent: &Agent, run: &str, on_conflict: &str) -> Reply {
    agent.post(&format!("/v1/runs/{run}/undo"), json!({"on_conflict": on_conflict})).await
}

async fn rows(agent: &Agent, tables: &[&str]) -> Vec<Value> {
    let mut all = Vec::new();
    for table in tables {
        let text = format!("select string_agg(x::text, ' ' order by x::text) as v from {table} x");
        all.push(agent.sql(&text).await.status(200).v());
    }
    all
}

/// What the run changed, in its order.
async fn told(agent: &Agent, run: &str) -> Vec<String> {
    let changes = agent.get(&format!("/v1/runs/{run}/changes")).await.status(200);
    let changes = changes.at("/data");
    changes.as_array().expect("changes").iter().map(say).collect()
}

fn say(change: &Value) -> String {
    let word = |name: &str| change[name].as_str().expect("a word").to_owned();
    let id = &change["id"];
    let id = if id.is_object() { format!("{} {}", id["id"], id["r"].as_str().unwrap_or("?")) } else { id.to_string() };
    format!("{} {} {id} {}", word("table"), word("verb"), word("via"))
}

/// The last events, the oldest first.
async fn events(agent: &Agent, count: usize) -> Vec<Value> {
    let mut all = agent.get("/v1/events?limit=100").await.status(200).at("/data").as_array().expect("events").clone();
    all.split_off(all.len() - count)
}

/// The run changes this, and undo, undo of the undo and so on bring the one state and the other.
async fn check(agent: &Agent, tables: &[&str], run: &str, work: &str, expected: &[&str]) {
    let start = rows(agent, tables).await;
    let dry = sql(agent, ("x-dry-run", "true"), work).await.status(200);
    in_run(agent, run, work).await;
    let changed = rows(agent, tables).await;
    let net = agent.get(&format!("/v1/runs/{run}/changes?net=true")).await.status(200);
    assert_eq!(net.data().as_array().expect("changes").iter().map(say).collect::<Vec<_>>(), expected, "{work}");
    let dry: Vec<_> = dry.at("/_meta/changes").as_array().expect("changes").iter().map(say).collect();
    assert_eq!(dry, expected, "{work}");
    let mut last = run.to_owned();
    for expected in [&start, &changed, &start, &changed, &start] {
        let done = undo(agent, &last, "refuse").await.status(200);
        assert_eq!(&rows(agent, tables).await, expected, "{work}: undo of {last}: {}", done.story());
        assert_eq!(done.at("/data/skipped"), json!([]), "{work}");
        last = done.text("/data/run_id");
    }
}

#[tokio::test]
async fn a_move_is_one_update_everywhere() {
    let agent = scene("").await;
    let work = "update pt set r = 'b', v = v || '!' where id = 0";
    let one = json!({"pt": {"created": 0, "updated": 1, "deleted": 0, "restored": 0}});
    let columns = json!({"r": {"from": "a", "to": "b"}, "v": {"from": "precious", "to": "precious!"}});

    let dry = sql(&agent, ("x-dry-run", "true"), work).await.status(200);
    assert_eq!(dry.at("/_meta/affected"), one);
    assert_eq!(dry.at("/_meta/changes/0/changes"), columns);
    let refused = sql(&agent, ("x-max-affected", "0"), work).await.fault(412, "max_affected_exceeded");
    assert_eq!(refused.at("/affected"), one);
    sql(&agent, ("x-max-affected", "1"), work).await.status(200);
    assert_eq!(agent.sql("select r as v from pt").await.v(), "b");
    agent.sql("update pt set r = 'a', v = 'precious'").await.status(200);

    in_run(&agent, "r", work).await;
    let changes = agent.get("/v1/runs/r/changes").await.status(200);
    assert_eq!(told(&agent, "r").await, ["pt updated 0 b request"]);
    assert_eq!(changes.at("/data/0/changes"), columns);
    assert_eq!(agent.get("/v1/runs/r").await.at("/data/affected"), one);
    let event = &events(&agent, 1).await[0];
    assert_eq!(event["type"], "pt.updated", "{event}");
    assert_eq!(undo(&agent, "r", "refuse").await.status(200).at("/data/undone"), 1);
    assert_eq!(rows(&agent, &["pt"]).await, ["(0,a,precious)"]);
    let types: Vec<_> = events(&agent, 5).await.iter().map(|it| it["type"].clone()).collect();
    assert_eq!(types, ["pt.created", "pt.updated", "pt.updated", "pt.updated", "pt.updated"]);
}

#[tokio::test]
async fn moves_go_back_and_forth() {
    let agent =
        scene("insert into pt values (1, 'a', 'one'), (2, 'b', 'two'), (3, 'y', 'three'), (4, 'z', 'four'), (7, 'a', 's1'), (7, 'b', 's2')").await;
    let cases: [(&str, &[&str]); 17] = [
        ("update pt set r = 'b' where id = 0", &["pt updated 0 b request"]),
        // Several partitions, the default one and one of its own; a row that stays where it is.
        (
            "update pt set r = case r when 'a' then 'b' when 'b' then 'y' when 'y' then 'zz' else 'a' end, v = v || id where id between 1 and 4",
            &["pt updated 1 b request", "pt updated 2 y request", "pt updated 3 zz request", "pt updated 4 a request"],
        ),
        ("update pt set r = 'zz' where id = 4", &["pt updated 4 zz request"]),
        // A partition that has partitions.
        ("update pt_rest set r = 'other', v = null where r = 'y'", &["pt updated 3 other request"]),
        ("update pt set id = id + 10, r = 'b' where id = 1", &["pt updated 11 b request"]),
        // Twice, also to where it was.
        (
            "update pt set r = 'b' where id = 0; update pt set r = 'y', v = 'w' where id = 0",
            &["pt updated 0 y request"],
        ),
        (
            "update pt set r = 'b', v = 'w' where id = 0; update pt set r = 'a' where id = 0",
            &["pt updated 0 a request"],
        ),
        (
            "update pt set v = 'w' where id = 0; update pt set r = 'b', v = 'x' where id = 0",
            &["pt updated 0 b request"],
        ),
        ("insert into pt values (9, 'a', 'new'); update pt set r = 'b' where id = 9", &["pt created 9 b request"]),
        ("update pt set r = 'b' where id = 0; delete from pt where id = 0", &["pt deleted 0 a request"]),
        // Another row takes the key, in the same partition.
        (
            "update pt set r = 'b' where id = 0; insert into pt values (0, 'a', 'another')",
            &["pt updated 0 b request", "pt created 0 a request"],
        ),
        (
            "update pt set r = 'b' where id = 0; update pt set id = 0 where id = 1",
            &["pt updated 0 b request", "pt updated 0 a request"],
        ),
        // Two rows exchange their keys.
        (
            "update pt set r = 'y' where id = 7 and r = 'a'; update pt set r = 'a' where id = 7 and r = 'b'; update pt set r = 'b' where id = 7 and r = 'y'",
            &["pt updated 7 b request", "pt updated 7 a request"],
        ),
        (
            "insert into pt values (0, 'a', 'x') on conflict (id, r) do update set v = excluded.v",
            &["pt updated 0 a request"],
        ),
        (
            "do $$ begin begin update pt set r = 'y' where id = 0; raise exception 'no'; exception when others then null; end; update pt set r = 'b' where id = 0; end $$",
            &["pt updated 0 b request"],
        ),
        (
            "do $$ begin update pt set v = 'w' where id = 0; begin update pt set r = 'y', v = 'x' where id = 0; exception when others then null; end; end $$",
            &["pt updated 0 y request"],
        ),
        (
            "with m as (update pt set r = 'b' where id = 0 returning *) insert into pt select id + 20, 'y', v from m",
            &["pt updated 0 b request", "pt created 20 y request"],
        ),
    ];
    for (number, (work, expected)) in cases.into_iter().enumerate() {
        check(&agent, &["pt"], &format!("r{number}"), work, expected).await;
    }
    // To where it was: nothing has changed.
    in_run(&agent, "same", "update pt set r = 'b' where id = 0; update pt set r = 'a' where id = 0").await;
    assert_eq!(told(&agent, "same").await, ["pt updated 0 b request", "pt updated 0 a request"]);
    let net = agent.get("/v1/runs/same/changes?net=true").await.status(200);
    assert_eq!(net.data(), json!([]));
}

#[tokio::test]
async fn merge_moves_rows_too() {
    let agent = scene("insert into pt values (1, 'a', 'one'), (2, 'b', 'two')").await;
    let merge = "merge into pt using (values (0), (1), (2), (5)) x (i) on pt.id = x.i
                 when matched and i = 0 then update set r = 'b', v = 'moved' when matched and i = 1 then update set v = 'stays'
                 when matched then delete when not matched then insert values (x.i, 'a', 'new')";
    let expected =
        ["pt updated 0 b request", "pt updated 1 a request", "pt deleted 2 b request", "pt created 5 a request"];
    check(&agent, &["pt"], "r", merge, &expected).await;
    // A row of the transaction's own.
    let again = "update pt set v = 'w' where id = 0; merge into pt using (values (0)) x (i) on pt.id = x.i when matched then update set r = 'b', v = 'moved'";
    check(&agent, &["pt"], "again", again, &["pt updated 0 b request"]).await;
    // The key has no other column.
    agent
        .sql("create table ks (k text primary key, v text) partition by list (k); create table ks_a partition of ks for values in ('a');
              create table ks_rest partition of ks default; insert into ks values ('a', '1'), ('x', '2')")
        .await
        .status(200);
    let merge = "merge into ks using (values ('a'), ('n')) x (i) on ks.k = x.i when matched and v = '9' then update set v = '8' when matched then delete when not matched then insert values (i, 'new')";
    check(&agent, &["ks"], "k", merge, &["ks deleted \"a\" request", "ks created \"n\" request"]).await;
    let merge = "merge into ks using (values ('a')) x (i) on ks.k = x.i when matched then update set k = 'm'";
    check(&agent, &["ks"], "m", merge, &["ks updated \"m\" request"]).await;
}

#[tokio::test]
async fn a_delete_and_an_insert_are_no_move() {
    let agent = scene("insert into pt values (1, 'a', 'one')").await;
    let cases: [(&str, &[&str]); 4] = [
        (
            "delete from pt where id = 0; insert into pt values (7, 'b', 'other')",
            &["pt deleted 0 a request", "pt created 7 b request"],
        ),
        (
            "delete from pt where id = 0; insert into pt values (0, 'b', 'precious'); update pt set v = 'w' where id = 1",
            &["pt deleted 0 a request", "pt created 0 b request", "pt updated 1 a request"],
        ),
        // In the transaction of an update that moves another row, and of one that moves none.
        (
            "update pt set r = 'y' where id = 1; delete from pt where id = 0; insert into pt values (0, 'b', 'precious'); update pt set v = 'w' where id = 99",
            &["pt updated 1 y request", "pt deleted 0 a request", "pt created 0 b request"],
        ),
        (
            "with d as (delete from pt where id = 0 returning *), u as (update pt set r = 'y' where id = 1) insert into pt select 8, 'b', 'other' from d",
            &["pt updated 1 y request", "pt deleted 0 a request", "pt created 8 b request"],
        ),
    ];
    for (number, (work, expected)) in cases.into_iter().enumerate() {
        let run = format!("r{number}");
        let start = rows(&agent, &["pt"]).await;
        in_run(&agent, &run, work).await;
        let mut changes = told(&agent, &run).await;
        changes.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(changes, expected, "{work}");
        undo(&agent, &run, "refuse").await.status(200);
        assert_eq!(rows(&agent, &["pt"]).await, start, "{work}");
    }
}

#[tokio::test]
async fn what_refers_to_a_row_follows_it() {
    let agent = scene(
        "insert into pt values (1, 'a', 'one');
         create table kid (id int primary key, pid int, pr text, foreign key (pid, pr) references pt on update cascade on delete cascade);
         insert into kid values (1, 0, 'a'), (2, 0, 'a'), (3, 1, 'a')",
    )
    .await;
    let moved = ["pt updated 0 b request", "kid updated 1 cascade", "kid updated 2 cascade"];
    check(&agent, &["pt", "kid"], "r", "update pt set r = 'b' where id = 0", &moved).await;

    // The partitioned table refers to another one.
    let agent = scene("create table regions (r text primary key); insert into regions values ('a'), ('b'); insert into pt values (1, 'b', 'one');
                       alter table pt add foreign key (r) references regions on update cascade")
    .await;
    let work = "update regions set r = r || '2'";
    let expected = [
        "regions updated \"a2\" request",
        "regions updated \"b2\" request",
        "pt updated 0 a2 cascade",
        "pt updated 1 b2 cascade",
    ];
    check(&agent, &["regions", "pt"], "r", work, &expected).await;
}

#[tokio::test]
async fn triggers_may_write_between() {
    let agent = scene(
        "insert into pt values (1, 'a', 'one');
         create table noted (n serial primary key, what text);
         create function note() returns trigger language plpgsql as $$ begin
           insert into noted (what) values (tg_op);
           if tg_op = 'DELETE' and old.id = 0 then update pt set r = 'y', v = 'by trigger' where id = 1; end if; return null; end $$;
         create trigger note after insert or update or delete on pt for each row execute function note();
         create function stamp() returns trigger language plpgsql as $$ begin new.v := new.v || '*'; return new; end $$;
         create trigger stamp before insert or update on pt for each row execute function stamp()",
    )
    .await;
    in_run(&agent, "r", "update pt set r = 'b' where id = 0").await;
    let changes: Vec<_> = told(&agent, "r").await.into_iter().filter(|it| it.starts_with("pt ")).collect();
    assert_eq!(changes, ["pt updated 0 b request", "pt updated 1 y trigger"]);
    agent.sql("drop trigger note on pt; drop trigger stamp on pt").await.status(200);
    undo(&agent, "r", "refuse").await.status(200);
    assert_eq!(rows(&agent, &["pt"]).await, ["(0,a,precious) (1,a,one)"]);
}

#[tokio::test]
async fn the_feed_has_one_entry_of_a_move() {
    let agent = scene("create trigger activity after insert or update or delete on pt for each row execute function record_activity()").await;
    in_run(&agent, "r", "update pt set r = 'b', v = 'w'").await;
    let entries = "select jsonb_agg(jsonb_build_array(verb, subject_id, changes) order by id) as v from activity where subject_type = 'pt'";
    assert_eq!(
        agent.sql(entries).await.v(),
        json!([["updated", "0", {"r": {"from": "a", "to": "b"}, "v": {"from": "precious", "to": "w"}}]])
    );
    let entry = agent.get("/v1/runs/r/changes").await.text("/data/0/activity_id");
    agent.post(&format!("/v1/activity/{entry}/undo"), json!({})).await.status(200);
    assert_eq!(rows(&agent, &["pt"]).await, ["(0,a,precious)"]);
}

#[tokio::test]
async fn values_that_json_does_not_hold_move_too() {
    let agent = agent().await;
    agent
        .sql("create table px (id int, k float8, tags int[], f float8, big float8, j jsonb, g text generated always as (id::text || 'x') stored, deleted_at timestamptz,
                primary key (k, id) deferrable initially immediate) partition by range (k);
              create table px_low partition of px for values from (-10) to (10); create table px_high partition of px default;
              insert into px values (1, '-0', '[0:1]={1,2}', '-0', 1e20, 'null'), (2, 5, '{}', 0, 0, null)")
        .await
        .status(200);
    let work = "update px set k = 99, tags = '[5:5]={7}', f = 0, big = '-0', j = '0', deleted_at = '2026-01-01' where id = 1; update px set k = 1e22, f = '-0', big = 1e20, j = 'null' where id = 2";
    let start = rows(&agent, &["px"]).await;
    in_run(&agent, "r", work).await;
    let changed = rows(&agent, &["px"]).await;
    let verbs = agent.get("/v1/runs/r/changes").await.status(200).column("verb");
    assert_eq!(verbs, ["deleted", "updated"]);
    let mut last = "r".to_owned();
    for expected in [&start, &changed, &start, &changed] {
        let done = undo(&agent, &last, "refuse").await.status(200);
        assert_eq!(&rows(&agent, &["px"]).await, expected, "{}", done.story());
        last = done.text("/data/run_id");
    }
}

#[tokio::test]
async fn many_rows_move_at_once() {
    let agent = scene("insert into pt select g, case g % 3 when 0 then 'a' when 1 then 'b' else 'y' end, g::text from generate_series(1, 600) g").await;
    let work = "update pt set r = case r when 'a' then 'b' when 'b' then 'y' else 'a' end where id > 0";
    let limited = sql(&agent, ("x-max-affected", "599"), work).await.fault(412, "max_affected_exceeded");
    assert_eq!(limited.at("/affected/pt"), json!({"created": 0, "updated": 600, "deleted": 0, "restored": 0}));
    sql(&agent, ("x-max-affected", "600"), &format!("{work}; update pt set id = id")).await.status(200);
    let start = rows(&agent, &["pt"]).await;
    in_run(&agent, "r", work).await;
    assert_eq!(agent.get("/v1/runs/r").await.at("/data/affected/pt/updated"), 600);
    assert_eq!(undo(&agent, "r", "refuse").await.status(200).at("/data/undone"), 600);
    assert_eq!(rows(&agent, &["pt"]).await, start);
}

#[tokio::test]
async fn an_undo_keeps_what_others_made_of_a_moved_row() {
    let reasons = |reply: &Reply, place: &str| {
        reply.at(place).as_array().expect("a list").iter().map(|it| it["reason"].clone()).collect::<Vec<_>>()
    };
    // Another row has the old key.
    let agent = scene("").await;
    in_run(&agent, "r", "update pt set r = 'b' where id = 0").await;
    agent.sql("insert into pt values (0, 'a', 'other')").await.status(200);
    let refused = undo(&agent, "r", "refuse").await.fault(409, "undo_conflict");
    assert_eq!(reasons(&refused, "/conflicts"), ["unique_taken"]);
    let skipped = undo(&agent, "r", "skip").await.status(200);
    assert_eq!(reasons(&skipped, "/data/skipped"), ["unique_taken"]);
    assert_eq!(rows(&agent, &["pt"]).await, ["(0,a,other) (0,b,precious)"]);

    for (others, after) in
        [("update pt set r = 'z' where id = 0", json!("(0,z,precious)")), ("delete from pt where id = 0", Value::Null)]
    {
        let agent = scene("").await;
        in_run(&agent, "r", "update pt set r = 'b' where id = 0").await;
        agent.sql(others).await.status(200);
        let refused = undo(&agent, "r", "refuse").await.fault(409, "undo_conflict");
        assert_eq!(reasons(&refused, "/conflicts"), ["row_gone"], "{others}");
        let skipped = undo(&agent, "r", "skip").await.status(200);
        assert_eq!(reasons(&skipped, "/data/skipped"), ["row_gone"], "{others}");
        assert_eq!(rows(&agent, &["pt"]).await, [after]);
    }

    let agent = scene("").await;
    in_run(&agent, "r", "update pt set r = 'b' where id = 0").await;
    agent.sql("update pt set v = 'theirs' where id = 0").await.status(200);
    undo(&agent, "r", "refuse").await.status(200);
    assert_eq!(rows(&agent, &["pt"]).await, ["(0,a,theirs)"]);
}

#[tokio::test]
async fn rows_of_the_table_itself_follow_too() {
    let agent = agent().await;
    agent
        .sql("create table tree (id int, r text, pid int, note text, primary key (id, r), foreign key (pid, r) references tree on update cascade) partition by list (r);
              create table tree_a partition of tree for values in ('a'); create table tree_rest partition of tree default;
              insert into tree values (1, 'a', null, 'root'), (2, 'a', 1, 'leaf'), (3, 'a', 2, 'leaf of it')")
        .await
        .status(200);
    let expected = ["tree updated 1 b request", "tree updated 2 b cascade", "tree updated 3 b cascade"];
    check(&agent, &["tree"], "r", "update tree set r = 'b' where id = 1", &expected).await;
}
