//! Many workspaces at the same time, each with slow statements: places that they hold for long are given to others.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{claim, until_asleep};
use crate::support::{Agent, Home, Reply, arena, stranger_at};

/// How long a neighbour may wait for two answers. A request that gets no place within ten seconds is refused.
const SOON: Duration = Duration::from_secs(20);

/// A workspace with a view that sleeps, which a GET reads too.
async fn sleeper(agent: Agent) -> Agent {
    agent.sql("create view sleep as select 'x' as id, pg_sleep(28)::text as slept").await.status(200);
    agent
}

/// Sleeps by SQL and by REST, this many times each.
fn sleeps(agent: &Agent, times: usize) -> Vec<tokio::task::JoinHandle<Reply>> {
    let by_sql = (0..times).map(|_| {
        let agent = agent.clone();
        tokio::spawn(async move { agent.sql("select pg_sleep(28)").await })
    });
    let by_rest = (0..times).map(|_| {
        let agent = agent.clone();
        tokio::spawn(async move { agent.get("/v1/sleep/x").await })
    });
    by_sql.chain(by_rest).collect()
}

/// Twelve neighbours are answered soon, three times each.
async fn neighbours_are_served(neighbours: &[Agent], after: &str) {
    for _ in 0..3 {
        let asked = neighbours.iter().map(|neighbour| async move {
            let begun = Instant::now();
            neighbour.get("/v1/contacts").await.status(200);
            neighbour.sql("select 1 as v").await.status(200);
            begun.elapsed()
        });
        let slowest = join_all(asked).await.into_iter().max().expect("twelve");
        println!("{after}: the slowest of {} neighbours was answered in {slowest:?}", neighbours.len());
        assert!(slowest < SOON, "{after}: {slowest:?}");
    }
}

/// Twelve workspaces, each at an address of its own.
async fn neighbours(home: &Home) -> Vec<Agent> {
    let mut made = Vec::new();
    for number in 0..12 {
        made.push(stranger_at(&home.base).from([127, 0, 1, number].into()).with_workspace().await);
    }
    made
}

#[track_caller]
fn check_ends(replies: &[Reply]) {
    let told = |reply: &&Reply| reply.code == 408 && reply.text("/message").contains("others waited");
    for reply in replies {
        assert!(matches!(reply.code, 200 | 408 | 503), "{}", reply.story());
    }
    let ended = replies.iter().filter(told).count();
    println!("{ended} of {} statements gave way", replies.len());
    assert!(ended > 0, "nobody was told that others waited");
}

#[tokio::test]
async fn anonymous_workspaces_that_sleep_leave_places_to_others() {
    let home = arena();
    let neighbours = neighbours(home).await;
    let mut attackers = Vec::new();
    for number in 0..40 {
        // From many addresses: the limit of simultaneous requests of one address is reached before that of the places.
        let attacker = stranger_at(&home.base).from([127, 0, 2, number].into());
        attackers.push(sleeper(attacker.with_workspace().await).await);
    }
    let sleeping: Vec<_> = attackers.iter().flat_map(|attacker| sleeps(attacker, 4)).collect();
    until_asleep(home, "%", 30).await;
    neighbours_are_served(&neighbours, "forty anonymous workspaces that sleep").await;
    let replies: Vec<Reply> = join_all(sleeping).await.into_iter().map(|reply| reply.expect("no panic")).collect();
    check_ends(&replies);
}

#[tokio::test]
async fn workspaces_of_somebody_that_sleep_give_way_too() {
    let home = arena();
    let neighbours = neighbours(home).await;
    let mut attackers = Vec::new();
    for _ in 0..10 {
        let attacker = stranger_at(&home.base).with_workspace().await;
        claim(home, &attacker).await;
        attackers.push(sleeper(attacker).await);
    }
    let sleeping: Vec<_> = attackers.iter().flat_map(|attacker| sleeps(attacker, 10)).collect();
    until_asleep(home, "%", 40).await;
    neighbours_are_served(&neighbours, "ten workspaces of somebody that sleep").await;
    let replies: Vec<Reply> = join_all(sleeping).await.into_iter().map(|reply| reply.expect("no panic")).collect();
    check_ends(&replies);
}
