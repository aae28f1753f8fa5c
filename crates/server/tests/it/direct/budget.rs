//! Transaction ids: users whose sessions use too many for their workspace are locked out until it is within its budget.

use std::time::{Duration, Instant};

use super::{ask, come, connection, login};
use crate::belongings::owned;
use crate::support::home;

#[tokio::test]
async fn people_who_burn_transaction_ids_are_kept_out() {
    let (owner, live) = owned().await;
    let (url, _) = connection(&owner).await;
    let mut conn = come(&url).await.expect("a session");
    assert_eq!(ask(&mut conn, "create unlogged table burnt ()").await, "");
    let burn = "do $$ begin loop begin insert into burnt default values; exception when others then null; end; end loop; end $$";
    assert_eq!(ask(&mut conn, burn).await, "gone");
    // The session is ended at the first look that finds the budget exceeded. If it is exceeded by little, it is earned back at once.
    let begun = Instant::now();
    while login(&url).await != "28000" || live.get("/v1/contacts").await.code != 429 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody was kept out");
        if let Ok(mut conn) = come(&url).await {
            ask(&mut conn, burn).await;
        }
    }
    let place = home().place(&owner.workspace_id).await;
    home().kith.app.store.excesses.forgive(&place.database);
    until_login(&url, "").await;
    live.get("/v1/contacts").await.status(200);
}

async fn until_login(url: &str, wanted: &str) {
    let begun = Instant::now();
    while login(url).await != wanted {
        assert!(begun.elapsed() < Duration::from_secs(60), "log-ins never came to {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
