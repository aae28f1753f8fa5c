//! What people's own sessions have beyond the API's: schemas, temporary tables and advisory locks. The attacks with them are in
//! `data/attacks.sql`.

use std::time::Duration;

use serde_json::json;

use super::{ask, come, connection, roles_like, until_gone};
use crate::belongings::{joined, owned};
use crate::support::home;

#[tokio::test]
async fn a_schema_of_ones_own_is_the_workspaces_and_is_not_served() {
    let (owner, live) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    let (viewer, ..) = joined(&owner, "viewer").await;
    let mut conn = come(&connection(&owner).await.0).await.expect("a session");
    for sql in ["create schema if not exists public", "create schema app", "create schema if not exists app"] {
        assert_eq!(ask(&mut conn, sql).await, "", "{sql}");
        assert_eq!(ask(&mut conn, "select current_user").await, &*place.role, "{sql}");
    }
    let owner_of = "select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'app'";
    assert_eq!(ask(&mut conn, owner_of).await, &*place.role);
    conn.script(
        "create table app.notes (id integer primary key, body text, contact_id text references public.contacts);
         create trigger activity after insert on app.notes for each row execute function record_activity();
         create table app.contacts (email text); insert into app.contacts values ('hidden@app.example');
         insert into app.notes values (1, 'kept')",
    )
    .await
    .expect("tables");

    // SQL sees it, REST does not, and built-in tables keep their names.
    let rows = live.sql("select body from app.notes").await.status(200);
    assert_eq!(rows.text("/data/rows/0/body"), "kept");
    live.get("/v1/notes").await.status(404);
    assert_eq!(live.get("/v1/contacts").await.status(200).column("id").len(), 0);
    let tables = live.get("/v1/tables").await.status(200).column("name");
    assert!(!tables.contains(&json!("notes")), "{tables:?}");
    conn.script("create table public.refers (id integer primary key, note integer references app.notes)")
        .await
        .expect("a reference");
    let schema = live.get("/v1/schema").await.status(200).at("/data/tables");
    let refers = schema.as_array().and_then(|tables| tables.iter().find(|table| table["name"] == "refers"));
    assert_eq!(refers.expect("the table")["foreign_keys"][0]["references"]["table"], "app.notes");
    let entry = live.get("/v1/activity?subject_type=app.notes").await.status(200);
    assert_eq!(entry.text("/data/0/verb"), "created");

    let mut reader = come(&connection(&viewer).await.0).await.expect("a viewer's session");
    assert_eq!(ask(&mut reader, "select body from app.notes").await, "kept");
    ask(&mut reader, "set default_transaction_read_only = off").await;
    assert_eq!(ask(&mut reader, "insert into app.notes values (2, 'x')").await, "42501");
    assert_eq!(ask(&mut reader, "create table app.mine (id integer)").await, "42501");

    assert_eq!(ask(&mut conn, "drop schema app cascade").await, "");
    live.get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn a_member_who_made_a_schema_can_be_removed() {
    let (owner, live) = owned().await;
    let (member, _, user_id) = joined(&owner, "member").await;
    let (url, role) = connection(&member).await;
    let mut conn = come(&url).await.expect("a session");
    conn.script("create schema app; create table app.notes as select 'kept' as body").await.expect("a schema");
    owner.delete(&format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id)).await.status(200);
    assert_eq!(ask(&mut conn, "select 1").await, "gone");
    assert_eq!(roles_like(&role).await, 0);
    let rows = live.sql("select body from app.notes").await.status(200);
    assert_eq!(rows.text("/data/rows/0/body"), "kept");
}

#[tokio::test]
async fn a_member_who_becomes_a_viewer_creates_no_schemas() {
    let (owner, _) = owned().await;
    let (member, _, user_id) = joined(&owner, "member").await;
    connection(&member).await;
    let path = format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id);
    owner.patch(&path, json!({"role": "viewer"})).await.status(200);
    let mut conn = come(&connection(&member).await.0).await.expect("a session");
    ask(&mut conn, "set default_transaction_read_only = off").await;
    assert_eq!(ask(&mut conn, "create schema app").await, "42501");
    let may = "select has_database_privilege(session_user, current_database(), 'CREATE')";
    assert_eq!(ask(&mut conn, may).await, "f");
}

#[tokio::test]
async fn code_in_a_schema_of_ones_own_leaves_nothing_in_rests_sessions() {
    let (owner, live) = owned().await;
    let mut conn = come(&connection(&owner).await.0).await.expect("a session");
    conn.script(
        "create schema app;
         create function app.poison() returns trigger language plpgsql as $$ begin
             perform set_config('timezone', 'Asia/Tokyo', false), set_config('bytea_output', 'escape', false),
                     set_config('search_path', 'app', false);
             return null; end $$;
         create trigger poison after insert on public.contacts for each row execute function app.poison()",
    )
    .await
    .expect("a trigger");
    for n in 0..20 {
        let id = live.post("/v1/contacts", json!({"email": format!("p{n}@b.example")})).await.status(201).id();
        let created = live.get(&format!("/v1/contacts/{id}")).await.status(200).text("/data/created_at");
        assert!(created.ends_with("+00:00") || created.ends_with('Z'), "{created}");
    }
}

#[tokio::test]
async fn temporary_tables_are_for_direct_sessions() {
    let (owner, live) = owned().await;
    let mut conn = come(&connection(&owner).await.0).await.expect("a session");
    conn.script(
        "create temp table incoming (like contacts including defaults);
         insert into incoming (email) values ('one@b.example'), ('two@b.example');
         insert into contacts (email) select email from incoming",
    )
    .await
    .expect("a temporary table");
    assert_eq!(ask(&mut conn, "select count(*) from incoming").await, "2");
    assert_eq!(live.get("/v1/contacts").await.status(200).column("id").len(), 2);
    live.get("/v1/incoming").await.status(404);
    assert_eq!(ask(&mut conn, "discard all").await, "");
    assert_eq!(ask(&mut conn, "select count(*) from incoming").await, "42P01");
    live.sql("create temp table t (a integer)").await.status(403);
}

#[tokio::test]
async fn advisory_locks_are_between_the_sessions_of_one_workspace() {
    let (owner, live) = owned().await;
    let (stranger, _) = owned().await;
    let url = connection(&owner).await.0;
    let mut one = come(&url).await.expect("a session");
    let mut two = come(&url).await.expect("a session");
    let mut other = come(&connection(&stranger).await.0).await.expect("a session");
    let take = "select pg_try_advisory_lock(7)";
    assert_eq!(ask(&mut one, take).await, "t");
    assert_eq!(ask(&mut two, take).await, "f");
    assert_eq!(ask(&mut other, take).await, "t");
    // As asyncpg and Npgsql do when a session returns to their pool.
    assert_eq!(ask(&mut one, "select pg_advisory_unlock_all()").await, "");
    assert_eq!(ask(&mut two, take).await, "t");
    // A lock of a member's does not stop the API, whose guards take turns by one.
    assert_eq!(ask(&mut two, "select pg_advisory_lock(k) from generate_series(7236455890, 7236455899) k").await, "");
    live.sql("create type mood as enum ('happy')").await.status(200);
    live.sql("select pg_advisory_lock(7)").await.status(403);
}

#[tokio::test]
async fn a_session_with_too_many_advisory_locks_is_ended() {
    let (owner, live) = owned().await;
    let mut conn = come(&connection(&owner).await.0).await.expect("a session");
    let refused = ask(&mut conn, "select count(pg_advisory_lock(k)) from generate_series(1, 30000) k").await;
    assert!(["53400", "gone"].contains(&refused.as_str()), "{refused}");
    until_gone(&mut conn, Duration::from_secs(20)).await;
    live.get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn an_old_temporary_table_does_not_keep_transaction_ids() {
    let (owner, _) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    let mut conn = come(&connection(&owner).await.0).await.expect("a session");
    conn.script("create temp table kept as select 1 as a").await.expect("a temporary table");
    let cells = &home().kith.app.store.cells;
    let mut admin = cells.administer(place.cell, &place.database).await.expect("the administrator");
    // As a crash leaves one behind: the session is gone, the row in the catalog is not.
    admin
        .script(
            "set allow_system_table_mods = on; create schema pg_temp_9999; create table public.orphan (a integer);
             update pg_catalog.pg_class set relnamespace = 'pg_temp_9999'::regnamespace, relpersistence = 't' where oid = 'public.orphan'::regclass;
             reset allow_system_table_mods",
        )
        .await
        .expect("an orphan");
    let burn = "do $$ begin for i in 1..300 loop perform pg_current_xact_id(); commit; end loop; end $$";
    admin.script(burn).await.expect("three hundred ids");
    home().run(async move { home().kith.app.store.maintain_older_than("200").await }).await.expect("maintenance");
    until_gone(&mut conn, Duration::from_secs(20)).await;
    let left = "select count(*) from pg_catalog.pg_class where relpersistence = 't' and relkind = 'r'";
    let rows = admin.query(left, &[]).await.expect("an answer");
    assert_eq!(rows.text(0, 0), Some("0"));
}

#[tokio::test]
async fn functions_of_kiths_search_temporary_objects_last() {
    let (owner, _) = owned().await;
    let mut conn = come(&connection(&owner).await.0).await.expect("a session");
    // PostgreSQL searches pg_temp first for tables and types, unless the path names it. All names in normal_contact() are
    // qualified.
    let open = "
        select coalesce(string_agg(p.oid::regprocedure::text, ', '), 'none')
          from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
         where p.oid >= 16384 and p.pronamespace in ('kith'::regnamespace, 'kith_guard'::regnamespace, 'public'::regnamespace, 'pg_catalog'::regnamespace)
           and l.lanname in ('sql', 'plpgsql') and p.prosqlbody is null and p.proname <> 'normal_contact'
           and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.classid = 'pg_catalog.pg_proc'::regclass and d.deptype = 'e')
           and not exists (select from unnest(p.proconfig) c where c ~ '^search_path=.*pg_temp$')";
    assert_eq!(ask(&mut conn, open).await, "none");
    let all = "select count(*) > 60 from pg_catalog.pg_proc p where p.proconfig::text ~ 'pg_temp'";
    assert_eq!(ask(&mut conn, all).await, "t");
}
