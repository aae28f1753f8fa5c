//! Attempts of users to get more than they are entitled to: to stay after removal, to fill other users' mailboxes, to keep
//! an address that they took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kith::clock::Clock;
use kith::serve::Door;
use serde_json::json;

use crate::accounts::{self, newcomer, sign_up, with_session};
use crate::belongings::{joined, owned, person};
use crate::support::{Agent, door, mailbox, stranger};

fn invite(owner: &Agent, email: &str) -> serde_json::Value {
    json!({"workspace_id": owner.workspace_id, "email": email})
}

/// The same user at a listener with limits.
async fn limited(agent: &Agent) -> Agent {
    agent.at(&door(Door { public_url: None, clock: Clock::System, rate_limit: 100_000 }).await)
}

#[tokio::test]
async fn who_was_removed_does_not_come_back_by_an_invitation_of_their_own() {
    for farewell in ["removed", "demoted"] {
        let (owner, _) = owned().await;
        let (former, _, user_id) = joined(&owner, "member").await;
        let member = format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id);
        owner.patch(&member, json!({"role": "owner"})).await.status(200);
        let (accomplice, email) = person("accomplice").await;
        let token = former.post("/v1/members/invite", invite(&owner, &email)).await.status(201).text("/data/token");
        match farewell {
            "removed" => owner.delete(&member).await.status(200),
            _ => owner.patch(&member, json!({"role": "viewer"})).await.status(200),
        };
        let accept = format!("/v1/members/accept/{token}");
        accomplice.post(&accept, json!({})).await.fault(404, "not_found");
        let members = owner.get(&format!("/v1/members?ws={}", owner.workspace_id)).await.status(200);
        assert_eq!(members.column("role").len(), if farewell == "removed" { 1 } else { 2 }, "{farewell}");
    }
}

#[tokio::test]
async fn a_mailbox_is_not_filled_with_invitations() {
    let (_, victim) = person("victim").await;
    mailbox().wait(&victim, 1).await;
    let (one, _) = owned().await;
    let (other, _) = owned().await;
    let mut letters = 1;
    // Invitations by another workspace count against the limit of this one.
    for (workspace, sent) in [(&one, 5), (&other, 4)] {
        for at in 0..sent + 2 {
            workspace.post("/v1/members/invite", invite(workspace, &victim)).await.status(201);
            if at < sent {
                letters += 1;
                mailbox().wait(&victim, letters).await;
            }
        }
    }
    let last = one.post("/v1/members/invite", invite(&one, &victim)).await.status(201);
    assert!(last.text("/data/accept_url").contains("/invite/"), "the inviter may hand it on themselves");
    // Mails are sent in the order of the requests: after this mail has arrived, no earlier one is missing.
    let (_, after) = person("after").await;
    mailbox().wait(&after, 1).await;
    assert_eq!(mailbox().of(&victim).len(), letters);
}

#[tokio::test]
async fn a_person_invites_sixty_times_an_hour_at_most() {
    let (owner, _) = owned().await;
    let (owner, other) = (limited(&owner).await, owned().await.0);
    for at in 0..60 {
        let email = format!("many-{at}-{}@members.example", owner.workspace_id);
        owner.post("/v1/members/invite", invite(&owner, &email)).await.status(201);
    }
    let refused = owner.post("/v1/members/invite", invite(&owner, "one@members.example")).await;
    let refused = refused.fault(429, "rate_limited").says("60 invitations");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds <= 3600));
    let other = other.at(&owner.base);
    other.post("/v1/members/invite", invite(&other, "two@members.example")).await.status(201);
}

#[tokio::test]
async fn a_squatter_loses_an_account_to_who_reads_its_mail() {
    let email = accounts::email("squatted");
    let squatter = with_session(&newcomer(), &sign_up(&newcomer(), &email).await.status(201));
    let made = squatter.post("/v1/workspaces", json!({})).await.status(201);
    let key = stranger().with_key(made.text("/data/api_key"), made.text("/data/workspace_id"));
    key.get("/v1/contacts").await.status(200);
    mailbox().wait(&email, 1).await;
    let reset = async |password: &str, before: usize| {
        newcomer().post("/v1/auth/request-password-reset", json!({"email": email})).await.status(202);
        let token = mailbox().wait(&email, before + 1).await[before].token();
        newcomer().post("/v1/auth/reset-password", json!({"token": token, "password": password})).await.status(200);
    };
    reset("not the squatter's words", 1).await;
    squatter.get("/v1/auth/me").await.fault(401, "unauthorized");
    let since = Instant::now();
    while key.get("/v1/contacts").await.code != 401 {
        assert!(since.elapsed() < Duration::from_secs(20), "the squatter's key works on");
    }
    // From now on the address is verified: another password reset revokes no key.
    let owner =
        with_session(&newcomer(), &accounts::log_in(&newcomer(), &email, "not the squatter's words").await.status(200));
    let path = format!("/v1/keys?ws={}", key.workspace_id);
    let own = owner.post(&path, json!({})).await.status(201).text("/data/api_key");
    reset("yet another few words", 2).await;
    stranger().with_key(own, String::new()).get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn many_workspaces_at_once_are_counted_by_person() {
    let app = limited(&stranger()).await;
    let (maker, _) = person("maker").await;
    let maker = Arc::new(maker.at(&app.base));
    for _ in 0..60 {
        // Refused for its name, but counted: a refused request costs the same.
        maker.post("/v1/workspaces", json!({"name": 1})).await.fault(400, "invalid_request");
    }
    maker.post("/v1/workspaces", json!({})).await.fault(429, "rate_limited").says("60 workspaces");
}
