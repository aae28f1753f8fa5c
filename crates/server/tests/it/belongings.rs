//! Ownership: claiming workspaces, creating and revoking keys, inviting and removing members, and the audit log.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, home, mailbox, other_process, stranger};

/// A user with an account, logged in.
pub async fn person(name: &str) -> (Agent, String) {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let email = format!("{name}-{number}-{}@members.example", std::process::id());
    let body = json!({"email": email, "password": "correct horse battery"});
    let signed_up = stranger().post("/v1/auth/signup", body).await.status(201);
    (stranger().with_key(signed_up.text("/data/session_token"), String::new()), email)
}

/// A workspace that a user owns: the owner, their e-mail address, an agent with the live key.
pub async fn owned() -> (Agent, Agent) {
    let (owner, _) = person("owner").await;
    let made = owner.post("/v1/workspaces", json!({"name": "Ours"})).await.status(201);
    let workspace_id = made.text("/data/workspace_id");
    let key = made.text("/data/api_key");
    assert!(key.starts_with("acrm_live_"), "{key}");
    let live = stranger().with_key(key, workspace_id.clone());
    (in_workspace(owner, workspace_id), live)
}

/// Adds a user to the workspace with a role. Returns the user, an agent with the user's key, and the user's id.
pub async fn joined(owner: &Agent, role: &str) -> (Agent, Agent, String) {
    let (guest, email) = person(role).await;
    let invite = json!({"workspace_id": owner.workspace_id, "email": email.to_uppercase(), "role": role});
    let invited = owner.post("/v1/members/invite", invite).await.status(201);
    assert!(invited.text("/data/accept_url").ends_with(&invited.text("/data/token")));
    let accepted =
        guest.post(&format!("/v1/members/accept/{}", invited.text("/data/token")), json!({})).await.status(200);
    assert_eq!(accepted.text("/data/role"), role);
    let live = stranger().with_key(accepted.text("/data/api_key"), owner.workspace_id.clone());
    let user_id = guest.get("/v1/auth/me").await.status(200).text("/data/user/id");
    (in_workspace(guest, owner.workspace_id.clone()), live, user_id)
}

fn in_workspace(person: Agent, workspace_id: String) -> Agent {
    let token = person.key.clone();
    person.with_key(token, workspace_id)
}

fn ws(agent: &Agent, path: &str) -> String {
    format!("{path}?ws={}", agent.workspace_id)
}

#[tokio::test]
async fn claiming_kills_the_dev_key_makes_a_live_one_and_keeps_the_data() {
    let dev = agent().await;
    let contact = dev.post("/v1/contacts", json!({"email": "kept@b.example"})).await.status(201).id();
    let (owner, _) = person("claimer").await;
    let path = format!("/v1/claim/{}", dev.workspace_id);
    stranger().post(&path, json!({})).await.fault(401, "unauthorized");
    dev.post(&path, json!({})).await.fault(401, "unauthorized");
    let claimed = owner.post(&path, json!({})).await.status(200);
    assert_eq!(claimed.text("/data/workspace_id"), dev.workspace_id);
    dev.get("/v1/contacts").await.fault(401, "unauthorized");
    let live = stranger().with_key(claimed.text("/data/api_key"), dev.workspace_id.clone());
    let read = live.get(&format!("/v1/contacts/{contact}")).await.status(200);
    assert!(read.json()["_meta"].get("claim_url").is_none(), "a claimed workspace has nothing to claim");
    owner.post(&path, json!({})).await.fault(409, "conflict");
    person("late").await.0.post(&path, json!({})).await.fault(409, "conflict");
    owner.post("/v1/claim/ws_00000000000000000000000000", json!({})).await.fault(404, "not_found");
    owner.post("/v1/claim/nonsense", json!({})).await.fault(404, "not_found");
}

#[tokio::test]
async fn of_many_who_claim_at_once_one_wins() {
    let dev = agent().await;
    let path = format!("/v1/claim/{}", dev.workspace_id);
    let mut people = Vec::new();
    for _ in 0..4 {
        people.push(person("rival").await.0);
    }
    let claims = people.iter().map(|rival| rival.post(&path, json!({})));
    let codes: Vec<u16> = futures_util::future::join_all(claims).await.iter().map(|reply| reply.code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 409).count(), 3, "{codes:?}");
}

#[tokio::test]
async fn keys_are_made_shown_once_listed_without_their_secret_and_ended_at_once() {
    let (owner, live) = owned().await;
    let made = owner.post(&ws(&owner, "/v1/keys"), json!({"name": "robot", "role": "viewer"})).await.status(201);
    let secret = made.text("/data/api_key");
    let robot = stranger().with_key(secret.clone(), owner.workspace_id.clone());
    robot.get("/v1/contacts").await.status(200);
    robot.post("/v1/contacts", json!({})).await.fault(403, "forbidden");
    robot.sql("select 1 as v").await.status(200);
    robot.sql("insert into contacts default values").await.status(403);
    let listed = owner.get(&ws(&owner, "/v1/keys")).await.status(200);
    assert!(listed.column("id").contains(&made.data()["id"]));
    assert!(!String::from_utf8_lossy(&listed.body).contains(&secret), "a list never shows a key");
    let path = format!("/v1/keys/{}?ws={}", made.id(), owner.workspace_id);
    owner.delete(&path).await.status(200);
    robot.get("/v1/contacts").await.fault(401, "unauthorized");
    owner.delete(&path).await.fault(404, "not_found");
    live.get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn what_a_key_can_not_be_is_refused() {
    let (owner, live) = owned().await;
    let path = ws(&owner, "/v1/keys");
    owner.post(&path, json!({"role": "god"})).await.fault(400, "invalid_request").says("viewer");
    owner.post(&path, json!({"dialect": "agentcrm", "mode": "test"})).await.fault(400, "invalid_request").says("relm");
    owner.post(&path, json!({"nmae": "x"})).await.fault(400, "invalid_request").says("name");
    owner.post(&path, json!({"name": 5})).await.fault(400, "invalid_request");
    owner.post("/v1/keys", json!({})).await.fault(400, "invalid_request").says("ws");
    live.get(&path).await.fault(401, "unauthorized");
    stranger().get(&path).await.fault(401, "unauthorized");
    let (outsider, _) = person("outsider").await;
    for path in ["/v1/keys", "/v1/members", "/v1/workspaces/audit"] {
        outsider.get(&ws(&owner, path)).await.fault(404, "not_found");
    }
    outsider.post(&path, json!({})).await.fault(404, "not_found");
}

#[tokio::test]
async fn rotation_ends_the_old_key_and_another_process_sees_it_within_moments() {
    let (owner, live) = owned().await;
    let elsewhere = live.at(other_process().await);
    elsewhere.get("/v1/contacts").await.status(200);
    let rotated = owner.post(&ws(&owner, "/v1/keys/rotate"), json!({})).await.status(200);
    let new = stranger().with_key(rotated.text("/data/api_key"), owner.workspace_id.clone());
    new.get("/v1/contacts").await.status(200);
    live.get("/v1/contacts").await.fault(401, "unauthorized");
    let since = Instant::now();
    while elsewhere.get("/v1/contacts").await.code != 401 {
        assert!(since.elapsed() < Duration::from_secs(20), "the other process never saw that the key had ended");
    }
}

#[tokio::test]
async fn a_revocation_is_taken_back_for_ten_minutes() {
    let (owner, _) = owned().await;
    let (member, members_key, _) = joined(&owner, "member").await;
    let made = owner.post(&ws(&owner, "/v1/keys"), json!({"name": "robot"})).await.status(201);
    let robot = stranger().with_key(made.text("/data/api_key"), owner.workspace_id.clone());
    let path = ws(&owner, &format!("/v1/keys/{}", made.id()));
    let restore = ws(&owner, &format!("/v1/keys/{}/restore", made.id()));
    owner.post(&restore, json!({})).await.fault(404, "not_found");
    owner.delete(&path).await.status(200);
    robot.get("/v1/contacts").await.fault(401, "unauthorized");
    member.post(&restore, json!({})).await.fault(404, "not_found");
    members_key.post(&restore, json!({})).await.fault(401, "unauthorized");
    owner.post(&restore, json!({})).await.status(200);
    robot.get("/v1/contacts").await.status(200);
    let log = owner.get(&ws(&owner, "/v1/workspaces/audit")).await.status(200).column("action");
    assert_eq!(log[..2], ["key.restored", "key.revoked"]);

    owner.delete(&path).await.status(200);
    for (table, column) in [("api_keys", "revoked_at"), ("audit", "occurred_at")] {
        let key = if table == "audit" { "subject" } else { "id" };
        let sql = format!("UPDATE {table} SET {column} = {column} - interval '11 minutes' WHERE {key} = $1");
        home().control(&sql, &[&made.id()]).await;
    }
    owner.post(&restore, json!({})).await.fault(404, "not_found");
    robot.get("/v1/contacts").await.fault(401, "unauthorized");

    // What a rotation has ended, or the removal of a member, stays ended.
    let keys = owner.get(&ws(&owner, "/v1/keys")).await.status(200).data();
    let invited = keys.as_array().unwrap().iter().find(|it| it["name"] == "invite").unwrap()["id"].as_str().unwrap();
    member.post(&ws(&owner, "/v1/keys/rotate"), json!({})).await.status(200);
    members_key.get("/v1/contacts").await.fault(401, "unauthorized");
    owner.post(&ws(&owner, &format!("/v1/keys/{invited}/restore")), json!({})).await.fault(404, "not_found");
}

#[tokio::test]
async fn members_come_by_invitation_and_go_with_their_keys() {
    let (owner, _) = owned().await;
    let (guest, live, user_id) = joined(&owner, "member").await;
    live.post("/v1/contacts", json!({})).await.status(201);
    let members = guest.get(&ws(&owner, "/v1/members")).await.status(200);
    assert_eq!(members.column("role"), ["owner", "member"]);
    guest.get(&ws(&owner, "/v1/workspaces/audit")).await.fault(403, "forbidden");
    let invite = json!({"workspace_id": owner.workspace_id, "email": "x@y.example"});
    guest.post("/v1/members/invite", invite).await.fault(403, "forbidden");
    let path = format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id);
    owner.delete(&path).await.status(200);
    live.get("/v1/contacts").await.fault(401, "unauthorized");
    guest.get(&ws(&owner, "/v1/members")).await.fault(404, "not_found");
    owner.delete(&path).await.fault(404, "not_found");
    let actions = owner.get(&ws(&owner, "/v1/workspaces/audit")).await.status(200).column("action");
    for action in ["member.removed", "member.joined", "member.invited"] {
        assert!(actions.contains(&json!(action)), "{actions:?} lacks {action}");
    }
}

#[tokio::test]
async fn a_member_is_not_invited_again() {
    let (owner, _) = owned().await;
    let (guest, _, _) = joined(&owner, "viewer").await;
    for member in [&owner, &guest] {
        let email = member.get("/v1/auth/me").await.status(200).text("/data/user/email");
        for address in [email.clone(), email.to_uppercase()] {
            let invite = json!({"workspace_id": owner.workspace_id, "email": address, "role": "member"});
            owner.post("/v1/members/invite", invite).await.fault(409, "already_member");
        }
    }
}

#[tokio::test]
async fn an_invitation_is_for_its_address_once_and_for_a_week() {
    let (owner, _) = owned().await;
    let (guest, email) = person("guest").await;
    let invite = |email: &str| json!({"workspace_id": owner.workspace_id, "email": email});
    let first = owner.post("/v1/members/invite", invite(&email)).await.status(201).text("/data/token");
    let second = owner.post("/v1/members/invite", invite(&email)).await.status(201).text("/data/token");
    let accept = |token: &str| format!("/v1/members/accept/{token}");
    guest.post(&accept(&first), json!({})).await.fault(404, "not_found");
    person("thief").await.0.post(&accept(&second), json!({})).await.fault(403, "forbidden");
    stranger().post(&accept(&second), json!({})).await.fault(401, "unauthorized");
    guest.post(&accept(&second), json!({})).await.status(200);
    guest.post(&accept(&second), json!({})).await.fault(404, "not_found");
    let (reader, address) = person("reader").await;
    owner.post("/v1/members/invite", invite(&address)).await.status(201);
    let mails = mailbox().wait(&address, 2).await;
    let link = mails
        .iter()
        .map(|mail| mail.link())
        .find(|link| link.contains("/invite/"))
        .expect("a letter with the invitation");
    let token = link.rsplit('/').next().expect("a token").to_owned();
    reader.post(&accept(&token), json!({})).await.status(200);
    let third = owner.post("/v1/members/invite", invite(&person("late").await.1)).await.status(201);
    home().control("UPDATE invites SET expires_at = created_at WHERE id = $1", &[&third.id()]).await;
    guest.post(&accept(&third.text("/data/token")), json!({})).await.fault(404, "not_found");
    for bad in ["", "nobody", "a@b", "a b@c.example", "a@@b.example"] {
        owner.post("/v1/members/invite", invite(bad)).await.fault(400, "invalid_request");
    }
    let lord = json!({"workspace_id": owner.workspace_id, "email": "a@b.example", "role": "owner"});
    owner.post("/v1/members/invite", lord).await.fault(400, "invalid_request");
}

#[tokio::test]
async fn the_last_owner_stays_and_roles_change_what_keys_may() {
    let (owner, _) = owned().await;
    let me = owner.get("/v1/auth/me").await.status(200).text("/data/user/id");
    let member = |user_id: &str| format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id);
    owner.delete(&member(&me)).await.fault(409, "last_owner");
    owner.patch(&member(&me), json!({"role": "viewer"})).await.fault(409, "last_owner");
    let (guest, live, user_id) = joined(&owner, "member").await;
    guest.patch(&member(&user_id), json!({"role": "owner"})).await.fault(403, "forbidden");
    owner.patch(&member(&user_id), json!({"role": "viewer"})).await.status(200);
    live.get("/v1/contacts").await.fault(401, "unauthorized");
    let viewer = guest.post(&ws(&owner, "/v1/keys"), json!({})).await.status(201);
    assert_eq!(viewer.text("/data/role"), "viewer");
    guest.post(&ws(&owner, "/v1/keys"), json!({"role": "member"})).await.fault(403, "forbidden");
    owner.patch(&member(&user_id), json!({"role": "owner"})).await.status(200);
    owner.delete(&member(&me)).await.status(200);
    guest.delete(&member(&user_id)).await.fault(409, "last_owner");
}

#[tokio::test]
async fn a_person_sees_the_workspaces_they_belong_to() {
    let (owner, live) = owned().await;
    let (guest, ..) = joined(&owner, "viewer").await;
    let mine = owner.get("/v1/workspaces").await.status(200);
    assert_eq!(mine.column("id"), [json!(owner.workspace_id)]);
    assert_eq!((mine.column("name"), mine.column("role")), (vec![json!("Ours")], vec![json!("owner")]));
    assert_eq!(guest.get("/v1/workspaces").await.status(200).column("role"), ["viewer"]);
    assert!(person("lonely").await.0.get("/v1/workspaces").await.status(200).column("id").is_empty());
    live.get("/v1/workspaces").await.fault(401, "unauthorized");
    stranger().get("/v1/workspaces").await.fault(401, "unauthorized");
}

#[tokio::test]
async fn an_invitation_that_was_taken_back_is_void() {
    let (owner, _) = owned().await;
    let (guest, email) = person("unwanted").await;
    let invite = json!({"workspace_id": owner.workspace_id, "email": email});
    let invited = owner.post("/v1/members/invite", invite).await.status(201);
    let token = invited.text("/data/token");
    let open = owner.get(&ws(&owner, "/v1/members/invites")).await.status(200);
    assert_eq!((open.column("id"), open.column("email")), (vec![json!(invited.id())], vec![json!(email)]));
    assert!(!String::from_utf8_lossy(&open.body).contains(&token), "a list never shows a token");
    let path = ws(&owner, &format!("/v1/members/invites/{}", invited.id()));
    guest.get(&ws(&owner, "/v1/members/invites")).await.fault(404, "not_found");
    guest.delete(&path).await.fault(404, "not_found");
    let (other, _) = owned().await;
    other.delete(&ws(&other, &format!("/v1/members/invites/{}", invited.id()))).await.fault(404, "not_found");
    owner.delete(&path).await.status(200);
    owner.delete(&path).await.fault(404, "not_found");
    guest.post(&format!("/v1/members/accept/{token}"), json!({})).await.fault(404, "not_found");
    assert!(owner.get(&ws(&owner, "/v1/members/invites")).await.status(200).column("id").is_empty());
    let actions = owner.get(&ws(&owner, "/v1/workspaces/audit")).await.status(200).column("action");
    assert!(actions.contains(&json!("invite.withdrawn")), "{actions:?}");
}

#[tokio::test]
async fn what_takes_no_body_refuses_one_and_does_nothing() {
    let (owner, live) = owned().await;
    let (_, _, user_id) = joined(&owner, "viewer").await;
    let dev = agent().await;
    let robot = owner.post(&ws(&owner, "/v1/keys"), json!({"name": "robot"})).await.status(201);
    let (guest, email) = person("invited").await;
    let invite = json!({"workspace_id": owner.workspace_id, "email": email});
    let invited = owner.post("/v1/members/invite", invite).await.status(201);
    let session = owner.get("/v1/auth/sessions").await.status(200).text("/data/0/id");
    let json_type = [("content-type", "application/json")];
    let text_type = [("content-type", "text/plain")];
    let paths = [
        (Method::POST, format!("/v1/claim/{}", dev.workspace_id)),
        (Method::POST, ws(&owner, "/v1/keys/rotate")),
        (Method::POST, ws(&owner, "/v1/connection")),
        (Method::POST, format!("/v1/members/accept/{}", invited.text("/data/token"))),
        (Method::POST, "/v1/auth/logout".to_owned()),
        (Method::DELETE, format!("/v1/auth/sessions/{session}")),
        (Method::DELETE, ws(&owner, &format!("/v1/keys/{}", robot.id()))),
        (Method::DELETE, format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id)),
        (Method::DELETE, ws(&owner, &format!("/v1/members/invites/{}", invited.id()))),
    ];
    for (method, path) in paths {
        let who = if path.contains("/accept/") { &guest } else { &owner };
        let send =
            async |headers: &[(&str, &str)], body: &'static str| who.send(method.clone(), &path, headers, body).await;
        send(&json_type, "{\"name\": ").await.fault(400, "invalid_request");
        send(&json_type, "[1]").await.fault(400, "invalid_request");
        send(&json_type, "{\"zzz\": 1}").await.fault(400, "invalid_request").says("zzz");
        send(&text_type, "name=x").await.fault(415, "unsupported_media_type");
    }
    // Nothing has changed.
    dev.get("/v1/contacts").await.status(200);
    live.get("/v1/contacts").await.status(200);
    assert!(owner.get(&ws(&owner, "/v1/keys")).await.status(200).column("id").contains(&json!(robot.id())));
    assert_eq!(owner.get(&ws(&owner, "/v1/members")).await.status(200).column("user_id").len(), 2);
    guest
        .send(Method::POST, &format!("/v1/members/accept/{}", invited.text("/data/token")), &json_type, "{}")
        .await
        .status(200);
    owner.send(Method::POST, &ws(&owner, "/v1/keys/rotate"), &text_type, "").await.status(200);
    owner.send(Method::POST, "/v1/auth/logout", &[], "").await.status(200);
}

#[tokio::test]
async fn every_answer_about_a_workspace_says_which() {
    let (owner, _) = owned().await;
    let (guest, email) = person("named").await;
    let says = |reply: Reply, workspace_id: &str| {
        assert!(reply.code < 300, "{}", reply.story());
        assert_eq!(reply.text("/_meta/workspace_id"), workspace_id, "{}", reply.story());
        reply
    };
    let here = owner.workspace_id.as_str();
    for path in ["/v1/keys", "/v1/members", "/v1/members/invites", "/v1/workspaces/audit"] {
        says(owner.get(&ws(&owner, path)).await, here);
    }
    let made = says(owner.post(&ws(&owner, "/v1/keys"), json!({})).await, here);
    says(owner.delete(&ws(&owner, &format!("/v1/keys/{}", made.id()))).await, here);
    says(owner.post(&ws(&owner, "/v1/keys/rotate"), json!({})).await, here);
    says(owner.post(&ws(&owner, "/v1/connection"), json!({})).await, here);
    let invite = json!({"workspace_id": here, "email": email});
    let first = says(owner.post("/v1/members/invite", invite.clone()).await, here);
    says(owner.delete(&ws(&owner, &format!("/v1/members/invites/{}", first.id()))).await, here);
    let invited = owner.post("/v1/members/invite", invite).await.status(201);
    says(guest.post(&format!("/v1/members/accept/{}", invited.text("/data/token")), json!({})).await, here);
    let user_id = guest.get("/v1/auth/me").await.status(200).text("/data/user/id");
    let member = format!("/v1/members?ws={here}&user_id={user_id}");
    says(owner.patch(&member, json!({"role": "viewer"})).await, here);
    says(owner.delete(&member).await, here);
    let dev = agent().await;
    says(owner.post(&format!("/v1/claim/{}", dev.workspace_id), json!({})).await, &dev.workspace_id);
    let new = owner.post("/v1/workspaces", json!({})).await.status(201);
    let workspace_id = new.text("/data/workspace_id");
    says(new, &workspace_id);
    let me = owner.get("/v1/auth/me").await.status(200);
    assert!(me.json()["_meta"].get("workspace_id").is_none(), "{}", me.story());
}

#[tokio::test]
async fn lists_of_people_go_page_by_page() {
    let (owner, _) = owned().await;
    let email = owner.get("/v1/auth/me").await.status(200).text("/data/user/email");
    for n in 0..4 {
        owner.post(&ws(&owner, "/v1/keys"), json!({"name": n.to_string()})).await.status(201);
        let email = format!("page-{n}@pages.example");
        let invite = json!({"workspace_id": owner.workspace_id, "email": email});
        owner.post("/v1/members/invite", invite).await.status(201);
        owner.post("/v1/workspaces", json!({})).await.status(201);
    }
    for _ in 0..2 {
        joined(&owner, "viewer").await;
    }
    let body = json!({"email": email, "password": "correct horse battery"});
    for _ in 0..3 {
        stranger().post("/v1/auth/login", body.clone()).await.status(200);
    }
    let (id, who) = ("id", "user_id");
    for (path, name) in [
        (ws(&owner, "/v1/keys"), id),
        (ws(&owner, "/v1/members"), who),
        (ws(&owner, "/v1/members/invites"), id),
        (ws(&owner, "/v1/workspaces/audit"), id),
        ("/v1/workspaces?".to_owned(), id),
        ("/v1/auth/sessions?".to_owned(), id),
    ] {
        let whole = owner.get(&path).await.status(200);
        let meta = whole.at("/_meta");
        assert_eq!(
            (&meta["limit"], &meta["has_more"], &meta["next_cursor"]),
            (&json!(50), &json!(false), &json!(null))
        );
        let all = whole.column(name);
        assert!(all.len() >= 3, "{}", whole.story());
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = owner.get(&format!("{path}&limit=2&cursor={cursor}")).await.status(200);
            let rows = page.column(name);
            seen.extend(rows.iter().cloned());
            assert_eq!(page.at("/_meta/limit"), 2);
            if page.at("/_meta/has_more") == false {
                assert_eq!(page.at("/_meta/next_cursor"), json!(null));
                break;
            }
            assert_eq!(rows.len(), 2, "{}", page.story());
            cursor = page.text("/_meta/next_cursor");
        }
        assert_eq!(seen, all, "{path}");
        assert_eq!(owner.get(&format!("{path}&limit=100000")).await.status(200).at("/_meta/limit"), 200);
        for bad in ["0", "-1", "ten", "1.5"] {
            owner.get(&format!("{path}&limit={bad}")).await.fault(400, "invalid_request").says("limit");
        }
        for bad in ["nonsense", "AAAA"] {
            owner.get(&format!("{path}&cursor={bad}")).await.fault(400, "invalid_cursor");
        }
        owner.get(&format!("{path}&page=2")).await.fault(400, "invalid_request").says("page");
    }
    // A cursor belongs to its list.
    let page = owner.get(&format!("{}&limit=1", ws(&owner, "/v1/keys"))).await.status(200);
    let path = format!("{}&cursor={}", ws(&owner, "/v1/members"), page.text("/_meta/next_cursor"));
    owner.get(&path).await.fault(400, "invalid_cursor");
}

#[tokio::test]
async fn what_was_made_and_what_is_listed_say_the_same_times() {
    let (owner, _) = owned().await;
    let made = owner.post(&ws(&owner, "/v1/keys"), json!({"name": "timed"})).await.status(201);
    let listed = owner.get(&ws(&owner, "/v1/keys")).await.status(200).data();
    assert_eq!(listed[0]["id"], made.data()["id"]);
    assert_eq!(listed[0]["created_at"], made.data()["created_at"]);
    let invite = json!({"workspace_id": owner.workspace_id, "email": "timed@members.example"});
    let invited = owner.post("/v1/members/invite", invite).await.status(201);
    let open = owner.get(&ws(&owner, "/v1/members/invites")).await.status(200).data();
    assert_eq!(open[0]["expires_at"], invited.data()["expires_at"]);
}

#[tokio::test]
async fn an_owner_renames_a_workspace() {
    let (owner, agent) = owned().await;
    let (member, _, _) = joined(&owner, "member").await;
    let path = format!("/v1/workspaces/{}", owner.workspace_id);
    let names = async || {
        let listed = owner.get("/v1/workspaces").await.status(200).data();
        listed.as_array().unwrap().iter().map(|it| (it["name"].clone(), it["sending"].clone())).collect::<Vec<_>>()
    };
    member.patch(&path, json!({"name": "Theirs"})).await.fault(403, "forbidden");
    agent.patch(&path, json!({"name": "Theirs"})).await.status(401);
    for body in [json!({"name": "x".repeat(201)}), json!({"name": "Two", "held": "drop"}), json!({"name": 5})] {
        owner.patch(&path, body).await.fault(400, "invalid_request");
    }
    owner.patch(&path, json!({"name": "  "})).await.fault(422, "validation_failed").says("name");
    assert_eq!(names().await, [(json!("Ours"), json!(true))]);
    let renamed = owner.patch(&path, json!({"name": " Fernhill & Sons "})).await.status(200).data();
    assert_eq!((&renamed["id"], &renamed["sending"]), (&json!(owner.workspace_id), &json!(true)));
    assert_eq!(names().await, [(json!("Fernhill & Sons"), json!(true))]);
    let both = owner.patch(&path, json!({"name": "Fernhill", "sending": false})).await.status(200).data();
    assert_eq!(both["sending"], false);
    assert_eq!(names().await, [(json!("Fernhill"), json!(false))]);
    let audit = owner.get(&format!("/v1/workspaces/audit?ws={}", owner.workspace_id)).await.status(200).data();
    let noted: Vec<&Value> =
        audit.as_array().unwrap().iter().filter(|it| it["action"] == "workspace.renamed").collect();
    assert_eq!(noted.len(), 2);
    assert_eq!(noted[0]["details"], json!({"name": "Fernhill"}));
}
