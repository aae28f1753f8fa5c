//! Controls: `X-Dry-Run` and `X-Max-Affected`, over every door and however the SQL tries to escape them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::belongings::owned;
use crate::support::{Agent, Raw, Reply, agent, both, home, psql, relm};

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
    assert_eq!(count(&agent, "contacts").await, 0);
    // RFC 7240: what is in quotes belongs to the preference before it.
    for (preferences, is_dry) in [("foo=\"bar, tx=rollback\"", false), ("foo=\"a\\\", b\", tx=\"rollback\"", true)] {
        let reply = send(&agent, Method::POST, "/v1/companies", ("prefer", preferences), json!({"name": "A"})).await;
        let reply = reply.status(if is_dry { 200 } else { 201 });
        assert_eq!(reply.header("preference-applied").is_empty(), !is_dry);
    }
    assert_eq!(count(&agent, "companies").await, 1);
    send(&agent, Method::POST, "/v1/companies", ("prefer", "foo=\"bar, tx=rollback"), json!({"name": "A"}))
        .await
        .fault(400, "unknown_control");
}

#[tokio::test]
async fn reads_ignore_controls_everywhere() {
    let (owner, live) = owned().await;
    let in_workspace = |path: &str| format!("{path}?ws={}", owner.workspace_id);
    for control in [DRY, ("x-max-affected", "0"), ("prefer", "tx=rollback")] {
        for path in ["/v1/auth/me", "/v1/workspaces", &in_workspace("/v1/keys"), &in_workspace("/v1/members")] {
            assert_eq!(
                send(&owner, Method::GET, path, control, Value::Null).await.status(200).data(),
                owner.get(path).await.data()
            );
            assert_eq!(send(&owner, Method::HEAD, path, control, Value::Null).await.code, 200, "{path}");
        }
        for path in ["/v1/webhooks", "/v1/automations", "/v1/events", "/v1/runs", "/v1/logs", "/v1/tables"] {
            send(&live, Method::GET, path, control, Value::Null).await.status(200);
        }
        let key = json!({"workspace_id": owner.workspace_id, "name": "k"});
        send(&owner, Method::POST, "/v1/keys", control, key).await.fault(400, "control_not_supported");
        let webhook = json!({"url": "https://a.example/", "events": ["*"]});
        send(&live, Method::POST, "/v1/webhooks", control, webhook).await.fault(400, "control_not_supported");
    }
    send(&owner, Method::GET, "/v1/auth/me", ("x-dry-run", "yes"), Value::Null).await.fault(400, "unknown_control");
    send(&owner, Method::GET, "/v1/auth/me", ("x-dryrun", "true"), Value::Null).await.fault(400, "unknown_control");
}

/// Creates a company with these header lines. Returns the status and the code of the error.
async fn create_with(agent: &Agent, lines: &[&[u8]]) -> (u16, Value) {
    let mut head = format!(
        "POST /v1/companies HTTP/1.1\r\nhost: kith\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 13\r\n",
        agent.key
    )
    .into_bytes();
    for line in lines {
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n{\"name\": \"C\"}");
    let mut raw = Raw::connect(&agent.base).await;
    raw.say(&head).await;
    let answer = raw.answer().await;
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    (answer.code, body["error"].clone())
}

#[tokio::test]
async fn a_header_that_names_something_is_taken_to_the_letter() {
    let agent = agent().await;
    let (done, refused) = ((201, Value::Null), (400, json!("invalid_request")));
    for wrong in [&b"x-run-id: M\xfcller"[..], b"x-run-id: \xff\xfe", b"x-run-id: a\tb", b"idempotency-key: M\xfcller"]
    {
        assert_eq!(create_with(&agent, &[wrong]).await, refused, "{}", String::from_utf8_lossy(wrong));
    }
    for name in ["x-run-id", "idempotency-key"] {
        let [one, other] = ["a", "b"].map(|value| format!("{name}: {value}").into_bytes());
        assert_eq!(create_with(&agent, &[&one, &other]).await, refused, "{name}");
        assert_eq!(create_with(&agent, &[&one, &one]).await, done, "{name}");
    }
    assert_eq!(create_with(&agent, &["x-run-id: Müller".as_bytes()]).await, done);
    assert_eq!(agent.get("/v1/runs").await.status(200).column("run_id"), ["Müller", "a"]);
    // Words are for people.
    assert_eq!(create_with(&agent, &[b"x-agent: M\xfcller", b"x-reason: caf\xe9"]).await, done);
    let entry = agent.get("/v1/activity?limit=1").await.status(200).at("/data/0/custom");
    assert_eq!((&entry["agent"], &entry["reason"]), (&json!("M\u{fffd}ller"), &json!("caf")));
}

/// The texts of changes are bounded together, and one long text is cut as in the feed.
#[tokio::test]
async fn a_dry_run_of_large_changes_shows_the_first_ones() {
    let (relm, agent) = both().await;
    agent.sql("insert into emails (subject, body_text) select n::text, repeat(md5(n::text), 1875) from generate_series(1, 200) n").await.status(200);
    let delete = json!({"sql": "delete from emails"});
    let batch = json!({"operations": [{"method": "POST", "path": "/v1/sql", "body": delete}]});
    for (dialect, at) in [(&agent, "/_meta"), (&relm, "")] {
        for (path, body) in [("/v1/sql", &delete), ("/v1/batch", &batch)] {
            let gone = dry(dialect, Method::POST, path, body.clone()).await.status(200);
            assert_eq!(gone.at(&format!("{at}/affected/emails/deleted")), 200);
            assert_eq!(gone.at(&format!("{at}/changes_truncated")), true);
            let changes = gone.at(&format!("{at}/changes"));
            let shown = changes.as_array().expect("changes");
            assert!((50..80).contains(&shown.len()), "{}", shown.len());
            let body = shown[0]["changes"]
                .as_object()
                .expect("columns")
                .values()
                .map(|it| it["from"].as_str().unwrap_or_default().len())
                .max();
            assert_eq!(body, Some(60_000), "whole values");
        }
    }
    agent.sql("create table files (id int primary key, text text)").await.status(200);
    let insert = |count: usize| {
        let sql = format!("insert into files select n, repeat(md5(n::text), 94000) from generate_series(1, {count}) n");
        json!({"sql": sql})
    };
    for (dialect, at) in [(&agent, "/_meta"), (&relm, "")] {
        for count in [1, 5] {
            let made = dry(dialect, Method::POST, "/v1/sql", insert(count)).await.status(200);
            assert_eq!(made.at(&format!("{at}/affected/files/created")), count);
            assert_eq!(made.at(&format!("{at}/changes")).as_array().map(Vec::len), Some(count));
            assert_eq!(made.at(&format!("{at}/changes_truncated")), false);
            let text = made.at(&format!("{at}/changes/0/changes/text"));
            assert_eq!(text["clipped"], json!({"to": 32 * 94_000}));
            assert!(text["to"].as_str().is_some_and(|it| it.len() == 2048), "{text}");
        }
    }
    // The undo of large changes, and the tool that tells what it has changed.
    let run = [JSON, ("x-run-id", "large")];
    agent.send(Method::POST, "/v1/sql", &run, delete.to_string()).await.status(200);
    let undone = dry(&agent, Method::POST, "/v1/runs/large/undo", json!({})).await.status(200);
    assert_eq!((undone.at("/data/undone"), undone.at("/_meta/changes_truncated")), (json!(200), json!(true)));
    agent.post("/v1/runs/large/undo", json!({})).await.status(200);
    assert_eq!(count(&agent, "emails").await, 200);
    let longer = "update emails set body_text = body_text || 'x'; update files set text = null";
    let told = crate::mcp::call(&agent, "execute_sql", json!({"sql": longer})).await;
    assert!(told["outcome"].as_str().is_some_and(|it| it.contains("200")), "{told}");
}

/// A deferred trigger may defer what it causes.
#[tokio::test]
async fn a_dry_run_checks_what_a_deferred_trigger_defers() {
    let agent = agent().await;
    agent
        .sql("create table par (id int primary key);
              create table kid (id serial primary key, p int references par deferrable initially deferred);
              create table bare (p int references par deferrable initially deferred);
              create table src (id int primary key); create table plain (id int primary key);
              create function ds() returns trigger language plpgsql as $$ begin
                set constraints all deferred; execute format('insert into %s (p) values (99)', tg_argv[0]); return null; end $$;
              create constraint trigger t after insert on src deferrable initially deferred for each row execute function ds('kid');
              create constraint trigger t after insert on plain deferrable initially deferred for each row execute function ds('bare');
              create table a (id int primary key); create table b (p int primary key); create table c (p int primary key); create table d (p int primary key);
              create constraint trigger t after insert on a deferrable initially deferred for each row execute function ds('b');
              create constraint trigger t after insert on b deferrable initially deferred for each row execute function ds('c');
              create constraint trigger t after insert on c deferrable initially deferred for each row execute function ds('d')")
        .await
        .status(200);
    for (table, key) in [("src", "kid_p_fkey"), ("plain", "bare_p_fkey")] {
        let insert = format!("insert into {table} values (1)");
        for control in [DRY, ("x-agent", "a")] {
            sql(&agent, control, &insert).await.fault(400, "sql_error").says(key);
            let made = send(&agent, Method::POST, &format!("/v1/{table}"), control, json!({"id": 1})).await;
            made.fault(422, "validation_failed");
        }
    }
    let chain = sql(&agent, DRY, "insert into a values (1)").await.status(200);
    for table in ["a", "b", "c", "d"] {
        assert_eq!(chain.at(&format!("/_meta/affected/{table}/created")), 1, "{table}");
    }
    sql(&agent, ("x-agent", "a"), "insert into a values (1)").await.status(200);
    assert_eq!(count(&agent, "d").await, 1);
}

#[tokio::test]
async fn what_foreign_keys_do_for_a_trigger_is_a_cascade() {
    let agent = agent().await;
    agent
        .sql("create table par (id int primary key); create table src (id int primary key);
              create table kid (id int primary key, p int references par on delete cascade);
              create table loose (id int primary key, p int references par on delete set null);
              create table hand (id int primary key, p int);
              create function empty_all() returns trigger language plpgsql as $$ begin
                delete from hand where p = new.id; delete from par where id = new.id; delete from lists; return null; end $$;
              create trigger t after insert on src for each row execute function empty_all();
              insert into par values (1); insert into kid values (1, 1); insert into loose values (1, 1); insert into hand values (1, 1);
              insert into contacts (id) values ('c_1'), ('c_2'); insert into lists (id, name, target_table, kind) values ('l_1', 'L', 'contacts', 'static');
              insert into list_members (list_id, member_id) values ('l_1', 'c_1'), ('l_1', 'c_2')")
        .await
        .status(200);
    let made = sql(&agent, DRY, "insert into src values (1)").await.status(200);
    let mut vias: Vec<(String, String)> = made
        .at("/_meta/changes")
        .as_array()
        .expect("changes")
        .iter()
        .map(|it| {
            (it["table"].as_str().unwrap_or_default().to_owned(), it["via"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    vias.sort();
    let expected = [
        ("hand", "trigger"),
        ("kid", "cascade"),
        ("list_members", "cascade"),
        ("list_members", "cascade"),
        ("lists", "trigger"),
        ("loose", "cascade"),
        ("par", "trigger"),
        ("src", "request"),
    ];
    assert_eq!(vias, expected.map(|(table, via)| (table.to_owned(), via.to_owned())));
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
