//! What code of a workspace's own leaves behind in a session, and who finds it there: nobody.

use serde_json::{Value, json};

use super::{Scene, outcome};
use crate::support::home;

/// Settings by which answers would be wrong, or not come at all.
const SETTINGS: &[(&str, &str)] = &[
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

/// A table whose values every such setting shows in, with a row.
const PROBE: &str = "
    create table probe (id text primary key, b bytea, f float8, i interval, t timestamptz, d date, a int[], n numeric);
    insert into probe values ('p', '\\x00ff5c', 0.1::float8 + 0.2, '1 day 02:03:04', '2026-07-02 03:04:05.678+00', '2026-02-01', '{1,null}', 1.50)";

async fn probe(scene: &Scene) -> Value {
    scene.attacker.get("/v1/probe/p").await.status(200).data()
}

/// Poisons REST's sessions by a vehicle, and looks whether they are as they were.
async fn drive(scene: &Scene, setting: &str, value: &str, number: usize, expected: &Value) -> Result<(), String> {
    let what = format!("a function that sets {setting} to {value}");
    let body = json!({"id": format!("v{number}"), "setting": setting, "value": value});
    let poisoned = scene.attacker.post("/v1/vehicle", body).await;
    println!("{what}: {}", poisoned.code);
    // The request that does it may have itself to thank; but it never brings the server to its end.
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
    // No function of the workspace's own: set_config() itself in a default, a check, a view, a domain, a policy, a rule.
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
    // The view shows REST's own session.
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
    // The server's catalog is young, and nothing tells it of this.
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
    // Its own answers may be wrong until the catalog is read again, which any DDL over HTTP brings about …
    scene.prepare("create table news (id int)").await;
    scene.attacker.get("/v1/news").await;
    // … and then the sessions that it ran in are closed.
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
