//! Workspace code that PostgreSQL runs in a session of another role: the maintenance of tables evaluates the expressions of
//! indexes.

use std::time::{Duration, Instant};

use super::{Scene, is_true};
use crate::support::home;

/// A function that runs each statement of `attack` and records the results, behind an index expression.
const TRAP: &str = "
    create table loot (came text, who text, tried text);
    create table attack (tried text);
    create type mood as enum ('fine');
    create function mood_json(mood) returns json language sql as $$ select '{}'::json $$;
    create function tries() returns void language plpgsql as $$
    declare a record;
    begin
      for a in select tried from public.attack loop
        begin
          execute a.tried;
          insert into public.loot values ('ok', session_user, a.tried);
        exception when others then
          insert into public.loot values (sqlstate, session_user, a.tried);
        end;
      end loop;
    end $$;
    create function innocent(word text) returns text language plpgsql immutable as $$ begin perform public.tries(); return word; end $$;
    create table bait (id int primary key, word text);
    insert into bait select i, i::text from generate_series(1, 3) i;
    create index bait_word on bait (innocent(word));
    create materialized view seen as select id, innocent(word) as word from bait;
    create statistics bait_stat on (innocent(word)), id from bait";

/// Statements that must be refused to the workspace in any session.
fn attacks(scene: &Scene) -> Vec<String> {
    let (system, other) = (&scene.place.system, &scene.neighbour_place.role);
    [
        "alter table public.contacts disable trigger \"!kith_record\"",
        "alter table public.contacts disable trigger all",
        "alter table public.contacts enable row level security",
        "alter table public.contacts drop column phone",
        "drop trigger \"!kith_record\" on public.contacts",
        "drop index public.contacts_email_key",
        "create rule r as on insert to public.contacts do instead nothing",
        "create cast (public.mood as json) with function public.mood_json(public.mood)",
        "create cast (public.mood as jsonb) with inout",
        "create schema s",
        "create publication p for all tables",
        "create extension hstore",
        "create language plperl",
        "create event trigger e on ddl_command_start execute function kith_guard.before_ddl()",
        "alter event trigger kith_after_ddl disable",
        "drop owned by current_user",
        "alter table public.activity disable trigger all",
        "insert into public.activity (actor, verb, subject_type) values ('user:u_FORGED', 'created', 'contact')",
        "delete from public.activity",
        "truncate public.contacts cascade",
        "select mac_key from kith.secret",
        "insert into kith_guard.migration (pid) values (pg_backend_pid())",
        "delete from kith_guard.fact",
        "set session authorization postgres",
        "set local session_replication_role = replica",
        "alter role current_user superuser",
        "create role mine superuser",
        "copy public.contacts to '/tmp/x'",
        "select pg_read_file('/etc/passwd')",
        "select pg_terminate_backend(1)",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        format!("grant select on public.contacts to {other}"),
        format!("alter default privileges grant select on tables to {other}"),
        format!("set role {system}"),
        format!("grant {system} to current_user"),
    ])
    .collect()
}

#[tokio::test]
async fn code_that_an_administrators_session_runs_gains_nothing() {
    let scene = Scene::new(home()).await;
    scene.prepare(TRAP).await;
    scene.prepare("delete from loot").await;
    let attacks = attacks(&scene);
    for attack in &attacks {
        let quoted = attack.replace('\'', "''");
        scene.prepare(&format!("insert into attack values ('{quoted}')")).await;
    }
    scene
        .prepare("insert into attack values ('insert into public.contacts (email) values (gen_random_uuid() || ''@bait.example'')')")
        .await;
    let mut admin = scene.administrator(&scene.place.database).await;
    for sql in [
        "analyze public.bait",
        "vacuum (analyze) public.bait",
        "reindex table public.bait",
        "reindex index concurrently public.bait_word",
        "cluster public.bait using bait_pkey",
        "vacuum full public.bait",
        "refresh materialized view public.seen",
        "create index concurrently on public.bait (public.innocent(word))",
        "create index on public.bait (public.innocent(word), id)",
    ] {
        // An attack may make the statement itself fail.
        let ended = admin.script(sql).await;
        println!("{sql}: {:?}", ended.map_err(|error| error.to_string()));
        if !admin.is_alive() {
            admin = scene.administrator(&scene.place.database).await;
        }
    }
    let own = format!("postgres:{}", scene.place.role);
    let mut offences = Vec::new();
    let wanted = "select (select count(distinct tried) from loot where who = 'postgres') as v";
    assert_eq!(scene.prepare(wanted).await.v(), attacks.len() + 1, "the administrator's session ran them all");
    let sql =
        "select tried as v from loot where came = 'ok' and tried not like 'insert into public.contacts%' group by 1";
    offences.extend(scene.prepare(sql).await.column("v").iter().map(|tried| format!("{tried} was done")));
    let actors =
        scene.prepare("select distinct actor as v from activity where subject_repr like '%@bait.example'").await;
    assert_eq!(actors.column("v"), [own.as_str()], "who inserted the bait");
    for check in [
        "select not exists (select from kith_guard.fact f left join kith_guard.observed o using (relid, kind, name)
                             where o.value is distinct from f.value)",
        "select not kith_guard.has_strangers()",
        "select not exists (select from pg_cast where castsource = 'public.mood'::regtype)",
        "select not exists (select from public.activity where actor like '%FORGED%' or actor = 'postgres:postgres')",
    ] {
        if !matches!(is_true(&mut admin, check).await, Ok(true)) {
            offences.push(format!("is not so: {check}"));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
    scene.prepare("drop table bait cascade").await;
    scene.stands("code in an administrator's session").await;
}

#[tokio::test]
async fn nothing_vacuums_as_the_superuser() {
    let scene = Scene::new(home()).await;
    let mut admin = scene.administrator("postgres").await;
    assert!(is_true(&mut admin, "select current_setting('autovacuum') = 'off'").await.expect("an answer"));
}

#[tokio::test]
async fn maintenance_runs_as_the_workspace() {
    let scene = Scene::new(home()).await;
    scene
        .prepare(
            "create table loot (who text, as_whom text);
             create function notes() returns void language plpgsql as $$ begin insert into public.loot values (session_user, current_user); end $$;
             create function innocent(word text) returns text language plpgsql immutable as $$ begin perform public.notes(); return word; end $$;
             create table bait (id int primary key, word text);
             create index on bait (innocent(word));
             create function fails(word text) returns text language plpgsql immutable as $$
             begin if session_user <> current_setting('nothing', true) or word = '13' then raise exception 'no'; end if; return word; end $$;
             create table broken (id int primary key, word text)",
        )
        .await;
    scene
        .prepare(
            "insert into bait select i, i::text from generate_series(1, 300) i; update bait set word = word || 'x'; delete from loot;
             insert into broken select i, i::text from generate_series(1, 300) i where i <> 13; create index on broken (fails(word));
             insert into contacts (phone) select i::text from generate_series(1, 300) i; update contacts set phone = phone || 'x'",
        )
        .await;
    let (kith, place) = (scene.home.kith, scene.place.clone());
    // Statistics of a session are reported within a second of its end, or immediately on request.
    let mut admin = scene.administrator(&scene.place.database).await;
    let dead = "select coalesce((select n_dead_tup >= 300 and n_mod_since_analyze >= 300 from pg_stat_all_tables where relid = 'public.bait'::regclass), false)";
    let begun = Instant::now();
    while !is_true(&mut admin, dead).await.expect("an answer") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the statistics never came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let maintained = scene.home.run(async move { kith.app.store.maintain(&place).await }).await.expect("maintenance");
    assert!(maintained >= 2, "{maintained} tables");
    let who = scene.prepare("select distinct who as v from loot").await;
    assert_eq!(who.column("v"), [&*scene.place.role], "who analyzed the table");
    for table in ["bait", "contacts", "activity"] {
        let done = format!(
            "select vacuum_count > 0 or analyze_count > 0 from pg_stat_all_tables where relid = 'public.{table}'::regclass"
        );
        assert!(is_true(&mut admin, &done).await.expect("an answer"), "{table} was maintained");
    }
    scene.stands("maintenance").await;
}

#[tokio::test]
async fn maintenance_that_does_not_end_is_ended() {
    let scene = Scene::new(home()).await;
    scene
        .prepare(
            "create function sleeps(word text) returns text language plpgsql immutable as $$
             begin
               if current_setting('application_name') = 'kith' and word like '%x' then
                 begin perform pg_sleep(120); exception when query_canceled then perform pg_sleep(120); end;
               end if;
               return word;
             end $$;
             create table bait (id int primary key, word text);
             insert into bait select i, i::text from generate_series(1, 300) i;
             create index on bait (sleeps(word))",
        )
        .await;
    let mut session = scene.session().await;
    session.script("set application_name = 'other'; update bait set word = word || 'x'").await.expect("an update");
    drop(session);
    let mut admin = scene.administrator(&scene.place.database).await;
    let changed = "select n_mod_since_analyze >= 300 from pg_stat_all_tables where relid = 'public.bait'::regclass";
    let begun = Instant::now();
    while !is_true(&mut admin, changed).await.expect("an answer") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the statistics never came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (kith, place) = (scene.home.kith, scene.place.clone());
    let begun = Instant::now();
    let ended = async move { kith.app.store.maintain_within(&place, Duration::from_secs(2)).await };
    scene.home.run(ended).await.expect_err("it was ended");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    scene.stands("maintenance without an end").await;
}
