//! Large numbers: connections, slow statements, notices, notifications, log lines.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;

use super::{Scene, outcome, outcome_of, until_asleep};
use crate::support::Reply;
use crate::support::arena;

/// The possible answers to an overloaded workspace's own requests.
#[track_caller]
fn is_served_or_put_off(reply: &Reply) {
    let put_off = reply.code == 503 || reply.code == 408;
    assert!(reply.code == 200 || put_off, "{}", reply.story());
    if reply.code == 503 {
        assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{}", reply.story());
    }
}

#[tokio::test]
async fn a_hundred_slow_queries_hold_nobody_up() {
    let scene = Scene::with_claimed_attacker(arena()).await;
    let begun = Instant::now();
    let slow = || scene.attacker.sql("set statement_timeout = '3s'; select pg_sleep(25)");
    let (replies, ()) = tokio::join!(join_all((0..100).map(|_| slow())), async {
        // While they are running.
        until_asleep(scene.home, &scene.place.database, 8).await;
        for _ in 0..5 {
            scene.stands("a hundred slow queries, under way").await;
        }
        println!("looked five times until {:?}", begun.elapsed());
    });
    for reply in &replies {
        is_served_or_put_off(reply);
    }
    let count = |code| replies.iter().filter(|reply| reply.code == code).count();
    println!("408: {}, 503: {}, after {:?}", count(408), count(503), begun.elapsed());
    assert!(count(408) >= 8, "{} were begun", count(408));
    scene.stands("a hundred slow queries").await;
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_served_or_put_off() {
    let scene = &Scene::new(arena()).await;
    let begun = Instant::now();
    let (replies, (rest, reads)) = tokio::join!(
        join_all((0..50).map(|n| {
            let sql = format!("select count(*) + {n} as v from generate_series(1, 100000)");
            async move { scene.attacker.sql(&sql).await }
        })),
        async {
            tokio::join!(
                join_all((0..50).map(|n| {
                    let body = json!({"email": format!("c{n}@crowd.example")});
                    async move { scene.attacker.post("/v1/contacts", body).await }
                })),
                join_all((0..50).map(|_| scene.attacker.get("/v1/contacts?limit=1"))),
            )
        },
    );
    let replies: Vec<Reply> = replies.into_iter().chain(rest).chain(reads).collect();
    for reply in &replies {
        assert!(matches!(reply.code, 200 | 201 | 503), "{}", reply.story());
    }
    let served = replies.iter().filter(|reply| reply.code != 503).count();
    println!("{served} of 150 requests at once were served, in {:?}", begun.elapsed());
    assert!(served >= 100, "{served} of 150 were served");
    scene.stands("a hundred requests at once").await;
}

#[tokio::test]
async fn connections_of_its_own_are_counted() {
    let scene = Scene::new(arena()).await;
    let cells = &scene.home.kith.app.store.cells;
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..60 {
        match cells.tenant(scene.place.cell, &scene.place.role, &scene.place.database).await {
            Ok(conn) => open.push(conn),
            Err(error) => {
                assert_eq!(outcome_of(Err::<(), _>(error)), "53300");
                refused += 1;
            }
        }
    }
    println!("{} connections, {refused} refused", open.len());
    assert!(open.len() <= 30 && refused >= 30, "{} connections were let in", open.len());
    // Its own requests wait or are refused. The neighbour's are not.
    let own = scene.attacker.sql("select 1").await;
    is_served_or_put_off(&own);
    let begun = Instant::now();
    scene.neighbour.get("/v1/contacts").await.status(200);
    println!("the neighbour was answered in {:?}", begun.elapsed());
    assert!(begun.elapsed() < super::PATIENCE);
    drop(open);
    // The server detects the ends of these connections one by one.
    let mut served = false;
    while !served && begun.elapsed() < super::PATIENCE {
        served = scene.attacker.sql("select 1").await.code == 200 && scene.own_rest("connections").await.is_ok();
    }
    assert!(served, "its own requests are put off although its connections are closed");
    scene.stands("connections of its own").await;
}

#[tokio::test]
async fn notices_and_log_lines_in_masses_stop_nobody() {
    let scene = Scene::new(arena()).await;
    let floods = [
        ("notices", "do $$ begin for i in 1..300000 loop raise notice '% %', i, repeat('x', 200); end loop; end $$"),
        (
            "notices asked for",
            "set client_min_messages = debug5; do $$ begin for i in 1..100000 loop raise debug '% %', i, repeat('x', 200); end loop; end $$",
        ),
        ("log lines", "do $$ begin for i in 1..50000 loop raise log '% %', i, repeat('x', 100); end loop; end $$"),
        ("long log lines", "do $$ begin for i in 1..3 loop raise log '%', repeat(E'x\\n', 1000000); end loop; end $$"),
        (
            "trees in the log",
            "set debug_print_plan = on; set debug_print_parse = on; set debug_print_rewritten = on; do $$ begin for i in 1..300 loop execute 'select * from pg_class c join pg_attribute a on a.attrelid = c.oid limit 1'; end loop; end $$",
        ),
        ("warnings", "do $$ begin for i in 1..20000 loop raise warning '%', repeat('y', 1000); end loop; end $$"),
        ("an error of many megabytes", "do $$ begin raise exception '%', repeat('z', 50000000); end $$"),
    ];
    for (name, sql) in floods {
        let begun = Instant::now();
        let reply = scene.attacker.sql(sql).await;
        println!("{name}: {} {} after {:?}, {} bytes", reply.code, outcome(&reply), begun.elapsed(), reply.body.len());
        assert!(reply.code < 500 || reply.code == 503, "{name}: {}", reply.story());
        assert!(reply.body.len() < 11 << 20, "{name}: an answer of {} bytes", reply.body.len());
        scene.stands(name).await;
    }
}

#[tokio::test]
async fn notifications_in_masses_stop_nobody() {
    let scene = Scene::new(arena()).await;
    assert_eq!(outcome(&scene.attacker.sql("select pg_notify('a', 'b')").await), "42501");
    // NOTIFY itself can't be revoked. The notifications of one transaction must not fill the queue of the cell, which would
    // stay full. They wait for the commit in memory, which has a limit of its own.
    let flood = |times: u32| {
        format!(
            "do $$ begin for i in 1..{times} loop execute format('notify flood, %L', i || repeat('n', 7900)); end loop; end $$"
        )
    };
    for times in [20_000, 20_000, 100_000] {
        let begun = Instant::now();
        let reply = scene.attacker.sql(&flood(times)).await;
        println!("{times} notifications: {} after {:?}", outcome(&reply), begun.elapsed());
        assert!(["ok", "53200", "statement_timeout"].contains(&outcome(&reply).as_str()), "{}", reply.story());
        scene.neighbour.sql("notify own, 'x'").await.status(200);
        scene.stands("a flood of notifications").await;
    }
    // A listener in another database receives none of them.
    let heard = "listen flood; select count(*) as v from pg_listening_channels()";
    scene.neighbour.sql(heard).await.status(200);
    scene.stands("notifications").await;
}
