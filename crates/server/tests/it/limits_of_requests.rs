//! Controls: `X-Dry-Run` and `X-Max-Affected`, over every door and however the SQL tries to escape them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, home, psql, relm};

const JSON: (&str, &str) = ("content-type", "application/json");
const DRY: (&str, &str) = ("x-dry-run", "true");

async fn send(agent: &Agent, method: Method, path: &str, control: (&str, &str), body: Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    agent.send(method, path, &[JSON, control], body).await
}

async fn dry(agent: &Agent, method: Method, path: &str, body: Value) -> Reply {
    send(agent, method, path, DRY, body).await
}

async fn sql(agent: &Agent, control: (&str, &str), sql: &str) -> Reply {
    send(agent, Method::POST, "/v1/sql", control, json!({"sql": sql})).await
}

async fn count(agent: &Agent, table: &str) -> Value {
    agent.sql(&format!("select count(*) as v from {table}")).await.status(200).v()
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_keeps_nothing() {
    let agent = agent().await;
    let made = dry(&agent, Method::POST, "/v1/contacts", json!({"email": "a@b.example"})).await.status(200);
    assert_eq!(made.at("/_meta/dry_run"), true);
    assert_eq!(made.at("/_meta/status"), 201);
    assert_eq!(
        made.at("/_meta/affected"),
        json!({"contacts": {"created": 1, "updated": 0, "deleted": 0, "restored": 0}})
    );
    assert_eq!(made.at("/_meta/changes_truncated"), false);
    let change = made.at("/_meta/changes/0");
    assert_eq!(
        (&change["table"], &change["verb"], &change["via"]),
        (&json!("contacts"), &json!("created"), &json!("request"))
    );
    assert_eq!(change["id"], made.id());
    assert_eq!(change["changes"]["email"], json!({"from": null, "to": "a@b.example"}));
    assert!(change["changes"].get("phone").is_none() && change["changes"].get("updated_at").is_none(), "{change}");
    assert!(change.get("hard").is_none());
    assert_eq!(count(&agent, "contacts").await, 0);
    assert_eq!(count(&agent, "activity").await, 0);

    let id = agent.post("/v1/contacts", json!({"email": "a@b.example", "phone": "1"})).await.status(201).id();
    let path = format!("/v1/contacts/{id}");
    let patched = dry(&agent, Method::PATCH, &path, json!({"phone": "2"})).await.status(200);
    assert_eq!(patched.at("/_meta/changes/0/changes"), json!({"phone": {"from": "1", "to": "2"}}));
    assert_eq!(patched.at("/data/phone"), "2");
    let hidden = dry(&agent, Method::DELETE, &path, Value::Null).await.status(200);
    assert_eq!(hidden.at("/_meta/changes/0/verb"), "deleted");
    assert_eq!(hidden.at("/_meta/changes/0/changes/deleted_at/from"), Value::Null);
    let gone = dry(&agent, Method::DELETE, &format!("{path}?hard=true"), Value::Null).await.status(200);
    assert_eq!(gone.at("/_meta/changes/0/hard"), true);
    assert_eq!(gone.at("/_meta/changes/0/changes/title"), json!({"from": null, "to": null}));
    assert_eq!(agent.get(&path).await.status(200).at("/data/phone"), "1");
    assert_eq!(count(&agent, "activity").await, 1);
    // One that would fail answers with that failure, and leaves no entry.
    dry(&agent, Method::POST, "/v1/contacts", json!({"email": "a@b.example"})).await.fault(409, "conflict");
    assert_eq!(count(&agent, "activity").await, 1);
    // Preferences are another spelling.
    let preferred =
        send(&agent, Method::PATCH, &path, ("prefer", "tx=rollback, foo=bar"), json!({"phone": "3"})).await.status(200);
    assert_eq!(preferred.at("/_meta/dry_run"), true);
    assert_eq!(preferred.header("preference-applied"), "tx=rollback");
    // Reads ignore controls; SQL that only reads is a dry run.
    let read = send(&agent, Method::GET, &path, DRY, Value::Null).await.status(200);
    assert!(read.json()["_meta"].get("dry_run").is_none());
    assert_eq!(sql(&agent, DRY, "select 1 as v").await.status(200).at("/_meta/affected"), json!({}));
}

#[tokio::test]
async fn relm_has_its_own_shape_names_and_ids() {
    let relm = relm().await;
    let contact = relm.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).text("/id");
    let body = json!({"title": "T", "value_cents": 5, "primary_contact_id": contact});
    let made = dry(&relm, Method::POST, "/v1/deals", body).await.status(200);
    assert_eq!((made.at("/object"), made.at("/status")), (json!("dry_run"), json!(201)));
    assert_eq!(made.at("/result/object"), "deal");
    assert_eq!(made.at("/changes/0/id"), made.at("/result/id"));
    assert_eq!(made.at("/changes/0/changes/title"), json!({"from": null, "to": "T"}));
    assert_eq!(made.at("/changes/0/changes/value_cents/to"), 5);
    assert_eq!(made.at("/changes/0/changes/primary_contact_id/to"), contact);
    assert_eq!(made.at("/affected/deals/created"), 1);
}

#[tokio::test]
async fn a_dry_run_checks_deferred_constraints_and_sees_cascades_and_triggers() {
    let agent = agent().await;
    agent
        .sql("create table parts (id int primary key);
              create table kids (id int primary key, part int references parts on delete cascade deferrable initially deferred);
              create table log (id int generated always as identity primary key, what text);
              create function note() returns trigger language plpgsql as $$ begin insert into log (what) values (old.id::text); return null; end $$;
              create trigger note after delete on parts for each row execute function note();
              insert into parts values (1), (2); insert into kids values (1, 1), (2, 1)")
        .await
        .status(200);
    sql(&agent, DRY, "insert into kids values (3, 99)").await.fault(400, "sql_error");
    let gone = sql(&agent, DRY, "delete from parts where id = 1").await.status(200);
    let vias: Vec<(Value, Value)> = gone
        .at("/_meta/changes")
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["table"].clone(), it["via"].clone()))
        .collect();
    let expected = [("parts", "request"), ("log", "trigger"), ("kids", "cascade"), ("kids", "cascade")];
    for (table, via) in expected {
        assert!(vias.contains(&(table.into(), via.into())), "{table} {via}: {vias:?}");
    }
    assert_eq!(count(&agent, "parts").await, 2);
    // SQL may check its constraints earlier, as often as it likes.
    let early = "insert into parts values (3); set constraints all immediate; insert into kids values (4, 3); set constraints all deferred; delete from parts where id = 2; set constraints all immediate";
    let early = sql(&agent, DRY, early).await.status(200);
    assert_eq!(
        (early.at("/_meta/affected/parts/created"), early.at("/_meta/affected/parts/deleted")),
        (json!(1), json!(1))
    );
    sql(&agent, DRY, "insert into kids values (3, 99); set constraints all immediate")
        .await
        .fault(400, "sql_error")
        .says("kids_part_fkey");
    sql(&agent, DRY, "do $$ begin insert into parts values (3); set constraints all immediate; end $$")
        .await
        .status(200);
    assert_eq!(count(&agent, "parts").await, 2);
    // Rows count once, by their state before and after.
    let net = "insert into parts values (7); update parts set id = 8 where id = 7; delete from parts where id = 8; insert into parts values (9)";
    assert_eq!(sql(&agent, DRY, net).await.status(200).at("/_meta/affected/parts/created"), 1);
    let ddl = "create table made (id int primary key); insert into made select generate_series(1, 201)";
    let many = sql(&agent, DRY, ddl).await.status(200);
    assert_eq!(many.at("/_meta/changes").as_array().unwrap().len(), 200);
    assert_eq!(many.at("/_meta/changes_truncated"), true);
    agent.get("/v1/made").await.fault(404, "not_found");
}

#[tokio::test]
async fn more_rows_than_allowed_are_refused_however_they_are_written() {
    let agent = agent().await;
    let at_most = ("x-max-affected", "2");
    agent
        .sql("create table parts (id int primary key, v text default 'x');
              create table kids (id int primary key, part int references parts on delete cascade);
              insert into parts select generate_series(1, 5); insert into kids select g, 1 from generate_series(1, 3) g;
              create table plain (v text); insert into plain values ('x');
              create table keyless (n int, v text) partition by list (n); create table leaf partition of keyless default; insert into keyless values (1, 'x');
              create procedure five() language plpgsql as $$ begin update parts set v = 'called'; end $$;
              create procedure commits() language plpgsql as $$ begin update parts set v = 'kept' where id = 1; commit; update parts set v = 'kept' where id > 1; end $$")
        .await
        .status(200);
    let refused = sql(&agent, at_most, "update parts set v = 'y'").await.fault(412, "max_affected_exceeded");
    assert_eq!(refused.at("/affected/parts/updated"), 5);
    sql(&agent, at_most, "update parts set v = 'y' where id < 3").await.status(200);
    sql(&agent, at_most, "update parts set v = v").await.status(200);
    sql(&agent, ("prefer", "max-affected=1"), "update parts set v = 'z' where id < 3")
        .await
        .fault(412, "max_affected_exceeded");
    let escapes = [
        "delete from parts where id = 1",
        "do $$ begin for i in 1 .. 5 loop update parts set v = 'do' where id = i; end loop; end $$",
        "select set_config('kith.context', '', true); update parts set v = 'cleared'",
        "set constraints all immediate; update parts set v = 'early'",
        "with x as (update parts set v = 'cte' returning 1) select count(*) from x",
        "create function f() returns void language sql as $$ update parts set v = 'f' $$; select f()",
        "create function late() returns trigger language plpgsql as $$ begin
           set constraints all deferred; if new.id < 50 then insert into parts values (new.id + 50), (new.id + 60); end if; return null; end $$;
         create constraint trigger late after insert on parts deferrable initially deferred for each row execute function late();
         insert into parts values (10); set constraints all immediate",
        "truncate kids",
        "call five()",
        "alter table parts drop constraint parts_pkey cascade; update parts set v = 'p'; alter table parts add primary key (id)",
        "alter table parts drop column v; alter table parts add v text default 'q'",
        "alter table parts alter v type text using 'u'",
        "alter table parts add w text default random()::text",
        "drop table parts cascade",
        "drop schema public cascade",
        "update plain set v = 'plain'",
        "update leaf set v = 'leaf'",
        "create table copy as select id, 'copied' as v from parts",
        "do $$ begin execute 'select id into copy from parts'; end $$",
    ];
    for escape in escapes {
        let reply = sql(&agent, at_most, escape).await;
        assert!(matches!(reply.code, 412 | 403), "{}", reply.story());
    }
    sql(&agent, at_most, "call commits()").await.fault(400, "sql_error").says("transaction");
    // DDL that leaves rows and the log as they are is free, and so are writes that are counted.
    let free = "alter table parts add constraint named check (v <> ''); alter table parts rename v to w; alter table parts rename w to v;
                create table made (id int primary key); insert into made values (1)";
    sql(&agent, at_most, free).await.status(200);
    assert_eq!(
        agent.sql("select string_agg(v, ',') as v from (table plain union all select v from keyless) x").await.v(),
        "x,x"
    );
    assert_eq!(agent.sql("select string_agg(v, ',' order by id) as v from parts").await.v(), "y,y,x,x,x");
    assert_eq!(count(&agent, "kids").await, 3);
    // REST and batches count too; a retry under the same key with another limit is done.
    let contacts: Vec<Value> = (0..3).map(|n| json!({"email": format!("a{n}@b.example")})).collect();
    let keyed = |limit: &'static str| [JSON, ("x-max-affected", limit), ("idempotency-key", "k")];
    let body = json!({"contacts": contacts}).to_string();
    agent.send(Method::POST, "/v1/contacts/batch", &keyed("2"), body.clone()).await.fault(412, "max_affected_exceeded");
    assert_eq!(count(&agent, "contacts").await, 0);
    agent.send(Method::POST, "/v1/contacts/batch", &keyed("3"), body).await.status(200);
    assert_eq!(count(&agent, "contacts").await, 3);
    send(&agent, Method::POST, "/v1/deals", ("x-max-affected", "0"), json!({"name": "D"}))
        .await
        .fault(412, "max_affected_exceeded");
    // The deal and the stage that its trigger adds.
    let staged = json!({"name": "D", "stage": "another"});
    send(&agent, Method::POST, "/v1/deals", ("x-max-affected", "1"), staged.clone())
        .await
        .fault(412, "max_affected_exceeded");
    send(&agent, Method::POST, "/v1/deals", at_most, staged).await.status(201);
}

/// Rows that a command takes from one table into another, and rows that a statement reaches through the table's parent.
#[tokio::test]
async fn a_limit_counts_what_parents_reach_and_refuses_to_change_them() {
    let agent = agent().await;
    let at_most = ("x-max-affected", "2");
    agent
        .sql(
            "create table years (id int, y int, v text, primary key (id, y)) partition by list (y);
              create table first partition of years for values in (1);
              create table second (id int, y int, v text, primary key (id, y));
              create table base (id int primary key, v text);
              create table keyed (primary key (id)) inherits (base); create table bare () inherits (base);
              create table stray (id int primary key, v text);
              insert into first select g, 1, 'x' from generate_series(1, 3) g; insert into second values (1, 2, 'x');
              insert into base values (1, 'x'); insert into keyed select g, 'x' from generate_series(11, 13) g;
              insert into bare values (21, 'x'); insert into stray values (31, 'x')",
        )
        .await
        .status(200);
    let refused = [
        ("alter table years attach partition second for values in (2)", "ATTACH PARTITION is not allowed"),
        ("alter table years detach partition first", "DETACH PARTITION is not allowed"),
        ("alter table stray inherit base", "INHERIT is not allowed"),
        ("alter table keyed no inherit base", "NO INHERIT is not allowed"),
        ("do $$ begin begin alter table stray inherit base; exception when division_by_zero then null; end; end $$", "INHERIT"),
        // What the command does is over before it calls this function.
        (
            "create function sly(int) returns boolean language plpgsql as $$ begin alter table base set (fillfactor = 90); return true; end $$;
             alter table stray inherit parent_of_stray, add constraint sly check (sly(id))",
            "INHERIT is not allowed",
        ),
        ("create table fresh (id int primary key, v text); insert into fresh values (1, 'x'); alter table fresh inherit base", "INHERIT"),
        ("update bare set v = 'y'", "writes to bare, which has no primary key"),
        ("update base set v = 'y' where id = 21", "writes to bare, which has no primary key"),
        ("delete from base where id = 21", "writes to bare, which has no primary key"),
    ];
    agent.sql("create table parent_of_stray (v text)").await.status(200);
    for (statement, words) in refused {
        sql(&agent, at_most, statement).await.fault(403, "sql_error").says(words).says("X-Max-Affected");
        let operations = json!({"operations": [{"method": "POST", "path": "/v1/sql", "body": {"sql": statement}}]});
        let batch = send(&agent, Method::POST, "/v1/batch", at_most, operations).await.fault(403, "sql_error");
        assert_eq!(batch.says(words).at("/operation"), 0);
    }
    // A child with a key of its own is counted, through whatever table it is written.
    let many = sql(&agent, at_most, "update base set v = 'y' where id between 10 and 20").await;
    assert_eq!(many.fault(412, "max_affected_exceeded").at("/affected/keyed/updated"), 3);
    let many = sql(&agent, at_most, "delete from years").await.fault(412, "max_affected_exceeded");
    assert_eq!(many.at("/affected/years/deleted"), 3);
    sql(&agent, at_most, "update base set v = 'y' where id < 12").await.status(200);
    // New children have no rows, and what is written into them is counted.
    let new = "create table third partition of years for values in (3); create table young (primary key (id)) inherits (base);
               alter table young add note text; insert into years values (1, 3, 'x'); insert into young values (41, 'x')";
    sql(&agent, at_most, new).await.status(200);
    let more = "create table fourth partition of years for values in (4); insert into years select g, 4, 'x' from generate_series(1, 3) g";
    sql(&agent, at_most, more).await.fault(412, "max_affected_exceeded");
    let values = "select string_agg(v, '' order by id) as v from (select id, v from base union all select id + 100, v from years) x";
    assert_eq!(agent.sql(values).await.v(), "yyxxxxxxxx");
    // Without a limit all of it is done, on a direct connection too, where there are no limits.
    let mut session = psql(&agent).await;
    session
        .script("alter table public.years attach partition public.second for values in (2)")
        .await
        .expect("a partition");
    let free =
        "alter table years detach partition first; alter table stray inherit base; alter table keyed no inherit base;
                update base set v = 'z' where id = 21";
    agent.sql(free).await.status(200);
    // A table that no longer inherits is written by its own statements only.
    agent.sql("alter table bare no inherit base").await.status(200);
    sql(&agent, at_most, "update bare set v = 'y' where id = 0").await.fault(403, "sql_error").says("writes to bare");
    sql(&agent, at_most, "update base set v = 'y' where id = 21").await.status(200);
}

#[tokio::test]
async fn limited_requests_do_not_wait_for_each_other() {
    let agent = agent().await;
    let place = home().place(&agent.workspace_id).await;
    let store = &home().kith.app.store;
    let secret = store.secret_of(&place).expose().to_owned();
    let session = async || store.cells.administer(place.cell, &place.database).await.expect("the administrator");
    let begin = format!("set lock_timeout = '5s'; begin; select kith.limit_request('{secret}', 1, false)");
    let (mut holder, mut first, mut second) = (session().await, session().await, session().await);
    // An old limit, which the first removes and does not commit before the second has begun.
    holder
        .script(
            "insert into kith.seal (xid, most, is_dry) values ('3', 1, false); select kith_guard.pg_advisory_lock(42)",
        )
        .await
        .expect("a lock");
    let pid = first.pid();
    let begun = begin.replace("'5s'", "0");
    let waiting = tokio::spawn(async move {
        first.script(&format!("{begun}; select kith_guard.pg_advisory_xact_lock(42); commit")).await
    });
    let is_waiting = format!(
        "select exists (select from kith_guard.pg_lock_status() l where l.pid = {pid} and not l.granted)::text"
    );
    while holder.query(&is_waiting, &[]).await.expect("locks").text(0, 0) != Some("true") {
        assert!(!waiting.is_finished(), "the first does not wait");
    }
    second.script(&format!("{begin}; commit")).await.expect("the second does not wait");
    holder.script("select kith_guard.pg_advisory_unlock(42)").await.expect("an end");
    waiting.await.expect("an end").expect("a commit");
    let kept = holder.query("select count(*)::text from kith.seal where xid = '3'", &[]).await.expect("a count");
    assert_eq!(kept.text(0, 0), Some("0"));
}

/// Comparing rows costs more than counting changes.
#[tokio::test]
async fn changes_within_the_limit_are_not_compared() {
    let agent = agent().await;
    let place = home().place(&agent.workspace_id).await;
    let store = &home().kith.app.store;
    let secret = store.secret_of(&place).expose().to_owned();
    let mut admin = store.cells.administer(place.cell, &place.database).await.expect("the administrator");
    let role = &place.role;
    let mut compares = async |most: u32| {
        let script = format!(
            "set track_functions = 'all'; set session authorization \"{role}\"; begin;
             select kith.begin_request('{secret}', 'api_key:ak_1', '{{\"limited\": true}}'), kith.limit_request('{secret}', {most}, false);
             insert into public.contacts (id) values ('c_1'), ('c_2'); update public.contacts set phone = '1' where id = 'c_1'; set constraints all immediate; reset session authorization;
             do $$ begin assert coalesce((select pg_stat_get_xact_function_calls(p.oid) from pg_proc p where p.proname = 'net' and p.pronamespace = 'kith'::regnamespace), 0) = 0, 'compared'; end $$"
        );
        admin.script(&script).await.err().map(|error| format!("{error:?}"))
    };
    assert_eq!(compares(3).await, None);
    // A row that changed twice is one row, which only images show.
    let compared = compares(2).await.expect("a comparison");
    assert!(compared.contains("compared"), "{compared}");
}

#[tokio::test]
async fn two_updates_of_one_request_have_different_times() {
    let agent = agent().await;
    agent.sql("insert into contacts (id) values ('c_1'), ('c_2')").await.status(200);
    let update = "update contacts set phone = '1' where id = 'c_1'; update contacts set phone = '1' where id = 'c_2'";
    agent.sql(update).await.status(200);
    assert_eq!(agent.sql("select count(distinct updated_at) as v from contacts").await.v(), 2);
}

#[tokio::test]
async fn a_control_is_never_ignored() {
    let agent = agent().await;
    for (name, value, right) in [
        ("X-DryRun", "true", "X-Dry-Run"),
        ("X-Dry-Runs", "true", "X-Dry-Run"),
        ("X-Max-Rows-Affected", "1", "X-Max-Affected"),
        ("X-Dry-Run", "yes", "X-Dry-Run"),
        ("X-Max-Affected", "-1", "X-Max-Affected"),
        ("Prefer", "max-affected=many", "Prefer"),
    ] {
        let reply = send(&agent, Method::POST, "/v1/contacts", (name, value), json!({"email": "a@b.example"})).await;
        reply.fault(400, "unknown_control").says(right);
    }
    let both = [JSON, DRY, ("prefer", "tx=commit")];
    agent.send(Method::POST, "/v1/contacts", &both, "{}").await.fault(400, "unknown_control");
    send(&agent, Method::GET, "/v1/keys", DRY, Value::Null).await.fault(400, "control_not_supported");
    assert_eq!(count(&agent, "contacts").await, 0);
}

/// The database refuses to commit a dry transaction, even if the server were made to send the commit.
#[tokio::test]
async fn a_sealed_transaction_does_not_commit() {
    let agent = agent().await;
    let place = home().place(&agent.workspace_id).await;
    let secret = home().kith.app.store.secret_of(&place).expose().to_owned();
    let mut session = psql(&agent).await;
    let begin = format!(
        "begin; select kith.begin_request('{secret}', 'api_key:ak_1', null); select kith.limit_request('{secret}', null, true)"
    );
    for work in [
        "insert into contacts (email) values ('sealed@b.example')",
        "create table sealed (id int)",
        "select set_config('kith.context', '', true); insert into contacts (email) values ('sealed@b.example')",
        "set constraints all deferred; insert into contacts (email) values ('sealed@b.example')",
        "set constraints all immediate",
        "set constraints all immediate; set constraints all deferred",
        "savepoint a; set constraints all immediate; insert into contacts (email) values ('sealed@b.example'); rollback to a",
        "savepoint a; insert into contacts (email) values ('sealed@b.example'); set constraints all immediate; release a",
        "set constraints kith.refuse_dry immediate",
    ] {
        // One message, because a session that is given back ends its transaction.
        let ended = session.script(&format!("{begin}; {work}; commit")).await.expect_err("a sealed transaction");
        assert!(format!("{ended:?}").contains("KL003"), "{work}: {ended:?}");
    }
    assert_eq!(count(&agent, "contacts").await, 0);
    assert_eq!(agent.sql("select to_regclass('sealed') as v").await.v(), Value::Null);
}
