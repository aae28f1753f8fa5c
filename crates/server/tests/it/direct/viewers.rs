//! A viewer's direct connection can read and can't write, whatever it tries and whatever members have prepared for it.

use pg::Conn;

use super::{ask, come, connection};
use crate::belongings::{joined, owned};
use crate::support::home;

/// Objects that members may create, intentionally or not, through which a reader could write.
const LAID_OUT: &str = "
    create table remarks (id serial primary key, body text);
    create function define_write() returns integer language plpgsql security definer as
        $$ begin insert into contacts (email) values ('w@definer.example'); return 1; end $$;
    create function invoke_write() returns integer language plpgsql as
        $$ begin insert into contacts (email) values ('w@invoker.example'); return 1; end $$;
    create procedure define_call() language plpgsql security definer as
        $$ begin insert into contacts (email) values ('w@procedure.example'); end $$;
    create function commit_write() returns integer language plpgsql as
        $$ begin set local role none; insert into contacts (email) values ('w@role.example'); return 1; end $$;
    create view by_definer as select define_write() as n;
    create view by_invoker as select invoke_write() as n;
    create view all_remarks as select * from remarks;
    create domain written as integer check (value > define_write());
    create operator ### (function = invoke_write_2, leftarg = integer, rightarg = integer);
    create materialized view counted as select count(*) from contacts;
    create policy p on remarks using (define_write() = 1);
    alter table remarks enable row level security;
    create table changes (id integer primary key);
    create rule r as on insert to changes do instead insert into remarks (body) values ('by rule');
";

#[tokio::test]
async fn a_viewer_reads_and_does_not_write() {
    let (owner, live) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    let (viewer, ..) = joined(&owner, "viewer").await;
    let mut member = come(&connection(&owner).await.0).await.expect("a member's session");
    let operator = "create function invoke_write_2(a integer, b integer) returns integer language plpgsql as
                    $$ begin return invoke_write() + a + b; end $$";
    let (before, after) = LAID_OUT.split_once("create operator").expect("an operator");
    member.script(before).await.expect("what is laid out");
    member.script(&format!("{operator}; create operator{after}")).await.expect("what else is laid out");
    let (workspace, reader) = (&place.role, &place.viewer);
    let (url, role) = connection(&viewer).await;
    for sql in [
        format!("grant insert on contacts to {reader}"),
        "grant insert on contacts to public".to_owned(),
        format!("grant usage on sequence remarks_id_seq to {reader}"),
        format!("alter default privileges grant insert on tables to {reader}"),
        format!("grant select on contacts to {role}"),
        format!("grant {workspace} to {role}"),
    ] {
        assert_eq!(ask(&mut member, &sql).await, "42501", "{sql}");
    }
    // This one is not an error, and is reverted automatically.
    ask(&mut member, &format!("grant execute on function define_write() to {reader}")).await;
    ask(&mut member, "grant execute on all routines in schema public to public").await;
    ask(&mut member, "insert into contacts (email) values ('kept@b.example')").await;

    let mut conn = come(&url).await.expect("a viewer's session");
    assert_eq!(ask(&mut conn, "select current_user").await, &**reader);
    assert_eq!(ask(&mut conn, "select email from contacts").await, "kept@b.example");
    let state = "select (select count(*) from contacts) || ' ' || (select count(*) from remarks) || ' '
                 || (select count(*) from activity) || ' ' || (select count(*) from pg_class) || ' '
                 || (select count(*) from pg_proc) || ' ' || (select md5(string_agg(c::text, '' order by id)) from contacts c)";
    let before = ask(&mut member, state).await;

    let tricks = [
        "insert into contacts (email) values ('x@b.example')",
        "update contacts set first_name = 'x'",
        "delete from contacts",
        "truncate contacts",
        "insert into remarks (body) values ('x')",
        "insert into all_remarks (body) values ('x')",
        "insert into changes values (1)",
        "merge into contacts c using (select 1) s on false when not matched then insert (email) values ('m@b.example')",
        "with w as (insert into remarks (body) values ('x') returning 1) select * from w",
        "explain analyze insert into remarks (body) values ('x')",
        "copy contacts (email) from stdin",
        "copy contacts to program 'true'",
        "select define_write()",
        "select invoke_write()",
        "select commit_write()",
        "call define_call()",
        "select * from by_definer",
        "select * from by_invoker",
        "select 1::written",
        "select 1 ### 2",
        "select * from remarks",
        "do $$ begin perform define_write(); end $$",
        "do $$ begin insert into remarks (body) values ('x'); end $$",
        "do $$ begin commit; insert into remarks (body) values ('x'); end $$",
        "do $$ begin execute 'set transaction read write'; insert into remarks (body) values ('x'); end $$",
        "select nextval('remarks_id_seq')",
        "select setval('remarks_id_seq', 100)",
        "select * from contacts for update",
        "lock table contacts in exclusive mode",
        "create table mine (id integer)",
        "create temp table mine (id integer)",
        "create view mine as select 1",
        "select 1 as a into mine",
        "create function mine() returns integer language sql as 'select 1'",
        "alter table contacts add column mine text",
        "comment on table contacts is 'mine'",
        "drop table remarks",
        "drop view all_remarks",
        "refresh materialized view counted",
        "create index on contacts (email)",
        "alter default privileges grant insert on tables to public",
        "grant insert on contacts to public",
        "drop owned by current_user",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "prepare transaction 'x'",
        "select kith.begin_request('guessed', 'user:u_1', null)",
    ];
    let mut offences = Vec::new();
    let give_away = format!("reassign owned by {workspace} to {reader}");
    let tricks = tricks.into_iter().chain([give_away.as_str()]).collect::<Vec<_>>();
    let modes = [
        "select 1".to_owned(),
        "set default_transaction_read_only = off".to_owned(),
        "set session characteristics as transaction read write".to_owned(),
        "set role none".to_owned(),
        format!("set role {workspace}"),
        format!("set session authorization {workspace}"),
        format!("select set_config('role', '{workspace}', false)"),
        "discard all".to_owned(),
    ];
    for mode in &modes {
        let mut session: Option<Conn> = None;
        for trick in &tricks {
            let mut conn = match session.take().filter(Conn::is_clean) {
                Some(conn) => conn,
                None => {
                    let mut conn = come(&url).await.expect("a viewer's session");
                    let _ = ask(&mut conn, mode).await;
                    let _ = ask(&mut conn, "set default_transaction_read_only = off").await;
                    conn
                }
            };
            let plain = ask(&mut conn, trick).await;
            // The simple protocol accepts several statements, and so can leave the transaction that was begun for it.
            let several = conn.script(&format!("begin; set transaction read write; {trick}; commit; {trick}")).await;
            let _ = conn.script("rollback").await;
            if several.is_ok() {
                offences.push(format!("after {mode}: {trick}: {plain}"));
            }
            session = (ask(&mut conn, "select 1").await == "1").then_some(conn);
        }
        assert_eq!(ask(&mut member, state).await, before, "after {mode}");
    }
    // Reading is allowed, and so is the effect of a row security policy.
    offences.retain(|offence| !offence.contains(": select * from remarks:") && !offence.contains("for update"));
    assert!(offences.is_empty(), "{}", offences.join("\n"));

    // Their own settings do not help them either.
    let mut conn = come(&url).await.expect("a viewer's session");
    for sql in ["set default_transaction_read_only = off", "set role none"] {
        assert_eq!(ask(&mut conn, sql).await, "");
    }
    for setting in ["default_transaction_read_only = off".to_owned(), format!("role = {workspace}")] {
        assert_eq!(ask(&mut conn, &format!("alter role {role} set {setting}")).await, "", "{setting}");
    }
    drop(conn);
    if let Ok(mut conn) = come(&url).await {
        assert_ne!(ask(&mut conn, "select current_user").await, &**workspace);
        assert_eq!(ask(&mut conn, "insert into public.contacts default values").await, "42501");
    }
    assert_eq!(ask(&mut member, state).await, before);
    assert_eq!(live.get("/v1/contacts").await.status(200).text("/data/0/email"), "kept@b.example");
}

#[tokio::test]
async fn the_feed_refuses_a_viewer_who_was_lent_rights() {
    let (owner, live) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    let (viewer, ..) = joined(&owner, "viewer").await;
    live.sql(
        "create function lends() returns integer language plpgsql security definer as
             $$ begin insert into contacts (email) values ('lent@b.example'); return 1; end $$;
         create table remarks (id integer primary key, body text);
         create trigger activity after insert on remarks for each row execute function record_activity();
         create function lends_own() returns integer language plpgsql security definer as
             $$ begin insert into remarks values (1, 'lent'); return 1; end $$",
    )
    .await
    .status(200);
    // As if a vulnerability in the guards had allowed it.
    let mut admin =
        home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("an administrator");
    let lend = format!(
        "alter event trigger kith_after_ddl disable; grant execute on function public.lends(), public.lends_own() to {};
         alter event trigger kith_after_ddl enable always",
        place.viewer
    );
    admin.script(&lend).await.expect("a grant");
    let mut conn = come(&connection(&viewer).await.0).await.expect("a viewer's session");
    for mode in ["select 1", "set role none"] {
        ask(&mut conn, mode).await;
        ask(&mut conn, "set default_transaction_read_only = off").await;
        for call in ["select public.lends()", "select public.lends_own()"] {
            let came = ask(&mut conn, call).await;
            assert_eq!(came, "42501", "after {mode}: {call}");
        }
    }
    assert_eq!(live.get("/v1/contacts").await.status(200).column("id").len(), 0);
    assert_eq!(live.get("/v1/remarks").await.status(200).column("id").len(), 0);
    // Reading the actor is not a write.
    assert!(ask(&mut conn, "select kith.current_actor()").await.starts_with("postgres:w_"));
}
