//! Statements that would run forever, and do everything they can to keep running.

use std::time::{Duration, Instant};

use crate::support::{agent, home};

const STUBBORN: &str = "set statement_timeout = 0; set lock_timeout = 0;
do $$ begin
  loop
    begin
      perform pg_sleep(100);
    exception when query_canceled then null;
    end;
  end loop;
end $$";

#[tokio::test]
async fn what_runs_for_ever_is_ended_in_time_and_hurts_nobody() {
    let (agent, other) = (agent().await, agent().await);
    let start = Instant::now();
    let endless = ["select pg_sleep(600)", "set statement_timeout = 0; select pg_sleep(600)", STUBBORN];
    let ended = futures_util::future::join_all(endless.map(|sql| agent.sql(sql)));
    let meanwhile = async {
        let mut slowest = Duration::ZERO;
        for number in 0..200 {
            let asked = Instant::now();
            let caller = if number % 2 == 0 { &agent } else { &other };
            caller.sql("select 1").await.status(200);
            caller.get("/v1/contacts").await.status(200);
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    };
    let (ended, slowest) = tokio::join!(ended, meanwhile);
    for reply in ended {
        reply.fault(408, "statement_timeout");
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(29)..Duration::from_secs(45)).contains(&took), "{took:?}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    agent.sql("select 1").await.status(200);
    let mut admin = home().kith.app.store.cells.administer_cell(0).await.expect("an administrator");
    let sql = "select count(*) as left_over from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid() and state = 'active'";
    assert_eq!(admin.query(sql, &[]).await.expect("an answer").get::<i64>(0, "left_over").expect("a number"), 0);
}
