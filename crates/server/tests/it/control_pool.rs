//! The control plane answers everybody while one workspace is slow: nothing that a workspace decides about is awaited while a
//! connection to the control database is held. There are six.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use kith::targets::{Found, LookUp};
use pg::conn::Begin;
use pg::types::TypeCache;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Agent, home, psql, relm};
use crate::webhooks::targets::at_strict_door;

/// The connections to the control database.
const CONNECTIONS: usize = 6;

/// A look-up that never answers.
struct NeverAnswers {
    /// Has a permit for each look-up.
    asked: Semaphore,
}

impl LookUp for NeverAnswers {
    fn addresses(&self, _name: &str) -> Found {
        self.asked.add_permits(1);
        Box::pin(pending::<std::io::Result<Vec<IpAddr>>>())
    }
}

/// Reads lists of the control plane while other calls wait.
async fn control_plane_answers(other: &Agent) {
    for _ in 0..5 {
        other.get("/v1/webhooks").await.status(200);
        other.get("/v1/automations").await.status(200);
    }
}

#[tokio::test]
async fn a_look_up_that_never_answers_holds_nobody_up_and_ends() {
    let (slow, other) = (relm().await, relm().await);
    let look_up = Arc::new(NeverAnswers { asked: Semaphore::new(0) });
    let strict = at_strict_door(&slow, look_up.clone()).await;
    let creates = (0..CONNECTIONS).map(|number| {
        let strict = strict.clone();
        tokio::spawn(async move {
            let body =
                json!({"url": format!("https://{number}.example/"), "events": ["contact.created"], "enabled": false});
            strict.post("/v1/webhooks", body).await
        })
    });
    let creates: Vec<_> = creates.collect();
    look_up.asked.acquire_many(CONNECTIONS as u32).await.expect("all of them look up").forget();
    control_plane_answers(&other).await;
    // A name that can't be resolved now is allowed: it is looked up again at each use.
    for made in join_all(creates).await {
        made.expect("an answer").status(201);
    }
    assert_eq!(slow.get("/v1/webhooks").await.status(200).column("url").len(), CONNECTIONS);
}

#[tokio::test]
async fn a_locked_table_of_stages_holds_nobody_up() {
    let (slow, other) = (relm().await, relm().await);
    let mut session = psql(&slow).await;
    let types = TypeCache::default();
    let mut open = session.begin(Begin::ReadWrite(&[])).await.expect("a transaction");
    open.prepare("LOCK TABLE pipeline_stages", &types).await.expect("a statement");
    open.discard().await.expect("a lock");
    let creates = (0..CONNECTIONS).map(|number| {
        let slow = slow.clone();
        tokio::spawn(async move {
            let actions = json!([{"type": "move_deal_stage", "stage": "won"}]);
            let rule = json!({"name": format!("R{number}"), "trigger_event": "deal.created", "actions": actions});
            slow.post("/v1/automations", rule).await
        })
    });
    let creates: Vec<_> = creates.collect();
    let place = home().place(&slow.workspace_id).await;
    let mut observer = home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("a session");
    let waiting = "SELECT FROM pg_locks WHERE relation = 'public.pipeline_stages'::regclass AND NOT granted";
    while observer.query(waiting, &[]).await.expect("locks").len() < CONNECTIONS {
        assert!(!creates.iter().any(tokio::task::JoinHandle::is_finished), "all of them wait for the lock");
    }
    control_plane_answers(&other).await;
    assert!(!creates.iter().any(tokio::task::JoinHandle::is_finished), "the others were answered while they wait");
    open.rollback().await.expect("an end of the lock");
    for made in join_all(creates).await {
        made.expect("an answer").status(201);
    }
}
