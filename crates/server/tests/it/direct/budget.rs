//! Transaction ids: users whose sessions use too many for their workspace are locked out until it is within its budget.

use std::time::{Duration, Instant};

use super::{ask, come, connection, login};
use crate::belongings::owned;
use crate::support::home;

/// A wait that long means that nothing happens any more.
const HANG: Duration = Duration::from_secs(300);
/// Of the 2,000,000 ids that a workspace may take at once. To take all takes a minute on a busy machine.
pub const NEARLY_ALL: f64 = 1_800_000.0;

#[tokio::test]
async fn people_who_burn_transaction_ids_are_kept_out() {
    let (owner, live) = owned().await;
    let (url, _) = connection(&owner).await;
    let mut conn = come(&url).await.expect("a session");
    assert_eq!(ask(&mut conn, "create unlogged table burnt as select 1 as n").await, "");
    let burn = "do $$ begin loop begin perform from burnt for update; raise exception ''; exception when others then null; end; end loop; end $$";
    // Nearly all is spent already. Other processes on this database have an account of their own, which stays within its budget.
    let place = home().place(&owner.workspace_id).await;
    home().kith.app.store.excesses.set_spent(&place.database, NEARLY_ALL);
    assert_eq!(ask(&mut conn, burn).await, "gone");
    // The session is ended at the first check that finds the budget exceeded. If it is exceeded by little, it is earned back before
    // the log-in is tried.
    let begun = Instant::now();
    loop {
        let seen = (login(&url).await, live.get("/v1/contacts").await.code);
        if seen == ("28000".to_owned(), 429) {
            break;
        }
        assert!(begun.elapsed() < HANG, "nobody was kept out: {seen:?}");
        match come(&url).await {
            Ok(mut conn) => drop(ask(&mut conn, burn).await),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    home().kith.app.store.excesses.set_spent(&place.database, 0.0);
    until_login(&url, "").await;
    live.get("/v1/contacts").await.status(200);
}

async fn until_login(url: &str, wanted: &str) {
    let begun = Instant::now();
    while login(url).await != wanted {
        assert!(begun.elapsed() < HANG, "log-ins never came to {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
