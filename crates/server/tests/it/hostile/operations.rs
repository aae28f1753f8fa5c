//! Attacks within a batch: an operation of the caller's SQL, and operations that Kith writes, in one transaction.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Scene;
use super::leftovers::{PROBE, SETTINGS};
use crate::support::{Reply, home};

async fn batch(scene: &Scene, operations: Value) -> Reply {
    scene.attacker.post("/v1/batch", json!({"operations": operations})).await
}

fn sql(text: &str) -> Value {
    json!({"method": "POST", "path": "/v1/sql", "body": {"sql": text}})
}

fn post(path: &str, body: Value) -> Value {
    json!({"method": "POST", "path": path, "body": body})
}

#[tokio::test]
async fn what_sql_sets_does_not_reach_the_next_operation() {
    let scene = Scene::new(home()).await;
    scene.prepare(PROBE).await;
    let expected = scene.attacker.get("/v1/probe/p").await.status(200).data();
    let mut ran = 0;
    for (number, (setting, value)) in SETTINGS.iter().enumerate() {
        for is_local in [true, false] {
            let set = sql(&format!("select set_config('{setting}', '{value}', {is_local}) is null as v"));
            let email = format!("s{number}{is_local}@a.example");
            let operations = json!([
                post("/v1/companies", json!({"name": "Before"})),
                set,
                {"method": "GET", "path": "/v1/probe/p"},
                post("/v1/contacts", json!({"email": email, "custom": {"n": 0.1}})),
                {"method": "GET", "path": "/v1/probe/p"},
            ]);
            let reply = batch(&scene, operations).await;
            // Some settings can't be set at all, and then the whole fails. A time limit can end what follows.
            if reply.code != 200 {
                let at = reply.error()["operation"].clone();
                assert!(at == 1 || (at == 2 && setting.ends_with("_timeout")), "{setting}: {}", reply.story());
                continue;
            }
            ran += 1;
            for at in [2, 4] {
                assert_eq!(
                    reply.at(&format!("/data/{at}/body/data")),
                    expected,
                    "{setting} {is_local}: {}",
                    reply.story()
                );
            }
            let actor =
                format!("select actor as v from activity where subject_id = '{}'", reply.text("/data/3/body/data/id"));
            let actor = scene.prepare(&actor).await.v();
            assert!(actor.as_str().is_some_and(|actor| actor.starts_with("api_key:")), "{setting} {is_local}: {actor}");
        }
    }
    assert!(ran > SETTINGS.len(), "{ran} settings could be set");
    scene.stands("settings within a batch").await;
}

#[tokio::test]
async fn what_a_trigger_sets_does_not_reach_the_next_operation() {
    let scene = Scene::new(home()).await;
    scene.prepare(PROBE).await;
    let expected = scene.attacker.get("/v1/probe/p").await.status(200).data();
    let trigger = "
        create function sets() returns trigger language plpgsql as $$ begin
          perform set_config('DateStyle', 'German', false), set_config('TimeZone', 'Asia/Tokyo', true),
                  set_config('search_path', 'pg_catalog', false), set_config('kith.context', 'junk', true);
          return new;
        end $$";
    let operations = json!([
        sql(trigger),
        sql("create trigger sets before insert on companies for each row execute function sets()"),
        post("/v1/companies", json!({"name": "A"})),
        {"method": "GET", "path": "/v1/probe/p"},
        post("/v1/contacts", json!({"email": "after@a.example"})),
    ]);
    let reply = batch(&scene, operations).await.status(200);
    assert_eq!(reply.at("/data/3/body/data"), expected);
    let later = json!([post("/v1/companies", json!({"name": "B"})), {"method": "GET", "path": "/v1/probe/p"}]);
    assert_eq!(batch(&scene, later).await.status(200).at("/data/1/body/data"), expected);
    let actor = scene.prepare("select actor as v from activity where subject_repr = 'after@a.example'").await.v();
    assert!(actor.as_str().is_some_and(|actor| actor.starts_with("api_key:")), "{actor}");
    scene.stands("a trigger within a batch").await;
}

#[tokio::test]
async fn no_operation_ends_the_transaction() {
    let scene = Scene::new(home()).await;
    scene.prepare("create procedure ends() language plpgsql as $$ begin commit; end $$").await;
    scene.prepare("create table other (id int primary key)").await;
    for text in [
        "commit",
        "rollback",
        "select 1; end",
        "savepoint a",
        "rollback to savepoint kith_reading",
        "release savepoint kith_reading",
        "commit and chain",
        "abort",
        "prepare transaction 'x'",
        "/* x */ commit -- y",
        "do $$ begin commit; end $$",
        "do $$ begin rollback; end $$",
        "do $$ begin execute 'commit'; end $$",
        "call ends()",
        "vacuum other",
        "create index concurrently on other (id)",
        "copy other to stdout",
        "copy other from stdin",
    ] {
        let operations = json!([
            post("/v1/companies", json!({"name": "Half"})),
            sql(text),
            post("/v1/companies", json!({"name": "Other half"})),
        ]);
        let reply = batch(&scene, operations).await;
        assert!(matches!(reply.code, 400 | 403), "{text}: {}", reply.story());
        assert_eq!(reply.error()["operation"], 1, "{text}: {}", reply.story());
        assert_eq!(scene.prepare("select count(*) as v from companies").await.v(), 0, "{text}");
    }
    scene.stands("the end of a transaction within a batch").await;
}

#[tokio::test]
async fn statements_of_the_caller_do_not_get_the_secret() {
    let scene = Scene::new(home()).await;
    scene.prepare("create table loot (what text)").await;
    let trap = "create function trap(what text) returns text language plpgsql as $$ begin insert into public.loot values (what); return what; end $$";
    scene.prepare(trap).await;
    // The server's own statements must not run under a name, because these take all names that can be known.
    let swap = "
        do $$
        declare name text; n int;
        begin
          begin
            for name in select p.name from pg_prepared_statements p loop
              execute format('deallocate %I', name);
              execute format('prepare %I (text, text, text) as select public.trap($1)', name);
            end loop;
          exception when insufficient_privilege then null; end;
          for n in 0..40 loop
            begin
              execute format('prepare s%s (text, text, text) as select public.trap($1)', n);
            exception when duplicate_prepared_statement then null; end;
          end loop;
        end $$";
    for number in 0..5 {
        let operations = json!([
            post("/v1/contacts", json!({"email": format!("a{number}@a.example")})),
            sql(swap),
            post("/v1/contacts", json!({"email": format!("b{number}@a.example")})),
            sql("deallocate all"),
            post("/v1/contacts", json!({"email": format!("c{number}@a.example")})),
            sql("select name from pg_cursors; declare c cursor for select 1"),
            post("/v1/contacts", json!({"email": format!("d{number}@a.example")})),
        ]);
        batch(&scene, operations).await.status(200);
    }
    let looted = scene.prepare("select what from loot").await;
    assert_eq!(looted.column("what"), Vec::<Value>::new(), "{}", looted.story());
    let actors = scene
        .prepare("select distinct split_part(actor, ':', 1) as v from activity where subject_type = 'contact'")
        .await;
    assert_eq!(actors.column("v"), ["api_key"]);
    scene.stands("statements put in place of the server's").await;
}

#[tokio::test]
async fn a_lists_predicate_does_not_write_in_a_batch() {
    let scene = Scene::new(home()).await;
    scene.prepare("create table loot (what text)").await;
    scene
        .prepare("create function writes() returns boolean language plpgsql as $$ begin insert into public.loot values ('x'); return true; end $$")
        .await;
    scene
        .prepare("create function opens() returns boolean language plpgsql as $$ begin perform set_config('transaction_read_only', 'off', true); insert into public.loot values ('x'); return true; end $$")
        .await;
    scene.attacker.post("/v1/contacts", json!({"email": "a@a.example"})).await.status(201);
    for predicate in ["writes()", "opens()"] {
        let list = json!({"name": "L", "kind": "dynamic", "target_table": "contacts", "filter_predicate": predicate});
        let list = scene.attacker.post("/v1/lists", list).await.status(201).id();
        let read = json!({"method": "GET", "path": format!("/v1/lists/{list}/rows")});
        let alone = scene.attacker.get(&format!("/v1/lists/{list}/rows")).await;
        let reply = batch(&scene, json!([post("/v1/companies", json!({"name": "A"})), read])).await;
        assert_eq!(
            (reply.code, &reply.error()["operation"]),
            (alone.code, &json!(1)),
            "{} {}",
            reply.story(),
            alone.story()
        );
        assert_eq!(scene.prepare("select count(*) as v from loot").await.v(), 0, "{predicate}");
    }
    // After a list was read, the transaction writes again.
    let list = json!({"name": "L", "kind": "dynamic", "target_table": "contacts", "filter_predicate": "set_config('DateStyle', 'German', true) is not null"});
    let list = scene.attacker.post("/v1/lists", list).await.status(201).id();
    let operations = json!([{"method": "GET", "path": format!("/v1/lists/{list}/rows")}, post("/v1/companies", json!({"name": "A"})), sql("show DateStyle")]);
    let reply = batch(&scene, operations).await.status(200);
    assert_eq!(reply.at("/data/2/body/data/rows/0/DateStyle"), "ISO, MDY");
    scene.stands("a predicate that writes").await;
}

#[tokio::test]
async fn references_do_not_multiply() {
    let scene = Scene::new(home()).await;
    let begun = Instant::now();
    let many = json!({"custom": {"x": vec!["$q.x"; 200_000]}});
    let big =
        json!({"method": "POST", "path": "/v1/sql", "body": {"sql": "select repeat('x', 1000000) as x"}, "ref": "q"});
    let reply = batch(&scene, json!([big, post("/v1/contacts", many)])).await.fault(413, "payload_too_large");
    assert_eq!(reply.error()["operation"], 1, "{}", reply.story());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    scene.stands("references to a long value").await;
}

#[tokio::test]
async fn a_batch_does_not_wait_for_its_own_locks() {
    let scene = Scene::new(home()).await;
    let list = json!({"name": "L", "kind": "dynamic", "target_table": "contacts", "filter_predicate": "true"});
    let list = scene.attacker.post("/v1/lists", list).await.status(201).id();
    scene.attacker.post("/v1/contacts", json!({"email": "there@a.example"})).await.status(201);
    let begun = Instant::now();
    let locks = "lock table contacts, companies, deals, lists, list_members, custom_fields in access exclusive mode";
    let operations = json!([
        sql(locks),
        sql("alter table contacts add extra int"),
        {"method": "GET", "path": "/v1/contacts?extra=1"},
        {"method": "GET", "path": format!("/v1/lists/{list}/rows")},
        {"method": "GET", "path": "/v1/search?q=there"},
        {"method": "GET", "path": "/v1/schema"},
        post("/v1/contacts", json!({"email": "there@a.example"})),
    ]);
    let reply = batch(&scene, operations).await.fault(409, "conflict");
    assert_eq!(reply.error()["operation"], 6, "{}", reply.story());
    assert!(reply.error()["existing_id"].is_string(), "{}", reply.story());
    // PostgreSQL's lock_timeout is 10 s.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    scene.stands("locks within a batch").await;
}
