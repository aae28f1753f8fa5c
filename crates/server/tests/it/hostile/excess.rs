//! Using up what all workspaces of a cell share: transaction ids and locks.

use std::time::{Duration, Instant};

use super::{Scene, is_true, outcome};
use crate::direct::budget::NEARLY_ALL;
use crate::support::arena;

/// Uses a transaction id in each round, until it is ended. A lock calls no trigger, so it is the quickest way.
const BURN: &str = "do $$ begin loop begin perform from burnt for update; raise exception ''; exception when others then null; end; end loop; end $$";

#[tokio::test]
async fn a_workspace_that_burns_transaction_ids_is_refused() {
    let scene = Scene::new(arena()).await;
    scene.prepare("create unlogged table burnt as select 1 as n").await;
    scene.home.kith.app.store.excesses.set_spent(&scene.place.database, NEARLY_ALL);
    let begun = Instant::now();
    let refused = loop {
        let reply = scene.attacker.sql(BURN).await;
        println!("{} after {:?}", reply.code, begun.elapsed());
        if reply.code == 429 {
            break reply;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "{}", reply.story());
    };
    assert_eq!(outcome(&refused), "rate_limited", "{}", refused.story());
    for path in ["/v1/contacts", "/v1/lists"] {
        let reply = scene.attacker.get(path).await.status(429);
        assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{}", reply.story());
    }
    scene.attacker.sql("select 1").await.status(429);
    let path = format!("/v1/contacts/{}", scene.neighbour_contact);
    scene.neighbour.get(&path).await.status(200);
    scene.neighbour.sql("select 1").await.status(200);
    scene.home.kith.app.store.excesses.set_spent(&scene.place.database, 0.0);
    scene.stands("a burnt budget").await;
}

#[tokio::test]
async fn a_session_that_holds_too_many_locks_is_ended() {
    let scene = Scene::new(arena()).await;
    scene.prepare("create unlogged table deep ()").await;
    let mut session = scene.session().await;
    let nested = "savepoint a; insert into deep default values; ".repeat(21_000);
    let begun = Instant::now();
    session.script(&format!("begin; {nested} select pg_sleep(25)")).await.expect_err("the session is ended");
    assert!(!session.is_alive(), "the session lives on after {:?}", begun.elapsed());
    scene.stands("many locks").await;
}

#[tokio::test]
async fn old_transaction_ids_are_vacuumed_away_in_every_database() {
    let scene = Scene::new(arena()).await;
    // An index expression that fails must not prevent its table from being frozen.
    scene
        .prepare(
            "create function fails(word text) returns text language plpgsql immutable as $$
             begin if word = 'late' then raise exception 'no'; end if; return word; end $$;
             create table bait (id int primary key, word text); create index on bait (fails(word)); insert into bait values (1, 'x')",
        )
        .await;
    let mut admin = scene.administrator("postgres").await;
    let burn = "do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$";
    admin.script(burn).await.expect("three thousand ids");
    let now = admin.query("select pg_current_xact_id()::xid::text", &[]).await.expect("an id");
    let now = now.text(0, 0).expect("an id").to_owned();
    // Other transactions may still need older ids at first.
    let young = format!(
        "select not exists (select from pg_database where datallowconn and age(datfrozenxid) > age('{now}'::xid)
                               and (datname in ('postgres', 'template1', 'kith', '{}') or datname ~ '^kith_'))",
        scene.place.database
    );
    let (kith, begun) = (scene.home.kith, Instant::now());
    while !is_true(&mut admin, &young).await.expect("an answer") {
        assert!(begun.elapsed() < Duration::from_secs(120), "some databases stay old");
        let maintained = scene.home.run(async move { kith.app.store.maintain_older_than("100").await }).await;
        maintained.expect("maintenance");
    }
    scene.stands("frozen tables").await;
}
