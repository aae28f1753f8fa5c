//! State that a workspace's code leaves in a session never reaches another request.

use serde_json::{Value, json};

use super::{Scene, outcome};
use crate::support::home;

/// Settings that would make answers wrong or missing.
pub const SETTINGS: &[(&str, &str)] = &[
    ("DateStyle", "German, DMY"),
    ("TimeZone", "Asia/Tokyo"),
    ("IntervalStyle", "iso_8601"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("search_path", "pg_catalog"),
    ("search_path", "public, pg_catalog"),
    ("standard_conforming_strings", "off"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("client_min_messages", "debug5"),
    ("statement_timeout", "1"),
    ("transaction_timeout", "1"),
    ("lock_timeout", "1"),
    ("idle_session_timeout", "1"),
    ("idle_in_transaction_session_timeout", "1"),
    ("quote_all_identifiers", "on"),
    ("transform_null_equals", "on"),
    ("array_nulls", "off"),
    ("row_security", "off"),
    ("xmloption", "document"),
    ("work_mem", "64"),
    ("gin_fuzzy_search_limit", "1"),
    ("plan_cache_mode", "force_custom_plan"),
    ("log_parameter_max_length_on_error", "-1"),
    ("default_tablespace", "nowhere"),
    ("restrict_nonsystem_relation_kind", "view"),
    ("role", "none"),
    ("session_replication_role", "replica"),
    ("plpgsql.variable_conflict", "use_column"),
    ("plpgsql.extra_errors", "all"),
    ("kith.context", "junk"),
    ("client_encoding", "LATIN1"),
];

/// A table with a row whose values depend on every such setting.
pub const PROBE: &str = "
    create table probe (id text primary key, b bytea, f float8, i interval, t timestamptz, d date, a int[], n numeric);
    insert into probe values ('p', '\\x00ff5c', 0.1::float8 + 0.2, '1 day 02:03:04', '2026-07-02 03:04:05.678+00', '2026-02-01', '{1,null}', 1.50)";

async fn probe(scene: &Scene) -> Value {
    scene.attacker.get("/v1/probe/p").await.status(200).data()
}

/// Poisons REST's sessions with a trigger, and checks whether they were restored.
async fn drive(scene: &Scene, setting: &str, value: &str, number: usize, expected: &Value) -> Result<(), String> {
    let what = format!("a function that sets {setting} to {value}");
    let body = json!({"id": format!("v{number}"), "setting": setting, "value": value});
    let poisoned = scene.attacker.post("/v1/vehicle", body).await;
    println!("{what}: {}", poisoned.code);
    // The request that does this may fail, but it never causes an internal error of the server.
    if poisoned.code >= 500 && poisoned.code != 503 {
        return Err(format!("{what}: {}", poisoned.story()));
    }
    for _ in 0..2 {
        let found = scene.attacker.get("/v1/probe/p").await;
        if found.code != 200 || found.data() != *expected {
            return Err(format!("{what}: {}\nwas {expected}", found.story()));
        }
        scene.own_rest(&what).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_trigger_sets_is_gone_with_its_request() {
    let scene = Scene::new(home()).await;
    scene.prepare(PROBE).await;
    let vehicle = "
        create table vehicle (id text primary key, setting text, value text);
        create function poison() returns trigger language plpgsql as $$
        begin
          perform set_config(new.setting, new.value, false);
          return null;
        exception when others then return null; end $$;
        create trigger poison after insert on vehicle for each row execute function poison()";
    scene.prepare(vehicle).await;
    let expected = probe(&scene).await;
    let mut offences = Vec::new();
    for (number, (setting, value)) in SETTINGS.iter().enumerate() {
        offences.extend(drive(&scene, setting, value, number, &expected).await.err());
    }
    assert!(offences.is_empty(), "{}", offences.join("\n\n"));
    scene.stands("settings left by a trigger").await;
}

#[tokio::test]
async fn what_plain_expressions_set_is_gone_too() {
    // No function of the workspace: set_config() itself in a default, a check, a view, a domain, a policy, a rule.
    let vehicles = [
        "create table vehicle (id text primary key, setting text, value text, done text default
             set_config('extra_float_digits', '-15', false) || set_config('bytea_output', 'escape', false))",
        "create table vehicle (id text primary key, setting text, value text check (set_config(setting, value, false) is not null))",
        "create domain harmless as text check (set_config('extra_float_digits', '-15', false) is not null);
         create table vehicle (id text primary key, setting text, value harmless)",
        "create table vehicle (id text primary key, setting text, value text); alter table vehicle enable row level security;
         alter table vehicle force row level security;
         create policy p on vehicle using (set_config('bytea_output', 'escape', false) is not null)
             with check (set_config('extra_float_digits', '-15', false) is not null)",
        "create table vehicle (id text primary key, setting text, value text);
         create rule r as on insert to vehicle do also update pg_settings set setting = new.value where name = new.setting",
        "create table vehicle (id text primary key, setting text, value text);
         create trigger t before insert on vehicle for each row when (set_config(new.setting, new.value, false) = '')
             execute function suppress_redundant_updates_trigger()",
    ];
    for vehicle in vehicles {
        let scene = Scene::new(home()).await;
        scene.prepare(PROBE).await;
        let expected = probe(&scene).await;
        scene.prepare(vehicle).await;
        for (number, (setting, value)) in [("extra_float_digits", "-15"), ("bytea_output", "escape")].iter().enumerate()
        {
            let driven = drive(&scene, setting, value, number, &expected).await;
            assert!(driven.is_ok(), "{vehicle}\n{}", driven.unwrap_err());
        }
        scene.stands("settings left by expressions").await;
    }
}

/// Expressions that set two settings without being visible: in SQL that is a text, in a domain, at the commit.
#[tokio::test]
async fn what_is_set_where_nobody_looks_is_gone_too() {
    const HIDDEN: &str =
        "select set_config(''extra_float_digits'', ''-15'', false) || set_config(''bytea_output'', ''escape'', false)";
    let table = "create table vehicle (id text primary key, setting text, value text";
    let poison = "set_config('extra_float_digits', '-15', false) || set_config('bytea_output', 'escape', false)";
    let vehicles = [
        format!("create domain poisoned as text default {poison}; {table}, done poisoned)"),
        format!(
            "create domain poisoned as text default {poison}; {table}, done poisoned[]);
                 alter table vehicle add done2 poisoned"
        ),
        format!("{table}, done text default query_to_xml('{HIDDEN}', true, true, '')::text)"),
        format!(
            "{table}, done text default query_to_xmlschema('{HIDDEN}', true, true, '')::text ||
                 query_to_xml_and_xmlschema('{HIDDEN}', true, true, '')::text)"
        ),
        format!(
            "{table} check (ts_rewrite('a'::tsquery, 'select ''a''::tsquery, ''b''::tsquery where (' ||
                 '{HIDDEN}' || ') is not null') is not null))"
        ),
        format!(
            "{table}); create view counted as select 'x'::text as id, (select count(*) from ts_stat(
                 'select to_tsvector((' || '{HIDDEN}' || '))'))"
        ),
        format!(
            "create domain poisoned as text check (value is null or ({poison}) is not null); {table},
                 exclude ((value::poisoned) with =) deferrable initially deferred)"
        ),
        format!("{table}, parent text default ({poison}) || 'p' references vehicle on delete set default)"),
    ];
    for vehicle in &vehicles {
        let scene = Scene::new(home()).await;
        scene.prepare(PROBE).await;
        let expected = probe(&scene).await;
        scene.prepare(vehicle).await;
        for (number, (setting, value)) in [("a.b", "x"), ("a.c", "y")].iter().enumerate() {
            scene.attacker.get("/v1/counted/x").await;
            let driven = drive(&scene, setting, value, number, &expected).await;
            assert!(driven.is_ok(), "{vehicle}\n{}", driven.unwrap_err());
            scene.attacker.delete("/v1/vehicle/v0").await;
            assert_eq!(probe(&scene).await, expected, "{vehicle}");
        }
        scene.stands("settings left out of sight").await;
    }
}

/// `crm::sql::catalog::CATALOG` checks all expressions that PostgreSQL stores, except those of functions.
#[tokio::test]
async fn no_catalog_with_expressions_is_left_out() {
    let scene = Scene::new(home()).await;
    let sql = "select string_agg(attrelid::regclass || '.' || attname, ' ') as v from pg_attribute
               where atttypid = 'pg_node_tree'::regtype and attrelid < 16384 and attrelid <> 'pg_proc'::regclass";
    for column in scene.prepare(sql).await.v().as_str().expect("columns").split(' ') {
        let (table, name) = column.split_once('.').expect("a table and a column");
        let read = crm::sql::catalog::CATALOG
            .lines()
            .any(|line| line.contains(&format!("FROM pg_catalog.{table} ")) && line.contains(&format!(".{name} ")));
        assert!(read, "{column}");
    }
}

#[tokio::test]
async fn what_a_view_sets_is_gone_too() {
    let scene = Scene::new(home()).await;
    scene.prepare(PROBE).await;
    let expected = probe(&scene).await;
    let view = "create view peek as select 'x' as id, set_config('extra_float_digits', '-15', false) as a,
                set_config('bytea_output', 'escape', false) as b, set_config('statement_timeout', '1', false) as c";
    scene.prepare(view).await;
    for _ in 0..3 {
        scene.attacker.get("/v1/peek/x").await.status(200);
        assert_eq!(probe(&scene).await, expected);
    }
    scene.stands("settings left by a view").await;
}

#[tokio::test]
async fn what_is_no_setting_is_gone_too() {
    let scene = Scene::new(home()).await;
    // The view shows the state of REST's own session.
    let vehicle = "
        create view state as select 'x' as id, (select count(*) from pg_listening_channels()) as channels,
            (select count(*) from pg_cursors where is_holdable) as cursors, current_user::text as who,
            current_setting('my.note', true) as note;
        create table vehicle (id text primary key);
        create function clutter() returns trigger language plpgsql as $$
        begin
          perform set_config('my.note', 'left', false);
          execute 'listen gossip';
          begin execute 'declare held cursor with hold for select 1'; exception when others then null; end;
          begin execute 'create temp table contacts (id text)'; exception when others then null; end;
          begin perform pg_advisory_lock(1); exception when others then null; end;
          return new;
        end $$;
        create trigger clutter before insert on vehicle for each row execute function clutter()";
    scene.prepare(vehicle).await;
    for n in 0..3 {
        scene.attacker.post("/v1/vehicle", json!({"id": format!("v{n}")})).await.status(201);
        let state = scene.attacker.get("/v1/state/x").await.status(200).data();
        let role = &*scene.place.role;
        let clean = json!({"id": "x", "channels": 0, "cursors": 0, "who": role, "note": state["note"]});
        assert_eq!(state, clean);
        assert!(matches!(state["note"].as_str(), None | Some("")), "{state}");
    }
    scene.stands("things left by a trigger").await;
}

#[tokio::test]
async fn code_that_came_by_psql_is_found_out() {
    let scene = Scene::new(home()).await;
    scene.prepare(PROBE).await;
    scene.prepare("create table vehicle (id text primary key, setting text, value text)").await;
    let expected = probe(&scene).await;
    // The server's catalog is recent, and nothing tells the server of this change.
    let mut psql = scene.session().await;
    psql.script(
        "create function poison() returns trigger language plpgsql as $$
         begin perform set_config(new.setting, new.value, false); return new; end $$;
         create trigger poison before insert on vehicle for each row execute function poison()",
    )
    .await
    .expect("a trigger");
    let body = json!({"id": "v", "setting": "extra_float_digits", "value": "-15"});
    scene.attacker.post("/v1/vehicle", body).await.status(201);
    // The workspace's own answers may be wrong until the catalog is read again, which any DDL over HTTP causes …
    scene.prepare("create table news (id int)").await;
    scene.attacker.get("/v1/news").await;
    // … and then the sessions that the function ran in are closed.
    assert_eq!(probe(&scene).await, expected);
    scene.stands("a trigger that came by psql").await;
}

#[tokio::test]
async fn raw_sql_leaves_nothing_in_its_session() {
    let scene = Scene::new(home()).await;
    scene.prepare("create sequence s").await;
    let leftovers = [
        "set datestyle = 'German'; set timezone = 'Asia/Tokyo'; set search_path = pg_catalog; set extra_float_digits = -15",
        "set statement_timeout = 0; set default_transaction_read_only = on; set client_min_messages = debug5",
        "set role none; set my.note = 'left'; select nextval('s'); select setseed(0.5)",
        "prepare p as select 1",
        "listen gossip",
        "declare held cursor with hold for select 1",
        "do $$ begin perform set_config('bytea_output', 'escape', false); execute 'prepare q as select 2'; end $$",
        "load 'plpgsql'",
    ];
    let sql = "select current_setting('datestyle') || '|' || current_setting('timezone') || '|' || current_setting('search_path')
        || '|' || current_setting('extra_float_digits') || '|' || current_setting('statement_timeout')
        || '|' || current_setting('default_transaction_read_only') || '|' || current_setting('client_min_messages')
        || '|' || coalesce(current_setting('my.note', true), '') || '|' || current_setting('bytea_output')
        || '|' || (select count(*) from pg_listening_channels()) || '|' || (select count(*) from pg_cursors where is_holdable) as v";
    let fresh = scene.prepare(sql).await.v();
    for leftover in leftovers {
        let reply = scene.attacker.sql(leftover).await;
        println!("{leftover}: {}", outcome(&reply));
        for _ in 0..2 {
            assert_eq!(scene.prepare(sql).await.v(), fresh, "after {leftover}");
        }
        for (gone, code) in
            [("execute p", "26000"), ("execute q", "26000"), ("fetch held", "34000"), ("select lastval()", "55000")]
        {
            assert_eq!(outcome(&scene.attacker.sql(gone).await), code, "{gone} after {leftover}");
        }
    }
    scene.stands("leftovers of raw SQL").await;
}

/// What a workspace without functions can leave behind with prepared statements. Each statement is sent until it is kept.
#[tokio::test]
async fn statements_that_are_kept_leave_nothing_either() {
    let scene = Scene::new(home()).await;
    scene.prepare("create sequence s").await;
    let leftovers = [
        "select set_config('bytea_output', 'escape', false), set_config('datestyle', 'German', false)",
        "select set_config('extra_float_digits', '-15', false), set_config('search_path', 'pg_catalog', false)",
        "select set_config('role', current_user, false), set_config('my.note', 'left', false), nextval('s')",
        "select set_config('session_authorization', current_user, false)",
        "select set_config('statement_timeout', '1', false), set_config('default_transaction_read_only', 'on', false)",
        "select set_config('default_transaction_isolation', 'serializable', false), set_config('lock_timeout', '1', false)",
        "select query_to_xml('select set_config(''bytea_output'', ''escape'', false)', true, true, '')::text",
    ];
    let sql = "select current_setting('datestyle') || '|' || current_setting('bytea_output') || '|' || current_setting('search_path')
        || '|' || current_setting('extra_float_digits') || '|' || current_setting('statement_timeout')
        || '|' || current_setting('default_transaction_read_only') || '|' || current_setting('default_transaction_isolation')
        || '|' || coalesce(current_setting('my.note', true), '') || '|' || current_setting('role') || '|' || current_user
        || '|' || current_setting('lock_timeout') || '|' || coalesce(current_setting('kith.context', true), '') as v";
    let masked = |v: Value| v.as_str().expect("text").rsplit_once('|').expect("the context is last").0.to_owned();
    let fresh = masked(scene.prepare(sql).await.v());
    for leftover in leftovers {
        for _ in 0..4 {
            println!("{leftover}: {}", outcome(&scene.attacker.sql(leftover).await));
            assert_eq!(masked(scene.prepare(sql).await.v()), fresh, "after {leftover}");
            assert_eq!(outcome(&scene.attacker.sql("select lastval()").await), "55000", "after {leftover}");
        }
    }
    scene.stands("leftovers of kept statements").await;
}

/// A function may prepare statements, listen and declare cursors. This includes one that was just created over psql, and one
/// of Kith's that runs a text.
#[tokio::test]
async fn what_a_new_function_prepares_is_gone_with_its_request() {
    let scene = Scene::new(home()).await;
    for _ in 0..3 {
        scene.prepare("select 1 as v").await;
    }
    let mut psql = scene.session().await;
    psql.script(
        "create function clutter(name text) returns text language plpgsql as $$
         begin execute 'prepare ' || name || ' as select 1'; execute 'listen gossip';
           execute 'declare held cursor with hold for select 1'; return name; end $$",
    )
    .await
    .expect("a function");
    let seen = "select (select count(*) from pg_listening_channels()) + (select count(*) from pg_cursors where is_holdable) as v";
    for _ in 0..4 {
        scene.prepare("select clutter('evil') as v").await;
        assert_eq!(scene.prepare(seen).await.v(), json!(0));
        assert_eq!(outcome(&scene.attacker.sql("execute evil").await), "26000");
    }
    scene.prepare("drop function clutter").await;
    let several = "select kith.write_each(array['select 1) select 1; prepare evil as select 1; with w as (select 1'], '[[[0]]]')::text as v";
    for _ in 0..4 {
        scene.attacker.sql(several).await;
        assert_eq!(outcome(&scene.attacker.sql("execute evil").await), "26000");
    }
    scene.stands("what a function prepares").await;
}

#[tokio::test]
async fn a_statement_that_is_kept_sees_tables_as_they_are() {
    let scene = Scene::new(home()).await;
    scene.prepare("create table plates (n int)").await;
    let insert = async |value: &str| {
        let body = json!({"sql": "insert into plates values ($1)", "params": [value]});
        scene.attacker.post("/v1/sql", body).await
    };
    for _ in 0..4 {
        insert("7").await.status(200);
        scene.prepare("select * from plates").await;
    }
    scene.prepare("alter table plates alter n type text").await;
    for _ in 0..3 {
        insert("007").await.status(200);
    }
    let count = "select count(*) as v from plates where n = '007'";
    for _ in 0..3 {
        assert_eq!(scene.prepare(count).await.v(), json!(3));
    }
    // Over another connection, so that only PostgreSQL reports it.
    let mut psql = scene.session().await;
    psql.script("alter table plates add colour text default 'red'").await.expect("a column");
    for _ in 0..4 {
        let reply = scene.prepare("select * from plates limit 1").await;
        assert_eq!(reply.data()["rows"][0]["colour"], "red", "{}", reply.story());
        let reply = scene.prepare("select * from plates").await;
        assert_eq!(reply.data()["rows"][0]["colour"], "red", "{}", reply.story());
    }
    psql.script("drop table plates").await.expect("dropped");
    assert_eq!(outcome(&scene.attacker.sql("select * from plates").await), "42P01");
    // The position of an error is correct, and nothing of it is kept.
    let failing = "insert into contacts (email) values ('kept@own.example') returning 1 / 0";
    for _ in 0..4 {
        assert_eq!(outcome(&scene.attacker.sql(failing).await), "22012");
    }
    assert_eq!(
        scene.prepare("select count(*) as v from contacts where email = 'kept@own.example'").await.v(),
        json!(0)
    );
}
