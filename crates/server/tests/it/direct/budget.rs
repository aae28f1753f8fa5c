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
    until_login(&url, "28000").await;
    live.get("/v1/contacts").await.status(429);
    let place = home().place(&owner.workspace_id).await;
    home().kith.app.store.excesses.forgive(&place.database);
    until_login(&url, "").await;
    live.get("/v1/contacts").await.status(200);
}

async fn until_login(url: &str, wanted: &str) {
    let begun = Instant::now();
    while login(url).await != wanted {
        assert!(begun.elapsed() < Duration::from_secs(20), "log-ins never came to {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
